// File: simd/compare_kernels_avx2.cc
// Compare kernels of the avx2 level.
#if defined(__x86_64__)

#include <immintrin.h>

#include "simd/compare_loops.h"
#include "simd/level_tables.h"

namespace quiver::simd {
namespace {

__m256i LoadVector(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }

uint64_t ByteMask(__m256i bytes) { return static_cast<uint32_t>(_mm256_movemask_epi8(bytes)); }

/// Steps of one type of integer.
template <typename T>
struct Steps {
  static __m256i All(T value) {
    if constexpr (sizeof(T) == 1) return _mm256_set1_epi8(value);
    if constexpr (sizeof(T) == 2) return _mm256_set1_epi16(value);
    if constexpr (sizeof(T) == 4) return _mm256_set1_epi32(value);
    if constexpr (sizeof(T) == 8) return _mm256_set1_epi64x(value);
  }
  static __m256i Equal(__m256i a, __m256i b) {
    if constexpr (sizeof(T) == 1) return _mm256_cmpeq_epi8(a, b);
    if constexpr (sizeof(T) == 2) return _mm256_cmpeq_epi16(a, b);
    if constexpr (sizeof(T) == 4) return _mm256_cmpeq_epi32(a, b);
    if constexpr (sizeof(T) == 8) return _mm256_cmpeq_epi64(a, b);
  }
  static __m256i Greater(__m256i a, __m256i b) {
    if constexpr (sizeof(T) == 1) return _mm256_cmpgt_epi8(a, b);
    if constexpr (sizeof(T) == 2) return _mm256_cmpgt_epi16(a, b);
    if constexpr (sizeof(T) == 4) return _mm256_cmpgt_epi32(a, b);
    if constexpr (sizeof(T) == 8) return _mm256_cmpgt_epi64(a, b);
  }
  /// There is no "not less" of integers: all forms but equality mark what lies outside.
  template <Form form>
  static constexpr bool kOutside = form != Form::kEqual;
  template <Form form>
  static __m256i Mark(__m256i values, __m256i low, __m256i high) {
    if constexpr (form == Form::kEqual) return Equal(values, low);
    if constexpr (form == Form::kAtLeast) return Greater(low, values);
    if constexpr (form == Form::kAtMost) return Greater(values, high);
    if constexpr (form == Form::kBetween) return _mm256_or_si256(Greater(low, values), Greater(values, high));
  }
};

template <>
struct Steps<float> {
  static __m256i All(float value) { return _mm256_castps_si256(_mm256_set1_ps(value)); }
  template <Form form>
  static constexpr bool kOutside = false;
  template <Form form>
  static __m256i Mark(__m256i values, __m256i low, __m256i high) {
    const __m256 v = _mm256_castsi256_ps(values);
    const __m256 least = _mm256_castsi256_ps(low);
    const __m256 most = _mm256_castsi256_ps(high);
    if constexpr (form == Form::kEqual) return _mm256_castps_si256(_mm256_cmp_ps(v, least, _CMP_EQ_OQ));
    if constexpr (form == Form::kAtLeast) return _mm256_castps_si256(_mm256_cmp_ps(v, least, _CMP_GE_OQ));
    if constexpr (form == Form::kAtMost) return _mm256_castps_si256(_mm256_cmp_ps(v, most, _CMP_LE_OQ));
    if constexpr (form == Form::kBetween) {
      return _mm256_castps_si256(
          _mm256_and_ps(_mm256_cmp_ps(v, least, _CMP_GE_OQ), _mm256_cmp_ps(v, most, _CMP_LE_OQ)));
    }
  }
};

template <>
struct Steps<double> {
  static __m256i All(double value) { return _mm256_castpd_si256(_mm256_set1_pd(value)); }
  template <Form form>
  static constexpr bool kOutside = false;
  template <Form form>
  static __m256i Mark(__m256i values, __m256i low, __m256i high) {
    const __m256d v = _mm256_castsi256_pd(values);
    const __m256d least = _mm256_castsi256_pd(low);
    const __m256d most = _mm256_castsi256_pd(high);
    if constexpr (form == Form::kEqual) return _mm256_castpd_si256(_mm256_cmp_pd(v, least, _CMP_EQ_OQ));
    if constexpr (form == Form::kAtLeast) return _mm256_castpd_si256(_mm256_cmp_pd(v, least, _CMP_GE_OQ));
    if constexpr (form == Form::kAtMost) return _mm256_castpd_si256(_mm256_cmp_pd(v, most, _CMP_LE_OQ));
    if constexpr (form == Form::kBetween) {
      return _mm256_castpd_si256(
          _mm256_and_pd(_mm256_cmp_pd(v, least, _CMP_GE_OQ), _mm256_cmp_pd(v, most, _CMP_LE_OQ)));
    }
  }
};

template <typename Value>
struct Vectors {
  using T = Value;
  template <Form form>
  static uint64_t Word(const std::byte* values, T low, T high) {
    const __m256i least = Steps<T>::All(low);
    const __m256i most = Steps<T>::All(high);
    const auto mark = [&](size_t i) __attribute__((always_inline)) {
      return Steps<T>::template Mark<form>(LoadVector(values + i * 32), least, most);
    };
    uint64_t word = 0;
    if constexpr (sizeof(T) == 1) {
      word = ByteMask(mark(0)) | ByteMask(mark(1)) << 32;
    } else if constexpr (sizeof(T) == 2) {
      // Packing works in halves of the vector: the quarters come out as 0 2 1 3.
      const auto half = [&](size_t i) __attribute__((always_inline)) {
        return ByteMask(_mm256_permute4x64_epi64(_mm256_packs_epi16(mark(i), mark(i + 1)), 0xd8));
      };
      word = half(0) | half(2) << 32;
    } else if constexpr (sizeof(T) == 4) {
      const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
      const auto half = [&](size_t i) __attribute__((always_inline)) {
        const __m256i four =
            _mm256_packs_epi16(_mm256_packs_epi32(mark(i), mark(i + 1)), _mm256_packs_epi32(mark(i + 2), mark(i + 3)));
        return ByteMask(_mm256_permutevar8x32_epi32(four, order));
      };
      word = half(0) | half(4) << 32;
    } else {
      // Pairs are packed to lanes of 32, 16 and 8 bits; they come out as rows 0 1, 4 5, ... in the lower half and 2 3,
      // 6 7, ... in the upper one.
      const __m256i order = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, 0, 1, 8, 9, 2, 3, 10,
                                             11, 4, 5, 12, 13, 6, 7, 14, 15);
      const auto narrow = [&](size_t i) __attribute__((always_inline)) {
        return _mm256_castps_si256(
            _mm256_shuffle_ps(_mm256_castsi256_ps(mark(i)), _mm256_castsi256_ps(mark(i + 1)), 0x88));
      };
      const auto half = [&](size_t i) __attribute__((always_inline)) {
        const __m256i pairs = _mm256_packs_epi16(_mm256_packs_epi32(narrow(i), narrow(i + 2)),
                                                 _mm256_packs_epi32(narrow(i + 4), narrow(i + 6)));
        return ByteMask(_mm256_shuffle_epi8(_mm256_permute4x64_epi64(pairs, 0xd8), order));
      };
      word = half(0) | half(8) << 32;
    }
    return Steps<T>::template kOutside<form> ? ~word : word;
  }
};

class Nibbles {
 public:
  explicit Nibbles(const CodeSet& set)
      : lower_(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(set.bits)))),
        upper_(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(set.bits + 16)))) {}
  [[nodiscard]] uint64_t Word(const uint8_t* codes) const { return Half(codes) | Half(codes + 32) << 32; }

 private:
  [[nodiscard]] uint64_t Half(const uint8_t* codes) const {
    const __m256i fifteen = _mm256_set1_epi8(15);
    const __m256i bit_of = _mm256_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16,
                                            32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
    const __m256i code = LoadVector(codes);
    const __m256i low = _mm256_and_si256(code, fifteen);
    const __m256i bit = _mm256_shuffle_epi8(bit_of, _mm256_and_si256(_mm256_srli_epi16(code, 4), fifteen));
    // The top bit of the code chooses the table.
    const __m256i bits = _mm256_blendv_epi8(_mm256_shuffle_epi8(lower_, low), _mm256_shuffle_epi8(upper_, low), code);
    return ByteMask(_mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit));
  }

  __m256i lower_;
  __m256i upper_;
};

}  // namespace

constinit const CompareKernels kAvx2CompareKernels = MakeCompareKernels<Vectors, Nibbles>();

}  // namespace quiver::simd

#endif
