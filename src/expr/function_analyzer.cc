// The analyzer of filters: patterns, null, exists, functions.
#include <re2/re2.h>

#include <algorithm>
#include <random>
#include <utility>

#include "expr/analyzer.h"
#include "expr/constants.h"
#include "expr/predicate.h"
#include "schema/index_params.h"
#include "text/match.h"

namespace quiver::expr {
bool Analyzer::VisitPattern(const Syntax& node, Operand* out) {
  const bool is_like = node.kind == SyntaxKind::kLike;
  const std::string_view word = is_like ? "like" : "regex";
  Operand column;
  if (!Visit(*node.children[0], &column)) return false;
  if (!column.is_column()) return Fail("{} operation on complicated expr is unsupported", word);
  if (IsWholeArray(column)) return FailWholeArray();
  if (!IsString(column.type) && !IsJson(column.type)) {
    return Fail("{} operation on non-string or no-json field is unsupported", word);
  }
  Operand pattern;
  if (!Visit(*node.children[1], &pattern)) return false;
  if (!pattern.is_constant() || !pattern.constant.is_string()) {
    if (pattern.is_template) {
      return FailBare("the value of {} expression template variable {{{}}} is not string", word, pattern.template_name);
    }
    return Fail("the right operand of {} must be a string: {}", word, tree_.TextOf(*node.children[1]));
  }
  if (!is_like) {
    RE2::Options options;
    options.set_log_errors(false);
    const RE2 regex(std::get<std::string>(pattern.constant.value), options);
    if (!regex.ok()) return Fail("invalid regex pattern: {}", regex.error());
  }
  PredicatePtr predicate =
      MakePredicate(is_like ? Predicate::Kind::kLike : Predicate::Kind::kRegex, std::move(column.field));
  predicate->value = std::move(pattern.constant);
  if (node.negated) predicate = MakeNot(std::move(predicate));
  return SetPredicate(std::move(predicate), out);
}

bool Analyzer::VisitExists(const Syntax& node, Operand* out) {
  const Syntax& child = *node.children[0];
  Operand column;
  if (!Visit(child, &column)) return false;
  if (!column.is_column()) {
    return Fail("exists operations are only supported on single fields now, got: {}", tree_.TextOf(child));
  }
  if (!IsJson(column.field.type)) {
    return Fail("exists operations are only supported on json fields now, got: {}", DataTypeName(column.field.type));
  }
  if (column.field.path.empty()) {
    return Fail("exists operations are only supported on json fields now, got: {}", tree_.TextOf(child));
  }
  return SetPredicate(MakePredicate(Predicate::Kind::kExists, std::move(column.field)), out);
}

bool Analyzer::VisitIsNull(const Syntax& node, Operand* out) {
  const Syntax& child = *node.children[0];
  FieldRef field;
  if (child.kind == SyntaxKind::kPath) {
    if (!ResolvePath(child, &field)) return false;
  } else if (const auto subs = schema_.SubFields(child.name); !subs.empty()) {
    field = ArrayOf(subs);
  } else if (!Resolve(child.name, &field)) {
    return false;
  }
  if (IsVector(field.type)) return Fail("IsNull/IsNotNull operations are not supported on vector fields");
  PredicatePtr predicate;
  if (!field.path.empty()) {
    if (field.type == DataType::kArray) return Fail("IsNull/IsNotNull operations are not supported on array elements");
    predicate = MakePredicate(Predicate::Kind::kExists, std::move(field));
    if (!node.negated) predicate = MakeNot(std::move(predicate));
    return SetPredicate(std::move(predicate), out);
  }
  predicate = field.nullable ? MakePredicate(Predicate::Kind::kIsNull, std::move(field)) : MakeConstant(false);
  if (node.negated) predicate = MakeNot(std::move(predicate));
  return SetPredicate(std::move(predicate), out);
}

bool Analyzer::VisitCall(const Syntax& node, Operand* out) {
  switch (node.function) {
    case Function::kContains: return VisitContains(node, ContainsMode::kOne, "contains", out);
    case Function::kContainsAll: return VisitContains(node, ContainsMode::kAll, "contains_all", out);
    case Function::kContainsAny: return VisitContains(node, ContainsMode::kAny, "contains_any", out);
    case Function::kArrayLength: return VisitArrayLength(node, out);
    case Function::kStartsWith:
    case Function::kEmpty:
    case Function::kUnknown: return VisitGenericCall(node, out);
    case Function::kTextMatch:
    case Function::kTextMatchFuzzy:
    case Function::kPhraseMatch: return VisitTextMatch(node, out);
    case Function::kRandomSample: return VisitRandomSample(node, out);
    case Function::kElementFilter:
    case Function::kMatchAll:
    case Function::kMatchAny:
    case Function::kMatchLeast:
    case Function::kMatchMost:
    case Function::kMatchExact: return VisitStructMatch(node, out);
    default: return VisitSpatial(node, out);
  }
}

bool Analyzer::VisitContains(const Syntax& node, ContainsMode mode, std::string_view word, Operand* out) {
  Operand column;
  if (!Visit(*node.children[0], &column)) return false;
  if (!column.is_column() || (!IsJson(column.type) && !IsWholeArray(column))) {
    return Fail("{} operation are only supported on json or array fields now, got: {}", word,
                tree_.TextOf(*node.children[0]));
  }
  Operand element;
  if (!Visit(*node.children[1], &element)) return false;
  if (!element.is_constant()) {
    return Fail("{} operation are only supported explicitly specified element, got: {}", word,
                tree_.TextOf(*node.children[1]));
  }
  constexpr const char* kNames[] = {"Contains", "ContainsAll", "ContainsAny"};
  const char* const name = kNames[static_cast<int>(mode)];
  if (mode != ContainsMode::kOne && !element.constant.is_list()) {
    return Fail("{} operation element must be an array", name);
  }
  if (!IsJson(column.type)) {
    const DataType type = column.field.element_type;
    if (mode == ContainsMode::kOne) {
      if (!CastConstant(type, &element)) return false;
    } else {
      const size_t size = element.constant.list_size();
      for (size_t i = 0; i < size; ++i) {
        const Literal item = element.constant.Element(i);
        if (item.is_list() || !ComparableTypes(type, TypeOf(item))) {
          return Fail("{} operation can't compare between array element type: {} and {}", name, DataTypeName(type),
                      DataTypeName(TypeOf(item)));
        }
      }
    }
  }
  PredicatePtr predicate = MakePredicate(Predicate::Kind::kContains, std::move(column.field));
  predicate->contains = mode;
  predicate->value = std::move(element.constant);
  return SetPredicate(std::move(predicate), out);
}

bool Analyzer::VisitArrayLength(const Syntax& node, Operand* out) {
  Operand column;
  const Syntax& child = *node.children[0];
  if (const auto subs = schema_.SubFields(child.kind == SyntaxKind::kName ? child.name : ""); !subs.empty()) {
    SetColumn(ArrayOf(subs), &column);
  } else if (!Visit(child, &column)) {
    return false;
  }
  if (!column.is_column() || (!IsJson(column.type) && !IsWholeArray(column))) {
    return Fail("array_length operation are only supported on json or array fields now, got: {}", tree_.TextOf(node));
  }
  out->kind = Operand::Kind::kArrayLength;
  out->field = std::move(column.field);
  out->type = DataType::kInt64;
  return true;
}

bool Analyzer::VisitGenericCall(const Syntax& node, Operand* out) {
  std::vector<Operand> arguments(node.children.size());
  std::string types;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (!Visit(*node.children[i], &arguments[i])) return false;
    types += fmt::format("{}{}", i == 0 ? "" : ", ", TypeName(arguments[i]));
  }
  const auto is_text_column = [](const Operand& operand) { return operand.is_column() && IsString(operand.type); };
  if (node.function == Function::kEmpty && arguments.size() == 1 && is_text_column(arguments[0])) {
    return SetPredicate(MakePredicate(Predicate::Kind::kEmpty, std::move(arguments[0].field)), out);
  }
  if (node.function == Function::kStartsWith && arguments.size() == 2 && is_text_column(arguments[0])) {
    if (is_text_column(arguments[1])) return NotSupportedYet("starts_with between two fields");
    if (arguments[1].is_constant() && arguments[1].constant.is_string()) {
      PredicatePtr predicate = MakePredicate(Predicate::Kind::kLike, std::move(arguments[0].field));
      std::string pattern;
      for (const char c : std::get<std::string>(arguments[1].constant.value)) {
        if (c == '%' || c == '_' || c == '\\') pattern += '\\';
        pattern += c;
      }
      predicate->value.value = pattern + "%";
      return SetPredicate(std::move(predicate), out);
    }
  }
  return Fail("function {}({}) not found", node.name, types);
}

bool Analyzer::VisitTextMatch(const Syntax& node, Operand* out) {
  const bool phrase = node.function == Function::kPhraseMatch;
  const bool fuzzy = node.function == Function::kTextMatchFuzzy;
  const std::string& name = node.children[0]->name;
  FieldRef ref;
  const FieldSchema* field = nullptr;
  if (!Resolve(name, &ref, &field)) return false;
  if (!IsString(ref.type)) {
    return Fail("{} match operation on non-string is unsupported", phrase ? "phrase" : "text");
  }
  const std::string* enabled = FindValue(field->type_params, "enable_match");
  if (enabled == nullptr || !ParseBool(*enabled).value_or(false)) {
    return Fail("field \"{}\" does not enable match", name);
  }
  Operand query;
  if (!Visit(*node.children[1], &query)) return false;
  if (!query.is_constant() || !query.constant.is_string()) {
    if (fuzzy) {
      return Fail("text_match_fuzzy query should be a string literal or template variable, got: {}",
                  tree_.TextOf(*node.children[1]));
    }
    return Fail("the query of {} must be a string: {}", node.name, tree_.TextOf(*node.children[1]));
  }
  if (node.has_option && node.function == Function::kTextMatch) {
    if (node.option < 1) return Fail("minimum_should_match should be >= 1, got {}", node.option);
    if (node.option > 1000) return Fail("minimum_should_match should be <= 1000, got {}", node.option);
  }
  int64_t count = phrase ? 0 : node.has_option ? node.option : 1;
  if (phrase && node.children.size() == 3 && !ReadSlop(*node.children[2], &count)) return false;
  if (fuzzy && (count < 0 || count > text::FuzzyMatch::kMostEdits)) {
    return Fail("max_edit_distance should be in [0, {}], got {}", text::FuzzyMatch::kMostEdits, count);
  }
  const std::string* params = FindValue(field->type_params, "analyzer_params");
  auto analyzer = text::Analyzer::Create(params == nullptr ? "" : *params);
  if (!analyzer.ok()) {
    error_ = analyzer.status();
    return false;
  }
  const Predicate::Kind kind = phrase  ? Predicate::Kind::kPhraseMatch
                               : fuzzy ? Predicate::Kind::kFuzzyMatch
                                       : Predicate::Kind::kTextMatch;
  PredicatePtr predicate = MakePredicate(kind, std::move(ref));
  predicate->value = std::move(query.constant);
  predicate->count = count;
  predicate->analyzer = *std::move(analyzer);
  return SetPredicate(std::move(predicate), out);
}

bool Analyzer::ReadSlop(const Syntax& node, int64_t* count) {
  Operand slop;
  const bool read = Visit(node, &slop);
  if (!read || !slop.is_constant() || !slop.constant.is_int()) {
    return Fail("\"slop\" should be a const integer expression with \"uint32\" value. \"slop\" expression passed: {}",
                tree_.TextOf(node));
  }
  const int64_t value = std::get<int64_t>(slop.constant.value);
  if (value < 0) return Fail("\"slop\" should not be a negative interger. \"slop\" passed: {}", tree_.TextOf(node));
  if (value > UINT32_MAX) {
    return Fail("\"slop\" exceeds the range of \"uint32\". \"slop\" expression passed: {}", tree_.TextOf(node));
  }
  *count = value;
  return true;
}

bool Analyzer::VisitRandomSample(const Syntax& node, Operand* out) {
  Operand factor;
  const Syntax& child = *node.children[0];
  if (!Visit(child, &factor)) return false;
  if (!factor.is_constant() || factor.is_template) {
    return Fail("\"float factor\" should be a const float expression: \"float factor\" passed: {}",
                tree_.TextOf(child));
  }
  constexpr double kMargin = 1e-10;
  const double value = factor.constant.is_double() ? std::get<double>(factor.constant.value) : 0;
  if (!(value > kMargin && value < 1 - kMargin)) {
    return Fail(
        "the sample factor should be between 0 and 1 and not too close to 0 or 1(the difference should be larger "
        "than "
        "1e-10), but got {}",
        tree_.TextOf(child));
  }
  std::random_device random;
  PredicatePtr predicate = MakePredicate(Predicate::Kind::kSample);
  predicate->value.value = value;
  predicate->seed = static_cast<uint64_t>(random()) << 32U | random();
  return SetPredicate(std::move(predicate), out);
}

bool Analyzer::UsesStructMatch(const Syntax& node) {
  if (node.kind == SyntaxKind::kCall && node.function >= Function::kElementFilter &&
      node.function <= Function::kMatchExact) {
    return true;
  }
  return std::any_of(node.children.begin(), node.children.end(),
                     [](const Syntax* child) { return UsesStructMatch(*child); });
}

bool Analyzer::VisitStructMatch(const Syntax& node, Operand* out) {
  const std::string& name = node.children[0]->name;
  const auto subs = schema_.SubFields(name);
  if (subs.empty()) return Fail("struct array field {} not exist", name);
  if (UsesStructMatch(*node.children[1])) return Fail("nested {} is not supported: {}", node.name, tree_.TextOf(node));
  if (node.function == Function::kMatchLeast && node.option < 1) {
    return Fail("threshold of MATCH_LEAST must be >= 1, got {}", node.option);
  }
  element_struct_ = name;
  Operand condition;
  const bool read = Visit(*node.children[1], &condition);
  element_struct_.clear();
  if (!read) return false;
  if (condition.is_constant() && !condition.is_template && condition.constant.is_bool()) {
    condition.predicate = MakeConstant(std::get<bool>(condition.constant.value));
  } else if (condition.kind != Operand::Kind::kPredicate) {
    return Fail("the condition of {} must be a boolean expression: {}", node.name, tree_.TextOf(*node.children[1]));
  }
  if (Uses(*condition.predicate, IsSample)) return Fail("random sample expression cannot be used in {}", node.name);
  PredicatePtr predicate = MakePredicate(Predicate::Kind::kElements, ArrayOf(subs));
  predicate->is_element_filter = node.function == Function::kElementFilter;
  predicate->count = node.option;
  switch (node.function) {
    case Function::kMatchAll: predicate->quota = ElementQuota::kAll; break;
    case Function::kMatchLeast: predicate->quota = ElementQuota::kAtLeast; break;
    case Function::kMatchMost: predicate->quota = ElementQuota::kAtMost; break;
    case Function::kMatchExact: predicate->quota = ElementQuota::kExactly; break;
    default: predicate->quota = ElementQuota::kAny; break;
  }
  predicate->children.push_back(std::move(condition.predicate));
  return SetPredicate(std::move(predicate), out);
}

SpatialRelation Analyzer::RelationOf(Function function) {
  switch (function) {
    case Function::kStTouches: return SpatialRelation::kTouches;
    case Function::kStOverlaps: return SpatialRelation::kOverlaps;
    case Function::kStCrosses: return SpatialRelation::kCrosses;
    case Function::kStContains: return SpatialRelation::kContains;
    case Function::kStIntersects: return SpatialRelation::kIntersects;
    case Function::kStWithin: return SpatialRelation::kWithin;
    case Function::kStDWithin: return SpatialRelation::kDistanceWithin;
    case Function::kStIsValid: return SpatialRelation::kIsValid;
    default: return SpatialRelation::kEquals;
  }
}

bool Analyzer::VisitSpatial(const Syntax& node, Operand* out) {
  FieldRef ref;
  const std::string& name = node.children[0]->name;
  if (!Resolve(name, &ref)) return false;
  if (ref.type != DataType::kGeometry) {
    return Fail("{} operation are only supported on geometry fields now, got: {}", node.name, tree_.TextOf(node));
  }
  std::string constant;
  if (node.children.size() > 1) {
    Operand shape;
    if (!Visit(*node.children[1], &shape)) return false;
    if (!shape.is_constant() || !shape.constant.is_string()) {
      return Fail("the geometry of {} must be a WKT string: {}", node.name, tree_.TextOf(*node.children[1]));
    }
    auto wkb = WkbFromWkt(std::get<std::string>(shape.constant.value));
    if (!wkb.ok()) return Fail("{}", wkb.status().message());
    constant = *std::move(wkb);
  }
  double meters = 0;
  if (node.function == Function::kStDWithin) {
    const Syntax& child = *node.children[2];
    Operand distance;
    if (!Visit(child, &distance)) return false;
    if (!distance.is_constant()) {
      return Fail("distance parameter must be a constant numeric value, got: {}", tree_.TextOf(child));
    }
    if (!distance.constant.is_number()) {
      return Fail("distance parameter must be a numeric value (int or float), got: {}", tree_.TextOf(child));
    }
    meters = ToDouble(distance.constant);
    if (meters < 0) return Fail("distance parameter must be non-negative, got: {:f}", meters);
    if (!IsPoint(constant)) return Fail("{} only supports POINT geometry: {}", node.name, WktFromWkb(constant));
  }
  PredicatePtr predicate = MakePredicate(Predicate::Kind::kSpatial, std::move(ref));
  predicate->spatial = std::make_shared<const SpatialTest>(RelationOf(node.function), std::move(constant), meters);
  return SetPredicate(std::move(predicate), out);
}

bool Analyzer::VisitTimestamp(const Syntax& node, Operand* out) {
  FieldRef ref;
  const std::string& name = node.children[0]->name;
  if (!Resolve(name, &ref)) return false;
  if (ref.type != DataType::kTimestamptz) return Fail("field '{}' is not a timestamptz datatype", name);
  if (node.op == TokenKind::kEnd) return Fail("an interval needs a comparison with ISO: {}", tree_.TextOf(node));
  Interval interval;
  if (node.op2 != TokenKind::kEnd && !ParseInterval(node.name, &interval)) {
    return Fail("invalid ISO 8601 duration: {}", node.name);
  }
  Literal moment = node.literal;
  if (!CastTo(DataType::kTimestamptz, zone_, &moment)) {
    return Fail("can not convert compare string: failed to parse timezone-aware string '{}'",
                std::get<std::string>(node.literal.value));
  }
  const int sign = node.op2 == TokenKind::kMinus ? -1 : 1;
  if (interval.months == 0) {
    // Days are 24 hours, so the constant may be moved instead of every value.
    moment.value = AddInterval(std::get<int64_t>(moment.value), interval, -sign);
  }
  PredicatePtr predicate = MakePredicate(
      interval.months == 0 ? Predicate::Kind::kCompare : Predicate::Kind::kShiftedCompare, std::move(ref));
  predicate->op = ToCompare(node.op);
  predicate->value = std::move(moment);
  predicate->interval = interval;
  predicate->sign = sign;
  return SetPredicate(std::move(predicate), out);
}

}  // namespace quiver::expr
