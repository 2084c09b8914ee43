// File: index/internal/postings.h
// Postings: the different values of a column in ascending order, each with the rows that hold it, as sections of an
// index file (docs/formats.md, "Scalar index files"). Values of more than one row in 32 have a bit map of all rows, the
// others a list. Thread rule: PostingsBuilder belongs to one thread; Postings are immutable.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "expr/row_set.h"
#include "index/internal/section_file.h"
#include "schema/data_type.h"

namespace quiver::index {

/// What values are, for order and comparison.
enum class ValueDomain : uint8_t { kIntegers = 1, kReals = 2, kTexts = 3 };

/// What the values of a field of this type are.
ValueDomain DomainOf(DataType type);

/// Lays out the sections of postings; values come in ascending order, each once.
template <typename Value>
class PostingsLayout {
 public:
  explicit PostingsLayout(uint32_t rows) : rows_(rows) {}

  /// `rows` ascend and do not repeat. Error: kIndexNotSupported where numbers of 32 bits do not suffice.
  Status Add(const Value& value, std::span<const uint32_t> rows);
  void Finish(SectionFileWriter& writer);

 private:
  uint32_t rows_;
  uint32_t value_count_ = 0;
  uint64_t size_ = 0;
  std::string values_;
  std::string text_;
  std::vector<uint32_t> text_offsets_{0};
  std::vector<uint32_t> starts_{0};
  std::vector<uint32_t> listed_;
  std::vector<uint32_t> dense_;
  std::vector<uint32_t> dense_counts_;
  std::vector<uint64_t> dense_words_;
};

extern template class PostingsLayout<int64_t>;

/// Collects (value, row) pairs of one domain; pairs may come in any order and repeat.
class PostingsBuilder {
 public:
  static constexpr bool kKeepsTexts = true;

  PostingsBuilder(ValueDomain domain, uint32_t rows) : domain_(domain), rows_(rows) {}

  void Add(int64_t value, uint32_t row) { integers_.emplace_back(value, row); }
  /// Not NaN.
  void Add(double value, uint32_t row) { reals_.emplace_back(value + 0.0, row); }  // -0 and 0 are one value
  /// The text must outlive the builder.
  void Add(std::string_view value, uint32_t row) { texts_.emplace_back(value, row); }
  [[nodiscard]] size_t size() const { return integers_.size() + reals_.size() + texts_.size(); }

  /// Adds the sections. Error: kIndexNotSupported where numbers of 32 bits do not suffice.
  Status Finish(SectionFileWriter& writer);

 private:
  template <typename Value>
  Status FinishValues(std::vector<std::pair<Value, uint32_t>>& pairs, SectionFileWriter& writer);

  ValueDomain domain_;
  uint32_t rows_;
  std::vector<std::pair<int64_t, uint32_t>> integers_;
  std::vector<std::pair<double, uint32_t>> reals_;
  std::vector<std::pair<std::string_view, uint32_t>> texts_;
};

class Postings {
 public:
  /// Positions of values: [begin, end).
  struct Range {
    uint32_t begin = 0;
    uint32_t end = 0;
  };

  /// Finds the sections. Error: kCorruption where their sizes do not fit together.
  static Result<Postings> Open(const SectionFile& file, ValueDomain domain, uint32_t rows);

  [[nodiscard]] uint32_t value_count() const { return value_count_; }
  /// Pairs of value and row.
  [[nodiscard]] uint64_t size() const { return size_; }
  [[nodiscard]] std::span<const int64_t> integers() const { return integers_; }
  [[nodiscard]] std::span<const double> reals() const { return reals_; }
  [[nodiscard]] std::string_view Text(uint32_t position) const {
    return {text_bytes_.data() + text_offsets_[position], text_offsets_[position + 1] - text_offsets_[position]};
  }

  /// The first position whose text is not below this one; of texts.
  [[nodiscard]] uint32_t FirstNotBelow(std::string_view text) const;

  /// Rows of a range of values, those of several values counted several times.
  [[nodiscard]] uint64_t CountOf(Range range) const;
  /// Nanoseconds that adding them takes, roughly.
  [[nodiscard]] double PriceOf(Range range) const;
  void AddTo(std::span<const Range> ranges, expr::RowSet* rows) const;
  /// Adds the rows that every range has.
  void AddCommonTo(std::span<const Range> ranges, expr::RowSet* rows) const;

 private:
  /// Places of the range's bit maps.
  [[nodiscard]] Range DenseIn(Range range) const;
  [[nodiscard]] std::span<const uint32_t> ListedIn(Range range) const;

  uint32_t rows_ = 0;
  uint32_t value_count_ = 0;
  uint64_t size_ = 0;
  std::span<const int64_t> integers_;
  std::span<const double> reals_;
  std::span<const uint32_t> text_offsets_;
  std::string_view text_bytes_;
  std::span<const uint32_t> starts_;  ///< value_count + 1; empty: value i has the one row listed_[i]
  std::span<const uint32_t> listed_;
  std::span<const uint32_t> dense_;  ///< positions of values with bit maps, ascending
  std::span<const uint32_t> dense_counts_;
  std::span<const uint64_t> dense_words_;
};

}  // namespace quiver::index
