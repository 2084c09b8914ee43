// File: io/fault_file_system.h
// FaultFileSystem: a file system in memory for tests. It keeps apart what was synced and what was only written, for
// file contents and for directory entries, counts every operation, and fails, tears or crashes at a chosen one.
//
//   FaultFileSystem fs;
//   fs.CrashAt(17);                   // operation 17 happens in part, it and all later ones fail with code 1000
//   RunWorkload(fs);
//   fs.CrashAndDropUnsynced();        // what a power loss leaves; every open file is dead, the next opens start clean
//   CheckRecovery(fs);
//
// Deterministic: the same calls and seeds give the same bytes. Thread rule: safe from many threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/file_system.h"

namespace quiver::io {

/// What goes wrong at a chosen operation.
enum class Fault : uint8_t {
  kNoSpace,     ///< ENOSPC: part of a write may have happened
  kError,       ///< EIO; on Sync the unsynced bytes of the file are lost and the file is broken
  kTornWrite,   ///< the write stops in the middle, and reports EIO
  kShortRead,   ///< a read returns fewer bytes than the file has
  kFlippedBit,  ///< a read returns one wrong bit (mapped files: in the mapping)
};

class FaultFileSystem final : public FileSystem {
 public:
  FaultFileSystem();
  ~FaultFileSystem() override;

  // --- FileSystem ---
  Result<std::unique_ptr<AppendFile>> Create(const std::string& path) override;
  Result<std::unique_ptr<AppendFile>> OpenAppend(const std::string& path, uint64_t position) override;
  Result<std::unique_ptr<RandomFile>> OpenRead(const std::string& path) override;
  Result<std::shared_ptr<const MappedFile>> Map(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status RemoveDirectory(const std::string& path) override;
  Result<bool> Exists(const std::string& path) override;
  Result<std::vector<DirectoryEntry>> List(const std::string& directory) override;
  Status CreateDirectories(const std::string& path) override;
  Status SyncDirectory(const std::string& directory) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& directory) override;
  Result<uint64_t> FreeSpace(const std::string& directory) override;

  // --- faults ---
  /// Operations that change something (create, append, preallocate, sync, rename, remove, directory calls) so far; the
  /// next one has this number.
  [[nodiscard]] uint64_t operations() const;
  /// Reads (Read, Map) so far, counted on their own.
  [[nodiscard]] uint64_t reads() const;
  /// Makes the changing operation number `operation` (and the `count - 1` after it) fail.
  void FailAt(uint64_t operation, Fault fault, uint64_t count = 1);
  /// Makes the read number `read` fail.
  void FailReadAt(uint64_t read, Fault fault);
  /// Operation number `operation` happens in part, it and everything after it (reads too) fails until a Crash call.
  void CrashAt(uint64_t operation);
  /// Returns whether the CrashAt point has been reached.
  [[nodiscard]] bool crashed() const;
  /// Total bytes that files may hold; beyond them writes get "no space left". No limit by default.
  void SetCapacity(std::optional<uint64_t> bytes);
  /// Slow disk: every operation that changes something, and every Read, takes this long. It waits without holding up
  /// operations of other threads.
  void SetLatency(std::chrono::microseconds latency);
  /// Every Sync that succeeds is counted as success but keeps nothing: the build that forgets to sync. For tests that
  /// must see a missing sync.
  void IgnoreSyncs(bool ignore);
  /// Takes part in the numbering for a store that is not a file (a memory MetaStore): counts one operation and returns
  /// what would happen to it.
  Status CountOperation(const std::string& what);

  /// Power loss that keeps only what was synced: contents up to the last Sync of each file, names up to the last
  /// SyncDirectory. Faults are cleared; files opened before are dead.
  void CrashAndDropUnsynced();
  /// Power loss in the other extreme of what disks do: every unsynced 512-byte block and length is kept or lost by the
  /// seed, unsynced directory changes survive up to a point chosen by the seed.
  void CrashAndScramble(uint64_t seed);
  /// The process ends, the machine does not: nothing written is lost, files opened before are dead.
  void CrashProcess();
  /// Flips one bit of a file, synced and current contents alike. False when there is no such byte.
  bool FlipBit(const std::string& path, uint64_t bit);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace quiver::io
