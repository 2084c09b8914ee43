#include "api/read_options.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "query/aggregate.h"
#include "schema/index_params.h"

namespace quiver::api {

std::optional<int64_t> ParseInt(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool ReadFlag(const KeyValues& params, std::string_view key) {
  const std::string* value = FindValue(params, key);
  return value != nullptr && ParseBool(*value).value_or(false);
}

Result<Page> ReadSearchPage(const KeyValues& params, const PageLimits& limits) {
  Page page;
  const std::string* topk = FindValue(params, "topk");
  if (topk == nullptr) topk = FindValue(params, "limit");
  if (topk == nullptr) return InvalidParameter("topk not found in search_params: invalid parameter");
  const auto limit = ParseInt(*topk);
  if (!limit) return InvalidParameter("topk [{}] is invalid: invalid parameter", *topk);
  if (*limit < 1 || *limit > limits.max_topk) {
    return InvalidParameter("topk [{}] is invalid, it should be in range [1, {}], but got {}: invalid parameter",
                            *limit, limits.max_topk, *limit);
  }
  page.limit = *limit;
  if (const std::string* text = FindValue(params, "offset"); text != nullptr) {
    const auto offset = ParseInt(*text);
    if (!offset) return InvalidParameter("offset [{}] is invalid: invalid parameter", *text);
    if (*offset < 0 || *offset > limits.max_window) {
      return InvalidParameter("offset [{}] is invalid, it should be in range [0, {}], but got {}: invalid parameter",
                              *offset, limits.max_window, *offset);
    }
    page.offset = *offset;
  }
  if (page.offset + page.limit > limits.max_window) {
    return InvalidParameter("(offset+limit) should be in range [1, {}], but got {}: invalid parameter",
                            limits.max_window, page.offset + page.limit);
  }
  return page;
}

Result<std::optional<Page>> ReadQueryPage(const KeyValues& params, const PageLimits& limits) {
  const std::string* limit_text = FindValue(params, "limit");
  if (limit_text == nullptr) return std::optional<Page>();
  const auto limit = ParseInt(*limit_text);
  if (!limit) return InvalidParameter("limit [{}] is invalid: invalid parameter", *limit_text);
  if (*limit == -1) return std::optional<Page>();  // what one SDK sends for "no limit"
  Page page{.limit = *limit};
  if (const std::string* text = FindValue(params, "offset"); text != nullptr) {
    const auto offset = ParseInt(*text);
    if (!offset) return InvalidParameter("offset [{}] is invalid: invalid parameter", *text);
    if (*offset < 0) {
      return InvalidParameter(
          "invalid max query result window, offset [{}] is invalid, should be gte than 0: invalid parameter", *offset);
    }
    page.offset = *offset;
  }
  if (page.limit <= 0) {
    return InvalidParameter(
        "invalid max query result window, limit [{}] is invalid, should be greater than 0: invalid parameter",
        page.limit);
  }
  if (page.limit > limits.max_window || page.offset > limits.max_window - page.limit) {
    return InvalidParameter(
        "invalid max query result window, (offset+limit) should be in range [1, {}], but got {}: invalid parameter",
        limits.max_window, static_cast<double>(page.offset) + static_cast<double>(page.limit));
  }
  return std::optional<Page>(page);
}

std::vector<std::string_view> SplitList(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t comma = text.find(',');
    std::string_view part = text.substr(0, comma);
    while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
    while (!part.empty() && part.back() == ' ') part.remove_suffix(1);
    parts.push_back(part);
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

Result<std::vector<query::OrderKey>> ReadOrderBy(const KeyValues& params, const CollectionSchema& schema) {
  std::vector<query::OrderKey> keys;
  const std::string* text = FindValue(params, "order_by_fields");
  if (text == nullptr || text->empty()) return keys;
  for (const std::string_view part : SplitList(*text)) {
    const size_t colon = part.find(':');
    const std::string_view name = part.substr(0, colon);
    const std::string_view rest = colon == std::string_view::npos ? "asc" : part.substr(colon + 1);
    const size_t second = rest.find(':');
    const std::string_view direction = rest.substr(0, second);
    const FieldSchema* field = schema.Find(name);
    if (field == nullptr) {
      if (schema.dynamic_field() != nullptr && !name.empty()) {
        return Error(StatusCode::kUnimplemented, "order_by_fields of dynamic key {} is not supported yet", name);
      }
      return InvalidParameter("order_by field '{}' does not exist in collection schema: invalid parameter", name);
    }
    if (field->type == DataType::kJson) {
      return Error(StatusCode::kUnimplemented, "order_by_fields of JSON field {} is not supported yet", name);
    }
    if (!query::IsOrdered(field->type)) {
      return InvalidParameter("order_by field '{}' has unsortable type {}: invalid parameter", name,
                              DataTypeName(field->type));
    }
    query::OrderKey key{.field_id = field->field_id};
    if (direction == "desc" || direction == "DESC") {
      key.descending = true;
    } else if (direction != "asc" && direction != "ASC") {
      return InvalidParameter("invalid order direction '{}' for field '{}', must be 'asc' or 'desc': invalid parameter",
                              direction, name);
    }
    key.nulls_first = key.descending;
    if (second != std::string_view::npos) {
      const std::string_view nulls = rest.substr(second + 1);
      if (nulls != "nulls_first" && nulls != "nulls_last") {
        return InvalidParameter("invalid order of nulls '{}' for field '{}': invalid parameter", nulls, name);
      }
      key.nulls_first = nulls == "nulls_first";
    }
    keys.push_back(key);
  }
  return keys;
}

Result<std::optional<query::Grouping>> ReadGrouping(const KeyValues& params, const CollectionSchema& schema) {
  constexpr int64_t kMaxGroupSize = 10;
  const std::string* text = FindValue(params, "group_by_field");
  if (text == nullptr || text->empty()) text = FindValue(params, "group_by_fields");
  if (text == nullptr || text->empty()) return std::optional<query::Grouping>();
  query::Grouping group;
  for (const std::string_view name : SplitList(*text)) {
    const FieldSchema* field = schema.Find(name);
    if (field == nullptr && schema.dynamic_field() == nullptr) {
      return Error(StatusCode::kFieldNotFound, "groupBy field not found in schema: field not found[field={}]", name);
    }
    if (field == nullptr || field->type == DataType::kJson) {
      return Error(StatusCode::kUnimplemented, "group_by_field {}: grouping by JSON is not supported yet", name);
    }
    if (!query::CanGroupBy(field->type)) {
      return InvalidParameter("unsupported data type {} for group by operator: invalid parameter",
                              DataTypeName(field->type));
    }
    if (std::find(group.fields.begin(), group.fields.end(), field->field_id) == group.fields.end()) {
      group.fields.push_back(field->field_id);
    }
  }
  if (const std::string* size_text = FindValue(params, "group_size"); size_text != nullptr) {
    const auto size = ParseInt(*size_text);
    if (!size) return InvalidParameter("group_size [{}] is invalid: invalid parameter", *size_text);
    if (*size <= 0) {
      return InvalidParameter("input group size:{} is negative, failed to do search_groupby: invalid parameter", *size);
    }
    if (*size > kMaxGroupSize) {
      return InvalidParameter("input group size:{} exceeds configured max group size:{}: invalid parameter", *size,
                              kMaxGroupSize);
    }
    group.size = static_cast<size_t>(*size);
  }
  return std::optional<query::Grouping>(std::move(group));
}

Result<TimeZone> ReadTimeZone(const KeyValues& collection_properties, const KeyValues& params) {
  const std::string* name = FindValue(params, kTimeZoneKey);
  if (name == nullptr || name->empty()) name = FindValue(collection_properties, kTimeZoneKey);
  return name == nullptr ? TimeZone() : TimeZone::Load(*name);
}

bool IsUtc(const KeyValues& collection_properties, const KeyValues& params) {
  return FindValue(params, kTimeZoneKey) == nullptr && FindValue(collection_properties, kTimeZoneKey) == nullptr;
}

Status CheckCollectionId(const KeyValues& params, int64_t collection_id) {
  const std::string* text = FindValue(params, "collection_id");
  if (text == nullptr) return Status::Ok();
  const auto id = ParseInt(*text);
  if (!id) return InvalidParameter("collection_id [{}] is invalid: invalid parameter", *text);
  if (*id != 0 && *id != collection_id) {
    return InvalidParameter(
        "Input collection id is not consistent to collectionID in the context,alias or database may have changed: "
        "invalid parameter");
  }
  return Status::Ok();
}

}  // namespace quiver::api
