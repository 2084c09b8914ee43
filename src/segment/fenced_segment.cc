// File: segment/fenced_segment.cc
#include "segment/fenced_segment.h"

#include <algorithm>

namespace quiver::segment {

Status FenceError(int64_t collection_id, int64_t segment_id, std::string_view reason) {
  return Error(StatusCode::kCorruption, "segment {} of collection {} is damaged and fenced: {}", segment_id,
               collection_id, reason);
}

bool MayHold(const storage::SegmentFile& file, std::span<const int64_t> partitions) {
  const auto runs = file.partitions();
  return std::any_of(runs.begin(), runs.end(), [&](const storage::PartitionRun& run) {
    return run.rows > 0 && Contains(partitions, run.partition_id);
  });
}

bool MayHold(const storage::SegmentFile& file, const KeyView& key) {
  if (!file.min_pk() || !file.max_pk()) return false;  // without rows
  if (const auto* number = std::get_if<int64_t>(&key)) {
    const auto* min = std::get_if<int64_t>(&*file.min_pk());
    const auto* max = std::get_if<int64_t>(&*file.max_pk());
    return min == nullptr || max == nullptr || (*min <= *number && *number <= *max);
  }
  const auto text = std::get<std::string_view>(key);
  const auto* min = std::get_if<std::string>(&*file.min_pk());
  const auto* max = std::get_if<std::string>(&*file.max_pk());
  return min == nullptr || max == nullptr || (*min <= text && (max->empty() || text <= *max));
}

FencedSegment::FencedSegment(int64_t collection_id, int64_t id, std::string reason,
                             std::shared_ptr<const storage::SegmentFile> file)
    : collection_id_(collection_id), id_(id), reason_(std::move(reason)), file_(std::move(file)) {}

Result<ColumnView> FencedSegment::View(int64_t /*field_id*/, uint32_t /*first_row*/, uint32_t /*rows*/) const {
  return fence();
}

uint32_t FencedSegment::FillVisible(uint32_t /*page*/, const Visibility& /*visibility*/, uint64_t* mask) const {
  std::fill_n(mask, kPageWords, 0);
  return 0;
}

bool FencedSegment::AllVisible(const Visibility& /*visibility*/) const { return false; }

Result<std::optional<uint32_t>> FencedSegment::FindVisible(const KeyView& key, Timestamp /*timestamp*/) const {
  if (!MayHoldKey(key)) return std::optional<uint32_t>();
  return fence();
}

int64_t FencedSegment::partition_of(uint32_t /*row*/) const { return -1; }
Result<Timestamp> FencedSegment::inserted_at(uint32_t /*row*/) const { return fence(); }
Timestamp FencedSegment::delete_ts(uint32_t /*row*/) const { return kNotDeleted; }

bool FencedSegment::MayHoldPartition(std::span<const int64_t> partitions) const {
  return file_ == nullptr || MayHold(*file_, partitions);
}

bool FencedSegment::MayHoldKey(const KeyView& key) const { return file_ == nullptr || MayHold(*file_, key); }

}  // namespace quiver::segment
