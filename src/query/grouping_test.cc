#include "query/grouping.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace quiver::query {
namespace {

using index::Hit;

TEST(GroupCollector, KeepsTheFirstGroupsAndTheFirstRowsOfEach) {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    const size_t groups = 1 + random() % 6;
    const size_t size = 1 + random() % 4;
    const size_t kinds = 1 + random() % 9;
    const size_t rows = random() % 60;
    GroupCollector collector(groups, size);
    std::vector<std::vector<Hit>> expected;
    std::map<size_t, size_t> place;
    for (uint64_t row = 0; row < rows; ++row) {
      const size_t kind = random() % kinds;
      const Hit hit{.score = static_cast<float>(row), .row = row};
      size_t filled = 0;
      for (const auto& group : expected) filled += group.size() == size ? 1 : 0;
      ASSERT_EQ(collector.full(), expected.size() == groups && filled == groups);
      collector.Offer("k" + std::to_string(kind), hit);
      if (!place.contains(kind)) {
        if (expected.size() == groups) continue;
        place[kind] = expected.size();
        expected.emplace_back();
      }
      if (expected[place[kind]].size() < size) expected[place[kind]].push_back(hit);
    }
    EXPECT_EQ(collector.Take(), expected);
    EXPECT_TRUE(collector.Take().empty());
  }
}

}  // namespace
}  // namespace quiver::query
