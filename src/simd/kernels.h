// File: simd/kernels.h
// Distance and scan kernels, one table of function pointers per instruction-set level, chosen once at run time.
//
//   const simd::KernelTable& kernels = simd::Kernels();
//   kernels.f32.ip({rows, stride, count, nullptr}, query, dim, scores, nullptr);
//
// Levels: baseline (plain C++ of the build's own target: SSE4.2 on x86-64, NEON on aarch64), avx2 (AVX2, FMA, F16C),
// avx512 (F, BW, DQ, VL, VNNI) and avx512popcnt (VPOPCNTDQ too: kernels that count bits are its own, the rest is that
// of avx512). The strongest that the processor has is taken unless SelectLevel or the environment variable QUIVER_SIMD
// (auto, or the name of a level) names another.
//
// Contract of every kernel:
//  - Pointers need no alignment. `dim` may be 0 (sums are 0). Nothing is read outside the given rows, nothing
//  allocated.
//  - One level adds up one (query, row) pair in one fixed order, so a pair's result does not depend on the neighbours
//  in
//    the call, on gather or sequence, or on tile or scan form. Levels differ from one another by rounding only.
//  - NaN and infinity follow IEEE arithmetic: a NaN in either input gives NaN. Denormals count with their value.
// Thread rule: tables are immutable; kernels are pure functions. SelectLevel is called before other threads compute:
// levels round differently, so a change in the middle of a search would mix scores of two kinds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "simd/compare_kernels.h"
#include "simd/list_kernels.h"

namespace quiver::simd {

/// Instruction-set levels, weakest first.
enum class Level : uint8_t { kBaseline, kAvx2, kAvx512, kAvx512Popcnt };
inline constexpr std::array kLevels{Level::kBaseline, Level::kAvx2, Level::kAvx512, Level::kAvx512Popcnt};

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

/// Rows as small integer codes, packed for the code filter: codes[group][dim_padded / 4][kGroup rows][4 values], each
/// value in [1, row_max], zero at value `row_zero`. The arrays have groups * kGroup entries. Row x is approximated by
/// x' = scale * (code - row_zero).
struct CodeRows {
  const uint8_t* codes = nullptr;
  size_t groups = 0;
  const float* scale = nullptr;
  const float* error = nullptr;     ///< at least |x - x'|
  const float* norm = nullptr;      ///< at least |x|, with the slack that float rounding needs
  const float* handicap = nullptr;  ///< taken off the bound (L2: |x|^2 / 2); +inf for rows that do not exist
};

/// Queries as signed codes in [-query_max, query_max], row-major, dim_padded apart; q' = scale * code. Arrays of
/// `count`.
struct CodeQueries {
  const int8_t* codes = nullptr;
  size_t count = 0;
  const int32_t* bias = nullptr;  ///< -row_zero * (sum of the query's codes)
  const float* scale = nullptr;
  const float* norm = nullptr;   ///< at least |q'|
  const float* error = nullptr;  ///< at least |q - q'|
  const float* floor = nullptr;  ///< bounds below it are dropped
};

/// Decides with integer products which (query, row) pairs need an exact score. By Cauchy-Schwarz
///   q.x <= q'.x' + |q'| |x - x'| + |q - q'| |x|,
/// so a pair whose bound (right side less the row's handicap) is below the query's floor cannot be a hit.
struct CodeKernels {
  static constexpr size_t kGroup = 16;        ///< rows per packed group
  static constexpr size_t kDimMultiple = 32;  ///< dim_padded is dim rounded up to this
  int row_max = 0;                            ///< 0: this level has no code kernels
  int row_zero = 0;
  int query_max = 0;
  /// Writes masks[q * rows.groups + g]: bit r is set unless the bound of row r of group g is below query q's floor (NaN
  /// sets the bit).
  void (*filter)(const CodeRows& rows, const CodeQueries& queries, size_t dim_padded, uint16_t* masks) = nullptr;
  /// Encodes one row into place `slot` of a group: codes at group + d / 4 * 64 + slot * 4 + d % 4, padding included.
  /// Gives the scale, the squared norm of the row and the squared norm of its residual.
  void (*encode)(const float* row, size_t dim, size_t slot, uint8_t* group, float* scale, float* norm2,
                 float* error2) = nullptr;
};

/// Kernels on rows of signed byte codes in [-127, 127] (src/codec/sq8.h).
struct ByteCodeKernels {
  static constexpr size_t kDimMultiple = 64;
  /// out[i] = sum of query[d] * row_i[d] over `dim` codes, a multiple of kDimMultiple; exact for dim <= 65536. Gathered
  /// rows (rows.ids) are asked for ahead of use, except the first four, which a caller may have asked for.
  void (*dot)(const Rows& rows, const int8_t* query, size_t dim, int32_t* out) = nullptr;
  /// The same of rows that hold half a byte per dimension, unsigned: of each 64 dimensions byte j holds dimension j in
  /// its low half and 32 + j in its high half.
  void (*half_dot)(const Rows& rows, const int8_t* query, size_t dim, int32_t* out) = nullptr;
  /// Rows of single bits against a query of kBitPlanes bits per place: out[i] = the sum, over the ones of row i, of the
  /// query's values. Rows are rows.stride bytes, a multiple of 64. Of the query, bit p of the places of byte b lies in
  /// planes[(b / 64 * kBitPlanes + p) * 128 + b % 64], and 64 bytes further on the high half of that byte, as its low
  /// one (PackBitPlanes). Gathered rows are asked for ahead of use, except the first kBitsAhead.
  static constexpr size_t kBitPlanes = 4;
  static constexpr size_t kBitsAhead = 16;
  void (*bit_dot)(const Rows& rows, const uint8_t* planes, uint32_t* out) = nullptr;
};

/// Writes `values`, each in 0 .. 15, one per bit of a row of `bytes` bytes (a multiple of 64), in the form of
/// ByteCodeKernels::bit_dot: 2 * kBitPlanes * bytes bytes.
void PackBitPlanes(const uint8_t* values, size_t bytes, uint8_t* planes);

/// All kernels of one level.
struct KernelTable {
  Level level = Level::kBaseline;
  DenseKernels f32, f16, bf16, int8;
  BinaryKernels binary;
  CodeKernels codes;
  ByteCodeKernels bytes;
  /// The Walsh-Hadamard transform in place, not scaled: `count` is a power of two from 8 on. Same bits on every level.
  void (*hadamard)(float* values, size_t count) = nullptr;
  const ListKernels* lists = nullptr;
  const CompareKernels* compare = nullptr;
  /// Widens rows to float: out[i * dim + d].
  void (*f16_to_f32)(const void* in, size_t count, float* out) = nullptr;
  void (*bf16_to_f32)(const void* in, size_t count, float* out) = nullptr;
  /// Reads `bytes` bytes and returns a value that depends on all of them: the ceiling of a scan, for benchmarks.
  uint64_t (*read_all)(const void* data, size_t bytes) = nullptr;
};

/// Selects the level that Kernels() returns from now on: "auto" (the strongest of this processor) or a level's name.
/// Errors: kInvalidParameter for an unknown name or a level that the processor lacks; the selection then stays.
Status SelectLevel(std::string_view name);
/// Returns the table in use. Where nothing was selected, QUIVER_SIMD decides; a wrong value there ends the process with
/// code 2 and a message on standard error, because results of another level than the one asked for would mislead.
const KernelTable& Kernels();
/// Returns the table of one level, or nullptr where the build or the processor lacks it.
const KernelTable* KernelsFor(Level level);
/// Returns "baseline", "avx2", "avx512" or "avx512popcnt".
std::string_view LevelName(Level level);

}  // namespace quiver::simd
