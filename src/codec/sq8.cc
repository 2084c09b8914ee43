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

}  // namespace quiver::codec
