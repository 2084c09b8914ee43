// File: index/scalar_index.h
// ScalarIndex: an immutable index over one scalar field of one sealed segment, or over one place in its JSON documents.
//
//   QUIVER_ASSIGN_OR_RETURN(std::string bytes, BuildScalarIndex(recipe, column, control));      // background
//   QUIVER_ASSIGN_OR_RETURN(std::unique_ptr<ScalarIndex> index, OpenScalarIndex(mapped, name));  // restart: no rebuild
//   const auto found = expr::SelectByIndexes(filter.predicate(), rows, {index.get()});
//
// Postings are the different values in order, each with its rows; values of many rows have a bit map instead. They
// serve comparisons, ranges, lists, prefixes and null tests of scalar fields, contains-tests of arrays, and the same of
// what JSON documents hold at a place, where it has one type. Documents are postings of all places below one, whatever
// their types. Grams name candidates for `like` with a run of literal
// text anywhere, boxes for the relations of geometries; candidates are evaluated afterwards. Thread rule: immutable;
// may be shared.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "expr/term_index.h"
#include "index/vector_index.h"
#include "schema/column.h"
#include "schema/data_type.h"

namespace quiver::index {

/// The numbers are part of the file format.
enum class ScalarStructure : uint8_t { kPostings = 1, kGrams = 2, kBoxes = 3, kDocuments = 4 };

/// What to index.
struct ScalarRecipe {
  int64_t field_id = 0;
  DataType type = DataType::kNone;  ///< of the field
  /// Of what is looked up: the field's own, the elements' of an ARRAY; JSON: kBool, kDouble or kVarChar; kDocuments:
  /// kJson.
  DataType value_type = DataType::kNone;
  bool elements = false;            ///< the elements of arrays are looked up
  std::vector<std::string> path{};  ///< JSON: keys from the root
  /// kGrams: of texts, of the field itself or in JSON; kBoxes: of GEOMETRY; kDocuments: of JSON.
  ScalarStructure structure = ScalarStructure::kPostings;
  /// JSON, kDouble: texts that hold a number are indexed as that number. What filters mean stays the same: the index
  /// then names candidates for comparisons with numbers, and for equality with texts that hold one.
  bool texts_as_numbers = false;
};

class ScalarIndex : public expr::TermIndex {
 public:
  [[nodiscard]] virtual const ScalarRecipe& recipe() const = 0;
  /// Rows of the segment it was built over.
  [[nodiscard]] virtual uint32_t row_count() const = 0;
  /// Different values, or grams; rows with a box.
  [[nodiscard]] virtual uint64_t value_count() const = 0;
  /// Compares the checksums, once, before the first use. Error: kCorruption.
  [[nodiscard]] virtual Status EnsureSound() const = 0;
  /// Whether they were compared and agreed, so that it may be asked without reading the whole file.
  [[nodiscard]] virtual bool found_sound() const = 0;
};

/// Builds the index file of a column (all rows of a sealed segment). The bytes are what OpenScalarIndex takes. Errors:
/// kCancelled; kIndexNotSupported for a recipe that is not served.
Result<std::string> BuildScalarIndex(const ScalarRecipe& recipe, const ColumnView& column, const BuildControl& control);

/// Opens an index file where it lies; `bytes` must outlive the index. Checks header and sizes; checksums of contents by
/// EnsureSound. `name` stands in errors. Error: kCorruption.
Result<std::unique_ptr<ScalarIndex>> OpenScalarIndex(std::string_view bytes, std::string_view name);

/// Returns whether a file begins as one of a scalar index.
bool IsScalarIndexFile(std::string_view bytes);

/// Bytes of memory that building takes, the finished file included; an estimate.
uint64_t ScalarBuildMemory(const ScalarRecipe& recipe, const ColumnView& column);

}  // namespace quiver::index
