// File: simd/compare_kernels_baseline.cc
// Compare kernels of the baseline level: plain loops for the compiler to make vectors of.
#include "simd/compare_loops.h"
#include "simd/level_tables.h"
#include "simd/pack_bytes.h"

namespace quiver::simd {
namespace {

template <typename Value>
struct Plain {
  using T = Value;
  template <Form form>
  static uint64_t Word(const std::byte* values, T low, T high) {
    uint8_t bytes[64];
    for (size_t i = 0; i < 64; ++i) {
      T value;
      __builtin_memcpy(&value, values + i * sizeof(T), sizeof(T));
      if constexpr (form == Form::kEqual) bytes[i] = value == low ? 1 : 0;
      if constexpr (form == Form::kAtLeast) bytes[i] = value >= low ? 1 : 0;
      if constexpr (form == Form::kAtMost) bytes[i] = value <= high ? 1 : 0;
      if constexpr (form == Form::kBetween) {
        bytes[i] = static_cast<uint8_t>((value >= low ? 1 : 0) & (value <= high ? 1 : 0));
      }
    }
    return PackBytes(bytes);
  }
};

class Table {
 public:
  explicit Table(const CodeSet& set) {
    for (size_t code = 0; code < 256; ++code) {
      table_[code] = static_cast<uint8_t>((set.bits[code / 128 * 16 + code % 16] >> (code / 16 % 8)) & 1U);
    }
  }
  [[nodiscard]] uint64_t Word(const uint8_t* codes) const {
    uint8_t bytes[64];
    for (size_t i = 0; i < 64; ++i) bytes[i] = table_[codes[i]];
    return PackBytes(bytes);
  }

 private:
  uint8_t table_[256];
};

}  // namespace

constinit const CompareKernels kBaselineCompareKernels = MakeCompareKernels<Plain, Table>();

}  // namespace quiver::simd
