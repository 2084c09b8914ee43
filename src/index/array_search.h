// File: index/array_search.h
// Exact search over the raw values of a field that holds an array of vectors in every row (schema/column.h).
//
// Two kinds of metrics (schema/data_type.h):
//   MAX_SIM ...   a query is a list of vectors, too, and a hit is a row: each vector of the query takes its best score
//                 among the row's vectors, and these are summed up
//   all others    a query is one vector and a hit is one vector of a row, an element: HitRow and HitElement tell which
// Scores of single pairs are those of FlatScan. Rows without vectors, null or empty, are no hits.
// Thread rule: ArrayQueries is immutable after Make and may be shared by threads; ArrayScratch belongs to one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "index/flat_search.h"
#include "schema/column.h"
#include "schema/data_type.h"

namespace quiver::index {

/// Bits of a hit's row id that tell the element; an array has at most limits::kMaxArrayCapacity of them.
constexpr unsigned kElementShift = 52;
/// The id that is offered for an element of a row; row ids stay below 1 << kElementShift.
constexpr uint64_t ElementId(uint64_t row, uint32_t element) { return uint64_t{element} << kElementShift | row; }
/// The row of a hit, of an element or of the whole row.
constexpr uint64_t HitRow(uint64_t id) { return id & ((uint64_t{1} << kElementShift) - 1); }
/// The element of a hit; 0 of a row.
constexpr uint32_t HitElement(uint64_t id) { return static_cast<uint32_t>(id >> kElementShift); }

/// Queries of one field of vector arrays, prepared once.
class ArrayQueries {
 public:
  /// Prepares `queries` for arrays of `element_type`, a dense vector type: of a MAX_SIM metric one or more vectors back
  /// to back each, otherwise one vector each. The bytes are copied. `kernels` is for tests. Error 1100 for a metric
  /// that does not fit the type and for a query of a wrong length.
  static Result<ArrayQueries> Make(DataType element_type, int64_t dim, MetricType metric,
                                   const std::vector<std::string_view>& queries,
                                   const simd::KernelTable& kernels = simd::Kernels());

  [[nodiscard]] size_t nq() const { return ends_.size(); }
  [[nodiscard]] MetricType metric() const { return metric_; }
  /// The vectors of all queries.
  [[nodiscard]] const FlatQueries& vectors() const { return vectors_; }
  /// Vectors of query q are [begin(q), end(q)).
  [[nodiscard]] size_t begin(size_t q) const { return q == 0 ? 0 : ends_[q - 1]; }
  [[nodiscard]] size_t end(size_t q) const { return ends_[q]; }

 private:
  ArrayQueries(MetricType metric, FlatQueries vectors, std::vector<size_t> ends)
      : metric_(metric), vectors_(std::move(vectors)), ends_(std::move(ends)) {}

  MetricType metric_;
  FlatQueries vectors_;
  std::vector<size_t> ends_;
};

/// Work buffers of ArrayScan. They grow with the first use.
class ArrayScratch {
 public:
  ArrayScratch();
  ArrayScratch(ArrayScratch&&) noexcept;
  ArrayScratch& operator=(ArrayScratch&&) noexcept;
  ~ArrayScratch();

  struct Impl;  ///< private to the layer
  [[nodiscard]] Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Gives for a row of a view the ascending numbers of the elements that may be offered.
using KeptElements = std::function<std::span<const uint16_t>(size_t row)>;

/// Scores the rows of `arrays` whose bit in `mask` is set (bit i % 64 of word i / 64; nullptr = all) and that are not
/// null against all queries; offers row i of the view to results[query] as `first_row + i`, or its elements as
/// ElementId(first_row + i, element). results.size() == nq().
/// With `kept` (may be empty; not with MAX_SIM) only those elements count that it names.
void ArrayScan(const ArrayQueries& queries, const ColumnView& arrays, const uint64_t* mask, uint64_t first_row,
               const KeptElements& kept, std::span<TopK> results, ArrayScratch& scratch);

}  // namespace quiver::index
