#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "schema/limits.h"
#include "schema/validation.h"

namespace quiver {
namespace {

using testing::HasSubstr;

FieldSchema Field(std::string name, DataType type, KeyValues type_params = {}) {
  FieldSchema field;
  field.name = std::move(name);
  field.type = type;
  field.type_params = std::move(type_params);
  return field;
}

CollectionSchema Basic() {
  CollectionSchema schema;
  schema.name = "docs";
  schema.fields.push_back(Field("id", DataType::kInt64));
  schema.fields.back().is_primary = true;
  schema.fields.push_back(Field("v", DataType::kFloatVector, {{"dim", "8"}}));
  return schema;
}

// Applies `change` to a valid schema and returns what validation says.
Status After(const std::function<void(CollectionSchema&)>& change) {
  CollectionSchema schema = Basic();
  change(schema);
  return ValidateSchema(schema);
}

TEST(Schema, ValidSchemaGetsIdsAndParsedParameters) {
  CollectionSchema schema = Basic();
  schema.fields.push_back(Field("title", DataType::kVarChar, {{"max_length", "100"}}));
  schema.fields.push_back(Field("tags", DataType::kArray, {{"max_length", "9"}, {"max_capacity", "4096"}}));
  schema.fields.back().element_type = DataType::kVarChar;
  schema.enable_dynamic_field = true;
  const Status status = ValidateSchema(schema);
  ASSERT_TRUE(status.ok()) << status.ToString();
  ASSERT_EQ(schema.fields.size(), 5U);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(schema.fields[i].field_id, 100 + static_cast<int64_t>(i));
  EXPECT_EQ(schema.fields[1].dim, 8);
  EXPECT_EQ(schema.fields[2].max_length, 100);
  EXPECT_EQ(schema.fields[3].max_capacity, 4096);
  EXPECT_EQ(schema.fields[4].name, "$meta");
  EXPECT_EQ(schema.fields[4].type, DataType::kJson);
  EXPECT_TRUE(schema.fields[4].is_dynamic);
  EXPECT_FALSE(schema.fields[4].nullable);
}

TEST(Schema, PrimaryKeyRules) {
  EXPECT_THAT(After([](auto& s) { s.fields[0].is_primary = false; }).message(),
              HasSubstr("primary key is not specified"));
  EXPECT_THAT(After([](auto& s) {
                s.fields.push_back(Field("id2", DataType::kInt64));
                s.fields.back().is_primary = true;
              }).message(),
              HasSubstr("there are more than one primary key, field name = id, id2"));
  EXPECT_THAT(After([](auto& s) { s.fields[0].type = DataType::kInt32; }).message(),
              HasSubstr("the data type of primary key should be Int64 or VarChar"));
  EXPECT_THAT(After([](auto& s) { s.fields[0].nullable = true; }).message(),
              HasSubstr("primary field not support null"));
  EXPECT_THAT(After([](auto& s) { s.fields[0].default_value = int64_t{1}; }).message(),
              HasSubstr("primary field not support default_value"));
  EXPECT_THAT(After([](auto& s) {
                s.fields.push_back(Field("n", DataType::kInt64));
                s.fields.back().auto_id = true;
              }).message(),
              HasSubstr("only primary field can speficy AutoID with true, field name = n"));
  EXPECT_TRUE(After([](auto& s) { s.fields[0].auto_id = true; }).ok());
}

TEST(Schema, Dimensions) {
  const auto with_dim = [](DataType type, const char* dim) {
    return After([&](auto& s) {
      s.fields[1].type = type;
      s.fields[1].type_params = {{"dim", dim}};
    });
  };
  EXPECT_TRUE(with_dim(DataType::kFloatVector, "2").ok());
  EXPECT_TRUE(with_dim(DataType::kFloatVector, "32768").ok());
  EXPECT_TRUE(with_dim(DataType::kBinaryVector, "262144").ok());
  EXPECT_THAT(with_dim(DataType::kFloatVector, "1").message(),
              HasSubstr("invalid dimension: 1. should be in range 2 ~ 32768"));
  EXPECT_THAT(with_dim(DataType::kFloat16Vector, "32769").message(),
              HasSubstr("invalid dimension: 32769. should be in range 2 ~ 32768"));
  EXPECT_THAT(with_dim(DataType::kInt8Vector, "32769").message(),
              HasSubstr("invalid dimension: 32769 of field v. float vector dimension should be in range 2 ~ 32768"));
  EXPECT_THAT(with_dim(DataType::kBinaryVector, "12").message(),
              HasSubstr("invalid dimension: 12 of field v. binary vector dimension should be multiple of 8."));
  EXPECT_THAT(with_dim(DataType::kBinaryVector, "262152").message(), HasSubstr("should be in range 2 ~ 262144"));
  EXPECT_FALSE(with_dim(DataType::kFloatVector, "x").ok());
  EXPECT_FALSE(with_dim(DataType::kFloatVector, "8.0").ok());
  EXPECT_THAT(with_dim(DataType::kSparseFloatVector, "8").message(),
              HasSubstr("dim should not be specified for sparse vector field v"));
  EXPECT_THAT(After([](auto& s) { s.fields[1].type_params.clear(); }).message(),
              HasSubstr("dimension is not defined in field type params of field v, check type param `dim`"));
}

TEST(Schema, LengthsAndCapacities) {
  const auto with = [](DataType type, KeyValues params, DataType element = DataType::kNone) {
    return After([&](auto& s) {
      s.fields.push_back(Field("x", type, params));
      s.fields.back().element_type = element;
    });
  };
  EXPECT_TRUE(with(DataType::kVarChar, {{"max_length", "65535"}}).ok());
  EXPECT_EQ(with(DataType::kVarChar, {}).message(),
            "type param(max_length) should be specified for the field(x) of collection docs: missing parameter");
  EXPECT_EQ(with(DataType::kVarChar, {}).code(), StatusCode::kMissingParameter);
  EXPECT_THAT(
      with(DataType::kVarChar, {{"max_length", "65536"}}).message(),
      HasSubstr("the maximum length specified for the field(x) should be in (0, 65535], but got 65536 instead"));
  EXPECT_FALSE(with(DataType::kVarChar, {{"max_length", "0"}}).ok());
  EXPECT_TRUE(with(DataType::kArray, {{"max_capacity", "1"}}, DataType::kInt8).ok());
  EXPECT_THAT(with(DataType::kArray, {}, DataType::kInt8).message(),
              HasSubstr("type param(max_capacity) should be specified for array field x of collection docs"));
  EXPECT_THAT(with(DataType::kArray, {{"max_capacity", "4097"}}, DataType::kInt8).message(),
              HasSubstr("the maximum capacity specified for a Array should be in (0, 4096]"));
  EXPECT_THAT(with(DataType::kArray, {{"max_capacity", "4"}}, DataType::kVarChar).message(), HasSubstr("max_length"));
  for (const DataType element : {DataType::kJson, DataType::kArray, DataType::kFloatVector}) {
    EXPECT_THAT(with(DataType::kArray, {{"max_capacity", "4"}}, element).message(),
                HasSubstr(fmt::format("element type {} is not supported", DataTypeName(element))));
  }
}

TEST(Schema, TypesThatAreNotServedSaySo) {
  for (const DataType type : {DataType::kGeometry, DataType::kText, DataType::kTimestamptz}) {
    EXPECT_TRUE(After([&](auto& s) { s.fields.push_back(Field("x", type)); }).ok()) << DataTypeName(type);
  }
  EXPECT_FALSE(After([](auto& s) { s.fields.push_back(Field("x", DataType::kArrayOfStruct)); }).ok());
  const auto with_sub = [](DataType type, DataType element) {
    return After([&](auto& s) {
      s.struct_arrays.push_back({.name = "records"});
      s.fields.push_back(Field("records[x]", type));
      s.fields.back().struct_name = "records";
      s.fields.back().element_type = element;
      s.fields.back().type_params = {{"max_capacity", "8"}, {"dim", "4"}};
    });
  };
  EXPECT_TRUE(with_sub(DataType::kArray, DataType::kInt64).ok());
  for (const DataType vector : {DataType::kFloatVector, DataType::kFloat16Vector, DataType::kInt8Vector}) {
    EXPECT_TRUE(with_sub(DataType::kArrayOfVector, vector).ok()) << DataTypeName(vector);
  }
  EXPECT_THAT(with_sub(DataType::kArrayOfVector, DataType::kBinaryVector).message(), HasSubstr("multiple of 8"));
  EXPECT_FALSE(with_sub(DataType::kArrayOfVector, DataType::kSparseFloatVector).ok());
  EXPECT_FALSE(with_sub(DataType::kArrayOfVector, DataType::kInt64).ok());
  EXPECT_THAT(After([](auto& s) { s.fields.push_back(Field("x", DataType::kArrayOfVector)); }).message(),
              HasSubstr("array of vector can only be in the struct array field"));
  EXPECT_THAT(with_sub(DataType::kInt64, DataType::kNone).message(),
              HasSubstr("Fields in StructArrayField can only be array or array of vector"));
  EXPECT_THAT(After([](auto& s) { s.struct_arrays.push_back({.name = "records"}); }).message(),
              HasSubstr("has no sub-fields"));
  EXPECT_THAT(After([](auto& s) { s.fields.push_back(Field("x", DataType::kString)); }).message(),
              HasSubstr("string data type not supported yet, please use VarChar type instead"));
  EXPECT_THAT(After([](auto& s) { s.fields.push_back(Field("x", DataType::kNone)); }).message(),
              HasSubstr("data type None is not valid"));
  EXPECT_FALSE(After([](auto& s) { s.fields.push_back(Field("x", static_cast<DataType>(77))); }).ok());
}

TEST(Schema, Counts) {
  const auto with_scalars = [](size_t count) {
    return After([&](auto& s) {
      for (size_t i = s.fields.size(); i < count; ++i)
        s.fields.push_back(Field(fmt::format("f{}", i), DataType::kBool));
    });
  };
  EXPECT_TRUE(with_scalars(64).ok());
  EXPECT_THAT(with_scalars(65).message(), HasSubstr("maximum field's number should be limited to 64"));
  const auto with_vectors = [](size_t count) {
    return After([&](auto& s) {
      for (size_t i = 1; i < count; ++i) {
        s.fields.push_back(Field(fmt::format("v{}", i), DataType::kFloatVector, {{"dim", "2"}}));
      }
    });
  };
  EXPECT_TRUE(with_vectors(10).ok());
  EXPECT_THAT(with_vectors(11).message(), HasSubstr("maximum vector field's number should be limited to 10"));
  EXPECT_THAT(After([](auto& s) { s.fields.pop_back(); }).message(), HasSubstr("schema does not contain vector field"));
}

TEST(Schema, NamesAreUniqueAndNotReserved) {
  EXPECT_THAT(After([](auto& s) { s.fields.push_back(Field("id", DataType::kBool)); }).message(),
              HasSubstr("duplicated field name id found"));
  for (const char* name : {"RowID", "Timestamp", "$meta", "__virtual_pk__"}) {
    EXPECT_FALSE(After([&](auto& s) { s.fields.push_back(Field(name, DataType::kBool)); }).ok()) << name;
  }
  EXPECT_THAT(After([](auto& s) {
                s.fields.push_back(Field("m", DataType::kJson));
                s.fields.back().is_dynamic = true;
              }).message(),
              HasSubstr("cannot explicitly set a field as a dynamic field"));
  EXPECT_FALSE(After([](auto& s) { s.name = "1"; }).ok());
}

TEST(Schema, PartitionAndClusteringKeys) {
  const auto with_key = [](DataType type, bool nullable) {
    return After([&](auto& s) {
      s.fields.push_back(Field("k", type, {{"max_length", "9"}}));
      s.fields.back().is_partition_key = true;
      s.fields.back().nullable = nullable;
    });
  };
  EXPECT_TRUE(with_key(DataType::kInt64, false).ok());
  EXPECT_TRUE(with_key(DataType::kVarChar, false).ok());
  EXPECT_THAT(with_key(DataType::kBool, false).message(),
              HasSubstr("the data type of partition key should be Int64 or VarChar"));
  EXPECT_THAT(with_key(DataType::kInt64, true).message(), HasSubstr("partition key field not support nullable"));
  EXPECT_THAT(After([](auto& s) { s.fields[0].is_partition_key = true; }).message(),
              HasSubstr("the partition key field must not be primary field"));
  EXPECT_THAT(After([](auto& s) {
                for (const char* name : {"a", "b"}) {
                  s.fields.push_back(Field(name, DataType::kInt64));
                  s.fields.back().is_partition_key = true;
                }
              }).message(),
              HasSubstr("there are more than one partition key, field name = a, b"));
  const Status clustering = After([](auto& s) {
    s.fields.push_back(Field("c", DataType::kJson));
    s.fields.back().is_clustering_key = true;
  });
  EXPECT_EQ(clustering.code(), StatusCode::kIllegalSchema);
  EXPECT_THAT(clustering.message(), HasSubstr("clustering key field c has unsupported data type JSON"));
}

TEST(Schema, DefaultValuesFitTheirField) {
  const auto with_default = [](DataType type, ScalarValue value) {
    return After([&](auto& s) {
      s.fields.push_back(Field("x", type, {{"max_length", "3"}, {"max_capacity", "3"}}));
      s.fields.back().element_type = DataType::kInt8;
      s.fields.back().default_value = value;
    });
  };
  EXPECT_TRUE(with_default(DataType::kBool, true).ok());
  EXPECT_TRUE(with_default(DataType::kInt8, int64_t{-128}).ok());
  EXPECT_TRUE(with_default(DataType::kInt64, std::numeric_limits<int64_t>::min()).ok());
  EXPECT_TRUE(with_default(DataType::kFloat, 1.5).ok());
  EXPECT_TRUE(with_default(DataType::kVarChar, std::string("abc")).ok());
  EXPECT_THAT(with_default(DataType::kInt8, int64_t{128}).message(),
              HasSubstr("[128 out of range -128 <= value <= 127]"));
  EXPECT_FALSE(with_default(DataType::kInt16, int64_t{40'000}).ok());
  EXPECT_THAT(with_default(DataType::kVarChar, std::string("abcd")).message(),
              HasSubstr("the length (4) of string exceeds max length (3)"));
  EXPECT_THAT(with_default(DataType::kInt64, 1.5).message(),
              HasSubstr("type (Int64) of field (x) is not equal to the type(DataType_Double) of default_value"));
  EXPECT_FALSE(with_default(DataType::kDouble, int64_t{1}).ok());
  EXPECT_FALSE(with_default(DataType::kDouble, std::numeric_limits<double>::infinity()).ok());
  EXPECT_FALSE(with_default(DataType::kFloat, std::numeric_limits<double>::quiet_NaN()).ok());
  EXPECT_FALSE(with_default(DataType::kFloat, 1e300).ok());
  EXPECT_THAT(with_default(DataType::kJson, std::string("{}")).message(),
              HasSubstr("type not support default_value, type:JSON, name:x"));
  EXPECT_FALSE(with_default(DataType::kArray, int64_t{1}).ok());
}

TEST(AddedField, OfStructArraysAreCheckedAsOnesThatWereThere) {
  CollectionSchema schema = Basic();
  ASSERT_TRUE(ValidateSchema(schema).ok());
  const auto add = [&schema](const std::function<void(StructArraySchema&, std::vector<FieldSchema>&)>& change) {
    StructArraySchema added;
    added.name = "r";
    added.nullable = true;
    FieldSchema sub = Field("r[n]", DataType::kArray, {{"max_capacity", "7"}});
    sub.element_type = DataType::kInt32;
    sub.struct_name = "r";
    sub.nullable = true;
    std::vector<FieldSchema> subs{sub};
    change(added, subs);
    const Status status = ValidateAddedStructArray(schema, added, subs);
    EXPECT_TRUE(!status.ok() || subs.front().max_capacity == 7);
    return status;
  };
  EXPECT_TRUE(add([](auto&, auto&) {}).ok());
  EXPECT_THAT(add([](auto& added, auto&) { added.nullable = false; }).message(),
              HasSubstr("added field must be nullable, please check it, field name = r"));
  EXPECT_THAT(add([](auto& added, auto&) { added.name = "v"; }).message(), HasSubstr("duplicated field name v"));
  EXPECT_THAT(add([](auto& added, auto&) { added.name = "RowID"; }).message(),
              HasSubstr("not support to add system field"));
  EXPECT_THAT(add([](auto&, auto& subs) { subs.clear(); }).message(),
              HasSubstr("struct array field r has no sub-fields"));
  EXPECT_THAT(add([](auto&, auto& subs) { subs.push_back(subs.front()); }).message(),
              HasSubstr("duplicated field name r[n] found"));
  EXPECT_THAT(add([](auto&, auto& subs) { subs.front().type = DataType::kInt32; }).message(),
              HasSubstr("can only be array or array of vector"));
  EXPECT_THAT(add([](auto&, auto& subs) { subs.front().type_params.clear(); }).message(), HasSubstr("max_capacity"));
  EXPECT_THAT(add([](auto&, auto& subs) { subs.resize(limits::kMaxFields, subs.front()); }).message(),
              HasSubstr("The number of fields has reached the maximum value 64"));
}

TEST(AddedField, MustBeNullableAndOrdinary) {
  CollectionSchema schema = Basic();
  schema.enable_dynamic_field = true;
  ASSERT_TRUE(ValidateSchema(schema).ok());
  const auto add = [&schema](const std::function<void(FieldSchema&)>& change) {
    FieldSchema field = Field("x", DataType::kVarChar, {{"max_length", "7"}});
    field.nullable = true;
    change(field);
    return ValidateAddedField(schema, field);
  };
  FieldSchema good = Field("x", DataType::kVarChar, {{"max_length", "7"}});
  good.nullable = true;
  ASSERT_TRUE(ValidateAddedField(schema, good).ok());
  EXPECT_EQ(good.max_length, 7);
  EXPECT_EQ(add([](auto& f) { f.nullable = false; }).message(),
            "added field must be nullable, please check it, field name = x: invalid parameter");
  EXPECT_EQ(add([](auto& f) { f.is_partition_key = true; }).message(),
            "not support to add partition key field, field name  = x: invalid parameter");
  EXPECT_THAT(add([](auto& f) { f.is_primary = true; }).message(), HasSubstr("not support to add pk field"));
  EXPECT_THAT(add([](auto& f) { f.auto_id = true; }).message(), HasSubstr("only primary field can speficy AutoID"));
  EXPECT_THAT(add([](auto& f) { f.name = "v"; }).message(), HasSubstr("duplicated field name v"));
  EXPECT_THAT(add([](auto& f) { f.name = "RowID"; }).message(), HasSubstr("not support to add system field"));
  EXPECT_THAT(add([](auto& f) { f.type_params.clear(); }).message(), HasSubstr("max_length"));
  EXPECT_TRUE(add([](auto& f) {
                f.type = DataType::kFloatVector;
                f.type_params = {{"dim", "4"}};
              }).ok());
  EXPECT_THAT(add([](auto& f) {
                f.type = DataType::kFloatVector;
                f.type_params.clear();
              }).message(),
              HasSubstr("vector field must have dimension specified, field name = x"));
  while (schema.fields.size() < limits::kMaxFields + 1) {
    schema.fields.push_back(Field(fmt::format("f{}", schema.fields.size()), DataType::kBool));
  }
  EXPECT_THAT(add([](auto&) {}).message(), HasSubstr("The number of fields has reached the maximum value 64"));
}

TEST(Schema, ShardsAndPartitions) {
  CollectionSchema schema = Basic();
  ASSERT_TRUE(ValidateSchema(schema).ok());
  EXPECT_TRUE(ValidateShardsAndPartitions(schema, 0, 0).ok());
  EXPECT_TRUE(ValidateShardsAndPartitions(schema, 16, 0).ok());
  EXPECT_THAT(ValidateShardsAndPartitions(schema, 17, 0).message(),
              HasSubstr("maximum shards's number should be limited to 16"));
  EXPECT_THAT(ValidateShardsAndPartitions(schema, 1, 8).message(),
              HasSubstr("num_partitions should only be specified with partition key field enabled"));
  schema.fields.push_back(Field("k", DataType::kInt64));
  schema.fields.back().is_partition_key = true;
  EXPECT_TRUE(ValidateShardsAndPartitions(schema, 1, 1024).ok());
  EXPECT_THAT(ValidateShardsAndPartitions(schema, 1, 1025).message(),
              HasSubstr("partition number (1025) exceeds max configuration (1024)"));
  EXPECT_THAT(ValidateShardsAndPartitions(schema, 1, -1).message(),
              HasSubstr("the specified partitions should be greater than 0 if partition key is used"));
}

TEST(Properties, KnownKeysAreChecked) {
  CollectionSchema schema = Basic();
  ASSERT_TRUE(ValidateSchema(schema).ok());
  const auto set = [&schema](const char* key, const char* value) { return ValidateProperties(schema, {{key, value}}); };
  for (const auto& [key, value] : KeyValues{{"collection.ttl.seconds", "-1"},
                                            {"collection.ttl.seconds", "3155760000"},
                                            {"mmap.enabled", "True"},
                                            {"mmap.enabled", "false"},
                                            {"timezone", "UTC"},
                                            {"query_mode", "large_topk"},
                                            {"consistency_level", "Strong"},
                                            {"collection.replica.number", "2"},
                                            {"anything.else", "kept"}}) {
    EXPECT_TRUE(set(key.c_str(), value.c_str()).ok()) << key << "=" << value;
  }
  EXPECT_EQ(set("collection.ttl.seconds", "3155760001").message(),
            "collection TTL is out of range, expect [-1, 3155760000], got 3155760001: invalid parameter");
  EXPECT_THAT(set("collection.ttl.seconds", "abc").message(),
              HasSubstr("collection TTL is not a valid positive integer"));
  EXPECT_FALSE(set("mmap.enabled", "maybe").ok());
  EXPECT_FALSE(set("collection.replica.number", "0").ok());
  EXPECT_FALSE(set("consistency_level", "5").ok());
  EXPECT_FALSE(set("query_mode", "other").ok());
  EXPECT_THAT(set("timezone", "../etc/passwd").message(), HasSubstr("unknown or invalid IANA Time Zone ID"));
  EXPECT_THAT(set("allow_insert_auto_id", "true").message(),
              HasSubstr("the value for allow_insert_auto_id must be false when autoID is false"));
  EXPECT_EQ(set("ttl_field", "ends").message(), "ttl field name ends not found in schema: invalid parameter");
  EXPECT_EQ(set("ttl_field", "id").message(), "ttl field must be timestamptz, field name = id: invalid parameter");
  CollectionSchema with_end = Basic();
  with_end.fields.push_back(Field("ends", DataType::kTimestamptz));
  ASSERT_TRUE(ValidateSchema(with_end).ok());
  EXPECT_TRUE(ValidateProperties(with_end, {{"ttl_field", "ends"}}).ok());
  EXPECT_EQ(ValidateProperties(with_end, {{"ttl_field", "ends"}, {"collection.ttl.seconds", "1"}}).message(),
            "collection TTL and ttl field cannot be set at the same time: invalid parameter");
  const Status isolation = set("partitionkey.isolation", "true");
  EXPECT_EQ(isolation.code(), StatusCode::kIllegalSchema);
  EXPECT_THAT(isolation.message(),
              HasSubstr("partition key isolation mode is enabled but no partition key field is set"));
}

TEST(FieldProperties, OnlySomeMayChange) {
  FieldSchema text = Field("t", DataType::kVarChar);
  FieldSchema number = Field("n", DataType::kInt64);
  std::vector<std::string> none;
  KeyValues set{{"mmap_enabled", "true"}, {"max_length", "9"}};
  ASSERT_TRUE(ValidateFieldProperties(text, set, none).ok());
  EXPECT_EQ(set[0].first, "mmap.enabled");
  const auto change = [&none](const FieldSchema& field, KeyValues pairs) {
    return ValidateFieldProperties(field, pairs, none);
  };
  EXPECT_THAT(change(number, {{"max_length", "9"}}).message(),
              HasSubstr("can not modify the maxlength for non-string types"));
  EXPECT_THAT(change(text, {{"max_length", "65536"}}).message(), HasSubstr("65536 exceeds the maximum allowed value"));
  EXPECT_THAT(change(text, {{"max_capacity", "9"}}).message(),
              HasSubstr("can not modify the maxcapacity for non-array types"));
  EXPECT_THAT(change(text, {{"element_type", "5"}}).message(),
              HasSubstr("element_type does not allow update in collection field param"));
  KeyValues nothing;
  std::vector<std::string> keys{"mmap_enabled"};
  EXPECT_TRUE(ValidateFieldProperties(text, nothing, keys).ok());
  EXPECT_EQ(keys[0], "mmap.enabled");
  keys = {"max_length"};
  EXPECT_THAT(ValidateFieldProperties(text, nothing, keys).message(),
              HasSubstr("max_length is not allowed to drop in collection field param"));
}

}  // namespace
}  // namespace quiver
