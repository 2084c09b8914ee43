// File: query/aggregate.h
// Aggregates over the matching rows of a view, with and without GROUP BY.
//
// NULL counts as in SQL: count(field), sum, avg, min and max skip it, the last four of no value are NULL; rows whose
// group key is NULL form a group of their own.
// Thread rule: pure functions over an immutable view.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "expr/filter.h"
#include "query/search.h"
#include "schema/column.h"

namespace quiver::query {

enum class AggregateKind : uint8_t { kCount, kSum, kAvg, kMin, kMax };

struct Aggregate {
  AggregateKind kind = AggregateKind::kCount;
  int64_t field_id = -1;  ///< -1: count(*)
};

/// Type of the result: INT64 of count and of sums of integers, DOUBLE of other sums and of avg, the field's own type of
/// min and max; kNone where the aggregate has no meaning for the type.
DataType AggregateType(AggregateKind kind, DataType type);

/// Returns whether rows can be grouped by a field of the type: bool, integers, VARCHAR.
bool CanGroupBy(DataType type);

struct AggregateRequest {
  engine::ReadView view;
  std::shared_ptr<const expr::Filter> filter;  ///< nullptr = all rows
  std::vector<int64_t> group_by;               ///< field ids; empty = one row over everything
  std::vector<Aggregate> aggregates;           ///< checked with AggregateType
  std::optional<size_t> limit;                 ///< groups
  size_t offset = 0;                           ///< groups
  Cancelled cancelled;
  Explanation* explanation = nullptr;  ///< filled where it is given
};

/// One column per group field, then one per aggregate; groups ascending by their key, NULL first. Without group_by
/// exactly one row, also over nothing. Errors: kInvalidParameter where a sum of integers leaves INT64, kFieldNotFound,
/// kCorruption, kCancelled.
Result<ColumnBatch> RunAggregates(const AggregateRequest& request);

}  // namespace quiver::query
