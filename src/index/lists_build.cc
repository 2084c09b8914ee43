#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <thread>
#include <utility>

#include "codec/kmeans.h"
#include "codec/pq.h"
#include "codec/rotation.h"
#include "index/internal/lists.h"
#include "index/internal/lists_layout.h"
#include "index/internal/lists_plan.h"
#include "simd/kernels.h"

namespace quiver::index {

RowReader::RowReader(const IndexRecipe& recipe, const ColumnView& vectors)
    : vectors_(vectors), dim_(static_cast<size_t>(recipe.dim)), cosine_(recipe.metric == MetricType::kCosine) {}

bool RowReader::Read(uint32_t row, float* out) const {
  if (vectors_.IsNull(row)) return false;
  const std::byte* at = vectors_.fixed + row * vectors_.width;
  const simd::KernelTable& kernels = simd::Kernels();
  switch (vectors_.type) {
    case DataType::kInt8Vector:
      for (size_t d = 0; d < dim_; ++d) out[d] = static_cast<float>(static_cast<int8_t>(at[d]));
      break;
    case DataType::kFloat16Vector: kernels.f16_to_f32(at, dim_, out); break;
    case DataType::kBFloat16Vector: kernels.bf16_to_f32(at, dim_, out); break;
    default: std::memcpy(out, at, dim_ * sizeof(float)); break;
  }
  float norm2 = 0;
  kernels.f32.norm({reinterpret_cast<const std::byte*>(out), dim_ * sizeof(float), 1, nullptr}, dim_, &norm2);
  if (!SafeNorm(static_cast<double>(norm2), cosine_)) return false;
  if (cosine_) {
    const auto inverse = static_cast<float>(1 / std::sqrt(static_cast<double>(norm2)));
    for (size_t d = 0; d < dim_; ++d) out[d] *= inverse;
  }
  return true;
}

namespace {

/// Rows of the sample per list.
constexpr size_t kSamplePerList = 100;
/// Rows that are read and assigned at once.
constexpr size_t kRowChunk = 4096;
constexpr size_t kCurveQueries = 200;

Status Cancelled() { return Error(StatusCode::kCancelled, "building the index was cancelled"); }

struct ListsPlaces {
  std::vector<uint32_t> begin, sizes, ids;
};

struct ListsBuilder {
  const IndexRecipe& recipe;
  const ColumnView& vectors;
  const BuildControl& control;

  RowReader reader{recipe, vectors};
  size_t field_dim = reader.dim();
  codec::Rotation rotation{field_dim, recipe.seed};
  size_t dim = rotation.padded_dim();
  codec::KeyForm form = recipe.metric == MetricType::kIp ? codec::KeyForm::kIp : codec::KeyForm::kL2;

  ListsHeader header;
  std::vector<uint32_t> listed;  ///< rows, ascending
  std::vector<uint32_t> loose;
  std::vector<float> mean;
  std::vector<float> centres;     ///< rotated
  std::vector<uint32_t> list_of;  ///< of listed[i]
  ListsPlaces places;
  std::vector<float> adds;  ///< of centres, see RankWeight

  [[nodiscard]] bool cancelled() const { return control.cancelled && control.cancelled(); }
  void Report(double share) const {
    if (control.on_progress) control.on_progress(share);
  }

  /// Runs task(i, thread) for i < count on the build's threads until one is cancelled.
  template <class Task>
  void ForEach(size_t count, const Task& task) const {
    std::atomic<size_t> next{0};
    const auto work = [&] {
      for (size_t i = next.fetch_add(1); i < count && !cancelled(); i = next.fetch_add(1)) task(i);
    };
    std::vector<std::thread> helpers;
    for (size_t t = 1; t < std::min(control.threads, count); ++t) helpers.emplace_back(work);
    work();
    for (std::thread& helper : helpers) helper.join();
  }

  void Sort();
  Status Cluster();
  Status Assign(const codec::KMeans& means);
  Status Encode(IndexFileWriter& writer);
  Status EncodeProducts(IndexFileWriter& writer);
  /// The rotated residual of listed row `row` from a centre, dim floats. `plain` is a buffer of field_dim.
  void ReadResidual(uint32_t row, uint32_t list, float* plain, float* out) const {
    ReadShifted(row, plain);
    rotation.Apply(plain, out);
    const float* centre = centres.data() + size_t{list} * dim;
    for (size_t d = 0; d < dim; ++d) out[d] -= centre[d];
  }
  void AddCentres(IndexFileWriter& writer);
  void MeasureSpread(const std::vector<float>& centre_norms);
  void AddCurve(IndexFileWriter& writer);
  void ReadShifted(uint32_t row, float* out) const {
    reader.Read(row, out);
    for (size_t d = 0; d < field_dim; ++d) out[d] -= mean[d];
  }
  Result<std::string> Run();
};

/// Tells rows that lists can hold from loose ones.
void ListsBuilder::Sort() {
  std::vector<float> row(field_dim);
  for (uint32_t i = 0; i < vectors.rows; ++i) {
    if (vectors.IsNull(i)) continue;
    (reader.Read(i, row.data()) ? listed : loose).push_back(i);
  }
}

Status ListsBuilder::Cluster() {
  const size_t nlist = ChooseLists(recipe, listed.size());
  // Every n-th row in a shuffled order would do as well; this keeps the sample in the order of rows.
  const size_t wanted = std::min(listed.size(), std::max<size_t>(nlist * kSamplePerList, 4096));
  std::vector<float> sample(wanted * field_dim);
  std::vector<double> sum(field_dim, 0.0);
  for (size_t i = 0; i < wanted; ++i) {
    const size_t place =
        static_cast<size_t>(static_cast<double>(i) * static_cast<double>(listed.size()) / static_cast<double>(wanted));
    float* row = sample.data() + i * field_dim;
    reader.Read(listed[place], row);
    for (size_t d = 0; d < field_dim; ++d) sum[d] += static_cast<double>(row[d]);
  }
  mean.resize(field_dim);
  for (size_t d = 0; d < field_dim; ++d) {
    mean[d] = wanted == 0 ? 0.0f : static_cast<float>(sum[d] / static_cast<double>(wanted));
  }
  for (size_t i = 0; i < wanted; ++i) {
    for (size_t d = 0; d < field_dim; ++d) sample[i * field_dim + d] -= mean[d];
  }
  codec::KMeansOptions options;
  options.centres = nlist;
  options.seed = recipe.seed;
  options.threads = control.threads;
  options.cancelled = control.cancelled;
  options.on_progress = [this](double share) { Report(0.6 * share); };
  QUIVER_ASSIGN_OR_RETURN(const codec::KMeans means, codec::KMeans::Train(sample.data(), wanted, field_dim, options));
  sample = {};
  header.nlist = static_cast<uint32_t>(means.size());
  centres.resize(means.size() * dim);
  for (size_t c = 0; c < means.size(); ++c) {
    rotation.Apply(means.centres().data() + c * field_dim, centres.data() + c * dim);
  }
  return Assign(means);
}

Status ListsBuilder::Assign(const codec::KMeans& means) {
  list_of.resize(listed.size());
  const size_t chunks = (listed.size() + kRowChunk - 1) / kRowChunk;
  std::atomic<size_t> finished{0};
  ForEach(chunks, [&](size_t chunk) {
    const size_t first = chunk * kRowChunk;
    const size_t count = std::min(kRowChunk, listed.size() - first);
    std::vector<float> rows(count * field_dim);
    for (size_t i = 0; i < count; ++i) ReadShifted(listed[first + i], rows.data() + i * field_dim);
    means.Assign(rows.data(), count, list_of.data() + first, 1);
    ++finished;
  });
  if (finished < chunks) return Cancelled();
  Report(0.75);
  return Status::Ok();
}

/// Gives every listed row its place and writes the places.
void LayOut(const std::vector<uint32_t>& listed, const std::vector<uint32_t>& list_of, ListsHeader& header,
            ListsPlaces& places) {
  places.sizes.assign(header.nlist, 0);
  for (uint32_t list : list_of) ++places.sizes[list];
  places.begin.assign(header.nlist + 1, 0);
  for (size_t l = 0; l < header.nlist; ++l) {
    places.begin[l + 1] = places.begin[l] + static_cast<uint32_t>((places.sizes[l] + kListBlock - 1) / kListBlock);
  }
  places.ids.assign(places.begin.back() * kListBlock, 0);
  std::vector<size_t> at(header.nlist);
  for (size_t l = 0; l < header.nlist; ++l) at[l] = places.begin[l] * kListBlock;
  for (size_t i = 0; i < listed.size(); ++i) places.ids[at[list_of[i]]++] = listed[i];
  header.blocks = places.begin.back();
  header.listed = static_cast<uint32_t>(listed.size());
}

void AddPlaces(const ListsPlaces& places, IndexFileWriter& writer) {
  writer.AddValues<uint32_t>(kListsBegin, places.begin);
  writer.AddValues<uint32_t>(kListsSizes, places.sizes);
  writer.AddValues<uint32_t>(kListsIds, places.ids);
}

Status ListsBuilder::Encode(IndexFileWriter& writer) {
  const codec::RabitqShape shape{dim, header.bits};
  std::string blocks(header.blocks * shape.block_bytes(), '\0');
  std::string rows(header.blocks * kListBlock * shape.row_bytes(), '\0');
  // Runs of lists; what they write lies apart.
  constexpr size_t kListsAtOnce = 16;
  const size_t runs = (header.nlist + kListsAtOnce - 1) / kListsAtOnce;
  std::vector<codec::RabitqSpread> spreads(runs);
  std::atomic<size_t> finished{0};
  ForEach(runs, [&](size_t run) {
    codec::RabitqEncoder encoder(shape, form);
    std::vector<float> row(field_dim);
    std::vector<float> residuals(kListBlock * dim);
    for (size_t l = run * kListsAtOnce; l < std::min<size_t>(header.nlist, (run + 1) * kListsAtOnce); ++l) {
      const float* centre = centres.data() + l * dim;
      for (size_t b = places.begin[l]; b < places.begin[l + 1]; ++b) {
        const size_t count = std::min<size_t>(kListBlock, places.sizes[l] - (b - places.begin[l]) * kListBlock);
        for (size_t r = 0; r < count; ++r) {
          ReadResidual(places.ids[b * kListBlock + r], static_cast<uint32_t>(l), row.data(),
                       residuals.data() + r * dim);
        }
        encoder.EncodeBlock(residuals.data(), count, centre, places.ids.data() + b * kListBlock,
                            reinterpret_cast<std::byte*>(blocks.data()) + b * shape.block_bytes(),
                            reinterpret_cast<std::byte*>(rows.data()) + b * kListBlock * shape.row_bytes());
      }
    }
    spreads[run] = encoder.spread();
    ++finished;
  });
  if (finished < runs) return Cancelled();
  codec::RabitqSpread spread;
  for (const codec::RabitqSpread& part : spreads) spread.Merge(part);
  header.sign_error = spread.sign_error;
  header.code_norm = spread.code_norm;
  writer.Add(kListsBlocks, std::move(blocks));
  writer.Add(kListsRows, std::move(rows));
  return Status::Ok();
}

/// Trains product codes on residuals of a sample and writes those of all rows.
Status ListsBuilder::EncodeProducts(IndexFileWriter& writer) {
  const codec::PqShape shape{dim, recipe.quantizers, header.bits};
  const size_t wanted = std::min(listed.size(), codec::PqCodebook::kTrainingRows);
  std::vector<float> sample(wanted * dim);
  std::vector<float> plain(field_dim);
  for (size_t i = 0; i < wanted; ++i) {
    const size_t at = i * listed.size() / wanted;
    ReadResidual(listed[at], list_of[at], plain.data(), sample.data() + i * dim);
  }
  codec::KMeansOptions options;
  options.seed = recipe.seed;
  options.threads = control.threads;
  options.cancelled = control.cancelled;
  QUIVER_ASSIGN_OR_RETURN(const codec::PqCodebook book,
                          codec::PqCodebook::Train(sample.data(), wanted, shape, form, options));
  sample = {};
  Report(0.85);
  std::string blocks(header.blocks * shape.block_bytes(), '\0');
  std::vector<double> errors(header.nlist, 0.0);
  std::atomic<size_t> finished{0};
  ForEach(header.nlist, [&](size_t l) {
    std::vector<float> row(field_dim);
    std::vector<float> residual(dim);
    std::vector<uint8_t> codes(kListBlock * shape.quantizers);
    for (size_t b = places.begin[l]; b < places.begin[l + 1]; ++b) {
      const size_t count = std::min<size_t>(kListBlock, places.sizes[l] - (b - places.begin[l]) * kListBlock);
      for (size_t r = 0; r < count; ++r) {
        ReadResidual(places.ids[b * kListBlock + r], static_cast<uint32_t>(l), row.data(), residual.data());
        errors[l] += static_cast<double>(book.Encode(residual.data(), codes.data() + r * shape.quantizers));
      }
      codec::PackPqBlock(shape, codes.data(), count,
                         reinterpret_cast<std::byte*>(blocks.data()) + b * shape.block_bytes());
    }
    ++finished;
  });
  if (finished < header.nlist) return Cancelled();
  const double error = std::accumulate(errors.begin(), errors.end(), 0.0);
  header.sign_error = static_cast<float>(std::sqrt(error / static_cast<double>(std::max<size_t>(listed.size(), 1))));
  writer.Add(kListsBlocks, std::move(blocks));
  writer.AddValues<float>(kListsBook, book.centres());
  return Status::Ok();
}

/// What ranks lists for IP: the mean squared residual of each, and the norm of rows.
void ListsBuilder::MeasureSpread(const std::vector<float>& centre_norms) {
  std::vector<double> shifted(header.nlist, 0.0);
  std::vector<float> row(field_dim);
  double plain = 0;
  for (size_t i = 0; i < listed.size(); ++i) {
    reader.Read(listed[i], row.data());
    for (size_t d = 0; d < field_dim; ++d) {
      const auto value = static_cast<double>(row[d]);
      const auto less = static_cast<double>(row[d] - mean[d]);
      plain += value * value;
      shifted[list_of[i]] += less * less;
    }
  }
  header.row_norm = static_cast<float>(std::sqrt(plain / static_cast<double>(std::max<size_t>(listed.size(), 1))));
  for (size_t l = 0; l < header.nlist; ++l) {
    const double mean_norm = shifted[l] / std::max(1.0, static_cast<double>(places.sizes[l]));
    adds[l] = static_cast<float>(std::min(0.0, static_cast<double>(centre_norms[l]) - mean_norm));
  }
}

/// Centres in full and as bytes, with what their keys need.
void ListsBuilder::AddCentres(IndexFileWriter& writer) {
  const size_t padded = (header.nlist + kListBlock - 1) / kListBlock * kListBlock;
  const auto [least, most] = std::minmax_element(centres.begin(), centres.end());
  const float low = *least;
  header.centre_step = std::max((*most - low) / simd::ListKernels::kByteMax, 1e-30f);
  std::vector<uint8_t> codes(padded * dim, 0);
  std::vector<float> norms(header.nlist);
  adds.assign(padded, std::numeric_limits<float>::infinity());
  for (size_t c = 0; c < header.nlist; ++c) {
    double norm = 0;
    for (size_t d = 0; d < dim; ++d) {
      const float value = centres[c * dim + d];
      norm += static_cast<double>(value) * static_cast<double>(value);
      codes[c / kListBlock * kListBlock * dim + d / 4 * 4 * kListBlock + c % kListBlock * 4 + d % 4] =
          static_cast<uint8_t>(std::clamp((value - low) / header.centre_step + 0.5f, 0.0f,
                                          static_cast<float>(simd::ListKernels::kByteMax)));
    }
    norms[c] = static_cast<float>(norm);
    adds[c] = norms[c];
  }
  if (form == codec::KeyForm::kIp) MeasureSpread(norms);
  writer.AddValues<float>(kListsMean, mean);
  writer.AddValues<float>(kListsCentres, centres);
  writer.AddValues<uint8_t>(kListsCentreCodes, codes);
  writer.AddValues<float>(kListsCentreAdds, adds);
  writer.AddValues<float>(kListsCentreNorms, norms);
}

/// Measures in how many lists the nearest rows of sampled rows lie. `keys_of` writes the keys of all lists for a row.
template <class KeysOf>
std::vector<CurvePoint> MeasureLists(const IndexRecipe& recipe, const ColumnView& vectors,
                                     const std::vector<uint32_t>& listed, const std::vector<uint32_t>& list_of,
                                     uint32_t nlist, const KeysOf& keys_of) {
  const size_t count = std::min(kCurveQueries, listed.size());
  if (nlist < 2 || listed.size() < 2 * kCurveDepth) return {};
  std::vector<uint32_t> rows(count);
  std::vector<std::string_view> raw(count);
  for (size_t i = 0; i < count; ++i) {
    rows[i] = listed[(2 * i + 1) * listed.size() / (2 * count)];
    raw[i] = vectors.Bytes(rows[i]);
  }
  auto queries = FlatQueries::Make(recipe.type, recipe.dim, recipe.metric, raw);
  if (!queries.ok()) return {};
  std::vector<TopK> truth(count, TopK(kCurveDepth + 1, recipe.metric));
  FlatScratch scratch;
  FlatScan(*queries, vectors, nullptr, 0, truth, scratch);
  std::vector<uint32_t> list_of_row(vectors.rows, nlist);
  for (size_t i = 0; i < listed.size(); ++i) list_of_row[listed[i]] = list_of[i];
  return MeasureCurve(nlist, rows, truth, list_of_row, [&](size_t i, float* keys) { keys_of(rows[i], keys); });
}

void ListsBuilder::AddCurve(IndexFileWriter& writer) {
  std::vector<float> shifted(field_dim), query(dim);
  const simd::Rows all{reinterpret_cast<const std::byte*>(centres.data()), dim * sizeof(float), header.nlist, nullptr};
  const auto keys_of = [&](uint32_t row, float* keys) {
    reader.Read(row, shifted.data());
    if (form == codec::KeyForm::kL2) {
      for (size_t d = 0; d < field_dim; ++d) shifted[d] -= mean[d];
    }
    rotation.Apply(shifted.data(), query.data());
    float norm2 = 0;
    simd::Kernels().f32.norm({reinterpret_cast<const std::byte*>(query.data()), dim * sizeof(float), 1, nullptr}, dim,
                             &norm2);
    const float weight = RankWeight(form == codec::KeyForm::kIp, header.row_norm, std::sqrt(norm2));
    simd::Kernels().f32.ip(all, query.data(), dim, keys, nullptr);
    for (size_t l = 0; l < header.nlist; ++l) keys[l] = adds[l] - weight * keys[l];
  };
  const std::vector<CurvePoint> curve = MeasureLists(recipe, vectors, listed, list_of, header.nlist, keys_of);
  header.curve_points = static_cast<uint32_t>(curve.size());
  writer.AddValues<CurvePoint>(kListsCurve, curve);
}

Result<std::string> ListsBuilder::Run() {
  header.dim = static_cast<uint32_t>(dim);
  header.bits = recipe.codec == IndexCodec::kRaw ? 0 : recipe.codec == IndexCodec::kSq8 ? 8 : recipe.code_bits;
  Sort();
  if (cancelled()) return Cancelled();
  QUIVER_RETURN_IF_ERROR(Cluster());
  LayOut(listed, list_of, header, places);
  header.loose = static_cast<uint32_t>(loose.size());
  IndexFileWriter writer(recipe, static_cast<uint32_t>(vectors.rows));
  AddCentres(writer);
  if (recipe.codec == IndexCodec::kPq) {
    QUIVER_RETURN_IF_ERROR(EncodeProducts(writer));
  } else if (header.bits != 0) {
    QUIVER_RETURN_IF_ERROR(Encode(writer));
  }
  Report(0.9);
  if (cancelled()) return Cancelled();
  AddCurve(writer);
  AddPlaces(places, writer);
  writer.AddValues<uint32_t>(kListsLoose, loose);
  writer.AddValues<ListsHeader>(kListsHeader, std::span(&header, 1));
  if (cancelled()) return Cancelled();
  std::string file = writer.Take();
  Report(1);
  return file;
}

// ---------------------------------------------------------------------------------------------------------------------
// Binary vectors

/// Centres of bits: each bit is that of most of the centre's rows. Distances while clustering are Hamming's for every
/// metric.
struct BinaryListsBuilder {
  const IndexRecipe& recipe;
  const ColumnView& vectors;
  const BuildControl& control;
  size_t width = vectors.width;
  std::vector<std::byte> centres;

  [[nodiscard]] bool cancelled() const { return control.cancelled && control.cancelled(); }
  /// The nearest centre of each row, on the build's threads. False where cancelled.
  bool Assign(const std::vector<uint32_t>& rows, std::vector<uint32_t>& best) const;
  void MoveCentres(const std::vector<uint32_t>& rows, const std::vector<uint32_t>& best);
  Result<std::string> Run();
};

bool BinaryListsBuilder::Assign(const std::vector<uint32_t>& rows, std::vector<uint32_t>& best) const {
  const size_t nlist = centres.size() / width;
  best.resize(rows.size());
  const size_t chunks = (rows.size() + kRowChunk - 1) / kRowChunk;
  std::atomic<size_t> next{0}, finished{0};
  const auto work = [&] {
    std::vector<float> distances(nlist);
    for (size_t chunk = next.fetch_add(1); chunk < chunks && !cancelled(); chunk = next.fetch_add(1)) {
      for (size_t i = chunk * kRowChunk; i < std::min(rows.size(), (chunk + 1) * kRowChunk); ++i) {
        simd::Kernels().binary.hamming({centres.data(), width, nlist, nullptr}, vectors.fixed + rows[i] * width, width,
                                       distances.data());
        best[i] = static_cast<uint32_t>(std::min_element(distances.begin(), distances.end()) - distances.begin());
      }
      ++finished;
    }
  };
  std::vector<std::thread> helpers;
  for (size_t t = 1; t < std::min(control.threads, chunks); ++t) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  return finished == chunks;
}

void BinaryListsBuilder::MoveCentres(const std::vector<uint32_t>& rows, const std::vector<uint32_t>& best) {
  const size_t nlist = centres.size() / width;
  std::vector<std::vector<uint32_t>> members(nlist);
  for (size_t i = 0; i < rows.size(); ++i) members[best[i]].push_back(rows[i]);
  std::vector<uint32_t> ones(width * 8);
  for (size_t l = 0; l < nlist; ++l) {
    if (members[l].empty()) continue;
    std::fill(ones.begin(), ones.end(), 0u);
    for (uint32_t row : members[l]) {
      const std::byte* bits = vectors.fixed + row * width;
      for (size_t b = 0; b < width * 8; ++b) ones[b] += (static_cast<uint32_t>(bits[b / 8]) >> (b % 8)) & 1;
    }
    for (size_t b = 0; b < width * 8; ++b) {
      const auto bit = std::byte{1} << (b % 8);
      std::byte& at = centres[l * width + b / 8];
      at = 2 * ones[b] > members[l].size() ? at | bit : at & ~bit;
    }
  }
}

Result<std::string> BinaryListsBuilder::Run() {
  constexpr size_t kRounds = 6;
  ListsHeader header;
  std::vector<uint32_t> listed;
  for (uint32_t row = 0; row < vectors.rows; ++row) {
    if (!vectors.IsNull(row)) listed.push_back(row);
  }
  const size_t nlist = std::clamp<size_t>(ChooseLists(recipe, listed.size()), 1, std::max<size_t>(listed.size(), 1));
  header.nlist = static_cast<uint32_t>(nlist);
  centres.resize(nlist * width);
  for (size_t l = 0; l < nlist && !listed.empty(); ++l) {
    std::memcpy(centres.data() + l * width, vectors.fixed + listed[l * listed.size() / nlist] * width, width);
  }
  std::vector<uint32_t> sample;
  const size_t wanted = std::min(listed.size(), nlist * kSamplePerList);
  for (size_t i = 0; i < wanted; ++i) sample.push_back(listed[i * listed.size() / wanted]);
  std::vector<uint32_t> list_of;
  for (size_t round = 0; round < kRounds; ++round) {
    if (!Assign(sample, list_of)) return Cancelled();
    MoveCentres(sample, list_of);
    if (control.on_progress) control.on_progress(0.7 * static_cast<double>(round + 1) / kRounds);
  }
  if (!Assign(listed, list_of)) return Cancelled();
  ListsPlaces places;
  LayOut(listed, list_of, header, places);
  const auto keys_of = [&](uint32_t row, float* keys) {
    const simd::BinaryKernels& kernels = simd::Kernels().binary;
    const auto kernel = recipe.metric == MetricType::kJaccard ? kernels.jaccard : kernels.hamming;
    kernel({centres.data(), width, nlist, nullptr}, vectors.fixed + row * width, width, keys);
  };
  const std::vector<CurvePoint> curve = MeasureLists(recipe, vectors, listed, list_of, header.nlist, keys_of);
  if (cancelled()) return Cancelled();
  header.curve_points = static_cast<uint32_t>(curve.size());
  IndexFileWriter writer(recipe, static_cast<uint32_t>(vectors.rows));
  writer.AddValues<std::byte>(kListsCentres, centres);
  AddPlaces(places, writer);
  writer.AddValues<uint32_t>(kListsLoose, {});
  writer.AddValues<CurvePoint>(kListsCurve, curve);
  writer.AddValues<ListsHeader>(kListsHeader, std::span(&header, 1));
  std::string file = writer.Take();
  if (control.on_progress) control.on_progress(1);
  return file;
}

/// Binary vectors: dims in bytes, up to the published limit.
bool ServesBinary(const IndexRecipe& recipe) {
  return recipe.type == DataType::kBinaryVector && recipe.codec == IndexCodec::kRaw && recipe.dim >= 8 &&
         recipe.dim % 8 == 0 && recipe.dim <= 262144 &&
         (recipe.metric == MetricType::kHamming || recipe.metric == MetricType::kJaccard);
}

Status CheckRecipe(const IndexRecipe& recipe) {
  if (ServesBinary(recipe)) return Status::Ok();
  const bool dense = recipe.type == DataType::kFloatVector || recipe.type == DataType::kFloat16Vector ||
                     recipe.type == DataType::kBFloat16Vector || recipe.type == DataType::kInt8Vector;
  const bool metric =
      recipe.metric == MetricType::kL2 || recipe.metric == MetricType::kIp || recipe.metric == MetricType::kCosine;
  const bool codec = recipe.codec == IndexCodec::kRaw || recipe.codec == IndexCodec::kSq8 ||
                     (recipe.codec == IndexCodec::kRabitq && recipe.code_bits >= 1 &&
                      recipe.code_bits <= simd::ListKernels::kMaxBits) ||
                     (recipe.codec == IndexCodec::kPq && recipe.dim >= 1 &&
                      codec::PqShape{static_cast<size_t>(recipe.dim), recipe.quantizers, recipe.code_bits}.sound());
  if (dense && metric && codec && recipe.dim >= 1 && recipe.dim <= 32768) return Status::Ok();
  return Error(
      StatusCode::kIndexNotSupported, "lists of {} vectors with metric {}, codec {} and {} bits are not supported yet",
      DataTypeName(recipe.type), MetricTypeName(recipe.metric), static_cast<int>(recipe.codec), recipe.code_bits);
}

}  // namespace

Result<std::string> BuildLists(const IndexRecipe& recipe, const ColumnView& vectors, const BuildControl& control) {
  QUIVER_RETURN_IF_ERROR(CheckRecipe(recipe));
  if (recipe.type == DataType::kBinaryVector) {
    BinaryListsBuilder builder{recipe, vectors, control};
    return builder.Run();
  }
  ListsBuilder builder{recipe, vectors, control};
  return builder.Run();
}

}  // namespace quiver::index
