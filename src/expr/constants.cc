#include "expr/constants.h"

#include <cmath>
#include <limits>

namespace quiver::expr {
namespace {

std::partial_ordering CompareNumbers(const Literal& left, const Literal& right) {
  const auto* left_int = std::get_if<int64_t>(&left.value);
  const auto* right_int = std::get_if<int64_t>(&right.value);
  if (left_int != nullptr && right_int != nullptr) return *left_int <=> *right_int;
  if (left_int != nullptr) return CompareExact(*left_int, std::get<double>(right.value));
  if (right_int != nullptr) {
    const std::partial_ordering order = CompareExact(*right_int, std::get<double>(left.value));
    return 0 <=> order;  // the mirrored order
  }
  return std::get<double>(left.value) <=> std::get<double>(right.value);
}

}  // namespace

double ToDouble(const Literal& number) {
  if (const auto* integer = std::get_if<int64_t>(&number.value)) return static_cast<double>(*integer);
  return std::get<double>(number.value);
}

std::partial_ordering CompareExact(int64_t left, double right) {
  if (std::isnan(right)) return std::partial_ordering::unordered;
  if (right < -0x1p63) return std::partial_ordering::greater;
  if (right >= 0x1p63) return std::partial_ordering::less;
  const auto whole = static_cast<int64_t>(right);
  if (left != whole) return left <=> whole;
  return static_cast<double>(whole) <=> right;
}

int64_t CalculateInt(ArithmeticOp op, int64_t left, int64_t right) {
  const auto a = static_cast<uint64_t>(left);
  const auto b = static_cast<uint64_t>(right);
  switch (op) {
    case ArithmeticOp::kAdd: return static_cast<int64_t>(a + b);
    case ArithmeticOp::kSubtract: return static_cast<int64_t>(a - b);
    case ArithmeticOp::kMultiply: return static_cast<int64_t>(a * b);
    case ArithmeticOp::kDivide:
      return right == -1 ? static_cast<int64_t>(0 - a) : left / right;  // the least value divided by -1 wraps
    case ArithmeticOp::kModulo: return right == -1 ? 0 : left % right;
    case ArithmeticOp::kBitAnd: return static_cast<int64_t>(a & b);
    case ArithmeticOp::kBitOr: return static_cast<int64_t>(a | b);
    case ArithmeticOp::kBitXor: return static_cast<int64_t>(a ^ b);
    case ArithmeticOp::kShiftLeft: return static_cast<int64_t>(a << b);
    case ArithmeticOp::kShiftRight: return left >> right;
    default: return left;
  }
}

double CalculateDouble(ArithmeticOp op, double left, double right) {
  switch (op) {
    case ArithmeticOp::kAdd: return left + right;
    case ArithmeticOp::kSubtract: return left - right;
    case ArithmeticOp::kMultiply: return left * right;
    case ArithmeticOp::kDivide: return left / right;
    default: return left;
  }
}

Literal PowerOf(const Literal& base, const Literal& exponent) {
  if (base.is_int() && exponent.is_int() && std::get<int64_t>(exponent.value) >= 0) {
    const int64_t factor = std::get<int64_t>(base.value);
    int64_t left = std::get<int64_t>(exponent.value);
    if (factor >= -1 && factor <= 1) left = factor == -1 ? left % 2 : left > 0 ? 1 : 0;  // more steps change nothing
    int64_t result = 1;
    bool fits = true;
    while (left > 0 && fits) {
      fits = !__builtin_mul_overflow(result, factor, &result);
      --left;
    }
    if (fits) return Literal{result};
  }
  return Literal{std::pow(ToDouble(base), ToDouble(exponent))};
}

bool CompareConstants(CompareOp op, const Literal& left, const Literal& right, bool* truth) {
  if (left.is_number() && right.is_number()) {
    *truth = Satisfies(op, CompareNumbers(left, right));
    return true;
  }
  if (left.is_string() && right.is_string()) {
    *truth = Satisfies(op, std::get<std::string>(left.value) <=> std::get<std::string>(right.value));
    return true;
  }
  if (left.is_bool() && right.is_bool() && (op == CompareOp::kEqual || op == CompareOp::kNotEqual)) {
    *truth = (std::get<bool>(left.value) == std::get<bool>(right.value)) == (op == CompareOp::kEqual);
    return true;
  }
  return false;
}

bool CalculateConstants(ArithmeticOp op, const Literal& left, const Literal& right, Literal* result,
                        std::string* error) {
  const auto* left_int = std::get_if<int64_t>(&left.value);
  const auto* right_int = std::get_if<int64_t>(&right.value);
  const bool integers = left_int != nullptr && right_int != nullptr;
  if (!left.is_number() || !right.is_number()) {
    *error = fmt::format("arithmetic can only apply on numbers, got: {} and {}", DescribeLiteral(left),
                         DescribeLiteral(right));
    return false;
  }
  const bool divides = op == ArithmeticOp::kDivide || op == ArithmeticOp::kModulo;
  if (op >= ArithmeticOp::kModulo && !integers) {
    *error =
        op == ArithmeticOp::kModulo ? "modulo can only apply on integer" : "bit operations can only apply on integer";
    return false;
  }
  if (divides && ToDouble(right) == 0) {
    *error = op == ArithmeticOp::kDivide ? "cannot divide by zero" : "cannot modulo by zero";
    return false;
  }
  if ((op == ArithmeticOp::kShiftLeft || op == ArithmeticOp::kShiftRight) && (*right_int < 0 || *right_int > 63)) {
    *error = fmt::format("shift amount must be an integer in range [0, 64): {}", *right_int);
    return false;
  }
  if (integers) {
    result->value = CalculateInt(op, *left_int, *right_int);
  } else {
    result->value = CalculateDouble(op, ToDouble(left), ToDouble(right));
  }
  return true;
}

std::string DescribeLiteral(const Literal& literal) {
  if (const auto* truth = std::get_if<bool>(&literal.value)) return *truth ? "bool_val:true" : "bool_val:false";
  if (const auto* integer = std::get_if<int64_t>(&literal.value)) return fmt::format("int64_val:{}", *integer);
  if (const auto* real = std::get_if<double>(&literal.value)) return fmt::format("float_val:{:g}", *real);
  if (const auto* text = std::get_if<std::string>(&literal.value)) {
    return fmt::format("string_val:\"{}\"", QuoteForError(*text));
  }
  std::string items;
  const size_t size = literal.list_size();
  constexpr size_t kShown = 8;
  for (size_t i = 0; i < size && i < kShown; ++i) {
    items += fmt::format("{}array:{{{}}}", i == 0 ? "" : " ", DescribeLiteral(literal.Element(i)));
  }
  return fmt::format("array_val:{{{}{}}}", items, size > kShown ? " ..." : "");
}

}  // namespace quiver::expr
