// Vector search.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "api/explain.h"
#include "api/field_data_codec.h"
#include "api/handlers.h"
#include "api/output_fields.h"
#include "api/placeholder_codec.h"
#include "api/read_options.h"
#include "api/schema_codec.h"
#include "api/search_plan.h"
#include "api/template_codec.h"
#include "api/travel_timestamp.h"
#include "base/hybrid_clock.h"
#include "expr/filter.h"
#include "query/search.h"
#include "query/search_cursor.h"
#include "schema.pb.h"
#include "schema/index_params.h"
#include "search.pb.h"

namespace quiver::api {
namespace {

using SearchExchange = Exchange<wire::SearchRequest, wire::SearchResults>;

/// A scan of at most this many bytes is done where the request was decoded: a hand-over costs about as much.
constexpr uint64_t kInlineScanBytes = 256 << 10;
/// Where queries read so much that others could read along, they are put together with those that wait.
constexpr uint64_t kSharedScanBytes = 1 << 20;
/// How long a read may wait for a guarantee timestamp where the client sets no deadline.
constexpr auto kMaxGuaranteeWait = std::chrono::seconds(30);

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

/// Where the page `result`, which is not empty, ends.
SearchPosition PositionAfter(const SearchPlan& plan, const query::SearchResult& result) {
  SearchPosition position;
  position.score = result.scores.back();
  if (plan.position && plan.position->score == position.score) position.keys = plan.position->keys;
  for (size_t end = result.scores.size(); end > 0 && result.scores[end - 1] == position.score; --end) {
    position.keys.emplace(result.primary_keys.Bytes(end - 1));
  }
  return position;
}

/// What an iterator asks for, but for where it stands.
std::string OriginOf(const SearchPlan& plan, const wire::SearchRequest& request) {
  std::string origin = fmt::format("{}/{}/{}/{}", plan.info->id, plan.request.view.timestamp, plan.request.field_id,
                                   static_cast<int>(plan.request.metric));
  if (plan.request.radius) origin += fmt::format("/{}", *plan.request.radius);
  for (const std::string& partition : plan.partitions) origin += '/' + partition;
  for (const int64_t field : plan.output.ids) origin += fmt::format("/{}", field);
  origin += '\n' + request.dsl();
  std::map<std::string, std::string> values;
  for (const auto& [name, value] : request.expr_template_values()) values[name] = value.SerializeAsString();
  for (const auto& [name, value] : values) origin.append("\n").append(name).append("=").append(value);
  for (const std::string_view query : plan.request.queries) origin += '\n' + std::string(query);
  return origin;
}

/// The next page of an iterator: its cursor goes on, or a new one begins where the last page ended.
Result<query::SearchResult> NextPage(const std::string& origin, const query::Cancelled& cancelled, ThreadPool* parallel,
                                     SearchPlan* plan, std::unique_ptr<query::SearchCursor>* cursor) {
  if (plan->position && plan->position->origin == origin) *cursor = std::move(plan->position->cursor);
  if (*cursor != nullptr && plan->explanation != nullptr) (*cursor)->ExplainTo(plan->explanation.get());
  for (;;) {
    if (*cursor == nullptr) {
      auto given = plan->position ? plan->position->keys : std::unordered_set<std::string>();
      QUIVER_ASSIGN_OR_RETURN(*cursor, query::SearchCursor::Open(plan->request, std::move(given), parallel));
    }
    QUIVER_ASSIGN_OR_RETURN(std::optional<query::SearchResult> page,
                            (*cursor)->Next(static_cast<size_t>(plan->limit), cancelled, parallel));
    if (page) return *std::move(page);
    // Something is damaged; what is left does without it.
    cursor->reset();
  }
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
  const bool lists = field.type == DataType::kArrayOfVector;
  for (size_t i = 0; i < count; ++i) {
    const int at = static_cast<int>(i);
    const int64_t number = ints ? ids.int_id().data(at) : 0;
    const std::string_view key = ints ? std::string_view(reinterpret_cast<const char*>(&number), sizeof(number))
                                      : std::string_view(ids.str_id().data(at));
    const auto found = row_of.find(key);
    const std::string_view value = found == row_of.end() ? std::string_view() : rows.columns[1].Bytes(found->second);
    const bool none = found == row_of.end() || rows.columns[1].IsNull(found->second);
    const std::string_view vector = lists ? ArrayReader(value, field.element_type, field.dim).elements() : value;
    if (none || (lists && vector.empty())) {
      return InvalidParameter("no vector of primary key {} in field {}: invalid parameter",
                              ints ? std::to_string(number) : std::string(key), field.name);
    }
    vectors.Append(vector);
  }
  return vectors;
}

Status RunSearch(const engine::Engine& engine, SearchLeases& leases, ViewLeases& views, ResultCache& results,
                 ThreadPool* parallel, SearchExchange& exchange, SearchPlan* plan) {
  const wire::SearchRequest& request = exchange.request();
  const auto deadline = std::min(exchange.call().deadline(), std::chrono::steady_clock::now() + kMaxGuaranteeWait);
  query::Step opening(plan->explanation.get(), "open view");
  QUIVER_ASSIGN_OR_RETURN(plan->request.view, views.Open(engine,
                                                         {plan->collection, plan->partitions,
                                                          request.guarantee_timestamp(), plan->travel, plan->iterator},
                                                         deadline));
  opening.End();
  const std::string cached_as =
      plan->keep_result && plan->explanation == nullptr ? ResultCache::NameOf(request) : std::string();
  if (results.Answered(cached_as, plan->request.view, exchange.response())) return Status::Ok();
  plan->request.cancelled = [&exchange] { return exchange.abandoned(); };
  if (request.has_ids()) {
    QUIVER_ASSIGN_OR_RETURN(plan->queries, VectorsOfKeys(request.ids(), *plan->field, *plan->info->schema,
                                                         plan->request.view, plan->request.cancelled));
  }
  plan->request.queries = plan->queries.views();
  plan->request.limit = static_cast<size_t>(plan->limit);
  plan->request.explanation = plan->explanation.get();
  wire::SearchResults* response = exchange.response();
  query::SearchResult result;
  if (plan->iterator_v2) {
    const std::string origin = OriginOf(*plan, request);
    std::unique_ptr<query::SearchCursor> cursor;
    QUIVER_ASSIGN_OR_RETURN(result, NextPage(origin, plan->request.cancelled, parallel, plan, &cursor));
    auto* state = response->mutable_results()->mutable_search_iterator_v2_results();
    if (plan->token.empty()) plan->token = leases.Open();
    state->set_token(plan->token);
    if (result.scores.empty()) {
      constexpr float kLargest = std::numeric_limits<float>::max();
      state->set_last_bound(IsSimilarity(plan->request.metric) ? -kLargest : kLargest);
    } else {
      SearchPosition position = PositionAfter(*plan, result);
      state->set_last_bound(position.score);
      position.origin = origin;
      // After a short page there is nothing left to go on with.
      if (result.scores.size() == static_cast<size_t>(plan->limit)) position.cursor = std::move(cursor);
      leases.Set(plan->token, std::move(position));
    }
  } else {
    QUIVER_ASSIGN_OR_RETURN(result, query::Search(plan->request, parallel));
  }
  EncodeResults(result, *plan->info, plan->output, plan->limit, plan->round_decimal,
                plan->request.group ? &*plan->request.group : nullptr, plan->zone, response->mutable_results());
  response->set_collection_name(request.collection_name());
  if (plan->iterator) response->set_session_ts(plan->request.view.timestamp);
  results.Keep(cached_as, plan->request.view, *response);
  if (plan->explanation != nullptr) {
    EncodeExplanation(*plan->explanation, exchange.call().arrival(), response->mutable_status());
  }
  return Status::Ok();
}

/// Whether a search may be run along with others that differ in nothing but their vectors.
bool MayShare(const SearchPlan& plan, const wire::SearchRequest& request, const SearchCost& cost) {
  return cost.scanned >= kSharedScanBytes && plan.queries.size() <= SharedScans::kMostVectors && !request.has_ids() &&
         !plan.iterator && plan.travel == 0 && !plan.request.group && plan.explanation == nullptr && !plan.keep_result;
}

/// What searches that may be run together have in common, as bytes.
std::string SharedNameOf(const WaitingSearch& search) {
  wire::SearchRequest plain = search.exchange->request();
  plain.clear_placeholder_group();
  plain.clear_nq();
  // A plan holds for one state of schema, indexes and settings.
  return ResultCache::NameOf(plain) + fmt::format("{}", fmt::ptr(search.plan->info.get()));
}

/// Runs searches of one name as one.
Status RunTogether(const engine::Engine& engine, ViewLeases& views, ThreadPool* parallel,
                   std::span<const WaitingSearch> searches) {
  SearchPlan& plan = *searches.front().plan;
  auto deadline = std::chrono::steady_clock::time_point::min();
  uint64_t guarantee = 0;
  std::vector<size_t> counts;
  std::vector<std::string_view> queries;
  for (const WaitingSearch& search : searches) {
    deadline = std::max(deadline, search.exchange->call().deadline());
    guarantee = std::max(guarantee, search.exchange->request().guarantee_timestamp());
    counts.push_back(search.plan->queries.size());
    for (size_t i = 0; i < counts.back(); ++i) queries.push_back(search.plan->queries[i]);
  }
  deadline = std::min(deadline, std::chrono::steady_clock::now() + kMaxGuaranteeWait);
  QUIVER_ASSIGN_OR_RETURN(plan.request.view,
                          views.Open(engine, {plan.collection, plan.partitions, guarantee, 0, false}, deadline));
  plan.request.cancelled = [searches] {
    return std::all_of(searches.begin(), searches.end(),
                       [](const WaitingSearch& search) { return search.exchange->abandoned(); });
  };
  plan.request.queries = std::move(queries);
  plan.request.limit = static_cast<size_t>(plan.limit);
  QUIVER_ASSIGN_OR_RETURN(const query::SearchResult result, query::Search(plan.request, parallel));
  const std::vector<query::SearchResult> parts = SplitResult(result, counts);
  for (size_t i = 0; i < searches.size(); ++i) {
    wire::SearchResults* response = searches[i].exchange->response();
    EncodeResults(parts[i], *plan.info, plan.output, plan.limit, plan.round_decimal, nullptr, plan.zone,
                  response->mutable_results());
    response->set_collection_name(searches[i].exchange->request().collection_name());
  }
  return Status::Ok();
}

Status TooManyWait() { return Error(StatusCode::kRateLimit, "too many requests are waiting: rate limit exceeded"); }

}  // namespace

void Handlers::ShareScan(WaitingSearch search, bool bulk) {
  ThreadPool* const pool = bulk ? &bulk_ : &compute_;
  if (bulk) bulk_requests_.Add();
  const auto exchange = search.exchange;
  const std::string name = SharedNameOf(search);
  switch (scans_.Add(name, std::move(search))) {
    case SharedScans::Place::kWaits: return;
    case SharedScans::Place::kFull: return exchange->Finish(TooManyWait());
    case SharedScans::Place::kFirst: break;
  }
  if (pool->Submit([this, name, pool] { RunShared(name, pool); })) return;
  for (const WaitingSearch& waiting : scans_.TakeAll(name)) waiting.exchange->Finish(TooManyWait());
}

void Handlers::RunShared(const std::string& name, ThreadPool* pool) {
  bool more = true;
  while (more) {
    const std::vector<WaitingSearch> searches = scans_.Take(name, &more);
    // Those that are left wait their turn behind other requests; without room there they come right after these.
    if (more && pool->Submit([this, name, pool] { RunShared(name, pool); })) more = false;
    if (searches.size() == 1) {
      const WaitingSearch& only = searches.front();
      only.exchange->Finish(RunSearch(engine_, leases_, views_, results_, pool, *only.exchange, only.plan.get()));
    } else if (!searches.empty()) {
      const Status status = RunTogether(engine_, views_, pool, searches);
      for (const WaitingSearch& search : searches) search.exchange->Finish(status);
    }
  }
}

void Handlers::Search(const std::shared_ptr<SearchExchange>& exchange) {
  const wire::SearchRequest& request = exchange->request();
  auto plan = std::make_shared<SearchPlan>();
  const auto prepare = [&]() -> Status {
    QUIVER_ASSIGN_OR_RETURN(plan->collection, Find(request.db_name(), request.collection_name()));
    plan->info = plan->collection->info();
    const CollectionSchema& schema = *plan->info->schema;
    QUIVER_ASSIGN_OR_RETURN(const KeyValues params, FlattenParams(DecodeKeyValues(request.search_params())));
    QUIVER_ASSIGN_OR_RETURN(plan->travel,
                            ReadTravelTimestamp(request.travel_timestamp(), params, request.expr_template_values()));
    if (schema.partition_key() != nullptr && request.partition_names_size() > 0) {
      return InvalidParameter(
          "not support manually specifying the partition names if partition key mode is used: invalid parameter");
    }
    plan->partitions.assign(request.partition_names().begin(), request.partition_names().end());
    QUIVER_ASSIGN_OR_RETURN(const Page page, ReadSearchPage(params, PageLimitsOf(*plan->info)));
    plan->request.offset = static_cast<size_t>(page.offset);
    plan->explanation = ReadExplain(params, request.expr_template_values());
    query::Step parsing(plan->explanation.get(), "parse");
    QUIVER_RETURN_IF_ERROR(ReadSearch(request, params, page.limit, options_.max_queries, filters_, plan.get()));
    parsing.End();
    QUIVER_RETURN_IF_ERROR(ReadIterator(params, leases_, plan.get()));
    QUIVER_ASSIGN_OR_RETURN(plan->output, ResolveOutputFields(request.output_fields(), schema));
    plan->request.output_fields = plan->output.ids;
    return Status::Ok();
  };
  if (const Status status = prepare(); !status.ok()) return exchange->Finish(status);

  const auto run = [this, exchange, plan](ThreadPool* parallel) {
    exchange->Finish(RunSearch(engine_, leases_, views_, results_, parallel, *exchange, plan.get()));
    if (plan->iterator) keeper_.Watch();
  };
  const SearchCost cost = CostOf(*plan);
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  const bool must_wait = TimestampMs(request.guarantee_timestamp()) > now.count();
  if (must_wait) {
    if (control_.Submit([run, this] { run(&bulk_); })) return;
    return exchange->Finish(TooManyWait());
  }
  if (cost.total <= kInlineScanBytes) return run(nullptr);
  if (MayShare(*plan, request, cost)) return ShareScan({exchange, plan}, cost.total > kBulkBytes);
  OnCompute(exchange, cost.total, run);
}

void Handlers::AddSearchMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Async("Search", Lane::kData, self, &Handlers::Search));
}

}  // namespace quiver::api
