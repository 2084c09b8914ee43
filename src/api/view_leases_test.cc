#include "api/view_leases.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "engine/test_engine.h"

namespace quiver::api {
namespace {

constexpr int64_t kPk = 100;

class ViewLeasesTest : public engine::EngineTestBase {
 protected:
  void SetUp() override {
    options_.auto_load = true;
    options_.compaction = false;
    options_.flush_min_bytes = 0;
    options_.retention_seconds = 0;
    Open();
    Create("docs", {engine::MakeKeyField(kPk)});
    Write(1);
  }
  ~ViewLeasesTest() override { engine_.reset(); }

  void Write(int64_t key) {
    ColumnBatch batch;
    batch.rows = 1;
    batch.columns = {engine::MakeKeys(kPk, {key})};
    ASSERT_TRUE(Insert({.collection = Docs(), .batch = std::move(batch)}).ok());
  }
  /// A page of an iterator; guarantee 0 = the first.
  engine::ReadView Page(ViewLeases& leases, engine::Timestamp guarantee) {
    auto view =
        leases.Open(*engine_, {.collection = Docs(), .partitions = {}, .guarantee = guarantee, .iterator = true},
                    ViewLeases::Clock::now() + std::chrono::seconds(10));
    EXPECT_TRUE(view.ok()) << view.status().ToString();
    return view.ok() ? *std::move(view) : engine::ReadView();
  }
};

TEST_F(ViewLeasesTest, PagesOfAnIteratorReadOneMoment) {
  ViewLeases leases;
  const engine::ReadView first = Page(leases, 0);
  Write(2);
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  const engine::ReadView second = Page(leases, first.timestamp);
  EXPECT_EQ(second.timestamp, first.timestamp);
  EXPECT_EQ(second.segments, first.segments);
  EXPECT_GT(Page(leases, 0).timestamp, first.timestamp) << "another iterator";
}

TEST_F(ViewLeasesTest, ALeaseThatIsNotUsedEnds) {
  ViewLeases leases(ViewLeases::Clock::duration::zero());
  engine::Timestamp timestamp = 0;
  std::weak_ptr<const segment::Segment> growing;
  {
    const engine::ReadView first = Page(leases, 0);
    timestamp = first.timestamp;
    ASSERT_EQ(first.segments.size(), 1U);
    growing = first.segments[0];
  }
  Write(2);
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  EXPECT_TRUE(Eventually([&] { return growing.use_count() == 1; })) << "the lease alone holds it";
  EXPECT_GT(Page(leases, timestamp).timestamp, timestamp) << "pages go on with the newest state";
  EXPECT_TRUE(growing.expired());
}

TEST_F(ViewLeasesTest, UnusedLeasesEndWithoutAFurtherPage) {
  ViewLeases used(std::chrono::hours(1));
  ViewLeases unused(ViewLeases::Clock::duration::zero());
  EXPECT_FALSE(used.EndUnused().has_value()) << "there is none";
  const auto begin = ViewLeases::Clock::now();
  std::weak_ptr<const segment::Segment> growing = Page(unused, 0).segments.at(0);
  Write(2);
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  ASSERT_TRUE(Eventually([&] { return growing.use_count() == 1; })) << "the lease alone holds it";
  EXPECT_TRUE(Eventually([&] { return !unused.EndUnused().has_value(); }));
  EXPECT_TRUE(growing.expired());
  const engine::Timestamp timestamp = Page(used, 0).timestamp;
  const auto due = used.EndUnused();
  ASSERT_TRUE(due.has_value());
  EXPECT_GE(*due, begin + std::chrono::hours(1));
  EXPECT_EQ(Page(used, timestamp).timestamp, timestamp) << "it is held still";
}

TEST_F(ViewLeasesTest, TheLeaseThatWasNotUsedForLongestMakesRoom) {
  ViewLeases leases(std::chrono::hours(1), 2);
  const engine::Timestamp first = Page(leases, 0).timestamp;
  Write(2);
  const engine::Timestamp second = Page(leases, 0).timestamp;
  EXPECT_EQ(Page(leases, first).timestamp, first);  // is the newer one now
  Write(3);
  const engine::Timestamp third = Page(leases, 0).timestamp;
  EXPECT_EQ(Page(leases, first).timestamp, first);
  EXPECT_EQ(Page(leases, third).timestamp, third);
  EXPECT_GE(Page(leases, second).timestamp, third);
}

}  // namespace
}  // namespace quiver::api
