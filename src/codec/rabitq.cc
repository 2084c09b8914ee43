#include "codec/rabitq.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "simd/kernels.h"

namespace quiver::codec {
namespace {

using simd::ListKernels;

/// Steps of the best uniform quantiser with 2^bits levels for a normal distribution of unit variance (J. Max, 1960):
/// coordinates of a rotated residual are nearly normal.
constexpr float kSteps[ListKernels::kMaxBits + 1] = {0,       1.596f,  0.9957f, 0.5860f, 0.3352f,
                                                     0.1881f, 0.1041f, 0.0569f, 0.0308f};

}  // namespace

void RabitqSpread::Merge(const RabitqSpread& other) {
  sign_error = std::max(sign_error, other.sign_error);
  code_norm = std::max(code_norm, other.code_norm);
}

RabitqEncoder::RabitqEncoder(const RabitqShape& shape, KeyForm form)
    : shape_(shape), form_(form), codes_(ListKernels::kBlock * shape.dim) {}

void RabitqEncoder::EncodeBlock(const float* residuals, size_t count, const float* centre, const uint32_t* ids,
                                std::byte* block, std::byte* rows) {
  const ListKernels& kernels = *simd::Kernels().lists;
  const size_t dim = shape_.dim;
  const auto root = std::sqrt(static_cast<double>(dim));
  float add[ListKernels::kBlock];
  float mul[ListKernels::kBlock];
  std::fill(std::begin(add), std::end(add), std::numeric_limits<float>::infinity());
  std::fill(std::begin(mul), std::end(mul), 0.0f);
  std::memset(rows, 0, ListKernels::kBlock * shape_.row_bytes());
  // L2 counts the inner product with the residual twice.
  const double weight = form_ == KeyForm::kL2 ? 2 : 1;
  for (size_t r = 0; r < count; ++r) {
    const float* x = residuals + r * dim;
    double x_x = 0;
    for (size_t d = 0; d < dim; ++d) x_x += static_cast<double>(x[d]) * static_cast<double>(x[d]);
    const double length = std::sqrt(x_x);
    const double step = length / root * static_cast<double>(kSteps[shape_.bits]);
    const auto inverse = static_cast<float>(step > 1e-30 ? 1 / step : 0);
    simd::CodeSums sums;
    uint8_t* codes = codes_.data() + r * dim;
    kernels.encode(x, centre, dim, shape_.bits, inverse, codes, &sums);
    // A row at its centre (up to what squares can hold) is exact without its code.
    double sign_factor = 0, code_factor = 0, sign_cosine2 = 1, code_cosine2 = 1;
    if (sums.s_x > 1e-18f && sums.y_x > 1e-18f && x_x > 1e-36) {
      const auto s_x = static_cast<double>(sums.s_x);
      const auto y_x = static_cast<double>(sums.y_x);
      sign_factor = x_x / s_x;
      code_factor = x_x / y_x;
      sign_cosine2 = std::min(1.0, s_x * s_x / (x_x * static_cast<double>(dim)));
      code_cosine2 = std::min(1.0, y_x * y_x / (x_x * static_cast<double>(sums.y_y)));
    }
    const double apart = static_cast<double>(dim) - 1;
    const double own = form_ == KeyForm::kL2 ? x_x : -static_cast<double>(sums.x_c);
    add[r] = static_cast<float>(own + weight * sign_factor * static_cast<double>(sums.s_c));
    mul[r] = static_cast<float>(-weight * sign_factor);
    RowFactors factors;
    factors.add = static_cast<float>(own + weight * code_factor * static_cast<double>(sums.y_c));
    factors.mul = static_cast<float>(-weight * code_factor);
    factors.error = static_cast<float>(weight * length * std::sqrt((1 / code_cosine2 - 1) / apart));
    factors.id = ids[r];
    spread_.sign_error = std::max(spread_.sign_error,
                                  static_cast<float>(std::sqrt((1 - sign_cosine2) * static_cast<double>(dim) / apart)));
    spread_.code_norm = std::max(spread_.code_norm, std::sqrt(sums.y_y));
    std::byte* row = rows + r * shape_.row_bytes();
    std::memcpy(row, &factors, sizeof(factors));
    simd::PackRowCode(codes, dim, shape_.bits, row + sizeof(factors));
  }
  simd::PackSignBlock(codes_.data(), count, dim, shape_.bits, block);
  std::memcpy(block + dim / 4 * 16, add, sizeof(add));
  std::memcpy(block + dim / 4 * 16 + sizeof(add), mul, sizeof(mul));
}

void RabitqQuery::Prepare(const RabitqShape& shape, const float* query) {
  const ListKernels& kernels = *simd::Kernels().lists;
  const size_t dim = shape.dim;
  const size_t groups = dim / 4;
  lookup.resize(groups * 16);
  codes.resize(dim);
  largest = 0;
  float widest = 0;
  float magnitude = 0;
  for (size_t g = 0; g < groups; ++g) {
    const float* four = query + 4 * g;
    const float a = std::abs(four[0]), b = std::abs(four[1]), c = std::abs(four[2]), d = std::abs(four[3]);
    const float range = (a + b) + (c + d);
    largest = std::max(std::max(largest, std::max(a, b)), std::max(c, d));
    widest = std::max(widest, range);
    magnitude += range;
  }
  float norm2 = 0;
  simd::Kernels().f32.norm({reinterpret_cast<const std::byte*>(query), dim * sizeof(float), 1, nullptr}, dim, &norm2);
  norm = std::sqrt(norm2);

  const float lookup_step = widest > 1e-30f ? widest / ListKernels::kLookupMax : 1.0f;
  kernels.build_lookup(query, groups, 1 / lookup_step, lookup.data());
  // <s, q> = 2 (sum of lookups + sum of the negative values) - sum of all.
  scale = 2 * lookup_step;
  offset = -magnitude;
  // Roundings are uniform within half a step and independent.
  lookup_error = 2 * lookup_step * std::sqrt(static_cast<float>(groups) / 12.0f);

  step = largest > 1e-30f ? largest / 127 : 1.0f;
  const int32_t sum = kernels.quantise(query, dim, 1 / step, codes.data());
  shift = -step * (static_cast<float>(size_t{1} << shape.bits) - 1) / 2 * static_cast<float>(sum);
  code_error = step / std::sqrt(12.0f);
}

}  // namespace quiver::codec
