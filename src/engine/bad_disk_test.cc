// What a full or broken disk does to the engine: which writes are refused and how, that reads go on, and that what can
// heal heals by itself.

#include <gtest/gtest.h>

#include <future>
#include <set>
#include <thread>

#include "engine/test_engine.h"
#include "segment/segment.h"

namespace quiver::engine {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

constexpr int64_t kPk = 100;
constexpr int64_t kText = 101;

class BadDiskTest : public EngineTestBase {
 protected:
  BadDiskTest() {
    options_.flush_min_bytes = 0;
    options_.log_preallocate_bytes = 0;  // the space in use is then what the test thinks it is
    options_.compaction = false;
  }

  void SetUp() override {
    Open();
    Create("docs", {MakeKeyField(kPk), MakeField(kText, "text", DataType::kVarChar)});
  }

  Status Insert(int64_t key, size_t bytes = 100) {
    ColumnBatch batch;
    batch.rows = 1;
    batch.columns = {Column::Make(kPk, DataType::kInt64), Column::Make(kText, DataType::kVarChar)};
    batch.columns[0].AppendValue(key);
    batch.columns[1].Append(std::string(bytes, 'x'));
    return EngineTestBase::Insert({.collection = Docs(), .batch = std::move(batch)}).status();
  }

  Status Delete(int64_t key) {
    return EngineTestBase::Delete({.collection = Docs(), .primary_keys = MakeKeys(kPk, {key})}).status();
  }

  std::set<int64_t> Keys() {
    std::set<int64_t> keys;
    const ReadView view = engine_->ViewAll(*Docs());
    for (const auto& segment : view.segments) {
      uint64_t mask[segment::kPageWords];
      segment->FillVisible(0, {.timestamp = view.timestamp}, mask);
      for (uint32_t row = 0; row < segment->row_count(); ++row) {
        if ((mask[row / 64] >> (row % 64) & 1) != 0) keys.insert(segment->View(kPk, row, 1)->Get<int64_t>(0));
      }
    }
    return keys;
  }

  void FillDisk() { files_->SetCapacity(0); }
  void FreeDisk() { files_->SetCapacity(std::nullopt); }

  bool Sealed() {
    const auto segments = engine_->ListSegments(*Docs());
    return std::any_of(segments.begin(), segments.end(), [](const SegmentInfo& info) { return info.sealed; });
  }
};

TEST_F(BadDiskTest, FullDiskRefusesWritesUntilThereIsSpace) {
  ASSERT_TRUE(Insert(1).ok());
  FillDisk();
  for (int64_t key = 2; key < 5; ++key) {
    const Status refused = Insert(key);
    EXPECT_EQ(refused.code(), StatusCode::kDiskFull);
    EXPECT_TRUE(refused.retriable());
    EXPECT_TRUE(refused.message().starts_with("disk limit exceeded: ")) << refused.message();
    EXPECT_NE(refused.message().find("No space left on device"), std::string::npos) << refused.message();
  }
  EXPECT_EQ(Delete(1).code(), StatusCode::kDiskFull);
  EXPECT_EQ(engine_->CreatePartition("default", "docs", "p").code(), StatusCode::kDiskFull);
  EXPECT_TRUE(engine_->health().ok());
  EXPECT_EQ(Keys(), (std::set<int64_t>{1}));
  EXPECT_EQ(*engine_->RowCount(*Docs(), ""), 1);
  FreeDisk();
  ASSERT_TRUE(Insert(6).ok());
  ASSERT_TRUE(engine_->CreatePartition("default", "docs", "p").ok());
  EXPECT_EQ(Keys(), (std::set<int64_t>{1, 6}));
  PowerLossAndOpen();
  EXPECT_EQ(Keys(), (std::set<int64_t>{1, 6}));
}

TEST_F(BadDiskTest, FullDiskInTheMiddleOfAGroupLeavesNothingOfIt) {
  ASSERT_TRUE(Insert(1).ok());
  // Room for a part of the record: nothing of it may stay, or the next one would stand behind rubbish.
  const uint64_t free = 700;
  uint64_t used = 0;
  const auto listed = files_->List("data/log");
  for (const auto& entry : *listed) used += entry.size;
  files_->SetCapacity(used + free);
  EXPECT_EQ(Insert(2, 5000).code(), StatusCode::kDiskFull);
  ASSERT_TRUE(Insert(3, 50).ok()) << "a smaller record still fits";
  PowerLossAndOpen();
  EXPECT_EQ(Keys(), (std::set<int64_t>{1, 3}));
}

TEST_F(BadDiskTest, SealingOnAFullDiskIsTriedAgainUntilThereIsSpace) {
  for (int64_t key = 0; key < 50; ++key) ASSERT_TRUE(Insert(key).ok());
  FillDisk();
  EXPECT_EQ(engine_->Flush(Docs()).status().code(), StatusCode::kDiskFull);
  EXPECT_EQ(Keys().size(), 50U);
  EXPECT_FALSE(Sealed());
  const uint64_t before = files_->operations();
  std::this_thread::sleep_for(300ms);  // what is measured: how often it tries
  const uint64_t tried = files_->operations() - before;
  EXPECT_LT(tried, 60U) << "the sealer turns in a tight loop";
  FreeDisk();
  EXPECT_TRUE(Eventually([&] { return Sealed(); }));
  EXPECT_EQ(Keys().size(), 50U);
  ASSERT_TRUE(Delete(7).ok());
  PowerLossAndOpen();
  EXPECT_EQ(Keys().size(), 49U);
}

TEST_F(BadDiskTest, RowsOfAFailedSealSurviveALaterSealOfTheirCollection) {
  // Were the later seal to go first, its checkpoint would cover rows that only the log holds.
  ASSERT_TRUE(Insert(1).ok());
  FillDisk();
  EXPECT_EQ(engine_->Flush(Docs()).status().code(), StatusCode::kDiskFull);
  FreeDisk();
  ASSERT_TRUE(Insert(2).ok());
  files_->FailAt(files_->operations(), io::Fault::kNoSpace, 1);
  (void)engine_->Flush(Docs());
  ASSERT_TRUE(Eventually([&] { return engine_->Flush(Docs()).ok() && Sealed(); }));
  EXPECT_EQ(Keys(), (std::set<int64_t>{1, 2}));
  PowerLossAndOpen();
  EXPECT_EQ(Keys(), (std::set<int64_t>{1, 2}));
}

TEST_F(BadDiskTest, ASealMayFailAtAnyOperationAndComesThrough) {
  // Every I/O operation of a seal with deltas fails once, with each error that a disk may recover from.
  int64_t key = 0;
  std::set<int64_t> expected;
  for (const io::Fault fault : {io::Fault::kNoSpace, io::Fault::kTornWrite}) {
    for (uint64_t operation = 0; operation < 24; ++operation) {
      SCOPED_TRACE(operation);
      for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(Insert(key).ok());
        expected.insert(key++);
      }
      if (key > 6) {
        ASSERT_TRUE(Delete(key - 6).ok());  // sealed before: makes a delta
        expected.erase(key - 6);
      }
      files_->FailAt(files_->operations() + operation, fault, 1);
      (void)engine_->Flush(Docs());
      ASSERT_TRUE(Eventually([&] {
        const auto segments = engine_->ListSegments(*Docs());
        return std::all_of(segments.begin(), segments.end(), [](const SegmentInfo& info) { return info.sealed; });
      }));
      ASSERT_TRUE(engine_->health().ok()) << engine_->health().ToString();
      EXPECT_EQ(Keys(), expected);
      PowerLossAndOpen();
      EXPECT_EQ(Keys(), expected);
    }
  }
}

TEST_F(BadDiskTest, FullDiskOfTheMetadataHeals) {
  // The engine outlives this function, and with it what its store asks.
  const auto full = std::make_shared<std::atomic<bool>>(false);
  meta_->OnOperation([full](const std::string& what) {
    return *full ? Error(StatusCode::kDiskFull, "cannot {} the metadata: No space left on device", what) : Status::Ok();
  });
  ASSERT_TRUE(Insert(1).ok());
  *full = true;
  // The log has the change durably, so it counts; the store follows when it can.
  ASSERT_TRUE(engine_->CreatePartition("default", "docs", "p").ok());
  EXPECT_EQ(engine_->Flush(Docs()).status().code(), StatusCode::kDiskFull);
  ASSERT_TRUE(Insert(2).ok());
  EXPECT_TRUE(engine_->health().ok());
  // A power loss now finds both in the log.
  files_->CrashAt(files_->operations());
  engine_.reset();
  files_->CrashAndDropUnsynced();
  meta_->CrashAndDropUnsynced();
  *full = false;
  Open();
  EXPECT_EQ(Keys(), (std::set<int64_t>{1, 2}));
  EXPECT_NE(Docs()->info()->FindPartition("p"), nullptr);

  *full = true;
  ASSERT_TRUE(engine_->CreatePartition("default", "docs", "q").ok());
  EXPECT_EQ(engine_->Flush(Docs()).status().code(), StatusCode::kDiskFull);
  *full = false;
  EXPECT_TRUE(Eventually([&] { return Sealed(); }));
  EXPECT_TRUE(Eventually([&] {
    return meta_->Get("collection/" + std::to_string(Docs()->id()))->value().find("\"q\"") != std::string::npos;
  }));
  PowerLossAndOpen();
  EXPECT_EQ(Keys(), (std::set<int64_t>{1, 2}));
  EXPECT_NE(Docs()->info()->FindPartition("q"), nullptr);
}

TEST_F(BadDiskTest, WriteErrorOfTheLogEndsWritingAndSaysWhy) {
  ASSERT_TRUE(Insert(1).ok());
  files_->FailAt(files_->operations(), io::Fault::kError, 1);
  EXPECT_EQ(Insert(2).code(), StatusCode::kForceDeny);
  // Nothing fails any more, but what the file holds is not known.
  EXPECT_EQ(Insert(3).code(), StatusCode::kForceDeny);
  EXPECT_NE(engine_->health().message().find("Input/output error"), std::string::npos) << engine_->health().ToString();
  EXPECT_EQ(Keys(), (std::set<int64_t>{1}));
  PowerLossAndOpen();
  EXPECT_TRUE(engine_->health().ok());
  EXPECT_EQ(Keys(), (std::set<int64_t>{1}));
}

TEST_F(BadDiskTest, SyncErrorOfTheLogEndsAcknowledgementsAndSaysWhy) {
  ASSERT_TRUE(Insert(1).ok());
  files_->FailAt(files_->operations() + 1, io::Fault::kError, 1);
  EXPECT_EQ(Insert(2).code(), StatusCode::kForceDeny);
  EXPECT_EQ(Insert(3).code(), StatusCode::kForceDeny);
  EXPECT_NE(engine_->health().message().find("cannot sync"), std::string::npos) << engine_->health().ToString();
  EXPECT_EQ(Keys(), (std::set<int64_t>{1}));
  // Nobody waits for a watermark that will never come.
  EXPECT_FALSE(engine_->Flush(Docs()).ok());
  PowerLossAndOpen();
  const std::set<int64_t> keys = Keys();
  EXPECT_TRUE(keys.contains(1));
  EXPECT_FALSE(keys.contains(3));
}

TEST_F(BadDiskTest, FailedMetadataEndsWritingAndSaysWhy) {
  meta_->OnOperation([](const std::string& what) { return Error(StatusCode::kIo, "cannot {} the metadata", what); });
  EXPECT_FALSE(engine_->CreatePartition("default", "docs", "p").ok());
  EXPECT_NE(engine_->health().message().find("metadata"), std::string::npos) << engine_->health().ToString();
  EXPECT_FALSE(Insert(1).ok());
}

TEST_F(BadDiskTest, ReadsDoNotWaitForASlowDisk) {
  ASSERT_TRUE(Insert(1).ok());
  files_->SetLatency(200ms);
  const auto collection = Docs();
  std::promise<Status> answer;
  std::thread writer([&] { answer.set_value(Insert(2)); });
  auto written = answer.get_future();
  int reads = 0;
  std::chrono::nanoseconds slowest{0};
  while (written.wait_for(1ms) != std::future_status::ready) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_GE(Keys().size(), 1U);
    EXPECT_TRUE(engine_->OpenView(*collection, {}, 0, begin + 1s).status().code() == StatusCode::kCollectionNotLoaded);
    slowest = std::max<std::chrono::nanoseconds>(slowest, std::chrono::steady_clock::now() - begin);
    ++reads;
  }
  writer.join();
  files_->SetLatency(0ms);
  EXPECT_TRUE(written.get().ok());
  EXPECT_GT(reads, 10);
  EXPECT_LT(slowest, 150ms);
}

}  // namespace
}  // namespace quiver::engine
