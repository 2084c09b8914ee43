#include "index/internal/graph_search.h"

#include <algorithm>

namespace quiver::index {
namespace {

/// Expansions between two looks at `cancelled`.
constexpr size_t kLookEvery = 256;
/// Rows asked for before the kernel starts, about as many as the processor fetches at once; the kernel asks for the
/// rest.
constexpr size_t kPrefetchRows = 16;

template <typename T>
T* Sized(std::vector<T>& buffer, size_t count) {
  if (buffer.size() < count) buffer.resize(count);
  return buffer.data();
}

/// Walks greedily down the upper levels; returns the base vertex to begin at.
uint32_t Descend(const GraphView& view, const GraphQuery& query, GraphScratch& scratch, IndexCounters& counters) {
  if (view.upper_levels == 0) return view.entry;
  uint32_t* ids = Sized(scratch.ids, view.upper_degree);
  float* keys = Sized(scratch.keys, view.upper_degree);
  uint32_t at = 0;
  float key = 0;
  view.points.CoarseKeys(query, view.upper_vertices, 1, &key);
  ++counters.code_distances;
  // Positions mean the same vertex on all levels, so one set of marks serves them all.
  scratch.visited.Begin(view.vertices);
  scratch.visited.Mark(0);
  uint32_t* positions = Sized(scratch.rows, view.upper_degree);
  for (uint32_t l = 0; l < view.upper_levels; ++l) {
    for (bool moved = true; moved;) {
      moved = false;
      const uint32_t* row = view.upper[l].links + size_t{at} * view.upper_degree;
      size_t count = 0;
      for (size_t i = 0; i < view.upper_degree && row[i] != kNoVertex; ++i) {
        if (!scratch.visited.Mark(row[i])) continue;
        positions[count] = row[i];
        ids[count] = view.upper_vertices[row[i]];
        view.points.PrefetchFactors(ids[count]);
        if (count < kPrefetchRows) view.points.Prefetch(ids[count]);
        ++count;
      }
      view.points.CoarseKeys(query, ids, count, keys);
      counters.code_distances += count;
      for (size_t i = 0; i < count; ++i) {
        if (keys[i] < key) {
          key = keys[i];
          at = positions[i];
          moved = true;
        }
      }
    }
  }
  return view.upper_vertices[at];
}

}  // namespace

bool WalkGraph(const GraphView& view, const GraphQuery& query, size_t ef, GraphScratch& scratch,
               IndexCounters& counters, const std::function<bool()>& cancelled) {
  WalkPool& pool = scratch.pool;
  pool.Begin(ef);
  if (view.vertices == 0) return true;
  const uint32_t most = std::max({view.degree, view.upper_degree, view.start_count + 1}) + 1;
  uint32_t* ids = Sized(scratch.ids, most);
  float* keys = Sized(scratch.keys, most);
  const uint32_t entry = Descend(view, query, scratch, counters);
  scratch.visited.Begin(view.vertices);
  scratch.visited.Mark(entry);
  ids[0] = entry;
  size_t count = 1;
  for (uint32_t i = 0; i < view.start_count; ++i) {
    if (scratch.visited.Mark(view.starts[i])) ids[count++] = view.starts[i];
  }
  for (size_t step = 1;; ++step) {
    view.points.CoarseKeys(query, ids, count, keys);
    counters.code_distances += count;
    for (size_t i = 0; i < count; ++i) pool.Insert(keys[i], ids[i]);
    const uint32_t best = pool.Pop();
    if (best == kNoVertex) return true;
    ++counters.expansions;
    if (const uint32_t following = pool.Peek(); following != kNoVertex) view.PrefetchRow(following);
    const uint32_t* row = view.row(best);
    count = 0;
    for (uint32_t i = 0; i < view.degree && row[i] != kNoVertex; ++i) {
      // Whether a vertex is new is anybody's guess: counted, not branched on.
      ids[count] = row[i];
      count += scratch.visited.Mark(row[i]) ? 1 : 0;
    }
    const size_t ahead = std::min(count, kPrefetchRows);
    for (size_t i = 0; i < ahead; ++i) view.points.Prefetch(ids[i]);
    for (size_t i = 0; i < count; ++i) view.points.PrefetchFactors(ids[i]);
    if (step % kLookEvery == 0 && cancelled && cancelled()) return false;
  }
}

bool WalkGraphMatching(const GraphView& view, const GraphQuery& query, size_t ef,
                       const std::function<bool(uint32_t)>& matches, GraphScratch& scratch, IndexCounters& counters,
                       const std::function<bool()>& cancelled) {
  // A short plain walk brings the start to the query's neighbourhood, whether anything matches there or not.
  constexpr size_t kSeeds = 32;
  if (!WalkGraph(view, query, kSeeds, scratch, counters, cancelled)) return false;
  std::swap(scratch.pool, scratch.seeds);
  WalkPool& pool = scratch.pool;
  pool.Begin(ef);
  scratch.visited.Begin(view.vertices);
  // Candidates of one expansion: as many as a row holds. What lies behind neighbours is looked at until that many.
  const size_t most = view.degree;
  uint32_t* ids = Sized(scratch.ids, 2 * size_t{view.degree} + kSeeds);
  float* keys = Sized(scratch.keys, 2 * size_t{view.degree} + kSeeds);
  size_t count = 0;
  const auto look = [&](uint32_t vertex) {
    if (!scratch.visited.Mark(vertex) || !matches(vertex)) return;
    if (count < kPrefetchRows) view.points.Prefetch(vertex);
    ids[count++] = vertex;
  };
  const auto score = [&] {
    view.points.CoarseKeys(query, ids, count, keys);
    counters.code_distances += count;
    for (size_t i = 0; i < count; ++i) pool.Insert(keys[i], ids[i]);
    count = 0;
  };
  /// Looks at the neighbours of a vertex, then at what lies behind those that do not match.
  const auto expand = [&](uint32_t vertex) {
    const uint32_t* row = view.row(vertex);
    uint32_t end = 0;
    for (; end < view.degree && row[end] != kNoVertex; ++end) look(row[end]);
    for (uint32_t i = 0; i < end && count < most; ++i) {
      if (matches(row[i])) continue;
      const uint32_t* behind = view.row(row[i]);
      if (i + 1 < end) view.PrefetchRow(row[i + 1]);
      for (uint32_t j = 0; j < view.degree && behind[j] != kNoVertex && count < 2 * most; ++j) look(behind[j]);
    }
    score();
  };
  for (size_t i = 0; i < scratch.seeds.size(); ++i) look(scratch.seeds.id(i));
  score();
  // Where few seeds match, their surroundings are searched too.
  for (size_t i = 0; i < scratch.seeds.size() && pool.size() < kSeeds / 4; ++i) expand(scratch.seeds.id(i));
  for (size_t step = 1;; ++step) {
    const uint32_t best = pool.Pop();
    if (best == kNoVertex) return true;
    ++counters.expansions;
    expand(best);
    if (step % kLookEvery == 0 && cancelled && cancelled()) return false;
  }
}

void RankByWholeCodes(const GraphView& view, const GraphQuery& query, GraphScratch& scratch, IndexCounters& counters) {
  std::swap(scratch.pool, scratch.seeds);
  const WalkPool& coarse = scratch.seeds;
  const size_t count = coarse.size();
  uint32_t* ids = Sized(scratch.ids, count);
  float* keys = Sized(scratch.keys, count);
  for (size_t i = 0; i < count; ++i) ids[i] = coarse.id(i);
  view.points.WholeKeys(query, ids, count, keys);
  counters.code_distances += count;
  scratch.pool.Begin(std::max<size_t>(count, 1));
  for (size_t i = 0; i < count; ++i) scratch.pool.Insert(keys[i], ids[i]);
}

}  // namespace quiver::index
