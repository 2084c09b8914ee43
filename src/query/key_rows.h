// File: query/key_rows.h
// What is known of a filter's rows in a segment without looking at rows: those of values of the partition key lie in
// runs that few pages tell (sealed segments are sorted by it), those of indexed terms are counted by the index. Thread
// rule: pure functions over immutable segments.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/status.h"
#include "engine/collection_info.h"
#include "engine/engine.h"
#include "expr/filter.h"
#include "segment/segment.h"

namespace quiver::query {

/// Rows outside of which no row passes a filter, since they hold other values of the partition key.
struct KeyRows {
  std::vector<storage::RowRange> runs;  ///< ascending, apart
  uint64_t count = 0;
  /// Every one of them passes: the filter asks for nothing else.
  bool exact = false;
  /// As expr::IndexedRows::settled: the operand that names the values, if it is one of the first 64.
  uint64_t settled = 0;
};

/// Nothing where the filter does not name few values of the partition key in an operand of its top-level `and`, or the
/// segment is not sorted by it. Error: kCorruption.
Result<std::optional<KeyRows>> FindKeyRows(const engine::CollectionInfo& info, const segment::Segment& segment,
                                           const expr::Filter& filter);

/// What a filter's FindKeyRows found in one segment, for all steps of a request that need it: to look it up means some
/// twenty places of a file that are not in the processor's cache.
struct SegmentKeyRows {
  std::shared_ptr<const segment::Segment> segment;
  std::optional<KeyRows> rows;  ///< nothing where a file is damaged, too: whoever evaluates the filter meets it again
};

/// What `found` tells of segment `index` of a view; nullptr where it tells nothing.
const SegmentKeyRows* FindKnown(const std::vector<SegmentKeyRows>& found, const engine::ReadView& view, size_t index);

/// At most so many rows of the segment pass the filter, as far as can be told in microseconds: all of them where
/// nothing is known. Scalar indexes are asked once they were found sound. An estimate where files are damaged.
/// `keys` (may be nullptr) gets what was found of the partition key.
uint64_t MostMatches(const engine::CollectionInfo& info, const segment::Segment& segment, const expr::Filter& filter,
                     std::optional<KeyRows>* keys = nullptr);

}  // namespace quiver::query
