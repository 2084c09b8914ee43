// File: codec/pq.h
// Product quantisation: a vector is cut into `quantizers` runs of dimensions, and each run is coded by the number of
// the nearest of 16 or 256 centres, which were trained for it. A code takes quantizers * bits / 8 bytes, and nothing
// else is kept of a row; its error is known on average only.
//
//   QUIVER_ASSIGN_OR_RETURN(PqCodebook book, PqCodebook::Train(sample, count, shape, KeyForm::kL2, options));
//   book.Encode(row, codes); PackPqBlock(shape, codes_of_32_rows, 32, block);
//   query.Prepare(book, residual);                       // one lookup per run and centre
//   query.Keys(blocks, block_bytes, count, nullptr, keys);
//
// Keys, smaller is better: the squared distance of the query from what a code stands for (kL2), or the product negated
// (kIp). Four bits are looked up in registers, with entries rounded to bytes; eight bits in a table of floats.
// Thread rule: a trained PqCodebook is immutable and may be shared; a PqQuery belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/status.h"
#include "codec/kmeans.h"
#include "codec/rabitq.h"

namespace quiver::codec {

/// Sizes of codes.
struct PqShape {
  size_t dim = 0;
  size_t quantizers = 0;  ///< 1 .. dim
  size_t bits = 8;        ///< 4 or 8

  [[nodiscard]] size_t centres() const { return size_t{1} << bits; }
  /// First dimension of a run. Where the dimension is no multiple, runs differ by one.
  [[nodiscard]] size_t begin(size_t run) const { return run * dim / quantizers; }
  [[nodiscard]] size_t length(size_t run) const { return begin(run + 1) - begin(run); }
  /// Bytes of 32 rows (simd::ProductKernels).
  [[nodiscard]] size_t block_bytes() const {
    constexpr size_t kBlock = simd::ListKernels::kBlock;
    return bits == 4 ? (quantizers + 1) / 2 * kBlock : quantizers * kBlock;
  }
  [[nodiscard]] bool sound() const { return (bits == 4 || bits == 8) && quantizers >= 1 && quantizers <= dim; }
};

class PqCodebook {
 public:
  /// So many rows are enough to train on.
  static constexpr size_t kTrainingRows = 16384;

  /// Trains on `count` rows of shape.dim floats, of which there should be some ten per centre. Options: seed, threads,
  /// cancelled. The same rows and seed give the same centres, whatever the number of threads. Error: kCancelled.
  static Result<PqCodebook> Train(const float* rows, size_t count, const PqShape& shape, KeyForm form,
                                  const KMeansOptions& options);
  /// From centres(), which has shape.dim * shape.centres() values.
  PqCodebook(const PqShape& shape, KeyForm form, std::span<const float> centres);

  [[nodiscard]] const PqShape& shape() const { return shape_; }
  [[nodiscard]] KeyForm form() const { return form_; }
  /// The serial form: run by run its centres, row-major.
  [[nodiscard]] std::span<const float> centres() const { return centres_; }

  /// Writes the codes of a row, one byte for each run, and returns the squared distance from what they stand for.
  float Encode(const float* row, uint8_t* codes) const;
  /// Writes the shape().dim floats that the codes of a row, one byte for each run, stand for.
  void Decode(const uint8_t* codes, float* values) const;
  /// scores[run * centres + c]: the product of the run with centre c, less half the centre's squared length (kIp: whole
  /// products).
  void Scores(const float* vector, float* scores) const;

 private:
  struct Run {
    std::vector<float> panels, bias, half_norms;
  };
  PqShape shape_;
  KeyForm form_;
  std::vector<float> centres_;
  std::vector<Run> runs_;
};

/// Puts the codes of up to 32 rows, `quantizers` bytes each, into a block; missing rows are zero.
void PackPqBlock(const PqShape& shape, const uint8_t* codes, size_t rows, std::byte* block);

/// A query against rows of one centre.
class PqQuery {
 public:
  /// `vector`: the query less the centre (kL2), or the query itself (kIp). Buffers grow with first use.
  void Prepare(const PqCodebook& book, const float* vector);
  /// Writes 32 keys for each block that has a row in alive[b] (nullptr: each).
  void Keys(const std::byte* blocks, size_t count, const uint32_t* alive, float* keys);
  /// By how much keys err, one standard deviation, since lookups are rounded.
  [[nodiscard]] float rounding() const { return rounding_; }

 private:
  PqShape shape_;
  float base_ = 0;
  float step_ = 0;
  float rounding_ = 0;
  std::vector<float> tables_;
  std::vector<uint8_t> lookup_;
  std::vector<uint16_t> sums_;
};

}  // namespace quiver::codec
