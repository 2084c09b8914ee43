// File: io/posix_file_system.cc
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>

#include "io/file_system.h"
#include "io/mapping_registry.h"

namespace quiver::io {
namespace {

/// Makes the Status of a failed system call; `doing` reads "cannot write".
Status SystemError(std::string_view doing, const std::string& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  return Error(full ? StatusCode::kDiskFull : StatusCode::kIo, "{} {}: {}", doing, path,
               std::generic_category().message(error));
}

/// Repeats a call that a signal interrupted.
template <typename Call>
auto Retry(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

/// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

Descriptor Open(const std::string& path, int flags) {
  return Descriptor(Retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0644); }));
}

Result<uint64_t> LengthOf(const Descriptor& file, const std::string& path) {
  struct stat facts{};
  if (::fstat(file.get(), &facts) != 0) return SystemError("cannot read the length of", path, errno);
  return static_cast<uint64_t>(facts.st_size);
}

/// A file under way is handed to the disk in pieces of this size.
constexpr size_t kWritebackBytes = size_t{4} << 20;

class PosixAppendFile final : public AppendFile {
 public:
  PosixAppendFile(std::string path, Descriptor file, uint64_t size)
      : path_(std::move(path)), file_(std::move(file)), size_(size), physical_(size) {}

  Status Append(std::span<const std::string_view> parts) override {
    QUIVER_RETURN_IF_ERROR(CheckUsable());
    const uint64_t start = size_.load(std::memory_order_relaxed);
    uint64_t position = start;
    std::vector<iovec> vectors;
    vectors.reserve(parts.size());
    for (std::string_view part : parts) {
      for (; !part.empty(); part.remove_prefix(std::min(part.size(), kWritebackBytes))) {
        vectors.push_back({const_cast<char*>(part.data()), std::min(part.size(), kWritebackBytes)});
      }
    }
    for (size_t first = 0; first < vectors.size();) {
      size_t count = 0;
      for (size_t bytes = 0; count < IOV_MAX && first + count < vectors.size() && bytes < kWritebackBytes; ++count) {
        bytes += vectors[first + count].iov_len;
      }
      const ssize_t written = Retry([&] {
        return ::pwritev(file_.get(), vectors.data() + first, static_cast<int>(count), static_cast<off_t>(position));
      });
      if (written < 0) return CutBack(start, SystemError("cannot write", path_, errno));
      position += static_cast<uint64_t>(written);
      auto rest = static_cast<size_t>(written);
      while (first < vectors.size() && rest >= vectors[first].iov_len) rest -= vectors[first++].iov_len;
      if (rest > 0) {
        vectors[first].iov_base = static_cast<char*>(vectors[first].iov_base) + rest;
        vectors[first].iov_len -= rest;
      }
      PaceWriteback(position);
    }
    physical_ = std::max(physical_, position);
    size_.store(position, std::memory_order_release);
    return Status::Ok();
  }

  Status Sync() override {
    QUIVER_RETURN_IF_ERROR(CheckUsable());
    if (Retry([&] { return ::fdatasync(file_.get()); }) != 0) {
      broken_.store(true, std::memory_order_release);
      return SystemError("cannot sync", path_, errno);
    }
    return Status::Ok();
  }

  Status Preallocate(uint64_t size) override {
    QUIVER_RETURN_IF_ERROR(CheckUsable());
    if (size <= physical_) return Status::Ok();
    const auto from = static_cast<off_t>(physical_);
    const auto length = static_cast<off_t>(size - physical_);
    if (Retry([&] { return ::fallocate(file_.get(), 0, from, length); }) != 0) {
      if (errno != EOPNOTSUPP && errno != ENOSYS) {
        return CutBack(physical_, SystemError("cannot reserve space for", path_, errno));
      }
      if (Retry([&] { return ::ftruncate(file_.get(), static_cast<off_t>(size)); }) != 0) {
        return CutBack(physical_, SystemError("cannot extend", path_, errno));
      }
    }
    physical_ = size;
    return Status::Ok();
  }

  [[nodiscard]] uint64_t size() const override { return size_.load(std::memory_order_acquire); }
  [[nodiscard]] const std::string& path() const override { return path_; }

 private:
  [[nodiscard]] Status CheckUsable() const {
    if (!broken_.load(std::memory_order_acquire)) return Status::Ok();
    return Error(StatusCode::kIo, "{} is not written any more: an earlier write or sync of it failed", path_);
  }

  /// Has the disk take up a long file while it is written: the piece just finished is handed over, and the one before
  /// it waited for. Otherwise the whole file would become dirty pages, and the next sync of the log would wait for all
  /// of them (a file system that orders data before metadata writes them first), for seconds under steady ingest. A
  /// hint only: errors show at Sync.
  void PaceWriteback(uint64_t position) {
    if (position - handed_over_ < kWritebackBytes) return;
    const auto from = static_cast<off_t>(handed_over_);
    const auto length = static_cast<off_t>(position - handed_over_);
    if (waited_for_ < handed_over_) {
      (void)::sync_file_range(file_.get(), static_cast<off_t>(waited_for_),
                              static_cast<off_t>(handed_over_ - waited_for_),
                              SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
      waited_for_ = handed_over_;
    }
    (void)::sync_file_range(file_.get(), from, length, SYNC_FILE_RANGE_WRITE);
    handed_over_ = position;
  }

  /// Removes what a failed call left behind `length`, so that no reader ever takes it for data, and returns `cause`.
  Status CutBack(uint64_t length, Status cause) {
    if (Retry([&] { return ::ftruncate(file_.get(), static_cast<off_t>(length)); }) != 0) {
      broken_.store(true, std::memory_order_release);
    }
    physical_ = length;
    handed_over_ = std::min(handed_over_, length);
    waited_for_ = std::min(waited_for_, length);
    return cause;
  }

  const std::string path_;
  const Descriptor file_;
  std::atomic<uint64_t> size_;
  uint64_t physical_;  // length of the file, with preallocated space
  // Of the thread that appends: up to here the disk was asked to write, up to here it has.
  uint64_t handed_over_ = size_;
  uint64_t waited_for_ = size_;
  std::atomic<bool> broken_{false};
};

class PosixRandomFile final : public RandomFile {
 public:
  PosixRandomFile(std::string path, Descriptor file, uint64_t size)
      : path_(std::move(path)), file_(std::move(file)), size_(size) {}

  Status Read(uint64_t offset, std::span<std::byte> buffer) const override {
    while (!buffer.empty()) {
      const ssize_t got =
          Retry([&] { return ::pread(file_.get(), buffer.data(), buffer.size(), static_cast<off_t>(offset)); });
      if (got < 0) return SystemError("cannot read", path_, errno);
      if (got == 0) {
        return Error(StatusCode::kIo, "cannot read {}: the file ends {} bytes early, at offset {}", path_,
                     buffer.size(), offset);
      }
      offset += static_cast<uint64_t>(got);
      buffer = buffer.subspan(static_cast<size_t>(got));
    }
    return Status::Ok();
  }

  [[nodiscard]] uint64_t size() const override { return size_; }

 private:
  const std::string path_;
  const Descriptor file_;
  const uint64_t size_;
};

class PosixMappedFile final : public MappedFile {
 public:
  PosixMappedFile(std::string path, const std::byte* data, size_t size) : MappedFile(std::move(path), data, size) {
    if (data_ != nullptr) slot_ = MappingRegistry::Global().Add(data_, size_);
  }
  ~PosixMappedFile() override {
    MappingRegistry::Global().Remove(slot_);
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  }

  [[nodiscard]] bool faulted() const override { return MappingRegistry::Faulted(slot_); }

  void Advise(size_t offset, size_t length, Access access) const override {
    if (data_ == nullptr || offset >= size_) return;
    static const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const size_t begin = offset / page * page;
    const size_t end = length > size_ - offset ? size_ : offset + length;
    int advice = MADV_NORMAL;
    switch (access) {
      case Access::kNormal: break;
      case Access::kRandom: advice = MADV_RANDOM; break;
      case Access::kSequential: advice = MADV_SEQUENTIAL; break;
      case Access::kWillNeed: advice = MADV_WILLNEED; break;
      case Access::kDontNeed: advice = MADV_DONTNEED; break;
    }
    (void)::madvise(const_cast<std::byte*>(data_ + begin), end - begin, advice);
  }

 private:
  MappingRegistry::Slot* slot_ = nullptr;
};

class PosixFileLock final : public FileLock {
 public:
  explicit PosixFileLock(Descriptor file) : file_(std::move(file)) {}

 private:
  const Descriptor file_;  // closing it releases the lock
};

class PosixFiles final : public FileSystem {
 public:
  Result<std::unique_ptr<AppendFile>> Create(const std::string& path) override {
    Descriptor file = Open(path, O_WRONLY | O_CREAT | O_EXCL);
    if (!file.valid()) return SystemError("cannot create", path, errno);
    return std::unique_ptr<AppendFile>(std::make_unique<PosixAppendFile>(path, std::move(file), 0));
  }

  Result<std::unique_ptr<AppendFile>> OpenAppend(const std::string& path, uint64_t position) override {
    Descriptor file = Open(path, O_WRONLY);
    if (!file.valid()) return SystemError("cannot open", path, errno);
    QUIVER_ASSIGN_OR_RETURN(const uint64_t length, LengthOf(file, path));
    if (length < position) {
      return Error(StatusCode::kIo, "cannot append to {} at {}: it has only {} bytes", path, position, length);
    }
    if (length > position) {
      if (Retry([&] { return ::ftruncate(file.get(), static_cast<off_t>(position)); }) != 0) {
        return SystemError("cannot cut", path, errno);
      }
      if (Retry([&] { return ::fsync(file.get()); }) != 0) return SystemError("cannot sync", path, errno);
    }
    return std::unique_ptr<AppendFile>(std::make_unique<PosixAppendFile>(path, std::move(file), position));
  }

  Result<std::unique_ptr<RandomFile>> OpenRead(const std::string& path) override {
    Descriptor file = Open(path, O_RDONLY);
    if (!file.valid()) return SystemError("cannot open", path, errno);
    QUIVER_ASSIGN_OR_RETURN(const uint64_t length, LengthOf(file, path));
    return std::unique_ptr<RandomFile>(std::make_unique<PosixRandomFile>(path, std::move(file), length));
  }

  Result<std::shared_ptr<const MappedFile>> Map(const std::string& path) override {
    const Descriptor file = Open(path, O_RDONLY);
    if (!file.valid()) return SystemError("cannot open", path, errno);
    QUIVER_ASSIGN_OR_RETURN(const uint64_t length, LengthOf(file, path));
    const std::byte* data = nullptr;
    if (length > 0) {
      void* address = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, file.get(), 0);
      if (address == MAP_FAILED) return SystemError("cannot map", path, errno);
      data = static_cast<const std::byte*>(address);
    }
    return std::shared_ptr<const MappedFile>(std::make_shared<PosixMappedFile>(path, data, length));
  }

  Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return SystemError("cannot rename to " + to + ":", from, errno);
    return Status::Ok();
  }

  Status Remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return SystemError("cannot remove", path, errno);
    return Status::Ok();
  }

  Status RemoveDirectory(const std::string& path) override {
    if (::rmdir(path.c_str()) != 0) return SystemError("cannot remove the directory", path, errno);
    return Status::Ok();
  }

  Result<bool> Exists(const std::string& path) override {
    struct stat facts{};
    if (::stat(path.c_str(), &facts) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return SystemError("cannot look up", path, errno);
  }

  Result<std::vector<DirectoryEntry>> List(const std::string& directory) override {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), ::closedir);
    if (stream == nullptr) return SystemError("cannot list", directory, errno);
    std::vector<DirectoryEntry> entries;
    while (true) {
      errno = 0;
      const dirent* found = ::readdir(stream.get());
      if (found == nullptr) {
        if (errno != 0) return SystemError("cannot list", directory, errno);
        break;
      }
      DirectoryEntry entry{.name = found->d_name};
      if (entry.name == "." || entry.name == "..") continue;
      struct stat facts{};
      if (::fstatat(::dirfd(stream.get()), found->d_name, &facts, 0) != 0) {
        if (errno == ENOENT) continue;  // removed meanwhile
        return SystemError("cannot look up", JoinPath(directory, entry.name), errno);
      }
      entry.is_directory = S_ISDIR(facts.st_mode);
      entry.size = entry.is_directory ? 0 : static_cast<uint64_t>(facts.st_size);
      entries.push_back(std::move(entry));
    }
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return entries;
  }

  Status CreateDirectories(const std::string& path) override {
    struct stat facts{};
    if (::stat(path.c_str(), &facts) == 0) {
      if (S_ISDIR(facts.st_mode)) return Status::Ok();
      return SystemError("cannot create the directory", path, ENOTDIR);
    }
    if (errno != ENOENT) return SystemError("cannot create the directory", path, errno);
    const std::string parent = DirectoryOf(path);
    if (parent != path) QUIVER_RETURN_IF_ERROR(CreateDirectories(parent));
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
      return SystemError("cannot create the directory", path, errno);
    }
    return SyncDirectory(parent);
  }

  Status SyncDirectory(const std::string& directory) override {
    const Descriptor file = Open(directory, O_RDONLY | O_DIRECTORY);
    if (!file.valid()) return SystemError("cannot open", directory, errno);
    if (Retry([&] { return ::fsync(file.get()); }) != 0) return SystemError("cannot sync", directory, errno);
    return Status::Ok();
  }

  Result<std::unique_ptr<FileLock>> Lock(const std::string& directory) override {
    const std::string path = JoinPath(directory, "LOCK");
    Descriptor file = Open(path, O_RDWR | O_CREAT);
    if (!file.valid()) return SystemError("cannot create", path, errno);
    if (Retry([&] { return ::flock(file.get(), LOCK_EX | LOCK_NB); }) != 0) {
      if (errno == EWOULDBLOCK) {
        return Error(StatusCode::kIo, "the data directory is in use by another process: {}", directory);
      }
      return SystemError("cannot lock", path, errno);
    }
    return std::unique_ptr<FileLock>(std::make_unique<PosixFileLock>(std::move(file)));
  }

  Result<uint64_t> FreeSpace(const std::string& directory) override {
    struct statvfs facts{};
    if (::statvfs(directory.c_str(), &facts) != 0)
      return SystemError("cannot read the free space of", directory, errno);
    return uint64_t{facts.f_bavail} * facts.f_frsize;
  }
};

}  // namespace

FileSystem& PosixFileSystem() {
  static PosixFiles files;
  return files;
}

}  // namespace quiver::io
