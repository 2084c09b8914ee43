#include "api/partial_update.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "expr/filter.h"

namespace quiver::api {
namespace {

constexpr unsigned kParseFlags = rapidjson::kParseFullPrecisionFlag | rapidjson::kParseIterativeFlag;

/// Members of `sent` over those of `stored`; both are JSON objects (validated before they were stored or sent).
std::string MergeObjects(std::string_view stored, std::string_view sent) {
  rapidjson::Document base;
  rapidjson::Document changes;
  base.Parse<kParseFlags>(stored.data(), stored.size());
  changes.Parse<kParseFlags>(sent.data(), sent.size());
  if (base.HasParseError() || !base.IsObject()) return std::string(sent);
  if (changes.HasParseError() || !changes.IsObject()) return std::string(stored);
  for (auto& member : changes.GetObject()) {
    const auto found = base.FindMember(member.name);
    if (found != base.MemberEnd()) {
      found->value.CopyFrom(member.value, base.GetAllocator());
    } else {
      base.AddMember(rapidjson::Value(member.name, base.GetAllocator()),
                     rapidjson::Value(member.value, base.GetAllocator()), base.GetAllocator());
    }
  }
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  base.Accept(writer);
  return {buffer.GetString(), buffer.GetSize()};
}

/// A filter for exactly the rows of these keys.
Result<std::shared_ptr<const expr::Filter>> FilterOfKeys(const CollectionSchema& schema, const Column& keys) {
  expr::Literal list;
  if (keys.type == DataType::kInt64) {
    expr::Literal::Ints ints(keys.rows);
    for (size_t row = 0; row < keys.rows; ++row) ints[row] = keys.Get<int64_t>(row);
    list.value = std::move(ints);
  } else {
    expr::Literal::Strings strings(keys.rows);
    for (size_t row = 0; row < keys.rows; ++row) strings[row] = keys.Bytes(row);
    list.value = std::move(strings);
  }
  expr::TemplateValues values;
  values.emplace("keys", std::move(list));
  return expr::Filter::Compile(schema.primary().name + " in {keys}", schema, values);
}

}  // namespace

Status FillFromStored(const engine::ReadView& view, const query::Cancelled& cancelled, ColumnBatch* batch) {
  const CollectionSchema& schema = *view.info->schema;
  const FieldSchema& pk = schema.primary();
  const FieldSchema* dynamic = schema.dynamic_field();
  std::vector<int64_t> read{pk.field_id};
  for (const FieldSchema& field : schema.fields) {
    if (batch->Find(field.field_id) == nullptr || &field == dynamic) read.push_back(field.field_id);
  }
  const size_t rows = batch->rows;
  const Column& keys = *batch->Find(pk.field_id);  // until columns are added below
  QUIVER_ASSIGN_OR_RETURN(const auto filter, FilterOfKeys(schema, keys));
  QUIVER_ASSIGN_OR_RETURN(const ColumnBatch stored, query::Query({.view = view,
                                                                  .filter = filter,
                                                                  .limit = std::nullopt,
                                                                  .offset = 0,
                                                                  .output_fields = read,
                                                                  .cancelled = cancelled},
                                                                 nullptr));
  std::unordered_map<std::string_view, uint32_t> stored_row;
  for (size_t row = 0; row < stored.rows; ++row) {
    stored_row.emplace(stored.columns[0].Bytes(row), static_cast<uint32_t>(row));
  }
  std::vector<std::optional<uint32_t>> source(rows);
  for (size_t row = 0; row < rows; ++row) {
    if (const auto found = stored_row.find(keys.Bytes(row)); found != stored_row.end()) source[row] = found->second;
  }

  for (size_t i = 1; i < read.size(); ++i) {
    const FieldSchema& field = *schema.FindById(read[i]);
    const Column& old = stored.columns[i];
    Column* sent = batch->Find(field.field_id);
    Column filled = Column::Make(field.field_id, field.type, field.dim, field.element_type);
    for (size_t row = 0; row < rows; ++row) {
      if (sent != nullptr) {
        filled.Append(source[row] ? MergeObjects(old.Bytes(*source[row]), sent->Bytes(row)) : sent->Bytes(row));
      } else if (source[row]) {
        filled.AppendRows(old, {*source[row]});
      } else if (field.is_dynamic) {
        filled.Append("{}");
      } else if (field.nullable || field.default_value) {
        filled.AppendNull();
      } else {
        return InvalidParameter("fieldSchema({}) has no corresponding fieldData pass in: invalid parameter",
                                field.name);
      }
    }
    if (sent != nullptr) {
      *sent = std::move(filled);
    } else {
      batch->columns.push_back(std::move(filled));
    }
  }
  return Status::Ok();
}

}  // namespace quiver::api
