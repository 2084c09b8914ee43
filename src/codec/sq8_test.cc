#include "codec/sq8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "codec/rotation.h"

namespace quiver::codec {
namespace {

TEST(Sq8Test, EveryValueIsWithinHalfAStepOfItsCodeAndTheNormIsThatOfTheCodes) {
  std::mt19937 random(1);
  for (const size_t dim : {1, 2, 63, 64, 384, 1000, 32768}) {
    for (const float size : {1e-12f, 1e-3f, 1.0f, 1e15f}) {
      std::vector<float> vector(dim);
      for (float& value : vector) value = size * std::normal_distribution<float>()(random);
      std::vector<int8_t> codes(dim, 99);
      const Sq8Factors factors = EncodeSq8(vector.data(), dim, codes.data());
      double norm = 0;
      for (size_t d = 0; d < dim; ++d) {
        ASSERT_GE(codes[d], -127);
        const double value = static_cast<double>(factors.scale) * codes[d];
        ASSERT_NEAR(value, vector[d], 0.5001 * static_cast<double>(factors.scale)) << dim;
        norm += value * value;
      }
      ASSERT_NEAR(factors.norm, norm, 1e-6 * norm);
    }
  }
}

TEST(Sq8Test, ZeroAndVanishingVectorsGiveZeroCodesAndFactors) {
  std::vector<float> vector(128, 0.0f);
  std::vector<int8_t> codes(128, 5);
  EXPECT_EQ(EncodeSq8(vector.data(), 128, codes.data()), Sq8Factors{});
  EXPECT_EQ(codes, std::vector<int8_t>(128, 0));
  vector[3] = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(EncodeSq8(vector.data(), 128, codes.data()), Sq8Factors{});
}

TEST(Sq8Test, HalvesMakeUpTheCode) {
  std::mt19937 random(4);
  constexpr size_t kDim = 192;
  std::vector<int8_t> codes(kDim);
  for (int8_t& code : codes) code = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
  std::vector<uint8_t> coarse(kDim / 2), fine(kDim / 2);
  const float squares = SplitSq8(codes.data(), kDim, coarse.data(), fine.data());
  double expected = 0;
  for (size_t d = 0; d < kDim; ++d) {
    const size_t at = d / 64 * 32 + d % 32;
    const int shift = d % 64 < 32 ? 0 : 4;
    const int high = (coarse[at] >> shift) & 15;
    const int low = (fine[at] >> shift) & 15;
    ASSERT_EQ(codes[d], 16 * (high - 8) + low);
    expected += std::pow(16.0 * (high - 8) + static_cast<double>(kSq8FineMiddle), 2);
  }
  EXPECT_NEAR(squares, expected, 1e-6 * expected);
}

TEST(Sq8Test, RotationKeepsSkewedVectorsApart) {
  // One coordinate in a hundred holds nearly all energy; neighbours differ in the others only.
  std::mt19937 random(2);
  constexpr size_t kDim = 256;
  std::vector<float> a(kDim), b(kDim);
  for (size_t d = 0; d < kDim; ++d) {
    a[d] = (d == 7 ? 500.0f : 1.0f) * std::normal_distribution<float>()(random);
    b[d] = d == 7 ? a[d] : std::normal_distribution<float>()(random);
  }
  const auto distance = [&](const std::vector<float>& x, const std::vector<float>& y) {
    std::vector<int8_t> cx(x.size()), cy(y.size());
    const Sq8Factors fx = EncodeSq8(x.data(), x.size(), cx.data()), fy = EncodeSq8(y.data(), y.size(), cy.data());
    double product = 0;
    for (size_t d = 0; d < x.size(); ++d) product += double{cx[d] * 1.0} * cy[d];
    return static_cast<double>(fx.norm) + static_cast<double>(fy.norm) -
           2 * static_cast<double>(fx.scale) * static_cast<double>(fy.scale) * product;
  };
  double exact = 0;
  for (size_t d = 0; d < kDim; ++d) exact += std::pow(static_cast<double>(a[d] - b[d]), 2);
  const Rotation rotation(kDim, 1);
  std::vector<float> ra(kDim), rb(kDim);
  rotation.Apply(a.data(), ra.data());
  rotation.Apply(b.data(), rb.data());
  EXPECT_NEAR(distance(ra, rb), exact, 0.15 * exact);
  EXPECT_GT(std::abs(distance(a, b) - exact), std::abs(distance(ra, rb) - exact));
}

}  // namespace
}  // namespace quiver::codec
