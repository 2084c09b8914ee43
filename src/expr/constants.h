// File: expr/constants.h
// Arithmetic and comparison of constants, exact for numbers of different kinds.
// Thread rule: pure functions.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "expr/literal.h"
#include "expr/predicate.h"

namespace quiver::expr {

/// Value of a numeric literal as a double (rounded).
double ToDouble(const Literal& number);

/// Compares an integer with a double exactly, without rounding the integer; unordered for NaN.
std::partial_ordering CompareExact(int64_t left, double right);

/// Returns whether `order` satisfies `op`; only != holds for unordered values.
constexpr bool Satisfies(CompareOp op, std::partial_ordering order) {
  switch (op) {
    case CompareOp::kEqual: return order == std::partial_ordering::equivalent;
    case CompareOp::kNotEqual: return order != std::partial_ordering::equivalent;
    case CompareOp::kLess: return order == std::partial_ordering::less;
    case CompareOp::kLessEqual:
      return order == std::partial_ordering::less || order == std::partial_ordering::equivalent;
    case CompareOp::kGreater: return order == std::partial_ordering::greater;
    case CompareOp::kGreaterEqual:
      return order == std::partial_ordering::greater || order == std::partial_ordering::equivalent;
  }
  return false;
}

/// One step of 64-bit arithmetic with wrap-around; the divisor is not 0, shift amounts are 0..63.
int64_t CalculateInt(ArithmeticOp op, int64_t left, int64_t right);
/// One step of floating arithmetic (+ - * /).
double CalculateDouble(ArithmeticOp op, double left, double right);

/// Power of two numbers: an integer where both are and the result fits 64 bits, else a double.
Literal PowerOf(const Literal& base, const Literal& exponent);

/// Compares two scalar constants; false where their kinds cannot be compared.
bool CompareConstants(CompareOp op, const Literal& left, const Literal& right, bool* truth);
/// Calculates with two constants; false with a text in `error` where that is not defined.
bool CalculateConstants(ArithmeticOp op, const Literal& left, const Literal& right, Literal* result,
                        std::string* error);

/// Shows a constant as error texts do: `int64_val:1`, `string_val:"a"`.
std::string DescribeLiteral(const Literal& literal);

}  // namespace quiver::expr
