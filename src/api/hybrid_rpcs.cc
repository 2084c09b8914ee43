// Hybrid search: several searches of one collection, fused.

#include <rapidjson/document.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api/explain.h"
#include "api/handlers.h"
#include "api/read_options.h"
#include "api/schema_codec.h"
#include "api/search_plan.h"
#include "api/travel_timestamp.h"
#include "base/hybrid_clock.h"
#include "query/hybrid_search.h"
#include "schema.pb.h"
#include "schema/index_params.h"
#include "search.pb.h"

namespace quiver::api {
namespace {

using HybridExchange = Exchange<wire::HybridSearchRequest, wire::SearchResults>;

constexpr auto kMaxGuaranteeWait = std::chrono::seconds(30);
constexpr int kMaxSearches = 1024;

/// Everything about one hybrid search that its request decides.
struct HybridPlan {
  uint64_t travel = 0;  ///< the moment to read at; 0 = now
  std::shared_ptr<engine::Collection> collection;
  std::shared_ptr<const engine::CollectionInfo> info;
  std::vector<std::string> partitions;
  std::vector<SearchPlan> searches;
  query::HybridRequest request;  ///< view and searches are filled when it runs
  OutputFields output;
  int64_t limit = 0;
  int round_decimal = -1;
  std::unique_ptr<query::HybridExplanation> explanation;  ///< nullptr: not asked for
};

/// The ranker's parameters as one flat list with the strategy under "strategy", whichever of both forms the client
/// used.
Result<KeyValues> ReadRanker(const wire::HybridSearchRequest& request, const KeyValues& rank_params) {
  if (!request.has_function_score() || request.function_score().functions_size() == 0) return rank_params;
  if (request.function_score().functions_size() > 1) {
    return Error(StatusCode::kUnimplemented, "several rerank functions in hybrid search are not supported yet");
  }
  const auto& function = request.function_score().functions(0);
  if (function.type() != wire::schema::Rerank) {
    return InvalidParameter("function {} is not a rerank function: invalid parameter", function.name());
  }
  KeyValues params = DecodeKeyValues(function.params());
  const std::string* name = FindValue(params, "reranker");
  if (name == nullptr) return InvalidParameter("reranker name not set: invalid parameter");
  if (*name != "rrf" && *name != "weighted") {
    return Error(StatusCode::kUnimplemented, "reranker {} in hybrid search is not supported yet", *name);
  }
  SetValue(params, "strategy", *name);
  return params;
}

Result<std::vector<double>> ReadWeights(const KeyValues& params, size_t searches) {
  const std::string* text = FindValue(params, "weights");
  if (text == nullptr) return InvalidParameter("weights not found in rank_params: invalid parameter");
  rapidjson::Document json;
  json.Parse(text->data(), text->size());
  if (json.HasParseError() || !json.IsArray()) {
    return InvalidParameter("rank param weights should be an array, but got {}: invalid parameter", *text);
  }
  std::vector<double> weights;
  for (const auto& value : json.GetArray()) {
    if (!value.IsNumber()) {
      return InvalidParameter("rank param weight should be a number, but got {}: invalid parameter", *text);
    }
    const double weight = value.GetDouble();
    if (!(weight >= 0 && weight <= 1)) {
      return InvalidParameter("rank param weight should be in range [0, 1], but got {}: invalid parameter", weight);
    }
    weights.push_back(weight);
  }
  if (weights.size() != searches) {
    return InvalidParameter(
        "the length of weights param mismatch with ann search requests: invalid parameter[expected={}][actual={}]: "
        "invalid parameter",
        searches, weights.size());
  }
  return weights;
}

Result<query::Fusion> ReadFusion(const KeyValues& params, size_t searches) {
  query::Fusion fusion;
  const std::string* strategy = FindValue(params, "strategy");
  if (strategy == nullptr || strategy->empty() || *strategy == "rrf") {
    if (const std::string* text = FindValue(params, "k"); text != nullptr) {
      rapidjson::Document json;
      json.Parse(text->data(), text->size());
      if (json.HasParseError() || !json.IsNumber()) {
        return InvalidParameter("The type of rank param k should be float, but got {}: invalid parameter", *text);
      }
      fusion.k = json.GetDouble();
    }
    if (!(fusion.k > 0 && fusion.k < 16384)) {
      return InvalidParameter("The rank params k should be in range (0, 16384), but got {}: invalid parameter",
                              fusion.k);
    }
    return fusion;
  }
  if (*strategy != "weighted") return InvalidParameter("unsupported rank type {}: invalid parameter", *strategy);
  fusion.kind = query::Fusion::Kind::kWeighted;
  fusion.normalize = ReadFlag(params, "norm_score");
  QUIVER_ASSIGN_OR_RETURN(fusion.weights, ReadWeights(params, searches));
  return fusion;
}

Result<query::GroupScorer> ReadGroupScorer(const KeyValues& params) {
  const std::string* name = FindValue(params, "rank_group_scorer");
  if (name == nullptr || name->empty() || *name == "max") return query::GroupScorer::kMax;
  if (*name == "sum") return query::GroupScorer::kSum;
  if (*name == "avg") return query::GroupScorer::kAvg;
  return InvalidParameter("input group scorer type: {} is not supported: invalid parameter", *name);
}

/// Reads the part searches: the limit of each is its own, an offset in one does not count.
Status ReadSearches(const wire::HybridSearchRequest& request, const KeyValues& rank_params, const PageLimits& limits,
                    int64_t max_queries, CompiledFilters& filters, HybridPlan* plan) {
  for (const wire::SearchRequest& part : request.requests()) {
    SearchPlan search;
    search.collection = plan->collection;
    search.info = plan->info;
    QUIVER_ASSIGN_OR_RETURN(KeyValues params, FlattenParams(DecodeKeyValues(part.search_params())));
    EraseValue(params, "offset");
    for (const char* key : {"order_by_fields", "iterator"}) {
      if (const std::string* value = FindValue(params, key); value != nullptr && !value->empty()) {
        return Error(StatusCode::kUnimplemented, "{} in hybrid search is not supported yet", key);
      }
    }
    if (part.has_ids()) {
      return Error(StatusCode::kUnimplemented, "ids in hybrid search are not supported yet");
    }
    // Grouping is asked for once, for all parts and the fused list.
    for (const char* key : {"group_by_field", "group_by_fields", "group_size"}) {
      EraseValue(params, key);
      if (const std::string* value = FindValue(rank_params, key); value != nullptr) SetValue(params, key, *value);
    }
    QUIVER_ASSIGN_OR_RETURN(const Page page, ReadSearchPage(params, limits));
    QUIVER_RETURN_IF_ERROR(ReadSearch(part, params, page.limit, max_queries, filters, &search));
    if (!plan->searches.empty() && plan->searches.front().queries.size() != search.queries.size()) {
      return InvalidParameter("sub search requests have different nq: {} and {}: invalid parameter",
                              plan->searches.front().queries.size(), search.queries.size());
    }
    plan->searches.push_back(std::move(search));
  }
  return Status::Ok();
}

Status RunHybrid(engine::Engine& engine, ResultCache& results, ThreadPool* parallel, HybridExchange& exchange,
                 HybridPlan* plan) {
  const wire::HybridSearchRequest& request = exchange.request();
  const auto deadline = std::min(exchange.call().deadline(), std::chrono::steady_clock::now() + kMaxGuaranteeWait);
  plan->request.explanation = plan->explanation.get();
  query::Step opening(plan->explanation.get(), "open view");
  QUIVER_ASSIGN_OR_RETURN(plan->request.view, engine.OpenView(*plan->collection, plan->partitions,
                                                              request.guarantee_timestamp(), deadline, plan->travel));
  opening.End();
  const bool keep =
      plan->explanation == nullptr && std::all_of(plan->searches.begin(), plan->searches.end(),
                                                  [](const SearchPlan& search) { return search.keep_result; });
  const std::string cached_as = keep ? ResultCache::NameOf(request) : std::string();
  if (results.Answered(cached_as, plan->request.view, exchange.response())) return Status::Ok();
  for (SearchPlan& search : plan->searches) {
    search.request.queries = search.queries.views();
    search.request.cancelled = [&exchange] { return exchange.abandoned(); };
    plan->request.searches.push_back(search.request);
  }
  QUIVER_ASSIGN_OR_RETURN(const query::SearchResult result, query::HybridSearch(plan->request, parallel));
  EncodeResults(result, *plan->info, plan->output, plan->limit, plan->round_decimal,
                plan->request.group ? &*plan->request.group : nullptr, plan->searches.front().zone,
                exchange.response()->mutable_results());
  exchange.response()->set_collection_name(request.collection_name());
  results.Keep(cached_as, plan->request.view, *exchange.response());
  if (plan->explanation != nullptr) {
    EncodeExplanation(*plan->explanation, exchange.call().arrival(), exchange.response()->mutable_status());
  }
  return Status::Ok();
}

}  // namespace

void Handlers::HybridSearch(const std::shared_ptr<HybridExchange>& exchange) {
  const wire::HybridSearchRequest& request = exchange->request();
  auto plan = std::make_shared<HybridPlan>();
  const auto prepare = [&]() -> Status {
    QUIVER_ASSIGN_OR_RETURN(plan->collection, Find(request.db_name(), request.collection_name()));
    plan->info = plan->collection->info();
    const CollectionSchema& schema = *plan->info->schema;
    if (request.function_chains_size() > 0) {
      return Error(StatusCode::kUnimplemented, "function chains in hybrid search are not supported yet");
    }
    if (request.requests_size() < 1 || request.requests_size() > kMaxSearches) {
      return InvalidParameter("maximum of ann search requests is {}, got {}: invalid parameter", kMaxSearches,
                              request.requests_size());
    }
    QUIVER_ASSIGN_OR_RETURN(const KeyValues params, FlattenParams(DecodeKeyValues(request.rank_params())));
    QUIVER_ASSIGN_OR_RETURN(plan->travel, ReadTravelTimestamp(request.travel_timestamp(), params,
                                                              request.requests(0).expr_template_values()));
    if (WantsExplanation(params, request.requests(0).expr_template_values())) {
      plan->explanation = std::make_unique<query::HybridExplanation>();
    }
    query::Step parsing(plan->explanation.get(), "parse");
    if (schema.partition_key() != nullptr && request.partition_names_size() > 0) {
      return InvalidParameter(
          "not support manually specifying the partition names if partition key mode is used: invalid parameter");
    }
    plan->partitions.assign(request.partition_names().begin(), request.partition_names().end());
    const PageLimits limits = PageLimitsOf(*plan->info);
    QUIVER_ASSIGN_OR_RETURN(const Page page, ReadSearchPage(params, limits));
    plan->limit = page.limit;
    plan->request.limit = static_cast<size_t>(page.limit);
    plan->request.offset = static_cast<size_t>(page.offset);
    if (const std::string* text = FindValue(params, "round_decimal"); text != nullptr) {
      const auto decimals = ParseInt(*text);
      if (!decimals || *decimals < -1 || *decimals > 6) {
        return InvalidParameter(
            "round_decimal [{}] is invalid, it should be -1 or an integer in range [0, 6]: "
            "invalid parameter",
            *text);
      }
      plan->round_decimal = static_cast<int>(*decimals);
    }
    QUIVER_ASSIGN_OR_RETURN(const KeyValues ranker, ReadRanker(request, params));
    QUIVER_ASSIGN_OR_RETURN(plan->request.fusion, ReadFusion(ranker, static_cast<size_t>(request.requests_size())));
    QUIVER_ASSIGN_OR_RETURN(plan->request.group, ReadGrouping(params, schema));
    QUIVER_ASSIGN_OR_RETURN(plan->request.group_scorer, ReadGroupScorer(params));
    QUIVER_RETURN_IF_ERROR(ReadSearches(request, params, limits, options_.max_queries, filters_, plan.get()));
    QUIVER_ASSIGN_OR_RETURN(plan->output, ResolveOutputFields(request.output_fields(), schema));
    plan->request.output_fields = plan->output.ids;
    return Status::Ok();
  };
  if (const Status status = prepare(); !status.ok()) return exchange->Finish(status);

  const auto run = [this, exchange, plan](ThreadPool* parallel) {
    exchange->Finish(RunHybrid(engine_, results_, parallel, *exchange, plan.get()));
  };
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
  if (TimestampMs(request.guarantee_timestamp()) > now.count()) {
    if (control_.Submit([run, this] { run(&bulk_); })) return;
    return exchange->Finish(Error(StatusCode::kRateLimit, "too many requests are waiting: rate limit exceeded"));
  }
  uint64_t bytes = 0;
  for (SearchPlan& search : plan->searches) bytes += CostOf(search).total;
  OnCompute(exchange, bytes, run);
}

void Handlers::AddHybridMethods(Handlers* self, std::vector<Method>* out) {
  out->push_back(Async("HybridSearch", Lane::kData, self, &Handlers::HybridSearch));
}

}  // namespace quiver::api
