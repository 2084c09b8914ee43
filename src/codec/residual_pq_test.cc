// Residual product codes against sums over what the codes stand for.
#include "codec/residual_pq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "simd/kernels.h"
#include "simd/product_kernels.h"

namespace quiver::codec {
namespace {

std::vector<float> Normal(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

ResidualPqCodebook Trained(const std::vector<float>& rows, const ResidualPqShape& shape, size_t threads = 1) {
  KMeansOptions options;
  options.threads = threads;
  auto book = ResidualPqCodebook::Train(rows.data(), rows.size() / shape.runs.dim, shape, options);
  EXPECT_TRUE(book.ok()) << book.status().ToString();
  return *std::move(book);
}

/// Shapes with dimensions that are no multiple of the runs, and numbers of codes that fill no byte.
std::vector<ResidualPqShape> Shapes() {
  std::vector<ResidualPqShape> shapes;
  for (const size_t bits : {4u, 8u}) {
    for (const auto& [dim, quantizers] : {std::pair<size_t, size_t>{1, 1}, {8, 3}, {24, 24}, {33, 5}}) {
      for (const size_t stages : {1u, 2u, 3u}) shapes.push_back({{dim, quantizers, bits}, stages});
    }
  }
  return shapes;
}

std::string Name(const ResidualPqShape& shape) {
  return std::to_string(shape.runs.dim) + " dimensions, " + std::to_string(shape.stages) + " x " +
         std::to_string(shape.runs.quantizers) + " codes of " + std::to_string(shape.runs.bits) + " bits";
}

TEST(ResidualPqTest, ProductsAndNormsAreThoseOfWhatTheCodesStandForOnEveryLevel) {
  const std::string selected(simd::LevelName(simd::Kernels().level));
  for (const ResidualPqShape& shape : Shapes()) {
    const size_t dim = shape.runs.dim;
    constexpr size_t kRows = 40;
    const std::vector<float> rows = Normal(300 * dim, 1);
    const std::vector<float> query = Normal(dim, 2);
    const ResidualPqCodebook book = Trained(rows, shape);
    for (const simd::Level level : simd::kLevels) {
      if (simd::KernelsFor(level) == nullptr) continue;
      ASSERT_TRUE(simd::SelectLevel(simd::LevelName(level)).ok());
      EXPECT_EQ(shape.row_bytes(), (shape.codes() * shape.runs.bits + 7) / 8) << "bytes as promised";
      std::vector<std::byte> codes(kRows * shape.row_bytes(), std::byte{0xff});
      std::vector<float> norms(kRows);
      std::vector<uint32_t> ids(kRows);
      ResidualPqCodebook::Work work;
      for (uint32_t r = 0; r < kRows; ++r) {
        norms[r] = book.Encode(rows.data() + r * dim, codes.data() + r * shape.row_bytes(), work);
        ids[r] = kRows - 1 - r;
      }
      ResidualPqQuery prepared;
      prepared.Prepare(book, query.data());
      std::vector<float> products(kRows);
      simd::Products().sum_rows(prepared.lookup(), shape.row_bytes(), codes.data(), ids.data(), kRows, products.data());
      for (size_t r = 0; r < kRows; ++r) {
        std::vector<float> decoded(dim);
        book.Decode(codes.data() + r * shape.row_bytes(), decoded.data(), work);
        double norm = 0, product = 0;
        for (size_t d = 0; d < dim; ++d) {
          const auto x = static_cast<double>(decoded[d]);
          norm += x * x;
          product += static_cast<double>(query[d]) * x;
        }
        ASSERT_NEAR(norms[r], norm, 1e-4 * (1 + norm)) << Name(shape);
        ASSERT_NEAR(products[kRows - 1 - r], product, 1e-4 * (1 + std::abs(product))) << Name(shape);
      }
    }
  }
  ASSERT_TRUE(simd::SelectLevel(selected).ok());
}

double SquaredError(const ResidualPqCodebook& book, const std::vector<float>& rows) {
  const size_t dim = book.shape().runs.dim;
  std::vector<std::byte> code(book.shape().row_bytes());
  std::vector<float> decoded(dim);
  ResidualPqCodebook::Work work;
  double sum = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i % dim == 0) {
      book.Encode(rows.data() + i, code.data(), work);
      book.Decode(code.data(), decoded.data(), work);
    }
    const auto apart = static_cast<double>(rows[i] - decoded[i % dim]);
    sum += apart * apart;
  }
  return sum;
}

TEST(ResidualPqTest, TheErrorFallsWithEachStage) {
  const std::vector<float> rows = Normal(2000 * 32, 3);
  const std::vector<float> others = Normal(300 * 32, 4);  // that nothing was trained on
  for (const size_t bits : {4u, 8u}) {
    double before = 1e30;
    for (const size_t stages : {1u, 2u, 4u}) {
      const double error = SquaredError(Trained(rows, {{32, 4, bits}, stages}), others);
      EXPECT_LT(error, 0.9 * before) << stages << " stages of " << bits << " bits";
      before = error;
    }
  }
}

TEST(ResidualPqTest, OneStageIsAProductCode) {
  const ResidualPqShape shape{{24, 5, 8}, 1};
  const std::vector<float> rows = Normal(400 * 24, 5);
  const auto plain = PqCodebook::Train(rows.data(), 400, shape.runs, KeyForm::kIp, {});
  ASSERT_TRUE(plain.ok());
  const ResidualPqCodebook book = Trained(rows, shape);
  EXPECT_EQ(book.centres(), std::vector<float>(plain->centres().begin(), plain->centres().end()));
  ResidualPqCodebook::Work work;
  for (size_t r = 0; r < 20; ++r) {
    uint8_t codes[5];
    std::byte code[5];
    plain->Encode(rows.data() + r * 24, codes);
    book.Encode(rows.data() + r * 24, code, work);
    for (size_t j = 0; j < 5; ++j) EXPECT_EQ(static_cast<uint8_t>(code[j]), codes[j]);
  }
}

TEST(ResidualPqTest, TheSameSeedGivesTheSameCentresOnAnyNumberOfThreadsAndBackFromTheSerialForm) {
  const std::vector<float> rows = Normal(1000 * 32, 6);
  const ResidualPqShape shape{{32, 8, 4}, 3};
  const ResidualPqCodebook one = Trained(rows, shape);
  EXPECT_EQ(one.centres(), Trained(rows, shape, 3).centres());
  const std::vector<float> centres = one.centres();
  ASSERT_EQ(centres.size(), shape.centre_values());
  const ResidualPqCodebook back(shape, centres);
  EXPECT_EQ(back.centres(), centres);
  ResidualPqCodebook::Work work;
  std::vector<std::byte> a(shape.row_bytes()), b(shape.row_bytes());
  for (size_t r = 0; r < 20; ++r) {
    one.Encode(rows.data() + r * 32, a.data(), work);
    back.Encode(rows.data() + r * 32, b.data(), work);
    EXPECT_EQ(a, b);
  }
}

TEST(ResidualPqTest, FewRowsAndNoneTrain) {
  const ResidualPqShape shape{{16, 4, 8}, 2};
  for (const size_t count : {0u, 1u, 5u}) {
    const std::vector<float> rows = Normal(count * 16, 7);
    EXPECT_NEAR(SquaredError(Trained(rows, shape), rows), 0, 1e-5);
  }
}

TEST(ResidualPqTest, TrainingCanBeCancelled) {
  const std::vector<float> rows = Normal(400 * 32, 8);
  KMeansOptions options;
  options.cancelled = [] { return true; };
  EXPECT_EQ(ResidualPqCodebook::Train(rows.data(), 400, {{32, 8, 8}, 2}, options).status().code(),
            StatusCode::kCancelled);
}

}  // namespace
}  // namespace quiver::codec
