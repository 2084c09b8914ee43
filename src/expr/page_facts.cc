// What the statistics of a page say about a term: it may be decided without a look at the values, and its share of true
// rows can be estimated.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "expr/like_pattern.h"
#include "expr/row_loops.h"
#include "expr/value_statistics.h"

namespace quiver::expr {
namespace {

/// Where the values of a page lie against the values that a term accepts.
enum class Overlap : uint8_t { kNone, kSome, kAll };

/// An interval of accepted values; `Value` is int64_t, double or std::string. kAll needs that whole pages can be told
/// to lie inside.
template <typename Value>
struct Accepted {
  std::optional<Value> lower;
  std::optional<Value> upper;
  bool lower_inclusive = true;
  bool upper_inclusive = true;
  bool inverted = false;  ///< !=: everything but the (single) value

  template <typename Bound>
  [[nodiscard]] Overlap Of(const Bound& least, const Bound& most, bool most_open) const {
    bool below = false;  // all values lie below the interval
    bool above = false;
    bool inside = true;
    if (lower.has_value()) {
      const Bound bound(*lower);
      below = !most_open && (lower_inclusive ? most < bound : most <= bound);
      inside = inside && (lower_inclusive ? least >= bound : least > bound);
    }
    if (upper.has_value()) {
      const Bound bound(*upper);
      above = upper_inclusive ? least > bound : least >= bound;
      inside = inside && !most_open && (upper_inclusive ? most <= bound : most < bound);
    }
    const bool outside = below || above;
    if (inverted) return outside ? Overlap::kAll : inside ? Overlap::kNone : Overlap::kSome;
    return outside ? Overlap::kNone : inside ? Overlap::kAll : Overlap::kSome;
  }
};

template <typename Value>
Accepted<Value> IntervalOf(CompareOp op, const Value& value) {
  Accepted<Value> accepted;
  switch (op) {
    case CompareOp::kEqual:
    case CompareOp::kNotEqual:
      accepted.lower = accepted.upper = value;
      accepted.inverted = op == CompareOp::kNotEqual;
      break;
    case CompareOp::kLess:
    case CompareOp::kLessEqual:
      accepted.upper = value;
      accepted.upper_inclusive = op == CompareOp::kLessEqual;
      break;
    default: accepted.lower = value; accepted.lower_inclusive = op == CompareOp::kGreaterEqual;
  }
  return accepted;
}

/// A test of single values, in the kind that pages have bounds of.
struct PageTest {
  enum class Kind : uint8_t { kInteger, kReal, kText, kIsNull };
  Kind kind = Kind::kIsNull;
  bool exact = true;   ///< a page inside of the interval passes as a whole; else pages are only ruled out
  double values = 0;   ///< single values that are accepted; 0: an interval
  double usual = 0.3;  ///< share of true rows where nothing is known
  Accepted<int64_t> integers;
  Accepted<double> reals;
  Accepted<std::string> texts;
  Literal list;  ///< some of the accepted values where they are many single ones
};

/// Values of a list that are looked up to tell how many rows all of them have.
constexpr size_t kMostLookedUp = 64;

/// Up to kMostLookedUp values of a list, evenly spaced.
template <typename List>
List SomeOf(const List& list) {
  if (list.size() <= kMostLookedUp) return list;
  List some;
  for (size_t i = 0; i < kMostLookedUp; ++i) some.push_back(list[i * list.size() / kMostLookedUp]);
  return some;
}

template <typename Value, typename Read>
Accepted<Value> IntervalOf(const Predicate& predicate, const Read& read) {
  if (predicate.kind == Predicate::Kind::kRange) {
    Accepted<Value> accepted;
    accepted.lower = read(predicate.value);
    accepted.upper = read(predicate.upper);
    accepted.lower_inclusive = predicate.lower_inclusive;
    accepted.upper_inclusive = predicate.upper_inclusive;
    return accepted;
  }
  return IntervalOf<Value>(predicate.op, read(predicate.value));
}

/// Bounds of a sorted list.
template <typename Value, typename List>
bool BoundList(const List& list, Accepted<Value>* accepted) {
  if (list.empty()) return false;
  accepted->lower = list.front();
  accepted->upper = list.back();
  return true;
}

bool MakeTextTest(const Predicate& predicate, PageTest* test) {
  test->kind = PageTest::Kind::kText;
  const auto text_of = [](const Literal& literal) { return std::get<std::string>(literal.value); };
  switch (predicate.kind) {
    case Predicate::Kind::kCompare:
    case Predicate::Kind::kRange: test->texts = IntervalOf<std::string>(predicate, text_of); return true;
    case Predicate::Kind::kIn: {
      const auto& values = std::get<Literal::Strings>(predicate.value.value);
      test->list.value = SomeOf(values);
      return BoundList(values, &test->texts);
    }
    case Predicate::Kind::kLike: {
      const LikePattern pattern(text_of(predicate.value));
      if (pattern.form() != LikePattern::Form::kPrefix) return false;
      test->texts.lower = pattern.literal();
      test->texts.upper_inclusive = false;
      test->usual = 0.05;
      if (std::string after = AfterPrefix(pattern.literal()); !after.empty()) test->texts.upper = std::move(after);
      return true;
    }
    default: return false;
  }
}

bool MakeTest(const Predicate& predicate, PageTest* test) {
  if (predicate.kind == Predicate::Kind::kIsNull) {
    test->usual = 0.1;
    return true;
  }
  const bool list = predicate.kind == Predicate::Kind::kIn;
  if (!list && predicate.kind != Predicate::Kind::kCompare && predicate.kind != Predicate::Kind::kRange &&
      predicate.kind != Predicate::Kind::kLike) {
    return false;
  }
  const bool equality = predicate.kind == Predicate::Kind::kCompare && predicate.op == CompareOp::kEqual;
  const bool inequality = predicate.kind == Predicate::Kind::kCompare && predicate.op == CompareOp::kNotEqual;
  test->exact = !list;
  if (list) test->values = static_cast<double>(predicate.value.list_size());
  if (equality || inequality) test->values = 1;
  if (equality || list) test->usual = 0.05;
  if (inequality) test->usual = 0.95;
  const DataType type = predicate.field.type;
  if (type == DataType::kVarChar || type == DataType::kString) return MakeTextTest(predicate, test);
  if (IsInteger(type) || type == DataType::kTimestamptz) {
    test->kind = PageTest::Kind::kInteger;
    if (list) {
      const auto& values = std::get<Literal::Ints>(predicate.value.value);
      test->list.value = SomeOf(values);
      return BoundList(values, &test->integers);
    }
    test->integers =
        IntervalOf<int64_t>(predicate, [](const Literal& literal) { return std::get<int64_t>(literal.value); });
    return true;
  }
  if (type == DataType::kBool && !list) {
    test->kind = PageTest::Kind::kInteger;
    test->integers = IntervalOf<int64_t>(
        predicate, [](const Literal& literal) { return std::get<bool>(literal.value) ? int64_t{1} : int64_t{0}; });
    return true;
  }
  if (IsFloating(type)) {
    test->kind = PageTest::Kind::kReal;
    // FLOAT columns compare in single precision; see BuildFloat.
    const auto round = [type](double value) {
      return type == DataType::kFloat ? static_cast<double>(static_cast<float>(value)) : value;
    };
    if (list) {
      const auto& values = std::get<Literal::Doubles>(predicate.value.value);
      if (!BoundList(values, &test->reals)) return false;
      Literal::Doubles some = SomeOf(values);
      for (double& value : some) value = round(value);
      test->list.value = std::move(some);
      test->reals.lower = round(*test->reals.lower);
      test->reals.upper = round(*test->reals.upper);
      return true;
    }
    test->reals =
        IntervalOf<double>(predicate, [&](const Literal& literal) { return round(std::get<double>(literal.value)); });
    const auto usable = [](const std::optional<double>& bound) { return !bound.has_value() || !std::isnan(*bound); };
    return usable(test->reals.lower) && usable(test->reals.upper);
  }
  return false;
}

/// Share of an interval of numbers that the accepted one covers.
template <typename Value>
double Covered(const Accepted<Value>& accepted, double least, double most) {
  const double low = accepted.lower.has_value() ? std::max(least, static_cast<double>(*accepted.lower)) : least;
  const double high = accepted.upper.has_value() ? std::min(most, static_cast<double>(*accepted.upper)) : most;
  if (most <= least) return high >= low ? 1 : 0;
  return std::clamp((high - low) / (most - least), 0.0, 1.0);
}

template <typename Value>
struct SearchedAs {
  using Type = Value;
};
template <>
struct SearchedAs<std::string> {
  using Type = std::string_view;
};

/// Rows of the segment that the test accepts, by what is known of its values.
template <typename Value>
double AcceptedRows(const PageTest& test, const Accepted<Value>& accepted, const ValueStatistics& known) {
  using Searched = typename SearchedAs<Value>::Type;
  if (const auto* list = std::get_if<std::vector<Value>>(&test.list.value); list != nullptr && !list->empty()) {
    double rows = 0;
    for (const Value& value : *list) rows += known.RowsEqual<Searched>(value);
    return rows * test.values / static_cast<double>(list->size());
  }
  if (test.values > 0) return known.RowsEqual<Searched>(*accepted.lower);
  ValueInterval<Searched> interval{.lower_inclusive = accepted.lower_inclusive,
                                   .upper_inclusive = accepted.upper_inclusive};
  if (accepted.lower.has_value()) interval.lower.emplace(*accepted.lower);
  if (accepted.upper.has_value()) interval.upper.emplace(*accepted.upper);
  return known.RowsWithin<Searched>(interval);
}

/// Share of a page's values that the test accepts, if the page is like all of its segment: its bounds hold at least
/// half of the values. Others are better told by their own facts.
template <typename Value, typename Bound>
std::optional<double> ShareByStatistics(const PageTest& test, const Accepted<Value>& accepted, const PageFacts& facts,
                                        const Bound& least, const std::optional<Bound>& most) {
  const ValueStatistics& known = *facts.values;
  const double in_bounds = known.RowsWithin<Bound>({.lower = least, .upper = most});
  if (known.values == 0 || in_bounds * 2 < static_cast<double>(known.values)) return std::nullopt;
  const double share = std::clamp(AcceptedRows(test, accepted, known) / in_bounds, 0.0, 1.0);
  return accepted.inverted ? 1 - share : share;
}

class JudgedEvaluator final : public Evaluator {
 public:
  JudgedEvaluator(PageTest test, size_t slot, EvaluatorPtr term)
      : test_(std::move(test)), slot_(slot), term_(std::move(term)) {}

  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    term_->Evaluate(chunk, active, need_known, out);
  }
  size_t Keep(const Chunk& chunk, uint16_t* rows, size_t count) const override {
    return term_->Keep(chunk, rows, count);
  }
  [[nodiscard]] int cost() const override { return term_->cost(); }

  [[nodiscard]] Outcomes Judge(const Chunk& chunk) const override {
    const PageFacts* facts = chunk.FactsOf(slot_);
    if (facts == nullptr) return {};
    const bool some_null = facts->null_count > 0;
    const bool some_value = facts->null_count < chunk.rows;
    if (test_.kind == PageTest::Kind::kIsNull) return {some_null, some_value, false};
    Outcomes outcomes{some_value, some_value, some_null};
    if (!some_value) return outcomes;
    // NaN is outside of every interval, and different from everything.
    const bool inverted = test_.kind == PageTest::Kind::kReal && test_.reals.inverted;
    const Overlap overlap = facts->has_values ? OverlapOf(*facts) : inverted ? Overlap::kAll : Overlap::kNone;
    if (overlap == Overlap::kNone && !(facts->has_nan && inverted)) outcomes.may_be_true = false;
    if (overlap == Overlap::kAll && test_.exact && !(facts->has_nan && !inverted)) outcomes.may_be_false = false;
    return outcomes;
  }

  [[nodiscard]] double Selectivity(const Chunk& chunk) const override {
    const PageFacts* facts = chunk.FactsOf(slot_);
    if (facts == nullptr || chunk.rows == 0) return test_.usual;
    const double present = 1 - static_cast<double>(facts->null_count) / static_cast<double>(chunk.rows);
    if (test_.kind == PageTest::Kind::kIsNull) return 1 - present;
    if (!facts->has_values) return 0;
    if (OverlapOf(*facts) == Overlap::kNone) return 0;
    if (facts->values != nullptr) {
      if (const auto share = ShareByStatistics(*facts); share.has_value()) return present * *share;
    }
    if (test_.values > 0 && facts->distinct > 0) {
      const double share = std::min(1.0, test_.values / static_cast<double>(facts->distinct));
      const bool inverted = test_.integers.inverted || test_.reals.inverted || test_.texts.inverted;
      return present * (inverted ? 1 - share : share);
    }
    switch (test_.kind) {
      case PageTest::Kind::kInteger:
        return present * Covered(test_.integers, static_cast<double>(facts->least), static_cast<double>(facts->most));
      case PageTest::Kind::kReal: return present * Covered(test_.reals, facts->least_real, facts->most_real);
      default: return present * test_.usual;
    }
  }

 private:
  [[nodiscard]] std::optional<double> ShareByStatistics(const PageFacts& facts) const {
    switch (test_.kind) {
      case PageTest::Kind::kInteger:
        return expr::ShareByStatistics<int64_t, int64_t>(test_, test_.integers, facts, facts.least, facts.most);
      case PageTest::Kind::kReal:
        return expr::ShareByStatistics<double, double>(test_, test_.reals, facts, facts.least_real, facts.most_real);
      default: {
        std::optional<std::string_view> most;
        if (!facts.most_text_open) most = facts.most_text;
        return expr::ShareByStatistics<std::string, std::string_view>(test_, test_.texts, facts, facts.least_text,
                                                                      most);
      }
    }
  }
  [[nodiscard]] Overlap OverlapOf(const PageFacts& facts) const {
    switch (test_.kind) {
      case PageTest::Kind::kInteger: return test_.integers.Of(facts.least, facts.most, false);
      case PageTest::Kind::kReal: return test_.reals.Of(facts.least_real, facts.most_real, false);
      default: return test_.texts.Of(facts.least_text, facts.most_text, facts.most_text_open);
    }
  }

  PageTest test_;
  size_t slot_;
  EvaluatorPtr term_;
};

}  // namespace

EvaluatorPtr WithPageFacts(const Predicate& predicate, size_t slot, EvaluatorPtr term) {
  PageTest test;
  if (!predicate.field.path.empty() || !MakeTest(predicate, &test)) return term;
  return std::make_unique<JudgedEvaluator>(std::move(test), slot, std::move(term));
}

void FillOutcome(const Outcomes& outcomes, const Chunk& chunk, Truth* out) {
  for (size_t word = 0; word < chunk.words; ++word) {
    out->is_true[word] = outcomes.may_be_true ? ~uint64_t{0} : 0;
    out->is_known[word] = outcomes.may_be_unknown ? 0 : ~uint64_t{0};
  }
}

}  // namespace quiver::expr
