// Tests of the small codecs: status, schemas, query vectors, 16-bit floats.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "api/placeholder_codec.h"
#include "api/schema_codec.h"
#include "api/status_codec.h"
#include "api/vector_convert.h"
#include "common.pb.h"
#include "schema.pb.h"

namespace quiver::api {
namespace {

using ::testing::HasSubstr;

TEST(StatusCodec, FillsBothCodes) {
  wire::common::Status out;
  EncodeStatus(Status::Ok(), &out);
  EXPECT_EQ(out.ByteSizeLong(), 0U);
  EncodeStatus(Error(StatusCode::kCollectionNotFound, "collection not found[collection=x]"), &out);
  EXPECT_EQ(out.code(), 100);
  EXPECT_EQ(out.error_code(), wire::common::CollectionNotExists);
  EXPECT_EQ(out.reason(), "collection not found[collection=x]");
  EXPECT_EQ(out.extra_info().at("is_input_error"), "true");
  EXPECT_FALSE(out.retriable());

  wire::common::Status overload;
  EncodeStatus(Error(StatusCode::kRateLimit, "busy"), &overload);
  EXPECT_EQ(overload.error_code(), wire::common::RateLimit);
  EXPECT_TRUE(overload.retriable());
  EXPECT_TRUE(overload.extra_info().empty());
}

TEST(StatusCodec, LegacyNumbersAreThePublishedOnes) {
  EXPECT_EQ(LegacyErrorCode(StatusCode::kNotReady), 56);
  EXPECT_EQ(LegacyErrorCode(StatusCode::kSchemaMismatch), 62);
  EXPECT_EQ(LegacyErrorCode(StatusCode::kIndexNotFound), 25);
  EXPECT_EQ(LegacyErrorCode(StatusCode::kPartitionNotFound), 15);
  EXPECT_EQ(LegacyErrorCode(StatusCode::kInvalidParameter), 5);
  EXPECT_EQ(LegacyErrorCode(StatusCode::kCollectionNotLoaded), 1);
}

TEST(SchemaCodec, RoundTripHidesTheDynamicField) {
  wire::schema::CollectionSchema message;
  message.set_name("c");
  message.set_enable_dynamic_field(true);
  auto* id = message.add_fields();
  id->set_name("id");
  id->set_is_primary_key(true);
  id->set_data_type(wire::schema::Int64);
  auto* text = message.add_fields();
  text->set_name("text");
  text->set_data_type(wire::schema::VarChar);
  text->mutable_default_value()->set_string_data("none");
  auto* param = text->add_type_params();
  param->set_key("max_length");
  param->set_value("64");
  auto schema = DecodeSchema(message.SerializeAsString());
  ASSERT_TRUE(schema.ok()) << schema.status().message();
  EXPECT_EQ(schema->fields.size(), 2U);
  EXPECT_EQ(schema->fields[1].default_value, ScalarValue(std::string("none")));
  EXPECT_EQ(*FindValue(schema->fields[1].type_params, "max_length"), "64");

  FieldSchema meta;
  meta.name = kMetaFieldName;
  meta.type = DataType::kJson;
  meta.is_dynamic = true;
  schema->fields.push_back(meta);
  wire::schema::CollectionSchema out;
  EncodeSchema(*schema, &out);
  ASSERT_EQ(out.fields_size(), 2);
  EXPECT_TRUE(out.enable_dynamic_field());
  EXPECT_EQ(out.fields(1).default_value().string_data(), "none");
}

TEST(SchemaCodec, DefaultValuesHaveTheFieldsType) {
  wire::schema::FieldSchema field;
  field.set_name("n");
  field.set_data_type(wire::schema::Int8);
  field.mutable_default_value()->set_string_data("x");
  EXPECT_THAT(DecodeFieldSchema(field).status().message(),
              HasSubstr("type (Int8) of field (n) is not equal to the type(VarChar) of default_value"));
  field.mutable_default_value()->set_int_data(200);
  EXPECT_THAT(DecodeFieldSchema(field).status().message(), HasSubstr("[200 out of range -128 <= value <= 127]"));
  field.mutable_default_value()->set_int_data(20);
  EXPECT_EQ(DecodeFieldSchema(field)->default_value, ScalarValue(int64_t{20}));
  field.mutable_default_value()->Clear();
  EXPECT_FALSE(DecodeFieldSchema(field)->default_value.has_value());
}

TEST(SchemaCodec, WhatIsNotServedIsSaid) {
  wire::schema::CollectionSchema message;
  message.add_functions()->set_name("bm25");
  EXPECT_EQ(DecodeSchema(message.SerializeAsString()).status().code(), StatusCode::kUnimplemented);
  EXPECT_EQ(DecodeSchema("\xff\xff garbage").status().code(), StatusCode::kInvalidParameter);
}

std::string Group(int type, const std::vector<std::string>& values) {
  wire::common::PlaceholderGroup group;
  auto* placeholder = group.add_placeholders();
  placeholder->set_tag("$0");
  placeholder->set_type(static_cast<wire::common::PlaceholderType>(type));
  for (const auto& value : values) placeholder->add_values(value);
  return group.SerializeAsString();
}

std::string Floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

FieldSchema VectorField(DataType type, int64_t dim) {
  FieldSchema field;
  field.name = "v";
  field.type = type;
  field.dim = dim;
  return field;
}

TEST(PlaceholderCodec, TakesVectorsOfTheFieldsType) {
  const auto queries =
      DecodeQueryVectors(Group(101, {Floats({1, 2}), Floats({3, 4})}), VectorField(DataType::kFloatVector, 2));
  ASSERT_TRUE(queries.ok()) << queries.status().message();
  ASSERT_EQ(queries->size(), 2U);
  EXPECT_EQ((*queries)[1], Floats({3, 4}));
  EXPECT_EQ(queries->views().size(), 2U);
}

TEST(PlaceholderCodec, ConvertsFloatsForHalfFields) {
  const auto queries = DecodeQueryVectors(Group(101, {Floats({1, 2})}), VectorField(DataType::kFloat16Vector, 2));
  ASSERT_TRUE(queries.ok());
  EXPECT_EQ((*queries)[0], std::string("\x00\x3c\x00\x40", 4));
}

TEST(PlaceholderCodec, RefusesWithThePublishedTexts) {
  EXPECT_THAT(
      DecodeQueryVectors(Group(101, {Floats(std::vector<float>(127))}), VectorField(DataType::kFloatVector, 128))
          .status()
          .message(),
      HasSubstr("vector dimension mismatch, expected vector size(byte) 512, actual 508."));
  EXPECT_THAT(
      DecodeQueryVectors(Group(104, {""}), VectorField(DataType::kFloatVector, 2)).status().message(),
      HasSubstr("vector type must be the same, field v - type VECTOR_FLOAT, search ph type VECTOR_SPARSE_U32_F32"));
  EXPECT_THAT(
      DecodeQueryVectors(Group(101, {Floats({NAN, 0})}), VectorField(DataType::kFloatVector, 2)).status().message(),
      HasSubstr("is not a number or infinity"));
  EXPECT_FALSE(DecodeQueryVectors("\x0a\xff", VectorField(DataType::kFloatVector, 2)).ok());
  EXPECT_FALSE(DecodeQueryVectors("", VectorField(DataType::kFloatVector, 2)).ok());
  EXPECT_FALSE(DecodeQueryVectors(Group(104, {"123"}), VectorField(DataType::kSparseFloatVector, 0)).ok());
}

TEST(PlaceholderCodec, ListsOfVectorsAndSingleOnes) {
  FieldSchema field = VectorField(DataType::kArrayOfVector, 2);
  field.element_type = DataType::kFloatVector;
  const auto lists =
      DecodeQueryVectors(Group(301, {Floats({1, 2}), Floats({3, 4, 5, 6})}), field, MetricType::kMaxSimCosine);
  ASSERT_TRUE(lists.ok()) << lists.status().message();
  ASSERT_EQ(lists->size(), 2U);
  EXPECT_EQ((*lists)[1], Floats({3, 4, 5, 6}));
  EXPECT_TRUE(DecodeQueryVectors(Group(101, {Floats({1, 2})}), field, MetricType::kCosine).ok());
  for (const std::vector<float>& values : {std::vector<float>{}, {1}, {1, 2, 3}}) {
    EXPECT_THAT(DecodeQueryVectors(Group(301, {Floats(values)}), field, MetricType::kMaxSim).status().message(),
                HasSubstr("vector dimension mismatch"));
  }
  EXPECT_THAT(DecodeQueryVectors(Group(101, {Floats({1, 2})}), field, MetricType::kMaxSim).status().message(),
              HasSubstr("vector type must be the same"));
  EXPECT_FALSE(DecodeQueryVectors(Group(301, {Floats({1, 2})}), field, MetricType::kIp).ok()) << "no list";
  field.element_type = DataType::kFloat16Vector;
  const auto halves = DecodeQueryVectors(Group(301, {Floats({1, 2, 2, 1})}), field, MetricType::kMaxSimIp);
  ASSERT_TRUE(halves.ok()) << halves.status().message();
  EXPECT_EQ((*halves)[0], std::string("\x00\x3c\x00\x40\x00\x40\x00\x3c", 8));
}

float HalfToFloat(uint16_t half) {
  const int exponent = half >> 10 & 0x1F;
  const float mantissa = static_cast<float>(half & 0x3FF);
  float value = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(mantissa + 1024, exponent - 25);
  return half & 0x8000 ? -value : value;
}

TEST(VectorConvert, HalvesAreExactAndRoundToEven) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    if ((half & 0x7C00) == 0x7C00) continue;  // infinity, NaN
    ASSERT_EQ(FloatToHalf(HalfToFloat(half)), half);
    if ((half & 0x7FFF) >= 0x7BFF) continue;
    // The middle between two neighbours goes to the even one; next to the middle, to the nearer one.
    const float middle = (HalfToFloat(half) + HalfToFloat(static_cast<uint16_t>(half + 1))) / 2;
    const auto even = static_cast<uint16_t>(half + (half & 1));
    ASSERT_EQ(FloatToHalf(middle), even) << bits;
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, 0.0F)), half) << bits;
  }
  EXPECT_EQ(FloatToHalf(65520.0F), 0x7C00);
  EXPECT_EQ(FloatToHalf(1e-10F), 0);
  EXPECT_EQ(FloatToHalf(-INFINITY), 0xFC00);
  EXPECT_EQ(FloatToHalf(NAN) & 0x7E00, 0x7E00);
}

TEST(VectorConvert, BFloat16RoundsToEven) {
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3F808000U)), 0x3F80);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3F818000U)), 0x3F82);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3F808001U)), 0x3F81);
  EXPECT_EQ(FloatToBFloat16(INFINITY), 0x7F80);
  EXPECT_NE(FloatToBFloat16(NAN) & 0x007F, 0);
}

}  // namespace
}  // namespace quiver::api
