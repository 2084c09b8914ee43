// File: query/explanation.h
// Explanation: what one read did, step by step and segment by segment. A request that has one is answered as any other;
// it only takes longer, since everything is counted. Without one nothing is counted anywhere.
//
//   Explanation explanation;
//   request.explanation = &explanation;
//   QUIVER_ASSIGN_OR_RETURN(SearchResult result, Search(request, pool));
//   std::string json = ToJson(explanation);
//
// Thread rule: segments are counted by whichever threads work on them; the rest belongs to the thread of the request.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "expr/filter.h"
#include "expr/filter_trace.h"
#include "index/vector_index.h"
#include "query/fusion.h"
#include "query/search.h"

namespace quiver::query {

/// How the rows of a segment that match a filter were found.
enum class FilterPath : uint8_t { kEveryRow, kNoRow, kPrimaryKeys, kPartitionKey, kIndexes, kKeptAnswer, kEvaluation };
/// "every row", "no row", "primary keys", "partition key", "scalar indexes", "kept answer", "evaluation".
std::string_view FilterPathName(FilterPath path);

/// Measures one step and adds it to `sink`; does nothing where that is nullptr.
class StepTimer {
 public:
  explicit StepTimer(std::atomic<uint64_t>* sink) : sink_(sink) {
    if (sink_ != nullptr) begin_ = std::chrono::steady_clock::now();
  }
  StepTimer(const StepTimer&) = delete;
  StepTimer& operator=(const StepTimer&) = delete;
  ~StepTimer() {
    if (sink_ == nullptr) return;
    const auto took = std::chrono::steady_clock::now() - begin_;
    sink_->fetch_add(static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count()),
                     std::memory_order_relaxed);
  }

 private:
  std::atomic<uint64_t>* sink_;
  std::chrono::steady_clock::time_point begin_;
};

/// One segment. Times are those of threads, in nanoseconds.
struct SegmentExplanation {
  std::shared_ptr<const segment::Segment> segment;
  uint64_t visible = 0;  ///< rows that the read may see, whether they match or not

  // The filter.
  std::unique_ptr<expr::FilterTrace> trace;    ///< nullptr where there is no filter
  std::shared_ptr<const expr::Filter> traced;  ///< the filter that counts in it
  FilterPath path = FilterPath::kEveryRow;
  uint32_t pages_indexed = 0;               ///< pages that indexes answered
  bool answer_kept = false;                 ///< pages that are evaluated are kept for the next time
  std::atomic<uint64_t> matches = 0;        ///< visible rows that match
  std::atomic<uint64_t> pages_visited = 0;  ///< pages with visible rows, or rows that an index gave
  std::atomic<uint64_t> pages_from_cache = 0;
  std::atomic<uint64_t> filter_nanoseconds = 0;

  // The search.
  int64_t index_id = 0;                 ///< of the vector index that was asked; 0: the vectors were scanned
  uint32_t part_rows = 0;               ///< of the indexes of single keys that were asked in place of that; 0: none
  uint32_t parts = 0;                   ///< such indexes, where the filter names several keys
  double cost_of_parts = 0;             ///< expected, in nanoseconds, where they were thought of for several keys
  double cost_of_whole = 0;             ///< likewise of the index of all rows
  std::string why;                      ///< it was scanned, or not looked at
  std::atomic<uint64_t> distances = 0;  ///< vectors scored by the scan
  std::atomic<uint64_t> search_nanoseconds = 0;
  std::mutex mutex;               ///< of what follows
  index::IndexCounters counters;  ///< of the index, over all queries
  index::PlanReasons reasons;     ///< of one of them
  uint32_t linked = 0;            ///< of a growing segment: rows that the index answered for; the others were scanned

  /// Counts a page in which so many rows match.
  void CountPage(uint32_t count) {
    pages_visited.fetch_add(1, std::memory_order_relaxed);
    matches.fetch_add(count, std::memory_order_relaxed);
  }
  /// Adds what was counted since `before`; `mutex` is held.
  void Add(const index::IndexCounters& now, const index::IndexCounters& before = {});
};

/// Steps in the order in which they ran, with their time in nanoseconds.
using StepTimes = std::vector<std::pair<std::string, uint64_t>>;

struct Explanation {
  StepTimes steps;  ///< of the request
  engine::ReadView view;
  std::shared_ptr<const expr::Filter> filter;
  std::deque<SegmentExplanation> segments;  ///< of the view
  size_t queries = 0;                       ///< vectors; 0: no search
  int64_t field_id = 0;                     ///< of the vectors
  uint64_t results = 0;

  /// Begins anew, for a read of `read_view`; a search tells its queries and the field of their vectors.
  void Begin(const engine::ReadView& read_view, const std::shared_ptr<const expr::Filter>& read_filter,
             size_t query_count = 0, int64_t vector_field = 0);

 private:
  size_t steps_before_ = SIZE_MAX;  ///< steps that were there before Begin
};

/// The part of a segment of the view; nullptr where there is no explanation.
inline SegmentExplanation* PartOf(Explanation* explanation, size_t segment) {
  return explanation == nullptr ? nullptr : &explanation->segments[segment];
}

/// A hybrid search: what each of its searches did, and how their rows were ranked.
struct HybridExplanation {
  StepTimes steps;                   ///< of the request; "search" is all searches
  std::deque<Explanation> searches;  ///< as many as the request has; results: rows given to the ranker
  Fusion fusion;
  uint64_t fused = 0;  ///< different rows that the ranker scored, over all queries
  uint64_t results = 0;

  /// Begins anew, for searches of one view.
  void Begin(const engine::ReadView& view, const std::vector<SearchRequest>& requests, const Fusion& ranker);
};

/// Names a step of an explanation while it runs; does nothing where there is none.
class Step {
 public:
  template <typename Explained>  // Explanation or HybridExplanation
  Step(Explained* explanation, const char* name)
      : steps_(explanation == nullptr ? nullptr : &explanation->steps), name_(name) {
    if (steps_ != nullptr) begin_ = std::chrono::steady_clock::now();
  }
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  ~Step() { End(); }
  /// Ends it before its scope does.
  void End();

 private:
  StepTimes* steps_;
  const char* name_;
  std::chrono::steady_clock::time_point begin_;
};

/// The explanation as JSON; docs/operations.md describes it.
std::string ToJson(const Explanation& explanation);
std::string ToJson(const HybridExplanation& explanation);

}  // namespace quiver::query
