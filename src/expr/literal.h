// File: expr/literal.h
// Literal: a constant of the filter language, as written in an expression or passed as a template value.
// Thread rule: plain values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"

namespace quiver::expr {

/// A scalar or a list. Lists of one kind are held packed, so that a list of a million keys costs eight bytes each;
/// mixed, boolean and nested lists are lists of literals. An empty list may have any of the list forms.
struct Literal {
  using Ints = std::vector<int64_t>;
  using Doubles = std::vector<double>;
  using Strings = std::vector<std::string>;
  using List = std::vector<Literal>;

  std::variant<bool, int64_t, double, std::string, Ints, Doubles, Strings, List> value;

  bool operator==(const Literal&) const = default;

  [[nodiscard]] bool is_bool() const { return std::holds_alternative<bool>(value); }
  [[nodiscard]] bool is_int() const { return std::holds_alternative<int64_t>(value); }
  [[nodiscard]] bool is_double() const { return std::holds_alternative<double>(value); }
  [[nodiscard]] bool is_string() const { return std::holds_alternative<std::string>(value); }
  [[nodiscard]] bool is_number() const { return is_int() || is_double(); }
  [[nodiscard]] bool is_list() const { return value.index() >= 4; }
  /// Elements of a list; 0 for scalars.
  [[nodiscard]] size_t list_size() const;
  /// Element of a list; `index` must be below list_size().
  [[nodiscard]] Literal Element(size_t index) const;
};

/// Template parameters by name: `{name}` in a filter stands for the value.
using TemplateValues = std::map<std::string, Literal, std::less<>>;

/// Reads a JSON scalar or array as a literal (integers of 64 bits stay exact); the form of mixed lists on the wire.
/// Objects and nulls are errors.
Result<Literal> LiteralFromJson(std::string_view json);

}  // namespace quiver::expr
