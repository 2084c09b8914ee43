// Growing graphs against the exact scan as the oracle.
#include "index/growing_graph.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "index/test_graph.h"
#include "index/test_growing.h"

namespace quiver::index {
namespace {

using Grown = GrownIndex<GrowingGraph>;
constexpr MetricType kMetrics[] = {MetricType::kL2, MetricType::kIp, MetricType::kCosine};

std::unique_ptr<GrowingGraph> Make(const Table& table, const IndexRecipe& recipe, size_t sample = 2000,
                                   uint32_t capacity = 100'000) {
  auto graph = GrowingGraph::Make(recipe, capacity, First(table, sample));
  EXPECT_TRUE(graph.ok()) << graph.status().ToString();
  return *std::move(graph);
}

Grown Grow(const Table& table, const IndexRecipe& recipe, size_t sample = 2000) {
  return LinkAll(Make(table, recipe, sample), table);
}

TEST(GrowingGraphTest, FindsTheNearestOnEveryMetricAndType) {
  for (const DataType type :
       {DataType::kFloatVector, DataType::kFloat16Vector, DataType::kBFloat16Vector, DataType::kInt8Vector}) {
    const Table table = Clustered(type, 40, 3000);
    for (const MetricType metric : kMetrics) {
      const Grown grown = Grow(table, RecipeFor(table, metric), 1000);
      EXPECT_GE(Recall(grown, table, metric, Options(10, 100)), 0.97)
          << DataTypeName(type) << " " << MetricTypeName(metric);
    }
  }
}

TEST(GrowingGraphTest, FindsTheNearestAtSmallAndOddDimensions) {
  for (const size_t dim : {1, 2, 3, 63, 65, 700}) {
    const Table table = Clustered(DataType::kFloatVector, dim, 1500, 10);
    for (const MetricType metric : kMetrics) {
      EXPECT_GE(Recall(Grow(table, RecipeFor(table, metric), 500), table, metric, Options(10, 100)),
                dim < 4 ? 0.85 : 0.95)
          << dim << " " << MetricTypeName(metric);
    }
  }
}

TEST(GrowingGraphTest, FindsTheNearestBits) {
  for (const MetricType metric : {MetricType::kHamming, MetricType::kJaccard}) {
    const Table table = BinaryClustered(256, 4000);
    EXPECT_GE(Recall(Grow(table, RecipeFor(table, metric)), table, metric, Options(10, 100)), 0.97)
        << MetricTypeName(metric);
  }
}

TEST(GrowingGraphTest, KeepsItsRecallWhileItGrows) {
  const Table table = Clustered(DataType::kFloatVector, 48, 20'000, 50);
  for (const MetricType metric : kMetrics) {
    Grown grown(Make(table, RecipeFor(table, metric)));
    for (const uint32_t rows : {1u, 15u, 700u, 5000u, 20'000u}) {
      ASSERT_TRUE(grown.growing().Link(Paged(table.view()), rows, {}).ok());
      ASSERT_EQ(grown.growing().linked(), rows);
      const Table part = CutTo(table, rows);
      EXPECT_GE(Recall(grown, part, metric, Options(10, 64)), 0.95) << rows << " " << MetricTypeName(metric);
    }
    EXPECT_EQ(grown.memory_bytes(), 20'000 * GrowingGraph::BytesPerRow(grown.recipe()));
    EXPECT_FALSE(grown.growing().outgrown());
  }
}

TEST(GrowingGraphTest, ReachesTheRecallThatIsAskedFor) {
  const Table table = Clustered(DataType::kFloatVector, 64, 9000, 100);
  const Grown grown = Grow(table, RecipeFor(table, MetricType::kL2));
  // The curve is measured on rows among their neighbours.
  EXPECT_GE(Recall(grown, table, MetricType::kL2, Options(10, 0, 0.9)), 0.88);
  EXPECT_GE(Recall(grown, table, MetricType::kL2, Options(10, 0, 0.99)), 0.97);
}

TEST(GrowingGraphTest, WalksOverRowsThatAViewDoesNotHave) {
  const Table table = Clustered(DataType::kFloatVector, 32, 6000);
  const Grown grown = Grow(table, RecipeFor(table, MetricType::kL2));
  for (const size_t rows : {1000, 3333, 5999}) {
    const Table part = CutTo(table, rows);
    EXPECT_GE(Recall(grown, part, MetricType::kL2, Options(10, 100)), 0.95) << rows;
  }
}

TEST(GrowingGraphTest, HonoursFiltersOfAnyShare) {
  const Table table = Clustered(DataType::kFloatVector, 32, 10'000, 40);
  for (const MetricType metric : {MetricType::kL2, MetricType::kIp}) {
    const Grown grown = Grow(table, RecipeFor(table, metric));
    for (const double share : {0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 0.99}) {
      std::mt19937 random(7);
      std::vector<uint64_t> mask((10'000 + 63) / 64);
      uint64_t count = 0;
      for (size_t row = 0; row < 10'000; ++row) {
        if (std::uniform_real_distribution<>()(random) >= share) continue;
        mask[row / 64] |= uint64_t{1} << (row % 64);
        ++count;
      }
      EXPECT_GE(Recall(grown, table, metric, Options(10, 100), {mask.data(), count}), 0.95)
          << share << " " << MetricTypeName(metric);
    }
    // Of one cluster alone: few rows match around the others.
    std::vector<uint64_t> mask((10'000 + 63) / 64);
    uint64_t count = 0;
    for (size_t row = 0; row < 10'000; ++row) {
      if (table.clusters[row] > 2) continue;
      mask[row / 64] |= uint64_t{1} << (row % 64);
      ++count;
    }
    EXPECT_GE(Recall(grown, table, metric, Options(10, 100), {mask.data(), count}), 0.95) << MetricTypeName(metric);
  }
}

TEST(GrowingGraphTest, EqualVectorsAreOneVertex) {
  for (const MetricType metric : kMetrics) {
    const Table table = WithCopies();
    const Grown grown = Grow(table, RecipeFor(table, metric));
    EXPECT_GE(Recall(grown, table, metric, Options(10, 100)), 0.97) << MetricTypeName(metric);
    EXPECT_GE(Recall(grown, table, metric, Options(300, 400)), 0.95) << MetricTypeName(metric);
    // The first and the last of them, and one row of others.
    std::vector<uint64_t> mask((14'000 + 63) / 64);
    uint64_t count = 0;
    for (size_t row = 0; row < 14'000; ++row) {
      if (row % 16 != 3 && row != 11'999) continue;
      mask[row / 64] |= uint64_t{1} << (row % 64);
      ++count;
    }
    EXPECT_GE(Recall(grown, table, metric, Options(10, 100), {mask.data(), count}), 0.95) << MetricTypeName(metric);
  }
}

TEST(GrowingGraphTest, RowsWithoutACodeAreFoundAllTheSame) {
  const Table table = WithOddRows();
  for (const MetricType metric : kMetrics) {
    const Grown grown = Grow(table, RecipeFor(table, metric), 1000);
    EXPECT_GE(Recall(grown, table, metric, Options(10, 100)), 0.95) << MetricTypeName(metric);
  }
}

TEST(GrowingGraphTest, BeginsWithRowsThatAreAllAlike) {
  for (const MetricType metric : kMetrics) {
    Table table(DataType::kFloatVector, 16);
    for (size_t i = 0; i < 1000; ++i) table.Add(std::vector<float>(16, i < 500 ? 0.0f : 1.0f));
    const Table rest = Clustered(DataType::kFloatVector, 16, 4000, 20);
    for (size_t i = 0; i < 4000; ++i) table.column.Append(std::string(rest.view().Bytes(i)));
    table.query_bytes = rest.query_bytes;
    EXPECT_GE(Recall(Grow(table, RecipeFor(table, metric), 400), table, metric, Options(10, 100)), 0.9)
        << MetricTypeName(metric);
  }
}

TEST(GrowingGraphTest, NoticesThatLengthsDifferAfterAll) {
  std::mt19937 random(5);
  Table table(DataType::kFloatVector, 20);
  for (size_t i = 0; i < 3000 + 20; ++i) {
    std::vector<float> values = Normal(20, random);
    double squares = 0;
    for (const float value : values) squares += static_cast<double>(value) * static_cast<double>(value);
    const double length = i < 1500 || i >= 3000 ? 1 : 1 + 0.5 * std::uniform_real_distribution<>()(random);
    for (float& value : values) value *= static_cast<float>(length / std::sqrt(squares));
    i < 3000 ? table.Add(values) : table.AddQuery(values);
  }
  const IndexRecipe recipe = RecipeFor(table, MetricType::kIp);
  const Grown grown = Grow(table, recipe, 1000);
  EXPECT_TRUE(grown.growing().outgrown());
  EXPECT_TRUE(grown.growing().lengths_differ());
  EXPECT_GE(Recall(grown, table, MetricType::kIp, Options(10, 100)), 0.97) << "strays are scored";
  auto again = GrowingGraph::Make(recipe, 5000, First(table, 1000), true);
  ASSERT_TRUE(again.ok());
  Grown next(*std::move(again));
  ASSERT_TRUE(next.growing().Link(Paged(table.view()), 3000, {}).ok());
  EXPECT_FALSE(next.growing().outgrown());
  EXPECT_EQ(next.growing().strays(), 0U);
  EXPECT_GE(Recall(next, table, MetricType::kIp, Options(10, 100)), 0.95);
}

TEST(GrowingGraphTest, NoticesThatRowsLieElsewhere) {
  const Table table = ThatMoves();
  const Grown grown = Grow(table, RecipeFor(table, MetricType::kL2), 1000);
  EXPECT_TRUE(grown.growing().outgrown());
  EXPECT_FALSE(grown.growing().lengths_differ());
  EXPECT_FALSE(Grow(table, RecipeFor(table, MetricType::kL2), 9000).growing().outgrown());
}

TEST(GrowingGraphTest, StopsAtItsCapacityAndWhenCancelled) {
  const Table table = Clustered(DataType::kFloatVector, 8, 600, 5);
  const IndexRecipe recipe = RecipeFor(table, MetricType::kL2);
  const std::unique_ptr<GrowingGraph> graph = Make(table, recipe, 100, 256);
  size_t asked = 0;
  EXPECT_EQ(graph->Link(Paged(table.view()), 600, [&asked] { return ++asked > 50; }).code(), StatusCode::kCancelled);
  EXPECT_EQ(graph->linked(), 50U);
  ASSERT_TRUE(graph->Link(Paged(table.view()), 600, {}).ok());
  EXPECT_EQ(graph->linked(), 256U);
  EXPECT_EQ(graph->memory_bytes(), 256 * GrowingGraph::BytesPerRow(recipe));
  for (uint32_t row = 0; row < 256; ++row) EXPECT_LE(graph->links(row), 36U);
  IndexRecipe lists = recipe;
  lists.structure = IndexStructure::kLists;
  EXPECT_FALSE(GrowingGraph::Serves(lists));
  EXPECT_EQ(GrowingGraph::Make(lists, 10, table.view()).status().code(), StatusCode::kIndexNotSupported);
}

TEST(GrowingGraphTest, IsSearchedWhileItGrows) {
  Table table = Clustered(DataType::kFloatVector, 24, 6000, 30);
  for (size_t i = 0; i < 500; ++i) table.column.Append(std::string(table.view().Bytes(17)));
  const std::unique_ptr<GrowingGraph> graph = Make(table, RecipeFor(table, MetricType::kCosine));
  SearchWhileLinking(*graph, table, MetricType::kCosine, Options(10, 64), 0.95);
}

}  // namespace
}  // namespace quiver::index
