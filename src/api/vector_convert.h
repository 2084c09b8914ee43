// File: api/vector_convert.h
// float32 -> 16-bit floats, for clients that send float32 vectors to FLOAT16 and BFLOAT16 fields. Rounds to nearest,
// ties to even; what is too large becomes infinity (refused later, as every infinity is). Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "schema/data_type.h"

namespace quiver::api {

uint16_t FloatToHalf(float value);
uint16_t FloatToBFloat16(float value);

/// Converts `count` floats (any alignment) to `type` (kFloat16Vector or kBFloat16Vector), two bytes each.
void ConvertFloats(const void* floats, size_t count, DataType type, void* out);

}  // namespace quiver::api
