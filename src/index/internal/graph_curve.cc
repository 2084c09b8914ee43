#include "index/internal/graph_curve.h"

#include <algorithm>
#include <numeric>

#include "index/internal/graph_search.h"

namespace quiver::index {

bool MeasureWalks(const GraphView& view, std::span<const GraphQuery> queries, std::span<const uint32_t> absent,
                  const ExactKeys& keys, const BuildControl& control, std::vector<GraphCurvePoint>& curve) {
  constexpr uint32_t kEfs[] = {10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 896, 1280, 2048};
  constexpr uint32_t kAtOnce = 1024;
  constexpr float kNearlyAll = 0.9995f;
  const size_t samples = queries.size();
  const auto cancelled = [&] { return control.cancelled && control.cancelled(); };
  const auto absent_of = [&](size_t s) { return absent.empty() ? kNoVertex : absent[s]; };

  // The truth, by comparing all codes.
  std::vector<uint32_t> truth(samples * kMeasuredNearest);
  std::vector<float> farthest(samples);
  WalkPool nearest;
  std::vector<uint32_t> ids(kAtOnce);
  std::vector<float> some(kAtOnce);
  for (size_t s = 0; s < samples; ++s) {
    if (cancelled()) return false;
    nearest.Begin(kMeasuredNearest);
    for (uint32_t first = 0; first < view.vertices; first += kAtOnce) {
      const uint32_t count = std::min(kAtOnce, view.vertices - first);
      std::iota(ids.begin(), ids.begin() + count, first);
      keys(queries[s], ids.data(), count, some.data());
      for (uint32_t i = 0; i < count; ++i) {
        if (ids[i] != absent_of(s)) nearest.Insert(some[i], ids[i]);
      }
    }
    for (size_t i = 0; i < kMeasuredNearest; ++i) truth[s * kMeasuredNearest + i] = nearest.id(i);
    farthest[s] = nearest.key(kMeasuredNearest - 1);
    if (control.on_progress) control.on_progress(static_cast<double>(s) / static_cast<double>(samples));
  }
  GraphScratch scratch;
  for (const uint32_t ef : kEfs) {
    if (ef > 2 * view.vertices) break;
    if (cancelled()) return false;
    size_t found = 0;
    IndexCounters counters;
    for (size_t s = 0; s < samples; ++s) {
      WalkGraph(view, queries[s], ef, scratch, counters, {}, absent_of(s));
      RankByWholeCodes(view, queries[s], scratch, counters);
      for (size_t i = 0; i < std::min(kMeasuredNearest, scratch.pool.size()); ++i) {
        const uint32_t* begin = truth.data() + s * kMeasuredNearest;
        // Of many vertices at one distance any will do.
        const bool right = view.points.exact() ? scratch.pool.key(i) <= farthest[s]
                                               : std::find(begin, begin + kMeasuredNearest, scratch.pool.id(i)) !=
                                                     begin + kMeasuredNearest;
        found += right ? 1 : 0;
      }
    }
    const auto share = static_cast<float>(found) / static_cast<float>(samples * kMeasuredNearest);
    curve.push_back({ef, share, static_cast<float>(counters.code_distances) / static_cast<float>(samples)});
    if (share >= kNearlyAll) break;
  }
  return true;
}

}  // namespace quiver::index
