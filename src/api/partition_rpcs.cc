// Partitions.

#include <algorithm>
#include <string>

#include "api/handlers.h"
#include "base/hybrid_clock.h"
#include "collection.pb.h"
#include "schema/validation.h"

namespace quiver::api {

Status Handlers::CreatePartition(const wire::CreatePartitionRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateCollectionName(request.collection_name()));
  QUIVER_RETURN_IF_ERROR(ValidatePartitionName(request.partition_name()));
  return engine_.CreatePartition(request.db_name(), request.collection_name(), request.partition_name());
}

Status Handlers::DropPartition(const wire::DropPartitionRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateCollectionName(request.collection_name()));
  QUIVER_RETURN_IF_ERROR(ValidatePartitionName(request.partition_name()));
  return engine_.DropPartition(request.db_name(), request.collection_name(), request.partition_name());
}

Status Handlers::HasPartition(const wire::HasPartitionRequest& request, wire::BoolResponse* response, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  QUIVER_RETURN_IF_ERROR(ValidatePartitionName(request.partition_name()));
  response->set_value(collection->info()->FindPartition(request.partition_name()) != nullptr);
  return Status::Ok();
}

Status Handlers::ShowPartitions(const wire::ShowPartitionsRequest& request, wire::ShowPartitionsResponse* response,
                                const RpcCall&) {
  const bool by_id = request.collection_name().empty() && request.collectionid() != 0;
  QUIVER_ASSIGN_OR_RETURN(const auto collection, by_id ? engine_.FindCollectionById(request.collectionid())
                                                       : Find(request.db_name(), request.collection_name()));
  const auto info = collection->info();
  const auto& wanted = request.partition_names();
  for (const std::string& name : wanted) {
    if (info->FindPartition(name) == nullptr) {
      return Error(StatusCode::kPartitionNotFound, "partition not found[partition={}]", name);
    }
  }
  const bool loaded_only = request.type() == wire::ShowType::InMemory;
  if (loaded_only && !info->load.any()) {
    return Error(StatusCode::kCollectionNotLoaded, "collection not loaded[collection={}]", info->name());
  }
  for (const engine::PartitionInfo& partition : info->partitions) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), partition.name) == wanted.end()) continue;
    if (loaded_only && !info->load.Covers(partition.id)) {
      if (wanted.empty()) continue;
      return Error(StatusCode::kPartitionNotLoaded, "partition not loaded[partition={}]", partition.name);
    }
    response->add_partition_names(partition.name);
    response->add_partitionids(partition.id);
    response->add_created_timestamps(partition.created);
    response->add_created_utc_timestamps(static_cast<uint64_t>(TimestampMs(partition.created)));
    if (loaded_only) response->add_inmemory_percentages(100);
  }
  return Status::Ok();
}

Status Handlers::GetPartitionStatistics(const wire::GetPartitionStatisticsRequest& request,
                                        wire::GetPartitionStatisticsResponse* response, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  QUIVER_RETURN_IF_ERROR(ValidatePartitionName(request.partition_name()));
  QUIVER_ASSIGN_OR_RETURN(const int64_t rows, engine_.RowCount(*collection, request.partition_name()));
  auto* stat = response->add_stats();
  stat->set_key("row_count");
  stat->set_value(std::to_string(rows));
  return Status::Ok();
}

void Handlers::AddPartitionMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Sync("CreatePartition", Lane::kControl, self, &Handlers::CreatePartition));
  out->push_back(Sync("DropPartition", Lane::kControl, self, &Handlers::DropPartition));
  out->push_back(Sync("HasPartition", Lane::kAtOnce, self, &Handlers::HasPartition));
  out->push_back(Sync("ShowPartitions", Lane::kAtOnce, self, &Handlers::ShowPartitions));
  out->push_back(Sync("GetPartitionStatistics", Lane::kAtOnce, self, &Handlers::GetPartitionStatistics));
}

}  // namespace quiver::api
