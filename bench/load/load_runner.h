// File: bench/load/load_runner.h
// A closed-loop load: C connections with D calls in flight each, for a time or a number of calls. One thread, own poll
// set, so that the generator takes little of the machine that it measures.
// Reports rates, latencies, and the CPU time of both sides (the server's from /proc/<pid>/stat).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "api/net/grpc_client.h"
#include "base/status.h"

namespace quiver::bench {

struct LoadOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 19530;
  int connections = 1;
  int depth = 1;                             ///< calls in flight over all connections
  std::chrono::milliseconds duration{5000};  ///< measured time, after the warm-up
  std::chrono::milliseconds warm_up{500};
  uint64_t max_calls = 0;  ///< makes exactly so many calls, all measured; 0: by time only. Implies no warm-up
  int server_pid = 0;      ///< 0: the server's CPU time is not read
};

struct LoadResult {
  uint64_t calls = 0;
  uint64_t errors = 0;
  std::string first_error;
  double seconds = 0;
  double p50_us = 0;
  double p95_us = 0;
  double p99_us = 0;
  double p999_us = 0;
  double max_us = 0;
  double longest_gap_us = 0;  ///< the longest time in which no reply came at all
  double client_cpu_us = 0;   ///< per call
  double server_cpu_us = 0;   ///< per call; negative if unknown
};

/// Makes the message of call number `index`; the view must stay valid until the next call of the maker.
using MessageMaker = std::function<std::string_view(uint64_t index)>;

/// Checks a response message; an error text counts the call as failed.
using ReplyChecker = std::function<std::string(uint64_t index, const api::GrpcReply& reply)>;

/// Runs the load. Fails if no connection can be made or the server's CPU time cannot be read.
Result<LoadResult> RunLoad(const LoadOptions& options, std::string_view method, const MessageMaker& make_message,
                           const ReplyChecker& check_reply);

/// Returns user and system time of a process in microseconds (resolution of the kernel: see /proc/<pid>/schedstat and
/// stat; the finer one is taken where it covers all threads).
Result<double> ProcessCpuMicroseconds(int pid);

}  // namespace quiver::bench
