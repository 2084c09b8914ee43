// File: query/grouping.h
// GroupCollector: the best groups out of a stream of rows, best row first. The stream may come in pieces; it is asked
// for more until full() or its end, so that no group is missed.
// Thread rule: a collector belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "index/flat_search.h"

namespace quiver::query {

/// What a grouped search asks for.
struct Grouping {
  std::vector<int64_t> fields;  ///< rows that agree in all of them, NULL being a value, are a group
  size_t size = 1;              ///< rows of a group at most
};

class GroupCollector {
 public:
  /// Takes the first `groups` groups and the first `group_size` rows of each. Both at least 1.
  GroupCollector(size_t groups, size_t group_size) : max_groups_(groups), group_size_(group_size) {}

  /// Takes the next row of the stream if its group has a place.
  void Offer(std::string_view key, const index::Hit& hit);
  /// All groups are there and filled: no later row can be taken.
  [[nodiscard]] bool full() const { return groups_.size() == max_groups_ && filled_ == max_groups_; }
  /// The groups, by their best row; in each the rows in the stream's order. Leaves the collector empty.
  std::vector<std::vector<index::Hit>> Take();

 private:
  size_t max_groups_;
  size_t group_size_;
  size_t filled_ = 0;
  std::unordered_map<std::string, size_t> by_key_;
  std::vector<std::vector<index::Hit>> groups_;
};

}  // namespace quiver::query
