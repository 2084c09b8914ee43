// File: index/internal/graph_codes.h
// GraphPoints: the codes of a graph's vertices and the keys that walks compare; GraphView: a whole graph as it is
// walked. Pointers into arrays that live elsewhere.
// Thread rule: immutable; may be shared.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "codec/residual_pq.h"
#include "codec/sq8.h"
#include "index/internal/code_space.h"
#include "index/internal/graph_walk.h"
#include "simd/kernels.h"
#include "simd/product_kernels.h"

namespace quiver::index {

/// An encoded query: codes, or bits; for product codes its lookups.
struct GraphQuery {
  GraphQuery() = default;
  explicit GraphQuery(const std::byte* query_bits) : bits(query_bits) {}
  GraphQuery(const int8_t* query_codes, size_t dim, const QueryTerms& query_terms)
      : codes(query_codes), terms(query_terms) {
    for (size_t d = 0; d < dim; ++d) code_sum += codes[d];
  }
  const int8_t* codes = nullptr;
  int32_t code_sum = 0;
  QueryTerms terms;
  const std::byte* bits = nullptr;
  const float* lookup = nullptr;  ///< codec::ResidualPqQuery
  QueryTerms lookup_terms;        ///< that go with it: the scale of product codes is 1
};

/// Rows of bits, which are their own codes: keys and distances are the scores of the metric.
struct GraphBits {
  const std::byte* rows = nullptr;  ///< vertex v at rows + v * bytes; nullptr: vertices have other codes
  size_t bytes = 0;
  simd::BinaryKernels::Function distance = nullptr;

  [[nodiscard]] const std::byte* at(uint32_t vertex) const { return rows + vertex * bytes; }
  void Prefetch(uint32_t vertex) const {
    const std::byte* row = at(vertex);
    for (size_t b = 0; b < bytes; b += 64) __builtin_prefetch(row + b);
  }
  void Keys(const std::byte* query, const uint32_t* ids, size_t count, float* keys) const {
    distance({rows, bytes, count, ids}, query, bytes, keys);
  }
};

/// Product codes of rows (codec/residual_pq.h).
struct GraphProducts {
  const std::byte* codes = nullptr;  ///< vertex v at codes + v * bytes; nullptr: vertices have other codes
  size_t bytes = 0;
  const float* norms = nullptr;  ///< squared lengths of what they stand for
  /// A vertex whose key is worse than that of the k-th best by more than this is hardly ever among the k nearest.
  float margin = 0;

  void Prefetch(uint32_t vertex) const {
    const std::byte* row = codes + vertex * bytes;
    for (size_t b = 0; b < bytes; b += 64) __builtin_prefetch(row + b);
    __builtin_prefetch(row + bytes - 1);
  }
  void Keys(const GraphQuery& query, const uint32_t* ids, size_t count, float* keys) const {
    simd::Products().sum_rows(query.lookup, bytes, codes, ids, count, keys);
    const QueryTerms& terms = query.lookup_terms;
    for (size_t i = 0; i < count; ++i) keys[i] = terms.norm_weight * norms[ids[i]] - terms.product_weight * keys[i];
  }
};

/// Codes as building uses them: whole.
struct GraphPoints {
  const int8_t* codes = nullptr;  ///< vertex v at codes + v * dim
  size_t dim = 0;                 ///< padded
  const codec::Sq8Factors* factors = nullptr;
  // Of building only. With shifts vertices are compared by 1 - product, else by squared distance.
  const float* shifts = nullptr;
  float centre_energy = 0;
  GraphBits bits{};  ///< where it has rows, the rest is empty

  [[nodiscard]] const int8_t* at(uint32_t vertex) const { return codes + vertex * dim; }
  void Prefetch(uint32_t vertex) const {
    if (bits.rows != nullptr) return bits.Prefetch(vertex);
    const int8_t* row = at(vertex);
    for (size_t d = 0; d < dim; d += 64) __builtin_prefetch(row + d);
  }

  /// keys[i] of vertex ids[i].
  void Keys(const int8_t* query, const QueryTerms& terms, const uint32_t* ids, size_t count, float* keys) const {
    constexpr size_t kAtOnce = 256;
    int32_t dots[kAtOnce];
    const auto dot = simd::Kernels().bytes.dot;
    for (size_t first = 0; first < count; first += kAtOnce) {
      const size_t some = std::min(kAtOnce, count - first);
      dot({reinterpret_cast<const std::byte*>(codes), dim, some, ids + first}, query, dim, dots);
      for (size_t i = 0; i < some; ++i) {
        const codec::Sq8Factors& point = factors[ids[first + i]];
        keys[first + i] =
            terms.norm_weight * point.norm - terms.product_weight * point.scale * static_cast<float>(dots[i]);
      }
    }
  }
  /// Distances of vertex ids[i] from `vertex`: squared, 1 - product, or those of bits; never below 0.
  void Distances(uint32_t vertex, const uint32_t* ids, size_t count, float* out) const {
    if (bits.rows != nullptr) return bits.Keys(bits.at(vertex), ids, count, out);
    const codec::Sq8Factors& mine = factors[vertex];
    if (shifts == nullptr) {
      Keys(at(vertex), {1.0f, 2 * mine.scale, true}, ids, count, out);
      for (size_t i = 0; i < count; ++i) out[i] = std::max(out[i] + mine.norm, 0.0f);
      return;
    }
    Keys(at(vertex), {0.0f, mine.scale, true}, ids, count, out);
    const float offset = 1.0f - centre_energy - shifts[vertex];
    for (size_t i = 0; i < count; ++i) out[i] = std::max(offset - shifts[ids[i]] + out[i], 0.0f);
  }
};

/// What turns products of coarse codes into keys: the scale of the code, the squared length of the coarse half.
struct CoarseFactors {
  float scale = 0;
  float norm = 0;
};

/// Codes as walks use them: the coarse halves, and the fine ones for candidates at the end; or product codes, which
/// have no halves.
struct WalkPoints {
  size_t dim = 0;
  const uint8_t* coarse = nullptr;  ///< vertex v at coarse + v * dim / 2
  const uint8_t* fine = nullptr;    ///< nullptr: `codes` has them
  const CoarseFactors* coarse_factors = nullptr;
  const codec::Sq8Factors* factors = nullptr;
  GraphBits bits;                 ///< where it has rows, the rest is empty
  const int8_t* codes = nullptr;  ///< whole ones, of a graph that grows: vertex v at codes + v * dim
  GraphProducts products{};       ///< where it has codes, the rest but `dim` is empty

  /// Whether keys are the scores themselves.
  [[nodiscard]] bool exact() const { return bits.rows != nullptr; }
  [[nodiscard]] bool by_products() const { return products.codes != nullptr; }
  /// Bytes of what is compared first.
  [[nodiscard]] size_t coarse_bytes() const { return exact() ? bits.bytes : by_products() ? products.bytes : dim / 2; }
  void Prefetch(uint32_t vertex) const {
    if (exact()) return bits.Prefetch(vertex);
    if (by_products()) return products.Prefetch(vertex);
    const uint8_t* row = coarse + vertex * (dim / 2);
    for (size_t at = 0; at < dim / 2; at += 64) __builtin_prefetch(row + at);
  }
  void PrefetchFactors(uint32_t vertex) const {
    if (by_products()) {
      __builtin_prefetch(products.norms + vertex);
    } else if (!exact()) {
      __builtin_prefetch(coarse_factors + vertex);
    }
  }

  /// keys[i] of vertex ids[i], by coarse codes.
  void CoarseKeys(const GraphQuery& query, const uint32_t* ids, size_t count, float* keys) const {
    if (exact()) return bits.Keys(query.bits, ids, count, keys);
    if (by_products()) return products.Keys(query, ids, count, keys);
    int32_t dots[kAtOnce];
    const auto dot = simd::Kernels().bytes.half_dot;
    const float offset = (codec::kSq8FineMiddle - 128) * static_cast<float>(query.code_sum);
    for (size_t first = 0; first < count; first += kAtOnce) {
      const size_t some = std::min(kAtOnce, count - first);
      dot({reinterpret_cast<const std::byte*>(coarse), dim / 2, some, ids + first}, query.codes, dim, dots);
      for (size_t i = 0; i < some; ++i) {
        const CoarseFactors& point = coarse_factors[ids[first + i]];
        const float product = 16 * static_cast<float>(dots[i]) + offset;
        keys[first + i] = query.terms.norm_weight * point.norm - query.terms.product_weight * point.scale * product;
      }
    }
  }
  /// The same by whole codes.
  void WholeKeys(const GraphQuery& query, const uint32_t* ids, size_t count, float* keys) const {
    if (exact()) return bits.Keys(query.bits, ids, count, keys);
    if (by_products()) return products.Keys(query, ids, count, keys);
    if (fine == nullptr) {
      return GraphPoints{.codes = codes, .dim = dim, .factors = factors}.Keys(query.codes, query.terms, ids, count,
                                                                              keys);
    }
    int32_t high[kAtOnce];
    int32_t low[kAtOnce];
    const auto dot = simd::Kernels().bytes.half_dot;
    for (size_t first = 0; first < count; first += kAtOnce) {
      const size_t some = std::min(kAtOnce, count - first);
      dot({reinterpret_cast<const std::byte*>(coarse), dim / 2, some, ids + first}, query.codes, dim, high);
      dot({reinterpret_cast<const std::byte*>(fine), dim / 2, some, ids + first}, query.codes, dim, low);
      for (size_t i = 0; i < some; ++i) {
        const codec::Sq8Factors& point = factors[ids[first + i]];
        const int32_t product = 16 * high[i] + low[i] - 128 * query.code_sum;
        keys[first + i] = query.terms.norm_weight * point.norm -
                          query.terms.product_weight * point.scale * static_cast<float>(product);
      }
    }
  }

 private:
  static constexpr size_t kAtOnce = 256;
};

/// One of the thinned-out levels: its vertex i is vertices[i] of the base; links are positions within the level.
struct GraphLevel {
  uint32_t size = 0;
  const uint32_t* links = nullptr;
};

struct GraphView {
  static constexpr size_t kMaxLevels = 8;

  WalkPoints points;
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
  /// Links are written while they are read, and may lead to vertices beyond those that this view has.
  bool growing = false;

  [[nodiscard]] const uint32_t* row(uint32_t vertex) const { return links + size_t{vertex} * degree; }
  /// The links of a vertex as walks use them, up to kNoVertex or the degree: where they lie, or, in a graph that grows,
  /// as they are at this moment, in `copy`, which has room for `degree` of them.
  [[nodiscard]] const uint32_t* LinksOf(uint32_t vertex, uint32_t* copy) const {
    return growing ? CopyLinks(row(vertex), degree, vertices, copy) : row(vertex);
  }
  /// The same in an upper level.
  [[nodiscard]] const uint32_t* LinksOf(const GraphLevel& level, uint32_t at, uint32_t* copy) const {
    const uint32_t* links_of_it = level.links + size_t{at} * upper_degree;
    return growing ? CopyLinks(links_of_it, upper_degree, level.size, copy) : links_of_it;
  }
  void PrefetchRow(uint32_t vertex) const {
    const uint32_t* at = row(vertex);
    for (size_t i = 0; i < degree; i += 16) __builtin_prefetch(at + i);
  }

 private:
  static const uint32_t* CopyLinks(const uint32_t* from, uint32_t room, uint32_t end, uint32_t* copy) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < room; ++i) {
      const uint32_t id = __atomic_load_n(from + i, __ATOMIC_RELAXED);
      if (id == kNoVertex) break;
      copy[count] = id;
      count += id < end ? 1 : 0;
    }
    if (count < room) copy[count] = kNoVertex;
    return copy;
  }
};

}  // namespace quiver::index
