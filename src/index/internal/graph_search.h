// File: index/internal/graph_search.h
// Walks of a query over a finished graph. They work on codes; which candidates are hits is the caller's business.
// Thread rule: GraphView may be shared; GraphScratch belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "index/internal/graph_codes.h"
#include "index/internal/graph_sketch.h"
#include "index/internal/graph_walk.h"
#include "index/internal/set_bits.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Buffers of searches on graphs; they grow with use.
struct GraphScratch {
  CodeSpace::Work work;
  std::vector<int8_t> codes;
  codec::ResidualPqQuery product_query;
  WalkPool pool;  ///< candidates of the last walk, best first
  WalkPool seeds;
  WalkPool way;  ///< of filtered walks: candidates that lead on, whether they match or not
  SketchQuery sketch;
  Shortlist shortlist, coarse_list, whole_list;  ///< stages of a scan
  Visited visited;
  std::vector<uint32_t> ids, rows;
  std::vector<uint32_t> links, starts;  ///< of a graph that grows: of one vertex; of all walks
  std::vector<float> keys, scores;
};

/// Walks greedily down the upper levels, as if `absent` were no vertex; returns the base vertex to begin at. Uses the
/// marks of the scratch.
uint32_t DescendGraph(const GraphView& view, const GraphQuery& query, GraphScratch& scratch, IndexCounters& counters,
                      uint32_t absent = kNoVertex);

/// Walks towards the query with room for `ef` candidates and leaves them in scratch.pool. `cancelled` may be empty;
/// returns false when it said so. Goes as if `absent` were no vertex.
bool WalkGraph(const GraphView& view, const GraphQuery& query, size_t ef, GraphScratch& scratch,
               IndexCounters& counters, const std::function<bool()>& cancelled = {}, uint32_t absent = kNoVertex);

/// In a graph that grows, of a row: whether it is no vertex, and the next older row with an equal vector.
constexpr uint32_t kNoVertexRow = 0x80000000;
constexpr uint32_t kLastEqualRow = 0x7fffffff;

/// Which rows belong to a vertex, and which of them a filter keeps.
struct VertexFilter {
  const uint64_t* bits = nullptr;        ///< of rows; nullptr: all
  const uint32_t* row_offset = nullptr;  ///< nullptr: vertex i is row i
  const uint32_t* rows = nullptr;
  /// Of a graph that grows, where not every row is a vertex of its own: a chain of rows for each vertex, read while it
  /// gets longer; rows from `end` on do not count.
  const uint32_t* equal_rows = nullptr;
  uint32_t end = 0;

  [[nodiscard]] VertexFilter With(const uint64_t* row_bits) const {
    VertexFilter filter = *this;
    filter.bits = row_bits;
    return filter;
  }
  [[nodiscard]] bool Row(uint32_t row) const { return ((bits[row / 64] >> (row % 64)) & 1) != 0; }
  [[nodiscard]] uint32_t EqualRow(uint32_t row) const { return __atomic_load_n(equal_rows + row, __ATOMIC_RELAXED); }
  /// Whether this number, below the count of vertices, is that of a vertex.
  [[nodiscard]] bool IsVertex(uint32_t vertex) const {
    return equal_rows == nullptr || (EqualRow(vertex) & kNoVertexRow) == 0;
  }
  /// The rows of a vertex of a finished graph, whether they match or not. The argument must live as long as the answer.
  [[nodiscard]] std::span<const uint32_t> RowsOf(const uint32_t& vertex) const {
    if (row_offset == nullptr) return {&vertex, 1};
    return {rows + row_offset[vertex], rows + row_offset[vertex + 1]};
  }
  /// Gives the rows of a vertex that match to `take`, until it says no.
  template <typename Take>
  void VisitRows(uint32_t vertex, const Take& take) const {
    if (equal_rows == nullptr) {
      for (const uint32_t row : RowsOf(vertex)) {
        if ((bits == nullptr || Row(row)) && !take(row)) return;
      }
      return;
    }
    if ((bits == nullptr || Row(vertex)) && !take(vertex)) return;
    for (uint32_t row = EqualRow(vertex) & ~kNoVertexRow; row != kLastEqualRow; row = EqualRow(row) & ~kNoVertexRow) {
      if (row < end && (bits == nullptr || Row(row)) && !take(row)) return;
    }
  }
  [[nodiscard]] bool operator()(uint32_t vertex) const {
    if (bits == nullptr) return true;
    if (row_offset == nullptr && equal_rows == nullptr) return Row(vertex);
    bool any = false;
    VisitRows(vertex, [&any](uint32_t) {
      any = true;
      return false;
    });
    return any;
  }
};

/// Gives the vertices that match to `take`, in blocks (ids, count), until it says no. Returns whether it never did.
/// `matching`: rows that match.
template <typename Take>
bool VisitMatchingVertices(uint32_t vertices, const VertexFilter& matches, uint64_t matching, const Take& take) {
  if (matches.row_offset == nullptr && matches.equal_rows == nullptr) {
    const bool sparse = matches.bits != nullptr && matching < vertices / 50;
    return sparse ? VisitSetBits<2>(matches.bits, vertices, take) : VisitSetBits<4>(matches.bits, vertices, take);
  }
  uint32_t ids[kMostSetBits];
  size_t count = 0;
  for (uint32_t vertex = 0; vertex < vertices; ++vertex) {
    ids[count] = vertex;
    count += matches.IsVertex(vertex) && matches(vertex) ? 1 : 0;
    if (count < kMostSetBits) continue;
    if (!take(static_cast<const uint32_t*>(ids), count)) return false;
    count = 0;
  }
  return count == 0 || take(static_cast<const uint32_t*>(ids), count);
}

/// How a filtered walk ended.
enum class WalkEnd : uint8_t { kFound, kGivenUp, kCancelled };

/// What a filtered walk is to find.
struct CheckedWalk {
  size_t room = 0;    ///< candidates that match
  size_t wanted = 0;  ///< it ends when nothing lies before the `wanted` nearest of them; at most `room`
  size_t budget = 0;  ///< distances after which it gives up
  /// Asked before the walk ends with the share of matching rows among those nearer than the last wanted one: a larger
  /// number makes it go on. May be empty.
  std::function<size_t(double)> wanted_at;
  /// Asked now and then with the share of matching rows met lately: true gives up. May be empty.
  std::function<bool(double)> hopeless;
};

/// Walks as WalkGraph over all vertices, but keeps in scratch.pool those that match.
WalkEnd WalkGraphChecked(const GraphView& view, const GraphQuery& query, const VertexFilter& matches, CheckedWalk& walk,
                         GraphScratch& scratch, IndexCounters& counters, const std::function<bool()>& cancelled);

/// Walks over vertices that match only, with room for `ef` of them, from those in scratch.pool; where few neighbours
/// match, it looks at what lies behind the others. May find fewer than there are; leaves what it found in scratch.pool.
/// Returns false when `cancelled` said so.
bool WalkGraphThrough(const GraphView& view, const GraphQuery& query, size_t ef, const VertexFilter& matches,
                      GraphScratch& scratch, IndexCounters& counters, const std::function<bool()>& cancelled);

/// Of candidates in the order of keys that err, how many may be among the k best: those not worse than the k-th by more
/// than `margin`, and at least `least`.
size_t CandidatesWithin(const WalkPool& pool, float margin, size_t k, size_t least);

/// Orders the candidates of the pool, found by coarse codes, by their whole codes.
void RankByWholeCodes(const GraphView& view, const GraphQuery& query, GraphScratch& scratch, IndexCounters& counters);

}  // namespace quiver::index
