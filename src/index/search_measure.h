// File: index/search_measure.h
// Measuring searches of an index: queries with the scores that their true neighbours have, and what one way of
// searching finds of them at what cost. Recall counts by score: a hit that scores no worse than the true k-th is one of
// the k nearest, whichever of several equal rows it is.
//
//   QUIVER_ASSIGN_OR_RETURN(MeasureSet set, SampleRows(recipe, vectors, 256, 10, seed, cancelled));
//   QUIVER_ASSIGN_OR_RETURN(Measured at, MeasureSearch(index, vectors, set, {.k = 10, .ef = 64}));
//
// Thread rule: a MeasureSet is immutable once made and may be shared; the functions keep no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/status.h"
#include "index/flat_search.h"
#include "index/vector_index.h"

namespace quiver::index {

/// CPU seconds of the calling thread.
double ThreadCpuSeconds();

/// Queries and the answers they should get.
struct MeasureSet {
  FlatQueries queries;
  size_t width = 0;           ///< neighbours known of each query; fewer rows: the rest is NaN
  std::vector<float> truth;   ///< scores of the true neighbours, queries * width, best first
  std::vector<uint32_t> own;  ///< the row that each query is a copy of, which is no neighbour of it; empty: none is
};

/// One row out of each of `count` pieces of the column, chosen by `seed`; null rows are left out.
std::vector<uint32_t> SpreadRows(const ColumnView& vectors, size_t count, uint64_t seed);

/// Takes rows of the column as queries, spread over it by `seed`, and scans for their `width` nearest others. Rows with
/// an exact copy are left out unless nearly all have one. Only dense and binary vectors. Error: kCancelled.
Result<MeasureSet> SampleRows(const IndexRecipe& recipe, const ColumnView& vectors, size_t count, size_t width,
                              uint64_t seed, const std::function<bool()>& cancelled);

/// A set of queries whose neighbours are known by number, `width` for each query; those not below vectors.rows stand
/// for neighbours that do not exist.
MeasureSet KnownNeighbours(FlatQueries queries, const ColumnView& vectors, std::span<const int64_t> rows, size_t width);
/// A set of queries whose neighbours an exact scan finds. Error: kCancelled.
Result<MeasureSet> ScanNeighbours(FlatQueries queries, const ColumnView& vectors, size_t width,
                                  const std::function<bool()>& cancelled);

/// What a way of searching gives.
struct Measured {
  double recall = 0;       ///< share of the k nearest that were found
  double error = 0;        ///< its standard error, by how it differs between queries
  double nanoseconds = 0;  ///< CPU time of a query
};

/// Searches the first `most` queries of the set one by one, each as if the row it is a copy of were not there.
/// options.k <= set.width. Errors: those of VectorIndex::Search.
Result<Measured> MeasureSearch(const VectorIndex& index, const ColumnView& vectors, const MeasureSet& set,
                               const IndexSearchOptions& options, size_t most = SIZE_MAX);

}  // namespace quiver::index
