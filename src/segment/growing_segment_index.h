// File: segment/growing_segment_index.h
// GrowingSegmentIndex: the index over one vector field of a growing segment, which follows the rows that come. It is
// made and extended in the background; what it has not reached yet is scanned. It lives no longer than its segment.
// Thread rule: Extend by one thread at a time; the rest by any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/memory_budget.h"
#include "base/status.h"
#include "index/growing_index.h"
#include "index/vector_index.h"
#include "segment/segment.h"

namespace quiver::segment {

/// A field of a segment, page by page. The segment outlives it.
index::PagedColumn PagesOf(const Segment& segment, int64_t field_id);

class GrowingSegmentIndex {
 public:
  /// Makes an index without rows, fitted to some of the rows of `segment`, with room for `capacity`. `before`: the one
  /// that it replaces, or nullptr. Errors: of GrowingIndex::Make and of the segment.
  static Result<std::shared_ptr<GrowingSegmentIndex>> Make(int64_t index_id, int64_t field_id,
                                                           const index::IndexRecipe& recipe, uint32_t capacity,
                                                           const Segment& segment,
                                                           const std::shared_ptr<MemoryBudget>& budget,
                                                           const GrowingSegmentIndex* before);

  [[nodiscard]] int64_t index_id() const { return index_id_; }
  [[nodiscard]] int64_t field_id() const { return field_id_; }
  [[nodiscard]] const index::GrowingIndex& index() const { return *index_; }
  /// Rows that there were when it was fitted to some of them.
  [[nodiscard]] uint32_t fitted_rows() const { return fitted_rows_; }
  /// As GrowingIndex says; whoever extends it may ask.
  [[nodiscard]] bool outgrown() const { return index_->outgrown(); }

  /// Links the rows of the segment below `until`. Error: kCancelled.
  Status Extend(const Segment& segment, uint32_t until, const std::function<bool()>& cancelled);

 private:
  GrowingSegmentIndex(int64_t index_id, int64_t field_id, std::unique_ptr<index::GrowingIndex> index,
                      uint32_t fitted_rows, bool lengths_differ, const std::shared_ptr<MemoryBudget>& budget)
      : index_id_(index_id),
        field_id_(field_id),
        index_(std::move(index)),
        fitted_rows_(fitted_rows),
        lengths_differ_(lengths_differ),
        charge_(budget, MemoryConsumer::kIndexes) {}

  const int64_t index_id_;
  const int64_t field_id_;
  const std::unique_ptr<index::GrowingIndex> index_;
  const uint32_t fitted_rows_;
  const bool lengths_differ_;  ///< known when it was made
  uint64_t charged_ = 0;
  MemoryCharge charge_;
};

}  // namespace quiver::segment
