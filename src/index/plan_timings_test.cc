// What searches have taken corrects what plans are expected to cost.
#include "index/internal/plan_timings.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>
#include <vector>

#include "index/internal/graph_plan.h"
#include "index/search_measure.h"

namespace quiver::index {
namespace {

constexpr auto kFamily = PlanTimings::Family::kLists;

void AddMany(PlanTimings& timings, SearchPlan plan, double factor, int times = 200) {
  for (int i = 0; i < times; ++i) timings.Add(plan, 1e5, 1e5 * factor);
}

TEST(PlanTimingsTest, AFactorIsThatOfTheSearchesTaken) {
  PlanTimings timings(kFamily);
  AddMany(timings, SearchPlan::kScanCodes, 2);
  EXPECT_NEAR(timings.Factor(SearchPlan::kScanCodes), 2, 1e-3);
  AddMany(timings, SearchPlan::kScanCodes, 0.5, 2000);
  EXPECT_LT(timings.Factor(SearchPlan::kScanCodes), 0.62) << "later searches count more";
  EXPECT_GT(timings.Factor(SearchPlan::kScanCodes), 0.4);
}

TEST(PlanTimingsTest, FewSearchesAreNotBelieved) {
  PlanTimings timings(kFamily);
  const double before = timings.Factor(SearchPlan::kPostings);
  for (int i = 0; i < 3; ++i) timings.Add(SearchPlan::kPostings, 1e5, 4e5);
  EXPECT_EQ(timings.Factor(SearchPlan::kPostings), before);
}

TEST(PlanTimingsTest, OneSlowSearchDoesNotDecide) {
  PlanTimings timings(kFamily);
  AddMany(timings, SearchPlan::kWalk, 1);
  timings.Add(SearchPlan::kWalk, 1e5, 1e9);
  EXPECT_EQ(timings.Factor(SearchPlan::kWalk), 1) << "it stays as it is for small changes";
  for (int i = 0; i < 1000; ++i) timings.Add(SearchPlan::kWalk, 1e5, 1e9);
  EXPECT_LE(timings.Factor(SearchPlan::kWalk), 4.001) << "beyond, it was not the plan";
}

TEST(PlanTimingsTest, ShortSearchesAndNonsenseAreLeftOut) {
  PlanTimings timings(kFamily);
  const double before = timings.Factor(SearchPlan::kWalkThrough);
  for (int i = 0; i < 100; ++i) {
    timings.Add(SearchPlan::kWalkThrough, 100, 1e5);
    timings.Add(SearchPlan::kWalkThrough, 1e5, 0);
    timings.Add(SearchPlan::kWalkThrough, std::nan(""), 1e5);
    timings.Add(SearchPlan::kWalkThrough, 1e5, std::nan(""));
  }
  EXPECT_EQ(timings.Factor(SearchPlan::kWalkThrough), before);
}

TEST(PlanTimingsTest, ANewIndexBeginsWithWhatTheMachineHasShown) {
  PlanTimings first(PlanTimings::Family::kLists);
  AddMany(first, SearchPlan::kProbe, 3, 400);
  const PlanTimings second(PlanTimings::Family::kLists);
  EXPECT_NEAR(second.Factor(SearchPlan::kProbe), 3, 0.7);
}

TEST(PlanTimingsTest, APlanThatWasNeverTimedErrsLikeTheOthersOfItsIndex) {
  PlanTimings timings(PlanTimings::Family::kGraph);
  AddMany(timings, SearchPlan::kWalk, 2);
  EXPECT_NEAR(timings.Factor(SearchPlan::kPostings), 2, 1e-3);
}

TEST(PlanTimingsTest, ThePlannerTakesTheOtherPlanWhereOneIsSlow) {
  const std::vector<GraphCurvePoint> curve{{10, 0.9f, 300}, {40, 0.97f, 900}, {160, 0.995f, 2500}};
  const GraphShape shape{.rows = 100000,
                         .vertices = 100000,
                         .degree = 32,
                         .row_bytes = 512,
                         .coarse_bytes = 64,
                         .sketch_bytes = 0,
                         .curve = curve};
  // A filter at which two plans cost about the same.
  GraphFilter filter;
  SearchPlan before = SearchPlan::kScanCodes;
  SearchPlan after = before;
  for (filter.matches = 1000; filter.matches < 60000; filter.matches *= 1.05) {
    filter.share = filter.matches / shape.rows;
    after = GraphPlanner(shape, 10, 40).Choose(filter);
    if (after != SearchPlan::kScanCodes && after != SearchPlan::kScoreMatches) break;
    before = after;
  }
  ASSERT_EQ(before, SearchPlan::kScanCodes);
  ASSERT_NE(after, before);
  PlanTimings timings(PlanTimings::Family::kGraph);
  AddMany(timings, SearchPlan::kScanCodes, 1);
  AddMany(timings, SearchPlan::kScoreMatches, 1);
  AddMany(timings, SearchPlan::kWalk, 3, 400);
  AddMany(timings, SearchPlan::kWalkThrough, 3, 400);
  EXPECT_EQ(GraphPlanner(shape, 10, 40, &timings).Choose(filter), SearchPlan::kScanCodes);
}

TEST(PlanTimingsTest, SearchesAreTimedUnlessThatIsOff) {
  // Long searches that were expected to be short, of which every eighth is timed.
  const auto searches = [](PlanTimings& timings) {
    for (int i = 0; i < 8 * 40; ++i) {
      const PlanTimer timer(&timings);
      const double start = ThreadCpuSeconds();
      while (ThreadCpuSeconds() - start < 40e-6) {
      }
      timer.End(SearchPlan::kPostings, 10'000);
    }
  };
  PlanTimings timings(PlanTimings::Family::kGraph);
  SetSearchTiming(false);
  searches(timings);
  EXPECT_EQ(timings.Factor(SearchPlan::kPostings), 1);
  SetSearchTiming(true);
  const double none = timings.Factor(SearchPlan::kPostings);
  searches(timings);
  EXPECT_GT(timings.Factor(SearchPlan::kPostings), 1.5 * none);
}

TEST(PlanTimingsTest, ThreadsMayTimeAtOnce) {
  PlanTimings timings(kFamily);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      AddMany(timings, SearchPlan::kScanCodes, 1.5, 2000);
      EXPECT_GT(timings.Factor(SearchPlan::kScanCodes), 0);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_NEAR(timings.Factor(SearchPlan::kScanCodes), 1.5, 0.35);
}

}  // namespace
}  // namespace quiver::index
