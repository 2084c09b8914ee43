// File: index/internal/grams.h
// Grams: which three bytes stand next to each other in texts, as postings over numbers of three bytes. A text that
// holds a run of characters holds all of its grams; the reverse is not true, so rows found by grams are candidates.
// Near the end of a text, grams are filled up with zeros: so a run of one or two bytes is found too, by the range of
// grams that begin with it. Thread rule: GramBuilder belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "index/internal/postings.h"
#include "index/internal/section_file.h"

namespace quiver::index {

inline constexpr size_t kGramBytes = 3;

/// The grams [first, last] of which a text has one wherever it holds the 1 to 3 bytes.
struct GramInterval {
  int64_t first = 0;
  int64_t last = 0;
};
GramInterval GramsOf(std::string_view bytes);

/// Counts the grams of all texts first, then puts each row where it belongs: 4 bytes per different gram of a text are
/// all it takes beside a table of all grams. Of few rows it notes pairs of gram and row instead, and sorts them: to
/// clear the table would take longer.
class GramBuilder {
 public:
  /// Columns of fewer rows have no table.
  static constexpr uint32_t kLeastTableRows = 1U << 17;
  /// Bytes of the table.
  static constexpr uint64_t kTableBytes = uint64_t{1} << (8 * kGramBytes + 2);

  /// `rows`: of the column.
  explicit GramBuilder(uint32_t rows);

  /// First for each text of the column, in order of rows; a row has one text at most.
  void Count(std::string_view text);
  /// After all texts were counted. Error: kIndexNotSupported where there are 2^32 entries or more.
  Status FinishCounting();
  /// Then for the same texts again.
  void Place(std::string_view text, uint32_t row);
  /// Adds the sections of postings.
  Status Finish(uint32_t rows, SectionFileWriter& writer);

 private:
  Status FinishPairs(uint32_t rows, SectionFileWriter& writer);
  /// The different grams of a text.
  const std::vector<uint32_t>& Collect(std::string_view text);

  std::vector<uint32_t> grams_;
  std::vector<uint32_t> ends_;  ///< per gram: its count, then where its next row goes
  std::vector<uint32_t> rows_;
  std::vector<uint64_t> pairs_;  ///< of few rows: gram << 32 | row, in order of rows
  uint64_t total_ = 0;
};

}  // namespace quiver::index
