// File: expr/analyzer.h
// Analyzer: turns the syntax tree of a filter into predicates over typed fields: names are resolved, types checked,
// constants folded and cast, texts of errors made as clients know them. Its parts: names, dispatch and logic in
// analyzer.cc; arithmetic, comparisons, ranges and lists in comparison_analyzer.cc; functions in function_analyzer.cc.
// Thread rule: one Analyzer serves one filter on one thread.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "expr/constants.h"
#include "expr/predicate.h"

namespace quiver::expr {

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

inline bool IsJson(DataType type) { return type == DataType::kJson; }
/// Type of a constant; lists are arrays of their common element type (kNone where mixed or empty).
DataType TypeOf(const Literal& literal);
DataType ElementTypeOf(const Literal& list);

/// Returns whether values of the two types may be compared.
bool ComparableTypes(DataType left, DataType right);
/// Converts a constant so that it fits values of `type`; false where it cannot. Texts become moments, those without an
/// offset in `zone`.
bool CastTo(DataType type, const TimeZone& zone, Literal* literal);
/// The comparison that a token stands for.
CompareOp ToCompare(TokenKind kind);
/// A predicate over a field, without children.
PredicatePtr MakePredicate(Predicate::Kind kind, FieldRef field = {});
/// The predicate that is true, or false, of every row.
PredicatePtr MakeConstant(bool truth);
/// The negation; owns `child`.
PredicatePtr MakeNot(PredicatePtr child);

/// Visits the tree once. The Visit functions return false when error_ says why the filter is refused.
class Analyzer {
 public:
  Analyzer(const SyntaxTree& tree, std::string_view text, const CollectionSchema& schema, const TemplateValues& values,
           const TimeZone& zone)
      : tree_(tree), text_(text), schema_(schema), values_(values), zone_(zone) {}

  Result<PredicatePtr> Run();

 private:
  Status Finish();

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
  bool NotSupportedYet(std::string_view construct);
  static std::string TypeName(const Operand& operand);
  bool CastConstant(DataType type, Operand* operand);

  // --- names ---------------------------------------------------------------------------------------------------------

  static FieldRef RefOf(const FieldSchema& field);
  /// One of a struct array's sub-fields, to read as an array: for its lengths and nulls, which all of them share.
  static FieldRef ArrayOf(const std::vector<const FieldSchema*>& sub_fields);

  /// Finds a field, or the dynamic field with `name` as the first key.
  bool Resolve(const std::string& name, FieldRef* ref, const FieldSchema** found = nullptr);

  /// Refuses fields whose type cannot be read by the operators served so far.
  bool CheckServed(const FieldRef& ref, const std::string& name);
  bool ResolveName(const Syntax& node, FieldRef* ref);
  bool ResolvePath(const Syntax& node, FieldRef* ref);

  /// struct[sub] is the ARRAY of a sub-field, struct[0][sub] an element of it.
  bool VisitStructField(const Syntax& node, Operand* out);

  /// $[sub] inside of an element predicate: one value of the sub-field.
  bool VisitSubField(const Syntax& node, Operand* out);
  static bool SetColumn(FieldRef field, Operand* out);
  bool VisitColumn(const Syntax& node, Operand* out);

  // --- dispatch ------------------------------------------------------------------------------------------------------

  bool Visit(const Syntax& node, Operand* out);
  static bool SetPredicate(PredicatePtr predicate, Operand* out);
  static bool SetConstant(Literal literal, Operand* out);
  bool VisitTemplate(const Syntax& node, Operand* out);
  bool VisitList(const Syntax& node, Operand* out);

  // --- unary, arithmetic, comparison ---------------------------------------------------------------------------------

  static bool IsCallOf(const Syntax& node, Function function);
  static bool IsWholeArray(const Operand& operand);
  bool FailWholeArray() { return Fail("can not comparisons array fields directly"); }

  bool VisitUnary(const Syntax& node, Operand* out);
  bool FoldUnary(const Syntax& node, Literal constant, Operand* out);
  bool VisitBinary(const Syntax& node, Operand* out);
  bool FoldArithmetic(ArithmeticOp op, const Literal& left, const Literal& right, Operand* out);

  /// field op constant, constant op field, or a further step of an integer chain.
  bool Calculate(const Syntax& node, ArithmeticOp op, Operand left, Operand right, Operand* out);

  /// Folds (field op a) op2 b into one step where that is exact: integer values and operators of one family.
  bool ExtendChain(ArithmeticOp op, Operand left, const Literal& right, Operand* out);
  bool Compare(const Syntax& node, CompareOp op, Operand left, Operand right, Operand* out);
  bool CompareFields(CompareOp op, Operand left, Operand right, Operand* out);

  /// Folds comparisons that no or every value of a narrow integer type satisfies.
  static PredicatePtr SimplifyCompare(PredicatePtr predicate);
  bool VisitRange(const Syntax& node, Operand* out);
  bool CastBound(DataType type, Operand* bound);

  // --- in ------------------------------------------------------------------------------------------------------------

  bool VisitIn(const Syntax& node, Operand* out);

  /// Casts every element for values of `type`; scalar lists end up packed, sorted and without repeats.
  bool NormalizeList(DataType type, Literal* list, Literal* offending) const;

  template <typename T>
  static void SortUnique(std::vector<T>* values) {
    if (!std::is_sorted(values->begin(), values->end())) std::sort(values->begin(), values->end());
    values->erase(std::unique(values->begin(), values->end()), values->end());
  }

  // --- logic ---------------------------------------------------------------------------------------------------------

  bool CheckPlacement(const Syntax& node);
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
  bool CheckTerm(const Predicate& term, bool is_and, bool last);
  bool VisitLogic(const Syntax& node, Operand* out);

  /// a == 1 or a == 2 or a in [3] is a in [1, 2, 3]; a != 1 and a != 2 is a not in [1, 2].
  void MergeEqualities(bool is_and, std::vector<PredicatePtr>* terms) const;

  // --- patterns, null, exists ----------------------------------------------------------------------------------------

  bool VisitPattern(const Syntax& node, Operand* out);
  bool VisitExists(const Syntax& node, Operand* out);
  bool VisitIsNull(const Syntax& node, Operand* out);

  // --- functions -----------------------------------------------------------------------------------------------------

  bool VisitCall(const Syntax& node, Operand* out);
  bool VisitContains(const Syntax& node, ContainsMode mode, std::string_view word, Operand* out);
  bool VisitArrayLength(const Syntax& node, Operand* out);
  bool VisitGenericCall(const Syntax& node, Operand* out);

  // --- text, samples, structs, geometry, time
  // --------------------------------------------------------------------------

  bool VisitTextMatch(const Syntax& node, Operand* out);
  bool ReadSlop(const Syntax& node, int64_t* count);
  bool VisitRandomSample(const Syntax& node, Operand* out);
  static bool UsesStructMatch(const Syntax& node);
  bool VisitStructMatch(const Syntax& node, Operand* out);
  static SpatialRelation RelationOf(Function function);
  bool VisitSpatial(const Syntax& node, Operand* out);
  bool VisitTimestamp(const Syntax& node, Operand* out);

  const SyntaxTree& tree_;
  const std::string_view text_;
  const CollectionSchema& schema_;
  const TemplateValues& values_;
  const TimeZone& zone_;
  std::string element_struct_;  ///< the struct array whose element predicate is being visited
  Status error_;
  bool bare_ = false;
};

}  // namespace quiver::expr
