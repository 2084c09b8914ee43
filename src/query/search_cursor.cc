#include "query/search_cursor.h"

#include <algorithm>
#include <utility>

#include "query/explanation.h"
#include "query/match.h"
#include "query/ranking.h"
#include "query/sound_view.h"

namespace quiver::query {

using index::Hit;

SearchCursor::SearchCursor(const SearchRequest& request, std::unordered_set<std::string> given)
    : view_(request.view),
      output_fields_(request.output_fields),
      radius_(request.radius),
      metric_(request.metric),
      given_(std::move(given)),
      explanation_(request.explanation) {}

Result<std::unique_ptr<SearchCursor>> SearchCursor::Open(const SearchRequest& request,
                                                         std::unordered_set<std::string> given, ThreadPool* parallel) {
  return OnSoundSegments(request, [&](const SearchRequest& sound) -> Result<std::unique_ptr<SearchCursor>> {
    if (sound.view.info->schema->FindById(sound.field_id) == nullptr) {
      return Error(StatusCode::kFieldNotFound, "field not found[field={}]", sound.field_id);
    }
    std::unique_ptr<SearchCursor> cursor(new SearchCursor(sound, given));
    SearchRequest exact = sound;
    if (exact.index) exact.index->exact = true;
    if (exact.explanation != nullptr) exact.explanation->Begin(exact.view, exact.filter, 1, exact.field_id);
    Step planning(exact.explanation, "plan");
    QUIVER_ASSIGN_OR_RETURN(IndexPlan plan, PlanIndexes(exact, 1, parallel));
    planning.End();
    constexpr size_t kFirstHits = 128;
    const RankedStreamOptions options{
        .k = kFirstHits, .exact = true, .nearest = sound.range_filter, .radius = sound.radius};
    QUIVER_ASSIGN_OR_RETURN(
        cursor->stream_,
        RankedStream::Open(exact, sound.queries.front(), std::make_shared<const IndexPlan>(std::move(plan)), options));
    return cursor;
  });
}

/// Drops hits that pages before have given.
Status SearchCursor::LeaveOutGiven(std::vector<Hit>& hits) const {
  if (given_.empty() || hits.empty()) return Status::Ok();
  std::vector<uint64_t> rows;
  for (const Hit& hit : hits) rows.push_back(hit.row);
  QUIVER_ASSIGN_OR_RETURN(const Column keys, FetchColumn(view_, view_.info->schema->primary(), rows));
  size_t kept = 0;
  for (size_t i = 0; i < hits.size(); ++i) {
    if (!given_.contains(std::string(keys.Bytes(i)))) hits[kept++] = hits[i];
  }
  hits.resize(kept);
  return Status::Ok();
}

Result<std::optional<SearchResult>> SearchCursor::Next(size_t limit, const Cancelled& cancelled, ThreadPool* parallel) {
  const bool similarity = IsSimilarity(metric_);
  const auto beyond = [&](const Hit& hit) {
    return radius_ && (similarity ? hit.score <= *radius_ : hit.score >= *radius_);
  };
  bool ended = false;
  Step searching(explanation_, "search");
  while (pending_.size() < limit && !ended) {
    std::vector<Hit> hits;
    QUIVER_RETURN_IF_ERROR(stream_->Next(limit - pending_.size(), cancelled, parallel, hits));
    ended = stream_->ended() || hits.empty() || beyond(hits.back());
    std::erase_if(hits, beyond);
    QUIVER_RETURN_IF_ERROR(OrderTies(view_, hits));
    QUIVER_RETURN_IF_ERROR(LeaveOutGiven(hits));
    pending_.insert(pending_.end(), hits.begin(), hits.end());
  }
  searching.End();
  const Step output(explanation_, "output");
  const auto end = pending_.begin() + static_cast<ptrdiff_t>(std::min(limit, pending_.size()));
  const std::vector<std::vector<Hit>> pages = {{pending_.begin(), end}};
  pending_.erase(pending_.begin(), end);
  QUIVER_ASSIGN_OR_RETURN(SearchResult result, MakeResult(view_, pages, output_fields_, {}, false));
  if (explanation_ != nullptr) {
    explanation_->results = result.scores.size();
    ExplainTo(nullptr);  // the cursor outlives the request
  }
  if (HasFenced(view_) || !stream_->sound()) return std::optional<SearchResult>();
  return std::optional(std::move(result));
}

void SearchCursor::ExplainTo(Explanation* explanation) {
  explanation_ = explanation;
  stream_->ExplainTo(explanation);
}

uint64_t SearchCursor::memory_bytes() const {
  return sizeof(*this) + stream_->memory_bytes() + pending_.capacity() * sizeof(Hit);
}

}  // namespace quiver::query
