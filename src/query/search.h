// File: query/search.h
// Vector search and scalar query over a ReadView. Segments whose vector index serves the request are asked through it;
// all others are scanned under the filter's mask, exactly. A row has the same score either way.
// Thread rule: the functions are pure on an immutable view and may run on any thread; `parallel` lets one request use
// idle cores of the compute pool.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "expr/filter.h"
#include "query/grouping.h"
#include "query/key_rows.h"
#include "query/ordering.h"
#include "schema/column.h"

namespace quiver {
class ThreadPool;
}

namespace quiver::query {

struct Explanation;  // query/explanation.h

/// Gives up work early: called between blocks of rows; returning true ends the request with kCancelled.
using Cancelled = std::function<bool()>;

/// A vector index that a search may use, and how hard it is to search. 0 = not said.
struct IndexUse {
  int64_t index_id = 0;  ///< of the catalog; segments that lack it are scanned
  uint32_t ef = 0;
  uint32_t nprobe = 0;
  double recall = 0;   ///< 0.8 .. 0.999; 0 = not asked
  bool exact = false;  ///< hits are those of a scan, in its order (iterators)
};

struct SearchRequest {
  engine::ReadView view;
  int64_t field_id = 0;
  MetricType metric = MetricType::kNone;
  std::vector<std::string_view> queries;  ///< nq vectors as bytes of the field's own type (sparse: pairs); kept alive
                                          ///< by the caller. By a MAX_SIM metric lists of vectors, back to back
  size_t limit = 10;
  size_t offset = 0;
  std::shared_ptr<const expr::Filter> filter;  ///< nullptr = all rows
  std::optional<float> radius;                 ///< range search, published borders
  std::optional<float> range_filter;
  int round_decimal = -1;
  std::optional<Grouping> group;       ///< limit and offset then count groups; each is filled as far as rows exist
  std::vector<OrderKey> order;         ///< reorders the page that the scores chose; not with `group`
  std::vector<int64_t> output_fields;  ///< field ids, vectors among them
  /// Absent = exact. With it, searches may miss rows within the recall of the index, unless it says `exact`; they still
  /// return min(limit, matching rows) rows, and grouped ones as many groups as there are.
  std::optional<IndexUse> index;
  std::vector<SegmentKeyRows> key_rows;  ///< of the filter, as far as they were looked up before; may be empty
  Cancelled cancelled;
  Explanation* explanation = nullptr;  ///< filled where it is given
};

struct SearchResult {
  Column primary_keys;  ///< hits of all queries, in query order, best first
  std::vector<float> scores;
  std::vector<int64_t> hits_per_query;
  /// Of an array of vectors that is searched by another metric than MAX_SIM each hit is one vector: its place in the
  /// row's array, aligned with primary_keys. Empty for other searches.
  std::vector<uint32_t> elements;
  ColumnBatch output;  ///< one column per output field, in request order, rows aligned with primary_keys
  ColumnBatch groups;  ///< of a grouped search: the values of the group fields, likewise
};

/// Ties are ordered by primary key; which rows of one score stand before the end of the page, too, where no index was
/// used. Of a grouped search the groups stand in the order of their best rows, the rows of
/// one group together, and groups are never fewer than exist and were asked for. Errors: kCorruption naming the
/// segment, kCancelled.
Result<SearchResult> Search(const SearchRequest& request, ThreadPool* parallel);

struct QueryRequest {
  engine::ReadView view;
  std::shared_ptr<const expr::Filter> filter;  ///< nullptr = all rows
  std::optional<size_t> limit;                 ///< absent = all matches
  size_t offset = 0;
  std::vector<OrderKey> order;  ///< empty = by primary key; ties by primary key
  std::vector<int64_t> output_fields;
  Cancelled cancelled;
  Explanation* explanation = nullptr;  ///< filled where it is given
};

/// Rows in the order asked for, else in ascending primary key order, so that pages are stable and iterators neither
/// lose nor repeat rows.
Result<ColumnBatch> Query(const QueryRequest& request, ThreadPool* parallel);

/// Number of matching rows.
Result<int64_t> Count(const engine::ReadView& view, const std::shared_ptr<const expr::Filter>& filter,
                      const Cancelled& cancelled, Explanation* explanation = nullptr);

/// Primary keys of all matching rows (delete by filter).
Result<Column> MatchingKeys(const engine::ReadView& view, const std::shared_ptr<const expr::Filter>& filter,
                            const Cancelled& cancelled);

}  // namespace quiver::query
