// Indexes of sealed segments: built in the background, named by the segment's manifest, forgotten when their
// definition goes.
//
// Order of steps, so that a crash between any two leaves the old or the new state:
//   1. the index is built from the segment's column, written and synced as an object (an orphan until step 2);
//   2. one MetaStore transaction puts it into the segment's manifest, and the store is synced;
//   3. readers are given the index;
//   4. an object that it replaces is removed.
// Forgetting goes the other way round: manifest first, object afterwards. An index is derived data: whatever is wrong
// with it, its segment is scanned instead, and it is built anew.

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/crc32c.h"
#include "base/logging.h"
#include "base/thread_pool.h"
#include "engine/engine_impl.h"
#include "index/graph_join.h"

namespace quiver::engine {

namespace {

using Clock = std::chrono::steady_clock;

/// A failed build is tried again after this, and after twice as long each time up to the second figure.
constexpr std::chrono::milliseconds kFirstIndexRetry{1000};
constexpr std::chrono::milliseconds kLastIndexRetry{300'000};
/// Failures after which clients are told that building fails.
constexpr int kFailuresTold = 3;
/// While memory is scarce, how long until another look.
constexpr std::chrono::seconds kMemoryWait{1};

/// Graphs of growing segments that were sealed may take one part in so many of the memory.
constexpr uint64_t kGrownPart = 8;

}  // namespace

size_t BuildThreads(const EngineOptions& options) {
  if (options.index_build_threads != 0) return options.index_build_threads;
  return std::max<size_t>(1, AvailableCores() / 2);
}

const IndexInfo* FindIndexById(const CollectionInfo& info, int64_t index_id) {
  const auto found = std::find_if(info.indexes.begin(), info.indexes.end(),
                                  [&](const IndexInfo& index) { return index.id == index_id; });
  return found == info.indexes.end() ? nullptr : &*found;
}

void LowerThreadPriority() {
  // Linux gives threads priorities of their own; a refusal costs only the politeness.
  (void)setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 10);
}

std::optional<SegmentRecipe> Engine::Impl::WantedRecipe(const CollectionInfo& info, const IndexInfo& index) const {
  std::optional<SegmentRecipe> recipe = SegmentRecipeOf(*info.schema, index);
  if (recipe) {
    const std::lock_guard lock(index_mutex_);
    if (unserved_indexes_.contains(index.id)) return std::nullopt;
  }
  return recipe;
}

bool Engine::Impl::LacksIndex(const segment::SealedSegment& sealed, const IndexInfo& index) const {
  if (sealed.row_count() < options.index_min_rows || sealed.fenced()) return false;
  if (sealed.deleted_count() == sealed.row_count()) return false;
  const auto& columns = sealed.file().columns();
  const bool present = std::any_of(columns.begin(), columns.end(),
                                   [&](const auto& column) { return column.field_id == index.field_id; });
  return present && sealed.FindIndex(index.id) == nullptr;
}

IndexProgress Engine::Impl::ProgressOf(const Collection& collection, const IndexInfo& index, Timestamp until) const {
  IndexProgress progress;
  progress.total_rows = collection.live_rows(-1);
  if (!WantedRecipe(*collection.info(), index)) return progress;
  for (const auto& sealed : collection.sealed_segments()) {
    if (!LacksIndex(*sealed, index) || (until != 0 && sealed->file().min_timestamp() > until)) continue;
    progress.pending_rows += static_cast<int64_t>(sealed->row_count()) - sealed->deleted_count();
    if (progress.state == IndexState::kFinished) progress.state = IndexState::kInProgress;
    const std::lock_guard lock(index_mutex_);
    const auto trouble = index_trouble_.find({collection.id(), sealed->id(), index.id});
    if (trouble == index_trouble_.end() || trouble->second.attempts < kFailuresTold) continue;
    progress.state = IndexState::kFailed;
    progress.reason = trouble->second.reason;
  }
  progress.pending_rows = std::min(progress.pending_rows, progress.total_rows);
  return progress;
}

Result<std::shared_ptr<const segment::SegmentIndex>> Engine::Impl::OpenIndex(int64_t collection_id,
                                                                             const IndexObject& entry, uint32_t rows) {
  QUIVER_ASSIGN_OR_RETURN(auto mapped, objects->Materialise(entry.object));
  if (mapped->size() != entry.bytes) {
    return Error(StatusCode::kCorruption, "{}: it has {} bytes instead of {}", entry.object, mapped->size(),
                 entry.bytes);
  }
  QUIVER_ASSIGN_OR_RETURN(
      auto index,
      segment::SegmentIndex::Open({entry.index_id, entry.field_id, entry.object}, std::move(mapped), rows, budget,
                                  [queue = index_queue, collection_id] { queue->Request(collection_id); }));
  LoadTuning(*index, rows);
  LoadParts(collection_id, *index);
  return reclaimer.Guard(std::move(index));
}

void Engine::Impl::RemoveIndexObject(const std::string& name) {
  for (const std::string& beside : NamesBeside(name)) RemoveObject(beside);
  RemoveObject(name);
}

Status Engine::Impl::ForgetIndexes(const Collection& collection) {
  const std::lock_guard lock(manifest_mutex_);
  for (const auto& sealed : collection.sealed_segments()) {
    const std::string key = SegmentKey(collection.id(), sealed->id());
    QUIVER_ASSIGN_OR_RETURN(const std::optional<std::string> stored, meta->Get(key));
    if (!stored) continue;
    QUIVER_ASSIGN_OR_RETURN(SegmentManifest manifest, DecodeManifest(*stored));
    const std::shared_ptr<const CollectionInfo> info = collection.info();
    std::vector<IndexObject> gone;
    for (const IndexObject& entry : manifest.indexes) {
      const auto attached = sealed->FindIndex(entry.index_id);
      const bool used = attached != nullptr && attached->object() == entry.object;
      if (!used || FindIndexById(*info, entry.index_id) == nullptr) gone.push_back(entry);
    }
    if (gone.empty()) continue;
    std::erase_if(manifest.indexes, [&](const IndexObject& entry) {
      return std::any_of(gone.begin(), gone.end(), [&](const auto& old) { return old.object == entry.object; });
    });
    storage::MetaTransaction transaction;
    transaction.RequireExists(CollectionKey(collection.id()));
    transaction.Put(key, EncodeManifest(manifest));
    const Result<storage::CommitOutcome> outcome = meta->Commit(transaction);
    if (!outcome.ok()) return MetaFailed(outcome.status());
    if (*outcome == storage::CommitOutcome::kConflict) return Status::Ok();  // dropped: its clean-up does the rest
    if (Status synced = meta->Sync(); !synced.ok()) return MetaFailed(std::move(synced));
    for (const IndexObject& entry : gone) {
      sealed->DetachIndex(entry.index_id);
      RemoveIndexObject(entry.object);
    }
  }
  return Status::Ok();
}

std::optional<Engine::Impl::IndexTask> Engine::Impl::NextIndex(const Collection& collection, Clock::time_point& next) {
  const auto now = Clock::now();
  next = Clock::time_point::max();
  const std::shared_ptr<const CollectionInfo> info = collection.info();
  const auto sealed_segments = collection.sealed_segments();
  std::vector<std::shared_ptr<segment::GrowingSegmentIndex>> gone;  // destroyed without the lock
  {
    // Troubles of segments and indexes that are gone are no troubles any more.
    const std::lock_guard lock(index_mutex_);
    for (auto entry = index_trouble_.lower_bound({collection.id(), 0, 0});
         entry != index_trouble_.end() && std::get<0>(entry->first) == collection.id();) {
      const bool segment_there = std::any_of(sealed_segments.begin(), sealed_segments.end(), [&](const auto& sealed) {
        return sealed->id() == std::get<1>(entry->first);
      });
      const bool there = segment_there && FindIndexById(*info, std::get<2>(entry->first)) != nullptr;
      entry = there ? std::next(entry) : index_trouble_.erase(entry);
    }
    // Graphs that no index waits for any more.
    for (auto entry = grown_graphs_.lower_bound({collection.id(), 0});
         entry != grown_graphs_.end() && entry->first.first == collection.id();) {
      const auto sealed = std::find_if(sealed_segments.begin(), sealed_segments.end(),
                                       [&](const auto& segment) { return segment->id() == entry->first.second; });
      std::erase_if(entry->second.graphs, [&](const auto& graph) {
        const IndexInfo* index = FindIndexById(*info, graph->index_id());
        if (index != nullptr && sealed != sealed_segments.end() && LacksIndex(**sealed, *index)) return false;
        gone.push_back(graph);
        return true;
      });
      entry = entry->second.graphs.empty() ? grown_graphs_.erase(entry) : std::next(entry);
    }
  }
  std::optional<IndexTask> task;
  for (const IndexInfo& index : info->indexes) {
    const std::optional<SegmentRecipe> recipe = WantedRecipe(*info, index);
    if (!recipe) continue;
    for (const auto& sealed : sealed_segments) {
      // What is being merged asks again when that is done.
      if (sealed->outgoing() || !LacksIndex(*sealed, index)) continue;
      if (task && task->segment->row_count() >= sealed->row_count()) continue;
      {
        const std::lock_guard lock(index_mutex_);
        const auto trouble = index_trouble_.find({collection.id(), sealed->id(), index.id});
        if (trouble != index_trouble_.end() && trouble->second.next > now) {
          next = std::min(next, trouble->second.next);
          continue;
        }
      }
      task = IndexTask{sealed, index, *recipe};
    }
  }
  if (task) task->sources = GrownSources(collection, task->segment->id(), task->info);
  return task;
}

uint64_t Engine::Impl::BytesOf(const GrownGraphs& grown) {
  uint64_t bytes = 0;
  for (const auto& graph : grown.graphs) bytes += graph->index().memory_bytes();
  return bytes;
}

void Engine::Impl::KeepGrown(const SealTask& task, std::vector<uint32_t> new_rows) {
  if (static_cast<int64_t>(task.sealed->row_count()) < options.index_min_rows || task.collection->dropped) return;
  GrownGraphs grown{.graphs = task.growing->VectorIndexes(), .new_rows = {}};
  std::erase_if(grown.graphs,
                [](const auto& one) { return one->index().graph() == nullptr || one->index().linked() == 0; });
  if (grown.graphs.empty() || budget->above_high_mark()) return;
  uint64_t bytes = BytesOf(grown);
  grown.new_rows = std::make_shared<const std::vector<uint32_t>>(std::move(new_rows));
  const std::lock_guard lock(index_mutex_);
  for (const auto& [segment, other] : grown_graphs_) bytes += BytesOf(other);
  // They pile up where segments are sealed faster than indexed.
  if (bytes > options.memory_limit / kGrownPart) return;
  grown_graphs_[{task.collection->id(), task.sealed->id()}] = std::move(grown);
}

void Engine::Impl::ForgetGrown(int64_t collection_id) {
  std::vector<GrownGraphs> gone;  // destroyed without the lock
  const std::lock_guard lock(index_mutex_);
  for (auto entry = grown_graphs_.lower_bound({collection_id, 0});
       entry != grown_graphs_.end() && entry->first.first == collection_id;) {
    gone.push_back(std::move(entry->second));
    entry = grown_graphs_.erase(entry);
  }
}

std::vector<Engine::Impl::LinkSource> Engine::Impl::GrownSources(const Collection& collection, int64_t segment_id,
                                                                 const IndexInfo& index) const {
  std::vector<LinkSource> sources;
  const std::lock_guard lock(index_mutex_);
  const auto found = grown_graphs_.find({collection.id(), segment_id});
  if (found == grown_graphs_.end()) return sources;
  for (const auto& graph : found->second.graphs) {
    if (graph->index_id() == index.id) sources.push_back({{}, graph, found->second.new_rows});
  }
  return sources;
}

std::vector<Engine::Impl::LinkSource> Engine::Impl::MergedSources(const Collection& collection,
                                                                  const SealedSegments& merged,
                                                                  std::span<const std::vector<uint32_t>> new_rows,
                                                                  const IndexInfo& index) const {
  std::vector<LinkSource> sources;
  for (size_t i = 0; i < merged.size(); ++i) {
    if (auto attached = merged[i]->FindIndex(index.id); attached != nullptr) {
      const bool graph =
          attached->scalar() == nullptr && attached->index().recipe().structure == index::IndexStructure::kGraph;
      if (!graph || attached->damaged()) continue;
      sources.push_back({std::move(attached), {}, std::make_shared<const std::vector<uint32_t>>(new_rows[i])});
      continue;
    }
    // Merged before its own index was built.
    for (LinkSource& grown : GrownSources(collection, merged[i]->id(), index)) {
      std::vector<uint32_t> rows(*grown.new_rows);
      for (uint32_t& row : rows) row = row == kNoRow ? kNoRow : new_rows[i][row];
      grown.new_rows = std::make_shared<const std::vector<uint32_t>>(std::move(rows));
      sources.push_back(std::move(grown));
    }
  }
  return sources;
}

Result<std::string> Engine::Impl::JoinOrBuild(const index::IndexRecipe& recipe, const ColumnView& column,
                                              const IndexTask& task, const index::BuildControl& control) const {
  if (recipe.structure == index::IndexStructure::kGraph && !task.sources.empty()) {
    std::vector<index::JoinSource> sources;
    for (const LinkSource& source : task.sources) {
      sources.push_back({.sealed = source.sealed != nullptr ? &source.sealed->index() : nullptr,
                         .growing = source.growing != nullptr ? source.growing->index().graph() : nullptr,
                         .new_rows = *source.new_rows});
    }
    QUIVER_ASSIGN_OR_RETURN(index::JoinedGraph joined, index::JoinGraphs(recipe, column, sources, control));
    // What became unreadable meanwhile gave zeros.
    const bool damaged = std::any_of(task.sources.begin(), task.sources.end(), [](const LinkSource& source) {
      return source.sealed != nullptr && source.sealed->damaged();
    });
    if (!damaged) {
      if (joined.joined_vertices > 0)
        QUIVER_LOG(info, "index {} over segment {} took the links of {} of its {} rows from {} graphs", task.info.name,
                   task.segment->id(), joined.joined_vertices, column.rows, sources.size());
      return std::move(joined.bytes);
    }
  }
  if (options.build_index) return options.build_index(recipe, column, control);
  return index::BuildVectorIndex(recipe, column, control);
}

Result<Engine::Impl::BuiltIndex> Engine::Impl::BuildIndex(const Collection& collection, const IndexTask& task,
                                                          const std::function<bool()>& cancelled) {
  const segment::SealedSegment& sealed = *task.segment;
  const auto start = Clock::now();
  QUIVER_ASSIGN_OR_RETURN(const ColumnView column, sealed.View(task.info.field_id, 0, sealed.row_count()));
  const auto* scalar_recipe = std::get_if<index::ScalarRecipe>(&task.recipe);
  std::vector<index::IndexRecipe> candidates;
  if (scalar_recipe == nullptr) {
    candidates =
        CandidatesOf(std::get<index::IndexRecipe>(task.recipe), task.info, column.rows, options.index_trial_rows);
  }
  uint64_t memory = scalar_recipe != nullptr ? index::ScalarBuildMemory(*scalar_recipe, column) : 0;
  for (const index::IndexRecipe& recipe : candidates) memory = std::max(memory, BuildMemory(recipe, column));
  for (const LinkSource& source : task.sources) {
    const bool copied = source.growing != nullptr;
    if (scalar_recipe == nullptr) memory += source.new_rows->size() * JoinMemoryPerRow(candidates.front(), copied);
  }
  QUIVER_RETURN_IF_ERROR(budget->Admit(memory));
  const MemoryCharge charge(budget, MemoryConsumer::kBackground, memory);
  std::vector<index::TriedRecipe> tried;
  BuiltIndex built;
  built.entry.index_id = task.info.id;
  built.entry.field_id = task.info.field_id;
  {
    const index::BuildControl control{.cancelled = cancelled, .on_progress = {}, .threads = BuildThreads(options)};
    const auto build = [&]() -> Result<std::string> {
      if (scalar_recipe != nullptr) return index::BuildScalarIndex(*scalar_recipe, column, control);
      QUIVER_ASSIGN_OR_RETURN(const index::IndexRecipe recipe, ChooseAmong(candidates, column, task, control, tried));
      return JoinOrBuild(recipe, column, task, control);
    };
    QUIVER_ASSIGN_OR_RETURN(const std::string bytes, build());
    QUIVER_RETURN_IF_ERROR(sealed.fence());  // it may have been built from zeros
    if (cancelled()) return Error(StatusCode::kCancelled, "the index is not wanted any more");
    built.entry.bytes = bytes.size();
    built.entry.crc = Crc32c(bytes);
    QUIVER_ASSIGN_OR_RETURN(const Timestamp stamp, clock->Allocate());  // no name is used twice
    built.entry.object = fmt::format("index/{}/{}-{}-{}.idx", collection.id(), sealed.id(), task.info.id, stamp);
    QUIVER_RETURN_IF_ERROR(objects->PutBytes(built.entry.object, bytes));
  }
  auto opened = OpenIndex(collection.id(), built.entry, sealed.row_count());
  if (!opened.ok()) {
    RemoveObject(built.entry.object);
    return opened.status();
  }
  built.index = *std::move(opened);
  const std::chrono::duration<double> spent = Clock::now() - start;
  if (const Status tuned = TuneIndex(sealed, *built.index, spent.count(), tried, cancelled); !tuned.ok()) {
    if (tuned.code() == StatusCode::kCancelled) {
      RemoveIndexObject(built.entry.object);
      return tuned;
    }
    QUIVER_LOG(warn, "index {} of segment {} is searched without having been measured: {}", task.info.name, sealed.id(),
               tuned.ToString());
  }
  index_builds.fetch_add(1, std::memory_order_relaxed);
  QUIVER_LOG(info, "built index {} of collection {} over the {} rows of segment {}: {} bytes in {} ms", task.info.name,
             collection.id(), sealed.row_count(), sealed.id(), built.entry.bytes,
             std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count());
  return built;
}

Status Engine::Impl::RegisterIndex(const Collection& collection, const IndexTask& task, const BuiltIndex& built) {
  const std::lock_guard lock(manifest_mutex_);
  const std::string key = SegmentKey(collection.id(), task.segment->id());
  const auto register_it = [&]() -> Result<bool> {
    if (collection.dropped || FindIndexById(*collection.info(), task.info.id) == nullptr) return false;
    QUIVER_ASSIGN_OR_RETURN(const std::optional<std::string> stored, meta->Get(key));
    if (!stored) return false;  // merged into another one
    QUIVER_ASSIGN_OR_RETURN(SegmentManifest manifest, DecodeManifest(*stored));
    std::vector<std::string> replaced;
    std::erase_if(manifest.indexes, [&](const IndexObject& old) {
      if (old.index_id != task.info.id) return false;
      replaced.push_back(old.object);
      return true;
    });
    manifest.indexes.push_back(built.entry);
    storage::MetaTransaction transaction;
    transaction.RequireExists(CollectionKey(collection.id()));
    transaction.Put(key, EncodeManifest(manifest));
    const Result<storage::CommitOutcome> outcome = meta->Commit(transaction);
    // After a failed commit the store may name the object once it has been opened again: it stays, as an orphan.
    if (!outcome.ok()) return MetaFailed(outcome.status());
    if (*outcome == storage::CommitOutcome::kConflict) return false;
    if (Status synced = meta->Sync(); !synced.ok()) return MetaFailed(std::move(synced));
    task.segment->AttachIndex(built.index);
    for (const std::string& name : replaced) RemoveIndexObject(name);
    return true;
  };
  const Result<bool> registered = register_it();
  if (registered.ok() && !*registered) RemoveIndexObject(built.entry.object);
  return registered.status();
}

std::vector<IndexObject> Engine::Impl::BuildBeforeSwap(const Collection& collection, const SealedSegments& sources,
                                                       std::span<const std::vector<uint32_t>> new_rows,
                                                       const std::shared_ptr<segment::SealedSegment>& merged) {
  std::vector<IndexObject> entries;
  const std::shared_ptr<const CollectionInfo> info = collection.info();
  for (const IndexInfo& index : info->indexes) {
    const std::optional<SegmentRecipe> recipe = WantedRecipe(*info, index);
    if (!recipe || !LacksIndex(*merged, index)) continue;
    IndexTask task{merged, index, *recipe, MergedSources(collection, sources, new_rows, index)};
    const auto cancelled = [&] {
      return compactor_stop_ || collection.dropped || FindIndexById(*collection.info(), index.id) == nullptr;
    };
    const auto built = BuildIndex(collection, task, cancelled);
    if (!built.ok()) {
      if (built.status().code() == StatusCode::kCancelled) continue;
      QUIVER_LOG(warn, "segment {} is served without index {} at first: {}", merged->id(), index.name,
                 built.status().ToString());
      continue;  // the indexer tries again
    }
    if (MayHaveParts(*merged, *built->index)) {
      const Status parts = BuildParts(collection.id(), *merged, *built->index, cancelled);
      if (!parts.ok() && parts.code() != StatusCode::kCancelled) {
        QUIVER_LOG(warn, "segment {} is served without indexes of single keys at first: {}", merged->id(),
                   parts.ToString());
      }
    }
    merged->AttachIndex(built->index);
    entries.push_back(built->entry);
  }
  return entries;
}

void Engine::Impl::TendIndexes(const std::shared_ptr<Collection>& collection) {
  if (const Status forgotten = ForgetIndexes(*collection); !forgotten.ok()) {
    QUIVER_LOG(warn, "cannot remove indexes of collection {} that are not used any more; it is tried again: {}",
               collection->id(), forgotten.ToString());
    return index_queue->Request(collection->id(), kLastIndexRetry);
  }
  if (budget->above_high_mark()) {
    ForgetGrown(collection->id());  // else building could wait for what waits for it
    return index_queue->Request(collection->id(), kMemoryWait);
  }
  Clock::time_point next;
  const std::optional<IndexTask> task = NextIndex(*collection, next);
  if (!task) {
    if (BuildPartsNext(*collection, next) || TuneNext(*collection)) return index_queue->Request(collection->id());
    if (next != Clock::time_point::max()) index_queue->Request(collection->id(), next - Clock::now());
    return;
  }
  const auto cancelled = [&] {
    return indexer_stop_.load(std::memory_order_relaxed) || collection->dropped || task->segment->outgoing() ||
           FindIndexById(*collection->info(), task->info.id) == nullptr;
  };
  Status status;
  if (auto built = BuildIndex(*collection, *task, cancelled); built.ok()) {
    status = RegisterIndex(*collection, *task, *built);
  } else {
    status = built.status();
  }
  const std::tuple key{collection->id(), task->segment->id(), task->info.id};
  if (status.ok()) {
    const std::lock_guard lock(index_mutex_);
    index_trouble_.erase(key);
  } else if (status.code() == StatusCode::kIndexNotSupported) {
    QUIVER_LOG(info, "index {} of collection {} is recorded only, its segments are scanned: {}", task->info.name,
               collection->id(), status.message());
    const std::lock_guard lock(index_mutex_);
    unserved_indexes_.insert(task->info.id);
  } else if (!cancelled()) {
    index_build_failures.fetch_add(1, std::memory_order_relaxed);
    const std::lock_guard lock(index_mutex_);
    IndexTrouble& trouble = index_trouble_[key];
    const auto delay = std::min(kLastIndexRetry, kFirstIndexRetry * (1 << std::min(trouble.attempts, 10)));
    ++trouble.attempts;
    trouble.next = Clock::now() + delay;
    trouble.reason = status.message();
    QUIVER_LOG(warn, "building index {} over segment {} failed, the segment is scanned; next attempt in {} ms: {}",
               task->info.name, task->segment->id(), delay.count(), status.ToString());
  }
  // The next segment waits its turn behind other collections.
  index_queue->Request(collection->id());
}

void Engine::Impl::IndexerLoop() {
  LowerThreadPriority();
  while (const std::optional<int64_t> id = index_queue->Take()) {
    if (const std::shared_ptr<Collection> collection = FindById(*id); collection != nullptr) TendIndexes(collection);
  }
}

}  // namespace quiver::engine
