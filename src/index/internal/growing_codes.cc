#include "index/internal/growing_codes.h"

#include <cstring>

#include "index/internal/graph_encoder.h"

namespace quiver::index {
namespace {

/// Points that are so many times longer than those of the sample, in squares, have left its codes behind.
constexpr double kDrift = 2.5;
/// Rows of unexpected lengths, at least and of so many, that are worth a new space.
constexpr uint32_t kStrangers = 64;
constexpr uint32_t kStrangersOf = 64;
/// Rows that are encoded to learn how long points of the sample are.
constexpr size_t kSampledPoints = 256;

std::optional<CodeSpace> FitSpace(const IndexRecipe& recipe, const ColumnView& sample, bool lengths_differ) {
  if (recipe.type == DataType::kBinaryVector) return std::nullopt;
  std::vector<RowKind> kinds;
  return CodeSpace::Fit(recipe, sample, kinds, lengths_differ);
}

}  // namespace

GrowingCodes::GrowingCodes(const IndexRecipe& recipe, uint32_t capacity, const ColumnView& sample, bool lengths_differ,
                           bool halves)
    : space_(FitSpace(recipe, sample, lengths_differ)),
      dim_(space_ ? space_->padded_dim() : 0),
      codes_(HugeArray<int8_t>::Room(capacity * dim_)),
      coarse_(HugeArray<uint8_t>::Room(halves ? capacity * dim_ / 2 : 0)),
      factors_(HugeArray<codec::Sq8Factors>::Room(space_ ? capacity : 0)),
      coarse_factors_(HugeArray<CoarseFactors>::Room(space_ && halves ? capacity : 0)),
      shifts_(HugeArray<float>::Room(by_product() ? capacity : 0)),
      bits_(HugeArray<std::byte>::Room(space_ ? 0 : size_t{capacity} * static_cast<size_t>(recipe.dim) / 8)),
      strays_(capacity),
      zeros_(capacity) {
  if (binary()) {
    points_.bits = {bits_.data(), static_cast<size_t>(recipe.dim) / 8, BitDistance(recipe.metric)};
    walk_points_.bits = points_.bits;
    return;
  }
  points_ = {.codes = codes_.data(),
             .dim = dim_,
             .factors = factors_.data(),
             .shifts = shifts_.size() == 0 ? nullptr : shifts_.data(),
             .centre_energy = space_->centre_energy()};
  walk_points_ = {.dim = dim_,
                  .coarse = coarse_.data(),
                  .coarse_factors = coarse_factors_.data(),
                  .factors = factors_.data(),
                  .codes = codes_.data()};
  fine_.resize(dim_ / 2);
  std::vector<int8_t> codes(dim_);
  float shift = 0;
  double scales = 0;
  size_t points = 0;
  const size_t step = std::max<size_t>(1, sample.rows / kSampledPoints);
  for (size_t row = 0; row < sample.rows; row += step) {
    if (sample.IsNull(row)) continue;
    const std::byte* vector = sample.fixed + row * sample.width;
    if (space_->KindOf(vector, work_) != RowKind::kPoint) continue;
    const codec::Sq8Factors factors = space_->EncodeRow(vector, codes.data(), &shift, work_);
    sample_norm_ += static_cast<double>(factors.norm);
    scales += static_cast<double>(factors.scale);
    ++points;
  }
  sample_norm_ /= static_cast<double>(std::max<size_t>(points, 1));
  usual_scale_ = static_cast<float>(scales / static_cast<double>(std::max<size_t>(points, 1)));
}

uint64_t GrowingCodes::BytesPerRow(const IndexRecipe& recipe, bool halves) {
  const auto dim = static_cast<uint64_t>(recipe.dim);
  if (recipe.type == DataType::kBinaryVector) return dim / 8;
  const uint64_t padded = (dim + 63) / 64 * 64;
  const uint64_t whole = padded + sizeof(codec::Sq8Factors) + sizeof(float);
  return halves ? whole + padded / 2 + sizeof(CoarseFactors) : whole;
}

void GrowingCodes::AdviseBeyond(uint32_t used) {
  codes_.AdviseBeyond(used * dim_);
  if (coarse_.size() != 0) coarse_.AdviseBeyond(used * dim_ / 2);
  bits_.AdviseBeyond(used * points_.bits.bytes);
}

void GrowingCodes::Encode(uint32_t row, const std::byte* vector) {
  if (binary()) {
    std::memcpy(bits_.data() + row * points_.bits.bytes, vector, points_.bits.bytes);
    return;
  }
  int8_t* codes = codes_.data() + row * dim_;
  factors_[row] = space_->EncodeRow(vector, codes, shifts_.size() == 0 ? nullptr : &shifts_[row], work_);
  const float scale = factors_[row].scale;
  if (coarse_.size() != 0) {
    const float squares = codec::SplitSq8(codes, dim_, coarse_.data() + row * dim_ / 2, fine_.data());
    coarse_factors_[row] = {scale, scale * scale * squares};
  }
  norms_ += static_cast<double>(factors_[row].norm);
  scales_ += static_cast<double>(scale);
  ++encoded_;
}

RowKind GrowingCodes::Add(uint32_t row, const ColumnView& page, uint32_t within) {
  if (page.IsNull(within)) return RowKind::kNull;
  const std::byte* vector = page.fixed + within * page.width;
  const RowKind kind = binary() ? RowKind::kPoint : space_->KindOf(vector, work_);
  switch (kind) {
    case RowKind::kPoint: Encode(row, vector); break;
    case RowKind::kStray:
      if (space_->assumes_equal_lengths()) ++strangers_;
      strays_.Append(row);
      break;
    case RowKind::kZero: zeros_.Append(row); break;
    case RowKind::kNull: break;
  }
  return kind;
}

GraphQuery GrowingCodes::QueryOf(uint32_t row) const {
  if (binary()) return GraphQuery(points_.bits.at(row));
  return {points_.at(row), dim_, space_->TermsOf(factors_[row])};
}

void GrowingCodes::Review() {
  if (encoded_ == 0) return;
  usual_scale_.store(static_cast<float>(scales_ / encoded_), std::memory_order_relaxed);
  drifted_ = drifted_ || norms_ / encoded_ > kDrift * sample_norm_;
  norms_ = scales_ = 0;
  encoded_ = 0;
}

bool GrowingCodes::lengths_differ(uint32_t rows) const {
  return strangers_ > std::max(kStrangers, rows / kStrangersOf);
}

}  // namespace quiver::index
