// File: expr/column_source.h
// ColumnSource: where filter evaluation reads values. A growing chunk, a sealed page, a request batch and a test table
// are all sources.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "schema/column.h"

namespace quiver::expr {

struct ValueStatistics;  // expr/value_statistics.h

/// What is known of a field's values in a page without reading them.
struct PageFacts {
  size_t null_count = 0;
  size_t distinct = 0;      ///< different values; 0 = not known
  bool has_values = false;  ///< some value is neither NULL nor NaN: the bounds mean something
  bool has_nan = false;
  // Bounds by type; they may be wider than the values.
  int64_t least = 0;  ///< integers, booleans (0, 1), timestamps
  int64_t most = 0;
  double least_real = 0;  ///< floating types
  double most_real = 0;
  std::string_view least_text;  ///< strings
  std::string_view most_text;
  bool most_text_open = false;  ///< there is no upper bound
  /// Of the page and all others of its segment; nullptr where they are not known or not asked for.
  const ValueStatistics* values = nullptr;
};

class JsonKeyTable;

/// Documents of a page in binary form (expr/json_form.h).
struct JsonForms {
  const JsonKeyTable* keys = nullptr;  ///< nullptr: the page keeps none
  ColumnView view;                     ///< of type JSON; the bytes of a row are its form. A NULL row has none
};

/// One page of rows (at most a few thousand). Immutable while it is read; safe from many threads.
class ColumnSource {
 public:
  virtual ~ColumnSource() = default;
  /// Rows in this page.
  [[nodiscard]] virtual size_t row_count() const = 0;
  /// Values of a field; a view that is not present() where the page has no such column (a field added later): then
  /// every row holds the field's default value, or NULL.
  [[nodiscard]] virtual ColumnView column(int64_t field_id) const = 0;

  /// What each row of a JSON field holds under nested keys, where the page keeps that as a column of its own; else a
  /// view that is not present(). Null where the row is NULL or has nothing at that place. The values are
  ///   INT64, DOUBLE: JSON numbers; ReadJsonNumber would give exactly these, of this kind;
  ///   VARCHAR: JSON values as they are written.
  [[nodiscard]] virtual ColumnView json_path(int64_t /*field_id*/, std::span<const std::string> /*keys*/) const {
    return {};
  }
  /// The documents of a JSON field in binary form, where the page keeps that beside the text.
  [[nodiscard]] virtual JsonForms json_forms(int64_t /*field_id*/) const { return {}; }
  /// As column(), but only which rows are NULL may be asked of it.
  [[nodiscard]] virtual ColumnView validity(int64_t field_id) const { return column(field_id); }
  /// A number of the first row that tells it from the rows of other pages; rows count on from it. It decides which rows
  /// random_sample draws.
  [[nodiscard]] virtual uint64_t first_row_id() const { return 0; }
  /// Facts about all values of a field in this page; false where none are kept. The texts live as long as the source.
  [[nodiscard]] virtual bool Facts(int64_t /*field_id*/, PageFacts* /*facts*/) const { return false; }
  /// How the values of a field are spread over the segment that the page belongs to; nullptr where that is not kept.
  /// Lives as long as the source.
  [[nodiscard]] virtual const ValueStatistics* Statistics(int64_t /*field_id*/) const { return nullptr; }
};

}  // namespace quiver::expr
