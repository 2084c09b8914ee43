// File: index/internal/postings_answer.h
// What indexes over postings give for a term: the rows of some values. Thread rule: immutable.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "expr/like_pattern.h"
#include "expr/term_index.h"
#include "index/internal/postings.h"

namespace quiver::index {

/// Values that a pattern is tried on cost about as much as rows in a scan: where there are more than one for so many
/// rows, trying them is not worth it.
inline constexpr uint32_t kRowsPerTriedValue = 8;
/// Nanoseconds to try a pattern on a value.
inline constexpr double kTryPrice = 20;

/// Rows of some values: of any of them, or of all.
class PostingsAnswer final : public expr::TermAnswer {
 public:
  /// `repeats`: a row may hold several of the values.
  PostingsAnswer(const Postings& postings, std::vector<Postings::Range> ranges, bool all, bool repeats);
  void AddTo(expr::RowSet* rows) const override;

 private:
  const Postings& postings_;
  std::vector<Postings::Range> ranges_;
  bool all_;
};

/// The texts of a range that match a pattern, from their byte `skip` on.
std::vector<Postings::Range> MatchingTexts(const Postings& postings, Postings::Range range,
                                           const expr::LikePattern& pattern, size_t skip = 0);

}  // namespace quiver::index
