// Snapshots: a name for a moment, kept in the collection's catalog entry. Its rows stay because sealing and compaction
// keep every version that the moment sees (Retention::pins); nothing is copied until it is restored.

#include <algorithm>

#include "base/logging.h"
#include "engine/engine_impl.h"

namespace quiver::engine {

namespace {

/// Most segments that one restored collection begins with: they are named by one transaction.
constexpr size_t kMaxRestoredSegments = storage::kMaxMetaOperations - 8;
/// Restorings that are remembered; those that ended first are forgotten for new ones, few with one transaction.
constexpr size_t kMaxRestores = 1000;
constexpr size_t kForgottenAtOnce = 16;

Status SnapshotNotFound(const std::string& collection, const std::string& name) {
  return Error(StatusCode::kSnapshotNotFound, "snapshot not found[collection={}][snapshot={}]", collection, name);
}

storage::MetaOperation Remember(const RestoreRecord& record) {
  return {storage::MetaOperation::Kind::kPut, RestoreKey(record.job.id), RestoreRecordToJson(record)};
}

}  // namespace

Result<SnapshotInfo> Engine::CreateSnapshot(const std::string& db, const std::string& collection_name,
                                            const std::string& name, const std::string& description) {
  SnapshotInfo snapshot;
  QUIVER_RETURN_IF_ERROR(impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, collection_name));
    CollectionInfo info = *collection->info();
    if (info.FindSnapshot(name) != nullptr) {
      return InvalidParameter("snapshot already exists[collection={}][snapshot={}]", info.name(), name);
    }
    snapshot = {.id = static_cast<int64_t>(timestamp),
                .name = name,
                .description = description,
                .timestamp = timestamp,
                .schema = info.schema,
                .partitions = info.partitions};
    info.snapshots.push_back(snapshot);
    return impl->Replace(collection, std::move(info));
  }));
  return snapshot;
}

Status Engine::DropSnapshot(const std::string& db, const std::string& collection_name, const std::string& name) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, collection_name));
    CollectionInfo info = *collection->info();
    if (info.FindSnapshot(name) == nullptr) return CatalogChange{};
    std::erase_if(info.snapshots, [&](const SnapshotInfo& snapshot) { return snapshot.name == name; });
    CatalogChange change = impl->Replace(collection, std::move(info));
    change.apply = [impl, collection, publish = std::move(change.apply)](Timestamp timestamp) {
      publish(timestamp);
      impl->RequestMaintenance(*collection);  // rows that only the snapshot held can go
    };
    return change;
  });
}

Result<int64_t> Engine::RestoreSnapshot(const std::string& db, const std::string& collection, const std::string& name,
                                        const std::string& target_db, const std::string& target_collection) {
  return impl_->StartRestore(db, collection, name, target_db, target_collection);
}

std::optional<RestoreJob> Engine::FindRestore(int64_t job_id) const {
  const std::lock_guard lock(impl_->restore_mutex);
  const auto found = impl_->restores.find(job_id);
  return found == impl_->restores.end() ? std::nullopt : std::optional(found->second.job);
}

std::vector<RestoreJob> Engine::ListRestores() const {
  const std::lock_guard lock(impl_->restore_mutex);
  std::vector<RestoreJob> all;
  for (const auto& [id, record] : impl_->restores) all.push_back(record.job);
  return all;
}

Result<int64_t> Engine::Impl::StartRestore(const std::string& db, const std::string& collection_name,
                                           const std::string& name, const std::string& target_db,
                                           const std::string& target_collection) {
  int64_t job_id = 0;
  QUIVER_RETURN_IF_ERROR(RunDdl([&](Timestamp timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto source, FindLocked(db, collection_name));
    const auto info = source->info();
    RestoreRecord record;
    RestoreJob& job = record.job;
    job.snapshot = name;
    job.db_name = target_db.empty() ? db : target_db;
    job.collection = target_collection.empty() ? info->name() : target_collection;
    const auto target = names.find(job.db_name);
    if (target == names.end()) {
      return Error(StatusCode::kDatabaseNotFound, "database not found[database={}]", job.db_name);
    }
    const auto existing = target->second.collections.find(job.collection);
    const bool taken = existing != target->second.collections.end() && existing->second != info->id;
    if (taken || target->second.aliases.contains(job.collection)) {
      return InvalidParameter("restore target exists already[database={}][collection={}]", job.db_name, job.collection);
    }
    const SnapshotInfo* snapshot = info->FindSnapshot(name);
    if (snapshot == nullptr) return SnapshotNotFound(info->name(), name);
    record.source_id = info->id;
    record.snapshot_id = snapshot->id;
    record.in_place = existing != target->second.collections.end();
    job.started = timestamp;
    job.id = job_id = static_cast<int64_t>(timestamp);
    CatalogChange change;
    change.operations.push_back(Remember(record));
    std::vector<int64_t> forgotten;
    {
      const std::lock_guard lock(restore_mutex);
      for (const auto& [id, old] : restores) {
        if (restores.size() - forgotten.size() < kMaxRestores) break;
        if (HasEnded(old.job)) forgotten.push_back(id);
        if (forgotten.size() == kForgottenAtOnce) break;
      }
      if (restores.size() - forgotten.size() >= kMaxRestores) {
        return Error(StatusCode::kRateLimit, "request is rejected: {} snapshots are being restored already",
                     restores.size());
      }
    }
    for (const int64_t id : forgotten) {
      change.operations.push_back({storage::MetaOperation::Kind::kDelete, RestoreKey(id), ""});
    }
    change.apply = [this, record, forgotten](Timestamp) {
      {
        const std::lock_guard lock(restore_mutex);
        for (const int64_t id : forgotten) restores.erase(id);
        restores[record.job.id] = record;
      }
      RunOnCompactor([this, id = record.job.id](CompactorRole&) { RunRestore(id); });
    };
    return change;
  }));
  return job_id;
}

Status Engine::Impl::LoadRestores() {
  QUIVER_ASSIGN_OR_RETURN(const auto entries, meta->Scan(kRestorePrefix));
  for (const auto& [key, value] : entries) {
    auto record = RestoreRecordFromJson(value);
    if (!record.ok()) return record.status().WithContext(key);
    const int64_t id = record->job.id;
    // Of one that was interrupted nothing is visible, and its files were swept: it is done from the beginning.
    if (!HasEnded(record->job)) RunOnCompactor([this, id](CompactorRole&) { RunRestore(id); });
    restores[id] = *std::move(record);
  }
  return Status::Ok();
}

void Engine::Impl::UpdateRestore(int64_t job_id, const std::function<void(RestoreJob&)>& change) {
  const std::lock_guard lock(restore_mutex);
  if (const auto found = restores.find(job_id); found != restores.end()) change(found->second.job);
}

void Engine::Impl::RunRestore(int64_t job_id) {
  RestoreRecord record;
  {
    const std::lock_guard lock(restore_mutex);
    const auto found = restores.find(job_id);
    if (found == restores.end()) return;
    found->second.job.state = RestoreState::kExecuting;
    record = found->second;
  }
  const auto start = std::chrono::steady_clock::now();
  const auto spent = [&] {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
  };
  const auto restore = [&]() -> Status {
    const std::shared_ptr<Collection> source = FindById(record.source_id);
    if (source == nullptr) {
      return Error(StatusCode::kCollectionNotFound, "collection not found[collection={}]", record.source_id);
    }
    const auto info = source->info();
    const SnapshotInfo* snapshot = info->FindSnapshot(record.job.snapshot);
    if (snapshot == nullptr || snapshot->id != record.snapshot_id) {
      return SnapshotNotFound(info->name(), record.job.snapshot);
    }
    return Restore(source, *snapshot, record, spent);
  };
  const Status status = restore();
  if (status.ok()) {
    UpdateRestore(job_id, [&](RestoreJob& job) {
      job.state = RestoreState::kCompleted;
      job.progress = 100;
      job.milliseconds = spent();
    });
    return;
  }
  // The next start does it from the beginning.
  if (compactor_stop_) return;
  QUIVER_LOG(warn, "restoring snapshot {} failed: {}", record.job.snapshot, status.ToString());
  RestoreJob& failed = record.job;
  failed.state = RestoreState::kFailed;
  failed.reason = status.message();
  failed.milliseconds = spent();
  const Status remembered = RunDdl([&](Timestamp) -> Result<CatalogChange> {
    CatalogChange change;
    change.operations.push_back(Remember(record));
    change.apply = [](Timestamp) {};
    return change;
  });
  if (!remembered.ok()) {
    QUIVER_LOG(warn, "that restoring {} failed cannot be written, the next start tries it again: {}", job_id,
               remembered.ToString());
  }
  UpdateRestore(job_id, [&](RestoreJob& job) { job = failed; });
}

Status Engine::Impl::CopySnapshot(const Collection& source, const SnapshotInfo& snapshot,
                                  const CollectionSchema& schema, int64_t target_id, int64_t job_id,
                                  std::vector<RestoredSegment>& segments) {
  ReadView view;
  view.info = source.info();
  QUIVER_RETURN_IF_ERROR(Settle(snapshot.timestamp));
  QUIVER_RETURN_IF_ERROR(FillView(source, snapshot.timestamp, view));
  const auto keep = [&](const RowFacts& row) {
    return row.inserted <= view.timestamp && row.ended > view.timestamp && row.inserted > view.expired;
  };
  for (size_t begin = 0; begin < view.segments.size();) {
    uint64_t bytes = 0;
    size_t end = begin;
    while (end < view.segments.size() &&
           (end == begin || bytes + view.segments[end]->byte_size() <= options.max_segment_bytes)) {
      bytes += view.segments[end++]->byte_size();
    }
    const auto first = view.segments.begin();
    QUIVER_ASSIGN_OR_RETURN(const SegmentCopy copy,
                            PlanCopy({first + static_cast<ptrdiff_t>(begin), first + static_cast<ptrdiff_t>(end)},
                                     schema, view.expiry, keep));
    begin = end;
    if (!copy.rows.empty()) {
      if (segments.size() == kMaxRestoredSegments) {
        return Error(StatusCode::kTooLarge, "a snapshot of more than {} segments cannot be restored; compact first",
                     kMaxRestoredSegments);
      }
      QUIVER_ASSIGN_OR_RETURN(const Timestamp id, clock->Allocate());
      const CopyTarget target{target_id, static_cast<int64_t>(id), fmt::format("segment/{}/{}.seg", target_id, id)};
      QUIVER_ASSIGN_OR_RETURN(auto file,
                              WriteCopy(file_system, *objects, copy, schema, target,
                                        Pacer(options.compaction_bytes_per_second, *budget, compactor_stop_)));
      segments.push_back({std::move(file), target.object_name});
    }
    UpdateRestore(job_id,
                  [&](RestoreJob& job) { job.progress = static_cast<int32_t>(99 * begin / view.segments.size()); });
  }
  return Status::Ok();
}

Status Engine::Impl::Restore(const std::shared_ptr<Collection>& source, const SnapshotInfo& snapshot,
                             const RestoreRecord& record, const std::function<int64_t()>& spent) {
  const auto source_info = source->info();
  const RestoreJob& job = record.job;
  const bool in_place = record.in_place;
  QUIVER_ASSIGN_OR_RETURN(const Timestamp fresh_id, clock->Allocate());
  const int64_t target_id = in_place ? source->id() : static_cast<int64_t>(fresh_id);
  std::vector<RestoredSegment> segments;
  const auto finish = [&](CatalogChange& change, Timestamp visible_from) {
    for (const RestoredSegment& segment : segments) {
      change.operations.push_back({storage::MetaOperation::Kind::kPut,
                                   SegmentKey(target_id, segment.file->segment_id()),
                                   EncodeManifest({segment.object_name, "", visible_from})});
    }
    // The job ends with the change that shows its rows: it is never done twice, nor forgotten half way.
    RestoreRecord done = record;
    done.job.state = RestoreState::kCompleted;
    done.job.milliseconds = spent();
    change.operations.push_back(Remember(done));
  };

  const auto restore_in_place = [&](Timestamp timestamp) -> Result<CatalogChange> {
    if (source->dropped) {
      return Error(StatusCode::kCollectionNotFound, "collection not found[collection={}]", source_info->name());
    }
    CollectionInfo info = *source->info();
    for (const PartitionInfo& partition : snapshot.partitions) {
      if (info.FindPartitionById(partition.id) != nullptr) continue;
      if (info.FindPartition(partition.name) != nullptr) {
        return InvalidParameter(
            "partition {} was dropped and made again since snapshot {}: restore into a new "
            "collection",
            partition.name, snapshot.name);
      }
      info.partitions.push_back(partition);
    }
    CatalogChange change = Bury(source, std::move(info), {-1, "", timestamp});
    change.apply = [&, publish = std::move(change.apply)](Timestamp at) {
      publish(at);
      for (const RestoredSegment& segment : segments) {
        source->AddSealed(reclaimer.Guard(std::make_shared<segment::SealedSegment>(segment.file, at, budget)));
      }
      RequestIndexing(*source);
    };
    finish(change, timestamp);
    return change;
  };
  const auto restore_new = [&](Timestamp timestamp) -> Result<CatalogChange> {
    const auto database = names.find(job.db_name);
    if (database == names.end()) {
      return Error(StatusCode::kDatabaseNotFound, "database not found[database={}]", job.db_name);
    }
    if (database->second.collections.contains(job.collection) || database->second.aliases.contains(job.collection)) {
      return InvalidParameter("restore target exists already[database={}][collection={}]", job.db_name, job.collection);
    }
    if (static_cast<int64_t>(collections.size()) >= options.max_collections) {
      return Error(StatusCode::kCollectionLimit, "exceeded the limit number of collections[limit={}]",
                   options.max_collections);
    }
    CollectionInfo info = *source_info;
    info.id = target_id;
    info.db_name = job.db_name;
    CollectionSchema schema = *snapshot.schema;
    schema.name = job.collection;
    info.schema = std::make_shared<const CollectionSchema>(std::move(schema));
    info.created = info.updated = timestamp;
    info.partitions = snapshot.partitions;
    std::erase_if(info.indexes,
                  [&](const IndexInfo& index) { return info.schema->FindById(index.field_id) == nullptr; });
    info.aliases.clear();
    info.load = {};
    info.tombstones.clear();
    info.snapshots.clear();
    const auto collection = std::make_shared<Collection>(std::make_shared<const CollectionInfo>(std::move(info)));
    for (const RestoredSegment& segment : segments) {
      collection->AddSealed(reclaimer.Guard(std::make_shared<segment::SealedSegment>(segment.file, timestamp, budget)));
    }
    CatalogChange change;
    change.operations.push_back(
        {storage::MetaOperation::Kind::kPut, CollectionKey(target_id), CollectionInfoToJson(*collection->info())});
    change.apply = [this, collection](Timestamp) {
      Publish(collection);
      RequestIndexing(*collection);
    };
    finish(change, timestamp);
    return change;
  };

  const CollectionSchema& schema = in_place ? *source_info->schema : *snapshot.schema;
  Status status = CopySnapshot(*source, snapshot, schema, target_id, job.id, segments);
  if (status.ok()) {
    status = in_place ? RunDdl(restore_in_place) : RunDdl(restore_new);
  }
  // Health decides whether the record is in the log: then the objects belong to it.
  if (!status.ok() && Health().ok()) {
    for (const RestoredSegment& segment : segments) RemoveObject(segment.object_name);
  }
  return status;
}

}  // namespace quiver::engine
