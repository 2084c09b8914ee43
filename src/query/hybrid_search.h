// File: query/hybrid_search.h
// Hybrid search: several vector searches over one view, their results fused into one list per query.
// Thread rule: pure functions over an immutable view.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "query/fusion.h"
#include "query/search.h"

namespace quiver::query {

struct HybridExplanation;  // query/explanation.h

/// What orders groups: the best, the sum or the mean of the fused scores of their rows.
enum class GroupScorer : uint8_t { kMax, kSum, kAvg };

struct HybridRequest {
  engine::ReadView view;                       ///< what all searches read; theirs is replaced by it
  std::shared_ptr<const expr::Filter> filter;  ///< nullptr: each search has its own
  std::vector<SearchRequest> searches;         ///< at least one, all with the same number of queries
  Fusion fusion;                               ///< weights: one per search
  size_t limit = 10;                           ///< rows per query, or groups
  size_t offset = 0;
  std::optional<Grouping> group;  ///< of the fused list; searches group for themselves
  GroupScorer group_scorer = GroupScorer::kMax;
  std::vector<int64_t> output_fields;
  HybridExplanation* explanation = nullptr;  ///< filled where it is given; that of a search is not
};

/// Rows by fused score, larger first, ties by primary key; of groups, groups one after another. Errors as of Search.
Result<SearchResult> HybridSearch(const HybridRequest& request, ThreadPool* parallel);

}  // namespace quiver::query
