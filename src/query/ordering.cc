#include "query/ordering.h"

#include <cmath>

#include "query/match.h"

namespace quiver::query {

namespace {

template <typename T>
int CompareAs(const Column& column, size_t a, size_t b) {
  const T left = column.Get<T>(a);
  const T right = column.Get<T>(b);
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(left) || std::isnan(right))
      return static_cast<int>(std::isnan(left)) - static_cast<int>(std::isnan(right));
  }
  return left < right ? -1 : static_cast<int>(right < left);
}

}  // namespace

bool IsOrdered(DataType type) {
  switch (type) {
    case DataType::kBool:
    case DataType::kInt8:
    case DataType::kInt16:
    case DataType::kInt32:
    case DataType::kInt64:
    case DataType::kTimestamptz:
    case DataType::kFloat:
    case DataType::kDouble:
    case DataType::kVarChar: return true;
    default: return false;
  }
}

int CompareValues(const Column& column, size_t a, size_t b) {
  switch (column.type) {
    case DataType::kBool:
    case DataType::kInt8: return CompareAs<int8_t>(column, a, b);
    case DataType::kInt16: return CompareAs<int16_t>(column, a, b);
    case DataType::kInt32: return CompareAs<int32_t>(column, a, b);
    case DataType::kInt64:
    case DataType::kTimestamptz: return CompareAs<int64_t>(column, a, b);
    case DataType::kFloat: return CompareAs<float>(column, a, b);
    case DataType::kDouble: return CompareAs<double>(column, a, b);
    default: {
      const int order = column.Bytes(a).compare(column.Bytes(b));
      return order < 0 ? -1 : static_cast<int>(order > 0);
    }
  }
}

int CompareRows(const std::vector<OrderKey>& keys, const std::vector<Column>& columns, size_t a, size_t b) {
  for (size_t i = 0; i < keys.size(); ++i) {
    const bool null_a = columns[i].IsNull(a);
    const bool null_b = columns[i].IsNull(b);
    if (null_a || null_b) {
      if (null_a == null_b) continue;
      return null_a == keys[i].nulls_first ? -1 : 1;
    }
    const int order = CompareValues(columns[i], a, b);
    if (order != 0) return keys[i].descending ? -order : order;
  }
  return 0;
}

Result<std::vector<Column>> FetchOrderColumns(const engine::ReadView& view, const std::vector<OrderKey>& keys,
                                              std::span<const uint64_t> rows) {
  std::vector<Column> columns;
  for (const OrderKey& key : keys) {
    const FieldSchema* field = view.info->schema->FindById(key.field_id);
    if (field == nullptr) return Error(StatusCode::kFieldNotFound, "field not found[field={}]", key.field_id);
    QUIVER_ASSIGN_OR_RETURN(Column column, FetchColumn(view, *field, rows));
    columns.push_back(std::move(column));
  }
  return columns;
}

}  // namespace quiver::query
