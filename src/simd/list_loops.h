// File: simd/list_loops.h
// Portable forms of the list kernels, compiled by every level's source file with its own instruction set: `Tag` is a
// type of that file's anonymous namespace, so that no instantiation is shared between files. Private to src/simd.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "simd/list_kernels.h"

namespace quiver::simd {

template <class Tag>
inline const float* RowOf(const FloatRows& rows, size_t i) {
  return rows.base + (rows.ids != nullptr ? rows.ids[i] : i) * rows.stride;
}

/// Products of kRows rows with one panel, by the level's own Panel::Multiply<kRows>(rows, panel, dim, out[kRows][16]).
template <class Panel, size_t kRows, class Use>
inline void MultiplyRows(const FloatRows& rows, size_t first, const CentrePanels& centres, size_t panel, size_t dim,
                         const Use& use) {
  constexpr size_t kPanel = CentrePanels::kPanel;
  const float* row[kRows];
  for (size_t r = 0; r < kRows; ++r) row[r] = RowOf<Panel>(rows, first + r);
  Panel::template Multiply<kRows>(row, centres.values + panel * kPanel * dim, centres.bias + panel * kPanel, dim,
                                  [&](size_t r, auto value) { use(first + r, panel, value); });
}

/// Calls use(row, panel, scores of the panel) for all pairs, panels ascending for each row.
template <class Panel, class Use>
inline void ForProducts(const FloatRows& rows, const CentrePanels& centres, size_t dim, const Use& use) {
  // Rows of a chunk stay in the first-level cache while the panels pass by.
  constexpr size_t kChunkBytes = 24 * 1024;
  constexpr size_t kTile = Panel::kRows;
  size_t chunk = kChunkBytes / (dim * sizeof(float) + 1) / kTile * kTile;
  if (chunk < kTile) chunk = kTile;
  for (size_t begin = 0; begin < rows.count; begin += chunk) {
    const size_t end = begin + chunk < rows.count ? begin + chunk : rows.count;
    for (size_t panel = 0; panel < centres.panels; ++panel) {
      size_t i = begin;
      for (; i + kTile <= end; i += kTile) MultiplyRows<Panel, kTile>(rows, i, centres, panel, dim, use);
      for (; i < end; ++i) MultiplyRows<Panel, 1>(rows, i, centres, panel, dim, use);
    }
  }
}

template <class Panel>
void Scores(const FloatRows& rows, const CentrePanels& centres, size_t dim, float* out, size_t out_stride) {
  ForProducts<Panel>(rows, centres, dim, [&](size_t row, size_t panel, auto value) {
    Panel::Store(value, out + row * out_stride + panel * CentrePanels::kPanel);
  });
}

template <class Panel>
void Nearest(const FloatRows& rows, const CentrePanels& centres, size_t dim, uint32_t first, uint32_t* best,
             float* best_score) {
  ForProducts<Panel>(rows, centres, dim, [&](size_t row, size_t panel, auto value) {
    const float most = Panel::Most(value);
    if (!(most > best_score[row])) return;
    float scores[CentrePanels::kPanel];
    Panel::Store(value, scores);
    uint32_t at = 0;
    while (at < CentrePanels::kPanel - 1 && scores[at] != most) ++at;
    best_score[row] = most;
    best[row] = first + static_cast<uint32_t>(panel * CentrePanels::kPanel) + at;
  });
}

template <class Tag>
void ScanBytesPlain(const uint8_t* blocks, size_t block_count, const int8_t* query, size_t dim, const float* add,
                    float scale, float* out, float* least) {
  constexpr size_t kBlock = ListKernels::kBlock;
  for (size_t b = 0; b < block_count; ++b) {
    int32_t sums[kBlock] = {};
    const uint8_t* codes = blocks + b * kBlock * dim;
    for (size_t d = 0; d < dim; d += 4) {
      for (size_t r = 0; r < kBlock; ++r) {
        for (size_t j = 0; j < 4; ++j) sums[r] += codes[d * kBlock + r * 4 + j] * query[d + j];
      }
    }
    float smallest = __builtin_inff();
    for (size_t r = 0; r < kBlock; ++r) {
      const float key = add[b * kBlock + r] + scale * static_cast<float>(sums[r]);
      out[b * kBlock + r] = key;
      smallest = key < smallest ? key : smallest;
    }
    least[b] = smallest;
  }
}

/// Rounds to the nearest integer, ties to even, for magnitudes below 2^22.
template <class Tag>
inline int32_t Nearest(float value) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: its units are integers
  return static_cast<int32_t>((value + kShift) - kShift);
}

template <class Tag>
int32_t QuantisePlain(const float* query, size_t dim, float inverse_step, int8_t* out) {
  int32_t sum = 0;
  for (size_t d = 0; d < dim; ++d) {
    const int32_t code = Nearest<Tag>(query[d] * inverse_step);
    out[d] = static_cast<int8_t>(code);
    sum += code;
  }
  return sum;
}

template <class Tag>
void BuildLookupPlain(const float* query, size_t groups, float inverse_step, uint8_t* lookup) {
  for (size_t g = 0; g < groups; ++g) {
    float sums[16];
    float four[4];
    float first = 0;
    for (size_t j = 0; j < 4; ++j) {
      four[j] = query[4 * g + j] * inverse_step;
      first -= four[j] < 0 ? four[j] : 0.0f;
    }
    sums[0] = first;
    for (size_t j = 0; j < 4; ++j) {
      for (size_t i = 0; i < size_t{1} << j; ++i) sums[(size_t{1} << j) + i] = sums[i] + four[j];
    }
    for (size_t i = 0; i < 16; ++i) {
      const int32_t entry = Nearest<Tag>(sums[i]);
      const int32_t most = ListKernels::kLookupMax;
      lookup[g * 16 + i] = static_cast<uint8_t>(entry < 0 ? 0 : entry > most ? most : entry);
    }
  }
}

/// The decision of scan_bits from exact sums.
template <class Tag>
uint32_t KeepBits(const BitQuery& query, const uint32_t* sums, const std::byte* factors) {
  constexpr size_t kBlock = ListKernels::kBlock;
  float add[kBlock];
  float mul[kBlock];
  __builtin_memcpy(add, factors, sizeof(add));
  __builtin_memcpy(mul, factors + sizeof(add), sizeof(mul));
  uint32_t mask = 0;
  for (size_t r = 0; r < kBlock; ++r) {
    const float key = add[r] + mul[r] * (static_cast<float>(sums[r]) * query.scale + query.offset);
    mask |= static_cast<uint32_t>(key <= query.limit) << r;
  }
  return mask;
}

template <class Tag>
void ScanBitsPlain(const BitQuery& query, const std::byte* blocks, size_t block_bytes, size_t count,
                   const uint32_t* alive, uint32_t* masks) {
  constexpr size_t kBlock = ListKernels::kBlock;
  for (size_t b = 0; b < count; ++b) {
    if (alive != nullptr && alive[b] == 0) {
      masks[b] = 0;
      continue;
    }
    const auto* codes = reinterpret_cast<const uint8_t*>(blocks + b * block_bytes);
    uint32_t sums[kBlock] = {};
    for (size_t g = 0; g < query.groups; ++g) {
      const uint8_t* lookup = query.lookup + g * 16;
      const uint8_t* bytes = codes + g * 16;
      for (size_t j = 0; j < 16; ++j) {
        sums[j] += lookup[bytes[j] & 15];
        sums[j + 16] += lookup[bytes[j] >> 4];
      }
    }
    masks[b] = KeepBits<Tag>(query, sums, blocks + b * block_bytes + query.groups * 16);
    if (alive != nullptr) masks[b] &= alive[b];
  }
}

/// Unpacks 64 codes.
template <class Tag, size_t kBits>
inline void UnpackRowCode(const uint8_t* at, uint8_t* codes) {
  if constexpr (kBits == 8) {
    __builtin_memcpy(codes, at, 64);
    return;
  }
  for (size_t d = 0; d < 64; ++d) codes[d] = 0;
  size_t shift = 0;
  if constexpr ((kBits & 4) != 0) {
    for (size_t d = 0; d < 32; ++d) {
      codes[d] = at[d] & 15;
      codes[d + 32] = static_cast<uint8_t>(at[d] >> 4);
    }
    at += 32;
    shift += 4;
  }
  if constexpr ((kBits & 2) != 0) {
    for (size_t d = 0; d < 64; ++d) codes[d] |= static_cast<uint8_t>(((at[d % 16] >> (d / 16 * 2)) & 3) << shift);
    at += 16;
    shift += 2;
  }
  if constexpr ((kBits & 1) != 0) {
    for (size_t d = 0; d < 64; ++d) codes[d] |= static_cast<uint8_t>(((at[d % 8] >> (d / 8)) & 1) << shift);
  }
}

template <class Tag, size_t kBits>
void DotCodesPlain(const std::byte* base, size_t stride, const uint32_t* ids, size_t count, const int8_t* query,
                   size_t dim, int32_t* out) {
  for (size_t i = 0; i < count; ++i) {
    const auto* at = reinterpret_cast<const uint8_t*>(base + ids[i] * stride);
    int32_t sum = 0;
    for (size_t d = 0; d < dim; d += 64, at += 8 * kBits) {
      uint8_t codes[64];
      UnpackRowCode<Tag, kBits>(at, codes);
      for (size_t j = 0; j < 64; ++j) sum += codes[j] * query[d + j];
    }
    out[i] = sum;
  }
}

template <class Tag>
uint32_t TestIdsPlain(const uint32_t* ids, const uint64_t* bits) {
  uint32_t mask = 0;
  for (size_t i = 0; i < ListKernels::kBlock; ++i) {
    mask |= static_cast<uint32_t>((bits[ids[i] / 64] >> (ids[i] % 64)) & 1) << i;
  }
  return mask;
}

template <class Tag>
void Encode(const float* x, const float* c, size_t dim, size_t bits, float inverse_step, uint8_t* codes,
            CodeSums* sums) {
  // Lanes of partial sums, so that compilers use vectors without regrouping floats.
  constexpr size_t kLanes = 16;
  float x_x[kLanes] = {}, x_c[kLanes] = {}, s_x[kLanes] = {}, s_c[kLanes] = {}, y_x[kLanes] = {}, y_c[kLanes] = {},
        y_y[kLanes] = {};
  const auto half = static_cast<float>(size_t{1} << (bits - 1));
  const float least = bits == 8 ? 1.0f : 0.0f;
  const float most = 2 * half - 1;
  const float middle = half - 0.5f;
  for (size_t d = 0; d < dim; d += kLanes) {
    float y[kLanes];
    int32_t code[kLanes];
    for (size_t j = 0; j < kLanes; ++j) {
      const float scaled = x[d + j] * inverse_step + half;
      // Negative values are clamped before truncation, which then is floor. The sign bit must say x >= 0 whatever the
      // addition rounds to.
      float value = scaled > least ? scaled : least;
      value = value < most ? value : most;
      value = x[d + j] < 0 && value >= half ? half - 1 : value;
      code[j] = static_cast<int32_t>(value);
      y[j] = static_cast<float>(code[j]) - middle;
    }
    for (size_t j = 0; j < kLanes; ++j) codes[d + j] = static_cast<uint8_t>(code[j]);
    for (size_t j = 0; j < kLanes; ++j) {
      const float sign = x[d + j] < 0 ? -1.0f : 1.0f;
      x_x[j] += x[d + j] * x[d + j];
      x_c[j] += x[d + j] * c[d + j];
      s_x[j] += sign * x[d + j];
      s_c[j] += sign * c[d + j];
      y_x[j] += y[j] * x[d + j];
      y_c[j] += y[j] * c[d + j];
      y_y[j] += y[j] * y[j];
    }
  }
  CodeSums total;
  for (size_t j = 0; j < kLanes; ++j) {
    total.x_x += x_x[j];
    total.x_c += x_c[j];
    total.s_x += s_x[j];
    total.s_c += s_c[j];
    total.y_x += y_x[j];
    total.y_c += y_c[j];
    total.y_y += y_y[j];
  }
  *sums = total;
}

/// The portable forms of what a level may have of its own; see MakeListKernels.
template <class Tag>
struct PlainLists {
  static constexpr auto kScanBytes = &ScanBytesPlain<Tag>;
  static constexpr auto kQuantise = &QuantisePlain<Tag>;
  static constexpr auto kBuildLookup = &BuildLookupPlain<Tag>;
  static constexpr auto kScanBits = &ScanBitsPlain<Tag>;
  template <size_t kBits>
  static constexpr auto kDotCodes = &DotCodesPlain<Tag, kBits>;
  static constexpr auto kTestIds = &TestIdsPlain<Tag>;
};

/// The table of a level: `Panel` is the level's own product (and tag), `Forms` its functions, named as in PlainLists.
template <class Panel, class Forms>
constexpr ListKernels MakeListKernels() {
  ListKernels kernels;
  kernels.scores = &Scores<Panel>;
  kernels.nearest = &Nearest<Panel>;
  kernels.encode = &Encode<Panel>;
  kernels.scan_bytes = Forms::kScanBytes;
  kernels.quantise = Forms::kQuantise;
  kernels.build_lookup = Forms::kBuildLookup;
  kernels.scan_bits = Forms::kScanBits;
  kernels.test_ids = Forms::kTestIds;
  [&]<size_t... kBits>(std::index_sequence<kBits...>) {
    ((kernels.dot_codes[kBits + 1] = Forms::template kDotCodes<kBits + 1>), ...);
  }(std::make_index_sequence<ListKernels::kMaxBits>());
  return kernels;
}

}  // namespace quiver::simd
