// The analyzer of filters: arithmetic, comparisons, ranges, lists.
#include <algorithm>
#include <cmath>
#include <utility>

#include "expr/analyzer.h"
#include "expr/constants.h"
#include "expr/predicate.h"

namespace quiver::expr {
namespace {

bool CanCalculate(DataType left, DataType right) {
  if (IsInteger(left)) return IsInteger(right) || IsJson(right);
  if (IsFloating(left)) return IsNumeric(right) || IsJson(right);
  return IsJson(left) && IsNumeric(right);
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

CompareOp Mirrored(CompareOp op) {
  switch (op) {
    case CompareOp::kLess: return CompareOp::kGreater;
    case CompareOp::kLessEqual: return CompareOp::kGreaterEqual;
    case CompareOp::kGreater: return CompareOp::kLess;
    case CompareOp::kGreaterEqual: return CompareOp::kLessEqual;
    default: return op;
  }
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

}  // namespace

bool Analyzer::IsCallOf(const Syntax& node, Function function) {
  return node.kind == SyntaxKind::kCall && node.function == function;
}

bool Analyzer::IsWholeArray(const Operand& operand) {
  return operand.is_column() && operand.field.type == DataType::kArray && operand.field.path.empty();
}

bool Analyzer::VisitUnary(const Syntax& node, Operand* out) {
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

bool Analyzer::FoldUnary(const Syntax& node, Literal constant, Operand* out) {
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

bool Analyzer::VisitBinary(const Syntax& node, Operand* out) {
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

bool Analyzer::FoldArithmetic(ArithmeticOp op, const Literal& left, const Literal& right, Operand* out) {
  Literal folded;
  std::string error;
  if (!CalculateConstants(op, left, right, &folded, &error)) return Fail("{}", error);
  return SetConstant(std::move(folded), out);
}

bool Analyzer::Calculate(const Syntax& node, ArithmeticOp op, Operand left, Operand right, Operand* out) {
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

bool Analyzer::ExtendChain(ArithmeticOp op, Operand left, const Literal& right, Operand* out) {
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

bool Analyzer::Compare(const Syntax& node, CompareOp op, Operand left, Operand right, Operand* out) {
  const bool equality = op == CompareOp::kEqual || op == CompareOp::kNotEqual;
  if (!equality && (IsWholeArray(left) || IsWholeArray(right))) return FailWholeArray();
  if (!left.is_template && !right.is_template) {
    const auto scalar_type = [](const Operand& operand) {
      if (operand.type != DataType::kArray) return operand.type;
      return operand.is_column() ? operand.field.element_type : ElementTypeOf(operand.constant);
    };
    const bool list_with_json =
        (IsJson(left.type) && right.constant.is_list()) || (IsJson(right.type) && left.constant.is_list());
    if (!(list_with_json && equality) && (list_with_json || !ComparableTypes(scalar_type(left), scalar_type(right)))) {
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

bool Analyzer::CompareFields(CompareOp op, Operand left, Operand right, Operand* out) {
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

PredicatePtr Analyzer::SimplifyCompare(PredicatePtr predicate) {
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

bool Analyzer::VisitRange(const Syntax& node, Operand* out) {
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

bool Analyzer::CastBound(DataType type, Operand* bound) {
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

bool Analyzer::VisitIn(const Syntax& node, Operand* out) {
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

bool Analyzer::NormalizeList(DataType type, Literal* list, Literal* offending) const {
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

}  // namespace quiver::expr
