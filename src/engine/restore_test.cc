// Restoring snapshots: jobs end once, whatever happens to the process.

#include <algorithm>

#include "engine/restore_record.h"
#include "engine/test_docs.h"

namespace quiver::engine {
namespace {

using RowMap = std::map<int64_t, std::string>;

class RestoreTest : public EngineTest {
 protected:
  /// Rows, a snapshot `first` of them, and other rows.
  void Prepare() {
    options_.flush_min_bytes = 0;
    options_.compaction = false;
    Open();
    CreateDocs();
    ASSERT_TRUE(Insert({1, 2, 3}, "a").ok());
    ASSERT_TRUE(engine_->Flush(Docs()).ok());
    ASSERT_TRUE(Insert({4}, "a").ok());
    ASSERT_TRUE(engine_->CreateSnapshot("default", "docs", "first", "").ok());
    ASSERT_TRUE(Insert({2, 5}, "b").ok());
    ASSERT_TRUE(Delete({1}).ok());
  }
  std::optional<RestoreJob> Wait(int64_t id) {
    for (;;) {
      const auto job = engine_->FindRestore(id);
      if (!job || HasEnded(*job)) return job;
      std::this_thread::yield();
    }
  }
  RowMap RowsOfCollection(const std::string& name) {
    const auto found = engine_->FindCollection("default", name);
    return found.ok() ? RowsOf(engine_->ViewAll(**found)) : RowMap();
  }

  const RowMap snapshot_{{1, "a1"}, {2, "a2"}, {3, "a3"}, {4, "a4"}};
  const RowMap present_{{2, "b2"}, {3, "a3"}, {4, "a4"}, {5, "b5"}};
};

TEST_F(RestoreTest, JobsAreRememberedAcrossRestarts) {
  Prepare();
  const RestoreJob done = Restore("first", "copy");
  ASSERT_EQ(done.state, RestoreState::kCompleted);
  for (int round = 0; round < 2; ++round) {
    Reopen();
    const auto known = engine_->FindRestore(done.id);
    ASSERT_TRUE(known.has_value());
    EXPECT_EQ(known->state, RestoreState::kCompleted);
    EXPECT_EQ(known->progress, 100);
    EXPECT_EQ(known->snapshot, "first");
    EXPECT_EQ(known->collection, "copy");
    EXPECT_EQ(known->started, done.started);
    EXPECT_EQ(engine_->ListRestores().size(), 1U);
    EXPECT_EQ(RowsOfCollection("copy"), snapshot_);
  }
}

TEST_F(RestoreTest, AStopInterruptsAndTheStartGoesOn) {
  Prepare();
  const auto copied = engine_->RestoreSnapshot("default", "docs", "first", "", "copy");
  const auto in_place = engine_->RestoreSnapshot("default", "docs", "first", "", "");
  ASSERT_TRUE(copied.ok() && in_place.ok());
  Reopen();  // however far they have come
  EXPECT_EQ(Wait(*copied)->state, RestoreState::kCompleted);
  EXPECT_EQ(Wait(*in_place)->state, RestoreState::kCompleted);
  EXPECT_EQ(RowsOfCollection("copy"), snapshot_);
  EXPECT_EQ(RowsOfCollection("docs"), snapshot_);
  // Not done a second time.
  ASSERT_TRUE(Insert({9}, "c").ok());
  Reopen();
  RowMap more = snapshot_;
  more[9] = "c9";
  EXPECT_EQ(RowsOfCollection("docs"), more);
}

TEST_F(RestoreTest, AJobWhoseSnapshotWentWhileItWaitedFailsForGood) {
  Prepare();
  const auto record = [&] {
    RestoreRecord waiting;
    waiting.job = {.id = 77, .snapshot = "other", .db_name = "default", .collection = "copy", .started = 77};
    waiting.source_id = Docs()->id();
    waiting.snapshot_id = 5;
    return waiting;
  }();
  engine_.reset();
  storage::MetaTransaction transaction;
  transaction.Put(RestoreKey(77), RestoreRecordToJson(record));
  ASSERT_TRUE(meta_->Commit(transaction).ok());
  for (int round = 0; round < 2; ++round) {
    Open();
    const auto job = Wait(77);
    ASSERT_TRUE(job.has_value());
    EXPECT_EQ(job->state, RestoreState::kFailed);
    EXPECT_EQ(job->reason, "snapshot not found[collection=docs][snapshot=other]");
    EXPECT_FALSE(engine_->FindCollection("default", "copy").ok());
    engine_.reset();
  }
}

TEST_F(RestoreTest, ACrashAtAnyPointLeavesAllOrNothingAndTheJobEnds) {
  meta_->OnOperation([this](const std::string& what) { return files_->CountOperation(what); });
  for (const bool in_place : {false, true}) {
    const std::string target = in_place ? "docs" : "copy";
    const RowMap before = in_place ? present_ : RowMap();
    bool crashed = true;
    int interrupted = 0;
    for (uint64_t point = 0; crashed; ++point) {
      SCOPED_TRACE(testing::Message() << target << " " << point);
      Prepare();
      files_->CrashAt(files_->operations() + point);
      const auto id = engine_->RestoreSnapshot("default", "docs", "first", "", in_place ? "" : "copy");
      if (id.ok()) (void)Wait(*id);
      crashed = files_->crashed();
      engine_.reset();
      crashed = crashed || files_->crashed();
      if (point % 2 == 0) {
        files_->CrashAndDropUnsynced();
      } else {
        files_->CrashAndScramble(point);
      }
      meta_->CrashAndDropUnsynced(point % 3);
      Open();
      if (id.ok()) {
        // It was promised.
        const auto job = Wait(*id);
        ASSERT_TRUE(job.has_value());
        EXPECT_EQ(job->state, RestoreState::kCompleted) << job->reason;
        EXPECT_EQ(RowsOfCollection(target), snapshot_);
        if (crashed) ++interrupted;
      } else {
        for (const RestoreJob& job : engine_->ListRestores()) (void)Wait(job.id);
        const RowMap rows = RowsOfCollection(target);
        EXPECT_TRUE(rows == before || rows == snapshot_);
      }
      if (!in_place) {
        EXPECT_EQ(RowsOfCollection("docs"), present_);
      }
      ASSERT_TRUE(engine_->DropCollection("default", "docs").ok());
      ASSERT_TRUE(engine_->DropCollection("default", "copy").ok());
      engine_.reset();
    }
    EXPECT_GT(interrupted, 5) << "this test has seen no crash in the middle of a job";
  }
}

TEST(RestoreRecord, SurvivesItsStoredForm) {
  RestoreRecord record;
  record.job = {.id = 5,
                .snapshot = "a \"quoted\" name",
                .db_name = "default",
                .collection = "copy",
                .state = RestoreState::kFailed,
                .reason = "no",
                .started = 5,
                .milliseconds = 9};
  record.source_id = 3;
  record.snapshot_id = 4;
  record.in_place = true;
  const std::string json = RestoreRecordToJson(record);
  const auto read = RestoreRecordFromJson(json);
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->job.snapshot, record.job.snapshot);
  EXPECT_EQ(read->job.state, record.job.state);
  EXPECT_EQ(RestoreRecordToJson(*read), json);
  for (const std::string_view damaged : {"", "{}", "[1]", "{\"version\":2}"}) {
    EXPECT_FALSE(RestoreRecordFromJson(damaged).ok()) << damaged;
  }
  // A job that runs is stored as one that is still to be done.
  record.job.state = RestoreState::kExecuting;
  EXPECT_EQ(RestoreRecordFromJson(RestoreRecordToJson(record))->job.state, RestoreState::kPending);
}

}  // namespace
}  // namespace quiver::engine
