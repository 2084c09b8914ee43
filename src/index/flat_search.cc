#include "index/flat_search.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <utility>

namespace quiver::index {
namespace {

using simd::CodeKernels;
using simd::KernelTable;
using simd::Rows;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Order of keys. In a heap by it the worst entry (largest key, then largest row) is on top.
bool Better(const Hit& a, const Hit& b) { return a.score != b.score ? a.score < b.score : a.row < b.row; }

/// From this k on, hits are buffered and pruned now and then: cheaper than a large heap, at the price of a bound that
/// lags.
constexpr size_t kLeastBuffered = 64;

size_t RoundUp(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

TopK::TopK(size_t k, MetricType metric)
    : k_(k), capacity_(k < kLeastBuffered ? k : k + k / 2), metric_(metric), similarity_(IsSimilarity(metric)) {
  ResetBound();
}

void TopK::Reserve(size_t rows) {
  constexpr size_t kMostAtOnce = 1024;
  entries_.reserve(std::min({capacity_, entries_.size() + rows, kMostAtOnce}));
}

void TopK::SetRange(std::optional<float> radius, std::optional<float> range_filter) {
  has_radius_ = radius.has_value();
  radius_key_ = has_radius_ ? (similarity_ ? -*radius : *radius) : kInfinity;
  range_filter_key_ = range_filter.has_value() ? (similarity_ ? -*range_filter : *range_filter) : -kInfinity;
  ResetBound();
}

void TopK::ResetBound() { bound_ = k_ == 0 ? kNan : radius_key_; }

bool TopK::Insert(float key, uint64_t row) {
  if (key < range_filter_key_ || (has_radius_ && key >= radius_key_)) return false;
  const Hit entry{key, row};
  if (k_ < kLeastBuffered) return InsertInHeap(entry);
  entries_.push_back(entry);
  if (entries_.size() == k_) {
    bound_ = std::max_element(entries_.begin(), entries_.end(), Better)->score;
  } else if (entries_.size() == capacity_) {
    Prune();
  }
  return true;
}

bool TopK::InsertInHeap(const Hit& entry) {
  if (entries_.size() < k_) {
    entries_.push_back(entry);
    std::push_heap(entries_.begin(), entries_.end(), Better);
  } else {
    if (!Better(entry, entries_.front())) return false;
    // Replaces the worst entry at the top and sinks the new one: one pass instead of the library's two.
    size_t at = 0;
    for (size_t child = 1; child < k_; child = 2 * at + 1) {
      if (child + 1 < k_ && Better(entries_[child], entries_[child + 1])) ++child;
      if (!Better(entry, entries_[child])) break;
      entries_[at] = entries_[child];
      at = child;
    }
    entries_[at] = entry;
  }
  if (entries_.size() == k_) bound_ = entries_.front().score;
  return true;
}

void TopK::Prune() {
  const auto last = entries_.begin() + static_cast<std::ptrdiff_t>(k_ - 1);
  std::nth_element(entries_.begin(), last, entries_.end(), Better);
  bound_ = last->score;
  entries_.resize(k_);
}

std::vector<Hit> TopK::TakeSorted() {
  if (entries_.size() > k_) Prune();
  std::sort(entries_.begin(), entries_.end(), Better);
  if (similarity_) {
    for (Hit& hit : entries_) hit.score = -hit.score;
  }
  ResetBound();
  return std::exchange(entries_, {});
}

// ---------------------------------------------------------------------------------------------------------------------
// Prepared queries

namespace {

struct SparseEntry {
  uint32_t index;
  float value;
};

/// Entries of one sparse query: in a window of consecutive indices where they lie close, else in an open-addressing
/// table.
struct SparseQuery {
  std::vector<SparseEntry> entries;  ///< non-zero values only
  uint32_t first = 0;                ///< lowest index
  size_t span = 0;                   ///< highest index - first + 1; 0 without entries
  std::vector<SparseEntry> table;    ///< power of two slots, value 0 = free; empty where the window serves
};

/// Windows up to this many floats are filled in the scratch; wider queries use the table.
constexpr size_t kMaxWindow = size_t{1} << 20;

size_t SlotOf(uint32_t index, size_t slots) {
  return static_cast<size_t>((index * uint64_t{0x9e3779b97f4a7c15}) >> 32) & (slots - 1);
}

SparseQuery PrepareSparse(std::string_view bytes) {
  SparseQuery query;
  uint32_t last = 0;
  for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    SparseEntry entry{};
    std::memcpy(&entry.index, bytes.data() + at, 4);
    std::memcpy(&entry.value, bytes.data() + at + 4, 4);
    if (entry.value == 0.0f) continue;
    if (query.entries.empty()) query.first = last = entry.index;
    query.first = std::min(query.first, entry.index);
    last = std::max(last, entry.index);
    query.entries.push_back(entry);
  }
  if (query.entries.empty()) return query;
  query.span = size_t{last} - query.first + 1;
  if (query.span > kMaxWindow) {
    query.table.assign(std::bit_ceil(query.entries.size() * 2), SparseEntry{});
    for (const SparseEntry& entry : query.entries) {
      size_t slot = SlotOf(entry.index, query.table.size());
      while (query.table[slot].value != 0.0f) slot = (slot + 1) & (query.table.size() - 1);
      query.table[slot] = entry;
    }
  }
  return query;
}

/// Sums products over shared indices in double; NaN where no index is shared. `value_of` gives the query's value or 0.
template <class ValueOf>
float SparseScore(std::string_view row, const ValueOf& value_of) {
  double sum = 0;
  bool shared = false;
  const char* at = row.data();
  const char* const end = at + row.size() / 8 * 8;
  for (; at != end; at += 8) {
    uint32_t index;
    float value;
    std::memcpy(&index, at, 4);
    std::memcpy(&value, at + 4, 4);
    const float other = value_of(index);
    if (other != 0.0f && value != 0.0f) {
      shared = true;
      sum += static_cast<double>(other) * static_cast<double>(value);
    }
  }
  return shared ? static_cast<float>(sum) : kNan;
}

float TableValue(const SparseQuery& query, uint32_t index) {
  size_t slot = SlotOf(index, query.table.size());
  while (query.table[slot].value != 0.0f) {
    if (query.table[slot].index == index) return query.table[slot].value;
    slot = (slot + 1) & (query.table.size() - 1);
  }
  return 0.0f;
}

/// For a few rows: no window is filled, entries are searched.
float SearchedValue(const SparseQuery& query, uint32_t index) {
  const auto at = std::lower_bound(query.entries.begin(), query.entries.end(), index,
                                   [](const SparseEntry& entry, uint32_t wanted) { return entry.index < wanted; });
  return at != query.entries.end() && at->index == index ? at->value : 0.0f;
}

bool MetricFits(DataType type, MetricType metric) {
  switch (type) {
    case DataType::kFloatVector:
    case DataType::kFloat16Vector:
    case DataType::kBFloat16Vector:
    case DataType::kInt8Vector:
      return metric == MetricType::kL2 || metric == MetricType::kIp || metric == MetricType::kCosine;
    case DataType::kBinaryVector:
      return metric == MetricType::kHamming || metric == MetricType::kJaccard || metric == MetricType::kSubstructure ||
             metric == MetricType::kSuperstructure;
    case DataType::kSparseFloatVector: return metric == MetricType::kIp;
    default: return false;
  }
}

/// From this many queries on, a batch is filtered by integer codes: encoding a row costs about as much as scoring it
/// for this many queries by the fp32 tile. See docs/performance.md.
constexpr size_t kMinFilterQueries = 8;
/// Below this dimension the filter's fixed cost per pair eats its gain.
constexpr size_t kMinFilterDim = 48;

}  // namespace

namespace {

/// Squared norms below it have lost bits to underflow: cosines are then computed in double.
constexpr float kLeastCosineNorm2 = 1e-26f;

}  // namespace

struct FlatQueries::Impl {
  const KernelTable* kernels = nullptr;
  DataType type = DataType::kNone;
  MetricType metric = MetricType::kNone;
  int64_t dim = 0;
  size_t nq = 0;

  size_t width = 0;               ///< bytes of one row (dense, binary)
  size_t query_stride = 0;        ///< bytes from one query to the next in `values`
  std::vector<std::byte> values;  ///< float (f32, f16, bf16), int8 or bits, row-major
  std::vector<float> norms;       ///< squared norms (dense)
  std::vector<SparseQuery> sparse;

  // Codes for the filter; empty where it is not used.
  size_t dim_padded = 0;
  std::vector<int8_t> codes;
  std::vector<int32_t> code_bias;
  std::vector<float> code_scale, code_norm, code_error;

  [[nodiscard]] const std::byte* query(size_t q) const { return values.data() + q * query_stride; }
  [[nodiscard]] bool filtered() const { return !codes.empty(); }
  [[nodiscard]] const simd::DenseKernels& dense() const {
    switch (type) {
      case DataType::kFloat16Vector: return kernels->f16;
      case DataType::kBFloat16Vector: return kernels->bf16;
      case DataType::kInt8Vector: return kernels->int8;
      default: return kernels->f32;
    }
  }
  [[nodiscard]] simd::BinaryKernels::Function binary() const {
    switch (metric) {
      case MetricType::kJaccard: return kernels->binary.jaccard;
      case MetricType::kSubstructure: return kernels->binary.substructure;
      case MetricType::kSuperstructure: return kernels->binary.superstructure;
      default: return kernels->binary.hamming;
    }
  }
  [[nodiscard]] double QueryValue(size_t q, size_t d) const {
    if (type == DataType::kInt8Vector) return static_cast<double>(static_cast<int8_t>(query(q)[d]));
    float value;
    std::memcpy(&value, query(q) + 4 * d, 4);
    return static_cast<double>(value);
  }
  /// Writes values first .. first + count of a row of this type.
  void WidenRow(const std::byte* row, size_t first, size_t count, float* out) const {
    WidenVector(type, row + FixedWidth(type, 1) * first, count, out, *kernels);
  }

  /// Scores a pair in double precision: for the rare pairs whose float sums leave the range of float.
  [[nodiscard]] float ScoreInDouble(size_t q, const std::byte* row) const {
    double ip = 0, l2 = 0, row_norm = 0, query_norm = 0;
    constexpr size_t kChunk = 128;
    float values[kChunk];
    const auto end = static_cast<size_t>(dim);
    for (size_t first = 0; first < end; first += kChunk) {
      const size_t count = std::min(kChunk, end - first);
      WidenRow(row, first, count, values);
      for (size_t d = 0; d < count; ++d) {
        const double a = QueryValue(q, first + d);
        const auto b = static_cast<double>(values[d]);
        ip += a * b;
        l2 += (a - b) * (a - b);
        row_norm += b * b;
        query_norm += a * a;
      }
    }
    if (metric == MetricType::kL2) return static_cast<float>(l2);
    if (metric == MetricType::kIp) return static_cast<float>(ip);
    if (std::isnan(ip) || std::isinf(row_norm)) return kNan;
    if (row_norm == 0 || query_norm == 0) return 0.0f;
    return static_cast<float>(std::clamp(ip / (std::sqrt(row_norm) * std::sqrt(query_norm)), -1.0, 1.0));
  }

  /// Turns a kernel's sum into the client's score. `norm` is the row's squared norm (cosine only).
  [[nodiscard]] float Finish(size_t q, float sum, float norm, const std::byte* row) const {
    if (metric != MetricType::kCosine) {
      if (std::isfinite(sum)) [[likely]]
        return sum;
      return ScoreInDouble(q, row);
    }
    const float query_norm = norms[q];
    if (!(norm > kLeastCosineNorm2 && norm < kInfinity && query_norm > kLeastCosineNorm2 && query_norm < kInfinity &&
          std::isfinite(sum))) [[unlikely]] {
      return ScoreInDouble(q, row);
    }
    const double cosine =
        static_cast<double>(sum) / std::sqrt(static_cast<double>(norm) * static_cast<double>(query_norm));
    return static_cast<float>(std::clamp(cosine, -1.0, 1.0));
  }

  void PrepareDense(const std::vector<std::string_view>& queries);
  [[nodiscard]] bool CodesAreSafe() const;
  void PrepareCodes();
};

void FlatQueries::Impl::PrepareDense(const std::vector<std::string_view>& queries) {
  const auto count = static_cast<size_t>(dim);
  query_stride = type == DataType::kInt8Vector ? count : count * 4;
  values.resize(query_stride * nq);
  norms.resize(nq);
  for (size_t q = 0; q < nq; ++q) {
    std::byte* out = values.data() + q * query_stride;
    switch (type) {
      case DataType::kFloat16Vector:
        kernels->f16_to_f32(queries[q].data(), count, reinterpret_cast<float*>(out));
        break;
      case DataType::kBFloat16Vector:
        kernels->bf16_to_f32(queries[q].data(), count, reinterpret_cast<float*>(out));
        break;
      default: std::memcpy(out, queries[q].data(), query_stride); break;
    }
  }
  const simd::DenseKernels& norm_kernels = type == DataType::kInt8Vector ? kernels->int8 : kernels->f32;
  norm_kernels.norm({values.data(), query_stride, nq, nullptr}, count, norms.data());
}

// Slack that makes the filter's bounds hold although they, and the exact scores, are computed in float.
/// Relative, on norms and residuals.
constexpr float kNormSlack = 1e-4f;
/// Absolute, on lengths: squares of values below 1e-19 vanish, together less than this for any dimension.
constexpr float kUnderflowSlack = 2e-15f;
/// Squared norms in this range are not touched by underflow or overflow of the terms.
constexpr float kLeastNorm2 = 1e-24f;
constexpr float kMostNorm2 = 1e30f;
/// Relative to the product of the norms, on sums of `dim` terms: n terms in order err by less than n * 2^-24 of it;
/// counted for the exact kernel and for the bound, twice over.
float RoundingSlack(int64_t dim) { return static_cast<float>(4 * (dim + 64)) * 0x1p-24f; }

/// Returns whether the arithmetic of the bound holds for all queries: finite, and neither vast nor vanishing norms.
bool FlatQueries::Impl::CodesAreSafe() const {
  for (size_t q = 0; q < nq; ++q) {
    if (norms[q] > kLeastNorm2 && norms[q] < kMostNorm2) continue;
    for (size_t d = 0; d < static_cast<size_t>(dim); ++d) {
      if (QueryValue(q, d) != 0) return false;
    }
  }
  return true;
}

void FlatQueries::Impl::PrepareCodes() {
  const CodeKernels& code_kernels = kernels->codes;
  const auto count = static_cast<size_t>(dim);
  dim_padded = RoundUp(count, CodeKernels::kDimMultiple);
  codes.assign(dim_padded * nq, 0);
  code_bias.resize(nq);
  code_scale.resize(nq);
  code_norm.resize(nq);
  code_error.resize(nq);
  for (size_t q = 0; q < nq; ++q) {
    const double norm = std::sqrt(static_cast<double>(norms[q]));
    const double unit = metric == MetricType::kCosine && norm > 0 ? norm : 1.0;
    double largest = 0;
    for (size_t d = 0; d < count; ++d) largest = std::max(largest, std::abs(QueryValue(q, d)));
    const double step = largest > 0 ? largest / code_kernels.query_max : 1.0;
    double residual2 = 0, approximate2 = 0;
    int32_t sum = 0;
    for (size_t d = 0; d < count; ++d) {
      const double value = QueryValue(q, d);
      const auto code = static_cast<int8_t>(std::floor(value / step + 0.5));
      codes[q * dim_padded + d] = code;
      sum += code;
      residual2 += (value - step * code) * (value - step * code);
      approximate2 += step * code * step * code;
    }
    code_bias[q] = -code_kernels.row_zero * sum;
    code_scale[q] = static_cast<float>(step / unit);
    code_norm[q] = static_cast<float>(std::sqrt(approximate2) / unit) * (1 + kNormSlack);
    code_error[q] = static_cast<float>(std::sqrt(residual2) / unit) * (1 + kNormSlack) +
                    RoundingSlack(dim) * static_cast<float>(norm / unit) * (1 + kNormSlack);
  }
}

FlatQueries::FlatQueries(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FlatQueries::FlatQueries(FlatQueries&&) noexcept = default;
FlatQueries& FlatQueries::operator=(FlatQueries&&) noexcept = default;
FlatQueries::~FlatQueries() = default;

Result<FlatQueries> FlatQueries::Make(DataType type, int64_t dim, MetricType metric,
                                      const std::vector<std::string_view>& queries, const KernelTable& kernels) {
  if (!MetricFits(type, metric)) {
    return InvalidParameter("metric type {} is not supported for {} vectors", MetricTypeName(metric),
                            DataTypeName(type));
  }
  auto impl = std::make_unique<Impl>();
  impl->kernels = &kernels;
  impl->type = type;
  impl->metric = metric;
  impl->dim = dim;
  impl->nq = queries.size();
  impl->width = FixedWidth(type, dim);
  for (std::string_view query : queries) {
    const bool fits = type == DataType::kSparseFloatVector ? query.size() % 8 == 0 : query.size() == impl->width;
    if (!fits) return InvalidParameter("query vector of {} bytes where {} are expected", query.size(), impl->width);
  }
  if (type == DataType::kSparseFloatVector) {
    for (std::string_view query : queries) impl->sparse.push_back(PrepareSparse(query));
  } else if (type == DataType::kBinaryVector) {
    impl->query_stride = impl->width;
    for (std::string_view query : queries) {
      const auto* bytes = reinterpret_cast<const std::byte*>(query.data());
      impl->values.insert(impl->values.end(), bytes, bytes + query.size());
    }
  } else {
    impl->PrepareDense(queries);
    if (kernels.codes.row_max != 0 && impl->nq >= kMinFilterQueries && static_cast<size_t>(dim) >= kMinFilterDim &&
        impl->CodesAreSafe()) {
      impl->PrepareCodes();
    }
  }
  return FlatQueries(std::move(impl));
}

size_t FlatQueries::nq() const { return impl_->nq; }
DataType FlatQueries::type() const { return impl_->type; }
int64_t FlatQueries::dim() const { return impl_->dim; }
MetricType FlatQueries::metric() const { return impl_->metric; }
const std::byte* FlatQueries::Bits(size_t query) const { return impl_->query(query); }

void FlatQueries::CopyValues(size_t query, float* out) const {
  const DataType form = impl_->type == DataType::kInt8Vector ? DataType::kInt8Vector : DataType::kFloatVector;
  WidenVector(form, impl_->query(query), static_cast<size_t>(impl_->dim), out, *impl_->kernels);
}

void WidenVector(DataType type, const std::byte* row, size_t dim, float* out, const KernelTable& kernels) {
  switch (type) {
    case DataType::kInt8Vector:
      for (size_t d = 0; d < dim; ++d) out[d] = static_cast<float>(static_cast<int8_t>(row[d]));
      break;
    case DataType::kFloat16Vector: kernels.f16_to_f32(row, dim, out); break;
    case DataType::kBFloat16Vector: kernels.bf16_to_f32(row, dim, out); break;
    default: std::memcpy(out, row, 4 * dim); break;
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Scans

namespace {

/// Rows of a block of a scan: enough bytes to keep several streams of memory going, within bounds for the scores.
size_t BlockRows(size_t width) { return std::clamp<size_t>((size_t{512} << 10) / (width + 1), 256, 4096); }
/// Sparse rows of a block: they stay in cache for all queries.
constexpr size_t kSparseBlockRows = 1024;
/// Rows of a block that are shared by a batch: small enough for the second-level cache at usual widths.
constexpr size_t kBatchRows = 64;
static_assert(kBatchRows % CodeKernels::kGroup == 0 && kBatchRows <= 64);
/// Bytes of rows that one tile call keeps in the first-level cache.
constexpr size_t kTileBytes = 20 * 1024;
/// Queries of one tile call in the exact path of batches.
constexpr size_t kTileQueries = 24;

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

template <class T>
T* Sized(std::vector<T>& buffer, size_t size) {
  if (buffer.size() < size) buffer.resize(size);
  return buffer.data();
}

/// Calls `visit(Block)` for all kept rows in blocks of at most `block_rows`.
template <class Visit>
void ForBlocks(const ColumnView& vectors, const uint64_t* mask, size_t block_rows, FlatScratch::Impl& scratch,
               const Visit& visit) {
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

/// Offers `count` sums of a dense kernel. Most are seen to be too bad by one comparison; only the others are finished.
/// stored(i) gives row i as stored, id(i) its row id.
template <class Stored, class Id>
void OfferSums(const FlatQueries::Impl& queries, size_t q, const float* sums, const float* norms, size_t count,
               const Stored& stored, const Id& id, TopK& results) {
  const auto offer = [&](size_t i, float norm) { results.Offer(queries.Finish(q, sums[i], norm, stored(i)), id(i)); };
  float threshold = results.threshold();
  switch (queries.metric) {
    case MetricType::kL2:
      for (size_t i = 0; i < count; ++i) {
        if (sums[i] > threshold) continue;
        offer(i, 0);
        threshold = results.threshold();
      }
      return;
    case MetricType::kIp:
      for (size_t i = 0; i < count; ++i) {
        if (sums[i] < threshold) continue;
        offer(i, 0);
        threshold = results.threshold();
      }
      return;
    default: break;
  }
  // cos < t  <=>  s |s| < t |t| |x|^2 |q|^2 for s = q.x; a margin covers the rounding here. NaN and norms out of the
  // safe range fail the test and are finished.
  const auto limit_of = [&](float t) { return (t * std::abs(t) - 1e-5f) * queries.norms[q]; };
  float limit = limit_of(threshold);
  const bool safe_query = queries.norms[q] > kLeastCosineNorm2;
  for (size_t i = 0; i < count; ++i) {
    if (safe_query && norms[i] > kLeastCosineNorm2 && sums[i] * std::abs(sums[i]) < limit * norms[i]) continue;
    offer(i, norms[i]);
    limit = limit_of(results.threshold());
  }
}

/// Sums of one dense query and a block, by the kernel of the metric; `norms` only for cosine.
void SumDense(const FlatQueries::Impl& queries, size_t q, const Rows& rows, float* sums, float* norms) {
  const simd::DenseKernels& kernels = queries.dense();
  const auto scan = queries.metric == MetricType::kL2 ? kernels.l2 : kernels.ip;
  scan(rows, queries.query(q), static_cast<size_t>(queries.dim), sums,
       queries.metric == MetricType::kCosine ? norms : nullptr);
}

/// Scans with one query: memory-bound, each row is read once.
void ScanDenseOne(const FlatQueries::Impl& queries, const ColumnView& vectors, const uint64_t* mask, uint64_t first_row,
                  TopK& results, FlatScratch::Impl& scratch) {
  const size_t block_rows = BlockRows(vectors.width);
  float* sums = Sized(scratch.scores, block_rows);
  float* norms = Sized(scratch.norms, block_rows);
  ForBlocks(vectors, mask, block_rows, scratch, [&](const Block& block) {
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
  const auto tile = queries.metric == MetricType::kL2 ? batch.kernels->l2_tile : batch.kernels->ip_tile;
  const size_t count = batch.block.count;
  float* norms = Sized(scratch.norms, kBatchRows);
  if (cosine) batch.kernels->norm(batch.rows, dim, norms);
  float* scores = Sized(scratch.scores, kTileQueries * kBatchRows);
  // Few queries are bound by memory: they take the block at once, so that the tile reads it as streams far apart.
  const size_t tile_rows = queries.nq < kMinFilterQueries
                               ? kBatchRows
                               : std::clamp<size_t>(kTileBytes / (batch.rows.stride + 1), 4, kBatchRows);
  for (size_t q = 0; q < queries.nq; q += kTileQueries) {
    const size_t query_count = std::min(kTileQueries, queries.nq - q);
    for (size_t r = 0; r < count; r += tile_rows) {
      Rows rows = batch.rows;
      rows.count = std::min(tile_rows, count - r);
      if (rows.ids != nullptr) {
        rows.ids += r;
      } else {
        rows.base += r * rows.stride;
      }
      tile(rows, queries.query(q), queries.query_stride, query_count, dim, scores + r, kBatchRows);
    }
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
void ScanDenseBatch(const FlatQueries::Impl& queries, const ColumnView& vectors, const uint64_t* mask,
                    uint64_t first_row, std::span<TopK> results, FlatScratch::Impl& scratch) {
  const auto dim = static_cast<size_t>(queries.dim);
  const bool half = queries.type == DataType::kFloat16Vector || queries.type == DataType::kBFloat16Vector;
  scratch.filtering = {};
  ForBlocks(vectors, mask, kBatchRows, scratch, [&](const Block& block) {
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

void ScanBinary(const FlatQueries::Impl& queries, const ColumnView& vectors, const uint64_t* mask, uint64_t first_row,
                std::span<TopK> results, FlatScratch::Impl& scratch) {
  const auto kernel = queries.binary();
  const size_t block_rows = BlockRows(vectors.width);
  float* scores = Sized(scratch.scores, block_rows);
  ForBlocks(vectors, mask, block_rows, scratch, [&](const Block& block) {
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

void ScanSparse(const FlatQueries::Impl& queries, const ColumnView& vectors, const uint64_t* mask, uint64_t first_row,
                std::span<TopK> results, FlatScratch::Impl& scratch) {
  ForBlocks(vectors, mask, kSparseBlockRows, scratch, [&](const Block& block) {
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

}  // namespace

void FlatScan(const FlatQueries& queries, const ColumnView& vectors, const uint64_t* mask, uint64_t first_row,
              std::span<TopK> results, FlatScratch& scratch) {
  const FlatQueries::Impl& impl = queries.impl();
  assert(results.size() == impl.nq && "one collector per query");
  if (impl.nq == 0 || vectors.rows == 0) return;
  assert(vectors.type == impl.type && "the view holds the queries' type");
  for (TopK& result : results) result.Reserve(vectors.rows);
  switch (impl.type) {
    case DataType::kSparseFloatVector: return ScanSparse(impl, vectors, mask, first_row, results, scratch.impl());
    case DataType::kBinaryVector: return ScanBinary(impl, vectors, mask, first_row, results, scratch.impl());
    default:
      if (impl.nq == 1) return ScanDenseOne(impl, vectors, mask, first_row, results[0], scratch.impl());
      return ScanDenseBatch(impl, vectors, mask, first_row, results, scratch.impl());
  }
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
