// The queries of an exact search, prepared once for all rows.
#include "index/internal/flat_queries.h"

#include <bit>
#include <cassert>
#include <utility>

namespace quiver::index {
namespace {

using simd::CodeKernels;
using simd::KernelTable;

size_t RoundUp(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

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

}  // namespace

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

}  // namespace quiver::index
