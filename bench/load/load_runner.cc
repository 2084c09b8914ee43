#include "load/load_runner.h"

#include <dirent.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <sstream>

namespace quiver::bench {

namespace {

using Clock = std::chrono::steady_clock;

double Microseconds(Clock::duration duration) { return std::chrono::duration<double, std::micro>(duration).count(); }

double OwnCpuMicroseconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto micros = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_usec);
  };
  return micros(usage.ru_utime) + micros(usage.ru_stime);
}

double Quantile(std::vector<float>& sorted, double q) {
  if (sorted.empty()) return 0;
  const auto index = static_cast<size_t>(q * static_cast<double>(sorted.size() - 1));
  return static_cast<double>(sorted[index]);
}

// One run: keeps `depth` calls going and notes each of them.
class Run {
 public:
  Run(std::string_view method, const MessageMaker& make_message, const ReplyChecker& check_reply, uint64_t max_calls)
      : method_(method), make_message_(make_message), check_reply_(check_reply), max_calls_(max_calls) {}

  void StartCall(api::GrpcClient& client) {
    if (max_calls_ > 0 && next_index_ >= max_calls_) return;
    const uint64_t index = next_index_++;
    const Clock::time_point start = Clock::now();
    const int32_t stream = client.session().Start({.method = method_, .message = make_message_(index)},
                                                  [this, &client, index, start](const api::GrpcReply& reply) {
                                                    const Clock::time_point now = Clock::now();
                                                    latencies_.push_back(static_cast<float>(Microseconds(now - start)));
                                                    longest_gap_ = std::max(longest_gap_, now - last_reply_);
                                                    last_reply_ = now;
                                                    std::string error = check_reply_(index, reply);
                                                    if (!error.empty()) {
                                                      ++errors_;
                                                      if (first_error_.empty()) first_error_ = std::move(error);
                                                    }
                                                    ++finished_;
                                                    if (client.session().alive() && more_) StartCall(client);
                                                  });
    if (stream < 0) {
      ++errors_;
      if (first_error_.empty()) first_error_ = "the connection takes no more calls";
    }
  }

  void ForgetWarmUp() {
    latencies_.clear();
    longest_gap_ = {};
    last_reply_ = Clock::now();
    finished_ = 0;
    errors_ = 0;
  }

  void Stop() { more_ = false; }

  std::string_view method_;
  const MessageMaker& make_message_;
  const ReplyChecker& check_reply_;
  const uint64_t max_calls_;
  std::vector<float> latencies_;
  Clock::time_point last_reply_ = Clock::now();
  Clock::duration longest_gap_{};
  uint64_t next_index_ = 0;
  uint64_t finished_ = 0;
  uint64_t errors_ = 0;
  std::string first_error_;
  bool more_ = true;
};

}  // namespace

Result<double> ProcessCpuMicroseconds(int pid) {
  // schedstat counts nanoseconds, but for one thread; the sum over all threads misses those that have ended, which a
  // server at work does not have many of. stat counts ticks of 10 ms.
  const std::string directory = "/proc/" + std::to_string(pid) + "/task";
  DIR* const tasks = opendir(directory.c_str());
  if (tasks == nullptr) return Error(StatusCode::kIo, "no process {}", pid);
  double nanoseconds = 0;
  bool any = false;
  while (const dirent* const entry = readdir(tasks)) {
    if (entry->d_name[0] == '.') continue;
    std::ifstream file(directory + "/" + entry->d_name + "/schedstat");
    double running = 0;
    if (file >> running) {
      nanoseconds += running;
      any = true;
    }
  }
  closedir(tasks);
  if (any) return nanoseconds / 1e3;

  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return Error(StatusCode::kIo, "cannot read the CPU time of process {}", pid);
  std::istringstream fields(line.substr(line.rfind(')') + 2));
  std::string skipped;
  constexpr int kFieldsBeforeUserTime = 11;
  for (int i = 0; i < kFieldsBeforeUserTime; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) * 1e6 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

Result<LoadResult> RunLoad(const LoadOptions& options, std::string_view method, const MessageMaker& make_message,
                           const ReplyChecker& check_reply) {
  std::vector<std::unique_ptr<api::GrpcClient>> clients;
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct Guard {
    int fd;
    ~Guard() { ::close(fd); }
  } guard{epoll};
  std::vector<bool> watches_output(static_cast<size_t>(options.connections), false);
  const auto watch = [&](size_t i, int operation) {
    epoll_event event{};
    event.events = EPOLLIN | (watches_output[i] ? uint32_t{EPOLLOUT} : 0u);
    event.data.u64 = i;
    epoll_ctl(epoll, operation, clients[i]->descriptor(), &event);
  };
  for (int i = 0; i < options.connections; ++i) {
    QUIVER_ASSIGN_OR_RETURN(auto client, api::GrpcClient::Connect(options.host, options.port));
    clients.push_back(std::move(client));
    watch(clients.size() - 1, EPOLL_CTL_ADD);
  }

  Run run(method, make_message, check_reply, options.max_calls);
  const bool counted = options.max_calls > 0;
  if (!counted) run.latencies_.reserve(4u << 20);
  const auto server_cpu = [&]() -> Result<double> {
    return options.server_pid == 0 ? Result<double>(0.0) : ProcessCpuMicroseconds(options.server_pid);
  };
  bool measuring = counted;
  Clock::time_point begin = Clock::now();
  QUIVER_ASSIGN_OR_RETURN(double server_begin, server_cpu());
  double own_begin = OwnCpuMicroseconds();
  Clock::time_point phase_end = begin + (counted ? std::chrono::hours(24) : std::chrono::hours(0));
  if (!counted) phase_end = begin + options.warm_up;

  const auto work = [&](size_t i) {
    const bool alive = clients[i]->Work();
    if (alive && clients[i]->wants_write() != watches_output[i]) {
      watches_output[i] = clients[i]->wants_write();
      watch(i, EPOLL_CTL_MOD);
    }
    return alive;
  };
  for (int i = 0; i < options.depth; ++i) run.StartCall(*clients[static_cast<size_t>(i % options.connections)]);
  bool alive = true;
  for (size_t i = 0; i < clients.size(); ++i) alive = work(i) && alive;

  constexpr int kMaxEvents = 64;
  std::array<epoll_event, kMaxEvents> events;
  while (alive) {
    if (counted) {
      if (run.finished_ >= options.max_calls) break;
    } else if (Clock::now() >= phase_end) {
      if (measuring) break;
      run.ForgetWarmUp();
      QUIVER_ASSIGN_OR_RETURN(server_begin, server_cpu());
      own_begin = OwnCpuMicroseconds();
      begin = Clock::now();
      phase_end = begin + options.duration;
      measuring = true;
    }
    constexpr int kWaitMilliseconds = 50;
    const int count = epoll_wait(epoll, events.data(), kMaxEvents, kWaitMilliseconds);
    for (int i = 0; i < count; ++i) alive = work(events[static_cast<size_t>(i)].data.u64) && alive;
  }

  LoadResult result;
  result.seconds = Microseconds(Clock::now() - begin) / 1e6;
  QUIVER_ASSIGN_OR_RETURN(const double server_end, server_cpu());
  const double own_end = OwnCpuMicroseconds();
  run.Stop();
  result.calls = run.finished_;
  result.errors = run.errors_ + (alive ? 0 : 1);
  result.first_error = run.first_error_;
  if (!alive && result.first_error.empty()) result.first_error = "connection lost";
  std::sort(run.latencies_.begin(), run.latencies_.end());
  result.p50_us = Quantile(run.latencies_, 0.5);
  result.p95_us = Quantile(run.latencies_, 0.95);
  result.p99_us = Quantile(run.latencies_, 0.99);
  result.p999_us = Quantile(run.latencies_, 0.999);
  result.longest_gap_us = Microseconds(run.longest_gap_);
  result.max_us = Quantile(run.latencies_, 1.0);
  const double calls = static_cast<double>(std::max<uint64_t>(result.calls, 1));
  result.client_cpu_us = (own_end - own_begin) / calls;
  result.server_cpu_us = options.server_pid == 0 ? -1 : (server_end - server_begin) / calls;
  return result;
}

}  // namespace quiver::bench
