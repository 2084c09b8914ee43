// File: simd/avx512_steps.h
// Steps on 512-bit registers that the files of the levels from avx512 on share. To be included by them only.
#pragma once

#include <immintrin.h>

#include "simd/avx_steps.h"

namespace quiver::simd {

/// The sums of the 32-bit lanes of four vectors; `Tag` is a type of the including file.
template <class Tag>
inline __m128i SumsOfFour(__m512i a, __m512i b, __m512i c, __m512i d) {
  const auto fold = [](__m512i v) __attribute__((always_inline)) {
    return _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  };
  return SumsOfFour<Tag>(fold(a), fold(b), fold(c), fold(d));
}

}  // namespace quiver::simd
