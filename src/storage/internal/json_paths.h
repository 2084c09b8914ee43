// File: storage/internal/json_paths.h
// Which places in a JSON column are worth a column of their own, and what each document holds there.
// Thread rule: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expr/json_scan.h"
#include "schema/column.h"

namespace quiver::storage::internal {

/// Keys from the root of the document; positions in arrays are no steps.
using JsonKeys = std::vector<std::string>;

/// Collects the places of a sample of documents.
class JsonPathSampler {
 public:
  /// Deepest place that is looked at, and most places that are told.
  static constexpr size_t kMaxDepth = 4;
  static constexpr size_t kMaxPaths = 16;

  void Add(std::string_view document);
  /// The places that hold something other than an object in at least a quarter of the documents, the most frequent
  /// ones, in order of their names.
  [[nodiscard]] std::vector<JsonKeys> Frequent() const;
  /// Returns whether the documents of the sample hold nothing but texts, numbers, booleans and nulls at these places.
  [[nodiscard]] bool HoldOnly(std::span<const JsonKeys> places) const;

 private:
  void Walk(const expr::JsonValue& value, JsonKeys* keys);

  size_t documents_ = 0;
  bool others_ = false;  ///< something stands at a place that is not counted, or in an array
  std::map<JsonKeys, size_t> counts_;
};

/// Reads the places of one document in one walk.
class JsonPathReader {
 public:
  explicit JsonPathReader(std::span<const JsonKeys> paths);
  ~JsonPathReader();
  JsonPathReader(const JsonPathReader&) = delete;
  JsonPathReader& operator=(const JsonPathReader&) = delete;

  /// Sets values[i] to the value at paths[i] as it is written, inside `document`; nothing there = a view without data.
  /// The same as expr::FindJson finds.
  void Read(std::string_view document, std::span<std::string_view> values);

 private:
  struct Node;
  void Walk(Node& node, std::string_view object, std::span<std::string_view> values);

  std::vector<Node> nodes_;  ///< the root first
  uint64_t document_ = 0;
  std::string decoded_;
};

/// What a column of values can be kept as.
enum class JsonColumnForm : uint8_t { kIntegers, kReals, kTexts };

/// Learns, value by value, the form of a column.
class JsonColumnPlan {
 public:
  void Add(std::string_view value);
  [[nodiscard]] JsonColumnForm form() const;
  [[nodiscard]] uint64_t values() const { return values_; }
  /// Bytes of all values as written.
  [[nodiscard]] uint64_t text_bytes() const { return text_bytes_; }

 private:
  bool all_integers_ = true;
  bool all_reals_ = true;
  uint64_t values_ = 0;
  uint64_t text_bytes_ = 0;
};

/// Returns whether row `row` of a column of these forms holds `value`; a view without data means null.
bool HoldsJsonValue(const ColumnView& column, size_t row, std::string_view value);

}  // namespace quiver::storage::internal
