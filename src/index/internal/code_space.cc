#include "index/internal/code_space.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/bytes.h"

namespace quiver::index {
namespace {

/// Rows that the centre is taken from.
constexpr size_t kCentreRows = 100'000;
/// Lengths this close to one another are as good as equal: the order by product is that of cosine but for near ties.
constexpr double kEqualLengths = 1e-3;
/// Rows so much longer than nearly all others are strays: among them the others would shrink to nothing.
constexpr double kStrayLength = 1e9;
constexpr double kUsualShare = 0.95;
/// Queries longer than this, in units of points, would overflow.
constexpr double kLongestPoint = 1e15;
/// The centre is taken out where it holds more than this share of the energy. Otherwise it would only blur short
/// vectors among long ones, which codes with a scale of their own tell apart.
constexpr double kCentreShare = 0.01;

double SquaredLength(const float* values, size_t dim) {
  float sum = 0;
  simd::Kernels().f32.norm({reinterpret_cast<const std::byte*>(values), dim * 4, 1, nullptr}, dim, &sum);
  if (sum > 1e-24f && sum < 1e30f) return static_cast<double>(sum);
  // Squares that left the range of float.
  double exact = 0;
  for (size_t d = 0; d < dim; ++d) exact += static_cast<double>(values[d]) * static_cast<double>(values[d]);
  return exact;
}

}  // namespace

CodeSpace::CodeSpace(const IndexRecipe& recipe)
    : type_(recipe.type), metric_(recipe.metric), dim_(static_cast<size_t>(recipe.dim)), rotation_(dim_, recipe.seed) {}

CodeSpace CodeSpace::Fit(const IndexRecipe& recipe, const ColumnView& vectors, std::vector<RowKind>& kinds,
                         bool lengths_differ) {
  CodeSpace space(recipe);
  const size_t dim = space.dim_;
  kinds.assign(vectors.rows, RowKind::kNull);
  std::vector<float> values(dim);
  std::vector<double> squares(vectors.rows, 0), usual;
  for (size_t row = 0; row < vectors.rows; ++row) {
    if (vectors.IsNull(row)) continue;
    WidenVector(vectors.type, vectors.fixed + row * vectors.width, dim, values.data());
    squares[row] = SquaredLength(values.data(), dim);
    if (std::isnan(squares[row])) continue;
    if (std::isinf(squares[row])) {
      kinds[row] = RowKind::kStray;
    } else if (squares[row] == 0 && recipe.metric == MetricType::kCosine) {
      kinds[row] = RowKind::kZero;
    } else {
      kinds[row] = RowKind::kPoint;
      usual.push_back(squares[row]);
    }
  }
  double limit = std::numeric_limits<double>::infinity();
  if (recipe.metric != MetricType::kCosine && !usual.empty()) {
    const auto at = usual.begin() + static_cast<std::ptrdiff_t>(kUsualShare * static_cast<double>(usual.size() - 1));
    std::nth_element(usual.begin(), at, usual.end());
    if (*at > 0) limit = *at * kStrayLength * kStrayLength;
  }
  double shortest = std::numeric_limits<double>::infinity();
  double longest = 0;
  size_t points = 0;
  for (size_t row = 0; row < vectors.rows; ++row) {
    if (kinds[row] != RowKind::kPoint) continue;
    if (squares[row] > limit) {
      kinds[row] = RowKind::kStray;
      continue;
    }
    shortest = std::min(shortest, squares[row]);
    longest = std::max(longest, squares[row]);
    ++points;
  }
  if (recipe.metric == MetricType::kCosine) {
    space.mode_ = Mode::kDirection;
  } else if (recipe.metric == MetricType::kIp) {
    const bool equal =
        !lengths_differ && shortest > 0 && std::sqrt(shortest) >= std::sqrt(longest) * (1 - kEqualLengths);
    space.mode_ = equal ? Mode::kDirection : Mode::kProduct;
  }

  // The centre of the rows as they are, or of their directions.
  std::vector<double> sum(dim, 0.0);
  const size_t step = std::max<size_t>(1, points / kCentreRows);
  size_t taken = 0, seen = 0;
  double energy = 0;
  for (size_t row = 0; row < vectors.rows; ++row) {
    if (kinds[row] != RowKind::kPoint || seen++ % step != 0) continue;
    WidenVector(vectors.type, vectors.fixed + row * vectors.width, dim, values.data());
    const double weight = space.mode_ == Mode::kDirection ? 1 / std::sqrt(squares[row]) : 1;
    for (size_t d = 0; d < dim; ++d) sum[d] += weight * static_cast<double>(values[d]);
    energy += weight * weight * squares[row];
    ++taken;
  }
  double centre_energy = 0;
  for (double& value : sum) {
    value /= static_cast<double>(std::max<size_t>(taken, 1));
    centre_energy += value * value;
  }
  const double mean_energy = energy / static_cast<double>(std::max<size_t>(taken, 1));
  if (!(centre_energy > kCentreShare * mean_energy)) {
    std::fill(sum.begin(), sum.end(), 0.0);
    centre_energy = 0;
  }
  if (space.mode_ == Mode::kDistance) {
    const double spread = mean_energy - centre_energy;
    // Where all is centre, rounding leaves the spread.
    const double size = std::sqrt(std::max(spread, 1e-12 * mean_energy));
    space.inverse_size_ = size > 0 ? 1 / size : 1;
  } else if (space.mode_ == Mode::kProduct) {
    space.inverse_size_ = longest > 0 ? 1 / std::sqrt(longest) : 1;
  }
  space.stray_squares_ = limit;
  space.longest_squares_ = longest;
  space.centre_.resize(dim);
  for (size_t d = 0; d < dim; ++d) space.centre_[d] = static_cast<float>(sum[d] * space.inverse_size_);
  return space;
}

RowKind CodeSpace::KindOf(const std::byte* row, Work& work) const {
  work.values.resize(dim_);
  WidenVector(type_, row, dim_, work.values.data());
  const double squares = SquaredLength(work.values.data(), dim_);
  if (std::isnan(squares)) return RowKind::kNull;
  if (std::isinf(squares) || squares > stray_squares_) return RowKind::kStray;
  if (squares == 0 && metric_ == MetricType::kCosine) return RowKind::kZero;
  if (mode_ != Mode::kDirection) {
    return std::sqrt(squares) * inverse_size_ < kLongestPoint ? RowKind::kPoint : RowKind::kStray;
  }
  if (metric_ == MetricType::kIp) {
    const double ratio = longest_squares_ > 0 ? std::sqrt(squares / longest_squares_) : 0;
    if (!(std::abs(ratio - 1) <= kEqualLengths)) return RowKind::kStray;
  }
  return RowKind::kPoint;
}

std::string CodeSpace::Serialise() const {
  ByteWriter writer;
  writer.Value(static_cast<uint8_t>(mode_));
  writer.Value(inverse_size_);
  for (const float value : centre_) writer.Value(value);
  return writer.Take();
}

Result<CodeSpace> CodeSpace::Parse(const IndexRecipe& recipe, std::string_view bytes, std::string_view name) {
  CodeSpace space(recipe);
  ByteReader reader(bytes);
  const auto mode = reader.Value<uint8_t>();
  space.inverse_size_ = reader.Value<double>();
  if (!reader.ok() || mode > static_cast<uint8_t>(Mode::kProduct) || bytes.size() != 9 + space.dim_ * 4) {
    return Error(StatusCode::kCorruption, "{}: the code space is damaged", name);
  }
  space.mode_ = static_cast<Mode>(mode);
  space.centre_.resize(space.dim_);
  for (float& value : space.centre_) value = reader.Value<float>();
  return space;
}

float CodeSpace::centre_energy() const {
  double sum = 0;
  for (const float value : centre_) sum += static_cast<double>(value) * static_cast<double>(value);
  return static_cast<float>(sum);
}

void CodeSpace::PointOfRow(const std::byte* row, float* shift, Work& work) const {
  work.values.resize(dim_);
  work.point.resize(dim_);
  work.rotated.resize(padded_dim());
  WidenVector(type_, row, dim_, work.values.data());
  double factor = inverse_size_;
  if (mode_ == Mode::kDirection) factor = 1 / std::sqrt(SquaredLength(work.values.data(), dim_));
  for (size_t d = 0; d < dim_; ++d) {
    work.point[d] = static_cast<float>(static_cast<double>(work.values[d]) * factor - static_cast<double>(centre_[d]));
  }
  if (mode_ == Mode::kProduct) {
    double sum = 0;
    for (size_t d = 0; d < dim_; ++d) sum += static_cast<double>(work.point[d]) * static_cast<double>(centre_[d]);
    *shift = static_cast<float>(sum);
  }
  rotation_.Apply(work.point.data(), work.rotated.data());
}

codec::Sq8Factors CodeSpace::EncodeRow(const std::byte* row, int8_t* codes, float* shift, Work& work) const {
  PointOfRow(row, shift, work);
  return codec::EncodeSq8(work.rotated.data(), padded_dim(), codes);
}

QueryTerms CodeSpace::PointOfQuery(const FlatQueries& queries, size_t query, Work& work) const {
  work.values.resize(dim_);
  work.point.resize(dim_);
  work.rotated.resize(padded_dim());
  queries.CopyValues(query, work.values.data());
  QueryTerms terms = TermsOf({.scale = 1, .norm = 0});
  const double length = std::sqrt(SquaredLength(work.values.data(), dim_));
  double factor = inverse_size_;
  if (mode_ != Mode::kDistance) factor = length > 0 ? 1 / length : 0;
  if (!(length * factor < kLongestPoint)) {
    terms.usable = false;
    return terms;
  }
  const float centred = mode_ == Mode::kProduct ? 0.0f : 1.0f;
  const auto weight = static_cast<float>(factor);
  if (weight < std::numeric_limits<float>::infinity() && weight > 1e-30f) {
    for (size_t d = 0; d < dim_; ++d) work.point[d] = work.values[d] * weight - centred * centre_[d];
  } else {
    for (size_t d = 0; d < dim_; ++d) {
      const double value = static_cast<double>(work.values[d]) * factor;
      work.point[d] = static_cast<float>(value) - centred * centre_[d];
    }
  }
  rotation_.Apply(work.point.data(), work.rotated.data());
  return terms;
}

QueryTerms CodeSpace::EncodeQuery(const FlatQueries& queries, size_t query, int8_t* codes, Work& work) const {
  const QueryTerms terms = PointOfQuery(queries, query, work);
  if (!terms.usable) return terms;
  return TermsOf(codec::EncodeSq8(work.rotated.data(), padded_dim(), codes));
}

}  // namespace quiver::index
