#include "query/grouping.h"

#include <utility>

namespace quiver::query {

void GroupCollector::Offer(std::string_view key, const index::Hit& hit) {
  const auto found = by_key_.find(std::string(key));
  if (found == by_key_.end()) {
    if (groups_.size() == max_groups_) return;
    by_key_.emplace(key, groups_.size());
    groups_.push_back({hit});
    if (group_size_ == 1) ++filled_;
    return;
  }
  std::vector<index::Hit>& group = groups_[found->second];
  if (group.size() == group_size_) return;
  group.push_back(hit);
  if (group.size() == group_size_) ++filled_;
}

std::vector<std::vector<index::Hit>> GroupCollector::Take() {
  by_key_.clear();
  filled_ = 0;
  return std::exchange(groups_, {});
}

}  // namespace quiver::query
