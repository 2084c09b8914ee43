#include "query/fusion.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <unordered_map>

namespace quiver::query {

double FusionScore(MetricType metric, double score, bool normalize) {
  if (!IsSimilarity(metric)) return 1 - 2 * std::atan(score) / std::numbers::pi;
  if (!normalize) return score;
  if (metric == MetricType::kCosine) return (1 + score) / 2;
  return 0.5 + std::atan(score) / std::numbers::pi;
}

std::vector<index::Hit> Fuse(const std::vector<RankedList>& lists, const Fusion& fusion) {
  std::unordered_map<uint64_t, double> sums;
  for (size_t list = 0; list < lists.size(); ++list) {
    for (size_t rank = 0; rank < lists[list].hits.size(); ++rank) {
      const index::Hit& hit = lists[list].hits[rank];
      sums[hit.row] += fusion.kind == Fusion::Kind::kRrf
                           ? 1 / (fusion.k + static_cast<double>(rank) + 1)
                           : fusion.weights[list] * FusionScore(lists[list].metric, hit.score, fusion.normalize);
    }
  }
  std::vector<index::Hit> fused;
  fused.reserve(sums.size());
  for (const auto& [row, sum] : sums) fused.push_back({.score = static_cast<float>(sum), .row = row});
  std::sort(fused.begin(), fused.end(), [](const index::Hit& a, const index::Hit& b) {
    return a.score != b.score ? a.score > b.score : a.row < b.row;
  });
  return fused;
}

}  // namespace quiver::query
