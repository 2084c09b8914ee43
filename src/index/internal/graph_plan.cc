#include "index/internal/graph_plan.h"

namespace quiver::index {
namespace {

/// Encoding a query, ranking and scoring the last candidates.
constexpr double kStart = 4000;
/// A product of a query with a centre of a product code, for each of its dimensions.
constexpr double kLookup = 0.06;
/// A raw row that is scored: the miss, and its bytes.
constexpr double kScore = 60;
constexpr double kScoreByte = 0.06;
/// A word of the filter that is looked at.
constexpr double kWord = 0.7;
/// A word of a mask that is made of rows which are known.
constexpr double kMakeWord = 1;
/// More rows than these are left to the plans, whatever they cost.
constexpr double kMostToScore = 2000;
/// Of a walk through rows: a look at a vertex that may be seen already, or not match; and a row of links behind.
constexpr double kLook = 1.5;
constexpr double kLinkRow = 40;
/// Expansions for each candidate of such a walk, and distances for each expansion.
constexpr double kThroughExpansions = 1.5;
constexpr double kThroughDistances = 0.35;
constexpr double kLeastThrough = 0.02;

}  // namespace

/// Distances of an unfiltered walk, by the curve measured at build.
double GraphPlanner::Distances(double ef) const {
  const std::span<const GraphCurvePoint> curve = shape_.curve;
  if (curve.empty()) return shape_.degree * ef * 0.5;
  const GraphCurvePoint* before = nullptr;
  for (const GraphCurvePoint& point : curve) {
    if (point.ef >= ef) {
      if (before == nullptr) return static_cast<double>(point.distances);
      const double share = (ef - before->ef) / (point.ef - before->ef);
      return static_cast<double>(before->distances) + share * static_cast<double>(point.distances - before->distances);
    }
    before = &point;
  }
  return std::min(static_cast<double>(curve.back().distances) * ef / curve.back().ef, shape_.vertices);
}

/// Candidates that are scored exactly.
double GraphPlanner::Scored() const {
  const auto least = static_cast<double>(RefineCount(k_));
  const double most = std::max(static_cast<double>(ef_), least);
  return std::clamp(shape_.candidates * static_cast<double>(k_) / 10, least, most);
}

double GraphPlanner::PlainCost(SearchPlan plan, const GraphFilter& filter) const {
  const double words = filter.all ? 0 : shape_.rows / 64 * kWord;
  const double score = kScore + kScoreByte * shape_.row_bytes;
  const double start = kStart + kLookup * shape_.lookups;
  const double refine = Scored() * score;
  switch (plan) {
    case SearchPlan::kScoreMatches: return words + filter.matches * score;
    case SearchPlan::kScanCodes: {
      const double rest = shape_.sketch_bytes > 0 ? 4 * static_cast<double>(RefineCount(k_)) * WalkDistance() : 0;
      return start + refine + words + rest + filter.matches * ScanDistance();
    }
    case SearchPlan::kWalk:
      return start + refine +
             Distances(filter.all ? static_cast<double>(ef_) : WalkRoom(filter.share)) * WalkDistance();
    case SearchPlan::kWalkThrough: {
      // Fewer matches than these cannot be told from a filter that keeps away from the query.
      if (filter.share < kLeastThrough) break;
      const double share = filter.share;
      const double rows_behind = std::clamp(0.5 / std::max(share, 1e-9) - 1, 0.0, shape_.degree);
      const double expansion =
          (1 + rows_behind) * (kLinkRow + shape_.degree * kLook) + kThroughDistances * shape_.degree * WalkDistance();
      return start + refine + Distances(SeedRoom(share)) * WalkDistance() +
             kThroughExpansions * static_cast<double>(ThroughRoom()) * expansion;
    }
    case SearchPlan::kProbe:
    case SearchPlan::kPostings: break;
  }
  return std::numeric_limits<double>::infinity();
}

uint64_t GraphPlanner::RowsToScore() const {
  const GraphFilter none{.all = false, .matches = 0, .share = 0};
  const double start = Cost(SearchPlan::kScanCodes, none) + shape_.rows / 64 * kMakeWord;
  const double score = Factor(SearchPlan::kScoreMatches) * (kScore + kScoreByte * shape_.row_bytes);
  const double more = score - Factor(SearchPlan::kScanCodes) * ScanDistance();
  const double rows = more > 0 ? start / more : kMostToScore;
  return std::max<uint64_t>(2 * k_, static_cast<uint64_t>(std::min(rows, kMostToScore)));
}

SearchPlan GraphPlanner::Choose(const GraphFilter& filter) const {
  SearchPlan best = SearchPlan::kScanCodes;
  for (const SearchPlan plan : {SearchPlan::kScoreMatches, SearchPlan::kWalk, SearchPlan::kWalkThrough}) {
    if (filter.all && plan == SearchPlan::kWalkThrough) continue;
    if (Cost(plan, filter) < Cost(best, filter)) best = plan;
  }
  return best;
}

}  // namespace quiver::index
