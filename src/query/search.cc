#include "query/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "base/thread_pool.h"
#include "index/flat_search.h"
#include "query/explanation.h"
#include "query/group_key.h"
#include "query/index_search.h"
#include "query/match.h"
#include "query/ranked_stream.h"
#include "query/ranking.h"
#include "query/scan.h"
#include "query/scan_queries.h"
#include "query/sound_view.h"

namespace quiver::query {

namespace {

using index::Hit;
using index::TopK;
using segment::kPageRows;

/// Hits kept at a time: larger requests are searched in batches of queries.
constexpr size_t kMaxKeptHits = 4 << 20;

/// Searches by scanning alone.
Result<std::vector<TopK>> ScanBatch(const SearchRequest& request, const ScanQueries& queries, const HitRange& range,
                                    ThreadPool* parallel) {
  std::vector<TopK> results = MakeCollectors(range, request.metric, queries.nq());
  IndexPlan none;
  none.segments.resize(request.view.segments.size());
  QUIVER_RETURN_IF_ERROR(ScanSegments(request, queries, range, none, results, parallel));
  return results;
}

/// Searches as planned; indexes that turn out to be damaged leave the plan.
Result<std::vector<TopK>> SearchBatch(const SearchRequest& request, std::span<const std::string_view> raw,
                                      const ScanQueries& queries, const HitRange& range, IndexPlan& plan,
                                      ThreadPool* parallel) {
  for (;;) {
    std::vector<TopK> results = MakeCollectors(range, request.metric, queries.nq());
    if (plan.any()) {
      const size_t keep = request.offset + request.limit;
      QUIVER_ASSIGN_OR_RETURN(const bool sound,
                              SearchIndexes(request, raw, queries.vectors(), keep, plan, results, parallel));
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
  QUIVER_ASSIGN_OR_RETURN(const ScanQueries queries, ScanQueries::Make(request, field, {query}));
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
  for (const Hit& hit : hits) rows.push_back(index::HitRow(hit.row));
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

/// Whether more rows than those of the page may have to be looked at through an index.
bool HasOpenEnd(const SearchRequest& request) {
  return request.index && (request.index->exact || request.radius || request.range_filter);
}

Result<std::vector<std::vector<Hit>>> RankPlain(const SearchRequest& request, const FieldSchema& field,
                                                ThreadPool* parallel) {
  std::vector<std::vector<Hit>> pages;
  const size_t keep = request.offset + request.limit;
  const size_t batch = std::max<size_t>(1, kMaxKeptHits / std::max<size_t>(keep, 1));
  IndexPlan plan;
  plan.segments.resize(request.view.segments.size());
  if (!HasOpenEnd(request)) {
    const Step planning(request.explanation, "plan");
    QUIVER_ASSIGN_OR_RETURN(plan, PlanIndexes(request, keep, parallel));
  }
  for (size_t begin = 0; begin < request.queries.size(); begin += batch) {
    const size_t end = std::min(begin + batch, request.queries.size());
    const std::vector<std::string_view> part(request.queries.begin() + static_cast<ptrdiff_t>(begin),
                                             request.queries.begin() + static_cast<ptrdiff_t>(end));
    QUIVER_ASSIGN_OR_RETURN(const ScanQueries queries, ScanQueries::Make(request, field, part));
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

/// Hits that a stream is asked for at first; each time twice as many as before.
constexpr size_t kFirstHits = 32;
constexpr size_t kMostHits = 8192;

/// Opens a stream and lets `work` read it; opens another one while indexes turn out to be damaged.
template <typename Work>
Status OnStream(const SearchRequest& request, std::string_view query, std::shared_ptr<const IndexPlan> plan,
                const RankedStreamOptions& options, const Work& work) {
  for (;;) {
    QUIVER_ASSIGN_OR_RETURN(const auto stream, RankedStream::Open(request, query, plan, options));
    const Status status = work(*stream);
    if (stream->sound()) return status;
    plan = WithoutDamaged(*plan);
  }
}

/// The hits of one query in a range, or in exact order, out of a stream.
Result<std::vector<Hit>> RankStreamed(const SearchRequest& request, std::string_view query,
                                      const std::shared_ptr<const IndexPlan>& plan, ThreadPool* parallel) {
  const size_t keep = request.offset + request.limit;
  const bool similarity = IsSimilarity(request.metric);
  const auto beyond = [&](const Hit& hit) {
    return request.radius && (similarity ? hit.score <= *request.radius : hit.score >= *request.radius);
  };
  std::vector<Hit> hits;
  const auto read = [&](RankedStream& stream) -> Status {
    hits.clear();
    for (size_t count = kFirstHits; hits.size() < keep && !stream.ended(); count = std::min(2 * count, kMostHits)) {
      QUIVER_RETURN_IF_ERROR(stream.Next(std::min(count, keep - hits.size()), request.cancelled, parallel, hits));
      if (!hits.empty() && beyond(hits.back())) break;
    }
    return Status::Ok();
  };
  const RankedStreamOptions options{.k = std::min(keep, kFirstHits),
                                    .exact = request.index->exact,
                                    .nearest = request.range_filter,
                                    .radius = request.radius};
  QUIVER_RETURN_IF_ERROR(OnStream(request, query, plan, options, read));
  std::erase_if(hits, beyond);
  std::sort(hits.begin(), hits.end(), [&](const Hit& a, const Hit& b) {
    return a.score != b.score ? (a.score > b.score) == similarity : a.row < b.row;
  });
  QUIVER_RETURN_IF_ERROR(OrderTies(request.view, hits));
  if (hits.size() > keep) hits.resize(keep);
  hits.erase(hits.begin(), hits.begin() + static_cast<ptrdiff_t>(std::min(request.offset, hits.size())));
  if (!request.order.empty()) QUIVER_RETURN_IF_ERROR(Reorder(request, hits));
  return hits;
}

/// The rows of groups one after another, groups by their best rows; a stream is only nearly in order.
std::vector<Hit> OrderGroups(std::vector<std::vector<Hit>> groups, size_t offset, MetricType metric) {
  const bool similarity = IsSimilarity(metric);
  std::vector<size_t> order;
  const auto better = [&](float a, float b) { return similarity ? a > b : a < b; };
  std::vector<Hit> page;
  std::vector<std::vector<Hit>> sorted;
  for (std::vector<Hit>& group : groups) {
    order.resize(group.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return group[a].score != group[b].score ? better(group[a].score, group[b].score) : a < b;
    });
    sorted.emplace_back();
    for (const size_t i : order) sorted.back().push_back(group[i]);
  }
  order.resize(sorted.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const float x = sorted[a].front().score;
    const float y = sorted[b].front().score;
    return x != y ? better(x, y) : a < b;
  });
  for (size_t i = offset; i < order.size(); ++i) {
    page.insert(page.end(), sorted[order[i]].begin(), sorted[order[i]].end());
  }
  return page;
}

/// Reads the rows by score until all groups are full or all rows were read.
Result<std::vector<Hit>> RankGroups(const SearchRequest& request, std::string_view query,
                                    const std::shared_ptr<const IndexPlan>& plan, ThreadPool* parallel) {
  const size_t wanted = request.offset + request.limit;
  GroupCollector collector(wanted, request.group->size);
  const size_t first = std::clamp(2 * wanted * request.group->size, 2 * kFirstHits, kMostHits);
  const auto read = [&](RankedStream& stream) -> Status {
    collector.Take();
    std::vector<Hit> hits;
    for (size_t count = first; !collector.full() && !stream.ended(); count = std::min(2 * count, kMostHits)) {
      hits.clear();
      QUIVER_RETURN_IF_ERROR(stream.Next(count, request.cancelled, parallel, hits));
      QUIVER_RETURN_IF_ERROR(OrderTies(request.view, hits));
      QUIVER_ASSIGN_OR_RETURN(const std::vector<std::string> keys,
                              GroupKeys(request.view, request.group->fields, hits));
      for (size_t i = 0; i < hits.size() && !collector.full(); ++i) collector.Offer(keys[i], hits[i]);
    }
    return Status::Ok();
  };
  const RankedStreamOptions options{
      .k = first, .exact = false, .nearest = request.range_filter, .radius = request.radius};
  QUIVER_RETURN_IF_ERROR(OnStream(request, query, plan, options, read));
  return OrderGroups(collector.Take(), request.offset, request.metric);
}

/// Ranks each query for itself, by `rank(query, parallel)`; several at a time where cores are idle.
template <typename Rank>
Result<std::vector<std::vector<Hit>>> RankEach(const SearchRequest& request, ThreadPool* parallel, const Rank& rank) {
  std::vector<std::vector<Hit>> pages(request.queries.size());
  if (parallel == nullptr || pages.size() == 1) {
    for (size_t i = 0; i < pages.size(); ++i) {
      QUIVER_ASSIGN_OR_RETURN(pages[i], rank(request.queries[i], parallel));
    }
    return pages;
  }
  std::mutex mutex;
  Status first_error;
  parallel->ParallelFor(pages.size(), 1, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      auto page = rank(request.queries[i], nullptr);
      const std::lock_guard lock(mutex);
      if (page.ok()) {
        pages[i] = *std::move(page);
      } else if (first_error.ok()) {
        first_error = page.status();
      }
    }
  });
  QUIVER_RETURN_IF_ERROR(first_error);
  return pages;
}

Result<SearchResult> SearchSegments(const SearchRequest& request, ThreadPool* parallel) {
  if (request.explanation != nullptr) {
    request.explanation->Begin(request.view, request.filter, request.queries.size(), request.field_id);
  }
  QUIVER_ASSIGN_OR_RETURN(const std::vector<std::vector<Hit>> pages, RankQueries(request, parallel));
  const Step output(request.explanation, "output");
  QUIVER_ASSIGN_OR_RETURN(
      SearchResult result,
      MakeResult(request.view, pages, request.output_fields,
                 request.group ? request.group->fields : std::vector<int64_t>(), FindsElements(request)));
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
              [&](size_t a, size_t b) {
                if (KeyLess(keys, a, b)) return true;
                // Elements of one row stand in their order.
                return !KeyLess(keys, b, a) && index::HitElement(hits[a].row) < index::HitElement(hits[b].row);
              });
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
  if (!request.group && !HasOpenEnd(request)) return RankPlain(request, *field, parallel);
  // How many rows are read is not known beforehand.
  Step planning(request.explanation, "plan");
  QUIVER_ASSIGN_OR_RETURN(IndexPlan chosen, PlanIndexes(request, 1, parallel));
  planning.End();
  if (!request.group && !chosen.any()) return RankPlain(request, *field, parallel);
  const auto plan = std::make_shared<const IndexPlan>(std::move(chosen));
  const Step searching(request.explanation, "search");
  return RankEach(request, parallel, [&](std::string_view query, ThreadPool* idle) {
    return request.group ? RankGroups(request, query, plan, idle) : RankStreamed(request, query, plan, idle);
  });
}

bool FindsElements(const SearchRequest& request) {
  const FieldSchema* field = request.view.info->schema->FindById(request.field_id);
  return field != nullptr && field->type == DataType::kArrayOfVector && !IsMaxSim(request.metric);
}

Result<SearchResult> MakeResult(const engine::ReadView& view, const std::vector<std::vector<Hit>>& pages,
                                const std::vector<int64_t>& output_fields, const std::vector<int64_t>& group_fields,
                                bool elements) {
  SearchResult result;
  std::vector<uint64_t> rows;
  for (const std::vector<Hit>& page : pages) {
    for (const Hit& hit : page) {
      rows.push_back(index::HitRow(hit.row));
      if (elements) result.elements.push_back(index::HitElement(hit.row));
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
