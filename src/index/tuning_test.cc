// What is measured of indexes: the recall asked for is found by queries that the measuring never saw.
#include "index/tuning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "index/search_measure.h"

namespace quiver::index {
namespace {

constexpr double kBuildSeconds = 1000;
constexpr double kAsked[] = {0.8, 0.9, 0.95, 0.99};

enum class Kind { kClustered, kUniform, kSpread };

/// Rows and queries drawn alike: around 50 centres, evenly from a cube, or from a wide normal distribution of many
/// dimensions of falling size, which is hard to search.
struct DataSet {
  DataSet(Kind kind, size_t dim_in, size_t rows, size_t query_count) : dim(dim_in) {
    std::mt19937 random(17);
    std::normal_distribution<float> normal;
    std::vector<std::vector<float>> centres(50, std::vector<float>(dim));
    for (auto& centre : centres) {
      for (float& value : centre) value = normal(random);
    }
    column = Column::Make(1, DataType::kFloatVector, static_cast<int64_t>(dim));
    std::vector<float> values(dim);
    for (size_t i = 0; i < rows + query_count; ++i) {
      const std::vector<float>& centre = centres[random() % centres.size()];
      for (size_t d = 0; d < dim; ++d) {
        switch (kind) {
          case Kind::kClustered: values[d] = centre[d] + 0.6f * normal(random); break;
          case Kind::kUniform: values[d] = std::uniform_real_distribution<float>(-1, 1)(random); break;
          case Kind::kSpread: values[d] = normal(random) / (1 + 0.05f * static_cast<float>(d)); break;
        }
      }
      std::string bytes(reinterpret_cast<const char*>(values.data()), dim * sizeof(float));
      if (i < rows) {
        column.Append(bytes);
      } else {
        queries.push_back(std::move(bytes));
      }
    }
  }
  [[nodiscard]] ColumnView view() const { return ViewOf(column); }
  [[nodiscard]] MeasureSet Independent(MetricType metric, size_t width) const {
    const std::vector<std::string_view> raw(queries.begin(), queries.end());
    return *ScanNeighbours(*FlatQueries::Make(DataType::kFloatVector, static_cast<int64_t>(dim), metric, raw), view(),
                           width, {});
  }

  size_t dim;
  Column column;
  std::vector<std::string> queries;
};

IndexRecipe RecipeFor(const DataSet& data, IndexStructure structure, IndexCodec codec,
                      MetricType metric = MetricType::kL2) {
  IndexRecipe recipe;
  recipe.structure = structure;
  recipe.codec = codec;
  recipe.dim = static_cast<int64_t>(data.dim);
  recipe.metric = metric;
  recipe.degree = 24;
  recipe.ef_construction = 80;
  return recipe;
}

struct Tuned {
  std::string bytes;
  std::unique_ptr<VectorIndex> index;
  IndexTuning tuning{IndexStructure::kGraph, 0, 0, {}};
};

Tuned Make(const DataSet& data, const IndexRecipe& recipe) {
  Tuned made;
  made.bytes = *BuildVectorIndex(recipe, data.view(), {});
  made.index = *OpenVectorIndex(made.bytes, "test.idx");
  // Time for whole curves also where a sanitizer makes a search ten times as long.
  auto tuning = MeasureTuning(*made.index, data.view(), kBuildSeconds, {});
  EXPECT_TRUE(tuning.ok()) << tuning.status().ToString();
  made.tuning = *std::move(tuning);
  return made;
}

IndexSearchOptions Asking(double recall, size_t k = 10) {
  IndexSearchOptions options;
  options.k = k;
  options.recall = recall;
  return options;
}

TEST(TuningTest, TheRecallAskedForIsFoundByOtherQueries) {
  struct Case {
    Kind kind;
    size_t dim;
    size_t rows;
    IndexStructure structure;
    IndexCodec codec;
    MetricType metric;
  };
  for (const Case& at :
       {Case{Kind::kClustered, 32, 12000, IndexStructure::kGraph, IndexCodec::kSq8, MetricType::kL2},
        Case{Kind::kUniform, 16, 12000, IndexStructure::kGraph, IndexCodec::kSq8, MetricType::kCosine},
        Case{Kind::kSpread, 192, 6000, IndexStructure::kGraph, IndexCodec::kSq8, MetricType::kL2},
        Case{Kind::kClustered, 32, 12000, IndexStructure::kLists, IndexCodec::kRabitq, MetricType::kIp},
        Case{Kind::kUniform, 16, 12000, IndexStructure::kLists, IndexCodec::kRaw, MetricType::kL2},
        Case{Kind::kSpread, 192, 6000, IndexStructure::kLists, IndexCodec::kRabitq, MetricType::kL2}}) {
    const DataSet data(at.kind, at.dim, at.rows, 400);
    const Tuned made = Make(data, RecipeFor(data, at.structure, at.codec, at.metric));
    const MeasureSet queries = data.Independent(at.metric, 100);
    for (const double asked : kAsked) {
      for (const size_t k : {size_t{1}, size_t{10}, size_t{30}, size_t{100}}) {
        const auto found = MeasureSearch(*made.index, data.view(), queries, made.tuning.Apply(Asking(asked, k)));
        ASSERT_TRUE(found.ok());
        // One hit of 250 queries says little: its share differs by some .02 from one set of queries to the next.
        const double doubt = k == 1 ? 2 * found->error : 0.0;
        EXPECT_GE(found->recall + doubt, asked - 0.01)
            << "data " << static_cast<int>(at.kind) << " structure " << static_cast<int>(at.structure) << " k " << k;
      }
    }
  }
}

TEST(TuningTest, ARecallIsNotBoughtDearly) {
  const DataSet data(Kind::kClustered, 32, 12000, 250);
  const MeasureSet queries = data.Independent(MetricType::kL2, 10);
  for (const auto& [structure, codec] :
       {std::pair{IndexStructure::kGraph, IndexCodec::kSq8}, std::pair{IndexStructure::kLists, IndexCodec::kRabitq}}) {
    const Tuned made = Make(data, RecipeFor(data, structure, codec));
    for (const double asked : {0.9, 0.95}) {
      const IndexSearchOptions options = made.tuning.Apply(Asking(asked));
      const uint32_t effort = structure == IndexStructure::kGraph ? options.ef : options.nprobe;
      IndexSearchOptions half;
      (structure == IndexStructure::kGraph ? half.ef : half.nprobe) = std::max(1u, effort / 2);
      if (structure == IndexStructure::kGraph && effort <= 20) continue;  // ten candidates for ten hits: no less
      EXPECT_LT(MeasureSearch(*made.index, data.view(), queries, half)->recall, asked) << effort;
    }
  }
}

TEST(TuningTest, TheRecallAskedForIsFoundUnderFilters) {
  const DataSet data(Kind::kClustered, 32, 12000, 200);
  const std::vector<std::string_view> raw(data.queries.begin(), data.queries.end());
  const FlatQueries queries = *FlatQueries::Make(DataType::kFloatVector, 32, MetricType::kL2, raw);
  for (const auto& [structure, codec] :
       {std::pair{IndexStructure::kGraph, IndexCodec::kSq8}, std::pair{IndexStructure::kLists, IndexCodec::kRabitq}}) {
    const Tuned made = Make(data, RecipeFor(data, structure, codec));
    for (const double share : {0.5, 0.1, 0.02}) {
      std::mt19937 random(5);
      std::vector<uint64_t> mask((data.view().rows + 63) / 64, 0);
      RowFilter filter;
      for (size_t row = 0; row < data.view().rows; ++row) {
        if (std::uniform_real_distribution<>()(random) >= share) continue;
        mask[row / 64] |= uint64_t{1} << (row % 64);
        ++filter.count;
      }
      filter.bits = mask.data();
      std::vector<TopK> truth(queries.nq(), TopK(10, MetricType::kL2));
      FlatScratch flat;
      FlatScan(queries, data.view(), mask.data(), 0, truth, flat);
      std::vector<float> last;
      for (TopK& hits : truth) last.push_back(hits.TakeSorted().back().score);
      for (const double asked : kAsked) {
        IndexScratch scratch;
        IndexCounters counters;
        size_t found = 0;
        for (size_t q = 0; q < queries.nq(); ++q) {
          TopK result(10, MetricType::kL2);
          ASSERT_TRUE(made.index
                          ->Search(queries, q, data.view(), filter, made.tuning.Apply(Asking(asked)), 0, result,
                                   scratch, counters)
                          .ok());
          for (const Hit& hit : result.TakeSorted()) found += hit.score <= last[q] ? 1 : 0;
        }
        EXPECT_GE(static_cast<double>(found) / (10.0 * static_cast<double>(queries.nq())), asked - 0.01)
            << "share " << share << " structure " << static_cast<int>(structure);
      }
    }
  }
}

TEST(TuningTest, AStoredRowIsNoEasierThanANewOne) {
  const DataSet data(Kind::kSpread, 128, 8000, 300);
  const IndexRecipe recipe = RecipeFor(data, IndexStructure::kGraph, IndexCodec::kSq8);
  const Tuned made = Make(data, recipe);
  const MeasureSet strangers = data.Independent(MetricType::kL2, 10);
  const MeasureSet rows = *SampleRows(recipe, data.view(), 300, 10, 3, {});
  MeasureSet unhidden = *ScanNeighbours(*FlatQueries::Make(DataType::kFloatVector, 128, MetricType::kL2,
                                                           [&] {
                                                             std::vector<std::string_view> raw;
                                                             for (const uint32_t row : rows.own)
                                                               raw.push_back(data.view().Bytes(row));
                                                             return raw;
                                                           }()),
                                        data.view(), 10, {});
  IndexSearchOptions options;
  options.ef = 12;
  const auto recall = [&](const MeasureSet& set) {
    return MeasureSearch(*made.index, data.view(), set, options)->recall;
  };
  EXPECT_NEAR(recall(rows), recall(strangers), 0.08);
  EXPECT_GT(recall(unhidden), recall(strangers)) << "what the measuring avoids";
}

TEST(TuningTest, WhatIsSaidInTheTermsOfTheStructureCountsFirst) {
  const std::vector<TuningPoint> points{{10, 10, 1, 0.7f, 0, 1},     {10, 20, 1, 0.875f, 0, 2},
                                        {10, 40, 2, 0.97f, 0, 4},    {10, 80, 2, 0.99f, 0, 8},
                                        {100, 100, 1, 0.875f, 0, 9}, {100, 200, 1, 0.99f, 0, 18}};
  const IndexTuning graph(IndexStructure::kGraph, 5000, 100, points);
  const IndexTuning lists(IndexStructure::kLists, 5000, 100, points);
  IndexSearchOptions options = Asking(0.875);
  EXPECT_EQ(graph.Apply(options).ef, 20U);
  EXPECT_EQ(graph.Apply(options).refine, 1U);
  EXPECT_EQ(lists.Apply(options).nprobe, 20U);
  EXPECT_EQ(lists.Apply(options).ef, 0U);
  options.ef = 33;
  EXPECT_EQ(graph.Apply(options).ef, 33U);
  EXPECT_EQ(lists.Apply(options).nprobe, 20U) << "ef is nothing to lists";
  options.nprobe = 7;
  EXPECT_EQ(lists.Apply(options).nprobe, 7U);
  options = {};
  EXPECT_EQ(graph.Apply(options).ef, 0U) << "no recall, no choice";
}

TEST(TuningTest, EffortGrowsWithTheRecallAndWithTheHits) {
  const std::vector<TuningPoint> points{{10, 10, 1, 0.7f, 0, 1},    {10, 14, 1, 0.69f, 0, 1}, {10, 20, 1, 0.9f, 0, 2},
                                        {10, 40, 1, 0.97f, 0, 4},   {10, 80, 2, 0.99f, 0, 8}, {100, 100, 1, 0.9f, 0, 9},
                                        {100, 200, 1, 0.98f, 0, 18}};
  const IndexTuning tuning(IndexStructure::kGraph, 5000, 100, points);
  uint32_t before = 0;
  for (const double recall : {0.8, 0.85, 0.9, 0.95, 0.97, 0.99, 0.995, 0.999}) {
    uint32_t of_fewer = 0;
    for (const size_t k : {size_t{1}, size_t{10}, size_t{20}, size_t{50}, size_t{100}, size_t{300}, size_t{1000}}) {
      const uint32_t ef = tuning.Apply(Asking(recall, k)).ef;
      EXPECT_GE(ef, k);
      EXPECT_GE(ef, of_fewer) << recall << " " << k;
      of_fewer = ef;
    }
    const uint32_t ef = tuning.Apply(Asking(recall)).ef;
    EXPECT_GT(ef, before) << recall;
    before = ef;
  }
  EXPECT_GE(tuning.Apply(Asking(0.95)).ef, 20U);
  EXPECT_LE(tuning.Apply(Asking(0.95)).ef, 40U);
  EXPECT_LE(tuning.Apply(Asking(0.999)).ef, 320U) << "not without end";
  // Doubt about a point counts against it.
  std::vector<TuningPoint> doubtful = points;
  for (TuningPoint& point : doubtful) point.error = 0.01f;
  EXPECT_GT(IndexTuning(IndexStructure::kGraph, 5000, 100, doubtful).Apply(Asking(0.95)).ef,
            tuning.Apply(Asking(0.95)).ef);
}

TEST(TuningTest, OnePointIsTakenForAStepOnTheWay) {
  const std::vector<TuningPoint> points{{10, 10, 2, 0.9f, 0, 1}};
  const IndexTuning graph(IndexStructure::kGraph, 5000, 100, points);
  EXPECT_EQ(graph.Apply(Asking(0.85)).ef, 10U);
  EXPECT_NEAR(graph.Apply(Asking(0.95)).ef, 20, 1);
  EXPECT_EQ(graph.Apply(Asking(0.95)).refine, 2U);
  EXPECT_EQ(graph.Apply(Asking(0.999)).ef, 40U) << "not beyond all measure";
}

TEST(TuningTest, AFileComesBackAsItWasAndDamageIsSeen) {
  IndexTuning tuning(IndexStructure::kLists, 5000, 100, {{10, 1, 1, 0.5f, 0.01f, 900}, {100, 2, 1, 0.75f, 0, 1000}});
  TriedRecipe tried;
  tried.structure = IndexStructure::kLists;
  tried.codec = IndexCodec::kRabitq;
  tried.code_bits = 7;
  tried.chosen = true;
  tried.cost = 2.5f;
  tuning.SetTried({tried, TriedRecipe{}});
  const std::string bytes = tuning.Serialise();
  const auto read = IndexTuning::Parse(bytes, "x.tune");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->Serialise(), bytes);
  EXPECT_EQ(read->structure(), IndexStructure::kLists);
  EXPECT_EQ(read->rows(), 5000U);
  EXPECT_EQ(read->samples(), 100U);
  ASSERT_EQ(read->points().size(), 2U);
  EXPECT_EQ(read->points()[1].nanoseconds, 1000);
  ASSERT_EQ(read->tried().size(), 2U);
  EXPECT_TRUE(read->tried()[0].chosen);
  EXPECT_FALSE(read->tried()[1].chosen);
  EXPECT_EQ(read->tried()[0].code_bits, 7U);
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    const auto parsed = IndexTuning::Parse(damaged, "x.tune");
    // Between the sections lie zeros that mean nothing.
    if (parsed.ok()) {
      EXPECT_EQ(parsed->Serialise(), bytes) << at;
    }
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(IndexTuning::Parse(std::string_view(bytes).substr(0, size), "x.tune").ok()) << size;
  }
}

TEST(TuningTest, RowsThatAreAllAlikeCanBeMeasured) {
  DataSet data(Kind::kClustered, 8, 0, 1);
  for (size_t row = 0; row < 3000; ++row) data.column.Append(data.queries[0]);
  for (const IndexStructure structure : {IndexStructure::kGraph, IndexStructure::kLists}) {
    const Tuned made = Make(data, RecipeFor(data, structure, IndexCodec::kSq8));
    const auto found =
        MeasureSearch(*made.index, data.view(), data.Independent(MetricType::kL2, 10), made.tuning.Apply(Asking(0.9)));
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->recall, 1);
  }
}

TEST(TuningTest, MeasuringCanBeCancelled) {
  const DataSet data(Kind::kClustered, 16, 4000, 1);
  const IndexRecipe recipe = RecipeFor(data, IndexStructure::kLists, IndexCodec::kRaw);
  const std::string bytes = *BuildVectorIndex(recipe, data.view(), {});
  const auto index = *OpenVectorIndex(bytes, "test.idx");
  for (int looks : {0, 1, 3, 6}) {
    const auto tuning = MeasureTuning(*index, data.view(), 0, [&] { return looks-- == 0; });
    EXPECT_EQ(tuning.status().code(), StatusCode::kCancelled);
  }
}

}  // namespace
}  // namespace quiver::index
