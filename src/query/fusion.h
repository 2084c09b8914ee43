// File: query/fusion.h
// Fusion of ranked lists into one, larger scores being better: reciprocal ranks (RRF) or weighted scores.
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "index/flat_search.h"
#include "schema/data_type.h"

namespace quiver::query {

struct Fusion {
  enum class Kind : uint8_t { kRrf, kWeighted };
  Kind kind = Kind::kRrf;
  double k = 60;                ///< of RRF: a row at rank r, from 1, adds 1 / (k + r)
  std::vector<double> weights;  ///< of weighted: one per list
  bool normalize = false;       ///< of weighted: scores are brought to [0, 1] first
};

/// One search's hits, best first.
struct RankedList {
  MetricType metric = MetricType::kNone;
  std::vector<index::Hit> hits;
};

/// What a score counts in a weighted sum. Normalised: cosine (1 + s) / 2, inner product 1/2 + atan(s) / pi, distances
/// 1 - 2 atan(d) / pi. As it is: similarities s, distances, which must turn round, the same as normalised.
double FusionScore(MetricType metric, double score, bool normalize);

/// Each row once, best first, ties by row id.
std::vector<index::Hit> Fuse(const std::vector<RankedList>& lists, const Fusion& fusion);

}  // namespace quiver::query
