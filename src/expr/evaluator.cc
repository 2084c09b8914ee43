#include "expr/evaluator.h"

#include <algorithm>
#include <array>
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
  [[nodiscard]] Outcomes Judge(const Chunk& chunk) const override {
    Outcomes outcomes = child_->Judge(chunk);
    std::swap(outcomes.may_be_true, outcomes.may_be_false);
    return outcomes;
  }
  [[nodiscard]] double Selectivity(const Chunk& chunk) const override { return 1 - child_->Selectivity(chunk); }
  [[nodiscard]] bool is_chain() const override { return child_->is_chain(); }

 private:
  EvaluatorPtr child_;
};

/// Terms of `and`, or (with the roles of true and false exchanged) of `or`. A term is evaluated only for the rows that
/// it can still decide; those that settle many rows for little come first.
class ChainEvaluator final : public Evaluator {
 public:
  ChainEvaluator(bool is_and, std::vector<EvaluatorPtr> terms) : is_and_(is_and), terms_(std::move(terms)) {
    for (const EvaluatorPtr& term : terms_) cost_ = std::max(cost_, term->cost());
    // The order where nothing is known of the pages.
    std::vector<Ranked> order(terms_.size());
    Rank({}, order.data());
    std::vector<EvaluatorPtr> sorted;
    sorted.reserve(terms_.size());
    for (const Ranked& one : order) {
      sorted.push_back(std::move(terms_[one.index]));
      operand_.push_back(one.index);
    }
    terms_ = std::move(sorted);
  }

  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    constexpr size_t kMostRanked = 32;
    if (chunk.settled_chain == this && chunk.settled != 0) return EvaluateRest(chunk, active, need_known, out);
    const bool ranked = chunk.facts != nullptr && terms_.size() <= kMostRanked;
    std::array<Ranked, kMostRanked> order;
    if (ranked) Rank(chunk, order.data());
    EvaluateTerm(*terms_[ranked ? order[0].index : 0], chunk, active, need_known, out);
    BitWords open;
    Truth next;
    for (size_t i = 1; i < terms_.size(); ++i) {
      uint64_t any = 0;
      for (size_t word = 0; word < chunk.words; ++word) {
        open[word] = active[word] & Open(*out, word, need_known);
        any |= open[word];
      }
      if (any == 0) break;
      EvaluateTerm(*terms_[ranked ? order[i].index : i], chunk, open, need_known, &next);
      Combine(chunk, need_known, next, out);
    }
  }

  size_t Keep(const Chunk& chunk, uint16_t* rows, size_t count) const override {
    if (!is_and_) return Evaluator::Keep(chunk, rows, count);
    const uint64_t settled = chunk.settled_chain == this ? chunk.settled : 0;
    for (size_t i = 0; i < terms_.size() && count > 0; ++i) {
      if (operand_[i] < 64 && ((settled >> operand_[i]) & 1U) != 0) continue;
      count = terms_[i]->Keep(chunk, rows, count);
    }
    return count;
  }

  [[nodiscard]] int cost() const override { return cost_; }

  [[nodiscard]] Outcomes Judge(const Chunk& chunk) const override {
    Outcomes all{is_and_, !is_and_, false};
    for (const EvaluatorPtr& term : terms_) {
      const Outcomes one = term->Judge(chunk);
      // `and` is true only where all are, false where any is; `or` the other way round.
      all.may_be_true = is_and_ ? all.may_be_true && one.may_be_true : all.may_be_true || one.may_be_true;
      all.may_be_false = is_and_ ? all.may_be_false || one.may_be_false : all.may_be_false && one.may_be_false;
      all.may_be_unknown = all.may_be_unknown || one.may_be_unknown;
      const bool settled = one.decided() && (is_and_ ? one.may_be_false : one.may_be_true);
      if (settled) return one;
    }
    return all;
  }

  [[nodiscard]] double Selectivity(const Chunk& chunk) const override {
    double left = 1;  // share of rows that no term has settled, were the terms independent
    for (const EvaluatorPtr& term : terms_) {
      if (term->is_chain()) continue;  // so that nested chains are not estimated again at every level
      const double share = term->Selectivity(chunk);
      left *= is_and_ ? share : 1 - share;
    }
    return is_and_ ? left : 1 - left;
  }
  [[nodiscard]] bool is_chain() const override { return true; }

 private:
  struct Ranked {
    double price = 0;
    size_t index = 0;
  };

  /// Orders the terms by price per row that they settle.
  void Rank(const Chunk& chunk, Ranked* order) const {
    for (size_t i = 0; i < terms_.size(); ++i) {
      const double share = terms_[i]->is_chain() ? 0.5 : terms_[i]->Selectivity(chunk);
      const double settled = is_and_ ? 1 - share : share;
      order[i] = {terms_[i]->cost() / std::max(settled, 1e-3), i};
    }
    std::sort(order, order + terms_.size(), [](const Ranked& a, const Ranked& b) {
      return a.price != b.price ? a.price < b.price : a.index < b.index;
    });
  }

  /// As Evaluate, of an `and` of which some terms hold.
  void EvaluateRest(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const {
    FillOutcome({true, false, false}, chunk, out);
    BitWords open;
    Truth next;
    for (size_t i = 0; i < terms_.size(); ++i) {
      if (operand_[i] < 64 && ((chunk.settled >> operand_[i]) & 1U) != 0) continue;
      uint64_t any = 0;
      for (size_t word = 0; word < chunk.words; ++word) {
        open[word] = active[word] & Open(*out, word, need_known);
        any |= open[word];
      }
      if (any == 0) break;
      EvaluateTerm(*terms_[i], chunk, open, need_known, &next);
      Combine(chunk, need_known, next, out);
    }
  }

  static void EvaluateTerm(const Evaluator& term, const Chunk& chunk, const BitWords& active, bool need_known,
                           Truth* out) {
    if (chunk.facts != nullptr && !term.is_chain()) {
      const Outcomes outcomes = term.Judge(chunk);
      // Without need_known, unknown counts as false.
      if (outcomes.decided() || (!need_known && !outcomes.may_be_true)) return FillOutcome(outcomes, chunk, out);
    }
    term.Evaluate(chunk, active, need_known, out);
  }

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
  int cost_ = 0;
  std::vector<EvaluatorPtr> terms_;
  std::vector<size_t> operand_;  ///< of the predicate, by term
};

}  // namespace

size_t Evaluator::Keep(const Chunk& chunk, uint16_t* rows, size_t count) const {
  BitWords active;
  std::fill_n(active.begin(), chunk.words, 0);
  for (size_t i = 0; i < count; ++i) active[rows[i] / kWordBits] |= uint64_t{1} << (rows[i] % kWordBits);
  Truth truth;
  Evaluate(chunk, active, false, &truth);
  return KeepIf(rows, count,
                [&](size_t row) { return ((truth.is_true[row / kWordBits] >> (row % kWordBits)) & 1U) != 0; });
}

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

namespace {

EvaluatorPtr BuildPlain(const Predicate& predicate, const Slots& slots) {
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
    case Predicate::Kind::kIsNull: {
      const size_t slot = slots.column(predicate.field.field_id);
      return WithPageFacts(predicate, slot, std::make_unique<IsNullEvaluator>(slot));
    }
    case Predicate::Kind::kElements: return BuildElementsEvaluator(predicate, slots);
    case Predicate::Kind::kSample: return BuildMatchEvaluator(predicate, 0);
    case Predicate::Kind::kCompareFields:
      return BuildFieldComparison(predicate, slots.column(predicate.field.field_id),
                                  slots.column(predicate.right_field.field_id));
    default: break;
  }
  const size_t slot = slots.column(predicate.field.field_id);
  if (predicate.kind >= Predicate::Kind::kTextMatch) return BuildMatchEvaluator(predicate, slot);
  if (predicate.field.type == DataType::kJson) return BuildJsonEvaluator(predicate, slot, slots.path(predicate.field));
  if (predicate.field.type == DataType::kArray) return BuildArrayEvaluator(predicate, slot);
  return WithPageFacts(predicate, slot, BuildScalarEvaluator(predicate, slot));
}

}  // namespace

EvaluatorPtr BuildEvaluator(const Predicate& predicate, const Slots& slots) {
  EvaluatorPtr plain = BuildPlain(predicate, slots);
  return slots.trace == nullptr ? std::move(plain) : WithTrace(predicate, slots.trace, std::move(plain));
}

}  // namespace quiver::expr
