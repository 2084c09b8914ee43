// File: index/internal/flat_tile.h
// Scoring many queries against rows that stay in cache, shared by the exact searches of the layer. Private to it.
// Thread rule: pure functions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "index/internal/flat_queries.h"

namespace quiver::index {

/// Bytes of rows that one tile call keeps in the first-level cache.
constexpr size_t kTileBytes = 20 * 1024;
/// Queries of one tile call in the exact path of batches.
constexpr size_t kTileQueries = 24;

/// Rows of one tile call, so that they stay in the first-level cache.
inline size_t TileRows(size_t stride) { return std::clamp<size_t>(kTileBytes / (stride + 1), 4, 64); }

/// Returns a buffer of at least `size` values.
template <class T>
T* Sized(std::vector<T>& buffer, size_t size) {
  if (buffer.size() < size) buffer.resize(size);
  return buffer.data();
}

/// Writes sums[j * sums_stride + i] of queries first_query + j, at most kTileQueries, and row i, by the kernel of the
/// metric, `tile_rows` rows at a time. `kernels` are those of the form that the rows have here.
inline void TileSums(const FlatQueries::Impl& queries, const simd::DenseKernels& kernels, const simd::Rows& all,
                     size_t tile_rows, size_t first_query, size_t query_count, float* sums, size_t sums_stride) {
  const auto tile = queries.metric == MetricType::kL2 ? kernels.l2_tile : kernels.ip_tile;
  for (size_t r = 0; r < all.count; r += tile_rows) {
    simd::Rows rows = all;
    rows.count = std::min(tile_rows, all.count - r);
    if (rows.ids != nullptr) {
      rows.ids += r;
    } else {
      rows.base += r * rows.stride;
    }
    tile(rows, queries.query(first_query), queries.query_stride, query_count, static_cast<size_t>(queries.dim),
         sums + r, sums_stride);
  }
}

/// Offers `count` sums of a dense kernel. Most are seen to be too bad by one comparison; only the others are finished.
/// stored(i) gives row i as stored, id(i) its row id.
template <class Stored, class Id>
void OfferSums(const FlatQueries::Impl& queries, size_t q, const float* sums, const float* norms, size_t count,
               const Stored& stored, const Id& id, TopK& results) {
  const auto offer = [&](size_t i, float norm) { results.Offer(queries.Finish(q, sums[i], norm, stored(i)), id(i)); };
  float threshold = results.threshold();
  switch (queries.metric) {
    case MetricType::kL2:
      for (size_t i = 0; i < count; ++i) {
        if (sums[i] > threshold) continue;
        offer(i, 0);
        threshold = results.threshold();
      }
      return;
    case MetricType::kIp:
      for (size_t i = 0; i < count; ++i) {
        if (sums[i] < threshold) continue;
        offer(i, 0);
        threshold = results.threshold();
      }
      return;
    default: break;
  }
  // cos < t  <=>  s |s| < t |t| |x|^2 |q|^2 for s = q.x; a margin covers the rounding here. NaN and norms out of the
  // safe range fail the test and are finished.
  const auto limit_of = [&](float t) { return (t * std::abs(t) - 1e-5f) * queries.norms[q]; };
  float limit = limit_of(threshold);
  const bool safe_query = queries.norms[q] > kLeastCosineNorm2;
  for (size_t i = 0; i < count; ++i) {
    if (safe_query && norms[i] > kLeastCosineNorm2 && sums[i] * std::abs(sums[i]) < limit * norms[i]) continue;
    offer(i, norms[i]);
    limit = limit_of(results.threshold());
  }
}

}  // namespace quiver::index
