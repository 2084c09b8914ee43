#include "schema/collection_schema.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <cassert>

namespace quiver {

const std::string* FindValue(const KeyValues& pairs, std::string_view key) {
  for (const auto& [name, value] : pairs) {
    if (name == key) return &value;
  }
  return nullptr;
}

void SetValue(KeyValues& pairs, std::string_view key, std::string value) {
  for (auto& [name, current] : pairs) {
    if (name == key) {
      current = std::move(value);
      return;
    }
  }
  pairs.emplace_back(std::string(key), std::move(value));
}

bool EraseValue(KeyValues& pairs, std::string_view key) {
  return std::erase_if(pairs, [key](const auto& pair) { return pair.first == key; }) != 0;
}

const FieldSchema* CollectionSchema::Find(std::string_view field_name) const {
  for (const FieldSchema& field : fields) {
    if (field.name == field_name) return &field;
  }
  return nullptr;
}

const FieldSchema* CollectionSchema::FindById(int64_t field_id) const {
  for (const FieldSchema& field : fields) {
    if (field.field_id == field_id) return &field;
  }
  return nullptr;
}

std::string SubFieldName(std::string_view struct_name, std::string_view sub_name) {
  return fmt::format("{}[{}]", struct_name, sub_name);
}

std::string_view ShortSubFieldName(const FieldSchema& sub_field) {
  const std::string_view name = sub_field.name;
  const size_t begin = sub_field.struct_name.size() + 1;
  return name.size() > begin ? name.substr(begin, name.size() - begin - 1) : name;
}

const StructArraySchema* CollectionSchema::FindStructArray(std::string_view struct_name) const {
  for (const StructArraySchema& one : struct_arrays) {
    if (one.name == struct_name) return &one;
  }
  return nullptr;
}

std::vector<const FieldSchema*> CollectionSchema::SubFields(std::string_view struct_name) const {
  std::vector<const FieldSchema*> found;
  for (const FieldSchema& field : fields) {
    if (!struct_name.empty() && field.struct_name == struct_name) found.push_back(&field);
  }
  return found;
}

const FieldSchema& CollectionSchema::primary() const {
  const auto found = std::find_if(fields.begin(), fields.end(), [](const FieldSchema& f) { return f.is_primary; });
  assert(found != fields.end() && "a validated schema has a primary key");
  return *found;
}

const FieldSchema* CollectionSchema::dynamic_field() const {
  const auto found = std::find_if(fields.begin(), fields.end(), [](const FieldSchema& f) { return f.is_dynamic; });
  return found == fields.end() ? nullptr : &*found;
}

const FieldSchema* CollectionSchema::partition_key() const {
  const auto found =
      std::find_if(fields.begin(), fields.end(), [](const FieldSchema& f) { return f.is_partition_key; });
  return found == fields.end() ? nullptr : &*found;
}

std::vector<const FieldSchema*> CollectionSchema::vector_fields() const {
  std::vector<const FieldSchema*> found;
  for (const FieldSchema& field : fields) {
    if (IsVector(field.type)) found.push_back(&field);
  }
  return found;
}

namespace {

using JsonWriter = rapidjson::Writer<rapidjson::StringBuffer>;
using JsonValue = rapidjson::Value;

void WriteString(JsonWriter& writer, std::string_view text) {
  writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

void WriteKey(JsonWriter& writer, std::string_view text) {
  writer.Key(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

// Flags and numbers are written only where they differ from their default, so that the text stays short and readable.
void WriteFlag(JsonWriter& writer, std::string_view key, bool value) {
  if (!value) return;
  WriteKey(writer, key);
  writer.Bool(true);
}

void WriteText(JsonWriter& writer, std::string_view key, std::string_view value) {
  if (value.empty()) return;
  WriteKey(writer, key);
  WriteString(writer, value);
}

void WriteNumber(JsonWriter& writer, std::string_view key, int64_t value, int64_t default_value) {
  if (value == default_value) return;
  WriteKey(writer, key);
  writer.Int64(value);
}

void WritePairs(JsonWriter& writer, std::string_view key, const KeyValues& pairs) {
  if (pairs.empty()) return;
  WriteKey(writer, key);
  writer.StartArray();
  for (const auto& [name, value] : pairs) {
    writer.StartArray();
    WriteString(writer, name);
    WriteString(writer, value);
    writer.EndArray();
  }
  writer.EndArray();
}

// The member name carries the type, because JSON alone cannot tell 1 from 1.0.
void WriteDefault(JsonWriter& writer, const ScalarValue& value) {
  WriteKey(writer, "default");
  writer.StartObject();
  if (const auto* boolean = std::get_if<bool>(&value)) {
    writer.Key("bool");
    writer.Bool(*boolean);
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    writer.Key("int");
    writer.Int64(*integer);
  } else if (const auto* real = std::get_if<double>(&value)) {
    writer.Key("double");
    writer.Double(*real);
  } else {
    writer.Key("string");
    WriteString(writer, std::get<std::string>(value));
  }
  writer.EndObject();
}

void WriteField(JsonWriter& writer, const FieldSchema& field) {
  writer.StartObject();
  writer.Key("id");
  writer.Int64(field.field_id);
  writer.Key("name");
  WriteString(writer, field.name);
  writer.Key("type");
  writer.Int(static_cast<int>(field.type));
  WriteNumber(writer, "element_type", static_cast<int64_t>(field.element_type), 0);
  WriteText(writer, "description", field.description);
  WriteFlag(writer, "primary", field.is_primary);
  WriteFlag(writer, "auto_id", field.auto_id);
  WriteFlag(writer, "partition_key", field.is_partition_key);
  WriteFlag(writer, "clustering_key", field.is_clustering_key);
  WriteFlag(writer, "dynamic", field.is_dynamic);
  WriteFlag(writer, "nullable", field.nullable);
  WriteFlag(writer, "function_output", field.is_function_output);
  WriteText(writer, "struct", field.struct_name);
  if (field.default_value) WriteDefault(writer, *field.default_value);
  WritePairs(writer, "type_params", field.type_params);
  WritePairs(writer, "index_params", field.index_params);
  WriteNumber(writer, "dim", field.dim, -1);
  WriteNumber(writer, "max_length", field.max_length, -1);
  WriteNumber(writer, "max_capacity", field.max_capacity, -1);
  writer.EndObject();
}

void WriteStructArray(JsonWriter& writer, const StructArraySchema& one) {
  writer.StartObject();
  writer.Key("id");
  writer.Int64(one.field_id);
  writer.Key("name");
  WriteString(writer, one.name);
  WriteText(writer, "description", one.description);
  WriteFlag(writer, "nullable", one.nullable);
  WritePairs(writer, "type_params", one.type_params);
  writer.EndObject();
}

Status WrongForm(std::string_view key) {
  return Error(StatusCode::kCorruption, "schema text: member '{}' is missing or has the wrong type", key);
}

const JsonValue* Member(const JsonValue& object, const char* key) {
  const auto found = object.FindMember(key);
  return found == object.MemberEnd() ? nullptr : &found->value;
}

// The Read functions leave `out` alone where the member is absent: it holds the default then.
Status Read(const JsonValue& object, const char* key, std::string& out) {
  const JsonValue* value = Member(object, key);
  if (value == nullptr) return Status::Ok();
  if (!value->IsString()) return WrongForm(key);
  out.assign(value->GetString(), value->GetStringLength());
  return Status::Ok();
}

Status Read(const JsonValue& object, const char* key, bool& out) {
  const JsonValue* value = Member(object, key);
  if (value == nullptr) return Status::Ok();
  if (!value->IsBool()) return WrongForm(key);
  out = value->GetBool();
  return Status::Ok();
}

Status Read(const JsonValue& object, const char* key, int64_t& out) {
  const JsonValue* value = Member(object, key);
  if (value == nullptr) return Status::Ok();
  if (!value->IsInt64()) return WrongForm(key);
  out = value->GetInt64();
  return Status::Ok();
}

Status Read(const JsonValue& object, const char* key, DataType& out) {
  auto number = static_cast<int64_t>(out);
  QUIVER_RETURN_IF_ERROR(Read(object, key, number));
  const auto type = static_cast<DataType>(number);
  if (number != 0 && DataTypeName(type) == "Unknown") return WrongForm(key);
  out = type;
  return Status::Ok();
}

Status Read(const JsonValue& object, const char* key, KeyValues& out) {
  const JsonValue* value = Member(object, key);
  if (value == nullptr) return Status::Ok();
  if (!value->IsArray()) return WrongForm(key);
  for (const JsonValue& pair : value->GetArray()) {
    if (!pair.IsArray() || pair.Size() != 2 || !pair[0].IsString() || !pair[1].IsString()) return WrongForm(key);
    out.emplace_back(std::string(pair[0].GetString(), pair[0].GetStringLength()),
                     std::string(pair[1].GetString(), pair[1].GetStringLength()));
  }
  return Status::Ok();
}

Status Read(const JsonValue& object, const char* key, std::optional<ScalarValue>& out) {
  const JsonValue* value = Member(object, key);
  if (value == nullptr) return Status::Ok();
  if (!value->IsObject() || value->MemberCount() != 1) return WrongForm(key);
  const JsonValue& content = value->MemberBegin()->value;
  const std::string_view kind = value->MemberBegin()->name.GetString();
  if (kind == "bool" && content.IsBool()) {
    out = content.GetBool();
  } else if (kind == "int" && content.IsInt64()) {
    out = content.GetInt64();
  } else if (kind == "double" && content.IsNumber()) {
    out = content.GetDouble();
  } else if (kind == "string" && content.IsString()) {
    out = std::string(content.GetString(), content.GetStringLength());
  } else {
    return WrongForm(key);
  }
  return Status::Ok();
}

Result<FieldSchema> ReadField(const JsonValue& object) {
  if (!object.IsObject()) return WrongForm("fields");
  for (const char* required : {"id", "name", "type"}) {
    if (Member(object, required) == nullptr) return WrongForm(required);
  }
  FieldSchema field;
  QUIVER_RETURN_IF_ERROR(Read(object, "id", field.field_id));
  QUIVER_RETURN_IF_ERROR(Read(object, "name", field.name));
  QUIVER_RETURN_IF_ERROR(Read(object, "type", field.type));
  QUIVER_RETURN_IF_ERROR(Read(object, "element_type", field.element_type));
  QUIVER_RETURN_IF_ERROR(Read(object, "description", field.description));
  QUIVER_RETURN_IF_ERROR(Read(object, "primary", field.is_primary));
  QUIVER_RETURN_IF_ERROR(Read(object, "auto_id", field.auto_id));
  QUIVER_RETURN_IF_ERROR(Read(object, "partition_key", field.is_partition_key));
  QUIVER_RETURN_IF_ERROR(Read(object, "clustering_key", field.is_clustering_key));
  QUIVER_RETURN_IF_ERROR(Read(object, "dynamic", field.is_dynamic));
  QUIVER_RETURN_IF_ERROR(Read(object, "nullable", field.nullable));
  QUIVER_RETURN_IF_ERROR(Read(object, "function_output", field.is_function_output));
  QUIVER_RETURN_IF_ERROR(Read(object, "struct", field.struct_name));
  QUIVER_RETURN_IF_ERROR(Read(object, "default", field.default_value));
  QUIVER_RETURN_IF_ERROR(Read(object, "type_params", field.type_params));
  QUIVER_RETURN_IF_ERROR(Read(object, "index_params", field.index_params));
  QUIVER_RETURN_IF_ERROR(Read(object, "dim", field.dim));
  QUIVER_RETURN_IF_ERROR(Read(object, "max_length", field.max_length));
  QUIVER_RETURN_IF_ERROR(Read(object, "max_capacity", field.max_capacity));
  return field;
}

Result<StructArraySchema> ReadStructArray(const JsonValue& object) {
  if (!object.IsObject()) return WrongForm("struct_arrays");
  StructArraySchema one;
  QUIVER_RETURN_IF_ERROR(Read(object, "id", one.field_id));
  QUIVER_RETURN_IF_ERROR(Read(object, "name", one.name));
  QUIVER_RETURN_IF_ERROR(Read(object, "description", one.description));
  QUIVER_RETURN_IF_ERROR(Read(object, "nullable", one.nullable));
  QUIVER_RETURN_IF_ERROR(Read(object, "type_params", one.type_params));
  return one;
}

}  // namespace

std::string SchemaToJson(const CollectionSchema& schema) {
  rapidjson::StringBuffer buffer;
  JsonWriter writer(buffer);
  writer.StartObject();
  writer.Key("name");
  WriteString(writer, schema.name);
  WriteText(writer, "description", schema.description);
  WriteFlag(writer, "auto_id", schema.auto_id);
  WriteFlag(writer, "enable_dynamic_field", schema.enable_dynamic_field);
  WriteNumber(writer, "version", schema.version, 0);
  writer.Key("fields");
  writer.StartArray();
  for (const FieldSchema& field : schema.fields) WriteField(writer, field);
  writer.EndArray();
  if (!schema.struct_arrays.empty()) {
    writer.Key("struct_arrays");
    writer.StartArray();
    for (const StructArraySchema& one : schema.struct_arrays) WriteStructArray(writer, one);
    writer.EndArray();
  }
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

Result<CollectionSchema> SchemaFromJson(std::string_view json) {
  rapidjson::Document document;
  // Full precision, so that a DOUBLE default reads back bit for bit; iterative, so that hostile nesting cannot
  // exhaust the stack.
  document.Parse<rapidjson::kParseFullPrecisionFlag | rapidjson::kParseIterativeFlag>(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) {
    return Error(StatusCode::kCorruption, "schema text: not a JSON object, error at byte {}",
                 document.GetErrorOffset());
  }
  const JsonValue* fields = Member(document, "fields");
  if (fields == nullptr || !fields->IsArray()) return WrongForm("fields");

  CollectionSchema schema;
  int64_t version = 0;
  QUIVER_RETURN_IF_ERROR(Read(document, "name", schema.name));
  QUIVER_RETURN_IF_ERROR(Read(document, "description", schema.description));
  QUIVER_RETURN_IF_ERROR(Read(document, "auto_id", schema.auto_id));
  QUIVER_RETURN_IF_ERROR(Read(document, "enable_dynamic_field", schema.enable_dynamic_field));
  QUIVER_RETURN_IF_ERROR(Read(document, "version", version));
  schema.version = static_cast<int32_t>(version);
  for (const JsonValue& object : fields->GetArray()) {
    QUIVER_ASSIGN_OR_RETURN(FieldSchema field, ReadField(object));
    schema.fields.push_back(std::move(field));
  }
  if (const JsonValue* struct_arrays = Member(document, "struct_arrays"); struct_arrays != nullptr) {
    if (!struct_arrays->IsArray()) return WrongForm("struct_arrays");
    for (const JsonValue& object : struct_arrays->GetArray()) {
      QUIVER_ASSIGN_OR_RETURN(StructArraySchema one, ReadStructArray(object));
      schema.struct_arrays.push_back(std::move(one));
    }
  }
  return schema;
}

}  // namespace quiver
