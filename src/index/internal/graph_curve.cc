#include "index/internal/graph_curve.h"

#include <algorithm>
#include <numeric>

#include "index/internal/graph_plan.h"
#include "index/internal/graph_search.h"

namespace quiver::index {
namespace {

constexpr uint32_t kAtOnce = 1024;

/// Gives the keys of all vertices to `take`(vertex, key).
template <typename Keys, typename Take>
void CompareAll(uint32_t vertices, const Keys& keys, const Take& take) {
  std::vector<uint32_t> ids(kAtOnce);
  std::vector<float> some(kAtOnce);
  for (uint32_t first = 0; first < vertices; first += kAtOnce) {
    const uint32_t count = std::min(kAtOnce, vertices - first);
    std::iota(ids.begin(), ids.begin() + count, first);
    keys(ids.data(), count, some.data());
    for (uint32_t i = 0; i < count; ++i) take(ids[i], some[i]);
  }
}

/// Orders the candidates of the pool that a search would score exactly by keys that are as exact.
void RankCandidates(const GraphView& view, const GraphQuery& query, const ExactKeys& keys, GraphScratch& scratch,
                    IndexCounters& counters) {
  if (!view.points.by_products()) return RankByWholeCodes(view, query, scratch, counters);
  std::swap(scratch.pool, scratch.seeds);
  const WalkPool& found = scratch.seeds;
  const size_t count =
      CandidatesWithin(found, view.points.products.margin, kMeasuredNearest, RefineCount(kMeasuredNearest));
  std::vector<uint32_t> ids(count);
  std::vector<float> exact(count);
  for (size_t i = 0; i < count; ++i) ids[i] = found.id(i);
  keys(query, ids.data(), count, exact.data());
  scratch.pool.Begin(std::max<size_t>(count, 1));
  for (size_t i = 0; i < count; ++i) scratch.pool.Insert(exact[i], ids[i]);
}

}  // namespace

bool MeasureWalks(const GraphView& view, std::span<const GraphQuery> queries, std::span<const uint32_t> absent,
                  const ExactKeys& keys, const BuildControl& control, std::vector<GraphCurvePoint>& curve) {
  constexpr uint32_t kEfs[] = {10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 896, 1280, 2048};
  constexpr float kNearlyAll = 0.9995f;
  constexpr float kMostWalked = 0.75f;
  const size_t samples = queries.size();
  const auto cancelled = [&] { return control.cancelled && control.cancelled(); };
  const auto absent_of = [&](size_t s) { return absent.empty() ? kNoVertex : absent[s]; };

  // The truth, by comparing all codes.
  std::vector<uint32_t> truth(samples * kMeasuredNearest);
  std::vector<float> farthest(samples);
  WalkPool nearest;
  for (size_t s = 0; s < samples; ++s) {
    if (cancelled()) return false;
    nearest.Begin(kMeasuredNearest);
    CompareAll(
        view.vertices, [&](const uint32_t* ids, size_t count, float* some) { keys(queries[s], ids, count, some); },
        [&](uint32_t vertex, float key) {
          if (vertex != absent_of(s)) nearest.Insert(key, vertex);
        });
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
      RankCandidates(view, queries[s], keys, scratch, counters);
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
    // Codes of a few bytes may never find nearly all; what walks over most vertices loses to a scan anyway.
    if (view.points.by_products() && curve.back().distances > kMostWalked * static_cast<float>(view.vertices)) break;
  }
  return true;
}

bool MeasureMargin(const GraphView& view, std::span<const GraphQuery> queries, const ExactKeys& keys,
                   const BuildControl& control, GraphMargin& margin) {
  // Of the nearest, so many are to be within the margin.
  constexpr double kWithin = 0.998;
  const size_t samples = queries.size();
  const auto coded_keys = [&](size_t s, const auto& take) {
    CompareAll(
        view.vertices,
        [&](const uint32_t* ids, size_t count, float* out) { view.points.CoarseKeys(queries[s], ids, count, out); },
        take);
  };
  std::vector<float> last(samples);  // the key of the last of those that are nearest by their codes
  std::vector<float> beyond;         // by how much the keys of those that are nearest exceed it
  WalkPool nearest;
  for (size_t s = 0; s < samples; ++s) {
    if (control.cancelled && control.cancelled()) return false;
    nearest.Begin(kMeasuredNearest);
    CompareAll(
        view.vertices, [&](const uint32_t* ids, size_t count, float* out) { keys(queries[s], ids, count, out); },
        [&](uint32_t vertex, float key) { nearest.Insert(key, vertex); });
    uint32_t ids[kMeasuredNearest];
    float coded[kMeasuredNearest];
    for (size_t i = 0; i < kMeasuredNearest; ++i) ids[i] = nearest.id(i);
    view.points.CoarseKeys(queries[s], ids, kMeasuredNearest, coded);
    nearest.Begin(kMeasuredNearest);
    coded_keys(s, [&](uint32_t vertex, float key) { nearest.Insert(key, vertex); });
    last[s] = nearest.key(kMeasuredNearest - 1);
    for (const float key : coded) beyond.push_back(key - last[s]);
  }
  const auto at = beyond.begin() + static_cast<std::ptrdiff_t>(kWithin * static_cast<double>(beyond.size() - 1));
  std::nth_element(beyond.begin(), at, beyond.end());
  margin.margin = std::max(*at, 0.0f);
  size_t within = 0;
  for (size_t s = 0; s < samples; ++s) {
    if (control.cancelled && control.cancelled()) return false;
    coded_keys(s, [&](uint32_t, float key) { within += key <= last[s] + margin.margin ? 1 : 0; });
  }
  margin.candidates = static_cast<float>(within) / static_cast<float>(samples);
  return true;
}

}  // namespace quiver::index
