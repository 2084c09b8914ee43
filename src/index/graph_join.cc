#include "index/graph_join.h"

#include <new>
#include <utility>
#include <vector>

#include "index/internal/graph.h"

namespace quiver::index {
namespace {

/// Whether links of one are of use to the other. All links between dense vectors are made by codes of eight bits,
/// whatever is walked by.
bool SameLinks(const IndexRecipe& a, const IndexRecipe& b) {
  return a.structure == b.structure && a.type == b.type && a.dim == b.dim && a.metric == b.metric &&
         a.degree == b.degree;
}

}  // namespace

Result<JoinedGraph> JoinGraphs(const IndexRecipe& recipe, const ColumnView& vectors,
                               std::span<const JoinSource> sources, const BuildControl& control) {
  std::vector<GraphLinks> links;
  try {
    for (const JoinSource& source : sources) {
      const IndexRecipe& theirs = source.sealed != nullptr ? source.sealed->recipe() : source.growing->recipe();
      if (!SameLinks(recipe, theirs)) continue;
      auto taken =
          source.sealed != nullptr ? LinksOf(*source.sealed, source.new_rows) : source.growing->Links(source.new_rows);
      if (taken.ok()) links.push_back(*std::move(taken));
    }
  } catch (const std::bad_alloc&) {
    return Error(StatusCode::kMemoryLimit, "no memory to join graphs over {} rows", vectors.rows);
  }
  JoinedGraph joined;
  QUIVER_ASSIGN_OR_RETURN(joined.bytes,
                          BuildGraph(recipe, vectors, std::move(links), control, &joined.joined_vertices));
  return joined;
}

}  // namespace quiver::index
