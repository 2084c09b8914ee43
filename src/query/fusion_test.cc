#include "query/fusion.h"

#include <gtest/gtest.h>

namespace quiver::query {
namespace {

using index::Hit;

std::vector<RankedList> Lists() {
  return {{.metric = MetricType::kCosine, .hits = {{0.8F, 1}, {0.2F, 2}, {-1.0F, 3}}},
          {.metric = MetricType::kL2, .hits = {{0.0F, 2}, {1.0F, 4}}}};
}

void ExpectHits(const std::vector<Hit>& hits, const std::vector<std::pair<uint64_t, double>>& expected) {
  ASSERT_EQ(hits.size(), expected.size());
  for (size_t i = 0; i < hits.size(); ++i) {
    EXPECT_EQ(hits[i].row, expected[i].first);
    EXPECT_NEAR(hits[i].score, expected[i].second, 1e-6);
  }
}

TEST(Fusion, ReciprocalRanksAddUp) {
  // 2: 1/62 + 1/61; 1: 1/61; 4: 1/62; 3: 1/63.
  ExpectHits(Fuse(Lists(), {}), {{2, 0.03252247}, {1, 0.01639344}, {4, 0.01612903}, {3, 0.01587302}});
  // 2: 1/3 + 1/2; 1: 1/2; 4: 1/3; 3: 1/4.
  ExpectHits(Fuse(Lists(), {.k = 1}), {{2, 0.8333333}, {1, 0.5}, {4, 0.3333333}, {3, 0.25}});
}

TEST(Fusion, WeightsNormalisedScores) {
  // Cosine 0.9, 0.6, 0; L2 1, 0.5. 1: .63; 2: .42 + .3; 3: 0; 4: .15.
  const Fusion fusion{.kind = Fusion::Kind::kWeighted, .weights = {0.7, 0.3}, .normalize = true};
  ExpectHits(Fuse(Lists(), fusion), {{2, 0.72}, {1, 0.63}, {4, 0.15}, {3, 0}});
}

TEST(Fusion, WeightsScoresAsTheyAre) {
  // Similarities .8, .2, -1; distances still turned round: 1, 0.5. 1: .56; 2: .14 + .3; 3: -.7; 4: .15.
  const Fusion fusion{.kind = Fusion::Kind::kWeighted, .weights = {0.7, 0.3}, .normalize = false};
  ExpectHits(Fuse(Lists(), fusion), {{1, 0.56}, {2, 0.44}, {4, 0.15}, {3, -0.7}});
}

TEST(Fusion, ScoreOfAnInnerProduct) {
  EXPECT_NEAR(FusionScore(MetricType::kIp, 1, true), 0.75, 1e-9);
  EXPECT_NEAR(FusionScore(MetricType::kIp, -1, true), 0.25, 1e-9);
  EXPECT_EQ(FusionScore(MetricType::kIp, 3, false), 3);
}

}  // namespace
}  // namespace quiver::query
