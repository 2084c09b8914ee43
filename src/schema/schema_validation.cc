// Schemas and properties: CreateCollection, AddCollectionField, AlterCollection, AlterCollectionField.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string>

#include "schema/index_params.h"
#include "schema/limits.h"
#include "schema/timestamp.h"
#include "schema/validation.h"
#include "text/analyzer.h"

namespace quiver {
namespace {

template <typename... Args>
Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return {StatusCode::kInvalidParameter, fmt::format(format, std::forward<Args>(args)...) + ": invalid parameter"};
}

template <typename... Args>
Status Missing(fmt::format_string<Args...> format, Args&&... args) {
  return {StatusCode::kMissingParameter, fmt::format(format, std::forward<Args>(args)...) + ": missing parameter"};
}

Status IllegalSchema(const CollectionSchema& schema, std::string_view reason) {
  return Error(StatusCode::kIllegalSchema, "{}: illegal collection schema[collection={}]", reason, schema.name);
}

std::optional<int64_t> ParseInt(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Names that hidden columns of the published server have.
constexpr auto kSystemFieldNames =
    std::to_array<std::string_view>({"RowID", "Timestamp", kMetaFieldName, "$namespace_id", "__virtual_pk__"});

bool IsSystemFieldName(std::string_view name) {
  return std::find(kSystemFieldNames.begin(), kSystemFieldNames.end(), name) != kSystemFieldNames.end();
}

// --- one field -------------------------------------------------------------------------------------------------------

Status ValidateDimension(FieldSchema& field) {
  const std::string* text = FindValue(field.type_params, "dim");
  if (field.type == DataType::kSparseFloatVector) {
    if (text == nullptr) return Status::Ok();
    return Invalid("dim should not be specified for sparse vector field {}({})", field.name, field.field_id);
  }
  if (text == nullptr && field.dim < 0) {
    return Invalid("dimension is not defined in field type params of field {}, check type param `dim` for vector field",
                   field.name);
  }
  if (text != nullptr) {
    const std::optional<int64_t> dim = ParseInt(*text);
    if (!dim) {
      return Invalid("invalid dimension: {}. should be in range {} ~ {}", *text, limits::kMinDimension,
                     limits::kMaxDimension);
    }
    field.dim = *dim;
  }
  if (field.dim < limits::kMinDimension) {
    return Invalid("invalid dimension: {}. should be in range {} ~ {}", field.dim, limits::kMinDimension,
                   limits::kMaxDimension);
  }
  if (field.type == DataType::kBinaryVector || field.element_type == DataType::kBinaryVector) {
    if (field.dim % 8 != 0) {
      return Invalid("invalid dimension: {} of field {}. binary vector dimension should be multiple of 8.", field.dim,
                     field.name);
    }
    if (field.dim > limits::kMaxBinaryDimension) {
      return Invalid("invalid dimension: {} of field {}. binary vector dimension should be in range {} ~ {}", field.dim,
                     field.name, limits::kMinDimension, limits::kMaxBinaryDimension);
    }
  } else if (field.dim > limits::kMaxDimension) {
    // Both published wordings: with and without the field's name.
    return Invalid(
        "invalid dimension: {}. should be in range {} ~ {}: invalid dimension: {} of field {}. float vector dimension "
        "should be in range {} ~ {}",
        field.dim, limits::kMinDimension, limits::kMaxDimension, field.dim, field.name, limits::kMinDimension,
        limits::kMaxDimension);
  }
  return Status::Ok();
}

Status ValidateMaxLength(std::string_view collection, FieldSchema& field) {
  if (const std::string* text = FindValue(field.type_params, "max_length")) {
    const std::optional<int64_t> length = ParseInt(*text);
    if (!length) return Invalid("the value for max_length of field {} must be an integer", field.name);
    field.max_length = *length;
  } else if (field.max_length < 0) {
    return Missing("type param(max_length) should be specified for the field({}) of collection {}", field.name,
                   collection);
  }
  if (field.max_length <= 0 || field.max_length > limits::kMaxVarCharLength) {
    return Invalid(
        "the maximum length specified for the field({}) should be in (0, {}], but got {} instead, type param: "
        "max_length",
        field.name, limits::kMaxVarCharLength, field.max_length);
  }
  return Status::Ok();
}

Status ValidateMaxCapacity(std::string_view collection, FieldSchema& field) {
  if (const std::string* text = FindValue(field.type_params, "max_capacity")) {
    const std::optional<int64_t> capacity = ParseInt(*text);
    if (!capacity) return Invalid("the value for max_capacity of field {} must be an integer", field.name);
    field.max_capacity = *capacity;
  } else if (field.max_capacity < 0) {
    return Missing("type param(max_capacity) should be specified for array field {} of collection {}", field.name,
                   collection);
  }
  if (field.max_capacity <= 0 || field.max_capacity > limits::kMaxArrayCapacity) {
    return Invalid(
        "the maximum capacity specified for a Array should be in (0, {}], but got {}, field {}, type param: "
        "max_capacity",
        limits::kMaxArrayCapacity, field.max_capacity, field.name);
  }
  return Status::Ok();
}

Status ValidateElementType(DataType type) {
  if (type == DataType::kBool || IsNumeric(type) || type == DataType::kVarChar) return Status::Ok();
  if (type == DataType::kString) {
    return Invalid("string data type not supported yet, please use VarChar type instead");
  }
  if (type == DataType::kNone) return Invalid("element data type None is not valid");
  return Invalid("element type {} is not supported", DataTypeName(type));
}

Status ValidateType(const FieldSchema& field) {
  switch (field.type) {
    case DataType::kString: return Invalid("string data type not supported yet, please use VarChar type instead");
    case DataType::kNone: return Invalid("data type None is not valid");
    case DataType::kArray: return ValidateElementType(field.element_type);
    case DataType::kArrayOfVector:
      if (field.struct_name.empty()) {
        return Invalid("array of vector can only be in the struct array field, field name: {}", field.name);
      }
      if (!IsDenseVector(field.element_type)) {
        return Invalid(
            "Unsupported element type of array field {}, {} now only float, float16, bfloat16, int8 and "
            "binary vectors are supported",
            field.name, DataTypeName(field.element_type));
      }
      return Status::Ok();
    case DataType::kArrayOfStruct:
    case DataType::kStruct:
      return Invalid("data type {} is only possible as a struct array, field name = {}", DataTypeName(field.type),
                     field.name);
    default: break;
  }
  if (DataTypeName(field.type) == "Unknown") {
    return Error(StatusCode::kInvalidParameter,
                 "field data type: {} is not supported: invalid parameter[expected=valid field][actual={}]",
                 static_cast<int>(field.type), field.name);
  }
  return Status::Ok();
}

Status DefaultTypeMismatch(const FieldSchema& field, std::string_view given) {
  return Error(StatusCode::kInvalidParameter,
               "type ({}) of field ({}) is not equal to the type({}) of default_value: invalid "
               "parameter[expected={}][actual={}]",
               DataTypeName(field.type), field.name, given, DataTypeName(field.type), given);
}

Status ValidateIntegerDefault(const FieldSchema& field, int64_t value) {
  int64_t low = std::numeric_limits<int64_t>::min();
  int64_t high = std::numeric_limits<int64_t>::max();
  switch (field.type) {
    case DataType::kInt8: low = INT8_MIN, high = INT8_MAX; break;
    case DataType::kInt16: low = INT16_MIN, high = INT16_MAX; break;
    case DataType::kInt32: low = INT32_MIN, high = INT32_MAX; break;
    case DataType::kInt64: break;
    case DataType::kTimestamptz: low = kMinTimestamp, high = kMaxTimestamp; break;
    default: return DefaultTypeMismatch(field, "DataType_Int64");
  }
  if (value < low || value > high) {
    return InvalidParameter("default value out of range: invalid parameter[{} out of range {} <= value <= {}]", value,
                            low, high);
  }
  return Status::Ok();
}

Status ValidateDefaultValue(const FieldSchema& field) {
  if (!field.default_value) return Status::Ok();
  if (field.is_primary) {
    return Invalid("primary field not support default_value, type:{}, name:{}", DataTypeName(field.type), field.name);
  }
  if (field.type == DataType::kArray || field.type == DataType::kJson || field.type == DataType::kGeometry ||
      field.type == DataType::kText || IsVector(field.type)) {
    return Invalid("type not support default_value, type:{}, name:{}", DataTypeName(field.type), field.name);
  }
  const ScalarValue& value = *field.default_value;
  if (std::holds_alternative<bool>(value)) {
    return field.type == DataType::kBool ? Status::Ok() : DefaultTypeMismatch(field, "DataType_Bool");
  }
  if (const auto* integer = std::get_if<int64_t>(&value)) return ValidateIntegerDefault(field, *integer);
  if (const auto* real = std::get_if<double>(&value)) {
    if (!IsFloating(field.type)) return DefaultTypeMismatch(field, "DataType_Double");
    const bool finite = field.type == DataType::kFloat ? std::abs(*real) <= std::numeric_limits<float>::max()
                                                       : std::abs(*real) <= std::numeric_limits<double>::max();
    if (!finite) return Invalid("value '{}' is not a number or infinity, default_value of field {}", *real, field.name);
    return Status::Ok();
  }
  if (field.type != DataType::kVarChar) return DefaultTypeMismatch(field, "DataType_VarChar");
  const auto length = static_cast<int64_t>(std::get<std::string>(value).size());
  if (length > field.max_length) {
    return InvalidParameter(
        "the length ({}) of string exceeds max length ({}): invalid parameter[expected=valid length "
        "string][actual=string length exceeds max length]",
        length, field.max_length);
  }
  return Status::Ok();
}

Status ValidateTextOptions(const FieldSchema& field) {
  const auto enabled = [&field](std::string_view key) {
    const std::string* text = FindValue(field.type_params, key);
    return text != nullptr && ParseSwitch(*text).value_or(false);
  };
  if (enabled("enable_match") && !enabled("enable_analyzer")) {
    return Invalid("field {} which has enable_match or is input of BM25 function must also enable_analyzer",
                   field.name);
  }
  for (const std::string_view key : {"mmap.enabled", "enable_match", "enable_analyzer"}) {
    const std::string* text = FindValue(field.type_params, key);
    if (text != nullptr && !ParseSwitch(*text)) {
      return Invalid("invalid {} value of field {}: {}", key, field.name, *text);
    }
  }
  if (FindValue(field.type_params, "multi_analyzer_params") != nullptr) {
    return Error(StatusCode::kUnimplemented, "multi_analyzer_params are not supported yet, field name = {}",
                 field.name);
  }
  if (const std::string* params = FindValue(field.type_params, "analyzer_params"); params != nullptr) {
    return text::Analyzer::Create(*params).status();
  }
  return Status::Ok();
}

// Everything about one field that does not depend on the others. Parses its type_params.
Status ValidateField(std::string_view collection, FieldSchema& field) {
  QUIVER_RETURN_IF_ERROR(ValidateFieldName(field.struct_name.empty() ? field.name : ShortSubFieldName(field)));
  if (IsVector(field.type)) QUIVER_RETURN_IF_ERROR(ValidateDimension(field));
  if (field.type == DataType::kVarChar ||
      (field.type == DataType::kArray && field.element_type == DataType::kVarChar)) {
    QUIVER_RETURN_IF_ERROR(ValidateMaxLength(collection, field));
  }
  if (field.type == DataType::kArray || field.type == DataType::kArrayOfVector) {
    QUIVER_RETURN_IF_ERROR(ValidateMaxCapacity(collection, field));
  }
  if (field.nullable && field.is_primary) {
    return Invalid("primary field not support null, type:{}, name:{}", DataTypeName(field.type), field.name);
  }
  if (field.nullable && field.is_clustering_key) {
    return Invalid("clustering key field not support null, type:{}, name:{}", DataTypeName(field.type), field.name);
  }
  QUIVER_RETURN_IF_ERROR(ValidateTextOptions(field));
  return ValidateDefaultValue(field);
}

// --- the whole schema ------------------------------------------------------------------------------------------------

Status ValidatePrimaryKey(const CollectionSchema& schema) {
  const FieldSchema* primary = nullptr;
  for (const FieldSchema& field : schema.fields) {
    if (!field.is_primary) continue;
    if (primary != nullptr) {
      return Invalid("there are more than one primary key, field name = {}, {}", primary->name, field.name);
    }
    if (field.type != DataType::kInt64 && field.type != DataType::kVarChar) {
      return Invalid("the data type of primary key should be Int64 or VarChar");
    }
    primary = &field;
  }
  if (primary == nullptr) return Invalid("primary key is not specified");
  return Status::Ok();
}

Status ValidateAutoId(const CollectionSchema& schema) {
  const FieldSchema* found = nullptr;
  for (const FieldSchema& field : schema.fields) {
    if (!field.auto_id) continue;
    if (found != nullptr) {
      return Invalid("only one field can speficy AutoID with true, field name = {}, {}", found->name, field.name);
    }
    if (!field.is_primary) {
      return Invalid("only primary field can speficy AutoID with true, field name = {}", field.name);
    }
    found = &field;
  }
  return Status::Ok();
}

Status ValidatePartitionKey(const CollectionSchema& schema) {
  const FieldSchema* found = nullptr;
  for (const FieldSchema& field : schema.fields) {
    if (!field.is_partition_key) continue;
    if (found != nullptr) {
      return Invalid("there are more than one partition key, field name = {}, {}", found->name, field.name);
    }
    if (field.is_primary) return Invalid("the partition key field must not be primary field");
    if (field.nullable) return Invalid("partition key field not support nullable");
    if (field.type != DataType::kInt64 && field.type != DataType::kVarChar) {
      return Invalid("the data type of partition key should be Int64 or VarChar");
    }
    found = &field;
  }
  return Status::Ok();
}

bool CanCluster(DataType type) { return IsNumeric(type) || type == DataType::kVarChar; }

Status ValidateClusteringKey(const CollectionSchema& schema) {
  const FieldSchema* found = nullptr;
  for (const FieldSchema& field : schema.fields) {
    if (!field.is_clustering_key) continue;
    if (!CanCluster(field.type)) {
      return IllegalSchema(schema, fmt::format("clustering key field {} has unsupported data type {}", field.name,
                                               DataTypeName(field.type)));
    }
    if (found != nullptr) {
      return IllegalSchema(
          schema, fmt::format("there are more than one clustering key, field name = {}, {}", found->name, field.name));
    }
    found = &field;
  }
  return Status::Ok();
}

// Struct arrays and their sub-fields, which stand among the fields.
Status ValidateStructArrays(const CollectionSchema& schema) {
  for (const StructArraySchema& one : schema.struct_arrays) {
    QUIVER_RETURN_IF_ERROR(ValidateFieldName(one.name));
    const auto subs = schema.SubFields(one.name);
    if (subs.empty()) return Invalid("struct array field {} has no sub-fields", one.name);
    for (const FieldSchema* sub : subs) {
      if (sub->type != DataType::kArray && sub->type != DataType::kArrayOfVector) {
        return Invalid("Fields in StructArrayField can only be array or array of vector, but field {} is {}", sub->name,
                       DataTypeName(sub->type));
      }
      if (sub->is_primary || sub->is_partition_key || sub->is_clustering_key || sub->auto_id) {
        return Invalid("sub-field {} of a struct array cannot be a key", sub->name);
      }
    }
  }
  return Status::Ok();
}

Status ValidateCounts(const CollectionSchema& schema) {
  if (schema.fields.size() > limits::kMaxFields) {
    return Invalid("maximum field's number should be limited to {}", limits::kMaxFields);
  }
  const size_t vectors = schema.vector_fields().size();
  if (vectors > limits::kMaxVectorFields) {
    return Invalid("maximum vector field's number should be limited to {}", limits::kMaxVectorFields);
  }
  if (vectors == 0) return Invalid("schema does not contain vector field");
  return Status::Ok();
}

FieldSchema MetaField(int64_t field_id) {
  FieldSchema meta;
  meta.field_id = field_id;
  meta.name = std::string(kMetaFieldName);
  meta.description = "dynamic schema";
  meta.type = DataType::kJson;
  meta.is_dynamic = true;
  return meta;
}

bool IsConsistencyLevel(std::string_view text) {
  constexpr auto kNames = std::to_array<std::string_view>({"Strong", "Session", "Bounded", "Eventually", "Customized"});
  if (std::find(kNames.begin(), kNames.end(), text) != kNames.end()) return true;
  const std::optional<int64_t> number = ParseInt(text);
  return number && *number >= 0 && *number <= 4;
}

Status ValidateProperty(const CollectionSchema& schema, const std::string& key, const std::string& value) {
  if (key == "collection.ttl.seconds") {
    const std::optional<int64_t> seconds = ParseInt(value);
    if (!seconds) return Invalid("collection TTL is not a valid positive integer");
    if (*seconds < -1 || *seconds > limits::kMaxTtlSeconds) {
      return Invalid("collection TTL is out of range, expect [-1, {}], got {}", limits::kMaxTtlSeconds, *seconds);
    }
  } else if (key == "collection.retention.seconds") {
    const std::optional<int64_t> seconds = ParseInt(value);
    if (!seconds || *seconds < 0 || *seconds > limits::kMaxTtlSeconds) {
      return Invalid("collection retention is out of range, expect [0, {}], got {}", limits::kMaxTtlSeconds, value);
    }
  } else if (key == "collection.insert.unique") {
    if (!ParseSwitch(value)) return Invalid("invalid {} value: {}, expected a boolean", key, value);
  } else if (key == "ttl_field") {
    const FieldSchema* field = schema.Find(value);
    if (field == nullptr) return Invalid("ttl field name {} not found in schema", value);
    if (field->type != DataType::kTimestamptz) return Invalid("ttl field must be timestamptz, field name = {}", value);
  } else if (key == "partitionkey.isolation") {
    const std::optional<bool> enabled = ParseSwitch(value);
    if (!enabled) return Invalid("failed to parse partition key isolation property: {}", value);
    if (*enabled && schema.partition_key() == nullptr) {
      return IllegalSchema(
          schema,
          "partition key isolation mode is enabled but no partition key field is set. Please set the partition "
          "key first");
    }
  } else if (key == "allow_insert_auto_id") {
    const std::optional<bool> enabled = ParseSwitch(value);
    if (!enabled) return Invalid("invalid allow_insert_auto_id value: {}, expected a boolean", value);
    if (*enabled && !schema.primary().auto_id) {
      return Invalid("the value for {} must be false when autoID is false", key);
    }
  } else if (key == "mmap.enabled" || key == "lazyload.enabled" || key == "dynamicfield.enabled") {
    if (!ParseSwitch(value)) return Invalid("invalid {} value: {}, expected a boolean", key, value);
  } else if (key == "collection.replica.number") {
    const std::optional<int64_t> number = ParseInt(value);
    if (!number || *number < 1) return Invalid("invalid collection.replica.number value: {}, expected >= 1", value);
  } else if (key == "consistency_level") {
    if (!IsConsistencyLevel(value)) return Invalid("invalid consistency level: {}", value);
  } else if (key == "query_mode") {
    if (!value.empty() && value != "large_topk") {
      return Invalid("invalid query_mode value: {}, expected large_topk", value);
    }
  } else if (key == kTimeZoneKey) {
    return TimeZone::Load(value).status();
  }
  return Status::Ok();
}

bool IsWarmupKey(std::string_view key) { return key == "warmup" || key.starts_with("warmup."); }

}  // namespace

std::optional<bool> ParseSwitch(std::string_view text) {
  if (text == "1" || text == "t" || text == "T") return true;
  if (text == "0" || text == "f" || text == "F") return false;
  return ParseBool(text);
}

Status ValidateSchema(CollectionSchema& schema) {
  QUIVER_RETURN_IF_ERROR(ValidateCounts(schema));
  QUIVER_RETURN_IF_ERROR(ValidateCollectionName(schema.name));
  for (const FieldSchema& field : schema.fields) {
    if (IsSystemFieldName(field.name)) {
      return InvalidParameter(
          "schema contains system field: {}: invalid parameter[expected=schema don't contains system "
          "field][actual=contains]",
          field.name);
    }
  }
  QUIVER_RETURN_IF_ERROR(ValidatePrimaryKey(schema));
  for (const FieldSchema& field : schema.fields) {
    if (field.is_dynamic) return Invalid("cannot explicitly set a field as a dynamic field");
  }
  QUIVER_RETURN_IF_ERROR(ValidateAutoId(schema));
  QUIVER_RETURN_IF_ERROR(ValidateStructArrays(schema));
  for (const FieldSchema& field : schema.fields) QUIVER_RETURN_IF_ERROR(ValidateType(field));
  QUIVER_RETURN_IF_ERROR(ValidatePartitionKey(schema));
  QUIVER_RETURN_IF_ERROR(ValidateClusteringKey(schema));
  for (FieldSchema& field : schema.fields) QUIVER_RETURN_IF_ERROR(ValidateField(schema.name, field));

  std::set<std::string_view> names;
  for (const FieldSchema& field : schema.fields) {
    if (!names.insert(field.name).second) return Invalid("duplicated field name {} found", field.name);
  }
  for (const StructArraySchema& one : schema.struct_arrays) {
    if (!names.insert(one.name).second) return Invalid("duplicated field name {} found", one.name);
  }

  int64_t next_id = kFirstUserFieldId;
  for (FieldSchema& field : schema.fields) field.field_id = next_id++;
  for (StructArraySchema& one : schema.struct_arrays) one.field_id = next_id++;
  if (schema.enable_dynamic_field) schema.fields.push_back(MetaField(next_id));
  schema.auto_id = schema.primary().auto_id;
  return Status::Ok();
}

namespace {

/// Whether so many more fields fit in, and whether `name` is free.
Status ValidateRoom(const CollectionSchema& schema, const std::string& name, size_t added) {
  const auto user_fields = static_cast<size_t>(
      std::count_if(schema.fields.begin(), schema.fields.end(), [](const FieldSchema& f) { return !f.is_dynamic; }));
  if (user_fields + added > limits::kMaxFields) {
    return Invalid("The number of fields has reached the maximum value {}", limits::kMaxFields);
  }
  if (IsSystemFieldName(name)) return Invalid("not support to add system field, field name = {}", name);
  if (schema.Find(name) != nullptr || schema.FindStructArray(name) != nullptr) {
    return Invalid("duplicated field name {}", name);
  }
  return Status::Ok();
}

}  // namespace

Status ValidateAddedField(const CollectionSchema& schema, FieldSchema& field) {
  QUIVER_RETURN_IF_ERROR(ValidateRoom(schema, field.name, 1));
  QUIVER_RETURN_IF_ERROR(ValidateType(field));
  if (field.is_primary) return Invalid("not support to add pk field, field name = {}", field.name);
  if (field.auto_id) return Invalid("only primary field can speficy AutoID with true, field name = {}", field.name);
  if (field.is_dynamic) return Invalid("cannot explicitly set a field as a dynamic field");
  // Two blanks before the equals sign, as published.
  if (field.is_partition_key) return Invalid("not support to add partition key field, field name  = {}", field.name);
  if (field.is_clustering_key) {
    if (!CanCluster(field.type)) {
      return Invalid("clustering key field {} has unsupported data type {}", field.name, DataTypeName(field.type));
    }
    for (const FieldSchema& existing : schema.fields) {
      if (existing.is_clustering_key) {
        return Invalid("already has another clustering key field, field name: {}", field.name);
      }
    }
  }
  if (IsVector(field.type)) {
    if (schema.vector_fields().size() >= limits::kMaxVectorFields) {
      return Invalid("maximum vector field's number should be limited to {}", limits::kMaxVectorFields);
    }
    if (IsDenseVector(field.type) && field.type_params.empty() && field.dim < 0) {
      return Invalid("vector field must have dimension specified, field name = {}", field.name);
    }
  }
  if (!field.nullable) return Invalid("added field must be nullable, please check it, field name = {}", field.name);
  return ValidateField(schema.name, field);
}

Status ValidateAddedStructArray(const CollectionSchema& schema, const StructArraySchema& added,
                                std::vector<FieldSchema>& sub_fields) {
  QUIVER_RETURN_IF_ERROR(ValidateRoom(schema, added.name, sub_fields.size()));
  if (!added.nullable) return Invalid("added field must be nullable, please check it, field name = {}", added.name);
  CollectionSchema alone;
  alone.struct_arrays = {added};
  alone.fields = sub_fields;
  QUIVER_RETURN_IF_ERROR(ValidateStructArrays(alone));
  std::set<std::string_view> names;
  for (FieldSchema& field : sub_fields) {
    if (!names.insert(field.name).second) return Invalid("duplicated field name {} found", field.name);
    QUIVER_RETURN_IF_ERROR(ValidateType(field));
    QUIVER_RETURN_IF_ERROR(ValidateField(schema.name, field));
  }
  return Status::Ok();
}

Status ValidateShardsAndPartitions(const CollectionSchema& schema, int64_t shards_num, int64_t num_partitions) {
  if (shards_num > limits::kMaxShards) {
    return Invalid("maximum shards's number should be limited to {}", limits::kMaxShards);
  }
  if (shards_num < 0) return Invalid("shards's number should be greater than 0, but got {}", shards_num);
  if (schema.partition_key() == nullptr) {
    if (num_partitions == 0) return Status::Ok();
    return Invalid("num_partitions should only be specified with partition key field enabled");
  }
  if (num_partitions < 0) return Invalid("the specified partitions should be greater than 0 if partition key is used");
  if (num_partitions > limits::kMaxPartitions) {
    return Invalid("partition number ({}) exceeds max configuration ({})", num_partitions, limits::kMaxPartitions);
  }
  return Status::Ok();
}

Status ValidateProperties(const CollectionSchema& schema, const KeyValues& properties) {
  for (const auto& [key, value] : properties) QUIVER_RETURN_IF_ERROR(ValidateProperty(schema, key, value));
  if (FindValue(properties, "collection.ttl.seconds") != nullptr && FindValue(properties, "ttl_field") != nullptr) {
    return Invalid("collection TTL and ttl field cannot be set at the same time");
  }
  return Status::Ok();
}

Status ValidateFieldProperties(const FieldSchema& field, KeyValues& set, std::vector<std::string>& delete_keys) {
  for (auto& [key, value] : set) {
    if (key == "mmap_enabled") key = "mmap.enabled";
    if (key == "mmap.enabled") {
      if (!ParseSwitch(value)) return Invalid("invalid mmap.enabled value: {}, expected a boolean", value);
    } else if (key == "max_length") {
      const bool holds_strings = field.type == DataType::kVarChar ||
                                 (field.type == DataType::kArray && field.element_type == DataType::kVarChar);
      if (!holds_strings) return Invalid("{} can not modify the maxlength for non-string types", field.name);
      const std::optional<int64_t> length = ParseInt(value);
      if (!length) return Invalid("{} should be an integer, but got string", key);
      if (*length > limits::kMaxVarCharLength) {
        return Invalid("{} exceeds the maximum allowed value {}", value, limits::kMaxVarCharLength);
      }
      if (*length <= 0) {
        return Invalid(
            "the maximum length specified for the field({}) should be in (0, {}], but got {} instead, type param: "
            "max_length",
            field.name, limits::kMaxVarCharLength, *length);
      }
    } else if (key == "max_capacity") {
      if (field.type != DataType::kArray && field.type != DataType::kArrayOfVector) {
        return Invalid("{} can not modify the maxcapacity for non-array types", field.name);
      }
      const std::optional<int64_t> capacity = ParseInt(value);
      if (!capacity) return Invalid("the value for {} of field {} must be an integer", key, field.name);
      if (*capacity <= 0 || *capacity > limits::kMaxArrayCapacity) {
        return Invalid("the maximum capacity specified for a Array should be in (0, {}], but got {}",
                       limits::kMaxArrayCapacity, *capacity);
      }
    } else if (key != "field.description" && !IsWarmupKey(key)) {
      return Invalid("{} does not allow update in collection field param", key);
    }
  }
  for (std::string& key : delete_keys) {
    const std::string given = key;
    if (key == "mmap_enabled") key = "mmap.enabled";
    if (key != "mmap.enabled" && !IsWarmupKey(key)) {
      return Invalid("{} is not allowed to drop in collection field param", given);
    }
  }
  return Status::Ok();
}

}  // namespace quiver
