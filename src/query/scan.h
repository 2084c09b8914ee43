// File: query/scan.h
// The exact part of a search: all segments that no index answers for are scanned under the filter.
// Thread rule: pure functions over an immutable view; `parallel` may be nullptr.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "index/flat_search.h"
#include "query/index_search.h"
#include "query/scan_queries.h"
#include "query/search.h"

namespace quiver::query {

/// How many hits to keep of which scores.
struct HitRange {
  size_t keep = 0;
  std::optional<float> radius;
  std::optional<float> range_filter;
};

/// One collector for each of `count` queries.
std::vector<index::TopK> MakeCollectors(const HitRange& range, MetricType metric, size_t count);

/// Scans all segments that the plan gives no index, for all queries, into `results` (collectors of `range`). Errors:
/// those of filters and of segments, kCancelled.
Status ScanSegments(const SearchRequest& request, const ScanQueries& queries, const HitRange& range,
                    const IndexPlan& plan, std::span<index::TopK> results, ThreadPool* parallel);

}  // namespace quiver::query
