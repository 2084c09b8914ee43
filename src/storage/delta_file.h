// File: storage/delta_file.h
// Delta file: the deletes of one sealed segment, immutable, checksummed; layout in docs/formats.md.
// Thread rule: plain functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/file_system.h"

namespace quiver::storage {

/// Row `row` of the segment is not visible at timestamps >= `timestamp`.
struct RowDelete {
  uint32_t row = 0;
  uint64_t timestamp = 0;

  bool operator==(const RowDelete&) const = default;
  auto operator<=>(const RowDelete&) const = default;
};

/// Deletes in order of (row, timestamp).
struct DeltaContent {
  int64_t segment_id = 0;
  std::vector<RowDelete> deletes;
};

/// Writes the file durably in one step (temporary name, sync, rename, directory sync). Deletes need not be sorted.
Status WriteDeltaFile(io::FileSystem& file_system, const std::string& path, int64_t segment_id,
                      std::span<const RowDelete> deletes);
/// Reads and checks the whole file; damage is code 1001.
Result<DeltaContent> ReadDeltaFile(io::FileSystem& file_system, const std::string& path);
/// The same for contents that are in memory; `name` stands in error messages.
Result<DeltaContent> ParseDelta(std::string_view name, std::string_view contents);

}  // namespace quiver::storage
