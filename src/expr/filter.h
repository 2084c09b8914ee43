// File: expr/filter.h
// Filter: a filter expression compiled against a collection schema, evaluated over pages of columns.
//
//   QUIVER_ASSIGN_OR_RETURN(auto filter, Filter::Compile("price < 10 and tag in [\"a\", \"b\"]", schema));
//   std::vector<uint64_t> mask((page.row_count() + 63) / 64);
//   filter->Evaluate(page, mask.data());
//
// The language is described in docs/filter.md. Logic is three-valued: a comparison with NULL is unknown, unknown stays
// unknown under `not`, and only rows for which the filter is true are set in the mask.
// Thread rule: a compiled filter is immutable and may be shared between threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "expr/column_source.h"
#include "expr/literal.h"
#include "schema/collection_schema.h"
#include "schema/timestamp.h"

namespace quiver::expr {

class FilterTrace;
struct Predicate;

/// Compiled filter; immutable, shareable between threads.
class Filter {
 public:
  virtual ~Filter() = default;

  /// Parses, resolves names, checks types, fills in template values and folds constants; moments without an offset are
  /// times of `zone`. Nothing of `text`, `schema` or `values` needs to outlive the call.
  /// Errors: kInvalidParameter with the texts that clients see after "failed to create query plan: " (the caller adds
  /// that prefix); kUnimplemented "<construct> is not supported yet" for published constructs that are not served.
  static Result<std::shared_ptr<const Filter>> Compile(std::string_view text, const CollectionSchema& schema,
                                                       const TemplateValues& values = {}, const TimeZone& zone = {});

  /// Every row passes: the text is empty or blank, or folds to true.
  [[nodiscard]] virtual bool always_true() const = 0;
  /// No row can pass.
  [[nodiscard]] virtual bool always_false() const = 0;

  /// Sets bit i of `mask` (bit i % 64 of word i / 64) iff row i of the page satisfies the filter; unknown counts as
  /// not. The caller provides ceil(row_count / 64) zeroed words.
  virtual void Evaluate(const ColumnSource& page, uint64_t* mask) const = 0;

  /// As Evaluate, for the rows set in `candidates` only; of a top-level `and`, the operands whose bit is set in
  /// `settled` are known to hold for these (expr/term_index.h) and are not looked at.
  virtual void EvaluateRest(const ColumnSource& page, uint64_t settled, const uint64_t* candidates,
                            uint64_t* mask) const = 0;

  /// Primary keys in ascending order without repeats; the list that does not fit the key's type is empty.
  struct PrimaryKeys {
    std::vector<int64_t> ints;
    std::vector<std::string> strings;
  };
  /// The keys, if the filter is exactly `pk == x` or `pk in [...]`: rows with these keys are the answer, and no
  /// evaluation is needed. nullptr otherwise.
  [[nodiscard]] virtual const PrimaryKeys* primary_keys() const = 0;
  /// Keys outside of which no row can pass, if such a term is one operand of a top-level `and` (or the whole filter):
  /// the candidates are still to be evaluated. nullptr otherwise.
  [[nodiscard]] virtual const PrimaryKeys* primary_key_candidates() const = 0;

  /// The same filter, which counts in `trace` (expr/filter_trace.h) what becomes of each part of it; for explain, since
  /// the counting takes time. This filter and `trace` must outlive it.
  [[nodiscard]] virtual std::shared_ptr<const Filter> Traced(FilterTrace* trace) const = 0;
  /// Of a traced filter: adds to the trace how many rows of a page each part is expected to keep, by the facts of the
  /// page. Others do nothing. One thread at a time.
  virtual void Estimate(const ColumnSource& page) const = 0;

  /// The typed tree (expr/predicate.h), for whoever plans or explains; it lives as long as the filter.
  [[nodiscard]] virtual const Predicate& predicate() const = 0;
  /// expr/canonical_key.h; made when it is first asked for.
  [[nodiscard]] virtual const std::string& canonical_key() const = 0;
  /// Ids of the fields that evaluation reads, ascending.
  [[nodiscard]] virtual const std::vector<int64_t>& field_ids() const = 0;
  /// Partition-key values outside of which no row can pass, if a top-level conjunct is `key == x` or `key in [...]`;
  /// nullptr otherwise.
  [[nodiscard]] virtual const std::vector<ScalarValue>* partition_key_values() const = 0;
};

}  // namespace quiver::expr
