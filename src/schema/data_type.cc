#include "schema/data_type.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

namespace quiver {

std::string_view DataTypeName(DataType type) {
  switch (type) {
    case DataType::kNone: return "None";
    case DataType::kBool: return "Bool";
    case DataType::kInt8: return "Int8";
    case DataType::kInt16: return "Int16";
    case DataType::kInt32: return "Int32";
    case DataType::kInt64: return "Int64";
    case DataType::kFloat: return "Float";
    case DataType::kDouble: return "Double";
    case DataType::kString: return "String";
    case DataType::kVarChar: return "VarChar";
    case DataType::kArray: return "Array";
    case DataType::kJson: return "JSON";
    case DataType::kGeometry: return "Geometry";
    case DataType::kText: return "Text";
    case DataType::kTimestamptz: return "Timestamptz";
    case DataType::kBinaryVector: return "BinaryVector";
    case DataType::kFloatVector: return "FloatVector";
    case DataType::kFloat16Vector: return "Float16Vector";
    case DataType::kBFloat16Vector: return "BFloat16Vector";
    case DataType::kSparseFloatVector: return "SparseFloatVector";
    case DataType::kInt8Vector: return "Int8Vector";
    case DataType::kArrayOfVector: return "ArrayOfVector";
    case DataType::kArrayOfStruct: return "ArrayOfStruct";
    case DataType::kStruct: return "Struct";
  }
  return "Unknown";
}

namespace {
constexpr std::array<std::pair<std::string_view, MetricType>, 13> kMetrics{{
    {"L2", MetricType::kL2},
    {"IP", MetricType::kIp},
    {"COSINE", MetricType::kCosine},
    {"HAMMING", MetricType::kHamming},
    {"JACCARD", MetricType::kJaccard},
    {"SUBSTRUCTURE", MetricType::kSubstructure},
    {"SUPERSTRUCTURE", MetricType::kSuperstructure},
    {"MAX_SIM", MetricType::kMaxSim},
    {"MAX_SIM_COSINE", MetricType::kMaxSimCosine},
    {"MAX_SIM_IP", MetricType::kMaxSimIp},
    {"MAX_SIM_L2", MetricType::kMaxSimL2},
    {"MAX_SIM_HAMMING", MetricType::kMaxSimHamming},
    {"MAX_SIM_JACCARD", MetricType::kMaxSimJaccard},
}};
}  // namespace

std::string_view MetricTypeName(MetricType metric) {
  for (const auto& [name, value] : kMetrics) {
    if (value == metric) return name;
  }
  return "";
}

MetricType ParseMetricType(std::string_view name) {
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  for (const auto& [known, value] : kMetrics) {
    if (known == upper) return value;
  }
  return MetricType::kNone;
}

size_t FixedWidth(DataType type, int64_t dim) {
  const auto d = static_cast<size_t>(dim);
  switch (type) {
    case DataType::kBool:
    case DataType::kInt8: return 1;
    case DataType::kInt16: return 2;
    case DataType::kInt32:
    case DataType::kFloat: return 4;
    case DataType::kInt64:
    case DataType::kTimestamptz:
    case DataType::kDouble: return 8;
    case DataType::kBinaryVector: return d / 8;
    case DataType::kFloatVector: return d * 4;
    case DataType::kFloat16Vector:
    case DataType::kBFloat16Vector: return d * 2;
    case DataType::kInt8Vector: return d;
    default: return 0;
  }
}

}  // namespace quiver
