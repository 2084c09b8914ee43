// Streams of hits of every structure against the exact scan as the oracle.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "index/vector_index.h"

namespace quiver::index {
namespace {

constexpr size_t kRows = 6000;
constexpr size_t kQueries = 4;
constexpr size_t kDim = 24;

/// What an index is built over, and what it is asked.
struct Data {
  IndexRecipe recipe;
  Column column;
  std::vector<std::string> queries;
  std::string bytes;
  std::unique_ptr<VectorIndex> index;

  [[nodiscard]] FlatQueries Prepared() const {
    return *FlatQueries::Make(recipe.type, recipe.dim, recipe.metric, {queries.begin(), queries.end()});
  }
  void Build() {
    auto built = BuildVectorIndex(recipe, ViewOf(column), {});
    ASSERT_TRUE(built.ok()) << built.status().ToString();
    bytes = *std::move(built);
    auto opened = OpenVectorIndex(bytes, "test.vix");
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    index = *std::move(opened);
  }
};

std::string FloatBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::vector<float> Clustered(std::mt19937& random, float spread, float apart) {
  std::normal_distribution<float> normal;
  std::mt19937 centre(random() % 30);
  std::vector<float> values(kDim);
  for (float& value : values) value = apart * normal(centre) + spread * normal(random);
  return values;
}

/// Rows in clusters, of different lengths, some of them equal, null, zero or far beyond the others.
Data DenseData(IndexStructure structure, IndexCodec codec, MetricType metric, uint32_t code_bits = 7) {
  Data data;
  data.recipe.structure = structure;
  data.recipe.codec = codec;
  data.recipe.metric = metric;
  data.recipe.dim = kDim;
  data.recipe.degree = 24;
  data.recipe.ef_construction = 80;
  data.recipe.code_bits = code_bits;
  data.recipe.quantizers = kDim / 3;
  data.column = Column::Make(1, DataType::kFloatVector, kDim);
  std::mt19937 random(7);
  for (size_t i = 0; i < kRows; ++i) {
    std::vector<float> values = Clustered(random, 0.5f, 1);
    const float length = i % 3 == 0 ? 1.0f : 1.5f;
    for (float& value : values) value *= length;
    if (i % 50 == 1) values = std::vector<float>(kDim, static_cast<float>(i % 4));
    if (i == 77) values.assign(kDim, 1e25f);
    data.column.Append(FloatBytes(values));
  }
  for (size_t q = 0; q < kQueries; ++q) data.queries.push_back(FloatBytes(Clustered(random, 0.5f, 1)));
  return data;
}

Data BinaryData(IndexStructure structure) {
  Data data;
  data.recipe.structure = structure;
  data.recipe.codec = IndexCodec::kRaw;
  data.recipe.type = DataType::kBinaryVector;
  data.recipe.metric = MetricType::kHamming;
  data.recipe.dim = 64;
  data.column = Column::Make(1, DataType::kBinaryVector, 64);
  std::mt19937_64 random(3);
  for (size_t i = 0; i < kRows + kQueries; ++i) {
    const uint64_t bits = random() & random();
    const std::string bytes(reinterpret_cast<const char*>(&bits), 8);
    if (i < kRows) {
      data.column.Append(bytes);
    } else {
      data.queries.push_back(bytes);
    }
  }
  return data;
}

Data SparseData() {
  Data data;
  data.recipe.structure = IndexStructure::kInverted;
  data.recipe.codec = IndexCodec::kRaw;
  data.recipe.type = DataType::kSparseFloatVector;
  data.recipe.metric = MetricType::kIp;
  data.recipe.dim = 0;
  data.column = Column::Make(1, DataType::kSparseFloatVector);
  std::mt19937 random(5);
  for (size_t i = 0; i < kRows + kQueries; ++i) {
    std::set<uint32_t> dims;
    while (dims.size() < 8) dims.insert(static_cast<uint32_t>(random() % 200));
    std::string bytes;
    for (const uint32_t dim : dims) {
      const float value = static_cast<float>(random() % 100) / 50 - 0.5f;
      bytes.append(reinterpret_cast<const char*>(&dim), 4);
      bytes.append(reinterpret_cast<const char*>(&value), 4);
    }
    if (i < kRows) {
      data.column.Append(bytes);
    } else {
      data.queries.push_back(bytes);
    }
  }
  return data;
}

struct Mask {
  std::vector<uint64_t> bits;
  uint64_t count = 0;

  [[nodiscard]] RowFilter filter() const { return {bits.empty() ? nullptr : bits.data(), count}; }
};

Mask RandomMask(double share, unsigned seed) {
  Mask mask;
  if (share >= 1) return mask;
  mask.bits.assign((kRows + 63) / 64, 0);
  std::mt19937 random(seed);
  for (size_t row = 0; row < kRows; ++row) {
    if (std::uniform_real_distribution<double>()(random) >= share) continue;
    mask.bits[row / 64] |= uint64_t{1} << (row % 64);
    ++mask.count;
  }
  return mask;
}

std::vector<Hit> Brute(const Data& data, const FlatQueries& queries, size_t query, const Mask& mask) {
  std::vector<TopK> results(queries.nq(), TopK(kRows, data.recipe.metric));
  FlatScratch scratch;
  FlatScan(queries, ViewOf(data.column), mask.filter().bits, 0, results, scratch);
  return results[query].TakeSorted();
}

/// Asks a stream to its end, in pages of rising size.
std::vector<Hit> Drain(HitStream& stream, size_t first_page) {
  std::vector<Hit> hits;
  for (size_t page = first_page; !stream.ended(); page = page * 2 + 1) {
    const size_t before = hits.size();
    const Status status = stream.Next(page, hits);
    EXPECT_TRUE(status.ok()) << status.ToString();
    if (!status.ok()) break;
    EXPECT_LE(hits.size(), before + page);
    EXPECT_TRUE(hits.size() == before + page || stream.ended()) << "a page is short before the end";
  }
  std::vector<Hit> more;
  EXPECT_TRUE(stream.Next(10, more).ok());
  EXPECT_TRUE(more.empty());
  return hits;
}

std::vector<Hit> Sorted(std::vector<Hit> hits, bool similarity) {
  std::sort(hits.begin(), hits.end(), [&](const Hit& a, const Hit& b) {
    return a.score != b.score ? (a.score > b.score) == similarity : a.row < b.row;
  });
  return hits;
}

/// Drains streams under filters of many sizes and compares them with the scan.
void CheckStreams(const Data& data, double least_recall) {
  const FlatQueries queries = data.Prepared();
  const bool similarity = IsSimilarity(data.recipe.metric);
  for (const double share : {1.0, 0.5, 0.1, 0.01, 0.001}) {
    const Mask mask = RandomMask(share, 11);
    size_t wanted = 0;
    size_t found = 0;
    for (size_t q = 0; q < kQueries; ++q) {
      const std::vector<Hit> brute = Brute(data, queries, q, mask);
      for (const bool exact : {false, true}) {
        SCOPED_TRACE(testing::Message() << "share " << share << " query " << q << (exact ? " exact" : ""));
        StreamOptions options;
        options.exact = exact;
        auto stream = data.index->OpenStream(queries, q, ViewOf(data.column), mask.filter(), options, 0);
        ASSERT_TRUE(stream.ok()) << stream.status().ToString();
        const std::vector<Hit> hits = Drain(**stream, 10);
        ASSERT_EQ(hits.size(), brute.size());
        EXPECT_EQ(Sorted(hits, similarity), Sorted(brute, similarity)) << "each row once, with its score";
        if (exact) {
          for (size_t i = 0; i < hits.size(); ++i) ASSERT_EQ(hits[i].score, brute[i].score) << "out of order at " << i;
          continue;
        }
        for (const size_t k : {10, 31, 400}) {
          if (brute.size() < k) continue;
          const float last = brute[k - 1].score;
          wanted += k;
          found += static_cast<size_t>(
              std::count_if(hits.begin(), hits.begin() + static_cast<ptrdiff_t>(k),
                            [&](const Hit& hit) { return similarity ? hit.score >= last : hit.score <= last; }));
        }
      }
    }
    if (wanted > 0) {
      EXPECT_GE(static_cast<double>(found) / static_cast<double>(wanted), least_recall) << "share " << share;
    }
  }
}

constexpr MetricType kMetrics[] = {MetricType::kL2, MetricType::kIp, MetricType::kCosine};

TEST(HitStreamTest, GraphsGiveEveryRowOnceNearestFirst) {
  for (const MetricType metric : kMetrics) {
    SCOPED_TRACE(MetricTypeName(metric));
    Data data = DenseData(IndexStructure::kGraph, IndexCodec::kSq8, metric);
    ASSERT_NO_FATAL_FAILURE(data.Build());
    ASSERT_NO_FATAL_FAILURE(CheckStreams(data, 0.95));
  }
}

TEST(HitStreamTest, GraphsOfProductCodesGiveEveryRowOnceNearestFirst) {
  for (const MetricType metric : kMetrics) {
    SCOPED_TRACE(MetricTypeName(metric));
    Data data = DenseData(IndexStructure::kGraph, IndexCodec::kPq, metric, 4);
    data.recipe.stages = 2;
    ASSERT_NO_FATAL_FAILURE(data.Build());
    EXPECT_EQ(data.index->recipe().codec, IndexCodec::kPq);
    ASSERT_NO_FATAL_FAILURE(CheckStreams(data, 0.93));
  }
}

/// Products of rows that are equally long, nearly, are compared by direction.
TEST(HitStreamTest, ProductsOfEquallyLongRowsStayInOrder) {
  Data data = DenseData(IndexStructure::kGraph, IndexCodec::kSq8, MetricType::kIp);
  data.column = Column::Make(1, DataType::kFloatVector, kDim);
  std::mt19937 random(9);
  for (size_t i = 0; i < kRows; ++i) {
    std::vector<float> values = Clustered(random, 0.5f, 1);
    float norm = 0;
    for (const float value : values) norm += value * value;
    const float length = 1 - 9e-4f * static_cast<float>(random() % 1000) / 1000;
    for (float& value : values) value *= length / std::sqrt(norm);
    data.column.Append(FloatBytes(values));
  }
  ASSERT_NO_FATAL_FAILURE(data.Build());
  ASSERT_NO_FATAL_FAILURE(CheckStreams(data, 0.95));
}

TEST(HitStreamTest, ListsGiveEveryRowOnceNearestFirst) {
  for (const MetricType metric : kMetrics) {
    for (const auto& [codec, bits] : {std::pair{IndexCodec::kRaw, 7U},
                                      {IndexCodec::kSq8, 8U},
                                      {IndexCodec::kRabitq, 7U},
                                      {IndexCodec::kRabitq, 1U},
                                      {IndexCodec::kPq, 4U},
                                      {IndexCodec::kPq, 8U}}) {
      SCOPED_TRACE(testing::Message() << MetricTypeName(metric) << " codec " << static_cast<int>(codec) << " bits "
                                      << bits);
      Data data = DenseData(IndexStructure::kLists, codec, metric, bits);
      ASSERT_NO_FATAL_FAILURE(data.Build());
      ASSERT_NO_FATAL_FAILURE(CheckStreams(data, 0.9));
    }
  }
}

TEST(HitStreamTest, BinaryGraphsGiveEveryRowOnceNearestFirst) {
  for (const MetricType metric : {MetricType::kHamming, MetricType::kJaccard}) {
    Data data = BinaryData(IndexStructure::kGraph);
    data.recipe.metric = metric;
    ASSERT_NO_FATAL_FAILURE(data.Build());
    ASSERT_NO_FATAL_FAILURE(CheckStreams(data, 0.9));
  }
}

TEST(HitStreamTest, BinaryAndSparseVectorsAreScoredExactly) {
  for (const bool binary : {true, false}) {
    Data data = binary ? BinaryData(IndexStructure::kLists) : SparseData();
    ASSERT_NO_FATAL_FAILURE(data.Build());
    ASSERT_NO_FATAL_FAILURE(CheckStreams(data, 1));
  }
}

TEST(HitStreamTest, LeavesOutWhatIsTooNear) {
  for (const IndexStructure structure : {IndexStructure::kGraph, IndexStructure::kLists}) {
    for (const MetricType metric : kMetrics) {
      SCOPED_TRACE(testing::Message() << MetricTypeName(metric) << " structure " << static_cast<int>(structure));
      const bool graph = structure == IndexStructure::kGraph;
      Data data = DenseData(structure, graph ? IndexCodec::kSq8 : IndexCodec::kRabitq, metric);
      ASSERT_NO_FATAL_FAILURE(data.Build());
      const FlatQueries queries = data.Prepared();
      const bool similarity = IsSimilarity(metric);
      for (const double share : {1.0, 0.2}) {
        const Mask mask = RandomMask(share, 12);
        std::vector<Hit> brute = Brute(data, queries, 0, mask);
        for (const size_t at : {size_t{0}, size_t{5}, size_t{300}, brute.size() - 1}) {
          const float border = brute[at].score;
          std::vector<Hit> wanted;
          std::copy_if(brute.begin(), brute.end(), std::back_inserter(wanted),
                       [&](const Hit& hit) { return similarity ? hit.score <= border : hit.score >= border; });
          for (const bool exact : {false, true}) {
            StreamOptions options;
            options.exact = exact;
            options.nearest = border;
            auto stream = data.index->OpenStream(queries, 0, ViewOf(data.column), mask.filter(), options, 0);
            ASSERT_TRUE(stream.ok());
            const std::vector<Hit> hits = Drain(**stream, 50);
            EXPECT_EQ(Sorted(hits, similarity), Sorted(wanted, similarity)) << "border at row " << at;
            if (exact) {
              // Rows beyond the border are not scored one by one.
              EXPECT_LT((*stream)->counters().exact_distances, wanted.size() + brute.size() / 2 + 400);
            }
          }
        }
      }
    }
  }
}

TEST(HitStreamTest, ReadsNoMoreThanIsAskedFor) {
  for (const IndexStructure structure : {IndexStructure::kGraph, IndexStructure::kLists}) {
    const bool graph = structure == IndexStructure::kGraph;
    Data data = DenseData(structure, graph ? IndexCodec::kSq8 : IndexCodec::kRabitq, MetricType::kL2);
    ASSERT_NO_FATAL_FAILURE(data.Build());
    const FlatQueries queries = data.Prepared();
    auto stream = data.index->OpenStream(queries, 0, ViewOf(data.column), {}, {}, 0);
    ASSERT_TRUE(stream.ok());
    std::vector<Hit> hits;
    for (int page = 0; page < 3; ++page) ASSERT_TRUE((*stream)->Next(10, hits).ok());
    const IndexCounters& counters = (*stream)->counters();
    EXPECT_LT(counters.code_distances, kRows / 2) << "structure " << static_cast<int>(structure);
    EXPECT_LT(counters.exact_distances, 400U);
    EXPECT_FALSE((*stream)->ended());
    EXPECT_GT((*stream)->memory_bytes(), 100U);
  }
}

TEST(HitStreamTest, CanBeCancelled) {
  for (const IndexStructure structure : {IndexStructure::kGraph, IndexStructure::kLists}) {
    const bool graph = structure == IndexStructure::kGraph;
    Data data = DenseData(structure, graph ? IndexCodec::kSq8 : IndexCodec::kRabitq, MetricType::kL2);
    ASSERT_NO_FATAL_FAILURE(data.Build());
    const FlatQueries queries = data.Prepared();
    StreamOptions options;
    options.search.cancelled = [] { return true; };
    auto stream = data.index->OpenStream(queries, 0, ViewOf(data.column), {}, options, 0);
    ASSERT_TRUE(stream.ok());
    std::vector<Hit> hits;
    EXPECT_EQ((*stream)->Next(kRows, hits).code(), StatusCode::kCancelled);
  }
}

TEST(HitStreamTest, NothingMatches) {
  Data data = DenseData(IndexStructure::kGraph, IndexCodec::kSq8, MetricType::kL2);
  ASSERT_NO_FATAL_FAILURE(data.Build());
  const std::vector<uint64_t> none((kRows + 63) / 64, 0);
  const FlatQueries queries = data.Prepared();
  auto stream = data.index->OpenStream(queries, 0, ViewOf(data.column), {none.data(), 0}, {}, 0);
  ASSERT_TRUE(stream.ok());
  EXPECT_TRUE((*stream)->ended());
  EXPECT_TRUE(Drain(**stream, 1).empty());
}

}  // namespace
}  // namespace quiver::index
