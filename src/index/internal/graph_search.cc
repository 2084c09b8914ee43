#include "index/internal/graph_search.h"

#include <algorithm>
#include <limits>

namespace quiver::index {
namespace {

/// Expansions between two looks at `cancelled`.
constexpr size_t kLookEvery = 256;
/// Rows asked for before the kernel starts, about as many as the processor fetches at once; the kernel asks for the
/// rest.
constexpr size_t kPrefetchRows = 16;
/// Expansions between two looks at how many rows match.
constexpr size_t kJudgeEvery = 24;
constexpr float kNoLimit = std::numeric_limits<float>::infinity();

template <typename T>
T* Sized(std::vector<T>& buffer, size_t count) {
  if (buffer.size() < count) buffer.resize(count);
  return buffer.data();
}

}  // namespace

uint32_t DescendGraph(const GraphView& view, const GraphQuery& query, GraphScratch& scratch, IndexCounters& counters,
                      uint32_t absent) {
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
  uint32_t* copy = Sized(scratch.links, view.upper_degree);
  for (uint32_t l = 0; l < view.upper_levels; ++l) {
    for (bool moved = true; moved;) {
      moved = false;
      const uint32_t* row = view.LinksOf(view.upper[l], at, copy);
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
        if (keys[i] < key && ids[i] != absent) {
          key = keys[i];
          at = positions[i];
          moved = true;
        }
      }
    }
  }
  return view.upper_vertices[at];
}

bool WalkGraph(const GraphView& view, const GraphQuery& query, size_t ef, GraphScratch& scratch,
               IndexCounters& counters, const std::function<bool()>& cancelled, uint32_t absent) {
  WalkPool& pool = scratch.pool;
  pool.Begin(ef);
  if (view.vertices == 0) return true;
  const uint32_t most = std::max({view.degree, view.upper_degree, view.start_count + 1}) + 1;
  uint32_t* ids = Sized(scratch.ids, most);
  float* keys = Sized(scratch.keys, most);
  const uint32_t entry = DescendGraph(view, query, scratch, counters, absent);
  uint32_t* copy = Sized(scratch.links, view.degree);
  scratch.visited.Begin(view.vertices);
  if (absent != kNoVertex) scratch.visited.Mark(absent);
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
    const uint32_t* row = view.LinksOf(best, copy);
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

WalkEnd WalkGraphChecked(const GraphView& view, const GraphQuery& query, const VertexFilter& matches, CheckedWalk& walk,
                         GraphScratch& scratch, IndexCounters& counters, const std::function<bool()>& cancelled) {
  WalkPool& pool = scratch.pool;
  WalkPool& way = scratch.way;
  pool.Begin(walk.room);
  if (view.vertices == 0) return WalkEnd::kFound;
  const size_t spent = counters.code_distances + walk.budget;
  // What leads on stays within what the budget could expand.
  way.Begin(std::min<size_t>(view.vertices, std::max<size_t>(walk.budget, walk.room)));
  const uint32_t most = std::max({view.degree, view.upper_degree, view.start_count + 1}) + 1;
  uint32_t* ids = Sized(scratch.ids, most);
  float* keys = Sized(scratch.keys, most);
  const uint32_t entry = DescendGraph(view, query, scratch, counters);
  uint32_t* copy = Sized(scratch.links, view.degree);
  scratch.visited.Begin(view.vertices);
  scratch.visited.Mark(entry);
  ids[0] = entry;
  size_t count = 1;
  for (uint32_t i = 0; i < view.start_count; ++i) {
    if (scratch.visited.Mark(view.starts[i])) ids[count++] = view.starts[i];
  }
  size_t seen = 0, matched = 0;
  for (size_t step = 1;; ++step) {
    view.points.CoarseKeys(query, ids, count, keys);
    counters.code_distances += count;
    const float before = pool.size() >= walk.wanted ? pool.key(walk.wanted - 1) : kNoLimit;
    for (size_t i = 0; i < count; ++i) {
      if (!(keys[i] < before)) continue;
      way.Insert(keys[i], ids[i]);
      ++seen;
      if (!matches(ids[i])) continue;
      ++matched;
      pool.Insert(keys[i], ids[i]);
    }
    if (pool.size() >= walk.wanted && !(way.PeekKey() <= pool.key(walk.wanted - 1))) {
      const double share =
          static_cast<double>(walk.wanted) / static_cast<double>(std::max(way.expanded(), walk.wanted));
      const size_t wanted = walk.wanted_at ? std::min(walk.wanted_at(share), walk.room) : 0;
      if (wanted <= walk.wanted) return WalkEnd::kFound;
      walk.wanted = wanted;
    }
    const uint32_t best = way.Pop();
    if (best == kNoVertex) return WalkEnd::kFound;
    ++counters.expansions;
    if (step % kJudgeEvery == 0) {
      // What was met on the way to the query says nothing of its surroundings: each judgement counts anew.
      const double share = (static_cast<double>(matched) + 0.5) / (static_cast<double>(seen) + 1);
      if (counters.code_distances > spent || (walk.hopeless && walk.hopeless(share))) return WalkEnd::kGivenUp;
      seen = matched = 0;
    }
    if (step % kLookEvery == 0 && cancelled && cancelled()) return WalkEnd::kCancelled;
    if (const uint32_t following = way.Peek(); following != kNoVertex) view.PrefetchRow(following);
    const uint32_t* row = view.LinksOf(best, copy);
    count = 0;
    for (uint32_t i = 0; i < view.degree && row[i] != kNoVertex; ++i) {
      ids[count] = row[i];
      count += scratch.visited.Mark(row[i]) ? 1 : 0;
    }
    const size_t ahead = std::min(count, kPrefetchRows);
    for (size_t i = 0; i < ahead; ++i) view.points.Prefetch(ids[i]);
    for (size_t i = 0; i < count; ++i) view.points.PrefetchFactors(ids[i]);
  }
}

bool WalkGraphThrough(const GraphView& view, const GraphQuery& query, size_t ef, const VertexFilter& matches,
                      GraphScratch& scratch, IndexCounters& counters, const std::function<bool()>& cancelled) {
  std::swap(scratch.pool, scratch.seeds);
  WalkPool& pool = scratch.pool;
  pool.Begin(ef);
  scratch.visited.Begin(view.vertices);
  // So many neighbours that match, seen before or not, are enough of an expansion; where fewer do, those behind the
  // others count as neighbours until there are.
  const size_t enough = view.degree / 2;
  const size_t most = 2 * size_t{view.degree} + scratch.seeds.size();
  uint32_t* ids = Sized(scratch.ids, most);
  float* keys = Sized(scratch.keys, most);
  size_t count = 0;
  const auto take = [&](uint32_t vertex) {
    if (count < kPrefetchRows) view.points.Prefetch(vertex);
    ids[count++] = vertex;
  };
  const auto score = [&] {
    view.points.CoarseKeys(query, ids, count, keys);
    counters.code_distances += count;
    for (size_t i = 0; i < count; ++i) pool.Insert(keys[i], ids[i]);
    count = 0;
  };
  for (size_t i = 0; i < scratch.seeds.size(); ++i) {
    if (scratch.visited.Mark(scratch.seeds.id(i))) take(scratch.seeds.id(i));
  }
  score();
  uint32_t others[kMaxLinks];
  uint32_t* copy = Sized(scratch.links, view.degree);
  for (size_t step = 1;; ++step) {
    const uint32_t best = pool.Pop();
    if (best == kNoVertex) return true;
    ++counters.expansions;
    if (const uint32_t following = pool.Peek(); following != kNoVertex) view.PrefetchRow(following);
    const uint32_t* row = view.LinksOf(best, copy);
    size_t matching = 0, other = 0;
    for (uint32_t i = 0; i < view.degree && row[i] != kNoVertex; ++i) {
      if (!matches(row[i])) {
        others[other++] = row[i];
        continue;
      }
      ++matching;
      if (scratch.visited.Mark(row[i])) take(row[i]);
    }
    for (size_t i = 0; i < other && matching < enough; ++i) {
      if (i + 1 < other) view.PrefetchRow(others[i + 1]);
      // Its own neighbours are looked at once.
      if (!scratch.visited.Mark(others[i])) continue;
      const uint32_t* behind = view.LinksOf(others[i], copy);
      for (uint32_t j = 0; j < view.degree && behind[j] != kNoVertex && count < 2 * view.degree; ++j) {
        if (!matches(behind[j])) continue;
        ++matching;
        if (scratch.visited.Mark(behind[j])) take(behind[j]);
      }
    }
    score();
    if (step % kLookEvery == 0 && cancelled && cancelled()) return false;
  }
}

size_t CandidatesWithin(const WalkPool& pool, float margin, size_t k, size_t least) {
  size_t count = std::min(std::max(k, least), pool.size());
  if (k == 0 || pool.size() <= k) return count;
  const float worst = pool.key(k - 1) + margin;
  while (count < pool.size() && pool.key(count) <= worst) ++count;
  return count;
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
