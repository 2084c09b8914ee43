// Tests every level that this processor has against plain double-precision loops.
#include "simd/kernels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace quiver::simd {
namespace {

enum class Type { kF32, kF16, kBf16, kInt8 };
constexpr Type kTypes[] = {Type::kF32, Type::kF16, Type::kBf16, Type::kInt8};

size_t BytesOf(Type type) { return type == Type::kF32 ? 4 : type == Type::kInt8 ? 1 : 2; }

const DenseKernels& KernelsOf(const KernelTable& table, Type type) {
  switch (type) {
    case Type::kF32: return table.f32;
    case Type::kF16: return table.f16;
    case Type::kBf16: return table.bf16;
    case Type::kInt8: return table.int8;
  }
  return table.f32;
}

/// IEEE half to double by the definition of the format.
double HalfToDouble(uint16_t half) {
  const int exponent = (half >> 10) & 0x1f;
  const int fraction = half & 0x3ff;
  const double sign = (half & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31) return fraction != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

double BrainToDouble(uint16_t half) { return std::bit_cast<float>(static_cast<uint32_t>(half) << 16); }

double ValueAt(Type type, const std::byte* row, size_t d) {
  switch (type) {
    case Type::kF32: {
      float value;
      std::memcpy(&value, row + d * 4, 4);
      return value;
    }
    case Type::kInt8: return static_cast<int8_t>(row[d]);
    default: {
      uint16_t half;
      std::memcpy(&half, row + d * 2, 2);
      return type == Type::kF16 ? HalfToDouble(half) : BrainToDouble(half);
    }
  }
}

/// Writes one value of about unit size.
void PutRandom(Type type, std::byte* at, std::mt19937& random) {
  const float value = std::normal_distribution<float>()(random);
  switch (type) {
    case Type::kF32: std::memcpy(at, &value, 4); break;
    case Type::kInt8: *at = static_cast<std::byte>(random()); break;
    case Type::kBf16: {
      const auto half = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
      std::memcpy(at, &half, 2);
      break;
    }
    case Type::kF16: {
      // Sign, exponents 2^-4..2^2, any fraction.
      const auto half = static_cast<uint16_t>((random() & 0x8000) | ((11 + random() % 7) << 10) | (random() & 0x3ff));
      std::memcpy(at, &half, 2);
      break;
    }
  }
}

struct Expected {
  double ip = 0, l2 = 0, norm = 0;
  double ip_size = 0;  ///< sum of magnitudes, the scale of the rounding error
};

/// `query` is float, or int8 for kInt8.
Expected PlainLoop(Type type, const std::byte* query, const std::byte* row, size_t dim) {
  Expected expected;
  for (size_t d = 0; d < dim; ++d) {
    const double q = ValueAt(type == Type::kInt8 ? type : Type::kF32, query, d);
    const double x = ValueAt(type, row, d);
    expected.ip += q * x;
    expected.ip_size += std::abs(q * x);
    expected.l2 += (q - x) * (q - x);
    expected.norm += x * x;
  }
  return expected;
}

/// Rows and queries at odd addresses, with the bytes around them poisoned by signalling values.
struct Data {
  Data(Type type_in, size_t dim_in, size_t rows_in, size_t queries_in, unsigned seed)
      : type(type_in), dim(dim_in), row_count(rows_in), query_count(queries_in) {
    std::mt19937 random(seed);
    const size_t bytes = BytesOf(type);
    stride = dim * bytes + 3;
    query_stride = dim * (type == Type::kInt8 ? 1 : 4) + 5;
    row_bytes.assign(rows_in * stride + 17, std::byte{0xff});
    query_bytes.assign(queries_in * query_stride + 17, std::byte{0xff});
    for (size_t i = 0; i < rows_in; ++i) {
      for (size_t d = 0; d < dim; ++d) PutRandom(type, row_bytes.data() + 1 + i * stride + d * bytes, random);
    }
    for (size_t q = 0; q < queries_in; ++q) {
      for (size_t d = 0; d < dim; ++d) {
        std::byte* at = query_bytes.data() + 1 + q * query_stride + d * (type == Type::kInt8 ? 1 : 4);
        PutRandom(type == Type::kInt8 ? type : Type::kF32, at, random);
      }
    }
  }
  [[nodiscard]] const std::byte* row(size_t i) const { return row_bytes.data() + 1 + i * stride; }
  [[nodiscard]] const std::byte* query(size_t q) const { return query_bytes.data() + 1 + q * query_stride; }
  [[nodiscard]] Rows rows(const uint32_t* ids = nullptr) const { return {row(0), stride, row_count, ids}; }

  Type type;
  size_t dim, row_count, query_count, stride, query_stride;
  std::vector<std::byte> row_bytes, query_bytes;
};

std::vector<size_t> Dims() {
  std::vector<size_t> dims(130);
  std::iota(dims.begin(), dims.end(), 0);
  for (size_t dim : {255, 384, 385, 767, 1023, 1536, 4097, 32768}) dims.push_back(dim);
  return dims;
}

class KernelsTest : public testing::TestWithParam<Level> {
 protected:
  void SetUp() override {
    table_ = KernelsFor(GetParam());
    if (table_ == nullptr) GTEST_SKIP() << "this processor has no " << LevelName(GetParam());
  }
  const KernelTable* table_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Levels, KernelsTest, testing::ValuesIn(kLevels),
                         [](const auto& info) { return std::string(LevelName(info.param)); });

TEST_P(KernelsTest, DenseKernelsAgreeWithThePlainLoopAndWithOneAnother) {
  for (Type type : kTypes) {
    const DenseKernels& kernels = KernelsOf(*table_, type);
    for (size_t dim : Dims()) {
      const size_t row_count = dim > 4096 ? 7 : 11;
      const Data data(type, dim, row_count, 7, static_cast<unsigned>(dim * 7 + 1));
      std::vector<float> ip(row_count), l2(row_count), norm(row_count), side_norm(row_count), again(row_count);
      std::vector<float> tile(7 * 13), l2_tile(7 * 13);
      kernels.norm(data.rows(), dim, norm.data());
      kernels.ip_tile(data.rows(), data.query(0), data.query_stride, 7, dim, tile.data(), 13);
      kernels.l2_tile(data.rows(), data.query(0), data.query_stride, 7, dim, l2_tile.data(), 13);
      for (size_t q = 0; q < 7; ++q) {
        kernels.ip(data.rows(), data.query(q), dim, ip.data(), side_norm.data());
        kernels.l2(data.rows(), data.query(q), dim, l2.data(), nullptr);
        kernels.ip(data.rows(), data.query(q), dim, again.data(), nullptr);
        ASSERT_EQ(ip, again) << "asking for norms must not change products, dim " << dim;
        ASSERT_EQ(norm, side_norm) << "dim " << dim;
        for (size_t i = 0; i < row_count; ++i) {
          const Expected expected = PlainLoop(type, data.query(q), data.row(i), dim);
          if (type == Type::kInt8) {
            ASSERT_EQ(ip[i], static_cast<float>(expected.ip)) << dim;
            ASSERT_EQ(l2[i], static_cast<float>(expected.l2)) << dim;
            ASSERT_EQ(norm[i], static_cast<float>(expected.norm)) << dim;
          } else {
            const double relative = 1e-7 * (4 + std::sqrt(static_cast<double>(dim)));
            ASSERT_NEAR(ip[i], expected.ip, relative * expected.ip_size) << dim;
            ASSERT_NEAR(l2[i], expected.l2, relative * expected.l2) << dim;
            ASSERT_NEAR(norm[i], expected.norm, relative * expected.norm) << dim;
          }
          ASSERT_EQ(tile[q * 13 + i], ip[i]) << "tile and scan round alike, dim " << dim;
          ASSERT_EQ(l2_tile[q * 13 + i], l2[i]) << "tile and scan round alike, dim " << dim;
        }
      }
    }
  }
}

TEST_P(KernelsTest, GatheredRowsAndSingleRowsScoreAsInSequence) {
  std::mt19937 random(5);
  for (Type type : kTypes) {
    const DenseKernels& kernels = KernelsOf(*table_, type);
    for (size_t dim : {1, 7, 31, 64, 100, 385}) {
      const Data data(type, dim, 200, 1, 3);
      std::vector<float> all(200), norms(200);
      kernels.ip(data.rows(), data.query(0), dim, all.data(), norms.data());
      std::vector<uint32_t> ids(500);
      for (uint32_t& id : ids) id = static_cast<uint32_t>(random() % 200);
      for (size_t count : {size_t{1}, size_t{2}, size_t{5}, ids.size()}) {
        std::vector<float> some(count), some_norms(count);
        kernels.ip({data.row(0), data.stride, count, ids.data()}, data.query(0), dim, some.data(), some_norms.data());
        for (size_t i = 0; i < count; ++i) {
          ASSERT_EQ(some[i], all[ids[i]]);
          ASSERT_EQ(some_norms[i], norms[ids[i]]);
        }
      }
    }
  }
}

TEST_P(KernelsTest, EveryHalfWidensExactly) {
  std::vector<uint16_t> halves(65536);
  std::iota(halves.begin(), halves.end(), uint16_t{0});
  // An odd count covers the tail; the last value comes first then.
  std::vector<float> wide(65536);
  for (size_t count : {size_t{65536}, size_t{65531}, size_t{1}, size_t{0}}) {
    std::fill(wide.begin(), wide.end(), -7.0f);
    table_->f16_to_f32(halves.data(), count, wide.data());
    for (size_t i = 0; i < count; ++i) {
      const double expected = HalfToDouble(halves[i]);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(wide[i])) << i;
      } else {
        ASSERT_EQ(static_cast<double>(wide[i]), expected) << i;
        ASSERT_EQ(std::signbit(wide[i]), std::signbit(expected)) << i;
      }
    }
    if (count < 65536) {
      ASSERT_EQ(wide[count], -7.0f) << "wrote past the end";
    }
    table_->bf16_to_f32(halves.data(), count, wide.data());
    for (size_t i = 0; i < count; ++i) {
      const double expected = BrainToDouble(halves[i]);
      ASSERT_TRUE(std::isnan(expected) ? std::isnan(wide[i]) : static_cast<double>(wide[i]) == expected) << i;
    }
  }
}

TEST_P(KernelsTest, DenormalsCountAndNanAndInfinityPropagate) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (size_t dim : {1, 3, 8, 16, 17, 33, 64, 100}) {
    for (size_t position : {size_t{0}, dim / 2, dim - 1}) {
      std::vector<float> query(dim, 1.0f), row(dim, 0.0f);
      const Rows rows{reinterpret_cast<const std::byte*>(row.data()), dim * 4, 1, nullptr};
      float ip = 0, l2 = 0, norm = 0;
      row[position] = 1e-42f;
      table_->f32.ip(rows, query.data(), dim, &ip, nullptr);
      EXPECT_EQ(ip, 1e-42f);
      row[position] = kInfinity;
      table_->f32.ip(rows, query.data(), dim, &ip, &norm);
      table_->f32.l2(rows, query.data(), dim, &l2, nullptr);
      EXPECT_EQ(ip, kInfinity);
      EXPECT_EQ(l2, kInfinity);
      EXPECT_EQ(norm, kInfinity);
      row[position] = std::nanf("");
      table_->f32.ip(rows, query.data(), dim, &ip, &norm);
      table_->f32.l2(rows, query.data(), dim, &l2, nullptr);
      EXPECT_TRUE(std::isnan(ip));
      EXPECT_TRUE(std::isnan(l2));
      EXPECT_TRUE(std::isnan(norm));
      row[position] = 0.0f;
      query[position] = std::nanf("");
      table_->f32.ip_tile(rows, query.data(), dim * 4, 1, dim, &ip, 1);
      EXPECT_TRUE(std::isnan(ip));
    }
  }
  // A half denormal through the half kernel.
  const uint16_t smallest = 1;
  const float one = 1.0f;
  float ip = 0;
  table_->f16.ip({reinterpret_cast<const std::byte*>(&smallest), 2, 1, nullptr}, &one, 1, &ip, nullptr);
  EXPECT_EQ(ip, std::ldexp(1.0f, -24));
}

TEST_P(KernelsTest, Int8ExtremesStayExactAtTheLargestDimension) {
  const size_t dim = 32768;
  std::vector<int8_t> low(dim, -128), high(dim, 127);
  const Rows rows{reinterpret_cast<const std::byte*>(low.data()), dim, 1, nullptr};
  float ip = 0, l2 = 0, norm = 0;
  table_->int8.ip(rows, high.data(), dim, &ip, &norm);
  table_->int8.l2(rows, high.data(), dim, &l2, nullptr);
  EXPECT_EQ(ip, static_cast<float>(-128.0 * 127 * 32768));
  EXPECT_EQ(norm, static_cast<float>(128.0 * 128 * 32768));
  EXPECT_EQ(l2, static_cast<float>(255.0 * 255 * 32768));
  float tiles[2] = {};
  table_->int8.ip_tile(rows, high.data(), dim, 1, dim, tiles, 1);
  table_->int8.l2_tile(rows, high.data(), dim, 1, dim, tiles + 1, 1);
  EXPECT_EQ(tiles[0], ip);
  EXPECT_EQ(tiles[1], l2);
}

TEST_P(KernelsTest, TilesOfManyRowsScoreAsScansDo) {
  constexpr size_t kRowCount = 131;
  for (Type type : {Type::kF32, Type::kInt8}) {
    const Data data(type, 70, kRowCount, 5, 3);
    const DenseKernels& kernels = KernelsOf(*table_, type);
    std::vector<uint32_t> ids(kRowCount);
    for (size_t i = 0; i < kRowCount; ++i) ids[i] = static_cast<uint32_t>(i * 7 % kRowCount);
    std::vector<float> tile(5 * kRowCount), l2_tile(5 * kRowCount), scan(kRowCount), l2(kRowCount);
    kernels.ip_tile(data.rows(ids.data()), data.query(0), data.query_stride, 5, 70, tile.data(), kRowCount);
    kernels.l2_tile(data.rows(ids.data()), data.query(0), data.query_stride, 5, 70, l2_tile.data(), kRowCount);
    for (size_t q = 0; q < 5; ++q) {
      kernels.ip(data.rows(ids.data()), data.query(q), 70, scan.data(), nullptr);
      kernels.l2(data.rows(ids.data()), data.query(q), 70, l2.data(), nullptr);
      for (size_t i = 0; i < kRowCount; ++i) {
        ASSERT_EQ(tile[q * kRowCount + i], scan[i]) << i;
        ASSERT_EQ(l2_tile[q * kRowCount + i], l2[i]) << i;
      }
    }
  }
}

TEST_P(KernelsTest, BinaryKernelsAgreeWithBitLoops) {
  std::mt19937 random(11);
  std::vector<size_t> sizes(70);
  std::iota(sizes.begin(), sizes.end(), 0);
  for (size_t bytes : {127, 128, 1024, 4096}) sizes.push_back(bytes);
  for (size_t bytes : sizes) {
    const size_t row_count = 40;
    const size_t stride = bytes + 1;
    std::vector<std::byte> rows(row_count * stride + 1), query(bytes + 1);
    for (std::byte& b : query) b = static_cast<std::byte>(random());
    for (size_t i = 0; i < row_count; ++i) {
      for (size_t b = 0; b < bytes; ++b) {
        std::byte value = static_cast<std::byte>(random());
        if (i % 4 == 1) value = query[1 + b] & value;  // subset
        if (i % 4 == 2) value = query[1 + b] | value;  // superset
        if (i % 8 == 3) value = std::byte{0};          // empty
        rows[1 + i * stride + b] = value;
      }
    }
    std::vector<uint32_t> ids(row_count);
    for (size_t i = 0; i < row_count; ++i) ids[i] = static_cast<uint32_t>(row_count - 1 - i);
    for (const uint32_t* order : {static_cast<const uint32_t*>(nullptr), static_cast<const uint32_t*>(ids.data())}) {
      const Rows view{rows.data() + 1, stride, row_count, order};
      std::vector<float> hamming(row_count), jaccard(row_count), sub(row_count), super(row_count);
      table_->binary.hamming(view, query.data() + 1, bytes, hamming.data());
      table_->binary.jaccard(view, query.data() + 1, bytes, jaccard.data());
      table_->binary.substructure(view, query.data() + 1, bytes, sub.data());
      table_->binary.superstructure(view, query.data() + 1, bytes, super.data());
      for (size_t i = 0; i < row_count; ++i) {
        const std::byte* row = rows.data() + 1 + (order != nullptr ? order[i] : i) * stride;
        int both = 0, any = 0, only_row = 0, only_query = 0;
        for (size_t bit = 0; bit < bytes * 8; ++bit) {
          const bool in_row = ((row[bit / 8] >> (bit % 8)) & std::byte{1}) != std::byte{0};
          const bool in_query = ((query[1 + bit / 8] >> (bit % 8)) & std::byte{1}) != std::byte{0};
          both += in_row && in_query;
          any += in_row || in_query;
          only_row += in_row && !in_query;
          only_query += in_query && !in_row;
        }
        ASSERT_EQ(hamming[i], static_cast<float>(only_row + only_query)) << bytes;
        ASSERT_EQ(jaccard[i], any == 0 ? 0.0f : 1.0f - static_cast<float>(both) / static_cast<float>(any)) << bytes;
        ASSERT_EQ(sub[i] == 0.0f, only_row == 0) << bytes;
        ASSERT_EQ(std::isnan(sub[i]), only_row != 0) << bytes;
        ASSERT_EQ(super[i] == 0.0f, only_query == 0) << bytes;
        ASSERT_EQ(std::isnan(super[i]), only_query != 0) << bytes;
      }
    }
  }
}

TEST_P(KernelsTest, EncodedRowsDescribeTheirOwnError) {
  const CodeKernels& codes = table_->codes;
  if (codes.row_max == 0) GTEST_SKIP() << "this level has no code kernels";
  for (size_t dim : Dims()) {
    const size_t padded = (dim + CodeKernels::kDimMultiple - 1) / CodeKernels::kDimMultiple * CodeKernels::kDimMultiple;
    const Data data(Type::kF32, dim, 3, 0, static_cast<unsigned>(dim));
    std::vector<uint8_t> group(padded * CodeKernels::kGroup, 0xee);
    for (size_t i = 0; i < 3; ++i) {
      float scale = -1, norm2 = -1, error2 = -1;
      const size_t slot = i * 7;
      codes.encode(reinterpret_cast<const float*>(data.row(i)), dim, slot, group.data(), &scale, &norm2, &error2);
      double expected_norm2 = 0, expected_error2 = 0;
      for (size_t d = 0; d < padded; ++d) {
        const int code = group[d / 4 * 64 + slot * 4 + d % 4];
        ASSERT_LE(code, codes.row_max);
        ASSERT_GE(code, 1);
        const double x = d < dim ? ValueAt(Type::kF32, data.row(i), d) : 0.0;
        const double approximate = static_cast<double>(scale) * (code - codes.row_zero);
        ASSERT_LE(std::abs(x - approximate), 0.5001 * static_cast<double>(scale)) << dim;
        expected_norm2 += x * x;
        expected_error2 += (x - approximate) * (x - approximate);
      }
      ASSERT_NEAR(norm2, expected_norm2, 1e-5 * expected_norm2);
      ASSERT_NEAR(error2, expected_error2, 1e-4 * expected_error2 + 1e-12);
    }
  }
}

TEST_P(KernelsTest, CodeFilterKeepsExactlyThePairsAboveTheFloor) {
  const CodeKernels& codes = table_->codes;
  if (codes.row_max == 0) GTEST_SKIP() << "this level has no code kernels";
  std::mt19937 random(17);
  for (size_t dim_padded : {32, 64, 384, 1536, 32768}) {
    for (bool extreme : {false, true}) {
      for (size_t query_count : {1, 3, 4, 9, 18}) {
        const size_t groups = dim_padded > 2000 ? 1 : 3;
        const size_t row_count = groups * CodeKernels::kGroup;
        std::vector<uint8_t> row_codes(row_count * dim_padded);
        std::vector<int8_t> query_codes(query_count * dim_padded);
        for (uint8_t& c : row_codes) {
          c = static_cast<uint8_t>(extreme ? codes.row_max
                                           : 1 + static_cast<int>(random() % static_cast<unsigned>(codes.row_max)));
        }
        for (size_t i = 0; i < query_codes.size(); ++i) {
          query_codes[i] = static_cast<int8_t>(
              extreme ? (i / dim_padded % 2 == 0 ? codes.query_max : -codes.query_max)
                      : static_cast<int>(random() % static_cast<unsigned>(2 * codes.query_max + 1)) - codes.query_max);
        }
        std::uniform_real_distribution<float> unit(0.5f, 1.5f);
        std::vector<float> row_scale(row_count), row_error(row_count), row_norm(row_count), handicap(row_count);
        std::vector<float> query_scale(query_count), query_norm(query_count), query_error(query_count),
            floor(query_count);
        std::vector<int32_t> bias(query_count);
        for (size_t i = 0; i < row_count; ++i) {
          row_scale[i] = unit(random);
          row_error[i] = unit(random);
          row_norm[i] = unit(random);
          handicap[i] = unit(random);
        }
        // Expected bounds in double; pairs too near to the floor for float are not judged.
        std::vector<double> bounds(query_count * row_count);
        for (size_t q = 0; q < query_count; ++q) {
          int sum = 0;
          for (size_t d = 0; d < dim_padded; ++d) sum += query_codes[q * dim_padded + d];
          bias[q] = -codes.row_zero * sum;
          query_scale[q] = unit(random);
          query_norm[q] = unit(random);
          query_error[q] = unit(random);
          for (size_t i = 0; i < row_count; ++i) {
            int64_t product = 0;
            for (size_t d = 0; d < dim_padded; ++d) {
              const uint8_t code = row_codes[i / 16 * 16 * dim_padded + d / 4 * 64 + i % 16 * 4 + d % 4];
              product += (static_cast<int>(code) - codes.row_zero) * query_codes[q * dim_padded + d];
            }
            bounds[q * row_count + i] =
                static_cast<double>(product) * static_cast<double>(row_scale[i]) * static_cast<double>(query_scale[q]) -
                static_cast<double>(handicap[i]) +
                static_cast<double>(row_error[i]) * static_cast<double>(query_norm[q]) +
                static_cast<double>(row_norm[i]) * static_cast<double>(query_error[q]);
          }
          floor[q] = static_cast<float>(bounds[q * row_count + row_count / 2]);
        }
        if (query_count > 3) floor[3] = -std::numeric_limits<float>::infinity();
        row_error[5] = std::nanf("");
        handicap[6] = std::numeric_limits<float>::infinity();
        const CodeRows rows{row_codes.data(), groups,          row_scale.data(),
                            row_error.data(), row_norm.data(), handicap.data()};
        const CodeQueries queries{query_codes.data(), query_count,        bias.data(), query_scale.data(),
                                  query_norm.data(),  query_error.data(), floor.data()};
        std::vector<uint16_t> masks(query_count * groups, 0xcccc);
        codes.filter(rows, queries, dim_padded, masks.data());
        for (size_t q = 0; q < query_count; ++q) {
          for (size_t i = 0; i < row_count; ++i) {
            const bool kept = ((masks[q * groups + i / 16] >> (i % 16)) & 1) != 0;
            const double bound = bounds[q * row_count + i];
            if (i == 5) {
              ASSERT_TRUE(kept) << "NaN must be kept";
            } else if (i == 6) {
              ASSERT_EQ(kept, std::isinf(floor[q])) << "an absent row must be dropped";
            } else if (std::abs(bound - static_cast<double>(floor[q])) > 1e-5 * std::abs(bound) + 1e-3) {
              ASSERT_EQ(kept, bound > static_cast<double>(floor[q])) << dim_padded << " query " << q << " row " << i;
            }
          }
        }
      }
    }
  }
}

TEST_P(KernelsTest, ByteDotsAreExactForAllCountsAndGathered) {
  std::mt19937 random(11);
  for (size_t dim : {0, 64, 128, 192, 320, 384, 1024, 32768}) {
    const size_t row_count = dim > 4096 ? 9 : 40;
    const size_t stride = dim + 1;  // rows at odd addresses
    std::vector<int8_t> rows(row_count * stride), query(dim);
    for (int8_t& code : rows) code = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    for (int8_t& code : query) code = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    // The largest magnitudes must not saturate.
    for (size_t d = 0; d < dim; ++d) {
      rows[d] = query[d] < 0 ? -127 : 127;
      rows[stride + d] = query[d] < 0 ? 127 : -127;
      if (d % 3 != 0) query[d] = static_cast<int8_t>(query[d] < 0 ? -127 : 127);
    }
    std::vector<int32_t> expected(row_count);
    for (size_t i = 0; i < row_count; ++i) {
      for (size_t d = 0; d < dim; ++d) expected[i] += int32_t{rows[i * stride + d]} * query[d];
    }
    std::vector<uint32_t> ids(100);
    for (uint32_t& id : ids) id = static_cast<uint32_t>(random() % row_count);
    const auto* base = reinterpret_cast<const std::byte*>(rows.data());
    for (size_t count = 0; count <= row_count; ++count) {
      std::vector<int32_t> out(count + 1, -7);
      table_->bytes.dot({base, stride, count, nullptr}, query.data(), dim, out.data());
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(out[i], expected[i]) << dim << " row " << i;
      ASSERT_EQ(out[count], -7) << "wrote past the end";
    }
    for (size_t count : {1, 3, 4, 5, 8, 11, 12, 100}) {
      std::vector<int32_t> out(count);
      table_->bytes.dot({base, stride, count, ids.data()}, query.data(), dim, out.data());
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(out[i], expected[ids[i]]) << dim << " of " << count;
    }
  }
}

TEST_P(KernelsTest, HalfByteDotsAreExactForAllCountsAndGathered) {
  std::mt19937 random(12);
  for (size_t dim : {0, 64, 128, 192, 256, 320, 384, 1024, 32768}) {
    const size_t row_count = dim > 4096 ? 9 : 30;
    const size_t stride = dim / 2 + 1;
    std::vector<uint8_t> rows(row_count * stride);
    std::vector<int8_t> query(dim);
    for (uint8_t& codes : rows) codes = static_cast<uint8_t>(random());
    for (int8_t& code : query) code = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    // The largest magnitudes must not saturate.
    for (size_t d = 0; d < dim; ++d)
      query[d] = static_cast<int8_t>(d % 5 != 0 ? (dim % 128 == 0 ? 127 : -127) : query[d]);
    std::fill_n(rows.begin(), stride, uint8_t{0xff});
    std::vector<int32_t> expected(row_count);
    for (size_t i = 0; i < row_count; ++i) {
      for (size_t d = 0; d < dim; ++d) {
        const uint8_t pair = rows[i * stride + d / 64 * 32 + d % 32];
        expected[i] += (d % 64 < 32 ? pair & 15 : pair >> 4) * query[d];
      }
    }
    std::vector<uint32_t> ids(100);
    for (uint32_t& id : ids) id = static_cast<uint32_t>(random() % row_count);
    const auto* base = reinterpret_cast<const std::byte*>(rows.data());
    for (size_t count = 0; count <= row_count; ++count) {
      std::vector<int32_t> out(count + 1, -7);
      table_->bytes.half_dot({base, stride, count, nullptr}, query.data(), dim, out.data());
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(out[i], expected[i]) << dim << " row " << i;
      ASSERT_EQ(out[count], -7) << "wrote past the end";
    }
    for (size_t count : {1, 3, 4, 5, 8, 11, 12, 100}) {
      std::vector<int32_t> out(count);
      table_->bytes.half_dot({base, stride, count, ids.data()}, query.data(), dim, out.data());
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(out[i], expected[ids[i]]) << dim << " of " << count;
    }
  }
}

TEST_P(KernelsTest, BitDotsAreExactForAllWidthsAndGathered) {
  std::mt19937_64 random(14);
  for (size_t stride : {0, 64, 128, 192, 1024}) {
    constexpr size_t kRowCount = 40;
    std::vector<std::byte> rows(kRowCount * stride);
    for (std::byte& byte : rows) byte = static_cast<std::byte>(random());
    std::fill_n(rows.begin(), stride, std::byte{0xff});
    std::vector<uint8_t> values(stride * 8);
    for (uint8_t& value : values) value = random() % 3 == 0 ? 15 : static_cast<uint8_t>(random() % 16);
    // The largest sums must not overflow.
    std::fill_n(values.begin(), values.size() / 2, uint8_t{15});
    std::vector<uint8_t> planes(2 * ByteCodeKernels::kBitPlanes * stride);
    PackBitPlanes(values.data(), stride, planes.data());
    std::vector<uint32_t> expected(kRowCount);
    for (size_t i = 0; i < kRowCount; ++i) {
      for (size_t d = 0; d < stride * 8; ++d) {
        if (((static_cast<uint32_t>(rows[i * stride + d / 8]) >> (d % 8)) & 1) != 0) expected[i] += values[d];
      }
    }
    std::vector<uint32_t> ids(100);
    for (uint32_t& id : ids) id = static_cast<uint32_t>(random() % kRowCount);
    for (size_t count : {0, 1, 15, 16, 17, 40}) {
      std::vector<uint32_t> out(count + 1, 7);
      table_->bytes.bit_dot({rows.data(), stride, count, nullptr}, planes.data(), out.data());
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(out[i], expected[i]) << stride << " row " << i;
      ASSERT_EQ(out[count], 7u) << "wrote past the end";
    }
    for (size_t count : {1, 16, 17, 100}) {
      std::vector<uint32_t> out(count);
      table_->bytes.bit_dot({rows.data(), stride, count, ids.data()}, planes.data(), out.data());
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(out[i], expected[ids[i]]) << stride << " of " << count;
    }
  }
}

TEST_P(KernelsTest, HadamardMatchesTheMatrixAndAllLevelsGiveTheSameBits) {
  std::mt19937 random(13);
  for (size_t count = 8; count <= 512; count *= 2) {
    std::vector<float> values(count);
    for (float& value : values) value = std::normal_distribution<float>()(random);
    std::vector<float> ours = values, plain = values;
    table_->hadamard(ours.data(), count);
    KernelsFor(Level::kBaseline)->hadamard(plain.data(), count);
    ASSERT_EQ(ours, plain);
    for (size_t i = 0; i < count; ++i) {
      double expected = 0;
      for (size_t j = 0; j < count; ++j) {
        expected += (std::popcount(i & j) % 2 == 0 ? 1.0 : -1.0) * static_cast<double>(values[j]);
      }
      ASSERT_NEAR(ours[i], expected, 1e-4);
    }
  }
}

TEST_P(KernelsTest, ReadAllDependsOnEveryByte) {
  std::vector<uint8_t> data(1000, 1);
  for (size_t bytes : {0, 1, 63, 64, 129, 1000}) {
    const uint64_t before = table_->read_all(data.data(), bytes);
    for (size_t i = 0; i < bytes; ++i) {
      data[i] ^= 0x40;
      EXPECT_NE(table_->read_all(data.data(), bytes), before) << i << " of " << bytes;
      data[i] ^= 0x40;
    }
  }
}

TEST(KernelChoice, ThePlainLevelIsAlwaysThereAndTheChosenOneIsSupported) {
  ASSERT_NE(KernelsFor(Level::kBaseline), nullptr);
  EXPECT_EQ(KernelsFor(Kernels().level), &Kernels());
  for (Level level : kLevels) {
    const KernelTable* table = KernelsFor(level);
    if (table != nullptr) {
      EXPECT_EQ(table->level, level);
    }
  }
}

TEST(SelectLevelTest, TakesWhatTheProcessorHasAndRefusesTheRest) {
  const std::string before(LevelName(Kernels().level));
  for (const Level level : kLevels) {
    ASSERT_TRUE(SelectLevel("baseline").ok());
    const Status status = SelectLevel(LevelName(level));
    if (KernelsFor(level) != nullptr) {
      EXPECT_TRUE(status.ok()) << status.ToString();
      EXPECT_EQ(Kernels().level, level);
    } else {
      EXPECT_EQ(status.code(), StatusCode::kInvalidParameter);
      EXPECT_TRUE(status.message().starts_with("this processor has no " + std::string(LevelName(level))))
          << status.message();
      EXPECT_EQ(Kernels().level, Level::kBaseline) << "a refused level changes nothing";
    }
  }
  for (const char* wrong : {"", "AVX2", "sse9", "avx"}) {
    EXPECT_TRUE(SelectLevel(wrong).message().starts_with("'" + std::string(wrong) + "' is not one of auto|baseline"));
  }
  ASSERT_TRUE(SelectLevel("auto").ok());
  for (const Level level : kLevels) {
    EXPECT_TRUE(KernelsFor(level) == nullptr || level <= Kernels().level) << "auto is the strongest";
  }
  ASSERT_TRUE(SelectLevel(before).ok());
}

}  // namespace
}  // namespace quiver::simd
