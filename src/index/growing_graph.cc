#include "index/growing_graph.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "index/internal/graph_codes.h"
#include "index/internal/graph_curve.h"
#include "index/internal/graph_encoder.h"
#include "index/internal/graph_joiner.h"
#include "index/internal/graph_linking.h"
#include "index/internal/graph_query.h"
#include "index/internal/graph_search.h"
#include "index/internal/growing_codes.h"
#include "index/internal/huge_array.h"
#include "index/internal/index_scratch.h"
#include "index/internal/row_scorer.h"

namespace quiver::index {
namespace {

/// Levels of fewer vertices are not worth a descent.
constexpr uint32_t kLeastLevel = 16;
/// Room of walks that look for links: half of what finished graphs take at first, since these live for minutes.
constexpr uint32_t kMostEf = 128;
/// Rows after which walks are measured for the first time; then at twice as many each time, over so many queries.
constexpr uint32_t kFirstMeasured = 4096;
constexpr size_t kMeasuredRows = 100;
/// From so many rows on the large arrays go on in huge pages.
constexpr uint32_t kHugeFrom = 16384;
uint32_t RoundUp(uint32_t value) {
  uint32_t rounded = 4096;
  while (rounded < value) rounded *= 2;
  return rounded;
}

/// One level, as graph_linking.h wants it. Ids are atomics, counts are the linker's.
class GrowingLevel {
 public:
  /// `vertices`: as of BuildLevel.
  GrowingLevel(const GraphPoints& points, uint32_t capacity, uint32_t degree, const uint32_t* vertices)
      : points_(points),
        degree_(degree),
        room_(LinkRoom(degree)),
        vertices_(vertices),
        links_(HugeArray<uint32_t>::Room(size_t{capacity} * room_)),
        counts_(HugeArray<uint16_t>::Room(capacity)) {}

  /// Vertices that are published.
  [[nodiscard]] uint32_t published() const { return size_.load(std::memory_order_acquire); }
  void Publish(uint32_t size) { size_.store(size, std::memory_order_release); }
  /// Makes an empty row for a vertex that no search knows yet.
  void Begin(uint32_t local) {
    std::fill_n(row(local), room_, kNoVertex);
    counts_[local] = 0;
    begun_ = local + 1;
  }
  [[nodiscard]] const uint32_t* links() const { return links_.data(); }
  void AdviseBeyond(uint32_t used) { links_.AdviseBeyond(size_t{used} * room_); }

  [[nodiscard]] uint32_t size() const { return RoundUp(begun_); }
  [[nodiscard]] uint32_t degree() const { return degree_; }
  [[nodiscard]] uint32_t room() const { return room_; }
  [[nodiscard]] uint32_t count(uint32_t local) const { return counts_[local]; }
  [[nodiscard]] uint32_t vertex(uint32_t local) const { return vertices_ == nullptr ? local : vertices_[local]; }
  void Lock(uint32_t /*local*/) {}
  void Unlock(uint32_t /*local*/) {}
  void PrefetchRow(uint32_t local) const {
    const uint32_t* at = links_.data() + size_t{local} * room_;
    for (size_t i = 0; i < room_; i += 16) __builtin_prefetch(at + i);
    __builtin_prefetch(counts_.data() + local);
  }
  void PrefetchPoint(uint32_t local) const { points_.Prefetch(vertex(local)); }
  size_t CopyIds(uint32_t local, uint32_t* out) {
    std::memcpy(out, row(local), counts_[local] * sizeof(uint32_t));
    return counts_[local];
  }
  bool Append(uint32_t local, Link link) {
    uint32_t* ids = row(local);
    const size_t count = counts_[local];
    if (std::find(ids, ids + count, link.id) != ids + count) return true;
    if (count == room_) return false;
    Store(ids + count, link.id);
    ++counts_[local];
    return true;
  }
  void CopyLinks(uint32_t local, std::vector<Link>& out) {
    const uint32_t* ids = row(local);
    distances_.resize(room_);
    Distances(local, ids, counts_[local], distances_.data());
    out.clear();
    for (size_t i = 0; i < counts_[local]; ++i) out.push_back({distances_[i], ids[i]});
  }
  void Replace(uint32_t local, std::span<const Link> links) {
    uint32_t* ids = row(local);
    for (size_t i = 0; i < links.size(); ++i) Store(ids + i, links[i].id);
    for (size_t i = links.size(); i < counts_[local]; ++i) Store(ids + i, kNoVertex);
    counts_[local] = static_cast<uint16_t>(links.size());
  }
  void Distances(uint32_t local, const uint32_t* ids, size_t count, float* out) {
    DistancesFrom(vertex(local), ids, count, out);
  }
  void DistancesFrom(uint32_t base_vertex, const uint32_t* ids, size_t count, float* out) {
    if (vertices_ == nullptr) return points_.Distances(base_vertex, ids, count, out);
    some_.resize(std::max(some_.size(), count));
    for (size_t i = 0; i < count; ++i) some_[i] = vertex(ids[i]);
    points_.Distances(base_vertex, some_.data(), count, out);
  }

 private:
  uint32_t* row(uint32_t local) { return links_.data() + size_t{local} * room_; }
  static void Store(uint32_t* at, uint32_t id) { __atomic_store_n(at, id, __ATOMIC_RELAXED); }

  const GraphPoints& points_;
  const uint32_t degree_;
  const uint32_t room_;
  const uint32_t* const vertices_;
  HugeArray<uint32_t> links_;
  HugeArray<uint16_t> counts_;
  std::atomic<uint32_t> size_{0};
  // Linker only.
  uint32_t begun_ = 0;
  std::vector<float> distances_;
  std::vector<uint32_t> some_;
};

}  // namespace

class GrowingGraph::Impl {
 public:
  Impl(const IndexRecipe& recipe, uint32_t capacity, const ColumnView& sample, bool lengths_differ);

  [[nodiscard]] const IndexRecipe& recipe() const { return recipe_; }
  [[nodiscard]] uint32_t capacity() const { return capacity_; }
  [[nodiscard]] uint32_t linked() const { return base_.published(); }
  [[nodiscard]] uint32_t strays() const { return codes_.strays().count(); }
  [[nodiscard]] size_t links(uint32_t row) const { return base_.count(row); }
  [[nodiscard]] bool lengths_differ() const { return codes_.lengths_differ(linked()); }
  [[nodiscard]] bool drifted() const { return codes_.drifted(); }

  Status Link(const PagedColumn& column, uint32_t until, const std::function<bool()>& cancelled);
  [[nodiscard]] Result<GraphLinks> Links(std::span<const uint32_t> new_rows) const;
  Status Search(uint32_t rows, const FlatQueries& queries, size_t query, const PagedColumn& column,
                const RowFilter& filter, const IndexSearchOptions& options, uint64_t first_row, TopK& result,
                IndexScratch& scratch, IndexCounters& counters) const;

 private:
  [[nodiscard]] float alpha() const { return codes_.by_product() ? kProductLinkAlpha : kLinkAlpha; }
  void LinkRow(const PagedColumn& column, const ColumnView& page, uint32_t row);
  void LeaveOut(uint32_t row);
  [[nodiscard]] uint32_t FindEqual(const PagedColumn& column, uint32_t row) const;
  void Join(uint32_t row, uint32_t near);
  void NoteLong(uint32_t row);
  void Measure();
  [[nodiscard]] GraphView View(uint32_t rows, std::vector<uint32_t>& starts) const;
  /// An element of equal_rows_: of one thread, but read meanwhile.
  void SetEqual(uint32_t row, uint32_t value) { __atomic_store_n(equal_rows_.data() + row, value, __ATOMIC_RELAXED); }

  const IndexRecipe recipe_;
  const uint32_t capacity_;
  GrowingCodes codes_;
  HugeArray<uint32_t> equal_rows_;
  HugeArray<uint32_t> upper_vertices_;
  GrowingLevel base_, upper_, top_;
  std::atomic<uint32_t> entry_{kNoVertex};
  std::atomic<bool> any_left_out_{false};  ///< not every row is a vertex
  std::array<std::atomic<uint32_t>, kLongestStarts> starts_;
  std::atomic<uint32_t> start_count_{0};
  std::atomic<const std::vector<GraphCurvePoint>*> curve_{nullptr};

  // Linker only.
  LinkScratch scratch_;
  std::vector<std::unique_ptr<const std::vector<GraphCurvePoint>>> curves_;  ///< searches may still read the older ones
  uint32_t next_measured_ = kFirstMeasured;
};

GrowingGraph::Impl::Impl(const IndexRecipe& recipe, uint32_t capacity, const ColumnView& sample, bool lengths_differ)
    : recipe_(recipe),
      capacity_(capacity),
      codes_(recipe, capacity, sample, lengths_differ, true),
      equal_rows_(HugeArray<uint32_t>::Room(capacity)),
      upper_vertices_(HugeArray<uint32_t>::Room(capacity / kLevelRatio + 1)),
      base_(codes_.points(), capacity, recipe.degree, nullptr),
      upper_(codes_.points(), capacity / kLevelRatio + 1, kUpperDegree, upper_vertices_.data()),
      top_(codes_.points(), capacity / kLevelRatio / kLevelRatio + 1, kUpperDegree, upper_vertices_.data()) {
  for (auto& start : starts_) start.store(kNoVertex, std::memory_order_relaxed);
}

Status GrowingGraph::Impl::Link(const PagedColumn& column, uint32_t until, const std::function<bool()>& cancelled) {
  until = std::min(until, capacity_);
  ColumnView page;
  uint32_t page_number = kNoVertex;
  for (uint32_t row = linked(); row < until; ++row) {
    if (cancelled && cancelled()) return Error(StatusCode::kCancelled, "linking was cancelled");
    if (row / column.page_rows != page_number) {
      page_number = row / column.page_rows;
      page = column.page(page_number);
    }
    if (row == kHugeFrom) {
      codes_.AdviseBeyond(row);
      base_.AdviseBeyond(row);
    }
    LinkRow(column, page, row);
    base_.Publish(row + 1);
    if (row + 1 >= next_measured_) Measure();
  }
  return Status::Ok();
}

/// A row that is no vertex: walks never meet it.
void GrowingGraph::Impl::LeaveOut(uint32_t row) {
  SetEqual(row, kNoVertexRow | kLastEqualRow);
  any_left_out_.store(true, std::memory_order_relaxed);
}

/// A vertex among those that the last walk found whose vector is that of `row`.
uint32_t GrowingGraph::Impl::FindEqual(const PagedColumn& column, uint32_t row) const {
  const auto bytes_of = [&](uint32_t of) { return column.page(of / column.page_rows).Bytes(of % column.page_rows); };
  for (size_t i = 0; i < scratch_.pool.size(); ++i) {
    const uint32_t other = scratch_.pool.id(i);
    if (codes_.binary()) {
      if (scratch_.pool.key(i) > 0) break;
    } else if (!(codes_.factors(other) == codes_.factors(row))) {
      continue;
    }
    if (bytes_of(other) == bytes_of(row)) return other;
  }
  return kNoVertex;
}

void GrowingGraph::Impl::LinkRow(const PagedColumn& column, const ColumnView& page, uint32_t row) {
  SetEqual(row, kLastEqualRow);
  base_.Begin(row);
  if (codes_.Add(row, page, row % column.page_rows) != RowKind::kPoint) return LeaveOut(row);
  const uint32_t entry = entry_.load(std::memory_order_relaxed);
  if (entry == kNoVertex) {
    entry_.store(row, std::memory_order_relaxed);
    Join(row, 0);
    return NoteLong(row);
  }
  // The levels have the entry as their first vertex.
  uint32_t near = 0;
  float distance = 0;
  codes_.points().Distances(row, &entry, 1, &distance);
  if (top_.published() >= kLeastLevel) DescendLevel(scratch_, top_, row, near, distance);
  DescendLevel(scratch_, upper_, row, near, distance);
  const uint32_t from = upper_vertices_[near];
  WalkLevel(scratch_, base_, row, {&from, 1}, std::max(std::min(recipe_.ef_construction, kMostEf), recipe_.degree));
  if (const uint32_t equal = FindEqual(column, row); equal != kNoVertex) {
    // The newest of them is the first of the chain.
    SetEqual(row, kNoVertexRow | __atomic_load_n(equal_rows_.data() + equal, __ATOMIC_RELAXED));
    SetEqual(equal, row);
    any_left_out_.store(true, std::memory_order_relaxed);
    return;
  }
  if (LinkFound(scratch_, base_, row, alpha()) == 0 && !scratch_.mine.empty()) {
    // Nobody wants it, so that no walk would find it. The nearest one was pruned just now and has room.
    (void)base_.Append(scratch_.mine.front().id, {scratch_.mine.front().distance, row});
  }
  if (row % kLevelRatio == 0) Join(row, near);
  NoteLong(row);
}

/// Puts a vertex into the upper level, near its vertex `near`, and into the one above where it has grown enough.
void GrowingGraph::Impl::Join(uint32_t row, uint32_t near) {
  const uint32_t place = upper_.published();
  upper_vertices_[place] = row;
  upper_.Begin(place);
  if (place > 0) {
    WalkLevel(scratch_, upper_, place, {&near, 1}, kUpperEf);
    (void)LinkFound(scratch_, upper_, place, alpha());
  }
  upper_.Publish(place + 1);
  const uint32_t above = top_.published();
  if ((place + 1) / kLevelRatio < above + 1 && above > 0) return;
  top_.Begin(above);
  if (above > 0) {
    constexpr uint32_t kFirst = 0;
    WalkLevel(scratch_, top_, above, {&kFirst, 1}, kUpperEf);
    (void)LinkFound(scratch_, top_, above, alpha());
  }
  top_.Publish(above + 1);
}

/// By product every walk begins with the longest vertices.
void GrowingGraph::Impl::NoteLong(uint32_t row) {
  if (!codes_.by_product()) return;
  const uint32_t count = start_count_.load(std::memory_order_relaxed);
  if (count < kLongestStarts) {
    starts_[count].store(row, std::memory_order_relaxed);
    start_count_.store(count + 1, std::memory_order_release);
    return;
  }
  const auto shortest = std::min_element(starts_.begin(), starts_.end(), [&](const auto& a, const auto& b) {
    return codes_.factors(a.load(std::memory_order_relaxed)).norm <
           codes_.factors(b.load(std::memory_order_relaxed)).norm;
  });
  if (codes_.factors(row).norm > codes_.factors(shortest->load(std::memory_order_relaxed)).norm) {
    shortest->store(row, std::memory_order_relaxed);
  }
}

/// Looks at the rows linked since the last time, and measures what walks find of rows as if they were not there.
void GrowingGraph::Impl::Measure() {
  next_measured_ = linked() <= std::numeric_limits<uint32_t>::max() / 2 ? 2 * linked() : linked();
  codes_.Review();
  std::vector<uint32_t> starts;
  const GraphView view = View(linked(), starts);
  const VertexFilter rows{.equal_rows = equal_rows_.data(), .end = linked()};
  std::vector<GraphQuery> queries;
  std::vector<uint32_t> absent;
  uint64_t state = recipe_.seed + linked();
  for (size_t tries = 0; tries < 2 * kMeasuredRows && queries.size() < kMeasuredRows; ++tries) {
    const auto row = static_cast<uint32_t>(NextRandom(state) % linked());
    if (!rows.IsVertex(row)) continue;
    absent.push_back(row);
    queries.push_back(codes_.QueryOf(row));
  }
  if (view.vertices < kLeastMeasured || queries.size() < kMeasuredRows) return;
  const auto keys = [&](const GraphQuery& query, const uint32_t* ids, size_t count, float* out) {
    codes_.walk_points().WholeKeys(query, ids, count, out);
    for (size_t i = 0; i < count; ++i) {
      if (!rows.IsVertex(ids[i])) out[i] = std::numeric_limits<float>::infinity();
    }
  };
  auto curve = std::make_unique<std::vector<GraphCurvePoint>>();
  (void)MeasureWalks(view, queries, absent, keys, {}, *curve);
  curve_.store(curve.get(), std::memory_order_release);
  curves_.push_back(std::move(curve));
}

GraphView GrowingGraph::Impl::View(uint32_t rows, std::vector<uint32_t>& starts) const {
  GraphView view;
  view.growing = true;
  view.points = codes_.walk_points();
  view.degree = base_.room();
  view.links = base_.links();
  view.entry = entry_.load(std::memory_order_relaxed);
  view.vertices = view.entry < rows ? rows : 0;
  starts.clear();
  for (uint32_t i = start_count_.load(std::memory_order_acquire); i > 0; --i) {
    const uint32_t start = starts_[i - 1].load(std::memory_order_relaxed);
    if (start < rows) starts.push_back(start);
  }
  view.start_count = static_cast<uint32_t>(starts.size());
  view.starts = starts.data();
  const auto known = upper_vertices_.span().first(upper_.published());
  const auto size = static_cast<uint32_t>(std::lower_bound(known.begin(), known.end(), rows) - known.begin());
  view.upper_degree = upper_.room();
  view.upper_vertices = upper_vertices_.data();
  if (size < kLeastLevel) return view;
  const uint32_t above = std::min(top_.published(), size);
  if (above >= kLeastLevel) view.upper[view.upper_levels++] = {above, top_.links()};
  view.upper[view.upper_levels++] = {size, upper_.links()};
  return view;
}

Status GrowingGraph::Impl::Search(uint32_t rows, const FlatQueries& queries, size_t query, const PagedColumn& column,
                                  const RowFilter& filter, const IndexSearchOptions& options, uint64_t first_row,
                                  TopK& result, IndexScratch& scratch, IndexCounters& counters) const {
  if (rows > linked() || queries.type() != recipe_.type || queries.dim() != recipe_.dim) {
    return Error(StatusCode::kInternal, "a graph over {} growing rows was asked about {}", linked(), rows);
  }
  GraphScratch& buffers = scratch.impl().graph;
  const GraphView view = View(rows, buffers.starts);
  GraphContents contents{.view = view,
                         .space = codes_.space(),
                         .usual_scale = codes_.usual_scale(),
                         .strays = codes_.strays().Below(rows),
                         .zeros = codes_.zeros().Below(rows),
                         .row_count = rows,
                         .row_bytes = static_cast<double>(FixedWidth(recipe_.type, recipe_.dim))};
  if (any_left_out_.load(std::memory_order_relaxed)) {
    contents.rows.equal_rows = equal_rows_.data();
    contents.rows.end = rows;
  }
  if (const auto* curve = curve_.load(std::memory_order_acquire); curve != nullptr) contents.curve = *curve;
  const PageScorer scorer(queries, query, column);
  const GraphCall call{queries, query, scorer, filter, options, first_row, result, buffers, counters};
  return GraphSearch(contents, call).Run();
}

Result<GraphLinks> GrowingGraph::Impl::Links(std::span<const uint32_t> new_rows) const {
  const uint32_t rows = linked();
  if (new_rows.size() < rows) {
    return Error(StatusCode::kInternal, "a graph over {} growing rows was asked about {}", rows, new_rows.size());
  }
  std::vector<uint32_t> starts;
  const GraphView view = View(rows, starts);
  GraphLinks links;
  links.degree = view.degree;
  links.by_product = codes_.by_product();
  links.copied.assign(size_t{view.vertices} * view.degree, kNoVertex);
  links.target.assign(new_rows.begin(), new_rows.begin() + view.vertices);
  for (uint32_t v = 0; v < view.vertices; ++v) (void)view.LinksOf(v, links.copied.data() + size_t{v} * view.degree);
  links.links = links.copied;
  if (!any_left_out_.load(std::memory_order_relaxed)) return links;
  // A vertex stands for all rows of its vector; rows that are no vertices have no links to take over.
  const VertexFilter vertices{.equal_rows = equal_rows_.data(), .end = rows};
  for (uint32_t v = 0; v < view.vertices; ++v) {
    links.target[v] = kNoRow;
    if (!vertices.IsVertex(v)) continue;
    vertices.VisitRows(v, [&](uint32_t row) {
      links.target[v] = std::min(links.target[v], new_rows[row]);
      return true;
    });
  }
  return links;
}

GrowingGraph::GrowingGraph(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrowingGraph::~GrowingGraph() = default;

bool GrowingGraph::Serves(const IndexRecipe& recipe) {
  return recipe.structure == IndexStructure::kGraph && GraphEncodes(recipe) && recipe.degree >= 2 &&
         LinkRoom(recipe.degree) <= kMaxLinks;
}

uint64_t GrowingGraph::BytesPerRow(const IndexRecipe& recipe) {
  const uint64_t links = LinkRoom(recipe.degree) * sizeof(uint32_t) + sizeof(uint16_t) + sizeof(uint32_t);
  const uint64_t upper = (LinkRoom(kUpperDegree) + 1) * sizeof(uint32_t) / kLevelRatio;
  return GrowingCodes::BytesPerRow(recipe, true) + links + upper;
}

Result<std::unique_ptr<GrowingGraph>> GrowingGraph::Make(const IndexRecipe& recipe, uint32_t capacity,
                                                         const ColumnView& sample, bool lengths_differ) {
  if (!Serves(recipe) || capacity == 0 || capacity >= kLastEqualRow) {
    return Error(StatusCode::kIndexNotSupported, "no growing graph serves codec {} on {} with degree {} over {} rows",
                 static_cast<int>(recipe.codec), DataTypeName(recipe.type), recipe.degree, capacity);
  }
  try {
    return std::unique_ptr<GrowingGraph>(
        new GrowingGraph(std::make_unique<Impl>(recipe, capacity, sample, lengths_differ)));
  } catch (const std::bad_alloc&) {
    return Error(StatusCode::kMemoryLimit, "no memory for a graph of {} rows", capacity);
  }
}

const IndexRecipe& GrowingGraph::recipe() const { return impl_->recipe(); }
uint32_t GrowingGraph::capacity() const { return impl_->capacity(); }
uint32_t GrowingGraph::linked() const { return impl_->linked(); }
uint64_t GrowingGraph::memory_bytes() const { return linked() * BytesPerRow(recipe()); }
uint32_t GrowingGraph::strays() const { return impl_->strays(); }
size_t GrowingGraph::links(uint32_t row) const { return impl_->links(row); }
bool GrowingGraph::outgrown() const { return impl_->drifted() || impl_->lengths_differ(); }
bool GrowingGraph::lengths_differ() const { return impl_->lengths_differ(); }

Status GrowingGraph::Link(const PagedColumn& column, uint32_t until, const std::function<bool()>& cancelled) {
  try {
    return impl_->Link(column, until, cancelled);
  } catch (const std::bad_alloc&) {
    return Error(StatusCode::kMemoryLimit, "no memory to link row {}", linked());
  }
}

Result<GraphLinks> GrowingGraph::Links(std::span<const uint32_t> new_rows) const { return impl_->Links(new_rows); }

Status GrowingGraph::Search(uint32_t rows, const FlatQueries& queries, size_t query, const PagedColumn& column,
                            const RowFilter& filter, const IndexSearchOptions& options, uint64_t first_row,
                            TopK& result, IndexScratch& scratch, IndexCounters& counters) const {
  return impl_->Search(rows, queries, query, column, filter, options, first_row, result, scratch, counters);
}

}  // namespace quiver::index
