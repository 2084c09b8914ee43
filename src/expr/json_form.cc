#include "expr/json_form.h"

namespace quiver::expr {

using internal::JsonContainer;
using internal::LoadAs;

std::optional<JsonKeyTable> JsonKeyTable::Open(std::string_view bytes) {
  constexpr size_t kKeyBytes = sizeof(uint32_t) + sizeof(uint16_t);
  JsonKeyTable table;
  if (bytes.size() < sizeof(uint32_t)) return std::nullopt;
  table.size_ = LoadAs<uint32_t>(bytes.data());
  if (table.size_ > kNoJsonKey || (bytes.size() - sizeof(uint32_t)) / kKeyBytes < table.size_) return std::nullopt;
  table.ends_ = bytes.data() + sizeof(uint32_t);
  table.order_ = table.ends_ + table.size_ * sizeof(uint32_t);
  table.names_ = table.order_ + table.size_ * sizeof(uint16_t);
  const auto room = static_cast<uint64_t>(bytes.data() + bytes.size() - table.names_);
  uint32_t end = 0;
  for (uint32_t id = 0; id < table.size_; ++id) {
    const auto next = LoadAs<uint32_t>(table.ends_ + id * sizeof(uint32_t));
    if (next < end) return std::nullopt;
    end = next;
    if (LoadAs<uint16_t>(table.order_ + id * sizeof(uint16_t)) >= table.size_) return std::nullopt;
  }
  if (end != room) return std::nullopt;
  for (uint32_t i = 1; i < table.size_; ++i) {
    const auto before = LoadAs<uint16_t>(table.order_ + (i - 1) * sizeof(uint16_t));
    const auto id = LoadAs<uint16_t>(table.order_ + i * sizeof(uint16_t));
    if (table.Name(before) >= table.Name(id)) return std::nullopt;
  }
  return table;
}

std::string_view JsonKeyTable::Name(uint32_t id) const {
  const uint32_t begin = id == 0 ? 0 : LoadAs<uint32_t>(ends_ + (id - 1) * sizeof(uint32_t));
  return {names_ + begin, LoadAs<uint32_t>(ends_ + id * sizeof(uint32_t)) - begin};
}

uint32_t JsonKeyTable::Find(std::string_view name) const {
  uint32_t low = 0;
  uint32_t high = size_;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const auto id = LoadAs<uint16_t>(order_ + middle * sizeof(uint16_t));
    const int order = Name(id).compare(name);
    if (order == 0) return id;
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return kNoJsonKey;
}

JsonFormValue internal::TaggedJsonValue(const char* data, const char* end) {
  if (data == end || static_cast<uint8_t>(*data) >= kJsonTagFacts.size()) return {};
  const auto tag = static_cast<JsonTag>(*data++);
  const JsonTagFacts facts = kJsonTagFacts[static_cast<size_t>(tag)];
  JsonFormValue value;
  if (tag == JsonTag::kSmall) {
    if (end - data < 2) return {};
    value.small = LoadAs<int16_t>(data);
  } else if (end - data < facts.bytes) {
    return {};
  }
  value.type = facts.type;
  value.tag = tag;
  value.data = data;
  value.end = end;
  return value;
}

JsonFormPath::JsonFormPath(const JsonKeyTable& keys, std::span<const PathStep> steps) {
  if (steps.size() > few_.size()) many_.resize(steps.size());
  steps_ = many_.empty() ? std::span(few_).first(steps.size()) : std::span(many_);
  for (size_t i = 0; i < steps.size(); ++i) steps_[i] = {.step = &steps[i], .id = keys.Find(steps[i].key)};
}

JsonFormValue JsonFormPath::RareStep(const JsonFormValue& value, const PathStep& step) {
  JsonContainer container;
  if (value.type == JsonType::kArray) {
    if (step.index < 0 || !container.Open(value.tag, value.data, value.end) || step.index >= container.count) return {};
    return container.At(static_cast<uint32_t>(step.index));
  }
  if (value.type != JsonType::kObject || !container.Open(value.tag, value.data, value.end)) return {};
  // Members without id stand behind all others.
  for (uint32_t i = container.wide_ids ? container.count : 0; i > 0 && container.IdAt(i - 1) == kNoJsonKey; --i) {
    const JsonFormValue member = container.At(i - 1);
    if (member.tag != JsonTag::kNamed) return {};
    const char* data = member.data;
    const auto key = internal::TakeBytes(&data, member.end);
    if (key == step.key) return internal::TaggedJsonValue(data, member.end);
  }
  return {};
}

}  // namespace quiver::expr
