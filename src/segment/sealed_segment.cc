#include "segment/sealed_segment.h"

#include <algorithm>
#include <array>

#include "base/logging.h"
#include "segment/fenced_segment.h"
#include "segment/row_expiry.h"

namespace quiver::segment {

/// The delete timestamps of a page. Reads of the present need not compare them all: `dead` has a bit for each row with
/// one, `newest` is no less than the greatest of them.
struct SealedSegment::DeletePage {
  std::atomic<Timestamp> newest{0};
  std::array<std::atomic<uint64_t>, kPageWords> dead{};
  std::array<std::atomic<Timestamp>, kPageRows> stamps;
};

SealedSegment::SealedSegment(std::shared_ptr<const storage::SegmentFile> file, Timestamp visible_from,
                             const std::shared_ptr<MemoryBudget>& budget)
    : file_(std::move(file)),
      visible_from_(visible_from),
      delete_pages_(std::make_unique<std::atomic<DeletePage*>[]>(page_count())),
      charge_(budget, MemoryConsumer::kDeletes) {}

SealedSegment::~SealedSegment() {
  for (uint32_t page = 0; page < page_count(); ++page) delete delete_pages_[page].load(std::memory_order_relaxed);
}

Timestamp SealedSegment::delete_ts(uint32_t row) const {
  const DeletePage* page = PageOf(row);
  return page == nullptr ? kNotDeleted : page->stamps[row % kPageRows].load(std::memory_order_acquire);
}

bool SealedSegment::Facts(int64_t field_id, uint32_t page, expr::PageFacts* facts) const {
  // Statistics that cannot be read fence the segment; the read finds that out at its end.
  static_assert(kPageRows == storage::kSegmentPageRows);
  if (const auto numbers = file_->page_statistics(field_id); numbers.ok() && page < numbers->size()) {
    const storage::PageStatistics& of = (*numbers)[page];
    *facts = {.null_count = of.null_count,
              .distinct = of.distinct,
              .has_values = of.has_values != 0,
              .has_nan = of.has_nan != 0};
    // A bound is one of the two; which one, the reader knows from the field's type.
    facts->least = of.min.integer;
    facts->most = of.max.integer;
    facts->least_real = of.min.real;
    facts->most_real = of.max.real;
    return true;
  }
  const auto texts = file_->text_statistics(field_id);
  if (!texts.ok() || page >= texts->size()) return false;
  const storage::TextStatistics& of = (*texts)[page];
  *facts = {.null_count = of.null_count, .distinct = of.distinct, .has_values = of.has_values != 0};
  facts->least_text = of.min();
  facts->most_text = of.max();
  facts->most_text_open = of.max_open != 0;
  return true;
}

uint32_t SealedSegment::FillVisible(uint32_t page, const Visibility& visibility, uint64_t* mask) const {
  std::fill_n(mask, kPageWords, 0);
  const uint32_t begin = page * kPageRows;
  if (begin >= row_count() || visibility.timestamp < visible_from_) return 0;
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
  if (file_->max_timestamp() > visibility.timestamp || OldestInsert() <= visibility.expired) {
    const auto stamps = file_->insert_timestamps();
    // Damaged timestamps make every row doubtful: none of them is shown, and the segment is fenced from here on, which
    // the reader finds out before it uses the mask.
    for (uint32_t row = 0; row < rows; ++row) {
      if (!stamps.ok() || (*stamps)[begin + row] > visibility.timestamp ||
          std::max((*stamps)[begin + row], visible_from_) <= visibility.expired) {
        mask[row / 64] &= ~(1ULL << (row % 64));
      }
    }
  }
  if (const DeletePage* deletes = PageOf(begin); deletes != nullptr) {
    // A writer raises `newest` before it sets a bit: while it stands at or below the moment that is read, no bit seen
    // belongs to a later delete.
    uint64_t dead[kPageWords];
    for (uint32_t word = 0; word < kPageWords; ++word) dead[word] = deletes->dead[word].load(std::memory_order_acquire);
    if (deletes->newest.load(std::memory_order_acquire) <= visibility.timestamp) {
      for (uint32_t word = 0; word < kPageWords; ++word) mask[word] &= ~dead[word];
    } else {
      for (uint32_t row = 0; row < rows; ++row) {
        if (deletes->stamps[row].load(std::memory_order_acquire) <= visibility.timestamp) {
          mask[row / 64] &= ~(1ULL << (row % 64));
        }
      }
    }
  }
  if (visibility.expiry.field_id != 0) return HideEnded(*this, page, visibility.expiry, mask);
  uint32_t count = 0;
  for (uint32_t word = 0; word < kPageWords; ++word) count += static_cast<uint32_t>(__builtin_popcountll(mask[word]));
  return count;
}

bool SealedSegment::AllVisible(const Visibility& visibility) const {
  if (deleted_count() != 0 || std::max(file_->max_timestamp(), visible_from_) > visibility.timestamp ||
      OldestInsert() <= visibility.expired ||
      (visibility.expiry.field_id != 0 && MayHaveEnded(visibility.expiry, visibility.expiry.moment))) {
    return false;
  }
  if (visibility.partitions.empty()) return true;
  const auto runs = file_->partitions();
  return std::all_of(runs.begin(), runs.end(), [&](const storage::PartitionRun& run) {
    return Contains(visibility.partitions, run.partition_id);
  });
}

bool SealedSegment::MayHaveEnded(const RowExpiry& expiry, int64_t moment) const {
  const storage::SegmentColumn* column = file_->column(expiry.field_id);
  if (column == nullptr) return expiry.absent && *expiry.absent <= moment;
  if (!column->summary) return true;
  return column->summary->has_values && column->summary->min.integer <= moment;
}

Result<std::optional<uint32_t>> SealedSegment::FindVisible(const KeyView& key, Timestamp timestamp) const {
  Result<std::span<const uint32_t>> versions = std::holds_alternative<int64_t>(key)
                                                   ? file_->FindPkVersions(std::get<int64_t>(key))
                                                   : file_->FindPkVersions(std::get<std::string_view>(key));
  if (!versions.ok()) return versions.status();
  if (versions->empty() || timestamp < visible_from_) return std::optional<uint32_t>();
  QUIVER_ASSIGN_OR_RETURN(const std::span<const uint64_t> stamps, file_->insert_timestamps());
  for (size_t i = versions->size(); i-- > 0;) {
    const uint32_t row = (*versions)[i];
    if (stamps[row] <= timestamp && delete_ts(row) > timestamp) return std::optional(row);
  }
  return std::optional<uint32_t>();
}

std::shared_ptr<const SegmentIndex> SealedSegment::FindIndex(int64_t index_id) const {
  const std::lock_guard lock(index_mutex_);
  for (const auto& index : indexes_) {
    if (index->index_id() == index_id) return index->damaged() ? nullptr : index;
  }
  return nullptr;
}

std::vector<std::shared_ptr<const SegmentIndex>> SealedSegment::Indexes() const {
  const std::lock_guard lock(index_mutex_);
  return indexes_;
}

std::shared_ptr<const IndexedRanges> SealedSegment::ScalarIndexes() const {
  const std::lock_guard lock(index_mutex_);
  return scalar_indexes_;
}

void SealedSegment::PublishScalarIndexes() {
  IndexedRange all{.first_row = 0, .rows = row_count(), .indexes = {}};
  for (const auto& index : indexes_) {
    if (index->scalar() != nullptr) all.indexes.push_back(index);
  }
  scalar_indexes_ = all.indexes.empty() ? nullptr : std::make_shared<const IndexedRanges>(1, std::move(all));
}

void SealedSegment::AttachIndex(std::shared_ptr<const SegmentIndex> index) {
  const std::lock_guard lock(index_mutex_);
  std::erase_if(indexes_, [&](const auto& old) { return old->index_id() == index->index_id(); });
  indexes_.push_back(std::move(index));
  PublishScalarIndexes();
}

void SealedSegment::DetachIndex(int64_t index_id) {
  const std::lock_guard lock(index_mutex_);
  std::erase_if(indexes_, [&](const auto& old) { return old->index_id() == index_id; });
  PublishScalarIndexes();
}

Status SealedSegment::fence() const {
  if (!fenced()) return Status::Ok();
  Status reason = FenceError(file_->collection_id(), id(), file_->damage().message());
  if (!fence_logged_.exchange(true, std::memory_order_relaxed)) QUIVER_LOG(error, "{}", reason.message());
  return reason;
}

bool SealedSegment::MayHoldPartition(std::span<const int64_t> partitions) const { return MayHold(*file_, partitions); }

bool SealedSegment::MayHoldKey(const KeyView& key) const { return MayHold(*file_, key); }

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

uint32_t SealedSegment::CountDeletes(Timestamp until) const {
  uint32_t count = 0;
  for (uint32_t first = 0; deleted_count() != 0 && first < row_count(); first += kPageRows) {
    const DeletePage* page = PageOf(first);
    if (page == nullptr) continue;
    uint32_t dead = 0;
    for (const auto& word : page->dead) {
      dead += static_cast<uint32_t>(__builtin_popcountll(word.load(std::memory_order_acquire)));
    }
    // As in FillVisible: while `newest` stands at or below the moment, no bit seen belongs to a later delete.
    if (page->newest.load(std::memory_order_acquire) > until) {
      dead = static_cast<uint32_t>(std::count_if(page->stamps.begin(), page->stamps.end(), [&](const auto& stamp) {
        return stamp.load(std::memory_order_acquire) <= until;
      }));
    }
    count += dead;
  }
  return count;
}

std::vector<storage::RowDelete> SealedSegment::DeletesUntil(Timestamp until) const {
  std::vector<storage::RowDelete> deletes;
  if (deleted_count() == 0) return deletes;
  for (uint32_t first = 0; first < row_count(); first += kPageRows) {
    if (PageOf(first) == nullptr) continue;
    const uint32_t end = std::min(row_count(), first + kPageRows);
    for (uint32_t row = first; row < end; ++row) {
      if (const Timestamp timestamp = delete_ts(row); timestamp <= until) deletes.push_back({row, timestamp});
    }
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
  if (kill_before < std::max(file_->max_timestamp(), visible_from_)) {
    QUIVER_ASSIGN_OR_RETURN(const Timestamp inserted, inserted_at(**row));
    if (inserted > kill_before) return std::optional<DeleteOutcome>();
  }
  // The index was read where it lies: a file that became unreadable meanwhile gives any row.
  if (file_->file().faulted()) return file_->damage();
  const int64_t partition = partition_of(**row);
  if (partition_id != -1 && partition != partition_id) return std::optional<DeleteOutcome>();
  DeleteRow(**row, timestamp);
  return std::optional<DeleteOutcome>({**row, partition});
}

Result<std::vector<PartitionCount>> SealedSegment::DeleteAll(int64_t partition_id, Timestamp timestamp,
                                                             Timestamp kill_before) {
  std::vector<PartitionCount> killed;
  if (kill_before < OldestInsert()) return killed;
  std::span<const uint64_t> stamps;
  if (kill_before < file_->max_timestamp()) {
    QUIVER_ASSIGN_OR_RETURN(stamps, file_->insert_timestamps());
  }
  for (const storage::PartitionRun& run : file_->partitions()) {
    if (partition_id != -1 && run.partition_id != partition_id) continue;
    int64_t rows = 0;
    for (uint32_t row = run.first_row; row < run.first_row + run.rows; ++row) {
      if (!stamps.empty() && stamps[row] > kill_before) continue;
      if (DeleteRow(row, timestamp)) ++rows;
    }
    if (rows > 0) killed.push_back({run.partition_id, rows});
  }
  return killed;
}

bool SealedSegment::DeleteRow(uint32_t row, Timestamp timestamp) {
  std::atomic<DeletePage*>& entry = delete_pages_[row / kPageRows];
  DeletePage* page = entry.load(std::memory_order_relaxed);
  if (page == nullptr) {
    auto fresh = std::make_unique<DeletePage>();
    for (auto& stamp : fresh->stamps) stamp.store(kNotDeleted, std::memory_order_relaxed);
    page = fresh.release();
    entry.store(page, std::memory_order_release);
    charge_.Grow(sizeof(DeletePage));
  }
  std::atomic<Timestamp>& stamp = page->stamps[row % kPageRows];
  if (stamp.load(std::memory_order_relaxed) != kNotDeleted) return false;
  if (page->newest.load(std::memory_order_relaxed) < timestamp) page->newest.store(timestamp);
  stamp.store(timestamp, std::memory_order_release);
  std::atomic<uint64_t>& dead = page->dead[row % kPageRows / 64];
  dead.store(dead.load(std::memory_order_relaxed) | 1ULL << (row % 64), std::memory_order_release);
  deleted_count_.fetch_add(1, std::memory_order_release);
  if (journal_) journal_->push_back({row, timestamp});
  return true;
}

bool SealedSegment::HasUnsavedDeletes(Timestamp until) const {
  const uint32_t deleted = deleted_count();
  if (deleted == 0 || deleted == saved_deletes_.load(std::memory_order_relaxed)) return false;
  return !DeletesUntil(until).empty();
}

}  // namespace quiver::segment
