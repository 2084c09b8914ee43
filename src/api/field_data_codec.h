// File: api/field_data_codec.h
// Rows as they travel (FieldData, one message per column) and as the engine keeps them (Column).
//
// On the way in null rows are left out of the data and marked in valid_data; a Column holds them as empty places. On
// the way out scalars stay dense (a placeholder at null rows) and vectors are compact. Decoding checks the form (type,
// row count, dimension, ranges that would not fit the column); the values are checked by schema/validation.h. Thread
// rule: pure functions.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "api/wire.h"
#include "base/status.h"
#include "schema/collection_schema.h"
#include "schema/column.h"
#include "schema/timestamp.h"

namespace quiver::api {

/// Decodes the values of `field`. Errors: kInvalidParameter in the published wording. float32 data for a 16-bit float
/// field is converted; a sparse row that is not sorted is sorted; moments without an offset are times of `zone`.
Result<Column> DecodeColumn(const wire::schema::FieldData& data, const FieldSchema& field, size_t num_rows,
                            const TimeZone& zone = {});

/// Decodes the columns of an insert or upsert, one per field that was sent. The column marked is_dynamic, or named
/// `$meta`, is the dynamic field. Errors: kFieldNotFound for a name that the schema does not have, kInvalidParameter.
Result<ColumnBatch> DecodeRows(const google::protobuf::RepeatedPtrField<wire::schema::FieldData>& columns,
                               const CollectionSchema& schema, size_t num_rows, const TimeZone& zone = {});

/// Returns a sparse row (pairs of index and value, a multiple of 8 bytes) with the pairs in order of index; equal
/// indices stay for the validation to find.
std::string SortSparseRow(std::string_view row);

/// Writes `column`, which holds values of `field`, to `out`; moments are shown in `zone`.
void EncodeColumn(const Column& column, const FieldSchema& field, wire::schema::FieldData* out,
                  const TimeZone& zone = {});

/// Writes the columns of `field_ids`, in this order; sub-fields of one struct array that follow each other become one
/// message.
void EncodeColumns(const std::vector<Column>& columns, const std::vector<int64_t>& field_ids,
                   const CollectionSchema& schema, const TimeZone& zone,
                   google::protobuf::RepeatedPtrField<wire::schema::FieldData>* out);

/// Writes primary keys.
void EncodeIds(const Column& keys, wire::schema::IDs* out);

}  // namespace quiver::api
