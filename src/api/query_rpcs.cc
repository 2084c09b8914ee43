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

#include "api/explain.h"
#include "api/field_data_codec.h"
#include "api/handlers.h"
#include "api/output_fields.h"
#include "api/read_options.h"
#include "api/schema_codec.h"
#include "api/template_codec.h"
#include "api/travel_timestamp.h"
#include "base/hybrid_clock.h"
#include "expr/filter.h"
#include "query/aggregate.h"
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
  TimeZone zone;  ///< in which moments are read and shown
  std::optional<Page> page;
  std::vector<query::OrderKey> order;
  // Aggregates.
  bool aggregating = false;
  std::vector<int64_t> group_by;
  std::vector<query::Aggregate> aggregates;
  struct OutputColumn {
    std::string name;
    size_t source;  ///< of the group columns followed by the aggregates
  };
  std::vector<OutputColumn> columns;
  std::unique_ptr<query::Explanation> explanation;  ///< nullptr: not asked for
};

std::string_view TrimSpaces(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

/// An output field of the form function(argument), such as sum(price).
struct AggregateName {
  query::AggregateKind kind;
  std::string_view argument;
};

std::optional<AggregateName> ParseAggregate(std::string_view name) {
  name = TrimSpaces(name);
  const size_t open = name.find('(');
  if (open == std::string_view::npos || !name.ends_with(')')) return std::nullopt;
  std::string function(TrimSpaces(name.substr(0, open)));
  for (char& c : function) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  const std::string_view argument = TrimSpaces(name.substr(open + 1, name.size() - open - 2));
  constexpr std::pair<std::string_view, query::AggregateKind> kFunctions[] = {{"count", query::AggregateKind::kCount},
                                                                              {"sum", query::AggregateKind::kSum},
                                                                              {"avg", query::AggregateKind::kAvg},
                                                                              {"min", query::AggregateKind::kMin},
                                                                              {"max", query::AggregateKind::kMax}};
  for (const auto& [known, kind] : kFunctions) {
    if (function == known) return AggregateName{kind, argument};
  }
  return std::nullopt;
}

/// Reads group_by_fields: names separated by commas.
Status ReadGroupBy(const KeyValues& params, const CollectionSchema& schema, QueryPlan* plan) {
  const std::string* text = FindValue(params, "group_by_fields");
  if (text == nullptr || TrimSpaces(*text).empty()) return Status::Ok();
  for (const std::string_view part : SplitList(*text)) {
    const FieldSchema* field = schema.Find(part);
    if (field == nullptr) return InvalidParameter("field {} not exist: invalid parameter", part);
    if (!query::CanGroupBy(field->type)) {
      return InvalidParameter("group by field {} has unsupported data type {}: invalid parameter", part,
                              DataTypeName(field->type));
    }
    if (std::find(plan->group_by.begin(), plan->group_by.end(), field->field_id) == plan->group_by.end()) {
      plan->group_by.push_back(field->field_id);
    }
  }
  plan->aggregating = true;
  return Status::Ok();
}

/// Reads output fields of which some are aggregates; the others must be group keys.
Status ReadAggregates(const wire::QueryRequest& request, const CollectionSchema& schema, QueryPlan* plan) {
  for (const std::string& name : request.output_fields()) {
    const std::string_view trimmed = TrimSpaces(name);
    const auto aggregate = ParseAggregate(trimmed);
    if (!aggregate) {
      const FieldSchema* field = schema.Find(trimmed);
      if (field == nullptr) return InvalidParameter("field {} not exist: invalid parameter", trimmed);
      const auto key = std::find(plan->group_by.begin(), plan->group_by.end(), field->field_id);
      if (key == plan->group_by.end()) {
        return InvalidParameter("output field {} must be an aggregate or one of group_by_fields: invalid parameter",
                                trimmed);
      }
      plan->columns.push_back({std::string(trimmed), static_cast<size_t>(key - plan->group_by.begin())});
      continue;
    }
    query::Aggregate spec{.kind = aggregate->kind};
    std::string shown(trimmed);
    if (aggregate->argument == "*" && aggregate->kind == query::AggregateKind::kCount) {
      shown = kCount;
    } else {
      const FieldSchema* field = schema.Find(aggregate->argument);
      if (field == nullptr) return InvalidParameter("field {} not exist: invalid parameter", aggregate->argument);
      if (query::AggregateType(aggregate->kind, field->type) == DataType::kNone) {
        return InvalidParameter("aggregate {} does not support data type {}: invalid parameter", trimmed,
                                DataTypeName(field->type));
      }
      spec.field_id = field->field_id;
    }
    plan->columns.push_back({std::move(shown), plan->group_by.size() + plan->aggregates.size()});
    plan->aggregates.push_back(spec);
  }
  if (plan->columns.empty()) {
    return InvalidParameter("output fields must not be empty with group_by_fields: invalid parameter");
  }
  if (plan->page && plan->group_by.empty()) {
    return InvalidParameter("count entities with pagination is not allowed: invalid parameter");
  }
  return Status::Ok();
}

Status ReadOutput(const wire::QueryRequest& request, const CollectionSchema& schema, QueryPlan* plan) {
  for (const std::string& name : request.output_fields()) {
    if (ParseAggregate(name)) plan->aggregating = true;
  }
  if (plan->aggregating) return ReadAggregates(request, schema, plan);
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
  query::Explanation* const explanation = plan.explanation.get();
  query::Step opening(explanation, "open view");
  QUIVER_ASSIGN_OR_RETURN(
      engine::ReadView view,
      views.Open(engine, {plan.collection, plan.partitions, request.guarantee_timestamp(), plan.travel, plan.iterator},
                 deadline));
  opening.End();
  const query::Cancelled cancelled = [&exchange] { return exchange.abandoned(); };
  response->set_collection_name(request.collection_name());
  response->set_session_ts(view.timestamp);
  if (plan.aggregating) {
    query::AggregateRequest read{.view = std::move(view),
                                 .filter = plan.filter,
                                 .group_by = plan.group_by,
                                 .aggregates = plan.aggregates,
                                 .limit = std::nullopt,
                                 .offset = 0,
                                 .cancelled = cancelled,
                                 .explanation = explanation};
    if (plan.page) {
      read.limit = static_cast<size_t>(plan.page->limit);
      read.offset = static_cast<size_t>(plan.page->offset);
    }
    QUIVER_ASSIGN_OR_RETURN(const ColumnBatch rows, query::RunAggregates(read));
    if (explanation != nullptr) EncodeExplanation(*explanation, exchange.call().arrival(), response->mutable_status());
    for (const QueryPlan::OutputColumn& column : plan.columns) {
      const Column& values = rows.columns[column.source];
      FieldSchema shown;
      shown.name = column.name;
      shown.type = values.type;
      shown.nullable = !values.valid.empty();
      EncodeColumn(values, shown, response->add_fields_data(), plan.zone);
      response->add_output_fields(column.name);
    }
    return Status::Ok();
  }
  query::QueryRequest read{.view = std::move(view),
                           .filter = plan.filter,
                           .limit = std::nullopt,
                           .offset = 0,
                           .order = plan.order,
                           .output_fields = plan.output.ids,
                           .cancelled = cancelled,
                           .explanation = explanation};
  if (plan.page) {
    read.limit = static_cast<size_t>(plan.page->limit);
    read.offset = static_cast<size_t>(plan.page->offset);
  }
  QUIVER_ASSIGN_OR_RETURN(const ColumnBatch rows, query::Query(read, parallel));
  if (rows.ByteSize() > static_cast<size_t>(max_output_bytes)) {
    return InvalidParameter("query results exceed the maxOutputSize Limit {}: invalid parameter", max_output_bytes);
  }
  EncodeColumns(rows.columns, plan.output.ids, schema, plan.zone, response->mutable_fields_data());
  for (const std::string& name : plan.output.names) response->add_output_fields(name);
  response->set_primary_field_name(schema.primary().name);
  if (explanation != nullptr) EncodeExplanation(*explanation, exchange.call().arrival(), response->mutable_status());
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
    QUIVER_RETURN_IF_ERROR(CheckCollectionId(params, plan->info->id));
    QUIVER_ASSIGN_OR_RETURN(plan->zone, ReadTimeZone(plan->info->properties, params));
    plan->iterator = ReadFlag(params, "iterator");
    plan->explanation = ReadExplain(params, request.expr_template_values());
    if (schema.partition_key() != nullptr && request.partition_names_size() > 0) {
      return InvalidParameter(
          "not support manually specifying the partition names if partition key mode is used: invalid parameter");
    }
    plan->partitions.assign(request.partition_names().begin(), request.partition_names().end());
    QUIVER_ASSIGN_OR_RETURN(plan->page, ReadQueryPage(params, PageLimitsOf(*plan->info)));
    QUIVER_RETURN_IF_ERROR(ReadGroupBy(params, schema, plan.get()));
    QUIVER_RETURN_IF_ERROR(ReadOutput(request, schema, plan.get()));
    QUIVER_ASSIGN_OR_RETURN(plan->order, ReadOrderBy(params, schema));
    if (!plan->order.empty()) {
      if (plan->aggregating) {
        return Error(StatusCode::kUnimplemented, "order_by_fields with aggregates in query is not supported yet");
      }
      if (ReadFlag(params, "iterator")) {
        return InvalidParameter("ORDER BY is not allowed when doing iteration: invalid parameter");
      }
      if (!plan->page) return InvalidParameter("ORDER BY requires explicit limit: invalid parameter");
    }
    const bool blank = request.expr().find_first_not_of(" \t\r\n") == std::string::npos;
    if (blank && !plan->aggregating && !plan->page) {
      return InvalidParameter("empty expression should be used with limit: invalid parameter");
    }
    if (!blank) {
      QUIVER_ASSIGN_OR_RETURN(const expr::TemplateValues templates, DecodeTemplates(request.expr_template_values()));
      const query::Step parsing(plan->explanation.get(), "parse");
      auto filter = filters_.Compile(request.expr(), plan->info->schema, templates, plan->zone,
                                     IsUtc(plan->info->properties, params));
      if (!filter.ok()) return filter.status().WithContext("failed to create query plan");
      plan->filter = *std::move(filter);
    }
    return Status::Ok();
  };
  if (const Status status = prepare(); !status.ok()) return exchange->Finish(status);

  const auto run = [this, exchange, plan](ThreadPool* parallel) {
    exchange->Finish(RunQuery(engine_, views_, parallel, options_.max_output_bytes, *exchange, *plan));
    if (plan->iterator) keeper_.Watch();
  };
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  if (TimestampMs(request.guarantee_timestamp()) > now.count()) {
    if (control_.Submit([run, this] { run(&bulk_); })) return;
    return exchange->Finish(Error(StatusCode::kRateLimit, "too many requests are waiting: rate limit exceeded"));
  }
  if (plan->collection->live_rows(-1) <= kInlineRows) return run(nullptr);
  OnCompute(exchange, FilterBytes(*plan->collection, plan->filter.get()), run);
}

void Handlers::AddQueryMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Async("Query", Lane::kData, self, &Handlers::Query));
}

}  // namespace quiver::api
