#include "api/vector_convert.h"

#include <bit>
#include <cstring>

namespace quiver::api {

uint16_t FloatToHalf(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & 0x7FFF'FFFF;
  if (magnitude > 0x7F80'0000) return static_cast<uint16_t>(sign | 0x7E00);   // NaN
  if (magnitude >= 0x4780'0000) return static_cast<uint16_t>(sign | 0x7C00);  // 65536 and more, infinity
  if (magnitude < 0x3880'0000) {                                              // below the smallest normal half
    // Adding 0.5 puts the half's last place at the float's last place, so that the addition rounds as wanted.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3F00'0000));
  }
  // Rebias the exponent (127 -> 15) and round at bit 13; a carry into the exponent is right, up to infinity.
  const uint32_t odd = magnitude >> 13 & 1;
  return static_cast<uint16_t>(sign | ((magnitude - 0x3800'0000 + 0x0FFF + odd) >> 13));
}

uint16_t FloatToBFloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFF'FFFF) > 0x7F80'0000) return static_cast<uint16_t>(bits >> 16 | 0x0040);  // stays a NaN
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

void ConvertFloats(const void* floats, size_t count, DataType type, void* out) {
  const auto* from = static_cast<const char*>(floats);
  auto* to = static_cast<char*>(out);
  const bool half = type == DataType::kFloat16Vector;
  for (size_t i = 0; i < count; ++i) {
    float value = 0;
    std::memcpy(&value, from + i * sizeof(float), sizeof(float));
    const uint16_t converted = half ? FloatToHalf(value) : FloatToBFloat16(value);
    std::memcpy(to + i * sizeof(uint16_t), &converted, sizeof(uint16_t));
  }
}

}  // namespace quiver::api
