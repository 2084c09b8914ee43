// File: expr/test_json_form.h
// WalkForm: looks at all that can be reached from a value in binary form. For tests and fuzzing only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "expr/json_form.h"

namespace quiver::expr {

/// Returns a number that depends on every byte looked at; arrays are entered `depth` times.
inline size_t WalkForm(const JsonFormValue& value, int depth) {
  size_t sum = static_cast<size_t>(value.type);
  JsonNumber number;
  std::string buffer;
  if (value.type == JsonType::kNumber && ReadJsonNumber(value, &number)) sum += number.ToDouble() > 1 ? 2 : 1;
  if (value.type == JsonType::kString) {
    for (const char c : JsonStringText(value, &buffer)) sum += static_cast<uint8_t>(c);
  }
  JsonFormArrayCursor cursor(value);
  for (JsonFormValue element; depth > 0 && cursor.Next(&element);) sum += WalkForm(element, depth - 1);
  return sum;
}

}  // namespace quiver::expr
