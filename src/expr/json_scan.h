// File: expr/json_scan.h
// Reads one place of a JSON text without building a tree: FindJson walks the text along a path and returns a view of
// the value; what lies beside the path is skipped. Malformed text reads as a missing value; nothing outside of the text
// is touched. Thread rule: pure functions.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "expr/syntax.h"

namespace quiver::expr {

enum class JsonType : uint8_t { kMissing, kNull, kBool, kNumber, kString, kArray, kObject };

/// A value inside a JSON text.
struct JsonValue {
  JsonType type = JsonType::kMissing;
  bool escaped = false;   ///< of a string: it holds escapes
  std::string_view text;  ///< as written; of a string: what stands between the quotes

  [[nodiscard]] bool truth() const { return text == "true"; }
};

/// Returns the value at `path` (the whole value for an empty path). Of repeated keys the first counts.
JsonValue FindJson(std::string_view json, std::span<const PathStep> path);

/// Decoded characters of a string value; `buffer` is used where it holds escapes.
std::string_view JsonStringText(const JsonValue& value, std::string* buffer);

/// A JSON number without loss: integers of 64 bits (either sign) stay integers; everything else is a double.
struct JsonNumber {
  enum class Kind : uint8_t { kInt, kUint, kDouble };
  Kind kind = Kind::kInt;
  int64_t integer = 0;
  uint64_t natural = 0;  ///< values above INT64_MAX
  double real = 0;

  [[nodiscard]] double ToDouble() const;
};
/// Reads a number; false where the text is none.
bool ReadJsonNumber(std::string_view text, JsonNumber* number);
/// Exact comparison.
std::partial_ordering Compare(const JsonNumber& left, int64_t right);
std::partial_ordering Compare(const JsonNumber& left, double right);

/// Walks the elements of an array value.
class JsonArrayCursor {
 public:
  explicit JsonArrayCursor(const JsonValue& array);
  /// Returns false after the last element.
  bool Next(JsonValue* element);

 private:
  const char* position_ = nullptr;
  const char* end_ = nullptr;
  bool first_ = true;
};

/// Walks the members of an object value; stops where the text is malformed.
class JsonObjectCursor {
 public:
  explicit JsonObjectCursor(const JsonValue& object);
  /// Returns false after the last member. `key` is a string value.
  bool Next(JsonValue* key, JsonValue* value);

 private:
  const char* position_ = nullptr;
  const char* end_ = nullptr;
  bool first_ = true;
};

}  // namespace quiver::expr
