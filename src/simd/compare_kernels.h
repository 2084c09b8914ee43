// File: simd/compare_kernels.h
// Kernels that turn values into bit maps, part of the KernelTable (simd/kernels.h, whose contract and thread rule hold
// here too: no alignment needed, nothing read outside what is given, nothing allocated). Bit i of the map is bit i % 64
// of out[i / 64]; ceil(count / 64) words are written, bits beyond `count` are 0.
//
//   simd::Kernels().compare->int32(values, count, 10, 20, words);   // 10 <= value <= 20
#pragma once

#include <cstddef>
#include <cstdint>

namespace quiver::simd {

/// A set of byte codes, laid out for lookup by halves of a byte.
struct CodeSet {
  uint8_t bits[32] = {};

  void Insert(uint8_t code) { bits[Byte(code)] = static_cast<uint8_t>(bits[Byte(code)] | Bit(code)); }
  [[nodiscard]] bool Contains(uint8_t code) const { return (bits[Byte(code)] & Bit(code)) != 0; }

 private:
  static size_t Byte(uint8_t code) { return size_t{code} / 128 * 16 + size_t{code} % 16; }
  static unsigned Bit(uint8_t code) { return 1U << (code / 16 % 8); }
};

/// The compare kernels of one level.
struct CompareKernels {
  /// Sets the bits of values inside [low, high]; NaN lies in no interval, and -0 equals 0. Equality is low == high; an
  /// interval that ends at the type's least or greatest value (floats: infinity) costs one comparison.
  template <typename T>
  using Inside = void (*)(const std::byte* values, size_t count, T low, T high, uint64_t* out);
  Inside<int8_t> int8 = nullptr;
  Inside<int16_t> int16 = nullptr;
  Inside<int32_t> int32 = nullptr;
  Inside<int64_t> int64 = nullptr;
  Inside<float> f32 = nullptr;
  Inside<double> f64 = nullptr;
  /// Sets the bits of codes in the set.
  void (*codes)(const uint8_t* codes, size_t count, const CodeSet& set, uint64_t* out) = nullptr;

  /// The kernel of a type.
  template <typename T>
  [[nodiscard]] Inside<T> Of() const;
};

template <>
inline CompareKernels::Inside<int8_t> CompareKernels::Of() const {
  return int8;
}
template <>
inline CompareKernels::Inside<int16_t> CompareKernels::Of() const {
  return int16;
}
template <>
inline CompareKernels::Inside<int32_t> CompareKernels::Of() const {
  return int32;
}
template <>
inline CompareKernels::Inside<int64_t> CompareKernels::Of() const {
  return int64;
}
template <>
inline CompareKernels::Inside<float> CompareKernels::Of() const {
  return f32;
}
template <>
inline CompareKernels::Inside<double> CompareKernels::Of() const {
  return f64;
}

}  // namespace quiver::simd
