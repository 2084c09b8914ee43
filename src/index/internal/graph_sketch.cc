#include "index/internal/graph_sketch.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace quiver::index {
namespace {

/// The largest query code and the largest value of a plane: codes reach 127, values 15 - kZero.
constexpr float kStep = 127 / SketchQuery::kZero;

/// |2 c - 15| summed over both halves of a byte: eight times it is the sum of magnitudes of the coarse values.
constexpr std::array<uint8_t, 256> Magnitudes() {
  std::array<uint8_t, 256> table{};
  for (int byte = 0; byte < 256; ++byte) {
    int sum = 0;
    for (const int half : {byte & 15, byte >> 4}) sum += half >= 8 ? 2 * half - 15 : 15 - 2 * half;
    table[static_cast<size_t>(byte)] = static_cast<uint8_t>(sum);
  }
  return table;
}
constexpr std::array<uint8_t, 256> kMagnitudes = Magnitudes();

/// Bit i = the top bit of byte i of eight.
uint64_t TopBits(uint64_t bytes) {
  constexpr uint64_t kTops = 0x8080808080808080;
  constexpr uint64_t kGather = 0x0002040810204081;
  return ((bytes & kTops) * kGather) >> 56;
}

}  // namespace

GraphSketches::GraphSketches(const WalkPoints& points, uint32_t vertices) : dim_(points.dim), stride_(RowBytes(dim_)) {
  rows_ = HugeArray<std::byte>(size_t{vertices} * stride_);
  double norms = 0;
  for (size_t v = 0; v < vertices; ++v) {
    const uint8_t* coarse = points.coarse + v * (dim_ / 2);
    std::byte* row = rows_.data() + v * stride_;
    Factors factors;
    uint32_t magnitude = 0;
    int ones = 0;
    for (size_t w = 0; w < dim_ / 64; ++w, coarse += 32) {
      // Of each 64 dimensions byte j holds dimension j in its low half and 32 + j in its high half.
      uint64_t bits = 0;
      for (size_t part = 0; part < 4; ++part) {
        uint64_t bytes;
        std::memcpy(&bytes, coarse + 8 * part, 8);
        bits |= (TopBits(bytes << 4) << (8 * part)) | (TopBits(bytes) << (32 + 8 * part));
      }
      for (size_t j = 0; j < 32; ++j) magnitude += kMagnitudes[coarse[j]];
      ones += std::popcount(bits);
      std::memcpy(row + sizeof(factors) + w * 8, &bits, 8);
    }
    std::memset(row + sizeof(factors) + dim_ / 8, 0, stride_ - sizeof(factors) - dim_ / 8);
    const CoarseFactors& whole = points.coarse_factors[v];
    const float product = 8 * whole.scale * static_cast<float>(magnitude);
    factors.norm = whole.norm;
    factors.scale = product > 0 ? whole.norm / product : 0;
    factors.ones = static_cast<float>(ones);
    std::memcpy(row, &factors, sizeof(factors));
    norms += std::sqrt(static_cast<double>(whole.norm));
  }
  if (vertices > 0) usual_norm_ = static_cast<float>(norms / vertices);
}

void GraphSketches::Encode(const GraphQuery& query, SketchQuery& sketch) const {
  // The places of the factors count nothing.
  sketch.values.assign(stride_ * 8, 0);
  sketch.planes.resize(2 * simd::ByteCodeKernels::kBitPlanes * stride_);
  uint8_t* values = sketch.values.data() + sizeof(Factors) * 8;
  sketch.step = kStep;
  int64_t sum = 0;
  int64_t squares = 0;
  for (size_t d = 0; d < dim_; ++d) {
    const float scaled = static_cast<float>(query.codes[d]) / kStep + SketchQuery::kZero;
    values[d] = static_cast<uint8_t>(std::clamp(scaled + 0.5f, 0.0f, 15.0f));
    sum += values[d];
    squares += query.codes[d] * query.codes[d];
  }
  simd::PackBitPlanes(sketch.values.data(), stride_, sketch.planes.data());
  sketch.code_sum = kStep * (static_cast<float>(sum) - SketchQuery::kZero * static_cast<float>(dim_));
  sketch.norm_weight = query.terms.norm_weight;
  sketch.product_weight = query.terms.product_weight;
  // The part of a query that signs do not tell, spread over all dimensions.
  constexpr float kUntold = 0.76f;
  sketch.deviation =
      kUntold * sketch.product_weight * usual_norm_ * std::sqrt(static_cast<float>(squares) / static_cast<float>(dim_));
}

void GraphSketches::Keys(const SketchQuery& query, const uint32_t* ids, size_t count, float* keys) const {
  constexpr size_t kAtOnce = 1024;
  uint32_t sums[kAtOnce];
  const auto dot = simd::Kernels().bytes.bit_dot;
  // product = 2 step (sum - kZero ones) - code_sum
  const float weight = 2 * query.step * query.product_weight;
  const float ones_weight = weight * SketchQuery::kZero;
  const float less = query.product_weight * query.code_sum;
  for (size_t first = 0; first < count; first += kAtOnce) {
    const size_t some = std::min(kAtOnce, count - first);
    dot({rows_.data(), stride_, some, ids + first}, query.planes.data(), sums);
    for (size_t i = 0; i < some; ++i) {
      Factors factors;
      std::memcpy(&factors, rows_.data() + ids[first + i] * stride_, sizeof(factors));
      const float product = weight * static_cast<float>(sums[i]) - ones_weight * factors.ones - less;
      keys[first + i] = query.norm_weight * factors.norm - factors.scale * product;
    }
  }
}

}  // namespace quiver::index
