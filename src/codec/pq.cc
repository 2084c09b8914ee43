#include "codec/pq.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "simd/kernels.h"
#include "simd/product_kernels.h"

namespace quiver::codec {
namespace {

constexpr size_t kPanel = simd::CentrePanels::kPanel;
constexpr size_t kBlock = simd::ListKernels::kBlock;
/// Sums of rounded lookups must fit 16 bits.
constexpr size_t kMostSum = 65535;
/// Blocks whose sums are kept at once.
constexpr size_t kBlocksAtOnce = 16;

}  // namespace

PqCodebook::PqCodebook(const PqShape& shape, KeyForm form, std::span<const float> centres)
    : shape_(shape), form_(form), centres_(centres.begin(), centres.end()), runs_(shape.quantizers) {
  const size_t count = shape.centres();
  for (size_t j = 0; j < shape.quantizers; ++j) {
    const size_t length = shape.length(j);
    const float* from = centres_.data() + shape.begin(j) * count;
    Run& run = runs_[j];
    run.panels.resize(count * length);
    run.bias.assign(count, 0.0f);
    run.half_norms.resize(count);
    for (size_t c = 0; c < count; ++c) {
      float norm = 0;
      for (size_t d = 0; d < length; ++d) {
        const float value = from[c * length + d];
        norm += value * value;
        run.panels[(c / kPanel * length + d) * kPanel + c % kPanel] = value;
      }
      run.half_norms[c] = norm / 2;
      if (form == KeyForm::kL2) run.bias[c] = norm / 2;
    }
  }
}

Result<PqCodebook> PqCodebook::Train(const float* rows, size_t count, const PqShape& shape, KeyForm form,
                                     const KMeansOptions& options) {
  std::vector<float> centres(shape.dim * shape.centres(), 0.0f);
  std::atomic<size_t> next{0};
  std::atomic<bool> stopped{false};
  const auto work = [&] {
    std::vector<float> part;
    for (size_t j = next++; j < shape.quantizers && !stopped; j = next++) {
      const size_t begin = shape.begin(j);
      const size_t length = shape.length(j);
      part.resize(count * length);
      for (size_t i = 0; i < count; ++i) {
        std::copy_n(rows + i * shape.dim + begin, length, part.data() + i * length);
      }
      KMeansOptions some = options;
      some.centres = shape.centres();
      some.seed = options.seed + j;
      some.threads = 1;
      some.on_progress = {};
      const Result<KMeans> means = KMeans::Train(part.data(), count, length, some);
      if (!means.ok()) {
        stopped = true;
        return;
      }
      // Fewer rows than centres give fewer; those missing repeat the first.
      float* to = centres.data() + begin * shape.centres();
      for (size_t c = 0; c < shape.centres(); ++c) {
        const size_t from = c < means->size() ? c : 0;
        std::copy_n(means->centres().data() + from * length, length, to + c * length);
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (size_t t = 1; t < std::min(options.threads, shape.quantizers); ++t) helpers.emplace_back(work);
    work();
  }
  if (stopped) return Error(StatusCode::kCancelled, "training product codes was cancelled");
  return PqCodebook(shape, form, centres);
}

float PqCodebook::Encode(const float* row, uint8_t* codes) const {
  double error = 0;
  for (size_t j = 0; j < shape_.quantizers; ++j) {
    const size_t length = shape_.length(j);
    const float* part = row + shape_.begin(j);
    uint32_t best = 0;
    float score = -std::numeric_limits<float>::infinity();
    const Run& run = runs_[j];
    simd::Kernels().lists->nearest({part, length, 1, nullptr},
                                   {run.panels.data(), run.half_norms.data(), shape_.centres() / kPanel}, length, 0,
                                   &best, &score);
    codes[j] = static_cast<uint8_t>(best);
    const float* centre = centres_.data() + shape_.begin(j) * shape_.centres() + best * length;
    for (size_t d = 0; d < length; ++d) {
      const auto apart = static_cast<double>(part[d] - centre[d]);
      error += apart * apart;
    }
  }
  return static_cast<float>(error);
}

void PqCodebook::Decode(const uint8_t* codes, float* values) const {
  for (size_t j = 0; j < shape_.quantizers; ++j) {
    const size_t length = shape_.length(j);
    std::copy_n(centres_.data() + shape_.begin(j) * shape_.centres() + codes[j] * length, length,
                values + shape_.begin(j));
  }
}

void PqCodebook::Scores(const float* vector, float* scores) const {
  const size_t count = shape_.centres();
  for (size_t j = 0; j < shape_.quantizers; ++j) {
    const size_t length = shape_.length(j);
    simd::Kernels().lists->scores({vector + shape_.begin(j), length, 1, nullptr},
                                  {runs_[j].panels.data(), runs_[j].bias.data(), count / kPanel}, length,
                                  scores + j * count, count);
  }
}

void PackPqBlock(const PqShape& shape, const uint8_t* codes, size_t rows, std::byte* block) {
  std::fill_n(block, shape.block_bytes(), std::byte{0});
  for (size_t r = 0; r < rows; ++r) {
    for (size_t j = 0; j < shape.quantizers; ++j) {
      const uint8_t code = codes[r * shape.quantizers + j];
      if (shape.bits == 8) {
        block[j * kBlock + r] = std::byte{code};
      } else {
        block[j * 16 + r % 16] |= std::byte{code} << (r / 16 * 4);
      }
    }
  }
}

void PqQuery::Prepare(const PqCodebook& book, const float* vector) {
  shape_ = book.shape();
  const size_t count = shape_.centres();
  const size_t groups = shape_.bits == 4 ? (shape_.quantizers + 1) / 2 * 2 : shape_.quantizers;
  tables_.resize(groups * count);
  book.Scores(vector, tables_.data());
  const float weight = book.form() == KeyForm::kL2 ? -2.0f : -1.0f;
  for (size_t i = 0; i < shape_.quantizers * count; ++i) tables_[i] *= weight;
  base_ = rounding_ = 0;
  if (book.form() == KeyForm::kL2) {
    simd::Kernels().f32.norm({reinterpret_cast<const std::byte*>(vector), shape_.dim * sizeof(float), 1, nullptr},
                             shape_.dim, &base_);
  }
  if (shape_.bits == 8) return;
  std::fill(tables_.begin() + static_cast<std::ptrdiff_t>(shape_.quantizers * count), tables_.end(), 0.0f);
  float widest = 0;
  for (size_t j = 0; j < groups; ++j) {
    const auto [least, most] = std::minmax_element(tables_.data() + j * count, tables_.data() + (j + 1) * count);
    widest = std::max(widest, *most - *least);
  }
  const auto largest = static_cast<float>(std::clamp<size_t>(kMostSum / groups, 1, 255));
  step_ = widest > 0 ? widest / largest : 1.0f;
  rounding_ = step_ * std::sqrt(static_cast<float>(shape_.quantizers) / 12);
  lookup_.resize(groups * count);
  const float inverse = 1 / step_;
  for (size_t j = 0; j < groups; ++j) {
    const float* table = tables_.data() + j * count;
    const float least = *std::min_element(table, table + count);
    base_ += least;
    for (size_t c = 0; c < count; ++c) {
      lookup_[j * count + c] = static_cast<uint8_t>(std::min((table[c] - least) * inverse + 0.5f, largest));
    }
  }
}

void PqQuery::Keys(const std::byte* blocks, size_t count, const uint32_t* alive, float* keys) {
  const simd::ProductKernels& kernels = simd::Products();
  const size_t bytes = shape_.block_bytes();
  if (shape_.bits == 8) {
    kernels.sum_bytes(tables_.data(), shape_.quantizers, blocks, bytes, count, alive, keys);
    for (size_t i = 0; i < count * kBlock; ++i) keys[i] += base_;
    return;
  }
  sums_.resize(kBlocksAtOnce * kBlock);
  for (size_t first = 0; first < count; first += kBlocksAtOnce) {
    const size_t some = std::min(kBlocksAtOnce, count - first);
    kernels.sum_nibbles(lookup_.data(), lookup_.size() / 16, blocks + first * bytes, bytes, some,
                        alive == nullptr ? nullptr : alive + first, sums_.data());
    float* out = keys + first * kBlock;
    for (size_t i = 0; i < some * kBlock; ++i) out[i] = base_ + step_ * static_cast<float>(sums_[i]);
  }
}

}  // namespace quiver::codec
