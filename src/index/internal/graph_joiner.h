// File: index/internal/graph_joiner.h
// GraphJoiner: puts the links of graphs that are there into the base level of a new one, so that what they found out
// about near neighbours is not looked for again.
//
// The graph with the most vertices is taken over as it is. The others follow one by one: a walk over what is joined so
// far looks for the neighbours of each vertex there, beginning where those of its old neighbours were found, so that
// little room is enough; pruning chooses from these and from its old links; those that it links to link back. So a
// vertex costs a fraction of what it costs to find all of its neighbours from far away (as merges of Lucene's graphs
// do, "MergingHnswGraphBuilder", which here keep the old links too).
//
// A vertex that is left out (its rows were dropped) is repaired around: who linked to it gets its links to choose from
// (IP-DiskANN, arXiv 2502.13826).
// Thread rule: of the building thread, as BuildCrew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "index/internal/build_crew.h"
#include "index/internal/build_level.h"

namespace quiver::index {

/// The links of a graph that is there.
struct GraphLinks {
  GraphLinks() = default;
  GraphLinks(GraphLinks&&) = default;
  GraphLinks& operator=(GraphLinks&&) = default;

  uint32_t degree = 0;              ///< places of each vertex
  std::span<const uint32_t> links;  ///< degree of each vertex, the rest of a row kNoVertex; in `copied`, or elsewhere
  std::vector<uint32_t> copied;
  bool by_product = false;  ///< what vertices were compared by
  /// Of each vertex: its row in the new column, or kNoVertex where it is left out; to the joiner its new vertex.
  std::vector<uint32_t> target;

  [[nodiscard]] uint32_t size() const { return static_cast<uint32_t>(target.size()); }
  [[nodiscard]] std::span<const uint32_t> row(uint32_t vertex) const {
    return links.subspan(size_t{vertex} * degree, degree);
  }
};

class GraphJoiner {
 public:
  /// `ef`: room of walks that look for links from far away. `order`: the vertices in random order.
  GraphJoiner(BuildLevel& base, BuildCrew& crew, float alpha, size_t ef, std::span<const uint32_t> order);

  /// Joins the sources, largest first. Error: kCancelled.
  Status Join(std::vector<GraphLinks>& sources, double progress_from, double progress_to);

 private:
  static constexpr uint32_t kNobody = 0xffffffff;

  /// Whether the vertex has links by now.
  [[nodiscard]] bool joined(uint32_t vertex) const { return owner_[vertex] != kNobody; }

  Status TakeOver(const GraphLinks& source, uint32_t number, double progress_from, double progress_to);
  Status Connect(const GraphLinks& source, uint32_t number, double progress_from, double progress_to);
  bool TakeRow(LinkScratch& scratch, const GraphLinks& source, uint32_t vertex, bool prune);
  template <typename Whom>
  void LinkAllBack(LinkScratch& scratch, uint32_t vertex, const Whom& whom);
  void FindAcross(LinkScratch& scratch, uint32_t vertex, uint32_t number, std::span<const uint32_t> far);
  [[nodiscard]] std::vector<uint32_t> InOrder(const GraphLinks& source, uint32_t number);

  BuildLevel& base_;
  BuildCrew& crew_;
  const float alpha_;
  const size_t ef_;
  const size_t near_ef_;  ///< of walks that begin near their goal
  const std::span<const uint32_t> order_;
  std::vector<uint32_t> owner_;    ///< of each vertex: the source that it came with
  std::vector<uint8_t> repaired_;  ///< of each vertex: whether neighbours of it were left out
};

}  // namespace quiver::index
