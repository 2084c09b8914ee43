#include "api/view_leases.h"

#include <algorithm>

#include "engine/collection.h"

namespace quiver::api {

namespace {
/// A lease ends when it was not used for longer than its time.
constexpr auto kBeyond = std::chrono::milliseconds(1);
}  // namespace

Result<engine::ReadView> ViewLeases::Open(const engine::Engine& engine, const ViewRequest& request,
                                          Clock::time_point deadline) {
  if (!request.iterator) {
    return engine.OpenView(*request.collection, request.partitions, request.guarantee, deadline, request.travel);
  }
  // The names and the load state are those of now; the rows may be those of a lease.
  const Clock::time_point now = Clock::now();
  std::list<Lease> ended;  // segments are let go without the lock
  const auto leased = [&](engine::ReadView& view) {
    const std::lock_guard lock(mutex_);
    TakeUnused(now, &ended);
    const auto found = std::find_if(leases_.begin(), leases_.end(), [&](const Lease& lease) {
      return lease.collection_id == request.collection->id() && lease.timestamp == request.guarantee;
    });
    if (found == leases_.end()) return false;
    found->used = now;
    leases_.splice(leases_.begin(), leases_, found);
    view.timestamp = found->timestamp;
    view.expired = found->expired;
    view.expiry = found->expiry;
    view.segments = found->segments;
    return true;
  };
  QUIVER_ASSIGN_OR_RETURN(engine::ReadView view, engine.OpenView(*request.collection, request.partitions,
                                                                 request.guarantee, deadline, request.travel));
  if (leased(view)) return view;
  const std::lock_guard lock(mutex_);
  leases_.push_front({request.collection->id(), view.timestamp, view.expired, view.expiry, view.segments, now});
  while (leases_.size() > most_) ended.splice(ended.begin(), leases_, std::prev(leases_.end()));
  return view;
}

void ViewLeases::TakeUnused(Clock::time_point now, std::list<Lease>* ended) {
  while (!leases_.empty() && now - leases_.back().used > idle_) {
    ended->splice(ended->begin(), leases_, std::prev(leases_.end()));
  }
}

std::optional<ViewLeases::Clock::time_point> ViewLeases::EndUnused() {
  std::list<Lease> ended;  // segments are let go without the lock
  const std::lock_guard lock(mutex_);
  TakeUnused(Clock::now(), &ended);
  if (leases_.empty()) return std::nullopt;
  return leases_.back().used + idle_ + kBeyond;
}

}  // namespace quiver::api
