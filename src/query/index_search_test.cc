// Searches through vector indexes over an engine: brute force is the oracle.
#include "query/index_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <future>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <thread>

#include "base/thread_pool.h"
#include "engine/test_engine.h"
#include "query/search.h"

namespace quiver::query {
namespace {

using engine::Engine;
using engine::IndexState;
using engine::MakeField;

constexpr int64_t kPk = 100;
constexpr int64_t kNumber = 101;
constexpr int64_t kVector = 102;
constexpr int64_t kDim = 16;
constexpr int64_t kRows = 12'000;
constexpr size_t kLimit = 10;

using Vector = std::array<float, kDim>;

/// Vectors around 40 centres, one for each (key, version).
const Vector& MakeVector(int64_t key, int64_t version) {
  static std::map<std::pair<int64_t, int64_t>, Vector> made;
  const auto [entry, is_new] = made.try_emplace({version, key});
  Vector& values = entry->second;
  if (!is_new) return values;
  std::mt19937_64 random(static_cast<uint64_t>(key * 31 + version));
  std::normal_distribution<float> noise(0, 0.6F);
  std::mt19937_64 centre(random() % 40);
  std::normal_distribution<float> wide(0, 1);
  for (float& value : values) value = wide(centre) + noise(random);
  return values;
}

/// What a collection must show: number and version of each key.
struct Row {
  int64_t number;
  int64_t version;
};
using Model = std::map<int64_t, Row>;

std::string_view BytesOf(const Vector& vector) {
  return {reinterpret_cast<const char*>(vector.data()), sizeof(vector)};
}

class IndexSearchTest : public engine::EngineTestBase {
 protected:
  IndexSearchTest() {
    options_.flush_min_bytes = 0;
    options_.compaction = false;
    options_.index_min_rows = 500;
    options_.retention_seconds = 3600;
    options_.build_index = [this](const index::IndexRecipe& recipe, const ColumnView& vectors,
                                  const index::BuildControl& control) {
      ++builds_;
      return index::BuildVectorIndex(recipe, vectors, control);
    };
  }
  // The engine's threads use what the derived class holds.
  ~IndexSearchTest() override { engine_.reset(); }

  void Create() {
    EngineTestBase::Create("docs", {engine::MakeKeyField(kPk), MakeField(kNumber, "number", DataType::kInt64),
                                    MakeField(kVector, "vector", DataType::kFloatVector, kDim)});
  }

  void CreateIndex(const std::string& type, const std::string& metric, const KeyValues& params = {}) {
    const Status made = engine_->CreateIndex("default", "docs", "vector",
                                             {.index_type = type, .metric_type = metric, .params = params});
    ASSERT_TRUE(made.ok()) << made.ToString();
  }
  /// Waits until nothing is pending and something was built.
  void AwaitIndexes() {
    const auto progress = [&] { return engine_->DescribeProgress(*Docs(), Docs()->info()->indexes.front()); };
    ASSERT_TRUE(Eventually([&] { return progress().state != IndexState::kInProgress; }));
    ASSERT_EQ(progress().state, IndexState::kFinished) << progress().reason;
    ASSERT_GT(engine_->statistics().indexes, 0U) << "no structure serves it";
  }

  void Write(const std::vector<int64_t>& keys, int64_t version, bool upsert = false) {
    ColumnBatch batch;
    Column ids = Column::Make(kPk, DataType::kInt64);
    Column numbers = Column::Make(kNumber, DataType::kInt64);
    Column vectors = Column::Make(kVector, DataType::kFloatVector, kDim);
    for (const int64_t key : keys) {
      ids.AppendValue(key);
      numbers.AppendValue(key % 100);
      vectors.Append(BytesOf(MakeVector(key, version)));
      model_[key] = {key % 100, version};
    }
    batch.rows = keys.size();
    batch.columns = {ids, numbers, vectors};
    engine::WriteRequest request{.collection = Docs(), .batch = std::move(batch)};
    const Status status = (upsert ? Upsert(std::move(request)) : Insert(std::move(request))).status();
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  void InsertRange(int64_t from, int64_t to) {
    std::vector<int64_t> keys(static_cast<size_t>(to - from));
    std::iota(keys.begin(), keys.end(), from);
    Write(keys, 0);
  }
  void Delete(const std::vector<int64_t>& keys) {
    for (const int64_t key : keys) model_.erase(key);
    ASSERT_TRUE(EngineTestBase::Delete({.collection = Docs(), .primary_keys = engine::MakeKeys(kPk, keys)}).ok());
  }
  void Flush() {
    const auto flushed = engine_->Flush(Docs());
    ASSERT_TRUE(flushed.ok()) << flushed.status().ToString();
  }
  /// One sealed segment of kRows rows with the index over it.
  void Fill(const std::string& type, const std::string& metric, const KeyValues& params = {}) {
    Open();
    Create();
    CreateIndex(type, metric, params);
    ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
    InsertRange(0, kRows);
    Flush();
    AwaitIndexes();
  }

  SearchRequest MakeRequest(MetricType metric, const std::vector<Vector>& queries, const std::string& filter = "",
                            engine::Timestamp travel = 0) {
    SearchRequest request;
    auto view = engine_->OpenView(*Docs(), {}, 0, std::chrono::steady_clock::time_point::max(), travel);
    EXPECT_TRUE(view.ok()) << view.status().ToString();
    request.view = *std::move(view);
    request.field_id = kVector;
    request.metric = metric;
    for (const Vector& query : queries) request.queries.push_back(BytesOf(query));
    request.limit = kLimit;
    if (!filter.empty()) {
      auto compiled = expr::Filter::Compile(filter, *Docs()->info()->schema, {});
      EXPECT_TRUE(compiled.ok()) << compiled.status().ToString();
      request.filter = *std::move(compiled);
    }
    const auto info = Docs()->info();
    if (!info->indexes.empty()) request.index = IndexUse{.index_id = info->indexes.front().id};
    return request;
  }
  static std::vector<Vector> MakeQueries(size_t count) {
    std::vector<Vector> queries;
    for (size_t i = 0; i < count; ++i) queries.push_back(MakeVector(1'000'000 + static_cast<int64_t>(i), 7));
    return queries;
  }

  static float Score(MetricType metric, const Vector& a, const Vector& b) {
    double dot = 0;
    double a2 = 0;
    double b2 = 0;
    double distance = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      dot += double{a[i]} * b[i];
      a2 += double{a[i]} * a[i];
      b2 += double{b[i]} * b[i];
      distance += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    }
    if (metric == MetricType::kL2) return static_cast<float>(distance);
    if (metric == MetricType::kIp) return static_cast<float>(dot);
    return static_cast<float>(dot / std::sqrt(a2 * b2));
  }
  /// Searches and compares with the model: as many hits as there can be, all of them live and matching, with their true
  /// scores in order. Returns the recall.
  double Recall(const SearchRequest& request, const std::vector<Vector>& queries, const Model& model,
                const std::function<bool(const Row&)>& matches, ThreadPool* pool = nullptr) {
    const auto result = Search(request, pool);
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    if (!result.ok()) return 0;
    size_t found = 0;
    size_t wanted = 0;
    size_t at = 0;
    for (size_t query = 0; query < queries.size(); ++query) {
      std::vector<std::pair<float, int64_t>> truth;
      for (const auto& [key, row] : model) {
        if (!matches(row)) continue;
        const float score = Score(request.metric, queries[query], MakeVector(key, row.version));
        truth.emplace_back(IsSimilarity(request.metric) ? -score : score, key);
      }
      const size_t want = std::min(request.limit, truth.size());
      std::partial_sort(truth.begin(), truth.begin() + static_cast<ptrdiff_t>(want), truth.end());
      std::set<int64_t> best;
      for (size_t i = 0; i < want; ++i) best.insert(truth[i].second);
      const auto hits = static_cast<size_t>(result->hits_per_query[query]);
      EXPECT_EQ(hits, want);
      std::set<int64_t> seen;
      for (size_t i = 0; i < hits; ++i, ++at) {
        const int64_t key = result->primary_keys.Get<int64_t>(at);
        EXPECT_TRUE(seen.insert(key).second) << "key " << key << " is there twice";
        const auto row = model.find(key);
        if (row == model.end() || !matches(row->second)) {
          ADD_FAILURE() << "key " << key << " must not be there";
          continue;
        }
        EXPECT_NEAR(result->scores[at], Score(request.metric, queries[query], MakeVector(key, row->second.version)),
                    1e-3);
        if (i > 0) {
          EXPECT_TRUE(IsSimilarity(request.metric) ? result->scores[at] <= result->scores[at - 1]
                                                   : result->scores[at] >= result->scores[at - 1]);
        }
        found += best.contains(key) ? 1 : 0;
      }
      wanted += want;
    }
    return wanted == 0 ? 1 : static_cast<double>(found) / static_cast<double>(wanted);
  }
  double Recall(
      MetricType metric, const std::string& filter = "",
      const std::function<bool(const Row&)>& matches = [](const Row&) { return true; }) {
    const std::vector<Vector> queries = MakeQueries(60);
    return Recall(MakeRequest(metric, queries, filter), queries, model_, matches);
  }
  bool UsesIndex(const SearchRequest& request) {
    const auto plan = PlanIndexes(request, request.limit, nullptr);
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    return plan.ok() && plan->any();
  }
  std::atomic<int> builds_{0};
  Model model_;
};

struct Named {
  const char* index_type;
  const char* metric;
  KeyValues params;
};

class EveryIndexTest : public IndexSearchTest, public testing::WithParamInterface<Named> {};

TEST_P(EveryIndexTest, FindsNearlyAllWithFiltersDeletesUpsertsAndTimeTravel) {
  const MetricType metric = ParseMetricType(GetParam().metric);
  ASSERT_NO_FATAL_FAILURE(Fill(GetParam().index_type, GetParam().metric, GetParam().params));
  const std::vector<Vector> queries = MakeQueries(20);
  EXPECT_TRUE(UsesIndex(MakeRequest(metric, queries)));
  EXPECT_GE(Recall(metric), 0.95);
  // Half of the rows: through the index. A hundredth: scanned, exactly. None: none.
  EXPECT_TRUE(UsesIndex(MakeRequest(metric, queries, "number < 80")));
  EXPECT_GE(Recall(metric, "number < 80", [](const Row& row) { return row.number < 80; }), 0.95);
  EXPECT_FALSE(UsesIndex(MakeRequest(metric, queries, "number == 7")));
  EXPECT_EQ(Recall(metric, "number == 7", [](const Row& row) { return row.number == 7; }), 1);
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

TEST_F(IndexSearchTest, RangesGroupsAndNamedKeysStayExact) {
  ASSERT_NO_FATAL_FAILURE(Fill("IVF_FLAT", "L2"));
  const std::vector<Vector> queries = MakeQueries(3);
  EXPECT_FALSE(UsesIndex(MakeRequest(MetricType::kL2, queries, "id in [1, 2, 3]")));
  SearchRequest range = MakeRequest(MetricType::kL2, queries);
  range.radius = 10.0F;
  EXPECT_FALSE(UsesIndex(range));
  SearchRequest grouped = MakeRequest(MetricType::kL2, queries);
  grouped.group = Grouping{.fields = {kNumber}, .size = 1};
  EXPECT_FALSE(UsesIndex(grouped));
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
    while (IndexFiles() == now) std::this_thread::yield();
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
