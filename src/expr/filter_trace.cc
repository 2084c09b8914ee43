#include "expr/filter_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <utility>

#include "expr/evaluator.h"
#include "schema/geometry.h"

namespace quiver::expr {
namespace {

constexpr size_t kMostTextShown = 48;
constexpr size_t kMostItemsShown = 5;

std::string_view Symbol(CompareOp op) {
  switch (op) {
    case CompareOp::kEqual: return "==";
    case CompareOp::kNotEqual: return "!=";
    case CompareOp::kLess: return "<";
    case CompareOp::kLessEqual: return "<=";
    case CompareOp::kGreater: return ">";
    case CompareOp::kGreaterEqual: return ">=";
  }
  return "";
}

std::string_view Symbol(ArithmeticOp op) {
  switch (op) {
    case ArithmeticOp::kNone: return "";
    case ArithmeticOp::kAdd: return "+";
    case ArithmeticOp::kSubtract: return "-";
    case ArithmeticOp::kMultiply: return "*";
    case ArithmeticOp::kDivide: return "/";
    case ArithmeticOp::kModulo: return "%";
    case ArithmeticOp::kBitAnd: return "&";
    case ArithmeticOp::kBitOr: return "|";
    case ArithmeticOp::kBitXor: return "^";
    case ArithmeticOp::kShiftLeft: return "<<";
    case ArithmeticOp::kShiftRight: return ">>";
  }
  return "";
}

std::string_view NameOf(SpatialRelation relation) {
  switch (relation) {
    case SpatialRelation::kEquals: return "st_equals";
    case SpatialRelation::kTouches: return "st_touches";
    case SpatialRelation::kOverlaps: return "st_overlaps";
    case SpatialRelation::kCrosses: return "st_crosses";
    case SpatialRelation::kContains: return "st_contains";
    case SpatialRelation::kIntersects: return "st_intersects";
    case SpatialRelation::kWithin: return "st_within";
    case SpatialRelation::kDistanceWithin: return "st_dwithin";
    case SpatialRelation::kIsValid: return "st_isvalid";
  }
  return "";
}

/// Cuts a text at the border of a character.
std::string Shorten(std::string_view text) {
  if (text.size() <= kMostTextShown) return std::string(text);
  size_t end = kMostTextShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return std::string(text.substr(0, end)) + "...";
}

std::string Show(const Literal& literal) {
  if (const auto* truth = std::get_if<bool>(&literal.value)) return *truth ? "true" : "false";
  if (const auto* integer = std::get_if<int64_t>(&literal.value)) return fmt::format("{}", *integer);
  if (const auto* real = std::get_if<double>(&literal.value)) return fmt::format("{}", *real);
  if (const auto* text = std::get_if<std::string>(&literal.value)) return fmt::format("\"{}\"", Shorten(*text));
  const size_t size = literal.list_size();
  std::string out = "[";
  for (size_t i = 0; i < std::min(size, kMostItemsShown); ++i) {
    if (i > 0) out += ", ";
    out += Show(literal.Element(i));
  }
  if (size > kMostItemsShown) out += fmt::format(", ... {} in all", size);
  return out + "]";
}

std::string ShowField(const FieldRef& field, const CollectionSchema& schema) {
  if (field.type == DataType::kNone) return {};
  const FieldSchema* found = schema.FindById(field.field_id);
  std::string out = found == nullptr ? fmt::format("field {}", field.field_id) : found->name;
  for (const PathStep& step : field.path) {
    out += step.index >= 0 && !step.quoted ? fmt::format("[{}]", step.key) : fmt::format("[\"{}\"]", step.key);
  }
  return out;
}

/// Hands everything on, and counts.
class CountingEvaluator final : public Evaluator {
 public:
  CountingEvaluator(NodeTrace& node, EvaluatorPtr term) : node_(node), term_(std::move(term)) {}

  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    const auto begin = std::chrono::steady_clock::now();
    term_->Evaluate(chunk, active, need_known, out);
    const auto took = std::chrono::steady_clock::now() - begin;
    uint64_t tested = 0;
    uint64_t holds = 0;
    for (size_t word = 0; word < chunk.words; ++word) {
      tested += static_cast<uint64_t>(std::popcount(active[word]));
      holds += static_cast<uint64_t>(std::popcount(active[word] & out->is_true[word]));
    }
    node_.rows_tested.fetch_add(tested, std::memory_order_relaxed);
    node_.rows_true.fetch_add(holds, std::memory_order_relaxed);
    node_.nanoseconds.fetch_add(
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count()),
        std::memory_order_relaxed);
  }
  [[nodiscard]] int cost() const override { return term_->cost(); }
  [[nodiscard]] Outcomes Judge(const Chunk& chunk) const override { return term_->Judge(chunk); }
  [[nodiscard]] double Selectivity(const Chunk& chunk) const override { return term_->Selectivity(chunk); }
  [[nodiscard]] const Evaluator* counted() const override { return term_.get(); }
  [[nodiscard]] bool is_chain() const override { return term_->is_chain(); }

 private:
  NodeTrace& node_;
  EvaluatorPtr term_;
};

}  // namespace

EvaluatorPtr WithTrace(const Predicate& predicate, FilterTrace* trace, EvaluatorPtr term) {
  NodeTrace* node = trace->Find(predicate);
  if (node == nullptr) return term;
  node->evaluator = term.get();
  return std::make_unique<CountingEvaluator>(*node, std::move(term));
}

NodeTrace* FilterTrace::Find(const Predicate& predicate) {
  const auto found = positions_.find(&predicate);
  return found == positions_.end() ? nullptr : &nodes[found->second];
}

void FilterTrace::TellEstimate(NodeTrace& node, const TermIndex* index, double expected, double rows) {
  if (node.index == nullptr) node.estimated_by_pages = node.estimated_rows;
  node.index = index;
  // In the place of the part of these rows in the estimate by pages.
  const double share = rows_ > 0 ? rows / rows_ : 1;
  node.estimated_rows += expected - share * node.estimated_by_pages;
}

void FilterTrace::TellCosts(double by_index, double by_scan) {
  index_cost = (std::isnan(index_cost) ? 0 : index_cost) + by_index;
  scan_cost = (std::isnan(scan_cost) ? 0 : scan_cost) + by_scan;
}

void FilterTrace::ForgetIndexes() {
  index_cost = scan_cost = std::numeric_limits<double>::quiet_NaN();
  for (NodeTrace& node : nodes) {
    if (node.index != nullptr) node.estimated_rows = node.estimated_by_pages;
    node.index = nullptr;
    node.index_asked = node.index_negated = false;
    node.index_rows = 0;
  }
}

void FilterTrace::CombineEstimates(double rows) {
  if (rows > 0) Combine(nodes.front(), rows);
}

/// Returns whether an index has told something below or at the node.
bool FilterTrace::Combine(NodeTrace& node, double rows) {
  bool told = node.index != nullptr;
  double left = 1;
  const bool any = node.predicate->kind == Predicate::Kind::kOr;
  for (const size_t child : node.children) {
    told = Combine(nodes[child], rows) || told;
    const double share = nodes[child].estimated_rows / rows;
    left *= any ? 1 - share : share;
  }
  if (!told || node.children.empty()) return told;
  const bool turned = any || node.predicate->kind == Predicate::Kind::kNot;
  node.estimated_rows = rows * (turned ? 1 - left : left);
  return true;
}

size_t FilterTrace::Add(const Predicate& predicate) {
  const size_t at = nodes.size();
  nodes.emplace_back();
  nodes[at].predicate = &predicate;
  positions_.emplace(&predicate, at);
  if (predicate.kind == Predicate::Kind::kElements) return at;
  for (const PredicatePtr& child : predicate.children) {
    const size_t position = Add(*child);
    nodes[at].children.push_back(position);
  }
  return at;
}

std::string OperatorOf(const Predicate& predicate) {
  using Kind = Predicate::Kind;
  switch (predicate.kind) {
    case Kind::kConstant: return predicate.constant ? "true" : "false";
    case Kind::kAnd: return "and";
    case Kind::kOr: return "or";
    case Kind::kNot: return "not";
    case Kind::kCompare:
    case Kind::kShiftedCompare:
    case Kind::kCompareFields: return std::string(Symbol(predicate.op));
    case Kind::kRange: return "range";
    case Kind::kIn: return "in";
    case Kind::kArithmetic: return fmt::format("{} {}", Symbol(predicate.arithmetic), Symbol(predicate.op));
    case Kind::kLike: return "like";
    case Kind::kRegex: return "=~";
    case Kind::kIsNull: return "is null";
    case Kind::kExists: return "exists";
    case Kind::kContains:
      switch (predicate.contains) {
        case ContainsMode::kOne: return "contains";
        case ContainsMode::kAll: return "contains_all";
        case ContainsMode::kAny: return "contains_any";
      }
      return "";
    case Kind::kArrayLength: return fmt::format("array_length {}", Symbol(predicate.op));
    case Kind::kEmpty: return "is empty";
    case Kind::kTextMatch: return "text_match";
    case Kind::kFuzzyMatch: return "text_match_fuzzy";
    case Kind::kPhraseMatch: return "phrase_match";
    case Kind::kSpatial: return std::string(NameOf(predicate.spatial->relation()));
    case Kind::kSample: return "random_sample";
    case Kind::kElements: return predicate.is_element_filter ? "element_filter" : "match";
  }
  return "";
}

std::string FieldOf(const Predicate& predicate, const CollectionSchema& schema) {
  return ShowField(predicate.field, schema);
}

std::string ConstantsOf(const Predicate& predicate, const CollectionSchema& schema) {
  using Kind = Predicate::Kind;
  switch (predicate.kind) {
    case Kind::kCompareFields: return ShowField(predicate.right_field, schema);
    case Kind::kRange:
      return fmt::format("{}{}, {}{}", predicate.lower_inclusive ? '[' : '(', Show(predicate.value),
                         Show(predicate.upper), predicate.upper_inclusive ? ']' : ')');
    case Kind::kArithmetic: return fmt::format("{}, {}", Show(predicate.operand), Show(predicate.value));
    case Kind::kSpatial: return Shorten(WktFromWkb(predicate.spatial->constant()));
    case Kind::kCompare:
    case Kind::kShiftedCompare:
    case Kind::kIn:
    case Kind::kLike:
    case Kind::kRegex:
    case Kind::kContains:
    case Kind::kArrayLength:
    case Kind::kTextMatch:
    case Kind::kFuzzyMatch:
    case Kind::kPhraseMatch:
    case Kind::kSample: return Show(predicate.value);
    default: return {};
  }
}

}  // namespace quiver::expr
