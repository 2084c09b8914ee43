#include "api/search_plan.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "api/field_data_codec.h"
#include "api/read_options.h"
#include "api/schema_codec.h"
#include "api/template_codec.h"
#include "expr/filter.h"
#include "query/isolation.h"
#include "schema.pb.h"
#include "schema/index_params.h"
#include "search.pb.h"

namespace quiver::api {
namespace {

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
  spec.metric = DefaultMetric(field);
  if (const std::string* metric = FindValue(params, "metric_type"); metric != nullptr && !metric->empty()) {
    QUIVER_RETURN_IF_ERROR(CheckMetric(field, *metric));
    spec.metric = ParseMetricType(*metric);
  }
  return spec;
}

/// Refuses what is published and not served, rather than answering something else.
Status CheckServed(const wire::SearchRequest& request) {
  const char* what = nullptr;
  if (request.sub_reqs_size() > 0) what = "sub-requests";
  if (request.has_function_score()) what = "rerank functions";
  if (request.function_chains_size() > 0) what = "function chains";
  if (request.has_highlighter()) what = "highlighter";
  if (request.has_search_aggregation()) what = "search aggregation";
  if (what == nullptr) return Status::Ok();
  return Error(StatusCode::kUnimplemented, "{} in search is not supported yet", what);
}

}  // namespace

Status ReadSearch(const wire::SearchRequest& request, const KeyValues& params, int64_t limit, int64_t max_queries,
                  CompiledFilters& filters, SearchPlan* plan) {
  const CollectionSchema& schema = *plan->info->schema;
  QUIVER_RETURN_IF_ERROR(CheckServed(request));
  QUIVER_ASSIGN_OR_RETURN(plan->field, FindVectorField(schema, params));
  QUIVER_ASSIGN_OR_RETURN(plan->zone, ReadTimeZone(plan->info->properties, params));
  plan->limit = limit;
  plan->request.limit = static_cast<size_t>(limit);
  plan->request.field_id = plan->field->field_id;
  QUIVER_ASSIGN_OR_RETURN(const IndexSpec index, IndexOf(*plan->info, *plan->field, params));
  QUIVER_ASSIGN_OR_RETURN(const SearchSpec spec, ParseSearchParams(index, params, limit));
  plan->request.metric = spec.metric;
  plan->request.radius = spec.radius;
  plan->request.range_filter = spec.range_filter;
  plan->round_decimal = static_cast<int>(spec.round_decimal);
  const engine::IndexInfo* built = plan->info->FindIndexOnField(plan->field->field_id);
  if (built != nullptr) {
    const auto number = [&](std::string_view key) {
      return static_cast<uint32_t>(std::clamp<int64_t>(spec.Int(key, 0), 0, UINT32_MAX));
    };
    plan->request.index =
        query::IndexUse{.index_id = built->id, .ef = number("ef"), .nprobe = number("nprobe"), .recall = spec.recall};
    // Iterators go through the rows in exact order.
    plan->request.index->exact = ReadFlag(params, "iterator");
  }

  const bool elements = plan->field->type == DataType::kArrayOfVector && !IsMaxSim(spec.metric);
  if (elements && request.has_ids()) {
    return Error(StatusCode::kUnimplemented,
                 "ids in search for the vectors of an array by metric type {} are not supported yet, field {}",
                 MetricTypeName(spec.metric), plan->field->name);
  }
  if (elements && ReadFlag(params, "iterator")) {
    return Error(StatusCode::kUnimplemented,
                 "iterators over the vectors of an array by metric type {} are not supported yet, field {}",
                 MetricTypeName(spec.metric), plan->field->name);
  }
  if (!request.has_ids()) {
    QUIVER_ASSIGN_OR_RETURN(plan->queries, DecodeQueryVectors(request.placeholder_group(), *plan->field, spec.metric));
  }
  const auto queries = request.has_ids() ? request.ids().int_id().data_size() + request.ids().str_id().data_size()
                                         : static_cast<int64_t>(plan->queries.size());
  if (queries < 1 || queries > max_queries) {
    return InvalidParameter(
        "nq [{}] is invalid, nq (number of search vector per search request) should be in range [1, {}], but got {}: "
        "invalid parameter",
        queries, max_queries, queries);
  }
  QUIVER_ASSIGN_OR_RETURN(plan->request.group, ReadGrouping(params, schema));
  if (plan->request.group) {
    if (plan->field->type == DataType::kBinaryVector) {
      return InvalidParameter("not support search_group_by operation based on binary vector column: invalid parameter");
    }
    if (ReadFlag(params, "iterator")) {
      return InvalidParameter("Not allowed to do groupBy when doing iteration: invalid parameter");
    }
    if (spec.radius || spec.range_filter) {
      return InvalidParameter("Not allowed to do range-search when doing search-group-by: invalid parameter");
    }
  }
  QUIVER_ASSIGN_OR_RETURN(plan->request.order, ReadOrderBy(params, schema));
  if (!plan->request.order.empty()) {
    if (plan->request.group) {
      return Error(StatusCode::kUnimplemented, "order_by_fields with grouping in search is not supported yet");
    }
    if (ReadFlag(params, "iterator")) {
      return InvalidParameter("ORDER BY is not allowed when doing iteration: invalid parameter");
    }
  }
  if (!request.dsl().empty()) {
    QUIVER_ASSIGN_OR_RETURN(const expr::TemplateValues templates, DecodeTemplates(request.expr_template_values()));
    auto filter = filters.Compile(request.dsl(), plan->info->schema, templates, plan->zone,
                                  IsUtc(plan->info->properties, params));
    if (!filter.ok()) return filter.status().WithContext("failed to create query plan");
    plan->request.filter = *std::move(filter);
  }
  if (plan->info->key_isolation()) QUIVER_RETURN_IF_ERROR(query::CheckIsolated(plan->request.filter.get()));
  // A sample differs from run to run.
  const expr::Filter* compiled = plan->request.filter.get();
  plan->keep_result = ReadFlag(params, "result_cache") && !ReadFlag(params, "iterator") &&
                      (compiled == nullptr || !compiled->canonical_key().empty());
  return Status::Ok();
}

void EncodeResults(const query::SearchResult& result, const engine::CollectionInfo& info, const OutputFields& output,
                   int64_t limit, int round_decimal, const query::Grouping* group, const TimeZone& zone,
                   wire::schema::SearchResultData* out) {
  const CollectionSchema& schema = *info.schema;
  out->set_num_queries(static_cast<int64_t>(result.hits_per_query.size()));
  out->set_top_k(limit);
  for (const int64_t hits : result.hits_per_query) out->add_topks(hits);
  EncodeIds(result.primary_keys, out->mutable_ids());
  auto* scores = out->mutable_scores();
  scores->Reserve(static_cast<int>(result.scores.size()));
  const double scale = round_decimal < 0 ? 0 : std::pow(10, round_decimal);
  for (const float score : result.scores) {
    scores->AddAlreadyReserved(round_decimal < 0 ? score : static_cast<float>(std::round(score * scale) / scale));
  }
  EncodeColumns(result.output.columns, output.ids, schema, zone, out->mutable_fields_data());
  for (const std::string& name : output.names) out->add_output_fields(name);
  for (size_t i = 0; i < result.groups.columns.size(); ++i) {
    EncodeColumn(result.groups.columns[i], *schema.FindById(group->fields[i]), out->add_group_by_field_values(), zone);
  }
  // Older clients know one field only.
  if (out->group_by_field_values_size() == 1) *out->mutable_group_by_field_value() = out->group_by_field_values(0);
  for (const uint32_t element : result.elements) out->mutable_element_indices()->add_data(element);
  out->set_primary_field_name(schema.primary().name);
}

}  // namespace quiver::api
