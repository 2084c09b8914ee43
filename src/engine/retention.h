// File: engine/retention.h
// Retention: which dead versions of rows must still be kept, because somebody may read at a moment when they lived.
// Thread rule: a plain value.
#pragma once

#include <algorithm>
#include <vector>

#include "engine/collection_info.h"

namespace quiver::engine {

struct Retention {
  Timestamp horizon = 0;        ///< every moment from here on may be read
  std::vector<Timestamp> pins;  ///< moments before it that may be read too (named snapshots), ascending
  Timestamp expired =
      0;  ///< rows inserted at or before this have outlived the TTL at every readable moment but the pins

  /// Returns whether a version that lived in [inserted, deleted) is visible at a moment that may be read.
  [[nodiscard]] bool Needs(Timestamp inserted, Timestamp deleted) const {
    if (deleted > horizon && inserted > expired) return true;
    const auto pin = std::lower_bound(pins.begin(), pins.end(), inserted);
    return pin != pins.end() && *pin < deleted;
  }
};

}  // namespace quiver::engine
