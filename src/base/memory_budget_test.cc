#include "base/memory_budget.h"

#include <gtest/gtest.h>

namespace quiver {
namespace {

TEST(MemoryBudgetTest, AdmitsUpToThreeQuartersAndSaysWhatIsHeld) {
  const auto budget = std::make_shared<MemoryBudget>(1000);
  EXPECT_TRUE(budget->Admit(750).ok());
  const Status refused = budget->Admit(751);
  EXPECT_EQ(refused.code(), StatusCode::kMemoryLimit);
  EXPECT_TRUE(refused.retriable());
  EXPECT_EQ(refused.message(), "memory limit exceeded[predict=751][limit=750], try again later");
  EXPECT_FALSE(budget->Admit(UINT64_MAX).ok());
  MemoryCharge growing(budget, MemoryConsumer::kGrowing, 400);
  EXPECT_FALSE(budget->above_high_mark());
  growing.Grow(200);
  EXPECT_TRUE(budget->above_high_mark());
  EXPECT_FALSE(budget->Admit(151).ok());
  EXPECT_EQ(budget->used(MemoryConsumer::kGrowing), 600U);
  {
    const MemoryCharge moved = std::move(growing);
    EXPECT_EQ(budget->used(), 600U);
  }
  EXPECT_EQ(budget->used(), 0U);
  MemoryCharge none;
  none.Grow(5);
}

}  // namespace
}  // namespace quiver
