#include "api/field_data_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "schema.pb.h"

namespace quiver::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using wire::schema::FieldData;

FieldSchema MakeField(std::string_view name, DataType type) {
  FieldSchema field;
  field.field_id = 101;
  field.name = name;
  field.type = type;
  return field;
}

template <typename T>
std::vector<T> Values(const Column& column) {
  std::vector<T> out;
  for (size_t row = 0; row < column.rows; ++row) out.push_back(column.Get<T>(row));
  return out;
}

std::string SparseRow(const std::vector<std::pair<uint32_t, float>>& pairs) {
  std::string out;
  for (const auto& [index, value] : pairs) {
    out.append(reinterpret_cast<const char*>(&index), 4);
    out.append(reinterpret_cast<const char*>(&value), 4);
  }
  return out;
}

/// Encodes a decoded column again and decodes that: what a client would read and write back.
Column RoundTrip(const Column& column, const FieldSchema& field) {
  FieldData wire_form;
  EncodeColumn(column, field, &wire_form);
  auto again = DecodeColumn(wire_form, field, column.rows);
  EXPECT_TRUE(again.ok()) << again.status().message();
  return *again;
}

TEST(FieldDataCodec, DecodesEveryScalarType) {
  FieldData data;
  data.mutable_scalars()->mutable_bool_data()->add_data(true);
  data.mutable_scalars()->mutable_bool_data()->add_data(false);
  const FieldSchema flag = MakeField("flag", DataType::kBool);
  auto column = DecodeColumn(data, flag, 2);
  ASSERT_TRUE(column.ok());
  EXPECT_THAT(Values<uint8_t>(*column), ElementsAre(1, 0));
  EXPECT_EQ(RoundTrip(*column, flag).fixed, column->fixed);

  FieldData ints;
  ints.mutable_scalars()->mutable_int_data()->add_data(-128);
  ints.mutable_scalars()->mutable_int_data()->add_data(127);
  for (const DataType type : {DataType::kInt8, DataType::kInt16, DataType::kInt32}) {
    const FieldSchema field = MakeField("n", type);
    column = DecodeColumn(ints, field, 2);
    ASSERT_TRUE(column.ok());
    EXPECT_EQ(column->width, FixedWidth(type, 0));
    FieldData out;
    EncodeColumn(*column, field, &out);
    EXPECT_THAT(out.scalars().int_data().data(), ElementsAre(-128, 127));
    EXPECT_EQ(out.field_name(), "n");
    EXPECT_EQ(out.type(), static_cast<int>(type));
  }

  FieldData longs;
  longs.mutable_scalars()->mutable_long_data()->add_data(std::numeric_limits<int64_t>::min());
  column = DecodeColumn(longs, MakeField("n", DataType::kInt64), 1);
  ASSERT_TRUE(column.ok());
  EXPECT_THAT(Values<int64_t>(*column), ElementsAre(std::numeric_limits<int64_t>::min()));

  FieldData doubles;
  doubles.mutable_scalars()->mutable_double_data()->add_data(0.1);
  column = DecodeColumn(doubles, MakeField("x", DataType::kDouble), 1);
  ASSERT_TRUE(column.ok());
  EXPECT_THAT(Values<double>(*column), ElementsAre(0.1));

  FieldData json;
  json.mutable_scalars()->mutable_json_data()->add_data(R"({"a": 1})");
  json.mutable_scalars()->mutable_json_data()->add_data("");  // one SDK's null; the validation makes it one
  column = DecodeColumn(json, MakeField("j", DataType::kJson), 2);
  ASSERT_TRUE(column.ok());
  EXPECT_EQ(column->Bytes(0), R"({"a": 1})");
  EXPECT_EQ(column->Bytes(1), "");
}

TEST(FieldDataCodec, NullsComeCompactAndGoOutDense) {
  FieldSchema field = MakeField("n", DataType::kInt64);
  field.nullable = true;
  FieldData data;
  data.mutable_scalars()->mutable_long_data()->add_data(7);
  data.mutable_scalars()->mutable_long_data()->add_data(9);
  for (const bool valid : {true, false, true, false}) data.add_valid_data(valid);
  const auto column = DecodeColumn(data, field, 4);
  ASSERT_TRUE(column.ok()) << column.status().message();
  EXPECT_THAT(Values<int64_t>(*column), ElementsAre(7, 0, 9, 0));
  EXPECT_THAT(column->valid, ElementsAre(1, 0, 1, 0));

  FieldData out;
  EncodeColumn(*column, field, &out);
  EXPECT_THAT(out.scalars().long_data().data(), ElementsAre(7, 0, 9, 0));
  EXPECT_THAT(out.valid_data(), ElementsAre(true, false, true, false));
}

TEST(FieldDataCodec, NullableColumnsAlwaysCarryMarksOut) {
  FieldSchema field = MakeField("s", DataType::kVarChar);
  field.nullable = true;
  FieldData data;
  data.mutable_scalars()->mutable_string_data()->add_data("a");
  const auto column = DecodeColumn(data, field, 1);
  ASSERT_TRUE(column.ok());
  EXPECT_TRUE(column->valid.empty());
  FieldData out;
  EncodeColumn(*column, field, &out);
  EXPECT_THAT(out.valid_data(), ElementsAre(true));
}

TEST(FieldDataCodec, OnlyNullsMayComeWithoutData) {
  for (const DataType type : {DataType::kVarChar, DataType::kFloatVector, DataType::kJson}) {
    FieldSchema field = MakeField("s", type);
    field.nullable = true;
    field.dim = 4;
    FieldData data;
    data.add_valid_data(false);
    data.add_valid_data(false);
    const auto column = DecodeColumn(data, field, 2);
    ASSERT_TRUE(column.ok()) << column.status().message();
    EXPECT_TRUE(column->IsNull(0));
    EXPECT_TRUE(column->IsNull(1));
  }
}

TEST(FieldDataCodec, NullVectorsAreCompactBothWays) {
  FieldSchema field = MakeField("v", DataType::kFloatVector);
  field.dim = 2;
  field.nullable = true;
  FieldData data;
  data.mutable_vectors()->set_dim(2);
  for (const float value : {1.0F, 2.0F}) data.mutable_vectors()->mutable_float_vector()->add_data(value);
  data.add_valid_data(false);
  data.add_valid_data(true);
  const auto column = DecodeColumn(data, field, 2);
  ASSERT_TRUE(column.ok()) << column.status().message();
  EXPECT_TRUE(column->IsNull(0));
  EXPECT_EQ(column->fixed.size(), 16U);
  FieldData out;
  EncodeColumn(*column, field, &out);
  EXPECT_THAT(out.vectors().float_vector().data(), ElementsAre(1.0F, 2.0F));
  EXPECT_THAT(out.valid_data(), ElementsAre(false, true));
}

TEST(FieldDataCodec, WrongValidDataIsRefused) {
  FieldSchema field = MakeField("n", DataType::kInt64);
  FieldData data;
  data.mutable_scalars()->mutable_long_data()->add_data(7);
  data.add_valid_data(true);
  EXPECT_THAT(DecodeColumn(data, field, 1).status().message(),
              HasSubstr("the length of valid_data of field(n) is wrong"));
  field.nullable = true;
  EXPECT_TRUE(DecodeColumn(data, field, 1).ok());
  data.add_valid_data(true);
  EXPECT_THAT(DecodeColumn(data, field, 2).status().message(),
              HasSubstr("the length of field is wrong: invalid parameter[expected=2][actual=1]"));
}

TEST(FieldDataCodec, WrongTypeAndRowCountHaveThePublishedTexts) {
  FieldData data;
  data.mutable_scalars()->mutable_string_data()->add_data("7");
  EXPECT_THAT(DecodeColumn(data, MakeField("n", DataType::kInt64), 1).status().message(),
              HasSubstr("field 'n' is illegal, array type mismatch"));
  EXPECT_THAT(DecodeColumn(data, MakeField("v", DataType::kFloatVector), 1).status().message(),
              HasSubstr("float vector field 'v' is illegal, array type mismatch"));
  EXPECT_THAT(DecodeColumn(data, MakeField("s", DataType::kVarChar), 10).status().message(),
              HasSubstr("the num_rows (1) of field (s) is not equal to passed num_rows (10)"));
  EXPECT_FALSE(DecodeColumn(FieldData(), MakeField("s", DataType::kVarChar), 1).ok());
}

TEST(FieldDataCodec, SmallIntegersAreRangeChecked) {
  FieldData data;
  data.mutable_scalars()->mutable_int_data()->add_data(300);
  EXPECT_THAT(DecodeColumn(data, MakeField("n", DataType::kInt8), 1).status().message(),
              HasSubstr("the 0th element (300) out of range: [-128, 127]"));
  EXPECT_TRUE(DecodeColumn(data, MakeField("n", DataType::kInt16), 1).ok());
}

TEST(FieldDataCodec, DenseVectorsAreCheckedAgainstTheSchema) {
  FieldSchema field = MakeField("v", DataType::kFloatVector);
  field.dim = 4;
  FieldData data;
  data.mutable_vectors()->set_dim(3);
  for (int i = 0; i < 3; ++i) data.mutable_vectors()->mutable_float_vector()->add_data(0);
  EXPECT_THAT(DecodeColumn(data, field, 1).status().message(),
              HasSubstr("the dim (3) of field data(v) is not equal to schema dim (4)"));
  data.mutable_vectors()->set_dim(4);
  EXPECT_FALSE(DecodeColumn(data, field, 1).ok());  // says 4, holds 3
  data.mutable_vectors()->mutable_float_vector()->add_data(0);
  EXPECT_TRUE(DecodeColumn(data, field, 1).ok());
}

TEST(FieldDataCodec, ByteVectorsRoundTrip) {
  struct Case {
    DataType type;
    size_t bytes;
  };
  for (const Case& c : {Case{DataType::kBinaryVector, 2}, Case{DataType::kFloat16Vector, 32},
                        Case{DataType::kBFloat16Vector, 32}, Case{DataType::kInt8Vector, 16}}) {
    FieldSchema field = MakeField("v", c.type);
    field.dim = 16;
    Column column = Column::Make(101, c.type, 16);
    for (char row = 1; row <= 3; ++row) column.Append(std::string(c.bytes, row));
    const Column again = RoundTrip(column, field);
    EXPECT_EQ(again.fixed, column.fixed);
    EXPECT_EQ(again.width, c.bytes);
  }
}

TEST(FieldDataCodec, FloatsAreConvertedForHalfFields) {
  FieldSchema field = MakeField("v", DataType::kFloat16Vector);
  field.dim = 2;
  FieldData data;
  data.mutable_vectors()->set_dim(2);
  for (const float value : {1.0F, -2.5F}) data.mutable_vectors()->mutable_float_vector()->add_data(value);
  auto column = DecodeColumn(data, field, 1);
  ASSERT_TRUE(column.ok()) << column.status().message();
  uint16_t halves[2];
  std::memcpy(halves, column->fixed.data(), sizeof(halves));
  EXPECT_EQ(halves[0], 0x3C00);
  EXPECT_EQ(halves[1], 0xC100);
  field.type = DataType::kBFloat16Vector;
  column = DecodeColumn(data, field, 1);
  ASSERT_TRUE(column.ok());
  std::memcpy(halves, column->fixed.data(), sizeof(halves));
  EXPECT_EQ(halves[0], 0x3F80);
  EXPECT_EQ(halves[1], 0xC020);
}

TEST(FieldDataCodec, SparseRowsAreSorted) {
  const FieldSchema field = MakeField("s", DataType::kSparseFloatVector);
  FieldData data;
  auto* sparse = data.mutable_vectors()->mutable_sparse_float_vector();
  sparse->add_contents(SparseRow({{9, 1.0F}, {2, 0.5F}}));
  sparse->add_contents("");
  const auto column = DecodeColumn(data, field, 2);
  ASSERT_TRUE(column.ok()) << column.status().message();
  EXPECT_EQ(column->Bytes(0), SparseRow({{2, 0.5F}, {9, 1.0F}}));
  EXPECT_EQ(column->Bytes(1), "");
  FieldData out;
  EncodeColumn(*column, field, &out);
  EXPECT_EQ(out.vectors().dim(), 10);
  EXPECT_EQ(out.vectors().sparse_float_vector().contents_size(), 2);

  sparse->set_contents(1, "1234567");
  EXPECT_THAT(DecodeColumn(data, field, 2).status().message(),
              HasSubstr("invalid data length in sparse float vector: 7"));
}

TEST(FieldDataCodec, ArraysRoundTrip) {
  FieldSchema field = MakeField("a", DataType::kArray);
  field.element_type = DataType::kVarChar;
  FieldData data;
  auto* arrays = data.mutable_scalars()->mutable_array_data();
  auto* strings = arrays->add_data()->mutable_string_data();
  strings->add_data("x");
  strings->add_data("");
  strings->add_data("long enough to leave the small string");
  arrays->add_data();  // no type: empty
  auto column = DecodeColumn(data, field, 2);
  ASSERT_TRUE(column.ok()) << column.status().message();
  const ArrayReader reader(column->Bytes(0), DataType::kVarChar);
  ASSERT_EQ(reader.size(), 3U);
  EXPECT_EQ(reader.Element(2), "long enough to leave the small string");
  EXPECT_EQ(ArrayReader(column->Bytes(1), DataType::kVarChar).size(), 0U);
  FieldData out;
  EncodeColumn(*column, field, &out);
  EXPECT_THAT(out.scalars().array_data().data(0).string_data().data(),
              ElementsAre("x", "", "long enough to leave the small string"));
  EXPECT_EQ(out.scalars().array_data().data(1).data_case(), wire::schema::ScalarField::kStringData);
  EXPECT_EQ(out.scalars().array_data().element_type(), wire::schema::VarChar);

  field.element_type = DataType::kInt8;
  EXPECT_THAT(DecodeColumn(data, field, 2).status().message(), HasSubstr("insert data does not match"));
  arrays->mutable_data(0)->mutable_int_data()->add_data(-129);
  EXPECT_THAT(DecodeColumn(data, field, 2).status().message(), HasSubstr("out of range: [-128, 127]"));
  arrays->mutable_data(0)->mutable_int_data()->set_data(0, -128);
  column = DecodeColumn(data, field, 2);
  ASSERT_TRUE(column.ok());
  EXPECT_EQ(ArrayReader(column->Bytes(0), DataType::kInt8).Get<int8_t>(0), -128);
}

TEST(FieldDataCodec, RowsAreMatchedByNameAndDynamicMark) {
  CollectionSchema schema;
  schema.name = "c";
  schema.fields.push_back(MakeField("id", DataType::kInt64));
  google::protobuf::RepeatedPtrField<FieldData> columns;
  FieldData* id = columns.Add();
  id->set_field_name("id");
  id->mutable_scalars()->mutable_long_data()->add_data(1);
  FieldData* dynamic = columns.Add();
  dynamic->set_is_dynamic(true);
  dynamic->mutable_scalars()->mutable_json_data()->add_data("{}");
  EXPECT_FALSE(DecodeRows(columns, schema, 1).ok());

  FieldSchema meta = MakeField(std::string(kMetaFieldName), DataType::kJson);
  meta.field_id = 102;
  meta.is_dynamic = true;
  schema.fields.push_back(meta);
  auto batch = DecodeRows(columns, schema, 1);
  ASSERT_TRUE(batch.ok()) << batch.status().message();
  ASSERT_NE(batch->Find(102), nullptr);
  EXPECT_EQ(batch->Find(102)->Bytes(0), "{}");

  columns.Add()->CopyFrom(*columns.Mutable(0));
  EXPECT_THAT(DecodeRows(columns, schema, 1).status().message(), HasSubstr("duplicated field id"));
  columns.Mutable(2)->set_field_name("nobody");
  EXPECT_EQ(DecodeRows(columns, schema, 1).status().code(), StatusCode::kFieldNotFound);
}

TEST(FieldDataCodec, MomentsTravelAsTextOfAZone) {
  FieldData data;
  for (const char* text : {"2025-01-01T00:00:00Z", "2025-01-01T09:00:00.5"}) {
    data.mutable_scalars()->mutable_string_data()->add_data(text);
  }
  FieldSchema field = MakeField("ts", DataType::kTimestamptz);
  const TimeZone tokyo = *TimeZone::Load("Asia/Tokyo");
  const auto column = DecodeColumn(data, field, 2, tokyo);
  ASSERT_TRUE(column.ok()) << column.status().message();
  EXPECT_THAT(Values<int64_t>(*column), ElementsAre(1735689600000000, 1735689600500000));
  FieldData shown;
  EncodeColumn(*column, field, &shown, tokyo);
  EXPECT_EQ(shown.type(), wire::schema::Timestamptz);
  EXPECT_THAT(shown.scalars().string_data().data(),
              ElementsAre("2025-01-01T09:00:00+09:00", "2025-01-01T09:00:00.5+09:00"));

  FieldData micros;
  micros.mutable_scalars()->mutable_timestamptz_data()->add_data(5);
  EXPECT_THAT(Values<int64_t>(*DecodeColumn(micros, field, 1)), ElementsAre(5));
  data.mutable_scalars()->mutable_string_data()->set_data(1, "soon");
  EXPECT_THAT(DecodeColumn(data, field, 2).status().message(), HasSubstr("invalid timestamp string: 'soon'"));
  EXPECT_THAT(DecodeColumn(data, field, 2).status().message(), HasSubstr("field ts, row 1"));
}

TEST(FieldDataCodec, GeometriesTravelAsWkt) {
  FieldData data;
  data.mutable_scalars()->mutable_geometry_wkt_data()->add_data("POINT(1 2)");
  data.add_valid_data(false);
  data.add_valid_data(true);
  FieldSchema field = MakeField("g", DataType::kGeometry);
  field.nullable = true;
  const auto column = DecodeColumn(data, field, 2);
  ASSERT_TRUE(column.ok()) << column.status().message();
  FieldData shown;
  EncodeColumn(*column, field, &shown);
  EXPECT_THAT(shown.scalars().geometry_wkt_data().data(), ElementsAre("", "POINT (1 2)"));
  EXPECT_THAT(shown.valid_data(), ElementsAre(false, true));

  FieldData binary;
  binary.mutable_scalars()->mutable_geometry_data()->add_data(std::string(column->Bytes(1)));
  EXPECT_EQ(DecodeColumn(binary, field, 1)->Bytes(0), column->Bytes(1));
  binary.mutable_scalars()->mutable_geometry_data()->set_data(0, "junk");
  EXPECT_THAT(DecodeColumn(binary, field, 1).status().message(), HasSubstr("geometry field 'g' is illegal"));
  data.mutable_scalars()->mutable_geometry_wkt_data()->set_data(0, "POINT(1");
  EXPECT_THAT(DecodeColumn(data, field, 2).status().message(), HasSubstr("invalid WKT"));
}

TEST(FieldDataCodec, StructArraysTravelBySubFields) {
  CollectionSchema schema;
  schema.struct_arrays.push_back({.field_id = 105, .name = "r"});
  FieldSchema number = MakeField("r[n]", DataType::kArray);
  number.element_type = DataType::kInt64;
  number.struct_name = "r";
  FieldSchema text = number;
  text.field_id = 102;
  text.name = "r[t]";
  text.element_type = DataType::kVarChar;
  schema.fields = {number, text};

  google::protobuf::RepeatedPtrField<FieldData> columns;
  FieldData* records = columns.Add();
  records->set_field_name("r");
  auto* subs = records->mutable_struct_arrays();
  FieldData* numbers = subs->add_fields();
  numbers->set_field_name("n");
  numbers->mutable_scalars()->mutable_array_data()->add_data()->mutable_long_data()->add_data(7);
  FieldData* texts = subs->add_fields();
  texts->set_field_name("t");
  texts->mutable_scalars()->mutable_array_data()->add_data()->mutable_string_data()->add_data("x");
  const auto batch = DecodeRows(columns, schema, 1);
  ASSERT_TRUE(batch.ok()) << batch.status().message();
  ASSERT_NE(batch->Find(102), nullptr);

  google::protobuf::RepeatedPtrField<FieldData> out;
  EncodeColumns(batch->columns, {101, 102}, schema, {}, &out);
  ASSERT_EQ(out.size(), 1);
  EXPECT_EQ(out[0].field_name(), "r");
  EXPECT_EQ(out[0].type(), wire::schema::ArrayOfStruct);
  ASSERT_EQ(out[0].struct_arrays().fields_size(), 2);
  EXPECT_EQ(out[0].struct_arrays().fields(1).field_name(), "t");
  EXPECT_EQ(out[0].struct_arrays().fields(0).scalars().array_data().data(0).long_data().data(0), 7);

  texts->set_field_name("nobody");
  EXPECT_EQ(DecodeRows(columns, schema, 1).status().code(), StatusCode::kFieldNotFound);
}

TEST(FieldDataCodec, ListsOfVectors) {
  for (const DataType type : {DataType::kFloatVector, DataType::kFloat16Vector, DataType::kBinaryVector}) {
    FieldSchema field = MakeField("r[v]", DataType::kArrayOfVector);
    field.struct_name = "r";
    field.element_type = type;
    field.dim = 8;
    field.nullable = true;
    const size_t width = FixedWidth(type, 8);
    FieldData data;
    for (const bool valid : {true, false, true}) data.add_valid_data(valid);
    auto* lists = data.mutable_vectors()->mutable_vector_array();
    lists->add_data()->set_dim(8);  // an empty list
    auto* two = lists->add_data();
    two->set_dim(8);
    if (type == DataType::kBinaryVector) {
      two->set_binary_vector("ab");
    } else {
      for (int i = 0; i < 16; ++i) two->mutable_float_vector()->add_data(static_cast<float>(i));
    }
    const auto column = DecodeColumn(data, field, 3);
    ASSERT_TRUE(column.ok()) << column.status().ToString();
    EXPECT_TRUE(column->IsNull(1));
    EXPECT_EQ(ArrayReader(column->Bytes(0), type, 8).size(), 0U);
    const ArrayReader list(column->Bytes(2), type, 8);
    ASSERT_EQ(list.size(), 2U);
    EXPECT_EQ(list.elements().size(), 2 * width);
    EXPECT_EQ(list.Element(1), list.elements().substr(width));

    FieldData out;
    EncodeColumn(*column, field, &out, {});
    const auto& sent = out.vectors().vector_array();
    EXPECT_EQ(static_cast<int>(sent.element_type()), static_cast<int>(type));
    EXPECT_EQ(sent.dim(), 8);
    ASSERT_EQ(sent.data_size(), 3) << "an entry for every row";
    const auto again = DecodeColumn(out, field, 3);
    ASSERT_TRUE(again.ok()) << again.status().ToString();
    EXPECT_EQ(again->blob, column->blob);

    two->set_dim(4);
    EXPECT_THAT(DecodeColumn(data, field, 3).status().message(), HasSubstr("row 2"));
    lists->mutable_data()->RemoveLast();
    EXPECT_THAT(DecodeColumn(data, field, 3).status().message(), HasSubstr("the length of field is wrong"));
  }
}

TEST(FieldDataCodec, IdsOfBothKinds) {
  Column keys = Column::Make(100, DataType::kInt64);
  keys.AppendValue<int64_t>(3);
  wire::schema::IDs ids;
  EncodeIds(keys, &ids);
  EXPECT_THAT(ids.int_id().data(), ElementsAre(3));
  Column names = Column::Make(100, DataType::kVarChar);
  names.Append("k");
  EncodeIds(names, &ids);
  EXPECT_THAT(ids.str_id().data(), ElementsAre("k"));
}

}  // namespace
}  // namespace quiver::api
