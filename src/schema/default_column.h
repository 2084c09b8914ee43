// File: schema/default_column.h
// DefaultColumn: what rows hold that lack a column, because the client left it out or the field was added later.
#pragma once

#include "schema/collection_schema.h"
#include "schema/column.h"

namespace quiver {

/// Makes `rows` equal values: the field's default value, else NULL where nullable, else `{}` for `$meta`, else zero.
Column DefaultColumn(const FieldSchema& field, size_t rows);

/// Appends a scalar constant in the field's own width; the value's kind must fit the field's type.
void AppendScalar(Column& column, const ScalarValue& value);

}  // namespace quiver
