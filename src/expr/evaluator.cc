#include "expr/evaluator.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "expr/row_loops.h"

namespace quiver::expr {
namespace {

class ConstantEvaluator final : public Evaluator {
 public:
  explicit ConstantEvaluator(bool truth) : word_(truth ? ~uint64_t{0} : 0) {}
  void Evaluate(const Chunk& chunk, const BitWords& /*active*/, bool need_known, Truth* out) const override {
    for (size_t word = 0; word < chunk.words; ++word) {
      out->is_true[word] = word_;
      if (need_known) out->is_known[word] = ~uint64_t{0};
    }
  }
  [[nodiscard]] int cost() const override { return kConstantCost; }

 private:
  uint64_t word_;
};

class KnownConstantEvaluator final : public Evaluator {
 public:
  KnownConstantEvaluator(bool truth, size_t slot) : truth_(truth), slot_(slot) {}
  void Evaluate(const Chunk& chunk, const BitWords& /*active*/, bool need_known, Truth* out) const override {
    const ColumnView& view = chunk.columns[slot_];
    for (size_t word = 0; word < chunk.words; ++word) {
      const uint64_t valid = ValidWord(view, word, chunk.rows);
      out->is_true[word] = truth_ ? valid : 0;
      if (need_known) out->is_known[word] = valid;
    }
  }
  [[nodiscard]] int cost() const override { return kFixedCost; }

 private:
  bool truth_;
  size_t slot_;
};

class IsNullEvaluator final : public Evaluator {
 public:
  explicit IsNullEvaluator(size_t slot) : slot_(slot) {}
  void Evaluate(const Chunk& chunk, const BitWords& /*active*/, bool need_known, Truth* out) const override {
    const ColumnView& view = chunk.columns[slot_];
    for (size_t word = 0; word < chunk.words; ++word) {
      out->is_true[word] = ~ValidWord(view, word, chunk.rows);
      if (need_known) out->is_known[word] = ~uint64_t{0};
    }
  }
  [[nodiscard]] int cost() const override { return kFixedCost; }

 private:
  size_t slot_;
};

class NotEvaluator final : public Evaluator {
 public:
  explicit NotEvaluator(EvaluatorPtr child) : child_(std::move(child)) {}
  void Evaluate(const Chunk& chunk, const BitWords& active, bool /*need_known*/, Truth* out) const override {
    child_->Evaluate(chunk, active, true, out);
    for (size_t word = 0; word < chunk.words; ++word) out->is_true[word] = out->is_known[word] & ~out->is_true[word];
  }
  [[nodiscard]] int cost() const override { return child_->cost(); }

 private:
  EvaluatorPtr child_;
};

/// Terms of `and`, or (with the roles of true and false exchanged) of `or`; cheap ones first. A term is evaluated only
/// for the rows that it can still decide.
class ChainEvaluator final : public Evaluator {
 public:
  ChainEvaluator(bool is_and, std::vector<EvaluatorPtr> terms) : is_and_(is_and) {
    std::vector<std::pair<int, size_t>> order;
    order.reserve(terms.size());
    for (size_t i = 0; i < terms.size(); ++i) order.emplace_back(terms[i]->cost(), i);
    std::sort(order.begin(), order.end());
    terms_.reserve(terms.size());
    for (const auto& [cost, index] : order) terms_.push_back(std::move(terms[index]));
  }

  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    terms_[0]->Evaluate(chunk, active, need_known, out);
    BitWords open;
    Truth next;
    for (size_t i = 1; i < terms_.size(); ++i) {
      uint64_t any = 0;
      for (size_t word = 0; word < chunk.words; ++word) {
        open[word] = active[word] & Open(*out, word, need_known);
        any |= open[word];
      }
      if (any == 0) break;
      terms_[i]->Evaluate(chunk, open, need_known, &next);
      Combine(chunk, need_known, next, out);
    }
  }

  [[nodiscard]] int cost() const override {
    int total = 0;
    for (const EvaluatorPtr& term : terms_) total = std::max(total, term->cost());
    return total;
  }

 private:
  /// Rows that are not decided yet.
  [[nodiscard]] uint64_t Open(const Truth& truth, size_t word, bool need_known) const {
    if (!is_and_) return ~truth.is_true[word];
    // Without need_known an unknown row counts as false, which settles it.
    return need_known ? truth.is_true[word] | ~truth.is_known[word] : truth.is_true[word];
  }

  void Combine(const Chunk& chunk, bool need_known, const Truth& next, Truth* out) const {
    for (size_t word = 0; word < chunk.words; ++word) {
      const uint64_t a = out->is_true[word];
      const uint64_t b = next.is_true[word];
      const uint64_t combined = is_and_ ? a & b : a | b;
      if (need_known) {
        const uint64_t a_false = out->is_known[word] & ~a;
        const uint64_t b_false = next.is_known[word] & ~b;
        out->is_known[word] = is_and_ ? combined | a_false | b_false : combined | (a_false & b_false);
      }
      out->is_true[word] = combined;
    }
  }

  bool is_and_;
  std::vector<EvaluatorPtr> terms_;
};

}  // namespace

EvaluatorPtr BuildKnownConstant(bool truth, size_t slot) {
  return std::make_unique<KnownConstantEvaluator>(truth, slot);
}

std::vector<Literal> UnpackList(const Literal& list) {
  std::vector<Literal> items;
  const size_t size = list.list_size();
  items.reserve(size);
  for (size_t i = 0; i < size; ++i) items.push_back(list.Element(i));
  return items;
}

EvaluatorPtr BuildEvaluator(const Predicate& predicate, const Slots& slots) {
  switch (predicate.kind) {
    case Predicate::Kind::kConstant: return std::make_unique<ConstantEvaluator>(predicate.constant);
    case Predicate::Kind::kNot: return std::make_unique<NotEvaluator>(BuildEvaluator(*predicate.children[0], slots));
    case Predicate::Kind::kAnd:
    case Predicate::Kind::kOr: {
      std::vector<EvaluatorPtr> terms;
      terms.reserve(predicate.children.size());
      for (const PredicatePtr& child : predicate.children) terms.push_back(BuildEvaluator(*child, slots));
      return std::make_unique<ChainEvaluator>(predicate.kind == Predicate::Kind::kAnd, std::move(terms));
    }
    case Predicate::Kind::kIsNull: return std::make_unique<IsNullEvaluator>(slots.column(predicate.field.field_id));
    case Predicate::Kind::kCompareFields:
      return BuildFieldComparison(predicate, slots.column(predicate.field.field_id),
                                  slots.column(predicate.right_field.field_id));
    default: break;
  }
  const size_t slot = slots.column(predicate.field.field_id);
  if (predicate.field.type == DataType::kJson) return BuildJsonEvaluator(predicate, slot, slots.path(predicate.field));
  if (predicate.field.type == DataType::kArray) return BuildArrayEvaluator(predicate, slot);
  return BuildScalarEvaluator(predicate, slot);
}

}  // namespace quiver::expr
