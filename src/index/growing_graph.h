// File: index/growing_graph.h
// GrowingGraph: the graph over one vector column of rows that keep coming. One linker puts row after row into it while
// searches walk over what is linked so far; rows behind are for the caller to scan.
//
//   QUIVER_ASSIGN_OR_RETURN(auto graph, GrowingGraph::Make(recipe, capacity, sample, {}));
//   QUIVER_RETURN_IF_ERROR(graph->Link(column, row_count, cancelled));                     // the linker, again and
//   again const uint32_t rows = graph->linked(); QUIVER_RETURN_IF_ERROR(graph->Search(rows, queries, 0, column, filter,
//   options, first_row, result, scratch, counters));
//
// It is the graph of sealed segments (vertices as SQ8 codes of a rotated space, or bits; the same pruning; the same
// search and choice of plans), in arrays of fixed places that never move. A row of links is changed where it lies, one
// atomic id after the other: a walk may meet older and newer links side by side, all of which lead to vertices. A walk
// goes over rows below the count that it was begun with, whose codes were complete before that count was published.
// The space is fitted to a sample of the first rows. Rows that turn out to lie elsewhere cost recall, not correctness,
// since hits are scored exactly; outgrown() then asks for a new graph.
// Thread rule: Link, and what is said to be the linker's, by one thread at a time; all else by any number of threads at
// the same time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/status.h"
#include "index/vector_index.h"
#include "schema/column.h"

namespace quiver::index {

struct GraphLinks;

/// A column in pages of `page_rows` rows.
struct PagedColumn {
  uint32_t page_rows = 0;
  /// A page; only rows that are known to be there are read of it.
  std::function<ColumnView(uint32_t page)> page;
};

class GrowingGraph {
 public:
  /// Whether there is a graph for the recipe.
  static bool Serves(const IndexRecipe& recipe);
  /// Bytes that each linked row takes.
  static uint64_t BytesPerRow(const IndexRecipe& recipe);

  /// An empty graph with room for `capacity` rows, whose space is fitted to `sample`, rows from all over what is there.
  /// Room costs memory where it is used. `lengths_differ`: a graph before this one has found rows of different lengths,
  /// by IP. Errors: kIndexNotSupported where !Serves; kMemoryLimit.
  static Result<std::unique_ptr<GrowingGraph>> Make(const IndexRecipe& recipe, uint32_t capacity,
                                                    const ColumnView& sample, bool lengths_differ = false);
  ~GrowingGraph();
  GrowingGraph(const GrowingGraph&) = delete;
  GrowingGraph& operator=(const GrowingGraph&) = delete;

  [[nodiscard]] const IndexRecipe& recipe() const;
  [[nodiscard]] uint32_t capacity() const;
  /// Rows below it are in the graph.
  [[nodiscard]] uint32_t linked() const;
  /// Bytes of memory in use.
  [[nodiscard]] uint64_t memory_bytes() const;
  /// Rows that every search scores, since codes do not hold for them.
  [[nodiscard]] uint32_t strays() const;
  /// Links that a vertex has at most; 0 for a row that is no vertex. Linker only; for tests.
  [[nodiscard]] size_t links(uint32_t row) const;

  /// Linker: whether the rows of late are so unlike the sample that a new graph is worth its work, and whether it is
  /// their lengths.
  [[nodiscard]] bool outgrown() const;
  [[nodiscard]] bool lengths_differ() const;

  /// Linker: puts rows [linked(), until) into the graph, as far as there is room. From time to time it measures what
  /// walks give. Errors: kCancelled, between two rows; kMemoryLimit: what is linked stays.
  Status Link(const PagedColumn& column, uint32_t until, const std::function<bool()>& cancelled);

  /// The links of the rows that are linked, for graphs that take them over (graph_join.h). `new_rows`: of each row, at
  /// least the linked ones, the row of the new column, or kNoRow. What is linked meanwhile
  /// may be missing.
  [[nodiscard]] Result<GraphLinks> Links(std::span<const uint32_t> new_rows) const;

  /// Offers hits among the first `rows` rows, at most linked(), to `result`, as VectorIndex::Search does. `filter` has
  /// no bits beyond `rows`.
  Status Search(uint32_t rows, const FlatQueries& queries, size_t query, const PagedColumn& column,
                const RowFilter& filter, const IndexSearchOptions& options, uint64_t first_row, TopK& result,
                IndexScratch& scratch, IndexCounters& counters) const;

 private:
  class Impl;
  explicit GrowingGraph(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quiver::index
