// Growing lists against the exact scan as the oracle.
#include "index/growing_lists.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "index/test_graph.h"
#include "index/test_growing.h"

namespace quiver::index {
namespace {

using Grown = GrownIndex<GrowingLists>;
constexpr MetricType kMetrics[] = {MetricType::kL2, MetricType::kIp, MetricType::kCosine};

IndexRecipe ListsFor(const Table& table, MetricType metric) {
  IndexRecipe recipe = RecipeFor(table, metric);
  recipe.structure = IndexStructure::kLists;
  recipe.codec = table.type == DataType::kBinaryVector ? IndexCodec::kRaw : IndexCodec::kSq8;
  return recipe;
}

std::unique_ptr<GrowingLists> Make(const Table& table, const IndexRecipe& recipe, size_t sample = 2000,
                                   uint32_t capacity = 100'000) {
  auto lists = GrowingLists::Make(recipe, capacity, First(table, sample));
  EXPECT_TRUE(lists.ok()) << lists.status().ToString();
  return *std::move(lists);
}

Grown Grow(const Table& table, const IndexRecipe& recipe, size_t sample = 2000) {
  return LinkAll(Make(table, recipe, sample), table);
}

IndexSearchOptions Probe(uint32_t nprobe, size_t k = 10) {
  IndexSearchOptions options;
  options.k = k;
  options.nprobe = nprobe;
  return options;
}

/// As many lists as hold nearly all.
IndexSearchOptions Recalling(double recall, size_t k = 10) {
  IndexSearchOptions options;
  options.k = k;
  options.recall = recall;
  return options;
}

/// Those rows of the table that `keeps` keeps.
struct Mask {
  template <typename Keeps>
  Mask(const Table& table, const Keeps& keeps) : bits((table.view().rows + 63) / 64) {
    for (size_t row = 0; row < table.view().rows; ++row) {
      if (!keeps(row)) continue;
      bits[row / 64] |= uint64_t{1} << (row % 64);
      ++count;
    }
  }
  [[nodiscard]] RowFilter filter() const { return {bits.data(), count}; }
  std::vector<uint64_t> bits;
  uint64_t count = 0;
};

TEST(GrowingListsTest, FindsTheNearestOnEveryMetricAndType) {
  for (const DataType type :
       {DataType::kFloatVector, DataType::kFloat16Vector, DataType::kBFloat16Vector, DataType::kInt8Vector}) {
    const Table table = Clustered(type, 40, 6000);
    for (const MetricType metric : kMetrics) {
      const Grown grown = Grow(table, ListsFor(table, metric), 1000);
      EXPECT_GE(Recall(grown, table, metric, Recalling(0.99)), 0.95)
          << DataTypeName(type) << " " << MetricTypeName(metric);
      EXPECT_EQ(Recall(grown, table, metric, Probe(65536)), 1) << "all lists hold all rows";
    }
  }
}

TEST(GrowingListsTest, FindsTheNearestAtSmallAndOddDimensions) {
  for (const size_t dim : {1, 2, 3, 63, 65, 700}) {
    const Table table = Clustered(DataType::kFloatVector, dim, 1500, 10);
    for (const MetricType metric : kMetrics) {
      EXPECT_GE(Recall(Grow(table, ListsFor(table, metric), 500), table, metric, Probe(65536)), dim < 4 ? 0.9 : 0.99)
          << dim << " " << MetricTypeName(metric);
    }
  }
}

TEST(GrowingListsTest, FindsTheNearestBits) {
  for (const MetricType metric : {MetricType::kHamming, MetricType::kJaccard}) {
    const Table table = BinaryClustered(256, 5000);
    const Grown grown = Grow(table, ListsFor(table, metric));
    EXPECT_GT(grown.growing().shape().splits, 30U);
    EXPECT_GE(Recall(grown, table, metric, Recalling(0.99)), 0.95) << MetricTypeName(metric);
    EXPECT_EQ(Recall(grown, table, metric, Probe(65536)), 1) << MetricTypeName(metric);
  }
}

TEST(GrowingListsTest, ListsFollowTheRows) {
  const Table table = Clustered(DataType::kFloatVector, 48, 20'000, 50);
  for (const MetricType metric : kMetrics) {
    Grown grown(Make(table, ListsFor(table, metric)));
    for (const uint32_t rows : {1u, 15u, 700u, 5000u, 20'000u}) {
      ASSERT_TRUE(grown.growing().Link(Paged(table.view()), rows, {}).ok());
      ASSERT_EQ(grown.growing().linked(), rows);
      const Table part = CutTo(table, rows);
      EXPECT_GE(Recall(grown, part, metric, Recalling(0.97)), 0.94) << rows << " " << MetricTypeName(metric);
    }
    const GrowingLists::Shape shape = grown.growing().shape();
    EXPECT_GT(shape.lists, 200U);
    EXPECT_LT(shape.lists, 2000U);
    EXPECT_LE(shape.longest, 400U);
    EXPECT_EQ(shape.lists, 1 + shape.splits - shape.merges);
    EXPECT_GT(grown.memory_bytes(), 20'000U * 68);
    EXPECT_LT(grown.memory_bytes(), 20'000U * 120);
    EXPECT_FALSE(grown.growing().outgrown());
  }
}

TEST(GrowingListsTest, LooksAtFewRowsAndFindsWhatIsAskedFor) {
  const Table table = Clustered(DataType::kFloatVector, 64, 12'000, 100);
  const Grown grown = Grow(table, ListsFor(table, MetricType::kL2));
  double before = 0;
  for (const double recall : {0.8, 0.9, 0.98}) {
    const FlatQueries queries = table.Queries(MetricType::kL2);
    IndexScratch scratch;
    IndexCounters counters;
    for (size_t query = 0; query < queries.nq(); ++query) {
      TopK result(10, MetricType::kL2);
      ASSERT_TRUE(grown.Search(queries, query, table.view(), {}, Recalling(recall), 0, result, scratch, counters).ok());
    }
    const double looked = static_cast<double>(counters.code_distances) / static_cast<double>(queries.nq());
    EXPECT_GE(looked, before);
    EXPECT_LT(looked, 4000) << recall;
    EXPECT_LT(counters.exact_distances, 40 * queries.nq());
    EXPECT_EQ(counters.plans[static_cast<size_t>(SearchPlan::kProbe)], queries.nq());
    before = looked;
    EXPECT_GE(Recall(grown, table, MetricType::kL2, Recalling(recall)), recall - 0.04);
  }
}

TEST(GrowingListsTest, LeavesOutRowsThatAViewDoesNotHave) {
  const Table table = Clustered(DataType::kFloatVector, 32, 6000);
  const Grown grown = Grow(table, ListsFor(table, MetricType::kL2));
  for (const size_t rows : {1000, 3333, 5999}) {
    const Table part = CutTo(table, rows);
    EXPECT_EQ(Recall(grown, part, MetricType::kL2, Probe(65536)), 1) << rows;
  }
}

TEST(GrowingListsTest, ScoresFarMatchesInTheEnd) {
  const Table table = Clustered(DataType::kFloatVector, 16, 20'000, 5);
  const Grown grown = Grow(table, ListsFor(table, MetricType::kL2));
  const FlatQueries queries = table.Queries(MetricType::kL2);
  std::vector<uint32_t> order(table.view().rows);
  std::vector<float> scores(order.size());
  IndexScratch scratch;
  size_t changed = 0;
  for (size_t query = 0; query < queries.nq(); ++query) {
    std::iota(order.begin(), order.end(), 0u);
    ScoreRows(queries, query, table.view(), order, scores.data());
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
    for (size_t matches = 50; matches <= 400; matches += 25) {
      const std::set<uint32_t> far(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(matches));
      const Mask mask(table, [&](size_t row) { return far.contains(static_cast<uint32_t>(row)); });
      IndexCounters counters;
      TopK result(10, MetricType::kL2);
      ASSERT_TRUE(
          grown.Search(queries, query, table.view(), mask.filter(), Probe(1), 0, result, scratch, counters).ok());
      const std::vector<Hit> hits = result.TakeSorted();
      ASSERT_EQ(hits.size(), 10U);
      for (size_t i = 0; i < hits.size(); ++i) EXPECT_EQ(hits[i].score, scores[order[matches - 1 - i]]) << matches;
      // It began with lists, did not look at all of them, and scored all matches.
      const bool lists = counters.expansions > 0 && counters.expansions < grown.growing().shape().lists;
      changed += lists && counters.exact_distances == matches ? 1 : 0;
    }
  }
  EXPECT_GE(changed, queries.nq());
}

TEST(GrowingListsTest, HonoursFiltersOfAnyShare) {
  const Table table = Clustered(DataType::kFloatVector, 32, 10'000, 40);
  for (const MetricType metric : {MetricType::kL2, MetricType::kIp}) {
    const Grown grown = Grow(table, ListsFor(table, metric));
    const double unfiltered = Recall(grown, table, metric, Recalling(0.97));
    for (const double share : {0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 0.99}) {
      std::mt19937 random(7);
      const Mask mask(table, [&](size_t) { return std::uniform_real_distribution<>()(random) < share; });
      EXPECT_GE(Recall(grown, table, metric, Recalling(0.97), mask.filter()), unfiltered - 0.02)
          << share << " " << MetricTypeName(metric);
    }
    const Mask few(table, [&](size_t row) { return table.clusters[row] <= 2; });
    EXPECT_GE(Recall(grown, table, metric, Recalling(0.97), few.filter()), unfiltered - 0.02) << MetricTypeName(metric);
  }
}

TEST(GrowingListsTest, RowsThatAreAllAlikeStayTogether) {
  for (const MetricType metric : kMetrics) {
    const Table table = WithCopies();
    const Grown grown = Grow(table, ListsFor(table, metric));
    EXPECT_GE(grown.growing().shape().longest, 10'000U) << "they cannot be split";
    EXPECT_GE(Recall(grown, table, metric, Recalling(0.99)), 0.95) << MetricTypeName(metric);
    EXPECT_EQ(Recall(grown, table, metric, Probe(65536, 300)), 1) << MetricTypeName(metric);
  }
}

TEST(GrowingListsTest, RowsWithoutACodeAreFoundAllTheSame) {
  const Table table = WithOddRows();
  for (const MetricType metric : kMetrics) {
    const Grown grown = Grow(table, ListsFor(table, metric), 1000);
    EXPECT_GE(Recall(grown, table, metric, Probe(65536)), 0.99) << MetricTypeName(metric);
  }
}

TEST(GrowingListsTest, NoticesThatRowsLieElsewhere) {
  const Table table = ThatMoves();
  const Grown grown = Grow(table, ListsFor(table, MetricType::kL2), 1000);
  EXPECT_TRUE(grown.growing().outgrown());
  EXPECT_FALSE(grown.growing().lengths_differ());
  EXPECT_FALSE(Grow(table, ListsFor(table, MetricType::kL2), 9000).growing().outgrown());
}

TEST(GrowingListsTest, ShortListsAreMerged) {
  // Far groups of a few rows first, then one that all others belong to: lists become long, and the first stay behind.
  std::mt19937 random(8);
  Table table(DataType::kFloatVector, 8);
  for (size_t i = 0; i < 30'000 + 20; ++i) {
    std::vector<float> values = Normal(8, random, 0.1f);
    if (i < 400) values[i % 8] += static_cast<float>(10 + i % 80);
    i < 30'000 ? table.Add(values) : table.AddQuery(values);
  }
  const Grown grown = Grow(table, ListsFor(table, MetricType::kL2), 30'000);
  EXPECT_GT(grown.growing().shape().merges, 0U);
  EXPECT_EQ(Recall(grown, table, MetricType::kL2, Probe(65536)), 1) << "no row is lost";
}

TEST(GrowingListsTest, StopsAtItsCapacityAndWhenCancelled) {
  const Table table = Clustered(DataType::kFloatVector, 8, 600, 5);
  const IndexRecipe recipe = ListsFor(table, MetricType::kL2);
  const std::unique_ptr<GrowingLists> lists = Make(table, recipe, 100, 256);
  size_t asked = 0;
  EXPECT_EQ(lists->Link(Paged(table.view()), 600, [&asked] { return ++asked > 50; }).code(), StatusCode::kCancelled);
  EXPECT_EQ(lists->linked(), 50U);
  ASSERT_TRUE(lists->Link(Paged(table.view()), 600, {}).ok());
  EXPECT_EQ(lists->linked(), 256U);
  IndexRecipe other = recipe;
  other.structure = IndexStructure::kGraph;
  EXPECT_FALSE(GrowingLists::Serves(other));
  EXPECT_EQ(GrowingLists::Make(other, 10, table.view()).status().code(), StatusCode::kIndexNotSupported);
  other = recipe;
  other.dim = 40'000;
  EXPECT_FALSE(GrowingLists::Serves(other));

  IndexScratch scratch;
  IndexCounters counters;
  TopK result(10, MetricType::kL2);
  const FlatQueries queries = table.Queries(MetricType::kL2);
  EXPECT_EQ(lists->Search(257, queries, 0, Paged(table.view()), {}, Probe(4), 0, result, scratch, counters).code(),
            StatusCode::kInternal);
  IndexSearchOptions cancelled = Probe(4);
  cancelled.cancelled = [] { return true; };
  EXPECT_EQ(lists->Search(256, queries, 0, Paged(table.view()), {}, cancelled, 0, result, scratch, counters).code(),
            StatusCode::kCancelled);
}

TEST(GrowingListsTest, IsSearchedWhileItGrows) {
  Table table = Clustered(DataType::kFloatVector, 24, 6000, 30);
  for (size_t i = 0; i < 500; ++i) table.column.Append(std::string(table.view().Bytes(17)));
  const std::unique_ptr<GrowingLists> lists = Make(table, ListsFor(table, MetricType::kCosine));
  SearchWhileLinking(*lists, table, MetricType::kCosine, Recalling(0.99), 0.93);
}

}  // namespace
}  // namespace quiver::index
