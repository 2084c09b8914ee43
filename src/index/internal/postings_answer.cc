#include "index/internal/postings_answer.h"

#include <algorithm>
#include <utility>

#include "index/internal/file_index.h"

namespace quiver::index {

using Range = Postings::Range;

PostingsAnswer::PostingsAnswer(const Postings& postings, std::vector<Range> ranges, bool all, bool repeats)
    : postings_(postings), ranges_(std::move(ranges)), all_(all) {
  nanoseconds = kFindPrice;
  if (all_) {
    most = UINT64_MAX;
    std::sort(ranges_.begin(), ranges_.end(),
              [&](Range a, Range b) { return postings_.CountOf(a) < postings_.CountOf(b); });
  }
  for (const Range& range : ranges_) {
    const uint64_t count = postings_.CountOf(range);
    nanoseconds += postings_.PriceOf(range);
    if (all_) {
      most = std::min(most, count);
    } else {
      most += count;
      // Where a row may hold several values, it may be counted several times.
      least = repeats ? 0 : least + count;
    }
  }
}

void PostingsAnswer::AddTo(expr::RowSet* rows) const {
  if (!all_) return postings_.AddTo(ranges_, rows);
  postings_.AddCommonTo(ranges_, rows);
}

std::vector<Range> MatchingTexts(const Postings& postings, Range range, const expr::LikePattern& pattern, size_t skip) {
  std::vector<Range> ranges;
  for (uint32_t position = range.begin; position < range.end; ++position) {
    // Only a damaged file has shorter ones.
    const std::string_view text = postings.Text(position);
    if (text.size() < skip || !pattern.Matches(text.substr(skip))) continue;
    if (!ranges.empty() && ranges.back().end == position) {
      ++ranges.back().end;
    } else {
      ranges.push_back({position, position + 1});
    }
  }
  return ranges;
}

}  // namespace quiver::index
