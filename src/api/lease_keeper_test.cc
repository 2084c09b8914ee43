#include "api/lease_keeper.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <semaphore>

namespace quiver::api {
namespace {

using Clock = LeaseKeeper::Clock;
using Due = std::optional<Clock::time_point>;

constexpr auto kLong = std::chrono::minutes(5);

TEST(LeaseKeeperTest, SleepsUntilThereIsALease) {
  std::counting_semaphore<> swept(0);
  LeaseKeeper keeper({[&]() -> Due {
    swept.release();
    return std::nullopt;
  }});
  EXPECT_FALSE(swept.try_acquire());
  for (int i = 0; i < 3; ++i) {
    keeper.Watch();
    EXPECT_TRUE(swept.try_acquire_for(kLong));
  }
}

TEST(LeaseKeeperTest, ComesAgainWhenTheFirstOfAllIsDue) {
  const auto begin = Clock::now();
  std::counting_semaphore<> swept(0);
  int rounds = 0;
  Due came;
  LeaseKeeper keeper({[&]() -> Due { return begin + std::chrono::hours(1); },
                      [&]() -> Due {
                        const bool first = ++rounds == 1;
                        if (!first) came = Clock::now();
                        swept.release();
                        return first ? Due(begin + std::chrono::milliseconds(50)) : std::nullopt;
                      }});
  keeper.Watch();
  ASSERT_TRUE(swept.try_acquire_for(kLong));
  ASSERT_TRUE(swept.try_acquire_for(kLong));
  EXPECT_GE(*came, begin + std::chrono::milliseconds(50));
}

TEST(LeaseKeeperTest, EndsWhileALeaseIsHeld) {
  std::counting_semaphore<> swept(0);
  LeaseKeeper keeper({[&]() -> Due {
    swept.release();
    return Clock::now() + std::chrono::hours(1);
  }});
  keeper.Watch();
  EXPECT_TRUE(swept.try_acquire_for(kLong));
}

}  // namespace
}  // namespace quiver::api
