#include "cli/serve.h"

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <sstream>
#include <system_error>
#include <utility>

#include "api/net/server.h"
#include "api/service.h"
#include "base/config.h"
#include "base/logging.h"
#include "base/metrics.h"
#include "base/thread_pool.h"
#include "engine/engine.h"
#include "io/file_system.h"
#include "ops/ops_handler.h"
#include "ops/process_metrics.h"
#include "simd/kernels.h"

namespace quiver::cli {

namespace {

using Clock = std::chrono::steady_clock;

/// Requests that may wait for a thread before new ones are refused as overload.
constexpr size_t kMaxQueuedRequests = 100'000;
/// Threads that wait for the disk in DDL and Flush.
constexpr size_t kControlThreads = 4;

std::vector<std::string> Environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) entries.emplace_back(*entry);
  return entries;
}

uint64_t MemoryLimit(const Config& config) {
  if (config.memory_limit_bytes != 0) return static_cast<uint64_t>(config.memory_limit_bytes);
  return ops::AvailableMemory() / 4 * 3;
}

engine::EngineOptions EngineOptionsOf(const Config& config) {
  engine::EngineOptions options;
  options.data_dir = config.data_dir;
  options.sync = config.durability == "sync";
  options.seal_bytes = static_cast<uint64_t>(config.segment_seal_bytes);
  options.flush_min_bytes = static_cast<uint64_t>(config.segment_flush_min_bytes);
  options.max_log_bytes = static_cast<uint64_t>(config.max_log_bytes);
  options.memory_limit = MemoryLimit(config) / 4 * 3;  // a quarter is for requests in flight
  options.filter_cache_bytes = static_cast<uint64_t>(config.filter_cache_bytes);
  options.max_growing_seconds = config.max_growing_seconds;
  options.retention_seconds = config.retention_seconds;
  options.compaction = config.compaction;
  options.max_segment_bytes = static_cast<uint64_t>(config.max_segment_bytes);
  options.compaction_bytes_per_second = static_cast<uint64_t>(config.compaction_bytes_per_second);
  options.index_build_threads = static_cast<size_t>(config.index_build_threads);
  options.index_min_rows = config.index_min_rows;
  options.growing_graphs = config.growing_graphs;
  options.key_indexes = config.key_indexes;
  options.serve_damaged = config.serve_damaged;
  options.auto_load = config.auto_load;
  options.max_databases = config.max_databases;
  options.max_collections = config.max_collections;
  options.max_partitions = config.max_partitions;
  return options;
}

api::ServiceOptions ServiceOptionsOf(const Config& config) {
  api::ServiceOptions options;
  options.max_topk = config.max_topk;
  options.max_result_window = config.max_result_window;
  options.max_queries = config.max_queries;
  options.max_output_bytes = config.max_output_bytes;
  options.result_cache_bytes = static_cast<uint64_t>(config.result_cache_bytes);
  return options;
}

api::ServerOptions DataPortOptions(const Config& config) {
  api::ServerOptions options;
  options.host = config.host;
  options.port = static_cast<uint16_t>(config.port);
  // Network threads only decode and encode; beyond a quarter of the cores they would take time from searches.
  options.network_threads = config.network_threads != 0 ? static_cast<int>(config.network_threads)
                                                        : static_cast<int>(std::max<size_t>(1, AvailableCores() / 4));
  options.max_connections = static_cast<size_t>(config.max_connections);
  options.limits.max_message_bytes = static_cast<size_t>(config.max_message_bytes);
  // One request of the greatest size always fits.
  options.max_buffered_request_bytes = std::max<size_t>(MemoryLimit(config) / 4, options.limits.max_message_bytes);
  return options;
}

api::ServerOptions OpsPortOptions(const Config& config) {
  api::ServerOptions options;
  options.host = config.host;
  options.port = static_cast<uint16_t>(config.ops_port);
  options.network_threads = 1;
  options.max_connections = 256;
  options.limits.max_message_bytes = 64 << 10;
  return options;
}

/// The running parts, in the order in which they are made; they end in the opposite order.
struct Running {
  std::shared_ptr<ops::OpsHandler> ops_handler;
  ops::Registrations process_metrics;
  std::unique_ptr<api::Server> ops_server;
  std::unique_ptr<engine::Engine> engine;
  ops::Registrations engine_metrics;
  std::unique_ptr<ThreadPool> compute;
  std::unique_ptr<ThreadPool> control;
  std::unique_ptr<api::Service> service;
  std::unique_ptr<api::Server> server;
  ops::Registrations server_metrics;
};

Status Start(const Config& config, Running& running) {
  metrics::Registry& registry = metrics::Registry::Global();
  running.process_metrics = ops::RegisterProcessMetrics(registry);

  // The operations port comes first: it says "starting" while a long log is replayed.
  running.ops_handler = std::make_shared<ops::OpsHandler>(registry);
  if (config.ops_port >= 0) {
    QUIVER_ASSIGN_OR_RETURN(
        running.ops_server,
        api::Server::Start(
            OpsPortOptions(config), nullptr,
            [handler = running.ops_handler](const std::shared_ptr<api::HttpCall>& call) { handler->Handle(call); }));
  }

  engine::EngineOptions engine_options = EngineOptionsOf(config);
  metrics::Histogram& syncs =
      registry.GetHistogram("quiver_log_sync_seconds", "Time of one fdatasync of the log.", metrics::LatencyBounds());
  metrics::Gauge& longest_sync =
      registry.GetGauge("quiver_log_sync_longest_microseconds", "Longest fdatasync of the log since the start.");
  engine_options.on_log_sync = [&syncs, &longest_sync](double seconds) {
    syncs.Observe(seconds);
    const auto microseconds =
        static_cast<int64_t>(seconds * 1e6);  // syncs follow one another: no one sets it meanwhile
    if (microseconds > longest_sync.value()) longest_sync.Set(microseconds);
  };
  QUIVER_ASSIGN_OR_RETURN(running.engine, engine::Engine::Open(io::PosixFileSystem(), std::move(engine_options)));
  running.engine_metrics = ops::RegisterEngineMetrics(registry, *running.engine);

  running.compute = std::make_unique<ThreadPool>(ThreadPool::Options{
      .name = "compute", .threads = static_cast<size_t>(config.compute_threads), .max_queue = kMaxQueuedRequests});
  running.control = std::make_unique<ThreadPool>(
      ThreadPool::Options{.name = "control", .threads = kControlThreads, .max_queue = kMaxQueuedRequests});
  running.service =
      std::make_unique<api::Service>(*running.engine, *running.compute, *running.control, ServiceOptionsOf(config));

  QUIVER_ASSIGN_OR_RETURN(
      running.server,
      api::Server::Start(
          DataPortOptions(config),
          [service = running.service.get()](std::shared_ptr<api::RpcCall> call) { service->Handle(std::move(call)); },
          [service = running.service.get()](const std::shared_ptr<api::HttpCall>& call) {
            const api::HttpRequest& request = call->request();
            if (request.path() == "/explain" && request.method == "POST") {
              return service->HandleExplain(call);
            }
            call->Finish(ops::AnswerDataPort(call->request(), Version()));
          }));
  running.server_metrics =
      ops::RegisterServerMetrics(registry, [server = running.server.get()] { return server->stats(); });
  running.ops_handler->SetHealth([engine = running.engine.get()] { return engine->health(); });
  return Status::Ok();
}

/// Takes no new work, lets what is in flight end, closes the engine, and only then the operations port.
void Stop(const Config& config, Running& running) {
  running.ops_handler->SetHealth([] { return Error(StatusCode::kNotReady, "the server is stopping"); });
  running.server_metrics.clear();
  if (running.server) running.server->Shutdown(std::chrono::milliseconds(config.shutdown_grace_ms));
  // Work may hand work over: control tasks to the compute pool and back to the engine, which calls back into both.
  if (running.control) running.control->Stop();
  if (running.compute) running.compute->Stop();
  running.engine_metrics.clear();
  running.engine.reset();
  running.service.reset();
  running.server.reset();
  if (running.ops_server) running.ops_server->Shutdown(std::chrono::seconds(1));
}

std::string Address(const Config& config, const api::Server& server) {
  const bool ipv6 = config.host.find(':') != std::string::npos;
  return ipv6 ? fmt::format("[{}]:{}", config.host, server.port()) : fmt::format("{}:{}", config.host, server.port());
}

void PrintReady(const Config& config, const Running& running, Clock::time_point begun) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
  std::error_code error;
  const std::filesystem::path data = std::filesystem::absolute(config.data_dir, error);
  const std::string ops = running.ops_server ? Address(config, *running.ops_server) : "none";
  const std::string line =
      fmt::format("quiver {} ready in {} ms: clients at {}, health and metrics at {}, data in {}", Version(), ms,
                  Address(config, *running.server), ops, error ? config.data_dir : data.string());
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
  if (!config.log_file.empty()) QUIVER_LOG(info, "{}", line);
}

sigset_t HandledSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

/// Sleeps until the process is told to stop; reopens the log on SIGHUP. Returns the signal.
int WaitForStop(const sigset_t& signals) {
  for (;;) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    if (signal != SIGHUP) return signal;
    const Status status = log::Reopen();
    if (status.ok()) {
      QUIVER_LOG(info, "log reopened");
    } else {
      QUIVER_LOG(error, "{}", status.message());
    }
  }
}

}  // namespace

std::string Version() { return QUIVER_VERSION; }

int Serve(const std::vector<std::string>& arguments) {
  const Clock::time_point begun = Clock::now();
  for (const std::string& argument : arguments) {
    if (argument == "--help" || argument == "-h") {
      fmt::print("usage: quiver serve [--name value]...\n\n{}", Config::Help());
      return 0;
    }
  }
  const Result<Config> loaded = Config::Load(arguments, Environment());
  if (!loaded.ok()) {
    fmt::print(stderr, "quiver: {}\n", loaded.status().message());
    return 2;
  }
  const Config& config = *loaded;
  if (const Status status = simd::SelectLevel(config.simd); !status.ok()) {
    fmt::print(stderr, "quiver: simd: {}\n", status.message());
    return 2;
  }

  // Blocked here, before any thread exists, so that they reach sigwait and nothing else. A broken pipe is an error
  // that the writer sees.
  const sigset_t signals = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  if (const Status status = log::Configure(config.LogOptions()); !status.ok()) {
    fmt::print(stderr, "quiver: {}\n", status.message());
    return 1;
  }
  std::istringstream settings(config.Describe());
  for (std::string setting; std::getline(settings, setting);) QUIVER_LOG(debug, "setting {}", setting);

  Running running;
  if (const Status status = Start(config, running); !status.ok()) {
    QUIVER_LOG(error, "cannot start: {}", status.message());
    if (!config.log_file.empty()) fmt::print(stderr, "quiver: cannot start: {}\n", status.message());
    Stop(config, running);
    return 1;
  }
  PrintReady(config, running, begun);

  const int signal = WaitForStop(signals);
  QUIVER_LOG(info, "stopping on signal {}", signal);
  // A second one ends the process at once.
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  Stop(config, running);
  QUIVER_LOG(info, "stopped");
  return 0;
}

}  // namespace quiver::cli
