// File: index/internal/index_scratch.h
// The work buffers behind IndexScratch: one member per structure, each defined beside the structure.
#pragma once

#include "index/internal/graph_search.h"
#include "index/internal/lists_scratch.h"
#include "index/internal/sparse_index.h"
#include "index/vector_index.h"

namespace quiver::index {

struct IndexScratch::Impl {
  GraphScratch graph;
  ListsScratch lists;
  SparseScratch sparse;
};

}  // namespace quiver::index
