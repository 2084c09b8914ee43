#include "storage/internal/value_sample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

namespace quiver::storage::internal {
namespace {

using expr::kMostStatisticsText;
using expr::ValueRows;
using expr::ValueStatistics;

struct StatisticsHeader {
  uint64_t values;
  uint32_t top;
  uint32_t buckets;
};
static_assert(sizeof(StatisticsHeader) == 16);

struct StatisticsEntry {
  uint64_t number;  // i64 or f64
  uint64_t rows;
  std::array<char, kMostStatisticsText> text;
  uint8_t length;
  std::array<uint8_t, 7> reserved;
};
static_assert(sizeof(StatisticsEntry) == 48);

ValueRows EntryOf(int64_t value) { return {.integer = value}; }
ValueRows EntryOf(double value) { return {.real = value}; }
/// Cut between characters.
ValueRows EntryOf(const std::string& value) {
  size_t end = std::min(value.size(), kMostStatisticsText);
  while (end > 0 && end < value.size() && (static_cast<unsigned char>(value[end]) & 0xC0U) == 0x80U) --end;
  return {.text = value.substr(0, end)};
}

template <typename T>
bool WasCut(const T& value) {
  if constexpr (std::is_same_v<T, std::string>) {
    return value.size() > kMostStatisticsText;
  } else {
    return false;
  }
}

/// Equal values of a sorted sample.
struct Run {
  size_t begin = 0;
  size_t count = 0;
  bool is_top = false;
};

/// Chooses the values that are frequent enough to be told apart from the others.
void ChooseTop(std::vector<Run>& runs, size_t sampled, const auto& cut) {
  std::vector<size_t> order;
  const bool all = runs.size() <= ValueSample::kMostTop;
  for (size_t i = 0; i < runs.size(); ++i) {
    // A quarter more than their share, and seen more than once.
    const bool frequent = runs[i].count > 1 && runs[i].count * runs.size() * 4 > sampled * 5;
    if ((all || frequent) && !cut(runs[i])) order.push_back(i);
  }
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return runs[a].count != runs[b].count ? runs[a].count > runs[b].count : a < b; });
  if (order.size() > ValueSample::kMostTop) order.resize(ValueSample::kMostTop);
  for (const size_t i : order) runs[i].is_top = true;
}

template <typename T>
ValueStatistics MakeStatistics(std::vector<T>& sample, uint64_t seen) {
  std::sort(sample.begin(), sample.end());
  std::vector<Run> runs;
  for (size_t i = 0; i < sample.size(); ++i) {
    if (i == 0 || sample[i] != sample[i - 1]) runs.push_back({.begin = i});
    ++runs.back().count;
  }
  ChooseTop(runs, sample.size(), [&](const Run& run) { return WasCut(sample[run.begin]); });
  ValueStatistics statistics;
  statistics.values = seen;
  const double scale = static_cast<double>(seen) / static_cast<double>(sample.size());
  const auto rows_of = [scale](size_t count) {
    return static_cast<uint64_t>(std::llround(static_cast<double>(count) * scale));
  };
  size_t rest = 0;
  for (const Run& run : runs) {
    if (run.is_top) {
      statistics.top.push_back(EntryOf(sample[run.begin]));
      statistics.top.back().rows = rows_of(run.count);
    } else {
      if (rest == 0) statistics.least = EntryOf(sample[run.begin]);
      rest += run.count;
    }
  }
  std::sort(statistics.top.begin(), statistics.top.end(), [](const ValueRows& a, const ValueRows& b) {
    if (a.rows != b.rows) return a.rows > b.rows;
    return a.integer != b.integer ? a.integer < b.integer : a.real != b.real ? a.real < b.real : a.text < b.text;
  });
  size_t filled = 0;
  size_t done = 0;
  for (const Run& run : runs) {
    if (run.is_top) continue;
    filled += run.count;
    const bool last = done + filled == rest;
    if (!last && filled * ValueSample::kBuckets < rest) continue;
    statistics.buckets.push_back(EntryOf(sample[run.begin]));
    statistics.buckets.back().rows = rows_of(filled);
    done += std::exchange(filled, 0);
  }
  return statistics;
}

StatisticsEntry Pack(const ValueRows& value, DataType type) {
  StatisticsEntry entry{};
  if (IsFloating(type)) {
    std::memcpy(&entry.number, &value.real, sizeof(entry.number));
  } else {
    std::memcpy(&entry.number, &value.integer, sizeof(entry.number));
  }
  entry.rows = value.rows;
  entry.length = static_cast<uint8_t>(std::min(value.text.size(), kMostStatisticsText));
  std::copy_n(value.text.begin(), entry.length, entry.text.begin());
  return entry;
}

ValueRows Unpack(const StatisticsEntry& entry, DataType type) {
  ValueRows value;
  if (IsFloating(type)) {
    std::memcpy(&value.real, &entry.number, sizeof(entry.number));
  } else {
    std::memcpy(&value.integer, &entry.number, sizeof(entry.number));
  }
  value.rows = entry.rows;
  value.text.assign(entry.text.data(), entry.length);
  return value;
}

}  // namespace

void ValueSample::DrawGap() {
  constexpr double kUnit = 0x1p-53;
  const auto draw = [this] { return (static_cast<double>(random_() >> 11U) + 1) * kUnit; };  // (0, 1]
  weight_ *= std::exp(std::log(draw()) / static_cast<double>(kMost));
  const double gap = std::floor(std::log(draw()) / std::log1p(-std::min(weight_, 1 - kUnit)));
  next_ = seen_ + static_cast<uint64_t>(std::min(gap, 1e15));
}

std::optional<ValueStatistics> ValueSample::Finish(uint64_t distinct) {
  if (seen_ == 0) return std::nullopt;
  ValueStatistics statistics = !integers_.empty() ? MakeStatistics(integers_, seen_)
                               : !reals_.empty()  ? MakeStatistics(reals_, seen_)
                                                  : MakeStatistics(texts_, seen_);
  statistics.distinct = distinct;
  return statistics;
}

std::string EncodeStatistics(const ValueStatistics& statistics, DataType type) {
  const StatisticsHeader header{.values = statistics.values,
                                .top = static_cast<uint32_t>(statistics.top.size()),
                                .buckets = static_cast<uint32_t>(statistics.buckets.size())};
  std::vector<StatisticsEntry> entries;
  entries.push_back(Pack(statistics.least, type));
  for (const ValueRows& value : statistics.top) entries.push_back(Pack(value, type));
  for (const ValueRows& value : statistics.buckets) entries.push_back(Pack(value, type));
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof(header));
  bytes.append(reinterpret_cast<const char*>(entries.data()), entries.size() * sizeof(StatisticsEntry));
  return bytes;
}

std::optional<ValueStatistics> DecodeStatistics(std::string_view bytes, DataType type, uint64_t distinct) {
  StatisticsHeader header;
  if (bytes.size() < sizeof(header)) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof(header));
  const uint64_t entries = uint64_t{header.top} + header.buckets + 1;
  if (header.top > ValueSample::kMostTop || bytes.size() != sizeof(header) + entries * sizeof(StatisticsEntry)) {
    return std::nullopt;
  }
  ValueStatistics statistics{.values = header.values, .distinct = distinct};
  const bool text = !IsFixedScalar(type);
  for (uint64_t i = 0; i < entries; ++i) {
    StatisticsEntry entry;
    std::memcpy(&entry, bytes.data() + sizeof(header) + i * sizeof(entry), sizeof(entry));
    if (entry.length > (text ? kMostStatisticsText : 0)) return std::nullopt;
    ValueRows value = Unpack(entry, type);
    if (IsFloating(type) && std::isnan(value.real)) return std::nullopt;
    if (i == 0) {
      statistics.least = std::move(value);
    } else {
      (i <= header.top ? statistics.top : statistics.buckets).push_back(std::move(value));
    }
  }
  return statistics;
}

}  // namespace quiver::storage::internal
