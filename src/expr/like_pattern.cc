#include "expr/like_pattern.h"

namespace quiver::expr {
namespace {

constexpr size_t kNotFound = std::string_view::npos;

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

/// Position after the character at `position`: a byte and the continuation bytes after it.
size_t NextCharacter(std::string_view text, size_t position) {
  ++position;
  while (position < text.size() && IsContinuation(text[position])) ++position;
  return position;
}

}  // namespace

LikePattern::LikePattern(std::string_view pattern) {
  segments_.emplace_back();
  bool last_is_run = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '%') {
      if (!last_is_run) segments_.emplace_back();
      last_is_run = true;
      continue;
    }
    last_is_run = false;
    Segment& segment = segments_.back();
    if (c == '_') {
      segment.wildcards.push_back(segment.literal.size());
      continue;
    }
    if (c == '\\' && i + 1 < pattern.size()) c = pattern[++i];
    segment.literal.push_back(c);
  }
  for (const Segment& segment : segments_) {
    if (!segment.wildcards.empty()) return;
  }
  const auto blank = [this](size_t i) { return segments_[i].literal.empty(); };
  if (segments_.size() == 1) {
    form_ = Form::kEqual;
  } else if (segments_.size() == 2 && blank(0) && blank(1)) {
    form_ = Form::kAny;
  } else if (segments_.size() == 2 && blank(1)) {
    form_ = Form::kPrefix;
  } else if (segments_.size() == 2 && blank(0)) {
    form_ = Form::kSuffix;
    segments_.erase(segments_.begin());
  } else if (segments_.size() == 3 && blank(0) && blank(2)) {
    form_ = Form::kContains;
    segments_.erase(segments_.begin());
  }
}

std::string_view LikePattern::prefix() const {
  if (form_ == Form::kSuffix || form_ == Form::kContains) return {};
  const Segment& first = segments_.front();
  return std::string_view(first.literal).substr(0, first.wildcards.empty() ? kNotFound : first.wildcards.front());
}

std::vector<std::string_view> LikePattern::Runs() const {
  std::vector<std::string_view> runs;
  for (const Segment& segment : segments_) {
    const std::string_view literal = segment.literal;
    size_t begin = 0;
    const auto end_run = [&](size_t end) {
      if (end > begin) runs.push_back(literal.substr(begin, end - begin));
      begin = end;
    };
    for (const size_t wildcard : segment.wildcards) end_run(wildcard);
    end_run(literal.size());
  }
  return runs;
}

std::string AfterPrefix(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xFF) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

size_t LikePattern::MatchHere(const Segment& segment, std::string_view text) {
  const std::string_view literal = segment.literal;
  size_t position = 0;
  size_t taken = 0;
  for (const size_t before : segment.wildcards) {
    const std::string_view part = literal.substr(taken, before - taken);
    if (!text.substr(position).starts_with(part)) return kNotFound;
    position += part.size();
    taken = before;
    if (position >= text.size()) return kNotFound;
    position = NextCharacter(text, position);
  }
  const std::string_view rest = literal.substr(taken);
  return text.substr(position).starts_with(rest) ? position + rest.size() : kNotFound;
}

size_t LikePattern::FindAfter(const Segment& segment, std::string_view text, size_t from) {
  if (segment.wildcards.empty()) {
    const size_t found = text.find(segment.literal, from);
    return found == kNotFound ? kNotFound : found + segment.literal.size();
  }
  // The bytes before the first wildcard lead to the places worth a try.
  const std::string_view head = std::string_view(segment.literal).substr(0, segment.wildcards.front());
  for (size_t start = from; start <= text.size();
       start = start < text.size() ? NextCharacter(text, start) : start + 1) {
    if (!head.empty()) {
      start = text.find(head, start);
      if (start == kNotFound) break;
    }
    const size_t used = MatchHere(segment, text.substr(start));
    if (used != kNotFound) return start + used;
  }
  return kNotFound;
}

size_t LikePattern::MatchAtEnd(const Segment& segment, std::string_view text) {
  const std::string_view literal = segment.literal;
  size_t position = text.size();
  size_t taken = literal.size();
  for (size_t i = segment.wildcards.size(); i-- > 0;) {
    const std::string_view part = literal.substr(segment.wildcards[i], taken - segment.wildcards[i]);
    if (!text.substr(0, position).ends_with(part)) return kNotFound;
    position -= part.size();
    taken = segment.wildcards[i];
    if (position == 0) return kNotFound;
    --position;
    while (position > 0 && IsContinuation(text[position])) --position;
  }
  return text.substr(0, position).ends_with(literal.substr(0, taken)) ? position - taken : kNotFound;
}

bool LikePattern::Matches(std::string_view text) const {
  switch (form_) {
    case Form::kEqual: return text == literal();
    case Form::kPrefix: return text.starts_with(literal());
    case Form::kSuffix: return text.ends_with(literal());
    case Form::kContains: return text.find(literal()) != kNotFound;
    case Form::kAny: return true;
    case Form::kGeneral: break;
  }
  size_t position = MatchHere(segments_.front(), text);
  if (position == kNotFound) return false;
  if (segments_.size() == 1) return position == text.size();
  for (size_t i = 1; i + 1 < segments_.size(); ++i) {
    position = FindAfter(segments_[i], text, position);
    if (position == kNotFound) return false;
  }
  const size_t tail = MatchAtEnd(segments_.back(), text);
  return tail != kNotFound && tail >= position;
}

}  // namespace quiver::expr
