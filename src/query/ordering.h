// File: query/ordering.h
// ORDER BY over rows of a view: sort keys, comparison of values, ordering of row lists.
// Thread rule: pure functions over an immutable view.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "schema/column.h"

namespace quiver::query {

/// One sort key. Nulls stand where `nulls_first` says, whatever the direction.
struct OrderKey {
  int64_t field_id = 0;
  bool descending = false;
  bool nulls_first = false;
};

/// Returns whether values of the type have an order that this file knows: bool, integers, floats, VARCHAR.
bool IsOrdered(DataType type);

/// Compares two non-null values of an ordered column: negative, 0, positive. NaN is above every number; strings compare
/// by bytes.
int CompareValues(const Column& column, size_t a, size_t b);

/// Compares two rows of key columns (one per key, in the keys' order), nulls included.
int CompareRows(const std::vector<OrderKey>& keys, const std::vector<Column>& columns, size_t a, size_t b);

/// Fetches the key columns of the rows. Errors: kFieldNotFound, kCorruption.
Result<std::vector<Column>> FetchOrderColumns(const engine::ReadView& view, const std::vector<OrderKey>& keys,
                                              std::span<const uint64_t> rows);

}  // namespace quiver::query
