#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>
#include <unordered_map>

#include "base/crc32c.h"
#include "index/internal/build_crew.h"
#include "index/internal/build_level.h"
#include "index/internal/graph.h"
#include "index/internal/graph_codes.h"
#include "index/internal/graph_curve.h"
#include "index/internal/graph_encoder.h"
#include "index/internal/graph_joiner.h"
#include "index/internal/graph_layout.h"
#include "index/internal/graph_linking.h"
#include "index/internal/graph_search.h"
#include "index/internal/graph_walk.h"
#include "index/internal/huge_array.h"

namespace quiver::index {
namespace {

constexpr uint32_t kSmallestLevel = 16;
/// Sources are joined where they have this part of the vertices; a graph built from nothing is as good otherwise.
constexpr double kLeastJoined = 0.5;
/// By how much more it takes to put a vertex in than to join it, for the progress.
constexpr double kTimesDearer = 4;

/// Work buffers of one building thread.
using Worker = LinkScratch;

class GraphBuilder {
 public:
  /// `sources`: graphs to take links from, their targets rows of `vectors`; changed by building.
  GraphBuilder(const IndexRecipe& recipe, const ColumnView& vectors, std::vector<GraphLinks>& sources,
               const BuildControl& control)
      : recipe_(recipe),
        vectors_(vectors),
        sources_(sources),
        control_(control),
        crew_(control),
        encoder_(MakeGraphEncoder(recipe, vectors)) {}

  Result<std::string> Build() {
    FindVertices();
    MapSources();
    QUIVER_RETURN_IF_ERROR(Encode());
    QUIVER_RETURN_IF_ERROR(BuildUpper());
    QUIVER_RETURN_IF_ERROR(BuildBase());
    QUIVER_RETURN_IF_ERROR(Finish());
    QUIVER_RETURN_IF_ERROR(Measure());
    return Write();
  }
  /// Vertices that came with links of a source.
  [[nodiscard]] uint32_t joined() const { return joined_; }

 private:
  /// No row needs room for more links than there are vertices.
  [[nodiscard]] uint32_t degree() const { return std::min(recipe_.degree, std::max(2u, vertices_)); }

  void FindVertices();
  void MapSources();
  Status Encode();
  Status BuildUpper();
  Status BuildBase();
  Status Finish();
  void Connect(BuildLevel& base);
  Status Measure();
  std::string Write();

  [[nodiscard]] float alpha() const { return encoder_->by_product() ? kProductLinkAlpha : kLinkAlpha; }
  uint32_t Descend(Worker& worker, uint32_t vertex, size_t levels);

  const IndexRecipe& recipe_;
  const ColumnView& vectors_;
  std::vector<GraphLinks>& sources_;
  const BuildControl& control_;
  BuildCrew crew_;
  std::unique_ptr<GraphEncoder> encoder_;

  uint32_t vertices_ = 0;
  uint32_t joined_ = 0;               ///< vertices that come with links from a source: the first of order_
  bool identity_ = true;              ///< vertex i is row i
  std::vector<uint32_t> vertex_of_;   ///< of each row
  std::vector<uint32_t> first_row_;   ///< of each vertex
  std::vector<uint32_t> row_offset_;  ///< unless identity_: vertices + 1
  std::vector<uint32_t> rows_;
  std::vector<uint32_t> strays_, zeros_;
  std::vector<uint32_t> starts_;

  GraphPoints points_;

  std::vector<uint32_t> order_;                     ///< vertices in the order of insertion; a level takes the first few
  std::vector<std::unique_ptr<BuildLevel>> upper_;  ///< smallest first
  std::unique_ptr<BuildLevel> base_;
  HugeArray<uint32_t> links_;
  std::vector<uint32_t> upper_links_;
  std::vector<GraphCurvePoint> curve_;
  GraphMargin margin_{.margin = std::numeric_limits<float>::infinity(), .candidates = 0};  ///< of product codes
};

/// Rows with equal bytes are one vertex: any number of duplicates costs one place and cannot crowd out other links.
void GraphBuilder::FindVertices() {
  row_offset_.push_back(0);
  vertex_of_.assign(vectors_.rows, kNoVertex);
  std::unordered_multimap<uint64_t, uint32_t> by_hash;
  by_hash.reserve(vectors_.rows);
  std::vector<uint32_t> sizes;
  const std::vector<RowKind>& kinds = encoder_->kinds();
  for (uint32_t row = 0; row < vectors_.rows; ++row) {
    if (kinds[row] == RowKind::kStray) strays_.push_back(row);
    if (kinds[row] == RowKind::kZero) zeros_.push_back(row);
    if (kinds[row] != RowKind::kPoint) continue;
    const std::string_view bytes = vectors_.Bytes(row);
    const uint64_t hash = std::hash<std::string_view>()(bytes);
    uint32_t vertex = kNoVertex;
    const auto [begin, end] = by_hash.equal_range(hash);
    for (auto at = begin; at != end; ++at) {
      if (vectors_.Bytes(first_row_[at->second]) == bytes) vertex = at->second;
    }
    if (vertex == kNoVertex) {
      vertex = vertices_++;
      by_hash.emplace(hash, vertex);
      first_row_.push_back(row);
      sizes.push_back(0);
    }
    vertex_of_[row] = vertex;
    ++sizes[vertex];
  }
  identity_ = vertices_ == vectors_.rows;
  if (identity_) return;
  row_offset_.resize(vertices_ + 1);
  for (uint32_t v = 0; v < vertices_; ++v) row_offset_[v + 1] = row_offset_[v] + sizes[v];
  rows_.resize(row_offset_.back());
  std::vector<uint32_t> next(row_offset_.begin(), row_offset_.end() - 1);
  for (uint32_t row = 0; row < vectors_.rows; ++row) {
    if (vertex_of_[row] != kNoVertex) rows_[next[vertex_of_[row]]++] = row;
  }
}

/// Lets the targets of the sources be vertices. Sources that do not help are left out.
void GraphBuilder::MapSources() {
  std::erase_if(sources_, [&](const GraphLinks& source) { return source.by_product != encoder_->by_product(); });
  std::vector<bool> is_joined(vertices_, false);
  for (GraphLinks& source : sources_) {
    for (uint32_t& target : source.target) {
      if (target == kNoVertex) continue;
      target = target < vertex_of_.size() ? vertex_of_[target] : kNoVertex;
      if (target == kNoVertex || is_joined[target]) continue;
      is_joined[target] = true;
      ++joined_;
    }
  }
  vertex_of_ = {};
  if (joined_ < kLeastJoined * vertices_) {
    sources_.clear();
    joined_ = 0;
  }
}

Status GraphBuilder::Encode() {
  encoder_->Reserve(vertices_, crew_.size());
  QUIVER_RETURN_IF_ERROR(crew_.ForAll(vertices_, 0.0, 0.02, [&](Worker& worker, uint32_t v) {
    encoder_->Encode(v, first_row_[v], crew_.number_of(worker));
  }));
  points_ = encoder_->points();
  order_.resize(vertices_);
  std::iota(order_.begin(), order_.end(), 0u);
  if (encoder_->by_product()) {
    std::vector<uint32_t> by_length = order_;
    const size_t starts = std::min<size_t>(kLongestStarts, vertices_);
    std::partial_sort(by_length.begin(), by_length.begin() + static_cast<std::ptrdiff_t>(starts), by_length.end(),
                      [&](uint32_t a, uint32_t b) {
                        const float mine = points_.factors[a].norm, theirs = points_.factors[b].norm;
                        return mine != theirs ? mine > theirs : a < b;
                      });
    starts_.assign(by_length.begin(), by_length.begin() + static_cast<std::ptrdiff_t>(starts));
  }
  uint64_t state = recipe_.seed;
  for (uint32_t i = vertices_; i > 1; --i) std::swap(order_[i - 1], order_[NextRandom(state) % i]);
  if (joined_ > 0) {
    std::vector<bool> is_joined(vertices_, false);
    for (const GraphLinks& source : sources_) {
      for (const uint32_t vertex : source.target) {
        if (vertex != kNoVertex) is_joined[vertex] = true;
      }
    }
    // What is left is put in where the others are.
    std::vector<uint32_t> left;
    std::erase_if(order_, [&](uint32_t vertex) {
      if (is_joined[vertex]) return false;
      left.push_back(vertex);
      return true;
    });
    order_.insert(order_.end(), left.begin(), left.end());
  }
  return Status::Ok();
}

/// Walks greedily through the smallest `levels` levels; returns a position of the last of them near `vertex`.
uint32_t GraphBuilder::Descend(Worker& worker, uint32_t vertex, size_t levels) {
  uint32_t at = 0;
  float distance = 0;
  const uint32_t first = order_[0];
  points_.Distances(vertex, &first, 1, &distance);
  for (size_t l = 0; l < levels; ++l) DescendLevel(worker, *upper_[l], vertex, at, distance);
  return at;
}

Status GraphBuilder::BuildUpper() {
  std::vector<uint32_t> sizes;
  for (uint32_t size = vertices_ / kLevelRatio; size >= kSmallestLevel; size /= kLevelRatio) sizes.push_back(size);
  std::reverse(sizes.begin(), sizes.end());
  for (const uint32_t size : sizes) {
    auto level = std::make_unique<BuildLevel>(points_, size, kUpperDegree, order_.data());
    const size_t above = upper_.size();
    // Its vertices come in the order of insertion, so those of the level above are there before they are entries.
    QUIVER_RETURN_IF_ERROR(crew_.ForAll(size, 0.02, 0.05, [&](Worker& worker, uint32_t local) {
      if (local == 0) return;
      const uint32_t entries[] = {0, above > 0 ? Descend(worker, order_[local], above) : 0};
      const size_t count = entries[1] < local && entries[1] != 0 ? 2 : 1;
      WalkLevel(worker, *level, local, std::span(entries).first(count), kUpperEf);
      (void)LinkFound(worker, *level, local, alpha());
    }));
    upper_.push_back(std::move(level));
  }
  return Status::Ok();
}

Status GraphBuilder::BuildBase() {
  base_ = std::make_unique<BuildLevel>(points_, vertices_, degree(), nullptr);
  const size_t ef = std::max<size_t>(recipe_.ef_construction, degree());
  const uint32_t level_size = upper_.empty() ? 0 : upper_.back()->size();
  // What is joined costs a fraction of what is put in vertex by vertex.
  const double share = static_cast<double>(joined_) / std::max(1u, vertices_);
  const double between = 0.05 + 0.9 * share / (share + kTimesDearer * (1 - share));
  if (joined_ > 0) {
    GraphJoiner joiner(*base_, crew_, alpha(), ef, order_);
    QUIVER_RETURN_IF_ERROR(joiner.Join(sources_, 0.05, between));
  }
  return crew_.ForAll(vertices_ - joined_, joined_ > 0 ? between : 0.05, 0.95, [&](Worker& worker, uint32_t i) {
    const uint32_t position = joined_ + i;
    if (position == 0) return;
    const uint32_t vertex = order_[position];
    uint32_t entries[2] = {order_[0], 0};
    size_t count = 1;
    if (!upper_.empty()) {
      const uint32_t near = Descend(worker, vertex, upper_.size());
      // A vertex of the upper level itself finds itself there, or one that is not in the base yet.
      if (near != 0 && near < position) entries[count++] = order_[near];
    }
    const bool far_start = count == 2 && position > level_size;
    WalkLevel(worker, *base_, vertex, far_start ? std::span(entries).subspan(1) : std::span(entries).first(count), ef);
    (void)LinkFound(worker, *base_, vertex, alpha());
  });
}

/// Brings rows down to the degree, makes every vertex reachable, and lays out the links as they are walked.
Status GraphBuilder::Finish() {
  const auto trim = [&](BuildLevel& level) {
    return crew_.ForAll(level.size(), 0.95, 0.97, [&](Worker& worker, uint32_t local) {
      std::vector<Link>& links = worker.alive;
      level.CopyLinks(local, links);
      std::sort(links.begin(), links.end(), NearerLink);
      if (links.size() > level.degree()) {
        SelectLinks(worker, level, links, level.degree(), alpha());
        level.Replace(local, worker.kept);
      } else {
        level.Replace(local, links);
      }
    });
  };
  (void)trim(*base_);
  for (const auto& level : upper_) (void)trim(*level);
  Connect(*base_);
  QUIVER_RETURN_IF_ERROR(encoder_->LayOut(crew_));
  links_ = HugeArray<uint32_t>(size_t{vertices_} * degree(), kNoVertex);
  for (uint32_t v = 0; v < vertices_; ++v) {
    for (uint32_t i = 0; i < base_->count(v); ++i) links_[size_t{v} * degree() + i] = base_->row(v)[i].id;
  }
  for (const auto& level : upper_) {
    for (uint32_t v = 0; v < level->size(); ++v) {
      for (uint32_t i = 0; i < kUpperDegree; ++i) {
        upper_links_.push_back(i < level->count(v) ? level->row(v)[i].id : kNoVertex);
      }
    }
  }
  return Status::Ok();
}

/// Links what cannot be reached from the entry to the nearest vertex that can.
void GraphBuilder::Connect(BuildLevel& base) {
  if (vertices_ == 0) return;
  std::vector<uint8_t> reached(vertices_, 0);
  std::vector<uint32_t> queue;
  const auto spread = [&](uint32_t from) {
    if (reached[from] != 0) return;
    reached[from] = 1;
    queue.assign(1, from);
    while (!queue.empty()) {
      const uint32_t v = queue.back();
      queue.pop_back();
      for (uint32_t i = 0; i < base.count(v); ++i) {
        const uint32_t next = base.row(v)[i].id;
        if (reached[next] == 0) {
          reached[next] = 1;
          queue.push_back(next);
        }
      }
    }
  };
  spread(order_[0]);
  for (uint32_t position = 0; position < vertices_; ++position) {
    const uint32_t vertex = order_[position];
    if (reached[vertex] != 0) continue;
    // A walk from the entry sees reachable vertices only. One with room takes the link; where none has, every walk
    // begins with the vertex.
    LinkScratch& scratch = crew_.first();
    WalkLevel(scratch, base, vertex, std::span(&order_[0], 1), 256);
    bool linked = false;
    for (size_t i = 0; i < scratch.pool.size() && !linked; ++i) {
      const uint32_t near = scratch.pool.id(i);
      const uint32_t count = base.count(near);
      if (count >= base.degree()) continue;
      base.row(near)[count] = {scratch.pool.key(i), vertex};
      base.set_count(near, count + 1);
      linked = true;
    }
    if (!linked) starts_.push_back(vertex);
    spread(vertex);
  }
}

/// Measures what a walk gives and costs, on rows moved off their places by about the distance of their neighbours.
Status GraphBuilder::Measure() {
  constexpr size_t kSamples = 200;
  if (vertices_ < kLeastMeasured) return Status::Ok();
  GraphView view;
  view.points = encoder_->walk_points();
  view.vertices = vertices_;
  view.degree = degree();
  view.links = links_.data();
  view.entry = order_[0];
  view.start_count = static_cast<uint32_t>(starts_.size());
  view.starts = starts_.data();
  view.upper_degree = kUpperDegree;
  view.upper_levels = static_cast<uint32_t>(upper_.size());
  view.upper_vertices = order_.data();
  const uint32_t* upper_at = upper_links_.data();
  for (size_t l = 0; l < upper_.size(); ++l) {
    view.upper[l] = {upper_[l]->size(), upper_at};
    upper_at += size_t{upper_[l]->size()} * kUpperDegree;
  }

  const size_t samples = std::min<size_t>(kSamples, vertices_);
  std::vector<GraphQuery> queries(samples);
  uint64_t state = recipe_.seed ^ 0x5a5a;
  for (size_t s = 0; s < samples; ++s) {
    const auto vertex = static_cast<uint32_t>(NextRandom(state) % vertices_);
    const uint32_t links = base_->count(vertex);
    queries[s] = encoder_->QueryNear(vertex, links > 0 ? base_->row(vertex)[links / 4].distance : 0.0f, state);
  }

  const auto keys = [&](const GraphQuery& query, const uint32_t* ids, size_t count, float* out) {
    encoder_->Keys(query, ids, count, out);
  };
  if (view.points.by_products()) {
    if (!MeasureMargin(view, queries, keys, control_, margin_)) return BuildCrew::CancelledStatus();
    view.points.products.margin = margin_.margin;
  }
  const auto progress = [&](double share) { crew_.Progress(0.97 + 0.02 * share); };
  if (!MeasureWalks(view, queries, {}, keys, {.cancelled = control_.cancelled, .on_progress = progress}, curve_)) {
    return BuildCrew::CancelledStatus();
  }
  return Status::Ok();
}

std::string GraphBuilder::Write() {
  IndexFileWriter writer(recipe_, static_cast<uint32_t>(vectors_.rows));
  GraphHead head;
  head.vertices = vertices_;
  head.degree = degree();
  head.padded_dim = encoder_->padded_dim();
  head.upper_degree = kUpperDegree;
  head.upper_levels = static_cast<uint32_t>(upper_.size());
  head.entry = vertices_ > 0 ? order_[0] : 0;
  std::string head_bytes(reinterpret_cast<const char*>(&head), sizeof(head));
  for (const auto& level : upper_) {
    const uint32_t size = level->size();
    head_bytes.append(reinterpret_cast<const char*>(&size), sizeof(size));
  }
  writer.Add(kGraphHead, std::move(head_bytes));
  encoder_->Write(writer);
  if (recipe_.codec == IndexCodec::kPq)
    writer.AddValues(kGraphProductMargin, std::span<const GraphMargin>(&margin_, 1));
  writer.AddValues(kGraphLinks, links_.span());
  std::vector<uint32_t> upper(order_.begin(), order_.begin() + (upper_.empty() ? 0 : upper_.back()->size()));
  upper.insert(upper.end(), upper_links_.begin(), upper_links_.end());
  writer.AddValues(kGraphUpper, std::span<const uint32_t>(upper));
  if (!identity_) {
    std::vector<uint32_t> rows = row_offset_;
    rows.insert(rows.end(), rows_.begin(), rows_.end());
    writer.AddValues(kGraphRows, std::span<const uint32_t>(rows));
  }
  writer.AddValues(kGraphStrays, std::span<const uint32_t>(strays_));
  writer.AddValues(kGraphZeros, std::span<const uint32_t>(zeros_));
  writer.AddValues(kGraphStarts, std::span<const uint32_t>(starts_));
  writer.AddValues(kGraphCurve, std::span<const GraphCurvePoint>(curve_));
  crew_.Progress(1.0);
  return writer.Take();
}

}  // namespace

Result<std::string> BuildGraph(const IndexRecipe& recipe, const ColumnView& vectors, std::vector<GraphLinks> sources,
                               const BuildControl& control, uint32_t* joined) {
  if (!GraphEncodes(recipe) || recipe.degree < 2 || recipe.degree > kMaxLinks) {
    return Error(StatusCode::kIndexNotSupported, "no graph serves codec {} on {} with degree {}",
                 static_cast<int>(recipe.codec), DataTypeName(recipe.type), recipe.degree);
  }
  if (vectors.rows >= WalkPool::kExpanded) {
    return Error(StatusCode::kIndexNotSupported, "a graph of {} rows is too large", vectors.rows);
  }
  try {
    const IndexRecipe built = RecipeOver(recipe, vectors.rows);
    GraphBuilder builder(built, vectors, sources, control);
    Result<std::string> bytes = builder.Build();
    if (joined != nullptr) *joined = builder.joined();
    return bytes;
  } catch (const std::bad_alloc&) {
    return Error(StatusCode::kMemoryLimit, "no memory to build a graph of {} rows", vectors.rows);
  }
}

}  // namespace quiver::index
