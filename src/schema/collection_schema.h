// File: schema/collection_schema.h
// CollectionSchema and FieldSchema: what a collection looks like, as the catalog keeps it.
// Thread rule: plain values; published schemas are immutable and shared by shared_ptr<const CollectionSchema>.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"
#include "schema/data_type.h"

namespace quiver {

/// Ordered string pairs, as clients send them (type_params, index_params, properties).
using KeyValues = std::vector<std::pair<std::string, std::string>>;

/// Returns the value of `key`, or nullptr.
const std::string* FindValue(const KeyValues& pairs, std::string_view key);
/// Replaces or appends `key`.
void SetValue(KeyValues& pairs, std::string_view key, std::string value);
/// Removes `key`; returns whether it was there.
bool EraseValue(KeyValues& pairs, std::string_view key);

/// A scalar constant: default values and literals. Integers of every width are int64_t, FLOAT and DOUBLE are double,
/// VARCHAR is std::string.
using ScalarValue = std::variant<bool, int64_t, double, std::string>;

/// First id given to a user field; 0 and 1 are the hidden RowID and Timestamp.
inline constexpr int64_t kFirstUserFieldId = 100;
/// Name of the hidden JSON field that holds dynamic keys.
inline constexpr std::string_view kMetaFieldName = "$meta";
/// Name of the partition that every collection has.
inline constexpr std::string_view kDefaultPartitionName = "_default";

/// One field. `dim`, `max_length` and `max_capacity` are parsed from `type_params` (-1 = not given).
struct FieldSchema {
  int64_t field_id = 0;
  std::string name;
  std::string description;
  DataType type = DataType::kNone;
  DataType element_type = DataType::kNone;
  bool is_primary = false;
  bool auto_id = false;
  bool is_partition_key = false;
  bool is_clustering_key = false;
  bool is_dynamic = false;  ///< the `$meta` field
  bool nullable = false;
  bool is_function_output = false;
  std::optional<ScalarValue> default_value;
  std::string struct_name;  ///< of a sub-field of a struct array: that field's name; the own name is "struct[sub]"
  KeyValues type_params;
  KeyValues index_params;
  int64_t dim = -1;
  int64_t max_length = -1;
  int64_t max_capacity = -1;

  bool operator==(const FieldSchema&) const = default;
};

/// A struct array: a list of records in every row. It is stored by its sub-fields, which are fields of type ARRAY named
/// "struct[sub]"; the arrays of one row are of one length, or all NULL.
struct StructArraySchema {
  int64_t field_id = 0;
  std::string name;
  std::string description;
  bool nullable = false;
  KeyValues type_params;

  bool operator==(const StructArraySchema&) const = default;
};

/// "struct[sub]".
std::string SubFieldName(std::string_view struct_name, std::string_view sub_name);
/// The part of a sub-field's name between the brackets.
std::string_view ShortSubFieldName(const FieldSchema& sub_field);

/// A collection's fields in declaration order; `$meta` is the last one where dynamic fields are enabled.
struct CollectionSchema {
  std::string name;
  std::string description;
  bool auto_id = false;
  bool enable_dynamic_field = false;
  std::vector<FieldSchema> fields;  ///< those of struct arrays among them
  std::vector<StructArraySchema> struct_arrays;
  int32_t version = 0;  ///< raised by every schema change

  bool operator==(const CollectionSchema&) const = default;

  [[nodiscard]] const FieldSchema* Find(std::string_view field_name) const;
  [[nodiscard]] const FieldSchema* FindById(int64_t field_id) const;
  /// A struct array, or nullptr.
  [[nodiscard]] const StructArraySchema* FindStructArray(std::string_view struct_name) const;
  /// Sub-fields of a struct array in order.
  [[nodiscard]] std::vector<const FieldSchema*> SubFields(std::string_view struct_name) const;
  /// The primary key; a validated schema has exactly one.
  [[nodiscard]] const FieldSchema& primary() const;
  /// The `$meta` field, or nullptr.
  [[nodiscard]] const FieldSchema* dynamic_field() const;
  /// The partition key, or nullptr.
  [[nodiscard]] const FieldSchema* partition_key() const;
  /// All vector fields in order.
  [[nodiscard]] std::vector<const FieldSchema*> vector_fields() const;
};

/// Writes a schema as JSON text (the catalog's form, see docs/formats.md).
std::string SchemaToJson(const CollectionSchema& schema);
/// Reads what SchemaToJson wrote.
Result<CollectionSchema> SchemaFromJson(std::string_view json);

}  // namespace quiver
