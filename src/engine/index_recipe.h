// File: engine/index_recipe.h
// What each published index name and its parameters mean: for vectors the table of names as structure x codec, for
// scalar fields what is looked up. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/collection_info.h"
#include "index/recipe_trial.h"
#include "index/scalar_index.h"
#include "index/vector_index.h"

namespace quiver::engine {

/// What to build for an index on `field`; nothing for names whose searches scan (FLAT, BIN_FLAT), for metrics that no
/// structure serves, and for scalar and sparse fields. Parameters that the client did not give are chosen by us; they
/// need not be the published defaults. Whether the structure exists is for index::BuildVectorIndex to say.
std::optional<index::IndexRecipe> RecipeOf(const FieldSchema& field, const IndexInfo& index);

/// What may be built over `rows` rows for an index whose recipe is `recipe`: where more than one is possible, a trial
/// on the rows decides (index/recipe_trial.h). AUTOINDEX on dense vectors leaves the choice open; other names, and
/// fewer rows than `least_rows`, mean `recipe`.
std::vector<index::IndexRecipe> CandidatesOf(const index::IndexRecipe& recipe, const IndexInfo& index, uint64_t rows,
                                             uint64_t least_rows = index::kLeastTrialRows);

/// What to build for an index on a scalar field; nothing for what is recorded only: a path that cannot be parsed. NGRAM
/// means grams of three bytes, whatever its parameters; RTREE, and AUTOINDEX on GEOMETRY, mean boxes; the cast type
/// JSON means documents; all other names mean postings.
std::optional<index::ScalarRecipe> ScalarRecipeOf(const CollectionSchema& schema, const FieldSchema& field,
                                                  const IndexInfo& index);

/// Keys from the root of a JSON field to the place that the parameter `json_path` names, written as in filters; none
/// where it is not given or names the field itself. Positions of arrays are keys of digits. Error: kInvalidParameter
/// where it cannot be parsed or names another field.
Result<std::vector<std::string>> JsonPathOf(const CollectionSchema& schema, const FieldSchema& field,
                                            const KeyValues& params);
/// The keys as a JSON pointer ("/a/b"), by which the published server names indexes.
std::string JsonPointer(std::span<const std::string> keys);

/// The parameter `json_cast_type` in capitals; empty where it is not given.
std::string CastTypeOf(const IndexInfo& index);

/// What to build over a segment.
using SegmentRecipe = std::variant<index::IndexRecipe, index::ScalarRecipe>;
std::optional<SegmentRecipe> SegmentRecipeOf(const CollectionSchema& schema, const IndexInfo& index);

/// Bytes of memory that building such an index over the rows of `column` takes, the finished file included; an
/// estimate.
uint64_t BuildMemory(const index::IndexRecipe& recipe, const ColumnView& column);
/// Bytes that building takes beyond that for each row of a graph whose links it takes over; those of growing graphs are
/// copied.
inline uint64_t JoinMemoryPerRow(const index::IndexRecipe& recipe, bool copied) {
  return (copied ? uint64_t{recipe.degree} * 6 : 0) + 24;
}

}  // namespace quiver::engine
