// Snapshots: create, list, describe, drop, restore.

#include <string>

#include "api/handlers.h"
#include "base/hybrid_clock.h"
#include "schema/validation.h"
#include "snapshot.pb.h"

namespace quiver::api {

namespace {

Status CheckSnapshotName(const std::string& name) {
  if (name.empty()) return InvalidParameter("snapshot name should not be empty: invalid parameter");
  constexpr size_t kMaxLength = 255;
  if (name.size() > kMaxLength) {
    return InvalidParameter("the length of a snapshot name must be at most {} bytes, got {}: invalid parameter",
                            kMaxLength, name.size());
  }
  return Status::Ok();
}

Status NotFound(const engine::CollectionInfo& info, const std::string& name) {
  return Error(StatusCode::kSnapshotNotFound, "snapshot not found[collection={}][snapshot={}]", info.name(), name);
}

void EncodeRestore(const engine::RestoreJob& job, wire::RestoreSnapshotInfo* out) {
  out->set_job_id(job.id);
  out->set_snapshot_name(job.snapshot);
  out->set_db_name(job.db_name);
  out->set_collection_name(job.collection);
  switch (job.state) {
    case engine::RestoreState::kPending: out->set_state(wire::RestoreSnapshotPending); break;
    case engine::RestoreState::kExecuting: out->set_state(wire::RestoreSnapshotExecuting); break;
    case engine::RestoreState::kCompleted: out->set_state(wire::RestoreSnapshotCompleted); break;
    case engine::RestoreState::kFailed: out->set_state(wire::RestoreSnapshotFailed); break;
  }
  out->set_progress(job.progress);
  out->set_reason(job.reason);
  out->set_start_time(static_cast<uint64_t>(TimestampMs(job.started)));
  out->set_time_cost(static_cast<uint64_t>(job.milliseconds));
}

}  // namespace

Status Handlers::CreateSnapshot(const wire::CreateSnapshotRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(CheckSnapshotName(request.name()));
  QUIVER_RETURN_IF_ERROR(Find(request.db_name(), request.collection_name()).status());
  return engine_.CreateSnapshot(request.db_name(), request.collection_name(), request.name(), request.description())
      .status();
}

Status Handlers::DropSnapshot(const wire::DropSnapshotRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(CheckSnapshotName(request.name()));
  QUIVER_RETURN_IF_ERROR(Find(request.db_name(), request.collection_name()).status());
  return engine_.DropSnapshot(request.db_name(), request.collection_name(), request.name());
}

Status Handlers::ListSnapshots(const wire::ListSnapshotsRequest& request, wire::ListSnapshotsResponse* response,
                               const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  for (const engine::SnapshotInfo& snapshot : collection->info()->snapshots) response->add_snapshots(snapshot.name);
  return Status::Ok();
}

Status Handlers::DescribeSnapshot(const wire::DescribeSnapshotRequest& request,
                                  wire::DescribeSnapshotResponse* response, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(CheckSnapshotName(request.name()));
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  const auto info = collection->info();
  const engine::SnapshotInfo* snapshot = info->FindSnapshot(request.name());
  if (snapshot == nullptr) return NotFound(*info, request.name());
  response->set_name(snapshot->name);
  response->set_description(snapshot->description);
  response->set_collection_name(info->name());
  for (const engine::PartitionInfo& partition : snapshot->partitions) response->add_partition_names(partition.name);
  // The moment itself, so that it can be given as travel_timestamp.
  response->set_create_ts(static_cast<int64_t>(snapshot->timestamp));
  return Status::Ok();
}

Status Handlers::RestoreSnapshot(const wire::RestoreSnapshotRequest& request, wire::RestoreSnapshotResponse* response,
                                 const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(CheckSnapshotName(request.name()));
  QUIVER_RETURN_IF_ERROR(Find(request.db_name(), request.collection_name()).status());
  if (!request.target_collection_name().empty()) {
    QUIVER_RETURN_IF_ERROR(ValidateCollectionName(request.target_collection_name()));
  }
  QUIVER_ASSIGN_OR_RETURN(const int64_t job,
                          engine_.RestoreSnapshot(request.db_name(), request.collection_name(), request.name(),
                                                  request.target_db_name(), request.target_collection_name()));
  response->set_job_id(job);
  return Status::Ok();
}

Status Handlers::GetRestoreSnapshotState(const wire::GetRestoreSnapshotStateRequest& request,
                                         wire::GetRestoreSnapshotStateResponse* response, const RpcCall&) {
  const auto job = engine_.FindRestore(request.job_id());
  if (!job) return InvalidParameter("restore job not found[job={}]: invalid parameter", request.job_id());
  EncodeRestore(*job, response->mutable_info());
  return Status::Ok();
}

Status Handlers::ListRestoreSnapshotJobs(const wire::ListRestoreSnapshotJobsRequest& request,
                                         wire::ListRestoreSnapshotJobsResponse* response, const RpcCall&) {
  for (const engine::RestoreJob& job : engine_.ListRestores()) {
    if (!request.collection_name().empty() &&
        (job.collection != request.collection_name() || job.db_name != request.db_name())) {
      continue;
    }
    EncodeRestore(job, response->add_jobs());
  }
  return Status::Ok();
}

void Handlers::AddSnapshotMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Sync("CreateSnapshot", Lane::kControl, self, &Handlers::CreateSnapshot));
  out->push_back(Sync("DropSnapshot", Lane::kControl, self, &Handlers::DropSnapshot));
  out->push_back(Sync("ListSnapshots", Lane::kAtOnce, self, &Handlers::ListSnapshots));
  out->push_back(Sync("DescribeSnapshot", Lane::kAtOnce, self, &Handlers::DescribeSnapshot));
  out->push_back(Sync("RestoreSnapshot", Lane::kControl, self, &Handlers::RestoreSnapshot));
  out->push_back(Sync("GetRestoreSnapshotState", Lane::kAtOnce, self, &Handlers::GetRestoreSnapshotState));
  out->push_back(Sync("ListRestoreSnapshotJobs", Lane::kAtOnce, self, &Handlers::ListRestoreSnapshotJobs));
}

}  // namespace quiver::api
