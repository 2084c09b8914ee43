// File: api/search_plan.h
// One vector search as its request decides it, alone or as a part of a hybrid search, and how its answer is written.
// Thread rule: a plan belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/compiled_filters.h"
#include "api/output_fields.h"
#include "api/placeholder_codec.h"
#include "api/search_leases.h"
#include "api/wire.h"
#include "base/status.h"
#include "engine/collection.h"
#include "query/explanation.h"
#include "query/search.h"
#include "schema/timestamp.h"

namespace milvus::proto::schema {
class SearchResultData;
}

namespace quiver::api {

/// Everything about one search that its request decides.
struct SearchPlan {
  uint64_t travel = 0;  ///< the moment to read at; 0 = now
  std::shared_ptr<engine::Collection> collection;
  std::shared_ptr<const engine::CollectionInfo> info;
  const FieldSchema* field = nullptr;  ///< of info
  QueryVectors queries;
  query::SearchRequest request;  ///< view and queries are filled when it runs
  std::vector<std::string> partitions;
  OutputFields output;
  TimeZone zone;  ///< in which moments are read and shown
  int64_t limit = 0;
  int round_decimal = -1;
  // Iterators.
  bool iterator = false;     ///< either version: the reply tells its timestamp
  bool iterator_v2 = false;  ///< pages continue where the last one ended
  std::string token;
  std::optional<SearchPosition> position;
  std::unique_ptr<query::Explanation> explanation;  ///< nullptr: not asked for
  bool keep_result = false;                         ///< in the result cache: asked for, and every run gives the same
};

/// Fills field, queries, limit, zone and request (but for view, queries, offset and output fields) from a request whose
/// flattened parameters are `params`; collection and info are set. Errors as published.
Status ReadSearch(const wire::SearchRequest& request, const KeyValues& params, int64_t limit, int64_t max_queries,
                  CompiledFilters& filters, SearchPlan* plan);

/// Writes an answer: `limit` and `round_decimal` as the client asked for, `info` of the collection, moments in `zone`.
void EncodeResults(const query::SearchResult& result, const engine::CollectionInfo& info, const OutputFields& output,
                   int64_t limit, int round_decimal, const query::Grouping* group, const TimeZone& zone,
                   wire::schema::SearchResultData* out);

}  // namespace quiver::api
