// File: simd/product_kernels_avx2.cc
// Product kernels of the avx2 level.
#if defined(__x86_64__)

#include <immintrin.h>

#include "simd/product_tables.h"

namespace quiver::simd {
namespace {

__m256i Load(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }

void SumNibbles(const uint8_t* lookup, size_t groups, const std::byte* blocks, size_t block_bytes, size_t count,
                const uint32_t* alive, uint16_t* sums) {
  const __m256i nibble = _mm256_set1_epi8(15);
  for (size_t b = 0; b < count; ++b) {
    if (alive != nullptr && alive[b] == 0) continue;
    const auto* codes = reinterpret_cast<const uint8_t*>(blocks + b * block_bytes);
    // As 16-bit lanes: `both` adds byte pairs as they are (low byte plus 256 * high byte), `odd` the high bytes alone.
    __m256i both[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i odd[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t g = 0; g < groups; g += 2) {
      const __m256i code = Load(codes + g * 16);
      const __m256i entries = Load(lookup + g * 16);
      const __m256i low = _mm256_shuffle_epi8(entries, _mm256_and_si256(code, nibble));
      const __m256i high = _mm256_shuffle_epi8(entries, _mm256_and_si256(_mm256_srli_epi16(code, 4), nibble));
      both[0] = _mm256_add_epi16(both[0], low);
      odd[0] = _mm256_add_epi16(odd[0], _mm256_srli_epi16(low, 8));
      both[1] = _mm256_add_epi16(both[1], high);
      odd[1] = _mm256_add_epi16(odd[1], _mm256_srli_epi16(high, 8));
    }
    for (size_t half = 0; half < 2; ++half) {
      const __m256i even = _mm256_sub_epi16(both[half], _mm256_slli_epi16(odd[half], 8));
      // Each 128-bit half holds another group of the same 16 rows.
      const __m128i evens = _mm_add_epi16(_mm256_castsi256_si128(even), _mm256_extracti128_si256(even, 1));
      const __m128i odds = _mm_add_epi16(_mm256_castsi256_si128(odd[half]), _mm256_extracti128_si256(odd[half], 1));
      auto* out = reinterpret_cast<__m128i*>(sums + b * ProductKernels::kBlock + half * 16);
      _mm_storeu_si128(out, _mm_unpacklo_epi16(evens, odds));
      _mm_storeu_si128(out + 1, _mm_unpackhi_epi16(evens, odds));
    }
  }
}

}  // namespace

void SumBytesAvx2(const float* lookup, size_t groups, const std::byte* blocks, size_t block_bytes, size_t count,
                  const uint32_t* alive, float* sums) {
  for (size_t b = 0; b < count; ++b) {
    if (alive != nullptr && alive[b] == 0) continue;
    const auto* codes = reinterpret_cast<const uint8_t*>(blocks + b * block_bytes);
    __m256 parts[4];
    for (auto& part : parts) part = _mm256_setzero_ps();
    for (size_t g = 0; g < groups; ++g) {
      for (size_t part = 0; part < 4; ++part) {
        const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + g * 32 + part * 8));
        const __m256 entries = _mm256_i32gather_ps(lookup + g * 256, _mm256_cvtepu8_epi32(eight), sizeof(float));
        parts[part] = _mm256_add_ps(parts[part], entries);
      }
    }
    for (size_t part = 0; part < 4; ++part) _mm256_storeu_ps(sums + b * ProductKernels::kBlock + part * 8, parts[part]);
  }
}

void SumRowsAvx2(const float* lookup, size_t bytes, const std::byte* rows, const uint32_t* ids, size_t count,
                 float* sums) {
  constexpr size_t kLanes = ProductKernels::kRowLanes;
  // So many rows at once, since each gather waits for its loads.
  constexpr size_t kAtOnce = 4;
  const __m256i steps = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(256));
  const size_t whole = bytes / kLanes * kLanes;
  for (size_t first = 0; first < count; first += kAtOnce) {
    const size_t some = count - first < kAtOnce ? count - first : kAtOnce;
    const uint8_t* codes[kAtOnce];
    __m256 parts[kAtOnce];
    for (size_t r = 0; r < kAtOnce; ++r) {
      // Of the last few the first is summed again in place of those missing.
      codes[r] = reinterpret_cast<const uint8_t*>(rows + size_t{ids[first + (r < some ? r : 0)]} * bytes);
      parts[r] = _mm256_setzero_ps();
    }
    for (size_t b = 0; b < whole; b += kLanes) {
      for (size_t r = 0; r < kAtOnce; ++r) {
        const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes[r] + b));
        const __m256i at = _mm256_add_epi32(_mm256_cvtepu8_epi32(eight), steps);
        parts[r] = _mm256_add_ps(parts[r], _mm256_i32gather_ps(lookup + b * 256, at, sizeof(float)));
      }
    }
    for (size_t r = 0; r < some; ++r) {
      if (whole < bytes) {
        // A masked gather of the last few, and the load that it takes, cost more.
        alignas(32) float lanes[kLanes];
        _mm256_store_ps(lanes, parts[r]);
        for (size_t b = whole; b < bytes; ++b) lanes[b - whole] += lookup[b * 256 + codes[r][b]];
        sums[first + r] = ProductKernels::SumOfLanes(lanes);
        continue;
      }
      const __m128 half = _mm_add_ps(_mm256_castps256_ps128(parts[r]), _mm256_extractf128_ps(parts[r], 1));
      const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
      sums[first + r] = _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
    }
  }
}

constinit const ProductKernels kAvx2ProductKernels{
    .sum_nibbles = &SumNibbles, .sum_bytes = &SumBytesAvx2, .sum_rows = &SumRowsAvx2};

}  // namespace quiver::simd

#endif
