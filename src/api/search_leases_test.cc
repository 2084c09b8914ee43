#include "api/search_leases.h"

#include <memory>
#include <utility>

#include "query/search_cursor.h"
#include "query/test_index_search.h"

namespace quiver::api {
namespace {

class SearchLeasesTest : public query::IndexSearchTest {
 protected:
  void SetUp() override {
    Open();
    Create();
    ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
    InsertRange(0, 100);
  }
  SearchPosition Position(float score) {
    const auto queries = MakeQueries(1);
    auto cursor = query::SearchCursor::Open(MakeRequest(MetricType::kL2, queries), {}, nullptr);
    EXPECT_TRUE(cursor.ok()) << cursor.status().ToString();
    SearchPosition position;
    position.score = score;
    position.keys = {"a"};
    position.origin = "asked";
    if (cursor.ok()) position.cursor = *std::move(cursor);
    return position;
  }
};

TEST_F(SearchLeasesTest, GivesTheCursorToOneRequestAndThePositionToAll) {
  SearchLeases leases(engine_->memory_budget());
  const std::string token = leases.Open();
  EXPECT_EQ(token.size(), 32U);
  EXPECT_NE(token, leases.Open());
  EXPECT_FALSE(leases.Find(token).has_value());
  leases.Set(token, Position(3));
  for (const bool first : {true, false}) {
    const auto found = leases.Find(token);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->score, 3);
    EXPECT_TRUE(found->keys.contains("a"));
    EXPECT_EQ(found->origin, "asked");
    EXPECT_EQ(found->cursor != nullptr, first);
  }
  leases.Set(token, Position(4));
  leases.Set(token, Position(5));
  EXPECT_EQ(leases.Find(token)->score, 5);
}

TEST_F(SearchLeasesTest, DropsTheCursorsUsedLeastRecentlyWhereTheyHoldTooMuch) {
  SearchPosition first = Position(1);
  SearchLeases leases(engine_->memory_budget(), std::chrono::hours(1), first.cursor->memory_bytes() * 5 / 2);
  leases.Set("first", std::move(first));
  leases.Set("second", Position(2));
  leases.Set("third", Position(3));
  EXPECT_EQ(leases.Find("first")->cursor, nullptr) << "the position stays";
  EXPECT_NE(leases.Find("second")->cursor, nullptr);
  EXPECT_NE(leases.Find("third")->cursor, nullptr);
}

TEST_F(SearchLeasesTest, DropsCursorsThatNobodyUses) {
  SearchLeases leases(engine_->memory_budget(), std::chrono::steady_clock::duration::zero());
  leases.Set("first", Position(1));
  const auto set = std::chrono::steady_clock::now();
  ASSERT_TRUE(Eventually([&] { return std::chrono::steady_clock::now() > set; }));
  leases.Set("second", Position(2));
  EXPECT_EQ(leases.Find("first")->cursor, nullptr);
}

TEST_F(SearchLeasesTest, DropsUnusedCursorsWithoutAFurtherPage) {
  SearchLeases used(engine_->memory_budget());
  EXPECT_FALSE(used.EndUnused().has_value());
  const auto begin = std::chrono::steady_clock::now();
  used.Set("a", Position(1));
  const auto due = used.EndUnused();
  ASSERT_TRUE(due.has_value());
  EXPECT_GE(*due, begin + std::chrono::minutes(10));
  EXPECT_NE(used.Find("a")->cursor, nullptr);
  SearchLeases unused(engine_->memory_budget(), std::chrono::steady_clock::duration::zero());
  unused.Set("a", Position(1));
  EXPECT_TRUE(Eventually([&] { return !unused.EndUnused().has_value(); }));
  const auto found = unused.Find("a");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->score, 1) << "the position stays";
  EXPECT_EQ(found->cursor, nullptr);
}

}  // namespace
}  // namespace quiver::api
