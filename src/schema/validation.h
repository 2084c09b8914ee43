// File: schema/validation.h
// Checks everything that a client says about names, schemas and rows, with the published error texts, before anything
// is written.
//
//   QUIVER_RETURN_IF_ERROR(ValidateCollectionName(name));
//   QUIVER_RETURN_IF_ERROR(ValidateSchema(schema));                    // assigns field ids, appends $meta
//   ...
//   QUIVER_RETURN_IF_ERROR(ValidateBatch(schema, batch, {.kind = WriteKind::kInsert}));
//   QUIVER_RETURN_IF_ERROR(CompleteBatch(schema, batch));              // fills what the client may leave out
//
// Errors: kInvalidParameter (1100) unless said. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "schema/collection_schema.h"
#include "schema/column.h"

namespace quiver {

// Names ---------------------------------------------------------------------------------------------------------------

Status ValidateCollectionName(std::string_view name);
Status ValidateAliasName(std::string_view alias);
Status ValidatePartitionName(std::string_view name);
/// Error: kFieldInvalidName (1701).
Status ValidateFieldName(std::string_view name);
/// An empty name is allowed: the field's name is used then.
Status ValidateIndexName(std::string_view name);
/// Error: kDatabaseInvalidName (802).
Status ValidateDatabaseName(std::string_view name);

// Schemas -------------------------------------------------------------------------------------------------------------

/// Parses a switch as published properties spell it: true and false in any case, 1, t, T, 0, f, F; nothing else.
std::optional<bool> ParseSwitch(std::string_view text);

/// Checks a schema of CreateCollection and completes it: parses `dim`, `max_length` and `max_capacity` from the fields'
/// type_params, gives field ids from 100 in order, and appends `$meta` where dynamic fields are enabled.
Status ValidateSchema(CollectionSchema& schema);

/// Checks a field of AddCollectionField against the collection's schema and parses its type_params. The caller gives
/// the field id.
Status ValidateAddedField(const CollectionSchema& schema, FieldSchema& field);

/// As ValidateAddedField, of a struct array with its sub-fields, which are named "struct[sub]".
Status ValidateAddedStructArray(const CollectionSchema& schema, const StructArraySchema& added,
                                std::vector<FieldSchema>& sub_fields);

/// Checks `shards_num` and `num_partitions` of CreateCollection (0 = the default for both).
Status ValidateShardsAndPartitions(const CollectionSchema& schema, int64_t shards_num, int64_t num_partitions);

/// Checks collection properties (CreateCollection, AlterCollection): types and ranges of the known keys; unknown keys
/// are kept as they are, as published.
Status ValidateProperties(const CollectionSchema& schema, const KeyValues& properties);

/// Checks AlterCollectionField: only max_length, max_capacity, mmap.enabled, warmup and field.description may change.
/// The spelling `mmap_enabled` is replaced by `mmap.enabled` in both lists.
Status ValidateFieldProperties(const FieldSchema& field, KeyValues& set, std::vector<std::string>& delete_keys);

// Rows ----------------------------------------------------------------------------------------------------------------

enum class WriteKind : uint8_t { kInsert, kUpsert };

struct BatchRules {
  WriteKind kind = WriteKind::kInsert;
  bool allow_insert_auto_id = false;  ///< collection property: the client may give primary keys that are auto ids
  bool partial_update = false;        ///< upsert: absent columns keep their old values, so none is required but the key
};

/// Checks the rows of a write: columns present, absent and unknown, equal row counts, nulls, string lengths in bytes,
/// array capacities, JSON, dynamic keys, NaN and infinity, sparse vectors, UTF-8. Columns are named by field id; the
/// `$meta` column is optional. The first fault found is named with field and row; nothing is changed.
Status ValidateBatch(const CollectionSchema& schema, const ColumnBatch& batch, const BatchRules& rules);

/// Makes a validated batch whole: adds absent columns (default value, NULL, `{}` for `$meta`), replaces nulls of fields
/// that have a default value by it, turns empty JSON values into NULL or `null`, and orders columns by field id. An
/// auto-id primary key stays absent; the engine gives it.
Status CompleteBatch(const CollectionSchema& schema, ColumnBatch& batch);

}  // namespace quiver
