// File: api/search_leases.h
// SearchLeases: where each search iterator stands. A client names its iterator by a token and tells the score at which
// its last page ended; the lease adds the keys of the rows of that score that were given, so that rows of equal score
// on both sides of a page border are neither lost nor given twice, and the search itself, which goes on where it stood.
// A lease that is gone (restart, too many iterators) costs only that; a search that is gone (too long unused, too much
// memory) only the time to get there again. Thread rule: all methods may be called from any thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/memory_budget.h"

namespace quiver::query {
class SearchCursor;
}

namespace quiver::api {

/// Where a page ended.
struct SearchPosition {
  float score = 0;                              ///< of its last row
  std::unordered_set<std::string> keys;         ///< of all rows of that score given so far, as bytes
  std::string origin;                           ///< what was asked, so that nothing else is answered by `cursor`
  std::unique_ptr<query::SearchCursor> cursor;  ///< stands behind that page; may be empty

  SearchPosition();
  SearchPosition(SearchPosition&&) noexcept;
  SearchPosition& operator=(SearchPosition&&) noexcept;
  ~SearchPosition();
};

class SearchLeases {
 public:
  using Clock = std::chrono::steady_clock;

  /// Cursors are dropped after `idle`, and those used least recently where all hold more than `most_bytes`.
  /// Their memory is counted in `budget`, of which they take a sixteenth at most.
  explicit SearchLeases(std::shared_ptr<MemoryBudget> budget, Clock::duration idle = std::chrono::minutes(10),
                        uint64_t most_bytes = 256 << 20)
      : idle_(idle), most_bytes_(std::min(most_bytes, budget->limit() / 16)), budget_(std::move(budget)) {}
  ~SearchLeases();

  /// Makes a new token: 32 hexadecimal digits that nobody guesses.
  std::string Open();
  /// Remembers where the iterator stands; makes room by forgetting the one that was used least recently.
  void Set(const std::string& token, SearchPosition position);
  /// Where the iterator stands. The cursor leaves the lease, which stays.
  [[nodiscard]] std::optional<SearchPosition> Find(const std::string& token);
  /// Drops the cursors that were not used for a while; returns when the next is due, nothing where none is left.
  std::optional<Clock::time_point> EndUnused();

 private:
  static constexpr size_t kMaxLeases = 10'000;
  struct Lease {
    std::string token;
    SearchPosition position;
    Clock::time_point used;
    uint64_t bytes = 0;  ///< of its cursor
    MemoryCharge charge;
  };
  using Order = std::list<Lease>;
  using Dropped = std::vector<std::unique_ptr<query::SearchCursor>>;

  /// Takes the cursor out of a lease; the lock is held.
  void Drop(Lease& lease, Dropped* dropped);
  /// Takes the cursors out that are due, or too many; the lock is held. Returns the oldest lease whose cursor stays.
  const Lease* DropUnused(Clock::time_point now, Dropped* dropped);

  const Clock::duration idle_;
  const uint64_t most_bytes_;
  const std::shared_ptr<MemoryBudget> budget_;
  std::mutex mutex_;
  Order order_;  // most recently used first
  uint64_t bytes_ = 0;
  std::unordered_map<std::string, Order::iterator> by_token_;
};

}  // namespace quiver::api
