#include "schema/timestamp.h"

#include <gtest/gtest.h>

namespace quiver {
namespace {

constexpr int64_t kMayFirst2025 = 1'746'057'600'000'000;  // 2025-05-01T00:00:00Z

std::string Round(const std::string& text, const std::string& zone_name = "UTC") {
  const auto zone = TimeZone::Load(zone_name);
  if (!zone.ok()) return zone.status().message();
  const auto micros = ParseTimestamp(text, *zone);
  return micros.ok() ? FormatTimestamp(*micros, *zone) : micros.status().message();
}

TEST(Timestamp, ReadsOffsetsAndShowsTheZone) {
  EXPECT_EQ(*ParseTimestamp("2025-05-01T00:00:00Z", {}), kMayFirst2025);
  EXPECT_EQ(*ParseTimestamp("2025-05-01 08:00:00+08:00", {}), kMayFirst2025);
  EXPECT_EQ(*ParseTimestamp("2025-04-30T19:30:00.000001-04:30", {}), kMayFirst2025 + 1);
  EXPECT_EQ(*ParseTimestamp("1969-12-31T23:59:59.9999999Z", {}), -1);
  EXPECT_EQ(Round("2025-05-01T23:59:59+08:00"), "2025-05-01T15:59:59Z");
  EXPECT_EQ(Round("2025-05-01T15:59:59Z", "Asia/Shanghai"), "2025-05-01T23:59:59+08:00");
  EXPECT_EQ(Round("2025-05-01T23:59:59", "Asia/Shanghai"), "2025-05-01T23:59:59+08:00");
  EXPECT_EQ(Round("1969-12-31T23:59:59.25Z"), "1969-12-31T23:59:59.25Z");
  EXPECT_EQ(*ParseTimestamp("0000-01-01T00:00:00Z", {}), kMinTimestamp);
  EXPECT_EQ(*ParseTimestamp("9999-12-31T23:59:59.999999Z", {}), kMaxTimestamp);
  EXPECT_FALSE(ParseTimestamp("9999-12-31T23:59:59-01:00", {}).ok());
  EXPECT_EQ(Round("0001-01-01T00:00:00Z"), "0001-01-01T00:00:00Z");
  EXPECT_EQ(Round("9999-12-31T23:59:59.999999Z"), "9999-12-31T23:59:59.999999Z");
}

TEST(Timestamp, FollowsDaylightSaving) {
  EXPECT_EQ(Round("2025-01-15T12:00:00", "America/New_York"), "2025-01-15T12:00:00-05:00");
  EXPECT_EQ(Round("2025-07-15T12:00:00", "America/New_York"), "2025-07-15T12:00:00-04:00");
  // 02:30 does not exist on this day, 01:30 exists twice on the other.
  EXPECT_EQ(Round("2025-03-09T02:30:00", "America/New_York"), "2025-03-09T03:30:00-04:00");
  EXPECT_EQ(Round("2025-11-02T01:30:00", "America/New_York"), "2025-11-02T01:30:00-04:00");
}

TEST(Timestamp, RefusesWhatIsNoMoment) {
  for (const char* text :
       {"", "2025-05-01", "2025-13-01T00:00:00Z", "2025-02-29T00:00:00Z", "2025-05-01T24:00:00Z",
        "2025-05-01T23:60:00Z", "2025-05-01T00:00:00.Z", "2025-05-01T00:00:00+8:00", "2025-05-01T00:00:00+24:00",
        "2025-05-01T00:00:00ZZ", "25-05-01T00:00:00Z", "2025-05-01T00:00:00 Z", "now"}) {
    const auto micros = ParseTimestamp(text, {});
    ASSERT_FALSE(micros.ok()) << text;
    EXPECT_NE(micros.status().message().find("Does not match any known format"), std::string::npos);
  }
  for (const char* name : {"", "localtime2", "../UTC", "/etc/localtime", "Asia", "UTC+8"}) {
    EXPECT_FALSE(TimeZone::Load(name).ok()) << name;
  }
}

TEST(Interval, ReadsDurations) {
  Interval interval;
  ASSERT_TRUE(ParseInterval("P1Y2M3DT4H5M6S", &interval));
  EXPECT_EQ(interval, (Interval{14, 3 * 86400 + 4 * 3600 + 5 * 60 + 6}));
  ASSERT_TRUE(ParseInterval("PT30M", &interval));
  EXPECT_EQ(interval, (Interval{0, 1800}));
  ASSERT_TRUE(ParseInterval("P0D", &interval));
  EXPECT_EQ(interval, Interval{});
  for (const char* text : {"", "P", "PT", "1D", "P1", "P1DT", "P1H", "PT1D", "P1M1Y", "P1D1D", "P1.5D", "P-1D", "P1W",
                           "P99999999999999999999Y", "P10001Y"}) {
    EXPECT_FALSE(ParseInterval(text, &interval)) << text;
  }
}

TEST(Interval, AddsByTheCalendar) {
  const auto add = [](const char* text, const char* duration, int sign) {
    Interval interval;
    EXPECT_TRUE(ParseInterval(duration, &interval));
    return FormatTimestamp(AddInterval(*ParseTimestamp(text, {}), interval, sign), {});
  };
  EXPECT_EQ(add("2025-01-31T10:00:00.5Z", "P1M", 1), "2025-03-03T10:00:00.5Z");
  EXPECT_EQ(add("2024-02-29T00:00:00Z", "P1Y", 1), "2025-03-01T00:00:00Z");
  EXPECT_EQ(add("2025-03-15T00:00:00Z", "P6M", -1), "2024-09-15T00:00:00Z");
  EXPECT_EQ(add("2025-01-01T00:00:00Z", "PT1S", -1), "2024-12-31T23:59:59Z");
  EXPECT_EQ(AddInterval(INT64_MAX, {0, 1}, 1), INT64_MAX);
  EXPECT_EQ(AddInterval(INT64_MIN, {0, 1}, -1), INT64_MIN);
}

}  // namespace
}  // namespace quiver
