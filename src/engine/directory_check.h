// File: engine/directory_check.h
// Verifies a data directory that no server uses, and repairs what can be repaired: `quiver check`.
//
//   QUIVER_ASSIGN_OR_RETURN(DirectoryReport report, CheckDirectory(io::PosixFileSystem(), {.data_dir = "data"}));
//   for (const DirectoryFault& fault : report.faults) ...
//
// Nothing is changed unless `repair` is set. Thread rule: plain functions.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file_system.h"
#include "storage/meta_store.h"

namespace quiver::engine {

struct DirectoryCheckOptions {
  std::string data_dir;
  /// Rebuilds what can be made again from sound data, and moves segments that cannot to DIR/quarantine and out of the
  /// catalog, so that the rest is served without them. A damaged log and a damaged MetaStore are made anew from what is
  /// sound of them (storage/log_repair.h, engine/catalog_repair.h).
  bool repair = false;
  /// Tests give a MetaStore of their own; otherwise DIR/meta is opened.
  std::function<Result<std::unique_ptr<storage::MetaStore>>(const std::string& directory)> open_meta_store;
};

/// One thing that is wrong.
struct DirectoryFault {
  std::string file;           ///< below the data directory; a key of the MetaStore as meta:KEY
  std::string section;        ///< of a segment file; empty = the file as a whole
  uint64_t offset = 0;        ///< byte of the file at which the damaged part begins
  int64_t collection_id = 0;  ///< 0 = of no collection
  std::string collection;     ///< DATABASE.NAME, empty where not known
  int64_t segment_id = 0;     ///< 0 = of no segment
  std::string what;           ///< what is wrong
  std::string repair;         ///< what the repair has done; empty without one
};

struct DirectoryReport {
  std::vector<DirectoryFault> faults;
  uint64_t keys = 0;  ///< of the MetaStore
  uint64_t collections = 0;
  uint64_t segments = 0;
  uint64_t rows = 0;  ///< in sealed segments, dead ones included
  uint64_t deltas = 0;
  uint64_t indexes = 0;  ///< built indexes
  uint64_t log_records = 0;
  uint64_t torn_bytes = 0;  ///< at the log's end, of writes that nobody was promised: the next start cuts them
  uint64_t orphans = 0;     ///< objects that nothing names, as a crash leaves them: the next start removes them
  uint64_t rows_lost = 0;   ///< by the repair; rows of files whose number of rows cannot be read are not counted
  uint64_t unrepaired = 0;  ///< faults that the repair could do nothing about
};

/// Errors (nothing was checked): kIo where there is no data directory or a server uses it, kUnsupported for a newer
/// format.
Result<DirectoryReport> CheckDirectory(io::FileSystem& file_system, const DirectoryCheckOptions& options);

}  // namespace quiver::engine
