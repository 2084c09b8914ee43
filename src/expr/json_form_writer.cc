#include "expr/json_form_writer.h"

#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <numeric>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "expr/json_form.h"
#include "expr/json_scan.h"

namespace quiver::expr {

namespace {

using internal::JsonContainer;

/// Where offsets of a slot end: they have 12 or 28 bits.
constexpr uint64_t kNarrowBytes = uint64_t{1} << 12U;
constexpr uint64_t kWideBytes = uint64_t{1} << 28U;

size_t LengthBytes(uint64_t length) { return (static_cast<size_t>(std::bit_width(length | 1U)) + 6) / 7; }

void PutLength(uint64_t length, std::string* out) {
  for (; length >= 0x80; length >>= 7U) out->push_back(static_cast<char>(length | 0x80U));
  out->push_back(static_cast<char>(length));
}

template <typename T>
void Put(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// Looks names up without making strings of them.
struct NameHash {
  using is_transparent = void;
  size_t operator()(std::string_view name) const { return std::hash<std::string_view>()(name); }
};

}  // namespace

/// Takes the events of the parser. A value's node is made before those of what it contains are closed, so that sizes
/// are known from the inside out; then everything is written from the outside in.
class JsonFormWriter::Builder : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Builder> {
 public:
  void Append(std::string_view json, std::string* forms) {
    nodes_.clear();
    texts_.clear();
    members_.clear();
    pending_.clear();
    open_.clear();
    key_ = {};
    rapidjson::MemoryStream stream(json.data(), json.size());
    constexpr unsigned kFlags = rapidjson::kParseNumbersAsStringsFlag;
    if (!reader_.Parse<kFlags>(stream, *this) || nodes_[pending_[0]].size >= kWideBytes) {
      forms->push_back(static_cast<char>(JsonTag::kText));
      forms->append(json);
      return;
    }
    WriteTagged(nodes_[pending_[0]], forms);
  }

  [[nodiscard]] std::string Keys() const {
    std::vector<std::string_view> names(ids_.size());
    for (const auto& [name, id] : ids_) names[id] = name;
    std::vector<uint16_t> order(names.size());
    std::iota(order.begin(), order.end(), uint16_t{0});
    std::sort(order.begin(), order.end(), [&](uint16_t a, uint16_t b) { return names[a] < names[b]; });
    std::string bytes;
    Put(static_cast<uint32_t>(names.size()), &bytes);
    uint32_t end = 0;
    for (const std::string_view name : names) Put(end += static_cast<uint32_t>(name.size()), &bytes);
    for (const uint16_t id : order) Put(id, &bytes);
    for (const std::string_view name : names) bytes += name;
    return bytes;
  }

  // Events. False ends the parsing.
  bool Null() { return Add({.tag = JsonTag::kNull}); }
  bool Bool(bool truth) { return Add({.tag = truth ? JsonTag::kTrue : JsonTag::kFalse}); }
  bool RawNumber(const char* text, rapidjson::SizeType length, bool /*copy*/) {
    return Add(NumberNode({text, length}));
  }
  bool String(const char* text, rapidjson::SizeType length, bool /*copy*/) {
    return Add({.tag = JsonTag::kString, .place = Keep({text, length}), .size = LengthBytes(length) + length});
  }
  bool Key(const char* text, rapidjson::SizeType length, bool /*copy*/) {
    const std::string_view name(text, length);
    key_ = {};
    auto found = ids_.find(name);
    if (found == ids_.end()) {
      // Key tables are u32 bytes long; nobody has keys for that.
      if (ids_.size() == kMaxKeys || name_bytes_ + length > kWideBytes) {
        key_ = {.id = kNoJsonKey, .name = Keep(name)};
        return true;
      }
      name_bytes_ += length;
      found = ids_.emplace(name, static_cast<uint32_t>(ids_.size())).first;
    }
    key_.id = found->second;
    return true;
  }
  bool StartObject() { return Start(JsonTag::kObject); }
  bool StartArray() { return Start(JsonTag::kArray); }
  bool EndObject(rapidjson::SizeType /*members*/) { return End(); }
  bool EndArray(rapidjson::SizeType /*elements*/) { return End(); }

 private:
  /// Bytes in texts_.
  struct Piece {
    uint32_t begin = 0;
    uint32_t length = 0;
  };
  struct MemberKey {
    uint32_t id = 0;
    Piece name;  ///< of a key without id
  };
  struct Node {
    JsonTag tag = JsonTag::kNull;
    bool wide_ids = false;
    bool wide_slots = false;
    MemberKey key;       ///< of a member of an object
    Piece place;         ///< of a string: its bytes; of a container: its members in members_
    uint64_t bits = 0;   ///< of a number
    uint64_t size = 0;   ///< bytes that stand behind the slot or the tag
    uint64_t named = 0;  ///< bytes that the name and the tag of a member without id take besides
  };

  Piece Keep(std::string_view text) {
    const auto begin = static_cast<uint32_t>(texts_.size());
    texts_ += text;
    return {begin, static_cast<uint32_t>(text.size())};
  }
  [[nodiscard]] std::string_view Text(Piece piece) const {
    return std::string_view(texts_).substr(piece.begin, piece.length);
  }

  static Node NumberNode(std::string_view text) {
    JsonNumber number;
    if (!ReadJsonNumber(text, &number)) return {.tag = JsonTag::kNumber};
    switch (number.kind) {
      case JsonNumber::Kind::kInt: {
        const auto bits = static_cast<uint64_t>(number.integer);
        if (number.integer >= -0x800 && number.integer < 0x800) return {.tag = JsonTag::kSmall, .bits = bits};
        if (number.integer >= INT32_MIN && number.integer <= INT32_MAX) {
          return {.tag = JsonTag::kInt32, .bits = bits, .size = 4};
        }
        return {.tag = JsonTag::kInt64, .bits = bits, .size = 8};
      }
      case JsonNumber::Kind::kUint: return {.tag = JsonTag::kUint64, .bits = number.natural, .size = 8};
      default: {
        const auto narrow = static_cast<float>(number.real);
        if (std::bit_cast<uint64_t>(static_cast<double>(narrow)) == std::bit_cast<uint64_t>(number.real)) {
          return {.tag = JsonTag::kFloat, .bits = std::bit_cast<uint32_t>(narrow), .size = 4};
        }
        return {.tag = JsonTag::kDouble, .bits = std::bit_cast<uint64_t>(number.real), .size = 8};
      }
    }
  }

  bool Add(Node node) {
    node.key = std::exchange(key_, {});
    pending_.push_back(static_cast<uint32_t>(nodes_.size()));
    nodes_.push_back(node);
    return true;
  }

  bool Start(JsonTag tag) {
    if (open_.size() == kMaxDepth) return false;
    Add({.tag = tag});
    open_.push_back(pending_.size());
    return true;
  }

  /// The values behind the last open place are the members of the container before them.
  bool End() {
    const auto first = pending_.begin() + static_cast<std::ptrdiff_t>(open_.back());
    Node& node = nodes_[*(first - 1)];
    auto last = pending_.end();
    if (node.tag == JsonTag::kObject) last = SortMembers(first, last);
    const auto count = static_cast<uint64_t>(last - first);
    uint64_t values = count < JsonContainer::kManyMembers ? 1 : 5;
    if (node.tag == JsonTag::kObject) {
      node.wide_ids = count > 0 && nodes_[*(last - 1)].key.id > 0xFF;
      values += count << (node.wide_ids ? 1U : 0U);
    }
    for (auto it = first; it != last; ++it) {
      Node& member = nodes_[*it];
      if (member.key.id == kNoJsonKey) {
        member.named = LengthBytes(member.key.name.length) + member.key.name.length + 1 +
                       (member.tag == JsonTag::kSmall ? sizeof(int16_t) : 0);
      }
      values += member.size + member.named;
    }
    node.wide_slots = values + count * sizeof(int16_t) > kNarrowBytes;
    node.size = values + count * (node.wide_slots ? sizeof(int32_t) : sizeof(int16_t));
    node.place = {static_cast<uint32_t>(members_.size()), static_cast<uint32_t>(count)};
    members_.insert(members_.end(), first, last);
    pending_.resize(open_.back());
    open_.pop_back();
    return true;
  }

  using Pending = std::vector<uint32_t>::iterator;
  /// Sorts members by id; of repeated keys the first stays. Returns the new end.
  Pending SortMembers(Pending first, Pending last) {
    // Nodes are numbered in the order of the text.
    const auto before = [this](uint32_t a, uint32_t b) {
      return std::pair(nodes_[a].key.id, a) < std::pair(nodes_[b].key.id, b);
    };
    if (!std::is_sorted(first, last, before)) std::sort(first, last, before);
    const auto named = std::lower_bound(first, last, kNoJsonKey,
                                        [this](uint32_t node, uint32_t id) { return nodes_[node].key.id < id; });
    const auto same_id = [this](uint32_t a, uint32_t b) { return nodes_[a].key.id == nodes_[b].key.id; };
    const auto out = std::unique(first, named, same_id);
    if (named == last) return out;
    const auto name = [this](uint32_t node) { return Text(nodes_[node].key.name); };
    std::sort(named, last, [&](uint32_t a, uint32_t b) { return std::pair(name(a), a) < std::pair(name(b), b); });
    last = std::unique(named, last, [&](uint32_t a, uint32_t b) { return name(a) == name(b); });
    return std::move(named, last, out);
  }

  void WriteTagged(const Node& node, std::string* out) const {
    out->push_back(static_cast<char>(node.tag));
    if (node.tag == JsonTag::kSmall) {
      Put(static_cast<int16_t>(node.bits), out);
    } else {
      WriteValue(node, out);
    }
  }

  /// The bytes behind a slot or tag. Recursion is bounded by kMaxDepth.
  void WriteValue(const Node& node, std::string* out) const {
    switch (node.tag) {
      case JsonTag::kInt32:
      case JsonTag::kFloat: Put(static_cast<uint32_t>(node.bits), out); break;
      case JsonTag::kInt64:
      case JsonTag::kUint64:
      case JsonTag::kDouble: Put(node.bits, out); break;
      case JsonTag::kString:
        PutLength(node.place.length, out);
        out->append(Text(node.place));
        break;
      case JsonTag::kArray:
      case JsonTag::kObject: WriteContainer(node, out); break;
      default: break;
    }
  }

  void WriteContainer(const Node& node, std::string* out) const {
    const std::span<const uint32_t> members = std::span(members_).subspan(node.place.begin, node.place.length);
    const auto count = static_cast<uint32_t>(members.size());
    const uint32_t shown = std::min<uint32_t>(count, JsonContainer::kManyMembers);
    out->push_back(static_cast<char>((shown << 2U) | (node.wide_ids ? JsonContainer::kWideIds : 0U) |
                                     (node.wide_slots ? JsonContainer::kWideSlots : 0U)));
    uint64_t offset = 1;
    if (shown == JsonContainer::kManyMembers) {
      Put(count, out);
      offset += sizeof(count);
    }
    if (node.tag == JsonTag::kObject) {
      for (const uint32_t member : members) {
        const uint32_t id = nodes_[member].key.id;
        if (node.wide_ids) {
          Put(static_cast<uint16_t>(id), out);
        } else {
          Put(static_cast<uint8_t>(id), out);
        }
      }
      offset += uint64_t{count} << (node.wide_ids ? 1U : 0U);
    }
    offset += count * (node.wide_slots ? sizeof(int32_t) : sizeof(int16_t));
    for (const uint32_t index : members) {
      const Node& member = nodes_[index];
      const JsonTag tag = member.named != 0 ? JsonTag::kNamed : member.tag;
      // Values without bytes have no place; an integer stands there itself.
      uint64_t what = member.size + member.named != 0 ? offset : 0;
      if (tag == JsonTag::kSmall) what = member.bits;
      const auto slot = static_cast<uint32_t>(what << 4U) | static_cast<uint32_t>(tag);
      if (node.wide_slots) {
        Put(slot, out);
      } else {
        Put(static_cast<uint16_t>(slot), out);
      }
      offset += member.size + member.named;
    }
    for (const uint32_t index : members) {
      const Node& member = nodes_[index];
      if (member.named == 0) {
        WriteValue(member, out);
        continue;
      }
      PutLength(member.key.name.length, out);
      out->append(Text(member.key.name));
      WriteTagged(member, out);
    }
  }

  rapidjson::Reader reader_;
  std::unordered_map<std::string, uint32_t, NameHash, std::equal_to<>> ids_;
  uint64_t name_bytes_ = 0;
  // Of the document at hand.
  std::vector<Node> nodes_;
  std::string texts_;
  std::vector<uint32_t> members_;  ///< nodes by container
  std::vector<uint32_t> pending_;  ///< nodes whose container is not closed
  std::vector<size_t> open_;       ///< where in pending_ the members of each open container begin
  MemberKey key_;
};

JsonFormWriter::JsonFormWriter() : builder_(std::make_unique<Builder>()) {}
JsonFormWriter::~JsonFormWriter() = default;

void JsonFormWriter::Append(std::string_view json, std::string* forms) { builder_->Append(json, forms); }
std::string JsonFormWriter::Keys() const { return builder_->Keys(); }

}  // namespace quiver::expr
