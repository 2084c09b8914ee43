#include "segment/growing_segment_index.h"

#include <algorithm>
#include <utility>

#include "schema/column.h"

namespace quiver::segment {
namespace {

/// Rows that the codes are fitted to.
constexpr uint32_t kSampleRows = 4096;

}  // namespace

index::PagedColumn PagesOf(const Segment& segment, int64_t field_id) {
  return {kPageRows, [from = &segment, field_id](uint32_t page) {
            const uint32_t first = page * kPageRows;
            const auto view = from->View(field_id, first, std::min(kPageRows, from->row_count() - first));
            return view.ok() ? *view : ColumnView();
          }};
}

Result<std::shared_ptr<GrowingSegmentIndex>> GrowingSegmentIndex::Make(int64_t index_id, int64_t field_id,
                                                                       const index::IndexRecipe& recipe,
                                                                       uint32_t capacity, const Segment& segment,
                                                                       const std::shared_ptr<MemoryBudget>& budget,
                                                                       const GrowingSegmentIndex* before) {
  const uint32_t rows = segment.row_count();
  const index::PagedColumn pages = PagesOf(segment, field_id);
  Column sample = Column::Make(field_id, recipe.type, recipe.dim);
  const uint32_t step = std::max(1U, rows / kSampleRows);
  for (uint32_t row = 0; row < rows; row += step) {
    const ColumnView page = pages.page(row / kPageRows);
    if (!page.present()) return Error(StatusCode::kInternal, "field {} has no values in the segment", field_id);
    if (!page.IsNull(row % kPageRows)) sample.Append(page.Bytes(row % kPageRows));
  }
  const bool lengths_differ = before != nullptr && (before->lengths_differ_ || before->index().lengths_differ());
  QUIVER_ASSIGN_OR_RETURN(auto index, index::GrowingIndex::Make(recipe, capacity, ViewOf(sample), lengths_differ));
  return std::shared_ptr<GrowingSegmentIndex>(
      new GrowingSegmentIndex(index_id, field_id, std::move(index), rows, lengths_differ, budget));
}

Status GrowingSegmentIndex::Extend(const Segment& segment, uint32_t until, const std::function<bool()>& cancelled) {
  const Status linked = index_->Link(PagesOf(segment, field_id_), until, cancelled);
  const uint64_t bytes = index_->memory_bytes();
  // Lists that are merged take less than before; so little is not given back.
  if (bytes > charged_) {
    charge_.Grow(bytes - charged_);
    charged_ = bytes;
  }
  return linked;
}

}  // namespace quiver::segment
