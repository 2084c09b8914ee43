// File: bench/timer.h
// Timer: wall and processor time of a part of a benchmark. Thread rule: reads clocks of the process; any thread.
#pragma once

#include <fmt/format.h>
#include <time.h>

#include <string>

namespace quiver::bench {

/// Seconds that a clock of clock_gettime shows.
inline double Seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Starts when it is made.
struct Timer {
  double wall = Seconds(CLOCK_MONOTONIC);
  double cpu = Seconds(CLOCK_PROCESS_CPUTIME_ID);
  /// What has passed since then, as members of a JSON object.
  [[nodiscard]] std::string Json() const {
    return fmt::format("\"wall_s\":{:.6f},\"cpu_s\":{:.6f}", Seconds(CLOCK_MONOTONIC) - wall,
                       Seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
  }
};

}  // namespace quiver::bench
