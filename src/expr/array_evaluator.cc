// Evaluators of ARRAY fields: single elements, whole arrays, contains, length.
#include <re2/re2.h>

#include <algorithm>
#include <cmath>

#include "expr/array_values.h"
#include "expr/like_pattern.h"
#include "expr/row_loops.h"
#include "expr/value_set.h"

namespace quiver::expr {
namespace {

/// Kinds of element, as tests see them.
enum class Family : uint8_t { kBool, kInt, kFloat, kDouble, kString };

Family FamilyOf(DataType type) {
  if (type == DataType::kBool) return Family::kBool;
  if (type == DataType::kFloat) return Family::kFloat;
  if (type == DataType::kDouble) return Family::kDouble;
  return IsInteger(type) ? Family::kInt : Family::kString;
}

/// Tests of element `index`; rows with shorter arrays are unknown.
template <typename Test>
class ElementEvaluator final : public Evaluator {
 public:
  ElementEvaluator(size_t slot, const FieldRef& field, Test test, int cost)
      : slot_(slot),
        element_type_(field.element_type),
        index_(field.path[0].index),
        cost_(cost),
        test_(std::move(test)) {}

  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    const ColumnView& view = chunk.columns[slot_];
    for (size_t word = 0; word < chunk.words; ++word) {
      uint64_t known = ValidWord(view, word, chunk.rows);
      uint64_t bits = 0;
      for (uint64_t left = active[word] & known; left != 0; left &= left - 1) {
        const auto bit = static_cast<size_t>(std::countr_zero(left));
        const ArrayReader reader(view.Bytes(word * kWordBits + bit), element_type_);
        if (index_ >= reader.size()) {
          known &= ~(uint64_t{1} << bit);
        } else if (test_(reader.Element(static_cast<uint32_t>(index_)))) {
          bits |= uint64_t{1} << bit;
        }
      }
      out->is_true[word] = bits;
      if (need_known) out->is_known[word] = known;
    }
  }
  [[nodiscard]] int cost() const override { return cost_; }

 private:
  size_t slot_;
  DataType element_type_;
  int64_t index_;
  int cost_;
  Test test_;
};

template <typename Test>
EvaluatorPtr MakeElement(size_t slot, const FieldRef& field, Test test, int cost = kArrayCost) {
  return std::make_unique<ElementEvaluator<Test>>(slot, field, std::move(test), cost);
}

/// Tests of the whole encoded array.
template <typename Test>
class WholeArrayEvaluator final : public Evaluator {
 public:
  WholeArrayEvaluator(size_t slot, Test test) : slot_(slot), test_(std::move(test)) {}
  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    TestActiveBytes(chunk.columns[slot_], chunk, active, need_known, out, test_);
  }
  [[nodiscard]] int cost() const override { return kArrayCost; }

 private:
  size_t slot_;
  Test test_;
};

template <typename Test>
EvaluatorPtr MakeWhole(size_t slot, Test test) {
  return std::make_unique<WholeArrayEvaluator<Test>>(slot, std::move(test));
}

// --- one element -----------------------------------------------------------------------------------------------------

EvaluatorPtr BuildIntElement(const Predicate& predicate, size_t slot) {
  const FieldRef& field = predicate.field;
  const DataType type = field.element_type;
  const auto int_of = [](const Literal& literal) { return std::get<int64_t>(literal.value); };
  switch (predicate.kind) {
    case Predicate::Kind::kRange: {
      const IntRangeTest range = IntRangeTest::Of(int_of(predicate.value), predicate.lower_inclusive,
                                                  int_of(predicate.upper), predicate.upper_inclusive);
      return MakeElement(slot, field, [type, range](std::string_view bytes) { return range(ReadWhole(type, bytes)); });
    }
    case Predicate::Kind::kIn:
      return MakeElement(slot, field,
                         [type, set = IntSet(std::get<Literal::Ints>(predicate.value.value))](std::string_view bytes) {
                           return set.Contains(ReadWhole(type, bytes));
                         });
    case Predicate::Kind::kArithmetic: {
      const IntRangeTest range = IntRangeTest::Of(predicate.op, int_of(predicate.value));
      return MakeElement(
          slot, field,
          [type, range, op = predicate.arithmetic, operand = int_of(predicate.operand)](std::string_view bytes) {
            return range(CalculateInt(op, ReadWhole(type, bytes), operand));
          });
    }
    default: {
      const IntRangeTest range = IntRangeTest::Of(predicate.op, int_of(predicate.value));
      return MakeElement(slot, field, [type, range](std::string_view bytes) { return range(ReadWhole(type, bytes)); });
    }
  }
}

EvaluatorPtr BuildRealElement(const Predicate& predicate, size_t slot) {
  const FieldRef& field = predicate.field;
  const DataType type = field.element_type;
  const auto real_of = [type](const Literal& literal) { return RoundTo(type, std::get<double>(literal.value)); };
  switch (predicate.kind) {
    case Predicate::Kind::kRange:
      return MakeElement(slot, field,
                         [type, lower = real_of(predicate.value), upper = real_of(predicate.upper),
                          low = predicate.lower_inclusive, high = predicate.upper_inclusive](std::string_view bytes) {
                           const double value = ReadReal(type, bytes);
                           return (low ? value >= lower : value > lower) && (high ? value <= upper : value < upper);
                         });
    case Predicate::Kind::kIn: {
      Literal::Ints bits;
      for (const double value : std::get<Literal::Doubles>(predicate.value.value)) {
        bits.push_back(DoubleBits(RoundTo(type, value)));
      }
      return MakeElement(slot, field, [type, set = IntSet(bits)](std::string_view bytes) {
        return set.Contains(DoubleBits(ReadReal(type, bytes)));
      });
    }
    case Predicate::Kind::kArithmetic:
      return MakeElement(slot, field,
                         [type, op = predicate.op, arithmetic = predicate.arithmetic, value = real_of(predicate.value),
                          operand = real_of(predicate.operand)](std::string_view bytes) {
                           // The sum of two floats is exact enough in double that rounding it gives the float sum.
                           const double result =
                               RoundTo(type, CalculateDouble(arithmetic, ReadReal(type, bytes), operand));
                           return Satisfies(op, result <=> value);
                         });
    default:
      return MakeElement(slot, field,
                         [type, op = predicate.op, value = real_of(predicate.value)](std::string_view bytes) {
                           return Satisfies(op, ReadReal(type, bytes) <=> value);
                         });
  }
}

EvaluatorPtr BuildBoolElement(const Predicate& predicate, size_t slot) {
  bool when[2] = {false, false};
  if (predicate.kind == Predicate::Kind::kIn) {
    for (const Literal& item : UnpackList(predicate.value)) when[std::get<bool>(item.value) ? 1 : 0] = true;
  } else {
    const int constant = std::get<bool>(predicate.value.value) ? 1 : 0;
    for (int truth = 0; truth < 2; ++truth) when[truth] = Satisfies(predicate.op, truth <=> constant);
  }
  return MakeElement(slot, predicate.field, [no = when[0], yes = when[1]](std::string_view bytes) {
    return ReadAs<uint8_t>(bytes) != 0 ? yes : no;
  });
}

EvaluatorPtr BuildStringElement(const Predicate& predicate, size_t slot) {
  const FieldRef& field = predicate.field;
  const auto text_of = [](const Literal& literal) { return std::get<std::string>(literal.value); };
  switch (predicate.kind) {
    case Predicate::Kind::kRange:
      return MakeElement(slot, field,
                         StringRangeTest{text_of(predicate.value), text_of(predicate.upper), predicate.lower_inclusive,
                                         predicate.upper_inclusive});
    case Predicate::Kind::kIn:
      return MakeElement(slot, field,
                         [set = StringSet(std::get<Literal::Strings>(predicate.value.value))](std::string_view text) {
                           return set.Contains(text);
                         });
    case Predicate::Kind::kLike:
      return MakeElement(slot, field, [pattern = LikePattern(text_of(predicate.value))](std::string_view text) {
        return pattern.Matches(text);
      });
    case Predicate::Kind::kRegex:
      return MakeElement(
          slot, field,
          [regex = std::make_shared<RE2>(text_of(predicate.value), RE2::Quiet)](std::string_view text) {
            return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *regex);
          },
          kRegexCost);
    case Predicate::Kind::kEmpty: return MakeElement(slot, field, [](std::string_view text) { return text.empty(); });
    default: return MakeElement(slot, field, StringCompareTest{predicate.op, text_of(predicate.value)});
  }
}

// --- whole arrays ----------------------------------------------------------------------------------------------------

/// A constant in the form that elements are looked up by: integers and booleans as they are, floating values by bits,
/// strings as text. Nothing where no element can equal it.
struct WantedValues {
  std::vector<int64_t> numbers;
  std::vector<std::string> strings;
  bool impossible = false;  ///< some value can equal no element

  WantedValues(DataType type, const std::vector<Literal>& items) {
    for (const Literal& item : items) Add(type, item);
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    std::sort(strings.begin(), strings.end());
    strings.erase(std::unique(strings.begin(), strings.end()), strings.end());
  }

 private:
  void Add(DataType type, const Literal& item) {
    switch (FamilyOf(type)) {
      case Family::kBool:
        if (const auto* truth = std::get_if<bool>(&item.value)) {
          numbers.push_back(*truth ? 1 : 0);
          return;
        }
        break;
      case Family::kInt:
        if (const auto* integer = std::get_if<int64_t>(&item.value)) {
          numbers.push_back(*integer);
          return;
        }
        if (const auto* real = std::get_if<double>(&item.value); real != nullptr && std::abs(*real) < 0x1p63) {
          const auto whole = static_cast<int64_t>(*real);
          if (static_cast<double>(whole) == *real) {
            numbers.push_back(whole);
            return;
          }
        }
        break;
      case Family::kFloat:
      case Family::kDouble:
        if (item.is_number() && !std::isnan(ToDouble(item))) {
          numbers.push_back(DoubleBits(RoundTo(type, ToDouble(item))));
          return;
        }
        break;
      case Family::kString:
        if (const auto* text = std::get_if<std::string>(&item.value)) {
          strings.push_back(*text);
          return;
        }
        break;
    }
    impossible = true;
  }
};

int64_t LookupKey(DataType type, std::string_view bytes) {
  return IsFloating(type) ? DoubleBits(ReadReal(type, bytes)) : ReadWhole(type, bytes);
}

EvaluatorPtr BuildContains(const Predicate& predicate, size_t slot) {
  const DataType type = predicate.field.element_type;
  const bool is_text = FamilyOf(type) == Family::kString;
  std::vector<Literal> items;
  if (predicate.contains == ContainsMode::kOne) {
    items.push_back(predicate.value);
  } else {
    items = UnpackList(predicate.value);
  }
  const WantedValues wanted(type, items);
  if (predicate.contains == ContainsMode::kAll) {
    if (wanted.impossible) return BuildKnownConstant(false, slot);
    const size_t count = wanted.numbers.size() + wanted.strings.size();
    if (count == 0) return BuildKnownConstant(true, slot);
    return MakeWhole(slot, [type, is_text, count, wanted](std::string_view array) {
      thread_local std::vector<uint8_t> seen;
      seen.assign(count, 0);
      size_t left = count;
      ForEachElement(array, type, [&](std::string_view bytes) {
        size_t index = count;
        if (is_text) {
          const auto found = std::lower_bound(wanted.strings.begin(), wanted.strings.end(), bytes);
          if (found != wanted.strings.end() && *found == bytes)
            index = static_cast<size_t>(found - wanted.strings.begin());
        } else {
          const int64_t key = LookupKey(type, bytes);
          const auto found = std::lower_bound(wanted.numbers.begin(), wanted.numbers.end(), key);
          if (found != wanted.numbers.end() && *found == key)
            index = static_cast<size_t>(found - wanted.numbers.begin());
        }
        if (index < count && seen[index] == 0) {
          seen[index] = 1;
          --left;
        }
        return left != 0;
      });
      return left == 0;
    });
  }
  if (wanted.numbers.empty() && wanted.strings.empty()) return BuildKnownConstant(false, slot);
  return MakeWhole(slot, [type, is_text, numbers = IntSet(wanted.numbers),
                          strings = StringSet(wanted.strings)](std::string_view array) {
    bool found = false;
    ForEachElement(array, type, [&](std::string_view bytes) {
      found = is_text ? strings.Contains(bytes) : numbers.Contains(LookupKey(type, bytes));
      return !found;
    });
    return found;
  });
}

EvaluatorPtr BuildArrayEquality(const Predicate& predicate, size_t slot) {
  const DataType type = predicate.field.element_type;
  const bool equal = predicate.op == CompareOp::kEqual;
  std::vector<WantedValues> wanted;
  for (const Literal& item : UnpackList(predicate.value)) {
    wanted.emplace_back(type, std::vector<Literal>{item});
    if (wanted.back().impossible) return BuildKnownConstant(!equal, slot);
  }
  return MakeWhole(slot, [type, equal, wanted = std::move(wanted)](std::string_view array) {
    if (ArrayReader(array, type).size() != wanted.size()) return !equal;
    size_t index = 0;
    bool same = true;
    ForEachElement(array, type, [&](std::string_view bytes) {
      const WantedValues& one = wanted[index++];
      same = one.strings.empty() ? LookupKey(type, bytes) == one.numbers[0] : bytes == one.strings[0];
      return same;
    });
    return same == equal;
  });
}

}  // namespace

EvaluatorPtr BuildArrayEvaluator(const Predicate& predicate, size_t slot) {
  switch (predicate.kind) {
    case Predicate::Kind::kContains: return BuildContains(predicate, slot);
    case Predicate::Kind::kArrayLength: {
      const IntRangeTest range = IntRangeTest::Of(predicate.op, std::get<int64_t>(predicate.value.value));
      const DataType type = predicate.field.element_type;
      return MakeWhole(slot, [range, type](std::string_view array) { return range(ArrayReader(array, type).size()); });
    }
    default: break;
  }
  if (predicate.field.path.empty()) {
    if (predicate.kind == Predicate::Kind::kCompare) return BuildArrayEquality(predicate, slot);
    return BuildKnownConstant(false, slot);  // `in []`
  }
  switch (FamilyOf(predicate.field.element_type)) {
    case Family::kBool: return BuildBoolElement(predicate, slot);
    case Family::kInt: return BuildIntElement(predicate, slot);
    case Family::kFloat:
    case Family::kDouble: return BuildRealElement(predicate, slot);
    default: return BuildStringElement(predicate, slot);
  }
}

}  // namespace quiver::expr
