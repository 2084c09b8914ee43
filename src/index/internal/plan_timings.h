// File: index/internal/plan_timings.h
// PlanTimings: how long the plans of an index take on this machine, against what they are expected to. Expected costs
// come from constants that were measured on one machine; searches that are timed correct them, each index for itself,
// and an index that was not searched yet begins with what the other indexes of the process have shown.
// Thread rule: may be used by any number of threads; no call blocks.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "index/vector_index.h"

namespace quiver::index {

class PlanTimings {
 public:
  /// Indexes whose costs come from the same constants.
  enum class Family : uint8_t { kGraph, kLists, kFilteredLists };

  explicit PlanTimings(Family family) : machine_(of_machine[static_cast<size_t>(family)]) {}
  /// By what the expected cost of a plan is to be multiplied, 1/4 to 4. The plans of one index are compared with each
  /// other only, so one that was timed nowhere is taken to err like the others of the index.
  [[nodiscard]] double Factor(SearchPlan plan) const;
  /// A search by this plan was expected to take `expected` nanoseconds of CPU time by the constants alone, and took
  /// `taken`.
  void Add(SearchPlan plan, double expected, double taken);

 private:
  struct Mean {
    std::atomic<float> log{0};     ///< mean of log2(taken / expected), of which later searches count more
    std::atomic<float> factor{1};  ///< 2 to the power of it, in steps
    std::atomic<uint32_t> searches{0};

    void Add(float sample);
    [[nodiscard]] bool believed() const;
  };
  using Means = std::array<Mean, kSearchPlans>;
  static Means of_machine[3];  ///< of all indexes of a family

  Means& machine_;
  Means means_;
};

/// Times every so manieth search of a thread, since reading the clock costs a fraction of a microsecond.
class PlanTimer {
 public:
  /// `timings` may be nullptr: nothing is timed.
  explicit PlanTimer(PlanTimings* timings);
  /// Ends the search, which went by `plan` from its beginning to its end.
  void End(SearchPlan plan, double expected) const;

 private:
  PlanTimings* timings_;
  double start_ = 0;
};

}  // namespace quiver::index
