#include "schema/geometry.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace quiver {
namespace {

bool Holds(SpatialRelation relation, std::string_view value, std::string_view constant, double meters = 0) {
  const SpatialTest test(relation, *WkbFromWkt(constant), meters);
  return SpatialTest::Session(test).Holds(*WkbFromWkt(value));
}

TEST(Geometry, TextsComeBack) {
  for (const char* wkt : {"POINT (30.123 -10.456)", "LINESTRING (0 0, 1 1, 2 0.1)", "POINT EMPTY",
                          "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (1 1, 1 2, 2 2, 2 1, 1 1))",
                          "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))"}) {
    EXPECT_EQ(WktFromWkb(*WkbFromWkt(wkt)), wkt);
  }
  EXPECT_EQ(WktFromWkb(*WkbFromWkt("point(1 2)")), "POINT (1 2)");
  EXPECT_EQ(*NormalizeWkb(*WkbFromWkt("POINT (1 2)")), *WkbFromWkt("POINT (1 2)"));
  EXPECT_TRUE(IsPoint(*WkbFromWkt("POINT (1 2)")));
  EXPECT_FALSE(IsPoint(*WkbFromWkt("MULTIPOINT ((1 2))")));
}

TEST(Geometry, RefusesWhatIsNone) {
  for (const char* wkt : {"", "INVALID WKT", "POINT()", "POLYGON((0 0, 1 0))", "LINESTRING(0)", "POINT (1 2",
                          "POINT (1 2) x", "POLYGON ((0 0, 1 0, 1 1, 0 1))"}) {
    EXPECT_FALSE(WkbFromWkt(wkt).ok()) << wkt;
  }
  EXPECT_FALSE(WkbFromWkt(std::string_view("POINT (1 2)\0x", 13)).ok());
  EXPECT_FALSE(NormalizeWkb("nonsense").ok());
  EXPECT_FALSE(NormalizeWkb("").ok());
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "GEOMETRYCOLLECTION(";
  EXPECT_FALSE(WkbFromWkt(deep).ok());
  std::string deep_wkb;
  for (int i = 0; i < 100'000; ++i) deep_wkb += std::string("\x01\x07\0\0\0\x01\0\0\0", 9);
  EXPECT_FALSE(NormalizeWkb(deep_wkb).ok());
  EXPECT_EQ(WktFromWkb("nonsense"), "");
}

TEST(Geometry, RelationsAreOfTheValueToTheConstant) {
  constexpr const char* kSquare = "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))";
  EXPECT_TRUE(Holds(SpatialRelation::kWithin, "POINT (5 5)", kSquare));
  EXPECT_FALSE(Holds(SpatialRelation::kWithin, "POINT (0 5)", kSquare));  // on the border only
  EXPECT_FALSE(Holds(SpatialRelation::kContains, "POINT (5 5)", kSquare));
  EXPECT_TRUE(Holds(SpatialRelation::kContains, kSquare, "POINT (5 5)"));
  EXPECT_TRUE(Holds(SpatialRelation::kIntersects, "POINT (0 5)", kSquare));
  EXPECT_TRUE(Holds(SpatialRelation::kTouches, "POINT (0 5)", kSquare));
  EXPECT_FALSE(Holds(SpatialRelation::kTouches, "POINT (5 5)", kSquare));
  EXPECT_TRUE(Holds(SpatialRelation::kOverlaps, "POLYGON ((5 5, 15 5, 15 15, 5 15, 5 5))", kSquare));
  EXPECT_FALSE(Holds(SpatialRelation::kOverlaps, kSquare, kSquare));
  EXPECT_TRUE(Holds(SpatialRelation::kEquals, "POLYGON ((10 10, 0 10, 0 0, 10 0, 10 10))", kSquare));
  EXPECT_FALSE(Holds(SpatialRelation::kEquals, "POINT (1 1)", kSquare));
  EXPECT_TRUE(Holds(SpatialRelation::kCrosses, "LINESTRING (-5 5, 15 5)", kSquare));
  EXPECT_FALSE(Holds(SpatialRelation::kCrosses, "LINESTRING (1 5, 2 5)", kSquare));
}

TEST(Geometry, DistancesAreMeters) {
  // One degree of latitude is 6371000 * pi / 180 = 111194.93 m.
  EXPECT_TRUE(Holds(SpatialRelation::kDistanceWithin, "POINT (0 1)", "POINT (0 0)", 111'195));
  EXPECT_FALSE(Holds(SpatialRelation::kDistanceWithin, "POINT (0 1)", "POINT (0 0)", 111'194));
  EXPECT_TRUE(Holds(SpatialRelation::kDistanceWithin, "POINT (1 60)", "POINT (0 60)", 55'600));  // half as long there
  EXPECT_FALSE(Holds(SpatialRelation::kDistanceWithin, "POINT (1 60)", "POINT (0 60)", 55'500));
  EXPECT_TRUE(Holds(SpatialRelation::kDistanceWithin, "LINESTRING (-1 1, 1 1)", "POINT (0 0)", 111'195));
  EXPECT_TRUE(Holds(SpatialRelation::kDistanceWithin, "POINT (0 0)", "POINT (0 0)", 0));
  EXPECT_FALSE(Holds(SpatialRelation::kDistanceWithin, "POINT EMPTY", "POINT (0 0)", 1e9));
}

TEST(Geometry, SelfCrossingIsNotValid) {
  EXPECT_TRUE(Holds(SpatialRelation::kIsValid, "POLYGON ((0 0, 1 0, 1 1, 0 0))", "POINT (0 0)"));
  EXPECT_FALSE(Holds(SpatialRelation::kIsValid, "POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))", "POINT (0 0)"));
}

TEST(Geometry, OneTestServesManyThreads) {
  const SpatialTest test(SpatialRelation::kWithin, *WkbFromWkt("POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))"));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        SpatialTest::Session session(test);
        EXPECT_TRUE(session.Holds(*WkbFromWkt("POINT (5 5)")));
        EXPECT_FALSE(session.Holds(*WkbFromWkt("POINT (11 5)")));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace quiver
