#include "api/shared_scans.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace quiver::api {
namespace {

WaitingSearch Numbered(int64_t number) {
  auto plan = std::make_shared<SearchPlan>();
  plan->limit = number;
  return {.exchange = nullptr, .plan = std::move(plan)};
}

std::vector<int64_t> NumbersOf(const std::vector<WaitingSearch>& searches) {
  std::vector<int64_t> numbers;
  for (const WaitingSearch& search : searches) numbers.push_back(search.plan->limit);
  return numbers;
}

TEST(SharedScansTest, TakesWhatWaitsUnderOneName) {
  SharedScans scans(0);
  EXPECT_EQ(scans.Add("a", Numbered(1)), SharedScans::Place::kFirst);
  EXPECT_EQ(scans.Add("b", Numbered(2)), SharedScans::Place::kFirst);
  EXPECT_EQ(scans.Add("a", Numbered(3)), SharedScans::Place::kWaits);
  bool more = true;
  EXPECT_EQ(NumbersOf(scans.Take("a", &more)), (std::vector<int64_t>{1, 3}));
  EXPECT_FALSE(more);
  EXPECT_EQ(NumbersOf(scans.Take("b", &more)), (std::vector<int64_t>{2}));
  EXPECT_TRUE(scans.Take("b", &more).empty());
  EXPECT_FALSE(more);
  EXPECT_EQ(scans.Add("a", Numbered(4)), SharedScans::Place::kFirst) << "nobody sees to the name any more";
}

TEST(SharedScansTest, LeavesTheRestToALaterTurn) {
  SharedScans scans(0);
  const auto count = static_cast<int64_t>(SharedScans::kMostTogether + 5);
  for (int64_t i = 0; i < count; ++i) {
    EXPECT_EQ(scans.Add("a", Numbered(i)), i == 0 ? SharedScans::Place::kFirst : SharedScans::Place::kWaits);
  }
  bool more = false;
  const std::vector<int64_t> first = NumbersOf(scans.Take("a", &more));
  EXPECT_EQ(first.size(), SharedScans::kMostTogether);
  EXPECT_EQ(first.front(), 0);
  EXPECT_TRUE(more);
  EXPECT_EQ(scans.Add("a", Numbered(count)), SharedScans::Place::kWaits) << "the later turn takes it, too";
  const std::vector<int64_t> rest = NumbersOf(scans.Take("a", &more));
  EXPECT_EQ(rest.size(), 6U);
  EXPECT_EQ(rest.back(), count);
  EXPECT_FALSE(more);
}

TEST(SharedScansTest, RefusesMoreThanMayWait) {
  SharedScans scans(2);
  EXPECT_EQ(scans.Add("a", Numbered(1)), SharedScans::Place::kFirst);
  EXPECT_EQ(scans.Add("a", Numbered(2)), SharedScans::Place::kWaits);
  EXPECT_EQ(scans.Add("a", Numbered(3)), SharedScans::Place::kFull);
  EXPECT_EQ(scans.Add("b", Numbered(3)), SharedScans::Place::kFull);
  EXPECT_EQ(NumbersOf(scans.TakeAll("a")), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(scans.Add("b", Numbered(3)), SharedScans::Place::kFirst) << "there is room again";
}

TEST(SharedScansTest, SplitsAResultByQueries) {
  query::SearchResult result;
  result.primary_keys = Column::Make(100, DataType::kVarChar);
  result.output.columns.push_back(Column::Make(101, DataType::kInt32));
  result.hits_per_query = {2, 0, 1, 3};
  for (int32_t i = 0; i < 6; ++i) {
    result.primary_keys.Append("key " + std::to_string(i));
    if (i == 2) {
      result.output.columns[0].AppendNull();
    } else {
      result.output.columns[0].AppendValue(10 * i);
    }
    result.scores.push_back(static_cast<float>(i) / 2);
    result.elements.push_back(static_cast<uint32_t>(7 * i));
  }
  result.output.rows = 6;
  const std::vector<size_t> counts = {1, 2, 1};
  const std::vector<query::SearchResult> parts = SplitResult(result, counts);
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts[0].hits_per_query, (std::vector<int64_t>{2}));
  EXPECT_EQ(parts[0].scores, (std::vector<float>{0, 0.5F}));
  EXPECT_EQ(parts[1].hits_per_query, (std::vector<int64_t>{0, 1}));
  ASSERT_EQ(parts[1].primary_keys.rows, 1U);
  EXPECT_EQ(parts[1].primary_keys.Bytes(0), "key 2");
  EXPECT_TRUE(parts[1].output.columns[0].IsNull(0));
  EXPECT_EQ(parts[2].hits_per_query, (std::vector<int64_t>{3}));
  EXPECT_EQ(parts[2].primary_keys.type, DataType::kVarChar);
  EXPECT_EQ(parts[2].primary_keys.field_id, 100);
  EXPECT_EQ(parts[2].output.rows, 3U);
  EXPECT_EQ(parts[2].output.columns[0].Get<int32_t>(2), 50);
  EXPECT_EQ(parts[2].elements, (std::vector<uint32_t>{21, 28, 35}));
}

TEST(SharedScansTest, SplitsAResultWithoutHits) {
  query::SearchResult result;
  result.primary_keys = Column::Make(100, DataType::kInt64);
  result.hits_per_query = {0, 0};
  const std::vector<size_t> counts = {1, 1};
  for (const query::SearchResult& part : SplitResult(result, counts)) {
    EXPECT_EQ(part.hits_per_query, (std::vector<int64_t>{0}));
    EXPECT_EQ(part.primary_keys.rows, 0U);
    EXPECT_TRUE(part.elements.empty());
  }
}

}  // namespace
}  // namespace quiver::api
