// File: cli/vector_file.h
// Files of vectors as the field exchanges them: .fvecs, .bvecs, .ivecs (http://corpus-texmex.irisa.fr), .npy
// (NumPy format 1 to 3, C order), .fbin (u32 rows, u32 dim, f32 values) and .hdf5 (as ann-benchmarks publishes its
// sets: "train", "test" and "neighbors" in one file). Thread rule: immutable once read; .hdf5 is read by one thread at
// a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "schema/column.h"

namespace quiver::cli {

/// Vectors of one type, row after row.
struct VectorFile {
  DataType type = DataType::kFloatVector;  ///< FLOAT_VECTOR, FLOAT16_VECTOR or INT8_VECTOR
  size_t rows = 0;
  size_t dim = 0;
  std::string bytes;

  [[nodiscard]] size_t width() const { return FixedWidth(type, static_cast<int64_t>(dim)); }
  [[nodiscard]] std::string_view row(size_t i) const { return std::string_view(bytes).substr(i * width(), width()); }
  [[nodiscard]] ColumnView View() const;
};

/// Reads vectors by the file's ending. Unsigned bytes of .bvecs and .npy become f32. `most_rows` = 0 reads all.
/// Of .hdf5 the data set `hdf5_name` is read, or the one that stands behind the path as "FILE.hdf5:NAME"; doubles and
/// half floats in it become f32. Errors name the file and what is wrong with it: an ending that is not known, a
/// dimension that changes, a length that is no whole number of rows, values that are not finite, Fortran order.
Result<VectorFile> ReadVectorFile(const std::string& path, size_t most_rows = 0, std::string_view hdf5_name = "train");

/// Row numbers, `width` for each query: the neighbours of a benchmark (.ivecs, .npy of i4, u4 or i8, or "neighbors" of
/// .hdf5).
struct RowFile {
  size_t rows = 0;
  size_t width = 0;
  std::vector<int64_t> ids;
};
Result<RowFile> ReadRowFile(const std::string& path);

/// Writes row numbers as .ivecs or .npy (i8), by the ending. -1 stands where there are fewer hits.
Status WriteRowFile(const RowFile& file, const std::string& path);

/// Writes a file anew; what was there is replaced once the new bytes are written.
Status WriteFile(const std::string& path, std::string_view bytes);

}  // namespace quiver::cli
