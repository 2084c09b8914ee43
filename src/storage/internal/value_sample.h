// File: storage/internal/value_sample.h
// ValueSample: draws a sample of a column's values while it is written and makes expr::ValueStatistics of it; and the
// bytes of these (docs/formats.md, section 20). The same values in the same order give the same statistics.
// Thread rule: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "expr/value_statistics.h"
#include "schema/data_type.h"

namespace quiver::storage::internal {

class ValueSample {
 public:
  /// Up to so many values all are taken; above, each has the same chance.
  static constexpr size_t kMost = 16384;
  static constexpr size_t kMostTop = 16;
  static constexpr size_t kBuckets = 32;

  /// Takes the next value, neither NULL nor NaN.
  void Add(int64_t value) {
    if (const size_t place = NextPlace(); place != kNowhere) Slot(integers_, place) = value;
  }
  void Add(double value) {
    if (const size_t place = NextPlace(); place != kNowhere) Slot(reals_, place) = value;
  }
  void Add(std::string_view value) {
    // One byte more than is kept tells that something was cut.
    if (const size_t place = NextPlace(); place != kNowhere) {
      Slot(texts_, place) = value.substr(0, expr::kMostStatisticsText + 1);
    }
  }

  /// `distinct`: different values of the column. Nothing where no value was added. To be called once.
  [[nodiscard]] std::optional<expr::ValueStatistics> Finish(uint64_t distinct);

 private:
  static constexpr size_t kNowhere = SIZE_MAX;

  /// Where the next value goes (Vitter's algorithm R, with the gaps between taken values drawn at once: Li's L).
  size_t NextPlace() {
    const uint64_t at = seen_++;
    if (at >= kMost && at < next_) return kNowhere;
    if (at + 1 < kMost) return static_cast<size_t>(at);
    const size_t place = at < kMost ? static_cast<size_t>(at) : static_cast<size_t>(random_() % kMost);
    DrawGap();
    return place;
  }
  void DrawGap();
  template <typename T>
  static T& Slot(std::vector<T>& values, size_t place) {
    if (place == values.size()) values.emplace_back();
    return values[place];
  }

  uint64_t seen_ = 0;
  uint64_t next_ = 0;  // the next value that is taken once kMost have been seen
  double weight_ = 1;
  std::mt19937_64 random_{1};  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same column gives the same file
  std::vector<int64_t> integers_;
  std::vector<double> reals_;
  std::vector<std::string> texts_;
};

/// The contents of section 20.
std::string EncodeStatistics(const expr::ValueStatistics& statistics, DataType type);
/// Nothing where the bytes do not hold together.
std::optional<expr::ValueStatistics> DecodeStatistics(std::string_view bytes, DataType type, uint64_t distinct);

}  // namespace quiver::storage::internal
