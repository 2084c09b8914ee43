// File: storage/meta_store.h
// MetaStore: ordered string keys with small compare-and-swap transactions; holds catalog, manifests, job records and
// checkpoints.
//
//   MetaTransaction transaction;
//   transaction.RequireAbsent("collection/7").Put("collection/7", json).Put("name/books", "7");
//   QUIVER_ASSIGN_OR_RETURN(CommitOutcome outcome, meta->Commit(transaction));
//
// Commits are atomic and ordered but durable only after Sync: what must not be lost before stands in the log. A crash
// keeps all commits up to some point at or after the last Sync, never one without those before it.
// Thread rule: safe from many threads; commits are serialised.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "io/file_system.h"

namespace quiver::storage {

struct MetaPrecondition {
  enum class Kind : uint8_t { kExists, kAbsent, kEquals };
  Kind kind = Kind::kExists;
  std::string key;
  std::string value;  ///< for kEquals
};

struct MetaOperation {
  enum class Kind : uint8_t { kPut, kDelete };
  Kind kind = Kind::kPut;
  std::string key;
  std::string value;  ///< for kPut
};

/// Limits that hold in every form: preconditions and operations together, and bytes of all keys and values.
inline constexpr size_t kMaxMetaOperations = 128;
inline constexpr size_t kMaxMetaBytes = size_t{1} << 20;

struct MetaTransaction {
  std::vector<MetaPrecondition> preconditions;
  std::vector<MetaOperation> operations;  ///< applied in order

  MetaTransaction& RequireExists(std::string key);
  MetaTransaction& RequireAbsent(std::string key);
  MetaTransaction& RequireEquals(std::string key, std::string value);
  MetaTransaction& Put(std::string key, std::string value);
  MetaTransaction& Delete(std::string key);
};

enum class CommitOutcome : uint8_t { kCommitted, kConflict };

using MetaEntry = std::pair<std::string, std::string>;

class MetaStore {
 public:
  virtual ~MetaStore() = default;

  /// Returns the value, or nothing when the key is absent.
  virtual Result<std::optional<std::string>> Get(std::string_view key) = 0;
  /// Returns the entries whose keys begin with `prefix`, in key order (bytewise), as of one moment. `limit` 0 = all;
  /// `after`, when not empty, starts behind that key (paging).
  virtual Result<std::vector<MetaEntry>> Scan(std::string_view prefix, size_t limit = 0,
                                              std::string_view after = {}) = 0;
  /// Applies all operations, or none when a precondition does not hold (kConflict). A transaction over the limits is
  /// code 1102, an empty key code 1100.
  virtual Result<CommitOutcome> Commit(const MetaTransaction& transaction) = 0;
  /// Makes every commit that returned before the call durable. After a failure every later Commit and Sync fails,
  /// except for code 7, a full disk: then both fail until there is space, and go on by themselves.
  virtual Status Sync() = 0;
};

/// Makes the RocksDB form in `directory` usable again after its files were damaged: they are copied to `copy` (which
/// must not exist), then the database is made anew from what can be read of them. Keys may be missing afterwards, or
/// have an older value.
Status RepairLocalMeta(io::FileSystem& file_system, const std::string& directory, const std::string& copy);

/// Opens or makes the RocksDB form in `directory`.
Result<std::unique_ptr<MetaStore>> OpenLocalMeta(const std::string& directory);

/// The memory form, for tests. It outlives "restarts" of what uses it.
class MemoryMetaStore final : public MetaStore {
 public:
  MemoryMetaStore();
  ~MemoryMetaStore() override;

  Result<std::optional<std::string>> Get(std::string_view key) override;
  Result<std::vector<MetaEntry>> Scan(std::string_view prefix, size_t limit = 0, std::string_view after = {}) override;
  Result<CommitOutcome> Commit(const MetaTransaction& transaction) override;
  Status Sync() override;

  /// Called at the start of each Commit ("commit") and Sync ("sync"); an error is returned instead of doing it. Connect
  /// it to FaultFileSystem::CountOperation to crash at these points too.
  void OnOperation(std::function<Status(const std::string& what)> hook);
  /// Drops commits that were not synced; `keep` of them, the oldest, survive.
  void CrashAndDropUnsynced(size_t keep = 0);
  /// Commits since the last Sync.
  [[nodiscard]] size_t unsynced_commits() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quiver::storage
