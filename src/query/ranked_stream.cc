#include "query/ranked_stream.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "query/explanation.h"
#include "query/match.h"
#include "query/scan.h"
#include "segment/segment.h"

namespace quiver::query {

namespace {

using index::Hit;

/// Hits taken from the stream of a segment at a time, first and at most.
constexpr size_t kLeastPulled = 16;
constexpr size_t kMostPulled = 4096;
/// Hits kept by the first scan, and the factor by which the next one keeps more.
constexpr size_t kLeastScanned = 1024;
constexpr size_t kMoreScanned = 8;

}  // namespace

RankedStream::RankedStream(const SearchRequest& request, std::string_view query, std::shared_ptr<const IndexPlan> plan,
                           const RankedStreamOptions& options)
    : request_(request), query_(query), plan_(std::move(plan)), options_(options) {
  request_.queries = {query_};
  request_.cancelled = nullptr;
}

RankedStream::~RankedStream() = default;

Result<std::unique_ptr<RankedStream>> RankedStream::Open(const SearchRequest& request, std::string_view query,
                                                         std::shared_ptr<const IndexPlan> plan,
                                                         const RankedStreamOptions& options) {
  std::unique_ptr<RankedStream> stream(new RankedStream(request, query, std::move(plan), options));
  QUIVER_RETURN_IF_ERROR(stream->OpenSources());
  return stream;
}

Status RankedStream::OpenSources() {
  const FieldSchema* field = request_.view.info->schema->FindById(request_.field_id);
  QUIVER_ASSIGN_OR_RETURN(queries_, ScanQueries::Make(request_, *field, request_.queries));
  bool scanned = false;
  for (size_t i = 0; i < plan_->segments.size(); ++i) {
    const std::vector<AskedIndex> indexes = plan_->segments[i].asked();
    if (indexes.empty() || !plan_->segments[i].listed.empty()) scanned = true;
    for (const AskedIndex& asked : indexes) QUIVER_RETURN_IF_ERROR(OpenSource(i, asked));
  }
  if (scanned) sources_.emplace_back();
  return Status::Ok();
}

Status RankedStream::OpenSource(size_t segment, const AskedIndex& asked) {
  const segment::SegmentIndex& index = *asked.index;
  QUIVER_ASSIGN_OR_RETURN(const ColumnView vectors, request_.view.segments[segment]->View(
                                                        request_.field_id, index.first_row(), index.row_count()));
  if (!vectors.present()) return Status::Ok();
  const index::StreamOptions options{
      .search = index.Tuned(
          SearchOptionsOf(*request_.index, options_.k, [this] { return request_.cancelled && request_.cancelled(); })),
      .exact = options_.exact,
      .nearest = options_.nearest};
  auto stream = index.index().OpenStream(queries_->vectors(), 0, vectors, asked.filter, options,
                                         RowId(segment, index.first_row()));
  if (stream.ok()) {
    Source& source = sources_.emplace_back();
    source.segment = segment;
    source.stream = *std::move(stream);
    return Status::Ok();
  }
  if (stream.status().code() != StatusCode::kCorruption) return stream.status();
  // Its answers are missing: the caller learns it from sound().
  index.ReportDamage(stream.status().message());
  return Status::Ok();
}

bool RankedStream::Better(const Hit& a, const Hit& b) const {
  if (a.score != b.score) return IsSimilarity(request_.metric) ? a.score > b.score : a.score < b.score;
  return a.row < b.row;
}

/// Scans for the hits that follow those given so far: all of the first ones again, in one order, and drops what is
/// known.
Status RankedStream::Scan(Source& source, ThreadPool* parallel) {
  scanned_ += source.hits.size();
  const size_t keep = std::max(kLeastScanned + 2 * options_.k, kMoreScanned * scanned_);
  const HitRange range{.keep = keep, .radius = options_.radius, .range_filter = options_.nearest};
  std::vector<index::TopK> found = MakeCollectors(range, request_.metric, 1);
  QUIVER_RETURN_IF_ERROR(ScanSegments(request_, *queries_, range, *plan_, found, parallel));
  source.hits = found.front().TakeSorted();
  source.ended = source.hits.size() < keep;
  source.hits.erase(source.hits.begin(), source.hits.begin() + static_cast<ptrdiff_t>(scanned_));
  source.next = 0;
  return Status::Ok();
}

/// Reads further hits from the stream of a segment.
Status RankedStream::Pull(Source& source) {
  SegmentExplanation* const explained = PartOf(request_.explanation, source.segment);
  const StepTimer timer(explained != nullptr ? &explained->search_nanoseconds : nullptr);
  source.pulled = std::clamp(source.pulled == 0 ? options_.k : 2 * source.pulled, kLeastPulled, kMostPulled);
  source.hits.clear();
  source.next = 0;
  const Status status = source.stream->Next(source.pulled, source.hits);
  source.ended = source.stream->ended();
  if (explained != nullptr) {
    const std::lock_guard lock(explained->mutex);
    explained->Add(source.stream->counters(), source.told);
    source.told = source.stream->counters();
  }
  return status;
}

/// Brings the next hit of a source to its place.
Status RankedStream::Fill(Source& source, ThreadPool* parallel) {
  if (source.next < source.hits.size() || source.ended) return Status::Ok();
  return source.stream == nullptr ? Scan(source, parallel) : Pull(source);
}

Status RankedStream::Next(size_t count, const Cancelled& cancelled, ThreadPool* parallel, std::vector<Hit>& hits) {
  request_.cancelled = cancelled;
  Status status;
  for (size_t given = 0;; ++given) {
    Source* best = nullptr;
    for (Source& source : sources_) {
      status = Fill(source, parallel);
      if (!status.ok()) break;
      if (source.next == source.hits.size()) continue;
      if (best == nullptr || Better(source.hits[source.next], best->hits[best->next])) best = &source;
    }
    if (!status.ok() || best == nullptr) break;
    const Hit& hit = best->hits[best->next];
    if (given >= count && (given == 0 || hit.score != hits.back().score)) break;
    hits.push_back(hit);
    ++best->next;
  }
  request_.cancelled = nullptr;
  return status;
}

void RankedStream::ExplainTo(Explanation* explanation) {
  request_.explanation = explanation;
  if (explanation == nullptr) return;
  explanation->Begin(request_.view, request_.filter, 1, request_.field_id);
  for (size_t i = 0; i < plan_->segments.size(); ++i) {
    const SegmentPlan& plan = plan_->segments[i];
    if (!plan.indexed()) continue;
    SegmentExplanation& one = explanation->segments[i];
    one.index_id = request_.index->index_id;
    one.matches = plan.rows;
    for (const AskedIndex& asked : plan.asked()) {
      if (asked.index->is_part()) one.part_rows += asked.index->row_count();
    }
    one.parts = static_cast<uint32_t>(plan.parts.size());
    if (request_.filter != nullptr) one.path = FilterPath::kKeptAnswer;
  }
}

bool RankedStream::ended() const {
  return std::all_of(sources_.begin(), sources_.end(),
                     [](const Source& source) { return source.ended && source.next == source.hits.size(); });
}

bool RankedStream::sound() const {
  bool sound = true;
  for (const SegmentPlan& plan : plan_->segments) {
    for (const AskedIndex& asked : plan.asked()) {
      if (!asked.index->damaged()) continue;
      asked.index->ReportDamage("its file cannot be read");
      sound = false;
    }
  }
  return sound;
}

uint64_t RankedStream::memory_bytes() const {
  uint64_t bytes = sizeof(*this) + query_.size();
  for (const SegmentPlan& plan : plan_->segments) {
    bytes += plan.mask.capacity() * sizeof(uint64_t) + plan.listed.capacity() * sizeof(uint32_t);
    for (const PartPlan& part : plan.parts) bytes += part.mask.capacity() * sizeof(uint64_t);
  }
  for (const Source& source : sources_) {
    bytes += source.hits.capacity() * sizeof(Hit);
    if (source.stream != nullptr) bytes += source.stream->memory_bytes();
  }
  return bytes;
}

}  // namespace quiver::query
