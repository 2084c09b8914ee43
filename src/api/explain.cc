#include "api/explain.h"

#include <utility>

#include "api/read_options.h"
#include "common.pb.h"
#include "schema.pb.h"

namespace quiver::api {

namespace {

constexpr const char* kParameter = "explain";
constexpr const char* kTemplate = "__explain";

}  // namespace

std::unique_ptr<query::Explanation> ReadExplain(
    const KeyValues& params, const google::protobuf::Map<std::string, wire::schema::TemplateValue>& templates) {
  const auto found = templates.find(kTemplate);
  const bool wanted = ReadFlag(params, kParameter) || (found != templates.end() && found->second.bool_val());
  return wanted ? std::make_unique<query::Explanation>() : nullptr;
}

void EncodeExplanation(query::Explanation& explanation, std::chrono::steady_clock::time_point arrival,
                       wire::common::Status* status) {
  const auto took = std::chrono::steady_clock::now() - arrival;
  explanation.steps.emplace_back(
      "total", static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count()));
  (*status->mutable_extra_info())[kParameter] = query::ToJson(explanation);
}

}  // namespace quiver::api
