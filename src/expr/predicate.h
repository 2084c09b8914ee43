// File: expr/predicate.h
// Predicate: the typed tree of a filter. Names are resolved, types checked, template values filled in, constants
// folded. Planners and index look-ups walk it; the evaluator is built from it.
//
// Truth of a predicate over a row is true, false or unknown. Unless said otherwise a predicate is unknown where its
// field is NULL. A JSON value that is missing, null or of another type than the constant is not NULL: comparisons with
// it are false, `!=` is true. Thread rule: immutable once built.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "expr/literal.h"
#include "expr/syntax.h"
#include "schema/collection_schema.h"
#include "schema/geometry.h"
#include "schema/timestamp.h"
#include "text/analyzer.h"

namespace quiver::expr {

/// A field, or a place inside a JSON or ARRAY field.
struct FieldRef {
  int64_t field_id = 0;
  DataType type = DataType::kNone;
  DataType element_type = DataType::kNone;  ///< of ARRAY
  bool nullable = false;
  bool is_dynamic = false;
  bool is_primary = false;
  bool is_partition_key = false;
  std::vector<PathStep> path;  ///< JSON: steps from the root; ARRAY: one position, or empty for the whole array

  /// Type of the addressed value: the element type for array elements.
  [[nodiscard]] DataType value_type() const { return type == DataType::kArray && !path.empty() ? element_type : type; }
  bool operator==(const FieldRef&) const = default;
};

enum class CompareOp : uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };
enum class ArithmeticOp : uint8_t {
  kNone,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulo,
  kBitAnd,
  kBitOr,
  kBitXor,
  kShiftLeft,
  kShiftRight
};
enum class ContainsMode : uint8_t { kOne, kAll, kAny };
/// How many elements of a struct array must satisfy a predicate.
enum class ElementQuota : uint8_t { kAny, kAll, kAtLeast, kAtMost, kExactly };

struct Predicate {
  enum class Kind : uint8_t {
    kConstant,  ///< constant
    kAnd,       ///< children (two or more)
    kOr,        ///< children (two or more)
    kNot,       ///< children[0]
    kCompare,  ///< field op value. Array elements out of range: unknown. Whole JSON or ARRAY with a list: = and != only
    kCompareFields,   ///< field op right_field
    kRange,           ///< value (<|<=) field (<|<=) upper
    kIn,              ///< field in value (a list, sorted and without repeats for scalar fields)
    kArithmetic,      ///< (field arithmetic operand) op value; integers wrap at 64 bits
    kLike,            ///< field like value (a string)
    kRegex,           ///< field =~ value (a string), partial match
    kIsNull,          ///< field is NULL; never unknown
    kExists,          ///< the JSON path holds a value that is not null; never unknown
    kContains,        ///< the array at field contains value (kOne) / all / any elements of the list value
    kArrayLength,     ///< length of the array at field op value; 0 where JSON holds no array
    kEmpty,           ///< the string is empty
    kShiftedCompare,  ///< TIMESTAMPTZ: (field + interval, or - where sign is -1) op value; the interval has months
    kTextMatch,       ///< the text holds `count` different tokens of value (a string), or all where it has fewer
    kFuzzyMatch,      ///< the text holds a token within `count` edits of a token of value (a string)
    kPhraseMatch,     ///< the text holds the tokens of value in this order, with at most `count` moves
    kSpatial,         ///< spatial holds for the geometry
    kSample,          ///< the row is drawn: a share `value` of all rows, by chance; never unknown
    kElements,  ///< struct array: `count` by `quota` of its elements satisfy children[0], which speaks of sub-fields by
                ///< their element types; an element for which it is unknown does not. field is the first sub-field
  };

  Kind kind = Kind::kConstant;
  CompareOp op = CompareOp::kEqual;
  ArithmeticOp arithmetic = ArithmeticOp::kNone;
  ContainsMode contains = ContainsMode::kOne;
  bool constant = false;
  int sign = 1;
  Interval interval;
  ElementQuota quota = ElementQuota::kAny;
  bool is_element_filter = false;                  ///< kElements written as element_filter
  int64_t count = 0;                               ///< kTextMatch, kFuzzyMatch, kPhraseMatch, kElements
  uint64_t seed = 0;                               ///< kSample
  std::shared_ptr<const text::Analyzer> analyzer;  ///< kTextMatch, kFuzzyMatch, kPhraseMatch
  std::shared_ptr<const SpatialTest> spatial;      ///< kSpatial
  bool lower_inclusive = false;
  bool upper_inclusive = false;
  FieldRef field;
  FieldRef right_field;
  Literal value;
  Literal upper;
  Literal operand;
  std::vector<std::unique_ptr<Predicate>> children;

  [[nodiscard]] bool is_constant(bool truth) const { return kind == Kind::kConstant && constant == truth; }
};

using PredicatePtr = std::unique_ptr<Predicate>;

/// Resolves and checks a parsed filter against a schema. Error texts are complete except for "failed to create query
/// plan: ". Moments without an offset are times of `zone`.
Result<PredicatePtr> Analyze(const SyntaxTree& tree, std::string_view text, const CollectionSchema& schema,
                             const TemplateValues& values, const TimeZone& zone);

}  // namespace quiver::expr
