// File: io/file_system.h
// FileSystem: the only way Quiver touches files. PosixFileSystem() is the real one; FaultFileSystem
// (fault_file_system.h) keeps everything in memory and loses, tears and refuses on command.
//
//   FileSystem& fs = PosixFileSystem();
//   QUIVER_ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file, fs.Create("data/log/0.log"));
//   QUIVER_RETURN_IF_ERROR(file->Append("hello"));
//   QUIVER_RETURN_IF_ERROR(file->Sync());                     // the contents are durable ...
//   QUIVER_RETURN_IF_ERROR(fs.SyncDirectory("data/log"));     // ... and so is the name
//
// Errors: code 1000 (kIo) with the operation, the path and the system's text; "no space left" is code 7 (kDiskFull); a
// data directory in use is code 1000 and names the directory.
// Thread rule: a FileSystem may be used from many threads; each file states its own rule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace quiver::io {

/// A file that is written at its end only. One thread appends; Sync may run on another thread at the same time.
class AppendFile {
 public:
  virtual ~AppendFile() = default;

  /// Writes the parts one after another at the end, as one system call where the system allows. Not durable until Sync.
  /// On failure nothing of it stays: the file is cut back to size(); where that fails too, the file is broken.
  virtual Status Append(std::span<const std::string_view> parts) = 0;
  Status Append(std::string_view bytes) { return Append(std::span<const std::string_view>(&bytes, 1)); }

  /// Makes everything appended before the call durable (fdatasync). After one failure the pages may be gone without
  /// trace, so the file is broken from then on.
  virtual Status Sync() = 0;

  /// Reserves space so that bytes up to `size` from the start of the file read as zeros until they are appended, and
  /// later Syncs need not write file metadata. The physical length grows; size() does not.
  virtual Status Preallocate(uint64_t size) = 0;

  /// Appended bytes (plus the position the file was opened at), without preallocated space.
  [[nodiscard]] virtual uint64_t size() const = 0;
  [[nodiscard]] virtual const std::string& path() const = 0;
};

/// A file read at any position. Safe from many threads.
class RandomFile {
 public:
  virtual ~RandomFile() = default;
  /// Fills the whole buffer from `offset`; fewer bytes than that is an error.
  virtual Status Read(uint64_t offset, std::span<std::byte> buffer) const = 0;
  [[nodiscard]] virtual uint64_t size() const = 0;
};

/// How a mapped range is about to be read.
enum class Access : uint8_t { kNormal, kRandom, kSequential, kWillNeed, kDontNeed };

/// A whole file mapped read-only; page-aligned. Immutable, safe from many threads, valid until destroyed even when the
/// file is removed meanwhile.
class MappedFile {
 public:
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  virtual ~MappedFile() = default;

  [[nodiscard]] const std::byte* data() const { return data_; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Returns whether the system could not give a page that was read (the file was truncated meanwhile, or its disk
  /// fails): what was read since may be zeros. Whoever reads asks afterwards, before the values are used.
  [[nodiscard]] virtual bool faulted() const { return false; }
  /// Tells the system how [offset, offset + length) will be used; never fails.
  virtual void Advise(size_t /*offset*/, size_t /*length*/, Access /*access*/) const {}

 protected:
  MappedFile(std::string path, const std::byte* data, size_t size) : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const std::byte* data_;
  size_t size_;
};

/// Held while the data directory is in use; released when destroyed (and by the system when the process ends).
class FileLock {
 public:
  virtual ~FileLock() = default;
};

/// One name in a directory.
struct DirectoryEntry {
  std::string name;
  bool is_directory = false;
  uint64_t size = 0;  ///< bytes; physical length where space was preallocated; 0 for directories
};

/// Names and files. Paths are plain strings with '/'.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  /// Makes a new empty file; it is an error when the name exists.
  virtual Result<std::unique_ptr<AppendFile>> Create(const std::string& path) = 0;
  /// Opens an existing file for appending behind its first `position` bytes. What stood behind them is cut off durably
  /// before the call returns, so that it can never be taken for later appends.
  virtual Result<std::unique_ptr<AppendFile>> OpenAppend(const std::string& path, uint64_t position) = 0;
  virtual Result<std::unique_ptr<RandomFile>> OpenRead(const std::string& path) = 0;
  /// Maps the file as it is now; an empty file has data() == nullptr.
  virtual Result<std::shared_ptr<const MappedFile>> Map(const std::string& path) = 0;

  /// Replaces or moves a name in one step; durable after SyncDirectory of both directories.
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  /// Removes a file; it is an error when there is none. Durable after SyncDirectory.
  virtual Status Remove(const std::string& path) = 0;
  /// Removes an empty directory.
  virtual Status RemoveDirectory(const std::string& path) = 0;
  virtual Result<bool> Exists(const std::string& path) = 0;
  /// Returns the entries without "." and "..", sorted by name.
  virtual Result<std::vector<DirectoryEntry>> List(const std::string& directory) = 0;
  /// Makes the directory and its missing parents, durably; fine when it exists.
  virtual Status CreateDirectories(const std::string& path) = 0;
  /// Makes creations, renames and removals in the directory durable.
  virtual Status SyncDirectory(const std::string& directory) = 0;
  /// Takes the lock file DIRECTORY/LOCK. A second taker, in this or another process, gets an error that names the
  /// directory.
  virtual Result<std::unique_ptr<FileLock>> Lock(const std::string& directory) = 0;
  /// Bytes that may still be written.
  virtual Result<uint64_t> FreeSpace(const std::string& directory) = 0;

  /// Reads a whole (small) file.
  Result<std::string> ReadFile(const std::string& path);
  /// Replaces a small file in one durable step: PATH.tmp, sync, rename, directory sync. A crash leaves the old or the
  /// new contents.
  Status WriteFileAtomic(const std::string& path, std::string_view contents);
};

/// The files of this machine.
FileSystem& PosixFileSystem();

/// Returns the directory part of a path ("." where there is none, "/" for the root).
std::string DirectoryOf(std::string_view path);
/// Returns "directory/name".
std::string JoinPath(std::string_view directory, std::string_view name);

}  // namespace quiver::io
