// File: engine/directory_check.cc
#include "engine/directory_check.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "base/crc32c.h"
#include "engine/catalog_repair.h"
#include "engine/engine_impl.h"
#include "index/key_index_file.h"
#include "index/tuning.h"
#include "io/read_only_file_system.h"
#include "storage/log_repair.h"

namespace quiver::engine {
namespace {

bool ParseId(std::string_view text, int64_t& id) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc() && end == text.data() + text.size() && id > 0;
}

bool IsNumber(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

class Checker {
 public:
  Checker(io::FileSystem& file_system, const DirectoryCheckOptions& options)
      : file_system_(file_system), options_(options) {}

  Result<DirectoryReport> Run() {
    const std::string meta_directory = io::JoinPath(options_.data_dir, "meta");
    if (!options_.open_meta_store) {
      QUIVER_ASSIGN_OR_RETURN(const bool exists, file_system_.Exists(meta_directory));
      if (!exists) return Error(StatusCode::kIo, "no data directory: {}", options_.data_dir);
    }
    QUIVER_ASSIGN_OR_RETURN(lock_, file_system_.Lock(options_.data_dir));
    if (options_.repair) QUIVER_RETURN_IF_ERROR(storage::FinishLogRepair(file_system_, options_.data_dir));
    Status readable = OpenMeta(meta_directory);
    if (!readable.ok()) {
      meta_.reset();
      AddFault({.file = "meta", .what = readable.message()});
      if (options_.repair && !options_.open_meta_store && readable.code() != StatusCode::kDiskFull) {
        const size_t at = report_.faults.size() - 1;
        if (Status repaired = RepairMeta(meta_directory); repaired.ok()) {
          report_.faults[at].repair =
              "the database was made anew from what can be read of it, with the additions that follow; the files as "
              "they were are in quarantine";
        } else {
          meta_.reset();
          report_.faults[at].what += "; it cannot be repaired: " + repaired.message();
        }
      }
    }
    if (meta_ != nullptr) {
      QUIVER_RETURN_IF_ERROR(CheckCatalog());
      QUIVER_RETURN_IF_ERROR(CheckOrphans());
    }
    CheckLog();
    if (options_.repair) {
      report_.unrepaired = static_cast<uint64_t>(std::count_if(report_.faults.begin(), report_.faults.end(),
                                                               [](const auto& fault) { return fault.repair.empty(); }));
      if (meta_ != nullptr) QUIVER_RETURN_IF_ERROR(meta_->Sync());
    }
    return std::move(report_);
  }

 private:
  DirectoryFault& AddFault(DirectoryFault fault) { return report_.faults.emplace_back(std::move(fault)); }
  [[nodiscard]] std::string PathOf(const std::string& object) const {
    return fmt::format("{}/objects/{}", options_.data_dir, object);
  }

  /// Opens the MetaStore and reads all of it, so that damage shows now.
  Status OpenMeta(const std::string& directory) {
    QUIVER_ASSIGN_OR_RETURN(
        meta_, options_.open_meta_store ? options_.open_meta_store(directory) : storage::OpenLocalMeta(directory));
    return meta_->Scan("").status();
  }

  Status RepairMeta(const std::string& directory) {
    std::string copy = io::JoinPath(options_.data_dir, "quarantine/meta");
    for (int number = 1;; ++number) {
      QUIVER_ASSIGN_OR_RETURN(const bool taken, file_system_.Exists(copy));
      if (!taken) break;
      copy = fmt::format("{}/quarantine/meta.{}", options_.data_dir, number);
    }
    QUIVER_RETURN_IF_ERROR(storage::RepairLocalMeta(file_system_, directory, copy));
    QUIVER_RETURN_IF_ERROR(OpenMeta(directory));
    QUIVER_ASSIGN_OR_RETURN(CatalogRepair refilled, RefillCatalog(file_system_, options_.data_dir, *meta_));
    for (const std::string& object : refilled.strays) QUIVER_RETURN_IF_ERROR(Quarantine(object));
    report_.rows_lost += refilled.rows_lost;
    for (DirectoryFault& fault : refilled.faults) AddFault(std::move(fault));
    return Status::Ok();
  }

  Status CheckCatalog() {
    QUIVER_ASSIGN_OR_RETURN(const auto entries, meta_->Scan(""));
    for (const auto& [key, value] : entries) {
      int64_t format = 0;
      if (key != kFormatKey || !ParseId(value, format) || format <= kDirectoryFormat) continue;
      return Error(StatusCode::kUnsupported, "data directory {} has format {}; this binary knows formats up to {}",
                   options_.data_dir, format, kDirectoryFormat);
    }
    report_.keys = entries.size();
    // Collections first: the others are told by their names.
    for (const auto& [key, value] : entries) {
      const auto bad = [&](std::string what) { AddFault({.file = "meta:" + key, .what = std::move(what)}); };
      if (key.starts_with(kCollectionPrefix)) {
        const auto info = CollectionInfoFromJson(value);
        if (!info.ok()) {
          bad(info.status().message());
          int64_t id = 0;
          if (ParseId(std::string_view(key).substr(kCollectionPrefix.size()), id)) collections_[id];
          continue;
        }
        ++report_.collections;
        for (const IndexInfo& index : info->indexes) indexes_.insert(index.id);
        collections_[info->id] = fmt::format("{}.{}", info->db_name, info->name());
      } else if (key.starts_with(kDatabasePrefix)) {
        if (const auto info = DatabaseInfoFromJson(value); !info.ok()) bad(info.status().message());
      } else if (key.starts_with("system/") || key.starts_with("checkpoint/") || key.starts_with("floor/")) {
        if (!IsNumber(value)) bad(fmt::format("it holds no number: {}", value));
      } else if (key.starts_with(kRestorePrefix)) {
        if (const auto record = RestoreRecordFromJson(value); !record.ok()) bad(record.status().message());
      } else if (!key.starts_with("segment/") && !key.starts_with("fence/")) {
        bad("a key of no known kind");
      }
    }
    for (const auto& [key, value] : entries) {
      if (!key.starts_with("segment/")) continue;
      const std::string_view rest = std::string_view(key).substr(8);
      const size_t slash = std::min(rest.find('/'), rest.size());
      int64_t collection_id = 0;
      int64_t segment_id = 0;
      if (!ParseId(rest.substr(0, slash), collection_id) || slash == rest.size() ||
          !ParseId(rest.substr(slash + 1), segment_id)) {
        AddFault({.file = "meta:" + key, .what = "the key names no segment"});
        continue;
      }
      QUIVER_RETURN_IF_ERROR(CheckSegment(key, value, collection_id, segment_id));
    }
    return Status::Ok();
  }

  Status CheckSegment(const std::string& key, const std::string& value, int64_t collection_id, int64_t segment_id) {
    if (!collections_.contains(collection_id)) return Status::Ok();  // dropped; the next start forgets it
    ++report_.segments;
    const size_t first_fault = report_.faults.size();
    const auto bad = [&](std::string file, std::string what) -> DirectoryFault& {
      return AddFault({.file = std::move(file),
                       .collection_id = collection_id,
                       .collection = collections_[collection_id],
                       .segment_id = segment_id,
                       .what = std::move(what)});
    };
    std::set<std::string> objects;
    std::shared_ptr<const storage::SegmentFile> file;
    bool derived_only = true;
    bool unreadable = false;
    const Result<SegmentManifest> manifest = DecodeManifest(value);
    if (!manifest.ok()) {
      bad("meta:" + key, manifest.status().message());
      // Whatever could belong to it.
      kept_prefixes_.push_back(fmt::format("segment/{}/{}.", collection_id, segment_id));
      kept_prefixes_.push_back(fmt::format("delta/{}/{}-", collection_id, segment_id));
      kept_prefixes_.push_back(fmt::format("index/{}/{}-", collection_id, segment_id));
      derived_only = false;
    } else {
      objects.insert(manifest->object);
      auto opened = storage::SegmentFile::Open(file_system_, PathOf(manifest->object));
      if (!opened.ok()) {
        bad("objects/" + manifest->object, opened.status().message());
        derived_only = false;
        unreadable = true;
      } else {
        file = *std::move(opened);
        report_.rows += file->rows();
        if (file->collection_id() != collection_id || file->segment_id() != segment_id) {
          bad("objects/" + manifest->object,
              fmt::format("it is segment {} of collection {}", file->segment_id(), file->collection_id()));
          derived_only = false;
        }
        for (storage::SegmentDamage& damage : file->FindDamage()) {
          derived_only = derived_only && damage.section.derived;
          DirectoryFault& fault = bad("objects/" + manifest->object, std::move(damage.what));
          fault.section = damage.section.field_id == 0
                              ? damage.section.name
                              : fmt::format("{} of field {}", damage.section.name, damage.section.field_id);
          fault.offset = damage.begin;
        }
      }
      if (!manifest->delta.empty()) {
        objects.insert(manifest->delta);
        ++report_.deltas;
        const auto delta = storage::ReadDeltaFile(file_system_, PathOf(manifest->delta));
        std::string what;
        if (!delta.ok()) {
          what = delta.status().message();
        } else if (delta->segment_id != segment_id) {
          what = fmt::format("it is of segment {}", delta->segment_id);
        } else if (file != nullptr && std::any_of(delta->deletes.begin(), delta->deletes.end(),
                                                  [&](const auto& dead) { return dead.row >= file->rows(); })) {
          what = fmt::format("it names rows beyond the {} of the segment", file->rows());
        }
        if (!what.empty()) {
          bad("objects/" + manifest->delta, what);
          derived_only = false;
        }
      }
    }
    QUIVER_ASSIGN_OR_RETURN(const std::optional<std::string> missed, meta_->Get(FenceKey(collection_id, segment_id)));
    if (missed) {
      bad("meta:" + FenceKey(collection_id, segment_id), "writes could not be applied to the segment: " + *missed);
      derived_only = false;
    }
    referenced_.insert(objects.begin(), objects.end());
    if (manifest.ok()) QUIVER_RETURN_IF_ERROR(CheckIndexes(key, *manifest, collection_id, segment_id, file.get()));
    const auto unrepaired = [](const DirectoryFault& fault) { return fault.repair.empty(); };
    const auto faults = report_.faults.begin() + static_cast<ptrdiff_t>(first_fault);
    if (!options_.repair || std::none_of(faults, report_.faults.end(), unrepaired)) return Status::Ok();

    std::string done;
    if (derived_only && Rebuild(*file, manifest->object)) {
      done = "made again from the columns, which are sound; the damaged file is in quarantine";
    } else {
      QUIVER_RETURN_IF_ERROR(Drop(key, collection_id, segment_id));
      std::string lost = "its rows are lost; their number cannot be read";
      if (file != nullptr && !unreadable) {
        lost = fmt::format("{} rows of collection {} are lost", file->rows(), collections_[collection_id]);
        report_.rows_lost += file->rows();
      }
      done = fmt::format("segment {} taken out of the catalog, its files moved to quarantine; {}", segment_id, lost);
    }
    for (size_t i = first_fault; i < report_.faults.size(); ++i) {
      if (report_.faults[i].repair.empty()) report_.faults[i].repair = done;
    }
    return Status::Ok();
  }

  /// Checks the built indexes of a segment. Nothing depends on them: the repair takes a damaged one out of the
  /// manifest, and the server builds it anew.
  Status CheckIndexes(const std::string& key, SegmentManifest manifest, int64_t collection_id, int64_t segment_id,
                      const storage::SegmentFile* file) {
    std::vector<std::string> damaged;
    for (const IndexObject& entry : manifest.indexes) {
      if (!indexes_.contains(entry.index_id)) continue;  // dropped; the next start removes it
      ++report_.indexes;
      referenced_.insert(entry.object);
      const auto check = [&]() -> Status {
        QUIVER_ASSIGN_OR_RETURN(const auto mapped, file_system_.Map(PathOf(entry.object)));
        const std::string_view bytes(reinterpret_cast<const char*>(mapped->data()), mapped->size());
        if (mapped->size() != entry.bytes || Crc32c(bytes) != entry.crc) {
          return Error(StatusCode::kCorruption, "its {} bytes are not the {} that were written", mapped->size(),
                       entry.bytes);
        }
        uint32_t rows = 0;
        if (index::IsScalarIndexFile(bytes)) {
          QUIVER_ASSIGN_OR_RETURN(const auto index, index::OpenScalarIndex(bytes, entry.object));
          rows = index->row_count();
        } else {
          QUIVER_ASSIGN_OR_RETURN(const auto index, index::OpenVectorIndex(bytes, entry.object));
          rows = index->row_count();
        }
        if (mapped->faulted()) return Error(StatusCode::kCorruption, "it cannot be read");
        if (file != nullptr && rows != file->rows()) {
          return Error(StatusCode::kCorruption, "it covers {} rows instead of {}", rows, file->rows());
        }
        return Status::Ok();
      };
      const Status sound = check();
      for (const std::string& name : NamesBeside(entry.object)) {
        QUIVER_RETURN_IF_ERROR(CheckBeside(name, collection_id, segment_id));
      }
      if (sound.ok()) continue;
      DirectoryFault& fault = AddFault({.file = "objects/" + entry.object,
                                        .collection_id = collection_id,
                                        .collection = collections_[collection_id],
                                        .segment_id = segment_id,
                                        .what = sound.message()});
      if (!options_.repair) continue;
      QUIVER_RETURN_IF_ERROR(Quarantine(entry.object));
      damaged.push_back(entry.object);
      fault.repair = "moved to quarantine; the server builds it anew, and scans the segment until then";
    }
    if (damaged.empty()) return Status::Ok();
    std::erase_if(manifest.indexes, [&](const IndexObject& entry) {
      return std::find(damaged.begin(), damaged.end(), entry.object) != damaged.end();
    });
    storage::MetaTransaction transaction;
    transaction.Put(key, EncodeManifest(manifest));
    const auto committed = meta_->Commit(transaction);
    return committed.ok() ? meta_->Sync() : committed.status();
  }

  /// Checks what stands beside an index, where it does. The repair takes it away; the server makes it anew.
  Status CheckBeside(const std::string& name, int64_t collection_id, int64_t segment_id) {
    QUIVER_ASSIGN_OR_RETURN(const bool exists, file_system_.Exists(PathOf(name)));
    if (!exists) return Status::Ok();
    referenced_.insert(name);
    const auto check = [&]() -> Status {
      QUIVER_ASSIGN_OR_RETURN(const auto mapped, file_system_.Map(PathOf(name)));
      const std::string_view bytes(reinterpret_cast<const char*>(mapped->data()), mapped->size());
      if (name.ends_with(index::KeyIndexFileName(""))) {
        QUIVER_RETURN_IF_ERROR(index::OpenKeyIndexFile(bytes, name).status());
        QUIVER_RETURN_IF_ERROR(index::CheckKeyIndexFile(bytes, name));
      } else {
        QUIVER_RETURN_IF_ERROR(index::IndexTuning::Parse(bytes, name).status());
      }
      return mapped->faulted() ? Error(StatusCode::kCorruption, "it cannot be read") : Status::Ok();
    };
    const Status sound = check();
    if (sound.ok()) return Status::Ok();
    DirectoryFault& fault = AddFault({.file = "objects/" + name,
                                      .collection_id = collection_id,
                                      .collection = collections_[collection_id],
                                      .segment_id = segment_id,
                                      .what = sound.message()});
    if (!options_.repair) return Status::Ok();
    QUIVER_RETURN_IF_ERROR(Quarantine(name));
    fault.repair = "moved to quarantine; the server makes it anew from the index and its rows";
    return Status::Ok();
  }

  /// Moves a file below objects/ to quarantine/, where nothing looks for it.
  Status Quarantine(const std::string& object) {
    const std::string from = PathOf(object);
    QUIVER_ASSIGN_OR_RETURN(const bool exists, file_system_.Exists(from));
    if (!exists) return Status::Ok();
    std::string name = object;
    std::replace(name.begin(), name.end(), '/', '-');
    const std::string directory = io::JoinPath(options_.data_dir, "quarantine");
    QUIVER_RETURN_IF_ERROR(file_system_.CreateDirectories(directory));
    std::string to = io::JoinPath(directory, name);
    for (int copy = 1;; ++copy) {  // what an earlier repair has kept is not written over
      QUIVER_ASSIGN_OR_RETURN(const bool taken, file_system_.Exists(to));
      if (!taken) break;
      to = fmt::format("{}/{}.{}", directory, name, copy);
    }
    QUIVER_RETURN_IF_ERROR(file_system_.Rename(from, to));
    QUIVER_RETURN_IF_ERROR(file_system_.SyncDirectory(directory));
    return file_system_.SyncDirectory(io::DirectoryOf(from));
  }

  Status Drop(const std::string& key, int64_t collection_id, int64_t segment_id) {
    for (const std::string_view kind : {"segment", "delta", "index"}) {
      const std::string below = fmt::format("{}/{}", kind, collection_id);
      QUIVER_ASSIGN_OR_RETURN(const bool exists, file_system_.Exists(PathOf(below)));
      if (!exists) continue;
      QUIVER_ASSIGN_OR_RETURN(const auto entries, file_system_.List(PathOf(below)));
      const std::string prefix = fmt::format("{}{}", segment_id, kind == "segment" ? "." : "-");
      for (const io::DirectoryEntry& entry : entries) {
        if (entry.name.starts_with(prefix)) QUIVER_RETURN_IF_ERROR(Quarantine(below + "/" + entry.name));
      }
    }
    storage::MetaTransaction transaction;
    transaction.Delete(key);
    transaction.Delete(FenceKey(collection_id, segment_id));
    const auto committed = meta_->Commit(transaction);
    return committed.ok() ? meta_->Sync() : committed.status();
  }

  /// Writes the segment anew from its columns and timestamps; false when they cannot be read after all.
  bool Rebuild(const storage::SegmentFile& file, const std::string& object) {
    const std::string staging = fmt::format("{}/objects/.staging/rebuilt-{}", options_.data_dir, file.segment_id());
    const auto rebuild = [&]() -> Status {
      QUIVER_RETURN_IF_ERROR(file_system_.CreateDirectories(io::DirectoryOf(staging)));
      QUIVER_ASSIGN_OR_RETURN(
          auto writer, storage::SegmentFileWriter::Create(file_system_, staging,
                                                          {.rows = file.rows(),
                                                           .pk_field_id = file.pk_field_id(),
                                                           .collection_id = file.collection_id(),
                                                           .segment_id = file.segment_id(),
                                                           .schema_version = file.schema_version(),
                                                           .partition_key_field_id = file.partition_key_field_id()}));
      for (const storage::SegmentColumn& column : file.columns()) {
        QUIVER_ASSIGN_OR_RETURN(const ColumnView view, file.View(column.field_id, 0, file.rows()));
        QUIVER_RETURN_IF_ERROR(writer->AddColumn(column.field_id, std::span(&view, 1)));
      }
      QUIVER_ASSIGN_OR_RETURN(const std::span<const uint64_t> stamps, file.insert_timestamps());
      QUIVER_RETURN_IF_ERROR(writer->Finish(stamps, file.partitions()));
      writer.reset();
      QUIVER_ASSIGN_OR_RETURN(const auto made, storage::SegmentFile::Open(file_system_, staging));
      QUIVER_RETURN_IF_ERROR(made->VerifyAll());
      QUIVER_RETURN_IF_ERROR(Quarantine(object));
      QUIVER_RETURN_IF_ERROR(file_system_.Rename(staging, PathOf(object)));
      return file_system_.SyncDirectory(io::DirectoryOf(PathOf(object)));
    };
    return rebuild().ok();
  }

  Status CheckOrphans() {
    io::ReadOnlyFileSystem files(file_system_);
    QUIVER_ASSIGN_OR_RETURN(const bool exists, files.Exists(PathOf("")));
    if (!exists) return Status::Ok();
    for (const std::string_view kind : {"segment", "delta", "index"}) {
      QUIVER_ASSIGN_OR_RETURN(const bool any, files.Exists(PathOf(std::string(kind))));
      if (!any) continue;
      QUIVER_ASSIGN_OR_RETURN(const auto directories, files.List(PathOf(std::string(kind))));
      for (const io::DirectoryEntry& directory : directories) {
        const std::string below = fmt::format("{}/{}", kind, directory.name);
        QUIVER_ASSIGN_OR_RETURN(const auto entries, files.List(PathOf(below)));
        for (const io::DirectoryEntry& entry : entries) {
          const std::string name = below + "/" + entry.name;
          const bool kept = std::any_of(kept_prefixes_.begin(), kept_prefixes_.end(),
                                        [&](const std::string& prefix) { return name.starts_with(prefix); });
          if (!kept && !referenced_.contains(name)) ++report_.orphans;
        }
      }
    }
    return Status::Ok();
  }

  void CheckLog() {
    if (const auto repairing = file_system_.Exists(io::JoinPath(options_.data_dir, "log.repaired"));
        repairing.ok() && *repairing) {
      AddFault(
          {.file = "log.repaired", .what = "a repair of the log was interrupted; the next repair or start ends it"});
      return;
    }
    Status damage = ReadLog();
    if (!damage.ok() && options_.repair && damage.code() == StatusCode::kCorruption && RepairLog(damage)) {
      damage = ReadLog();
    }
    if (!damage.ok()) AddFault({.file = "log", .what = damage.message()});
    CheckCheckpoints();
  }

  /// Copies what is sound of a damaged log into a new one and tells what is lost; false where that cannot be done.
  bool RepairLog(const Status& damage) {
    const auto repair = [&]() -> Result<storage::LogSalvage> {
      QUIVER_ASSIGN_OR_RETURN(storage::LogSalvage made, storage::SalvageLocalLog(file_system_, options_.data_dir));
      QUIVER_RETURN_IF_ERROR(storage::InstallLog(file_system_, options_.data_dir));
      return made;
    };
    const Result<storage::LogSalvage> salvage = repair();
    if (!salvage.ok()) {
      AddFault({.file = "log", .what = "it cannot be repaired: " + salvage.status().message()});
      return false;
    }
    const std::string kept = fmt::format(
        "{} sound records, {} of them behind the damage, were copied into a new log; the old files are in quarantine",
        salvage->records, salvage->records_behind);
    if (salvage->holes.empty()) {
      AddFault({.file = "log", .what = damage.message(), .repair = "nothing is lost; " + kept});
    }
    for (const storage::LogHole& hole : salvage->holes) {
      const auto stream = static_cast<int64_t>(hole.stream);
      const auto known = collections_.find(stream);
      std::string lost = fmt::format("lost: what was written between timestamps {} and {}", hole.after,
                                     hole.before == 0 ? "the end" : std::to_string(hole.before));
      if (hole.kind != 0) {
        lost += fmt::format(", first of it a {} of collection {}",
                            hole.kind == static_cast<uint8_t>(LogKind::kWrite)    ? "write"
                            : hole.kind == static_cast<uint8_t>(LogKind::kDelete) ? "delete"
                                                                                  : "catalog change",
                            stream);
      }
      AddFault({.file = "log/" + hole.file,
                .offset = hole.position,
                .collection_id = stream,
                .collection = known == collections_.end() ? "" : known->second,
                .what = fmt::format("{} bytes from byte {} on hold no sound record", hole.bytes, hole.position),
                .repair = fmt::format("{}; {}", lost, kept)});
    }
    report_.log_records = 0;
    report_.torn_bytes = 0;
    return true;
  }

  /// Reads the whole log; faults of what its records hold are noted, damage of the log itself is returned.
  Status ReadLog() {
    io::ReadOnlyFileSystem files(file_system_);
    const std::string directory = io::JoinPath(options_.data_dir, "log");
    if (const auto exists = files.Exists(directory); !exists.ok() || !*exists) return Status::Ok();
    const auto bad = [&](std::string what, uint64_t offset) {
      AddFault({.file = "log", .offset = offset, .what = std::move(what)});
    };
    QUIVER_ASSIGN_OR_RETURN(const auto log, storage::OpenLocalLog(files, directory, {}));
    report_.torn_bytes = log->torn_bytes();
    newest_ = 0;
    return log->Read(log->begin_offset(), [&](uint64_t offset, const storage::LogEntry& entry) -> Status {
      ++report_.log_records;
      if (entry.timestamp <= newest_) {
        bad(fmt::format("log offset {}: its timestamp {} is not above that of the record before it, {}", offset,
                        entry.timestamp, newest_),
            offset);
      }
      newest_ = std::max(newest_, entry.timestamp);
      Status decoded;
      switch (static_cast<LogKind>(entry.kind)) {
        case LogKind::kWrite: decoded = DecodeWriteRecord(entry.payload).status(); break;
        case LogKind::kDelete: decoded = DecodeDeleteRecord(entry.payload).status(); break;
        case LogKind::kDdl: decoded = DecodeDdlRecord(entry.payload).status(); break;
        default: decoded = Error(StatusCode::kCorruption, "record kind not known to this binary: {}", entry.kind);
      }
      if (!decoded.ok()) bad(fmt::format("log offset {}: {}", offset, decoded.message()), offset);
      return Status::Ok();
    });
  }

  void CheckCheckpoints() {
    if (meta_ == nullptr) return;
    // A checkpoint or an applied change ahead of every timestamp given would make replay skip records.
    const auto mark = meta_->Get(kClockKey);
    const auto number = [](const std::optional<std::string>& text) {
      uint64_t value = 0;
      if (text) std::from_chars(text->data(), text->data() + text->size(), value);
      return value;
    };
    const uint64_t ceiling = std::max(newest_, mark.ok() ? number(*mark) : 0);
    const auto checkpoints = meta_->Scan("checkpoint/");
    if (!checkpoints.ok()) return;
    for (const auto& [key, value] : *checkpoints) {
      if (number(value) <= ceiling) continue;
      AddFault({.file = "meta:" + key,
                .what = fmt::format("the checkpoint {} is ahead of every timestamp given, {}", value, ceiling)});
    }
  }

  io::FileSystem& file_system_;
  const DirectoryCheckOptions& options_;
  DirectoryReport report_;
  std::unique_ptr<io::FileLock> lock_;
  std::unique_ptr<storage::MetaStore> meta_;
  std::map<int64_t, std::string> collections_;
  std::set<int64_t> indexes_;  ///< ids of those that the catalog defines
  std::set<std::string> referenced_;
  std::vector<std::string> kept_prefixes_;
  uint64_t newest_ = 0;  ///< timestamp in the log
};

}  // namespace

Result<DirectoryReport> CheckDirectory(io::FileSystem& file_system, const DirectoryCheckOptions& options) {
  return Checker(file_system, options).Run();
}

}  // namespace quiver::engine
