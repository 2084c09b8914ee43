#include "index/internal/postings_index.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "expr/array_values.h"
#include "expr/constants.h"
#include "expr/like_pattern.h"
#include "index/internal/json_numbers.h"
#include "index/internal/postings_answer.h"

namespace quiver::index {

namespace {

using expr::CompareOp;
using expr::Literal;
using expr::Predicate;
using Range = Postings::Range;

constexpr double kWordPrice = 0.3;

/// Every row but some; `rows` has all rows with a value.
class ComplementAnswer final : public expr::TermAnswer {
 public:
  ComplementAnswer(const Postings& postings, std::vector<Range> others, std::span<const uint32_t> nulls, uint64_t count,
                   uint32_t rows)
      : postings_(postings), others_(std::move(others)), nulls_(nulls) {
    least = most = count;
    nanoseconds = kFindPrice + 2 * kWordPrice * (static_cast<double>(rows) / 64) + static_cast<double>(nulls.size());
    for (const Range& range : others_) nanoseconds += postings_.PriceOf(range);
  }

  void AddTo(expr::RowSet* rows) const override {
    expr::RowSet found(rows->rows());
    postings_.AddTo(others_, &found);
    found.Add(nulls_);
    found.Invert();
    rows->Unite(found);
  }

 private:
  const Postings& postings_;
  std::vector<Range> others_;
  std::span<const uint32_t> nulls_;
};

class PostingsIndex final : public FileIndex {
 public:
  PostingsIndex(IndexBase base, bool rounded, Postings postings)
      : FileIndex(std::move(base)),
        recipe_(recipe()),
        rounded_(rounded),
        rows_(row_count()),
        domain_(DomainOf(recipe_.value_type)),
        postings_(postings),
        nulls_(null_rows()) {}

  [[nodiscard]] uint64_t value_count() const override { return postings_.value_count(); }

 private:
  [[nodiscard]] std::unique_ptr<expr::TermAnswer> AnswerTerm(const Predicate& term) const override {
    if (recipe_.elements != (term.kind == Predicate::Kind::kContains)) return nullptr;
    if (recipe_.texts_as_numbers) {
      if (std::optional<std::vector<Literal>> numbers = NumbersInTexts(term)) return AnswerTexts(*numbers);
    }
    switch (term.kind) {
      case Predicate::Kind::kCompare: {
        const CompareOp op = term.op == CompareOp::kNotEqual ? CompareOp::kEqual : term.op;
        if (!Fits(term.value)) return nullptr;
        return Interval(
            op == CompareOp::kEqual || op == CompareOp::kGreater || op == CompareOp::kGreaterEqual ? &term.value
                                                                                                   : nullptr,
            op != CompareOp::kGreater,
            op == CompareOp::kEqual || op == CompareOp::kLess || op == CompareOp::kLessEqual ? &term.value : nullptr,
            op != CompareOp::kLess);
      }
      case Predicate::Kind::kRange:
        if (!Fits(term.value) || !Fits(term.upper)) return nullptr;
        return Interval(&term.value, term.lower_inclusive, &term.upper, term.upper_inclusive);
      case Predicate::Kind::kIn: return AnyOf(term.value);
      case Predicate::Kind::kContains: return AnswerContains(term);
      case Predicate::Kind::kEmpty: {
        const Literal empty{std::string()};
        return domain_ == ValueDomain::kTexts ? Interval(&empty, true, &empty, true) : nullptr;
      }
      case Predicate::Kind::kLike: return domain_ == ValueDomain::kTexts ? AnswerLike(term) : nullptr;
      default: return nullptr;
    }
  }

  /// The numbers that the texts of an equality or a list hold; nothing where there is no text, or another one.
  [[nodiscard]] static std::optional<std::vector<Literal>> NumbersInTexts(const Predicate& term) {
    const bool equality =
        term.kind == Predicate::Kind::kCompare && (term.op == CompareOp::kEqual || term.op == CompareOp::kNotEqual);
    if (!equality && term.kind != Predicate::Kind::kIn) return std::nullopt;
    std::vector<Literal> numbers;
    bool any = false;
    for (size_t i = 0; i < (equality ? 1 : term.value.list_size()); ++i) {
      Literal item = equality ? term.value : term.value.Element(i);
      if (const auto* text = std::get_if<std::string>(&item.value)) {
        const auto number = NumberInText(*text);
        if (!number) return std::nullopt;
        item = Literal{number->ToDouble()};
        any = true;
      }
      if (!item.is_number()) return std::nullopt;
      numbers.push_back(std::move(item));
    }
    if (!any) return std::nullopt;
    return numbers;
  }

  /// Candidates: one number is written in many ways.
  [[nodiscard]] std::unique_ptr<expr::TermAnswer> AnswerTexts(const std::vector<Literal>& numbers) const {
    std::vector<Range> ranges;
    for (const Literal& number : numbers) {
      const Range range = Find(number);
      const bool known = std::any_of(ranges.begin(), ranges.end(), [&](Range r) { return r.begin == range.begin; });
      if (range.begin != range.end && !known) ranges.push_back(range);
    }
    std::unique_ptr<expr::TermAnswer> answer = Ranges(std::move(ranges));
    answer->exact = false;
    answer->least = 0;
    return answer;
  }

  /// Whether a constant can be compared with the values. JSON values of other kinds are not in the index, and what a
  /// term says of them follows from the constant's kind.
  [[nodiscard]] bool Fits(const Literal& literal) const {
    switch (domain_) {
      case ValueDomain::kTexts: return literal.is_string();
      case ValueDomain::kReals: return literal.is_number();
      default: return recipe_.value_type == DataType::kBool ? literal.is_bool() : literal.is_number();
    }
  }

  /// Value at `position` against a constant that fits.
  [[nodiscard]] std::partial_ordering Compare(uint32_t position, const Literal& literal) const {
    switch (domain_) {
      case ValueDomain::kTexts:
        return postings_.Text(position) <=> std::string_view(std::get<std::string>(literal.value));
      case ValueDomain::kReals: {
        const double value = postings_.reals()[position];
        if (recipe_.type == DataType::kJson && !rounded_) {
          if (const auto* integer = std::get_if<int64_t>(&literal.value)) {
            return 0 <=> expr::CompareExact(*integer, value);
          }
        }
        // FLOAT compares in single precision: the constant is rounded first.
        return value <=> expr::RoundTo(recipe_.value_type, expr::ToDouble(literal));
      }
      default: {
        const int64_t value = postings_.integers()[position];
        if (const auto* truth = std::get_if<bool>(&literal.value)) return value <=> int64_t{*truth ? 1 : 0};
        if (const auto* integer = std::get_if<int64_t>(&literal.value)) return value <=> *integer;
        return expr::CompareExact(value, std::get<double>(literal.value));
      }
    }
  }

  /// The first position, from `from` on, whose value is not below (`after`: is above) the constant.
  [[nodiscard]] uint32_t Position(const Literal& literal, bool after, uint32_t from = 0) const {
    const uint32_t count = postings_.value_count();
    const auto before = [&](uint32_t position) {
      const std::partial_ordering order = Compare(position, literal);
      return order == std::partial_ordering::less || (after && order == std::partial_ordering::equivalent);
    };
    uint32_t low = from;
    uint32_t step = 1;
    while (uint64_t{low} + step < count && before(low + step)) {
      low += step;
      step = std::min(step * 2, count);
    }
    auto high = static_cast<uint32_t>(std::min<uint64_t>(uint64_t{low} + step, count));
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      if (before(middle)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  [[nodiscard]] static bool IsNan(const Literal& literal) {
    const auto* real = std::get_if<double>(&literal.value);
    return real != nullptr && std::isnan(*real);
  }

  /// Values between two constants; nullptr: no bound.
  [[nodiscard]] std::unique_ptr<expr::TermAnswer> Interval(const Literal* lower, bool lower_inclusive,
                                                           const Literal* upper, bool upper_inclusive) const {
    Range range{0, postings_.value_count()};
    // A number that was rounded may have been on either side of a bound that it equals now.
    if (lower != nullptr) range.begin = Position(*lower, !lower_inclusive && !rounded_);
    if (upper != nullptr) range.end = Position(*upper, upper_inclusive || rounded_, range.begin);
    if ((lower != nullptr && IsNan(*lower)) || (upper != nullptr && IsNan(*upper))) range.end = range.begin;
    range.end = std::max(range.end, range.begin);
    return Ranges({range});
  }

  [[nodiscard]] std::unique_ptr<expr::TermAnswer> Ranges(std::vector<Range> ranges, bool all = false) const {
    std::unique_ptr<expr::TermAnswer> answer;
    const uint64_t valued = uint64_t{rows_} - nulls_.size();
    if (!all && ranges.size() == 1 && !recipe_.elements && postings_.size() == valued &&
        postings_.CountOf(ranges[0]) * 2 > valued) {
      // Most rows: the others are fewer.
      const uint64_t count = postings_.CountOf(ranges[0]);
      answer = std::make_unique<ComplementAnswer>(
          postings_, std::vector<Range>{{0, ranges[0].begin}, {ranges[0].end, postings_.value_count()}}, nulls_, count,
          rows_);
    } else {
      answer = std::make_unique<PostingsAnswer>(postings_, std::move(ranges), all, recipe_.elements);
    }
    if (rounded_) {
      answer->exact = false;
      answer->least = 0;
    }
    return answer;
  }

  /// The value that equals a constant, if there is one.
  [[nodiscard]] Range Find(const Literal& literal, uint32_t from = 0) const {
    const uint32_t position = Position(literal, false, from);
    const bool found =
        position < postings_.value_count() && Compare(position, literal) == std::partial_ordering::equivalent;
    return {position, position + (found ? 1U : 0U)};
  }

  [[nodiscard]] std::unique_ptr<expr::TermAnswer> AnyOf(const Literal& list) const {
    const size_t size = list.list_size();
    // Lists for scalar fields are sorted.
    const bool sorted = recipe_.type != DataType::kJson;
    std::vector<Range> ranges;
    uint32_t from = 0;
    for (size_t i = 0; i < size; ++i) {
      const Literal item = list.Element(i);
      if (!Fits(item)) return nullptr;
      if (IsNan(item)) continue;
      const Range range = Find(item, sorted ? from : 0);
      if (sorted) from = range.begin;
      if (range.begin == range.end) continue;
      if (!ranges.empty() && ranges.back().end == range.end) continue;  // equal once rounded
      if (!ranges.empty() && ranges.back().end == range.begin) {
        ranges.back().end = range.end;
      } else {
        ranges.push_back(range);
      }
    }
    std::unique_ptr<expr::TermAnswer> answer = Ranges(std::move(ranges));
    if (!sorted) answer->least = 0;
    return answer;
  }

  [[nodiscard]] std::unique_ptr<expr::TermAnswer> AnswerContains(const Predicate& term) const {
    const bool json = recipe_.type == DataType::kJson;
    std::vector<Literal> items;
    if (term.contains == expr::ContainsMode::kOne) {
      items.push_back(term.value);
    } else {
      for (size_t i = 0; i < term.value.list_size(); ++i) items.push_back(term.value.Element(i));
    }
    const bool all = term.contains == expr::ContainsMode::kAll;
    if (items.empty()) return nullptr;
    std::vector<Range> ranges;
    for (const Literal& item : items) {
      Range range{0, 0};
      if (Fits(item)) {
        if (!IsNan(item)) range = Find(item);
      } else if (json) {
        return nullptr;  // elements of other kinds are not in the index
      }
      if (range.begin == range.end) {
        if (all) return Ranges({});  // nothing holds it
        continue;
      }
      const bool known = std::any_of(ranges.begin(), ranges.end(), [&](Range r) { return r.begin == range.begin; });
      if (!known) ranges.push_back(range);
    }
    return Ranges(std::move(ranges), all);
  }

  [[nodiscard]] std::unique_ptr<expr::TermAnswer> AnswerLike(const Predicate& term) const {
    const expr::LikePattern pattern(std::get<std::string>(term.value.value));
    const std::string prefix(pattern.prefix());
    Range range{0, postings_.value_count()};
    if (!prefix.empty()) {
      range.begin = Position(Literal{prefix}, false);
      if (std::string after = expr::AfterPrefix(prefix); !after.empty()) {
        range.end = Position(Literal{std::move(after)}, false, range.begin);
      }
    }
    using Form = expr::LikePattern::Form;
    if (pattern.form() == Form::kPrefix || pattern.form() == Form::kAny) return Ranges({range});
    if (pattern.form() == Form::kEqual) return Ranges({Find(Literal{prefix}, range.begin)});
    if ((range.end - range.begin) > rows_ / kRowsPerTriedValue) return nullptr;
    std::unique_ptr<expr::TermAnswer> answer = Ranges(MatchingTexts(postings_, range, pattern));
    answer->nanoseconds += static_cast<double>(range.end - range.begin) * kTryPrice;
    return answer;
  }

  const ScalarRecipe& recipe_;
  const bool rounded_;  ///< JSON: numbers that no double holds are in it as the nearest one, or texts as numbers
  const uint32_t rows_;
  const ValueDomain domain_;
  const Postings postings_;
  const std::span<const uint32_t> nulls_;
};

}  // namespace

std::unique_ptr<ScalarIndex> MakePostingsIndex(IndexBase base, bool rounded, const Postings& postings) {
  return std::make_unique<PostingsIndex>(std::move(base), rounded, postings);
}

}  // namespace quiver::index
