// File: simd/list_kernels.h
// Kernels of inverted lists and of the codes in them, part of the KernelTable (simd/kernels.h, whose contract and
// thread rule hold here too: no alignment needed, nothing read outside what is given, nothing allocated).
//
//   simd::Kernels().lists->scan_bits(query, blocks, block_bytes, count, nullptr, masks);
#pragma once

#include <cstddef>
#include <cstdint>

namespace quiver::simd {

/// Rows of floats: row i lies at base + id(i) * stride floats, id(i) = ids[i], or i without ids.
struct FloatRows {
  const float* base = nullptr;
  size_t stride = 0;
  size_t count = 0;
  const uint32_t* ids = nullptr;
};

/// Centres packed for products: panels[panel][d][kPanel], with a bias per centre (padding: bias +infinity).
struct CentrePanels {
  static constexpr size_t kPanel = 16;
  const float* values = nullptr;
  const float* bias = nullptr;
  size_t panels = 0;
};

/// One query against blocks of one-bit codes. With sum = the row's lookups, added up exactly, a row is kept where
///   add + mul * (sum * scale + offset) <= limit.
struct BitQuery {
  const uint8_t* lookup = nullptr;  ///< [groups][16], entries at most ListKernels::kLookupMax
  size_t groups = 0;                ///< dim / 4, a multiple of 16
  float scale = 0;
  float offset = 0;
  float limit = 0;
};

/// What the encoder measures of one residual x and its code y (value y_d = code_d - (2^bits - 1) / 2), beside the
/// centre c; s is the sign code (+1, -1).
struct CodeSums {
  float x_x = 0, x_c = 0;
  float s_x = 0, s_c = 0;
  float y_x = 0, y_c = 0, y_y = 0;
};

struct ListKernels {
  static constexpr size_t kBlock = 32;        ///< rows of a block
  static constexpr size_t kDimMultiple = 64;  ///< dims of bit and row codes are multiples of it
  static constexpr uint8_t kLookupMax = 63;   ///< four lookups fit a byte
  static constexpr size_t kMaxBits = 8;

  /// scores[i * out_stride + c] = row i . centre c - bias[c] for all centres, padding included.
  void (*scores)(const FloatRows& rows, const CentrePanels& centres, size_t dim, float* out,
                 size_t out_stride) = nullptr;
  /// Keeps in best[i], best_score[i] the centre with the largest score above best_score[i], lowest number first; centre
  /// numbers begin with `first`.
  void (*nearest)(const FloatRows& rows, const CentrePanels& centres, size_t dim, uint32_t first, uint32_t* best,
                  float* best_score) = nullptr;

  /// Blocks of 32 rows of codes in [0, 63], blocks[block][dim / 4][32 rows][4], against one query of codes in [-31,
  /// 31]: out[row] = add[row] + scale * (code . query), least[block] = the smallest of the block. `dim` is a multiple
  /// of 64, below 65536.
  static constexpr int kByteMax = 63;
  static constexpr int kByteQueryMax = 31;
  void (*scan_bytes)(const uint8_t* blocks, size_t block_count, const int8_t* query, size_t dim, const float* add,
                     float scale, float* out, float* least) = nullptr;

  /// out[d] = query[d] * inverse_step, rounded to the nearest (magnitudes below 128); returns their sum.
  int32_t (*quantise)(const float* query, size_t dim, float inverse_step, int8_t* out) = nullptr;
  /// Lookups of one-bit codes: entry i of group g is (sum of query[4 g + j] over the bits j of i, less the least such
  /// sum)
  /// * inverse_step, rounded, at most kLookupMax. Levels may round differently.
  void (*build_lookup)(const float* query, size_t groups, float inverse_step, uint8_t* lookup) = nullptr;

  /// masks[b]: the rows of block b that are kept (see BitQuery). A block lies at blocks + b * block_bytes:
  ///   codes[groups / 2][32]: byte j of pair p: row j % 16 (low nibble) and row j % 16 + 16 (high) of group 2p + j / 16
  ///   float add[32], float mul[32]
  /// Only rows of alive[b] are kept; a block without any is not read. alive == nullptr: all.
  void (*scan_bits)(const BitQuery& query, const std::byte* blocks, size_t block_bytes, size_t count,
                    const uint32_t* alive, uint32_t* masks) = nullptr;

  /// out[i] = code of row ids[i] . query, for codes packed by pack_row; the code of row r begins at base + r * stride.
  /// `dim` is a multiple of 64, below 65536 (the exact sums fit).
  using DotCodes = void (*)(const std::byte* base, size_t stride, const uint32_t* ids, size_t count,
                            const int8_t* query, size_t dim, int32_t* out);
  DotCodes dot_codes[kMaxBits + 1] = {};  ///< by bits; [0] is null

  /// Bit i: whether bit ids[i] of `bits` is set, for 32 ids.
  uint32_t (*test_ids)(const uint32_t* ids, const uint64_t* bits) = nullptr;

  /// Encodes the residual x: codes[d] = clamp(floor(x_d * inverse_step) + 2^(bits - 1)) within [0, 2^bits - 1] (8 bits:
  /// from 1), so that the top bit is the sign. `dim` is a multiple of 64.
  void (*encode)(const float* x, const float* c, size_t dim, size_t bits, float inverse_step, uint8_t* codes,
                 CodeSums* sums) = nullptr;
};

/// Bytes of a packed row code.
constexpr size_t RowCodeBytes(size_t dim, size_t bits) { return dim / 8 * bits; }
/// Packs one code per byte into planes, per 64 dims: bits 0-3 (32 bytes: dim d in the low nibble of byte d, dim 32 + d
/// in the high), then bits 4-5 or the lowest two (16 bytes: dim 16 i + j at bit 2 i of byte j), then one bit (8 bytes:
/// dim 8 i
/// + j at bit i of byte j); 8 bits: the bytes.
void PackRowCode(const uint8_t* codes, size_t dim, size_t bits, std::byte* out);
/// Puts the sign bits (bit `bits` - 1) of up to 32 rows (codes of row r at codes + r * dim; missing rows are zero) into
/// the form of scan_bits.
void PackSignBlock(const uint8_t* codes, size_t rows, size_t dim, size_t bits, std::byte* out);

}  // namespace quiver::simd
