// Evaluators of JSON fields and dynamic keys. A row is read along the path only; what a test sees is the value there:
// one of a text (JsonValue) or of the binary form that sealed pages keep (JsonFormValue), so tests are written for
// either. Comparisons are typed by the constant: a value that is missing, null or of another type gives false, `!=`
// true.
#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <type_traits>

#include "expr/dictionary_verdicts.h"
#include "expr/json_form.h"
#include "expr/json_scan.h"
#include "expr/like_pattern.h"
#include "expr/row_loops.h"
#include "expr/value_set.h"

namespace quiver::expr {
namespace {

/// A place in a JSON field: the slot of the field, and of the column that a page may keep for the place.
struct Place {
  size_t slot = 0;
  size_t path_slot = kNoPathSlot;
  std::vector<PathStep> path;
};

/// For tests that say the same of every number.
struct AnyNumber {};

/// Applies `test` to the value at a place; where a page keeps numbers of the place, `number_test` to those.
template <typename Test, typename NumberTest>
class JsonEvaluator final : public Evaluator {
 public:
  JsonEvaluator(Place place, Test test, NumberTest number_test, int cost)
      : place_(std::move(place)), test_(std::move(test)), number_test_(std::move(number_test)), cost_(cost) {
    missing_ = test_(JsonValue{});
    any_number_ = test_(JsonValue{.type = JsonType::kNumber, .text = "0"});
  }

  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    const ColumnView& field = chunk.columns[place_.slot];
    const ColumnView* values = place_.path_slot == kNoPathSlot ? nullptr : &chunk.paths[place_.path_slot];
    if (values == nullptr || !values->present()) {
      if (chunk.json_keys != nullptr && chunk.json_keys[place_.slot] != nullptr) {
        return EvaluateForms(field, *chunk.json_keys[place_.slot], chunk, active, need_known, out);
      }
      return TestActiveBytes(field, chunk, active, need_known, out,
                             [this](std::string_view json) { return test_(FindJson(json, place_.path)); });
    }
    EvaluateValues(*values, chunk, active, out);
    for (size_t word = 0; word < chunk.words; ++word) {
      const uint64_t valid = ValidWord(field, word, chunk.rows);
      const uint64_t there = ValidWord(*values, word, chunk.rows);
      out->is_true[word] = valid & (missing_ ? out->is_true[word] | ~there : out->is_true[word] & there);
      if (need_known) out->is_known[word] = valid;
    }
  }
  size_t Keep(const Chunk& chunk, uint16_t* rows, size_t count) const override {
    const ColumnView& field = chunk.columns[place_.slot];
    const auto is_valid = [&](size_t row) { return field.valid == nullptr || field.valid[row] != 0; };
    const auto keep = [&](const auto& test) {
      return KeepIf(rows, count, [&](size_t row) { return is_valid(row) && test(row); });
    };
    const ColumnView* values = place_.path_slot == kNoPathSlot ? nullptr : &chunk.paths[place_.path_slot];
    if (values != nullptr && values->present()) {
      return keep([&](size_t row) {
        return values->valid != nullptr && values->valid[row] == 0 ? missing_ : TestKept(*values, row);
      });
    }
    if (chunk.json_keys == nullptr || chunk.json_keys[place_.slot] == nullptr) {
      return keep([&](size_t row) { return test_(FindJson(field.Bytes(row), place_.path)); });
    }
    JsonFormPath path(*chunk.json_keys[place_.slot], place_.path);
    return keep([&](size_t row) { return TestForm(field.Bytes(row), path, nullptr); });
  }
  [[nodiscard]] int cost() const override { return cost_; }

 private:
  void EvaluateForms(const ColumnView& forms, const JsonKeyTable& keys, const Chunk& chunk, const BitWords& active,
                     bool need_known, Truth* out) const {
    JsonFormPath path(keys, place_.path);
    if constexpr (requires { number_test_.IntRange(); }) {
      if (const std::optional<IntRangeTest> range = number_test_.IntRange()) {
        return TestActiveBytes(forms, chunk, active, need_known, out,
                               [&](std::string_view form) { return TestForm(form, path, &*range); });
      }
    }
    TestActiveBytes(forms, chunk, active, need_known, out,
                    [&](std::string_view form) { return TestForm(form, path, nullptr); });
  }

  /// `range`: what the test says of integers; nullptr = it is to be asked.
  bool TestForm(std::string_view form, JsonFormPath& path, const IntRangeTest* range) const {
    if (const auto text = JsonFormText(form)) return test_(FindJson(*text, place_.path));
    const JsonFormValue value = path.Find(form);
    int64_t integer = 0;
    return range != nullptr && value.ReadInt(&integer) ? (*range)(integer) : test_(value);
  }

  /// Tests a value of a column that the page keeps for the place.
  [[nodiscard]] bool TestKept(const ColumnView& values, size_t row) const {
    if (values.width == 0) return test_(FindJson(values.Bytes(row), {}));
    if constexpr (std::is_same_v<NumberTest, AnyNumber>) {
      return any_number_;
    } else if (values.type == DataType::kInt64) {
      return number_test_(JsonNumber{.kind = JsonNumber::Kind::kInt, .integer = LoadValue<int64_t>(values.fixed, row)});
    } else {
      return number_test_(JsonNumber{.kind = JsonNumber::Kind::kDouble, .real = LoadValue<double>(values.fixed, row)});
    }
  }

  /// Bits of rows that have a value at the place; others are left to chance.
  void EvaluateValues(const ColumnView& values, const Chunk& chunk, const BitWords& active, Truth* out) const {
    if (values.width != 0) {
      if constexpr (std::is_same_v<NumberTest, AnyNumber>) {
        for (size_t word = 0; word < chunk.words; ++word) out->is_true[word] = any_number_ ? ~uint64_t{0} : 0;
      } else if (values.type == DataType::kInt64) {
        if constexpr (requires { number_test_.IntRange(); }) {
          if (const std::optional<IntRangeTest> range = number_test_.IntRange()) {
            const int64_t low = range->empty ? INT64_MAX : range->least;
            const int64_t high = range->empty ? INT64_MIN : range->most;
            return TestInterval(values.fixed, chunk.rows, low, high, range->outside, &out->is_true);
          }
        }
        TestFixed<int64_t>(values.fixed, chunk.rows, &out->is_true, [this](int64_t value) {
          return number_test_(JsonNumber{.kind = JsonNumber::Kind::kInt, .integer = value});
        });
      } else {
        TestFixed<double>(values.fixed, chunk.rows, &out->is_true, [this](double value) {
          return number_test_(JsonNumber{.kind = JsonNumber::Kind::kDouble, .real = value});
        });
      }
      return;
    }
    const auto test = [this](std::string_view json) { return test_(FindJson(json, {})); };
    if (values.dictionary == nullptr) return TestActiveBytes(values, chunk, active, false, out, test);
    TestDictionary(id_, values, chunk, active, false, out, test);
  }

  uint64_t id_ = NextEvaluatorId();
  Place place_;
  Test test_;
  NumberTest number_test_;
  int cost_;
  bool missing_ = false;     ///< what the test says of a row that has nothing there
  bool any_number_ = false;  ///< what it says of every number, with AnyNumber
};

template <typename Test, typename NumberTest = AnyNumber>
EvaluatorPtr MakeJson(const Place& place, Test test, NumberTest number_test = {}, int cost = kJsonCost) {
  return std::make_unique<JsonEvaluator<Test, NumberTest>>(place, std::move(test), std::move(number_test), cost);
}

/// `exists`: also known for NULL rows, where it is false.
class ExistsEvaluator final : public Evaluator {
 public:
  explicit ExistsEvaluator(const Place& place)
      : inner_(MakeJson(place, [](const auto& value) {
          return value.type != JsonType::kMissing && value.type != JsonType::kNull;
        })) {}
  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    inner_->Evaluate(chunk, active, false, out);
    if (need_known) out->is_known.fill(~uint64_t{0});
  }
  [[nodiscard]] int cost() const override { return kJsonCost; }

 private:
  EvaluatorPtr inner_;
};

/// Decoded text of a string value, for the time of one test.
template <typename Value>
std::string_view TextOf(const Value& value) {
  thread_local std::string buffer;
  return JsonStringText(value, &buffer);
}

JsonArrayCursor ElementsOf(const JsonValue& value) { return JsonArrayCursor(value); }
JsonFormArrayCursor ElementsOf(const JsonFormValue& value) { return JsonFormArrayCursor(value); }

/// Reads the number that a value is; false where it is none.
bool NumberOf(const JsonValue& value, JsonNumber* number) {
  return value.type == JsonType::kNumber && ReadJsonNumber(value.text, number);
}
bool NumberOf(const JsonFormValue& value, JsonNumber* number) {
  return value.type == JsonType::kNumber && ReadJsonNumber(value, number);
}

std::partial_ordering CompareNumber(const JsonNumber& number, const Literal& constant) {
  if (const auto* integer = std::get_if<int64_t>(&constant.value)) return Compare(number, *integer);
  return Compare(number, std::get<double>(constant.value));
}

/// Compares numbers with a constant.
struct NumberCompareTest {
  CompareOp op = CompareOp::kEqual;
  Literal value;

  bool operator()(const JsonNumber& number) const { return Satisfies(op, CompareNumber(number, value)); }
  /// The same test for integers alone, where it is one of a range.
  [[nodiscard]] std::optional<IntRangeTest> IntRange() const {
    if (const auto* integer = std::get_if<int64_t>(&value.value)) return IntRangeTest::Of(op, *integer);
    return std::nullopt;
  }
};

struct NumberRangeTest {
  NumberCompareTest lower;
  NumberCompareTest upper;

  bool operator()(const JsonNumber& number) const { return lower(number) && upper(number); }
  [[nodiscard]] std::optional<IntRangeTest> IntRange() const {
    const auto* least = std::get_if<int64_t>(&lower.value.value);
    const auto* most = std::get_if<int64_t>(&upper.value.value);
    if (least == nullptr || most == nullptr) return std::nullopt;
    return IntRangeTest::Of(*least, lower.op == CompareOp::kGreaterEqual, *most, upper.op == CompareOp::kLessEqual);
  }
};

/// `place <arithmetic> operand <op> value`.
struct NumberArithmeticTest {
  ArithmeticOp arithmetic = ArithmeticOp::kAdd;
  Literal operand;
  NumberCompareTest compare;

  bool operator()(JsonNumber number) const {
    if (arithmetic >= ArithmeticOp::kModulo && number.kind != JsonNumber::Kind::kInt) {
      // % and bit operators see the whole part of a fraction; what has none of 64 bits cannot be used.
      const double real = number.ToDouble();
      if (!(real > -0x1p63 && real < 0x1p63)) return compare.op == CompareOp::kNotEqual;
      number.integer = static_cast<int64_t>(real);
      number.kind = JsonNumber::Kind::kInt;
    }
    JsonNumber result;
    if (number.kind == JsonNumber::Kind::kInt && operand.is_int()) {
      result.integer = CalculateInt(arithmetic, number.integer, std::get<int64_t>(operand.value));
    } else {
      result.kind = JsonNumber::Kind::kDouble;
      result.real = CalculateDouble(arithmetic, number.ToDouble(), ToDouble(operand));
    }
    return compare(result);
  }
};

/// The test of numbers as one of values: `otherwise` for all that are none.
template <typename NumberTest>
EvaluatorPtr MakeNumeric(const Place& place, bool otherwise, const NumberTest& test) {
  return MakeJson(
      place,
      [otherwise, test](const auto& json) {
        JsonNumber number;
        return NumberOf(json, &number) ? test(number) : otherwise;
      },
      test);
}

/// Equality with any constant; arrays by element.
template <typename Value>
bool EqualsLiteral(const Value& value, const Literal& literal) {
  if (const auto* truth = std::get_if<bool>(&literal.value)) {
    return value.type == JsonType::kBool && value.truth() == *truth;
  }
  if (literal.is_number()) {
    JsonNumber number;
    return NumberOf(value, &number) && CompareNumber(number, literal) == std::partial_ordering::equivalent;
  }
  if (const auto* text = std::get_if<std::string>(&literal.value)) {
    return value.type == JsonType::kString && TextOf(value) == *text;
  }
  if (value.type != JsonType::kArray) return false;
  auto cursor = ElementsOf(value);
  Value element;
  const size_t size = literal.list_size();
  const auto* items = std::get_if<Literal::List>(&literal.value);
  for (size_t i = 0; i < size; ++i) {
    if (!cursor.Next(&element)) return false;
    if (!(items != nullptr ? EqualsLiteral(element, (*items)[i]) : EqualsLiteral(element, literal.Element(i)))) {
      return false;
    }
  }
  return !cursor.Next(&element);
}

/// A list of constants of any kind, for `in` and contains: numbers are canonical, so that 1 and 1.0 are one value.
class MixedSet {
 public:
  explicit MixedSet(const std::vector<Literal>& items) {
    Literal::Ints integers;
    Literal::Ints reals;
    Literal::Strings strings;
    for (const Literal& item : items) {
      if (const auto* truth = std::get_if<bool>(&item.value)) {
        (*truth ? has_true_ : has_false_) = true;
      } else if (const auto* integer = std::get_if<int64_t>(&item.value)) {
        integers.push_back(*integer);
      } else if (const auto* real = std::get_if<double>(&item.value)) {
        if (std::isnan(*real)) continue;
        int64_t whole = 0;
        if (ToWhole(*real, &whole)) {
          integers.push_back(whole);
        } else {
          reals.push_back(DoubleBits(*real));
        }
      } else if (const auto* text = std::get_if<std::string>(&item.value)) {
        strings.push_back(*text);
      } else {
        lists_.push_back(item);
      }
    }
    integers_ = IntSet(integers);
    reals_ = IntSet(reals);
    std::sort(strings.begin(), strings.end());
    strings.erase(std::unique(strings.begin(), strings.end()), strings.end());
    strings_ = StringSet(std::move(strings));
  }

  template <typename Value>
  [[nodiscard]] bool Holds(const Value& value) const {
    switch (value.type) {
      case JsonType::kBool: return value.truth() ? has_true_ : has_false_;
      case JsonType::kString: return !strings_.empty() && strings_.Contains(TextOf(value));
      case JsonType::kNumber: {
        JsonNumber number;
        return has_numbers() && NumberOf(value, &number) && Contains(number);
      }
      case JsonType::kArray:
        return std::any_of(lists_.begin(), lists_.end(),
                           [&value](const Literal& list) { return EqualsLiteral(value, list); });
      default: return false;
    }
  }

  [[nodiscard]] bool Contains(const JsonNumber& number) const {
    switch (number.kind) {
      case JsonNumber::Kind::kInt: return integers_.Contains(number.integer);
      case JsonNumber::Kind::kUint: {
        // Large naturals equal only doubles that hold them exactly.
        const auto real = static_cast<double>(number.natural);
        return Compare(number, real) == std::partial_ordering::equivalent && reals_.Contains(DoubleBits(real));
      }
      default: {
        int64_t whole = 0;
        return ToWhole(number.real, &whole) ? integers_.Contains(whole) : reals_.Contains(DoubleBits(number.real));
      }
    }
  }

 private:
  /// Converts doubles that are whole numbers of 64 bits.
  static bool ToWhole(double real, int64_t* whole) {
    if (!(real >= -0x1p63 && real < 0x1p63)) return false;
    *whole = static_cast<int64_t>(real);
    return static_cast<double>(*whole) == real;
  }

  [[nodiscard]] bool has_numbers() const { return !integers_.empty() || !reals_.empty(); }

  IntSet integers_;
  IntSet reals_;
  StringSet strings_;
  std::vector<Literal> lists_;
  bool has_true_ = false;
  bool has_false_ = false;
};

EvaluatorPtr BuildCompare(const Predicate& predicate, const Place& place) {
  const CompareOp op = predicate.op;
  const bool otherwise = op == CompareOp::kNotEqual;
  const Literal& value = predicate.value;
  if (value.is_number()) return MakeNumeric(place, otherwise, NumberCompareTest{op, value});
  if (value.is_string()) {
    return MakeJson(place,
                    [otherwise, test = StringCompareTest{op, std::get<std::string>(value.value)}](const auto& json) {
                      return json.type == JsonType::kString ? test(TextOf(json)) : otherwise;
                    });
  }
  if (value.is_bool()) {
    return MakeJson(place, [op, otherwise, truth = std::get<bool>(value.value) ? 1 : 0](const auto& json) {
      if (json.type != JsonType::kBool) return otherwise;
      return Satisfies(op, (json.truth() ? 1 : 0) <=> truth);
    });
  }
  return MakeJson(place, [otherwise, list = Literal{UnpackList(value)}](const auto& json) {
    return EqualsLiteral(json, list) != otherwise;
  });
}

EvaluatorPtr BuildRange(const Predicate& predicate, const Place& place) {
  if (predicate.value.is_string()) {
    return MakeJson(place, [test = StringRangeTest{std::get<std::string>(predicate.value.value),
                                                   std::get<std::string>(predicate.upper.value),
                                                   predicate.lower_inclusive, predicate.upper_inclusive}](
                               const auto& json) { return json.type == JsonType::kString && test(TextOf(json)); });
  }
  const CompareOp low = predicate.lower_inclusive ? CompareOp::kGreaterEqual : CompareOp::kGreater;
  const CompareOp high = predicate.upper_inclusive ? CompareOp::kLessEqual : CompareOp::kLess;
  return MakeNumeric(place, false, NumberRangeTest{{low, predicate.value}, {high, predicate.upper}});
}

EvaluatorPtr BuildArithmetic(const Predicate& predicate, const Place& place) {
  return MakeNumeric(place, predicate.op == CompareOp::kNotEqual,
                     NumberArithmeticTest{predicate.arithmetic, predicate.operand, {predicate.op, predicate.value}});
}

EvaluatorPtr BuildContains(const Predicate& predicate, const Place& place) {
  std::vector<Literal> items;
  if (predicate.contains == ContainsMode::kOne) {
    items.push_back(predicate.value);
  } else {
    items = UnpackList(predicate.value);
  }
  if (predicate.contains != ContainsMode::kAll) {
    return MakeJson(place, [set = MixedSet(items)](const auto& json) {
      auto cursor = ElementsOf(json);
      auto element = json;
      while (cursor.Next(&element)) {
        if (set.Holds(element)) return true;
      }
      return false;
    });
  }
  return MakeJson(place, [items](const auto& json) {
    if (json.type != JsonType::kArray) return false;
    thread_local std::vector<uint8_t> seen;
    seen.assign(items.size(), 0);
    size_t left = items.size();
    auto cursor = ElementsOf(json);
    auto element = json;
    while (left != 0 && cursor.Next(&element)) {
      for (size_t i = 0; i < items.size(); ++i) {
        if (seen[i] == 0 && EqualsLiteral(element, items[i])) {
          seen[i] = 1;
          --left;
        }
      }
    }
    return left == 0;
  });
}

}  // namespace

EvaluatorPtr BuildJsonEvaluator(const Predicate& predicate, size_t slot, size_t path_slot) {
  const Place place{slot, path_slot, predicate.field.path};
  switch (predicate.kind) {
    case Predicate::Kind::kCompare: return BuildCompare(predicate, place);
    case Predicate::Kind::kRange: return BuildRange(predicate, place);
    case Predicate::Kind::kArithmetic: return BuildArithmetic(predicate, place);
    case Predicate::Kind::kContains: return BuildContains(predicate, place);
    case Predicate::Kind::kExists: return std::make_unique<ExistsEvaluator>(place);
    case Predicate::Kind::kIn: {
      const auto set = std::make_shared<const MixedSet>(UnpackList(predicate.value));
      return MakeJson(
          place, [set](const auto& json) { return set->Holds(json); },
          [set](const JsonNumber& number) { return set->Contains(number); });
    }
    case Predicate::Kind::kLike:
      return MakeJson(place, [pattern = LikePattern(std::get<std::string>(predicate.value.value))](const auto& json) {
        return json.type == JsonType::kString && pattern.Matches(TextOf(json));
      });
    case Predicate::Kind::kRegex:
      return MakeJson(
          place,
          [regex = std::make_shared<RE2>(std::get<std::string>(predicate.value.value), RE2::Quiet)](const auto& json) {
            if (json.type != JsonType::kString) return false;
            const std::string_view text = TextOf(json);
            return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *regex);
          },
          AnyNumber{}, kRegexCost);
    case Predicate::Kind::kArrayLength: {
      const IntRangeTest range = IntRangeTest::Of(predicate.op, std::get<int64_t>(predicate.value.value));
      return MakeJson(place, [range](const auto& json) {
        int64_t length = 0;
        auto cursor = ElementsOf(json);
        for (auto element = json; cursor.Next(&element);) ++length;
        return range(length);
      });
    }
    default: return BuildKnownConstant(false, slot);
  }
}

}  // namespace quiver::expr
