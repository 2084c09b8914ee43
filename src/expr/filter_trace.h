// File: expr/filter_trace.h
// FilterTrace: what became of each part of a filter over one segment, for explain.
//
//   FilterTrace trace(filter.predicate());
//   const auto traced = filter.Traced(&trace);       // the same filter, which counts
//   for (page : pages) traced->Estimate(page);       // fills estimated_rows
//   SelectByIndexes(filter.predicate(), rows, indexes, 1, &trace);
//   for (page : pages) traced->Evaluate(page, mask); // fills the rest
//
// Thread rule: what evaluation counts is atomic; the rest is filled by one thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

#include "expr/predicate.h"

namespace quiver::expr {

class Evaluator;
class TermIndex;

/// One node of the typed tree.
struct NodeTrace {
  const Predicate* predicate = nullptr;
  std::vector<size_t> children;  ///< positions in FilterTrace::nodes; none below kElements

  const Evaluator* evaluator = nullptr;  ///< set by the traced filter
  double estimated_rows = 0;             ///< before anything was evaluated
  double estimated_by_pages = 0;         ///< the same before an index told more
  const TermIndex* index = nullptr;      ///< that offers to answer the term (one of them); nullptr: none does
  bool index_asked = false;              ///< indexes answered it, or a part of it
  bool index_negated = false;            ///< they were asked for its contrary
  uint64_t index_rows = 0;               ///< rows that they gave
  uint64_t index_nanoseconds = 0;        ///< that it took
  std::atomic<uint64_t> rows_tested;     ///< rows whose values were looked at for it
  std::atomic<uint64_t> rows_true;       ///< of these
  std::atomic<uint64_t> nanoseconds;     ///< of the looking, its children's included
};

class FilterTrace {
 public:
  /// `filter` must outlive the trace. `rows`: of the segment; 0: SelectByIndexes is asked once, for all of them.
  explicit FilterTrace(const Predicate& filter, double rows = 0) : rows_(rows) { Add(filter); }

  /// Depth first, the root at the front.
  std::deque<NodeTrace> nodes;
  std::atomic<uint64_t> pages_evaluated = 0;
  std::atomic<uint64_t> pages_settled = 0;  ///< pages that statistics decided as a whole

  /// What SelectByIndexes compared, in nanoseconds, over all ranges of rows; NaN where no index serves the filter.
  double index_cost = std::numeric_limits<double>::quiet_NaN();  ///< asking, and testing what is left
  double scan_cost = std::numeric_limits<double>::quiet_NaN();

  /// The node of a predicate of the tree; nullptr for one inside kElements.
  [[nodiscard]] NodeTrace* Find(const Predicate& predicate);
  /// Notes that an index expects so many of `rows` rows to satisfy the term.
  void TellEstimate(NodeTrace& node, const TermIndex* index, double expected, double rows);
  /// Notes what asking indexes for one range of rows was expected to cost, and scanning it.
  void TellCosts(double by_index, double by_scan);
  /// Forgets what indexes told, but for the time they took: they will be asked again.
  void ForgetIndexes();
  /// Estimates chains of terms anew, over `rows` rows, where an index knows more of a term than the facts of pages do.
  void CombineEstimates(double rows);

 private:
  size_t Add(const Predicate& predicate);
  bool Combine(NodeTrace& node, double rows);

  double rows_;
  std::unordered_map<const Predicate*, size_t> positions_;
};

/// How a node reads in the filter language: "<", "in", "and", "text_match"; ranges are "range".
std::string OperatorOf(const Predicate& predicate);
/// The field with its path as in the filter language; empty for nodes without a field.
std::string FieldOf(const Predicate& predicate, const CollectionSchema& schema);
/// The constants of a term, shortened to some dozens of characters; empty where it has none.
std::string ConstantsOf(const Predicate& predicate, const CollectionSchema& schema);

}  // namespace quiver::expr
