#include "text/match.h"

#include <algorithm>
#include <array>

#include "text/unicode.h"

namespace quiver::text {
namespace {

void DecodeCharacters(std::string_view text, std::u32string* characters) {
  characters->clear();
  for (size_t at = 0; at < text.size();) {
    const Character character = CharacterAt(text, at);
    characters->push_back(static_cast<char32_t>(character.code));
    at += character.length;
  }
}

/// Is the optimal string alignment distance of the two at most `edits` (FuzzyMatch::kMostEdits or fewer)? Only the
/// cells that lie `edits` or fewer off the diagonal can hold such a distance, so a row has five of them at most: cell d
/// of row i speaks of the first i characters of `left` and the first i + d - edits of `right`.
bool WithinEdits(std::u32string_view left, std::u32string_view right, size_t edits) {
  if (left.size() > right.size()) std::swap(left, right);
  if (right.size() - left.size() > edits) return false;
  using Row = std::array<size_t, 2 * FuzzyMatch::kMostEdits + 1>;
  const size_t width = 2 * edits + 1;
  const size_t beyond = edits + 1;
  Row before{};
  Row above{};
  Row row{};
  for (size_t i = 0; i <= left.size(); ++i) {
    size_t least = beyond;
    for (size_t d = 0; d < width; ++d) {
      row[d] = beyond;
      if (i + d < edits || i + d - edits > right.size()) continue;
      const size_t j = i + d - edits;
      size_t distance = i == 0 ? j : j == 0 ? i : above[d] + (left[i - 1] == right[j - 1] ? 0 : 1);
      if (i > 0 && d + 1 < width) distance = std::min(distance, above[d + 1] + 1);
      if (j > 0 && d > 0) distance = std::min(distance, row[d - 1] + 1);
      if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1]) {
        distance = std::min(distance, before[d] + 1);
      }
      row[d] = std::min(distance, beyond);
      least = std::min(least, row[d]);
    }
    if (least > edits) {
      // An exchange may still step over this row from the one above, but only where that one has an edit to spare.
      if (i == 0 || *std::min_element(above.begin(), above.begin() + static_cast<ptrdiff_t>(width)) >= edits)
        return false;
    }
    before = above;
    above = row;
  }
  return above[right.size() + edits - left.size()] <= edits;
}

}  // namespace

TermMatch::TermMatch(std::shared_ptr<const Analyzer> analyzer, std::string_view query, size_t minimum)
    : analyzer_(std::move(analyzer)) {
  std::vector<Token> tokens;
  analyzer_->Analyze(query, &tokens);
  for (Token& token : tokens) terms_.push_back(std::move(token.text));
  std::sort(terms_.begin(), terms_.end());
  terms_.erase(std::unique(terms_.begin(), terms_.end()), terms_.end());
  minimum_ = std::clamp<size_t>(minimum, 1, std::max<size_t>(terms_.size(), 1));
}

bool TermMatch::Matches(std::string_view text) const {
  if (terms_.empty()) return false;
  thread_local std::vector<Token> tokens;
  thread_local std::vector<uint8_t> seen;
  analyzer_->Analyze(text, &tokens);
  seen.assign(terms_.size(), 0);
  size_t found = 0;
  for (const Token& token : tokens) {
    const auto term = std::lower_bound(terms_.begin(), terms_.end(), token.text);
    if (term == terms_.end() || *term != token.text) continue;
    uint8_t& mark = seen[static_cast<size_t>(term - terms_.begin())];
    if (mark != 0) continue;
    mark = 1;
    if (++found == minimum_) return true;
  }
  return false;
}

FuzzyMatch::FuzzyMatch(std::shared_ptr<const Analyzer> analyzer, std::string_view query, size_t edits)
    : analyzer_(std::move(analyzer)), edits_(std::min<size_t>(edits, kMostEdits)) {
  std::vector<Token> tokens;
  analyzer_->Analyze(query, &tokens);
  for (const Token& token : tokens) DecodeCharacters(token.text, &terms_.emplace_back());
  std::sort(terms_.begin(), terms_.end());
  terms_.erase(std::unique(terms_.begin(), terms_.end()), terms_.end());
}

bool FuzzyMatch::Matches(std::string_view text) const {
  if (terms_.empty()) return false;
  thread_local std::vector<Token> tokens;
  thread_local std::u32string word;
  analyzer_->Analyze(text, &tokens);
  for (const Token& token : tokens) {
    DecodeCharacters(token.text, &word);
    for (const std::u32string& term : terms_) {
      if (WithinEdits(term, word, edits_)) return true;
    }
  }
  return false;
}

PhraseMatch::PhraseMatch(std::shared_ptr<const Analyzer> analyzer, std::string_view query, uint32_t slop)
    : analyzer_(std::move(analyzer)), slop_(slop) {
  analyzer_->Analyze(query, &query_);
}

bool PhraseMatch::Matches(std::string_view text) const {
  if (query_.empty()) return false;
  thread_local std::vector<Token> tokens;
  analyzer_->Analyze(text, &tokens);
  // Where the i-th query token stands in the text, as the place at which the phrase would begin then. The phrase fits
  // where one place per token can be chosen with all beginnings within `slop` of each other.
  std::vector<std::vector<int64_t>> begins(query_.size());
  for (const Token& token : tokens) {
    for (size_t i = 0; i < query_.size(); ++i) {
      if (query_[i].text == token.text) {
        begins[i].push_back(static_cast<int64_t>(token.position) - static_cast<int64_t>(query_[i].position));
      }
    }
  }
  std::vector<size_t> next(query_.size(), 0);
  for (;;) {
    int64_t least = INT64_MAX;
    int64_t most = INT64_MIN;
    size_t least_token = 0;
    for (size_t i = 0; i < begins.size(); ++i) {
      if (next[i] == begins[i].size()) return false;
      const int64_t begin = begins[i][next[i]];
      if (begin < least) {
        least = begin;
        least_token = i;
      }
      most = std::max(most, begin);
    }
    if (most - least <= static_cast<int64_t>(slop_)) return true;
    ++next[least_token];
  }
}

}  // namespace quiver::text
