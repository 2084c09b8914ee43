#include "ops/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>

#include "api/net/server.h"
#include "engine/engine.h"

namespace quiver::ops {

namespace {

using metrics::CallbackKind;

std::string ReadWhole(const char* path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

uint64_t CountOpenFds() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc/self/fd"), ::closedir);
  if (!directory) return 0;
  uint64_t count = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_name[0] != '.') ++count;
  }
  return count > 0 ? count - 1 : 0;  // without the one that lists
}

double BootTimeSeconds() {
  std::istringstream lines(ReadWhole("/proc/stat"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("btime ")) return std::stod(line.substr(6));
  }
  return 0;
}

/// Adds one callback per number that `read` yields.
template <typename Stats>
class Adder {
 public:
  Adder(metrics::Registry& registry, std::function<Stats()> read) : registry_(registry), read_(std::move(read)) {}

  template <typename Pick>
  void Add(CallbackKind kind, std::string_view name, std::string_view help, Pick pick,
           const metrics::Labels& labels = {}) {
    registrations_.push_back(registry_.AddCallback(kind, name, help, labels,
                                                   [read = read_, pick] { return static_cast<double>(pick(read())); }));
  }
  Registrations Take() { return std::move(registrations_); }

 private:
  metrics::Registry& registry_;
  std::function<Stats()> read_;
  Registrations registrations_;
};

}  // namespace

ProcessStats ReadProcessStats() {
  ProcessStats stats;
  // Fields of /proc/self/stat after the command name, which may hold blanks; the first one here is number 3.
  const std::string text = ReadWhole("/proc/self/stat");
  const size_t close = text.rfind(')');
  if (close != std::string::npos) {
    std::istringstream in(text.substr(close + 2));
    std::vector<std::string> fields;
    for (std::string field; in >> field;) fields.push_back(field);
    const auto number = [&fields](size_t index) -> uint64_t {
      uint64_t value = 0;
      if (index - 3 < fields.size()) {
        const std::string& field = fields[index - 3];
        std::from_chars(field.data(), field.data() + field.size(), value);
      }
      return value;
    };
    const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
    stats.cpu_seconds = static_cast<double>(number(14) + number(15)) / ticks;
    stats.threads = number(20);
    stats.start_time_seconds = BootTimeSeconds() + static_cast<double>(number(22)) / ticks;
    stats.virtual_bytes = number(23);
    stats.resident_bytes = number(24) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  stats.open_fds = CountOpenFds();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_fds = limit.rlim_cur;
  return stats;
}

uint64_t AvailableMemory() {
  const auto pages = static_cast<uint64_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES)));
  const uint64_t bytes = pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  uint64_t limit = 0;  // the file says "max" where there is no limit
  const std::string text = ReadWhole("/sys/fs/cgroup/memory.max");
  std::from_chars(text.data(), text.data() + text.size(), limit);
  return limit == 0 ? bytes : std::min(bytes, limit);
}

Registrations RegisterProcessMetrics(metrics::Registry& registry) {
  Adder<ProcessStats> add(registry, ReadProcessStats);
  add.Add(CallbackKind::kCounter, "process_cpu_seconds_total", "User and system CPU time.",
          [](const ProcessStats& s) { return s.cpu_seconds; });
  add.Add(CallbackKind::kGauge, "process_resident_memory_bytes", "Memory in RAM.",
          [](const ProcessStats& s) { return s.resident_bytes; });
  add.Add(CallbackKind::kGauge, "process_virtual_memory_bytes", "Address space in use.",
          [](const ProcessStats& s) { return s.virtual_bytes; });
  add.Add(CallbackKind::kGauge, "process_threads", "Threads.", [](const ProcessStats& s) { return s.threads; });
  add.Add(CallbackKind::kGauge, "process_open_fds", "Open file descriptors.",
          [](const ProcessStats& s) { return s.open_fds; });
  add.Add(CallbackKind::kGauge, "process_max_fds", "File descriptors allowed.",
          [](const ProcessStats& s) { return s.max_fds; });
  add.Add(CallbackKind::kGauge, "process_start_time_seconds", "Unix time of the start.",
          [](const ProcessStats& s) { return s.start_time_seconds; });
  return add.Take();
}

Registrations RegisterEngineMetrics(metrics::Registry& registry, const engine::Engine& engine) {
  using Stats = engine::EngineStatistics;
  Adder<Stats> add(registry, [&engine] { return engine.statistics(); });
  add.Add(CallbackKind::kGauge, "quiver_collections", "Collections.", [](const Stats& s) { return s.collections; });
  add.Add(CallbackKind::kGauge, "quiver_rows", "Rows stored.", [](const Stats& s) { return s.rows; });
  for (size_t i = 0; i < kMemoryConsumers; ++i) {
    add.Add(CallbackKind::kGauge, "quiver_memory_bytes", "Memory by consumer.",
            [i](const Stats& s) { return s.memory_bytes[i]; },
            {{"consumer", std::string(MemoryConsumerName(static_cast<MemoryConsumer>(i)))}});
  }
  add.Add(CallbackKind::kCounter, "quiver_filter_cache_hits_total", "Segments whose answer to a filter was kept.",
          [](const Stats& s) { return s.filter_cache.hits; });
  add.Add(CallbackKind::kCounter, "quiver_filter_cache_misses_total", "Segments whose answer to a filter was not kept.",
          [](const Stats& s) { return s.filter_cache.misses; });
  add.Add(CallbackKind::kGauge, "quiver_filter_cache_bitmaps", "Kept answers, one per filter and segment.",
          [](const Stats& s) { return s.filter_cache.bitmaps; });
  add.Add(CallbackKind::kGauge, "quiver_mapped_bytes", "Mapped files of sealed segments.",
          [](const Stats& s) { return s.sealed_bytes; });
  add.Add(CallbackKind::kGauge, "quiver_fenced_segments", "Damaged segments, whose rows are not served.",
          [](const Stats& s) { return s.fenced_segments; });
  add.Add(CallbackKind::kGauge, "quiver_indexes", "Built indexes in use, one per segment and index.",
          [](const Stats& s) { return s.indexes; });
  add.Add(CallbackKind::kGauge, "quiver_key_indexes", "Indexes of single partition keys in use, beside those.",
          [](const Stats& s) { return s.index_parts; });
  add.Add(CallbackKind::kGauge, "quiver_index_mapped_bytes", "Mapped files of indexes.",
          [](const Stats& s) { return s.index_bytes; });
  add.Add(CallbackKind::kCounter, "quiver_index_builds_total", "Indexes built over a segment.",
          [](const Stats& s) { return s.index_builds; });
  add.Add(CallbackKind::kCounter, "quiver_growing_index_builds_total",
          "Scalar indexes built over blocks of growing segments.",
          [](const Stats& s) { return s.growing_index_builds; });
  add.Add(CallbackKind::kCounter, "quiver_index_build_failures_total", "Builds that failed; each is tried again.",
          [](const Stats& s) { return s.index_build_failures; });
  add.Add(CallbackKind::kGauge, "quiver_growing_indexed_rows", "Rows in graphs of growing segments.",
          [](const Stats& s) { return s.growing_indexed_rows; });
  add.Add(CallbackKind::kGauge, "quiver_log_bytes", "Size of the write-ahead log.",
          [](const Stats& s) { return s.log_bytes; });
  add.Add(CallbackKind::kCounter, "quiver_log_syncs_total", "fdatasync calls on the write-ahead log.",
          [](const Stats& s) { return s.log_syncs; });
  return add.Take();
}

Registrations RegisterServerMetrics(metrics::Registry& registry, std::function<api::ServerStats()> stats) {
  using Stats = api::ServerStats;
  Adder<Stats> add(registry, std::move(stats));
  add.Add(CallbackKind::kGauge, "quiver_connections_open", "Connections open on the data port.",
          [](const Stats& s) { return s.connections_open; });
  add.Add(CallbackKind::kCounter, "quiver_connections_accepted_total", "Connections accepted.",
          [](const Stats& s) { return s.connections_accepted; });
  add.Add(CallbackKind::kCounter, "quiver_connections_rejected_total", "Connections refused for want of room.",
          [](const Stats& s) { return s.connections_rejected; });
  add.Add(CallbackKind::kCounter, "quiver_http_requests_total", "HTTP/1.1 requests on the data port.",
          [](const Stats& s) { return s.http_requests; });
  add.Add(CallbackKind::kCounter, "quiver_requests_refused_total",
          "Requests that the network layer refused: malformed, too large, over a limit.",
          [](const Stats& s) { return s.refused; });
  add.Add(CallbackKind::kCounter, "quiver_received_bytes_total", "Bytes received.",
          [](const Stats& s) { return s.bytes_received; });
  add.Add(CallbackKind::kCounter, "quiver_sent_bytes_total", "Bytes sent.",
          [](const Stats& s) { return s.bytes_sent; });
  add.Add(CallbackKind::kGauge, "quiver_memory_bytes", "Memory by consumer.",
          [](const Stats& s) { return s.buffered_request_bytes; }, {{"consumer", "requests"}});
  return add.Take();
}

}  // namespace quiver::ops
