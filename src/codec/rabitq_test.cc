#include "codec/rabitq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "simd/kernels.h"

namespace quiver::codec {
namespace {

struct Case {
  std::vector<float> centre, query;
  std::vector<std::vector<float>> rows;
};

Case MakeCase(size_t dim, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const auto draw = [&](float size) {
    std::vector<float> values(dim);
    for (float& value : values) value = size * normal(random);
    return values;
  };
  Case made{draw(3), {}, {}};
  made.query = draw(1);
  for (size_t d = 0; d < dim; ++d) made.query[d] += made.centre[d];
  for (size_t r = 0; r < 32; ++r) made.rows.push_back(draw(1));  // residuals
  return made;
}

double ExactKey(KeyForm form, const Case& made, size_t row) {
  double key = 0;
  for (size_t d = 0; d < made.query.size(); ++d) {
    const double o = static_cast<double>(made.centre[d]) + static_cast<double>(made.rows[row][d]);
    const double q = made.query[d];
    key += form == KeyForm::kL2 ? (q - o) * (q - o) : -q * o;
  }
  return key;
}

/// Estimates must lie within their bounds nearly always, and get better with every bit.
TEST(RabitqTest, EstimatesLieWithinTheirBounds) {
  for (const KeyForm form : {KeyForm::kL2, KeyForm::kIp}) {
    for (const size_t dim : {64u, 384u}) {
      double last = 1e30;
      for (size_t bits = 1; bits <= 8; ++bits) {
        const RabitqShape shape{dim, bits};
        double squares = 0;
        size_t outside = 0, lost = 0, all = 0;
        for (unsigned seed = 0; seed < 20; ++seed) {
          const Case made = MakeCase(dim, seed);
          RabitqEncoder encoder(shape, form);
          std::vector<float> residuals;
          std::vector<uint32_t> ids;
          for (const auto& row : made.rows) {
            ids.push_back(static_cast<uint32_t>(ids.size() + 100));
            residuals.insert(residuals.end(), row.begin(), row.end());
          }
          std::vector<std::byte> block(shape.block_bytes()), rows(32 * shape.row_bytes());
          encoder.EncodeBlock(residuals.data(), 32, made.centre.data(), ids.data(), block.data(), rows.data());
          RabitqQuery query;
          query.Prepare(shape, made.query.data());
          double base = 0, reach2 = 0;
          for (size_t d = 0; d < dim; ++d) {
            const double q = made.query[d], c = made.centre[d];
            reach2 += (q - c) * (q - c);
            base += form == KeyForm::kL2 ? (q - c) * (q - c) : -q * c;
          }
          const double reach = std::sqrt(reach2);
          const simd::ListKernels& kernels = *simd::Kernels().lists;
          for (uint32_t r = 0; r < 32; ++r) {
            RowFactors factors;
            const std::byte* at = rows.data() + r * shape.row_bytes();
            std::memcpy(&factors, at, sizeof(factors));
            ASSERT_EQ(factors.id, r + 100);
            int32_t dot = 0;
            kernels.dot_codes[bits](rows.data() + RabitqShape::kRowFactorBytes, shape.row_bytes(), &r, 1,
                                    query.codes.data(), dim, &dot);
            const double product = static_cast<double>(query.step) * dot + static_cast<double>(query.shift);
            const double key = base + static_cast<double>(factors.add) + static_cast<double>(factors.mul) * product;
            const double error = 3 * static_cast<double>(factors.error) * reach -
                                 3 * static_cast<double>(factors.mul * query.code_error * encoder.spread().code_norm);
            const double exact = ExactKey(form, made, r);
            ++all;
            squares += (key - exact) * (key - exact);
            outside += std::abs(key - exact) > error ? 1 : 0;
            // The first look may not drop a row at its exact key.
            simd::BitQuery bit{query.lookup.data(), dim / 4, query.scale, 0, 0};
            const double slack = 3 * (static_cast<double>(encoder.spread().sign_error) * reach +
                                      static_cast<double>(query.lookup_error));
            bit.offset = query.offset + static_cast<float>(slack);
            bit.limit = static_cast<float>(exact - base);
            uint32_t mask = 0;
            kernels.scan_bits(bit, block.data(), shape.block_bytes(), 1, nullptr, &mask);
            lost += ((mask >> r) & 1) == 0 ? 1 : 0;
          }
        }
        EXPECT_LE(outside, all / 50) << "bits " << bits << " dim " << dim;
        EXPECT_LE(lost, all / 50) << "bits " << bits << " dim " << dim;
        if (bits <= 6) {  // beyond, rounding the query weighs as much as the code
          EXPECT_LT(squares, 0.7 * last) << "bits " << bits << " dim " << dim;
        }
        last = squares;
      }
    }
  }
}

TEST(RabitqTest, MissingRowsAreNeverKeptAndRowsAtTheCentreAreExact) {
  const RabitqShape shape{64, 7};
  Case made = MakeCase(64, 1);
  RabitqEncoder encoder(shape, KeyForm::kL2);
  const std::vector<float> zero(64, 0.0f);
  const uint32_t id = 5;
  std::vector<std::byte> block(shape.block_bytes()), rows(32 * shape.row_bytes());
  encoder.EncodeBlock(zero.data(), 1, made.centre.data(), &id, block.data(), rows.data());
  RowFactors factors;
  std::memcpy(&factors, rows.data(), sizeof(factors));
  EXPECT_EQ(factors.add, 0.0f);
  EXPECT_EQ(factors.mul, 0.0f);
  EXPECT_EQ(factors.error, 0.0f);
  RabitqQuery query;
  query.Prepare(shape, made.query.data());
  const simd::BitQuery bit{query.lookup.data(), 16, query.scale, query.offset, 3e38f};
  uint32_t mask = 0;
  simd::Kernels().lists->scan_bits(bit, block.data(), shape.block_bytes(), 1, nullptr, &mask);
  EXPECT_EQ(mask, 1u);
}

}  // namespace
}  // namespace quiver::codec
