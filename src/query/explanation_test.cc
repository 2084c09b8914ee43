// Explanations of queries and searches through an engine: their numbers beside what really is.
#include "query/explanation.h"

#include <gtest/gtest.h>
#include <rapidjson/document.h>

#include <cstring>
#include <random>
#include <set>

#include "base/thread_pool.h"
#include "engine/test_engine.h"
#include "query/aggregate.h"
#include "query/hybrid_search.h"
#include "query/search.h"
#include "query/search_cursor.h"

namespace quiver::query {
namespace {

using engine::MakeField;
using rapidjson::Document;
using rapidjson::Value;

constexpr int64_t kPk = 100;
constexpr int64_t kVector = 105;
constexpr int64_t kSparse = 106;
constexpr int64_t kDim = 16;
constexpr int64_t kSealed = 12'000;
constexpr int64_t kRows = 12'300;

using Vector = std::array<float, kDim>;

Vector MakeVector(int64_t key) {
  std::mt19937_64 random(static_cast<uint64_t>(key) + 17);
  std::normal_distribution<float> wide(0, 1);
  Vector values;
  for (float& value : values) value = wide(random);
  return values;
}

std::string_view BytesOf(const Vector& vector) {
  return {reinterpret_cast<const char*>(vector.data()), sizeof(vector)};
}

/// Three dimensions of a few hundred, with the row's number in their weights.
std::string MakeSparse(int64_t key) {
  std::string bytes;
  for (uint32_t i = 0; i < 3; ++i) {
    const uint32_t dim = i * 100 + static_cast<uint32_t>(key * 7 % 100);
    const float weight = 1 + static_cast<float>(key % 13);
    bytes.append(reinterpret_cast<const char*>(&dim), sizeof(dim));
    bytes.append(reinterpret_cast<const char*>(&weight), sizeof(weight));
  }
  return bytes;
}

std::vector<int64_t> KeysOf(const Column& column) {
  std::vector<int64_t> keys;
  for (size_t row = 0; row < column.rows; ++row) keys.push_back(column.Get<int64_t>(row));
  return keys;
}

class ExplanationTest : public engine::EngineTestBase {
 protected:
  ExplanationTest() {
    options_.flush_min_bytes = 0;
    options_.compaction = false;
    options_.index_min_rows = 500;
    options_.filter_cache_bytes = 0;
  }
  ~ExplanationTest() override { engine_.reset(); }

  /// kSealed rows in a sealed segment, the rest growing.
  void Start() {
    Open();
    Create("docs",
           {engine::MakeKeyField(kPk), MakeField(101, "number", DataType::kInt64),
            MakeField(102, "tag", DataType::kVarChar), MakeField(103, "json", DataType::kJson),
            MakeField(104, "word", DataType::kVarChar), MakeField(kVector, "vector", DataType::kFloatVector, kDim),
            MakeField(kSparse, "sparse", DataType::kSparseFloatVector)});
    Insert(0, kSealed);
    ASSERT_TRUE(engine_->Flush(Docs()).ok());
    Insert(kSealed, kRows);
  }
  void Insert(int64_t from, int64_t to) {
    ColumnBatch batch;
    batch.rows = static_cast<size_t>(to - from);
    Column ids = Column::Make(kPk, DataType::kInt64);
    Column numbers = Column::Make(101, DataType::kInt64);
    Column tags = Column::Make(102, DataType::kVarChar);
    Column jsons = Column::Make(103, DataType::kJson);
    Column words = Column::Make(104, DataType::kVarChar);
    Column vectors = Column::Make(kVector, DataType::kFloatVector, kDim);
    Column sparse = Column::Make(kSparse, DataType::kSparseFloatVector);
    for (int64_t key = from; key < to; ++key) {
      ids.AppendValue(key);
      numbers.AppendValue(key);
      tags.Append("tag" + std::to_string(key % 200));
      jsons.Append("{\"a\":" + std::to_string(key % 50) + "}");
      words.Append("w" + std::to_string(key * 7919 % 100'003));
      vectors.Append(BytesOf(MakeVector(key)));
      sparse.Append(MakeSparse(key));
    }
    batch.columns = {ids, numbers, tags, jsons, words, vectors, sparse};
    const auto written = EngineTestBase::Insert({.collection = Docs(), .batch = std::move(batch)});
    ASSERT_TRUE(written.ok()) << written.status().ToString();
  }
  void CreateIndex(const std::string& field, const std::string& type, const std::string& metric = "",
                   KeyValues params = {}) {
    const Status made = engine_->CreateIndex(
        "default", "docs", field,
        {.name = "by_" + field, .index_type = type, .metric_type = metric, .params = std::move(params)});
    ASSERT_TRUE(made.ok()) << made.ToString();
    ASSERT_TRUE(Eventually([&] {
      const auto info = Docs()->info();
      return engine_->DescribeProgress(*Docs(), *info->FindIndex("by_" + field)).state ==
                 engine::IndexState::kFinished &&
             engine_->statistics().indexes == info->indexes.size();
    }));
  }
  std::shared_ptr<const expr::Filter> Compile(const std::string& text) {
    auto filter = expr::Filter::Compile(text, *Docs()->info()->schema);
    EXPECT_TRUE(filter.ok()) << filter.status().ToString();
    return filter.ok() ? *filter : nullptr;
  }

  /// Checks what holds for every explanation.
  static void CheckSums(const Document& told) {
    uint64_t rows = 0, visible = 0, matches = 0;
    for (const Value& segment : told["segments"].GetArray()) {
      rows += segment["rows"].GetUint64();
      visible += segment["visible_rows"].GetUint64();
      matches += segment["matches"].GetUint64();
      EXPECT_LE(segment["matches"].GetUint64(), segment["visible_rows"].GetUint64());
      EXPECT_LE(segment["estimated_matches"].GetUint64(), segment["visible_rows"].GetUint64());
    }
    EXPECT_EQ(rows, told["rows"].GetUint64());
    EXPECT_EQ(visible, told["visible_rows"].GetUint64());
    EXPECT_EQ(matches, told["matches"].GetUint64());
    EXPECT_GT(told["steps"].Size(), 0U);
  }
  static Document Parse(const Explanation& explanation) {
    Document told;
    const std::string json = ToJson(explanation);
    told.Parse(json.c_str());
    EXPECT_FALSE(told.HasParseError()) << json;
    CheckSums(told);
    return told;
  }

  /// Queries by a filter; the rows with and without explanation are the same.
  Document ExplainQuery(const std::string& text) {
    const engine::ReadView view = engine_->ViewAll(*Docs());
    QueryRequest request{.view = view, .filter = Compile(text), .output_fields = {kPk}};
    const auto plain = Query(request, nullptr);
    Explanation explanation;
    request.explanation = &explanation;
    const auto explained = Query(request, nullptr);
    EXPECT_TRUE(plain.ok() && explained.ok());
    EXPECT_EQ(KeysOf(plain->columns[0]), KeysOf(explained->columns[0]));
    Document told = Parse(explanation);
    EXPECT_EQ(told["results"].GetUint64(), plain->rows);
    EXPECT_EQ(told["matches"].GetUint64(), plain->rows);
    const auto count = Count(view, request.filter, {});
    EXPECT_EQ(told["matches"].GetUint64(), static_cast<uint64_t>(*count));
    return told;
  }
  /// The sealed segment stands first.
  static const Value& Sealed(const Document& told) {
    for (const Value& segment : told["segments"].GetArray()) {
      if (std::strcmp(segment["state"].GetString(), "sealed") == 0) return segment;
    }
    ADD_FAILURE() << "no sealed segment";
    return told["segments"][0];
  }

  Document ExplainSearch(int64_t field_id, MetricType metric, std::vector<std::string_view> queries,
                         const std::string& text, IndexUse use = {}, ThreadPool* pool = nullptr) {
    SearchRequest request{.view = engine_->ViewAll(*Docs()), .field_id = field_id, .metric = metric};
    request.queries = std::move(queries);
    if (!text.empty()) request.filter = Compile(text);
    const auto info = Docs()->info();
    if (const auto* index = info->FindIndexOnField(field_id); index != nullptr) {
      use.index_id = index->id;
      request.index = use;
    }
    const auto plain = Search(request, pool);
    Explanation explanation;
    request.explanation = &explanation;
    const auto explained = Search(request, pool);
    EXPECT_TRUE(plain.ok() && explained.ok());
    EXPECT_EQ(KeysOf(plain->primary_keys), KeysOf(explained->primary_keys));
    EXPECT_EQ(plain->scores, explained->scores);
    Document told = Parse(explanation);
    EXPECT_EQ(told["results"].GetUint64(), plain->scores.size());
    EXPECT_EQ(told["queries"].GetUint64(), request.queries.size());
    const auto count = Count(request.view, request.filter, {});
    EXPECT_EQ(told["matches"].GetUint64(), static_cast<uint64_t>(*count)) << text;
    return told;
  }
};

TEST_F(ExplanationTest, TellsTheTreeAndHowEachTermWasTested) {
  Start();
  const Document told = ExplainQuery("(tag in ['tag7', 'tag8'] or word like '%99%') and not (number < 6000)");
  const Value& root = told["filter"];
  EXPECT_STREQ(root["operator"].GetString(), "and");
  ASSERT_EQ(root["children"].Size(), 2U);
  const Value& either = root["children"][0];
  EXPECT_STREQ(either["operator"].GetString(), "or");
  ASSERT_EQ(either["children"].Size(), 2U);
  EXPECT_STREQ(either["children"][0]["operator"].GetString(), "in");
  EXPECT_STREQ(either["children"][0]["field"].GetString(), "tag");
  EXPECT_STREQ(either["children"][0]["value"].GetString(), "[\"tag7\", \"tag8\"]");
  EXPECT_STREQ(either["children"][1]["operator"].GetString(), "like");
  EXPECT_STREQ(either["children"][1]["value"].GetString(), "\"%99%\"");
  EXPECT_TRUE(either["children"][0]["segments_by_method"].HasMember("dictionary"));
  EXPECT_STREQ(root["children"][1]["operator"].GetString(), "not");
  EXPECT_STREQ(root["children"][1]["children"][0]["value"].GetString(), "6000");
  EXPECT_EQ(root["rows_true"].GetUint64(), told["matches"].GetUint64());
  EXPECT_STREQ(Sealed(told)["filter"]["by"].GetString(), "evaluation");
  EXPECT_EQ(Sealed(told)["filter"]["pages"].GetUint64(), 3U);
}

TEST_F(ExplanationTest, TellsWhatStatisticsSettled) {
  Start();
  // Numbers ascend: of three pages the first is full of these, the last has none.
  const Document told = ExplainQuery("number < 5000");
  EXPECT_EQ(told["matches"].GetUint64(), 5000U);
  EXPECT_EQ(Sealed(told)["filter"]["pages_settled_by_statistics"].GetUint64(), 2U);
  EXPECT_EQ(Sealed(told)["filter"]["pages_evaluated"].GetUint64(), 1U);
  EXPECT_NEAR(Sealed(told)["estimated_matches"].GetDouble(), 5000, 100);
  EXPECT_TRUE(ExplainQuery("number > 1000000")["filter"]["segments_by_method"].HasMember("page statistics"));
  EXPECT_TRUE(ExplainQuery("json['a'] == 7")["filter"]["segments_by_method"].HasMember("kept JSON column"));
  EXPECT_TRUE(ExplainQuery("word like '%99%'")["filter"]["segments_by_method"].HasMember("scan"));
}

TEST_F(ExplanationTest, ExpectsRowsByTheSpreadOfValues) {
  Start();
  // Words come in no order, so every page is like the whole segment. Each is there once: a page alone would expect a
  // row.
  const Document one = ExplainQuery("word == 'w7919'");
  EXPECT_EQ(one["matches"].GetUint64(), 1U);
  EXPECT_LE(Sealed(one)["estimated_matches"].GetUint64(), 1U);
  for (const char* filter : {"word < 'w5'", "word like 'w12%'", "'w2' < word <= 'w31'", "word != 'w7919'"}) {
    const Document told = ExplainQuery(filter);
    const auto matches = Sealed(told)["matches"].GetDouble();
    EXPECT_NEAR(Sealed(told)["estimated_matches"].GetDouble(), matches, 0.1 * matches + 40) << filter;
  }
  const Document tags = ExplainQuery("tag in ['tag7', 'tag8', 'tag9', 'no such tag']");
  EXPECT_NEAR(Sealed(tags)["estimated_matches"].GetDouble(), Sealed(tags)["matches"].GetDouble(), 60);
  const Value& known = Sealed(tags)["statistics"][0];
  EXPECT_STREQ(known["field"].GetString(), "tag");
  EXPECT_EQ(known["values"].GetUint64(), static_cast<uint64_t>(kSealed));
  EXPECT_EQ(known["distinct"].GetUint64(), 200U);
}

TEST_F(ExplanationTest, TellsKeysThatWereLookedUp) {
  Start();
  const Document exact = ExplainQuery("id in [5, 6, 1000000]");
  EXPECT_EQ(exact["matches"].GetUint64(), 2U);
  EXPECT_STREQ(Sealed(exact)["filter"]["by"].GetString(), "primary keys");
  EXPECT_TRUE(exact["filter"]["segments_by_method"].HasMember("primary keys"));
  const Document rest = ExplainQuery("id in [5, 6] and number == 6");
  EXPECT_EQ(rest["matches"].GetUint64(), 1U);
  EXPECT_STREQ(Sealed(rest)["filter"]["by"].GetString(), "primary keys");
}

TEST_F(ExplanationTest, TellsTheScalarIndexAndItsCost) {
  Start();
  CreateIndex("tag", "INVERTED");
  const Document told = ExplainQuery("tag == 'tag7' and number >= 6000");
  EXPECT_STREQ(Sealed(told)["filter"]["by"].GetString(), "scalar indexes");
  const Value& term = told["filter"]["children"][0];
  EXPECT_TRUE(term["segments_by_method"].HasMember("scalar index by_tag (INVERTED)"));
  EXPECT_EQ(term["rows_from_index"].GetUint64(), static_cast<uint64_t>(kSealed / 200));
  EXPECT_NEAR(term["estimated_rows"].GetDouble(), static_cast<double>(kSealed) / 200, 20);
  EXPECT_LT(Sealed(told)["filter"]["expected_microseconds_by_index"].GetDouble(),
            Sealed(told)["filter"]["expected_microseconds_by_scan"].GetDouble());
  // What the index leaves is all that the other term sees.
  EXPECT_LE(told["filter"]["children"][1]["rows_tested"].GetUint64(), 100U + (kRows - kSealed));
  // Nearly all rows: the scan is cheaper, and the explanation says so.
  const Document scanned = ExplainQuery("not (tag == 'tag7') and number < 100");
  EXPECT_STREQ(Sealed(scanned)["filter"]["by"].GetString(), "evaluation");
  EXPECT_GT(Sealed(scanned)["filter"]["expected_microseconds_by_index"].GetDouble(),
            Sealed(scanned)["filter"]["expected_microseconds_by_scan"].GetDouble());
}

TEST_F(ExplanationTest, TellsKeptAnswersAndDeletedRows) {
  options_.filter_cache_bytes = 1 << 20;
  Start();
  ExplainQuery("word like '%99%'");  // asks twice
  const Document told = ExplainQuery("word like '%99%'");
  EXPECT_STREQ(Sealed(told)["filter"]["by"].GetString(), "kept answer");
  EXPECT_EQ(Sealed(told)["filter"]["pages_from_kept_answer"].GetUint64(), 3U);
  EXPECT_TRUE(told["filter"]["segments_by_method"].HasMember("kept answer"));
  std::vector<int64_t> keys;
  for (int64_t key = 0; key < 1000; ++key) keys.push_back(key);
  ASSERT_TRUE(Delete({.collection = Docs(), .partition_name = {}, .primary_keys = engine::MakeKeys(kPk, keys)}).ok());
  const Document after = ExplainQuery("word like '%99%'");
  EXPECT_EQ(after["rows"].GetUint64(), static_cast<uint64_t>(kRows));
  EXPECT_EQ(after["visible_rows"].GetUint64(), static_cast<uint64_t>(kRows - 1000));
}

TEST_F(ExplanationTest, AggregatesAreExplainedToo) {
  Start();
  Explanation explanation;
  AggregateRequest request{.view = engine_->ViewAll(*Docs()), .filter = Compile("number < 5000")};
  request.aggregates = {{.kind = AggregateKind::kCount}};
  request.explanation = &explanation;
  ASSERT_TRUE(RunAggregates(request).ok());
  EXPECT_EQ(Parse(explanation)["matches"].GetUint64(), 5000U);
  request.aggregates = {{.kind = AggregateKind::kMax, .field_id = 101}};
  Explanation of_values;
  request.explanation = &of_values;
  ASSERT_TRUE(RunAggregates(request).ok());
  EXPECT_EQ(Parse(of_values)["matches"].GetUint64(), 5000U);
}

TEST_F(ExplanationTest, WithoutAnIndexVectorsAreScanned) {
  Start();
  const Vector query = MakeVector(-5);
  const Document all = ExplainSearch(kVector, MetricType::kL2, {BytesOf(query)}, "");
  EXPECT_STREQ(Sealed(all)["search"]["plan"].GetString(), "flat scan");
  EXPECT_STREQ(Sealed(all)["search"]["why"].GetString(), "no vector index is asked for");
  EXPECT_EQ(Sealed(all)["search"]["exact_distances"].GetUint64(), static_cast<uint64_t>(kSealed));
  const Document some = ExplainSearch(kVector, MetricType::kL2, {BytesOf(query), BytesOf(query)}, "number < 700");
  EXPECT_EQ(Sealed(some)["search"]["exact_distances"].GetUint64(), 1400U);
}

TEST_F(ExplanationTest, HybridSearchesTellEachSearchAndTheRanker) {
  Start();
  const Vector query = MakeVector(-5);
  const std::string sparse = MakeSparse(9);
  HybridRequest request{.view = engine_->ViewAll(*Docs())};
  request.limit = 5;
  request.output_fields = {kPk};
  request.searches.push_back({.field_id = kVector, .metric = MetricType::kL2, .queries = {BytesOf(query)}, .limit = 7});
  request.searches.back().filter = Compile("number < 700");
  request.searches.push_back({.field_id = kSparse, .metric = MetricType::kIp, .queries = {sparse}, .limit = 9});
  for (const bool weighted : {false, true}) {
    request.fusion = {.k = 30};
    if (weighted) request.fusion = {.kind = Fusion::Kind::kWeighted, .weights = {0.25, 0.75}, .normalize = true};
    request.explanation = nullptr;
    const auto plain = HybridSearch(request, nullptr);
    HybridExplanation explanation;
    request.explanation = &explanation;
    const auto explained = HybridSearch(request, nullptr);
    ASSERT_TRUE(plain.ok() && explained.ok());
    EXPECT_EQ(KeysOf(plain->primary_keys), KeysOf(explained->primary_keys));
    EXPECT_EQ(plain->scores, explained->scores);

    Document told;
    told.Parse(ToJson(explanation).c_str());
    ASSERT_FALSE(told.HasParseError());
    EXPECT_EQ(told["results"].GetUint64(), 5U);
    ASSERT_EQ(told["searches"].Size(), 2U);
    uint64_t given = 0;
    for (const Value& search : told["searches"].GetArray()) {
      Document one;
      one.CopyFrom(search, one.GetAllocator());
      CheckSums(one);
      given += search["results"].GetUint64();
    }
    EXPECT_EQ(given, 16U);
    EXPECT_STREQ(told["searches"][0]["vector_field"].GetString(), "vector");
    EXPECT_STREQ(told["searches"][1]["vector_field"].GetString(), "sparse");
    EXPECT_EQ(told["searches"][0]["matches"].GetUint64(), 700U);
    EXPECT_STREQ(told["searches"][0]["filter"]["value"].GetString(), "700");
    EXPECT_EQ(told["searches"][1]["matches"].GetUint64(), static_cast<uint64_t>(kRows));
    const Value& ranker = told["ranker"];
    EXPECT_EQ(ranker["rows_given"].GetUint64(), given);
    EXPECT_LE(ranker["rows_ranked"].GetUint64(), given);
    EXPECT_GE(ranker["rows_ranked"].GetUint64(), 9U);
    EXPECT_STREQ(ranker["strategy"].GetString(), weighted ? "weighted" : "rrf");
    if (weighted) {
      EXPECT_EQ(ranker["weights"][1].GetDouble(), 0.75);
      EXPECT_TRUE(ranker["norm_score"].GetBool());
    } else {
      EXPECT_EQ(ranker["k"].GetDouble(), 30);
    }
    std::vector<std::string> steps;
    for (const Value& step : told["steps"].GetArray()) steps.emplace_back(step["step"].GetString());
    EXPECT_EQ(steps, (std::vector<std::string>{"search", "rank", "output"}));
  }
}

TEST_F(ExplanationTest, TheGraphTellsItsPlanAndWhatTheOthersWouldCost) {
  Start();
  CreateIndex("vector", "HNSW", "L2", {{"M", "12"}, {"efConstruction", "80"}});
  const Vector query = MakeVector(-5);
  std::set<std::string> plans;
  ThreadPool pool({.name = "test", .threads = 2});
  for (const int64_t below : {20, 2500, 4000, 7000, 10'000, 1'000'000}) {
    const std::string filter = "number < " + std::to_string(below);
    const Document told = ExplainSearch(kVector, MetricType::kL2, {BytesOf(query)}, filter, {.ef = 20}, &pool);
    const Value& search = Sealed(told)["search"];
    plans.insert(search["plan"].GetString());
    if (below == 20) {
      EXPECT_STREQ(search["plan"].GetString(), "flat scan");
      EXPECT_STREQ(search["why"].GetString(), "few rows match");
      continue;
    }
    EXPECT_STREQ(search["index"].GetString(), "by_vector");
    EXPECT_STREQ(search["index_type"].GetString(), "HNSW");
    EXPECT_EQ(search["ef"].GetUint64(), 20U);
    EXPECT_GT(search["code_distances"].GetUint64() + search["exact_distances"].GetUint64(), 0U);
    const Value& costs = search["expected_microseconds"];
    ASSERT_TRUE(costs.HasMember(search["plan"].GetString()));
    for (const auto& cost : costs.GetObject()) {
      EXPECT_LE(costs[search["plan"].GetString()].GetDouble(), cost.value.GetDouble()) << cost.name.GetString();
    }
  }
  EXPECT_GE(plans.size(), 3U) << "all shares have one plan";
  EXPECT_STREQ(ExplainSearch(kVector, MetricType::kL2, {BytesOf(query)}, "", {.ef = 20})["segments"][1]["search"]["why"]
                   .GetString(),
               "the segment is growing");
}

TEST_F(ExplanationTest, StreamsOfHitsTellTheirWork) {
  Start();
  CreateIndex("vector", "HNSW", "L2", {{"M", "12"}, {"efConstruction", "80"}});
  const Vector query = MakeVector(-5);
  const int64_t index_id = Docs()->info()->FindIndexOnField(kVector)->id;
  SearchRequest request{.view = engine_->ViewAll(*Docs()), .field_id = kVector, .metric = MetricType::kL2};
  request.queries = {BytesOf(query)};
  request.filter = Compile("number < 9000");
  request.index = IndexUse{.index_id = index_id};
  const auto work = [](const Document& told) {
    const Value& search = Sealed(told)["search"];
    EXPECT_STREQ(search["index"].GetString(), "by_vector");
    EXPECT_EQ(told["queries"].GetUint64(), 1U);
    return search["code_distances"].GetUint64() + search["exact_distances"].GetUint64();
  };
  SearchRequest ranged = request;
  ranged.radius = 1e30F;
  SearchRequest grouped = request;
  grouped.group = Grouping{.fields = {102}};
  for (SearchRequest* open : {&ranged, &grouped}) {
    Explanation explanation;
    open->explanation = &explanation;
    open->limit = 20;
    ASSERT_TRUE(Search(*open, nullptr).ok());
    EXPECT_GT(work(Parse(explanation)), 0U);
  }

  Explanation first;
  request.explanation = &first;
  auto cursor = SearchCursor::Open(request, {}, nullptr);
  ASSERT_TRUE(cursor.ok());
  ASSERT_TRUE((*cursor)->Next(10, {}, nullptr).ok());
  EXPECT_GE(work(Parse(first)), 9000U) << "exact order takes the codes of all";
  EXPECT_EQ(Sealed(Parse(first))["matches"].GetUint64(), 9000U);
  Explanation second;
  (*cursor)->ExplainTo(&second);
  ASSERT_TRUE((*cursor)->Next(200, {}, nullptr).ok());
  EXPECT_LT(work(Parse(second)), 9000U) << "the codes were compared again";
  EXPECT_EQ(Sealed(Parse(second))["matches"].GetUint64(), 9000U);
}

TEST_F(ExplanationTest, ListsTellHowManyAreLookedAt) {
  Start();
  CreateIndex("vector", "IVF_SQ8", "L2");
  const Vector query = MakeVector(-5);
  const Document told = ExplainSearch(kVector, MetricType::kL2, {BytesOf(query)}, "number < 9000", {.nprobe = 8});
  const Value& search = Sealed(told)["search"];
  EXPECT_STREQ(search["plan"].GetString(), "probe lists");
  EXPECT_GE(search["nprobe"].GetUint64(), 8U);
  EXPECT_GT(search["nlist"].GetUint64(), search["nprobe"].GetUint64());
  EXPECT_GT(search["expansions"].GetUint64(), 0U);
  EXPECT_TRUE(search["expected_microseconds"].HasMember("score matches"));
}

TEST_F(ExplanationTest, SparseVectorsSumPostings) {
  Start();
  CreateIndex("sparse", "SPARSE_INVERTED_INDEX", "IP");
  const std::string query = MakeSparse(5);
  const Document told = ExplainSearch(kSparse, MetricType::kIp, {query}, "");
  const Value& search = Sealed(told)["search"];
  EXPECT_STREQ(search["plan"].GetString(), "sum postings");
  EXPECT_GT(search["code_distances"].GetUint64(), 0U);
}

}  // namespace
}  // namespace quiver::query
