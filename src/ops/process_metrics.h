// File: ops/process_metrics.h
// Metrics of the process itself (memory, CPU, file descriptors, threads), of the engine and of the network server, read
// when they are asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/metrics.h"

namespace quiver::api {
struct ServerStats;
}
namespace quiver::engine {
class Engine;
}

namespace quiver::ops {

/// What /proc says about this process.
struct ProcessStats {
  double cpu_seconds = 0;  ///< user and system
  uint64_t resident_bytes = 0;
  uint64_t virtual_bytes = 0;
  uint64_t threads = 0;
  uint64_t open_fds = 0;
  uint64_t max_fds = 0;
  double start_time_seconds = 0;  ///< unix time
};
ProcessStats ReadProcessStats();

/// Memory of the machine, or of the container that this process runs in, in bytes.
uint64_t AvailableMemory();

using Registrations = std::vector<metrics::Registry::Registration>;

/// process_resident_memory_bytes and its kin, under the names that Prometheus expects.
Registrations RegisterProcessMetrics(metrics::Registry& registry);
/// Rows, collections, memory by consumer, log bytes and syncs. `engine` outlives the registrations.
Registrations RegisterEngineMetrics(metrics::Registry& registry, const engine::Engine& engine);
/// Connections, requests and bytes of the data port.
Registrations RegisterServerMetrics(metrics::Registry& registry, std::function<api::ServerStats()> stats);

}  // namespace quiver::ops
