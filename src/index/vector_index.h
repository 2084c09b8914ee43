// File: index/vector_index.h
// VectorIndex: an immutable search structure (lists, graph, postings of sparse vectors) over one vector field of one
// sealed segment.
//
//   QUIVER_ASSIGN_OR_RETURN(std::string bytes, BuildVectorIndex(recipe, vectors, control));       // background
//   QUIVER_ASSIGN_OR_RETURN(std::unique_ptr<VectorIndex> index, OpenVectorIndex(mapped, name));  // restart: no rebuild
//   QUIVER_RETURN_IF_ERROR(index->Search(queries, 0, vectors, mask, options, first_row, result, scratch, counters));
//
// An index holds codes and links, never the raw vectors: those stay in the segment's column, and every score that
// leaves Search comes from them through ScoreRows, so a (query, row) pair has one score on every path (flat_search.h).
// The index finds candidates; which of them are hits is decided by exact scores.
// Row numbers are those of the segment; an index keeps its own permutation inside.
// Thread rule: a VectorIndex is immutable and may be shared; IndexScratch belongs to one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "index/flat_search.h"
#include "schema/column.h"
#include "schema/data_type.h"

namespace quiver::index {

/// The structures that exist. The number is part of the file format.
enum class IndexStructure : uint8_t { kLists = 1, kGraph = 2, kInverted = 3 };
/// How vectors are encoded for the walk. The number is part of the file format.
enum class IndexCodec : uint8_t { kRaw = 0, kSq8 = 1, kRabitq = 2, kPq = 3 };

/// What to build: a row of the table of index names (structure x codec), with the parameters of the client filled in.
struct IndexRecipe {
  IndexStructure structure = IndexStructure::kGraph;
  IndexCodec codec = IndexCodec::kSq8;
  DataType type = DataType::kFloatVector;
  int64_t dim = 0;
  MetricType metric = MetricType::kL2;
  uint32_t degree = 32;            ///< graph: links per row of the base layer (2 * M)
  uint32_t ef_construction = 200;  ///< graph
  uint32_t nlist = 0;              ///< lists: 0 = chosen from the number of rows
  uint32_t code_bits = 7;          ///< RaBitQ: bits per dimension, sign bit included; PQ: bits of a code, 4 or 8
  uint32_t quantizers = 0;         ///< PQ: runs of dimensions, each with a code, 1 .. dim
  uint32_t stages = 1;             ///< PQ of graphs: codes of a run (codec/residual_pq.h)
  uint64_t seed = 1;               ///< same rows, recipe and seed on one thread: same bytes
};

/// Lets a build be watched, stopped and kept small. All members may be empty.
struct BuildControl {
  std::function<bool()> cancelled;          ///< asked often; true ends the build with kCancelled
  std::function<void(double)> on_progress;  ///< share done, 0 to 1
  size_t threads = 1;
};

/// The ways in which a query is answered.
enum class SearchPlan : uint8_t {
  kScoreMatches,  ///< all rows that match are scored exactly
  kScanCodes,     ///< codes of all rows that match are compared, the best scored exactly
  kWalk,          ///< graph: a walk over all rows, those that match are kept
  kWalkThrough,   ///< graph: a walk over rows that match, looking through the others
  kProbe,         ///< lists: the nearest lists are scanned
  kPostings,      ///< sparse: the postings of the query's dimensions are summed
};
constexpr size_t kSearchPlans = 6;
/// "score matches", "scan codes", "walk", "walk through", "probe lists" or "sum postings".
std::string_view SearchPlanName(SearchPlan plan);

/// Whether searches are timed and the costs of plans follow what they took, as they do unless this turns both off. For
/// the whole process, from any thread. Tests of single plans turn it off: under a sanitizer or beside other work other
/// plans are the best ones.
void SetSearchTiming(bool on);

/// What the choice of a plan was made by, for explain. Costs are nanoseconds as the index expects them; NaN: a plan
/// that was not thought of.
struct PlanReasons {
  PlanReasons() { std::fill_n(cost, kSearchPlans, std::numeric_limits<double>::quiet_NaN()); }
  double cost[kSearchPlans];
  uint32_t ef = 0;      ///< graph: room of the walk
  uint32_t nprobe = 0;  ///< lists looked at first
  uint32_t nlist = 0;   ///< of so many
};

/// Where the work of a search went, for explain and for tests.
struct IndexCounters {
  uint64_t code_distances = 0;        ///< distances computed on codes
  uint64_t exact_distances = 0;       ///< raw vectors scored
  uint64_t expansions = 0;            ///< graph rows or lists visited
  uint64_t plans[kSearchPlans] = {};  ///< queries begun by each plan
  uint64_t changed_plans = 0;         ///< queries that went on by another plan than they began with
  PlanReasons* reasons = nullptr;     ///< filled by each query where it is given
};

/// No row.
constexpr uint32_t kNoRow = 0xffffffff;

/// How hard to search. 0 = the index's own choice. What is said in the terms of a structure (ef, nprobe) counts before
/// `recall`; terms of other structures do not count.
struct IndexSearchOptions {
  size_t k = 10;        ///< hits wanted (the collector may keep more)
  uint32_t ef = 0;      ///< graph: candidates kept while walking; raised to k
  uint32_t nprobe = 0;  ///< lists visited at least
  uint32_t refine = 0;  ///< graph: by how many times more candidates are scored exactly than by its own choice
  double recall = 0;    ///< 0.8 .. 0.999: picks ef or nprobe from the estimate made at build; 0 = not asked
  /// To measure with rows as queries: a walk over all rows of a graph goes as if this row, the first of its kind, were
  /// not there. Other searches may return it.
  uint32_t absent_row = kNoRow;
  bool walk_only = false;  ///< graph, without a filter: walk even where comparing all codes is cheaper
  std::function<bool()> cancelled;
};

/// Rows that may be returned: bit row % 64 of word row / 64, rows beyond the last are zero. bits == nullptr = all rows.
struct RowFilter {
  const uint64_t* bits = nullptr;
  uint64_t count = 0;  ///< set bits; not read when bits == nullptr
};

/// Work buffers of searches on any index of one thread; they grow with use.
class IndexScratch {
 public:
  IndexScratch();
  IndexScratch(IndexScratch&&) noexcept;
  IndexScratch& operator=(IndexScratch&&) noexcept;
  ~IndexScratch();

  struct Impl;  ///< private to the structures
  [[nodiscard]] Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// How a stream of hits is opened.
struct StreamOptions {
  /// `k` is the number of hits that are expected to be asked for at first; the rest as in a search.
  IndexSearchOptions search;
  /// Hits come in exactly the order of their scores, and none is missing before another. Without it they come nearly in
  /// order, as near as the recall asked for; such a stream begins with less work.
  bool exact = false;
  /// Hits better than this score are not wanted and are left out (the inner border of a range; as a border it is in).
  std::optional<float> nearest;
};

/// One query's hits in one segment, best first, as many as are asked for: a search that goes on where it stood. Asked
/// to the end it gives every row of its filter that has a score exactly once, whatever its options. What it was opened
/// on (index, queries, vectors, filter) must outlive it.
//    auto stream = index->OpenStream(queries, 0, vectors, filter, {.search = {.k = 10}}, 0);
//    for (std::vector<Hit> hits; !enough && !(*stream)->ended(); hits.clear()) (*stream)->Next(100, hits);
/// Thread rule: belongs to one thread at a time.
class HitStream {
 public:
  virtual ~HitStream() = default;
  /// Appends the next `count` hits to `hits`, scored exactly; fewer only where no more are left. Row ids as in
  /// VectorIndex::Search. After an error the stream is of no use. Error: kCancelled.
  virtual Status Next(size_t count, std::vector<Hit>& hits) = 0;
  /// Every hit was given.
  [[nodiscard]] virtual bool ended() const = 0;
  /// Bytes held between two calls.
  [[nodiscard]] virtual uint64_t memory_bytes() const = 0;
  /// Where the work went so far.
  [[nodiscard]] virtual const IndexCounters& counters() const = 0;
};

class VectorIndex {
 public:
  virtual ~VectorIndex() = default;
  [[nodiscard]] virtual const IndexRecipe& recipe() const = 0;
  /// Rows of the segment it was built over, null vectors included (those are never returned).
  [[nodiscard]] virtual uint32_t row_count() const = 0;
  /// Bytes of anonymous memory held; mapped bytes are not counted.
  [[nodiscard]] virtual uint64_t memory_bytes() const = 0;

  /// Offers hits of queries[query] to `result` as row ids first_row + row, scored exactly from `vectors` (the whole
  /// column of the segment). Only rows of `filter` are offered. Never offers fewer than min(k, rows of the filter)
  /// rows with a score: a walk that runs dry goes on with a scan. Error: kCancelled, kCorruption.
  virtual Status Search(const FlatQueries& queries, size_t query, const ColumnView& vectors, const RowFilter& filter,
                        const IndexSearchOptions& options, uint64_t first_row, TopK& result, IndexScratch& scratch,
                        IndexCounters& counters) const = 0;

  /// Searches all queries; results[i] belongs to query i. The default takes them one by one; lists go list by list.
  virtual Status SearchBatch(const FlatQueries& queries, const ColumnView& vectors, const RowFilter& filter,
                             const IndexSearchOptions& options, uint64_t first_row, std::span<TopK> results,
                             IndexScratch& scratch, IndexCounters& counters) const;

  /// Opens a search that can go on to the last row. A graph walks on until that costs as much as comparing the codes of
  /// all rows, which it then does; lists look at ever more lists. The default scores all rows of the filter at the
  /// first call. Error: kCorruption.
  virtual Result<std::unique_ptr<HitStream>> OpenStream(const FlatQueries& queries, size_t query,
                                                        const ColumnView& vectors, const RowFilter& filter,
                                                        const StreamOptions& options, uint64_t first_row) const;
  /// Whether codes bound scores, so that exact streams do less than to score all rows.
  [[nodiscard]] virtual bool bounds_scores() const { return false; }
  /// Nanoseconds that a search under a filter of which only the count is known (absent: all rows match) is expected to
  /// take, by the plan that would be chosen. Infinite where the index cannot tell.
  [[nodiscard]] virtual double expected_cost(std::optional<uint64_t> /*matches*/,
                                             const IndexSearchOptions& /*options*/) const {
    return std::numeric_limits<double>::infinity();
  }
  /// Up to so many rows that match, scattered over the segment, are scored in less time than the best k of them are
  /// found through the index.
  [[nodiscard]] virtual uint64_t rows_to_score(size_t k) const;
};

/// Builds the index file of a column (all rows of a sealed segment; null rows are left out). The bytes are what
/// OpenVectorIndex takes. Errors: kCancelled; kIndexNotSupported for a recipe that no structure serves.
Result<std::string> BuildVectorIndex(const IndexRecipe& recipe, const ColumnView& vectors, const BuildControl& control);

/// Opens an index file where it lies; `bytes` must outlive the index. Checks header, sizes and checksums. `name` stands
/// in errors. Error: kCorruption.
Result<std::unique_ptr<VectorIndex>> OpenVectorIndex(std::string_view bytes, std::string_view name);

}  // namespace quiver::index
