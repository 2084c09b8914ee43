#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <utility>

#include "expr/constants.h"
#include "expr/predicate.h"
#include "schema/index_params.h"

namespace quiver::expr {
namespace {

/// What a syntax node stands for before it is used.
struct Operand {
  enum class Kind : uint8_t { kConstant, kColumn, kArithmetic, kArrayLength, kPredicate };
  Kind kind = Kind::kConstant;
  bool is_template = false;
  std::string template_name;
  Literal constant;
  FieldRef field;  // kColumn, kArithmetic, kArrayLength
  ArithmeticOp arithmetic = ArithmeticOp::kNone;
  Literal operand;                  // kArithmetic
  DataType type = DataType::kNone;  // of the value
  PredicatePtr predicate;           // kPredicate

  [[nodiscard]] bool is_constant() const { return kind == Kind::kConstant; }
  [[nodiscard]] bool is_column() const { return kind == Kind::kColumn; }
};

bool IsJson(DataType type) { return type == DataType::kJson; }

/// Type of a constant; lists are arrays of their common element type (kNone where mixed or empty).
DataType TypeOf(const Literal& literal) {
  if (literal.is_bool()) return DataType::kBool;
  if (literal.is_int()) return DataType::kInt64;
  if (literal.is_double()) return DataType::kDouble;
  return literal.is_string() ? DataType::kVarChar : DataType::kArray;
}
DataType ElementTypeOf(const Literal& list) {
  if (std::holds_alternative<Literal::Ints>(list.value) && list.list_size() > 0) return DataType::kInt64;
  if (std::holds_alternative<Literal::Doubles>(list.value) && list.list_size() > 0) return DataType::kDouble;
  if (std::holds_alternative<Literal::Strings>(list.value) && list.list_size() > 0) return DataType::kVarChar;
  const auto* items = std::get_if<Literal::List>(&list.value);
  if (items == nullptr || items->empty()) return DataType::kNone;
  const DataType first = TypeOf(items->front());
  for (const Literal& item : *items) {
    if (TypeOf(item) != first) return DataType::kNone;
  }
  return first;
}

bool ComparableTypes(DataType left, DataType right) {
  if (left == DataType::kBool) return right == DataType::kBool || IsJson(right);
  if (IsNumeric(left)) return IsNumeric(right) || IsJson(right);
  if (right == DataType::kTimestamptz && IsString(left)) return true;
  if (IsString(left)) return IsString(right) || IsJson(right);
  // Texts stand for moments; see Analyzer::CastTo.
  if (left == DataType::kTimestamptz) return right == DataType::kTimestamptz || IsString(right);
  return IsJson(left) && right != DataType::kTimestamptz;
}

bool CanCalculate(DataType left, DataType right) {
  if (IsInteger(left)) return IsInteger(right) || IsJson(right);
  if (IsFloating(left)) return IsNumeric(right) || IsJson(right);
  return IsJson(left) && IsNumeric(right);
}

/// Converts a constant so that it fits values of `type`; false where it cannot. Texts become moments, those without an
/// offset in `zone`.
bool CastTo(DataType type, const TimeZone& zone, Literal* literal) {
  if (type == DataType::kTimestamptz) {
    const auto* text = std::get_if<std::string>(&literal->value);
    if (text == nullptr) return false;
    const auto micros = ParseTimestamp(*text, zone);
    if (micros.ok()) literal->value = *micros;
    return micros.ok();
  }
  if (IsJson(type)) return true;
  if (type == DataType::kArray) return literal->is_list();
  if (IsString(type)) return literal->is_string();
  if (type == DataType::kBool) return literal->is_bool();
  if (IsInteger(type)) return literal->is_int();
  if (IsFloating(type)) {
    if (const auto* value = std::get_if<int64_t>(&literal->value)) literal->value = static_cast<double>(*value);
    return literal->is_double();
  }
  return false;
}

std::string_view ArithmeticName(ArithmeticOp op) {
  switch (op) {
    case ArithmeticOp::kAdd: return "add";
    case ArithmeticOp::kSubtract: return "subtract";
    case ArithmeticOp::kMultiply: return "multiply";
    case ArithmeticOp::kDivide: return "divide";
    case ArithmeticOp::kModulo: return "modulo";
    case ArithmeticOp::kBitAnd: return "bitand";
    case ArithmeticOp::kBitOr: return "bitor";
    case ArithmeticOp::kBitXor: return "bitxor";
    case ArithmeticOp::kShiftLeft:
    case ArithmeticOp::kShiftRight: return "shift";
    default: return "";
  }
}

bool IsCommutative(ArithmeticOp op) {
  return op == ArithmeticOp::kAdd || op == ArithmeticOp::kMultiply || op == ArithmeticOp::kBitAnd ||
         op == ArithmeticOp::kBitOr || op == ArithmeticOp::kBitXor;
}

bool NeedsIntegers(ArithmeticOp op) { return op >= ArithmeticOp::kModulo; }

ArithmeticOp ToArithmetic(TokenKind kind) {
  switch (kind) {
    case TokenKind::kPlus: return ArithmeticOp::kAdd;
    case TokenKind::kMinus: return ArithmeticOp::kSubtract;
    case TokenKind::kStar: return ArithmeticOp::kMultiply;
    case TokenKind::kSlash: return ArithmeticOp::kDivide;
    case TokenKind::kPercent: return ArithmeticOp::kModulo;
    case TokenKind::kBitAnd: return ArithmeticOp::kBitAnd;
    case TokenKind::kBitOr: return ArithmeticOp::kBitOr;
    case TokenKind::kBitXor: return ArithmeticOp::kBitXor;
    case TokenKind::kShiftLeft: return ArithmeticOp::kShiftLeft;
    case TokenKind::kShiftRight: return ArithmeticOp::kShiftRight;
    default: return ArithmeticOp::kNone;
  }
}

std::string_view OperatorText(TokenKind kind) {
  switch (kind) {
    case TokenKind::kPlus: return "+";
    case TokenKind::kMinus: return "-";
    case TokenKind::kStar: return "*";
    case TokenKind::kSlash: return "/";
    case TokenKind::kPercent: return "%";
    case TokenKind::kPower: return "**";
    case TokenKind::kShiftLeft: return "<<";
    case TokenKind::kShiftRight: return ">>";
    case TokenKind::kBitAnd: return "&";
    case TokenKind::kBitOr: return "|";
    case TokenKind::kBitXor: return "^";
    case TokenKind::kBitNot: return "~";
    case TokenKind::kLess: return "<";
    case TokenKind::kLessEqual: return "<=";
    case TokenKind::kGreater: return ">";
    case TokenKind::kGreaterEqual: return ">=";
    case TokenKind::kEqual: return "==";
    case TokenKind::kNotEqual: return "!=";
    default: return "";
  }
}

CompareOp ToCompare(TokenKind kind) {
  switch (kind) {
    case TokenKind::kLess: return CompareOp::kLess;
    case TokenKind::kLessEqual: return CompareOp::kLessEqual;
    case TokenKind::kGreater: return CompareOp::kGreater;
    case TokenKind::kGreaterEqual: return CompareOp::kGreaterEqual;
    case TokenKind::kNotEqual: return CompareOp::kNotEqual;
    default: return CompareOp::kEqual;
  }
}

CompareOp Mirrored(CompareOp op) {
  switch (op) {
    case CompareOp::kLess: return CompareOp::kGreater;
    case CompareOp::kLessEqual: return CompareOp::kGreaterEqual;
    case CompareOp::kGreater: return CompareOp::kLess;
    case CompareOp::kGreaterEqual: return CompareOp::kLessEqual;
    default: return op;
  }
}

PredicatePtr MakePredicate(Predicate::Kind kind, FieldRef field = {}) {
  auto predicate = std::make_unique<Predicate>();
  predicate->kind = kind;
  predicate->field = std::move(field);
  return predicate;
}

PredicatePtr MakeConstant(bool truth) {
  PredicatePtr predicate = MakePredicate(Predicate::Kind::kConstant);
  predicate->constant = truth;
  return predicate;
}

PredicatePtr MakeNot(PredicatePtr child) {
  if (child->kind == Predicate::Kind::kConstant) return MakeConstant(!child->constant);
  if (child->kind == Predicate::Kind::kNot) return std::move(child->children[0]);
  PredicatePtr predicate = MakePredicate(Predicate::Kind::kNot);
  predicate->children.push_back(std::move(child));
  return predicate;
}

/// Smallest and largest value of an integer type.
std::pair<int64_t, int64_t> IntegerLimits(DataType type) {
  switch (type) {
    case DataType::kInt8: return {INT8_MIN, INT8_MAX};
    case DataType::kInt16: return {INT16_MIN, INT16_MAX};
    case DataType::kInt32: return {INT32_MIN, INT32_MAX};
    default: return {INT64_MIN, INT64_MAX};
  }
}

class Analyzer {
 public:
  Analyzer(const SyntaxTree& tree, std::string_view text, const CollectionSchema& schema, const TemplateValues& values,
           const TimeZone& zone)
      : tree_(tree), text_(text), schema_(schema), values_(values), zone_(zone) {}

  Result<PredicatePtr> Run() {
    Operand root;
    if (!Visit(tree_.root(), &root)) return Finish();
    if (root.is_constant() && root.constant.is_bool()) return MakeConstant(std::get<bool>(root.constant.value));
    if (root.kind != Operand::Kind::kPredicate) {
      return InvalidParameter("predicate is not a boolean expression: {}, data type: {}", QuoteForError(text_),
                              TypeName(root));
    }
    return std::move(root.predicate);
  }

 private:
  Status Finish() {
    if (bare_) return error_;
    return {error_.code(),
            fmt::format("cannot parse expression: {}, error: {}", QuoteForError(text_), error_.message())};
  }

  template <typename... Args>
  bool Fail(fmt::format_string<Args...> format, Args&&... args) {
    error_ = Status(StatusCode::kInvalidParameter, fmt::format(format, std::forward<Args>(args)...));
    return false;
  }
  /// Errors about template values are shown without the expression, as clients know them.
  template <typename... Args>
  bool FailBare(fmt::format_string<Args...> format, Args&&... args) {
    bare_ = true;
    return Fail(format, std::forward<Args>(args)...);
  }
  bool NotSupportedYet(std::string_view construct) {
    error_ = Status(StatusCode::kUnimplemented, fmt::format("{} is not supported yet", construct));
    return false;
  }

  static std::string TypeName(const Operand& operand) {
    if (operand.type == DataType::kArray) {
      const DataType element = operand.is_column() ? operand.field.element_type : ElementTypeOf(operand.constant);
      return fmt::format("Array[{}]", DataTypeName(element));
    }
    return std::string(DataTypeName(operand.type));
  }

  bool CastConstant(DataType type, Operand* operand) {
    if (CastTo(type, zone_, &operand->constant)) return true;
    const std::string text =
        fmt::format("cannot cast value to {}, value: {}", DataTypeName(type), DescribeLiteral(operand->constant));
    return operand->is_template ? FailBare("{}", text) : Fail("{}", text);
  }

  // --- names ---------------------------------------------------------------------------------------------------------

  static FieldRef RefOf(const FieldSchema& field) {
    FieldRef ref;
    ref.field_id = field.field_id;
    ref.type = field.type;
    ref.element_type = field.element_type;
    ref.nullable = field.nullable;
    ref.is_dynamic = field.is_dynamic;
    ref.is_primary = field.is_primary;
    ref.is_partition_key = field.is_partition_key;
    return ref;
  }

  /// Finds a field, or the dynamic field with `name` as the first key.
  bool Resolve(const std::string& name, FieldRef* ref, const FieldSchema** found = nullptr) {
    if (!element_struct_.empty()) {
      return Fail("only sub-fields $[name] can be used inside element_filter or MATCH_* expressions, got: {}", name);
    }
    const FieldSchema* field = schema_.Find(name);
    if (field == nullptr && schema_.FindStructArray(name) != nullptr) {
      return Fail(
          "struct array field {} can only be used by its sub-fields, in element_filter, MATCH_*, array_length "
          "and is null",
          name);
    }
    if (field != nullptr) {
      *ref = RefOf(*field);
    } else {
      field = schema_.dynamic_field();
      if (field == nullptr || name == kMetaFieldName) return Fail("field {} not exist", name);
      *ref = RefOf(*field);
      ref->path.push_back(PathStep{.key = name, .index = -1, .quoted = true});
    }
    if (found != nullptr) *found = field;
    return true;
  }

  /// Refuses fields whose type cannot be read by the operators served so far.
  bool CheckServed(const FieldRef& ref, const std::string& name) {
    switch (ref.type) {
      case DataType::kText: return Fail("filter on text field ({}) is not supported yet", name);
      default: return true;
    }
  }

  bool ResolveName(const Syntax& node, FieldRef* ref) {
    return Resolve(node.name, ref) && CheckServed(*ref, node.name);
  }

  bool ResolvePath(const Syntax& node, FieldRef* ref) {
    if (!Resolve(node.name, ref) || !CheckServed(*ref, node.name)) return false;
    if (!IsJson(ref->type) && ref->type != DataType::kArray) {
      return Fail("{} data type not supported accessed with []", DataTypeName(ref->type));
    }
    if (ref->type == DataType::kArray) {
      if (node.path.front().quoted) return Fail("can only access array field with integer index");
      if (node.path.size() > 1) return Fail("invalid identifier: {}", tree_.TextOf(node));
    }
    ref->path.insert(ref->path.end(), node.path.begin(), node.path.end());
    return true;
  }

  /// struct[sub] is the ARRAY of a sub-field, struct[0][sub] an element of it.
  bool VisitStructField(const Syntax& node, Operand* out) {
    FieldRef ref;
    if (schema_.FindStructArray(node.name) == nullptr) {
      if (!Resolve(node.name, &ref)) return false;
      return Fail("json key must be enclosed in double quotes or single quotes: \"{}\"", node.sub_name);
    }
    const std::string name = SubFieldName(node.name, node.sub_name);
    if (schema_.Find(name) == nullptr) return Fail("field {} not exist", name);
    if (!Resolve(name, &ref)) return false;
    if (node.kind == SyntaxKind::kStructIndexField) ref.path = node.path;
    return SetColumn(std::move(ref), out);
  }

  /// $[sub] inside of an element predicate: one value of the sub-field.
  bool VisitSubField(const Syntax& node, Operand* out) {
    if (element_struct_.empty()) {
      return Fail("$[{}] can only be used inside element_filter or MATCH_* expressions", node.sub_name);
    }
    const std::string name = SubFieldName(element_struct_, node.sub_name);
    const FieldSchema* field = schema_.Find(name);
    if (field == nullptr) return Fail("field {} not exist", name);
    FieldRef ref;
    ref.field_id = field->field_id;
    ref.type = field->element_type;
    return SetColumn(std::move(ref), out);
  }

  static bool SetColumn(FieldRef field, Operand* out) {
    out->kind = Operand::Kind::kColumn;
    out->type = field.value_type();
    out->field = std::move(field);
    return true;
  }

  bool VisitColumn(const Syntax& node, Operand* out) {
    out->kind = Operand::Kind::kColumn;
    const bool resolved =
        node.kind == SyntaxKind::kPath ? ResolvePath(node, &out->field) : ResolveName(node, &out->field);
    if (!resolved) return false;
    out->type = out->field.value_type();
    return true;
  }

  // --- dispatch ------------------------------------------------------------------------------------------------------

  bool Visit(const Syntax& node, Operand* out) {
    switch (node.kind) {
      case SyntaxKind::kLiteral:
        out->constant = node.literal;
        out->type = TypeOf(out->constant);
        return true;
      case SyntaxKind::kName:
      case SyntaxKind::kPath: return VisitColumn(node, out);
      case SyntaxKind::kStructField:
      case SyntaxKind::kStructIndexField: return VisitStructField(node, out);
      case SyntaxKind::kSubField: return VisitSubField(node, out);
      case SyntaxKind::kElementSelf: return Fail("$ can only be used inside element_filter or MATCH_* expressions");
      case SyntaxKind::kTemplate: return VisitTemplate(node, out);
      case SyntaxKind::kList: return VisitList(node, out);
      case SyntaxKind::kUnary: return VisitUnary(node, out);
      case SyntaxKind::kBinary: return VisitBinary(node, out);
      case SyntaxKind::kAnd:
      case SyntaxKind::kOr: return VisitLogic(node, out);
      case SyntaxKind::kLike:
      case SyntaxKind::kRegex: return VisitPattern(node, out);
      case SyntaxKind::kIn: return VisitIn(node, out);
      case SyntaxKind::kRange: return VisitRange(node, out);
      case SyntaxKind::kExists: return VisitExists(node, out);
      case SyntaxKind::kIsNull: return VisitIsNull(node, out);
      case SyntaxKind::kCall: return VisitCall(node, out);
      case SyntaxKind::kTimestamp: return VisitTimestamp(node, out);
    }
    return Fail("unsupported expression: {}", tree_.TextOf(node));
  }

  static bool SetPredicate(PredicatePtr predicate, Operand* out) {
    out->kind = Operand::Kind::kPredicate;
    out->type = DataType::kBool;
    out->predicate = std::move(predicate);
    return true;
  }

  static bool SetConstant(Literal literal, Operand* out) {
    out->kind = Operand::Kind::kConstant;
    out->type = TypeOf(literal);
    out->constant = std::move(literal);
    return true;
  }

  bool VisitTemplate(const Syntax& node, Operand* out) {
    const auto found = values_.find(node.name);
    if (found == values_.end()) {
      return FailBare("the value of expression template variable name {{{}}} is not found", node.name);
    }
    out->is_template = true;
    out->template_name = node.name;
    return SetConstant(found->second, out);
  }

  bool VisitList(const Syntax& node, Operand* out) {
    Literal::List list;
    list.reserve(node.children.size());
    for (const Syntax* child : node.children) {
      Operand element;
      if (!Visit(*child, &element)) return false;
      if (!element.is_constant() || element.is_template) {
        return Fail("array element type must be generic value, but got: {}", tree_.TextOf(*child));
      }
      list.push_back(std::move(element.constant));
    }
    return SetConstant(Literal{std::move(list)}, out);
  }

  // --- unary, arithmetic, comparison ---------------------------------------------------------------------------------

  static bool IsCallOf(const Syntax& node, Function function) {
    return node.kind == SyntaxKind::kCall && node.function == function;
  }

  static bool IsWholeArray(const Operand& operand) {
    return operand.is_column() && operand.field.type == DataType::kArray && operand.field.path.empty();
  }

  bool FailWholeArray() { return Fail("can not comparisons array fields directly"); }

  bool VisitUnary(const Syntax& node, Operand* out) {
    const Syntax& child = *node.children[0];
    if (IsCallOf(child, Function::kRandomSample)) {
      return Fail("random sample expression cannot be used in unary expression");
    }
    if (IsCallOf(child, Function::kElementFilter)) {
      return Fail("element filter expression cannot be used in unary expression");
    }
    Operand operand;
    if (!Visit(child, &operand)) return false;
    if (operand.is_constant() && !operand.is_template) return FoldUnary(node, std::move(operand.constant), out);
    if (IsWholeArray(operand)) return FailWholeArray();
    if (node.op == TokenKind::kPlus && operand.kind != Operand::Kind::kPredicate && !operand.is_constant()) {
      *out = std::move(operand);
      return true;
    }
    if (node.op == TokenKind::kNot) {
      if (operand.kind != Operand::Kind::kPredicate) return Fail("not op can only be applied on boolean expression");
      if (Uses(*operand.predicate, IsSample)) {
        return Fail("random sample expression cannot be used in unary expression");
      }
      if (Uses(*operand.predicate, IsElementFilter)) {
        return Fail("element filter expression cannot be used in unary expression");
      }
      return SetPredicate(MakeNot(std::move(operand.predicate)), out);
    }
    return Fail("unexpected op: {}", OperatorText(node.op));
  }

  bool FoldUnary(const Syntax& node, Literal constant, Operand* out) {
    switch (node.op) {
      case TokenKind::kPlus: return SetConstant(std::move(constant), out);
      case TokenKind::kMinus:
        if (const auto* integer = std::get_if<int64_t>(&constant.value)) {
          return SetConstant(Literal{static_cast<int64_t>(0 - static_cast<uint64_t>(*integer))}, out);
        }
        if (const auto* real = std::get_if<double>(&constant.value)) return SetConstant(Literal{-*real}, out);
        return Fail("negative can only apply on numbers: {}", tree_.TextOf(node));
      case TokenKind::kBitNot:
        if (const auto* integer = std::get_if<int64_t>(&constant.value)) return SetConstant(Literal{~*integer}, out);
        return Fail("bitnot can only apply on integers: {}", tree_.TextOf(node));
      default:
        if (const auto* truth = std::get_if<bool>(&constant.value)) return SetConstant(Literal{!*truth}, out);
        return Fail("not op can only be applied on boolean expression");
    }
  }

  bool VisitBinary(const Syntax& node, Operand* out) {
    Operand left;
    Operand right;
    if (!Visit(*node.children[0], &left) || !Visit(*node.children[1], &right)) return false;
    if (node.op == TokenKind::kPower) {
      if (left.is_constant() && right.is_constant() && !left.is_template && !right.is_template &&
          left.constant.is_number() && right.constant.is_number()) {
        return SetConstant(PowerOf(left.constant, right.constant), out);
      }
      return Fail("power can only apply on constants: {}", tree_.TextOf(node));
    }
    if (left.is_constant() && right.is_constant() && (left.is_template || right.is_template)) {
      return Fail("placeholder was not supported between two constants with operator: {}", OperatorText(node.op));
    }
    const ArithmeticOp arithmetic = ToArithmetic(node.op);
    if (arithmetic != ArithmeticOp::kNone) {
      if (left.is_constant() && right.is_constant())
        return FoldArithmetic(arithmetic, left.constant, right.constant, out);
      return Calculate(node, arithmetic, std::move(left), std::move(right), out);
    }
    if (left.is_constant() && right.is_constant()) {
      bool truth = false;
      if (!CompareConstants(ToCompare(node.op), left.constant, right.constant, &truth)) {
        return Fail("comparisons between {} and {} are not supported", TypeName(left), TypeName(right));
      }
      return SetConstant(Literal{truth}, out);
    }
    return Compare(node, ToCompare(node.op), std::move(left), std::move(right), out);
  }

  bool FoldArithmetic(ArithmeticOp op, const Literal& left, const Literal& right, Operand* out) {
    Literal folded;
    std::string error;
    if (!CalculateConstants(op, left, right, &folded, &error)) return Fail("{}", error);
    return SetConstant(std::move(folded), out);
  }

  /// field op constant, constant op field, or a further step of an integer chain.
  bool Calculate(const Syntax& node, ArithmeticOp op, Operand left, Operand right, Operand* out) {
    if (IsWholeArray(left) || IsWholeArray(right)) return FailWholeArray();
    const bool reversed = left.is_constant();
    const Operand& first = reversed ? right : left;
    const Operand& second = reversed ? left : right;
    if (!second.is_template || !second.constant.is_number()) {
      if (!CanCalculate(first.type, second.type)) {
        return Fail("'{}' cannot perform arithmetic between {} field and {}", ArithmeticName(op),
                    DataTypeName(first.type), DataTypeName(second.type));
      }
    }
    const auto integral = [](const Operand& operand) { return IsInteger(operand.type) || IsJson(operand.type); };
    if (NeedsIntegers(op) && (!integral(left) || !integral(right))) {
      return Fail("'{0}' {0} can only apply on integer types", ArithmeticName(op));
    }
    if (left.is_column() && right.is_column()) {
      return Fail("not supported to do arithmetic operations between multiple fields");
    }
    if (reversed && right.is_column()) {
      if (!IsCommutative(op)) return Fail("module field is not yet supported");
      std::swap(left, right);
    }
    if (left.kind == Operand::Kind::kArithmetic && right.is_constant() && !right.is_template) {
      return ExtendChain(op, std::move(left), right.constant, out);
    }
    if (!left.is_column() || !right.is_constant()) {
      return Fail("complicated arithmetic operations are not supported");
    }
    DataType type = IsFloating(left.type) || IsFloating(right.type) ? DataType::kDouble : DataType::kInt64;
    if (IsInteger(left.type)) type = DataType::kInt64;
    if (!CastConstant(type, &right)) return false;
    if ((op == ArithmeticOp::kDivide || op == ArithmeticOp::kModulo) && ToDouble(right.constant) == 0) {
      return Fail("division or modulus by zero");
    }
    if (op == ArithmeticOp::kShiftLeft || op == ArithmeticOp::kShiftRight) {
      const int64_t amount = std::get<int64_t>(right.constant.value);
      if (amount < 0 || amount > 63)
        return Fail("shift amount must be an integer in range [0, 64): {}", tree_.TextOf(node));
    }
    out->kind = Operand::Kind::kArithmetic;
    out->field = std::move(left.field);
    out->arithmetic = op;
    out->operand = std::move(right.constant);
    out->type = type;
    return true;
  }

  /// Folds (field op a) op2 b into one step where that is exact: integer values and operators of one family.
  bool ExtendChain(ArithmeticOp op, Operand left, const Literal& right, Operand* out) {
    const auto is_sum = [](ArithmeticOp o) { return o == ArithmeticOp::kAdd || o == ArithmeticOp::kSubtract; };
    const ArithmeticOp previous = left.arithmetic;
    const bool sums = is_sum(previous) && is_sum(op);
    const bool same = previous == op && IsCommutative(op);
    if (!IsInteger(left.field.value_type()) || !right.is_int() || (!sums && !same)) {
      return Fail("complicated arithmetic operations are not supported");
    }
    const auto signed_value = [](ArithmeticOp o, const Literal& literal) {
      const auto value = static_cast<uint64_t>(std::get<int64_t>(literal.value));
      return o == ArithmeticOp::kSubtract ? 0 - value : value;
    };
    *out = std::move(left);
    if (sums) {
      const uint64_t total = signed_value(previous, out->operand) + signed_value(op, right);
      out->arithmetic = ArithmeticOp::kAdd;
      out->operand.value = static_cast<int64_t>(total);
      return true;
    }
    std::string error;
    const Literal first = out->operand;
    return CalculateConstants(op, first, right, &out->operand, &error) || Fail("{}", error);
  }

  bool Compare(const Syntax& node, CompareOp op, Operand left, Operand right, Operand* out) {
    const bool equality = op == CompareOp::kEqual || op == CompareOp::kNotEqual;
    if (!equality && (IsWholeArray(left) || IsWholeArray(right))) return FailWholeArray();
    if (!left.is_template && !right.is_template) {
      const auto scalar_type = [](const Operand& operand) {
        if (operand.type != DataType::kArray) return operand.type;
        return operand.is_column() ? operand.field.element_type : ElementTypeOf(operand.constant);
      };
      const bool list_with_json =
          (IsJson(left.type) && right.constant.is_list()) || (IsJson(right.type) && left.constant.is_list());
      if (!(list_with_json && equality) &&
          (list_with_json || !ComparableTypes(scalar_type(left), scalar_type(right)))) {
        return Fail("comparisons between {} and {} are not supported", TypeName(left), TypeName(right));
      }
    }
    if (left.is_constant()) {
      std::swap(left, right);
      op = Mirrored(op);
    }
    if (!right.is_constant()) return CompareFields(op, std::move(left), std::move(right), out);

    switch (left.kind) {
      case Operand::Kind::kColumn: {
        if (!CastConstant(left.type, &right)) return false;
        if (right.constant.is_list() && IsJson(left.type) && !equality) {
          return Fail("comparisons between {} and {} are not supported", TypeName(left), TypeName(right));
        }
        PredicatePtr predicate = MakePredicate(Predicate::Kind::kCompare, std::move(left.field));
        predicate->op = op;
        predicate->value = std::move(right.constant);
        return SetPredicate(SimplifyCompare(std::move(predicate)), out);
      }
      case Operand::Kind::kArrayLength: {
        if (!CastConstant(DataType::kInt64, &right)) return false;
        PredicatePtr predicate = MakePredicate(Predicate::Kind::kArrayLength, std::move(left.field));
        predicate->op = op;
        predicate->value = std::move(right.constant);
        return SetPredicate(std::move(predicate), out);
      }
      case Operand::Kind::kArithmetic: {
        // Arithmetic on JSON may give a fraction, so any number is compared as it stands.
        const bool json_number = IsJson(left.field.type) && right.constant.is_number();
        if (!json_number && !CastConstant(left.type, &right)) return false;
        PredicatePtr predicate = MakePredicate(Predicate::Kind::kArithmetic, std::move(left.field));
        predicate->op = op;
        predicate->arithmetic = left.arithmetic;
        predicate->operand = std::move(left.operand);
        predicate->value = std::move(right.constant);
        return SetPredicate(std::move(predicate), out);
      }
      default: return Fail("not supported to combine multiple fields: {}", tree_.TextOf(node));
    }
  }

  bool CompareFields(CompareOp op, Operand left, Operand right, Operand* out) {
    if (!left.is_column() || !right.is_column()) return Fail("only comparison between two fields is supported");
    if (IsWholeArray(left) || IsWholeArray(right)) return FailWholeArray();
    if (IsJson(left.type) || IsJson(right.type)) {
      return Fail("two column comparison with JSON type is not supported");
    }
    if ((left.type == DataType::kTimestamptz) != (right.type == DataType::kTimestamptz)) {
      return Fail("comparisons between {} and {} are not supported", TypeName(left), TypeName(right));
    }
    PredicatePtr predicate = MakePredicate(Predicate::Kind::kCompareFields, std::move(left.field));
    predicate->op = op;
    predicate->right_field = std::move(right.field);
    return SetPredicate(std::move(predicate), out);
  }

  /// Folds comparisons that no or every value of a narrow integer type satisfies.
  static PredicatePtr SimplifyCompare(PredicatePtr predicate) {
    const FieldRef& field = predicate->field;
    if (field.nullable || !IsInteger(field.type)) return predicate;
    const auto [least, most] = IntegerLimits(field.type);
    const int64_t value = std::get<int64_t>(predicate->value.value);
    switch (predicate->op) {
      case CompareOp::kEqual: return value < least || value > most ? MakeConstant(false) : std::move(predicate);
      case CompareOp::kNotEqual: return value < least || value > most ? MakeConstant(true) : std::move(predicate);
      case CompareOp::kLess:
        if (value <= least) return MakeConstant(false);
        return value > most ? MakeConstant(true) : std::move(predicate);
      case CompareOp::kLessEqual:
        if (value < least) return MakeConstant(false);
        return value >= most ? MakeConstant(true) : std::move(predicate);
      case CompareOp::kGreater:
        if (value >= most) return MakeConstant(false);
        return value < least ? MakeConstant(true) : std::move(predicate);
      default:
        if (value > most) return MakeConstant(false);
        return value <= least ? MakeConstant(true) : std::move(predicate);
    }
  }

  bool VisitRange(const Syntax& node, Operand* out) {
    const Syntax& field_node = *node.children[1];
    Operand column;
    if (!Visit(field_node, &column)) return false;
    if (IsWholeArray(column)) return FailWholeArray();
    const bool ascending = node.op == TokenKind::kLess || node.op == TokenKind::kLessEqual;
    const Syntax& lower_node = *node.children[ascending ? 0 : 2];
    const Syntax& upper_node = *node.children[ascending ? 2 : 0];
    Operand lower;
    Operand upper;
    if (!Visit(lower_node, &lower) || !Visit(upper_node, &upper)) return false;
    if (!lower.is_constant()) return Fail("lowerbound cannot be a non-const expression: {}", tree_.TextOf(lower_node));
    if (!upper.is_constant()) return Fail("upperbound cannot be a non-const expression: {}", tree_.TextOf(upper_node));
    if (!CastBound(column.type, &lower) || !CastBound(column.type, &upper)) return false;

    PredicatePtr predicate = MakePredicate(Predicate::Kind::kRange, std::move(column.field));
    const TokenKind lower_op = ascending ? node.op : node.op2;
    const TokenKind upper_op = ascending ? node.op2 : node.op;
    const auto inclusive = [](TokenKind op) { return op == TokenKind::kLessEqual || op == TokenKind::kGreaterEqual; };
    predicate->lower_inclusive = inclusive(lower_op);
    predicate->upper_inclusive = inclusive(upper_op);
    const bool closed = predicate->lower_inclusive && predicate->upper_inclusive;
    bool empty = false;
    if (!CompareConstants(closed ? CompareOp::kGreater : CompareOp::kGreaterEqual, lower.constant, upper.constant,
                          &empty)) {
      return Fail("invalid range operations");
    }
    if (empty) return Fail("invalid range: lowerbound is greater than upperbound");
    predicate->value = std::move(lower.constant);
    predicate->upper = std::move(upper.constant);
    return SetPredicate(std::move(predicate), out);
  }

  bool CastBound(DataType type, Operand* bound) {
    if (bound->is_template) {
      if (!CastConstant(type, bound)) return false;
    } else if (type == DataType::kBool) {
      return Fail("invalid range operations on boolean expr");
    } else if (!CastTo(type, zone_, &bound->constant)) {
      return Fail("invalid range operations");
    }
    // Left over: JSON, where anything casts, and templates for booleans.
    if (!bound->constant.is_number() && !bound->constant.is_string()) return Fail("invalid range operations");
    return true;
  }

  // --- in ------------------------------------------------------------------------------------------------------------

  bool VisitIn(const Syntax& node, Operand* out) {
    const Syntax& left_node = *node.children[0];
    const Syntax& right_node = *node.children[1];
    Operand column;
    if (!Visit(left_node, &column)) return false;
    if (column.is_constant()) {
      return Fail("'term' can only be used on non-const expression, but got: {}", tree_.TextOf(left_node));
    }
    if (!column.is_column()) {
      return Fail("'term' can only be used on single field, but got: {}", tree_.TextOf(left_node));
    }
    Operand list;
    if (!Visit(right_node, &list)) return false;
    if (!list.is_constant()) {
      return Fail("value '{}' in list cannot be a non-const expression", tree_.TextOf(right_node));
    }
    if (!list.constant.is_list()) {
      if (list.is_template) {
        return FailBare("the value of term expression template variable {{{}}} is not array", list.template_name);
      }
      return Fail("the right-hand side of 'in' must be a list, but got: {}", tree_.TextOf(right_node));
    }
    Literal offending;
    if (!NormalizeList(column.type, &list.constant, &offending)) {
      if (list.is_template) {
        return FailBare("cannot cast value to {}, value: {}", DataTypeName(column.type), DescribeLiteral(offending));
      }
      return Fail("value '{}' in list cannot be casted to {}", DescribeLiteral(offending), DataTypeName(column.type));
    }
    PredicatePtr predicate;
    if (list.constant.list_size() == 0 && !column.field.nullable && !IsJson(column.type) && column.field.path.empty()) {
      predicate = MakeConstant(false);
    } else {
      predicate = MakePredicate(Predicate::Kind::kIn, std::move(column.field));
      predicate->value = std::move(list.constant);
    }
    if (node.negated) predicate = MakeNot(std::move(predicate));
    return SetPredicate(std::move(predicate), out);
  }

  /// Casts every element for values of `type`; scalar lists end up packed, sorted and without repeats.
  bool NormalizeList(DataType type, Literal* list, Literal* offending) const {
    const size_t size = list->list_size();
    if (IsJson(type)) return true;
    const auto fail = [&](size_t index) {
      *offending = list->Element(index);
      return false;
    };
    if (IsInteger(type) || type == DataType::kTimestamptz) {
      if (!std::holds_alternative<Literal::Ints>(list->value)) {
        Literal::Ints ints;
        ints.reserve(size);
        for (size_t i = 0; i < size; ++i) {
          Literal element = list->Element(i);
          if (type == DataType::kTimestamptz && element.is_string() && !CastTo(type, zone_, &element)) return fail(i);
          if (!element.is_int()) return fail(i);
          ints.push_back(std::get<int64_t>(element.value));
        }
        list->value = std::move(ints);
      }
      SortUnique(&std::get<Literal::Ints>(list->value));
      return true;
    }
    if (IsFloating(type)) {
      Literal::Doubles doubles;
      doubles.reserve(size);
      if (const auto* ints = std::get_if<Literal::Ints>(&list->value)) {
        for (const int64_t value : *ints) doubles.push_back(static_cast<double>(value));
      } else if (auto* packed = std::get_if<Literal::Doubles>(&list->value)) {
        doubles = std::move(*packed);
      } else {
        for (size_t i = 0; i < size; ++i) {
          Literal element = list->Element(i);
          if (!CastTo(type, zone_, &element)) return fail(i);
          doubles.push_back(std::get<double>(element.value));
        }
      }
      // NaN equals nothing.
      std::erase_if(doubles, [](double value) { return std::isnan(value); });
      SortUnique(&doubles);
      list->value = std::move(doubles);
      return true;
    }
    if (IsString(type)) {
      if (!std::holds_alternative<Literal::Strings>(list->value)) {
        Literal::Strings strings;
        for (size_t i = 0; i < size; ++i) {
          Literal element = list->Element(i);
          if (!element.is_string()) return fail(i);
          strings.push_back(std::get<std::string>(std::move(element.value)));
        }
        list->value = std::move(strings);
      }
      SortUnique(&std::get<Literal::Strings>(list->value));
      return true;
    }
    if (type == DataType::kBool) {
      Literal::List booleans;
      for (size_t i = 0; i < size; ++i) {
        Literal element = list->Element(i);
        if (!element.is_bool()) return fail(i);
        if (std::find(booleans.begin(), booleans.end(), element) == booleans.end())
          booleans.push_back(std::move(element));
      }
      list->value = std::move(booleans);
      return true;
    }
    return size == 0 || fail(0);
  }

  template <typename T>
  static void SortUnique(std::vector<T>* values) {
    if (!std::is_sorted(values->begin(), values->end())) std::sort(values->begin(), values->end());
    values->erase(std::unique(values->begin(), values->end()), values->end());
  }

  // --- logic ---------------------------------------------------------------------------------------------------------

  bool CheckPlacement(const Syntax& node) {
    for (size_t i = 0; i < node.children.size(); ++i) {
      const bool last = i + 1 == node.children.size();
      if (IsCallOf(*node.children[i], Function::kRandomSample)) {
        if (node.kind == SyntaxKind::kOr) {
          return Fail("random sample expression cannot be used in logical and expression");
        }
        if (!last) {
          return Fail("random sample expression can only be the last expression in the logical and expression");
        }
      }
      if (IsCallOf(*node.children[i], Function::kElementFilter)) {
        if (node.kind == SyntaxKind::kOr) {
          return Fail("element filter expression cannot be used in logical or expression");
        }
        if (!last) {
          return Fail("element filter expression can only be the last expression in the logical and expression");
        }
      }
    }
    return true;
  }

  static bool IsSample(const Predicate& predicate) { return predicate.kind == Predicate::Kind::kSample; }
  static bool IsElementFilter(const Predicate& predicate) { return predicate.is_element_filter; }
  /// Looks below `and`, which is the only place where these may stand.
  template <typename Is>
  static bool Uses(const Predicate& predicate, const Is& is) {
    if (is(predicate)) return true;
    return predicate.kind == Predicate::Kind::kAnd &&
           std::any_of(predicate.children.begin(), predicate.children.end(),
                       [&](const PredicatePtr& child) { return Uses(*child, is); });
  }

  /// The same as CheckPlacement, for terms in parentheses.
  bool CheckTerm(const Predicate& term, bool is_and, bool last) {
    if (Uses(term, IsSample)) {
      if (!is_and) return Fail("random sample expression cannot be used in logical and expression");
      if (!last) return Fail("random sample expression can only be the last expression in the logical and expression");
    }
    if (Uses(term, IsElementFilter)) {
      if (!is_and) return Fail("element filter expression cannot be used in logical or expression");
      if (!last) return Fail("element filter expression can only be the last expression in the logical and expression");
    }
    return true;
  }

  bool VisitLogic(const Syntax& node, Operand* out) {
    if (!CheckPlacement(node)) return false;
    const bool is_and = node.kind == SyntaxKind::kAnd;
    const Predicate::Kind kind = is_and ? Predicate::Kind::kAnd : Predicate::Kind::kOr;
    std::vector<PredicatePtr> terms;
    bool decided = false;
    for (const Syntax* child : node.children) {
      Operand operand;
      if (!Visit(*child, &operand)) return false;
      PredicatePtr term;
      if (operand.is_constant() && !operand.is_template && operand.constant.is_bool()) {
        term = MakeConstant(std::get<bool>(operand.constant.value));
      } else if (operand.kind == Operand::Kind::kPredicate) {
        term = std::move(operand.predicate);
        if (!CheckTerm(*term, is_and, child == node.children.back())) return false;
      } else {
        return Fail("'{}' can only be used between boolean expressions", is_and ? "and" : "or");
      }
      if (term->kind == Predicate::Kind::kConstant) {
        decided = decided || term->constant != is_and;
      } else if (term->kind == kind) {
        for (PredicatePtr& inner : term->children) terms.push_back(std::move(inner));
      } else {
        terms.push_back(std::move(term));
      }
    }
    if (decided) return SetPredicate(MakeConstant(!is_and), out);
    MergeEqualities(is_and, &terms);
    if (terms.empty()) return SetPredicate(MakeConstant(is_and), out);
    if (terms.size() == 1) return SetPredicate(std::move(terms[0]), out);
    PredicatePtr predicate = MakePredicate(kind);
    predicate->children = std::move(terms);
    return SetPredicate(std::move(predicate), out);
  }

  /// a == 1 or a == 2 or a in [3] is a in [1, 2, 3]; a != 1 and a != 2 is a not in [1, 2].
  void MergeEqualities(bool is_and, std::vector<PredicatePtr>* terms) const {
    const auto inner_of = [is_and](const Predicate& term) -> const Predicate* {
      if (term.kind == Predicate::Kind::kCompare) {
        return term.op == (is_and ? CompareOp::kNotEqual : CompareOp::kEqual) && !term.value.is_list() ? &term
                                                                                                       : nullptr;
      }
      const Predicate* inner = &term;
      if (is_and) {
        if (term.kind != Predicate::Kind::kNot) return nullptr;
        inner = term.children[0].get();
      }
      return inner->kind == Predicate::Kind::kIn ? inner : nullptr;
    };
    std::map<std::string, std::vector<size_t>> groups;
    for (size_t i = 0; i < terms->size(); ++i) {
      const Predicate* inner = inner_of(*(*terms)[i]);
      if (inner == nullptr) continue;
      std::string key = std::to_string(inner->field.field_id);
      for (const PathStep& step : inner->field.path) key += fmt::format("/{}:{}", step.key.size(), step.key);
      groups[key].push_back(i);
    }
    bool merged = false;
    for (const auto& [key, members] : groups) {
      if (members.size() < 2) continue;
      Literal::List values;
      for (const size_t index : members) {
        const Predicate* inner = inner_of(*(*terms)[index]);
        if (inner->kind == Predicate::Kind::kCompare) {
          values.push_back(inner->value);
        } else {
          for (size_t i = 0; i < inner->value.list_size(); ++i) values.push_back(inner->value.Element(i));
        }
      }
      PredicatePtr in_list = MakePredicate(Predicate::Kind::kIn, inner_of(*(*terms)[members[0]])->field);
      in_list->value.value = std::move(values);
      Literal unused;
      NormalizeList(in_list->field.value_type(), &in_list->value, &unused);
      (*terms)[members[0]] = is_and ? MakeNot(std::move(in_list)) : std::move(in_list);
      for (size_t i = 1; i < members.size(); ++i) (*terms)[members[i]] = nullptr;
      merged = true;
    }
    if (merged) std::erase(*terms, nullptr);
  }

  // --- patterns, null, exists ----------------------------------------------------------------------------------------

  bool VisitPattern(const Syntax& node, Operand* out) {
    const bool is_like = node.kind == SyntaxKind::kLike;
    const std::string_view word = is_like ? "like" : "regex";
    Operand column;
    if (!Visit(*node.children[0], &column)) return false;
    if (!column.is_column()) return Fail("{} operation on complicated expr is unsupported", word);
    if (IsWholeArray(column)) return FailWholeArray();
    if (!IsString(column.type) && !IsJson(column.type)) {
      return Fail("{} operation on non-string or no-json field is unsupported", word);
    }
    Operand pattern;
    if (!Visit(*node.children[1], &pattern)) return false;
    if (!pattern.is_constant() || !pattern.constant.is_string()) {
      if (pattern.is_template) {
        return FailBare("the value of {} expression template variable {{{}}} is not string", word,
                        pattern.template_name);
      }
      return Fail("the right operand of {} must be a string: {}", word, tree_.TextOf(*node.children[1]));
    }
    if (!is_like) {
      RE2::Options options;
      options.set_log_errors(false);
      const RE2 regex(std::get<std::string>(pattern.constant.value), options);
      if (!regex.ok()) return Fail("invalid regex pattern: {}", regex.error());
    }
    PredicatePtr predicate =
        MakePredicate(is_like ? Predicate::Kind::kLike : Predicate::Kind::kRegex, std::move(column.field));
    predicate->value = std::move(pattern.constant);
    if (node.negated) predicate = MakeNot(std::move(predicate));
    return SetPredicate(std::move(predicate), out);
  }

  bool VisitExists(const Syntax& node, Operand* out) {
    const Syntax& child = *node.children[0];
    Operand column;
    if (!Visit(child, &column)) return false;
    if (!column.is_column()) {
      return Fail("exists operations are only supported on single fields now, got: {}", tree_.TextOf(child));
    }
    if (!IsJson(column.field.type)) {
      return Fail("exists operations are only supported on json fields now, got: {}", DataTypeName(column.field.type));
    }
    if (column.field.path.empty()) {
      return Fail("exists operations are only supported on json fields now, got: {}", tree_.TextOf(child));
    }
    return SetPredicate(MakePredicate(Predicate::Kind::kExists, std::move(column.field)), out);
  }

  bool VisitIsNull(const Syntax& node, Operand* out) {
    const Syntax& child = *node.children[0];
    FieldRef field;
    if (child.kind == SyntaxKind::kPath) {
      if (!ResolvePath(child, &field)) return false;
    } else if (const auto subs = schema_.SubFields(child.name); !subs.empty()) {
      field = RefOf(*subs.front());
    } else if (!Resolve(child.name, &field)) {
      return false;
    }
    if (IsVector(field.type)) return Fail("IsNull/IsNotNull operations are not supported on vector fields");
    PredicatePtr predicate;
    if (!field.path.empty()) {
      if (field.type == DataType::kArray)
        return Fail("IsNull/IsNotNull operations are not supported on array elements");
      predicate = MakePredicate(Predicate::Kind::kExists, std::move(field));
      if (!node.negated) predicate = MakeNot(std::move(predicate));
      return SetPredicate(std::move(predicate), out);
    }
    predicate = field.nullable ? MakePredicate(Predicate::Kind::kIsNull, std::move(field)) : MakeConstant(false);
    if (node.negated) predicate = MakeNot(std::move(predicate));
    return SetPredicate(std::move(predicate), out);
  }

  // --- functions -----------------------------------------------------------------------------------------------------

  bool VisitCall(const Syntax& node, Operand* out) {
    switch (node.function) {
      case Function::kContains: return VisitContains(node, ContainsMode::kOne, "contains", out);
      case Function::kContainsAll: return VisitContains(node, ContainsMode::kAll, "contains_all", out);
      case Function::kContainsAny: return VisitContains(node, ContainsMode::kAny, "contains_any", out);
      case Function::kArrayLength: return VisitArrayLength(node, out);
      case Function::kStartsWith:
      case Function::kEmpty:
      case Function::kUnknown: return VisitGenericCall(node, out);
      case Function::kTextMatch:
      case Function::kTextMatchFuzzy:
      case Function::kPhraseMatch: return VisitTextMatch(node, out);
      case Function::kRandomSample: return VisitRandomSample(node, out);
      case Function::kElementFilter:
      case Function::kMatchAll:
      case Function::kMatchAny:
      case Function::kMatchLeast:
      case Function::kMatchMost:
      case Function::kMatchExact: return VisitStructMatch(node, out);
      default: return VisitSpatial(node, out);
    }
  }

  bool VisitContains(const Syntax& node, ContainsMode mode, std::string_view word, Operand* out) {
    Operand column;
    if (!Visit(*node.children[0], &column)) return false;
    if (!column.is_column() || (!IsJson(column.type) && !IsWholeArray(column))) {
      return Fail("{} operation are only supported on json or array fields now, got: {}", word,
                  tree_.TextOf(*node.children[0]));
    }
    Operand element;
    if (!Visit(*node.children[1], &element)) return false;
    if (!element.is_constant()) {
      return Fail("{} operation are only supported explicitly specified element, got: {}", word,
                  tree_.TextOf(*node.children[1]));
    }
    constexpr const char* kNames[] = {"Contains", "ContainsAll", "ContainsAny"};
    const char* const name = kNames[static_cast<int>(mode)];
    if (mode != ContainsMode::kOne && !element.constant.is_list()) {
      return Fail("{} operation element must be an array", name);
    }
    if (!IsJson(column.type)) {
      const DataType type = column.field.element_type;
      if (mode == ContainsMode::kOne) {
        if (!CastConstant(type, &element)) return false;
      } else {
        const size_t size = element.constant.list_size();
        for (size_t i = 0; i < size; ++i) {
          const Literal item = element.constant.Element(i);
          if (item.is_list() || !ComparableTypes(type, TypeOf(item))) {
            return Fail("{} operation can't compare between array element type: {} and {}", name, DataTypeName(type),
                        DataTypeName(TypeOf(item)));
          }
        }
      }
    }
    PredicatePtr predicate = MakePredicate(Predicate::Kind::kContains, std::move(column.field));
    predicate->contains = mode;
    predicate->value = std::move(element.constant);
    return SetPredicate(std::move(predicate), out);
  }

  bool VisitArrayLength(const Syntax& node, Operand* out) {
    Operand column;
    const Syntax& child = *node.children[0];
    if (const auto subs = schema_.SubFields(child.kind == SyntaxKind::kName ? child.name : ""); !subs.empty()) {
      SetColumn(RefOf(*subs.front()), &column);
    } else if (!Visit(child, &column)) {
      return false;
    }
    if (!column.is_column() || (!IsJson(column.type) && !IsWholeArray(column))) {
      return Fail("array_length operation are only supported on json or array fields now, got: {}", tree_.TextOf(node));
    }
    out->kind = Operand::Kind::kArrayLength;
    out->field = std::move(column.field);
    out->type = DataType::kInt64;
    return true;
  }

  bool VisitGenericCall(const Syntax& node, Operand* out) {
    std::vector<Operand> arguments(node.children.size());
    std::string types;
    for (size_t i = 0; i < arguments.size(); ++i) {
      if (!Visit(*node.children[i], &arguments[i])) return false;
      types += fmt::format("{}{}", i == 0 ? "" : ", ", TypeName(arguments[i]));
    }
    const auto is_text_column = [](const Operand& operand) { return operand.is_column() && IsString(operand.type); };
    if (node.function == Function::kEmpty && arguments.size() == 1 && is_text_column(arguments[0])) {
      return SetPredicate(MakePredicate(Predicate::Kind::kEmpty, std::move(arguments[0].field)), out);
    }
    if (node.function == Function::kStartsWith && arguments.size() == 2 && is_text_column(arguments[0])) {
      if (is_text_column(arguments[1])) return NotSupportedYet("starts_with between two fields");
      if (arguments[1].is_constant() && arguments[1].constant.is_string()) {
        PredicatePtr predicate = MakePredicate(Predicate::Kind::kLike, std::move(arguments[0].field));
        std::string pattern;
        for (const char c : std::get<std::string>(arguments[1].constant.value)) {
          if (c == '%' || c == '_' || c == '\\') pattern += '\\';
          pattern += c;
        }
        predicate->value.value = pattern + "%";
        return SetPredicate(std::move(predicate), out);
      }
    }
    return Fail("function {}({}) not found", node.name, types);
  }

  // --- text, samples, structs, geometry, time
  // --------------------------------------------------------------------------

  bool VisitTextMatch(const Syntax& node, Operand* out) {
    const bool phrase = node.function == Function::kPhraseMatch;
    const std::string& name = node.children[0]->name;
    FieldRef ref;
    const FieldSchema* field = nullptr;
    if (!Resolve(name, &ref, &field)) return false;
    if (!IsString(ref.type)) {
      return Fail("{} match operation on non-string is unsupported", phrase ? "phrase" : "text");
    }
    const std::string* enabled = FindValue(field->type_params, "enable_match");
    if (enabled == nullptr || !ParseBool(*enabled).value_or(false)) {
      return Fail("field \"{}\" does not enable match", name);
    }
    Operand query;
    if (!Visit(*node.children[1], &query)) return false;
    if (!query.is_constant() || !query.constant.is_string()) {
      return Fail("the query of {} must be a string: {}", node.name, tree_.TextOf(*node.children[1]));
    }
    if (node.has_option && node.function == Function::kTextMatch) {
      if (node.option < 1) return Fail("minimum_should_match should be >= 1, got {}", node.option);
      if (node.option > 1000) return Fail("minimum_should_match should be <= 1000, got {}", node.option);
    }
    int64_t count = phrase ? 0 : node.has_option ? node.option : 1;
    if (phrase && node.children.size() == 3 && !ReadSlop(*node.children[2], &count)) return false;
    if (node.function == Function::kTextMatchFuzzy) return NotSupportedYet("text_match_fuzzy");
    const std::string* params = FindValue(field->type_params, "analyzer_params");
    auto analyzer = text::Analyzer::Create(params == nullptr ? "" : *params);
    if (!analyzer.ok()) {
      error_ = analyzer.status();
      return false;
    }
    PredicatePtr predicate =
        MakePredicate(phrase ? Predicate::Kind::kPhraseMatch : Predicate::Kind::kTextMatch, std::move(ref));
    predicate->value = std::move(query.constant);
    predicate->count = count;
    predicate->analyzer = *std::move(analyzer);
    return SetPredicate(std::move(predicate), out);
  }

  bool ReadSlop(const Syntax& node, int64_t* count) {
    Operand slop;
    const bool read = Visit(node, &slop);
    if (!read || !slop.is_constant() || !slop.constant.is_int()) {
      return Fail("\"slop\" should be a const integer expression with \"uint32\" value. \"slop\" expression passed: {}",
                  tree_.TextOf(node));
    }
    const int64_t value = std::get<int64_t>(slop.constant.value);
    if (value < 0) return Fail("\"slop\" should not be a negative interger. \"slop\" passed: {}", tree_.TextOf(node));
    if (value > UINT32_MAX) {
      return Fail("\"slop\" exceeds the range of \"uint32\". \"slop\" expression passed: {}", tree_.TextOf(node));
    }
    *count = value;
    return true;
  }

  bool VisitRandomSample(const Syntax& node, Operand* out) {
    Operand factor;
    const Syntax& child = *node.children[0];
    if (!Visit(child, &factor)) return false;
    if (!factor.is_constant() || factor.is_template) {
      return Fail("\"float factor\" should be a const float expression: \"float factor\" passed: {}",
                  tree_.TextOf(child));
    }
    constexpr double kMargin = 1e-10;
    const double value = factor.constant.is_double() ? std::get<double>(factor.constant.value) : 0;
    if (!(value > kMargin && value < 1 - kMargin)) {
      return Fail(
          "the sample factor should be between 0 and 1 and not too close to 0 or 1(the difference should be larger "
          "than "
          "1e-10), but got {}",
          tree_.TextOf(child));
    }
    std::random_device random;
    PredicatePtr predicate = MakePredicate(Predicate::Kind::kSample);
    predicate->value.value = value;
    predicate->seed = static_cast<uint64_t>(random()) << 32U | random();
    return SetPredicate(std::move(predicate), out);
  }

  static bool UsesStructMatch(const Syntax& node) {
    if (node.kind == SyntaxKind::kCall && node.function >= Function::kElementFilter &&
        node.function <= Function::kMatchExact) {
      return true;
    }
    return std::any_of(node.children.begin(), node.children.end(),
                       [](const Syntax* child) { return UsesStructMatch(*child); });
  }

  bool VisitStructMatch(const Syntax& node, Operand* out) {
    const std::string& name = node.children[0]->name;
    const auto subs = schema_.SubFields(name);
    if (subs.empty()) return Fail("struct array field {} not exist", name);
    if (UsesStructMatch(*node.children[1]))
      return Fail("nested {} is not supported: {}", node.name, tree_.TextOf(node));
    if (node.function == Function::kMatchLeast && node.option < 1) {
      return Fail("threshold of MATCH_LEAST must be >= 1, got {}", node.option);
    }
    element_struct_ = name;
    Operand condition;
    const bool read = Visit(*node.children[1], &condition);
    element_struct_.clear();
    if (!read) return false;
    if (condition.is_constant() && !condition.is_template && condition.constant.is_bool()) {
      condition.predicate = MakeConstant(std::get<bool>(condition.constant.value));
    } else if (condition.kind != Operand::Kind::kPredicate) {
      return Fail("the condition of {} must be a boolean expression: {}", node.name, tree_.TextOf(*node.children[1]));
    }
    if (Uses(*condition.predicate, IsSample)) return Fail("random sample expression cannot be used in {}", node.name);
    PredicatePtr predicate = MakePredicate(Predicate::Kind::kElements, RefOf(*subs.front()));
    predicate->is_element_filter = node.function == Function::kElementFilter;
    predicate->count = node.option;
    switch (node.function) {
      case Function::kMatchAll: predicate->quota = ElementQuota::kAll; break;
      case Function::kMatchLeast: predicate->quota = ElementQuota::kAtLeast; break;
      case Function::kMatchMost: predicate->quota = ElementQuota::kAtMost; break;
      case Function::kMatchExact: predicate->quota = ElementQuota::kExactly; break;
      default: predicate->quota = ElementQuota::kAny; break;
    }
    predicate->children.push_back(std::move(condition.predicate));
    return SetPredicate(std::move(predicate), out);
  }

  static SpatialRelation RelationOf(Function function) {
    switch (function) {
      case Function::kStTouches: return SpatialRelation::kTouches;
      case Function::kStOverlaps: return SpatialRelation::kOverlaps;
      case Function::kStCrosses: return SpatialRelation::kCrosses;
      case Function::kStContains: return SpatialRelation::kContains;
      case Function::kStIntersects: return SpatialRelation::kIntersects;
      case Function::kStWithin: return SpatialRelation::kWithin;
      case Function::kStDWithin: return SpatialRelation::kDistanceWithin;
      case Function::kStIsValid: return SpatialRelation::kIsValid;
      default: return SpatialRelation::kEquals;
    }
  }

  bool VisitSpatial(const Syntax& node, Operand* out) {
    FieldRef ref;
    const std::string& name = node.children[0]->name;
    if (!Resolve(name, &ref)) return false;
    if (ref.type != DataType::kGeometry) {
      return Fail("{} operation are only supported on geometry fields now, got: {}", node.name, tree_.TextOf(node));
    }
    std::string constant;
    if (node.children.size() > 1) {
      Operand shape;
      if (!Visit(*node.children[1], &shape)) return false;
      if (!shape.is_constant() || !shape.constant.is_string()) {
        return Fail("the geometry of {} must be a WKT string: {}", node.name, tree_.TextOf(*node.children[1]));
      }
      auto wkb = WkbFromWkt(std::get<std::string>(shape.constant.value));
      if (!wkb.ok()) return Fail("{}", wkb.status().message());
      constant = *std::move(wkb);
    }
    double meters = 0;
    if (node.function == Function::kStDWithin) {
      const Syntax& child = *node.children[2];
      Operand distance;
      if (!Visit(child, &distance)) return false;
      if (!distance.is_constant()) {
        return Fail("distance parameter must be a constant numeric value, got: {}", tree_.TextOf(child));
      }
      if (!distance.constant.is_number()) {
        return Fail("distance parameter must be a numeric value (int or float), got: {}", tree_.TextOf(child));
      }
      meters = ToDouble(distance.constant);
      if (meters < 0) return Fail("distance parameter must be non-negative, got: {:f}", meters);
      if (!IsPoint(constant)) return Fail("{} only supports POINT geometry: {}", node.name, WktFromWkb(constant));
    }
    PredicatePtr predicate = MakePredicate(Predicate::Kind::kSpatial, std::move(ref));
    predicate->spatial = std::make_shared<const SpatialTest>(RelationOf(node.function), std::move(constant), meters);
    return SetPredicate(std::move(predicate), out);
  }

  bool VisitTimestamp(const Syntax& node, Operand* out) {
    FieldRef ref;
    const std::string& name = node.children[0]->name;
    if (!Resolve(name, &ref)) return false;
    if (ref.type != DataType::kTimestamptz) return Fail("field '{}' is not a timestamptz datatype", name);
    if (node.op == TokenKind::kEnd) return Fail("an interval needs a comparison with ISO: {}", tree_.TextOf(node));
    Interval interval;
    if (node.op2 != TokenKind::kEnd && !ParseInterval(node.name, &interval)) {
      return Fail("invalid ISO 8601 duration: {}", node.name);
    }
    Literal moment = node.literal;
    if (!CastTo(DataType::kTimestamptz, zone_, &moment)) {
      return Fail("can not convert compare string: failed to parse timezone-aware string '{}'",
                  std::get<std::string>(node.literal.value));
    }
    const int sign = node.op2 == TokenKind::kMinus ? -1 : 1;
    if (interval.months == 0) {
      // Days are 24 hours, so the constant may be moved instead of every value.
      moment.value = AddInterval(std::get<int64_t>(moment.value), interval, -sign);
    }
    PredicatePtr predicate = MakePredicate(
        interval.months == 0 ? Predicate::Kind::kCompare : Predicate::Kind::kShiftedCompare, std::move(ref));
    predicate->op = ToCompare(node.op);
    predicate->value = std::move(moment);
    predicate->interval = interval;
    predicate->sign = sign;
    return SetPredicate(std::move(predicate), out);
  }

  const SyntaxTree& tree_;
  const std::string_view text_;
  const CollectionSchema& schema_;
  const TemplateValues& values_;
  const TimeZone& zone_;
  std::string element_struct_;  ///< the struct array whose element predicate is being visited
  Status error_;
  bool bare_ = false;
};

}  // namespace

Result<PredicatePtr> Analyze(const SyntaxTree& tree, std::string_view text, const CollectionSchema& schema,
                             const TemplateValues& values, const TimeZone& zone) {
  return Analyzer(tree, text, schema, values, zone).Run();
}

}  // namespace quiver::expr
