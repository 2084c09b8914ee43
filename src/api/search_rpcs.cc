// Vector search.

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/field_data_codec.h"
#include "api/handlers.h"
#include "api/output_fields.h"
#include "api/placeholder_codec.h"
#include "api/read_options.h"
#include "api/schema_codec.h"
#include "api/template_codec.h"
#include "api/travel_timestamp.h"
#include "base/hybrid_clock.h"
#include "expr/filter.h"
#include "query/search.h"
#include "schema.pb.h"
#include "schema/index_params.h"
#include "search.pb.h"

namespace quiver::api {
namespace {

using SearchExchange = Exchange<wire::SearchRequest, wire::SearchResults>;

/// A scan of at most this many bytes is done where the request was decoded: a hand-over costs about as much.
constexpr uint64_t kInlineScanBytes = 256 << 10;
/// How long a read may wait for a guarantee timestamp where the client sets no deadline.
constexpr auto kMaxGuaranteeWait = std::chrono::seconds(30);

/// Everything about one search that its request decides.
struct SearchPlan {
  uint64_t travel = 0;  ///< the moment to read at; 0 = now
  std::shared_ptr<engine::Collection> collection;
  std::shared_ptr<const engine::CollectionInfo> info;
  const FieldSchema* field = nullptr;  ///< of info
  QueryVectors queries;
  query::SearchRequest request;  ///< view and queries are filled when it runs
  std::vector<std::string> partitions;
  OutputFields output;
  int64_t limit = 0;
  int round_decimal = -1;
  // Iterators.
  bool iterator = false;     ///< either version: the reply tells its timestamp
  bool iterator_v2 = false;  ///< pages continue where the last one ended
  std::string token;
  std::optional<SearchPosition> position;
};

Result<const FieldSchema*> FindVectorField(const CollectionSchema& schema, const KeyValues& params) {
  const std::string* name = FindValue(params, "anns_field");
  if (name == nullptr || name->empty()) {
    const auto vectors = schema.vector_fields();
    if (vectors.size() != 1) {
      return InvalidParameter(
          "multiple anns_fields exist, please specify a anns_field in search_params: invalid parameter");
    }
    return vectors.front();
  }
  const FieldSchema* field = schema.Find(*name);
  if (field == nullptr) {
    return InvalidParameter("failed to get field schema by name: fieldName({}) not found: invalid parameter", *name);
  }
  if (!IsVector(field->type)) {
    return InvalidParameter("field ({}) to search is not of vector data type: invalid parameter", *name);
  }
  return field;
}

/// The index that a search on `field` uses; without one, exact search by the metric that the request names.
Result<IndexSpec> IndexOf(const engine::CollectionInfo& info, const FieldSchema& field, const KeyValues& params) {
  if (const engine::IndexInfo* index = info.FindIndexOnField(field.field_id); index != nullptr) {
    IndexSpec spec;
    spec.index_type = index->index_type;
    spec.metric = ParseMetricType(index->metric_type);
    QUIVER_ASSIGN_OR_RETURN(spec.params, FlattenParams(index->params));
    return spec;
  }
  IndexSpec spec;
  spec.index_type = "AUTOINDEX";
  spec.metric = DefaultMetric(field.type);
  if (const std::string* metric = FindValue(params, "metric_type"); metric != nullptr && !metric->empty()) {
    QUIVER_RETURN_IF_ERROR(CheckMetric(field.type, *metric));
    spec.metric = ParseMetricType(*metric);
  }
  return spec;
}

/// Refuses what is published and not served, rather than answering something else.
Status CheckServed(const wire::SearchRequest& request, const KeyValues& params) {
  const char* what = nullptr;
  if (request.sub_reqs_size() > 0) what = "sub-requests";
  if (request.has_function_score()) what = "rerank functions";
  if (request.function_chains_size() > 0) what = "function chains";
  if (request.has_highlighter()) what = "highlighter";
  if (request.has_search_aggregation()) what = "search aggregation";
  for (const char* key : {"group_by_field", "group_by_fields", "order_by_fields"}) {
    if (const std::string* value = FindValue(params, key); value != nullptr && !value->empty()) what = key;
  }
  if (what == nullptr) return Status::Ok();
  return Error(StatusCode::kUnimplemented, "{} in search is not supported yet", what);
}

Status ReadIterator(const KeyValues& params, SearchLeases& leases, SearchPlan* plan) {
  plan->iterator = ReadFlag(params, "iterator");
  plan->iterator_v2 = plan->iterator && ReadFlag(params, "search_iter_v2");
  QUIVER_RETURN_IF_ERROR(CheckCollectionId(params, plan->info->id));
  if (!plan->iterator_v2) return Status::Ok();
  if (plan->request.offset != 0) {
    return InvalidParameter("Setting an offset is not permitted when using a search iterator v2: invalid parameter");
  }
  if (plan->queries.size() != 1) {
    return InvalidParameter("search iterator v2 takes one query vector, got {}: invalid parameter",
                            plan->queries.size());
  }
  if (const std::string* text = FindValue(params, "search_iter_batch_size"); text != nullptr) {
    const auto batch = ParseInt(*text);
    if (!batch || *batch < 1) {
      return InvalidParameter("search_iter_batch_size [{}] is invalid: invalid parameter", *text);
    }
    plan->limit = std::min(plan->limit, *batch);
  }
  if (const std::string* token = FindValue(params, "search_iter_id"); token != nullptr) plan->token = *token;
  if (const std::string* text = FindValue(params, "search_iter_last_bound"); text != nullptr && !text->empty()) {
    float bound = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), bound);
    if (error != std::errc() || end != text->data() + text->size()) {
      return InvalidParameter("failed to parse input last bound: {}: invalid parameter", *text);
    }
    // Rows at the bound itself belong to both pages; the lease tells which of them were given.
    const bool similarity = IsSimilarity(plan->request.metric);
    auto position = leases.Find(plan->token);
    if (position && position->score == bound) {
      plan->position = std::move(position);
    } else {
      bound = std::nextafter(
          bound, similarity ? -std::numeric_limits<float>::infinity() : std::numeric_limits<float>::infinity());
    }
    auto& border = plan->request.range_filter;
    if (!border || (similarity ? bound < *border : bound > *border)) border = bound;
  }
  return Status::Ok();
}

/// Takes out the rows that the pages before already gave, and what is too many at the end.
void TrimPage(const SearchPlan& plan, query::SearchResult* result) {
  std::vector<uint32_t> kept;
  for (size_t row = 0; row < result->scores.size() && kept.size() < static_cast<size_t>(plan.limit); ++row) {
    const bool given = plan.position && result->scores[row] == plan.position->score &&
                       plan.position->keys.contains(std::string(result->primary_keys.Bytes(row)));
    if (!given) kept.push_back(static_cast<uint32_t>(row));
  }
  if (kept.size() == result->scores.size()) return;
  const auto keep = [&kept](Column* column) {
    Column out;
    out.field_id = column->field_id;
    out.type = column->type;
    out.element_type = column->element_type;
    out.width = column->width;
    out.AppendRows(*column, kept);
    *column = std::move(out);
  };
  keep(&result->primary_keys);
  for (Column& column : result->output.columns) keep(&column);
  result->output.rows = kept.size();
  std::vector<float> scores;
  scores.reserve(kept.size());
  for (const uint32_t row : kept) scores.push_back(result->scores[row]);
  result->scores = std::move(scores);
  result->hits_per_query[0] = static_cast<int64_t>(kept.size());
}

/// Where the page `result`, which is not empty, ends.
SearchPosition PositionAfter(const SearchPlan& plan, const query::SearchResult& result) {
  SearchPosition position;
  position.score = result.scores.back();
  if (plan.position && plan.position->score == position.score) position.keys = plan.position->keys;
  for (size_t row = result.scores.size(); row-- > 0 && result.scores[row] == position.score;) {
    position.keys.emplace(result.primary_keys.Bytes(row));
  }
  return position;
}

void EncodeResults(const SearchPlan& plan, const query::SearchResult& result, wire::schema::SearchResultData* out) {
  const CollectionSchema& schema = *plan.info->schema;
  out->set_num_queries(static_cast<int64_t>(result.hits_per_query.size()));
  out->set_top_k(plan.limit);
  for (const int64_t hits : result.hits_per_query) out->add_topks(hits);
  EncodeIds(result.primary_keys, out->mutable_ids());
  auto* scores = out->mutable_scores();
  scores->Reserve(static_cast<int>(result.scores.size()));
  const double scale = plan.round_decimal < 0 ? 0 : std::pow(10, plan.round_decimal);
  for (const float score : result.scores) {
    scores->AddAlreadyReserved(plan.round_decimal < 0 ? score : static_cast<float>(std::round(score * scale) / scale));
  }
  for (size_t i = 0; i < plan.output.ids.size(); ++i) {
    EncodeColumn(result.output.columns[i], *schema.FindById(plan.output.ids[i]), out->add_fields_data());
  }
  for (const std::string& name : plan.output.names) out->add_output_fields(name);
  out->set_primary_field_name(schema.primary().name);
}

/// Fetches the vectors of the rows that a search names instead of giving vectors.
Result<QueryVectors> VectorsOfKeys(const wire::schema::IDs& ids, const FieldSchema& field,
                                   const CollectionSchema& schema, const engine::ReadView& view,
                                   const query::Cancelled& cancelled) {
  const FieldSchema& pk = schema.primary();
  expr::TemplateValues keys;
  const bool ints = pk.type == DataType::kInt64;
  if (ints != ids.has_int_id()) return InvalidParameter("ids must be of the primary key's type: invalid parameter");
  const auto count = static_cast<size_t>(ints ? ids.int_id().data_size() : ids.str_id().data_size());
  if (ints) {
    keys.emplace("keys", expr::Literal{expr::Literal::Ints(ids.int_id().data().begin(), ids.int_id().data().end())});
  } else {
    keys.emplace("keys", expr::Literal{expr::Literal::Strings(ids.str_id().data().begin(), ids.str_id().data().end())});
  }
  QUIVER_ASSIGN_OR_RETURN(const auto filter, expr::Filter::Compile(pk.name + " in {keys}", schema, keys));
  QUIVER_ASSIGN_OR_RETURN(const ColumnBatch rows, query::Query({.view = view,
                                                                .filter = filter,
                                                                .limit = std::nullopt,
                                                                .offset = 0,
                                                                .order = {},
                                                                .output_fields = {pk.field_id, field.field_id},
                                                                .cancelled = cancelled},
                                                               nullptr));
  std::unordered_map<std::string_view, size_t> row_of;
  for (size_t row = 0; row < rows.rows; ++row) row_of.emplace(rows.columns[0].Bytes(row), row);
  QueryVectors vectors;
  for (size_t i = 0; i < count; ++i) {
    const int at = static_cast<int>(i);
    const int64_t number = ints ? ids.int_id().data(at) : 0;
    const std::string_view key = ints ? std::string_view(reinterpret_cast<const char*>(&number), sizeof(number))
                                      : std::string_view(ids.str_id().data(at));
    const auto found = row_of.find(key);
    if (found == row_of.end() || rows.columns[1].IsNull(found->second)) {
      return InvalidParameter("no vector of primary key {} in field {}: invalid parameter",
                              ints ? std::to_string(number) : std::string(key), field.name);
    }
    vectors.Append(rows.columns[1].Bytes(found->second));
  }
  return vectors;
}

Status RunSearch(const engine::Engine& engine, SearchLeases& leases, ViewLeases& views, ThreadPool* parallel,
                 SearchExchange& exchange, SearchPlan* plan) {
  const wire::SearchRequest& request = exchange.request();
  const auto deadline = std::min(exchange.call().deadline(), std::chrono::steady_clock::now() + kMaxGuaranteeWait);
  QUIVER_ASSIGN_OR_RETURN(plan->request.view, views.Open(engine,
                                                         {plan->collection, plan->partitions,
                                                          request.guarantee_timestamp(), plan->travel, plan->iterator},
                                                         deadline));
  plan->request.cancelled = [&exchange] { return exchange.abandoned(); };
  if (request.has_ids()) {
    QUIVER_ASSIGN_OR_RETURN(plan->queries, VectorsOfKeys(request.ids(), *plan->field, *plan->info->schema,
                                                         plan->request.view, plan->request.cancelled));
  }
  plan->request.queries = plan->queries.views();
  plan->request.limit = static_cast<size_t>(plan->limit) + (plan->position ? plan->position->keys.size() : 0);
  QUIVER_ASSIGN_OR_RETURN(query::SearchResult result, query::Search(plan->request, parallel));

  wire::SearchResults* response = exchange.response();
  if (plan->iterator_v2) {
    TrimPage(*plan, &result);
    auto* state = response->mutable_results()->mutable_search_iterator_v2_results();
    if (plan->token.empty()) plan->token = leases.Open();
    state->set_token(plan->token);
    if (result.scores.empty()) {
      constexpr float kLargest = std::numeric_limits<float>::max();
      state->set_last_bound(IsSimilarity(plan->request.metric) ? -kLargest : kLargest);
    } else {
      SearchPosition position = PositionAfter(*plan, result);
      state->set_last_bound(position.score);
      leases.Set(plan->token, std::move(position));
    }
  }
  EncodeResults(*plan, result, response->mutable_results());
  response->set_collection_name(request.collection_name());
  if (plan->iterator) response->set_session_ts(plan->request.view.timestamp);
  return Status::Ok();
}

}  // namespace

void Handlers::Search(const std::shared_ptr<SearchExchange>& exchange) {
  const wire::SearchRequest& request = exchange->request();
  auto plan = std::make_shared<SearchPlan>();
  const auto prepare = [&]() -> Status {
    QUIVER_ASSIGN_OR_RETURN(plan->collection, Find(request.db_name(), request.collection_name()));
    plan->info = plan->collection->info();
    const CollectionSchema& schema = *plan->info->schema;
    QUIVER_ASSIGN_OR_RETURN(const KeyValues params, FlattenParams(DecodeKeyValues(request.search_params())));
    QUIVER_RETURN_IF_ERROR(CheckServed(request, params));
    QUIVER_ASSIGN_OR_RETURN(plan->travel,
                            ReadTravelTimestamp(request.travel_timestamp(), params, request.expr_template_values()));
    if (schema.partition_key() != nullptr && request.partition_names_size() > 0) {
      return InvalidParameter(
          "not support manually specifying the partition names if partition key mode is used: invalid parameter");
    }
    plan->partitions.assign(request.partition_names().begin(), request.partition_names().end());
    QUIVER_ASSIGN_OR_RETURN(plan->field, FindVectorField(schema, params));
    QUIVER_ASSIGN_OR_RETURN(const Page page, ReadSearchPage(params, {options_.max_topk, options_.max_result_window}));
    plan->limit = page.limit;
    plan->request.offset = static_cast<size_t>(page.offset);
    plan->request.field_id = plan->field->field_id;
    QUIVER_ASSIGN_OR_RETURN(const IndexSpec index, IndexOf(*plan->info, *plan->field, params));
    QUIVER_ASSIGN_OR_RETURN(const SearchSpec spec, ParseSearchParams(index, params, page.limit));
    plan->request.metric = spec.metric;
    plan->request.radius = spec.radius;
    plan->request.range_filter = spec.range_filter;
    plan->round_decimal = static_cast<int>(spec.round_decimal);

    if (!request.has_ids()) {
      QUIVER_ASSIGN_OR_RETURN(plan->queries, DecodeQueryVectors(request.placeholder_group(), *plan->field));
    }
    const auto queries = request.has_ids() ? request.ids().int_id().data_size() + request.ids().str_id().data_size()
                                           : static_cast<int64_t>(plan->queries.size());
    if (queries < 1 || queries > options_.max_queries) {
      return InvalidParameter(
          "nq [{}] is invalid, nq (number of search vector per search request) should be in range [1, {}], but got {}: "
          "invalid parameter",
          queries, options_.max_queries, queries);
    }
    QUIVER_RETURN_IF_ERROR(ReadIterator(params, leases_, plan.get()));
    QUIVER_ASSIGN_OR_RETURN(plan->output, ResolveOutputFields(request.output_fields(), schema));
    plan->request.output_fields = plan->output.ids;
    if (!request.dsl().empty()) {
      QUIVER_ASSIGN_OR_RETURN(const expr::TemplateValues templates, DecodeTemplates(request.expr_template_values()));
      auto filter = expr::Filter::Compile(request.dsl(), schema, templates);
      if (!filter.ok()) return filter.status().WithContext("failed to create query plan");
      plan->request.filter = *std::move(filter);
    }
    return Status::Ok();
  };
  if (const Status status = prepare(); !status.ok()) return exchange->Finish(status);

  const auto run = [this, exchange, plan](ThreadPool* parallel) {
    exchange->Finish(RunSearch(engine_, leases_, views_, parallel, *exchange, plan.get()));
  };
  const auto rows = static_cast<uint64_t>(std::max<int64_t>(plan->collection->live_rows(-1), 0));
  const uint64_t row_bytes = std::max<uint64_t>(FixedWidth(plan->field->type, plan->field->dim), 256);
  const uint64_t scan_bytes = rows * row_bytes * std::max<uint64_t>(plan->queries.size(), 1);
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  const bool must_wait = TimestampMs(request.guarantee_timestamp()) > now.count();
  if (must_wait) {
    if (control_.Submit([run, this] { run(&compute_); })) return;
    return exchange->Finish(Error(StatusCode::kRateLimit, "too many requests are waiting: rate limit exceeded"));
  }
  if (scan_bytes <= kInlineScanBytes) return run(nullptr);
  OnCompute(exchange, [run, this] { run(&compute_); });
}

void Handlers::AddSearchMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Async("Search", Lane::kData, self, &Handlers::Search));
}

}  // namespace quiver::api
