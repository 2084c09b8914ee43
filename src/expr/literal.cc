#include "expr/literal.h"

#include <rapidjson/document.h>

#include <cassert>

namespace quiver::expr {
namespace {

constexpr int kMaxDepth = 64;

bool FromJson(const rapidjson::Value& json, int depth, Literal* literal) {
  if (depth > kMaxDepth) return false;
  if (json.IsBool()) {
    literal->value = json.GetBool();
  } else if (json.IsInt64()) {
    literal->value = json.GetInt64();
  } else if (json.IsNumber()) {
    literal->value = json.GetDouble();
  } else if (json.IsString()) {
    literal->value = std::string(json.GetString(), json.GetStringLength());
  } else if (json.IsArray()) {
    Literal::List list(json.Size());
    for (rapidjson::SizeType i = 0; i < json.Size(); ++i) {
      if (!FromJson(json[i], depth + 1, &list[i])) return false;
    }
    literal->value = std::move(list);
  } else {
    return false;
  }
  return true;
}

}  // namespace

size_t Literal::list_size() const {
  return std::visit(
      [](const auto& held) -> size_t {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, Ints> || std::is_same_v<T, Doubles> || std::is_same_v<T, Strings> ||
                      std::is_same_v<T, List>) {
          return held.size();
        } else {
          return 0;
        }
      },
      value);
}

Literal Literal::Element(size_t index) const {
  assert(index < list_size());
  return std::visit(
      [index](const auto& held) -> Literal {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, List>) {
          return held[index];
        } else if constexpr (std::is_same_v<T, Ints> || std::is_same_v<T, Doubles> || std::is_same_v<T, Strings>) {
          return Literal{held[index]};
        } else {
          return Literal{};
        }
      },
      value);
}

Result<Literal> LiteralFromJson(std::string_view json) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag>(json.data(), json.size());
  Literal literal;
  if (document.HasParseError() || !FromJson(document, 0, &literal)) {
    return InvalidParameter("expression template value is not a JSON scalar or array: {}", json.substr(0, 200));
  }
  return literal;
}

}  // namespace quiver::expr
