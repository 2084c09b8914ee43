#include "schema/timestamp.h"

#include <absl/time/civil_time.h>
#include <absl/time/time.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>
#include <system_error>

namespace quiver {

struct TimeZone::Rules {
  absl::TimeZone zone;
};

namespace {

constexpr int64_t kSecond = 1'000'000;  // in microseconds
constexpr int64_t kDaySeconds = 86'400;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool Eat(std::string_view* text, char c) {
  if (text->empty() || text->front() != c) return false;
  text->remove_prefix(1);
  return true;
}

/// Reads exactly `digits` digits.
bool EatNumber(std::string_view* text, size_t digits, int* value) {
  if (text->size() < digits) return false;
  *value = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (!IsDigit((*text)[i])) return false;
    *value = *value * 10 + ((*text)[i] - '0');
  }
  text->remove_prefix(digits);
  return true;
}

/// What a text says: fields of a date that exists, and the offset where one is written.
struct WrittenTime {
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int64_t micros = 0;
  bool has_offset = false;
  int64_t offset_seconds = 0;

  /// Seconds since 1970 were the fields those of UTC.
  [[nodiscard]] int64_t AsUtc() const {
    const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
    return days * kDaySeconds + hour * 3600 + minute * 60 + second;
  }
};

bool EatOffset(std::string_view* text, WrittenTime* time) {
  if (text->empty()) return true;
  time->has_offset = true;
  if (*text == "Z" || *text == "z") return true;
  const int sign = text->front() == '-' ? -1 : 1;
  if (!Eat(text, '+') && !Eat(text, '-')) return false;
  int hour = 0;
  int minute = 0;
  if (!EatNumber(text, 2, &hour) || !Eat(text, ':') || !EatNumber(text, 2, &minute) || !text->empty()) return false;
  if (hour > 23 || minute > 59) return false;
  time->offset_seconds = sign * (hour * 3600 + minute * 60);
  return true;
}

bool ReadTime(std::string_view text, WrittenTime* time) {
  if (!EatNumber(&text, 4, &time->year) || !Eat(&text, '-') || !EatNumber(&text, 2, &time->month) || !Eat(&text, '-') ||
      !EatNumber(&text, 2, &time->day) || (!Eat(&text, 'T') && !Eat(&text, 't') && !Eat(&text, ' ')) ||
      !EatNumber(&text, 2, &time->hour) || !Eat(&text, ':') || !EatNumber(&text, 2, &time->minute) ||
      !Eat(&text, ':') || !EatNumber(&text, 2, &time->second)) {
    return false;
  }
  const std::chrono::year_month_day date{std::chrono::year(time->year),
                                         std::chrono::month(static_cast<unsigned>(time->month)),
                                         std::chrono::day(static_cast<unsigned>(time->day))};
  if (!date.ok() || time->hour > 23 || time->minute > 59 || time->second > 59) return false;
  if (Eat(&text, '.')) {
    if (text.empty() || !IsDigit(text.front())) return false;
    int64_t unit = kSecond / 10;
    for (; !text.empty() && IsDigit(text.front()); text.remove_prefix(1), unit /= 10) {
      time->micros += (text.front() - '0') * unit;
    }
  }
  return EatOffset(&text, time);
}

/// Splits microseconds into whole seconds (rounded down) and the rest.
struct SplitTime {
  int64_t seconds;
  int64_t micros;
};
SplitTime Split(int64_t micros) {
  int64_t seconds = micros / kSecond;
  int64_t rest = micros % kSecond;
  if (rest < 0) {
    rest += kSecond;
    --seconds;
  }
  return {seconds, rest};
}

/// seconds * 10^6 + micros, held at the smallest and largest value.
int64_t Join(int64_t seconds, int64_t micros) {
  int64_t total = 0;
  if (__builtin_mul_overflow(seconds, kSecond, &total) || __builtin_add_overflow(total, micros, &total)) {
    return seconds < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
  }
  return total;
}

/// Reads the units of `units` in order, each at most once, each after digits; adds count * factor to *sums.
bool EatUnits(std::string_view* text, std::string_view units, const int64_t* factors, int64_t* const* sums,
              size_t* count) {
  constexpr int64_t kMost = 400'000'000'000;  // more seconds than 10,000 years have
  size_t unit = 0;
  while (!text->empty() && IsDigit(text->front())) {
    int64_t value = 0;
    size_t digits = 0;
    for (; digits < text->size() && IsDigit((*text)[digits]); ++digits) {
      value = std::min(value * 10 + ((*text)[digits] - '0'), kMost);
    }
    if (digits == text->size()) return false;
    while (unit < units.size() && units[unit] != (*text)[digits]) ++unit;
    if (unit == units.size()) return false;
    if (value > kMost / factors[unit]) return false;
    *sums[unit] += value * factors[unit];
    if (*sums[unit] > kMost) return false;
    ++unit;
    ++*count;
    text->remove_prefix(digits + 1);
  }
  return true;
}

}  // namespace

TimeZone::TimeZone() = default;

Result<TimeZone> TimeZone::Load(const std::string& name) {
  TimeZone zone;
  if (name == "UTC") return zone;
  auto rules = std::make_shared<Rules>();
  // The library would also take "localtime" and paths; a zone is a file of the database.
  std::error_code error;
  const bool plain = !name.empty() && name.front() != '/' && name.find("..") == std::string::npos &&
                     std::filesystem::is_regular_file("/usr/share/zoneinfo/" + name, error);
  if (!plain || !absl::LoadTimeZone(name, &rules->zone)) {
    return InvalidParameter("unknown or invalid IANA Time Zone ID: {}: invalid parameter", name);
  }
  zone.rules_ = std::move(rules);
  return zone;
}

Result<int64_t> ParseTimestamp(std::string_view text, const TimeZone& zone) {
  WrittenTime time;
  if (!ReadTime(text, &time)) {
    return InvalidParameter("invalid timestamp string: '{}'. Does not match any known format", text.substr(0, 200));
  }
  int64_t seconds = time.AsUtc();
  if (time.has_offset) {
    seconds -= time.offset_seconds;
  } else if (zone.rules_ != nullptr) {
    const absl::CivilSecond civil(time.year, time.month, time.day, time.hour, time.minute, time.second);
    seconds = absl::ToUnixSeconds(zone.rules_->zone.At(civil).pre);
  }
  const int64_t micros = Join(seconds, time.micros);
  if (micros < kMinTimestamp || micros > kMaxTimestamp) {
    return InvalidParameter("timestamp '{}' is out of range, expected the years 0000 to 9999 of UTC", text);
  }
  return micros;
}

std::string FormatTimestamp(int64_t micros, const TimeZone& zone) {
  const SplitTime time = Split(micros);
  int64_t offset = 0;
  absl::CivilSecond civil;
  if (zone.rules_ == nullptr) {
    civil = absl::UTCTimeZone().At(absl::FromUnixSeconds(time.seconds)).cs;
  } else {
    const auto info = zone.rules_->zone.At(absl::FromUnixSeconds(time.seconds));
    civil = info.cs;
    offset = info.offset;
  }
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", civil.year(), civil.month(), civil.day(),
                                 civil.hour(), civil.minute(), civil.second());
  if (time.micros != 0) {
    text += fmt::format(".{:06}", time.micros);
    while (text.back() == '0') text.pop_back();
  }
  if (offset == 0) return text + "Z";
  const int64_t minutes = std::abs(offset) / 60;
  return text + fmt::format("{}{:02}:{:02}", offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

bool ParseInterval(std::string_view text, Interval* interval) {
  Interval read;
  int64_t* const date_sums[] = {&read.months, &read.months, &read.seconds};
  constexpr int64_t kDateFactors[] = {12, 1, kDaySeconds};
  int64_t* const time_sums[] = {&read.seconds, &read.seconds, &read.seconds};
  constexpr int64_t kTimeFactors[] = {3600, 60, 1};
  size_t parts = 0;
  if (!Eat(&text, 'P') || !EatUnits(&text, "YMD", kDateFactors, date_sums, &parts)) return false;
  if (Eat(&text, 'T')) {
    const size_t before = parts;
    if (!EatUnits(&text, "HMS", kTimeFactors, time_sums, &parts) || parts == before) return false;
  }
  if (!text.empty() || parts == 0 || read.months > 120'000) return false;
  *interval = read;
  return true;
}

int64_t AddInterval(int64_t micros, const Interval& interval, int sign) {
  SplitTime time = Split(micros);
  if (interval.months != 0) {
    const absl::CivilSecond civil = absl::UTCTimeZone().At(absl::FromUnixSeconds(time.seconds)).cs;
    const absl::CivilSecond moved(civil.year(), civil.month() + sign * static_cast<int>(interval.months), civil.day(),
                                  civil.hour(), civil.minute(), civil.second());
    time.seconds = absl::ToUnixSeconds(absl::FromCivil(moved, absl::UTCTimeZone()));
  }
  return Join(time.seconds + sign * interval.seconds, time.micros);
}

}  // namespace quiver
