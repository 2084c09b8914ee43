// File: expr/column_source.h
// ColumnSource: where filter evaluation reads values. A growing chunk, a sealed page, a request batch and a test table
// are all sources.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "schema/column.h"

namespace quiver::expr {

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
  /// As column(), but only which rows are NULL may be asked of it.
  [[nodiscard]] virtual ColumnView validity(int64_t field_id) const { return column(field_id); }
};

}  // namespace quiver::expr
