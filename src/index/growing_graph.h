// File: index/growing_graph.h
// GrowingGraph: the graph over rows that keep coming, see growing_index.h. It is the graph of sealed segments (vertices
// as SQ8 codes of a rotated space, or bits; the same pruning; the same search and choice of plans), in arrays of fixed
// places that never move. A row of links is changed where it lies, one atomic id after the other: a walk may meet older
// and newer links side by side, all of which lead to vertices. A walk goes over rows below the count that it was begun
// with, whose codes were complete before that count was published.
// The space is fitted to a sample of the first rows. Rows that turn out to lie elsewhere cost recall, not correctness,
// since hits are scored exactly; outgrown() then asks for a new graph.
// Thread rule: as of GrowingIndex.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "index/growing_index.h"

namespace quiver::index {

struct GraphLinks;

class GrowingGraph final : public GrowingIndex {
 public:
  /// Whether there is a graph for the recipe.
  static bool Serves(const IndexRecipe& recipe);
  /// Bytes that each linked row takes.
  static uint64_t BytesPerRow(const IndexRecipe& recipe);
  /// As of GrowingIndex::Make.
  static Result<std::unique_ptr<GrowingGraph>> Make(const IndexRecipe& recipe, uint32_t capacity,
                                                    const ColumnView& sample, bool lengths_differ = false);
  ~GrowingGraph() override;

  [[nodiscard]] const IndexRecipe& recipe() const override;
  [[nodiscard]] uint32_t capacity() const override;
  [[nodiscard]] uint32_t linked() const override;
  [[nodiscard]] uint64_t memory_bytes() const override;
  [[nodiscard]] const GrowingGraph* graph() const override { return this; }
  /// Rows that every search scores, since codes do not hold for them.
  [[nodiscard]] uint32_t strays() const;
  /// Links that a vertex has at most; 0 for a row that is no vertex. Linker only; for tests.
  [[nodiscard]] size_t links(uint32_t row) const;

  [[nodiscard]] bool outgrown() const override;
  [[nodiscard]] bool lengths_differ() const override;

  Status Link(const PagedColumn& column, uint32_t until, const std::function<bool()>& cancelled) override;
  Status Search(uint32_t rows, const FlatQueries& queries, size_t query, const PagedColumn& column,
                const RowFilter& filter, const IndexSearchOptions& options, uint64_t first_row, TopK& result,
                IndexScratch& scratch, IndexCounters& counters) const override;

  /// The links of the rows that are linked, for graphs that take them over (graph_join.h). `new_rows`: of each row, at
  /// least the linked ones, the row of the new column, or kNoRow. What is linked meanwhile
  /// may be missing.
  [[nodiscard]] Result<GraphLinks> Links(std::span<const uint32_t> new_rows) const;

 private:
  class Impl;
  explicit GrowingGraph(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quiver::index
