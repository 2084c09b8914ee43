#include "index/internal/sparse_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "index/flat_search.h"
#include "index/vector_index.h"

namespace quiver::index {
namespace {

using SparseRow = std::map<uint32_t, float>;

std::string Encode(const SparseRow& row) {
  std::string bytes;
  for (const auto& [dim, value] : row) {
    bytes.append(reinterpret_cast<const char*>(&dim), 4);
    bytes.append(reinterpret_cast<const char*>(&value), 4);
  }
  return bytes;
}

/// Few dimensions are frequent, most are rare; some values are negative.
SparseRow RandomRow(std::mt19937_64& random, size_t entries, float negative = 0.1f) {
  std::uniform_real_distribution<float> unit(0, 1);
  SparseRow row;
  while (row.size() < entries) {
    const auto dim = static_cast<uint32_t>(std::pow(5000.0f, unit(random)) - 1);
    row[dim == 4998 ? std::numeric_limits<uint32_t>::max() - 1 : dim] =
        (unit(random) < negative ? -1.0f : 1.0f) * (0.1f + unit(random) * unit(random));
  }
  return row;
}

Column MakeColumn(size_t rows, uint64_t seed, bool nulls = true) {
  std::mt19937_64 random(seed);
  Column column = Column::Make(101, DataType::kSparseFloatVector);
  for (size_t row = 0; row < rows; ++row) {
    if (nulls && row % 37 == 5) {
      column.AppendNull();
    } else {
      column.Append(Encode(RandomRow(random, row % 53 == 0 ? 0 : 1 + random() % 20)));
    }
  }
  return column;
}

std::string Build(const Column& column) {
  const IndexRecipe recipe{.structure = IndexStructure::kInverted,
                           .codec = IndexCodec::kRaw,
                           .type = DataType::kSparseFloatVector,
                           .metric = MetricType::kIp};
  auto bytes = BuildVectorIndex(recipe, ViewOf(column), {});
  EXPECT_TRUE(bytes.ok()) << bytes.status().ToString();
  return bytes.ok() ? *std::move(bytes) : std::string();
}

FlatQueries MakeQueries(const std::vector<std::string>& texts) {
  return *FlatQueries::Make(DataType::kSparseFloatVector, 0, MetricType::kIp, {texts.begin(), texts.end()});
}

std::vector<std::string> RandomQueries(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::string> queries;
  for (size_t q = 0; q < count; ++q) queries.push_back(Encode(RandomRow(random, 1 + q % 30)));
  return queries;
}

std::vector<uint64_t> RandomMask(size_t rows, double share, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> mask((rows + 63) / 64);
  for (size_t row = 0; row < rows; ++row) {
    if (std::uniform_real_distribution<>(0, 1)(random) < share) mask[row / 64] |= uint64_t{1} << (row % 64);
  }
  return mask;
}

RowFilter FilterOf(const std::vector<uint64_t>& mask) {
  RowFilter filter{.bits = mask.data(), .count = 0};
  for (const uint64_t word : mask) filter.count += static_cast<uint64_t>(std::popcount(word));
  return filter;
}

/// Searches and compares with a scan: the same rows with the same bits of scores.
IndexCounters ExpectAsScanned(const Column& column, const VectorIndex& index, const FlatQueries& queries,
                              const RowFilter& filter, size_t k) {
  IndexCounters counters;
  IndexScratch scratch;
  std::vector<TopK> scanned(queries.nq(), TopK(k, MetricType::kIp));
  FlatScratch flat;
  FlatScan(queries, ViewOf(column), filter.bits, 1000, scanned, flat);
  std::vector<TopK> found(queries.nq(), TopK(k, MetricType::kIp));
  EXPECT_TRUE(index.SearchBatch(queries, ViewOf(column), filter, {.k = k}, 1000, found, scratch, counters).ok());
  for (size_t q = 0; q < queries.nq(); ++q) {
    const std::vector<Hit> expected = scanned[q].TakeSorted();
    const std::vector<Hit> hits = found[q].TakeSorted();
    EXPECT_EQ(hits.size(), expected.size()) << "query " << q;
    for (size_t i = 0; i < std::min(hits.size(), expected.size()); ++i) {
      EXPECT_EQ(hits[i].row, expected[i].row) << "query " << q << " hit " << i;
      EXPECT_EQ(hits[i].score, expected[i].score) << "query " << q << " hit " << i;
    }
  }
  return counters;
}

TEST(SparseIndexTest, FindsWhatAScanFinds) {
  for (const size_t rows : {size_t{1}, size_t{63}, size_t{kSparseWindow}, size_t{kSparseWindow} * 2 + 777}) {
    const Column column = MakeColumn(rows, rows);
    const std::string bytes = Build(column);
    const auto index = OpenVectorIndex(bytes, "test.idx");
    ASSERT_TRUE(index.ok()) << index.status().ToString();
    EXPECT_EQ((*index)->row_count(), rows);
    const FlatQueries queries = MakeQueries(RandomQueries(60, 7));
    for (const size_t k : {size_t{1}, size_t{10}, size_t{300}, rows + 5}) {
      ExpectAsScanned(column, **index, queries, {}, k);
      for (const double share : {0.0, 0.001, 0.05, 0.5, 0.99}) {
        const std::vector<uint64_t> mask = RandomMask(rows, share, k);
        ExpectAsScanned(column, **index, queries, FilterOf(mask), k);
      }
    }
  }
}

TEST(SparseIndexTest, NegativeScoresAndSumsOfZeroAreFound) {
  Column column = Column::Make(101, DataType::kSparseFloatVector);
  for (size_t row = 0; row < 3000; ++row) column.Append(Encode({{1, 1.0f}, {2, row % 3 == 0 ? 1.0f : 2.0f}}));
  const std::string bytes = Build(column);
  const auto index = OpenVectorIndex(bytes, "test.idx");
  ASSERT_TRUE(index.ok());
  const FlatQueries queries =
      MakeQueries({Encode({{1, 1.0f}, {2, -1.0f}}), Encode({{1, -2.0f}}), Encode({{3, 1.0f}}), Encode({})});
  for (const size_t k : {size_t{5}, size_t{2000}, size_t{5000}}) ExpectAsScanned(column, **index, queries, {}, k);
}

TEST(SparseIndexTest, WindowsThatCannotWinAreNotRead) {
  Column column = Column::Make(101, DataType::kSparseFloatVector);
  for (size_t row = 0; row < kSparseWindow * 4; ++row) {
    const float value = row / kSparseWindow == 2 ? 9.0f : 1.0f;
    column.Append(Encode({{7, value}, {8, 1.0f}}));
  }
  const std::string bytes = Build(column);
  const auto index = OpenVectorIndex(bytes, "test.idx");
  ASSERT_TRUE(index.ok());
  const FlatQueries queries = MakeQueries({Encode({{7, 1.0f}, {8, 0.5f}})});
  const IndexCounters counters = ExpectAsScanned(column, **index, queries, {}, 10);
  EXPECT_EQ(counters.expansions, 1U);
  EXPECT_EQ(counters.plans[static_cast<size_t>(SearchPlan::kPostings)], 1U);
}

TEST(SparseIndexTest, FewMatchesAreScoredDirectly) {
  const Column column = MakeColumn(20'000, 3);
  const std::string bytes = Build(column);
  const auto index = OpenVectorIndex(bytes, "test.idx");
  ASSERT_TRUE(index.ok());
  const std::vector<uint64_t> mask = RandomMask(20'000, 0.0005, 1);
  const FlatQueries queries = MakeQueries({Encode({{0, 1.0f}, {1, 1.0f}, {2, 0.5f}})});
  const IndexCounters counters = ExpectAsScanned(column, **index, queries, FilterOf(mask), 10);
  EXPECT_EQ(counters.plans[static_cast<size_t>(SearchPlan::kScoreMatches)], 1U);
}

TEST(SparseIndexTest, SearchesAndBuildsEndWhenAsked) {
  const Column column = MakeColumn(5000, 4);
  const std::string bytes = Build(column);
  const auto index = OpenVectorIndex(bytes, "test.idx");
  ASSERT_TRUE(index.ok());
  const FlatQueries queries = MakeQueries(RandomQueries(1, 1));
  TopK result(10, MetricType::kIp);
  IndexScratch scratch;
  IndexCounters counters;
  IndexSearchOptions options;
  options.cancelled = [] { return true; };
  EXPECT_EQ((*index)->Search(queries, 0, ViewOf(column), {}, options, 0, result, scratch, counters).code(),
            StatusCode::kCancelled);
  BuildControl control;
  control.cancelled = [] { return true; };
  EXPECT_EQ(BuildVectorIndex((*index)->recipe(), ViewOf(column), control).status().code(), StatusCode::kCancelled);
}

TEST(SparseIndexTest, SameRowsGiveTheSameBytes) { EXPECT_EQ(Build(MakeColumn(9000, 5)), Build(MakeColumn(9000, 5))); }

TEST(SparseIndexTest, DamageIsSeen) {
  const Column column = MakeColumn(3000, 6);
  const std::string sound = Build(column);
  const FlatQueries queries = MakeQueries(RandomQueries(1, 9));
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; ++round) {
    std::string bytes = sound;
    bytes[random() % bytes.size()] ^= static_cast<char>(1 << (random() % 8));
    const auto index = OpenVectorIndex(bytes, "test.idx");
    if (!index.ok()) {
      EXPECT_EQ(index.status().code(), StatusCode::kCorruption);
      continue;
    }
    TopK result(10, MetricType::kIp);
    IndexScratch scratch;
    IndexCounters counters;
    const Status searched = (*index)->Search(queries, 0, ViewOf(column), {}, {}, 0, result, scratch, counters);
    // Between sections lie zeros that nothing reads.
    EXPECT_TRUE(searched.ok() || searched.code() == StatusCode::kCorruption) << searched.ToString();
  }
}

TEST(SparseIndexTest, WhatIsNotServedIsAnHonestError) {
  const Column column = MakeColumn(10, 1, false);
  IndexRecipe recipe{.structure = IndexStructure::kInverted,
                     .codec = IndexCodec::kRaw,
                     .type = DataType::kSparseFloatVector,
                     .metric = MetricType::kL2};
  EXPECT_EQ(BuildVectorIndex(recipe, ViewOf(column), {}).status().code(), StatusCode::kIndexNotSupported);
  recipe.metric = MetricType::kIp;
  Column infinite = Column::Make(101, DataType::kSparseFloatVector);
  infinite.Append(Encode({{1, std::numeric_limits<float>::infinity()}}));
  EXPECT_EQ(BuildVectorIndex(recipe, ViewOf(infinite), {}).status().code(), StatusCode::kIndexNotSupported);
}

}  // namespace
}  // namespace quiver::index
