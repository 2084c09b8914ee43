#include "api/lease_keeper.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace quiver::api {

LeaseKeeper::LeaseKeeper(std::vector<Sweep> sweeps) : sweeps_(std::move(sweeps)), thread_([this] { Run(); }) {}

LeaseKeeper::~LeaseKeeper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void LeaseKeeper::Watch() {
  {
    const std::lock_guard lock(mutex_);
    if (watching_) return;
    watching_ = true;
  }
  wake_.notify_one();
}

void LeaseKeeper::Run() {
  pthread_setname_np(pthread_self(), "leases");
  constexpr Clock::time_point kNever = Clock::time_point::max();
  Clock::time_point due = kNever;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (due != kNever) {
      // A lease made meanwhile is due later than this one.
      wake_.wait_until(lock, due, [this] { return stopping_; });
    } else {
      wake_.wait(lock, [this] { return stopping_ || watching_; });
    }
    if (stopping_) return;
    watching_ = false;
    lock.unlock();
    due = kNever;
    for (const Sweep& sweep : sweeps_) {
      due = std::min(due, sweep().value_or(kNever));
    }
    lock.lock();
  }
}

}  // namespace quiver::api
