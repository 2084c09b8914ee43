// Indexes.

#include <string>
#include <utility>
#include <vector>

#include "api/handlers.h"
#include "api/schema_codec.h"
#include "index.pb.h"
#include "schema/index_params.h"
#include "schema/validation.h"

namespace quiver::api {
namespace {

Status IndexNotFound(const engine::CollectionInfo& info, const std::string& field, const std::string& index) {
  if (!index.empty()) return Error(StatusCode::kIndexNotFound, "index not found[index={}]", index);
  if (!field.empty())
    return Error(StatusCode::kIndexNotFound, "index not found[collection={}][field={}]", info.name(), field);
  return Error(StatusCode::kIndexNotFound, "index not found[collection={}]", info.name());
}

/// Indexes that a request means by field, by name, by both or (neither) all; an error where there is none.
Result<std::vector<const engine::IndexInfo*>> Select(const engine::CollectionInfo& info, const std::string& field_name,
                                                     const std::string& index_name) {
  std::vector<const engine::IndexInfo*> selected;
  const FieldSchema* field = field_name.empty() ? nullptr : info.schema->Find(field_name);
  for (const engine::IndexInfo& index : info.indexes) {
    if (!index_name.empty() && index.name != index_name) continue;
    // A name alone decides: clients repeat the name in the field of the field.
    if (index_name.empty() && !field_name.empty() && (field == nullptr || index.field_id != field->field_id)) continue;
    selected.push_back(&index);
  }
  if (selected.empty()) return IndexNotFound(info, field_name, index_name);
  return selected;
}

wire::common::IndexState StateOf(const engine::IndexProgress& progress) {
  switch (progress.state) {
    case engine::IndexState::kFinished: return wire::common::Finished;
    case engine::IndexState::kInProgress: return wire::common::InProgress;
    case engine::IndexState::kFailed: return wire::common::Failed;
  }
  return wire::common::IndexStateNone;
}

/// Rows that are searched through the index, or that need none: growing rows and small segments are scanned.
int64_t IndexedRows(const engine::IndexProgress& progress) { return progress.total_rows - progress.pending_rows; }

void Describe(const engine::CollectionInfo& info, const engine::IndexInfo& index, const engine::IndexProgress& progress,
              wire::IndexDescription* out) {
  out->set_index_name(index.name);
  out->set_indexid(index.id);
  const FieldSchema* field = info.schema->FindById(index.field_id);
  if (field != nullptr) out->set_field_name(field->name);
  EncodeKeyValues(index.params, out->mutable_params());
  out->set_indexed_rows(IndexedRows(progress));
  out->set_total_rows(progress.total_rows);
  out->set_pending_index_rows(progress.pending_rows);
  out->set_state(StateOf(progress));
  out->set_index_state_fail_reason(progress.reason);
}

}  // namespace

Status Handlers::CreateIndex(const wire::CreateIndexRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  QUIVER_RETURN_IF_ERROR(ValidateIndexName(request.index_name()));
  const auto info = collection->info();
  const FieldSchema* field = info->schema->Find(request.field_name());
  // A name that the schema does not have is a dynamic key.
  const bool dynamic_key = field == nullptr && info->schema->dynamic_field() != nullptr;
  if (dynamic_key) field = info->schema->dynamic_field();
  if (field == nullptr) {
    return InvalidParameter("cannot create index on non-exist field: {}: invalid parameter", request.field_name());
  }
  KeyValues params = DecodeKeyValues(request.extra_params());
  if (dynamic_key) {
    QUIVER_ASSIGN_OR_RETURN(const KeyValues given, FlattenParams(params));
    if (FindValue(given, "json_path") == nullptr) params.emplace_back("json_path", request.field_name());
  }
  QUIVER_ASSIGN_OR_RETURN(const IndexSpec spec, ParseIndexParams(*field, params));
  engine::IndexInfo index;
  index.name = request.index_name();
  index.index_type = spec.index_type;
  index.metric_type = MetricTypeName(spec.metric);
  // Shown as given, with the two keys that clients read completed.
  SetValue(params, "index_type", spec.index_type);
  if (spec.metric != MetricType::kNone) SetValue(params, "metric_type", index.metric_type);
  // Clients that nest the parameters look for them there, the others beside it.
  for (const auto& [key, value] : spec.params) {
    if (FindValue(params, key) == nullptr) params.emplace_back(key, value);
  }
  index.params = std::move(params);
  return engine_.CreateIndex(request.db_name(), request.collection_name(), field->name, std::move(index));
}

Status Handlers::AlterIndex(const wire::AlterIndexRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN([[maybe_unused]] const auto collection, Find(request.db_name(), request.collection_name()));
  if (request.extra_params_size() > 0 && request.delete_keys_size() > 0) {
    return InvalidParameter("cannot provide both DeleteKeys and ExtraParams: invalid parameter");
  }
  const KeyValues set = DecodeKeyValues(request.extra_params());
  for (const auto& [key, value] : set) QUIVER_RETURN_IF_ERROR(ValidateAlterIndexKey(key));
  for (const std::string& key : request.delete_keys()) QUIVER_RETURN_IF_ERROR(ValidateAlterIndexKey(key));
  return engine_.AlterIndex(request.db_name(), request.collection_name(), request.index_name(), set,
                            {request.delete_keys().begin(), request.delete_keys().end()});
}

Status Handlers::DescribeIndex(const wire::DescribeIndexRequest& request, wire::DescribeIndexResponse* response,
                               const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  const auto info = collection->info();
  QUIVER_ASSIGN_OR_RETURN(const auto indexes, Select(*info, request.field_name(), request.index_name()));
  for (const engine::IndexInfo* index : indexes) {
    // A client that waits names the moment of its call, so that rows which come meanwhile do not keep it waiting.
    Describe(*info, *index, engine_.DescribeProgress(*collection, *index, request.timestamp()),
             response->add_index_descriptions());
  }
  return Status::Ok();
}

Status Handlers::DropIndex(const wire::DropIndexRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN([[maybe_unused]] const auto collection, Find(request.db_name(), request.collection_name()));
  return engine_.DropIndex(request.db_name(), request.collection_name(), request.field_name(), request.index_name());
}

Status Handlers::GetIndexStatistics(const wire::GetIndexStatisticsRequest& request,
                                    wire::GetIndexStatisticsResponse* response, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  const auto info = collection->info();
  QUIVER_ASSIGN_OR_RETURN(const auto indexes, Select(*info, "", request.index_name()));
  for (const engine::IndexInfo* index : indexes) {
    Describe(*info, *index, engine_.DescribeProgress(*collection, *index), response->add_index_descriptions());
  }
  return Status::Ok();
}

Status Handlers::GetIndexState(const wire::GetIndexStateRequest& request, wire::GetIndexStateResponse* response,
                               const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  const auto info = collection->info();
  QUIVER_ASSIGN_OR_RETURN(const auto indexes, Select(*info, request.field_name(), request.index_name()));
  response->set_state(wire::common::Finished);
  for (const engine::IndexInfo* index : indexes) {
    const engine::IndexProgress progress = engine_.DescribeProgress(*collection, *index);
    if (progress.state == engine::IndexState::kFinished) continue;
    response->set_state(StateOf(progress));
    response->set_fail_reason(progress.reason);
  }
  return Status::Ok();
}

Status Handlers::GetIndexBuildProgress(const wire::GetIndexBuildProgressRequest& request,
                                       wire::GetIndexBuildProgressResponse* response, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  const auto info = collection->info();
  QUIVER_ASSIGN_OR_RETURN(const auto indexes, Select(*info, request.field_name(), request.index_name()));
  const engine::IndexProgress progress = engine_.DescribeProgress(*collection, *indexes.front());
  response->set_indexed_rows(IndexedRows(progress));
  response->set_total_rows(progress.total_rows);
  return Status::Ok();
}

void Handlers::AddIndexMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Sync("CreateIndex", Lane::kControl, self, &Handlers::CreateIndex));
  out->push_back(Sync("AlterIndex", Lane::kControl, self, &Handlers::AlterIndex));
  out->push_back(Sync("DescribeIndex", Lane::kAtOnce, self, &Handlers::DescribeIndex));
  out->push_back(Sync("DropIndex", Lane::kControl, self, &Handlers::DropIndex));
  out->push_back(Sync("GetIndexStatistics", Lane::kAtOnce, self, &Handlers::GetIndexStatistics));
  out->push_back(Sync("GetIndexState", Lane::kAtOnce, self, &Handlers::GetIndexState));
  out->push_back(Sync("GetIndexBuildProgress", Lane::kAtOnce, self, &Handlers::GetIndexBuildProgress));
}

}  // namespace quiver::api
