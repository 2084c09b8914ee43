// File: query/scan_queries.h
// The queries of a search, prepared for scanning a field of any vector type.
// Thread rule: immutable after Make, may be shared by threads; each brings its own ScanScratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "expr/element_condition.h"
#include "index/array_search.h"
#include "index/flat_search.h"
#include "query/search.h"
#include "schema/collection_schema.h"
#include "segment/segment.h"

namespace quiver::query {

/// Work buffers of a scan.
struct ScanScratch {
  index::FlatScratch flat;
  index::ArrayScratch arrays;
  expr::RowElements elements;
};

class ScanQueries {
 public:
  /// Prepares `queries`, some of those of the request. Errors: those of FlatQueries::Make and ArrayQueries::Make.
  static Result<ScanQueries> Make(const SearchRequest& request, const FieldSchema& field,
                                  const std::vector<std::string_view>& queries);

  /// Number of queries, which may be lists of vectors.
  [[nodiscard]] size_t nq() const;
  /// About how many products of values one row costs, for all queries together.
  [[nodiscard]] double work_per_row() const;
  /// The vectors of all queries.
  [[nodiscard]] const index::FlatQueries& vectors() const;

  /// Scores rows [first, first + rows) of a segment, those that `mask` holds (nullptr = all), and offers them to
  /// results[query] as `first_id` + i; of a search for elements ElementIds of that, those that the element_filter
  /// keeps. Returns whether the segment has the field. Errors: those of the segment.
  Result<bool> Scan(const segment::Segment& segment, uint32_t first, uint32_t rows, const uint64_t* mask,
                    uint64_t first_id, std::span<index::TopK> results, ScanScratch& scratch) const;
  /// As above, for rows of the segment, ascending; `first_id` is that of its first row.
  Result<bool> ScanListed(const segment::Segment& segment, std::span<const uint32_t> listed, uint64_t first_id,
                          std::span<index::TopK> results, ScanScratch& scratch) const;

 private:
  ScanQueries(int64_t field_id, index::FlatQueries queries) : field_id_(field_id), queries_(std::move(queries)) {}
  ScanQueries(int64_t field_id, index::ArrayQueries queries) : field_id_(field_id), queries_(std::move(queries)) {}

  [[nodiscard]] Result<ColumnView> WholeColumn(const segment::Segment& segment, std::span<const uint32_t> listed) const;
  Result<bool> ScanListedByPage(const segment::Segment& segment, std::span<const uint32_t> listed, uint64_t first_id,
                                std::span<index::TopK> results, ScanScratch& scratch) const;

  int64_t field_id_;
  std::variant<index::FlatQueries, index::ArrayQueries> queries_;
  std::unique_ptr<const expr::ElementCondition> condition_;  ///< of a search for elements, where the filter has one
};

}  // namespace quiver::query
