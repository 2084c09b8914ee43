#include "index/vector_index.h"

#include <algorithm>

#include "index/internal/coded_stream.h"
#include "index/internal/graph.h"
#include "index/internal/index_file.h"
#include "index/internal/index_scratch.h"
#include "index/internal/lists.h"
#include "index/internal/sparse_index.h"

namespace quiver::index {

IndexScratch::IndexScratch() : impl_(std::make_unique<Impl>()) {}
IndexScratch::IndexScratch(IndexScratch&&) noexcept = default;
IndexScratch& IndexScratch::operator=(IndexScratch&&) noexcept = default;
IndexScratch::~IndexScratch() = default;

std::string_view SearchPlanName(SearchPlan plan) {
  switch (plan) {
    case SearchPlan::kScoreMatches: return "score matches";
    case SearchPlan::kScanCodes: return "scan codes";
    case SearchPlan::kWalk: return "walk";
    case SearchPlan::kWalkThrough: return "walk through";
    case SearchPlan::kProbe: return "probe lists";
    case SearchPlan::kPostings: return "sum postings";
  }
  return "";
}

Status VectorIndex::SearchBatch(const FlatQueries& queries, const ColumnView& vectors, const RowFilter& filter,
                                const IndexSearchOptions& options, uint64_t first_row, std::span<TopK> results,
                                IndexScratch& scratch, IndexCounters& counters) const {
  for (size_t query = 0; query < queries.nq(); ++query) {
    QUIVER_RETURN_IF_ERROR(
        Search(queries, query, vectors, filter, options, first_row, results[query], scratch, counters));
  }
  return Status::Ok();
}

Result<std::unique_ptr<HitStream>> VectorIndex::OpenStream(const FlatQueries& queries, size_t query,
                                                           const ColumnView& vectors, const RowFilter& filter,
                                                           const StreamOptions& options, uint64_t first_row) const {
  return OpenScoringStream({queries, query, vectors, filter, options, first_row});
}

uint64_t VectorIndex::rows_to_score(size_t k) const {
  constexpr uint64_t kFew = 2000;
  return std::max<uint64_t>(kFew, 2 * k);
}

Result<std::string> BuildVectorIndex(const IndexRecipe& recipe, const ColumnView& vectors,
                                     const BuildControl& control) {
  // One case per structure that exists.
  if (recipe.structure == IndexStructure::kGraph) return BuildGraph(recipe, vectors, {}, control);
  if (recipe.structure == IndexStructure::kLists) return BuildLists(recipe, vectors, control);
  if (recipe.structure == IndexStructure::kInverted) return BuildSparse(recipe, vectors, control);
  return Error(StatusCode::kIndexNotSupported, "no structure serves index structure {} with codec {}",
               static_cast<int>(recipe.structure), static_cast<int>(recipe.codec));
}

Result<std::unique_ptr<VectorIndex>> OpenVectorIndex(std::string_view bytes, std::string_view name) {
  QUIVER_ASSIGN_OR_RETURN(IndexFile file, IndexFile::Open(bytes, name));
  if (file.recipe().structure == IndexStructure::kGraph) return OpenGraph(std::move(file));
  if (file.recipe().structure == IndexStructure::kLists) return OpenLists(std::move(file));
  if (file.recipe().structure == IndexStructure::kInverted) return OpenSparse(std::move(file));
  return file.Damaged("its structure is not known");
}

}  // namespace quiver::index
