// File: bench/load/server_process.h
// A server started for a measurement: its own ports, its data in a folder that is removed at the end.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace quiver::bench {

class ServerProcess {
 public:
  /// Starts `program serve` with a new data folder inside `parent` and waits until it is ready.
  static Result<std::unique_ptr<ServerProcess>> Start(const std::filesystem::path& program,
                                                      const std::filesystem::path& parent,
                                                      const std::vector<std::string>& further_arguments);

  /// Stops the server and removes its data.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] uint16_t ops_port() const { return ops_port_; }

 private:
  ServerProcess() = default;

  std::filesystem::path data_;
  pid_t pid_ = 0;
  int output_ = -1;
  uint16_t port_ = 0;
  uint16_t ops_port_ = 0;
};

/// Reads one value of the Prometheus text at http://host:port/metrics; an error if the series is not there.
Result<double> ReadMetric(const std::string& host, uint16_t port, std::string_view series);

/// Measures how often a second one thread can append 4 KiB to a new file in `folder` and fdatasync it.
Result<double> MeasureSyncRate(const std::filesystem::path& folder);

}  // namespace quiver::bench
