// File: index/internal/graph_curve.h
// Measures what walks over a graph find and what they cost with rising room: the curve by which searches choose theirs
// and the planner tells what a walk costs.
// Thread rule: pure functions on a graph that does not change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "index/internal/graph_codes.h"
#include "index/internal/graph_layout.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Neighbours that are looked for, and the least vertices among which that tells anything.
constexpr size_t kMeasuredNearest = 10;
constexpr size_t kLeastMeasured = 2 * kMeasuredNearest;

/// Keys of vertices as exact as codes are: keys[i] of vertex ids[i].
using ExactKeys = std::function<void(const GraphQuery& query, const uint32_t* ids, size_t count, float* keys)>;

/// Searches the graph for each query, with rising room until nearly all is found, and writes what came of it to
/// `curve`. `absent` is empty, or has a vertex for each query that is not to be found by it, nor to be walked over.
/// Returns false where `control` cancelled it.
bool MeasureWalks(const GraphView& view, std::span<const GraphQuery> queries, std::span<const uint32_t> absent,
                  const ExactKeys& keys, const BuildControl& control, std::vector<GraphCurvePoint>& curve);

/// Measures by how much the keys of product codes err where it matters. The graph's own GraphProducts::margin is not
/// read. Returns false where `control` cancelled it. At least kLeastMeasured vertices.
bool MeasureMargin(const GraphView& view, std::span<const GraphQuery> queries, const ExactKeys& keys,
                   const BuildControl& control, GraphMargin& margin);

}  // namespace quiver::index
