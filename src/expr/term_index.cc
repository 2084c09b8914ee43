#include "expr/term_index.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "expr/filter_trace.h"

namespace quiver::expr {

namespace {

/// Nanoseconds that the evaluation of a term takes per row: of one row here and there, and in a scan of all.
struct RowPrice {
  double single = 10;
  double in_scan = 0.5;
};

RowPrice PriceOf(const Predicate& term) {
  switch (term.kind) {
    case Predicate::Kind::kTextMatch:
    case Predicate::Kind::kPhraseMatch: return {300, 200};
    case Predicate::Kind::kFuzzyMatch: return {500, 400};
    case Predicate::Kind::kSpatial: return {500, 400};
    case Predicate::Kind::kRegex: return {150, 80};
    case Predicate::Kind::kIsNull: return {8, 0.1};
    case Predicate::Kind::kElements: return {100, 60};
    default: break;
  }
  switch (term.field.type) {
    case DataType::kJson: return {200, 50};
    case DataType::kArray: return {50, 15};
    case DataType::kVarChar:
    case DataType::kString: return term.kind == Predicate::Kind::kLike ? RowPrice{40, 12} : RowPrice{25, 3};
    default: return {10, 0.5};
  }
}

/// Nanoseconds for one word of a bit map.
constexpr double kWordPrice = 0.3;

/// A part of a filter, with negations moved down to the terms: Kleene's logic allows that.
struct Node {
  const Predicate* predicate = nullptr;
  bool negated = false;         ///< the answer is to be turned round
  bool answer_negated = false;  ///< of a term: the filter asks for its contrary; `!=` alone is none
  bool usable = false;          ///< indexes confine it
  bool exact = false;           ///< they can answer all of it
  uint64_t most = 0;
  double nanoseconds = 0;            ///< of the indexes, for the least that confines it
  RowPrice price;                    ///< of evaluation
  const TermIndex* index = nullptr;  ///< of a term
  std::unique_ptr<TermAnswer> answer;
  std::vector<Node> children;

  [[nodiscard]] bool is_and() const { return (predicate->kind == Predicate::Kind::kAnd) != negated; }
};

class Selection {
 public:
  Selection(uint32_t rows, std::span<const TermIndex* const> indexes, FilterTrace* trace)
      : rows_(rows), indexes_(indexes), trace_(trace) {}

  Node Look(const Predicate& predicate, bool negated) {
    switch (predicate.kind) {
      case Predicate::Kind::kNot: return Look(*predicate.children[0], !negated);
      case Predicate::Kind::kAnd:
      case Predicate::Kind::kOr: return LookAtChain(predicate, negated);
      default: return LookAtTerm(predicate, negated);
    }
  }

  /// Rows of a usable node; `exact` tells whether they are all true. `settled`: as IndexedRows, nullptr = not asked.
  RowSet Select(Node& node, bool* exact, uint64_t* settled) {
    if (trace_ != nullptr) return SelectTraced(node, exact, settled);
    return SelectPlain(node, exact, settled);
  }

 private:
  RowSet SelectPlain(Node& node, bool* exact, uint64_t* settled) {
    if (node.children.empty()) {
      *exact = node.answer->exact;
      return SelectTerm(node);
    }
    return node.is_and() ? SelectAll(node, exact, settled) : SelectAny(node, exact);
  }

  RowSet SelectTraced(Node& node, bool* exact, uint64_t* settled) {
    const auto begin = std::chrono::steady_clock::now();
    RowSet rows = SelectPlain(node, exact, settled);
    const auto took = std::chrono::steady_clock::now() - begin;
    NodeTrace& traced = *trace_->Find(*node.predicate);
    traced.index_asked = true;
    traced.index_rows += rows.Count();
    traced.index_negated = node.children.empty() ? node.answer_negated : node.negated;
    traced.index_nanoseconds +=
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count());
    return rows;
  }

  [[nodiscard]] double words() const { return static_cast<double>(rows_) / 64 * kWordPrice; }

  Node LookAtTerm(const Predicate& predicate, bool negated) {
    Node node;
    node.predicate = &predicate;
    const bool unequal = predicate.kind == Predicate::Kind::kCompare && predicate.op == CompareOp::kNotEqual;
    node.negated = negated != unequal;
    node.answer_negated = negated;
    node.price = PriceOf(predicate);
    for (const TermIndex* index : indexes_) {
      std::unique_ptr<TermAnswer> answer = index->Answer(predicate);
      if (answer == nullptr || (node.negated && !answer->exact)) continue;
      if (node.answer != nullptr && node.answer->most <= answer->most) continue;
      node.answer = std::move(answer);
      node.index = index;
    }
    if (node.answer == nullptr) return node;
    if (trace_ != nullptr) {
      const double expected = (static_cast<double>(node.answer->least) + static_cast<double>(node.answer->most)) / 2;
      trace_->TellEstimate(*trace_->Find(predicate), node.index, unequal ? rows_ - expected : expected, rows_);
    }
    node.usable = true;
    node.exact = node.answer->exact;
    node.most = node.negated ? rows_ - node.answer->least : node.answer->most;
    node.nanoseconds = node.answer->nanoseconds + (node.negated ? words() : 0);
    return node;
  }

  Node LookAtChain(const Predicate& predicate, bool negated) {
    Node node;
    node.predicate = &predicate;
    node.negated = negated;
    for (const PredicatePtr& child : predicate.children) node.children.push_back(Look(*child, negated));
    node.price = {0, 0};
    if (!node.is_and()) {
      node.usable = node.exact = true;
      for (const Node& child : node.children) {
        node.usable = node.usable && child.usable;
        node.exact = node.exact && child.exact;
        node.most = std::min<uint64_t>(rows_, node.most + child.most);
        node.nanoseconds += child.nanoseconds;
        node.price.single += child.price.single;
        node.price.in_scan += child.price.in_scan;
      }
      return node;
    }
    node.exact = true;
    node.most = rows_;
    double least_scan = 1e9;
    for (const Node& child : node.children) {
      node.exact = node.exact && child.usable && child.exact;
      node.price.single += child.price.single;
      least_scan = std::min(least_scan, child.price.in_scan);
      if (!child.usable || (node.usable && child.most >= node.most)) continue;
      node.usable = true;
      node.most = child.most;
      node.nanoseconds = child.nanoseconds;
    }
    node.price.in_scan = least_scan;  // the others see fewer rows
    return node;
  }

  [[nodiscard]] RowSet SelectTerm(const Node& node) const {
    RowSet rows(rows_);
    node.answer->AddTo(&rows);
    if (!node.negated) return rows;
    rows.Invert();
    // What is unknown stays unknown under a negation.
    if (node.predicate->kind != Predicate::Kind::kIsNull) rows.Remove(node.index->null_rows());
    return rows;
  }

  RowSet SelectAll(Node& node, bool* exact, uint64_t* settled) {
    std::vector<size_t> order;
    for (size_t i = 0; i < node.children.size(); ++i) {
      if (node.children[i].usable) order.push_back(i);
    }
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      const uint64_t most_a = node.children[a].most;
      const uint64_t most_b = node.children[b].most;
      return most_a != most_b ? most_a < most_b : a < b;
    });
    std::optional<RowSet> rows;
    uint64_t count = 0;
    uint64_t done = 0;
    size_t answered = 0;
    for (const size_t i : order) {
      Node& child = node.children[i];
      // Testing the few rows that are left may take less than asking a further index.
      if (rows && child.nanoseconds + words() > static_cast<double>(count) * child.price.single) continue;
      bool child_exact = false;
      RowSet found = Select(child, &child_exact, nullptr);
      if (rows) {
        rows->Intersect(found);
      } else {
        rows = std::move(found);
      }
      if (child_exact) {
        ++answered;
        if (i < 64) done |= uint64_t{1} << i;
      }
      count = rows->Count();
      if (count == 0) break;
    }
    *exact = answered == node.children.size() || count == 0;
    if (settled != nullptr) *settled = done;
    return *std::move(rows);
  }

  RowSet SelectAny(Node& node, bool* exact) {
    RowSet rows(rows_);
    *exact = true;
    for (Node& child : node.children) {
      bool child_exact = false;
      rows.Unite(Select(child, &child_exact, nullptr));
      *exact = *exact && child_exact;
    }
    return rows;
  }

  uint32_t rows_;
  std::span<const TermIndex* const> indexes_;
  FilterTrace* trace_;
};

}  // namespace

std::optional<IndexedRows> SelectByIndexes(const Predicate& filter, uint32_t rows,
                                           std::span<const TermIndex* const> indexes, double scan_factor,
                                           FilterTrace* trace) {
  if (indexes.empty() || rows == 0) return std::nullopt;
  Selection selection(rows, indexes, trace);
  Node root = selection.Look(filter, false);
  if (!root.usable) return std::nullopt;
  const double rest = root.exact ? 0 : static_cast<double>(root.most) * root.price.single;
  const double scan = static_cast<double>(rows) * root.price.in_scan * scan_factor;
  if (trace != nullptr) trace->TellCosts(root.nanoseconds + rest, scan);
  if (root.nanoseconds + rest > scan && root.most > rows / 64) return std::nullopt;
  IndexedRows found{.rows = RowSet(0)};
  // Only a chain that was written as `and` has operands that evaluation knows by their place.
  const bool operands = filter.kind == Predicate::Kind::kAnd;
  found.rows = selection.Select(root, &found.exact, operands ? &found.settled : nullptr);
  return found;
}

}  // namespace quiver::expr
