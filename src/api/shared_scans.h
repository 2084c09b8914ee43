// File: api/shared_scans.h
// SharedScans: where searches by scan wait for a thread. Those that ask the same of other vectors (same collection,
// filter, parameters, output) and wait at the same time are run as one search of many vectors: the rows are read once
// for all of them, a filter is evaluated once, and blocks of rows are compared with many queries at a time.
//
//   if (scans.Add(name, {exchange, plan})) pool.Submit([&] { Run(scans.Take(name, &more)); ... });
//
// Nobody waits for others to come: with an idle thread a search runs alone and at once.
// Thread rule: all methods may be called from any thread.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "api/exchange.h"
#include "api/search_plan.h"
#include "api/wire.h"
#include "base/metrics.h"
#include "query/search.h"

namespace quiver::api {

/// A search on its way, decoded and checked.
struct WaitingSearch {
  std::shared_ptr<Exchange<wire::SearchRequest, wire::SearchResults>> exchange;
  std::shared_ptr<SearchPlan> plan;
};

class SharedScans {
 public:
  /// Searches that one run answers at most: so long it may take, as a multiple of a single one.
  static constexpr size_t kMostTogether = 64;
  /// Vectors of one search up to which it is put together with others.
  static constexpr size_t kMostVectors = 8;

  /// `most_waiting`: searches that may wait in all; 0 = unlimited.
  explicit SharedScans(size_t most_waiting);

  enum class Place : uint8_t {
    kFirst,  ///< nobody takes this name yet: the caller has to see to it
    kWaits,  ///< who sees to the first one takes it along
    kFull,   ///< not added: too many wait
  };
  /// Adds a search. Searches of one name differ in nothing but their vectors.
  Place Add(const std::string& name, WaitingSearch search);
  /// Takes the oldest searches of a name. `more`: others wait still, and Take has to be called again.
  std::vector<WaitingSearch> Take(const std::string& name, bool* more);
  /// Takes all searches of a name, which nobody will see to.
  std::vector<WaitingSearch> TakeAll(const std::string& name);

 private:
  const size_t most_waiting_;
  metrics::Counter& shared_;
  std::mutex mutex_;
  size_t waiting_ = 0;
  std::unordered_map<std::string, std::deque<WaitingSearch>> by_name_;
};

/// The results of the queries [0, counts[0]), [counts[0], counts[0] + counts[1]), ... each by themselves. The result is
/// not grouped; counts add up to its queries.
std::vector<query::SearchResult> SplitResult(const query::SearchResult& result, std::span<const size_t> counts);

}  // namespace quiver::api
