// Tests the list kernels of every level that this processor has against plain loops.
#include "simd/list_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "simd/kernels.h"

namespace quiver::simd {
namespace {

constexpr size_t kBlock = ListKernels::kBlock;
constexpr size_t kPanel = CentrePanels::kPanel;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class ListKernelsTest : public testing::TestWithParam<Level> {
 protected:
  void SetUp() override {
    const KernelTable* table = KernelsFor(GetParam());
    if (table == nullptr) GTEST_SKIP() << "this processor has no " << LevelName(GetParam());
    kernels_ = table->lists;
    ASSERT_NE(kernels_, nullptr);
  }
  const ListKernels* kernels_ = nullptr;
};

std::vector<float> RandomFloats(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<int8_t> RandomQuery(size_t dim, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int8_t> query(dim);
  for (int8_t& value : query) value = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
  return query;
}

TEST_P(ListKernelsTest, ScoresAndNearestAgreeWithPlainProducts) {
  for (const size_t dim : {1u, 3u, 7u, 16u, 65u, 128u, 1030u}) {
    for (const size_t row_count : {0u, 1u, 5u, 6u, 7u, 12u, 13u, 61u}) {
      for (const size_t centre_count : {1u, 15u, 16u, 17u, 50u}) {
        const auto seed = static_cast<unsigned>(dim * 1000 + row_count * 10 + centre_count);
        const size_t stride = dim + 3;
        const std::vector<float> rows = RandomFloats(2 * row_count * stride + 1, seed);
        const std::vector<float> centres = RandomFloats(centre_count * dim, seed + 1);
        const size_t panels = (centre_count + kPanel - 1) / kPanel;
        std::vector<float> packed(panels * kPanel * dim, 0.0f);
        std::vector<float> bias(panels * kPanel, kInfinity);
        for (size_t c = 0; c < centre_count; ++c) {
          bias[c] = static_cast<float>(c % 3);
          for (size_t d = 0; d < dim; ++d) packed[(c / kPanel * dim + d) * kPanel + c % kPanel] = centres[c * dim + d];
        }
        std::vector<uint32_t> ids(row_count);
        for (size_t i = 0; i < row_count; ++i) ids[i] = static_cast<uint32_t>(2 * i);
        for (const bool gathered : {false, true}) {
          const FloatRows view{rows.data(), stride, row_count, gathered ? ids.data() : nullptr};
          const CentrePanels packed_centres{packed.data(), bias.data(), panels};
          const size_t out_stride = panels * kPanel + 1;
          std::vector<float> out(row_count * out_stride + 1, -7.0f);
          kernels_->scores(view, packed_centres, dim, out.data(), out_stride);
          std::vector<uint32_t> best(row_count, 4711);
          std::vector<float> best_score(row_count, -kInfinity);
          kernels_->nearest(view, packed_centres, dim, 100, best.data(), best_score.data());
          for (size_t i = 0; i < row_count; ++i) {
            const float* row = rows.data() + (gathered ? ids[i] : i) * stride;
            for (size_t c = 0; c < centre_count; ++c) {
              double expected = -static_cast<double>(bias[c]);
              double size = 1;
              for (size_t d = 0; d < dim; ++d) {
                const double product = static_cast<double>(row[d]) * static_cast<double>(centres[c * dim + d]);
                expected += product;
                size += std::abs(product);
              }
              ASSERT_NEAR(out[i * out_stride + c], expected, 1e-6 * size);
            }
            ASSERT_EQ(out[i * out_stride + panels * kPanel], -7.0f);
            const auto first = out.begin() + static_cast<std::ptrdiff_t>(i * out_stride);
            const auto most = std::max_element(first, first + static_cast<std::ptrdiff_t>(centre_count));
            ASSERT_EQ(best[i], 100 + (most - first));
            ASSERT_EQ(best_score[i], *most);
          }
        }
      }
    }
  }
}

TEST_P(ListKernelsTest, NearestKeepsWhatIsBetterAlready) {
  const std::vector<float> row(4, 1.0f);
  const std::vector<float> packed(4 * kPanel, 1.0f);
  const std::vector<float> bias(kPanel, 0.0f);
  uint32_t best = 7;
  float best_score = 4.0f;
  kernels_->nearest({row.data(), 4, 1, nullptr}, {packed.data(), bias.data(), 1}, 4, 0, &best, &best_score);
  EXPECT_EQ(best, 7u);
  best_score = 3.0f;
  kernels_->nearest({row.data(), 4, 1, nullptr}, {packed.data(), bias.data(), 1}, 4, 0, &best, &best_score);
  EXPECT_EQ(best, 0u) << "the lowest of equals";
  EXPECT_EQ(best_score, 4.0f);
}

TEST_P(ListKernelsTest, ScanBytesIsExact) {
  for (const size_t dim : {64u, 128u, 192u, 4096u}) {
    for (const size_t blocks : {1u, 3u}) {
      std::mt19937 random(static_cast<unsigned>(dim + blocks));
      std::vector<uint8_t> codes(blocks * kBlock * dim);
      for (uint8_t& code : codes) code = static_cast<uint8_t>(random() % 64);
      std::vector<int8_t> query = RandomQuery(dim, 3);
      for (int8_t& value : query) value = static_cast<int8_t>(value / 4);
      // The extremes: all largest.
      if (blocks == 3) {
        std::fill(query.begin(), query.end(), int8_t{-31});
        std::fill(codes.begin(), codes.begin() + static_cast<std::ptrdiff_t>(kBlock * dim), uint8_t{63});
      }
      const std::vector<float> add = RandomFloats(blocks * kBlock, 5);
      std::vector<float> out(blocks * kBlock);
      std::vector<float> least(blocks);
      kernels_->scan_bytes(codes.data(), blocks, query.data(), dim, add.data(), 0.5f, out.data(), least.data());
      for (size_t r = 0; r < blocks * kBlock; ++r) {
        int64_t sum = 0;
        for (size_t d = 0; d < dim; ++d) {
          sum += codes[r / kBlock * kBlock * dim + d / 4 * 4 * kBlock + r % kBlock * 4 + d % 4] * query[d];
        }
        ASSERT_EQ(out[r], add[r] + 0.5f * static_cast<float>(sum));
      }
      for (size_t b = 0; b < blocks; ++b) {
        const auto first = out.begin() + static_cast<std::ptrdiff_t>(b * kBlock);
        ASSERT_EQ(least[b], *std::min_element(first, first + kBlock));
      }
    }
  }
}

TEST_P(ListKernelsTest, QuantiseRoundsToTheNearest) {
  for (const size_t dim : {1u, 7u, 16u, 64u, 100u}) {
    const std::vector<float> query = RandomFloats(dim, static_cast<unsigned>(dim));
    std::vector<int8_t> out(dim + 1, 55);
    const int32_t sum = kernels_->quantise(query.data(), dim, 20.0f, out.data());
    int32_t expected = 0;
    for (size_t d = 0; d < dim; ++d) {
      ASSERT_EQ(out[d], std::nearbyint(query[d] * 20.0f));
      expected += out[d];
    }
    EXPECT_EQ(sum, expected);
    EXPECT_EQ(out[dim], 55);
  }
}

TEST_P(ListKernelsTest, LookupsAreSumsOfTheirBits) {
  constexpr size_t kGroups = 48;
  std::vector<float> query = RandomFloats(4 * kGroups, 1);
  std::fill_n(query.begin(), 4, 4.0f);  // the widest group
  const float inverse = ListKernels::kLookupMax / 16.0f;
  std::vector<uint8_t> lookup(kGroups * 16);
  kernels_->build_lookup(query.data(), kGroups, inverse, lookup.data());
  for (size_t g = 0; g < kGroups; ++g) {
    for (size_t i = 0; i < 16; ++i) {
      float sum = 0;
      for (size_t j = 0; j < 4; ++j) {
        const float value = query[4 * g + j];
        sum += ((i >> j) & 1) != 0 ? value : 0.0f;
        sum -= std::min(value, 0.0f);
      }
      ASSERT_NEAR(lookup[g * 16 + i], sum * inverse, 0.501);
      ASSERT_LE(lookup[g * 16 + i], ListKernels::kLookupMax);
    }
  }
}

TEST_P(ListKernelsTest, ScanBitsKeepsByTheSumOfLookups) {
  for (const size_t dim : {64u, 128u, 192u, 1024u, 1088u, 4096u}) {
    for (const size_t rows : {1u, 16u, 17u, 32u}) {
      std::mt19937 random(static_cast<unsigned>(dim + rows));
      constexpr size_t kBlocks = 3;
      const size_t groups = dim / 4;
      const size_t block_bytes = groups * 16 + 2 * kBlock * sizeof(float) + 12;
      std::vector<std::byte> blocks(kBlocks * block_bytes);
      std::vector<uint8_t> lookup(groups * 16);
      for (uint8_t& value : lookup) value = static_cast<uint8_t>(random() % (ListKernels::kLookupMax + 1));
      if (rows == 32) std::fill(lookup.begin(), lookup.end(), ListKernels::kLookupMax);
      std::vector<std::vector<float>> keys(kBlocks, std::vector<float>(kBlock, kInfinity));
      // Sums are integers and factors are halves, so that every level rounds alike.
      const float scale = 0.5f, offset = -3.0f;
      std::vector<float> all_keys;
      for (size_t b = 0; b < kBlocks; ++b) {
        std::vector<uint8_t> codes(rows * dim);
        for (uint8_t& code : codes) code = static_cast<uint8_t>(random() % 16);  // four bits: the top one is the sign
        std::byte* block = blocks.data() + b * block_bytes;
        PackSignBlock(codes.data(), rows, dim, 4, block);
        float add[kBlock], mul[kBlock];
        for (size_t r = 0; r < kBlock; ++r) {
          add[r] = r < rows ? static_cast<float>(random() % 100) : kInfinity;
          mul[r] = r < rows ? -static_cast<float>(random() % 8) / 2 : 0.0f;
          if (r >= rows) continue;
          int64_t sum = 0;
          for (size_t g = 0; g < groups; ++g) {
            size_t nibble = 0;
            for (size_t j = 0; j < 4; ++j) nibble |= static_cast<size_t>(codes[r * dim + 4 * g + j] >> 3) << j;
            sum += lookup[g * 16 + nibble];
          }
          keys[b][r] = add[r] + mul[r] * (static_cast<float>(sum) * scale + offset);
          all_keys.push_back(keys[b][r]);
        }
        std::memcpy(block + groups * 16, add, sizeof(add));
        std::memcpy(block + groups * 16 + sizeof(add), mul, sizeof(mul));
      }
      std::nth_element(all_keys.begin(), all_keys.begin() + static_cast<std::ptrdiff_t>(all_keys.size() / 2),
                       all_keys.end());
      const float limit = all_keys[all_keys.size() / 2];
      const BitQuery query{lookup.data(), groups, scale, offset, limit};
      const uint32_t alive[kBlocks] = {0x0f0ff0f1u, 0, 0xffffffffu};
      for (const uint32_t* of : {static_cast<const uint32_t*>(nullptr), &alive[0]}) {
        uint32_t masks[kBlocks] = {1, 2, 3};
        kernels_->scan_bits(query, blocks.data(), block_bytes, kBlocks, of, masks);
        for (size_t b = 0; b < kBlocks; ++b) {
          uint32_t expected = 0;
          for (size_t r = 0; r < kBlock; ++r) expected |= static_cast<uint32_t>(keys[b][r] <= limit) << r;
          if (of != nullptr) expected &= of[b];
          ASSERT_EQ(masks[b], expected) << "dim " << dim << " rows " << rows << " block " << b;
        }
      }
    }
  }
}

TEST_P(ListKernelsTest, DotCodesIsExactForAllWidths) {
  for (size_t bits = 1; bits <= ListKernels::kMaxBits; ++bits) {
    for (const size_t dim : {64u, 128u, 192u, 1024u, 32768u}) {
      std::mt19937 random(static_cast<unsigned>(dim + bits));
      constexpr size_t kRows = 11;
      const size_t stride = RowCodeBytes(dim, bits) + 5;
      std::vector<std::byte> base(kRows * stride);
      std::vector<uint8_t> codes(kRows * dim);
      for (size_t r = 0; r < kRows; ++r) {
        for (size_t d = 0; d < dim; ++d) {
          auto code = static_cast<unsigned>(random() % (1u << bits));
          if (r == 0) code = (1u << bits) - 1;
          if (bits == 8 && code == 0) code = 1;  // does not occur
          codes[r * dim + d] = static_cast<uint8_t>(code);
        }
        PackRowCode(codes.data() + r * dim, dim, bits, base.data() + r * stride);
      }
      for (const bool extreme : {false, true}) {
        std::vector<int8_t> query = RandomQuery(dim, static_cast<unsigned>(bits));
        if (extreme) std::fill(query.begin(), query.end(), int8_t{-127});
        std::vector<uint32_t> ids{10, 0, 3, 3, 7, 1};
        std::vector<int32_t> out(ids.size());
        kernels_->dot_codes[bits](base.data(), stride, ids.data(), ids.size(), query.data(), dim, out.data());
        for (size_t i = 0; i < ids.size(); ++i) {
          int64_t expected = 0;
          for (size_t d = 0; d < dim; ++d) expected += codes[ids[i] * dim + d] * query[d];
          ASSERT_EQ(out[i], expected) << "bits " << bits << " dim " << dim;
        }
      }
    }
  }
}

TEST_P(ListKernelsTest, TestIdsReadsTheBits) {
  std::mt19937 random(1);
  std::vector<uint64_t> bits(16);
  for (uint64_t& word : bits) word = (static_cast<uint64_t>(random()) << 32) | random();
  for (int round = 0; round < 20; ++round) {
    uint32_t ids[kBlock];
    uint32_t expected = 0;
    for (size_t i = 0; i < kBlock; ++i) {
      ids[i] = static_cast<uint32_t>(round == 0 ? 1023 : random() % 1024);
      expected |= static_cast<uint32_t>((bits[ids[i] / 64] >> (ids[i] % 64)) & 1) << i;
    }
    ASSERT_EQ(kernels_->test_ids(ids, bits.data()), expected);
  }
}

TEST_P(ListKernelsTest, EncodeMeasuresItsCodes) {
  for (size_t bits = 1; bits <= ListKernels::kMaxBits; ++bits) {
    for (const size_t dim : {64u, 256u}) {
      std::vector<float> x = RandomFloats(dim, static_cast<unsigned>(bits));
      const std::vector<float> c = RandomFloats(dim, 99);
      x[0] = 0.0f;
      x[1] = -0.0f;
      x[2] = 100.0f;
      x[3] = -100.0f;
      x[4] = -1e-12f;
      x[5] = 1e-12f;
      const float step = 4.0f / static_cast<float>(1u << (bits - 1));
      std::vector<uint8_t> codes(dim);
      CodeSums sums;
      kernels_->encode(x.data(), c.data(), dim, bits, 1 / step, codes.data(), &sums);
      double x_x = 0, x_c = 0, s_x = 0, s_c = 0, y_x = 0, y_c = 0, y_y = 0;
      const double middle = (static_cast<double>(1u << bits) - 1) / 2;
      for (size_t d = 0; d < dim; ++d) {
        const int most = (1 << bits) - 1;
        ASSERT_LE(codes[d], most);
        ASSERT_EQ(codes[d] >> (bits - 1), x[d] < 0 ? 0 : 1) << "the top bit is the sign, dim " << d;
        const double y = codes[d] - middle;
        if (codes[d] > 1 && codes[d] < most) {
          ASSERT_NEAR(y * static_cast<double>(step), x[d], 0.51 * static_cast<double>(step));
        }
        const double s = x[d] < 0 ? -1 : 1;
        const double xd = x[d], cd = c[d];
        x_x += xd * xd, x_c += xd * cd, s_x += s * xd, s_c += s * cd, y_x += y * xd, y_c += y * cd, y_y += y * y;
      }
      EXPECT_NEAR(sums.x_x, x_x, 1e-5 * x_x);
      EXPECT_NEAR(sums.x_c, x_c, 1e-5 * x_x);
      EXPECT_NEAR(sums.s_x, s_x, 1e-5 * s_x);
      EXPECT_NEAR(sums.s_c, s_c, 1e-5 * static_cast<double>(dim));
      EXPECT_NEAR(sums.y_x, y_x, 1e-5 * y_x);
      EXPECT_NEAR(sums.y_c, y_c, 1e-5 * y_x);
      EXPECT_NEAR(sums.y_y, y_y, 1e-5 * y_y);
      if (bits == 8) {
        EXPECT_EQ(codes[3], 1);
      }
      EXPECT_EQ(codes[2], (1u << bits) - 1);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, ListKernelsTest, testing::ValuesIn(kLevels),
                         [](const auto& level) { return std::string(LevelName(level.param)); });

}  // namespace
}  // namespace quiver::simd
