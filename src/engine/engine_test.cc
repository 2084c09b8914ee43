#include "engine/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "engine/test_docs.h"

namespace quiver::engine {
namespace {

TEST_F(EngineTest, RowsSurviveRestart) {
  Open();
  CreateDocs();
  ASSERT_TRUE(Insert({1, 2, 3}, "a").ok());
  ASSERT_TRUE(Delete({2}).ok());
  const auto updated = Docs()->info()->updated;
  const auto timestamp = engine_->AllocateTimestamp();
  Reopen();
  EXPECT_EQ(Rows(), (std::map<int64_t, std::string>{{1, "a1"}, {3, "a3"}}));
  EXPECT_EQ(Docs()->info()->updated, updated);
  EXPECT_TRUE(Docs()->info()->load.loaded);
  EXPECT_GT(engine_->AllocateTimestamp(), timestamp);
}

TEST_F(EngineTest, NewestVersionOfAKeyWins) {
  Open();
  CreateDocs();
  ASSERT_TRUE(Insert({1, 2}, "old").ok());
  const auto second = Insert({2, 3, 3}, "new");
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->delete_count, 1);
  const std::map<int64_t, std::string> expected{{1, "old1"}, {2, "new2"}, {3, "new3"}};
  EXPECT_EQ(Rows(), expected);
  Reopen();
  EXPECT_EQ(Rows(), expected);
}

TEST_F(EngineTest, SealedRowsAreUpdatedAndDeleted) {
  options_.flush_min_bytes = 0;
  Open();
  CreateDocs();
  ASSERT_TRUE(Insert({1, 2, 3, 4}, "a").ok());
  ASSERT_TRUE(Delete({4}).ok());
  const auto flushed = engine_->Flush(Docs());
  ASSERT_TRUE(flushed.ok()) << flushed.status().ToString();
  ASSERT_EQ(flushed->segment_ids.size(), 1U);
  ASSERT_TRUE(engine_->ListSegments(*Docs()).front().sealed);
  ASSERT_TRUE(Insert({2}, "b").ok());
  ASSERT_TRUE(Delete({3}).ok());
  const std::map<int64_t, std::string> expected{{1, "a1"}, {2, "b2"}};
  EXPECT_EQ(Rows(), expected);
  Reopen();
  EXPECT_EQ(Rows(), expected);
  // The second flush moves the deletes of the first segment into a delta file.
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  EXPECT_EQ(Rows(), expected);
  Reopen();
  EXPECT_EQ(Rows(), expected);
}

TEST_F(EngineTest, SegmentsAreSealedBySizeWhileWritesGoOn) {
  options_.seal_bytes = 20'000;
  Open();
  CreateDocs();
  std::map<int64_t, std::string> expected;
  for (int64_t round = 0; round < 40; ++round) {
    std::vector<int64_t> keys;
    for (int64_t i = 0; i < 50; ++i) keys.push_back((round * 37 + i) % 1500);
    const std::string value = "r" + std::to_string(round) + "_";
    ASSERT_TRUE(Insert(keys, value).ok());
    for (const int64_t key : keys) expected[key] = value + std::to_string(key);
    ASSERT_TRUE(Delete({keys[3]}).ok());
    expected.erase(keys[3]);
  }
  EXPECT_EQ(Rows(), expected);
  Reopen();
  EXPECT_EQ(Rows(), expected);
}

TEST_F(EngineTest, DeleteSparesVersionsNewerThanItsReadTimestamp) {
  Open();
  CreateDocs();
  const auto first = Insert({1, 2}, "a");
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(Insert({2}, "b").ok());
  ASSERT_TRUE(Delete({1, 2}, first->timestamp).ok());
  EXPECT_EQ(Rows(), (std::map<int64_t, std::string>{{2, "b2"}}));
  Reopen();
  EXPECT_EQ(Rows(), (std::map<int64_t, std::string>{{2, "b2"}}));
}

TEST_F(EngineTest, RepeatedRequestGetsTheFirstAnswer) {
  Open();
  CreateDocs(true);
  const auto first = Insert({7, 8}, "a", false, "request-1");
  ASSERT_TRUE(first.ok());
  const auto repeated = Insert({7, 8}, "a", false, "request-1");
  ASSERT_TRUE(repeated.ok());
  EXPECT_EQ(repeated->primary_keys.Get<int64_t>(1), first->primary_keys.Get<int64_t>(1));
  EXPECT_EQ(Rows().size(), 2U);
  Reopen();
  ASSERT_TRUE(Insert({7, 8}, "a", false, "request-1").ok());
  EXPECT_EQ(Rows().size(), 2U);
  // The same id on other rows is another request.
  ASSERT_TRUE(Insert({9}, "b", false, "request-1").ok());
  EXPECT_EQ(Rows().size(), 3U);
}

TEST_F(EngineTest, DroppedPartitionStaysEmpty) {
  options_.flush_min_bytes = 0;
  Open();
  CreateDocs();
  ASSERT_TRUE(engine_->Release("default", "docs", {}).ok());
  ASSERT_TRUE(engine_->CreatePartition("default", "docs", "p").ok());
  ASSERT_TRUE(Insert({1}, "a").ok());
  ASSERT_TRUE(Insert({2}, "a", true, "", "p").ok());
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  ASSERT_TRUE(Insert({3}, "a", true, "", "p").ok());
  ASSERT_TRUE(engine_->DropPartition("default", "docs", "p").ok());
  const std::map<int64_t, std::string> expected{{1, "a1"}};
  EXPECT_EQ(Rows(), expected);
  EXPECT_EQ(Insert({4}, "a", true, "", "p").status().message(), "partition not found[partition=p]");
  Reopen();
  EXPECT_EQ(Rows(), expected);
}

TEST_F(EngineTest, DroppedCollectionLeavesNothing) {
  options_.flush_min_bytes = 0;
  Open();
  CreateDocs();
  ASSERT_TRUE(Insert({1}, "a").ok());
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  const auto old = Docs();
  ASSERT_TRUE(engine_->DropCollection("default", "docs").ok());
  EXPECT_EQ(engine_->FindCollection("default", "docs").status().message(),
            "collection not found[database=default][collection=docs]");
  std::promise<Status> answer;
  engine_->Insert({.collection = old, .batch = MakeBatch({5}, "x")},
                  [&](const Result<WriteResult>& result) { answer.set_value(result.status()); });
  EXPECT_EQ(answer.get_future().get().code(), StatusCode::kCollectionNotFound);
  CreateDocs();
  EXPECT_TRUE(Rows().empty());
  Reopen();
  EXPECT_TRUE(Rows().empty());
}

TEST_F(EngineTest, AliasesFollowTheirCollection) {
  Open();
  CreateDocs();
  ASSERT_TRUE(engine_->CreateAlias("default", "docs", "d").ok());
  ASSERT_TRUE(engine_->CreateAlias("default", "docs", "d").ok());
  EXPECT_EQ((*engine_->FindCollection("default", "d"))->id(), Docs()->id());
  EXPECT_EQ(engine_->DropCollection("default", "d").message(), "cannot drop the collection via alias = d");
  EXPECT_FALSE(engine_->DropCollection("default", "docs").ok());
  ASSERT_TRUE(engine_->RenameCollection("default", "docs", "", "papers").ok());
  EXPECT_EQ(*engine_->DescribeAlias("default", "d"), "papers");
  Reopen();
  EXPECT_EQ(*engine_->DescribeAlias("default", "d"), "papers");
  ASSERT_TRUE(engine_->DropAlias("default", "d").ok());
  EXPECT_EQ(engine_->DescribeAlias("default", "d").status().code(), StatusCode::kAliasNotFound);
}

TEST_F(EngineTest, FailedSyncEndsAcknowledgements) {
  Open();
  CreateDocs();
  ASSERT_TRUE(Insert({1}, "a").ok());
  files_->FailAt(files_->operations() + 1, io::Fault::kError, 1000);
  const auto failed = Insert({2}, "a");
  EXPECT_FALSE(failed.ok());
  EXPECT_FALSE(Insert({3}, "a").ok());
  EXPECT_FALSE(engine_->health().ok());
  // Reads go on, without what was never acknowledged.
  EXPECT_TRUE(engine_->ViewAll(*Docs()).timestamp > 0);
}

TEST_F(EngineTest, ReadersAlwaysSeeWholeBatchesWhateverHappensBeside) {
  options_.seal_bytes = 30'000;
  options_.flush_min_bytes = 0;
  options_.retention_seconds = 0;
  Open();
  CreateDocs();
  constexpr int kWriters = 3;
  constexpr int64_t kKeys = 40;
  const auto keys_of = [](int writer) {
    std::vector<int64_t> keys;
    for (int64_t i = 0; i < kKeys; ++i) keys.push_back(writer * 1000 + i);
    return keys;
  };
  for (int writer = 0; writer < kWriters; ++writer) ASSERT_TRUE(Insert(keys_of(writer), "r0_").ok());
  std::atomic<int> writing{kWriters};
  std::vector<std::thread> threads;
  for (int writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      for (int round = 1; round <= 40; ++round) {
        const auto written = Insert(keys_of(writer), "r" + std::to_string(round) + "_");
        EXPECT_TRUE(written.ok()) << written.status().ToString();
        if (written.ok()) {
          EXPECT_EQ(written->delete_count, kKeys);
        }
      }
      --writing;
    });
  }
  threads.emplace_back([&] {
    while (writing > 0) EXPECT_TRUE(engine_->Flush(Docs()).ok());
  });
  threads.emplace_back([&] {
    while (writing > 0) Compact();
  });
  threads.emplace_back([&] {
    for (int round = 0; writing > 0; ++round) {
      const std::string name = "s" + std::to_string(round);
      const auto snapshot = engine_->CreateSnapshot("default", "docs", name, "");
      ASSERT_TRUE(snapshot.ok()) << snapshot.status().ToString();
      EXPECT_EQ(RowsAt(snapshot->timestamp).size(), static_cast<size_t>(kWriters * kKeys));
      EXPECT_EQ(Restore(name, "copy" + std::to_string(round)).state, RestoreState::kCompleted);
      EXPECT_TRUE(engine_->DropCollection("default", "copy" + std::to_string(round)).ok());
      EXPECT_TRUE(engine_->DropSnapshot("default", "docs", name).ok());
    }
  });
  threads.emplace_back([&] {
    for (int round = 0; writing > 0; ++round) {
      CollectionSchema schema = MakeSchema();
      schema.name = "other" + std::to_string(round % 3);
      EXPECT_TRUE(engine_->CreateCollection({.schema = schema}).ok());
      EXPECT_TRUE(engine_->CreatePartition("default", schema.name, "p").ok());
      EXPECT_TRUE(engine_->DropPartition("default", schema.name, "p").ok());
      EXPECT_TRUE(engine_->TruncateCollection("default", schema.name).ok());
      EXPECT_TRUE(engine_->DropCollection("default", schema.name).ok());
      (void)engine_->statistics();
      (void)engine_->ListSegments(*Docs());
    }
  });
  const auto collection = Docs();
  int views = 0;
  while (writing > 0 || views == 0) {
    const ReadView view = engine_->ViewAll(*collection);
    ++views;
    std::map<int, std::map<std::string, int>> rounds;  // writer -> round -> visible keys
    for (const auto& segment : view.segments) {
      for (uint32_t page = 0; page < segment->page_count(); ++page) {
        uint64_t mask[segment::kPageWords];
        segment->FillVisible(page, {.timestamp = view.timestamp}, mask);
        for (uint32_t at = 0; at < segment::kPageRows; ++at) {
          if ((mask[at / 64] >> (at % 64) & 1) == 0) continue;
          const uint32_t row = page * segment::kPageRows + at;
          const int64_t key = segment->View(kPk, row, 1)->Get<int64_t>(0);
          const std::string value(segment->View(kValue, row, 1)->Bytes(0));
          ++rounds[static_cast<int>(key / 1000)][value.substr(0, value.find('_'))];
        }
      }
    }
    ASSERT_EQ(rounds.size(), static_cast<size_t>(kWriters));
    for (const auto& [writer, counts] : rounds) {
      ASSERT_EQ(counts.size(), 1U) << "rows of two batches of writer " << writer << " are visible at once";
      ASSERT_EQ(counts.begin()->second, kKeys);
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Rows().size(), static_cast<size_t>(kWriters * kKeys));
}

TEST_F(EngineTest, CompactionMergesSegmentsAndDropsDeadRows) {
  options_.flush_min_bytes = 0;
  options_.retention_seconds = 0;
  options_.compaction = false;
  Open();
  CreateDocs();
  std::map<int64_t, std::string> expected;
  for (int64_t round = 0; round < 6; ++round) {
    const std::string value = "r" + std::to_string(round) + "_";
    std::vector<int64_t> keys;
    for (int64_t key = round * 50; key < round * 50 + 100; ++key) keys.push_back(key);
    ASSERT_TRUE(Insert(keys, value).ok());
    for (const int64_t key : keys) expected[key] = value + std::to_string(key);
    ASSERT_TRUE(engine_->Flush(Docs()).ok());
  }
  ASSERT_EQ(SealedCount(), 6U);
  const ReadView before = engine_->ViewAll(*Docs());
  const CompactionProgress progress = Compact();
  ASSERT_EQ(progress.merges.size(), 1U);
  EXPECT_EQ(progress.merges[0].sources.size(), 6U);
  ASSERT_EQ(SealedCount(), 1U);
  EXPECT_EQ(engine_->ListSegments(*Docs())[0].id, progress.merges[0].target);
  EXPECT_EQ(engine_->ListSegments(*Docs())[0].rows, static_cast<int64_t>(expected.size()));
  EXPECT_EQ(RowsOf(before), expected) << "an open view lost its segments";
  EXPECT_EQ(Rows(), expected);
  Reopen();
  EXPECT_EQ(Rows(), expected);
  // A second one has nothing to do, and says so with a plan that names the segment.
  const CompactionProgress again = Compact();
  ASSERT_EQ(again.merges.size(), 1U);
  EXPECT_EQ(again.merges[0].sources, std::vector<int64_t>{again.merges[0].target});
  // All rows deleted: nothing is left.
  std::vector<int64_t> all;
  for (const auto& [key, value] : expected) all.push_back(key);
  ASSERT_TRUE(Delete(all).ok());
  Compact();
  EXPECT_EQ(SealedCount(), 0U);
  Reopen();
  EXPECT_TRUE(Rows().empty());
  EXPECT_EQ(engine_->CompactionState(12345).done, true);
}

TEST_F(EngineTest, SegmentsAreCompactedByThemselves) {
  options_.flush_min_bytes = 0;
  options_.retention_seconds = 0;
  Open();
  CreateDocs();
  for (int64_t round = 0; round < 4; ++round) {
    ASSERT_TRUE(Insert({round * 2, round * 2 + 1}, "a").ok());
    ASSERT_TRUE(engine_->Flush(Docs()).ok());
  }
  while (SealedCount() > 1) std::this_thread::yield();
  EXPECT_EQ(Rows().size(), 8U);
  // Deletes past the threshold make it rewrite the segment.
  ASSERT_TRUE(Delete({0, 1, 2}).ok());
  const auto stored = [&] { return engine_->ViewAll(*Docs()).segments.front()->row_count(); };
  while (stored() != 5) std::this_thread::yield();
  EXPECT_EQ(Rows().size(), 5U);
}

TEST_F(EngineTest, OldGrowingRowsAreSealed) {
  options_.max_growing_seconds = 1;
  Open();
  CreateDocs();
  ASSERT_TRUE(Insert({1, 2}, "a").ok());
  EXPECT_EQ(SealedCount(), 0U);
  while (SealedCount() == 0) std::this_thread::yield();
  EXPECT_EQ(Rows().size(), 2U);
  EXPECT_EQ(engine_->ListSegments(*Docs()).size(), 1U);
}

TEST_F(EngineTest, WritesBeyondTheMemoryLimitAreRefusedUntilSealingHasMadeRoom) {
  options_.memory_limit = 1 << 20;
  options_.retention_seconds = 0;
  Open();
  CreateDocs();
  const auto insert = [&](int64_t first) {
    std::vector<int64_t> keys;
    for (int64_t key = first; key < first + 1000; ++key) keys.push_back(key);
    return Insert(keys, "a");
  };
  int refused = 0;
  for (int64_t batch = 0; batch < 100; ++batch) {
    auto written = insert(batch * 1000);
    for (; !written.ok(); written = insert(batch * 1000)) {
      ASSERT_EQ(written.status().code(), StatusCode::kMemoryLimit) << written.status().ToString();
      ASSERT_TRUE(written.status().retriable());
      ++refused;
    }
  }
  EXPECT_EQ(Rows().size(), 100'000U);
  EXPECT_GT(SealedCount(), 0U);
  uint64_t held = 0;
  for (const uint64_t bytes : engine_->statistics().memory_bytes) held += bytes;
  EXPECT_LE(held, options_.memory_limit);
  // What can never fit is refused too, and nothing of it is there.
  std::vector<int64_t> huge(100'000, 0);
  for (size_t i = 0; i < huge.size(); ++i) huge[i] = static_cast<int64_t>(1'000'000 + i);
  EXPECT_EQ(Insert(huge, "b").status().code(), StatusCode::kMemoryLimit);
  EXPECT_EQ(Rows().size(), 100'000U);
  RecordProperty("refused", refused);
}

TEST_F(EngineTest, HistoryOlderThanTheRetentionIsRefused) {
  options_.flush_min_bytes = 0;
  options_.retention_seconds = 0;
  Open();
  CreateDocs();
  const auto first = Insert({1}, "a");
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(Delete({1}).ok());
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  const auto view = engine_->OpenView(*Docs(), {}, 0, std::chrono::steady_clock::time_point::max(), first->timestamp);
  ASSERT_FALSE(view.ok());
  EXPECT_EQ(view.status().code(), StatusCode::kInvalidParameter);
  EXPECT_NE(view.status().message().find("is older than the oldest one that can be read"), std::string::npos);
  // A longer retention does not bring back what has gone, not even after a restart.
  ASSERT_TRUE(engine_->AlterCollection("default", "docs", {{"collection.retention.seconds", "1000"}}, {}).ok());
  Reopen();
  EXPECT_FALSE(engine_->OpenView(*Docs(), {}, 0, std::chrono::steady_clock::time_point::max(), first->timestamp).ok());
  // The future is now.
  EXPECT_TRUE(RowsAt(engine_->AllocateTimestamp()).empty());
}

class MomentsTest : public EngineTest, public ::testing::WithParamInterface<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, MomentsTest, ::testing::Range<uint64_t>(1, 13));

TEST_P(MomentsTest, StayTheSameWhateverIsReorganised) {
  options_.flush_min_bytes = 0;
  options_.retention_seconds = 1'000'000;
  Open();
  CreateDocs();
  std::mt19937_64 random(GetParam());
  std::map<Timestamp, std::map<int64_t, std::string>> history;  // state from a moment on
  std::map<int64_t, std::string> state;
  std::map<int64_t, bool> in_partition;  // key -> lies in partition "p"
  bool partition_there = false;
  struct Saved {
    std::map<int64_t, std::string> rows;
    std::map<int64_t, bool> in_partition;
    bool partition_there = false;
  };
  std::map<std::string, Saved> saved;
  const auto note = [&] { history[engine_->ViewAll(*Docs()).timestamp] = state; };
  note();
  for (int step = 0; step < 60; ++step) {
    std::vector<int64_t> keys;
    for (uint64_t i = 0; i < 1 + random() % 30; ++i) keys.push_back(static_cast<int64_t>(random() % 120));
    const std::string value = "s" + std::to_string(step) + "_";
    switch (random() % 14) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const bool partition = partition_there && random() % 2 == 0;
        ASSERT_TRUE(Insert(keys, value, true, "", partition ? "p" : "").ok());
        for (const int64_t key : keys) {
          state[key] = value + std::to_string(key);
          in_partition[key] = partition;
        }
        break;
      }
      case 4:
      case 5:
      case 6:
        ASSERT_TRUE(Delete(keys).ok());
        for (const int64_t key : keys) state.erase(key);
        break;
      case 7: ASSERT_TRUE(engine_->Flush(Docs()).ok()); break;
      case 8: Compact(); break;
      case 9:
        if (random() % 3 == 0) {
          ASSERT_TRUE(engine_->TruncateCollection("default", "docs").ok());
          state.clear();
        }
        break;
      case 10:
        if (partition_there) {
          ASSERT_TRUE(engine_->Release("default", "docs", {}).ok());
          ASSERT_TRUE(engine_->DropPartition("default", "docs", "p").ok());
          ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
          std::erase_if(state, [&](const auto& row) { return in_partition[row.first]; });
        } else {
          ASSERT_TRUE(engine_->CreatePartition("default", "docs", "p").ok());
        }
        partition_there = !partition_there;
        break;
      case 11: {
        const auto& snapshots = Docs()->info()->snapshots;
        const uint64_t choice = random() % 3;
        if (choice == 0 || snapshots.empty()) {
          const std::string name = "snapshot" + std::to_string(step);
          ASSERT_TRUE(engine_->CreateSnapshot("default", "docs", name, "").ok());
          saved[name] = {state, in_partition, partition_there};
        } else if (choice == 1) {
          const std::string name = snapshots[random() % snapshots.size()].name;
          if (saved[name].partition_there && partition_there) break;  // perhaps another partition of that name
          const RestoreJob job = Restore(name);
          ASSERT_EQ(job.state, RestoreState::kCompleted) << job.reason;
          state = saved[name].rows;
          in_partition = saved[name].in_partition;
          partition_there = partition_there || saved[name].partition_there;
        } else {
          ASSERT_TRUE(engine_->DropSnapshot("default", "docs", snapshots.front().name).ok());
        }
        break;
      }
      default:
        if (random() % 2 == 0) Reopen();
    }
    note();
    ASSERT_EQ(Rows(), state) << "after step " << step;
  }
  const auto check = [&] {
    for (const auto& [timestamp, rows] : history) {
      ASSERT_EQ(RowsAt(timestamp), rows) << "at " << timestamp;
    }
  };
  check();
  Compact();
  check();
  Reopen();
  check();
}

TEST_F(EngineTest, ASnapshotOutlivesTheRetention) {
  options_.flush_min_bytes = 0;
  options_.retention_seconds = 0;
  Open();
  CreateDocs();
  ASSERT_TRUE(Insert({1, 2, 3}, "a").ok());
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  ASSERT_TRUE(Insert({4}, "a").ok());
  const auto snapshot = engine_->CreateSnapshot("default", "docs", "first", "before the change");
  ASSERT_TRUE(snapshot.ok()) << snapshot.status().ToString();
  EXPECT_EQ(engine_->CreateSnapshot("default", "docs", "first", "").status().message(),
            "snapshot already exists[collection=docs][snapshot=first]");
  const std::map<int64_t, std::string> then{{1, "a1"}, {2, "a2"}, {3, "a3"}, {4, "a4"}};
  ASSERT_TRUE(Delete({1, 4}).ok());
  ASSERT_TRUE(Insert({2, 9}, "b").ok());
  const std::map<int64_t, std::string> now{{2, "b2"}, {3, "a3"}, {9, "b9"}};
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(RowsAt(snapshot->timestamp), then);
    EXPECT_EQ(Rows(), now);
    Compact();
    EXPECT_EQ(RowsAt(snapshot->timestamp), then);
    Reopen();
  }
  // Into a new collection: the rows as they were, and a life of their own.
  EXPECT_EQ(engine_->RestoreSnapshot("default", "docs", "none", "", "copy").status().message(),
            "snapshot not found[collection=docs][snapshot=none]");
  EXPECT_EQ(Restore("first", "copy").state, RestoreState::kCompleted);
  EXPECT_FALSE(engine_->RestoreSnapshot("default", "docs", "first", "", "copy").ok());
  for (int round = 0; round < 2; ++round) {
    const auto copy = engine_->FindCollection("default", "copy");
    ASSERT_TRUE(copy.ok());
    EXPECT_EQ(RowsOf(engine_->ViewAll(**copy)), then);
    EXPECT_EQ(*engine_->RowCount(**copy, ""), 4);
    Reopen();
  }
  // In place: all at once, and the moments before it stay what they were.
  EXPECT_EQ(Restore("first").state, RestoreState::kCompleted);
  EXPECT_EQ(Rows(), then);
  ASSERT_TRUE(Delete({1}).ok());
  ASSERT_TRUE(Insert({2}, "c").ok());
  const std::map<int64_t, std::string> last{{2, "c2"}, {3, "a3"}, {4, "a4"}};
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(Rows(), last);
    Compact();
    EXPECT_EQ(Rows(), last);
    Reopen();
  }
  // Dropped, its rows go.
  ASSERT_TRUE(engine_->DropSnapshot("default", "docs", "first").ok());
  ASSERT_TRUE(engine_->DropSnapshot("default", "docs", "first").ok());
  Compact();
  EXPECT_EQ(engine_->ViewAll(*Docs()).segments.front()->row_count(), 3U);
  EXPECT_EQ(Rows(), last);
}

TEST_F(EngineTest, UniqueInsertRefusesKeysThatExist) {
  options_.flush_min_bytes = 0;
  Open();
  CreateDocs();
  ASSERT_TRUE(engine_->AlterCollection("default", "docs", {{"collection.insert.unique", "true"}}, {}).ok());
  ASSERT_TRUE(Insert({1, 2}, "a").ok());
  EXPECT_EQ(Insert({3, 2}, "b").status().message(), "primary key exists already[collection=docs][row=1][key=2]");
  EXPECT_FALSE(Insert({7, 7}, "b").ok());
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  EXPECT_FALSE(Insert({1}, "b").ok());
  ASSERT_TRUE(Delete({1}).ok());
  ASSERT_TRUE(Insert({1}, "c").ok());
  EXPECT_EQ(Rows(), (std::map<int64_t, std::string>{{1, "c1"}, {2, "a2"}}));
  // Two at the same moment: one of them wins.
  std::atomic<int> accepted{0};
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([&] { accepted += Insert({100, 101}, "w").ok() ? 1 : 0; });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(accepted, 1);
}

TEST_F(EngineTest, ADroppedPartitionCanBeReadAtAnEarlierMoment) {
  Open();
  CreateDocs();
  ASSERT_TRUE(engine_->CreatePartition("default", "docs", "p").ok());
  ASSERT_TRUE(Insert({1}, "a").ok());
  ASSERT_TRUE(Insert({2}, "a", true, "", "p").ok());
  const Timestamp before = engine_->ViewAll(*Docs()).timestamp;
  ASSERT_TRUE(engine_->Release("default", "docs", {}).ok());
  ASSERT_TRUE(engine_->DropPartition("default", "docs", "p").ok());
  ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  Reopen();
  EXPECT_EQ(RowsAt(before, {"p"}), (std::map<int64_t, std::string>{{2, "a2"}}));
  EXPECT_EQ(RowsAt(before), (std::map<int64_t, std::string>{{1, "a1"}, {2, "a2"}}));
  EXPECT_EQ(Rows(), (std::map<int64_t, std::string>{{1, "a1"}}));
}

TEST_F(EngineTest, RowsThatOutlivedTheirTtlLeaveTheFiles) {
  options_.flush_min_bytes = 0;
  options_.retention_seconds = 0;
  options_.compaction = false;
  Open();
  CreateDocs();
  ASSERT_TRUE(engine_->AlterCollection("default", "docs", {{"collection.ttl.seconds", "1"}}, {}).ok());
  ASSERT_TRUE(Insert({1, 2, 3}, "a").ok());
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(1100);
  std::this_thread::sleep_until(deadline);
  ASSERT_TRUE(Insert({4}, "b").ok());
  Compact();
  EXPECT_EQ(Rows(), (std::map<int64_t, std::string>{{4, "b4"}}));
  EXPECT_EQ(engine_->ListSegments(*Docs()).size(), 1U);
}

/// Runs a random history until the file system "crashes", and returns what was acknowledged. Values carry the round, so
/// that a lost or resurrected version shows.
struct History {
  std::map<int64_t, std::string> acknowledged;
  std::set<int64_t> uncertain;  ///< keys of operations that were not acknowledged
};

class CrashTest : public EngineTest {
 protected:
  History Run(uint64_t seed, int steps) {
    std::mt19937_64 random(seed);
    History history;
    for (int step = 0; step < steps; ++step) {
      std::vector<int64_t> keys;
      const auto count = 1 + random() % 20;
      for (uint64_t i = 0; i < count; ++i) keys.push_back(static_cast<int64_t>(random() % 200));
      const std::string value = "s" + std::to_string(step) + "_";
      const auto choice = random() % 10;
      if (choice < 6) {
        const bool ok = Insert(keys, value).ok();
        for (const int64_t key : keys) {
          if (ok) {
            history.acknowledged[key] = value + std::to_string(key);
          } else {
            history.uncertain.insert(key);
          }
        }
      } else if (choice < 9) {
        const bool ok = Delete(keys).ok();
        for (const int64_t key : keys) {
          if (ok) {
            history.acknowledged.erase(key);
          } else {
            history.uncertain.insert(key);
          }
        }
      } else {
        (void)engine_->Flush(Docs());
      }
      if (files_->crashed()) break;
    }
    return history;
  }

  /// Compares everything acknowledged with what is there; returns the number of differences.
  int Differences(const History& history) {
    const auto rows = Rows();
    int differences = 0;
    for (int64_t key = 0; key < 200; ++key) {
      if (history.uncertain.contains(key)) continue;
      const auto expected = history.acknowledged.find(key);
      const auto found = rows.find(key);
      const bool same = expected == history.acknowledged.end()
                            ? found == rows.end()
                            : found != rows.end() && found->second == expected->second;
      if (!same) ++differences;
    }
    return differences;
  }
};

TEST_F(CrashTest, NoAcknowledgedWriteDependsOnUnsyncedData) {
  // The crash point walks through the whole history, flushes and checkpoints included.
  options_.flush_min_bytes = 0;
  options_.seal_bytes = 4000;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    files_->CrashAndDropUnsynced();
    Open();
    (void)engine_->DropCollection("default", "docs");
    CreateDocs();
    files_->CrashAt(files_->operations() + 3 + seed * 7);
    const History history = Run(seed, 200);
    engine_.reset();
    if (seed % 2 == 0) {
      files_->CrashAndDropUnsynced();
    } else {
      files_->CrashAndScramble(seed);
    }
    meta_->CrashAndDropUnsynced(seed % 3);
    Open();
    EXPECT_EQ(Differences(history), 0);
    engine_.reset();
  }
}

TEST_F(CrashTest, SkippingTheSyncIsNoticed) {
  options_.unsafe_skip_sync = true;
  Open();
  CreateDocs();
  const History history = Run(1, 50);
  ASSERT_FALSE(history.acknowledged.empty());
  engine_.reset();
  files_->CrashAndDropUnsynced();
  meta_->CrashAndDropUnsynced();
  options_.unsafe_skip_sync = false;
  Open();
  const bool lost = !engine_->FindCollection("default", "docs").ok() || Differences(history) > 0;
  EXPECT_TRUE(lost) << "this test cannot see a missing fsync";
}

}  // namespace
}  // namespace quiver::engine
