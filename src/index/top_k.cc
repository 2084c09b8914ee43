// The best hits of a search.
#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include "index/flat_search.h"

namespace quiver::index {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Order of keys. In a heap by it the worst entry (largest key, then largest row) is on top.
bool Better(const Hit& a, const Hit& b) { return a.score != b.score ? a.score < b.score : a.row < b.row; }

/// From this k on, hits are buffered and pruned now and then: cheaper than a large heap, at the price of a bound that
/// lags.
constexpr size_t kLeastBuffered = 64;

}  // namespace

TopK::TopK(size_t k, MetricType metric)
    : k_(k), capacity_(k < kLeastBuffered ? k : k + k / 2), metric_(metric), similarity_(IsSimilarity(metric)) {
  ResetBound();
}

void TopK::Reserve(size_t rows) {
  constexpr size_t kMostAtOnce = 1024;
  entries_.reserve(std::min({capacity_, entries_.size() + rows, kMostAtOnce}));
}

void TopK::SetRange(std::optional<float> radius, std::optional<float> range_filter) {
  has_radius_ = radius.has_value();
  radius_key_ = has_radius_ ? (similarity_ ? -*radius : *radius) : kInfinity;
  range_filter_key_ = range_filter.has_value() ? (similarity_ ? -*range_filter : *range_filter) : -kInfinity;
  ResetBound();
}

void TopK::ResetBound() { bound_ = k_ == 0 ? kNan : radius_key_; }

bool TopK::Insert(float key, uint64_t row) {
  if (key < range_filter_key_ || (has_radius_ && key >= radius_key_)) return false;
  const Hit entry{key, row};
  if (k_ < kLeastBuffered) return InsertInHeap(entry);
  entries_.push_back(entry);
  if (entries_.size() == k_) {
    bound_ = std::max_element(entries_.begin(), entries_.end(), Better)->score;
  } else if (entries_.size() == capacity_) {
    Prune();
  }
  return true;
}

bool TopK::InsertInHeap(const Hit& entry) {
  if (entries_.size() < k_) {
    entries_.push_back(entry);
    std::push_heap(entries_.begin(), entries_.end(), Better);
  } else {
    if (!Better(entry, entries_.front())) return false;
    // Replaces the worst entry at the top and sinks the new one: one pass instead of the library's two.
    size_t at = 0;
    for (size_t child = 1; child < k_; child = 2 * at + 1) {
      if (child + 1 < k_ && Better(entries_[child], entries_[child + 1])) ++child;
      if (!Better(entry, entries_[child])) break;
      entries_[at] = entries_[child];
      at = child;
    }
    entries_[at] = entry;
  }
  if (entries_.size() == k_) bound_ = entries_.front().score;
  return true;
}

void TopK::Prune() {
  const auto last = entries_.begin() + static_cast<std::ptrdiff_t>(k_ - 1);
  std::nth_element(entries_.begin(), last, entries_.end(), Better);
  bound_ = last->score;
  entries_.resize(k_);
}

std::vector<Hit> TopK::TakeSorted() {
  if (entries_.size() > k_) Prune();
  std::sort(entries_.begin(), entries_.end(), Better);
  if (similarity_) {
    for (Hit& hit : entries_) hit.score = -hit.score;
  }
  ResetBound();
  return std::exchange(entries_, {});
}

}  // namespace quiver::index
