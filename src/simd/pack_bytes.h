// File: simd/pack_bytes.h
// Bytes of truth to bits, for code of the base target. Thread rule: a pure function.
#pragma once

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace quiver::simd {

/// Packs 64 bytes of 0 or 1 into a word: byte i becomes bit i.
inline uint64_t PackBytes(const uint8_t* bytes) {
  static_assert(std::endian::native == std::endian::little);
  uint64_t word = 0;
#ifdef __SSE2__
  for (size_t group = 0; group < 4; ++group) {
    const __m128i sixteen = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + group * 16));
    const auto bits = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpgt_epi8(sixteen, _mm_setzero_si128())));
    word |= uint64_t{bits} << (group * 16);
  }
#else
  for (size_t group = 0; group < 8; ++group) {
    uint64_t eight = 0;
    std::memcpy(&eight, bytes + group * 8, sizeof(eight));
    // Each product bit 56 + i comes from exactly one byte; no carries, as the bytes are 0 or 1.
    word |= ((eight * 0x0102040810204080U) >> 56U) << (group * 8);
  }
#endif
  return word;
}

}  // namespace quiver::simd
