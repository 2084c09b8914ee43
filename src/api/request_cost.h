// File: api/request_cost.h
// What a read is expected to read, before it runs: whether it goes to the threads that answer quickly, or to those for
// requests that others should not wait for (Handlers::OnCompute). An estimate: nothing but the order of answers hangs
// on it. Thread rule: pure functions, but for what CostOf leaves in its plan.
#pragma once

#include <cstdint>

#include "api/search_plan.h"
#include "engine/collection.h"
#include "expr/filter.h"

namespace quiver::api {

/// Requests above so many bytes are bulk: a scan of that much takes some five milliseconds.
inline constexpr uint64_t kBulkBytes = 64 << 20;

/// What a search is expected to read.
struct SearchCost {
  uint64_t scanned =
      0;               ///< bytes that further queries on the same rows would read again: vectors without index, filters
  uint64_t total = 0;  ///< with the vectors of all its queries, and a fixed sum for each on the index of a segment
};

/// Leaves in the request what it had to look up of the filter's partition keys.
SearchCost CostOf(SearchPlan& plan);

/// Bytes that it takes to find the rows of a filter, at most; nullptr = all rows, which costs nothing.
uint64_t FilterBytes(const engine::Collection& collection, const expr::Filter* filter);

}  // namespace quiver::api
