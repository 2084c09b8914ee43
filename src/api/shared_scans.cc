#include "api/shared_scans.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

namespace quiver::api {

SharedScans::SharedScans(size_t most_waiting)
    : most_waiting_(most_waiting),
      shared_(metrics::Registry::Global().GetCounter("quiver_shared_searches_total",
                                                     "Searches that were answered by the scan of another one.")) {}

SharedScans::Place SharedScans::Add(const std::string& name, WaitingSearch search) {
  const std::lock_guard lock(mutex_);
  if (most_waiting_ != 0 && waiting_ >= most_waiting_) return Place::kFull;
  ++waiting_;
  const auto [place, first] = by_name_.try_emplace(name);
  place->second.push_back(std::move(search));
  return first ? Place::kFirst : Place::kWaits;
}

std::vector<WaitingSearch> SharedScans::Take(const std::string& name, bool* more) {
  std::vector<WaitingSearch> taken;
  const std::lock_guard lock(mutex_);
  *more = false;
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return taken;
  std::deque<WaitingSearch>& waiting = found->second;
  const auto count = static_cast<ptrdiff_t>(std::min(waiting.size(), kMostTogether));
  taken.assign(std::make_move_iterator(waiting.begin()), std::make_move_iterator(waiting.begin() + count));
  waiting.erase(waiting.begin(), waiting.begin() + count);
  waiting_ -= taken.size();
  *more = !waiting.empty();
  if (!*more) by_name_.erase(found);
  if (taken.size() > 1) shared_.Add(taken.size() - 1);
  return taken;
}

std::vector<WaitingSearch> SharedScans::TakeAll(const std::string& name) {
  std::vector<WaitingSearch> taken;
  const std::lock_guard lock(mutex_);
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return taken;
  std::move(found->second.begin(), found->second.end(), std::back_inserter(taken));
  waiting_ -= taken.size();
  by_name_.erase(found);
  return taken;
}

std::vector<query::SearchResult> SplitResult(const query::SearchResult& result, std::span<const size_t> counts) {
  std::vector<query::SearchResult> parts;
  size_t query = 0;
  size_t begin = 0;
  for (const size_t count : counts) {
    query::SearchResult& part = parts.emplace_back();
    const auto first = result.hits_per_query.begin() + static_cast<ptrdiff_t>(query);
    part.hits_per_query.assign(first, first + static_cast<ptrdiff_t>(count));
    const size_t end = begin + static_cast<size_t>(
                                   std::accumulate(part.hits_per_query.begin(), part.hits_per_query.end(), int64_t{0}));
    std::vector<uint32_t> rows(end - begin);
    std::iota(rows.begin(), rows.end(), static_cast<uint32_t>(begin));
    const auto rows_of = [&](const Column& from) {
      Column some;
      some.field_id = from.field_id;
      some.type = from.type;
      some.element_type = from.element_type;
      some.width = from.width;
      some.AppendRows(from, rows);
      return some;
    };
    part.primary_keys = rows_of(result.primary_keys);
    part.scores.assign(result.scores.begin() + static_cast<ptrdiff_t>(begin),
                       result.scores.begin() + static_cast<ptrdiff_t>(end));
    if (!result.elements.empty()) {
      part.elements.assign(result.elements.begin() + static_cast<ptrdiff_t>(begin),
                           result.elements.begin() + static_cast<ptrdiff_t>(end));
    }
    part.output.rows = rows.size();
    for (const Column& column : result.output.columns) part.output.columns.push_back(rows_of(column));
    query += count;
    begin = end;
  }
  return parts;
}

}  // namespace quiver::api
