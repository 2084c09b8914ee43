// File: index/internal/flat_queries.h
// The prepared form of the queries of an exact search (FlatQueries::Impl). Private to the layer.
// Thread rule: made once, only read afterwards.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

#include "index/flat_search.h"

namespace quiver::index {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct SparseEntry {
  uint32_t index;
  float value;
};

/// Entries of one sparse query: in a window of consecutive indices where they lie close, else in an open-addressing
/// table.
struct SparseQuery {
  std::vector<SparseEntry> entries;  ///< non-zero values only
  uint32_t first = 0;                ///< lowest index
  size_t span = 0;                   ///< highest index - first + 1; 0 without entries
  std::vector<SparseEntry> table;    ///< power of two slots, value 0 = free; empty where the window serves
};

/// Windows up to this many floats are filled in the scratch; wider queries use the table.
constexpr size_t kMaxWindow = size_t{1} << 20;

inline size_t SlotOf(uint32_t index, size_t slots) {
  return static_cast<size_t>((index * uint64_t{0x9e3779b97f4a7c15}) >> 32) & (slots - 1);
}

/// Sums products over shared indices in double; NaN where no index is shared. `value_of` gives the query's value or 0.
template <class ValueOf>
float SparseScore(std::string_view row, const ValueOf& value_of) {
  double sum = 0;
  bool shared = false;
  const char* at = row.data();
  const char* const end = at + row.size() / 8 * 8;
  for (; at != end; at += 8) {
    uint32_t index;
    float value;
    std::memcpy(&index, at, 4);
    std::memcpy(&value, at + 4, 4);
    const float other = value_of(index);
    if (other != 0.0f && value != 0.0f) {
      shared = true;
      sum += static_cast<double>(other) * static_cast<double>(value);
    }
  }
  return shared ? static_cast<float>(sum) : kNan;
}

inline float TableValue(const SparseQuery& query, uint32_t index) {
  size_t slot = SlotOf(index, query.table.size());
  while (query.table[slot].value != 0.0f) {
    if (query.table[slot].index == index) return query.table[slot].value;
    slot = (slot + 1) & (query.table.size() - 1);
  }
  return 0.0f;
}

/// For a few rows: no window is filled, entries are searched.
inline float SearchedValue(const SparseQuery& query, uint32_t index) {
  const auto at = std::lower_bound(query.entries.begin(), query.entries.end(), index,
                                   [](const SparseEntry& entry, uint32_t wanted) { return entry.index < wanted; });
  return at != query.entries.end() && at->index == index ? at->value : 0.0f;
}

/// Squared norms below it have lost bits to underflow: cosines are then computed in double.
constexpr float kLeastCosineNorm2 = 1e-26f;

/// From this many queries on, a batch is filtered by integer codes: encoding a row costs about as much as scoring it
/// for this many queries by the fp32 tile. See docs/performance.md.
constexpr size_t kMinFilterQueries = 8;
/// Below this dimension the filter's fixed cost per pair eats its gain.
constexpr size_t kMinFilterDim = 48;

// Slack that makes the filter's bounds hold although they, and the exact scores, are computed in float.
/// Relative, on norms and residuals.
constexpr float kNormSlack = 1e-4f;
/// Absolute, on lengths: squares of values below 1e-19 vanish, together less than this for any dimension.
constexpr float kUnderflowSlack = 2e-15f;
/// Squared norms in this range are not touched by underflow or overflow of the terms.
constexpr float kLeastNorm2 = 1e-24f;
constexpr float kMostNorm2 = 1e30f;
/// Relative to the product of the norms, on sums of `dim` terms: n terms in order err by less than n * 2^-24 of it;
/// counted for the exact kernel and for the bound, twice over.
inline float RoundingSlack(int64_t dim) { return static_cast<float>(4 * (dim + 64)) * 0x1p-24f; }

struct FlatQueries::Impl {
  const simd::KernelTable* kernels = nullptr;
  DataType type = DataType::kNone;
  MetricType metric = MetricType::kNone;
  int64_t dim = 0;
  size_t nq = 0;

  size_t width = 0;               ///< bytes of one row (dense, binary)
  size_t query_stride = 0;        ///< bytes from one query to the next in `values`
  std::vector<std::byte> values;  ///< float (f32, f16, bf16), int8 or bits, row-major
  std::vector<float> norms;       ///< squared norms (dense)
  std::vector<SparseQuery> sparse;

  // Codes for the filter; empty where it is not used.
  size_t dim_padded = 0;
  std::vector<int8_t> codes;
  std::vector<int32_t> code_bias;
  std::vector<float> code_scale, code_norm, code_error;

  [[nodiscard]] const std::byte* query(size_t q) const { return values.data() + q * query_stride; }
  [[nodiscard]] bool filtered() const { return !codes.empty(); }
  [[nodiscard]] const simd::DenseKernels& dense() const {
    switch (type) {
      case DataType::kFloat16Vector: return kernels->f16;
      case DataType::kBFloat16Vector: return kernels->bf16;
      case DataType::kInt8Vector: return kernels->int8;
      default: return kernels->f32;
    }
  }
  [[nodiscard]] simd::BinaryKernels::Function binary() const {
    switch (metric) {
      case MetricType::kJaccard: return kernels->binary.jaccard;
      case MetricType::kSubstructure: return kernels->binary.substructure;
      case MetricType::kSuperstructure: return kernels->binary.superstructure;
      default: return kernels->binary.hamming;
    }
  }
  [[nodiscard]] double QueryValue(size_t q, size_t d) const {
    if (type == DataType::kInt8Vector) return static_cast<double>(static_cast<int8_t>(query(q)[d]));
    float value;
    std::memcpy(&value, query(q) + 4 * d, 4);
    return static_cast<double>(value);
  }
  /// Writes values first .. first + count of a row of this type.
  void WidenRow(const std::byte* row, size_t first, size_t count, float* out) const {
    WidenVector(type, row + FixedWidth(type, 1) * first, count, out, *kernels);
  }

  /// Scores a pair in double precision: for the rare pairs whose float sums leave the range of float.
  [[nodiscard]] float ScoreInDouble(size_t q, const std::byte* row) const {
    double ip = 0, l2 = 0, row_norm = 0, query_norm = 0;
    constexpr size_t kChunk = 128;
    float values[kChunk];
    const auto end = static_cast<size_t>(dim);
    for (size_t first = 0; first < end; first += kChunk) {
      const size_t count = std::min(kChunk, end - first);
      WidenRow(row, first, count, values);
      for (size_t d = 0; d < count; ++d) {
        const double a = QueryValue(q, first + d);
        const auto b = static_cast<double>(values[d]);
        ip += a * b;
        l2 += (a - b) * (a - b);
        row_norm += b * b;
        query_norm += a * a;
      }
    }
    if (metric == MetricType::kL2) return static_cast<float>(l2);
    if (metric == MetricType::kIp) return static_cast<float>(ip);
    if (std::isnan(ip) || std::isinf(row_norm)) return kNan;
    if (row_norm == 0 || query_norm == 0) return 0.0f;
    return static_cast<float>(std::clamp(ip / (std::sqrt(row_norm) * std::sqrt(query_norm)), -1.0, 1.0));
  }

  /// Turns a kernel's sum into the client's score. `norm` is the row's squared norm (cosine only).
  [[nodiscard]] float Finish(size_t q, float sum, float norm, const std::byte* row) const {
    if (metric != MetricType::kCosine) {
      if (std::isfinite(sum)) [[likely]]
        return sum;
      return ScoreInDouble(q, row);
    }
    const float query_norm = norms[q];
    if (!(norm > kLeastCosineNorm2 && norm < kInfinity && query_norm > kLeastCosineNorm2 && query_norm < kInfinity &&
          std::isfinite(sum))) [[unlikely]] {
      return ScoreInDouble(q, row);
    }
    const double cosine =
        static_cast<double>(sum) / std::sqrt(static_cast<double>(norm) * static_cast<double>(query_norm));
    return static_cast<float>(std::clamp(cosine, -1.0, 1.0));
  }

  void PrepareDense(const std::vector<std::string_view>& queries);
  /// Returns whether the arithmetic of the bound holds for all queries: finite, and neither vast nor vanishing norms.
  [[nodiscard]] bool CodesAreSafe() const;
  void PrepareCodes();
};

}  // namespace quiver::index
