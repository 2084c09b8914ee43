// File: expr/row_loops.h
// The loops that evaluators are made of: fixed-width values to bits, validity bytes to bits, active rows one by one;
// and the tests of single values that they apply. Thread rule: pure functions and immutable values.
#pragma once

#include <bit>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "expr/constants.h"
#include "expr/evaluator.h"
#include "simd/kernels.h"
#include "simd/pack_bytes.h"

namespace quiver::expr {

using simd::PackBytes;

template <typename T>
T LoadValue(const std::byte* data, size_t row) {
  T value;
  std::memcpy(&value, data + row * sizeof(T), sizeof(T));
  return value;
}

/// Sets bit i of `out` where test(value i); rows beyond `rows` give 0.
template <typename T, typename Test>
void TestFixed(const std::byte* data, size_t rows, BitWords* out, const Test& test) {
  uint8_t bytes[kWordBits];
  size_t word = 0;
  for (; (word + 1) * kWordBits <= rows; ++word) {
    const std::byte* block = data + word * kWordBits * sizeof(T);
    for (size_t i = 0; i < kWordBits; ++i) bytes[i] = test(LoadValue<T>(block, i)) ? 1 : 0;
    (*out)[word] = PackBytes(bytes);
  }
  if (word * kWordBits < rows) {
    uint64_t bits = 0;
    for (size_t i = word * kWordBits; i < rows; ++i) {
      bits |= uint64_t{test(LoadValue<T>(data, i)) ? 1U : 0U} << (i % kWordBits);
    }
    (*out)[word] = bits;
  }
}

/// Sets bit i of `out` where value i lies in [low, high]; with `outside`, where it does not (as NaN never does). Rows
/// beyond `rows` give 0.
template <typename T>
void TestInterval(const std::byte* data, size_t rows, T low, T high, bool outside, BitWords* out) {
  simd::Kernels().compare->Of<T>()(data, rows, low, high, out->data());
  if (!outside) return;
  const size_t words = (rows + kWordBits - 1) / kWordBits;
  for (size_t word = 0; word < words; ++word) (*out)[word] = ~(*out)[word];
  if (const size_t tail = rows % kWordBits; tail != 0) (*out)[words - 1] &= (uint64_t{1} << tail) - 1;
}

/// Word `word` of the validity of a column.
inline uint64_t ValidWord(const ColumnView& view, size_t word, size_t rows) {
  const size_t begin = word * kWordBits;
  const size_t count = std::min(kWordBits, rows - begin);
  if (view.valid == nullptr) return count == kWordBits ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
  uint8_t bytes[kWordBits] = {};
  for (size_t i = 0; i < count; ++i) bytes[i] = view.valid[begin + i] != 0 ? 1 : 0;
  return PackBytes(bytes);
}

/// Turns bits computed without regard to NULL into a truth.
inline void ApplyValidity(const ColumnView& view, const Chunk& chunk, bool need_known, Truth* out) {
  if (view.valid == nullptr && !need_known) return;
  for (size_t word = 0; word < chunk.words; ++word) {
    const uint64_t valid = ValidWord(view, word, chunk.rows);
    out->is_true[word] &= valid;
    if (need_known) out->is_known[word] = valid;
  }
}

/// Evaluator::Keep of a column of values of type T by a test of one value.
template <typename T, typename Test>
size_t KeepFixed(const ColumnView& view, uint16_t* rows, size_t count, const Test& test) {
  if (view.valid == nullptr) {
    return KeepIf(rows, count, [&](size_t row) { return test(LoadValue<T>(view.fixed, row)); });
  }
  return KeepIf(rows, count, [&](size_t row) {
    return static_cast<int>(view.valid[row] != 0) & static_cast<int>(test(LoadValue<T>(view.fixed, row)));
  });
}

/// Calls test(row) for every active row that is not NULL and sets its bit.
template <typename Test>
void TestActive(const ColumnView& view, const Chunk& chunk, const BitWords& active, bool need_known, Truth* out,
                const Test& test) {
  for (size_t word = 0; word < chunk.words; ++word) {
    if (active[word] == 0) {  // its bits do not matter
      out->is_true[word] = 0;
      if (need_known) out->is_known[word] = 0;
      continue;
    }
    const uint64_t valid = ValidWord(view, word, chunk.rows);
    uint64_t bits = 0;
    for (uint64_t left = active[word] & valid; left != 0; left &= left - 1) {
      const auto bit = static_cast<size_t>(std::countr_zero(left));
      bits |= uint64_t{test(word * kWordBits + bit) ? 1U : 0U} << bit;
    }
    out->is_true[word] = bits;
    if (need_known) out->is_known[word] = valid;
  }
}

/// As TestActive, for variable-length columns: test(bytes of the row).
template <typename Test>
void TestActiveBytes(const ColumnView& view, const Chunk& chunk, const BitWords& active, bool need_known, Truth* out,
                     const Test& test) {
  if (view.strings != nullptr) {
    TestActive(view, chunk, active, need_known, out, [&](size_t row) { return test(view.strings[row]); });
  } else if (view.offsets32 != nullptr) {
    const uint32_t* offsets = view.offsets32;
    const char* blob = view.blob;
    TestActive(view, chunk, active, need_known, out, [&](size_t row) {
      return test(std::string_view(blob + offsets[row], offsets[row + 1] - offsets[row]));
    });
  } else if (view.dictionary != nullptr) {
    TestActive(view, chunk, active, need_known, out,
               [&](size_t row) { return test(view.dictionary->Entry(view.Code(row))); });
  } else {
    const uint64_t* offsets = view.offsets;
    const char* blob = view.blob;
    TestActive(view, chunk, active, need_known, out, [&](size_t row) {
      return test(std::string_view(blob + offsets[row], static_cast<size_t>(offsets[row + 1] - offsets[row])));
    });
  }
}

/// A test of integers: inside [least, most], or outside of it.
struct IntRangeTest {
  int64_t least = INT64_MIN;
  int64_t most = INT64_MAX;
  bool outside = false;
  bool empty = false;  ///< nothing lies inside

  static IntRangeTest Of(CompareOp op, int64_t value) {
    IntRangeTest test;
    switch (op) {
      case CompareOp::kEqual:
      case CompareOp::kNotEqual:
        test.least = test.most = value;
        test.outside = op == CompareOp::kNotEqual;
        break;
      case CompareOp::kLess:
        test.empty = value == INT64_MIN;
        test.most = test.empty ? value : value - 1;
        break;
      case CompareOp::kLessEqual: test.most = value; break;
      case CompareOp::kGreater:
        test.empty = value == INT64_MAX;
        test.least = test.empty ? value : value + 1;
        break;
      case CompareOp::kGreaterEqual: test.least = value; break;
    }
    return test;
  }
  static IntRangeTest Of(int64_t lower, bool lower_inclusive, int64_t upper, bool upper_inclusive) {
    IntRangeTest test = Of(lower_inclusive ? CompareOp::kGreaterEqual : CompareOp::kGreater, lower);
    const IntRangeTest below = Of(upper_inclusive ? CompareOp::kLessEqual : CompareOp::kLess, upper);
    test.most = below.most;
    test.empty = test.empty || below.empty || test.least > test.most;
    return test;
  }
  bool operator()(int64_t value) const { return (!empty && value >= least && value <= most) != outside; }
};

/// Compares strings byte by byte.
struct StringCompareTest {
  CompareOp op = CompareOp::kEqual;
  std::string value;
  bool operator()(std::string_view text) const {
    if (op == CompareOp::kEqual) return text == value;
    if (op == CompareOp::kNotEqual) return text != value;
    return Satisfies(op, text <=> std::string_view(value));
  }
};

struct StringRangeTest {
  std::string lower;
  std::string upper;
  bool lower_inclusive = false;
  bool upper_inclusive = false;
  bool operator()(std::string_view text) const {
    const int from = text.compare(lower);
    if (from < 0 || (from == 0 && !lower_inclusive)) return false;
    const int to = text.compare(upper);
    return to < 0 || (to == 0 && upper_inclusive);
  }
};

template <ArithmeticOp op>
int64_t ApplyInt(int64_t left, int64_t right) {
  const auto a = static_cast<uint64_t>(left);
  const auto b = static_cast<uint64_t>(right);
  if constexpr (op == ArithmeticOp::kAdd) return static_cast<int64_t>(a + b);
  if constexpr (op == ArithmeticOp::kSubtract) return static_cast<int64_t>(a - b);
  if constexpr (op == ArithmeticOp::kMultiply) return static_cast<int64_t>(a * b);
  if constexpr (op == ArithmeticOp::kBitAnd) return static_cast<int64_t>(a & b);
  if constexpr (op == ArithmeticOp::kBitOr) return static_cast<int64_t>(a | b);
  if constexpr (op == ArithmeticOp::kBitXor) return static_cast<int64_t>(a ^ b);
  return CalculateInt(op, left, right);
}

template <ArithmeticOp op>
using ArithmeticTag = std::integral_constant<ArithmeticOp, op>;
/// Calls use(ArithmeticTag<op>).
template <typename Use>
auto WithArithmetic(ArithmeticOp op, const Use& use) {
  switch (op) {
    case ArithmeticOp::kSubtract: return use(ArithmeticTag<ArithmeticOp::kSubtract>{});
    case ArithmeticOp::kMultiply: return use(ArithmeticTag<ArithmeticOp::kMultiply>{});
    case ArithmeticOp::kDivide: return use(ArithmeticTag<ArithmeticOp::kDivide>{});
    case ArithmeticOp::kModulo: return use(ArithmeticTag<ArithmeticOp::kModulo>{});
    case ArithmeticOp::kBitAnd: return use(ArithmeticTag<ArithmeticOp::kBitAnd>{});
    case ArithmeticOp::kBitOr: return use(ArithmeticTag<ArithmeticOp::kBitOr>{});
    case ArithmeticOp::kBitXor: return use(ArithmeticTag<ArithmeticOp::kBitXor>{});
    case ArithmeticOp::kShiftLeft: return use(ArithmeticTag<ArithmeticOp::kShiftLeft>{});
    case ArithmeticOp::kShiftRight: return use(ArithmeticTag<ArithmeticOp::kShiftRight>{});
    default: return use(ArithmeticTag<ArithmeticOp::kAdd>{});
  }
}

/// Compares two values of one type; NaN differs from everything.
template <CompareOp op, typename T>
bool CompareValues(const T& left, const T& right) {
  if constexpr (op == CompareOp::kEqual) return left == right;
  if constexpr (op == CompareOp::kNotEqual) return left != right;
  if constexpr (op == CompareOp::kLess) return left < right;
  if constexpr (op == CompareOp::kLessEqual) return left <= right;
  if constexpr (op == CompareOp::kGreater) return left > right;
  if constexpr (op == CompareOp::kGreaterEqual) return left >= right;
}

template <CompareOp op>
using CompareTag = std::integral_constant<CompareOp, op>;
/// Calls use(CompareTag<op>).
template <typename Use>
auto WithCompare(CompareOp op, const Use& use) {
  switch (op) {
    case CompareOp::kNotEqual: return use(CompareTag<CompareOp::kNotEqual>{});
    case CompareOp::kLess: return use(CompareTag<CompareOp::kLess>{});
    case CompareOp::kLessEqual: return use(CompareTag<CompareOp::kLessEqual>{});
    case CompareOp::kGreater: return use(CompareTag<CompareOp::kGreater>{});
    case CompareOp::kGreaterEqual: return use(CompareTag<CompareOp::kGreaterEqual>{});
    default: return use(CompareTag<CompareOp::kEqual>{});
  }
}

/// Bits of a double for hashing: -0 and 0 are one value.
inline int64_t DoubleBits(double value) { return std::bit_cast<int64_t>(value + 0.0); }

/// The items of a list literal as single literals.
std::vector<Literal> UnpackList(const Literal& list);

/// Prices for Evaluator::cost().
inline constexpr int kConstantCost = 0;
inline constexpr int kFixedCost = 1;
inline constexpr int kFixedSetCost = 4;
inline constexpr int kStringCost = 10;
inline constexpr int kLikeCost = 20;
inline constexpr int kArrayCost = 30;
inline constexpr int kJsonCost = 60;
inline constexpr int kRegexCost = 100;
inline constexpr int kTextCost = 200;
inline constexpr int kSpatialCost = 500;

}  // namespace quiver::expr
