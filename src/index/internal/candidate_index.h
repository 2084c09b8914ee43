// File: index/internal/candidate_index.h
// Scalar indexes that name candidates, which are then evaluated: grams of texts, boxes of geometries.
#pragma once

#include <memory>

#include "index/internal/box_tree.h"
#include "index/internal/file_index.h"
#include "index/internal/postings.h"

namespace quiver::index {

/// Serves `like` with a run of literal text anywhere. The postings are of grams (index/internal/grams.h).
std::unique_ptr<ScalarIndex> MakeGramIndex(IndexBase base, const Postings& postings);
/// Serves the relations of geometries.
std::unique_ptr<ScalarIndex> MakeBoxIndex(IndexBase base, BoxTree tree);

}  // namespace quiver::index
