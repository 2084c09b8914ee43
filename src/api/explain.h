// File: api/explain.h
// Explanations of reads on the wire: how a request asks for one and where the answer holds it. Thread rule: pure
// functions.
#pragma once

#include <google/protobuf/map.h>

#include <chrono>
#include <memory>
#include <string>

#include "api/wire.h"
#include "query/explanation.h"
#include "schema/collection_schema.h"

namespace milvus::proto::schema {
class TemplateValue;
}

namespace quiver::api {

/// Whether a request asks for an explanation, as ReadExplain.
bool WantsExplanation(const KeyValues& params,
                      const google::protobuf::Map<std::string, wire::schema::TemplateValue>& templates);

/// An explanation to be filled where the request asks for one: `explain` among its parameters or, for SDKs that do not
/// forward that, the template value `__explain`. nullptr otherwise.
std::unique_ptr<query::Explanation> ReadExplain(
    const KeyValues& params, const google::protobuf::Map<std::string, wire::schema::TemplateValue>& templates);

/// Writes an explanation as JSON into `extra_info` under "explain"; `arrival` is when the request came.
void EncodeExplanation(query::Explanation& explanation, std::chrono::steady_clock::time_point arrival,
                       wire::common::Status* status);
void EncodeExplanation(query::HybridExplanation& explanation, std::chrono::steady_clock::time_point arrival,
                       wire::common::Status* status);

}  // namespace quiver::api
