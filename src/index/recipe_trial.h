// File: index/recipe_trial.h
// ChooseRecipe: which of several recipes serves the rows of a segment best, found out by building each over a sample of
// the rows and searching it with others. What a search, the building and the memory will cost over the whole segment is
// foretold from that; the recipe with the least cost, all weighed, is chosen. What the data are like decides, not a
// rule. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "index/tuning.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Segments with fewer rows are not worth a trial.
constexpr uint64_t kLeastTrialRows = 100'000;

struct RecipeChoice {
  size_t chosen = 0;
  std::vector<TriedRecipe> tried;  ///< as the candidates
};

/// Tries the candidates, of which there is one at least, on the rows of a dense vector column. Takes a few percent of
/// the CPU time that building the dearest of them takes. Errors: those of BuildVectorIndex, kCancelled.
Result<RecipeChoice> ChooseRecipe(std::span<const IndexRecipe> candidates, const ColumnView& vectors,
                                  const BuildControl& control);

}  // namespace quiver::index
