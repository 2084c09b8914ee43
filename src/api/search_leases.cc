#include "api/search_leases.h"

#include <fmt/format.h>

#include <random>
#include <utility>
#include <vector>

#include "query/search_cursor.h"

namespace quiver::api {

SearchPosition::SearchPosition() = default;
SearchPosition::SearchPosition(SearchPosition&&) noexcept = default;
SearchPosition& SearchPosition::operator=(SearchPosition&&) noexcept = default;
SearchPosition::~SearchPosition() = default;

SearchLeases::~SearchLeases() = default;

std::string SearchLeases::Open() {
  std::random_device random;
  std::string token;
  for (int i = 0; i < 4; ++i) token += fmt::format("{:08x}", random());
  return token;
}

void SearchLeases::Drop(Lease& lease, Dropped* dropped) {
  bytes_ -= std::exchange(lease.bytes, 0);
  lease.charge.Reset();
  dropped->push_back(std::move(lease.position.cursor));
}

const SearchLeases::Lease* SearchLeases::DropUnused(Clock::time_point now, Dropped* dropped) {
  for (auto lease = order_.rbegin(); lease != order_.rend(); ++lease) {
    if (lease->position.cursor == nullptr) continue;
    if (now - lease->used <= idle_ && bytes_ <= most_bytes_) return &*lease;
    Drop(*lease, dropped);
  }
  return nullptr;
}

void SearchLeases::Set(const std::string& token, SearchPosition position) {
  const Clock::time_point now = Clock::now();
  const uint64_t bytes = position.cursor != nullptr ? position.cursor->memory_bytes() : 0;
  Dropped dropped;  // let go without the lock
  const std::lock_guard lock(mutex_);
  if (const auto found = by_token_.find(token); found != by_token_.end()) {
    Drop(*found->second, &dropped);
    order_.erase(found->second);
  }
  order_.push_front({token, std::move(position), now, bytes, MemoryCharge(budget_, MemoryConsumer::kIterators, bytes)});
  by_token_[token] = order_.begin();
  bytes_ += bytes;
  DropUnused(now, &dropped);
  if (order_.size() > kMaxLeases) {
    Drop(order_.back(), &dropped);
    by_token_.erase(order_.back().token);
    order_.pop_back();
  }
}

std::optional<SearchLeases::Clock::time_point> SearchLeases::EndUnused() {
  constexpr auto kBeyond = std::chrono::milliseconds(1);  // a cursor goes when it was not used for longer than its time
  Dropped dropped;                                        // let go without the lock
  const std::lock_guard lock(mutex_);
  const Lease* oldest = DropUnused(Clock::now(), &dropped);
  if (oldest == nullptr) return std::nullopt;
  return oldest->used + idle_ + kBeyond;
}

std::optional<SearchPosition> SearchLeases::Find(const std::string& token) {
  const std::lock_guard lock(mutex_);
  const auto found = by_token_.find(token);
  if (found == by_token_.end()) return std::nullopt;
  order_.splice(order_.begin(), order_, found->second);
  Lease& lease = *found->second;
  lease.used = Clock::now();
  bytes_ -= std::exchange(lease.bytes, 0);
  lease.charge.Reset();
  SearchPosition position;
  position.score = lease.position.score;
  position.keys = lease.position.keys;
  position.origin = lease.position.origin;
  position.cursor = std::move(lease.position.cursor);
  return position;
}

}  // namespace quiver::api
