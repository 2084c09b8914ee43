// File: query/search_cursor.h
// SearchCursor: a search of one query whose hits are asked for page by page, in exact order (iterators). What the first
// page has worked out serves the later ones.
// Thread rule: a cursor belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/status.h"
#include "query/ranked_stream.h"
#include "query/search.h"

namespace quiver::query {

class SearchCursor {
 public:
  /// Opens a cursor at the best hit of the request's range; `given`, rows of exactly that score, are left out: keys as
  /// bytes. The request's limit, offset, groups and order are not read; its queries are one. Errors as of Search.
  static Result<std::unique_ptr<SearchCursor>> Open(const SearchRequest& request, std::unordered_set<std::string> given,
                                                    ThreadPool* parallel);

  /// The next `limit` hits, ties in key order; fewer at the end. Absent: a segment or an index was found damaged, and
  /// what the cursor knows is not to be trusted; open another one where this one stood. Error: kCancelled, those of
  /// segments; then the cursor is of no use.
  Result<std::optional<SearchResult>> Next(size_t limit, const Cancelled& cancelled, ThreadPool* parallel);

  /// The next page is told to `explanation`, as RankedStream::ExplainTo. The first page goes to that of the request.
  void ExplainTo(Explanation* explanation);

  /// Bytes held between two calls.
  [[nodiscard]] uint64_t memory_bytes() const;

 private:
  SearchCursor(const SearchRequest& request, std::unordered_set<std::string> given);
  Status LeaveOutGiven(std::vector<index::Hit>& hits) const;

  engine::ReadView view_;
  std::vector<int64_t> output_fields_;
  std::optional<float> radius_;
  MetricType metric_;
  std::unordered_set<std::string> given_;
  std::unique_ptr<RankedStream> stream_;
  std::vector<index::Hit> pending_;     ///< read and not given
  Explanation* explanation_ = nullptr;  ///< of the next page
};

}  // namespace quiver::query
