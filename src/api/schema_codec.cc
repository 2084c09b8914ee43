#include "api/schema_codec.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <utility>

#include "common.pb.h"
#include "schema.pb.h"

namespace quiver::api {
namespace {

using wire::schema::ValueField;

std::string_view ValueTypeName(ValueField::DataCase value) {
  switch (value) {
    case ValueField::kBoolData: return "Bool";
    case ValueField::kIntData: return "Int32";
    case ValueField::kLongData: return "Int64";
    case ValueField::kFloatData: return "Float";
    case ValueField::kDoubleData: return "Double";
    case ValueField::kStringData: return "VarChar";
    case ValueField::kBytesData: return "Bytes";
    case ValueField::kTimestamptzData: return "Timestamptz";
    default: return "None";
  }
}

Status DefaultTypeMismatch(const wire::schema::FieldSchema& field, ValueField::DataCase value) {
  return InvalidParameter("type ({}) of field ({}) is not equal to the type({}) of default_value: invalid parameter",
                          DataTypeName(static_cast<DataType>(field.data_type())), field.name(), ValueTypeName(value));
}

Result<ScalarValue> DecodeDefault(const wire::schema::FieldSchema& field, const TimeZone& zone) {
  const ValueField& value = field.default_value();
  const auto value_case = value.data_case();
  const auto type = static_cast<DataType>(field.data_type());
  const auto integer = [&](int64_t low, int64_t high) -> Result<ScalarValue> {
    int64_t number = 0;
    if (value_case == ValueField::kIntData) {
      number = value.int_data();
    } else if (value_case == ValueField::kLongData) {  // clients that do not look at the field's type
      number = value.long_data();
    } else {
      return DefaultTypeMismatch(field, value_case);
    }
    if (number < low || number > high) {
      return InvalidParameter("[{} out of range {} <= value <= {}]: default value of field {}: invalid parameter",
                              number, low, high, field.name());
    }
    return ScalarValue(number);
  };
  switch (type) {
    case DataType::kBool:
      if (value_case != ValueField::kBoolData) break;
      return ScalarValue(value.bool_data());
    case DataType::kInt8: return integer(INT8_MIN, INT8_MAX);
    case DataType::kInt16: return integer(INT16_MIN, INT16_MAX);
    case DataType::kInt32: return integer(INT32_MIN, INT32_MAX);
    case DataType::kInt64: return integer(INT64_MIN, INT64_MAX);
    case DataType::kFloat:
      if (value_case != ValueField::kFloatData) break;
      return ScalarValue(static_cast<double>(value.float_data()));
    case DataType::kDouble:
      if (value_case != ValueField::kDoubleData) break;
      return ScalarValue(value.double_data());
    case DataType::kTimestamptz: {
      if (value_case == ValueField::kTimestamptzData) return ScalarValue(value.timestamptz_data());
      if (value_case != ValueField::kStringData) break;
      QUIVER_ASSIGN_OR_RETURN(const int64_t micros, ParseTimestamp(value.string_data(), zone));
      return ScalarValue(micros);
    }
    case DataType::kVarChar:
    case DataType::kText:
      if (value_case != ValueField::kStringData) break;
      return ScalarValue(value.string_data());
    default:
      return InvalidParameter("type ({}) of field ({}) does not support a default value: invalid parameter",
                              DataTypeName(type), field.name());
  }
  return DefaultTypeMismatch(field, value_case);
}

void EncodeDefault(const FieldSchema& field, const TimeZone& zone, ValueField* out) {
  const ScalarValue& value = *field.default_value;
  switch (field.type) {
    case DataType::kBool: out->set_bool_data(std::get<bool>(value)); break;
    case DataType::kInt8:
    case DataType::kInt16:
    case DataType::kInt32: out->set_int_data(static_cast<int32_t>(std::get<int64_t>(value))); break;
    case DataType::kInt64: out->set_long_data(std::get<int64_t>(value)); break;
    case DataType::kFloat: out->set_float_data(static_cast<float>(std::get<double>(value))); break;
    case DataType::kDouble: out->set_double_data(std::get<double>(value)); break;
    case DataType::kTimestamptz: out->set_string_data(FormatTimestamp(std::get<int64_t>(value), zone)); break;
    default: out->set_string_data(std::get<std::string>(value)); break;
  }
}

void EncodeField(const FieldSchema& field, const TimeZone& zone, wire::schema::FieldSchema* out) {
  out->set_fieldid(field.field_id);
  out->set_name(field.name);
  out->set_is_primary_key(field.is_primary);
  out->set_description(field.description);
  out->set_data_type(static_cast<wire::schema::DataType>(field.type));
  EncodeKeyValues(field.type_params, out->mutable_type_params());
  EncodeKeyValues(field.index_params, out->mutable_index_params());
  out->set_autoid(field.auto_id);
  out->set_element_type(static_cast<wire::schema::DataType>(field.element_type));
  if (field.default_value) EncodeDefault(field, zone, out->mutable_default_value());
  out->set_is_dynamic(field.is_dynamic);
  out->set_is_partition_key(field.is_partition_key);
  out->set_is_clustering_key(field.is_clustering_key);
  out->set_nullable(field.nullable);
  out->set_is_function_output(field.is_function_output);
}

}  // namespace

KeyValues DecodeKeyValues(const google::protobuf::RepeatedPtrField<wire::common::KeyValuePair>& pairs) {
  KeyValues out;
  out.reserve(static_cast<size_t>(pairs.size()));
  for (const auto& pair : pairs) SetValue(out, pair.key(), pair.value());
  return out;
}

void EncodeKeyValues(const KeyValues& pairs, google::protobuf::RepeatedPtrField<wire::common::KeyValuePair>* out) {
  out->Reserve(static_cast<int>(pairs.size()));
  for (const auto& [key, value] : pairs) {
    auto* pair = out->Add();
    pair->set_key(key);
    pair->set_value(value);
  }
}

Result<FieldSchema> DecodeFieldSchema(const wire::schema::FieldSchema& field, const TimeZone& zone) {
  if (!field.external_field().empty()) {
    return Error(StatusCode::kUnimplemented, "external fields are not supported yet: field {}", field.name());
  }
  FieldSchema out;
  out.name = field.name();
  out.description = field.description();
  out.type = static_cast<DataType>(field.data_type());
  out.element_type = static_cast<DataType>(field.element_type());
  out.is_primary = field.is_primary_key();
  out.auto_id = field.autoid();
  out.is_partition_key = field.is_partition_key();
  out.is_clustering_key = field.is_clustering_key();
  out.is_dynamic = field.is_dynamic();
  out.nullable = field.nullable();
  out.is_function_output = field.is_function_output();
  out.type_params = DecodeKeyValues(field.type_params());
  out.index_params = DecodeKeyValues(field.index_params());
  // An empty ValueField is what some clients send for "no default".
  if (field.has_default_value() && field.default_value().data_case() != ValueField::DATA_NOT_SET) {
    QUIVER_ASSIGN_OR_RETURN(ScalarValue value, DecodeDefault(field, zone));
    out.default_value = std::move(value);
  }
  return out;
}

Result<FieldSchema> DecodeFieldSchema(std::string_view bytes, const TimeZone& zone) {
  wire::schema::FieldSchema message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return InvalidParameter("the field schema cannot be decoded: invalid parameter");
  }
  return DecodeFieldSchema(message, zone);
}

Result<DecodedStructArray> DecodeStructArray(const wire::schema::StructArrayFieldSchema& message,
                                             const TimeZone& zone) {
  DecodedStructArray out;
  out.schema.name = message.name();
  out.schema.description = message.description();
  out.schema.nullable = message.nullable();
  out.schema.type_params = DecodeKeyValues(message.type_params());
  for (const auto& sub : message.fields()) {
    QUIVER_ASSIGN_OR_RETURN(FieldSchema decoded, DecodeFieldSchema(sub, zone));
    decoded.struct_name = out.schema.name;
    decoded.name = SubFieldName(out.schema.name, decoded.name);
    decoded.nullable = decoded.nullable || out.schema.nullable;
    out.sub_fields.push_back(std::move(decoded));
  }
  return out;
}

Result<CollectionSchema> DecodeSchema(std::string_view bytes, const TimeZone& zone) {
  wire::schema::CollectionSchema message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return InvalidParameter("the collection schema cannot be decoded: invalid parameter");
  }
  if (message.functions_size() > 0) {
    return Error(StatusCode::kUnimplemented, "functions are not supported yet: {}", message.functions(0).name());
  }
  if (!message.external_source().empty()) {
    return Error(StatusCode::kUnimplemented, "external collections are not supported yet: {}",
                 message.external_source());
  }
  CollectionSchema out;
  out.name = message.name();
  out.description = message.description();
  out.auto_id = message.autoid();
  out.enable_dynamic_field = message.enable_dynamic_field();
  out.fields.reserve(static_cast<size_t>(message.fields_size()));
  for (const auto& field : message.fields()) {
    QUIVER_ASSIGN_OR_RETURN(FieldSchema decoded, DecodeFieldSchema(field, zone));
    out.fields.push_back(std::move(decoded));
  }
  for (const auto& field : message.struct_array_fields()) {
    QUIVER_ASSIGN_OR_RETURN(DecodedStructArray decoded, DecodeStructArray(field, zone));
    std::move(decoded.sub_fields.begin(), decoded.sub_fields.end(), std::back_inserter(out.fields));
    out.struct_arrays.push_back(std::move(decoded.schema));
  }
  return out;
}

void EncodeSchema(const CollectionSchema& schema, wire::schema::CollectionSchema* out, const TimeZone& zone) {
  out->set_name(schema.name);
  out->set_description(schema.description);
  out->set_autoid(schema.auto_id);
  out->set_enable_dynamic_field(schema.enable_dynamic_field);
  out->set_version(schema.version);
  for (const FieldSchema& field : schema.fields) {
    if (!field.is_dynamic && field.struct_name.empty()) EncodeField(field, zone, out->add_fields());
  }
  for (const StructArraySchema& one : schema.struct_arrays) {
    auto* field = out->add_struct_array_fields();
    field->set_fieldid(one.field_id);
    field->set_name(one.name);
    field->set_description(one.description);
    field->set_nullable(one.nullable);
    EncodeKeyValues(one.type_params, field->mutable_type_params());
    for (const FieldSchema* sub : schema.SubFields(one.name)) {
      auto* shown = field->add_fields();
      EncodeField(*sub, zone, shown);
      shown->set_name(std::string(ShortSubFieldName(*sub)));
    }
  }
}

}  // namespace quiver::api
