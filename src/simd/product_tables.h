// File: simd/product_tables.h
// The tables of the levels, one per source file. Private to src/simd.
#pragma once

#include "simd/product_kernels.h"

namespace quiver::simd {

extern const ProductKernels kBaselineProductKernels;
#if defined(__x86_64__)
extern const ProductKernels kAvx2ProductKernels;
extern const ProductKernels kAvx512ProductKernels;
/// ProductKernels::sum_bytes and sum_rows of avx2, which avx512 has too.
void SumBytesAvx2(const float* lookup, size_t groups, const std::byte* blocks, size_t block_bytes, size_t count,
                  const uint32_t* alive, float* sums);
void SumRowsAvx2(const float* lookup, size_t bytes, const std::byte* rows, const uint32_t* ids, size_t count,
                 float* sums);
#endif

}  // namespace quiver::simd
