// Property tests: random histories on a file system that forgets what was not synced, crashed at I/O operations that
// the seed chooses, recovered, compared with a model row by row and field by field, and continued.
//
//   QUIVER_HISTORIES=100000 QUIVER_SEED=1 engine_test --gtest_filter='HistoryTest.RandomHistories*'
//
// What was acknowledged must be there. Of the steps in flight at the crash a prefix, in the order in which they were
// sent, may be there too, each wholly or not at all. A failing seed is printed with the command that repeats it and
// with the shortest history found that still fails. Seals run on a thread of their own, so the moment of a crash may
// shift by some operations between two runs of one seed.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <future>
#include <optional>
#include <thread>

#include "engine/history_model.h"
#include "engine/restore_record.h"
#include "engine/test_engine.h"
#include "index/vector_index.h"
#include "schema/default_column.h"
#include "segment/segment.h"

namespace quiver::engine::history {
namespace {

constexpr int64_t kDim = 4;
constexpr uint64_t kKeys = 60;  // few, so that steps meet
constexpr std::string_view kDatabase = "default";

/// A field's value as the model keeps it.
std::string TextOf(DataType type, std::string_view bytes) {
  if (type == DataType::kInt64) {
    int64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return std::to_string(value);
  }
  if (type == DataType::kFloatVector) {
    std::string text;
    for (size_t i = 0; i + sizeof(float) <= bytes.size(); i += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, bytes.data() + i, sizeof(value));
      text += fmt::format("{} ", value);
    }
    return text;
  }
  return std::string(bytes);
}

std::string TextAt(const ColumnView& view, size_t row) {
  return view.IsNull(row) ? std::string(kNull) : TextOf(view.type, view.Bytes(row));
}

struct Options {
  uint64_t seed = 0;
  bool skip_sync = false;
};

/// One history on one simulated machine.
class Runner {
 public:
  explicit Runner(Options options) : options_(options) {
    meta_.OnOperation([this](const std::string& what) { return files_.CountOperation(what); });
  }

  /// Runs the steps, then a power loss and a clean restart; returns what went wrong, empty = nothing.
  std::string Run(const Steps& steps) {
    // Half of the histories seal on request only, so that the order of their I/O is given.
    seal_bytes_ = options_.seed % 2 == 0 ? uint64_t{128} << 20 : 6000;
    if (std::string failure = Open(); !failure.empty()) return failure;
    first_operation_ = files_.operations();
    for (step_ = 0; step_ < steps.size(); ++step_) {
      random_.seed(steps[step_].seed);
      if (std::string failure = Do(steps[step_].kind); !failure.empty()) {
        return fmt::format("step {}: {}", step_, failure);
      }
    }
    operations_ = files_.operations() - first_operation_;
    if (std::string failure = Crash(); !failure.empty()) return "at the end: " + failure;
    if (std::string failure = Reopen(); !failure.empty()) return "at the end: " + failure;
    return {};
  }

  /// I/O operations of the steps, for a caller that wants to crash at each.
  [[nodiscard]] uint64_t operations() const { return operations_; }
  [[nodiscard]] int crashes() const { return crashes_; }
  [[nodiscard]] int acknowledged() const { return acknowledged_; }
  /// Crashes at this operation of the history, counted from its begin.
  void CrashAtOperation(uint64_t operation, uint64_t variant) { crash_at_ = {operation, variant}; }

 private:
  uint64_t Below(uint64_t limit) { return random_() % limit; }

  // ---- the machine

  Status TryOpen() {
    EngineOptions options;
    options.data_dir = "data";
    options.seal_bytes = seal_bytes_;
    options.flush_min_bytes = 0;
    options.auto_load = true;  // released collections are read too
    options.retention_seconds = options_.seed % 3 == 0 ? 1000 : 0;
    options.index_min_rows = 1;
    options.index_build_threads = 1;
    options.max_log_bytes = 40'000;
    options.log_file_bytes = 12'000;
    options.log_preallocate_bytes = 4096;
    options.unsafe_skip_sync = options_.skip_sync;
    options.open_meta_store = [this](const std::string&) -> Result<std::unique_ptr<storage::MetaStore>> {
      return std::unique_ptr<storage::MetaStore>(std::make_unique<SharedMeta>(meta_));
    };
    auto opened = Engine::Open(files_, std::move(options));
    if (!opened.ok()) return opened.status();
    engine_ = *std::move(opened);
    // A restoring that the crash interrupted is done again.
    while (std::ranges::any_of(engine_->ListRestores(), [](const RestoreJob& job) { return !HasEnded(job); })) {
      std::this_thread::yield();
    }
    return Status::Ok();
  }

  std::string Open() {
    if (const Status status = TryOpen(); !status.ok()) return "cannot open: " + status.ToString();
    if (crash_at_) {
      files_.CrashAt(files_.operations() + crash_at_->first);
      variant_ = crash_at_->second;
      crash_at_.reset();
    }
    return {};
  }

  /// Ends the machine here (or it has ended already), starts it again and compares.
  std::string Crash() {
    if (!files_.crashed()) files_.CrashAt(files_.operations());
    for (int attempt = 0;; ++attempt) {
      ++crashes_;
      engine_.reset();
      switch (variant_ % 4) {
        case 0: files_.CrashAndDropUnsynced(); break;
        case 1: files_.CrashProcess(); break;
        default: files_.CrashAndScramble(variant_);
      }
      meta_.CrashAndDropUnsynced(variant_ / 8 % 4);
      // Sometimes the recovery is cut short too.
      const bool again = attempt < 3 && variant_ / 32 % 4 == 0;
      if (again) files_.CrashAt(files_.operations() + variant_ / 128 % 30);
      variant_ = variant_ * 6364136223846793005U + 1442695040888963407U;
      variant_ ^= variant_ >> 33;
      const Status status = TryOpen();
      if (!status.ok() && !files_.crashed()) return "cannot recover: " + status.ToString();
      if (status.ok() && !again) break;
      if (!files_.crashed()) files_.CrashAt(files_.operations());
    }
    return CompareAfterCrash();
  }

  std::string Reopen() {
    engine_.reset();
    if (files_.crashed()) return Crash();  // the clean stop was not one
    if (const Status status = TryOpen(); !status.ok()) {
      if (files_.crashed()) return Crash();
      return "cannot open again: " + status.ToString();
    }
    return Compare();
  }

  // ---- comparing

  Result<Model> ReadAll() {
    Model model;
    QUIVER_ASSIGN_OR_RETURN(const auto all, engine_->ListCollections(std::string(kDatabase)));
    for (const auto& info : all) {
      QUIVER_ASSIGN_OR_RETURN(const auto collection, engine_->FindCollection(std::string(kDatabase), info->name()));
      QUIVER_ASSIGN_OR_RETURN(model.collections[info->name()], ReadCollection(*collection));
    }
    return model;
  }

  Result<CollectionModel> ReadCollection(const Collection& collection) {
    CollectionModel model;
    const ReadView view = engine_->ViewAll(collection);
    const CollectionInfo& info = *view.info;
    const FieldSchema& pk = info.schema->primary();
    model.string_pk = pk.type == DataType::kVarChar;
    model.auto_id = pk.auto_id;
    model.partition_key = info.schema->partition_key() != nullptr;
    model.partitions.clear();
    std::map<int64_t, std::string> partitions;
    for (const PartitionInfo& partition : info.partitions) {
      model.partitions.insert(partition.name);
      partitions[partition.id] = partition.name;
    }
    model.aliases.insert(info.aliases.begin(), info.aliases.end());
    if (const std::string* value = FindValue(info.properties, "note"); value != nullptr) model.property = *value;
    model.loaded = info.load.loaded;
    if (!info.indexes.empty()) model.index = info.indexes.front().index_type;
    QUIVER_RETURN_IF_ERROR(SearchIndexes(view));
    for (const FieldSchema& field : info.schema->fields) model.fields.push_back(field.name);
    std::map<std::string, int64_t> counts;
    QUIVER_RETURN_IF_ERROR(ReadRows(view, partitions, model, counts));
    for (const SnapshotInfo& snapshot : info.snapshots) {
      QUIVER_ASSIGN_OR_RETURN(
          const ReadView then,
          engine_->OpenView(collection, {}, 0, std::chrono::steady_clock::time_point::max(), snapshot.timestamp));
      CollectionModel content;
      content.auto_id = model.auto_id;
      std::map<int64_t, std::string> partitions_then;
      for (const PartitionInfo& partition : snapshot.partitions) partitions_then[partition.id] = partition.name;
      std::map<std::string, int64_t> counts_then;
      QUIVER_RETURN_IF_ERROR(ReadRows(then, partitions_then, content, counts_then));
      SnapshotModel& read = model.snapshots[snapshot.name];
      read.rows = std::move(content.rows);
      for (const PartitionInfo& partition : snapshot.partitions) read.partitions.insert(partition.name);
    }
    QUIVER_ASSIGN_OR_RETURN(const int64_t total, engine_->RowCount(collection, ""));
    if (total != static_cast<int64_t>(model.rows.size())) {
      return Error(StatusCode::kInternal, "{}: count {}, rows {}", info.name(), total, model.rows.size());
    }
    for (const std::string& partition : model.partitions) {
      QUIVER_ASSIGN_OR_RETURN(const int64_t count, engine_->RowCount(collection, partition));
      if (count != counts[partition]) {
        return Error(StatusCode::kInternal, "{}: partition {} counts {}, has {}", info.name(), partition, count,
                     counts[partition]);
      }
    }
    return model;
  }

  /// Each built index finds as many of the rows that are visible as there are, with their true scores.
  static Status SearchIndexes(const ReadView& view) {
    if (view.info->indexes.empty()) return Status::Ok();
    const IndexInfo& info = view.info->indexes.front();
    const float query[kDim] = {10, 20, 30, 40};
    QUIVER_ASSIGN_OR_RETURN(
        const auto queries,
        index::FlatQueries::Make(DataType::kFloatVector, kDim, ParseMetricType(info.metric_type),
                                 {std::string_view(reinterpret_cast<const char*>(query), sizeof(query))}));
    for (const auto& segment : view.segments) {
      const auto found = segment->FindIndex(info.id);
      if (found == nullptr) continue;
      QUIVER_ASSIGN_OR_RETURN(const ColumnView vectors, segment->View(info.field_id, 0, segment->row_count()));
      std::vector<uint64_t> mask(size_t{segment->page_count()} * segment::kPageWords);
      uint64_t visible = 0;
      for (uint32_t page = 0; page < segment->page_count(); ++page) {
        visible += segment->FillVisible(page, {.timestamp = view.timestamp}, mask.data() + page * segment::kPageWords);
      }
      constexpr size_t kWanted = 5;
      index::TopK hits(kWanted, queries.metric());
      index::IndexScratch scratch;
      index::IndexCounters counters;
      QUIVER_RETURN_IF_ERROR(found->index().Search(queries, 0, vectors, {mask.data(), visible}, {.k = kWanted}, 0, hits,
                                                   scratch, counters));
      const std::vector<index::Hit> sorted = hits.TakeSorted();
      std::set<uint64_t> rows;
      for (const index::Hit& hit : sorted) {
        const auto row = static_cast<uint32_t>(hit.row);
        float score = 0;
        index::ScoreRows(queries, 0, vectors, std::span(&row, 1), &score);
        const bool there = row < segment->row_count() && (mask[row / 64] >> (row % 64) & 1) != 0;
        if (!there || score != hit.score || !rows.insert(row).second) {
          return Error(StatusCode::kInternal, "{}: an index finds row {}, which is not to be found", view.info->name(),
                       row);
        }
      }
      if (sorted.size() != std::min<uint64_t>(kWanted, visible)) {
        return Error(StatusCode::kInternal, "{}: an index finds {} of {} rows", view.info->name(), sorted.size(),
                     visible);
      }
    }
    return Status::Ok();
  }

  static Status ReadRows(const ReadView& view, const std::map<int64_t, std::string>& partitions, CollectionModel& model,
                         std::map<std::string, int64_t>& counts) {
    for (const auto& segment : view.segments) {
      for (uint32_t page = 0; page < segment->page_count(); ++page) {
        uint64_t mask[segment::kPageWords];
        segment->FillVisible(page, {.timestamp = view.timestamp}, mask);
        for (uint32_t at = 0; at < segment::kPageRows; ++at) {
          if ((mask[at / 64] >> (at % 64) & 1) == 0) continue;
          QUIVER_RETURN_IF_ERROR(
              ReadRow(*view.info, *segment, page * segment::kPageRows + at, view.timestamp, partitions, model, counts));
        }
      }
    }
    return Status::Ok();
  }

  static Status ReadRow(const CollectionInfo& info, const segment::Segment& segment, uint32_t row, Timestamp timestamp,
                        const std::map<int64_t, std::string>& partitions, CollectionModel& model,
                        std::map<std::string, int64_t>& counts) {
    RowModel read;
    const auto partition = partitions.find(segment.partition_of(row));
    if (partition == partitions.end()) {
      return Error(StatusCode::kInternal, "{}: a row of a dropped partition is visible", info.name());
    }
    read.partition = partition->second;
    ++counts[read.partition];
    for (const FieldSchema& field : info.schema->fields) {
      QUIVER_ASSIGN_OR_RETURN(const ColumnView view, segment.View(field.field_id, row, 1));
      std::string text = view.present() ? TextAt(view, 0) : TextAt(ViewOf(DefaultColumn(field, 1)), 0);
      if (!field.is_primary) {
        read.fields[field.name] = std::move(text);
        continue;
      }
      read.pk = std::move(text);
      QUIVER_ASSIGN_OR_RETURN(const auto found, segment.FindVisible(segment::KeyAt(view, 0), timestamp));
      if (found != row) return Error(StatusCode::kInternal, "{}: the key index misses {}", info.name(), read.pk);
    }
    const std::string key = model.auto_id ? read.fields["tag"] : read.pk;
    if (!model.rows.emplace(key, std::move(read)).second) {
      return Error(StatusCode::kInternal, "{}: two visible rows of {}", info.name(), key);
    }
    return Status::Ok();
  }

  /// Compares with the model as it is, and learns what the engine chose.
  std::string Compare() {
    auto actual = ReadAll();
    if (!actual.ok()) return actual.status().message();
    if (std::string difference = Difference(model_, *actual); !difference.empty()) return difference;
    model_ = *std::move(actual);
    return {};
  }

  std::string CompareAfterCrash() {
    auto actual = ReadAll();
    if (!actual.ok()) return "after a crash: " + actual.status().message();
    if (engine_->AllocateTimestamp() <= newest_) return "a timestamp was given twice";
    std::vector<Effect> in_flight = std::move(in_flight_);
    in_flight_.clear();
    std::string first;
    Model possible = model_;
    for (size_t taken = 0;; ++taken) {
      std::string difference = Difference(possible, *actual);
      if (difference.empty()) {
        model_ = *std::move(actual);
        return {};
      }
      if (taken == 0) first = difference;
      if (taken == in_flight.size()) {
        return fmt::format("after crash {}: {}; with all {} in flight: {}", crashes_, first, in_flight.size(),
                           difference);
      }
      in_flight[taken](possible);
    }
  }

  // ---- steps

  /// Takes the outcome of one synchronous step.
  std::string Finish(const Status& status, Effect effect) {
    if (status.ok()) {
      effect(model_);
      ++acknowledged_;
      return {};
    }
    if (!files_.crashed()) return "refused: " + status.ToString();
    in_flight_.push_back(std::move(effect));
    return Crash();
  }

  std::string Do(StepKind kind) {
    switch (kind) {
      case StepKind::kInsert: return Write(1, 0);
      case StepKind::kUpsert: return Write(1, 1);
      case StepKind::kDeleteKeys: return Write(1, 2);
      case StepKind::kBurst: return Write(2 + Below(4), 3);
      case StepKind::kDeleteByFilter: return DeleteByFilter();
      case StepKind::kFlush: return Flush();
      case StepKind::kCreateCollection: return CreateCollection();
      case StepKind::kDropCollection: return DropCollection();
      case StepKind::kRenameCollection: return RenameCollection();
      case StepKind::kAddField: return AddField();
      case StepKind::kCreatePartition: return CreatePartition();
      case StepKind::kDropPartition: return DropPartition();
      case StepKind::kAlias: return ChangeAlias();
      case StepKind::kProperty: return SetProperty();
      case StepKind::kLoad: return LoadOrRelease();
      case StepKind::kReopen: return Reopen();
      case StepKind::kCompare: return files_.crashed() ? "" : Compare();
      case StepKind::kCompact: return Compact();
      case StepKind::kTruncate: return Truncate();
      case StepKind::kSnapshot: return ChangeSnapshot();
      case StepKind::kIndex: return ChangeIndex();
      case StepKind::kArm:
        variant_ = random_();
        if (!files_.crashed()) files_.CrashAt(files_.operations() + Below(Below(2) == 0 ? 12 : 80));
        return {};
    }
    return "unknown step";
  }

  /// A collection of the model; nullptr = there is none.
  std::pair<const std::string, CollectionModel>* Pick() {
    if (model_.collections.empty()) return nullptr;
    auto at = model_.collections.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(Below(model_.collections.size())));
    return &*at;
  }

  std::shared_ptr<Collection> Find(const std::string& name) {
    auto found = engine_->FindCollection(std::string(kDatabase), name);
    return found.ok() ? *found : nullptr;
  }

  std::string Compact() {
    auto* const picked = Pick();
    if (picked == nullptr) return {};
    const auto job = engine_->Compact(Find(picked->first));
    if (!job.ok()) return files_.crashed() ? Crash() : "compaction refused: " + job.status().ToString();
    CompactionProgress progress;
    while (!(progress = engine_->CompactionState(*job)).done) std::this_thread::yield();
    if (files_.crashed()) return Crash();
    return progress.failed == 0 ? "" : "a compaction failed";
  }

  std::string Truncate() {
    auto* const picked = Pick();
    if (picked == nullptr) return {};
    return Finish(engine_->TruncateCollection(std::string(kDatabase), picked->first),
                  [name = picked->first](Model& model) { model.collections.at(name).rows.clear(); });
  }

  std::string ChangeSnapshot() {
    auto* const picked = Pick();
    if (picked == nullptr) return {};
    const std::string name = picked->first;
    const auto& snapshots = picked->second.snapshots;
    const uint64_t choice = Below(4);
    if (choice < 2 || snapshots.empty()) {
      const std::string snapshot = fmt::format("snapshot{}", step_);
      return Finish(engine_->CreateSnapshot(std::string(kDatabase), name, snapshot, "").status(),
                    [name, snapshot](Model& model) {
                      CollectionModel& collection = model.collections.at(name);
                      collection.snapshots[snapshot] = {collection.rows, collection.partitions};
                    });
    }
    const std::string snapshot =
        std::next(snapshots.begin(), static_cast<std::ptrdiff_t>(Below(snapshots.size())))->first;
    if (choice == 2) {
      return Finish(engine_->DropSnapshot(std::string(kDatabase), name, snapshot),
                    [name, snapshot](Model& model) { model.collections.at(name).snapshots.erase(snapshot); });
    }
    const auto job = engine_->RestoreSnapshot(std::string(kDatabase), name, snapshot, "", "");
    const auto restored = [name, snapshot](Model& model) {
      CollectionModel& collection = model.collections.at(name);
      const SnapshotModel& content = collection.snapshots.at(snapshot);
      collection.rows = content.rows;
      collection.partitions.insert(content.partitions.begin(), content.partitions.end());
    };
    // A job that was begun without an answer may be in the log: the next start does it.
    if (!job.ok() && files_.crashed()) return Finish(job.status(), restored);
    if (!job.ok()) return "restoring refused: " + job.status().ToString();
    RestoreJob ended;
    do {
      ended = engine_->FindRestore(*job).value_or(RestoreJob{.state = RestoreState::kFailed});
    } while (ended.state == RestoreState::kPending || ended.state == RestoreState::kExecuting);
    // A partition of the snapshot that was dropped and made again cannot come back in place.
    if (ended.reason.find("was dropped and made again") != std::string::npos) return {};
    const Status status =
        ended.state == RestoreState::kCompleted ? Status::Ok() : Error(StatusCode::kInternal, "{}", ended.reason);
    return Finish(status, restored);
  }

  std::string ChangeIndex() {
    auto* const picked = Pick();
    if (picked == nullptr) return {};
    const std::string name = picked->first;
    if (!picked->second.index.empty()) {
      if (picked->second.loaded) return {};  // refused then
      return Finish(engine_->DropIndex(std::string(kDatabase), name, "vector", ""),
                    [name](Model& model) { model.collections.at(name).index.clear(); });
    }
    const std::string type = std::array{"IVF_FLAT", "IVF_SQ8", "HNSW"}[Below(3)];
    const std::string metric = std::array{"L2", "IP", "COSINE"}[Below(3)];
    const Status status = engine_->CreateIndex(std::string(kDatabase), name, "vector",
                                               {.index_type = type, .metric_type = metric, .params = {}});
    return Finish(status, [name, type](Model& model) { model.collections.at(name).index = type; });
  }

  struct Sent {
    std::future<Result<WriteResult>> answer;
    Effect effect;
    int64_t deletes = 0;  ///< rows that it removes or replaces
    std::string auto_collection;
    std::vector<std::string> tags;  ///< of rows whose keys the answer tells
  };

  /// Sends writes without waiting in between, then takes their answers. `kind`: 0 insert, 1 upsert, 2 delete, 3 any.
  std::string Write(uint64_t count, uint64_t kind) {
    auto* const picked = Pick();
    if (picked == nullptr) return {};
    Model expected = model_;
    std::vector<Sent> sent;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t what = kind == 3 ? Below(3) : kind;
      sent.push_back(what == 2 ? SendDelete(picked->first, expected)
                               : SendRows(picked->first, expected, what == 1, RandomKeys(picked->second, what == 1)));
      sent.back().effect(expected);
    }
    return Await(sent);
  }

  std::string Await(std::vector<Sent>& sent) {
    std::string failure;
    bool lost = false;
    for (Sent& one : sent) {
      Result<WriteResult> answer = one.answer.get();
      if (!answer.ok()) {
        if (!files_.crashed()) return "refused: " + answer.status().ToString();
        lost = true;
        in_flight_.push_back(std::move(one.effect));
        continue;
      }
      if (answer->timestamp == 0) continue;  // Nothing()
      ++acknowledged_;
      if (lost) failure = "a write was acknowledged although an earlier one of the log was not";
      if (answer->timestamp <= newest_) failure = "a write has no newer timestamp than the one before";
      newest_ = answer->timestamp;
      if (answer->delete_count != one.deletes) {
        failure = fmt::format("delete count {} instead of {}", answer->delete_count, one.deletes);
      }
      one.effect(model_);
      if (!one.auto_collection.empty()) {
        for (size_t i = 0; i < one.tags.size(); ++i) {
          auto& rows = model_.collections[one.auto_collection].rows;
          const auto row = rows.find(one.tags[i]);
          if (row != rows.end()) row->second.pk = TextAt(ViewOf(answer->primary_keys), i);
        }
      }
    }
    if (!failure.empty()) return failure;
    return lost ? Crash() : "";
  }

  std::vector<std::string> RandomKeys(const CollectionModel& collection, bool distinct) {
    std::vector<std::string> keys;
    const uint64_t count = 1 + Below(Below(4) == 0 ? 30 : 6);
    if (collection.auto_id) {
      // Keys are the engine's; an upsert names some that are there.
      if (!distinct) return std::vector<std::string>(count);
      for (const auto& [tag, row] : collection.rows) {
        if (Below(4) == 0 && keys.size() < count) keys.push_back(row.pk);
      }
      return keys;
    }
    for (uint64_t i = 0; i < count; ++i) keys.push_back(std::to_string(Below(kKeys)));
    if (distinct) {
      std::sort(keys.begin(), keys.end());
      keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    }
    return keys;
  }

  static void AppendKey(Column& column, const std::string& key) {
    if (column.is_fixed()) {
      column.AppendValue<int64_t>(std::stoll(key));
    } else {
      column.Append(key);
    }
  }

  Sent SendRows(const std::string& name, const Model& expected, bool upsert, const std::vector<std::string>& keys) {
    const CollectionModel& collection = expected.collections.at(name);
    const auto live = Find(name);
    const auto info = live->info();
    Sent sent;
    if (keys.empty()) return Nothing();
    std::string partition;
    if (!collection.partition_key) {
      auto at = collection.partitions.begin();
      std::advance(at, static_cast<std::ptrdiff_t>(Below(collection.partitions.size())));
      partition = *at;
    }
    ColumnBatch batch;
    batch.rows = keys.size();
    std::vector<RowModel> rows(keys.size());
    for (const FieldSchema& field : info->schema->fields) {
      if (field.is_primary && collection.auto_id && !upsert) continue;
      Column column = Column::Make(field.field_id, field.type, field.dim);
      for (size_t row = 0; row < keys.size(); ++row) {
        rows[row].partition = partition;
        if (field.is_primary) {
          AppendKey(column, keys[row]);
          if (!collection.auto_id) rows[row].pk = keys[row];
          continue;
        }
        AppendRandom(column, field, fmt::format("s{}.{}.{}", step_, sent_++, row));
        rows[row].fields[field.name] = TextAt(ViewOf(column), row);
      }
      batch.columns.push_back(std::move(column));
    }
    std::set<std::string> replaced;
    if (!collection.auto_id) {
      for (const std::string& key : keys) {
        if (collection.rows.contains(key)) replaced.insert(key);
      }
    } else if (upsert) {
      for (const auto& [tag, row] : collection.rows) {
        if (std::find(keys.begin(), keys.end(), row.pk) != keys.end()) replaced.insert(tag);
      }
    }
    sent.deletes = static_cast<int64_t>(replaced.size());
    if (collection.auto_id) {
      sent.auto_collection = name;
      for (const RowModel& row : rows) sent.tags.push_back(row.fields.at("tag"));
    }
    sent.effect = [name, replaced, rows, auto_id = collection.auto_id](Model& model) {
      auto& there = model.collections.at(name).rows;
      for (const std::string& key : replaced) there.erase(key);
      for (const RowModel& row : rows) there.insert_or_assign(auto_id ? row.fields.at("tag") : row.pk, row);
    };
    const auto promise = std::make_shared<std::promise<Result<WriteResult>>>();
    sent.answer = promise->get_future();
    WriteRequest request{.collection = live, .partition_name = partition, .batch = std::move(batch), .request_id = {}};
    const auto answer = [promise](Result<WriteResult> result) { promise->set_value(std::move(result)); };
    if (upsert) {
      engine_->Upsert(std::move(request), answer);
    } else {
      engine_->Insert(std::move(request), answer);
    }
    return sent;
  }

  /// An upsert of no rows: answered at once.
  Sent Nothing() {
    Sent sent;
    std::promise<Result<WriteResult>> promise;
    promise.set_value(WriteResult{});
    sent.answer = promise.get_future();
    sent.effect = [](Model&) {};
    return sent;
  }

  void AppendRandom(Column& column, const FieldSchema& field, const std::string& tag) {
    if (field.nullable && Below(4) == 0) return column.AppendNull();
    switch (field.type) {
      case DataType::kInt64: return column.AppendValue(static_cast<int64_t>(Below(1000)));
      case DataType::kFloatVector: {
        float values[kDim];
        for (float& value : values) value = static_cast<float>(Below(1000)) / 8;
        return column.Append({reinterpret_cast<const char*>(values), sizeof(values)});
      }
      default:
        return column.Append(field.name == "tag" ? tag : tag + std::string(Below(Below(8) == 0 ? 150 : 20), 'x'));
    }
  }

  Sent SendKeys(const std::string& name, const std::vector<std::string>& keys, const std::string& partition,
                std::optional<Timestamp> kill_before) {
    const auto live = Find(name);
    const FieldSchema& pk = live->info()->schema->primary();
    Column column = Column::Make(pk.field_id, pk.type);
    for (const std::string& key : keys) AppendKey(column, key);
    Sent sent;
    const auto promise = std::make_shared<std::promise<Result<WriteResult>>>();
    sent.answer = promise->get_future();
    engine_->Delete({.collection = live,
                     .partition_name = partition,
                     .primary_keys = std::move(column),
                     .kill_before = kill_before},
                    [promise](Result<WriteResult> result) { promise->set_value(std::move(result)); });
    return sent;
  }

  Sent SendDelete(const std::string& name, const Model& expected) {
    const CollectionModel& collection = expected.collections.at(name);
    std::vector<std::string> keys = RandomKeys(collection, true);
    std::erase(keys, "");
    if (keys.empty()) return Nothing();
    std::string partition;
    if (!collection.partition_key && Below(3) == 0) partition = *collection.partitions.begin();
    std::set<std::string> gone;
    for (const auto& [key, row] : collection.rows) {
      const bool named = std::find(keys.begin(), keys.end(), row.pk) != keys.end() && !row.pk.empty();
      if (named && (partition.empty() || row.partition == partition)) gone.insert(key);
    }
    Sent sent = SendKeys(name, keys, partition, {});
    sent.deletes = static_cast<int64_t>(gone.size());
    sent.effect = [name, gone](Model& model) {
      for (const std::string& key : gone) model.collections.at(name).rows.erase(key);
    };
    return sent;
  }

  std::string DeleteByFilter() {
    auto* const picked = Pick();
    if (picked == nullptr || files_.crashed()) return {};
    const auto& [name, collection] = *picked;
    const Timestamp read_at = engine_->ViewAll(*Find(name)).timestamp;
    const std::string digit = std::to_string(Below(10));
    std::vector<std::string> keys;
    std::set<std::string> matching;
    for (const auto& [key, row] : collection.rows) {
      if (!row.fields.at("number").ends_with(digit) || row.pk.empty()) continue;
      matching.insert(key);
      keys.push_back(row.pk);
    }
    if (keys.empty()) return {};
    std::vector<Sent> sent;
    std::set<std::string> spared;
    if (!collection.auto_id && Below(2) == 0) {
      // Another client's upsert passes between the read and the delete: those versions are newer and stay.
      std::vector<std::string> some;
      for (const std::string& key : keys) {
        if (Below(3) == 0) some.push_back(key);
      }
      if (!some.empty()) {
        sent.push_back(SendRows(name, model_, true, some));
        spared.insert(some.begin(), some.end());
      }
    }
    Sent deletion = SendKeys(name, keys, "", read_at);
    std::erase_if(matching, [&](const std::string& key) { return spared.contains(key); });
    deletion.deletes = static_cast<int64_t>(matching.size());
    deletion.effect = [name = name, matching](Model& model) {
      for (const std::string& key : matching) model.collections.at(name).rows.erase(key);
    };
    sent.push_back(std::move(deletion));
    return Await(sent);
  }

  std::string Flush() {
    auto* const picked = Pick();
    if (picked == nullptr) return {};
    const auto flushed = engine_->Flush(Find(picked->first));
    return Finish(flushed.status(), [](Model&) {});
  }

  std::string CreateCollection() {
    if (model_.collections.size() >= 3) return {};
    CollectionModel made;
    const uint64_t form = Below(8);
    made.string_pk = form == 1 || form == 2;
    made.auto_id = form == 3 || form == 4;
    made.partition_key = form == 2 || form == 5;
    const std::string name = fmt::format("c{}", step_);
    CollectionSchema schema;
    schema.name = name;
    schema.auto_id = made.auto_id;
    FieldSchema pk = MakeField(100, "id", made.string_pk ? DataType::kVarChar : DataType::kInt64);
    pk.is_primary = true;
    pk.auto_id = made.auto_id;
    schema.fields.push_back(std::move(pk));
    schema.fields.push_back(MakeField(101, "tag", DataType::kVarChar));
    FieldSchema number = MakeField(102, "number", DataType::kInt64);
    number.nullable = !made.partition_key;
    number.is_partition_key = made.partition_key;
    schema.fields.push_back(std::move(number));
    schema.fields.push_back(MakeField(103, "vector", DataType::kFloatVector, kDim));
    for (const FieldSchema& field : schema.fields) made.fields.push_back(field.name);
    const Status status = engine_->CreateCollection({.schema = schema, .num_partitions = made.partition_key ? 3 : 0});
    return Finish(status, [name, made](Model& model) { model.collections[name] = made; });
  }

  std::string DropCollection() {
    auto* const picked = Pick();
    if (picked == nullptr || !picked->second.aliases.empty()) return {};
    const Status status = engine_->DropCollection(std::string(kDatabase), picked->first);
    return Finish(status, [name = picked->first](Model& model) { model.collections.erase(name); });
  }

  std::string RenameCollection() {
    auto* const picked = Pick();
    if (picked == nullptr) return {};
    const std::string name = fmt::format("r{}", step_);
    const Status status = engine_->RenameCollection(std::string(kDatabase), picked->first, "", name);
    return Finish(status, [old = picked->first, name](Model& model) {
      auto node = model.collections.extract(old);
      node.key() = name;
      model.collections.insert(std::move(node));
    });
  }

  std::string AddField() {
    auto* const picked = Pick();
    if (picked == nullptr || picked->second.fields.size() > 7) return {};
    FieldSchema field = MakeField(0, fmt::format("f{}", step_), Below(2) == 0 ? DataType::kInt64 : DataType::kVarChar);
    field.nullable = true;
    std::string value(kNull);
    if (Below(2) == 0) {
      value = std::to_string(Below(100));
      if (field.type == DataType::kInt64) {
        field.default_value = static_cast<int64_t>(std::stoll(value));
      } else {
        field.default_value = value;
      }
    }
    const Status status = engine_->AddCollectionField(std::string(kDatabase), picked->first, field);
    return Finish(status, [name = picked->first, added = field.name, value](Model& model) {
      CollectionModel& collection = model.collections.at(name);
      collection.fields.push_back(added);
      for (auto& [key, row] : collection.rows) row.fields[added] = value;
    });
  }

  std::string CreatePartition() {
    auto* const picked = Pick();
    if (picked == nullptr || picked->second.partition_key || picked->second.partitions.size() > 3) return {};
    const std::string partition = fmt::format("p{}", step_);
    const Status status = engine_->CreatePartition(std::string(kDatabase), picked->first, partition);
    return Finish(status, [name = picked->first, partition](Model& model) {
      model.collections.at(name).partitions.insert(partition);
    });
  }

  std::string DropPartition() {
    auto* const picked = Pick();
    if (picked == nullptr || picked->second.partition_key || picked->second.loaded) return {};
    if (picked->second.partitions.size() < 2) return {};
    const std::string partition = *picked->second.partitions.rbegin();
    const Status status = engine_->DropPartition(std::string(kDatabase), picked->first, partition);
    return Finish(status, [name = picked->first, partition](Model& model) {
      CollectionModel& collection = model.collections.at(name);
      collection.partitions.erase(partition);
      std::erase_if(collection.rows, [&](const auto& row) { return row.second.partition == partition; });
    });
  }

  std::string ChangeAlias() {
    auto* const picked = Pick();
    if (picked == nullptr) return {};
    const std::string name = picked->first;
    if (!picked->second.aliases.empty()) {
      const std::string alias = *picked->second.aliases.begin();
      const Status status = engine_->DropAlias(std::string(kDatabase), alias);
      return Finish(status, [name, alias](Model& model) { model.collections.at(name).aliases.erase(alias); });
    }
    const std::string alias = fmt::format("a{}", step_);
    const Status status = engine_->CreateAlias(std::string(kDatabase), name, alias);
    return Finish(status, [name, alias](Model& model) { model.collections.at(name).aliases.insert(alias); });
  }

  std::string SetProperty() {
    auto* const picked = Pick();
    if (picked == nullptr) return {};
    const std::string value = std::to_string(step_);
    const Status status = engine_->AlterCollection(std::string(kDatabase), picked->first, {{"note", value}}, {});
    return Finish(status, [name = picked->first, value](Model& model) { model.collections.at(name).property = value; });
  }

  std::string LoadOrRelease() {
    auto* const picked = Pick();
    if (picked == nullptr) return {};
    const bool load = !picked->second.loaded;
    const Status status = load ? engine_->Load(std::string(kDatabase), picked->first, {}, 1)
                               : engine_->Release(std::string(kDatabase), picked->first, {});
    return Finish(status, [name = picked->first, load](Model& model) { model.collections.at(name).loaded = load; });
  }

  const Options options_;
  uint64_t seal_bytes_ = 0;
  io::FaultFileSystem files_;
  storage::MemoryMetaStore meta_;
  std::unique_ptr<Engine> engine_;
  std::mt19937_64 random_;
  size_t step_ = 0;
  uint64_t sent_ = 0;

  Model model_;
  std::vector<Effect> in_flight_;
  Timestamp newest_ = 0;
  uint64_t variant_ = 0;  ///< of the next crash
  std::optional<std::pair<uint64_t, uint64_t>> crash_at_;
  uint64_t first_operation_ = 0;
  uint64_t operations_ = 0;
  int crashes_ = 0;
  int acknowledged_ = 0;
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

constexpr size_t kStepsPerHistory = 70;

/// Runs one seed; on failure says what happened, how to repeat it, and a short history that fails too.
std::string RunSeed(uint64_t seed, int& crashes) {
  const Steps steps = MakeSteps(seed, kStepsPerHistory);
  const auto run = [&](const Steps& some) {
    Runner runner({.seed = seed});
    std::string failure = runner.Run(some);
    crashes += runner.crashes();
    return failure;
  };
  const std::string failure = run(steps);
  if (failure.empty()) return {};
  std::string last = failure;
  const Steps fewer = Shrink(
      steps,
      [&](const Steps& some) {
        const std::string again = run(some);
        if (!again.empty()) last = again;
        return !again.empty();
      },
      400);
  return fmt::format(
      "history {} failed: {}\nrepeat: QUIVER_SEED={} QUIVER_HISTORIES=1 engine_test "
      "--gtest_filter='HistoryTest.RandomHistories*'\nshorter, {} of {} steps, fails with: {}\n{}",
      seed, failure, seed, fewer.size(), steps.size(), last, ToText(fewer));
}

class HistoryTest : public ::testing::Test {
 protected:
  // Crashes on purpose log an error each; the comparison says what matters.
  static void SetUpTestSuite() { ASSERT_TRUE(log::Configure({.level = log::Level::kOff}).ok()); }
};

TEST_F(HistoryTest, RandomHistoriesLoseNothing) {
  const uint64_t count = FromEnvironment("QUIVER_HISTORIES", 200);
  const uint64_t first = FromEnvironment("QUIVER_SEED", 1);
  int crashes = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const std::string failure = RunSeed(seed, crashes);
    ASSERT_TRUE(failure.empty()) << failure;
    if (count > 1000 && (seed - first + 1) % 1000 == 0) {
      fmt::print("{} histories, {} crashes\n", seed - first + 1, crashes);
      std::fflush(stdout);
    }
  }
  if (count >= 100) {
    EXPECT_GT(crashes, static_cast<int>(count)) << "the histories hardly crash";
  }
}

TEST_F(HistoryTest, EveryIoOperationMayBeTheLast) {
  // One history with every kind of step in it.
  Steps steps;
  for (const StepKind kind : {StepKind::kCreateCollection,
                              StepKind::kInsert,
                              StepKind::kCreatePartition,
                              StepKind::kIndex,
                              StepKind::kBurst,
                              StepKind::kFlush,
                              StepKind::kUpsert,
                              StepKind::kDeleteKeys,
                              StepKind::kAddField,
                              StepKind::kInsert,
                              StepKind::kDeleteByFilter,
                              StepKind::kAlias,
                              StepKind::kFlush,
                              StepKind::kProperty,
                              StepKind::kUpsert,
                              StepKind::kRenameCollection,
                              StepKind::kBurst,
                              StepKind::kDropPartition,
                              StepKind::kFlush,
                              StepKind::kReopen,
                              StepKind::kInsert}) {
    steps.push_back({kind, steps.size() * 7 + 3});
  }
  Runner whole({.seed = 0});
  ASSERT_EQ(whole.Run(steps), "");
  ASSERT_GT(whole.operations(), 100U);
  for (uint64_t operation = 0; operation <= whole.operations(); ++operation) {
    for (const uint64_t variant : {0x60U, 0x61U, 0x62U}) {
      Runner runner({.seed = 0});
      runner.CrashAtOperation(operation, variant);
      ASSERT_EQ(runner.Run(steps), "") << "crashed at operation " << operation << ", variant " << variant;
    }
  }
}

TEST_F(HistoryTest, SkippingTheSyncIsNoticed) {
  int noticed = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Runner runner({.seed = seed, .skip_sync = true});
    if (!runner.Run(MakeSteps(seed, kStepsPerHistory)).empty()) ++noticed;
  }
  // Mostly all; background work that was late may have had nothing to lose.
  EXPECT_GE(noticed, 12) << "these tests do not see a missing sync";
}

}  // namespace
}  // namespace quiver::engine::history
