#include "codec/sq8.h"

#include <algorithm>
#include <cmath>

namespace quiver::codec {

Sq8Factors EncodeSq8(const float* vector, size_t dim, int8_t* codes) {
  constexpr float kMost = 127;
  float largest = 0;
  for (size_t d = 0; d < dim; ++d) largest = std::max(largest, std::abs(vector[d]));
  // Below the smallest normal number the inverse is infinite: such a vector is as good as zero.
  if (!(largest > 1e-36f)) {
    std::fill_n(codes, dim, int8_t{0});
    return {};
  }
  const float inverse = kMost / largest;
  int64_t squares = 0;
  for (size_t d = 0; d < dim; ++d) {
    const float scaled = vector[d] * inverse;
    const auto code = static_cast<int32_t>(scaled + (scaled < 0 ? -0.5f : 0.5f));
    // Rounding of the inverse may carry the largest value past the end.
    const int32_t kept = std::clamp(code, -127, 127);
    codes[d] = static_cast<int8_t>(kept);
    squares += kept * kept;
  }
  const float scale = largest / kMost;
  return {scale,
          static_cast<float>(static_cast<double>(scale) * static_cast<double>(scale) * static_cast<double>(squares))};
}

float SplitSq8(const int8_t* codes, size_t dim, uint8_t* coarse, uint8_t* fine) {
  int64_t squares = 0;  // of twice the coarse values, which are whole numbers
  for (size_t block = 0; block < dim; block += 64, coarse += 32, fine += 32, codes += 64) {
    for (size_t j = 0; j < 32; ++j) {
      const int low = codes[j] + 128;
      const int high = codes[32 + j] + 128;
      coarse[j] = static_cast<uint8_t>((low >> 4) | (high & 0xf0));
      fine[j] = static_cast<uint8_t>((low & 15) | ((high & 15) << 4));
      for (const int code : {low, high}) {
        const int doubled = 2 * (16 * ((code >> 4) - 8)) + 15;
        squares += doubled * doubled;
      }
    }
  }
  return static_cast<float>(squares) / 4;
}

}  // namespace quiver::codec
