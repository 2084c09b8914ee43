// File: expr/test_table.h
// TestTable: rows written as JSON objects, served to filters as columns. For tests and fuzzing only.
// Thread rule: build on one thread; then safe to read from many.
#pragma once

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expr/filter.h"
#include "expr/json_form.h"
#include "expr/json_form_writer.h"
#include "expr/json_scan.h"
#include "schema/geometry.h"

namespace quiver::expr {

/// Makes a field; the id is given by the order in SchemaOf.
inline FieldSchema TestField(std::string name, DataType type, bool nullable = false,
                             DataType element_type = DataType::kNone) {
  FieldSchema field;
  field.name = std::move(name);
  field.type = type;
  field.element_type = element_type;
  field.nullable = nullable;
  return field;
}

/// Gives the fields ids from 100 on, and appends `$meta` where `dynamic`.
inline CollectionSchema SchemaOf(std::vector<FieldSchema> fields, bool dynamic = false) {
  CollectionSchema schema;
  schema.name = "test";
  schema.enable_dynamic_field = dynamic;
  if (dynamic) {
    fields.push_back(TestField(std::string(kMetaFieldName), DataType::kJson));
    fields.back().is_dynamic = true;
  }
  int64_t field_id = kFirstUserFieldId;
  for (FieldSchema& field : fields) field.field_id = field_id++;
  schema.fields = std::move(fields);
  return schema;
}

class TestTable final : public ColumnSource {
 public:
  /// `rows`: a JSON array of objects, keyed by field name. A missing or null member is NULL; of a JSON field the member
  /// is kept as its text, and a string that begins with "json:" is the text itself.
  TestTable(const CollectionSchema& schema, std::string_view rows) {
    rapidjson::Document document;
    document.Parse<rapidjson::kParseFullPrecisionFlag>(rows.data(), rows.size());
    if (document.HasParseError() || !document.IsArray()) std::abort();
    row_count_ = document.Size();
    for (const FieldSchema& field : schema.fields) {
      Column column = Column::Make(field.field_id, field.type, field.dim, field.element_type);
      for (const auto& row : document.GetArray()) {
        const auto member = row.FindMember(field.name.c_str());
        if (member == row.MemberEnd() || member->value.IsNull()) {
          if (field.is_dynamic) {
            column.Append("{}");
          } else {
            column.AppendNull();
          }
        } else {
          Append(member->value, field.type, field.element_type, &column);
        }
      }
      columns_.push_back(std::move(column));
    }
    Refresh();
  }

  /// Makes the table look as if the field had been added after its rows.
  void Remove(int64_t field_id) { removed_.insert(field_id); }
  /// How variable-length columns are served: as requests hold them, as growing segments do, as files do with short
  /// offsets, as files do with a dictionary (VARCHAR only, with codes of one or two bytes). In the forms of files,
  /// places in JSON are columns as well. kJsonForms: as files do with short offsets where no place in JSON is a column,
  /// but all documents have a binary form.
  enum class TextForm { kOffsets, kStrings, kJsonForms, kShortOffsets, kCodes8, kCodes16 };
  static constexpr TextForm kTextForms[] = {TextForm::kOffsets,      TextForm::kStrings, TextForm::kJsonForms,
                                            TextForm::kShortOffsets, TextForm::kCodes8,  TextForm::kCodes16};
  /// kCodes8 needs at most 256 different values.
  void Serve(TextForm form) { text_form_ = form; }

  [[nodiscard]] size_t row_count() const override { return row_count_; }
  [[nodiscard]] ColumnView column(int64_t field_id) const override {
    if (removed_.contains(field_id)) return {};
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i].field_id != field_id) continue;
      ColumnView view = ViewOf(columns_[i]);
      if (!columns_[i].is_fixed()) Reform(i, &view);
      return view;
    }
    return {};
  }

  [[nodiscard]] ColumnView json_path(int64_t field_id, std::span<const std::string> keys) const override {
    if (text_form_ < TextForm::kShortOffsets || removed_.contains(field_id)) return {};
    const auto found = std::find_if(columns_.begin(), columns_.end(),
                                    [field_id](const Column& column) { return column.field_id == field_id; });
    const std::lock_guard lock(*paths_mutex_);
    std::unique_ptr<PathColumn>& path = paths_[{field_id, {keys.begin(), keys.end()}}];
    if (path == nullptr) path = MakePath(*found, keys);
    ColumnView view = ViewOf(path->column);
    if (view.width != 0 || text_form_ == TextForm::kShortOffsets) return view;
    view.offsets = nullptr;
    view.blob = nullptr;
    view.dictionary = &path->forms.dictionary;
    view.codes16 = path->forms.codes16.data();
    return view;
  }
  [[nodiscard]] JsonForms json_forms(int64_t field_id) const override {
    // With codes as well, so that places that are columns meet documents in binary form.
    if (text_form_ != TextForm::kJsonForms && text_form_ != TextForm::kCodes16) return {};
    if (removed_.contains(field_id)) return {};
    const auto found = std::find_if(columns_.begin(), columns_.end(),
                                    [field_id](const Column& column) { return column.field_id == field_id; });
    const std::lock_guard lock(*paths_mutex_);
    std::unique_ptr<FormColumn>& forms = json_forms_[field_id];
    if (forms == nullptr) forms = std::make_unique<FormColumn>(*found);
    JsonForms served{.keys = &forms->keys, .view = validity(field_id)};
    served.view.offsets = forms->offsets.data();
    served.view.blob = forms->bytes.data();
    return served;
  }
  [[nodiscard]] ColumnView validity(int64_t field_id) const override {
    ColumnView view = column(field_id);
    view.offsets = nullptr;
    view.offsets32 = nullptr;
    view.strings = nullptr;
    view.blob = nullptr;
    return view;
  }

  /// Serves facts about the columns, with text bounds cut short as files cut them.
  void ServeFacts(bool serve) { serve_facts_ = serve; }
  [[nodiscard]] bool Facts(int64_t field_id, PageFacts* facts) const override {
    if (!serve_facts_ || removed_.contains(field_id)) return false;
    for (const Column& column : columns_) {
      if (column.field_id == field_id) return FactsOf(column, facts);
    }
    return false;
  }

  /// Row numbers that pass, as "0 3 5".
  [[nodiscard]] std::string Select(const Filter& filter) const {
    std::vector<uint64_t> mask((row_count_ + 63) / 64);
    filter.Evaluate(*this, mask.data());
    std::string rows;
    for (size_t row = 0; row < mask.size() * 64; ++row) {
      if (((mask[row / 64] >> (row % 64)) & 1U) == 0) continue;
      if (!rows.empty()) rows += ' ';
      rows += std::to_string(row);
    }
    return rows;
  }

 private:
  static bool FactsOf(const Column& column, PageFacts* facts) {
    if (!IsFixedScalar(column.type) && column.type != DataType::kVarChar) return false;
    constexpr size_t kBoundBytes = 2;
    *facts = {};
    std::set<std::string_view> distinct;
    for (size_t row = 0; row < column.rows; ++row) {
      if (column.IsNull(row)) {
        ++facts->null_count;
        continue;
      }
      distinct.insert(column.Bytes(row));
      const bool first = !facts->has_values;
      if (column.type == DataType::kVarChar) {
        const std::string_view text = column.Bytes(row);
        facts->has_values = true;
        if (first || text < facts->least_text) facts->least_text = text;
        if (first || text > facts->most_text) facts->most_text = text;
        continue;
      }
      double real = 0;
      int64_t whole = 0;
      switch (column.type) {
        case DataType::kBool: whole = column.Get<uint8_t>(row); break;
        case DataType::kInt8: whole = column.Get<int8_t>(row); break;
        case DataType::kInt16: whole = column.Get<int16_t>(row); break;
        case DataType::kInt32: whole = column.Get<int32_t>(row); break;
        case DataType::kFloat: real = static_cast<double>(column.Get<float>(row)); break;
        case DataType::kDouble: real = column.Get<double>(row); break;
        default: whole = column.Get<int64_t>(row);
      }
      facts->has_values = true;
      facts->least = first ? whole : std::min(facts->least, whole);
      facts->most = first ? whole : std::max(facts->most, whole);
      facts->least_real = first ? real : std::min(facts->least_real, real);
      facts->most_real = first ? real : std::max(facts->most_real, real);
    }
    facts->distinct = distinct.size();
    facts->least_text = facts->least_text.substr(0, kBoundBytes);
    facts->most_text_open = facts->most_text.size() > kBoundBytes;
    return true;
  }

  static std::string TextOf(const rapidjson::Value& value) {
    constexpr std::string_view kVerbatim = "json:";
    if (value.IsString()) {
      const std::string_view text(value.GetString(), value.GetStringLength());
      if (text.starts_with(kVerbatim)) return std::string(text.substr(kVerbatim.size()));
    }
    rapidjson::StringBuffer buffer;
    rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
    value.Accept(writer);
    return {buffer.GetString(), buffer.GetSize()};
  }

  template <typename T>
  static std::string BytesOf(T value) {
    return {reinterpret_cast<const char*>(&value), sizeof(T)};
  }

  /// Bytes of a scalar as columns and arrays hold it.
  static std::string ScalarBytes(const rapidjson::Value& value, DataType type) {
    switch (type) {
      case DataType::kBool: return BytesOf<uint8_t>(value.GetBool() ? 1 : 0);
      case DataType::kInt8: return BytesOf(static_cast<int8_t>(value.GetInt()));
      case DataType::kInt16: return BytesOf(static_cast<int16_t>(value.GetInt()));
      case DataType::kInt32: return BytesOf(static_cast<int32_t>(value.GetInt()));
      case DataType::kInt64: return BytesOf(value.GetInt64());
      case DataType::kFloat: return BytesOf(static_cast<float>(value.GetDouble()));
      case DataType::kDouble: return BytesOf(value.GetDouble());
      case DataType::kGeometry: return *WkbFromWkt(value.GetString());
      case DataType::kTimestamptz: return BytesOf(*ParseTimestamp(value.GetString(), {}));
      default: return {value.GetString(), value.GetStringLength()};
    }
  }

  static void Append(const rapidjson::Value& value, DataType type, DataType element_type, Column* column) {
    if (type == DataType::kJson) {
      column->Append(TextOf(value));
    } else if (type == DataType::kArray) {
      ArrayWriter writer(element_type);
      for (const auto& element : value.GetArray()) writer.Append(ScalarBytes(element, element_type));
      column->Append(writer.Take());
    } else {
      column->Append(ScalarBytes(value, type));
    }
  }

  void Reform(size_t i, ColumnView* view) const {
    if (text_form_ == TextForm::kOffsets) return;
    view->offsets = nullptr;
    if (text_form_ == TextForm::kStrings) {
      view->blob = nullptr;
      view->strings = string_views_[i].data();
    } else if (text_form_ <= TextForm::kShortOffsets || columns_[i].type != DataType::kVarChar) {
      view->offsets32 = forms_[i].offsets32.data();
    } else {
      view->blob = nullptr;
      view->dictionary = &forms_[i].dictionary;
      const bool small = text_form_ == TextForm::kCodes8 && forms_[i].dictionary.size <= 256;
      view->codes8 = small ? forms_[i].codes8.data() : nullptr;
      view->codes16 = small ? nullptr : forms_[i].codes16.data();
    }
  }

  /// A variable-length column as files hold it.
  struct FileForms {
    std::vector<uint32_t> offsets32;
    std::vector<uint8_t> codes8;
    std::vector<uint16_t> codes16;
    std::vector<uint32_t> entry_offsets{0};
    std::string entries;
    ColumnDictionary dictionary;
  };

  /// The documents of a JSON column in binary form.
  struct FormColumn {
    explicit FormColumn(const Column& documents) {
      JsonFormWriter writer;
      for (size_t row = 0; row < documents.rows; ++row) {
        if (!documents.IsNull(row)) writer.Append(documents.Bytes(row), &bytes);
        offsets.push_back(bytes.size());
      }
      key_bytes = writer.Keys();
      keys = JsonKeyTable::Open(key_bytes).value();
    }
    FormColumn(const FormColumn&) = delete;
    FormColumn& operator=(const FormColumn&) = delete;

    std::vector<uint64_t> offsets{0};
    std::string bytes;
    std::string key_bytes;
    JsonKeyTable keys;
  };

  struct PathColumn {
    Column column;
    FileForms forms;
  };

  /// Puts the values at a place into a column of the first type that holds them all.
  std::unique_ptr<PathColumn> MakePath(const Column& json, std::span<const std::string> keys) const {
    std::vector<PathStep> steps;
    for (const std::string& key : keys) steps.push_back({.key = key});
    std::vector<JsonValue> values(row_count_);
    bool ints = true;
    bool reals = true;
    for (size_t row = 0; row < row_count_; ++row) {
      if (!json.IsNull(row)) values[row] = FindJson(json.Bytes(row), steps);
      if (values[row].type == JsonType::kMissing) continue;
      JsonNumber number;
      const bool is_number = values[row].type == JsonType::kNumber && ReadJsonNumber(values[row].text, &number);
      ints = ints && is_number && number.kind == JsonNumber::Kind::kInt;
      reals = reals && is_number && number.kind == JsonNumber::Kind::kDouble;
    }
    auto path = std::make_unique<PathColumn>();
    path->column = Column::Make(-1, ints ? DataType::kInt64 : reals ? DataType::kDouble : DataType::kVarChar);
    for (const JsonValue& value : values) {
      JsonNumber number;
      if (value.type == JsonType::kMissing) {
        path->column.AppendNull();
      } else if (ints || reals) {
        ReadJsonNumber(value.text, &number);
        path->column.Append(ints ? BytesOf(number.integer) : BytesOf(number.real));
      } else {
        const size_t quote = value.type == JsonType::kString ? 1 : 0;
        path->column.Append(std::string_view(value.text.data() - quote, value.text.size() + 2 * quote));
      }
    }
    if (!path->column.is_fixed()) MakeForms(path->column, &path->forms);
    return path;
  }

  void MakeForms(const Column& column, FileForms* forms) const {
    static uint64_t last_id = 0;
    std::map<std::string_view, uint32_t> codes;
    for (size_t row = 0; row < row_count_; ++row) codes[column.Bytes(row)] = 0;
    for (auto& [text, code] : codes) {
      code = static_cast<uint32_t>(forms->entry_offsets.size() - 1);
      forms->entries += text;
      forms->entry_offsets.push_back(static_cast<uint32_t>(forms->entries.size()));
    }
    for (const uint64_t offset : column.offsets) forms->offsets32.push_back(static_cast<uint32_t>(offset));
    for (size_t row = 0; row < row_count_; ++row) {
      const uint32_t code = codes[column.Bytes(row)];
      forms->codes8.push_back(static_cast<uint8_t>(code));
      forms->codes16.push_back(static_cast<uint16_t>(code));
    }
    forms->dictionary = {.id = ++last_id,
                         .size = static_cast<uint32_t>(codes.size()),
                         .offsets = forms->entry_offsets.data(),
                         .blob = forms->entries.data()};
  }

  void Refresh() {
    string_views_.resize(columns_.size());
    forms_.resize(columns_.size());
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i].is_fixed()) continue;
      for (size_t row = 0; row < row_count_; ++row) string_views_[i].push_back(columns_[i].Bytes(row));
      MakeForms(columns_[i], &forms_[i]);
    }
  }

  size_t row_count_ = 0;
  std::vector<Column> columns_;
  std::vector<std::vector<std::string_view>> string_views_;
  std::set<int64_t> removed_;
  bool serve_facts_ = false;
  std::vector<FileForms> forms_;  ///< as columns_
  using PathName = std::pair<int64_t, std::vector<std::string>>;
  mutable std::map<PathName, std::unique_ptr<PathColumn>> paths_;
  mutable std::map<int64_t, std::unique_ptr<FormColumn>> json_forms_;  ///< by field
  std::unique_ptr<std::mutex> paths_mutex_ = std::make_unique<std::mutex>();
  TextForm text_form_ = TextForm::kOffsets;
};

}  // namespace quiver::expr
