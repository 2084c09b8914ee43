// File: index/internal/graph_sketch.h
// GraphSketches: one bit per dimension of every vertex, with its factors in the same line of the cache, made from the
// coarse codes when a graph is opened. A scan of rows that match a filter reads 64 bytes a row (384 dimensions) instead
// of 200, and leaves few rows to the coarse codes. Shortlist keeps the best of such a scan.
//
// With s the signs of a point x, <q, x> is estimated as <q, s> |x|^2 / <s, x>, which is right on average over rotations
// (RaBitQ); queries are rounded to four bits.
// Thread rule: immutable once made; SketchQuery and Shortlist belong to one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "index/internal/graph_codes.h"
#include "index/internal/huge_array.h"

namespace quiver::index {

/// A query as planes of bits.
struct SketchQuery {
  std::vector<uint8_t> values, planes;
  float step = 0;      ///< a value u of the query, 0 .. 15, stands for step * (u - kZero)
  float code_sum = 0;  ///< of step * (u - kZero)
  float norm_weight = 0;
  float product_weight = 0;
  float deviation = 0;  ///< by which keys usually err

  static constexpr float kZero = 7.5f;
};

class GraphSketches {
 public:
  GraphSketches() = default;
  GraphSketches(const WalkPoints& points, uint32_t vertices);

  /// Whether they are worth having: below, a coarse code is hardly longer.
  static bool Useful(size_t dim) { return dim >= kLeastDim; }
  /// Bytes of a row, in whole lines.
  static size_t RowBytes(size_t dim) { return (sizeof(Factors) + dim / 8 + kLine - 1) / kLine * kLine; }
  [[nodiscard]] bool empty() const { return rows_.size() == 0; }
  [[nodiscard]] size_t memory_bytes() const { return rows_.memory_bytes(); }
  [[nodiscard]] size_t row_bytes() const { return stride_; }

  /// Brings a query into the form of Keys.
  void Encode(const GraphQuery& query, SketchQuery& sketch) const;
  /// keys[i] of vertex ids[i], on the scale of the keys of codes.
  void Keys(const SketchQuery& query, const uint32_t* ids, size_t count, float* keys) const;

 private:
  static constexpr size_t kLeastDim = 192;
  static constexpr size_t kLine = 64;
  /// Before the bits of each row.
  struct Factors {
    float scale = 0;  ///< |x|^2 / <s, x>
    float norm = 0;   ///< |x|^2
    float ones = 0;   ///< bits that are set
    float unused = 0;
  };

  size_t dim_ = 0;
  float usual_norm_ = 0;  ///< of |x|
  size_t stride_ = 0;
  HugeArray<std::byte> rows_;
};

/// Of many keys all that lie within a margin of the `count` best, so that keys that err keep their chance, but no more
/// than `most`. In no order.
class Shortlist {
 public:
  struct Entry {
    float key;
    uint32_t id;
  };

  void Begin(size_t count, float margin, size_t most) {
    count_ = std::max<size_t>(count, 1);
    margin_ = margin;
    most_ = std::max(most, 4 * count_);
    room_ = 4 * count_;
    if (entries_.size() < room_) entries_.resize(room_);
    size_ = 0;
    bound_ = std::numeric_limits<float>::infinity();
  }
  void Offer(float key, uint32_t id) {
    if (!(key < bound_)) return;
    entries_[size_++] = {key, id};
    if (size_ < room_) return;
    Cut();
    // Where keys lie that close, cuts come more rarely.
    if (size_ > room_ / 2) room_ = std::min(2 * room_, most_);
    if (size_ >= room_) Keep(room_ / 2);
    if (entries_.size() < room_) entries_.resize(room_);
  }
  /// Drops all but the best.
  void Cut() {
    if (size_ <= count_) return;
    const auto begin = entries_.begin();
    const auto end = begin + static_cast<std::ptrdiff_t>(size_);
    const auto last = begin + static_cast<std::ptrdiff_t>(count_ - 1);
    std::nth_element(begin, last, end, Less);
    bound_ = std::min(bound_, last->key + margin_);
    size_ = static_cast<size_t>(
        std::partition(last + 1, end, [this](const Entry& entry) { return entry.key < bound_; }) - begin);
  }
  /// Puts what is left in order, best first.
  void Sort() { std::sort(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(size_), Less); }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] const Entry& operator[](size_t i) const { return entries_[i]; }

 private:
  static bool Less(const Entry& a, const Entry& b) { return a.key < b.key; }
  void Keep(size_t best) {
    const auto last = entries_.begin() + static_cast<std::ptrdiff_t>(best - 1);
    std::nth_element(entries_.begin(), last, entries_.begin() + static_cast<std::ptrdiff_t>(size_), Less);
    bound_ = last->key;
    size_ = best;
  }
  std::vector<Entry> entries_;
  size_t count_ = 1;
  size_t most_ = 4;
  size_t room_ = 4;
  size_t size_ = 0;
  float margin_ = 0;
  float bound_ = 0;
};

}  // namespace quiver::index
