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

}  // namespace quiver::codec
