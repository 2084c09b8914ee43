// File: api/view_leases.h
// ViewLeases: the moments that iterators read at. The first page of an iterator opens a view and tells the client its
// timestamp; the client names it as guarantee timestamp with every further page, and gets the same view: no row is
// lost, repeated or changed between pages, whatever is written, sealed or dropped meanwhile, and whatever the
// retention. A lease that was not used for a while ends; then pages go on with the newest state. Thread rule: all
// methods may be called from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace quiver::api {

/// What a read asks of Engine::OpenView.
struct ViewRequest {
  std::shared_ptr<engine::Collection> collection;
  std::vector<std::string> partitions;
  engine::Timestamp guarantee = 0;
  engine::Timestamp travel = 0;
  bool iterator = false;
};

class ViewLeases {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ViewLeases(Clock::duration idle = std::chrono::minutes(10), size_t most = 1000) : idle_(idle), most_(most) {}

  /// Opens a view, the leased one where an iterator goes on. Errors: those of Engine::OpenView.
  Result<engine::ReadView> Open(const engine::Engine& engine, const ViewRequest& request, Clock::time_point deadline);
  /// Ends the leases that were not used for a while; returns when the next is due, nothing where none is left.
  std::optional<Clock::time_point> EndUnused();

 private:
  struct Lease {
    int64_t collection_id;
    engine::Timestamp timestamp;
    engine::Timestamp expired;
    segment::RowExpiry expiry;
    std::vector<std::shared_ptr<const segment::Segment>> segments;
    Clock::time_point used;
  };

  /// Moves the leases that are due to `ended`; the lock is held.
  void TakeUnused(Clock::time_point now, std::list<Lease>* ended);

  const Clock::duration idle_;
  const size_t most_;
  std::mutex mutex_;
  std::list<Lease> leases_;  // most recently used first
};

}  // namespace quiver::api
