// File: expr/json_form.h
// The binary form of JSON documents that sealed segments keep beside the text, made so that a place is found without
// reading what lies beside it; the bytes are described in docs/formats.md. Whatever is asked of a form has the answer
// that expr/json_scan.h gives of the text. JsonFormWriter makes forms.
//
//   JsonFormPath path(keys, steps);           // once for many documents
//   if (JsonFormText(form) == nullptr) value = path.Find(form);
//
// Forms come from files: every length and offset is checked before it is used, and a form that does not hold together
// reads as a missing value. Thread rule: pure functions and immutable values, but for JsonFormPath, which one thread
// uses.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expr/json_scan.h"
#include "expr/syntax.h"

namespace quiver::expr {

/// What stands at a place of a form.
enum class JsonTag : uint8_t {
  kNull = 0,
  kFalse = 1,
  kTrue = 2,
  kSmall = 3,   ///< an integer of 12 bits, in the slot
  kInt32 = 4,   ///< an integer
  kInt64 = 5,   ///< an integer
  kUint64 = 6,  ///< an integer above INT64_MAX
  kFloat = 7,   ///< a number that 32 bits hold exactly
  kDouble = 8,
  kNumber = 9,  ///< a number that is beyond all doubles: it has no value
  kString = 10,
  kArray = 11,
  kObject = 12,
  kNamed = 13,  ///< of a slot: name, tag and value of a member whose key has no id
  kText = 14,   ///< of a document: it stands as it was written
};

/// The id of a member whose key the table does not have.
inline constexpr uint32_t kNoJsonKey = 0xFFFF;

/// The keys of a column's documents, by number. Read where they lie.
class JsonKeyTable {
 public:
  JsonKeyTable() = default;
  /// Nothing where the bytes do not hold together; they must outlive the table.
  static std::optional<JsonKeyTable> Open(std::string_view bytes);

  [[nodiscard]] uint32_t size() const { return size_; }
  [[nodiscard]] std::string_view Name(uint32_t id) const;
  /// The id of a key; kNoJsonKey where there is none.
  [[nodiscard]] uint32_t Find(std::string_view name) const;

 private:
  uint32_t size_ = 0;
  const char* ends_ = nullptr;   ///< u32[size]: where each name ends
  const char* order_ = nullptr;  ///< u16[size]: ids in ascending order of names
  const char* names_ = nullptr;
};

/// A value inside a form.
struct JsonFormValue {
  JsonType type = JsonType::kMissing;
  JsonTag tag = JsonTag::kNull;
  int32_t small = 0;           ///< kSmall
  const char* data = nullptr;  ///< of numbers all bytes are there; of other values nothing has been looked at yet
  const char* end = nullptr;   ///< of the form

  [[nodiscard]] bool truth() const { return tag == JsonTag::kTrue; }
  /// Reads an integer of 64 bits; false where the value is none.
  bool ReadInt(int64_t* integer) const;
};

/// Reads a number without loss, as the text is read; false where the value is none.
inline bool ReadJsonNumber(const JsonFormValue& value, JsonNumber* number);
/// The characters of a string value. (`buffer` is that of the form for texts: forms are never escaped.)
inline std::string_view JsonStringText(const JsonFormValue& value, std::string* buffer);
/// The text of a document that is kept as it was written, since it is malformed or nested very deeply.
inline std::optional<std::string_view> JsonFormText(std::string_view form);

namespace internal {

template <typename T>
T LoadAs(const char* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

/// The type of a value by its tag, and the bytes that must follow.
struct JsonTagFacts {
  JsonType type;
  uint8_t bytes;
};
inline constexpr std::array<JsonTagFacts, 16> kJsonTagFacts = {{{JsonType::kNull, 0},
                                                                {JsonType::kBool, 0},
                                                                {JsonType::kBool, 0},
                                                                {JsonType::kNumber, 0},
                                                                {JsonType::kNumber, 4},
                                                                {JsonType::kNumber, 8},
                                                                {JsonType::kNumber, 8},
                                                                {JsonType::kNumber, 4},
                                                                {JsonType::kNumber, 8},
                                                                {JsonType::kNumber, 0},
                                                                {JsonType::kString, 0},
                                                                {JsonType::kArray, 0},
                                                                {JsonType::kObject, 0},
                                                                {JsonType::kMissing, 0},
                                                                {JsonType::kMissing, 0},
                                                                {JsonType::kMissing, 0}}};

/// An array or an object of a form, opened: its slots lie inside the form.
struct JsonContainer {
  // Bits of the first byte; the rest is the number of members, or kManyMembers where it follows as u32.
  static constexpr uint8_t kWideSlots = 1;
  static constexpr uint8_t kWideIds = 2;
  static constexpr uint8_t kManyMembers = 63;

  const char* begin = nullptr;
  const char* end = nullptr;  ///< of the form
  const char* ids = nullptr;  ///< of objects: ascending, u8 or u16
  const char* slots = nullptr;
  uint32_t count = 0;
  bool wide_ids = false;
  bool wide_slots = false;

  /// False where it does not hold together.
  [[gnu::always_inline]] bool Open(JsonTag tag, const char* container_begin, const char* form_end) {
    begin = container_begin;
    end = form_end;
    if (begin == end) return false;
    const auto head = static_cast<uint8_t>(*begin);
    const char* at = begin + 1;
    wide_slots = (head & kWideSlots) != 0;
    wide_ids = (head & kWideIds) != 0;
    count = head >> 2U;
    if (count == kManyMembers) [[unlikely]] {
      if (end - at < 4) return false;
      count = LoadAs<uint32_t>(at);
      at += 4;
    }
    const uint64_t id_bytes = tag != JsonTag::kObject ? 0 : uint64_t{count} << (wide_ids ? 1U : 0U);
    const uint64_t slot_bytes = uint64_t{count} << (wide_slots ? 2U : 1U);
    if (id_bytes + slot_bytes > static_cast<uint64_t>(end - at)) return false;
    ids = at;
    slots = at + id_bytes;
    return true;
  }

  /// The value of member `i` < count: all but `end`.
  [[gnu::always_inline]] void At(uint32_t i, JsonType* type, JsonTag* tag, int32_t* small, const char** data) const {
    const int32_t slot = wide_slots ? LoadAs<int32_t>(slots + size_t{i} * 4) : LoadAs<int16_t>(slots + size_t{i} * 2);
    const auto offset = static_cast<uint32_t>(wide_slots ? slot : slot & 0xFFFF) >> 4U;
    *tag = static_cast<JsonTag>(slot & 0xF);
    const JsonTagFacts facts = kJsonTagFacts[static_cast<size_t>(*tag)];
    *type = facts.type;
    *small = slot >> 4;
    *data = begin;
    if (*tag <= JsonTag::kSmall || *tag == JsonTag::kNumber) return;  // there is no offset
    if (uint64_t{offset} + facts.bytes > static_cast<uint64_t>(end - begin)) [[unlikely]] {
      *tag = JsonTag::kNull;
      *type = JsonType::kMissing;
      return;
    }
    *data = begin + offset;
  }
  [[nodiscard]] JsonFormValue At(uint32_t i) const {
    JsonFormValue value;
    value.end = end;
    At(i, &value.type, &value.tag, &value.small, &value.data);
    return value;
  }

  /// The member of this id, or -1. Documents of a kind have it at the same position: `hint` is where it was last.
  [[nodiscard, gnu::always_inline]] int64_t Find(uint32_t id, uint32_t* hint) const {
    if (wide_ids) return FindIn<uint16_t>(static_cast<uint16_t>(id), hint);
    return id > 0xFF ? -1 : FindIn<uint8_t>(static_cast<uint8_t>(id), hint);
  }

  /// The id of member `i` < count of an object.
  [[nodiscard]] uint32_t IdAt(uint32_t i) const {
    return wide_ids ? LoadAs<uint16_t>(ids + size_t{i} * 2) : static_cast<uint8_t>(ids[i]);
  }

 private:
  template <typename Id>
  [[nodiscard, gnu::always_inline]] int64_t FindIn(Id id, uint32_t* hint) const {
    if (*hint < count && LoadAs<Id>(ids + *hint * sizeof(Id)) == id) return *hint;
    return Search(ids, count, id, hint);
  }

  template <typename Id>
  [[nodiscard]] static int64_t Search(const char* ids, uint32_t count, Id id, uint32_t* hint) {
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      if (LoadAs<Id>(ids + middle * sizeof(Id)) < id) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == count || LoadAs<Id>(ids + low * sizeof(Id)) != id) return -1;
    *hint = low;
    return low;
  }
};

/// Takes a length of seven bits a byte, least first; false where it is not whole.
inline bool TakeLength(const char** data, const char* end, uint64_t* length) {
  *length = 0;
  for (unsigned shift = 0; shift < 35 && *data != end; shift += 7) {
    const auto byte = static_cast<uint8_t>(*(*data)++);
    *length |= uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

/// Takes bytes that follow their length.
inline std::optional<std::string_view> TakeBytes(const char** data, const char* end) {
  uint64_t length = 0;
  if (!TakeLength(data, end, &length) || length > static_cast<uint64_t>(end - *data)) return std::nullopt;
  const std::string_view bytes(*data, length);
  *data += length;
  return bytes;
}

/// The value that stands behind its tag: a document, or a member without id.
JsonFormValue TaggedJsonValue(const char* data, const char* end);

}  // namespace internal

/// Finds one place in many forms of a column.
class JsonFormPath {
 public:
  /// `keys` and `steps` must outlive this.
  JsonFormPath(const JsonKeyTable& keys, std::span<const PathStep> steps);
  JsonFormPath(const JsonFormPath&) = delete;
  JsonFormPath& operator=(const JsonFormPath&) = delete;

  /// The value at the place; the whole value for no steps. Of repeated keys the first counts.
  [[gnu::always_inline]] JsonFormValue Find(std::string_view form) {
    // The parts of the value stay in registers: a value that is copied while its parts are on their way to memory makes
    // the processor wait, once for each step.
    JsonType type = JsonType::kObject;
    JsonTag tag = JsonTag::kObject;
    int32_t small = 0;
    const char* data = form.data() + 1;
    const char* const end = form.data() + form.size();
    const auto take = [&](const JsonFormValue& value) {
      type = value.type;
      tag = value.tag;
      small = value.small;
      data = value.data;
    };
    if (form.empty() || static_cast<JsonTag>(form[0]) != JsonTag::kObject) [[unlikely]] {
      take(internal::TaggedJsonValue(form.data(), end));
    }
    for (Step& step : steps_) {
      if (type != JsonType::kObject || step.id == kNoJsonKey) [[unlikely]] {
        take(RareStep({type, tag, small, data, end}, *step.step));
        continue;
      }
      internal::JsonContainer object;
      const int64_t at = object.Open(tag, data, end) ? object.Find(step.id, &step.hint) : -1;
      if (at < 0) return {};
      object.At(static_cast<uint32_t>(at), &type, &tag, &small, &data);
    }
    return {type, tag, small, data, end};
  }

 private:
  struct Step {
    const PathStep* step = nullptr;
    uint32_t id = kNoJsonKey;
    uint32_t hint = 0;
  };

  /// Into an array, or to a member without id.
  [[gnu::noinline]] static JsonFormValue RareStep(const JsonFormValue& value, const PathStep& step);

  std::array<Step, 4> few_;  ///< paths are short: no memory is asked for
  std::vector<Step> many_;
  std::span<Step> steps_;
};

/// Walks the elements of an array value.
class JsonFormArrayCursor {
 public:
  explicit JsonFormArrayCursor(const JsonFormValue& array) {
    if (array.type == JsonType::kArray && array_.Open(array.tag, array.data, array.end)) count_ = array_.count;
  }
  /// Returns false after the last element.
  bool Next(JsonFormValue* element) {
    if (next_ == count_) return false;
    element->end = array_.end;
    array_.At(next_++, &element->type, &element->tag, &element->small, &element->data);
    return element->type != JsonType::kMissing;
  }

 private:
  internal::JsonContainer array_;
  uint32_t count_ = 0;
  uint32_t next_ = 0;
};

inline bool JsonFormValue::ReadInt(int64_t* integer) const {
  if (type != JsonType::kNumber) return false;
  switch (tag) {
    case JsonTag::kSmall: *integer = small; return true;
    case JsonTag::kInt32: *integer = internal::LoadAs<int32_t>(data); return true;
    case JsonTag::kInt64: *integer = internal::LoadAs<int64_t>(data); return true;
    default: return false;
  }
}

inline bool ReadJsonNumber(const JsonFormValue& value, JsonNumber* number) {
  number->kind = JsonNumber::Kind::kInt;
  if (value.ReadInt(&number->integer)) return true;
  switch (value.tag) {
    case JsonTag::kUint64:
      number->kind = JsonNumber::Kind::kUint;
      number->natural = internal::LoadAs<uint64_t>(value.data);
      return true;
    case JsonTag::kFloat:
      number->kind = JsonNumber::Kind::kDouble;
      number->real = static_cast<double>(internal::LoadAs<float>(value.data));
      return true;
    case JsonTag::kDouble:
      number->kind = JsonNumber::Kind::kDouble;
      number->real = internal::LoadAs<double>(value.data);
      return true;
    default: return false;
  }
}

inline std::string_view JsonStringText(const JsonFormValue& value, std::string* /*buffer*/) {
  const char* data = value.data;
  return internal::TakeBytes(&data, value.end).value_or(std::string_view());
}

inline std::optional<std::string_view> JsonFormText(std::string_view form) {
  if (form.empty() || static_cast<JsonTag>(form[0]) != JsonTag::kText) [[likely]]
    return std::nullopt;
  return form.substr(1);
}

}  // namespace quiver::expr
