// File: index/internal/sparse_index.h
// Inverted index over the dimensions of sparse vectors: for every dimension the rows that hold it, with their values.
// Rows come in windows of kSparseWindow; a query adds up its dimensions' postings window by window, in ascending order
// of dimension and in double precision, which are the very sums of an exact scan, and passes over windows whose best
// possible sum (greatest value of each dimension in the window) is not enough. Block-max pruning after Ding and Suel,
// "Faster Top-k Document Retrieval Using Block-Max Indexes", SIGIR 2011.
// Thread rule: as of VectorIndex.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "index/internal/index_file.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Rows of a window: their sums stay in the second-level cache.
constexpr uint32_t kSparseWindow = 8192;

/// Section ids; counts in values of the type named.
enum SparseSection : uint32_t {
  kSparseHeader = 1,   ///< SparseHeader
  kSparseDims = 2,     ///< u32[dims], ascending
  kSparseBegin = 3,    ///< u32[dims + 1]: first run of each dimension
  kSparseRuns = 4,     ///< SparseRun[runs], by dimension, then by window
  kSparseOffsets = 5,  ///< u16[postings]: row number less that of the window's first row
  kSparseValues = 6,   ///< float[postings]
};

struct SparseHeader {
  uint32_t dims = 0;
  uint32_t runs = 0;
  uint64_t postings = 0;
};

/// The postings of one dimension in one window, in row order.
struct SparseRun {
  uint64_t begin = 0;  ///< first posting
  uint32_t count = 0;
  uint32_t window = 0;
  float least = 0;  ///< of the values
  float most = 0;
};
static_assert(sizeof(SparseRun) == 24);

/// Work buffers of a search.
struct SparseScratch {
  struct Term {
    const SparseRun* run;
    double weight;
  };
  std::vector<double> sums;     ///< of the rows of a window; untouched between searches
  std::vector<uint32_t> begin;  ///< per window: its first term
  std::vector<Term> terms;      ///< by window, then by dimension
  std::vector<double> bounds;   ///< per window: no row's sum is greater
  std::vector<uint32_t> order;  ///< windows, best bound first
};

/// Builds the index over a sparse column, codec kRaw, metric IP. Errors: as of BuildVectorIndex.
Result<std::string> BuildSparse(const IndexRecipe& recipe, const ColumnView& vectors, const BuildControl& control);

/// Opens what BuildSparse wrote. Error: kCorruption.
Result<std::unique_ptr<VectorIndex>> OpenSparse(IndexFile file);

}  // namespace quiver::index
