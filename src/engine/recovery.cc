// Opening a data directory: catalog, sealed segments, then the log on top of them.

#include <algorithm>
#include <charconv>

#include "base/logging.h"
#include "engine/engine_impl.h"
#include "storage/log_repair.h"

namespace quiver::engine {

namespace {

Result<uint64_t> ParseNumber(std::string_view key, std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Error(StatusCode::kCorruption, "metadata key {} holds no number: {}", key, text);
  }
  return value;
}

Result<uint64_t> ReadNumber(storage::MetaStore& meta, std::string_view key) {
  QUIVER_ASSIGN_OR_RETURN(const std::optional<std::string> text, meta.Get(key));
  if (!text) return uint64_t{0};
  return ParseNumber(key, *text);
}

Status WriteNumber(storage::MetaStore& meta, std::string_view key, uint64_t value) {
  storage::MetaTransaction transaction;
  transaction.Put(std::string(key), std::to_string(value));
  const auto outcome = meta.Commit(transaction);
  return outcome.ok() ? meta.Sync() : outcome.status();
}

}  // namespace

Engine::Impl::Impl(io::FileSystem& fs, EngineOptions engine_options)
    : file_system(fs),
      options(std::move(engine_options)),
      budget(std::make_shared<MemoryBudget>(options.memory_limit)),
      filter_cache(std::make_shared<segment::FilterCache>(
          budget, std::min(options.filter_cache_bytes, options.memory_limit / 16))) {}

Engine::Impl::~Impl() {
  {
    const std::lock_guard guard(compaction_mutex_);
    compactor_stop_ = true;
    compaction_ready_.notify_all();
    // The queues first: a build that is cancelled would be begun again.
    index_queue->Stop();
    growing_index_queue.Stop();
    indexer_stop_ = true;
  }
  for (std::thread& compactor : compactors_) compactor.join();
  if (indexer_.joinable()) indexer_.join();
  if (growing_indexer_.joinable()) growing_indexer_.join();
  // The sealer needs the sequencer, the sequencer hands to the committer: they end in that order.
  {
    const std::lock_guard guard(seal_mutex_);
    sealer_stop_ = true;
    seal_ready_.notify_all();
  }
  if (sealer_.joinable()) sealer_.join();
  {
    const std::lock_guard guard(queue_mutex_);
    stopping_ = true;
    queue_ready_.notify_all();
  }
  if (sequencer_.joinable()) sequencer_.join();
  if (committer_.joinable()) committer_.join();
  for (SealTask& task : seal_queue_) {
    if (task.done) task.done(Error(StatusCode::kNotReady, "service not ready: the server is stopping"), 0);
  }
  if (log != nullptr && clock != nullptr && Health().ok() && !options.unsafe_skip_sync) {
    // No timestamp is given any more: the next start need not skip the time up to the mark.
    if (const Status stored = WriteNumber(*meta, kClockKey, clock->Current()); !stored.ok()) {
      QUIVER_LOG(warn, "storing the clock failed: {}", stored.ToString());
    }
    if (const Status closed = log->Close(); !closed.ok()) {
      QUIVER_LOG(error, "closing the log failed: {}", closed.ToString());
    }
  }
}

void Engine::Impl::StartThreads() {
  sequencer_ = std::thread([this] { SequencerLoop(); });
  committer_ = std::thread([this] { CommitterLoop(); });
  sealer_ = std::thread([this] { SealerLoop(); });
  for (size_t i = 0; i < kCompactors; ++i) compactors_.emplace_back([this] { CompactorLoop(); });
  indexer_ = std::thread([this] { IndexerLoop(); });
  growing_indexer_ = std::thread([this] { GrowingIndexerLoop(); });
}

Status Engine::Impl::Open() {
  QUIVER_RETURN_IF_ERROR(file_system.CreateDirectories(options.data_dir));
  QUIVER_ASSIGN_OR_RETURN(lock, file_system.Lock(options.data_dir));
  const std::string meta_directory = io::JoinPath(options.data_dir, "meta");
  if (options.open_meta_store) {
    QUIVER_ASSIGN_OR_RETURN(meta, options.open_meta_store(meta_directory));
  } else {
    QUIVER_ASSIGN_OR_RETURN(meta, storage::OpenLocalMeta(meta_directory));
  }
  QUIVER_ASSIGN_OR_RETURN(const uint64_t format, ReadNumber(*meta, kFormatKey));
  if (format > kDirectoryFormat) {
    return Error(StatusCode::kCorruption, "data directory {} has format {}; this binary knows formats up to {}",
                 options.data_dir, format, kDirectoryFormat);
  }
  storage::LocalLogOptions log_options;
  log_options.on_sync = options.on_log_sync;
  log_options.segment_bytes = options.log_file_bytes;
  log_options.preallocate_bytes = options.log_preallocate_bytes;
  QUIVER_RETURN_IF_ERROR(storage::FinishLogRepair(file_system, options.data_dir));
  QUIVER_ASSIGN_OR_RETURN(log, storage::OpenLocalLog(file_system, io::JoinPath(options.data_dir, "log"), log_options));
  if (log->torn_bytes() > 0) {
    QUIVER_LOG(warn, "the log ended in {} torn bytes of unacknowledged writes; they were cut off", log->torn_bytes());
  }
  QUIVER_ASSIGN_OR_RETURN(objects, storage::OpenLocalObjects(file_system, io::JoinPath(options.data_dir, "objects")));

  Timestamp newest = 0;
  QUIVER_RETURN_IF_ERROR(ReplayDdl(newest));
  if (format < kDirectoryFormat) QUIVER_RETURN_IF_ERROR(WriteNumber(*meta, kFormatKey, kDirectoryFormat));

  QUIVER_ASSIGN_OR_RETURN(const uint64_t mark, ReadNumber(*meta, kClockKey));
  clock = std::make_unique<HybridClock>(std::max(mark, newest),
                                        [this](Timestamp high) { return WriteNumber(*meta, kClockKey, high); });

  QUIVER_RETURN_IF_ERROR(LoadCatalog());
  QUIVER_RETURN_IF_ERROR(LoadRestores());
  if (databases.empty()) {
    QUIVER_ASSIGN_OR_RETURN(const Timestamp created, clock->Allocate());
    const DatabaseInfo info{.id = 1, .name = "default", .created = created, .properties = {}};
    storage::MetaTransaction transaction;
    transaction.Put(DatabaseKey(info.name), DatabaseInfoToJson(info));
    QUIVER_ASSIGN_OR_RETURN([[maybe_unused]] const auto outcome, meta->Commit(transaction));
    QUIVER_RETURN_IF_ERROR(meta->Sync());
    databases[info.name] = info;
    names[info.name];
  }
  ReferencedObjects referenced;
  for (const auto& [id, collection] : collections) QUIVER_RETURN_IF_ERROR(LoadSegments(*collection, referenced));
  QUIVER_RETURN_IF_ERROR(SweepObjects(std::move(referenced)));
  QUIVER_RETURN_IF_ERROR(ReplayData());

  // What was replayed may have been written but never synced; it is shown from now on, so it must not vanish again.
  QUIVER_RETURN_IF_ERROR(log->Sync());
  QUIVER_RETURN_IF_ERROR(meta->Sync());
  finished_offset_.store(log->end_offset());
  QUIVER_ASSIGN_OR_RETURN(const Timestamp now, clock->Allocate());
  last_timestamp_ = now;
  watermark.store(now);
  StartThreads();
  return Status::Ok();
}

Status Engine::Impl::ReplayDdl(Timestamp& newest) {
  QUIVER_ASSIGN_OR_RETURN(const uint64_t applied, ReadNumber(*meta, kAppliedDdlKey));
  return log->Read(log->begin_offset(), [&](uint64_t offset, const storage::LogEntry& entry) -> Status {
    newest = std::max(newest, entry.timestamp);
    if (entry.kind != static_cast<uint8_t>(LogKind::kDdl) || entry.timestamp <= applied) return Status::Ok();
    auto record = DecodeDdlRecord(entry.payload);
    if (!record.ok()) return record.status().WithContext(fmt::format("log offset {}", offset));
    storage::MetaTransaction transaction;
    transaction.operations = std::move(record->operations);
    transaction.Put(std::string(kAppliedDdlKey), std::to_string(entry.timestamp));
    const auto committed = meta->Commit(transaction);
    return committed.ok() ? Status::Ok() : committed.status();
  });
}

Status Engine::Impl::LoadCatalog() {
  QUIVER_ASSIGN_OR_RETURN(const auto stored_databases, meta->Scan(kDatabasePrefix));
  for (const auto& [key, value] : stored_databases) {
    auto info = DatabaseInfoFromJson(value);
    if (!info.ok()) return info.status().WithContext(key);
    const std::string name = info->name;
    names[name];
    databases[name] = *std::move(info);
  }
  QUIVER_ASSIGN_OR_RETURN(const auto stored_collections, meta->Scan(kCollectionPrefix));
  for (const auto& [key, value] : stored_collections) {
    auto info = CollectionInfoFromJson(value);
    if (!info.ok()) return info.status().WithContext(key);
    Publish(std::make_shared<Collection>(std::make_shared<const CollectionInfo>(*std::move(info))));
  }
  return Status::Ok();
}

Result<std::shared_ptr<segment::SealedSegment>> Engine::Impl::OpenSegment(
    const Collection& collection, int64_t segment_id, const SegmentManifest& manifest,
    std::shared_ptr<const storage::SegmentFile>& file) {
  QUIVER_ASSIGN_OR_RETURN(auto mapped, objects->Materialise(manifest.object));
  QUIVER_ASSIGN_OR_RETURN(file, storage::SegmentFile::Open(std::move(mapped)));
  if (file->collection_id() != collection.id() || file->segment_id() != segment_id) {
    Status strange = Error(StatusCode::kCorruption, "{} is segment {} of collection {}", manifest.object,
                           file->segment_id(), file->collection_id());
    file = nullptr;  // whose keys and partitions would be misleading
    return strange;
  }
  auto sealed = reclaimer.Guard(std::make_shared<segment::SealedSegment>(file, manifest.visible_from, budget));
  if (manifest.delta.empty()) return sealed;
  QUIVER_ASSIGN_OR_RETURN(auto delta, objects->Materialise(manifest.delta));
  QUIVER_ASSIGN_OR_RETURN(const storage::DeltaContent content, storage::ReadDeltaFile(file_system, delta->path()));
  if (content.segment_id != segment_id) {
    return Error(StatusCode::kCorruption, "delta {} is of segment {}", manifest.delta, content.segment_id);
  }
  for (const storage::RowDelete& deleted : content.deletes) {
    if (deleted.row >= sealed->row_count()) {
      return Error(StatusCode::kCorruption, "delta {} names row {} of a segment with {} rows", manifest.delta,
                   deleted.row, sealed->row_count());
    }
    sealed->DeleteRow(deleted.row, deleted.timestamp);
  }
  sealed->SetSavedDeletes(content.deletes.size());
  return sealed;
}

Status Engine::Impl::LoadSegments(Collection& collection, ReferencedObjects& referenced) {
  QUIVER_ASSIGN_OR_RETURN(checkpoints_[collection.id()], ReadNumber(*meta, CheckpointKey(collection.id())));
  collection.checkpoint = checkpoints_[collection.id()];
  QUIVER_ASSIGN_OR_RETURN(const uint64_t floor, ReadNumber(*meta, FloorKey(collection.id())));
  collection.RaiseFloor(floor);
  const std::shared_ptr<const CollectionInfo> info = collection.info();
  QUIVER_ASSIGN_OR_RETURN(const auto entries, meta->Scan(SegmentPrefix(collection.id())));
  for (const auto& [key, value] : entries) {
    QUIVER_ASSIGN_OR_RETURN(const uint64_t number,
                            ParseNumber(key, std::string_view(key).substr(SegmentPrefix(collection.id()).size())));
    const auto segment_id = static_cast<int64_t>(number);
    std::shared_ptr<const storage::SegmentFile> file;
    // Damage of one segment must not keep the rest from being served.
    const auto fence = [&](const std::string& reason) {
      auto fenced = std::make_shared<segment::FencedSegment>(collection.id(), segment_id, reason, file);
      QUIVER_LOG(error, "{}", fenced->fence().message());
      collection.AddFenced(std::move(fenced));
    };
    const Result<SegmentManifest> manifest = DecodeManifest(value);
    if (!manifest.ok()) {
      referenced.prefixes.push_back(fmt::format("segment/{}/{}.", collection.id(), segment_id));
      referenced.prefixes.push_back(fmt::format("delta/{}/{}-", collection.id(), segment_id));
      referenced.prefixes.push_back(fmt::format("index/{}/{}-", collection.id(), segment_id));
      fence(manifest.status().message());
      continue;
    }
    referenced.names.push_back(manifest->object);
    if (!manifest->delta.empty()) referenced.names.push_back(manifest->delta);
    // What belongs to a dropped index is swept with the orphans; the indexer takes it out of the manifest.
    std::vector<IndexObject> indexes = manifest->indexes;
    std::erase_if(indexes, [&](const IndexObject& entry) {
      return std::none_of(info->indexes.begin(), info->indexes.end(),
                          [&](const IndexInfo& index) { return index.id == entry.index_id; });
    });
    for (const IndexObject& entry : indexes) {
      referenced.names.push_back(entry.object);
      for (std::string& beside : NamesBeside(entry.object)) referenced.names.push_back(std::move(beside));
    }
    const auto opened = OpenSegment(collection, segment_id, *manifest, file);
    QUIVER_ASSIGN_OR_RETURN(const std::optional<std::string> missed, meta->Get(FenceKey(collection.id(), segment_id)));
    if (!opened.ok() || missed) {
      fence(opened.ok() ? fmt::format("writes could not be applied to it: {}", *missed) : opened.status().message());
      continue;
    }
    const std::shared_ptr<segment::SealedSegment>& sealed = *opened;
    for (const storage::PartitionRun& run : sealed->file().partitions()) {
      if (info->FindPartitionById(run.partition_id) != nullptr || info->HasTombstone(run.partition_id)) continue;
      // Dropped so long ago that its tombstone is forgotten: nobody may read a moment when these rows lived.
      QUIVER_RETURN_IF_ERROR(sealed->DeleteAll(run.partition_id, 1, segment::kNotDeleted).status());
    }
    for (const IndexObject& entry : indexes) {
      if (auto index = OpenIndex(collection.id(), entry, sealed->row_count()); index.ok()) {
        sealed->AttachIndex(*std::move(index));
      } else {
        QUIVER_LOG(error, "an index of segment {} of collection {} cannot be used, it is built anew: {}", segment_id,
                   collection.id(), index.status().message());
      }
    }
    collection.AddSealed(sealed);
  }
  return Status::Ok();
}

Status Engine::Impl::SweepObjects(ReferencedObjects referenced) {
  std::sort(referenced.names.begin(), referenced.names.end());
  const auto kept = [&](const std::string& name) {
    return std::binary_search(referenced.names.begin(), referenced.names.end(), name) ||
           std::any_of(referenced.prefixes.begin(), referenced.prefixes.end(),
                       [&](const std::string& prefix) { return name.starts_with(prefix); });
  };
  for (const char* prefix : {"segment/", "delta/", "index/"}) {
    QUIVER_ASSIGN_OR_RETURN(const auto found, objects->List(prefix));
    for (const storage::ObjectInfo& object : found) {
      if (kept(object.name)) continue;
      QUIVER_RETURN_IF_ERROR(objects->Remove(object.name));
    }
  }
  for (const std::string_view prefix : {"segment/", "fence/"}) {
    QUIVER_ASSIGN_OR_RETURN(const auto entries, meta->Scan(prefix));
    for (const auto& [key, value] : entries) {
      const std::string_view rest = std::string_view(key).substr(prefix.size());
      QUIVER_ASSIGN_OR_RETURN(const uint64_t id, ParseNumber(key, rest.substr(0, rest.find('/'))));
      if (collections.contains(static_cast<int64_t>(id))) continue;
      storage::MetaTransaction transaction;
      transaction.Delete(key);
      QUIVER_ASSIGN_OR_RETURN([[maybe_unused]] const auto outcome, meta->Commit(transaction));
    }
  }
  return Status::Ok();
}

Status Engine::Impl::ReplayData() {
  uint64_t records = 0;
  uint64_t rows = 0;
  // Tombstones kill what was there at their moment: each has its place between the records.
  std::unordered_map<int64_t, size_t> tombstones_applied;
  const auto apply_tombstones = [&](Collection& collection, Timestamp before) {
    const std::shared_ptr<const CollectionInfo> info = collection.info();
    if (info->tombstones.empty()) return;
    size_t& next = tombstones_applied[collection.id()];
    for (; next < info->tombstones.size() && info->tombstones[next].timestamp < before; ++next) {
      collection.Apply(info->tombstones[next]);
    }
  };
  QUIVER_RETURN_IF_ERROR(log->Read(log->begin_offset(), [&](uint64_t offset, const storage::LogEntry& entry) -> Status {
    const auto found = collections.find(static_cast<int64_t>(entry.stream));
    if (entry.kind == static_cast<uint8_t>(LogKind::kDdl) || found == collections.end()) return Status::Ok();
    const std::shared_ptr<Collection>& collection = found->second;
    apply_tombstones(*collection, entry.timestamp);
    if (entry.timestamp <= checkpoints_[collection->id()]) return Status::Ok();
    Operation operation;
    operation.collection = collection;
    operation.timestamp = entry.timestamp;
    collection->oldest_log_offset.store(std::min(collection->oldest_log_offset.load(), offset));
    collection->newest_log_offset = offset;
    ++records;
    const auto damaged = [&](const Status& status) { return status.WithContext(fmt::format("log offset {}", offset)); };
    if (entry.kind == static_cast<uint8_t>(LogKind::kWrite)) {
      auto record = DecodeWriteRecord(entry.payload);
      if (!record.ok()) return damaged(record.status());
      operation.write = *std::move(record);
      QUIVER_RETURN_IF_ERROR(ReplayWrite(operation));
      rows += operation.rows.size();
    } else if (entry.kind == static_cast<uint8_t>(LogKind::kDelete)) {
      auto record = DecodeDeleteRecord(entry.payload);
      if (!record.ok()) return damaged(record.status());
      operation.deletion = *std::move(record);
      ApplyDelete(operation);
    } else {
      return damaged(Error(StatusCode::kCorruption, "record kind not known to this binary: {}", entry.kind));
    }
    return Status::Ok();
  }));
  for (const auto& [id, collection] : collections) {
    apply_tombstones(*collection, segment::kNotDeleted);
    RequestMaintenance(*collection);
    RequestIndexing(*collection);
  }
  checkpoints_.clear();
  if (records > 0) QUIVER_LOG(info, "replayed {} log records with {} rows", records, rows);
  return Status::Ok();
}

}  // namespace quiver::engine
