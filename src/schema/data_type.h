// File: schema/data_type.h
// Field data types (values as published in schema.proto) and facts about them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quiver {

/// Field types; the values are the published wire numbers.
enum class DataType : int32_t {
  kNone = 0,
  kBool = 1,
  kInt8 = 2,
  kInt16 = 3,
  kInt32 = 4,
  kInt64 = 5,
  kFloat = 10,
  kDouble = 11,
  kString = 20,
  kVarChar = 21,
  kArray = 22,
  kJson = 23,
  kGeometry = 24,
  kText = 25,
  kTimestamptz = 26,
  kBinaryVector = 100,
  kFloatVector = 101,
  kFloat16Vector = 102,
  kBFloat16Vector = 103,
  kSparseFloatVector = 104,
  kInt8Vector = 105,
  kArrayOfVector = 106,
  kArrayOfStruct = 200,
  kStruct = 201,
};

/// Distance measures. Smaller is better for kL2, kHamming, kJaccard; larger for kIp, kCosine. Those of the MAX_SIM
/// family compare two lists of vectors: for each vector of the query the best score among the row's vectors by
/// ElementMetric(), summed up; they are ordered as that metric is. Numbers stand in index files: new ones go to the
/// end.
enum class MetricType : uint8_t {
  kNone,
  kL2,
  kIp,
  kCosine,
  kHamming,
  kJaccard,
  kSubstructure,
  kSuperstructure,
  kMaxSim,  ///< another name of kMaxSimCosine
  kMaxSimCosine,
  kMaxSimIp,
  kMaxSimL2,
  kMaxSimHamming,
  kMaxSimJaccard,
};

/// Returns the published type name ("Int64", "VarChar", "FloatVector", ...).
std::string_view DataTypeName(DataType type);
/// Returns "L2", "IP", ...; empty for kNone.
std::string_view MetricTypeName(MetricType metric);
/// Parses a metric name, case-insensitively; kNone when unknown.
MetricType ParseMetricType(std::string_view name);
/// Returns whether the metric compares lists of vectors.
constexpr bool IsMaxSim(MetricType metric) { return metric >= MetricType::kMaxSim; }
/// Returns the metric by which single vectors are compared.
constexpr MetricType ElementMetric(MetricType metric) {
  switch (metric) {
    case MetricType::kMaxSim:
    case MetricType::kMaxSimCosine: return MetricType::kCosine;
    case MetricType::kMaxSimIp: return MetricType::kIp;
    case MetricType::kMaxSimL2: return MetricType::kL2;
    case MetricType::kMaxSimHamming: return MetricType::kHamming;
    case MetricType::kMaxSimJaccard: return MetricType::kJaccard;
    default: return metric;
  }
}
/// Returns whether two names mean the same metric.
constexpr bool SameMetric(MetricType a, MetricType b) {
  return IsMaxSim(a) == IsMaxSim(b) && ElementMetric(a) == ElementMetric(b);
}
/// Returns whether larger scores are better.
constexpr bool IsSimilarity(MetricType metric) {
  return ElementMetric(metric) == MetricType::kIp || ElementMetric(metric) == MetricType::kCosine;
}

/// Vectors, and arrays of vectors, which are sub-fields of struct arrays.
constexpr bool IsVector(DataType type) { return type >= DataType::kBinaryVector && type <= DataType::kArrayOfVector; }
/// Dense vectors have a fixed number of bytes per row.
constexpr bool IsDenseVector(DataType type) {
  return IsVector(type) && type < DataType::kArrayOfVector && type != DataType::kSparseFloatVector;
}
constexpr bool IsInteger(DataType type) { return type >= DataType::kInt8 && type <= DataType::kInt64; }
constexpr bool IsFloating(DataType type) { return type == DataType::kFloat || type == DataType::kDouble; }
constexpr bool IsNumeric(DataType type) { return IsInteger(type) || IsFloating(type); }
constexpr bool IsString(DataType type) {
  return type == DataType::kString || type == DataType::kVarChar || type == DataType::kText;
}
/// Scalars of fixed width: bool, integers, floats, timestamps.
constexpr bool IsFixedScalar(DataType type) {
  return type == DataType::kBool || IsNumeric(type) || type == DataType::kTimestamptz;
}

/// Returns the bytes of one value of a fixed-width type; `dim` counts for dense vectors only (binary: bits).
/// 0 for variable-length types (strings, JSON, arrays, sparse vectors).
size_t FixedWidth(DataType type, int64_t dim);

}  // namespace quiver
