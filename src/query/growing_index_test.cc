// Scalar indexes of growing segments through the engine: the same answers with and without them while rows come, go and
// are sealed and indexes come and go; what becomes of their memory.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "engine/test_engine.h"
#include "expr/random_filter.h"
#include "query/match.h"
#include "query/search.h"

namespace quiver::query {
namespace {

using engine::MakeField;
using segment::kIndexBlockRows;

constexpr int64_t kKey = 900;

class GrowingIndexTest : public engine::EngineTestBase {
 protected:
  GrowingIndexTest() {
    options_.flush_min_bytes = 0;
    options_.compaction = false;
    options_.index_min_rows = 500;
    options_.retention_seconds = 3600;
  }
  ~GrowingIndexTest() override { engine_.reset(); }

  void CreateDocs() {
    Create("docs", {engine::MakeKeyField(kKey), MakeField(101, "number", DataType::kInt32),
                    MakeField(102, "doc", DataType::kJson)});
  }
  static int64_t NumberOf(int64_t key) { return key * 7919 % 997; }
  Status InsertDocs(int64_t from, int64_t to) {
    ColumnBatch batch;
    batch.rows = static_cast<size_t>(to - from);
    Column keys = Column::Make(kKey, DataType::kInt64);
    Column numbers = Column::Make(101, DataType::kInt32);
    Column docs = Column::Make(102, DataType::kJson);
    for (int64_t key = from; key < to; ++key) {
      keys.AppendValue(key);
      numbers.AppendValue(static_cast<int32_t>(NumberOf(key)));
      docs.Append(fmt::format(R"({{"tag":"t{}","word":"w {} x"}})", key % 300, key * 31 % 4001));
    }
    batch.columns = {keys, numbers, docs};
    return EngineTestBase::Insert({.collection = Docs(), .batch = std::move(batch)}).status();
  }
  Status MakeIndex(const std::string& field, const std::string& type, const std::string& name = {},
                   const KeyValues& params = {}) {
    return engine_->CreateIndex("default", "docs", field,
                                {.name = name, .index_type = type, .metric_type = {}, .params = params});
  }
  Status DropIndex(const std::string& name) { return engine_->DropIndex("default", "docs", "", name); }

  [[nodiscard]] uint64_t IndexMemory() const {
    return engine_->statistics().memory_bytes[static_cast<size_t>(MemoryConsumer::kGrowingIndexes)];
  }
  /// Waits until so many indexes have been built over blocks since the engine was opened.
  void AwaitBlocks(uint64_t builds) {
    ASSERT_TRUE(Eventually([&] { return engine_->statistics().growing_index_builds >= builds; }))
        << engine_->statistics().growing_index_builds;
  }

  static std::shared_ptr<const expr::Filter> Compile(const engine::ReadView& view, const std::string& text) {
    auto filter = expr::Filter::Compile(text, *view.info->schema);
    EXPECT_TRUE(filter.ok()) << text << ": " << filter.status().ToString();
    return *filter;
  }
  static int64_t Count(const engine::ReadView& view, const std::string& text) {
    const auto count = query::Count(view, Compile(view, text), {});
    EXPECT_TRUE(count.ok()) << count.status().ToString();
    return count.ok() ? *count : -1;
  }
  int64_t Count(const std::string& text) { return Count(engine_->ViewAll(*Docs()), text); }
  /// Pages of growing segments for which indexes answer the filter.
  uint32_t IndexedPagesOf(const std::string& text) {
    const engine::ReadView view = engine_->ViewAll(*Docs());
    const auto filter = Compile(view, text);
    uint32_t pages = 0;
    for (size_t i = 0; i < view.segments.size(); ++i) {
      const SegmentFilter one(view, i, filter.get());
      if (view.segments[i]->sealed()) continue;
      for (const IndexedPages& part : one.indexed()) pages += part.end_page - part.first_page;
    }
    return pages;
  }
};

constexpr uint32_t kBlockPages = kIndexBlockRows / segment::kPageRows;

/// Copies the values of a field of a test's table.
Column CopyColumn(const expr::TestTable& table, const FieldSchema& field) {
  const ColumnView view = table.column(field.field_id);
  Column column = Column::Make(field.field_id, field.type, field.dim, field.element_type);
  for (size_t row = 0; row < table.row_count(); ++row) {
    if (view.IsNull(row)) {
      column.AppendNull();
    } else {
      column.Append(view.Bytes(row));
    }
  }
  return column;
}

TEST_F(GrowingIndexTest, RandomFiltersOverEveryKindOfIndexAnswerAsTheScanDoes) {
  using expr::random::Generator;
  constexpr int kTableRows = 9000;
  constexpr int kCopies = 4;
  Open();
  Generator generator(7);
  const CollectionSchema fields = Generator::Schema();
  const expr::TestTable table(fields, generator.Rows(kTableRows));
  CollectionSchema schema = fields;
  schema.name = "docs";
  schema.fields.push_back(engine::MakeKeyField(kKey));
  ASSERT_TRUE(engine_->CreateCollection({.schema = schema}).ok());
  for (int64_t copy = 0; copy < kCopies; ++copy) {
    ColumnBatch batch;
    batch.rows = kTableRows;
    Column keys = Column::Make(kKey, DataType::kInt64);
    for (int64_t row = 0; row < kTableRows; ++row) keys.AppendValue(copy * kTableRows + row);
    for (const FieldSchema& field : fields.fields) batch.columns.push_back(CopyColumn(table, field));
    batch.columns.push_back(std::move(keys));
    const auto written = EngineTestBase::Insert({.collection = Docs(), .batch = std::move(batch)});
    ASSERT_TRUE(written.ok()) << written.status().ToString();
  }
  size_t indexes = 0;
  const auto make = [&](const std::string& field, const std::string& type, const KeyValues& params = {}) {
    const Status made = MakeIndex(field, type, fmt::format("{}_{}", field, indexes), params);
    ASSERT_TRUE(made.ok()) << field << ": " << made.ToString();
    ++indexes;
  };
  for (const char* field : {"i8", "i16", "i32", "i64", "f", "d", "ts"}) make(field, "STL_SORT");
  for (const char* field : {"b", "ai", "at", "af"}) make(field, "INVERTED");
  make("s", "TRIE");
  make("t", "NGRAM", {{"min_gram", "2"}, {"max_gram", "3"}});
  make("g", "RTREE");
  make("j", "INVERTED", {{"json_cast_type", "JSON"}});
  make("$meta", "INVERTED", {{"json_path", "$meta['k']"}, {"json_cast_type", "double"}});
  make("$meta", "NGRAM",
       {{"json_path", "$meta['k']"}, {"json_cast_type", "varchar"}, {"min_gram", "2"}, {"max_gram", "3"}});
  const uint32_t blocks = kTableRows * kCopies / kIndexBlockRows;
  ASSERT_EQ(blocks, 2U);
  AwaitBlocks(indexes * blocks);

  const engine::ReadView view = engine_->ViewAll(*Docs());
  ASSERT_EQ(view.segments.size(), 1U);
  ASSERT_FALSE(view.segments[0]->sealed());
  constexpr size_t kTableWords = (kTableRows + 63) / 64;
  size_t helped = 0;
  for (int i = 0; i < 500; ++i) {
    const std::string text = generator.Filter(2).text;
    const auto filter = Compile(view, text);
    uint64_t scanned[kTableWords] = {};
    filter->Evaluate(table, scanned);
    std::vector<bool> found(size_t{kTableRows} * kCopies);
    const SegmentFilter one(view, 0, filter.get());
    helped += one.indexed().empty() ? 0 : 1;
    ASSERT_TRUE(
        VisitMatches(one, 0, view.segments[0]->page_count(), {}, [&](uint32_t page, const uint64_t* mask, uint32_t) {
          for (uint32_t row = 0; row < segment::kPageRows; ++row) {
            if ((mask[row / 64] >> (row % 64) & 1U) == 0) continue;
            found[size_t{page} * segment::kPageRows + row] = true;
          }
          return Status::Ok();
        }).ok());
    for (size_t row = 0; row < found.size(); ++row) {
      const size_t at = row % kTableRows;
      ASSERT_EQ(found[row], (scanned[at / 64] >> (at % 64) & 1U) != 0) << text << "\nrow " << row;
    }
  }
  EXPECT_GT(helped, 100U);
}

TEST_F(GrowingIndexTest, FullBlocksAreIndexedAndTheTailIsScanned) {
  Open();
  CreateDocs();
  ASSERT_TRUE(InsertDocs(0, kIndexBlockRows + 100).ok());
  ASSERT_TRUE(MakeIndex("number", "STL_SORT", "n").ok());
  ASSERT_TRUE(MakeIndex("doc", "INVERTED", "j", {{"json_path", "doc['tag']"}, {"json_cast_type", "varchar"}}).ok());
  AwaitBlocks(2);
  EXPECT_EQ(IndexedPagesOf("number == 5"), kBlockPages);
  const int64_t right = Count("number + 0 == 5");
  EXPECT_GT(right, 10);
  EXPECT_EQ(Count("number == 5"), right);
  EXPECT_EQ(Count("doc['tag'] == 't7' and number < 500"), Count("doc['tag'] == 't7' and number + 0 < 500"));
  // A row of the tail is found, too.
  EXPECT_EQ(Count(fmt::format("id == {0} and number == {1}", kIndexBlockRows + 50, NumberOf(kIndexBlockRows + 50))), 1);

  // Rows that come fill the next block.
  ASSERT_TRUE(InsertDocs(kIndexBlockRows + 100, 2 * int64_t{kIndexBlockRows}).ok());
  AwaitBlocks(4);
  EXPECT_EQ(IndexedPagesOf("number == 5"), 2 * kBlockPages);
  EXPECT_EQ(Count("number == 5"), Count("number + 0 == 5"));

  // After a restart the rows come from the log and are indexed again.
  Open();
  AwaitBlocks(4);
  ASSERT_TRUE(Eventually([&] { return IndexedPagesOf("number == 5") == 2 * kBlockPages; }));
  EXPECT_EQ(Count("number == 5"), Count("number + 0 == 5"));
}

TEST_F(GrowingIndexTest, DeletesUpsertsAndEarlierMomentsStayRight) {
  Open();
  CreateDocs();
  ASSERT_TRUE(MakeIndex("number", "STL_SORT", "n").ok());
  ASSERT_TRUE(InsertDocs(0, kIndexBlockRows).ok());
  AwaitBlocks(1);
  const engine::ReadView earlier = engine_->ViewAll(*Docs());
  const int64_t before = Count(earlier, "number < 30");
  std::vector<int64_t> keys;
  int64_t left = 0;
  for (int64_t key = 0; key < kIndexBlockRows; ++key) {
    if (key % 2 == 0) {
      keys.push_back(key);
    } else {
      left += NumberOf(key) < 30 ? 1 : 0;
    }
  }
  ASSERT_TRUE(Delete({.collection = Docs(), .partition_name = {}, .primary_keys = engine::MakeKeys(kKey, keys)}).ok());
  ASSERT_EQ(IndexedPagesOf("number < 30"), kBlockPages);
  EXPECT_EQ(Count("number < 30"), left);
  EXPECT_EQ(Count(earlier, "number < 30"), before);
  // The same keys again: new versions behind the block.
  ASSERT_TRUE(InsertDocs(1, 2).ok());
  EXPECT_EQ(Count("number < 30"), left);
}

TEST_F(GrowingIndexTest, MemoryIsGivenBackWhenAnIndexIsDroppedAndWhenItsRowsAreSealed) {
  Open();
  CreateDocs();
  ASSERT_TRUE(MakeIndex("number", "STL_SORT", "n").ok());
  ASSERT_TRUE(
      MakeIndex("doc", "NGRAM", "g",
                {{"json_path", "doc['word']"}, {"json_cast_type", "varchar"}, {"min_gram", "2"}, {"max_gram", "3"}})
          .ok());
  ASSERT_TRUE(InsertDocs(0, 2 * int64_t{kIndexBlockRows}).ok());
  AwaitBlocks(4);
  ASSERT_EQ(IndexedPagesOf("doc['word'] like '% 77%'"), 2 * kBlockPages);
  const uint64_t both = IndexMemory();
  EXPECT_GT(both, 2 * uint64_t{kIndexBlockRows} * sizeof(uint32_t));
  ASSERT_TRUE(DropIndex("g").ok());
  ASSERT_TRUE(Eventually([&] { return IndexMemory() > 0 && IndexMemory() < both; }));
  EXPECT_EQ(IndexedPagesOf("doc['word'] like '% 77%'"), 0U);
  EXPECT_EQ(IndexedPagesOf("number == 5"), 2 * kBlockPages);
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  ASSERT_TRUE(Eventually([&] { return IndexMemory() == 0; }));
  EXPECT_EQ(Count("number == 5"), Count("number + 0 == 5"));
}

TEST_F(GrowingIndexTest, IndexesWaitWhileMemoryIsScarceAndTheirRowsAreScanned) {
  options_.memory_limit = 12U << 20;
  Open();
  CreateDocs();
  ASSERT_TRUE(MakeIndex("number", "STL_SORT", "n").ok());
  ASSERT_TRUE(
      MakeIndex("doc", "NGRAM", "g",
                {{"json_path", "doc['word']"}, {"json_cast_type", "varchar"}, {"min_gram", "2"}, {"max_gram", "3"}})
          .ok());
  ASSERT_TRUE(InsertDocs(0, kIndexBlockRows).ok());
  // Building the grams takes more than there is; what was built before is used.
  ASSERT_TRUE(Eventually([&] { return IndexedPagesOf("number == 5") == kBlockPages; }));
  EXPECT_EQ(IndexedPagesOf("doc['word'] like '% 77%'"), 0U);
  EXPECT_EQ(Count("doc['word'] like '% 77%'"), Count("doc['word'] like '% 77%' and number >= 0"));
}

// Under ThreadSanitizer this shows that readers, the sequencer, the sealer and both indexers share no unguarded state.
TEST_F(GrowingIndexTest, AnswersStayRightWhileRowsAndIndexesComeAndGo) {
  Open();
  CreateDocs();
  constexpr int64_t kBatch = 1000;
  constexpr int64_t kBatches = 70;
  std::atomic<bool> writing{true};
  std::atomic<int> reads{0};
  std::thread writer([&] {
    for (int64_t batch = 0; batch < kBatches; ++batch) {
      ASSERT_TRUE(InsertDocs(batch * kBatch, (batch + 1) * kBatch).ok());
      // Some of the rows before get a new version, others go.
      if (batch % 5 == 4) {
        ASSERT_TRUE(InsertDocs((batch - 1) * kBatch, (batch - 1) * kBatch + 100).ok());
      }
      if (batch % 7 == 6) {
        std::vector<int64_t> keys;
        for (int64_t i = 0; i < 50; ++i) keys.push_back((batch - 3) * kBatch + i * 7);
        ASSERT_TRUE(
            Delete({.collection = Docs(), .partition_name = {}, .primary_keys = engine::MakeKeys(kKey, keys)}).ok());
      }
    }
    writing = false;
  });
  std::thread definer([&] {
    while (writing) {
      ASSERT_TRUE(MakeIndex("number", "STL_SORT", "n").ok());
      ASSERT_TRUE(MakeIndex("doc", "INVERTED", "j", {{"json_path", "doc"}, {"json_cast_type", "json"}}).ok());
      const int before = reads;
      ASSERT_TRUE(Eventually([&] { return reads > before + 3 || !writing; }));
      ASSERT_TRUE(DropIndex("n").ok());
      ASSERT_TRUE(DropIndex("j").ok());
    }
  });
  // Indexes serve no arithmetic and no order of patterns such as these: the one filter is the other, scanned.
  const std::vector<std::pair<const char*, const char*>> filters = {
      {"number == 5", "number + 0 == 5"},
      {"doc['tag'] == 't17'", "doc['tag'] =~ '^t17$'"},
      {"not (number < 990)", "number + 0 >= 990"},
      {"doc['tag'] == 't17' or number == 7", "doc['tag'] =~ '^t17$' or number + 0 == 7"}};
  for (size_t i = 0; writing || i < 2 * filters.size(); ++i) {
    const auto& [indexed, scanned] = filters[i % filters.size()];
    const engine::ReadView view = engine_->ViewAll(*Docs());
    EXPECT_EQ(Count(view, indexed), Count(view, scanned)) << indexed;
    ++reads;
    if (i == 40) {
      EXPECT_TRUE(engine_->Flush(Docs()).ok());
    }
  }
  writer.join();
  definer.join();
  const engine::ReadView view = engine_->ViewAll(*Docs());
  for (const auto& [indexed, scanned] : filters) EXPECT_EQ(Count(view, indexed), Count(view, scanned)) << indexed;
}

}  // namespace
}  // namespace quiver::query
