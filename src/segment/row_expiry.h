// File: segment/row_expiry.h
// Rows that end at a moment of their own: the collection property `ttl_field` names a TIMESTAMPTZ field, and a row is
// hidden from the moment on that the field holds. NULL = never. Thread rule: plain values and pure functions; a reader
// belongs to one thread.
#pragma once

#include <cstdint>

#include "segment/segment.h"

namespace quiver::segment {

/// Returns the first timestamp at which a row is hidden that ends at `microseconds` since 1970.
Timestamp EndOfRow(int64_t microseconds);

/// Clears the mask bits of rows of a page that have ended; returns how many bits remain. Where the values cannot be
/// read, the segment is fenced and no bit remains: the reader finds that out at its end, as in FillVisible.
uint32_t HideEnded(const Segment& segment, uint32_t page, const RowExpiry& expiry, uint64_t* mask);

/// Returns whether a row has outlived the collection's TTL or has ended by itself. Error: kCorruption.
Result<bool> HasEnded(const Segment& segment, uint32_t row, const Visibility& visibility);

/// Tells of one row after another when it ends; cheap for neighbours.
class RowEnds {
 public:
  /// `expiry.moment` does not matter. Both must outlive this object.
  RowEnds(const Segment& segment, const RowExpiry& expiry) : segment_(segment), expiry_(expiry) {}

  /// The first timestamp at which the row is hidden; kNotDeleted = never. Error: kCorruption.
  [[nodiscard]] Result<Timestamp> Of(uint32_t row) {
    if (expiry_.field_id == 0) return kNotDeleted;
    return Read(row);
  }

 private:
  Result<Timestamp> Read(uint32_t row);

  const Segment& segment_;
  const RowExpiry& expiry_;
  uint32_t page_ = UINT32_MAX;
  ColumnView view_;
};

}  // namespace quiver::segment
