// File: index/internal/graph_codes.h
// GraphPoints: the codes of a graph's vertices and the keys that walks compare; GraphView: a whole graph as it is
// walked. Pointers into arrays that live elsewhere.
// Thread rule: immutable; may be shared.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "codec/sq8.h"
#include "index/internal/code_space.h"
#include "index/internal/graph_walk.h"
#include "simd/kernels.h"

namespace quiver::index {

/// An encoded query.
struct GraphQuery {
  const int8_t* codes = nullptr;
  QueryTerms terms;
};

struct GraphPoints {
  const int8_t* codes = nullptr;  ///< vertex v at codes + v * dim
  size_t dim = 0;                 ///< padded
  const codec::Sq8Factors* factors = nullptr;
  // Of building only. With shifts vertices are compared by 1 - product, else by squared distance.
  const float* shifts = nullptr;
  float centre_energy = 0;

  [[nodiscard]] const int8_t* at(uint32_t vertex) const { return codes + vertex * dim; }
  void Prefetch(uint32_t vertex) const {
    const int8_t* row = at(vertex);
    for (size_t d = 0; d < dim; d += 64) __builtin_prefetch(row + d);
    __builtin_prefetch(factors + vertex);
  }

  /// keys[i] of vertex ids[i].
  void Keys(const GraphQuery& query, const uint32_t* ids, size_t count, float* keys) const {
    constexpr size_t kAtOnce = 256;
    int32_t dots[kAtOnce];
    const auto dot = simd::Kernels().bytes.dot;
    for (size_t first = 0; first < count; first += kAtOnce) {
      const size_t some = std::min(kAtOnce, count - first);
      dot({reinterpret_cast<const std::byte*>(codes), dim, some, ids + first}, query.codes, dim, dots);
      for (size_t i = 0; i < some; ++i) {
        const codec::Sq8Factors& point = factors[ids[first + i]];
        keys[first + i] = query.terms.norm_weight * point.norm -
                          query.terms.product_weight * point.scale * static_cast<float>(dots[i]);
      }
    }
  }
  /// Distances of vertex ids[i] from `vertex`: squared, or 1 - product; never below 0.
  void Distances(uint32_t vertex, const uint32_t* ids, size_t count, float* out) const {
    const codec::Sq8Factors& mine = factors[vertex];
    if (shifts == nullptr) {
      Keys({at(vertex), {1.0f, 2 * mine.scale, true}}, ids, count, out);
      for (size_t i = 0; i < count; ++i) out[i] = std::max(out[i] + mine.norm, 0.0f);
      return;
    }
    Keys({at(vertex), {0.0f, mine.scale, true}}, ids, count, out);
    const float offset = 1.0f - centre_energy - shifts[vertex];
    for (size_t i = 0; i < count; ++i) out[i] = std::max(offset - shifts[ids[i]] + out[i], 0.0f);
  }
};

/// One of the thinned-out levels: its vertex i is vertices[i] of the base; links are positions within the level.
struct GraphLevel {
  uint32_t size = 0;
  const uint32_t* links = nullptr;
};

struct GraphView {
  static constexpr size_t kMaxLevels = 8;

  GraphPoints points;
  uint32_t vertices = 0;
  uint32_t degree = 0;
  const uint32_t* links = nullptr;  ///< vertices * degree
  uint32_t entry = 0;
  uint32_t start_count = 0;
  const uint32_t* starts = nullptr;  ///< further vertices to begin at
  uint32_t upper_degree = 0;
  uint32_t upper_levels = 0;
  const uint32_t* upper_vertices = nullptr;  ///< of all levels: a level takes the first `size`
  GraphLevel upper[kMaxLevels];              ///< smallest level first

  [[nodiscard]] const uint32_t* row(uint32_t vertex) const { return links + size_t{vertex} * degree; }
  void PrefetchRow(uint32_t vertex) const {
    const uint32_t* at = row(vertex);
    for (size_t i = 0; i < degree; i += 16) __builtin_prefetch(at + i);
  }
};

}  // namespace quiver::index
