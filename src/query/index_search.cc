#include "query/index_search.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "base/thread_pool.h"
#include "query/explanation.h"
#include "query/key_rows.h"
#include "query/match.h"
#include "segment/segment.h"

namespace quiver::query {

namespace {

using index::FlatQueries;
using index::TopK;
using segment::kPageRows;
using segment::kPageWords;

std::atomic<double> parts_weight{1};

/// So few rows are listed where indexes tell of them, and scored directly unless the index does better.
constexpr uint64_t kAlwaysScan = 2000;
/// Rows are scattered when they are one of so many between the first and the last.
constexpr uint64_t kScatter = 8;
/// What it takes to score a row of a run, and a byte of its vector, in nanoseconds; to make a word of a mask, and to
/// look for rows in one.
constexpr double kScoreRow = 15;
constexpr double kScoreByte = 0.06;
constexpr double kMakeWord = 4;
constexpr double kLookWord = 0.5;
/// Pages of a mask made as one piece.
constexpr uint32_t kPagesPerMaskPiece = 32;
/// What a search aims at that says neither how hard to search nor how well.
constexpr double kUsualRecall = 0.97;
/// Queries that one thread takes at a time.
constexpr size_t kQueriesPerPiece = 8;
/// Segments of fewer rows together are not worth waking another thread for.
constexpr uint64_t kRowsForThreads = 100'000;

bool Unfiltered(const SearchRequest& request) { return request.filter == nullptr || request.filter->always_true(); }

/// Lists the rows that are visible and match, which are few and of which indexes tell. Nothing as large as the segment
/// is made or looked through.
Status ListMatches(const SearchRequest& request, const SegmentFilter& filter, SegmentPlan& plan) {
  plan.is_listed = true;
  plan.listed.reserve(filter.MostMatches().value_or(0));
  const auto list = [&](uint32_t page, const uint64_t* mask, uint32_t /*count*/) {
    for (uint32_t word = 0; word < kPageWords; ++word) {
      for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1) {
        plan.listed.push_back(page * kPageRows + word * 64 + static_cast<uint32_t>(std::countr_zero(bits)));
      }
    }
    return Status::Ok();
  };
  QUIVER_RETURN_IF_ERROR(VisitMatches(filter, 0, filter.segment().page_count(), request.cancelled, list));
  plan.rows = plan.listed.size();
  return Status::Ok();
}

/// Calls take(row) for each bit of a mask whose bit 0 is row `first`.
template <typename Take>
void ForEachRow(std::span<const uint64_t> mask, uint32_t first, const Take& take) {
  for (size_t word = 0; word < mask.size(); ++word) {
    for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1) {
      take(first + static_cast<uint32_t>(word * 64 + static_cast<size_t>(std::countr_zero(bits))));
    }
  }
}

/// Moves a mask so that its bit `first` becomes the first of `rows` bits.
void CutMask(std::vector<uint64_t>& mask, uint32_t first, uint32_t rows) {
  const size_t words = (rows + 63) / 64;
  const uint32_t shift = first % 64;
  for (size_t i = 0; i < words; ++i) {
    const size_t from = first / 64 + i;
    uint64_t word = mask[from] >> shift;
    if (shift != 0 && from + 1 < mask.size()) word |= mask[from + 1] << (64 - shift);
    mask[i] = word;
  }
  mask.resize(words);
  if (rows % 64 != 0) mask.back() &= (uint64_t{1} << (rows % 64)) - 1;
}

/// Works out which rows of a segment are visible and match, for a search that keeps so many. All of them lie in
/// `range`; the mask begins with its first row. `keys` as of SegmentFilter.
Status FindMatches(const SearchRequest& request, size_t segment_index, storage::RowRange range, size_t keep,
                   ThreadPool* parallel, SegmentPlan& plan, const SegmentKeyRows* keys = nullptr) {
  const segment::Segment& segment = *request.view.segments[segment_index];
  const SegmentFilter filter(request.view, segment_index, request.filter.get(),
                             PartOf(request.explanation, segment_index), keys);
  if (const auto most = filter.MostMatches(); most && ScanIsCheaper(*most, keep)) {
    return ListMatches(request, filter, plan);
  }
  const uint32_t first_page = range.first_row / kPageRows;
  const uint32_t pages = (range.first_row + range.rows + kPageRows - 1) / kPageRows - first_page;
  plan.mask.assign(size_t{pages} * kPageWords, 0);
  plan.masked = true;
  std::mutex mutex;
  Status first_error;
  uint64_t rows = 0;
  const auto fill = [&](size_t begin, size_t end) {
    uint64_t found = 0;
    const auto copy = [&](uint32_t page, const uint64_t* mask, uint32_t count) {
      std::copy_n(mask, kPageWords, plan.mask.data() + size_t{page - first_page} * kPageWords);
      found += count;
      return Status::Ok();
    };
    Status status = VisitMatches(filter, first_page + static_cast<uint32_t>(begin),
                                 first_page + static_cast<uint32_t>(end), request.cancelled, copy);
    const std::lock_guard lock(mutex);
    if (!status.ok() && first_error.ok()) first_error = std::move(status);
    rows += found;
  };
  if (parallel == nullptr || Unfiltered(request) || !filter.indexed().empty() || pages <= kPagesPerMaskPiece) {
    fill(0, pages);
  } else {
    parallel->ParallelFor(pages, kPagesPerMaskPiece, fill);
  }
  plan.rows = rows;
  if (segment.sealed() && range.rows < segment.row_count()) CutMask(plan.mask, range.first_row % kPageRows, range.rows);
  return first_error;
}

/// Whether the rows of a plan, of which there are few, are better scored one by one than asked of the index.
bool ScoringIsCheaper(const SearchRequest& request, const index::VectorIndex& index, size_t keep,
                      const SegmentPlan& plan) {
  if (!ScanIsCheaper(plan.rows, keep)) return false;
  if (request.index->exact || plan.rows <= index.rows_to_score(keep)) return true;
  // Rows that lie together are read in one go.
  if (!plan.is_listed) return false;
  return plan.listed.back() - plan.listed.front() < kScatter * plan.rows;
}

/// Makes a mask of listed rows.
void MaskListed(uint32_t pages, SegmentPlan& plan) {
  plan.mask.assign(size_t{pages} * kPageWords, 0);
  for (const uint32_t row : plan.listed) plan.mask[row / 64] |= uint64_t{1} << (row % 64);
  plan.masked = true;
  plan.is_listed = false;
  plan.listed.clear();
}

/// Asks the index of a growing segment.
Status SearchGrowing(const SearchRequest& request, size_t segment_index, const FlatQueries& queries, size_t keep,
                     const SegmentPlan& plan, std::span<TopK> results) {
  const index::PagedColumn pages = segment::PagesOf(*request.view.segments[segment_index], request.field_id);
  thread_local index::IndexScratch scratch;
  index::IndexCounters counters;
  const index::IndexSearchOptions options = SearchOptionsOf(*request.index, keep, request.cancelled);
  SegmentExplanation* const explained = PartOf(request.explanation, segment_index);
  index::PlanReasons reasons;
  if (explained != nullptr) counters.reasons = &reasons;
  const index::RowFilter filter{.bits = plan.linked_mask.empty() ? nullptr : plan.linked_mask.data(),
                                .count = plan.linked_rows};
  const StepTimer timer(explained != nullptr ? &explained->search_nanoseconds : nullptr);
  for (size_t query = 0; query < queries.nq(); ++query) {
    QUIVER_RETURN_IF_ERROR(plan.growing->index().Search(plan.linked, queries, query, pages, filter, options,
                                                        RowId(segment_index, 0), results[query], scratch, counters));
  }
  if (explained != nullptr) {
    const std::lock_guard lock(explained->mutex);
    explained->Add(counters);
    explained->reasons = reasons;
    explained->linked = plan.linked;
  }
  return Status::Ok();
}

/// Asks one index of a sealed segment. False: it is damaged.
Result<bool> SearchIndex(const SearchRequest& request, size_t segment_index, const FlatQueries& queries, size_t keep,
                         const AskedIndex& asked, std::span<TopK> results) {
  const segment::Segment& segment = *request.view.segments[segment_index];
  const segment::SegmentIndex& index = *asked.index;
  QUIVER_ASSIGN_OR_RETURN(const ColumnView vectors,
                          segment.View(request.field_id, index.first_row(), index.row_count()));
  if (!vectors.present()) return true;
  thread_local index::IndexScratch scratch;
  index::IndexCounters counters;
  const index::IndexSearchOptions options = index.Tuned(SearchOptionsOf(*request.index, keep, request.cancelled));
  SegmentExplanation* const explained = PartOf(request.explanation, segment_index);
  index::PlanReasons reasons;
  if (explained != nullptr) counters.reasons = &reasons;
  Status status;
  {
    const StepTimer timer(explained != nullptr ? &explained->search_nanoseconds : nullptr);
    status = index.index().SearchBatch(queries, vectors, asked.filter, options, RowId(segment_index, index.first_row()),
                                       results, scratch, counters);
  }
  if (explained != nullptr) {
    const std::lock_guard lock(explained->mutex);
    explained->Add(counters);
    // Of several parts each has reasons of its own.
    if (explained->parts == 0) explained->reasons = reasons;
  }
  if (status.code() == StatusCode::kCorruption || index.damaged()) {
    index.ReportDamage(status.ok() ? "its file cannot be read" : status.message());
    return false;
  }
  if (!status.ok()) return status;
  return true;
}

/// Asks the indexes of one segment. True = their offers count; false = one is damaged and out of the plan.
Result<bool> SearchOne(const SearchRequest& request, size_t segment_index, const FlatQueries& queries, size_t keep,
                       const SegmentPlan& plan, std::span<TopK> results) {
  if (plan.growing != nullptr) {
    QUIVER_RETURN_IF_ERROR(SearchGrowing(request, segment_index, queries, keep, plan, results));
    return true;
  }
  for (const AskedIndex& asked : plan.asked()) {
    QUIVER_ASSIGN_OR_RETURN(const bool sound, SearchIndex(request, segment_index, queries, keep, asked, results));
    if (!sound) return false;
  }
  return true;
}

/// Collectors for as many threads as come: each takes a set, offers hits to it and gives it back for the next one, so
/// that a thread that is alone has the limits of all segments before.
class CollectorSets {
 public:
  /// `results` are the first set and hold no hits yet.
  explicit CollectorSets(std::span<TopK> results) : empty_(results.begin(), results.end()), free_{results} {}

  std::span<TopK> Take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return further_.emplace_back(empty_);
    const std::span<TopK> set = free_.back();
    free_.pop_back();
    return set;
  }
  void Return(std::span<TopK> set) {
    const std::lock_guard lock(mutex_);
    free_.push_back(set);
  }
  /// Offers the hits of all sets to the first one. No set is out.
  void MergeInto(std::span<TopK> results) {
    for (std::vector<TopK>& set : further_) {
      for (size_t query = 0; query < set.size(); ++query) {
        for (const index::Hit& hit : set[query].TakeSorted()) results[query].Offer(hit.score, hit.row);
      }
    }
  }

 private:
  const std::vector<TopK> empty_;
  std::mutex mutex_;
  std::vector<std::span<TopK>> free_;
  std::deque<std::vector<TopK>> further_;  ///< their places stay
};

uint64_t StoredRows(const SearchRequest& request) {
  uint64_t rows = 0;
  for (const auto& segment : request.view.segments) rows += segment->row_count();
  return rows;
}

/// Calls `work(i)` for each of `count` segments, which are of so many rows together, several at a time where it is
/// worth it. Returns the first error.
Status ForSegments(uint64_t rows, size_t count, ThreadPool* parallel, const std::function<Status(size_t)>& work) {
  if (parallel == nullptr || count < 2 || rows < kRowsForThreads) {
    for (size_t i = 0; i < count; ++i) QUIVER_RETURN_IF_ERROR(work(i));
    return Status::Ok();
  }
  std::mutex mutex;
  Status first_error;
  parallel->ParallelFor(count, 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      {
        const std::lock_guard lock(mutex);
        if (!first_error.ok()) return;
      }
      Status status = work(i);
      const std::lock_guard lock(mutex);
      if (!status.ok() && first_error.ok()) first_error = std::move(status);
    }
  });
  return first_error;
}

}  // namespace

std::vector<AskedIndex> SegmentPlan::asked() const {
  std::vector<AskedIndex> all;
  if (index != nullptr) all.push_back({index.get(), {.bits = masked ? mask.data() : nullptr, .count = rows}});
  for (const PartPlan& part : parts) {
    all.push_back({part.index.get(), {.bits = part.mask.empty() ? nullptr : part.mask.data(), .count = part.rows}});
  }
  return all;
}

bool SegmentPlan::damaged() const {
  return (index != nullptr && index->damaged()) ||
         std::ranges::any_of(parts, [](const PartPlan& part) { return part.index->damaged(); });
}

void SegmentPlan::DropIndex() {
  if (index == nullptr || index->is_part()) {
    masked = false;
    mask.clear();
    is_listed = false;
    listed.clear();
  }
  index = nullptr;
  parts.clear();
}

bool IndexPlan::any() const {
  return std::any_of(segments.begin(), segments.end(), [](const SegmentPlan& plan) { return plan.indexed(); });
}

index::IndexSearchOptions SearchOptionsOf(const IndexUse& use, size_t keep, Cancelled cancelled) {
  return {.k = keep,
          .ef = use.ef,
          .nprobe = use.nprobe,
          .recall = use.recall != 0 ? use.recall : kUsualRecall,
          .cancelled = std::move(cancelled)};
}

void SetPartsWeight(double weight) { parts_weight.store(weight, std::memory_order_relaxed); }

bool ScanIsCheaper(uint64_t matches, size_t keep) {
  // Beyond these the index judges for itself: it knows what its walk costs under a mask.
  return matches <= std::max<uint64_t>(kAlwaysScan, 2 * keep);
}

namespace {

/// Why no index is asked at all; nullptr where one may be.
const char* WhyExact(const SearchRequest& request) {
  if (!request.index) return "no vector index is asked for";
  if (NamesKeys(request.filter.get())) return "the filter names primary keys";
  return nullptr;
}

/// Splits the mask of a growing segment into that of the rows that the index has, and that of the rest.
void SplitMask(SegmentPlan& chosen) {
  const size_t words = (chosen.linked + 63) / 64;
  chosen.linked_mask.assign(chosen.mask.begin(), chosen.mask.begin() + static_cast<ptrdiff_t>(words));
  std::fill_n(chosen.mask.begin(), words, 0);
  if (const uint32_t rest = chosen.linked % 64; rest != 0) {
    const uint64_t before = (uint64_t{1} << rest) - 1;
    chosen.mask[words - 1] = chosen.linked_mask.back() & ~before;
    chosen.linked_mask.back() &= before;
  }
  chosen.linked_rows = 0;
  for (const uint64_t word : chosen.linked_mask) chosen.linked_rows += static_cast<uint64_t>(std::popcount(word));
  chosen.rows -= chosen.linked_rows;
}

/// Puts the two back together.
void JoinMasks(SegmentPlan& chosen) {
  for (size_t i = 0; i < chosen.linked_mask.size(); ++i) chosen.mask[i] |= chosen.linked_mask[i];
  chosen.rows += chosen.linked_rows;
  chosen.linked_mask.clear();
  chosen.linked_rows = 0;
}

/// Chooses for one growing segment, as PlanSegment.
Result<const char*> PlanGrowing(const SearchRequest& request, size_t segment_index, size_t keep, ThreadPool* parallel,
                                SegmentPlan& chosen) {
  const segment::Segment& segment = *request.view.segments[segment_index];
  auto growing = segment.FindGrowingIndex(request.index->index_id);
  if (growing == nullptr) return "the segment is growing";
  // A search without a known end would have to go on where its index stood, over another set of rows.
  if (request.group || request.index->exact || request.radius || request.range_filter) return "the segment is growing";
  if (growing->index().recipe().metric != request.metric) return "the index has another metric";
  chosen.linked = growing->index().linked();
  if (ScanIsCheaper(chosen.linked, keep)) return "the segment is growing";
  SegmentExplanation* const explained = PartOf(request.explanation, segment_index);
  if (Unfiltered(request) && segment.FirstVisible(chosen.linked, VisibilityOf(request.view))) {
    chosen.linked_rows = chosen.linked;
    // The scan counts whole pages.
    if (explained != nullptr) explained->matches = chosen.linked / kPageRows * kPageRows;
  } else {
    QUIVER_RETURN_IF_ERROR(FindMatches(request, segment_index, {0, segment.row_count()}, keep, parallel, chosen));
    if (chosen.is_listed) return "few rows match";
    SplitMask(chosen);
    if (ScanIsCheaper(chosen.linked_rows, keep)) {
      JoinMasks(chosen);
      return "few rows match";
    }
    if (chosen.linked_rows == chosen.linked) chosen.linked_mask.clear();
  }
  chosen.growing = std::move(growing);
  return nullptr;
}

/// The rows of the values of the partition key that the filter names, looked up unless the request tells them (`own`
/// holds them then); nullptr where it names none.
const SegmentKeyRows* FindKeys(const SearchRequest& request, size_t segment_index, SegmentKeyRows& own) {
  if (Unfiltered(request) || request.filter->partition_key_values() == nullptr) return nullptr;
  if (const SegmentKeyRows* known = FindKnown(request.key_rows, request.view, segment_index); known != nullptr) {
    return known;
  }
  auto keys = FindKeyRows(*request.view.info, *request.view.segments[segment_index], *request.filter);
  if (keys.ok()) own.rows = *std::move(keys);
  return &own;
}

/// The part of an index that holds all of these rows, which are those of one value; nullptr where there is none.
std::shared_ptr<const segment::SegmentIndex> FindPart(const segment::SegmentIndex& index, const SegmentKeyRows* keys) {
  if (keys == nullptr || !keys->rows || keys->rows->runs.size() != 1) return nullptr;
  const storage::RowRange run = keys->rows->runs.front();
  return index.FindPart(run.first_row, run.rows);
}

/// Chooses for a segment whose index has a part for the value that the filter names. Searching the part is never dearer
/// than the whole index under a mask: the same rows match, with fewer or no others between them.
Result<const char*> PlanPart(const SearchRequest& request, size_t segment_index, size_t keep, ThreadPool* parallel,
                             const SegmentKeyRows& keys, std::shared_ptr<const segment::SegmentIndex> part,
                             SegmentPlan& chosen) {
  const storage::RowRange range{part->first_row(), part->row_count()};
  const bool all_match = keys.rows->exact && keys.rows->count == range.rows;
  SegmentExplanation* const explained = PartOf(request.explanation, segment_index);
  if (all_match && explained == nullptr &&
      request.view.segments[segment_index]->AllVisible(VisibilityOf(request.view))) {
    chosen.rows = range.rows;
  } else {
    QUIVER_RETURN_IF_ERROR(FindMatches(request, segment_index, range, keep, parallel, chosen, &keys));
    if (chosen.is_listed) return "few rows match";
    if (ScanIsCheaper(chosen.rows, keep)) {
      chosen.is_listed = true;
      chosen.listed.reserve(chosen.rows);
      ForEachRow(chosen.mask, range.first_row, [&](uint32_t row) { chosen.listed.push_back(row); });
    }
    // No mask is needed where all rows match.
    if (chosen.is_listed || chosen.rows == range.rows) {
      chosen.masked = false;
      chosen.mask.clear();
    }
    if (chosen.is_listed) return "few rows match";
  }
  if (explained != nullptr) explained->part_rows = range.rows;
  chosen.index = std::move(part);
  return nullptr;
}

/// The rows of one of several values of the partition key that a filter names.
struct ValueRows {
  storage::RowRange run;
  std::shared_ptr<const segment::SegmentIndex> part;  ///< nullptr: the value has none
  uint64_t matches = 0;                               ///< rows that are visible and match
};

/// The values that a filter names, where some of several have parts; otherwise nothing.
std::vector<ValueRows> FindParts(const segment::SegmentIndex& index, const SegmentKeyRows* keys) {
  std::vector<ValueRows> values;
  if (keys == nullptr || !keys->rows || keys->rows->runs.size() < 2) return values;
  if (const auto parts = index.parts(); parts == nullptr || parts->empty()) return values;
  bool any = false;
  for (const storage::RowRange& run : keys->rows->runs) {
    ValueRows& value = values.emplace_back(run, index.FindPart(run.first_row, run.rows), run.rows);
    // A part is that of a run and nothing else; of another one too little would be known.
    if (value.part != nullptr && value.part->row_count() != run.rows) value.part = nullptr;
    any = any || value.part != nullptr;
  }
  if (!any) values.clear();
  return values;
}

/// Whether to search the parts one after another and to score the rows of values that have none is expected to take
/// less than to search the index of all rows. `all_match`: the runs are all that is asked for, so that a mask would
/// have to be made for the index of all rows alone.
bool PartsAreCheaper(const SearchRequest& request, size_t segment_index, size_t keep,
                     const segment::SegmentIndex& whole, std::span<const ValueRows> values, bool all_match) {
  const index::IndexSearchOptions options = SearchOptionsOf(*request.index, keep, nullptr);
  const index::IndexRecipe& recipe = whole.index().recipe();
  const double score = kScoreRow + kScoreByte * static_cast<double>(FixedWidth(recipe.type, recipe.dim));
  double by_parts = 0;
  uint64_t matches = 0;
  for (const ValueRows& value : values) {
    matches += value.matches;
    if (value.matches == 0) continue;
    if (value.part == nullptr) {
      by_parts += score * static_cast<double>(value.matches);
    } else {
      const bool masked = value.matches != value.run.rows;
      by_parts += value.part->index().expected_cost(masked ? std::optional(value.matches) : std::nullopt,
                                                    value.part->Tuned(options));
    }
  }
  double by_whole = whole.index().expected_cost(matches, whole.Tuned(options));
  if (all_match) {
    const double mask = kLookWord * whole.row_count() / 64 + kMakeWord * static_cast<double>(matches) / 64;
    by_whole += mask / static_cast<double>(std::max<size_t>(1, request.queries.size()));
  }
  if (SegmentExplanation* const explained = PartOf(request.explanation, segment_index); explained != nullptr) {
    explained->cost_of_parts = by_parts;
    explained->cost_of_whole = by_whole;
  }
  return by_parts * parts_weight.load(std::memory_order_relaxed) < by_whole;
}

/// Counts the rows of each value in a mask of all rows of the segment.
void CountMatches(std::span<const uint64_t> mask, std::span<ValueRows> values) {
  for (ValueRows& value : values) {
    value.matches = 0;
    const uint64_t end = uint64_t{value.run.first_row} + value.run.rows;
    for (uint64_t row = value.run.first_row; row < end; row = (row / 64 + 1) * 64) {
      uint64_t word = mask[row / 64] & (~uint64_t{0} << (row % 64));
      if (end - row / 64 * 64 < 64) word &= (uint64_t{1} << (end % 64)) - 1;
      value.matches += static_cast<uint64_t>(std::popcount(word));
    }
  }
}

/// Plans a segment by parts. The mask of `chosen`, where there is one, tells which rows match.
void TakeParts(const SearchRequest& request, size_t segment_index, std::span<const ValueRows> values,
               SegmentPlan& chosen) {
  const std::vector<uint64_t> mask = std::exchange(chosen.mask, {});
  chosen.masked = false;
  chosen.rows = 0;
  chosen.is_listed = true;
  uint32_t rows_of_parts = 0;
  for (const ValueRows& value : values) {
    if (value.matches == 0) continue;
    chosen.rows += value.matches;
    const storage::RowRange run = value.run;
    std::vector<uint64_t> own;
    if (value.matches != run.rows) {
      const auto first = mask.begin() + run.first_row / 64;
      own.assign(first, mask.begin() + (run.first_row + run.rows + 63) / 64);
      CutMask(own, run.first_row % 64, run.rows);
    }
    if (value.part != nullptr) {
      rows_of_parts += run.rows;
      chosen.parts.push_back({value.part, std::move(own), value.matches});
    } else if (own.empty()) {
      for (uint32_t row = 0; row < run.rows; ++row) chosen.listed.push_back(run.first_row + row);
    } else {
      ForEachRow(own, run.first_row, [&](uint32_t row) { chosen.listed.push_back(row); });
    }
  }
  if (SegmentExplanation* const explained = PartOf(request.explanation, segment_index); explained != nullptr) {
    explained->part_rows = rows_of_parts;
    explained->parts = static_cast<uint32_t>(chosen.parts.size());
  }
}

/// Chooses for one segment. Returns why it has no index; nullptr where it has one.
Result<const char*> PlanSegment(const SearchRequest& request, size_t segment_index, size_t keep, ThreadPool* parallel,
                                SegmentPlan& chosen) {
  const segment::Segment& segment = *request.view.segments[segment_index];
  if (!segment.sealed()) return PlanGrowing(request, segment_index, keep, parallel, chosen);
  auto index = segment.FindIndex(request.index->index_id);
  if (index == nullptr) return "the segment has no index";
  if (index->index().recipe().metric != request.metric) return "the index has another metric";
  if (request.index->exact && !index->index().bounds_scores()) return "exact hits cost the index more than a scan";
  if (ScanIsCheaper(segment.row_count(), keep)) return "the segment is small";
  SegmentKeyRows own;
  const SegmentKeyRows* const keys = FindKeys(request, segment_index, own);
  if (auto part = FindPart(*index, keys); part != nullptr) {
    return PlanPart(request, segment_index, keep, parallel, *keys, std::move(part), chosen);
  }
  std::vector<ValueRows> values = FindParts(*index, keys);
  const bool all_match = !values.empty() && keys->rows->exact && segment.AllVisible(VisibilityOf(request.view));
  // Whoever explains is told of the rows that match by whoever looks for them.
  if (all_match && request.explanation == nullptr &&
      PartsAreCheaper(request, segment_index, keep, *index, values, all_match)) {
    TakeParts(request, segment_index, values, chosen);
    return nullptr;
  }
  if (Unfiltered(request) && segment.AllVisible(VisibilityOf(request.view))) {
    chosen.rows = segment.row_count();
    if (SegmentExplanation* explained = PartOf(request.explanation, segment_index); explained != nullptr) {
      explained->matches = segment.row_count();
    }
  } else {
    QUIVER_RETURN_IF_ERROR(FindMatches(request, segment_index, {0, segment.row_count()}, keep, parallel, chosen, keys));
    if (ScoringIsCheaper(request, index->index(), keep, chosen)) return "few rows match";
    if (chosen.is_listed) MaskListed(segment.page_count(), chosen);
    CountMatches(chosen.mask, values);
    if (!values.empty() && PartsAreCheaper(request, segment_index, keep, *index, values, all_match)) {
      TakeParts(request, segment_index, values, chosen);
      return nullptr;
    }
  }
  chosen.index = std::move(index);
  return nullptr;
}

}  // namespace

Result<IndexPlan> PlanIndexes(const SearchRequest& request, size_t keep, ThreadPool* parallel) {
  IndexPlan plan;
  plan.segments.resize(request.view.segments.size());
  const char* exact = WhyExact(request);
  if (keep == 0 || (request.filter != nullptr && request.filter->always_false())) exact = "no row matches";
  const auto choose = [&](size_t i) -> Status {
    const char* why = exact;
    if (exact == nullptr) {
      QUIVER_ASSIGN_OR_RETURN(why, PlanSegment(request, i, keep, parallel, plan.segments[i]));
    }
    if (SegmentExplanation* explained = PartOf(request.explanation, i); explained != nullptr) {
      explained->why = why == nullptr ? "" : why;
      explained->index_id = why == nullptr ? request.index->index_id : 0;
    }
    return Status::Ok();
  };
  if (exact != nullptr && request.explanation == nullptr) return plan;
  const bool quick = exact != nullptr || Unfiltered(request) || request.filter->partition_key_values() != nullptr;
  QUIVER_RETURN_IF_ERROR(ForSegments(StoredRows(request), plan.segments.size(), quick ? nullptr : parallel, choose));
  return plan;
}

std::shared_ptr<const IndexPlan> WithoutDamaged(const IndexPlan& plan) {
  auto left = std::make_shared<IndexPlan>(plan);
  for (SegmentPlan& segment : left->segments) {
    if (segment.damaged()) segment.DropIndex();
  }
  return left;
}

Result<bool> SearchIndexes(const SearchRequest& request, std::span<const std::string_view> raw,
                           const FlatQueries& queries, size_t keep, IndexPlan& plan, std::span<TopK> results,
                           ThreadPool* parallel) {
  const auto search = [&](const FlatQueries& some, std::span<TopK> their_results) -> Status {
    for (size_t i = 0; i < plan.segments.size(); ++i) {
      if (!plan.segments[i].indexed()) continue;
      QUIVER_ASSIGN_OR_RETURN(const bool sound, SearchOne(request, i, some, keep, plan.segments[i], their_results));
      if (!sound) return Status::Ok();  // seen below
    }
    return Status::Ok();
  };
  Status status;
  if (queries.nq() <= kQueriesPerPiece) {
    CollectorSets sets(results);
    uint64_t rows = 0;
    for (const SegmentPlan& segment : plan.segments) {
      if (segment.indexed()) rows += segment.growing != nullptr ? segment.linked_rows : segment.rows;
    }
    status = ForSegments(rows, plan.segments.size(), parallel, [&](size_t i) -> Status {
      if (!plan.segments[i].indexed()) return Status::Ok();
      const std::span<TopK> set = sets.Take();
      const Status searched = SearchOne(request, i, queries, keep, plan.segments[i], set).status();
      sets.Return(set);
      return searched;  // damage is seen below
    });
    sets.MergeInto(results);
  } else if (parallel == nullptr) {
    status = search(queries, results);
  } else {
    const FieldSchema* field = request.view.info->schema->FindById(request.field_id);
    const size_t grain = std::max(kQueriesPerPiece, queries.nq() / (parallel->thread_count() * 4));
    std::mutex mutex;
    parallel->ParallelFor(queries.nq(), grain, [&](size_t begin, size_t end) {
      const std::vector<std::string_view> part(raw.begin() + static_cast<ptrdiff_t>(begin),
                                               raw.begin() + static_cast<ptrdiff_t>(end));
      const auto some = FlatQueries::Make(field->type, field->dim, request.metric, part);
      Status searched = some.ok() ? search(*some, results.subspan(begin, end - begin)) : some.status();
      const std::lock_guard lock(mutex);
      if (!searched.ok() && status.ok()) status = std::move(searched);
    });
  }
  QUIVER_RETURN_IF_ERROR(status);
  bool sound = true;
  for (SegmentPlan& segment : plan.segments) {
    if (!segment.damaged()) continue;
    segment.DropIndex();
    sound = false;
    if (request.explanation != nullptr) {
      SegmentExplanation& explained =
          request.explanation->segments[static_cast<size_t>(&segment - plan.segments.data())];
      explained.index_id = 0;
      explained.why = "the index is damaged";
    }
  }
  return sound;
}

}  // namespace quiver::query
