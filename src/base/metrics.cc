#include "base/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <map>
#include <mutex>

namespace quiver::metrics {

namespace {

enum class Kind : uint8_t { kCounter, kGauge, kHistogram };

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kCounter: return "counter";
    case Kind::kGauge: return "gauge";
    case Kind::kHistogram: return "histogram";
  }
  return "untyped";
}

void AppendEscaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out.append("\\\\");
    } else if (c == '\n') {
      out.append("\\n");
    } else if (c == '"' && quotes) {
      out.append("\\\"");
    } else {
      out.push_back(c);
    }
  }
}

/// Labels as they are printed, without the braces: a="1",b="2".
std::string LabelText(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (!text.empty()) text.push_back(',');
    text.append(name);
    text.append("=\"");
    AppendEscaped(text, value, true);
    text.push_back('"');
  }
  return text;
}

void AppendSample(std::string& out, std::string_view name, std::string_view suffix, std::string_view labels,
                  std::string_view extra_label, std::string_view value) {
  out.append(name).append(suffix);
  if (!labels.empty() || !extra_label.empty()) {
    out.push_back('{');
    out.append(labels);
    if (!labels.empty() && !extra_label.empty()) out.push_back(',');
    out.append(extra_label);
    out.push_back('}');
  }
  out.push_back(' ');
  out.append(value);
  out.push_back('\n');
}

std::string NumberText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (value == std::floor(value) && std::abs(value) < 1e15) return fmt::format("{}", static_cast<int64_t>(value));
  return fmt::format("{}", value);
}

struct Callback {
  uint64_t id = 0;
  std::string labels;
  std::function<double()> read;
};

/// All metrics of one name.
struct Family {
  Kind kind = Kind::kCounter;
  std::string help;
  std::map<std::string, std::unique_ptr<Counter>> counters;
  std::map<std::string, std::unique_ptr<Gauge>> gauges;
  std::map<std::string, std::unique_ptr<Histogram>> histograms;
  std::vector<Callback> callbacks;
};

void AppendFamily(std::string& out, const std::string& name, const Family& family) {
  out.append("# HELP ").append(name).push_back(' ');
  AppendEscaped(out, family.help, false);
  out.append("\n# TYPE ").append(name).push_back(' ');
  out.append(KindName(family.kind)).push_back('\n');
  for (const auto& [labels, counter] : family.counters) {
    AppendSample(out, name, "", labels, "", std::to_string(counter->value()));
  }
  for (const auto& [labels, gauge] : family.gauges) {
    AppendSample(out, name, "", labels, "", std::to_string(gauge->value()));
  }
  for (const Callback& callback : family.callbacks) {
    AppendSample(out, name, "", callback.labels, "", NumberText(callback.read()));
  }
  for (const auto& [labels, histogram] : family.histograms) {
    // Read once, so that the total is the last bucket even while others observe.
    const std::vector<double>& bounds = histogram->bounds();
    const std::vector<uint64_t> cumulative = histogram->Cumulative();
    for (size_t i = 0; i <= bounds.size(); ++i) {
      const std::string bound = i == bounds.size() ? "+Inf" : NumberText(bounds[i]);
      AppendSample(out, name, "_bucket", labels, fmt::format("le=\"{}\"", bound), std::to_string(cumulative[i]));
    }
    AppendSample(out, name, "_sum", labels, "", fmt::format("{}", histogram->sum()));
    AppendSample(out, name, "_count", labels, "", std::to_string(cumulative.back()));
  }
}

}  // namespace

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()), counts_(std::make_unique<std::atomic<uint64_t>[]>(bounds.size() + 1)) {
  assert(std::is_sorted(bounds_.begin(), bounds_.end()));
}

void Histogram::Observe(double value) {
  const auto bucket = static_cast<size_t>(std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin());
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

std::vector<uint64_t> Histogram::Cumulative() const {
  std::vector<uint64_t> cumulative(bounds_.size() + 1);
  uint64_t total = 0;
  for (size_t i = 0; i < cumulative.size(); ++i) {
    total += counts_[i].load(std::memory_order_relaxed);
    cumulative[i] = total;
  }
  return cumulative;
}

uint64_t Histogram::count() const { return Cumulative().back(); }

std::span<const double> LatencyBounds() {
  static constexpr std::array kBounds{25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3,
                                      50e-3, 0.1,   0.25,   0.5,    1.0,    2.5,  5.0,    10.0, 30.0,  60.0};
  return kBounds;
}

struct Registry::Impl {
  mutable std::mutex mutex;
  std::map<std::string, Family, std::less<>> families;
  uint64_t next_id = 1;

  Family& Get(Kind kind, std::string_view name, std::string_view help) {
    auto found = families.find(name);
    if (found == families.end()) {
      found = families.emplace(std::string(name), Family{.kind = kind, .help = std::string(help)}).first;
    }
    assert(found->second.kind == kind && "one metric name has one kind");
    return found->second;
  }
};

Registry& Registry::Global() {
  // Never destroyed: handles are used until the last thread ends.
  static auto* registry = new Registry;  // NOLINT
  return *registry;
}

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

Counter& Registry::GetCounter(std::string_view name, std::string_view help, const Labels& labels) {
  const std::lock_guard lock(impl_->mutex);
  auto& slot = impl_->Get(Kind::kCounter, name, help).counters[LabelText(labels)];
  if (!slot) slot = std::make_unique<Counter>();
  return *slot;
}

Gauge& Registry::GetGauge(std::string_view name, std::string_view help, const Labels& labels) {
  const std::lock_guard lock(impl_->mutex);
  auto& slot = impl_->Get(Kind::kGauge, name, help).gauges[LabelText(labels)];
  if (!slot) slot = std::make_unique<Gauge>();
  return *slot;
}

Histogram& Registry::GetHistogram(std::string_view name, std::string_view help, std::span<const double> bounds,
                                  const Labels& labels) {
  const std::lock_guard lock(impl_->mutex);
  auto& slot = impl_->Get(Kind::kHistogram, name, help).histograms[LabelText(labels)];
  if (!slot) slot = std::make_unique<Histogram>(bounds);
  return *slot;
}

Registry::Registration Registry::AddCallback(CallbackKind kind, std::string_view name, std::string_view help,
                                             const Labels& labels, std::function<double()> read) {
  const std::lock_guard lock(impl_->mutex);
  Family& family = impl_->Get(kind == CallbackKind::kCounter ? Kind::kCounter : Kind::kGauge, name, help);
  Registration registration;
  registration.registry_ = this;
  registration.id_ = impl_->next_id++;
  family.callbacks.push_back({.id = registration.id_, .labels = LabelText(labels), .read = std::move(read)});
  return registration;
}

Registry::Registration& Registry::Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    Remove();
    registry_ = std::exchange(other.registry_, nullptr);
    id_ = other.id_;
  }
  return *this;
}

void Registry::Registration::Remove() {
  Registry* registry = std::exchange(registry_, nullptr);
  if (registry == nullptr) return;
  const std::lock_guard lock(registry->impl_->mutex);
  for (auto& [name, family] : registry->impl_->families) {
    if (std::erase_if(family.callbacks, [this](const Callback& callback) { return callback.id == id_; }) != 0) return;
  }
}

std::string Registry::Text() const {
  const std::lock_guard lock(impl_->mutex);
  std::string out;
  for (const auto& [name, family] : impl_->families) {
    if (family.counters.empty() && family.gauges.empty() && family.histograms.empty() && family.callbacks.empty()) {
      continue;
    }
    AppendFamily(out, name, family);
  }
  return out;
}

}  // namespace quiver::metrics
