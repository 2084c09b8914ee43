// Sealing: a frozen growing segment becomes an immutable file; a checkpoint lets the log behind it go.
//
// Order of steps, so that a crash between any two leaves the old or the new state:
//   1. segment file and delta files are written, synced and put into the object store (orphans until step 2);
//   2. one MetaStore transaction names them and raises the collection's checkpoint, then the store is synced;
//   3. on the sequencer, readers are switched to the sealed segment (later deletes are carried over);
//   4. objects that nothing names any more are removed and the log is cut.

#include <rapidjson/document.h>

#include <algorithm>
#include <future>
#include <unordered_set>

#include "base/logging.h"
#include "engine/engine_impl.h"

namespace quiver::engine {

namespace {

constexpr size_t kDeltasPerTransaction = 100;
/// A failed seal is tried again after this, and after twice as long each time up to the second figure.
constexpr std::chrono::milliseconds kFirstSealRetry{50};
constexpr std::chrono::milliseconds kLastSealRetry{5000};

}  // namespace

std::string CollectionKey(int64_t collection_id) { return fmt::format("{}{}", kCollectionPrefix, collection_id); }
std::string DatabaseKey(const std::string& name) { return fmt::format("{}{}", kDatabasePrefix, name); }
std::string SegmentPrefix(int64_t collection_id) { return fmt::format("segment/{}/", collection_id); }
std::string SegmentKey(int64_t collection_id, int64_t segment_id) {
  return fmt::format("segment/{}/{}", collection_id, segment_id);
}
std::string FencePrefix(int64_t collection_id) { return fmt::format("fence/{}/", collection_id); }
std::string FenceKey(int64_t collection_id, int64_t segment_id) {
  return fmt::format("fence/{}/{}", collection_id, segment_id);
}
std::string CheckpointKey(int64_t collection_id) { return fmt::format("checkpoint/{}", collection_id); }
std::string FloorKey(int64_t collection_id) { return fmt::format("floor/{}", collection_id); }

std::string EncodeManifest(const SegmentManifest& manifest) {
  // Object names are made by us and need no escaping.
  std::string text = fmt::format(R"({{"version":1,"object":"{}","delta":"{}","visible_from":{})", manifest.object,
                                 manifest.delta, manifest.visible_from);
  if (!manifest.indexes.empty()) {
    text += R"(,"indexes":[)";
    for (const IndexObject& index : manifest.indexes) {
      if (&index != &manifest.indexes.front()) text += ',';
      text += fmt::format(R"({{"index":{},"field":{},"object":"{}","bytes":{},"crc":{}}})", index.index_id,
                          index.field_id, index.object, index.bytes, index.crc);
    }
    text += ']';
  }
  return text + '}';
}

namespace {

Result<std::vector<IndexObject>> DecodeIndexes(const rapidjson::Value& list, std::string_view text) {
  std::vector<IndexObject> indexes;
  bool sound = list.IsArray();
  for (rapidjson::SizeType i = 0; sound && i < list.Size(); ++i) {
    const rapidjson::Value& item = list[i];
    const auto has = [&](const char* name) { return item.IsObject() && item.HasMember(name); };
    sound = has("index") && item["index"].IsInt64() && has("field") && item["field"].IsInt64() && has("object") &&
            item["object"].IsString() && has("bytes") && item["bytes"].IsUint64() && has("crc") && item["crc"].IsUint();
    if (!sound) break;
    indexes.push_back({item["index"].GetInt64(), item["field"].GetInt64(), item["object"].GetString(),
                       item["bytes"].GetUint64(), item["crc"].GetUint()});
  }
  if (!sound) return Error(StatusCode::kCorruption, "segment manifest is damaged: {}", text);
  return indexes;
}

}  // namespace

Result<SegmentManifest> DecodeManifest(std::string_view text) {
  rapidjson::Document document;
  document.Parse(text.data(), text.size());
  const auto text_member = [&](const char* name) { return document.HasMember(name) && document[name].IsString(); };
  const auto is_version = [&](int version) {
    return document.HasMember("version") && document["version"].IsInt() && document["version"].GetInt() == version;
  };
  if (document.HasParseError() || !document.IsObject() || !is_version(1) || !text_member("object") ||
      !text_member("delta")) {
    return Error(StatusCode::kCorruption, "segment manifest is damaged: {}", text);
  }
  SegmentManifest manifest{document["object"].GetString(), document["delta"].GetString()};
  if (const auto list = document.FindMember("indexes"); list != document.MemberEnd()) {
    QUIVER_ASSIGN_OR_RETURN(manifest.indexes, DecodeIndexes(list->value, text));
  }
  if (document.HasMember("visible_from") && document["visible_from"].IsUint64()) {
    manifest.visible_from = document["visible_from"].GetUint64();
  }
  return manifest;
}

void Engine::Impl::Freeze(const std::shared_ptr<Collection>& collection, Timestamp freeze_timestamp,
                          uint64_t log_offset, std::function<void(Status, int64_t)> done) {
  SealTask task;
  task.collection = collection;
  task.growing = std::move(collection->active);
  collection->active = nullptr;
  if (task.growing != nullptr) {
    task.growing->StartJournal();
    task.growing->Complete();
    task.growing_bytes = task.growing->byte_size();
    frozen_bytes_ += task.growing_bytes;
  }
  task.freeze_timestamp = freeze_timestamp;
  task.freeze_offset = log_offset;
  task.done = std::move(done);
  const std::lock_guard lock(seal_mutex_);
  seal_queue_.push_back(std::move(task));
  seal_ready_.notify_one();
}

void Engine::Impl::CapLog() {
  if (log_cap_requested_ || log->byte_size() <= options.max_log_bytes) return;
  std::shared_ptr<Collection> oldest;
  for (const auto& [id, collection] : collections) {
    if (oldest == nullptr || collection->oldest_log_offset < oldest->oldest_log_offset) oldest = collection;
  }
  if (oldest == nullptr || oldest->oldest_log_offset == UINT64_MAX) return;
  log_cap_requested_ = true;
  Freeze(oldest, last_timestamp_, log->end_offset(), [this](const Status& status, int64_t) {
    if (!status.ok()) return;  // it is tried again
    auto operation = std::make_unique<Operation>();
    operation->run = [this] { log_cap_requested_ = false; };
    operation->done = [](Operation&) {};
    Enqueue(std::move(operation));
  });
}

void Engine::Impl::CapMemory() {
  const uint64_t growing = budget->used(MemoryConsumer::kGrowing);
  const uint64_t frozen = frozen_bytes_.load(std::memory_order_relaxed);
  if (growing <= frozen || growing - frozen <= options.memory_limit / 4) return;
  std::shared_ptr<Collection> largest;
  for (const auto& [id, collection] : collections) {
    if (collection->active == nullptr) continue;
    if (largest == nullptr || collection->active->byte_size() > largest->active->byte_size()) largest = collection;
  }
  if (largest != nullptr) Freeze(largest, last_timestamp_, log->end_offset(), {});
}

Result<FlushResult> Engine::Impl::Flush(const std::shared_ptr<Collection>& collection, uint64_t min_bytes) {
  struct Waiting {
    std::mutex mutex;
    std::condition_variable finished;
    int pending = 0;
    Status status;
    std::vector<int64_t> segment_ids;
  };
  const auto waiting = std::make_shared<Waiting>();
  FlushResult result;
  QUIVER_RETURN_IF_ERROR(RunOnSequencer([&] {
    result.timestamp = last_timestamp_;
    if (collection->dropped || collection->active == nullptr) return;
    if (collection->active->byte_size() < min_bytes) return;
    waiting->pending = 1;
    Freeze(collection, last_timestamp_, log->end_offset(), [waiting](Status status, int64_t segment_id) {
      const std::lock_guard lock(waiting->mutex);
      waiting->status = std::move(status);
      if (segment_id != 0) waiting->segment_ids.push_back(segment_id);
      waiting->pending = 0;
      waiting->finished.notify_all();
    });
  }));
  std::unique_lock lock(waiting->mutex);
  waiting->finished.wait(lock, [&] { return waiting->pending == 0; });
  QUIVER_RETURN_IF_ERROR(waiting->status);
  result.segment_ids = waiting->segment_ids;
  return result;
}

std::optional<SealTask> Engine::Impl::TakeSealTask(std::chrono::steady_clock::time_point& next) {
  const auto now = std::chrono::steady_clock::now();
  next = std::chrono::steady_clock::time_point::max();
  std::unordered_set<int64_t> waiting;
  for (auto task = seal_queue_.begin(); task != seal_queue_.end(); ++task) {
    if (waiting.contains(task->collection->id())) continue;
    if (task->not_before > now && !task->collection->dropped) {
      waiting.insert(task->collection->id());
      next = std::min(next, task->not_before);
      continue;
    }
    std::optional<SealTask> taken(std::move(*task));
    seal_queue_.erase(task);
    return taken;
  }
  return std::nullopt;
}

void Engine::Impl::SealerLoop() {
  for (;;) {
    std::optional<SealTask> task;
    {
      std::unique_lock lock(seal_mutex_);
      for (;;) {
        // What is not sealed at shutdown stays in the log and is sealed after the next start.
        if (sealer_stop_) return;
        std::chrono::steady_clock::time_point next;
        task = TakeSealTask(next);
        if (task) break;
        if (next == std::chrono::steady_clock::time_point::max()) {
          seal_ready_.wait(lock);
        } else {
          seal_ready_.wait_until(lock, next);
        }
      }
    }
    if (task->cleanup) {
      RemoveDropped(*task);
      continue;
    }
    const Status status = Seal(*task);
    const int64_t segment_id = task->sealed == nullptr ? 0 : task->sealed->id();
    std::vector<std::function<void(Status, int64_t)>> told;
    if (task->done) told.push_back(task->done);
    bool has_freed_rows = false;
    if (!status.ok()) {
      const auto delay = std::min(kLastSealRetry, kFirstSealRetry * (1 << std::min(task->attempts, 10)));
      if (Health().ok() && status.code() != StatusCode::kNotReady) {
        QUIVER_LOG(error,
                   "sealing of collection {} failed, its rows stay in memory and in the log; next attempt in {} ms: {}",
                   task->collection->id(), delay.count(), status.ToString());
      }
      task->not_before = std::chrono::steady_clock::now() + delay;
      ++task->attempts;
      const std::lock_guard lock(seal_mutex_);
      // Whoever waits for a task behind this one learns of it now, not when the disk is well again.
      for (const SealTask& behind : seal_queue_) {
        if (behind.collection == task->collection && behind.done) told.push_back(behind.done);
      }
      seal_queue_.push_front(*std::move(task));
    } else if (task->growing != nullptr) {
      // The last owner of the rows, unless a read is under way. Their memory is to be counted as free before the next
      // look at the budget.
      const Reclaimer::InPlace here;
      task.reset();
      has_freed_rows = true;
    }
    for (const auto& done : told) done(status, segment_id);
    if (has_freed_rows) ReturnFreeMemory();
  }
}

Retention Engine::Impl::RetentionOf(const CollectionInfo& info, Timestamp newest) const {
  const auto minus = [](Timestamp timestamp, int64_t seconds) {
    const Timestamp span = MakeTimestamp(seconds * 1000);
    return timestamp > span ? timestamp - span : 0;
  };
  Retention retention;
  retention.horizon = std::min(newest, minus(clock->Current(), info.retention_seconds(options.retention_seconds)));
  for (const SnapshotInfo& snapshot : info.snapshots) retention.pins.push_back(snapshot.timestamp);
  if (const int64_t ttl = info.ttl_seconds(); ttl > 0) retention.expired = minus(retention.horizon, ttl);
  return retention;
}

Result<std::string> Engine::Impl::WriteDelta(int64_t collection_id, int64_t segment_id, Timestamp until,
                                             std::span<const storage::RowDelete> deletes) {
  // A name is never used twice: what a failed commit named may still turn up after a crash.
  const std::string name =
      fmt::format("delta/{}/{}-{}.{}.del", collection_id, segment_id, until, next_delta_.fetch_add(1));
  const std::string staging = objects->StagingPath(name);
  QUIVER_RETURN_IF_ERROR(storage::WriteDeltaFile(file_system, staging, segment_id, deletes));
  QUIVER_RETURN_IF_ERROR(objects->Put(name, staging));
  return name;
}

void Engine::Impl::RemoveObject(const std::string& name) {
  if (name.empty()) return;
  if (const Status removed = objects->Remove(name); !removed.ok()) {
    QUIVER_LOG(warn, "cannot remove object {}; the next start does: {}", name, removed.ToString());
  }
}

Status Engine::Impl::Checkpoint(SealTask& task) {
  const int64_t collection_id = task.collection->id();
  storage::MetaTransaction transaction;
  const auto commit = [&]() -> Status {
    transaction.RequireExists(CollectionKey(collection_id));
    const Result<storage::CommitOutcome> outcome = meta->Commit(transaction);
    transaction = {};
    if (!outcome.ok()) return MetaFailed(outcome.status());
    if (*outcome == storage::CommitOutcome::kConflict) {
      return Error(StatusCode::kCollectionNotFound, "collection {} is not in the metadata: dropped, or not there yet",
                   collection_id);
    }
    return Status::Ok();
  };
  std::vector<std::pair<std::shared_ptr<segment::SealedSegment>, uint64_t>> saved;
  for (const auto& other : task.collection->sealed_segments()) {
    if (!other->HasUnsavedDeletes(task.freeze_timestamp)) continue;
    const std::vector<storage::RowDelete> deletes = other->DeletesUntil(task.freeze_timestamp);
    const std::string key = SegmentKey(collection_id, other->id());
    QUIVER_ASSIGN_OR_RETURN(const std::optional<std::string> stored, meta->Get(key));
    if (!stored) continue;
    QUIVER_ASSIGN_OR_RETURN(SegmentManifest changed, DecodeManifest(*stored));
    if (!changed.delta.empty()) task.replaced.push_back(changed.delta);
    QUIVER_ASSIGN_OR_RETURN(changed.delta, WriteDelta(collection_id, other->id(), task.freeze_timestamp, deletes));
    transaction.Put(key, EncodeManifest(changed));
    saved.emplace_back(other, deletes.size());
    // Deltas ahead of the checkpoint do no harm: replaying a delete that is known already changes nothing.
    if (transaction.operations.size() >= kDeltasPerTransaction) QUIVER_RETURN_IF_ERROR(commit());
  }
  if (task.sealed != nullptr) {
    transaction.Put(SegmentKey(collection_id, task.sealed->id()), EncodeManifest(task.manifest));
  }
  if (task.floor != 0) {
    transaction.Put(FloorKey(collection_id), std::to_string(std::max(task.floor, task.collection->floor())));
  }
  // What could not be applied to a fenced segment leaves the log now: the segment stays fenced from here on.
  for (const auto& [segment_id, reason] : task.collection->missed_writes()) {
    const std::string key = FenceKey(collection_id, segment_id);
    QUIVER_ASSIGN_OR_RETURN(const std::optional<std::string> known, meta->Get(key));
    if (!known) transaction.Put(key, reason);
    if (transaction.operations.size() >= kDeltasPerTransaction) QUIVER_RETURN_IF_ERROR(commit());
  }
  transaction.Put(CheckpointKey(collection_id), std::to_string(task.freeze_timestamp));
  QUIVER_RETURN_IF_ERROR(commit());
  if (Status synced = meta->Sync(); !synced.ok()) return MetaFailed(std::move(synced));
  task.collection->checkpoint.store(task.freeze_timestamp, std::memory_order_relaxed);
  for (const auto& [segment, count] : saved) segment->SetSavedDeletes(count);
  for (const std::string& name : task.replaced) RemoveObject(name);
  task.replaced.clear();
  return Status::Ok();
}

Status Engine::Impl::WriteSegment(SealTask& task) {
  const int64_t collection_id = task.collection->id();
  // What died before the horizon is left out, so nobody may open a view at an older timestamp from now on.
  const Retention retention = RetentionOf(*task.collection->info(), task.freeze_timestamp);
  const CollectionSchema& schema = *task.growing->schema();
  QUIVER_ASSIGN_OR_RETURN(task.copy, PlanCopy({task.growing}, schema, {}, [&](const RowFacts& row) {
                            const bool needed =
                                row.deleted == segment::kNotDeleted || retention.Needs(row.inserted, row.deleted);
                            if (!needed) task.floor = retention.horizon;
                            return needed;
                          }));
  if (task.copy.rows.empty()) return Status::Ok();
  const std::string name = fmt::format("segment/{}/{}.seg", collection_id, task.growing->id());
  QUIVER_ASSIGN_OR_RETURN(auto file,
                          WriteCopy(file_system, *objects, task.copy, schema, {collection_id, task.growing->id(), name},
                                    [](uint64_t) { return Status::Ok(); }));
  auto sealed = reclaimer.Guard(std::make_shared<segment::SealedSegment>(std::move(file), 0, budget));
  const std::vector<storage::RowDelete> dead = DeletesOfCopy(task.copy, task.freeze_timestamp);
  if (!dead.empty()) {
    auto delta = WriteDelta(collection_id, sealed->id(), task.freeze_timestamp, dead);
    if (!delta.ok()) {
      RemoveObject(name);  // the next attempt writes it anew
      return delta.status();
    }
    task.manifest.delta = *std::move(delta);
  }
  sealed->SetSavedDeletes(dead.size());
  // Later ones follow from the journal, on the sequencer.
  for (const storage::RowDelete& row : DeletesOfCopy(task.copy, segment::kNotDeleted - 1)) {
    sealed->DeleteRow(row.row, row.timestamp);
  }
  task.manifest.object = name;
  task.sealed = std::move(sealed);
  return Status::Ok();
}

Status Engine::Impl::CatchUp(size_t segments, const std::function<Journal(size_t)>& take,
                             const std::function<void(size_t, const Journal&)>& apply) {
  constexpr size_t kFewDeletes = 1000;  // some 50 us of the sequencer
  constexpr int kMostRounds = 10;
  for (int round = 0; round < kMostRounds; ++round) {
    std::vector<Journal> journals(segments);
    QUIVER_RETURN_IF_ERROR(RunOnSequencer([&] {
      for (size_t i = 0; i < segments; ++i) journals[i] = take(i);
    }));
    size_t deletes = 0;
    for (size_t i = 0; i < segments; ++i) {
      apply(i, journals[i]);
      deletes += journals[i].size();
    }
    if (deletes <= kFewDeletes) break;
  }
  return Status::Ok();
}

Status Engine::Impl::Seal(SealTask& task) {
  // Not asked for: sealing is what gives memory back.
  const MemoryCharge memory(budget, MemoryConsumer::kBackground,
                            task.growing == nullptr ? 0 : CopyMemory(task.growing->row_count()));
  const auto seal = [&]() -> Status {
    QUIVER_RETURN_IF_ERROR(Settle(task.freeze_timestamp));
    if (task.growing != nullptr && !task.written) {
      QUIVER_RETURN_IF_ERROR(WriteSegment(task));
      task.written = true;
    }
    const std::lock_guard lock(manifest_mutex_);
    QUIVER_RETURN_IF_ERROR(Checkpoint(task));
    std::vector<std::vector<uint32_t>> new_rows = InvertCopy(task.copy);
    const auto carry_over = [&](const Journal& journal) {
      for (const storage::RowDelete& deleted : journal) {
        if (task.sealed == nullptr || new_rows[0][deleted.row] == kNoRow) continue;
        task.sealed->DeleteRow(new_rows[0][deleted.row], deleted.timestamp);
      }
    };
    if (task.growing != nullptr) {
      QUIVER_RETURN_IF_ERROR(CatchUp(
          1, [&](size_t) { return task.growing->TakeJournal(); },
          [&](size_t, const Journal& journal) { carry_over(journal); }));
    }
    QUIVER_RETURN_IF_ERROR(RunOnSequencer([&] {
      Collection& collection = *task.collection;
      if (task.growing != nullptr) {
        carry_over(task.growing->EndJournal());
        collection.ReplaceGrowing(task.growing.get(), task.sealed, task.floor);
      }
      collection.oldest_log_offset.store(
          collection.newest_log_offset >= task.freeze_offset ? task.freeze_offset : UINT64_MAX,
          std::memory_order_relaxed);
    }));
    if (task.sealed != nullptr) KeepGrown(task, std::move(new_rows[0]));
    return Status::Ok();
  };
  Status status = seal();
  if (status.ok()) {
    frozen_bytes_ -= task.growing_bytes;
    CutLog();
    RequestMaintenance(*task.collection);
    RequestIndexing(*task.collection);
    return status;
  }
  if (!task.collection->dropped) return status;
  frozen_bytes_ -= task.growing_bytes;
  // The collection went away meanwhile; its clean-up may have run before the objects were there.
  RemoveObject(task.manifest.object);
  RemoveObject(task.manifest.delta);
  return Status::Ok();
}

void Engine::Impl::CutLog() {
  // On the sequencer no group is half applied, so every record that memory depends on is counted.
  uint64_t needed = finished_offset_.load(std::memory_order_acquire);
  Status status = RunOnSequencer([&] {
    for (const auto& [id, collection] : collections) {
      needed = std::min(needed, collection->oldest_log_offset.load(std::memory_order_relaxed));
    }
  });
  // Catalog changes in the part to be cut must not depend on the log any more.
  if (status.ok()) {
    status = meta->Sync();
    if (!status.ok()) status = MetaFailed(std::move(status));
  }
  if (status.ok()) status = log->TruncateBefore(needed);
  if (!status.ok() && status.code() != StatusCode::kNotReady) {
    QUIVER_LOG(warn, "cannot cut the log before offset {}: {}", needed, status.ToString());
  }
}

void Engine::Impl::RemoveDropped(const SealTask& task) {
  const int64_t collection_id = task.collection->id();
  ForgetGrown(collection_id);
  const std::lock_guard lock(manifest_mutex_);
  const auto remove = [&]() -> Status {
    for (const std::string& prefix : {SegmentPrefix(collection_id), FencePrefix(collection_id)}) {
      for (;;) {
        QUIVER_ASSIGN_OR_RETURN(const auto entries, meta->Scan(prefix, storage::kMaxMetaOperations / 2));
        if (entries.empty()) break;
        storage::MetaTransaction transaction;
        for (const auto& [key, value] : entries) transaction.Delete(key);
        QUIVER_ASSIGN_OR_RETURN([[maybe_unused]] const auto outcome, meta->Commit(transaction));
      }
    }
    for (const char* kind : {"segment", "delta", "index"}) {
      QUIVER_ASSIGN_OR_RETURN(const auto found, objects->List(fmt::format("{}/{}/", kind, collection_id)));
      for (const storage::ObjectInfo& object : found) QUIVER_RETURN_IF_ERROR(objects->Remove(object.name));
    }
    return Status::Ok();
  };
  if (const Status status = remove(); !status.ok()) {
    QUIVER_LOG(warn, "cannot remove all files of dropped collection {}; the next start does: {}", collection_id,
               status.ToString());
  }
  CutLog();
}

}  // namespace quiver::engine
