// Graphs against the exact scan as the oracle.
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "index/test_graph.h"
#include "index/vector_index.h"

namespace quiver::index {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

constexpr MetricType kMetrics[] = {MetricType::kL2, MetricType::kIp, MetricType::kCosine};
constexpr DataType kTypes[] = {DataType::kFloatVector, DataType::kFloat16Vector, DataType::kBFloat16Vector,
                               DataType::kInt8Vector};

TEST(GraphTest, FindsTheNearestOnEveryMetricAndType) {
  for (const DataType type : kTypes) {
    const Table table = Clustered(type, 40, 3000);
    for (const MetricType metric : kMetrics) {
      const Opened opened = Build(table, RecipeFor(table, metric));
      EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 100)), 0.97)
          << DataTypeName(type) << " " << MetricTypeName(metric);
      EXPECT_GT(opened.index->memory_bytes(), 3000u * 64);
    }
  }
}

TEST(GraphTest, ScoresOnlyCandidatesThatTheirCodesLeaveAChance) {
  const Table table = Clustered(DataType::kFloatVector, 64, 1000);
  const Opened opened = Build(table, RecipeFor(table, MetricType::kL2));
  const FlatQueries queries = table.Queries(MetricType::kL2);
  const auto scored = [&](uint32_t refine, double& recall) {
    IndexSearchOptions options = Options(10, 60);
    options.walk_only = true;
    options.refine = refine;
    IndexScratch scratch;
    IndexCounters counters;
    for (size_t q = 0; q < queries.nq(); ++q) {
      TopK result(10, MetricType::kL2);
      EXPECT_TRUE(opened.index->Search(queries, q, table.view(), {}, options, 0, result, scratch, counters).ok());
    }
    recall = Recall(*opened.index, table, MetricType::kL2, options);
    return counters.exact_distances / queries.nq();
  };
  double with_all = 0, with_few = 0;
  EXPECT_EQ(scored(2, with_all), 42u);  // asked for more, it scores them all
  const uint64_t few = scored(1, with_few);
  EXPECT_GE(few, 10u);
  EXPECT_LT(few, 16u);
  EXPECT_GE(with_few, with_all - 0.004);
}

TEST(GraphTest, WorksAtSmallAndLargeDimensions) {
  for (const size_t dim : {1, 2, 3, 64, 65, 1000}) {
    const Table table = Clustered(DataType::kFloatVector, dim, 1000, 10);
    for (const MetricType metric : kMetrics) {
      const Opened opened = Build(table, RecipeFor(table, metric));
      EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 100)), dim < 4 ? 0.85 : 0.95)
          << dim << " " << MetricTypeName(metric);
    }
  }
}

TEST(GraphTest, WorksOnUniformSkewedShiftedAndUnevenData) {
  std::mt19937 random(3);
  constexpr size_t kDim = 32;
  enum { kUniform, kSkewed, kShifted, kUneven, kVeryUneven, kKinds };
  for (int kind = 0; kind < kKinds; ++kind) {
    Table table(DataType::kFloatVector, kDim);
    for (size_t i = 0; i < 3000 + 30; ++i) {
      std::vector<float> values(kDim);
      for (size_t d = 0; d < kDim; ++d) {
        const float normal = std::normal_distribution<float>()(random);
        const float uniform = std::uniform_real_distribution<float>(-1, 1)(random);
        switch (kind) {
          case kUniform: values[d] = uniform; break;
          // A few coordinates hold nearly all of the energy.
          case kSkewed: values[d] = normal * std::pow(0.6f, static_cast<float>(d)) * 100; break;
          case kShifted: values[d] = 1000 + normal; break;
          default: values[d] = normal; break;
        }
      }
      if (kind >= kUneven) {
        const float spread = kind == kUneven ? 1 : 3;
        const float size = std::exp(spread * std::normal_distribution<float>()(random));
        for (float& value : values) value *= size;
      }
      if (i < 3000) {
        table.Add(values);
      } else {
        table.AddQuery(values);
      }
    }
    for (const MetricType metric : kMetrics) {
      // Short vectors are everybody's neighbours and long ones nobody's: by distance no graph does much better.
      const double least = metric == MetricType::kL2 && kind >= kUneven ? 0.5 : 0.93;
      const Opened opened = Build(table, RecipeFor(table, metric));
      EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 200)), least) << kind << " " << MetricTypeName(metric);
    }
  }
}

TEST(GraphTest, DuplicatesDoNotCutTheGraphApart) {
  std::mt19937 random(4);
  for (const MetricType metric : kMetrics) {
    // Many equal rows, and many that differ in the last bit only, among others.
    Table table(DataType::kFloatVector, 24);
    const std::vector<float> same = Normal(24, random);
    for (size_t i = 0; i < 4000; ++i) {
      std::vector<float> values = same;
      if (i % 4 == 1) values[i % 24] = std::nextafter(values[i % 24], 10.0f * static_cast<float>(i % 7));
      if (i % 4 == 2) values = Normal(24, random);
      table.Add(values);
    }
    table.AddQuery(same);
    for (size_t q = 0; q < 20; ++q) table.AddQuery(Normal(24, random));
    const Opened opened = Build(table, RecipeFor(table, metric));
    EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 150)), 0.95) << MetricTypeName(metric);
    EXPECT_GE(Recall(*opened.index, table, metric, Options(500, 600)), 0.95) << MetricTypeName(metric);
  }
}

TEST(GraphTest, TenThousandEqualRowsAreOneVertex) {
  Table table(DataType::kFloatVector, 16);
  for (size_t i = 0; i < 10000; ++i) table.Add(std::vector<float>(16, 0.25f));
  std::mt19937 random(5);
  for (size_t i = 0; i < 50; ++i) table.Add(Normal(16, random));
  table.AddQuery(std::vector<float>(16, 0.25f));
  table.AddQuery(Normal(16, random));
  for (const MetricType metric : kMetrics) {
    const Opened opened = Build(table, RecipeFor(table, metric));
    EXPECT_EQ(Recall(*opened.index, table, metric, Options(100, 100)), 1.0);
    EXPECT_EQ(Recall(*opened.index, table, metric, Options(10049, 100)), 1.0);
    // Ties go to the first rows.
    const FlatQueries queries = table.Queries(metric);
    IndexScratch scratch;
    IndexCounters counters;
    EXPECT_EQ(Approximate(*opened.index, queries, 0, table, {}, Options(20), scratch, counters),
              Exact(queries, 0, table, nullptr, 20));
    EXPECT_LT(counters.exact_distances, 200u) << "equal rows are scored once";
  }
}

TEST(GraphTest, TinySetsGiveAllTheyHave) {
  for (const size_t rows : {0, 1, 2, 3, 9, 10, 11, 40}) {
    const Table table = Clustered(DataType::kFloatVector, 8, rows, 5);
    for (const MetricType metric : kMetrics) {
      const Opened opened = Build(table, RecipeFor(table, metric));
      EXPECT_EQ(opened.index->row_count(), rows);
      EXPECT_EQ(Recall(*opened.index, table, metric, Options(10)), 1.0) << rows;
    }
  }
}

TEST(GraphTest, TheLargestDegreeCostsNoMoreThanThereAreVertices) {
  const Table table = Clustered(DataType::kFloatVector, 8, 200, 5);
  IndexRecipe recipe = RecipeFor(table, MetricType::kL2);
  recipe.degree = 4096;
  const Opened opened = Build(table, recipe);
  EXPECT_LT(opened.bytes.size(), 600'000u);
  EXPECT_EQ(Recall(*opened.index, table, MetricType::kL2, Options(10, 100)), 1.0);
}

TEST(GraphTest, NullZeroAndInfiniteRowsAreTreatedAsInAScan) {
  std::mt19937 random(6);
  Table table(DataType::kFloatVector, 12);
  for (size_t i = 0; i < 2000; ++i) {
    std::vector<float> values = Normal(12, random);
    if (i % 10 == 1) {
      table.column.AppendNull();
      continue;
    }
    if (i % 10 == 2) values.assign(12, 0.0f);
    if (i % 50 == 3) values[5] = kNan;
    if (i % 100 == 4) values[5] = kInfinity;
    if (i % 100 == 5) values[5] = 3e38f;
    if (i % 100 == 6) values.assign(12, 1e-30f);
    table.Add(values);
  }
  for (size_t q = 0; q < 20; ++q) table.AddQuery(Normal(12, random));
  table.AddQuery(std::vector<float>(12, 0.0f));
  for (const MetricType metric : kMetrics) {
    const Opened opened = Build(table, RecipeFor(table, metric));
    EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 100)), 0.97) << MetricTypeName(metric);
    EXPECT_GE(Recall(*opened.index, table, metric, Options(1900, 100)), 0.97) << MetricTypeName(metric);
  }
  // All null.
  Table empty(DataType::kFloatVector, 12);
  for (size_t i = 0; i < 100; ++i) empty.column.AppendNull();
  empty.AddQuery(Normal(12, random));
  const Opened opened = Build(empty, RecipeFor(empty, MetricType::kL2));
  EXPECT_EQ(Recall(*opened.index, empty, MetricType::kL2, Options(10)), 1.0);
}

TEST(GraphTest, QueriesThatCodesCannotHoldAreScannedExactly) {
  Table table = Clustered(DataType::kFloatVector, 16, 500, 0);
  table.AddQuery(std::vector<float>(16, 1e37f));
  std::vector<float> query(16, 1.0f);
  query[3] = kInfinity;
  table.AddQuery(query);
  query[3] = kNan;
  table.AddQuery(query);
  for (const MetricType metric : kMetrics) {
    const Opened opened = Build(table, RecipeFor(table, metric));
    EXPECT_GE(Recall(*opened.index, table, metric, Options(10, 200)), 0.9);
  }
}

TEST(GraphTest, FiltersKeepTheirRecallAndNeverLoseAnswers) {
  constexpr size_t kRows = 20000;
  const Table table = Clustered(DataType::kFloatVector, 24, kRows, 15);
  const Opened opened = Build(table, RecipeFor(table, MetricType::kL2));
  // Far from the first query first: what an unlucky filter keeps.
  const FlatQueries queries = table.Queries(MetricType::kL2);
  std::vector<uint32_t> all(kRows);
  for (uint32_t row = 0; row < kRows; ++row) all[row] = row;
  std::vector<float> distances(kRows);
  ScoreRows(queries, 0, table.view(), all, distances.data());
  std::vector<float> sorted = distances;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  for (const double share : {0.0001, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.999}) {
    std::mt19937 random(7);
    std::vector<std::vector<uint64_t>> masks(3);
    uint64_t counts[3];
    masks[0] =
        MaskOf(kRows, counts[0], [&](size_t) { return static_cast<double>(random() % 100000) < share * 100000; });
    masks[1] = MaskOf(kRows, counts[1], [&](size_t row) { return static_cast<double>(row) < share * kRows; });
    const float border = sorted[static_cast<size_t>(share * kRows)];
    masks[2] = MaskOf(kRows, counts[2], [&](size_t row) { return distances[row] >= border; });
    for (int kind = 0; kind < 3; ++kind) {
      const RowFilter filter{masks[kind].data(), counts[kind]};
      EXPECT_GE(Recall(*opened.index, table, MetricType::kL2, Options(10, 120), filter), 0.93) << share << " " << kind;
      EXPECT_GE(Recall(*opened.index, table, MetricType::kL2, Options(100, 120), filter), 0.85) << share << " " << kind;
    }
  }
}

/// The share of rows that each query of a table keeps, by `kept`(query, row).
double FilteredRecall(const VectorIndex& index, const Table& table, MetricType metric,
                      const IndexSearchOptions& options, const std::function<bool(size_t, size_t)>& kept,
                      IndexCounters& counters) {
  const FlatQueries queries = table.Queries(metric);
  IndexScratch scratch;
  size_t wanted = 0, found = 0;
  for (size_t q = 0; q < queries.nq(); ++q) {
    uint64_t count = 0;
    const std::vector<uint64_t> mask = MaskOf(table.view().rows, count, [&](size_t row) { return kept(q, row); });
    const std::vector<Hit> exact = Exact(queries, q, table, mask.data(), options.k);
    const std::vector<Hit> hits =
        Approximate(index, queries, q, table, {mask.data(), count}, options, scratch, counters);
    EXPECT_EQ(hits.size(), std::min<size_t>(options.k, count));
    for (const Hit& hit : hits) {
      EXPECT_TRUE(kept(q, hit.row));
      found += IsSimilarity(metric) ? hit.score >= exact.back().score : hit.score <= exact.back().score;
    }
    wanted += exact.size();
  }
  return wanted == 0 ? 1.0 : static_cast<double>(found) / static_cast<double>(wanted);
}

TEST(GraphTest, RecallUnderAFilterIsNotBelowTheUnfilteredOne) {
  constexpr size_t kRows = 8000;
  // With sketches, and without.
  for (const size_t dim : {200, 48}) {
    const Table table = Clustered(DataType::kFloatVector, dim, kRows, 25);
    const Opened opened = Build(table, RecipeFor(table, MetricType::kL2));
    const FlatQueries queries = table.Queries(MetricType::kL2);
    // Of each query the place of every row when clusters are ordered by distance: filters keep the nearest clusters
    // first, or the farthest.
    std::vector<uint32_t> all(kRows);
    for (uint32_t row = 0; row < kRows; ++row) all[row] = row;
    std::vector<std::vector<uint32_t>> place(queries.nq(), std::vector<uint32_t>(kRows));
    for (size_t q = 0; q < queries.nq(); ++q) {
      std::vector<float> distances(kRows);
      ScoreRows(queries, q, table.view(), all, distances.data());
      std::map<size_t, std::pair<double, double>> clusters;
      for (const uint32_t row : all) {
        clusters[table.clusters[row]].first += static_cast<double>(distances[row]);
        clusters[table.clusters[row]].second += 1;
      }
      std::vector<double> mean(kRows);
      for (const uint32_t row : all) {
        const auto& [sum, count] = clusters[table.clusters[row]];
        mean[row] = sum / count;
      }
      std::vector<uint32_t> order = all;
      std::sort(order.begin(), order.end(),
                [&](uint32_t a, uint32_t b) { return mean[a] != mean[b] ? mean[a] < mean[b] : a < b; });
      for (uint32_t i = 0; i < kRows; ++i) place[q][order[i]] = i;
    }
    for (const uint32_t ef : {16, 60}) {
      const IndexSearchOptions options = Options(10, ef);
      const double unfiltered = Recall(*opened.index, table, MetricType::kL2, options);
      for (const double share : {0.0001, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.999}) {
        const auto kept = static_cast<uint32_t>(std::lround(share * kRows));
        IndexCounters counters;
        const auto recall = [&](const std::function<bool(size_t, size_t)>& rule) {
          return FilteredRecall(*opened.index, table, MetricType::kL2, options, rule, counters);
        };
        const double random = recall([&](size_t, size_t row) { return row * 7919 % kRows < kept; });
        const double near = recall([&](size_t q, size_t row) { return place[q][row] < kept; });
        const double far = recall([&](size_t q, size_t row) { return place[q][row] >= kRows - kept; });
        // Of 250 rows that are looked for, chance may hide a few.
        constexpr double kChance = 0.016;
        EXPECT_GE(random, unfiltered - kChance) << dim << " ef " << ef << " share " << share;
        EXPECT_GE(near, unfiltered - kChance) << dim << " ef " << ef << " share " << share;
        EXPECT_GE(far, unfiltered - kChance) << dim << " ef " << ef << " share " << share;
        EXPECT_EQ(std::accumulate(std::begin(counters.plans), std::end(counters.plans), uint64_t{0}), 75u);
      }
    }
  }
}

TEST(GraphTest, WalksThatMeetNoMatchesGoOnAsScansAtABoundedCost) {
  constexpr size_t kRows = 10000;
  const Table table = Clustered(DataType::kFloatVector, 200, kRows, 10);
  const Opened opened = Build(table, RecipeFor(table, MetricType::kL2));
  const FlatQueries queries = table.Queries(MetricType::kL2);
  std::vector<uint32_t> all(kRows);
  for (uint32_t row = 0; row < kRows; ++row) all[row] = row;
  std::vector<float> distances(kRows);
  ScoreRows(queries, 0, table.view(), all, distances.data());
  std::vector<float> sorted = distances;
  std::sort(sorted.begin(), sorted.end());
  // The nearer half of all rows is hidden from the query.
  uint64_t count = 0;
  const std::vector<uint64_t> mask =
      MaskOf(kRows, count, [&](size_t row) { return distances[row] > sorted[kRows / 2]; });
  IndexScratch scratch;
  IndexCounters counters;
  const std::vector<Hit> hits =
      Approximate(*opened.index, queries, 0, table, {mask.data(), count}, Options(10, 40), scratch, counters);
  EXPECT_EQ(hits.size(), 10u);
  EXPECT_EQ(counters.plans[static_cast<size_t>(SearchPlan::kWalk)], 1u);
  EXPECT_EQ(counters.changed_plans, 1u);
  // Sketches of all matches and what they leave open, and a walk that was given up early.
  EXPECT_LT(counters.code_distances, count + count / 2);
}

TEST(GraphTest, PlansFollowTheShareThatAFilterKeeps) {
  SetSearchTiming(false);
  constexpr size_t kRows = 10000;
  const Table table = Clustered(DataType::kFloatVector, 200, kRows, 5);
  const Opened opened = Build(table, RecipeFor(table, MetricType::kL2));
  const auto plan_at = [&](size_t one_in) {
    IndexCounters counters;
    FilteredRecall(
        *opened.index, table, MetricType::kL2, Options(10, 20),
        [&](size_t, size_t row) { return row * 7919 % kRows % one_in == 0; }, counters);
    for (size_t plan = 0; plan < kSearchPlans; ++plan) {
      if (counters.plans[plan] == 5) return static_cast<SearchPlan>(plan);
    }
    ADD_FAILURE() << "queries of one filter differ in their plans";
    return SearchPlan::kProbe;
  };
  EXPECT_EQ(plan_at(500), SearchPlan::kScoreMatches);
  EXPECT_LE(plan_at(50), SearchPlan::kScanCodes);
  EXPECT_EQ(plan_at(10), SearchPlan::kScanCodes);
  EXPECT_EQ(plan_at(2), SearchPlan::kWalk);
  SetSearchTiming(true);
}

TEST(GraphTest, AFilterOfNothingFindsNothing) {
  const Table table = Clustered(DataType::kFloatVector, 24, 500, 3);
  const Opened opened = Build(table, RecipeFor(table, MetricType::kL2));
  const std::vector<uint64_t> none(8, 0);
  EXPECT_EQ(Recall(*opened.index, table, MetricType::kL2, Options(10), {none.data(), 0}), 1.0);
}

TEST(GraphTest, FiltersOverDuplicatesAndNullsCountRowsNotVertices) {
  std::mt19937 random(8);
  Table table(DataType::kFloatVector, 8);
  std::vector<std::vector<float>> kinds;
  for (size_t i = 0; i < 300; ++i) kinds.push_back(Normal(8, random));
  for (size_t i = 0; i < 6000; ++i) {
    if (i % 11 == 0) {
      table.column.AppendNull();
    } else {
      table.Add(kinds[random() % kinds.size()]);
    }
  }
  for (size_t q = 0; q < 10; ++q) table.AddQuery(Normal(8, random));
  const Opened opened = Build(table, RecipeFor(table, MetricType::kCosine));
  for (const size_t one_in : {2, 10, 100, 1000}) {
    uint64_t count = 0;
    const std::vector<uint64_t> mask = MaskOf(6000, count, [&](size_t) { return random() % one_in == 0; });
    // Null rows may be set in a filter; they are no answers, and are not waited for.
    EXPECT_GE(Recall(*opened.index, table, MetricType::kCosine, Options(10, 60), {mask.data(), count}), 0.95);
    EXPECT_GE(Recall(*opened.index, table, MetricType::kCosine, Options(200, 60), {mask.data(), count}), 0.95);
  }
}

TEST(GraphTest, SameSeedOnOneThreadGivesTheSameBytes) {
  const Table table = Clustered(DataType::kFloatVector, 20, 2500, 0);
  IndexRecipe recipe = RecipeFor(table, MetricType::kL2);
  const std::string bytes = *BuildVectorIndex(recipe, table.view(), {});
  EXPECT_EQ(bytes, *BuildVectorIndex(recipe, table.view(), {}));
  recipe.seed = 2;
  EXPECT_NE(bytes, *BuildVectorIndex(recipe, table.view(), {}));
}

TEST(GraphTest, ManyThreadsBuildAsGoodAGraph) {
  const Table table = Clustered(DataType::kFloatVector, 32, 5000);
  BuildControl control;
  control.threads = 4;
  const Opened opened = Build(table, RecipeFor(table, MetricType::kL2), control);
  EXPECT_GE(Recall(*opened.index, table, MetricType::kL2, Options(10, 100)), 0.97);
}

TEST(GraphTest, ConcurrentSearchesShareAnIndex) {
  const Table table = Clustered(DataType::kFloatVector, 32, 2000);
  const Opened opened = Build(table, RecipeFor(table, MetricType::kL2));
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] { EXPECT_GE(Recall(*opened.index, table, MetricType::kL2, Options(10, 100)), 0.97); });
  }
}

TEST(GraphTest, BuildsReportProgressAndStopWhenCancelled) {
  const Table table = Clustered(DataType::kFloatVector, 20, 3000, 0);
  const IndexRecipe recipe = RecipeFor(table, MetricType::kL2);
  BuildControl control;
  double last = 0;
  size_t reports = 0;
  control.on_progress = [&](double share) {
    EXPECT_GE(share, last);
    EXPECT_LE(share, 1.0);
    last = share;
    ++reports;
  };
  EXPECT_TRUE(BuildVectorIndex(recipe, table.view(), control).ok());
  EXPECT_EQ(last, 1.0);
  EXPECT_GT(reports, 20u);
  for (const size_t stop_at : {0, 3, 30, 60}) {
    for (const size_t threads : {1, 3}) {
      size_t asked = 0;
      BuildControl stopping;
      stopping.threads = threads;
      stopping.cancelled = [&] { return asked++ >= stop_at; };
      const Result<std::string> bytes = BuildVectorIndex(recipe, table.view(), stopping);
      ASSERT_FALSE(bytes.ok()) << stop_at;
      EXPECT_EQ(bytes.status().code(), StatusCode::kCancelled);
    }
  }
}

TEST(GraphTest, ACancelledSearchSaysSo) {
  const Table table = Clustered(DataType::kFloatVector, 20, 20000, 1);
  const Opened opened = Build(table, RecipeFor(table, MetricType::kL2));
  const FlatQueries queries = table.Queries(MetricType::kL2);
  IndexSearchOptions options = Options(10, 5000);
  options.cancelled = [] { return true; };
  IndexScratch scratch;
  IndexCounters counters;
  TopK result(10, MetricType::kL2);
  EXPECT_EQ(opened.index->Search(queries, 0, table.view(), {}, options, 0, result, scratch, counters).code(),
            StatusCode::kCancelled);
}

TEST(GraphTest, TheRecallAskedForChoosesTheEffort) {
  const Table table = Clustered(DataType::kFloatVector, 64, 20000, 60);
  const Opened opened = Build(table, RecipeFor(table, MetricType::kL2));
  const FlatQueries queries = table.Queries(MetricType::kL2);
  uint64_t before = 0;
  for (const double recall : {0.8, 0.95, 0.999}) {
    EXPECT_GE(Recall(*opened.index, table, MetricType::kL2, Options(10, 0, recall)), recall - 0.04) << recall;
    IndexScratch scratch;
    IndexCounters counters;
    for (size_t q = 0; q < queries.nq(); ++q) {
      (void)Approximate(*opened.index, queries, q, table, {}, Options(10, 0, recall), scratch, counters);
    }
    EXPECT_GT(counters.code_distances, before) << recall;
    before = counters.code_distances;
  }
}

TEST(GraphTest, AnswersAllQueriesOfARequestAndShiftsRowIds) {
  const Table table = Clustered(DataType::kFloatVector, 24, 2000, 8);
  const Opened opened = Build(table, RecipeFor(table, MetricType::kIp));
  const FlatQueries queries = table.Queries(MetricType::kIp);
  IndexScratch scratch;
  IndexCounters counters;
  std::vector<TopK> results(8, TopK(5, MetricType::kIp));
  ASSERT_TRUE(
      opened.index->SearchBatch(queries, table.view(), {}, Options(5, 50), 1000000, results, scratch, counters).ok());
  for (size_t q = 0; q < 8; ++q) {
    std::vector<Hit> one = Approximate(*opened.index, queries, q, table, {}, Options(5, 50), scratch, counters);
    for (Hit& hit : one) hit.row += 1000000;
    EXPECT_EQ(results[q].TakeSorted(), one);
  }
}

TEST(GraphTest, EveryDamagedByteIsRefusedOrMeansNothing) {
  const Table table = Clustered(DataType::kFloatVector, 8, 400, 2);
  CheckDamage(table, RecipeFor(table, MetricType::kL2));
}

TEST(GraphTest, RecipesThatGraphsDoNotServeAreRefused) {
  const Table table = Clustered(DataType::kFloatVector, 8, 10, 0);
  IndexRecipe recipe = RecipeFor(table, MetricType::kL2);
  recipe.codec = IndexCodec::kRabitq;
  EXPECT_EQ(BuildVectorIndex(recipe, table.view(), {}).status().code(), StatusCode::kIndexNotSupported);
  recipe = RecipeFor(table, MetricType::kL2);
  recipe.degree = 0;
  EXPECT_EQ(BuildVectorIndex(recipe, table.view(), {}).status().code(), StatusCode::kIndexNotSupported);
}

}  // namespace
}  // namespace quiver::index
