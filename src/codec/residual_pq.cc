#include "codec/residual_pq.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <utility>

namespace quiver::codec {
namespace {

/// Entries of the lookup of a byte.
constexpr size_t kByte = 256;
constexpr size_t kNibble = 16;
/// Rows that a thread takes at a time.
constexpr size_t kRowsAtOnce = 256;

}  // namespace

ResidualPqCodebook::ResidualPqCodebook(const ResidualPqShape& shape, std::span<const float> centres) : shape_(shape) {
  const size_t values = shape.runs.dim * shape.runs.centres();
  for (size_t s = 0; s < shape.stages; ++s) {
    stages_.emplace_back(shape.runs, KeyForm::kIp, centres.subspan(s * values, values));
  }
}

Result<ResidualPqCodebook> ResidualPqCodebook::Train(const float* rows, size_t count, const ResidualPqShape& shape,
                                                     const KMeansOptions& options) {
  ResidualPqCodebook book(shape);
  const size_t dim = shape.runs.dim;
  std::vector<float> left(rows, rows + count * dim);
  for (size_t s = 0; s < shape.stages; ++s) {
    KMeansOptions some = options;
    some.seed = options.seed + s * shape.runs.quantizers;
    QUIVER_ASSIGN_OR_RETURN(PqCodebook stage, PqCodebook::Train(left.data(), count, shape.runs, KeyForm::kIp, some));
    book.stages_.push_back(std::move(stage));
    if (s + 1 == shape.stages) break;
    std::atomic<size_t> next{0};
    const auto work = [&] {
      Work buffers;
      for (size_t first = next.fetch_add(kRowsAtOnce); first < count; first = next.fetch_add(kRowsAtOnce)) {
        for (size_t i = first; i < std::min(count, first + kRowsAtOnce); ++i) {
          float* row = left.data() + i * dim;
          buffers.left.assign(row, row + dim);
          book.Take(s, buffers);
          std::copy(buffers.left.begin(), buffers.left.end(), row);
        }
      }
    };
    std::vector<std::jthread> helpers;
    for (size_t t = 1; t < options.threads; ++t) helpers.emplace_back(work);
    work();
  }
  return book;
}

std::vector<float> ResidualPqCodebook::centres() const {
  std::vector<float> all;
  all.reserve(shape_.centre_values());
  for (const PqCodebook& stage : stages_) all.insert(all.end(), stage.centres().begin(), stage.centres().end());
  return all;
}

void ResidualPqCodebook::Take(size_t stage, Work& work) const {
  const size_t dim = shape_.runs.dim;
  work.codes.resize(shape_.codes());
  work.decoded.resize(dim);
  uint8_t* codes = work.codes.data() + stage * shape_.runs.quantizers;
  stages_[stage].Encode(work.left.data(), codes);
  stages_[stage].Decode(codes, work.decoded.data());
  for (size_t d = 0; d < dim; ++d) work.left[d] -= work.decoded[d];
}

float ResidualPqCodebook::Encode(const float* row, std::byte* code, Work& work) const {
  const size_t dim = shape_.runs.dim;
  work.left.assign(row, row + dim);
  for (size_t s = 0; s < shape_.stages; ++s) Take(s, work);
  if (shape_.runs.bits == 8) {
    std::memcpy(code, work.codes.data(), shape_.codes());
  } else {
    std::fill_n(code, shape_.row_bytes(), std::byte{0});
    for (size_t i = 0; i < shape_.codes(); ++i) code[i / 2] |= std::byte{work.codes[i]} << (i % 2 * 4);
  }
  Decode(code, work.decoded.data(), work);
  double norm = 0;
  for (const float value : work.decoded) norm += static_cast<double>(value) * static_cast<double>(value);
  return static_cast<float>(norm);
}

void ResidualPqCodebook::Decode(const std::byte* code, float* values, Work& work) const {
  const size_t dim = shape_.runs.dim;
  work.codes.resize(shape_.codes());
  for (size_t i = 0; i < shape_.codes(); ++i) {
    work.codes[i] = shape_.runs.bits == 8 ? static_cast<uint8_t>(code[i])
                                          : static_cast<uint8_t>((code[i / 2] >> (i % 2 * 4)) & std::byte{15});
  }
  work.left.resize(dim);
  stages_[0].Decode(work.codes.data(), values);
  for (size_t s = 1; s < shape_.stages; ++s) {
    stages_[s].Decode(work.codes.data() + s * shape_.runs.quantizers, work.left.data());
    for (size_t d = 0; d < dim; ++d) values[d] += work.left[d];
  }
}

void ResidualPqQuery::Prepare(const ResidualPqCodebook& book, const float* vector) {
  const ResidualPqShape& shape = book.shape();
  const size_t of_stage = shape.runs.quantizers * shape.runs.centres();
  lookup_.resize(shape.row_bytes() * kByte);
  if (shape.runs.bits == 8) {
    for (size_t s = 0; s < shape.stages; ++s) book.stages_[s].Scores(vector, lookup_.data() + s * of_stage);
    return;
  }
  // A code that is missing in the last byte adds nothing.
  halves_.assign(2 * shape.row_bytes() * kNibble, 0.0f);
  for (size_t s = 0; s < shape.stages; ++s) book.stages_[s].Scores(vector, halves_.data() + s * of_stage);
  for (size_t b = 0; b < shape.row_bytes(); ++b) {
    const float* low = halves_.data() + 2 * b * kNibble;
    float* pairs = lookup_.data() + b * kByte;
    for (size_t high = 0; high < kNibble; ++high) {
      for (size_t c = 0; c < kNibble; ++c) pairs[high * kNibble + c] = low[c] + low[kNibble + high];
    }
  }
}

}  // namespace quiver::codec
