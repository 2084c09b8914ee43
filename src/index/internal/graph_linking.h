// File: index/internal/graph_linking.h
// How a vertex is put into a level of a graph: a walk finds what is near it, pruning chooses its links, and those whom
// it links to link back. Shared by graphs that are built at once and by those that grow.
//
// A Level has
//   uint32_t size(), degree(), room()     vertices; links of a finished row, of one that is being built
//   void Lock(v), Unlock(v)               around any use of the row of v
//   void PrefetchRow(v), PrefetchPoint(v)
//   size_t CopyIds(v, uint32_t* out)      the links of v, at most room(); returns how many
//   bool Append(v, Link)                  adds a link unless it is there; false where there is no room
//   void CopyLinks(v, vector<Link>& out)  with their distances from v
//   void Replace(v, span<const Link>)     at most room()
//   void Distances(v, const uint32_t* ids, size_t count, float* out)
//   void DistancesFrom(base, ids, count, out)   the same from a vertex of the base level
// where vertices are numbered within the level.
// Thread rule: LinkScratch belongs to one thread; several may link at a time where the level's locks are real.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "index/internal/graph_walk.h"

namespace quiver::index {

struct Link {
  float distance;
  uint32_t id;
};

/// Order of links of a row.
inline bool NearerLink(const Link& a, const Link& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
}

/// A level of a graph holds one vertex of so many of the level below.
constexpr uint32_t kLevelRatio = 32;
constexpr uint32_t kUpperDegree = 16;
constexpr size_t kUpperEf = 64;
/// Ordered by product, the best are among the longest vectors, which are nobody's near neighbours: walks begin with so
/// many of them.
constexpr size_t kLongestStarts = 64;
/// Links that a kept one is nearer to by less than this factor of squared distances fill what room a row has left.
constexpr float kLinkAlpha = 1.3f;
/// The same where distances are 1 - product.
constexpr float kProductLinkAlpha = 1.0f;
/// Rows grow beyond the degree while building, so that a row is pruned once for many new links.
constexpr uint32_t LinkRoom(uint32_t degree) { return degree + degree / 2; }

/// Work buffers of one linking thread.
struct LinkScratch {
  WalkPool pool;  ///< what the last walk found, nearest first
  Visited visited;
  std::vector<uint32_t> ids;
  std::vector<float> distances, cover;
  std::vector<Link> candidates, alive, kept, mine;
  std::vector<uint32_t> starts, left_out;
};

/// Fills the pool with the vertices nearest to `target` that a walk finds.
template <typename Level>
void WalkLevel(LinkScratch& scratch, Level& level, uint32_t target, std::span<const uint32_t> entries, size_t ef) {
  WalkPool& pool = scratch.pool;
  pool.Begin(ef);
  scratch.visited.Begin(level.size());
  scratch.visited.Mark(target);
  const size_t most = std::max<size_t>(level.room(), entries.size());
  scratch.ids.resize(std::max(scratch.ids.size(), most));
  scratch.distances.resize(std::max(scratch.distances.size(), most));
  size_t count = 0;
  for (const uint32_t entry : entries) {
    if (scratch.visited.Mark(entry)) scratch.ids[count++] = entry;
  }
  for (;;) {
    level.Distances(target, scratch.ids.data(), count, scratch.distances.data());
    for (size_t i = 0; i < count; ++i) pool.Insert(scratch.distances[i], scratch.ids[i]);
    const uint32_t best = pool.Pop();
    if (best == kNoVertex) return;
    const uint32_t following = pool.Peek();
    if (following != kNoVertex) level.PrefetchRow(following);
    level.Lock(best);
    const size_t links = level.CopyIds(best, scratch.ids.data());
    level.Unlock(best);
    count = 0;
    for (size_t i = 0; i < links; ++i) {
      const uint32_t id = scratch.ids[i];
      if (scratch.visited.Mark(id)) scratch.ids[count++] = id;
    }
    for (size_t i = 0; i < std::min<size_t>(count, 4); ++i) level.PrefetchPoint(scratch.ids[i]);
  }
}

/// Moves from vertex `at` of a level greedily towards a vertex of the base, which is at `distance` from it.
template <typename Level>
void DescendLevel(LinkScratch& scratch, Level& level, uint32_t base_vertex, uint32_t& at, float& distance) {
  scratch.ids.resize(std::max<size_t>(scratch.ids.size(), level.room()));
  scratch.distances.resize(std::max<size_t>(scratch.distances.size(), level.room()));
  for (bool moved = true; moved;) {
    moved = false;
    level.Lock(at);
    const size_t count = level.CopyIds(at, scratch.ids.data());
    level.Unlock(at);
    level.DistancesFrom(base_vertex, scratch.ids.data(), count, scratch.distances.data());
    for (size_t i = 0; i < count; ++i) {
      if (!(scratch.distances[i] < distance)) continue;
      distance = scratch.distances[i];
      at = scratch.ids[i];
      moved = true;
    }
  }
}

/// Keeps, of candidates sorted by distance, those that no kept one is nearer to; where room is left, also those that a
/// kept one is nearer to by less than `alpha`. Into scratch.kept. So sparse surroundings get longer links, and dense
/// ones, where everything is about equally far, do not fill up with their nearest and lose touch with the rest.
template <typename Level>
void SelectLinks(LinkScratch& scratch, Level& level, std::vector<Link>& alive, size_t degree, float alpha) {
  std::vector<float>& cover = scratch.cover;  // of alive[i]: by how much the kept ones are nearer to it, at most
  scratch.kept.clear();
  scratch.ids.resize(std::max(scratch.ids.size(), alive.size()));
  scratch.distances.resize(std::max(scratch.distances.size(), alive.size()));
  cover.assign(alive.size(), 0.0f);
  // Distinct vectors with equal codes are at distance 0 from one another and would all be kept.
  const size_t most_equal = std::max<size_t>(1, degree / 4);
  for (const float limit : {1.0f, alpha}) {
    size_t at = 0;
    while (at < alive.size() && scratch.kept.size() < degree) {
      if (cover[at] > limit) {
        ++at;
        continue;
      }
      const size_t taken = at;
      const Link best = alive[taken];
      scratch.kept.push_back(best);
      size_t count = 0;
      for (size_t i = 0; i < alive.size(); ++i) {
        if (i != taken) scratch.ids[count++] = alive[i].id;
      }
      level.Distances(best.id, scratch.ids.data(), count, scratch.distances.data());
      size_t left = 0, scored = 0;
      for (size_t i = 0; i < alive.size(); ++i) {
        if (i == taken) continue;
        const Link other = alive[i];
        const float distance = scratch.distances[scored++];
        const float ratio = distance > 0 ? other.distance / distance : (other.distance > 0 ? 2 * alpha : 0.0f);
        const float covered = std::max(cover[i], ratio);
        const bool equal = other.distance <= 0 && scratch.kept.size() >= most_equal;
        if (covered > alpha || equal) {
          if (i < taken) --at;
          continue;
        }
        alive[left] = other;
        cover[left++] = covered;
      }
      alive.resize(left);
    }
  }
}

/// Adds a link to `vertex`, whose links are pruned where it has no room. Returns whether the link is among them.
template <typename Level>
bool LinkBack(LinkScratch& scratch, Level& level, uint32_t vertex, Link back, float alpha) {
  level.Lock(vertex);
  bool there = level.Append(vertex, back);
  if (!there) {
    level.CopyLinks(vertex, scratch.alive);
    scratch.alive.push_back(back);
    std::sort(scratch.alive.begin(), scratch.alive.end(), NearerLink);
    SelectLinks(scratch, level, scratch.alive, level.degree(), alpha);
    level.Replace(vertex, scratch.kept);
    there = std::any_of(scratch.kept.begin(), scratch.kept.end(), [&](const Link& kept) { return kept.id == back.id; });
  }
  level.Unlock(vertex);
  return there;
}

/// Links `vertex` to the best of what the last walk found, and them to it. Returns how many have linked back.
template <typename Level>
size_t LinkFound(LinkScratch& scratch, Level& level, uint32_t vertex, float alpha) {
  scratch.candidates.clear();
  for (size_t i = 0; i < scratch.pool.size(); ++i) {
    scratch.candidates.push_back({scratch.pool.key(i), scratch.pool.id(i)});
  }
  SelectLinks(scratch, level, scratch.candidates, level.degree(), alpha);
  scratch.mine = scratch.kept;
  level.Lock(vertex);
  // Others may have linked to this vertex since; it is new, so what they added is few.
  for (const Link& link : scratch.mine) (void)level.Append(vertex, link);
  level.Unlock(vertex);
  size_t linked_back = 0;
  for (const Link& link : scratch.mine) {
    linked_back += LinkBack(scratch, level, link.id, {link.distance, vertex}, alpha) ? 1 : 0;
  }
  return linked_back;
}

}  // namespace quiver::index
