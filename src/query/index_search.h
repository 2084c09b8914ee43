// File: query/index_search.h
// The part of a search that vector indexes answer: for each segment of a view whether its index serves the request, the
// rows that may be returned, and the search itself. What has no index here is scanned (search.cc).
// Thread rule: IndexPlan is made on one thread and only read afterwards.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "index/flat_search.h"
#include "index/vector_index.h"
#include "query/search.h"
#include "segment/growing_segment_index.h"
#include "segment/segment_index.h"

namespace quiver {
class ThreadPool;
}

namespace quiver::query {

/// An index that is asked, and which of its rows may be returned.
struct AskedIndex {
  const segment::SegmentIndex* index = nullptr;
  index::RowFilter filter;
};

/// One of several parts of an index that are searched in its place.
struct PartPlan {
  std::shared_ptr<const segment::SegmentIndex> index;
  std::vector<uint64_t> mask;  ///< as SegmentPlan::mask, from the first row of the part; empty: all rows match
  uint64_t rows = 0;           ///< that match
};

/// How one segment is searched.
struct SegmentPlan {
  /// nullptr: scanned, but for what `growing` has. A part of the segment's index where it covers all rows that match:
  /// `mask` and `rows` then speak of its rows only, `mask` counts from the first of them.
  std::shared_ptr<const segment::SegmentIndex> index;
  /// Of a growing segment: answers for the first `linked` rows; the others are scanned.
  std::shared_ptr<const segment::GrowingSegmentIndex> growing;
  uint32_t linked = 0;
  /// With `growing`: as `mask`, which then holds the other rows only; empty: all of the first rows may be returned.
  std::vector<uint64_t> linked_mask;
  uint64_t linked_rows = 0;  ///< of the first ones that may be returned
  /// Where the filter names several values of the partition key and that is cheaper: the parts that hold rows which
  /// match. Those of values without a part are listed. There is no other index then.
  std::vector<PartPlan> parts;
  /// Few rows are visible and match: they stand in `listed`, ascending, and are scored one by one. There is no index
  /// then, but for `parts`, which have the other rows.
  bool is_listed = false;
  std::vector<uint32_t> listed;
  bool masked = false;         ///< `mask` holds the rows that are visible and match; otherwise it was not worked out
  std::vector<uint64_t> mask;  ///< bit row % 64 of word row / 64, whole pages
  uint64_t rows = 0;           ///< set bits or listed rows, or with neither all rows of the segment

  /// Whether some of its rows are searched through an index.
  [[nodiscard]] bool indexed() const { return index != nullptr || growing != nullptr || !parts.empty(); }
  /// The indexes of a sealed segment that are asked, one after another; no row is in two of them. They live as long as
  /// the plan.
  [[nodiscard]] std::vector<AskedIndex> asked() const;
  /// Whether one of them was found damaged.
  [[nodiscard]] bool damaged() const;
  /// Leaves it to the scan, since its index was found damaged.
  void DropIndex();
};

/// One plan per segment of the view, made once for all queries of a request.
struct IndexPlan {
  std::vector<SegmentPlan> segments;

  [[nodiscard]] bool any() const;
};

/// By how much the expected cost of parts is multiplied before several of them are weighed against the index of all
/// rows: 1, unless a test or a measurement wants one of the two whatever it costs. For the whole process.
void SetPartsWeight(double weight);

/// Returns whether so few rows may be better scored directly than through an index, when `keep` of them are wanted.
bool ScanIsCheaper(uint64_t matches, size_t keep);

/// What an index is asked for `keep` hits, before what was measured of it (SegmentIndex::Tuned) is put in.
index::IndexSearchOptions SearchOptionsOf(const IndexUse& use, size_t keep, Cancelled cancelled);

/// Chooses for each segment. Where hits must be exact, only indexes that find them with less work than a scan are
/// chosen; where the filter names keys, none. Errors: those of filters and of segments.
Result<IndexPlan> PlanIndexes(const SearchRequest& request, size_t keep, ThreadPool* parallel);

/// The plan without indexes that were found damaged.
std::shared_ptr<const IndexPlan> WithoutDamaged(const IndexPlan& plan);

/// Searches the segments of the plan that have an index for all queries (`raw` are the same, as bytes) and offers their
/// hits to `results`. An index that turns out to be damaged is reported and taken out of `plan`; the answer is then
/// `false`: what `results` hold is to be thrown away and searched anew.
Result<bool> SearchIndexes(const SearchRequest& request, std::span<const std::string_view> raw,
                           const index::FlatQueries& queries, size_t keep, IndexPlan& plan,
                           std::span<index::TopK> results, ThreadPool* parallel);

}  // namespace quiver::query
