// Graphs that are walked by product codes, in one stage and in more, against the exact scan.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "index/graph_join.h"
#include "index/growing_graph.h"
#include "index/test_graph.h"
#include "index/vector_index.h"

namespace quiver::index {
namespace {

constexpr MetricType kMetrics[] = {MetricType::kL2, MetricType::kIp, MetricType::kCosine};

IndexRecipe ProductRecipe(const Table& table, MetricType metric, uint32_t quantizers, uint32_t stages, uint32_t bits) {
  IndexRecipe recipe = RecipeFor(table, metric);
  recipe.codec = IndexCodec::kPq;
  recipe.quantizers = quantizers;
  recipe.stages = stages;
  recipe.code_bits = bits;
  return recipe;
}

TEST(GraphPqTest, FindsTheNearestOnEveryMetricWithEveryShape) {
  struct Shape {
    uint32_t quantizers, stages, bits;
  };
  const auto check = [](const Table& table, MetricType metric, const Shape& shape) {
    IndexRecipe recipe = ProductRecipe(table, metric, shape.quantizers, shape.stages, shape.bits);
    recipe.degree = 16;
    recipe.ef_construction = 40;
    const Opened opened = Build(table, recipe);
    SCOPED_TRACE(testing::Message() << MetricTypeName(metric) << " " << shape.stages << " x " << shape.quantizers
                                    << " codes of " << shape.bits << " bits");
    EXPECT_EQ(opened.index->recipe().codec, IndexCodec::kPq);
    EXPECT_EQ(opened.index->recipe().quantizers, shape.quantizers);
    EXPECT_EQ(opened.index->recipe().stages, shape.stages);
    EXPECT_EQ(opened.index->recipe().code_bits, shape.bits);
    // By scans and by walks, with the effort that was measured for its codes and with one that is asked for.
    EXPECT_GE(Recall(*opened.index, table, metric, Options(10)), 0.93);
    IndexSearchOptions options = Options(10);
    options.walk_only = true;
    EXPECT_GE(Recall(*opened.index, table, metric, options), 0.9);
    options.ef = 300;
    EXPECT_GE(Recall(*opened.index, table, metric, options), 0.93);
    EXPECT_GE(Recall(*opened.index, table, metric, Options(100, 400)), 0.9);
  };
  const Table few = Clustered(DataType::kFloatVector, 24, 600);
  for (const MetricType metric : kMetrics) {
    for (const Shape& shape : {Shape{12, 1, 4}, {5, 3, 4}}) check(few, metric, shape);
  }
  check(Clustered(DataType::kFloatVector, 16, 2560, 20), MetricType::kIp, {8, 1, 8});
}

TEST(GraphPqTest, ServesEveryType) {
  for (const DataType type : {DataType::kFloat16Vector, DataType::kBFloat16Vector, DataType::kInt8Vector}) {
    const Table table = Clustered(type, 33, 500);
    const Opened opened = Build(table, ProductRecipe(table, MetricType::kL2, 11, 2, 4));
    EXPECT_EQ(opened.index->recipe().codec, IndexCodec::kPq);
    EXPECT_GE(Recall(*opened.index, table, MetricType::kL2, Options(10)), 0.93) << DataTypeName(type);
  }
}

TEST(GraphPqTest, TakesTheRoomThatItsNamePromises) {
  const Table table = Clustered(DataType::kFloatVector, 64, 1500, 1);
  const auto bytes_of = [&](IndexRecipe recipe) {
    recipe.degree = 8;
    recipe.ef_construction = 16;
    return static_cast<double>(Build(table, recipe).bytes.size());
  };
  const auto with = [&](uint32_t quantizers, uint32_t stages) {
    return bytes_of(ProductRecipe(table, MetricType::kL2, quantizers, stages, 4));
  };
  // 4 bits for each code, and the centres: 16 for each run and stage, so 16 vectors for each stage.
  constexpr double kAligned = 9000;  // sections begin at multiples of 4,096
  const double eight = with(8, 1);
  EXPECT_NEAR(with(56, 1) - eight, 1500 * 24, kAligned);
  EXPECT_NEAR(with(8, 3) - eight, 1500 * 8 + 2 * 16 * 64 * 4, kAligned);
  // In place of 64 bytes, and of 16 beside them: 4 bytes, and 4 beside them.
  EXPECT_NEAR(bytes_of(RecipeFor(table, MetricType::kL2)) - eight, 1500 * 72 - 16 * 64 * 4, 2 * kAligned);
}

TEST(GraphPqTest, ScoresSoManyCandidatesAsTheErrorOfItsCodesAsks) {
  const Table table = Clustered(DataType::kFloatVector, 48, 2000);
  const FlatQueries queries = table.Queries(MetricType::kL2);
  const auto scored = [&](uint32_t quantizers) {
    const Opened opened = Build(table, ProductRecipe(table, MetricType::kL2, quantizers, 1, 4));
    IndexScratch scratch;
    IndexCounters counters;
    IndexSearchOptions options = Options(10, 400);
    options.walk_only = true;
    for (size_t q = 0; q < queries.nq(); ++q)
      (void)Approximate(*opened.index, queries, q, table, {}, options, scratch, counters);
    EXPECT_EQ(counters.plans[static_cast<size_t>(SearchPlan::kWalk)], queries.nq());
    EXPECT_GE(Recall(*opened.index, table, MetricType::kL2, options), 0.95);
    return counters.exact_distances / queries.nq();
  };
  const uint64_t coarse = scored(2);
  const uint64_t fine = scored(48);
  EXPECT_GE(fine, 21u) << "as many as any search";
  EXPECT_LT(3 * fine, 2 * coarse);
  EXPECT_LE(coarse, 400u);
}

TEST(GraphPqTest, FiltersKeepTheirRecallAndNeverLoseAnswers) {
  constexpr size_t kRows = 2000;
  const Table table = Clustered(DataType::kFloatVector, 24, kRows, 15);
  for (const MetricType metric : kMetrics) {
    const Opened opened = Build(table, ProductRecipe(table, metric, 6, 2, 4));
    for (const double share : {0.0002, 0.002, 0.02, 0.1, 0.3, 0.6, 0.95}) {
      std::mt19937 random(7);
      uint64_t count = 0;
      const std::vector<uint64_t> mask =
          MaskOf(kRows, count, [&](size_t) { return static_cast<double>(random() % 10000) < share * 10000; });
      const RowFilter filter{mask.data(), count};
      EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 150), filter), 0.9)
          << MetricTypeName(metric) << " " << share;
      EXPECT_GE(Recall(*opened.index, table, metric, Options(50), filter), 0.9)
          << MetricTypeName(metric) << " " << share;
    }
  }
}

TEST(GraphPqTest, NullZeroEqualAndInfiniteRowsAreTreatedAsInAScan) {
  std::mt19937 random(6);
  Table table(DataType::kFloatVector, 12);
  for (size_t i = 0; i < 1200; ++i) {
    std::vector<float> values = Normal(12, random, i % 3 == 0 ? 0.3f : 1.0f);
    if (i % 10 == 1) {
      table.column.AppendNull();
      continue;
    }
    if (i % 10 == 2) values.assign(12, 0.0f);
    if (i % 10 == 3) values.assign(12, 0.5f);
    if (i % 50 == 4) values[5] = std::numeric_limits<float>::quiet_NaN();
    if (i % 100 == 5) values[5] = std::numeric_limits<float>::infinity();
    if (i % 100 == 6) values[5] = 3e38f;
    table.Add(values);
  }
  for (size_t q = 0; q < 20; ++q) table.AddQuery(Normal(12, random));
  table.AddQuery(std::vector<float>(12, 0.0f));
  table.AddQuery(std::vector<float>(12, 1e37f));
  for (const MetricType metric : kMetrics) {
    const Opened opened = Build(table, ProductRecipe(table, metric, 6, 2, 4));
    EXPECT_EQ(opened.index->recipe().codec, IndexCodec::kPq);
    EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 200)), 0.95) << MetricTypeName(metric);
    EXPECT_GE(Recall(*opened.index, table, metric, Options(1000, 200)), 0.95) << MetricTypeName(metric);
  }
  // Rows enough, and none of them with a vector, or all with one.
  for (const bool null : {true, false}) {
    Table alike(DataType::kFloatVector, 12);
    for (size_t i = 0; i < 400; ++i) {
      if (null) {
        alike.column.AppendNull();
      } else {
        alike.Add(std::vector<float>(12, 0.25f));
      }
    }
    alike.AddQuery(Normal(12, random));
    const Opened opened = Build(alike, ProductRecipe(alike, MetricType::kL2, 6, 2, 4));
    EXPECT_EQ(opened.index->recipe().codec, IndexCodec::kPq);
    EXPECT_EQ(Recall(*opened.index, alike, MetricType::kL2, Options(30)), 1.0);
  }
}

TEST(GraphPqTest, OfTooFewRowsCodesHaveEightBitsForEachDimension) {
  const Table table = Clustered(DataType::kFloatVector, 16, 400, 5);
  const auto codec_of = [&](uint32_t stages, uint32_t bits) {
    const Opened opened = Build(table, ProductRecipe(table, MetricType::kL2, 4, stages, bits));
    EXPECT_GE(Recall(*opened.index, table, MetricType::kL2, Options(10, 60)), 0.97);
    return opened.index->recipe().codec;
  };
  EXPECT_EQ(codec_of(2, 4), IndexCodec::kPq);
  EXPECT_EQ(codec_of(3, 4), IndexCodec::kSq8);
  EXPECT_EQ(codec_of(1, 8), IndexCodec::kSq8);
}

TEST(GraphPqTest, SameSeedOnOneThreadGivesTheSameBytes) {
  const Table table = Clustered(DataType::kFloatVector, 20, 1000);
  const IndexRecipe recipe = ProductRecipe(table, MetricType::kIp, 5, 2, 4);
  EXPECT_EQ(Build(table, recipe).bytes, Build(table, recipe).bytes);
  const Opened many = Build(table, recipe, {.cancelled = {}, .on_progress = {}, .threads = 3});
  EXPECT_GE(Recall(*many.index, table, MetricType::kIp, Options(10, 200)), 0.95);
}

TEST(GraphPqTest, BuildsStopWhenCancelledAtAnyPoint) {
  const Table table = Clustered(DataType::kFloatVector, 16, 400, 1);
  const IndexRecipe recipe = ProductRecipe(table, MetricType::kL2, 4, 2, 4);
  bool finished = false;
  for (int looks = 0; !finished; looks += looks < 40 ? 1 : 17) {
    std::atomic<int> left = looks;
    const auto built =
        BuildVectorIndex(recipe, table.view(), {.cancelled = [&] { return left-- <= 0; }, .on_progress = {}});
    finished = built.ok();
    if (!finished) {
      EXPECT_EQ(built.status().code(), StatusCode::kCancelled);
    }
  }
}

TEST(GraphPqTest, EveryDamagedByteIsRefusedOrMeansNothing) {
  const Table table = Clustered(DataType::kFloatVector, 16, 400, 1);
  CheckDamage(table, ProductRecipe(table, MetricType::kL2, 4, 2, 4));
}

TEST(GraphPqTest, ShapesThatDoNotExistAreRefused) {
  const Table table = Clustered(DataType::kFloatVector, 16, 10, 1);
  for (const auto& [quantizers, stages, bits] :
       {std::tuple<uint32_t, uint32_t, uint32_t>{0, 1, 8}, {17, 1, 8}, {4, 0, 8}, {4, 1, 5}, {4, 100, 8}}) {
    const auto built =
        BuildVectorIndex(ProductRecipe(table, MetricType::kL2, quantizers, stages, bits), table.view(), {});
    EXPECT_EQ(built.status().code(), StatusCode::kIndexNotSupported) << quantizers << " " << stages << " " << bits;
  }
}

TEST(GraphPqTest, LinksAreTakenOverWhateverTheCodes) {
  const Table table = Clustered(DataType::kFloatVector, 24, 600, 20);
  const IndexRecipe products = ProductRecipe(table, MetricType::kL2, 8, 2, 4);
  std::vector<uint32_t> rows(600);
  for (uint32_t row = 0; row < 600; ++row) rows[row] = row;
  // A growing graph of this recipe is compared by eight bits, too.
  auto growing = GrowingGraph::Make(products, 600, table.view());
  ASSERT_TRUE(growing.ok()) << growing.status().ToString();
  ASSERT_TRUE((*growing)->Link({1024, [&](uint32_t) { return table.view(); }}, 600, {}).ok());
  const Opened of_products = Build(table, products);
  const Opened of_bytes = Build(table, RecipeFor(table, MetricType::kL2));
  for (const VectorIndex* sealed :
       {of_products.index.get(), of_bytes.index.get(), static_cast<VectorIndex*>(nullptr)}) {
    const JoinSource sources[] = {
        {.sealed = sealed, .growing = sealed == nullptr ? growing->get() : nullptr, .new_rows = rows}};
    auto joined = JoinGraphs(products, table.view(), sources, {});
    ASSERT_TRUE(joined.ok()) << joined.status().ToString();
    EXPECT_EQ(joined->joined_vertices, 600u);
    auto index = OpenVectorIndex(joined->bytes, "joined.vix");
    ASSERT_TRUE(index.ok());
    EXPECT_EQ((*index)->recipe().codec, IndexCodec::kPq);
    EXPECT_GE(Recall(**index, table, MetricType::kL2, Options(10, 200)), 0.95);
  }
}

}  // namespace
}  // namespace quiver::index
