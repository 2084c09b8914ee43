// File: index/internal/json_numbers.h
// Numbers of JSON documents as doubles, which is how indexes hold them. Thread rule: pure functions.
#pragma once

#include <compare>
#include <optional>
#include <string_view>

#include "expr/json_scan.h"

namespace quiver::index {

/// The nearest double; sets `rounded` where the number is another one.
inline double NearestDouble(const expr::JsonNumber& number, bool* rounded) {
  const double real = number.ToDouble();
  if (expr::Compare(number, real) != std::partial_ordering::equivalent) *rounded = true;
  return real;
}

/// The number that a text holds, if it holds one as JSON writes numbers and nothing else.
inline std::optional<expr::JsonNumber> NumberInText(std::string_view text) {
  const size_t digit = text.starts_with('-') ? 1 : 0;  // "nan" and "inf" are none
  if (digit >= text.size() || text[digit] < '0' || text[digit] > '9') return std::nullopt;
  expr::JsonNumber number;
  if (!expr::ReadJsonNumber(text, &number)) return std::nullopt;
  return number;
}

}  // namespace quiver::index
