// File: expr/value_set.h
// IntSet, StringSet: membership tests for `in` lists of any size, in one or two memory accesses per row.
// Thread rule: immutable once built.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace quiver::expr {

/// A set of 64-bit values: a bitmap where they lie close together, else an open-addressing table.
class IntSet {
 public:
  IntSet() = default;
  explicit IntSet(const std::vector<int64_t>& values);

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] bool Contains(int64_t value) const {
    const uint64_t offset = static_cast<uint64_t>(value) - static_cast<uint64_t>(least_);
    if (offset > span_ || size_ == 0) return false;
    if (!bitmap_.empty()) return ((bitmap_[offset / 64] >> (offset % 64)) & 1U) != 0;
    if (value == kFree) return has_free_;
    for (size_t slot = SlotOf(value);; slot = (slot + 1) & (table_.size() - 1)) {
      if (table_[slot] == value) return true;
      if (table_[slot] == kFree) return false;
    }
  }

 private:
  static constexpr int64_t kFree = INT64_MIN;  ///< marks an empty slot; its own membership is has_free_
  [[nodiscard]] size_t SlotOf(int64_t value) const {
    return static_cast<size_t>((static_cast<uint64_t>(value) * 0x9E3779B97F4A7C15U) >> shift_);
  }

  size_t size_ = 0;
  int64_t least_ = 0;
  uint64_t span_ = 0;
  std::vector<uint64_t> bitmap_;
  std::vector<int64_t> table_;
  int shift_ = 0;
  bool has_free_ = false;
};

/// A set of strings, by hash and comparison.
class StringSet {
 public:
  StringSet() = default;
  explicit StringSet(std::vector<std::string> values);

  [[nodiscard]] bool empty() const { return values_.empty(); }
  [[nodiscard]] bool Contains(std::string_view text) const {
    if (text.size() < least_length_ || text.size() > most_length_) return false;
    const uint64_t hash = std::hash<std::string_view>{}(text);
    for (size_t slot = hash & (table_.size() - 1);; slot = (slot + 1) & (table_.size() - 1)) {
      const Slot& found = table_[slot];
      if (found.index == kFree) return false;
      if (found.tag == static_cast<uint32_t>(hash >> 32U) && values_[found.index] == text) return true;
    }
  }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;
  struct Slot {
    uint32_t tag = 0;
    uint32_t index = kFree;
  };

  std::vector<std::string> values_;
  std::vector<Slot> table_;
  size_t least_length_ = 1;
  size_t most_length_ = 0;
};

}  // namespace quiver::expr
