// File: expr/syntax.h
// SyntaxTree: what the parser makes of a filter text, before names and types are known.
// Chains of `and` / `or` are one node with many operands; lists of plain constants are one packed literal. Every node
// knows its nesting depth, so that later passes may recurse: Parse() refuses trees deeper than kMaxNestingDepth.
// Thread rule: immutable after parsing.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "expr/lexer.h"
#include "expr/literal.h"

namespace quiver::expr {

/// Deepest nesting of parentheses, operators and lists. Chains of `and` and `or` do not count.
inline constexpr uint32_t kMaxNestingDepth = 400;

/// One step into JSON or an array: a key, or a position. As in a JSON pointer, a key of decimal digits also addresses
/// the position in an array, and a position also addresses the key of that spelling in an object.
struct PathStep {
  std::string key;
  int64_t index = -1;   ///< -1 where the key is no decimal position
  bool quoted = false;  ///< written ["key"]

  bool operator==(const PathStep&) const = default;
};

/// The position that a key means in an array: a decimal number without leading zeros; -1 where it means none.
int64_t PositionOf(std::string_view key);
/// The steps of a path of keys, as FindJson takes them.
std::vector<PathStep> StepsOf(std::span<const std::string> keys);

enum class SyntaxKind : uint8_t {
  kLiteral,           ///< literal
  kName,              ///< name
  kPath,              ///< name, path
  kStructField,       ///< name[sub_name]
  kStructIndexField,  ///< name[path[0]][sub_name]
  kSubField,          ///< $[sub_name]
  kElementSelf,       ///< $
  kTemplate,          ///< {name}
  kList,              ///< children (lists of plain constants are kLiteral)
  kUnary,             ///< op child
  kBinary,            ///< child op child: arithmetic, shifts, bits, comparisons
  kAnd,               ///< children
  kOr,                ///< children
  kLike,              ///< child like child
  kRegex,             ///< child =~ child; negated: !~
  kIn,                ///< child in child; negated: not in
  kRange,             ///< child op field op2 child: the children are left, field, right
  kExists,            ///< exists child
  kIsNull,            ///< child is null; negated: is not null
  kCall,              ///< function, name as written, children; option = N
  kTimestamp,         ///< child [op2 INTERVAL name] op ISO literal (reversed forms are turned round)
};

enum class Function : uint8_t {
  kUnknown,
  kStartsWith,
  kEmpty,
  kContains,
  kContainsAll,
  kContainsAny,
  kArrayLength,
  kTextMatch,
  kTextMatchFuzzy,
  kPhraseMatch,
  kRandomSample,
  kElementFilter,
  kMatchAll,
  kMatchAny,
  kMatchLeast,
  kMatchMost,
  kMatchExact,
  kStEquals,
  kStTouches,
  kStOverlaps,
  kStCrosses,
  kStContains,
  kStIntersects,
  kStWithin,
  kStDWithin,
  kStIsValid,
};

struct Syntax {
  SyntaxKind kind = SyntaxKind::kLiteral;
  TokenKind op = TokenKind::kEnd;
  TokenKind op2 = TokenKind::kEnd;
  Function function = Function::kUnknown;
  bool negated = false;
  bool has_option = false;
  uint32_t depth = 1;
  size_t begin = 0;  ///< source range
  size_t end = 0;
  int64_t option = 0;
  std::string name;
  std::string sub_name;
  std::vector<PathStep> path;
  Literal literal;
  std::vector<const Syntax*> children;
};

class SyntaxTree {
 public:
  /// Parses a whole filter. `text` must outlive the tree. Errors are bare ("line 1:8 no viable alternative at input
  /// ..."); the caller names the expression.
  static Result<std::unique_ptr<SyntaxTree>> Parse(std::string_view text);

  [[nodiscard]] const Syntax& root() const { return *root_; }
  /// Source of a node without the blanks outside of strings, as error texts quote it (cut where very long).
  [[nodiscard]] std::string TextOf(const Syntax& node) const;

 private:
  friend class Parser;
  std::string_view text_;
  std::deque<Syntax> nodes_;
  const Syntax* root_ = nullptr;
};

/// Longest excerpt of a filter quoted in an error, in bytes; longer ones are cut with "...".
inline constexpr size_t kMaxQuotedText = 2048;
/// Returns `text`, cut at kMaxQuotedText.
std::string QuoteForError(std::string_view text);

}  // namespace quiver::expr
