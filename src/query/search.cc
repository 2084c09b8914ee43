#include "query/search.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <mutex>

#include "base/thread_pool.h"
#include "index/flat_search.h"
#include "query/explanation.h"
#include "query/group_key.h"
#include "query/index_search.h"
#include "query/match.h"
#include "query/ranking.h"
#include "query/sound_view.h"

namespace quiver::query {

namespace {

using index::FlatQueries;
using index::FlatScratch;
using index::Hit;
using index::TopK;
using segment::kPageRows;

/// Hits kept at a time: larger requests are searched in batches of queries.
constexpr size_t kMaxKeptHits = 4 << 20;
/// Pages scanned as one piece: 64 Ki rows.
constexpr uint32_t kPagesPerPiece = 16;
/// Below this many value products one thread is faster than handing pieces out.
constexpr double kParallelWork = 32e6;

struct Piece {
  size_t segment;
  uint32_t first_page;
  uint32_t last_page;
};

/// Pieces of all segments that are scanned.
std::vector<Piece> CutIntoPieces(const engine::ReadView& view, const expr::Filter* filter, const IndexPlan& plan) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < view.segments.size(); ++i) {
    if (plan.segments[i].index != nullptr) continue;
    const uint32_t pages = view.segments[i]->page_count();
    const uint32_t step = NamesKeys(filter) ? std::max(pages, 1U) : kPagesPerPiece;
    for (uint32_t page = 0; page < pages; page += step) pieces.push_back({i, page, std::min(page + step, pages)});
  }
  return pieces;
}

/// Scores the rows of a run that the mask holds, or all of them, for all queries.
Status ScanRun(const SearchRequest& request, const FlatQueries& queries, size_t segment_index, uint32_t first,
               uint32_t rows, const uint64_t* mask, std::span<TopK> results, FlatScratch& scratch) {
  QUIVER_ASSIGN_OR_RETURN(const ColumnView vectors,
                          request.view.segments[segment_index]->View(request.field_id, first, rows));
  if (!vectors.present()) return Status::Ok();
  SegmentExplanation* const explained = PartOf(request.explanation, segment_index);
  const StepTimer timer(explained != nullptr ? &explained->search_nanoseconds : nullptr);
  index::FlatScan(queries, vectors, mask, RowId(segment_index, first), results, scratch);
  if (explained != nullptr) {
    uint64_t scored = mask == nullptr ? rows : 0;
    for (uint32_t word = 0; mask != nullptr && word < (rows + 63) / 64; ++word) {
      scored += static_cast<uint64_t>(std::popcount(mask[word]));
    }
    explained->distances.fetch_add(scored * queries.nq(), std::memory_order_relaxed);
  }
  return Status::Ok();
}

/// Scans one piece for all queries.
Status ScanPiece(const SearchRequest& request, const FlatQueries& queries, const Piece& piece, const SegmentPlan& plan,
                 const std::optional<SegmentFilter>& filter, std::span<TopK> results, FlatScratch& scratch) {
  const segment::Segment& segment = *request.view.segments[piece.segment];
  const bool unfiltered = request.filter == nullptr || request.filter->always_true();
  if (plan.masked || (unfiltered && segment.sealed() && segment.AllVisible(VisibilityOf(request.view)))) {
    const uint32_t first = piece.first_page * kPageRows;
    const uint32_t rows = std::min(piece.last_page * kPageRows, segment.row_count()) - first;
    if (request.cancelled && request.cancelled()) {
      return Error(StatusCode::kCancelled, "request was cancelled");
    }
    const uint64_t* mask = plan.masked ? plan.mask.data() + first / 64 : nullptr;
    if (plan.masked) {
      const auto words = std::span(mask, (rows + 63) / 64);
      if (std::all_of(words.begin(), words.end(), [](uint64_t word) { return word == 0; })) return Status::Ok();
    } else if (SegmentExplanation* explained = PartOf(request.explanation, piece.segment); explained != nullptr) {
      explained->matches.fetch_add(rows, std::memory_order_relaxed);
    }
    return ScanRun(request, queries, piece.segment, first, rows, mask, results, scratch);
  }
  return VisitMatches(*filter, piece.first_page, piece.last_page, request.cancelled,
                      [&](uint32_t page, const uint64_t* mask, uint32_t /*count*/) -> Status {
                        const uint32_t first = page * kPageRows;
                        const uint32_t rows = std::min(segment.row_count() - first, kPageRows);
                        return ScanRun(request, queries, piece.segment, first, rows, mask, results, scratch);
                      });
}

/// How many hits to keep of which scores.
struct HitRange {
  size_t keep;
  std::optional<float> radius;
  std::optional<float> range_filter;
};

std::vector<TopK> MakeCollectors(const HitRange& range, MetricType metric, size_t count) {
  TopK empty(range.keep, metric);
  empty.SetRange(range.radius, range.range_filter);
  return std::vector<TopK>(count, empty);
}

/// Scans all segments that the plan gives no index, for all queries.
Status ScanSegments(const SearchRequest& request, const FlatQueries& queries, const HitRange& range,
                    const IndexPlan& plan, std::span<TopK> results, ThreadPool* parallel) {
  const std::vector<Piece> pieces = CutIntoPieces(request.view, request.filter.get(), plan);
  if (pieces.empty()) return Status::Ok();

  double rows = 0;
  std::vector<std::optional<SegmentFilter>> filters(plan.segments.size());
  for (size_t i = 0; i < plan.segments.size(); ++i) {
    const SegmentPlan& segment = plan.segments[i];
    if (segment.index != nullptr) continue;
    if (!segment.masked) {
      filters[i].emplace(request.view, i, request.filter.get(), PartOf(request.explanation, i));
    }
    rows += static_cast<double>(segment.masked ? segment.rows : request.view.segments[i]->row_count());
  }
  const double work =
      rows * static_cast<double>(std::max<int64_t>(queries.dim(), 1)) * static_cast<double>(queries.nq());
  if (parallel == nullptr || pieces.size() == 1 || work < kParallelWork) {
    thread_local FlatScratch scratch;
    for (const Piece& piece : pieces) {
      QUIVER_RETURN_IF_ERROR(
          ScanPiece(request, queries, piece, plan.segments[piece.segment], filters[piece.segment], results, scratch));
    }
    return Status::Ok();
  }
  // Pieces go to whichever thread is free; each keeps its own best hits, merged at the end.
  std::mutex merge_mutex;
  Status first_error;
  const size_t grain = std::max<size_t>(1, pieces.size() / (parallel->thread_count() * 4));
  parallel->ParallelFor(pieces.size(), grain, [&](size_t begin, size_t end) {
    thread_local FlatScratch scratch;
    std::vector<TopK> local = MakeCollectors(range, request.metric, queries.nq());
    Status status;
    for (size_t i = begin; i < end && status.ok(); ++i) {
      const size_t segment = pieces[i].segment;
      status = ScanPiece(request, queries, pieces[i], plan.segments[segment], filters[segment], local, scratch);
    }
    const std::lock_guard lock(merge_mutex);
    if (!status.ok() && first_error.ok()) first_error = status;
    for (size_t query = 0; query < local.size(); ++query) {
      for (const Hit& hit : local[query].TakeSorted()) results[query].Offer(hit.score, hit.row);
    }
  });
  return first_error;
}

/// Searches by scanning alone.
Result<std::vector<TopK>> ScanBatch(const SearchRequest& request, const FlatQueries& queries, const HitRange& range,
                                    ThreadPool* parallel) {
  std::vector<TopK> results = MakeCollectors(range, request.metric, queries.nq());
  IndexPlan none;
  none.segments.resize(request.view.segments.size());
  QUIVER_RETURN_IF_ERROR(ScanSegments(request, queries, range, none, results, parallel));
  return results;
}

/// Searches as planned; indexes that turn out to be damaged leave the plan.
Result<std::vector<TopK>> SearchBatch(const SearchRequest& request, std::span<const std::string_view> raw,
                                      const FlatQueries& queries, const HitRange& range, IndexPlan& plan,
                                      ThreadPool* parallel) {
  for (;;) {
    std::vector<TopK> results = MakeCollectors(range, request.metric, queries.nq());
    if (plan.any()) {
      const size_t keep = request.offset + request.limit;
      QUIVER_ASSIGN_OR_RETURN(const bool sound, SearchIndexes(request, raw, queries, keep, plan, results, parallel));
      if (!sound) continue;
    }
    QUIVER_RETURN_IF_ERROR(ScanSegments(request, queries, range, plan, results, parallel));
    return results;
  }
}

/// A tie across the cut is decided by primary key, which the scan does not see: replaces the hits of that score by all
/// rows that have it. `hits` holds one more than asked for.
Status CompleteTie(const SearchRequest& request, const FieldSchema& field, std::string_view query, ThreadPool* parallel,
                   std::vector<Hit>& hits) {
  const size_t keep = request.offset + request.limit;
  if (keep == 0 || hits.size() <= keep || hits[keep].score != hits[keep - 1].score) return Status::Ok();
  const float score = hits[keep].score;
  const float infinity = std::numeric_limits<float>::infinity();
  const HitRange exactly{.keep = SIZE_MAX,
                         .radius = std::nextafter(score, IsSimilarity(request.metric) ? -infinity : infinity),
                         .range_filter = score};
  QUIVER_ASSIGN_OR_RETURN(const FlatQueries queries, FlatQueries::Make(field.type, field.dim, request.metric, {query}));
  QUIVER_ASSIGN_OR_RETURN(std::vector<TopK> tied, ScanBatch(request, queries, exactly, parallel));
  std::erase_if(hits, [&](const Hit& hit) { return hit.score == score; });
  for (const Hit& hit : tied.front().TakeSorted()) hits.push_back(hit);
  return Status::Ok();
}

bool KeyLess(const Column& keys, size_t a, size_t b) {
  return keys.is_fixed() ? keys.Get<int64_t>(a) < keys.Get<int64_t>(b) : keys.Bytes(a) < keys.Bytes(b);
}

float Round(float score, int decimals) {
  if (decimals < 0) return score;
  const double scale = std::pow(10.0, decimals);
  return static_cast<float>(std::round(static_cast<double>(score) * scale) / scale);
}

Status FetchOutput(const engine::ReadView& view, const std::vector<int64_t>& field_ids,
                   const std::vector<uint64_t>& rows, ColumnBatch& output) {
  output.rows = rows.size();
  for (const int64_t id : field_ids) {
    const FieldSchema* field = view.info->schema->FindById(id);
    if (field == nullptr) return Error(StatusCode::kFieldNotFound, "field not found[field={}]", id);
    QUIVER_ASSIGN_OR_RETURN(Column column, FetchColumn(view, *field, rows));
    output.columns.push_back(std::move(column));
  }
  return Status::Ok();
}

std::vector<uint64_t> RowsOf(std::span<const Hit> hits) {
  std::vector<uint64_t> rows;
  rows.reserve(hits.size());
  for (const Hit& hit : hits) rows.push_back(hit.row);
  return rows;
}

/// The scores choose the page, the request's keys order it; equal rows stay in the order of their scores.
Status Reorder(const SearchRequest& request, std::vector<Hit>& page) {
  QUIVER_ASSIGN_OR_RETURN(const std::vector<Column> columns,
                          FetchOrderColumns(request.view, request.order, RowsOf(page)));
  std::vector<size_t> order(page.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int compared = CompareRows(request.order, columns, a, b);
    return compared != 0 ? compared < 0 : a < b;
  });
  std::vector<Hit> ordered;
  for (const size_t i : order) ordered.push_back(page[i]);
  page = std::move(ordered);
  return Status::Ok();
}

Result<std::vector<std::vector<Hit>>> RankPlain(const SearchRequest& request, const FieldSchema& field,
                                                ThreadPool* parallel) {
  std::vector<std::vector<Hit>> pages;
  const size_t keep = request.offset + request.limit;
  const size_t batch = std::max<size_t>(1, kMaxKeptHits / std::max<size_t>(keep, 1));
  Step planning(request.explanation, "plan");
  QUIVER_ASSIGN_OR_RETURN(IndexPlan plan, PlanIndexes(request, keep, parallel));
  planning.End();
  for (size_t begin = 0; begin < request.queries.size(); begin += batch) {
    const size_t end = std::min(begin + batch, request.queries.size());
    const std::vector<std::string_view> part(request.queries.begin() + static_cast<ptrdiff_t>(begin),
                                             request.queries.begin() + static_cast<ptrdiff_t>(end));
    QUIVER_ASSIGN_OR_RETURN(const FlatQueries queries, FlatQueries::Make(field.type, field.dim, request.metric, part));
    const HitRange range{.keep = keep + 1, .radius = request.radius, .range_filter = request.range_filter};
    Step searching(request.explanation, "search");
    QUIVER_ASSIGN_OR_RETURN(std::vector<TopK> found, SearchBatch(request, part, queries, range, plan, parallel));
    searching.End();
    const Step merging(request.explanation, "merge");
    for (size_t query = 0; query < found.size(); ++query) {
      std::vector<Hit> hits = found[query].TakeSorted();
      // An index has not seen every row of the last score.
      if (!plan.any()) QUIVER_RETURN_IF_ERROR(CompleteTie(request, field, part[query], parallel, hits));
      QUIVER_RETURN_IF_ERROR(OrderTies(request.view, hits));
      if (hits.size() > keep) hits.resize(keep);
      hits.erase(hits.begin(), hits.begin() + static_cast<ptrdiff_t>(std::min(request.offset, hits.size())));
      if (!request.order.empty()) QUIVER_RETURN_IF_ERROR(Reorder(request, hits));
      pages.push_back(std::move(hits));
    }
  }
  return pages;
}

/// Hits that a grouped search asks for first, and the factor by which it asks for more.
constexpr size_t kFirstGroupHits = 1024;
constexpr size_t kMoreGroupHits = 8;

/// Reads ever longer prefixes of the rows by score until all groups are full or all rows were read.
Result<std::vector<Hit>> RankGroups(const SearchRequest& request, const FieldSchema& field, std::string_view query,
                                    ThreadPool* parallel) {
  size_t rows = 0;
  for (const auto& segment : request.view.segments) rows += segment->row_count();
  const size_t wanted = request.offset + request.limit;
  QUIVER_ASSIGN_OR_RETURN(const FlatQueries queries, FlatQueries::Make(field.type, field.dim, request.metric, {query}));
  GroupCollector collector(wanted, request.group->size);
  size_t done = 0;
  size_t keep = std::max(kFirstGroupHits, wanted * request.group->size * 2);
  for (bool ended = false; !ended && !collector.full(); keep *= kMoreGroupHits) {
    keep = std::min(keep, rows + 1);  // one more than there are: the end is seen
    const HitRange range{.keep = keep, .radius = request.radius, .range_filter = request.range_filter};
    QUIVER_ASSIGN_OR_RETURN(std::vector<TopK> found, ScanBatch(request, queries, range, parallel));
    std::vector<Hit> hits = found.front().TakeSorted();
    ended = hits.size() < keep;
    // Rows of the last score may be missing; what stands before it is final, in this round as in the next.
    const float last = hits.empty() ? 0 : hits.back().score;
    while (!ended && !hits.empty() && hits.back().score == last) hits.pop_back();
    hits.erase(hits.begin(), hits.begin() + static_cast<ptrdiff_t>(done));
    QUIVER_RETURN_IF_ERROR(OrderTies(request.view, hits));
    QUIVER_ASSIGN_OR_RETURN(const std::vector<std::string> keys, GroupKeys(request.view, request.group->fields, hits));
    for (size_t i = 0; i < hits.size() && !collector.full(); ++i) collector.Offer(keys[i], hits[i]);
    done += hits.size();
  }
  std::vector<Hit> page;
  const std::vector<std::vector<Hit>> groups = collector.Take();
  for (size_t i = request.offset; i < groups.size(); ++i) page.insert(page.end(), groups[i].begin(), groups[i].end());
  return page;
}

Result<SearchResult> SearchSegments(const SearchRequest& request, ThreadPool* parallel) {
  if (request.explanation != nullptr) {
    request.explanation->Begin(request.view, request.filter);
    request.explanation->queries = request.queries.size();
    request.explanation->field_id = request.field_id;
  }
  QUIVER_ASSIGN_OR_RETURN(const std::vector<std::vector<Hit>> pages, RankQueries(request, parallel));
  const Step output(request.explanation, "output");
  QUIVER_ASSIGN_OR_RETURN(SearchResult result,
                          MakeResult(request.view, pages, request.output_fields,
                                     request.group ? request.group->fields : std::vector<int64_t>()));
  for (float& score : result.scores) score = Round(score, request.round_decimal);
  if (request.explanation != nullptr) request.explanation->results = result.scores.size();
  return result;
}

}  // namespace

Status OrderTies(const engine::ReadView& view, std::vector<Hit>& hits) {
  const auto same = [](const Hit& a, const Hit& b) { return a.score == b.score; };
  const auto first = std::adjacent_find(hits.begin(), hits.end(), same);
  if (first == hits.end()) return Status::Ok();
  QUIVER_ASSIGN_OR_RETURN(const Column keys, FetchColumn(view, view.info->schema->primary(), RowsOf(hits)));
  std::vector<size_t> order(hits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  for (size_t begin = static_cast<size_t>(first - hits.begin()); begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && same(hits[end], hits[begin])) ++end;
    std::sort(order.begin() + static_cast<ptrdiff_t>(begin), order.begin() + static_cast<ptrdiff_t>(end),
              [&](size_t a, size_t b) { return KeyLess(keys, a, b); });
    begin = end;
  }
  std::vector<Hit> ordered;
  ordered.reserve(hits.size());
  for (const size_t i : order) ordered.push_back(hits[i]);
  hits = std::move(ordered);
  return Status::Ok();
}

Result<std::vector<std::string>> GroupKeys(const engine::ReadView& view, const std::vector<int64_t>& fields,
                                           std::span<const Hit> hits) {
  ColumnBatch values;
  QUIVER_RETURN_IF_ERROR(FetchOutput(view, fields, RowsOf(hits), values));
  std::vector<std::string> keys(hits.size());
  for (const Column& column : values.columns) {
    for (size_t row = 0; row < hits.size(); ++row) AppendGroupKey(column, row, keys[row]);
  }
  return keys;
}

Result<std::vector<std::vector<Hit>>> RankQueries(const SearchRequest& request, ThreadPool* parallel) {
  const FieldSchema* field = request.view.info->schema->FindById(request.field_id);
  if (field == nullptr) return Error(StatusCode::kFieldNotFound, "field not found[field={}]", request.field_id);
  if (!request.group) return RankPlain(request, *field, parallel);
  std::vector<std::vector<Hit>> pages;
  for (const std::string_view query : request.queries) {
    const Step searching(request.explanation, "search");
    QUIVER_ASSIGN_OR_RETURN(std::vector<Hit> page, RankGroups(request, *field, query, parallel));
    pages.push_back(std::move(page));
  }
  return pages;
}

Result<SearchResult> MakeResult(const engine::ReadView& view, const std::vector<std::vector<Hit>>& pages,
                                const std::vector<int64_t>& output_fields, const std::vector<int64_t>& group_fields) {
  SearchResult result;
  std::vector<uint64_t> rows;
  for (const std::vector<Hit>& page : pages) {
    for (const Hit& hit : page) {
      rows.push_back(hit.row);
      result.scores.push_back(hit.score);
    }
    result.hits_per_query.push_back(static_cast<int64_t>(page.size()));
  }
  QUIVER_ASSIGN_OR_RETURN(result.primary_keys, FetchColumn(view, view.info->schema->primary(), rows));
  QUIVER_RETURN_IF_ERROR(FetchOutput(view, output_fields, rows, result.output));
  QUIVER_RETURN_IF_ERROR(FetchOutput(view, group_fields, rows, result.groups));
  return result;
}

Result<SearchResult> Search(const SearchRequest& request, ThreadPool* parallel) {
  return OnSoundSegments(request, [&](const SearchRequest& sound) { return SearchSegments(sound, parallel); });
}

namespace {

/// The `keep` matching rows with the smallest keys, ascending. `KeyOf` reads a row's key out of a page of keys.
template <typename Key, typename KeyOf>
Status CollectByKey(const engine::ReadView& view, const expr::Filter* filter, size_t keep, const Cancelled& cancelled,
                    Explanation* explanation, const KeyOf& key_of, std::vector<uint64_t>& rows) {
  using Entry = std::pair<Key, uint64_t>;
  std::vector<Entry> entries;  // a max-heap once it holds `keep` entries
  const int64_t pk = view.info->schema->primary().field_id;
  for (size_t i = 0; i < view.segments.size(); ++i) {
    const segment::Segment& segment = *view.segments[i];
    QUIVER_RETURN_IF_ERROR(VisitMatches(
        view, i, 0, segment.page_count(), filter, cancelled,
        [&](uint32_t page, const uint64_t* mask, uint32_t /*count*/) -> Status {
          const uint32_t first = page * kPageRows;
          const uint32_t count = std::min(segment.row_count() - first, kPageRows);
          QUIVER_ASSIGN_OR_RETURN(const ColumnView keys, segment.View(pk, first, count));
          for (uint32_t word = 0; word < segment::kPageWords; ++word) {
            for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1) {
              const auto at = word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
              Entry entry(key_of(keys, at), RowId(i, first + at));
              if (entries.size() < keep) {
                entries.push_back(std::move(entry));
                if (entries.size() == keep) std::make_heap(entries.begin(), entries.end());
              } else if (keep > 0 && entry < entries.front()) {
                std::pop_heap(entries.begin(), entries.end());
                entries.back() = std::move(entry);
                std::push_heap(entries.begin(), entries.end());
              }
            }
          }
          return Status::Ok();
        },
        PartOf(explanation, i)));
  }
  std::sort(entries.begin(), entries.end());
  rows.reserve(entries.size());
  for (const Entry& entry : entries) rows.push_back(entry.second);
  return Status::Ok();
}

Status CollectRows(const engine::ReadView& view, const expr::Filter* filter, size_t keep, const Cancelled& cancelled,
                   Explanation* explanation, std::vector<uint64_t>& rows) {
  if (view.info->schema->primary().type == DataType::kInt64) {
    return CollectByKey<int64_t>(
        view, filter, keep, cancelled, explanation,
        [](const ColumnView& keys, uint32_t at) { return keys.Get<int64_t>(at); }, rows);
  }
  return CollectByKey<std::string_view>(
      view, filter, keep, cancelled, explanation, [](const ColumnView& keys, uint32_t at) { return keys.Bytes(at); },
      rows);
}

/// Orders rows, which stand in key order, by the request's keys and keeps the first ones.
Status KeepOrdered(const QueryRequest& request, size_t keep, std::vector<uint64_t>& rows) {
  QUIVER_ASSIGN_OR_RETURN(const std::vector<Column> columns, FetchOrderColumns(request.view, request.order, rows));
  std::vector<size_t> order(rows.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const size_t kept = std::min(keep, rows.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(kept), order.end(), [&](size_t a, size_t b) {
    const int compared = CompareRows(request.order, columns, a, b);
    return compared != 0 ? compared < 0 : a < b;
  });
  std::vector<uint64_t> ordered(kept);
  for (size_t i = 0; i < kept; ++i) ordered[i] = rows[order[i]];
  rows = std::move(ordered);
  return Status::Ok();
}

Result<ColumnBatch> QuerySegments(const QueryRequest& request) {
  const size_t keep = request.limit ? request.offset + *request.limit : SIZE_MAX;
  if (request.explanation != nullptr) request.explanation->Begin(request.view, request.filter);
  std::vector<uint64_t> rows;
  const size_t collect = request.order.empty() ? keep : SIZE_MAX;
  Step matching(request.explanation, "match");
  QUIVER_RETURN_IF_ERROR(
      CollectRows(request.view, request.filter.get(), collect, request.cancelled, request.explanation, rows));
  matching.End();
  Step ordering(request.explanation, "order");
  if (!request.order.empty()) QUIVER_RETURN_IF_ERROR(KeepOrdered(request, keep, rows));
  rows.erase(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(std::min(request.offset, rows.size())));
  ordering.End();
  const Step fetching(request.explanation, "output");
  ColumnBatch output;
  QUIVER_RETURN_IF_ERROR(FetchOutput(request.view, request.output_fields, rows, output));
  if (request.explanation != nullptr) request.explanation->results = rows.size();
  return output;
}

/// A read that needs nothing besides the view and the filter.
struct PlainRequest {
  engine::ReadView view;
  std::shared_ptr<const expr::Filter> filter;
};

}  // namespace

Result<ColumnBatch> Query(const QueryRequest& request, ThreadPool* /*parallel*/) {
  return OnSoundSegments(request, QuerySegments);
}

Result<int64_t> Count(const engine::ReadView& view, const std::shared_ptr<const expr::Filter>& filter,
                      const Cancelled& cancelled, Explanation* explanation) {
  return OnSoundSegments(PlainRequest{view, filter}, [&](const PlainRequest& sound) -> Result<int64_t> {
    if (explanation != nullptr) explanation->Begin(sound.view, sound.filter);
    const Step counting(explanation, "count");
    int64_t total = 0;
    const auto count_page = [&](uint32_t /*page*/, const uint64_t* /*mask*/, uint32_t count) {
      total += count;
      return Status::Ok();
    };
    for (size_t i = 0; i < sound.view.segments.size(); ++i) {
      QUIVER_RETURN_IF_ERROR(VisitMatches(sound.view, i, 0, sound.view.segments[i]->page_count(), sound.filter.get(),
                                          cancelled, count_page, PartOf(explanation, i)));
    }
    return total;
  });
}

Result<Column> MatchingKeys(const engine::ReadView& view, const std::shared_ptr<const expr::Filter>& filter,
                            const Cancelled& cancelled) {
  return OnSoundSegments(PlainRequest{view, filter}, [&](const PlainRequest& sound) -> Result<Column> {
    std::vector<uint64_t> rows;
    QUIVER_RETURN_IF_ERROR(CollectRows(sound.view, sound.filter.get(), SIZE_MAX, cancelled, nullptr, rows));
    return FetchColumn(sound.view, sound.view.info->schema->primary(), rows);
  });
}

}  // namespace quiver::query
