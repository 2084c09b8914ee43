// File: simd/level_tables.h
// The tables of the levels, one per source file. Private to src/simd.
#pragma once

#include "simd/kernels.h"

namespace quiver::simd {

extern const KernelTable kBaselineTable;
extern const ListKernels kBaselineListKernels;
extern const CompareKernels kBaselineCompareKernels;
#if defined(__x86_64__)
extern const KernelTable kAvx2Table;
extern const KernelTable kAvx512Table;
/// That of avx512popcnt: the one of avx512 with some kernels of its own. Only for processors that have the level.
const KernelTable& Avx512PopcntTable();
/// KernelTable::hadamard of avx2, which avx512 has too.
void HadamardAvx2(float* values, size_t count);
extern const ListKernels kAvx2ListKernels;
extern const ListKernels kAvx512ListKernels;
extern const CompareKernels kAvx2CompareKernels;
extern const CompareKernels kAvx512CompareKernels;
#endif

}  // namespace quiver::simd
