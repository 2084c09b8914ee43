// File: storage/local_meta_store.cc
// MetaStore on RocksDB. The database writes its log lazily (manual_wal_flush): a commit costs no system call, and Sync
// flushes and syncs all of them at once.
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <span>
#include <vector>

#include "storage/internal/meta_transaction.h"
#include "storage/meta_store.h"

namespace quiver::storage {
namespace {

Status FromRocks(const rocksdb::Status& status, std::string_view doing, const std::string& directory) {
  if (status.ok()) return Status::Ok();
  StatusCode code = StatusCode::kIo;
  if (status.IsCorruption()) code = StatusCode::kCorruption;
  if (status.IsNoSpace()) code = StatusCode::kDiskFull;
  return Error(code, "cannot {} the metadata in {}: {}", doing, directory, status.ToString());
}

rocksdb::Slice SliceOf(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

/// Swallows the database's own log: what matters comes back as Status.
class SilentLogger final : public rocksdb::Logger {
 public:
  SilentLogger() : rocksdb::Logger(rocksdb::InfoLogLevel::FATAL_LEVEL) {}
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
};

rocksdb::Options MakeOptions() {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.info_log = std::make_shared<SilentLogger>();
  options.keep_log_file_num = 1;
  options.compression = rocksdb::kNoCompression;
  options.write_buffer_size = size_t{4} << 20;
  options.max_write_buffer_number = 2;
  options.target_file_size_base = size_t{8} << 20;
  options.max_bytes_for_level_base = size_t{32} << 20;
  options.arena_block_size = size_t{64} << 10;
  options.max_background_jobs = 1;
  options.max_open_files = 64;
  options.max_file_opening_threads = 1;
  options.manual_wal_flush = true;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.max_total_wal_size = size_t{8} << 20;
  options.max_manifest_file_size = size_t{4} << 20;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.skip_stats_update_on_db_open = true;
  options.avoid_flush_during_recovery = true;
  options.avoid_unnecessary_blocking_io = true;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(size_t{4} << 20, 0);
  table.format_version = 5;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

class LocalMetaStore final : public MetaStore {
 public:
  LocalMetaStore(std::unique_ptr<rocksdb::DB> db, std::string directory)
      : db_(std::move(db)), directory_(std::move(directory)) {}

  Result<std::optional<std::string>> Get(std::string_view key) override {
    std::string value;
    const rocksdb::Status status = db_->Get({}, SliceOf(key), &value);
    if (status.IsNotFound()) return std::optional<std::string>();
    QUIVER_RETURN_IF_ERROR(FromRocks(status, "read", directory_));
    return std::optional(std::move(value));
  }

  Result<std::vector<MetaEntry>> Scan(std::string_view prefix, size_t limit, std::string_view after) override {
    std::vector<MetaEntry> entries;
    const std::unique_ptr<rocksdb::Iterator> iterator(db_->NewIterator({}));
    if (!after.empty() && after >= prefix) {
      iterator->Seek(SliceOf(after));
      if (iterator->Valid() && iterator->key() == SliceOf(after)) iterator->Next();
    } else {
      iterator->Seek(SliceOf(prefix));
    }
    for (; iterator->Valid() && iterator->key().starts_with(SliceOf(prefix)); iterator->Next()) {
      if (limit != 0 && entries.size() == limit) break;
      entries.emplace_back(iterator->key().ToString(), iterator->value().ToString());
    }
    QUIVER_RETURN_IF_ERROR(FromRocks(iterator->status(), "read", directory_));
    return entries;
  }

  Result<CommitOutcome> Commit(const MetaTransaction& transaction) override {
    QUIVER_RETURN_IF_ERROR(internal::CheckTransaction(transaction));
    const std::lock_guard lock(mutex_);  // all writes pass here, so that preconditions hold until the write
    QUIVER_RETURN_IF_ERROR(CheckUsable());
    for (const MetaPrecondition& precondition : transaction.preconditions) {
      QUIVER_ASSIGN_OR_RETURN(const std::optional<std::string> found, Get(precondition.key));
      const auto value = found.has_value() ? std::optional<std::string_view>(*found) : std::nullopt;
      if (!internal::Holds(precondition, value)) return CommitOutcome::kConflict;
    }
    rocksdb::WriteBatch batch;
    for (const MetaOperation& operation : transaction.operations) {
      const rocksdb::Status added = operation.kind == MetaOperation::Kind::kPut
                                        ? batch.Put(operation.key, operation.value)
                                        : batch.Delete(operation.key);
      QUIVER_RETURN_IF_ERROR(FromRocks(added, "write", directory_));
    }
    if (const Status status = FromRocks(db_->Write({}, &batch), "write", directory_); !status.ok()) return Fail(status);
    return CommitOutcome::kCommitted;
  }

  Status Sync() override {
    {
      const std::lock_guard lock(mutex_);
      QUIVER_RETURN_IF_ERROR(CheckUsable());
    }
    if (const Status status = FromRocks(db_->FlushWAL(true), "sync", directory_); !status.ok()) {
      const std::lock_guard lock(mutex_);
      return Fail(status);
    }
    return Status::Ok();
  }

 private:
  /// After a failed write the database may hold the commit in memory and not on disk, so nothing is accepted any more.
  /// A full disk is the exception, because the database can then write its memory out anew.
  Status Fail(const Status& cause) {
    (cause.code() == StatusCode::kDiskFull ? full_ : failed_) = cause;
    return cause;
  }

  Status CheckUsable() {
    QUIVER_RETURN_IF_ERROR(failed_);
    if (full_.ok()) return Status::Ok();
    // Writes the commits in memory to a table and begins a new log: what the old log lacks matters no more.
    const rocksdb::Status resumed = db_->Resume();
    if (resumed.IsBusy() || resumed.IsNoSpace()) return full_;
    if (const Status status = FromRocks(resumed, "resume", directory_); !status.ok()) return Fail(status);
    full_ = Status::Ok();
    return Status::Ok();
  }

  const std::unique_ptr<rocksdb::DB> db_;
  const std::string directory_;
  std::mutex mutex_;
  Status failed_;  // for good
  Status full_;    // until the disk has space again
};

}  // namespace

Status RepairLocalMeta(io::FileSystem& file_system, const std::string& directory, const std::string& copy) {
  QUIVER_RETURN_IF_ERROR(file_system.CreateDirectories(copy));
  QUIVER_ASSIGN_OR_RETURN(const auto entries, file_system.List(directory));
  for (const io::DirectoryEntry& entry : entries) {
    if (entry.is_directory) continue;
    QUIVER_ASSIGN_OR_RETURN(const auto from, file_system.OpenRead(io::JoinPath(directory, entry.name)));
    QUIVER_ASSIGN_OR_RETURN(const auto to, file_system.Create(io::JoinPath(copy, entry.name)));
    std::vector<std::byte> buffer(size_t{1} << 20);
    for (uint64_t at = 0; at < from->size();) {
      const auto length = static_cast<size_t>(std::min<uint64_t>(buffer.size(), from->size() - at));
      QUIVER_RETURN_IF_ERROR(from->Read(at, std::span(buffer.data(), length)));
      const std::string_view piece(reinterpret_cast<const char*>(buffer.data()), length);
      QUIVER_RETURN_IF_ERROR(to->Append(std::span(&piece, 1)));
      at += length;
    }
    QUIVER_RETURN_IF_ERROR(to->Sync());
  }
  QUIVER_RETURN_IF_ERROR(file_system.SyncDirectory(copy));
  return FromRocks(rocksdb::RepairDB(directory, MakeOptions()), "repair", directory);
}

Result<std::unique_ptr<MetaStore>> OpenLocalMeta(const std::string& directory) {
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(MakeOptions(), directory, &opened);
  std::unique_ptr<rocksdb::DB> db(opened);
  QUIVER_RETURN_IF_ERROR(FromRocks(status, "open", directory));
  return std::unique_ptr<MetaStore>(std::make_unique<LocalMetaStore>(std::move(db), directory));
}

}  // namespace quiver::storage
