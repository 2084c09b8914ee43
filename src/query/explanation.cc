#include "query/explanation.h"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "engine/collection_info.h"
#include "expr/value_statistics.h"
#include "segment/segment.h"
#include "segment/segment_index.h"

namespace quiver::query {

namespace {

using expr::NodeTrace;
using expr::Predicate;
using segment::kPageRows;
using segment::Segment;

using JsonWriter = rapidjson::Writer<rapidjson::StringBuffer>;

void Text(JsonWriter& json, const char* key, std::string_view value) {
  json.Key(key);
  json.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}

void Number(JsonWriter& json, const char* key, uint64_t value) {
  json.Key(key);
  json.Uint64(value);
}

void Microseconds(JsonWriter& json, const char* key, double nanoseconds) {
  json.Key(key);
  json.Double(nanoseconds / 1000);
}

/// What the catalog says of an index; nullptr where it was dropped meanwhile.
const engine::IndexInfo* FindInfo(const engine::CollectionInfo& info, int64_t index_id) {
  const auto found = std::find_if(info.indexes.begin(), info.indexes.end(),
                                  [&](const engine::IndexInfo& index) { return index.id == index_id; });
  return found == info.indexes.end() ? nullptr : &*found;
}

std::string NameOfIndex(const engine::CollectionInfo& info, const Segment& segment, const expr::TermIndex* wanted) {
  const auto ranges = segment.ScalarIndexes();
  if (ranges == nullptr) return "scalar index";
  for (const segment::IndexedRange& range : *ranges) {
    for (const auto& index : range.indexes) {
      if (index->scalar() != wanted) continue;
      const engine::IndexInfo* known = FindInfo(info, index->index_id());
      if (known != nullptr) return fmt::format("scalar index {} ({})", known->name, known->index_type);
    }
  }
  return "scalar index";
}

/// Where every page was answered by what earlier reads left, that is how it was done.
FilterPath PathOf(const SegmentExplanation& one) {
  const bool evaluated =
      one.trace != nullptr && one.trace->pages_evaluated.load() + one.trace->pages_settled.load() > 0;
  return one.pages_from_cache.load() > 0 && !evaluated ? FilterPath::kKeptAnswer : one.path;
}

/// How the values that a term tests lie in a segment.
std::string_view FormOf(const Segment& segment, const expr::FieldRef& field) {
  const uint32_t rows = std::min(segment.row_count(), kPageRows);
  if (field.type == DataType::kJson && !field.path.empty()) {
    std::vector<std::string> keys;
    for (const expr::PathStep& step : field.path) keys.push_back(step.key);
    const auto kept = segment.JsonPath(field.field_id, keys, 0, rows);
    if (kept.ok() && kept->present()) return "kept JSON column";
  }
  const auto values = segment.View(field.field_id, 0, rows);
  if (values.ok() && (values->codes8 != nullptr || values->codes16 != nullptr)) return "dictionary";
  return "scan";
}

/// How a term was tested in a segment.
std::string MethodOf(const engine::CollectionInfo& info, const SegmentExplanation& explained, const NodeTrace& node) {
  if (node.index_asked) return NameOfIndex(info, *explained.segment, node.index);
  if (PathOf(explained) == FilterPath::kKeptAnswer) return "kept answer";
  const bool names_keys =
      node.predicate->kind == Predicate::Kind::kCompare || node.predicate->kind == Predicate::Kind::kIn;
  if (explained.path == FilterPath::kPrimaryKeys && node.predicate->field.is_primary && names_keys)
    return "primary keys";
  if (node.rows_tested.load() == 0) {
    return explained.trace->pages_settled.load() > 0 ? "page statistics" : "not looked at";
  }
  if (node.predicate->field.type == DataType::kNone) return "computed";
  return std::string(FormOf(*explained.segment, node.predicate->field));
}

/// Writes one node of the filter, summed over the segments.
void WriteNode(JsonWriter& json, const Explanation& explanation, size_t at) {
  const engine::CollectionInfo& info = *explanation.view.info;
  const NodeTrace* first = nullptr;
  double estimated = 0;
  uint64_t tested = 0, holds = 0, by_index = 0, nanoseconds = 0;
  std::map<std::string, uint64_t> methods;
  for (const SegmentExplanation& one : explanation.segments) {
    if (one.trace == nullptr) continue;
    const NodeTrace& node = one.trace->nodes[at];
    if (first == nullptr) first = &node;
    estimated += node.estimated_rows;
    tested += node.rows_tested.load();
    holds += node.rows_true.load();
    if (node.index_asked) by_index += node.index_rows;
    nanoseconds += node.nanoseconds.load() + node.index_nanoseconds;
    if (node.children.empty()) ++methods[MethodOf(info, one, node)];
  }
  json.StartObject();
  Text(json, "operator", expr::OperatorOf(*first->predicate));
  const std::string field = expr::FieldOf(*first->predicate, *info.schema);
  if (!field.empty()) Text(json, "field", field);
  const std::string constants = expr::ConstantsOf(*first->predicate, *info.schema);
  if (!constants.empty()) Text(json, "value", constants);
  if (!methods.empty()) {
    json.Key("segments_by_method");
    json.StartObject();
    for (const auto& [method, segments] : methods) Number(json, method.c_str(), segments);
    json.EndObject();
  }
  Number(json, "estimated_rows", static_cast<uint64_t>(std::llround(std::max(estimated, 0.0))));
  if (by_index > 0 || first->index_asked) {
    Number(json, "rows_from_index", by_index);
    if (first->index_negated) {
      json.Key("index_asked_for_contrary");
      json.Bool(true);
    }
  }
  Number(json, "rows_tested", tested);
  Number(json, "rows_true", holds);
  Microseconds(json, "microseconds", static_cast<double>(nanoseconds));
  if (!first->children.empty()) {
    json.Key("children");
    json.StartArray();
    for (const size_t child : first->children) WriteNode(json, explanation, child);
    json.EndArray();
  }
  json.EndObject();
}

void WriteValue(JsonWriter& json, const expr::ValueRows& value, DataType type) {
  if (type == DataType::kBool) {
    json.Bool(value.integer != 0);
  } else if (IsFloating(type)) {
    // JSON has no infinity.
    if (!json.Double(value.real)) json.Null();
  } else if (IsFixedScalar(type)) {
    json.Int64(value.integer);
  } else {
    json.String(value.text.data(), static_cast<rapidjson::SizeType>(value.text.size()));
  }
}

/// Writes what is known of the values of the scalar fields that the filter tests.
void WriteStatistics(JsonWriter& json, const engine::CollectionInfo& info, const SegmentExplanation& one) {
  if (one.trace == nullptr) return;
  constexpr size_t kMostShown = 5;
  std::map<int64_t, const expr::ValueStatistics*> fields;
  for (const NodeTrace& node : one.trace->nodes) {
    const expr::FieldRef& field = node.predicate->field;
    if (field.type == DataType::kNone || !field.path.empty()) continue;
    if (const auto* known = one.segment->Statistics(field.field_id); known != nullptr) fields[field.field_id] = known;
  }
  if (fields.empty()) return;
  json.Key("statistics");
  json.StartArray();
  for (const auto& [field_id, known] : fields) {
    const FieldSchema* field = info.schema->FindById(field_id);
    if (field == nullptr) continue;
    json.StartObject();
    Text(json, "field", field->name);
    Number(json, "values", known->values);
    Number(json, "distinct", known->distinct);
    Number(json, "histogram_buckets", known->buckets.size());
    json.Key("most_frequent");
    json.StartArray();
    for (size_t i = 0; i < std::min(known->top.size(), kMostShown); ++i) {
      json.StartObject();
      json.Key("value");
      WriteValue(json, known->top[i], field->type);
      Number(json, "rows", known->top[i].rows);
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
  }
  json.EndArray();
}

void WriteFilter(JsonWriter& json, const SegmentExplanation& one) {
  json.Key("filter");
  json.StartObject();
  Text(json, "by", FilterPathName(PathOf(one)));
  if (one.answer_kept) {
    json.Key("answer_kept");
    json.Bool(true);
  }
  if (one.trace != nullptr) {
    Number(json, "pages", one.segment->page_count());
    Number(json, "pages_answered_by_indexes", one.pages_indexed);
    Number(json, "pages_visited", one.pages_visited.load());
    Number(json, "pages_settled_by_statistics", one.trace->pages_settled.load());
    Number(json, "pages_evaluated", one.trace->pages_evaluated.load());
    Number(json, "pages_from_kept_answer", one.pages_from_cache.load());
    if (!std::isnan(one.trace->scan_cost)) {
      Microseconds(json, "expected_microseconds_by_index", one.trace->index_cost);
      Microseconds(json, "expected_microseconds_by_scan", one.trace->scan_cost);
    }
  }
  Microseconds(json, "microseconds", static_cast<double>(one.filter_nanoseconds.load()));
  json.EndObject();
}

void WriteSearch(JsonWriter& json, const engine::CollectionInfo& info, const SegmentExplanation& one) {
  json.Key("search");
  json.StartObject();
  if (one.index_id == 0) {
    Text(json, "plan", one.distances.load() > 0 ? "flat scan" : "nothing to score");
    if (!one.why.empty()) Text(json, "why", one.why);
    Number(json, "exact_distances", one.distances.load());
    Microseconds(json, "microseconds", static_cast<double>(one.search_nanoseconds.load()));
    json.EndObject();
    return;
  }
  const auto begun = std::span(one.counters.plans);
  const auto most = static_cast<size_t>(std::max_element(begun.begin(), begun.end()) - begun.begin());
  Text(json, "plan",
       begun[most] == 0 ? "nothing to score" : index::SearchPlanName(static_cast<index::SearchPlan>(most)));
  if (const engine::IndexInfo* known = FindInfo(info, one.index_id); known != nullptr) {
    Text(json, "index", known->name);
    Text(json, "index_type", known->index_type);
  }
  if (one.part_rows > 0) Number(json, "rows_of_key_index", one.part_rows);
  if (one.parts > 0) {
    Number(json, "key_indexes", one.parts);
    Number(json, "distances_of_other_rows", one.distances.load());
  }
  if (one.cost_of_whole > 0) {
    Microseconds(json, "expected_microseconds_by_key_indexes", one.cost_of_parts);
    Microseconds(json, "expected_microseconds_by_index_of_all_rows", one.cost_of_whole);
  }
  if (one.linked > 0) {
    Number(json, "linked_rows", one.linked);
    Number(json, "distances_of_other_rows", one.distances.load());
  }
  json.Key("queries_by_plan");
  json.StartObject();
  for (size_t plan = 0; plan < index::kSearchPlans; ++plan) {
    if (begun[plan] == 0) continue;
    Number(json, index::SearchPlanName(static_cast<index::SearchPlan>(plan)).data(), begun[plan]);
  }
  json.EndObject();
  Number(json, "queries_that_changed_plan", one.counters.changed_plans);
  bool costs = false;
  for (size_t plan = 0; plan < index::kSearchPlans; ++plan) {
    const double cost = one.reasons.cost[plan];
    if (!std::isfinite(cost)) continue;
    if (!costs) {
      json.Key("expected_microseconds");
      json.StartObject();
    }
    costs = true;
    Microseconds(json, index::SearchPlanName(static_cast<index::SearchPlan>(plan)).data(), cost);
  }
  if (costs) json.EndObject();
  if (one.reasons.ef > 0) Number(json, "ef", one.reasons.ef);
  if (one.reasons.nlist > 0) {
    Number(json, "nprobe", one.reasons.nprobe);
    Number(json, "nlist", one.reasons.nlist);
  }
  Number(json, "code_distances", one.counters.code_distances);
  Number(json, "exact_distances", one.counters.exact_distances);
  Number(json, "expansions", one.counters.expansions);
  Microseconds(json, "microseconds", static_cast<double>(one.search_nanoseconds.load()));
  json.EndObject();
}

/// The share of the visible rows that the filter is expected to keep, as rows.
double EstimatedMatches(const SegmentExplanation& one) {
  const auto visible = static_cast<double>(one.visible);
  if (one.trace == nullptr || one.segment->row_count() == 0) return visible;
  return std::clamp(one.trace->nodes.front().estimated_rows * visible / one.segment->row_count(), 0.0, visible);
}

}  // namespace

std::string_view FilterPathName(FilterPath path) {
  switch (path) {
    case FilterPath::kEveryRow: return "every row";
    case FilterPath::kNoRow: return "no row";
    case FilterPath::kPrimaryKeys: return "primary keys";
    case FilterPath::kPartitionKey: return "partition key";
    case FilterPath::kIndexes: return "scalar indexes";
    case FilterPath::kKeptAnswer: return "kept answer";
    case FilterPath::kEvaluation: return "evaluation";
  }
  return "";
}

void SegmentExplanation::Add(const index::IndexCounters& now, const index::IndexCounters& before) {
  counters.code_distances += now.code_distances - before.code_distances;
  counters.exact_distances += now.exact_distances - before.exact_distances;
  counters.expansions += now.expansions - before.expansions;
  counters.changed_plans += now.changed_plans - before.changed_plans;
  for (size_t plan = 0; plan < index::kSearchPlans; ++plan) {
    counters.plans[plan] += now.plans[plan] - before.plans[plan];
  }
}

void Explanation::Begin(const engine::ReadView& read_view, const std::shared_ptr<const expr::Filter>& read_filter,
                        size_t query_count, int64_t vector_field) {
  queries = query_count;
  field_id = vector_field;
  if (steps_before_ == SIZE_MAX) steps_before_ = steps.size();
  steps.resize(steps_before_);
  segments.clear();
  view = read_view;
  filter = read_filter;
  const segment::Visibility visibility = view.visibility();
  for (const auto& segment : view.segments) {
    SegmentExplanation& one = segments.emplace_back();
    one.segment = segment;
    uint64_t mask[segment::kPageWords];
    for (uint32_t page = 0; page < segment->page_count(); ++page) {
      one.visible += segment->FillVisible(page, visibility, mask);
    }
  }
}

void Step::End() {
  if (steps_ == nullptr) return;
  const auto took = std::chrono::steady_clock::now() - begin_;
  const auto nanoseconds = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count());
  StepTimes& steps = *steps_;
  const auto known = std::find_if(steps.begin(), steps.end(), [&](const auto& step) { return step.first == name_; });
  if (known != steps.end()) {
    known->second += nanoseconds;
  } else {
    steps.emplace_back(name_, nanoseconds);
  }
  steps_ = nullptr;
}

namespace {

void WriteSteps(JsonWriter& json, const StepTimes& steps) {
  json.Key("steps");
  json.StartArray();
  for (const auto& [name, nanoseconds] : steps) {
    json.StartObject();
    Text(json, "step", name);
    Microseconds(json, "microseconds", static_cast<double>(nanoseconds));
    json.EndObject();
  }
  json.EndArray();
}

void WriteExplanation(JsonWriter& json, const Explanation& explanation) {
  const engine::CollectionInfo& info = *explanation.view.info;
  double estimated = 0;
  uint64_t matches = 0, rows = 0, visible = 0;
  bool filtered = false;
  for (const SegmentExplanation& one : explanation.segments) {
    estimated += EstimatedMatches(one);
    matches += one.matches.load();
    rows += one.segment->row_count();
    visible += one.visible;
    filtered = filtered || one.trace != nullptr;
  }
  json.StartObject();
  Text(json, "collection", info.name());
  Number(json, "rows", rows);
  Number(json, "visible_rows", visible);
  Number(json, "estimated_matches", static_cast<uint64_t>(std::llround(estimated)));
  Number(json, "matches", matches);
  Number(json, "results", explanation.results);
  if (explanation.queries > 0) {
    Number(json, "queries", explanation.queries);
    if (const FieldSchema* field = info.schema->FindById(explanation.field_id); field != nullptr) {
      Text(json, "vector_field", field->name);
    }
  }
  if (filtered) {
    json.Key("filter");
    WriteNode(json, explanation, 0);
  }
  json.Key("segments");
  json.StartArray();
  for (const SegmentExplanation& one : explanation.segments) {
    json.StartObject();
    json.Key("id");
    json.Int64(one.segment->id());
    Text(json, "state", one.segment->sealed() ? "sealed" : "growing");
    Number(json, "rows", one.segment->row_count());
    Number(json, "visible_rows", one.visible);
    Number(json, "estimated_matches", static_cast<uint64_t>(std::llround(EstimatedMatches(one))));
    Number(json, "matches", one.matches.load());
    WriteFilter(json, one);
    WriteStatistics(json, info, one);
    if (explanation.queries > 0) WriteSearch(json, info, one);
    json.EndObject();
  }
  json.EndArray();
  WriteSteps(json, explanation.steps);
  json.EndObject();
}

void WriteRanker(JsonWriter& json, const HybridExplanation& explanation) {
  const Fusion& fusion = explanation.fusion;
  json.Key("ranker");
  json.StartObject();
  if (fusion.kind == Fusion::Kind::kRrf) {
    Text(json, "strategy", "rrf");
    json.Key("k");
    json.Double(fusion.k);
  } else {
    Text(json, "strategy", "weighted");
    json.Key("weights");
    json.StartArray();
    for (const double weight : fusion.weights) json.Double(weight);
    json.EndArray();
    json.Key("norm_score");
    json.Bool(fusion.normalize);
  }
  uint64_t given = 0;
  for (const Explanation& search : explanation.searches) given += search.results;
  Number(json, "rows_given", given);
  Number(json, "rows_ranked", explanation.fused);
  json.EndObject();
}

}  // namespace

void HybridExplanation::Begin(const engine::ReadView& view, const std::vector<SearchRequest>& requests,
                              const Fusion& ranker) {
  searches.clear();
  fusion = ranker;
  fused = 0;
  for (const SearchRequest& request : requests) {
    Explanation& search = searches.emplace_back();
    search.Begin(view, request.filter);
    search.queries = request.queries.size();
    search.field_id = request.field_id;
  }
}

std::string ToJson(const Explanation& explanation) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.SetMaxDecimalPlaces(3);
  WriteExplanation(json, explanation);
  return {buffer.GetString(), buffer.GetSize()};
}

std::string ToJson(const HybridExplanation& explanation) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.SetMaxDecimalPlaces(3);
  json.StartObject();
  Number(json, "results", explanation.results);
  json.Key("searches");
  json.StartArray();
  for (const Explanation& search : explanation.searches) WriteExplanation(json, search);
  json.EndArray();
  WriteRanker(json, explanation);
  WriteSteps(json, explanation.steps);
  json.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

}  // namespace quiver::query
