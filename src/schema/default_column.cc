#include "schema/default_column.h"

namespace quiver {

void AppendScalar(Column& column, const ScalarValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    column.Append(*text);
    return;
  }
  const auto as_int = [&]() -> int64_t {
    if (const auto* flag = std::get_if<bool>(&value)) return *flag ? 1 : 0;
    if (const auto* real = std::get_if<double>(&value)) return static_cast<int64_t>(*real);
    return std::get<int64_t>(value);
  };
  const auto as_double = [&]() -> double {
    if (const auto* real = std::get_if<double>(&value)) return *real;
    return static_cast<double>(as_int());
  };
  switch (column.type) {
    case DataType::kBool: column.AppendValue<uint8_t>(as_int() != 0 ? 1 : 0); break;
    case DataType::kInt8: column.AppendValue(static_cast<int8_t>(as_int())); break;
    case DataType::kInt16: column.AppendValue(static_cast<int16_t>(as_int())); break;
    case DataType::kInt32: column.AppendValue(static_cast<int32_t>(as_int())); break;
    case DataType::kInt64:
    case DataType::kTimestamptz: column.AppendValue(as_int()); break;
    case DataType::kFloat: column.AppendValue(static_cast<float>(as_double())); break;
    case DataType::kDouble: column.AppendValue(as_double()); break;
    default: column.AppendNull(); break;
  }
}

Column DefaultColumn(const FieldSchema& field, size_t rows) {
  Column column = Column::Make(field.field_id, field.type, field.dim, field.element_type);
  column.Reserve(rows);
  const std::string zero(column.width, '\0');
  for (size_t row = 0; row < rows; ++row) {
    if (field.default_value) {
      AppendScalar(column, *field.default_value);
    } else if (field.nullable) {
      column.AppendNull();
    } else if (field.is_dynamic) {
      column.Append("{}");
    } else {
      column.Append(zero);
    }
  }
  return column;
}

}  // namespace quiver
