#include "data_sets.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numbers>

namespace quiver::bench {
namespace {

/// SplitMix64 and Box-Muller: unlike the standard library's distributions, the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// In (0, 1).
  double Uniform() { return (static_cast<double>(Next() >> 11) + 0.5) * 0x1p-53; }
  float Normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    const auto radius = static_cast<float>(std::sqrt(-2 * std::log(Uniform())));
    const auto angle = static_cast<float>(2 * std::numbers::pi * Uniform());
    spare_ = radius * std::sin(angle);
    has_spare_ = true;
    return radius * std::cos(angle);
  }

 private:
  uint64_t state_;
  float spare_ = 0;
  bool has_spare_ = false;
};

class Mixture {
 public:
  explicit Mixture(const MixtureOptions& options) : options_(options), random_(options.seed) {
    double total = 0;
    spectrum_.resize(options.latent);
    for (size_t i = 0; i < options.latent; ++i) {
      spectrum_[i] = static_cast<float>(std::pow(static_cast<double>(i + 1), -options.decay));
      total += static_cast<double>(spectrum_[i]) * static_cast<double>(spectrum_[i]);
    }
    for (float& s : spectrum_) s = static_cast<float>(static_cast<double>(s) / std::sqrt(total));
    basis_.resize(options.latent * options.dim);
    const auto size = static_cast<float>(1 / std::sqrt(static_cast<double>(options.dim)));
    for (float& value : basis_) value = random_.Normal() * size;

    std::vector<float> topics(options.super_topics * options.latent);
    for (size_t i = 0; i < topics.size(); ++i) topics[i] = random_.Normal() * spectrum_[i % options.latent];
    centres_.resize(options.clusters * options.latent);
    for (size_t c = 0; c < options.clusters; ++c) {
      const size_t topic = random_.Next() % options.super_topics;
      for (size_t i = 0; i < options.latent; ++i) {
        centres_[c * options.latent + i] =
            0.632f * topics[topic * options.latent + i] + 0.775f * random_.Normal() * spectrum_[i];
      }
    }
    double sum = 0;
    for (size_t c = 0; c < options.clusters; ++c) {
      sum += std::pow(static_cast<double>(c + 1), -options.zipf);
      shares_.push_back(sum);
    }
  }

  Vectors Draw(size_t rows) {
    Vectors vectors;
    vectors.rows = rows;
    vectors.dim = options_.dim;
    vectors.values.resize(rows * options_.dim);
    std::vector<float> latent(options_.latent);
    const auto spread = static_cast<float>(options_.spread);
    const auto noise = static_cast<float>(options_.noise / std::sqrt(static_cast<double>(options_.dim)));
    for (size_t r = 0; r < rows; ++r) {
      const double at = random_.Uniform() * shares_.back();
      const auto cluster = static_cast<size_t>(std::lower_bound(shares_.begin(), shares_.end(), at) - shares_.begin());
      for (size_t i = 0; i < options_.latent; ++i) {
        latent[i] = centres_[cluster * options_.latent + i] + spread * random_.Normal() * spectrum_[i];
      }
      float* out = vectors.values.data() + r * options_.dim;
      for (size_t d = 0; d < options_.dim; ++d) out[d] = noise * random_.Normal();
      for (size_t i = 0; i < options_.latent; ++i) {
        const float* axis = basis_.data() + i * options_.dim;
        for (size_t d = 0; d < options_.dim; ++d) out[d] += latent[i] * axis[d];
      }
      double norm = 0;
      for (size_t d = 0; d < options_.dim; ++d) norm += static_cast<double>(out[d]) * static_cast<double>(out[d]);
      const auto inverse = static_cast<float>(1 / std::sqrt(norm));
      for (size_t d = 0; d < options_.dim; ++d) out[d] *= inverse;
    }
    return vectors;
  }

 private:
  MixtureOptions options_;
  Random random_;
  std::vector<float> spectrum_;  ///< standard deviation per latent dimension, squares sum to 1
  std::vector<float> basis_;     ///< latent x dim
  std::vector<float> centres_;   ///< clusters x latent
  std::vector<double> shares_;   ///< running sum of the clusters' weights
};

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

Result<MixtureOptions> OptionsOf(const std::string& name) {
  MixtureOptions options;
  if (name == "E") return options;
  if (name == "H") {
    options.rows = 100000;
    options.dim = 768;
    options.clusters = 300;
    options.latent = 256;
    options.decay = 0.25;
    options.noise = 0.8;
    return options;
  }
  if (name == "M") {
    options.rows = 1000000;
    options.dim = 128;
    options.clusters = 6000;
    options.latent = 64;
    options.noise = 0.45;
    return options;
  }
  return InvalidParameter("there is no data set '{}'; expected E, H or M", name);
}

DataSet MakeMixture(const MixtureOptions& options) {
  Mixture mixture(options);
  DataSet data;
  data.base = mixture.Draw(options.rows);
  data.queries = mixture.Draw(options.queries);
  return data;
}

Status WriteVectors(const Vectors& vectors, const std::string& path) {
  std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "wb"));
  if (file == nullptr) return Error(StatusCode::kIo, "cannot open {}", path);
  const uint32_t head[2] = {static_cast<uint32_t>(vectors.rows), static_cast<uint32_t>(vectors.dim)};
  const bool written =
      std::fwrite(head, sizeof(head), 1, file.get()) == 1 &&
      std::fwrite(vectors.values.data(), 4, vectors.values.size(), file.get()) == vectors.values.size() &&
      std::fflush(file.get()) == 0;
  return written ? Status::Ok() : Error(StatusCode::kIo, "cannot write {}", path);
}

Result<Vectors> ReadVectors(const std::string& path) {
  std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) return Error(StatusCode::kIo, "cannot open {}", path);
  uint32_t head[2] = {};
  if (std::fread(head, sizeof(head), 1, file.get()) != 1) return Error(StatusCode::kIo, "{} is too short", path);
  Vectors vectors;
  vectors.rows = head[0];
  vectors.dim = head[1];
  vectors.values.resize(vectors.rows * vectors.dim);
  if (std::fread(vectors.values.data(), 4, vectors.values.size(), file.get()) != vectors.values.size()) {
    return Error(StatusCode::kIo, "{} is too short", path);
  }
  return vectors;
}

}  // namespace quiver::bench
