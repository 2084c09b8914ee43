// File: schema/index_params.h
// Parameters of CreateIndex and of searches: parsed and checked for every published index type, with the published
// ranges, defaults and error texts.
//
//   QUIVER_ASSIGN_OR_RETURN(IndexSpec spec, ParseIndexParams(field, extra_params));
//   QUIVER_ASSIGN_OR_RETURN(SearchSpec search, ParseSearchParams(spec, search_params, topk));
//
// Errors: kInvalidParameter (1100) unless said. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "schema/collection_schema.h"
#include "schema/data_type.h"

namespace quiver {

/// A checked index definition.
struct IndexSpec {
  std::string index_type;                 ///< published name, upper case ("HNSW", "INVERTED", "AUTOINDEX", "TRIE")
  MetricType metric = MetricType::kNone;  ///< kNone for scalar indexes
  KeyValues params;  ///< as the client gave them, `params` opened, index_type and metric_type included

  /// Value of an integer parameter, or `default_value` where it was not given.
  [[nodiscard]] int64_t Int(std::string_view key, int64_t default_value) const;
};

/// Checks the extra_params of CreateIndex for `field`. They may be flat, or nested under `params` as JSON text, or
/// both. For vectors: no index type, or AUTOINDEX, takes a metric type and nothing else. GPU names: kIndexNotSupported
/// (701).
Result<IndexSpec> ParseIndexParams(const FieldSchema& field, const KeyValues& extra_params);

/// Returns whether DescribeIndex-able property `key` may be changed by AlterIndex; the published error otherwise.
Status ValidateAlterIndexKey(std::string_view key);

/// The metric that an index on this vector field has when none is given.
MetricType DefaultMetric(const FieldSchema& field);
/// Returns the published error where a vector field does not have this metric. Arrays of vectors have those of their
/// vectors (elements are compared, one by one) and the MAX_SIM ones of these (lists are compared).
Status CheckMetric(const FieldSchema& field, std::string_view metric_name);

/// Checked parameters of one search.
struct SearchSpec {
  MetricType metric = MetricType::kNone;  ///< the index's metric
  int64_t round_decimal = -1;             ///< -1 = not rounded, 0..6
  std::optional<float> radius;            ///< range search
  std::optional<float> range_filter;      ///< range search, the inner bound
  bool ignore_growing = false;
  double recall = 0;  ///< share of the true neighbours that an index is to find, 0.8 .. 0.999; 0 = not asked
  KeyValues params;   ///< all others as given, `params` opened

  /// Value of an integer parameter (nprobe, ef, ...), or `default_value` where it was not given.
  [[nodiscard]] int64_t Int(std::string_view key, int64_t default_value) const;
};

/// Checks the search_params of a search on `index`. They may be flat, nested under `params` as JSON text, or both (the
/// nested value wins). Keys of other layers (topk, offset, anns_field, ...) and unknown keys are kept unchecked.
/// A metric_type that is not the index's: `metric type not match`.
Result<SearchSpec> ParseSearchParams(const IndexSpec& index, const KeyValues& search_params, int64_t topk);

/// Opens `params`: every pair, and every member of the JSON object under the key `params`, as a flat list. Members that
/// are not strings are kept as JSON text. A key inside `params` replaces an outer one.
Result<KeyValues> FlattenParams(const KeyValues& pairs);

/// Parses "true"/"false" in any case; nothing else.
std::optional<bool> ParseBool(std::string_view text);

}  // namespace quiver
