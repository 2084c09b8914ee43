// File: api/lease_keeper.h
// LeaseKeeper: ends leases that nobody used for a while, so that an iterator that was left in the middle does not hold
// segments and memory until the next one comes. Its thread sleeps until the next lease is due; while there is none it
// sleeps for good, so a server at rest does nothing.
//
//   LeaseKeeper keeper({[&] { return views.EndUnused(); }, [&] { return searches.EndUnused(); }});
//   ... views got a lease ...
//   keeper.Watch();
//
// Thread rule: Watch may be called from any thread, also while the sweeps run; the destructor waits for its thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace quiver::api {

class LeaseKeeper {
 public:
  using Clock = std::chrono::steady_clock;
  /// Ends what is due; returns when the next lease will be, or nothing where none is held.
  using Sweep = std::function<std::optional<Clock::time_point>()>;

  explicit LeaseKeeper(std::vector<Sweep> sweeps);
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  /// There is a lease, maybe the only one. Leases that are made later are due later.
  void Watch();

 private:
  void Run();

  const std::vector<Sweep> sweeps_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool watching_ = false;  ///< a lease was made since the last sweep began
  bool stopping_ = false;
  std::thread thread_;  ///< last: it uses what stands above
};

}  // namespace quiver::api
