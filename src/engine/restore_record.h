// File: engine/restore_record.h
// RestoreRecord: what the MetaStore remembers of a restoring of a snapshot, so that it ends once, whatever happens to
// the process. Written with the catalog change that begins it (pending), that shows the rows (completed), or that gives
// it up (failed); a pending one is done anew after a start. Thread rule: plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "engine/engine.h"

namespace quiver::engine {

struct RestoreRecord {
  RestoreJob job;
  int64_t source_id = 0;    ///< collection that the snapshot is of
  int64_t snapshot_id = 0;  ///< a snapshot of the same name may be made again
  bool in_place = false;    ///< the source is the target
};

inline constexpr std::string_view kRestorePrefix = "restore/";
std::string RestoreKey(int64_t job_id);
/// The stored form (docs/formats.md). A running job is stored as pending.
std::string RestoreRecordToJson(const RestoreRecord& record);
/// Error: kCorruption.
Result<RestoreRecord> RestoreRecordFromJson(std::string_view json);

/// Whether the job has ended, one way or the other.
inline bool HasEnded(const RestoreJob& job) {
  return job.state == RestoreState::kCompleted || job.state == RestoreState::kFailed;
}

}  // namespace quiver::engine
