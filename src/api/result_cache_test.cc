#include "api/result_cache.h"

#include <string>

#include "query/test_index_search.h"
#include "search.pb.h"

namespace quiver::api {
namespace {

class ResultCacheTest : public query::IndexSearchTest {
 protected:
  void SetUp() override {
    Open();
    Create();
    ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  }
  uint64_t Charged() const { return engine_->memory_budget()->used(MemoryConsumer::kResultCache); }
  engine::ReadView View() { return engine_->ViewAll(*Docs()); }
};

wire::SearchResults AnswerOf(int64_t key, size_t bytes = 0) {
  wire::SearchResults answer;
  answer.mutable_results()->mutable_ids()->mutable_int_id()->add_data(key);
  answer.set_collection_name(std::string(bytes, 'x'));
  return answer;
}

TEST_F(ResultCacheTest, HoldsNoMoreThanItMayAndForgetsTheOldest) {
  constexpr uint64_t kMost = 64 << 10;
  ResultCache cache(engine_->memory_budget(), kMost);
  wire::SearchResults found;
  for (int i = 0; i < 100; ++i) {
    cache.Keep(std::to_string(i), View(), AnswerOf(i, 4000));
    EXPECT_LE(Charged(), kMost);
    EXPECT_TRUE(cache.Answered("0", View(), &found)) << "what is used stays, after " << i;
  }
  EXPECT_GT(Charged(), kMost / 2);
  EXPECT_TRUE(cache.Answered("99", View(), &found));
  EXPECT_EQ(found.results().ids().int_id().data(0), 99);
  EXPECT_FALSE(cache.Answered("50", View(), &found));
  cache.Keep("large", View(), AnswerOf(1, kMost / 4));
  EXPECT_FALSE(cache.Answered("large", View(), &found)) << "it would push out too much";
}

TEST_F(ResultCacheTest, GivesBackItsMemory) {
  {
    ResultCache cache(engine_->memory_budget(), 1 << 20);
    cache.Keep("a", View(), AnswerOf(1, 1000));
    cache.Keep("a", View(), AnswerOf(1, 2000));
    EXPECT_GT(Charged(), 2000U);
    EXPECT_LT(Charged(), 4000U);
    wire::SearchResults found;
    query::IndexSearchTest::InsertRange(0, 10);
    EXPECT_FALSE(cache.Answered("a", View(), &found));
    EXPECT_EQ(Charged(), 0U) << "an answer over rows that were changed is of no use to anybody";
    cache.Keep("a", View(), AnswerOf(1));
  }
  EXPECT_EQ(Charged(), 0U);
}

TEST_F(ResultCacheTest, KeepsNothingWithoutRoomOrWithoutAName) {
  wire::SearchResults found;
  ResultCache none(engine_->memory_budget(), 0);
  none.Keep("a", View(), AnswerOf(1));
  EXPECT_FALSE(none.Answered("a", View(), &found));
  ResultCache some(engine_->memory_budget(), 1 << 20);
  some.Keep("", View(), AnswerOf(1));
  EXPECT_FALSE(some.Answered("", View(), &found));
  engine::ReadView unknown = View();
  unknown.data_version = 0;
  some.Keep("a", unknown, AnswerOf(1));
  EXPECT_FALSE(some.Answered("a", unknown, &found));
  EXPECT_EQ(Charged(), 0U);
}

TEST_F(ResultCacheTest, TheNameLeavesOutWhoAsksAndHowFreshRowsAre) {
  wire::SearchRequest request;
  request.set_dsl("number > {least}");
  (*request.mutable_expr_template_values())["least"].set_int64_val(5);
  (*request.mutable_expr_template_values())["most"].set_int64_val(9);
  const std::string name = ResultCache::NameOf(request);
  wire::SearchRequest same = request;
  same.mutable_base()->set_sourceid(77);
  same.set_guarantee_timestamp(123);
  same.set_use_default_consistency(true);
  EXPECT_EQ(ResultCache::NameOf(same), name);
  (*same.mutable_expr_template_values())["least"].set_int64_val(6);
  EXPECT_NE(ResultCache::NameOf(same), name);
  wire::HybridSearchRequest hybrid;
  *hybrid.add_requests() = request;
  wire::HybridSearchRequest other = hybrid;
  other.mutable_requests(0)->set_guarantee_timestamp(9);
  EXPECT_EQ(ResultCache::NameOf(hybrid), ResultCache::NameOf(other));
  other.mutable_requests(0)->set_nq(2);
  EXPECT_NE(ResultCache::NameOf(hybrid), ResultCache::NameOf(other));
}

}  // namespace
}  // namespace quiver::api
