// File: codec/residual_pq.h
// Residual product quantisation: a vector is cut into runs of dimensions (codec/pq.h), and each run is coded in stages,
// each the nearest of the centres that were trained on what the stages before leave over (residual vector quantisation:
// Chen, Guan, Wang 2010; one of the additive codes of Babenko and Lempitsky 2014). A vector stands for the sum of its
// centres; one stage is plain product quantisation. Stages are coded one after another, each by the nearest centre.
//
//   QUIVER_ASSIGN_OR_RETURN(auto book, ResidualPqCodebook::Train(sample, count, {{dim, 8, 8}, 2}, options));
//   const float norm = book.Encode(vector, codes, work);              // 16 bytes
//   query.Prepare(book, vector);
//   simd::Products().sum_rows(query.lookup(), book.shape().row_bytes(), codes, ids, count, products);
//
// A row's product with the query is a sum of lookups, one for each byte of its code, rows in any order; with the
// squared length of what the code stands for, kept beside it, that gives distances too. Thread rule: a trained
// ResidualPqCodebook is immutable and may be shared; ResidualPqQuery and work buffers belong to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "codec/kmeans.h"
#include "codec/pq.h"

namespace quiver::codec {

struct ResidualPqShape {
  PqShape runs;
  size_t stages = 1;

  static constexpr size_t kMostStages = 64;

  /// Codes of a row: those of the first stage run by run, then those of the next.
  [[nodiscard]] size_t codes() const { return stages * runs.quantizers; }
  /// Codes of eight bits take a byte each; of four bits, two follow each other in one, the first in its low half.
  [[nodiscard]] size_t row_bytes() const { return runs.bits == 8 ? codes() : (codes() + 1) / 2; }
  /// Floats of ResidualPqCodebook::centres.
  [[nodiscard]] size_t centre_values() const { return stages * runs.dim * runs.centres(); }
  [[nodiscard]] bool sound() const { return runs.sound() && stages >= 1 && stages <= kMostStages; }
};

class ResidualPqCodebook {
 public:
  /// Work buffers of one thread.
  struct Work {
    std::vector<float> left, decoded;
    std::vector<uint8_t> codes;
  };

  /// Trains on `count` rows of shape.runs.dim floats as PqCodebook::Train, stage by stage. Error: kCancelled.
  static Result<ResidualPqCodebook> Train(const float* rows, size_t count, const ResidualPqShape& shape,
                                          const KMeansOptions& options);
  /// From centres(), which has shape.centre_values() values.
  ResidualPqCodebook(const ResidualPqShape& shape, std::span<const float> centres);

  [[nodiscard]] const ResidualPqShape& shape() const { return shape_; }
  /// The serial form: stage by stage as PqCodebook::centres.
  [[nodiscard]] std::vector<float> centres() const;
  /// Bytes that it takes.
  [[nodiscard]] size_t memory_bytes() const { return 2 * shape_.centre_values() * sizeof(float); }

  /// Writes the shape().row_bytes() of a row's code and returns the squared length of what it stands for.
  float Encode(const float* row, std::byte* code, Work& work) const;
  /// Writes the shape().runs.dim floats that a code stands for.
  void Decode(const std::byte* code, float* values, Work& work) const;

 private:
  friend class ResidualPqQuery;
  explicit ResidualPqCodebook(const ResidualPqShape& shape) : shape_(shape) {}
  /// Encodes by one stage what work.left holds and takes that out of it.
  void Take(size_t stage, Work& work) const;

  ResidualPqShape shape_;
  std::vector<PqCodebook> stages_;
};

/// Lookups of one query.
class ResidualPqQuery {
 public:
  void Prepare(const ResidualPqCodebook& book, const float* vector);
  /// The product of the query with what byte b of a code stands for: lookup()[b * 256 + byte]. For simd::Products.
  [[nodiscard]] const float* lookup() const { return lookup_.data(); }
  [[nodiscard]] size_t memory_bytes() const { return (lookup_.capacity() + halves_.capacity()) * sizeof(float); }

 private:
  std::vector<float> lookup_;
  std::vector<float> halves_;  ///< of codes of four bits, before two are joined
};

}  // namespace quiver::codec
