// File: query/ranked_stream.h
// RankedStream: the hits of one query over all segments of a view, best first, as many as are asked for. Segments with
// an index are read through its stream of hits (index/vector_index.h), all others are scanned, once for every thousand
// or so hits.
//
//   QUIVER_ASSIGN_OR_RETURN(auto stream, RankedStream::Open(request, query, plan, {.k = 10}));
//   while (!enough && !stream->ended()) QUIVER_RETURN_IF_ERROR(stream->Next(100, {}, parallel, hits));
//   if (!stream->sound()) ...                               // throw the hits away, open anew with WithoutDamaged(plan)
//
// Thread rule: a stream belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "index/flat_search.h"
#include "index/vector_index.h"
#include "query/index_search.h"
#include "query/scan_queries.h"
#include "query/search.h"

namespace quiver::query {

/// How a stream is opened.
struct RankedStreamOptions {
  size_t k = 10;                 ///< hits that are expected to be asked for at first
  bool exact = false;            ///< hits come in exactly the order of their scores
  std::optional<float> nearest;  ///< better hits are not wanted; a hit of this score is
  std::optional<float> radius;   ///< hits beyond need not be given; as SearchRequest::radius
};

class RankedStream {
 public:
  /// Opens a stream for `query` (bytes of the field's type) over the request's view, field, metric and filter. It keeps
  /// what it needs of them; of the plan, which may be shared, indexes and masks. Errors: those of FlatQueries::Make and
  /// of segments.
  static Result<std::unique_ptr<RankedStream>> Open(const SearchRequest& request, std::string_view query,
                                                    std::shared_ptr<const IndexPlan> plan,
                                                    const RankedStreamOptions& options);
  RankedStream(const RankedStream&) = delete;
  RankedStream& operator=(const RankedStream&) = delete;
  ~RankedStream();

  /// Appends at least `count` further hits, and then those of the same score as the last one; fewer at the end only.
  /// `cancelled` is asked during this call.
  Status Next(size_t count, const Cancelled& cancelled, ThreadPool* parallel, std::vector<index::Hit>& hits);
  /// From now on the work is told to `explanation`, which begins anew with the view of this stream; nullptr: no longer.
  /// A stream that was opened for a request with an explanation tells its work to that.
  void ExplainTo(Explanation* explanation);
  /// Every hit was given, but for those that the options leave out.
  [[nodiscard]] bool ended() const;
  /// Whether all indexes that it reads are whole; reports those that are not.
  [[nodiscard]] bool sound() const;
  [[nodiscard]] const engine::ReadView& view() const { return request_.view; }
  /// Bytes held between two calls.
  [[nodiscard]] uint64_t memory_bytes() const;

 private:
  /// The hits of some segments, best first.
  struct Source {
    size_t segment = 0;
    std::unique_ptr<index::HitStream> stream;  ///< nullptr: of all segments that are scanned
    std::vector<index::Hit> hits;
    size_t next = 0;    ///< of hits
    size_t pulled = 0;  ///< asked for last time
    bool ended = false;
    index::IndexCounters told;  ///< of the stream, that an explanation has
  };

  RankedStream(const SearchRequest& request, std::string_view query, std::shared_ptr<const IndexPlan> plan,
               const RankedStreamOptions& options);
  Status OpenSources();
  Status OpenSource(size_t segment, const AskedIndex& asked);
  Status Fill(Source& source, ThreadPool* parallel);
  Status Pull(Source& source);
  Status Scan(Source& source, ThreadPool* parallel);
  [[nodiscard]] bool Better(const index::Hit& a, const index::Hit& b) const;

  SearchRequest request_;  ///< its queries are ours; its `cancelled` is that of the call
  const std::string query_;
  const std::shared_ptr<const IndexPlan> plan_;
  const RankedStreamOptions options_;
  std::optional<ScanQueries> queries_;
  std::vector<Source> sources_;
  size_t scanned_ = 0;  ///< hits of the scan that were given before those it holds now
};

}  // namespace quiver::query
