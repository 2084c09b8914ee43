// File: expr/lexer.h
// Lexer: splits filter text into tokens, one at a time. A token is a kind and a byte range; texts and values are
// decoded by whoever needs them (UnescapeString, the parser).
//
// Words are keywords only in all-lower or ALL-UPPER form. Function names, `iso`, `interval`, `threshold` and the like
// are plain names here: they have a meaning only in their place, so that fields may be called so too.
// Thread rule: one lexer, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quiver::expr {

enum class TokenKind : uint8_t {
  kEnd,
  kError,  ///< no token starts here; the range holds the offending text
  kInteger,
  kFloat,
  kString,  ///< quoted, with an optional prefix u8, u, U, L or r, R (raw)
  kTrue,
  kFalse,
  kName,              ///< identifier (ASCII letters, digits, `_`, Han characters) or `$meta`
  kPath,              ///< name["key"][0]... without blanks between the parts
  kStructField,       ///< name[name]
  kStructIndexField,  ///< name[0][name]
  kSubField,          ///< $[name]
  kElementSelf,       ///< $
  kLeftBrace,
  kRightBrace,
  kLeftParen,
  kRightParen,
  kLeftBracket,
  kRightBracket,
  kComma,
  kAssign,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kEqual,
  kNotEqual,
  kRegexMatch,     ///< =~
  kRegexNotMatch,  ///< !~
  kPlus,
  kMinus,
  kStar,
  kSlash,
  kPercent,
  kPower,
  kShiftLeft,
  kShiftRight,
  kBitAnd,
  kBitOr,
  kBitXor,
  kBitNot,
  kAnd,
  kOr,
  kNot,
  kIn,
  kLike,
  kExists,
  kIsNull,     ///< `is null`, one blank
  kIsNotNull,  ///< `is not null`, one blank each
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  size_t begin = 0;
  size_t end = 0;
};

class Lexer {
 public:
  /// `text` must outlive the lexer.
  explicit Lexer(std::string_view text) : text_(text) {}

  /// Returns the next token; kEnd for ever at the end, kError once where no token fits (then the caller stops).
  Token Next();
  [[nodiscard]] std::string_view text() const { return text_; }

 private:
  [[nodiscard]] char At(size_t position) const { return position < text_.size() ? text_[position] : '\0'; }
  Token Make(TokenKind kind, size_t end);
  Token Number();
  Token Quoted(size_t quote);
  Token Word(size_t end);
  /// Returns the end of the quoted string whose opening quote is at `quote`, or npos.
  [[nodiscard]] size_t QuotedEnd(size_t quote) const;
  /// Returns the end of the name at `begin` (equal to `begin` where none starts).
  [[nodiscard]] size_t NameEnd(size_t begin) const;

  std::string_view text_;
  size_t position_ = 0;
};

/// Decodes a kString token (quotes and prefix included) into `out`; returns false where an escape is not allowed:
/// \a \b \f \n \r \t \v \\ \' \" \ooo (three octal digits up to 377) \xhh \uhhhh \Uhhhhhhhh are.
bool UnescapeString(std::string_view token, std::string* out);

/// Returns the line (from 1) and column (from 0, in characters) of a byte position.
struct TextPosition {
  size_t line = 1;
  size_t column = 0;
};
TextPosition LocatePosition(std::string_view text, size_t position);

}  // namespace quiver::expr
