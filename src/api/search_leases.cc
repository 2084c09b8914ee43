#include "api/search_leases.h"

#include <fmt/format.h>

#include <random>
#include <utility>

namespace quiver::api {

std::string SearchLeases::Open() {
  std::random_device random;
  std::string token;
  for (int i = 0; i < 4; ++i) token += fmt::format("{:08x}", random());
  return token;
}

void SearchLeases::Set(const std::string& token, SearchPosition position) {
  const std::lock_guard lock(mutex_);
  if (const auto found = by_token_.find(token); found != by_token_.end()) order_.erase(found->second);
  order_.emplace_front(token, std::move(position));
  by_token_[token] = order_.begin();
  if (order_.size() > kMaxLeases) {
    by_token_.erase(order_.back().first);
    order_.pop_back();
  }
}

std::optional<SearchPosition> SearchLeases::Find(const std::string& token) {
  const std::lock_guard lock(mutex_);
  const auto found = by_token_.find(token);
  if (found == by_token_.end()) return std::nullopt;
  order_.splice(order_.begin(), order_, found->second);
  return found->second->second;
}

}  // namespace quiver::api
