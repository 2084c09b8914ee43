// Lists with product codes against the exact scan as the oracle.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "index/test_graph.h"
#include "index/vector_index.h"

namespace quiver::index {
namespace {

constexpr MetricType kMetrics[] = {MetricType::kL2, MetricType::kIp, MetricType::kCosine};

IndexRecipe PqRecipe(const Table& table, MetricType metric, uint32_t quantizers, uint32_t bits) {
  IndexRecipe recipe = RecipeFor(table, metric);
  recipe.structure = IndexStructure::kLists;
  recipe.codec = IndexCodec::kPq;
  recipe.quantizers = quantizers;
  recipe.code_bits = bits;
  recipe.nlist = 24;
  return recipe;
}

IndexSearchOptions Probe(uint32_t nprobe, size_t k = 10) {
  IndexSearchOptions options = Options(k);
  options.nprobe = nprobe;
  return options;
}

TEST(PqListsTest, CodesFindNearlyAllOnEveryMetricTypeAndShape) {
  for (const DataType type : {DataType::kFloatVector, DataType::kFloat16Vector, DataType::kInt8Vector}) {
    const Table table = Clustered(type, 40, 3000);
    for (const MetricType metric : kMetrics) {
      for (const auto& [quantizers, bits] : {std::pair<uint32_t, uint32_t>{20, 4}, {10, 8}, {7, 4}}) {
        const Opened opened = Build(table, PqRecipe(table, metric, quantizers, bits));
        EXPECT_GE(Recall(*opened.index, table, metric, Probe(24)), 0.95)
            << MetricTypeName(metric) << ", " << quantizers << " codes of " << bits << " bits";
      }
    }
  }
}

TEST(PqListsTest, CodesRuleOutMostRows) {
  const Table table = Clustered(DataType::kFloatVector, 64, 6000);
  const Opened opened = Build(table, PqRecipe(table, MetricType::kL2, 32, 8));
  const FlatQueries queries = table.Queries(MetricType::kL2);
  IndexScratch scratch;
  IndexCounters counters;
  for (size_t q = 0; q < queries.nq(); ++q) {
    Approximate(*opened.index, queries, q, table, {}, Probe(24), scratch, counters);
  }
  EXPECT_GE(counters.code_distances, queries.nq() * 6000);
  EXPECT_LT(counters.exact_distances, queries.nq() * 600);
}

TEST(PqListsTest, RowsTakeTheBytesThatWerePromised) {
  const Table table = Clustered(DataType::kFloatVector, 64, 8000, 0);
  const auto size = [&](uint32_t quantizers, uint32_t bits) {
    IndexRecipe recipe = PqRecipe(table, MetricType::kL2, quantizers, bits);
    recipe.nlist = 1;
    return static_cast<double>(Build(table, recipe).bytes.size());
  };
  // 8,000 rows are 250 blocks; sections are rounded up.
  EXPECT_NEAR(size(32, 8) - size(8, 8), 8000.0 * (32 - 8), 4096);
  EXPECT_NEAR(size(64, 4) - size(16, 4), 8000.0 * (64 - 16) / 2, 4096);
}

TEST(PqListsTest, FiltersOfEverySizeFindWhatExists) {
  const Table table = Clustered(DataType::kFloatVector, 48, 6000, 20);
  for (const uint32_t bits : {4u, 8u}) {
    const Opened opened = Build(table, PqRecipe(table, MetricType::kCosine, 24, bits));
    for (const size_t step : {1, 3, 17, 200, 2000}) {
      std::vector<uint64_t> kept((table.view().rows + 63) / 64, 0);
      RowFilter filter{kept.data(), 0};
      for (size_t row = 0; row < table.view().rows; row += step, ++filter.count) {
        kept[row / 64] |= uint64_t{1} << (row % 64);
      }
      EXPECT_GE(Recall(*opened.index, table, MetricType::kCosine, Probe(24), filter), 0.95) << "one of " << step;
    }
  }
}

TEST(PqListsTest, BatchesFindWhatSingleQueriesFind) {
  const Table table = Clustered(DataType::kFloatVector, 32, 4000, 20);
  for (const MetricType metric : kMetrics) {
    const Opened opened = Build(table, PqRecipe(table, metric, 16, 4));
    const FlatQueries queries = table.Queries(metric);
    std::vector<TopK> results(queries.nq(), TopK(10, metric));
    IndexScratch scratch;
    IndexCounters counters;
    ASSERT_TRUE(opened.index->SearchBatch(queries, table.view(), {}, Probe(8), 0, results, scratch, counters).ok());
    size_t same = 0;
    for (size_t q = 0; q < queries.nq(); ++q) {
      const std::vector<Hit> one = Approximate(*opened.index, queries, q, table, {}, Probe(8), scratch, counters);
      const std::vector<Hit> many = results[q].TakeSorted();
      ASSERT_EQ(one.size(), many.size());
      for (size_t i = 0; i < one.size(); ++i) same += one[i] == many[i] ? 1 : 0;
    }
    // The order of lists moves the limit, so a row at the edge of its bound may be lost by one of them.
    EXPECT_GE(same, queries.nq() * 10 * 95 / 100);
  }
}

TEST(PqListsTest, FewEqualNullAndOddRowsAreTreatedAsInAScan) {
  for (const size_t rows : {0, 1, 3, 40}) {
    Table table = Clustered(DataType::kFloatVector, 16, rows, 4);
    for (size_t i = 0; i < rows; ++i) {
      table.column.AppendNull();
      table.Add(std::vector<float>(16, 0.0f));
      table.Add(std::vector<float>(16, 2.5f));
    }
    if (rows > 0) table.Add(std::vector<float>(16, 1e30f));
    for (const MetricType metric : kMetrics) {
      const Opened opened = Build(table, PqRecipe(table, metric, 16, 8));
      EXPECT_GE(Recall(*opened.index, table, metric, Probe(24, 5)), 0.95) << rows << " " << MetricTypeName(metric);
    }
  }
}

TEST(PqListsTest, SameSeedSameBytesAndThreadsAsGood) {
  const Table table = Clustered(DataType::kFloatVector, 40, 3000);
  const IndexRecipe recipe = PqRecipe(table, MetricType::kL2, 20, 4);
  const Opened one = Build(table, recipe);
  EXPECT_EQ(one.bytes, Build(table, recipe).bytes);
  const Opened three = Build(table, recipe, {.cancelled = {}, .on_progress = {}, .threads = 3});
  EXPECT_GE(Recall(*three.index, table, MetricType::kL2, Probe(24)), 0.95);
}

TEST(PqListsTest, BuildsStopWhenCancelledWhereverTheyAre) {
  const Table table = Clustered(DataType::kFloatVector, 40, 3000, 0);
  const IndexRecipe recipe = PqRecipe(table, MetricType::kL2, 20, 4);
  size_t all = 0;
  BuildControl control;
  control.cancelled = [&] {
    ++all;
    return false;
  };
  ASSERT_TRUE(BuildVectorIndex(recipe, table.view(), control).ok());
  for (const size_t at : {size_t{0}, all / 3, all / 2, all - 2}) {
    size_t asked = 0;
    control.cancelled = [&] { return asked++ >= at; };
    EXPECT_EQ(BuildVectorIndex(recipe, table.view(), control).status().code(), StatusCode::kCancelled) << at;
  }
}

TEST(PqListsTest, DamageIsAnError) {
  const Table table = Clustered(DataType::kFloatVector, 8, 600, 2);
  IndexRecipe recipe = PqRecipe(table, MetricType::kL2, 4, 4);
  recipe.nlist = 3;
  CheckDamage(table, recipe);
}

TEST(PqListsTest, WhatIsNotServedIsAnHonestError) {
  const Table table = Clustered(DataType::kFloatVector, 8, 10, 0);
  for (const auto& [quantizers, bits] : {std::pair<uint32_t, uint32_t>{0, 8}, {9, 8}, {4, 6}, {4, 24}}) {
    const IndexRecipe recipe = PqRecipe(table, MetricType::kL2, quantizers, bits);
    EXPECT_EQ(BuildVectorIndex(recipe, table.view(), {}).status().code(), StatusCode::kIndexNotSupported);
  }
}

}  // namespace
}  // namespace quiver::index
