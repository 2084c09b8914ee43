// File: storage/log_store.h
// LogStore: the write-ahead log of the process, one ordered sequence of records that carries all streams (a stream is a
// collection). Local form: segmented files in DIR/log, see docs/formats.md.
//
//   QUIVER_ASSIGN_OR_RETURN(auto log, OpenLocalLog(fs, data + "/log", {}));
//   log->Read(checkpoint, [&](uint64_t offset, const LogEntry& entry) { return Apply(offset, entry); });
//   QUIVER_ASSIGN_OR_RETURN(uint64_t end, log->Append(entries));   // written, not durable
//   QUIVER_RETURN_IF_ERROR(log->Sync());                           // now it is: acknowledge
//
// Offsets are opaque 64-bit numbers that only grow. An entry's offset is where it begins; Read(x) starts with the first
// entry at or after x, and the value returned by Append is the offset at which the next entry will begin.
// Thread rule: one thread appends; Sync, TruncateBefore and the accessors may be called from any thread at the same
// time. Sync covers every Append that returned before Sync was called. Read may run beside appends and sees entries up
// to the end_offset() at its start.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/file_system.h"

namespace quiver::storage {

/// One record. `payload` followed by `parts` is what is stored; Read gives it back whole in `payload`.
struct LogEntry {
  uint64_t stream = 0;     ///< collection id; 0 = the process itself
  uint64_t timestamp = 0;  ///< hybrid timestamp
  uint8_t kind = 0;        ///< the writer's own type; kFirstReservedKind and above belong to the log
  std::string_view payload;
  std::span<const std::string_view> parts;
  uint64_t epoch = 0;  ///< the writer's epoch; set by Read, ignored by Append
};

inline constexpr uint8_t kFirstReservedKind = 240;
/// Largest payload of one record.
inline constexpr uint64_t kMaxLogPayload = uint64_t{256} << 20;

/// Called for each entry in order; an error ends the Read and is returned by it. Views live during the call only.
using LogVisitor = std::function<Status(uint64_t offset, const LogEntry& entry)>;

class LogStore {
 public:
  virtual ~LogStore() = default;

  /// Writes the group with one write. Returns the end offset. Not durable until Sync. Errors: code 1102 for a payload
  /// above kMaxLogPayload, code 1100 for a reserved kind: nothing is written. Code 7 when the disk is full: nothing is
  /// written, and the log goes on once there is space. Any other I/O error poisons the log: the call and all later
  /// Append and Sync calls fail with code 9.
  virtual Result<uint64_t> Append(std::span<const LogEntry> entries) = 0;
  /// Makes everything appended before the call durable. An error poisons the log, whatever its kind.
  virtual Status Sync() = 0;
  /// Replays entries from `from` to the end. `from` below begin_offset() is code 1001: the log no longer has them.
  virtual Status Read(uint64_t from, const LogVisitor& visit) const = 0;
  /// Allows everything before `offset` to be dropped; whole files are removed, so begin_offset() may stay below it.
  virtual Status TruncateBefore(uint64_t offset) = 0;
  /// Syncs and marks the log as cleanly closed, so that the next open knows that nothing at its end may be missing.
  /// Only then is damage to the last synced group told from a torn write. No Append may follow.
  virtual Status Close() = 0;

  [[nodiscard]] virtual uint64_t begin_offset() const = 0;
  [[nodiscard]] virtual uint64_t end_offset() const = 0;
  /// Everything before this offset survives a power loss.
  [[nodiscard]] virtual uint64_t synced_offset() const = 0;
  /// Bytes of the entries held, without preallocated space.
  [[nodiscard]] virtual uint64_t byte_size() const = 0;
  /// This writer's epoch: greater than that of every record found at open.
  [[nodiscard]] virtual uint64_t epoch() const = 0;
  /// Syncs done so far.
  [[nodiscard]] virtual uint64_t sync_count() const = 0;
  /// Bytes cut from the end at open because a crash had left them torn (never synced); 0 normally.
  [[nodiscard]] virtual uint64_t torn_bytes() const = 0;
};

struct LocalLogOptions {
  uint64_t segment_bytes = uint64_t{64} << 20;     ///< a new file is begun when the current one has grown past this
  uint64_t preallocate_bytes = uint64_t{4} << 20;  ///< space is reserved in steps of this; 0 = not at all
  bool sync = true;  ///< false = Sync returns at once (durability: async); Close and rotation still sync
  /// Called after each fdatasync with its duration; from the syncing thread.
  std::function<void(double seconds)> on_sync;
};

/// Opens or begins the log in `directory` (made when missing). A torn end is cut; a damaged record that had been
/// synced, a missing file in the middle and a newer format version are refused with the file and the offset (code
/// 1001).
Result<std::unique_ptr<LogStore>> OpenLocalLog(io::FileSystem& file_system, const std::string& directory,
                                               LocalLogOptions options);

}  // namespace quiver::storage
