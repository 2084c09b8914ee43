// File: expr/array_values.h
// Single values by their bytes, as columns and arrays hold them, and a walk over the elements of an array.
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "schema/data_type.h"

namespace quiver::expr {

template <typename T>
T ReadAs(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

/// An integer or boolean of a type.
inline int64_t ReadWhole(DataType type, std::string_view bytes) {
  switch (type) {
    case DataType::kBool: return ReadAs<uint8_t>(bytes) != 0 ? 1 : 0;
    case DataType::kInt8: return ReadAs<int8_t>(bytes);
    case DataType::kInt16: return ReadAs<int16_t>(bytes);
    case DataType::kInt32: return ReadAs<int32_t>(bytes);
    default: return ReadAs<int64_t>(bytes);
  }
}

/// A floating value of a type.
inline double ReadReal(DataType type, std::string_view bytes) {
  return type == DataType::kFloat ? static_cast<double>(ReadAs<float>(bytes)) : ReadAs<double>(bytes);
}

/// Rounds a constant to the precision of the elements.
inline double RoundTo(DataType type, double value) {
  return type == DataType::kFloat ? static_cast<double>(static_cast<float>(value)) : value;
}

/// Calls visit(bytes) for each element until it returns false.
template <typename Visit>
void ForEachElement(std::string_view array, DataType element_type, const Visit& visit) {
  const size_t width = FixedWidth(element_type, 0);
  if (array.size() < sizeof(uint32_t)) return;
  const auto count = ReadAs<uint32_t>(array);
  size_t position = sizeof(uint32_t);
  for (uint32_t i = 0; i < count; ++i) {
    size_t length = width;
    if (width == 0) {
      length = ReadAs<uint32_t>(array.substr(position));
      position += sizeof(uint32_t);
    }
    if (!visit(array.substr(position, length))) return;
    position += length;
  }
}

}  // namespace quiver::expr
