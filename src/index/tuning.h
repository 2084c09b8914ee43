// File: index/tuning.h
// IndexTuning: how hard one index must be searched for a wanted recall, measured on the index itself. Its file stands
// beside the index's (docs/formats.md, "Tuning files"), for what it holds depends on the clock: the bytes of the index
// do not. An index without one is searched by the estimate made at its build.
//
//   QUIVER_ASSIGN_OR_RETURN(IndexTuning tuning, MeasureTuning(*index, vectors, build_seconds, cancelled));
//   WriteFile(TuningName(index_name), tuning.Serialise());
//   index->Search(queries, 0, vectors, filter, tuning.Apply({.k = 10, .recall = 0.95}), ...);
//
// How it is measured: rows of the segment are the queries. A stored row is too easy a query: it is its own nearest
// neighbour, and a walk that meets it finds its other neighbours written down beside it. So each is searched as if it
// were not there: it counts as no neighbour, and walks pass it by. What is measured then is the recall of a new vector
// of the same kind as those stored. Queries of another kind than the rows (texts searched by pictures) may find less.
// Thread rule: immutable once made; may be shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "index/search_measure.h"
#include "index/vector_index.h"

namespace quiver::index {

/// One way of searching for k rows, and what it gave.
struct TuningPoint {
  uint32_t k = 0;
  uint32_t effort = 0;  ///< ef of a graph, nprobe of lists
  uint32_t refine = 0;  ///< as IndexSearchOptions::refine
  float recall = 0;
  float error = 0;        ///< standard error of the recall
  float nanoseconds = 0;  ///< CPU time of a query
};

/// What was tried before an index of this recipe was chosen (index/recipe_trial.h).
struct TriedRecipe {
  IndexStructure structure = IndexStructure::kGraph;
  IndexCodec codec = IndexCodec::kSq8;
  uint32_t code_bits = 0;
  bool chosen = false;
  float recall = 0;               ///< on the sample
  float nanoseconds = 0;          ///< CPU time of a query on the sample at this recall
  float segment_nanoseconds = 0;  ///< the same, foretold for the segment
  float build_seconds = 0;        ///< CPU time to build it over the segment, foretold
  float row_bytes = 0;            ///< of the file, for each row
  float cost = 0;                 ///< all of these weighed; the least is chosen
};

/// "a graph" or "lists with 7 bits".
std::string DescribeTried(const TriedRecipe& tried);

/// The name of the tuning file of an index file or object.
inline std::string TuningName(std::string_view index_name) { return std::string(index_name) + ".tune"; }

class IndexTuning {
 public:
  /// `points` are ordered by k, then by rising effort.
  IndexTuning(IndexStructure structure, uint32_t rows, uint32_t samples, std::vector<TuningPoint> points)
      : structure_(structure), rows_(rows), samples_(samples), points_(std::move(points)) {}

  /// Reads a file. Error: kCorruption with `name`.
  static Result<IndexTuning> Parse(std::string_view bytes, std::string_view name);
  [[nodiscard]] std::string Serialise() const;

  [[nodiscard]] IndexStructure structure() const { return structure_; }
  [[nodiscard]] uint32_t rows() const { return rows_; }
  [[nodiscard]] uint32_t samples() const { return samples_; }
  [[nodiscard]] std::span<const TuningPoint> points() const { return points_; }
  [[nodiscard]] std::span<const TriedRecipe> tried() const { return tried_; }
  void SetTried(std::vector<TriedRecipe> tried) { tried_ = std::move(tried); }

  /// Puts the effort that the wanted recall takes into the options. Options without a recall, and such that say ef of a
  /// graph or nprobe of lists, come back as they are. The recall is reached with a margin of 1.5 standard errors of
  /// what was measured.
  [[nodiscard]] IndexSearchOptions Apply(IndexSearchOptions options) const;

 private:
  struct Effort {
    double effort = 0;
    uint32_t refine = 0;
  };
  [[nodiscard]] Effort EffortAt(std::span<const TuningPoint> points, double recall) const;

  IndexStructure structure_;
  uint32_t rows_;
  uint32_t samples_;
  std::vector<TuningPoint> points_;
  std::vector<TriedRecipe> tried_;
};

/// Returns whether there is something to measure: not where an index is exact, nor in a few rows.
bool IsTunable(const IndexRecipe& recipe, uint64_t rows);

/// Searches as `options` say, with rising effort, until `recall` is reached with the margin that IndexTuning takes, the
/// index is searched whole, or `most_seconds` of CPU time are spent. Errors: those of VectorIndex::Search, kCancelled.
Result<std::vector<TuningPoint>> SweepEfforts(const VectorIndex& index, const ColumnView& vectors,
                                              const MeasureSet& set, const IndexSearchOptions& options, double recall,
                                              double most_seconds);

/// Measures an index over `vectors`, which must be tunable. Takes about a second of CPU time, or a thirtieth of
/// `build_seconds` where that is more. Errors: those of VectorIndex::Search, kCancelled.
Result<IndexTuning> MeasureTuning(const VectorIndex& index, const ColumnView& vectors, double build_seconds,
                                  const std::function<bool()>& cancelled);

}  // namespace quiver::index
