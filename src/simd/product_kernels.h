// File: simd/product_kernels.h
// Kernels of product codes (src/codec/pq.h): sums of lookups, one for each code of a row, for blocks of 32 rows or for
// rows that lie anywhere.
//
//   simd::Products().sum_nibbles(lookup, groups, blocks, block_bytes, count, nullptr, sums);
//   simd::Products().sum_rows(lookup, bytes, rows, ids, count, sums);
//
// The level is that of simd::Kernels(); the contract and the thread rule of simd/kernels.h hold here too: no alignment
// needed, nothing read outside what is given, nothing allocated.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simd/kernels.h"

namespace quiver::simd {

struct ProductKernels {
  static constexpr size_t kBlock = 32;  ///< rows of a block

  /// Codes of four bits: sums[b * kBlock + r] = the sum over the groups of lookup[group][code of row r of block b],
  /// with 16 bytes for each group. Byte j of a group's 16 holds row j (low half) and row j + 16 (high half). `groups`
  /// is even; sums fit 16 bits, or are meaningless. Blocks whose alive[b] is 0 are not read and get no sums; alive ==
  /// nullptr: all.
  void (*sum_nibbles)(const uint8_t* lookup, size_t groups, const std::byte* blocks, size_t block_bytes, size_t count,
                      const uint32_t* alive, uint16_t* sums) = nullptr;
  /// Codes of eight bits: the same with 256 floats for each group, added up in the order of groups, so with the same
  /// bits on every level. The code of row r and group g is byte g * kBlock + r of its block.
  void (*sum_bytes)(const float* lookup, size_t groups, const std::byte* blocks, size_t block_bytes, size_t count,
                    const uint32_t* alive, float* sums) = nullptr;
  /// Rows of codes one after another: sums[i] = the sum over b of lookup[b * 256 + byte b] of the `bytes` bytes at rows
  /// + ids[i] * bytes. Added up in kRowLanes parts, byte b in part b % kRowLanes, these then pairwise (SumOfLanes), so
  /// with the same bits on every level.
  void (*sum_rows)(const float* lookup, size_t bytes, const std::byte* rows, const uint32_t* ids, size_t count,
                   float* sums) = nullptr;
  static constexpr size_t kRowLanes = 8;
  /// The order in which sum_rows adds up its parts.
  static float SumOfLanes(const float* lanes) {
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  }
};

/// The kernels of the level in use.
const ProductKernels& Products();
/// Those of one level, or nullptr where the build or the processor lacks it.
const ProductKernels* ProductsFor(Level level);

}  // namespace quiver::simd
