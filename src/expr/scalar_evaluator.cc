// Evaluators of BOOL, integer, floating and string fields, and of comparisons between two fields.
#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "expr/dictionary_verdicts.h"
#include "expr/like_pattern.h"
#include "expr/row_loops.h"
#include "expr/value_set.h"

namespace quiver::expr {
namespace {

/// Applies a test to every value of a fixed-width column.
template <typename T, typename Test>
class FixedEvaluator final : public Evaluator {
 public:
  FixedEvaluator(size_t slot, Test test, int cost) : slot_(slot), cost_(cost), test_(std::move(test)) {}
  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    const ColumnView& view = chunk.columns[slot_];
    if (IsSparse(chunk, active)) {
      return TestActive(view, chunk, active, need_known, out,
                        [&](size_t row) { return test_(LoadValue<T>(view.fixed, row)); });
    }
    TestFixed<T>(view.fixed, chunk.rows, &out->is_true, test_);
    ApplyValidity(view, chunk, need_known, out);
  }
  size_t Keep(const Chunk& chunk, uint16_t* rows, size_t count) const override {
    return KeepFixed<T>(chunk.columns[slot_], rows, count, test_);
  }
  [[nodiscard]] int cost() const override { return cost_; }

 private:
  size_t slot_;
  int cost_;
  Test test_;
};

template <typename T, typename Test>
EvaluatorPtr MakeFixed(size_t slot, Test test, int cost = kFixedCost) {
  return std::make_unique<FixedEvaluator<T, Test>>(slot, std::move(test), cost);
}

/// Tests whether values lie in an interval, or outside of it: at the speed of memory.
template <typename T>
class IntervalEvaluator final : public Evaluator {
 public:
  IntervalEvaluator(size_t slot, T low, T high, bool outside)
      : slot_(slot), low_(low), high_(high), outside_(outside) {}
  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    const ColumnView& view = chunk.columns[slot_];
    if (IsSparse(chunk, active)) {
      return TestActive(view, chunk, active, need_known, out,
                        [&](size_t row) { return Test(LoadValue<T>(view.fixed, row)); });
    }
    TestInterval(view.fixed, chunk.rows, low_, high_, outside_, &out->is_true);
    ApplyValidity(view, chunk, need_known, out);
  }
  size_t Keep(const Chunk& chunk, uint16_t* rows, size_t count) const override {
    return KeepFixed<T>(chunk.columns[slot_], rows, count, [this](T value) { return Test(value); });
  }
  [[nodiscard]] int cost() const override { return kFixedCost; }

 private:
  // Both ends are looked at in any case: a branch would be guessed wrong where rows are few.
  [[nodiscard]] bool Test(T value) const {
    return (static_cast<int>(value >= low_) & static_cast<int>(value <= high_)) != static_cast<int>(outside_);
  }

  size_t slot_;
  T low_;
  T high_;
  bool outside_;
};

/// Applies a test to the active rows of a string column.
template <typename Test>
class StringEvaluator final : public Evaluator {
 public:
  StringEvaluator(size_t slot, Test test, int cost) : slot_(slot), cost_(cost), test_(std::move(test)) {}
  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    const ColumnView& view = chunk.columns[slot_];
    if (view.dictionary != nullptr) return TestDictionary(id_, view, chunk, active, need_known, out, test_);
    TestActiveBytes(view, chunk, active, need_known, out, test_);
  }
  size_t Keep(const Chunk& chunk, uint16_t* rows, size_t count) const override {
    const ColumnView& view = chunk.columns[slot_];
    const auto is_valid = [&](size_t row) { return view.valid == nullptr || view.valid[row] != 0; };
    if (view.dictionary == nullptr) {
      return KeepIf(rows, count, [&](size_t row) { return is_valid(row) && test_(view.Bytes(row)); });
    }
    DictionaryVerdicts& verdicts = VerdictsOf(id_, *view.dictionary);
    return KeepIf(rows, count, [&](size_t row) {
      return is_valid(row) && verdicts.Decide(*view.dictionary, view.Code(row), test_);
    });
  }
  [[nodiscard]] int cost() const override { return cost_; }

 private:
  uint64_t id_ = NextEvaluatorId();
  size_t slot_;
  int cost_;
  Test test_;
};

template <typename Test>
EvaluatorPtr MakeString(size_t slot, Test test, int cost = kStringCost) {
  return std::make_unique<StringEvaluator<Test>>(slot, std::move(test), cost);
}

// --- integers --------------------------------------------------------------------------------------------------------

/// A range test in the width of the column, so that a vector register holds as many values as it can.
template <typename T>
EvaluatorPtr MakeIntRange(size_t slot, const IntRangeTest& range) {
  constexpr int64_t kLeast = std::numeric_limits<T>::min();
  constexpr int64_t kMost = std::numeric_limits<T>::max();
  if (range.empty || range.least > kMost || range.most < kLeast) return BuildKnownConstant(range.outside, slot);
  const int64_t least = std::max(range.least, kLeast);
  const int64_t most = std::min(range.most, kMost);
  if (least == kLeast && most == kMost) return BuildKnownConstant(!range.outside, slot);
  return std::make_unique<IntervalEvaluator<T>>(slot, static_cast<T>(least), static_cast<T>(most), range.outside);
}

/// Tests bytes by a set of them.
class ByteSetEvaluator final : public Evaluator {
 public:
  ByteSetEvaluator(size_t slot, const Literal::Ints& values) : slot_(slot) {
    for (const int64_t value : values) {
      if (value >= INT8_MIN && value <= INT8_MAX) set_.Insert(static_cast<uint8_t>(value));
    }
  }
  void Evaluate(const Chunk& chunk, const BitWords& /*active*/, bool need_known, Truth* out) const override {
    const ColumnView& view = chunk.columns[slot_];
    simd::Kernels().compare->codes(reinterpret_cast<const uint8_t*>(view.fixed), chunk.rows, set_, out->is_true.data());
    ApplyValidity(view, chunk, need_known, out);
  }
  [[nodiscard]] int cost() const override { return kFixedCost; }

 private:
  size_t slot_;
  simd::CodeSet set_;
};

template <typename T>
EvaluatorPtr MakeIntSet(size_t slot, const Literal::Ints& values) {
  if (values.empty()) return BuildKnownConstant(false, slot);
  if constexpr (sizeof(T) == 1) return std::make_unique<ByteSetEvaluator>(slot, values);
  constexpr size_t kFew = 8;
  if (values.size() <= kFew) {
    std::array<T, kFew> few;
    size_t count = 0;
    for (const int64_t value : values) {
      if (value >= std::numeric_limits<T>::min() && value <= std::numeric_limits<T>::max()) {
        few[count++] = static_cast<T>(value);
      }
    }
    if (count == 0) return BuildKnownConstant(false, slot);
    for (size_t i = count; i < kFew; ++i) few[i] = few[0];
    return MakeFixed<T>(
        slot,
        [few](T value) {
          bool found = false;
          for (const T one : few) found |= value == one;
          return found;
        },
        kFixedSetCost);
  }
  return MakeFixed<T>(slot, [set = IntSet(values)](T value) { return set.Contains(value); }, kFixedSetCost);
}

template <typename T>
EvaluatorPtr BuildInt(const Predicate& predicate, size_t slot) {
  const auto int_of = [](const Literal& literal) { return std::get<int64_t>(literal.value); };
  switch (predicate.kind) {
    case Predicate::Kind::kCompare:
      return MakeIntRange<T>(slot, IntRangeTest::Of(predicate.op, int_of(predicate.value)));
    case Predicate::Kind::kRange:
      return MakeIntRange<T>(slot, IntRangeTest::Of(int_of(predicate.value), predicate.lower_inclusive,
                                                    int_of(predicate.upper), predicate.upper_inclusive));
    case Predicate::Kind::kIn: return MakeIntSet<T>(slot, std::get<Literal::Ints>(predicate.value.value));
    default: break;
  }
  // Arithmetic, in 64 bits.
  const int64_t operand = int_of(predicate.operand);
  const IntRangeTest range = IntRangeTest::Of(predicate.op, int_of(predicate.value));
  return WithArithmetic(predicate.arithmetic, [&]<ArithmeticOp op>(ArithmeticTag<op>) -> EvaluatorPtr {
    return MakeFixed<T>(slot, [operand, range](T value) { return range(ApplyInt<op>(value, operand)); }, 2);
  });
}

/// Moments moved by the calendar: months differ in length, so each value is moved.
EvaluatorPtr BuildShifted(const Predicate& predicate, size_t slot) {
  const IntRangeTest range = IntRangeTest::Of(predicate.op, std::get<int64_t>(predicate.value.value));
  return MakeFixed<int64_t>(
      slot,
      [range, interval = predicate.interval, sign = predicate.sign](int64_t micros) {
        return range(AddInterval(micros, interval, sign));
      },
      kStringCost);
}

// --- floats ----------------------------------------------------------------------------------------------------------

/// An interval of numbers with both ends inside: x > c is x >= the number after c. NaN is in none.
template <typename T>
class RealInterval {
 public:
  RealInterval& StartAt(T value, bool inclusive) {
    empty_ = empty_ || std::isnan(value) || (!inclusive && value == kInfinity);
    low_ = inclusive ? value : std::nextafter(value, kInfinity);
    return *this;
  }
  RealInterval& EndAt(T value, bool inclusive) {
    empty_ = empty_ || std::isnan(value) || (!inclusive && value == -kInfinity);
    high_ = inclusive ? value : std::nextafter(value, -kInfinity);
    return *this;
  }
  [[nodiscard]] EvaluatorPtr Build(size_t slot, bool outside) const {
    if (empty_ || low_ > high_) return BuildKnownConstant(outside, slot);
    return std::make_unique<IntervalEvaluator<T>>(slot, low_, high_, outside);
  }

 private:
  static constexpr T kInfinity = std::numeric_limits<T>::infinity();
  T low_ = -kInfinity;
  T high_ = kInfinity;
  bool empty_ = false;
};

template <typename T>
EvaluatorPtr BuildFloat(const Predicate& predicate, size_t slot) {
  // FLOAT fields compare in single precision: the constant is rounded first, so that `f == 0.1` finds what 0.1 stored.
  const auto real_of = [](const Literal& literal) { return static_cast<T>(std::get<double>(literal.value)); };
  switch (predicate.kind) {
    case Predicate::Kind::kCompare: {
      const T constant = real_of(predicate.value);
      RealInterval<T> interval;
      switch (predicate.op) {
        case CompareOp::kEqual:
        case CompareOp::kNotEqual: interval.StartAt(constant, true).EndAt(constant, true); break;
        case CompareOp::kGreater:
        case CompareOp::kGreaterEqual: interval.StartAt(constant, predicate.op == CompareOp::kGreaterEqual); break;
        default: interval.EndAt(constant, predicate.op == CompareOp::kLessEqual); break;
      }
      return interval.Build(slot, predicate.op == CompareOp::kNotEqual);
    }
    case Predicate::Kind::kRange:
      return RealInterval<T>()
          .StartAt(real_of(predicate.value), predicate.lower_inclusive)
          .EndAt(real_of(predicate.upper), predicate.upper_inclusive)
          .Build(slot, false);
    case Predicate::Kind::kIn: {
      Literal::Ints bits;
      for (const double value : std::get<Literal::Doubles>(predicate.value.value)) {
        bits.push_back(DoubleBits(static_cast<double>(static_cast<T>(value))));
      }
      return MakeFixed<T>(
          slot, [set = IntSet(bits)](T value) { return set.Contains(DoubleBits(static_cast<double>(value))); },
          kFixedSetCost);
    }
    default: break;
  }
  const T operand = real_of(predicate.operand);
  const T constant = real_of(predicate.value);
  return WithCompare(predicate.op, [&]<CompareOp op>(CompareTag<op>) -> EvaluatorPtr {
    const auto make = [&](auto calculate) -> EvaluatorPtr {
      return MakeFixed<T>(
          slot,
          [constant, operand, calculate](T value) {
            return CompareValues<op>(static_cast<T>(calculate(value, operand)), constant);
          },
          2);
    };
    switch (predicate.arithmetic) {
      case ArithmeticOp::kSubtract: return make([](T a, T b) { return a - b; });
      case ArithmeticOp::kMultiply: return make([](T a, T b) { return a * b; });
      case ArithmeticOp::kDivide: return make([](T a, T b) { return a / b; });
      default: return make([](T a, T b) { return a + b; });
    }
  });
}

// --- booleans --------------------------------------------------------------------------------------------------------

EvaluatorPtr BuildBool(const Predicate& predicate, size_t slot) {
  bool when_true = false;
  bool when_false = false;
  if (predicate.kind == Predicate::Kind::kIn) {
    for (const Literal& item : UnpackList(predicate.value)) {
      (std::get<bool>(item.value) ? when_true : when_false) = true;
    }
  } else {
    const int constant = std::get<bool>(predicate.value.value) ? 1 : 0;
    when_true = Satisfies(predicate.op, 1 <=> constant);
    when_false = Satisfies(predicate.op, 0 <=> constant);
  }
  if (when_true == when_false) return BuildKnownConstant(when_true, slot);
  return std::make_unique<IntervalEvaluator<int8_t>>(slot, int8_t{0}, int8_t{0}, when_true);
}

// --- strings ---------------------------------------------------------------------------------------------------------

EvaluatorPtr BuildString(const Predicate& predicate, size_t slot) {
  const auto text_of = [](const Literal& literal) { return std::get<std::string>(literal.value); };
  switch (predicate.kind) {
    case Predicate::Kind::kCompare: {
      std::string value = text_of(predicate.value);
      if (predicate.op == CompareOp::kEqual) {
        return MakeString(slot, [value](std::string_view text) { return text == value; });
      }
      return MakeString(slot, StringCompareTest{predicate.op, std::move(value)});
    }
    case Predicate::Kind::kRange:
      return MakeString(slot, StringRangeTest{text_of(predicate.value), text_of(predicate.upper),
                                              predicate.lower_inclusive, predicate.upper_inclusive});
    case Predicate::Kind::kIn: {
      const auto& strings = std::get<Literal::Strings>(predicate.value.value);
      if (strings.empty()) return BuildKnownConstant(false, slot);
      return MakeString(slot, [set = StringSet(strings)](std::string_view text) { return set.Contains(text); });
    }
    case Predicate::Kind::kLike: {
      LikePattern pattern(text_of(predicate.value));
      switch (pattern.form()) {
        case LikePattern::Form::kAny: return BuildKnownConstant(true, slot);
        case LikePattern::Form::kEqual:
          return MakeString(slot, [value = pattern.literal()](std::string_view text) { return text == value; });
        case LikePattern::Form::kPrefix:
          return MakeString(slot,
                            [value = pattern.literal()](std::string_view text) { return text.starts_with(value); });
        case LikePattern::Form::kSuffix:
          return MakeString(slot, [value = pattern.literal()](std::string_view text) { return text.ends_with(value); });
        default: return MakeString(slot, [pattern](std::string_view text) { return pattern.Matches(text); }, kLikeCost);
      }
    }
    case Predicate::Kind::kRegex: {
      auto regex = std::make_shared<RE2>(text_of(predicate.value), RE2::Quiet);
      return MakeString(
          slot,
          [regex](std::string_view text) {
            return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *regex);
          },
          kRegexCost);
    }
    default: return MakeString(slot, [](std::string_view text) { return text.empty(); });
  }
}

// --- two fields ------------------------------------------------------------------------------------------------------

/// The array element of a row, or nothing where the position lies beyond the end.
template <typename Use>
bool WithElement(std::string_view bytes, DataType element_type, int64_t index, const Use& use) {
  const ArrayReader reader(bytes, element_type);
  if (index >= reader.size()) return false;
  use(reader.Element(static_cast<uint32_t>(index)));
  return true;
}

int64_t ReadInt(DataType type, std::string_view bytes) {
  const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
  switch (type) {
    case DataType::kBool: return LoadValue<uint8_t>(data, 0) != 0 ? 1 : 0;
    case DataType::kInt8: return LoadValue<int8_t>(data, 0);
    case DataType::kInt16: return LoadValue<int16_t>(data, 0);
    case DataType::kInt32: return LoadValue<int32_t>(data, 0);
    default: return LoadValue<int64_t>(data, 0);
  }
}

double ReadDouble(DataType type, std::string_view bytes) {
  const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
  if (type == DataType::kFloat) return LoadValue<float>(data, 0);
  if (type == DataType::kDouble) return LoadValue<double>(data, 0);
  return static_cast<double>(ReadInt(type, bytes));
}

/// Loads 64 values of a field or array element; returns the mask of rows that have one.
template <typename T>
uint64_t LoadWord(const FieldRef& field, const ColumnView& view, size_t word, size_t rows, T* values) {
  const auto convert = [](DataType type, std::string_view bytes) -> T {
    if constexpr (std::is_same_v<T, int64_t>) {
      return ReadInt(type, bytes);
    } else if constexpr (std::is_same_v<T, double>) {
      return ReadDouble(type, bytes);
    } else {
      return bytes;
    }
  };
  uint64_t valid = ValidWord(view, word, rows);
  const size_t begin = word * kWordBits;
  const size_t count = std::min(kWordBits, rows - begin);
  for (size_t i = 0; i < count; ++i) {
    const uint64_t bit = uint64_t{1} << i;
    values[i] = T{};
    if ((valid & bit) == 0) continue;
    const std::string_view bytes = view.Bytes(begin + i);
    if (field.type != DataType::kArray) {
      values[i] = convert(field.type, bytes);
    } else if (!WithElement(bytes, field.element_type, field.path[0].index,
                            [&](std::string_view element) { values[i] = convert(field.element_type, element); })) {
      valid &= ~bit;
    }
  }
  for (size_t i = count; i < kWordBits; ++i) values[i] = T{};
  return valid;
}

template <typename Left, typename Right, typename Compare>
class FieldComparison final : public Evaluator {
 public:
  FieldComparison(FieldRef left, FieldRef right, size_t left_slot, size_t right_slot, Compare compare)
      : left_(std::move(left)),
        right_(std::move(right)),
        left_slot_(left_slot),
        right_slot_(right_slot),
        compare_(compare) {}

  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    Left left[kWordBits];
    Right right[kWordBits];
    uint8_t bytes[kWordBits];
    for (size_t word = 0; word < chunk.words; ++word) {
      if (active[word] == 0) {
        out->is_true[word] = 0;
        if (need_known) out->is_known[word] = 0;
        continue;
      }
      const uint64_t known = LoadWord(left_, chunk.columns[left_slot_], word, chunk.rows, left) &
                             LoadWord(right_, chunk.columns[right_slot_], word, chunk.rows, right);
      for (size_t i = 0; i < kWordBits; ++i) bytes[i] = compare_(left[i], right[i]) ? 1 : 0;
      out->is_true[word] = PackBytes(bytes) & known;
      if (need_known) out->is_known[word] = known;
    }
  }
  [[nodiscard]] int cost() const override {
    return left_.type == DataType::kArray || right_.type == DataType::kArray ? kArrayCost : kFixedSetCost;
  }

 private:
  FieldRef left_;
  FieldRef right_;
  size_t left_slot_;
  size_t right_slot_;
  Compare compare_;
};

}  // namespace

EvaluatorPtr BuildScalarEvaluator(const Predicate& predicate, size_t slot) {
  switch (predicate.field.type) {
    case DataType::kBool: return BuildBool(predicate, slot);
    case DataType::kInt8: return BuildInt<int8_t>(predicate, slot);
    case DataType::kInt16: return BuildInt<int16_t>(predicate, slot);
    case DataType::kInt32: return BuildInt<int32_t>(predicate, slot);
    case DataType::kInt64: return BuildInt<int64_t>(predicate, slot);
    case DataType::kTimestamptz:
      return predicate.kind == Predicate::Kind::kShiftedCompare ? BuildShifted(predicate, slot)
                                                                : BuildInt<int64_t>(predicate, slot);
    case DataType::kFloat: return BuildFloat<float>(predicate, slot);
    case DataType::kDouble: return BuildFloat<double>(predicate, slot);
    case DataType::kString:
    case DataType::kVarChar: return BuildString(predicate, slot);
    default: return BuildKnownConstant(false, slot);  // an empty `in` list on any other type
  }
}

EvaluatorPtr BuildFieldComparison(const Predicate& predicate, size_t left_slot, size_t right_slot) {
  const DataType left = predicate.field.value_type();
  const DataType right = predicate.right_field.value_type();
  const auto is_whole = [](DataType type) {
    return IsInteger(type) || type == DataType::kBool || type == DataType::kTimestamptz;
  };
  return WithCompare(predicate.op, [&]<CompareOp op>(CompareTag<op>) -> EvaluatorPtr {
    const auto make = [&]<typename L, typename R>(auto compare) -> EvaluatorPtr {
      return std::make_unique<FieldComparison<L, R, decltype(compare)>>(predicate.field, predicate.right_field,
                                                                        left_slot, right_slot, compare);
    };
    if (IsString(left)) {
      return make.template operator()<std::string_view, std::string_view>(
          [](std::string_view a, std::string_view b) { return CompareValues<op>(a, b); });
    }
    if (is_whole(left) && is_whole(right)) {
      return make.template operator()<int64_t, int64_t>([](int64_t a, int64_t b) { return CompareValues<op>(a, b); });
    }
    // Integers of 64 bits are compared with floating values exactly; narrower ones fit a double.
    if (left == DataType::kInt64) {
      return make.template operator()<int64_t, double>(
          [](int64_t a, double b) { return Satisfies(op, CompareExact(a, b)); });
    }
    if (right == DataType::kInt64) {
      return make.template operator()<double, int64_t>(
          [](double a, int64_t b) { return Satisfies(op, 0 <=> CompareExact(b, a)); });
    }
    return make.template operator()<double, double>([](double a, double b) { return CompareValues<op>(a, b); });
  });
}

}  // namespace quiver::expr
