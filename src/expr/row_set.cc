#include "expr/row_set.h"

#include <algorithm>
#include <bit>
#include <iterator>

namespace quiver::expr {

namespace {

/// Up to so many rows, and one in so many of a segment, are listed: to put more in order takes longer than to clear a
/// bit map and to look through it.
constexpr size_t kMostListed = 4096;
constexpr uint32_t kListedOf = 2048;
constexpr uint32_t kSmallSegment = 1U << 16;

}  // namespace

RowSet::RowSet(uint32_t rows) : rows_(rows) {
  if (rows <= kSmallSegment) bits_.assign(std::max<size_t>(word_count(), 1), 0);
}

size_t RowSet::MostListed() const { return std::min<size_t>(rows_ / kListedOf, kMostListed); }

uint64_t RowSet::Count() const {
  if (listed()) return list_.size();
  uint64_t count = 0;
  for (const uint64_t word : bits_) count += static_cast<uint64_t>(std::popcount(word));
  return count;
}

void RowSet::MakeBits() {
  if (!listed()) return;
  bits_.assign(word_count(), 0);
  for (const uint32_t row : list_) bits_[row / 64] |= uint64_t{1} << (row % 64);
  list_ = {};
}

void RowSet::Expect(uint64_t count) {
  if (list_.size() + count > MostListed()) MakeBits();
}

void RowSet::Add(std::span<const uint32_t> rows) {
  if (listed() && list_.size() + rows.size() > MostListed()) MakeBits();
  if (!listed()) {
    for (const uint32_t row : rows) bits_[row / 64] |= uint64_t{1} << (row % 64);
    return;
  }
  if (rows.size() == 1 && (list_.empty() || list_.back() < rows[0])) {
    list_.push_back(rows[0]);
    return;
  }
  list_.insert(list_.end(), rows.begin(), rows.end());
  std::sort(list_.begin(), list_.end());
  list_.erase(std::unique(list_.begin(), list_.end()), list_.end());
}

void RowSet::AddRange(uint32_t first, uint32_t end) {
  if (first >= end) return;
  Expect(end - first);
  if (listed()) {
    const bool behind = list_.empty() || list_.back() < first;
    for (uint32_t row = first; row < end; ++row) list_.push_back(row);
    if (behind) return;
    std::sort(list_.begin(), list_.end());
    list_.erase(std::unique(list_.begin(), list_.end()), list_.end());
    return;
  }
  const uint32_t last = end - 1;
  const uint64_t head = ~uint64_t{0} << (first % 64);
  const uint64_t tail = ~uint64_t{0} >> (63 - last % 64);
  if (first / 64 == last / 64) {
    bits_[first / 64] |= head & tail;
    return;
  }
  bits_[first / 64] |= head;
  for (uint32_t word = first / 64 + 1; word < last / 64; ++word) bits_[word] = ~uint64_t{0};
  bits_[last / 64] |= tail;
}

void RowSet::AddWords(const uint64_t* words) {
  MakeBits();
  for (size_t word = 0; word < word_count(); ++word) bits_[word] |= words[word];
}

void RowSet::Remove(std::span<const uint32_t> rows) {
  if (!listed()) {
    for (const uint32_t row : rows) bits_[row / 64] &= ~(uint64_t{1} << (row % 64));
    return;
  }
  for (const uint32_t row : rows) {
    const auto found = std::lower_bound(list_.begin(), list_.end(), row);
    if (found != list_.end() && *found == row) list_.erase(found);
  }
}

void RowSet::Invert() {
  MakeBits();
  for (uint64_t& word : bits_) word = ~word;
  if (rows_ == 0) bits_.assign(1, 0);
  if (rows_ % 64 != 0) bits_[rows_ / 64] &= (uint64_t{1} << (rows_ % 64)) - 1;
}

void RowSet::Unite(const RowSet& other) {
  if (other.listed()) return Add(other.list_);
  AddWords(other.bits_.data());
}

void RowSet::Intersect(const RowSet& other) {
  const auto in = [](const std::vector<uint64_t>& bits, uint32_t row) {
    return ((bits[row / 64] >> (row % 64)) & 1U) != 0;
  };
  if (listed() && other.listed()) {
    std::vector<uint32_t> both;
    std::set_intersection(list_.begin(), list_.end(), other.list_.begin(), other.list_.end(), std::back_inserter(both));
    list_ = std::move(both);
  } else if (listed()) {
    std::erase_if(list_, [&](uint32_t row) { return !in(other.bits_, row); });
  } else if (other.listed()) {
    list_ = other.list_;
    std::erase_if(list_, [&](uint32_t row) { return !in(bits_, row); });
    bits_ = {};
  } else {
    for (size_t word = 0; word < bits_.size(); ++word) bits_[word] &= other.bits_[word];
  }
}

uint32_t RowSet::CopyWords(uint32_t first_row, size_t words, uint64_t* out) const {
  uint32_t count = 0;
  if (!listed()) {
    const size_t first = first_row / 64;
    for (size_t i = 0; i < words; ++i) {
      out[i] = first + i < bits_.size() ? bits_[first + i] : 0;
      count += static_cast<uint32_t>(std::popcount(out[i]));
    }
    return count;
  }
  std::fill_n(out, words, 0);
  for (auto row = std::lower_bound(list_.begin(), list_.end(), first_row);
       row != list_.end() && *row - first_row < words * 64; ++row, ++count) {
    out[(*row - first_row) / 64] |= uint64_t{1} << ((*row - first_row) % 64);
  }
  return count;
}

uint32_t RowSet::NextAfter(uint32_t row) const {
  if (row >= rows_) return rows_;
  if (listed()) {
    const auto found = std::lower_bound(list_.begin(), list_.end(), row);
    return found == list_.end() ? rows_ : *found;
  }
  uint64_t word = bits_[row / 64] & (~uint64_t{0} << (row % 64));
  for (size_t i = row / 64;; word = bits_[i]) {
    if (word != 0) return static_cast<uint32_t>(i * 64 + static_cast<size_t>(std::countr_zero(word)));
    if (++i >= bits_.size()) return rows_;
  }
}

}  // namespace quiver::expr
