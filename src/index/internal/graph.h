// File: index/internal/graph.h
// The graph structure: vertices are distinct vectors, as SQ8 codes, product codes or, of binary vectors, as they are,
// each with up to `degree` links that were pruned so that a greedy walk finds its way; a few thinned-out levels above
// give it a start near the goal. Thread rule: as vector_index.h.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "index/internal/graph_joiner.h"
#include "index/internal/index_file.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Builds the file of a graph. `sources`: graphs over some of these rows, whose links are taken over where that helps;
/// their targets are rows. `joined`, where it is given, receives how many vertices came with links. Errors: kCancelled;
/// kIndexNotSupported for a codec or type that graphs do not serve. Where there are too few rows to train product codes
/// on, the file has SQ8 codes, as its recipe says.
Result<std::string> BuildGraph(const IndexRecipe& recipe, const ColumnView& vectors, std::vector<GraphLinks> sources,
                               const BuildControl& control, uint32_t* joined = nullptr);

/// The links of an open graph. `new_rows`: of each of its rows the row of the new column, or kNoRow. Errors:
/// kCorruption; kIndexNotSupported where the index is no graph.
Result<GraphLinks> LinksOf(const VectorIndex& index, std::span<const uint32_t> new_rows);

/// Opens a graph. Error: kCorruption.
Result<std::unique_ptr<VectorIndex>> OpenGraph(IndexFile file);

}  // namespace quiver::index
