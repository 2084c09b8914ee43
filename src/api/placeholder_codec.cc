#include "api/placeholder_codec.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "api/field_data_codec.h"
#include "api/vector_convert.h"
#include "common.pb.h"
#include "schema/limits.h"

namespace quiver::api {
namespace {

using wire::common::PlaceholderType;

/// The names that the published messages use for vector types.
std::string_view KernelTypeName(int type) {
  switch (type) {
    case PlaceholderType::BinaryVector: return "VECTOR_BINARY";
    case PlaceholderType::FloatVector: return "VECTOR_FLOAT";
    case PlaceholderType::Float16Vector: return "VECTOR_FLOAT16";
    case PlaceholderType::BFloat16Vector: return "VECTOR_BFLOAT16";
    case PlaceholderType::SparseFloatVector: return "VECTOR_SPARSE_U32_F32";
    case PlaceholderType::Int8Vector: return "VECTOR_INT8";
    case PlaceholderType::VarChar: return "VARCHAR";
    case PlaceholderType::Int64: return "INT64";
    case PlaceholderType::EmbListBinaryVector:
    case PlaceholderType::EmbListFloatVector:
    case PlaceholderType::EmbListFloat16Vector:
    case PlaceholderType::EmbListBFloat16Vector:
    case PlaceholderType::EmbListInt8Vector: return "EMBEDDING_LIST";
    default: return "VECTOR_ARRAY";
  }
}

Status CheckFinite(std::string_view vector, DataType type) {
  const size_t width = type == DataType::kFloatVector ? 4 : 2;
  for (size_t at = 0; at + width <= vector.size(); at += width) {
    bool finite = true;
    if (width == 4) {
      float value = 0;
      std::memcpy(&value, vector.data() + at, sizeof(value));
      finite = std::isfinite(value);
    } else {
      uint16_t bits = 0;
      std::memcpy(&bits, vector.data() + at, sizeof(bits));
      const uint16_t exponent = type == DataType::kFloat16Vector ? 0x7C00 : 0x7F80;
      finite = (bits & exponent) != exponent;
    }
    if (!finite) {
      return InvalidParameter("element {} of a query vector is not a number or infinity: invalid parameter",
                              at / width);
    }
  }
  return Status::Ok();
}

Status CheckSparse(std::string_view row) {
  uint32_t last = 0;
  for (size_t at = 0; at < row.size(); at += 8) {
    uint32_t index = 0;
    float value = 0;
    std::memcpy(&index, row.data() + at, sizeof(index));
    std::memcpy(&value, row.data() + at + sizeof(index), sizeof(value));
    if (index > limits::kMaxSparseIndex) {
      return InvalidParameter("invalid index in sparse float vector: must be less than 2^32-1: invalid parameter");
    }
    if (at > 0 && index == last) {
      return InvalidParameter("unsorted or same indices in sparse float vector: invalid parameter");
    }
    if (!std::isfinite(value)) {
      return InvalidParameter("value '{}' is not a number or infinity: invalid parameter", value);
    }
    last = index;
  }
  return Status::Ok();
}

}  // namespace

std::vector<std::string_view> QueryVectors::views() const {
  std::vector<std::string_view> out;
  out.reserve(size());
  for (size_t i = 0; i < size(); ++i) out.push_back((*this)[i]);
  return out;
}

void QueryVectors::Reserve(size_t count, size_t bytes) {
  ends_.reserve(count);
  bytes_.reserve(bytes);
}

Result<QueryVectors> DecodeQueryVectors(std::string_view placeholder_group, const FieldSchema& field,
                                        MetricType metric) {
  wire::common::PlaceholderGroup group;
  if (!group.ParseFromArray(placeholder_group.data(), static_cast<int>(placeholder_group.size()))) {
    return InvalidParameter("the placeholder group cannot be decoded: invalid parameter");
  }
  if (group.placeholders_size() != 1) {
    return InvalidParameter("placeholder group should have one placeholder, got {}: invalid parameter",
                            group.placeholders_size());
  }
  const auto& placeholder = group.placeholders(0);
  const bool lists = IsMaxSim(metric);
  const DataType vector_type = field.type == DataType::kArrayOfVector ? field.element_type : field.type;
  // The placeholders of lists have the numbers of their vectors and an offset.
  constexpr int kListOffset = PlaceholderType::EmbListFloatVector - PlaceholderType::FloatVector;
  const auto type = static_cast<int>(placeholder.type());
  const int sent = lists ? type - kListOffset : type;
  const bool convert = sent == PlaceholderType::FloatVector &&
                       (vector_type == DataType::kFloat16Vector || vector_type == DataType::kBFloat16Vector);
  if (sent != static_cast<int>(vector_type) && !convert) {
    const int wanted = static_cast<int>(vector_type) + (lists ? kListOffset : 0);
    return InvalidParameter("vector type must be the same, field {} - type {}, search ph type {}: invalid parameter",
                            field.name, KernelTypeName(wanted), KernelTypeName(type));
  }

  QueryVectors out;
  if (vector_type == DataType::kSparseFloatVector) {
    out.Reserve(static_cast<size_t>(placeholder.values_size()), 0);
    for (const std::string& row : placeholder.values()) {
      if (row.size() % 8 != 0) {
        return InvalidParameter("invalid data length in sparse float vector: {}: invalid parameter", row.size());
      }
      const std::string sorted = SortSparseRow(row);
      QUIVER_RETURN_IF_ERROR(CheckSparse(sorted));
      out.Append(sorted);
    }
    return out;
  }

  const size_t width = FixedWidth(vector_type, field.dim);
  const size_t sent_width = convert ? static_cast<size_t>(field.dim) * sizeof(float) : width;
  out.Reserve(static_cast<size_t>(placeholder.values_size()), static_cast<size_t>(placeholder.values_size()) * width);
  const bool has_floats = vector_type != DataType::kBinaryVector && vector_type != DataType::kInt8Vector;
  std::string converted;
  for (const std::string& value : placeholder.values()) {
    const size_t vectors = lists ? std::max<size_t>(value.size() / sent_width, 1) : 1;
    if (value.size() != vectors * sent_width) {
      return InvalidParameter("vector dimension mismatch, expected vector size(byte) {}, actual {}.: invalid parameter",
                              sent_width, value.size());
    }
    std::string_view vector = value;
    if (convert) {
      converted.resize(vectors * width);
      ConvertFloats(value.data(), value.size() / sizeof(float), vector_type, converted.data());
      vector = converted;
    }
    if (has_floats) QUIVER_RETURN_IF_ERROR(CheckFinite(vector, vector_type));
    out.Append(vector);
  }
  return out;
}

}  // namespace quiver::api
