// Vector indexes of growing segments, graphs and lists: a thread of low priority lets them follow the rows that come,
// some rows of each segment in turn. They live in memory only, with their segment: after a restart they are made anew
// from the rows that the log brings back, and the sealed segment gets an index of its own (index_build.cc).

#include <algorithm>

#include "base/logging.h"
#include "engine/engine_impl.h"

namespace quiver::engine {

namespace {

/// How long rows are left to gather before the linker looks: until then they are scanned.
constexpr std::chrono::milliseconds kGather{20};
/// While memory is scarce, how long until another look.
constexpr std::chrono::milliseconds kMemoryWait{1000};
/// Rows linked before other segments have their turn.
constexpr uint32_t kRowsPerTurn = 1024;
/// Rows that an index has room for beyond those that fit into a segment: the last batch may be large.
constexpr uint64_t kSpareRoom = 2;
/// An index whose codes have come to fit its rows badly is made anew once there are so many times more of them.
constexpr uint32_t kMoreRows = 2;

/// Rows that a segment may get to hold, by those that it has.
uint32_t CapacityFor(const segment::GrowingSegment& growing, uint64_t seal_bytes) {
  const uint64_t rows = std::max(growing.row_count(), 1U);
  const uint64_t row_bytes = std::max<uint64_t>(growing.byte_size() / rows, 1);
  return static_cast<uint32_t>(
      std::min<uint64_t>(segment::kMaxGrowingRows, kSpareRoom * std::max(rows, seal_bytes / row_bytes)));
}

}  // namespace

void Engine::Impl::RequestLinking(Collection& collection) {
  if (!options.growing_graphs || collection.linking_requested.exchange(true)) return;
  growing_index_queue.Request(collection.id(), kGather);
}

std::vector<Engine::Impl::GrowingTask> Engine::Impl::GrowingTasksOf(const CollectionInfo& info) const {
  std::vector<GrowingTask> tasks;
  for (const IndexInfo& index : info.indexes) {
    const std::optional<SegmentRecipe> wanted = WantedRecipe(info, index);
    const auto* recipe = wanted ? std::get_if<index::IndexRecipe>(&*wanted) : nullptr;
    if (recipe == nullptr || !index::GrowingIndex::Serves(*recipe)) continue;
    tasks.push_back({index.id, index.field_id, *recipe});
  }
  return tasks;
}

std::optional<std::chrono::milliseconds> Engine::Impl::ExtendGrowing(const Collection& collection,
                                                                     segment::GrowingSegment& growing,
                                                                     const GrowingTask& task) {
  const uint32_t rows = growing.row_count();
  const auto attached = growing.VectorIndexes();
  const auto found = std::find_if(attached.begin(), attached.end(),
                                  [&](const auto& index) { return index->index_id() == task.index_id; });
  std::shared_ptr<segment::GrowingSegmentIndex> index = found == attached.end() ? nullptr : *found;
  const bool unfit = index != nullptr && index->outgrown() &&
                     (index->index().lengths_differ() || rows >= kMoreRows * index->fitted_rows());
  if (index != nullptr && !unfit && index->index().linked() >= std::min(rows, index->index().capacity())) {
    return std::nullopt;
  }
  if (budget->above_high_mark()) {
    if (!budget->Admit(0).ok()) growing.DetachVectorIndex(task.index_id);
    return kMemoryWait;
  }
  if (index == nullptr || unfit) {
    auto made =
        segment::GrowingSegmentIndex::Make(task.index_id, task.field_id, task.recipe,
                                           CapacityFor(growing, options.seal_bytes), growing, budget, index.get());
    if (!made.ok()) {
      QUIVER_LOG(warn, "growing rows of collection {} are scanned: {}", collection.id(), made.status().ToString());
      return kMemoryWait;
    }
    index = *std::move(made);
    growing.AttachVectorIndex(index);
  }
  const uint32_t from = index->index().linked();
  const uint32_t until = std::min(rows, from + kRowsPerTurn);
  const auto cancelled = [&] {
    return indexer_stop_.load(std::memory_order_relaxed) || collection.dropped || growing.complete();
  };
  const Status linked = index->Extend(growing, until, cancelled);
  if (linked.code() == StatusCode::kCancelled) return std::nullopt;
  if (!linked.ok()) {
    QUIVER_LOG(warn, "growing rows of collection {} are not linked: {}", collection.id(), linked.ToString());
    return kMemoryWait;
  }
  return std::chrono::milliseconds(0);
}

void Engine::Impl::LinkGrowing(const std::shared_ptr<Collection>& collection) {
  if (!options.growing_graphs) return;
  const std::vector<GrowingTask> tasks = GrowingTasksOf(*collection->info());
  const auto segments = collection->growing_segments();
  for (const auto& growing : segments) {
    for (const auto& index : growing->VectorIndexes()) {
      const bool wanted = std::any_of(tasks.begin(), tasks.end(),
                                      [&](const GrowingTask& task) { return task.index_id == index->index_id(); });
      if (!wanted) growing->DetachVectorIndex(index->index_id());
    }
  }
  // Further rows change nothing; a new index definition asks again.
  if (tasks.empty()) return;
  collection->linking_requested = false;
  std::optional<std::chrono::milliseconds> next;
  for (const auto& growing : segments) {
    if (growing->complete() || static_cast<int64_t>(growing->row_count()) < options.index_min_rows) continue;
    for (const GrowingTask& task : tasks) {
      if (growing->schema()->FindById(task.field_id) == nullptr) continue;
      const auto wait = ExtendGrowing(*collection, *growing, task);
      if (wait) next = next ? std::min(*next, *wait) : *wait;
    }
  }
  if (next) growing_index_queue.Request(collection->id(), *next);
}

}  // namespace quiver::engine
