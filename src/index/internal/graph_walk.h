// File: index/internal/graph_walk.h
// The best-first walk over a graph of codes, shared by building and searching: WalkPool holds the candidates, Visited
// says which vertices were seen, Walk expands the best candidate until all of the pool are expanded.
// Thread rule: all of it belongs to one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace quiver::index {

constexpr uint32_t kNoVertex = 0xffffffff;

/// Which vertices were seen by the current walk: one byte each, so that small graphs stay in the second-level cache.
class Visited {
 public:
  void Begin(size_t vertices) {
    if (marks_.size() < vertices) {
      // Graphs that grow would make it grow by a little each time.
      marks_.assign(std::max(vertices, marks_.size() + marks_.size() / 2), 0);
      epoch_ = 0;
    }
    if (++epoch_ == 0) {
      std::fill(marks_.begin(), marks_.end(), uint8_t{0});
      epoch_ = 1;
    }
  }
  /// Marks the vertex; returns whether it was new.
  bool Mark(uint32_t vertex) {
    const bool fresh = marks_[vertex] != epoch_;
    marks_[vertex] = epoch_;
    return fresh;
  }
  [[nodiscard]] bool Seen(uint32_t vertex) const { return marks_[vertex] == epoch_; }

 private:
  std::vector<uint8_t> marks_;
  uint8_t epoch_ = 0;
};

/// The best `capacity` candidates in order of key, in one array; the top bit of an id says that it was expanded.
class WalkPool {
 public:
  struct Entry {
    float key;
    uint32_t id;
  };
  static constexpr uint32_t kExpanded = 0x80000000;

  void Begin(size_t capacity) {
    if (entries_.size() < capacity + 1) entries_.resize(capacity + 1);
    capacity_ = capacity;
    size_ = next_ = 0;
  }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t capacity() const { return capacity_; }
  [[nodiscard]] float key(size_t i) const { return entries_[i].key; }
  [[nodiscard]] uint32_t id(size_t i) const { return entries_[i].id & ~kExpanded; }
  [[nodiscard]] bool full() const { return size_ == capacity_; }
  /// A key from which on nothing is taken.
  [[nodiscard]] bool Takes(float key) const { return size_ < capacity_ || key < entries_[size_ - 1].key; }

  /// Takes the candidate if it is good enough. The same id must not be offered twice.
  void Insert(float key, uint32_t id) {
    if (!Takes(key)) return;
    size_t low = 0, high = size_;
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (entries_[middle].key < key) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (size_ < capacity_) ++size_;
    std::memmove(&entries_[low + 1], &entries_[low], (size_ - 1 - low) * sizeof(Entry));
    entries_[low] = {key, id};
    next_ = std::min(next_, low);
  }
  /// Marks and returns the best candidate that was not expanded; kNoVertex when there is none.
  uint32_t Pop() {
    while (next_ < size_ && (entries_[next_].id & kExpanded) != 0) ++next_;
    if (next_ == size_) return kNoVertex;
    const uint32_t id = entries_[next_].id;
    entries_[next_].id |= kExpanded;
    ++next_;
    return id;
  }
  /// The key of the candidate that Pop would return; infinity when there is none.
  [[nodiscard]] float PeekKey() {
    while (next_ < size_ && (entries_[next_].id & kExpanded) != 0) ++next_;
    return next_ < size_ ? entries_[next_].key : std::numeric_limits<float>::infinity();
  }
  /// Candidates before the one that Pop would return, after PeekKey.
  [[nodiscard]] size_t expanded() const { return next_; }
  /// The candidate that Pop would return, without marking it.
  [[nodiscard]] uint32_t Peek() const {
    for (size_t i = next_; i < size_; ++i) {
      if ((entries_[i].id & kExpanded) == 0) return entries_[i].id;
    }
    return kNoVertex;
  }

 private:
  std::vector<Entry> entries_;
  size_t capacity_ = 0;
  size_t size_ = 0;
  size_t next_ = 0;  ///< entries before it are expanded
};

/// Most links of a vertex; the room that walks keep for one expansion.
constexpr size_t kMaxLinks = 4096;

}  // namespace quiver::index
