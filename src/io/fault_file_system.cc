// File: io/fault_file_system.cc
#include "io/fault_file_system.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <thread>

namespace quiver::io {
namespace {

constexpr size_t kBlock = 512;  // what a disk writes whole
constexpr size_t kPage = 4096;

/// A file's bytes, apart from its names.
struct Inode {
  std::string current;
  std::string durable;
  // Bytes of `current` that may differ from `durable`. Empty when begin >= end.
  size_t dirty_begin = SIZE_MAX;
  size_t dirty_end = 0;
  bool broken = false;

  void MarkDirty(size_t begin, size_t end) {
    dirty_begin = std::min(dirty_begin, begin);
    dirty_end = std::max(dirty_end, end);
  }
  void MakeDurable() {
    durable.resize(current.size());
    const size_t end = std::min(dirty_end, current.size());
    if (dirty_begin < end) std::memcpy(durable.data() + dirty_begin, current.data() + dirty_begin, end - dirty_begin);
    ForgetDirty();
  }
  void ForgetDirty() {
    dirty_begin = SIZE_MAX;
    dirty_end = 0;
  }
  void Cut(size_t size) {
    if (size >= current.size()) return;
    MarkDirty(size, current.size());
    current.resize(size);
  }
};

/// A change of names that is not durable yet. A rename inside one directory is one change.
struct NameChange {
  std::string directory;
  std::string removed;  ///< empty = none
  std::string added;    ///< empty = none
  std::shared_ptr<Inode> inode;
};

using Names = std::map<std::string, std::shared_ptr<Inode>>;

void Apply(const NameChange& change, Names& names) {
  if (!change.removed.empty()) names.erase(change.removed);
  if (!change.added.empty()) names[change.added] = change.inode;
}

/// Deterministic random numbers (SplitMix64).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  uint64_t Below(uint64_t limit) { return Next() % limit; }

 private:
  uint64_t state_;
};

std::string Normalise(std::string_view path) {
  std::string clean;
  for (const char c : path) {
    if (c == '/' && !clean.empty() && clean.back() == '/') continue;
    clean += c;
  }
  if (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  if (clean.starts_with("./")) clean.erase(0, 2);
  return clean.empty() ? "." : clean;
}

Status Missing(std::string_view doing, const std::string& path) {
  return Error(StatusCode::kIo, "{} {}: No such file or directory", doing, path);
}

Status NoSpace(std::string_view doing, const std::string& path) {
  return Error(StatusCode::kDiskFull, "{} {}: No space left on device", doing, path);
}

Status IoError(std::string_view doing, const std::string& path) {
  return Error(StatusCode::kIo, "{} {}: Input/output error", doing, path);
}

class MemoryMapping final : public MappedFile {
 public:
  MemoryMapping(std::string path, std::byte* data, size_t size) : MappedFile(std::move(path), data, size) {}
  ~MemoryMapping() override {
    if (data_ != nullptr) ::operator delete(const_cast<std::byte*>(data_), std::align_val_t{kPage});
  }
};

}  // namespace

struct FaultFileSystem::State {
  mutable std::mutex mutex;
  Names names;
  Names durable_names;
  std::vector<NameChange> pending;
  std::set<std::string> directories{".", "/"};
  std::set<std::string> locks;
  uint64_t generation = 0;  // raised by each crash; files of older ones are dead

  uint64_t operations = 0;
  uint64_t reads = 0;
  std::map<uint64_t, Fault> faults;
  std::map<uint64_t, Fault> read_faults;
  std::optional<uint64_t> crash_at;
  bool crashed = false;
  bool ignore_syncs = false;
  std::atomic<int64_t> latency_us{0};
  std::optional<uint64_t> capacity;

  /// Before the mutex is taken: what waits for the disk blocks nobody else.
  void WaitForDisk() const {
    const int64_t latency = latency_us.load(std::memory_order_relaxed);
    if (latency > 0) std::this_thread::sleep_for(std::chrono::microseconds(latency));
  }

  static Status Crashed() { return Error(StatusCode::kIo, "the simulated machine has crashed"); }

  /// Counts a changing operation. `fault` gets what goes wrong in it; `crash_now` tells that it happens in part and
  /// then the machine is gone.
  Status Begin(std::optional<Fault>& fault, bool& crash_now) {
    if (crashed) return Crashed();
    const uint64_t number = operations++;
    crash_now = crash_at.has_value() && number >= *crash_at;
    if (crash_now) crashed = true;
    if (const auto found = faults.find(number); found != faults.end()) fault = found->second;
    return Status::Ok();
  }

  /// Counts an operation that has no parts: it happens or it does not.
  Status BeginWhole(std::string_view doing, const std::string& path) {
    std::optional<Fault> fault;
    bool crash_now = false;
    QUIVER_RETURN_IF_ERROR(Begin(fault, crash_now));
    if (crash_now) return Crashed();
    if (fault == Fault::kNoSpace) return NoSpace(doing, path);
    if (fault.has_value()) return IoError(doing, path);
    return Status::Ok();
  }

  Status BeginRead(std::optional<Fault>& fault) {
    if (crashed) return Crashed();
    const uint64_t number = reads++;
    if (const auto found = read_faults.find(number); found != read_faults.end()) fault = found->second;
    return Status::Ok();
  }

  [[nodiscard]] uint64_t UsedBytes() const {
    uint64_t used = 0;
    for (const auto& [path, inode] : names) used += inode->current.size();
    return used;
  }
  [[nodiscard]] bool HasRoomFor(uint64_t bytes) const {
    return !capacity.has_value() || UsedBytes() + bytes <= *capacity;
  }

  void ChangeNames(NameChange change) {
    Apply(change, names);
    pending.push_back(std::move(change));
  }

  void Reset() {
    ++generation;
    names = durable_names;
    pending.clear();
    locks.clear();
    faults.clear();
    read_faults.clear();
    crash_at.reset();
    crashed = false;
    for (auto& [path, inode] : names) {
      inode->current = inode->durable;
      inode->ForgetDirty();
      inode->broken = false;
    }
  }
};

namespace {

// Files reach the state through these, since State is private to FaultFileSystem.
template <typename State>
class MemoryAppendFile final : public AppendFile {
 public:
  MemoryAppendFile(std::shared_ptr<State> state, std::string path, std::shared_ptr<Inode> inode, uint64_t size)
      : state_(std::move(state)),
        path_(std::move(path)),
        inode_(std::move(inode)),
        size_(size),
        generation_(state_->generation) {}

  Status Append(std::span<const std::string_view> parts) override {
    state_->WaitForDisk();
    const std::lock_guard lock(state_->mutex);
    std::optional<Fault> fault;
    bool crash_now = false;
    QUIVER_RETURN_IF_ERROR(Begin(fault, crash_now));
    std::string bytes;
    for (const std::string_view part : parts) bytes += part;
    if (crash_now) {
      Write(std::string_view(bytes).substr(0, bytes.size() / 2));
      return State::Crashed();
    }
    if (fault == Fault::kTornWrite) {
      Write(std::string_view(bytes).substr(0, bytes.size() / 2));
      inode_->broken = true;
      return IoError("cannot write", path_);
    }
    const uint64_t grown =
        size_ + bytes.size() > inode_->current.size() ? size_ + bytes.size() - inode_->current.size() : 0;
    if (fault == Fault::kNoSpace || (grown > 0 && !state_->HasRoomFor(grown))) {
      inode_->Cut(size_);
      return NoSpace("cannot write", path_);
    }
    if (fault.has_value()) {
      inode_->Cut(size_);
      return IoError("cannot write", path_);
    }
    Write(bytes);
    size_ += bytes.size();
    return Status::Ok();
  }

  Status Sync() override {
    state_->WaitForDisk();
    const std::lock_guard lock(state_->mutex);
    std::optional<Fault> fault;
    bool crash_now = false;
    QUIVER_RETURN_IF_ERROR(Begin(fault, crash_now));
    if (crash_now) return State::Crashed();
    if (fault.has_value()) {
      // The system marks the pages clean although they never reached the disk: no later sync will write them.
      inode_->ForgetDirty();
      inode_->broken = true;
      return fault == Fault::kNoSpace ? NoSpace("cannot sync", path_) : IoError("cannot sync", path_);
    }
    if (!state_->ignore_syncs) inode_->MakeDurable();
    return Status::Ok();
  }

  Status Preallocate(uint64_t size) override {
    state_->WaitForDisk();
    const std::lock_guard lock(state_->mutex);
    std::optional<Fault> fault;
    bool crash_now = false;
    QUIVER_RETURN_IF_ERROR(Begin(fault, crash_now));
    if (crash_now) return State::Crashed();
    const uint64_t length = inode_->current.size();
    if (size <= length) return Status::Ok();
    if (fault == Fault::kNoSpace || !state_->HasRoomFor(size - length))
      return NoSpace("cannot reserve space for", path_);
    if (fault.has_value()) return IoError("cannot reserve space for", path_);
    inode_->MarkDirty(length, size);
    inode_->current.resize(size);
    return Status::Ok();
  }

  [[nodiscard]] uint64_t size() const override {
    const std::lock_guard lock(state_->mutex);
    return size_;
  }
  [[nodiscard]] const std::string& path() const override { return path_; }

 private:
  Status Begin(std::optional<Fault>& fault, bool& crash_now) {
    if (generation_ != state_->generation) return Error(StatusCode::kIo, "{} was open when the machine crashed", path_);
    QUIVER_RETURN_IF_ERROR(state_->Begin(fault, crash_now));
    if (inode_->broken) {
      return Error(StatusCode::kIo, "{} is not written any more: an earlier write or sync of it failed", path_);
    }
    return Status::Ok();
  }

  void Write(std::string_view bytes) {
    if (bytes.empty()) return;
    if (inode_->current.size() < size_ + bytes.size()) inode_->current.resize(size_ + bytes.size());
    std::memcpy(inode_->current.data() + size_, bytes.data(), bytes.size());
    inode_->MarkDirty(size_, size_ + bytes.size());
  }

  const std::shared_ptr<State> state_;
  const std::string path_;
  const std::shared_ptr<Inode> inode_;
  uint64_t size_;
  const uint64_t generation_;
};

template <typename State>
class MemoryRandomFile final : public RandomFile {
 public:
  MemoryRandomFile(std::shared_ptr<State> state, std::string path, std::shared_ptr<Inode> inode)
      : state_(std::move(state)),
        path_(std::move(path)),
        inode_(std::move(inode)),
        size_(inode_->current.size()),
        generation_(state_->generation) {}

  Status Read(uint64_t offset, std::span<std::byte> buffer) const override {
    state_->WaitForDisk();
    const std::lock_guard lock(state_->mutex);
    if (generation_ != state_->generation) return Error(StatusCode::kIo, "{} was open when the machine crashed", path_);
    std::optional<Fault> fault;
    QUIVER_RETURN_IF_ERROR(state_->BeginRead(fault));
    if (fault == Fault::kShortRead || offset > inode_->current.size() ||
        buffer.size() > inode_->current.size() - offset) {
      return Error(StatusCode::kIo, "cannot read {}: the file ends early, at offset {}", path_, offset);
    }
    if (fault.has_value() && fault != Fault::kFlippedBit) return IoError("cannot read", path_);
    if (buffer.empty()) return Status::Ok();
    std::memcpy(buffer.data(), inode_->current.data() + offset, buffer.size());
    if (fault == Fault::kFlippedBit) buffer[buffer.size() / 2] ^= std::byte{0x10};
    return Status::Ok();
  }
  [[nodiscard]] uint64_t size() const override { return size_; }

 private:
  const std::shared_ptr<State> state_;
  const std::string path_;
  const std::shared_ptr<Inode> inode_;
  const uint64_t size_;
  const uint64_t generation_;
};

template <typename State>
class MemoryFileLock final : public FileLock {
 public:
  MemoryFileLock(std::shared_ptr<State> state, std::string directory)
      : state_(std::move(state)), directory_(std::move(directory)), generation_(state_->generation) {}
  ~MemoryFileLock() override {
    const std::lock_guard lock(state_->mutex);
    if (generation_ == state_->generation) state_->locks.erase(directory_);
  }

 private:
  const std::shared_ptr<State> state_;
  const std::string directory_;
  const uint64_t generation_;
};

}  // namespace

FaultFileSystem::FaultFileSystem() : state_(std::make_shared<State>()) {}
FaultFileSystem::~FaultFileSystem() = default;

Result<std::unique_ptr<AppendFile>> FaultFileSystem::Create(const std::string& raw_path) {
  const std::string path = Normalise(raw_path);
  state_->WaitForDisk();
  const std::lock_guard lock(state_->mutex);
  QUIVER_RETURN_IF_ERROR(state_->BeginWhole("cannot create", path));
  const std::string directory = DirectoryOf(path);
  if (!state_->directories.contains(directory)) return Missing("cannot create", path);
  if (state_->names.contains(path) || state_->directories.contains(path)) {
    return Error(StatusCode::kIo, "cannot create {}: File exists", path);
  }
  auto inode = std::make_shared<Inode>();
  state_->ChangeNames({.directory = directory, .removed = {}, .added = path, .inode = inode});
  return std::unique_ptr<AppendFile>(std::make_unique<MemoryAppendFile<State>>(state_, path, std::move(inode), 0));
}

Result<std::unique_ptr<AppendFile>> FaultFileSystem::OpenAppend(const std::string& raw_path, uint64_t position) {
  const std::string path = Normalise(raw_path);
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->names.find(path);
  if (state_->crashed) return State::Crashed();
  if (found == state_->names.end()) return Missing("cannot open", path);
  Inode& inode = *found->second;
  if (inode.current.size() < position) {
    return Error(StatusCode::kIo, "cannot append to {} at {}: it has only {} bytes", path, position,
                 inode.current.size());
  }
  if (inode.current.size() > position) {
    QUIVER_RETURN_IF_ERROR(state_->BeginWhole("cannot cut", path));
    inode.Cut(position);
    QUIVER_RETURN_IF_ERROR(state_->BeginWhole("cannot sync", path));
    if (!state_->ignore_syncs) inode.MakeDurable();
  }
  return std::unique_ptr<AppendFile>(std::make_unique<MemoryAppendFile<State>>(state_, path, found->second, position));
}

Result<std::unique_ptr<RandomFile>> FaultFileSystem::OpenRead(const std::string& raw_path) {
  const std::string path = Normalise(raw_path);
  const std::lock_guard lock(state_->mutex);
  if (state_->crashed) return State::Crashed();
  const auto found = state_->names.find(path);
  if (found == state_->names.end()) return Missing("cannot open", path);
  return std::unique_ptr<RandomFile>(std::make_unique<MemoryRandomFile<State>>(state_, path, found->second));
}

Result<std::shared_ptr<const MappedFile>> FaultFileSystem::Map(const std::string& raw_path) {
  const std::string path = Normalise(raw_path);
  state_->WaitForDisk();
  const std::lock_guard lock(state_->mutex);
  std::optional<Fault> fault;
  QUIVER_RETURN_IF_ERROR(state_->BeginRead(fault));
  const auto found = state_->names.find(path);
  if (found == state_->names.end()) return Missing("cannot open", path);
  const std::string& contents = found->second->current;
  size_t size = contents.size();
  if (fault == Fault::kShortRead) size /= 2;
  if (fault == Fault::kError) return IoError("cannot map", path);
  std::byte* data = nullptr;
  if (size > 0) {
    data = static_cast<std::byte*>(::operator new(size, std::align_val_t{kPage}));
    std::memcpy(data, contents.data(), size);
    if (fault == Fault::kFlippedBit) data[size / 2] ^= std::byte{0x10};
  }
  return std::shared_ptr<const MappedFile>(std::make_shared<MemoryMapping>(path, data, size));
}

Status FaultFileSystem::Rename(const std::string& raw_from, const std::string& raw_to) {
  const std::string from = Normalise(raw_from);
  const std::string to = Normalise(raw_to);
  state_->WaitForDisk();
  const std::lock_guard lock(state_->mutex);
  QUIVER_RETURN_IF_ERROR(state_->BeginWhole("cannot rename", from));
  const auto found = state_->names.find(from);
  const std::string to_directory = DirectoryOf(to);
  if (found == state_->names.end() || !state_->directories.contains(to_directory))
    return Missing("cannot rename", from);
  const std::shared_ptr<Inode> inode = found->second;
  if (from == to) return Status::Ok();
  const std::string from_directory = DirectoryOf(from);
  if (from_directory == to_directory) {
    state_->ChangeNames({.directory = to_directory, .removed = from, .added = to, .inode = inode});
  } else {
    state_->ChangeNames({.directory = to_directory, .removed = {}, .added = to, .inode = inode});
    state_->ChangeNames({.directory = from_directory, .removed = from, .added = {}, .inode = nullptr});
  }
  return Status::Ok();
}

Status FaultFileSystem::Remove(const std::string& raw_path) {
  const std::string path = Normalise(raw_path);
  state_->WaitForDisk();
  const std::lock_guard lock(state_->mutex);
  QUIVER_RETURN_IF_ERROR(state_->BeginWhole("cannot remove", path));
  if (!state_->names.contains(path)) return Missing("cannot remove", path);
  state_->ChangeNames({.directory = DirectoryOf(path), .removed = path, .added = {}, .inode = nullptr});
  return Status::Ok();
}

Status FaultFileSystem::RemoveDirectory(const std::string& raw_path) {
  const std::string path = Normalise(raw_path);
  const std::lock_guard lock(state_->mutex);
  QUIVER_RETURN_IF_ERROR(state_->BeginWhole("cannot remove the directory", path));
  if (!state_->directories.contains(path)) return Missing("cannot remove the directory", path);
  const std::string inside = path + "/";
  const auto name = state_->names.lower_bound(inside);
  const auto directory = state_->directories.lower_bound(inside);
  if ((name != state_->names.end() && name->first.starts_with(inside)) ||
      (directory != state_->directories.end() && directory->starts_with(inside))) {
    return Error(StatusCode::kIo, "cannot remove the directory {}: Directory not empty", path);
  }
  state_->directories.erase(path);
  return Status::Ok();
}

Result<bool> FaultFileSystem::Exists(const std::string& raw_path) {
  const std::string path = Normalise(raw_path);
  const std::lock_guard lock(state_->mutex);
  if (state_->crashed) return State::Crashed();
  return state_->names.contains(path) || state_->directories.contains(path);
}

Result<std::vector<DirectoryEntry>> FaultFileSystem::List(const std::string& raw_directory) {
  const std::string directory = Normalise(raw_directory);
  const std::lock_guard lock(state_->mutex);
  if (state_->crashed) return State::Crashed();
  if (!state_->directories.contains(directory)) return Missing("cannot list", directory);
  std::vector<DirectoryEntry> entries;
  for (const std::string& path : state_->directories) {
    if (path != directory && path != "." && DirectoryOf(path) == directory) {
      entries.push_back({.name = path.substr(path.rfind('/') + 1), .is_directory = true, .size = 0});
    }
  }
  for (const auto& [path, inode] : state_->names) {
    if (DirectoryOf(path) == directory) {
      entries.push_back(
          {.name = path.substr(path.rfind('/') + 1), .is_directory = false, .size = inode->current.size()});
    }
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

Status FaultFileSystem::CreateDirectories(const std::string& raw_path) {
  const std::string path = Normalise(raw_path);
  const std::lock_guard lock(state_->mutex);
  if (state_->crashed) return State::Crashed();
  if (state_->directories.contains(path)) return Status::Ok();
  QUIVER_RETURN_IF_ERROR(state_->BeginWhole("cannot create the directory", path));
  for (std::string at = path; !state_->directories.contains(at); at = DirectoryOf(at)) {
    if (state_->names.contains(at))
      return Error(StatusCode::kIo, "cannot create the directory {}: Not a directory", at);
    state_->directories.insert(at);
  }
  return Status::Ok();
}

Status FaultFileSystem::SyncDirectory(const std::string& raw_directory) {
  const std::string directory = Normalise(raw_directory);
  state_->WaitForDisk();
  const std::lock_guard lock(state_->mutex);
  QUIVER_RETURN_IF_ERROR(state_->BeginWhole("cannot sync", directory));
  if (!state_->directories.contains(directory)) return Missing("cannot open", directory);
  if (state_->ignore_syncs) return Status::Ok();
  std::vector<NameChange> rest;
  for (NameChange& change : state_->pending) {
    if (change.directory == directory) {
      Apply(change, state_->durable_names);
    } else {
      rest.push_back(std::move(change));
    }
  }
  state_->pending = std::move(rest);
  return Status::Ok();
}

Result<std::unique_ptr<FileLock>> FaultFileSystem::Lock(const std::string& raw_directory) {
  const std::string directory = Normalise(raw_directory);
  const std::lock_guard lock(state_->mutex);
  if (state_->crashed) return State::Crashed();
  if (!state_->directories.contains(directory)) return Missing("cannot create", JoinPath(directory, "LOCK"));
  if (!state_->locks.insert(directory).second) {
    return Error(StatusCode::kIo, "the data directory is in use by another process: {}", directory);
  }
  return std::unique_ptr<FileLock>(std::make_unique<MemoryFileLock<State>>(state_, directory));
}

Result<uint64_t> FaultFileSystem::FreeSpace(const std::string& /*directory*/) {
  const std::lock_guard lock(state_->mutex);
  if (state_->crashed) return State::Crashed();
  if (!state_->capacity.has_value()) return uint64_t{1} << 50;
  const uint64_t used = state_->UsedBytes();
  return used >= *state_->capacity ? 0 : *state_->capacity - used;
}

uint64_t FaultFileSystem::operations() const {
  const std::lock_guard lock(state_->mutex);
  return state_->operations;
}

uint64_t FaultFileSystem::reads() const {
  const std::lock_guard lock(state_->mutex);
  return state_->reads;
}

void FaultFileSystem::FailAt(uint64_t operation, Fault fault, uint64_t count) {
  const std::lock_guard lock(state_->mutex);
  for (uint64_t i = 0; i < count; ++i) state_->faults[operation + i] = fault;
}

void FaultFileSystem::FailReadAt(uint64_t read, Fault fault) {
  const std::lock_guard lock(state_->mutex);
  state_->read_faults[read] = fault;
}

void FaultFileSystem::CrashAt(uint64_t operation) {
  const std::lock_guard lock(state_->mutex);
  state_->crash_at = operation;
}

bool FaultFileSystem::crashed() const {
  const std::lock_guard lock(state_->mutex);
  return state_->crashed;
}

void FaultFileSystem::SetCapacity(std::optional<uint64_t> bytes) {
  const std::lock_guard lock(state_->mutex);
  state_->capacity = bytes;
}

void FaultFileSystem::SetLatency(std::chrono::microseconds latency) {
  state_->latency_us.store(latency.count(), std::memory_order_relaxed);
}

void FaultFileSystem::IgnoreSyncs(bool ignore) {
  const std::lock_guard lock(state_->mutex);
  state_->ignore_syncs = ignore;
}

Status FaultFileSystem::CountOperation(const std::string& what) {
  const std::lock_guard lock(state_->mutex);
  return state_->BeginWhole("cannot", what);
}

void FaultFileSystem::CrashAndDropUnsynced() {
  const std::lock_guard lock(state_->mutex);
  state_->Reset();
}

void FaultFileSystem::CrashAndScramble(uint64_t seed) {
  const std::lock_guard lock(state_->mutex);
  Random random(seed);
  const uint64_t kept = random.Below(state_->pending.size() + 1);
  for (uint64_t i = 0; i < kept; ++i) Apply(state_->pending[i], state_->durable_names);
  std::set<const Inode*> seen;
  for (auto& [path, inode] : state_->durable_names) {
    if (!seen.insert(inode.get()).second) continue;
    const size_t begin = std::min(inode->dirty_begin, inode->current.size());
    const size_t end = std::min(inode->dirty_end, inode->current.size());
    const bool changed = inode->dirty_begin < inode->dirty_end;
    if (!changed) continue;
    // The length that reached the disk: the old one, the new one, or one between them.
    const size_t low = std::min(inode->durable.size(), inode->current.size());
    const size_t high = std::max(inode->durable.size(), inode->current.size());
    const uint64_t choice = random.Below(3);
    const size_t length = choice == 0   ? inode->durable.size()
                          : choice == 1 ? inode->current.size()
                                        : low + static_cast<size_t>(random.Below(high - low + 1));
    inode->durable.resize(length);
    const uint64_t keep_of_four = random.Below(5);  // how likely a block is to have been written
    for (size_t block = begin / kBlock * kBlock; block < end; block += kBlock) {
      const bool keep = random.Below(4) < keep_of_four;
      const size_t from = std::max(block, begin);
      const size_t to = std::min({block + kBlock, end, length});
      if (keep && from < to) std::memcpy(inode->durable.data() + from, inode->current.data() + from, to - from);
    }
  }
  state_->Reset();
}

void FaultFileSystem::CrashProcess() {
  const std::lock_guard lock(state_->mutex);
  // Names and contents live on in the machine's memory, still unsynced: a later power loss may take them.
  ++state_->generation;
  state_->locks.clear();
  state_->faults.clear();
  state_->read_faults.clear();
  state_->crash_at.reset();
  state_->crashed = false;
  for (auto& [path, inode] : state_->names) inode->broken = false;
}

bool FaultFileSystem::FlipBit(const std::string& raw_path, uint64_t bit) {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->names.find(Normalise(raw_path));
  if (found == state_->names.end() || bit / 8 >= found->second->current.size()) return false;
  const auto mask = static_cast<char>(1 << (bit % 8));
  Inode& inode = *found->second;
  inode.current[bit / 8] = static_cast<char>(inode.current[bit / 8] ^ mask);
  if (bit / 8 < inode.durable.size()) inode.durable[bit / 8] = static_cast<char>(inode.durable[bit / 8] ^ mask);
  return true;
}

}  // namespace quiver::io
