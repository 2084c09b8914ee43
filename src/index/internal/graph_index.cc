#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

#include "index/internal/graph.h"
#include "index/internal/graph_encoder.h"
#include "index/internal/graph_layout.h"
#include "index/internal/graph_plan.h"
#include "index/internal/graph_query.h"
#include "index/internal/graph_search.h"
#include "index/internal/graph_sketch.h"
#include "index/internal/graph_stream.h"
#include "index/internal/huge_array.h"
#include "index/internal/index_scratch.h"
#include "index/internal/plan_timings.h"

namespace quiver::index {
namespace {

/// Rows that a stream settles ahead at least.
constexpr size_t kLeastAhead = 8;
/// What comparing whole codes costs, in units of a scan's first look.
constexpr size_t kWholeCodes = 2;

class GraphIndex final : public VectorIndex {
 public:
  explicit GraphIndex(IndexFile file) : file_(std::move(file)), recipe_(file_.recipe()) {}

  /// Looks at the head and the sizes; the contents wait for the first search.
  Status Open();

  [[nodiscard]] const IndexRecipe& recipe() const override { return recipe_; }
  [[nodiscard]] uint32_t row_count() const override { return file_.row_count(); }
  [[nodiscard]] uint64_t memory_bytes() const override { return memory_.load(std::memory_order_relaxed); }
  Status Search(const FlatQueries& queries, size_t query, const ColumnView& vectors, const RowFilter& filter,
                const IndexSearchOptions& options, uint64_t first_row, TopK& result, IndexScratch& scratch,
                IndexCounters& counters) const override;
  Result<std::unique_ptr<HitStream>> OpenStream(const FlatQueries& queries, size_t query, const ColumnView& vectors,
                                                const RowFilter& filter, const StreamOptions& options,
                                                uint64_t first_row) const override;
  /// Nothing but its distance from what its code stands for would bound the error of a row with a product code. That is
  /// so wide that nearly all rows would be scored, in no order, which takes three times as long as a scan.
  [[nodiscard]] bool bounds_scores() const override { return !by_products(); }
  [[nodiscard]] uint64_t rows_to_score(size_t k) const override;
  [[nodiscard]] double expected_cost(std::optional<uint64_t> matches, const IndexSearchOptions& options) const override;

  /// As index::LinksOf; the links stay where they are.
  [[nodiscard]] Result<GraphLinks> Links(std::span<const uint32_t> new_rows) const;

 private:
  [[nodiscard]] bool by_products() const { return recipe_.codec == IndexCodec::kPq && !binary(); }
  [[nodiscard]] bool binary() const { return recipe_.type == DataType::kBinaryVector; }
  Status Prepare() const;
  Status PrepareOnce() const;
  Status ParseSpace() const;
  Status PrepareCodes() const;
  Status PrepareProducts() const;
  Status PrepareBits() const;
  [[nodiscard]] Status CheckFits(const FlatQueries& queries, const ColumnView& vectors) const;
  [[nodiscard]] uint32_t VertexOf(uint32_t first_row) const;
  [[nodiscard]] GraphContents Contents() const;
  [[nodiscard]] GraphShape ShapeByHead() const;
  [[nodiscard]] double CandidatesByFile() const;

  IndexFile file_;
  IndexRecipe recipe_;

  // Set by PrepareOnce, once, under the flag; constant afterwards.
  mutable std::once_flag once_;
  mutable Status prepared_;
  mutable std::atomic<uint64_t> memory_{0};
  mutable std::optional<CodeSpace> space_;
  mutable HugeArray<uint8_t> coarse_;
  mutable HugeArray<CoarseFactors> coarse_factors_;
  mutable HugeArray<std::byte> bits_;  ///< of binary vectors
  mutable std::optional<codec::ResidualPqCodebook> book_;
  mutable HugeArray<std::byte> products_;
  mutable HugeArray<float> norms_;  ///< of product codes
  mutable GraphMargin margin_;
  mutable HugeArray<uint32_t> links_;
  mutable HugeArray<uint32_t> upper_;
  mutable GraphSketches sketches_;
  mutable float usual_scale_ = 0;  ///< of codes
  mutable GraphView view_;
  mutable GraphHead head_;
  mutable std::span<const uint32_t> level_sizes_, row_offset_, rows_, strays_, zeros_, starts_;
  mutable std::span<const GraphCurvePoint> curve_;

  mutable PlanTimings timings_{PlanTimings::Family::kGraph};
};

Status GraphIndex::Open() {
  const std::string_view head = file_.Section(kGraphHead);
  if (head.size() < sizeof(GraphHead)) return file_.Damaged("the head of the graph is too short");
  std::memcpy(&head_, head.data(), sizeof(head_));
  if (head_.version != 1) return file_.Damaged("the version of the graph is not known");
  const int64_t most_dim = binary() ? 1 << 18 : 1 << 16;
  if (recipe_.dim <= 0 || recipe_.dim > most_dim || (binary() && recipe_.dim % 8 != 0))
    return file_.Damaged("its dimension is out of range");
  if (by_products() && !ProductShapeOf(recipe_, static_cast<size_t>(recipe_.dim)).sound())
    return file_.Damaged("its product codes are out of range");
  return Status::Ok();
}

Status GraphIndex::Prepare() const {
  std::call_once(once_, [this] {
    try {
      prepared_ = PrepareOnce();
    } catch (const std::bad_alloc&) {
      prepared_ = Error(StatusCode::kMemoryLimit, "{}: no memory to open the index", file_.name());
    }
  });
  return prepared_;
}

template <typename T>
HugeArray<T> Copied(std::span<const T> values) {
  HugeArray<T> array(values.size());
  if (!values.empty()) std::memcpy(array.data(), values.data(), values.size_bytes());
  return array;
}

Status GraphIndex::ParseSpace() const {
  auto space = CodeSpace::Parse(recipe_, file_.Section(kGraphSpace), file_.name());
  if (!space.ok()) return space.status();
  space_ = *std::move(space);
  return head_.padded_dim == space_->padded_dim() ? Status::Ok() : file_.Damaged("its codes have a wrong length");
}

Status GraphIndex::PrepareCodes() const {
  const size_t vertices = head_.vertices;
  QUIVER_RETURN_IF_ERROR(ParseSpace());
  QUIVER_ASSIGN_OR_RETURN(const auto coarse, file_.Values<uint8_t>(kGraphCoarse, vertices * head_.padded_dim / 2));
  QUIVER_ASSIGN_OR_RETURN(const auto fine, file_.Values<uint8_t>(kGraphFine, vertices * head_.padded_dim / 2));
  QUIVER_ASSIGN_OR_RETURN(const auto coarse_factors, file_.Values<CoarseFactors>(kGraphCoarseFactors, vertices));
  QUIVER_ASSIGN_OR_RETURN(const auto factors, file_.Values<codec::Sq8Factors>(kGraphFactors, vertices));
  coarse_ = Copied(coarse);
  coarse_factors_ = Copied(coarse_factors);
  // Fine codes are read at the end of a search only, a few rows at a time: these stay where they are.
  view_.points = {head_.padded_dim, coarse_.data(), fine.data(), coarse_factors_.data(), factors.data(), {}};
  double scales = 0;
  for (const CoarseFactors& one : coarse_factors) scales += static_cast<double>(one.scale);
  usual_scale_ = vertices > 0 ? static_cast<float>(scales / static_cast<double>(vertices)) : 0;
  if (GraphSketches::Useful(head_.padded_dim)) sketches_ = GraphSketches(view_.points, head_.vertices);
  memory_ += coarse_.memory_bytes() + coarse_factors_.memory_bytes() + sketches_.memory_bytes();
  return Status::Ok();
}

Status GraphIndex::PrepareProducts() const {
  const size_t vertices = head_.vertices;
  QUIVER_RETURN_IF_ERROR(ParseSpace());
  const codec::ResidualPqShape shape = ProductShapeOf(recipe_, head_.padded_dim);
  const size_t bytes = shape.row_bytes();
  QUIVER_ASSIGN_OR_RETURN(const auto centres, file_.Values<float>(kGraphBook, shape.centre_values()));
  QUIVER_ASSIGN_OR_RETURN(const auto codes, file_.Values<std::byte>(kGraphProducts, vertices * bytes));
  QUIVER_ASSIGN_OR_RETURN(const auto norms, file_.Values<float>(kGraphProductNorms, vertices));
  QUIVER_ASSIGN_OR_RETURN(const auto margin, file_.Values<GraphMargin>(kGraphProductMargin, 1));
  margin_ = margin[0];
  if (!(margin_.margin >= 0) || !(margin_.candidates >= 0)) return file_.Damaged("its margin is out of range");
  book_.emplace(shape, centres);
  // There is an array without vertices too, for it tells the kind of the graph.
  products_ = HugeArray<std::byte>(std::max<size_t>(codes.size(), 1));
  if (!codes.empty()) std::memcpy(products_.data(), codes.data(), codes.size());
  norms_ = Copied(norms);
  view_.points.dim = head_.padded_dim;
  view_.points.products = {products_.data(), bytes, norms_.data(), margin_.margin};
  memory_ += book_->memory_bytes() + products_.memory_bytes() + norms_.memory_bytes();
  return Status::Ok();
}

Status GraphIndex::PrepareBits() const {
  if (head_.padded_dim != 0) return file_.Damaged("its codes have a wrong length");
  const size_t bytes = static_cast<size_t>(recipe_.dim) / 8;
  QUIVER_ASSIGN_OR_RETURN(const auto bits, file_.Values<std::byte>(kGraphBits, head_.vertices * bytes));
  // There is an array without vertices too, for it tells the kind of the graph.
  bits_ = HugeArray<std::byte>(std::max<size_t>(bits.size(), 1));
  if (!bits.empty()) std::memcpy(bits_.data(), bits.data(), bits.size());
  view_.points.bits = {bits_.data(), bytes, BitDistance(recipe_.metric)};
  memory_ += bits_.memory_bytes();
  return Status::Ok();
}

Status GraphIndex::PrepareOnce() const {
  QUIVER_RETURN_IF_ERROR(file_.EnsureSound());
  // Checksums say that the bytes are those that were written; what follows keeps a file that was made up from leading a
  // walk outside of it.
  const size_t vertices = head_.vertices;
  const size_t rows = file_.row_count();
  if (vertices > rows || head_.degree > recipe_.degree || head_.degree == 0 || head_.degree > kMaxLinks ||
      head_.upper_degree == 0 || head_.upper_degree > kMaxLinks || head_.upper_levels > GraphView::kMaxLevels ||
      (vertices > 0 && head_.entry >= vertices)) {
    return file_.Damaged("the head of the graph is out of range");
  }
  QUIVER_RETURN_IF_ERROR(binary() ? PrepareBits() : by_products() ? PrepareProducts() : PrepareCodes());
  QUIVER_ASSIGN_OR_RETURN(const auto links, file_.Values<uint32_t>(kGraphLinks, vertices * head_.degree));
  const std::string_view sizes = file_.Section(kGraphHead).substr(sizeof(GraphHead));
  if (sizes.size() != head_.upper_levels * sizeof(uint32_t)) return file_.Damaged("the head has a wrong size");
  level_sizes_ = {reinterpret_cast<const uint32_t*>(sizes.data()), head_.upper_levels};
  size_t upper_size = 0;
  uint32_t largest = 0;
  for (const uint32_t size : level_sizes_) {
    if (size < std::max(1u, largest) || size > vertices) return file_.Damaged("its levels are out of range");
    largest = size;
    upper_size += size_t{size} * head_.upper_degree;
  }
  QUIVER_ASSIGN_OR_RETURN(const auto upper, file_.Values<uint32_t>(kGraphUpper, largest + upper_size));
  const auto in_range = [](std::span<const uint32_t> values, size_t end, bool none) {
    return std::all_of(values.begin(), values.end(),
                       [&](uint32_t value) { return value < end || (none && value == kNoVertex); });
  };
  bool sound = in_range(links, vertices, true) && in_range(upper.first(largest), vertices, false);
  size_t at = largest;
  for (const uint32_t size : level_sizes_) {
    sound = sound && in_range(upper.subspan(at, size_t{size} * head_.upper_degree), size, true);
    at += size_t{size} * head_.upper_degree;
  }
  const std::string_view row_bytes = file_.Section(kGraphRows);
  if (row_bytes.empty()) {
    sound = sound && vertices == rows;
  } else {
    const std::span<const uint32_t> values(reinterpret_cast<const uint32_t*>(row_bytes.data()),
                                           row_bytes.size() / sizeof(uint32_t));
    if (values.size() < vertices + 1) return file_.Damaged("its rows are too few");
    row_offset_ = values.first(vertices + 1);
    rows_ = values.subspan(vertices + 1);
    sound = sound && row_offset_[0] == 0 && std::is_sorted(row_offset_.begin(), row_offset_.end()) &&
            row_offset_.back() == rows_.size() && in_range(rows_, rows, false);
  }
  const auto list = [&](uint32_t section) {
    const std::string_view bytes = file_.Section(section);
    return std::span(reinterpret_cast<const uint32_t*>(bytes.data()), bytes.size() / sizeof(uint32_t));
  };
  strays_ = list(kGraphStrays);
  zeros_ = list(kGraphZeros);
  starts_ = list(kGraphStarts);
  sound =
      sound && in_range(strays_, rows, false) && in_range(zeros_, rows, false) && in_range(starts_, vertices, false);
  if (!sound) return file_.Damaged("it points outside of itself");
  const std::string_view curve = file_.Section(kGraphCurve);
  curve_ = {reinterpret_cast<const GraphCurvePoint*>(curve.data()), curve.size() / sizeof(GraphCurvePoint)};

  links_ = Copied(links);
  upper_ = Copied(upper);
  memory_ += links_.memory_bytes() + upper_.memory_bytes();
  view_.vertices = head_.vertices;
  view_.degree = head_.degree;
  view_.links = links_.data();
  view_.entry = head_.entry;
  view_.start_count = static_cast<uint32_t>(starts_.size());
  view_.starts = starts_.data();
  view_.upper_degree = head_.upper_degree;
  view_.upper_levels = head_.upper_levels;
  view_.upper_vertices = upper_.data();
  at = largest;
  for (size_t l = 0; l < level_sizes_.size(); ++l) {
    view_.upper[l] = {level_sizes_[l], upper_.data() + at};
    at += size_t{level_sizes_[l]} * head_.upper_degree;
  }
  return Status::Ok();
}

/// The vertex whose first row this is; kNoVertex where there is none.
uint32_t GraphIndex::VertexOf(uint32_t first_row) const {
  if (first_row >= file_.row_count()) return kNoVertex;
  if (row_offset_.empty()) return first_row;
  // Vertices stand in the order of their first rows.
  size_t low = 0;
  size_t high = head_.vertices;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (rows_[row_offset_[middle]] < first_row) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < head_.vertices && rows_[row_offset_[low]] == first_row ? static_cast<uint32_t>(low) : kNoVertex;
}

/// The raw vectors of a whole column.
class ColumnScorer final : public RowScorer {
 public:
  ColumnScorer(const FlatQueries& queries, size_t query, const ColumnView& vectors)
      : queries_(queries), query_(query), vectors_(vectors) {}
  void Score(std::span<const uint32_t> rows, float* scores) const override {
    ScoreRows(queries_, query_, vectors_, rows, scores);
  }

 private:
  const FlatQueries& queries_;
  size_t query_;
  const ColumnView& vectors_;
};

/// What was measured is read where it lies, unchecked: should it be damaged, another plan is chosen, that is all.
double GraphIndex::CandidatesByFile() const {
  const std::string_view bytes = file_.Section(kGraphProductMargin);
  GraphMargin margin;
  if (bytes.size() == sizeof(margin)) std::memcpy(&margin, bytes.data(), sizeof(margin));
  return margin.candidates >= 0 ? static_cast<double>(margin.candidates) : 0;
}

/// By what the head tells: the rest may wait for its first search.
GraphShape GraphIndex::ShapeByHead() const {
  const size_t dim = head_.padded_dim;
  const codec::ResidualPqShape products = ProductShapeOf(recipe_, dim);
  const bool sketched = !binary() && !by_products() && GraphSketches::Useful(dim);
  const size_t coarse = binary()        ? static_cast<size_t>(recipe_.dim) / 8
                        : by_products() ? products.row_bytes()
                                        : dim / 2;
  return {.rows = static_cast<double>(file_.row_count()),
          .vertices = static_cast<double>(head_.vertices),
          .degree = static_cast<double>(head_.degree),
          .row_bytes = static_cast<double>(FixedWidth(recipe_.type, recipe_.dim)),
          .coarse_bytes = static_cast<double>(coarse),
          .sketch_bytes = static_cast<double>(sketched ? GraphSketches::RowBytes(dim) : size_t{0}),
          .lookups = static_cast<double>(by_products() ? products.centre_values() : size_t{0}),
          .candidates = by_products() ? CandidatesByFile() : 0,
          .curve = {}};
}

uint64_t GraphIndex::rows_to_score(size_t k) const {
  return GraphPlanner(ShapeByHead(), k, k, &timings_).RowsToScore();
}

double GraphIndex::expected_cost(std::optional<uint64_t> matches, const IndexSearchOptions& options) const {
  // Unchecked, too.
  const std::string_view bytes = file_.Section(kGraphCurve);
  std::span curve(reinterpret_cast<const GraphCurvePoint*>(bytes.data()), bytes.size() / sizeof(GraphCurvePoint));
  const auto is_share = [](const GraphCurvePoint& point) { return point.recall >= 0 && point.recall <= 1; };
  if (!std::ranges::all_of(curve, is_share)) curve = {};
  const GraphContents contents{.view = view_, .rows = {}, .strays = {}, .zeros = {}, .curve = curve};
  GraphShape shape = ShapeByHead();
  shape.curve = curve;
  const GraphPlanner planner(shape, options.k, contents.EfFor(options), &timings_);
  const double kept = static_cast<double>(matches.value_or(file_.row_count()));
  const GraphFilter filter{!matches, kept, std::min(1.0, kept / std::max(1.0, shape.rows))};
  return planner.Cost(planner.Choose(filter), filter);
}

GraphContents GraphIndex::Contents() const {
  return {.view = view_,
          .space = binary() ? nullptr : &*space_,
          .book = book_ ? &*book_ : nullptr,
          .candidates = margin_.candidates,
          .sketches = &sketches_,
          .usual_scale = usual_scale_,
          .rows = {.row_offset = row_offset_.empty() ? nullptr : row_offset_.data(), .rows = rows_.data()},
          .strays = strays_,
          .zeros = zeros_,
          .curve = curve_,
          .row_count = file_.row_count(),
          .row_bytes = static_cast<double>(FixedWidth(recipe_.type, recipe_.dim)),
          .timings = &timings_};
}

Status GraphIndex::CheckFits(const FlatQueries& queries, const ColumnView& vectors) const {
  if (vectors.rows == file_.row_count() && queries.type() == recipe_.type && queries.dim() == recipe_.dim) {
    return Status::Ok();
  }
  return Error(StatusCode::kInternal, "{}: an index over {} rows was asked about {}", file_.name(), file_.row_count(),
               vectors.rows);
}

Status GraphIndex::Search(const FlatQueries& queries, size_t query, const ColumnView& vectors, const RowFilter& filter,
                          const IndexSearchOptions& options, uint64_t first_row, TopK& result, IndexScratch& scratch,
                          IndexCounters& counters) const {
  QUIVER_RETURN_IF_ERROR(Prepare());
  QUIVER_RETURN_IF_ERROR(CheckFits(queries, vectors));
  const GraphContents contents = Contents();
  const ColumnScorer scorer(queries, query, vectors);
  const GraphCall call{.queries = queries,
                       .query = query,
                       .rows = scorer,
                       .filter = filter,
                       .options = options,
                       .first_row = first_row,
                       .result = result,
                       .scratch = scratch.impl().graph,
                       .counters = counters,
                       .absent = VertexOf(options.absent_row)};
  return GraphSearch(contents, call).Run();
}

/// Encodes a query for a stream; with a book for product codes.
GraphStreamQuery EncodeForStream(const CodeSpace& space, const codec::ResidualPqCodebook* book,
                                 const FlatQueries& queries, size_t query, const IndexRecipe& recipe) {
  GraphStreamQuery encoded;
  CodeSpace::Work work;
  if (book != nullptr) {
    encoded.terms = space.PointOfQuery(queries, query, work);
    if (encoded.terms.usable) encoded.products.Prepare(*book, work.rotated.data());
    return encoded;
  }
  encoded.codes.resize(space.padded_dim());
  encoded.terms = space.EncodeQuery(queries, query, encoded.codes.data(), work);
  if (!encoded.terms.usable) return encoded;
  encoded.by_product = space.by_product();
  const double scale = static_cast<double>(encoded.terms.product_weight) / (encoded.by_product ? 1 : 2);
  double norm = 0;
  double error = 0;
  for (size_t d = 0; d < encoded.codes.size(); ++d) {
    const double value = scale * encoded.codes[d];
    const double apart = static_cast<double>(work.rotated[d]) - value;
    norm += value * value;
    error += apart * apart;
  }
  encoded.norm = static_cast<float>(norm);
  // A query is centred in floats.
  constexpr double kFloatError = 1e-6;
  const double centre = std::sqrt(static_cast<double>(space.centre_energy()));
  encoded.error = static_cast<float>(std::sqrt(error) + kFloatError * (centre + std::sqrt(norm)));
  // Products of rows that are equally long but for CodeSpace's tolerance are compared by direction.
  if (recipe.metric == MetricType::kIp && !encoded.by_product) encoded.order_slack = 2.1e-3f;
  return encoded;
}

Result<std::unique_ptr<HitStream>> GraphIndex::OpenStream(const FlatQueries& queries, size_t query,
                                                          const ColumnView& vectors, const RowFilter& filter,
                                                          const StreamOptions& options, uint64_t first_row) const {
  QUIVER_RETURN_IF_ERROR(Prepare());
  QUIVER_RETURN_IF_ERROR(CheckFits(queries, vectors));
  StreamCall call{queries, query, vectors, filter, options, first_row};
  const uint64_t matching = filter.bits != nullptr ? filter.count : vectors.rows;
  IndexSearchOptions first = options.search;
  first.k = std::clamp<size_t>(first.k, 1, 10);
  const GraphContents contents = Contents();
  const size_t ef = contents.EfFor(first);
  const GraphPlanner planner(contents.Shape(), first.k, ef);
  const auto matches = static_cast<double>(matching);
  const GraphFilter kept{filter.bits == nullptr, matches,
                         std::min(1.0, matches / static_cast<double>(std::max<size_t>(1, vectors.rows)))};
  GraphStreamPlan plan{.view = view_,
                       .matches = contents.rows.With(filter.bits),
                       .matching = matching,
                       .strays = strays_,
                       .zeros = zeros_,
                       .query = {}};
  if (binary()) {
    plan.query.bits.assign(queries.Bits(query), queries.Bits(query) + view_.points.bits.bytes);
  } else {
    plan.query = EncodeForStream(*space_, contents.book, queries, query, recipe_);
  }
  if (!plan.query.terms.usable || (options.exact && !bounds_scores()) ||
      planner.Choose(kept) == SearchPlan::kScoreMatches) {
    return OpenScoringStream(std::move(call));
  }
  plan.walk = !options.exact && planner.Cost(SearchPlan::kWalk, kept) < planner.Cost(SearchPlan::kScanCodes, kept);
  // As many as a search looks at beyond those that it returns.
  plan.ahead = planner.WalkWanted(kept.share) - std::min(planner.WalkWanted(kept.share), first.k) + kLeastAhead;
  plan.budget = kWholeCodes * planner.WalkBudget(kept);
  return OpenGraphStream(std::move(call), std::move(plan));
}

Result<GraphLinks> GraphIndex::Links(std::span<const uint32_t> new_rows) const {
  QUIVER_RETURN_IF_ERROR(Prepare());
  if (new_rows.size() != file_.row_count()) {
    return Error(StatusCode::kInternal, "{}: an index over {} rows was asked about {}", file_.name(), file_.row_count(),
                 new_rows.size());
  }
  GraphLinks links;
  links.degree = head_.degree;
  links.links = links_.span();
  links.by_product = space_ && space_->by_product();
  links.target.resize(head_.vertices, kNoRow);
  for (uint32_t v = 0; v < head_.vertices; ++v) {
    if (row_offset_.empty()) {
      links.target[v] = new_rows[v];
      continue;
    }
    // Any of its rows has its vector.
    for (uint32_t i = row_offset_[v]; i < row_offset_[v + 1]; ++i) {
      links.target[v] = std::min(links.target[v], new_rows[rows_[i]]);
    }
  }
  return links;
}

}  // namespace

Result<GraphLinks> LinksOf(const VectorIndex& index, std::span<const uint32_t> new_rows) {
  const auto* graph = dynamic_cast<const GraphIndex*>(&index);
  if (graph == nullptr) return Error(StatusCode::kIndexNotSupported, "an index without links was asked for them");
  return graph->Links(new_rows);
}

Result<std::unique_ptr<VectorIndex>> OpenGraph(IndexFile file) {
  auto index = std::make_unique<GraphIndex>(std::move(file));
  QUIVER_RETURN_IF_ERROR(index->Open());
  return std::unique_ptr<VectorIndex>(std::move(index));
}

}  // namespace quiver::index
