#include "index/internal/candidate_index.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "expr/like_pattern.h"
#include "index/internal/grams.h"

namespace quiver::index {

namespace {

using expr::Predicate;
using Range = Postings::Range;

/// Nanoseconds to test a pattern on one text.
constexpr double kTestPrice = 40;

/// Candidates as a list.
class ListAnswer final : public expr::TermAnswer {
 public:
  explicit ListAnswer(std::vector<uint32_t> rows) : rows_(std::move(rows)) {
    most = rows_.size();
    exact = false;
    nanoseconds = static_cast<double>(rows_.size());
  }
  void AddTo(expr::RowSet* rows) const override { rows->Add(rows_); }

 private:
  std::vector<uint32_t> rows_;
};

/// Candidates that have a row in each of several unions of values.
class GramAnswer final : public expr::TermAnswer {
 public:
  GramAnswer(const Postings& postings, std::vector<Range> ranges) : postings_(postings), ranges_(std::move(ranges)) {
    most = postings_.CountOf(ranges_.front());
    exact = false;
    nanoseconds = kFindPrice;
    for (const Range& range : ranges_) nanoseconds += postings_.PriceOf(range);
  }
  void AddTo(expr::RowSet* rows) const override { postings_.AddCommonTo(ranges_, rows); }

 private:
  const Postings& postings_;
  std::vector<Range> ranges_;  ///< the rarest first
};

class GramIndex final : public FileIndex {
 public:
  GramIndex(IndexBase base, Postings postings) : FileIndex(std::move(base)), postings_(postings) {}
  [[nodiscard]] uint64_t value_count() const override { return postings_.value_count(); }

 private:
  [[nodiscard]] std::unique_ptr<expr::TermAnswer> AnswerTerm(const Predicate& term) const override {
    if (term.kind != Predicate::Kind::kLike) return nullptr;
    const expr::LikePattern pattern(std::get<std::string>(term.value.value));
    std::vector<Range> ranges;
    for (const std::string_view run : pattern.Runs()) {
      if (run.empty()) continue;
      size_t at = 0;
      do {
        const Range range = Find(GramsOf(run.substr(at, kGramBytes)));
        if (range.begin == range.end) return std::make_unique<ListAnswer>(std::vector<uint32_t>());
        ranges.push_back(range);
      } while (++at + kGramBytes <= run.size());
    }
    if (ranges.empty()) return nullptr;
    std::sort(ranges.begin(), ranges.end(), [&](Range a, Range b) {
      const uint64_t count_a = postings_.CountOf(a);
      const uint64_t count_b = postings_.CountOf(b);
      return count_a != count_b ? count_a < count_b : a.begin < b.begin;
    });
    const auto same = [](Range a, Range b) { return a.begin == b.begin && a.end == b.end; };
    ranges.erase(std::unique(ranges.begin(), ranges.end(), same), ranges.end());
    // A further gram is read where that takes less than testing the candidates that it is expected to rule out.
    auto candidates = static_cast<double>(postings_.CountOf(ranges.front()));
    size_t used = 1;
    for (; used < ranges.size(); ++used) {
      const double share =
          std::min(1.0, static_cast<double>(postings_.CountOf(ranges[used])) / static_cast<double>(base().rows));
      if (postings_.PriceOf(ranges[used]) > candidates * (1 - share) * kTestPrice) break;
      candidates *= share;
    }
    ranges.resize(used);
    return std::make_unique<GramAnswer>(postings_, std::move(ranges));
  }

  [[nodiscard]] Range Find(GramInterval grams) const {
    const std::span<const int64_t> all = postings_.integers();
    const auto begin = std::lower_bound(all.begin(), all.end(), grams.first);
    const auto end = std::upper_bound(begin, all.end(), grams.last);
    return {static_cast<uint32_t>(begin - all.begin()), static_cast<uint32_t>(end - all.begin())};
  }

  const Postings postings_;
};

class BoxIndex final : public FileIndex {
 public:
  BoxIndex(IndexBase base, BoxTree tree) : FileIndex(std::move(base)), tree_(std::move(tree)) {}
  [[nodiscard]] uint64_t value_count() const override { return tree_.size(); }

 private:
  [[nodiscard]] std::unique_ptr<expr::TermAnswer> AnswerTerm(const Predicate& term) const override {
    if (term.kind != Predicate::Kind::kSpatial) return nullptr;
    const std::optional<Box> reach = term.spatial->Reach(tree_.size() > 0 ? tree_.bounds() : Box{});
    if (!reach) return nullptr;
    std::vector<uint32_t> rows(tree_.unbounded().begin(), tree_.unbounded().end());
    // Where most rows are candidates, a scan tests hardly more.
    if (!tree_.Find(*reach, base().rows / 2 + rows.size() + 1, &rows)) return nullptr;
    return std::make_unique<ListAnswer>(std::move(rows));
  }

  const BoxTree tree_;
};

}  // namespace

std::unique_ptr<ScalarIndex> MakeGramIndex(IndexBase base, const Postings& postings) {
  return std::make_unique<GramIndex>(std::move(base), postings);
}

std::unique_ptr<ScalarIndex> MakeBoxIndex(IndexBase base, BoxTree tree) {
  return std::make_unique<BoxIndex>(std::move(base), std::move(tree));
}

}  // namespace quiver::index
