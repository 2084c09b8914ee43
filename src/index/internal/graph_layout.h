// File: index/internal/graph_layout.h
// The sections of a graph index file (docs/formats.md), shared by building and opening.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quiver::index {

enum GraphSection : uint32_t {
  kGraphHead = 1,     ///< GraphHead, then upper_levels sizes (u32), largest level first
  kGraphSpace = 2,    ///< CodeSpace::Serialise
  kGraphCoarse = 3,   ///< coarse halves of the codes, vertices * padded_dim / 2 bytes (codec/sq8.h)
  kGraphFactors = 4,  ///< codec::Sq8Factors per vertex
  kGraphLinks = 5,    ///< vertices * degree u32, the rest of a row kNoVertex
  kGraphUpper = 6,    ///< u32: the vertices of the largest upper level, then per level its rows of upper_degree places
  kGraphRows = 7,     ///< absent where vertex i is row i; else vertices + 1 offsets, then the rows of each vertex
  kGraphStrays = 8,   ///< rows compared exactly, ascending
  kGraphZeros = 9,    ///< COSINE: rows without a direction, ascending
  kGraphCurve = 10,   ///< GraphCurvePoint, by rising ef
  kGraphFine = 12,    ///< fine halves, likewise
  kGraphCoarseFactors = 13,  ///< CoarseFactors per vertex
  kGraphBits = 14,  ///< binary vectors, in place of the space, the codes and their factors: dim / 8 bytes per vertex
  kGraphBook = 15,  ///< product codes: codec::ResidualPqCodebook::centres, of padded_dim dimensions
  kGraphProducts = 16,       ///< in place of the coarse and fine halves and the factors: the code of each vertex
  kGraphProductNorms = 17,   ///< per vertex: squared length of what its code stands for (f32)
  kGraphProductMargin = 18,  ///< one GraphMargin
  kGraphStarts = 11,         ///< vertices that every walk begins with, beside the one that the levels lead to
};

struct GraphHead {
  uint32_t version = 1;
  uint32_t vertices = 0;
  uint32_t degree = 0;
  uint32_t padded_dim = 0;
  uint32_t upper_degree = 0;
  uint32_t upper_levels = 0;
  uint32_t entry = 0;  ///< vertex where walks begin when there is no upper level
};

/// What a walk with `ef` gives and costs, measured at build on perturbed rows.
struct GraphCurvePoint {
  uint32_t ef = 0;
  float recall = 0;     ///< of the 10 nearest
  float distances = 0;  ///< code distances per query
};

/// By how much keys of product codes err, measured at build on the same rows.
struct GraphMargin {
  float margin = 0;      ///< GraphProducts::margin
  float candidates = 0;  ///< vertices within it of the key of the 10th best
};

}  // namespace quiver::index
