// File: storage/internal/dictionary_builder.h
// Collects the different values of a column while it is written, for as long as it looks as if a dictionary would pay.
// Thread rule: one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/internal/segment_format.h"

namespace quiver::storage::internal {

class DictionaryBuilder {
 public:
  /// A larger dictionary would not stay in the caches, and is kept in memory while it grows.
  static constexpr size_t kMaxBytes = size_t{4} << 20;

  /// Takes the value of the next row. Returns false when a dictionary cannot pay any more; nothing may be added then.
  bool Add(std::string_view value) {
    const uint64_t hash = HashPk(value);
    if ((hashes_.size() + 1) * 2 > slots_.size()) Grow();
    const size_t mask = slots_.size() - 1;
    size_t at = hash & mask;
    for (; slots_[at] != 0; at = (at + 1) & mask) {
      const uint32_t entry = slots_[at] - 1;
      if (hashes_[entry] == hash && Entry(entry) == value) {
        codes_.push_back(static_cast<uint16_t>(entry));
        return true;
      }
    }
    // A column that still has a new value in every other row after so many does not repeat its values.
    constexpr size_t kTrialRows = 65536;
    if (hashes_.size() == kMaxDictionaryEntries || bytes_.size() + value.size() > kMaxBytes ||
        (codes_.size() >= kTrialRows && hashes_.size() * 2 > codes_.size())) {
      return false;
    }
    slots_[at] = static_cast<uint32_t>(hashes_.size() + 1);
    codes_.push_back(static_cast<uint16_t>(hashes_.size()));
    hashes_.push_back(hash);
    bytes_ += value;
    offsets_.push_back(static_cast<uint32_t>(bytes_.size()));
    return true;
  }

  [[nodiscard]] size_t entries() const { return hashes_.size(); }
  /// Bytes of the codes and the dictionary in a file.
  [[nodiscard]] uint64_t FileBytes() const {
    return codes_.size() * CodeWidth(entries()) + offsets_.size() * sizeof(uint32_t) + bytes_.size();
  }

  /// What goes into the file: entries in ascending order, one code for each row.
  struct Sorted {
    std::vector<uint32_t> offsets{0};
    std::string bytes;
    std::vector<uint16_t> codes;
  };
  [[nodiscard]] Sorted Sort() && {
    std::vector<uint32_t> order(entries());
    std::iota(order.begin(), order.end(), 0U);
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return Entry(a) < Entry(b); });
    Sorted sorted;
    std::vector<uint16_t> new_codes(entries());
    for (size_t place = 0; place < order.size(); ++place) {
      new_codes[order[place]] = static_cast<uint16_t>(place);
      sorted.bytes += Entry(order[place]);
      sorted.offsets.push_back(static_cast<uint32_t>(sorted.bytes.size()));
    }
    sorted.codes = std::move(codes_);
    for (uint16_t& code : sorted.codes) code = new_codes[code];
    return sorted;
  }

 private:
  [[nodiscard]] std::string_view Entry(uint32_t entry) const {
    return std::string_view(bytes_).substr(offsets_[entry], offsets_[entry + 1] - offsets_[entry]);
  }

  void Grow() {
    slots_.assign(std::max<size_t>(slots_.size() * 2, 1024), 0);
    const size_t mask = slots_.size() - 1;
    for (size_t entry = 0; entry < hashes_.size(); ++entry) {
      size_t at = hashes_[entry] & mask;
      while (slots_[at] != 0) at = (at + 1) & mask;
      slots_[at] = static_cast<uint32_t>(entry + 1);
    }
  }

  std::vector<uint32_t> slots_;  // entry + 1, 0 = free
  std::vector<uint64_t> hashes_;
  std::vector<uint32_t> offsets_{0};
  std::string bytes_;
  std::vector<uint16_t> codes_;  // by row
};

}  // namespace quiver::storage::internal
