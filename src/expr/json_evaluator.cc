// Evaluators of JSON fields and dynamic keys. A row is read along the path only; what a test sees is the value there.
// Comparisons are typed by the constant: a value that is missing, null or of another type gives false, `!=` true.
#include <re2/re2.h>

#include <algorithm>
#include <cmath>

#include "expr/json_scan.h"
#include "expr/like_pattern.h"
#include "expr/row_loops.h"
#include "expr/value_set.h"

namespace quiver::expr {
namespace {

template <typename Test>
class JsonEvaluator final : public Evaluator {
 public:
  JsonEvaluator(size_t slot, const FieldRef& field, Test test, int cost)
      : slot_(slot), cost_(cost), path_(field.path), test_(std::move(test)) {}
  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    TestActiveBytes(chunk.columns[slot_], chunk, active, need_known, out,
                    [this](std::string_view json) { return test_(FindJson(json, path_)); });
  }
  [[nodiscard]] int cost() const override { return cost_; }

 private:
  size_t slot_;
  int cost_;
  std::vector<PathStep> path_;
  Test test_;
};

template <typename Test>
EvaluatorPtr MakeJson(size_t slot, const FieldRef& field, Test test, int cost = kJsonCost) {
  return std::make_unique<JsonEvaluator<Test>>(slot, field, std::move(test), cost);
}

/// `exists`: also known for NULL rows, where it is false.
class ExistsEvaluator final : public Evaluator {
 public:
  ExistsEvaluator(size_t slot, const FieldRef& field) : slot_(slot), path_(field.path) {}
  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    TestActiveBytes(chunk.columns[slot_], chunk, active, false, out, [this](std::string_view json) {
      const JsonType type = FindJson(json, path_).type;
      return type != JsonType::kMissing && type != JsonType::kNull;
    });
    if (need_known) out->is_known.fill(~uint64_t{0});
  }
  [[nodiscard]] int cost() const override { return kJsonCost; }

 private:
  size_t slot_;
  std::vector<PathStep> path_;
};

/// Decoded text of a string value, for the time of one test.
std::string_view TextOf(const JsonValue& value) {
  thread_local std::string buffer;
  return JsonStringText(value, &buffer);
}

std::partial_ordering CompareNumber(const JsonNumber& number, const Literal& constant) {
  if (const auto* integer = std::get_if<int64_t>(&constant.value)) return Compare(number, *integer);
  return Compare(number, std::get<double>(constant.value));
}

/// Equality with any constant; arrays by element.
bool EqualsLiteral(const JsonValue& value, const Literal& literal) {
  if (const auto* truth = std::get_if<bool>(&literal.value)) {
    return value.type == JsonType::kBool && value.truth() == *truth;
  }
  if (literal.is_number()) {
    JsonNumber number;
    return value.type == JsonType::kNumber && ReadJsonNumber(value.text, &number) &&
           CompareNumber(number, literal) == std::partial_ordering::equivalent;
  }
  if (const auto* text = std::get_if<std::string>(&literal.value)) {
    return value.type == JsonType::kString && TextOf(value) == *text;
  }
  if (value.type != JsonType::kArray) return false;
  JsonArrayCursor cursor(value);
  JsonValue element;
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

  [[nodiscard]] bool Contains(const JsonValue& value) const {
    switch (value.type) {
      case JsonType::kBool: return value.truth() ? has_true_ : has_false_;
      case JsonType::kString: return !strings_.empty() && strings_.Contains(TextOf(value));
      case JsonType::kNumber: return ContainsNumber(value);
      case JsonType::kArray:
        return std::any_of(lists_.begin(), lists_.end(),
                           [&value](const Literal& list) { return EqualsLiteral(value, list); });
      default: return false;
    }
  }

 private:
  /// Converts doubles that are whole numbers of 64 bits.
  static bool ToWhole(double real, int64_t* whole) {
    if (!(real >= -0x1p63 && real < 0x1p63)) return false;
    *whole = static_cast<int64_t>(real);
    return static_cast<double>(*whole) == real;
  }

  [[nodiscard]] bool ContainsNumber(const JsonValue& value) const {
    JsonNumber number;
    if ((integers_.empty() && reals_.empty()) || !ReadJsonNumber(value.text, &number)) return false;
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

  IntSet integers_;
  IntSet reals_;
  StringSet strings_;
  std::vector<Literal> lists_;
  bool has_true_ = false;
  bool has_false_ = false;
};

EvaluatorPtr BuildCompare(const Predicate& predicate, size_t slot) {
  const CompareOp op = predicate.op;
  const bool otherwise = op == CompareOp::kNotEqual;
  const Literal& value = predicate.value;
  if (value.is_number()) {
    return MakeJson(slot, predicate.field, [op, otherwise, value](const JsonValue& json) {
      JsonNumber number;
      if (json.type != JsonType::kNumber || !ReadJsonNumber(json.text, &number)) return otherwise;
      return Satisfies(op, CompareNumber(number, value));
    });
  }
  if (value.is_string()) {
    return MakeJson(
        slot, predicate.field,
        [otherwise, test = StringCompareTest{op, std::get<std::string>(value.value)}](const JsonValue& json) {
          return json.type == JsonType::kString ? test(TextOf(json)) : otherwise;
        });
  }
  if (value.is_bool()) {
    return MakeJson(slot, predicate.field,
                    [op, otherwise, truth = std::get<bool>(value.value) ? 1 : 0](const JsonValue& json) {
                      if (json.type != JsonType::kBool) return otherwise;
                      return Satisfies(op, (json.truth() ? 1 : 0) <=> truth);
                    });
  }
  return MakeJson(slot, predicate.field, [otherwise, list = Literal{UnpackList(value)}](const JsonValue& json) {
    return EqualsLiteral(json, list) != otherwise;
  });
}

EvaluatorPtr BuildRange(const Predicate& predicate, size_t slot) {
  if (predicate.value.is_string()) {
    return MakeJson(slot, predicate.field,
                    [test = StringRangeTest{std::get<std::string>(predicate.value.value),
                                            std::get<std::string>(predicate.upper.value), predicate.lower_inclusive,
                                            predicate.upper_inclusive}](const JsonValue& json) {
                      return json.type == JsonType::kString && test(TextOf(json));
                    });
  }
  const CompareOp low = predicate.lower_inclusive ? CompareOp::kGreaterEqual : CompareOp::kGreater;
  const CompareOp high = predicate.upper_inclusive ? CompareOp::kLessEqual : CompareOp::kLess;
  return MakeJson(
      slot, predicate.field, [low, high, lower = predicate.value, upper = predicate.upper](const JsonValue& json) {
        JsonNumber number;
        return json.type == JsonType::kNumber && ReadJsonNumber(json.text, &number) &&
               Satisfies(low, CompareNumber(number, lower)) && Satisfies(high, CompareNumber(number, upper));
      });
}

EvaluatorPtr BuildArithmetic(const Predicate& predicate, size_t slot) {
  const bool otherwise = predicate.op == CompareOp::kNotEqual;
  return MakeJson(slot, predicate.field,
                  [otherwise, op = predicate.op, arithmetic = predicate.arithmetic, operand = predicate.operand,
                   value = predicate.value](const JsonValue& json) {
                    JsonNumber number;
                    if (json.type != JsonType::kNumber || !ReadJsonNumber(json.text, &number)) return otherwise;
                    const bool needs_integers = arithmetic >= ArithmeticOp::kModulo;
                    if (needs_integers && number.kind != JsonNumber::Kind::kInt) {
                      // % and bit operators see the whole part of a fraction; what has none of 64 bits cannot be used.
                      const double real = number.ToDouble();
                      if (!(real > -0x1p63 && real < 0x1p63)) return otherwise;
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
                    return Satisfies(op, CompareNumber(result, value));
                  });
}

EvaluatorPtr BuildContains(const Predicate& predicate, size_t slot) {
  std::vector<Literal> items;
  if (predicate.contains == ContainsMode::kOne) {
    items.push_back(predicate.value);
  } else {
    items = UnpackList(predicate.value);
  }
  if (predicate.contains != ContainsMode::kAll) {
    return MakeJson(slot, predicate.field, [set = MixedSet(items)](const JsonValue& json) {
      JsonArrayCursor cursor(json);
      JsonValue element;
      while (cursor.Next(&element)) {
        if (set.Contains(element)) return true;
      }
      return false;
    });
  }
  return MakeJson(slot, predicate.field, [items](const JsonValue& json) {
    if (json.type != JsonType::kArray) return false;
    thread_local std::vector<uint8_t> seen;
    seen.assign(items.size(), 0);
    size_t left = items.size();
    JsonArrayCursor cursor(json);
    JsonValue element;
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

EvaluatorPtr BuildJsonEvaluator(const Predicate& predicate, size_t slot) {
  const FieldRef& field = predicate.field;
  switch (predicate.kind) {
    case Predicate::Kind::kCompare: return BuildCompare(predicate, slot);
    case Predicate::Kind::kRange: return BuildRange(predicate, slot);
    case Predicate::Kind::kArithmetic: return BuildArithmetic(predicate, slot);
    case Predicate::Kind::kContains: return BuildContains(predicate, slot);
    case Predicate::Kind::kExists: return std::make_unique<ExistsEvaluator>(slot, field);
    case Predicate::Kind::kIn:
      return MakeJson(slot, field, [set = MixedSet(UnpackList(predicate.value))](const JsonValue& json) {
        return set.Contains(json);
      });
    case Predicate::Kind::kLike:
      return MakeJson(slot, field,
                      [pattern = LikePattern(std::get<std::string>(predicate.value.value))](const JsonValue& json) {
                        return json.type == JsonType::kString && pattern.Matches(TextOf(json));
                      });
    case Predicate::Kind::kRegex:
      return MakeJson(
          slot, field,
          [regex =
               std::make_shared<RE2>(std::get<std::string>(predicate.value.value), RE2::Quiet)](const JsonValue& json) {
            if (json.type != JsonType::kString) return false;
            const std::string_view text = TextOf(json);
            return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *regex);
          },
          kRegexCost);
    case Predicate::Kind::kArrayLength: {
      const IntRangeTest range = IntRangeTest::Of(predicate.op, std::get<int64_t>(predicate.value.value));
      return MakeJson(slot, field, [range](const JsonValue& json) {
        int64_t length = 0;
        JsonArrayCursor cursor(json);
        for (JsonValue element; cursor.Next(&element);) ++length;
        return range(length);
      });
    }
    default: return BuildKnownConstant(false, slot);
  }
}

}  // namespace quiver::expr
