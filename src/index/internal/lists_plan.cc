#include "index/internal/lists_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace quiver::index {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kMostLists = 65536;
constexpr double kDefaultRecall = 0.95;
/// Under a filter a search looks at the lists that were asked for, times the share of rows that it keeps to the power
/// of minus this, and then at more and more of them
constexpr double kFirstExponent = 0.25;
/// (twice as many in each round; fewer where so many hits are wanted that a short round tells enough)
constexpr double kTellingHits = 30;
/// until the hits that the last round brought say that no more are missing than without a filter. Missed hits fall with
/// the lists' number to the power of minus this, as measured on data M, and somewhat more may be missing.
constexpr double kMissedExponent = 1.3;
constexpr double kMissedFactor = 1.2;
/// However few lists were asked for, no larger part of the hits counts as what may be missed: far from the query the
/// first lists bring next to nothing.
constexpr double kMostMissed = 0.1;
/// Nor does the number of lists promise more than this: codes lose hits, too.
constexpr double kMostPromised = 0.98;
/// The last round looks at lists that were not needed: measured on data M.
constexpr double kOvershoot = 1.5;

/// Recall of the k nearest at a point of the curve.
double RecallAt(const CurvePoint& point, size_t k) {
  const double share = std::clamp((std::log10(static_cast<double>(std::max<size_t>(k, 1))) - 1), 0.0, 1.0);
  return (1 - share) * static_cast<double>(point.recall10) + share * static_cast<double>(point.recall100);
}

}  // namespace

/// Lists that hold `recall` of the k nearest rows, by the curve.
uint32_t ListsPlan::ListsForRecall(double recall, size_t k) const {
  if (curve.empty()) return nlist;
  for (const CurvePoint& point : curve) {
    if (RecallAt(point, k) < recall) continue;
    // Beyond what was measured the lists that hold the nearest k grow with a root of k.
    const double more = k > 100 ? std::sqrt(static_cast<double>(k) / 100) : 1.0;
    return static_cast<uint32_t>(std::min(static_cast<double>(nlist), std::ceil(point.nprobe * more)));
  }
  return nlist;
}

/// The part of the k nearest rows that lies in so many lists, by the curve.
double ListsPlan::RecallOf(uint32_t nprobe, size_t k) const {
  for (const CurvePoint& point : curve) {
    if (point.nprobe >= nprobe) return RecallAt(point, k);
  }
  return curve.empty() ? kDefaultRecall : 1;
}

double ListsPlan::ShareOf(const RowFilter& filter) const {
  if (filter.bits == nullptr || listed == 0) return 1;
  return std::min(1.0, static_cast<double>(filter.count) / static_cast<double>(listed));
}

/// The part of the hits that a search may not go below under a filter; `asked`: the lists it would look at without one.
double ListsPlan::Promised(const IndexSearchOptions& options, uint32_t asked) const {
  // Lists that were asked for by number promise what they find without a filter, whatever the recall beside them says.
  const double recall = std::max(options.recall, std::min(RecallOf(asked, options.k), kMostPromised));
  return std::max(recall, 1 - kMostMissed);
}

uint32_t ListsPlan::ListsFor(const IndexSearchOptions& options, const RowFilter& filter) const {
  uint32_t nprobe = options.nprobe;
  if (nprobe == 0) nprobe = ListsForRecall(options.recall > 0 ? options.recall : kDefaultRecall, options.k);
  if (filter.bits != nullptr && filter.count > 0 && listed > 0) {
    // The k-th match of a filter that keeps a share s lies about as far as row k / s without it.
    nprobe =
        static_cast<uint32_t>(std::min(static_cast<double>(nlist), std::ceil(nprobe / std::sqrt(ShareOf(filter)))));
  }
  return std::clamp<uint32_t>(nprobe, 1, nlist);
}

ListsGoal ListsPlan::GoalOf(const RowFilter& filter, const IndexSearchOptions& options, uint32_t most) const {
  if (filter.bits == nullptr) return {.first = most, .needed = std::min<uint64_t>(options.k, listed)};
  const uint32_t asked = ListsFor(options, {});
  const double missed = (1 - Promised(options, asked)) * static_cast<double>(options.k);
  const double growth = std::min(1.0, kTellingHits / static_cast<double>(std::max<size_t>(options.k, 1)));
  // The last of these lists tell whether more are needed.
  const double begin = asked / std::pow(std::max(ShareOf(filter), 1e-6), kFirstExponent) / (1 + growth);
  return {.first = static_cast<uint32_t>(std::clamp(std::ceil(begin), 1.0, static_cast<double>(most))),
          .needed = std::min<uint64_t>({options.k, filter.count, listed}),
          .growth = growth,
          .yield = kMissedFactor * (std::pow(1 + growth, kMissedExponent) - 1) * missed};
}

double ListsPlan::Expected(const RowFilter& filter, const IndexSearchOptions& options, uint32_t most, bool full) const {
  if (filter.bits == nullptr) return most;
  const double share = std::max(ShareOf(filter), 1e-9);
  // As many lists as hold k matches, if these lie anywhere.
  double lists = nlist * static_cast<double>(std::max<size_t>(options.k, 1)) /
                 (share * static_cast<double>(std::max<uint64_t>(listed, 1)));
  if (full) {
    lists = std::max(lists, static_cast<double>(GoalOf(filter, options, most).first));
  } else {
    lists = std::max(lists, static_cast<double>(most));
    if (!curve.empty()) {
      const uint32_t asked = ListsFor(options, {});
      lists = std::max(lists, ListsForRecall(Promised(options, asked), options.k) / std::sqrt(share));
    }
  }
  return std::min(static_cast<double>(nlist), kOvershoot * lists);
}

size_t ChooseLists(const IndexRecipe& recipe, size_t rows) {
  if (recipe.nlist != 0) return std::clamp<size_t>(recipe.nlist, 1, kMostLists);
  // Lists of fewer than two blocks are mostly room.
  const auto wanted = static_cast<size_t>(4 * std::sqrt(static_cast<double>(rows)));
  return std::clamp<size_t>(std::min(wanted, rows / 64), 1, kMostLists);
}

bool ShiftQuery(MetricType metric, std::span<const float> mean, float* plain, float* product) {
  double norm2 = 0;
  for (size_t d = 0; d < mean.size(); ++d) norm2 += static_cast<double>(plain[d]) * static_cast<double>(plain[d]);
  const bool cosine = metric == MetricType::kCosine;
  if (!SafeNorm(norm2, cosine)) return false;
  if (cosine) {
    const auto inverse = static_cast<float>(1 / std::sqrt(norm2));
    for (size_t d = 0; d < mean.size(); ++d) plain[d] *= inverse;
  }
  if (metric == MetricType::kIp) {
    double sum = 0;
    for (size_t d = 0; d < mean.size(); ++d) sum += static_cast<double>(plain[d]) * static_cast<double>(mean[d]);
    *product = static_cast<float>(sum);
  } else {
    for (size_t d = 0; d < mean.size(); ++d) plain[d] -= mean[d];
  }
  return true;
}

void ChooseNearest(size_t nlist, size_t count, ListsScratch& scratch) {
  const float* keys = scratch.centre_keys.data();
  auto& nearest = scratch.nearest;
  nearest.clear();
  const size_t blocks = (nlist + kListBlock - 1) / kListBlock;
  // Each of the `count` blocks with the smallest keys holds one at least, so the nearest lie below the last of these.
  float bound = kInfinity;
  if (count <= blocks / 2) {
    scratch.block_order.assign(scratch.block_keys.begin(),
                               scratch.block_keys.begin() + static_cast<std::ptrdiff_t>(blocks));
    const auto last = scratch.block_order.begin() + static_cast<std::ptrdiff_t>(count - 1);
    std::nth_element(scratch.block_order.begin(), last, scratch.block_order.end());
    bound = *last;
  }
  const size_t room = std::max<size_t>(4 * count, count + 256);
  const auto prune = [&] {
    std::nth_element(nearest.begin(), nearest.begin() + static_cast<std::ptrdiff_t>(count - 1), nearest.end());
    nearest.resize(count);
    bound = nearest.back().first;
  };
  for (uint32_t b = 0; b < blocks; ++b) {
    if (!(scratch.block_keys[b] <= bound)) continue;
    const auto end = static_cast<uint32_t>(std::min<size_t>(nlist, (b + 1) * kListBlock));
    for (auto l = static_cast<uint32_t>(b * kListBlock); l < end; ++l) {
      if (keys[l] <= bound) nearest.emplace_back(keys[l], l);
    }
    if (nearest.size() >= room) prune();
  }
  if (nearest.size() > count) prune();
  std::sort(nearest.begin(), nearest.end());
  scratch.chosen.clear();
  for (const auto& [key, list] : nearest) scratch.chosen.push_back(list);
}

void ChooseFurther(size_t nlist, size_t count, ListsScratch& scratch) {
  if (scratch.chosen.size() >= count) return;
  // The nearest come first whatever their number, so those that were chosen before keep their places.
  ChooseNearest(nlist, scratch.chosen.empty() ? count : std::min(nlist, 2 * count), scratch);
}

std::vector<CurvePoint> MeasureCurve(uint32_t nlist, std::span<const uint32_t> rows, std::span<TopK> truth,
                                     std::span<const uint32_t> list_of_row,
                                     const std::function<void(size_t, float*)>& keys_of) {
  std::vector<CurvePoint> curve;
  // found10[n], found100[n]: neighbours in the list of rank n.
  std::vector<double> found10(nlist), found100(nlist);
  std::vector<float> keys(nlist);
  std::vector<uint32_t> order(nlist), rank(nlist + 1);
  double total10 = 0, total100 = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    keys_of(i, keys.data());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
    for (uint32_t r = 0; r < nlist; ++r) rank[order[r]] = r;
    rank[nlist] = 0;  // loose rows are always found
    size_t taken = 0;
    for (const Hit& hit : truth[i].TakeSorted()) {
      if (hit.row == rows[i] || taken == kCurveDepth) continue;
      const uint32_t at = rank[list_of_row[hit.row]];
      if (taken++ < 10) {
        found10[at] += 1;
        total10 += 1;
      }
      found100[at] += 1;
      total100 += 1;
    }
  }
  double sum10 = 0, sum100 = 0;
  for (uint32_t n = 0; n < nlist; ++n) {
    sum10 += found10[n];
    sum100 += found100[n];
    // Points are a tenth apart.
    const uint32_t nprobe = n + 1;
    if (!curve.empty() && nprobe < nlist && nprobe * 10 < curve.back().nprobe * 11) continue;
    curve.push_back({nprobe, static_cast<float>(sum10 / std::max(1.0, total10)),
                     static_cast<float>(sum100 / std::max(1.0, total100))});
  }
  return curve;
}

}  // namespace quiver::index
