// File: cli/hdf5_file.h
// Reads arrays from HDF5 files. Thread rule: one thread at a time, as the library wants it.
#pragma once

#include <cstddef>
#include <string>

#include "base/status.h"
#include "cli/number_array.h"

namespace quiver::cli {

/// Reads a two-dimensional data set, or its first `most_rows` rows (0: all). Floats of any width become f4; bytes stay
/// bytes, integers of four and eight bytes what they are, others i8. Errors name the file and the data set: what is no
/// HDF5 file, a data set that is not there, not of two dimensions or not of numbers, bytes that cannot be read.
Result<NumberArray> ReadHdf5(const std::string& path, const std::string& name, size_t most_rows);

}  // namespace quiver::cli
