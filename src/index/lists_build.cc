#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <thread>
#include <utility>

#include "codec/kmeans.h"
#include "codec/rotation.h"
#include "index/internal/lists.h"
#include "index/internal/lists_layout.h"
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
constexpr size_t kMostLists = 65536;
/// Rows that are read and assigned at once.
constexpr size_t kRowChunk = 4096;
constexpr size_t kCurveQueries = 200;
constexpr size_t kCurveDepth = 100;

Status Cancelled() { return Error(StatusCode::kCancelled, "building the index was cancelled"); }

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
  std::vector<uint32_t> begin, sizes, ids;

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
  void LayOut();
  Status Encode(IndexFileWriter& writer);
  void AddCentres(IndexFileWriter& writer);
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

size_t ChooseLists(const IndexRecipe& recipe, size_t rows) {
  if (recipe.nlist != 0) return std::clamp<size_t>(recipe.nlist, 1, kMostLists);
  // Lists of fewer than two blocks are mostly room.
  const auto wanted = static_cast<size_t>(4 * std::sqrt(static_cast<double>(rows)));
  return std::clamp<size_t>(std::min(wanted, rows / 64), 1, kMostLists);
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

/// Gives every listed row its place.
void ListsBuilder::LayOut() {
  sizes.assign(header.nlist, 0);
  for (uint32_t list : list_of) ++sizes[list];
  begin.assign(header.nlist + 1, 0);
  for (size_t l = 0; l < header.nlist; ++l) {
    begin[l + 1] = begin[l] + static_cast<uint32_t>((sizes[l] + kListBlock - 1) / kListBlock);
  }
  ids.assign(begin.back() * kListBlock, 0);
  std::vector<size_t> at(header.nlist);
  for (size_t l = 0; l < header.nlist; ++l) at[l] = begin[l] * kListBlock;
  for (size_t i = 0; i < listed.size(); ++i) ids[at[list_of[i]]++] = listed[i];
  header.blocks = begin.back();
  header.listed = static_cast<uint32_t>(listed.size());
  header.loose = static_cast<uint32_t>(loose.size());
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
      for (size_t b = begin[l]; b < begin[l + 1]; ++b) {
        const size_t count = std::min<size_t>(kListBlock, sizes[l] - (b - begin[l]) * kListBlock);
        for (size_t r = 0; r < count; ++r) {
          float* residual = residuals.data() + r * dim;
          ReadShifted(ids[b * kListBlock + r], row.data());
          rotation.Apply(row.data(), residual);
          for (size_t d = 0; d < dim; ++d) residual[d] -= centre[d];
        }
        encoder.EncodeBlock(residuals.data(), count, centre, ids.data() + b * kListBlock,
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

/// Centres in full and as bytes, with what their keys need.
void ListsBuilder::AddCentres(IndexFileWriter& writer) {
  const size_t padded = (header.nlist + kListBlock - 1) / kListBlock * kListBlock;
  const auto [least, most] = std::minmax_element(centres.begin(), centres.end());
  const float low = *least;
  header.centre_step = std::max((*most - low) / simd::ListKernels::kByteMax, 1e-30f);
  std::vector<uint8_t> codes(padded * dim, 0);
  std::vector<float> norms(header.nlist);
  std::vector<float> adds(padded, std::numeric_limits<float>::infinity());
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
    adds[c] = form == codec::KeyForm::kL2 ? norms[c] : 0.0f;
  }
  writer.AddValues<float>(kListsMean, mean);
  writer.AddValues<float>(kListsCentres, centres);
  writer.AddValues<uint8_t>(kListsCentreCodes, codes);
  writer.AddValues<float>(kListsCentreAdds, adds);
  writer.AddValues<float>(kListsCentreNorms, norms);
}

/// Measures in how many lists the nearest rows of sampled rows lie (a row is no neighbour of itself).
void ListsBuilder::AddCurve(IndexFileWriter& writer) {
  std::vector<CurvePoint> curve;
  const size_t count = std::min(kCurveQueries, listed.size());
  if (header.nlist > 1 && listed.size() > 2 * kCurveDepth) {
    std::vector<uint32_t> rows(count);
    std::vector<std::string_view> raw(count);
    for (size_t i = 0; i < count; ++i) {
      rows[i] = listed[(2 * i + 1) * listed.size() / (2 * count)];
      raw[i] = vectors.Bytes(rows[i]);
    }
    auto queries = FlatQueries::Make(recipe.type, recipe.dim, recipe.metric, raw);
    if (!queries.ok()) return;
    std::vector<TopK> truth(count, TopK(kCurveDepth + 1, recipe.metric));
    FlatScratch scratch;
    FlatScan(*queries, vectors, nullptr, 0, truth, scratch);

    std::vector<uint32_t> list_of_row(vectors.rows, header.nlist);
    for (size_t i = 0; i < listed.size(); ++i) list_of_row[listed[i]] = list_of[i];
    // found10[n], found100[n]: neighbours in the list of rank n.
    std::vector<double> found10(header.nlist + 1), found100(header.nlist + 1);
    std::vector<float> shifted(field_dim), query(dim), keys(header.nlist);
    std::vector<uint32_t> order(header.nlist), rank(header.nlist + 1);
    double total10 = 0, total100 = 0;
    for (size_t i = 0; i < count; ++i) {
      reader.Read(rows[i], shifted.data());
      if (form == codec::KeyForm::kL2) {
        for (size_t d = 0; d < field_dim; ++d) shifted[d] -= mean[d];
      }
      rotation.Apply(shifted.data(), query.data());
      const simd::Rows all{reinterpret_cast<const std::byte*>(centres.data()), dim * sizeof(float), header.nlist,
                           nullptr};
      if (form == codec::KeyForm::kL2) {
        simd::Kernels().f32.l2(all, query.data(), dim, keys.data(), nullptr);
      } else {
        simd::Kernels().f32.ip(all, query.data(), dim, keys.data(), nullptr);
        for (float& key : keys) key = -key;
      }
      std::iota(order.begin(), order.end(), 0u);
      std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
      for (uint32_t r = 0; r < header.nlist; ++r) rank[order[r]] = r;
      rank[header.nlist] = 0;  // loose rows are always found
      size_t taken = 0;
      for (const Hit& hit : truth[i].TakeSorted()) {
        if (hit.row == rows[i] || taken == kCurveDepth) continue;
        const uint32_t at = rank[list_of_row[hit.row]];
        if (taken++ < 10) {
          found10[at] += 1;
          total10 += 1;
        }
        found100[at] += 1;
        total100 += 1;
      }
    }
    double sum10 = 0, sum100 = 0;
    for (uint32_t n = 0; n < header.nlist; ++n) {
      sum10 += found10[n];
      sum100 += found100[n];
      // Points are a tenth apart.
      const uint32_t nprobe = n + 1;
      if (!curve.empty() && nprobe < header.nlist && nprobe * 10 < curve.back().nprobe * 11) continue;
      curve.push_back({nprobe, static_cast<float>(sum10 / std::max(1.0, total10)),
                       static_cast<float>(sum100 / std::max(1.0, total100))});
    }
  }
  header.curve_points = static_cast<uint32_t>(curve.size());
  writer.AddValues<CurvePoint>(kListsCurve, curve);
}

Result<std::string> ListsBuilder::Run() {
  header.dim = static_cast<uint32_t>(dim);
  header.bits = recipe.codec == IndexCodec::kRaw ? 0 : recipe.codec == IndexCodec::kSq8 ? 8 : recipe.code_bits;
  Sort();
  if (cancelled()) return Cancelled();
  QUIVER_RETURN_IF_ERROR(Cluster());
  LayOut();
  IndexFileWriter writer(recipe, static_cast<uint32_t>(vectors.rows));
  AddCentres(writer);
  if (header.bits != 0) QUIVER_RETURN_IF_ERROR(Encode(writer));
  Report(0.9);
  if (cancelled()) return Cancelled();
  AddCurve(writer);
  writer.AddValues<uint32_t>(kListsBegin, begin);
  writer.AddValues<uint32_t>(kListsSizes, sizes);
  writer.AddValues<uint32_t>(kListsIds, ids);
  writer.AddValues<uint32_t>(kListsLoose, loose);
  writer.AddValues<ListsHeader>(kListsHeader, std::span(&header, 1));
  if (cancelled()) return Cancelled();
  std::string file = writer.Take();
  Report(1);
  return file;
}

Status CheckRecipe(const IndexRecipe& recipe) {
  const bool dense = recipe.type == DataType::kFloatVector || recipe.type == DataType::kFloat16Vector ||
                     recipe.type == DataType::kBFloat16Vector || recipe.type == DataType::kInt8Vector;
  const bool metric =
      recipe.metric == MetricType::kL2 || recipe.metric == MetricType::kIp || recipe.metric == MetricType::kCosine;
  const bool codec =
      recipe.codec == IndexCodec::kRaw || recipe.codec == IndexCodec::kSq8 ||
      (recipe.codec == IndexCodec::kRabitq && recipe.code_bits >= 1 && recipe.code_bits <= simd::ListKernels::kMaxBits);
  if (dense && metric && codec && recipe.dim >= 1 && recipe.dim <= 32768) return Status::Ok();
  return Error(
      StatusCode::kIndexNotSupported, "lists of {} vectors with metric {}, codec {} and {} bits are not supported yet",
      DataTypeName(recipe.type), MetricTypeName(recipe.metric), static_cast<int>(recipe.codec), recipe.code_bits);
}

}  // namespace

Result<std::string> BuildLists(const IndexRecipe& recipe, const ColumnView& vectors, const BuildControl& control) {
  QUIVER_RETURN_IF_ERROR(CheckRecipe(recipe));
  ListsBuilder builder{recipe, vectors, control};
  return builder.Run();
}

}  // namespace quiver::index
