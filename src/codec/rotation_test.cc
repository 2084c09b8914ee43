#include "codec/rotation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "simd/kernels.h"

namespace quiver::codec {
namespace {

constexpr size_t kDims[] = {1, 2, 63, 64, 65, 100, 128, 192, 320, 384, 768, 1000, 1536, 4096, 32768};

std::vector<float> RandomVector(size_t dim, std::mt19937& random) {
  std::vector<float> values(dim);
  for (float& value : values) value = std::normal_distribution<float>()(random);
  return values;
}

std::vector<float> Rotated(const Rotation& rotation, const std::vector<float>& vector) {
  std::vector<float> out(rotation.padded_dim(), NAN);
  rotation.Apply(vector.data(), out.data());
  return out;
}

double Product(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t d = 0; d < a.size(); ++d) sum += static_cast<double>(a[d]) * static_cast<double>(b[d]);
  return sum;
}

TEST(RotationTest, KeepsLengthsAndProductsAtEveryDimension) {
  std::mt19937 random(3);
  for (const size_t dim : kDims) {
    const Rotation rotation(dim, 9);
    EXPECT_EQ(rotation.padded_dim() % 64, 0u);
    EXPECT_GE(rotation.padded_dim(), dim);
    EXPECT_LT(rotation.padded_dim(), dim + 64);
    const std::vector<float> a = RandomVector(dim, random), b = RandomVector(dim, random);
    const std::vector<float> ra = Rotated(rotation, a), rb = Rotated(rotation, b);
    const double scale = std::sqrt(Product(a, a) * Product(b, b));
    EXPECT_NEAR(Product(ra, ra), Product(a, a), 1e-5 * Product(a, a)) << dim;
    EXPECT_NEAR(Product(ra, rb), Product(a, b), 1e-5 * scale) << dim;
  }
}

TEST(RotationTest, SpreadsASingleCoordinateOverAllOthers) {
  for (const size_t dim : {64, 192, 320, 384, 768, 960, 1536}) {
    const Rotation rotation(dim, 4);
    for (const size_t at : {size_t{0}, dim / 3, dim / 2, dim - 1}) {
      std::vector<float> one(dim, 0.0f);
      one[at] = 1;
      const std::vector<float> out = Rotated(rotation, one);
      double most = 0, fourth = 0;
      for (const float value : out) {
        const auto v = static_cast<double>(value);
        most = std::max(most, std::abs(v));
        fourth += v * v * v * v;
      }
      const auto size = static_cast<double>(out.size());
      EXPECT_LT(most, 6 / std::sqrt(size)) << dim << " coordinate " << at;
      // 1 for perfectly even values, 3 for Gaussian ones, the number of coordinates for a single one.
      EXPECT_LT(fourth * size, 5) << dim << " coordinate " << at;
    }
  }
}

TEST(RotationTest, DependsOnTheSeedAloneOnEveryInstructionSet) {
  std::mt19937 random(5);
  const std::string before(simd::LevelName(simd::Kernels().level));
  for (const size_t dim : {7, 128, 384}) {
    const std::vector<float> vector = RandomVector(dim, random);
    ASSERT_TRUE(simd::SelectLevel("baseline").ok());
    const std::vector<float> expected = Rotated(Rotation(dim, 1), vector);
    EXPECT_NE(Rotated(Rotation(dim, 2), vector), expected);
    for (const char* level : {"avx2", "avx512", "avx512popcnt"}) {
      if (!simd::SelectLevel(level).ok()) continue;
      EXPECT_EQ(Rotated(Rotation(dim, 1), vector), expected) << level;
    }
  }
  ASSERT_TRUE(simd::SelectLevel(before).ok());
}

}  // namespace
}  // namespace quiver::codec
