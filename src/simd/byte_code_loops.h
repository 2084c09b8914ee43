// File: simd/byte_code_loops.h
// Loops over byte codes and of the Hadamard transform, written once and compiled by each level's source file with its
// own vectors. Private to src/simd: only kernels_*.cc include it. As in dense_loops.h every type that a template takes
// belongs to the including file, and nothing of the standard library is called.
//
//   Bytes: { kStep (bytes per vector); Acc; Query (what is kept of kStep query bytes while rows pass);
//            Acc Zero(); Query Load(const int8_t*); void Add(Acc&, Query, const std::byte* row);
//            int32_t Reduce(Acc); int32_t Correction(const int8_t* query, dim) (added to every product) }
//   Halves: { Acc; Query; Zero; Query Load(const int8_t* query) (of 64 dimensions); void Add(Acc&, Query,
//            const std::byte* row, size_t block) (32 bytes); int32_t Reduce(Acc) }, block counts the blocks of a row
//   Bytes and Halves may have void ReduceFour(const Acc (&)[4], int32_t* out).
//   Nibbles: { kStep; Vector; Vector Load(const void*); Low, High (halves of the bytes); And; Add (bytes);
//            Vector Counts<p>(halves) (ones of each, times 2^p); uint32_t SumBytes(Vector) }
//   Floats: { void EightStep(float* eight) (the transform of eight values in place) }
#pragma once

#include <cstddef>
#include <cstdint>

#include "simd/kernels.h"

namespace quiver::simd {

template <class Codes>
inline const std::byte* ByteRow(const Rows& rows, size_t i) {
  return rows.base + (rows.ids != nullptr ? rows.ids[i] : i) * rows.stride;
}

template <class Codes, size_t kCount>
[[gnu::always_inline]] inline void ReduceRows(const typename Codes::Acc (&sums)[kCount], int32_t correction,
                                              int32_t* out) {
  if constexpr (kCount == 4 && requires { Codes::ReduceFour(sums, out); }) {
    Codes::ReduceFour(sums, out);
    for (size_t g = 0; g < kCount; ++g) out[g] += correction;
  } else {
    for (size_t g = 0; g < kCount; ++g) out[g] = Codes::Reduce(sums[g]) + correction;
  }
}

/// Rows first .. first + kCount; the rows from `ahead` on, up to the last one, are asked for meanwhile, line by line.
template <class Bytes, size_t kCount, bool kPrefetch>
[[gnu::always_inline]] inline void ByteGroup(const Rows& rows, size_t first, size_t ahead, const int8_t* query,
                                             size_t dim, int32_t correction, int32_t* out) {
  const std::byte* row[kCount];
  const std::byte* next[kCount];
  typename Bytes::Acc sums[kCount];
  for (size_t g = 0; g < kCount; ++g) {
    row[g] = ByteRow<Bytes>(rows, first + g);
    next[g] = kPrefetch ? ByteRow<Bytes>(rows, ahead + g < rows.count ? ahead + g : rows.count - 1) : nullptr;
    sums[g] = Bytes::Zero();
  }
  for (size_t d = 0; d < dim; d += 64) {
    for (size_t part = 0; part < 64; part += Bytes::kStep) {
      const typename Bytes::Query q = Bytes::Load(query + d + part);
      for (size_t g = 0; g < kCount; ++g) {
        if constexpr (kPrefetch) {
          if (part == 0) __builtin_prefetch(next[g] + d);
        }
        Bytes::Add(sums[g], q, row[g] + d + part);
      }
    }
  }
  ReduceRows<Bytes, kCount>(sums, correction, out + first);
}

/// As ByteGroup, for rows of half bytes.
template <class Halves, size_t kCount, bool kPrefetch>
[[gnu::always_inline]] inline void HalfGroup(const Rows& rows, size_t first, size_t ahead, const int8_t* query,
                                             size_t dim, int32_t* out) {
  const std::byte* row[kCount];
  const std::byte* next[kCount];
  typename Halves::Acc sums[kCount];
  for (size_t g = 0; g < kCount; ++g) {
    row[g] = ByteRow<Halves>(rows, first + g);
    next[g] = kPrefetch ? ByteRow<Halves>(rows, ahead + g < rows.count ? ahead + g : rows.count - 1) : nullptr;
    sums[g] = Halves::Zero();
  }
  for (size_t block = 0; block < dim / 64; ++block) {
    const typename Halves::Query q = Halves::Load(query + block * 64);
    for (size_t g = 0; g < kCount; ++g) {
      if constexpr (kPrefetch) {
        if (block % 2 == 0) __builtin_prefetch(next[g] + block * 32);
      }
      Halves::Add(sums[g], q, row[g] + block * 32, block);
    }
  }
  ReduceRows<Halves, kCount>(sums, 0, out + first);
}

/// Calls group<kCount, kPrefetch>(first, ahead) for all rows.
template <class Group>
[[gnu::always_inline]] inline void ForGroups(const Rows& rows, const Group& group) {
  constexpr size_t kCount = 4;
  size_t i = 0;
  if (rows.ids != nullptr) {
    for (; i + kCount < rows.count; i += kCount) group.template operator()<kCount, true>(i, i + kCount);
  }
  for (; i + kCount <= rows.count; i += kCount) group.template operator()<kCount, false>(i, 0);
  for (; i < rows.count; ++i) group.template operator()<1, false>(i, 0);
}

template <class Bytes>
void ByteDots(const Rows& rows, const int8_t* query, size_t dim, int32_t* out) {
  const int32_t correction = Bytes::Correction(query, dim);
  ForGroups(rows, [&]<size_t kCount, bool kPrefetch>(size_t first, size_t ahead) {
    ByteGroup<Bytes, kCount, kPrefetch>(rows, first, ahead, query, dim, correction, out);
  });
}

template <class Halves>
void HalfDots(const Rows& rows, const int8_t* query, size_t dim, int32_t* out) {
  ForGroups(rows, [&]<size_t kCount, bool kPrefetch>(size_t first, size_t ahead) {
    HalfGroup<Halves, kCount, kPrefetch>(rows, first, ahead, query, dim, out);
  });
}

template <class Nibbles>
[[gnu::always_inline]] inline uint32_t BitRow(const std::byte* row, size_t bytes, const uint8_t* planes) {
  static_assert(ByteCodeKernels::kBitPlanes == 4);
  uint32_t sum = 0;
  for (size_t block = 0; block < bytes; block += 64, planes += 4 * 128) {
    for (size_t part = 0; part < 64; part += Nibbles::kStep) {
      const auto bits = Nibbles::Load(row + block + part);
      const auto low = Nibbles::Low(bits);
      const auto high = Nibbles::High(bits);
      const uint8_t* plane = planes + part;
      // Each byte adds up to 2 * 4 * 15 at most.
      const auto pair = [&]<int kPlane>() __attribute__((always_inline)) {
        return Nibbles::Add(
            Nibbles::template Counts<kPlane>(Nibbles::And(low, Nibbles::Load(plane + kPlane * 128))),
            Nibbles::template Counts<kPlane>(Nibbles::And(high, Nibbles::Load(plane + kPlane * 128 + 64))));
      };
      sum +=
          Nibbles::SumBytes(Nibbles::Add(Nibbles::Add(pair.template operator()<0>(), pair.template operator()<1>()),
                                         Nibbles::Add(pair.template operator()<2>(), pair.template operator()<3>())));
    }
  }
  return sum;
}

template <class Nibbles>
void BitDots(const Rows& rows, const uint8_t* planes, uint32_t* out) {
  constexpr size_t kAhead = ByteCodeKernels::kBitsAhead;
  for (size_t i = 0; i < rows.count; ++i) {
    if (rows.ids != nullptr && i + kAhead < rows.count) {
      const std::byte* ahead = rows.base + rows.ids[i + kAhead] * rows.stride;
      for (size_t at = 0; at < rows.stride; at += 64) __builtin_prefetch(ahead + at);
    }
    const std::byte* row = rows.base + (rows.ids != nullptr ? rows.ids[i] : i) * rows.stride;
    out[i] = BitRow<Nibbles>(row, rows.stride, planes);
  }
}

/// The transform of `count` values, a power of two from 8 on, two of its steps in one pass. Sums and differences only,
/// each of the same two values whatever the level, so that all levels round alike.
template <class Floats>
void Hadamard(float* values, size_t count) {
  for (size_t i = 0; i < count; i += 8) Floats::EightStep(values + i);
  size_t half = 8;
  for (; 4 * half <= count; half *= 4) {
    for (size_t i = 0; i < count; i += 4 * half) {
      float* __restrict first = values + i;
      float* __restrict second = first + half;
      float* __restrict third = second + half;
      float* __restrict fourth = third + half;
      for (size_t j = 0; j < half; ++j) {
        const float a = first[j] + second[j];
        const float b = first[j] - second[j];
        const float c = third[j] + fourth[j];
        const float d = third[j] - fourth[j];
        first[j] = a + c;
        second[j] = b + d;
        third[j] = a - c;
        fourth[j] = b - d;
      }
    }
  }
  if (half == count) return;
  float* __restrict low = values;
  float* __restrict high = values + half;
  for (size_t j = 0; j < half; ++j) {
    const float a = low[j];
    const float b = high[j];
    low[j] = a + b;
    high[j] = a - b;
  }
}

}  // namespace quiver::simd
