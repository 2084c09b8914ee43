// Scalar indexes of sealed segments through the engine: the same answers with and without them, after a restart, with
// damaged files, under deletes and time travel; what clients are told.
#include <gtest/gtest.h>

#include <map>

#include "engine/test_engine.h"
#include "query/match.h"
#include "query/search.h"
#include "segment/segment_index.h"

namespace quiver::query {
namespace {

using engine::IndexState;
using engine::MakeField;

constexpr int64_t kPk = 100;
constexpr int64_t kRows = 20'000;

class ScalarIndexQueryTest : public engine::EngineTestBase {
 protected:
  ScalarIndexQueryTest() {
    options_.flush_min_bytes = 0;
    options_.compaction = false;
    options_.index_min_rows = 500;
    options_.retention_seconds = 3600;
  }
  ~ScalarIndexQueryTest() override { engine_.reset(); }

  void Create() {
    FieldSchema tag = MakeField(102, "tag", DataType::kVarChar);
    tag.nullable = true;
    FieldSchema list = MakeField(104, "list", DataType::kArray);
    list.element_type = DataType::kInt32;
    EngineTestBase::Create("docs",
                           {engine::MakeKeyField(kPk), MakeField(101, "number", DataType::kInt32), tag,
                            MakeField(103, "json", DataType::kJson), list, MakeField(105, "real", DataType::kFloat)});
  }
  void CreateIndexes() {
    const auto make = [&](const std::string& field, const std::string& type, const KeyValues& params = {}) {
      const Status made = engine_->CreateIndex(
          "default", "docs", field, {.name = field + type, .index_type = type, .metric_type = {}, .params = params});
      ASSERT_TRUE(made.ok()) << made.ToString();
    };
    make("number", "STL_SORT");
    make("tag", "TRIE");
    make("real", "AUTOINDEX");
    make("list", "BITMAP");
    make("json", "INVERTED", {{"json_path", "json['a']['b']"}, {"json_cast_type", "double"}});
    make("json", "AUTOINDEX", {{"json_path", "json['s']"}, {"json_cast_type", "VARCHAR"}});
  }
  void Insert(int64_t from, int64_t to) {
    ColumnBatch batch;
    batch.rows = static_cast<size_t>(to - from);
    Column ids = Column::Make(kPk, DataType::kInt64);
    Column numbers = Column::Make(101, DataType::kInt32);
    Column tags = Column::Make(102, DataType::kVarChar);
    Column jsons = Column::Make(103, DataType::kJson);
    Column lists = Column::Make(104, DataType::kArray, 0, DataType::kInt32);
    Column reals = Column::Make(105, DataType::kFloat);
    for (int64_t key = from; key < to; ++key) {
      ids.AppendValue(key);
      numbers.AppendValue(static_cast<int32_t>(key * 7919 % kRows));
      if (key % 11 == 0) {
        tags.AppendNull();
      } else {
        tags.Append("tag" + std::to_string(key % 300));
      }
      jsons.Append("{\"a\":{\"b\":" + std::to_string(key % 777) + "},\"s\":\"v" + std::to_string(key % 50) + "\"}");
      ArrayWriter list(DataType::kInt32);
      for (int64_t i = 0; i < key % 4; ++i) list.AppendValue(static_cast<int32_t>((key + i * 31) % 901));
      lists.Append(list.Take());
      reals.AppendValue(static_cast<float>(key % 1000) / 8);
    }
    batch.columns = {ids, numbers, tags, jsons, lists, reals};
    const auto written = EngineTestBase::Insert({.collection = Docs(), .batch = std::move(batch)});
    ASSERT_TRUE(written.ok()) << written.status().ToString();
  }
  void Flush() { ASSERT_TRUE(engine_->Flush(Docs()).ok()); }
  [[nodiscard]] bool Finished() {
    const auto info = Docs()->info();
    return std::all_of(info->indexes.begin(), info->indexes.end(), [&](const auto& index) {
      return engine_->DescribeProgress(*Docs(), index).state == IndexState::kFinished;
    });
  }
  void AwaitIndexes(uint64_t count) {
    ASSERT_TRUE(Eventually([&] { return Finished() && engine_->statistics().indexes == count; }))
        << engine_->statistics().indexes;
  }

  /// Number of matches; `indexed`: how many segments were answered with the help of indexes.
  int64_t Count(const std::string& text, size_t* indexed = nullptr) {
    const engine::ReadView view = engine_->ViewAll(*Docs());
    auto filter = expr::Filter::Compile(text, *view.info->schema);
    EXPECT_TRUE(filter.ok()) << filter.status().ToString();
    if (indexed != nullptr) {
      *indexed = 0;
      for (size_t i = 0; i < view.segments.size(); ++i) {
        *indexed += SegmentFilter(view, i, filter->get()).indexed().empty() ? 0 : 1;
      }
    }
    const auto count = query::Count(view, *filter, {});
    EXPECT_TRUE(count.ok()) << count.status().ToString();
    return count.ok() ? *count : -1;
  }

  /// Each of these is answered by an index once there is one.
  const std::vector<std::string> filters_ = {
      "number == 77",
      "number in [1, 5, 900, 100000]",
      "100 < number <= 130",
      "not (number >= 40)",
      "tag == 'tag7'",
      "tag like 'tag29%'",
      "tag in ['tag1', 'tag2'] and number < 10000",
      "tag == 'tag7' and number > 100 and real >= 1.5 and json['a']['b'] != 5",
      "json['a']['b'] == 5",
      "json['a']['b'] >= 770",
      "json['s'] == 'v3' and number < 500",
      "array_contains(list, 100)",
      "array_contains_all(list, [100, 131])",
      "real == 1.125 or number == 3",
      "tag is null and number < 300",
  };
};

TEST_F(ScalarIndexQueryTest, AnswersAlikeWithAndWithoutIndexesAndAfterARestart) {
  Open();
  Create();
  Insert(0, kRows);
  Flush();
  Insert(kRows, kRows + 100);  // growing
  std::map<std::string, int64_t> scanned;
  for (const std::string& filter : filters_) {
    size_t indexed = 0;
    scanned[filter] = Count(filter, &indexed);
    EXPECT_EQ(indexed, 0U);
    EXPECT_GT(scanned[filter], 0) << filter;
    EXPECT_LT(scanned[filter], kRows / 2) << filter;
  }
  CreateIndexes();
  AwaitIndexes(6);
  for (int round = 0; round < 2; ++round) {
    for (const std::string& filter : filters_) {
      size_t indexed = 0;
      EXPECT_EQ(Count(filter, &indexed), scanned[filter]) << filter;
      EXPECT_EQ(indexed, 1U) << filter;
    }
    Open();
  }
  EXPECT_EQ(engine_->statistics().index_builds, 0U) << "mapped, not built again";
}

TEST_F(ScalarIndexQueryTest, DeletedRowsAndEarlierMomentsStayRight) {
  Open();
  Create();
  CreateIndexes();
  Insert(0, kRows);
  Flush();
  AwaitIndexes(6);
  const int64_t before = Count("number < 30");
  ASSERT_EQ(before, 30);
  const engine::ReadView earlier = engine_->ViewAll(*Docs());
  std::vector<int64_t> keys(static_cast<size_t>(kRows) / 2);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<int64_t>(i) * 2;
  ASSERT_TRUE(Delete({.collection = Docs(), .partition_name = {}, .primary_keys = engine::MakeKeys(kPk, keys)}).ok());
  int64_t expected = 0;
  for (int64_t key = 1; key < kRows; key += 2) expected += key * 7919 % kRows < 30 ? 1 : 0;
  EXPECT_EQ(Count("number < 30"), expected);
  const auto filter = expr::Filter::Compile("number < 30", *earlier.info->schema);
  EXPECT_EQ(*query::Count(earlier, *filter, {}), before);
}

TEST_F(ScalarIndexQueryTest, ADroppedIndexIsNotUsedAnyMore) {
  Open();
  Create();
  CreateIndexes();
  Insert(0, kRows);
  Flush();
  AwaitIndexes(6);
  ASSERT_TRUE(engine_->DropIndex("default", "docs", "number", "").ok());
  ASSERT_TRUE(Eventually([&] { return engine_->statistics().indexes == 5 && IndexFiles().size() == 5; }));
  size_t indexed = 0;
  EXPECT_EQ(Count("number == 77", &indexed), 1);
  EXPECT_EQ(indexed, 0U);
}

TEST_F(ScalarIndexQueryTest, ADamagedIndexIsBuiltAnewAndNeverBelieved) {
  Open();
  Create();
  Insert(0, kRows);
  Flush();
  const int64_t right = Count("100 < number <= 130");
  ASSERT_TRUE(engine_->CreateIndex("default", "docs", "number", {.index_type = "INVERTED", .metric_type = {}}).ok());
  AwaitIndexes(1);
  // Magic, header, recipe, sizes, values, rows.
  for (const uint64_t place : {3, 20, 4100, 8194, 20'000, 200'000}) {
    const std::vector<std::string> files = IndexFiles();
    ASSERT_EQ(files.size(), 1U);
    engine_.reset();
    ASSERT_TRUE(files_->FlipBit(files[0], place * 8));
    Open();
    EXPECT_EQ(Count("100 < number <= 130"), right) << place;
    ASSERT_TRUE(Eventually([&] { return IndexFiles() != files && !IndexFiles().empty() && Finished(); })) << place;
    AwaitIndexes(1);
  }
}

TEST_F(ScalarIndexQueryTest, CompactionBuildsThemForTheMergedSegment) {
  Open();
  Create();
  CreateIndexes();
  Insert(0, kRows / 2);
  Flush();
  Insert(kRows / 2, kRows);
  Flush();
  AwaitIndexes(12);
  const int64_t right = Count("tag like 'tag29%'");
  const auto id = engine_->Compact(Docs());
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(Eventually([&] { return engine_->CompactionState(*id).done; }));
  AwaitIndexes(6);
  size_t indexed = 0;
  EXPECT_EQ(Count("tag like 'tag29%'", &indexed), right);
  EXPECT_EQ(indexed, 1U);
}

}  // namespace
}  // namespace quiver::query
