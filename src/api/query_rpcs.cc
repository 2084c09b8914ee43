// Query by filter.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/field_data_codec.h"
#include "api/handlers.h"
#include "api/output_fields.h"
#include "api/read_options.h"
#include "api/schema_codec.h"
#include "api/template_codec.h"
#include "api/travel_timestamp.h"
#include "base/hybrid_clock.h"
#include "expr/filter.h"
#include "query/search.h"
#include "schema.pb.h"
#include "search.pb.h"

namespace quiver::api {
namespace {

using QueryExchange = Exchange<wire::QueryRequest, wire::QueryResults>;

/// Collections of at most this many rows are read where the request was decoded.
constexpr int64_t kInlineRows = 1000;
constexpr auto kMaxGuaranteeWait = std::chrono::seconds(30);
constexpr std::string_view kCount = "count(*)";

struct QueryPlan {
  bool iterator = false;
  uint64_t travel = 0;  ///< the moment to read at; 0 = now
  std::shared_ptr<engine::Collection> collection;
  std::shared_ptr<const engine::CollectionInfo> info;
  std::shared_ptr<const expr::Filter> filter;
  std::vector<std::string> partitions;
  OutputFields output;
  std::optional<Page> page;
  bool count = false;
};

bool IsCount(std::string_view name) {
  std::string compact;
  for (const char c : name) {
    if (c != ' ') compact.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c));
  }
  return compact == kCount;
}

/// Whether a name is an aggregate such as sum(x), which is published and not served.
bool IsAggregate(std::string_view name) {
  for (const std::string_view function : {"count(", "sum(", "avg(", "min(", "max("}) {
    if (name.starts_with(function) && name.ends_with(')')) return true;
  }
  return false;
}

Status ReadOutput(const wire::QueryRequest& request, const CollectionSchema& schema, QueryPlan* plan) {
  for (const std::string& name : request.output_fields()) {
    if (IsCount(name)) {
      plan->count = true;
    } else if (IsAggregate(name)) {
      return Error(StatusCode::kUnimplemented, "aggregate {} is not supported yet", name);
    }
  }
  if (plan->count) {
    if (request.output_fields_size() != 1) {
      return InvalidParameter("count(*) cannot be combined with other output fields: invalid parameter");
    }
    if (plan->page) return InvalidParameter("count entities with pagination is not allowed: invalid parameter");
    return Status::Ok();
  }
  QUIVER_ASSIGN_OR_RETURN(plan->output, ResolveOutputFields(request.output_fields(), schema));
  // The key is always told; clients that did not ask for it look for it at the end.
  const FieldSchema& pk = schema.primary();
  if (std::find(plan->output.ids.begin(), plan->output.ids.end(), pk.field_id) == plan->output.ids.end()) {
    plan->output.ids.push_back(pk.field_id);
    plan->output.names.push_back(pk.name);
  }
  return Status::Ok();
}

Status RunQuery(const engine::Engine& engine, ViewLeases& views, ThreadPool* parallel, int64_t max_output_bytes,
                QueryExchange& exchange, const QueryPlan& plan) {
  const wire::QueryRequest& request = exchange.request();
  wire::QueryResults* response = exchange.response();
  const CollectionSchema& schema = *plan.info->schema;
  const auto deadline = std::min(exchange.call().deadline(), std::chrono::steady_clock::now() + kMaxGuaranteeWait);
  QUIVER_ASSIGN_OR_RETURN(
      engine::ReadView view,
      views.Open(engine, {plan.collection, plan.partitions, request.guarantee_timestamp(), plan.travel, plan.iterator},
                 deadline));
  const query::Cancelled cancelled = [&exchange] { return exchange.abandoned(); };
  response->set_collection_name(request.collection_name());
  response->set_session_ts(view.timestamp);
  if (plan.count) {
    QUIVER_ASSIGN_OR_RETURN(const int64_t rows, query::Count(view, plan.filter, cancelled));
    auto* column = response->add_fields_data();
    column->set_type(wire::schema::Int64);
    column->set_field_name(kCount.data(), kCount.size());
    column->mutable_scalars()->mutable_long_data()->add_data(rows);
    response->add_output_fields(kCount.data(), kCount.size());
    return Status::Ok();
  }
  query::QueryRequest read{.view = std::move(view),
                           .filter = plan.filter,
                           .limit = std::nullopt,
                           .offset = 0,
                           .output_fields = plan.output.ids,
                           .cancelled = cancelled};
  if (plan.page) {
    read.limit = static_cast<size_t>(plan.page->limit);
    read.offset = static_cast<size_t>(plan.page->offset);
  }
  QUIVER_ASSIGN_OR_RETURN(const ColumnBatch rows, query::Query(read, parallel));
  if (rows.ByteSize() > static_cast<size_t>(max_output_bytes)) {
    return InvalidParameter("query results exceed the maxOutputSize Limit {}: invalid parameter", max_output_bytes);
  }
  for (size_t i = 0; i < plan.output.ids.size(); ++i) {
    EncodeColumn(rows.columns[i], *schema.FindById(plan.output.ids[i]), response->add_fields_data());
  }
  for (const std::string& name : plan.output.names) response->add_output_fields(name);
  response->set_primary_field_name(schema.primary().name);
  return Status::Ok();
}

}  // namespace

void Handlers::Query(const std::shared_ptr<QueryExchange>& exchange) {
  const wire::QueryRequest& request = exchange->request();
  auto plan = std::make_shared<QueryPlan>();
  const auto prepare = [&]() -> Status {
    QUIVER_ASSIGN_OR_RETURN(plan->collection, Find(request.db_name(), request.collection_name()));
    plan->info = plan->collection->info();
    const CollectionSchema& schema = *plan->info->schema;
    const KeyValues params = DecodeKeyValues(request.query_params());
    QUIVER_ASSIGN_OR_RETURN(plan->travel,
                            ReadTravelTimestamp(request.travel_timestamp(), params, request.expr_template_values()));
    for (const char* key : {"group_by_fields", "order_by_fields"}) {
      if (const std::string* value = FindValue(params, key); value != nullptr && !value->empty()) {
        return Error(StatusCode::kUnimplemented, "{} in query is not supported yet", key);
      }
    }
    QUIVER_RETURN_IF_ERROR(CheckCollectionId(params, plan->info->id));
    plan->iterator = ReadFlag(params, "iterator");
    if (schema.partition_key() != nullptr && request.partition_names_size() > 0) {
      return InvalidParameter(
          "not support manually specifying the partition names if partition key mode is used: invalid parameter");
    }
    plan->partitions.assign(request.partition_names().begin(), request.partition_names().end());
    QUIVER_ASSIGN_OR_RETURN(plan->page, ReadQueryPage(params, {options_.max_topk, options_.max_result_window}));
    QUIVER_RETURN_IF_ERROR(ReadOutput(request, schema, plan.get()));
    const bool blank = request.expr().find_first_not_of(" \t\r\n") == std::string::npos;
    if (blank && !plan->count && !plan->page) {
      return InvalidParameter("empty expression should be used with limit: invalid parameter");
    }
    if (!blank) {
      QUIVER_ASSIGN_OR_RETURN(const expr::TemplateValues templates, DecodeTemplates(request.expr_template_values()));
      auto filter = expr::Filter::Compile(request.expr(), schema, templates);
      if (!filter.ok()) return filter.status().WithContext("failed to create query plan");
      plan->filter = *std::move(filter);
    }
    return Status::Ok();
  };
  if (const Status status = prepare(); !status.ok()) return exchange->Finish(status);

  const auto run = [this, exchange, plan](ThreadPool* parallel) {
    exchange->Finish(RunQuery(engine_, views_, parallel, options_.max_output_bytes, *exchange, *plan));
  };
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  if (TimestampMs(request.guarantee_timestamp()) > now.count()) {
    if (control_.Submit([run, this] { run(&compute_); })) return;
    return exchange->Finish(Error(StatusCode::kRateLimit, "too many requests are waiting: rate limit exceeded"));
  }
  if (plan->collection->live_rows(-1) <= kInlineRows) return run(nullptr);
  OnCompute(exchange, [run, this] { run(&compute_); });
}

void Handlers::AddQueryMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Async("Query", Lane::kData, self, &Handlers::Query));
}

}  // namespace quiver::api
