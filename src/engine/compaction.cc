// Compaction: sealed segments are merged into fewer, larger ones, and rows that nobody can read any more are dropped.
//
// Order of steps, so that a crash between any two leaves the old or the new state:
//   1. the new segment file is written and synced (an orphan until step 3); readers and writers go on with the old
//   ones;
//   1a. where a source has vector indexes, those of the new segment are built, so that searches never fall back to
//   scanning (orphans, too, until step 3);
//   2. deletes that are durable by then are written as the new segment's delta;
//   3. one MetaStore transaction names the new segment and forgets the old ones;
//   4. on the sequencer, deletes that came meanwhile are carried over from the journals and readers are switched;
//   5. the old objects are removed. Views that are open keep their mappings.

#include <algorithm>
#include <bit>

#include "base/logging.h"
#include "engine/engine_impl.h"
#include "segment/row_expiry.h"

namespace quiver::engine {

namespace {

using Clock = std::chrono::steady_clock;

/// Segments of about the same size are merged once there are this many of them.
constexpr size_t kTierSegments = 4;
/// Sizes up to this are one tier; each further tier is four times as large.
constexpr uint64_t kSmallestTierBytes = 4ULL << 20;
/// A segment is rewritten when this part of its rows is not needed.
constexpr double kDeadPart = 0.2;
/// Most segments of one merge, so that one MetaStore transaction can name them all.
constexpr size_t kMaxSources = 64;
/// Requests of clients that are remembered after they ended.
constexpr size_t kMaxJobs = 1000;
constexpr auto kMaintenanceDelay = std::chrono::milliseconds(200);
constexpr auto kRetryDelay = std::chrono::seconds(10);

int TierOf(uint64_t bytes) {
  int tier = 0;
  for (uint64_t limit = kSmallestTierBytes; bytes > limit; limit *= 4) ++tier;
  return tier;
}

/// Rows of a segment that nobody can read any more.
Result<uint64_t> CountUnneeded(const segment::SealedSegment& sealed, const Retention& retention,
                               const segment::RowExpiry& expiry) {
  const bool some_ended = expiry.field_id != 0 && sealed.MayHaveEnded(expiry, TimestampMs(retention.horizon) * 1000);
  const bool some_expired =
      some_ended || std::max(sealed.file().min_timestamp(), sealed.visible_from()) <= retention.expired;
  if (sealed.deleted_count() == 0 && !some_expired) return uint64_t{0};
  uint64_t count = 0;
  if (some_expired) {
    segment::RowEnds ends(sealed, expiry);
    for (uint32_t row = 0; row < sealed.row_count(); ++row) {
      QUIVER_ASSIGN_OR_RETURN(const Timestamp inserted, sealed.inserted_at(row));
      QUIVER_ASSIGN_OR_RETURN(const Timestamp end, ends.Of(row));
      if (!retention.Needs(inserted, std::min(sealed.delete_ts(row), end))) ++count;
    }
    return count;
  }
  if (retention.pins.empty()) return sealed.CountDeletes(retention.horizon);
  for (const storage::RowDelete& deleted : sealed.DeletesUntil(retention.horizon)) {
    QUIVER_ASSIGN_OR_RETURN(const Timestamp inserted, sealed.inserted_at(deleted.row));
    if (!retention.Needs(inserted, deleted.timestamp)) ++count;
  }
  return count;
}

}  // namespace

void Engine::Impl::RequestMaintenance(Collection& collection) {
  if (!options.compaction || collection.maintenance_requested.exchange(true)) return;
  const std::lock_guard lock(compaction_mutex_);
  maintenance_due_.try_emplace(collection.id(), Clock::now() + kMaintenanceDelay);
  compaction_ready_.notify_all();
}

void Engine::Impl::WatchAge(const Collection& collection) {
  const std::lock_guard lock(compaction_mutex_);
  age_due_[collection.id()] = Clock::now() + std::chrono::seconds(options.max_growing_seconds);
  compaction_ready_.notify_all();
}

Result<int64_t> Engine::Impl::StartCompaction(const std::shared_ptr<Collection>& collection) {
  QUIVER_RETURN_IF_ERROR(Flush(collection, 0).status());
  QUIVER_ASSIGN_OR_RETURN(const Timestamp id, clock->Allocate());
  CompactionJob job;
  job.collection = collection;
  QUIVER_ASSIGN_OR_RETURN(job.tasks, PlanCompaction(*collection, true));
  for (const CompactionTask& task : job.tasks) {
    CompactionProgress::Merge merge{.sources = {}, .target = task.target};
    for (const auto& source : task.sources) merge.sources.push_back(source->id());
    job.progress.merges.push_back(std::move(merge));
  }
  job.progress.executing = static_cast<int64_t>(job.tasks.size());
  job.progress.done = job.tasks.empty();
  const std::lock_guard lock(compaction_mutex_);
  while (compaction_jobs_.size() >= kMaxJobs) compaction_jobs_.erase(compaction_jobs_.begin());
  compaction_jobs_[static_cast<int64_t>(id)] = std::move(job);
  compactor_queue_.emplace_back([this, id](CompactorRole& role) { RunJob(role, static_cast<int64_t>(id)); });
  compaction_ready_.notify_all();
  return static_cast<int64_t>(id);
}

void Engine::Impl::CompactorRole::Take() {
  if (held_) return;
  std::unique_lock lock(impl_.compaction_mutex_);
  impl_.compaction_ready_.wait(lock, [&] { return !impl_.compacting_; });
  impl_.compacting_ = held_ = true;
}

void Engine::Impl::CompactorRole::Leave() {
  if (!held_) return;
  const std::lock_guard lock(impl_.compaction_mutex_);
  impl_.compacting_ = held_ = false;
  impl_.compaction_ready_.notify_all();
}

Engine::Impl::SourceState Engine::Impl::StateOf(const Collection& collection, const CompactionTask& task) {
  SourceState state = SourceState::kFree;
  const SealedSegments present = collection.sealed_segments();
  for (const auto& source : task.sources) {
    if (std::find(present.begin(), present.end(), source) == present.end()) return SourceState::kGone;
    if (source->outgoing()) state = SourceState::kBusy;
  }
  return state;
}

void Engine::Impl::RunOnCompactor(std::function<void(CompactorRole&)> task) {
  const std::lock_guard lock(compaction_mutex_);
  compactor_queue_.push_back(std::move(task));
  compaction_ready_.notify_all();
}

CompactionProgress Engine::Impl::ProgressOf(int64_t compaction_id) const {
  const std::lock_guard lock(compaction_mutex_);
  const auto found = compaction_jobs_.find(compaction_id);
  return found == compaction_jobs_.end() ? CompactionProgress() : found->second.progress;
}

Result<std::vector<Engine::Impl::CompactionTask>> Engine::Impl::PlanCompaction(const Collection& collection,
                                                                               bool whole) const {
  struct Candidate {
    std::shared_ptr<segment::SealedSegment> segment;
    uint64_t bytes;  ///< after the rewrite
    uint64_t rows;
    bool rewrite;
  };
  const auto info = collection.info();
  const Retention retention = RetentionOf(*info, watermark.load(std::memory_order_acquire));
  const segment::RowExpiry expiry = info->row_expiry();
  std::vector<Candidate> candidates;
  for (auto& sealed : collection.sealed_segments()) {
    const Result<uint64_t> counted = CountUnneeded(*sealed, retention, expiry);
    if (sealed->fenced()) {
      (void)sealed->fence();  // into the log; it is left as it is, for the repair
      continue;
    }
    if (!whole && sealed->outgoing()) continue;  // another thread is about to replace it
    if (!counted.ok()) return counted.status();
    const uint64_t unneeded = *counted;
    const auto rows = static_cast<double>(std::max<uint32_t>(sealed->row_count(), 1));
    const double part = static_cast<double>(unneeded) / rows;
    const bool rewrite = unneeded > 0 && (whole || part >= kDeadPart);
    const auto bytes = static_cast<uint64_t>(static_cast<double>(sealed->byte_size()) * (1.0 - part));
    const uint64_t kept_rows = sealed->row_count();
    candidates.push_back({std::move(sealed), bytes, kept_rows, rewrite});
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.bytes != b.bytes ? a.bytes < b.bytes : a.segment->id() < b.segment->id();
  });

  std::vector<CompactionTask> tasks;
  const auto add = [&](std::span<const Candidate> group) -> Status {
    CompactionTask task;
    for (const Candidate& candidate : group) task.sources.push_back(candidate.segment);
    std::sort(task.sources.begin(), task.sources.end(), [](const auto& a, const auto& b) { return a->id() < b->id(); });
    if (group.size() == 1 && !group[0].rewrite) {
      if (!whole) return Status::Ok();
      task.target = group[0].segment->id();  // as good as it can be: the plan names it, nothing is written
    } else {
      QUIVER_ASSIGN_OR_RETURN(const Timestamp id, clock->Allocate());
      task.target = static_cast<int64_t>(id);
    }
    tasks.push_back(std::move(task));
    return Status::Ok();
  };
  for (size_t begin = 0; begin < candidates.size();) {
    size_t end = begin + 1;
    uint64_t bytes = candidates[begin].bytes;
    uint64_t all_rows = candidates[begin].rows;
    const int tier = TierOf(bytes);
    while (end < candidates.size() && end - begin < kMaxSources &&
           bytes + candidates[end].bytes <= options.max_segment_bytes &&
           CopyMemory(all_rows + candidates[end].rows) <= options.memory_limit / 8 &&
           (whole || TierOf(candidates[end].bytes) == tier)) {
      all_rows += candidates[end].rows;
      bytes += candidates[end++].bytes;
    }
    if (whole || end - begin >= kTierSegments) {
      QUIVER_RETURN_IF_ERROR(add(std::span(candidates).subspan(begin, end - begin)));
    } else {
      for (size_t i = begin; i < end; ++i) QUIVER_RETURN_IF_ERROR(add(std::span(candidates).subspan(i, 1)));
    }
    begin = end;
  }
  return tasks;
}

Status Engine::Impl::Compact(CompactorRole& role, Collection& collection, const CompactionTask& task) {
  if (task.sources.size() == 1 && task.sources.front()->id() == task.target) return Status::Ok();
  // A merge that was planned a while ago may find that another one has taken its sources.
  role.Take();
  if (StateOf(collection, task) != SourceState::kFree) return Status::Ok();
  const int64_t collection_id = collection.id();
  uint64_t rows = 0;
  for (const auto& source : task.sources) rows += source->row_count();
  QUIVER_RETURN_IF_ERROR(budget->Admit(CopyMemory(rows)));
  const MemoryCharge memory(budget, MemoryConsumer::kBackground, CopyMemory(rows));
  Timestamp start = 0;
  QUIVER_RETURN_IF_ERROR(RunOnSequencer([&] {
    start = last_timestamp_;
    for (const auto& source : task.sources) source->StartJournal();
  }));

  for (const auto& source : task.sources) source->set_outgoing(true);
  SegmentManifest manifest;
  std::vector<std::string> replaced;
  const auto rewrite = [&]() -> Status {
    QUIVER_RETURN_IF_ERROR(Settle(start));
    const std::shared_ptr<const CollectionInfo> info = collection.info();
    const Retention retention = RetentionOf(*info, start);
    std::map<int64_t, int64_t> expired;  // rows of a partition that the TTL ends and nobody deleted
    QUIVER_ASSIGN_OR_RETURN(const SegmentCopy copy, PlanCopy({task.sources.begin(), task.sources.end()}, *info->schema,
                                                             info->row_expiry(), [&](const RowFacts& row) {
                                                               if (retention.Needs(row.inserted, row.ended))
                                                                 return true;
                                                               if (row.deleted == segment::kNotDeleted)
                                                                 ++expired[row.partition_id];
                                                               return false;
                                                             }));
    std::shared_ptr<segment::SealedSegment> merged;
    if (!copy.rows.empty()) {
      const std::string name = fmt::format("segment/{}/{}.seg", collection_id, task.target);
      QUIVER_ASSIGN_OR_RETURN(auto file,
                              WriteCopy(file_system, *objects, copy, *info->schema, {collection_id, task.target, name},
                                        Pacer(options.compaction_bytes_per_second, *budget, compactor_stop_)));
      manifest.object = name;
      merged = reclaimer.Guard(std::make_shared<segment::SealedSegment>(std::move(file), 0, budget));
      for (const storage::RowDelete& dead : DeletesOfCopy(copy, segment::kNotDeleted - 1)) {
        merged->DeleteRow(dead.row, dead.timestamp);
      }
    }
    const std::vector<std::vector<uint32_t>> new_rows = InvertCopy(copy);
    const bool indexed = std::any_of(task.sources.begin(), task.sources.end(),
                                     [](const auto& source) { return !source->Indexes().empty(); });
    if (merged != nullptr && indexed) {
      // That may take minutes: the merges of others go on. What follows needs the role no more.
      role.Leave();
      const std::lock_guard turn(merge_build_mutex_);
      manifest.indexes = BuildBeforeSwap(collection, task.sources, new_rows, merged);
    }
    if (compactor_stop_) return Error(StatusCode::kNotReady, "service not ready: the server is stopping");

    const std::lock_guard lock(manifest_mutex_);
    Timestamp saved = 0;
    QUIVER_RETURN_IF_ERROR(RunOnSequencer([&] { saved = last_timestamp_; }));
    QUIVER_RETURN_IF_ERROR(Settle(saved));
    if (merged != nullptr) {
      const std::vector<storage::RowDelete> dead = DeletesOfCopy(copy, saved);
      if (!dead.empty()) {
        QUIVER_ASSIGN_OR_RETURN(manifest.delta, WriteDelta(collection_id, task.target, saved, dead));
      }
      merged->SetSavedDeletes(dead.size());
    }
    storage::MetaTransaction transaction;
    transaction.RequireExists(CollectionKey(collection_id));
    for (const auto& source : task.sources) {
      const std::string key = SegmentKey(collection_id, source->id());
      QUIVER_ASSIGN_OR_RETURN(const std::optional<std::string> stored, meta->Get(key));
      if (!stored) continue;
      QUIVER_ASSIGN_OR_RETURN(const SegmentManifest old, DecodeManifest(*stored));
      replaced.push_back(old.object);
      replaced.push_back(old.delta);
      for (const IndexObject& index : old.indexes) {
        for (std::string& beside : NamesBeside(index.object)) replaced.push_back(std::move(beside));
        replaced.push_back(index.object);
      }
      transaction.Delete(key);
    }
    if (merged != nullptr) transaction.Put(SegmentKey(collection_id, task.target), EncodeManifest(manifest));
    // One that began later may have ended before.
    transaction.Put(FloorKey(collection_id), std::to_string(std::max(retention.horizon, collection.floor())));
    const Result<storage::CommitOutcome> outcome = meta->Commit(transaction);
    if (outcome.ok() && *outcome == storage::CommitOutcome::kConflict) {
      return Error(StatusCode::kCollectionNotFound, "collection was dropped while it was compacted: {}", collection_id);
    }
    // The store names the objects now. Even after a failed commit it may, once it has been opened again.
    manifest = {};
    if (!outcome.ok()) return MetaFailed(outcome.status());
    Status synced = meta->Sync();
    if (!synced.ok()) (void)MetaFailed(synced);
    const auto carry_over = [&](size_t i, const Journal& journal) {
      for (const storage::RowDelete& deleted : journal) {
        const uint32_t row = new_rows[i][deleted.row];
        if (row == kNoRow) {
          --expired[task.sources[i]->partition_of(deleted.row)];  // counted as gone when it was deleted
        } else {
          merged->DeleteRow(row, deleted.timestamp);
        }
      }
    };
    QUIVER_RETURN_IF_ERROR(
        CatchUp(task.sources.size(), [&](size_t i) { return task.sources[i]->TakeJournal(); }, carry_over));
    QUIVER_RETURN_IF_ERROR(RunOnSequencer([&] {
      for (size_t i = 0; i < task.sources.size(); ++i) carry_over(i, task.sources[i]->EndJournal());
      collection.ReplaceSealed(task.sources, merged, retention.horizon);
      for (const auto& [partition, rows] : expired) collection.AddLiveRows(partition, -rows);
    }));
    // Until the store is synced, a crash may bring the sources back. They are removed by the next start.
    return synced;
  };
  const Status status = rewrite();
  if (status.ok()) {
    for (const std::string& name : replaced) RemoveObject(name);
  } else {
    RemoveObject(manifest.object);
    RemoveObject(manifest.delta);
    for (const IndexObject& index : manifest.indexes) RemoveIndexObject(index.object);
    for (const auto& source : task.sources) source->set_outgoing(false);
    // Fails only while the engine stops, when no journal matters any more.
    (void)RunOnSequencer([&] {
      for (const auto& source : task.sources) (void)source->EndJournal();
    });
  }
  {
    const std::lock_guard lock(compaction_mutex_);
    for (const int64_t id : waiting_jobs_) {
      compactor_queue_.emplace_back([this, id](CompactorRole& next) { RunJob(next, id); });
    }
    waiting_jobs_.clear();
    compaction_ready_.notify_all();
  }
  RequestIndexing(collection);
  return collection.dropped ? Status::Ok() : status;
}

void Engine::Impl::RunJob(CompactorRole& role, int64_t compaction_id) {
  std::shared_ptr<Collection> collection;
  std::vector<CompactionTask> tasks;
  {
    const std::lock_guard lock(compaction_mutex_);
    const auto found = compaction_jobs_.find(compaction_id);
    if (found == compaction_jobs_.end()) return;
    collection = found->second.collection;
    tasks = std::move(found->second.tasks);
    found->second.tasks.clear();  // they hold segments
  }
  for (auto next = tasks.begin(); next != tasks.end(); ++next) {
    role.Take();  // from here on nobody begins a merge
    {
      const std::lock_guard lock(compaction_mutex_);  // a merge that ends looks for waiting jobs under it
      const auto found = compaction_jobs_.find(compaction_id);
      if (found == compaction_jobs_.end()) return;
      if (StateOf(*collection, *next) == SourceState::kBusy) {
        found->second.tasks.assign(std::make_move_iterator(next), std::make_move_iterator(tasks.end()));
        waiting_jobs_.push_back(compaction_id);
        return;
      }
    }
    const Status status = Compact(role, *collection, *next);
    *next = {};
    if (!status.ok() && !compactor_stop_) {
      QUIVER_LOG(warn, "compaction {} of collection {} failed: {}", compaction_id, collection->id(), status.ToString());
    }
    const std::lock_guard lock(compaction_mutex_);
    const auto found = compaction_jobs_.find(compaction_id);
    if (found == compaction_jobs_.end()) return;
    CompactionProgress& progress = found->second.progress;
    --progress.executing;
    ++(status.ok() ? progress.completed : progress.failed);
    progress.done = progress.executing == 0;
    // The job is remembered for its progress; a collection that is dropped must not stay for that.
    if (progress.done) found->second.collection = nullptr;
  }
}

std::optional<int64_t> Engine::Impl::TakeDue(std::map<int64_t, Clock::time_point>& due) {
  const auto first =
      std::min_element(due.begin(), due.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (first == due.end() || first->second > Clock::now()) return std::nullopt;
  const int64_t id = first->first;
  due.erase(first);
  return id;
}

std::shared_ptr<Collection> Engine::Impl::FindById(int64_t collection_id) const {
  const std::shared_lock lock(catalog_mutex);
  const auto found = collections.find(collection_id);
  return found == collections.end() ? nullptr : found->second;
}

void Engine::Impl::Maintain(CompactorRole& role) {
  for (;;) {
    role.Take();
    std::optional<int64_t> id;
    std::optional<int64_t> aged;
    {
      const std::lock_guard lock(compaction_mutex_);
      if (compactor_stop_ || !compactor_queue_.empty()) return;
      aged = TakeDue(age_due_);
      id = TakeDue(maintenance_due_);
    }
    if (aged) {
      if (const auto old = FindById(*aged); old != nullptr) {
        if (const Status sealed = Flush(old, 0).status(); !sealed.ok() && !compactor_stop_) WatchAge(*old);
      }
    }
    if (!id && !aged) return;
    const std::shared_ptr<Collection> collection = id ? FindById(*id) : nullptr;
    if (collection == nullptr) continue;
    // Cleared before looking: what changes from now on asks again.
    collection->maintenance_requested = false;
    auto tasks = PlanCompaction(*collection, false);
    Status status = tasks.status();
    if (tasks.ok()) {
      for (CompactionTask& task : *tasks) {
        status = Compact(role, *collection, task);
        task = {};
        if (!status.ok() || compactor_stop_) break;
      }
    }
    // What the retention or the TTL still holds is looked at again when it may have run out.
    std::optional<Clock::duration> again;
    const auto info = collection->info();
    if (!status.ok()) {
      if (!compactor_stop_) {
        QUIVER_LOG(warn, "background compaction of collection {} failed and is tried again: {}", *id,
                   status.ToString());
      }
      again = kRetryDelay;
    } else if (tasks.ok() && !tasks->empty()) {
      again = kMaintenanceDelay;  // merged segments may make up the next tier
    } else {
      const auto sealed = collection->sealed_segments();
      const bool dead = std::any_of(sealed.begin(), sealed.end(), [](const auto& segment) {
        return segment->deleted_count() >= kDeadPart * segment->row_count();
      });
      if (dead || ((info->ttl_seconds() > 0 || info->row_expiry().field_id != 0) && !sealed.empty())) {
        const int64_t wait = std::max(info->retention_seconds(options.retention_seconds), info->ttl_seconds() / 10);
        again = std::chrono::seconds(std::clamp<int64_t>(wait, 1, 60));
      }
    }
    if (again) {
      collection->maintenance_requested = true;
      const std::lock_guard lock(compaction_mutex_);
      maintenance_due_.try_emplace(*id, Clock::now() + *again);
    }
  }
}

void Engine::Impl::CompactorLoop() {
  LowerThreadPriority();
  for (;;) {
    std::function<void(CompactorRole&)> job;
    CompactorRole role(*this);
    {
      std::unique_lock lock(compaction_mutex_);
      for (;;) {
        if (compactor_stop_) return;
        if (compacting_) {
          compaction_ready_.wait(lock);
          continue;
        }
        if (!compactor_queue_.empty()) break;
        auto next = Clock::time_point::max();
        for (const auto* due : {&maintenance_due_, &age_due_}) {
          for (const auto& [id, moment] : *due) next = std::min(next, moment);
        }
        if (next <= Clock::now()) break;
        if (next == Clock::time_point::max()) {
          compaction_ready_.wait(lock);
        } else {
          compaction_ready_.wait_until(lock, next);
        }
      }
      compacting_ = role.held_ = true;
      if (!compactor_queue_.empty()) {
        job = std::move(compactor_queue_.front());
        compactor_queue_.pop_front();
      }
    }
    if (job) job(role);
    Maintain(role);
  }
}

}  // namespace quiver::engine
