// Rows that end by a field of their own: the collection property `ttl_field`.

#include <chrono>
#include <set>

#include "base/hybrid_clock.h"
#include "engine/test_docs.h"
#include "segment/row_expiry.h"

namespace quiver::engine {
namespace {

constexpr int64_t kEnds = 103;
constexpr int64_t kHour = int64_t{3600} * 1000 * 1000;

int64_t Now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

class RowTtlTest : public EngineTest {
 protected:
  void CreateWithEnds() {
    CollectionSchema schema = MakeSchema();
    FieldSchema ends;
    ends.field_id = kEnds;
    ends.name = "ends";
    ends.type = DataType::kTimestamptz;
    ends.nullable = true;
    schema.fields.push_back(ends);
    ASSERT_TRUE(engine_->CreateCollection({.schema = schema, .properties = {{"ttl_field", "ends"}}}).ok());
    ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  }
  /// Writes rows with the moments at which they end.
  void InsertEnding(const std::vector<std::pair<int64_t, std::optional<int64_t>>>& rows) {
    std::vector<int64_t> keys;
    Column ends = Column::Make(kEnds, DataType::kTimestamptz);
    for (const auto& [key, end] : rows) {
      keys.push_back(key);
      if (end) {
        ends.AppendValue(*end);
      } else {
        ends.AppendNull();
      }
    }
    ColumnBatch batch = MakeBatch(keys, "a");
    batch.columns.push_back(std::move(ends));
    std::promise<Result<WriteResult>> promise;
    engine_->Insert({.collection = Docs(), .batch = std::move(batch)},
                    [&](Result<WriteResult> result) { promise.set_value(std::move(result)); });
    const auto written = promise.get_future().get();
    ASSERT_TRUE(written.ok()) << written.status().ToString();
  }
  std::set<int64_t> Keys(Timestamp travel = 0) {
    std::set<int64_t> keys;
    for (const auto& [key, value] : RowsAt(travel)) keys.insert(key);
    return keys;
  }
  uint64_t StoredRows() {
    uint64_t rows = 0;
    for (const auto& segment : engine_->ViewAll(*Docs()).segments) rows += segment->row_count();
    return rows;
  }
};

TEST_F(RowTtlTest, RowsEndAtTheirMoment) {
  options_.flush_min_bytes = 0;
  options_.compaction = false;
  Open();
  CreateWithEnds();
  const int64_t soon = (Now() / 1000 + 300) * 1000;  // reads are judged by the millisecond
  InsertEnding({{1, Now() - kHour}, {2, Now() + kHour}, {3, std::nullopt}, {4, soon}, {5, 0}, {6, -kHour}});
  const Timestamp before = engine_->AllocateTimestamp();
  for (const bool sealed : {false, true}) {
    SCOPED_TRACE(sealed);
    if (sealed) {
      ASSERT_TRUE(engine_->Flush(Docs()).ok());
    }
    std::this_thread::sleep_until(std::chrono::system_clock::time_point(std::chrono::microseconds(soon)));
    EXPECT_EQ(Keys(), (std::set<int64_t>{2, 3}));
    // Judged at the moment that is read.
    EXPECT_EQ(Keys(before), (std::set<int64_t>{2, 3, 4}));
    const ReadView view = engine_->ViewAll(*Docs());
    EXPECT_FALSE(view.segments.front()->AllVisible(view.visibility()));
    for (const int64_t key : {1, 2}) {
      const auto row = view.segments.front()->FindVisible(key, view.timestamp);
      ASSERT_TRUE(row.ok() && *row);
      EXPECT_EQ(*segment::HasEnded(*view.segments.front(), **row, view.visibility()), key == 1);
    }
  }
}

TEST_F(RowTtlTest, ASegmentOfLivingRowsNeedsNoMask) {
  options_.flush_min_bytes = 0;
  Open();
  CreateWithEnds();
  InsertEnding({{1, Now() + kHour}, {2, std::nullopt}});
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  ReadView view = engine_->ViewAll(*Docs());
  EXPECT_TRUE(view.segments.front()->AllVisible(view.visibility()));
  view.expiry.moment = Now() + 2 * kHour;
  EXPECT_FALSE(view.segments.front()->AllVisible(view.visibility()));
  EXPECT_EQ(RowsOf(view).size(), 1U);
}

TEST_F(RowTtlTest, EveryPageIsJudgedByItsOwnValues) {
  options_.flush_min_bytes = 0;
  Open();
  CreateWithEnds();
  std::vector<std::pair<int64_t, std::optional<int64_t>>> rows;
  std::set<int64_t> living;
  for (int64_t key = 0; key < 3 * segment::kPageRows; ++key) {
    // The first page lives, the second has ended, the third is mixed.
    const int64_t page = key / segment::kPageRows;
    const bool lives = page == 0 || (page == 2 && key % 3 != 0);
    rows.emplace_back(key, Now() + (lives ? kHour : -kHour));
    if (lives) living.insert(key);
  }
  InsertEnding(rows);
  EXPECT_EQ(Keys(), living);
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  EXPECT_EQ(Keys(), living);
  Reopen();
  EXPECT_EQ(Keys(), living);
}

TEST_F(RowTtlTest, CompactionDropsWhatNobodyCanRead) {
  options_.flush_min_bytes = 0;
  options_.retention_seconds = 0;
  options_.compaction = false;
  Open();
  CreateWithEnds();
  const int64_t soon = Now() + 300'000;
  InsertEnding({{1, soon}, {2, Now() + kHour}, {3, std::nullopt}, {4, Now() - kHour}});
  ASSERT_TRUE(engine_->CreateSnapshot("default", "docs", "early", "").ok());
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  std::this_thread::sleep_until(std::chrono::system_clock::time_point(std::chrono::microseconds(soon)));
  InsertEnding({{5, std::nullopt}});
  Compact();
  EXPECT_EQ(Keys(), (std::set<int64_t>{2, 3, 5}));
  EXPECT_EQ(StoredRows(), 4U) << "the row that the snapshot sees stays, the one that nobody sees goes";
  EXPECT_EQ(Keys(Docs()->info()->FindSnapshot("early")->timestamp), (std::set<int64_t>{1, 2, 3}));
  ASSERT_EQ(Restore("early", "copy").state, RestoreState::kCompleted);
  ASSERT_TRUE(engine_->DropSnapshot("default", "docs", "early").ok());
  Compact();
  EXPECT_EQ(StoredRows(), 3U);
  EXPECT_EQ(*engine_->RowCount(*Docs(), ""), 3);
  Reopen();
  EXPECT_EQ(Keys(), (std::set<int64_t>{2, 3, 5}));
}

TEST_F(RowTtlTest, AFieldAddedLaterEndsOlderRowsByItsDefault) {
  options_.flush_min_bytes = 0;
  Open();
  CreateDocs();
  ASSERT_TRUE(Insert({1, 2}, "a").ok());
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  FieldSchema ends;
  ends.name = "ends";
  ends.type = DataType::kTimestamptz;
  ends.nullable = true;
  ASSERT_TRUE(engine_->AddCollectionField("default", "docs", ends).ok());
  ends.name = "ended";
  ends.default_value = ScalarValue(Now() - kHour);
  ASSERT_TRUE(engine_->AddCollectionField("default", "docs", ends).ok());
  ASSERT_TRUE(engine_->AlterCollection("default", "docs", {{"ttl_field", "ends"}}, {}).ok());
  EXPECT_EQ(Keys(), (std::set<int64_t>{1, 2}));
  ASSERT_TRUE(engine_->AlterCollection("default", "docs", {{"ttl_field", "ended"}}, {}).ok());
  EXPECT_EQ(Keys(), (std::set<int64_t>{}));
  EXPECT_FALSE(engine_->AlterCollection("default", "docs", {{"collection.ttl.seconds", "5"}}, {}).ok());
  ASSERT_TRUE(engine_->AlterCollection("default", "docs", {}, {"ttl_field"}).ok());
  EXPECT_EQ(Keys(), (std::set<int64_t>{1, 2}));
}

TEST_F(RowTtlTest, AnEndedRowDoesNotKeepItsKeyFromBeingInserted) {
  Open();
  CreateWithEnds();
  ASSERT_TRUE(engine_->AlterCollection("default", "docs", {{"collection.insert.unique", "true"}}, {}).ok());
  InsertEnding({{1, Now() - kHour}, {2, Now() + kHour}});
  InsertEnding({{1, std::nullopt}});
  EXPECT_FALSE(Insert({2}, "b").ok());
  EXPECT_EQ(Keys(), (std::set<int64_t>{1, 2}));
}

TEST(RowEnd, IsTheFirstMomentThatHidesTheRow) {
  EXPECT_EQ(segment::EndOfRow(0), 0U);
  EXPECT_EQ(segment::EndOfRow(-5), 0U);
  EXPECT_EQ(segment::EndOfRow(1), quiver::MakeTimestamp(1));
  EXPECT_EQ(segment::EndOfRow(1000), quiver::MakeTimestamp(1));
  EXPECT_EQ(segment::EndOfRow(1001), quiver::MakeTimestamp(2));
  EXPECT_EQ(segment::EndOfRow(INT64_MAX), segment::kNotDeleted) << "beyond the clock's range";
}

}  // namespace
}  // namespace quiver::engine
