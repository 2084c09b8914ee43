#include "base/hybrid_clock.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

namespace quiver {

namespace {
constexpr Timestamp kSlack = MakeTimestamp(HybridClock::kMarkSlackMs);

int64_t SystemClockMs() {
  using std::chrono::milliseconds;
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}
}  // namespace

HybridClock::HybridClock(Timestamp persisted_high_mark, PersistFn persist, WallClockFn wall_clock)
    : persist_(std::move(persist)),
      wall_clock_(wall_clock ? std::move(wall_clock) : WallClockFn(SystemClockMs)),
      last_(persisted_high_mark),
      mark_(persisted_high_mark) {}

Result<Timestamp> HybridClock::Allocate(uint32_t count) {
  assert(count >= 1);
  const Timestamp now = MakeTimestamp(std::max<int64_t>(wall_clock_(), 0));
  Timestamp last = last_.load(std::memory_order_relaxed);
  for (;;) {
    const Timestamp first = std::max(now, last + 1);
    const Timestamp end = first + count - 1;
    if (end > mark_.load(std::memory_order_acquire)) {
      const std::lock_guard lock(raise_mutex_);
      QUIVER_RETURN_IF_ERROR(RaiseMark(end));
      last = last_.load(std::memory_order_relaxed);
      continue;
    }
    if (!last_.compare_exchange_weak(last, end, std::memory_order_acq_rel, std::memory_order_relaxed)) continue;

    // Near the mark one thread raises it while the others go on below it. A failure here is harmless: whoever reaches
    // the mark tries again and reports it.
    if (end + kSlack > mark_.load(std::memory_order_relaxed)) {
      const std::unique_lock lock(raise_mutex_, std::try_to_lock);
      if (lock.owns_lock()) static_cast<void>(RaiseMark(end + kSlack));
    }
    return first;
  }
}

Status HybridClock::RaiseMark(Timestamp needed) {
  if (needed <= mark_.load(std::memory_order_relaxed)) return Status::Ok();
  const Timestamp high = MakeTimestamp(TimestampMs(needed) + kMarkAheadMs);
  QUIVER_RETURN_IF_ERROR(persist_(high));
  mark_.store(high, std::memory_order_release);
  return Status::Ok();
}

}  // namespace quiver
