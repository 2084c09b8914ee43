#include "storage/meta_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace quiver::storage {
namespace {

std::string MakeDirectory() {
  std::string pattern = testing::TempDir() + "quiver_meta_XXXXXX";
  EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
  return pattern;
}

CommitOutcome MustCommit(MetaStore& store, const MetaTransaction& transaction) {
  const auto outcome = store.Commit(transaction);
  EXPECT_TRUE(outcome.ok()) << outcome.status().ToString();
  return outcome.ok() ? *outcome : CommitOutcome::kConflict;
}

/// The contract all forms keep.
class MetaStoreTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      directory_ = MakeDirectory();
      auto store = OpenLocalMeta(directory_ + "/meta");
      ASSERT_TRUE(store.ok()) << store.status().ToString();
      store_ = *std::move(store);
    } else {
      store_ = std::make_unique<MemoryMetaStore>();
    }
  }
  void TearDown() override {
    store_.reset();
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }
  std::string directory_;
  std::unique_ptr<MetaStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Forms, MetaStoreTest, testing::Values(false, true),
                         [](const auto& form) { return form.param ? "RocksDb" : "Memory"; });

TEST_P(MetaStoreTest, GivesBackWhatWasPut) {
  EXPECT_FALSE(store_->Get("a")->has_value());
  const std::string binary("\0\xff\n", 3);
  EXPECT_EQ(MustCommit(*store_, MetaTransaction().Put("a", "1").Put("b", binary).Put("c", "")),
            CommitOutcome::kCommitted);
  EXPECT_EQ(**store_->Get("a"), "1");
  EXPECT_EQ(**store_->Get("b"), binary);
  EXPECT_EQ(**store_->Get("c"), "");
  EXPECT_EQ(MustCommit(*store_, MetaTransaction().Delete("a").Delete("never there")), CommitOutcome::kCommitted);
  EXPECT_FALSE(store_->Get("a")->has_value());
  ASSERT_TRUE(store_->Sync().ok());
}

TEST_P(MetaStoreTest, AppliesOperationsInOrder) {
  MustCommit(*store_, MetaTransaction().Put("k", "1").Delete("k").Put("k", "2").Put("gone", "x").Delete("gone"));
  EXPECT_EQ(**store_->Get("k"), "2");
  EXPECT_FALSE(store_->Get("gone")->has_value());
}

TEST_P(MetaStoreTest, AConflictChangesNothing) {
  MustCommit(*store_, MetaTransaction().Put("k", "1"));
  const auto attempt = [&](const MetaTransaction& conditions) {
    MetaTransaction transaction = conditions;
    return MustCommit(*store_, transaction.Put("k", "2").Put("other", "x"));
  };
  EXPECT_EQ(attempt(MetaTransaction().RequireAbsent("k")), CommitOutcome::kConflict);
  EXPECT_EQ(attempt(MetaTransaction().RequireExists("absent")), CommitOutcome::kConflict);
  EXPECT_EQ(attempt(MetaTransaction().RequireEquals("k", "0")), CommitOutcome::kConflict);
  EXPECT_EQ(attempt(MetaTransaction().RequireEquals("absent", "")), CommitOutcome::kConflict);
  EXPECT_EQ(attempt(MetaTransaction().RequireExists("k").RequireAbsent("k")), CommitOutcome::kConflict);
  EXPECT_EQ(**store_->Get("k"), "1");
  EXPECT_FALSE(store_->Get("other")->has_value());
  EXPECT_EQ(attempt(MetaTransaction().RequireExists("k").RequireEquals("k", "1").RequireAbsent("other")),
            CommitOutcome::kCommitted);
  EXPECT_EQ(**store_->Get("k"), "2");
}

TEST_P(MetaStoreTest, ScansAPrefixInByteOrder) {
  MustCommit(*store_, MetaTransaction()
                          .Put("a/2", "2")
                          .Put("a/10", "10")
                          .Put("a", "")
                          .Put("a0", "")
                          .Put("b", "")
                          .Put("a/\xff", "last"));
  const auto keys = [&](std::string_view prefix, size_t limit = 0, std::string_view after = {}) {
    std::vector<std::string> found;
    const auto entries = store_->Scan(prefix, limit, after);
    for (const MetaEntry& entry : *entries) found.push_back(entry.first);
    return found;
  };
  using Keys = std::vector<std::string>;
  EXPECT_EQ(keys("a/"), (Keys{"a/10", "a/2", "a/\xff"}));
  EXPECT_EQ(keys("a/", 2), (Keys{"a/10", "a/2"}));
  EXPECT_EQ(keys("a/", 2, "a/2"), (Keys{"a/\xff"}));
  EXPECT_EQ(keys("a/", 0, "a/15"), (Keys{"a/2", "a/\xff"}));
  EXPECT_EQ(keys("a/", 0, "a"), (Keys{"a/10", "a/2", "a/\xff"}));
  EXPECT_EQ(keys("a/", 0, "b"), Keys{});
  EXPECT_EQ(keys("").size(), 6U);
  EXPECT_EQ(keys("zzz"), Keys{});
}

TEST_P(MetaStoreTest, KeepsTheLimits) {
  MetaTransaction many;
  for (size_t i = 0; i < kMaxMetaOperations; ++i) many.Put(fmt::format("k{}", i), "v");
  EXPECT_EQ(MustCommit(*store_, many), CommitOutcome::kCommitted);
  many.RequireAbsent("x");
  EXPECT_EQ(store_->Commit(many).status().code(), StatusCode::kTooLarge);
  EXPECT_EQ(MustCommit(*store_, MetaTransaction().Put("big", std::string(kMaxMetaBytes - 3, 'x'))),
            CommitOutcome::kCommitted);
  EXPECT_EQ(store_->Commit(MetaTransaction().Put("big", std::string(kMaxMetaBytes - 2, 'x'))).status().code(),
            StatusCode::kTooLarge);
  EXPECT_EQ(store_->Commit(MetaTransaction().Put("", "x")).status().code(), StatusCode::kInvalidParameter);
}

TEST_P(MetaStoreTest, OneOfManyWritersWins) {
  std::vector<std::thread> threads;
  std::atomic<int> wins{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string key = fmt::format("k{}", i);
        const auto outcome = store_->Commit(MetaTransaction().RequireAbsent(key).Put(key, std::to_string(t)));
        if (outcome.ok() && *outcome == CommitOutcome::kCommitted) wins.fetch_add(1);
        if (i % 20 == 0) {
          EXPECT_TRUE(store_->Sync().ok());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wins.load(), 200);
  EXPECT_EQ(store_->Scan("k")->size(), 200U);
}

TEST(MemoryMetaStoreTest, ACrashKeepsAPrefixOfTheCommits) {
  MemoryMetaStore store;
  MustCommit(store, MetaTransaction().Put("a", "1"));
  ASSERT_TRUE(store.Sync().ok());
  MustCommit(store, MetaTransaction().Put("b", "1").Delete("a"));
  MustCommit(store, MetaTransaction().Put("c", "1"));
  EXPECT_EQ(store.unsynced_commits(), 2U);
  store.CrashAndDropUnsynced(1);
  EXPECT_FALSE(store.Get("a")->has_value());
  EXPECT_TRUE(store.Get("b")->has_value());
  EXPECT_FALSE(store.Get("c")->has_value());
  MustCommit(store, MetaTransaction().Put("d", "1"));
  store.CrashAndDropUnsynced();
  EXPECT_EQ(store.Scan("")->size(), 1U);
}

TEST(MemoryMetaStoreTest, TheHookFailsCommitsAndSyncs) {
  MemoryMetaStore store;
  std::string at;
  store.OnOperation(
      [&](const std::string& what) { return what == at ? Error(StatusCode::kIo, "no {}", what) : Status(); });
  at = "commit";
  EXPECT_EQ(store.Commit(MetaTransaction().Put("a", "1")).status().code(), StatusCode::kIo);
  EXPECT_FALSE(store.Get("a")->has_value());
  at = "sync";
  MustCommit(store, MetaTransaction().Put("a", "1"));
  EXPECT_EQ(store.Sync().code(), StatusCode::kIo);
  at = "";
  EXPECT_FALSE(store.Sync().ok()) << "after a failed sync nothing is accepted";
  EXPECT_FALSE(store.Commit(MetaTransaction().Put("b", "1")).ok());
  store.CrashAndDropUnsynced();
  EXPECT_EQ(store.Scan("")->size(), 0U);
  EXPECT_TRUE(store.Sync().ok());
}

TEST(LocalMetaStoreTest, KeepsCommitsOverReopening) {
  const std::string directory = MakeDirectory();
  for (int round = 0; round < 3; ++round) {
    auto store = OpenLocalMeta(directory + "/meta");
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    EXPECT_EQ((*store)->Scan("k")->size(), static_cast<size_t>(round) * 100);
    for (int i = 0; i < 100; ++i) {
      MustCommit(**store, MetaTransaction().Put(fmt::format("k{}", round * 100 + i), std::string(5000, 'v')));
    }
    ASSERT_TRUE((*store)->Sync().ok());
  }
  std::filesystem::remove_all(directory);
}

/// A copy of the directory, taken while the store is open, is what a killed process leaves behind.
TEST(LocalMetaStoreTest, SyncedCommitsAreOnDisk) {
  const std::string directory = MakeDirectory();
  auto store = OpenLocalMeta(directory + "/meta");
  ASSERT_TRUE(store.ok());
  MustCommit(**store, MetaTransaction().Put("synced", "1"));
  ASSERT_TRUE((*store)->Sync().ok());
  MustCommit(**store, MetaTransaction().Put("unsynced", "1"));
  std::filesystem::copy(directory + "/meta", directory + "/copy", std::filesystem::copy_options::recursive);
  auto copy = OpenLocalMeta(directory + "/copy");
  ASSERT_TRUE(copy.ok()) << copy.status().ToString();
  EXPECT_TRUE((*copy)->Get("synced")->has_value());
  EXPECT_FALSE((*copy)->Get("unsynced")->has_value())
      << "a commit is written lazily; this test would not see a missing sync";
  copy->reset();
  store->reset();
  std::filesystem::remove_all(directory);
}

TEST(LocalMetaStoreTest, OpensFast) {
  const std::string directory = MakeDirectory();
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    auto store = OpenLocalMeta(directory + fmt::format("/meta{}", i));
    ASSERT_TRUE(store.ok());
    best = std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  RecordProperty("open_milliseconds", std::to_string(best));
  EXPECT_LT(best, 250.0) << "an empty store takes tens of milliseconds on an idle machine";
  std::filesystem::remove_all(directory);
}

TEST(LocalMetaStoreTest, ADamagedDirectoryIsAnErrorThatNamesIt) {
  const std::string directory = MakeDirectory();
  {
    auto store = OpenLocalMeta(directory + "/meta");
    ASSERT_TRUE(store.ok());
  }
  std::filesystem::resize_file(directory + "/meta/CURRENT", 3);
  const auto store = OpenLocalMeta(directory + "/meta");
  ASSERT_FALSE(store.ok());
  EXPECT_NE(store.status().message().find(directory + "/meta"), std::string::npos);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace quiver::storage
