// File: segment/fenced_segment.h
// FencedSegment: stands for a sealed segment whose rows cannot be had: its file or its deletes are missing or damaged,
// or writes could not be applied to it. It shows no rows; a read that needs it fails with fence().
// Thread rule: immutable.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "segment/segment.h"
#include "storage/segment_file.h"

namespace quiver::segment {

/// The error that a fenced segment answers with: code kCorruption, both ids and the reason.
Status FenceError(int64_t collection_id, int64_t segment_id, std::string_view reason);

/// What the footer of a segment file knows about partitions and keys, whatever is wrong with the rest of the file.
bool MayHold(const storage::SegmentFile& file, std::span<const int64_t> partitions);
bool MayHold(const storage::SegmentFile& file, const KeyView& key);

class FencedSegment final : public Segment {
 public:
  /// `file` may be nullptr; where it could be opened it tells which partitions and keys are concerned.
  FencedSegment(int64_t collection_id, int64_t id, std::string reason,
                std::shared_ptr<const storage::SegmentFile> file);

  [[nodiscard]] int64_t id() const override { return id_; }
  [[nodiscard]] bool sealed() const override { return true; }
  [[nodiscard]] uint32_t row_count() const override { return 0; }
  [[nodiscard]] uint64_t byte_size() const override { return file_ == nullptr ? 0 : file_->byte_size(); }
  [[nodiscard]] Result<ColumnView> View(int64_t field_id, uint32_t first_row, uint32_t rows) const override;
  uint32_t FillVisible(uint32_t page, const Visibility& visibility, uint64_t* mask) const override;
  [[nodiscard]] bool AllVisible(const Visibility& visibility) const override;
  [[nodiscard]] Result<std::optional<uint32_t>> FindVisible(const KeyView& key, Timestamp timestamp) const override;
  [[nodiscard]] int64_t partition_of(uint32_t row) const override;
  [[nodiscard]] Result<Timestamp> inserted_at(uint32_t row) const override;
  [[nodiscard]] Timestamp delete_ts(uint32_t row) const override;
  [[nodiscard]] bool fenced() const override { return true; }
  [[nodiscard]] Status fence() const override { return FenceError(collection_id_, id_, reason_); }
  [[nodiscard]] bool MayHoldPartition(std::span<const int64_t> partitions) const override;
  [[nodiscard]] bool MayHoldKey(const KeyView& key) const override;

  [[nodiscard]] const std::string& reason() const { return reason_; }

 private:
  const int64_t collection_id_;
  const int64_t id_;
  const std::string reason_;
  const std::shared_ptr<const storage::SegmentFile> file_;
};

}  // namespace quiver::segment
