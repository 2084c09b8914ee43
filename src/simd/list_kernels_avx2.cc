// File: simd/list_kernels_avx2.cc
// List kernels of the avx2 level (AVX2, FMA).
#if defined(__x86_64__)

#include <immintrin.h>

#include "simd/level_tables.h"
#include "simd/list_loops.h"

namespace quiver::simd {
namespace {

__m256i Load(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }
__m128i LoadHalf(const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); }

struct Panel {
  static constexpr size_t kRows = 6;
  struct Value {
    __m256 low, high;
  };
  template <size_t kCount, class Use>
  [[gnu::always_inline]] static void Multiply(const float* const (&row)[kCount], const float* panel, const float* bias,
                                              size_t dim, const Use& use) {
    __m256 low[kCount];
    __m256 high[kCount];
    for (size_t r = 0; r < kCount; ++r) low[r] = high[r] = _mm256_setzero_ps();
    for (size_t d = 0; d < dim; ++d) {
      const __m256 a = _mm256_loadu_ps(panel + d * CentrePanels::kPanel);
      const __m256 b = _mm256_loadu_ps(panel + d * CentrePanels::kPanel + 8);
      for (size_t r = 0; r < kCount; ++r) {
        const __m256 x = _mm256_broadcast_ss(row[r] + d);
        low[r] = _mm256_fmadd_ps(x, a, low[r]);
        high[r] = _mm256_fmadd_ps(x, b, high[r]);
      }
    }
    const __m256 bias_low = _mm256_loadu_ps(bias);
    const __m256 bias_high = _mm256_loadu_ps(bias + 8);
    for (size_t r = 0; r < kCount; ++r) {
      use(r, Value{_mm256_sub_ps(low[r], bias_low), _mm256_sub_ps(high[r], bias_high)});
    }
  }
  static void Store(const Value& value, float* out) {
    _mm256_storeu_ps(out, value.low);
    _mm256_storeu_ps(out + 8, value.high);
  }
  static float Most(const Value& value) {
    const __m256 most = _mm256_max_ps(value.low, value.high);
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
  }
};

float Least(__m256 v) {
  __m128 half = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_min_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_min_ss(half, _mm_movehdup_ps(half)));
}

void ScanBytes(const uint8_t* blocks, size_t block_count, const int8_t* query, size_t dim, const float* add,
               float scale, float* out, float* least) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256 scales = _mm256_set1_ps(scale);
  // 63 * 31 * 2 fits 16 bits eight times.
  constexpr size_t kStepsBeforeWidening = 8;
  static_assert(2 * ListKernels::kByteMax * ListKernels::kByteQueryMax * static_cast<int>(kStepsBeforeWidening) <=
                32767);
  for (size_t b = 0; b < block_count; ++b) {
    const uint8_t* codes = blocks + b * ListKernels::kBlock * dim;
    __m256i sums[4];
    for (auto& sum : sums) sum = _mm256_setzero_si256();
    for (size_t d = 0; d < dim; d += 4 * kStepsBeforeWidening) {
      __m256i narrow[4];
      for (auto& sum : narrow) sum = _mm256_setzero_si256();
#pragma GCC unroll 8
      for (size_t step = 0; step < kStepsBeforeWidening; ++step) {
        int32_t four;
        __builtin_memcpy(&four, query + d + 4 * step, sizeof(four));
        const __m256i broadcast = _mm256_set1_epi32(four);
        for (size_t part = 0; part < 4; ++part) {
          const __m256i products = _mm256_maddubs_epi16(Load(codes + (d + 4 * step) * 32 + part * 32), broadcast);
          narrow[part] = _mm256_add_epi16(narrow[part], products);
          // Pins the order: compilers otherwise regroup these sums into trees and spill.
          asm("" : "+x"(narrow[part]));
        }
      }
      for (size_t part = 0; part < 4; ++part) {
        sums[part] = _mm256_add_epi32(sums[part], _mm256_madd_epi16(narrow[part], ones));
      }
    }
    __m256 smallest = _mm256_set1_ps(__builtin_inff());
    for (size_t part = 0; part < 4; ++part) {
      const size_t at = b * ListKernels::kBlock + part * 8;
      const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[part]), scales);
      const __m256 key = _mm256_add_ps(_mm256_loadu_ps(add + at), product);
      _mm256_storeu_ps(out + at, key);
      smallest = _mm256_min_ps(smallest, key);
    }
    least[b] = Least(smallest);
  }
}

int32_t SumLanes(__m256i v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return _mm_cvtsi128_si32(sum);
}

int32_t Quantise(const float* query, size_t dim, float inverse_step, int8_t* out) {
  const __m256 inverse = _mm256_set1_ps(inverse_step);
  __m256i sums = _mm256_setzero_si256();
  size_t d = 0;
  for (; d + 8 <= dim; d += 8) {
    const __m256i codes = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(query + d), inverse));
    sums = _mm256_add_epi32(sums, codes);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + d), _mm_packs_epi16(words, words));
  }
  return SumLanes(sums) + QuantisePlain<Panel>(query + d, dim - d, inverse_step, out + d);
}

void BuildLookup(const float* query, size_t groups, float inverse_step, uint8_t* lookup) {
  const __m256 bit0 = _mm256_castsi256_ps(_mm256_setr_epi32(0, -1, 0, -1, 0, -1, 0, -1));
  const __m256 bit1 = _mm256_castsi256_ps(_mm256_setr_epi32(0, 0, -1, -1, 0, 0, -1, -1));
  const __m256 bit2 = _mm256_castsi256_ps(_mm256_setr_epi32(0, 0, 0, 0, -1, -1, -1, -1));
  const __m128i most = _mm_set1_epi8(static_cast<char>(ListKernels::kLookupMax));
  for (size_t g = 0; g < groups; ++g) {
    const __m128 four = _mm_mul_ps(_mm_loadu_ps(query + 4 * g), _mm_set1_ps(inverse_step));
    __m128 negative = _mm_min_ps(four, _mm_setzero_ps());
    negative = _mm_add_ps(negative, _mm_movehl_ps(negative, negative));
    negative = _mm_add_ss(negative, _mm_movehdup_ps(negative));
    const __m256 first = _mm256_sub_ps(_mm256_setzero_ps(), _mm256_broadcastss_ps(negative));
    const __m256 q0 = _mm256_broadcastss_ps(four);
    const __m256 q1 = _mm256_broadcastss_ps(_mm_shuffle_ps(four, four, 0x55));
    const __m256 q2 = _mm256_broadcastss_ps(_mm_shuffle_ps(four, four, 0xaa));
    const __m256 q3 = _mm256_broadcastss_ps(_mm_shuffle_ps(four, four, 0xff));
    __m256 low = _mm256_add_ps(first, _mm256_and_ps(bit0, q0));
    low = _mm256_add_ps(low, _mm256_and_ps(bit1, q1));
    low = _mm256_add_ps(low, _mm256_and_ps(bit2, q2));
    const __m256 high = _mm256_add_ps(low, q3);
    const __m256i entries_low = _mm256_cvtps_epi32(low);
    const __m256i entries_high = _mm256_cvtps_epi32(high);
    const __m128i words_low =
        _mm_packs_epi32(_mm256_castsi256_si128(entries_low), _mm256_extracti128_si256(entries_low, 1));
    const __m128i words_high =
        _mm_packs_epi32(_mm256_castsi256_si128(entries_high), _mm256_extracti128_si256(entries_high, 1));
    const __m128i entries = _mm_min_epu8(_mm_packus_epi16(words_low, words_high), most);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(lookup + g * 16), entries);
  }
}

/// Adds up lookups of up to kChunk groups in 16 bits: 256 * 63 fits.
constexpr size_t kChunkGroups = 256;

uint32_t ScanBlock(const BitQuery& query, const std::byte* block) {
  const auto* codes = reinterpret_cast<const uint8_t*>(block);
  const __m256i nibble = _mm256_set1_epi8(15);
  __m256i wide[4];  // rows 0-7, 8-15, 16-23, 24-31
  for (auto& sum : wide) sum = _mm256_setzero_si256();
  for (size_t begin = 0; begin < query.groups; begin += kChunkGroups) {
    const size_t end = begin + kChunkGroups < query.groups ? begin + kChunkGroups : query.groups;
    // As 16-bit lanes: `both` adds byte pairs as they are (low byte plus 256 * high byte), `odd` the high bytes alone.
    __m256i both_low = _mm256_setzero_si256(), odd_low = _mm256_setzero_si256();
    __m256i both_high = _mm256_setzero_si256(), odd_high = _mm256_setzero_si256();
    for (size_t g = begin; g < end; g += 8) {
      __m256i low = _mm256_setzero_si256();
      __m256i high = _mm256_setzero_si256();
      for (size_t pair = 0; pair < 4; ++pair) {
        const __m256i code = Load(codes + (g + 2 * pair) * 16);
        const __m256i lookup = Load(query.lookup + (g + 2 * pair) * 16);
        low = _mm256_add_epi8(low, _mm256_shuffle_epi8(lookup, _mm256_and_si256(code, nibble)));
        high = _mm256_add_epi8(high, _mm256_shuffle_epi8(lookup, _mm256_and_si256(_mm256_srli_epi16(code, 4), nibble)));
      }
      both_low = _mm256_add_epi16(both_low, low);
      odd_low = _mm256_add_epi16(odd_low, _mm256_srli_epi16(low, 8));
      both_high = _mm256_add_epi16(both_high, high);
      odd_high = _mm256_add_epi16(odd_high, _mm256_srli_epi16(high, 8));
    }
    const auto finish = [&](__m256i both, __m256i odd, __m256i& first, __m256i& second) {
      const __m256i even = _mm256_sub_epi16(both, _mm256_slli_epi16(odd, 8));
      // Each 128-bit half holds other groups of the same 16 rows.
      const __m128i evens = _mm_add_epi16(_mm256_castsi256_si128(even), _mm256_extracti128_si256(even, 1));
      const __m128i odds = _mm_add_epi16(_mm256_castsi256_si128(odd), _mm256_extracti128_si256(odd, 1));
      first = _mm256_add_epi32(first, _mm256_cvtepu16_epi32(_mm_unpacklo_epi16(evens, odds)));
      second = _mm256_add_epi32(second, _mm256_cvtepu16_epi32(_mm_unpackhi_epi16(evens, odds)));
    };
    finish(both_low, odd_low, wide[0], wide[1]);
    finish(both_high, odd_high, wide[2], wide[3]);
  }
  const auto* add = reinterpret_cast<const float*>(block + query.groups * 16);
  const float* mul = add + ListKernels::kBlock;
  const __m256 scale = _mm256_set1_ps(query.scale);
  const __m256 offset = _mm256_set1_ps(query.offset);
  const __m256 limit = _mm256_set1_ps(query.limit);
  uint32_t mask = 0;
  for (size_t part = 0; part < 4; ++part) {
    const __m256 product = _mm256_fmadd_ps(_mm256_cvtepi32_ps(wide[part]), scale, offset);
    const __m256 key = _mm256_fmadd_ps(_mm256_loadu_ps(mul + part * 8), product, _mm256_loadu_ps(add + part * 8));
    const auto keep = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(key, limit, _CMP_LE_OQ)));
    mask |= keep << (8 * part);
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

/// Codes of dims 0-31 and 32-63 of one group of 64.
template <size_t kBits>
[[gnu::always_inline]] inline void Unpack(const std::byte* at, __m256i& first, __m256i& second) {
  if constexpr (kBits == 8) {
    first = Load(at);
    second = Load(at + 32);
    return;
  }
  first = second = _mm256_setzero_si256();
  constexpr int kTwoShift = (kBits & 4) != 0 ? 4 : 0;
  constexpr int kOneShift = kTwoShift + ((kBits & 2) != 0 ? 2 : 0);
  if constexpr ((kBits & 4) != 0) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i bytes = Load(at);
    first = _mm256_and_si256(bytes, nibble);
    second = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
    at += 32;
  }
  if constexpr ((kBits & 2) != 0) {
    const __m256i two = _mm256_set1_epi8(static_cast<char>(3 << kTwoShift));
    const __m256i bytes = _mm256_broadcastsi128_si256(LoadHalf(at));
    // Fields 0 and 1 (2 and 3) of each byte land at bit kTwoShift of the two halves; what crosses bytes is masked.
    const __m256i low = _mm256_set_epi64x(2, 2, 0, 0);
    const __m256i high = _mm256_set_epi64x(6, 6, 4, 4);
    const __m256i shifted = _mm256_slli_epi64(bytes, kTwoShift);
    // Bits pushed out of the top byte of a word by the left shift are fields that are read from `bytes` instead.
    if constexpr (kTwoShift == 0) {
      first = _mm256_or_si256(first, _mm256_and_si256(_mm256_srlv_epi64(bytes, low), two));
      second = _mm256_or_si256(second, _mm256_and_si256(_mm256_srlv_epi64(bytes, high), two));
    } else {
      // Fields 0, 1 move up by 4 and 2 bits, fields 2 and 3 stay or move down by 2.
      first = _mm256_or_si256(first, _mm256_and_si256(_mm256_srlv_epi64(shifted, low), two));
      const __m256i down = _mm256_set_epi64x(2, 2, 0, 0);
      second = _mm256_or_si256(second, _mm256_and_si256(_mm256_srlv_epi64(bytes, down), two));
    }
    at += 16;
  }
  if constexpr ((kBits & 1) != 0) {
    int64_t eight;
    __builtin_memcpy(&eight, at, sizeof(eight));
    const __m256i bytes = _mm256_set1_epi64x(eight);
    const __m256i one = _mm256_set1_epi8(1);
    const __m256i low = _mm256_and_si256(_mm256_srlv_epi64(bytes, _mm256_set_epi64x(3, 2, 1, 0)), one);
    const __m256i high = _mm256_and_si256(_mm256_srlv_epi64(bytes, _mm256_set_epi64x(7, 6, 5, 4)), one);
    first = _mm256_or_si256(first, _mm256_slli_epi16(low, kOneShift));
    second = _mm256_or_si256(second, _mm256_slli_epi16(high, kOneShift));
  }
}

/// Pairs of products, exact: codes of up to 7 bits are unsigned factors; of 8 bits the centred code takes the query's
/// sign instead (its least value, -128, does not occur).
template <size_t kBits>
[[gnu::always_inline]] inline __m256i Products(__m256i codes, __m256i query) {
  if constexpr (kBits < 8) return _mm256_maddubs_epi16(codes, query);
  const __m256i centred = _mm256_xor_si256(codes, _mm256_set1_epi8(static_cast<char>(0x80)));
  return _mm256_maddubs_epi16(_mm256_abs_epi8(query), _mm256_sign_epi8(centred, query));
}

template <size_t kBits>
void DotCodes(const std::byte* base, size_t stride, const uint32_t* ids, size_t count, const int8_t* query, size_t dim,
              int32_t* out) {
  constexpr size_t kAhead = 4;
  const __m256i ones = _mm256_set1_epi16(1);
  int32_t correction = 0;
  if constexpr (kBits == 8) {
    for (size_t d = 0; d < dim; ++d) correction += query[d];
    correction *= 128;
  }
  const size_t row_bytes = RowCodeBytes(dim, kBits);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) {
      const std::byte* ahead = base + ids[i + kAhead] * stride;
      for (size_t byte = 0; byte < row_bytes; byte += 64) __builtin_prefetch(ahead + byte);
    }
    const std::byte* at = base + ids[i] * stride;
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t d = 0; d < dim; d += 64, at += 8 * kBits) {
      __m256i first;
      __m256i second;
      Unpack<kBits>(at, first, second);
      const __m256i low = Products<kBits>(first, Load(query + d));
      const __m256i high = Products<kBits>(second, Load(query + d + 32));
      sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, ones));
      sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, ones));
    }
    out[i] = SumLanes(_mm256_add_epi32(sums[0], sums[1])) + correction;
  }
}

uint32_t TestIds(const uint32_t* ids, const uint64_t* bits) {
  uint32_t mask = 0;
  const __m256i low = _mm256_set1_epi32(31);
  for (size_t part = 0; part < 4; ++part) {
    const __m256i id = Load(ids + part * 8);
    const __m256i word =
        _mm256_i32gather_epi32(reinterpret_cast<const int*>(bits), _mm256_srli_epi32(id, 5), sizeof(int));
    // The wanted bit moves to the sign.
    const __m256i sign = _mm256_sllv_epi32(word, _mm256_sub_epi32(low, _mm256_and_si256(id, low)));
    mask |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(sign))) << (8 * part);
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

constinit const ListKernels kAvx2ListKernels = MakeListKernels<Panel, Forms>();

}  // namespace quiver::simd

#endif
