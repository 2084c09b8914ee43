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

#include "base/logging.h"
#include "engine/engine_impl.h"

namespace quiver::engine {

namespace {

constexpr size_t kDeltasPerTransaction = 100;

/// Gathers rows of one field out of a growing segment.
Result<Column> GatherColumn(const segment::GrowingSegment& growing, const FieldSchema& field,
                            std::span<const uint32_t> rows) {
  Column column = Column::Make(field.field_id, field.type, field.dim, field.element_type);
  column.Reserve(rows.size());
  uint32_t page = UINT32_MAX;
  ColumnView view;
  for (const uint32_t row : rows) {
    if (row / segment::kPageRows != page) {
      page = row / segment::kPageRows;
      const uint32_t first = page * segment::kPageRows;
      QUIVER_ASSIGN_OR_RETURN(
          view, growing.View(field.field_id, first, std::min(growing.row_count() - first, segment::kPageRows)));
    }
    const uint32_t at = row % segment::kPageRows;
    if (view.IsNull(at)) {
      column.AppendNull();
    } else {
      column.Append(view.Bytes(at));
    }
  }
  return column;
}

}  // namespace

std::string CollectionKey(int64_t collection_id) { return fmt::format("{}{}", kCollectionPrefix, collection_id); }
std::string DatabaseKey(const std::string& name) { return fmt::format("{}{}", kDatabasePrefix, name); }
std::string SegmentPrefix(int64_t collection_id) { return fmt::format("segment/{}/", collection_id); }
std::string SegmentKey(int64_t collection_id, int64_t segment_id) {
  return fmt::format("segment/{}/{}", collection_id, segment_id);
}
std::string CheckpointKey(int64_t collection_id) { return fmt::format("checkpoint/{}", collection_id); }

std::string EncodeManifest(const SegmentManifest& manifest) {
  // Object names are made by us and need no escaping.
  return fmt::format(R"({{"version":1,"object":"{}","delta":"{}"}})", manifest.object, manifest.delta);
}

Result<SegmentManifest> DecodeManifest(std::string_view text) {
  rapidjson::Document document;
  document.Parse(text.data(), text.size());
  const auto text_member = [&](const char* name) { return document.HasMember(name) && document[name].IsString(); };
  if (document.HasParseError() || !document.IsObject() || !text_member("object") || !text_member("delta")) {
    return Error(StatusCode::kCorruption, "segment manifest is damaged: {}", text);
  }
  return SegmentManifest{document["object"].GetString(), document["delta"].GetString()};
}

void Engine::Impl::Freeze(const std::shared_ptr<Collection>& collection, Timestamp freeze_timestamp,
                          uint64_t log_offset, std::function<void(Status, int64_t)> done) {
  SealTask task;
  task.collection = collection;
  task.growing = std::move(collection->active);
  collection->active = nullptr;
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
  Freeze(oldest, last_timestamp_, log->end_offset(), [this](const Status&, int64_t) {
    // Allows the next request; a failure has been logged and must not be retried in a tight loop.
    auto operation = std::make_unique<Operation>();
    operation->run = [this] { log_cap_requested_ = false; };
    operation->done = [](Operation&) {};
    Enqueue(std::move(operation));
  });
}

Result<FlushResult> Engine::Impl::Flush(const std::shared_ptr<Collection>& collection) {
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
    if (collection->active->byte_size() < options.flush_min_bytes) return;
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

void Engine::Impl::SealerLoop() {
  for (;;) {
    SealTask task;
    {
      std::unique_lock lock(seal_mutex_);
      seal_ready_.wait(lock, [&] { return !seal_queue_.empty() || sealer_stop_; });
      // What is not sealed at shutdown stays in the log and is sealed after the next start.
      if (sealer_stop_) return;
      task = std::move(seal_queue_.front());
      seal_queue_.pop_front();
    }
    if (task.cleanup) {
      RemoveDropped(task);
    } else {
      Seal(task);
    }
  }
}

Result<std::shared_ptr<segment::SealedSegment>> Engine::Impl::WriteSegment(const SealTask& task,
                                                                           std::vector<uint32_t>& kept,
                                                                           std::string& object_name) {
  const segment::GrowingSegment& growing = *task.growing;
  const CollectionSchema& schema = *growing.schema();
  kept.clear();
  for (uint32_t row = 0; row < growing.row_count(); ++row) {
    if (growing.delete_ts(row) > task.freeze_timestamp) kept.push_back(row);
  }
  if (kept.empty()) return std::shared_ptr<segment::SealedSegment>();
  // By partition, in order of arrival within one.
  std::sort(kept.begin(), kept.end(), [&](uint32_t a, uint32_t b) {
    const int64_t first = growing.partition_of(a);
    const int64_t second = growing.partition_of(b);
    return first != second ? first < second : a < b;
  });

  object_name = fmt::format("segment/{}/{}.seg", task.collection->id(), growing.id());
  const std::string staging = objects->StagingPath(object_name);
  QUIVER_ASSIGN_OR_RETURN(auto writer, storage::SegmentFileWriter::Create(file_system, staging,
                                                                          {.rows = kept.size(),
                                                                           .pk_field_id = schema.primary().field_id,
                                                                           .collection_id = task.collection->id(),
                                                                           .segment_id = growing.id(),
                                                                           .schema_version = schema.version}));
  for (const FieldSchema& field : schema.fields) {
    QUIVER_ASSIGN_OR_RETURN(const Column column, GatherColumn(growing, field, kept));
    QUIVER_RETURN_IF_ERROR(writer->AddColumn(column));
  }
  std::vector<Timestamp> stamps;
  std::vector<storage::PartitionRun> runs;
  stamps.reserve(kept.size());
  for (const uint32_t row : kept) {
    const int64_t partition = growing.partition_of(row);
    if (runs.empty() || runs.back().partition_id != partition) {
      runs.push_back({partition, static_cast<uint32_t>(stamps.size()), 0});
    }
    ++runs.back().rows;
    stamps.push_back(growing.insert_ts(row));
  }
  QUIVER_RETURN_IF_ERROR(writer->Finish(stamps, runs));
  writer.reset();
  QUIVER_RETURN_IF_ERROR(objects->Put(object_name, staging));
  QUIVER_ASSIGN_OR_RETURN(auto mapped, objects->Materialise(object_name));
  QUIVER_ASSIGN_OR_RETURN(auto file, storage::SegmentFile::Open(std::move(mapped)));
  return std::make_shared<segment::SealedSegment>(std::move(file));
}

Status Engine::Impl::Checkpoint(const SealTask& task, const segment::SealedSegment* sealed,
                                const std::string& object_name) {
  const int64_t collection_id = task.collection->id();
  storage::MetaTransaction transaction;
  const auto commit = [&]() -> Status {
    transaction.RequireExists(CollectionKey(collection_id));
    QUIVER_ASSIGN_OR_RETURN(const storage::CommitOutcome outcome, meta->Commit(transaction));
    transaction = {};
    if (outcome == storage::CommitOutcome::kConflict) {
      return Error(StatusCode::kCollectionNotFound, "collection was dropped while it was sealed: {}", collection_id);
    }
    return Status::Ok();
  };
  std::vector<std::string> replaced;
  std::vector<std::pair<std::shared_ptr<segment::SealedSegment>, uint64_t>> saved;
  for (const auto& other : task.collection->sealed_segments()) {
    if (!other->HasUnsavedDeletes(task.freeze_timestamp)) continue;
    const std::vector<storage::RowDelete> deletes = other->DeletesUntil(task.freeze_timestamp);
    const std::string key = SegmentKey(collection_id, other->id());
    QUIVER_ASSIGN_OR_RETURN(const std::optional<std::string> stored, meta->Get(key));
    if (!stored) continue;
    QUIVER_ASSIGN_OR_RETURN(SegmentManifest manifest, DecodeManifest(*stored));
    if (!manifest.delta.empty()) replaced.push_back(manifest.delta);
    manifest.delta = fmt::format("delta/{}/{}-{}.del", collection_id, other->id(), task.freeze_timestamp);
    const std::string staging = objects->StagingPath(manifest.delta);
    QUIVER_RETURN_IF_ERROR(storage::WriteDeltaFile(file_system, staging, other->id(), deletes));
    QUIVER_RETURN_IF_ERROR(objects->Put(manifest.delta, staging));
    transaction.Put(key, EncodeManifest(manifest));
    saved.emplace_back(other, deletes.size());
    // Deltas ahead of the checkpoint do no harm: replaying a delete that is known already changes nothing.
    if (transaction.operations.size() >= kDeltasPerTransaction) QUIVER_RETURN_IF_ERROR(commit());
  }
  if (sealed != nullptr) {
    transaction.Put(SegmentKey(collection_id, sealed->id()), EncodeManifest({object_name, ""}));
  }
  transaction.Put(CheckpointKey(collection_id), std::to_string(task.freeze_timestamp));
  QUIVER_RETURN_IF_ERROR(commit());
  QUIVER_RETURN_IF_ERROR(meta->Sync());
  for (const auto& [segment, count] : saved) segment->SetSavedDeletes(count);
  for (const std::string& name : replaced) QUIVER_RETURN_IF_ERROR(objects->Remove(name));
  return Status::Ok();
}

void Engine::Impl::Seal(SealTask& task) {
  std::vector<uint32_t> kept;
  std::string object_name;
  std::shared_ptr<segment::SealedSegment> sealed;
  const auto seal = [&]() -> Status {
    // Rows that died before the freeze are left out, so nobody may still open a view at an older timestamp.
    QUIVER_RETURN_IF_ERROR(WaitForWatermark(task.freeze_timestamp, std::chrono::steady_clock::time_point::max()));
    if (task.growing != nullptr) {
      QUIVER_ASSIGN_OR_RETURN(sealed, WriteSegment(task, kept, object_name));
    }
    QUIVER_RETURN_IF_ERROR(Checkpoint(task, sealed.get(), object_name));
    return RunOnSequencer([&] {
      Collection& collection = *task.collection;
      if (task.growing != nullptr) {
        for (size_t i = 0; sealed != nullptr && i < kept.size(); ++i) {
          const Timestamp deleted = task.growing->delete_ts(kept[i]);
          if (deleted != segment::kNotDeleted) sealed->DeleteRow(static_cast<uint32_t>(i), deleted);
        }
        collection.ReplaceGrowing(task.growing.get(), sealed, task.freeze_timestamp);
      }
      collection.oldest_log_offset.store(
          collection.newest_log_offset >= task.freeze_offset ? task.freeze_offset : UINT64_MAX,
          std::memory_order_relaxed);
    });
  };
  const Status status = seal();
  if (status.ok()) {
    CutLog();
  } else if (!object_name.empty() && task.collection->dropped) {
    // The collection went away meanwhile; its clean-up may have run before the object was there.
    if (const Status removed = objects->Remove(object_name); !removed.ok()) {
      QUIVER_LOG(warn, "cannot remove object {}: {}", object_name, removed.ToString());
    }
  } else if (!task.collection->dropped && !status.retriable()) {
    QUIVER_LOG(error, "sealing of collection {} failed; its rows stay in memory and in the log: {}",
               task.collection->id(), status.ToString());
  }
  if (task.done)
    task.done(status.ok() || task.collection->dropped ? Status::Ok() : status, sealed == nullptr ? 0 : sealed->id());
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
  if (status.ok()) status = meta->Sync();
  if (status.ok()) status = log->TruncateBefore(needed);
  if (!status.ok() && status.code() != StatusCode::kNotReady) {
    QUIVER_LOG(warn, "cannot cut the log before offset {}: {}", needed, status.ToString());
  }
}

void Engine::Impl::RemoveDropped(const SealTask& task) {
  const int64_t collection_id = task.collection->id();
  const auto remove = [&]() -> Status {
    for (;;) {
      QUIVER_ASSIGN_OR_RETURN(const auto entries,
                              meta->Scan(SegmentPrefix(collection_id), storage::kMaxMetaOperations / 2));
      if (entries.empty()) break;
      storage::MetaTransaction transaction;
      for (const auto& [key, value] : entries) transaction.Delete(key);
      QUIVER_ASSIGN_OR_RETURN([[maybe_unused]] const auto outcome, meta->Commit(transaction));
    }
    for (const char* kind : {"segment", "delta"}) {
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
