#include "query/isolation.h"

#include <string_view>

#include "expr/predicate.h"

namespace quiver::query {

namespace {

using expr::CompareOp;
using expr::Predicate;

Status NotSupported(std::string_view what) {
  return Error(StatusCode::kInvalidParameter, "partition key isolation does not support {}", what);
}

/// The published names of the comparisons.
std::string_view NameOf(CompareOp op) {
  switch (op) {
    case CompareOp::kEqual: return "Equal";
    case CompareOp::kNotEqual: return "NotEqual";
    case CompareOp::kLess: return "LessThan";
    case CompareOp::kLessEqual: return "LessEqual";
    case CompareOp::kGreater: return "GreaterThan";
    case CompareOp::kGreaterEqual: return "GreaterEqual";
  }
  return "";
}

/// Whether a part of a filter names one value of the key.
Result<bool> NamesOneKey(const Predicate& part) {
  switch (part.kind) {
    case Predicate::Kind::kAnd:
    case Predicate::Kind::kOr: {
      bool any = false;
      for (const expr::PredicatePtr& operand : part.children) {
        QUIVER_ASSIGN_OR_RETURN(const bool names, NamesOneKey(*operand));
        any = any || names;
      }
      if (any && part.kind == Predicate::Kind::kOr) return NotSupported("OR");
      return any;
    }
    case Predicate::Kind::kNot: {
      QUIVER_ASSIGN_OR_RETURN(const bool names, NamesOneKey(*part.children[0]));
      if (names) return NotSupported("NOT");
      return false;
    }
    default: break;
  }
  if (!part.field.is_partition_key) return false;
  switch (part.kind) {
    case Predicate::Kind::kCompare:
      if (part.op != CompareOp::kEqual) return NotSupported(NameOf(part.op));
      return true;
    case Predicate::Kind::kIn: return NotSupported("IN");
    case Predicate::Kind::kRange: return NotSupported("BinaryRange");
    case Predicate::Kind::kLike: return NotSupported("Match");
    case Predicate::Kind::kTextMatch: return NotSupported("TextMatch");
    case Predicate::Kind::kPhraseMatch: return NotSupported("PhraseMatch");
    default: return false;
  }
}

}  // namespace

Status CheckIsolated(const expr::Filter* filter) {
  bool names = false;
  if (filter != nullptr) {
    QUIVER_ASSIGN_OR_RETURN(names, NamesOneKey(filter->predicate()));
  }
  if (names) return Status::Ok();
  return Error(StatusCode::kInvalidParameter,
               "partition key not found in expr or the expr is invalid when validating partition key isolation");
}

}  // namespace quiver::query
