#include "expr/canonical_key.h"

#include <string_view>
#include <type_traits>
#include <utility>

namespace quiver::expr {
namespace {

/// Writes a tree; every part has its length or a fixed size, so that no two trees give the same bytes.
class KeyWriter {
 public:
  /// Returns false where the tree has no key.
  bool Add(const Predicate& term) {
    if (term.kind == Predicate::Kind::kSample) return false;
    for (const auto part : {static_cast<int>(term.kind), static_cast<int>(term.op), static_cast<int>(term.arithmetic),
                            static_cast<int>(term.contains), static_cast<int>(term.quota), term.constant ? 1 : 0,
                            term.is_element_filter ? 1 : 0, term.lower_inclusive ? 1 : 0, term.upper_inclusive ? 1 : 0,
                            term.sign < 0 ? 1 : 0}) {
      Value(static_cast<uint8_t>(part));
    }
    Value(term.interval.months);
    Value(term.interval.seconds);
    Value(term.count);
    Add(term.field);
    Add(term.right_field);
    for (const Literal* literal : {&term.value, &term.upper, &term.operand}) {
      if (!Add(*literal)) return false;
    }
    // The analyzer of a text follows from its field.
    if (term.spatial != nullptr && !Add(*term.spatial)) return false;
    Value(static_cast<uint32_t>(term.children.size()));
    for (const auto& child : term.children) {
      if (!Add(*child)) return false;
    }
    return bytes_.size() <= kLongestCanonicalKey;
  }
  std::string Take() { return std::move(bytes_); }

 private:
  void Add(const FieldRef& field) {
    Value(field.field_id);
    Value(static_cast<int32_t>(field.type));
    Value(static_cast<int32_t>(field.element_type));
    Value(static_cast<uint32_t>(field.path.size()));
    for (const PathStep& step : field.path) {
      Text(step.key);
      Value(step.index);
      Value(static_cast<uint8_t>(step.quoted ? 1 : 0));
    }
  }

  bool Add(const SpatialTest& test) {
    Value(static_cast<uint8_t>(test.relation()));
    Value(test.meters());
    if (test.constant().size() > kLongestCanonicalKey) return false;
    Text(test.constant());
    return true;
  }

  bool Add(const Literal& literal) {
    Value(static_cast<uint8_t>(literal.value.index()));
    if (const auto* truth = std::get_if<bool>(&literal.value)) {
      Value(static_cast<uint8_t>(*truth ? 1 : 0));
    } else if (const auto* integer = std::get_if<int64_t>(&literal.value)) {
      Value(*integer);
    } else if (const auto* real = std::get_if<double>(&literal.value)) {
      Value(*real);
    } else if (const auto* text = std::get_if<std::string>(&literal.value)) {
      if (text->size() > kLongestCanonicalKey) return false;
      Text(*text);
    } else {
      const size_t size = literal.list_size();
      if (size > kLongestCanonicalKey / 8) return false;
      Value(static_cast<uint32_t>(size));
      for (size_t i = 0; i < size; ++i) {
        if (!Add(literal.Element(i))) return false;
      }
    }
    return bytes_.size() <= kLongestCanonicalKey;
  }

  template <typename T>
  void Value(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void Text(std::string_view text) {
    Value(static_cast<uint32_t>(text.size()));
    bytes_ += text;
  }

  std::string bytes_;
};

}  // namespace

std::string CanonicalKey(const Predicate& filter) {
  KeyWriter writer;
  return writer.Add(filter) ? writer.Take() : std::string();
}

}  // namespace quiver::expr
