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
#include "index/internal/graph_search.h"
#include "index/internal/graph_sketch.h"
#include "index/internal/graph_stream.h"
#include "index/internal/huge_array.h"
#include "index/internal/index_scratch.h"

namespace quiver::index {
namespace {

/// A search that was given neither ef nor recall aims at this.
constexpr double kUsualRecall = 0.95;
constexpr size_t kScoreAtOnce = 64;
/// By how many deviations of its keys each stage of a scan exceeds the worst key that is wanted.
constexpr float kScanDeviations = 3.0f;
/// By how much keys of codes usually err, in units of the scale of a code and of the query's length.
constexpr float kCoarseError = 4.6f;
constexpr float kWholeError = 0.45f;
/// So many times the rows wanted are taken from one stage to the next at most.
constexpr size_t kMostFromSketches = 256;
constexpr size_t kMostFromCodes = 32;
/// Rows that a stream settles ahead at least.
constexpr size_t kLeastAhead = 8;
/// What comparing whole codes costs, in units of a scan's first look.
constexpr size_t kWholeCodes = 2;
/// A filter keeps away from the query when so many times fewer rows match around it than on the whole.
constexpr double kFarFewer = 4;

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
  [[nodiscard]] bool bounds_scores() const override { return true; }

 private:
  /// One search: what all its steps need.
  struct Call {
    const FlatQueries& queries;
    size_t query;
    const ColumnView& vectors;
    const RowFilter& filter;
    const IndexSearchOptions& options;
    uint64_t first_row;
    TopK& result;
    GraphScratch& scratch;
    IndexCounters& counters;

    [[nodiscard]] bool Matches(uint32_t row) const {
      return filter.bits == nullptr || ((filter.bits[row / 64] >> (row % 64)) & 1) != 0;
    }
  };
  [[nodiscard]] bool binary() const { return recipe_.type == DataType::kBinaryVector; }
  Status Prepare() const;
  Status PrepareOnce() const;
  Status PrepareCodes() const;
  Status PrepareBits() const;
  /// Encodes a query; its terms say whether codes hold for it. Lives as long as the queries and the scratch.
  GraphQuery EncodeQuery(const FlatQueries& queries, size_t query, GraphScratch& scratch) const;
  [[nodiscard]] Status CheckFits(const FlatQueries& queries, const ColumnView& vectors) const;
  [[nodiscard]] std::span<const uint32_t> RowsOf(const uint32_t& vertex) const {
    if (row_offset_.empty()) return {&vertex, 1};
    return rows_.subspan(row_offset_[vertex], row_offset_[vertex + 1] - row_offset_[vertex]);
  }
  [[nodiscard]] VertexFilter FilterOf(const Call& call) const {
    return {call.filter.bits, row_offset_.empty() ? nullptr : row_offset_.data(), rows_.data()};
  }
  [[nodiscard]] size_t EfFor(const IndexSearchOptions& options) const;
  /// Candidates that are scored exactly.
  [[nodiscard]] static size_t RefineFor(const IndexSearchOptions& options) {
    return RefineCount(options.k) * std::max<size_t>(options.refine, 1);
  }
  [[nodiscard]] uint32_t VertexOf(uint32_t first_row) const;
  [[nodiscard]] GraphShape Shape() const;
  Status ScanCodes(const Call& call, const GraphQuery& query) const;
  Status WalkFiltered(const Call& call, const GraphQuery& query, const GraphPlanner& planner, const GraphFilter& filter,
                      size_t ef, SearchPlan plan) const;
  Status Rank(const Call& call, const GraphQuery& query, size_t wanted) const;
  [[nodiscard]] bool FoundEnough(const Call& call) const;
  static void ScoreAndOffer(const Call& call, std::span<const uint32_t> rows);
  static Status ScanExactly(const Call& call, uint64_t row_count);
  void Refine(const Call& call, size_t wanted) const;
  void OfferRest(const Call& call) const;

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
  mutable HugeArray<uint32_t> links_;
  mutable HugeArray<uint32_t> upper_;
  mutable GraphSketches sketches_;
  mutable float usual_scale_ = 0;  ///< of codes
  mutable GraphView view_;
  mutable GraphHead head_;
  mutable std::span<const uint32_t> level_sizes_, row_offset_, rows_, strays_, zeros_, starts_;
  mutable std::span<const GraphCurvePoint> curve_;
};

Status GraphIndex::Open() {
  const std::string_view head = file_.Section(kGraphHead);
  if (head.size() < sizeof(GraphHead)) return file_.Damaged("the head of the graph is too short");
  std::memcpy(&head_, head.data(), sizeof(head_));
  if (head_.version != 1) return file_.Damaged("the version of the graph is not known");
  const int64_t most_dim = binary() ? 1 << 18 : 1 << 16;
  if (recipe_.dim <= 0 || recipe_.dim > most_dim || (binary() && recipe_.dim % 8 != 0))
    return file_.Damaged("its dimension is out of range");
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

Status GraphIndex::PrepareCodes() const {
  const size_t vertices = head_.vertices;
  auto space = CodeSpace::Parse(recipe_, file_.Section(kGraphSpace), file_.name());
  if (!space.ok()) return space.status();
  space_ = *std::move(space);
  if (head_.padded_dim != space_->padded_dim()) return file_.Damaged("its codes have a wrong length");
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
  QUIVER_RETURN_IF_ERROR(binary() ? PrepareBits() : PrepareCodes());
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

/// The room of the walk: as asked for, or the least that reaches the recall on the measured curve.
size_t GraphIndex::EfFor(const IndexSearchOptions& options) const {
  const size_t least = std::max<size_t>(options.k, 1);
  if (options.ef != 0) return std::max<size_t>(options.ef, least);
  const double wanted = options.recall > 0 ? options.recall : kUsualRecall;
  double ef = curve_.empty() ? 128 : 2.0 * curve_.back().ef;
  const GraphCurvePoint* before = nullptr;
  for (const GraphCurvePoint& point : curve_) {
    if (static_cast<double>(point.recall) >= wanted) {
      ef = point.ef;
      if (before != nullptr) {
        const double share = (wanted - static_cast<double>(before->recall)) /
                             std::max(1e-6, static_cast<double>(point.recall) - static_cast<double>(before->recall));
        ef = before->ef + share * (point.ef - before->ef);
      }
      break;
    }
    before = &point;
  }
  // The curve holds for 10 hits; more of them need room in proportion.
  if (options.k > 10) ef += static_cast<double>(options.k - 10) * 1.2;
  return std::max(least, static_cast<size_t>(std::ceil(ef)));
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

GraphShape GraphIndex::Shape() const {
  return {.rows = static_cast<double>(file_.row_count()),
          .vertices = static_cast<double>(head_.vertices),
          .degree = static_cast<double>(head_.degree),
          .row_bytes = static_cast<double>(FixedWidth(recipe_.type, recipe_.dim)),
          .coarse_bytes = static_cast<double>(view_.points.coarse_bytes()),
          .sketch_bytes = sketches_.empty() ? 0 : static_cast<double>(sketches_.row_bytes()),
          .curve = curve_};
}

/// Scores rows exactly and offers them.
void GraphIndex::ScoreAndOffer(const Call& call, std::span<const uint32_t> rows) {
  float scores[kScoreAtOnce];
  for (size_t first = 0; first < rows.size(); first += kScoreAtOnce) {
    const std::span<const uint32_t> some = rows.subspan(first, std::min(kScoreAtOnce, rows.size() - first));
    ScoreRows(call.queries, call.query, call.vectors, some, scores);
    for (size_t i = 0; i < some.size(); ++i) call.result.Offer(scores[i], call.first_row + some[i]);
  }
  call.counters.exact_distances += rows.size();
}

/// Compares all matching rows exactly.
Status GraphIndex::ScanExactly(const Call& call, uint64_t row_count) {
  const auto take = [&](const uint32_t* some, size_t count) {
    ScoreAndOffer(call, {some, count});
    return !call.options.cancelled || !call.options.cancelled();
  };
  const bool sparse = call.filter.bits != nullptr && call.filter.count < row_count / 50;
  const bool all =
      sparse ? VisitSetBits<2>(call.filter.bits, row_count, take) : VisitSetBits<4>(call.filter.bits, row_count, take);
  return all ? Status::Ok() : Error(StatusCode::kCancelled, "the search was cancelled");
}

/// Compares the codes of all matching vertices, in stages of rising precision: each takes on what its errors leave a
/// chance to be among the k best. The last scores exactly and offers.
Status GraphIndex::ScanCodes(const Call& call, const GraphQuery& query) const {
  GraphScratch& scratch = call.scratch;
  float keys[kMostSetBits];
  uint32_t ids[kMostSetBits];
  // The last of k estimates is most likely too good.
  const size_t wanted = call.options.k + call.options.k / 8 + 2;
  int64_t squares = 0;
  for (size_t d = 0; d < view_.points.dim; ++d) squares += query.codes[d] * query.codes[d];
  const float unit =
      kScanDeviations * query.terms.product_weight * usual_scale_ * std::sqrt(static_cast<float>(squares));
  Shortlist& sketched = scratch.shortlist;
  Shortlist& coarse = scratch.coarse_list;
  Shortlist& whole = scratch.whole_list;
  coarse.Begin(wanted, kCoarseError * unit, kMostFromCodes * wanted);
  whole.Begin(wanted, kWholeError * unit, kMostFromCodes * wanted);
  const auto take_coarse = [&](const uint32_t* some, size_t count) {
    view_.points.CoarseKeys(query, some, count, keys);
    for (size_t i = 0; i < count; ++i) coarse.Offer(keys[i], some[i]);
  };
  const auto pass_on = [&](Shortlist& from, const auto& take) {
    from.Cut();
    call.counters.code_distances += from.size();
    for (size_t first = 0; first < from.size(); first += kMostSetBits) {
      const size_t some = std::min(kMostSetBits, from.size() - first);
      for (size_t i = 0; i < some; ++i) ids[i] = from[first + i].id;
      take(static_cast<const uint32_t*>(ids), some);
    }
  };
  const bool sketches = !sketches_.empty();
  if (sketches) {
    sketches_.Encode(query, scratch.sketch);
    sketched.Begin(wanted, kScanDeviations * scratch.sketch.deviation, kMostFromSketches * wanted);
  }
  size_t blocks = 0;
  const bool all =
      VisitMatchingVertices(head_.vertices, FilterOf(call), call.filter.count, [&](const uint32_t* some, size_t count) {
        call.counters.code_distances += count;
        if (sketches) {
          sketches_.Keys(scratch.sketch, some, count, keys);
          for (size_t i = 0; i < count; ++i) sketched.Offer(keys[i], some[i]);
        } else {
          take_coarse(some, count);
        }
        return ++blocks % 16 != 0 || !call.options.cancelled || !call.options.cancelled();
      });
  if (!all) return Error(StatusCode::kCancelled, "the search was cancelled");
  if (sketches) pass_on(sketched, take_coarse);
  pass_on(coarse, [&](const uint32_t* some, size_t count) {
    view_.points.WholeKeys(query, some, count, keys);
    for (size_t i = 0; i < count; ++i) whole.Offer(keys[i], some[i]);
  });
  whole.Cut();
  // The pool moves all that lies behind what is inserted.
  whole.Sort();
  scratch.pool.Begin(std::max<size_t>(whole.size(), 1));
  for (size_t i = 0; i < whole.size(); ++i) scratch.pool.Insert(whole[i].key, whole[i].id);
  Refine(call, whole.size());
  return Status::Ok();
}

/// Scores the best of the pool exactly and offers them.
Status GraphIndex::Rank(const Call& call, const GraphQuery& query, size_t wanted) const {
  // Where all candidates are scored exactly, their order does not matter.
  if (call.scratch.pool.size() > wanted && !view_.points.exact())
    RankByWholeCodes(view_, query, call.scratch, call.counters);
  Refine(call, wanted);
  return Status::Ok();
}

/// Walks under a filter. Where the rows around the query match far less than the filter as a whole, a scan is cheaper
/// than what the walk would become, and the only plan whose answers are sure.
Status GraphIndex::WalkFiltered(const Call& call, const GraphQuery& query, const GraphPlanner& planner,
                                const GraphFilter& filter, size_t ef, SearchPlan plan) const {
  GraphScratch& scratch = call.scratch;
  const VertexFilter matches = FilterOf(call);
  const bool through = plan == SearchPlan::kWalkThrough;
  CheckedWalk walk{.room = std::max(ef, RefineFor(call.options)),
                   .wanted = through ? GraphPlanner::kThroughSeeds : planner.WalkWanted(filter.share),
                   .budget = through ? planner.SeedBudget(filter) : planner.WalkBudget(filter),
                   .wanted_at = {},
                   .hopeless = {}};
  if (!through) walk.wanted_at = [&](double share) { return planner.WalkWanted(share); };
  walk.hopeless = [&](double share) {
    GraphFilter here = filter;
    here.share = share;
    return share < filter.share / kFarFewer &&
           planner.Cost(SearchPlan::kWalk, here) > planner.Cost(SearchPlan::kScanCodes, here);
  };
  WalkEnd end = WalkGraphChecked(view_, query, matches, walk, scratch, call.counters, call.options.cancelled);
  if (through && end == WalkEnd::kFound) {
    end = WalkGraphThrough(view_, query, std::max(planner.ThroughRoom(), RefineFor(call.options)), matches, scratch,
                           call.counters, call.options.cancelled)
              ? WalkEnd::kFound
              : WalkEnd::kCancelled;
  }
  if (end == WalkEnd::kCancelled) return Error(StatusCode::kCancelled, "the search was cancelled");
  if (end == WalkEnd::kFound && FoundEnough(call)) return Rank(call, query, RefineFor(call.options));
  ++call.counters.changed_plans;
  return ScanCodes(call, query);
}

/// Whether the pool holds the rows that are wanted.
bool GraphIndex::FoundEnough(const Call& call) const {
  size_t found = 0;
  for (size_t i = 0; i < call.scratch.pool.size() && found < call.options.k; ++i) {
    const uint32_t vertex = call.scratch.pool.id(i);
    for (const uint32_t row : RowsOf(vertex)) found += call.Matches(row) ? 1 : 0;
  }
  return found >= call.options.k;
}

/// Scores the best candidates of the pool exactly. Rows of one vertex have one score: it is offered for each of them.
void GraphIndex::Refine(const Call& call, size_t wanted) const {
  GraphScratch& scratch = call.scratch;
  scratch.ids.clear();
  scratch.rows.clear();
  for (size_t i = 0; i < scratch.pool.size() && scratch.ids.size() < wanted; ++i) {
    const uint32_t vertex = scratch.pool.id(i);
    for (const uint32_t row : RowsOf(vertex)) {
      if (!call.Matches(row)) continue;
      scratch.ids.push_back(vertex);
      scratch.rows.push_back(row);
      break;
    }
  }
  if (scratch.scores.size() < scratch.rows.size()) scratch.scores.resize(scratch.rows.size());
  ScoreRows(call.queries, call.query, call.vectors, scratch.rows, scratch.scores.data());
  call.counters.exact_distances += scratch.rows.size();
  for (size_t i = 0; i < scratch.rows.size(); ++i) {
    if (row_offset_.empty()) {
      call.result.Offer(scratch.scores[i], call.first_row + scratch.rows[i]);
      continue;
    }
    size_t offered = 0;
    for (const uint32_t row : RowsOf(scratch.ids[i])) {
      if (!call.Matches(row)) continue;
      call.result.Offer(scratch.scores[i], call.first_row + row);
      // Of equal scores the first rows win.
      if (++offered >= std::max(call.result.k(), call.options.k)) break;
    }
  }
}

/// Offers the rows that are no vertices.
void GraphIndex::OfferRest(const Call& call) const {
  GraphScratch& scratch = call.scratch;
  scratch.rows.clear();
  for (const uint32_t row : strays_) {
    if (call.Matches(row)) scratch.rows.push_back(row);
  }
  // All rows without a direction score 0.
  size_t zeros = 0;
  for (const uint32_t row : zeros_) {
    if (zeros >= std::max(call.result.k(), call.options.k)) break;
    if (!call.Matches(row)) continue;
    scratch.rows.push_back(row);
    ++zeros;
  }
  ScoreAndOffer(call, scratch.rows);
}

GraphQuery GraphIndex::EncodeQuery(const FlatQueries& queries, size_t query, GraphScratch& scratch) const {
  if (binary()) return GraphQuery(queries.Bits(query));
  if (scratch.codes.size() < view_.points.dim) scratch.codes.resize(view_.points.dim);
  const QueryTerms terms = space_->EncodeQuery(queries, query, scratch.codes.data(), scratch.work);
  return {scratch.codes.data(), view_.points.dim, terms};
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
  const Call call{queries, query, vectors, filter, options, first_row, result, scratch.impl().graph, counters};
  const uint64_t matching = filter.bits != nullptr ? filter.count : vectors.rows;
  if (matching == 0 || options.k == 0) return Status::Ok();
  const size_t ef = EfFor(options);
  const GraphPlanner planner(Shape(), options.k, ef);
  const auto matches = static_cast<double>(matching);
  const GraphFilter kept{filter.bits == nullptr, matches, std::min(1.0, matches / static_cast<double>(vectors.rows))};
  // So few that codes would save nothing are scored whatever the plan.
  SearchPlan plan = planner.Choose(kept);
  if (options.walk_only && filter.bits == nullptr) plan = SearchPlan::kWalk;
  if (matching <= 2 * RefineCount(options.k)) plan = SearchPlan::kScoreMatches;
  GraphScratch& buffers = call.scratch;
  GraphQuery encoded;
  if (plan != SearchPlan::kScoreMatches) {
    encoded = EncodeQuery(queries, query, buffers);
    if (!encoded.terms.usable) plan = SearchPlan::kScoreMatches;
  }
  ++counters.plans[static_cast<size_t>(plan)];
  if (counters.reasons != nullptr) {
    for (const SearchPlan one :
         {SearchPlan::kScoreMatches, SearchPlan::kScanCodes, SearchPlan::kWalk, SearchPlan::kWalkThrough}) {
      if (one == SearchPlan::kWalkThrough && kept.all) continue;
      counters.reasons->cost[static_cast<size_t>(one)] = planner.Cost(one, kept);
    }
    counters.reasons->ef = static_cast<uint32_t>(ef);
  }
  if (plan == SearchPlan::kScoreMatches) return ScanExactly(call, vectors.rows);

  if (plan == SearchPlan::kScanCodes) {
    QUIVER_RETURN_IF_ERROR(ScanCodes(call, encoded));
  } else if (filter.bits != nullptr) {
    QUIVER_RETURN_IF_ERROR(WalkFiltered(call, encoded, planner, kept, ef, plan));
  } else if (!WalkGraph(view_, encoded, ef, buffers, counters, options.cancelled, VertexOf(options.absent_row))) {
    return Error(StatusCode::kCancelled, "the search was cancelled");
  } else if (FoundEnough(call)) {
    QUIVER_RETURN_IF_ERROR(Rank(call, encoded, RefineFor(options)));
  } else {
    // A walk that ran dry goes on as a scan.
    ++counters.changed_plans;
    QUIVER_RETURN_IF_ERROR(ScanCodes(call, encoded));
  }
  OfferRest(call);
  return Status::Ok();
}

/// Encodes a query for a stream.
GraphStreamQuery EncodeForStream(const CodeSpace& space, const FlatQueries& queries, size_t query,
                                 const IndexRecipe& recipe) {
  GraphStreamQuery encoded;
  CodeSpace::Work work;
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
  const size_t ef = EfFor(first);
  const GraphPlanner planner(Shape(), first.k, ef);
  const auto matches = static_cast<double>(matching);
  const GraphFilter kept{filter.bits == nullptr, matches,
                         std::min(1.0, matches / static_cast<double>(std::max<size_t>(1, vectors.rows)))};
  GraphStreamPlan plan{.view = view_,
                       .matches = {filter.bits, row_offset_.empty() ? nullptr : row_offset_.data(), rows_.data()},
                       .matching = matching,
                       .strays = strays_,
                       .zeros = zeros_,
                       .query = {}};
  if (binary()) {
    plan.query.bits.assign(queries.Bits(query), queries.Bits(query) + view_.points.bits.bytes);
  } else {
    plan.query = EncodeForStream(*space_, queries, query, recipe_);
  }
  if (!plan.query.terms.usable || planner.Choose(kept) == SearchPlan::kScoreMatches) {
    return OpenScoringStream(std::move(call));
  }
  plan.walk = !options.exact && planner.Cost(SearchPlan::kWalk, kept) < planner.Cost(SearchPlan::kScanCodes, kept);
  // As many as a search looks at beyond those that it returns.
  plan.ahead = planner.WalkWanted(kept.share) - std::min(planner.WalkWanted(kept.share), first.k) + kLeastAhead;
  plan.budget = kWholeCodes * planner.WalkBudget(kept);
  return OpenGraphStream(std::move(call), std::move(plan));
}

}  // namespace

Result<std::unique_ptr<VectorIndex>> OpenGraph(IndexFile file) {
  auto index = std::make_unique<GraphIndex>(std::move(file));
  QUIVER_RETURN_IF_ERROR(index->Open());
  return std::unique_ptr<VectorIndex>(std::move(index));
}

}  // namespace quiver::index
