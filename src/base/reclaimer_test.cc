#include "base/reclaimer.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace quiver {
namespace {

/// Tells on which thread it was destroyed.
class Witness {
 public:
  explicit Witness(std::promise<std::thread::id>& end) : end_(end) {}
  ~Witness() { end_.set_value(std::this_thread::get_id()); }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;

 private:
  std::promise<std::thread::id>& end_;
};

TEST(ReclaimerTest, TheLastOwnerDoesNotDestroyTheObject) {
  const Reclaimer reclaimer;
  std::promise<std::thread::id> end;
  std::shared_ptr<const Witness> object = reclaimer.Guard(std::make_shared<const Witness>(end));
  std::shared_ptr<const Witness> second = object;
  object = nullptr;
  auto ended = end.get_future();
  EXPECT_EQ(ended.wait_for(std::chrono::milliseconds(1)), std::future_status::timeout) << "it has an owner";
  second = nullptr;
  EXPECT_NE(ended.get(), std::this_thread::get_id());
}

TEST(ReclaimerTest, AThreadMayDestroyObjectsItself) {
  const Reclaimer reclaimer;
  std::promise<std::thread::id> end;
  std::shared_ptr<Witness> object = reclaimer.Guard(std::make_shared<Witness>(end));
  {
    const Reclaimer::InPlace here;
    object = nullptr;
  }
  auto ended = end.get_future();
  ASSERT_EQ(ended.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  EXPECT_EQ(ended.get(), std::this_thread::get_id());
}

TEST(ReclaimerTest, WhatWaitsIsDestroyedAtTheEndAndWhatOutlivesItWhereItIsLetGo) {
  std::vector<std::promise<std::thread::id>> ends(100);
  std::promise<std::thread::id> late_end;
  std::shared_ptr<Witness> late;
  {
    std::optional<Reclaimer> reclaimer(std::in_place);
    late = reclaimer->Guard(std::make_shared<Witness>(late_end));
    for (auto& end : ends) (void)reclaimer->Guard(std::make_shared<Witness>(end));
  }
  for (auto& end : ends) {
    auto ended = end.get_future();
    ASSERT_EQ(ended.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  }
  late = nullptr;
  EXPECT_EQ(late_end.get_future().get(), std::this_thread::get_id());
}

TEST(ReclaimerTest, NothingStaysNothing) {
  const Reclaimer reclaimer;
  EXPECT_EQ(reclaimer.Guard(std::shared_ptr<Witness>()), nullptr);
}

}  // namespace
}  // namespace quiver
