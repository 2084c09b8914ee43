#include "index/internal/graph_encoder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>

#include "index/internal/graph_layout.h"
#include "index/internal/huge_array.h"

namespace quiver::index {
namespace {

class Sq8Encoder final : public GraphEncoder {
 public:
  Sq8Encoder(const IndexRecipe& recipe, const ColumnView& vectors)
      : vectors_(vectors), space_(CodeSpace::Fit(recipe, vectors, kinds_)), dim_(space_.padded_dim()) {}

  void Reserve(uint32_t vertices, size_t threads) override {
    vertices_ = vertices;
    codes_ = HugeArray<int8_t>(vertices * dim_);
    factors_ = HugeArray<codec::Sq8Factors>(vertices);
    if (space_.by_product()) shifts_.resize(vertices);
    works_.resize(threads);
  }
  void Encode(uint32_t vertex, uint32_t row, size_t thread) override {
    factors_[vertex] = space_.EncodeRow(vectors_.fixed + row * vectors_.width, codes_.data() + vertex * dim_,
                                        shifts_.empty() ? nullptr : &shifts_[vertex], works_[thread]);
  }
  [[nodiscard]] GraphPoints points() const override {
    return {.codes = codes_.data(),
            .dim = dim_,
            .factors = factors_.data(),
            .shifts = shifts_.empty() ? nullptr : shifts_.data(),
            .centre_energy = space_.centre_energy(),
            .bits = {}};
  }
  [[nodiscard]] bool by_product() const override { return space_.by_product(); }
  [[nodiscard]] uint32_t padded_dim() const override { return static_cast<uint32_t>(dim_); }

  void LayOut() override {
    const size_t half = dim_ / 2;
    coarse_ = HugeArray<uint8_t>(vertices_ * half);
    fine_ = HugeArray<uint8_t>(vertices_ * half);
    coarse_factors_ = HugeArray<CoarseFactors>(vertices_);
    for (uint32_t v = 0; v < vertices_; ++v) {
      const float scale = factors_[v].scale;
      const float squares =
          codec::SplitSq8(codes_.data() + v * dim_, dim_, coarse_.data() + v * half, fine_.data() + v * half);
      coarse_factors_[v] = {scale, scale * scale * squares};
    }
  }
  [[nodiscard]] WalkPoints walk_points() const override {
    return {.dim = dim_,
            .coarse = coarse_.data(),
            .fine = fine_.data(),
            .coarse_factors = coarse_factors_.data(),
            .factors = factors_.data(),
            .bits = {}};
  }
  GraphQuery QueryNear(uint32_t vertex, float distance, uint64_t& random) override {
    query_point_.resize(dim_);
    std::vector<int8_t>& into = queries_.emplace_back(dim_);
    const float reach = space_.by_product() ? 0.5f * std::sqrt(factors_[vertex].norm) : std::sqrt(distance);
    double length = 0;
    for (float& value : query_point_) {
      // The sum of a few uniform values is normal enough.
      const uint64_t bits = NextRandom(random);
      value = -2.0f;
      for (int part = 0; part < 4; ++part) value += static_cast<float>((bits >> (16 * part)) & 0xffff) / 65536.0f;
      length += static_cast<double>(value) * static_cast<double>(value);
    }
    const float size = reach / static_cast<float>(std::sqrt(std::max(length, 1e-30)));
    const int8_t* codes = codes_.data() + vertex * dim_;
    for (size_t d = 0; d < dim_; ++d) {
      query_point_[d] = query_point_[d] * size + factors_[vertex].scale * static_cast<float>(codes[d]);
    }
    const codec::Sq8Factors factors = codec::EncodeSq8(query_point_.data(), dim_, into.data());
    return {into.data(), dim_, space_.TermsOf(factors)};
  }
  void Keys(const GraphQuery& query, const uint32_t* ids, size_t count, float* keys) const override {
    points().Keys(query.codes, query.terms, ids, count, keys);
  }
  void Write(IndexFileWriter& writer) const override {
    writer.Add(kGraphSpace, space_.Serialise());
    writer.AddValues(kGraphCoarse, coarse_.span());
    writer.AddValues(kGraphFine, fine_.span());
    writer.AddValues(kGraphCoarseFactors, coarse_factors_.span());
    writer.AddValues(kGraphFactors, factors_.span());
  }

 private:
  const ColumnView& vectors_;
  CodeSpace space_;
  size_t dim_;
  size_t vertices_ = 0;
  HugeArray<int8_t> codes_;
  HugeArray<uint8_t> coarse_, fine_;
  HugeArray<CoarseFactors> coarse_factors_;
  HugeArray<codec::Sq8Factors> factors_;
  std::vector<float> shifts_;
  std::vector<CodeSpace::Work> works_;
  std::vector<float> query_point_;
  std::deque<std::vector<int8_t>> queries_;
};

class BitEncoder final : public GraphEncoder {
 public:
  BitEncoder(const IndexRecipe& recipe, const ColumnView& vectors)
      : vectors_(vectors),
        bytes_(static_cast<size_t>(recipe.dim) / 8),
        jaccard_(recipe.metric == MetricType::kJaccard),
        distance_(BitDistance(recipe.metric)) {
    kinds_.resize(vectors.rows);
    for (size_t row = 0; row < vectors.rows; ++row) {
      kinds_[row] = vectors.IsNull(row) ? RowKind::kNull : RowKind::kPoint;
    }
  }

  void Reserve(uint32_t vertices, size_t /*threads*/) override { rows_ = HugeArray<std::byte>(vertices * bytes_); }
  void Encode(uint32_t vertex, uint32_t row, size_t /*thread*/) override {
    std::memcpy(rows_.data() + vertex * bytes_, vectors_.fixed + row * vectors_.width, bytes_);
  }
  [[nodiscard]] GraphPoints points() const override {
    GraphPoints points;
    points.bits = bits();
    return points;
  }
  void LayOut() override {}
  [[nodiscard]] WalkPoints walk_points() const override {
    WalkPoints points;
    points.bits = bits();
    return points;
  }
  /// Turns over as many ones as zeros, so that the query has as many ones as rows do.
  GraphQuery QueryNear(uint32_t vertex, float distance, uint64_t& random) override {
    const std::byte* row = rows_.data() + vertex * bytes_;
    std::vector<std::byte>& query = queries_.emplace_back(row, row + bytes_);
    size_t ones = 0;
    for (const std::byte byte : query) ones += static_cast<size_t>(std::popcount(static_cast<uint8_t>(byte)));
    // With f ones and f zeros turned over, Hamming is 2 f and Jaccard 2 f / (ones + f).
    const double wanted = static_cast<double>(distance);
    const double turned = jaccard_ ? wanted * static_cast<double>(ones) / (2 - wanted) : wanted / 2;
    const auto each = static_cast<size_t>(std::lround(std::max(turned, 0.0)));
    const size_t most[2] = {std::min(each, 8 * bytes_ - ones), std::min(each, ones)};
    for (const size_t value : {size_t{1}, size_t{0}}) {
      // What is left of `most` where hardly any bits have the value is left out.
      size_t left = most[value];
      for (size_t tries = 64 * left; left > 0 && tries > 0; --tries) {
        const size_t at = NextRandom(random) % (8 * bytes_);
        const auto bit = std::byte{1} << (at % 8);
        const bool was = (row[at / 8] & bit) != std::byte{0};
        const bool is = (query[at / 8] & bit) != std::byte{0};
        if (was != (value == 1) || is != was) continue;
        query[at / 8] ^= bit;
        --left;
      }
    }
    return GraphQuery(query.data());
  }
  void Keys(const GraphQuery& query, const uint32_t* ids, size_t count, float* keys) const override {
    bits().Keys(query.bits, ids, count, keys);
  }
  void Write(IndexFileWriter& writer) const override { writer.AddValues(kGraphBits, rows_.span()); }

 private:
  [[nodiscard]] GraphBits bits() const { return {rows_.data(), bytes_, distance_}; }

  const ColumnView& vectors_;
  size_t bytes_;
  bool jaccard_;
  simd::BinaryKernels::Function distance_;
  HugeArray<std::byte> rows_;
  std::deque<std::vector<std::byte>> queries_;
};

}  // namespace

uint64_t NextRandom(uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

simd::BinaryKernels::Function BitDistance(MetricType metric) {
  const simd::BinaryKernels& kernels = simd::Kernels().binary;
  return metric == MetricType::kJaccard ? kernels.jaccard : kernels.hamming;
}

bool GraphEncodes(const IndexRecipe& recipe) {
  if (recipe.type == DataType::kBinaryVector) {
    return recipe.codec == IndexCodec::kRaw && recipe.dim >= 8 && recipe.dim % 8 == 0 &&
           (recipe.metric == MetricType::kHamming || recipe.metric == MetricType::kJaccard);
  }
  const bool dense = recipe.type == DataType::kFloatVector || recipe.type == DataType::kFloat16Vector ||
                     recipe.type == DataType::kBFloat16Vector || recipe.type == DataType::kInt8Vector;
  return dense && recipe.codec == IndexCodec::kSq8 && recipe.dim > 0;
}

std::unique_ptr<GraphEncoder> MakeGraphEncoder(const IndexRecipe& recipe, const ColumnView& vectors) {
  if (recipe.type == DataType::kBinaryVector) return std::make_unique<BitEncoder>(recipe, vectors);
  return std::make_unique<Sq8Encoder>(recipe, vectors);
}

}  // namespace quiver::index
