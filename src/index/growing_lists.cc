#include "index/growing_lists.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <numeric>
#include <utility>
#include <vector>

#include "codec/kmeans.h"
#include "index/internal/graph_encoder.h"
#include "index/internal/growing_codes.h"
#include "index/internal/index_scratch.h"
#include "index/internal/lists_plan.h"
#include "index/internal/row_scorer.h"
#include "index/internal/set_bits.h"

namespace quiver::index {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
/// Binary vectors of more bits would make centres too dear.
constexpr int64_t kMostBits = 32768;
/// Rows of a list are about a root of all rows divided by so many, so that its centre costs about as much as they do;
/// within these bounds. A list is split at twice as many, and merged into others below one in so many.
constexpr double kRootShare = 4;
constexpr double kShortestList = 16;
constexpr double kLongestList = 1024;
constexpr uint32_t kMergeShare = 8;
/// Lists that came to be bit by bit hold less of what is near than as many that were made at once: so many times more
/// are looked at where a number was asked for (measured on data E and M, docs/performance.md).
constexpr double kAsGood = 2;
/// Lists around a new centre whose rows may move to it.
constexpr size_t kNeighbours = 8;
/// Rounds of moving the two centres of a list that is split.
constexpr size_t kSplitRounds = 6;
/// Rows after which searches are measured for the first time, then as their number grows by half; codes are looked at
/// as it doubles.
constexpr uint32_t kFirstMeasured = 4096;
constexpr double kMeasureGrowth = 1.5;
/// Rows as queries to measure with: fewer among many rows, since each is compared with all of them.
constexpr size_t kMostMeasured = 100;
constexpr size_t kLeastMeasuredQueries = 30;
constexpr size_t kMeasuredDistances = 12'800'000;
/// From so many rows on the large arrays go on in huge pages.
constexpr uint32_t kHugeFrom = 16384;
/// By how much keys of codes err, in units of the scale of a code and of the query's length: three deviations.
constexpr float kKeyError = 1.35f;
constexpr size_t kMostKept = 32;
constexpr size_t kRowsAtOnce = 64;

/// Rows of a list that is appended to while it is searched.
struct RowsOfList {
  explicit RowsOfList(uint32_t rows) : room(rows), ids(new uint32_t[rows]) {}
  RowsOfList(std::span<const uint32_t> rows, uint32_t more) : RowsOfList(static_cast<uint32_t>(rows.size()) + more) {
    std::copy(rows.begin(), rows.end(), ids.get());
    size.store(static_cast<uint32_t>(rows.size()), std::memory_order_relaxed);
  }
  [[nodiscard]] std::span<const uint32_t> rows() const { return {ids.get(), size.load(std::memory_order_acquire)}; }
  bool Append(uint32_t row) {
    const uint32_t at = size.load(std::memory_order_relaxed);
    if (at == room) return false;
    ids[at] = row;
    size.store(at + 1, std::memory_order_release);
    return true;
  }

  const uint32_t room;
  std::unique_ptr<uint32_t[]> ids;
  std::atomic<uint32_t> size{0};
  uint32_t inseparable = 0;  ///< linker only: so many rows could not be split
};

/// The centre of a list, a point of the space of the codes.
struct Centre {
  std::vector<int8_t> codes;
  codec::Sq8Factors factors;
  std::vector<std::byte> bits;
};

/// The centres of kListBlock lists.
struct CentreBlock {
  std::vector<int8_t> codes;
  std::array<codec::Sq8Factors, kListBlock> factors{};
  std::vector<std::byte> bits;
};

/// All lists at one moment; immutable but for rows that are appended.
struct Directory {
  std::vector<std::shared_ptr<const CentreBlock>> blocks;
  std::vector<std::shared_ptr<RowsOfList>> lists;

  [[nodiscard]] uint32_t nlist() const { return static_cast<uint32_t>(lists.size()); }
};

/// How many lists hold the nearest rows, among so many lists.
struct MeasuredCurve {
  std::vector<CurvePoint> points;
  uint32_t nlist;
};

constexpr std::array<uint32_t, kListBlock> kPlaces = [] {
  std::array<uint32_t, kListBlock> places{};
  std::iota(places.begin(), places.end(), 0u);
  return places;
}();

}  // namespace

class GrowingLists::Impl {
 public:
  Impl(const IndexRecipe& recipe, uint32_t capacity, const ColumnView& sample, bool lengths_differ)
      : recipe_(recipe),
        capacity_(capacity),
        codes_(recipe, capacity, sample, lengths_differ, false),
        dim_(codes_.points().dim),
        width_(codes_.points().bits.bytes),
        directory_(std::make_shared<Directory>()) {}

  [[nodiscard]] const IndexRecipe& recipe() const { return recipe_; }
  [[nodiscard]] uint32_t capacity() const { return capacity_; }
  [[nodiscard]] uint32_t linked() const { return linked_.load(std::memory_order_acquire); }
  [[nodiscard]] uint64_t memory_bytes() const { return memory_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool outgrown() const { return codes_.drifted() || lengths_differ(); }
  [[nodiscard]] bool lengths_differ() const { return codes_.lengths_differ(linked()); }
  [[nodiscard]] Shape shape() const;

  Status Link(const PagedColumn& column, uint32_t until, const std::function<bool()>& cancelled);
  Status Search(uint32_t rows, const FlatQueries& queries, size_t query, const PagedColumn& column,
                const RowFilter& filter, const IndexSearchOptions& options, uint64_t first_row, TopK& result,
                IndexScratch& scratch, IndexCounters& counters) const;

 private:
  /// A search under way.
  struct Task {
    const Directory& lists;
    uint32_t rows;
    const GraphQuery& query;
    const RowScorer& scorer;
    const RowFilter& filter;
    const IndexSearchOptions& options;
    uint64_t first_row;
    TopK& result;
    ListsScratch& scratch;
    GraphScratch& buffers;
    IndexCounters& counters;
    size_t wanted;
    float margin;  ///< by which keys of codes may err
    float limit = kInfinity;
    uint64_t examined = 0;
    uint64_t taken = 0;
  };

  [[nodiscard]] std::shared_ptr<const Directory> Look() const {
    const std::lock_guard lock(mutex_);
    return directory_;
  }
  void Publish(std::shared_ptr<const Directory> next);
  [[nodiscard]] uint32_t LongestList() const;
  [[nodiscard]] WalkPoints PointsOf(const CentreBlock& block, bool clustering) const;
  void Rank(const Directory& lists, const GraphQuery& query, bool clustering, float* keys, float* block_keys) const;
  [[nodiscard]] GraphQuery PointQuery(const int8_t* codes, const codec::Sq8Factors& factors,
                                      const std::byte* bits) const;
  [[nodiscard]] GraphQuery RowQuery(uint32_t row) const;
  [[nodiscard]] GraphQuery CentreQuery(const Directory& lists, uint32_t list) const;
  void DistancesTo(const GraphQuery& centre, float norm, std::span<const uint32_t> rows, float* out) const;
  void DistancesTo(const Centre& centre, std::span<const uint32_t> rows, float* out) const;
  void DistancesTo(const Directory& lists, uint32_t list, std::span<const uint32_t> rows, float* out) const;
  [[nodiscard]] uint32_t NearestList(uint32_t row);
  [[nodiscard]] std::vector<uint32_t> ListsAround(const Directory& lists, uint32_t list);
  void SetCentre(Directory& lists, uint32_t list, const Centre& centre) const;
  [[nodiscard]] Centre CentreOf(const Directory& lists, uint32_t list) const;
  [[nodiscard]] bool Halve(std::span<const uint32_t> rows, Centre& one, Centre& other) const;
  [[nodiscard]] bool HalvePoints(std::span<const uint32_t> rows, Centre& one, Centre& other) const;
  [[nodiscard]] bool HalveBits(std::span<const uint32_t> rows, Centre& one, Centre& other) const;
  void AppendTo(uint32_t list, uint32_t row);
  void LinkRow(uint32_t row);
  void Split(uint32_t list);
  void MergeShort();
  void Measure();
  void CountMemory();

  [[nodiscard]] uint32_t ListsAskedFor(const IndexSearchOptions& options, uint32_t nlist, uint32_t rows) const;
  void Scan(Task& task, std::span<const uint32_t> chosen) const;
  void ScoreKept(Task& task) const;
  static void Score(Task& task, const uint32_t* rows, size_t count);
  static Status ScoreMatches(Task& task, const uint64_t* bits);
  Status ScoreRest(Task& task, size_t done) const;

  const IndexRecipe recipe_;
  const uint32_t capacity_;
  GrowingCodes codes_;
  const size_t dim_;    ///< of codes; binary: 0
  const size_t width_;  ///< bytes of binary vectors; else 0
  std::atomic<uint32_t> linked_{0};
  std::atomic<uint64_t> memory_{0};
  std::atomic<const MeasuredCurve*> curve_{nullptr};
  std::atomic<uint32_t> splits_{0}, merges_{0};
  mutable std::mutex mutex_;
  std::shared_ptr<const Directory> directory_;  ///< guarded by mutex_, which the linker needs for writing only

  // Linker only.
  std::vector<std::unique_ptr<const MeasuredCurve>> curves_;  ///< searches may still read the older ones
  uint32_t next_measured_ = kFirstMeasured;
  uint32_t next_reviewed_ = kFirstMeasured;
  std::vector<float> keys_, block_keys_;
};

GrowingLists::Shape GrowingLists::Impl::shape() const {
  const auto lists = Look();
  Shape shape{.lists = lists->nlist(), .longest = 0, .splits = splits_.load(), .merges = merges_.load()};
  for (const auto& list : lists->lists) shape.longest = std::max(shape.longest, list->size.load());
  return shape;
}

void GrowingLists::Impl::Publish(std::shared_ptr<const Directory> next) {
  std::shared_ptr<const Directory> before;  // let go of without the lock
  const std::lock_guard lock(mutex_);
  before = std::exchange(directory_, std::move(next));
}

/// Rows that a list may have before it is split.
uint32_t GrowingLists::Impl::LongestList() const {
  const double usual = std::sqrt(static_cast<double>(linked())) / kRootShare;
  return static_cast<uint32_t>(2 * std::clamp(usual, kShortestList, kLongestList));
}

/// Centres as rows that a query is compared with. Clusters of bits are made by Hamming distance for every metric.
WalkPoints GrowingLists::Impl::PointsOf(const CentreBlock& block, bool clustering) const {
  WalkPoints points;
  points.dim = dim_;
  points.factors = block.factors.data();
  points.codes = block.codes.data();
  if (codes_.binary()) {
    points.bits = {block.bits.data(), width_,
                   clustering ? BitDistance(MetricType::kHamming) : codes_.points().bits.distance};
  }
  return points;
}

/// Writes the keys of all lists, infinity for places without one, and the smallest key of each block.
void GrowingLists::Impl::Rank(const Directory& lists, const GraphQuery& query, bool clustering, float* keys,
                              float* block_keys) const {
  for (size_t b = 0; b < lists.blocks.size(); ++b) {
    const size_t count = std::min(kListBlock, lists.lists.size() - b * kListBlock);
    float* out = keys + b * kListBlock;
    PointsOf(*lists.blocks[b], clustering).WholeKeys(query, kPlaces.data(), count, out);
    std::fill(out + count, out + kListBlock, kInfinity);
    block_keys[b] = *std::min_element(out, out + count);
  }
}

/// A point to which squared distances are wanted, whatever the metric, less the square of its own length.
GraphQuery GrowingLists::Impl::PointQuery(const int8_t* codes, const codec::Sq8Factors& factors,
                                          const std::byte* bits) const {
  if (codes_.binary()) return GraphQuery(bits);
  return {codes, dim_, {1.0f, 2 * factors.scale, true}};
}

GraphQuery GrowingLists::Impl::RowQuery(uint32_t row) const {
  if (codes_.binary()) return GraphQuery(codes_.points().bits.at(row));
  return PointQuery(codes_.points().at(row), codes_.factors(row), nullptr);
}

GraphQuery GrowingLists::Impl::CentreQuery(const Directory& lists, uint32_t list) const {
  const CentreBlock& block = *lists.blocks[list / kListBlock];
  const size_t place = list % kListBlock;
  return PointQuery(block.codes.data() + place * dim_, block.factors[place], block.bits.data() + place * width_);
}

/// Distances of rows from a point whose squared length is `norm`.
void GrowingLists::Impl::DistancesTo(const GraphQuery& centre, float norm, std::span<const uint32_t> rows,
                                     float* out) const {
  WalkPoints points = codes_.walk_points();
  if (codes_.binary()) points.bits.distance = BitDistance(MetricType::kHamming);
  points.WholeKeys(centre, rows.data(), rows.size(), out);
  for (size_t i = 0; i < rows.size(); ++i) out[i] += norm;
}

void GrowingLists::Impl::DistancesTo(const Centre& centre, std::span<const uint32_t> rows, float* out) const {
  DistancesTo(PointQuery(centre.codes.data(), centre.factors, centre.bits.data()), centre.factors.norm, rows, out);
}

void GrowingLists::Impl::DistancesTo(const Directory& lists, uint32_t list, std::span<const uint32_t> rows,
                                     float* out) const {
  DistancesTo(CentreQuery(lists, list), lists.blocks[list / kListBlock]->factors[list % kListBlock].norm, rows, out);
}

uint32_t GrowingLists::Impl::NearestList(uint32_t row) {
  const Directory& lists = *directory_;
  keys_.resize(lists.blocks.size() * kListBlock);
  block_keys_.resize(lists.blocks.size());
  Rank(lists, RowQuery(row), true, keys_.data(), block_keys_.data());
  const auto block = std::min_element(block_keys_.begin(), block_keys_.end()) - block_keys_.begin();
  const auto first = keys_.begin() + block * static_cast<std::ptrdiff_t>(kListBlock);
  return static_cast<uint32_t>(std::min_element(first, first + kListBlock) - keys_.begin());
}

/// The lists whose centres are nearest to that of `list`, without it.
std::vector<uint32_t> GrowingLists::Impl::ListsAround(const Directory& lists, uint32_t list) {
  keys_.resize(lists.blocks.size() * kListBlock);
  block_keys_.resize(lists.blocks.size());
  Rank(lists, CentreQuery(lists, list), true, keys_.data(), block_keys_.data());
  keys_[list] = kInfinity;
  std::vector<uint32_t> around(lists.nlist());
  std::iota(around.begin(), around.end(), 0u);
  const size_t count = std::min<size_t>(kNeighbours, around.size() - 1);
  std::nth_element(around.begin(), around.begin() + static_cast<std::ptrdiff_t>(count), around.end(),
                   [&](uint32_t a, uint32_t b) { return keys_[a] < keys_[b]; });
  around.resize(count);
  return around;
}

void GrowingLists::Impl::SetCentre(Directory& lists, uint32_t list, const Centre& centre) const {
  std::shared_ptr<const CentreBlock>& at = lists.blocks[list / kListBlock];
  auto block = std::make_shared<CentreBlock>(*at);
  const size_t place = list % kListBlock;
  std::copy(centre.codes.begin(), centre.codes.end(), block->codes.begin() + static_cast<std::ptrdiff_t>(place * dim_));
  std::copy(centre.bits.begin(), centre.bits.end(), block->bits.begin() + static_cast<std::ptrdiff_t>(place * width_));
  block->factors[place] = centre.factors;
  at = std::move(block);
}

Centre GrowingLists::Impl::CentreOf(const Directory& lists, uint32_t list) const {
  const CentreBlock& block = *lists.blocks[list / kListBlock];
  const size_t place = list % kListBlock;
  const auto codes = block.codes.begin() + static_cast<std::ptrdiff_t>(place * dim_);
  const auto bits = block.bits.begin() + static_cast<std::ptrdiff_t>(place * width_);
  return {{codes, codes + static_cast<std::ptrdiff_t>(dim_)},
          block.factors[place],
          {bits, bits + static_cast<std::ptrdiff_t>(width_)}};
}

/// Finds the centres of two halves of the rows. False where they are all alike.
bool GrowingLists::Impl::Halve(std::span<const uint32_t> rows, Centre& one, Centre& other) const {
  if (!(codes_.binary() ? HalveBits(rows, one, other) : HalvePoints(rows, one, other))) return false;
  std::vector<float> to_one(rows.size()), to_other(rows.size());
  DistancesTo(one, rows, to_one.data());
  DistancesTo(other, rows, to_other.data());
  size_t nearer = 0;
  for (size_t i = 0; i < rows.size(); ++i) nearer += to_one[i] <= to_other[i] ? 1 : 0;
  return nearer != 0 && nearer != rows.size();
}

bool GrowingLists::Impl::HalvePoints(std::span<const uint32_t> rows, Centre& one, Centre& other) const {
  std::vector<float> points(rows.size() * dim_);
  for (size_t i = 0; i < rows.size(); ++i) {
    const int8_t* codes = codes_.points().at(rows[i]);
    const float scale = codes_.factors(rows[i]).scale;
    for (size_t d = 0; d < dim_; ++d) points[i * dim_ + d] = scale * static_cast<float>(codes[d]);
  }
  codec::KMeansOptions options;
  options.centres = 2;
  options.iterations = kSplitRounds;
  options.polish = 0;
  options.seed = recipe_.seed + rows.front();
  const auto means = codec::KMeans::Train(points.data(), rows.size(), dim_, options);
  if (!means.ok() || means->size() != 2) return false;
  for (Centre* centre : {&one, &other}) {
    centre->codes.resize(dim_);
    const float* at = means->centres().data() + (centre == &one ? 0 : dim_);
    centre->factors = codec::EncodeSq8(at, dim_, centre->codes.data());
  }
  return true;
}

bool GrowingLists::Impl::HalveBits(std::span<const uint32_t> rows, Centre& one, Centre& other) const {
  const GraphBits& bits = codes_.points().bits;
  std::vector<float> to_one(rows.size()), to_other(rows.size());
  // Two rows far from one another.
  const auto row_at = [&](size_t i) { return std::vector<std::byte>(bits.at(rows[i]), bits.at(rows[i]) + width_); };
  const auto farthest = [](const std::vector<float>& from) {
    return static_cast<size_t>(std::max_element(from.begin(), from.end()) - from.begin());
  };
  other.bits = row_at(0);
  DistancesTo(other, rows, to_other.data());
  one.bits = row_at(farthest(to_other));
  std::vector<uint32_t> ones[2];
  for (size_t round = 0; round < kSplitRounds; ++round) {
    DistancesTo(one, rows, to_one.data());
    DistancesTo(other, rows, to_other.data());
    size_t counts[2] = {0, 0};
    for (auto& sums : ones) sums.assign(width_ * 8, 0);
    for (size_t i = 0; i < rows.size(); ++i) {
      const size_t side = to_one[i] <= to_other[i] ? 0 : 1;
      ++counts[side];
      const std::byte* row = bits.at(rows[i]);
      for (size_t b = 0; b < width_ * 8; ++b) ones[side][b] += (static_cast<uint32_t>(row[b / 8]) >> (b % 8)) & 1;
    }
    if (counts[0] == 0 || counts[1] == 0) return false;
    for (const size_t side : {0, 1}) {
      std::vector<std::byte>& centre = side == 0 ? one.bits : other.bits;
      std::fill(centre.begin(), centre.end(), std::byte{0});
      for (size_t b = 0; b < width_ * 8; ++b) {
        if (2 * ones[side][b] > counts[side]) centre[b / 8] |= std::byte{1} << (b % 8);
      }
    }
  }
  return true;
}

/// Appends a row to a list, in a larger one where it is full.
void GrowingLists::Impl::AppendTo(uint32_t list, uint32_t row) {
  if (directory_->lists[list]->Append(row)) return;
  const RowsOfList& full = *directory_->lists[list];
  auto next = std::make_shared<Directory>(*directory_);
  auto larger = std::make_shared<RowsOfList>(full.rows(), full.room);
  larger->inseparable = full.inseparable;
  (void)larger->Append(row);
  next->lists[list] = std::move(larger);
  Publish(std::move(next));
}

void GrowingLists::Impl::LinkRow(uint32_t row) {
  if (directory_->lists.empty()) {
    auto first = std::make_shared<Directory>();
    first->blocks.push_back(std::make_shared<CentreBlock>(
        CentreBlock{std::vector<int8_t>(kListBlock * dim_), {}, std::vector<std::byte>(kListBlock * width_)}));
    first->lists.push_back(std::make_shared<RowsOfList>(2 * LongestList()));
    Publish(std::move(first));
  }
  const uint32_t list = NearestList(row);
  AppendTo(list, row);
  const RowsOfList& rows = *directory_->lists[list];
  if (rows.size > std::max(LongestList(), 2 * rows.inseparable)) Split(list);
}

/// Splits a list in two, and moves rows of the lists around to the new centres where these are nearer, and rows of the
/// list to those around where these are.
void GrowingLists::Impl::Split(uint32_t list) {
  const Directory& before = *directory_;
  const std::vector<uint32_t> rows(before.lists[list]->rows().begin(), before.lists[list]->rows().end());
  Centre centres[2];
  if (!Halve(rows, centres[0], centres[1])) {
    before.lists[list]->inseparable = static_cast<uint32_t>(rows.size());
    return;
  }
  const std::vector<uint32_t> around = ListsAround(before, list);
  std::vector<std::vector<uint32_t>> members(2 + around.size());
  std::vector<bool> changed(around.size(), false);
  std::vector<float> own[2], theirs;
  const auto measure = [&](std::span<const uint32_t> some) {
    for (const size_t side : {0, 1}) DistancesTo(centres[side], some, Sized(own[side], some.size()));
    Sized(theirs, some.size());
  };
  // Rows of the list itself: the best of the new centres and those around.
  measure(rows);
  std::vector<float> best(rows.size());
  std::vector<size_t> home(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    home[i] = own[0][i] <= own[1][i] ? 0 : 1;
    best[i] = own[home[i]][i];
  }
  for (size_t n = 0; n < around.size(); ++n) {
    DistancesTo(before, around[n], rows, theirs.data());
    for (size_t i = 0; i < rows.size(); ++i) {
      if (!(theirs[i] < best[i])) continue;
      best[i] = theirs[i];
      home[i] = 2 + n;
    }
  }
  for (size_t n = 0; n < around.size(); ++n) {
    const std::span<const uint32_t> some = before.lists[around[n]]->rows();
    measure(some);
    DistancesTo(before, around[n], some, theirs.data());
    for (size_t i = 0; i < some.size(); ++i) {
      const size_t side = own[0][i] <= own[1][i] ? 0 : 1;
      const bool moves = own[side][i] < theirs[i];
      members[moves ? side : 2 + n].push_back(some[i]);
      changed[n] = changed[n] || moves;
    }
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    members[home[i]].push_back(rows[i]);
    if (home[i] >= 2) changed[home[i] - 2] = true;
  }
  auto next = std::make_shared<Directory>(before);
  const uint32_t room = 2 * LongestList();
  const auto second = next->nlist();
  if (second % kListBlock == 0) next->blocks.push_back(std::make_shared<CentreBlock>(*next->blocks.front()));
  next->lists[list] = std::make_shared<RowsOfList>(members[0], room);
  next->lists.push_back(std::make_shared<RowsOfList>(members[1], room));
  SetCentre(*next, list, centres[0]);
  SetCentre(*next, second, centres[1]);
  for (size_t n = 0; n < around.size(); ++n) {
    if (!changed[n]) continue;
    auto moved = std::make_shared<RowsOfList>(members[2 + n], room);
    moved->inseparable = before.lists[around[n]]->inseparable;
    next->lists[around[n]] = std::move(moved);
  }
  Publish(std::move(next));
  splits_.fetch_add(1, std::memory_order_relaxed);
}

/// Puts the rows of lists that have stayed short while all others grew into those that are nearest to them.
void GrowingLists::Impl::MergeShort() {
  const uint32_t shortest = LongestList() / 2 / kMergeShare;
  for (uint32_t list = 0; list < directory_->nlist() && directory_->nlist() > 1;) {
    if (directory_->lists[list]->size >= shortest) {
      ++list;
      continue;
    }
    const std::vector<uint32_t> rows(directory_->lists[list]->rows().begin(), directory_->lists[list]->rows().end());
    auto next = std::make_shared<Directory>(*directory_);
    const std::vector<uint32_t> around = ListsAround(*next, list);
    // Their new lists, as searches on the directory of before must not meet a row twice.
    std::vector<std::vector<uint32_t>> coming(around.size());
    std::vector<float> best(rows.size(), kInfinity), theirs(rows.size());
    std::vector<size_t> home(rows.size(), 0);
    for (size_t n = 0; n < around.size(); ++n) {
      DistancesTo(*next, around[n], rows, theirs.data());
      for (size_t i = 0; i < rows.size(); ++i) {
        if (!(theirs[i] < best[i])) continue;
        best[i] = theirs[i];
        home[i] = n;
      }
    }
    for (size_t i = 0; i < rows.size(); ++i) coming[home[i]].push_back(rows[i]);
    for (size_t n = 0; n < around.size(); ++n) {
      if (coming[n].empty()) continue;
      const RowsOfList& old = *next->lists[around[n]];
      auto joined = std::make_shared<RowsOfList>(
          old.rows(), static_cast<uint32_t>(coming[n].size()) + std::max(2 * LongestList(), old.room - old.size));
      joined->inseparable = old.inseparable;
      for (const uint32_t row : coming[n]) (void)joined->Append(row);
      next->lists[around[n]] = std::move(joined);
    }
    // The last list takes its place.
    const uint32_t last = next->nlist() - 1;
    if (list != last) {
      SetCentre(*next, list, CentreOf(*next, last));
      next->lists[list] = next->lists[last];
    }
    next->lists.pop_back();
    if (last % kListBlock == 0) next->blocks.pop_back();
    Publish(std::move(next));
    merges_.fetch_add(1, std::memory_order_relaxed);
  }
}

/// Looks at the rows linked since the last time, and measures in how many lists the nearest of rows lie.
void GrowingLists::Impl::Measure() {
  const uint32_t rows = linked();
  next_measured_ = static_cast<uint32_t>(std::min(kMeasureGrowth * rows, 4e9));
  if (rows >= next_reviewed_) {
    codes_.Review();
    next_reviewed_ = 2 * rows;
  }
  MergeShort();
  const Directory& lists = *directory_;
  const uint32_t nlist = lists.nlist();
  std::vector<uint32_t> list_of_row(rows, kNoRow);
  std::vector<uint32_t> listed;
  for (uint32_t l = 0; l < nlist; ++l) {
    for (const uint32_t row : lists.lists[l]->rows()) list_of_row[row] = l;
  }
  for (uint32_t row = 0; row < rows; ++row) {
    if (list_of_row[row] != kNoRow) listed.push_back(row);
  }
  if (nlist < 2 || listed.size() < 2 * kCurveDepth) return;
  const size_t count = std::clamp(kMeasuredDistances / listed.size(), kLeastMeasuredQueries, kMostMeasured);
  // Each of a list of its own, as far as there are so many: rows that are all alike would hide what the others need.
  std::vector<uint32_t> sample;
  for (uint64_t state = recipe_.seed + rows, l = 0; sample.size() < count; ++l) {
    const auto some = lists.lists[static_cast<uint32_t>(l * nlist / count) % nlist]->rows();
    sample.push_back(some.empty() ? listed[NextRandom(state) % listed.size()] : some[NextRandom(state) % some.size()]);
  }
  // Codes are as good as the vectors for this, and nearer at hand.
  std::vector<TopK> truth(count, TopK(kCurveDepth + 1, MetricType::kL2));
  std::vector<float> keys(listed.size());
  for (size_t i = 0; i < count; ++i) {
    codes_.walk_points().WholeKeys(codes_.QueryOf(sample[i]), listed.data(), listed.size(), keys.data());
    for (size_t j = 0; j < listed.size(); ++j) truth[i].Offer(keys[j], listed[j]);
  }
  std::vector<float> list_keys(lists.blocks.size() * kListBlock), block_keys(lists.blocks.size());
  auto points = MeasureCurve(nlist, sample, truth, list_of_row, [&](size_t i, float* out) {
    Rank(lists, codes_.QueryOf(sample[i]), false, list_keys.data(), block_keys.data());
    std::copy_n(list_keys.begin(), nlist, out);
  });
  auto curve = std::make_unique<const MeasuredCurve>(MeasuredCurve{std::move(points), nlist});
  curve_.store(curve.get(), std::memory_order_release);
  curves_.push_back(std::move(curve));
}

void GrowingLists::Impl::CountMemory() {
  const Directory& lists = *directory_;
  uint64_t bytes = linked() * GrowingCodes::BytesPerRow(recipe_, false);
  for (const auto& list : lists.lists) bytes += sizeof(RowsOfList) + list->room * sizeof(uint32_t);
  bytes += lists.blocks.size() * (sizeof(CentreBlock) + kListBlock * (dim_ + width_));
  memory_.store(bytes, std::memory_order_relaxed);
}

Status GrowingLists::Impl::Link(const PagedColumn& column, uint32_t until, const std::function<bool()>& cancelled) {
  until = std::min(until, capacity_);
  ColumnView page;
  uint32_t page_number = kNoRow;
  Status status;
  for (uint32_t row = linked(); row < until; ++row) {
    if (cancelled && cancelled()) {
      status = Error(StatusCode::kCancelled, "linking was cancelled");
      break;
    }
    if (row / column.page_rows != page_number) {
      page_number = row / column.page_rows;
      page = column.page(page_number);
    }
    if (row == kHugeFrom) codes_.AdviseBeyond(row);
    if (codes_.Add(row, page, row % column.page_rows) == RowKind::kPoint) LinkRow(row);
    linked_.store(row + 1, std::memory_order_release);
    if (row + 1 >= next_measured_) Measure();
  }
  CountMemory();
  return status;
}

/// A number of lists is meant for those of a sealed segment; of these lists as large a part is taken.
uint32_t GrowingLists::Impl::ListsAskedFor(const IndexSearchOptions& options, uint32_t nlist, uint32_t rows) const {
  if (options.nprobe == 0) return 0;
  const auto sealed = static_cast<double>(ChooseLists(recipe_, rows));
  const double share = std::min(1.0, kAsGood * options.nprobe / sealed);
  return static_cast<uint32_t>(std::ceil(share * nlist));
}

/// Compares the codes of the rows of these lists and keeps the best.
void GrowingLists::Impl::Scan(Task& task, std::span<const uint32_t> chosen) const {
  Shortlist& kept = task.buffers.whole_list;
  kept.Begin(task.wanted, task.margin, kMostKept * task.wanted);
  const uint64_t* bits = task.filter.bits;
  std::vector<uint32_t>* const buffers[2] = {&task.scratch.rows, &task.scratch.alive};
  // The rows of a list that may be returned, whose codes then are on their way into the cache.
  const auto fetch = [&](size_t at) {
    const std::span<const uint32_t> rows = task.lists.lists[chosen[at]]->rows();
    uint32_t* ids = Sized(*buffers[at % 2], rows.size() + 1);
    size_t count = 0;
    for (const uint32_t row : rows) {
      ids[count] = row;
      // Rows that came after the search had begun are no part of it, and may lie beyond the filter.
      count += row < task.rows && (bits == nullptr || ((bits[row / 64] >> (row % 64)) & 1) != 0) ? 1 : 0;
    }
    for (size_t i = 0; i < count; ++i) codes_.points().Prefetch(ids[i]);
    return count;
  };
  size_t count = chosen.empty() ? 0 : fetch(0);
  for (size_t at = 0; at < chosen.size(); ++at) {
    const size_t next = at + 1 < chosen.size() ? fetch(at + 1) : 0;
    const uint32_t* ids = buffers[at % 2]->data();
    float* keys = Sized(task.scratch.scores, count);
    codes_.walk_points().WholeKeys(task.query, ids, count, keys);
    for (size_t i = 0; i < count; ++i) {
      if (keys[i] <= task.limit) kept.Offer(keys[i], ids[i]);
    }
    task.examined += count;
    task.counters.code_distances += count;
    count = next;
  }
  task.counters.expansions += chosen.size();
  ScoreKept(task);
}

/// Scores the best of a scan exactly.
void GrowingLists::Impl::ScoreKept(Task& task) const {
  Shortlist& kept = task.buffers.whole_list;
  kept.Cut();
  kept.Sort();
  if (kept.size() >= task.wanted) task.limit = std::min(task.limit, kept[task.wanted - 1].key + task.margin);
  uint32_t* ids = Sized(task.scratch.rows, kept.size());
  for (size_t i = 0; i < kept.size(); ++i) ids[i] = kept[i].id;
  Score(task, ids, kept.size());
}

void GrowingLists::Impl::Score(Task& task, const uint32_t* rows, size_t count) {
  float scores[kRowsAtOnce];
  for (size_t first = 0; first < count; first += kRowsAtOnce) {
    const size_t some = std::min(kRowsAtOnce, count - first);
    task.scorer.Score({rows + first, some}, scores);
    for (size_t i = 0; i < some; ++i) {
      if (task.result.Offer(scores[i], task.first_row + rows[first + i])) ++task.taken;
    }
  }
  task.counters.exact_distances += count;
}

Status GrowingLists::Impl::ScoreMatches(Task& task, const uint64_t* bits) {
  const auto take = [&](const uint32_t* some, size_t count) {
    Score(task, some, count);
    return !task.options.cancelled || !task.options.cancelled();
  };
  return VisitSetBits<4>(bits, task.rows, take) ? Status::Ok()
                                                : Error(StatusCode::kCancelled, "the search was cancelled");
}

/// Scores the rows of the filter that are not in the first `done` lists that were chosen.
Status GrowingLists::Impl::ScoreRest(Task& task, size_t done) const {
  std::vector<uint64_t>& left = task.scratch.left;
  left.assign(task.filter.bits, task.filter.bits + (size_t{task.rows} + 63) / 64);
  const auto leave_out = [&](uint32_t row) {
    if (row < task.rows) left[row / 64] &= ~(uint64_t{1} << (row % 64));
  };
  for (const RowList* outside : {&codes_.strays(), &codes_.zeros()})
    std::ranges::for_each(outside->Below(task.rows), leave_out);
  for (const uint32_t list : std::span(task.scratch.chosen).first(done)) {
    std::ranges::for_each(task.lists.lists[list]->rows(), leave_out);
  }
  return ScoreMatches(task, left.data());
}

Status GrowingLists::Impl::Search(uint32_t rows, const FlatQueries& queries, size_t query, const PagedColumn& column,
                                  const RowFilter& filter, const IndexSearchOptions& options, uint64_t first_row,
                                  TopK& result, IndexScratch& scratch, IndexCounters& counters) const {
  if (rows > linked() || queries.type() != recipe_.type || queries.dim() != recipe_.dim) {
    return Error(StatusCode::kInternal, "lists over {} growing rows were asked about {}", linked(), rows);
  }
  if (filter.bits != nullptr && filter.count == 0) return Status::Ok();
  const std::shared_ptr<const Directory> lists = Look();
  ListsScratch& own = scratch.impl().lists;
  GraphScratch& buffers = scratch.impl().graph;
  GraphQuery encoded;
  float length = 0;
  if (codes_.binary()) {
    encoded = GraphQuery(queries.Bits(query));
  } else {
    int8_t* codes = Sized(buffers.codes, dim_);
    encoded = {codes, dim_, codes_.space()->EncodeQuery(queries, query, codes, buffers.work)};
    int64_t squares = 0;
    for (size_t d = 0; d < dim_; ++d) squares += codes[d] * codes[d];
    length = std::sqrt(static_cast<float>(squares));
  }
  const PageScorer scorer(queries, query, column);
  const size_t k = std::max<size_t>({options.k, result.k(), 1});
  Task task{.lists = *lists,
            .rows = rows,
            .query = encoded,
            .scorer = scorer,
            .filter = filter,
            .options = options,
            .first_row = first_row,
            .result = result,
            .scratch = own,
            .buffers = buffers,
            .counters = counters,
            .wanted = k + k / 8 + 2,
            .margin = kKeyError * encoded.terms.product_weight * codes_.usual_scale() * length};

  const uint32_t nlist = lists->nlist();
  ListsPlan plan{.nlist = std::max(nlist, 1U), .listed = rows, .curve = {}};
  double more = 1;  // lists that have come since the curve was measured
  if (const MeasuredCurve* curve = curve_.load(std::memory_order_acquire); curve != nullptr) {
    plan.curve = curve->points;
    more = std::max(1.0, static_cast<double>(nlist) / curve->nlist);
  }
  IndexSearchOptions asked = options;
  asked.nprobe = ListsAskedFor(options, plan.nlist, rows);
  uint32_t most = plan.ListsFor(asked, filter);
  if (asked.nprobe == 0) most = std::min(static_cast<uint32_t>(std::ceil(more * most)), plan.nlist);
  const ListsGoal goal = plan.GoalOf(filter, asked, most);
  // Rough costs in nanoseconds: a raw vector, a code, a centre.
  const double matches = static_cast<double>(filter.bits == nullptr ? rows : filter.count);
  const double share = matches / std::max(1.0, static_cast<double>(rows));
  const double width = codes_.binary() ? static_cast<double>(width_) : static_cast<double>(dim_);
  const double row = 60 + static_cast<double>(FixedWidth(recipe_.type, recipe_.dim)) / 10;
  const auto cost_of = [&](double some) {
    return nlist * (3 + width / 40) + static_cast<double>(rows) * some / plan.nlist * (1.5 + share * (10 + width / 16));
  };
  const double score = matches * row;
  const double probe = cost_of(plan.Expected(filter, asked, most, false));
  if (counters.reasons != nullptr) {
    counters.reasons->cost[static_cast<size_t>(SearchPlan::kScoreMatches)] = score;
    counters.reasons->cost[static_cast<size_t>(SearchPlan::kProbe)] = probe;
    counters.reasons->nprobe = most;
    counters.reasons->nlist = nlist;
  }
  if ((filter.bits != nullptr && score <= probe) || !encoded.terms.usable) {
    ++counters.plans[static_cast<size_t>(SearchPlan::kScoreMatches)];
    return ScoreMatches(task, filter.bits);
  }
  ++counters.plans[static_cast<size_t>(SearchPlan::kProbe)];
  for (const RowList* outside : {&codes_.strays(), &codes_.zeros()}) {
    for (const uint32_t row : outside->Below(rows)) {
      if (filter.bits == nullptr || ((filter.bits[row / 64] >> (row % 64)) & 1) != 0) Score(task, &row, 1);
    }
  }
  if (nlist == 0) return Status::Ok();
  Rank(*lists, encoded, false, Sized(own.centre_keys, lists->blocks.size() * kListBlock),
       Sized(own.block_keys, lists->blocks.size()));
  own.chosen.clear();
  for (size_t done = 0, wanted = goal.first;;) {
    if (options.cancelled && options.cancelled()) return Error(StatusCode::kCancelled, "the search was cancelled");
    ChooseFurther(nlist, wanted, own);
    task.taken = 0;
    Scan(task, std::span<const uint32_t>(own.chosen).subspan(done, wanted - done));
    const bool brings = goal.yield >= 0 && (done == 0 || static_cast<double>(task.taken) > goal.yield);
    done = wanted;
    if (done >= nlist || (task.examined >= goal.needed && !brings)) return Status::Ok();
    const auto further = static_cast<size_t>(goal.growth * static_cast<double>(done));
    wanted = std::min<size_t>(done + std::max<size_t>(further, 1), nlist);
    // Where matches lie far away or apart, rounds go on and on: they end where scoring what is left is cheaper.
    const auto left = static_cast<double>(filter.count - std::min(filter.count, task.examined));
    const double others = cost_of(nlist) - cost_of(static_cast<double>(done));
    if (filter.bits != nullptr && left * row < std::min(cost_of(static_cast<double>(wanted)), others)) {
      return ScoreRest(task, done);
    }
  }
}

GrowingLists::GrowingLists(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrowingLists::~GrowingLists() = default;

bool GrowingLists::Serves(const IndexRecipe& recipe) {
  if (recipe.structure != IndexStructure::kLists || recipe.dim < 1 || recipe.dim > kMostListDim) return false;
  if (recipe.type == DataType::kBinaryVector) {
    return recipe.dim % 8 == 0 && recipe.dim <= kMostBits &&
           (recipe.metric == MetricType::kHamming || recipe.metric == MetricType::kJaccard);
  }
  const bool dense = recipe.type == DataType::kFloatVector || recipe.type == DataType::kFloat16Vector ||
                     recipe.type == DataType::kBFloat16Vector || recipe.type == DataType::kInt8Vector;
  return dense &&
         (recipe.metric == MetricType::kL2 || recipe.metric == MetricType::kIp || recipe.metric == MetricType::kCosine);
}

Result<std::unique_ptr<GrowingLists>> GrowingLists::Make(const IndexRecipe& recipe, uint32_t capacity,
                                                         const ColumnView& sample, bool lengths_differ) {
  if (!Serves(recipe) || capacity == 0 || capacity == kNoRow) {
    return Error(StatusCode::kIndexNotSupported, "no growing lists serve {} vectors of dimension {} over {} rows",
                 DataTypeName(recipe.type), recipe.dim, capacity);
  }
  try {
    return std::unique_ptr<GrowingLists>(
        new GrowingLists(std::make_unique<Impl>(recipe, capacity, sample, lengths_differ)));
  } catch (const std::bad_alloc&) {
    return Error(StatusCode::kMemoryLimit, "no memory for lists of {} rows", capacity);
  }
}

const IndexRecipe& GrowingLists::recipe() const { return impl_->recipe(); }
uint32_t GrowingLists::capacity() const { return impl_->capacity(); }
uint32_t GrowingLists::linked() const { return impl_->linked(); }
uint64_t GrowingLists::memory_bytes() const { return impl_->memory_bytes(); }
bool GrowingLists::outgrown() const { return impl_->outgrown(); }
bool GrowingLists::lengths_differ() const { return impl_->lengths_differ(); }
GrowingLists::Shape GrowingLists::shape() const { return impl_->shape(); }

Status GrowingLists::Link(const PagedColumn& column, uint32_t until, const std::function<bool()>& cancelled) {
  try {
    return impl_->Link(column, until, cancelled);
  } catch (const std::bad_alloc&) {
    return Error(StatusCode::kMemoryLimit, "no memory to link row {}", linked());
  }
}

Status GrowingLists::Search(uint32_t rows, const FlatQueries& queries, size_t query, const PagedColumn& column,
                            const RowFilter& filter, const IndexSearchOptions& options, uint64_t first_row,
                            TopK& result, IndexScratch& scratch, IndexCounters& counters) const {
  return impl_->Search(rows, queries, query, column, filter, options, first_row, result, scratch, counters);
}

}  // namespace quiver::index
