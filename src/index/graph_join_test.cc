// Graphs joined from graphs: against the exact scan, and against graphs built from nothing.
#include "index/graph_join.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "index/growing_graph.h"
#include "index/test_graph.h"

namespace quiver::index {
namespace {

using Drops = std::function<bool(size_t row)>;

/// A table, cut into parts that have graphs of their own, and what is left of it once they are merged.
struct Merge {
  /// `parts`: rows of each; what is beyond them has no graph. `build`: whether the parts get sealed graphs.
  Merge(const Table& table, const IndexRecipe& recipe, const std::vector<size_t>& parts, const Drops& dropped,
        bool build = true)
      : merged(table.type, table.dim) {
    merged.query_bytes = table.query_bytes;
    const ColumnView all = table.view();
    size_t row = 0;
    uint32_t next = 0;
    const auto keep = [&](std::vector<uint32_t>& rows) {
      rows.push_back(dropped(row) ? kNoRow : next++);
      if (rows.back() == kNoRow) return;
      if (all.IsNull(row)) {
        merged.column.AppendNull();
      } else {
        merged.column.Append(all.Bytes(row));
      }
    };
    for (const size_t rows : parts) {
      Table part(table.type, table.dim);
      std::vector<uint32_t>& map = new_rows.emplace_back();
      for (const size_t end = row + rows; row < end; ++row) {
        if (all.IsNull(row)) {
          part.column.AppendNull();
        } else {
          part.column.Append(all.Bytes(row));
        }
        keep(map);
      }
      tables.push_back(std::move(part));
      if (build) graphs.push_back(Build(tables.back(), recipe));
    }
    for (std::vector<uint32_t> rest; row < all.rows; ++row) keep(rest);
    for (size_t i = 0; i < graphs.size(); ++i) {
      sources.push_back({.sealed = graphs[i].index.get(), .growing = nullptr, .new_rows = new_rows[i]});
    }
  }

  Table merged;
  std::vector<Table> tables;
  std::vector<Opened> graphs;
  std::vector<std::vector<uint32_t>> new_rows;
  std::vector<JoinSource> sources;
};

Drops Nothing() {
  return [](size_t) { return false; };
}
Drops Percent(unsigned percent) {
  return [percent](size_t row) { return row * 7919 % 100 < percent; };
}

Opened Open(std::string bytes) {
  Opened opened;
  opened.bytes = std::move(bytes);
  auto index = OpenVectorIndex(opened.bytes, "joined.vix");
  EXPECT_TRUE(index.ok()) << index.status().ToString();
  opened.index = *std::move(index);
  return opened;
}

Opened Join(const Merge& merge, const IndexRecipe& recipe, uint32_t joined_vertices, const BuildControl& control = {}) {
  auto joined = JoinGraphs(recipe, merge.merged.view(), merge.sources, control);
  EXPECT_TRUE(joined.ok()) << joined.status().ToString();
  EXPECT_EQ(joined->joined_vertices, joined_vertices);
  return Open(std::move(joined->bytes));
}

/// Mean recall over several rooms, of walks.
double MeanRecall(const VectorIndex& index, const Table& table, MetricType metric) {
  double sum = 0;
  for (const uint32_t ef : {12U, 24U, 48U}) {
    IndexSearchOptions options = Options(10, ef);
    options.walk_only = true;
    sum += Recall(index, table, metric, options) / 3;
  }
  return sum;
}

constexpr double kSlack = 0.01;  ///< a few hits of some hundred

TEST(GraphJoinTest, IsAsGoodAsAGraphBuiltFromNothing) {
  struct Case {
    std::vector<size_t> parts;
    unsigned percent;
    MetricType metric;
  };
  const Table table = Clustered(DataType::kFloatVector, 32, 1600, 60);
  for (const Case& one : {Case{{400, 400, 400, 400}, 0, MetricType::kL2},
                          {{400, 400, 400, 400}, 50, MetricType::kCosine},
                          {{1300, 100, 100, 100}, 0, MetricType::kCosine},
                          {{1300, 100, 100, 100}, 20, MetricType::kL2},
                          {{1600}, 50, MetricType::kL2}}) {
    const IndexRecipe recipe = RecipeFor(table, one.metric);
    const Merge merge(table, recipe, one.parts, Percent(one.percent));
    const auto rows = static_cast<uint32_t>(merge.merged.column.rows);
    EXPECT_EQ(rows, 16 * (100 - one.percent));
    const Opened joined = Join(merge, recipe, rows);
    const Opened built = Build(merge.merged, recipe);
    EXPECT_GE(MeanRecall(*joined.index, merge.merged, one.metric),
              MeanRecall(*built.index, merge.merged, one.metric) - kSlack)
        << one.parts.size() << " parts, " << one.percent << " % dropped";
  }
}

TEST(GraphJoinTest, RowsThatLieTogetherMayGo) {
  const Table table = Clustered(DataType::kFloatVector, 32, 2000, 60);
  const IndexRecipe recipe = RecipeFor(table, MetricType::kL2);
  const Merge merge(table, recipe, {1000, 1000}, [&](size_t row) { return table.clusters[row] % 2 == 0; });
  const Opened joined = Join(merge, recipe, static_cast<uint32_t>(merge.merged.column.rows));
  const Opened built = Build(merge.merged, recipe);
  EXPECT_GE(MeanRecall(*joined.index, merge.merged, MetricType::kL2),
            MeanRecall(*built.index, merge.merged, MetricType::kL2) - kSlack);
}

TEST(GraphJoinTest, PartsMayLieApart) {
  // Each part has clusters of its own, so that no link of one says anything of the others.
  const Table all = Clustered(DataType::kFloatVector, 24, 2000, 60);
  Table table(all.type, all.dim);
  table.query_bytes = all.query_bytes;
  std::vector<size_t> parts;
  for (size_t part = 0; part < 4; ++part) {
    const size_t before = table.column.rows;
    for (size_t row = 0; row < 2000; ++row) {
      if (all.clusters[row] % 4 == part) table.column.Append(all.view().Bytes(row));
    }
    parts.push_back(table.column.rows - before);
  }
  const IndexRecipe recipe = RecipeFor(table, MetricType::kL2);
  const Merge merge(table, recipe, parts, Nothing());
  const Opened joined = Join(merge, recipe, 2000);
  const Opened built = Build(merge.merged, recipe);
  EXPECT_GE(MeanRecall(*joined.index, merge.merged, MetricType::kL2),
            MeanRecall(*built.index, merge.merged, MetricType::kL2) - kSlack);
}

TEST(GraphJoinTest, ServesProductsOfDifferentLengthsAndBits) {
  std::mt19937 random(7);
  Table uneven(DataType::kFloatVector, 24);
  for (size_t i = 0; i < 1200 + 40; ++i) {
    const std::vector<float> values = Normal(24, random, 1 + static_cast<float>(i % 7));
    i < 1200 ? uneven.Add(values) : uneven.AddQuery(values);
  }
  const Table bits = BinaryClustered(128, 1200, 40);
  const std::pair<const Table*, MetricType> kinds[] = {{&uneven, MetricType::kIp}, {&bits, MetricType::kHamming}};
  for (const auto& [table, metric] : kinds) {
    const IndexRecipe recipe = RecipeFor(*table, metric);
    const Merge merge(*table, recipe, {800, 200, 200}, Percent(30));
    const Opened joined = Join(merge, recipe, static_cast<uint32_t>(merge.merged.column.rows));
    const Opened built = Build(merge.merged, recipe);
    EXPECT_GE(MeanRecall(*joined.index, merge.merged, metric),
              MeanRecall(*built.index, merge.merged, metric) - 2 * kSlack)
        << MetricTypeName(metric);
  }
}

TEST(GraphJoinTest, RowsOfNoGraphEqualRowsAndRowsWithoutCodesAreThere) {
  for (const MetricType metric : {MetricType::kL2, MetricType::kCosine}) {
    std::mt19937 random(8);
    Table table(DataType::kFloatVector, 16);
    const std::vector<float> same = Normal(16, random);
    for (size_t i = 0; i < 2400; ++i) {
      switch (i % 12) {
        case 0: table.Add(same); break;  // in all parts
        case 1: table.column.AppendNull(); break;
        case 2: table.Add(std::vector<float>(16, i % 5 == 0 ? 1e30f : 0.0f)); break;
        default: table.Add(Normal(16, random)); break;
      }
    }
    table.AddQuery(same);
    for (size_t q = 0; q < 30; ++q) table.AddQuery(Normal(16, random));
    const IndexRecipe recipe = RecipeFor(table, metric);
    const Merge merge(table, recipe, {800, 800}, Percent(10));
    auto joined = JoinGraphs(recipe, merge.merged.view(), merge.sources, {});
    ASSERT_TRUE(joined.ok());
    EXPECT_GT(joined->joined_vertices, 900U);
    EXPECT_LT(joined->joined_vertices, 1300U);
    const Opened opened = Open(std::move(joined->bytes));
    EXPECT_GE(Recall(*opened.index, merge.merged, metric, Options(10, 100)), 0.97);
    EXPECT_EQ(Recall(*opened.index, merge.merged, metric, Options(2400)), 1.0) << "every row that has a score";
  }
}

TEST(GraphJoinTest, SameSourcesGiveTheSameBytes) {
  const Table table = Clustered(DataType::kFloatVector, 16, 1500, 20);
  const IndexRecipe recipe = RecipeFor(table, MetricType::kL2);
  const Merge merge(table, recipe, {500, 700}, Percent(20));
  const Opened first = Join(merge, recipe, 960);
  EXPECT_TRUE(first.bytes == Join(merge, recipe, 960).bytes);
  EXPECT_TRUE(first.bytes != Build(merge.merged, recipe).bytes);
  // What was joined is a source like any other.
  std::vector<uint32_t> rows(merge.merged.column.rows);
  for (uint32_t row = 0; row < rows.size(); ++row) rows[row] = row;
  const JoinSource whole[] = {{.sealed = first.index.get(), .growing = nullptr, .new_rows = rows}};
  auto again = JoinGraphs(recipe, merge.merged.view(), whole, {});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->joined_vertices, rows.size());
  EXPECT_GE(Recall(*Open(again->bytes).index, merge.merged, MetricType::kL2, Options(10, 64)), 0.97);
}

TEST(GraphJoinTest, SourcesThatDoNotServeArePassedOver) {
  const Table table = Clustered(DataType::kFloatVector, 16, 1000, 5);
  const IndexRecipe recipe = RecipeFor(table, MetricType::kL2);
  Merge merge(table, recipe, {600, 400}, Nothing());
  const std::string built = Build(merge.merged, recipe).bytes;
  const auto bytes_from = [&](const std::vector<JoinSource>& sources) {
    auto joined = JoinGraphs(recipe, merge.merged.view(), sources, {});
    EXPECT_TRUE(joined.ok());
    EXPECT_EQ(joined->joined_vertices, 0U);
    return joined->bytes;
  };
  EXPECT_TRUE(bytes_from({}) == built);
  EXPECT_TRUE(bytes_from({merge.sources[1]}) == built) << "most rows come from no graph";
  IndexRecipe other = recipe;
  other.degree = 16;
  const Opened narrow = Build(merge.tables[0], other);
  EXPECT_TRUE(bytes_from({{.sealed = narrow.index.get(), .growing = nullptr, .new_rows = merge.new_rows[0]}}) == built);
  other = recipe;
  other.metric = MetricType::kCosine;
  const Opened cosine = Build(merge.tables[0], other);
  EXPECT_TRUE(bytes_from({{.sealed = cosine.index.get(), .growing = nullptr, .new_rows = merge.new_rows[0]}}) == built);
  // A damaged one.
  std::string damaged = merge.graphs[0].bytes;
  for (size_t i = damaged.size() / 2; i < damaged.size(); i += 64) damaged[i] = static_cast<char>(damaged[i] ^ 1);
  const auto opened = OpenVectorIndex(damaged, "damaged.vix");
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(bytes_from({{.sealed = opened->get(), .growing = nullptr, .new_rows = merge.new_rows[0]}}) == built);
  // One over other rows.
  EXPECT_TRUE(
      bytes_from({{.sealed = merge.graphs[0].index.get(), .growing = nullptr, .new_rows = merge.new_rows[1]}}) ==
      built);
}

TEST(GraphJoinTest, SeveralThreadsJoinAsWell) {
  const Table table = Clustered(DataType::kFloatVector, 16, 1200, 40);
  const IndexRecipe recipe = RecipeFor(table, MetricType::kL2);
  const Merge merge(table, recipe, {500, 400, 300}, Percent(20));
  double last = 0;
  const BuildControl control{.cancelled = {},
                             .on_progress =
                                 [&](double share) {
                                   EXPECT_GE(share, last);
                                   EXPECT_LE(share, 1.0);
                                   last = share;
                                 },
                             .threads = 3};
  const Opened joined = Join(merge, recipe, 960, control);
  EXPECT_EQ(last, 1.0);
  const Opened built = Build(merge.merged, recipe);
  EXPECT_GE(MeanRecall(*joined.index, merge.merged, MetricType::kL2),
            MeanRecall(*built.index, merge.merged, MetricType::kL2) - kSlack);
}

TEST(GraphJoinTest, CanBeCancelledAtAnyPoint) {
  const Table table = Clustered(DataType::kFloatVector, 16, 600, 5);
  const IndexRecipe recipe = RecipeFor(table, MetricType::kL2);
  const Merge merge(table, recipe, {250, 200, 100}, Percent(20));
  int asked = 0;
  ASSERT_TRUE(JoinGraphs(recipe, merge.merged.view(), merge.sources,
                         {.cancelled = [&] { return ++asked < 0; }, .on_progress = {}})
                  .ok());
  EXPECT_GT(asked, 30);
  for (int stop = 1; stop < asked; stop += 9) {
    int now = 0;
    const auto cancelled = JoinGraphs(recipe, merge.merged.view(), merge.sources,
                                      {.cancelled = [&] { return ++now >= stop; }, .on_progress = {}});
    EXPECT_EQ(cancelled.status().code(), StatusCode::kCancelled) << stop;
    EXPECT_LE(now, stop + 3) << "it does not go on for long";
  }
}

TEST(GraphJoinTest, AGrowingGraphIsASource) {
  constexpr uint32_t kPage = 256;
  for (const MetricType metric : {MetricType::kL2, MetricType::kCosine}) {
    Table table = Clustered(DataType::kFloatVector, 24, 900, 40);
    for (size_t i = 0; i < 100; ++i) table.column.Append(std::string(table.view().Bytes(i % 10)));  // equal rows
    const IndexRecipe recipe = RecipeFor(table, metric);
    const Merge merge(table, recipe, {1000}, Percent(20), false);
    const ColumnView column = merge.tables[0].view();
    const auto page_of = [&](uint32_t page) {
      ColumnView view = column;
      view.fixed += size_t{page} * kPage * view.width;
      view.rows = std::min<size_t>(kPage, column.rows - size_t{page} * kPage);
      return view;
    };
    auto growing = GrowingGraph::Make(recipe, 2000, page_of(0));
    ASSERT_TRUE(growing.ok());
    constexpr uint32_t kLinked = 900;  // the rest has not been reached
    ASSERT_TRUE((*growing)->Link({kPage, page_of}, kLinked, {}).ok());
    const JoinSource source[] = {{.sealed = nullptr, .growing = growing->get(), .new_rows = merge.new_rows[0]}};
    auto joined = JoinGraphs(recipe, merge.merged.view(), source, {});
    ASSERT_TRUE(joined.ok());
    EXPECT_EQ(joined->joined_vertices, kLinked * 8 / 10);
    const Opened opened = Open(std::move(joined->bytes));
    const Opened built = Build(merge.merged, recipe);
    EXPECT_GE(MeanRecall(*opened.index, merge.merged, metric),
              MeanRecall(*built.index, merge.merged, metric) - 2 * kSlack);
  }
}

}  // namespace
}  // namespace quiver::index
