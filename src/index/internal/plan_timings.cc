#include "index/internal/plan_timings.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "index/search_measure.h"

namespace quiver::index {
namespace {

/// One search counts for so much of a mean.
constexpr float kWeight = 1.0f / 32;
/// A plan is believed after so many searches; before, it is taken for one that was never timed.
constexpr uint32_t kBelieved = 16;
/// A factor stays as it is until the mean, as a power of two, is so far from it.
constexpr float kStep = 0.3f;
/// Beyond a factor of 4 it was not the plan that took the time.
constexpr float kMostLog = 2;
/// Of the searches of a thread one of so many is timed.
constexpr uint32_t kTimedOf = 8;
/// What takes less is decided by fixed costs.
constexpr double kLeastExpected = 5000;

std::atomic<bool> searches_are_timed{true};

}  // namespace

PlanTimings::Means PlanTimings::of_machine[3];

void SetSearchTiming(bool on) { searches_are_timed.store(on, std::memory_order_relaxed); }

void PlanTimings::Mean::Add(float sample) {
  // Threads that meet here lose a sample at most.
  const uint32_t before = searches.load(std::memory_order_relaxed);
  const float old = log.load(std::memory_order_relaxed);
  const float weight = std::max(kWeight, 1.0f / static_cast<float>(before + 1));
  const float mean = old + weight * (sample - old);
  log.store(mean, std::memory_order_relaxed);
  // Answers should not change with every search that was timed.
  if (before + 1 == kBelieved || std::abs(mean - std::log2(factor.load(std::memory_order_relaxed))) > kStep)
    factor.store(std::exp2(mean), std::memory_order_relaxed);
  if (static_cast<float>(before) < 1 / kWeight) searches.store(before + 1, std::memory_order_relaxed);
}

bool PlanTimings::Mean::believed() const { return searches.load(std::memory_order_relaxed) >= kBelieved; }

double PlanTimings::Factor(SearchPlan plan) const {
  if (!searches_are_timed.load(std::memory_order_relaxed)) return 1;
  const auto at = static_cast<size_t>(plan);
  for (const Means* means : {&std::as_const(means_), &std::as_const(machine_)}) {
    if ((*means)[at].believed()) return static_cast<double>((*means)[at].factor.load(std::memory_order_relaxed));
  }
  double sum = 0;
  size_t known = 0;
  for (const Mean& mean : means_) {
    if (!mean.believed()) continue;
    sum += std::log2(static_cast<double>(mean.factor.load(std::memory_order_relaxed)));
    ++known;
  }
  return known == 0 ? 1 : std::exp2(sum / static_cast<double>(known));
}

void PlanTimings::Add(SearchPlan plan, double expected, double taken) {
  if (!(expected >= kLeastExpected) || !(taken > 0)) return;
  const float sample = std::clamp(static_cast<float>(std::log2(taken / expected)), -kMostLog, kMostLog);
  means_[static_cast<size_t>(plan)].Add(sample);
  machine_[static_cast<size_t>(plan)].Add(sample);
}

PlanTimer::PlanTimer(PlanTimings* timings) : timings_(timings) {
  thread_local uint32_t searches = 0;
  if (timings_ != nullptr && (searches++ % kTimedOf != 0 || !searches_are_timed.load(std::memory_order_relaxed))) {
    timings_ = nullptr;
  }
  if (timings_ != nullptr) start_ = ThreadCpuSeconds();
}

void PlanTimer::End(SearchPlan plan, double expected) const {
  if (timings_ != nullptr) timings_->Add(plan, expected, (ThreadCpuSeconds() - start_) * 1e9);
}

}  // namespace quiver::index
