// File: storage/object_store.cc
// The directory form: an object is the file DIR/NAME; unfinished ones lie in DIR/.staging.
#include "storage/object_store.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <span>

namespace quiver::storage {
namespace {

constexpr std::string_view kStaging = ".staging";

/// Names are relative paths of plain parts, so that no name leads out of the store.
Status CheckName(std::string_view name) {
  bool sound = !name.empty() && name.size() <= 512;
  std::string_view rest = name;
  while (sound) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    sound = !part.empty() && part.front() != '.' && part.find('\0') == std::string_view::npos;
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  return sound ? Status::Ok() : InvalidParameter("not a name of an object: {}", name);
}

class LocalObjects final : public ObjectStore {
 public:
  LocalObjects(io::FileSystem& file_system, std::string directory)
      : file_system_(file_system), directory_(std::move(directory)) {}

  Status Open() {
    const std::string staging = io::JoinPath(directory_, kStaging);
    QUIVER_RETURN_IF_ERROR(file_system_.CreateDirectories(staging));
    QUIVER_ASSIGN_OR_RETURN(const std::vector<io::DirectoryEntry> left_over, file_system_.List(staging));
    for (const io::DirectoryEntry& entry : left_over) {
      if (!entry.is_directory) QUIVER_RETURN_IF_ERROR(file_system_.Remove(io::JoinPath(staging, entry.name)));
    }
    return Status::Ok();
  }

  std::string StagingPath(std::string_view name) override {
    std::string flat(name);
    for (char& c : flat) {
      if (c == '/') c = '_';
    }
    return fmt::format("{}/{}/{}.{}", directory_, kStaging, flat, next_staged_.fetch_add(1));
  }

  Status Put(const std::string& name, const std::string& local_path) override {
    QUIVER_RETURN_IF_ERROR(CheckName(name));
    const std::string path = PathOf(name);
    QUIVER_RETURN_IF_ERROR(EnsureDirectory(io::DirectoryOf(path)));
    const std::lock_guard lock(put_mutex_);  // between looking for the name and taking it
    QUIVER_ASSIGN_OR_RETURN(const bool exists, file_system_.Exists(path));
    if (exists) return Error(StatusCode::kInternal, "the object {} exists already", name);
    Status status = file_system_.Rename(local_path, path);
    if (!status.ok()) {
      (void)file_system_.Remove(local_path);  // on a full disk it would only take space
      return status;
    }
    status = file_system_.SyncDirectory(io::DirectoryOf(path));
    if (!status.ok()) (void)file_system_.Remove(path);  // leaves the name free for the next attempt
    return status;
  }

  Status PutBytes(const std::string& name, std::string_view contents) override {
    QUIVER_RETURN_IF_ERROR(CheckName(name));
    const std::string staged = StagingPath(name);
    {
      QUIVER_ASSIGN_OR_RETURN(const std::unique_ptr<io::AppendFile> file, file_system_.Create(staged));
      Status written = file->Append(contents);
      if (written.ok()) written = file->Sync();
      if (!written.ok()) {
        (void)file_system_.Remove(staged);  // the next start would remove it too
        return written;
      }
    }
    return Put(name, staged);
  }

  Result<std::shared_ptr<const io::MappedFile>> Materialise(const std::string& name) override {
    QUIVER_RETURN_IF_ERROR(CheckName(name));
    return file_system_.Map(PathOf(name));
  }

  Result<std::string> Read(const std::string& name, uint64_t offset, uint64_t length) override {
    QUIVER_RETURN_IF_ERROR(CheckName(name));
    QUIVER_ASSIGN_OR_RETURN(const std::unique_ptr<io::RandomFile> file, file_system_.OpenRead(PathOf(name)));
    if (offset > file->size() || length > file->size() - offset) {
      return Error(StatusCode::kIo, "cannot read bytes {} to {} of the object {}: it has {}", offset, offset + length,
                   name, file->size());
    }
    std::string bytes(length, '\0');
    QUIVER_RETURN_IF_ERROR(file->Read(offset, std::as_writable_bytes(std::span(bytes))));
    return bytes;
  }

  Status Remove(const std::string& name) override {
    QUIVER_RETURN_IF_ERROR(CheckName(name));
    const std::string path = PathOf(name);
    QUIVER_ASSIGN_OR_RETURN(const bool exists, file_system_.Exists(path));
    if (!exists) return Status::Ok();
    QUIVER_RETURN_IF_ERROR(file_system_.Remove(path));
    return file_system_.SyncDirectory(io::DirectoryOf(path));
  }

  Result<std::vector<ObjectInfo>> List(std::string_view prefix) override {
    std::vector<ObjectInfo> objects;
    QUIVER_RETURN_IF_ERROR(ListInto("", prefix, objects));
    std::sort(objects.begin(), objects.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return objects;
  }

 private:
  [[nodiscard]] std::string PathOf(std::string_view name) const { return io::JoinPath(directory_, name); }

  /// Makes the directory of an object; known ones cost nothing.
  Status EnsureDirectory(const std::string& directory) {
    {
      const std::lock_guard lock(directories_mutex_);
      if (directories_.contains(directory)) return Status::Ok();
    }
    QUIVER_RETURN_IF_ERROR(file_system_.CreateDirectories(directory));
    const std::lock_guard lock(directories_mutex_);
    directories_.insert(directory);
    return Status::Ok();
  }

  Status ListInto(const std::string& below, std::string_view prefix, std::vector<ObjectInfo>& objects) {
    QUIVER_ASSIGN_OR_RETURN(const std::vector<io::DirectoryEntry> entries,
                            file_system_.List(below.empty() ? directory_ : PathOf(below)));
    for (const io::DirectoryEntry& entry : entries) {
      if (entry.name.front() == '.') continue;
      const std::string name = below.empty() ? entry.name : below + "/" + entry.name;
      if (entry.is_directory) {
        const std::string inside = name + "/";
        const size_t common = std::min(inside.size(), prefix.size());
        if (std::string_view(inside).substr(0, common) == prefix.substr(0, common)) {
          QUIVER_RETURN_IF_ERROR(ListInto(name, prefix, objects));
        }
      } else if (name.starts_with(prefix)) {
        objects.push_back({.name = name, .size = entry.size});
      }
    }
    return Status::Ok();
  }

  io::FileSystem& file_system_;
  const std::string directory_;
  std::atomic<uint64_t> next_staged_{0};
  std::mutex put_mutex_;
  std::mutex directories_mutex_;
  std::set<std::string> directories_;
};

}  // namespace

Result<std::unique_ptr<ObjectStore>> OpenLocalObjects(io::FileSystem& file_system, const std::string& directory) {
  auto objects = std::make_unique<LocalObjects>(file_system, directory);
  QUIVER_RETURN_IF_ERROR(objects->Open());
  return std::unique_ptr<ObjectStore>(std::move(objects));
}

}  // namespace quiver::storage
