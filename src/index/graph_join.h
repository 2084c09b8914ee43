// File: index/graph_join.h
// Building the graph of a segment out of the graphs of the segments that its rows come from: sealed ones that are
// merged or rewritten without their deleted rows, a growing one that is sealed.
//
//   std::vector<JoinSource> sources = {{.sealed = &large, .new_rows = rows_of_large}, {.sealed = &small, ...}};
//   QUIVER_ASSIGN_OR_RETURN(JoinedGraph graph, JoinGraphs(recipe, merged_column, sources, control));
//
// Links are reused, codes are made anew (their space is fitted to the rows that there are now). The outcome is a graph
// like any other, in the file form of one; what it costs is a fraction of a build (docs/performance.md).
// Thread rule: a plain function; sources may be searched meanwhile. Of a growing one that is linked meanwhile, some
// of its links are taken.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"
#include "index/growing_graph.h"
#include "index/vector_index.h"

namespace quiver::index {

/// A graph over rows of which some are in the new column.
struct JoinSource {
  const VectorIndex* sealed = nullptr;    ///< one of the two
  const GrowingGraph* growing = nullptr;  ///< one of the two
  /// Of each of its rows: the row of the new column, or kNoRow where it is left out. No row comes twice.
  std::span<const uint32_t> new_rows{};
};

struct JoinedGraph {
  std::string bytes;             ///< as of BuildVectorIndex
  uint32_t joined_vertices = 0;  ///< that came with links; 0: it was built from nothing
};

/// As BuildVectorIndex, of a recipe whose structure is the graph. Sources that are no graphs, that were built by
/// another recipe or that cannot be read are passed over, and so are all where most rows come from none: that is a
/// build from nothing. Same rows, recipe and sources on one thread: same bytes.
Result<JoinedGraph> JoinGraphs(const IndexRecipe& recipe, const ColumnView& vectors,
                               std::span<const JoinSource> sources, const BuildControl& control);

}  // namespace quiver::index
