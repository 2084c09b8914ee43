#include "codec/rotation.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

#include "simd/kernels.h"

namespace quiver::codec {
namespace {

constexpr size_t kMultiple = 64;
/// One transform reaches every coordinate of a power of two; other sizes need front, back and front again before every
/// input has reached every output, and one more to even out.
constexpr size_t kRoundsOfPower = 3;
constexpr size_t kRoundsOfOther = 4;

uint64_t SplitMix(uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

Rotation::Rotation(size_t dim, uint64_t seed)
    : dim_(dim), padded_((dim + kMultiple - 1) / kMultiple * kMultiple), power_(std::bit_floor(padded_)) {
  assert(dim > 0);
  const size_t rounds = power_ == padded_ ? kRoundsOfPower : kRoundsOfOther;
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(power_)));
  signs_.resize(rounds * padded_);
  uint64_t state = seed;
  uint64_t bits = 0;
  for (size_t i = 0; i < signs_.size(); ++i) {
    if (i % 64 == 0) bits = SplitMix(state);
    const size_t round = i / padded_;
    const size_t d = i % padded_;
    const bool transformed = round % 2 == 0 ? d < power_ : d >= padded_ - power_;
    signs_[i] = ((bits >> (i % 64)) & 1) != 0 ? 1.0f : -1.0f;
    if (transformed) signs_[i] *= scale;
  }
}

void Rotation::Apply(const float* in, float* out) const {
  const auto hadamard = simd::Kernels().hadamard;
  std::copy_n(in, dim_, out);
  std::fill(out + dim_, out + padded_, 0.0f);
  const float* signs = signs_.data();
  const size_t rounds = signs_.size() / padded_;
  for (size_t round = 0; round < rounds; ++round, signs += padded_) {
    for (size_t d = 0; d < padded_; ++d) out[d] *= signs[d];
    hadamard(out + (round % 2 == 0 ? 0 : padded_ - power_), power_);
    if (power_ == padded_ || round + 1 == rounds) continue;
    constexpr float kHalfRoot = 0.70710678f;
    const size_t half = padded_ / 2;
    for (size_t d = 0; d < half; ++d) {
      const float a = out[d];
      const float b = out[d + half];
      out[d] = (a + b) * kHalfRoot;
      out[d + half] = (a - b) * kHalfRoot;
    }
  }
}

}  // namespace quiver::codec
