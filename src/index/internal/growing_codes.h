// File: index/internal/growing_codes.h
// GrowingCodes: what rows that keep coming are compared by, in arrays of fixed places that never move: SQ8 codes of a
// CodeSpace that was fitted to a sample of the first rows, or the bits of binary vectors.
// Thread rule: Add and what is said to be the linker's by one thread; a row may be read by others once its owner has
// published it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "index/internal/graph_codes.h"
#include "index/internal/huge_array.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Rows in ascending order, appended by one thread and read by others.
class RowList {
 public:
  explicit RowList(uint32_t capacity) : rows_(HugeArray<uint32_t>::Room(capacity)) {}
  void Append(uint32_t row) {
    const uint32_t count = count_.load(std::memory_order_relaxed);
    rows_[count] = row;
    count_.store(count + 1, std::memory_order_release);
  }
  /// Those below `end`.
  [[nodiscard]] std::span<const uint32_t> Below(uint32_t end) const {
    const std::span<const uint32_t> all = rows_.span().first(count_.load(std::memory_order_acquire));
    return all.first(static_cast<size_t>(std::lower_bound(all.begin(), all.end(), end) - all.begin()));
  }
  [[nodiscard]] uint32_t count() const { return count_.load(std::memory_order_acquire); }

 private:
  HugeArray<uint32_t> rows_;
  std::atomic<uint32_t> count_{0};
};

class GrowingCodes {
 public:
  /// `halves`: coarse halves are kept, too, for walks. `lengths_differ`: as of GrowingIndex::Make.
  GrowingCodes(const IndexRecipe& recipe, uint32_t capacity, const ColumnView& sample, bool lengths_differ,
               bool halves);
  /// Bytes that each row takes.
  static uint64_t BytesPerRow(const IndexRecipe& recipe, bool halves);

  /// Linker: takes a row, the `within`-th of `page`. Rows of other kinds than kPoint have no code.
  RowKind Add(uint32_t row, const ColumnView& page, uint32_t within);
  /// What lies behind the first `used` rows is to come in huge pages.
  void AdviseBeyond(uint32_t used);

  [[nodiscard]] bool binary() const { return !space_; }
  /// Of vectors that are encoded; nullptr: they are bits.
  [[nodiscard]] const CodeSpace* space() const { return space_ ? &*space_ : nullptr; }
  [[nodiscard]] bool by_product() const { return space_ && space_->by_product(); }
  [[nodiscard]] const GraphPoints& points() const { return points_; }
  [[nodiscard]] const WalkPoints& walk_points() const { return walk_points_; }
  [[nodiscard]] const codec::Sq8Factors& factors(uint32_t row) const { return factors_[row]; }
  /// The row as a query.
  [[nodiscard]] GraphQuery QueryOf(uint32_t row) const;
  /// Scale of codes of late.
  [[nodiscard]] float usual_scale() const { return usual_scale_.load(std::memory_order_relaxed); }
  /// Rows that codes do not hold for; and those without a direction, by COSINE.
  [[nodiscard]] const RowList& strays() const { return strays_; }
  [[nodiscard]] const RowList& zeros() const { return zeros_; }

  /// Linker: looks at the rows that came since it did so last.
  void Review();
  /// Linker: rows of late lie elsewhere than those of the sample.
  [[nodiscard]] bool drifted() const { return drifted_; }
  /// Linker: of `rows` rows by IP too many are of another length than all were taken to be.
  [[nodiscard]] bool lengths_differ(uint32_t rows) const;

 private:
  void Encode(uint32_t row, const std::byte* vector);

  std::optional<CodeSpace> space_;
  const size_t dim_;  ///< of codes
  HugeArray<int8_t> codes_;
  HugeArray<uint8_t> coarse_;
  HugeArray<codec::Sq8Factors> factors_;
  HugeArray<CoarseFactors> coarse_factors_;
  HugeArray<float> shifts_;
  HugeArray<std::byte> bits_;  ///< of binary vectors, in place of all of these
  GraphPoints points_;
  WalkPoints walk_points_;
  RowList strays_, zeros_;
  std::atomic<float> usual_scale_{0};
  // Linker only.
  CodeSpace::Work work_;
  std::vector<uint8_t> fine_;
  uint32_t strangers_ = 0;
  bool drifted_ = false;
  double sample_norm_ = 0;
  double norms_ = 0, scales_ = 0;  ///< sums over the rows since the last review
  uint32_t encoded_ = 0;
};

}  // namespace quiver::index
