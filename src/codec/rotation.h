// File: codec/rotation.h
// Rotation: a random orthogonal map that spreads a vector's energy evenly over its coordinates, so that uniform scalar
// and bit codes lose little whatever the data looks like.
//
//   const codec::Rotation rotation(384, recipe.seed);
//   std::vector<float> rotated(rotation.padded_dim());
//   rotation.Apply(vector, rotated.data());
//
// The vector is padded with zeros to a multiple of 64. Rounds of random signs and Hadamard transforms (of the largest
// power of two, at the front and at the back in turn, halves mixed in between) cost O(d log d). Lengths and inner
// products of padded vectors are kept, up to rounding.
// Thread rule: immutable after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace quiver::codec {

class Rotation {
 public:
  /// Any dim from 1 on. Same dim and seed: the same map, bit for bit, on every instruction set.
  Rotation(size_t dim, uint64_t seed);

  [[nodiscard]] size_t dim() const { return dim_; }
  /// dim rounded up to a multiple of 64.
  [[nodiscard]] size_t padded_dim() const { return padded_; }

  /// Rotates `in` (dim values) into `out` (padded_dim values). `in` and `out` must not overlap.
  void Apply(const float* in, float* out) const;

 private:
  size_t dim_;
  size_t padded_;
  size_t power_;              ///< largest power of two that is not above padded_
  std::vector<float> signs_;  ///< rounds x padded_, the scale of the transform folded in
};

}  // namespace quiver::codec
