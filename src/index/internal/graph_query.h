// File: index/internal/graph_query.h
// GraphSearch: one query on a graph, be it finished or growing. It encodes the query, chooses a plan by its cost, finds
// candidates by codes and scores them exactly.
//
//   return GraphSearch(contents, {queries, query, rows, filter, options, first_row, result, scratch, counters}).Run();
//
// Thread rule: belongs to one thread; GraphContents may be shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"
#include "index/internal/graph_codes.h"
#include "index/internal/graph_layout.h"
#include "index/internal/graph_plan.h"
#include "index/internal/graph_search.h"
#include "index/internal/graph_sketch.h"
#include "index/internal/row_scorer.h"
#include "index/vector_index.h"

namespace quiver::index {

/// What a search reads of a graph.
struct GraphContents {
  const GraphView& view;
  const CodeSpace* space = nullptr;                 ///< nullptr: vertices are bits
  const codec::ResidualPqCodebook* book = nullptr;  ///< of product codes
  float candidates = 0;                             ///< GraphMargin::candidates
  const GraphSketches* sketches = nullptr;
  float usual_scale = 0;                     ///< of codes
  VertexFilter rows;                         ///< of each vertex; its `bits` are those of the search
  std::span<const uint32_t> strays, zeros;   ///< rows that are no vertices
  std::span<const GraphCurvePoint> curve{};  ///< empty: not measured
  uint32_t row_count = 0;
  double row_bytes = 0;            ///< of a raw vector
  PlanTimings* timings = nullptr;  ///< of searches of this graph; nullptr: none are taken

  /// What costs depend on.
  [[nodiscard]] GraphShape Shape() const;
  /// The room of the walk: as asked for, or the least that reaches the recall on the measured curve.
  [[nodiscard]] size_t EfFor(const IndexSearchOptions& options) const;
};

/// One search: what all its steps need.
struct GraphCall {
  const FlatQueries& queries;
  size_t query;
  const RowScorer& rows;
  const RowFilter& filter;
  const IndexSearchOptions& options;
  uint64_t first_row;
  TopK& result;
  GraphScratch& scratch;
  IndexCounters& counters;
  uint32_t absent = kNoVertex;  ///< vertex that an unfiltered walk goes without

  [[nodiscard]] bool Matches(uint32_t row) const {
    return filter.bits == nullptr || ((filter.bits[row / 64] >> (row % 64)) & 1) != 0;
  }
};

class GraphSearch {
 public:
  /// Both outlive it.
  GraphSearch(const GraphContents& graph, const GraphCall& call);

  /// Offers the hits. As VectorIndex::Search.
  Status Run();

 private:
  [[nodiscard]] GraphQuery EncodeQuery();
  /// Of the codes of the query.
  [[nodiscard]] float QueryLength() const;
  [[nodiscard]] size_t RefineFor() const;
  Status ScanCodes(size_t ef);
  Status WalkFiltered(const GraphPlanner& planner, const GraphFilter& filter, size_t ef, SearchPlan plan);
  Status Rank(size_t wanted);
  [[nodiscard]] size_t WorthScoring(size_t wanted) const;
  [[nodiscard]] bool FoundEnough() const;
  void ScoreAndOffer(std::span<const uint32_t> rows);
  Status ScanExactly();
  void Refine(size_t wanted);
  void OfferRest();

  const GraphContents& graph_;
  const GraphCall& call_;
  const VertexFilter matches_;
  GraphQuery encoded_;  ///< unless few rows are scored at once
};

}  // namespace quiver::index
