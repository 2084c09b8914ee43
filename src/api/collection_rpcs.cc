// Collections and their fields.

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "api/handlers.h"
#include "api/read_options.h"
#include "api/schema_codec.h"
#include "base/hybrid_clock.h"
#include "collection.pb.h"
#include "schema.pb.h"
#include "schema/validation.h"

namespace quiver::api {
namespace {

void Describe(const engine::CollectionInfo& info, int64_t db_id, wire::DescribeCollectionResponse* out) {
  // A zone that the machine no longer knows must not hide the collection.
  const auto zone = ReadTimeZone(info.properties);
  EncodeSchema(*info.schema, out->mutable_schema(), zone.ok() ? *zone : TimeZone());
  EncodeKeyValues(info.properties, out->mutable_schema()->mutable_properties());
  out->set_collectionid(info.id);
  out->set_collection_name(info.name());
  out->set_db_name(info.db_name);
  out->set_db_id(db_id);
  out->set_shards_num(info.shards_num);
  for (int32_t shard = 0; shard < info.shards_num; ++shard) {
    out->add_physical_channel_names(fmt::format("quiver-dml_{}", shard));
    out->add_virtual_channel_names(fmt::format("quiver-dml_{}_{}v{}", shard, info.id, shard));
  }
  out->set_created_timestamp(info.created);
  out->set_created_utc_timestamp(static_cast<uint64_t>(TimestampMs(info.created)));
  out->set_update_timestamp(info.updated);
  out->set_update_timestamp_str(std::to_string(info.updated));
  for (const std::string& alias : info.aliases) out->add_aliases(alias);
  out->set_consistency_level(static_cast<wire::common::ConsistencyLevel>(info.consistency_level));
  out->set_num_partitions(static_cast<int64_t>(info.partitions.size()));
  KeyValues properties = info.properties;
  if (FindValue(properties, "timezone") == nullptr) SetValue(properties, "timezone", "UTC");
  EncodeKeyValues(properties, out->mutable_properties());
}

/// Clients look for this text, and for the old code of an unexpected error, to learn that a collection does not exist.
void EncodeMissing(const std::string& db, const std::string& name, wire::common::Status* out) {
  EncodeStatus(Error(StatusCode::kCollectionNotFound, "can't find collection[database={}][collection={}]", db, name),
               out);
  out->set_error_code(wire::common::UnexpectedError);
}

}  // namespace

Status Handlers::CreateCollection(const wire::CreateCollectionRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateCollectionName(request.collection_name()));
  engine::CreateCollectionRequest create;
  create.db_name = request.db_name();
  create.properties = DecodeKeyValues(request.properties());
  if (FindValue(create.properties, kTimeZoneKey) == nullptr) {
    const auto database = engine_.DescribeDatabase(request.db_name());  // a missing one is told by CreateCollection
    const std::string* name = database.ok() ? FindValue(database->properties, kTimeZoneKey) : nullptr;
    if (name != nullptr) SetValue(create.properties, kTimeZoneKey, *name);
  }
  QUIVER_ASSIGN_OR_RETURN(const TimeZone zone, ReadTimeZone(create.properties));
  QUIVER_ASSIGN_OR_RETURN(create.schema, DecodeSchema(request.schema(), zone));
  create.schema.name = request.collection_name();
  QUIVER_RETURN_IF_ERROR(ValidateSchema(create.schema));
  QUIVER_RETURN_IF_ERROR(ValidateShardsAndPartitions(create.schema, request.shards_num(), request.num_partitions()));
  create.shards_num = std::max(request.shards_num(), 1);
  create.num_partitions = request.num_partitions();
  create.consistency_level = static_cast<int32_t>(request.consistency_level());
  QUIVER_RETURN_IF_ERROR(ValidateProperties(create.schema, create.properties));
  return engine_.CreateCollection(std::move(create));
}

Status Handlers::DropCollection(const wire::DropCollectionRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateCollectionName(request.collection_name()));
  return engine_.DropCollection(request.db_name(), request.collection_name());
}

Status Handlers::HasCollection(const wire::HasCollectionRequest& request, wire::BoolResponse* response,
                               const RpcCall&) {
  const auto collection = Find(request.db_name(), request.collection_name());
  if (!collection.ok() && collection.status().code() != StatusCode::kCollectionNotFound) return collection.status();
  response->set_value(collection.ok());
  return Status::Ok();
}

Status Handlers::DescribeCollection(const wire::DescribeCollectionRequest& request,
                                    wire::DescribeCollectionResponse* response, const RpcCall&) {
  const bool by_id = request.collection_name().empty() && request.collectionid() != 0;
  const auto collection =
      by_id ? engine_.FindCollectionById(request.collectionid()) : Find(request.db_name(), request.collection_name());
  if (!collection.ok()) {
    if (collection.status().code() != StatusCode::kCollectionNotFound) return collection.status();
    EncodeMissing(request.db_name(), by_id ? std::to_string(request.collectionid()) : request.collection_name(),
                  response->mutable_status());
    return Status::Ok();
  }
  const auto info = (*collection)->info();
  const auto database = engine_.DescribeDatabase(info->db_name);
  Describe(*info, database.ok() ? database->id : 0, response);
  return Status::Ok();
}

Status Handlers::BatchDescribeCollection(const wire::BatchDescribeCollectionRequest& request,
                                         wire::BatchDescribeCollectionResponse* response, const RpcCall& call) {
  wire::DescribeCollectionRequest one;
  one.set_db_name(request.db_name());
  for (const std::string& name : request.collection_name()) {
    one.set_collection_name(name);
    auto* described = response->add_responses();
    if (const Status status = DescribeCollection(one, described, call); !status.ok()) {
      EncodeStatus(status, described->mutable_status());
    }
  }
  one.clear_collection_name();
  for (const int64_t id : request.collectionid()) {
    one.set_collectionid(id);
    auto* described = response->add_responses();
    if (const Status status = DescribeCollection(one, described, call); !status.ok()) {
      EncodeStatus(status, described->mutable_status());
    }
  }
  return Status::Ok();
}

Status Handlers::ShowCollections(const wire::ShowCollectionsRequest& request, wire::ShowCollectionsResponse* response,
                                 const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collections, engine_.ListCollections(request.db_name()));
  const auto& wanted = request.collection_names();
  for (const std::string& name : wanted) {
    const bool known =
        std::any_of(collections.begin(), collections.end(), [&](const auto& info) { return info->name() == name; });
    if (!known) {
      return Error(StatusCode::kCollectionNotFound, "collection not found[database={}][collection={}]",
                   request.db_name(), name);
    }
  }
  const bool loaded_only = request.type() == wire::ShowType::InMemory;
  for (const auto& info : collections) {
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), info->name()) == wanted.end()) continue;
    if (loaded_only && !info->load.any()) {
      if (wanted.empty()) continue;
      return Error(StatusCode::kCollectionNotLoaded, "collection not loaded[collection={}]", info->name());
    }
    response->add_collection_names(info->name());
    response->add_collection_ids(info->id);
    response->add_created_timestamps(info->created);
    response->add_created_utc_timestamps(static_cast<uint64_t>(TimestampMs(info->created)));
    response->add_shards_num(info->shards_num);
    if (loaded_only) {
      response->add_inmemory_percentages(100);
      response->add_query_service_available(true);
    }
  }
  return Status::Ok();
}

Status Handlers::RenameCollection(const wire::RenameCollectionRequest& request, wire::common::Status*, const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(ValidateCollectionName(request.oldname()));
  QUIVER_RETURN_IF_ERROR(ValidateCollectionName(request.newname()));
  return engine_.RenameCollection(request.db_name(), request.oldname(), request.newdbname(), request.newname());
}

Status Handlers::GetCollectionStatistics(const wire::GetCollectionStatisticsRequest& request,
                                         wire::GetCollectionStatisticsResponse* response, const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  QUIVER_ASSIGN_OR_RETURN(const int64_t rows, engine_.RowCount(*collection, ""));
  auto* stat = response->add_stats();
  stat->set_key("row_count");
  stat->set_value(std::to_string(rows));
  return Status::Ok();
}

Status Handlers::AlterCollection(const wire::AlterCollectionRequest& request, wire::common::Status*, const RpcCall&) {
  if (request.properties_size() > 0 && request.delete_keys_size() > 0) {
    return InvalidParameter("cannot provide both DeleteKeys and ExtraParams: invalid parameter");
  }
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  const KeyValues properties = DecodeKeyValues(request.properties());
  QUIVER_RETURN_IF_ERROR(ValidateProperties(*collection->info()->schema, properties));
  return engine_.AlterCollection(request.db_name(), request.collection_name(), properties,
                                 {request.delete_keys().begin(), request.delete_keys().end()});
}

Status Handlers::AlterCollectionField(const wire::AlterCollectionFieldRequest& request, wire::common::Status*,
                                      const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  const auto info = collection->info();
  const FieldSchema* field = info->schema->Find(request.field_name());
  if (field == nullptr) {
    return Error(StatusCode::kFieldNotFound, "field {} does not exist in collection {}: field not found[field={}]",
                 request.field_name(), info->name(), request.field_name());
  }
  KeyValues set = DecodeKeyValues(request.properties());
  std::vector<std::string> delete_keys(request.delete_keys().begin(), request.delete_keys().end());
  QUIVER_RETURN_IF_ERROR(ValidateFieldProperties(*field, set, delete_keys));
  return engine_.AlterCollectionField(request.db_name(), request.collection_name(), request.field_name(), set,
                                      delete_keys);
}

Status Handlers::AddCollectionField(const wire::AddCollectionFieldRequest& request, wire::common::Status*,
                                    const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  QUIVER_ASSIGN_OR_RETURN(const TimeZone zone, ReadTimeZone(collection->info()->properties));
  QUIVER_ASSIGN_OR_RETURN(FieldSchema field, DecodeFieldSchema(std::string_view(request.schema()), zone));
  QUIVER_RETURN_IF_ERROR(ValidateAddedField(*collection->info()->schema, field));
  return engine_.AddCollectionField(request.db_name(), request.collection_name(), std::move(field));
}

Status Handlers::AddCollectionStructField(const wire::AddCollectionStructFieldRequest& request, wire::common::Status*,
                                          const RpcCall&) {
  QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), request.collection_name()));
  QUIVER_ASSIGN_OR_RETURN(const TimeZone zone, ReadTimeZone(collection->info()->properties));
  QUIVER_ASSIGN_OR_RETURN(DecodedStructArray added, DecodeStructArray(request.struct_array_field_schema(), zone));
  QUIVER_RETURN_IF_ERROR(ValidateAddedStructArray(*collection->info()->schema, added.schema, added.sub_fields));
  return engine_.AddCollectionStructArray(request.db_name(), request.collection_name(), std::move(added.schema),
                                          std::move(added.sub_fields));
}

Status Handlers::TruncateCollection(const wire::TruncateCollectionRequest& request, wire::TruncateCollectionResponse*,
                                    const RpcCall&) {
  QUIVER_RETURN_IF_ERROR(Find(request.db_name(), request.collection_name()).status());
  return engine_.TruncateCollection(request.db_name(), request.collection_name());
}

void Handlers::AddCollectionMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Sync("TruncateCollection", Lane::kControl, self, &Handlers::TruncateCollection));
  out->push_back(Sync("CreateCollection", Lane::kControl, self, &Handlers::CreateCollection));
  out->push_back(Sync("DropCollection", Lane::kControl, self, &Handlers::DropCollection));
  out->push_back(Sync("HasCollection", Lane::kAtOnce, self, &Handlers::HasCollection));
  out->push_back(Sync("DescribeCollection", Lane::kAtOnce, self, &Handlers::DescribeCollection));
  out->push_back(Sync("BatchDescribeCollection", Lane::kAtOnce, self, &Handlers::BatchDescribeCollection));
  out->push_back(Sync("ShowCollections", Lane::kAtOnce, self, &Handlers::ShowCollections));
  out->push_back(Sync("RenameCollection", Lane::kControl, self, &Handlers::RenameCollection));
  out->push_back(Sync("GetCollectionStatistics", Lane::kAtOnce, self, &Handlers::GetCollectionStatistics));
  out->push_back(Sync("AlterCollection", Lane::kControl, self, &Handlers::AlterCollection));
  out->push_back(Sync("AlterCollectionField", Lane::kControl, self, &Handlers::AlterCollectionField));
  out->push_back(Sync("AddCollectionField", Lane::kControl, self, &Handlers::AddCollectionField));
  out->push_back(Sync("AddCollectionStructField", Lane::kControl, self, &Handlers::AddCollectionStructField));
}

}  // namespace quiver::api
