// ReadView::data_version: what two views of one version show is the same, whatever is written meanwhile.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include "query/test_index_search.h"

namespace quiver::query {
namespace {

class DataVersionTest : public IndexSearchTest {
 protected:
  void SetUp() override {
    Open();
    Create();
    ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  }
  engine::Timestamp Version() { return engine_->ViewAll(*Docs()).data_version; }
};

TEST_F(DataVersionTest, ChangesWithEveryWriteAndWithNothingElse) {
  engine::Timestamp last = Version();
  EXPECT_NE(last, 0U) << "nothing was written yet, and that is known";
  const auto changed = [&] {
    const engine::Timestamp now = Version();
    EXPECT_NE(now, 0U);
    return std::exchange(last, now) != now;
  };
  InsertRange(0, 2000);
  EXPECT_TRUE(changed());
  EXPECT_FALSE(changed());
  Write({5}, 1, true);
  EXPECT_TRUE(changed());
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  EXPECT_FALSE(changed()) << "the same rows in another file";
  ASSERT_TRUE(engine_->TruncateCollection("default", "docs").ok());
  EXPECT_TRUE(changed());
}

TEST_F(DataVersionTest, IsNotKnownWhereRowsOutliveTheirTime) {
  ASSERT_TRUE(engine_->AlterCollection("default", "docs", {{"collection.ttl.seconds", "100"}}, {}).ok());
  EXPECT_EQ(Version(), 0U);
}

TEST_F(DataVersionTest, ConcurrentViewsOfOneVersionShowTheSameRows) {
  std::atomic<bool> done = false;
  std::atomic<size_t> versions = 0;  ///< that the first reader has seen
  std::vector<std::map<engine::Timestamp, int64_t>> seen(2);
  std::vector<std::thread> readers;
  for (auto& mine : seen) {
    readers.emplace_back([&] {
      while (!done) {
        const engine::ReadView view = engine_->ViewAll(*Docs());
        const auto rows = Count(view, nullptr, {});
        ASSERT_TRUE(rows.ok());
        if (view.data_version == 0) continue;
        const auto [known, fresh] = mine.try_emplace(view.data_version, *rows);
        ASSERT_EQ(known->second, *rows);
        if (&mine == &seen[0]) versions = mine.size();
      }
    });
  }
  // Beside other work a reader may take a while to begin.
  for (int64_t i = 0; i < 300 || (versions < 2 && i < 20'000); ++i) InsertRange(i * 5, i * 5 + 5);
  done = true;
  for (std::thread& reader : readers) reader.join();
  for (const auto& [version, rows] : seen[0]) {
    const auto known = seen[1].find(version);
    if (known != seen[1].end()) {
      EXPECT_EQ(known->second, rows);
    }
  }
  EXPECT_GT(seen[0].size(), 1U) << "no version was seen";
}

}  // namespace
}  // namespace quiver::query
