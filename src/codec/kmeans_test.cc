#include "codec/kmeans.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <vector>

namespace quiver::codec {
namespace {

/// `clusters` Gaussian balls of unit variance around far centres.
std::vector<float> Balls(size_t rows, size_t dim, size_t clusters, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> middles(clusters * dim);
  for (float& value : middles) value = 20 * normal(random);
  std::vector<float> values(rows * dim);
  for (size_t i = 0; i < rows; ++i) {
    const size_t c = random() % clusters;
    for (size_t d = 0; d < dim; ++d) values[i * dim + d] = middles[c * dim + d] + normal(random);
  }
  return values;
}

double Distance(const float* a, const float* b, size_t dim) {
  double sum = 0;
  for (size_t d = 0; d < dim; ++d) {
    sum += (static_cast<double>(a[d]) - static_cast<double>(b[d])) *
           (static_cast<double>(a[d]) - static_cast<double>(b[d]));
  }
  return sum;
}

struct Quality {
  double mean = 0;    ///< squared distance of rows to their centre
  double excess = 0;  ///< of it over the distance to the nearest centre of all
  size_t largest = 0;
};

Quality Measure(const KMeans& means, const std::vector<float>& rows, size_t threads = 1) {
  const size_t dim = means.dim();
  const size_t count = rows.size() / dim;
  std::vector<uint32_t> best(count);
  means.Assign(rows.data(), count, best.data(), threads);
  std::vector<size_t> sizes(means.size());
  Quality quality;
  for (size_t i = 0; i < count; ++i) {
    ++sizes.at(best[i]);
    const double own = Distance(rows.data() + i * dim, means.centres().data() + best[i] * dim, dim);
    quality.mean += own / static_cast<double>(count);
    if (i % 50 != 0) continue;
    double least = own;
    for (size_t c = 0; c < means.size(); ++c) {
      least = std::min(least, Distance(rows.data() + i * dim, means.centres().data() + c * dim, dim));
    }
    quality.excess += (own - least) / static_cast<double>(count) * 50;
  }
  quality.largest = *std::max_element(sizes.begin(), sizes.end());
  return quality;
}

TEST(KMeansTest, FindsTheClusters) {
  constexpr size_t kDim = 12;
  const std::vector<float> rows = Balls(4000, kDim, 20, 1);
  auto means = KMeans::Train(rows.data(), 4000, kDim, {.centres = 40, .iterations = 12, .seed = 3});
  ASSERT_TRUE(means.ok());
  EXPECT_EQ(means->size(), 40u);
  // 20 balls of variance 12 lie some 30 apart: with two centres per ball nearly all are found.
  EXPECT_LT(Measure(*means, rows).mean, 60.0);
}

TEST(KMeansTest, TwoLevelsAreNearlyAsGoodAsOne) {
  constexpr size_t kDim = 16;
  const std::vector<float> rows = Balls(60000, kDim, 400, 2);
  auto means = KMeans::Train(rows.data(), 60000, kDim, {.centres = 1500, .seed = 3});
  ASSERT_TRUE(means.ok());
  EXPECT_EQ(means->size(), 1500u);
  const Quality quality = Measure(*means, rows);
  EXPECT_LT(quality.mean, 20.0);
  EXPECT_LT(quality.excess, 0.02 * quality.mean);
  EXPECT_LT(quality.largest, 60000u / 1500 * 12);
}

TEST(KMeansTest, ThreadsDoNotChangeTheOutcome) {
  constexpr size_t kDim = 8;
  const std::vector<float> rows = Balls(20000, kDim, 50, 4);
  auto one = KMeans::Train(rows.data(), 20000, kDim, {.centres = 1200, .seed = 5, .threads = 1});
  auto two = KMeans::Train(rows.data(), 20000, kDim, {.centres = 1200, .seed = 5, .threads = 2});
  auto other = KMeans::Train(rows.data(), 20000, kDim, {.centres = 1200, .seed = 6, .threads = 1});
  ASSERT_TRUE(one.ok() && two.ok() && other.ok());
  EXPECT_EQ(one->centres(), two->centres());
  EXPECT_NE(one->centres(), other->centres());
  std::vector<uint32_t> a(20000), b(20000);
  one->Assign(rows.data(), 20000, a.data(), 1);
  one->Assign(rows.data(), 20000, b.data(), 3);
  EXPECT_EQ(a, b);
}

TEST(KMeansTest, ServesFewAndEqualRows) {
  const std::vector<float> rows{1, 2, 3, 4};
  for (const size_t count : {0u, 1u, 2u}) {
    auto means = KMeans::Train(rows.data(), count, 2, {.centres = 5});
    ASSERT_TRUE(means.ok());
    EXPECT_EQ(means->size(), std::max<size_t>(count, 1));
    std::vector<uint32_t> best(2, 99);
    means->Assign(rows.data(), 2, best.data(), 1);
    EXPECT_LT(best[0], means->size());
  }
  const std::vector<float> equal(3000 * 4, 0.5f);
  auto means = KMeans::Train(equal.data(), 3000, 4, {.centres = 600});
  ASSERT_TRUE(means.ok());
  for (float value : means->centres()) ASSERT_EQ(value, 0.5f);
}

TEST(KMeansTest, CrowdedPlacesGetMoreCentres) {
  // 90 % of the rows lie in one ball; its centres must not stay a handful.
  constexpr size_t kDim = 4;
  std::vector<float> rows = Balls(27000, kDim, 1, 7);
  const std::vector<float> others = Balls(3000, kDim, 100, 8);
  rows.insert(rows.end(), others.begin(), others.end());
  auto means = KMeans::Train(rows.data(), 30000, kDim, {.centres = 300, .seed = 9});
  ASSERT_TRUE(means.ok());
  EXPECT_LT(Measure(*means, rows).largest, 30000u / 300 * 6);
}

TEST(KMeansTest, RowsWithNanGoSomewhere) {
  std::vector<float> rows = Balls(2000, 4, 10, 1);
  auto means = KMeans::Train(rows.data(), 2000, 4, {.centres = 30});
  ASSERT_TRUE(means.ok());
  rows[1] = std::numeric_limits<float>::quiet_NaN();
  std::vector<uint32_t> best(2000, 99);
  means->Assign(rows.data(), 2000, best.data(), 1);
  EXPECT_EQ(best[0], 0u);
}

TEST(KMeansTest, CanBeCancelledAndReportsProgress) {
  const std::vector<float> rows = Balls(20000, 8, 50, 4);
  std::vector<double> shares;
  ASSERT_TRUE(KMeans::Train(rows.data(), 20000, 8,
                            {.centres = 500, .on_progress = [&](double share) { shares.push_back(share); }})
                  .ok());
  ASSERT_FALSE(shares.empty());
  EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
  EXPECT_DOUBLE_EQ(shares.back(), 1.0);
  std::atomic<int> asked{0};
  const auto result = KMeans::Train(rows.data(), 20000, 8, {.centres = 500, .cancelled = [&] { return ++asked > 3; }});
  EXPECT_EQ(result.status().code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace quiver::codec
