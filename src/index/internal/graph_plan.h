// File: index/internal/graph_plan.h
// GraphPlanner: predicts what each way to answer a query on a graph costs, and chooses the cheapest.
//
//   score matches   all rows that match, exactly: few rows
//   scan codes      sketches (graph_sketch.h) or coarse codes of all rows that match: the bound of all other plans
//   walk            the walk of unfiltered searches, until enough rows that match were found: it passes 1 / share rows
//                   for each
//   walk through    a walk over rows that match only, which looks at the neighbours of those that do not
//
// Costs are in nanoseconds of one core. The constants come from `./dev bench filtered` on data E (200,000 x 384) and H
// (100,000 x 768), AVX2 on Zen 3; only their ratios matter, which move little between processors, since all of these
// plans wait for memory. What searches have taken on this machine corrects them (plan_timings.h).
// Thread rule: immutable.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "index/internal/graph_layout.h"
#include "index/internal/plan_timings.h"
#include "index/vector_index.h"

namespace quiver::index {

/// A graph as far as costs depend on it.
struct GraphShape {
  double rows = 0;
  double vertices = 0;
  double degree = 0;
  double row_bytes = 0;     ///< of a raw vector
  double coarse_bytes = 0;  ///< of a coarse code
  double sketch_bytes = 0;  ///< 0: there are none
  double lookups = 0;       ///< values looked up for a query on product codes; 0: there are other codes
  double candidates = 0;    ///< that a search for 10 rows scores exactly, where codes err so much; 0: RefineCount
  std::span<const GraphCurvePoint> curve;
};

/// A filter as far as a query has met it.
struct GraphFilter {
  bool all = false;    ///< every row matches
  double matches = 0;  ///< rows
  double share = 1;    ///< of the rows around the query; before a walk has seen them, of all
};

/// Candidates of a search for k rows that are scored exactly: so many for each hit wanted, and some more, for codes err
/// a little.
inline size_t RefineCount(size_t k) { return static_cast<size_t>(1.5 * static_cast<double>(k)) + 6; }

class GraphPlanner {
 public:
  /// `ef`: the room of an unfiltered walk. `timings` may be nullptr and must outlive it.
  GraphPlanner(const GraphShape& shape, size_t k, size_t ef, const PlanTimings* timings = nullptr)
      : shape_(shape), k_(k), ef_(ef), timings_(timings) {}

  [[nodiscard]] SearchPlan Choose(const GraphFilter& filter) const;
  /// The cost of a plan, by the constants and by what searches have taken.
  [[nodiscard]] double Cost(SearchPlan plan, const GraphFilter& filter) const {
    return Factor(plan) * PlainCost(plan, filter);
  }
  /// By the constants alone.
  [[nodiscard]] double PlainCost(SearchPlan plan, const GraphFilter& filter) const;

  /// Up to so many rows that match, scattered over the segment, cost less to score than to mark in a mask and scan by
  /// codes.
  [[nodiscard]] uint64_t RowsToScore() const;

  /// Rows that match, nearest first, that a walk must have beyond doubt before it ends: the k wanted and a margin for
  /// what it overlooks, which shrinks with the share, since the walk then reaches further beyond them anyway.
  [[nodiscard]] size_t WalkWanted(double share) const {
    const auto k = static_cast<double>(std::min(k_, ef_));
    return static_cast<size_t>(std::ceil(k + (static_cast<double>(ef_) - k) * std::pow(std::min(share, 1.0), 0.75)));
  }
  /// Candidates of any kind among which they are expected.
  [[nodiscard]] double WalkRoom(double share) const {
    return std::min(static_cast<double>(WalkWanted(share)) / std::max(share, 1e-9), std::max(shape_.vertices, 1.0));
  }
  /// Distances that a walk may compute before a scan would have been as cheap.
  [[nodiscard]] size_t WalkBudget(const GraphFilter& filter) const {
    const double distance = Factor(SearchPlan::kWalk) * WalkDistance();
    return static_cast<size_t>(
        std::max(Cost(SearchPlan::kScanCodes, filter) / distance, Distances(static_cast<double>(ef_))));
  }
  /// A walk through rows begins with what a plain one has met when it is sure of so many rows that match.
  static constexpr size_t kThroughSeeds = 3;
  [[nodiscard]] double SeedRoom(double share) const { return kThroughSeeds / std::max(share, 1e-9); }
  /// Distances after which it is known that the filter keeps away from the query.
  [[nodiscard]] size_t SeedBudget(const GraphFilter& filter) const {
    return static_cast<size_t>(4 * Distances(SeedRoom(filter.share)));
  }
  /// The room of a walk through rows: it meets fewer vertices on its way than others do.
  [[nodiscard]] size_t ThroughRoom() const { return 2 * ef_; }

 private:
  [[nodiscard]] double Distances(double ef) const;
  [[nodiscard]] double Scored() const;
  [[nodiscard]] double WalkDistance() const { return 40 + (shape_.lookups > 0 ? 0.25 : 0.11) * shape_.coarse_bytes; }
  [[nodiscard]] double ScanDistance() const {
    if (shape_.lookups > 0) return 5 + 0.25 * shape_.coarse_bytes;
    return shape_.sketch_bytes > 0 ? 4 + 0.14 * shape_.sketch_bytes : 5 + 0.065 * shape_.coarse_bytes;
  }

  [[nodiscard]] double Factor(SearchPlan plan) const { return timings_ == nullptr ? 1 : timings_->Factor(plan); }

  GraphShape shape_;
  size_t k_;
  size_t ef_;
  const PlanTimings* timings_;
};

}  // namespace quiver::index
