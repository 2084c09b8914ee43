// File: simd/avx_steps.h
// Steps on 256-bit registers that the avx2 and avx512 levels share. To be included by their files only.
#pragma once

#include <immintrin.h>

namespace quiver::simd {

/// The sums of the lanes of four vectors. One by one they cost more than the products of short rows.
template <class Tag>
inline __m128i SumsOfFour(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
  return _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
}

/// Steps of the Hadamard transform within eight floats; `Tag` is a type of the including file, so that each level keeps
/// a form of its own.
template <class Tag>
struct EightLanes {
  /// v + swapped lanes, with the sign of v where a lane is the right hand of its pair.
  static void EightStep(float* eight) {
    const __m256 odd = _mm256_setr_ps(0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f);
    const __m256 pairs = _mm256_setr_ps(0.0f, 0.0f, -0.0f, -0.0f, 0.0f, 0.0f, -0.0f, -0.0f);
    const __m256 upper = _mm256_setr_ps(0.0f, 0.0f, 0.0f, 0.0f, -0.0f, -0.0f, -0.0f, -0.0f);
    __m256 v = _mm256_loadu_ps(eight);
    v = _mm256_add_ps(_mm256_permute_ps(v, 0xb1), _mm256_xor_ps(v, odd));
    v = _mm256_add_ps(_mm256_permute_ps(v, 0x4e), _mm256_xor_ps(v, pairs));
    v = _mm256_add_ps(_mm256_permute2f128_ps(v, v, 1), _mm256_xor_ps(v, upper));
    _mm256_storeu_ps(eight, v);
  }
};

}  // namespace quiver::simd
