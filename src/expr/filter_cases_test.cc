// Every line of testdata/filter_cases.tsv: is a filter accepted or refused?
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "expr/test_table.h"

namespace quiver::expr {
namespace {

CollectionSchema CaseSchema(const std::string& kind) {
  std::vector<FieldSchema> fields = {
      TestField("pk", DataType::kInt64),
      TestField("BoolField", DataType::kBool),
      TestField("Int8Field", DataType::kInt8),
      TestField("Int16Field", DataType::kInt16),
      TestField("Int32Field", DataType::kInt32),
      TestField("Int64Field", DataType::kInt64),
      TestField("FloatField", DataType::kFloat),
      TestField("DoubleField", DataType::kDouble),
      TestField("StringField", DataType::kString),
      TestField("VarCharField", DataType::kVarChar),
      TestField("TextField", DataType::kText),
      TestField("JSONField", DataType::kJson),
      TestField("ArrayField", DataType::kArray, false, DataType::kInt64),
      TestField("StringArrayField", DataType::kArray, false, DataType::kVarChar),
      TestField("GeometryField", DataType::kGeometry),
      TestField("TimestamptzField", DataType::kTimestamptz),
      TestField("struct_array[sub_str]", DataType::kArray, false, DataType::kVarChar),
      TestField("struct_array[sub_int]", DataType::kArray, false, DataType::kInt64),
      TestField("FloatVectorField", DataType::kFloatVector),
      TestField("BinaryVectorField", DataType::kBinaryVector),
      TestField("Int8VectorField", DataType::kInt8Vector),
      TestField("BFloat16VectorField", DataType::kBFloat16Vector),
      TestField("SparseFloatVectorField", DataType::kSparseFloatVector),
  };
  fields[0].is_primary = true;
  if (kind == "match") {
    for (FieldSchema& field : fields) {
      if (IsString(field.type)) field.type_params = {{"enable_match", "true"}};
    }
  }
  for (FieldSchema& field : fields) {
    if (field.name.starts_with("struct_array[")) field.struct_name = "struct_array";
  }
  CollectionSchema schema = SchemaOf(std::move(fields), kind != "static");
  schema.struct_arrays.push_back({.name = "struct_array"});
  return schema;
}

std::string WithNewlines(std::string_view text) {
  constexpr std::string_view kNewline = "<newline>";
  std::string result;
  for (size_t at = text.find(kNewline); at != std::string_view::npos; at = text.find(kNewline)) {
    result.append(text.substr(0, at)).push_back('\n');
    text.remove_prefix(at + kNewline.size());
  }
  return result.append(text);
}

TEST(FilterCases, EveryCaseHasItsVerdict) {
  // The compiler may have been given a path relative to the build folder, where this program lies.
  const auto here = std::filesystem::canonical("/proc/self/exe").parent_path();
  const auto path = (here / __FILE__).parent_path() / "testdata" / "filter_cases.tsv";
  std::ifstream file(path);
  ASSERT_TRUE(file.is_open()) << path;
  const std::map<std::string, CollectionSchema> schemas = {
      {"dynamic", CaseSchema("dynamic")}, {"static", CaseSchema("static")}, {"match", CaseSchema("match")}};
  size_t count = 0;
  std::string line;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    const size_t first = line.find('\t');
    const size_t second = line.find('\t', first + 1);
    ASSERT_NE(second, std::string::npos) << line;
    const std::string verdict = line.substr(0, first);
    const std::string text = WithNewlines(line.substr(second + 1));
    const auto filter = Filter::Compile(text, schemas.at(line.substr(first + 1, second - first - 1)));
    const std::string message = filter.ok() ? "" : filter.status().message();
    const std::string shown = fmt::format("{}\n  {}", line, message);
    ++count;
    if (verdict == "ok" || verdict == "true" || verdict == "false") {
      ASSERT_TRUE(filter.ok()) << shown;
      if (verdict != "ok") {
        EXPECT_EQ((*filter)->always_true(), verdict == "true") << shown;
        EXPECT_EQ((*filter)->always_false(), verdict == "false") << shown;
      }
      continue;
    }
    ASSERT_FALSE(filter.ok()) << shown;
    EXPECT_EQ(filter.status().code(), StatusCode::kInvalidParameter) << shown;
    if (verdict == "value") {
      EXPECT_TRUE(message.starts_with(fmt::format("predicate is not a boolean expression: {}", text))) << shown;
    } else if (verdict == "no-such-function") {
      EXPECT_NE(message.find("not found"), std::string::npos) << shown;
    } else {
      ASSERT_EQ(verdict, "error") << shown;
      EXPECT_TRUE(message.starts_with(fmt::format("cannot parse expression: {}, error: ", text)) ||
                  message.starts_with(fmt::format("predicate is not a boolean expression: {}", text)))
          << shown;
    }
  }
  EXPECT_GE(count, 500U);
}

}  // namespace
}  // namespace quiver::expr
