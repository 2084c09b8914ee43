// A precedence parser: ParseExpression(minimum) reads an operand, then operators that bind at least as tightly as
// `minimum`. The table of binding strengths follows the published language; that unary `not` binds tighter than the
// comparisons, and that `==` binds tighter than `&`, is part of it.
#include <array>
#include <charconv>
#include <utility>

#include "expr/syntax.h"
#include "text/unicode.h"

namespace quiver::expr {

namespace {

enum Strength : int {
  kLoosest = 1,
  kOrStrength = 1,
  kAndStrength,
  kBitOrStrength,
  kBitXorStrength,
  kBitAndStrength,
  kEqualityStrength,
  kRelationStrength,
  kRangeStrength,
  kInStrength,
  kShiftStrength,
  kSumStrength,
  kProductStrength,
  kUnaryStrength,
  kPowerStrength,
  kRegexNotMatchStrength,
  kRegexMatchStrength,
  kLikeStrength,
  kExistsStrength,
};

/// Strength of a binary operator; 0 for tokens that are none.
int BinaryStrength(TokenKind kind) {
  switch (kind) {
    case TokenKind::kOr: return kOrStrength;
    case TokenKind::kAnd: return kAndStrength;
    case TokenKind::kBitOr: return kBitOrStrength;
    case TokenKind::kBitXor: return kBitXorStrength;
    case TokenKind::kBitAnd: return kBitAndStrength;
    case TokenKind::kEqual:
    case TokenKind::kNotEqual: return kEqualityStrength;
    case TokenKind::kLess:
    case TokenKind::kLessEqual:
    case TokenKind::kGreater:
    case TokenKind::kGreaterEqual: return kRelationStrength;
    case TokenKind::kIn:
    case TokenKind::kNot:  // of `not in`
      return kInStrength;
    case TokenKind::kShiftLeft:
    case TokenKind::kShiftRight: return kShiftStrength;
    case TokenKind::kPlus:
    case TokenKind::kMinus: return kSumStrength;
    case TokenKind::kStar:
    case TokenKind::kSlash:
    case TokenKind::kPercent: return kProductStrength;
    case TokenKind::kPower: return kPowerStrength;
    case TokenKind::kRegexMatch: return kRegexMatchStrength;
    case TokenKind::kRegexNotMatch: return kRegexNotMatchStrength;
    case TokenKind::kLike: return kLikeStrength;
    default: return 0;
  }
}

/// What a function takes: `names_first` = the first argument is a bare field name; arguments min..max (max < 0 = any);
/// the name of a trailing `name = N` option and whether it must be there.
struct FunctionForm {
  std::string_view lower;
  std::string_view upper;
  Function function;
  bool names_first;
  int min_arguments;
  int max_arguments;
  std::string_view option;
  bool option_required;
};

constexpr std::array<FunctionForm, 28> kFunctions = {{
    {"json_contains", "JSON_CONTAINS", Function::kContains, false, 2, 2, "", false},
    {"json_contains_all", "JSON_CONTAINS_ALL", Function::kContainsAll, false, 2, 2, "", false},
    {"json_contains_any", "JSON_CONTAINS_ANY", Function::kContainsAny, false, 2, 2, "", false},
    {"array_contains", "ARRAY_CONTAINS", Function::kContains, false, 2, 2, "", false},
    {"array_contains_all", "ARRAY_CONTAINS_ALL", Function::kContainsAll, false, 2, 2, "", false},
    {"array_contains_any", "ARRAY_CONTAINS_ANY", Function::kContainsAny, false, 2, 2, "", false},
    {"array_length", "ARRAY_LENGTH", Function::kArrayLength, false, 1, 1, "", false},
    {"text_match", "TEXT_MATCH", Function::kTextMatch, true, 2, 2, "minimum_should_match", false},
    {"text_match_fuzzy", "TEXT_MATCH_FUZZY", Function::kTextMatchFuzzy, true, 2, 2, "max_edit_distance", true},
    {"phrase_match", "PHRASE_MATCH", Function::kPhraseMatch, true, 2, 3, "", false},
    {"random_sample", "RANDOM_SAMPLE", Function::kRandomSample, false, 1, 1, "", false},
    {"element_filter", "ELEMENT_FILTER", Function::kElementFilter, true, 2, 2, "", false},
    {"match_all", "MATCH_ALL", Function::kMatchAll, true, 2, 2, "", false},
    {"match_any", "MATCH_ANY", Function::kMatchAny, true, 2, 2, "", false},
    {"match_least", "MATCH_LEAST", Function::kMatchLeast, true, 2, 2, "threshold", true},
    {"match_most", "MATCH_MOST", Function::kMatchMost, true, 2, 2, "threshold", true},
    {"match_exact", "MATCH_EXACT", Function::kMatchExact, true, 2, 2, "threshold", true},
    {"st_equals", "ST_EQUALS", Function::kStEquals, true, 2, 2, "", false},
    {"st_touches", "ST_TOUCHES", Function::kStTouches, true, 2, 2, "", false},
    {"st_overlaps", "ST_OVERLAPS", Function::kStOverlaps, true, 2, 2, "", false},
    {"st_crosses", "ST_CROSSES", Function::kStCrosses, true, 2, 2, "", false},
    {"st_contains", "ST_CONTAINS", Function::kStContains, true, 2, 2, "", false},
    {"st_intersects", "ST_INTERSECTS", Function::kStIntersects, true, 2, 2, "", false},
    {"st_within", "ST_WITHIN", Function::kStWithin, true, 2, 2, "", false},
    {"st_dwithin", "ST_DWITHIN", Function::kStDWithin, true, 3, 3, "", false},
    {"st_isvalid", "ST_ISVALID", Function::kStIsValid, true, 1, 1, "", false},
    {"starts_with", "STARTS_WITH", Function::kStartsWith, false, 0, -1, "", false},
    {"empty", "EMPTY", Function::kEmpty, false, 0, -1, "", false},
}};

bool EqualsEitherCase(std::string_view text, std::string_view lower) {
  if (text == lower) return true;
  if (text.size() != lower.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = lower[i];
    const char upper = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    if (text[i] != upper) return false;
  }
  return true;
}

constexpr bool IsRelation(TokenKind kind) { return kind >= TokenKind::kLess && kind <= TokenKind::kNotEqual; }

/// Turns a comparison round: a < b is b > a.
TokenKind Mirrored(TokenKind kind) {
  switch (kind) {
    case TokenKind::kLess: return TokenKind::kGreater;
    case TokenKind::kLessEqual: return TokenKind::kGreaterEqual;
    case TokenKind::kGreater: return TokenKind::kLess;
    case TokenKind::kGreaterEqual: return TokenKind::kLessEqual;
    default: return kind;
  }
}

}  // namespace

class Parser {
 public:
  explicit Parser(SyntaxTree* tree) : tree_(tree), lexer_(tree->text_) {}

  Status Run() {
    Syntax* root = ParseExpression(kLoosest);
    if (root == nullptr) return status_;
    const Token rest = Peek();
    if (rest.kind == TokenKind::kError) {
      Unexpected(rest);
      return status_;
    }
    if (rest.kind != TokenKind::kEnd) {
      return InvalidParameter("invalid expression: {}", QuoteForError(tree_->text_));
    }
    tree_->root_ = root;
    return Status::Ok();
  }

 private:
  static constexpr size_t kLookahead = 4;

  const Token& Peek(size_t ahead = 0) {
    while (buffered_ <= ahead) {
      ring_[(first_ + buffered_) % kLookahead] = lexer_.Next();
      ++buffered_;
    }
    return ring_[(first_ + ahead) % kLookahead];
  }
  Token Take() {
    const Token token = Peek();
    first_ = (first_ + 1) % kLookahead;
    --buffered_;
    last_end_ = token.end;
    return token;
  }
  [[nodiscard]] std::string_view TextOf(const Token& token) const {
    return tree_->text_.substr(token.begin, token.end - token.begin);
  }

  /// Records a syntax error at `token`; returns nullptr for use in return statements.
  Syntax* Unexpected(const Token& token, std::string_view expected = {}) {
    if (!status_.ok()) return nullptr;
    const TextPosition at = LocatePosition(tree_->text_, token.begin);
    const std::string text = token.kind == TokenKind::kEnd ? "<EOF>" : QuoteForError(TextOf(token));
    if (token.kind == TokenKind::kError) {
      status_ = InvalidParameter("line {}:{} token recognition error at: '{}'", at.line, at.column, text);
    } else if (!expected.empty()) {
      status_ = InvalidParameter("line {}:{} mismatched input '{}' expecting {}", at.line, at.column, text, expected);
    } else if (token.kind == TokenKind::kEnd || token.begin == 0) {
      status_ = InvalidParameter("line {}:{} mismatched input '{}'", at.line, at.column, text);
    } else {
      status_ = InvalidParameter("line {}:{} no viable alternative at input '{}'", at.line, at.column, text);
    }
    return nullptr;
  }

  Syntax* Fail(std::string message) {
    if (status_.ok()) status_ = Status(StatusCode::kInvalidParameter, std::move(message));
    return nullptr;
  }

  bool Expect(TokenKind kind, std::string_view text) {
    if (Peek().kind == kind) {
      Take();
      return true;
    }
    Unexpected(Peek(), text);
    return false;
  }

  Syntax* NewNode(SyntaxKind kind, size_t begin) {
    Syntax& node = tree_->nodes_.emplace_back();
    node.kind = kind;
    node.begin = begin;
    node.end = last_end_;
    return &node;
  }

  Syntax* TooDeep() {
    return Fail(fmt::format("the nesting depth of the expression exceeds the limit {}", kMaxNestingDepth));
  }

  /// Adds a child; returns false (with the error set) where the tree gets too deep.
  bool AddChild(Syntax* parent, const Syntax* child) {
    parent->children.push_back(child);
    if (child->depth + 1 > parent->depth) parent->depth = child->depth + 1;
    if (parent->depth > kMaxNestingDepth) {
      TooDeep();
      return false;
    }
    return true;
  }

  Syntax* NewParent(SyntaxKind kind, TokenKind op, const Syntax* left, const Syntax* right) {
    Syntax* node = NewNode(kind, left->begin);
    node->op = op;
    if (!AddChild(node, left) || (right != nullptr && !AddChild(node, right))) return nullptr;
    return node;
  }

  Syntax* ParseExpression(int minimum) {
    if (++nesting_ > kMaxNestingDepth) return TooDeep();
    Syntax* node = ParseOperand();
    while (node != nullptr) {
      const TokenKind kind = Peek().kind;
      int strength = BinaryStrength(kind);
      if (strength == 0) break;
      if (kind == TokenKind::kNot && Peek(1).kind != TokenKind::kIn) break;
      const bool range = StartsRange();
      if (range) strength = kRangeStrength;
      if (strength < minimum) break;
      node = range ? ParseRange(node) : ParseBinary(node, strength);
    }
    --nesting_;
    return node;
  }

  /// Returns whether `< name <` (or <=, or > and >=) comes next.
  bool StartsRange() {
    const TokenKind first = Peek().kind;
    const bool less = first == TokenKind::kLess || first == TokenKind::kLessEqual;
    const bool greater = first == TokenKind::kGreater || first == TokenKind::kGreaterEqual;
    if (!less && !greater) return false;
    switch (Peek(1).kind) {
      case TokenKind::kName:
      case TokenKind::kPath:
      case TokenKind::kSubField:
      case TokenKind::kStructIndexField:
      case TokenKind::kElementSelf: break;
      default: return false;
    }
    const TokenKind second = Peek(2).kind;
    return less ? second == TokenKind::kLess || second == TokenKind::kLessEqual
                : second == TokenKind::kGreater || second == TokenKind::kGreaterEqual;
  }

  Syntax* ParseRange(Syntax* left) {
    const Token op = Take();
    Syntax* field = ParseNameLike();
    if (field == nullptr) return nullptr;
    const Token op2 = Take();
    Syntax* right = ParseExpression(kRangeStrength + 1);
    if (right == nullptr) return nullptr;
    Syntax* node = NewNode(SyntaxKind::kRange, left->begin);
    node->op = op.kind;
    node->op2 = op2.kind;
    if (!AddChild(node, left) || !AddChild(node, field) || !AddChild(node, right)) return nullptr;
    return node;
  }

  Syntax* ParseBinary(Syntax* left, int strength) {
    const Token op = Take();
    bool negated = false;
    TokenKind kind = op.kind;
    if (kind == TokenKind::kNot) {
      Take();
      kind = TokenKind::kIn;
      negated = true;
    }
    if (IsRelation(kind) && IsContextual(Peek(), "iso") && Peek(1).kind == TokenKind::kString) {
      return ParseTimestamp(left, kind);
    }
    if ((kind == TokenKind::kPlus || kind == TokenKind::kMinus) && left->kind == SyntaxKind::kName &&
        IsContextual(Peek(), "interval") && Peek(1).kind == TokenKind::kString) {
      Take();
      return ParseInterval(left, kind);
    }
    Syntax* right = ParseExpression(strength + 1);
    if (right == nullptr) return nullptr;
    switch (kind) {
      case TokenKind::kAnd:
      case TokenKind::kOr: {
        const SyntaxKind chain = kind == TokenKind::kAnd ? SyntaxKind::kAnd : SyntaxKind::kOr;
        if (left->kind == chain) {
          left->end = last_end_;
          return AddChild(left, right) ? left : nullptr;
        }
        return NewParent(chain, kind, left, right);
      }
      case TokenKind::kIn: {
        Syntax* node = NewParent(SyntaxKind::kIn, kind, left, right);
        if (node != nullptr) node->negated = negated;
        return node;
      }
      case TokenKind::kLike: return NewParent(SyntaxKind::kLike, kind, left, right);
      case TokenKind::kRegexMatch:
      case TokenKind::kRegexNotMatch: {
        Syntax* node = NewParent(SyntaxKind::kRegex, kind, left, right);
        if (node != nullptr) node->negated = kind == TokenKind::kRegexNotMatch;
        return node;
      }
      default: return NewParent(SyntaxKind::kBinary, kind, left, right);
    }
  }

  [[nodiscard]] bool IsContextual(const Token& token, std::string_view lower) const {
    return token.kind == TokenKind::kName && EqualsEitherCase(TextOf(token), lower);
  }

  /// After `left op`, at ISO: left is a name or a name with an interval.
  Syntax* ParseTimestamp(Syntax* left, TokenKind op) {
    const Token iso = Take();
    Syntax* moment = ParseOperand();
    if (moment == nullptr) return nullptr;
    if (left->kind == SyntaxKind::kTimestamp && left->op == TokenKind::kEnd) {
      left->op = op;
      left->literal = moment->literal;
      left->end = last_end_;
      return left;
    }
    if (left->kind != SyntaxKind::kName) return Unexpected(iso);
    Syntax* node = NewParent(SyntaxKind::kTimestamp, op, left, nullptr);
    if (node != nullptr) node->literal = moment->literal;
    return node;
  }

  /// After `name + INTERVAL` (the string follows): an unfinished timestamp node, op still kEnd.
  Syntax* ParseInterval(Syntax* field, TokenKind sign) {
    Syntax* duration = ParseOperand();
    if (duration == nullptr) return nullptr;
    Syntax* node = NewParent(SyntaxKind::kTimestamp, TokenKind::kEnd, field, nullptr);
    if (node == nullptr) return nullptr;
    node->op2 = sign;
    node->name = std::get<std::string>(duration->literal.value);
    return node;
  }

  /// At ISO '...': the reversed comparison.
  Syntax* ParseReversedTimestamp() {
    Take();
    Syntax* moment = ParseOperand();
    if (moment == nullptr) return nullptr;
    const Token op = Take();
    if (!IsRelation(op.kind)) return Unexpected(op, "a comparison");
    if (Peek().kind != TokenKind::kName) return Unexpected(Peek(), "Identifier");
    Syntax* field = ParseNameLike();
    if (field == nullptr) return nullptr;
    Syntax* node = nullptr;
    const TokenKind sign = Peek().kind;
    if ((sign == TokenKind::kPlus || sign == TokenKind::kMinus) && IsContextual(Peek(1), "interval") &&
        Peek(2).kind == TokenKind::kString) {
      Take();
      Take();
      node = ParseInterval(field, sign);
    } else {
      node = NewParent(SyntaxKind::kTimestamp, TokenKind::kEnd, field, nullptr);
    }
    if (node == nullptr) return nullptr;
    node->op = Mirrored(op.kind);
    node->literal = moment->literal;
    return node;
  }

  Syntax* ParseOperand() {
    const Token token = Peek();
    switch (token.kind) {
      case TokenKind::kInteger:
      case TokenKind::kFloat:
      case TokenKind::kString:
      case TokenKind::kTrue:
      case TokenKind::kFalse: {
        Take();
        Syntax* node = NewNode(SyntaxKind::kLiteral, token.begin);
        if (!ReadConstant(token, false, &node->literal)) return nullptr;
        return node;
      }
      case TokenKind::kName:
        if (Peek(1).kind == TokenKind::kLeftParen) return ParseCall();
        if (IsContextual(token, "iso") && Peek(1).kind == TokenKind::kString) return ParseReversedTimestamp();
        return ParseField();
      case TokenKind::kPath: return ParseField();
      case TokenKind::kStructField:
      case TokenKind::kStructIndexField:
      case TokenKind::kSubField:
      case TokenKind::kElementSelf: return ParseNameLike();
      case TokenKind::kLeftBrace: {
        Take();
        const Token name = Take();
        if (name.kind != TokenKind::kName) return Unexpected(name, "Identifier");
        if (!Expect(TokenKind::kRightBrace, "'}'")) return nullptr;
        Syntax* node = NewNode(SyntaxKind::kTemplate, token.begin);
        node->name = TextOf(name);
        return node;
      }
      case TokenKind::kLeftParen: {
        Take();
        Syntax* node = ParseExpression(kLoosest);
        if (node == nullptr || !Expect(TokenKind::kRightParen, "')'")) return nullptr;
        node->begin = token.begin;
        node->end = last_end_;
        return node;
      }
      case TokenKind::kLeftBracket: return ParseList();
      case TokenKind::kExists: {
        Take();
        Syntax* child = ParseExpression(kExistsStrength);
        if (child == nullptr) return nullptr;
        Syntax* node = NewParent(SyntaxKind::kExists, token.kind, child, nullptr);
        if (node != nullptr) node->begin = token.begin;
        return node;
      }
      case TokenKind::kMinus:
        if (Peek(1).kind == TokenKind::kInteger && BinaryStrength(Peek(2).kind) < kUnaryStrength) {
          // The sign belongs to the number, so that the smallest integer can be written.
          Take();
          const Token number = Take();
          Syntax* node = NewNode(SyntaxKind::kLiteral, token.begin);
          if (!ReadConstant(number, true, &node->literal)) return nullptr;
          return node;
        }
        [[fallthrough]];
      case TokenKind::kPlus:
      case TokenKind::kBitNot:
      case TokenKind::kNot: {
        Take();
        Syntax* child = ParseExpression(kUnaryStrength);
        if (child == nullptr) return nullptr;
        Syntax* node = NewParent(SyntaxKind::kUnary, token.kind, child, nullptr);
        if (node != nullptr) node->begin = token.begin;
        return node;
      }
      default: return Unexpected(token);
    }
  }

  /// A name or path, with `is null` / `is not null` where that follows.
  Syntax* ParseField() {
    Syntax* field = ParseNameLike();
    if (field == nullptr) return nullptr;
    const TokenKind kind = Peek().kind;
    if (kind != TokenKind::kIsNull && kind != TokenKind::kIsNotNull) return field;
    Take();
    Syntax* node = NewParent(SyntaxKind::kIsNull, kind, field, nullptr);
    if (node != nullptr) node->negated = kind == TokenKind::kIsNotNull;
    return node;
  }

  Syntax* ParseNameLike() {
    const Token token = Take();
    const std::string_view text = TextOf(token);
    switch (token.kind) {
      case TokenKind::kName: {
        Syntax* node = NewNode(SyntaxKind::kName, token.begin);
        node->name = text;
        return node;
      }
      case TokenKind::kElementSelf: return NewNode(SyntaxKind::kElementSelf, token.begin);
      case TokenKind::kSubField: {
        Syntax* node = NewNode(SyntaxKind::kSubField, token.begin);
        node->sub_name = text.substr(2, text.size() - 3);
        return node;
      }
      case TokenKind::kStructField: {
        Syntax* node = NewNode(SyntaxKind::kStructField, token.begin);
        const size_t bracket = text.find('[');
        node->name = text.substr(0, bracket);
        node->sub_name = text.substr(bracket + 1, text.size() - bracket - 2);
        return node;
      }
      case TokenKind::kPath:
      case TokenKind::kStructIndexField: return ParsePath(token);
      default: return Unexpected(token, "Identifier");
    }
  }

  /// Splits name["key"][0] (one token) into its steps.
  Syntax* ParsePath(const Token& token) {
    const std::string_view text = TextOf(token);
    Syntax* node =
        NewNode(token.kind == TokenKind::kPath ? SyntaxKind::kPath : SyntaxKind::kStructIndexField, token.begin);
    size_t position = text.find('[');
    node->name = text.substr(0, position);
    while (position < text.size()) {
      ++position;  // the bracket
      PathStep step;
      size_t end = position;
      const char c = text[position];
      const bool raw = (c == 'r' || c == 'R') && (text[position + 1] == '"' || text[position + 1] == '\'');
      if (c == '"' || c == '\'' || raw) {
        const size_t quote = position + (raw ? 1 : 0);
        end = quote + 1;
        while (text[end] != text[quote]) end += text[end] == '\\' ? 2 : 1;
        ++end;
        if (!UnescapeString(text.substr(position, end - position), &step.key)) {
          return Fail(fmt::format("invalid escape in string literal: {}", text.substr(position, end - position)));
        }
        if (step.key.empty()) return Fail(fmt::format("invalid identifier: {}", QuoteForError(text)));
        step.quoted = true;
      } else {
        end = text.find(']', position);
        step.key = text.substr(position, end - position);
        if (c < '0' || c > '9') {
          node->sub_name = step.key;
          return node;
        }
      }
      step.index = PositionOf(step.key);
      if (!step.quoted && step.index < 0) return Fail(fmt::format("invalid identifier: {}", QuoteForError(text)));
      node->path.push_back(std::move(step));
      position = end + 1;
    }
    if (node->path.size() > kMaxNestingDepth) return TooDeep();
    return node;
  }

  bool ReadConstant(const Token& token, bool negative, Literal* literal) {
    const std::string_view text = TextOf(token);
    switch (token.kind) {
      case TokenKind::kTrue: literal->value = true; return true;
      case TokenKind::kFalse: literal->value = false; return true;
      case TokenKind::kString: {
        std::string decoded;
        if (!UnescapeString(text, &decoded)) {
          Fail(fmt::format("invalid escape in string literal: {}", QuoteForError(text)));
          return false;
        }
        literal->value = std::move(decoded);
        return true;
      }
      case TokenKind::kInteger: return ReadInteger(text, negative, literal);
      default: return ReadFloat(text, negative, literal);
    }
  }

  /// Reads an integer of the language; returns false beyond 64 bits.
  static bool IntegerOf(std::string_view text, bool negative, int64_t* value) {
    int base = 10;
    std::string_view digits = text;
    if (text.size() > 1 && text[0] == '0') {
      const char mark = text[1];
      const bool hex = mark == 'x' || mark == 'X';
      const bool binary = mark == 'b' || mark == 'B';
      base = hex ? 16 : binary ? 2 : 8;
      digits.remove_prefix(hex || binary ? 2 : 1);
    }
    uint64_t magnitude = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), magnitude, base);
    const uint64_t limit = static_cast<uint64_t>(INT64_MAX) + (negative ? 1 : 0);
    if (result.ec != std::errc() || magnitude > limit) return false;
    *value = static_cast<int64_t>(negative ? ~magnitude + 1 : magnitude);
    return true;
  }

  bool ReadInteger(std::string_view text, bool negative, Literal* literal) {
    int64_t value = 0;
    if (!IntegerOf(text, negative, &value)) {
      Fail(fmt::format("strconv.ParseInt: parsing \"{}{}\": value out of range", negative ? "-" : "",
                       QuoteForError(text)));
      return false;
    }
    literal->value = value;
    return true;
  }

  bool ReadFloat(std::string_view text, bool negative, Literal* literal) {
    double value = 0;
    const bool hex = text.size() > 1 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const std::string_view digits = hex ? text.substr(2) : text;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value,
                                        hex ? std::chars_format::hex : std::chars_format::general);
    if (result.ec == std::errc::result_out_of_range && value == 0) {
      // Too small for a double, as 1e-400: zero, as strconv reads it; too large is an error.
      const size_t exponent = text.find_first_of(hex ? "pP" : "eE");
      const bool tiny = exponent != std::string_view::npos && text.find('-', exponent) != std::string_view::npos;
      if (tiny || exponent == std::string_view::npos) {
        literal->value = negative ? -0.0 : 0.0;
        return true;
      }
    }
    if (result.ec != std::errc() || value > 1.7976931348623157e308) {
      Fail(fmt::format("strconv.ParseFloat: parsing \"{}\": value out of range", QuoteForError(text)));
      return false;
    }
    literal->value = negative ? -value : value;
    return true;
  }

  /// `[` ... `]`: constants are packed while they are plain numbers or plain strings of one kind, followed by `,` or
  /// `]`.
  Syntax* ParseList() {
    const Token open = Take();
    Syntax* node = NewNode(SyntaxKind::kLiteral, open.begin);
    node->literal.value = Literal::List{};
    bool empty = true;
    while (Peek().kind != TokenKind::kRightBracket) {
      if (!empty) {
        if (!Expect(TokenKind::kComma, "']'")) return nullptr;
        if (Peek().kind == TokenKind::kRightBracket) break;
      }
      if (!ParseListElement(node, empty)) return nullptr;
      empty = false;
    }
    Take();
    node->end = last_end_;
    return node;
  }

  bool ParseListElement(Syntax* list, bool first) {
    const bool negative = Peek().kind == TokenKind::kMinus;
    const TokenKind kind = Peek(negative ? 1 : 0).kind;
    const TokenKind after = Peek(negative ? 2 : 1).kind;
    const bool plain =
        (kind == TokenKind::kInteger || kind == TokenKind::kFloat || (!negative && kind == TokenKind::kString)) &&
        (after == TokenKind::kComma || after == TokenKind::kRightBracket);
    if (plain && list->kind == SyntaxKind::kLiteral) {
      if (negative) Take();
      const Token token = Take();
      Literal literal;
      if (!ReadConstant(token, negative, &literal)) return false;
      if (first) {
        if (literal.is_int()) {
          list->literal.value = Literal::Ints{};
        } else if (literal.is_double()) {
          list->literal.value = Literal::Doubles{};
        } else {
          list->literal.value = Literal::Strings{};
        }
      }
      if (auto* ints = std::get_if<Literal::Ints>(&list->literal.value); ints != nullptr && literal.is_int()) {
        ints->push_back(std::get<int64_t>(literal.value));
        return true;
      }
      if (auto* doubles = std::get_if<Literal::Doubles>(&list->literal.value);
          doubles != nullptr && literal.is_double()) {
        doubles->push_back(std::get<double>(literal.value));
        return true;
      }
      if (auto* strings = std::get_if<Literal::Strings>(&list->literal.value);
          strings != nullptr && literal.is_string()) {
        strings->push_back(std::get<std::string>(std::move(literal.value)));
        return true;
      }
      Unpack(list);
      std::get<Literal::List>(list->literal.value).push_back(std::move(literal));
      return true;
    }
    Syntax* child = ParseExpression(kLoosest);
    if (child == nullptr) return false;
    if (child->kind == SyntaxKind::kLiteral && list->kind == SyntaxKind::kLiteral) {
      Unpack(list);
      if (child->depth + 1 > list->depth) list->depth = child->depth + 1;
      if (list->depth > kMaxNestingDepth) {
        TooDeep();
        return false;
      }
      std::get<Literal::List>(list->literal.value).push_back(child->literal);
      return true;
    }
    if (list->kind == SyntaxKind::kLiteral) {  // the first element that is no plain constant
      Unpack(list);
      list->kind = SyntaxKind::kList;
      for (Literal& literal : std::get<Literal::List>(list->literal.value)) {
        Syntax* constant = NewNode(SyntaxKind::kLiteral, list->begin);
        constant->literal = std::move(literal);
        if (!AddChild(list, constant)) return false;
      }
      list->literal.value = false;
    }
    return AddChild(list, child);
  }

  static void Unpack(Syntax* list) {
    if (std::holds_alternative<Literal::List>(list->literal.value)) return;
    Literal::List unpacked;
    const size_t size = list->literal.list_size();
    unpacked.reserve(size + 1);
    for (size_t i = 0; i < size; ++i) unpacked.push_back(list->literal.Element(i));
    list->literal.value = std::move(unpacked);
  }

  Syntax* ParseCall() {
    const Token name = Take();
    const Token open = Take();
    Syntax* node = NewNode(SyntaxKind::kCall, name.begin);
    node->name = TextOf(name);
    const FunctionForm* form = nullptr;
    for (const FunctionForm& candidate : kFunctions) {
      if (node->name == candidate.lower || node->name == candidate.upper) form = &candidate;
    }
    // The generic functions match in any case.
    if (form == nullptr) {
      const std::string lower = text::LowerCase(node->name);
      for (const FunctionForm& candidate : kFunctions) {
        if (candidate.max_arguments < 0 && lower == candidate.lower) form = &candidate;
      }
    }
    if (form != nullptr) node->function = form->function;
    const bool generic = form == nullptr || form->max_arguments < 0;
    while (Peek().kind != TokenKind::kRightParen) {
      if (!node->children.empty()) {
        if (!Expect(TokenKind::kComma, "')'")) return nullptr;
        if (generic && Peek().kind == TokenKind::kRightParen) break;
      }
      if (form != nullptr && !form->option.empty() && Peek(1).kind == TokenKind::kAssign) {
        if (static_cast<int>(node->children.size()) < form->min_arguments || !ParseOption(*form, node)) {
          return Unexpected(Peek());
        }
        break;
      }
      if (!generic && static_cast<int>(node->children.size()) == form->max_arguments) return Unexpected(Peek());
      if (node->children.empty() && form != nullptr && form->names_first && Peek().kind != TokenKind::kName) {
        return Unexpected(Peek(), "Identifier");
      }
      Syntax* argument = ParseExpression(kLoosest);
      if (argument == nullptr || !AddChild(node, argument)) return nullptr;
      if (node->children.size() == 1 && form != nullptr && form->names_first && argument->kind != SyntaxKind::kName) {
        return Unexpected(open);
      }
    }
    if (Peek().kind != TokenKind::kRightParen) return Unexpected(Peek(), "')'");
    const Token close = Take();
    node->end = last_end_;
    if (form != nullptr && !generic) {
      if (static_cast<int>(node->children.size()) < form->min_arguments) return Unexpected(close);
      if (form->option_required && !node->has_option) return Unexpected(close, "','");
      if (form->function == Function::kArrayLength) {
        const SyntaxKind kind = node->children[0]->kind;
        if (kind != SyntaxKind::kName && kind != SyntaxKind::kPath && kind != SyntaxKind::kStructField) {
          return Unexpected(open);
        }
      }
    }
    return node;
  }

  /// At `name = N`; the name must be the form's option.
  bool ParseOption(const FunctionForm& form, Syntax* node) {
    if (form.function == Function::kTextMatchFuzzy) return ParseEditDistance(form, node);
    if (!IsContextual(Peek(), form.option)) return false;
    Take();
    Take();
    if (Peek().kind != TokenKind::kInteger) return false;
    Literal value;
    if (!ReadConstant(Take(), false, &value)) return false;
    node->has_option = true;
    node->option = std::get<int64_t>(value.value);
    return Peek().kind == TokenKind::kRightParen;
  }

  /// The option of text_match_fuzzy: its name in any case, a sign before the number, and texts of its own for what is
  /// wrong, because clients compare them.
  bool ParseEditDistance(const FunctionForm& form, Syntax* node) {
    const std::string_view name = TextOf(Peek());
    if (Peek().kind != TokenKind::kName || text::LowerCase(name) != form.option) {
      Fail(fmt::format("invalid option of {}: {}, expected {}", form.lower, QuoteForError(name), form.option));
      return false;
    }
    Take();
    Take();
    const bool negative = Peek().kind == TokenKind::kMinus;
    if (negative) Take();
    if (Peek().kind != TokenKind::kInteger) {
      Unexpected(Peek(), "IntegerConstant");
      return false;
    }
    const Token number = Take();
    int64_t value = 0;
    if (!IntegerOf(TextOf(number), negative, &value)) {
      Fail(fmt::format("invalid {} value: {}", form.option, QuoteForError(TextOf(number))));
      return false;
    }
    node->has_option = true;
    node->option = value;
    return Peek().kind == TokenKind::kRightParen;
  }

  SyntaxTree* tree_;
  Lexer lexer_;
  std::array<Token, kLookahead> ring_;
  size_t first_ = 0;
  size_t buffered_ = 0;
  size_t last_end_ = 0;
  uint32_t nesting_ = 0;
  Status status_;
};

int64_t PositionOf(std::string_view key) {
  int64_t value = -1;
  if (key.empty() || key[0] < '0' || key[0] > '9' || (key[0] == '0' && key.size() > 1)) return -1;
  const auto [rest, error] = std::from_chars(key.data(), key.data() + key.size(), value);
  return error == std::errc() && rest == key.data() + key.size() ? value : -1;
}

std::vector<PathStep> StepsOf(std::span<const std::string> keys) {
  std::vector<PathStep> steps;
  for (const std::string& key : keys) steps.push_back({.key = key, .index = PositionOf(key), .quoted = true});
  return steps;
}

Result<std::unique_ptr<SyntaxTree>> SyntaxTree::Parse(std::string_view text) {
  auto tree = std::make_unique<SyntaxTree>();
  tree->text_ = text;
  Parser parser(tree.get());
  QUIVER_RETURN_IF_ERROR(parser.Run());
  return tree;
}

std::string SyntaxTree::TextOf(const Syntax& node) const {
  // Twice the limit is lexed at most, so that quoting never costs more than it shows.
  const std::string_view source = text_.substr(node.begin, node.end - node.begin).substr(0, 2 * kMaxQuotedText);
  std::string text;
  Lexer lexer(source);
  for (Token token = lexer.Next(); token.kind != TokenKind::kEnd; token = lexer.Next()) {
    text.append(source.substr(token.begin, token.end - token.begin));
  }
  return QuoteForError(text);
}

std::string QuoteForError(std::string_view text) {
  if (text.size() <= kMaxQuotedText) return std::string(text);
  size_t end = kMaxQuotedText;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // whole characters only
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace quiver::expr
