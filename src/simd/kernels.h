// File: simd/kernels.h
// Distance and scan kernels, one table of function pointers per instruction-set level, chosen once at run time.
//
//   const simd::KernelTable& kernels = simd::Kernels();
//   kernels.f32.ip({rows, stride, count, nullptr}, query, dim, scores, nullptr);
//
// Levels: baseline (plain C++ of the build's own target: SSE4.2 on x86-64, NEON on aarch64), avx2 (AVX2, FMA, F16C) and
// avx512 (F, BW, DQ, VL, VNNI). The environment variable QUIVER_SIMD (baseline, avx2, avx512) caps the choice; a level
// that the processor lacks is never chosen.
//
// Contract of every kernel:
//  - Pointers need no alignment. `dim` may be 0 (sums are 0). Nothing is read outside the given rows, nothing
//  allocated.
//  - One level adds up one (query, row) pair in one fixed order, so a pair's result does not depend on the neighbours
//  in
//    the call, on gather or sequence, or on tile or scan form. Levels differ from one another by rounding only.
//  - NaN and infinity follow IEEE arithmetic: a NaN in either input gives NaN. Denormals count with their value.
// Thread rule: tables are immutable after first use; kernels are pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quiver::simd {

/// Instruction-set levels, weakest first.
enum class Level : uint8_t { kBaseline, kAvx2, kAvx512 };

/// Rows that a scan kernel visits: row i lies at base + id(i) * stride bytes, where id(i) is ids[i], or i without ids.
struct Rows {
  const std::byte* base = nullptr;
  size_t stride = 0;
  size_t count = 0;
  const uint32_t* ids = nullptr;
};

/// Scores one query against `rows`: out[i] for row i. `norms` (may be nullptr) receives the squared norm of each row
/// from the same pass over memory.
using ScanFunction = void (*)(const Rows& rows, const void* query, size_t dim, float* out, float* norms);
/// Writes squared norms of `rows`.
using NormFunction = void (*)(const Rows& rows, size_t dim, float* out);
/// Scores `query_count` queries (row-major, `query_stride` bytes apart) against `rows`: out[q * out_stride + i].
/// Register-blocked: each value that is loaded serves several pairs. Meant for rows that stay in cache.
using TileFunction = void (*)(const Rows& rows, const void* queries, size_t query_stride, size_t query_count,
                              size_t dim, float* out, size_t out_stride);

/// Kernels of one element type of rows. The query is float for kF32/kF16/kBf16 rows and int8 for kInt8 rows. Int8
/// results are exact integers below 2^31 (dim <= 32768) rounded once to float.
struct DenseKernels {
  ScanFunction ip = nullptr;
  ScanFunction l2 = nullptr;  ///< squared distance
  NormFunction norm = nullptr;
  TileFunction ip_tile = nullptr;
  TileFunction l2_tile = nullptr;
};

/// Kernels on packed bits; `query` and rows are `bytes` long. The predicates write 0 where they hold, else NaN.
struct BinaryKernels {
  using Function = void (*)(const Rows& rows, const void* query, size_t bytes, float* out);
  Function hamming = nullptr;
  Function jaccard = nullptr;         ///< 1 - |and| / |or|, 0 where both are empty
  Function substructure = nullptr;    ///< row is a subset of the query
  Function superstructure = nullptr;  ///< row is a superset of the query
};

/// All kernels of one level.
struct KernelTable {
  Level level = Level::kBaseline;
  DenseKernels f32, f16, bf16, int8;
  BinaryKernels binary;
  /// Widens rows to float: out[i * dim + d].
  void (*f16_to_f32)(const void* in, size_t count, float* out) = nullptr;
  void (*bf16_to_f32)(const void* in, size_t count, float* out) = nullptr;
  /// Reads `bytes` bytes and returns a value that depends on all of them: the ceiling of a scan, for benchmarks.
  uint64_t (*read_all)(const void* data, size_t bytes) = nullptr;
};

/// Returns the table in use: the strongest level of this processor, capped by QUIVER_SIMD.
const KernelTable& Kernels();
/// Returns the table of one level, or nullptr where the build or the processor lacks it.
const KernelTable* KernelsFor(Level level);
/// Returns "baseline", "avx2" or "avx512".
std::string_view LevelName(Level level);

}  // namespace quiver::simd
