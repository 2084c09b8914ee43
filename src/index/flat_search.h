// File: index/flat_search.h
// Exact search over the raw values of one vector field: TopK collects, FlatQueries holds the prepared queries,
// FlatScan scores all rows that a mask keeps, ScoreRows scores a few given rows.
//
//   QUIVER_ASSIGN_OR_RETURN(auto queries, FlatQueries::Make(DataType::kFloatVector, 384, MetricType::kIp, raw));
//   std::vector<TopK> results(queries.nq(), TopK(10, MetricType::kIp));
//   FlatScratch scratch;                                     // one per thread, reused between requests
//   for (const auto& page : pages) FlatScan(queries, page.view, page.mask, page.first_row, results, scratch);
//   std::vector<Hit> hits = results[0].TakeSorted();
//
// Scores are what a client sees:
//   kL2            squared Euclidean distance
//   kIp            inner product; of sparse vectors the sum over shared indices
//   kCosine        cosine in [-1, 1]; 0 where either vector is zero
//   kHamming       number of differing bits
//   kJaccard       1 - |and| / |or|; 0 where both are empty
//   kSubstructure, kSuperstructure   0 where the row's bits are a subset / a superset of the query's
// A row that is no hit at any rank scores NaN, and TopK never takes NaN: a dense row (or query) with NaN in it, a row
// that fails the structure predicate, a sparse row that shares no non-zero index with the query.
//
// Invariant: within one process a (query, row) pair always has the same score, bit for bit, whatever the batch, page,
// mask, alignment or function that scored it.
// Thread rule: FlatQueries is immutable after Make and may be shared by threads; TopK and FlatScratch belong to one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "schema/column.h"
#include "schema/data_type.h"
#include "simd/kernels.h"

namespace quiver::index {

/// One result row: its score as the client sees it, and the row id that was offered.
struct Hit {
  float score = 0;
  uint64_t row = 0;

  bool operator==(const Hit&) const = default;
};

/// Keeps the k best hits of one query, best score first, ties by row id ascending (so the kept set does not depend on
/// the order of offers).
class TopK {
 public:
  /// Takes up to `k` hits; k = 0 takes none.
  TopK(size_t k, MetricType metric);

  /// Limits hits to a score range, bounds as published: distances keep range_filter <= d < radius, similarities keep
  /// radius < s <= range_filter. Call before the first Offer.
  void SetRange(std::optional<float> radius, std::optional<float> range_filter);

  /// Takes the row if it is in range and may be among the k best so far; returns whether it was taken (a later, better
  /// row may push it out). NaN is never taken.
  bool Offer(float score, uint64_t row) {
    const float key = similarity_ ? -score : score;
    if (!(key <= bound_)) return false;
    return Insert(key, row);
  }

  /// Makes room for `rows` more offers, within reason: copies of a collector do not inherit its room.
  void Reserve(size_t rows);

  /// Returns a score that every hit still to be taken must reach: before k hits are kept the radius, or +inf / -inf
  /// without one; then the worst kept score (for large k that of a little while ago). A score equal to it may still
  /// lose (ties, open end of the range).
  [[nodiscard]] float threshold() const { return similarity_ ? -bound_ : bound_; }
  /// Hits must not be better than this key (the score, negated for similarities); -inf without a range filter.
  [[nodiscard]] float least_key() const { return range_filter_key_; }
  [[nodiscard]] size_t size() const { return std::min(entries_.size(), k_); }
  [[nodiscard]] size_t k() const { return k_; }
  [[nodiscard]] MetricType metric() const { return metric_; }

  /// Returns the kept hits, best first, and leaves the collector empty (its range stays).
  std::vector<Hit> TakeSorted();

 private:
  /// Entries hold the key: the score, negated for similarities, so that smaller is better.
  bool Insert(float key, uint64_t row);
  bool InsertInHeap(const Hit& entry);
  /// Drops all but the k best and tightens the bound.
  void Prune();
  void ResetBound();

  size_t k_;
  size_t capacity_;  ///< entries at which a buffer is pruned
  MetricType metric_;
  bool similarity_;
  float bound_;  ///< a key above it is refused without a look at the entries
  float radius_key_ = std::numeric_limits<float>::infinity();         ///< keys must be below it, if has_radius_
  float range_filter_key_ = -std::numeric_limits<float>::infinity();  ///< keys must not be below it
  bool has_radius_ = false;
  std::vector<Hit> entries_;  ///< small k: a heap, worst first; large k: a buffer of up to capacity_
};

/// Queries of one vector field, prepared once: widened values, norms, quantised copies for large batches, sparse
/// lookup.
class FlatQueries {
 public:
  /// Prepares `queries`: raw bytes of the field's own type, as in a column (sparse: pairs of u32 index and f32 value,
  /// sorted by index). `dim` counts values (binary: bits; sparse: ignored). The bytes are copied. `kernels` is for
  /// tests. Error 1100 for a metric that does not fit the type and for a query of a wrong length.
  static Result<FlatQueries> Make(DataType type, int64_t dim, MetricType metric,
                                  const std::vector<std::string_view>& queries,
                                  const simd::KernelTable& kernels = simd::Kernels());

  FlatQueries(FlatQueries&&) noexcept;
  FlatQueries& operator=(FlatQueries&&) noexcept;
  ~FlatQueries();

  [[nodiscard]] size_t nq() const;
  [[nodiscard]] DataType type() const;
  [[nodiscard]] int64_t dim() const;
  [[nodiscard]] MetricType metric() const;
  /// Writes the dim() values of a dense query as floats, as they were given.
  void CopyValues(size_t query, float* out) const;
  /// Returns the bits of a binary query, dim() / 8 bytes.
  [[nodiscard]] const std::byte* Bits(size_t query) const;

  struct Impl;  ///< private to the layer
  [[nodiscard]] const Impl& impl() const { return *impl_; }

 private:
  explicit FlatQueries(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Writes the `dim` values of one row of a dense vector type as floats.
void WidenVector(DataType type, const std::byte* row, size_t dim, float* out,
                 const simd::KernelTable& kernels = simd::Kernels());

/// Work buffers of FlatScan. They grow with the first use; later scans of the same shape allocate nothing.
class FlatScratch {
 public:
  FlatScratch();
  FlatScratch(FlatScratch&&) noexcept;
  FlatScratch& operator=(FlatScratch&&) noexcept;
  ~FlatScratch();

  struct Impl;  ///< private to the layer
  [[nodiscard]] Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Scores the rows of `vectors` whose bit in `mask` is set (bit i % 64 of word i / 64; nullptr = all) and that are not
/// null against all queries; offers row i of the view to results[query] as row id `first_row + i`. results.size() ==
/// nq(). `vectors` has the queries' type and any number of rows; the last mask word may hold set bits past the end.
void FlatScan(const FlatQueries& queries, const ColumnView& vectors, const uint64_t* mask, uint64_t first_row,
              std::span<TopK> results, FlatScratch& scratch);

/// As FlatScan, for the listed rows of the view, ascending.
void FlatScanListed(const FlatQueries& queries, const ColumnView& vectors, std::span<const uint32_t> rows,
                    uint64_t first_row, std::span<TopK> results, FlatScratch& scratch);

/// Writes to scores[i] the score of row rows[i] of the view against one query (NaN: no hit; null rows score NaN).
void ScoreRows(const FlatQueries& queries, size_t query, const ColumnView& vectors, std::span<const uint32_t> rows,
               float* scores);

}  // namespace quiver::index
