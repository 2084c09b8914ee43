// File: query/test_index_search.h
// IndexSearchTest: an engine with one collection of clustered vectors, a model of what it holds, and searches compared
// with the model. For tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <functional>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "engine/test_engine.h"
#include "query/index_search.h"
#include "query/search.h"

namespace quiver::query {

using engine::Engine;
using engine::IndexState;
using engine::MakeField;

inline constexpr int64_t kPk = 100;
inline constexpr int64_t kNumber = 101;
inline constexpr int64_t kVector = 102;
inline constexpr int64_t kDim = 16;
inline constexpr int64_t kRows = 12'000;
inline constexpr size_t kLimit = 10;

using Vector = std::array<float, kDim>;

/// Vectors around 40 centres, one for each (key, version).
inline const Vector& MakeVector(int64_t key, int64_t version) {
  static std::mutex mutex;  // some tests ask for vectors while others write them
  static std::map<std::pair<int64_t, int64_t>, Vector> made;
  const std::lock_guard lock(mutex);
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

inline std::string_view BytesOf(const Vector& vector) {
  return {reinterpret_cast<const char*>(vector.data()), sizeof(vector)};
}

/// An index by the names that clients use.
struct Named {
  const char* index_type;
  const char* metric;
  KeyValues params;
};

class IndexSearchTest : public engine::EngineTestBase {
 protected:
  IndexSearchTest() {
    index::SetSearchTiming(false);
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
  ~IndexSearchTest() override {
    engine_.reset();
    index::SetSearchTiming(true);
  }

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
      numbers.AppendValue(number_of_(key));
      vectors.Append(BytesOf(MakeVector(key, version)));
      model_[key] = {number_of_(key), version};
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
  std::function<int64_t(int64_t)> number_of_ = [](int64_t key) { return key % 100; };
  Model model_;
};

}  // namespace quiver::query
