// File: simd/list_kernels_avx512.cc
// List kernels of the avx512 level (F, BW, DQ, VL, VNNI).
#if defined(__x86_64__)

#include <immintrin.h>

#include "simd/avx512_steps.h"
#include "simd/level_tables.h"
#include "simd/list_loops.h"

namespace quiver::simd {
namespace {

struct Panel {
  static constexpr size_t kRows = 12;
  using Value = __m512;
  template <size_t kCount, class Use>
  [[gnu::always_inline]] static void Multiply(const float* const (&row)[kCount], const float* panel, const float* bias,
                                              size_t dim, const Use& use) {
    __m512 sums[kCount];
    for (size_t r = 0; r < kCount; ++r) sums[r] = _mm512_setzero_ps();
    for (size_t d = 0; d < dim; ++d) {
      const __m512 a = _mm512_loadu_ps(panel + d * CentrePanels::kPanel);
      for (size_t r = 0; r < kCount; ++r) sums[r] = _mm512_fmadd_ps(_mm512_set1_ps(row[r][d]), a, sums[r]);
    }
    const __m512 biases = _mm512_loadu_ps(bias);
    for (size_t r = 0; r < kCount; ++r) use(r, _mm512_sub_ps(sums[r], biases));
  }
  static void Store(Value value, float* out) { _mm512_storeu_ps(out, value); }
  static float Most(Value value) { return _mm512_reduce_max_ps(value); }
};

void ScanBytes(const uint8_t* blocks, size_t block_count, const int8_t* query, size_t dim, const float* add,
               float scale, float* out, float* least) {
  const __m512 scales = _mm512_set1_ps(scale);
  for (size_t b = 0; b < block_count; ++b) {
    const uint8_t* codes = blocks + b * ListKernels::kBlock * dim;
    // Two sums for each half of the block: one alone waits for itself.
    __m512i low[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    __m512i high[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (size_t d = 0; d < dim; d += 8) {
      for (size_t part = 0; part < 2; ++part) {
        int32_t four;
        __builtin_memcpy(&four, query + d + 4 * part, sizeof(four));
        const __m512i broadcast = _mm512_set1_epi32(four);
        const uint8_t* from = codes + (d + 4 * part) * 32;
        low[part] = _mm512_dpbusd_epi32(low[part], _mm512_loadu_si512(from), broadcast);
        high[part] = _mm512_dpbusd_epi32(high[part], _mm512_loadu_si512(from + 64), broadcast);
      }
    }
    const __m512 lows = _mm512_cvtepi32_ps(_mm512_add_epi32(low[0], low[1]));
    const __m512 highs = _mm512_cvtepi32_ps(_mm512_add_epi32(high[0], high[1]));
    const size_t at = b * ListKernels::kBlock;
    const __m512 first = _mm512_add_ps(_mm512_loadu_ps(add + at), _mm512_mul_ps(lows, scales));
    const __m512 second = _mm512_add_ps(_mm512_loadu_ps(add + at + 16), _mm512_mul_ps(highs, scales));
    _mm512_storeu_ps(out + at, first);
    _mm512_storeu_ps(out + at + 16, second);
    least[b] = _mm512_reduce_min_ps(_mm512_min_ps(first, second));
  }
}

int32_t Quantise(const float* query, size_t dim, float inverse_step, int8_t* out) {
  const __m512 inverse = _mm512_set1_ps(inverse_step);
  __m512i sums = _mm512_setzero_si512();
  size_t d = 0;
  for (; d + 16 <= dim; d += 16) {
    const __m512i codes = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(query + d), inverse));
    sums = _mm512_add_epi32(sums, codes);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + d), _mm512_cvtsepi32_epi8(codes));
  }
  return _mm512_reduce_add_epi32(sums) + QuantisePlain<Panel>(query + d, dim - d, inverse_step, out + d);
}

void BuildLookup(const float* query, size_t groups, float inverse_step, uint8_t* lookup) {
  for (size_t g = 0; g < groups; ++g) {
    const __m128 four = _mm_mul_ps(_mm_loadu_ps(query + 4 * g), _mm_set1_ps(inverse_step));
    __m128 negative = _mm_min_ps(four, _mm_setzero_ps());
    negative = _mm_add_ps(negative, _mm_movehl_ps(negative, negative));
    negative = _mm_add_ss(negative, _mm_movehdup_ps(negative));
    __m512 sums = _mm512_sub_ps(_mm512_setzero_ps(), _mm512_broadcastss_ps(negative));
    sums = _mm512_mask_add_ps(sums, 0xaaaa, sums, _mm512_broadcastss_ps(four));
    sums = _mm512_mask_add_ps(sums, 0xcccc, sums, _mm512_broadcastss_ps(_mm_shuffle_ps(four, four, 0x55)));
    sums = _mm512_mask_add_ps(sums, 0xf0f0, sums, _mm512_broadcastss_ps(_mm_shuffle_ps(four, four, 0xaa)));
    sums = _mm512_mask_add_ps(sums, 0xff00, sums, _mm512_broadcastss_ps(_mm_shuffle_ps(four, four, 0xff)));
    const __m512i entries = _mm512_max_epi32(_mm512_cvtps_epi32(sums), _mm512_setzero_si512());
    const __m512i most = _mm512_set1_epi32(ListKernels::kLookupMax);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lookup + g * 16),
                     _mm512_cvtepi32_epi8(_mm512_min_epi32(entries, most)));
  }
}

/// Adds up lookups of up to kChunk groups in 16 bits: 256 * 63 fits.
constexpr size_t kChunkGroups = 256;

uint32_t ScanBlock(const BitQuery& query, const std::byte* block) {
  const auto* codes = reinterpret_cast<const uint8_t*>(block);
  const __m512i nibble = _mm512_set1_epi8(15);
  __m512i wide[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};  // rows 0-15, 16-31
  for (size_t begin = 0; begin < query.groups; begin += kChunkGroups) {
    const size_t end = begin + kChunkGroups < query.groups ? begin + kChunkGroups : query.groups;
    // As 16-bit lanes: `both` adds byte pairs as they are (low byte plus 256 * high byte), `odd` the high bytes alone.
    __m512i both_low = _mm512_setzero_si512(), odd_low = _mm512_setzero_si512();
    __m512i both_high = _mm512_setzero_si512(), odd_high = _mm512_setzero_si512();
    for (size_t g = begin; g < end; g += 16) {
      __m512i low = _mm512_setzero_si512();
      __m512i high = _mm512_setzero_si512();
      for (size_t four = 0; four < 4; ++four) {
        const __m512i code = _mm512_loadu_si512(codes + (g + 4 * four) * 16);
        const __m512i lookup = _mm512_loadu_si512(query.lookup + (g + 4 * four) * 16);
        low = _mm512_add_epi8(low, _mm512_shuffle_epi8(lookup, _mm512_and_si512(code, nibble)));
        high = _mm512_add_epi8(high, _mm512_shuffle_epi8(lookup, _mm512_and_si512(_mm512_srli_epi16(code, 4), nibble)));
      }
      both_low = _mm512_add_epi16(both_low, low);
      odd_low = _mm512_add_epi16(odd_low, _mm512_srli_epi16(low, 8));
      both_high = _mm512_add_epi16(both_high, high);
      odd_high = _mm512_add_epi16(odd_high, _mm512_srli_epi16(high, 8));
    }
    const auto fold = [](__m512i v) {
      const __m256i half = _mm256_add_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
      return _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    };
    const auto finish = [&](__m512i both, __m512i odd) {
      const __m128i evens = fold(_mm512_sub_epi16(both, _mm512_slli_epi16(odd, 8)));
      const __m128i odds = fold(odd);
      return _mm512_cvtepu16_epi32(_mm256_set_m128i(_mm_unpackhi_epi16(evens, odds), _mm_unpacklo_epi16(evens, odds)));
    };
    wide[0] = _mm512_add_epi32(wide[0], finish(both_low, odd_low));
    wide[1] = _mm512_add_epi32(wide[1], finish(both_high, odd_high));
  }
  const auto* add = reinterpret_cast<const float*>(block + query.groups * 16);
  const float* mul = add + ListKernels::kBlock;
  uint32_t mask = 0;
  for (size_t part = 0; part < 2; ++part) {
    const __m512 product =
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(wide[part]), _mm512_set1_ps(query.scale), _mm512_set1_ps(query.offset));
    const __m512 key = _mm512_fmadd_ps(_mm512_loadu_ps(mul + part * 16), product, _mm512_loadu_ps(add + part * 16));
    mask |= static_cast<uint32_t>(_mm512_cmp_ps_mask(key, _mm512_set1_ps(query.limit), _CMP_LE_OQ)) << (16 * part);
  }
  return mask;
}

void ScanBits(const BitQuery& query, const std::byte* blocks, size_t block_bytes, size_t count, const uint32_t* alive,
              uint32_t* masks) {
  for (size_t b = 0; b < count; ++b) {
    if (alive == nullptr) {
      masks[b] = ScanBlock(query, blocks + b * block_bytes);
    } else {
      masks[b] = alive[b] == 0 ? 0 : alive[b] & ScanBlock(query, blocks + b * block_bytes);
    }
  }
}

template <size_t kBits>
[[gnu::always_inline]] inline __m512i Unpack(const std::byte* at) {
  if constexpr (kBits == 8) return _mm512_loadu_si512(at);
  __m512i codes = _mm512_setzero_si512();
  constexpr unsigned kTwoShift = (kBits & 4) != 0 ? 4 : 0;
  constexpr unsigned kOneShift = kTwoShift + ((kBits & 2) != 0 ? 2 : 0);
  if constexpr ((kBits & 4) != 0) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(bytes), _mm256_srli_epi16(bytes, 4), 1);
    codes = _mm512_and_si512(both, _mm512_set1_epi8(15));
    at += 32;
  }
  if constexpr ((kBits & 2) != 0) {
    const __m512i bytes = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
    const __m512i fields = _mm512_srlv_epi64(bytes, _mm512_set_epi64(6, 6, 4, 4, 2, 2, 0, 0));
    codes = _mm512_or_si512(codes, _mm512_slli_epi16(_mm512_and_si512(fields, _mm512_set1_epi8(3)), kTwoShift));
    at += 16;
  }
  if constexpr ((kBits & 1) != 0) {
    int64_t eight;
    __builtin_memcpy(&eight, at, sizeof(eight));
    const __m512i fields = _mm512_srlv_epi64(_mm512_set1_epi64(eight), _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
    codes = _mm512_or_si512(codes, _mm512_slli_epi16(_mm512_and_si512(fields, _mm512_set1_epi8(1)), kOneShift));
  }
  return codes;
}

template <size_t kBits>
void DotCodes(const std::byte* base, size_t stride, const uint32_t* ids, size_t count, const int8_t* query, size_t dim,
              int32_t* out) {
  constexpr size_t kRows = 4;
  const size_t row_bytes = RowCodeBytes(dim, kBits);
  size_t i = 0;
  for (; i + kRows <= count; i += kRows) {
    const std::byte* row[kRows];
    __m512i sums[kRows];
    for (size_t r = 0; r < kRows; ++r) {
      row[r] = base + ids[i + r] * stride;
      sums[r] = _mm512_setzero_si512();
      if (i + kRows + r >= count) continue;
      const std::byte* ahead = base + ids[i + kRows + r] * stride;
      for (size_t byte = 0; byte < row_bytes; byte += 64) __builtin_prefetch(ahead + byte);
    }
    for (size_t d = 0; d < dim; d += 64) {
      const __m512i codes = _mm512_loadu_si512(query + d);
      for (size_t r = 0; r < kRows; ++r) {
        sums[r] = _mm512_dpbusd_epi32(sums[r], Unpack<kBits>(row[r] + d / 8 * kBits), codes);
      }
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), SumsOfFour<Panel>(sums[0], sums[1], sums[2], sums[3]));
  }
  for (; i < count; ++i) {
    const std::byte* at = base + ids[i] * stride;
    __m512i sum = _mm512_setzero_si512();
    for (size_t d = 0; d < dim; d += 64, at += 8 * kBits) {
      sum = _mm512_dpbusd_epi32(sum, Unpack<kBits>(at), _mm512_loadu_si512(query + d));
    }
    out[i] = _mm512_reduce_add_epi32(sum);
  }
}

uint32_t TestIds(const uint32_t* ids, const uint64_t* bits) {
  uint32_t mask = 0;
  for (size_t part = 0; part < 2; ++part) {
    const __m512i id = _mm512_loadu_si512(ids + part * 16);
    const __m512i word = _mm512_i32gather_epi32(_mm512_srli_epi32(id, 5), bits, 4);
    const __m512i bit = _mm512_sllv_epi32(_mm512_set1_epi32(1), _mm512_and_si512(id, _mm512_set1_epi32(31)));
    mask |= static_cast<uint32_t>(_mm512_test_epi32_mask(word, bit)) << (16 * part);
  }
  return mask;
}

struct Forms {
  static constexpr auto kScanBytes = &ScanBytes;
  static constexpr auto kQuantise = &Quantise;
  static constexpr auto kBuildLookup = &BuildLookup;
  static constexpr auto kScanBits = &ScanBits;
  template <size_t kBits>
  static constexpr auto kDotCodes = &DotCodes<kBits>;
  static constexpr auto kTestIds = &TestIds;
};

}  // namespace

constinit const ListKernels kAvx512ListKernels = MakeListKernels<Panel, Forms>();

}  // namespace quiver::simd

#endif
