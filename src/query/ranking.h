// File: query/ranking.h
// The steps between scanning and an answer, shared by plain and hybrid search: ranked rows per query, ties in key
// order, the answer's columns. Thread rule: pure functions over an immutable view.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "index/flat_search.h"
#include "query/search.h"

namespace quiver::query {

/// The page of hits that each query of the request answers, all limits, groups and orders applied.
Result<std::vector<std::vector<index::Hit>>> RankQueries(const SearchRequest& request, ThreadPool* parallel);

/// Orders runs of equal scores by primary key, then by element.
Status OrderTies(const engine::ReadView& view, std::vector<index::Hit>& hits);

/// Group keys of the hits' rows, in their order.
Result<std::vector<std::string>> GroupKeys(const engine::ReadView& view, const std::vector<int64_t>& fields,
                                           std::span<const index::Hit> hits);

/// Returns whether the hits of a request are elements of arrays, whose ids are ElementIds.
bool FindsElements(const SearchRequest& request);

/// Fetches keys, output fields and group values of the pages; `elements`: and tells the elements of hits.
Result<SearchResult> MakeResult(const engine::ReadView& view, const std::vector<std::vector<index::Hit>>& pages,
                                const std::vector<int64_t>& output_fields, const std::vector<int64_t>& group_fields,
                                bool elements);

}  // namespace quiver::query
