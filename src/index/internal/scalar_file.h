// File: index/internal/scalar_file.h
// What tells files of scalar indexes from those of others. Thread rule: constants.
#pragma once

#include <cstddef>
#include <string_view>

#include "index/internal/section_file.h"

namespace quiver::index {

/// Rows of the segment, then the structure.
inline constexpr size_t kScalarHeadSize = 5;
inline constexpr SectionFileKind kScalarFileKind{
    .magic = std::string_view("QUIVSIX\0", 8), .version = 1, .head_size = kScalarHeadSize};

}  // namespace quiver::index
