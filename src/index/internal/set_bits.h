// File: index/internal/set_bits.h
// VisitSetBits: the numbers of the bits that are set in a mask, in blocks.
// Thread rule: pure.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace quiver::index {

/// Gives the numbers below `size` whose bits are set to `take`, in rising order and in blocks (ids, count) of at most
/// kMostSetBits, until it says no; returns whether it never did. bits == nullptr: all. How many bits a word has is
/// anybody's guess, so the first `kFew` are written whether they are there or not: 2 where few words have more.
constexpr size_t kMostSetBits = 1024 + 64;
template <size_t kFew, typename Take>
bool VisitSetBits(const uint64_t* bits, size_t size, const Take& take) {
  constexpr size_t kWords = 256;
  uint32_t words[kWords];
  uint32_t ids[kMostSetBits + kFew];
  size_t count = 0;
  const auto word_at = [&](size_t w) {
    const uint64_t word = bits != nullptr ? bits[w] : ~uint64_t{0};
    return size - w * 64 < 64 ? word & ((uint64_t{1} << (size - w * 64)) - 1) : word;
  };
  const size_t end = (size + 63) / 64;
  for (size_t first = 0; first < end; first += kWords) {
    size_t filled = 0;
    for (size_t w = first; w < first + kWords && w < end; ++w) {
      words[filled] = static_cast<uint32_t>(w);
      filled += word_at(w) != 0 ? 1 : 0;
    }
    for (size_t i = 0; i < filled; ++i) {
      uint64_t word = word_at(words[i]);
      const auto here = static_cast<size_t>(std::popcount(word));
      size_t at = count;
      do {
        for (size_t j = 0; j < kFew; ++j, word &= word - 1) {
          ids[at++] = words[i] * 64 + static_cast<uint32_t>(std::countr_zero(word));
        }
      } while (word != 0);
      count += here;
      if (count + 64 <= kMostSetBits) continue;
      if (!take(static_cast<const uint32_t*>(ids), count)) return false;
      count = 0;
    }
  }
  return count == 0 || take(static_cast<const uint32_t*>(ids), count);
}

}  // namespace quiver::index
