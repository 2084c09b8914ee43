// File: api/travel_timestamp.h
// Which moment a read asks for. SDKs differ in what they forward, so there are three places: the request's
// travel_timestamp, the key "travel_timestamp" of the search or query parameters, and the filter template value
// "__travel_timestamp" for SDKs that forward neither. Thread rule: a pure function.
#pragma once

#include <google/protobuf/map.h>

#include <cstdint>
#include <string>

#include "api/wire.h"
#include "base/status.h"
#include "schema/collection_schema.h"

namespace quiver::api {

/// The hybrid timestamp to read at; 0 = now. Error: kInvalidParameter where a value is no timestamp.
Result<uint64_t> ReadTravelTimestamp(uint64_t request_field, const KeyValues& params,
                                     const google::protobuf::Map<std::string, wire::schema::TemplateValue>& templates);

}  // namespace quiver::api
