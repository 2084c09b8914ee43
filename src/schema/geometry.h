// File: schema/geometry.h
// GEOMETRY values: points, lines, polygons and collections of them in the plane. Texts are WKT ("POINT (30 10)"); a
// column holds WKB, the binary form, which is read several times faster.
// Thread rule: pure functions; a SpatialTest may be shared, each of its Sessions belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace quiver {

/// Reads WKT. A ring that is not closed, or has too few points, is an error; a polygon that crosses itself is not (see
/// SpatialRelation::kIsValid). Errors: kInvalidParameter with the reason.
Result<std::string> WkbFromWkt(std::string_view wkt);
/// Reads WKB of any byte order and writes it in ours. Errors: kInvalidParameter.
Result<std::string> NormalizeWkb(std::string_view wkb);
/// Shows a geometry: as few digits as keep every coordinate. Empty for bytes that are no WKB.
std::string WktFromWkb(std::string_view wkb);
/// Returns whether a WKT is a POINT; it is known to be well-formed.
bool IsPoint(std::string_view wkb);

/// A rectangle with its border.
struct Box {
  double min_x = 0;
  double min_y = 0;
  double max_x = 0;
  double max_y = 0;

  [[nodiscard]] bool Meets(const Box& other) const {
    return min_x <= other.max_x && other.min_x <= max_x && min_y <= other.max_y && other.min_y <= max_y;
  }
  bool operator==(const Box&) const = default;
};

/// What the bytes of a value take up in the plane.
struct Extent {
  bool sound = false;  ///< false: no WKB, which no relation holds for
  bool boxed = false;  ///< `box` is known; not for what is empty or has coordinates that are not finite
  Box box;
};
Extent ExtentOf(std::string_view wkb);

/// What is asked of a value `v` and a constant `c`; touches, overlaps and so on are as OGC simple features define them.
enum class SpatialRelation : uint8_t {
  kEquals,  ///< the same set of points
  kTouches,
  kOverlaps,
  kCrosses,
  kContains,  ///< v contains c
  kIntersects,
  kWithin,          ///< v lies within c
  kDistanceWithin,  ///< v comes within `meters` of c; coordinates are degrees of longitude and latitude on a sphere
  kIsValid,         ///< v is valid; there is no constant
};

/// One relation with one constant, prepared for many values.
class SpatialTest {
 public:
  /// `constant` is WKB (ignored by kIsValid), `meters` counts for kDistanceWithin.
  SpatialTest(SpatialRelation relation, std::string constant, double meters = 0);
  ~SpatialTest();
  SpatialTest(const SpatialTest&) = delete;
  SpatialTest& operator=(const SpatialTest&) = delete;

  [[nodiscard]] SpatialRelation relation() const { return relation_; }
  [[nodiscard]] const std::string& constant() const { return constant_; }
  [[nodiscard]] double meters() const { return meters_; }

  /// The relation holds for no value whose box does not meet the returned one; `bounds` is a box around all values.
  /// Nothing where boxes say nothing.
  [[nodiscard]] std::optional<Box> Reach(const Box& bounds) const;

  /// The prepared constant in the hands of one thread.
  class Session {
   public:
    explicit Session(const SpatialTest& test);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    /// False for bytes that are no WKB.
    bool Holds(std::string_view wkb);

   private:
    const SpatialTest& test_;
    std::unique_ptr<struct PreparedConstant> prepared_;
  };

 private:
  struct Pool;
  SpatialRelation relation_;
  std::string constant_;
  double meters_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace quiver
