// File: expr/evaluator.h
// Evaluator: the executable form of a Predicate. Rows are evaluated in chunks of up to kChunkRows; a result is two bit
// maps (is the row true, is it known at all), so that three-valued logic is a few word operations. One virtual call per
// node and chunk, none per row.
// Thread rule: immutable once built; Evaluate may run on many threads.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "expr/column_source.h"
#include "expr/predicate.h"
#include "schema/column.h"

namespace quiver::expr {

inline constexpr size_t kWordBits = 64;
inline constexpr size_t kChunkRows = 4096;
inline constexpr size_t kChunkWords = kChunkRows / kWordBits;

using BitWords = std::array<uint64_t, kChunkWords>;

/// Bit i of is_true: row i satisfies the predicate. Bit i of is_known: it is true or false (is_true is a subset of it).
struct Truth {
  BitWords is_true;
  BitWords is_known;
};

class Evaluator;
class FilterTrace;
class JsonKeyTable;

/// A run of rows to evaluate. `columns[slot]` starts at the first row of the chunk.
struct Chunk {
  size_t rows = 0;
  size_t words = 0;
  const ColumnView* columns = nullptr;
  const ColumnView* paths = nullptr;  ///< of JSON paths, by their own slots; not present() where the page has no column
  /// By slot: set where `columns` has documents in binary form (expr/json_form.h), not as text. nullptr: of no slot.
  const JsonKeyTable* const* json_keys = nullptr;
  const PageFacts* const* facts = nullptr;  ///< by slot, nullptr where none are known; nullptr: of no slot
  uint64_t first_row_id = 0;
  /// A chain of which some terms are known to hold for every active row: bit i = operand i of its predicate.
  const Evaluator* settled_chain = nullptr;
  uint64_t settled = 0;

  [[nodiscard]] const PageFacts* FactsOf(size_t slot) const { return facts == nullptr ? nullptr : facts[slot]; }
};

/// Which truths a predicate may have in a chunk, as far as is known without reading values.
struct Outcomes {
  bool may_be_true = true;
  bool may_be_false = true;
  bool may_be_unknown = true;

  [[nodiscard]] bool decided() const {
    return static_cast<int>(may_be_true) + static_cast<int>(may_be_false) + static_cast<int>(may_be_unknown) == 1;
  }
};

class Evaluator {
 public:
  virtual ~Evaluator() = default;
  /// Fills the first `chunk.words` words of `out`. Only rows set in `active` matter: the bits of others are left to
  /// chance (no bit at or beyond chunk.rows is active). Without `need_known`, is_known is left alone, and is_true is 0
  /// for unknown rows.
  virtual void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const = 0;
  /// Keeps, of `count` (at least 1) ascending positions of rows in the chunk, those that are true; returns how many are
  /// left in front. For rows so few that passes over the words of a chunk would be most of the work.
  virtual size_t Keep(const Chunk& chunk, uint16_t* rows, size_t count) const;
  /// Rough price of one row, to run cheap terms first.
  [[nodiscard]] virtual int cost() const = 0;
  /// What the facts of the chunk say; reads chunk.rows and chunk.facts only.
  [[nodiscard]] virtual Outcomes Judge(const Chunk& /*chunk*/) const { return {}; }
  /// Share of rows expected to be true, by the facts where there are any.
  [[nodiscard]] virtual double Selectivity(const Chunk& /*chunk*/) const { return 0.5; }
  /// What Chunk::settled_chain means by this: of a counting one, the evaluator that it counts for.
  [[nodiscard]] virtual const Evaluator* counted() const { return this; }
  /// A chain of terms judges its members itself, so that deep nesting is not judged again at every level.
  [[nodiscard]] virtual bool is_chain() const { return false; }
};

using EvaluatorPtr = std::unique_ptr<Evaluator>;
/// Path slot of a place in JSON that no page can keep as a column.
inline constexpr size_t kNoPathSlot = SIZE_MAX;
/// Where an evaluator finds what it tests.
struct Slots {
  std::function<size_t(int64_t field_id)> column;     ///< in Chunk::columns
  std::function<size_t(const FieldRef& field)> path;  ///< in Chunk::paths, or kNoPathSlot
  FilterTrace* trace = nullptr;                       ///< evaluators shall count what they do here; nullptr: not
};

/// Returns whether so few rows are active that they are better tested one by one than along with the others.
inline bool IsSparse(const Chunk& chunk, const BitWords& active) {
  size_t count = 0;
  for (size_t word = 0; word < chunk.words; ++word) {
    count += static_cast<size_t>(std::popcount(active[word]));
    if (count * 16 >= chunk.rows) return false;
  }
  return true;
}

/// Keeps the positions of which test(position) holds; without branches, so that reads of the next rows need not wait.
template <typename Test>
size_t KeepIf(uint16_t* rows, size_t count, const Test& test) {
  size_t kept = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint16_t row = rows[i];
    rows[kept] = row;
    kept += test(row) ? 1 : 0;
  }
  return kept;
}

/// Builds the evaluator of a predicate. The predicate need not outlive it.
EvaluatorPtr BuildEvaluator(const Predicate& predicate, const Slots& slots);

// Builders by kind of field; BuildEvaluator chooses.
EvaluatorPtr BuildScalarEvaluator(const Predicate& predicate, size_t slot);
EvaluatorPtr BuildArrayEvaluator(const Predicate& predicate, size_t slot);
EvaluatorPtr BuildJsonEvaluator(const Predicate& predicate, size_t slot, size_t path_slot);
EvaluatorPtr BuildMatchEvaluator(const Predicate& predicate, size_t slot);  // text and geometry
EvaluatorPtr BuildElementsEvaluator(const Predicate& predicate, const Slots& slots);
EvaluatorPtr BuildFieldComparison(const Predicate& predicate, size_t left_slot, size_t right_slot);
/// Lets a term profit from the facts of its field; returns `term` itself where they say nothing about it.
EvaluatorPtr WithPageFacts(const Predicate& predicate, size_t slot, EvaluatorPtr term);
/// Fills a decided outcome.
void FillOutcome(const Outcomes& outcomes, const Chunk& chunk, Truth* out);
/// Counts in `trace` what `term`, the evaluator of one of its nodes, does; `term` itself where the trace has no such
/// node.
EvaluatorPtr WithTrace(const Predicate& predicate, FilterTrace* trace, EvaluatorPtr term);
/// True (or false) for every row whose field is not NULL.
EvaluatorPtr BuildKnownConstant(bool truth, size_t slot);

}  // namespace quiver::expr
