#include "api/output_fields.h"

#include <algorithm>
#include <string_view>

namespace quiver::api {
namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

template <typename T, typename U>
void AddOnce(std::vector<T>* list, const U& value) {
  if (std::find(list->begin(), list->end(), value) == list->end()) list->emplace_back(value);
}

}  // namespace

Result<OutputFields> ResolveOutputFields(const google::protobuf::RepeatedPtrField<std::string>& names,
                                         const CollectionSchema& schema) {
  OutputFields out;
  for (const std::string& raw : names) {
    const std::string_view name = Trim(raw);
    if (name == "*") {
      for (const FieldSchema& field : schema.fields) {
        AddOnce(&out.ids, field.field_id);
        AddOnce(&out.names, field.struct_name.empty() ? field.name : field.struct_name);
      }
      continue;
    }
    if (schema.FindStructArray(name) != nullptr) {
      for (const FieldSchema* sub : schema.SubFields(name)) AddOnce(&out.ids, sub->field_id);
      AddOnce(&out.names, name);
      continue;
    }
    if (const FieldSchema* field = schema.Find(name); field != nullptr) {
      AddOnce(&out.ids, field->field_id);
      AddOnce(&out.names, field->name);
      continue;
    }
    const FieldSchema* dynamic = schema.dynamic_field();
    if (dynamic == nullptr || name.empty()) return InvalidParameter("field {} not exist: invalid parameter", name);
    if (name.find('[') != std::string_view::npos) {
      return InvalidParameter("not support getting subkeys of json field yet: {}: invalid parameter", name);
    }
    AddOnce(&out.ids, dynamic->field_id);
    AddOnce(&out.names, name);
  }
  return out;
}

}  // namespace quiver::api
