// File: simd/kernels_avx512popcnt.cc
// Kernels of the avx512popcnt level: those that count bits (vpopcntq). All others are those of avx512.
//
// Many processors of this level multiply bf16 as well (vdpbf16ps). That is not used: it takes denormals for zero and
// wants the query as bf16, which the contract of simd/kernels.h rules out for scores, and a first pass with a bound is
// there already, the code filter, with 64 products per instruction instead of 32.
#if defined(__x86_64__)

#include <immintrin.h>

#include "simd/avx512_steps.h"
#include "simd/level_tables.h"

namespace quiver::simd {
namespace {

struct Tag {};

constexpr size_t kLine = 64;  ///< bytes of a vector, and of a line of the cache

const std::byte* RowAt(const Rows& rows, size_t i) {
  return rows.base + (rows.ids != nullptr ? rows.ids[i] : i) * rows.stride;
}

/// The sums of kCount vectors of counts that fit 32 bits.
template <size_t kCount>
[[gnu::always_inline]] inline void Totals(const __m512i (&counts)[kCount], uint32_t (&out)[kCount]) {
  if constexpr (kCount == 4) {
    const __m128i sums = SumsOfFour<Tag>(counts[0], counts[1], counts[2], counts[3]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), sums);
  } else {
    for (size_t g = 0; g < kCount; ++g) out[g] = static_cast<uint32_t>(_mm512_reduce_add_epi64(counts[g]));
  }
}

enum class Binary : uint8_t { kHamming, kJaccard };

/// Rows first, first + step and so on, kCount of them.
template <Binary kBinary, size_t kCount>
[[gnu::always_inline]] inline void BinaryGroup(const Rows& rows, size_t first, size_t step, const std::byte* query,
                                               size_t bytes, float* out) {
  const std::byte* row[kCount];
  __m512i some[kCount];  // bits that differ, or that both have
  __m512i any[kCount];
  for (size_t g = 0; g < kCount; ++g) {
    row[g] = RowAt(rows, first + g * step);
    some[g] = any[g] = _mm512_setzero_si512();
  }
  const auto add = [&](size_t at, __mmask64 mask) __attribute__((always_inline)) {
    const __m512i q = _mm512_maskz_loadu_epi8(mask, query + at);
    for (size_t g = 0; g < kCount; ++g) {
      const __m512i x = _mm512_maskz_loadu_epi8(mask, row[g] + at);
      if constexpr (kBinary == Binary::kHamming) {
        some[g] = _mm512_add_epi64(some[g], _mm512_popcnt_epi64(_mm512_xor_si512(q, x)));
      } else {
        some[g] = _mm512_add_epi64(some[g], _mm512_popcnt_epi64(_mm512_and_si512(q, x)));
        any[g] = _mm512_add_epi64(any[g], _mm512_popcnt_epi64(_mm512_or_si512(q, x)));
      }
    }
  };
  size_t at = 0;
  for (; at + kLine <= bytes; at += kLine) add(at, ~__mmask64{0});
  if (at < bytes) add(at, (__mmask64{1} << (bytes - at)) - 1);
  uint32_t some_bits[kCount];
  Totals<kCount>(some, some_bits);
  if constexpr (kBinary == Binary::kHamming) {
    for (size_t g = 0; g < kCount; ++g) out[first + g * step] = static_cast<float>(some_bits[g]);
  } else {
    uint32_t any_bits[kCount];
    Totals<kCount>(any, any_bits);
    for (size_t g = 0; g < kCount; ++g) {
      out[first + g * step] =
          any_bits[g] == 0 ? 0.0f : 1.0f - static_cast<float>(some_bits[g]) / static_cast<float>(any_bits[g]);
    }
  }
}

/// Shorter rows are left to avx512: for them the sum over a vector costs more than counting words.
template <Binary kBinary>
void BinaryScan(const Rows& rows, const void* query, size_t bytes, float* out) {
  if (bytes < kLine) {
    const BinaryKernels& words = kAvx512Table.binary;
    return (kBinary == Binary::kHamming ? words.hamming : words.jaccard)(rows, query, bytes, out);
  }
  constexpr size_t kCount = 4;
  constexpr size_t kAhead = 16;
  const auto* bits = static_cast<const std::byte*>(query);
  size_t i = 0;
  if (rows.ids == nullptr) {
    // Streams far apart, as in dense_loops.h.
    const size_t step = rows.count / kCount;
    for (; i < step; ++i) BinaryGroup<kBinary, kCount>(rows, i, step, bits, bytes, out);
    i = step * kCount;
  } else {
    for (; i + kCount <= rows.count; i += kCount) {
      for (size_t ahead = i + kAhead; ahead < i + kAhead + kCount && ahead < rows.count; ++ahead) {
        const std::byte* row = RowAt(rows, ahead);
        for (size_t at = 0; at < bytes; at += kLine) __builtin_prefetch(row + at);
      }
      BinaryGroup<kBinary, kCount>(rows, i, 1, bits, bytes, out);
    }
  }
  for (; i < rows.count; ++i) BinaryGroup<kBinary, 1>(rows, i, 0, bits, bytes, out);
}

template <size_t kCount>
[[gnu::always_inline]] inline void BitGroup(const Rows& rows, size_t first, const uint8_t* planes, uint32_t* out) {
  constexpr size_t kPlanes = ByteCodeKernels::kBitPlanes;
  const std::byte* row[kCount];
  __m512i sums[kCount];
  for (size_t g = 0; g < kCount; ++g) {
    row[g] = RowAt(rows, first + g);
    sums[g] = _mm512_setzero_si512();
  }
  for (size_t at = 0; at < rows.stride; at += kLine, planes += kPlanes * 2 * kLine) {
    __m512i plane[kPlanes];
    for (size_t p = 0; p < kPlanes; ++p) plane[p] = _mm512_loadu_si512(planes + p * 2 * kLine);
    for (size_t g = 0; g < kCount; ++g) {
      const __m512i bits = _mm512_loadu_si512(row[g] + at);
      for (unsigned p = 0; p < kPlanes; ++p) {
        const __m512i ones = _mm512_popcnt_epi64(_mm512_and_si512(bits, plane[p]));
        sums[g] = _mm512_add_epi64(sums[g], _mm512_slli_epi64(ones, p));
      }
    }
  }
  uint32_t totals[kCount];
  Totals<kCount>(sums, totals);
  for (size_t g = 0; g < kCount; ++g) out[first + g] = totals[g];
}

void BitDots(const Rows& rows, const uint8_t* planes, uint32_t* out) {
  constexpr size_t kCount = 4;
  constexpr size_t kAhead = ByteCodeKernels::kBitsAhead;
  size_t i = 0;
  for (; i + kCount <= rows.count; i += kCount) {
    for (size_t ahead = i + kAhead; rows.ids != nullptr && ahead < i + kAhead + kCount && ahead < rows.count; ++ahead) {
      const std::byte* row = RowAt(rows, ahead);
      for (size_t at = 0; at < rows.stride; at += kLine) __builtin_prefetch(row + at);
    }
    BitGroup<kCount>(rows, i, planes, out);
  }
  for (; i < rows.count; ++i) BitGroup<1>(rows, i, planes, out);
}

}  // namespace

const KernelTable& Avx512PopcntTable() {
  static const KernelTable table = [] {
    KernelTable own = kAvx512Table;
    own.level = Level::kAvx512Popcnt;
    own.binary.hamming = &BinaryScan<Binary::kHamming>;
    own.binary.jaccard = &BinaryScan<Binary::kJaccard>;
    own.bytes.bit_dot = &BitDots;
    return own;
  }();
  return table;
}

}  // namespace quiver::simd

#endif
