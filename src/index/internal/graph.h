// File: index/internal/graph.h
// The graph structure: vertices are distinct vectors, as SQ8 codes or, of binary vectors, as they are, each with up to
// `degree` links that were pruned so that a greedy walk finds its way; a few thinned-out levels above give it a start
// near the goal.
// Thread rule: as vector_index.h.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "index/internal/index_file.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Builds the file of a graph. Errors: kCancelled; kIndexNotSupported for a codec or type that graphs do not serve.
Result<std::string> BuildGraph(const IndexRecipe& recipe, const ColumnView& vectors, const BuildControl& control);

/// Opens a graph. Error: kCorruption.
Result<std::unique_ptr<VectorIndex>> OpenGraph(IndexFile file);

}  // namespace quiver::index
