// File: segment/segment.h
// Segment: a set of rows of one collection, growing (memory and log) or sealed (mapped file), read page by page.
// A row is visible at T when insert_ts <= T < delete_ts; a version is deleted at most once.
// Thread rule: all methods are const and may be called from any thread while the segment lives.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "expr/column_source.h"
#include "schema/column.h"
#include "storage/segment_file.h"

namespace quiver::segment {

class GrowingSegmentIndex;  // segment/growing_segment_index.h
class SegmentIndex;         // segment/segment_index.h

using Timestamp = uint64_t;

/// Rows per page: the unit of filter evaluation and of growing memory.
inline constexpr uint32_t kPageRows = 4096;
/// 64-bit words of a page's row mask.
inline constexpr uint32_t kPageWords = kPageRows / 64;
/// Delete timestamp of a live row.
inline constexpr Timestamp kNotDeleted = std::numeric_limits<Timestamp>::max();

/// Rows that end at a moment of their own; segment/row_expiry.h.
struct RowExpiry {
  int64_t field_id = 0;           ///< TIMESTAMPTZ field that holds the moment; 0 = rows have none
  std::optional<int64_t> absent;  ///< value of rows in segments older than the field
  int64_t moment = 0;             ///< microseconds since 1970: rows that end at or before it are hidden
};

/// Which rows a read sees.
struct Visibility {
  Timestamp timestamp = 0;                ///< the moment that is read
  Timestamp expired = 0;                  ///< rows inserted at or before this have outlived the collection's TTL
  std::span<const int64_t> partitions{};  ///< rows of these partitions only; empty = all
  RowExpiry expiry{};                     ///< rows that hold when they end
};

/// Rows of a segment, whole pages of them but for the end of a sealed one, and the scalar indexes over exactly these
/// rows: they count from the first.
struct IndexedRange {
  uint32_t first_row = 0;
  uint32_t rows = 0;
  std::vector<std::shared_ptr<const SegmentIndex>> indexes;
};
/// In ascending order of rows. Rows in none of them have no index.
using IndexedRanges = std::vector<IndexedRange>;

/// A primary key by value, for lookups.
using KeyView = std::variant<int64_t, std::string_view>;

/// Reads row `row` of a primary key column.
inline KeyView KeyAt(const Column& column, size_t row) {
  if (column.is_fixed()) return column.Get<int64_t>(row);
  return column.Bytes(row);
}
inline KeyView KeyAt(const ColumnView& column, size_t row) {
  if (column.width != 0) return column.Get<int64_t>(row);
  return column.Bytes(row);
}

/// Returns whether a (short) list of partitions holds `id`.
inline bool Contains(std::span<const int64_t> ids, int64_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

/// Sets mask bits [begin, end).
inline void SetRange(uint64_t* mask, uint32_t begin, uint32_t end) {
  for (uint32_t bit = begin; bit < end;) {
    if (bit % 64 == 0 && end - bit >= 64) {
      mask[bit / 64] = ~0ULL;
      bit += 64;
    } else {
      mask[bit / 64] |= 1ULL << (bit % 64);
      ++bit;
    }
  }
}

class Segment {
 public:
  virtual ~Segment() = default;
  [[nodiscard]] virtual int64_t id() const = 0;
  [[nodiscard]] virtual bool sealed() const = 0;
  /// Rows stored, deleted ones included. May grow; rows below a returned count never change.
  [[nodiscard]] virtual uint32_t row_count() const = 0;
  /// Bytes of memory (growing) or of mapped file (sealed).
  [[nodiscard]] virtual uint64_t byte_size() const = 0;

  /// Values of a field for rows [first_row, first_row + rows). A growing segment needs the range inside one page; a
  /// sealed one gives any range. A field added after this segment was made gives a view that is not present().
  [[nodiscard]] virtual Result<ColumnView> View(int64_t field_id, uint32_t first_row, uint32_t rows) const = 0;

  /// What JSON field `field_id` holds under nested keys, as expr::ColumnSource::json_path; not present() where the
  /// segment does not keep that as a column.
  [[nodiscard]] virtual Result<ColumnView> JsonPath(int64_t /*field_id*/, std::span<const std::string> /*keys*/,
                                                    uint32_t /*first_row*/, uint32_t /*rows*/) const {
    return ColumnView();
  }
  /// The documents of JSON field `field_id` in binary form, as expr::ColumnSource::json_forms; without keys where the
  /// segment keeps none.
  [[nodiscard]] virtual Result<expr::JsonForms> JsonForms(int64_t /*field_id*/, uint32_t /*first_row*/,
                                                          uint32_t /*rows*/) const {
    return expr::JsonForms();
  }
  /// As View, but only which rows are null may be asked of it.
  [[nodiscard]] virtual Result<ColumnView> Validity(int64_t field_id, uint32_t first_row, uint32_t rows) const {
    return View(field_id, first_row, rows);
  }
  /// Facts about the values of a field in a page, all its rows counted; false where none are kept.
  virtual bool Facts(int64_t /*field_id*/, uint32_t /*page*/, expr::PageFacts* /*facts*/) const { return false; }

  /// How the values of a field are spread over the segment; nullptr where that is not kept. Lives as long as this.
  [[nodiscard]] virtual const expr::ValueStatistics* Statistics(int64_t /*field_id*/) const { return nullptr; }

  /// Fills mask bits of rows [page * kPageRows, ...) that are visible; returns how many. `mask` has kPageWords words
  /// and is overwritten; bits past the end are zero.
  virtual uint32_t FillVisible(uint32_t page, const Visibility& visibility, uint64_t* mask) const = 0;
  /// Returns whether every stored row is visible: then no mask is needed.
  [[nodiscard]] virtual bool AllVisible(const Visibility& visibility) const = 0;

  /// The row of `key` that is alive at `timestamp`, if any; partitions and TTL are the caller's to check. Keys are
  /// unique at every timestamp. Error: kCorruption.
  [[nodiscard]] virtual Result<std::optional<uint32_t>> FindVisible(const KeyView& key, Timestamp timestamp) const = 0;
  [[nodiscard]] virtual int64_t partition_of(uint32_t row) const = 0;
  /// Error: kCorruption.
  [[nodiscard]] virtual Result<Timestamp> inserted_at(uint32_t row) const = 0;
  /// kNotDeleted while the row lives.
  [[nodiscard]] virtual Timestamp delete_ts(uint32_t row) const = 0;

  /// The rows that hold this value of the partition key, of the named partitions only unless that is empty, as runs in
  /// row order; found without a look at other rows. Nothing where rows are not sorted by such a key. Error:
  /// kCorruption.
  [[nodiscard]] virtual Result<std::optional<std::vector<storage::RowRange>>> FindPartitionKey(
      const storage::SegmentFile::PartitionKey& /*key*/, std::span<const int64_t> /*partition_ids*/) const {
    return std::optional<std::vector<storage::RowRange>>();
  }

  /// The vector index of this id, over all rows of the segment; nullptr where there is none, or none that may be used:
  /// then the segment is scanned.
  [[nodiscard]] virtual std::shared_ptr<const SegmentIndex> FindIndex(int64_t /*index_id*/) const { return nullptr; }

  /// The index of this id over the first rows of a growing segment; nullptr where there is none.
  [[nodiscard]] virtual std::shared_ptr<const GrowingSegmentIndex> FindGrowingIndex(int64_t /*index_id*/) const {
    return nullptr;
  }
  /// Returns whether the first `rows` rows, some of those stored, are all visible.
  [[nodiscard]] virtual bool FirstVisible(uint32_t /*rows*/, const Visibility& visibility) const {
    return AllVisible(visibility);
  }

  /// The scalar indexes there are, damaged ones among them: one range of all rows where the segment is sealed, ranges
  /// of the rows that came first where it grows. nullptr: none.
  [[nodiscard]] virtual std::shared_ptr<const IndexedRanges> ScalarIndexes() const { return nullptr; }

  /// Returns whether the segment has been found damaged. It is fenced from then on: none of its values is used any
  /// more, and a read that needs it fails with fence(). Whoever has read values where they lie asks afterwards, before
  /// using the outcome: a file may become unreadable while it is read.
  [[nodiscard]] virtual bool fenced() const { return false; }
  /// Code kCorruption with the segment, its collection and what is wrong; Ok while the segment is not fenced.
  [[nodiscard]] virtual Status fence() const { return Status::Ok(); }
  /// Returns false when it is certain, damaged or not, that no row lies in one of these partitions.
  [[nodiscard]] virtual bool MayHoldPartition(std::span<const int64_t> /*partitions*/) const { return true; }
  /// Returns false when it is certain, damaged or not, that no row has this key.
  [[nodiscard]] virtual bool MayHoldKey(const KeyView& /*key*/) const { return true; }

  [[nodiscard]] uint32_t page_count() const { return (row_count() + kPageRows - 1) / kPageRows; }
};

/// Outcome of applying one delete to a segment.
struct DeleteOutcome {
  uint32_t row;
  int64_t partition_id;
};

/// Rows of one partition.
struct PartitionCount {
  int64_t partition_id;
  int64_t rows;
};

}  // namespace quiver::segment
