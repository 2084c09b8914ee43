#include "api/explain.h"

#include <utility>

#include "api/read_options.h"
#include "common.pb.h"
#include "schema.pb.h"

namespace quiver::api {

namespace {

constexpr const char* kParameter = "explain";
constexpr const char* kTemplate = "__explain";

template <typename Explained>
void Encode(Explained& explanation, std::chrono::steady_clock::time_point arrival, wire::common::Status* status) {
  const auto took = std::chrono::steady_clock::now() - arrival;
  explanation.steps.emplace_back(
      "total", static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count()));
  (*status->mutable_extra_info())[kParameter] = query::ToJson(explanation);
}

}  // namespace

bool WantsExplanation(const KeyValues& params,
                      const google::protobuf::Map<std::string, wire::schema::TemplateValue>& templates) {
  const auto found = templates.find(kTemplate);
  return ReadFlag(params, kParameter) || (found != templates.end() && found->second.bool_val());
}

std::unique_ptr<query::Explanation> ReadExplain(
    const KeyValues& params, const google::protobuf::Map<std::string, wire::schema::TemplateValue>& templates) {
  return WantsExplanation(params, templates) ? std::make_unique<query::Explanation>() : nullptr;
}

void EncodeExplanation(query::Explanation& explanation, std::chrono::steady_clock::time_point arrival,
                       wire::common::Status* status) {
  Encode(explanation, arrival, status);
}

void EncodeExplanation(query::HybridExplanation& explanation, std::chrono::steady_clock::time_point arrival,
                       wire::common::Status* status) {
  Encode(explanation, arrival, status);
}

}  // namespace quiver::api
