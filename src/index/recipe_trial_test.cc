// Trials of recipes: what is foretold follows from the sample, the least dear is chosen.
#include "index/recipe_trial.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace quiver::index {
namespace {

constexpr int64_t kDim = 24;

Column MakeRows(size_t rows) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  Column column = Column::Make(1, DataType::kFloatVector, kDim);
  for (size_t row = 0; row < rows; ++row) {
    float values[kDim];
    for (float& value : values) value = normal(random);
    column.Append({reinterpret_cast<const char*>(values), sizeof(values)});
  }
  return column;
}

std::vector<IndexRecipe> Candidates() {
  IndexRecipe graph;
  graph.dim = kDim;
  graph.degree = 16;
  graph.ef_construction = 60;
  IndexRecipe lists = graph;
  lists.structure = IndexStructure::kLists;
  lists.codec = IndexCodec::kRabitq;
  return {graph, lists};
}

TEST(RecipeTrialTest, TheLeastDearIsChosenAndTheFiguresAreKept) {
  const Column rows = MakeRows(8000);
  const auto candidates = Candidates();
  const auto choice = ChooseRecipe(candidates, ViewOf(rows), {});
  ASSERT_TRUE(choice.ok()) << choice.status().ToString();
  ASSERT_EQ(choice->tried.size(), candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    const TriedRecipe& tried = choice->tried[i];
    EXPECT_EQ(tried.structure, candidates[i].structure);
    EXPECT_EQ(tried.chosen, i == choice->chosen);
    EXPECT_LE(choice->tried[choice->chosen].cost, tried.cost);
    EXPECT_GE(tried.recall, 0.93F);
    EXPECT_GT(tried.nanoseconds, 0);
    EXPECT_GE(tried.segment_nanoseconds, tried.nanoseconds) << "more rows are never cheaper";
    EXPECT_GT(tried.build_seconds, 0);
    EXPECT_GT(tried.row_bytes, static_cast<float>(kDim) / 2);
  }
  EXPECT_GT(choice->tried[0].build_seconds, choice->tried[1].build_seconds) << "graphs take longer to build";
}

TEST(RecipeTrialTest, OneCandidateNeedsNoRival) {
  const Column rows = MakeRows(6000);
  const std::vector<IndexRecipe> only{Candidates()[1]};
  const auto choice = ChooseRecipe(only, ViewOf(rows), {});
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->chosen, 0U);
}

TEST(RecipeTrialTest, ATrialCanBeCancelled) {
  const Column rows = MakeRows(6000);
  int looks = 20;
  BuildControl control;
  control.cancelled = [&] { return looks-- <= 0; };
  EXPECT_EQ(ChooseRecipe(Candidates(), ViewOf(rows), control).status().code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace quiver::index
