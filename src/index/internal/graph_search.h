// File: index/internal/graph_search.h
// Walks of a query over a finished graph. They work on codes; which candidates are hits is the caller's business.
// Thread rule: GraphView may be shared; GraphScratch belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "index/internal/graph_codes.h"
#include "index/internal/graph_walk.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Buffers of searches on graphs; they grow with use.
struct GraphScratch {
  CodeSpace::Work work;
  std::vector<int8_t> codes;
  WalkPool pool;  ///< candidates of the last walk, best first
  WalkPool seeds;
  Visited visited;
  std::vector<uint32_t> ids, rows;
  std::vector<float> keys, scores;
};

/// Walks towards the query with room for `ef` candidates and leaves them in scratch.pool. `cancelled` may be empty;
/// returns false when it said so.
bool WalkGraph(const GraphView& view, const GraphQuery& query, size_t ef, GraphScratch& scratch,
               IndexCounters& counters, const std::function<bool()>& cancelled = {});

/// As WalkGraph, but only vertices that `matches` accepts become candidates; the walk looks through the others to what
/// lies behind them. May find fewer than there are.
bool WalkGraphMatching(const GraphView& view, const GraphQuery& query, size_t ef,
                       const std::function<bool(uint32_t)>& matches, GraphScratch& scratch, IndexCounters& counters,
                       const std::function<bool()>& cancelled = {});

/// Orders the candidates of the pool, found by coarse codes, by their whole codes.
void RankByWholeCodes(const GraphView& view, const GraphQuery& query, GraphScratch& scratch, IndexCounters& counters);

}  // namespace quiver::index
