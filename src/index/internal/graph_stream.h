// File: index/internal/graph_stream.h
// The stream of hits of a graph. It walks with an open frontier, and what lies nearer than all of the frontier is
// settled: scored and ready to be given. When that has cost as much as comparing the codes of all rows would, or where
// hits must come in exact order, it compares them all by their whole codes, whose errors are bounded, and scores those
// that may come next.
// Thread rule: belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "index/internal/coded_stream.h"
#include "index/internal/graph_search.h"

namespace quiver::index {

/// An encoded query that owns its codes, and what bounds need.
struct GraphStreamQuery {
  std::vector<int8_t> codes;
  std::vector<std::byte> bits;      ///< of binary vectors, in place of all the rest
  codec::ResidualPqQuery products;  ///< in place of the codes
  QueryTerms terms;
  bool by_product = false;
  float norm = 0;         ///< squared length of the encoded query
  float error = 0;        ///< its distance from the query
  float order_slack = 0;  ///< by which keys may differ in order from scores beyond what encoding does

  [[nodiscard]] GraphQuery query() const {
    if (!bits.empty()) return GraphQuery(bits.data());
    if (codes.empty()) {
      GraphQuery query;
      query.terms = query.lookup_terms = terms;
      query.lookup = products.lookup();
      return query;
    }
    return {codes.data(), codes.size(), terms};
  }
};

/// A graph and a query on it, as a stream uses them.
struct GraphStreamPlan {
  const GraphView& view;
  VertexFilter matches;
  uint64_t matching = 0;  ///< rows
  std::span<const uint32_t> strays, zeros;
  GraphStreamQuery query;
  bool walk = true;   ///< false: all codes are compared at once
  size_t ahead = 0;   ///< rows settled beyond those that are given
  size_t budget = 0;  ///< distances of the walk
};

std::unique_ptr<HitStream> OpenGraphStream(StreamCall call, GraphStreamPlan plan);

}  // namespace quiver::index
