// Load state. A load is done when it is recorded: data is read where it lies.

#include <string>
#include <string_view>
#include <vector>

#include "api/handlers.h"
#include "collection.pb.h"

namespace quiver::api {
namespace {

/// Checks that partitions are named, in a collection whose partitions are the user's business.
Status CheckPartitions(const google::protobuf::RepeatedPtrField<std::string>& names, const CollectionSchema& schema,
                       std::string_view verb) {
  if (schema.partition_key() != nullptr) {
    return InvalidParameter("disable {} partitions if partition key mode is used: invalid parameter", verb);
  }
  if (names.empty()) return InvalidParameter("due to no partition specified: invalid parameter");
  return Status::Ok();
}

/// Checks `load_fields`: they exist.
template <typename RequestType>
Status CheckLoadFields(const RequestType& request, const CollectionSchema& schema) {
  for (const std::string& name : request.load_fields()) {
    if (schema.Find(name) == nullptr) {
      return InvalidParameter("failed to get field schema by name: fieldName({}) not found: invalid parameter", name);
    }
  }
  return Status::Ok();
}

}  // namespace

Status Handlers::LoadCollection(const wire::LoadCollectionRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  QUIVER_RETURN_IF_ERROR(CheckLoadFields(request, *collection->info()->schema));
  return engine_.Load(request.db_name(), request.collection_name(), {}, request.replica_number());
}

Status Handlers::ReleaseCollection(const wire::ReleaseCollectionRequest& request, wire::common::Status*,
                                   const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN([[maybe_unused]] const auto collection, Find(request.db_name(), request.collection_name()));
  return engine_.Release(request.db_name(), request.collection_name(), {});
}

Status Handlers::LoadPartitions(const wire::LoadPartitionsRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  QUIVER_RETURN_IF_ERROR(CheckPartitions(request.partition_names(), *collection->info()->schema, "load"));
  QUIVER_RETURN_IF_ERROR(CheckLoadFields(request, *collection->info()->schema));
  return engine_.Load(request.db_name(), request.collection_name(),
                      {request.partition_names().begin(), request.partition_names().end()}, request.replica_number());
}

Status Handlers::ReleasePartitions(const wire::ReleasePartitionsRequest& request, wire::common::Status*,
                                   const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  QUIVER_RETURN_IF_ERROR(CheckPartitions(request.partition_names(), *collection->info()->schema, "release"));
  return engine_.Release(request.db_name(), request.collection_name(),
                         {request.partition_names().begin(), request.partition_names().end()});
}

Status Handlers::GetLoadingProgress(const wire::GetLoadingProgressRequest& request,
                                    wire::GetLoadingProgressResponse* response, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  const auto info = collection->info();
  if (!info->load.any()) {
    return Error(StatusCode::kCollectionNotLoaded, "collection not loaded[collection={}]", info->name());
  }
  for (const std::string& name : request.partition_names()) {
    const engine::PartitionInfo* partition = info->FindPartition(name);
    if (partition == nullptr) return Error(StatusCode::kPartitionNotFound, "partition not found[partition={}]", name);
    if (!info->load.Covers(partition->id)) {
      return Error(StatusCode::kPartitionNotLoaded, "partition not loaded[partition={}]", name);
    }
  }
  response->set_progress(100);
  response->set_refresh_progress(100);
  return Status::Ok();
}

Status Handlers::GetLoadState(const wire::GetLoadStateRequest& request, wire::GetLoadStateResponse* response,
                              const RpcCall&) {
  const auto collection = Find(request.db_name(), request.collection_name());
  if (!collection.ok()) {
    if (collection.status().code() != StatusCode::kCollectionNotFound) return collection.status();
    response->set_state(wire::common::LoadStateNotExist);
    return Status::Ok();
  }
  const auto info = (*collection)->info();
  bool loaded = info->load.any();
  for (const std::string& name : request.partition_names()) {
    const engine::PartitionInfo* partition = info->FindPartition(name);
    if (partition == nullptr) return Error(StatusCode::kPartitionNotFound, "partition not found[partition={}]", name);
    loaded = loaded && info->load.Covers(partition->id);
  }
  response->set_state(loaded ? wire::common::LoadStateLoaded : wire::common::LoadStateNotLoad);
  return Status::Ok();
}

void Handlers::AddLoadMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Sync("LoadCollection", Lane::kControl, self, &Handlers::LoadCollection));
  out->push_back(Sync("ReleaseCollection", Lane::kControl, self, &Handlers::ReleaseCollection));
  out->push_back(Sync("LoadPartitions", Lane::kControl, self, &Handlers::LoadPartitions));
  out->push_back(Sync("ReleasePartitions", Lane::kControl, self, &Handlers::ReleasePartitions));
  out->push_back(Sync("GetLoadingProgress", Lane::kAtOnce, self, &Handlers::GetLoadingProgress));
  out->push_back(Sync("GetLoadState", Lane::kAtOnce, self, &Handlers::GetLoadState));
}

}  // namespace quiver::api
