// The analyzer of filters: names, dispatch, logic.
#include "expr/analyzer.h"

#include <map>
#include <utility>

#include "expr/constants.h"
#include "expr/predicate.h"

namespace quiver::expr {
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

PredicatePtr MakePredicate(Predicate::Kind kind, FieldRef field) {
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

Result<PredicatePtr> Analyzer::Run() {
  Operand root;
  if (!Visit(tree_.root(), &root)) return Finish();
  if (root.is_constant() && root.constant.is_bool()) return MakeConstant(std::get<bool>(root.constant.value));
  if (root.kind != Operand::Kind::kPredicate) {
    return InvalidParameter("predicate is not a boolean expression: {}, data type: {}", QuoteForError(text_),
                            TypeName(root));
  }
  return std::move(root.predicate);
}

Status Analyzer::Finish() {
  if (bare_) return error_;
  return {error_.code(), fmt::format("cannot parse expression: {}, error: {}", QuoteForError(text_), error_.message())};
}

bool Analyzer::NotSupportedYet(std::string_view construct) {
  error_ = Status(StatusCode::kUnimplemented, fmt::format("{} is not supported yet", construct));
  return false;
}

std::string Analyzer::TypeName(const Operand& operand) {
  if (operand.type == DataType::kArray) {
    const DataType element = operand.is_column() ? operand.field.element_type : ElementTypeOf(operand.constant);
    return fmt::format("Array[{}]", DataTypeName(element));
  }
  return std::string(DataTypeName(operand.type));
}

bool Analyzer::CastConstant(DataType type, Operand* operand) {
  if (CastTo(type, zone_, &operand->constant)) return true;
  const std::string text =
      fmt::format("cannot cast value to {}, value: {}", DataTypeName(type), DescribeLiteral(operand->constant));
  return operand->is_template ? FailBare("{}", text) : Fail("{}", text);
}

FieldRef Analyzer::RefOf(const FieldSchema& field) {
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

FieldRef Analyzer::ArrayOf(const std::vector<const FieldSchema*>& sub_fields) {
  const auto scalar = std::find_if(sub_fields.begin(), sub_fields.end(),
                                   [](const FieldSchema* field) { return field->type == DataType::kArray; });
  FieldRef ref = RefOf(scalar != sub_fields.end() ? **scalar : *sub_fields.front());
  ref.type = DataType::kArray;  // vectors, too, begin with their number
  return ref;
}

bool Analyzer::Resolve(const std::string& name, FieldRef* ref, const FieldSchema** found) {
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

bool Analyzer::CheckServed(const FieldRef& ref, const std::string& name) {
  switch (ref.type) {
    case DataType::kText: return Fail("filter on text field ({}) is not supported yet", name);
    default: return true;
  }
}

bool Analyzer::ResolveName(const Syntax& node, FieldRef* ref) {
  return Resolve(node.name, ref) && CheckServed(*ref, node.name);
}

bool Analyzer::ResolvePath(const Syntax& node, FieldRef* ref) {
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

bool Analyzer::VisitStructField(const Syntax& node, Operand* out) {
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

bool Analyzer::VisitSubField(const Syntax& node, Operand* out) {
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

bool Analyzer::SetColumn(FieldRef field, Operand* out) {
  out->kind = Operand::Kind::kColumn;
  out->type = field.value_type();
  out->field = std::move(field);
  return true;
}

bool Analyzer::VisitColumn(const Syntax& node, Operand* out) {
  out->kind = Operand::Kind::kColumn;
  const bool resolved =
      node.kind == SyntaxKind::kPath ? ResolvePath(node, &out->field) : ResolveName(node, &out->field);
  if (!resolved) return false;
  out->type = out->field.value_type();
  return true;
}

bool Analyzer::Visit(const Syntax& node, Operand* out) {
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

bool Analyzer::SetPredicate(PredicatePtr predicate, Operand* out) {
  out->kind = Operand::Kind::kPredicate;
  out->type = DataType::kBool;
  out->predicate = std::move(predicate);
  return true;
}

bool Analyzer::SetConstant(Literal literal, Operand* out) {
  out->kind = Operand::Kind::kConstant;
  out->type = TypeOf(literal);
  out->constant = std::move(literal);
  return true;
}

bool Analyzer::VisitTemplate(const Syntax& node, Operand* out) {
  const auto found = values_.find(node.name);
  if (found == values_.end()) {
    return FailBare("the value of expression template variable name {{{}}} is not found", node.name);
  }
  out->is_template = true;
  out->template_name = node.name;
  return SetConstant(found->second, out);
}

bool Analyzer::VisitList(const Syntax& node, Operand* out) {
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

bool Analyzer::CheckPlacement(const Syntax& node) {
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

bool Analyzer::CheckTerm(const Predicate& term, bool is_and, bool last) {
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

bool Analyzer::VisitLogic(const Syntax& node, Operand* out) {
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

void Analyzer::MergeEqualities(bool is_and, std::vector<PredicatePtr>* terms) const {
  const auto inner_of = [is_and](const Predicate& term) -> const Predicate* {
    if (term.kind == Predicate::Kind::kCompare) {
      return term.op == (is_and ? CompareOp::kNotEqual : CompareOp::kEqual) && !term.value.is_list() ? &term : nullptr;
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

Result<PredicatePtr> Analyze(const SyntaxTree& tree, std::string_view text, const CollectionSchema& schema,
                             const TemplateValues& values, const TimeZone& zone) {
  return Analyzer(tree, text, schema, values, zone).Run();
}

}  // namespace quiver::expr
