#include "storage/internal/value_sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

namespace quiver::storage::internal {
namespace {

using expr::ValueInterval;
using expr::ValueStatistics;

template <typename T>
ValueStatistics StatisticsOf(const std::vector<T>& values) {
  ValueSample sample;
  std::map<T, uint64_t> counts;
  for (const T& value : values) {
    sample.Add(value);
    ++counts[value];
  }
  return *sample.Finish(counts.size());
}

template <typename T>
double CountWithin(const std::vector<T>& values, const ValueInterval<T>& interval) {
  return static_cast<double>(
      std::count_if(values.begin(), values.end(), [&](const T& value) { return interval.Holds(value); }));
}

TEST(ValueSample, NothingOfNothing) { EXPECT_FALSE(ValueSample().Finish(0).has_value()); }

TEST(ValueSample, FewValuesAreCountedExactly) {
  std::vector<int64_t> values;
  for (int64_t i = 0; i < 1000; ++i) values.push_back(i % 10 < 7 ? 5 : i % 10);
  const ValueStatistics known = StatisticsOf(values);
  EXPECT_EQ(known.values, 1000U);
  EXPECT_TRUE(known.buckets.empty());
  ASSERT_EQ(known.top.size(), 4U);
  EXPECT_EQ(known.top[0].integer, 5);
  EXPECT_EQ(known.RowsEqual<int64_t>(5), 700);
  EXPECT_EQ(known.RowsEqual<int64_t>(9), 100);
  EXPECT_EQ(known.RowsEqual<int64_t>(4), 0);
  EXPECT_EQ(known.RowsWithin<int64_t>({.lower = 6}), 300);
  EXPECT_EQ(known.RowsWithin<int64_t>({.lower = 7, .upper = 9, .lower_inclusive = false, .upper_inclusive = false}),
            100);
}

TEST(ValueSample, ManyValuesAreEstimated) {
  // A third holds one value, the rest lies exponentially, so that equal widths would tell little.
  std::mt19937_64 random(3);
  std::exponential_distribution<double> spread(1.0 / 50'000);
  std::vector<int64_t> whole;
  std::vector<double> real;
  for (size_t i = 0; i < 200'000; ++i) {
    whole.push_back(random() % 3 == 0 ? 42 : static_cast<int64_t>(spread(random)));
    real.push_back(spread(random) / 1e6);
  }
  const ValueStatistics of_whole = StatisticsOf(whole);
  const ValueStatistics of_real = StatisticsOf(real);
  EXPECT_EQ(of_whole.values, whole.size());
  EXPECT_NEAR(of_whole.RowsEqual<int64_t>(42), CountWithin(whole, {.lower = 42, .upper = 42}), 3000);
  EXPECT_LT(of_whole.RowsEqual<int64_t>(50'000), 10);
  EXPECT_LT(of_real.RowsEqual<double>(0.05), 2);
  for (const int64_t bound : {10, 100, 1000, 10'000, 50'000, 200'000, 2'000'000}) {
    EXPECT_NEAR(of_whole.RowsWithin<int64_t>({.lower = bound}), CountWithin(whole, {.lower = bound}), 4000) << bound;
    const double high = static_cast<double>(bound) / 1e6;
    const ValueInterval<double> interval{.lower = high / 3, .upper = high};
    EXPECT_NEAR(of_real.RowsWithin<double>(interval), CountWithin(real, interval), 4000) << high;
  }
}

TEST(ValueSample, TextsAreEstimatedByTheirBeginnings) {
  std::mt19937_64 random(4);
  std::vector<std::string> values;
  for (size_t i = 0; i < 100'000; ++i) {
    std::string value = "name-";
    for (int at = 0; at < 4; ++at) value += static_cast<char>('a' + random() % 26);
    values.push_back(random() % 4 == 0 ? "usual" : value + " and what makes it longer than is kept");
  }
  const ValueStatistics known = StatisticsOf(values);
  ASSERT_EQ(known.top.size(), 1U);
  EXPECT_EQ(known.top[0].text, "usual");
  EXPECT_NEAR(known.RowsEqual<std::string_view>("usual"), 25'000, 1500);
  EXPECT_EQ(known.RowsEqual<std::string_view>("a"), 0);
  for (const char letter : {'b', 'h', 'm', 'z'}) {
    const std::string bound = std::string("name-") + letter;
    const double rows = CountWithin<std::string>(values, {.upper = bound});
    EXPECT_NEAR(known.RowsWithin<std::string_view>({.upper = bound}), rows, 2500) << bound;
  }
}

TEST(ValueSample, BytesGiveBackTheStatistics) {
  std::mt19937_64 random(5);
  const auto check = [](const ValueStatistics& known, DataType type) {
    const std::string bytes = EncodeStatistics(known, type);
    const auto back = DecodeStatistics(bytes, type, known.distinct);
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(back->values, known.values);
    EXPECT_EQ(back->top, known.top);
    EXPECT_EQ(back->buckets, known.buckets);
    EXPECT_EQ(back->least, known.least);
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(DecodeStatistics(std::string_view(bytes).substr(0, size), type, 1).has_value()) << size;
    }
  };
  std::vector<int64_t> whole;
  std::vector<double> real;
  std::vector<std::string> texts;
  for (size_t i = 0; i < 30'000; ++i) {
    whole.push_back(static_cast<int64_t>(random() % 1000) - 500);
    real.push_back(static_cast<double>(random() % 1000) / 7);
    texts.push_back(std::string(random() % 30, 'x') + "\xE4\xB8\xAD");
  }
  real.push_back(std::numeric_limits<double>::infinity());
  whole.push_back(INT64_MIN);
  check(StatisticsOf(whole), DataType::kInt64);
  check(StatisticsOf(real), DataType::kDouble);
  check(StatisticsOf(texts), DataType::kVarChar);
  EXPECT_FALSE(DecodeStatistics(EncodeStatistics(StatisticsOf(texts), DataType::kVarChar), DataType::kInt64, 1));
}

}  // namespace
}  // namespace quiver::storage::internal
