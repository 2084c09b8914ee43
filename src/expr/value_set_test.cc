#include "expr/value_set.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace quiver::expr {
namespace {

TEST(IntSet, HoldsWhatItWasGiven) {
  std::mt19937_64 random(1);
  for (const uint64_t range : {uint64_t{10}, uint64_t{5000}, uint64_t{1} << 40U, ~uint64_t{0}}) {
    for (const size_t size : {0, 1, 9, 1000, 20000}) {
      std::set<int64_t> expected;
      for (size_t i = 0; i < size; ++i) expected.insert(static_cast<int64_t>(random() % range));
      const IntSet set(std::vector<int64_t>(expected.begin(), expected.end()));
      EXPECT_EQ(set.empty(), expected.empty());
      for (const int64_t value : expected) ASSERT_TRUE(set.Contains(value)) << value;
      for (int i = 0; i < 2000; ++i) {
        const auto value = static_cast<int64_t>(random() % range) - 3;
        ASSERT_EQ(set.Contains(value), expected.contains(value)) << value;
      }
    }
  }
}

TEST(IntSet, KnowsTheLimits) {
  const IntSet set({INT64_MIN, 0, INT64_MAX});
  EXPECT_TRUE(set.Contains(INT64_MIN));
  EXPECT_TRUE(set.Contains(INT64_MAX));
  EXPECT_FALSE(set.Contains(INT64_MIN + 1));
  const IntSet without({INT64_MIN + 1, 0, INT64_MAX});
  EXPECT_FALSE(without.Contains(INT64_MIN));
}

TEST(StringSet, HoldsWhatItWasGiven) {
  std::vector<std::string> values;
  for (int i = 0; i < 5000; ++i) values.push_back("key" + std::to_string(i * 3));
  const StringSet set(values);
  for (int i = 0; i < 15000; ++i) ASSERT_EQ(set.Contains("key" + std::to_string(i)), i % 3 == 0) << i;
  EXPECT_FALSE(set.Contains(""));
  EXPECT_TRUE(StringSet({""}).Contains(""));
  EXPECT_FALSE(StringSet().Contains(""));
  EXPECT_TRUE(StringSet().empty());
}

}  // namespace
}  // namespace quiver::expr
