// File: expr/time_text.h
// Checks of the ISO 8601 texts that filters may hold.
// Thread rule: pure functions.
#pragma once

#include <string_view>

namespace quiver::expr {

/// P[nY][nM][nD][T[nH][nM][nS]] with whole numbers.
bool IsIsoDuration(std::string_view text);
/// YYYY-MM-DDThh:mm:ss[.fraction][Z|+hh:mm|-hh:mm], a date that exists.
bool IsIsoTimestamp(std::string_view text);

}  // namespace quiver::expr
