#include "base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <thread>

namespace quiver::metrics {
namespace {

using testing::HasSubstr;

TEST(Metrics, TextFormat) {
  Registry registry;
  registry.GetCounter("b_total", "Requests.", {{"rpc", "Search"}, {"code", "0"}}).Add(3);
  registry.GetCounter("b_total", "Requests.", {{"rpc", "Insert"}, {"code", "0"}}).Add();
  registry.GetGauge("a_bytes", "Memory\nheld.").Set(-5);
  EXPECT_EQ(registry.Text(),
            "# HELP a_bytes Memory\\nheld.\n"
            "# TYPE a_bytes gauge\n"
            "a_bytes -5\n"
            "# HELP b_total Requests.\n"
            "# TYPE b_total counter\n"
            "b_total{rpc=\"Insert\",code=\"0\"} 1\n"
            "b_total{rpc=\"Search\",code=\"0\"} 3\n");
}

TEST(Metrics, SameNameAndLabelsAreOneMetric) {
  Registry registry;
  Counter& a = registry.GetCounter("x_total", "X.", {{"l", "1"}});
  Counter& b = registry.GetCounter("x_total", "X.", {{"l", "1"}});
  Counter& c = registry.GetCounter("x_total", "X.", {{"l", "2"}});
  EXPECT_EQ(&a, &b);
  EXPECT_NE(&a, &c);
}

TEST(Metrics, HistogramBucketsAreCumulativeAndClosedAbove) {
  Registry registry;
  constexpr std::array kBounds{1.0, 2.0};
  Histogram& histogram = registry.GetHistogram("h_seconds", "H.", kBounds, {{"l", "v"}});
  for (const double value : {0.5, 1.0, 1.5, 2.0, 9.0}) histogram.Observe(value);
  EXPECT_EQ(registry.Text(),
            "# HELP h_seconds H.\n"
            "# TYPE h_seconds histogram\n"
            "h_seconds_bucket{l=\"v\",le=\"1\"} 2\n"
            "h_seconds_bucket{l=\"v\",le=\"2\"} 4\n"
            "h_seconds_bucket{l=\"v\",le=\"+Inf\"} 5\n"
            "h_seconds_sum{l=\"v\"} 14\n"
            "h_seconds_count{l=\"v\"} 5\n");
}

TEST(Metrics, LabelValuesAreEscaped) {
  Registry registry;
  registry.GetGauge("g", "G.", {{"l", "a\"b\\c\nd"}}).Set(1);
  EXPECT_THAT(registry.Text(), HasSubstr(R"(g{l="a\"b\\c\nd"} 1)"));
}

TEST(Metrics, CallbacksLiveAsLongAsTheirRegistration) {
  Registry registry;
  double value = 1.5;
  {
    const Registry::Registration registration =
        registry.AddCallback(CallbackKind::kGauge, "r_bytes", "R.", {}, [&value] { return value; });
    EXPECT_THAT(registry.Text(), HasSubstr("r_bytes 1.5\n"));
    value = 2;
    EXPECT_THAT(registry.Text(), HasSubstr("r_bytes 2\n"));
  }
  EXPECT_EQ(registry.Text(), "");
}

TEST(Metrics, CountsOfManyThreadsAddUp) {
  Registry registry;
  Counter& counter = registry.GetCounter("c_total", "C.");
  Histogram& histogram = registry.GetHistogram("l_seconds", "L.", LatencyBounds());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        counter.Add();
        histogram.Observe(0.25);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter.value(), 40'000U);
  EXPECT_EQ(histogram.count(), 40'000U);
  EXPECT_DOUBLE_EQ(histogram.sum(), 10'000.0);
}

}  // namespace
}  // namespace quiver::metrics
