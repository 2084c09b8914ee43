// File: expr/value_statistics.h
// ValueStatistics: how the values of a scalar field are spread over a segment: its most frequent values, and of all
// others a histogram whose buckets hold about equally many rows. They are drawn from a sample, so row numbers are
// estimates. Explanations use them to expect how many rows a term keeps (expr/page_facts.cc).
//
//   const double rows = statistics->RowsWithin<int64_t>({.lower = 10, .upper = 20});
//
// Thread rule: immutable once filled.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace quiver::expr {

/// A value with rows; which of the three it is follows from the type of the field.
struct ValueRows {
  int64_t integer = 0;  ///< integers, booleans (0, 1), timestamps
  double real = 0;      ///< floating types
  std::string text;     ///< strings, at most kMostStatisticsText bytes
  uint64_t rows = 0;

  bool operator==(const ValueRows&) const = default;
};

/// Longer strings are cut: they are never among the frequent values, and bound buckets as what is left of them.
inline constexpr size_t kMostStatisticsText = 24;

/// Accepted values; nothing = unbounded. `Value`: int64_t, double or std::string_view.
template <typename Value>
struct ValueInterval {
  std::optional<Value> lower;
  std::optional<Value> upper;
  bool lower_inclusive = true;
  bool upper_inclusive = true;

  [[nodiscard]] bool Holds(const Value& value) const {
    if (lower.has_value() && (lower_inclusive ? value < *lower : value <= *lower)) return false;
    return !upper.has_value() || (upper_inclusive ? value <= *upper : value < *upper);
  }
};

struct ValueStatistics {
  uint64_t values = 0;             ///< rows that are neither NULL nor NaN
  uint64_t distinct = 0;           ///< different values
  std::vector<ValueRows> top;      ///< the most frequent ones, most rows first
  ValueRows least;                 ///< the lower bound of the first bucket
  std::vector<ValueRows> buckets;  ///< their upper bounds, ascending, each with the rows of the bucket

  /// Rows whose value lies in the interval.
  template <typename Value>
  [[nodiscard]] double RowsWithin(const ValueInterval<Value>& interval) const {
    double rows = 0;
    for (const ValueRows& one : top) {
      if (interval.Holds(Of<Value>(one))) rows += static_cast<double>(one.rows);
    }
    Value low = Of<Value>(least);
    for (const ValueRows& bucket : buckets) {
      const Value high = Of<Value>(bucket);
      rows += static_cast<double>(bucket.rows) * ShareWithin(interval, low, high);
      low = high;
    }
    return rows;
  }

  /// Rows that hold exactly this value.
  template <typename Value>
  [[nodiscard]] double RowsEqual(const Value& value) const {
    for (const ValueRows& one : top) {
      if (Of<Value>(one) == value) return static_cast<double>(one.rows);
    }
    if (buckets.empty() || value < Of<Value>(least)) return 0;
    // A cut bound stands for longer strings.
    if (Of<Value>(buckets.back()) < value && !BeginsWithLast(value)) return 0;
    double rows = 0;
    for (const ValueRows& bucket : buckets) rows += static_cast<double>(bucket.rows);
    return rows / static_cast<double>(std::max<uint64_t>(distinct, top.size() + 1) - top.size());
  }

 private:
  template <typename Value>
  [[nodiscard]] static Value Of(const ValueRows& one) {
    if constexpr (std::is_same_v<Value, int64_t>) {
      return one.integer;
    } else if constexpr (std::is_same_v<Value, double>) {
      return one.real;
    } else {
      return one.text;
    }
  }

  template <typename Value>
  [[nodiscard]] bool BeginsWithLast(const Value& value) const {
    if constexpr (std::is_same_v<Value, std::string_view>) {
      constexpr size_t kLongestCharacter = 4;
      return buckets.back().text.size() + kLongestCharacter > kMostStatisticsText &&
             value.starts_with(buckets.back().text);
    } else {
      return false;
    }
  }

  /// Where `value` lies between the bounds of a bucket: 0 = at the lower, 1 = at the upper.
  [[nodiscard]] static double Place(int64_t value, int64_t low, int64_t high) {
    return Place(static_cast<double>(value), static_cast<double>(low), static_cast<double>(high));
  }
  [[nodiscard]] static double Place(double value, double low, double high) {
    return high <= low ? (value < high ? 0.0 : 1.0) : std::clamp((value - low) / (high - low), 0.0, 1.0);
  }
  /// Strings by the six bytes behind what the bounds have in common.
  [[nodiscard]] static double Place(std::string_view value, std::string_view low, std::string_view high) {
    if (value <= low) return low == high && value == high ? 1 : 0;
    if (value >= high) return 1;
    const auto [in_low, in_high] = std::mismatch(low.begin(), low.end(), high.begin(), high.end());
    const auto common = static_cast<size_t>(in_high - high.begin());
    const auto number = [common](std::string_view text) {
      constexpr size_t kBytes = 6;
      double sum = 0;
      for (size_t i = common; i < common + kBytes; ++i) {
        sum = sum * 256 + (i < text.size() ? static_cast<double>(static_cast<unsigned char>(text[i])) : 0.0);
      }
      return sum;
    };
    return Place(number(value), number(low), number(high));
  }

  template <typename Value>
  [[nodiscard]] static double ShareWithin(const ValueInterval<Value>& interval, const Value& low, const Value& high) {
    if (!(low < high)) return interval.Holds(high) ? 1 : 0;
    const double from = interval.lower.has_value() ? Place(*interval.lower, low, high) : 0;
    const double to = interval.upper.has_value() ? Place(*interval.upper, low, high) : 1;
    return std::max(to - from, 0.0);
  }
};

}  // namespace quiver::expr
