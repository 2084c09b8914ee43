#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>
#include <memory>
#include <numeric>

namespace quiver {
namespace {

TEST(ThreadPool, RunsEveryTaskBeforeItStops) {
  std::atomic<int> ran = 0;
  {
    ThreadPool pool({.threads = 3});
    for (int i = 0; i < 1000; ++i) ASSERT_TRUE(pool.Submit([&ran] { ++ran; }));
  }
  EXPECT_EQ(ran.load(), 1000);
}

TEST(ThreadPool, OneThreadKeepsTheOrder) {
  std::vector<int> order;
  {
    ThreadPool pool({.threads = 1});
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(pool.Submit([&order, i] { order.push_back(i); }));
  }
  std::vector<int> expected(100);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
}

TEST(ThreadPool, TasksMayOwnWhatCannotBeCopied) {
  ThreadPool pool({.threads = 1});
  std::promise<int> promise;
  std::future<int> future = promise.get_future();
  auto value = std::make_unique<int>(42);
  ASSERT_TRUE(
      pool.Submit([promise = std::move(promise), value = std::move(value)]() mutable { promise.set_value(*value); }));
  EXPECT_EQ(future.get(), 42);
}

TEST(ThreadPool, FullQueueRefusesAndRecovers) {
  ThreadPool pool({.threads = 1, .max_queue = 2});
  std::latch started(1);
  std::latch release(1);
  ASSERT_TRUE(pool.Submit([&] {
    started.count_down();
    release.wait();
  }));
  started.wait();
  std::latch finished(2);
  EXPECT_TRUE(pool.Submit([&] { finished.count_down(); }));
  EXPECT_TRUE(pool.Submit([&] { finished.count_down(); }));
  EXPECT_EQ(pool.queue_length(), 2U);
  EXPECT_FALSE(pool.Submit([] {}));
  release.count_down();
  finished.wait();
  EXPECT_TRUE(pool.Submit([] {}));
}

TEST(ThreadPool, RefusesTasksAfterStop) {
  ThreadPool pool({.threads = 2});
  pool.Stop();
  EXPECT_FALSE(pool.Submit([] {}));
  pool.Stop();
}

TEST(ThreadPool, ParallelForCoversEveryIndexOnce) {
  ThreadPool pool({.threads = 3});
  for (const size_t count : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{9}, size_t{10'007}}) {
    std::vector<std::atomic<int>> hits(count);
    pool.ParallelFor(count, 8, [&](size_t begin, size_t end) {
      ASSERT_LT(begin, end);
      ASSERT_LE(end - begin, 8U);
      for (size_t i = begin; i < end; ++i) ++hits[i];
    });
    for (const auto& hit : hits) ASSERT_EQ(hit.load(), 1);
  }
}

TEST(ThreadPool, ParallelForInsidePoolThreadsDoesNotDeadlock) {
  ThreadPool pool({.threads = 2});
  std::atomic<size_t> sum = 0;
  pool.ParallelFor(
      8, 1, [&](size_t, size_t) { pool.ParallelFor(100, 3, [&](size_t begin, size_t end) { sum += end - begin; }); });
  EXPECT_EQ(sum.load(), 800U);
}

TEST(ThreadPool, ParallelForWorksOnAStoppedPool) {
  ThreadPool pool({.threads = 2});
  pool.Stop();
  size_t sum = 0;
  pool.ParallelFor(100, 3, [&](size_t begin, size_t end) { sum += end - begin; });
  EXPECT_EQ(sum, 100U);
}

TEST(ThreadPool, CountsCores) {
  EXPECT_GE(AvailableCores(), 1U);
  ThreadPool pool({});
  EXPECT_EQ(pool.thread_count(), AvailableCores());
}

}  // namespace
}  // namespace quiver
