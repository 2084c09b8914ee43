#include "segment/growing_segment.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <mutex>
#include <new>

#include "io/memory_advice.h"
#include "schema/default_column.h"
#include "segment/row_expiry.h"
#include "segment/segment_index.h"

namespace quiver::segment {

namespace {

constexpr size_t kAlignment = 64;
constexpr uint32_t kNoRow = UINT32_MAX;

struct AlignedFree {
  void operator()(std::byte* pointer) const { std::free(pointer); }
};
using AlignedBytes = std::unique_ptr<std::byte[], AlignedFree>;

/// Memory that costs physical pages only where it is written: large blocks come from fresh mappings. With `whole`, a
/// block that will be filled is asked for in huge pages where it has room for one: half of the time of a replay was the
/// faults of small ones.
AlignedBytes AllocateAligned(size_t bytes, bool whole) {
  const bool huge = whole && bytes >= io::kHugePage;
  const size_t alignment = huge ? io::kHugePage : kAlignment;
  const size_t rounded = std::max((bytes + kAlignment - 1) / kAlignment * kAlignment, kAlignment);
  void* pointer = nullptr;
  if (::posix_memalign(&pointer, alignment, rounded) != 0) throw std::bad_alloc();
  if (huge) io::AdviseHugePages(pointer, rounded);
  return AlignedBytes(static_cast<std::byte*>(pointer));
}

}  // namespace

struct GrowingSegment::Field {
  int64_t id;
  DataType type;
  DataType element_type;
  size_t width;
  bool has_nulls;   ///< nullable fields keep valid bytes
  Column fallback;  ///< one row: the value of rows that lack this column (default value or NULL)
};

struct GrowingSegment::Chunk {
  struct Slot {
    AlignedBytes fixed;
    std::unique_ptr<std::string_view[]> strings;
    std::unique_ptr<uint8_t[]> valid;
  };
  std::vector<Slot> slots;
  std::unique_ptr<Timestamp[]> insert_ts = std::make_unique_for_overwrite<Timestamp[]>(kPageRows);
  std::unique_ptr<std::atomic<Timestamp>[]> delete_ts{new std::atomic<Timestamp>[kPageRows]};
  std::unique_ptr<int64_t[]> partition = std::make_unique_for_overwrite<int64_t[]>(kPageRows);
  /// Row of the previous version of the same key in this segment, for reads between two versions.
  std::unique_ptr<uint32_t[]> previous = std::make_unique_for_overwrite<uint32_t[]>(kPageRows);
  std::atomic<uint32_t> deleted{0};
};

/// Bump allocator of variable-length values; nothing moves or is freed before the segment.
struct GrowingSegment::Arena {
  std::vector<std::unique_ptr<char[]>> blocks;
  size_t block_size = 4096;
  size_t used = 0;
  size_t capacity = 0;

  char* Allocate(size_t bytes) {
    if (capacity - used < bytes) {
      block_size = std::min<size_t>(block_size * 2, 1 << 20);
      capacity = std::max(block_size, bytes);
      blocks.push_back(std::make_unique_for_overwrite<char[]>(capacity));
      used = 0;
    }
    char* pointer = blocks.back().get() + used;
    used += bytes;
    return pointer;
  }
};

GrowingSegment::GrowingSegment(int64_t id, std::shared_ptr<const CollectionSchema> schema,
                               const std::shared_ptr<MemoryBudget>& budget)
    : id_(id),
      schema_(std::move(schema)),
      chunks_(new std::atomic<Chunk*>[kMaxChunks]),
      arena_(std::make_unique<Arena>()),
      charge_(budget, MemoryConsumer::kGrowing) {
  for (uint32_t i = 0; i < kMaxChunks; ++i) chunks_[i].store(nullptr, std::memory_order_relaxed);
  for (const FieldSchema& field : schema_->fields) {
    if (field.is_primary) pk_slot_ = static_cast<int64_t>(fields_.size());
    Field slot{.id = field.field_id,
               .type = field.type,
               .element_type = field.element_type,
               .width = FixedWidth(field.type, field.dim),
               .has_nulls = field.nullable,
               .fallback = DefaultColumn(field, 1)};
    fields_.push_back(std::move(slot));
  }
}

GrowingSegment::~GrowingSegment() {
  for (uint32_t i = 0; i < kMaxChunks; ++i) delete chunks_[i].load(std::memory_order_relaxed);
}

const GrowingSegment::Chunk& GrowingSegment::ChunkOf(uint32_t row) const {
  return *chunks_[row / kPageRows].load(std::memory_order_acquire);
}

GrowingSegment::Chunk& GrowingSegment::EnsureChunk(uint32_t row) {
  std::atomic<Chunk*>& entry = chunks_[row / kPageRows];
  Chunk* chunk = entry.load(std::memory_order_relaxed);
  if (chunk == nullptr) {
    auto fresh = std::make_unique<Chunk>();
    for (const Field& field : fields_) {
      Chunk::Slot slot;
      if (field.width != 0) {
        // The first chunk of the many small collections is hardly ever filled.
        slot.fixed = AllocateAligned(field.width * kPageRows, row >= kPageRows);
      } else {
        slot.strings = std::make_unique_for_overwrite<std::string_view[]>(kPageRows);
      }
      if (field.has_nulls) slot.valid = std::make_unique_for_overwrite<uint8_t[]>(kPageRows);
      fresh->slots.push_back(std::move(slot));
    }
    chunk = fresh.release();
    entry.store(chunk, std::memory_order_release);
  }
  return *chunk;
}

std::string_view GrowingSegment::Intern(std::string_view bytes) {
  if (bytes.empty()) return {};
  char* copy = arena_->Allocate(bytes.size());
  std::memcpy(copy, bytes.data(), bytes.size());
  return {copy, bytes.size()};
}

void GrowingSegment::Append(const ColumnBatch& batch, std::span<const uint32_t> rows,
                            std::span<const int64_t> partitions, Timestamp timestamp) {
  const uint32_t first = row_count_.load(std::memory_order_relaxed);
  assert(rows.size() <= kMaxGrowingRows - first);
  uint64_t added_bytes = rows.size() * (sizeof(Timestamp) * 2 + sizeof(int64_t) + sizeof(uint32_t) + 16);

  // Column by column in runs that stay inside one chunk: fixed-width values are copied, strings interned.
  for (size_t slot_index = 0; slot_index < fields_.size(); ++slot_index) {
    const Field& field = fields_[slot_index];
    const Column* source = batch.Find(field.id);
    const bool absent = source == nullptr;
    if (absent) source = &field.fallback;
    for (size_t i = 0; i < rows.size();) {
      const auto row = static_cast<uint32_t>(first + i);
      Chunk& chunk = EnsureChunk(row);
      Chunk::Slot& slot = chunk.slots[slot_index];
      const uint32_t begin = row % kPageRows;
      const size_t run = std::min<size_t>(rows.size() - i, kPageRows - begin);
      for (size_t j = 0; j < run; ++j) {
        const size_t from = absent ? 0 : rows[i + j];
        const std::string_view bytes = source->Bytes(from);
        if (field.width != 0) {
          std::memcpy(slot.fixed.get() + (begin + j) * field.width, bytes.data(), field.width);
        } else {
          slot.strings[begin + j] = Intern(bytes);
          added_bytes += bytes.size() + sizeof(std::string_view);
        }
        if (field.has_nulls) slot.valid[begin + j] = source->IsNull(from) ? 0 : 1;
      }
      i += run;
    }
    added_bytes += rows.size() * (field.width + (field.has_nulls ? 1 : 0));
  }

  {
    const std::unique_lock lock(keys_mutex_);
    const Field& pk = fields_[static_cast<size_t>(pk_slot_)];
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<uint32_t>(first + i);
      Chunk& chunk = EnsureChunk(row);
      const uint32_t at = row % kPageRows;
      chunk.insert_ts[at] = timestamp;
      chunk.delete_ts[at].store(kNotDeleted, std::memory_order_relaxed);
      chunk.partition[at] = partitions[i];
      const Chunk::Slot& slot = chunk.slots[static_cast<size_t>(pk_slot_)];
      if (pk.width != 0) {
        int64_t key = 0;
        std::memcpy(&key, slot.fixed.get() + at * sizeof(key), sizeof(key));
        const auto [entry, inserted] = int_keys_.try_emplace(key, row);
        chunk.previous[at] = inserted ? kNoRow : entry->second;
        entry->second = row;
      } else {
        const auto [entry, inserted] = string_keys_.try_emplace(slot.strings[at], row);
        chunk.previous[at] = inserted ? kNoRow : entry->second;
        entry->second = row;
      }
    }
  }
  byte_size_.fetch_add(added_bytes, std::memory_order_relaxed);
  charge_.Grow(added_bytes);
  row_count_.store(static_cast<uint32_t>(first + rows.size()), std::memory_order_release);
}

std::optional<uint32_t> GrowingSegment::NewestRow(const KeyView& key) const {
  const std::shared_lock lock(keys_mutex_);
  if (const auto* int_key = std::get_if<int64_t>(&key)) {
    const auto found = int_keys_.find(*int_key);
    if (found != int_keys_.end()) return found->second;
  } else {
    const auto found = string_keys_.find(std::get<std::string_view>(key));
    if (found != string_keys_.end()) return found->second;
  }
  return std::nullopt;
}

std::optional<DeleteOutcome> GrowingSegment::Delete(const KeyView& key, Timestamp timestamp, Timestamp kill_before,
                                                    int64_t partition_id) {
  const std::optional<uint32_t> row = NewestRow(key);
  if (!row) return std::nullopt;
  Chunk& chunk = *chunks_[*row / kPageRows].load(std::memory_order_relaxed);
  const uint32_t at = *row % kPageRows;
  if (chunk.delete_ts[at].load(std::memory_order_relaxed) != kNotDeleted) return std::nullopt;
  if (chunk.insert_ts[at] > kill_before) return std::nullopt;
  if (partition_id != -1 && chunk.partition[at] != partition_id) return std::nullopt;
  Kill(chunk, *row, timestamp);
  return DeleteOutcome{*row, chunk.partition[at]};
}

void GrowingSegment::Kill(Chunk& chunk, uint32_t row, Timestamp timestamp) {
  chunk.delete_ts[row % kPageRows].store(timestamp, std::memory_order_release);
  chunk.deleted.fetch_add(1, std::memory_order_release);
  deleted_count_.fetch_add(1, std::memory_order_release);
  if (journal_) journal_->push_back({row, timestamp});
}

std::vector<PartitionCount> GrowingSegment::DeleteAll(int64_t partition_id, Timestamp timestamp,
                                                      Timestamp kill_before) {
  std::vector<PartitionCount> killed;
  const uint32_t rows = row_count();
  for (uint32_t row = 0; row < rows; ++row) {
    Chunk& chunk = *chunks_[row / kPageRows].load(std::memory_order_relaxed);
    const uint32_t at = row % kPageRows;
    const int64_t partition = chunk.partition[at];
    if (partition_id != -1 && partition != partition_id) continue;
    if (chunk.insert_ts[at] > kill_before) continue;
    if (chunk.delete_ts[at].load(std::memory_order_relaxed) != kNotDeleted) continue;
    Kill(chunk, row, timestamp);
    auto entry = std::find_if(killed.begin(), killed.end(),
                              [&](const PartitionCount& count) { return count.partition_id == partition; });
    if (entry == killed.end()) entry = killed.insert(killed.end(), {partition, 0});
    ++entry->rows;
  }
  return killed;
}

std::shared_ptr<const IndexedRanges> GrowingSegment::ScalarIndexes() const {
  const std::lock_guard lock(index_mutex_);
  return scalar_indexes_;
}

void GrowingSegment::AttachIndexes(uint32_t block, std::vector<std::shared_ptr<const SegmentIndex>> indexes) {
  assert((block + 1) * kIndexBlockRows <= row_count());
  if (indexes.empty()) return;
  const uint32_t first_row = block * kIndexBlockRows;
  const std::lock_guard lock(index_mutex_);
  IndexedRanges ranges = scalar_indexes_ == nullptr ? IndexedRanges() : *scalar_indexes_;
  auto range = std::find_if(ranges.begin(), ranges.end(), [&](const auto& one) { return one.first_row >= first_row; });
  if (range == ranges.end() || range->first_row != first_row) {
    range = ranges.insert(range, {.first_row = first_row, .rows = kIndexBlockRows, .indexes = {}});
  }
  for (auto& index : indexes) range->indexes.push_back(std::move(index));
  scalar_indexes_ = std::make_shared<const IndexedRanges>(std::move(ranges));
}

void GrowingSegment::DetachIndexes(const std::function<bool(const SegmentIndex&)>& unwanted) {
  const std::lock_guard lock(index_mutex_);
  if (scalar_indexes_ == nullptr) return;
  const bool any = std::any_of(scalar_indexes_->begin(), scalar_indexes_->end(), [&](const IndexedRange& range) {
    return std::any_of(range.indexes.begin(), range.indexes.end(), [&](const auto& index) { return unwanted(*index); });
  });
  if (!any) return;
  IndexedRanges ranges = *scalar_indexes_;
  for (IndexedRange& range : ranges) {
    std::erase_if(range.indexes, [&](const auto& index) { return unwanted(*index); });
  }
  std::erase_if(ranges, [](const IndexedRange& range) { return range.indexes.empty(); });
  scalar_indexes_ = ranges.empty() ? nullptr : std::make_shared<const IndexedRanges>(std::move(ranges));
}

Result<ColumnView> GrowingSegment::View(int64_t field_id, uint32_t first_row, uint32_t rows) const {
  assert(rows == 0 || first_row / kPageRows == (first_row + rows - 1) / kPageRows);
  ColumnView view;
  for (size_t i = 0; i < fields_.size(); ++i) {
    const Field& field = fields_[i];
    if (field.id != field_id) continue;
    view.type = field.type;
    view.element_type = field.element_type;
    view.width = field.width;
    view.rows = rows;
    if (rows == 0) return view;
    const Chunk::Slot& slot = ChunkOf(first_row).slots[i];
    const uint32_t at = first_row % kPageRows;
    if (field.width != 0) {
      view.fixed = slot.fixed.get() + at * field.width;
    } else {
      view.strings = slot.strings.get() + at;
    }
    if (field.has_nulls) view.valid = slot.valid.get() + at;
    return view;
  }
  view.rows = rows;
  return view;
}

uint32_t GrowingSegment::FillVisible(uint32_t page, const Visibility& visibility, uint64_t* mask) const {
  std::fill_n(mask, kPageWords, 0);
  const uint32_t total = row_count();
  const uint32_t begin = page * kPageRows;
  if (begin >= total) return 0;
  const uint32_t rows = std::min(total - begin, kPageRows);
  const Chunk& chunk = ChunkOf(begin);
  // Insert timestamps never decrease within a segment, so the rows that exist and have not expired are one run.
  const Timestamp* stamps = chunk.insert_ts.get();
  const auto first = static_cast<uint32_t>(std::upper_bound(stamps, stamps + rows, visibility.expired) - stamps);
  const auto last = static_cast<uint32_t>(std::upper_bound(stamps, stamps + rows, visibility.timestamp) - stamps);
  if (first >= last) return 0;
  const bool check_deletes = chunk.deleted.load(std::memory_order_acquire) != 0;
  if (!check_deletes && visibility.partitions.empty()) {
    SetRange(mask, first, last);
    return visibility.expiry.field_id == 0 ? last - first : HideEnded(*this, page, visibility.expiry, mask);
  }
  uint32_t count = 0;
  for (uint32_t row = first; row < last; ++row) {
    if (check_deletes && chunk.delete_ts[row].load(std::memory_order_acquire) <= visibility.timestamp) continue;
    if (!visibility.partitions.empty() && !Contains(visibility.partitions, chunk.partition[row])) continue;
    mask[row / 64] |= 1ULL << (row % 64);
    ++count;
  }
  return visibility.expiry.field_id == 0 ? count : HideEnded(*this, page, visibility.expiry, mask);
}

bool GrowingSegment::FirstVisible(uint32_t rows, const Visibility& visibility) const {
  if (!visibility.partitions.empty() || visibility.expiry.field_id != 0) return false;
  if (rows == 0) return true;
  return insert_ts(0) > visibility.expired && insert_ts(rows - 1) <= visibility.timestamp &&
         deleted_count_.load(std::memory_order_acquire) == 0;
}

std::shared_ptr<const GrowingSegmentIndex> GrowingSegment::FindGrowingIndex(int64_t index_id) const {
  const std::lock_guard lock(index_mutex_);
  for (const auto& index : vector_indexes_) {
    if (index->index_id() == index_id) return index;
  }
  return nullptr;
}

std::vector<std::shared_ptr<GrowingSegmentIndex>> GrowingSegment::VectorIndexes() const {
  const std::lock_guard lock(index_mutex_);
  return vector_indexes_;
}

void GrowingSegment::AttachVectorIndex(std::shared_ptr<GrowingSegmentIndex> index) {
  const std::lock_guard lock(index_mutex_);
  std::erase_if(vector_indexes_, [&](const auto& old) { return old->index_id() == index->index_id(); });
  vector_indexes_.push_back(std::move(index));
}

void GrowingSegment::DetachVectorIndex(int64_t index_id) {
  const std::lock_guard lock(index_mutex_);
  std::erase_if(vector_indexes_, [&](const auto& old) { return old->index_id() == index_id; });
}

Result<std::optional<uint32_t>> GrowingSegment::FindVisible(const KeyView& key, Timestamp timestamp) const {
  std::optional<uint32_t> found = NewestRow(key);
  if (!found) return std::optional<uint32_t>();
  // Versions of one key form a chain from newest to oldest; at most one of them is visible at a timestamp.
  for (uint32_t row = *found; row != kNoRow; row = ChunkOf(row).previous[row % kPageRows]) {
    if (insert_ts(row) > timestamp) continue;
    if (delete_ts(row) > timestamp) return std::optional(row);
    break;
  }
  return std::optional<uint32_t>();
}

int64_t GrowingSegment::partition_of(uint32_t row) const { return ChunkOf(row).partition[row % kPageRows]; }
Timestamp GrowingSegment::insert_ts(uint32_t row) const { return ChunkOf(row).insert_ts[row % kPageRows]; }
Timestamp GrowingSegment::delete_ts(uint32_t row) const {
  return ChunkOf(row).delete_ts[row % kPageRows].load(std::memory_order_acquire);
}

}  // namespace quiver::segment
