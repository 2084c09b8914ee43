// File: codec/sq8.h
// SQ8: one signed byte per dimension with a scale per vector, for vectors that were rotated (codec/rotation.h).
//
//   x ~ x' = scale * code,   code in [-127, 127],   scale = largest magnitude / 127
//
// Queries take the same form, so the product of a query and a row is scale_q * scale_x * (exact integer product of the
// codes, simd::ByteCodeKernels), and rows can be compared with rows.
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quiver::codec {

/// What turns integer products of codes into lengths and products of x'.
struct Sq8Factors {
  float scale = 0;  ///< 0 for the zero vector
  float norm = 0;   ///< squared length of x', not of x: then distances err by the residual times |x - q|, not |q|

  bool operator==(const Sq8Factors&) const = default;
};

/// Encodes `dim` finite values; same codes on every machine.
Sq8Factors EncodeSq8(const float* vector, size_t dim, int8_t* codes);

/// A code as two halves of a byte: code = 16 * (coarse - 8) + fine, coarse and fine in 0 .. 15. Walks read the coarse
/// half alone, taking 7.5 for the fine one: half the memory at an error of an eighth of the values' spread.
inline constexpr float kSq8FineMiddle = 7.5f;

/// Splits `dim` codes (a multiple of 64) into dim / 2 bytes each, in the order of simd::ByteCodeKernels::half_dot.
/// Returns the squared length of the coarse half, in units of scale^2.
float SplitSq8(const int8_t* codes, size_t dim, uint8_t* coarse, uint8_t* fine);

}  // namespace quiver::codec
