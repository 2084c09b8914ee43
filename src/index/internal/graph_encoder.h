// File: index/internal/graph_encoder.h
// GraphEncoder: what the vertices of a graph are compared by while it is built, and the sections of its file that walks
// compare by afterwards. One form for each codec:
//
//   kSq8   dense vectors: points of a CodeSpace as bytes (codec/sq8.h), cut into coarse and fine halves at the end
//   kPq    the same points as bytes while links are made, since better codes make better links; at the end, codes of
//          few bytes, trained on these points (codec/residual_pq.h)
//   kRaw   binary vectors: the bits themselves; distances are the scores of the metric
// Thread rule: Encode may be called by several threads for different vertices; the rest by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "codec/residual_pq.h"
#include "index/internal/build_crew.h"
#include "index/internal/code_space.h"
#include "index/internal/graph_codes.h"
#include "index/internal/index_file.h"
#include "index/vector_index.h"

namespace quiver::index {

/// The next of a row of random numbers that `state` determines.
uint64_t NextRandom(uint64_t& state);

class GraphEncoder {
 public:
  virtual ~GraphEncoder() = default;

  /// What each row of the column is to the graph. Known from the beginning.
  [[nodiscard]] const std::vector<RowKind>& kinds() const { return kinds_; }
  /// Makes room for the codes of so many vertices.
  virtual void Reserve(uint32_t vertices, size_t threads) = 0;
  /// Encodes row `row`, of kind kPoint, as `vertex`; `thread` numbers the caller.
  virtual void Encode(uint32_t vertex, uint32_t row, size_t thread) = 0;
  /// The codes of all vertices, once they are encoded.
  [[nodiscard]] virtual GraphPoints points() const = 0;
  /// Whether vertices are compared by product, so that the nearest of all are the longest.
  [[nodiscard]] virtual bool by_product() const { return false; }
  /// GraphHead::padded_dim.
  [[nodiscard]] virtual uint32_t padded_dim() const { return 0; }

  /// Lays the codes out as they are walked. Error: kCancelled.
  virtual Status LayOut(BuildCrew& crew) = 0;
  /// What walks compare by, after LayOut. GraphProducts::margin is not known to it.
  [[nodiscard]] virtual WalkPoints walk_points() const = 0;
  /// A query at about this distance from a vertex, by points().Distances; where vertices are compared by product, at
  /// half its length. Lives as long as the encoder.
  virtual GraphQuery QueryNear(uint32_t vertex, float distance, uint64_t& random) = 0;
  /// keys[i] of vertex ids[i], as exact as codes are.
  virtual void Keys(const GraphQuery& query, const uint32_t* ids, size_t count, float* keys) const = 0;
  /// Adds the sections of the codes.
  virtual void Write(IndexFileWriter& writer) const = 0;

 protected:
  std::vector<RowKind> kinds_;
};

/// What product codes a recipe with codec kPq wants.
codec::ResidualPqShape ProductShapeOf(const IndexRecipe& recipe, size_t padded_dim);
/// What of a recipe is built over so many rows: product codes need some rows for each centre, and 8-bit codes take less
/// than their centres would where there are fewer.
IndexRecipe RecipeOver(const IndexRecipe& recipe, size_t rows);

/// Returns whether there is an encoder for the recipe.
bool GraphEncodes(const IndexRecipe& recipe);
/// The encoder of a recipe that GraphEncodes. The arguments must outlive it.
std::unique_ptr<GraphEncoder> MakeGraphEncoder(const IndexRecipe& recipe, const ColumnView& vectors);
/// The kernel whose distances are the scores of a metric on binary vectors.
simd::BinaryKernels::Function BitDistance(MetricType metric);

}  // namespace quiver::index
