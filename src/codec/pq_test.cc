// Product codes against sums over what the codes stand for.
#include "codec/pq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "simd/kernels.h"

namespace quiver::codec {
namespace {

std::vector<float> Normal(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

PqCodebook Trained(const std::vector<float>& rows, const PqShape& shape, KeyForm form, size_t threads = 1) {
  KMeansOptions options;
  options.threads = threads;
  auto book = PqCodebook::Train(rows.data(), rows.size() / shape.dim, shape, form, options);
  EXPECT_TRUE(book.ok()) << book.status().ToString();
  return *std::move(book);
}

/// What a code stands for.
std::vector<float> Decoded(const PqCodebook& book, const uint8_t* codes) {
  std::vector<float> values(book.shape().dim);
  book.Decode(codes, values.data());
  return values;
}

TEST(PqTest, KeysAreThoseOfWhatTheCodesStandForOnEveryLevel) {
  const std::string selected(simd::LevelName(simd::Kernels().level));
  for (const simd::Level level : simd::kLevels) {
    if (simd::KernelsFor(level) == nullptr) continue;
    ASSERT_TRUE(simd::SelectLevel(simd::LevelName(level)).ok());
    for (const size_t bits : {4u, 8u}) {
      for (const auto& [dim, quantizers] : {std::pair<size_t, size_t>{8, 1}, {8, 8}, {64, 5}, {64, 16}, {96, 33}}) {
        for (const KeyForm form : {KeyForm::kL2, KeyForm::kIp}) {
          const PqShape shape{dim, quantizers, bits};
          const std::vector<float> rows = Normal(300 * dim, 1);
          const PqCodebook book = Trained(rows, shape, form);
          constexpr size_t kBlocks = 3;
          constexpr size_t kRows = 70;  // of 96 places
          std::vector<uint8_t> codes(kRows * quantizers);
          for (size_t r = 0; r < kRows; ++r) book.Encode(rows.data() + r * dim, codes.data() + r * quantizers);
          std::vector<std::byte> blocks(kBlocks * shape.block_bytes());
          for (size_t b = 0; b < kBlocks; ++b) {
            PackPqBlock(shape, codes.data() + b * 32 * quantizers, std::min<size_t>(32, kRows - b * 32),
                        blocks.data() + b * shape.block_bytes());
          }
          const std::vector<float> query = Normal(dim, 2);
          PqQuery prepared;
          prepared.Prepare(book, query.data());
          std::vector<float> keys(kBlocks * 32);
          prepared.Keys(blocks.data(), kBlocks, nullptr, keys.data());
          double squares = 0;
          for (size_t r = 0; r < kRows; ++r) {
            const std::vector<float> decoded = Decoded(book, codes.data() + r * quantizers);
            double expected = 0;
            for (size_t d = 0; d < dim; ++d) {
              const auto q = static_cast<double>(query[d]);
              const auto x = static_cast<double>(decoded[d]);
              expected += form == KeyForm::kL2 ? (q - x) * (q - x) : -q * x;
            }
            const double apart = static_cast<double>(keys[r]) - expected;
            squares += apart * apart;
            // Rounding has no tails: half a step for each run.
            const double most =
                static_cast<double>(prepared.rounding()) * std::sqrt(3.0 * static_cast<double>(quantizers));
            ASSERT_LE(std::abs(apart), most + 1e-3) << bits << " bits, " << quantizers << " runs, row " << r;
          }
          const double deviation = std::sqrt(squares / kRows);
          EXPECT_LE(deviation, 2 * static_cast<double>(prepared.rounding()) + 1e-3);
        }
      }
    }
  }
  ASSERT_TRUE(simd::SelectLevel(selected).ok());
}

TEST(PqTest, CodesTakeTheNearestCentreAndSayHowFarItIs) {
  const PqShape shape{24, 7, 8};
  const std::vector<float> rows = Normal(500 * 24, 3);
  const PqCodebook book = Trained(rows, shape, KeyForm::kIp);
  std::vector<uint8_t> codes(7);
  for (size_t r = 0; r < 50; ++r) {
    const float* row = rows.data() + r * 24;
    const float error = book.Encode(row, codes.data());
    double least = 0;
    for (size_t j = 0; j < 7; ++j) {
      double best = 1e30;
      for (size_t c = 0; c < 256; ++c) {
        const float* centre = book.centres().data() + shape.begin(j) * 256 + c * shape.length(j);
        double distance = 0;
        for (size_t d = 0; d < shape.length(j); ++d) {
          const auto apart = static_cast<double>(row[shape.begin(j) + d] - centre[d]);
          distance += apart * apart;
        }
        best = std::min(best, distance);
      }
      least += best;
    }
    EXPECT_NEAR(error, least, 1e-4);
  }
}

TEST(PqTest, MoreBytesErrLess) {
  const std::vector<float> rows = Normal(3000 * 64, 4);
  double before = 1e30;
  for (const auto& [quantizers, bits] : {std::pair<size_t, size_t>{8, 4}, {16, 4}, {16, 8}, {32, 8}}) {
    const PqShape shape{64, quantizers, bits};
    EXPECT_EQ(shape.block_bytes(), 32 * quantizers * bits / 8) << "bytes as promised";
    const PqCodebook book = Trained(rows, shape, KeyForm::kL2);
    std::vector<uint8_t> codes(quantizers);
    double error = 0;
    for (size_t r = 0; r < 500; ++r) error += static_cast<double>(book.Encode(rows.data() + r * 64, codes.data()));
    EXPECT_LT(error, 0.9 * before);
    before = error;
  }
}

TEST(PqTest, TheSameSeedGivesTheSameCentresOnAnyNumberOfThreads) {
  const std::vector<float> rows = Normal(400 * 32, 5);
  const PqShape shape{32, 8, 4};
  const PqCodebook one = Trained(rows, shape, KeyForm::kL2);
  const PqCodebook three = Trained(rows, shape, KeyForm::kL2, 3);
  EXPECT_TRUE(std::equal(one.centres().begin(), one.centres().end(), three.centres().begin(), three.centres().end()));
}

TEST(PqTest, FewRowsAndNoneTrain) {
  const PqShape shape{16, 4, 8};
  for (const size_t count : {0u, 1u, 5u}) {
    const std::vector<float> rows = Normal(count * 16, 6);
    const PqCodebook book = Trained(rows, shape, KeyForm::kL2);
    std::vector<uint8_t> codes(4);
    for (size_t r = 0; r < count; ++r) EXPECT_NEAR(book.Encode(rows.data() + r * 16, codes.data()), 0, 1e-5);
  }
}

TEST(PqTest, TrainingCanBeCancelled) {
  const std::vector<float> rows = Normal(400 * 32, 7);
  KMeansOptions options;
  options.cancelled = [] { return true; };
  const auto book = PqCodebook::Train(rows.data(), 400, {32, 8, 8}, KeyForm::kL2, options);
  EXPECT_EQ(book.status().code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace quiver::codec
