// File: storage/log_store.cc
// The local form. A record names its own offset and how far the log had been synced when it was written. The first is
// why stale or misplaced bytes are never taken for a record. The second tells damage from a torn write: a bad record
// that a later record knows to have been synced is damage; otherwise it is the end of what the last crash left.
#include "storage/log_store.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/crc32c.h"
#include "storage/internal/log_format.h"

namespace quiver::storage {
namespace {

using internal::FileHeader;
using internal::FileReader;
using internal::HeaderCrc;
using internal::kAlignment;
using internal::kCloseKind;
using internal::kFileMagic;
using internal::kFileVersion;
using internal::kReadWindow;
using internal::kRecordMagic;
using internal::Padded;
using internal::RecordHeader;
using internal::Window;

/// Payload parts up to this size are copied behind their header so that a group needs few I/O vectors.
constexpr size_t kCopyLimit = 4096;

/// A file of the log. `file` is set while it may still have to be written or synced.
struct LogFile {
  uint64_t first_offset = 0;
  std::string path;
  std::shared_ptr<io::AppendFile> file;
  bool name_durable = true;
};

Status Damaged(const std::string& path, uint64_t position, std::string_view what) {
  return Error(StatusCode::kCorruption, "{} is damaged at byte {}: {}", path, position, what);
}

class LocalLog final : public LogStore {
 public:
  LocalLog(io::FileSystem& file_system, std::string directory, LocalLogOptions options)
      : file_system_(file_system), directory_(std::move(directory)), options_(std::move(options)) {}

  Status Open();

  Result<uint64_t> Append(std::span<const LogEntry> entries) override;
  Status Sync() override {
    if (!options_.sync) return CheckUsable();
    return SyncFiles();
  }
  Status Read(uint64_t from, const LogVisitor& visit) const override;
  Status TruncateBefore(uint64_t offset) override;
  Status Close() override;

  [[nodiscard]] uint64_t begin_offset() const override {
    const std::lock_guard lock(mutex_);
    return files_.front().first_offset;
  }
  [[nodiscard]] uint64_t end_offset() const override { return end_offset_.load(std::memory_order_acquire); }
  [[nodiscard]] uint64_t synced_offset() const override { return synced_offset_.load(std::memory_order_acquire); }
  [[nodiscard]] uint64_t byte_size() const override { return end_offset() - begin_offset(); }
  [[nodiscard]] uint64_t epoch() const override { return epoch_; }
  [[nodiscard]] uint64_t sync_count() const override { return sync_count_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t torn_bytes() const override { return torn_bytes_; }

 private:
  /// What the scan at open found out about one file's header.
  struct Scanned {
    bool header_sound = false;
    FileHeader header{};
  };

  Result<Scanned> ReadFileHeader(const LogFile& file) const;
  Status FindEnd(const std::vector<Scanned>& scanned);
  Status CutAt(size_t file_index, uint64_t offset);
  Status BeginFile(uint64_t first_offset, bool durable);
  Result<uint64_t> AppendLocked(std::span<const LogEntry> entries, bool reserved_kinds);
  Status SyncFiles();

  [[nodiscard]] Status CheckUsable() const {
    const std::lock_guard lock(mutex_);
    return poison_;
  }
  /// Records that the log must not be written any more, because what it holds is not known.
  Status Poison(const Status& cause) {
    const std::lock_guard lock(mutex_);
    if (poison_.ok()) {
      poison_ =
          Error(StatusCode::kForceDeny, "writes are refused until a restart, the log failed: {}", cause.message());
    }
    return poison_;
  }

  io::FileSystem& file_system_;
  const std::string directory_;
  const LocalLogOptions options_;

  std::mutex append_mutex_;  // one Append at a time; taken before sync_mutex_ and mutex_
  std::mutex sync_mutex_;    // one sync at a time; taken before mutex_
  mutable std::mutex mutex_;
  std::vector<LogFile> files_;  // in order, at least one after Open
  Status poison_;

  std::atomic<uint64_t> end_offset_{0};
  std::atomic<uint64_t> synced_offset_{0};
  std::atomic<uint64_t> sync_count_{0};
  uint64_t epoch_ = 1;
  uint64_t torn_bytes_ = 0;
  bool closed_ = false;             // by append_mutex_
  bool close_mark_at_end_ = false;  // by append_mutex_
  uint64_t preallocated_ = 0;       // of the last file; by append_mutex_
};

Result<LocalLog::Scanned> LocalLog::ReadFileHeader(const LogFile& file) const {
  Scanned scanned;
  QUIVER_ASSIGN_OR_RETURN(Window window, Window::Open(file_system_, file.path));
  if (window.size() < sizeof(FileHeader)) return scanned;
  QUIVER_ASSIGN_OR_RETURN(const std::string_view bytes, window.At(0, sizeof(FileHeader)));
  std::memcpy(&scanned.header, bytes.data(), sizeof(FileHeader));
  const FileHeader& header = scanned.header;
  if (header.magic != kFileMagic) return scanned;
  // Looked at before the checksum, since a newer layout may keep that elsewhere.
  if (header.version > kFileVersion) {
    return Error(StatusCode::kCorruption, "{} has log format version {}, this version of Quiver reads up to {}",
                 file.path, header.version, kFileVersion);
  }
  scanned.header_sound = header.crc == HeaderCrc(header) && header.first_offset == file.first_offset &&
                         header.header_size == sizeof(FileHeader) && header.version != 0 &&
                         header.synced_through <= header.first_offset && header.first_offset % kAlignment == 0;
  return scanned;
}

Status LocalLog::Open() {
  QUIVER_RETURN_IF_ERROR(file_system_.CreateDirectories(directory_));
  QUIVER_ASSIGN_OR_RETURN(const std::vector<io::DirectoryEntry> entries, file_system_.List(directory_));
  for (const io::DirectoryEntry& entry : entries) {
    const std::optional<uint64_t> first_offset = internal::ParseFileName(entry.name);
    if (!first_offset.has_value() || entry.is_directory) continue;
    files_.push_back({.first_offset = *first_offset, .path = io::JoinPath(directory_, entry.name), .file = nullptr});
  }
  if (files_.empty()) return BeginFile(0, true);
  std::vector<Scanned> scanned;
  for (const LogFile& file : files_) {
    QUIVER_ASSIGN_OR_RETURN(const Scanned facts, ReadFileHeader(file));
    scanned.push_back(facts);
  }
  return FindEnd(scanned);
}

/// Walks the records that may not have been synced and cuts the log behind the last good one.
Status LocalLog::FindEnd(const std::vector<Scanned>& scanned) {
  // The newest sound file header tells how far the log had been synced when that file was begun.
  size_t newest = files_.size();
  while (newest > 0 && !scanned[newest - 1].header_sound) --newest;
  if (newest == 0 && files_.front().first_offset != 0) {
    // No header can be trusted. The very first file may be torn in its creation; any later one follows synced records.
    return Damaged(files_.front().path, 0, "the file header is not sound");
  }
  uint64_t synced_through = newest == 0 ? 0 : scanned[newest - 1].header.synced_through;
  synced_through = std::max(synced_through, files_.front().first_offset);
  size_t index = 0;
  while (index + 1 < files_.size() && files_[index + 1].first_offset <= synced_through) ++index;
  uint64_t offset = files_[index].first_offset;

  uint64_t epoch = 0;
  bool close_mark = false;
  for (;; ++index) {
    const LogFile& file = files_[index];
    QUIVER_ASSIGN_OR_RETURN(Window window, Window::Open(file_system_, file.path));
    FileReader reader{file.first_offset, std::move(window)};
    if (!scanned[index].header_sound && offset < synced_through) {
      return Damaged(file.path, 0, "the file header is not sound, but records behind it had been synced");
    }
    if (scanned[index].header_sound) {
      epoch = std::max(epoch, scanned[index].header.epoch);
      while (true) {
        QUIVER_ASSIGN_OR_RETURN(const std::optional<RecordHeader> header, reader.HeaderAt(offset));
        if (!header.has_value()) break;
        if (offset >= synced_through) {  // Read checks what is older, from where it is asked to begin
          QUIVER_ASSIGN_OR_RETURN(const std::optional<std::string_view> payload, reader.PayloadOf(*header));
          if (!payload.has_value()) break;
        }
        epoch = std::max(epoch, header->epoch);
        close_mark = header->kind == kCloseKind;
        offset += sizeof(RecordHeader) + Padded(header->payload_length);
      }
    }
    const bool last = index + 1 == files_.size();
    if (!last && files_[index + 1].first_offset < offset) {
      return Damaged(files_[index + 1].path, 0, "the file before it reaches past its beginning");
    }
    const bool complete = !last && files_[index + 1].first_offset == offset;
    if (complete && scanned[index].header_sound && scanned[index + 1].header_sound) continue;
    // Nothing sound stands at `offset`: the end of the log, unless something later knows better.
    bool synced = offset < synced_through;
    if (!synced && reader.LimitOffset() > offset) {
      QUIVER_ASSIGN_OR_RETURN(synced,
                              reader.KnowsSynced(scanned[index].header_sound ? offset : file.first_offset, offset));
    }
    for (size_t later = index + 1; later < files_.size() && !synced; ++later) {
      if (scanned[later].header_sound && scanned[later].header.synced_through > offset) synced = true;
      if (synced) break;
      QUIVER_ASSIGN_OR_RETURN(Window later_window, Window::Open(file_system_, files_[later].path));
      FileReader later_reader{files_[later].first_offset, std::move(later_window)};
      QUIVER_ASSIGN_OR_RETURN(synced, later_reader.KnowsSynced(files_[later].first_offset, offset));
    }
    if (synced && scanned[index].header_sound && !complete) {
      return Damaged(file.path, reader.PositionOf(offset), "the record there is not sound, but ones behind it are");
    }
    if (synced) {
      const LogFile& unsound = scanned[index].header_sound ? files_[index + 1] : file;
      return Damaged(unsound.path, 0, "the file header is not sound, but records behind it had been synced");
    }
    epoch_ = epoch + 1;
    close_mark_at_end_ = close_mark;
    return CutAt(index, offset);
  }
}

/// Makes `offset`, in file `index`, the durable end of the log.
Status LocalLog::CutAt(size_t index, uint64_t offset) {
  // Newest first, so that a crash in between leaves no gap.
  bool removed = false;
  while (files_.size() > index + 1) {
    QUIVER_ASSIGN_OR_RETURN(const Window window, Window::Open(file_system_, files_.back().path));
    torn_bytes_ += window.size();
    QUIVER_RETURN_IF_ERROR(file_system_.Remove(files_.back().path));
    QUIVER_RETURN_IF_ERROR(file_system_.SyncDirectory(directory_));
    files_.pop_back();
    removed = true;
  }
  LogFile& file = files_.back();
  QUIVER_ASSIGN_OR_RETURN(Window bytes, Window::Open(file_system_, file.path));
  QUIVER_ASSIGN_OR_RETURN(const Scanned scanned, ReadFileHeader(file));
  if (!scanned.header_sound) {
    // Torn in its creation, so nothing in it counts.
    torn_bytes_ += bytes.size();
    QUIVER_RETURN_IF_ERROR(file_system_.Remove(file.path));
    QUIVER_RETURN_IF_ERROR(file_system_.SyncDirectory(directory_));
    files_.pop_back();
    return BeginFile(offset, true);
  }
  // Reserved space that was never written is zeros and no loss.
  const uint64_t end = offset - file.first_offset + sizeof(FileHeader);
  uint64_t last_written = end;
  for (uint64_t position = end; position < bytes.size();) {
    const auto length = static_cast<size_t>(std::min<uint64_t>(kReadWindow, bytes.size() - position));
    QUIVER_ASSIGN_OR_RETURN(const std::string_view piece, bytes.At(position, length));
    const size_t found = piece.find_last_not_of('\0');
    if (found != std::string_view::npos) last_written = position + found + 1;
    position += length;
  }
  torn_bytes_ += last_written - end;
  if (last_written > end || removed) close_mark_at_end_ = false;

  // What was read may be in the system's cache only. It is about to be served, so it has to be durable first.
  for (size_t i = 0; i < files_.size(); ++i) {
    LogFile& each = files_[i];
    const bool is_last = i + 1 == files_.size();
    const uint64_t limit = is_last ? offset : files_[i + 1].first_offset;
    if (!is_last && limit <= scanned.header.synced_through) continue;
    QUIVER_ASSIGN_OR_RETURN(const Window each_window, Window::Open(file_system_, each.path));
    QUIVER_ASSIGN_OR_RETURN(std::unique_ptr<io::AppendFile> append,
                            file_system_.OpenAppend(each.path, is_last ? end : each_window.size()));
    QUIVER_RETURN_IF_ERROR(append->Sync());
    if (is_last) each.file = std::move(append);
  }
  QUIVER_RETURN_IF_ERROR(file_system_.SyncDirectory(directory_));
  preallocated_ = end;
  end_offset_.store(offset);
  synced_offset_.store(offset);
  return Status::Ok();
}

/// Makes the file that follows and appends to it from now on. Its name becomes durable at the next sync, or at once.
Status LocalLog::BeginFile(uint64_t first_offset, bool durable) {
  LogFile next{.first_offset = first_offset,
               .path = io::JoinPath(directory_, internal::FileName(first_offset)),
               .file = nullptr,
               .name_durable = false};
  FileHeader header{};
  header.magic = kFileMagic;
  header.version = kFileVersion;
  header.header_size = sizeof(FileHeader);
  header.first_offset = first_offset;
  header.epoch = epoch_;
  header.synced_through = synced_offset_.load();
  if (durable) header.synced_through = first_offset;
  header.crc = HeaderCrc(header);
  QUIVER_ASSIGN_OR_RETURN(std::shared_ptr<io::AppendFile> file, file_system_.Create(next.path));
  if (Status written = file->Append({reinterpret_cast<const char*>(&header), sizeof(header)}); !written.ok()) {
    // Taken back, so that a full disk leaves the name free for the next attempt.
    if (Status removed = file_system_.Remove(next.path); !removed.ok()) return removed;
    return written;
  }
  if (durable) {
    QUIVER_RETURN_IF_ERROR(file->Sync());
    QUIVER_RETURN_IF_ERROR(file_system_.SyncDirectory(directory_));
    next.name_durable = true;
    end_offset_.store(first_offset);
    synced_offset_.store(first_offset);
  }
  next.file = std::move(file);
  preallocated_ = sizeof(FileHeader);
  const std::lock_guard lock(mutex_);
  files_.push_back(std::move(next));
  return Status::Ok();
}

Result<uint64_t> LocalLog::Append(std::span<const LogEntry> entries) {
  const std::lock_guard append_lock(append_mutex_);
  return AppendLocked(entries, false);
}

Result<uint64_t> LocalLog::AppendLocked(std::span<const LogEntry> entries, bool reserved_kinds) {
  QUIVER_RETURN_IF_ERROR(CheckUsable());
  if (closed_) return Error(StatusCode::kNotReady, "the log is closed");

  // Sizes first, so that nothing is written when one entry is refused and the copied bytes never move.
  uint64_t total = 0;
  size_t copied = 0;
  size_t views = 1;
  for (const LogEntry& entry : entries) {
    uint64_t length = entry.payload.size();
    for (const std::string_view part : entry.parts) length += part.size();
    if (length > kMaxLogPayload) {
      return Error(StatusCode::kTooLarge, "a log record of {} bytes is over the limit of {}", length, kMaxLogPayload);
    }
    if (entry.kind >= kFirstReservedKind && !reserved_kinds) {
      return InvalidParameter("log record kind is reserved: {}", entry.kind);
    }
    total += sizeof(RecordHeader) + Padded(length);
    copied += sizeof(RecordHeader) + kAlignment;
    const auto count = [&](std::string_view part) {
      if (part.size() <= kCopyLimit) {
        copied += part.size();
      } else {
        views += 2;
      }
    };
    count(entry.payload);
    for (const std::string_view part : entry.parts) count(part);
  }
  if (entries.empty()) return end_offset();

  // A file takes whole groups; the last one may carry it past the limit when it is larger than a file.
  const uint64_t start = end_offset();
  std::shared_ptr<io::AppendFile> file;
  {
    const std::lock_guard lock(mutex_);
    file = files_.back().file;
  }
  if (file->size() > sizeof(FileHeader) && file->size() + total > options_.segment_bytes) {
    if (const Status begun = BeginFile(start, false); !begun.ok()) {
      return begun.code() == StatusCode::kDiskFull ? begun : Poison(begun);
    }
    if (!options_.sync) QUIVER_RETURN_IF_ERROR(SyncFiles());
    const std::lock_guard lock(mutex_);
    file = files_.back().file;
  }
  if (options_.preallocate_bytes > 0 && file->size() + total > preallocated_) {
    const uint64_t step = options_.preallocate_bytes;
    const uint64_t needed = file->size() + total;
    const uint64_t target = std::max(needed, std::min(options_.segment_bytes, (needed + step - 1) / step * step));
    const Status reserved = file->Preallocate(target);
    if (reserved.ok()) {
      preallocated_ = target;
    } else if (reserved.code() != StatusCode::kDiskFull) {
      return Poison(reserved);
    }  // a full disk may still have room for the group itself; the write below tells
  }

  std::string scratch;
  scratch.reserve(copied);
  std::vector<std::string_view> pieces;
  pieces.reserve(views);
  size_t piece_begin = 0;
  const auto close_piece = [&] {
    if (scratch.size() > piece_begin) {
      pieces.push_back(std::string_view(scratch).substr(piece_begin));
    }
    piece_begin = scratch.size();
  };
  uint64_t offset = start;
  for (const LogEntry& entry : entries) {
    RecordHeader header{};
    header.magic = kRecordMagic;
    header.kind = entry.kind;
    header.stream = entry.stream;
    header.timestamp = entry.timestamp;
    header.epoch = epoch_;
    header.offset = offset;
    header.synced_through = synced_offset();
    header.payload_length = static_cast<uint32_t>(entry.payload.size());
    header.payload_crc = Crc32c(entry.payload);
    for (const std::string_view part : entry.parts) {
      header.payload_length += static_cast<uint32_t>(part.size());
      header.payload_crc = Crc32c(part, header.payload_crc);
    }
    header.header_crc = HeaderCrc(header);
    scratch.append(reinterpret_cast<const char*>(&header), sizeof(header));
    const auto add = [&](std::string_view part) {
      if (part.size() <= kCopyLimit) {
        scratch += part;
      } else {
        close_piece();
        pieces.push_back(part);
      }
    };
    add(entry.payload);
    for (const std::string_view part : entry.parts) add(part);
    scratch.append(Padded(header.payload_length) - header.payload_length, '\0');
    offset += sizeof(RecordHeader) + Padded(header.payload_length);
  }
  close_piece();

  if (const Status written = file->Append(pieces); !written.ok()) {
    if (written.code() != StatusCode::kDiskFull) return Poison(written);
    preallocated_ = file->size();
    return written;
  }
  close_mark_at_end_ = entries.back().kind == kCloseKind;
  const std::lock_guard lock(mutex_);
  end_offset_.store(offset, std::memory_order_release);
  return offset;
}

Status LocalLog::SyncFiles() {
  const std::lock_guard sync_lock(sync_mutex_);
  std::vector<std::pair<uint64_t, std::shared_ptr<io::AppendFile>>> unsynced;
  bool new_names = false;
  uint64_t target = 0;
  {
    const std::lock_guard lock(mutex_);
    QUIVER_RETURN_IF_ERROR(poison_);
    target = end_offset();
    if (target == synced_offset()) return Status::Ok();
    for (const LogFile& file : files_) {
      if (file.file != nullptr) unsynced.emplace_back(file.first_offset, file.file);
      if (!file.name_durable) new_names = true;
    }
  }
  const auto begin = std::chrono::steady_clock::now();
  for (const auto& [first_offset, file] : unsynced) {
    if (const Status synced = file->Sync(); !synced.ok()) return Poison(synced);
  }
  if (new_names) {
    if (const Status synced = file_system_.SyncDirectory(directory_); !synced.ok()) return Poison(synced);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  sync_count_.fetch_add(1, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    for (LogFile& file : files_) {
      if (unsynced.empty() || file.first_offset > unsynced.back().first) break;
      file.name_durable = true;
      // Only the newest file is written any more; the ones before it are complete now.
      if (file.first_offset != files_.back().first_offset) file.file.reset();
    }
    synced_offset_.store(target, std::memory_order_release);
  }
  if (options_.on_sync) options_.on_sync(seconds.count());
  return Status::Ok();
}

Status LocalLog::Read(uint64_t from, const LogVisitor& visit) const {
  std::vector<std::pair<uint64_t, std::string>> files;
  uint64_t end = 0;
  {
    const std::lock_guard lock(mutex_);
    end = end_offset();
    for (const LogFile& file : files_) files.emplace_back(file.first_offset, file.path);
  }
  if (from < files.front().first) {
    return Error(StatusCode::kCorruption, "the log {} begins at offset {}, it no longer holds offset {}", directory_,
                 files.front().first, from);
  }
  if (from > end) {
    return Error(StatusCode::kCorruption, "the log {} ends at offset {}, before offset {}", directory_, end, from);
  }
  size_t index = 0;
  while (index + 1 < files.size() && files[index + 1].first <= from) ++index;
  bool first = true;
  for (; index < files.size(); ++index) {
    const uint64_t file_end = index + 1 < files.size() ? files[index + 1].first : end;
    if (file_end == files[index].first) continue;
    QUIVER_ASSIGN_OR_RETURN(Window window, Window::Open(file_system_, files[index].second));
    FileReader reader{files[index].first, std::move(window)};
    uint64_t offset = reader.first_offset;
    if (std::exchange(first, false)) {
      // `from` is a record's offset as a rule; what stands before it is not needed and not looked at.
      QUIVER_ASSIGN_OR_RETURN(const std::optional<RecordHeader> there, reader.HeaderAt(from));
      if (there.has_value() || from == file_end) offset = from;
    }
    while (offset < file_end) {
      QUIVER_ASSIGN_OR_RETURN(const std::optional<RecordHeader> header, reader.HeaderAt(offset));
      std::optional<std::string_view> payload;
      if (header.has_value()) {
        QUIVER_ASSIGN_OR_RETURN(payload, reader.PayloadOf(*header));
      }
      if (!payload.has_value()) {
        return Damaged(files[index].second, reader.PositionOf(offset), "the record there is not sound");
      }
      if (offset >= from && header->kind < kFirstReservedKind) {
        LogEntry entry;
        entry.stream = header->stream;
        entry.timestamp = header->timestamp;
        entry.kind = header->kind;
        entry.payload = *payload;
        entry.epoch = header->epoch;
        QUIVER_RETURN_IF_ERROR(visit(offset, entry));
      }
      offset += sizeof(RecordHeader) + Padded(header->payload_length);
    }
    if (offset != file_end) {
      return Damaged(files[index].second, reader.PositionOf(file_end), "a record reaches past the end of the file");
    }
  }
  return Status::Ok();
}

Status LocalLog::TruncateBefore(uint64_t offset) {
  offset = std::min(offset, synced_offset());
  while (true) {
    std::string path;
    {
      const std::lock_guard lock(mutex_);
      if (files_.size() < 2 || files_[1].first_offset > offset || !files_[1].name_durable) return Status::Ok();
      path = files_.front().path;
      files_.erase(files_.begin());
    }
    // Each removal is made durable before the next, so that a crash leaves no gap between files.
    QUIVER_RETURN_IF_ERROR(file_system_.Remove(path));
    QUIVER_RETURN_IF_ERROR(file_system_.SyncDirectory(directory_));
  }
}

Status LocalLog::Close() {
  const std::lock_guard append_lock(append_mutex_);
  if (closed_) return Status::Ok();
  QUIVER_RETURN_IF_ERROR(SyncFiles());
  if (!close_mark_at_end_ && end_offset() > 0) {
    // The mark knows that everything before it was synced; without it, damage to the last group would look torn.
    LogEntry mark;
    mark.kind = kCloseKind;
    QUIVER_ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t end, AppendLocked(std::span(&mark, 1), true));
    QUIVER_RETURN_IF_ERROR(SyncFiles());
  }
  closed_ = true;
  return Status::Ok();
}

}  // namespace

Result<std::unique_ptr<LogStore>> OpenLocalLog(io::FileSystem& file_system, const std::string& directory,
                                               LocalLogOptions options) {
  auto log = std::make_unique<LocalLog>(file_system, directory, std::move(options));
  QUIVER_RETURN_IF_ERROR(log->Open());
  return std::unique_ptr<LogStore>(std::move(log));
}

}  // namespace quiver::storage
