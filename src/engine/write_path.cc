// The write path: queue -> sequencer (timestamp, log append, apply) -> committer (fdatasync, watermark, answers).

#include <absl/container/flat_hash_set.h>
#include <xxhash.h>

#include <algorithm>
#include <future>

#include "base/logging.h"
#include "engine/engine_impl.h"
#include "segment/row_expiry.h"

namespace quiver::engine {

namespace {

/// Writes that may wait for the sequencer before new ones are refused.
constexpr uint64_t kMaxQueuedBytes = 512ULL << 20;
/// Remembered request ids, over all collections.
constexpr size_t kMaxRememberedRequests = 8192;

uint64_t HashBatch(const ColumnBatch& batch) {
  uint64_t hash = batch.rows;
  for (const Column& column : batch.columns) {
    hash = XXH3_64bits_withSeed(column.valid.data(), column.valid.size(), hash);
    hash = XXH3_64bits_withSeed(column.fixed.data(), column.fixed.size(), hash);
    hash = XXH3_64bits_withSeed(column.offsets.data(), column.offsets.size() * sizeof(uint64_t), hash);
    hash = XXH3_64bits_withSeed(column.blob.data(), column.blob.size(), hash);
  }
  return hash;
}

/// Rows of the last occurrence of each key, in row order.
std::vector<uint32_t> LastRows(const Column& keys) {
  std::vector<uint32_t> rows;
  rows.reserve(keys.rows);
  const auto collect = [&](auto& seen, auto key_at) {
    seen.reserve(keys.rows);
    for (uint32_t row = static_cast<uint32_t>(keys.rows); row-- > 0;) {
      if (seen.insert(key_at(row)).second) rows.push_back(row);
    }
    std::reverse(rows.begin(), rows.end());
  };
  if (keys.is_fixed()) {
    absl::flat_hash_set<int64_t> seen;
    collect(seen, [&](uint32_t row) { return keys.Get<int64_t>(row); });
  } else {
    absl::flat_hash_set<std::string_view> seen;
    collect(seen, [&](uint32_t row) { return keys.Bytes(row); });
  }
  return rows;
}

/// The partition of each row by the value of the partition key.
std::vector<int64_t> PartitionsByKey(const CollectionInfo& info, const Column& keys) {
  std::vector<int64_t> ids(keys.rows);
  for (size_t row = 0; row < keys.rows; ++row) ids[row] = info.PartitionOfKey(keys.Bytes(row));
  return ids;
}

std::vector<uint32_t> AllRows(size_t count) {
  std::vector<uint32_t> rows(count);
  for (uint32_t row = 0; row < count; ++row) rows[row] = row;
  return rows;
}

}  // namespace

void Engine::Impl::Insert(WriteRequest request, WriteCallback callback, bool upsert) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kWrite;
  operation->collection = request.collection;
  operation->schema_timestamp = request.schema_timestamp;
  operation->based_on = request.based_on;
  operation->done = [callback = std::move(callback)](Operation& done) {
    if (!done.status.ok()) {
      callback(done.status);
    } else {
      callback(std::move(done.result));
    }
  };
  const auto fail = [&](Status status) {
    operation->status = std::move(status);
    operation->done(*operation);
  };

  const std::shared_ptr<const CollectionInfo> info = request.collection->info();
  const CollectionSchema& schema = *info->schema;
  const FieldSchema& pk = schema.primary();
  WriteRecord& record = operation->write;
  record.batch = std::move(request.batch);
  const size_t row_count = record.batch.rows;
  if (row_count > segment::kMaxGrowingRows) {
    return fail(
        Error(StatusCode::kTooLarge, "too many rows in one request: {} > {}", row_count, segment::kMaxGrowingRows));
  }

  if (!request.request_id.empty() && pk.auto_id) {
    record.request_id = std::move(request.request_id);
    record.content_hash = HashBatch(record.batch);
  }
  Column* given_keys = record.batch.Find(pk.field_id);
  if (upsert && given_keys != nullptr && LastRows(*given_keys).size() != row_count) {
    return fail(InvalidParameter("duplicate primary keys are not allowed in the same batch"));
  }
  if (pk.auto_id && (upsert || given_keys == nullptr)) {
    if (upsert && given_keys != nullptr) {
      record.replaced_keys = std::move(*given_keys);
      std::erase_if(record.batch.columns, [&](const Column& column) { return column.field_id == pk.field_id; });
    }
    const Result<Timestamp> first = clock->Allocate(static_cast<uint32_t>(std::max<size_t>(row_count, 1)));
    if (!first.ok()) return fail(first.status());
    Column keys = Column::Make(pk.field_id, pk.type);
    for (size_t row = 0; row < row_count; ++row) {
      const int64_t id = static_cast<int64_t>(*first + row);
      if (pk.type == DataType::kInt64) {
        keys.AppendValue(id);
      } else {
        keys.Append(std::to_string(id));
      }
    }
    record.batch.columns.insert(record.batch.columns.begin(), std::move(keys));
    operation->fresh_keys = true;
    operation->rows = AllRows(row_count);
  } else if (given_keys == nullptr) {
    return fail(InvalidParameter("primary key column is missing, field: {}", pk.name));
  } else {
    operation->rows = LastRows(*given_keys);
    operation->unique_keys = !upsert && info->unique_insert();
    if (operation->unique_keys && operation->rows.size() != row_count) {
      return fail(InvalidParameter("duplicate primary keys are not allowed in the same batch"));
    }
  }

  if (const FieldSchema* key = schema.partition_key(); key != nullptr) {
    const Column* values = record.batch.Find(key->field_id);
    if (values == nullptr) return fail(InvalidParameter("partition key column is missing, field: {}", key->name));
    record.partition_ids = PartitionsByKey(*info, *values);
  } else {
    const std::string_view name =
        request.partition_name.empty() ? kDefaultPartitionName : std::string_view(request.partition_name);
    const PartitionInfo* partition = info->FindPartition(name);
    if (partition == nullptr) {
      return fail(Error(StatusCode::kPartitionNotFound, "partition not found[partition={}]", name));
    }
    record.partition_ids = {partition->id};
  }
  // The batch, its log record, and its rows in the growing segment.
  const uint64_t batch_bytes = record.batch.ByteSize();
  if (Status admitted = budget->Admit(3 * batch_bytes); !admitted.ok()) return fail(std::move(admitted));
  operation->memory = MemoryCharge(budget, MemoryConsumer::kQueuedWrites, 2 * batch_bytes);
  operation->payload = EncodeRecord(record);
  operation->result.primary_keys = *record.batch.Find(pk.field_id);
  operation->result.insert_count = static_cast<int64_t>(row_count);
  Enqueue(std::move(operation));
}

void Engine::Impl::Delete(DeleteRequest request, WriteCallback callback) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kDelete;
  operation->collection = request.collection;
  operation->done = [callback = std::move(callback)](Operation& done) {
    if (!done.status.ok()) {
      callback(done.status);
    } else {
      callback(std::move(done.result));
    }
  };
  if (!request.partition_name.empty()) {
    const auto info = request.collection->info();
    const PartitionInfo* partition = info->FindPartition(request.partition_name);
    if (partition == nullptr) {
      operation->status =
          Error(StatusCode::kPartitionNotFound, "partition not found[partition={}]", request.partition_name);
      operation->done(*operation);
      return;
    }
    operation->deletion.partition_id = partition->id;
  }
  operation->deletion.kill_before = request.kill_before.value_or(0);
  operation->deletion.keys = std::move(request.primary_keys);
  operation->payload = EncodeRecord(operation->deletion);
  Enqueue(std::move(operation));
}

void Engine::Impl::Enqueue(std::unique_ptr<Operation> operation) {
  {
    std::unique_lock lock(queue_mutex_);
    const bool full = queue_bytes_ > kMaxQueuedBytes && operation->kind != Operation::Kind::kInternal;
    if (!stopping_ && !full) {
      queue_bytes_ += operation->payload.size();
      queue_.push_back(std::move(operation));
      lock.unlock();
      queue_ready_.notify_one();
      return;
    }
    operation->status =
        stopping_ ? Error(StatusCode::kNotReady, "service not ready: the server is stopping")
                  : Error(StatusCode::kRateLimit, "rate limit exceeded: {} bytes of writes are waiting", queue_bytes_);
  }
  // Answered without the lock: the callback may write again.
  if (operation->done) operation->done(*operation);
}

Status Engine::Impl::RunOnSequencer(std::function<void()> function) {
  std::promise<Status> finished;
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kInternal;
  operation->run = std::move(function);
  operation->done = [&](Operation& done) { finished.set_value(done.status); };
  Enqueue(std::move(operation));
  return finished.get_future().get();
}

Status Engine::Impl::RunDdl(std::function<Result<CatalogChange>(Timestamp)> prepare) {
  std::promise<Status> finished;
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kDdl;
  operation->prepare = std::move(prepare);
  operation->done = [&](Operation& done) { finished.set_value(done.status); };
  Enqueue(std::move(operation));
  return finished.get_future().get();
}

Status Engine::Impl::Health() const {
  const std::lock_guard lock(health_mutex);
  return health;
}

void Engine::Impl::SetUnhealthy(const Status& status) {
  {
    const std::lock_guard lock(health_mutex);
    if (!health.ok()) return;
    health = status;
  }
  QUIVER_LOG(error, "writes are refused until a restart: {}", status.ToString());
  // The watermark will not move any more.
  const std::lock_guard lock(watermark_mutex_);
  watermark_moved_.notify_all();
}

Status Engine::Impl::MetaFailed(Status status) {
  if (status.code() != StatusCode::kDiskFull) SetUnhealthy(status);
  return status;
}

Status Engine::Impl::AppendToLog(std::span<const storage::LogEntry> entries) {
  const Result<uint64_t> end = log->Append(entries);
  if (end.ok()) return Status::Ok();
  // Nothing of a refused group stays in the log, so a full disk is no reason to stop for good.
  if (end.status().code() == StatusCode::kDiskFull) return end.status().WithContext("disk limit exceeded");
  if (end.status().code() == StatusCode::kForceDeny) SetUnhealthy(end.status());
  return end.status();
}

void Engine::Impl::SequencerLoop() {
  std::vector<std::unique_ptr<Operation>> taken;
  for (;;) {
    {
      std::unique_lock lock(queue_mutex_);
      queue_ready_.wait(lock, [&] { return !queue_.empty() || stopping_; });
      if (queue_.empty()) break;
      taken.swap(queue_);
      queue_bytes_ = 0;
    }
    for (size_t i = 0; i < taken.size();) {
      switch (taken[i]->kind) {
        case Operation::Kind::kDdl:
          ProcessDdl(std::move(taken[i]));
          ++i;
          break;
        case Operation::Kind::kInternal:
          taken[i]->run();
          taken[i]->done(*taken[i]);
          ++i;
          break;
        default: {
          size_t end = i;
          while (end < taken.size() &&
                 (taken[end]->kind == Operation::Kind::kWrite || taken[end]->kind == Operation::Kind::kDelete)) {
            // What its keys hold is known once everything before it is applied.
            if (end > i && (taken[end]->unique_keys || taken[end]->based_on != 0)) break;
            ++end;
          }
          ProcessData(std::span(taken).subspan(i, end - i));
          i = end;
        }
      }
    }
    taken.clear();
    CapLog();
    CapMemory();
  }
  const std::lock_guard lock(commit_mutex_);
  sequencer_done_ = true;
  commit_ready_.notify_one();
}

Status Engine::Impl::CheckWrite(Operation& operation) {
  Collection& collection = *operation.collection;
  const std::shared_ptr<const CollectionInfo> info = collection.info();
  if (collection.dropped.load(std::memory_order_relaxed)) {
    return Error(StatusCode::kCollectionNotFound, "collection not found[database={}][collection={}]", info->db_name,
                 info->name());
  }
  if (operation.schema_timestamp != 0 && operation.schema_timestamp != info->updated) {
    return Error(StatusCode::kSchemaMismatch, "collection schema mismatch[collection={}]", info->name());
  }
  if (operation.kind == Operation::Kind::kWrite) {
    for (const int64_t id : operation.write.partition_ids) {
      if (info->FindPartitionById(id) == nullptr) {
        return Error(StatusCode::kPartitionNotFound, "partition not found[partition={}]", id);
      }
      if (operation.write.partition_ids.size() > 64) break;  // by partition key: those partitions cannot be dropped
    }
    if (operation.unique_keys) QUIVER_RETURN_IF_ERROR(CheckUnique(operation));
    if (operation.based_on != 0) QUIVER_RETURN_IF_ERROR(CheckUnchanged(operation));
  }
  return Status::Ok();
}

Status Engine::Impl::CheckUnique(const Operation& operation) const {
  const std::shared_ptr<const CollectionInfo> info = operation.collection->info();
  const Column* keys = operation.write.batch.Find(info->schema->primary().field_id);
  Timestamp floor = 0;
  // Rows that have outlived their time are as good as deleted.
  ReadView view;
  JudgeExpiry(*info, std::max(last_timestamp_, WallClockTimestamp()), view);
  for (const auto& segment : operation.collection->segments(floor)) {
    for (const uint32_t row : operation.rows) {
      const segment::KeyView key = segment::KeyAt(*keys, row);
      QUIVER_ASSIGN_OR_RETURN(const std::optional<uint32_t> found, segment->FindVisible(key, segment::kNotDeleted - 1));
      if (!found) continue;
      QUIVER_ASSIGN_OR_RETURN(const bool ended, segment::HasEnded(*segment, *found, view.visibility()));
      if (ended) continue;
      return InvalidParameter("primary key exists already[collection={}][row={}][key={}]", info->name(), row,
                              keys->is_fixed() ? std::to_string(keys->Get<int64_t>(row)) : keys->Bytes(row));
    }
  }
  return Status::Ok();
}

Status Engine::Impl::CheckUnchanged(const Operation& operation) const {
  const std::shared_ptr<const CollectionInfo> info = operation.collection->info();
  const WriteRecord& record = operation.write;
  const Column& keys =
      record.replaced_keys ? *record.replaced_keys : *record.batch.Find(info->schema->primary().field_id);
  Timestamp floor = 0;
  const auto segments = operation.collection->segments(floor);
  for (uint32_t row = 0; row < keys.rows; ++row) {
    const segment::KeyView key = segment::KeyAt(keys, row);
    // The version that was read, and the one that is there now.
    Timestamp read = 0;
    Timestamp present = 0;
    for (const auto& segment : segments) {
      QUIVER_ASSIGN_OR_RETURN(const std::optional<uint32_t> before, segment->FindVisible(key, operation.based_on));
      if (before) {
        QUIVER_ASSIGN_OR_RETURN(read, segment->inserted_at(*before));
      }
      QUIVER_ASSIGN_OR_RETURN(const std::optional<uint32_t> now, segment->FindVisible(key, segment::kNotDeleted - 1));
      if (now) {
        QUIVER_ASSIGN_OR_RETURN(present, segment->inserted_at(*now));
      }
    }
    // A version that compaction dropped meanwhile was dead, so the two differ then as well.
    if (read != present) return Error(StatusCode::kConflict, "row {} has changed since it was read", row);
  }
  return Status::Ok();
}

void Engine::Impl::ProcessData(std::span<std::unique_ptr<Operation>> group) {
  std::vector<storage::LogEntry> entries;
  entries.reserve(group.size());
  const Status healthy = Health();
  for (auto& operation : group) {
    operation->status = healthy.ok() ? CheckWrite(*operation) : healthy;
    if (!operation->status.ok()) continue;
    if (!operation->write.request_id.empty()) {
      const auto known = requests_.find(operation->write.request_id);
      if (known != requests_.end() && known->second.content_hash == operation->write.content_hash) {
        // The client repeats a request whose answer it has not seen: it gets the first one's answer.
        operation->result = known->second.result;
        operation->kind = Operation::Kind::kInternal;
        continue;
      }
    }
    const Result<Timestamp> timestamp = clock->Allocate();
    if (!timestamp.ok()) {
      operation->status = timestamp.status();
      continue;
    }
    operation->timestamp = *timestamp;
    operation->result.timestamp = *timestamp;
    if (!operation->write.request_id.empty()) RememberRequest(*operation);
    const bool write = operation->kind == Operation::Kind::kWrite;
    entries.push_back({.stream = static_cast<uint64_t>(operation->collection->id()),
                       .timestamp = *timestamp,
                       .kind = static_cast<uint8_t>(write ? LogKind::kWrite : LogKind::kDelete),
                       .payload = operation->payload});
  }
  const uint64_t offset = log->end_offset();
  Status appended;
  if (!entries.empty()) appended = AppendToLog(entries);
  for (auto& operation : group) {
    if (!operation->status.ok() || operation->timestamp == 0) continue;
    if (!appended.ok()) {
      operation->status = appended;
      operation->timestamp = 0;
      requests_.erase(operation->write.request_id);
      continue;
    }
    last_timestamp_ = operation->timestamp;
    Collection& collection = *operation->collection;
    if (collection.oldest_log_offset.load(std::memory_order_relaxed) > offset) {
      collection.oldest_log_offset.store(offset, std::memory_order_relaxed);
    }
    collection.newest_log_offset = offset;
    collection.last_change.store(operation->timestamp, std::memory_order_release);
    if (operation->kind == Operation::Kind::kWrite) {
      ApplyWrite(*operation);
    } else {
      ApplyDelete(*operation);
    }
    operation->payload = {};
  }
  std::vector<std::unique_ptr<Operation>> handed(std::make_move_iterator(group.begin()),
                                                 std::make_move_iterator(group.end()));
  HandToCommitter(std::move(handed));
}

void Engine::Impl::RememberRequest(const Operation& operation) {
  requests_[operation.write.request_id] = {operation.write.content_hash, operation.result};
  request_order_.push_back(operation.write.request_id);
  while (request_order_.size() > kMaxRememberedRequests) {
    requests_.erase(request_order_.front());
    request_order_.pop_front();
  }
}

int64_t Engine::Impl::KillKeys(Collection& collection, const Column& keys, std::span<const uint32_t> rows,
                               Timestamp timestamp, Timestamp kill_before, int64_t partition_id) {
  const auto growing = collection.growing_segments();
  const auto sealed = collection.sealed_segments();
  const auto fenced = collection.fenced_segments();
  if (growing.empty() && sealed.empty() && fenced.empty()) return 0;
  // Segments that the key may live in and cannot be looked up in. They are fenced, so that no read shows an old version
  // beside the new one; the rest of the collection, and this write, are as sound as ever.
  std::vector<const segment::Segment*> unreadable;
  int64_t killed = 0;
  bool sealed_hit = false;
  for (const uint32_t row : rows) {
    const segment::KeyView key = segment::KeyAt(keys, row);
    std::optional<segment::DeleteOutcome> outcome;
    unreadable.clear();
    for (auto it = growing.rbegin(); it != growing.rend() && !outcome; ++it) {
      outcome = (*it)->Delete(key, timestamp, kill_before, partition_id);
    }
    for (auto it = sealed.rbegin(); it != sealed.rend() && !outcome; ++it) {
      auto deleted = (*it)->Delete(key, timestamp, kill_before, partition_id);
      if (!deleted.ok()) {
        unreadable.push_back(it->get());
        continue;
      }
      outcome = *deleted;
      sealed_hit = sealed_hit || outcome.has_value();
    }
    if (outcome) {
      // One version of a key is alive at a time, so none of the unreadable segments has one.
      ++killed;
      collection.AddLiveRows(outcome->partition_id, -1);
      continue;
    }
    for (const auto& segment : fenced) unreadable.push_back(segment.get());
    for (const segment::Segment* segment : unreadable) {
      if (segment->MayHoldKey(key)) collection.NoteMissedWrite(*segment);
    }
  }
  if (sealed_hit) RequestMaintenance(collection);
  return killed;
}

void Engine::Impl::ApplyWrite(Operation& operation) {
  Collection& collection = *operation.collection;
  const WriteRecord& record = operation.write;
  const std::shared_ptr<const CollectionInfo> info = collection.info();
  const Timestamp timestamp = operation.timestamp;
  // A version inserted by this very record has insert_ts == timestamp and is never its own victim.
  const Timestamp kill_before = timestamp - 1;
  if (record.replaced_keys) {
    operation.result.delete_count +=
        KillKeys(collection, *record.replaced_keys, AllRows(record.replaced_keys->rows), timestamp, kill_before, -1);
  }
  const Column* keys = record.batch.Find(info->schema->primary().field_id);
  if (!operation.fresh_keys) {
    operation.result.delete_count += KillKeys(collection, *keys, operation.rows, timestamp, kill_before, -1);
  }

  // A record never spans two segments: sealing the first would cut half of it out of the log.
  auto& active = collection.active;
  if (active != nullptr &&
      (active->schema()->version != info->schema->version || active->byte_size() >= options.seal_bytes ||
       active->row_count() + operation.rows.size() > segment::kMaxGrowingRows)) {
    Freeze(operation.collection, timestamp - 1, collection.newest_log_offset, {});
  }
  if (active == nullptr) {
    const Result<Timestamp> id = clock->Allocate();
    // The clock fails only when its mark cannot be stored; the record's own timestamp is as unique.
    active = reclaimer.Guard(std::make_shared<segment::GrowingSegment>(static_cast<int64_t>(id.ok() ? *id : timestamp),
                                                                       info->schema, budget));
    collection.AddGrowing(active);
    WatchAge(collection);
  }
  std::vector<int64_t> partitions;
  partitions.reserve(operation.rows.size());
  for (const uint32_t row : operation.rows) {
    partitions.push_back(record.partition_ids.size() == 1 ? record.partition_ids[0] : record.partition_ids[row]);
  }
  const uint32_t rows_before = active->row_count();
  active->Append(record.batch, operation.rows, partitions, timestamp);
  RequestGrowingIndexes(collection, rows_before, active->row_count());
  if (static_cast<int64_t>(active->row_count()) >= options.index_min_rows) RequestLinking(collection);
  for (size_t i = 0; i < partitions.size();) {
    size_t end = i;
    while (end < partitions.size() && partitions[end] == partitions[i]) ++end;
    collection.AddLiveRows(partitions[i], static_cast<int64_t>(end - i));
    i = end;
  }
}

Status Engine::Impl::ReplayWrite(Operation& operation) {
  const std::shared_ptr<const CollectionInfo> info = operation.collection->info();
  const WriteRecord& record = operation.write;
  const Column* keys = record.batch.Find(info->schema->primary().field_id);
  if (keys == nullptr) return Error(StatusCode::kCorruption, "log record without primary keys");
  operation.result.primary_keys = *keys;
  operation.result.insert_count = static_cast<int64_t>(keys->rows);
  operation.result.timestamp = operation.timestamp;
  operation.rows = LastRows(*keys);
  // A tombstone kills rows of partitions that were dropped later. Rows of those whose tombstone is forgotten stay away;
  // their keys still replaced older versions.
  const auto gone = [&](uint32_t row) {
    const int64_t id = record.partition_ids.size() == 1 ? record.partition_ids[0] : record.partition_ids[row];
    return info->FindPartitionById(id) == nullptr && !info->HasTombstone(id);
  };
  std::vector<uint32_t> dropped;
  for (const uint32_t row : operation.rows) {
    if (gone(row)) dropped.push_back(row);
  }
  if (!dropped.empty()) {
    KillKeys(*operation.collection, *keys, dropped, operation.timestamp, operation.timestamp - 1, -1);
    std::erase_if(operation.rows, gone);
  }
  ApplyWrite(operation);
  if (!record.request_id.empty()) RememberRequest(operation);
  return Status::Ok();
}

void Engine::Impl::ApplyDelete(Operation& operation) {
  const DeleteRecord& record = operation.deletion;
  const Timestamp kill_before = record.kill_before == 0 ? operation.timestamp - 1 : record.kill_before;
  operation.result.delete_count = KillKeys(*operation.collection, record.keys, AllRows(record.keys.rows),
                                           operation.timestamp, kill_before, record.partition_id);
}

void Engine::Impl::ProcessDdl(std::unique_ptr<Operation> operation) {
  const auto finish = [&](Status status) {
    operation->status = std::move(status);
    operation->timestamp = 0;
    std::vector<std::unique_ptr<Operation>> group;
    group.push_back(std::move(operation));
    // Through the committer also when nothing was written, so that the caller sees all earlier writes.
    HandToCommitter(std::move(group));
  };
  if (Status healthy = Health(); !healthy.ok()) return finish(std::move(healthy));
  const Result<Timestamp> timestamp = clock->Allocate();
  if (!timestamp.ok()) return finish(timestamp.status());
  Result<CatalogChange> change = operation->prepare(*timestamp);
  if (!change.ok()) return finish(change.status());
  if (change->operations.empty()) return finish(Status::Ok());

  const std::string payload = EncodeRecord(DdlRecord{change->operations});
  const storage::LogEntry entry{
      .stream = 0, .timestamp = *timestamp, .kind = static_cast<uint8_t>(LogKind::kDdl), .payload = payload};
  if (Status appended = AppendToLog(std::span(&entry, 1)); !appended.ok()) return finish(std::move(appended));
  last_timestamp_ = *timestamp;
  operation->timestamp = *timestamp;
  if (change->apply) {
    const std::unique_lock lock(catalog_mutex);
    change->apply(*timestamp);
  }
  operation->change = *std::move(change);
  std::vector<std::unique_ptr<Operation>> group;
  group.push_back(std::move(operation));
  HandToCommitter(std::move(group));
}

void Engine::Impl::HandToCommitter(std::vector<std::unique_ptr<Operation>> operations) {
  {
    const std::lock_guard lock(commit_mutex_);
    committing_.push_back({std::move(operations), log->end_offset()});
  }
  commit_ready_.notify_one();
}

void Engine::Impl::CommitterLoop() {
  std::vector<Group> taken;
  const auto kAsyncDelay = std::chrono::seconds(1);
  constexpr auto kMetaRetry = std::chrono::milliseconds(500);
  uint64_t finished = finished_offset_.load(std::memory_order_relaxed);
  constexpr auto kSynced = std::chrono::steady_clock::time_point::max();
  auto unsynced_since = kSynced;
  for (;;) {
    bool last = false;
    {
      std::unique_lock lock(commit_mutex_);
      const auto ready = [&] { return !committing_.empty() || sequencer_done_; };
      if (unsynced_since != kSynced) {
        commit_ready_.wait_until(lock, unsynced_since + kAsyncDelay, ready);
      } else if (!unapplied_.empty()) {
        commit_ready_.wait_for(lock, kMetaRetry, ready);
      } else {
        commit_ready_.wait(lock, ready);
      }
      taken.swap(committing_);
      last = taken.empty() && sequencer_done_;
    }
    bool wrote = false;
    bool ddl = false;
    for (const auto& group : taken) {
      for (const auto& operation : group.operations) {
        wrote = wrote || operation->timestamp != 0;
        ddl = ddl || !operation->change.operations.empty();
      }
    }
    const bool due =
        unsynced_since != kSynced && (last || std::chrono::steady_clock::now() >= unsynced_since + kAsyncDelay);
    const bool sync_now = options.sync ? wrote : (ddl || due);
    if (sync_now && !options.unsafe_skip_sync) {
      if (const Status synced = log->Sync(); !synced.ok()) {
        SetUnhealthy(synced);
        for (auto& group : taken) {
          for (auto& operation : group.operations) {
            if (operation->status.ok()) operation->status = synced;
          }
        }
      }
      unsynced_since = kSynced;
    } else if (wrote && !options.sync && unsynced_since == kSynced) {
      unsynced_since = std::chrono::steady_clock::now();
    }
    for (Group& group : taken) {
      FinishGroup(group.operations);
      if (Health().ok()) finished = group.end_offset;
    }
    if (taken.empty() && !unapplied_.empty()) (void)ApplyToMeta();
    if (unapplied_.empty()) finished_offset_.store(finished, std::memory_order_release);
    taken.clear();
    if (last) return;
  }
}

Status Engine::Impl::ApplyToMeta() {
  while (!unapplied_.empty()) {
    if (const auto committed = meta->Commit(unapplied_.front()); !committed.ok()) {
      return MetaFailed(committed.status());
    }
    unapplied_.pop_front();
  }
  return Status::Ok();
}

void Engine::Impl::FinishGroup(std::vector<std::unique_ptr<Operation>>& group) {
  Timestamp newest = 0;
  for (auto& operation : group) {
    if (!operation->status.ok()) continue;
    newest = std::max(newest, operation->timestamp);
    if (operation->change.operations.empty()) continue;
    storage::MetaTransaction transaction;
    transaction.operations = operation->change.operations;
    transaction.Put(std::string(kAppliedDdlKey), std::to_string(operation->timestamp));
    unapplied_.push_back(std::move(transaction));
    // The log holds the change durably and memory has it too; until the store has it, the log is not cut.
    if (Status applied = ApplyToMeta(); !applied.ok() && applied.code() != StatusCode::kDiskFull) {
      operation->status = std::move(applied);
      continue;
    }
    for (auto& dropped : operation->change.dropped) {
      const std::lock_guard lock(seal_mutex_);
      SealTask task;
      task.collection = std::move(dropped);
      task.cleanup = true;
      seal_queue_.push_back(std::move(task));
      seal_ready_.notify_one();
    }
  }
  if (newest > watermark.load(std::memory_order_relaxed)) {
    watermark.store(newest, std::memory_order_release);
    const std::lock_guard lock(watermark_mutex_);
    if (watermark_waiters_ > 0) watermark_moved_.notify_all();
  }
  for (auto& operation : group) {
    if (operation->done) operation->done(*operation);
  }
}

Status Engine::Impl::Settle(Timestamp timestamp) {
  QUIVER_RETURN_IF_ERROR(WaitForWatermark(timestamp, std::chrono::steady_clock::time_point::max()));
  // Acknowledged does not mean durable here, and a file that outlives the log must not know more than the log.
  return options.sync ? Status::Ok() : log->Sync();
}

Status Engine::Impl::WaitForWatermark(Timestamp timestamp, std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(watermark_mutex_);
  ++watermark_waiters_;
  const bool reached = watermark_moved_.wait_until(
      lock, deadline, [&] { return watermark.load(std::memory_order_acquire) >= timestamp || !Health().ok(); });
  --watermark_waiters_;
  if (watermark.load(std::memory_order_acquire) >= timestamp) return Status::Ok();
  if (reached) return Health();
  return Error(StatusCode::kTimeout, "deadline exceeded while waiting for timestamp {}", timestamp);
}

}  // namespace quiver::engine
