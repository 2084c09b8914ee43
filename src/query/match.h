// File: query/match.h
// Matching rows of a view: visibility, partitions and filter combined into page masks; values of chosen rows fetched.
// Shared by search, query, count and delete by filter. Thread rule: pure functions over an immutable view.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "expr/filter.h"
#include "expr/term_index.h"
#include "query/explanation.h"
#include "query/key_rows.h"
#include "query/search.h"
#include "segment/filter_cache.h"
#include "segment/segment.h"

namespace quiver::query {

/// A row of a view: segment index << 32 | row in that segment. Also the row id that TopK keeps.
constexpr uint64_t RowId(size_t segment, uint32_t row) { return static_cast<uint64_t>(segment) << 32 | row; }
constexpr size_t SegmentOf(uint64_t row_id) { return row_id >> 32; }
constexpr uint32_t RowOf(uint64_t row_id) { return static_cast<uint32_t>(row_id); }

inline segment::Visibility VisibilityOf(const engine::ReadView& view) { return view.visibility(); }

/// What indexes say of some pages of a segment; the rows count from the first of these pages.
struct IndexedPages {
  uint32_t first_page = 0;
  uint32_t end_page = 0;
  expr::IndexedRows found;
};

/// A filter over one segment of a view, with what the segment's scalar indexes say of it. Made once per request and
/// segment, on one thread; then it may be read from many.
class SegmentFilter {
 public:
  /// An empty filter or nullptr matches every row. `explained` (may be nullptr) is told what is done. `known` (may be
  /// nullptr, read here alone) tells what was found of the partition key; else it is looked up.
  SegmentFilter(const engine::ReadView& view, size_t segment, const expr::Filter* filter,
                SegmentExplanation* explained = nullptr, const SegmentKeyRows* known = nullptr);

  [[nodiscard]] const engine::ReadView& view() const { return view_; }
  [[nodiscard]] const segment::Segment& segment() const { return *view_.segments[segment_]; }
  /// nullptr: every row matches.
  [[nodiscard]] const expr::Filter* filter() const { return filter_; }
  /// What indexes and the order of rows by the partition key say, in ascending order of pages; all rows of other pages
  /// are evaluated.
  [[nodiscard]] const std::vector<IndexedPages>& indexed() const { return indexed_; }
  /// At most so many rows pass, where all pages are among indexed(); otherwise nothing.
  [[nodiscard]] std::optional<uint64_t> MostMatches() const;
  /// Where answers for the pages of a sealed segment are kept; nullptr where they are not.
  [[nodiscard]] segment::FilterBitmap* kept() const { return kept_.get(); }
  [[nodiscard]] SegmentExplanation* explained() const { return explained_; }

 private:
  void AskKey(const SegmentKeyRows* known);
  void AskIndexes();
  void AskCache();
  void BeginExplaining();

  const engine::ReadView& view_;
  size_t segment_;
  const expr::Filter* filter_;
  std::vector<IndexedPages> indexed_;
  std::shared_ptr<segment::FilterBitmap> kept_;
  SegmentExplanation* explained_;
};

/// Called with each page that has matching rows: page number, mask of kPageWords words, number of set bits.
using PageVisitor = std::function<Status(uint32_t page, const uint64_t* mask, uint32_t count)>;

/// Visits pages [first_page, last_page) of the filter's segment. Where the filter names primary keys, only those are
/// looked up. Errors: kCorruption, kCancelled, the visitor's own.
Status VisitMatches(const SegmentFilter& filter, uint32_t first_page, uint32_t last_page, const Cancelled& cancelled,
                    const PageVisitor& visit);
/// As above, for one visit of the pages.
Status VisitMatches(const engine::ReadView& view, size_t segment, uint32_t first_page, uint32_t last_page,
                    const expr::Filter* filter, const Cancelled& cancelled, const PageVisitor& visit,
                    SegmentExplanation* explained = nullptr);

/// Returns whether the filter confines the rows to few keys, so that pages need not be visited one by one.
bool NamesKeys(const expr::Filter* filter);

/// Copies the values of a field for the rows (in this order); rows of segments without the field get its default.
Result<Column> FetchColumn(const engine::ReadView& view, const FieldSchema& field, std::span<const uint64_t> rows);

}  // namespace quiver::query
