// File: index/internal/postings_index.h
// The scalar index over postings: exact answers from the values themselves.
#pragma once

#include <memory>

#include "index/internal/file_index.h"
#include "index/internal/postings.h"

namespace quiver::index {

/// `rounded`: JSON numbers that no double holds stand in it as the nearest one, or texts as the number they hold.
std::unique_ptr<ScalarIndex> MakePostingsIndex(IndexBase base, bool rounded, const Postings& postings);

}  // namespace quiver::index
