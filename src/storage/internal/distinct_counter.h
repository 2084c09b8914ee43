// File: storage/internal/distinct_counter.h
// Counts different values by their 64-bit hashes: exactly while there are few, by HyperLogLog (4,096 registers,
// standard error 1.6 %) above. Thread rule: one thread.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace quiver::storage::internal {

/// A set of at most `most` hashes.
class HashSet {
 public:
  explicit HashSet(size_t most) : slots_(std::bit_ceil(most * 2)) {}

  /// Returns whether the hash is new. The caller keeps size() within the limit.
  bool Add(uint64_t hash) {
    if (hash == 0) hash = 1;  // 0 marks a free slot
    const size_t mask = slots_.size() - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
      if (slots_[at] == hash) return false;
      if (slots_[at] == 0) {
        slots_[at] = hash;
        ++size_;
        return true;
      }
    }
  }
  void Clear() {
    if (size_ > 0) std::fill(slots_.begin(), slots_.end(), uint64_t{0});
    size_ = 0;
  }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  std::vector<uint64_t> slots_;
  size_t size_ = 0;
};

class DistinctCounter {
 public:
  /// Up to this many values the count is exact.
  static constexpr size_t kExact = 4096;

  void Add(uint64_t hash) {
    if (exact_.size() < kExact) {
      exact_.Add(hash);
    } else {
      overflowed_ = true;
    }
    uint8_t& known = registers_[hash >> (64 - kBits)];
    // The register keeps the longest run of leading zeros, counted from 1, that the other bits of a hash had.
    const auto run = static_cast<uint8_t>(std::countl_zero((hash << kBits) | (uint64_t{1} << (kBits - 1))) + 1);
    known = std::max(known, run);
  }

  [[nodiscard]] uint64_t Estimate() const {
    if (!overflowed_) return exact_.size();
    constexpr auto kRegisters = static_cast<double>(size_t{1} << kBits);
    double sum = 0;
    for (const uint8_t run : registers_) sum += std::ldexp(1.0, -run);
    const double estimate = 0.7213 / (1.0 + 1.079 / kRegisters) * kRegisters * kRegisters / sum;
    const auto zeros = static_cast<double>(std::count(registers_.begin(), registers_.end(), uint8_t{0}));
    // Few values leave registers empty; their number then tells more than the runs do.
    const double corrected =
        estimate <= 2.5 * kRegisters && zeros > 0 ? kRegisters * std::log(kRegisters / zeros) : estimate;
    return std::max<uint64_t>(static_cast<uint64_t>(std::llround(corrected)), kExact);
  }

 private:
  static constexpr int kBits = 12;
  HashSet exact_{kExact};
  bool overflowed_ = false;
  std::array<uint8_t, size_t{1} << kBits> registers_{};
};

}  // namespace quiver::storage::internal
