// File: api/search_leases.h
// SearchLeases: where each search iterator stands. A client names its iterator by a token and tells the score at which
// its last page ended; the lease adds the keys of the rows of that score that were given, so that rows of equal score
// on both sides of a page border are neither lost nor given twice. A lease that is gone (restart, too many iterators)
// costs only that. Thread rule: all methods may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace quiver::api {

/// Where a page ended.
struct SearchPosition {
  float score = 0;                       ///< of its last row
  std::unordered_set<std::string> keys;  ///< of all rows of that score given so far, as bytes
};

class SearchLeases {
 public:
  /// Makes a new token: 32 hexadecimal digits that nobody guesses.
  std::string Open();
  /// Remembers where the iterator stands; makes room by forgetting the one that was used least recently.
  void Set(const std::string& token, SearchPosition position);
  [[nodiscard]] std::optional<SearchPosition> Find(const std::string& token);

 private:
  static constexpr size_t kMaxLeases = 10'000;
  using Order = std::list<std::pair<std::string, SearchPosition>>;

  std::mutex mutex_;
  Order order_;  // most recently used first
  std::unordered_map<std::string, Order::iterator> by_token_;
};

}  // namespace quiver::api
