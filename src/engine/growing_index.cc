// Scalar indexes of growing rows: every full block of a growing segment (segment/growing_segment.h) gets what sealed
// segments have, built from a copy of its columns and kept in memory. Nothing of it is stored: after a restart the rows
// come from the log and their blocks are indexed again; when the segment is sealed its indexes go with it, and the
// sealed segment gets its own (index_build.cc). The rows behind the last full block are scanned, and so is every block
// until it has been indexed.

#include <algorithm>

#include "base/logging.h"
#include "engine/engine_impl.h"

namespace quiver::engine {

namespace {

using segment::GrowingSegment;
using segment::kIndexBlockRows;
using segment::kPageRows;

/// The share of all memory that these indexes may take: what they cost above it is better spent on anything else.
constexpr uint64_t kMemoryShare = 8;
/// While memory is scarce, and after a failure: how long until another look.
constexpr std::chrono::seconds kMemoryWait{1};
constexpr std::chrono::seconds kFailureWait{60};
/// Then other collections have their turn.
constexpr size_t kBlocksPerTurn = 8;

/// Copies the values of a field for the rows of a full block. The field is one of the segment's.
Result<Column> CopyBlock(const GrowingSegment& growing, const FieldSchema& field, uint32_t block) {
  Column column = Column::Make(field.field_id, field.type, field.dim, field.element_type);
  column.Reserve(kIndexBlockRows);
  for (uint32_t row = block * kIndexBlockRows; row < (block + 1) * kIndexBlockRows; row += kPageRows) {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, growing.View(field.field_id, row, kPageRows));
    for (size_t i = 0; i < view.rows; ++i) {
      if (view.IsNull(i)) {
        column.AppendNull();
      } else {
        column.Append(view.Bytes(i));
      }
    }
  }
  return column;
}

bool IsGrowing(const Collection& collection, const GrowingSegment& segment) {
  const auto growing = collection.growing_segments();
  return std::any_of(growing.begin(), growing.end(), [&](const auto& one) { return one.get() == &segment; });
}

bool HasIndex(const segment::IndexedRange* range, int64_t index_id) {
  return range != nullptr && std::any_of(range->indexes.begin(), range->indexes.end(),
                                         [&](const auto& index) { return index->index_id() == index_id; });
}

}  // namespace

void Engine::Impl::RequestIndexing(const Collection& collection) {
  index_queue->Request(collection.id());
  growing_index_queue.Request(collection.id());
}

void Engine::Impl::RequestGrowingIndexes(const Collection& collection, uint32_t rows_before, uint32_t rows) {
  if (rows_before / kIndexBlockRows == rows / kIndexBlockRows || collection.info()->indexes.empty()) return;
  growing_index_queue.Request(collection.id());
}

Result<std::shared_ptr<const segment::SegmentIndex>> Engine::Impl::BuildBlockIndex(const GrowingSegment& growing,
                                                                                   uint32_t block,
                                                                                   const IndexInfo& index,
                                                                                   const index::ScalarRecipe& recipe) {
  const FieldSchema* field = growing.schema()->FindById(index.field_id);
  QUIVER_ASSIGN_OR_RETURN(const Column column, CopyBlock(growing, *field, block));
  const ColumnView values = ViewOf(column);
  const uint64_t memory = column.ByteSize() + index::ScalarBuildMemory(recipe, values);
  QUIVER_RETURN_IF_ERROR(budget->Admit(memory));
  const MemoryCharge charge(budget, MemoryConsumer::kBackground, memory);
  QUIVER_ASSIGN_OR_RETURN(std::string bytes, index::BuildScalarIndex(recipe, values, {}));
  segment::SegmentIndex::Identity identity{
      index.id, index.field_id,
      fmt::format("index {} of block {} of growing segment {}", index.name, block, growing.id())};
  QUIVER_ASSIGN_OR_RETURN(
      auto built, segment::SegmentIndex::FromMemory(std::move(identity), std::move(bytes), kIndexBlockRows, budget));
  return reclaimer.Guard(std::move(built));
}

Status Engine::Impl::MayIndex(const Collection& collection, const GrowingSegment& growing) const {
  if (indexer_stop_.load(std::memory_order_relaxed) || collection.dropped || !IsGrowing(collection, growing)) {
    return Error(StatusCode::kCancelled, "the indexes are not wanted any more");
  }
  if (budget->above_high_mark() ||
      budget->used(MemoryConsumer::kGrowingIndexes) > options.memory_limit / kMemoryShare) {
    return Error(StatusCode::kMemoryLimit, "memory is scarce");
  }
  return Status::Ok();
}

Status Engine::Impl::IndexBlocks(const Collection& collection, GrowingSegment& growing, size_t& turn) {
  const std::shared_ptr<const CollectionInfo> info = collection.info();
  std::vector<std::pair<const IndexInfo*, index::ScalarRecipe>> wanted;
  for (const IndexInfo& index : info->indexes) {
    const std::optional<SegmentRecipe> recipe = WantedRecipe(*info, index);
    if (!recipe || !std::holds_alternative<index::ScalarRecipe>(*recipe)) continue;
    if (growing.schema()->FindById(index.field_id) == nullptr) continue;  // the field is newer than its rows
    wanted.emplace_back(&index, std::get<index::ScalarRecipe>(*recipe));
  }
  const uint32_t rows = growing.row_count();
  if (wanted.empty() || rows < options.index_min_rows) return Status::Ok();
  const std::shared_ptr<const segment::IndexedRanges> ranges = growing.ScalarIndexes();
  for (uint32_t block = 0; block < rows / kIndexBlockRows && turn > 0; ++block) {
    const segment::IndexedRange* known = nullptr;
    if (ranges != nullptr) {
      const auto found = std::find_if(ranges->begin(), ranges->end(), [&](const segment::IndexedRange& range) {
        return range.first_row == block * kIndexBlockRows;
      });
      if (found != ranges->end()) known = &*found;
    }
    std::vector<std::shared_ptr<const segment::SegmentIndex>> built;
    Status status;
    for (const auto& [index, recipe] : wanted) {
      if (HasIndex(known, index->id)) continue;
      status = MayIndex(collection, growing);
      if (!status.ok()) break;
      auto one = BuildBlockIndex(growing, block, *index, recipe);
      if (one.ok()) {
        built.push_back(*std::move(one));
      } else if (one.status().code() == StatusCode::kIndexNotSupported) {
        const std::lock_guard lock(index_mutex_);
        unserved_indexes_.insert(index->id);
      } else {
        status = one.status();
        break;
      }
    }
    if (!built.empty()) --turn;
    const size_t count = built.size();
    growing.AttachIndexes(block, std::move(built));
    // Whoever sees the number finds them in use.
    growing_index_builds.fetch_add(count, std::memory_order_release);
    QUIVER_RETURN_IF_ERROR(status);
  }
  return Status::Ok();
}

void Engine::Impl::TendGrowing(const std::shared_ptr<Collection>& collection) {
  size_t turn = kBlocksPerTurn;
  for (const auto& growing : collection->growing_segments()) {
    const std::shared_ptr<const CollectionInfo> info = collection->info();
    growing->DetachIndexes(
        [&](const segment::SegmentIndex& index) { return FindIndexById(*info, index.index_id()) == nullptr; });
    const Status status = IndexBlocks(*collection, *growing, turn);
    if (status.ok() || status.code() == StatusCode::kCancelled) continue;
    if (status.code() == StatusCode::kMemoryLimit) {
      growing_index_queue.Request(collection->id(), kMemoryWait);
      return;
    }
    index_build_failures.fetch_add(1, std::memory_order_relaxed);
    QUIVER_LOG(warn, "indexing rows of growing segment {} of collection {} failed, they are scanned: {}", growing->id(),
               collection->id(), status.ToString());
    growing_index_queue.Request(collection->id(), kFailureWait);
    return;
  }
  // Definitions may have changed, and rows come, while it was at work; others have their turn first.
  if (turn < kBlocksPerTurn) growing_index_queue.Request(collection->id());
}

void Engine::Impl::GrowingIndexerLoop() {
  LowerThreadPriority();
  while (const std::optional<int64_t> id = growing_index_queue.Take()) {
    if (const std::shared_ptr<Collection> collection = FindById(*id); collection != nullptr) {
      TendGrowing(collection);
      LinkGrowing(collection);
    }
  }
}

}  // namespace quiver::engine
