// File: engine/index_recipe.h
// The table of index names: what each published name and its parameters mean as structure x codec.
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/collection_info.h"
#include "index/vector_index.h"

namespace quiver::engine {

/// What to build for an index on `field`; nothing for names whose searches scan (FLAT, BIN_FLAT), for metrics that no
/// structure serves, and for scalar and sparse fields. Parameters that the client did not give are chosen by us; they
/// need not be the published defaults. Whether the structure exists is for index::BuildVectorIndex to say.
std::optional<index::IndexRecipe> RecipeOf(const FieldSchema& field, const IndexInfo& index);

/// Bytes of memory that building such an index over so many rows takes, the finished file included; an estimate.
uint64_t BuildMemory(const index::IndexRecipe& recipe, uint64_t rows);

}  // namespace quiver::engine
