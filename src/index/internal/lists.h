// File: index/internal/lists.h
// Inverted lists: rows grouped by the nearest of some hundred to some ten thousand centres, in blocks of 32, raw (by
// row number alone) or with RaBitQ codes. See lists_layout.h for the file.
// Thread rule: as of VectorIndex.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "index/internal/index_file.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Builds lists over dense vectors with codec kRaw, kSq8 (8 bits per dimension) or kRabitq (recipe.code_bits), or over
/// binary vectors with kRaw. Errors: as of BuildVectorIndex.
Result<std::string> BuildLists(const IndexRecipe& recipe, const ColumnView& vectors, const BuildControl& control);

/// Opens what BuildLists wrote. Error: kCorruption.
Result<std::unique_ptr<VectorIndex>> OpenLists(IndexFile file);

}  // namespace quiver::index
