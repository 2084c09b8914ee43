#include "api/request_cost.h"

#include <algorithm>

#include "query/key_rows.h"
#include "segment/segment.h"

namespace quiver::api {
namespace {

/// Of one query on the index of one segment.
constexpr uint64_t kIndexedQueryBytes = 1 << 20;
/// Of a row that is not a vector of fixed width.
constexpr uint64_t kLeastRowBytes = 256;
/// Vectors that a row of an array of vectors is taken to have.
constexpr uint64_t kRowVectors = 16;
/// Of a row under a filter.
constexpr uint64_t kFilteredRowBytes = 16;

/// Whether a filter must be looked at to know how many rows it leaves.
bool Filters(const expr::Filter* filter) { return filter != nullptr && !filter->always_true(); }

}  // namespace

uint64_t FilterBytes(const engine::Collection& collection, const expr::Filter* filter) {
  if (!Filters(filter) || filter->primary_keys() != nullptr) return 0;
  engine::Timestamp floor = 0;
  const auto segments = collection.segments(floor);
  uint64_t rows = 0;
  for (const auto& segment : segments) rows += segment->row_count();
  // Where all rows are no bulk, nothing has to be looked up to know that those of the filter are none.
  if (rows * kFilteredRowBytes <= kBulkBytes) return rows * kFilteredRowBytes;
  rows = 0;
  for (const auto& segment : segments) {
    rows += query::MostMatches(*collection.info(), *segment, *filter);
  }
  return rows * kFilteredRowBytes;
}

SearchCost CostOf(SearchPlan& plan) {
  const FieldSchema& field = *plan.field;
  const bool arrays = field.type == DataType::kArrayOfVector;
  const uint64_t vector_bytes = FixedWidth(arrays ? field.element_type : field.type, field.dim);
  const uint64_t row_bytes = std::max(arrays ? kRowVectors * vector_bytes : vector_bytes, kLeastRowBytes);
  uint64_t queries = std::max<uint64_t>(plan.queries.size(), 1);
  // Each vector of a list is a query.
  if (arrays && IsMaxSim(plan.request.metric)) queries *= kRowVectors;
  const expr::Filter* filter = plan.request.filter.get();
  SearchCost cost;
  engine::Timestamp floor = 0;
  for (const auto& segment : plan.collection->segments(floor)) {
    uint64_t rows = segment->row_count();
    if (Filters(filter) && filter->primary_keys() == nullptr) {
      if (filter->partition_key_values() == nullptr) {
        rows = query::MostMatches(*plan.info, *segment, *filter);
      } else {
        query::SegmentKeyRows& known = plan.request.key_rows.emplace_back(segment);
        rows = query::MostMatches(*plan.info, *segment, *filter, &known.rows);
      }
      cost.scanned += rows * kFilteredRowBytes;
      cost.total += rows * kFilteredRowBytes;
    }
    const uint64_t scan = rows * row_bytes;
    const bool indexed =
        plan.request.index && segment->sealed() && segment->FindIndex(plan.request.index->index_id) != nullptr;
    cost.total += queries * (indexed ? std::min(scan, kIndexedQueryBytes) : scan);
    if (!indexed) cost.scanned += scan;
  }
  return cost;
}

}  // namespace quiver::api
