// File: codec/kmeans.h
// K-means for inverted lists: trains centres on a sample and finds the nearest centre of rows, in two levels where
// there are many centres.
//
//   codec::KMeans means;
//   QUIVER_ASSIGN_OR_RETURN(means, codec::KMeans::Train(sample, dim, {.centres = 4096, .seed = 1}));
//   means.Assign(rows, count, best, threads);
//
// Distances are squared Euclidean. Groups: centres are numbered so that each group of the upper level is a run of them.
// The same sample, options and instruction set give the same centres, whatever the number of threads.
// Thread rule: a trained KMeans is immutable and may be shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/status.h"
#include "simd/list_kernels.h"

namespace quiver::codec {

struct KMeansOptions {
  size_t centres = 1;
  size_t iterations = 8;  ///< of each level
  size_t polish = 2;      ///< rounds over all centres after the levels were trained apart
  uint64_t seed = 1;
  size_t threads = 1;
  std::function<bool()> cancelled;          ///< may be empty
  std::function<void(double)> on_progress;  ///< share done, may be empty
};

/// Centres packed for products, with |c|^2 / 2 as bias.
class PackedCentres {
 public:
  PackedCentres() = default;
  PackedCentres(const float* centres, size_t count, size_t dim);
  [[nodiscard]] simd::CentrePanels view() const { return {values_.data(), bias_.data(), bias_.size() / kPanel}; }
  [[nodiscard]] size_t padded_count() const { return bias_.size(); }

 private:
  static constexpr size_t kPanel = simd::CentrePanels::kPanel;
  std::vector<float> values_;
  std::vector<float> bias_;
};

class KMeans {
 public:
  /// Trains on `count` rows of `dim` floats, of which there should be some hundred per centre. Fewer rows than centres
  /// give as many centres as rows; there is at least one. Centres that lose all rows are moved to split the largest.
  /// Error: kCancelled.
  static Result<KMeans> Train(const float* rows, size_t count, size_t dim, const KMeansOptions& options);

  [[nodiscard]] size_t size() const { return dim_ == 0 ? 0 : centres_.size() / dim_; }
  [[nodiscard]] size_t dim() const { return dim_; }
  /// Row-major, size() x dim().
  [[nodiscard]] const std::vector<float>& centres() const { return centres_; }

  /// Writes the nearest centre of each row; with two levels one of the nearest groups, which misses the nearest of all
  /// now and then. Rows with NaN go to centre 0.
  void Assign(const float* rows, size_t count, uint32_t* best, size_t threads) const;

 private:
  void Pack();
  void AssignChunk(const float* rows, size_t count, uint32_t* best) const;

  size_t dim_ = 0;
  std::vector<float> centres_;
  std::vector<uint32_t> group_begin_;  ///< first centre of each group, and the end; empty with one level
  std::vector<PackedCentres> groups_;  ///< of each group; one for all with one level
  PackedCentres middles_;              ///< means of the groups' centres
};

}  // namespace quiver::codec
