#include "schema/geometry.h"

#include <geos_c.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <numbers>
#include <utility>
#include <vector>

namespace quiver {
namespace {

/// The library's state of one thread, with the last error that it told.
class Geos {
 public:
  Geos() : handle_(GEOS_init_r()) {
    GEOSContext_setErrorMessageHandler_r(
        handle_, [](const char* message, void* self) { static_cast<Geos*>(self)->error_ = message; }, this);
    wkt_reader_ = GEOSWKTReader_create_r(handle_);
    wkb_reader_ = GEOSWKBReader_create_r(handle_);
    wkb_writer_ = GEOSWKBWriter_create_r(handle_);
    GEOSWKBWriter_setByteOrder_r(handle_, wkb_writer_, GEOS_WKB_NDR);
    GEOSWKBWriter_setIncludeSRID_r(handle_, wkb_writer_, 0);
    wkt_writer_ = GEOSWKTWriter_create_r(handle_);
    GEOSWKTWriter_setTrim_r(handle_, wkt_writer_, 1);
    GEOSWKTWriter_setRoundingPrecision_r(handle_, wkt_writer_, -1);
  }
  Geos(const Geos&) = delete;
  Geos& operator=(const Geos&) = delete;
  ~Geos() {
    GEOSWKTReader_destroy_r(handle_, wkt_reader_);
    GEOSWKBReader_destroy_r(handle_, wkb_reader_);
    GEOSWKBWriter_destroy_r(handle_, wkb_writer_);
    GEOSWKTWriter_destroy_r(handle_, wkt_writer_);
    GEOS_finish_r(handle_);
  }

  static Geos& OfThread() {
    thread_local Geos geos;
    return geos;
  }

  [[nodiscard]] GEOSContextHandle_t handle() const { return handle_; }
  [[nodiscard]] const std::string& error() const { return error_; }
  GEOSGeometry* ReadWkt(const std::string& wkt) { return GEOSWKTReader_read_r(handle_, wkt_reader_, wkt.c_str()); }
  GEOSGeometry* ReadWkb(std::string_view wkb) {
    return GEOSWKBReader_read_r(handle_, wkb_reader_, reinterpret_cast<const unsigned char*>(wkb.data()), wkb.size());
  }
  std::string WriteWkb(const GEOSGeometry* geometry) {
    size_t size = 0;
    unsigned char* bytes = GEOSWKBWriter_write_r(handle_, wkb_writer_, geometry, &size);
    std::string wkb(reinterpret_cast<const char*>(bytes), bytes == nullptr ? 0 : size);
    GEOSFree_r(handle_, bytes);
    return wkb;
  }
  std::string WriteWkt(const GEOSGeometry* geometry) {
    char* text = GEOSWKTWriter_write_r(handle_, wkt_writer_, geometry);
    std::string wkt(text == nullptr ? "" : text);
    GEOSFree_r(handle_, text);
    return wkt;
  }

 private:
  GEOSContextHandle_t handle_;
  GEOSWKTReader* wkt_reader_;
  GEOSWKBReader* wkb_reader_;
  GEOSWKBWriter* wkb_writer_;
  GEOSWKTWriter* wkt_writer_;
  std::string error_;
};

struct GeometryDeleter {
  void operator()(GEOSGeometry* geometry) const { GEOSGeom_destroy_r(Geos::OfThread().handle(), geometry); }
};
using Geometry = std::unique_ptr<GEOSGeometry, GeometryDeleter>;

/// Deepest nesting of collections: the library reads them recursively.
constexpr int kMaxDepth = 64;

/// Returns whether brackets nest no deeper than geometries may.
bool IsShallow(std::string_view wkt) {
  int depth = 0;
  for (const char c : wkt) {
    if (c == '(' && ++depth > kMaxDepth) return false;
    if (c == ')') --depth;
  }
  return true;
}

/// The library stops reading behind the first geometry; nothing but blanks may follow it.
bool IsWhole(std::string_view wkt) {
  constexpr std::string_view kBlanks = " \t\r\n";
  int depth = 0;
  for (size_t i = 0; i < wkt.size(); ++i) {
    if (wkt[i] == '(') ++depth;
    if (wkt[i] == ')' && --depth == 0) return wkt.find_first_not_of(kBlanks, i + 1) == std::string_view::npos;
  }
  const size_t last = wkt.find_last_not_of(kBlanks);
  return last != std::string_view::npos && (wkt[last] == 'Y' || wkt[last] == 'y');  // ... EMPTY
}

/// As IsShallow, of WKB: a header of five bytes for each level.
bool IsShallowWkb(std::string_view wkb) {
  // A collection begins with byte order, type 4..7 and a count; only the first member can nest as deep as the bytes go.
  int depth = 0;
  for (size_t at = 0; at + 9 <= wkb.size(); at += 9) {
    uint32_t type = 0;
    std::memcpy(&type, wkb.data() + at + 1, sizeof(type));
    if (wkb[at] == 0) type = __builtin_bswap32(type);
    if ((type & 0xFFU) != 7 && (type % 1000) != 7) return true;
    if (++depth > kMaxDepth) return false;
  }
  return true;
}

double Radians(double degrees) { return degrees * std::numbers::pi / 180; }

constexpr double kEarthRadius = 6'371'000;

/// Length of the arc between two points on a sphere of the earth's mean radius.
double ArcMeters(double longitude_a, double latitude_a, double longitude_b, double latitude_b) {
  const double half_latitude = std::sin(Radians(latitude_b - latitude_a) / 2);
  const double half_longitude = std::sin(Radians(longitude_b - longitude_a) / 2);
  const double chord = half_latitude * half_latitude +
                       std::cos(Radians(latitude_a)) * std::cos(Radians(latitude_b)) * half_longitude * half_longitude;
  return 2 * kEarthRadius * std::asin(std::sqrt(std::min(1.0, chord)));
}

/// Distance of the two points that lie closest in the plane of degrees; infinite where one of them is empty.
double DistanceMeters(GEOSContextHandle_t handle, const GEOSGeometry* a, const GEOSGeometry* b) {
  GEOSCoordSequence* nearest = GEOSNearestPoints_r(handle, a, b);
  if (nearest == nullptr) return INFINITY;
  double x[2] = {};
  double y[2] = {};
  for (unsigned i = 0; i < 2; ++i) GEOSCoordSeq_getXY_r(handle, nearest, i, &x[i], &y[i]);
  GEOSCoordSeq_destroy_r(handle, nearest);
  return ArcMeters(x[0], y[0], x[1], y[1]);
}

}  // namespace

Result<std::string> WkbFromWkt(std::string_view wkt) {
  Geos& geos = Geos::OfThread();
  if (!IsShallow(wkt)) return InvalidParameter("invalid WKT: nested deeper than {} levels", kMaxDepth);
  const Geometry geometry(geos.ReadWkt(std::string(wkt)));
  if (geometry == nullptr) return InvalidParameter("invalid WKT: {}: {}", wkt.substr(0, 200), geos.error());
  if (wkt.find('\0') != std::string_view::npos || !IsWhole(wkt)) {
    return InvalidParameter("invalid WKT: {}: more follows behind the geometry", wkt.substr(0, 200));
  }
  return geos.WriteWkb(geometry.get());
}

Result<std::string> NormalizeWkb(std::string_view wkb) {
  Geos& geos = Geos::OfThread();
  if (!IsShallowWkb(wkb)) return InvalidParameter("invalid WKB: nested deeper than {} levels", kMaxDepth);
  const Geometry geometry(geos.ReadWkb(wkb));
  if (geometry == nullptr) return InvalidParameter("invalid WKB: {}", geos.error());
  return geos.WriteWkb(geometry.get());
}

std::string WktFromWkb(std::string_view wkb) {
  Geos& geos = Geos::OfThread();
  const Geometry geometry(geos.ReadWkb(wkb));
  return geometry == nullptr ? "" : geos.WriteWkt(geometry.get());
}

bool IsPoint(std::string_view wkb) {
  Geos& geos = Geos::OfThread();
  const Geometry geometry(geos.ReadWkb(wkb));
  return geometry != nullptr && GEOSGeomTypeId_r(geos.handle(), geometry.get()) == GEOS_POINT;
}

Extent ExtentOf(std::string_view wkb) {
  Geos& geos = Geos::OfThread();
  const Geometry geometry(geos.ReadWkb(wkb));
  Extent extent;
  if (geometry == nullptr) return extent;
  extent.sound = true;
  Box& box = extent.box;
  extent.boxed =
      GEOSGeom_getExtent_r(geos.handle(), geometry.get(), &box.min_x, &box.min_y, &box.max_x, &box.max_y) == 1 &&
      std::isfinite(box.min_x) && std::isfinite(box.min_y) && std::isfinite(box.max_x) && std::isfinite(box.max_y) &&
      box.min_x <= box.max_x && box.min_y <= box.max_y;
  return extent;
}

/// Prepared geometries build their indexes when first asked, so each is for one thread at a time.
struct PreparedConstant {
  explicit PreparedConstant(std::string_view wkb) : geometry(Geos::OfThread().ReadWkb(wkb)) {
    if (geometry != nullptr) prepared = GEOSPrepare_r(Geos::OfThread().handle(), geometry.get());
  }
  PreparedConstant(const PreparedConstant&) = delete;
  PreparedConstant& operator=(const PreparedConstant&) = delete;
  ~PreparedConstant() {
    if (prepared != nullptr) GEOSPreparedGeom_destroy_r(Geos::OfThread().handle(), prepared);
  }

  Geometry geometry;
  const GEOSPreparedGeometry* prepared = nullptr;
};

struct SpatialTest::Pool {
  std::mutex mutex;
  std::vector<std::unique_ptr<PreparedConstant>> idle;
};

SpatialTest::SpatialTest(SpatialRelation relation, std::string constant, double meters)
    : relation_(relation), constant_(std::move(constant)), meters_(meters), pool_(std::make_unique<Pool>()) {}
SpatialTest::~SpatialTest() = default;

std::optional<Box> SpatialTest::Reach(const Box& bounds) const {
  if (relation_ == SpatialRelation::kIsValid) return std::nullopt;
  const Extent extent = ExtentOf(constant_);
  if (!extent.boxed) return std::nullopt;
  Box box = extent.box;
  if (relation_ != SpatialRelation::kDistanceWithin) return box;
  // An arc is no shorter than its difference of latitudes, and the points within an angle of a point reach so far in
  // longitude. Both hold for coordinates of the globe only; across the line where longitudes wrap the second does not.
  const auto on_globe = [](const Box& b) {
    return b.min_x >= -180 && b.max_x <= 180 && b.min_y >= -90 && b.max_y <= 90;
  };
  if (!on_globe(bounds) || !on_globe(box) || !(meters_ >= 0)) return std::nullopt;
  constexpr double kSlack = 1e-7;  // degrees, above what rounding loses
  const double angle = meters_ / kEarthRadius;
  const double latitudes = angle / Radians(1) + kSlack;
  const double farthest = std::max(std::abs(box.min_y), std::abs(box.max_y));
  double longitudes = 360;
  if (farthest + latitudes < 89.9) {
    longitudes = std::asin(std::sin(angle) / std::cos(Radians(farthest))) / Radians(1) + kSlack;
  }
  if (box.min_x - longitudes < -180 || box.max_x + longitudes > 180) longitudes = 360;
  return Box{box.min_x - longitudes, box.min_y - latitudes, box.max_x + longitudes, box.max_y + latitudes};
}

SpatialTest::Session::Session(const SpatialTest& test) : test_(test) {
  if (test.relation_ == SpatialRelation::kIsValid) return;
  {
    const std::lock_guard lock(test.pool_->mutex);
    if (!test.pool_->idle.empty()) {
      prepared_ = std::move(test.pool_->idle.back());
      test.pool_->idle.pop_back();
    }
  }
  if (prepared_ == nullptr) prepared_ = std::make_unique<PreparedConstant>(test.constant_);
}

SpatialTest::Session::~Session() {
  if (prepared_ == nullptr) return;
  const std::lock_guard lock(test_.pool_->mutex);
  test_.pool_->idle.push_back(std::move(prepared_));
}

bool SpatialTest::Session::Holds(std::string_view wkb) {
  Geos& geos = Geos::OfThread();
  GEOSContextHandle_t handle = geos.handle();
  const Geometry value(geos.ReadWkb(wkb));
  if (value == nullptr) return false;
  if (test_.relation_ == SpatialRelation::kIsValid) return GEOSisValid_r(handle, value.get()) == 1;
  const GEOSPreparedGeometry* constant = prepared_->prepared;
  if (constant == nullptr) return false;
  switch (test_.relation_) {
    // The constant is the prepared side, so the sides change places.
    case SpatialRelation::kContains: return GEOSPreparedWithin_r(handle, constant, value.get()) == 1;
    case SpatialRelation::kWithin: return GEOSPreparedContains_r(handle, constant, value.get()) == 1;
    case SpatialRelation::kTouches: return GEOSPreparedTouches_r(handle, constant, value.get()) == 1;
    case SpatialRelation::kOverlaps: return GEOSPreparedOverlaps_r(handle, constant, value.get()) == 1;
    case SpatialRelation::kCrosses: return GEOSPreparedCrosses_r(handle, constant, value.get()) == 1;
    case SpatialRelation::kIntersects: return GEOSPreparedIntersects_r(handle, constant, value.get()) == 1;
    case SpatialRelation::kDistanceWithin:
      return DistanceMeters(handle, value.get(), prepared_->geometry.get()) <= test_.meters_;
    default: return GEOSEquals_r(handle, prepared_->geometry.get(), value.get()) == 1;
  }
}

}  // namespace quiver
