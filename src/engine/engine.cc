#include "engine/engine.h"

#include <algorithm>
#include <charconv>

#include "engine/engine_impl.h"

namespace quiver::engine {

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::Open(io::FileSystem& file_system, EngineOptions options) {
  auto impl = std::make_unique<Impl>(file_system, std::move(options));
  QUIVER_RETURN_IF_ERROR(impl->Open());
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

void Engine::Insert(WriteRequest request, WriteCallback callback) {
  impl_->Insert(std::move(request), std::move(callback), false);
}

void Engine::Upsert(WriteRequest request, WriteCallback callback) {
  impl_->Insert(std::move(request), std::move(callback), true);
}

void Engine::Delete(DeleteRequest request, WriteCallback callback) {
  impl_->Delete(std::move(request), std::move(callback));
}

Result<FlushResult> Engine::Flush(const std::shared_ptr<Collection>& collection) {
  return impl_->Flush(collection, impl_->options.flush_min_bytes);
}

Result<int64_t> Engine::Compact(const std::shared_ptr<Collection>& collection) {
  return impl_->StartCompaction(collection);
}

CompactionProgress Engine::CompactionState(int64_t compaction_id) const { return impl_->ProgressOf(compaction_id); }

namespace {

/// The partition that has or, at the moment `travel` (0 = now), had this name.
std::optional<int64_t> PartitionAt(const CollectionInfo& info, const std::string& name, Timestamp travel) {
  if (travel != 0) {
    for (const Tombstone& tombstone : info.tombstones) {
      if (tombstone.partition_id != -1 && tombstone.partition_name == name && travel < tombstone.timestamp) {
        return tombstone.partition_id;
      }
    }
  }
  const PartitionInfo* partition = info.FindPartition(name);
  return partition == nullptr ? std::nullopt : std::optional(partition->id);
}

}  // namespace

Timestamp WallClockTimestamp() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return MakeTimestamp(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

void JudgeExpiry(const CollectionInfo& info, Timestamp now, ReadView& view) {
  if (const int64_t seconds = info.ttl_seconds(); seconds > 0) {
    const Timestamp ttl = MakeTimestamp(seconds * 1000);
    view.expired = now > ttl ? now - ttl : 0;
  }
  view.expiry = info.row_expiry();
  view.expiry.moment = TimestampMs(now) * 1000;
}

Status Engine::Impl::FillView(const Collection& collection, Timestamp travel, ReadView& view) const {
  // The timestamp is taken before the list, so that the list has every row up to it. A segment sealed in between may
  // lack rows that were alive at that older timestamp: then the newer one is taken.
  Timestamp floor = 0;
  do {
    view.timestamp = watermark.load(std::memory_order_acquire);
    view.segments = collection.segments(floor);
  } while (view.timestamp < floor);
  view.serve_damaged = options.serve_damaged;
  view.filter_cache = filter_cache;
  // TTL is judged at the moment of the read; the watermark may be older while nothing is written.
  Timestamp now = std::max(view.timestamp, WallClockTimestamp());
  if (travel != 0 && travel < view.timestamp) {
    const Retention retention = RetentionOf(*view.info, view.timestamp);
    const Timestamp oldest = std::max(floor, retention.horizon);
    if (travel < oldest && !std::binary_search(retention.pins.begin(), retention.pins.end(), travel)) {
      return InvalidParameter(
          "travel timestamp {} is older than the oldest one that can be read, {} (property {} of collection {} keeps "
          "{} "
          "seconds)",
          travel, oldest, kRetentionProperty, view.info->name(),
          view.info->retention_seconds(options.retention_seconds));
    }
    view.timestamp = now = travel;
  } else if (travel != 0) {
    now = std::min(now, travel);  // nothing was written since, but rows may have outlived their time
  }
  JudgeExpiry(*view.info, now, view);
  // All writes up to the timestamp were applied before it could be read; later ones may have been since.
  const Timestamp changed = collection.last_change.load(std::memory_order_acquire);
  const bool lasting = view.info->ttl_seconds() <= 0 && view.expiry.field_id == 0;
  view.data_version = lasting && changed <= view.timestamp ? std::max<Timestamp>(changed, 1) : 0;
  return Status::Ok();
}

Result<ReadView> Engine::OpenView(const Collection& collection, const std::vector<std::string>& partitions,
                                  Timestamp guarantee, std::chrono::steady_clock::time_point deadline,
                                  Timestamp travel) const {
  // A client may name a moment that its own clock has reached and ours has not: wait for our clock, then for the
  // watermark only as far as writes were given timestamps below it.
  if (guarantee > impl_->clock->Current()) {
    const int64_t ahead_ms = TimestampMs(guarantee) - std::chrono::duration_cast<std::chrono::milliseconds>(
                                                          std::chrono::system_clock::now().time_since_epoch())
                                                          .count();
    if (ahead_ms > 0) {
      const auto reached = std::chrono::steady_clock::now() + std::chrono::milliseconds(ahead_ms);
      if (reached > deadline) {
        return Error(StatusCode::kTimeout, "deadline exceeded while waiting for guarantee timestamp {}", guarantee);
      }
      std::this_thread::sleep_until(reached);
    }
  }
  ReadView view;
  view.info = collection.info();
  const CollectionInfo& info = *view.info;
  for (const std::string& name : partitions) {
    const std::optional<int64_t> id = PartitionAt(info, name, travel);
    if (!id) return Error(StatusCode::kPartitionNotFound, "partition not found[partition={}]", name);
    if (std::find(view.partition_ids.begin(), view.partition_ids.end(), *id) == view.partition_ids.end()) {
      view.partition_ids.push_back(*id);
    }
  }
  if (!impl_->options.auto_load) {
    if (!info.load.any()) {
      return Error(StatusCode::kCollectionNotLoaded, "collection not loaded[collection={}]", info.name());
    }
    for (const int64_t id : view.partition_ids) {
      const PartitionInfo* partition = info.FindPartitionById(id);
      if (partition != nullptr && !info.load.Covers(id)) {
        return Error(StatusCode::kPartitionNotLoaded, "partition not loaded[partition={}]", partition->name);
      }
    }
    if (view.partition_ids.empty() && !info.load.loaded) view.partition_ids = info.load.partition_ids;
  }
  QUIVER_RETURN_IF_ERROR(impl_->FillView(collection, travel, view));
  return view;
}

ReadView Engine::ViewAll(const Collection& collection) const {
  ReadView view;
  view.info = collection.info();
  (void)impl_->FillView(collection, 0, view);  // the newest state can always be read
  return view;
}

const std::shared_ptr<MemoryBudget>& Engine::memory_budget() const { return impl_->budget; }

Result<int64_t> Engine::RowCount(const Collection& collection, const std::string& partition) const {
  if (partition.empty()) return collection.live_rows(-1);
  const auto info = collection.info();
  const PartitionInfo* found = info->FindPartition(partition);
  if (found == nullptr) return Error(StatusCode::kPartitionNotFound, "partition not found[partition={}]", partition);
  return collection.live_rows(found->id);
}

std::vector<SegmentInfo> Engine::ListSegments(const Collection& collection) const {
  std::vector<SegmentInfo> all;
  for (const auto& sealed : collection.sealed_segments()) {
    const auto runs = sealed->file().partitions();
    all.push_back({.id = sealed->id(),
                   .collection_id = collection.id(),
                   .partition_id = runs.size() == 1 ? runs.front().partition_id : -1,
                   .rows = static_cast<int64_t>(sealed->row_count()) - sealed->deleted_count(),
                   .bytes = sealed->byte_size(),
                   .sealed = true,
                   .index_ids = {}});
    for (const auto& index : sealed->Indexes()) {
      if (!index->damaged()) all.back().index_ids.push_back(index->index_id());
    }
  }
  for (const auto& growing : collection.growing_segments()) {
    all.push_back({.id = growing->id(),
                   .collection_id = collection.id(),
                   .partition_id = -1,
                   .rows = static_cast<int64_t>(growing->row_count()) - growing->deleted_count(),
                   .bytes = growing->byte_size(),
                   .sealed = false,
                   .index_ids = {}});
  }
  return all;
}

Timestamp Engine::AllocateTimestamp() {
  const Result<Timestamp> timestamp = impl_->clock->Allocate();
  // The clock fails only when its mark cannot be stored: the newest timestamp given is still a truthful answer.
  return timestamp.ok() ? *timestamp : impl_->clock->Current();
}

EngineStatistics Engine::statistics() const {
  EngineStatistics statistics;
  {
    const std::shared_lock lock(impl_->catalog_mutex);
    statistics.collections = impl_->collections.size();
    for (const auto& [id, collection] : impl_->collections) {
      statistics.rows += static_cast<uint64_t>(collection->live_rows(-1));
      for (const auto& sealed : collection->sealed_segments()) {
        statistics.sealed_bytes += sealed->byte_size();
        if (sealed->fenced()) ++statistics.fenced_segments;
        for (const auto& index : sealed->Indexes()) {
          ++statistics.indexes;
          statistics.index_bytes += index->byte_size();
          const auto parts = index->parts();
          if (parts == nullptr) continue;
          statistics.index_parts += parts->size();
          for (const auto& part : *parts) statistics.index_bytes += part->byte_size();
        }
      }
      for (const auto& growing : collection->growing_segments()) {
        for (const auto& index : growing->VectorIndexes()) statistics.growing_indexed_rows += index->index().linked();
      }
      statistics.fenced_segments += collection->fenced_segments().size();
    }
  }
  for (size_t i = 0; i < kMemoryConsumers; ++i) {
    statistics.memory_bytes[i] = impl_->budget->used(static_cast<MemoryConsumer>(i));
  }
  statistics.index_builds = impl_->index_builds.load(std::memory_order_relaxed);
  statistics.growing_index_builds = impl_->growing_index_builds.load(std::memory_order_acquire);
  statistics.index_build_failures = impl_->index_build_failures.load(std::memory_order_relaxed);
  statistics.log_bytes = impl_->log->byte_size();
  statistics.filter_cache = impl_->filter_cache->statistics();
  statistics.log_syncs = impl_->log->sync_count();
  statistics.watermark = impl_->watermark.load(std::memory_order_acquire);
  return statistics;
}

IndexProgress Engine::DescribeProgress(const Collection& collection, const IndexInfo& index, Timestamp until) const {
  return impl_->ProgressOf(collection, index, until);
}

const EngineOptions& Engine::options() const { return impl_->options; }
Status Engine::health() const { return impl_->Health(); }

}  // namespace quiver::engine
