#include "index/internal/graph_encoder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <optional>
#include <utility>

#include "index/internal/graph_layout.h"
#include "index/internal/huge_array.h"

namespace quiver::index {
namespace {

/// Rows that each centre of product codes is trained on at least.
constexpr size_t kRowsPerCentre = 10;

class Sq8Encoder : public GraphEncoder {
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

  Status LayOut(BuildCrew& /*crew*/) override {
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
    return Status::Ok();
  }
  [[nodiscard]] WalkPoints walk_points() const override {
    return {.dim = dim_,
            .coarse = coarse_.data(),
            .fine = fine_.data(),
            .coarse_factors = coarse_factors_.data(),
            .factors = factors_.data(),
            .bits = {}};
  }
  /// Leaves the point of the query in query_point_.
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

 protected:
  const ColumnView& vectors_;
  CodeSpace space_;
  size_t dim_;
  size_t vertices_ = 0;
  std::vector<CodeSpace::Work> works_;
  std::vector<float> query_point_;

 private:
  HugeArray<int8_t> codes_;
  HugeArray<uint8_t> coarse_, fine_;
  HugeArray<CoarseFactors> coarse_factors_;
  HugeArray<codec::Sq8Factors> factors_;
  std::vector<float> shifts_;
  std::deque<std::vector<int8_t>> queries_;
};

/// Builds as Sq8Encoder; the codes that are walked by are trained and made at the end, from the points themselves.
class ProductEncoder final : public Sq8Encoder {
 public:
  ProductEncoder(const IndexRecipe& recipe, const ColumnView& vectors)
      : Sq8Encoder(recipe, vectors), shape_(ProductShapeOf(recipe, dim_)), seed_(recipe.seed) {}

  void Reserve(uint32_t vertices, size_t threads) override {
    Sq8Encoder::Reserve(vertices, threads);
    row_of_.resize(vertices);
    product_works_.resize(threads);
  }
  void Encode(uint32_t vertex, uint32_t row, size_t thread) override {
    row_of_[vertex] = row;
    Sq8Encoder::Encode(vertex, row, thread);
  }

  Status LayOut(BuildCrew& crew) override {
    const size_t wanted = std::min(vertices_, codec::PqCodebook::kTrainingRows);
    std::vector<float> sample(wanted * dim_);
    for (size_t i = 0; i < wanted; ++i) {
      const float* point = PointOf(static_cast<uint32_t>(i * vertices_ / wanted), 0);
      std::copy_n(point, dim_, sample.data() + i * dim_);
    }
    codec::KMeansOptions options;
    options.seed = seed_;
    options.threads = crew.size();
    options.cancelled = crew.control().cancelled;
    QUIVER_ASSIGN_OR_RETURN(book_, codec::ResidualPqCodebook::Train(sample.data(), wanted, shape_, options));
    sample = {};
    products_ = HugeArray<std::byte>(std::max<size_t>(vertices_ * shape_.row_bytes(), 1));
    norms_ = HugeArray<float>(vertices_);
    return crew.ForAll(static_cast<uint32_t>(vertices_), 0.95, 0.97, [&](LinkScratch& worker, uint32_t vertex) {
      const size_t thread = crew.number_of(worker);
      std::byte* code = products_.data() + vertex * shape_.row_bytes();
      norms_[vertex] = book_->Encode(PointOf(vertex, thread), code, product_works_[thread]);
    });
  }
  [[nodiscard]] WalkPoints walk_points() const override {
    WalkPoints points;
    points.dim = dim_;
    points.products = {.codes = products_.data(), .bytes = shape_.row_bytes(), .norms = norms_.data()};
    return points;
  }
  GraphQuery QueryNear(uint32_t vertex, float distance, uint64_t& random) override {
    GraphQuery query = Sq8Encoder::QueryNear(vertex, distance, random);
    if (by_product()) {
      // As queries that are compared by product are, whose length changes no order, but the margin.
      double squares = 0;
      for (const float value : query_point_) squares += static_cast<double>(value) * static_cast<double>(value);
      const auto factor = static_cast<float>(1 / std::sqrt(std::max(squares, 1e-30)));
      for (float& value : query_point_) value *= factor;
    }
    codec::ResidualPqQuery& lookup = lookups_.emplace_back();
    lookup.Prepare(*book_, query_point_.data());
    query.lookup = lookup.lookup();
    query.lookup_terms = space_.TermsOf({.scale = 1, .norm = 0});
    return query;
  }
  void Write(IndexFileWriter& writer) const override {
    writer.Add(kGraphSpace, space_.Serialise());
    writer.AddValues<float>(kGraphBook, book_->centres());
    writer.AddValues(kGraphProducts, products_.span().first(vertices_ * shape_.row_bytes()));
    writer.AddValues(kGraphProductNorms, norms_.span());
  }

 private:
  /// Stands until the next call of the same thread.
  const float* PointOf(uint32_t vertex, size_t thread) {
    float shift = 0;
    space_.PointOfRow(vectors_.fixed + row_of_[vertex] * vectors_.width, &shift, works_[thread]);
    return works_[thread].rotated.data();
  }

  const codec::ResidualPqShape shape_;
  const uint64_t seed_;
  std::vector<uint32_t> row_of_;  ///< of each vertex one
  std::optional<codec::ResidualPqCodebook> book_;
  std::vector<codec::ResidualPqCodebook::Work> product_works_;
  HugeArray<std::byte> products_;
  HugeArray<float> norms_;
  std::deque<codec::ResidualPqQuery> lookups_;
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
  Status LayOut(BuildCrew& /*crew*/) override { return Status::Ok(); }
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

codec::ResidualPqShape ProductShapeOf(const IndexRecipe& recipe, size_t padded_dim) {
  return {{padded_dim, recipe.quantizers, recipe.code_bits}, recipe.stages};
}

IndexRecipe RecipeOver(const IndexRecipe& recipe, size_t rows) {
  IndexRecipe built = recipe;
  if (recipe.codec == IndexCodec::kPq && rows >> recipe.code_bits < kRowsPerCentre * recipe.stages) {
    built.codec = IndexCodec::kSq8;
    built.quantizers = 0;
    built.stages = 1;
  }
  return built;
}

bool GraphEncodes(const IndexRecipe& recipe) {
  if (recipe.type == DataType::kBinaryVector) {
    return recipe.codec == IndexCodec::kRaw && recipe.dim >= 8 && recipe.dim % 8 == 0 &&
           (recipe.metric == MetricType::kHamming || recipe.metric == MetricType::kJaccard);
  }
  const bool dense = recipe.type == DataType::kFloatVector || recipe.type == DataType::kFloat16Vector ||
                     recipe.type == DataType::kBFloat16Vector || recipe.type == DataType::kInt8Vector;
  // Room in the file's head for the number of runs.
  constexpr uint32_t kMostRuns = 0xffff;
  const bool products = recipe.codec == IndexCodec::kPq && recipe.quantizers <= kMostRuns &&
                        ProductShapeOf(recipe, static_cast<size_t>(recipe.dim)).sound();
  return dense && recipe.dim > 0 && (recipe.codec == IndexCodec::kSq8 || products);
}

std::unique_ptr<GraphEncoder> MakeGraphEncoder(const IndexRecipe& recipe, const ColumnView& vectors) {
  if (recipe.type == DataType::kBinaryVector) return std::make_unique<BitEncoder>(recipe, vectors);
  if (recipe.codec == IndexCodec::kPq) return std::make_unique<ProductEncoder>(recipe, vectors);
  return std::make_unique<Sq8Encoder>(recipe, vectors);
}

}  // namespace quiver::index
