#include "segment/row_expiry.h"

#include <algorithm>
#include <bit>

#include "base/hybrid_clock.h"

namespace quiver::segment {

Timestamp EndOfRow(int64_t microseconds) {
  if (microseconds <= 0) return 0;
  const int64_t ms = microseconds / 1000 + (microseconds % 1000 != 0 ? 1 : 0);
  // Beyond the clock's range a row never ends.
  constexpr int64_t kLastMs = TimestampMs(kNotDeleted);
  return ms > kLastMs ? kNotDeleted : MakeTimestamp(ms);
}

uint32_t HideEnded(const Segment& segment, uint32_t page, const RowExpiry& expiry, uint64_t* mask) {
  const auto count = [&] {
    uint32_t bits = 0;
    for (uint32_t word = 0; word < kPageWords; ++word) bits += static_cast<uint32_t>(std::popcount(mask[word]));
    return bits;
  };
  const auto none = [&] {
    std::fill_n(mask, kPageWords, 0);
    return 0U;
  };
  expr::PageFacts facts;
  if (segment.Facts(expiry.field_id, page, &facts)) {
    if (!facts.has_values || facts.least > expiry.moment) return count();
    if (facts.null_count == 0 && facts.most <= expiry.moment) return none();
  }
  const uint32_t first = page * kPageRows;
  const auto view = segment.View(expiry.field_id, first, std::min(segment.row_count() - first, kPageRows));
  if (!view.ok()) return none();
  if (!view->present()) return expiry.absent && *expiry.absent <= expiry.moment ? none() : count();
  for (uint32_t word = 0; word < kPageWords; ++word) {
    for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1) {
      const uint32_t row = word * 64 + static_cast<uint32_t>(std::countr_zero(bits));
      if (!view->IsNull(row) && view->Get<int64_t>(row) <= expiry.moment) mask[word] &= ~(1ULL << (row % 64));
    }
  }
  return count();
}

Result<bool> HasEnded(const Segment& segment, uint32_t row, const Visibility& visibility) {
  if (visibility.expired != 0) {
    QUIVER_ASSIGN_OR_RETURN(const Timestamp inserted, segment.inserted_at(row));
    if (inserted <= visibility.expired) return true;
  }
  if (visibility.expiry.field_id == 0) return false;
  QUIVER_ASSIGN_OR_RETURN(const Timestamp end, RowEnds(segment, visibility.expiry).Of(row));
  return end <= EndOfRow(visibility.expiry.moment);
}

Result<Timestamp> RowEnds::Read(uint32_t row) {
  const uint32_t page = row / kPageRows;
  const uint32_t first = page * kPageRows;
  // The last page of a growing segment may have grown since it was looked at.
  if (page != page_ || (view_.present() && row - first >= view_.rows)) {
    QUIVER_ASSIGN_OR_RETURN(view_,
                            segment_.View(expiry_.field_id, first, std::min(segment_.row_count() - first, kPageRows)));
    page_ = page;
  }
  if (!view_.present()) return expiry_.absent ? EndOfRow(*expiry_.absent) : kNotDeleted;
  return view_.IsNull(row - first) ? kNotDeleted : EndOfRow(view_.Get<int64_t>(row - first));
}

}  // namespace quiver::segment
