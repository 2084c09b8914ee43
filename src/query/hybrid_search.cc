#include "query/hybrid_search.h"

#include <algorithm>
#include <unordered_set>
#include <utility>
#include <vector>

#include "index/array_search.h"
#include "query/explanation.h"
#include "query/ranking.h"
#include "query/sound_view.h"

namespace quiver::query {

namespace {

using index::Hit;

double GroupScore(const std::vector<Hit>& group, GroupScorer scorer) {
  if (scorer == GroupScorer::kMax) return group.front().score;
  double sum = 0;
  for (const Hit& hit : group) sum += hit.score;
  return scorer == GroupScorer::kSum ? sum : sum / static_cast<double>(group.size());
}

template <typename T>
std::vector<T> CutPage(std::vector<T> items, size_t offset, size_t limit) {
  items.erase(items.begin(), items.begin() + static_cast<ptrdiff_t>(std::min(offset, items.size())));
  if (items.size() > limit) items.resize(limit);
  return items;
}

Result<std::vector<Hit>> GroupFused(const HybridRequest& request, const std::vector<Hit>& fused) {
  QUIVER_ASSIGN_OR_RETURN(const std::vector<std::string> keys, GroupKeys(request.view, request.group->fields, fused));
  GroupCollector collector(SIZE_MAX, request.group->size);
  for (size_t i = 0; i < fused.size(); ++i) collector.Offer(keys[i], fused[i]);
  std::vector<std::vector<Hit>> groups = collector.Take();
  std::vector<std::pair<double, size_t>> order;  // by score, then in the order of the best rows
  for (size_t i = 0; i < groups.size(); ++i) order.emplace_back(-GroupScore(groups[i], request.group_scorer), i);
  std::sort(order.begin(), order.end());
  std::vector<Hit> page;
  for (const auto& [score, i] : CutPage(std::move(order), request.offset, request.limit)) {
    page.insert(page.end(), groups[i].begin(), groups[i].end());
  }
  return page;
}

/// Makes hits of elements, best first, hits of rows: each counts by its best element.
void KeepRows(std::vector<Hit>& hits) {
  std::unordered_set<uint64_t> seen;
  for (Hit& hit : hits) hit.row = index::HitRow(hit.row);
  std::erase_if(hits, [&seen](const Hit& hit) { return !seen.insert(hit.row).second; });
}

Result<SearchResult> FuseSegments(const HybridRequest& request, ThreadPool* parallel) {
  const size_t nq = request.searches.front().queries.size();
  std::vector<std::vector<RankedList>> lists(nq);
  HybridExplanation* const explanation = request.explanation;
  if (explanation != nullptr) explanation->Begin(request.view, request.searches, request.fusion);
  Step searching(explanation, "search");
  for (size_t i = 0; i < request.searches.size(); ++i) {
    SearchRequest search = request.searches[i];
    search.view = request.view;
    if (explanation != nullptr) search.explanation = &explanation->searches[i];
    QUIVER_ASSIGN_OR_RETURN(std::vector<std::vector<Hit>> pages, RankQueries(search, parallel));
    for (size_t query = 0; query < nq; ++query) {
      if (FindsElements(search)) KeepRows(pages[query]);
      if (search.explanation != nullptr) search.explanation->results += pages[query].size();
      lists[query].push_back({.metric = search.metric, .hits = std::move(pages[query])});
    }
  }
  searching.End();
  Step ranking(explanation, "rank");
  std::vector<std::vector<Hit>> pages;
  for (const std::vector<RankedList>& ranked : lists) {
    std::vector<Hit> fused = Fuse(ranked, request.fusion);
    if (explanation != nullptr) explanation->fused += fused.size();
    QUIVER_RETURN_IF_ERROR(OrderTies(request.view, fused));
    if (request.group) {
      QUIVER_ASSIGN_OR_RETURN(fused, GroupFused(request, fused));
    } else {
      fused = CutPage(std::move(fused), request.offset, request.limit);
    }
    pages.push_back(std::move(fused));
  }
  ranking.End();
  const Step output(explanation, "output");
  QUIVER_ASSIGN_OR_RETURN(SearchResult result,
                          MakeResult(request.view, pages, request.output_fields,
                                     request.group ? request.group->fields : std::vector<int64_t>(), false));
  if (explanation != nullptr) explanation->results = result.scores.size();
  return result;
}

}  // namespace

Result<SearchResult> HybridSearch(const HybridRequest& request, ThreadPool* parallel) {
  return OnSoundSegments(request, [&](const HybridRequest& sound) { return FuseSegments(sound, parallel); });
}

}  // namespace quiver::query
