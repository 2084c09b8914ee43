#include "query/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "base/thread_pool.h"
#include "index/flat_search.h"
#include "query/match.h"
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

std::vector<Piece> CutIntoPieces(const engine::ReadView& view, const expr::Filter* filter) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < view.segments.size(); ++i) {
    const uint32_t pages = view.segments[i]->page_count();
    const uint32_t step = NamesKeys(filter) ? std::max(pages, 1U) : kPagesPerPiece;
    for (uint32_t page = 0; page < pages; page += step) pieces.push_back({i, page, std::min(page + step, pages)});
  }
  return pieces;
}

/// Scans one piece for all queries.
Status ScanPiece(const SearchRequest& request, const FlatQueries& queries, const Piece& piece, std::span<TopK> results,
                 FlatScratch& scratch) {
  const segment::Segment& segment = *request.view.segments[piece.segment];
  const bool unfiltered = request.filter == nullptr || request.filter->always_true();
  if (unfiltered && segment.sealed() && segment.AllVisible(VisibilityOf(request.view))) {
    const uint32_t first = piece.first_page * kPageRows;
    const uint32_t rows = std::min(piece.last_page * kPageRows, segment.row_count()) - first;
    if (request.cancelled && request.cancelled()) {
      return Error(StatusCode::kCancelled, "request was cancelled");
    }
    QUIVER_ASSIGN_OR_RETURN(const ColumnView vectors, segment.View(request.field_id, first, rows));
    if (vectors.present()) {
      index::FlatScan(queries, vectors, nullptr, RowId(piece.segment, first), results, scratch);
    }
    return Status::Ok();
  }
  return VisitMatches(request.view, piece.segment, piece.first_page, piece.last_page, request.filter.get(),
                      request.cancelled, [&](uint32_t page, const uint64_t* mask, uint32_t /*count*/) -> Status {
                        const uint32_t first = page * kPageRows;
                        const uint32_t rows = std::min(segment.row_count() - first, kPageRows);
                        QUIVER_ASSIGN_OR_RETURN(const ColumnView vectors, segment.View(request.field_id, first, rows));
                        if (vectors.present()) {
                          index::FlatScan(queries, vectors, mask, RowId(piece.segment, first), results, scratch);
                        }
                        return Status::Ok();
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

Result<std::vector<TopK>> SearchBatch(const SearchRequest& request, const FlatQueries& queries, const HitRange& range,
                                      ThreadPool* parallel) {
  std::vector<TopK> results = MakeCollectors(range, request.metric, queries.nq());
  const std::vector<Piece> pieces = CutIntoPieces(request.view, request.filter.get());
  if (pieces.empty()) return results;

  double rows = 0;
  for (const auto& segment : request.view.segments) rows += segment->row_count();
  const double work =
      rows * static_cast<double>(std::max<int64_t>(queries.dim(), 1)) * static_cast<double>(queries.nq());
  if (parallel == nullptr || pieces.size() == 1 || work < kParallelWork) {
    thread_local FlatScratch scratch;
    for (const Piece& piece : pieces) QUIVER_RETURN_IF_ERROR(ScanPiece(request, queries, piece, results, scratch));
    return results;
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
      status = ScanPiece(request, queries, pieces[i], local, scratch);
    }
    const std::lock_guard lock(merge_mutex);
    if (!status.ok() && first_error.ok()) first_error = status;
    for (size_t query = 0; query < local.size(); ++query) {
      for (const Hit& hit : local[query].TakeSorted()) results[query].Offer(hit.score, hit.row);
    }
  });
  QUIVER_RETURN_IF_ERROR(first_error);
  return results;
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
  QUIVER_ASSIGN_OR_RETURN(std::vector<TopK> tied, SearchBatch(request, queries, exactly, parallel));
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

/// Orders equal scores by primary key, cuts offset and limit, and adds the hits to `rows` and `result`.
Status KeepPage(const SearchRequest& request, const FieldSchema& pk, std::vector<Hit> hits, std::vector<uint64_t>& rows,
                SearchResult& result) {
  std::vector<uint64_t> ids;
  ids.reserve(hits.size());
  for (const Hit& hit : hits) ids.push_back(hit.row);
  QUIVER_ASSIGN_OR_RETURN(const Column keys, FetchColumn(request.view, pk, ids));
  std::vector<uint32_t> order(hits.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && hits[end].score == hits[begin].score) ++end;
    std::sort(order.begin() + static_cast<ptrdiff_t>(begin), order.begin() + static_cast<ptrdiff_t>(end),
              [&](uint32_t a, uint32_t b) { return KeyLess(keys, a, b); });
    begin = end;
  }
  const size_t first = std::min(request.offset, order.size());
  const size_t last = std::min(request.offset + request.limit, order.size());
  const std::vector<uint32_t> kept(order.begin() + static_cast<ptrdiff_t>(first),
                                   order.begin() + static_cast<ptrdiff_t>(last));
  result.primary_keys.AppendRows(keys, kept);
  for (const uint32_t i : kept) {
    result.scores.push_back(Round(hits[i].score, request.round_decimal));
    rows.push_back(hits[i].row);
  }
  result.hits_per_query.push_back(static_cast<int64_t>(kept.size()));
  return Status::Ok();
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

Result<SearchResult> SearchSegments(const SearchRequest& request, ThreadPool* parallel) {
  const CollectionSchema& schema = *request.view.info->schema;
  const FieldSchema* field = schema.FindById(request.field_id);
  if (field == nullptr) return Error(StatusCode::kFieldNotFound, "field not found[field={}]", request.field_id);
  SearchResult result;
  result.primary_keys = Column::Make(schema.primary().field_id, schema.primary().type);
  std::vector<uint64_t> rows;
  const size_t keep = request.offset + request.limit;
  const size_t batch = std::max<size_t>(1, kMaxKeptHits / std::max<size_t>(keep, 1));
  for (size_t begin = 0; begin < request.queries.size(); begin += batch) {
    const size_t end = std::min(begin + batch, request.queries.size());
    const std::vector<std::string_view> part(request.queries.begin() + static_cast<ptrdiff_t>(begin),
                                             request.queries.begin() + static_cast<ptrdiff_t>(end));
    QUIVER_ASSIGN_OR_RETURN(const FlatQueries queries,
                            FlatQueries::Make(field->type, field->dim, request.metric, part));
    const HitRange range{.keep = keep + 1, .radius = request.radius, .range_filter = request.range_filter};
    QUIVER_ASSIGN_OR_RETURN(std::vector<TopK> found, SearchBatch(request, queries, range, parallel));
    for (size_t query = 0; query < found.size(); ++query) {
      std::vector<Hit> hits = found[query].TakeSorted();
      QUIVER_RETURN_IF_ERROR(CompleteTie(request, *field, part[query], parallel, hits));
      QUIVER_RETURN_IF_ERROR(KeepPage(request, schema.primary(), std::move(hits), rows, result));
    }
  }
  QUIVER_RETURN_IF_ERROR(FetchOutput(request.view, request.output_fields, rows, result.output));
  return result;
}

}  // namespace

Result<SearchResult> Search(const SearchRequest& request, ThreadPool* parallel) {
  return OnSoundSegments(request, [&](const SearchRequest& sound) { return SearchSegments(sound, parallel); });
}

namespace {

/// The `keep` matching rows with the smallest keys, ascending. `KeyOf` reads a row's key out of a page of keys.
template <typename Key, typename KeyOf>
Status CollectByKey(const engine::ReadView& view, const expr::Filter* filter, size_t keep, const Cancelled& cancelled,
                    const KeyOf& key_of, std::vector<uint64_t>& rows) {
  using Entry = std::pair<Key, uint64_t>;
  std::vector<Entry> entries;  // a max-heap once it holds `keep` entries
  const int64_t pk = view.info->schema->primary().field_id;
  for (size_t i = 0; i < view.segments.size(); ++i) {
    const segment::Segment& segment = *view.segments[i];
    QUIVER_RETURN_IF_ERROR(VisitMatches(view, i, 0, segment.page_count(), filter, cancelled,
                                        [&](uint32_t page, const uint64_t* mask, uint32_t /*count*/) -> Status {
                                          const uint32_t first = page * kPageRows;
                                          const uint32_t count = std::min(segment.row_count() - first, kPageRows);
                                          QUIVER_ASSIGN_OR_RETURN(const ColumnView keys,
                                                                  segment.View(pk, first, count));
                                          for (uint32_t word = 0; word < segment::kPageWords; ++word) {
                                            for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1) {
                                              const auto at = word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
                                              Entry entry(key_of(keys, at), RowId(i, first + at));
                                              if (entries.size() < keep) {
                                                entries.push_back(std::move(entry));
                                                if (entries.size() == keep)
                                                  std::make_heap(entries.begin(), entries.end());
                                              } else if (keep > 0 && entry < entries.front()) {
                                                std::pop_heap(entries.begin(), entries.end());
                                                entries.back() = std::move(entry);
                                                std::push_heap(entries.begin(), entries.end());
                                              }
                                            }
                                          }
                                          return Status::Ok();
                                        }));
  }
  std::sort(entries.begin(), entries.end());
  rows.reserve(entries.size());
  for (const Entry& entry : entries) rows.push_back(entry.second);
  return Status::Ok();
}

Status CollectRows(const engine::ReadView& view, const expr::Filter* filter, size_t keep, const Cancelled& cancelled,
                   std::vector<uint64_t>& rows) {
  if (view.info->schema->primary().type == DataType::kInt64) {
    return CollectByKey<int64_t>(
        view, filter, keep, cancelled, [](const ColumnView& keys, uint32_t at) { return keys.Get<int64_t>(at); }, rows);
  }
  return CollectByKey<std::string_view>(
      view, filter, keep, cancelled, [](const ColumnView& keys, uint32_t at) { return keys.Bytes(at); }, rows);
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
  std::vector<uint64_t> rows;
  const size_t collect = request.order.empty() ? keep : SIZE_MAX;
  QUIVER_RETURN_IF_ERROR(CollectRows(request.view, request.filter.get(), collect, request.cancelled, rows));
  if (!request.order.empty()) QUIVER_RETURN_IF_ERROR(KeepOrdered(request, keep, rows));
  rows.erase(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(std::min(request.offset, rows.size())));
  ColumnBatch output;
  QUIVER_RETURN_IF_ERROR(FetchOutput(request.view, request.output_fields, rows, output));
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
                      const Cancelled& cancelled) {
  return OnSoundSegments(PlainRequest{view, filter}, [&](const PlainRequest& sound) -> Result<int64_t> {
    int64_t total = 0;
    for (size_t i = 0; i < sound.view.segments.size(); ++i) {
      QUIVER_RETURN_IF_ERROR(VisitMatches(sound.view, i, 0, sound.view.segments[i]->page_count(), sound.filter.get(),
                                          cancelled, [&](uint32_t /*page*/, const uint64_t* /*mask*/, uint32_t count) {
                                            total += count;
                                            return Status::Ok();
                                          }));
    }
    return total;
  });
}

Result<Column> MatchingKeys(const engine::ReadView& view, const std::shared_ptr<const expr::Filter>& filter,
                            const Cancelled& cancelled) {
  return OnSoundSegments(PlainRequest{view, filter}, [&](const PlainRequest& sound) -> Result<Column> {
    std::vector<uint64_t> rows;
    QUIVER_RETURN_IF_ERROR(CollectRows(sound.view, sound.filter.get(), SIZE_MAX, cancelled, rows));
    return FetchColumn(sound.view, sound.view.info->schema->primary(), rows);
  });
}

}  // namespace quiver::query
