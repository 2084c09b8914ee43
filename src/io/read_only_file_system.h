// File: io/read_only_file_system.h
// ReadOnlyFileSystem: lets code that opens files for reading and writing look at them without changing anything. Reads
// go to the files of another FileSystem; every change is taken and forgotten.
// Thread rule: as the FileSystem beneath.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/file_system.h"

namespace quiver::io {

class ReadOnlyFileSystem final : public FileSystem {
 public:
  /// `only`, when not empty, is the one name that List shows.
  explicit ReadOnlyFileSystem(FileSystem& beneath, std::string only = {}) : beneath_(beneath), only_(std::move(only)) {}

  Result<std::unique_ptr<AppendFile>> Create(const std::string& path) override;
  Result<std::unique_ptr<AppendFile>> OpenAppend(const std::string& path, uint64_t position) override;
  Result<std::unique_ptr<RandomFile>> OpenRead(const std::string& path) override { return beneath_.OpenRead(path); }
  Result<std::shared_ptr<const MappedFile>> Map(const std::string& path) override { return beneath_.Map(path); }
  Status Rename(const std::string& /*from*/, const std::string& /*to*/) override { return Status::Ok(); }
  Status Remove(const std::string& /*path*/) override { return Status::Ok(); }
  Status RemoveDirectory(const std::string& /*path*/) override { return Status::Ok(); }
  Result<bool> Exists(const std::string& path) override { return beneath_.Exists(path); }
  Result<std::vector<DirectoryEntry>> List(const std::string& directory) override;
  Status CreateDirectories(const std::string& /*path*/) override { return Status::Ok(); }
  Status SyncDirectory(const std::string& /*directory*/) override { return Status::Ok(); }
  Result<std::unique_ptr<FileLock>> Lock(const std::string& directory) override { return beneath_.Lock(directory); }
  Result<uint64_t> FreeSpace(const std::string& directory) override { return beneath_.FreeSpace(directory); }

 private:
  FileSystem& beneath_;
  const std::string only_;
};

}  // namespace quiver::io
