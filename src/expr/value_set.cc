#include "expr/value_set.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace quiver::expr {

IntSet::IntSet(const std::vector<int64_t>& values) : size_(values.size()) {
  if (values.empty()) return;
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  least_ = *least;
  span_ = static_cast<uint64_t>(*most) - static_cast<uint64_t>(*least);
  // A bitmap never takes more memory than the table would: 128 bits per value, or 8 KiB.
  if (span_ < std::max<uint64_t>(uint64_t{128} * values.size(), 65536)) {
    bitmap_.resize(span_ / 64 + 1);
    for (const int64_t value : values) {
      const uint64_t offset = static_cast<uint64_t>(value) - static_cast<uint64_t>(least_);
      bitmap_[offset / 64] |= uint64_t{1} << (offset % 64);
    }
    return;
  }
  const size_t slots = std::bit_ceil(values.size() * 2);
  shift_ = 64 - std::countr_zero(slots);
  table_.assign(slots, kFree);
  for (const int64_t value : values) {
    if (value == kFree) {
      has_free_ = true;
      continue;
    }
    size_t slot = SlotOf(value);
    while (table_[slot] != kFree && table_[slot] != value) slot = (slot + 1) & (slots - 1);
    table_[slot] = value;
  }
}

StringSet::StringSet(std::vector<std::string> values) : values_(std::move(values)) {
  if (values_.empty()) return;
  least_length_ = SIZE_MAX;
  table_.resize(std::bit_ceil(values_.size() * 2));
  for (size_t i = 0; i < values_.size(); ++i) {
    least_length_ = std::min(least_length_, values_[i].size());
    most_length_ = std::max(most_length_, values_[i].size());
    const uint64_t hash = std::hash<std::string_view>{}(values_[i]);
    size_t slot = hash & (table_.size() - 1);
    while (table_[slot].index != kFree) slot = (slot + 1) & (table_.size() - 1);
    table_[slot] = Slot{static_cast<uint32_t>(hash >> 32U), static_cast<uint32_t>(i)};
  }
}

}  // namespace quiver::expr
