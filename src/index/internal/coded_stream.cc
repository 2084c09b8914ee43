#include "index/internal/coded_stream.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "index/internal/set_bits.h"

namespace quiver::index {
namespace {

/// Estimates scored at a time.
constexpr size_t kScoreAtOnce = 32;
/// Below so many rows nothing is gained by skipping some.
constexpr size_t kLeastSkipped = 256;

Status Cancelled() { return Error(StatusCode::kCancelled, "the search was cancelled"); }

class ScoringStream final : public CodedStream {
 public:
  explicit ScoringStream(StreamCall call) : CodedStream(std::move(call)) {
    ++mutable_counters().plans[static_cast<size_t>(SearchPlan::kScoreMatches)];
  }

 private:
  Status Reach(size_t /*total*/) override {
    EndGrowth();
    const bool all = VisitSetBits<2>(call().filter.bits, call().vectors.rows, [&](const uint32_t* rows, size_t count) {
      TakeRows({rows, count}, -kAnyKey);
      return !cancelled();
    });
    return all ? Status::Ok() : Cancelled();
  }
  void Score(std::span<const Estimate> /*items*/) override {}
};

}  // namespace

CodedStream::CodedStream(StreamCall call) : call_(std::move(call)), similarity_(IsSimilarity(call_.queries.metric())) {
  if (call_.options.nearest) floor_ = similarity_ ? -*call_.options.nearest : *call_.options.nearest;
  growing_ = call_.filter.bits == nullptr ? call_.vectors.rows > 0 : call_.filter.count > 0;
}

uint64_t CodedStream::memory_bytes() const {
  return sizeof(*this) + (known_.capacity() + fresh_.capacity() + some_.capacity()) * sizeof(Estimate) +
         scored_.capacity() * sizeof(Scored) + scores_.capacity() * sizeof(float);
}

void CodedStream::Take(float score, uint32_t row, float most) {
  if (std::isnan(score)) return;
  const float key = similarity_ ? -score : score;
  if (key < floor_) {
    ++passed_;
    return;
  }
  scored_.push_back({key, most, row});
  std::push_heap(scored_.begin(), scored_.end(), Worse);
}

const float* CodedStream::ScoresOf(std::span<const uint32_t> rows) {
  if (scores_.size() < rows.size()) scores_.resize(rows.size());
  ScoreRows(call_.queries, call_.query, call_.vectors, rows, scores_.data());
  counters_.exact_distances += rows.size();
  return scores_.data();
}

void CodedStream::TakeRows(std::span<const uint32_t> rows, float most) {
  const float* scores = ScoresOf(rows);
  for (size_t i = 0; i < rows.size(); ++i) Take(scores[i], rows[i], most);
}

void CodedStream::TakeItems(std::span<const Estimate> items) {
  rows_.clear();
  for (const Estimate& estimate : items) rows_.push_back(estimate.item);
  const float* scores = ScoresOf(rows_);
  for (size_t i = 0; i < rows_.size(); ++i) Take(scores[i], rows_[i], items[i].most);
}

/// Whether no row that was not scored may come before the best scored one.
bool CodedStream::Certain() const {
  return known_.empty() || (!scored_.empty() && scored_.front().most <= known_.front().least);
}

Status CodedStream::ScoreUntilCertain() {
  for (size_t round = 1; !Certain(); ++round) {
    some_.clear();
    for (size_t i = 0; i < kScoreAtOnce && !known_.empty(); ++i) {
      std::pop_heap(known_.begin(), known_.end(), Later);
      some_.push_back(known_.back());
      known_.pop_back();
    }
    Score(some_);
    if (round % 64 == 0 && cancelled()) return Cancelled();
  }
  return Status::Ok();
}

/// Drops known rows that are certainly too near to be wanted, unscored: where one that is scored is too near, so are
/// all whose keys are certainly smaller. Halves what is in doubt with each row that it scores.
void CodedStream::SkipNearer() {
  if (floor_ == -kAnyKey) return;
  const auto less = [](const Estimate& a, const Estimate& b) { return Later(b, a); };
  size_t low = 0;
  size_t high = fresh_.size();
  float nearer = -kAnyKey;  // the key of a row that is too near is at least this
  while (high - low > kLeastSkipped) {
    const size_t middle = (low + high) / 2;
    const auto at = [&](size_t i) { return fresh_.begin() + static_cast<ptrdiff_t>(i); };
    std::nth_element(at(low), at(middle), at(high), less);
    const Estimate probe = fresh_[middle];
    fresh_.erase(at(middle));
    --high;
    const size_t passed = passed_;
    const size_t scored = scored_.size();
    Score({&probe, 1});
    if (passed_ > passed && scored_.size() == scored) {
      nearer = std::max(nearer, probe.least);
      low = middle;
    } else {
      high = middle;
    }
  }
  const size_t before = fresh_.size();
  std::erase_if(fresh_, [&](const Estimate& estimate) { return estimate.most <= nearer; });
  passed_ += before - fresh_.size();
}

Status CodedStream::Grow(size_t total) {
  if (cancelled()) return Cancelled();
  reached_ = total;
  fresh_.clear();
  QUIVER_RETURN_IF_ERROR(Reach(total));
  if (fresh_.empty()) return Status::Ok();
  if (!growing_) SkipNearer();
  if (known_.empty()) {
    known_.swap(fresh_);
    std::make_heap(known_.begin(), known_.end(), Later);
  } else if (fresh_.size() < known_.size() / 8) {
    for (const Estimate& estimate : fresh_) {
      known_.push_back(estimate);
      std::push_heap(known_.begin(), known_.end(), Later);
    }
  } else {
    known_.insert(known_.end(), fresh_.begin(), fresh_.end());
    std::make_heap(known_.begin(), known_.end(), Later);
  }
  if (!growing_) fresh_ = {};
  return Status::Ok();
}

Status CodedStream::Next(size_t count, std::vector<Hit>& hits) {
  for (size_t given = 0; given < count;) {
    // Rows that are not wanted have their rank, too.
    if (growing_ && passed_ >= reached_) QUIVER_RETURN_IF_ERROR(Grow(passed_ + std::max(count - given, passed_ / 4)));
    QUIVER_RETURN_IF_ERROR(ScoreUntilCertain());
    if (growing_ && passed_ >= reached_) continue;
    if (scored_.empty()) {
      if (!growing_) break;
      // Nothing of what is known was wanted.
      QUIVER_RETURN_IF_ERROR(Grow(2 * reached_ + count));
      continue;
    }
    const Scored best = scored_.front();
    std::pop_heap(scored_.begin(), scored_.end(), Worse);
    scored_.pop_back();
    hits.push_back({similarity_ ? -best.key : best.key, call_.first_row + best.row});
    ++given;
    ++passed_;
  }
  return Status::Ok();
}

std::unique_ptr<HitStream> OpenScoringStream(StreamCall call) {
  return std::make_unique<ScoringStream>(std::move(call));
}

}  // namespace quiver::index
