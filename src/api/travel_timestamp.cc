#include "api/travel_timestamp.h"

#include <charconv>

#include "schema.pb.h"

namespace quiver::api {

namespace {

constexpr const char* kParameter = "travel_timestamp";
constexpr const char* kTemplate = "__travel_timestamp";

Result<uint64_t> ParseTimestamp(const char* name, const std::string& text) {
  uint64_t timestamp = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), timestamp);
  if (error != std::errc() || end != text.data() + text.size()) {
    return InvalidParameter("{} [{}] is not a timestamp: invalid parameter", name, text);
  }
  return timestamp;
}

}  // namespace

Result<uint64_t> ReadTravelTimestamp(uint64_t request_field, const KeyValues& params,
                                     const google::protobuf::Map<std::string, wire::schema::TemplateValue>& templates) {
  if (const auto found = templates.find(kTemplate); found != templates.end()) {
    if (found->second.has_string_val()) return ParseTimestamp(kTemplate, found->second.string_val());
    if (!found->second.has_int64_val() || found->second.int64_val() < 0) {
      return InvalidParameter("{} is not a timestamp: invalid parameter", kTemplate);
    }
    return static_cast<uint64_t>(found->second.int64_val());
  }
  if (const std::string* text = FindValue(params, kParameter); text != nullptr && !text->empty() && *text != "None") {
    return ParseTimestamp(kParameter, *text);
  }
  return request_field;
}

}  // namespace quiver::api
