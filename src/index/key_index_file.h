// File: index/key_index_file.h
// KeyIndexFile: vector indexes of single values of the partition key, all of one segment and one vector field in one
// file. A segment is sorted by its key, so the rows of a value are a run; its index is that of a collection of just
// these rows, numbered from the first of them. Such a file stands beside the index over all rows (docs/formats.md,
// "Key index files"), is derived like it and may be missing.
//
//   KeyIndexFileWriter writer(segment_rows, key_field_id);
//   writer.Add({.first_row = 4000, .rows = 20'000, .index = index_bytes, .tuning = tuning_bytes});
//   WriteFile(KeyIndexFileName(index_name), writer.Take());
//   QUIVER_ASSIGN_OR_RETURN(const KeyIndexFile file, OpenKeyIndexFile(bytes, name));
//   QUIVER_ASSIGN_OR_RETURN(auto index, OpenVectorIndex(file.runs[0].index, name));
//
// Thread rule: a writer belongs to one thread; the rest are pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace quiver::index {

/// The index of rows [first_row, first_row + rows) of a segment.
struct KeyRun {
  uint32_t first_row = 0;
  uint32_t rows = 0;
  std::string_view index;   ///< a vector index file
  std::string_view tuning;  ///< the tuning file that belongs to it; may be empty
};

/// An open file; views lie within its bytes.
struct KeyIndexFile {
  uint32_t segment_rows = 0;
  int64_t field_id = 0;      ///< of the partition key
  std::vector<KeyRun> runs;  ///< ascending, apart
};

/// The name of the file beside an index.
inline std::string KeyIndexFileName(std::string_view index_name) { return std::string(index_name) + ".keys"; }

class KeyIndexFileWriter {
 public:
  KeyIndexFileWriter(uint32_t segment_rows, int64_t field_id) : segment_rows_(segment_rows), field_id_(field_id) {}
  /// Copies a run, which lies behind those before.
  void Add(const KeyRun& run);
  /// Returns the file and leaves the writer empty.
  std::string Take();

 private:
  struct Entry {
    uint32_t first_row;
    uint32_t rows;
    uint64_t index_offset, index_bytes, tuning_offset, tuning_bytes;
  };
  uint32_t segment_rows_;
  int64_t field_id_;
  std::vector<Entry> entries_;
  std::string indexes_;
  std::string tunings_;
};

/// Opens a file where it lies. Checks its header and the table of runs; indexes and tunings check themselves when they
/// are opened and used. Error: kCorruption with `name`.
Result<KeyIndexFile> OpenKeyIndexFile(std::string_view bytes, std::string_view name);

/// Compares all checksums of a file. Error: kCorruption with `name`.
Status CheckKeyIndexFile(std::string_view bytes, std::string_view name);

}  // namespace quiver::index
