#include "codec/kmeans.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "simd/kernels.h"

namespace quiver::codec {
namespace {

using simd::CentrePanels;
using simd::FloatRows;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
/// Up to this many centres all of them are compared; beyond, groups are chosen first.
constexpr size_t kMostInOneLevel = 1024;
/// Groups that a row looks into.
constexpr size_t kGroupsVisited = 8;
/// Rows that are assigned at once: their scores stay in cache.
constexpr size_t kChunk = 2048;

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  size_t Below(size_t limit) { return static_cast<size_t>(Next() % limit); }

 private:
  uint64_t state_;
};

/// Runs task(0) .. task(count - 1), each once, on up to `threads` threads.
template <class Task>
void ForEachTask(size_t count, size_t threads, const Task& task) {
  threads = std::min(threads, count);
  if (threads <= 1) {
    for (size_t i = 0; i < count; ++i) task(i);
    return;
  }
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) task(i);
  };
  std::vector<std::thread> helpers;
  for (size_t t = 1; t < threads; ++t) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
}

/// Rows sorted by their centre: rows of centre c are order[begin[c]] .. order[begin[c + 1]], ascending.
struct Members {
  std::vector<uint32_t> order;
  std::vector<uint32_t> begin;
};

Members MembersOf(const std::vector<uint32_t>& best, size_t centres) {
  Members members;
  members.begin.assign(centres + 1, 0);
  for (uint32_t c : best) ++members.begin[c + 1];
  std::partial_sum(members.begin.begin(), members.begin.end(), members.begin.begin());
  members.order.resize(best.size());
  std::vector<uint32_t> at(members.begin.begin(), members.begin.end() - 1);
  for (size_t i = 0; i < best.size(); ++i) members.order[at[best[i]]++] = static_cast<uint32_t>(i);
  return members;
}

/// Moves every centre to the mean of its rows. A centre without rows takes a row of the largest one that has more than
/// twice the mean, so that crowded places get more centres.
void MoveCentres(const float* rows, size_t dim, const Members& members, Random& random, float* centres) {
  const size_t count = members.begin.size() - 1;
  std::vector<uint32_t> empty;
  std::vector<double> sum(dim);
  for (size_t c = 0; c < count; ++c) {
    const uint32_t begin = members.begin[c];
    const uint32_t end = members.begin[c + 1];
    if (begin == end) {
      empty.push_back(static_cast<uint32_t>(c));
      continue;
    }
    std::fill(sum.begin(), sum.end(), 0.0);
    for (uint32_t i = begin; i < end; ++i) {
      const float* row = rows + members.order[i] * dim;
      for (size_t d = 0; d < dim; ++d) sum[d] += static_cast<double>(row[d]);
    }
    for (size_t d = 0; d < dim; ++d) centres[c * dim + d] = static_cast<float>(sum[d] / (end - begin));
  }
  if (empty.empty()) return;
  std::vector<uint32_t> largest(count);
  std::iota(largest.begin(), largest.end(), 0u);
  const auto size_of = [&](uint32_t c) { return members.begin[c + 1] - members.begin[c]; };
  std::sort(largest.begin(), largest.end(),
            [&](uint32_t a, uint32_t b) { return size_of(a) != size_of(b) ? size_of(a) > size_of(b) : a < b; });
  for (size_t i = 0; i < empty.size(); ++i) {
    const uint32_t from = largest[i % count];
    if (size_of(from) == 0) break;
    const uint32_t row = members.order[members.begin[from] + random.Below(size_of(from))];
    std::copy_n(rows + row * dim, dim, centres + empty[i] * dim);
  }
}

/// `count` numbers below `limit`, ascending, all different where there are enough.
std::vector<uint32_t> Choose(size_t count, size_t limit, Random& random) {
  count = std::min(count, limit);
  // Selection sampling: each number is taken with the chance that keeps the count.
  std::vector<uint32_t> chosen;
  chosen.reserve(count);
  for (size_t i = 0; i < limit && chosen.size() < count; ++i) {
    if (random.Below(limit - i) < count - chosen.size()) chosen.push_back(static_cast<uint32_t>(i));
  }
  return chosen;
}

/// First centres by k-means++ on a part of the rows: each is a row, taken with a chance in proportion to its squared
/// distance from those before, so that places far from all others are not forgotten.
std::vector<float> FirstCentres(const float* rows, size_t dim, const std::vector<uint32_t>& ids, size_t count,
                                Random& random) {
  constexpr size_t kRowsPerCentre = 16;
  std::vector<uint32_t> pool = Choose(count * kRowsPerCentre, ids.size(), random);
  for (uint32_t& place : pool) place = ids[place];
  count = std::min(count, pool.size());
  std::vector<float> centres;
  centres.reserve(count * dim);
  std::vector<float> least(pool.size(), kInfinity);
  std::vector<float> distance(pool.size());
  size_t next = pool.empty() ? 0 : random.Below(pool.size());
  const auto l2 = simd::Kernels().f32.l2;
  while (centres.size() < count * dim) {
    const float* row = rows + pool[next] * dim;
    centres.insert(centres.end(), row, row + dim);
    l2({reinterpret_cast<const std::byte*>(rows), dim * sizeof(float), pool.size(), pool.data()}, row, dim,
       distance.data(), nullptr);
    double total = 0;
    for (size_t i = 0; i < pool.size(); ++i) {
      least[i] = std::min(least[i], distance[i]);
      total += static_cast<double>(least[i]);
    }
    double target = static_cast<double>(random.Next() >> 11) * 0x1p-53 * total;
    next = random.Below(pool.size());  // where all distances are zero, or not numbers
    if (!(total > 0) || !std::isfinite(total)) continue;
    for (size_t i = 0; i < pool.size(); ++i) {
      target -= static_cast<double>(least[i]);
      if (target >= 0) continue;
      next = i;
      break;
    }
  }
  return centres;
}

struct Run {
  const KMeansOptions& options;
  size_t dim;
  [[nodiscard]] bool Cancelled() const { return options.cancelled && options.cancelled(); }
};

/// Lloyd's algorithm on rows given by their numbers, one level, one thread. Returns the centres, `count` at most.
std::vector<float> Lloyd(const Run& run, const float* rows, const std::vector<uint32_t>& ids, size_t count,
                         uint64_t seed) {
  const size_t dim = run.dim;
  Random random(seed);
  const simd::ListKernels& kernels = *simd::Kernels().lists;
  std::vector<float> centres = FirstCentres(rows, dim, ids, count, random);
  count = centres.size() / dim;
  std::vector<uint32_t> best(ids.size());
  std::vector<float> score(ids.size());
  for (size_t round = 0; round < run.options.iterations && count > 1 && ids.size() > count; ++round) {
    if (run.Cancelled()) break;
    const PackedCentres packed(centres.data(), count, dim);
    std::fill(score.begin(), score.end(), -kInfinity);
    std::fill(best.begin(), best.end(), 0u);
    kernels.nearest(FloatRows{rows, dim, ids.size(), ids.data()}, packed.view(), dim, 0, best.data(), score.data());
    Members members = MembersOf(best, count);
    for (uint32_t& place : members.order) place = ids[place];
    MoveCentres(rows, dim, members, random, centres.data());
  }
  return centres;
}

/// Shares `total` among groups in proportion to their rows, one at least for those that have rows and none has more
/// centres than rows.
std::vector<size_t> ShareOut(const Members& groups, size_t total) {
  const size_t count = groups.begin.size() - 1;
  const size_t rows = groups.order.size();
  std::vector<size_t> share(count, 0);
  std::vector<std::pair<double, size_t>> rest;
  size_t given = 0;
  for (size_t g = 0; g < count; ++g) {
    const size_t size = groups.begin[g + 1] - groups.begin[g];
    if (size == 0) continue;
    const double wanted = static_cast<double>(total) * static_cast<double>(size) / static_cast<double>(rows);
    share[g] = std::clamp<size_t>(static_cast<size_t>(wanted), 1, size);
    given += share[g];
    rest.emplace_back(static_cast<double>(share[g]) - wanted, g);
  }
  // Least served first.
  std::sort(rest.begin(), rest.end());
  for (bool progress = true; given < total && progress;) {
    progress = false;
    for (const auto& [unused, g] : rest) {
      if (given == total) break;
      if (share[g] == groups.begin[g + 1] - groups.begin[g]) continue;
      ++share[g];
      ++given;
      progress = true;
    }
  }
  for (auto it = rest.rbegin(); given > total; ++it) {
    if (it == rest.rend()) it = rest.rbegin();
    if (share[it->second] == 1) continue;
    --share[it->second];
    --given;
  }
  return share;
}

}  // namespace

PackedCentres::PackedCentres(const float* centres, size_t count, size_t dim) {
  const size_t panels = (count + kPanel - 1) / kPanel;
  values_.assign(panels * kPanel * dim, 0.0f);
  bias_.assign(panels * kPanel, kInfinity);
  for (size_t c = 0; c < count; ++c) {
    double norm = 0;
    for (size_t d = 0; d < dim; ++d) {
      const float value = centres[c * dim + d];
      values_[(c / kPanel * dim + d) * kPanel + c % kPanel] = value;
      norm += static_cast<double>(value) * static_cast<double>(value);
    }
    bias_[c] = static_cast<float>(norm / 2);
  }
}

Result<KMeans> KMeans::Train(const float* rows, size_t count, size_t dim, const KMeansOptions& options) {
  KMeans means;
  means.dim_ = dim;
  const Run run{options, dim};
  const size_t wanted = std::clamp<size_t>(options.centres, 1, std::max<size_t>(count, 1));
  const auto report = [&](double share) {
    if (options.on_progress) options.on_progress(share);
  };
  Random random(options.seed);
  if (count == 0) {
    means.centres_.assign(dim, 0.0f);
    means.Pack();
    return means;
  }
  std::vector<uint32_t> all(count);
  std::iota(all.begin(), all.end(), 0u);
  if (wanted <= kMostInOneLevel / 4) {
    means.centres_ = Lloyd(run, rows, all, wanted, random.Next());
    if (run.Cancelled()) return Error(StatusCode::kCancelled, "the clustering was cancelled");
    means.Pack();
    report(1);
    return means;
  }

  // The upper level learns from a part, then all rows choose their group.
  const auto group_count = static_cast<size_t>(std::sqrt(static_cast<double>(wanted)));
  constexpr size_t kRowsPerGroup = 256;
  KMeans upper;
  upper.dim_ = dim;
  upper.centres_ = Lloyd(run, rows, Choose(group_count * kRowsPerGroup, count, random), group_count, random.Next());
  upper.Pack();
  std::vector<uint32_t> group(count);
  upper.Assign(rows, count, group.data(), options.threads);
  if (run.Cancelled()) return Error(StatusCode::kCancelled, "the clustering was cancelled");
  report(0.1);
  const Members members = MembersOf(group, upper.size());
  const std::vector<size_t> share = ShareOut(members, wanted);
  std::vector<std::vector<float>> lower(upper.size());
  const uint64_t seed = random.Next();
  ForEachTask(upper.size(), options.threads, [&](size_t g) {
    if (share[g] == 0 || run.Cancelled()) return;
    const std::vector<uint32_t> ids(members.order.begin() + members.begin[g],
                                    members.order.begin() + members.begin[g + 1]);
    lower[g] = Lloyd(run, rows, ids, share[g], seed + g);
  });
  if (run.Cancelled()) return Error(StatusCode::kCancelled, "the clustering was cancelled");
  report(0.6);
  means.group_begin_.push_back(0);
  for (const std::vector<float>& centres : lower) {
    if (centres.empty()) continue;
    means.centres_.insert(means.centres_.end(), centres.begin(), centres.end());
    means.group_begin_.push_back(static_cast<uint32_t>(means.centres_.size() / dim));
  }
  means.Pack();
  // Trained apart, centres near the border of a group do not know the rows beyond it.
  std::vector<uint32_t> best(count);
  for (size_t round = 0; round < options.polish; ++round) {
    means.Assign(rows, count, best.data(), options.threads);
    if (run.Cancelled()) return Error(StatusCode::kCancelled, "the clustering was cancelled");
    MoveCentres(rows, dim, MembersOf(best, means.size()), random, means.centres_.data());
    means.Pack();
    report(0.6 + 0.4 * static_cast<double>(round + 1) / static_cast<double>(options.polish));
  }
  return means;
}

void KMeans::Pack() {
  groups_.clear();
  if (size() <= kMostInOneLevel || group_begin_.empty()) {
    groups_.emplace_back(centres_.data(), size(), dim_);
    return;
  }
  std::vector<float> middles((group_begin_.size() - 1) * dim_);
  for (size_t g = 0; g + 1 < group_begin_.size(); ++g) {
    const size_t begin = group_begin_[g];
    const size_t end = group_begin_[g + 1];
    groups_.emplace_back(centres_.data() + begin * dim_, end - begin, dim_);
    for (size_t d = 0; d < dim_; ++d) {
      double sum = 0;
      for (size_t c = begin; c < end; ++c) sum += static_cast<double>(centres_[c * dim_ + d]);
      middles[g * dim_ + d] = static_cast<float>(sum / static_cast<double>(end - begin));
    }
  }
  middles_ = PackedCentres(middles.data(), groups_.size(), dim_);
}

void KMeans::AssignChunk(const float* rows, size_t count, uint32_t* best) const {
  const simd::ListKernels& kernels = *simd::Kernels().lists;
  std::vector<float> score(count, -kInfinity);
  std::fill_n(best, count, 0u);
  if (groups_.size() == 1) {
    kernels.nearest(FloatRows{rows, dim_, count, nullptr}, groups_[0].view(), dim_, 0, best, score.data());
    return;
  }
  const size_t stride = middles_.padded_count();
  std::vector<float> scores(count * stride);
  kernels.scores(FloatRows{rows, dim_, count, nullptr}, middles_.view(), dim_, scores.data(), stride);
  // Rows of each group, so that a group's centres are multiplied with many rows at once.
  std::vector<std::vector<uint32_t>> visitors(groups_.size());
  std::vector<std::pair<float, uint32_t>> ranked(groups_.size());
  const size_t visited = std::min(kGroupsVisited, groups_.size());
  for (size_t i = 0; i < count; ++i) {
    for (uint32_t g = 0; g < groups_.size(); ++g) {
      const float value = scores[i * stride + g];
      ranked[g] = {std::isnan(value) ? kInfinity : -value, g};
    }
    std::nth_element(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(visited - 1), ranked.end());
    for (size_t j = 0; j < visited; ++j) visitors[ranked[j].second].push_back(static_cast<uint32_t>(i));
  }
  std::vector<uint32_t> group_best;
  std::vector<float> group_score;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const std::vector<uint32_t>& ids = visitors[g];
    group_best.assign(ids.size(), 0);
    group_score.resize(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      group_best[i] = best[ids[i]];
      group_score[i] = score[ids[i]];
    }
    kernels.nearest(FloatRows{rows, dim_, ids.size(), ids.data()}, groups_[g].view(), dim_, group_begin_[g],
                    group_best.data(), group_score.data());
    for (size_t i = 0; i < ids.size(); ++i) {
      best[ids[i]] = group_best[i];
      score[ids[i]] = group_score[i];
    }
  }
}

void KMeans::Assign(const float* rows, size_t count, uint32_t* best, size_t threads) const {
  ForEachTask((count + kChunk - 1) / kChunk, threads, [&](size_t chunk) {
    const size_t first = chunk * kChunk;
    AssignChunk(rows + first * dim_, std::min(kChunk, count - first), best + first);
  });
}

}  // namespace quiver::codec
