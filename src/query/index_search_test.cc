// Searches through vector indexes over an engine: brute force is the oracle.
#include "query/index_search.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "query/test_index_search.h"

namespace quiver::query {
namespace {

class EveryIndexTest : public IndexSearchTest, public testing::WithParamInterface<Named> {};

TEST_P(EveryIndexTest, FindsNearlyAllWithFiltersDeletesUpsertsAndTimeTravel) {
  const MetricType metric = ParseMetricType(GetParam().metric);
  ASSERT_NO_FATAL_FAILURE(Fill(GetParam().index_type, GetParam().metric, GetParam().params));
  const std::vector<Vector> queries = MakeQueries(20);
  EXPECT_TRUE(UsesIndex(MakeRequest(metric, queries)));
  EXPECT_GE(Recall(metric), 0.95);
  // Half of the rows: through the index. A hundredth: either way. Some 30: scanned, exactly. None: none.
  EXPECT_TRUE(UsesIndex(MakeRequest(metric, queries, "number < 80")));
  EXPECT_GE(Recall(metric, "number < 80", [](const Row& row) { return row.number < 80; }), 0.95);
  EXPECT_GE(Recall(metric, "number == 7", [](const Row& row) { return row.number == 7; }), 0.95);
  EXPECT_FALSE(UsesIndex(MakeRequest(metric, queries, "number == 7 and id < 3000")));
  EXPECT_EQ(Recall(MakeRequest(metric, queries, "number == 7 and id < 3000"), queries,
                   {model_.begin(), model_.lower_bound(3000)}, [](const Row& row) { return row.number == 7; }),
            1);
  EXPECT_EQ(Recall(metric, "number > 1000", [](const Row&) { return false; }), 1);

  const engine::Timestamp before = engine_->AllocateTimestamp();
  const Model then = model_;
  std::vector<int64_t> gone;
  std::vector<int64_t> changed;
  for (int64_t key = 0; key < kRows; key += 7) gone.push_back(key);
  for (int64_t key = 3; key < kRows; key += 11) {
    if (key % 7 != 0) changed.push_back(key);
  }
  Delete(gone);
  Write(changed, 1, true);
  EXPECT_TRUE(UsesIndex(MakeRequest(metric, queries)));
  EXPECT_GE(Recall(metric), 0.95);
  EXPECT_GE(Recall(metric, "number >= 10", [](const Row& row) { return row.number >= 10; }), 0.95);
  const SearchRequest travel = MakeRequest(metric, queries, "", before);
  EXPECT_TRUE(UsesIndex(travel));
  EXPECT_GE(Recall(travel, queries, then, [](const Row&) { return true; }), 0.95);
  // Many queries, taken by several threads, find the same.
  ThreadPool pool({.name = "test", .threads = 3});
  const std::vector<Vector> many = MakeQueries(100);
  EXPECT_GE(Recall(MakeRequest(metric, many), many, model_, [](const Row&) { return true; }, &pool), 0.95);
}

TEST_P(EveryIndexTest, ScoresARowAsAScanDoes) {
  const MetricType metric = ParseMetricType(GetParam().metric);
  ASSERT_NO_FATAL_FAILURE(Fill(GetParam().index_type, GetParam().metric, GetParam().params));
  const std::vector<Vector> queries = MakeQueries(20);
  SearchRequest request = MakeRequest(metric, queries);
  ASSERT_TRUE(UsesIndex(request));
  const auto found = Search(request, nullptr);
  request.index.reset();
  request.limit = kRows;
  const auto all = Search(request, nullptr);
  ASSERT_TRUE(found.ok() && all.ok());
  for (size_t i = 0; i < found->scores.size(); ++i) {
    const size_t query = i / kLimit;
    bool same = false;
    for (size_t row = query * kRows; row < (query + 1) * kRows; ++row) {
      if (all->primary_keys.Get<int64_t>(row) == found->primary_keys.Get<int64_t>(i)) {
        same = all->scores[row] == found->scores[i];
      }
    }
    ASSERT_TRUE(same) << "query " << query;
  }
}

INSTANTIATE_TEST_SUITE_P(Names, EveryIndexTest,
                         testing::Values(Named{"IVF_FLAT", "L2", {}}, Named{"IVF_SQ8", "COSINE", {}},
                                         Named{"IVF_RABITQ", "COSINE", {}},
                                         Named{"HNSW", "L2", {{"M", "12"}, {"efConstruction", "80"}}},
                                         Named{"AUTOINDEX", "COSINE", {}}),
                         [](const auto& info) { return std::string(info.param.index_type); });

TEST_F(IndexSearchTest, ThreadsThatShareTheSegmentsOfOneQueryFindTheSame) {
  Open();
  Create();
  CreateIndex("IVF_FLAT", "L2");
  ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  constexpr int64_t kMany = 28'000;
  for (int64_t first = 0; first < 4 * kMany; first += kMany) {
    InsertRange(first, first + kMany);
    Flush();
  }
  AwaitIndexes();
  ThreadPool pool({.name = "test", .threads = 3});
  const std::vector<Vector> queries = MakeQueries(8);
  for (const char* filter : {"", "number < 50", "number in [3, 5]"}) {
    for (const Vector& query : queries) {
      const std::vector<Vector> one{query};
      SearchRequest request = MakeRequest(MetricType::kL2, one, filter);
      request.index->nprobe = 1000;  // all lists, so that answers are exact
      const auto alone = Search(request, nullptr);
      const auto shared = Search(request, &pool);
      ASSERT_TRUE(alone.ok() && shared.ok());
      ASSERT_EQ(shared->hits_per_query, alone->hits_per_query);
      for (size_t i = 0; i < kLimit; ++i) {
        EXPECT_EQ(shared->primary_keys.Get<int64_t>(i), alone->primary_keys.Get<int64_t>(i)) << filter;
        EXPECT_EQ(shared->scores[i], alone->scores[i]);
      }
    }
  }
}

TEST_F(IndexSearchTest, NamedKeysAndWhatRawListsCannotOrderAreScanned) {
  ASSERT_NO_FATAL_FAILURE(Fill("IVF_FLAT", "L2"));
  const std::vector<Vector> queries = MakeQueries(3);
  EXPECT_FALSE(UsesIndex(MakeRequest(MetricType::kL2, queries, "id in [1, 2, 3]")));
  SearchRequest ordered = MakeRequest(MetricType::kL2, queries);
  ordered.index->exact = true;
  EXPECT_FALSE(UsesIndex(ordered));
  SearchRequest of_another_metric = MakeRequest(MetricType::kIp, queries);
  EXPECT_FALSE(UsesIndex(of_another_metric));
}

TEST_F(IndexSearchTest, AnIndexIsMappedAgainAfterARestartAndGoesWithItsDefinition) {
  ASSERT_NO_FATAL_FAILURE(Fill("IVF_FLAT", "L2"));
  EXPECT_EQ(IndexFiles().size(), 1U);
  EXPECT_EQ(builds_, 1);
  Open();
  EXPECT_EQ(engine_->statistics().indexes, 1U) << "it is there at once";
  EXPECT_GE(Recall(MetricType::kL2), 0.95);
  ASSERT_NO_FATAL_FAILURE(AwaitIndexes());
  EXPECT_EQ(builds_, 1) << "nothing is built again";
  const engine::DirectoryReport report = Check();
  EXPECT_TRUE(report.faults.empty()) << report.faults.front().what;
  EXPECT_EQ(report.indexes, 1U);
  EXPECT_EQ(report.orphans, 0U);

  Open();
  ASSERT_TRUE(engine_->Release("default", "docs", {}).ok());
  ASSERT_TRUE(engine_->DropIndex("default", "docs", "vector", "").ok());
  while (!IndexFiles().empty()) std::this_thread::yield();
  EXPECT_EQ(engine_->statistics().indexes, 0U);
  CreateIndex("IVF_FLAT", "IP", {{"nlist", "16"}});
  ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  ASSERT_NO_FATAL_FAILURE(AwaitIndexes());
  EXPECT_EQ(IndexFiles().size(), 1U);
  EXPECT_GE(Recall(MetricType::kIp), 0.9);
  ASSERT_TRUE(engine_->DropCollection("default", "docs").ok());
  while (!IndexFiles().empty()) std::this_thread::yield();
}

TEST_F(IndexSearchTest, CompactionBringsTheIndexAlong) {
  ASSERT_NO_FATAL_FAILURE(Fill("IVF_FLAT", "L2"));
  InsertRange(kRows, kRows + 6000);
  Flush();
  ASSERT_NO_FATAL_FAILURE(AwaitIndexes());
  EXPECT_EQ(engine_->statistics().indexes, 2U);
  std::vector<int64_t> gone(1000);
  std::iota(gone.begin(), gone.end(), 100);
  Delete(gone);
  const auto id = engine_->Compact(Docs());
  ASSERT_TRUE(id.ok());
  while (!engine_->CompactionState(*id).done) {
    EXPECT_GE(engine_->statistics().indexes, 1U) << "never without an index";
    std::this_thread::yield();
  }
  EXPECT_EQ(engine_->statistics().indexes, 1U);
  EXPECT_EQ(builds_, 3);
  EXPECT_GE(Recall(MetricType::kL2), 0.95);
  EXPECT_EQ(IndexFiles().size(), 1U);
  const engine::DirectoryReport report = Check();
  EXPECT_TRUE(report.faults.empty()) << report.faults.front().what;
  EXPECT_EQ(report.orphans, 0U);
  Open();
  EXPECT_EQ(engine_->statistics().indexes, 1U);
  EXPECT_GE(Recall(MetricType::kL2), 0.95);
}

TEST_F(IndexSearchTest, ADamagedIndexIsNotUsedAndBuiltAnew) {
  ASSERT_NO_FATAL_FAILURE(Fill("IVF_FLAT", "L2"));
  const std::vector<std::string> files = IndexFiles();
  ASSERT_EQ(files.size(), 1U);
  const auto contents = files_->ReadFile(files[0]);
  ASSERT_TRUE(contents.ok());
  std::mt19937_64 random(5);
  for (int round = 0; round < 5; ++round) {
    engine_.reset();
    const std::vector<std::string> now = IndexFiles();
    ASSERT_EQ(now.size(), 1U);
    // Many bits, so that a search meets some of them.
    const uint64_t bits = round == 0 ? 1 : 400;
    for (uint64_t i = 0; i < bits; ++i) {
      ASSERT_TRUE(files_->FlipBit(now[0], round == 0 ? 3 : random() % (contents->size() * 8)));
    }
    if (round == 1) {
      const engine::DirectoryReport report = Check();
      ASSERT_EQ(report.faults.size(), 1U);
      EXPECT_EQ("data/" + report.faults[0].file, now[0]);
    }
    Open();
    EXPECT_GE(Recall(MetricType::kL2), 0.95) << "round " << round;
    EXPECT_GE(Recall(MetricType::kL2, "number < 70", [](const Row& row) { return row.number < 70; }), 0.95);
    EXPECT_EQ(engine_->statistics().fenced_segments, 0U);
    ASSERT_TRUE(Eventually([&] { return IndexFiles() != now; })) << "the damaged index was not built anew";
    ASSERT_NO_FATAL_FAILURE(AwaitIndexes());
  }
  // The repair does the same without a server.
  engine_.reset();
  ASSERT_TRUE(files_->FlipBit(IndexFiles()[0], 9));
  EXPECT_EQ(Check(true).unrepaired, 0U);
  EXPECT_TRUE(Check().faults.empty());
  Open();
  EXPECT_EQ(engine_->RowCount(*Docs(), "").ok() ? *engine_->RowCount(*Docs(), "") : -1, kRows);
  ASSERT_NO_FATAL_FAILURE(AwaitIndexes());
  EXPECT_GE(Recall(MetricType::kL2), 0.95);
}

TEST_F(IndexSearchTest, FewMatchesAreScanned) {
  EXPECT_TRUE(ScanIsCheaper(0, 10));
  EXPECT_TRUE(ScanIsCheaper(1000, 10));
  EXPECT_FALSE(ScanIsCheaper(1'000'000, 10));
  EXPECT_FALSE(ScanIsCheaper(10'000, 10));
  EXPECT_TRUE(ScanIsCheaper(20'000, 16'384)) << "nearly all rows are wanted";
}

}  // namespace
}  // namespace quiver::query
