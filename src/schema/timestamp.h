// File: schema/timestamp.h
// TIMESTAMPTZ values: ISO 8601 texts, time zones and calendar intervals. A value is a moment, held as microseconds
// since 1970-01-01T00:00:00Z; the zone only decides how texts without an offset are read and how moments are shown.
// Thread rule: plain values and pure functions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace quiver {

/// A zone of the IANA time zone database, as "UTC" or "Asia/Shanghai".
class TimeZone {
 public:
  /// UTC.
  TimeZone();
  /// Errors: kInvalidParameter "unknown or invalid IANA Time Zone ID: {name}".
  static Result<TimeZone> Load(const std::string& name);

 private:
  friend Result<int64_t> ParseTimestamp(std::string_view text, const TimeZone& zone);
  friend std::string FormatTimestamp(int64_t micros, const TimeZone& zone);
  struct Rules;
  std::shared_ptr<const Rules> rules_;  ///< nullptr = UTC
};

/// The property of databases and collections, and the parameter of requests, that names a zone.
inline constexpr std::string_view kTimeZoneKey = "timezone";

/// The moments that can be stored: 0000-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z.
inline constexpr int64_t kMinTimestamp = -62'167'219'200'000'000;
inline constexpr int64_t kMaxTimestamp = 253'402'300'799'999'999;

/// Reads YYYY-MM-DD(T| )hh:mm:ss[.fraction][Z|+hh:mm|-hh:mm]; without an offset it is a time of the zone (the earlier
/// moment where the clock is set back). Digits beyond microseconds are cut off. Errors: kInvalidParameter "invalid
/// timestamp string: '...'. Does not match any known format".
Result<int64_t> ParseTimestamp(std::string_view text, const TimeZone& zone);

/// Shows a moment in the zone: "2025-05-01T07:59:59.5+08:00", "...Z" where the offset is zero; trailing zeros of the
/// fraction are left out.
std::string FormatTimestamp(int64_t micros, const TimeZone& zone);

/// A length of time by the calendar: months differ in length, days are 24 hours.
struct Interval {
  int64_t months = 0;
  int64_t seconds = 0;
  bool operator==(const Interval&) const = default;
};

/// Reads an ISO 8601 duration P[nY][nM][nD][T[nH][nM][nS]] of whole numbers; false where it is none or beyond 10,000
/// years.
bool ParseInterval(std::string_view text, Interval* interval);

/// Adds an interval (subtracts it with `sign` -1) by the calendar of UTC; a day beyond the end of a month runs into the
/// next one (January 31 + P1M is March 3, or 2 in leap years). Ends at the smallest and largest value.
int64_t AddInterval(int64_t micros, const Interval& interval, int sign);

}  // namespace quiver
