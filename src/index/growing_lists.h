// File: index/growing_lists.h
// GrowingLists: inverted lists of row numbers over rows that keep coming, see growing_index.h. A row goes to the list
// with the nearest centre; a list that has become too long is split in two, whereupon rows nearby that a new centre is
// nearer to move there, and lists that the others have left behind are merged into them (after SPFresh, SOSP 2023).
// So centres follow the rows, and searches look at an ever smaller part of them: by their codes, which stand in one
// array by row (internal/growing_codes.h), and then by the vectors of the best.
// Searches work on a directory of lists that is replaced as a whole when lists are split or merged; a new row is
// appended where it belongs without that.
// Thread rule: as of GrowingIndex.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "index/growing_index.h"

namespace quiver::index {

class GrowingLists final : public GrowingIndex {
 public:
  /// Whether the recipe asks for lists of vectors that they can hold: dense, and binary of up to 32,768 bits.
  static bool Serves(const IndexRecipe& recipe);
  /// As of GrowingIndex::Make.
  static Result<std::unique_ptr<GrowingLists>> Make(const IndexRecipe& recipe, uint32_t capacity,
                                                    const ColumnView& sample, bool lengths_differ = false);
  ~GrowingLists() override;

  [[nodiscard]] const IndexRecipe& recipe() const override;
  [[nodiscard]] uint32_t capacity() const override;
  [[nodiscard]] uint32_t linked() const override;
  [[nodiscard]] uint64_t memory_bytes() const override;
  [[nodiscard]] bool outgrown() const override;
  [[nodiscard]] bool lengths_differ() const override;
  /// Lists there are; rows of the longest; splits and merges so far. For tests and benchmarks.
  struct Shape {
    uint32_t lists = 0, longest = 0, splits = 0, merges = 0;
  };
  [[nodiscard]] Shape shape() const;

  Status Link(const PagedColumn& column, uint32_t until, const std::function<bool()>& cancelled) override;
  Status Search(uint32_t rows, const FlatQueries& queries, size_t query, const PagedColumn& column,
                const RowFilter& filter, const IndexSearchOptions& options, uint64_t first_row, TopK& result,
                IndexScratch& scratch, IndexCounters& counters) const override;

 private:
  class Impl;
  explicit GrowingLists(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quiver::index
