#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "schema/limits.h"
#include "schema/validation.h"

namespace quiver {
namespace {

using testing::HasSubstr;

FieldSchema Field(int64_t id, std::string name, DataType type) {
  FieldSchema field;
  field.field_id = id;
  field.name = std::move(name);
  field.type = type;
  return field;
}

constexpr int64_t kId = 100;
constexpr int64_t kVector = 101;
constexpr int64_t kTitle = 102;
constexpr int64_t kPrice = 103;
constexpr int64_t kTags = 104;
constexpr int64_t kBody = 105;
constexpr int64_t kSparse = 106;
constexpr int64_t kHalf = 107;
constexpr int64_t kRank = 108;
constexpr int64_t kMeta = 109;

CollectionSchema TestSchema() {
  CollectionSchema schema;
  schema.name = "docs";
  schema.fields.push_back(Field(kId, "id", DataType::kInt64));
  schema.fields.back().is_primary = true;
  schema.fields.push_back(Field(kVector, "v", DataType::kFloatVector));
  schema.fields.back().dim = 3;
  schema.fields.push_back(Field(kTitle, "title", DataType::kVarChar));
  schema.fields.back().max_length = 10;
  schema.fields.push_back(Field(kPrice, "price", DataType::kDouble));
  schema.fields.back().nullable = true;
  schema.fields.push_back(Field(kTags, "tags", DataType::kArray));
  schema.fields.back().element_type = DataType::kVarChar;
  schema.fields.back().max_capacity = 2;
  schema.fields.back().max_length = 4;
  schema.fields.back().nullable = true;
  schema.fields.push_back(Field(kBody, "body", DataType::kJson));
  schema.fields.back().nullable = true;
  schema.fields.push_back(Field(kSparse, "s", DataType::kSparseFloatVector));
  schema.fields.back().nullable = true;
  schema.fields.push_back(Field(kHalf, "h", DataType::kFloat16Vector));
  schema.fields.back().dim = 2;
  schema.fields.back().nullable = true;
  schema.fields.push_back(Field(kRank, "rank", DataType::kVarChar));
  schema.fields.back().max_length = 10;
  schema.fields.back().default_value = std::string("none");
  schema.enable_dynamic_field = true;
  schema.fields.push_back(Field(kMeta, "$meta", DataType::kJson));
  schema.fields.back().is_dynamic = true;
  return schema;
}

Column Vectors(std::initializer_list<float> values) {
  Column column = Column::Make(kVector, DataType::kFloatVector, 3);
  std::vector<float> row;
  for (const float value : values) {
    row.push_back(value);
    if (row.size() == 3) {
      column.Append({reinterpret_cast<const char*>(row.data()), 12});
      row.clear();
    }
  }
  return column;
}

Column Strings(int64_t field_id, DataType type, std::initializer_list<std::string_view> values) {
  Column column = Column::Make(field_id, type);
  for (const std::string_view value : values) column.Append(value);
  return column;
}

// Two good rows with the required columns only.
ColumnBatch TestBatch() {
  ColumnBatch batch;
  batch.rows = 2;
  Column id = Column::Make(kId, DataType::kInt64);
  id.AppendValue<int64_t>(1);
  id.AppendValue<int64_t>(2);
  batch.columns.push_back(id);
  batch.columns.push_back(Vectors({1, 2, 3, 4, 5, 6}));
  batch.columns.push_back(Strings(kTitle, DataType::kVarChar, {"a", "b"}));
  return batch;
}

Status With(Column column, BatchRules rules = {}) {
  ColumnBatch batch = TestBatch();
  std::erase_if(batch.columns, [&column](const Column& c) { return c.field_id == column.field_id; });
  batch.columns.push_back(std::move(column));
  return ValidateBatch(TestSchema(), batch, rules);
}

TEST(Batch, GoodRowsPass) {
  const Status status = ValidateBatch(TestSchema(), TestBatch(), {});
  EXPECT_TRUE(status.ok()) << status.ToString();
}

TEST(Batch, NeedsRows) {
  ColumnBatch batch;
  EXPECT_THAT(ValidateBatch(TestSchema(), batch, {}).message(), HasSubstr("num_rows should be greater than 0"));
}

TEST(Batch, MissingUnknownAndRepeatedColumns) {
  ColumnBatch batch = TestBatch();
  batch.columns.erase(batch.columns.begin() + 1);
  EXPECT_EQ(ValidateBatch(TestSchema(), batch, {}).message(),
            "fieldSchema(v) has no corresponding fieldData pass in: invalid parameter");
  EXPECT_TRUE(ValidateBatch(TestSchema(), batch, {.kind = WriteKind::kUpsert, .partial_update = true}).ok());
  batch.columns.erase(batch.columns.begin());
  EXPECT_THAT(ValidateBatch(TestSchema(), batch, {.kind = WriteKind::kUpsert, .partial_update = true}).message(),
              HasSubstr("must assign pk when upsert, primary field: id"));

  batch = TestBatch();
  batch.columns.push_back(batch.columns[0]);
  EXPECT_EQ(ValidateBatch(TestSchema(), batch, {}).message(),
            "The FieldDatas parameter being passed contains duplicate data for this field: invalid "
            "parameter[field=id]");
  batch = TestBatch();
  batch.columns[0].field_id = 777;
  EXPECT_THAT(ValidateBatch(TestSchema(), batch, {}).message(), HasSubstr("not exist in collection schema"));
}

TEST(Batch, AutoIdKeysAreAbsentUnlessAllowed) {
  CollectionSchema schema = TestSchema();
  schema.fields[0].auto_id = true;
  ColumnBatch batch = TestBatch();
  EXPECT_THAT(ValidateBatch(schema, batch, {}).message(), HasSubstr("more fieldData has pass in"));
  EXPECT_TRUE(ValidateBatch(schema, batch, {.allow_insert_auto_id = true}).ok());
  EXPECT_TRUE(ValidateBatch(schema, batch, {.kind = WriteKind::kUpsert}).ok());
  batch.columns.erase(batch.columns.begin());
  EXPECT_TRUE(ValidateBatch(schema, batch, {}).ok());
  EXPECT_TRUE(ValidateBatch(schema, batch, {.allow_insert_auto_id = true}).ok());
  EXPECT_THAT(ValidateBatch(schema, batch, {.kind = WriteKind::kUpsert}).message(), HasSubstr("must assign pk"));
}

TEST(Batch, ShapeErrorsNameExpectedAndActual) {
  Column wide = Column::Make(kVector, DataType::kFloatVector, 4);
  wide.fixed.resize(32);
  wide.rows = 2;
  EXPECT_EQ(With(wide).message(),
            "the dim (4) of field data(v) is not equal to schema dim (3): invalid parameter[expected=3][actual=4]");
  EXPECT_EQ(With(Vectors({1, 2, 3})).message(),
            "the num_rows (1) of field (v) is not equal to passed num_rows (2): invalid "
            "parameter[expected=2][actual=1]");
  Column wrong = Column::Make(kTitle, DataType::kInt64);
  wrong.AppendValue<int64_t>(1);
  wrong.AppendValue<int64_t>(1);
  EXPECT_THAT(With(wrong).message(), HasSubstr("field 'title' is illegal, array type mismatch"));
}

TEST(Batch, NullsOnlyWhereAllowed) {
  Column titles = Column::Make(kTitle, DataType::kVarChar);
  titles.Append("a");
  titles.AppendNull();
  EXPECT_THAT(With(titles).message(), HasSubstr("the length of valid_data of field(title) is wrong"));
  EXPECT_THAT(With(titles).message(), HasSubstr("row number: 1"));
  Column ids = Column::Make(kId, DataType::kInt64);
  ids.AppendNull();
  ids.AppendValue<int64_t>(2);
  EXPECT_THAT(With(ids).message(), HasSubstr("primary field not support null"));
  Column prices = Column::Make(kPrice, DataType::kDouble);
  prices.AppendNull();
  prices.AppendNull();
  EXPECT_TRUE(With(prices).ok());
  Column ranks = Column::Make(kRank, DataType::kVarChar);
  ranks.AppendNull();
  ranks.Append("x");
  EXPECT_TRUE(With(ranks).ok()) << "null stands for the default value";
}

TEST(Batch, StringLengthsCountBytes) {
  EXPECT_TRUE(With(Strings(kTitle, DataType::kVarChar, {"0123456789", ""})).ok());
  EXPECT_EQ(With(Strings(kTitle, DataType::kVarChar, {"ok", "01234567890"})).message(),
            "length of varchar field title exceeds max length, row number: 1, length: 11, max length: 10: invalid "
            "parameter");
  EXPECT_THAT(With(Strings(kTitle, DataType::kVarChar, {"中文字符", "a"})).message(),
              HasSubstr("row number: 0, length: 12, max length: 10"));
}

TEST(Batch, StringsAreUtf8) {
  EXPECT_TRUE(With(Strings(kTitle, DataType::kVarChar, {"é€😀", "a"})).ok());
  // Lone continuation, overlong slash, surrogate, above U+10FFFF, cut short.
  for (const std::string_view bad : {"\x80", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "a\xE2\x82", "\xFF"}) {
    EXPECT_THAT(With(Strings(kTitle, DataType::kVarChar, {"fine", bad})).message(),
                HasSubstr("row: 1 not utf-8 format"));
  }
  // A character split over two rows is not valid either.
  EXPECT_FALSE(With(Strings(kTitle, DataType::kVarChar, {"\xE2\x82", "\xAC"})).ok());
}

TEST(Batch, NonFiniteFloatsAreRefusedWhereverTheyAre) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(With(Vectors({1, 2, 3, 4, kNan, 6})).message(),
            "value 'NaN' is not a number or infinity, field: v, row number: 1: invalid parameter");
  EXPECT_THAT(With(Vectors({kInf, 2, 3, 4, 5, 6})).message(), HasSubstr("value '+Inf' is not a number or infinity"));
  EXPECT_THAT(With(Vectors({1, 2, -kInf, 4, 5, 6})).message(), HasSubstr("value '-Inf' is not a number or infinity"));
  EXPECT_TRUE(With(Vectors({std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest(),
                            std::numeric_limits<float>::denorm_min(), -0.0F, 0, 1}))
                  .ok());
  Column prices = Column::Make(kPrice, DataType::kDouble);
  prices.AppendValue(1.0);
  prices.AppendValue(std::nan(""));
  EXPECT_THAT(With(prices).message(), HasSubstr("field: price, row number: 1"));

  Column halves = Column::Make(kHalf, DataType::kFloat16Vector, 2);
  const auto append = [&halves](uint16_t a, uint16_t b) {
    const uint16_t pair[2] = {a, b};
    halves.Append({reinterpret_cast<const char*>(pair), 4});
  };
  append(0x3C00, 0x7BFF);  // 1, greatest finite
  append(0x0001, 0xFBFF);
  EXPECT_TRUE(With(halves).ok());
  halves = Column::Make(kHalf, DataType::kFloat16Vector, 2);
  append(0x3C00, 0x3C00);
  append(0x3C00, 0x7C00);  // infinity
  EXPECT_THAT(With(halves).message(), HasSubstr("float16 vector contain nan or infinity value."));
  EXPECT_THAT(With(halves).message(), HasSubstr("row number: 1"));
}

TEST(Batch, EveryPositionOfALongVectorIsChecked) {
  CollectionSchema schema = TestSchema();
  constexpr int64_t kDim = 4099;
  schema.fields[1].dim = kDim;
  for (const size_t position : {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, size_t{4098}, size_t{4099 + 17}}) {
    ColumnBatch batch = TestBatch();
    std::vector<float> values(2 * kDim, 1.0F);
    values[position] = std::numeric_limits<float>::quiet_NaN();
    Column column = Column::Make(kVector, DataType::kFloatVector, kDim);
    for (size_t row = 0; row < 2; ++row) {
      column.Append({reinterpret_cast<const char*>(values.data() + row * kDim), kDim * 4});
    }
    batch.columns[1] = column;
    EXPECT_FALSE(ValidateBatch(schema, batch, {}).ok()) << position;
  }
}

TEST(Batch, SparseVectors) {
  const auto sparse = [](std::initializer_list<std::pair<uint32_t, float>> pairs) {
    std::string bytes;
    for (const auto& [index, value] : pairs) {
      bytes.append(reinterpret_cast<const char*>(&index), 4);
      bytes.append(reinterpret_cast<const char*>(&value), 4);
    }
    return bytes;
  };
  const std::string good = sparse({{0, 1.0F}, {4'294'967'294U, -2.0F}});
  const auto with = [&good](const std::string& row) {
    return With(Strings(kSparse, DataType::kSparseFloatVector, {good, row}));
  };
  EXPECT_TRUE(with("").ok()) << "an empty sparse vector is allowed";
  EXPECT_TRUE(with(good).ok());
  EXPECT_THAT(with("1234567").message(), HasSubstr("invalid data length in sparse float vector: 7"));
  EXPECT_THAT(with(sparse({{5, 1}, {5, 1}})).message(), HasSubstr("unsorted or same indices in sparse float vector"));
  EXPECT_THAT(with(sparse({{5, 1}, {4, 1}})).message(), HasSubstr("unsorted or same indices"));
  EXPECT_THAT(with(sparse({{4'294'967'295U, 1}})).message(), HasSubstr("must be less than 2^32-1"));
  EXPECT_THAT(with(sparse({{1, NAN}})).message(), HasSubstr("is not a number or infinity"));
}

TEST(Batch, Arrays) {
  const auto array = [](std::initializer_list<std::string_view> elements) {
    ArrayWriter writer(DataType::kVarChar);
    for (const std::string_view element : elements) writer.Append(element);
    return writer.Take();
  };
  const auto with = [&array](const std::string& row) {
    Column column = Column::Make(kTags, DataType::kArray, 0, DataType::kVarChar);
    column.Append(array({}));
    column.Append(row);
    return With(column);
  };
  EXPECT_TRUE(with(array({"aaaa", ""})).ok());
  EXPECT_THAT(with(array({"a", "b", "c"})).message(),
              HasSubstr("the length (3) of 1th array exceeds max capacity (2)"));
  EXPECT_THAT(with(array({"a", "bbbbb"})).message(),
              HasSubstr("length of Array array field \"tags\" exceeds max length, row number: 1, array index: 1, "
                        "length: 5, max length: 4"));
  EXPECT_THAT(with(array({"\xFF"})).message(), HasSubstr("utf-8"));
}

TEST(Batch, JsonValuesAreWellFormed) {
  const auto with = [](std::string_view text) { return With(Strings(kBody, DataType::kJson, {"{}", text})); };
  for (const char* good : {"null", "1", "-1.5e300", "\"x\"", "[1,{\"a\":[]}]", "{\"a\":18446744073709551616}",
                           "{\"id\":1}", "{\"é\":\"中\"}", ""}) {
    EXPECT_TRUE(with(good).ok()) << good;
  }
  for (const char* bad : {"{", "{\"a\":}", "[1,]", "nul", "{} {}", "{'a':1}", "NaN", "\"\xFF\"", "01"}) {
    EXPECT_THAT(with(bad).message(), HasSubstr("json field 'body' is illegal, row number: 1")) << bad;
  }
  const std::string deep = std::string(100'000, '[');
  EXPECT_FALSE(with(deep.substr(0, 60'000)).ok()) << "must not overflow the stack";
  const std::string nested = std::string(513, '[') + std::string(513, ']');
  EXPECT_THAT(with(nested).message(), HasSubstr("nested deeper than 512 levels"));
  EXPECT_TRUE(with(std::string(512, '[') + std::string(512, ']')).ok());
  const std::string longest = "\"" + std::string(65534, 'x') + "\"";
  EXPECT_TRUE(with(longest).ok());
  EXPECT_THAT(with(longest + " ").message(), HasSubstr("the length (65537) of json field (body) exceeds max length "
                                                       "(65536)"));
}

TEST(Batch, DynamicKeysMayNotBeFieldNames) {
  const auto with = [](std::string_view text) { return With(Strings(kMeta, DataType::kJson, {"{}", text})); };
  EXPECT_TRUE(with(R"({"color":"red","nested":{"id":1}})").ok());
  EXPECT_THAT(with(R"({"color":"red","id":1})").message(),
              HasSubstr("dynamic field name cannot include the static field name: id"));
  EXPECT_THAT(with(R"({"i\u0064":1})").message(), HasSubstr("static field name: id")) << "escapes are decoded";
  EXPECT_THAT(with(R"({"$meta":1})").message(), HasSubstr("cannot set json key to: $meta"));
  EXPECT_THAT(with("[1]").message(), HasSubstr("dynamic values must be a JSON object"));
  EXPECT_THAT(with(R"({"a":")" + std::string(65536, 'x') + "\"}").message(),
              HasSubstr("the length (65544) of dynamic field exceeds max length (65536)"));
}

TEST(Complete, FillsDefaultsNullsAndMetaInFieldOrder) {
  const CollectionSchema schema = TestSchema();
  ColumnBatch batch = TestBatch();
  Column ranks = Column::Make(kRank, DataType::kVarChar);
  ranks.AppendNull();
  ranks.Append("top");
  batch.columns.insert(batch.columns.begin(), ranks);
  Column body = Column::Make(kBody, DataType::kJson);
  body.Append("");
  body.Append("[1]");
  batch.columns.push_back(body);
  ASSERT_TRUE(ValidateBatch(schema, batch, {}).ok());
  ASSERT_TRUE(CompleteBatch(schema, batch).ok());
  ASSERT_EQ(batch.columns.size(), schema.fields.size());
  for (size_t i = 0; i < batch.columns.size(); ++i) {
    EXPECT_EQ(batch.columns[i].field_id, schema.fields[i].field_id);
    EXPECT_EQ(batch.columns[i].rows, 2U);
  }
  const Column& rank = *batch.Find(kRank);
  EXPECT_TRUE(rank.valid.empty());
  EXPECT_EQ(rank.Bytes(0), "none");
  EXPECT_EQ(rank.Bytes(1), "top");
  EXPECT_TRUE(batch.Find(kPrice)->IsNull(0));
  EXPECT_TRUE(batch.Find(kPrice)->IsNull(1));
  EXPECT_TRUE(batch.Find(kBody)->IsNull(0)) << "empty bytes are null";
  EXPECT_EQ(batch.Find(kBody)->Bytes(1), "[1]");
  EXPECT_EQ(batch.Find(kMeta)->Bytes(0), "{}");
  EXPECT_EQ(batch.Find(kMeta)->Bytes(1), "{}");
}

TEST(Complete, NullsOfFixedFieldsTakeTheDefault) {
  CollectionSchema schema = TestSchema();
  schema.fields[3].default_value = 2.5;
  ColumnBatch batch = TestBatch();
  Column prices = Column::Make(kPrice, DataType::kDouble);
  prices.AppendNull();
  prices.AppendValue(1.0);
  batch.columns.push_back(prices);
  ASSERT_TRUE(ValidateBatch(schema, batch, {}).ok());
  ASSERT_TRUE(CompleteBatch(schema, batch).ok());
  EXPECT_TRUE(batch.Find(kPrice)->valid.empty());
  EXPECT_EQ(batch.Find(kPrice)->Get<double>(0), 2.5);
  EXPECT_EQ(batch.Find(kPrice)->Get<double>(1), 1.0);
}

TEST(Complete, LeavesAutoIdKeysToTheEngine) {
  CollectionSchema schema = TestSchema();
  schema.fields[0].auto_id = true;
  ColumnBatch batch = TestBatch();
  batch.columns.erase(batch.columns.begin());
  ASSERT_TRUE(ValidateBatch(schema, batch, {}).ok());
  ASSERT_TRUE(CompleteBatch(schema, batch).ok());
  EXPECT_EQ(batch.Find(kId), nullptr);
  EXPECT_EQ(batch.columns.size(), schema.fields.size() - 1);
}

TEST(Batch, ArraysOfVectorsAreCheckedByElement) {
  CollectionSchema schema;
  schema.name = "docs";
  schema.fields.resize(2);
  schema.fields[0].name = "id";
  schema.fields[0].type = DataType::kInt64;
  schema.fields[0].is_primary = true;
  schema.fields[0].field_id = kFirstUserFieldId;
  FieldSchema& field = schema.fields[1];
  field.field_id = kFirstUserFieldId + 1;
  field.name = "r[v]";
  field.struct_name = "r";
  field.type = DataType::kArrayOfVector;
  field.element_type = DataType::kFloatVector;
  field.dim = 2;
  field.max_capacity = 2;
  schema.struct_arrays.push_back({.field_id = kFirstUserFieldId + 2, .name = "r"});
  const auto check = [&schema](const std::vector<std::vector<float>>& rows) {
    ColumnBatch batch;
    batch.rows = rows.size();
    batch.columns.push_back(Column::Make(kFirstUserFieldId, DataType::kInt64));
    batch.columns.push_back(Column::Make(kFirstUserFieldId + 1, DataType::kArrayOfVector, 2, DataType::kFloatVector));
    for (const std::vector<float>& values : rows) {
      batch.columns[0].AppendValue<int64_t>(static_cast<int64_t>(batch.columns[0].rows));
      batch.columns[1].Append(
          PackElements(values.size() / 2, {reinterpret_cast<const char*>(values.data()), values.size() * 4}));
    }
    return ValidateBatch(schema, batch, {}).message();
  };
  EXPECT_EQ(check({{}, {1, 2}, {1, 2, 3, 4}}), "");
  EXPECT_NE(check({{1, 2}, {1, 2, 3, 4, 5, 6}}).find("the length (3) of 1th array exceeds max capacity (2)"),
            std::string::npos);
  EXPECT_NE(check({{1, 2}, {1, 2, 3, NAN}}).find("field: r[v], row number: 1, array index: 1"), std::string::npos);
}

TEST(Batch, StructArraysAreOfOneLength) {
  CollectionSchema schema;
  schema.name = "docs";
  schema.fields.resize(3);
  schema.fields[0].name = "id";
  schema.fields[0].type = DataType::kInt64;
  schema.fields[0].is_primary = true;
  for (size_t i = 1; i < 3; ++i) {
    schema.fields[i].name = i == 1 ? "r[a]" : "r[b]";
    schema.fields[i].struct_name = "r";
    schema.fields[i].type = DataType::kArray;
    schema.fields[i].element_type = DataType::kInt8;
    schema.fields[i].max_capacity = 4;
  }
  for (size_t i = 0; i < 3; ++i) schema.fields[i].field_id = kFirstUserFieldId + static_cast<int64_t>(i);
  schema.struct_arrays.push_back({.field_id = kFirstUserFieldId + 3, .name = "r"});

  const auto batch_of = [](size_t first, size_t second) {
    ColumnBatch batch;
    batch.rows = 1;
    batch.columns.push_back(Column::Make(kFirstUserFieldId, DataType::kInt64));
    batch.columns[0].AppendValue<int64_t>(1);
    for (const size_t length : {first, second}) {
      ArrayWriter writer(DataType::kInt8);
      for (size_t i = 0; i < length; ++i) writer.AppendValue<int8_t>(0);
      batch.columns.push_back(Column::Make(kFirstUserFieldId + static_cast<int64_t>(batch.columns.size()),
                                           DataType::kArray, 0, DataType::kInt8));
      batch.columns.back().Append(writer.Take());
    }
    return batch;
  };
  EXPECT_TRUE(ValidateBatch(schema, batch_of(2, 2), {}).ok());
  EXPECT_NE(
      ValidateBatch(schema, batch_of(2, 3), {}).message().find("inconsistent array length in struct array field r"),
      std::string::npos);
  ColumnBatch partial = batch_of(1, 1);
  partial.columns.pop_back();
  EXPECT_NE(ValidateBatch(schema, partial, {.kind = WriteKind::kUpsert, .partial_update = true})
                .message()
                .find("needs all of its 2 sub-fields"),
            std::string::npos);
}

TEST(Batch, TimestampsLieInTheirYears) {
  CollectionSchema schema;
  schema.name = "docs";
  schema.fields.resize(1);
  schema.fields[0].field_id = kFirstUserFieldId;
  schema.fields[0].name = "ts";
  schema.fields[0].type = DataType::kTimestamptz;
  const auto with = [&](int64_t micros) {
    ColumnBatch batch;
    batch.rows = 1;
    batch.columns.push_back(Column::Make(kFirstUserFieldId, DataType::kTimestamptz));
    batch.columns[0].AppendValue(micros);
    return ValidateBatch(schema, batch, {});
  };
  EXPECT_TRUE(with(0).ok());
  EXPECT_FALSE(with(INT64_MAX).ok());
  EXPECT_NE(with(INT64_MIN).message().find("timestamptz field 'ts' is out of range"), std::string::npos);
}

}  // namespace
}  // namespace quiver
