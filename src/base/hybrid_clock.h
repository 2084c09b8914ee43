// File: base/hybrid_clock.h
// HybridClock: the source of all timestamps. A timestamp is { unix milliseconds : 46 bits; counter : 18 bits }.
//
//   HybridClock clock(stored_mark, [&](Timestamp high) { return meta_store.PutMark(high); });
//   QUIVER_ASSIGN_OR_RETURN(Timestamp ts, clock.Allocate());
//
// Invariants: every timestamp is given once and is greater than all given before, also before a restart and when the
// wall clock steps back. For that a mark ahead of the clock is stored durably; no timestamp above it is ever given. The
// mark is raised on demand by the caller whose timestamp comes near it; an idle clock does nothing.
// Thread rule: all methods may be called from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>

#include "base/status.h"

namespace quiver {

/// Hybrid timestamp: unix milliseconds << 18 | counter.
using Timestamp = uint64_t;

inline constexpr int kTimestampCounterBits = 18;

/// Builds a timestamp; `counter` must be below 2^18.
constexpr Timestamp MakeTimestamp(int64_t unix_ms, uint32_t counter = 0) {
  return static_cast<uint64_t>(unix_ms) << kTimestampCounterBits | counter;
}
/// Returns the unix milliseconds of a timestamp.
constexpr int64_t TimestampMs(Timestamp timestamp) { return static_cast<int64_t>(timestamp >> kTimestampCounterBits); }

class HybridClock {
 public:
  /// Stores `high` durably before it returns ok. Called by one thread at a time.
  using PersistFn = std::function<Status(Timestamp high)>;
  /// Returns unix milliseconds; tests give their own.
  using WallClockFn = std::function<int64_t()>;

  /// How far ahead the mark is stored, and how close an allocation may come before the mark is raised.
  static constexpr int64_t kMarkAheadMs = 3'000;
  static constexpr int64_t kMarkSlackMs = 1'000;

  /// `persisted_high_mark` is the last mark that was stored (0 = none): the clock starts above it.
  HybridClock(Timestamp persisted_high_mark, PersistFn persist, WallClockFn wall_clock = {});
  HybridClock(const HybridClock&) = delete;
  HybridClock& operator=(const HybridClock&) = delete;

  /// Gives `count` >= 1 consecutive timestamps and returns the first. Error: what the PersistFn answered when the mark
  /// had to be raised; nothing is given then.
  Result<Timestamp> Allocate(uint32_t count = 1);

  /// The greatest timestamp given so far; before the first one, the stored mark.
  [[nodiscard]] Timestamp Current() const { return last_.load(std::memory_order_acquire); }

 private:
  Status RaiseMark(Timestamp needed);

  PersistFn persist_;
  WallClockFn wall_clock_;
  std::atomic<Timestamp> last_;
  std::atomic<Timestamp> mark_;
  std::mutex raise_mutex_;
};

}  // namespace quiver
