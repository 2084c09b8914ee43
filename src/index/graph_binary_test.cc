// Graphs over binary vectors, walked by the bits themselves, against the exact scan as the oracle.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "index/test_graph.h"
#include "index/tuning.h"
#include "index/vector_index.h"
#include "simd/kernels.h"

namespace quiver::index {
namespace {

constexpr MetricType kMetrics[] = {MetricType::kHamming, MetricType::kJaccard};

/// Bits of the rows that a filter keeps.
std::vector<uint64_t> Every(size_t rows, size_t step, RowFilter& filter) {
  std::vector<uint64_t> bits((rows + 63) / 64, 0);
  filter.count = 0;
  for (size_t row = 0; row < rows; row += step) {
    bits[row / 64] |= uint64_t{1} << (row % 64);
    ++filter.count;
  }
  filter.bits = bits.data();
  return bits;
}

TEST(BinaryGraphTest, FindsTheNearestOnBothMetrics) {
  for (const MetricType metric : kMetrics) {
    for (const unsigned ones : {50u, 8u}) {
      const Table table = BinaryClustered(256, 4000, 30, ones);
      const Opened opened = Build(table, RecipeFor(table, metric));
      IndexSearchOptions options = Options(10, 60);
      options.walk_only = true;
      EXPECT_GE(Recall(*opened.index, table, metric, options), 0.95) << MetricTypeName(metric) << " " << ones;
      options = Options(100, 200);
      options.walk_only = true;
      EXPECT_GE(Recall(*opened.index, table, metric, options), 0.95) << MetricTypeName(metric) << " " << ones;
    }
  }
}

TEST(BinaryGraphTest, WorksAtEveryWidthAndLevel) {
  const std::string selected(simd::LevelName(simd::Kernels().level));
  for (const simd::Level level : simd::kLevels) {
    if (simd::KernelsFor(level) == nullptr) continue;
    ASSERT_TRUE(simd::SelectLevel(simd::LevelName(level)).ok());
    for (const size_t dim : {8, 16, 24, 72, 128, 520, 4104}) {
      const Table table = BinaryClustered(dim, 800, 10);
      for (const MetricType metric : kMetrics) {
        const Opened opened = Build(table, RecipeFor(table, metric));
        EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 80)), 0.95)
            << dim << " " << MetricTypeName(metric) << " " << simd::LevelName(level);
      }
    }
  }
  ASSERT_TRUE(simd::SelectLevel(selected).ok());
}

TEST(BinaryGraphTest, FiltersKeepTheirRecallAndNeverLoseAnswers) {
  const Table table = BinaryClustered(192, 8000, 20);
  for (const MetricType metric : kMetrics) {
    const Opened opened = Build(table, RecipeFor(table, metric));
    for (const size_t step : {1, 2, 7, 40, 300, 3000, 7999}) {
      RowFilter filter;
      const std::vector<uint64_t> bits = Every(table.view().rows, step, filter);
      EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 80), filter), 0.93)
          << MetricTypeName(metric) << ", one of " << step;
    }
  }
}

TEST(BinaryGraphTest, WalksCompareFarFewerRowsThanThereAre) {
  const Table table = BinaryClustered(512, 20000, 20);
  const Opened opened = Build(table, RecipeFor(table, MetricType::kHamming));
  const FlatQueries queries = table.Queries(MetricType::kHamming);
  IndexScratch scratch;
  IndexCounters counters;
  IndexSearchOptions options = Options(10, 40);
  options.walk_only = true;
  for (size_t q = 0; q < queries.nq(); ++q) {
    Approximate(*opened.index, queries, q, table, {}, options, scratch, counters);
  }
  EXPECT_EQ(counters.plans[static_cast<size_t>(SearchPlan::kWalk)], queries.nq());
  EXPECT_EQ(counters.changed_plans, 0u);
  EXPECT_LT(counters.code_distances, queries.nq() * 4000);
}

TEST(BinaryGraphTest, EmptyFullEqualAndNullRowsAreTreatedAsInAScan) {
  for (const MetricType metric : kMetrics) {
    Table table = BinaryClustered(64, 1500, 5);
    const std::string none(8, '\0');
    const std::string all(8, '\xff');
    const std::string some(table.view().Bytes(3));
    for (size_t i = 0; i < 300; ++i) {
      table.column.AppendNull();
      table.column.Append(none);
      table.column.Append(all);
      table.column.Append(some);
    }
    for (const std::string& query : {none, all, some}) table.query_bytes.push_back(query);
    const Opened opened = Build(table, RecipeFor(table, metric));
    for (const size_t k : {1, 10, 500}) {
      EXPECT_GE(Recall(*opened.index, table, metric, Options(k, 600)), 0.97) << MetricTypeName(metric) << " " << k;
    }
    RowFilter filter;
    const std::vector<uint64_t> bits = Every(table.view().rows, 3, filter);
    EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 100), filter), 0.97) << MetricTypeName(metric);
  }
}

TEST(BinaryGraphTest, TinySetsGiveAllTheyHave) {
  for (const size_t rows : {0, 1, 2, 9, 60}) {
    const Table table = BinaryClustered(40, rows, 3);
    for (const MetricType metric : kMetrics) {
      const Opened opened = Build(table, RecipeFor(table, metric));
      EXPECT_EQ(Recall(*opened.index, table, metric, Options(10)), 1.0) << rows;
    }
  }
}

TEST(BinaryGraphTest, TheRecallAskedForIsReachedByTheMeasuredCurve) {
  const Table table = BinaryClustered(256, 10000, 60);
  for (const MetricType metric : kMetrics) {
    const Opened opened = Build(table, RecipeFor(table, metric));
    ASSERT_TRUE(IsTunable(opened.index->recipe(), table.view().rows));
    const auto tuning = MeasureTuning(*opened.index, table.view(), 0, {});
    ASSERT_TRUE(tuning.ok());
    ASSERT_FALSE(tuning->points().empty());
    EXPECT_GT(tuning->points()[0].recall, 0.3f);
    for (const double recall : {0.9, 0.97}) {
      const IndexSearchOptions options = tuning->Apply(Options(10, 0, recall));
      EXPECT_GT(options.ef, 0u);
      EXPECT_GE(Recall(*opened.index, table, metric, options), recall - 0.03) << MetricTypeName(metric);
    }
    // Without a tuning file the estimate made at the build serves.
    EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 0, 0.95)), 0.85) << MetricTypeName(metric);
  }
}

TEST(BinaryGraphTest, SameSeedGivesTheSameBytesAndThreadsAsGoodAGraph) {
  const Table table = BinaryClustered(128, 5000);
  const IndexRecipe recipe = RecipeFor(table, MetricType::kJaccard);
  const Opened one = Build(table, recipe);
  EXPECT_EQ(one.bytes, Build(table, recipe).bytes);
  const Opened three = Build(table, recipe, {.cancelled = {}, .on_progress = {}, .threads = 3});
  EXPECT_GE(Recall(*three.index, table, MetricType::kJaccard, Options(10, 80)), 0.95);
}

TEST(BinaryGraphTest, BuildsStopWhenCancelled) {
  const Table table = BinaryClustered(128, 3000, 0);
  size_t asked = 0;
  BuildControl control;
  control.cancelled = [&] { return ++asked > 20; };
  const auto built = BuildVectorIndex(RecipeFor(table, MetricType::kHamming), table.view(), control);
  EXPECT_EQ(built.status().code(), StatusCode::kCancelled);
}

TEST(BinaryGraphTest, EveryDamagedByteIsRefusedOrMeansNothing) {
  const Table table = BinaryClustered(64, 400, 2);
  CheckDamage(table, RecipeFor(table, MetricType::kHamming));
}

TEST(BinaryGraphTest, RecipesThatGraphsDoNotServeAreRefused) {
  const Table table = BinaryClustered(64, 10, 0);
  IndexRecipe recipe = RecipeFor(table, MetricType::kSubstructure);
  EXPECT_EQ(BuildVectorIndex(recipe, table.view(), {}).status().code(), StatusCode::kIndexNotSupported);
  recipe = RecipeFor(table, MetricType::kHamming);
  recipe.codec = IndexCodec::kSq8;
  EXPECT_EQ(BuildVectorIndex(recipe, table.view(), {}).status().code(), StatusCode::kIndexNotSupported);
}

}  // namespace
}  // namespace quiver::index
