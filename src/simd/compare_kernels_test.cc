// Tests the compare kernels of every level that this processor has against plain comparisons.
#include "simd/compare_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "simd/kernels.h"

namespace quiver::simd {
namespace {

class CompareKernelsTest : public testing::TestWithParam<Level> {
 protected:
  void SetUp() override {
    const KernelTable* table = KernelsFor(GetParam());
    if (table == nullptr) GTEST_SKIP() << "this processor has no " << LevelName(GetParam());
    kernels_ = table->compare;
    ASSERT_NE(kernels_, nullptr);
  }
  const CompareKernels* kernels_ = nullptr;
};

constexpr uint64_t kUntouched = 0x5a5a5a5a5a5a5a5a;

/// Compares the kernel of a type with plain comparisons, at every count up to a few words, from an odd address.
template <typename T>
void Check(const CompareKernels& kernels, const std::vector<T>& pool, std::mt19937& random) {
  for (size_t count = 0; count <= 200; ++count) {
    std::vector<std::byte> bytes(count * sizeof(T) + 1);
    std::vector<T> values(count);
    for (T& value : values) value = pool[random() % pool.size()];
    if (count != 0) std::memcpy(bytes.data() + 1, values.data(), count * sizeof(T));
    for (int round = 0; round < 12; ++round) {
      T low = pool[random() % pool.size()];
      T high = pool[random() % pool.size()];
      if (round % 4 == 0) high = low;
      if (round % 4 == 1)
        low = std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                   : std::numeric_limits<T>::lowest();
      if (round % 4 == 2)
        high =
            std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
      const size_t words = (count + 63) / 64;
      std::vector<uint64_t> out(words + 1, kUntouched);
      kernels.Of<T>()(bytes.data() + 1, count, low, high, out.data());
      ASSERT_EQ(out[words], kUntouched) << count;
      for (size_t i = 0; i < words * 64; ++i) {
        const bool inside = i < count && low <= values[i] && values[i] <= high;
        ASSERT_EQ((out[i / 64] >> (i % 64)) & 1U, inside ? 1U : 0U)
            << "value " << i << " of " << count << ": " << +values[std::min(i, count - 1)] << " in [" << +low << ", "
            << +high << "]";
      }
    }
  }
}

template <typename T>
std::vector<T> IntPool(std::mt19937& random) {
  constexpr T kLeast = std::numeric_limits<T>::min();
  constexpr T kMost = std::numeric_limits<T>::max();
  std::vector<T> pool{kLeast, static_cast<T>(kLeast + 1), -1, 0, 1, static_cast<T>(kMost - 1), kMost};
  for (int i = 0; i < 9; ++i) pool.push_back(static_cast<T>(uint64_t{random()} << 32 | random()));
  return pool;
}

template <typename T>
std::vector<T> FloatPool() {
  using Limits = std::numeric_limits<T>;
  return {-Limits::infinity(),
          Limits::lowest(),
          -1.5,
          -Limits::denorm_min(),
          -T{0},
          T{0},
          Limits::denorm_min(),
          Limits::min(),
          1.5,
          Limits::max(),
          Limits::infinity(),
          Limits::quiet_NaN()};
}

TEST_P(CompareKernelsTest, IntegersInsideAnInterval) {
  std::mt19937 random(1);
  Check(*kernels_, IntPool<int8_t>(random), random);
  Check(*kernels_, IntPool<int16_t>(random), random);
  Check(*kernels_, IntPool<int32_t>(random), random);
  Check(*kernels_, IntPool<int64_t>(random), random);
}

TEST_P(CompareKernelsTest, FloatsInsideAnInterval) {
  std::mt19937 random(2);
  Check(*kernels_, FloatPool<float>(), random);
  Check(*kernels_, FloatPool<double>(), random);
}

TEST_P(CompareKernelsTest, CodesInASet) {
  std::mt19937 random(3);
  for (size_t count = 0; count <= 600; ++count) {
    std::vector<uint8_t> codes(count + 1);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random());
    CodeSet set;
    std::vector<bool> members(256);
    const size_t size = random() % (count % 3 == 0 ? 2 : 256);
    for (size_t i = 0; i < size; ++i) {
      const auto code = static_cast<uint8_t>(random());
      set.Insert(code);
      members[code] = true;
    }
    for (size_t code = 0; code < 256; ++code) ASSERT_EQ(set.Contains(static_cast<uint8_t>(code)), members[code]);
    const size_t words = (count + 63) / 64;
    std::vector<uint64_t> out(words + 1, kUntouched);
    kernels_->codes(codes.data() + 1, count, set, out.data());
    ASSERT_EQ(out[words], kUntouched) << count;
    for (size_t i = 0; i < words * 64; ++i) {
      const bool member = i < count && members[codes[i + 1]];
      ASSERT_EQ((out[i / 64] >> (i % 64)) & 1U, member ? 1U : 0U) << "code " << i << " of " << count;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, CompareKernelsTest, testing::ValuesIn(kLevels),
                         [](const auto& info) { return std::string(LevelName(info.param)); });

}  // namespace
}  // namespace quiver::simd
