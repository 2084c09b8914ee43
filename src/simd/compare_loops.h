// File: simd/compare_loops.h
// Loops of the compare kernels, written once and compiled by each level's source file with its own vectors. Private to
// src/simd: only compare_kernels_*.cc include it. As in dense_loops.h every type that a template takes belongs to the
// including file, and nothing of the standard library is called.
//
//   Lanes: { T; uint64_t Word<form>(const std::byte* values, T low, T high) (of 64 values) }
//   Codes: { uint64_t Word(const uint8_t* codes) (of 64 codes) }, made from a CodeSet
#pragma once

#include "simd/compare_kernels.h"

namespace quiver::simd {

/// Which comparisons an interval needs.
enum class Form : uint8_t { kEqual, kAtLeast, kAtMost, kBetween };

template <typename T>
struct Ends;
template <>
struct Ends<int8_t> {
  static constexpr int8_t kLeast = INT8_MIN, kMost = INT8_MAX;
};
template <>
struct Ends<int16_t> {
  static constexpr int16_t kLeast = INT16_MIN, kMost = INT16_MAX;
};
template <>
struct Ends<int32_t> {
  static constexpr int32_t kLeast = INT32_MIN, kMost = INT32_MAX;
};
template <>
struct Ends<int64_t> {
  static constexpr int64_t kLeast = INT64_MIN, kMost = INT64_MAX;
};
template <>
struct Ends<float> {
  static constexpr float kLeast = -__builtin_inff(), kMost = __builtin_inff();
};
template <>
struct Ends<double> {
  static constexpr double kLeast = -__builtin_inf(), kMost = __builtin_inf();
};

template <class Lanes, Form form>
void InsideLoop(const std::byte* values, size_t count, typename Lanes::T low, typename Lanes::T high, uint64_t* out) {
  using T = typename Lanes::T;
  size_t word = 0;
  for (; (word + 1) * 64 <= count; ++word) {
    out[word] = Lanes::template Word<form>(values + word * 64 * sizeof(T), low, high);
  }
  if (word * 64 == count) return;
  uint64_t bits = 0;
  for (size_t i = word * 64; i < count; ++i) {
    T value;
    __builtin_memcpy(&value, values + i * sizeof(T), sizeof(T));
    bits |= uint64_t{value >= low && value <= high ? 1U : 0U} << (i % 64);
  }
  out[word] = bits;
}

template <class Lanes>
void Inside(const std::byte* values, size_t count, typename Lanes::T low, typename Lanes::T high, uint64_t* out) {
  using E = Ends<typename Lanes::T>;
  if (low == high) return InsideLoop<Lanes, Form::kEqual>(values, count, low, high, out);
  if (high == E::kMost) return InsideLoop<Lanes, Form::kAtLeast>(values, count, low, high, out);
  if (low == E::kLeast) return InsideLoop<Lanes, Form::kAtMost>(values, count, low, high, out);
  return InsideLoop<Lanes, Form::kBetween>(values, count, low, high, out);
}

template <class Codes>
void CodesInSet(const uint8_t* codes, size_t count, const CodeSet& set, uint64_t* out) {
  const Codes lookup(set);
  size_t word = 0;
  for (; (word + 1) * 64 <= count; ++word) out[word] = lookup.Word(codes + word * 64);
  if (word * 64 == count) return;
  uint64_t bits = 0;
  for (size_t i = word * 64; i < count; ++i) {
    // CodeSet::Contains would do, but an inline function compiled here might serve the base target too.
    const uint8_t code = codes[i];
    bits |= uint64_t{(set.bits[code / 128 * 16 + code % 16] >> (code / 16 % 8)) & 1U} << (i % 64);
  }
  out[word] = bits;
}

template <template <typename> class Lanes, class Codes>
constexpr CompareKernels MakeCompareKernels() {
  return {.int8 = &Inside<Lanes<int8_t>>,
          .int16 = &Inside<Lanes<int16_t>>,
          .int32 = &Inside<Lanes<int32_t>>,
          .int64 = &Inside<Lanes<int64_t>>,
          .f32 = &Inside<Lanes<float>>,
          .f64 = &Inside<Lanes<double>>,
          .codes = &CodesInSet<Codes>};
}

}  // namespace quiver::simd
