// Segments, replicas, compaction.

#include <algorithm>
#include <string>

#include "api/handlers.h"
#include "operation.pb.h"

namespace quiver::api {
namespace {

constexpr int64_t kNodeId = 1;

Status NotLoaded(const engine::CollectionInfo& info) {
  return Error(StatusCode::kCollectionNotLoaded, "collection not loaded[collection={}]", info.name());
}

}  // namespace

Status Handlers::GetPersistentSegmentInfo(const wire::GetPersistentSegmentInfoRequest& request,
                                          wire::GetPersistentSegmentInfoResponse* response, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.dbname(), request.collectionname()));
  for (const engine::SegmentInfo& segment : engine_.ListSegments(*collection)) {
    auto* out = response->add_infos();
    out->set_segmentid(segment.id);
    out->set_collectionid(segment.collection_id);
    out->set_partitionid(segment.partition_id);
    out->set_num_rows(segment.rows);
    out->set_state(segment.sealed ? wire::common::Flushed : wire::common::Growing);
    out->set_level(wire::common::L1);
    out->set_is_sorted(segment.sealed);
  }
  return Status::Ok();
}

Status Handlers::GetQuerySegmentInfo(const wire::GetQuerySegmentInfoRequest& request,
                                     wire::GetQuerySegmentInfoResponse* response, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.dbname(), request.collectionname()));
  const auto info = collection->info();
  if (!info->load.any()) return NotLoaded(*info);
  for (const engine::SegmentInfo& segment : engine_.ListSegments(*collection)) {
    auto* out = response->add_infos();
    out->set_segmentid(segment.id);
    out->set_collectionid(segment.collection_id);
    out->set_partitionid(segment.partition_id);
    out->set_num_rows(segment.rows);
    out->set_mem_size(static_cast<int64_t>(segment.bytes));
    out->set_nodeid(kNodeId);
    out->add_nodeids(kNodeId);
    out->set_state(segment.sealed ? wire::common::Sealed : wire::common::Growing);
    out->set_level(wire::common::L1);
    out->set_is_sorted(segment.sealed);
    const auto index =
        std::find_if(info->indexes.begin(), info->indexes.end(), [&](const engine::IndexInfo& candidate) {
          return std::find(segment.index_ids.begin(), segment.index_ids.end(), candidate.id) != segment.index_ids.end();
        });
    if (index != info->indexes.end()) {
      out->set_index_name(index->name);
      out->set_indexid(index->id);
    }
  }
  return Status::Ok();
}

Status Handlers::GetReplicas(const wire::GetReplicasRequest& request, wire::GetReplicasResponse* response,
                             const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, request.collection_name().empty()
                                                     ? engine_.FindCollectionById(request.collectionid())
                                                     : Find(request.db_name(), request.collection_name()));
  const auto info = collection->info();
  if (!info->load.any()) return NotLoaded(*info);
  // One node holds the data once, however many replicas were asked for.
  auto* replica = response->add_replicas();
  replica->set_replicaid(info->id);
  replica->set_collectionid(info->id);
  for (const engine::PartitionInfo& partition : info->partitions) {
    if (info->load.Covers(partition.id)) replica->add_partition_ids(partition.id);
  }
  for (int32_t shard = 0; shard < info->shards_num; ++shard) {
    auto* out = replica->add_shard_replicas();
    out->set_leaderid(kNodeId);
    out->set_leader_addr("localhost");
    out->set_dm_channel_name(fmt::format("quiver-dml_{}_{}v{}", shard, info->id, shard));
    out->add_node_ids(kNodeId);
  }
  replica->add_node_ids(kNodeId);
  replica->set_resource_group_name("__default_resource_group");
  return Status::Ok();
}

Status Handlers::ManualCompaction(const wire::ManualCompactionRequest& request,
                                  wire::ManualCompactionResponse* response, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, request.collection_name().empty()
                                                     ? engine_.FindCollectionById(request.collectionid())
                                                     : Find(request.db_name(), request.collection_name()));
  QUIVER_ASSIGN_OR_RETURN(const int64_t id, engine_.Compact(collection));
  response->set_compactionid(id);
  response->set_compactionplancount(static_cast<int32_t>(engine_.CompactionState(id).merges.size()));
  return Status::Ok();
}

Status Handlers::GetCompactionState(const wire::GetCompactionStateRequest& request,
                                    wire::GetCompactionStateResponse* response, const RpcCall&) {
  const engine::CompactionProgress progress = engine_.CompactionState(request.compactionid());
  response->set_state(progress.done ? wire::common::Completed : wire::common::Executing);
  response->set_executingplanno(progress.executing);
  response->set_completedplanno(progress.completed);
  response->set_failedplanno(progress.failed);
  return Status::Ok();
}

Status Handlers::GetCompactionStateWithPlans(const wire::GetCompactionPlansRequest& request,
                                             wire::GetCompactionPlansResponse* response, const RpcCall&) {
  const engine::CompactionProgress progress = engine_.CompactionState(request.compactionid());
  response->set_state(progress.done ? wire::common::Completed : wire::common::Executing);
  for (const engine::CompactionProgress::Merge& merge : progress.merges) {
    auto* out = response->add_mergeinfos();
    for (const int64_t source : merge.sources) out->add_sources(source);
    out->set_target(merge.target);
    out->add_targets(merge.target);
  }
  return Status::Ok();
}

void Handlers::AddSegmentMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Sync("GetPersistentSegmentInfo", Lane::kAtOnce, self, &Handlers::GetPersistentSegmentInfo));
  out->push_back(Sync("GetQuerySegmentInfo", Lane::kAtOnce, self, &Handlers::GetQuerySegmentInfo));
  out->push_back(Sync("GetReplicas", Lane::kAtOnce, self, &Handlers::GetReplicas));
  out->push_back(Sync("ManualCompaction", Lane::kControl, self, &Handlers::ManualCompaction));
  out->push_back(Sync("GetCompactionState", Lane::kAtOnce, self, &Handlers::GetCompactionState));
  out->push_back(Sync("GetCompactionStateWithPlans", Lane::kAtOnce, self, &Handlers::GetCompactionStateWithPlans));
}

}  // namespace quiver::api
