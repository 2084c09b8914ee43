#include "expr/lexer.h"

#include <algorithm>
#include <array>

#include "text/unicode.h"

namespace quiver::expr {
namespace {

constexpr size_t kNotFound = std::string_view::npos;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsOctal(char c) { return c >= '0' && c <= '7'; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
int HexValue(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
bool IsHex(char c) { return HexValue(c) >= 0; }
bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

struct Keyword {
  std::string_view lower;
  std::string_view upper;
  TokenKind kind;
};
constexpr std::array<Keyword, 6> kKeywords = {{{"and", "AND", TokenKind::kAnd},
                                               {"or", "OR", TokenKind::kOr},
                                               {"not", "NOT", TokenKind::kNot},
                                               {"in", "IN", TokenKind::kIn},
                                               {"like", "LIKE", TokenKind::kLike},
                                               {"exists", "EXISTS", TokenKind::kExists}}};

}  // namespace

Token Lexer::Make(TokenKind kind, size_t end) {
  const Token token{kind, position_, end};
  position_ = end;
  return token;
}

size_t Lexer::NameEnd(size_t begin) const {
  size_t end = begin;
  while (end < text_.size()) {
    const char c = text_[end];
    if (IsLetter(c) || (end > begin && IsDigit(c))) {
      ++end;
      continue;
    }
    if (static_cast<unsigned char>(c) < 0x80) break;
    const text::Character character = text::CharacterAt(text_, end);
    if (!text::IsHan(character.code)) break;
    end += character.length;
  }
  return end;
}

size_t Lexer::QuotedEnd(size_t quote) const {
  const char mark = text_[quote];
  for (size_t i = quote + 1; i < text_.size(); ++i) {
    const char c = text_[i];
    if (c == mark) return i + 1;
    if (c == '\n' || c == '\r') return kNotFound;
    if (c == '\\') {
      ++i;
      if (i < text_.size() && (text_[i] == '\n' || text_[i] == '\r')) return kNotFound;
    }
  }
  return kNotFound;
}

Token Lexer::Quoted(size_t quote) {
  const size_t end = QuotedEnd(quote);
  if (end == kNotFound) return Make(TokenKind::kError, text_.size());
  return Make(TokenKind::kString, end);
}

Token Lexer::Number() {
  const size_t begin = position_;
  size_t end = begin;
  if (At(begin) == '0' && (At(begin + 1) == 'x' || At(begin + 1) == 'X')) {
    end = begin + 2;
    while (IsHex(At(end))) ++end;
    size_t digits = end - begin - 2;
    size_t mantissa_end = end;
    if (At(end) == '.') {
      mantissa_end = end + 1;
      while (IsHex(At(mantissa_end))) {
        ++mantissa_end;
        ++digits;
      }
    }
    if (digits > 0 && (At(mantissa_end) == 'p' || At(mantissa_end) == 'P')) {
      size_t exponent = mantissa_end + 1;
      if (At(exponent) == '+' || At(exponent) == '-') ++exponent;
      if (IsDigit(At(exponent))) {
        while (IsDigit(At(exponent))) ++exponent;
        return Make(TokenKind::kFloat, exponent);
      }
    }
    if (end > begin + 2) return Make(TokenKind::kInteger, end);
    return Make(TokenKind::kInteger, begin + 1);  // a lone 0; what follows is a syntax error
  }
  if (At(begin) == '0' && (At(begin + 1) == 'b' || At(begin + 1) == 'B') &&
      (At(begin + 2) == '0' || At(begin + 2) == '1')) {
    end = begin + 2;
    while (At(end) == '0' || At(end) == '1') ++end;
    return Make(TokenKind::kInteger, end);
  }
  while (IsDigit(At(end))) ++end;
  const size_t integer_end = end;
  bool is_float = false;
  if (At(end) == '.') {
    is_float = true;
    ++end;
    while (IsDigit(At(end))) ++end;
  }
  if (At(end) == 'e' || At(end) == 'E') {
    size_t exponent = end + 1;
    if (At(exponent) == '+' || At(exponent) == '-') ++exponent;
    if (IsDigit(At(exponent))) {
      while (IsDigit(At(exponent))) ++exponent;
      is_float = true;
      end = exponent;
    }
  }
  if (is_float) return Make(TokenKind::kFloat, end);
  if (At(begin) == '0') {  // octal: the longest run of octal digits; 08 is two tokens and thus a syntax error
    end = begin + 1;
    while (IsOctal(At(end))) ++end;
    return Make(TokenKind::kInteger, end);
  }
  return Make(TokenKind::kInteger, integer_end);
}

Token Lexer::Word(size_t end) {
  const std::string_view word = text_.substr(position_, end - position_);
  for (const Keyword& keyword : kKeywords) {
    if (word == keyword.lower || word == keyword.upper) return Make(keyword.kind, end);
  }
  if (word == "true" || word == "True" || word == "TRUE") return Make(TokenKind::kTrue, end);
  if (word == "false" || word == "False" || word == "FALSE") return Make(TokenKind::kFalse, end);
  if (word == "is" || word == "IS") {
    const bool lower = word == "is";
    const std::string_view rest = text_.substr(end);
    const std::string_view null_text = lower ? " null" : " NULL";
    const std::string_view not_null_text = lower ? " not null" : " NOT NULL";
    if (rest.starts_with(null_text)) return Make(TokenKind::kIsNull, end + null_text.size());
    if (rest.starts_with(not_null_text)) return Make(TokenKind::kIsNotNull, end + not_null_text.size());
  }
  if ((At(end) == '"' || At(end) == '\'') &&
      (word == "u8" || word == "u" || word == "U" || word == "L" || word == "r" || word == "R")) {
    return Quoted(end);
  }
  if (At(end) != '[') return Make(TokenKind::kName, end);

  // name[...]: the longest run of ["key"], ['key'], [0]; or one [name]; or [0][name].
  size_t path_end = end;
  size_t parts = 0;
  bool last_is_index = false;
  while (At(path_end) == '[') {
    const size_t inner = path_end + 1;
    size_t inner_end = inner;
    const char c = At(inner);
    bool is_index = false;
    if (c == '"' || c == '\'') {
      inner_end = QuotedEnd(inner);
    } else if ((c == 'r' || c == 'R') && (At(inner + 1) == '"' || At(inner + 1) == '\'')) {
      inner_end = QuotedEnd(inner + 1);
    } else if (IsDigit(c)) {
      while (IsDigit(At(inner_end))) ++inner_end;
      is_index = true;
      if (c == '0' && inner_end != inner + 1) break;  // 00 is no index
    } else {
      const size_t name_end = NameEnd(inner);
      if (name_end > inner && At(name_end) == ']') {
        if (parts == 0) return Make(TokenKind::kStructField, name_end + 1);
        if (parts == 1 && last_is_index) return Make(TokenKind::kStructIndexField, name_end + 1);
      }
      break;
    }
    if (inner_end == kNotFound || At(inner_end) != ']') break;
    path_end = inner_end + 1;
    last_is_index = is_index;
    ++parts;
  }
  if (parts == 0) return Make(TokenKind::kName, end);
  return Make(TokenKind::kPath, path_end);
}

Token Lexer::Next() {
  while (position_ < text_.size() && IsBlank(text_[position_])) ++position_;
  if (position_ >= text_.size()) return {TokenKind::kEnd, text_.size(), text_.size()};
  const char c = text_[position_];
  const char next = At(position_ + 1);
  if (IsDigit(c) || (c == '.' && IsDigit(next))) return Number();
  if (c == '"' || c == '\'') return Quoted(position_);
  const auto one = [this](TokenKind kind) { return Make(kind, position_ + 1); };
  const auto two = [this](TokenKind kind) { return Make(kind, position_ + 2); };
  switch (c) {
    case '{': return one(TokenKind::kLeftBrace);
    case '}': return one(TokenKind::kRightBrace);
    case '(': return one(TokenKind::kLeftParen);
    case ')': return one(TokenKind::kRightParen);
    case '[': return one(TokenKind::kLeftBracket);
    case ']': return one(TokenKind::kRightBracket);
    case ',': return one(TokenKind::kComma);
    case '<':
      if (next == '=') return two(TokenKind::kLessEqual);
      return next == '<' ? two(TokenKind::kShiftLeft) : one(TokenKind::kLess);
    case '>':
      if (next == '=') return two(TokenKind::kGreaterEqual);
      return next == '>' ? two(TokenKind::kShiftRight) : one(TokenKind::kGreater);
    case '=':
      if (next == '=') return two(TokenKind::kEqual);
      return next == '~' ? two(TokenKind::kRegexMatch) : one(TokenKind::kAssign);
    case '!':
      if (next == '=') return two(TokenKind::kNotEqual);
      return next == '~' ? two(TokenKind::kRegexNotMatch) : one(TokenKind::kNot);
    case '+': return one(TokenKind::kPlus);
    case '-': return one(TokenKind::kMinus);
    case '*': return next == '*' ? two(TokenKind::kPower) : one(TokenKind::kStar);
    case '/': return one(TokenKind::kSlash);
    case '%': return one(TokenKind::kPercent);
    case '&': return next == '&' ? two(TokenKind::kAnd) : one(TokenKind::kBitAnd);
    case '|': return next == '|' ? two(TokenKind::kOr) : one(TokenKind::kBitOr);
    case '^': return one(TokenKind::kBitXor);
    case '~': return one(TokenKind::kBitNot);
    case '$': {
      constexpr std::string_view kMeta = "$meta";
      if (text_.substr(position_).starts_with(kMeta) && NameEnd(position_ + 1) == position_ + kMeta.size()) {
        return Word(position_ + kMeta.size());
      }
      if (next == '[') {
        const size_t name_end = NameEnd(position_ + 2);
        if (name_end > position_ + 2 && At(name_end) == ']') return Make(TokenKind::kSubField, name_end + 1);
      }
      return one(TokenKind::kElementSelf);
    }
    default: break;
  }
  const size_t name_end = NameEnd(position_);
  if (name_end > position_) return Word(name_end);
  return Make(TokenKind::kError, position_ + text::CharacterAt(text_, position_).length);
}

bool UnescapeString(std::string_view token, std::string* out) {
  out->clear();
  bool raw = false;
  while (!token.empty() && token.front() != '"' && token.front() != '\'') {
    raw = raw || token.front() == 'r' || token.front() == 'R';
    token.remove_prefix(1);
  }
  if (token.size() < 2) return false;
  const std::string_view body = token.substr(1, token.size() - 2);
  if (raw || body.find('\\') == kNotFound) {
    out->assign(body);
    return true;
  }
  out->reserve(body.size());
  const auto hex = [&](size_t begin, size_t digits, uint32_t* value) {
    if (begin + digits > body.size()) return false;
    *value = 0;
    for (size_t i = 0; i < digits; ++i) {
      const int digit = HexValue(body[begin + i]);
      if (digit < 0) return false;
      *value = *value * 16 + static_cast<uint32_t>(digit);
    }
    return true;
  };
  for (size_t i = 0; i < body.size(); ++i) {
    if (body[i] != '\\') {
      out->push_back(body[i]);
      continue;
    }
    if (++i == body.size()) return false;
    uint32_t value = 0;
    switch (body[i]) {
      case 'a': out->push_back('\a'); break;
      case 'b': out->push_back('\b'); break;
      case 'f': out->push_back('\f'); break;
      case 'n': out->push_back('\n'); break;
      case 'r': out->push_back('\r'); break;
      case 't': out->push_back('\t'); break;
      case 'v': out->push_back('\v'); break;
      case '\\':
      case '\'':
      case '"': out->push_back(body[i]); break;
      case 'x':
        if (!hex(i + 1, 2, &value)) return false;
        out->push_back(static_cast<char>(value));
        i += 2;
        break;
      case 'u':
      case 'U': {
        const size_t digits = body[i] == 'u' ? 4 : 8;
        if (!hex(i + 1, digits, &value)) return false;
        if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return false;
        text::AppendUtf8(value, out);
        i += digits;
        break;
      }
      default:
        if (i + 2 >= body.size() || !IsOctal(body[i]) || !IsOctal(body[i + 1]) || !IsOctal(body[i + 2])) return false;
        value = static_cast<uint32_t>((body[i] - '0') * 64 + (body[i + 1] - '0') * 8 + (body[i + 2] - '0'));
        if (value > 255) return false;
        out->push_back(static_cast<char>(value));
        i += 2;
    }
  }
  return true;
}

TextPosition LocatePosition(std::string_view text, size_t position) {
  TextPosition found;
  for (size_t i = 0; i < position && i < text.size(); ++i) {
    if (text[i] == '\n') {
      ++found.line;
      found.column = 0;
    } else if ((static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U) {
      ++found.column;
    }
  }
  return found;
}

}  // namespace quiver::expr
