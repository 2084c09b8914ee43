// Searches, queries and counts under filters on the partition key: brute force over a model is the oracle.
#include "query/key_rows.h"

#include <gtest/gtest.h>

#include <bit>

#include "query/explanation.h"
#include "query/match.h"
#include "query/test_index_search.h"

namespace quiver::query {
namespace {

/// The number is the partition key: a third of the rows have 0, the others 1 to 100.
class KeyRowsTest : public IndexSearchTest {
 protected:
  KeyRowsTest() {
    number_of_ = [](int64_t key) { return key % 3 == 0 ? 0 : key % 100 + 1; };
  }

  void CreateKeyed() {
    FieldSchema number = MakeField(kNumber, "number", DataType::kInt64);
    number.is_partition_key = true;
    EngineTestBase::Create(
        "docs", {engine::MakeKeyField(kPk), number, MakeField(kVector, "vector", DataType::kFloatVector, kDim)});
  }
  void FillKeyed(const std::string& index_type) {
    Open();
    CreateKeyed();
    CreateIndex(index_type, "L2");
    ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
    InsertRange(0, kRows);
    Flush();
    AwaitIndexes();
  }

  struct Asked {
    const char* filter;
    std::function<bool(const Row&)> matches;
  };
  const std::vector<Asked> asked_ = {
      {"number == 0", [](const Row& row) { return row.number == 0; }},
      {"number == 17", [](const Row& row) { return row.number == 17; }},
      {"number in [17, 3, 44, 999]",
       [](const Row& row) { return row.number == 17 || row.number == 3 || row.number == 44; }},
      {"number == 0 and number < 5", [](const Row& row) { return row.number == 0; }},
      {"number in [0, 5] and number > 2", [](const Row& row) { return row.number == 5; }},
      {"number == 5 and number == 6", [](const Row&) { return false; }},
      {"number == 1000", [](const Row&) { return false; }},
      {"number == 17 or number == 18", [](const Row& row) { return row.number == 17 || row.number == 18; }},
      {"not (number == 0)", [](const Row& row) { return row.number != 0; }},
  };

  /// Searches and counts by each filter at a moment (0 = now) and compares with what the model held then.
  void CompareAll(const Model& model, engine::Timestamp travel = 0) {
    const std::vector<Vector> queries = MakeQueries(6);
    for (const Asked& asked : asked_) {
      SCOPED_TRACE(asked.filter);
      const SearchRequest request = MakeRequest(MetricType::kL2, queries, asked.filter, travel);
      EXPECT_GE(Recall(request, queries, model, asked.matches), 0.95);
      const auto counted = Count(request.view, request.filter, {});
      ASSERT_TRUE(counted.ok()) << counted.status().ToString();
      EXPECT_EQ(*counted, std::count_if(model.begin(), model.end(),
                                        [&](const auto& entry) { return asked.matches(entry.second); }));
    }
  }

  /// How the rows of the first segment are found and searched.
  SegmentPlan PlanOf(const std::string& filter, Explanation* explanation = nullptr) {
    SearchRequest request = MakeRequest(MetricType::kL2, MakeQueries(1), filter);
    if (explanation != nullptr) {
      explanation->Begin(request.view, request.filter, 1, kVector);
      request.explanation = explanation;
    }
    auto plan = PlanIndexes(request, kLimit, nullptr);
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    return plan.ok() && !plan->segments.empty() ? plan->segments.front() : SegmentPlan();
  }
};

TEST_F(KeyRowsTest, FindsWhatTheModelHoldsThroughDeletesUpsertsTimeTravelAndCompaction) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed("HNSW"));
  CompareAll(model_);
  InsertRange(kRows, kRows + 6000);
  Flush();
  AwaitIndexes();
  InsertRange(kRows + 6000, kRows + 6500);  // growing
  const engine::Timestamp before = engine_->AllocateTimestamp();
  const Model then = model_;
  CompareAll(model_);
  std::vector<int64_t> gone;
  std::vector<int64_t> changed;
  for (int64_t key = 0; key < kRows + 6500; key += 7) gone.push_back(key);
  for (int64_t key = 3; key < kRows + 6500; key += 11) {
    if (key % 7 != 0) changed.push_back(key);
  }
  Delete(gone);
  Write(changed, 1, true);
  CompareAll(model_);
  CompareAll(then, before);
  Flush();
  const auto compaction = engine_->Compact(Docs());
  ASSERT_TRUE(compaction.ok()) << compaction.status().ToString();
  ASSERT_TRUE(Eventually([&] { return engine_->CompactionState(*compaction).done; }));
  AwaitIndexes();
  CompareAll(model_);
  CompareAll(then, before);
  Open();  // from the files
  CompareAll(model_);
  CompareAll(then, before);
}

TEST_F(KeyRowsTest, FewRowsOfAKeyAreListedAndManyMasked) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed("IVF_FLAT"));
  Explanation explanation;
  const SegmentPlan few = PlanOf("number == 17", &explanation);
  EXPECT_TRUE(few.is_listed);
  EXPECT_FALSE(few.masked);
  EXPECT_TRUE(few.mask.empty());
  EXPECT_EQ(few.index, nullptr);
  EXPECT_EQ(explanation.segments.front().path, FilterPath::kPartitionKey);
  EXPECT_EQ(explanation.segments.front().matches, few.rows);
  const auto rows = std::count_if(model_.begin(), model_.end(), [](const auto& e) { return e.second.number == 17; });
  ASSERT_EQ(few.listed.size(), static_cast<size_t>(rows));
  // They stand side by side: the order of rows is what makes this cheap.
  EXPECT_EQ(few.listed.back() - few.listed.front() + 1, few.listed.size());
  const SegmentPlan many = PlanOf("number == 0");
  EXPECT_TRUE(many.masked);
  EXPECT_NE(many.index, nullptr);
  EXPECT_EQ(many.rows, static_cast<uint64_t>(kRows / 3));
}

TEST_F(KeyRowsTest, TellsHowManyRowsPassAtMost) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed("HNSW"));
  const engine::ReadView view = engine_->ViewAll(*Docs());
  ASSERT_EQ(view.segments.size(), 1U);
  const auto most = [&](const char* text) {
    const auto filter = expr::Filter::Compile(text, *view.info->schema);
    EXPECT_TRUE(filter.ok()) << filter.status().ToString();
    return MostMatches(*view.info, *view.segments.front(), **filter);
  };
  const auto rows = static_cast<uint64_t>(
      std::count_if(model_.begin(), model_.end(), [](const auto& e) { return e.second.number == 17; }));
  EXPECT_EQ(most("number == 17"), rows);
  EXPECT_EQ(most("number == 17 and id > 50"), rows);
  EXPECT_EQ(most("number in [17, 1000]"), rows);
  EXPECT_EQ(most("number == 1000"), 0U);
  for (const char* any : {"number != 17", "number > 17", "not (number == 17)", "number == 17 or id > 50", "id > 5"}) {
    EXPECT_EQ(most(any), static_cast<uint64_t>(kRows)) << any;
  }
}

TEST_F(KeyRowsTest, WhatWasLookedUpIsNotLookedUpAgain) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed("HNSW"));
  const std::vector<Vector> queries = MakeQueries(1);
  SearchRequest request = MakeRequest(MetricType::kL2, queries, "number == 17");
  request.limit = kRows;
  const auto hits = [&] {
    const auto found = Search(request, nullptr);
    EXPECT_TRUE(found.ok()) << found.status().ToString();
    return found.ok() ? found->scores.size() : 0;
  };
  const auto rows = static_cast<size_t>(
      std::count_if(model_.begin(), model_.end(), [](const auto& e) { return e.second.number == 17; }));
  EXPECT_EQ(hits(), rows);
  SegmentKeyRows& known = request.key_rows.emplace_back(request.view.segments.front());
  EXPECT_EQ(MostMatches(*request.view.info, *known.segment, *request.filter, &known.rows), rows);
  ASSERT_TRUE(known.rows);
  EXPECT_EQ(hits(), rows);
  // What is told is believed, by plans and by scans.
  ASSERT_EQ(known.rows->runs.size(), 1U);
  known.rows->runs[0].rows -= 5;
  known.rows->count -= 5;
  EXPECT_EQ(hits(), rows - 5);
  const auto use = std::exchange(request.index, std::nullopt);
  EXPECT_EQ(hits(), rows - 5);
  request.index = use;
  known.segment = nullptr;  // of a segment that is not in the view
  EXPECT_EQ(hits(), rows);
}

TEST_F(KeyRowsTest, AScalarIndexLeadsToFewRowsLikewise) {
  Open();
  Create();
  CreateIndex("HNSW", "L2");
  ASSERT_TRUE(engine_
                  ->CreateIndex("default", "docs", "number",
                                {.name = "by_number", .index_type = "INVERTED", .metric_type = {}, .params = {}})
                  .ok());
  ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  InsertRange(0, kRows);
  Flush();
  AwaitIndexes();
  ASSERT_TRUE(Eventually([&] { return engine_->statistics().indexes == 2; }));
  const engine::ReadView view = engine_->ViewAll(*Docs());
  const auto filter = expr::Filter::Compile("number == 17", *view.info->schema);
  // Until the index has been asked once nobody reads all of it just to plan.
  EXPECT_EQ(MostMatches(*view.info, *view.segments.front(), **filter), static_cast<uint64_t>(kRows));
  EXPECT_TRUE(PlanOf("number == 17").is_listed);
  EXPECT_LT(MostMatches(*view.info, *view.segments.front(), **filter), 200U);
  const SegmentPlan scattered = PlanOf("number in [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]");
  EXPECT_NE(scattered.index, nullptr) << "codes of so many rows cost less than their vectors, one here and one there";
  EXPECT_FALSE(scattered.is_listed);
  EXPECT_TRUE(scattered.masked);
  uint64_t marked = 0;
  for (const uint64_t word : scattered.mask) marked += static_cast<uint64_t>(std::popcount(word));
  EXPECT_EQ(marked, scattered.rows);
  EXPECT_GT(marked, 500U);
  CompareAll(model_);
  Delete({16, 116});
  CompareAll(model_);
}

TEST_F(KeyRowsTest, TextsAreKeysToo) {
  Open();
  FieldSchema tenant = MakeField(kNumber, "tenant", DataType::kVarChar);
  tenant.is_partition_key = true;
  EngineTestBase::Create(
      "docs", {engine::MakeKeyField(kPk), tenant, MakeField(kVector, "vector", DataType::kFloatVector, kDim)});
  constexpr int64_t kTexts = 9000;
  ColumnBatch batch;
  batch.rows = kTexts;
  Column ids = Column::Make(kPk, DataType::kInt64);
  Column tenants = Column::Make(kNumber, DataType::kVarChar);
  Column vectors = Column::Make(kVector, DataType::kFloatVector, kDim);
  const std::string prefix(80, 'x');  // beyond what page statistics keep of a text
  for (int64_t key = 0; key < kTexts; ++key) {
    ids.AppendValue(key);
    tenants.Append(prefix + std::to_string(key % 700));
    vectors.Append(BytesOf(MakeVector(key, 0)));
  }
  batch.columns = {ids, tenants, vectors};
  ASSERT_TRUE(Insert({.collection = Docs(), .batch = std::move(batch)}).ok());
  Flush();
  const engine::ReadView view = engine_->ViewAll(*Docs());
  for (const int64_t tenant : {0, 5, 699, 700}) {
    const std::string text = "tenant == '" + prefix + std::to_string(tenant) + "'";
    const std::shared_ptr<const expr::Filter> filter = *expr::Filter::Compile(text, *view.info->schema);
    const auto keys = FindKeyRows(*view.info, *view.segments.front(), *filter);
    ASSERT_TRUE(keys.ok() && *keys);
    const int64_t rows = tenant < 700 ? (kTexts - tenant + 699) / 700 : 0;
    EXPECT_EQ((*keys)->count, static_cast<uint64_t>(rows)) << tenant;
    EXPECT_EQ(*Count(view, filter, {}), rows) << tenant;
  }
}

}  // namespace
}  // namespace quiver::query
