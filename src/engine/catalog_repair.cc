#include "engine/catalog_repair.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "engine/engine_impl.h"
#include "io/read_only_file_system.h"

namespace quiver::engine {

namespace {

/// Rows that are compared to find out whether a segment was replaced by another one.
constexpr uint32_t kComparedRows = 64;

std::optional<int64_t> NumberOf(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

class Refiller {
 public:
  Refiller(io::FileSystem& file_system, const std::string& data_directory, storage::MetaStore& meta)
      : files_(file_system), data_(data_directory), meta_(meta) {}

  Result<CatalogRepair> Run() {
    QUIVER_RETURN_IF_ERROR(FromLog());
    QUIVER_RETURN_IF_ERROR(ReadCatalog());
    QUIVER_RETURN_IF_ERROR(FromSegmentFiles());
    QUIVER_ASSIGN_OR_RETURN(const auto mark, meta_.Get(kClockKey));
    // A timestamp must not be given twice.
    if (!mark) QUIVER_RETURN_IF_ERROR(Put(std::string(kClockKey), std::to_string(newest_)));
    QUIVER_RETURN_IF_ERROR(meta_.Sync());
    return std::move(repair_);
  }

 private:
  Status Put(std::string key, std::string value) {
    storage::MetaTransaction transaction;
    transaction.Put(std::move(key), std::move(value));
    return meta_.Commit(transaction).status();
  }

  Status Say(const std::string& file, int64_t collection_id, int64_t segment_id, std::string what, std::string done) {
    repair_.faults.push_back({.file = file,
                              .collection_id = collection_id,
                              .segment_id = segment_id,
                              .what = std::move(what),
                              .repair = std::move(done)});
    return Status::Ok();
  }

  /// The last state of each catalog entry that the log tells.
  Status FromLog() {
    const std::string directory = io::JoinPath(data_, "log");
    QUIVER_ASSIGN_OR_RETURN(const bool exists, files_.Exists(directory));
    if (!exists) return Status::Ok();
    std::map<std::string, std::optional<std::string>> told;
    uint64_t newest_change = 0;
    const auto read = [&]() -> Status {
      QUIVER_ASSIGN_OR_RETURN(const auto log, storage::OpenLocalLog(files_, directory, {}));
      return log->Read(log->begin_offset(), [&](uint64_t, const storage::LogEntry& entry) -> Status {
        newest_ = std::max(newest_, entry.timestamp);
        if (entry.kind != static_cast<uint8_t>(LogKind::kDdl)) return Status::Ok();
        auto record = DecodeDdlRecord(entry.payload);
        if (!record.ok()) return Status::Ok();  // named when the log is checked
        newest_change = entry.timestamp;
        for (storage::MetaOperation& operation : record->operations) {
          if (!operation.key.starts_with(kCollectionPrefix) && !operation.key.starts_with(kDatabasePrefix)) continue;
          told[operation.key] = operation.kind == storage::MetaOperation::Kind::kPut
                                    ? std::optional(std::move(operation.value))
                                    : std::nullopt;
        }
        return Status::Ok();
      });
    };
    // Damage of the log ends this early; it is named and repaired by itself.
    (void)read();
    for (auto& [key, value] : told) {
      QUIVER_ASSIGN_OR_RETURN(const auto present, meta_.Get(key));
      if (present || !value) continue;
      QUIVER_RETURN_IF_ERROR(Put(key, *std::move(value)));
      QUIVER_RETURN_IF_ERROR(Say("meta:" + key, 0, 0, "the key is missing", "taken from the log"));
    }
    QUIVER_ASSIGN_OR_RETURN(const auto applied, meta_.Get(kAppliedDdlKey));
    if (applied || newest_change == 0) return Status::Ok();
    // What the log holds of the catalog is there now; replaying it would bring back manifests that were replaced since.
    return Put(std::string(kAppliedDdlKey), std::to_string(newest_change));
  }

  Status ReadCatalog() {
    QUIVER_ASSIGN_OR_RETURN(const auto stored, meta_.Scan(kCollectionPrefix));
    for (const auto& [key, value] : stored) {
      const auto info = CollectionInfoFromJson(value);
      if (!info.ok()) continue;  // named when the catalog is checked
      collections_[info->id] = fmt::format("{}.{}", info->db_name, info->name());
      const std::string database = DatabaseKey(info->db_name);
      QUIVER_ASSIGN_OR_RETURN(const auto known, meta_.Get(database));
      if (known) continue;
      const DatabaseInfo made{.id = info->id, .name = info->db_name, .created = info->created, .properties = {}};
      QUIVER_RETURN_IF_ERROR(Put(database, DatabaseInfoToJson(made)));
      QUIVER_RETURN_IF_ERROR(
          Say("meta:" + database, 0, 0, "the key is missing", "made anew; properties of the database are lost"));
    }
    return Status::Ok();
  }

  Status FromSegmentFiles() {
    const std::string root = io::JoinPath(data_, "objects/segment");
    QUIVER_ASSIGN_OR_RETURN(const bool exists, files_.Exists(root));
    if (!exists) return Status::Ok();
    QUIVER_ASSIGN_OR_RETURN(const auto directories, files_.List(root));
    for (const io::DirectoryEntry& directory : directories) {
      const std::optional<int64_t> collection_id = NumberOf(directory.name);
      if (!collection_id) continue;
      std::vector<int64_t> ids;
      QUIVER_ASSIGN_OR_RETURN(const auto entries, files_.List(io::JoinPath(root, directory.name)));
      for (const io::DirectoryEntry& entry : entries) {
        const std::string_view name = entry.name;
        const std::optional<int64_t> id =
            name.ends_with(".seg") ? NumberOf(name.substr(0, name.size() - 4)) : std::nullopt;
        if (id) ids.push_back(*id);
      }
      // What a compaction wrote is newer than what it replaced.
      std::sort(ids.rbegin(), ids.rend());
      std::vector<std::shared_ptr<const storage::SegmentFile>> named;
      for (const bool missing : {false, true}) {
        for (const int64_t id : ids) {
          QUIVER_ASSIGN_OR_RETURN(const auto manifest, meta_.Get(SegmentKey(*collection_id, id)));
          if (manifest.has_value() == missing) continue;
          QUIVER_RETURN_IF_ERROR(TakeSegment(*collection_id, id, missing, named));
        }
      }
      QUIVER_RETURN_IF_ERROR(SetCheckpoint(*collection_id, named));
    }
    return Status::Ok();
  }

  Status TakeSegment(int64_t collection_id, int64_t id, bool missing,
                     std::vector<std::shared_ptr<const storage::SegmentFile>>& named) {
    const std::string object = fmt::format("segment/{}/{}.seg", collection_id, id);
    auto opened = storage::SegmentFile::Open(files_, io::JoinPath(data_, "objects/" + object));
    if (opened.ok()) newest_ = std::max(newest_, (*opened)->max_timestamp());
    if (!missing) {
      if (opened.ok()) named.push_back(*std::move(opened));
      return Status::Ok();
    }
    const auto stray = [&](std::string what, uint64_t rows) {
      repair_.strays.push_back(object);
      repair_.rows_lost += rows;
      return Say("objects/" + object, collection_id, id, std::move(what),
                 rows == 0 ? "moved to quarantine" : fmt::format("moved to quarantine; {} rows are lost", rows));
    };
    if (!opened.ok()) return stray("no manifest names it and it cannot be read: " + opened.status().message(), 0);
    const auto& file = *opened;
    const auto known = collections_.find(collection_id);
    if (known == collections_.end()) return stray("its collection is not in the catalog any more", file->rows());
    QUIVER_ASSIGN_OR_RETURN(const std::string delta, NewestDelta(collection_id, id));
    for (const auto& other : named) {
      if (HoldsRowsOf(*other, *file)) return Status::Ok();  // the next start removes it, as after a crash
    }
    QUIVER_RETURN_IF_ERROR(Put(SegmentKey(collection_id, id), EncodeManifest({object, delta, 0})));
    named.push_back(file);
    return Say("meta:" + SegmentKey(collection_id, id), collection_id, id, "the key is missing",
               fmt::format("made anew from the segment file: {} rows of collection {}, {}; if a snapshot had been "
                           "restored in place there, time travel shows them earlier than they were",
                           file->rows(), known->second, delta.empty() ? "no deletes" : "deletes of " + delta));
  }

  /// Without a checkpoint the log would put rows that files hold beside them. A seal takes every row up to its moment.
  Status SetCheckpoint(int64_t collection_id, std::span<const std::shared_ptr<const storage::SegmentFile>> named) {
    uint64_t newest = 0;
    for (const auto& file : named) newest = std::max(newest, file->max_timestamp());
    const std::string key = CheckpointKey(collection_id);
    QUIVER_ASSIGN_OR_RETURN(const auto present, meta_.Get(key));
    if (present || newest == 0 || !collections_.contains(collection_id)) return Status::Ok();
    QUIVER_RETURN_IF_ERROR(Put(key, std::to_string(newest)));
    return Say("meta:" + key, collection_id, 0, "the key is missing", "made anew from the newest row in segment files");
  }

  /// Delta files are named SEGMENT-TIMESTAMP.N.del; the newest holds all deletes of its segment.
  Result<std::string> NewestDelta(int64_t collection_id, int64_t id) {
    const std::string below = fmt::format("delta/{}", collection_id);
    const std::string directory = io::JoinPath(data_, "objects/" + below);
    QUIVER_ASSIGN_OR_RETURN(const bool exists, files_.Exists(directory));
    std::string newest;
    if (!exists) return newest;
    int64_t timestamp = -1;
    QUIVER_ASSIGN_OR_RETURN(const auto entries, files_.List(directory));
    const std::string prefix = fmt::format("{}-", id);
    for (const io::DirectoryEntry& entry : entries) {
      const std::string_view name = entry.name;
      if (!name.starts_with(prefix)) continue;
      const std::optional<int64_t> of = NumberOf(name.substr(prefix.size(), name.find('.') - prefix.size()));
      if (!of || *of < timestamp) continue;
      if (!storage::ReadDeltaFile(files_, io::JoinPath(directory, entry.name)).ok()) continue;
      timestamp = *of;
      newest = below + "/" + entry.name;
    }
    return newest;
  }

  /// Whether `other` holds one of the rows of `file`, the same version of the same key.
  static bool HoldsRowsOf(const storage::SegmentFile& other, const storage::SegmentFile& file) {
    const auto stamps = file.insert_timestamps();
    const auto other_stamps = other.insert_timestamps();
    if (!stamps.ok() || !other_stamps.ok()) return false;
    const uint32_t step = std::max<uint32_t>(1, file.rows() / kComparedRows);
    for (uint32_t row = 0; row < file.rows(); row += step) {
      const auto key = file.View(file.pk_field_id(), row, 1);
      if (!key.ok() || !key->present()) return false;
      const segment::KeyView value = segment::KeyAt(*key, 0);
      const auto versions = std::holds_alternative<int64_t>(value)
                                ? other.FindPkVersions(std::get<int64_t>(value))
                                : other.FindPkVersions(std::get<std::string_view>(value));
      if (!versions.ok()) return false;
      if (std::any_of(versions->begin(), versions->end(),
                      [&](uint32_t found) { return (*other_stamps)[found] == (*stamps)[row]; })) {
        return true;
      }
    }
    return false;
  }

  io::ReadOnlyFileSystem files_;
  const std::string& data_;
  storage::MetaStore& meta_;
  CatalogRepair repair_;
  std::map<int64_t, std::string> collections_;
  uint64_t newest_ = 0;
};

}  // namespace

Result<CatalogRepair> RefillCatalog(io::FileSystem& file_system, const std::string& data_directory,
                                    storage::MetaStore& meta) {
  return Refiller(file_system, data_directory, meta).Run();
}

}  // namespace quiver::engine
