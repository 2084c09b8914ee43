// File: simd/compare_kernels_avx512.cc
// Compare kernels of the avx512 level: comparisons give bits themselves.
#if defined(__x86_64__)

#include <immintrin.h>

#include "simd/compare_loops.h"
#include "simd/level_tables.h"

namespace quiver::simd {
namespace {

__m512i LoadVector(const void* at) { return _mm512_loadu_si512(at); }

constexpr int kEq = _MM_CMPINT_EQ;
constexpr int kGe = _MM_CMPINT_NLT;
constexpr int kLe = _MM_CMPINT_LE;

template <typename T>
struct Steps {
  static __m512i All(T value) {
    if constexpr (sizeof(T) == 1) return _mm512_set1_epi8(value);
    if constexpr (sizeof(T) == 2) return _mm512_set1_epi16(value);
    if constexpr (sizeof(T) == 4) return _mm512_set1_epi32(value);
    if constexpr (sizeof(T) == 8) return _mm512_set1_epi64(value);
  }
  template <int kOp>
  static uint64_t Compare(__m512i a, __m512i b) {
    if constexpr (sizeof(T) == 1) return _mm512_cmp_epi8_mask(a, b, kOp);
    if constexpr (sizeof(T) == 2) {
      uint32_t bits = _mm512_cmp_epi16_mask(a, b, kOp);
      // GCC 12 takes a stored mask of 32 bits for one of 64 when it loads it again, as it has to around the calls of
      // ThreadSanitizer. In a register of this width it can not.
      asm("" : "+r"(bits));
      return bits;
    }
    if constexpr (sizeof(T) == 4) return _mm512_cmp_epi32_mask(a, b, kOp);
    if constexpr (sizeof(T) == 8) return _mm512_cmp_epi64_mask(a, b, kOp);
  }
};

template <>
struct Steps<float> {
  static __m512i All(float value) { return _mm512_castps_si512(_mm512_set1_ps(value)); }
  template <int kOp>
  static uint64_t Compare(__m512i a, __m512i b) {
    constexpr int kOrdered = kOp == kEq ? _CMP_EQ_OQ : kOp == kGe ? _CMP_GE_OQ : _CMP_LE_OQ;
    return _mm512_cmp_ps_mask(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), kOrdered);
  }
};

template <>
struct Steps<double> {
  static __m512i All(double value) { return _mm512_castpd_si512(_mm512_set1_pd(value)); }
  template <int kOp>
  static uint64_t Compare(__m512i a, __m512i b) {
    constexpr int kOrdered = kOp == kEq ? _CMP_EQ_OQ : kOp == kGe ? _CMP_GE_OQ : _CMP_LE_OQ;
    return _mm512_cmp_pd_mask(_mm512_castsi512_pd(a), _mm512_castsi512_pd(b), kOrdered);
  }
};

template <typename Value>
struct Vectors {
  using T = Value;
  template <Form form>
  static uint64_t Word(const std::byte* values, T low, T high) {
    const __m512i least = Steps<T>::All(low);
    const __m512i most = Steps<T>::All(high);
    uint64_t word = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      const __m512i value = LoadVector(values + i * 64);
      uint64_t bits = 0;
      if constexpr (form == Form::kEqual) bits = Steps<T>::template Compare<kEq>(value, least);
      if constexpr (form == Form::kAtLeast) bits = Steps<T>::template Compare<kGe>(value, least);
      if constexpr (form == Form::kAtMost) bits = Steps<T>::template Compare<kLe>(value, most);
      if constexpr (form == Form::kBetween) {
        bits = Steps<T>::template Compare<kGe>(value, least) & Steps<T>::template Compare<kLe>(value, most);
      }
      word |= bits << (i * (64 / sizeof(T)));
    }
    return word;
  }
};

class Nibbles {
 public:
  explicit Nibbles(const CodeSet& set)
      : lower_(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(set.bits)))),
        upper_(_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(set.bits + 16)))) {}
  [[nodiscard]] uint64_t Word(const uint8_t* codes) const {
    const __m512i fifteen = _mm512_set1_epi8(15);
    const __m512i bit_of =
        _mm512_broadcast_i32x4(_mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128));
    const __m512i code = LoadVector(codes);
    const __m512i low = _mm512_and_si512(code, fifteen);
    const __m512i bit = _mm512_shuffle_epi8(bit_of, _mm512_and_si512(_mm512_srli_epi16(code, 4), fifteen));
    // The top bit of the code chooses the table.
    const __m512i bits = _mm512_mask_blend_epi8(_mm512_movepi8_mask(code), _mm512_shuffle_epi8(lower_, low),
                                                _mm512_shuffle_epi8(upper_, low));
    return _mm512_test_epi8_mask(bits, bit);
  }

 private:
  __m512i lower_;
  __m512i upper_;
};

}  // namespace

constinit const CompareKernels kAvx512CompareKernels = MakeCompareKernels<Vectors, Nibbles>();

}  // namespace quiver::simd

#endif
