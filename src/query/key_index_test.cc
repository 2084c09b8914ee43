// Searches through indexes of single values of the partition key, and what becomes of their files: brute force over a
// model is the oracle.
#include <gtest/gtest.h>

#include <limits>
#include <optional>

#include "index/key_index_file.h"
#include "query/explanation.h"
#include "query/ranked_stream.h"
#include "query/test_index_search.h"

namespace quiver::query {
namespace {

/// The number is the partition key: thirds of the rows have 0 and 1, the others 2 to 101.
class KeyIndexTest : public IndexSearchTest {
 protected:
  static constexpr int64_t kStored = 7500;
  static constexpr int64_t kOfKey = kStored / 3;

  KeyIndexTest() {
    number_of_ = [](int64_t key) { return key % 3 < 2 ? key % 3 : key % 100 + 2; };
    options_.key_index_min_rows = 2200;
    options_.index_build_threads = 1;
  }

  void CreateKeyed(const std::string& type, const std::string& metric = "L2") {
    Open();
    FieldSchema number = MakeField(kNumber, "number", DataType::kInt64);
    number.is_partition_key = true;
    EngineTestBase::Create(
        "docs", {engine::MakeKeyField(kPk), number, MakeField(kVector, "vector", DataType::kFloatVector, kDim)});
    CreateIndex(type, metric, type == "HNSW" ? KeyValues{{"M", "8"}, {"efConstruction", "60"}} : KeyValues());
    ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  }
  void FillKeyed(const std::string& type, const std::string& metric = "L2") {
    ASSERT_NO_FATAL_FAILURE(CreateKeyed(type, metric));
    InsertRange(0, kStored);
    Flush();
    AwaitParts(2);
  }
  void AwaitParts(uint64_t parts) {
    ASSERT_TRUE(Eventually([&] { return engine_->statistics().index_parts == parts; }));
  }

  SegmentPlan PlanOf(const std::string& filter) {
    const std::vector<Vector> queries = MakeQueries(1);
    const auto plan = PlanIndexes(MakeRequest(metric_, queries, filter), kLimit, nullptr);
    EXPECT_TRUE(plan.ok()) << plan.status().ToString();
    return plan.ok() && !plan->segments.empty() ? plan->segments.front() : SegmentPlan();
  }
  ~KeyIndexTest() override { SetPartsWeight(1); }
  bool UsesPart(const std::string& filter) {
    const SegmentPlan plan = PlanOf(filter);
    return plan.index != nullptr && plan.index->is_part();
  }
  bool UsesParts(const std::string& filter) { return !PlanOf(filter).parts.empty(); }
  /// Recall of searches by a filter over those rows of a model that have the number.
  double RecallOf(const std::string& filter, int64_t number, const Model& model, engine::Timestamp travel = 0) {
    return RecallOf(filter, std::set<int64_t>{number}, model, travel);
  }
  double RecallOf(const std::string& filter, const std::set<int64_t>& numbers, const Model& model,
                  engine::Timestamp travel = 0, size_t limit = kLimit) {
    const std::vector<Vector> queries = MakeQueries(limit > kLimit ? 2 : 30);
    SearchRequest request = MakeRequest(metric_, queries, filter, travel);
    request.limit = limit;
    // What reaches the usual 0.95 on rows as queries may miss it on these, whichever effort was found the cheapest.
    request.index->recall = 0.99;
    return Recall(request, queries, model, [&](const Row& row) { return numbers.contains(row.number); });
  }
  static uint64_t Count(const Model& model, const std::set<int64_t>& numbers) {
    return static_cast<uint64_t>(
        std::ranges::count_if(model, [&](const auto& entry) { return numbers.contains(entry.second.number); }));
  }
  Model From(int64_t key) const { return {model_.lower_bound(key), model_.end()}; }

  MetricType metric_ = MetricType::kL2;
};

class KeyIndexTypesTest : public KeyIndexTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(KeyIndexTypesTest, AValueOfTheKeyIsSearchedInItsOwnIndex) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed(GetParam()));
  const SegmentPlan plain = PlanOf("number == 0");
  ASSERT_NE(plain.index, nullptr);
  EXPECT_TRUE(plain.index->is_part());
  EXPECT_FALSE(plain.masked) << "all rows of the index match";
  EXPECT_EQ(plain.rows, static_cast<uint64_t>(kOfKey));
  EXPECT_NE(plain.index->tuning(), nullptr) << "measured";
  EXPECT_GE(RecallOf("number == 0", 0, model_), 0.95);
  EXPECT_GE(RecallOf("number == 1", 1, model_), 0.95);
  EXPECT_GE(RecallOf("number in [1]", 1, model_), 0.95);

  // Further conditions become a mask of the rows of the value.
  const SegmentPlan masked = PlanOf("number == 1 and id > 500");
  ASSERT_NE(masked.index, nullptr);
  EXPECT_TRUE(masked.index->is_part());
  EXPECT_TRUE(masked.masked);
  EXPECT_EQ(masked.rows, 2333U);
  EXPECT_EQ(masked.mask.size(), static_cast<size_t>((kOfKey + 63) / 64));
  EXPECT_GE(RecallOf("id > 500 and number == 1", 1, From(501)), 0.95);
  const SegmentPlan few = PlanOf("number == 1 and id > 6000");
  EXPECT_TRUE(few.is_listed);
  EXPECT_EQ(few.listed.size(), 500U);
  EXPECT_EQ(RecallOf("number == 1 and id > 6000", 1, From(6001)), 1.0);

  // Values without an index are found in the index of all rows.
  EXPECT_FALSE(UsesPart("number == 17"));
  EXPECT_FALSE(UsesPart("number == 0 or id == 1"));
  EXPECT_FALSE(UsesPart(""));
  EXPECT_EQ(RecallOf("number == 17", 17, model_), 1.0);
  EXPECT_GE(IndexSearchTest::Recall(metric_), 0.95);
}

TEST_P(KeyIndexTypesTest, SeveralValuesAreSearchedInTheirIndexesOneAfterAnother) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed(GetParam()));
  // Whatever is cheaper, the answer is right.
  for (const double weight : {1e9, 1.0, 0.0}) {
    SCOPED_TRACE(weight);
    SetPartsWeight(weight);
    if (weight != 1.0) {
      EXPECT_EQ(UsesParts("number in [0, 1]"), weight == 0.0);
    }
    EXPECT_GE(RecallOf("number in [0, 1]", {0, 1}, model_), 0.95);
    EXPECT_GE(RecallOf("number in [1, 17, 30, 1000]", {1, 17, 30}, model_), 0.95);
    EXPECT_GE(RecallOf("number in [1, 0, 17] and id > 500", {0, 1, 17}, From(501)), 0.95);
  }
  const SegmentPlan plain = PlanOf("number in [1, 0]");
  EXPECT_EQ(plain.index, nullptr);
  ASSERT_EQ(plain.parts.size(), 2U);
  EXPECT_TRUE(plain.listed.empty());
  EXPECT_EQ(plain.rows, static_cast<uint64_t>(2 * kOfKey));
  for (const PartPlan& part : plain.parts) EXPECT_TRUE(part.mask.empty());
  // Rows of a value without an index are scored one by one.
  const SegmentPlan mixed = PlanOf("number in [1, 17, 30, 1000]");
  ASSERT_EQ(mixed.parts.size(), 1U);
  EXPECT_EQ(mixed.listed.size(), Count(model_, {17, 30}));
  EXPECT_TRUE(std::ranges::is_sorted(mixed.listed));
  EXPECT_EQ(mixed.rows, Count(model_, {1, 17, 30}));
  // Further conditions become masks of each.
  const SegmentPlan masked = PlanOf("number in [0, 1, 17] and id > 500");
  ASSERT_EQ(masked.parts.size(), 2U);
  EXPECT_EQ(masked.listed.size(), Count(From(501), {17}));
  for (const PartPlan& part : masked.parts) EXPECT_EQ(part.mask.size(), static_cast<size_t>((kOfKey + 63) / 64));
  EXPECT_EQ(masked.parts[0].rows + masked.parts[1].rows, Count(From(501), {0, 1}));
  EXPECT_GE(RecallOf("number in [0, 1] and id > 6000", {0, 1}, From(6001)), 0.95) << "few match";
  // Nearly all rows of the values.
  EXPECT_GE(RecallOf("number in [0, 1]", {0, 1}, model_, 0, 2400), 0.95);

  for (const char* other : {"number not in [0, 1]", "not (number in [0, 1])", "number in [0, 1] or id == 1",
                            "number in [17, 30]", "number > 0"}) {
    EXPECT_FALSE(UsesParts(other)) << other;
  }
  std::set<int64_t> others;
  for (const auto& [key, row] : model_) {
    if (row.number > 1) others.insert(row.number);
  }
  EXPECT_GE(RecallOf("number not in [0, 1]", others, model_), 0.95);
}

TEST_P(KeyIndexTypesTest, DeletesNewVersionsAndTimeTravelCount) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed(GetParam()));
  const engine::Timestamp before = engine_->AllocateTimestamp();
  const Model then = model_;
  std::vector<int64_t> gone;
  std::vector<int64_t> changed;
  for (int64_t key = 0; key < kStored; key += 17) gone.push_back(key);
  for (int64_t key = 3; key < kStored; key += 23) {
    if (key % 17 != 0) changed.push_back(key);
  }
  Delete(gone);
  Write(changed, 1, true);
  SetPartsWeight(0);
  const std::string several = "number in [0, 1, 17]";
  const std::set<int64_t> numbers = {0, 1, 17};
  const SegmentPlan plan = PlanOf("number == 0");
  ASSERT_NE(plan.index, nullptr);
  EXPECT_TRUE(plan.index->is_part());
  EXPECT_TRUE(plan.masked);
  EXPECT_TRUE(UsesParts(several));
  EXPECT_GE(RecallOf(several, numbers, model_), 0.95);
  EXPECT_GE(RecallOf(several, numbers, then, before), 0.95);
  EXPECT_GE(RecallOf("number == 0", 0, model_), 0.95);
  EXPECT_GE(RecallOf("number == 0", 0, then, before), 0.95);
  EXPECT_GE(RecallOf("number == 1 and id > 500", 1, From(501)), 0.95);
  Open();  // from the files
  EXPECT_TRUE(UsesPart("number == 0"));
  EXPECT_TRUE(UsesParts(several));
  EXPECT_GE(RecallOf(several, numbers, model_), 0.95);
  EXPECT_GE(RecallOf(several, numbers, then, before), 0.95);
  EXPECT_GE(RecallOf("number == 0", 0, model_), 0.95);
  EXPECT_GE(RecallOf("number == 0", 0, then, before), 0.95);
}

INSTANTIATE_TEST_SUITE_P(Types, KeyIndexTypesTest, ::testing::Values("HNSW", "IVF_RABITQ", "IVF_FLAT"));

TEST_F(KeyIndexTest, APartIsTheIndexOfACollectionOfItsRowsAlone) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed("HNSW"));
  const auto names = IndexFiles(".keys");
  ASSERT_EQ(names.size(), 1U);
  EXPECT_EQ(names[0], index::KeyIndexFileName(IndexFiles()[0]));
  const auto bytes = files_->ReadFile(names[0]);
  ASSERT_TRUE(bytes.ok());
  const auto file = index::OpenKeyIndexFile(*bytes, "it");
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_EQ(file->segment_rows, static_cast<uint32_t>(kStored));
  EXPECT_EQ(file->field_id, kNumber);
  ASSERT_EQ(file->runs.size(), 2U);
  const SegmentPlan whole = PlanOf("");
  ASSERT_NE(whole.index, nullptr);
  for (const index::KeyRun& run : file->runs) {
    const auto vectors = Docs()->sealed_segments().front()->View(kVector, run.first_row, run.rows);
    ASSERT_TRUE(vectors.ok());
    const auto alone = index::BuildVectorIndex(whole.index->index().recipe(), *vectors, {});
    ASSERT_TRUE(alone.ok());
    EXPECT_TRUE(run.index == *alone);
    EXPECT_FALSE(run.tuning.empty());
  }
  // All parts together take no more than a little above the index itself.
  EXPECT_LT(bytes->size(), files_->ReadFile(IndexFiles()[0])->size());
}

TEST_F(KeyIndexTest, RangesGroupsAndExactOrderAreThoseOfAScan) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed("HNSW"));
  std::vector<int64_t> gone;
  for (int64_t key = 0; key < kStored; key += 17) gone.push_back(key);
  Delete(gone);
  const std::vector<Vector> queries = MakeQueries(1);
  SetPartsWeight(0);
  struct Case {
    const char* filter;
    size_t values;
  };
  for (const auto& [filter, values] : {Case{"number == 0", 1}, Case{"number == 1 and id > 500", 1},
                                       Case{"number in [0, 1]", 2}, Case{"number in [0, 17, 1] and id > 500", 3}}) {
    SCOPED_TRACE(filter);
    ASSERT_EQ(UsesPart(filter), values == 1);
    ASSERT_EQ(UsesParts(filter), values > 1);
    SearchRequest scanned = MakeRequest(metric_, queries, filter);
    scanned.index.reset();
    scanned.limit = 600;
    const auto truth = Search(scanned, nullptr);
    ASSERT_TRUE(truth.ok()) << truth.status().ToString();
    ASSERT_EQ(truth->scores.size(), 600U);

    SearchRequest exact = MakeRequest(metric_, queries, filter);
    exact.index->exact = true;
    exact.limit = 600;
    const auto ordered = Search(exact, nullptr);
    ASSERT_TRUE(ordered.ok()) << ordered.status().ToString();
    EXPECT_EQ(ordered->scores, truth->scores);

    SearchRequest ranged = MakeRequest(metric_, queries, filter);
    ranged.radius = truth->scores[400];
    ranged.limit = 1000;
    const auto inside = Search(ranged, nullptr);
    ASSERT_TRUE(inside.ok()) << inside.status().ToString();
    EXPECT_GE(inside->scores.size(), 380U);
    EXPECT_LE(inside->scores.size(), 400U);
    for (const float score : inside->scores) EXPECT_LT(score, *ranged.radius);

    SearchRequest grouped = MakeRequest(metric_, queries, filter);
    grouped.group = Grouping{.fields = {kNumber}, .size = 5};
    const auto groups = Search(grouped, nullptr);
    ASSERT_TRUE(groups.ok()) << groups.status().ToString();
    ASSERT_EQ(groups->scores.size(), 5 * values) << "each value is a group";
    EXPECT_EQ(groups->scores.front(), truth->scores.front());
  }
}

TEST_F(KeyIndexTest, ExplainTellsOfIt) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed("IVF_FLAT"));
  const std::vector<Vector> queries = MakeQueries(1);
  for (const bool deleted : {false, true}) {
    if (deleted) Delete({0});
    SearchRequest request = MakeRequest(metric_, queries, "number == 0");
    Explanation explanation;
    request.explanation = &explanation;
    ASSERT_TRUE(Search(request, nullptr).ok());
    const SegmentExplanation& one = explanation.segments.front();
    EXPECT_EQ(one.part_rows, static_cast<uint32_t>(kOfKey));
    EXPECT_EQ(one.matches, static_cast<uint64_t>(kOfKey - (deleted ? 1 : 0)));
    EXPECT_EQ(one.path, FilterPath::kPartitionKey);
    EXPECT_NE(ToJson(explanation).find("\"rows_of_key_index\":2500"), std::string::npos) << ToJson(explanation);
  }
  // What several values cost in their indexes, and in that of all rows; the cheaper way is taken.
  const uint64_t other = Count(model_, {17});
  for (const double weight : {1e9, 1.0, 0.0}) {
    SCOPED_TRACE(weight);
    SetPartsWeight(weight);
    SearchRequest request = MakeRequest(metric_, queries, "number in [0, 1, 17]");
    Explanation explanation;
    request.explanation = &explanation;
    ASSERT_TRUE(Search(request, nullptr).ok());
    const SegmentExplanation& one = explanation.segments.front();
    EXPECT_GT(one.cost_of_parts, 0);
    EXPECT_TRUE(std::isfinite(one.cost_of_parts));
    EXPECT_GT(one.cost_of_whole, 0);
    EXPECT_EQ(one.parts, weight * one.cost_of_parts < one.cost_of_whole ? 2U : 0U);
    EXPECT_EQ(one.matches, Count(model_, {0, 1, 17}));
    const std::string json = ToJson(explanation);
    EXPECT_NE(json.find("\"expected_microseconds_by_key_indexes\":"), std::string::npos) << json;
    EXPECT_NE(json.find("\"expected_microseconds_by_index_of_all_rows\":"), std::string::npos) << json;
    EXPECT_EQ(json.find("\"rows_of_key_index\":5000,\"key_indexes\":2,\"distances_of_other_rows\":" +
                        std::to_string(other)) != std::string::npos,
              one.parts == 2)
        << json;
  }
  SearchRequest request = MakeRequest(metric_, queries, "number in [17, 18]");
  Explanation explanation;
  request.explanation = &explanation;
  ASSERT_TRUE(Search(request, nullptr).ok());
  EXPECT_EQ(ToJson(explanation).find("key_index"), std::string::npos);
}

TEST_F(KeyIndexTest, FilesAreReadAfterARestartAndMadeWhereTheyAreMissing) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed("IVF_FLAT"));
  EXPECT_TRUE(Check().faults.empty());
  EXPECT_EQ(Check().orphans, 0U);
  const int built = builds_;
  EXPECT_EQ(built, 3);
  Open();
  EXPECT_EQ(engine_->statistics().index_parts, 2U) << "at once";
  EXPECT_TRUE(UsesPart("number == 0"));
  EXPECT_EQ(builds_, built);
  // A directory of a version that had none.
  engine_.reset();
  ASSERT_TRUE(files_->Remove(IndexFiles(".keys")[0]).ok());
  EXPECT_TRUE(Check().faults.empty());
  Open();
  ASSERT_NO_FATAL_FAILURE(AwaitParts(2));
  EXPECT_EQ(builds_, built + 2) << "the index of all rows stays";
  EXPECT_TRUE(UsesPart("number == 0"));
  options_.key_indexes = false;
  Open();
  EXPECT_FALSE(UsesPart("number == 0"));
  EXPECT_GE(RecallOf("number == 0", 0, model_), 0.95);
  EXPECT_TRUE(IndexFiles(".keys").empty());
}

TEST_F(KeyIndexTest, DamageCostsNoAnswerAndIsMended) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed("IVF_FLAT"));
  const std::string name = IndexFiles(".keys")[0];
  const auto bytes = files_->ReadFile(name);
  ASSERT_TRUE(bytes.ok());
  const auto file = index::OpenKeyIndexFile(*bytes, "it");
  ASSERT_TRUE(file.ok());
  const auto first = static_cast<uint64_t>(file->runs[0].index.data() - bytes->data());
  uint64_t inside = first + file->runs[0].index.size() / 2;
  while ((*bytes)[inside] == 0) ++inside;  // what fills up a page is not looked at
  // The header of the file, the table of runs, the header of an index, the contents of one.
  for (const uint64_t at : {uint64_t{20}, uint64_t{4096 + 10}, first + 20, inside}) {
    SCOPED_TRACE(at);
    engine_.reset();
    ASSERT_TRUE(files_->FlipBit(name, 8 * at));
    EXPECT_EQ(Check().faults.size(), 1U);
    Open();
    SetPartsWeight(0);
    EXPECT_GE(RecallOf("number in [0, 1, 17]", {0, 1, 17}, model_), 0.95);
    EXPECT_GE(RecallOf("number == 0", 0, model_), 0.95);
    EXPECT_GE(RecallOf("number == 1", 1, model_), 0.95);
    ASSERT_TRUE(Eventually([&] { return UsesPart("number == 0") && UsesPart("number == 1"); }));
    EXPECT_GE(RecallOf("number == 0", 0, model_), 0.95);
    ASSERT_TRUE(Eventually([&] {
      const auto mended = files_->ReadFile(name);
      return mended.ok() && index::CheckKeyIndexFile(*mended, name).ok();
    }));
  }
  ASSERT_TRUE(Eventually([&] { return UsesPart("number == 0") && UsesPart("number == 1"); }));
  engine_.reset();
  ASSERT_TRUE(files_->FlipBit(name, 8 * inside));
  EXPECT_EQ(Check(true).unrepaired, 0U);
  EXPECT_TRUE(IndexFiles(".keys").empty());
  Open();
  ASSERT_NO_FATAL_FAILURE(AwaitParts(2));
}

TEST_F(KeyIndexTest, FilesGoWithTheirIndexAndComeWithAMerge) {
  ASSERT_NO_FATAL_FAILURE(FillKeyed("IVF_FLAT"));
  InsertRange(kStored, 2 * kStored);
  Flush();
  ASSERT_NO_FATAL_FAILURE(AwaitParts(4));
  EXPECT_EQ(IndexFiles(".keys").size(), 2U);
  EXPECT_GE(RecallOf("number == 0", 0, model_), 0.95);
  const auto id = engine_->Compact(Docs());
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(Eventually([&] { return engine_->CompactionState(*id).done; }));
  EXPECT_EQ(engine_->statistics().index_parts, 2U) << "they came with the merged segment";
  EXPECT_EQ(PlanOf("number == 0").rows, static_cast<uint64_t>(2 * kOfKey));
  EXPECT_GE(RecallOf("number == 0", 0, model_), 0.95);
  ASSERT_TRUE(Eventually([&] { return IndexFiles(".keys").size() == 1 && IndexFiles().size() == 1; }));
  EXPECT_EQ(IndexFiles(".keys")[0], index::KeyIndexFileName(IndexFiles()[0]));
  ASSERT_TRUE(engine_->Release("default", "docs", {}).ok());
  ASSERT_TRUE(engine_->DropIndex("default", "docs", "vector", "").ok());
  ASSERT_TRUE(Eventually([&] { return IndexFiles(".keys").empty() && IndexFiles().empty(); }));
}

TEST_F(KeyIndexTest, OnlyValuesWithManyRowsButNotNearlyAllHaveOne) {
  options_.key_index_min_rows = 80;
  number_of_ = [](int64_t key) { return key < 6500 ? 7 : key < 6580 ? 8 : key < 6659 ? 9 : key; };
  ASSERT_NO_FATAL_FAILURE(CreateKeyed("HNSW"));
  InsertRange(0, kStored);
  Flush();
  ASSERT_NO_FATAL_FAILURE(AwaitParts(1));
  const auto bytes = files_->ReadFile(IndexFiles(".keys")[0]);
  ASSERT_TRUE(bytes.ok());
  const auto file = index::OpenKeyIndexFile(*bytes, "it");
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(file->runs.size(), 1U);
  EXPECT_EQ(file->runs[0].rows, 80U);
  EXPECT_FALSE(UsesPart("number == 7")) << "13 of 15 rows";
  EXPECT_GE(RecallOf("number == 7", 7, model_), 0.95);
  EXPECT_GE(RecallOf("number == 8", 8, model_), 0.95);
}

TEST_F(KeyIndexTest, WithoutAKeyThereAreNone) {
  options_.key_index_min_rows = 100;
  Open();
  Create();
  CreateIndex("IVF_FLAT", "L2");
  ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  InsertRange(0, kStored);
  Flush();
  AwaitIndexes();
  EXPECT_FALSE(UsesPart("number == 0"));
  EXPECT_TRUE(IndexFiles(".keys").empty());
  EXPECT_EQ(builds_, 1);
}

}  // namespace
}  // namespace quiver::query
