// File: simd/dense_loops.h
// Loops of the dense kernels, written once and compiled by each level's source file with its own lanes. Private to
// src/simd: only kernels_*.cc include it.
//
// A level gives two kinds of types, all in its anonymous namespace (so that no instantiation is shared between files
// that were compiled for different processors; for the same reason nothing here calls a function of the standard
// library):
//   Element: { using Vec; kLanes; kBytes; kTileRows; kTileQueries; kScanRows; kScanRowsWithNorms; Query;
//              Vec LoadRow(const std::byte*), LoadRowTail(const std::byte*, n); Vec LoadQuery(const Query*),
//              LoadQueryTail; Acc; Zero(); MulAdd(Acc, Vec, Vec); Sub(Vec, Vec); Pin(Vec&); float Reduce(Acc, Acc) }
// Order of summation of one pair, the same in every form: lane l of accumulator p sums the terms d with
// d / kLanes % 2 == p and d % kLanes == l, ascending; a last partial vector counts into accumulator 1; then Reduce(0,
// 1).
#pragma once

#include <cstddef>
#include <cstdint>

#include "simd/kernels.h"

namespace quiver::simd {

enum class Operation : uint8_t { kIp, kL2, kNorm };

// Rows in sequence are read as several streams far apart: the processor's prefetchers work page by page, and one stream
// alone gets two thirds of what four get. Prefetch instructions make sequences slower (docs/performance.md), so only
// gathered rows are asked for ahead of use.

template <class Element>
inline const std::byte* RowAt(const Rows& rows, size_t i) {
  return rows.base + (rows.ids != nullptr ? rows.ids[i] : i) * rows.stride;
}

template <class Element, Operation kOperation>
inline typename Element::Acc Step(typename Element::Acc acc, typename Element::Vec query, typename Element::Vec row) {
  if constexpr (kOperation == Operation::kIp) return Element::MulAdd(acc, query, row);
  if constexpr (kOperation == Operation::kNorm) return Element::MulAdd(acc, row, row);
  if constexpr (kOperation == Operation::kL2) {
    const typename Element::Vec difference = Element::Sub(query, row);
    return Element::MulAdd(acc, difference, difference);
  }
}

/// One query against kCount rows at once; `ahead` (if kPrefetch) are rows to fetch meanwhile.
template <class Element, Operation kOperation, size_t kCount, bool kWithNorms, bool kPrefetch>
[[gnu::always_inline]] inline void ScanGroup(const std::byte* const (&row)[kCount],
                                             const std::byte* const (&ahead)[kCount],
                                             const typename Element::Query* query, size_t dim, float (&out)[kCount],
                                             float (&norms)[kCount]) {
  using Vec = typename Element::Vec;
  using Acc = typename Element::Acc;
  constexpr size_t kLanes = Element::kLanes;
  Acc sums[kCount][2];
  Acc squares[kCount][2];
  for (size_t g = 0; g < kCount; ++g) {
    sums[g][0] = sums[g][1] = Element::Zero();
    if constexpr (kWithNorms) squares[g][0] = squares[g][1] = Element::Zero();
  }
  size_t d = 0;
  for (; d + 2 * kLanes <= dim; d += 2 * kLanes) {
    Vec q0{}, q1{};
    if constexpr (kOperation != Operation::kNorm) {
      q0 = Element::LoadQuery(query + d);
      q1 = Element::LoadQuery(query + d + kLanes);
    }
    for (size_t g = 0; g < kCount; ++g) {
      if constexpr (kPrefetch) {
        for (size_t line = 0; line < 2 * kLanes * Element::kBytes; line += 64) {
          __builtin_prefetch(ahead[g] + d * Element::kBytes + line);
        }
      }
      const Vec x0 = Element::LoadRow(row[g] + d * Element::kBytes);
      const Vec x1 = Element::LoadRow(row[g] + (d + kLanes) * Element::kBytes);
      sums[g][0] = Step<Element, kOperation>(sums[g][0], q0, x0);
      sums[g][1] = Step<Element, kOperation>(sums[g][1], q1, x1);
      if constexpr (kWithNorms) {
        squares[g][0] = Element::MulAdd(squares[g][0], x0, x0);
        squares[g][1] = Element::MulAdd(squares[g][1], x1, x1);
      }
    }
  }
  if (d + kLanes <= dim) {
    Vec q{};
    if constexpr (kOperation != Operation::kNorm) q = Element::LoadQuery(query + d);
    for (size_t g = 0; g < kCount; ++g) {
      const Vec x = Element::LoadRow(row[g] + d * Element::kBytes);
      sums[g][0] = Step<Element, kOperation>(sums[g][0], q, x);
      if constexpr (kWithNorms) squares[g][0] = Element::MulAdd(squares[g][0], x, x);
    }
    d += kLanes;
  }
  if (d < dim) {
    const size_t rest = dim - d;
    Vec q{};
    if constexpr (kOperation != Operation::kNorm) q = Element::LoadQueryTail(query + d, rest);
    for (size_t g = 0; g < kCount; ++g) {
      const Vec x = Element::LoadRowTail(row[g] + d * Element::kBytes, rest);
      sums[g][1] = Step<Element, kOperation>(sums[g][1], q, x);
      if constexpr (kWithNorms) squares[g][1] = Element::MulAdd(squares[g][1], x, x);
    }
  }
  for (size_t g = 0; g < kCount; ++g) {
    out[g] = Element::Reduce(sums[g][0], sums[g][1]);
    if constexpr (kWithNorms) norms[g] = Element::Reduce(squares[g][0], squares[g][1]);
  }
}

/// Scores rows place(g) for g < kCount, where place(g) = at + g * step; `ahead` is the first place to fetch meanwhile.
template <class Element, Operation kOperation, size_t kCount, bool kWithNorms, bool kPrefetch>
[[gnu::always_inline]] inline void ScanPlaces(const Rows& rows, size_t at, size_t step, size_t ahead_at,
                                              const typename Element::Query* query, size_t dim, float* out,
                                              float* norms) {
  const std::byte* row[kCount];
  const std::byte* ahead[kCount];
  float sums[kCount];
  float squares[kCount];
  for (size_t g = 0; g < kCount; ++g) {
    row[g] = RowAt<Element>(rows, at + g * step);
    ahead[g] = kPrefetch ? RowAt<Element>(rows, ahead_at + g * step) : nullptr;
  }
  ScanGroup<Element, kOperation, kCount, kWithNorms, kPrefetch>(row, ahead, query, dim, sums, squares);
  for (size_t g = 0; g < kCount; ++g) {
    out[at + g * step] = sums[g];
    if constexpr (kWithNorms) norms[at + g * step] = squares[g];
  }
}

template <class Element, Operation kOperation, bool kWithNorms>
inline void ScanRows(const Rows& rows, const typename Element::Query* query, size_t dim, float* out, float* norms) {
  constexpr size_t kCount = kWithNorms ? Element::kScanRowsWithNorms : Element::kScanRows;
  size_t i = 0;
  if (rows.ids != nullptr) {
    for (; i + kCount <= rows.count; i += kCount) {
      const size_t ahead = i + 2 * kCount <= rows.count ? i + kCount : i;
      ScanPlaces<Element, kOperation, kCount, kWithNorms, true>(rows, i, 1, ahead, query, dim, out, norms);
    }
  } else {
    const size_t step = rows.count / kCount;
    for (; i < step; ++i) {
      ScanPlaces<Element, kOperation, kCount, kWithNorms, false>(rows, i, step, 0, query, dim, out, norms);
    }
    i = step * kCount;
  }
  for (; i < rows.count; ++i) {
    ScanPlaces<Element, kOperation, 1, kWithNorms, false>(rows, i, 0, 0, query, dim, out, norms);
  }
}

template <class Element, Operation kOperation>
void Scan(const Rows& rows, const void* query, size_t dim, float* out, float* norms) {
  const auto* values = static_cast<const typename Element::Query*>(query);
  if (norms != nullptr) {
    ScanRows<Element, kOperation, true>(rows, values, dim, out, norms);
  } else {
    ScanRows<Element, kOperation, false>(rows, values, dim, out, nullptr);
  }
}

template <class Element>
void Norms(const Rows& rows, size_t dim, float* out) {
  ScanRows<Element, Operation::kNorm, false>(rows, nullptr, dim, out, nullptr);
}

/// Rows first_row + r * step (r < kRows) against kQueries queries in registers. Pin keeps a loaded query in its
/// register: compilers otherwise load it again for every row.
template <class Element, Operation kOperation, size_t kRows, size_t kQueries>
[[gnu::always_inline]] inline void TileBlock(const Rows& rows, size_t first_row, size_t step, const std::byte* queries,
                                             size_t query_stride, size_t dim, float* out, size_t out_stride) {
  using Vec = typename Element::Vec;
  using Acc = typename Element::Acc;
  using Query = typename Element::Query;
  constexpr size_t kLanes = Element::kLanes;
  const std::byte* row[kRows];
  const Query* query[kQueries];
  Acc sums[kRows][kQueries][2];
  for (size_t r = 0; r < kRows; ++r) row[r] = RowAt<Element>(rows, first_row + r * step);
  for (size_t q = 0; q < kQueries; ++q) query[q] = reinterpret_cast<const Query*>(queries + q * query_stride);
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t q = 0; q < kQueries; ++q) sums[r][q][0] = sums[r][q][1] = Element::Zero();
  }
  const auto add = [&](size_t d, size_t parity) {
    Vec x[kRows];
    for (size_t r = 0; r < kRows; ++r) x[r] = Element::LoadRow(row[r] + d * Element::kBytes);
    for (size_t q = 0; q < kQueries; ++q) {
      Vec v = Element::LoadQuery(query[q] + d);
      Element::Pin(v);
      for (size_t r = 0; r < kRows; ++r) sums[r][q][parity] = Step<Element, kOperation>(sums[r][q][parity], v, x[r]);
    }
  };
  size_t d = 0;
  for (; d + 2 * kLanes <= dim; d += 2 * kLanes) {
    add(d, 0);
    add(d + kLanes, 1);
  }
  if (d + kLanes <= dim) {
    add(d, 0);
    d += kLanes;
  }
  if (d < dim) {
    const size_t rest = dim - d;
    for (size_t r = 0; r < kRows; ++r) {
      const Vec x = Element::LoadRowTail(row[r] + d * Element::kBytes, rest);
      for (size_t q = 0; q < kQueries; ++q) {
        sums[r][q][1] = Step<Element, kOperation>(sums[r][q][1], Element::LoadQueryTail(query[q] + d, rest), x);
      }
    }
  }
  for (size_t q = 0; q < kQueries; ++q) {
    for (size_t r = 0; r < kRows; ++r) {
      out[q * out_stride + first_row + r * step] = Element::Reduce(sums[r][q][0], sums[r][q][1]);
    }
  }
}

template <class Element, Operation kOperation, size_t kQueries>
inline void TileRows(const Rows& rows, const std::byte* queries, size_t query_stride, size_t dim, float* out,
                     size_t out_stride) {
  const size_t step = rows.count / Element::kTileRows;
  size_t i = 0;
  for (; i < step; ++i) {
    TileBlock<Element, kOperation, Element::kTileRows, kQueries>(rows, i, step, queries, query_stride, dim, out,
                                                                 out_stride);
  }
  for (i = step * Element::kTileRows; i < rows.count; ++i) {
    TileBlock<Element, kOperation, 1, kQueries>(rows, i, 0, queries, query_stride, dim, out, out_stride);
  }
}

template <class Element, Operation kOperation>
void Tile(const Rows& rows, const void* queries, size_t query_stride, size_t query_count, size_t dim, float* out,
          size_t out_stride) {
  const auto* base = static_cast<const std::byte*>(queries);
  size_t q = 0;
  for (; q + Element::kTileQueries <= query_count; q += Element::kTileQueries) {
    TileRows<Element, kOperation, Element::kTileQueries>(rows, base + q * query_stride, query_stride, dim,
                                                         out + q * out_stride, out_stride);
  }
  if constexpr (Element::kTileQueries > 2) {
    if (q + 2 == query_count) {
      TileRows<Element, kOperation, 2>(rows, base + q * query_stride, query_stride, dim, out + q * out_stride,
                                       out_stride);
      q += 2;
    }
  }
  for (; q < query_count; ++q) {
    TileRows<Element, kOperation, 1>(rows, base + q * query_stride, query_stride, dim, out + q * out_stride,
                                     out_stride);
  }
}

template <class Element>
constexpr DenseKernels MakeDenseKernels() {
  DenseKernels kernels;
  kernels.ip = &Scan<Element, Operation::kIp>;
  kernels.l2 = &Scan<Element, Operation::kL2>;
  kernels.norm = &Norms<Element>;
  kernels.ip_tile = &Tile<Element, Operation::kIp>;
  kernels.l2_tile = &Tile<Element, Operation::kL2>;
  return kernels;
}

/// Bit counts of one pair of packed rows. kWords = 0: any length, given at run time.
template <class Bits, size_t kWords>
inline void CountBits(const std::byte* a, const std::byte* b, size_t bytes, typename Bits::Counts& counts) {
  size_t at = 0;
  if constexpr (kWords != 0) {
    for (; at < kWords * 8; at += 8) Bits::Add(counts, Bits::Word(a + at), Bits::Word(b + at));
  } else {
    for (; at + 32 <= bytes; at += 32) {
      for (size_t w = 0; w < 32; w += 8) Bits::Add(counts, Bits::Word(a + at + w), Bits::Word(b + at + w));
    }
    for (; at + 8 <= bytes; at += 8) Bits::Add(counts, Bits::Word(a + at), Bits::Word(b + at));
    if (at < bytes) Bits::Add(counts, Bits::Tail(a + at, bytes - at), Bits::Tail(b + at, bytes - at));
  }
}

template <class Bits, size_t kWords>
inline void BinaryRows(const Rows& rows, const std::byte* query, size_t bytes, float* out) {
  constexpr size_t kStreams = 4;
  constexpr size_t kAhead = 32;
  const auto score = [&](size_t i) {
    typename Bits::Counts counts{};
    CountBits<Bits, kWords>(query, RowAt<Bits>(rows, i), bytes, counts);
    out[i] = Bits::Score(counts);
  };
  size_t i = 0;
  if (rows.ids == nullptr) {
    const size_t step = rows.count / kStreams;
    for (; i < step; ++i) {
      for (size_t stream = 0; stream < kStreams; ++stream) score(i + stream * step);
    }
    i = step * kStreams;
  }
  for (; i < rows.count; ++i) {
    if (rows.ids != nullptr && i + kAhead < rows.count) __builtin_prefetch(RowAt<Bits>(rows, i + kAhead));
    score(i);
  }
}

/// `Bits` says what is counted and how counts become a score.
template <class Bits>
void BinaryScan(const Rows& rows, const void* query, size_t bytes, float* out) {
  const auto* bits = static_cast<const std::byte*>(query);
  switch (bytes) {
    case 8: return BinaryRows<Bits, 1>(rows, bits, bytes, out);
    case 16: return BinaryRows<Bits, 2>(rows, bits, bytes, out);
    case 32: return BinaryRows<Bits, 4>(rows, bits, bytes, out);
    case 64: return BinaryRows<Bits, 8>(rows, bits, bytes, out);
    default: return BinaryRows<Bits, 0>(rows, bits, bytes, out);
  }
}

/// Word access for the bit counters; `Tag` is a type of the including file.
template <class Tag>
struct WordAccess {
  static uint64_t Word(const std::byte* at) {
    uint64_t word;
    __builtin_memcpy(&word, at, sizeof(word));
    return word;
  }
  static uint64_t Tail(const std::byte* at, size_t bytes) {
    uint64_t word = 0;
    for (size_t i = 0; i < bytes; ++i) word |= static_cast<uint64_t>(at[i]) << (8 * i);
    return word;
  }
  static uint32_t Popcount(uint64_t word) { return static_cast<uint32_t>(__builtin_popcountll(word)); }
};

template <class Tag>
struct HammingBits : WordAccess<Tag> {
  struct Counts {
    uint32_t differ = 0;
  };
  static void Add(Counts& counts, uint64_t a, uint64_t b) { counts.differ += WordAccess<Tag>::Popcount(a ^ b); }
  static float Score(const Counts& counts) { return static_cast<float>(counts.differ); }
};

template <class Tag>
struct JaccardBits : WordAccess<Tag> {
  struct Counts {
    uint32_t both = 0;
    uint32_t any = 0;
  };
  static void Add(Counts& counts, uint64_t a, uint64_t b) {
    counts.both += WordAccess<Tag>::Popcount(a & b);
    counts.any += WordAccess<Tag>::Popcount(a | b);
  }
  static float Score(const Counts& counts) {
    if (counts.any == 0) return 0.0f;
    return 1.0f - static_cast<float>(counts.both) / static_cast<float>(counts.any);
  }
};

/// kRowInQuery: the row's bits must be a subset of the query's; else the other way round.
template <class Tag, bool kRowInQuery>
struct SubsetBits : WordAccess<Tag> {
  struct Counts {
    uint64_t outside = 0;
  };
  static void Add(Counts& counts, uint64_t query, uint64_t row) {
    counts.outside |= kRowInQuery ? (row & ~query) : (query & ~row);
  }
  static float Score(const Counts& counts) { return counts.outside == 0 ? 0.0f : __builtin_nanf(""); }
};

template <class Tag>
constexpr BinaryKernels MakeBinaryKernels() {
  BinaryKernels kernels;
  kernels.hamming = &BinaryScan<HammingBits<Tag>>;
  kernels.jaccard = &BinaryScan<JaccardBits<Tag>>;
  kernels.substructure = &BinaryScan<SubsetBits<Tag, true>>;
  kernels.superstructure = &BinaryScan<SubsetBits<Tag, false>>;
  return kernels;
}

}  // namespace quiver::simd
