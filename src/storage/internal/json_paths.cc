#include "storage/internal/json_paths.h"

#include <algorithm>
#include <bit>

#include "expr/json_scan.h"

namespace quiver::storage::internal {

using expr::JsonNumber;
using expr::JsonObjectCursor;
using expr::JsonType;
using expr::JsonValue;

namespace {

/// Most different places that a sample may name: documents keyed by ids have no end of them.
constexpr size_t kMaxCounted = 4096;

std::string_view AsWritten(const JsonValue& value) {
  if (value.type != JsonType::kString) return value.text;
  return {value.text.data() - 1, value.text.size() + 2};
}

/// In an array such a key is a position.
bool IsPosition(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

void JsonPathSampler::Add(std::string_view document) {
  ++documents_;
  JsonKeys keys;
  Walk(expr::FindJson(document, {}), &keys);
}

void JsonPathSampler::Walk(const JsonValue& value, JsonKeys* keys) {
  others_ = others_ || value.type == JsonType::kArray;
  if (value.type == JsonType::kObject) {
    if (keys->size() == kMaxDepth) {
      others_ = true;
      return;
    }
    JsonObjectCursor cursor(value);
    JsonValue key;
    JsonValue member;
    while (cursor.Next(&key, &member)) {
      // Escaped names are rare and mean more than one way to write a place.
      if (key.escaped || IsPosition(key.text)) {
        others_ = true;
        continue;
      }
      keys->emplace_back(key.text);
      Walk(member, keys);
      keys->pop_back();
    }
  } else if (keys->empty()) {
    others_ = true;
  } else if (const auto found = counts_.find(*keys); found != counts_.end()) {
    ++found->second;
  } else if (counts_.size() < kMaxCounted) {
    counts_.emplace(*keys, 1);
  } else {
    others_ = true;
  }
}

bool JsonPathSampler::HoldOnly(std::span<const JsonKeys> places) const {
  return !others_ && std::ranges::all_of(counts_, [&](const auto& counted) {
    return std::ranges::find(places, counted.first) != places.end();
  });
}

std::vector<JsonKeys> JsonPathSampler::Frequent() const {
  std::vector<std::pair<size_t, JsonKeys>> frequent;
  for (const auto& [keys, count] : counts_) {
    if (count * 4 >= documents_) frequent.emplace_back(count, keys);
  }
  std::sort(frequent.begin(), frequent.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  if (frequent.size() > kMaxPaths) frequent.resize(kMaxPaths);
  std::vector<JsonKeys> paths;
  for (auto& [count, keys] : frequent) paths.push_back(std::move(keys));
  std::sort(paths.begin(), paths.end());
  return paths;
}

struct JsonPathReader::Node {
  std::string key;
  std::vector<size_t> children;  ///< of nodes_
  size_t path = SIZE_MAX;        ///< the path that ends here
  uint64_t seen = 0;             ///< the document in which the key was met; of repeated keys the first counts
};

JsonPathReader::JsonPathReader(std::span<const JsonKeys> paths) {
  nodes_.emplace_back();
  for (size_t i = 0; i < paths.size(); ++i) {
    size_t at = 0;
    for (const std::string& key : paths[i]) {
      const auto& children = nodes_[at].children;
      const auto found = std::find_if(children.begin(), children.end(), [&](size_t c) { return nodes_[c].key == key; });
      if (found != children.end()) {
        at = *found;
        continue;
      }
      nodes_[at].children.push_back(nodes_.size());
      at = nodes_.size();
      nodes_.emplace_back().key = key;
    }
    nodes_[at].path = i;
  }
}

JsonPathReader::~JsonPathReader() = default;

void JsonPathReader::Read(std::string_view document, std::span<std::string_view> values) {
  std::fill(values.begin(), values.end(), std::string_view());
  ++document_;
  Walk(nodes_[0], document, values);
}

void JsonPathReader::Walk(Node& node, std::string_view object, std::span<std::string_view> values) {
  JsonObjectCursor cursor(expr::FindJson(object, {}));
  JsonValue key;
  JsonValue value;
  size_t left = node.children.size();
  while (left > 0 && cursor.Next(&key, &value)) {
    const std::string_view name = expr::JsonStringText(key, &decoded_);
    const auto found = std::find_if(node.children.begin(), node.children.end(),
                                    [&](size_t child) { return nodes_[child].key == name; });
    if (found == node.children.end()) continue;
    Node& child = nodes_[*found];
    if (child.seen == document_) continue;
    child.seen = document_;
    --left;
    if (child.path != SIZE_MAX) values[child.path] = AsWritten(value);
    if (!child.children.empty() && value.type == JsonType::kObject) Walk(child, value.text, values);
  }
}

void JsonColumnPlan::Add(std::string_view value) {
  ++values_;
  text_bytes_ += value.size();
  if (!all_integers_ && !all_reals_) return;
  JsonNumber number;
  const bool is_number =
      (value.front() == '-' || (value.front() >= '0' && value.front() <= '9')) && expr::ReadJsonNumber(value, &number);
  all_integers_ = all_integers_ && is_number && number.kind == JsonNumber::Kind::kInt;
  all_reals_ = all_reals_ && is_number && number.kind == JsonNumber::Kind::kDouble;
}

JsonColumnForm JsonColumnPlan::form() const {
  if (all_integers_) return JsonColumnForm::kIntegers;
  return all_reals_ ? JsonColumnForm::kReals : JsonColumnForm::kTexts;
}

bool HoldsJsonValue(const ColumnView& column, size_t row, std::string_view value) {
  if (column.IsNull(row) || value.data() == nullptr) return column.IsNull(row) && value.data() == nullptr;
  if (column.width == 0) return column.Bytes(row) == value;
  JsonNumber number;
  if (!expr::ReadJsonNumber(value, &number)) return false;
  if (column.type == DataType::kInt64) {
    return number.kind == JsonNumber::Kind::kInt && number.integer == column.Get<int64_t>(row);
  }
  return number.kind == JsonNumber::Kind::kDouble &&
         std::bit_cast<uint64_t>(number.real) == std::bit_cast<uint64_t>(column.Get<double>(row));
}

}  // namespace quiver::storage::internal
