// File: io/file_system.cc
#include "io/file_system.h"

namespace quiver::io {

Result<std::string> FileSystem::ReadFile(const std::string& path) {
  QUIVER_ASSIGN_OR_RETURN(const std::unique_ptr<RandomFile> file, OpenRead(path));
  std::string contents(file->size(), '\0');
  QUIVER_RETURN_IF_ERROR(file->Read(0, std::as_writable_bytes(std::span(contents))));
  return contents;
}

Status FileSystem::WriteFileAtomic(const std::string& path, std::string_view contents) {
  const std::string temporary = path + ".tmp";
  QUIVER_ASSIGN_OR_RETURN(const bool left_over, Exists(temporary));
  if (left_over) QUIVER_RETURN_IF_ERROR(Remove(temporary));
  const auto replace = [&]() -> Status {
    QUIVER_ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file, Create(temporary));
    QUIVER_RETURN_IF_ERROR(file->Append(contents));
    QUIVER_RETURN_IF_ERROR(file->Sync());
    file.reset();
    return Rename(temporary, path);
  };
  if (Status status = replace(); !status.ok()) {
    (void)Remove(temporary);  // on a full disk it would only take space
    return status;
  }
  return SyncDirectory(DirectoryOf(path));
}

std::string DirectoryOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  if (slash == 0) return "/";
  return std::string(path.substr(0, slash));
}

std::string JoinPath(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty() && path.back() != '/') path += '/';
  path += name;
  return path;
}

}  // namespace quiver::io
