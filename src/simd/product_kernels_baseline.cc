// File: simd/product_kernels_baseline.cc
// Product kernels of the baseline level: plain loops.
#include "simd/product_tables.h"

namespace quiver::simd {
namespace {

void SumNibbles(const uint8_t* lookup, size_t groups, const std::byte* blocks, size_t block_bytes, size_t count,
                const uint32_t* alive, uint16_t* sums) {
  constexpr size_t kBlock = ProductKernels::kBlock;
  for (size_t b = 0; b < count; ++b) {
    if (alive != nullptr && alive[b] == 0) continue;
    const auto* codes = reinterpret_cast<const uint8_t*>(blocks + b * block_bytes);
    uint16_t block[kBlock] = {};
    for (size_t g = 0; g < groups; ++g) {
      for (size_t j = 0; j < 16; ++j) {
        block[j] = static_cast<uint16_t>(block[j] + lookup[g * 16 + (codes[g * 16 + j] & 15)]);
        block[j + 16] = static_cast<uint16_t>(block[j + 16] + lookup[g * 16 + (codes[g * 16 + j] >> 4)]);
      }
    }
    __builtin_memcpy(sums + b * kBlock, block, sizeof(block));
  }
}

void SumBytes(const float* lookup, size_t groups, const std::byte* blocks, size_t block_bytes, size_t count,
              const uint32_t* alive, float* sums) {
  constexpr size_t kBlock = ProductKernels::kBlock;
  for (size_t b = 0; b < count; ++b) {
    if (alive != nullptr && alive[b] == 0) continue;
    const auto* codes = reinterpret_cast<const uint8_t*>(blocks + b * block_bytes);
    float block[kBlock] = {};
    for (size_t g = 0; g < groups; ++g) {
      for (size_t r = 0; r < kBlock; ++r) block[r] += lookup[g * 256 + codes[g * kBlock + r]];
    }
    __builtin_memcpy(sums + b * kBlock, block, sizeof(block));
  }
}

void SumRows(const float* lookup, size_t bytes, const std::byte* rows, const uint32_t* ids, size_t count, float* sums) {
  constexpr size_t kLanes = ProductKernels::kRowLanes;
  for (size_t i = 0; i < count; ++i) {
    const auto* codes = reinterpret_cast<const uint8_t*>(rows + size_t{ids[i]} * bytes);
    float lanes[kLanes] = {};
    size_t b = 0;
    for (; b + kLanes <= bytes; b += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += lookup[(b + lane) * 256 + codes[b + lane]];
    }
    for (size_t lane = 0; b + lane < bytes; ++lane) lanes[lane] += lookup[(b + lane) * 256 + codes[b + lane]];
    sums[i] = ProductKernels::SumOfLanes(lanes);
  }
}

}  // namespace

constinit const ProductKernels kBaselineProductKernels{
    .sum_nibbles = &SumNibbles, .sum_bytes = &SumBytes, .sum_rows = &SumRows};

}  // namespace quiver::simd
