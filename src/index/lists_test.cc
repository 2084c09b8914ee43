// Inverted lists against exact search: recall where codes approximate, equality where they do not.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "index/internal/index_file.h"
#include "index/internal/lists_layout.h"
#include "index/vector_index.h"

namespace quiver::index {
namespace {

/// What rows look like.
enum class Shape { kClustered, kUniform, kSkewed, kDuplicates };

struct Rows {
  Column column;
  std::vector<std::vector<float>> values;
  int64_t dim = 0;
};

uint16_t ToHalf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const int exponent = static_cast<int>((bits >> 23) & 0xff) - 112;
  uint32_t half = (bits >> 16) & 0x8000;
  if (exponent > 0) half |= (static_cast<uint32_t>(exponent) << 10) | ((bits >> 13) & 0x3ff);
  return static_cast<uint16_t>(half);
}

std::string Encode(DataType type, const std::vector<float>& values) {
  std::string bytes;
  for (float value : values) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    switch (type) {
      case DataType::kFloatVector: bytes.append(reinterpret_cast<const char*>(&value), 4); break;
      case DataType::kFloat16Vector: {
        const uint16_t half = ToHalf(value);
        bytes.append(reinterpret_cast<const char*>(&half), 2);
        break;
      }
      case DataType::kBFloat16Vector: {
        const auto half = static_cast<uint16_t>(bits >> 16);
        bytes.append(reinterpret_cast<const char*>(&half), 2);
        break;
      }
      default: bytes.push_back(static_cast<char>(static_cast<int8_t>(std::clamp(value * 30, -127.0f, 127.0f)))); break;
    }
  }
  return bytes;
}

std::vector<std::vector<float>> MakeValues(size_t rows, int64_t dim, Shape shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const auto width = static_cast<size_t>(dim);
  // The places of clusters do not depend on the seed: queries lie where rows lie.
  std::mt19937 fixed(99);
  std::vector<std::vector<float>> middles(60, std::vector<float>(width));
  for (auto& middle : middles) {
    for (float& value : middle) value = 2 * normal(fixed);
  }
  std::vector<std::vector<float>> values(rows, std::vector<float>(width));
  for (size_t i = 0; i < rows; ++i) {
    const std::vector<float>& middle = middles[shape == Shape::kSkewed && random() % 10 != 0 ? 0 : random() % 60];
    for (size_t d = 0; d < width; ++d) {
      switch (shape) {
        case Shape::kUniform: values[i][d] = normal(random); break;
        case Shape::kDuplicates: values[i][d] = i % 3 != 0 ? middles[0][d] : normal(random) + middles[1][d]; break;
        default: values[i][d] = middle[d] + normal(random); break;
      }
    }
    if (shape == Shape::kSkewed) {
      // A few axes hold nearly all of the energy, far from the origin.
      for (size_t d = 0; d < std::min<size_t>(4, width); ++d) values[i][d] = 20 * values[i][d] + 300;
    }
  }
  return values;
}

Rows MakeRows(size_t rows, int64_t dim, Shape shape, DataType type = DataType::kFloatVector, unsigned seed = 1) {
  Rows result{Column::Make(1, type, dim), MakeValues(rows, dim, shape, seed), dim};
  for (const auto& value : result.values) result.column.Append(Encode(type, value));
  return result;
}

FlatQueries MakeQueries(const std::vector<std::vector<float>>& values, int64_t dim, MetricType metric,
                        DataType type = DataType::kFloatVector) {
  std::vector<std::string> bytes;
  for (const auto& value : values) bytes.push_back(Encode(type, value));
  auto queries = FlatQueries::Make(type, dim, metric, {bytes.begin(), bytes.end()});
  EXPECT_TRUE(queries.ok());
  return *std::move(queries);
}

/// An index and the bytes that it lies in.
struct Built {
  std::string bytes;
  std::unique_ptr<VectorIndex> index;
};

IndexRecipe ListsRecipe(int64_t dim, MetricType metric, IndexCodec codec, DataType type = DataType::kFloatVector) {
  IndexRecipe recipe;
  recipe.structure = IndexStructure::kLists;
  recipe.codec = codec;
  recipe.type = type;
  recipe.dim = dim;
  recipe.metric = metric;
  return recipe;
}

Built Build(const IndexRecipe& recipe, const Column& column, size_t threads = 1) {
  Built built;
  BuildControl control;
  control.threads = threads;
  auto bytes = BuildVectorIndex(recipe, ViewOf(column), control);
  EXPECT_TRUE(bytes.ok()) << bytes.status().ToString();
  if (!bytes.ok()) return built;
  built.bytes = *std::move(bytes);
  auto index = OpenVectorIndex(built.bytes, "test");
  EXPECT_TRUE(index.ok()) << index.status().ToString();
  if (index.ok()) built.index = *std::move(index);
  return built;
}

struct Filter {
  std::vector<uint64_t> bits;
  uint64_t count = 0;
  explicit Filter(size_t rows) : bits((rows + 63) / 64) {}
  void Set(size_t row) {
    if (((bits[row / 64] >> (row % 64)) & 1) != 0) return;
    bits[row / 64] |= uint64_t{1} << (row % 64);
    ++count;
  }
  [[nodiscard]] bool Has(uint64_t row) const { return ((bits[row / 64] >> (row % 64)) & 1) != 0; }
  [[nodiscard]] RowFilter view() const { return {bits.data(), count}; }
};

constexpr uint64_t kFirstRow = 1000000;

std::vector<std::vector<Hit>> Exact(const FlatQueries& queries, const Column& column, const Filter* filter,
                                    const TopK& top) {
  std::vector<TopK> results(queries.nq(), top);
  FlatScratch scratch;
  FlatScan(queries, ViewOf(column), filter == nullptr ? nullptr : filter->bits.data(), kFirstRow, results, scratch);
  std::vector<std::vector<Hit>> hits;
  for (TopK& result : results) hits.push_back(result.TakeSorted());
  return hits;
}

/// Share of hits as good as the exact ones; fails where there are fewer, where a score is not exact, or where a row is
/// not of the filter.
double RecallOf(const Built& built, const FlatQueries& queries, const Column& column, const Filter* filter, size_t k,
                const IndexSearchOptions& options, const TopK* top = nullptr) {
  IndexScratch scratch;
  IndexCounters counters;
  const RowFilter view = filter == nullptr ? RowFilter{} : filter->view();
  double found = 0, wanted = 0;
  const TopK empty = top != nullptr ? *top : TopK(k, queries.metric());
  const std::vector<std::vector<Hit>> exact = Exact(queries, column, filter, empty);
  for (size_t q = 0; q < queries.nq(); ++q) {
    TopK result = empty;
    const Status status =
        built.index->Search(queries, q, ViewOf(column), view, options, kFirstRow, result, scratch, counters);
    EXPECT_TRUE(status.ok()) << status.ToString();
    const std::vector<Hit> hits = result.TakeSorted();
    const std::vector<Hit>& expected = exact[q];
    if (top == nullptr) {
      EXPECT_EQ(hits.size(), expected.size()) << "query " << q;
    }
    std::set<uint64_t> seen;
    for (const Hit& hit : hits) {
      EXPECT_TRUE(seen.insert(hit.row).second) << "row " << hit.row << " twice";
      const auto row = static_cast<uint32_t>(hit.row - kFirstRow);
      if (filter != nullptr) {
        EXPECT_TRUE(filter->Has(row));
      }
      float score = 0;
      ScoreRows(queries, q, ViewOf(column), {&row, 1}, &score);
      EXPECT_EQ(score, hit.score);
    }
    wanted += static_cast<double>(expected.size());
    for (const Hit& hit : expected) {
      // Equals of the last one count whichever they are.
      const bool equal = !hits.empty() && hits.back().score == hit.score;
      found += seen.contains(hit.row) || equal ? 1 : 0;
    }
  }
  return wanted == 0 ? 1 : found / wanted;
}

IndexSearchOptions Probe(uint32_t nprobe, size_t k = 10) {
  IndexSearchOptions options;
  options.k = k;
  options.nprobe = nprobe;
  return options;
}

TEST(ListsTest, AllListsRawIsTheExactAnswer) {
  for (const MetricType metric : {MetricType::kL2, MetricType::kIp, MetricType::kCosine}) {
    for (const DataType type :
         {DataType::kFloatVector, DataType::kFloat16Vector, DataType::kBFloat16Vector, DataType::kInt8Vector}) {
      const Rows rows = MakeRows(3000, 20, Shape::kClustered, type);
      const FlatQueries queries = MakeQueries(MakeValues(20, 20, Shape::kClustered, 2), 20, metric, type);
      IndexRecipe recipe = ListsRecipe(20, metric, IndexCodec::kRaw, type);
      recipe.nlist = 50;
      const Built built = Build(recipe, rows.column);
      ASSERT_NE(built.index, nullptr);
      IndexScratch scratch;
      IndexCounters counters;
      for (size_t q = 0; q < queries.nq(); ++q) {
        TopK result(37, metric);
        ASSERT_TRUE(
            built.index
                ->Search(queries, q, ViewOf(rows.column), {}, Probe(50, 37), kFirstRow, result, scratch, counters)
                .ok());
        ASSERT_EQ(result.TakeSorted(), Exact(queries, rows.column, nullptr, TopK(37, metric))[q]);
      }
      EXPECT_EQ(counters.exact_distances, 3000u * queries.nq());
      EXPECT_EQ(counters.expansions, 50u * queries.nq());
    }
  }
}

TEST(ListsTest, CodesFindNearlyAllForEveryMetricTypeAndShape) {
  for (const Shape shape : {Shape::kClustered, Shape::kUniform, Shape::kSkewed, Shape::kDuplicates}) {
    for (const MetricType metric : {MetricType::kL2, MetricType::kIp, MetricType::kCosine}) {
      for (const DataType type :
           {DataType::kFloatVector, DataType::kFloat16Vector, DataType::kBFloat16Vector, DataType::kInt8Vector}) {
        const Rows rows = MakeRows(4000, 48, shape, type);
        const FlatQueries queries = MakeQueries(MakeValues(30, 48, shape, 2), 48, metric, type);
        IndexRecipe recipe = ListsRecipe(48, metric, IndexCodec::kRabitq, type);
        const Built built = Build(recipe, rows.column);
        ASSERT_NE(built.index, nullptr);
        // With all lists only the codes can lose something.
        EXPECT_GE(RecallOf(built, queries, rows.column, nullptr, 10, Probe(65536)), 0.98)
            << static_cast<int>(shape) << " " << MetricTypeName(metric) << " " << DataTypeName(type);
      }
    }
  }
}

TEST(ListsTest, AllWidthsOfCodesServe) {
  const Rows rows = MakeRows(4000, 100, Shape::kClustered);
  const FlatQueries queries = MakeQueries(MakeValues(30, 100, Shape::kClustered, 2), 100, MetricType::kL2);
  for (uint32_t bits = 1; bits <= 8; ++bits) {
    IndexRecipe recipe = ListsRecipe(100, MetricType::kL2, IndexCodec::kRabitq);
    recipe.code_bits = bits;
    const Built built = Build(recipe, rows.column);
    ASSERT_NE(built.index, nullptr);
    EXPECT_GE(RecallOf(built, queries, rows.column, nullptr, 10, Probe(65536)), 0.98) << bits;
  }
  const Built bytes = Build(ListsRecipe(100, MetricType::kL2, IndexCodec::kSq8), rows.column);
  EXPECT_GE(RecallOf(bytes, queries, rows.column, nullptr, 10, Probe(65536)), 0.98);
}

TEST(ListsTest, CodesRuleOutMostRows) {
  const Rows rows = MakeRows(20000, 64, Shape::kClustered);
  const FlatQueries queries = MakeQueries(MakeValues(50, 64, Shape::kClustered, 2), 64, MetricType::kL2);
  const Built built = Build(ListsRecipe(64, MetricType::kL2, IndexCodec::kRabitq), rows.column);
  IndexScratch scratch;
  IndexCounters counters;
  for (size_t q = 0; q < queries.nq(); ++q) {
    TopK result(10, MetricType::kL2);
    ASSERT_TRUE(
        built.index->Search(queries, q, ViewOf(rows.column), {}, Probe(65536), 0, result, scratch, counters).ok());
  }
  EXPECT_LT(counters.exact_distances, 40u * queries.nq());
}

TEST(ListsTest, RecallOptionKeepsItsWord) {
  for (const MetricType metric : {MetricType::kL2, MetricType::kCosine, MetricType::kIp}) {
    const Rows rows = MakeRows(20000, 32, Shape::kClustered);
    const FlatQueries queries = MakeQueries(MakeValues(100, 32, Shape::kClustered, 2), 32, metric);
    const Built built = Build(ListsRecipe(32, metric, IndexCodec::kRabitq), rows.column);
    for (const double recall : {0.8, 0.95, 0.99}) {
      for (const size_t k : {10u, 100u}) {
        IndexSearchOptions options;
        options.k = k;
        options.recall = recall;
        EXPECT_GE(RecallOf(built, queries, rows.column, nullptr, k, options), recall - 0.03)
            << MetricTypeName(metric) << " " << recall << " k " << k;
      }
    }
  }
}

TEST(ListsTest, FiltersOfEverySizeFindWhatExists) {
  const Rows rows = MakeRows(30000, 32, Shape::kClustered);
  const auto query_values = MakeValues(20, 32, Shape::kClustered, 2);
  const FlatQueries queries = MakeQueries(query_values, 32, MetricType::kL2);
  for (const IndexCodec codec : {IndexCodec::kRaw, IndexCodec::kRabitq}) {
    const Built built = Build(ListsRecipe(32, MetricType::kL2, codec), rows.column);
    std::mt19937 random(3);
    for (const double share : {0.0001, 0.001, 0.01, 0.1, 0.5, 0.999}) {
      Filter scattered(30000);
      for (size_t row = 0; row < 30000; ++row) {
        if (std::uniform_real_distribution<>()(random) < share) scattered.Set(row);
      }
      Filter together(30000);  // rows near one place, so that most lists have none of them
      std::vector<std::pair<float, size_t>> order;
      for (size_t row = 0; row < 30000; ++row) {
        float distance = 0;
        for (size_t d = 0; d < 32; ++d) {
          distance += (rows.values[row][d] - rows.values[0][d]) * (rows.values[row][d] - rows.values[0][d]);
        }
        order.emplace_back(distance, row);
      }
      std::sort(order.begin(), order.end());
      for (size_t i = 0; i < static_cast<size_t>(30000 * share); ++i) together.Set(order[i].second);
      for (const Filter* filter : {&scattered, &together}) {
        IndexSearchOptions options;
        options.recall = 0.95;
        EXPECT_GE(RecallOf(built, queries, rows.column, filter, 10, options), 0.9)
            << static_cast<int>(codec) << " " << share << (filter == &scattered ? " scattered" : " together");
        // However few lists are asked for, nothing that exists may be missing from the count (checked inside).
        RecallOf(built, queries, rows.column, filter, 10, Probe(1));
      }
    }
  }
}

TEST(ListsTest, FiltersCostNoRecallWhereverTheirRowsLie) {
  constexpr size_t kRows = 30000;
  const Rows rows = MakeRows(kRows, 32, Shape::kUniform);
  const Built built = Build(ListsRecipe(32, MetricType::kL2, IndexCodec::kRabitq), rows.column);
  const auto query_values = MakeValues(40, 32, Shape::kUniform, 2);
  for (const size_t k : {size_t{10}, size_t{100}}) {
    double unfiltered = 0, nearest = 0, farthest = 0, scattered = 0;
    for (const auto& value : query_values) {
      const FlatQueries query = MakeQueries({value}, 32, MetricType::kL2);
      std::vector<uint32_t> order(kRows);
      std::iota(order.begin(), order.end(), 0u);
      std::vector<float> scores(kRows);
      ScoreRows(query, 0, ViewOf(rows.column), order, scores.data());
      std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return scores[a] < scores[b]; });
      Filter near(kRows), far(kRows), some(kRows);
      for (size_t i = 0; i < kRows / 10; ++i) {
        near.Set(order[2 * i]);  // every other one of the nearest fifth
        far.Set(order[kRows - 1 - i]);
        some.Set(i * 10 + i % 7);
      }
      const IndexSearchOptions options = Probe(100, k);
      unfiltered += RecallOf(built, query, rows.column, nullptr, k, options);
      nearest += RecallOf(built, query, rows.column, &near, k, options);
      farthest += RecallOf(built, query, rows.column, &far, k, options);
      scattered += RecallOf(built, query, rows.column, &some, k, options);
    }
    const auto count = static_cast<double>(query_values.size());
    SCOPED_TRACE(std::to_string(k) + ": " + std::to_string(unfiltered / count));
    EXPECT_LT(unfiltered / count, 0.99) << "this tests nothing";
    EXPECT_GE(nearest / count, unfiltered / count - 0.02);
    EXPECT_GE(farthest / count, unfiltered / count - 0.02);
    EXPECT_GE(scattered / count, unfiltered / count - 0.02);
  }
}

TEST(ListsTest, FarMatchesAreScoredInTheEnd) {
  constexpr size_t kRows = 30000;
  constexpr size_t kMatches = 1500;
  SetSearchTiming(false);  // the costs that the test counts on
  const Rows rows = MakeRows(kRows, 64, Shape::kClustered);
  for (const IndexCodec codec : {IndexCodec::kRabitq, IndexCodec::kRaw}) {
    const Built built = Build(ListsRecipe(64, MetricType::kL2, codec), rows.column);
    IndexScratch scratch;
    IndexCounters counters;
    for (const auto& value : MakeValues(10, 64, Shape::kClustered, 2)) {
      const FlatQueries query = MakeQueries({value}, 64, MetricType::kL2);
      std::vector<uint32_t> order(kRows);
      std::iota(order.begin(), order.end(), 0u);
      std::vector<float> scores(kRows);
      ScoreRows(query, 0, ViewOf(rows.column), order, scores.data());
      std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
      Filter far(kRows);
      for (size_t i = 0; i < kMatches; ++i) far.Set(order[i]);
      EXPECT_EQ(RecallOf(built, query, rows.column, &far, 10, Probe(8)), 1);
      TopK result(10, MetricType::kL2);
      ASSERT_TRUE(
          built.index->Search(query, 0, ViewOf(rows.column), far.view(), Probe(8), kFirstRow, result, scratch, counters)
              .ok());
    }
    // It began with lists, and did not look at all of them.
    EXPECT_EQ(counters.plans[static_cast<size_t>(SearchPlan::kProbe)], 10U);
    EXPECT_GT(counters.expansions, 10U * 8);
    EXPECT_LT(counters.expansions, 10U * 300);
    EXPECT_GT(counters.exact_distances, 10U * (kMatches - 100));
    EXPECT_LE(counters.exact_distances, 10U * kMatches);
  }
  SetSearchTiming(true);
}

TEST(ListsTest, UnderAFilterTheListsAskedForCountNotALowerRecall) {
  constexpr size_t kRows = 30000;
  const Rows rows = MakeRows(kRows, 32, Shape::kUniform);
  const Built built = Build(ListsRecipe(32, MetricType::kL2, IndexCodec::kRabitq), rows.column);
  const FlatQueries queries = MakeQueries(MakeValues(20, 32, Shape::kUniform, 2), 32, MetricType::kL2);
  Filter some(kRows);
  for (size_t row = 0; row < kRows; ++row) {
    if (row % 8 != 0) some.Set(row);
  }
  const auto lists_of = [&](double recall) {
    IndexSearchOptions options = Probe(120, 100);
    options.recall = recall;
    IndexScratch scratch;
    IndexCounters counters;
    for (size_t q = 0; q < queries.nq(); ++q) {
      TopK result(options.k, MetricType::kL2);
      EXPECT_TRUE(
          built.index
              ->Search(queries, q, ViewOf(rows.column), some.view(), options, kFirstRow, result, scratch, counters)
              .ok());
    }
    return counters.expansions;
  };
  EXPECT_GE(lists_of(0), 20U * 120);
  EXPECT_EQ(lists_of(0.5), lists_of(0));
}

TEST(ListsTest, RangesAreKept) {
  const Rows rows = MakeRows(5000, 32, Shape::kClustered);
  for (const MetricType metric : {MetricType::kL2, MetricType::kCosine, MetricType::kIp}) {
    const FlatQueries queries = MakeQueries(MakeValues(20, 32, Shape::kClustered, 2), 32, metric);
    const Built built = Build(ListsRecipe(32, metric, IndexCodec::kRabitq), rows.column);
    for (size_t q = 0; q < queries.nq(); ++q) {
      // Bounds between the ranks 30 and 200 of this query.
      const std::vector<Hit> all = Exact(queries, rows.column, nullptr, TopK(300, metric))[q];
      ASSERT_EQ(all.size(), 300u);
      TopK ring(50, metric);
      ring.SetRange(all[200].score, all[30].score);
      TopK result = ring;
      IndexScratch scratch;
      IndexCounters counters;
      ASSERT_TRUE(
          built.index
              ->Search(queries, q, ViewOf(rows.column), {}, Probe(65536, 50), kFirstRow, result, scratch, counters)
              .ok());
      const std::vector<Hit> expected = Exact(queries, rows.column, nullptr, ring)[q];
      const std::vector<Hit> hits = result.TakeSorted();
      ASSERT_EQ(hits.size(), expected.size());
      size_t same = 0;
      for (size_t i = 0; i < hits.size(); ++i) same += hits[i] == expected[i] ? 1 : 0;
      EXPECT_GE(same, hits.size() * 9 / 10);
    }
  }
}

TEST(ListsTest, EarlierHitsPrune) {
  const Rows rows = MakeRows(5000, 32, Shape::kClustered);
  const FlatQueries queries = MakeQueries(MakeValues(1, 32, Shape::kClustered, 2), 32, MetricType::kL2);
  const Built built = Build(ListsRecipe(32, MetricType::kL2, IndexCodec::kRabitq), rows.column);
  TopK result(10, MetricType::kL2);
  for (uint64_t row = 0; row < 10; ++row) result.Offer(0.0f, row);
  IndexScratch scratch;
  IndexCounters counters;
  ASSERT_TRUE(
      built.index->Search(queries, 0, ViewOf(rows.column), {}, Probe(65536), kFirstRow, result, scratch, counters)
          .ok());
  EXPECT_LE(counters.exact_distances, 1u);
  for (const Hit& hit : result.TakeSorted()) EXPECT_LT(hit.row, kFirstRow);
}

TEST(ListsTest, BatchesFindWhatSingleQueriesFind) {
  const Rows rows = MakeRows(12000, 32, Shape::kClustered);
  const auto values = MakeValues(40, 32, Shape::kClustered, 2);
  Filter filter(12000);
  for (size_t row = 0; row < 12000; row += 3) filter.Set(row);
  for (const IndexCodec codec : {IndexCodec::kRaw, IndexCodec::kRabitq}) {
    for (const MetricType metric : {MetricType::kL2, MetricType::kCosine, MetricType::kIp}) {
      const FlatQueries queries = MakeQueries(values, 32, metric);
      const Built built = Build(ListsRecipe(32, metric, codec), rows.column);
      for (const RowFilter& view : {RowFilter{}, filter.view()}) {
        IndexScratch scratch;
        IndexCounters counters;
        std::vector<TopK> batch(queries.nq(), TopK(10, metric));
        ASSERT_TRUE(
            built.index->SearchBatch(queries, ViewOf(rows.column), view, Probe(12), kFirstRow, batch, scratch, counters)
                .ok());
        size_t same = 0, all = 0;
        for (size_t q = 0; q < queries.nq(); ++q) {
          TopK single(10, metric);
          ASSERT_TRUE(
              built.index
                  ->Search(queries, q, ViewOf(rows.column), view, Probe(12), kFirstRow, single, scratch, counters)
                  .ok());
          const std::vector<Hit> expected = single.TakeSorted();
          const std::vector<Hit> hits = batch[q].TakeSorted();
          ASSERT_EQ(hits.size(), expected.size());
          for (const Hit& hit : expected) {
            ++all;
            same += std::find(hits.begin(), hits.end(), hit) != hits.end() ? 1 : 0;
          }
        }
        // Limits come in another order, so that a row beyond its bound may be lost here and kept there.
        EXPECT_GE(same, all * 99 / 100);
        if (codec == IndexCodec::kRaw) {
          EXPECT_EQ(same, all);
        }
      }
    }
  }
}

TEST(ListsTest, BinaryListsServeHammingAndJaccard) {
  constexpr size_t kRows = 6000;
  constexpr int64_t kDim = 96;
  std::mt19937 random(4);
  std::vector<std::string> middles(40, std::string(kDim / 8, '\0'));
  for (std::string& middle : middles) {
    for (char& byte : middle) byte = static_cast<char>(random());
  }
  const auto make = [&] {
    std::string bits = middles[random() % middles.size()];
    for (int flip = 0; flip < 10; ++flip) {
      const size_t bit = random() % kDim;
      bits[bit / 8] = static_cast<char>(bits[bit / 8] ^ (1 << (bit % 8)));
    }
    return bits;
  };
  Column column = Column::Make(1, DataType::kBinaryVector, kDim);
  for (size_t row = 0; row < kRows; ++row) {
    if (row % 50 == 7) {
      column.AppendNull();
    } else {
      column.Append(make());
    }
  }
  std::vector<std::string> bytes;
  for (int q = 0; q < 30; ++q) bytes.push_back(make());
  for (const MetricType metric : {MetricType::kHamming, MetricType::kJaccard}) {
    auto queries = FlatQueries::Make(DataType::kBinaryVector, kDim, metric, {bytes.begin(), bytes.end()});
    ASSERT_TRUE(queries.ok());
    const Built built = Build(ListsRecipe(kDim, metric, IndexCodec::kRaw, DataType::kBinaryVector), column, 2);
    ASSERT_NE(built.index, nullptr);
    IndexScratch scratch;
    IndexCounters counters;
    const auto exact = Exact(*queries, column, nullptr, TopK(10, metric));
    for (size_t q = 0; q < queries->nq(); ++q) {
      TopK result(10, metric);
      ASSERT_TRUE(
          built.index->Search(*queries, q, ViewOf(column), {}, Probe(65536), kFirstRow, result, scratch, counters)
              .ok());
      ASSERT_EQ(result.TakeSorted(), exact[q]) << "all lists are the exact answer";
    }
    IndexSearchOptions options;
    options.recall = 0.95;
    counters = {};
    EXPECT_GE(RecallOf(built, *queries, column, nullptr, 10, options), 0.92);
    Filter filter(kRows);
    for (size_t row = 0; row < kRows; row += 5) filter.Set(row);
    EXPECT_GE(RecallOf(built, *queries, column, &filter, 10, options), 0.9);
  }
  for (const size_t few : {0u, 1u, 3u}) {
    Column small = Column::Make(1, DataType::kBinaryVector, kDim);
    for (size_t row = 0; row < few; ++row) small.Append(make());
    auto queries = FlatQueries::Make(DataType::kBinaryVector, kDim, MetricType::kHamming, {bytes.begin(), bytes.end()});
    IndexRecipe recipe = ListsRecipe(kDim, MetricType::kHamming, IndexCodec::kRaw, DataType::kBinaryVector);
    recipe.nlist = 16;
    const Built built = Build(recipe, small);
    EXPECT_EQ(RecallOf(built, *queries, small, nullptr, 10, Probe(1)), 1.0);
  }
}

TEST(ListsTest, FewRowsAndNullsAndOddOnes) {
  for (const IndexCodec codec : {IndexCodec::kRaw, IndexCodec::kRabitq}) {
    for (const MetricType metric : {MetricType::kL2, MetricType::kIp, MetricType::kCosine}) {
      for (const size_t count : {0u, 1u, 2u, 9u, 70u}) {
        Rows rows = MakeRows(count, 5, Shape::kUniform);
        IndexRecipe recipe = ListsRecipe(5, metric, codec);
        recipe.nlist = 16;
        const float odd[] = {0.0f, 1e25f, std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN(), 1e-30f};
        for (const float value : odd) {
          rows.column.AppendNull();
          rows.column.Append(Encode(DataType::kFloatVector, std::vector<float>(5, value)));
        }
        const Built built = Build(recipe, rows.column);
        ASSERT_NE(built.index, nullptr);
        EXPECT_EQ(built.index->row_count(), count + 10);
        std::vector<std::vector<float>> values = MakeValues(5, 5, Shape::kUniform, 9);
        for (const float value : {0.0f, 1e25f, 1e-30f}) values.emplace_back(5, value);
        const FlatQueries queries = MakeQueries(values, 5, metric);
        EXPECT_EQ(RecallOf(built, queries, rows.column, nullptr, 100, Probe(1, 100)), 1.0)
            << static_cast<int>(codec) << " " << MetricTypeName(metric) << " " << count;
      }
    }
  }
}

TEST(ListsTest, DimensionsAtTheLimits) {
  for (const int64_t dim : {2, 3, 63, 65, 1500, 32768}) {
    const size_t count = dim > 10000 ? 60 : 400;
    const Rows rows = MakeRows(count, dim, Shape::kClustered);
    const FlatQueries queries = MakeQueries(MakeValues(5, dim, Shape::kClustered, 2), dim, MetricType::kL2);
    IndexRecipe recipe = ListsRecipe(dim, MetricType::kL2, IndexCodec::kRabitq);
    recipe.nlist = 4;
    const Built built = Build(recipe, rows.column);
    ASSERT_NE(built.index, nullptr);
    EXPECT_GE(RecallOf(built, queries, rows.column, nullptr, 10, Probe(4)), 0.98) << dim;
  }
}

TEST(ListsTest, SameSeedSameBytes) {
  const Rows rows = MakeRows(5000, 24, Shape::kClustered);
  for (const IndexCodec codec : {IndexCodec::kRaw, IndexCodec::kRabitq}) {
    IndexRecipe recipe = ListsRecipe(24, MetricType::kL2, codec);
    const Built one = Build(recipe, rows.column);
    const Built again = Build(recipe, rows.column, 2);
    recipe.seed = 2;
    const Built other = Build(recipe, rows.column);
    EXPECT_EQ(one.bytes, again.bytes);
    EXPECT_NE(one.bytes, other.bytes);
  }
}

TEST(ListsTest, DamageIsAnError) {
  const Rows rows = MakeRows(2000, 16, Shape::kClustered);
  const FlatQueries queries = MakeQueries(MakeValues(2, 16, Shape::kClustered, 2), 16, MetricType::kL2);
  const Built built = Build(ListsRecipe(16, MetricType::kL2, IndexCodec::kRabitq), rows.column);
  std::mt19937 random(5);
  size_t refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = built.bytes;
    if (round % 3 == 0) {
      bytes.resize(random() % bytes.size());
    } else {
      for (unsigned i = 0; i < 1 + random() % 40; ++i)
        bytes[random() % bytes.size()] ^= static_cast<char>(1 + random() % 255);
    }
    auto index = OpenVectorIndex(bytes, "damaged");
    if (!index.ok()) {
      EXPECT_EQ(index.status().code(), StatusCode::kCorruption);
      ++refused;
      continue;
    }
    TopK result(10, MetricType::kL2);
    IndexScratch scratch;
    IndexCounters counters;
    const Status status = (*index)->Search(queries, 0, ViewOf(rows.column), {}, Probe(5), 0, result, scratch, counters);
    // Bytes between sections belong to nothing.
    if (!status.ok()) {
      EXPECT_EQ(status.code(), StatusCode::kCorruption);
      ++refused;
    }
  }
  EXPECT_GT(refused, 250u);
}

/// A file whose checksums are right and whose contents are not.
TEST(ListsTest, ContentsThatPointOutsideAreAnError) {
  const Rows rows = MakeRows(2000, 16, Shape::kClustered);
  const FlatQueries queries = MakeQueries(MakeValues(2, 16, Shape::kClustered, 2), 16, MetricType::kL2);
  const Built built = Build(ListsRecipe(16, MetricType::kL2, IndexCodec::kRabitq), rows.column);
  auto file = IndexFile::Open(built.bytes, "sound");
  ASSERT_TRUE(file.ok());
  for (const uint32_t wrong : {kListsHeader, kListsBegin, kListsSizes, kListsIds, kListsRows}) {
    for (const size_t at : {0u, 4u, 8u, 12u, 16u, 20u}) {
      IndexFileWriter writer(file->recipe(), file->row_count());
      bool changed = false;
      for (uint32_t id = kListsHeader; id <= kListsCurve; ++id) {
        std::string section(file->Section(id));
        if (id == wrong && at + 4 <= section.size()) {
          std::memset(section.data() + at, 0x7f, 4);
          changed = section != file->Section(id);
        }
        writer.Add(id, std::move(section));
      }
      if (!changed) continue;
      const std::string bytes = writer.Take();
      auto index = OpenVectorIndex(bytes, "wrong");
      if (!index.ok()) {
        EXPECT_EQ(index.status().code(), StatusCode::kCorruption);
        continue;
      }
      TopK result(10, MetricType::kL2);
      IndexScratch scratch;
      IndexCounters counters;
      // Either refused or harmless: factors may hold any number.
      const Status status =
          (*index)->Search(queries, 0, ViewOf(rows.column), {}, Probe(65536), 0, result, scratch, counters);
      EXPECT_TRUE(status.ok() || status.code() == StatusCode::kCorruption);
      if (wrong == kListsIds || wrong == kListsBegin || wrong == kListsSizes) {
        EXPECT_EQ(status.code(), StatusCode::kCorruption);
      }
    }
  }
}

TEST(ListsTest, CanBeCancelled) {
  const Rows rows = MakeRows(5000, 16, Shape::kClustered);
  const IndexRecipe recipe = ListsRecipe(16, MetricType::kL2, IndexCodec::kRabitq);
  std::vector<double> shares;
  BuildControl control;
  std::atomic<int> asked{0};
  control.on_progress = [&](double share) { shares.push_back(share); };
  control.cancelled = [&] {
    ++asked;
    return false;
  };
  ASSERT_TRUE(BuildVectorIndex(recipe, ViewOf(rows.column), control).ok());
  EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
  EXPECT_DOUBLE_EQ(shares.back(), 1.0);
  const int all = asked;
  EXPECT_GT(all, 10);
  for (int after : {0, 1, all / 2, all - 1}) {
    std::atomic<int> again{0};
    control.cancelled = [&] { return again++ >= after; };
    EXPECT_EQ(BuildVectorIndex(recipe, ViewOf(rows.column), control).status().code(), StatusCode::kCancelled) << after;
  }
  const Built built = Build(recipe, rows.column);
  const FlatQueries queries = MakeQueries(MakeValues(1, 16, Shape::kClustered, 2), 16, MetricType::kL2);
  IndexSearchOptions options = Probe(1);
  options.cancelled = [] { return true; };
  TopK result(10, MetricType::kL2);
  IndexScratch scratch;
  IndexCounters counters;
  EXPECT_EQ(built.index->Search(queries, 0, ViewOf(rows.column), {}, options, 0, result, scratch, counters).code(),
            StatusCode::kCancelled);
}

TEST(ListsTest, WhatIsNotServedIsAnHonestError) {
  const Rows rows = MakeRows(10, 16, Shape::kClustered);
  IndexRecipe recipe = ListsRecipe(16, MetricType::kL2, IndexCodec::kRabitq);
  recipe.code_bits = 9;
  EXPECT_EQ(BuildVectorIndex(recipe, ViewOf(rows.column), {}).status().code(), StatusCode::kIndexNotSupported);
}

TEST(ListsTest, ThreadsShareAnIndex) {
  const Rows rows = MakeRows(5000, 24, Shape::kClustered);
  const FlatQueries queries = MakeQueries(MakeValues(50, 24, Shape::kClustered, 2), 24, MetricType::kL2);
  const Built built = Build(ListsRecipe(24, MetricType::kL2, IndexCodec::kRabitq), rows.column, 2);
  const auto search_all = [&](std::vector<std::vector<Hit>>& hits) {
    IndexScratch scratch;
    IndexCounters counters;
    for (size_t q = 0; q < queries.nq(); ++q) {
      TopK result(10, MetricType::kL2);
      const Status status =
          built.index->Search(queries, q, ViewOf(rows.column), {}, Probe(8), 0, result, scratch, counters);
      EXPECT_TRUE(status.ok());
      hits.push_back(result.TakeSorted());
    }
  };
  std::vector<std::vector<std::vector<Hit>>> all(4);
  std::vector<std::thread> threads;
  for (auto& hits : all) threads.emplace_back([&] { search_all(hits); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& hits : all) EXPECT_EQ(hits, all[0]);
}

}  // namespace
}  // namespace quiver::index
