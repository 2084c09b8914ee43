// File: expr/term_index.h
// TermIndex: what an index over a segment can say of single terms of a filter, and SelectByIndexes, which answers as
// much of a whole filter as is worth it. Indexes implement the interface (src/index); evaluation of what is left is
// Filter::EvaluateRest.
//
//   const std::optional<IndexedRows> found = SelectByIndexes(filter.predicate(), segment_rows, indexes);
//   if (found && found->exact) ...                         // found->rows is the answer
//   if (found) filter.EvaluateRest(page, found->settled, candidates_of_page, mask);
//
// Thread rule: indexes are immutable; SelectByIndexes is a pure function.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "expr/predicate.h"
#include "expr/row_set.h"

namespace quiver::expr {

class FilterTrace;  // expr/filter_trace.h

/// The rows that an index gives for one term. Lives no longer than its index.
class TermAnswer {
 public:
  virtual ~TermAnswer() = default;
  /// Adds the rows to `rows`.
  virtual void AddTo(RowSet* rows) const = 0;

  uint64_t least = 0;  ///< at least so many rows will be given,
  uint64_t most = 0;   ///< and at most so many
  /// Exactly the rows for which the term is true are given; otherwise the true ones are among them.
  bool exact = true;
  double nanoseconds = 0;  ///< what AddTo will take, roughly
};

class TermIndex {
 public:
  virtual ~TermIndex() = default;
  /// The rows for which `term` (no chain, no negation) is true; a comparison by != is taken as one by ==. nullptr where
  /// the index does not know, or where asking it would take longer than a scan.
  [[nodiscard]] virtual std::unique_ptr<TermAnswer> Answer(const Predicate& term) const = 0;
  /// The rows whose field is NULL: for these every term that it answers is unknown, kIsNull aside.
  [[nodiscard]] virtual std::span<const uint32_t> null_rows() const = 0;
};

/// What indexes say of a filter.
struct IndexedRows {
  RowSet rows;         ///< a row outside of these does not pass
  bool exact = false;  ///< and every row inside passes
  /// Bit i: operand i of the top-level `and` holds for all of `rows` and needs no evaluation.
  uint64_t settled = 0;
};

/// Nothing where a scan is faster or no index helps. `rows`: of the segment. `scan_factor`: how much dearer than usual
/// a scan is (tests make it so dear that indexes are always asked).
/// `trace` (may be nullptr) is told what was compared and which index answered what.
std::optional<IndexedRows> SelectByIndexes(const Predicate& filter, uint32_t rows,
                                           std::span<const TermIndex* const> indexes, double scan_factor = 1,
                                           FilterTrace* trace = nullptr);

}  // namespace quiver::expr
