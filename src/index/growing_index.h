// File: index/growing_index.h
// GrowingIndex: an index over one vector column of rows that keep coming. One linker puts row after row into it while
// searches look at what is in it so far; rows behind are for the caller to scan.
//
//   QUIVER_ASSIGN_OR_RETURN(auto index, GrowingIndex::Make(recipe, capacity, sample));
//   QUIVER_RETURN_IF_ERROR(index->Link(column, row_count, cancelled));  // the linker, again and again
//   const uint32_t rows = index->linked();
//   QUIVER_RETURN_IF_ERROR(
//       index->Search(rows, queries, 0, column, filter, options, first_row, result, scratch, counters));
//
// It is a graph (growing_graph.h) or inverted lists (growing_lists.h), as the recipe of the sealed segment is.
// Thread rule: Link, and what is said to be the linker's, by one thread at a time; all else by any number of threads at
// the same time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/status.h"
#include "index/vector_index.h"
#include "schema/column.h"

namespace quiver::index {

class GrowingGraph;

/// A column in pages of `page_rows` rows.
struct PagedColumn {
  uint32_t page_rows = 0;
  /// A page; only rows that are known to be there are read of it.
  std::function<ColumnView(uint32_t page)> page;
};

class GrowingIndex {
 public:
  /// Whether there is a growing form of what the recipe says.
  static bool Serves(const IndexRecipe& recipe);
  /// An empty index with room for `capacity` rows, whose space is fitted to `sample`, rows from all over what is there.
  /// Room costs memory where it is used. `lengths_differ`: an index before this one has found rows of different
  /// lengths, by IP. Errors: kIndexNotSupported where !Serves; kMemoryLimit.
  static Result<std::unique_ptr<GrowingIndex>> Make(const IndexRecipe& recipe, uint32_t capacity,
                                                    const ColumnView& sample, bool lengths_differ = false);
  virtual ~GrowingIndex() = default;
  GrowingIndex(const GrowingIndex&) = delete;
  GrowingIndex& operator=(const GrowingIndex&) = delete;

  [[nodiscard]] virtual const IndexRecipe& recipe() const = 0;
  [[nodiscard]] virtual uint32_t capacity() const = 0;
  /// Rows below it are in the index.
  [[nodiscard]] virtual uint32_t linked() const = 0;
  /// Bytes of memory in use.
  [[nodiscard]] virtual uint64_t memory_bytes() const = 0;
  /// The graph that it is; nullptr: it is none.
  [[nodiscard]] virtual const GrowingGraph* graph() const { return nullptr; }

  /// Linker: whether the rows of late are so unlike the sample that a new index is worth its work, and whether it is
  /// their lengths.
  [[nodiscard]] virtual bool outgrown() const = 0;
  [[nodiscard]] virtual bool lengths_differ() const = 0;

  /// Linker: puts rows [linked(), until) into the index, as far as there is room. From time to time it measures what
  /// searches find. Errors: kCancelled, between two rows; kMemoryLimit: what is linked stays.
  virtual Status Link(const PagedColumn& column, uint32_t until, const std::function<bool()>& cancelled) = 0;

  /// Offers hits among the first `rows` rows, at most linked(), to `result`, as VectorIndex::Search does. `filter` has
  /// no bits beyond `rows`.
  virtual Status Search(uint32_t rows, const FlatQueries& queries, size_t query, const PagedColumn& column,
                        const RowFilter& filter, const IndexSearchOptions& options, uint64_t first_row, TopK& result,
                        IndexScratch& scratch, IndexCounters& counters) const = 0;

 protected:
  GrowingIndex() = default;
};

}  // namespace quiver::index
