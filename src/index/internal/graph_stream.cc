#include "index/internal/graph_stream.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace quiver::index {
namespace {

/// Expansions between two looks at `cancelled`.
constexpr size_t kLookEvery = 256;
constexpr size_t kPrefetchRows = 16;
/// Of settled rows so many more for each that is given.
constexpr size_t kAheadShare = 5;
/// What float arithmetic loses of a key, in units of its terms, and of points, which are about as long as one.
constexpr float kRounding = 1e-5f;

class GraphStream final : public CodedStream {
 public:
  GraphStream(StreamCall call, GraphStreamPlan plan)
      : CodedStream(std::move(call)), plan_(std::move(plan)), query_(plan_.query.query()) {
    const SearchPlan name = plan_.walk ? SearchPlan::kWalk : SearchPlan::kScanCodes;
    ++mutable_counters().plans[static_cast<size_t>(name)];
  }

  [[nodiscard]] uint64_t memory_bytes() const override {
    return CodedStream::memory_bytes() + (way_.capacity() + found_.capacity()) * sizeof(Candidate) +
           settled_.capacity() * sizeof(uint64_t) + plan_.query.products.memory_bytes() +
           (walked_ ? plan_.view.vertices : 0);
  }

 private:
  struct Candidate {
    float key;
    uint32_t vertex;
  };
  static bool Farther(const Candidate& a, const Candidate& b) { return a.key > b.key; }
  static void Push(std::vector<Candidate>& heap, Candidate candidate) {
    heap.push_back(candidate);
    std::push_heap(heap.begin(), heap.end(), Farther);
  }
  static Candidate Pop(std::vector<Candidate>& heap) {
    std::pop_heap(heap.begin(), heap.end(), Farther);
    const Candidate best = heap.back();
    heap.pop_back();
    return best;
  }
  static Status Cancelled() { return Error(StatusCode::kCancelled, "the search was cancelled"); }

  Status Reach(size_t total) override;
  void Score(std::span<const Estimate> items) override;
  void Begin();
  void BeginWalk();
  Status Walk(size_t wanted);
  void Meet(size_t count);
  Status KnowRest();
  void ScoreVertices(std::span<const uint32_t> vertices, std::span<const float> most);
  [[nodiscard]] bool Settled(uint32_t vertex) const {
    return walked_ && ((settled_[vertex / 64] >> (vertex % 64)) & 1) != 0;
  }

  const GraphStreamPlan plan_;
  const GraphQuery query_;
  bool begun_ = false;
  bool walked_ = false;
  bool walking_ = false;
  size_t settled_rows_ = 0;
  GraphScratch scratch_;          ///< of the walk: the marks, and the vertices to meet
  std::vector<Candidate> way_;    ///< heap: met, not expanded
  std::vector<Candidate> found_;  ///< heap: met and matching, not settled
  std::vector<uint64_t> settled_;
  std::vector<uint32_t> vertices_, rows_;
  std::vector<float> most_;
};

/// Takes the rows that are no vertices.
void GraphStream::Begin() {
  begun_ = true;
  // Where order is exact nothing is known of their keys.
  const float most = call().options.exact ? kAnyKey : -kAnyKey;
  for (const std::span<const uint32_t> rows : {plan_.strays, plan_.zeros}) {
    vertices_.clear();
    for (const uint32_t row : rows) {
      if (call().Matches(row)) vertices_.push_back(row);
    }
    TakeRows(vertices_, most);
  }
  if (plan_.walk) BeginWalk();
}

void GraphStream::BeginWalk() {
  const GraphView& view = plan_.view;
  walked_ = walking_ = true;
  settled_.assign((view.vertices + 63) / 64, 0);
  const uint32_t most = std::max({view.degree, view.upper_degree, view.start_count + 1}) + 1;
  scratch_.ids.resize(most);
  scratch_.keys.resize(most);
  const uint32_t entry = DescendGraph(view, query_, scratch_, mutable_counters());
  scratch_.visited.Begin(view.vertices);
  scratch_.visited.Mark(entry);
  scratch_.ids[0] = entry;
  size_t count = 1;
  for (uint32_t i = 0; i < view.start_count; ++i) {
    if (scratch_.visited.Mark(view.starts[i])) scratch_.ids[count++] = view.starts[i];
  }
  Meet(count);
}

/// Computes the keys of the first `count` vertices of the scratch and takes them up.
void GraphStream::Meet(size_t count) {
  plan_.view.points.CoarseKeys(query_, scratch_.ids.data(), count, scratch_.keys.data());
  mutable_counters().code_distances += count;
  for (size_t i = 0; i < count; ++i) {
    const Candidate candidate{scratch_.keys[i], scratch_.ids[i]};
    Push(way_, candidate);
    if (plan_.matches(candidate.vertex)) Push(found_, candidate);
  }
}

Status GraphStream::Walk(size_t wanted) {
  const GraphView& view = plan_.view;
  vertices_.clear();
  for (size_t step = 1;; ++step) {
    if (way_.empty() || mutable_counters().code_distances > plan_.budget) {
      walking_ = false;
      break;
    }
    while (!found_.empty() && found_.front().key <= way_.front().key) {
      const uint32_t vertex = Pop(found_).vertex;
      settled_[vertex / 64] |= uint64_t{1} << (vertex % 64);
      vertices_.push_back(vertex);
      ++settled_rows_;
    }
    if (settled_rows_ >= wanted) break;
    if (step % kLookEvery == 0 && cancelled()) return Cancelled();
    const uint32_t* row = view.row(Pop(way_).vertex);
    ++mutable_counters().expansions;
    if (!way_.empty()) view.PrefetchRow(way_.front().vertex);
    size_t count = 0;
    for (uint32_t i = 0; i < view.degree && row[i] != kNoVertex; ++i) {
      scratch_.ids[count] = row[i];
      count += scratch_.visited.Mark(row[i]) ? 1 : 0;
    }
    const size_t near = std::min(count, kPrefetchRows);
    for (size_t i = 0; i < near; ++i) view.points.Prefetch(scratch_.ids[i]);
    for (size_t i = 0; i < count; ++i) view.points.PrefetchFactors(scratch_.ids[i]);
    Meet(count);
  }
  most_.assign(vertices_.size(), -kAnyKey);
  ScoreVertices(vertices_, most_);
  return Status::Ok();
}

/// Compares all that match and were not settled by whole codes. With p and q the points of a row and of the query, p'
/// and q' what their codes say,
///   | |p - q| - |p' - q'| |  <=  |p - p'| + |q - q'|,    | <p, q> - <p', q'> |  <=  |q| |p - p'| + |p'| |q - q'|
/// and |p - p'| is at most half a step in each dimension. Keys of product codes are as good as their margin.
Status GraphStream::KnowRest() {
  const WalkPoints& points = plan_.view.points;
  const GraphStreamQuery& query = plan_.query;
  const float half_steps = 0.5001f * std::sqrt(static_cast<float>(points.dim));
  const float length = std::sqrt(query.norm) + query.error;
  float keys[kMostSetBits];
  uint32_t ids[kMostSetBits];
  size_t blocks = 0;
  const bool all =
      VisitMatchingVertices(plan_.view.vertices, plan_.matches, plan_.matching, [&](const uint32_t* some, size_t met) {
        size_t count = 0;
        for (size_t i = 0; i < met; ++i) {
          ids[count] = some[i];
          count += Settled(some[i]) ? 0 : 1;
        }
        points.WholeKeys(query_, ids, count, keys);
        mutable_counters().code_distances += count;
        for (size_t i = 0; i < count; ++i) {
          if (points.exact()) {
            Know({keys[i], keys[i], ids[i]});
            continue;
          }
          if (points.by_products()) {
            // No bound: hardly any of two rows come in the wrong order when their keys lie that far apart.
            const float error = points.products.margin / 2;
            Know({keys[i] - error, keys[i] + error, ids[i]});
            continue;
          }
          const codec::Sq8Factors& factors = points.factors[ids[i]];
          const float slack = query.order_slack + kRounding * (1 + factors.norm + query.norm);
          const float row_length = std::sqrt(factors.norm);
          const float row_error = half_steps * factors.scale + kRounding * row_length;
          if (query.by_product) {
            const float error = length * row_error + row_length * query.error + slack;
            Know({keys[i] - error, keys[i] + error, ids[i]});
            continue;
          }
          const float error = row_error + query.error;
          const float distance = std::sqrt(std::max(keys[i] + query.norm, 0.0f));
          const float least = std::max(distance - error, 0.0f);
          const float most = distance + error;
          Know({least * least - slack, most * most + slack, ids[i]});
        }
        return ++blocks % 16 != 0 || !cancelled();
      });
  return all ? Status::Ok() : Cancelled();
}

Status GraphStream::Reach(size_t total) {
  if (!begun_) Begin();
  if (walking_) {
    QUIVER_RETURN_IF_ERROR(Walk(std::max(total + total / kAheadShare, settled_rows_ + 1) + plan_.ahead));
    if (walking_) return Status::Ok();
    ++mutable_counters().changed_plans;
  }
  EndGrowth();
  QUIVER_RETURN_IF_ERROR(KnowRest());
  way_ = {};
  found_ = {};
  scratch_ = {};
  return Status::Ok();
}

void GraphStream::Score(std::span<const Estimate> items) {
  vertices_.clear();
  most_.clear();
  for (const Estimate& estimate : items) {
    vertices_.push_back(estimate.item);
    most_.push_back(estimate.most);
  }
  ScoreVertices(vertices_, most_);
}

/// Rows of one vertex have one score.
void GraphStream::ScoreVertices(std::span<const uint32_t> vertices, std::span<const float> most) {
  rows_.clear();
  for (const uint32_t vertex : vertices) {
    const std::span<const uint32_t> rows = plan_.matches.RowsOf(vertex);
    rows_.push_back(*std::find_if(rows.begin(), rows.end(), [this](uint32_t row) { return call().Matches(row); }));
  }
  const float* scores = ScoresOf(rows_);
  for (size_t i = 0; i < rows_.size(); ++i) {
    for (const uint32_t row : plan_.matches.RowsOf(vertices[i])) {
      if (call().Matches(row)) Take(scores[i], row, most[i]);
    }
  }
}

}  // namespace

std::unique_ptr<HitStream> OpenGraphStream(StreamCall call, GraphStreamPlan plan) {
  return std::make_unique<GraphStream>(std::move(call), std::move(plan));
}

}  // namespace quiver::index
