// Kept answers of repeated filters: right under deletes, time travel, compaction and drop; bounded and counted.
#include <gtest/gtest.h>

#include <map>

#include "engine/test_engine.h"
#include "query/search.h"

namespace quiver::query {
namespace {

using engine::MakeField;

constexpr int64_t kPk = 100;
constexpr int64_t kRows = 20'000;

class FilterCacheTest : public engine::EngineTestBase {
 protected:
  FilterCacheTest() {
    options_.flush_min_bytes = 0;
    options_.compaction = false;
    options_.retention_seconds = 3600;
  }
  ~FilterCacheTest() override { engine_.reset(); }

  void Start(int64_t rows = kRows) {
    Open();
    Create("docs", {engine::MakeKeyField(kPk), MakeField(101, "number", DataType::kInt32)});
    Insert(0, rows);
    ASSERT_TRUE(engine_->Flush(Docs()).ok());
  }
  void Insert(int64_t from, int64_t to) {
    ColumnBatch batch;
    batch.rows = static_cast<size_t>(to - from);
    Column numbers = Column::Make(101, DataType::kInt32);
    std::vector<int64_t> keys;
    for (int64_t key = from; key < to; ++key) {
      keys.push_back(key);
      numbers.AppendValue(static_cast<int32_t>(key % 1000));
    }
    batch.columns = {engine::MakeKeys(kPk, keys), numbers};
    const auto written = EngineTestBase::Insert({.collection = Docs(), .batch = std::move(batch)});
    ASSERT_TRUE(written.ok()) << written.status().ToString();
  }
  void DeleteKeys(int64_t from, int64_t to) {
    std::vector<int64_t> keys;
    for (int64_t key = from; key < to; ++key) keys.push_back(key);
    ASSERT_TRUE(Delete({.collection = Docs(), .partition_name = {}, .primary_keys = engine::MakeKeys(kPk, keys)}).ok());
  }
  static int64_t CountIn(const engine::ReadView& view, const std::string& text,
                         const expr::TemplateValues& values = {}) {
    const auto filter = expr::Filter::Compile(text, *view.info->schema, values);
    EXPECT_TRUE(filter.ok()) << filter.status().ToString();
    const auto count = query::Count(view, *filter, {});
    EXPECT_TRUE(count.ok()) << count.status().ToString();
    return count.ok() ? *count : -1;
  }
  int64_t Count(const std::string& text, const expr::TemplateValues& values = {}) {
    return CountIn(engine_->ViewAll(*Docs()), text, values);
  }
  segment::FilterCache::Statistics Cached() { return engine_->statistics().filter_cache; }
  uint64_t Charged() { return engine_->statistics().memory_bytes[static_cast<size_t>(MemoryConsumer::kFilterCache)]; }
};

TEST_F(FilterCacheTest, KeepsAFilterThatIsAskedTwice) {
  Start();
  EXPECT_EQ(Count("number < 10"), 200);
  EXPECT_EQ(Cached().bitmaps, 0U) << "once is no reason to keep it";
  EXPECT_EQ(Count("number < 10"), 200);
  EXPECT_EQ(Cached().bitmaps, 1U);
  EXPECT_EQ(Cached().hits, 0U);
  EXPECT_EQ(Count("number   <  10"), 200) << "blanks do not count";
  EXPECT_EQ(Count("number < {most}", {{"most", {int64_t{10}}}}), 200) << "neither does where a constant comes from";
  EXPECT_EQ(Cached().hits, 2U);
  EXPECT_EQ(Count("number < {most}", {{"most", {int64_t{11}}}}), 220) << "another constant is another filter";
  EXPECT_EQ(Cached().hits, 2U);
  EXPECT_GT(Charged(), uint64_t{kRows} / 8);
  EXPECT_EQ(Charged(), Cached().bytes);
}

TEST_F(FilterCacheTest, DeletesAndEarlierMomentsStayRight) {
  Start();
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Count("number < 10"), 200);
  const engine::ReadView earlier = engine_->ViewAll(*Docs());
  DeleteKeys(0, kRows / 2);
  EXPECT_EQ(Count("number < 10"), 100);
  EXPECT_EQ(CountIn(earlier, "number < 10"), 200);
  // What was first evaluated while rows were hidden must be right where they are seen.
  DeleteKeys(kRows / 2, kRows);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Count("number >= 990"), 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(CountIn(earlier, "number >= 990"), 200);
  Insert(kRows, kRows + 1000);  // growing: never kept
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Count("number < 10"), 10);
  EXPECT_GT(Cached().hits, 5U);
}

TEST_F(FilterCacheTest, CompactionAndDropLetGo) {
  Start(kRows / 2);
  Insert(kRows / 2, kRows);
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Count("number == 7"), 20);
  ASSERT_EQ(Cached().bitmaps, 2U);
  DeleteKeys(0, 5000);
  const auto id = engine_->Compact(Docs());
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(Eventually([&] { return engine_->CompactionState(*id).done; }));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Count("number == 7"), 15);
  EXPECT_TRUE(Eventually([&] { return Cached().bitmaps == 1; })) << Cached().bitmaps << " bitmaps";
  ASSERT_TRUE(engine_->DropCollection("default", "docs").ok());
  EXPECT_TRUE(Eventually([&] { return Cached().bitmaps == 0; })) << Cached().bitmaps << " bitmaps";
  EXPECT_EQ(Charged(), 0U);
}

TEST_F(FilterCacheTest, StaysWithinItsBound) {
  options_.filter_cache_bytes = 30'000;  // a bitmap of these rows takes some 2,700 bytes
  Start();
  for (int value = 0; value < 40; ++value) {
    for (int i = 0; i < 3; ++i) ASSERT_EQ(Count("number == " + std::to_string(value)), 20);
    ASSERT_LE(Cached().bytes, options_.filter_cache_bytes);
  }
  EXPECT_GT(Cached().bitmaps, 5U);
  EXPECT_LT(Cached().bitmaps, 12U);
  const uint64_t hits = Cached().hits;
  EXPECT_EQ(Count("number == 39"), 20);
  EXPECT_EQ(Cached().hits, hits + 1) << "the newest are kept";
  EXPECT_EQ(Count("number == 0"), 20);
  EXPECT_EQ(Cached().hits, hits + 1) << "the oldest are not";
}

TEST_F(FilterCacheTest, MayBeOff) {
  options_.filter_cache_bytes = 0;
  Start();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Count("number < 10"), 200);
  EXPECT_EQ(Cached().bitmaps, 0U);
}

TEST_F(FilterCacheTest, KeysTellFiltersApart) {
  CollectionSchema schema;
  schema.fields = {engine::MakeKeyField(kPk), MakeField(101, "number", DataType::kInt32),
                   MakeField(102, "tag", DataType::kVarChar), MakeField(103, "json", DataType::kJson),
                   MakeField(104, "spot", DataType::kGeometry)};
  schema.fields[2].type_params = {{"enable_match", "true"}, {"enable_analyzer", "true"}};
  const auto key_of = [&](const std::string& text) {
    const auto filter = expr::Filter::Compile(text, schema);
    EXPECT_TRUE(filter.ok()) << text;
    return (*filter)->canonical_key();
  };
  std::map<std::string, std::string> seen;
  for (const std::string text : {"number < 1",
                                 "number <= 1",
                                 "number > 1",
                                 "number == 1",
                                 "number != 1",
                                 "number < 2",
                                 "number in [1, 2]",
                                 "number in [1, 3]",
                                 "not (number < 1)",
                                 "number < 1 and tag == 'a'",
                                 "number < 1 or tag == 'a'",
                                 "tag == 'ab'",
                                 "tag like 'ab%'",
                                 "tag like 'a%'",
                                 "tag > 'a'",
                                 "json['a'] == 1",
                                 "json['b'] == 1",
                                 "json['a']['b'] == 1",
                                 "json['a'] == '1'",
                                 "json['a'] == 1.5",
                                 "number % 2 == 1",
                                 "number % 3 == 1",
                                 "number + 2 == 1",
                                 "1 < number < 5",
                                 "1 <= number < 5",
                                 "1 < number <= 5",
                                 "json_contains(json, 1)",
                                 "exists json['a']",
                                 "text_match(tag, 'a b')",
                                 "text_match(tag, 'a b', minimum_should_match=2)",
                                 "text_match(tag, 'a c')",
                                 "phrase_match(tag, 'a b')",
                                 "phrase_match(tag, 'a b', 1)",
                                 "st_within(spot, 'POLYGON ((0 0, 1 0, 1 1, 0 0))')",
                                 "st_within(spot, 'POLYGON ((0 0, 2 0, 1 1, 0 0))')",
                                 "st_intersects(spot, 'POLYGON ((0 0, 2 0, 1 1, 0 0))')",
                                 "st_dwithin(spot, 'POINT (1 2)', 10)",
                                 "st_dwithin(spot, 'POINT (1 2)', 11)",
                                 "(number < 1 or tag == 'a') and number > 5",
                                 "number < 1 or (tag == 'a' and number > 5)"}) {
    const std::string key = key_of(text);
    ASSERT_FALSE(key.empty()) << text;
    EXPECT_TRUE(seen.emplace(key, text).second) << text << " has the key of " << seen[key];
    EXPECT_EQ(key, key_of(" " + text + " "));
  }
  EXPECT_TRUE(key_of("random_sample(0.5)").empty());
  std::string list = "number in [0";
  for (int i = 1; i < 10'000; ++i) list += "," + std::to_string(i);
  EXPECT_TRUE(key_of(list + "]").empty()) << "too long";
}

}  // namespace
}  // namespace quiver::query
