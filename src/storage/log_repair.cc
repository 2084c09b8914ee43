#include "storage/log_repair.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "storage/internal/log_format.h"
#include "storage/log_store.h"

namespace quiver::storage {

namespace {

using internal::FileReader;
using internal::kAlignment;
using internal::Padded;
using internal::RecordHeader;
using internal::Window;

/// Marks in DATA/log.repaired how far the installation is: the old files are to be moved away, then the new ones in.
constexpr std::string_view kMoveOut = "MOVE-OUT";
constexpr std::string_view kMoveIn = "MOVE-IN";

struct Paths {
  explicit Paths(const std::string& data)
      : log(io::JoinPath(data, "log")),
        repaired(io::JoinPath(data, "log.repaired")),
        quarantine(io::JoinPath(data, "quarantine")) {}
  std::string log;
  std::string repaired;
  std::string quarantine;
};

Result<std::vector<std::pair<uint64_t, std::string>>> LogFiles(io::FileSystem& file_system,
                                                               const std::string& directory) {
  std::vector<std::pair<uint64_t, std::string>> files;
  QUIVER_ASSIGN_OR_RETURN(const auto entries, file_system.List(directory));
  for (const io::DirectoryEntry& entry : entries) {
    const std::optional<uint64_t> first = internal::ParseFileName(entry.name);
    if (first && !entry.is_directory) files.emplace_back(*first, entry.name);
  }
  std::sort(files.begin(), files.end());
  return files;
}

Status RemoveCopy(io::FileSystem& file_system, const Paths& paths) {
  QUIVER_ASSIGN_OR_RETURN(const bool exists, file_system.Exists(paths.repaired));
  if (!exists) return Status::Ok();
  QUIVER_ASSIGN_OR_RETURN(const auto entries, file_system.List(paths.repaired));
  for (const io::DirectoryEntry& entry : entries) {
    QUIVER_RETURN_IF_ERROR(file_system.Remove(io::JoinPath(paths.repaired, entry.name)));
  }
  return file_system.RemoveDirectory(paths.repaired);
}

/// Walks the files of a damaged log and hands on what is sound.
class Salvager {
 public:
  Salvager(io::FileSystem& file_system, const Paths& paths, LogStore& target)
      : file_system_(file_system), paths_(paths), target_(target) {}

  Result<LogSalvage> Run() {
    QUIVER_ASSIGN_OR_RETURN(const auto files, LogFiles(file_system_, paths_.log));
    for (size_t i = 0; i < files.size(); ++i) {
      const std::optional<uint64_t> next = i + 1 < files.size() ? std::optional(files[i + 1].first) : std::nullopt;
      QUIVER_RETURN_IF_ERROR(WalkFile(files[i].first, files[i].second, next));
    }
    // What stands behind the last sound record is lost only if somebody knows that it had been synced.
    if (open_hole_ && open_hole_offset_ < synced_through_) {
      open_hole_->bytes = synced_through_ - open_hole_offset_;
      Close(0);
    }
    return std::move(salvage_);
  }

 private:
  Status WalkFile(uint64_t first_offset, const std::string& name, std::optional<uint64_t> next_file) {
    QUIVER_ASSIGN_OR_RETURN(Window window, Window::Open(file_system_, io::JoinPath(paths_.log, name)));
    FileReader reader{first_offset, std::move(window)};
    if (reader.window.size() >= sizeof(internal::FileHeader)) {
      QUIVER_ASSIGN_OR_RETURN(const std::string_view bytes, reader.window.At(0, sizeof(internal::FileHeader)));
      internal::FileHeader header;
      std::memcpy(&header, bytes.data(), sizeof(header));
      const bool sound = header.magic == internal::kFileMagic && header.crc == internal::HeaderCrc(header);
      if (sound && header.version > internal::kFileVersion) {
        return Error(StatusCode::kCorruption, "{} has log format version {}, this version of Quiver reads up to {}",
                     name, header.version, internal::kFileVersion);
      }
      if (sound) synced_through_ = std::max(synced_through_, header.synced_through);
      if (!sound && !open_hole_) Open(name, 0, first_offset);
    }
    const uint64_t end = next_file ? std::min(*next_file, reader.LimitOffset()) : reader.LimitOffset();
    uint64_t offset = first_offset;
    while (offset < end && end - offset >= sizeof(RecordHeader)) {
      QUIVER_ASSIGN_OR_RETURN(const std::optional<RecordHeader> header, reader.HeaderAt(offset));
      std::optional<std::string_view> payload;
      if (header) {
        QUIVER_ASSIGN_OR_RETURN(payload, reader.PayloadOf(*header));
      }
      // Records of an older epoch or moment behind newer ones are left-overs of what was cut off once.
      if (payload && header->epoch >= epoch_ && (IsMark(*header) || header->timestamp > newest_)) {
        QUIVER_RETURN_IF_ERROR(Keep(*header, *payload));
        offset += sizeof(RecordHeader) + Padded(header->payload_length);
        continue;
      }
      if (!open_hole_) {
        Open(name, reader.PositionOf(offset), offset);
        if (header && !payload) {
          open_hole_->kind = header->kind;
          open_hole_->stream = header->stream;
        }
      }
      offset += kAlignment;
    }
    // A file that has another one behind it is whole up to that one.
    if (next_file && offset < *next_file && !open_hole_) Open(name, reader.PositionOf(offset), offset);
    return Status::Ok();
  }

  static bool IsMark(const RecordHeader& header) { return header.kind >= kFirstReservedKind; }

  void Open(const std::string& file, uint64_t position, uint64_t offset) {
    open_hole_ = LogHole{.file = file, .position = position, .after = newest_};
    open_hole_offset_ = offset;
  }

  void Close(uint64_t before) {
    open_hole_->before = before;
    salvage_.holes.push_back(*std::exchange(open_hole_, std::nullopt));
  }

  Status Keep(const RecordHeader& header, std::string_view payload) {
    synced_through_ = std::max(synced_through_, header.synced_through);
    if (open_hole_) {
      open_hole_->bytes = header.offset - open_hole_offset_;
      // A bad file header alone hides nothing.
      if (open_hole_->bytes > 0) {
        Close(IsMark(header) ? 0 : header.timestamp);
      } else {
        open_hole_.reset();
      }
    }
    epoch_ = std::max(epoch_, header.epoch);
    if (IsMark(header)) return Status::Ok();
    newest_ = header.timestamp;
    LogEntry entry;
    entry.stream = header.stream;
    entry.timestamp = header.timestamp;
    entry.kind = header.kind;
    entry.payload = payload;
    ++salvage_.records;
    if (!salvage_.holes.empty()) ++salvage_.records_behind;
    return target_.Append(std::span(&entry, 1)).status();
  }

  io::FileSystem& file_system_;
  const Paths& paths_;
  LogStore& target_;
  LogSalvage salvage_;
  std::optional<LogHole> open_hole_;
  uint64_t open_hole_offset_ = 0;
  uint64_t synced_through_ = 0;
  uint64_t newest_ = 0;
  uint64_t epoch_ = 0;
};

/// Makes an empty file, durably.
Status Mark(io::FileSystem& file_system, const std::string& directory, std::string_view name) {
  QUIVER_ASSIGN_OR_RETURN(const auto file, file_system.Create(io::JoinPath(directory, name)));
  QUIVER_RETURN_IF_ERROR(file->Sync());
  return file_system.SyncDirectory(directory);
}

}  // namespace

Result<LogSalvage> SalvageLocalLog(io::FileSystem& file_system, const std::string& data_directory) {
  const Paths paths(data_directory);
  QUIVER_RETURN_IF_ERROR(RemoveCopy(file_system, paths));
  QUIVER_ASSIGN_OR_RETURN(const auto target, OpenLocalLog(file_system, paths.repaired, {}));
  QUIVER_ASSIGN_OR_RETURN(LogSalvage salvage, Salvager(file_system, paths, *target).Run());
  QUIVER_RETURN_IF_ERROR(target->Close());
  return salvage;
}

Status InstallLog(io::FileSystem& file_system, const std::string& data_directory) {
  const Paths paths(data_directory);
  QUIVER_RETURN_IF_ERROR(file_system.SyncDirectory(data_directory));  // the copy is there before the old one goes
  QUIVER_RETURN_IF_ERROR(Mark(file_system, paths.repaired, kMoveOut));
  return FinishLogRepair(file_system, data_directory);
}

Status FinishLogRepair(io::FileSystem& file_system, const std::string& data_directory) {
  const Paths paths(data_directory);
  QUIVER_ASSIGN_OR_RETURN(const bool begun, file_system.Exists(paths.repaired));
  if (!begun) return Status::Ok();
  const std::string move_out = io::JoinPath(paths.repaired, kMoveOut);
  const std::string move_in = io::JoinPath(paths.repaired, kMoveIn);
  QUIVER_ASSIGN_OR_RETURN(const bool moving_out, file_system.Exists(move_out));
  QUIVER_ASSIGN_OR_RETURN(const bool moving_in, file_system.Exists(move_in));
  if (!moving_out && !moving_in) return RemoveCopy(file_system, paths);
  if (moving_out) {
    QUIVER_RETURN_IF_ERROR(file_system.CreateDirectories(paths.quarantine));
    QUIVER_ASSIGN_OR_RETURN(const auto old_files, LogFiles(file_system, paths.log));
    for (const auto& [first, name] : old_files) {
      std::string to = io::JoinPath(paths.quarantine, "log-" + name);
      for (int copy = 1;; ++copy) {  // what an earlier repair has kept is not written over
        QUIVER_ASSIGN_OR_RETURN(const bool taken, file_system.Exists(to));
        if (!taken) break;
        to = fmt::format("{}/log-{}.{}", paths.quarantine, name, copy);
      }
      QUIVER_RETURN_IF_ERROR(file_system.Rename(io::JoinPath(paths.log, name), to));
    }
    QUIVER_RETURN_IF_ERROR(file_system.SyncDirectory(paths.quarantine));
    QUIVER_RETURN_IF_ERROR(file_system.SyncDirectory(paths.log));
    QUIVER_RETURN_IF_ERROR(file_system.Rename(move_out, move_in));
    QUIVER_RETURN_IF_ERROR(file_system.SyncDirectory(paths.repaired));
  }
  QUIVER_ASSIGN_OR_RETURN(const auto new_files, LogFiles(file_system, paths.repaired));
  for (const auto& [first, name] : new_files) {
    QUIVER_RETURN_IF_ERROR(file_system.Rename(io::JoinPath(paths.repaired, name), io::JoinPath(paths.log, name)));
  }
  QUIVER_RETURN_IF_ERROR(file_system.SyncDirectory(paths.log));
  QUIVER_RETURN_IF_ERROR(file_system.Remove(move_in));
  QUIVER_RETURN_IF_ERROR(file_system.RemoveDirectory(paths.repaired));
  return file_system.SyncDirectory(data_directory);
}

}  // namespace quiver::storage
