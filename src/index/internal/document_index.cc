#include "index/internal/document_index.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <utility>

#include "expr/constants.h"
#include "expr/like_pattern.h"
#include "index/internal/json_numbers.h"
#include "index/internal/postings_answer.h"

namespace quiver::index {

namespace {

using expr::CompareOp;
using expr::JsonType;
using expr::JsonValue;
using expr::Literal;
using expr::Predicate;
using Range = Postings::Range;

enum class Kind : uint8_t { kBool, kNumber, kString };

char MarkOf(Kind kind, bool element) {
  constexpr std::string_view kScalars = "bns";
  constexpr std::string_view kElements = "BNS";
  return (element ? kElements : kScalars)[static_cast<size_t>(kind)];
}

void AppendStep(std::string_view key, std::string* entry) {
  const auto length = static_cast<uint32_t>(key.size());
  entry->push_back('\0');
  entry->append(reinterpret_cast<const char*>(&length), sizeof(length));
  entry->append(key);
}

/// Not NaN.
void AppendNumber(double number, std::string* entry) {
  auto bits = std::bit_cast<uint64_t>(number + 0.0);  // -0 and 0 are one value
  constexpr uint64_t kSign = uint64_t{1} << 63;
  bits = (bits & kSign) != 0 ? ~bits : bits | kSign;
  for (int shift = 56; shift >= 0; shift -= 8) entry->push_back(static_cast<char>(bits >> shift & 0xFF));
}

}  // namespace

void DocumentReader::Add(const JsonValue& value, uint32_t row) {
  entry_.clear();
  AddValue(value, 0, row);
}

void DocumentReader::AddValue(const JsonValue& value, size_t steps, uint32_t row) {
  if (value.type == JsonType::kObject) {
    if (steps < kMaxDocumentSteps) AddObject(value, steps, row);
    return;
  }
  if (value.type != JsonType::kArray) return AddScalar(value, false, row);
  expr::JsonArrayCursor cursor(value);
  for (JsonValue element; cursor.Next(&element);) AddScalar(element, true, row);
}

void DocumentReader::AddObject(const JsonValue& object, size_t steps, uint32_t row) {
  std::vector<Member> members;
  expr::JsonObjectCursor cursor(object);
  JsonValue key;
  for (JsonValue value; cursor.Next(&key, &value);) {
    members.push_back({std::string(expr::JsonStringText(key, &decoded_)), members.size(), value});
  }
  // Of repeated keys the first counts, as it does for FindJson.
  std::sort(members.begin(), members.end(), [](const Member& a, const Member& b) {
    const auto order = a.key <=> b.key;
    return order != 0 ? order < 0 : a.position < b.position;
  });
  const std::string* last = nullptr;
  const size_t size = entry_.size();
  for (const Member& member : members) {
    if (last != nullptr && *last == member.key) continue;
    last = &member.key;
    AppendStep(member.key, &entry_);
    AddValue(member.value, steps + 1, row);
    entry_.resize(size);
  }
}

void DocumentReader::AddScalar(const JsonValue& value, bool element, uint32_t row) {
  const size_t size = entry_.size();
  const auto add = [&](Kind kind, const auto& append) {
    entry_.push_back(MarkOf(kind, element));
    append();
    builder_.Add(std::string_view(entries_.emplace_back(entry_)), row);
    entry_.resize(size);
  };
  if (value.type == JsonType::kBool) {
    add(Kind::kBool, [&] { entry_.push_back(value.truth() ? '\1' : '\0'); });
  } else if (value.type == JsonType::kString) {
    add(Kind::kString, [&] { entry_.append(expr::JsonStringText(value, &decoded_)); });
  } else if (expr::JsonNumber number; value.type == JsonType::kNumber && expr::ReadJsonNumber(value.text, &number)) {
    const double real = NearestDouble(number, &rounded_);
    if (!std::isnan(real)) add(Kind::kNumber, [&] { AppendNumber(real, &entry_); });
  }
}

namespace {

class DocumentIndex final : public FileIndex {
 public:
  DocumentIndex(IndexBase base, bool rounded, Postings postings)
      : FileIndex(std::move(base)), rounded_(rounded), postings_(postings) {}

  [[nodiscard]] uint64_t value_count() const override { return postings_.value_count(); }

 private:
  /// The values of one place and kind: their entries begin with `begin` and lie before `end`.
  struct Values {
    std::string begin;
    std::string end;
    Kind kind;
  };
  struct Bound {
    const Literal* constant;
    bool inclusive;
  };

  /// Serves all places below its own that no position of an array leads to.
  [[nodiscard]] bool Covers(const std::vector<expr::PathStep>& path) const override {
    const std::vector<std::string>& own = recipe().path;
    if (path.size() < own.size() || path.size() - own.size() > kMaxDocumentSteps) return false;
    for (size_t i = 0; i < path.size(); ++i) {
      // A key of digits may mean a position.
      if (i < own.size() ? path[i].key != own[i] : path[i].index >= 0) return false;
    }
    return true;
  }

  [[nodiscard]] std::unique_ptr<expr::TermAnswer> AnswerTerm(const Predicate& term) const override {
    switch (term.kind) {
      case Predicate::Kind::kCompare: {
        const CompareOp op = term.op == CompareOp::kNotEqual ? CompareOp::kEqual : term.op;
        const Bound lower{&term.value, op != CompareOp::kGreater};
        const Bound upper{&term.value, op != CompareOp::kLess};
        const bool has_lower = op != CompareOp::kLess && op != CompareOp::kLessEqual;
        const bool has_upper = op != CompareOp::kGreater && op != CompareOp::kGreaterEqual;
        return Interval(term, has_lower ? &lower : nullptr, has_upper ? &upper : nullptr);
      }
      case Predicate::Kind::kRange: {
        const Bound lower{&term.value, term.lower_inclusive};
        const Bound upper{&term.upper, term.upper_inclusive};
        return KindOf(term.value) == KindOf(term.upper) ? Interval(term, &lower, &upper) : nullptr;
      }
      case Predicate::Kind::kEmpty: {
        const Literal empty{std::string()};
        const Bound bound{&empty, true};
        return Interval(term, &bound, &bound);
      }
      case Predicate::Kind::kIn:
      case Predicate::Kind::kContains: return AnswerList(term);
      case Predicate::Kind::kLike: return AnswerLike(term);
      default: return nullptr;
    }
  }

  static std::optional<Kind> KindOf(const Literal& constant) {
    if (constant.is_bool()) return Kind::kBool;
    if (constant.is_number()) return Kind::kNumber;
    if (constant.is_string()) return Kind::kString;
    return std::nullopt;
  }

  /// Where the values of a kind at the place of a term lie; `element`: those in the array there.
  [[nodiscard]] Values ValuesOf(const Predicate& term, Kind kind, bool element) const {
    Values values{{}, {}, kind};
    for (size_t i = recipe().path.size(); i < term.field.path.size(); ++i) {
      AppendStep(term.field.path[i].key, &values.begin);
    }
    const char mark = MarkOf(kind, element);
    values.end = values.begin;
    values.begin.push_back(mark);
    values.end.push_back(static_cast<char>(mark + 1));
    return values;
  }

  /// The first position whose entry is not below (`after`: is above) that of a constant of the values' kind.
  [[nodiscard]] uint32_t Position(const Values& values, const Literal& constant, bool after) const {
    std::string entry = values.begin;
    if (const auto* truth = std::get_if<bool>(&constant.value)) {
      entry.push_back(*truth ? '\1' : '\0');
    } else if (const auto* text = std::get_if<std::string>(&constant.value)) {
      entry += *text;
    } else {
      const double real = expr::ToDouble(constant);
      AppendNumber(real, &entry);
      // An integer that no double holds lies on one side of the nearest one; of rounded values nothing is known.
      const auto* integer = std::get_if<int64_t>(&constant.value);
      const auto order = integer != nullptr ? expr::CompareExact(*integer, real) : std::partial_ordering::equivalent;
      if (!rounded_ && order != std::partial_ordering::equivalent) after = order == std::partial_ordering::greater;
    }
    if (after) entry.push_back('\0');  // the least entry above it
    return postings_.FirstNotBelow(entry);
  }

  static bool IsNan(const Literal& constant) {
    const auto* real = std::get_if<double>(&constant.value);
    return real != nullptr && std::isnan(*real);
  }

  /// Entries of constants between two bounds; nullptr: none.
  [[nodiscard]] Range Between(const Values& values, const Bound* lower, const Bound* upper) const {
    Range range;
    if ((lower != nullptr && IsNan(*lower->constant)) || (upper != nullptr && IsNan(*upper->constant))) return range;
    // A number that was rounded may have been on either side of a bound that it equals now.
    const bool open = rounded_ && values.kind == Kind::kNumber;
    range.begin = lower != nullptr ? Position(values, *lower->constant, !lower->inclusive && !open)
                                   : postings_.FirstNotBelow(values.begin);
    range.end = upper != nullptr ? Position(values, *upper->constant, upper->inclusive || open)
                                 : postings_.FirstNotBelow(values.end);
    range.end = std::max(range.begin, range.end);
    return range;
  }

  [[nodiscard]] std::unique_ptr<expr::TermAnswer> Interval(const Predicate& term, const Bound* lower,
                                                           const Bound* upper) const {
    const std::optional<Kind> kind = KindOf(*(lower != nullptr ? lower : upper)->constant);
    if (!kind) return nullptr;
    return RowsOf({Between(ValuesOf(term, *kind, false), lower, upper)}, *kind == Kind::kNumber);
  }

  [[nodiscard]] std::unique_ptr<expr::TermAnswer> RowsOf(std::vector<Range> ranges, bool numbers, bool all = false,
                                                         bool repeats = false) const {
    auto answer = std::make_unique<PostingsAnswer>(postings_, std::move(ranges), all, repeats);
    if (rounded_ && numbers) {
      answer->exact = false;
      answer->least = 0;
    }
    return answer;
  }

  /// Lists of values, of a place or of the elements of an array there.
  [[nodiscard]] std::unique_ptr<expr::TermAnswer> AnswerList(const Predicate& term) const {
    const bool elements = term.kind == Predicate::Kind::kContains;
    const bool one = elements && term.contains == expr::ContainsMode::kOne;
    const bool all = elements && term.contains == expr::ContainsMode::kAll;
    const size_t size = one ? 1 : term.value.list_size();
    if (elements && size == 0) return nullptr;
    std::vector<Range> ranges;
    bool numbers = false;
    bool impossible = false;
    for (size_t i = 0; i < size; ++i) {
      const Literal item = one ? term.value : term.value.Element(i);
      const std::optional<Kind> kind = KindOf(item);
      if (!kind) return nullptr;  // lists are in no index
      numbers = numbers || *kind == Kind::kNumber;
      const Bound bound{&item, true};
      const Range range = Between(ValuesOf(term, *kind, elements), &bound, &bound);
      if (range.begin == range.end) {
        impossible = impossible || all;
        continue;
      }
      const auto same = [&](Range known) { return known.begin == range.begin; };
      if (std::none_of(ranges.begin(), ranges.end(), same)) ranges.push_back(range);
    }
    if (impossible) return RowsOf({}, numbers);
    return RowsOf(std::move(ranges), numbers, all, elements);
  }

  [[nodiscard]] std::unique_ptr<expr::TermAnswer> AnswerLike(const Predicate& term) const {
    const expr::LikePattern pattern(std::get<std::string>(term.value.value));
    const Values texts = ValuesOf(term, Kind::kString, false);
    const std::string begin = texts.begin + std::string(pattern.prefix());
    using Form = expr::LikePattern::Form;
    if (pattern.form() == Form::kEqual) {
      const Literal literal{std::string(pattern.prefix())};
      const Bound bound{&literal, true};
      return Interval(term, &bound, &bound);
    }
    // A mark of a kind is no 0xFF, so that there is such a text.
    const Range range{postings_.FirstNotBelow(begin), postings_.FirstNotBelow(expr::AfterPrefix(begin))};
    if (pattern.form() == Form::kPrefix || pattern.form() == Form::kAny) return RowsOf({range}, false);
    if (range.end - range.begin > row_count() / kRowsPerTriedValue) return nullptr;
    auto answer = RowsOf(MatchingTexts(postings_, range, pattern, texts.begin.size()), false);
    answer->nanoseconds += static_cast<double>(range.end - range.begin) * kTryPrice;
    return answer;
  }

  const bool rounded_;
  const Postings postings_;
};

}  // namespace

std::unique_ptr<ScalarIndex> MakeDocumentIndex(IndexBase base, bool rounded, const Postings& postings) {
  return std::make_unique<DocumentIndex>(std::move(base), rounded, postings);
}

}  // namespace quiver::index
