// File: expr/element_condition.h
// The condition of an element_filter, asked for single elements: a search for the vectors of a struct array keeps those
// whose element satisfies it, where the filter alone keeps rows that have one such element.
// Thread rule: immutable; may be shared by threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "expr/filter.h"
#include "schema/collection_schema.h"
#include "schema/column.h"

namespace quiver::expr {

/// Elements of a run of rows: those of row i are numbers[begin[i] .. begin[i + 1]), ascending.
struct RowElements {
  std::vector<uint32_t> begin;
  std::vector<uint16_t> numbers;

  [[nodiscard]] std::span<const uint16_t> Of(size_t row) const {
    return std::span(numbers).subspan(begin[row], begin[row + 1] - begin[row]);
  }
};

class ElementCondition {
 public:
  virtual ~ElementCondition() = default;

  /// Returns the condition that `filter` has for elements of the struct array, nullptr where it has none.
  static std::unique_ptr<const ElementCondition> Of(const Filter& filter, const CollectionSchema& schema,
                                                    std::string_view struct_name);

  /// Sub-fields that are read, ascending: the columns of Evaluate.
  [[nodiscard]] virtual const std::vector<int64_t>& field_ids() const = 0;

  /// Finds the elements that satisfy the condition in the rows set in `mask` (nullptr = all; rows that are null have
  /// none). `columns` hold `rows` rows each, in the order of field_ids, and at least one is given.
  virtual void Evaluate(std::span<const ColumnView> columns, size_t rows, const uint64_t* mask,
                        RowElements* out) const = 0;
};

}  // namespace quiver::expr
