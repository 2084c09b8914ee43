// Lists of vectors against plain double loops, on every instruction set of the machine.
#include "index/array_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "simd/kernels.h"

namespace quiver::index {
namespace {

using List = std::vector<std::vector<double>>;  // values as stored: of 16-bit floats and bytes, exact

struct Table {
  DataType type;
  int64_t dim;
  std::vector<List> rows;
  Column column;

  explicit Table(DataType element_type, int64_t dimension)
      : type(element_type),
        dim(dimension),
        column(Column::Make(1, DataType::kArrayOfVector, dimension, element_type)) {}
};

uint16_t BFloat16Of(float value) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16); }

/// The bytes of one vector, whose values are small multiples of 1/4: exact in every type.
std::string Pack(DataType type, const std::vector<double>& values) {
  std::string bytes;
  if (type == DataType::kBinaryVector) {
    bytes.assign(values.size() / 8, '\0');
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] != 0) bytes[i / 8] = static_cast<char>(bytes[i / 8] | 1 << (i % 8));
    }
    return bytes;
  }
  for (const double value : values) {
    if (type == DataType::kInt8Vector) {
      bytes.push_back(static_cast<char>(static_cast<int8_t>(value)));
    } else if (type == DataType::kBFloat16Vector) {
      const uint16_t half = BFloat16Of(static_cast<float>(value));
      bytes.append(reinterpret_cast<const char*>(&half), 2);
    } else {
      const auto single = static_cast<float>(value);
      bytes.append(reinterpret_cast<const char*>(&single), 4);
    }
  }
  return bytes;
}

std::string Pack(DataType type, const List& list) {
  std::string bytes;
  for (const std::vector<double>& vector : list) bytes += Pack(type, vector);
  return bytes;
}

List DrawList(std::mt19937& random, DataType type, int64_t dim, size_t count) {
  std::uniform_int_distribution<int> draw(-20, 20);
  List list(count, std::vector<double>(static_cast<size_t>(dim)));
  for (std::vector<double>& vector : list) {
    for (double& value : vector) {
      value = type == DataType::kBinaryVector ? draw(random) > 0 : draw(random);
      if (type == DataType::kFloatVector || type == DataType::kBFloat16Vector) value /= 4;
    }
  }
  return list;
}

double Score(MetricType metric, const std::vector<double>& a, const std::vector<double>& b) {
  double ip = 0;
  double l2 = 0;
  double aa = 0;
  double bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ip += a[i] * b[i];
    l2 += (a[i] - b[i]) * (a[i] - b[i]);
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  switch (ElementMetric(metric)) {
    case MetricType::kL2:
    case MetricType::kHamming: return l2;
    case MetricType::kIp: return ip;
    case MetricType::kJaccard: return aa + bb - ip == 0 ? 0 : 1 - ip / (aa + bb - ip);
    default: return aa == 0 || bb == 0 ? 0 : ip / std::sqrt(aa * bb);
  }
}

double MaxSim(MetricType metric, const List& query, const List& row) {
  double sum = 0;
  for (const std::vector<double>& vector : query) {
    double best = IsSimilarity(metric) ? -HUGE_VAL : HUGE_VAL;
    for (const std::vector<double>& other : row) {
      const double score = Score(metric, vector, other);
      best = IsSimilarity(metric) ? std::max(best, score) : std::min(best, score);
    }
    sum += best;
  }
  return sum;
}

/// `rows` rows of up to `most` vectors, some of them empty and some null.
Table DrawTable(std::mt19937& random, DataType type, int64_t dim, size_t rows, size_t most) {
  Table table(type, dim);
  for (size_t row = 0; row < rows; ++row) {
    if (row % 11 == 5) {
      table.rows.emplace_back();
      table.column.AppendNull();
      continue;
    }
    table.rows.push_back(DrawList(random, type, dim, random() % (most + 1)));
    table.column.Append(PackElements(table.rows.back().size(), Pack(type, table.rows.back())));
  }
  return table;
}

struct Case {
  DataType type;
  MetricType metric;
};

void PrintTo(const Case& one, std::ostream* out) {
  *out << DataTypeName(one.type) << ' ' << MetricTypeName(one.metric);
}

class MaxSimSearch : public ::testing::TestWithParam<Case> {};

TEST_P(MaxSimSearch, AgreesWithDoubleLoops) {
  const auto [type, metric] = GetParam();
  std::mt19937 random(11);
  for (const simd::Level level : simd::kLevels) {
    const simd::KernelTable* kernels = simd::KernelsFor(level);
    if (kernels == nullptr) continue;
    for (const auto& [dim, rows, most] : {std::tuple<int64_t, size_t, size_t>{8, 150, 5}, {72, 60, 40}, {24, 6, 700}}) {
      const Table table = DrawTable(random, type, dim, rows, most);
      std::vector<uint64_t> mask((rows + 63) / 64, 0);
      for (size_t row = 0; row < rows; ++row) {
        if (row % 3 != 0) mask[row / 64] |= uint64_t{1} << (row % 64);
      }
      std::vector<List> lists;
      std::vector<std::string> packed;
      for (const size_t count : {1U, 5U, 24U, 31U}) {
        lists.push_back(DrawList(random, type, dim, count));
        packed.push_back(Pack(type, lists.back()));
      }
      const auto queries = ArrayQueries::Make(type, dim, metric, {packed.begin(), packed.end()}, *kernels);
      ASSERT_TRUE(queries.ok()) << queries.status().ToString();
      ASSERT_EQ(queries->nq(), lists.size());
      for (const bool masked : {false, true}) {
        std::vector<TopK> results(lists.size(), TopK(rows, metric));
        ArrayScratch scratch;
        ArrayScan(*queries, ViewOf(table.column), masked ? mask.data() : nullptr, 1000, {}, results, scratch);
        for (size_t q = 0; q < lists.size(); ++q) {
          size_t expected = 0;
          for (size_t row = 0; row < rows; ++row) {
            expected += !table.rows[row].empty() && (!masked || row % 3 != 0) ? 1 : 0;
          }
          const std::vector<Hit> hits = results[q].TakeSorted();
          EXPECT_EQ(hits.size(), expected);
          for (size_t i = 0; i < hits.size(); ++i) {
            const double exact = MaxSim(metric, lists[q], table.rows.at(hits[i].row - 1000));
            EXPECT_NEAR(hits[i].score, exact, 1e-5 * (1 + std::abs(exact))) << "row " << hits[i].row;
            if (i == 0) continue;
            EXPECT_TRUE(IsSimilarity(metric) ? hits[i - 1].score >= hits[i].score : hits[i - 1].score <= hits[i].score);
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, MaxSimSearch,
                         ::testing::Values(Case{DataType::kFloatVector, MetricType::kMaxSim},
                                           Case{DataType::kFloatVector, MetricType::kMaxSimCosine},
                                           Case{DataType::kFloatVector, MetricType::kMaxSimIp},
                                           Case{DataType::kFloatVector, MetricType::kMaxSimL2},
                                           Case{DataType::kBFloat16Vector, MetricType::kMaxSimCosine},
                                           Case{DataType::kBFloat16Vector, MetricType::kMaxSimL2},
                                           Case{DataType::kInt8Vector, MetricType::kMaxSimIp},
                                           Case{DataType::kInt8Vector, MetricType::kMaxSimCosine},
                                           Case{DataType::kBinaryVector, MetricType::kMaxSimHamming},
                                           Case{DataType::kBinaryVector, MetricType::kMaxSimJaccard}));

class ElementSearch : public ::testing::TestWithParam<Case> {};

TEST_P(ElementSearch, OffersEveryVectorForItself) {
  const auto [type, metric] = GetParam();
  std::mt19937 random(5);
  const int64_t dim = 40;
  const Table table = DrawTable(random, type, dim, 90, 9);
  const List vectors = DrawList(random, type, dim, 30);
  std::vector<std::string> packed;
  for (const std::vector<double>& vector : vectors) packed.push_back(Pack(type, vector));
  const auto queries = ArrayQueries::Make(type, dim, metric, {packed.begin(), packed.end()});
  ASSERT_TRUE(queries.ok()) << queries.status().ToString();
  // Of every row the elements with odd numbers, or all.
  std::vector<uint16_t> odd{1, 3, 5, 7};
  const KeptElements kept = [&](size_t row) { return std::span(odd).first(table.rows[row].size() / 2); };
  for (const bool filtered : {false, true}) {
    std::vector<TopK> results(vectors.size(), TopK(1000, metric));
    ArrayScratch scratch;
    ArrayScan(*queries, ViewOf(table.column), nullptr, 7, filtered ? kept : KeptElements(), results, scratch);
    for (size_t q = 0; q < vectors.size(); ++q) {
      size_t expected = 0;
      for (const List& row : table.rows) expected += filtered ? row.size() / 2 : row.size();
      const std::vector<Hit> hits = results[q].TakeSorted();
      EXPECT_EQ(hits.size(), expected);
      for (const Hit& hit : hits) {
        const uint32_t element = HitElement(hit.row);
        EXPECT_TRUE(!filtered || element % 2 == 1);
        const double exact = Score(metric, vectors[q], table.rows.at(HitRow(hit.row) - 7).at(element));
        EXPECT_NEAR(hit.score, exact, 1e-5 * (1 + std::abs(exact)));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, ElementSearch,
                         ::testing::Values(Case{DataType::kFloatVector, MetricType::kL2},
                                           Case{DataType::kFloatVector, MetricType::kCosine},
                                           Case{DataType::kBFloat16Vector, MetricType::kIp},
                                           Case{DataType::kInt8Vector, MetricType::kCosine},
                                           Case{DataType::kBinaryVector, MetricType::kJaccard}));

TEST(ArraySearch, VastAndVanishingValuesAreScoredInDouble) {
  Table table(DataType::kFloatVector, 2);
  const List huge{{3e25, 0}, {0, -3e25}};
  const List tiny{{1e-25, 0}};
  const List zero{{0, 0}};
  for (const List& list : {huge, tiny, zero}) {
    table.column.Append(PackElements(list.size(), Pack(DataType::kFloatVector, list)));
  }
  const List query{{1e20, 1e20}, {1, 0}};
  const std::string packed = Pack(DataType::kFloatVector, query);
  const auto queries = ArrayQueries::Make(DataType::kFloatVector, 2, MetricType::kMaxSimCosine, {packed});
  ASSERT_TRUE(queries.ok());
  std::vector<TopK> results(1, TopK(10, MetricType::kMaxSimCosine));
  ArrayScratch scratch;
  ArrayScan(*queries, ViewOf(table.column), nullptr, 0, {}, results, scratch);
  const std::vector<Hit> hits = results[0].TakeSorted();
  ASSERT_EQ(hits.size(), 3U);
  EXPECT_NEAR(hits[0].score, std::sqrt(0.5) + 1, 1e-6);
  EXPECT_NEAR(hits[1].score, std::sqrt(0.5) + 1, 1e-6);
  EXPECT_EQ(hits[2], (Hit{.score = 0, .row = 2}));
}

TEST(ArraySearch, QueriesThatDoNotFitAreRefused) {
  const std::string three(12, '\0');
  EXPECT_FALSE(ArrayQueries::Make(DataType::kFloatVector, 2, MetricType::kMaxSimIp, {three}).ok());
  EXPECT_FALSE(ArrayQueries::Make(DataType::kFloatVector, 1, MetricType::kIp, {three}).ok()) << "one vector each";
  EXPECT_FALSE(ArrayQueries::Make(DataType::kFloatVector, 1, MetricType::kMaxSimIp, {""}).ok());
  EXPECT_FALSE(ArrayQueries::Make(DataType::kFloatVector, 1, MetricType::kMaxSimHamming, {three}).ok());
  EXPECT_TRUE(ArrayQueries::Make(DataType::kFloatVector, 1, MetricType::kMaxSimIp, {three}).ok());
}

}  // namespace
}  // namespace quiver::index
