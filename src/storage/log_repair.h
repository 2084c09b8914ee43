// File: storage/log_repair.h
// Makes a log that is damaged in what had been synced usable again: every record that is whole and sound is copied into
// a new log, the damaged files are kept under other names, and what is lost is told. Offline, by `quiver check`.
//
//   QUIVER_ASSIGN_OR_RETURN(const LogSalvage salvage, SalvageLocalLog(fs, data));   // writes data/log.repaired only
//   QUIVER_RETURN_IF_ERROR(InstallLog(fs, data));                                   // now it is the log
//
// A crash at any moment leaves the old log or the new one: what InstallLog has begun is ended by FinishLogRepair, which
// runs before a log is opened. Thread rule: plain functions; one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/file_system.h"

namespace quiver::storage {

/// Bytes of the log between two sound records (or before the first) that hold none.
struct LogHole {
  std::string file;       ///< name below DIR/log; a missing file has the name of the one before it
  uint64_t position = 0;  ///< in the file
  uint64_t bytes = 0;
  uint64_t after = 0;   ///< timestamp of the record before; 0 = none
  uint64_t before = 0;  ///< timestamp of the record behind; 0 = none
  /// Of the record at the begin of the hole, where its header is sound and only its payload is not; kind 0 = not known.
  uint8_t kind = 0;
  uint64_t stream = 0;
};

struct LogSalvage {
  std::vector<LogHole> holes;
  uint64_t records = 0;         ///< copied
  uint64_t records_behind = 0;  ///< of them behind the first hole
};

/// Copies the sound records of DATA/log into a new log in DATA/log.repaired (emptied before), synced. The end of the
/// log that nobody was promised is no hole. Errors: kIo, kDiskFull; kCorruption for a newer format.
Result<LogSalvage> SalvageLocalLog(io::FileSystem& file_system, const std::string& data_directory);

/// Moves the files of DATA/log to DATA/quarantine and puts those of DATA/log.repaired in their place.
Status InstallLog(io::FileSystem& file_system, const std::string& data_directory);

/// Ends an InstallLog that was interrupted; forgets a copy that was never installed. Changes nothing otherwise.
Status FinishLogRepair(io::FileSystem& file_system, const std::string& data_directory);

}  // namespace quiver::storage
