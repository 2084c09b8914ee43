// File: bench/data_sets.h
// Deterministic data sets for benchmarks, made here so that no run needs a download.
//
// Data E ("embeddings"): unit vectors from a two-level mixture. 40 super-topics hold clusters, rows choose clusters by
// Zipf (exponent .8); centres and rows are Gaussian in a latent space of 96 dimensions whose spectrum falls as i^-.55,
// projected to `dim` dimensions, plus isotropic noise (.35). Queries are held-out rows of the same mixture. The same
// seed gives the same bytes on every machine with IEEE floats and the same libm.
// Data H ("hard"): 100,000 x 768, 300 clusters, 256 latent dimensions of slowly falling spectrum, much noise.
// Data M ("many"): 1,000,000 x 128, 6,000 clusters, 64 latent dimensions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace quiver::bench {

/// Row-major float vectors.
struct Vectors {
  size_t rows = 0;
  size_t dim = 0;
  std::vector<float> values;

  [[nodiscard]] const float* row(size_t i) const { return values.data() + i * dim; }
};

/// Base rows and queries of one mixture.
struct DataSet {
  Vectors base;
  Vectors queries;
};

/// What a mixture looks like; the defaults are data E.
struct MixtureOptions {
  size_t rows = 200000;
  size_t queries = 1000;
  size_t dim = 384;
  size_t super_topics = 40;
  size_t clusters = 2000;
  size_t latent = 96;
  double decay = 0.55;
  double noise = 0.35;
  double zipf = 0.8;
  double spread = 0.55;  ///< of rows around their cluster's centre; centres have size 1
  uint64_t seed = 7;
};

/// The options of data set E, H or M. Error 1100 for another name.
Result<MixtureOptions> OptionsOf(const std::string& name);

/// Makes a data set; about 25 microseconds per row at the defaults.
DataSet MakeMixture(const MixtureOptions& options);

/// File form (".fbin"): u32 rows, u32 dim, then the values, little-endian.
Status WriteVectors(const Vectors& vectors, const std::string& path);
Result<Vectors> ReadVectors(const std::string& path);

}  // namespace quiver::bench
