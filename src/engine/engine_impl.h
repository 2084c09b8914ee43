// File: engine/engine_impl.h
// Engine::Impl: state and threads of the engine. Private to src/engine; its parts are write_path.cc (sequencer,
// commit), ddl.cc (catalog changes), seal.cc (sealing, checkpoints, clean-up), compaction.cc, index_build.cc,
// snapshot.cc, recovery.cc (open, replay).
//
// Threads:
//   sequencer  takes queued operations in order, gives timestamps, appends them to the log, applies them in memory.
//              It is the only thread that changes the catalog maps and the write side of segments.
//   committer  one fdatasync for all groups appended meanwhile; then advances the watermark and answers.
//   sealer     writes frozen growing segments to files, checkpoints, cuts the log, removes what was dropped.
//   compactors merge sealed segments and drop dead rows from them (compaction.cc), of low priority. One at a time; the
//              others take over while it builds the indexes of what it merged.
//   reclaimer  destroys segments and indexes that nobody reads any more (base/reclaimer.h).
//   indexer    builds indexes of sealed segments and forgets them (index_build.cc), of low priority.
//   growing    builds scalar indexes of growing rows (growing_index.cc) and lets vector indexes follow them
//              (growing_link.cc), of low priority: a long build of a sealed segment does not hold them up.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/hybrid_clock.h"
#include "base/reclaimer.h"
#include "engine/collection.h"
#include "engine/engine.h"
#include "engine/index_queue.h"
#include "engine/index_recipe.h"
#include "engine/log_record.h"
#include "engine/restore_record.h"
#include "engine/retention.h"
#include "engine/segment_copy.h"
#include "io/file_system.h"
#include "storage/log_store.h"
#include "storage/meta_store.h"
#include "storage/object_store.h"

namespace quiver::engine {

/// A built index of a segment, as its manifest names it.
struct IndexObject {
  int64_t index_id = 0;  ///< of the catalog; where it is not there any more the object is not used
  int64_t field_id = 0;
  std::string object;
  uint64_t bytes = 0;
  uint32_t crc = 0;
};

/// Threads of one index build.
size_t BuildThreads(const EngineOptions& options);

/// The names of what may stand beside an index object. No manifest names it, and it goes with the index.
std::vector<std::string> NamesBeside(const std::string& index_object);

/// A sealed segment's entry in the MetaStore.
struct SegmentManifest {
  std::string object;
  std::string delta;                   ///< empty = none
  Timestamp visible_from = 0;          ///< a restored snapshot: its rows are there from this moment on
  std::vector<IndexObject> indexes{};  ///< built ones
};
std::string EncodeManifest(const SegmentManifest& manifest);
Result<SegmentManifest> DecodeManifest(std::string_view text);

/// One catalog change, worked out on the sequencer: what the MetaStore is to hold, and how memory follows.
struct CatalogChange {
  std::vector<storage::MetaOperation> operations;  ///< empty = nothing to change
  std::function<void(Timestamp)> apply;
  std::vector<std::shared_ptr<Collection>> dropped;  ///< whose objects go once the change is durable
};

/// Objects that must not be swept: those that manifests name, and by prefix those of segments whose manifest cannot be
/// read.
struct ReferencedObjects {
  std::vector<std::string> names;
  std::vector<std::string> prefixes;
};

/// Something queued for the sequencer.
struct Operation {
  enum class Kind : uint8_t { kWrite, kDelete, kDdl, kInternal };
  Kind kind = Kind::kInternal;
  std::shared_ptr<Collection> collection;
  Timestamp schema_timestamp = 0;
  WriteRecord write;
  std::vector<uint32_t> rows;  ///< of write.batch, the last one of each key
  bool fresh_keys = false;     ///< keys given by us: no older version can exist
  bool unique_keys = false;    ///< refused when one of its keys exists
  Timestamp based_on = 0;      ///< refused when a row of its keys has changed since; 0 = not checked
  DeleteRecord deletion;
  std::string payload;
  std::function<Result<CatalogChange>(Timestamp)> prepare;
  std::function<void()> run;  ///< kInternal
  std::function<void(Operation&)> done;

  // Filled on the way.
  Timestamp timestamp = 0;
  Status status;
  WriteResult result;
  CatalogChange change;
  MemoryCharge memory;
};

struct SealTask {
  std::shared_ptr<Collection> collection;
  std::shared_ptr<segment::GrowingSegment> growing;  ///< nullptr: only deletes are checkpointed
  Timestamp freeze_timestamp = 0;
  uint64_t growing_bytes = 0;
  uint64_t freeze_offset = 0;  ///< the log before it is covered once this is sealed
  bool cleanup = false;        ///< remove the objects of a dropped collection instead
  /// Runs on the sealer thread after each attempt, of this task or of one that it has to wait for: a failed one is
  /// repeated until it succeeds.
  std::function<void(Status, int64_t segment_id)> done;

  // What failed attempts have reached.
  int attempts = 0;
  std::chrono::steady_clock::time_point not_before;  ///< the next attempt waits until then
  bool written = false;                              ///< what is below is complete
  SegmentCopy copy;
  SegmentManifest manifest;
  std::shared_ptr<segment::SealedSegment> sealed;  ///< nullptr: no row is needed
  Timestamp floor = 0;
  std::vector<std::string> replaced;  ///< delta objects to remove in the end
};

class Engine::Impl {
 public:
  Impl(io::FileSystem& file_system, EngineOptions options);
  ~Impl();

  // recovery.cc
  Status Open();

  // write_path.cc
  void Insert(WriteRequest request, WriteCallback callback, bool upsert);
  void Delete(DeleteRequest request, WriteCallback callback);
  void Enqueue(std::unique_ptr<Operation> operation);
  /// Runs `function` on the sequencer and waits for it.
  Status RunOnSequencer(std::function<void()> function);
  /// Runs one catalog change and waits until it is durable.
  Status RunDdl(std::function<Result<CatalogChange>(Timestamp)> prepare);
  Status WaitForWatermark(Timestamp timestamp, std::chrono::steady_clock::time_point deadline);

  // seal.cc
  /// Seals the growing rows of a collection if there are at least `min_bytes` of them.
  Result<FlushResult> Flush(const std::shared_ptr<Collection>& collection, uint64_t min_bytes);
  /// Sequencer only: ends the active growing segment, which holds every row up to `freeze_timestamp`, and queues it for
  /// sealing. The log before `log_offset` is not needed for this collection afterwards. `done` runs on the sealer
  /// thread.
  void Freeze(const std::shared_ptr<Collection>& collection, Timestamp freeze_timestamp, uint64_t log_offset,
              std::function<void(Status, int64_t)> done);

  /// Waits until everything up to `timestamp` is durable and visible: only then may files depend on it.
  Status Settle(Timestamp timestamp);
  /// What of a collection must be kept at a moment at which `newest` is the newest timestamp.
  [[nodiscard]] Retention RetentionOf(const CollectionInfo& info, Timestamp newest) const;

  // compaction.cc
  /// Lets the compactor look at a collection soon.
  void RequestMaintenance(Collection& collection);
  Result<int64_t> StartCompaction(const std::shared_ptr<Collection>& collection);
  [[nodiscard]] CompactionProgress ProgressOf(int64_t compaction_id) const;

  // index_build.cc
  /// Lets the indexers look at a collection soon: something was sealed, merged, dropped, found damaged, defined.
  void RequestIndexing(const Collection& collection);
  /// Lets the growing indexer look at a collection whose growing segment went from `rows_before` to `rows` rows, if
  /// that filled a block.
  void RequestGrowingIndexes(const Collection& collection, uint32_t rows_before, uint32_t rows);
  [[nodiscard]] IndexProgress ProgressOf(const Collection& collection, const IndexInfo& info, Timestamp until) const;
  /// Shared with the indexes, which ask to be built anew when they are found damaged.
  const std::shared_ptr<IndexQueue> index_queue = std::make_shared<IndexQueue>();
  IndexQueue growing_index_queue;
  std::atomic<uint64_t> growing_index_builds{0};  ///< over a block, and in use
  // growing_link.cc
  /// Lets the linker look at a collection soon: rows have come, or index definitions.
  void RequestLinking(Collection& collection);
  std::atomic<uint64_t> index_builds{0};
  std::atomic<uint64_t> index_build_failures{0};

  // snapshot.cc
  Result<int64_t> StartRestore(const std::string& db, const std::string& collection_name, const std::string& name,
                               const std::string& target_db, const std::string& target_collection);
  mutable std::mutex restore_mutex;
  std::map<int64_t, RestoreRecord> restores;

  // ddl.cc: catalog look-ups. *Locked ones need catalog_mutex or the sequencer thread.
  [[nodiscard]] Result<std::shared_ptr<Collection>> Find(const std::string& db, const std::string& name) const;
  [[nodiscard]] Result<std::shared_ptr<Collection>> FindLocked(const std::string& db, const std::string& name,
                                                               bool follow_alias = true) const;

  /// A change that replaces a collection's description.
  static CatalogChange Replace(const std::shared_ptr<Collection>& collection, CollectionInfo info);
  /// As Replace, of the index definitions: what is built follows.
  CatalogChange ReplaceIndexes(const std::shared_ptr<Collection>& collection, CollectionInfo info);
  /// Sequencer only: a change that kills what the tombstone covers and leaves it in the description.
  CatalogChange Bury(const std::shared_ptr<Collection>& collection, CollectionInfo info, const Tombstone& tombstone);

  /// Takes timestamp and segments that fit together; `travel` = 0 for the newest state. Error: kInvalidParameter for a
  /// moment that is not kept any more.
  Status FillView(const Collection& collection, Timestamp travel, ReadView& view) const;

  struct DatabaseNames {
    std::map<std::string, int64_t> collections;
    std::map<std::string, int64_t> aliases;
  };

  io::FileSystem& file_system;
  const EngineOptions options;
  const std::shared_ptr<MemoryBudget> budget;
  /// Guards all segments and indexes: whoever reads last does not wait for their memory and disk blocks to be freed.
  const Reclaimer reclaimer;
  const std::shared_ptr<segment::FilterCache> filter_cache;

  mutable std::shared_mutex catalog_mutex;
  std::map<std::string, DatabaseInfo> databases;
  std::map<std::string, DatabaseNames> names;
  std::unordered_map<int64_t, std::shared_ptr<Collection>> collections;

  std::unique_ptr<HybridClock> clock;
  std::atomic<Timestamp> watermark{0};
  mutable std::mutex health_mutex;
  Status health;  ///< first error that ended writing

  std::unique_ptr<storage::LogStore> log;
  std::unique_ptr<storage::MetaStore> meta;
  std::unique_ptr<storage::ObjectStore> objects;
  std::unique_ptr<io::FileLock> lock;

  [[nodiscard]] Status Health() const;
  void SetUnhealthy(const Status& status);
  /// Looks at a failed MetaStore call and returns its status: all but a full disk ends writing, since the store then
  /// takes nothing until a restart.
  Status MetaFailed(Status status);

  /// Puts a collection into the maps; catalog_mutex held or recovery.
  void Publish(const std::shared_ptr<Collection>& collection);

 private:
  struct RememberedRequest {
    uint64_t content_hash;
    WriteResult result;
  };

  void StartThreads();
  void SequencerLoop();
  void CommitterLoop();
  void SealerLoop();
  void CompactorLoop();
  void IndexerLoop();
  void GrowingIndexerLoop();

  // write_path.cc
  void ProcessData(std::span<std::unique_ptr<Operation>> group);
  void ProcessDdl(std::unique_ptr<Operation> operation);
  Status CheckWrite(Operation& operation);
  /// Error: kInvalidParameter with the first key that exists.
  [[nodiscard]] Status CheckUnique(const Operation& operation) const;
  /// Error: kConflict when a row of the keys has changed since operation.based_on.
  [[nodiscard]] Status CheckUnchanged(const Operation& operation) const;
  /// Appends a group; says what its failure means for the service.
  Status AppendToLog(std::span<const storage::LogEntry> entries);
  void ApplyWrite(Operation& operation);
  void ApplyDelete(Operation& operation);
  /// Applies a write record found in the log.
  Status ReplayWrite(Operation& operation);
  /// Kills the live version of each key; returns how many there were.
  int64_t KillKeys(Collection& collection, const Column& keys, std::span<const uint32_t> rows, Timestamp timestamp,
                   Timestamp kill_before, int64_t partition_id);
  /// Operations that were appended together; everything in the log before `end_offset` belongs to it or to earlier
  /// ones.
  struct Group {
    std::vector<std::unique_ptr<Operation>> operations;
    uint64_t end_offset = 0;
  };
  void HandToCommitter(std::vector<std::unique_ptr<Operation>> operations);
  void FinishGroup(std::vector<std::unique_ptr<Operation>>& group);
  /// Brings the MetaStore up to date with durable catalog changes. A full disk leaves the rest for the next call.
  Status ApplyToMeta();
  void CapLog();
  /// Seals the largest growing segment when growing rows take too much of the memory budget.
  void CapMemory();
  void RememberRequest(const Operation& operation);

  // seal.cc
  /// Takes the first task that may run now. Tasks of one collection keep their order: a checkpoint covers everything
  /// before it. Without one, sets `next` to when to look again.
  std::optional<SealTask> TakeSealTask(std::chrono::steady_clock::time_point& next);
  /// Makes the segment, its checkpoint and the switch of readers; an error means that it has to be tried again.
  Status Seal(SealTask& task);
  /// Writes the rows of the growing segment that are needed into an object, and its first delta.
  Status WriteSegment(SealTask& task);
  /// Registers the new segment and makes all deletes up to the freeze durable; manifest_mutex_ held.
  Status Checkpoint(SealTask& task);
  /// Writes a delta object and returns its name.
  Result<std::string> WriteDelta(int64_t collection_id, int64_t segment_id, Timestamp until,
                                 std::span<const storage::RowDelete> deletes);
  /// Removes an object that nothing names any more; "" = none.
  void RemoveObject(const std::string& name);
  void RemoveDropped(const SealTask& task);
  void CutLog();

  using Journal = std::vector<storage::RowDelete>;
  /// Applies, here, the deletes that reached segments while they were copied, as `take` gives them on the sequencer, in
  /// rounds until few are left: what came in minutes is not for the sequencer to apply while every write waits.
  Status CatchUp(size_t segments, const std::function<Journal(size_t)>& take,
                 const std::function<void(size_t, const Journal&)>& apply);

  // compaction.cc
  using SealedSegments = std::vector<std::shared_ptr<segment::SealedSegment>>;
  struct CompactionTask {
    SealedSegments sources;
    int64_t target = 0;  ///< id of the new segment
  };
  struct CompactionJob {
    std::shared_ptr<Collection> collection;
    std::vector<CompactionTask> tasks;
    CompactionProgress progress;
  };
  /// Which segments of a collection to rewrite now. `whole` = as a client asked: merge all that can be merged and drop
  /// every row that is not needed; the tasks then name every sealed segment.
  Result<std::vector<CompactionTask>> PlanCompaction(const Collection& collection, bool whole) const;
  /// The right to plan merges and to copy rows, which one thread of the compactor has at a time.
  class CompactorRole {
   public:
    explicit CompactorRole(Impl& impl) : impl_(impl) {}
    ~CompactorRole() { Leave(); }
    CompactorRole(const CompactorRole&) = delete;
    CompactorRole& operator=(const CompactorRole&) = delete;
    /// Waits for it; no effect where it is held.
    void Take();
    /// Lets another thread have it.
    void Leave();

   private:
    friend class Impl;
    Impl& impl_;
    bool held_ = false;
  };
  /// Rewrites the sources into one segment and switches readers over. Leaves the role where it has indexes to build.
  Status Compact(CompactorRole& role, Collection& collection, const CompactionTask& task);
  /// What became of the sources of a task since it was planned: another thread may be at work on one, or have replaced
  /// it.
  enum class SourceState : uint8_t { kFree, kBusy, kGone };
  [[nodiscard]] static SourceState StateOf(const Collection& collection, const CompactionTask& task);
  /// Does the tasks of a job; where another thread is at work on a source, the job goes on when that has ended.
  void RunJob(CompactorRole& role, int64_t compaction_id);
  // index_build.cc
  /// An index that was built and is in no manifest yet.
  struct BuiltIndex {
    IndexObject entry;
    std::shared_ptr<const segment::SegmentIndex> index;
  };
  /// What went wrong with an index of a segment so far.
  struct IndexTrouble {
    int attempts = 0;
    std::chrono::steady_clock::time_point next;  ///< attempt
    std::string reason;
  };
  /// A graph over rows of which some are in the segment that an index is built for (index/graph_join.h).
  struct LinkSource {
    std::shared_ptr<const segment::SegmentIndex> sealed;          ///< one of the two
    std::shared_ptr<const segment::GrowingSegmentIndex> growing;  ///< one of the two
    std::shared_ptr<const std::vector<uint32_t>> new_rows;
  };
  /// A segment and what to build for it.
  struct IndexTask {
    std::shared_ptr<segment::SealedSegment> segment;
    IndexInfo info;
    SegmentRecipe recipe;
    std::vector<LinkSource> sources{};  ///< of a graph
  };
  /// What followed a growing segment that was sealed, and where its rows are now.
  struct GrownGraphs {
    std::vector<std::shared_ptr<segment::GrowingSegmentIndex>> graphs;
    std::shared_ptr<const std::vector<uint32_t>> new_rows;
  };
  [[nodiscard]] static uint64_t BytesOf(const GrownGraphs& grown);
  /// Keeps the graphs of a growing segment until the sealed one has indexes, where memory is left for them.
  void KeepGrown(const SealTask& task, std::vector<uint32_t> new_rows);
  /// Lets go of those of a collection that was dropped, or for want of memory.
  void ForgetGrown(int64_t collection_id);
  /// Graphs that the index of a segment can be joined from; of a merged one, by what it was merged from.
  [[nodiscard]] std::vector<LinkSource> GrownSources(const Collection& collection, int64_t segment_id,
                                                     const IndexInfo& index) const;
  [[nodiscard]] std::vector<LinkSource> MergedSources(const Collection& collection, const SealedSegments& merged,
                                                      std::span<const std::vector<uint32_t>> new_rows,
                                                      const IndexInfo& index) const;
  /// Joins the sources of the task, or builds where there are none that serve.
  Result<std::string> JoinOrBuild(const index::IndexRecipe& recipe, const ColumnView& column, const IndexTask& task,
                                  const index::BuildControl& control) const;
  /// What to build for an index of the collection; nothing where its searches scan.
  [[nodiscard]] std::optional<SegmentRecipe> WantedRecipe(const CollectionInfo& info, const IndexInfo& index) const;
  /// Returns whether a segment is large enough for an index and lacks it.
  [[nodiscard]] bool LacksIndex(const segment::SealedSegment& sealed, const IndexInfo& index) const;
  /// Looks at one collection: forgets, then builds one index.
  void TendIndexes(const std::shared_ptr<Collection>& collection);
  /// Takes what is not wanted any more, and what is damaged, out of the manifests and removes the objects.
  Status ForgetIndexes(const Collection& collection);
  /// The largest segment that lacks an index and may be tried now; otherwise sets `next` to when one may be.
  std::optional<IndexTask> NextIndex(const Collection& collection, std::chrono::steady_clock::time_point& next);
  /// Builds an index, writes it as an object and opens it.
  Result<BuiltIndex> BuildIndex(const Collection& collection, const IndexTask& task,
                                const std::function<bool()>& cancelled);
  /// Names it in the manifest and gives it to readers. Where the segment or the index is gone, removes it.
  Status RegisterIndex(const Collection& collection, const IndexTask& task, const BuiltIndex& built);
  /// Builds what a merged segment will need before it takes the place of its sources. `new_rows`: of each source and
  /// each of its rows.
  std::vector<IndexObject> BuildBeforeSwap(const Collection& collection, const SealedSegments& sources,
                                           std::span<const std::vector<uint32_t>> new_rows,
                                           const std::shared_ptr<segment::SealedSegment>& merged);
  Result<std::shared_ptr<const segment::SegmentIndex>> OpenIndex(int64_t collection_id, const IndexObject& entry,
                                                                 uint32_t rows);
  /// Removes an index object and what stands beside it.
  void RemoveIndexObject(const std::string& name);

  // key_index.cc
  /// Whether an index of the segment may have parts, one for each large value of the partition key.
  [[nodiscard]] bool MayHaveParts(const segment::SealedSegment& sealed, const segment::SegmentIndex& index) const;
  /// Gives an index the parts that were built before. False where they are missing or damaged: they wait for the
  /// indexer.
  bool LoadParts(int64_t collection_id, const segment::SegmentIndex& index);
  /// Builds and measures the parts of an index, writes them beside it and gives them to readers. Errors: kCancelled,
  /// kMemoryLimit, of building and writing.
  Status BuildParts(int64_t collection_id, const segment::SealedSegment& sealed, const segment::SegmentIndex& index,
                    const std::function<bool()>& cancelled);
  /// Builds the parts of one index of the collection that lacks them, or sets `next` to when that is tried again.
  /// Returns whether there was one.
  bool BuildPartsNext(const Collection& collection, std::chrono::steady_clock::time_point& next);

  // growing_index.cc
  /// Looks at one collection: takes away indexes that are not wanted any more, then indexes some blocks.
  void TendGrowing(const std::shared_ptr<Collection>& collection);
  /// Indexes full blocks of a growing segment that lack indexes, at most `turn` of them, and subtracts these. Errors:
  /// of MayIndex, of building.
  Status IndexBlocks(const Collection& collection, segment::GrowingSegment& growing, size_t& turn);
  Result<std::shared_ptr<const segment::SegmentIndex>> BuildBlockIndex(const segment::GrowingSegment& growing,
                                                                       uint32_t block, const IndexInfo& index,
                                                                       const index::ScalarRecipe& recipe);
  /// Errors: kCancelled where the rows, or the engine, go; kMemoryLimit where these indexes take their share already.
  [[nodiscard]] Status MayIndex(const Collection& collection, const segment::GrowingSegment& growing) const;
  // growing_link.cc
  /// A graph that a growing segment is to have.
  struct GrowingTask {
    int64_t index_id;
    int64_t field_id;
    index::IndexRecipe recipe;
  };
  [[nodiscard]] std::vector<GrowingTask> GrowingTasksOf(const CollectionInfo& info) const;
  /// Looks at one collection: drops graphs that are not wanted any more and links some rows of each of the others.
  void LinkGrowing(const std::shared_ptr<Collection>& collection);
  /// Links some rows of one graph, which is made where it is missing. Returns when it wants to go on; nothing: when
  /// further rows come.
  std::optional<std::chrono::milliseconds> ExtendGrowing(const Collection& collection, segment::GrowingSegment& growing,
                                                         const GrowingTask& task);

  // index_tuning.cc
  /// Gives an index the tuning that was measured before. Without one, or with a damaged one, it waits for the indexer.
  void LoadTuning(const segment::SegmentIndex& index, uint64_t rows);
  /// Measures an index of the segment, whose building took so long after `tried` was tried, and keeps the outcome
  /// beside it. Errors: kCancelled; of measuring. What cannot be written is used all the same.
  Status TuneIndex(const segment::SealedSegment& sealed, const segment::SegmentIndex& index, double build_seconds,
                   const std::vector<index::TriedRecipe>& tried, const std::function<bool()>& cancelled);
  /// The recipe to build by; where there are several candidates, what came of trying them goes into `tried`.
  static Result<index::IndexRecipe> ChooseAmong(const std::vector<index::IndexRecipe>& candidates,
                                                const ColumnView& column, const IndexTask& task,
                                                const index::BuildControl& control,
                                                std::vector<index::TriedRecipe>& tried);
  /// Measures one index of the collection that lacks a tuning: built by a program that made none, or found damaged.
  /// Returns whether there was one.
  bool TuneNext(const Collection& collection);

  // compaction.cc
  /// Runs something on the compactor thread, after what was asked for before.
  void RunOnCompactor(std::function<void(CompactorRole&)> task);
  // snapshot.cc
  struct RestoredSegment {
    std::shared_ptr<const storage::SegmentFile> file;
    std::string object_name;
  };
  /// Copies the rows of a snapshot into segments of `target_id`.
  Status CopySnapshot(const Collection& source, const SnapshotInfo& snapshot, const CollectionSchema& schema,
                      int64_t target_id, int64_t job_id, std::vector<RestoredSegment>& segments);
  /// Brings the rows back and ends the job; `spent` tells the milliseconds that it took.
  Status Restore(const std::shared_ptr<Collection>& source, const SnapshotInfo& snapshot, const RestoreRecord& record,
                 const std::function<int64_t()>& spent);
  /// Does a job of `restores` on the compactor thread.
  void RunRestore(int64_t job_id);
  void UpdateRestore(int64_t job_id, const std::function<void(RestoreJob&)>& change);
  /// Reads the jobs of earlier starts; those that were interrupted are done again.
  Status LoadRestores();

  /// Notes when a new growing segment will be old enough to be sealed.
  void WatchAge(const Collection& collection);
  /// Takes the first collection that is due out of a map.
  static std::optional<int64_t> TakeDue(std::map<int64_t, std::chrono::steady_clock::time_point>& due);
  [[nodiscard]] std::shared_ptr<Collection> FindById(int64_t collection_id) const;
  /// Looks at the collections that are due.
  void Maintain(CompactorRole& role);

  // recovery.cc
  Status LoadCatalog();
  Status LoadSegments(Collection& collection, ReferencedObjects& referenced);
  /// Opens a segment with its deletes. On failure `file` holds what could be opened.
  Result<std::shared_ptr<segment::SealedSegment>> OpenSegment(const Collection& collection, int64_t segment_id,
                                                              const SegmentManifest& manifest,
                                                              std::shared_ptr<const storage::SegmentFile>& file);
  Status ReplayDdl(Timestamp& newest);
  Status ReplayData();
  Status SweepObjects(ReferencedObjects referenced);

  std::mutex queue_mutex_;
  std::condition_variable queue_ready_;
  std::vector<std::unique_ptr<Operation>> queue_;
  uint64_t queue_bytes_ = 0;
  bool stopping_ = false;

  std::mutex commit_mutex_;
  std::condition_variable commit_ready_;
  std::vector<Group> committing_;
  bool sequencer_done_ = false;
  /// Durable in the log, not yet in the MetaStore, in order. Committer only.
  std::deque<storage::MetaTransaction> unapplied_;
  /// The log before it is durable and its catalog changes are in the MetaStore.
  std::atomic<uint64_t> finished_offset_{0};

  std::mutex watermark_mutex_;
  std::condition_variable watermark_moved_;
  int watermark_waiters_ = 0;

  std::mutex seal_mutex_;
  std::condition_variable seal_ready_;
  std::deque<SealTask> seal_queue_;
  std::atomic<uint64_t> next_delta_{0};  ///< makes the names of delta objects differ
  bool sealer_stop_ = false;
  std::atomic<uint64_t> frozen_bytes_{0};  ///< of growing segments that wait to be sealed

  /// Held while manifests of segments are read and rewritten: the sealer and the compactor do so.
  std::mutex manifest_mutex_;

  mutable std::mutex compaction_mutex_;
  std::condition_variable compaction_ready_;
  std::atomic<bool> compactor_stop_{false};
  static constexpr size_t kCompactors = 4;
  bool compacting_ = false;                                          ///< a thread has the role
  std::deque<std::function<void(CompactorRole&)>> compactor_queue_;  ///< what clients asked for
  std::vector<int64_t> waiting_jobs_;  ///< for a merge that runs; the end of any one queues them again
  std::map<int64_t, CompactionJob> compaction_jobs_;
  std::mutex merge_build_mutex_;  ///< held while indexes of a merged segment are built: one after the other
  std::map<int64_t, std::chrono::steady_clock::time_point> maintenance_due_;  ///< by collection
  std::map<int64_t, std::chrono::steady_clock::time_point> age_due_;          ///< when growing rows are too old

  std::atomic<bool> indexer_stop_{false};
  mutable std::mutex index_mutex_;
  std::map<std::tuple<int64_t, int64_t, int64_t>, IndexTrouble> index_trouble_;  ///< by collection, segment, index
  /// By collection and sealed segment. In memory only: after a restart their indexes are built from nothing.
  std::map<std::pair<int64_t, int64_t>, GrownGraphs> grown_graphs_;
  std::set<int64_t> unserved_indexes_;  ///< no structure serves their recipe: they stay recorded and exact
  std::set<std::string> untuned_;       ///< indexer only: index objects that cannot be measured
  /// Indexer only: when the parts of an index object, whose building failed, are tried again.
  std::map<std::string, std::chrono::steady_clock::time_point> parts_retry_;

  // Sequencer only.
  Timestamp last_timestamp_ = 0;
  bool log_cap_requested_ = false;
  std::unordered_map<std::string, RememberedRequest> requests_;
  std::deque<std::string> request_order_;
  std::unordered_map<int64_t, Timestamp> checkpoints_;  ///< per collection, during replay

  std::thread sequencer_;
  std::thread committer_;
  std::thread sealer_;
  std::vector<std::thread> compactors_;
  std::thread indexer_;
  std::thread growing_indexer_;
};

/// The definition of an index; nullptr where the collection has none of this id.
const IndexInfo* FindIndexById(const CollectionInfo& info, int64_t index_id);
/// Gives the calling thread, and those it starts, the priority of background work.
void LowerThreadPriority();

// Keys of the MetaStore (docs/formats.md).
/// The machine's clock as a timestamp.
Timestamp WallClockTimestamp();
/// Sets which rows have outlived their time at `now`.
void JudgeExpiry(const CollectionInfo& info, Timestamp now, ReadView& view);

std::string CollectionKey(int64_t collection_id);
std::string DatabaseKey(const std::string& name);
std::string SegmentPrefix(int64_t collection_id);
std::string SegmentKey(int64_t collection_id, int64_t segment_id);
/// Holds why a segment stays fenced, whatever its file looks like: writes could not be applied to it.
std::string FenceKey(int64_t collection_id, int64_t segment_id);
std::string FencePrefix(int64_t collection_id);
std::string CheckpointKey(int64_t collection_id);
/// The oldest timestamp at which the collection's files still show every row.
std::string FloorKey(int64_t collection_id);
/// Version of the directory as a whole; raised when an older binary could no longer read it.
/// 2: tombstones and snapshots in catalog entries, floors, segments with several versions of a row.
/// 3: segment files of version 2; 4: of version 3; 5: of version 4; 6: of version 5.
inline constexpr int64_t kDirectoryFormat = 6;
inline constexpr std::string_view kCollectionPrefix = "collection/";
inline constexpr std::string_view kDatabasePrefix = "database/";
inline constexpr std::string_view kAppliedDdlKey = "system/applied_ddl";
inline constexpr std::string_view kClockKey = "system/clock";
inline constexpr std::string_view kFormatKey = "system/format";

}  // namespace quiver::engine
