// Compares row sets with std::set, as lists and as bit maps.
#include "expr/row_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace quiver::expr {
namespace {

void Compare(const RowSet& rows, const std::set<uint32_t>& wanted) {
  ASSERT_EQ(rows.Count(), wanted.size());
  uint32_t row = 0;
  for (const uint32_t want : wanted) {
    row = rows.NextAfter(row);
    ASSERT_EQ(row, want);
    ++row;
  }
  ASSERT_EQ(rows.NextAfter(row), rows.rows());
}

TEST(RowSet, RangesAndRowsAddUpInAnyOrderWhateverTheSize) {
  std::mt19937 generator(5);
  const auto random = [&](uint32_t below) { return static_cast<uint32_t>(generator() % below); };
  for (const uint32_t size : {1U, 64U, 100U, 65'536U, 70'000U, 200'000U}) {
    for (int round = 0; round < 40; ++round) {
      RowSet rows(size);
      std::set<uint32_t> wanted;
      for (int step = 0; step < 6; ++step) {
        const uint32_t first = random(size);
        const uint32_t most = round % 2 == 0 ? 300 : 9000;
        const uint32_t end = std::min(size, first + random(most));
        rows.AddRange(first, end);
        for (uint32_t row = first; row < end; ++row) wanted.insert(row);
        const uint32_t single = random(size);
        rows.Add(std::span(&single, 1));
        wanted.insert(single);
        ASSERT_NO_FATAL_FAILURE(Compare(rows, wanted)) << size << " " << first << " " << end;
      }
    }
  }
}

TEST(RowSet, AnEmptyRangeAddsNothing) {
  RowSet rows(100'000);
  rows.AddRange(7, 7);
  EXPECT_EQ(rows.Count(), 0U);
  rows.AddRange(0, 100'000);
  EXPECT_EQ(rows.Count(), 100'000U);
}

}  // namespace
}  // namespace quiver::expr
