#include "schema/collection_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace quiver {
namespace {

FieldSchema Field(int64_t id, std::string name, DataType type) {
  FieldSchema field;
  field.field_id = id;
  field.name = std::move(name);
  field.type = type;
  return field;
}

CollectionSchema RichSchema() {
  CollectionSchema schema;
  schema.name = "书";
  schema.description = "quotes \" and \\ and \n";
  schema.enable_dynamic_field = true;
  schema.version = 7;

  FieldSchema id = Field(100, "id", DataType::kInt64);
  id.is_primary = true;
  id.auto_id = true;
  schema.fields.push_back(id);

  FieldSchema tenant = Field(101, "tenant", DataType::kVarChar);
  tenant.description = "d";
  tenant.is_partition_key = true;
  tenant.type_params = {{"max_length", "64"}, {"mmap.enabled", "true"}};
  tenant.max_length = 64;
  schema.fields.push_back(tenant);

  FieldSchema score = Field(102, "score", DataType::kDouble);
  score.default_value = 0.1 + 0.2;
  score.nullable = true;
  schema.fields.push_back(score);

  FieldSchema count = Field(103, "count", DataType::kInt64);
  count.default_value = std::numeric_limits<int64_t>::min();
  schema.fields.push_back(count);

  FieldSchema tags = Field(104, "tags", DataType::kArray);
  tags.element_type = DataType::kVarChar;
  tags.max_capacity = 4096;
  tags.max_length = 10;
  schema.fields.push_back(tags);

  FieldSchema sub = Field(107, SubFieldName("records", "n"), DataType::kArray);
  sub.element_type = DataType::kInt8;
  sub.max_capacity = 3;
  sub.struct_name = "records";
  schema.fields.push_back(sub);
  schema.struct_arrays.push_back({.field_id = 108,
                                  .name = "records",
                                  .description = "r",
                                  .nullable = true,
                                  .type_params = {{"max_capacity", "3"}}});

  FieldSchema vector = Field(105, "v", DataType::kFloatVector);
  vector.dim = 128;
  vector.index_params = {{"k", "v"}};
  schema.fields.push_back(vector);

  FieldSchema meta = Field(106, std::string(kMetaFieldName), DataType::kJson);
  meta.is_dynamic = true;
  schema.fields.push_back(meta);
  return schema;
}

TEST(CollectionSchema, JsonRoundTripKeepsEveryMember) {
  const CollectionSchema schema = RichSchema();
  const Result<CollectionSchema> back = SchemaFromJson(SchemaToJson(schema));
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(*back, schema);
}

TEST(CollectionSchema, DefaultValuesKeepTheirTypeAcrossJson) {
  for (const ScalarValue& value : {ScalarValue(true), ScalarValue(false), ScalarValue(int64_t{1}), ScalarValue(1.0),
                                   ScalarValue(1e-300), ScalarValue(std::string("a\0b", 3)), ScalarValue("")}) {
    CollectionSchema schema;
    FieldSchema field = Field(100, "f", DataType::kInt64);
    field.default_value = value;
    schema.fields.push_back(field);
    const Result<CollectionSchema> back = SchemaFromJson(SchemaToJson(schema));
    ASSERT_TRUE(back.ok()) << back.status().ToString();
    EXPECT_EQ(back->fields[0].default_value, value);
  }
}

TEST(CollectionSchema, BrokenJsonIsCorruption) {
  const std::string good = SchemaToJson(RichSchema());
  for (size_t length = 0; length < good.size(); ++length) {
    const Result<CollectionSchema> cut = SchemaFromJson(std::string_view(good).substr(0, length));
    ASSERT_FALSE(cut.ok()) << length;
    EXPECT_EQ(cut.status().code(), StatusCode::kCorruption);
  }
  for (const char* text :
       {"[]", "{}", R"({"fields":1})", R"({"fields":[1]})", R"({"fields":[{"id":1,"name":"a"}]})",
        R"({"fields":[{"id":"1","name":"a","type":5}]})", R"({"fields":[{"id":1,"name":"a","type":99}]})",
        R"({"fields":[{"id":1,"name":"a","type":5,"default":{"int":1.5}}]})",
        R"({"fields":[{"id":1,"name":"a","type":5,"type_params":[["a"]]}]})"}) {
    EXPECT_FALSE(SchemaFromJson(text).ok()) << text;
  }
}

TEST(CollectionSchema, FindsFieldsByNameIdAndRole) {
  const CollectionSchema schema = RichSchema();
  ASSERT_NE(schema.Find("score"), nullptr);
  EXPECT_EQ(schema.Find("score")->field_id, 102);
  EXPECT_EQ(schema.Find("nothing"), nullptr);
  ASSERT_NE(schema.FindById(105), nullptr);
  EXPECT_EQ(schema.FindById(105)->name, "v");
  EXPECT_EQ(schema.FindById(1), nullptr);
  EXPECT_EQ(schema.primary().name, "id");
  ASSERT_NE(schema.dynamic_field(), nullptr);
  EXPECT_EQ(schema.dynamic_field()->name, "$meta");
  ASSERT_NE(schema.partition_key(), nullptr);
  EXPECT_EQ(schema.partition_key()->name, "tenant");
  EXPECT_THAT(schema.vector_fields(), testing::ElementsAre(schema.Find("v")));

  CollectionSchema plain;
  EXPECT_EQ(plain.dynamic_field(), nullptr);
  EXPECT_EQ(plain.partition_key(), nullptr);
  EXPECT_TRUE(plain.vector_fields().empty());
}

TEST(KeyValues, SetReplacesInPlaceAndEraseReports) {
  KeyValues pairs{{"a", "1"}, {"b", "2"}};
  SetValue(pairs, "a", "3");
  SetValue(pairs, "c", "4");
  EXPECT_EQ(pairs, (KeyValues{{"a", "3"}, {"b", "2"}, {"c", "4"}}));
  ASSERT_NE(FindValue(pairs, "b"), nullptr);
  EXPECT_EQ(*FindValue(pairs, "b"), "2");
  EXPECT_EQ(FindValue(pairs, "B"), nullptr);
  EXPECT_TRUE(EraseValue(pairs, "b"));
  EXPECT_FALSE(EraseValue(pairs, "b"));
  EXPECT_EQ(pairs.size(), 2U);
}

}  // namespace
}  // namespace quiver
