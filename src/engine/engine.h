// File: engine/engine.h
// Engine: everything durable behind one object. Catalog and DDL, the write path (one sequencer, group commit, visible
// watermark), sealing, recovery, and read views for the query layer.
//
//   QUIVER_ASSIGN_OR_RETURN(auto engine, Engine::Open(file_system, options));
//   QUIVER_RETURN_IF_ERROR(engine->CreateCollection({.db_name = "default", .schema = schema}));
//   QUIVER_ASSIGN_OR_RETURN(auto collection, engine->FindCollection("default", "docs"));
//   engine->Insert({.collection = collection, .batch = std::move(batch)}, [](Result<WriteResult> result) { ... });
//
// Thread rule: every method may be called from any thread. DDL methods and Flush block until they are durable: call
// them from a control thread, never from a network loop. Insert, Upsert and Delete do not block; their callback runs on
// the commit thread once the write is durable, applied and visible, and must be quick (hand the work on).
// Reads do not block on writes.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory_budget.h"
#include "base/status.h"
#include "engine/collection_info.h"
#include "index/recipe_trial.h"
#include "index/vector_index.h"
#include "schema/collection_schema.h"
#include "schema/column.h"
#include "segment/filter_cache.h"

namespace quiver::io {
class FileSystem;
}
namespace quiver::segment {
class Segment;
}
namespace quiver::storage {
class MetaStore;
}

namespace quiver::engine {

class Collection;  // engine/collection.h: info() gives the current CollectionInfo

struct EngineOptions {
  std::string data_dir = "data";
  bool sync = true;                                  ///< false: `durability: async`, acknowledged before fdatasync
  uint64_t seal_bytes = 128ULL << 20;                ///< a growing segment is sealed at this size
  uint64_t flush_min_bytes = 4ULL << 20;             ///< Flush seals only growing data of at least this size
  uint64_t max_log_bytes = 256ULL << 20;             ///< above this, whatever holds the oldest log record is sealed
  int64_t max_growing_seconds = 3600;                ///< growing rows are sealed at this age
  uint64_t memory_limit = UINT64_MAX;                ///< for everything large (base/memory_budget.h)
  uint64_t filter_cache_bytes = 64ULL << 20;         ///< at most; never more than 1/16 of memory_limit; 0 = no cache
  bool auto_load = false;                            ///< compat.auto_load
  bool serve_damaged = false;                        ///< storage.serve_damaged: reads leave fenced segments out
  int64_t retention_seconds = 60;                    ///< for collections without `collection.retention.seconds`
  bool compaction = true;                            ///< merge segments and drop dead rows in the background
  uint64_t max_segment_bytes = 1ULL << 30;           ///< compaction merges segments up to this size
  uint64_t compaction_bytes_per_second = 128 << 20;  ///< pace of compaction; 0 = as fast as it goes
  size_t index_build_threads = 0;                    ///< of one index build; 0 = half of the cores
  int64_t index_min_rows = 4096;                     ///< segments with fewer rows are scanned
  bool growing_graphs = true;                        ///< graphs and lists follow the rows of growing segments
  bool key_indexes = true;                           ///< large values of a partition key get indexes of their own
  uint32_t key_index_min_rows = 5000;                ///< those with so many rows in a segment
  /// From so many rows on AUTOINDEX tries what serves them best.
  uint64_t index_trial_rows = index::kLeastTrialRows;
  int64_t max_databases = 64;
  int64_t max_collections = 65536;
  int64_t max_partitions = 1024;
  /// The log begins a new file at this size; it is cut by whole files.
  uint64_t log_file_bytes = 64ULL << 20;
  /// Steps in which the log reserves space; 0 = not at all.
  uint64_t log_preallocate_bytes = 4ULL << 20;
  /// Tests give a MetaStore of their own; otherwise DIR/meta is opened.
  std::function<Result<std::unique_ptr<storage::MetaStore>>(const std::string& directory)> open_meta_store;
  /// Tests give a builder of their own for what is not joined; otherwise index::BuildVectorIndex.
  std::function<Result<std::string>(const index::IndexRecipe&, const ColumnView&, const index::BuildControl&)>
      build_index;
  /// Called after each fdatasync of the log with its duration, from the committer thread.
  std::function<void(double seconds)> on_log_sync;
  /// Tests only: acknowledges without waiting for the fdatasync, to prove that the durability test sees it.
  bool unsafe_skip_sync = false;
};

struct CreateCollectionRequest {
  std::string db_name = "default";
  CollectionSchema schema;  ///< validated (schema/validation.h), field ids assigned
  int32_t shards_num = 1;
  int32_t consistency_level = 2;
  KeyValues properties;
  int64_t num_partitions = 0;  ///< with a partition key: logical partitions, 0 = 16
};

struct WriteRequest {
  std::shared_ptr<Collection> collection;
  std::string partition_name;  ///< empty = `_default`, or chosen by partition key
  ColumnBatch batch;           ///< validated and completed; auto-id primary keys absent
  std::string request_id;      ///< client's request id, empty = none: a repeated one returns the first result
  /// Upserts made out of rows that were read at this moment: refused with kConflict when a row of their keys has
  /// changed since. 0 = not checked.
  Timestamp based_on = 0;
  Timestamp schema_timestamp =
      0;  ///< the client's cached update_timestamp; 0 = not checked, else must match (code 109)
};

struct DeleteRequest {
  std::shared_ptr<Collection> collection;
  std::string partition_name;            ///< empty = all partitions
  Column primary_keys;                   ///< type of the primary key
  std::optional<Timestamp> kill_before;  ///< delete by filter: only versions inserted at or before this timestamp
};

struct WriteResult {
  Timestamp timestamp = 0;
  Column primary_keys;  ///< of the rows written
  int64_t insert_count = 0;
  int64_t delete_count = 0;  ///< rows that were really removed or replaced
};
using WriteCallback = std::function<void(Result<WriteResult>)>;

/// A consistent state of one collection: the segments and the timestamp to read them at. Segments stay valid while the
/// view lives, whatever is sealed or dropped meanwhile.
struct ReadView {
  std::shared_ptr<const CollectionInfo> info;
  Timestamp timestamp = 0;
  /// Views of a collection with the same `info`, partitions and version show the same rows. 0 = not known (a write is
  /// on its way, rows outlive their time).
  Timestamp data_version = 0;
  std::vector<std::shared_ptr<const segment::Segment>> segments;
  std::vector<int64_t> partition_ids;  ///< rows of these partitions only; empty = all
  Timestamp expired = 0;               ///< rows inserted at or before this have outlived `collection.ttl.seconds`
  segment::RowExpiry expiry;           ///< rows that hold when they end, `ttl_field`
  bool serve_damaged = false;          ///< fenced segments may be left out; otherwise a read that needs one fails
  std::shared_ptr<segment::FilterCache> filter_cache;  ///< of the engine; may be null

  /// Which rows of the segments the view sees; valid while the view lives.
  [[nodiscard]] segment::Visibility visibility() const {
    return {.timestamp = timestamp, .expired = expired, .partitions = partition_ids, .expiry = expiry};
  }
};

struct SegmentInfo {
  int64_t id = 0;
  int64_t collection_id = 0;
  int64_t partition_id = -1;  ///< -1: holds several partitions
  int64_t rows = 0;           ///< stored rows that are not deleted
  uint64_t bytes = 0;
  bool sealed = false;
  std::vector<int64_t> index_ids;  ///< indexes that are built and in use
};

enum class IndexState : uint8_t {
  kFinished,    ///< every segment that is to have the index has it; growing rows and small segments need not
  kInProgress,  ///< some segments are scanned until they have it
  kFailed,      ///< as kInProgress, and building failed several times; it is tried again
};

/// How far the building of an index has come. Searches never wait for it.
struct IndexProgress {
  IndexState state = IndexState::kFinished;
  int64_t total_rows = 0;
  int64_t pending_rows = 0;  ///< in segments that are to have the index and lack it
  std::string reason;        ///< of the last failure, in state kFailed
};

struct FlushResult {
  Timestamp timestamp = 0;
  std::vector<int64_t> segment_ids;  ///< sealed by this flush
};

/// State of a compaction that a client asked for.
struct CompactionProgress {
  struct Merge {
    std::vector<int64_t> sources;
    int64_t target = 0;
  };
  std::vector<Merge> merges;  ///< every sealed segment is a source of one of them
  int64_t executing = 0;
  int64_t completed = 0;
  int64_t failed = 0;
  bool done = true;
};

enum class RestoreState : uint8_t { kPending, kExecuting, kCompleted, kFailed };

/// One restoring of a snapshot.
struct RestoreJob {
  int64_t id = 0;
  std::string snapshot;
  std::string db_name;     ///< of the target
  std::string collection;  ///< the target
  RestoreState state = RestoreState::kPending;
  int32_t progress = 0;  ///< percent
  std::string reason;    ///< of a failure
  Timestamp started = 0;
  int64_t milliseconds = 0;  ///< spent so far
};

struct EngineStatistics {
  uint64_t collections = 0;
  uint64_t rows = 0;
  std::array<uint64_t, kMemoryConsumers> memory_bytes{};  ///< by MemoryConsumer
  uint64_t sealed_bytes = 0;                              ///< mapped files
  uint64_t fenced_segments = 0;                           ///< damaged: their rows are not served
  uint64_t indexes = 0;                                   ///< built indexes in use, one per segment and field
  uint64_t index_bytes = 0;                               ///< their mapped files
  uint64_t index_parts = 0;                               ///< indexes of single values of partition keys
  uint64_t index_builds = 0;
  uint64_t growing_index_builds = 0;  ///< of blocks of growing segments
  uint64_t index_build_failures = 0;
  uint64_t growing_indexed_rows = 0;  ///< rows of growing segments in vector indexes, once for each
  uint64_t log_bytes = 0;
  uint64_t log_syncs = 0;
  segment::FilterCache::Statistics filter_cache;
  Timestamp watermark = 0;
};

class Engine {
 public:
  /// Opens or creates a data directory and replays its log. A segment that is missing or damaged does not keep the
  /// rest from being served: it is named in the log and fenced. Errors: kCorruption of catalog or log (file and offset
  /// named), kIo.
  static Result<std::unique_ptr<Engine>> Open(io::FileSystem& file_system, EngineOptions options);
  /// Stops taking writes, waits for those in flight, closes everything.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Databases. Names are validated by the caller (schema/validation.h).
  Status CreateDatabase(const std::string& name, const KeyValues& properties);
  Status DropDatabase(const std::string& name);  ///< missing = ok
  Status AlterDatabase(const std::string& name, const KeyValues& set, const std::vector<std::string>& delete_keys);
  [[nodiscard]] std::vector<DatabaseInfo> ListDatabases() const;
  [[nodiscard]] Result<DatabaseInfo> DescribeDatabase(const std::string& name) const;

  // Collections. `name` may be an alias where the published server allows it.
  Status CreateCollection(CreateCollectionRequest request);
  Status DropCollection(const std::string& db, const std::string& name);  ///< missing = ok
  Status RenameCollection(const std::string& db, const std::string& name, const std::string& new_db,
                          const std::string& new_name);
  Status AlterCollection(const std::string& db, const std::string& name, const KeyValues& set,
                         const std::vector<std::string>& delete_keys);
  Status AlterCollectionField(const std::string& db, const std::string& name, const std::string& field,
                              const KeyValues& set, const std::vector<std::string>& delete_keys);
  Status AddCollectionField(const std::string& db, const std::string& name, FieldSchema field);
  /// As AddCollectionField, of a struct array with its sub-fields: rows that are there have none.
  Status AddCollectionStructArray(const std::string& db, const std::string& name, StructArraySchema added,
                                  std::vector<FieldSchema> sub_fields);
  /// By name or alias. Errors: kDatabaseNotFound, kCollectionNotFound in the published wording.
  [[nodiscard]] Result<std::shared_ptr<Collection>> FindCollection(const std::string& db,
                                                                   const std::string& name) const;
  [[nodiscard]] Result<std::shared_ptr<Collection>> FindCollectionById(int64_t collection_id) const;
  [[nodiscard]] Result<std::vector<std::shared_ptr<const CollectionInfo>>> ListCollections(const std::string& db) const;

  // Partitions.
  Status CreatePartition(const std::string& db, const std::string& collection, const std::string& partition);
  Status DropPartition(const std::string& db, const std::string& collection, const std::string& partition);

  /// Removes all rows; schema, partitions, indexes and load state stay. Time travel still sees the rows before it.
  Status TruncateCollection(const std::string& db, const std::string& collection);

  // Aliases.
  Status CreateAlias(const std::string& db, const std::string& collection, const std::string& alias);
  Status DropAlias(const std::string& db, const std::string& alias);  ///< missing = ok
  Status AlterAlias(const std::string& db, const std::string& collection, const std::string& alias);
  /// Returns the collection's name. Error: kAliasNotFound.
  [[nodiscard]] Result<std::string> DescribeAlias(const std::string& db, const std::string& alias) const;
  /// All aliases of a database, or of one collection.
  [[nodiscard]] Result<std::vector<std::string>> ListAliases(const std::string& db,
                                                             const std::string& collection) const;

  // Snapshots: named moments of a collection that stay readable until they are dropped. Errors: kSnapshotNotFound.
  /// Takes one metadata write, whatever the size of the collection. Error: kInvalidParameter for a name that is taken.
  Result<SnapshotInfo> CreateSnapshot(const std::string& db, const std::string& collection, const std::string& name,
                                      const std::string& description);
  Status DropSnapshot(const std::string& db, const std::string& collection, const std::string& name);  ///< missing = ok
  /// Starts bringing a snapshot's rows back, in the background: into a new collection, or, where the target is the
  /// collection itself (or empty), in the place of its present rows. Rows appear all at once. Returns the job's id.
  Result<int64_t> RestoreSnapshot(const std::string& db, const std::string& collection, const std::string& name,
                                  const std::string& target_db, const std::string& target_collection);
  /// A job outlives restarts: one that was interrupted is done anew, and its rows appear once or not at all. The newest
  /// thousand are remembered. Nothing for an id that is not known.
  [[nodiscard]] std::optional<RestoreJob> FindRestore(int64_t job_id) const;
  [[nodiscard]] std::vector<RestoreJob> ListRestores() const;

  // Load state. Empty `partitions` = the whole collection.
  Status Load(const std::string& db, const std::string& collection, const std::vector<std::string>& partitions,
              int32_t replica_number);
  Status Release(const std::string& db, const std::string& collection, const std::vector<std::string>& partitions);

  // Indexes. Parameters are checked by the caller (schema/index_params.h); `info.name` empty = the field's name.
  Status CreateIndex(const std::string& db, const std::string& collection, const std::string& field, IndexInfo info);
  Status DropIndex(const std::string& db, const std::string& collection, const std::string& field,
                   const std::string& index_name);
  Status AlterIndex(const std::string& db, const std::string& collection, const std::string& index_name,
                    const KeyValues& set, const std::vector<std::string>& delete_keys);

  /// How far an index of the collection is. `until` = 0: all rows there are; otherwise segments with only newer rows
  /// are left out, so that a client that waits is not kept by rows that come meanwhile.
  [[nodiscard]] IndexProgress DescribeProgress(const Collection& collection, const IndexInfo& index,
                                               Timestamp until = 0) const;

  // Writes.
  void Insert(WriteRequest request, WriteCallback callback);
  /// `batch` holds the primary key also for auto-id collections: those rows are deleted and new keys given.
  void Upsert(WriteRequest request, WriteCallback callback);
  void Delete(DeleteRequest request, WriteCallback callback);

  /// Seals growing data of the collection (if it is worth a segment) and waits until it is on disk.
  Result<FlushResult> Flush(const std::shared_ptr<Collection>& collection);

  /// Starts merging the collection's segments and dropping the rows that nobody can read any more; growing rows are
  /// sealed first. Returns an id (above 0) at once.
  Result<int64_t> Compact(const std::shared_ptr<Collection>& collection);
  /// An id that is not known (from before a restart) is done.
  [[nodiscard]] CompactionProgress CompactionState(int64_t compaction_id) const;

  // Reads.
  /// Takes a view of the newest visible state, once `guarantee` has passed (waits for a timestamp in the future until
  /// the deadline). Empty `partitions` = all. `travel` reads an earlier moment (0 = now): any within the collection's
  /// retention, or that of a snapshot. Errors: kPartitionNotFound, kCollectionNotLoaded, kPartitionNotLoaded, kTimeout,
  /// kInvalidParameter for a moment that is not kept any more (names the oldest one).
  [[nodiscard]] Result<ReadView> OpenView(const Collection& collection, const std::vector<std::string>& partitions,
                                          Timestamp guarantee, std::chrono::steady_clock::time_point deadline,
                                          Timestamp travel = 0) const;
  /// As above without the load check (delete by filter on a released collection is refused by the caller, internal
  /// jobs are not).
  [[nodiscard]] ReadView ViewAll(const Collection& collection) const;
  /// What large consumers of memory are counted in.
  [[nodiscard]] const std::shared_ptr<MemoryBudget>& memory_budget() const;
  /// Exact number of live rows; empty partition = all.
  [[nodiscard]] Result<int64_t> RowCount(const Collection& collection, const std::string& partition) const;
  [[nodiscard]] std::vector<SegmentInfo> ListSegments(const Collection& collection) const;

  /// A fresh timestamp, greater than every one given before, also before a restart.
  Timestamp AllocateTimestamp();
  [[nodiscard]] EngineStatistics statistics() const;
  [[nodiscard]] const EngineOptions& options() const;
  /// Not ok once writes are refused for good (for example after a failed fdatasync); the reason.
  [[nodiscard]] Status health() const;

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quiver::engine
