// Evaluators of text matching, of geometries and of random samples.
#include <memory>
#include <string>

#include "expr/row_loops.h"
#include "text/match.h"

namespace quiver::expr {
namespace {

/// Applies text::TermMatch, text::FuzzyMatch or text::PhraseMatch to the active rows.
template <typename Match>
class TextEvaluator final : public Evaluator {
 public:
  TextEvaluator(size_t slot, Match match) : slot_(slot), match_(std::move(match)) {}
  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    TestActiveBytes(chunk.columns[slot_], chunk, active, need_known, out,
                    [this](std::string_view text) { return match_.Matches(text); });
  }
  [[nodiscard]] int cost() const override { return kTextCost; }

 private:
  size_t slot_;
  Match match_;
};

class SpatialEvaluator final : public Evaluator {
 public:
  SpatialEvaluator(size_t slot, std::shared_ptr<const SpatialTest> test) : slot_(slot), test_(std::move(test)) {}
  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    SpatialTest::Session session(*test_);
    TestActiveBytes(chunk.columns[slot_], chunk, active, need_known, out,
                    [&](std::string_view wkb) { return session.Holds(wkb); });
  }
  [[nodiscard]] int cost() const override { return kSpatialCost; }

 private:
  size_t slot_;
  std::shared_ptr<const SpatialTest> test_;
};

/// Draws each row by itself, by a hash of its number: what a page draws does not depend on what was evaluated before.
class SampleEvaluator final : public Evaluator {
 public:
  SampleEvaluator(double share, uint64_t seed)
      : limit_(static_cast<uint64_t>(share * 0x1p64)), share_(share), seed_(seed) {}
  void Evaluate(const Chunk& chunk, const BitWords& active, bool need_known, Truth* out) const override {
    for (size_t word = 0; word < chunk.words; ++word) {
      uint64_t bits = 0;
      for (uint64_t left = active[word]; left != 0; left &= left - 1) {
        const auto bit = static_cast<size_t>(std::countr_zero(left));
        const bool drawn = Mix(seed_ + chunk.first_row_id + word * kWordBits + bit) < limit_;
        bits |= uint64_t{drawn ? 1U : 0U} << bit;
      }
      out->is_true[word] = bits;
      if (need_known) out->is_known[word] = ~uint64_t{0};
    }
  }
  [[nodiscard]] int cost() const override { return kFixedSetCost; }
  [[nodiscard]] double Selectivity(const Chunk& /*chunk*/) const override { return share_; }

 private:
  /// The finisher of splitmix64: neighbouring numbers give unrelated ones.
  static uint64_t Mix(uint64_t x) {
    x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31U);
  }

  uint64_t limit_;
  double share_;
  uint64_t seed_;
};

}  // namespace

EvaluatorPtr BuildMatchEvaluator(const Predicate& predicate, size_t slot) {
  switch (predicate.kind) {
    case Predicate::Kind::kSample:
      return std::make_unique<SampleEvaluator>(std::get<double>(predicate.value.value), predicate.seed);
    case Predicate::Kind::kSpatial: return std::make_unique<SpatialEvaluator>(slot, predicate.spatial);
    case Predicate::Kind::kFuzzyMatch:
      return std::make_unique<TextEvaluator<text::FuzzyMatch>>(
          slot, text::FuzzyMatch(predicate.analyzer, std::get<std::string>(predicate.value.value),
                                 static_cast<size_t>(predicate.count)));
    case Predicate::Kind::kPhraseMatch:
      return std::make_unique<TextEvaluator<text::PhraseMatch>>(
          slot, text::PhraseMatch(predicate.analyzer, std::get<std::string>(predicate.value.value),
                                  static_cast<uint32_t>(predicate.count)));
    default:
      return std::make_unique<TextEvaluator<text::TermMatch>>(
          slot, text::TermMatch(predicate.analyzer, std::get<std::string>(predicate.value.value),
                                static_cast<size_t>(predicate.count)));
  }
}

}  // namespace quiver::expr
