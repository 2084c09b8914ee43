// Insert, upsert, delete, flush.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "api/field_data_codec.h"
#include "api/handlers.h"
#include "api/partial_update.h"
#include "api/read_options.h"
#include "api/template_codec.h"
#include "base/hybrid_clock.h"
#include "expr/filter.h"
#include "mutation.pb.h"
#include "query/search.h"
#include "schema.pb.h"
#include "schema/index_params.h"
#include "schema/validation.h"

namespace quiver::api {
namespace {

/// A filter that selects rows by other means than their keys is worked out on the network thread up to this many rows.
constexpr int64_t kInlineFilterRows = 2000;

bool Flag(const KeyValues& properties, std::string_view key) {
  const std::string* value = FindValue(properties, key);
  return value != nullptr && ParseBool(*value).value_or(false);
}

Status CheckPartition(const engine::CollectionInfo& info, const std::string& partition) {
  if (partition.empty()) return Status::Ok();
  if (info.schema->partition_key() != nullptr) {
    return InvalidParameter(
        "not support manually specifying the partition names if partition key mode is used: invalid parameter");
  }
  return ValidatePartitionName(partition);
}

/// Decodes and checks the rows of an insert or upsert; CompleteBatch is left to do.
template <typename RequestType>
Result<engine::WriteRequest> PrepareWrite(const RequestType& request, const RpcCall& call,
                                          std::shared_ptr<engine::Collection> collection, WriteKind kind,
                                          bool partial_update) {
  const auto info = collection->info();
  const CollectionSchema& schema = *info->schema;
  if (request.num_rows() == 0) {
    return InvalidParameter(
        "num_rows should be greater than 0: invalid parameter[expected=need num_rows greater than 0][actual=got 0]");
  }
  QUIVER_RETURN_IF_ERROR(CheckPartition(*info, request.partition_name()));
  engine::WriteRequest write;
  QUIVER_ASSIGN_OR_RETURN(const TimeZone zone, ReadTimeZone(info->properties));
  QUIVER_ASSIGN_OR_RETURN(write.batch, DecodeRows(request.fields_data(), schema, request.num_rows(), zone));
  QUIVER_RETURN_IF_ERROR(ValidateBatch(schema, write.batch,
                                       {.kind = kind,
                                        .allow_insert_auto_id = Flag(info->properties, "allow_insert_auto_id"),
                                        .partial_update = partial_update}));
  write.partition_name = request.partition_name();
  write.schema_timestamp = request.schema_timestamp();
  std::string_view id = call.header("client-request-id");
  if (id.empty()) id = call.header("client_request_id");
  write.request_id = id;
  write.collection = std::move(collection);
  return write;
}

void EncodeWrite(const engine::WriteResult& result, uint32_t rows, wire::MutationResult* out) {
  EncodeIds(result.primary_keys, out->mutable_ids());
  auto* succeeded = out->mutable_succ_index();
  succeeded->Reserve(static_cast<int>(rows));
  for (uint32_t row = 0; row < rows; ++row) succeeded->AddAlreadyReserved(row);
  out->set_acknowledged(true);
  out->set_insert_cnt(rows);
  out->set_timestamp(result.timestamp);
}

Column KeyColumn(const expr::Filter::PrimaryKeys& keys, const FieldSchema& pk) {
  Column column = Column::Make(pk.field_id, pk.type);
  column.Reserve(keys.ints.size() + keys.strings.size());
  for (const int64_t key : keys.ints) column.AppendValue(key);
  for (const std::string& key : keys.strings) column.Append(key);
  return column;
}

}  // namespace

void Handlers::Insert(const std::shared_ptr<Exchange<wire::InsertRequest, wire::MutationResult>>& exchange) {
  const wire::InsertRequest& request = exchange->request();
  auto collection = Find(request.db_name(), request.collection_name());
  if (!collection.ok()) return exchange->Finish(collection.status());
  auto write = PrepareWrite(request, exchange->call(), *std::move(collection), WriteKind::kInsert, false);
  if (!write.ok()) return exchange->Finish(write.status());
  const Status completed = CompleteBatch(*write->collection->info()->schema, write->batch);
  if (!completed.ok()) return exchange->Finish(completed);
  engine_.Insert(*std::move(write), [exchange](Result<engine::WriteResult> result) {
    if (!result.ok()) return exchange->Finish(result.status());
    EncodeWrite(*result, exchange->request().num_rows(), exchange->response());
    exchange->Finish(Status::Ok());
  });
}

void Handlers::Upsert(const std::shared_ptr<Exchange<wire::UpsertRequest, wire::MutationResult>>& exchange) {
  const wire::UpsertRequest& request = exchange->request();
  for (const auto& operation : request.field_ops()) {
    if (operation.op() != wire::schema::FieldPartialUpdateOp::REPLACE) {
      return exchange->Finish(Error(StatusCode::kUnimplemented, "array append and remove are not supported yet"));
    }
  }
  auto collection = Find(request.db_name(), request.collection_name());
  if (!collection.ok()) return exchange->Finish(collection.status());
  const bool partial = request.partial_update();
  auto prepared = PrepareWrite(request, exchange->call(), *std::move(collection), WriteKind::kUpsert, partial);
  if (!prepared.ok()) return exchange->Finish(prepared.status());
  auto write = std::make_shared<engine::WriteRequest>(*std::move(prepared));
  if (!partial || write->collection->live_rows(-1) <= kInlineFilterRows) return RunUpsert(exchange, write);
  OnCompute(exchange, 0, [this, exchange, write](ThreadPool*) { RunUpsert(exchange, write); });
}

void Handlers::RunUpsert(const std::shared_ptr<Exchange<wire::UpsertRequest, wire::MutationResult>>& exchange,
                         const std::shared_ptr<engine::WriteRequest>& sent) {
  const bool partial = exchange->request().partial_update();
  // What was sent is needed again only where another write may come between.
  engine::WriteRequest write = partial ? *sent : std::move(*sent);
  const auto fill = [&]() -> Status {
    if (partial) {
      QUIVER_ASSIGN_OR_RETURN(const auto view, engine_.OpenView(*write.collection, {}, 0, exchange->call().deadline()));
      QUIVER_RETURN_IF_ERROR(FillFromStored(view, [&] { return exchange->abandoned(); }, &write.batch));
      write.based_on = view.timestamp;
    }
    return CompleteBatch(*write.collection->info()->schema, write.batch);
  };
  if (const Status filled = fill(); !filled.ok()) return exchange->Finish(filled);
  engine_.Upsert(std::move(write), [this, exchange, sent](Result<engine::WriteResult> result) {
    if (result.status().code() == StatusCode::kConflict && !exchange->abandoned()) {
      // Somebody else's write came between reading and writing, so somebody made progress: read again.
      return OnCompute(exchange, 0, [this, exchange, sent](ThreadPool*) { RunUpsert(exchange, sent); });
    }
    if (!result.ok()) return exchange->Finish(result.status());
    EncodeWrite(*result, exchange->request().num_rows(), exchange->response());
    exchange->response()->set_upsert_cnt(exchange->request().num_rows());
    exchange->response()->set_delete_cnt(result->delete_count);
    exchange->Finish(Status::Ok());
  });
}

void Handlers::Delete(const std::shared_ptr<Exchange<wire::DeleteRequest, wire::MutationResult>>& exchange) {
  const wire::DeleteRequest& request = exchange->request();
  auto found = Find(request.db_name(), request.collection_name());
  if (!found.ok()) return exchange->Finish(found.status());
  const std::shared_ptr<engine::Collection> collection = *std::move(found);
  const auto info = collection->info();
  if (const Status status = CheckPartition(*info, request.partition_name()); !status.ok()) {
    return exchange->Finish(status);
  }
  auto templates = DecodeTemplates(request.expr_template_values());
  if (!templates.ok()) return exchange->Finish(templates.status());
  const auto zone = ReadTimeZone(info->properties);
  if (!zone.ok()) return exchange->Finish(zone.status());
  auto compiled = expr::Filter::Compile(request.expr(), *info->schema, *templates, *zone);
  if (!compiled.ok()) {
    return exchange->Finish(compiled.status().WithContext("failed to create delete plan"));
  }
  const std::shared_ptr<const expr::Filter> filter = *std::move(compiled);
  if (filter->always_true()) {
    return exchange->Finish(
        InvalidParameter("delete plan can't be empty or always true : {}: invalid parameter", request.expr()));
  }

  // Deletes `keys`; the reply counts `given` of them where the client named keys, else the rows that went.
  const auto remove = [this, exchange, collection](Column keys, std::optional<engine::Timestamp> kill_before,
                                                   std::optional<int64_t> given) {
    if (keys.rows == 0) {
      exchange->response()->set_timestamp(engine_.AllocateTimestamp());
      exchange->response()->set_acknowledged(true);
      exchange->Finish(Status::Ok());
      return;
    }
    engine_.Delete({.collection = collection,
                    .partition_name = exchange->request().partition_name(),
                    .primary_keys = std::move(keys),
                    .kill_before = kill_before},
                   [exchange, given](Result<engine::WriteResult> result) {
                     if (!result.ok()) return exchange->Finish(result.status());
                     auto* response = exchange->response();
                     response->set_delete_cnt(given.value_or(result->delete_count));
                     response->set_timestamp(result->timestamp);
                     response->set_acknowledged(true);
                     exchange->Finish(Status::Ok());
                   });
  };
  if (const auto* keys = filter->primary_keys(); keys != nullptr) {
    Column column = KeyColumn(*keys, info->schema->primary());
    const auto given = static_cast<int64_t>(column.rows);
    return remove(std::move(column), std::nullopt, given);
  }

  const auto by_filter = [this, exchange, collection, filter, remove](ThreadPool*) {
    std::vector<std::string> partitions;
    if (!exchange->request().partition_name().empty()) partitions.push_back(exchange->request().partition_name());
    const auto view = engine_.OpenView(*collection, partitions, 0, exchange->call().deadline());
    if (!view.ok()) return exchange->Finish(view.status());
    auto keys = query::MatchingKeys(*view, filter, [&] { return exchange->abandoned(); });
    if (!keys.ok()) return exchange->Finish(keys.status());
    remove(*std::move(keys), view->timestamp, std::nullopt);
  };
  if (collection->live_rows(-1) <= kInlineFilterRows) return by_filter(nullptr);
  OnCompute(exchange, FilterBytes(*collection, filter.get()), by_filter);
}

Status Handlers::Flush(const wire::FlushRequest& request, wire::FlushResponse* response, const RpcCall&) {
  if (request.collection_names().empty()) {
    return InvalidParameter("collection names can not be empty: invalid parameter");
  }
  response->set_db_name(request.db_name());
  for (const std::string& name : request.collection_names()) {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, Find(request.db_name(), name));
    QUIVER_ASSIGN_OR_RETURN(const engine::FlushResult flushed, engine_.Flush(collection));
    // Both keys must be there, for clients that look them up, also when no segment is meant.
    auto& sealed_now = (*response->mutable_coll_segids())[name];
    for (const int64_t id : flushed.segment_ids) sealed_now.add_data(id);
    auto& sealed = (*response->mutable_flush_coll_segids())[name];
    for (const engine::SegmentInfo& segment : engine_.ListSegments(*collection)) {
      if (segment.sealed) sealed.add_data(segment.id);
    }
    (*response->mutable_coll_seal_times())[name] = TimestampMs(flushed.timestamp) / 1000;
    (*response->mutable_coll_flush_ts())[name] = flushed.timestamp;
  }
  return Status::Ok();
}

Status Handlers::FlushAll(const wire::FlushAllRequest& request, wire::FlushAllResponse* response, const RpcCall&) {
  std::vector<std::string> databases;
  std::vector<std::vector<std::string>> only;  // of each database; empty = all collections
  if (request.flush_targets_size() > 0) {
    for (const auto& target : request.flush_targets()) {
      databases.push_back(target.db_name().empty() ? "default" : target.db_name());
      only.emplace_back(target.collection_names().begin(), target.collection_names().end());
    }
  } else {
    for (const engine::DatabaseInfo& info : engine_.ListDatabases()) databases.push_back(info.name);
    only.resize(databases.size());
  }
  for (size_t i = 0; i < databases.size(); ++i) {
    QUIVER_ASSIGN_OR_RETURN(const auto collections, engine_.ListCollections(databases[i]));
    auto* result = response->add_flush_results();
    result->set_db_name(databases[i]);
    for (const auto& info : collections) {
      const auto& names = only[i];
      if (!names.empty() && std::find(names.begin(), names.end(), info->name()) == names.end()) continue;
      const auto collection = engine_.FindCollectionById(info->id);
      if (!collection.ok()) continue;  // dropped meanwhile
      const auto flushed = engine_.Flush(*collection);
      if (!flushed.ok()) {
        if (flushed.status().code() == StatusCode::kCollectionNotFound) continue;
        return flushed.status();
      }
      auto* one = result->add_collection_results();
      one->set_collection_name(info->name());
      for (const int64_t id : flushed->segment_ids) one->mutable_segment_ids()->add_data(id);
      one->mutable_flush_segment_ids();
      one->set_seal_time(TimestampMs(flushed->timestamp) / 1000);
      one->set_flush_ts(flushed->timestamp);
    }
  }
  response->set_flush_all_ts(engine_.AllocateTimestamp());
  return Status::Ok();
}

// Flush answers only when its segments are on disk, so there is never anything left to wait for.
Status Handlers::GetFlushState(const wire::GetFlushStateRequest&, wire::GetFlushStateResponse* response,
                               const RpcCall&) {
  response->set_flushed(true);
  return Status::Ok();
}

Status Handlers::GetFlushAllState(const wire::GetFlushAllStateRequest& request,
                                  wire::GetFlushAllStateResponse* response, const RpcCall&) {
  response->set_flushed(true);
  for (const auto& target : request.flush_targets()) {
    auto* state = response->add_flush_states();
    state->set_db_name(target.db_name());
    for (const std::string& name : target.collection_names()) (*state->mutable_collection_flush_states())[name] = true;
  }
  return Status::Ok();
}

void Handlers::AddWriteMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Async("Insert", Lane::kData, self, &Handlers::Insert));
  out->push_back(Async("Upsert", Lane::kData, self, &Handlers::Upsert));
  out->push_back(Async("Delete", Lane::kData, self, &Handlers::Delete));
  out->push_back(Sync("Flush", Lane::kControl, self, &Handlers::Flush));
  out->push_back(Sync("FlushAll", Lane::kControl, self, &Handlers::FlushAll));
  out->push_back(Sync("GetFlushState", Lane::kAtOnce, self, &Handlers::GetFlushState));
  out->push_back(Sync("GetFlushAllState", Lane::kAtOnce, self, &Handlers::GetFlushAllState));
}

}  // namespace quiver::api
