#include "index/array_search.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <utility>

#include "index/internal/flat_tile.h"

namespace quiver::index {
namespace {

using simd::DenseKernels;
using simd::Rows;

/// Vectors of a block: whole rows are taken until there are so many.
constexpr size_t kBlockVectors = 256;

/// The vectors of one row within a block.
struct RowRun {
  uint64_t row = 0;
  size_t first = 0;  ///< in the block
  size_t count = 0;
  const std::byte* stored = nullptr;
  const uint16_t* numbers = nullptr;  ///< of the elements in the stored array; nullptr: all of them, in order
  bool safe = true;                   ///< sums and scores of its vectors stay in the range of float
};

bool IsHalf(DataType type) { return type == DataType::kFloat16Vector || type == DataType::kBFloat16Vector; }

/// The largest of `count` values that are numbers; -inf where there is none.
float Largest(const float* values, size_t count) {
  // Lanes that do not wait for each other, which the compiler makes one register.
  constexpr size_t kLanes = 8;
  float best[kLanes];
  std::fill_n(best, kLanes, -kInfinity);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      best[lane] = values[i + lane] > best[lane] ? values[i + lane] : best[lane];
    }
  }
  for (; i < count; ++i) best[0] = values[i] > best[0] ? values[i] : best[0];
  for (size_t lane = 1; lane < kLanes; ++lane) best[0] = std::max(best[0], best[lane]);
  return best[0];
}

/// The smallest, likewise; inf where there is none.
float Smallest(const float* values, size_t count) {
  constexpr size_t kLanes = 8;
  float best[kLanes];
  std::fill_n(best, kLanes, kInfinity);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      best[lane] = values[i + lane] < best[lane] ? values[i + lane] : best[lane];
    }
  }
  for (; i < count; ++i) best[0] = values[i] < best[0] ? values[i] : best[0];
  for (size_t lane = 1; lane < kLanes; ++lane) best[0] = std::min(best[0], best[lane]);
  return best[0];
}

}  // namespace

struct ArrayScratch::Impl {
  std::vector<RowRun> runs;          ///< rows of the block
  std::vector<std::byte> gathered;   ///< vectors of the block, of 16-bit floats as float
  std::vector<float> norms;          ///< squared, of the block's vectors
  std::vector<float> inverse_norms;  ///< 1 / length
  std::vector<float> sums;           ///< of a tile of queries
  std::vector<double> totals;        ///< of the block's rows, for one list
};

ArrayScratch::ArrayScratch() : impl_(std::make_unique<Impl>()) {}
ArrayScratch::ArrayScratch(ArrayScratch&&) noexcept = default;
ArrayScratch& ArrayScratch::operator=(ArrayScratch&&) noexcept = default;
ArrayScratch::~ArrayScratch() = default;

namespace {

/// Scores one block after the other for all queries.
class BlockScan {
 public:
  BlockScan(const ArrayQueries& queries, std::span<TopK> results, ArrayScratch::Impl& scratch)
      : queries_(queries),
        vectors_(queries.vectors().impl()),
        kernels_(IsHalf(vectors_.type) ? vectors_.kernels->f32 : vectors_.dense()),
        binary_(vectors_.type == DataType::kBinaryVector),
        results_(results),
        scratch_(scratch) {
    scratch_.runs.clear();
  }

  /// Adds a row; `kept` may be nullptr.
  void Add(uint64_t row, std::string_view array, const std::span<const uint16_t>* kept) {
    const std::string_view elements = ArrayReader(array, vectors_.type, vectors_.dim).elements();
    RowRun run{.row = row,
               .first = block_vectors_,
               .count = elements.size() / vectors_.width,
               .stored = reinterpret_cast<const std::byte*>(elements.data())};
    if (kept != nullptr && kept->size() < run.count) {
      run.count = kept->size();
      run.numbers = kept->data();
    }
    if (run.count == 0) return;
    scratch_.runs.push_back(run);
    block_vectors_ += run.count;
    if (block_vectors_ >= kBlockVectors) Flush();
  }

  void Flush() {
    if (block_vectors_ == 0) return;
    const Rows rows = Gather();
    if (!binary_) PrepareNorms(rows);
    if (IsMaxSim(queries_.metric())) {
      for (size_t q = 0; q < queries_.nq(); ++q) ScoreList(q, rows);
    } else {
      ScoreElements(rows);
    }
    scratch_.runs.clear();
    block_vectors_ = 0;
  }

 private:
  /// The vector at place i of a row's run, as stored.
  const std::byte* Stored(const RowRun& run, size_t i) const {
    return run.stored + (run.numbers != nullptr ? run.numbers[i] : i) * vectors_.width;
  }

  /// Lays the block's vectors side by side in the form that the kernels read.
  Rows Gather() {
    const bool half = IsHalf(vectors_.type);
    const size_t dim = static_cast<size_t>(vectors_.dim);
    const size_t stride = half ? dim * sizeof(float) : vectors_.width;
    const bool as_stored = scratch_.runs.size() == 1 && scratch_.runs[0].numbers == nullptr && !half;
    if (as_stored) return {scratch_.runs[0].stored, stride, block_vectors_, nullptr};
    std::byte* to = Sized(scratch_.gathered, block_vectors_ * stride);
    for (const RowRun& run : scratch_.runs) {
      std::byte* at = to + run.first * stride;
      if (!half && run.numbers == nullptr) {
        std::memcpy(at, run.stored, run.count * stride);
        continue;
      }
      for (size_t i = 0; i < run.count; ++i, at += stride) {
        if (half) {
          vectors_.WidenRow(Stored(run, i), 0, dim, reinterpret_cast<float*>(at));
        } else {
          std::memcpy(at, Stored(run, i), stride);
        }
      }
    }
    return {to, stride, block_vectors_, nullptr};
  }

  /// Lengths of the vectors, and which rows need double precision.
  void PrepareNorms(const Rows& rows) {
    const bool cosine = vectors_.metric == MetricType::kCosine;
    float* norms = Sized(scratch_.norms, rows.count);
    kernels_.norm(rows, static_cast<size_t>(vectors_.dim), norms);
    for (RowRun& run : scratch_.runs) {
      for (size_t i = run.first; i < run.first + run.count; ++i) run.safe = run.safe && IsSafe(norms[i], cosine);
    }
    if (!cosine) return;
    float* inverse = Sized(scratch_.inverse_norms, rows.count);
    for (size_t i = 0; i < rows.count; ++i) inverse[i] = 1.0f / std::sqrt(norms[i]);
  }

  static bool IsSafe(float norm2, bool cosine) { return norm2 < kMostNorm2 && (!cosine || norm2 > kLeastCosineNorm2); }

  /// Fills `sums` of vectors [first, first + count) of the queries.
  void Sums(const Rows& rows, size_t first, size_t count, float* sums) {
    if (!binary_) {
      TileSums(vectors_, kernels_, rows, TileRows(rows.stride), first, count, sums, rows.count);
      return;
    }
    for (size_t j = 0; j < count; ++j) {
      vectors_.binary()(rows, vectors_.query(first + j), vectors_.width, sums + j * rows.count);
    }
  }

  /// Offers the block's rows for one list.
  void ScoreList(size_t q, const Rows& rows) {
    const std::span<const RowRun> runs = scratch_.runs;
    const bool cosine = vectors_.metric == MetricType::kCosine;
    const bool largest = IsSimilarity(vectors_.metric);
    double* totals = Sized(scratch_.totals, runs.size());
    std::fill_n(totals, runs.size(), 0.0);
    float* sums = Sized(scratch_.sums, kTileQueries * rows.count);
    for (size_t first = queries_.begin(q); first < queries_.end(q); first += kTileQueries) {
      const size_t count = std::min(kTileQueries, queries_.end(q) - first);
      Sums(rows, first, count, sums);
      for (size_t j = 0; j < count; ++j) {
        float* scores = sums + j * rows.count;
        const size_t vector = first + j;
        const bool safe_query = binary_ || IsSafe(vectors_.norms[vector], cosine);
        const double length = cosine && safe_query ? std::sqrt(static_cast<double>(vectors_.norms[vector])) : 1;
        for (size_t i = 0; cosine && i < rows.count; ++i) scores[i] *= scratch_.inverse_norms[i];
        for (size_t r = 0; r < runs.size(); ++r) {
          const RowRun& run = runs[r];
          if (!binary_ && !(run.safe && safe_query)) {
            totals[r] += BestInDouble(vector, run, largest);
            continue;
          }
          const float* of_row = scores + run.first;
          const double best = largest ? Largest(of_row, run.count) : Smallest(of_row, run.count);
          totals[r] += cosine ? std::clamp(best / length, -1.0, 1.0) : best;
        }
      }
    }
    for (size_t r = 0; r < runs.size(); ++r) results_[q].Offer(static_cast<float>(totals[r]), runs[r].row);
  }

  double BestInDouble(size_t vector, const RowRun& run, bool largest) const {
    double best = largest ? -HUGE_VAL : HUGE_VAL;
    for (size_t i = 0; i < run.count; ++i) {
      const double score = vectors_.ScoreInDouble(vector, Stored(run, i));
      best = largest ? std::max(best, score) : std::min(best, score);
    }
    return best;
  }

  /// Offers the block's vectors, each for itself.
  void ScoreElements(const Rows& rows) {
    float* sums = Sized(scratch_.sums, kTileQueries * rows.count);
    for (size_t first = 0; first < vectors_.nq; first += kTileQueries) {
      const size_t count = std::min(kTileQueries, vectors_.nq - first);
      Sums(rows, first, count, sums);
      for (size_t j = 0; j < count; ++j) {
        for (const RowRun& run : scratch_.runs) OfferRun(first + j, run, sums + j * rows.count + run.first);
      }
    }
  }

  void OfferRun(size_t q, const RowRun& run, const float* sums) {
    const auto id = [&run](size_t i) {
      return ElementId(run.row, run.numbers != nullptr ? run.numbers[i] : static_cast<uint32_t>(i));
    };
    if (binary_) {
      for (size_t i = 0; i < run.count; ++i) results_[q].Offer(sums[i], id(i));
      return;
    }
    OfferSums(
        vectors_, q, sums, scratch_.norms.data() + run.first, run.count, [&](size_t i) { return Stored(run, i); }, id,
        results_[q]);
  }

  const ArrayQueries& queries_;
  const FlatQueries::Impl& vectors_;
  const DenseKernels& kernels_;
  const bool binary_;
  std::span<TopK> results_;
  ArrayScratch::Impl& scratch_;
  size_t block_vectors_ = 0;
};

}  // namespace

Result<ArrayQueries> ArrayQueries::Make(DataType element_type, int64_t dim, MetricType metric,
                                        const std::vector<std::string_view>& queries,
                                        const simd::KernelTable& kernels) {
  const size_t width = FixedWidth(element_type, dim);
  std::vector<std::string_view> vectors;
  std::vector<size_t> ends;
  ends.reserve(queries.size());
  for (const std::string_view query : queries) {
    const bool whole = width != 0 && !query.empty() && query.size() % width == 0;
    if (!whole || (!IsMaxSim(metric) && query.size() != width)) {
      return InvalidParameter("query of {} bytes where vectors of {} are expected", query.size(), width);
    }
    for (size_t at = 0; at < query.size(); at += width) vectors.push_back(query.substr(at, width));
    ends.push_back(vectors.size());
  }
  QUIVER_ASSIGN_OR_RETURN(FlatQueries flat,
                          FlatQueries::Make(element_type, dim, ElementMetric(metric), vectors, kernels));
  return ArrayQueries(metric, std::move(flat), std::move(ends));
}

void ArrayScan(const ArrayQueries& queries, const ColumnView& arrays, const uint64_t* mask, uint64_t first_row,
               const KeptElements& kept, std::span<TopK> results, ArrayScratch& scratch) {
  assert(results.size() == queries.nq() && "one collector per query");
  assert(arrays.type == DataType::kArrayOfVector && arrays.element_type == queries.vectors().type());
  for (TopK& result : results) result.Reserve(arrays.rows);
  BlockScan scan(queries, results, scratch.impl());
  for (size_t base = 0; base < arrays.rows; base += 64) {
    uint64_t word = mask != nullptr ? mask[base / 64] : ~uint64_t{0};
    if (const size_t rest = arrays.rows - base; rest < 64) word &= (uint64_t{1} << rest) - 1;
    for (; word != 0; word &= word - 1) {
      const size_t row = base + static_cast<size_t>(std::countr_zero(word));
      if (arrays.IsNull(row)) continue;
      const std::span<const uint16_t> numbers = kept ? kept(row) : std::span<const uint16_t>();
      scan.Add(first_row + row, arrays.Bytes(row), kept ? &numbers : nullptr);
    }
  }
  scan.Flush();
}

}  // namespace quiver::index
