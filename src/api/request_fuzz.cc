// Fuzzes what decodes requests: rows, query vectors, schemas, template values. Whatever arrives, the answer is rows
// that hold together or an error; nothing is read outside of the message.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "api/field_data_codec.h"
#include "api/placeholder_codec.h"
#include "api/schema_codec.h"
#include "api/template_codec.h"
#include "mutation.pb.h"
#include "schema.pb.h"
#include "schema/validation.h"

namespace {

using quiver::CollectionSchema;
using quiver::Column;
using quiver::ColumnBatch;
using quiver::DataType;
using quiver::FieldSchema;

/// A collection with a field of every served type, half of them nullable.
CollectionSchema MakeSchema() {
  CollectionSchema schema;
  schema.name = "fuzzed";
  schema.enable_dynamic_field = true;
  const auto add = [&schema](const char* name, DataType type) -> FieldSchema& {
    FieldSchema field;
    field.name = name;
    field.type = type;
    field.nullable = schema.fields.size() % 2 == 1;
    if (quiver::IsDenseVector(type)) field.type_params = {{"dim", "8"}};
    if (type == DataType::kVarChar) field.type_params = {{"max_length", "16"}};
    schema.fields.push_back(std::move(field));
    return schema.fields.back();
  };
  add("id", DataType::kInt64).is_primary = true;
  add("b", DataType::kBool);
  add("i8", DataType::kInt8);
  add("i32", DataType::kInt32);
  add("d", DataType::kDouble);
  add("s", DataType::kVarChar);
  add("j", DataType::kJson);
  FieldSchema& array = add("a", DataType::kArray);
  array.element_type = DataType::kVarChar;
  array.type_params = {{"max_capacity", "4"}, {"max_length", "16"}};
  add("v", DataType::kFloatVector).nullable = false;
  add("h", DataType::kFloat16Vector).nullable = false;
  add("x", DataType::kBinaryVector).nullable = false;
  add("sparse", DataType::kSparseFloatVector).nullable = false;
  if (!quiver::ValidateSchema(schema).ok()) std::abort();
  return schema;
}

void Check(bool holds) {
  if (!holds) std::abort();
}

void CheckColumn(const Column& column, size_t rows) {
  Check(column.rows == rows);
  Check(column.valid.empty() || column.valid.size() == rows);
  if (column.is_fixed()) {
    Check(column.fixed.size() == rows * column.width);
  } else {
    Check(column.offsets.size() == rows + 1 && column.offsets.back() == column.blob.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const CollectionSchema schema = MakeSchema();
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto length = static_cast<int>(bytes.size());
  switch (data[0] % 4) {
    case 0: {
      milvus::proto::milvus::InsertRequest request;
      if (!request.ParseFromArray(bytes.data(), length) || request.num_rows() > 4096) return 0;
      auto batch = quiver::api::DecodeRows(request.fields_data(), schema, request.num_rows());
      if (!batch.ok()) return 0;
      for (const Column& column : batch->columns) CheckColumn(column, request.num_rows());
      if (!quiver::ValidateBatch(schema, *batch, {}).ok()) return 0;
      if (!quiver::CompleteBatch(schema, *batch).ok()) return 0;
      for (const Column& column : batch->columns) {
        CheckColumn(column, request.num_rows());
        milvus::proto::schema::FieldData out;
        quiver::api::EncodeColumn(column, *schema.FindById(column.field_id), &out);
      }
      return 0;
    }
    case 1:
      for (const FieldSchema* field : schema.vector_fields()) {
        const auto queries = quiver::api::DecodeQueryVectors(bytes, *field);
        if (queries.ok()) Check(queries->views().size() == queries->size());
      }
      return 0;
    case 2: {
      auto decoded = quiver::api::DecodeSchema(bytes);
      if (decoded.ok() && quiver::ValidateSchema(*decoded).ok()) {
        milvus::proto::schema::CollectionSchema out;
        quiver::api::EncodeSchema(*decoded, &out);
      }
      return 0;
    }
    default: {
      milvus::proto::milvus::DeleteRequest request;
      if (!request.ParseFromArray(bytes.data(), length)) return 0;
      (void)quiver::api::DecodeTemplates(request.expr_template_values());
      return 0;
    }
  }
}
