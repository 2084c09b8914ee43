// Searches over rows that are not sealed, through the graphs and lists that follow them: brute force is the oracle.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "index/growing_graph.h"
#include "query/explanation.h"
#include "query/test_index_search.h"

namespace quiver::query {
namespace {

constexpr int64_t kSomeRows = 6000;
const auto kAll = [](const Row&) { return true; };

class GrowingSearchTest : public IndexSearchTest {
 protected:
  void CreateWithIndex(const std::string& type, const std::string& metric) {
    Open();
    Create();
    CreateIndex(type, metric);
    ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  }
  void InsertInBatches(int64_t from, int64_t to) {
    constexpr int64_t kBatch = 1500;
    for (int64_t first = from; first < to; first += kBatch) InsertRange(first, std::min(first + kBatch, to));
  }
  void AwaitLinked(uint64_t rows) {
    ASSERT_TRUE(Eventually([&] { return engine_->statistics().growing_indexed_rows >= rows; }))
        << engine_->statistics().growing_indexed_rows;
  }
  /// The recall with some effort, which must have come through the index of growing rows where `linked`.
  double RecallOfMany(MetricType metric, const std::string& filter = "",
                      const std::function<bool(const Row&)>& matches = kAll, bool linked = true) {
    const std::vector<Vector> queries = MakeQueries(30);
    SearchRequest request = MakeRequest(metric, queries, filter);
    request.index->ef = 64;
    request.index->recall = 0.99;  // of lists
    Explanation explanation;
    request.explanation = &explanation;
    const double recall = Recall(request, queries, model_, matches);
    EXPECT_EQ(explanation.segments.size(), 1U);
    EXPECT_EQ(explanation.segments.front().linked > 0, linked) << explanation.segments.front().why;
    return recall;
  }
};

class EveryGrowingTest : public GrowingSearchTest, public testing::WithParamInterface<Named> {};

TEST_P(EveryGrowingTest, FindsNearlyAllWithFiltersDeletesUpsertsAndTimeTravel) {
  const MetricType metric = ParseMetricType(GetParam().metric);
  ASSERT_NO_FATAL_FAILURE(CreateWithIndex(GetParam().index_type, GetParam().metric));
  InsertInBatches(0, kSomeRows);
  ASSERT_NO_FATAL_FAILURE(AwaitLinked(kSomeRows));
  EXPECT_GE(RecallOfMany(metric), 0.95);
  for (const int64_t below : {40, 50, 90, 99}) {
    EXPECT_GE(
        RecallOfMany(metric, "number < " + std::to_string(below), [&](const Row& row) { return row.number < below; }),
        0.95)
        << below;
  }
  // Few rows are scanned, exactly.
  EXPECT_EQ(RecallOfMany(metric, "number == 7", [](const Row& row) { return row.number == 7; }, false), 1);

  const engine::Timestamp before = engine_->AllocateTimestamp();
  const Model then = model_;
  std::vector<int64_t> gone;
  std::vector<int64_t> changed;
  for (int64_t key = 0; key < kSomeRows; key += 7) gone.push_back(key);
  for (int64_t key = 3; key < kSomeRows; key += 11) {
    if (key % 7 != 0) changed.push_back(key);
  }
  Delete(gone);
  Write(changed, 1, true);
  // Whether the new versions are linked or scanned, they are there and the old ones are not.
  EXPECT_GE(RecallOfMany(metric), 0.95);
  EXPECT_GE(RecallOfMany(metric, "number >= 10", [](const Row& row) { return row.number >= 10; }), 0.95);
  ASSERT_NO_FATAL_FAILURE(AwaitLinked(kSomeRows + changed.size()));
  EXPECT_GE(RecallOfMany(metric), 0.95);
  const std::vector<Vector> queries = MakeQueries(30);
  const SearchRequest travel = MakeRequest(metric, queries, "", before);
  EXPECT_TRUE(UsesIndex(travel));
  EXPECT_GE(Recall(travel, queries, then, kAll), 0.95);
  // Many queries, taken by several threads, find the same.
  ThreadPool pool({.name = "test", .threads = 3});
  const std::vector<Vector> many = MakeQueries(40);
  EXPECT_GE(Recall(MakeRequest(metric, many), many, model_, kAll, &pool), 0.95);

  // The sealed segment has an index of its own.
  Flush();
  EXPECT_EQ(engine_->statistics().growing_indexed_rows, 0U);
  AwaitIndexes();
  EXPECT_GE(Recall(metric), 0.95);
}

INSTANTIATE_TEST_SUITE_P(Names, EveryGrowingTest,
                         testing::Values(Named{"HNSW", "L2", {}}, Named{"HNSW_SQ", "IP", {}},
                                         Named{"AUTOINDEX", "COSINE", {}}, Named{"IVF_FLAT", "L2", {}},
                                         Named{"IVF_SQ8", "COSINE", {}}, Named{"IVF_RABITQ", "IP", {}}),
                         [](const auto& info) { return std::string(info.param.index_type); });

TEST_F(GrowingSearchTest, RowsAreFoundFromTheMomentTheyAreInserted) {
  ASSERT_NO_FATAL_FAILURE(CreateWithIndex("HNSW", "L2"));
  std::atomic<bool> done{false};
  std::atomic<int64_t> inserted{0};
  size_t asked = 0, missed = 0;
  // Each row is looked for by its own vector while others come and are linked.
  std::jthread reader([&] {
    std::mt19937 random(3);
    while (!done) {
      const int64_t rows = inserted.load();
      if (rows == 0) {
        std::this_thread::yield();
        continue;
      }
      const int64_t key = random() % 4 == 0 ? rows - 1 : static_cast<int64_t>(random() % static_cast<uint64_t>(rows));
      const Vector vector = MakeVector(key, 0);
      const std::vector<Vector> one{vector};
      const auto found = Search(MakeRequest(MetricType::kL2, one), nullptr);
      ASSERT_TRUE(found.ok()) << found.status().ToString();
      ASSERT_EQ(found->scores.size(), kLimit);
      ++asked;
      missed += found->primary_keys.Get<int64_t>(0) != key || found->scores[0] != 0 ? 1 : 0;
    }
  });
  for (int64_t first = 0; first < 4000; first += 100) {
    InsertRange(first, first + 100);
    inserted = first + 100;
  }
  done = true;
  reader.join();
  // A walk may overlook a row, rarely.
  EXPECT_LE(missed, asked / 50) << asked;
  AwaitLinked(4000);
}

TEST_F(GrowingSearchTest, AreLinkedAnewAfterARestart) {
  ASSERT_NO_FATAL_FAILURE(CreateWithIndex("HNSW", "COSINE"));
  InsertInBatches(0, 5000);
  ASSERT_NO_FATAL_FAILURE(AwaitLinked(5000));
  Delete({1, 2, 3});
  engine_.reset();
  Open();
  ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  EXPECT_GE(Recall(MetricType::kCosine), 0.95) << "whatever is linked by now";
  ASSERT_NO_FATAL_FAILURE(AwaitLinked(5000));
  EXPECT_GE(RecallOfMany(MetricType::kCosine), 0.95);
}

TEST_F(GrowingSearchTest, IndexesComeAndGoWithTheirDefinition) {
  Open();
  Create();
  ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  InsertInBatches(0, 3000);
  CreateIndex("HNSW", "L2");
  ASSERT_NO_FATAL_FAILURE(AwaitLinked(3000));
  EXPECT_GT(engine_->statistics().memory_bytes[static_cast<size_t>(MemoryConsumer::kIndexes)],
            3000 * index::GrowingGraph::BytesPerRow({.dim = kDim}) / 2);
  ASSERT_TRUE(engine_->Release("default", "docs", {}).ok());
  const Status dropped = engine_->DropIndex("default", "docs", "vector", Docs()->info()->indexes.front().name);
  ASSERT_TRUE(dropped.ok()) << dropped.ToString();
  ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  ASSERT_TRUE(Eventually([&] { return engine_->statistics().growing_indexed_rows == 0; }));
  EXPECT_EQ(Recall(MetricType::kL2), 1) << "scanned";
  CreateIndex("IVF_FLAT", "L2");
  InsertInBatches(3000, 4500);
  ASSERT_NO_FATAL_FAILURE(AwaitLinked(4500));
  const std::vector<Vector> queries = MakeQueries(3);
  EXPECT_TRUE(UsesIndex(MakeRequest(MetricType::kL2, queries)));
}

TEST_F(GrowingSearchTest, SearchesWithoutAKnownEndScanGrowingRows) {
  ASSERT_NO_FATAL_FAILURE(CreateWithIndex("HNSW", "L2"));
  InsertInBatches(0, 4000);
  ASSERT_NO_FATAL_FAILURE(AwaitLinked(4000));
  const std::vector<Vector> queries = MakeQueries(3);
  SearchRequest request = MakeRequest(MetricType::kL2, queries);
  EXPECT_TRUE(UsesIndex(request));
  request.radius = 100.0F;
  EXPECT_FALSE(UsesIndex(request));
  EXPECT_EQ(Recall(request, queries, model_, kAll), 1);
  request.radius.reset();
  request.index->exact = true;
  EXPECT_FALSE(UsesIndex(request));
  request.index->exact = false;
  request.metric = MetricType::kIp;
  EXPECT_FALSE(UsesIndex(request));
}

TEST_F(GrowingSearchTest, CanBeTurnedOff) {
  options_.growing_graphs = false;
  ASSERT_NO_FATAL_FAILURE(CreateWithIndex("HNSW", "L2"));
  InsertInBatches(0, 4000);
  EXPECT_EQ(Recall(MetricType::kL2), 1) << "scanned";
  EXPECT_EQ(engine_->statistics().growing_indexed_rows, 0U);
}

TEST_F(GrowingSearchTest, ThereIsNoGraphWhereMemoryIsScarce) {
  options_.memory_limit = 4 << 20;  // high mark: 2 MB
  ASSERT_NO_FATAL_FAILURE(CreateWithIndex("HNSW", "L2"));
  InsertInBatches(0, 9000);
  const uint64_t linked = engine_->statistics().growing_indexed_rows;
  EXPECT_LT(linked, 9000U);
  EXPECT_GE(Recall(MetricType::kL2), 0.95);
}

}  // namespace
}  // namespace quiver::query
