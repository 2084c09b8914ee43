// File: simd/kernels_baseline.cc
// Kernels of the baseline level in plain C++ (four-lane vectors of the compiler), for every processor. The three
// integer steps that compilers translate badly are spelled out for x86-64-v2.
#if defined(__SSE4_1__)
#include <smmintrin.h>
#endif

#include "simd/byte_code_loops.h"
#include "simd/dense_loops.h"
#include "simd/level_tables.h"

namespace quiver::simd {
namespace {

template <typename T, size_t kBytes>
struct VectorOf {
  typedef T Type __attribute__((vector_size(kBytes)));  // NOLINT: `using` loses the attribute in templates
};
using Float4 = VectorOf<float, 16>::Type;
using Unsigned4 = VectorOf<uint32_t, 16>::Type;
using Int4 = VectorOf<int32_t, 16>::Type;
using Short8 = VectorOf<int16_t, 16>::Type;
#if !defined(__SSE4_1__)
using Half4 = VectorOf<uint16_t, 8>::Type;
using Char8 = VectorOf<int8_t, 8>::Type;
using Int8Wide = VectorOf<int32_t, 32>::Type;
#endif

template <class V>
V LoadAs(const void* at) {
  V value;
  __builtin_memcpy(&value, at, sizeof(value));
  return value;
}

template <class V>
V LoadAsTail(const void* at, size_t bytes) {
  V value{};
  __builtin_memcpy(&value, at, bytes);
  return value;
}

struct FloatLanes {
  using Vec = Float4;
  using Acc = Float4;
  using Query = float;
  static constexpr size_t kLanes = 4;
  static constexpr size_t kScanRows = 4;
  static constexpr size_t kScanRowsWithNorms = 3;
  static constexpr size_t kTileRows = 2;
  static constexpr size_t kTileQueries = 2;
  static void Pin(Vec&) {}
  static Acc Zero() { return Acc{}; }
  static Vec LoadQuery(const float* at) { return LoadAs<Float4>(at); }
  static Vec LoadQueryTail(const float* at, size_t n) { return LoadAsTail<Float4>(at, n * sizeof(float)); }
  static Vec Sub(Vec a, Vec b) { return a - b; }
  static Acc MulAdd(Acc acc, Vec a, Vec b) { return acc + a * b; }
  static float Reduce(Acc a, Acc b) {
    const Acc sum = a + b;
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
  }
};

struct F32 : FloatLanes {
  static constexpr size_t kBytes = 4;
  static Vec LoadRow(const std::byte* at) { return LoadAs<Float4>(at); }
  static Vec LoadRowTail(const std::byte* at, size_t n) { return LoadAsTail<Float4>(at, n * kBytes); }
};

/// Zero-extends four 16-bit values, held in one word: compilers move 8-byte vectors through memory.
Unsigned4 WidenUnsigned(int64_t halves) {
#if defined(__SSE4_1__)
  return (Unsigned4)_mm_cvtepu16_epi32(_mm_cvtsi64_si128(halves));
#else
  return __builtin_convertvector(LoadAs<Half4>(&halves), Unsigned4);
#endif
}

/// Widens IEEE half floats exactly with integer steps; a half denormal becomes the difference of two normal floats,
/// since arithmetic on float denormals is slow on many processors.
Float4 WidenHalf(int64_t halves) {
  const Unsigned4 bits = WidenUnsigned(halves);
  const Unsigned4 sign = (bits & 0x8000u) << 16;
  const Unsigned4 magnitude = (bits & 0x7fffu) << 13;
  constexpr uint32_t kExponent = 1u << 23;
  // All-ones exponent: infinity or NaN, all ones again. Others: the bias grows from 15 to 127.
  const auto special = (Unsigned4)((Int4)magnitude > (Int4)(Unsigned4{} + (31 * kExponent - 1)));
  const Unsigned4 normal = magnitude + 112 * kExponent + (special & (112 * kExponent));
  const Unsigned4 smallest = Unsigned4{} + 113 * kExponent;
  const Float4 denormal = (Float4)(magnitude + smallest) - (Float4)smallest;
  const auto is_denormal = (Unsigned4)((Int4)magnitude < (Int4)(Unsigned4{} + kExponent));
  return (Float4)(((is_denormal & (Unsigned4)denormal) | (~is_denormal & normal)) | sign);
}

Float4 WidenBrainHalf(int64_t halves) { return (Float4)(WidenUnsigned(halves) << 16); }

struct F16 : FloatLanes {
  static constexpr size_t kBytes = 2;
  static Vec LoadRow(const std::byte* at) { return WidenHalf(LoadAs<int64_t>(at)); }
  static Vec LoadRowTail(const std::byte* at, size_t n) { return WidenHalf(LoadAsTail<int64_t>(at, n * kBytes)); }
};

struct Bf16 : FloatLanes {
  static constexpr size_t kBytes = 2;
  static Vec LoadRow(const std::byte* at) { return WidenBrainHalf(LoadAs<int64_t>(at)); }
  static Vec LoadRowTail(const std::byte* at, size_t n) { return WidenBrainHalf(LoadAsTail<int64_t>(at, n * kBytes)); }
};

struct Int8 {
  using Vec = Short8;
  using Acc = Int4;
  using Query = int8_t;
  static constexpr size_t kLanes = 8;
  static constexpr size_t kBytes = 1;
  static constexpr size_t kScanRows = 4;
  static constexpr size_t kScanRowsWithNorms = 3;
  static constexpr size_t kTileRows = 2;
  static constexpr size_t kTileQueries = 2;
  static void Pin(Vec&) {}
  static Acc Zero() { return Acc{}; }
  static Vec WidenBytes(int64_t word) {
#if defined(__SSE4_1__)
    return (Vec)_mm_cvtepi8_epi16(_mm_cvtsi64_si128(word));
#else
    return __builtin_convertvector(LoadAs<Char8>(&word), Vec);
#endif
  }
  static Vec LoadRow(const std::byte* at) { return WidenBytes(LoadAs<int64_t>(at)); }
  static Vec LoadRowTail(const std::byte* at, size_t n) { return WidenBytes(LoadAsTail<int64_t>(at, n)); }
  static Vec LoadQuery(const int8_t* at) { return WidenBytes(LoadAs<int64_t>(at)); }
  static Vec LoadQueryTail(const int8_t* at, size_t n) { return WidenBytes(LoadAsTail<int64_t>(at, n)); }
  static Vec Sub(Vec a, Vec b) { return a - b; }
  static Acc MulAdd(Acc acc, Vec a, Vec b) {
#if defined(__SSE4_1__)
    return acc + (Acc)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    const Int8Wide product = __builtin_convertvector(a, Int8Wide) * __builtin_convertvector(b, Int8Wide);
    return acc + __builtin_shufflevector(product, product, 0, 1, 2, 3) +
           __builtin_shufflevector(product, product, 4, 5, 6, 7);
#endif
  }
  static float Reduce(Acc a, Acc b) {
    const Acc sum = a + b;
    return static_cast<float>(sum[0] + sum[1] + sum[2] + sum[3]);
  }
};

template <class Element>
void Widen(const void* in, size_t count, float* out) {
  const auto* bytes = static_cast<const std::byte*>(in);
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const Float4 value = Element::LoadRow(bytes + i * 2);
    __builtin_memcpy(out + i, &value, sizeof(value));
  }
  if (i < count) {
    const Float4 value = Element::LoadRowTail(bytes + i * 2, count - i);
    __builtin_memcpy(out + i, &value, (count - i) * sizeof(float));
  }
}

struct ByteCodes {
  static constexpr size_t kStep = 8;
  using Acc = Int4;
  using Query = Short8;
  static Acc Zero() { return Acc{}; }
  static Query Load(const int8_t* at) { return Int8::LoadQuery(at); }
  static void Add(Acc& acc, Query query, const std::byte* row) { acc = Int8::MulAdd(acc, query, Int8::LoadRow(row)); }
  static int32_t Reduce(Acc acc) { return acc[0] + acc[1] + acc[2] + acc[3]; }
  static int32_t Correction(const int8_t*, size_t) { return 0; }
};

struct HalfCodes {
  using Acc = Int4;
  using Query = const int8_t*;
  static Acc Zero() { return Acc{}; }
  static Query Load(const int8_t* at) { return at; }
  static void Add(Acc& acc, Query query, const std::byte* row, size_t) {
#if defined(__SSE4_1__)
    const __m128i mask = _mm_set1_epi8(15);
    for (size_t part = 0; part < 32; part += 16) {
      const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + part));
      const __m128i low = LoadAs<__m128i>(query + part);
      const __m128i high = LoadAs<__m128i>(query + 32 + part);
      const __m128i products = _mm_add_epi16(_mm_maddubs_epi16(_mm_and_si128(codes, mask), low),
                                             _mm_maddubs_epi16(_mm_and_si128(_mm_srli_epi16(codes, 4), mask), high));
      acc += (Acc)_mm_madd_epi16(products, _mm_set1_epi16(1));
    }
#else
    int32_t sum = 0;
    for (size_t j = 0; j < 32; ++j) {
      const auto codes = static_cast<int32_t>(row[j]);
      sum += (codes & 15) * query[j] + (codes >> 4) * query[32 + j];
    }
    acc[0] += sum;
#endif
  }
  static int32_t Reduce(Acc acc) { return acc[0] + acc[1] + acc[2] + acc[3]; }
};

/// Bytes of a word.
struct Nibbles {
  static constexpr size_t kStep = 8;
  using Vector = uint64_t;
  static constexpr uint64_t kOnes = 0x0101010101010101;
  static Vector Load(const void* at) {
    uint64_t word;
    __builtin_memcpy(&word, at, sizeof(word));
    return word;
  }
  static Vector Low(Vector v) { return v & (15 * kOnes); }
  static Vector High(Vector v) { return (v >> 4) & (15 * kOnes); }
  static Vector And(Vector a, Vector b) { return a & b; }
  static Vector Add(Vector a, Vector b) { return a + b; }
  template <int kPlane>
  static Vector Counts(Vector v) {
    const Vector pairs = v - ((v >> 1) & (5 * kOnes));
    return ((pairs & (3 * kOnes)) + ((pairs >> 2) & (3 * kOnes))) << kPlane;
  }
  static uint32_t SumBytes(Vector v) {
    constexpr uint64_t kEven = 0x00ff00ff00ff00ff;
    return static_cast<uint32_t>((((v & kEven) + ((v >> 8) & kEven)) * 0x0001000100010001) >> 48);
  }
};

struct FloatSteps {
  static void EightStep(float* eight) {
    for (size_t half = 1; half < 8; half *= 2) {
      for (size_t i = 0; i < 8; ++i) {
        if ((i & half) != 0) continue;
        const float a = eight[i];
        const float b = eight[i + half];
        eight[i] = a + b;
        eight[i + half] = a - b;
      }
    }
  }
};

uint64_t ReadAll(const void* data, size_t bytes) {
  const auto* at = static_cast<const std::byte*>(data);
  constexpr size_t kStreams = 4;
  const size_t part = bytes / (kStreams * 32) * 32;
  Unsigned4 sums[kStreams][2] = {};
  for (size_t i = 0; i < part; i += 32) {
    for (size_t s = 0; s < kStreams; ++s) {
      sums[s][0] ^= LoadAs<Unsigned4>(at + s * part + i);
      sums[s][1] ^= LoadAs<Unsigned4>(at + s * part + i + 16);
    }
  }
  Unsigned4 all{};
  for (const auto& sum : sums) all ^= sum[0] ^ sum[1];
  for (size_t i = part * kStreams; i < bytes; ++i) all[0] ^= static_cast<uint32_t>(at[i]);
  return (static_cast<uint64_t>(all[0] ^ all[2]) << 32) | (all[1] ^ all[3]);
}

constexpr KernelTable MakeTable() {
  KernelTable table;
  table.level = Level::kBaseline;
  table.f32 = MakeDenseKernels<F32>();
  table.f16 = MakeDenseKernels<F16>();
  table.bf16 = MakeDenseKernels<Bf16>();
  table.int8 = MakeDenseKernels<Int8>();
  table.binary = MakeBinaryKernels<F32>();
  table.bytes.dot = &ByteDots<ByteCodes>;
  table.bytes.half_dot = &HalfDots<HalfCodes>;
  table.bytes.bit_dot = &BitDots<Nibbles>;
  table.hadamard = &Hadamard<FloatSteps>;
  table.f16_to_f32 = &Widen<F16>;
  table.bf16_to_f32 = &Widen<Bf16>;
  table.lists = &kBaselineListKernels;
  table.compare = &kBaselineCompareKernels;
  table.read_all = &ReadAll;
  return table;
}

}  // namespace

constinit const KernelTable kBaselineTable = MakeTable();

}  // namespace quiver::simd
