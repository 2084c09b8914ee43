// File: query/match.h
// Matching rows of a view: visibility, partitions and filter combined into page masks; values of chosen rows fetched.
// Shared by search, query, count and delete by filter. Thread rule: pure functions over an immutable view.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/status.h"
#include "engine/engine.h"
#include "expr/filter.h"
#include "query/search.h"
#include "segment/segment.h"

namespace quiver::query {

/// A row of a view: segment index << 32 | row in that segment. Also the row id that TopK keeps.
constexpr uint64_t RowId(size_t segment, uint32_t row) { return static_cast<uint64_t>(segment) << 32 | row; }
constexpr size_t SegmentOf(uint64_t row_id) { return row_id >> 32; }
constexpr uint32_t RowOf(uint64_t row_id) { return static_cast<uint32_t>(row_id); }

inline segment::Visibility VisibilityOf(const engine::ReadView& view) { return view.visibility(); }

/// Called with each page that has matching rows: page number, mask of kPageWords words, number of set bits.
using PageVisitor = std::function<Status(uint32_t page, const uint64_t* mask, uint32_t count)>;

/// Visits pages [first_page, last_page) of one segment of the view. An empty filter or nullptr matches every visible
/// row. Where the filter names primary keys, only those are looked up. Errors: kCorruption, kCancelled, the visitor's
/// own.
Status VisitMatches(const engine::ReadView& view, size_t segment, uint32_t first_page, uint32_t last_page,
                    const expr::Filter* filter, const Cancelled& cancelled, const PageVisitor& visit);

/// Returns whether the filter confines the rows to few keys, so that pages need not be visited one by one.
bool NamesKeys(const expr::Filter* filter);

/// Copies the values of a field for the rows (in this order); rows of segments without the field get its default.
Result<Column> FetchColumn(const engine::ReadView& view, const FieldSchema& field, std::span<const uint64_t> rows);

}  // namespace quiver::query
