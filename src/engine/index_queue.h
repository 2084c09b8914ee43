// File: engine/index_queue.h
// IndexQueue: collections whose vector indexes want a look (something to build, to forget, to build anew), with the
// moment from which on. Shared by the engine and by what may outlive it: an index that is found damaged asks through
// it. Thread rule: safe from many threads.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

namespace quiver::engine {

class IndexQueue {
 public:
  using Clock = std::chrono::steady_clock;

  /// Asks for a look once `delay` has passed; an earlier one that is waiting stays.
  void Request(int64_t collection_id, Clock::duration delay = {}) {
    const std::lock_guard lock(mutex_);
    const Clock::time_point at = Clock::now() + delay;
    const auto entry = due_.try_emplace(collection_id, at).first;
    entry->second = std::min(entry->second, at);
    changed_.notify_all();
  }

  /// Waits for a collection that is due and takes it, the longest waiting one first; nothing once stopped.
  std::optional<int64_t> Take() {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (stopped_) return std::nullopt;
      const auto first =
          std::min_element(due_.begin(), due_.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
      if (first == due_.end()) {
        changed_.wait(lock);
      } else if (first->second > Clock::now()) {
        const Clock::time_point until = first->second;
        changed_.wait_until(lock, until);
      } else {
        const int64_t id = first->first;
        due_.erase(first);
        return id;
      }
    }
  }

  void Stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  [[nodiscard]] bool stopped() const {
    const std::lock_guard lock(mutex_);
    return stopped_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int64_t, Clock::time_point> due_;
  bool stopped_ = false;
};

}  // namespace quiver::engine
