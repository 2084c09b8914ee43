// File: index/internal/row_scorer.h
// Scores rows exactly from raw vectors, wherever those lie.
// Thread rule: may be shared while what it refers to lives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "index/flat_search.h"
#include "index/growing_index.h"

namespace quiver::index {

class RowScorer {
 public:
  virtual ~RowScorer() = default;
  /// scores[i] of row rows[i]; NaN where it is no hit.
  virtual void Score(std::span<const uint32_t> rows, float* scores) const = 0;
};

/// The raw vectors of rows in pages.
class PageScorer final : public RowScorer {
 public:
  PageScorer(const FlatQueries& queries, size_t query, const PagedColumn& column)
      : queries_(queries), query_(query), column_(column) {}
  void Score(std::span<const uint32_t> rows, float* scores) const override;

 private:
  const FlatQueries& queries_;
  size_t query_;
  const PagedColumn& column_;
};

}  // namespace quiver::index
