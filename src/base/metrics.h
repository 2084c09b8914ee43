// File: base/metrics.h
// Metrics of the process in the Prometheus text format: counters, gauges, histograms, with labels.
//
//   static metrics::Counter& requests = metrics::Registry::Global().GetCounter(
//       "quiver_requests_total", "Requests answered.", {{"rpc", "Search"}});
//   requests.Add();
//
// Handles are obtained once and live as long as the registry; updating one is a relaxed atomic operation. Names and
// labels are fixed at registration. Thread rule: everything may be called from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quiver::metrics {

/// Label names and values, in the order in which they are printed.
using Labels = std::vector<std::pair<std::string, std::string>>;

/// A count that only grows.
class alignas(64) Counter {
 public:
  void Add(uint64_t amount = 1) { value_.fetch_add(amount, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

/// A value that goes up and down.
class alignas(64) Gauge {
 public:
  void Set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void Add(int64_t amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  [[nodiscard]] int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

/// Counts of observations by size.
class alignas(64) Histogram {
 public:
  /// `bounds` are the upper bounds of the buckets, ascending; a bucket for everything above is added.
  explicit Histogram(std::span<const double> bounds);
  void Observe(double value);
  [[nodiscard]] uint64_t count() const;
  [[nodiscard]] double sum() const { return sum_.load(std::memory_order_relaxed); }
  [[nodiscard]] const std::vector<double>& bounds() const { return bounds_; }
  /// Observations at or below bounds()[i], for every i; the last element is the total.
  [[nodiscard]] std::vector<uint64_t> Cumulative() const;

 private:
  const std::vector<double> bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> counts_;
  std::atomic<double> sum_{0};
};

/// Bucket bounds for latencies in seconds: 25 us to 60 s, about a factor of two apart.
std::span<const double> LatencyBounds();

enum class CallbackKind : uint8_t { kCounter, kGauge };

class Registry {
 public:
  /// The registry of the process, shown at /metrics.
  static Registry& Global();

  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  /// Returns the metric of this name and these labels, made on first use. One name has one kind and one help text.
  Counter& GetCounter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge& GetGauge(std::string_view name, std::string_view help, const Labels& labels = {});
  Histogram& GetHistogram(std::string_view name, std::string_view help, std::span<const double> bounds,
                          const Labels& labels = {});

  /// Keeps a callback registered while it lives.
  class [[nodiscard]] Registration {
   public:
    Registration() = default;
    Registration(Registration&& other) noexcept { *this = std::move(other); }
    Registration& operator=(Registration&& other) noexcept;
    ~Registration() { Remove(); }
    void Remove();

   private:
    friend class Registry;
    Registry* registry_ = nullptr;
    uint64_t id_ = 0;
  };

  /// Registers a value that is read when the metrics are printed. `read` is called without the registry's lock being
  /// needed by anyone else than Text; it must not call the registry. Once the Registration is gone, so are its calls.
  Registration AddCallback(CallbackKind kind, std::string_view name, std::string_view help, const Labels& labels,
                           std::function<double()> read);

  /// All metrics in the Prometheus text exposition format 0.0.4, sorted by name.
  [[nodiscard]] std::string Text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quiver::metrics
