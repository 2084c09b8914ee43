// File: index/internal/build_crew.h
// BuildCrew: the threads of one build with a work buffer each, its progress, and whether it was cancelled.
// Thread rule: of the building thread; what ForAll calls runs on all of them.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/status.h"
#include "index/internal/graph_linking.h"
#include "index/vector_index.h"

namespace quiver::index {

class BuildCrew {
 public:
  explicit BuildCrew(const BuildControl& control) : control_(control), workers_(std::max<size_t>(1, control.threads)) {}

  [[nodiscard]] size_t size() const { return workers_.size(); }
  /// The work buffers of the building thread itself.
  [[nodiscard]] LinkScratch& first() { return workers_.front(); }
  /// Which of the crew has these work buffers.
  [[nodiscard]] size_t number_of(const LinkScratch& worker) const {
    return static_cast<size_t>(&worker - workers_.data());
  }
  [[nodiscard]] const BuildControl& control() const { return control_; }
  [[nodiscard]] bool Cancelled() const { return control_.cancelled && control_.cancelled(); }
  static Status CancelledStatus() { return Error(StatusCode::kCancelled, "the index build was cancelled"); }
  /// Called by the building thread alone. Progress never goes back.
  void Progress(double share) {
    progress_ = std::max(progress_, share);
    if (control_.on_progress) control_.on_progress(progress_);
  }

  /// Calls each(worker, i) for i < count, on all threads; in order when there is one thread.
  template <class Each>
  Status ForAll(uint32_t count, double progress_from, double progress_to, const Each& each) {
    constexpr uint32_t kGrain = 64;
    std::atomic<uint32_t> next{0};
    std::atomic<bool> stop{false};
    const auto run = [&](size_t worker) {
      while (!stop.load(std::memory_order_relaxed)) {
        const uint32_t first = next.fetch_add(kGrain, std::memory_order_relaxed);
        if (first >= count) return;
        const uint32_t end = std::min(count, first + kGrain);
        for (uint32_t i = first; i < end; ++i) each(workers_[worker], i);
        if (worker != 0) continue;
        if (Cancelled()) stop = true;
        Progress(progress_from + (progress_to - progress_from) * static_cast<double>(end) / count);
      }
    };
    {
      std::vector<std::jthread> threads;
      for (size_t t = 1; t < workers_.size() && count > kGrain; ++t) threads.emplace_back(run, t);
      run(0);
    }
    return stop ? CancelledStatus() : Status::Ok();
  }

 private:
  const BuildControl& control_;
  std::vector<LinkScratch> workers_;
  double progress_ = 0;
};

}  // namespace quiver::index
