// File: simd/list_kernels_baseline.cc
// List kernels of the baseline level, and the packing of codes.
#include "simd/level_tables.h"
#include "simd/list_loops.h"

namespace quiver::simd {
namespace {

struct Panel {
  static constexpr size_t kRows = 2;
  struct Value {
    float lane[CentrePanels::kPanel];
  };
  template <size_t kCount, class Use>
  static void Multiply(const float* const (&row)[kCount], const float* panel, const float* bias, size_t dim,
                       const Use& use) {
    Value sums[kCount] = {};
    for (size_t d = 0; d < dim; ++d) {
      for (size_t r = 0; r < kCount; ++r) {
        const float x = row[r][d];
        for (size_t j = 0; j < CentrePanels::kPanel; ++j) {
          sums[r].lane[j] += x * panel[d * CentrePanels::kPanel + j];
        }
      }
    }
    for (size_t r = 0; r < kCount; ++r) {
      for (size_t j = 0; j < CentrePanels::kPanel; ++j) sums[r].lane[j] -= bias[j];
      use(r, sums[r]);
    }
  }
  static void Store(const Value& value, float* out) { __builtin_memcpy(out, value.lane, sizeof(value.lane)); }
  static float Most(const Value& value) {
    float most = value.lane[0];
    for (size_t j = 1; j < CentrePanels::kPanel; ++j) most = value.lane[j] > most ? value.lane[j] : most;
    return most;
  }
};

}  // namespace

constinit const ListKernels kBaselineListKernels = MakeListKernels<Panel, PlainLists<Panel>>();

void PackRowCode(const uint8_t* codes, size_t dim, size_t bits, std::byte* out) {
  __builtin_memset(out, 0, RowCodeBytes(dim, bits));
  auto* at = reinterpret_cast<uint8_t*>(out);
  for (size_t first = 0; first < dim; first += 64, codes += 64) {
    if (bits == 8) {
      __builtin_memcpy(at, codes, 64);
      at += 64;
      continue;
    }
    size_t shift = 0;
    if ((bits & 4) != 0) {
      for (size_t d = 0; d < 32; ++d) at[d] = static_cast<uint8_t>((codes[d] & 15) | (codes[d + 32] << 4));
      at += 32;
      shift += 4;
    }
    if ((bits & 2) != 0) {
      for (size_t j = 0; j < 16; ++j) {
        unsigned byte = 0;
        for (size_t i = 0; i < 4; ++i) byte |= ((codes[16 * i + j] >> shift) & 3u) << (2 * i);
        at[j] = static_cast<uint8_t>(byte);
      }
      at += 16;
      shift += 2;
    }
    if ((bits & 1) != 0) {
      for (size_t j = 0; j < 8; ++j) {
        unsigned byte = 0;
        for (size_t i = 0; i < 8; ++i) byte |= ((codes[8 * i + j] >> shift) & 1u) << i;
        at[j] = static_cast<uint8_t>(byte);
      }
      at += 8;
    }
  }
}

void PackSignBlock(const uint8_t* codes, size_t rows, size_t dim, size_t bits, std::byte* out) {
  __builtin_memset(out, 0, dim / 4 * 16);
  auto* bytes = reinterpret_cast<uint8_t*>(out);
  const size_t top = bits - 1;
  for (size_t r = 0; r < rows; ++r) {
    const uint8_t* row = codes + r * dim;
    const size_t nibble = r / 16 * 4;
    for (size_t g = 0; g < dim / 4; ++g) {
      const unsigned four =
          static_cast<unsigned>(row[4 * g] >> top) | static_cast<unsigned>(row[4 * g + 1] >> top) << 1 |
          static_cast<unsigned>(row[4 * g + 2] >> top) << 2 | static_cast<unsigned>(row[4 * g + 3] >> top) << 3;
      bytes[g * 16 + r % 16] |= static_cast<uint8_t>(four << nibble);
    }
  }
}

}  // namespace quiver::simd
