// Tests the product kernels of every level that this processor has against plain sums.
#include "simd/product_kernels.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace quiver::simd {
namespace {

constexpr size_t kBlock = ProductKernels::kBlock;

class ProductKernelsTest : public testing::TestWithParam<Level> {
 protected:
  void SetUp() override {
    kernels_ = ProductsFor(GetParam());
    if (kernels_ == nullptr) GTEST_SKIP() << "this processor has no " << LevelName(GetParam());
  }
  const ProductKernels* kernels_ = nullptr;
};

std::vector<float> RandomFloats(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

TEST_P(ProductKernelsTest, SumsOfProductCodesAreExact) {
  for (const size_t groups : {2u, 4u, 6u, 8u, 48u, 50u, 96u, 254u, 256u}) {
    for (const size_t blocks : {1u, 2u, 5u}) {
      std::mt19937 random(static_cast<unsigned>(groups + blocks));
      const size_t nibble_bytes = groups * 16 + 3;
      const size_t byte_bytes = groups * kBlock + 5;
      std::vector<std::byte> nibbles(blocks * nibble_bytes), bytes(blocks * byte_bytes);
      for (std::byte& byte : nibbles) byte = static_cast<std::byte>(random());
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
      std::vector<uint8_t> small(groups * 16);
      for (uint8_t& entry : small) entry = groups == 256 ? 255 : static_cast<uint8_t>(random());
      const std::vector<float> large = RandomFloats(groups * 256, 5);
      std::vector<uint32_t> alive(blocks, 0);
      for (size_t b = 0; b < blocks; b += 2) alive[b] = 1u << b;
      for (const uint32_t* some : {static_cast<const uint32_t*>(nullptr), static_cast<const uint32_t*>(alive.data())}) {
        std::vector<uint16_t> sums(blocks * kBlock + 1, 4711);
        std::vector<float> floats(blocks * kBlock + 1, 4711.0f);
        kernels_->sum_nibbles(small.data(), groups, nibbles.data(), nibble_bytes, blocks, some, sums.data());
        kernels_->sum_bytes(large.data(), groups, bytes.data(), byte_bytes, blocks, some, floats.data());
        for (size_t place = 0; place < blocks * kBlock; ++place) {
          const size_t b = place / kBlock;
          const size_t r = place % kBlock;
          unsigned sum = 0;
          float total = 0;
          for (size_t g = 0; g < groups; ++g) {
            const auto pair = static_cast<unsigned>(nibbles[b * nibble_bytes + g * 16 + r % 16]);
            sum += small[g * 16 + (r < 16 ? pair & 15 : pair >> 4)];
            total += large[g * 256 + static_cast<size_t>(bytes[b * byte_bytes + g * kBlock + r])];
          }
          const bool read = some == nullptr || some[b] != 0;
          ASSERT_EQ(sums[place], read ? sum : 4711) << groups << " groups, place " << place;
          ASSERT_EQ(floats[place], read ? total : 4711.0f) << groups << " groups, place " << place;
        }
        EXPECT_EQ(sums.back(), 4711);
        EXPECT_EQ(floats.back(), 4711.0f);
      }
    }
  }
}

TEST_P(ProductKernelsTest, SumsOfScatteredRowsHaveTheSameBitsOnEveryLevel) {
  constexpr size_t kRows = 60;
  for (const size_t bytes : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 48u, 63u, 96u, 129u}) {
    const std::vector<float> lookup = RandomFloats(bytes * 256, 6);
    std::mt19937 random(static_cast<unsigned>(bytes));
    // No byte behind the last row is to be read: sanitizers notice.
    std::vector<std::byte> rows(kRows * bytes);
    for (std::byte& byte : rows) byte = static_cast<std::byte>(random());
    for (const size_t count : {0u, 1u, 2u, 3u, 4u, 5u, 7u, 8u, 33u}) {
      std::vector<uint32_t> ids(count);
      for (uint32_t& id : ids) id = static_cast<uint32_t>(random() % kRows);
      if (count > 0) ids.back() = kRows - 1;
      std::vector<float> sums(count + 1, 4711.0f);
      kernels_->sum_rows(lookup.data(), bytes, rows.data(), ids.data(), count, sums.data());
      for (size_t i = 0; i < count; ++i) {
        float lanes[ProductKernels::kRowLanes] = {};
        double total = 0;
        for (size_t b = 0; b < bytes; ++b) {
          const float entry = lookup[b * 256 + static_cast<size_t>(rows[ids[i] * bytes + b])];
          lanes[b % ProductKernels::kRowLanes] += entry;
          total += static_cast<double>(entry);
        }
        ASSERT_EQ(sums[i], ProductKernels::SumOfLanes(lanes)) << bytes << " bytes, row " << i << " of " << count;
        ASSERT_NEAR(static_cast<double>(sums[i]), total, 1e-4) << bytes << " bytes";
      }
      EXPECT_EQ(sums.back(), 4711.0f);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, ProductKernelsTest, testing::ValuesIn(kLevels),
                         [](const auto& info) { return std::string(LevelName(info.param)); });

}  // namespace
}  // namespace quiver::simd
