#include "index/flat_search.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <utility>

#include "index/internal/flat_queries.h"
#include "index/internal/flat_tile.h"
#include "io/row_pages.h"

namespace quiver::index {
namespace {

using simd::CodeKernels;
using simd::KernelTable;
using simd::Rows;

/// Rows of a block of a scan: enough bytes to keep several streams of memory going, within bounds for the scores.
size_t BlockRows(size_t width) { return std::clamp<size_t>((size_t{512} << 10) / (width + 1), 256, 4096); }
/// Sparse rows of a block: they stay in cache for all queries.
constexpr size_t kSparseBlockRows = 1024;
/// Rows of a block that are shared by a batch: small enough for the second-level cache at usual widths.
constexpr size_t kBatchRows = 64;
static_assert(kBatchRows % CodeKernels::kGroup == 0 && kBatchRows <= 64);

/// A run of rows that the mask keeps: consecutive from `first` (ids == nullptr), or listed.
struct Block {
  size_t first = 0;
  size_t count = 0;
  const uint32_t* ids = nullptr;
  [[nodiscard]] size_t row(size_t i) const { return ids != nullptr ? ids[i] : first + i; }
};

}  // namespace

struct FlatScratch::Impl {
  std::vector<uint32_t> ids;   ///< kept rows of a block
  std::vector<float> scores;   ///< of one query or of a tile
  std::vector<float> norms;    ///< squared norms of the rows of a block
  std::vector<float> window;   ///< sparse query values by index; zero between scans
  std::vector<float> widened;  ///< rows of a batch block as float
  std::vector<uint8_t> row_codes;
  std::vector<float> code_scale, code_error, code_norm, code_handicap;
  std::vector<float> floors;
  std::vector<uint16_t> masks;
  std::vector<uint32_t> survivors;

  /// Share of pairs that the filter kept lately, and blocks to take the plain path before it is tried again.
  struct Filtering {
    size_t plain_blocks = 0;
    size_t backoff = 1;
  } filtering;
};

FlatScratch::FlatScratch() : impl_(std::make_unique<Impl>()) {}
FlatScratch::FlatScratch(FlatScratch&&) noexcept = default;
FlatScratch& FlatScratch::operator=(FlatScratch&&) noexcept = default;
FlatScratch::~FlatScratch() = default;

namespace {

/// The rows of a view that are scanned: those of the mask (nullptr = all), or those listed.
struct Kept {
  const uint64_t* mask = nullptr;
  bool is_listed = false;
  std::span<const uint32_t> listed;
};

/// Calls `visit(Block)` for listed rows that are not null, in blocks of at most `block_rows`.
template <class Visit>
void ForListed(const ColumnView& vectors, std::span<const uint32_t> listed, size_t block_rows,
               FlatScratch::Impl& scratch, const Visit& visit) {
  if (vectors.valid != nullptr) {
    uint32_t* ids = Sized(scratch.ids, listed.size());
    const auto end =
        std::copy_if(listed.begin(), listed.end(), ids, [&](uint32_t row) { return vectors.valid[row] != 0; });
    listed = {ids, end};
  }
  for (; !listed.empty(); listed = listed.subspan(std::min(block_rows, listed.size()))) {
    const size_t count = std::min(block_rows, listed.size());
    const bool consecutive = listed[count - 1] - listed[0] + 1 == count;
    visit(Block{listed[0], count, consecutive ? nullptr : listed.data()});
  }
}

/// Calls `visit(Block)` for all kept rows in blocks of at most `block_rows`.
template <class Visit>
void ForBlocks(const ColumnView& vectors, const Kept& kept, size_t block_rows, FlatScratch::Impl& scratch,
               const Visit& visit) {
  if (kept.is_listed) return ForListed(vectors, kept.listed, block_rows, scratch, visit);
  const uint64_t* mask = kept.mask;
  if (mask == nullptr && vectors.valid == nullptr) {
    for (size_t first = 0; first < vectors.rows; first += block_rows) {
      visit(Block{first, std::min(block_rows, vectors.rows - first), nullptr});
    }
    return;
  }
  // Each word may add 64 rows before the block is seen to be full.
  uint32_t* ids = Sized(scratch.ids, block_rows + 64);
  size_t count = 0;
  const auto flush = [&] {
    if (count == 0) return;
    const size_t first = ids[0];
    const bool consecutive = ids[count - 1] - first + 1 == count;
    visit(Block{first, count, consecutive ? nullptr : ids});
    count = 0;
  };
  for (size_t base = 0; base < vectors.rows; base += 64) {
    uint64_t word = mask != nullptr ? mask[base / 64] : ~uint64_t{0};
    const size_t rest = vectors.rows - base;
    if (rest < 64) word &= (uint64_t{1} << rest) - 1;
    if (word == 0) continue;
    if (vectors.valid != nullptr) {
      for (size_t i = 0; i < std::min<size_t>(rest, 64); ++i) {
        if (vectors.valid[base + i] == 0) word &= ~(uint64_t{1} << i);
      }
    }
    for (; word != 0; word &= word - 1) {
      ids[count++] = static_cast<uint32_t>(base + static_cast<size_t>(std::countr_zero(word)));
      if (count == block_rows) flush();
    }
  }
  flush();
}

Rows RowsOf(const ColumnView& vectors, const Block& block) {
  const size_t width = vectors.width;
  if (block.ids != nullptr) return {vectors.fixed, width, block.count, block.ids};
  return {vectors.fixed + block.first * width, width, block.count, nullptr};
}

/// Offers finished scores of the rows of a block.
void OfferAll(TopK& results, const float* scores, const Block& block, uint64_t first_row) {
  for (size_t i = 0; i < block.count; ++i) results.Offer(scores[i], first_row + block.row(i));
}

/// Sums of one dense query and a block, by the kernel of the metric; `norms` only for cosine.
void SumDense(const FlatQueries::Impl& queries, size_t q, const Rows& rows, float* sums, float* norms) {
  const simd::DenseKernels& kernels = queries.dense();
  const auto scan = queries.metric == MetricType::kL2 ? kernels.l2 : kernels.ip;
  scan(rows, queries.query(q), static_cast<size_t>(queries.dim), sums,
       queries.metric == MetricType::kCosine ? norms : nullptr);
}

/// Scans with one query: memory-bound, each row is read once.
void ScanDenseOne(const FlatQueries::Impl& queries, const ColumnView& vectors, const Kept& kept, uint64_t first_row,
                  TopK& results, FlatScratch::Impl& scratch) {
  const size_t block_rows = BlockRows(vectors.width);
  float* sums = Sized(scratch.scores, block_rows);
  float* norms = Sized(scratch.norms, block_rows);
  ForBlocks(vectors, kept, block_rows, scratch, [&](const Block& block) {
    SumDense(queries, 0, RowsOf(vectors, block), sums, norms);
    OfferSums(
        queries, 0, sums, norms, block.count, [&](size_t i) { return vectors.fixed + block.row(i) * vectors.width; },
        [&](size_t i) { return first_row + block.row(i); }, results);
  });
}

/// One block of a batch: its rows in the form that the kernels read, and where they come from.
struct BatchBlock {
  Block block;
  Rows rows;  ///< float rows (widened halves) or int8 rows
  const simd::DenseKernels* kernels = nullptr;
  const ColumnView* vectors = nullptr;
  uint64_t first_row = 0;

  /// The row as stored, for ScoreInDouble.
  [[nodiscard]] const std::byte* stored(size_t i) const { return vectors->fixed + block.row(i) * vectors->width; }
};

/// Scores all queries against the block by the exact tile. Returns how many pairs were good enough to be offered.
void ScoreBatchPlain(const FlatQueries::Impl& queries, const BatchBlock& batch, std::span<TopK> results,
                     FlatScratch::Impl& scratch) {
  const auto dim = static_cast<size_t>(queries.dim);
  const bool cosine = queries.metric == MetricType::kCosine;
  const size_t count = batch.block.count;
  float* norms = Sized(scratch.norms, kBatchRows);
  if (cosine) batch.kernels->norm(batch.rows, dim, norms);
  float* scores = Sized(scratch.scores, kTileQueries * kBatchRows);
  // Few queries are bound by memory: they take the block at once, so that the tile reads it as streams far apart.
  const size_t tile_rows = queries.nq < kMinFilterQueries ? kBatchRows : TileRows(batch.rows.stride);
  for (size_t q = 0; q < queries.nq; q += kTileQueries) {
    const size_t query_count = std::min(kTileQueries, queries.nq - q);
    TileSums(queries, *batch.kernels, batch.rows, tile_rows, q, query_count, scores, kBatchRows);
    for (size_t j = 0; j < query_count; ++j) {
      OfferSums(
          queries, q + j, scores + j * kBatchRows, norms, count, [&](size_t i) { return batch.stored(i); },
          [&](size_t i) { return batch.first_row + batch.block.row(i); }, results[q + j]);
    }
  }
}

/// Encodes the block's rows for the filter.
simd::CodeRows EncodeBlock(const FlatQueries::Impl& queries, const BatchBlock& batch, FlatScratch::Impl& scratch) {
  const CodeKernels& kernels = queries.kernels->codes;
  const auto dim = static_cast<size_t>(queries.dim);
  const size_t groups = (batch.block.count + CodeKernels::kGroup - 1) / CodeKernels::kGroup;
  const size_t group_bytes = CodeKernels::kGroup * queries.dim_padded;
  simd::CodeRows rows;
  uint8_t* codes = Sized(scratch.row_codes, kBatchRows * queries.dim_padded);
  float* scale = Sized(scratch.code_scale, kBatchRows);
  float* error = Sized(scratch.code_error, kBatchRows);
  float* norm = Sized(scratch.code_norm, kBatchRows);
  float* handicap = Sized(scratch.code_handicap, kBatchRows);
  // int8 rows are widened for encoding only; their exact scores come from the int8 kernels.
  const bool int8_rows = queries.type == DataType::kInt8Vector;
  float* widened = int8_rows ? Sized(scratch.widened, dim) : nullptr;
  for (size_t i = 0; i < groups * CodeKernels::kGroup; ++i) {
    if (i >= batch.block.count) {
      scale[i] = error[i] = norm[i] = 0;
      handicap[i] = kInfinity;
      continue;
    }
    const std::byte* at = batch.rows.base + (batch.rows.ids != nullptr ? batch.rows.ids[i] : i) * batch.rows.stride;
    if (int8_rows) queries.WidenRow(at, 0, dim, widened);
    const float* row = int8_rows ? widened : reinterpret_cast<const float*>(at);
    float norm2 = 0;
    float error2 = 0;
    kernels.encode(row, dim, i % CodeKernels::kGroup, codes + i / CodeKernels::kGroup * group_bytes, &scale[i], &norm2,
                   &error2);
    const float length = std::sqrt(norm2);
    // The residual was computed from rounded products; its own error is a few ulps of the values.
    error[i] = std::sqrt(error2) * (1 + kNormSlack) + 1e-6f * length + kUnderflowSlack;
    norm[i] = length * (1 + kNormSlack) + kUnderflowSlack;
    handicap[i] = 0;
    if (queries.metric == MetricType::kL2) {
      handicap[i] = norm2 * 0.5f * (1 - RoundingSlack(queries.dim));
    } else if (queries.metric == MetricType::kCosine) {
      // Measured on the unit sphere. Rows whose norm left the safe range keep an infinite error: they are always
      // scored.
      const bool safe = norm2 > kLeastNorm2 && norm2 < kMostNorm2;
      const float inverse = safe ? 1.0f / length : 1.0f;
      scale[i] *= inverse;
      norm[i] *= inverse;
      error[i] = safe ? error[i] * inverse : kInfinity;
    }
    if (!(norm2 < kMostNorm2)) error[i] = kInfinity;
  }
  rows.codes = codes;
  rows.groups = groups;
  rows.scale = scale;
  rows.error = error;
  rows.norm = norm;
  rows.handicap = handicap;
  return rows;
}

/// The least bound that can still be a hit of this query.
float FloorOf(const FlatQueries::Impl& queries, size_t q, const TopK& results) {
  const float threshold = results.threshold();
  if (queries.metric != MetricType::kL2) return threshold;
  // |q - x|^2 <= t  <=>  q.x - |x|^2 / 2 >= (|q|^2 - t) / 2; the norm's slack stands in code_error for q.x, here for
  // |q|^2.
  const float norm2 = queries.norms[q];
  const float rounding = RoundingSlack(queries.dim);
  return 0.5f * (norm2 * (1 - rounding) - threshold * (1 + rounding));
}

/// Scores the pairs that the filter keeps. Returns the share of pairs kept.
double ScoreBatchFiltered(const FlatQueries::Impl& queries, const BatchBlock& batch, std::span<TopK> results,
                          FlatScratch::Impl& scratch) {
  const auto dim = static_cast<size_t>(queries.dim);
  const bool cosine = queries.metric == MetricType::kCosine;
  const auto scan = queries.metric == MetricType::kL2 ? batch.kernels->l2 : batch.kernels->ip;
  const simd::CodeRows rows = EncodeBlock(queries, batch, scratch);
  float* floors = Sized(scratch.floors, queries.nq);
  for (size_t q = 0; q < queries.nq; ++q) floors[q] = FloorOf(queries, q, results[q]);
  uint16_t* masks = Sized(scratch.masks, queries.nq * rows.groups);
  const simd::CodeQueries codes{queries.codes.data(),
                                queries.nq,
                                queries.code_bias.data(),
                                queries.code_scale.data(),
                                queries.code_norm.data(),
                                queries.code_error.data(),
                                floors};
  queries.kernels->codes.filter(rows, codes, queries.dim_padded, masks);

  const size_t count = batch.block.count;
  const uint64_t existing = count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
  uint32_t* ids = Sized(scratch.survivors, 2 * kBatchRows);
  uint32_t* places = ids + kBatchRows;
  float* scores = Sized(scratch.scores, kTileQueries * kBatchRows);
  float* norms = Sized(scratch.norms, kBatchRows);
  size_t kept = 0;
  for (size_t q = 0; q < queries.nq; ++q) {
    uint64_t mask = 0;
    for (size_t g = 0; g < rows.groups; ++g) {
      mask |= static_cast<uint64_t>(masks[q * rows.groups + g]) << (g * CodeKernels::kGroup);
    }
    mask &= existing;
    if (mask == 0) continue;
    size_t survivors = 0;
    for (; mask != 0; mask &= mask - 1) {
      const auto place = static_cast<uint32_t>(std::countr_zero(mask));
      places[survivors] = place;
      ids[survivors++] = batch.rows.ids != nullptr ? batch.rows.ids[place] : place;
    }
    kept += survivors;
    scan({batch.rows.base, batch.rows.stride, survivors, ids}, queries.query(q), dim, scores, cosine ? norms : nullptr);
    OfferSums(
        queries, q, scores, norms, survivors, [&](size_t i) { return batch.stored(places[i]); },
        [&](size_t i) { return batch.first_row + batch.block.row(places[i]); }, results[q]);
  }
  return static_cast<double>(kept) / static_cast<double>(queries.nq * count);
}

/// Scans with a batch: blocks of rows stay in cache for all queries.
void ScanDenseBatch(const FlatQueries::Impl& queries, const ColumnView& vectors, const Kept& kept, uint64_t first_row,
                    std::span<TopK> results, FlatScratch::Impl& scratch) {
  const auto dim = static_cast<size_t>(queries.dim);
  const bool half = queries.type == DataType::kFloat16Vector || queries.type == DataType::kBFloat16Vector;
  scratch.filtering = {};
  ForBlocks(vectors, kept, kBatchRows, scratch, [&](const Block& block) {
    BatchBlock batch{block, RowsOf(vectors, block), &queries.dense(), &vectors, first_row};
    if (half) {
      // Widened once for all queries; the fp32 kernels then add the same values in the same order.
      float* widened = Sized(scratch.widened, kBatchRows * dim);
      const auto widen =
          queries.type == DataType::kFloat16Vector ? queries.kernels->f16_to_f32 : queries.kernels->bf16_to_f32;
      for (size_t i = 0; i < block.count; ++i) widen(batch.stored(i), dim, widened + i * dim);
      batch.rows = {reinterpret_cast<const std::byte*>(widened), dim * 4, block.count, nullptr};
      batch.kernels = &queries.kernels->f32;
    }
    if (!queries.filtered()) {
      ScoreBatchPlain(queries, batch, results, scratch);
      return;
    }
    // The filter pays while it drops most pairs. Where it does not (heaps still open, many equals, data that codes
    // cannot tell apart) blocks go the plain way, and ever fewer of them try the filter again.
    constexpr double kMostKept = 0.15;
    constexpr size_t kMostBackoff = 64;
    auto& filtering = scratch.filtering;
    if (filtering.plain_blocks > 0) {
      --filtering.plain_blocks;
      ScoreBatchPlain(queries, batch, results, scratch);
      return;
    }
    size_t open = 0;
    for (size_t q = 0; q < queries.nq; ++q) open += std::isinf(results[q].threshold()) ? 1 : 0;
    if (open * 8 > queries.nq) {
      ScoreBatchPlain(queries, batch, results, scratch);
      return;
    }
    if (ScoreBatchFiltered(queries, batch, results, scratch) > kMostKept) {
      filtering.plain_blocks = filtering.backoff;
      filtering.backoff = std::min(filtering.backoff * 2, kMostBackoff);
    } else {
      filtering.backoff = 1;
    }
  });
}

void ScanBinary(const FlatQueries::Impl& queries, const ColumnView& vectors, const Kept& kept, uint64_t first_row,
                std::span<TopK> results, FlatScratch::Impl& scratch) {
  const auto kernel = queries.binary();
  const size_t block_rows = BlockRows(vectors.width);
  float* scores = Sized(scratch.scores, block_rows);
  ForBlocks(vectors, kept, block_rows, scratch, [&](const Block& block) {
    const Rows rows = RowsOf(vectors, block);
    for (size_t q = 0; q < queries.nq; ++q) {
      kernel(rows, queries.query(q), queries.width, scores);
      OfferAll(results[q], scores, block, first_row);
    }
  });
}

/// Calls `with(value_of)` with the query's lookup; fills and clears the window where that serves.
template <class With>
void WithLookup(const SparseQuery& query, FlatScratch::Impl& scratch, const With& with) {
  if (!query.table.empty()) {
    with([&query](uint32_t index) { return TableValue(query, index); });
    return;
  }
  float* window = Sized(scratch.window, query.span);
  for (const SparseEntry& entry : query.entries) window[entry.index - query.first] = entry.value;
  with([&query, window](uint32_t index) {
    const size_t at = static_cast<size_t>(index) - query.first;  // wraps to a large value below `first`
    return at < query.span ? window[at] : 0.0f;
  });
  for (const SparseEntry& entry : query.entries) window[entry.index - query.first] = 0.0f;
}

void ScanSparse(const FlatQueries::Impl& queries, const ColumnView& vectors, const Kept& kept, uint64_t first_row,
                std::span<TopK> results, FlatScratch::Impl& scratch) {
  ForBlocks(vectors, kept, kSparseBlockRows, scratch, [&](const Block& block) {
    for (size_t q = 0; q < queries.nq; ++q) {
      const SparseQuery& query = queries.sparse[q];
      if (query.entries.empty()) continue;
      WithLookup(query, scratch, [&](const auto& value_of) {
        for (size_t i = 0; i < block.count; ++i) {
          const size_t row = block.row(i);
          results[q].Offer(SparseScore(vectors.Bytes(row), value_of), first_row + row);
        }
      });
    }
  });
}

void Scan(const FlatQueries& queries, const ColumnView& vectors, const Kept& kept, uint64_t first_row,
          std::span<TopK> results, FlatScratch& scratch) {
  const FlatQueries::Impl& impl = queries.impl();
  assert(results.size() == impl.nq && "one collector per query");
  const size_t rows = kept.is_listed ? kept.listed.size() : vectors.rows;
  if (impl.nq == 0 || rows == 0) return;
  assert(vectors.type == impl.type && "the view holds the queries' type");
  for (TopK& result : results) result.Reserve(rows);
  switch (impl.type) {
    case DataType::kSparseFloatVector: return ScanSparse(impl, vectors, kept, first_row, results, scratch.impl());
    case DataType::kBinaryVector: return ScanBinary(impl, vectors, kept, first_row, results, scratch.impl());
    default:
      if (impl.nq == 1) return ScanDenseOne(impl, vectors, kept, first_row, results[0], scratch.impl());
      return ScanDenseBatch(impl, vectors, kept, first_row, results, scratch.impl());
  }
}

}  // namespace

void FlatScan(const FlatQueries& queries, const ColumnView& vectors, const uint64_t* mask, uint64_t first_row,
              std::span<TopK> results, FlatScratch& scratch) {
  Scan(queries, vectors, {.mask = mask, .listed = {}}, first_row, results, scratch);
}

void FlatScanListed(const FlatQueries& queries, const ColumnView& vectors, std::span<const uint32_t> rows,
                    uint64_t first_row, std::span<TopK> results, FlatScratch& scratch) {
  Scan(queries, vectors, {.is_listed = true, .listed = rows}, first_row, results, scratch);
}

void ScoreRows(const FlatQueries& queries, size_t query, const ColumnView& vectors, std::span<const uint32_t> rows,
               float* scores) {
  const FlatQueries::Impl& impl = queries.impl();
  if (impl.type == DataType::kSparseFloatVector) {
    const SparseQuery& sparse = impl.sparse[query];
    for (size_t i = 0; i < rows.size(); ++i) {
      scores[i] = SparseScore(vectors.Bytes(rows[i]), [&](uint32_t index) { return SearchedValue(sparse, index); });
    }
  } else {
    constexpr size_t kAtOnce = 64;
    for (size_t i = 0; i < rows.size(); i += kAtOnce) {
      const Rows some{vectors.fixed, vectors.width, std::min(kAtOnce, rows.size() - i), rows.data() + i};
      io::AskForRows(vectors.fixed, vectors.width, rows.subspan(i, some.count));
      if (impl.type == DataType::kBinaryVector) {
        impl.binary()(some, impl.query(query), impl.width, scores + i);
      } else {
        float norms[kAtOnce] = {};
        SumDense(impl, query, some, scores + i, norms);
        for (size_t j = 0; j < some.count; ++j) {
          scores[i + j] = impl.Finish(query, scores[i + j], norms[j], vectors.fixed + rows[i + j] * vectors.width);
        }
      }
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (vectors.IsNull(rows[i])) scores[i] = kNan;
  }
}

}  // namespace quiver::index
