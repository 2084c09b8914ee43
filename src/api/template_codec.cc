#include "api/template_codec.h"

#include <utility>

#include "schema.pb.h"

namespace quiver::api {
namespace {

using expr::Literal;
using wire::schema::TemplateArrayValue;
using wire::schema::TemplateValue;

/// Nested lists deeper than this are no filter anyone means; the bound keeps the recursion small.
constexpr int kMaxDepth = 16;

Result<Literal> DecodeArray(const TemplateArrayValue& array, int depth) {
  if (depth > kMaxDepth) return InvalidParameter("template values are nested too deeply: invalid parameter");
  switch (array.data_case()) {
    case TemplateArrayValue::kBoolData: {
      Literal::List list;
      for (const bool value : array.bool_data().data()) list.emplace_back().value = value;
      return Literal{std::move(list)};
    }
    case TemplateArrayValue::kLongData: {
      const auto& data = array.long_data().data();
      return Literal{Literal::Ints(data.begin(), data.end())};
    }
    case TemplateArrayValue::kDoubleData: {
      const auto& data = array.double_data().data();
      return Literal{Literal::Doubles(data.begin(), data.end())};
    }
    case TemplateArrayValue::kStringData: {
      const auto& data = array.string_data().data();
      return Literal{Literal::Strings(data.begin(), data.end())};
    }
    case TemplateArrayValue::kArrayData: {
      Literal::List list;
      for (const auto& element : array.array_data().data()) {
        QUIVER_ASSIGN_OR_RETURN(Literal value, DecodeArray(element, depth + 1));
        list.push_back(std::move(value));
      }
      return Literal{std::move(list)};
    }
    case TemplateArrayValue::kJsonData: {
      Literal::List list;
      for (const std::string& json : array.json_data().data()) {
        QUIVER_ASSIGN_OR_RETURN(Literal value, expr::LiteralFromJson(json));
        list.push_back(std::move(value));
      }
      return Literal{std::move(list)};
    }
    case TemplateArrayValue::DATA_NOT_SET: break;
  }
  return Literal{Literal::List{}};
}

Result<Literal> DecodeValue(const TemplateValue& value) {
  switch (value.val_case()) {
    case TemplateValue::kBoolVal: return Literal{value.bool_val()};
    case TemplateValue::kInt64Val: return Literal{value.int64_val()};
    case TemplateValue::kFloatVal: return Literal{value.float_val()};
    case TemplateValue::kStringVal: return Literal{value.string_val()};
    case TemplateValue::kArrayVal: return DecodeArray(value.array_val(), 0);
    default: return InvalidParameter("the value has no supported type: invalid parameter");
  }
}

}  // namespace

Result<expr::TemplateValues> DecodeTemplates(const google::protobuf::Map<std::string, TemplateValue>& values) {
  expr::TemplateValues out;
  for (const auto& [name, value] : values) {
    auto literal = DecodeValue(value);
    if (!literal.ok()) return literal.status().WithContext("template " + name);
    out.emplace(name, *std::move(literal));
  }
  return out;
}

}  // namespace quiver::api
