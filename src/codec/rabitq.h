// File: codec/rabitq.h
// RaBitQ codes (arXiv 2405.12497, 2409.09913): one sign bit per dimension for a fast first look and `bits` bits per
// dimension for a second, both with an estimate of the distance and a bound of its error per vector.
//
// A vector o is coded by its residual x = o - c from a centre c, both rotated (codec/rotation.h). Keys, smaller is
// better: the squared distance (kL2), or the inner product negated (kIp). With s the signs of x and y its code,
//   key(q, o) = base(q, c) + add + mul * <s, q>  +-  error      base: |q - c|^2, or -<q, c>
// and the same with y. The centre's part of the estimate stands in `add`, so that one preparation of the query serves
// all centres while errors grow with |q - c| only.
// Thread rule: plain values and pure functions; a RabitqQuery belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "simd/list_kernels.h"

namespace quiver::codec {

enum class KeyForm : uint8_t { kL2, kIp };

/// Sizes that follow from dimension and bits.
struct RabitqShape {
  size_t dim = 64;  ///< multiple of 64
  size_t bits = 7;  ///< 1 to 8, sign bit included

  /// Block of 32 rows: transposed sign bits, float add[32], mul[32] (simd::ListKernels::scan_bits).
  [[nodiscard]] size_t block_bytes() const { return dim / 4 * 16 + 2 * simd::ListKernels::kBlock * sizeof(float); }
  /// Row: RowFactors, then the packed code (simd::PackRowCode), rounded up to 16.
  [[nodiscard]] size_t row_bytes() const { return (kRowFactorBytes + simd::RowCodeBytes(dim, bits) + 15) / 16 * 16; }
  static constexpr size_t kRowFactorBytes = 16;
};

/// Factors of the second look. `error` is one standard deviation per unit of |q - c|.
struct RowFactors {
  float add = 0;
  float mul = 0;
  float error = 0;
  uint32_t id = 0;
};
static_assert(sizeof(RowFactors) == RabitqShape::kRowFactorBytes);

/// What bounds need to know of all rows of an index.
struct RabitqSpread {
  float sign_error = 0;  ///< largest deviation of <s, q> per unit of |q - c|
  float code_norm = 0;   ///< largest |y|
  void Merge(const RabitqSpread& other);
};

/// Writes codes. Holds work buffers; one per thread.
class RabitqEncoder {
 public:
  RabitqEncoder(const RabitqShape& shape, KeyForm form);

  /// Encodes up to 32 rows of one centre: residuals[r] at residuals + r * dim, ids[r]. The missing rows of the block
  /// get add = +infinity, which no limit keeps, and zeros. `block` has block_bytes(), `rows` 32 * row_bytes().
  void EncodeBlock(const float* residuals, size_t count, const float* centre, const uint32_t* ids, std::byte* block,
                   std::byte* rows);
  [[nodiscard]] const RabitqSpread& spread() const { return spread_; }

 private:
  RabitqShape shape_;
  KeyForm form_;
  RabitqSpread spread_;
  std::vector<uint8_t> codes_;
};

/// A query prepared for all centres.
struct RabitqQuery {
  // First look.
  std::vector<uint8_t> lookup;
  float scale = 0;
  float offset = 0;        ///< without the slack of the bound
  float lookup_error = 0;  ///< deviation of <s, q> that comes from rounding the lookups
  // Second look.
  std::vector<int8_t> codes;
  float step = 0;        ///< of codes
  float shift = 0;       ///< <y, q> = step * (code . codes) + shift
  float code_error = 0;  ///< deviation of <y, q> per unit of |y|, from rounding the query
  float norm = 0;        ///< |q|
  float largest = 0;     ///< largest magnitude of a coordinate

  /// Prepares the rotated query. Buffers grow with first use.
  void Prepare(const RabitqShape& shape, const float* query);
};

}  // namespace quiver::codec
