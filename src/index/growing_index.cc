#include "index/growing_index.h"

#include <utility>

#include "index/growing_graph.h"
#include "index/growing_lists.h"

namespace quiver::index {

bool GrowingIndex::Serves(const IndexRecipe& recipe) {
  return GrowingGraph::Serves(recipe) || GrowingLists::Serves(recipe);
}

Result<std::unique_ptr<GrowingIndex>> GrowingIndex::Make(const IndexRecipe& recipe, uint32_t capacity,
                                                         const ColumnView& sample, bool lengths_differ) {
  if (recipe.structure == IndexStructure::kLists) {
    QUIVER_ASSIGN_OR_RETURN(auto lists, GrowingLists::Make(recipe, capacity, sample, lengths_differ));
    return std::unique_ptr<GrowingIndex>(std::move(lists));
  }
  QUIVER_ASSIGN_OR_RETURN(auto graph, GrowingGraph::Make(recipe, capacity, sample, lengths_differ));
  return std::unique_ptr<GrowingIndex>(std::move(graph));
}

}  // namespace quiver::index
