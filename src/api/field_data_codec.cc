#include "api/field_data_codec.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/vector_convert.h"
#include "schema.pb.h"
#include "schema/geometry.h"

namespace quiver::api {
namespace {

using google::protobuf::RepeatedField;
using google::protobuf::RepeatedPtrField;
using wire::schema::FieldData;
using wire::schema::ScalarField;
using wire::schema::VectorField;

/// Which rows of a column have a value.
struct RowMarks {
  size_t rows = 0;
  size_t present = 0;
  const RepeatedField<bool>* valid = nullptr;  ///< nullptr: all of them

  [[nodiscard]] bool dense() const { return present == rows; }
  [[nodiscard]] bool has(size_t row) const { return valid == nullptr || valid->Get(static_cast<int>(row)); }
};

Status Mismatch(const FieldSchema& field, std::string_view kind, std::string_view needed) {
  return InvalidParameter(
      "{}field '{}' is illegal, array type mismatch: invalid parameter[expected={}][actual=got nil]", kind, field.name,
      needed);
}

Result<RowMarks> ReadMarks(const FieldData& data, const FieldSchema& field, size_t num_rows) {
  const RepeatedField<bool>& valid = data.valid_data();
  if (valid.empty()) return RowMarks{.rows = num_rows, .present = num_rows, .valid = nullptr};
  const bool may_have_nulls = field.nullable || field.default_value.has_value();
  const auto sent = static_cast<size_t>(valid.size());
  if (!may_have_nulls || sent != num_rows) {
    return InvalidParameter("the length of valid_data of field({}) is wrong: invalid parameter[expected={}][actual={}]",
                            field.name, may_have_nulls ? num_rows : 0, sent);
  }
  const auto present = static_cast<size_t>(std::count(valid.begin(), valid.end(), true));
  return RowMarks{.rows = num_rows, .present = present, .valid = &valid};
}

/// A column of nothing but nulls may come without any data.
bool HasData(const FieldData& data) {
  switch (data.field_case()) {
    case FieldData::kScalars: return data.scalars().data_case() != ScalarField::DATA_NOT_SET;
    case FieldData::kVectors: return data.vectors().data_case() != VectorField::DATA_NOT_SET;
    default: return false;
  }
}

Status CheckCount(const FieldSchema& field, const RowMarks& marks, size_t sent) {
  if (sent == marks.present) return Status::Ok();
  if (marks.valid != nullptr) {
    return InvalidParameter("the length of field is wrong: invalid parameter[expected={}][actual={}]: field {}",
                            marks.present, sent, field.name);
  }
  return InvalidParameter(
      "the num_rows ({}) of field ({}) is not equal to passed num_rows ({}): invalid parameter[expected={}][actual={}]",
      sent, field.name, marks.rows, marks.rows, sent);
}

/// Spreads `marks.present` values of `column->width` bytes over the rows.
void SpreadFixed(const void* values, const RowMarks& marks, Column* column) {
  const size_t width = column->width;
  const auto* from = static_cast<const std::byte*>(values);
  column->rows = marks.rows;
  if (marks.dense()) {
    column->fixed.assign(from, from + marks.rows * width);
    return;
  }
  column->fixed.resize(marks.rows * width);
  column->valid.assign(marks.rows, 0);
  for (size_t row = 0; row < marks.rows; ++row) {
    if (!marks.has(row)) continue;
    std::memcpy(column->fixed.data() + row * width, from, width);
    column->valid[row] = 1;
    from += width;
  }
}

/// Appends `value(i)` for the i-th present row, and nulls between.
template <typename ValueFn>
void SpreadVariable(const RowMarks& marks, Column* column, ValueFn&& value) {
  column->Reserve(marks.rows);
  int next = 0;
  for (size_t row = 0; row < marks.rows; ++row) {
    if (marks.has(row)) {
      column->Append(value(next++));
    } else {
      column->AppendNull();
    }
  }
}

Status OutOfRange(size_t index, int32_t value, int64_t low, int64_t high) {
  return InvalidParameter(
      "the {}th element ({}) out of range: [{}, {}]: invalid parameter[expected=integer doesn't overflow]"
      "[actual=out of range]",
      index, value, low, high);
}

template <typename Narrow>
Result<std::vector<Narrow>> NarrowInts(const RepeatedField<int32_t>& values) {
  std::vector<Narrow> out(static_cast<size_t>(values.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int32_t value = values.Get(static_cast<int>(i));
    if (value < std::numeric_limits<Narrow>::min() || value > std::numeric_limits<Narrow>::max()) {
      return OutOfRange(i, value, std::numeric_limits<Narrow>::min(), std::numeric_limits<Narrow>::max());
    }
    out[i] = static_cast<Narrow>(value);
  }
  return out;
}

/// Checks count, then spreads.
template <typename Values>
Status TakeFixed(const Values& values, const FieldSchema& field, const RowMarks& marks, Column* column) {
  QUIVER_RETURN_IF_ERROR(CheckCount(field, marks, static_cast<size_t>(values.size())));
  SpreadFixed(values.data(), marks, column);
  return Status::Ok();
}

template <typename Narrow>
Status TakeNarrow(const RepeatedField<int32_t>& values, const FieldSchema& field, const RowMarks& marks,
                  Column* column) {
  QUIVER_ASSIGN_OR_RETURN(const std::vector<Narrow> narrow, NarrowInts<Narrow>(values));
  return TakeFixed(narrow, field, marks, column);
}

Status TakeStrings(const RepeatedPtrField<std::string>& values, const FieldSchema& field, const RowMarks& marks,
                   Column* column) {
  QUIVER_RETURN_IF_ERROR(CheckCount(field, marks, static_cast<size_t>(values.size())));
  SpreadVariable(marks, column, [&](int i) { return std::string_view(values.Get(i)); });
  return Status::Ok();
}

// Arrays --------------------------------------------------------------------------------------------------------------

Status ElementMismatch(const FieldSchema& field, std::string_view expected, size_t row) {
  return InvalidParameter(
      "insert data does not match: invalid parameter[expected={} array][actual=array of another type]: field {}, row "
      "{}",
      expected, field.name, row);
}

template <typename Stored, typename Values>
void WriteElements(const Values& values, ArrayWriter* writer) {
  for (const auto value : values) writer->AppendValue(static_cast<Stored>(value));
}

template <typename Narrow>
Result<std::string> NarrowArray(const RepeatedField<int32_t>& values, ArrayWriter* writer) {
  QUIVER_ASSIGN_OR_RETURN(const std::vector<Narrow> narrow, NarrowInts<Narrow>(values));
  WriteElements<Narrow>(narrow, writer);
  return writer->Take();
}

/// Encodes one ARRAY value as schema/column.h says. An array without a type is an empty one: that is what some clients
/// send for it.
Result<std::string> EncodeArray(const ScalarField& array, const FieldSchema& field, size_t row) {
  ArrayWriter writer(field.element_type);
  const auto kind = array.data_case();
  if (kind == ScalarField::DATA_NOT_SET) return writer.Take();
  switch (field.element_type) {
    case DataType::kBool:
      if (kind != ScalarField::kBoolData) return ElementMismatch(field, "bool", row);
      WriteElements<uint8_t>(array.bool_data().data(), &writer);
      break;
    case DataType::kInt8:
      if (kind != ScalarField::kIntData) return ElementMismatch(field, "int", row);
      return NarrowArray<int8_t>(array.int_data().data(), &writer);
    case DataType::kInt16:
      if (kind != ScalarField::kIntData) return ElementMismatch(field, "int", row);
      return NarrowArray<int16_t>(array.int_data().data(), &writer);
    case DataType::kInt32:
      if (kind != ScalarField::kIntData) return ElementMismatch(field, "int", row);
      WriteElements<int32_t>(array.int_data().data(), &writer);
      break;
    case DataType::kInt64:
      if (kind != ScalarField::kLongData) return ElementMismatch(field, "int64", row);
      WriteElements<int64_t>(array.long_data().data(), &writer);
      break;
    case DataType::kFloat:
      if (kind != ScalarField::kFloatData) return ElementMismatch(field, "float", row);
      WriteElements<float>(array.float_data().data(), &writer);
      break;
    case DataType::kDouble:
      if (kind != ScalarField::kDoubleData) return ElementMismatch(field, "double", row);
      WriteElements<double>(array.double_data().data(), &writer);
      break;
    case DataType::kVarChar:
    case DataType::kString:
      if (kind != ScalarField::kStringData) return ElementMismatch(field, "string", row);
      for (const std::string& text : array.string_data().data()) writer.Append(text);
      break;
    default:
      return InvalidParameter(
          "array element type: {} is not supported: invalid parameter[expected=valid array element type]"
          "[actual=array element type is not supported]",
          DataTypeName(field.element_type));
  }
  return writer.Take();
}

Status TakeArrays(const RepeatedPtrField<ScalarField>& arrays, const FieldSchema& field, const RowMarks& marks,
                  Column* column) {
  QUIVER_RETURN_IF_ERROR(CheckCount(field, marks, static_cast<size_t>(arrays.size())));
  int next = 0;
  for (size_t row = 0; row < marks.rows; ++row) {
    if (!marks.has(row)) {
      column->AppendNull();
      continue;
    }
    QUIVER_ASSIGN_OR_RETURN(const std::string encoded, EncodeArray(arrays.Get(next++), field, row));
    column->Append(encoded);
  }
  return Status::Ok();
}

// Scalars -------------------------------------------------------------------------------------------------------------

Status TakeTimestamps(const ScalarField& scalars, const FieldSchema& field, const RowMarks& marks, const TimeZone& zone,
                      Column* column) {
  if (scalars.data_case() == ScalarField::kTimestamptzData) {
    return TakeFixed(scalars.timestamptz_data().data(), field, marks, column);
  }
  if (scalars.data_case() != ScalarField::kStringData) return Mismatch(field, "timestamptz ", "need string array");
  const auto& texts = scalars.string_data().data();
  std::vector<int64_t> moments;
  moments.reserve(static_cast<size_t>(texts.size()));
  for (const std::string& text : texts) {
    const auto micros = ParseTimestamp(text, zone);
    if (!micros.ok()) {
      return InvalidParameter("{}: invalid parameter: field {}, row {}", micros.status().message(), field.name,
                              moments.size());
    }
    moments.push_back(*micros);
  }
  return TakeFixed(moments, field, marks, column);
}

/// WKT, or WKB of any byte order; a column holds WKB of ours.
Status TakeGeometries(const ScalarField& scalars, const FieldSchema& field, const RowMarks& marks, Column* column) {
  std::vector<std::string> shapes;
  const auto take = [&](const auto& values, auto read) -> Status {
    QUIVER_RETURN_IF_ERROR(CheckCount(field, marks, static_cast<size_t>(values.size())));
    for (const std::string& value : values) {
      auto wkb = read(value);
      if (!wkb.ok()) {
        return InvalidParameter("geometry field '{}' is illegal, row number: {}, {}: invalid parameter", field.name,
                                shapes.size(), wkb.status().message());
      }
      shapes.push_back(*std::move(wkb));
    }
    SpreadVariable(marks, column, [&](int i) { return std::string_view(shapes[static_cast<size_t>(i)]); });
    return Status::Ok();
  };
  switch (scalars.data_case()) {
    case ScalarField::kGeometryWktData: return take(scalars.geometry_wkt_data().data(), WkbFromWkt);
    case ScalarField::kStringData: return take(scalars.string_data().data(), WkbFromWkt);
    case ScalarField::kGeometryData: return take(scalars.geometry_data().data(), NormalizeWkb);
    default: return Mismatch(field, "geometry ", "need geometry array");
  }
}

Status TakeScalars(const ScalarField& scalars, const FieldSchema& field, const RowMarks& marks, const TimeZone& zone,
                   Column* column) {
  const auto kind = scalars.data_case();
  switch (field.type) {
    case DataType::kBool:
      if (kind != ScalarField::kBoolData) return Mismatch(field, "", "need bool array");
      return TakeFixed(scalars.bool_data().data(), field, marks, column);
    case DataType::kInt8:
      if (kind != ScalarField::kIntData) return Mismatch(field, "", "need int array");
      return TakeNarrow<int8_t>(scalars.int_data().data(), field, marks, column);
    case DataType::kInt16:
      if (kind != ScalarField::kIntData) return Mismatch(field, "", "need int array");
      return TakeNarrow<int16_t>(scalars.int_data().data(), field, marks, column);
    case DataType::kInt32:
      if (kind != ScalarField::kIntData) return Mismatch(field, "", "need int array");
      return TakeFixed(scalars.int_data().data(), field, marks, column);
    case DataType::kInt64:
      if (kind != ScalarField::kLongData) return Mismatch(field, "", "need long int array");
      return TakeFixed(scalars.long_data().data(), field, marks, column);
    case DataType::kGeometry: return TakeGeometries(scalars, field, marks, column);
    case DataType::kTimestamptz: return TakeTimestamps(scalars, field, marks, zone, column);
    case DataType::kFloat:
      if (kind != ScalarField::kFloatData) return Mismatch(field, "", "need float32 array");
      return TakeFixed(scalars.float_data().data(), field, marks, column);
    case DataType::kDouble:
      if (kind != ScalarField::kDoubleData) return Mismatch(field, "", "need float64(double) array");
      return TakeFixed(scalars.double_data().data(), field, marks, column);
    case DataType::kVarChar:
    case DataType::kText:
    case DataType::kString:
      if (kind != ScalarField::kStringData) return Mismatch(field, "varchar ", "need string array");
      return TakeStrings(scalars.string_data().data(), field, marks, column);
    case DataType::kJson:
      if (kind != ScalarField::kJsonData) return Mismatch(field, "json ", "need json array");
      return TakeStrings(scalars.json_data().data(), field, marks, column);
    case DataType::kArray:
      if (kind != ScalarField::kArrayData) {
        return Mismatch(field, "array ", fmt::format("need {} array", DataTypeName(field.element_type)));
      }
      return TakeArrays(scalars.array_data().data(), field, marks, column);
    default: break;
  }
  return InvalidParameter("undefined data type:{}: invalid parameter", DataTypeName(field.type));
}

// Vectors -------------------------------------------------------------------------------------------------------------

Status CheckDimension(const VectorField& vectors, const FieldSchema& field) {
  if (vectors.dim() == field.dim) return Status::Ok();
  return InvalidParameter(
      "the dim ({}) of field data({}) is not equal to schema dim ({}): invalid parameter[expected={}][actual={}]",
      vectors.dim(), field.name, field.dim, field.dim, vectors.dim());
}

/// Checks that `bytes` holds whole vectors of `width` bytes, one per present row.
Status CheckVectorBytes(size_t bytes, size_t width, const FieldSchema& field, const RowMarks& marks) {
  if (width == 0 || bytes % width != 0) {
    return InvalidParameter("the length({}) of field data({}) should divide the dim({}): invalid parameter", bytes,
                            field.name, field.dim);
  }
  return CheckCount(field, marks, bytes / width);
}

Status TakeFloatVectors(const RepeatedField<float>& floats, const FieldSchema& field, const RowMarks& marks,
                        Column* column) {
  const auto count = static_cast<size_t>(floats.size());
  QUIVER_RETURN_IF_ERROR(
      CheckVectorBytes(count * sizeof(float), static_cast<size_t>(field.dim) * sizeof(float), field, marks));
  if (field.type == DataType::kFloatVector) {
    SpreadFixed(floats.data(), marks, column);
    return Status::Ok();
  }
  std::vector<uint16_t> converted(count);
  ConvertFloats(floats.data(), count, field.type, converted.data());
  SpreadFixed(converted.data(), marks, column);
  return Status::Ok();
}

Status TakeSparse(const RepeatedPtrField<std::string>& rows, const FieldSchema& field, const RowMarks& marks,
                  Column* column) {
  QUIVER_RETURN_IF_ERROR(CheckCount(field, marks, static_cast<size_t>(rows.size())));
  for (int i = 0; i < rows.size(); ++i) {
    if (rows.Get(i).size() % 8 != 0) {
      return InvalidParameter("invalid data length in sparse float vector: {}: invalid parameter: field {}, row {}",
                              rows.Get(i).size(), field.name, i);
    }
  }
  std::string sorted;
  SpreadVariable(marks, column, [&](int i) {
    sorted = SortSparseRow(rows.Get(i));
    return std::string_view(sorted);
  });
  return Status::Ok();
}

Status TakeVectorBytes(std::string_view bytes, const FieldSchema& field, const RowMarks& marks, Column* column) {
  QUIVER_RETURN_IF_ERROR(CheckVectorBytes(bytes.size(), column->width, field, marks));
  SpreadFixed(bytes.data(), marks, column);
  return Status::Ok();
}

/// The bytes of vectors that do not travel as floats.
std::string_view VectorBytes(const VectorField& vectors) {
  switch (vectors.data_case()) {
    case VectorField::kFloat16Vector: return vectors.float16_vector();
    case VectorField::kBfloat16Vector: return vectors.bfloat16_vector();
    case VectorField::kBinaryVector: return vectors.binary_vector();
    case VectorField::kInt8Vector: return vectors.int8_vector();
    default: return {};
  }
}

Status TakeVectors(const VectorField& vectors, const FieldSchema& field, const RowMarks& marks, Column* column) {
  const auto kind = vectors.data_case();
  if (field.type == DataType::kSparseFloatVector) {
    if (kind != VectorField::kSparseFloatVector) {
      return InvalidParameter(
          "sparse float field '{}' is illegal, array type mismatch: invalid parameter[expected=need sparse float array]"
          "[actual=got nil]",
          field.name);
    }
    return TakeSparse(vectors.sparse_float_vector().contents(), field, marks, column);
  }
  switch (field.type) {
    case DataType::kFloatVector:
      if (kind != VectorField::kFloatVector) return Mismatch(field, "float vector ", "need float vector");
      QUIVER_RETURN_IF_ERROR(CheckDimension(vectors, field));
      return TakeFloatVectors(vectors.float_vector().data(), field, marks, column);
    case DataType::kFloat16Vector:
      if (kind == VectorField::kFloat16Vector || kind == VectorField::kFloatVector) break;
      return InvalidParameter(
          "float16 float field '{}' is illegal, nil Vector_Float16 type: invalid parameter"
          "[expected=need vector_float16 array][actual=got nil]",
          field.name);
    case DataType::kBFloat16Vector:
      if (kind == VectorField::kBfloat16Vector || kind == VectorField::kFloatVector) break;
      return InvalidParameter(
          "bfloat16 float field '{}' is illegal, nil Vector_BFloat16 type: invalid parameter"
          "[expected=need vector_bfloat16 array][actual=got nil]",
          field.name);
    case DataType::kBinaryVector:
      if (kind != VectorField::kBinaryVector) return Mismatch(field, "binary float vector ", "need bytes array");
      break;
    case DataType::kInt8Vector:
      if (kind == VectorField::kInt8Vector) break;
      return InvalidParameter(
          "int8 vector field '{}' is illegal, nil Vector_Int8 type: invalid parameter[expected=need vector_int8 array]"
          "[actual=got nil]",
          field.name);
    default: return InvalidParameter("undefined data type:{}: invalid parameter", DataTypeName(field.type));
  }
  QUIVER_RETURN_IF_ERROR(CheckDimension(vectors, field));
  if (kind == VectorField::kFloatVector) {
    return TakeFloatVectors(vectors.float_vector().data(), field, marks, column);
  }
  return TakeVectorBytes(VectorBytes(vectors), field, marks, column);
}

/// The vectors of one row of an array of vectors, in the form of the field: what clients may send for a vector field
/// they may send here.
Status TakeVectorList(const VectorField& vectors, const FieldSchema& element, size_t row, Column* column) {
  const size_t width = FixedWidth(element.type, element.dim);
  // An empty list may come without a form.
  if (vectors.data_case() == VectorField::DATA_NOT_SET) {
    column->Append(PackElements(0, {}));
    return Status::Ok();
  }
  Column list = Column::Make(element.field_id, element.type, element.dim);
  const bool floats = vectors.data_case() == VectorField::kFloatVector;
  const size_t sent_bytes =
      floats ? static_cast<size_t>(vectors.float_vector().data_size()) * sizeof(float) : VectorBytes(vectors).size();
  const size_t sent_width = floats ? static_cast<size_t>(element.dim) * sizeof(float) : width;
  const size_t count = sent_bytes / sent_width;
  const RowMarks marks{.rows = count, .present = count, .valid = nullptr};
  if (Status status = TakeVectors(vectors, element, marks, &list); !status.ok()) {
    return Status(status.code(), fmt::format("{}: row {}", status.message(), row));
  }
  column->Append(PackElements(count, {reinterpret_cast<const char*>(list.fixed.data()), list.fixed.size()}));
  return Status::Ok();
}

/// Reads arrays of vectors. Rows without a value have no entry, or, from some clients, an empty one.
Status TakeVectorLists(const VectorField& vectors, const FieldSchema& field, const RowMarks& marks, Column* column) {
  if (vectors.data_case() != VectorField::kVectorArray) return Mismatch(field, "array ", "need vector array");
  const auto& lists = vectors.vector_array();
  const auto sent = static_cast<size_t>(lists.data_size());
  const bool all_sent = sent == marks.rows;
  if (!all_sent) QUIVER_RETURN_IF_ERROR(CheckCount(field, marks, sent));
  FieldSchema element = field;
  element.type = field.element_type;
  int next = 0;
  for (size_t row = 0; row < marks.rows; ++row) {
    if (!marks.has(row)) {
      column->AppendNull();
      next += all_sent ? 1 : 0;
      continue;
    }
    QUIVER_RETURN_IF_ERROR(TakeVectorList(lists.data(next++), element, row, column));
  }
  return Status::Ok();
}

// Output --------------------------------------------------------------------------------------------------------------

template <typename Stored, typename Wire>
void PutFixed(const Column& column, RepeatedField<Wire>* out) {
  const auto rows = static_cast<int>(column.rows);
  if constexpr (sizeof(Stored) == sizeof(Wire)) {
    out->Resize(rows, Wire{});
    if (rows > 0) std::memcpy(out->mutable_data(), column.fixed.data(), column.fixed.size());
  } else {
    out->Reserve(rows);
    for (size_t row = 0; row < column.rows; ++row) out->AddAlreadyReserved(static_cast<Wire>(column.Get<Stored>(row)));
  }
}

void PutStrings(const Column& column, RepeatedPtrField<std::string>* out) {
  out->Reserve(static_cast<int>(column.rows));
  for (size_t row = 0; row < column.rows; ++row) {
    const std::string_view text = column.Bytes(row);
    out->Add()->assign(text.data(), text.size());
  }
}

template <typename Stored, typename Wire>
void PutElements(const ArrayReader& array, RepeatedField<Wire>* out) {
  out->Reserve(static_cast<int>(array.size()));
  for (uint32_t i = 0; i < array.size(); ++i) out->AddAlreadyReserved(static_cast<Wire>(array.Get<Stored>(i)));
}

void PutArray(std::string_view bytes, DataType element_type, ScalarField* out) {
  const ArrayReader array(bytes, element_type);
  switch (element_type) {
    case DataType::kBool: return PutElements<uint8_t>(array, out->mutable_bool_data()->mutable_data());
    case DataType::kInt8: return PutElements<int8_t>(array, out->mutable_int_data()->mutable_data());
    case DataType::kInt16: return PutElements<int16_t>(array, out->mutable_int_data()->mutable_data());
    case DataType::kInt32: return PutElements<int32_t>(array, out->mutable_int_data()->mutable_data());
    case DataType::kInt64: return PutElements<int64_t>(array, out->mutable_long_data()->mutable_data());
    case DataType::kFloat: return PutElements<float>(array, out->mutable_float_data()->mutable_data());
    case DataType::kDouble: return PutElements<double>(array, out->mutable_double_data()->mutable_data());
    default: break;
  }
  auto* strings = out->mutable_string_data()->mutable_data();
  // Reads along the encoding: ArrayReader::Element would start from the front for each string.
  size_t at = sizeof(uint32_t);
  for (uint32_t i = 0; i < array.size(); ++i) {
    uint32_t length = 0;
    std::memcpy(&length, bytes.data() + at, sizeof(length));
    at += sizeof(length);
    strings->Add()->assign(bytes.data() + at, length);
    at += length;
  }
}

/// Moments leave as text in the zone, which is what clients show.
void PutTimestamps(const Column& column, const TimeZone& zone, RepeatedPtrField<std::string>* out) {
  out->Reserve(static_cast<int>(column.rows));
  for (size_t row = 0; row < column.rows; ++row) {
    std::string* text = out->Add();
    if (!column.IsNull(row)) *text = FormatTimestamp(column.Get<int64_t>(row), zone);
  }
}

void PutScalars(const Column& column, const FieldSchema& field, const TimeZone& zone, ScalarField* out) {
  switch (column.type) {
    case DataType::kBool: return PutFixed<uint8_t>(column, out->mutable_bool_data()->mutable_data());
    case DataType::kInt8: return PutFixed<int8_t>(column, out->mutable_int_data()->mutable_data());
    case DataType::kInt16: return PutFixed<int16_t>(column, out->mutable_int_data()->mutable_data());
    case DataType::kInt32: return PutFixed<int32_t>(column, out->mutable_int_data()->mutable_data());
    case DataType::kInt64: return PutFixed<int64_t>(column, out->mutable_long_data()->mutable_data());
    case DataType::kFloat: return PutFixed<float>(column, out->mutable_float_data()->mutable_data());
    case DataType::kDouble: return PutFixed<double>(column, out->mutable_double_data()->mutable_data());
    case DataType::kTimestamptz: return PutTimestamps(column, zone, out->mutable_string_data()->mutable_data());
    case DataType::kGeometry: {
      auto* shapes = out->mutable_geometry_wkt_data()->mutable_data();
      for (size_t row = 0; row < column.rows; ++row) {
        *shapes->Add() = column.IsNull(row) ? "" : WktFromWkb(column.Bytes(row));
      }
      return;
    }
    case DataType::kJson: return PutStrings(column, out->mutable_json_data()->mutable_data());
    case DataType::kArray: {
      auto* arrays = out->mutable_array_data();
      arrays->set_element_type(static_cast<wire::schema::DataType>(field.element_type));
      for (size_t row = 0; row < column.rows; ++row) {
        ScalarField* array = arrays->add_data();
        PutArray(column.Bytes(row), field.element_type, array);
      }
      return;
    }
    default: return PutStrings(column, out->mutable_string_data()->mutable_data());
  }
}

/// Writes dense vectors of `type` that lie back to back.
void PutVectorBytes(DataType type, std::string_view bytes, VectorField* out) {
  switch (type) {
    case DataType::kFloatVector: {
      auto* floats = out->mutable_float_vector()->mutable_data();
      floats->Resize(static_cast<int>(bytes.size() / sizeof(float)), 0);
      if (!bytes.empty()) std::memcpy(floats->mutable_data(), bytes.data(), bytes.size());
      return;
    }
    case DataType::kFloat16Vector: return out->set_float16_vector(bytes.data(), bytes.size());
    case DataType::kBFloat16Vector: return out->set_bfloat16_vector(bytes.data(), bytes.size());
    case DataType::kBinaryVector: return out->set_binary_vector(bytes.data(), bytes.size());
    default: return out->set_int8_vector(bytes.data(), bytes.size());
  }
}

void PutVectors(const Column& column, const FieldSchema& field, VectorField* out) {
  if (column.type == DataType::kArrayOfVector) {
    out->set_dim(field.dim);
    auto* lists = out->mutable_vector_array();
    lists->set_dim(field.dim);
    lists->set_element_type(static_cast<wire::schema::DataType>(field.element_type));
    // As of arrays of scalars there is an entry for every row: clients find it by the row's number.
    for (size_t row = 0; row < column.rows; ++row) {
      VectorField* list = lists->add_data();
      list->set_dim(field.dim);
      PutVectorBytes(field.element_type, ArrayReader(column.Bytes(row), field.element_type, field.dim).elements(),
                     list);
    }
    return;
  }
  if (column.type == DataType::kSparseFloatVector) {
    auto* sparse = out->mutable_sparse_float_vector();
    int64_t dim = 0;
    for (size_t row = 0; row < column.rows; ++row) {
      if (column.IsNull(row)) continue;
      const std::string_view bytes = column.Bytes(row);
      sparse->add_contents(bytes.data(), bytes.size());
      if (bytes.size() >= 8) {
        uint32_t largest = 0;
        std::memcpy(&largest, bytes.data() + bytes.size() - 8, sizeof(largest));
        dim = std::max(dim, static_cast<int64_t>(largest) + 1);
      }
    }
    sparse->set_dim(dim);
    out->set_dim(dim);
    return;
  }
  out->set_dim(field.dim);
  const std::string_view all(reinterpret_cast<const char*>(column.fixed.data()), column.fixed.size());
  if (column.valid.empty()) return PutVectorBytes(column.type, all, out);
  std::string present;
  for (size_t row = 0; row < column.rows; ++row) {
    if (!column.IsNull(row)) present.append(column.Bytes(row));
  }
  PutVectorBytes(column.type, present, out);
}

}  // namespace

std::string SortSparseRow(std::string_view row) {
  struct Pair {
    uint32_t index;
    float value;
  };
  static_assert(sizeof(Pair) == 8);
  const auto by_index = [](const Pair& a, const Pair& b) { return a.index < b.index; };
  std::vector<Pair> pairs(row.size() / sizeof(Pair));
  if (!pairs.empty()) std::memcpy(pairs.data(), row.data(), pairs.size() * sizeof(Pair));
  if (std::is_sorted(pairs.begin(), pairs.end(), by_index)) return std::string(row);
  std::sort(pairs.begin(), pairs.end(), by_index);
  return {reinterpret_cast<const char*>(pairs.data()), pairs.size() * sizeof(Pair)};
}

Result<Column> DecodeColumn(const FieldData& data, const FieldSchema& field, size_t num_rows, const TimeZone& zone) {
  QUIVER_ASSIGN_OR_RETURN(const RowMarks marks, ReadMarks(data, field, num_rows));
  Column column = Column::Make(field.field_id, field.type, field.dim, field.element_type);
  if (marks.present == 0 && !HasData(data)) {
    for (size_t row = 0; row < num_rows; ++row) column.AppendNull();
  } else if (IsVector(field.type)) {
    const bool lists = field.type == DataType::kArrayOfVector;
    QUIVER_RETURN_IF_ERROR(lists ? TakeVectorLists(data.vectors(), field, marks, &column)
                                 : TakeVectors(data.vectors(), field, marks, &column));
  } else {
    QUIVER_RETURN_IF_ERROR(TakeScalars(data.scalars(), field, marks, zone, &column));
  }
  return column;
}

Result<ColumnBatch> DecodeRows(const RepeatedPtrField<FieldData>& columns, const CollectionSchema& schema,
                               size_t num_rows, const TimeZone& zone) {
  ColumnBatch batch;
  batch.rows = num_rows;
  batch.columns.reserve(static_cast<size_t>(columns.size()));
  const auto take = [&](const FieldData& data, const FieldSchema& field) -> Status {
    if (batch.Find(field.field_id) != nullptr) {
      return InvalidParameter("duplicated field {}: invalid parameter", field.name);
    }
    QUIVER_ASSIGN_OR_RETURN(Column column, DecodeColumn(data, field, num_rows, zone));
    batch.columns.push_back(std::move(column));
    return Status::Ok();
  };
  for (const FieldData& data : columns) {
    if (schema.FindStructArray(data.field_name()) != nullptr) {
      for (const FieldData& sub : data.struct_arrays().fields()) {
        const FieldSchema* field = schema.Find(sub.field_name());
        if (field == nullptr) field = schema.Find(SubFieldName(data.field_name(), sub.field_name()));
        if (field == nullptr || field->struct_name != data.field_name()) {
          return Error(StatusCode::kFieldNotFound, "field not found[field={}]",
                       SubFieldName(data.field_name(), sub.field_name()));
        }
        QUIVER_RETURN_IF_ERROR(take(sub, *field));
      }
      continue;
    }
    const FieldSchema* field = data.is_dynamic() ? schema.dynamic_field() : schema.Find(data.field_name());
    if (field == nullptr) {
      if (data.is_dynamic()) {
        return InvalidParameter("dynamic fields are not enabled in collection {}: invalid parameter", schema.name);
      }
      return Error(StatusCode::kFieldNotFound, "field not found[field={}]", data.field_name());
    }
    QUIVER_RETURN_IF_ERROR(take(data, *field));
  }
  return batch;
}

void EncodeColumn(const Column& column, const FieldSchema& field, FieldData* out, const TimeZone& zone) {
  out->set_type(static_cast<wire::schema::DataType>(field.type));
  out->set_field_name(field.name);
  out->set_field_id(field.field_id);
  out->set_is_dynamic(field.is_dynamic);
  if (field.nullable) {
    auto* valid = out->mutable_valid_data();
    valid->Reserve(static_cast<int>(column.rows));
    for (size_t row = 0; row < column.rows; ++row) valid->AddAlreadyReserved(!column.IsNull(row));
  }
  if (IsVector(field.type)) {
    PutVectors(column, field, out->mutable_vectors());
  } else {
    PutScalars(column, field, zone, out->mutable_scalars());
  }
}

void EncodeColumns(const std::vector<Column>& columns, const std::vector<int64_t>& field_ids,
                   const CollectionSchema& schema, const TimeZone& zone, RepeatedPtrField<FieldData>* out) {
  FieldData* open = nullptr;  // the struct array whose sub-fields are being written
  for (size_t i = 0; i < field_ids.size(); ++i) {
    const FieldSchema& field = *schema.FindById(field_ids[i]);
    if (field.struct_name.empty()) {
      open = nullptr;
      EncodeColumn(columns[i], field, out->Add(), zone);
      continue;
    }
    if (open == nullptr || open->field_name() != field.struct_name) {
      open = out->Add();
      open->set_type(static_cast<wire::schema::DataType>(DataType::kArrayOfStruct));
      open->set_field_name(field.struct_name);
      open->set_field_id(schema.FindStructArray(field.struct_name)->field_id);
    }
    FieldData* sub = open->mutable_struct_arrays()->add_fields();
    EncodeColumn(columns[i], field, sub, zone);
    sub->set_field_name(std::string(ShortSubFieldName(field)));
  }
}

void EncodeIds(const Column& keys, wire::schema::IDs* out) {
  if (keys.type == DataType::kInt64) {
    PutFixed<int64_t>(keys, out->mutable_int_id()->mutable_data());
  } else {
    PutStrings(keys, out->mutable_str_id()->mutable_data());
  }
}

}  // namespace quiver::api
