// File: text/match.h
// TermMatch, FuzzyMatch, PhraseMatch: does a text hold the tokens of a query? Both sides go through the same analyzer.
// Thread rule: immutable once built; Matches may run on many threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/analyzer.h"

namespace quiver::text {

/// A text matches that holds at least `minimum` different tokens of the query (all of them where the query has fewer).
/// A query without tokens matches nothing.
class TermMatch {
 public:
  TermMatch(std::shared_ptr<const Analyzer> analyzer, std::string_view query, size_t minimum);
  [[nodiscard]] bool Matches(std::string_view text) const;

 private:
  std::shared_ptr<const Analyzer> analyzer_;
  std::vector<std::string> terms_;  // sorted, without repeats
  size_t minimum_;
};

/// A text matches that holds a token within `edits` edits of any token of the query: characters put in, taken out or
/// replaced, and neighbours exchanged, where a character exchanged is not edited again (optimal string alignment). A
/// query without tokens matches nothing.
class FuzzyMatch {
 public:
  static constexpr int64_t kMostEdits = 2;

  /// edits: at most kMostEdits.
  FuzzyMatch(std::shared_ptr<const Analyzer> analyzer, std::string_view query, size_t edits);
  [[nodiscard]] bool Matches(std::string_view text) const;

 private:
  std::shared_ptr<const Analyzer> analyzer_;
  std::vector<std::u32string> terms_;  // sorted, without repeats
  size_t edits_;
};

/// A text matches that holds the tokens of the query in this order, with at most `slop` moves of one token by one place
/// (two to exchange neighbours). A query without tokens matches nothing.
class PhraseMatch {
 public:
  PhraseMatch(std::shared_ptr<const Analyzer> analyzer, std::string_view query, uint32_t slop);
  [[nodiscard]] bool Matches(std::string_view text) const;

 private:
  std::shared_ptr<const Analyzer> analyzer_;
  std::vector<Token> query_;
  uint32_t slop_;
};

}  // namespace quiver::text
