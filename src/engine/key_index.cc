// Indexes of single values of the partition key. A segment is sorted by the key, so the rows of a value are a run, and
// a search that names one value (query/index_search.cc) need not look for them among the rows of all others. Values
// with many rows get an index over just these: the parts of the segment's vector index. They stand in one object beside
// it, which no manifest names: its name follows from that of the index, it goes with it, and where it is missing or
// damaged the index of all rows is searched and the parts are built anew. Since runs lie apart, all parts of an index
// together take about as much room as the index itself at most.

#include <algorithm>
#include <chrono>
#include <functional>
#include <ranges>

#include "base/logging.h"
#include "engine/engine_impl.h"
#include "index/key_index_file.h"
#include "index/search_measure.h"
#include "index/tuning.h"

namespace quiver::engine {

namespace {

using Clock = std::chrono::steady_clock;
using segment::SegmentIndex;

/// A value with more rows than this share of its segment needs no index: nearly all rows around a query are its own.
constexpr double kMostShare = 0.85;
/// What is measured of a part: rows that are searched for, hits, the highest recall, and CPU time for each number of
/// hits, which is some percent of that of building.
constexpr size_t kSamples = 192;
constexpr size_t kFewHits = 10;
constexpr size_t kMostHits = 100;
constexpr double kMostRecall = 0.999;
constexpr double kSecondsPerRow = 1e-5;
/// Building that failed is tried again after this.
constexpr std::chrono::minutes kRetry{5};

/// How many of the numbers below `end` come before the first that `holds` is false for; it is false for all behind.
uint32_t Count(uint32_t end, const std::function<bool(uint32_t)>& holds) {
  const auto numbers = std::views::iota(uint32_t{0}, end);
  return static_cast<uint32_t>(std::ranges::partition_point(numbers, holds) - numbers.begin());
}

/// Runs of equal keys with at least so many rows, in a segment that is sorted by key within its partitions. Rows in
/// between are passed over in steps of `least`.
Result<std::vector<storage::RowRange>> LargeRuns(const storage::SegmentFile& file, uint32_t least) {
  QUIVER_ASSIGN_OR_RETURN(const ColumnView keys, file.View(file.partition_key_field_id(), 0, file.rows()));
  std::vector<storage::RowRange> runs;
  if (!keys.present()) return runs;
  for (const storage::PartitionRun& partition : file.partitions()) {
    const uint32_t end = partition.first_row + partition.rows;
    uint32_t first = partition.first_row;
    while (end - first >= least) {
      // A run of enough rows that begins here or soon holds this key. Others that begin before it have too few rows.
      const std::string_view key = keys.Bytes(first + least - 1);
      const uint32_t begin = first + Count(least, [&](uint32_t i) { return keys.Bytes(first + i) != key; });
      const uint32_t rows = Count(end - begin, [&](uint32_t i) { return keys.Bytes(begin + i) == key; });
      if (rows >= least) runs.push_back({begin, rows});
      first = begin + rows;
    }
  }
  std::erase_if(runs, [&](const storage::RowRange& run) { return run.rows > kMostShare * file.rows(); });
  return runs;
}

/// What is built over a run: what was built over all rows. Lists hold as many rows each.
index::IndexRecipe RecipeOfPart(const SegmentIndex& whole, uint32_t rows) {
  index::IndexRecipe recipe = whole.index().recipe();
  const double share = static_cast<double>(rows) / std::max(1U, whole.row_count());
  if (recipe.nlist != 0) recipe.nlist = std::max(1U, static_cast<uint32_t>(share * recipe.nlist));
  return recipe;
}

/// As index::MeasureTuning, in less time: there may be many parts.
Result<index::IndexTuning> MeasurePart(const index::VectorIndex& part, const ColumnView& vectors,
                                       const std::function<bool()>& cancelled) {
  const index::IndexRecipe& recipe = part.recipe();
  QUIVER_ASSIGN_OR_RETURN(const index::MeasureSet set,
                          index::SampleRows(recipe, vectors, kSamples, kMostHits, recipe.seed + 1, cancelled));
  std::vector<index::TuningPoint> points;
  const double seconds = kSecondsPerRow * static_cast<double>(vectors.rows);
  for (const size_t k : {kFewHits, kMostHits}) {
    if (set.queries.nq() == 0) break;
    index::IndexSearchOptions searched;
    searched.k = k;
    searched.cancelled = cancelled;
    QUIVER_ASSIGN_OR_RETURN(const std::vector<index::TuningPoint> some,
                            index::SweepEfforts(part, vectors, set, searched, kMostRecall, seconds));
    points.insert(points.end(), some.begin(), some.end());
  }
  return index::IndexTuning(recipe.structure, part.row_count(), static_cast<uint32_t>(set.queries.nq()),
                            std::move(points));
}

}  // namespace

std::vector<std::string> NamesBeside(const std::string& index_object) {
  return {index::TuningName(index_object), index::KeyIndexFileName(index_object)};
}

bool Engine::Impl::MayHaveParts(const segment::SealedSegment& sealed, const SegmentIndex& index) const {
  // An inverted index passes over windows without matches anyway.
  return options.key_indexes && sealed.file().partition_key_field_id() != 0 && index.scalar() == nullptr &&
         index.index().recipe().structure != index::IndexStructure::kInverted &&
         sealed.row_count() > options.key_index_min_rows;
}

bool Engine::Impl::LoadParts(int64_t collection_id, const SegmentIndex& index) {
  if (index.scalar() != nullptr) return false;
  const std::string name = index::KeyIndexFileName(index.object());
  if (!options.key_indexes) {
    RemoveObject(name);
    return false;
  }
  const auto mapped = objects->Materialise(name);
  if (!mapped.ok()) return false;
  const auto load = [&]() -> Status {
    const std::string_view bytes(reinterpret_cast<const char*>((*mapped)->data()), (*mapped)->size());
    QUIVER_ASSIGN_OR_RETURN(const index::KeyIndexFile file, index::OpenKeyIndexFile(bytes, name));
    if (file.segment_rows != index.row_count()) return Error(StatusCode::kCorruption, "it belongs to another index");
    auto parts = std::make_shared<SegmentIndex::Parts>();
    for (const index::KeyRun& run : file.runs) {
      const SegmentIndex::Place place{.offset = static_cast<uint64_t>(run.index.data() - bytes.data()),
                                      .bytes = run.index.size(),
                                      .first_row = run.first_row,
                                      .rows = run.rows,
                                      .is_part = true};
      SegmentIndex::Identity identity{index.index_id(), index.field_id(),
                                      fmt::format("{} (rows from {})", name, run.first_row)};
      QUIVER_ASSIGN_OR_RETURN(
          auto part, SegmentIndex::OpenAt(place, std::move(identity), *mapped, budget,
                                          [queue = index_queue, collection_id] { queue->Request(collection_id); }));
      if (part->scalar() != nullptr || part->index().recipe().metric != index.index().recipe().metric) {
        return Error(StatusCode::kCorruption, "it belongs to another index");
      }
      if (!run.tuning.empty()) {
        QUIVER_ASSIGN_OR_RETURN(index::IndexTuning tuning, index::IndexTuning::Parse(run.tuning, name));
        if (tuning.structure() == part->index().recipe().structure) part->SetTuning(std::move(tuning));
      }
      parts->push_back(reclaimer.Guard(std::move(part)));
    }
    if ((*mapped)->faulted()) return Error(StatusCode::kCorruption, "it cannot be read");
    index.SetParts(std::move(parts));
    return Status::Ok();
  };
  const Status loaded = load();
  if (!loaded.ok()) QUIVER_LOG(warn, "{} is not used, it is built anew: {}", name, loaded.message());
  return loaded.ok();
}

Status Engine::Impl::BuildParts(int64_t collection_id, const segment::SealedSegment& sealed, const SegmentIndex& index,
                                const std::function<bool()>& cancelled) {
  const auto start = Clock::now();
  const double cpu = index::ThreadCpuSeconds();
  QUIVER_ASSIGN_OR_RETURN(const auto runs, LargeRuns(sealed.file(), options.key_index_min_rows));
  QUIVER_RETURN_IF_ERROR(sealed.fence());
  if (runs.empty()) {
    index.SetParts(std::make_shared<const SegmentIndex::Parts>());
    return Status::Ok();
  }
  uint32_t rows = 0;
  for (const storage::RowRange& run : runs) rows += run.rows;
  QUIVER_ASSIGN_OR_RETURN(const ColumnView as_many, sealed.View(index.field_id(), 0, rows));
  const uint64_t memory = BuildMemory(index.index().recipe(), as_many);
  QUIVER_RETURN_IF_ERROR(budget->Admit(memory));
  const MemoryCharge charge(budget, MemoryConsumer::kBackground, memory);
  index::KeyIndexFileWriter writer(sealed.row_count(), sealed.file().partition_key_field_id());
  const index::BuildControl control{.cancelled = cancelled, .on_progress = {}, .threads = BuildThreads(options)};
  for (const storage::RowRange& run : runs) {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView column, sealed.View(index.field_id(), run.first_row, run.rows));
    const index::IndexRecipe recipe = RecipeOfPart(index, run.rows);
    const auto build = options.build_index ? options.build_index : index::BuildVectorIndex;
    QUIVER_ASSIGN_OR_RETURN(const std::string bytes, build(recipe, column, control));
    std::string tuning;
    if (index::IsTunable(recipe, run.rows)) {
      QUIVER_ASSIGN_OR_RETURN(const auto part, index::OpenVectorIndex(bytes, index.object()));
      QUIVER_ASSIGN_OR_RETURN(const index::IndexTuning measured, MeasurePart(*part, column, cancelled));
      tuning = measured.Serialise();
    }
    writer.Add({.first_row = run.first_row, .rows = run.rows, .index = bytes, .tuning = tuning});
  }
  QUIVER_RETURN_IF_ERROR(sealed.fence());  // they may have been built from zeros
  const std::string name = index::KeyIndexFileName(index.object());
  const std::string bytes = writer.Take();
  QUIVER_RETURN_IF_ERROR(objects->Remove(name));  // a damaged one
  QUIVER_RETURN_IF_ERROR(objects->PutBytes(name, bytes));
  if (cancelled()) {  // whoever removed the index may have looked for it before
    RemoveObject(name);
    return Error(StatusCode::kCancelled, "the index is not wanted any more");
  }
  if (!LoadParts(collection_id, index)) return Error(StatusCode::kCorruption, "{}: it cannot be read", name);
  QUIVER_LOG(info,
             "built indexes of {} values of the partition key over {} of the {} rows of segment {}: {} bytes in {} ms, "
             "{:.0f} ms of CPU time of this thread",
             runs.size(), rows, sealed.row_count(), sealed.id(), bytes.size(),
             std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count(),
             (index::ThreadCpuSeconds() - cpu) * 1000);
  return Status::Ok();
}

bool Engine::Impl::BuildPartsNext(const Collection& collection, Clock::time_point& next) {
  for (const auto& sealed : collection.sealed_segments()) {
    if (sealed->outgoing() || sealed->fenced()) continue;
    for (const auto& index : sealed->Indexes()) {
      if (index->damaged() || !MayHaveParts(*sealed, *index)) continue;
      const auto parts = index->parts();
      if (parts != nullptr && std::ranges::none_of(*parts, [](const auto& part) { return part->damaged(); })) continue;
      const auto retry = parts_retry_.find(index->object());
      if (retry != parts_retry_.end() && retry->second > Clock::now()) {
        next = std::min(next, retry->second);
        continue;
      }
      const auto cancelled = [&] {
        return indexer_stop_.load(std::memory_order_relaxed) || collection.dropped || sealed->outgoing() ||
               FindIndexById(*collection.info(), index->index_id()) == nullptr;
      };
      const Status status = BuildParts(collection.id(), *sealed, *index, cancelled);
      parts_retry_.erase(index->object());
      if (!status.ok() && status.code() != StatusCode::kCancelled) {
        QUIVER_LOG(warn, "building indexes of single keys for {} failed, the index of all rows is searched: {}",
                   index->object(), status.ToString());
        parts_retry_[index->object()] = Clock::now() + kRetry;
      }
      return true;
    }
  }
  return false;
}

}  // namespace quiver::engine
