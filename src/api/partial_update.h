// File: api/partial_update.h
// Partial update: an upsert whose rows leave out columns that keep their old values. Thread rule: pure functions on an
// immutable view.
#pragma once

#include "base/status.h"
#include "engine/engine.h"
#include "query/search.h"
#include "schema/column.h"

namespace quiver::api {

/// Adds the columns that `batch` leaves out, with the values that the rows of the same keys have in `view`; sent
/// dynamic keys are merged into the stored ones. A row whose key does not exist yet gets defaults and nulls. Errors:
/// kInvalidParameter where such a row lacks a field that has neither.
Status FillFromStored(const engine::ReadView& view, const query::Cancelled& cancelled, ColumnBatch* batch);

}  // namespace quiver::api
