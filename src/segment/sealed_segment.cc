#include "segment/sealed_segment.h"

#include <algorithm>

namespace quiver::segment {

SealedSegment::SealedSegment(std::shared_ptr<const storage::SegmentFile> file) : file_(std::move(file)) {}
SealedSegment::~SealedSegment() = default;

std::atomic<Timestamp>* SealedSegment::EnsureDeletes() {
  if (deletes_owner_ == nullptr) {
    deletes_owner_ = std::make_unique<std::atomic<Timestamp>[]>(row_count());
    for (uint32_t row = 0; row < row_count(); ++row) {
      deletes_owner_[row].store(kNotDeleted, std::memory_order_relaxed);
    }
    deletes_.store(deletes_owner_.get(), std::memory_order_release);
  }
  return deletes_owner_.get();
}

Timestamp SealedSegment::delete_ts(uint32_t row) const {
  const std::atomic<Timestamp>* deletes = deletes_.load(std::memory_order_acquire);
  return deletes == nullptr ? kNotDeleted : deletes[row].load(std::memory_order_acquire);
}

uint32_t SealedSegment::FillVisible(uint32_t page, const Visibility& visibility, uint64_t* mask) const {
  std::fill_n(mask, kPageWords, 0);
  const uint32_t begin = page * kPageRows;
  if (begin >= row_count()) return 0;
  const uint32_t rows = std::min(row_count() - begin, kPageRows);
  if (visibility.partitions.empty()) {
    SetRange(mask, 0, rows);
  } else {
    for (const storage::PartitionRun& run : file_->partitions()) {
      if (!Contains(visibility.partitions, run.partition_id)) continue;
      const uint32_t from = std::max(run.first_row, begin);
      const uint32_t to = std::min(run.first_row + run.rows, begin + rows);
      if (from < to) SetRange(mask, from - begin, to - begin);
    }
  }
  if (file_->max_timestamp() > visibility.timestamp || file_->min_timestamp() <= visibility.expired) {
    const auto stamps = file_->insert_timestamps();
    // Damaged timestamps would make every row doubtful: none of them is shown, and reading the page's columns reports
    // the damage.
    for (uint32_t row = 0; row < rows; ++row) {
      if (!stamps.ok() || (*stamps)[begin + row] > visibility.timestamp ||
          (*stamps)[begin + row] <= visibility.expired) {
        mask[row / 64] &= ~(1ULL << (row % 64));
      }
    }
  }
  if (const std::atomic<Timestamp>* deletes = deletes_.load(std::memory_order_acquire); deletes != nullptr) {
    for (uint32_t row = 0; row < rows; ++row) {
      if (deletes[begin + row].load(std::memory_order_acquire) <= visibility.timestamp) {
        mask[row / 64] &= ~(1ULL << (row % 64));
      }
    }
  }
  uint32_t count = 0;
  for (uint32_t word = 0; word < kPageWords; ++word) count += static_cast<uint32_t>(__builtin_popcountll(mask[word]));
  return count;
}

bool SealedSegment::AllVisible(const Visibility& visibility) const {
  if (deleted_count() != 0 || file_->max_timestamp() > visibility.timestamp ||
      file_->min_timestamp() <= visibility.expired) {
    return false;
  }
  if (visibility.partitions.empty()) return true;
  const auto runs = file_->partitions();
  return std::all_of(runs.begin(), runs.end(), [&](const storage::PartitionRun& run) {
    return Contains(visibility.partitions, run.partition_id);
  });
}

Result<std::optional<uint32_t>> SealedSegment::FindVisible(const KeyView& key, Timestamp timestamp) const {
  Result<std::span<const uint32_t>> versions = std::holds_alternative<int64_t>(key)
                                                   ? file_->FindPkVersions(std::get<int64_t>(key))
                                                   : file_->FindPkVersions(std::get<std::string_view>(key));
  if (!versions.ok()) return versions.status();
  if (versions->empty()) return std::optional<uint32_t>();
  QUIVER_ASSIGN_OR_RETURN(const std::span<const uint64_t> stamps, file_->insert_timestamps());
  for (size_t i = versions->size(); i-- > 0;) {
    const uint32_t row = (*versions)[i];
    if (stamps[row] <= timestamp && delete_ts(row) > timestamp) return std::optional(row);
  }
  return std::optional<uint32_t>();
}

int64_t SealedSegment::partition_of(uint32_t row) const {
  const auto runs = file_->partitions();
  const auto after = std::upper_bound(runs.begin(), runs.end(), row,
                                      [](uint32_t r, const storage::PartitionRun& run) { return r < run.first_row; });
  return after == runs.begin() ? -1 : std::prev(after)->partition_id;
}

std::vector<std::pair<int64_t, int64_t>> SealedSegment::LiveRowsByPartition() const {
  std::vector<std::pair<int64_t, int64_t>> counts;
  for (const storage::PartitionRun& run : file_->partitions()) {
    int64_t live = run.rows;
    if (deleted_count() != 0) {
      for (uint32_t row = run.first_row; row < run.first_row + run.rows; ++row) {
        if (delete_ts(row) != kNotDeleted) --live;
      }
    }
    counts.emplace_back(run.partition_id, live);
  }
  return counts;
}

std::vector<storage::RowDelete> SealedSegment::DeletesUntil(Timestamp until) const {
  std::vector<storage::RowDelete> deletes;
  if (deleted_count() == 0) return deletes;
  for (uint32_t row = 0; row < row_count(); ++row) {
    const Timestamp timestamp = delete_ts(row);
    if (timestamp <= until) deletes.push_back({row, timestamp});
  }
  return deletes;
}

Result<std::optional<DeleteOutcome>> SealedSegment::Delete(const KeyView& key, Timestamp timestamp,
                                                           Timestamp kill_before, int64_t partition_id) {
  Result<std::optional<uint32_t>> row = std::holds_alternative<int64_t>(key)
                                            ? file_->FindPk(std::get<int64_t>(key))
                                            : file_->FindPk(std::get<std::string_view>(key));
  if (!row.ok()) return row.status();
  if (!*row || delete_ts(**row) != kNotDeleted) return std::optional<DeleteOutcome>();
  if (kill_before < file_->max_timestamp()) {
    QUIVER_ASSIGN_OR_RETURN(const std::span<const uint64_t> stamps, file_->insert_timestamps());
    if (stamps[**row] > kill_before) return std::optional<DeleteOutcome>();
  }
  const int64_t partition = partition_of(**row);
  if (partition_id != -1 && partition != partition_id) return std::optional<DeleteOutcome>();
  DeleteRow(**row, timestamp);
  return std::optional<DeleteOutcome>({**row, partition});
}

uint32_t SealedSegment::DeletePartition(int64_t partition_id, Timestamp timestamp) {
  uint32_t count = 0;
  for (const storage::PartitionRun& run : file_->partitions()) {
    if (run.partition_id != partition_id) continue;
    for (uint32_t row = run.first_row; row < run.first_row + run.rows; ++row) {
      if (DeleteRow(row, timestamp)) ++count;
    }
  }
  return count;
}

bool SealedSegment::DeleteRow(uint32_t row, Timestamp timestamp) {
  std::atomic<Timestamp>& stamp = EnsureDeletes()[row];
  if (stamp.load(std::memory_order_relaxed) != kNotDeleted) return false;
  stamp.store(timestamp, std::memory_order_release);
  deleted_count_.fetch_add(1, std::memory_order_release);
  return true;
}

bool SealedSegment::HasUnsavedDeletes(Timestamp until) const {
  const uint32_t deleted = deleted_count();
  if (deleted == 0 || deleted == saved_deletes_.load(std::memory_order_relaxed)) return false;
  return !DeletesUntil(until).empty();
}

}  // namespace quiver::segment
