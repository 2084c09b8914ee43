// File: expr/column_source.h
// ColumnSource: where filter evaluation reads values. A growing chunk, a sealed page, a request batch and a test table
// are all sources.
#pragma once

#include <cstddef>
#include <cstdint>

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
};

}  // namespace quiver::expr
