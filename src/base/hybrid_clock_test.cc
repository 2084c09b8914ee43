#include "base/hybrid_clock.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace quiver {
namespace {

struct FakeWorld {
  int64_t now_ms = 1'700'000'000'000;
  Timestamp stored = 0;
  int persist_calls = 0;
  Status persist_answer;

  HybridClock::PersistFn persist() {
    return [this](Timestamp high) {
      ++persist_calls;
      if (persist_answer.ok()) stored = high;
      return persist_answer;
    };
  }
  HybridClock::WallClockFn wall() {
    return [this] { return now_ms; };
  }
};

TEST(HybridClock, FollowsTheWallClock) {
  FakeWorld world;
  HybridClock clock(0, world.persist(), world.wall());
  const Result<Timestamp> first = clock.Allocate();
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(*first, MakeTimestamp(world.now_ms));
  EXPECT_EQ(TimestampMs(*first), world.now_ms);
  EXPECT_EQ(*clock.Allocate(), *first + 1) << "same millisecond: the counter runs";
  world.now_ms += 5;
  EXPECT_EQ(*clock.Allocate(), MakeTimestamp(world.now_ms));
  EXPECT_EQ(clock.Current(), MakeTimestamp(world.now_ms));
}

TEST(HybridClock, BlocksAreConsecutiveAndNeverOverlap) {
  FakeWorld world;
  HybridClock clock(0, world.persist(), world.wall());
  const Timestamp a = *clock.Allocate(1000);
  const Timestamp b = *clock.Allocate(1);
  EXPECT_EQ(b, a + 1000);
  EXPECT_EQ(clock.Current(), b);
}

TEST(HybridClock, CounterOverflowRunsIntoTheNextMillisecond) {
  FakeWorld world;
  HybridClock clock(0, world.persist(), world.wall());
  const Timestamp a = *clock.Allocate(1U << kTimestampCounterBits);
  const Timestamp b = *clock.Allocate();
  EXPECT_EQ(TimestampMs(b), TimestampMs(a) + 1);
}

TEST(HybridClock, NeverGoesBackWithTheWallClock) {
  FakeWorld world;
  HybridClock clock(0, world.persist(), world.wall());
  Timestamp last = *clock.Allocate();
  world.now_ms -= 3'600'000;
  for (int i = 0; i < 100; ++i) {
    const Timestamp next = *clock.Allocate();
    ASSERT_GT(next, last);
    last = next;
  }
}

TEST(HybridClock, NothingIsReusedAfterACrash) {
  FakeWorld world;
  Timestamp last = 0;
  for (int restart = 0; restart < 5; ++restart) {
    HybridClock clock(world.stored, world.persist(), world.wall());
    for (int i = 0; i < 10; ++i) {
      const Timestamp next = *clock.Allocate();
      ASSERT_GT(next, last);
      ASSERT_LE(next, world.stored) << "given before its mark was stored";
      last = next;
    }
    world.now_ms -= 1000;
  }
}

TEST(HybridClock, StoresTheMarkOnlyWhenItComesNear) {
  FakeWorld world;
  HybridClock clock(0, world.persist(), world.wall());
  ASSERT_TRUE(clock.Allocate().ok());
  EXPECT_EQ(world.persist_calls, 1);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(clock.Allocate().ok());
  EXPECT_EQ(world.persist_calls, 1);
  world.now_ms += HybridClock::kMarkAheadMs - HybridClock::kMarkSlackMs + 1;
  ASSERT_TRUE(clock.Allocate().ok());
  EXPECT_EQ(world.persist_calls, 2) << "raised before it is reached";
}

TEST(HybridClock, GivesNothingAboveAMarkThatCouldNotBeStored) {
  FakeWorld world;
  HybridClock clock(0, world.persist(), world.wall());
  ASSERT_TRUE(clock.Allocate().ok());
  const Timestamp mark = world.stored;
  world.persist_answer = Error(StatusCode::kIo, "no space");
  world.now_ms = TimestampMs(mark) - 10;
  ASSERT_TRUE(clock.Allocate().ok()) << "still below the mark";
  world.now_ms = TimestampMs(mark) + 10;
  const Timestamp before = clock.Current();
  EXPECT_EQ(clock.Allocate().status().code(), StatusCode::kIo);
  EXPECT_EQ(clock.Current(), before);
  world.persist_answer = Status::Ok();
  EXPECT_GT(*clock.Allocate(), before);
}

TEST(HybridClock, TimestampsOfManyThreadsAreDistinct) {
  constexpr int kThreads = 4;
  constexpr int kPerThread = 20'000;
  std::atomic<Timestamp> stored = 0;
  HybridClock clock(0, [&stored](Timestamp high) {
    stored = high;
    return Status::Ok();
  });
  std::vector<std::vector<Timestamp>> given(kThreads);
  std::vector<std::thread> threads;
  for (auto& mine : given) {
    threads.emplace_back([&clock, &mine] {
      for (int i = 0; i < kPerThread; ++i) mine.push_back(*clock.Allocate(1 + static_cast<uint32_t>(i % 3)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<Timestamp> all;
  for (const auto& mine : given) {
    EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
    for (size_t i = 0; i < mine.size(); ++i) {
      for (Timestamp t = 0; t < 1 + i % 3; ++t) all.push_back(mine[i] + t);
    }
  }
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
  EXPECT_LE(all.back(), stored.load());
}

}  // namespace
}  // namespace quiver
