// File: engine/segment_copy.h
// Writing a new segment file out of rows of other segments, growing or sealed: sealing, compaction, restoring. Rows
// come out by partition, within one by partition key, within one of those in the order of the sources. Thread rule:
// plain functions; run them on a background thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/memory_budget.h"
#include "engine/retention.h"
#include "io/file_system.h"
#include "segment/segment.h"
#include "storage/delta_file.h"
#include "storage/object_store.h"
#include "storage/segment_file.h"

namespace quiver::engine {

/// Row `row` of source `source`.
struct RowReference {
  uint32_t source;
  uint32_t row;
};

/// What a new segment is made of.
struct SegmentCopy {
  std::vector<std::shared_ptr<const segment::Segment>> sources;
  std::vector<RowReference> rows;  ///< in their new order
  std::vector<storage::PartitionRun> partitions;
};

/// A row that may go into a copy.
struct RowFacts {
  uint32_t source;
  uint32_t row;
  int64_t partition_id;
  Timestamp inserted;
  Timestamp deleted;  ///< segment::kNotDeleted while it lives
  Timestamp ended;    ///< when it was deleted or ends by itself, whichever is first; kNotDeleted = never
};
/// Asked for each row whether it goes into the copy.
using RowFilter = std::function<bool(const RowFacts&)>;

/// Chooses and orders rows. Errors: kCorruption of a source.
Result<SegmentCopy> PlanCopy(std::vector<std::shared_ptr<const segment::Segment>> sources,
                             const CollectionSchema& schema, const segment::RowExpiry& expiry, const RowFilter& keep);

/// Called with the bytes of each page that was written (0 while the file is read back); an error ends the copy (to pace
/// it, to stop it).
using CopyPacer = std::function<Status(uint64_t bytes)>;

/// Memory that copying so many rows takes: the plan, its inverse, keys, timestamps.
inline uint64_t CopyMemory(uint64_t rows) { return rows * 56; }

/// Keeps a copy within a rate of bytes (0 = none), lets it wait while memory is scarce, and ends it when `stop` is set.
class Pacer {
 public:
  Pacer(uint64_t bytes_per_second, const MemoryBudget& budget, const std::atomic<bool>& stop)
      : rate_(bytes_per_second), budget_(budget), stop_(stop) {}
  Status operator()(uint64_t bytes);

 private:
  uint64_t rate_;
  const MemoryBudget& budget_;
  const std::atomic<bool>& stop_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  uint64_t written_ = 0;
};

struct CopyTarget {
  int64_t collection_id = 0;
  int64_t segment_id = 0;
  std::string object_name;
};

/// Writes the copy as an object, opens it and checks its checksums. Fields that a source lacks get the field's default.
/// On an error no object is left behind. Errors: kCorruption of a source, kIo, what the pacer says.
Result<std::shared_ptr<const storage::SegmentFile>> WriteCopy(io::FileSystem& file_system,
                                                              storage::ObjectStore& objects, const SegmentCopy& copy,
                                                              const CollectionSchema& schema, const CopyTarget& target,
                                                              const CopyPacer& pacer);

inline constexpr uint32_t kNoRow = UINT32_MAX;
/// For each source and each of its rows the row of the copy, or kNoRow.
std::vector<std::vector<uint32_t>> InvertCopy(const SegmentCopy& copy);

/// Deletes of the copy's rows with a timestamp at or before `until`, by new row.
std::vector<storage::RowDelete> DeletesOfCopy(const SegmentCopy& copy, Timestamp until);

}  // namespace quiver::engine
