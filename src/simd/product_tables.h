// File: simd/product_tables.h
// The tables of the levels, one per source file. Private to src/simd.
#pragma once

#include "simd/product_kernels.h"

namespace quiver::simd {

extern const ProductKernels kBaselineProductKernels;
#if defined(__x86_64__)
extern const ProductKernels kAvx2ProductKernels;
extern const ProductKernels kAvx512ProductKernels;
#endif

}  // namespace quiver::simd
