// File: segment/growing_segment.h
// GrowingSegment: rows in memory, searchable at once. Columns are cut into chunks of kPageRows rows that never move, so
// readers take no lock:
//
//   chunk { per field: fixed values | string_views into the arena; valid bytes;  insert_ts[]; delete_ts[]; partition[]
//   }
//
// Thread rule: one writer (the sequencer) calls Append and Delete; any number of readers. The writer publishes rows by
// a release store of row_count; a reader that sees a count sees the rows below it. Delete timestamps are atomics. The
// pk map is behind a reader-writer lock that is held for one probe or one batch of insertions.
//
// Every kIndexBlockRows rows make a block, which gets scalar indexes in memory once it is full: no row in it changes
// any more, and deletes are none of an index's business. Readers take the list of what is there, which is replaced as a
// whole.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/memory_budget.h"
#include "schema/collection_schema.h"
#include "segment/growing_segment_index.h"
#include "segment/segment.h"
#include "storage/delta_file.h"

namespace quiver::segment {

/// Rows that get scalar indexes together: few enough that the rows of the unfinished block are scanned in a millisecond
/// or two, and that building never takes long; many enough that few blocks are asked.
inline constexpr uint32_t kIndexBlockRows = 4 * kPageRows;

class GrowingSegment final : public Segment {
 public:
  /// `schema` fixes the columns; rows of a later schema go to a new segment.
  GrowingSegment(int64_t id, std::shared_ptr<const CollectionSchema> schema,
                 const std::shared_ptr<MemoryBudget>& budget = nullptr);
  ~GrowingSegment() override;
  GrowingSegment(const GrowingSegment&) = delete;
  GrowingSegment& operator=(const GrowingSegment&) = delete;

  [[nodiscard]] int64_t id() const override { return id_; }
  [[nodiscard]] bool sealed() const override { return false; }
  [[nodiscard]] uint32_t row_count() const override { return row_count_.load(std::memory_order_acquire); }
  [[nodiscard]] uint64_t byte_size() const override { return byte_size_.load(std::memory_order_relaxed); }
  [[nodiscard]] Result<ColumnView> View(int64_t field_id, uint32_t first_row, uint32_t rows) const override;
  uint32_t FillVisible(uint32_t page, const Visibility& visibility, uint64_t* mask) const override;
  [[nodiscard]] bool AllVisible(const Visibility& visibility) const override {
    return FirstVisible(row_count(), visibility);
  }
  [[nodiscard]] bool FirstVisible(uint32_t rows, const Visibility& visibility) const override;
  [[nodiscard]] std::shared_ptr<const GrowingSegmentIndex> FindGrowingIndex(int64_t index_id) const override;
  [[nodiscard]] Result<std::optional<uint32_t>> FindVisible(const KeyView& key, Timestamp timestamp) const override;
  [[nodiscard]] int64_t partition_of(uint32_t row) const override;
  [[nodiscard]] Result<Timestamp> inserted_at(uint32_t row) const override { return insert_ts(row); }

  [[nodiscard]] const std::shared_ptr<const CollectionSchema>& schema() const { return schema_; }
  [[nodiscard]] std::shared_ptr<const IndexedRanges> ScalarIndexes() const override;
  /// Gives readers indexes over the rows of a full block, beside those that it has. Any thread.
  void AttachIndexes(uint32_t block, std::vector<std::shared_ptr<const SegmentIndex>> indexes);
  /// Takes indexes away from readers; searches that run keep those they have. Any thread.
  void DetachIndexes(const std::function<bool(const SegmentIndex&)>& unwanted);

  [[nodiscard]] Timestamp insert_ts(uint32_t row) const;
  [[nodiscard]] Timestamp delete_ts(uint32_t row) const override;
  [[nodiscard]] uint32_t deleted_count() const { return deleted_count_.load(std::memory_order_relaxed); }

  // What grows beside it in the background; from any thread.
  /// All of them.
  [[nodiscard]] std::vector<std::shared_ptr<GrowingSegmentIndex>> VectorIndexes() const;
  /// Gives it to readers, in the place of another one of its id.
  void AttachVectorIndex(std::shared_ptr<GrowingSegmentIndex> index);
  void DetachVectorIndex(int64_t index_id);
  /// No more rows come: whoever extends its indexes may stop.
  [[nodiscard]] bool complete() const { return complete_.load(std::memory_order_relaxed); }

  // Writer side.
  /// Says that no more rows come.
  void Complete() { complete_.store(true, std::memory_order_relaxed); }
  /// Appends rows of `batch` (columns missing in it become NULL or the field's default). `partitions` has one id per
  /// row. The caller has deleted older versions of these keys; within a batch the caller passes only the last row of a
  /// key.
  void Append(const ColumnBatch& batch, std::span<const uint32_t> rows, std::span<const int64_t> partitions,
              Timestamp timestamp);
  /// Deletes the live version of `key` if it was inserted at or before `kill_before` and (partition != -1) lies there.
  std::optional<DeleteOutcome> Delete(const KeyView& key, Timestamp timestamp, Timestamp kill_before,
                                      int64_t partition_id);
  /// Deletes every live row of a partition (-1 = all) that was inserted at or before `kill_before`: drop partition,
  /// truncate. Returns how many of each partition.
  std::vector<PartitionCount> DeleteAll(int64_t partition_id, Timestamp timestamp, Timestamp kill_before);
  /// From here on every delete is also noted, so that a copy of this segment that is being made can follow.
  void StartJournal() { journal_.emplace(); }
  /// Gives the deletes noted since the start or the last call, in order, and goes on.
  std::vector<storage::RowDelete> TakeJournal() {
    return journal_ ? std::exchange(*journal_, {}) : std::vector<storage::RowDelete>();
  }
  /// As TakeJournal, and ends noting.
  std::vector<storage::RowDelete> EndJournal() {
    return std::exchange(journal_, std::nullopt).value_or(std::vector<storage::RowDelete>());
  }

 private:
  struct Chunk;
  struct Field;
  struct Arena;

  [[nodiscard]] const Chunk& ChunkOf(uint32_t row) const;
  Chunk& EnsureChunk(uint32_t row);
  [[nodiscard]] std::optional<uint32_t> NewestRow(const KeyView& key) const;
  /// Marks a live row dead.
  void Kill(Chunk& chunk, uint32_t row, Timestamp timestamp);
  std::string_view Intern(std::string_view bytes);

  const int64_t id_;
  const std::shared_ptr<const CollectionSchema> schema_;
  std::vector<Field> fields_;
  int64_t pk_slot_ = 0;
  /// Fixed directory so that chunk pointers never move: segments are sealed long before it is full.
  static constexpr uint32_t kMaxChunks = 1024;
  std::unique_ptr<std::atomic<Chunk*>[]> chunks_;
  std::unique_ptr<Arena> arena_;
  std::atomic<uint32_t> row_count_{0};
  std::atomic<uint32_t> deleted_count_{0};
  std::atomic<uint64_t> byte_size_{0};
  std::atomic<bool> complete_{false};
  std::vector<std::shared_ptr<GrowingSegmentIndex>> vector_indexes_;  ///< guarded by index_mutex_
  MemoryCharge charge_;                                               ///< writer only
  mutable std::mutex index_mutex_;
  std::shared_ptr<const IndexedRanges> scalar_indexes_;
  mutable std::shared_mutex keys_mutex_;
  std::optional<std::vector<storage::RowDelete>> journal_;  ///< writer only
  absl::flat_hash_map<int64_t, uint32_t> int_keys_;
  absl::flat_hash_map<std::string_view, uint32_t> string_keys_;
};

/// Most rows that one growing segment can hold; the sequencer starts a new one before.
inline constexpr uint32_t kMaxGrowingRows = 1024U * kPageRows;

}  // namespace quiver::segment
