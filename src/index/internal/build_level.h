// File: index/internal/build_level.h
// BuildLevel: the links of one level of a graph while it is built, as graph_linking.h wants them. A row is an array of
// links with their distances:
//
//   level { Link links[size][room]; uint16_t counts[size]; uint8_t locks[size] }
//
// Thread rule: a row is used by whoever holds its lock; rows that no other thread changes may be used without.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "index/internal/graph_codes.h"
#include "index/internal/graph_linking.h"
#include "index/internal/huge_array.h"

namespace quiver::index {

/// Vertices are numbered within the level.
class BuildLevel {
 public:
  /// `vertices`: base vertex of each vertex of the level; nullptr for the base itself.
  BuildLevel(const GraphPoints& points, uint32_t size, uint32_t degree, const uint32_t* vertices)
      : points_(points),
        size_(size),
        degree_(degree),
        room_(LinkRoom(degree)),
        vertices_(vertices),
        links_(size_t{size} * room_),
        counts_(size, 0),
        locks_(std::make_unique<std::atomic<uint8_t>[]>(size)) {}

  [[nodiscard]] uint32_t size() const { return size_; }
  [[nodiscard]] uint32_t degree() const { return degree_; }
  [[nodiscard]] uint32_t room() const { return room_; }
  [[nodiscard]] uint32_t vertex(uint32_t local) const { return vertices_ == nullptr ? local : vertices_[local]; }

  /// Links of one vertex; hold its lock while another thread may change it.
  Link* row(uint32_t local) { return links_.data() + size_t{local} * room_; }
  [[nodiscard]] uint32_t count(uint32_t local) const { return counts_[local]; }
  void set_count(uint32_t local, size_t count) { counts_[local] = static_cast<uint16_t>(count); }

  size_t CopyIds(uint32_t local, uint32_t* out) {
    const Link* links = row(local);
    const size_t links_of_it = count(local);
    for (size_t i = 0; i < links_of_it; ++i) out[i] = links[i].id;
    return links_of_it;
  }
  bool Append(uint32_t local, Link link) {
    Link* links = row(local);
    const size_t there = count(local);
    if (std::any_of(links, links + there, [&](const Link& other) { return other.id == link.id; })) return true;
    if (there == room_) return false;
    links[there] = link;
    set_count(local, there + 1);
    return true;
  }
  void CopyLinks(uint32_t local, std::vector<Link>& out) { out.assign(row(local), row(local) + count(local)); }
  void Replace(uint32_t local, std::span<const Link> links) {
    std::copy(links.begin(), links.end(), row(local));
    set_count(local, links.size());
  }
  void Distances(uint32_t local, const uint32_t* ids, size_t count, float* out) const {
    DistancesFrom(vertex(local), ids, count, out);
  }
  void DistancesFrom(uint32_t base_vertex, const uint32_t* ids, size_t count, float* out) const {
    if (vertices_ == nullptr) return points_.Distances(base_vertex, ids, count, out);
    uint32_t some[kAtOnce];
    for (size_t first = 0; first < count; first += kAtOnce) {
      const size_t these = std::min(kAtOnce, count - first);
      for (size_t i = 0; i < these; ++i) some[i] = vertex(ids[first + i]);
      points_.Distances(base_vertex, some, these, out + first);
    }
  }
  void PrefetchRow(uint32_t local) const {
    const Link* at = links_.data() + size_t{local} * room_;
    for (size_t i = 0; i < room_; i += 8) __builtin_prefetch(at + i);
  }
  void PrefetchPoint(uint32_t local) const { points_.Prefetch(vertex(local)); }

  void Lock(uint32_t local) {
    while (locks_[local].exchange(1, std::memory_order_acquire) != 0) {
      while (locks_[local].load(std::memory_order_relaxed) != 0) std::this_thread::yield();
    }
  }
  void Unlock(uint32_t local) { locks_[local].store(0, std::memory_order_release); }

 private:
  static constexpr size_t kAtOnce = 128;

  const GraphPoints& points_;
  uint32_t size_;
  uint32_t degree_;
  uint32_t room_;
  const uint32_t* vertices_;
  HugeArray<Link> links_;
  std::vector<uint16_t> counts_;
  std::unique_ptr<std::atomic<uint8_t>[]> locks_;
};

}  // namespace quiver::index
