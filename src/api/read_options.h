// File: api/read_options.h
// What search_params and query_params say, besides what an index understands. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "query/grouping.h"
#include "query/ordering.h"
#include "schema/collection_schema.h"
#include "schema/timestamp.h"

namespace quiver::api {

/// Bounds of limit and offset.
struct PageLimits {
  int64_t max_topk = 16384;
  int64_t max_window = 16384;  ///< offset + limit
};

/// Parses an integer as clients write one; empty where it is none.
std::optional<int64_t> ParseInt(std::string_view text);
/// Value of a boolean key, in any spelling that clients use ("True", "true"); false where it is absent.
bool ReadFlag(const KeyValues& params, std::string_view key);

struct Page {
  int64_t limit = 0;
  int64_t offset = 0;
};
/// topk and offset of a search, checked, with the published errors.
Result<Page> ReadSearchPage(const KeyValues& params, const PageLimits& limits);
/// limit and offset of a query; no limit = all rows. Errors as published.
Result<std::optional<Page>> ReadQueryPage(const KeyValues& params, const PageLimits& limits);

/// Parts of a list separated by commas, without the spaces around them.
std::vector<std::string_view> SplitList(std::string_view text);

/// order_by_fields: `field[:asc|desc[:nulls_first|nulls_last]]`, separated by commas. Nulls stand last ascending and
/// first descending unless said. Errors: kInvalidParameter for unknown fields, types without order, other words;
/// kUnimplemented for JSON and dynamic keys.
Result<std::vector<query::OrderKey>> ReadOrderBy(const KeyValues& params, const CollectionSchema& schema);

/// group_by_field or group_by_fields, and group_size of a search; empty where there is none. strict_group_size changes
/// nothing: groups are always filled as far as rows exist. Errors: kFieldNotFound, kInvalidParameter for types that do
/// not group and sizes out of range; kUnimplemented for JSON and dynamic keys.
Result<std::optional<query::Grouping>> ReadGrouping(const KeyValues& params, const CollectionSchema& schema);

/// The time zone of a request: its parameter `timezone`, else the collection's property, else UTC. Error:
/// kInvalidParameter for a zone that does not exist.
Result<TimeZone> ReadTimeZone(const KeyValues& collection_properties, const KeyValues& params = {});
/// Whether neither names a zone.
bool IsUtc(const KeyValues& collection_properties, const KeyValues& params);

/// Checks `collection_id`, which iterators send so as not to go on in another collection of the same name.
Status CheckCollectionId(const KeyValues& params, int64_t collection_id);

}  // namespace quiver::api
