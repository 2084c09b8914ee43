// File: segment/sealed_segment.h
// SealedSegment: the immutable file of a segment plus what changes about it: delete timestamps in memory, exact at
// every timestamp, in pages that are made at the first delete of one of their rows and published by an atomic pointer.
// Its indexes come and go while it lives.
// Thread rule: one writer (the sequencer, or recovery) calls what is under "Writer side"; any number of readers;
// indexes may be attached from any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/memory_budget.h"
#include "segment/segment.h"
#include "segment/segment_index.h"
#include "storage/delta_file.h"
#include "storage/segment_file.h"

namespace quiver::segment {

class SealedSegment final : public Segment {
 public:
  /// Rows are visible from `visible_from` on even where the file says that they are older (a restored snapshot).
  explicit SealedSegment(std::shared_ptr<const storage::SegmentFile> file, Timestamp visible_from = 0,
                         const std::shared_ptr<MemoryBudget>& budget = nullptr);
  ~SealedSegment() override;
  SealedSegment(const SealedSegment&) = delete;
  SealedSegment& operator=(const SealedSegment&) = delete;

  [[nodiscard]] int64_t id() const override { return file_->segment_id(); }
  [[nodiscard]] bool sealed() const override { return true; }
  [[nodiscard]] uint32_t row_count() const override { return file_->rows(); }
  [[nodiscard]] uint64_t byte_size() const override { return file_->byte_size(); }
  [[nodiscard]] Result<ColumnView> View(int64_t field_id, uint32_t first_row, uint32_t rows) const override {
    return file_->View(field_id, first_row, rows);
  }
  [[nodiscard]] Result<ColumnView> JsonPath(int64_t field_id, std::span<const std::string> keys, uint32_t first_row,
                                            uint32_t rows) const override {
    QUIVER_ASSIGN_OR_RETURN(const storage::SegmentColumn* column, file_->FindJsonPath(field_id, keys));
    if (column == nullptr) return ColumnView();
    return file_->View(column->field_id, first_row, rows);
  }
  [[nodiscard]] Result<expr::JsonForms> JsonForms(int64_t field_id, uint32_t first_row, uint32_t rows) const override {
    return file_->ViewJsonForms(field_id, first_row, rows);
  }
  [[nodiscard]] Result<ColumnView> Validity(int64_t field_id, uint32_t first_row, uint32_t rows) const override {
    return file_->Validity(field_id, first_row, rows);
  }
  bool Facts(int64_t field_id, uint32_t page, expr::PageFacts* facts) const override;
  [[nodiscard]] const expr::ValueStatistics* Statistics(int64_t field_id) const override {
    // What cannot be read fences the segment; the read finds that out at its end.
    const auto known = file_->value_statistics(field_id);
    return known.ok() ? *known : nullptr;
  }
  uint32_t FillVisible(uint32_t page, const Visibility& visibility, uint64_t* mask) const override;
  [[nodiscard]] bool AllVisible(const Visibility& visibility) const override;
  [[nodiscard]] Result<std::optional<std::vector<storage::RowRange>>> FindPartitionKey(
      const storage::SegmentFile::PartitionKey& key, std::span<const int64_t> partition_ids) const override {
    return file_->FindPartitionKey(key, partition_ids);
  }
  [[nodiscard]] Result<std::optional<uint32_t>> FindVisible(const KeyView& key, Timestamp timestamp) const override;
  [[nodiscard]] int64_t partition_of(uint32_t row) const override;
  [[nodiscard]] Result<Timestamp> inserted_at(uint32_t row) const override {
    QUIVER_ASSIGN_OR_RETURN(const std::span<const uint64_t> stamps, file_->insert_timestamps());
    return std::max(stamps[row], visible_from_);
  }
  [[nodiscard]] Timestamp visible_from() const { return visible_from_; }

  [[nodiscard]] std::shared_ptr<const SegmentIndex> FindIndex(int64_t index_id) const override;
  [[nodiscard]] std::shared_ptr<const IndexedRanges> ScalarIndexes() const override;
  /// All indexes, damaged ones included.
  [[nodiscard]] std::vector<std::shared_ptr<const SegmentIndex>> Indexes() const;
  /// Gives the segment an index, in the place of one with the same id. Searches that run keep the one they have.
  void AttachIndex(std::shared_ptr<const SegmentIndex> index);
  void DetachIndex(int64_t index_id);
  /// Set while the segment is about to be replaced, or has been: an index of it would be built in vain.
  [[nodiscard]] bool outgoing() const { return outgoing_.load(std::memory_order_acquire); }
  void set_outgoing(bool outgoing) { outgoing_.store(outgoing, std::memory_order_release); }

  [[nodiscard]] bool fenced() const override { return file_->damaged(); }
  [[nodiscard]] Status fence() const override;
  [[nodiscard]] bool MayHoldPartition(std::span<const int64_t> partitions) const override;
  [[nodiscard]] bool MayHoldKey(const KeyView& key) const override;

  [[nodiscard]] const storage::SegmentFile& file() const { return *file_; }
  [[nodiscard]] uint32_t deleted_count() const { return deleted_count_.load(std::memory_order_acquire); }
  [[nodiscard]] Timestamp delete_ts(uint32_t row) const override;
  /// Returns false when it is certain that no row has ended at `moment` (microseconds since 1970).
  [[nodiscard]] bool MayHaveEnded(const RowExpiry& expiry, int64_t moment) const;
  /// Live rows of each partition run, for statistics.
  [[nodiscard]] std::vector<std::pair<int64_t, int64_t>> LiveRowsByPartition() const;
  /// Number of deletes with a timestamp at or before `until`; cheaper than looking at them.
  [[nodiscard]] uint32_t CountDeletes(Timestamp until) const;
  /// All deletes with a timestamp at or before `until`, by row.
  [[nodiscard]] std::vector<storage::RowDelete> DeletesUntil(Timestamp until) const;

  // Writer side.
  /// As GrowingSegment::Delete.
  Result<std::optional<DeleteOutcome>> Delete(const KeyView& key, Timestamp timestamp, Timestamp kill_before,
                                              int64_t partition_id);
  /// As GrowingSegment::DeleteAll. Error: kCorruption.
  Result<std::vector<PartitionCount>> DeleteAll(int64_t partition_id, Timestamp timestamp, Timestamp kill_before);
  /// Marks a row deleted, whatever it is (recovery, hand-over from another segment). No effect on a deleted row.
  bool DeleteRow(uint32_t row, Timestamp timestamp);
  /// As GrowingSegment.
  void StartJournal() { journal_.emplace(); }
  std::vector<storage::RowDelete> TakeJournal() { return journal_ ? std::exchange(*journal_, {}) : Journal(); }
  std::vector<storage::RowDelete> EndJournal() { return std::exchange(journal_, std::nullopt).value_or(Journal()); }

  /// Deletes that are in no delta file yet.
  [[nodiscard]] bool HasUnsavedDeletes(Timestamp until) const;
  void SetSavedDeletes(uint64_t count) { saved_deletes_.store(count, std::memory_order_relaxed); }

 private:
  using Journal = std::vector<storage::RowDelete>;
  struct DeletePage;

  [[nodiscard]] Timestamp OldestInsert() const { return std::max(file_->min_timestamp(), visible_from_); }
  [[nodiscard]] const DeletePage* PageOf(uint32_t row) const {
    return delete_pages_[row / kPageRows].load(std::memory_order_acquire);
  }

  const std::shared_ptr<const storage::SegmentFile> file_;
  const Timestamp visible_from_;
  std::unique_ptr<std::atomic<DeletePage*>[]> delete_pages_;
  std::atomic<uint32_t> deleted_count_{0};
  std::atomic<uint64_t> saved_deletes_{0};
  std::optional<Journal> journal_;
  /// Publishes the scalar ones among the indexes; the mutex is held.
  void PublishScalarIndexes();

  mutable std::mutex index_mutex_;
  std::vector<std::shared_ptr<const SegmentIndex>> indexes_;  ///< few: one per field, several of JSON
  std::shared_ptr<const IndexedRanges> scalar_indexes_;       ///< the scalar ones among them, for readers
  std::atomic<bool> outgoing_{false};
  MemoryCharge charge_;  ///< of the delete pages; writer only
  mutable std::atomic<bool> fence_logged_{false};
};

}  // namespace quiver::segment
