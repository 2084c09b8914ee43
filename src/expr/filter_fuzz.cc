// Compiles and evaluates a filter on a small table. The input is the filter; what follows a line "---" is taken as the
// text of JSON values, however broken. Beyond not crashing, a filter must pass the same rows of texts and of documents
// in binary form, and a filter and its negation must not pass the same row.
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "expr/test_table.h"

namespace quiver::expr {
namespace {

CollectionSchema FuzzSchema() {
  CollectionSchema schema =
      SchemaOf({TestField("a", DataType::kInt64), TestField("i8", DataType::kInt8, true),
                TestField("i16", DataType::kInt16, true), TestField("i32", DataType::kInt32, true),
                TestField("f", DataType::kFloat, true), TestField("d", DataType::kDouble, true),
                TestField("b", DataType::kBool, true), TestField("s", DataType::kVarChar, true),
                TestField("t", DataType::kVarChar), TestField("l", DataType::kArray, true, DataType::kInt64),
                TestField("m", DataType::kArray, true, DataType::kVarChar),
                TestField("g", DataType::kArray, true, DataType::kFloat), TestField("j", DataType::kJson, true),
                TestField("v", DataType::kFloatVector), TestField("geo", DataType::kGeometry),
                TestField("ts", DataType::kTimestamptz), TestField("st[x]", DataType::kArray, true, DataType::kInt64),
                TestField("st[y]", DataType::kArray, true, DataType::kVarChar), TestField("w", DataType::kVarChar)},
               true);
  for (FieldSchema& field : schema.fields) {
    if (field.name.starts_with("st[")) field.struct_name = "st";
    if (field.name == "w") field.type_params = {{"enable_match", "true"}, {"enable_analyzer", "true"}};
  }
  schema.struct_arrays.push_back({.name = "st"});
  schema.fields[0].is_primary = true;
  for (FieldSchema& field : schema.fields) {
    if (IsVector(field.type)) field.dim = 4;
  }
  return schema;
}

/// A table whose JSON values can be exchanged.
class FuzzPage final : public ColumnSource {
 public:
  explicit FuzzPage(const CollectionSchema& schema)
      : table_(
            schema,
            R"rows([{"a":1,"i8":2,"i16":3,"i32":4,"f":0.5,"d":1e300,"b":true,"s":"abc","t":"x","l":[1,2],"m":["a"],"g":[1],
                            "ts":"2025-01-01T00:00:00Z","geo":"POINT (1 1)","st[x]":[1,2],"st[y]":["a","b"],"w":"red car"},
                           {"a":-9223372036854775808,"s":"","t":"abc","l":[],"m":[],"b":false,
                            "ts":"1969-12-31T23:59:59Z","geo":"POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))","st[x]":[],"st[y]":[],"w":""},
                           {"a":2,"i8":-128,"f":-0.0,"t":"","s":"100%_\\"}])rows") {
    for (const FieldSchema& field : schema.fields) {
      if (field.type == DataType::kJson) (field.is_dynamic ? dynamic_id_ : json_id_) = field.field_id;
    }
  }

  void SetJson(std::string_view text) {
    texts_ = {text, text.substr(0, text.size() / 2), text.substr(text.size() / 2)};
    JsonFormWriter writer;
    forms_.assign(texts_.size(), {});
    for (size_t row = 0; row < texts_.size(); ++row) writer.Append(texts_[row], &forms_[row]);
    form_views_.assign(forms_.begin(), forms_.end());
    key_bytes_ = writer.Keys();
    keys_ = JsonKeyTable::Open(key_bytes_).value();
  }
  /// Whether documents come in binary form.
  void ServeForms(bool serve) { serve_forms_ = serve; }

  [[nodiscard]] size_t row_count() const override { return table_.row_count(); }
  [[nodiscard]] ColumnView column(int64_t field_id) const override {
    if (field_id != json_id_ && field_id != dynamic_id_) return table_.column(field_id);
    return ViewOf(texts_);
  }
  [[nodiscard]] JsonForms json_forms(int64_t /*field_id*/) const override {
    return serve_forms_ ? JsonForms{.keys = &keys_, .view = ViewOf(form_views_)} : JsonForms{};
  }

 private:
  static ColumnView ViewOf(const std::vector<std::string_view>& rows) {
    ColumnView view;
    view.type = DataType::kJson;
    view.rows = rows.size();
    view.strings = rows.data();
    return view;
  }

  TestTable table_;
  int64_t json_id_ = 0;
  int64_t dynamic_id_ = 0;
  std::vector<std::string_view> texts_;
  std::vector<std::string> forms_;
  std::vector<std::string_view> form_views_;
  std::string key_bytes_;
  JsonKeyTable keys_;
  bool serve_forms_ = false;
};

void RunOne(std::string_view input) {
  static const CollectionSchema schema = FuzzSchema();
  static FuzzPage page(schema);
  static const TemplateValues values = {{"x", Literal{int64_t{1}}}, {"l", Literal{Literal::Ints{1, 2}}}};
  constexpr std::string_view kSeparator = "\n---\n";
  const size_t cut = input.find(kSeparator);
  const std::string_view text = input.substr(0, cut);
  page.SetJson(cut == std::string_view::npos ? std::string_view(R"({"k":[1,"x"],"n":{"k":null},"x":1.5})")
                                             : input.substr(cut + kSeparator.size()));
  const auto filter = Filter::Compile(text, schema, values);
  if (!filter.ok()) return;
  uint64_t passing = 0;
  page.ServeForms(false);
  (*filter)->Evaluate(page, &passing);
  uint64_t passing_forms = 0;
  page.ServeForms(true);
  (*filter)->Evaluate(page, &passing_forms);
  if (passing != passing_forms) std::abort();
  if (passing >> page.row_count() != 0) std::abort();
  if ((*filter)->always_false() && passing != 0) std::abort();
  const auto opposite = Filter::Compile("not (" + std::string(text) + ")", schema, values);
  if (!opposite.ok()) {
    // Only what the added nesting or an empty text explains may fail.
    // Samples and element filters may not stand below `not`.
    const std::string& why = opposite.status().message();
    const bool explained = why.find("nesting depth") != std::string::npos ||
                           why.find("random sample expression") != std::string::npos ||
                           why.find("element filter expression") != std::string::npos;
    if (!explained && !(*filter)->always_true()) std::abort();
    return;
  }
  uint64_t failing = 0;
  (*opposite)->Evaluate(page, &failing);
  if ((passing & failing) != 0) std::abort();
}

}  // namespace
}  // namespace quiver::expr

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quiver::expr::RunOne({reinterpret_cast<const char*>(data), size});
  return 0;
}
