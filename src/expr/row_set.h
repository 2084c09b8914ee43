// File: expr/row_set.h
// RowSet: a set of the rows of one segment, as a short list or as a bit map, whichever is smaller.
// Thread rule: a plain value; const methods may run on many threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quiver::expr {

class RowSet {
 public:
  /// The empty set of rows below `rows`.
  explicit RowSet(uint32_t rows);

  [[nodiscard]] uint32_t rows() const { return rows_; }
  /// Members of the set.
  [[nodiscard]] uint64_t Count() const;

  /// Prepares for so many rows, so that adding them bit by bit does not sort them again and again.
  void Expect(uint64_t count);
  /// Adds rows in any order, repeats allowed; each is below rows().
  void Add(std::span<const uint32_t> rows);
  /// Adds rows [first, end), end at most rows().
  void AddRange(uint32_t first, uint32_t end);
  /// Adds the rows of a bit map: bit row % 64 of word row / 64, ceil(rows / 64) words, no bit beyond the last row.
  void AddWords(const uint64_t* words);
  void Remove(std::span<const uint32_t> rows);
  /// Takes the rows that were not in it.
  void Invert();
  void Unite(const RowSet& other);
  void Intersect(const RowSet& other);

  /// Copies the bits of rows [first_row, first_row + 64 * words) to `out`; first_row is a multiple of 64. Returns how
  /// many there are.
  uint32_t CopyWords(uint32_t first_row, size_t words, uint64_t* out) const;
  /// The least member that is `row` or more; rows() where there is none.
  [[nodiscard]] uint32_t NextAfter(uint32_t row) const;

 private:
  [[nodiscard]] bool listed() const { return bits_.empty(); }
  [[nodiscard]] size_t word_count() const { return (size_t{rows_} + 63) / 64; }
  [[nodiscard]] size_t MostListed() const;
  void MakeBits();

  uint32_t rows_;
  std::vector<uint32_t> list_;  ///< ascending, while there are no bits
  std::vector<uint64_t> bits_;
};

}  // namespace quiver::expr
