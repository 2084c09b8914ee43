// File: cli/number_array.h
// NumberArray: rows of numbers as a file holds them. Thread rule: plain data.
#pragma once

#include <cstddef>
#include <string>

namespace quiver::cli {

/// A two-dimensional array, row after row, before its type is known to fit.
struct NumberArray {
  std::string descriptor;  ///< NumPy's without the byte order, which is little-endian: "f4", "i8"
  size_t rows = 0;
  size_t columns = 0;
  size_t value_bytes = 0;
  std::string bytes;
};

}  // namespace quiver::cli
