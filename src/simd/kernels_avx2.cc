// File: simd/kernels_avx2.cc
// Kernels of the avx2 level (AVX2, FMA, F16C).
#if defined(__x86_64__)

#include <immintrin.h>

#include "simd/avx_steps.h"
#include "simd/byte_code_loops.h"
#include "simd/dense_loops.h"
#include "simd/level_tables.h"

namespace quiver::simd {
namespace {

/// Lanes 0..n-1 set, for masked loads of the last n < 8 floats.
__m256i TailMask(size_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lane);
}

float SumLanes(__m256 v) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  sum = _mm_add_ss(sum, _mm_movehdup_ps(sum));
  return _mm_cvtss_f32(sum);
}

int32_t SumLanes(__m256i v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return _mm_cvtsi128_si32(sum);
}

struct FloatLanes {
  using Vec = __m256;
  using Acc = __m256;
  using Query = float;
  static constexpr size_t kLanes = 8;
  static constexpr size_t kScanRows = 4;
  static constexpr size_t kScanRowsWithNorms = 3;
  static constexpr size_t kTileRows = 2;
  static constexpr size_t kTileQueries = 3;
  static void Pin(Vec& v) { asm("" : "+x"(v)); }
  static Acc Zero() { return _mm256_setzero_ps(); }
  static Vec LoadQuery(const float* at) { return _mm256_loadu_ps(at); }
  static Vec LoadQueryTail(const float* at, size_t n) { return _mm256_maskload_ps(at, TailMask(n)); }
  static Vec Sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
  static Acc MulAdd(Acc acc, Vec a, Vec b) { return _mm256_fmadd_ps(a, b, acc); }
  static float Reduce(Acc a, Acc b) { return SumLanes(_mm256_add_ps(a, b)); }
};

struct F32 : FloatLanes {
  static constexpr size_t kBytes = 4;
  static Vec LoadRow(const std::byte* at) { return _mm256_loadu_ps(reinterpret_cast<const float*>(at)); }
  static Vec LoadRowTail(const std::byte* at, size_t n) {
    return _mm256_maskload_ps(reinterpret_cast<const float*>(at), TailMask(n));
  }
};

__m128i LoadBytes(const std::byte* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); }

__m128i LoadBytesTail(const void* at, size_t bytes) {
  __m128i value = _mm_setzero_si128();
  __builtin_memcpy(&value, at, bytes);
  return value;
}

struct F16 : FloatLanes {
  static constexpr size_t kBytes = 2;
  static Vec LoadRow(const std::byte* at) { return _mm256_cvtph_ps(LoadBytes(at)); }
  static Vec LoadRowTail(const std::byte* at, size_t n) { return _mm256_cvtph_ps(LoadBytesTail(at, n * kBytes)); }
};

__m256 WidenBrainHalf(__m128i half) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16)); }

struct Bf16 : FloatLanes {
  static constexpr size_t kBytes = 2;
  static Vec LoadRow(const std::byte* at) { return WidenBrainHalf(LoadBytes(at)); }
  static Vec LoadRowTail(const std::byte* at, size_t n) { return WidenBrainHalf(LoadBytesTail(at, n * kBytes)); }
};

struct Int8 {
  using Vec = __m256i;
  using Acc = __m256i;
  using Query = int8_t;
  static constexpr size_t kLanes = 16;
  static constexpr size_t kBytes = 1;
  static constexpr size_t kScanRows = 4;
  static constexpr size_t kScanRowsWithNorms = 3;
  static constexpr size_t kTileRows = 2;
  static constexpr size_t kTileQueries = 3;
  static void Pin(Vec& v) { asm("" : "+x"(v)); }
  static Acc Zero() { return _mm256_setzero_si256(); }
  static Vec LoadRow(const std::byte* at) { return _mm256_cvtepi8_epi16(LoadBytes(at)); }
  static Vec LoadRowTail(const std::byte* at, size_t n) { return _mm256_cvtepi8_epi16(LoadBytesTail(at, n)); }
  static Vec LoadQuery(const int8_t* at) { return LoadRow(reinterpret_cast<const std::byte*>(at)); }
  static Vec LoadQueryTail(const int8_t* at, size_t n) {
    return LoadRowTail(reinterpret_cast<const std::byte*>(at), n);
  }
  static Vec Sub(Vec a, Vec b) { return _mm256_sub_epi16(a, b); }
  static Acc MulAdd(Acc acc, Vec a, Vec b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }
  static float Reduce(Acc a, Acc b) { return static_cast<float>(SumLanes(_mm256_add_epi32(a, b))); }
};

template <class Element>
void Widen(const void* in, size_t count, float* out) {
  const auto* bytes = static_cast<const std::byte*>(in);
  size_t i = 0;
  for (; i + 8 <= count; i += 8) _mm256_storeu_ps(out + i, Element::LoadRow(bytes + i * 2));
  if (i < count) _mm256_maskstore_ps(out + i, TailMask(count - i), Element::LoadRowTail(bytes + i * 2, count - i));
}

// Code filter. vpmaddubsw multiplies unsigned row codes with signed query codes and adds pairs in 16 bits. 63 * 31 * 2
// fits eight times, so eight steps (32 dimensions) are added up before widening to 32 bits: 64 products per cycle on a
// core with two multipliers, against 16 of fp32.
constexpr int kRowMax = 63;
constexpr int kRowZero = 32;
constexpr int kQueryMax = 31;
constexpr size_t kStepsBeforeWidening = 8;
static_assert(2 * kRowMax * kQueryMax * static_cast<int>(kStepsBeforeWidening) <= 32767);
static_assert(CodeKernels::kDimMultiple == 4 * kStepsBeforeWidening && CodeKernels::kGroup == 16);

template <size_t kQueries>
void FilterGroup(const CodeRows& rows, size_t group, const CodeQueries& queries, size_t query, size_t dim_padded,
                 uint16_t* masks) {
  const uint8_t* codes = rows.codes + group * CodeKernels::kGroup * dim_padded;
  const int8_t* query_codes[kQueries];
  for (size_t q = 0; q < kQueries; ++q) query_codes[q] = queries.codes + (query + q) * dim_padded;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i wide[kQueries][2];
  for (size_t q = 0; q < kQueries; ++q) wide[q][0] = wide[q][1] = _mm256_set1_epi32(queries.bias[query + q]);
  for (size_t d = 0; d < dim_padded; d += CodeKernels::kDimMultiple) {
    __m256i narrow[kQueries][2];
    for (size_t q = 0; q < kQueries; ++q) narrow[q][0] = narrow[q][1] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (size_t step = 0; step < kStepsBeforeWidening; ++step) {
      const uint8_t* at = codes + (d / 4 + step) * 64;
      const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
      const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 32));
      for (size_t q = 0; q < kQueries; ++q) {
        int32_t four;
        __builtin_memcpy(&four, query_codes[q] + d + 4 * step, sizeof(four));
        const __m256i broadcast = _mm256_set1_epi32(four);
        narrow[q][0] = _mm256_add_epi16(narrow[q][0], _mm256_maddubs_epi16(low, broadcast));
        narrow[q][1] = _mm256_add_epi16(narrow[q][1], _mm256_maddubs_epi16(high, broadcast));
        // Pins the order: compilers otherwise regroup these sums into trees and spill every product.
        asm("" : "+x"(narrow[q][0]), "+x"(narrow[q][1]));
      }
    }
    for (size_t q = 0; q < kQueries; ++q) {
      wide[q][0] = _mm256_add_epi32(wide[q][0], _mm256_madd_epi16(narrow[q][0], ones));
      wide[q][1] = _mm256_add_epi32(wide[q][1], _mm256_madd_epi16(narrow[q][1], ones));
    }
  }
  const size_t first = group * CodeKernels::kGroup;
  for (size_t q = 0; q < kQueries; ++q) {
    unsigned mask = 0;
    for (size_t half = 0; half < 2; ++half) {
      const size_t at = first + 8 * half;
      const __m256 scale = _mm256_mul_ps(_mm256_loadu_ps(rows.scale + at), _mm256_set1_ps(queries.scale[query + q]));
      __m256 bound =
          _mm256_sub_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(wide[q][half]), scale), _mm256_loadu_ps(rows.handicap + at));
      bound = _mm256_fmadd_ps(_mm256_loadu_ps(rows.error + at), _mm256_set1_ps(queries.norm[query + q]), bound);
      bound = _mm256_fmadd_ps(_mm256_loadu_ps(rows.norm + at), _mm256_set1_ps(queries.error[query + q]), bound);
      const __m256 keep = _mm256_cmp_ps(bound, _mm256_set1_ps(queries.floor[query + q]), _CMP_NLT_UQ);
      mask |= static_cast<unsigned>(_mm256_movemask_ps(keep)) << (8 * half);
    }
    masks[(query + q) * rows.groups + group] = static_cast<uint16_t>(mask);
  }
}

void Filter(const CodeRows& rows, const CodeQueries& queries, size_t dim_padded, uint16_t* masks) {
  size_t q = 0;
  for (; q + 4 <= queries.count; q += 4) {
    for (size_t g = 0; g < rows.groups; ++g) FilterGroup<4>(rows, g, queries, q, dim_padded, masks);
  }
  for (; q < queries.count; ++q) {
    for (size_t g = 0; g < rows.groups; ++g) FilterGroup<1>(rows, g, queries, q, dim_padded, masks);
  }
}

__m256 Magnitude(__m256 v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }

/// Codes of 8 values; adds their squares and the squares of their residuals.
__m256i EncodeEight(__m256 value, __m256 scale, __m256 inverse, __m256& norm2, __m256& error2) {
  const __m256i code = _mm256_cvtps_epi32(_mm256_mul_ps(value, inverse));
  const __m256 residual = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(code), scale, value);
  norm2 = _mm256_fmadd_ps(value, value, norm2);
  error2 = _mm256_fmadd_ps(residual, residual, error2);
  return code;
}

void Encode(const float* row, size_t dim, size_t slot, uint8_t* group, float* scale_out, float* norm2_out,
            float* error2_out) {
  const auto* bytes = reinterpret_cast<const std::byte*>(row);
  const size_t full = dim / 8 * 8;
  __m256 most = _mm256_setzero_ps();
  for (size_t d = 0; d < full; d += 8) most = _mm256_max_ps(Magnitude(F32::LoadRow(bytes + d * 4)), most);
  if (full < dim) most = _mm256_max_ps(Magnitude(F32::LoadRowTail(bytes + full * 4, dim - full)), most);
  __m128 half = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  half = _mm_max_ss(half, _mm_movehdup_ps(half));
  const float largest = _mm_cvtss_f32(half);

  constexpr float kSteps = kRowMax - kRowZero;
  // The smallest scale keeps the inverse finite; rows below it are all residual.
  const float scale = largest > 1e-30f ? largest / kSteps : 1e-30f;
  const __m256 scales = _mm256_set1_ps(scale);
  const __m256 inverse = _mm256_set1_ps(1.0f / scale);
  __m256 norm2[4];
  __m256 error2[4];
  for (size_t v = 0; v < 4; ++v) norm2[v] = error2[v] = _mm256_setzero_ps();
  uint8_t* out = group + slot * 4;
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i zero = _mm256_set1_epi8(kRowZero);
  const auto encode = [&](size_t d, const __m256(&values)[4]) {
    __m256i codes[4];
    for (size_t v = 0; v < 4; ++v) codes[v] = EncodeEight(values[v], scales, inverse, norm2[v], error2[v]);
    // Packing works within 128-bit halves; `order` puts the dwords (four codes each) back into sequence.
    const __m256i words0 = _mm256_packs_epi32(codes[0], codes[1]);
    const __m256i words1 = _mm256_packs_epi32(codes[2], codes[3]);
    const __m256i packed = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words0, words1), order);
    uint32_t dwords[8];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dwords), _mm256_add_epi8(packed, zero));
    for (size_t w = 0; w < 8; ++w) __builtin_memcpy(out + (d / 4 + w) * 64, &dwords[w], 4);
  };
  size_t d = 0;
  for (; d + CodeKernels::kDimMultiple <= dim; d += CodeKernels::kDimMultiple) {
    const std::byte* at = bytes + d * 4;
    encode(d, {F32::LoadRow(at), F32::LoadRow(at + 32), F32::LoadRow(at + 64), F32::LoadRow(at + 96)});
  }
  if (d < dim) {
    __m256 values[4];
    for (size_t v = 0; v < 4; ++v) {
      const size_t first = d + 8 * v;
      values[v] = first < dim ? F32::LoadRowTail(bytes + first * 4, dim - first) : _mm256_setzero_ps();
    }
    encode(d, values);
  }
  *scale_out = scale;
  *norm2_out = SumLanes(_mm256_add_ps(_mm256_add_ps(norm2[0], norm2[1]), _mm256_add_ps(norm2[2], norm2[3])));
  *error2_out = SumLanes(_mm256_add_ps(_mm256_add_ps(error2[0], error2[1]), _mm256_add_ps(error2[2], error2[3])));
}

/// vpmaddubsw wants one unsigned factor: |query| with the query's signs moved to the row. 127 * 127 * 2 fits 16 bits.
struct ByteCodes {
  static constexpr size_t kStep = 32;
  using Acc = __m256i;
  struct Query {
    __m256i value, magnitude;
  };
  static Acc Zero() { return _mm256_setzero_si256(); }
  static Query Load(const int8_t* at) {
    const __m256i value = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    return {value, _mm256_abs_epi8(value)};
  }
  static void Add(Acc& acc, Query query, const std::byte* row) {
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
    const __m256i pairs = _mm256_maddubs_epi16(query.magnitude, _mm256_sign_epi8(codes, query.value));
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static int32_t Reduce(Acc acc) { return SumLanes(acc); }
  static void ReduceFour(const Acc (&sums)[4], int32_t* out) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), SumsOfFour<ByteCodes>(sums[0], sums[1], sums[2], sums[3]));
  }
  static int32_t Correction(const int8_t*, size_t) { return 0; }
};

/// 15 * 127 * 2 fits 16 bits eight times, so four blocks of two products are added up before widening.
struct HalfCodes {
  struct Acc {
    __m256i wide, narrow;
  };
  struct Query {
    __m256i low, high;
  };
  static constexpr size_t kBlocksBeforeWidening = 4;
  static Acc Zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static Query Load(const int8_t* at) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 32))};
  }
  static __m256i Widened(const Acc& acc) {
    return _mm256_add_epi32(acc.wide, _mm256_madd_epi16(acc.narrow, _mm256_set1_epi16(1)));
  }
  static void Add(Acc& acc, Query query, const std::byte* row, size_t block) {
    const __m256i mask = _mm256_set1_epi8(15);
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
    const __m256i low = _mm256_maddubs_epi16(_mm256_and_si256(codes, mask), query.low);
    const __m256i high = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(codes, 4), mask), query.high);
    acc.narrow = _mm256_add_epi16(acc.narrow, _mm256_add_epi16(low, high));
    if (block % kBlocksBeforeWidening == kBlocksBeforeWidening - 1) acc = {Widened(acc), _mm256_setzero_si256()};
  }
  static int32_t Reduce(const Acc& acc) { return SumLanes(Widened(acc)); }
  static void ReduceFour(const Acc (&sums)[4], int32_t* out) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                     SumsOfFour<HalfCodes>(Widened(sums[0]), Widened(sums[1]), Widened(sums[2]), Widened(sums[3])));
  }
};

struct Nibbles {
  static constexpr size_t kStep = 32;
  using Vector = __m256i;
  static Vector Load(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }
  static Vector Low(Vector v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
  static Vector High(Vector v) { return Low(_mm256_srli_epi16(v, 4)); }
  static Vector And(Vector a, Vector b) { return _mm256_and_si256(a, b); }
  static Vector Add(Vector a, Vector b) { return _mm256_add_epi8(a, b); }
  template <int kPlane>
  static Vector Counts(Vector v) {
    const __m128i ones = _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    // Counts are small: shifted as words they do not reach the neighbour.
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_slli_epi16(ones, kPlane)), v);
  }
  static uint32_t SumBytes(Vector v) {
    const __m256i sums = _mm256_sad_epu8(v, _mm256_setzero_si256());
    const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_add_epi64(half, _mm_unpackhi_epi64(half, half))));
  }
};

uint64_t ReadAll(const void* data, size_t bytes) {
  const auto* at = static_cast<const std::byte*>(data);
  constexpr size_t kStreams = 4;
  const size_t part = bytes / (kStreams * 64) * 64;
  __m256i sums[kStreams][2];
  for (auto& sum : sums) sum[0] = sum[1] = _mm256_setzero_si256();
  for (size_t i = 0; i < part; i += 64) {
    for (size_t s = 0; s < kStreams; ++s) {
      const std::byte* from = at + s * part + i;
      sums[s][0] = _mm256_xor_si256(sums[s][0], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
      sums[s][1] = _mm256_xor_si256(sums[s][1], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32)));
    }
  }
  __m256i all = _mm256_setzero_si256();
  for (const auto& sum : sums) all = _mm256_xor_si256(all, _mm256_xor_si256(sum[0], sum[1]));
  uint64_t words[4];
  __builtin_memcpy(words, &all, sizeof(words));
  for (size_t i = part * kStreams; i < bytes; ++i) words[0] ^= static_cast<uint64_t>(at[i]);
  return words[0] ^ words[1] ^ words[2] ^ words[3];
}

constexpr KernelTable MakeTable() {
  KernelTable table;
  table.level = Level::kAvx2;
  table.f32 = MakeDenseKernels<F32>();
  table.f16 = MakeDenseKernels<F16>();
  table.bf16 = MakeDenseKernels<Bf16>();
  table.int8 = MakeDenseKernels<Int8>();
  table.binary = MakeBinaryKernels<F32>();
  table.codes = {kRowMax, kRowZero, kQueryMax, &Filter, &Encode};
  table.bytes.dot = &ByteDots<ByteCodes>;
  table.bytes.half_dot = &HalfDots<HalfCodes>;
  table.bytes.bit_dot = &BitDots<Nibbles>;
  table.hadamard = &HadamardAvx2;
  table.f16_to_f32 = &Widen<F16>;
  table.bf16_to_f32 = &Widen<Bf16>;
  table.lists = &kAvx2ListKernels;
  table.compare = &kAvx2CompareKernels;
  table.read_all = &ReadAll;
  return table;
}

}  // namespace

void HadamardAvx2(float* values, size_t count) { Hadamard<EightLanes<F32>>(values, count); }

constinit const KernelTable kAvx2Table = MakeTable();

}  // namespace quiver::simd

#endif
