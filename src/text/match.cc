#include "text/match.h"

#include <algorithm>

namespace quiver::text {

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
