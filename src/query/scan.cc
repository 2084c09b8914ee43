#include "query/scan.h"

#include <algorithm>
#include <bit>
#include <mutex>

#include "base/thread_pool.h"
#include "query/explanation.h"
#include "query/match.h"

namespace quiver::query {

namespace {

using index::Hit;
using index::TopK;
using segment::kPageRows;

/// Pages scanned as one piece: 64 Ki rows.
constexpr uint32_t kPagesPerPiece = 16;
/// Below this many value products one thread is faster than handing pieces out.
constexpr double kParallelWork = 32e6;

struct Piece {
  size_t segment;
  uint32_t first_page;
  uint32_t last_page;
};

/// Rows before it are searched through a graph.
uint32_t FirstScanned(const SegmentPlan& plan) { return plan.growing != nullptr ? plan.linked : 0; }

/// Pieces of all segments that are scanned.
std::vector<Piece> CutIntoPieces(const engine::ReadView& view, const expr::Filter* filter, const IndexPlan& plan) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < view.segments.size(); ++i) {
    if (plan.segments[i].index != nullptr || plan.segments[i].is_listed) continue;
    const uint32_t rows = view.segments[i]->row_count();
    if (rows <= FirstScanned(plan.segments[i]) && plan.segments[i].growing != nullptr) continue;
    uint32_t pages = (rows + kPageRows - 1) / kPageRows;
    uint32_t step = NamesKeys(filter) ? std::max(pages, 1U) : kPagesPerPiece;
    if (plan.segments[i].masked && !view.segments[i]->sealed()) {
      // Pages of a growing segment lie apart, and further ones may have come since the mask was made, with rows that
      // the view does not see.
      pages = std::min(pages, static_cast<uint32_t>(plan.segments[i].mask.size() / segment::kPageWords));
      step = 1;
    }
    for (uint32_t page = FirstScanned(plan.segments[i]) / kPageRows; page < pages; page += step)
      pieces.push_back({i, page, std::min(page + step, pages)});
  }
  return pieces;
}

/// Clears the first `count` bits of a mask.
void ClearBefore(uint64_t* mask, uint32_t count) {
  std::fill_n(mask, count / 64, 0);
  if (count % 64 != 0) mask[count / 64] &= ~uint64_t{0} << (count % 64);
}

/// Scores the rows of a run that the mask holds, or all of them, for all queries.
Status ScanRun(const SearchRequest& request, const ScanQueries& queries, size_t segment_index, uint32_t first,
               uint32_t rows, const uint64_t* mask, std::span<TopK> results, ScanScratch& scratch) {
  SegmentExplanation* const explained = PartOf(request.explanation, segment_index);
  const StepTimer timer(explained != nullptr ? &explained->search_nanoseconds : nullptr);
  QUIVER_ASSIGN_OR_RETURN(const bool present, queries.Scan(*request.view.segments[segment_index], first, rows, mask,
                                                           RowId(segment_index, first), results, scratch));
  if (present && explained != nullptr) {
    uint64_t scored = mask == nullptr ? rows : 0;
    for (uint32_t word = 0; mask != nullptr && word < (rows + 63) / 64; ++word) {
      scored += static_cast<uint64_t>(std::popcount(mask[word]));
    }
    explained->distances.fetch_add(scored * queries.vectors().nq(), std::memory_order_relaxed);
  }
  return Status::Ok();
}

/// Scans one piece for all queries.
Status ScanPiece(const SearchRequest& request, const ScanQueries& queries, const Piece& piece, const SegmentPlan& plan,
                 const std::optional<SegmentFilter>& filter, std::span<TopK> results, ScanScratch& scratch) {
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
                        uint64_t rest[segment::kPageWords];
                        if (const uint32_t from = FirstScanned(plan); first < from) {
                          std::copy_n(mask, segment::kPageWords, rest);
                          ClearBefore(rest, from - first);
                          mask = rest;
                        }
                        return ScanRun(request, queries, piece.segment, first, rows, mask, results, scratch);
                      });
}

/// Scores listed rows for all queries.
Status ScanListed(const SearchRequest& request, const ScanQueries& queries, size_t segment_index,
                  std::span<const uint32_t> listed, std::span<TopK> results, ScanScratch& scratch) {
  if (request.cancelled && request.cancelled()) return Error(StatusCode::kCancelled, "request was cancelled");
  SegmentExplanation* const explained = PartOf(request.explanation, segment_index);
  const StepTimer timer(explained != nullptr ? &explained->search_nanoseconds : nullptr);
  QUIVER_ASSIGN_OR_RETURN(const bool present, queries.ScanListed(*request.view.segments[segment_index], listed,
                                                                 RowId(segment_index, 0), results, scratch));
  if (present && explained != nullptr) {
    explained->distances.fetch_add(listed.size() * queries.vectors().nq(), std::memory_order_relaxed);
  }
  return Status::Ok();
}

}  // namespace

std::vector<TopK> MakeCollectors(const HitRange& range, MetricType metric, size_t count) {
  TopK empty(range.keep, metric);
  empty.SetRange(range.radius, range.range_filter);
  return std::vector<TopK>(count, empty);
}

Status ScanSegments(const SearchRequest& request, const ScanQueries& queries, const HitRange& range,
                    const IndexPlan& plan, std::span<TopK> results, ThreadPool* parallel) {
  for (size_t i = 0; i < plan.segments.size(); ++i) {
    if (!plan.segments[i].is_listed) continue;
    thread_local ScanScratch scratch;
    QUIVER_RETURN_IF_ERROR(ScanListed(request, queries, i, plan.segments[i].listed, results, scratch));
  }
  const std::vector<Piece> pieces = CutIntoPieces(request.view, request.filter.get(), plan);
  if (pieces.empty()) return Status::Ok();

  double rows = 0;
  std::vector<std::optional<SegmentFilter>> filters(plan.segments.size());
  for (size_t i = 0; i < plan.segments.size(); ++i) {
    const SegmentPlan& segment = plan.segments[i];
    if (segment.index != nullptr || segment.is_listed) continue;
    if (!segment.masked) {
      filters[i].emplace(request.view, i, request.filter.get(), PartOf(request.explanation, i),
                         FindKnown(request.key_rows, request.view, i));
    }
    if (segment.masked) {
      rows += static_cast<double>(segment.rows);
    } else {
      const uint32_t stored = request.view.segments[i]->row_count();
      const uint64_t most = stored - std::min(stored, FirstScanned(segment));
      rows += static_cast<double>(std::min(most, filters[i]->MostMatches().value_or(most)));
    }
  }
  if (parallel == nullptr || pieces.size() == 1 || rows * queries.work_per_row() < kParallelWork) {
    thread_local ScanScratch scratch;
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
    thread_local ScanScratch scratch;
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

}  // namespace quiver::query
