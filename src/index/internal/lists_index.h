// File: index/internal/lists_index.h
// Lists: inverted lists as they are searched. lists_search.cc holds what searches do, lists_stream.cc streams of hits.
// Thread rule: as vector_index.h.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "codec/pq.h"
#include "codec/rabitq.h"
#include "codec/rotation.h"
#include "index/internal/index_file.h"
#include "index/internal/lists_layout.h"
#include "index/internal/lists_plan.h"
#include "index/internal/lists_scratch.h"
#include "index/internal/plan_timings.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Larger than every limit: keeps nothing out, but not places without a row, whose keys are infinite.
constexpr float kLargest = std::numeric_limits<float>::max();

/// Expected nanoseconds of a query.
struct ListsCosts {
  double score_matches = 0;
  double probe = 0;
};

class Lists final : public VectorIndex {
 public:
  static Result<std::unique_ptr<VectorIndex>> Open(IndexFile file);
  explicit Lists(IndexFile file)
      : file_(std::move(file)),
        rotation_(binary() ? 1 : static_cast<size_t>(std::clamp<int64_t>(file_.recipe().dim, 1, kMostListDim)),
                  file_.recipe().seed) {}

  [[nodiscard]] const IndexRecipe& recipe() const override { return file_.recipe(); }
  [[nodiscard]] uint32_t row_count() const override { return file_.row_count(); }
  [[nodiscard]] uint64_t memory_bytes() const override {
    // The rotation's signs: at most four rounds. Centres of product codes are held as they are and packed.
    const size_t book = pq() ? 2 * size_t{header_.dim} * pq_shape().centres() * sizeof(float) : 0;
    return sizeof(*this) + 4 * rotation_.padded_dim() * sizeof(float) + book;
  }

  Status Search(const FlatQueries& queries, size_t query, const ColumnView& vectors, const RowFilter& filter,
                const IndexSearchOptions& options, uint64_t first_row, TopK& result, IndexScratch& scratch,
                IndexCounters& counters) const override;
  Status SearchBatch(const FlatQueries& queries, const ColumnView& vectors, const RowFilter& filter,
                     const IndexSearchOptions& options, uint64_t first_row, std::span<TopK> results,
                     IndexScratch& scratch, IndexCounters& counters) const override;
  Result<std::unique_ptr<HitStream>> OpenStream(const FlatQueries& queries, size_t query, const ColumnView& vectors,
                                                const RowFilter& filter, const StreamOptions& options,
                                                uint64_t first_row) const override;
  [[nodiscard]] bool bounds_scores() const override { return !raw() && !pq(); }
  [[nodiscard]] double expected_cost(std::optional<uint64_t> matches,
                                     const IndexSearchOptions& options) const override {
    const uint64_t some = 0;
    const RowFilter filter{.bits = matches ? &some : nullptr, .count = matches.value_or(0)};
    const ListsCosts costs = CostsOf(filter, options, plan().ListsFor(options, filter), false);
    return matches ? std::min(costs.score_matches, costs.probe) : costs.probe;
  }

 private:
  class Stream;  ///< lists_stream.cc
  /// What a search works on.
  struct Task {
    const FlatQueries& queries;
    size_t query;
    const ColumnView& vectors;
    const RowFilter& filter;
    uint64_t first_row;
    TopK& result;
    ListsScratch& scratch;
    IndexCounters& counters;
  };

  Status Bind();
  Status BindCentres();
  [[nodiscard]] Status EnsureSound() const;
  [[nodiscard]] Status CheckPlaces() const;

  [[nodiscard]] bool raw() const { return header_.bits == 0; }
  [[nodiscard]] bool pq() const { return file_.recipe().codec == IndexCodec::kPq; }
  [[nodiscard]] codec::PqShape pq_shape() const { return {header_.dim, file_.recipe().quantizers, header_.bits}; }
  [[nodiscard]] size_t block_bytes() const { return pq() ? pq_shape().block_bytes() : shape_.block_bytes(); }
  [[nodiscard]] bool binary() const { return file_.recipe().type == DataType::kBinaryVector; }
  [[nodiscard]] size_t padded_lists() const { return (header_.nlist + kListBlock - 1) / kListBlock * kListBlock; }
  [[nodiscard]] ListsPlan plan() const { return {header_.nlist, header_.listed, curve_}; }
  [[nodiscard]] double RowCost() const;
  [[nodiscard]] ListsPrices PricesFor(const RowFilter& filter, size_t k) const;
  [[nodiscard]] double ProbeCost(const RowFilter& filter, size_t k, double lists) const;
  [[nodiscard]] ListsCosts CostsOf(const RowFilter& filter, const IndexSearchOptions& options, uint32_t most,
                                   bool full) const;
  /// Whether as many hits as wanted were found before, in other segments.
  [[nodiscard]] bool Full(const TopK& result) const;
  void Tell(const ListsCosts& costs, uint32_t nprobe, IndexCounters& counters) const;
  [[nodiscard]] bool ScoringTheRestIsCheaper(const Task& task, const ListsQuery& state, size_t done,
                                             size_t wanted) const;
  [[nodiscard]] float KeyOf(float score) const;

  bool Prepare(const FlatQueries& queries, size_t query, const RowFilter& filter, const TopK& result, size_t wanted,
               ListsQuery& state) const;
  void RankCentres(const Task& task, const ListsQuery& state) const;
  void MeasureProbes(const ListsQuery& state, size_t from, size_t to, ListsScratch& scratch) const;
  void PrefetchList(uint32_t list) const;
  void ScanList(const Task& task, const ListsProbe& probe, ListsQuery& state) const;
  void ScanPqList(const Task& task, const ListsProbe& probe, const uint32_t* alive, ListsQuery& state) const;
  static void Keep(ListsQuery& state, float key, float error, uint32_t row);
  void ScanRawList(const Task& task, uint32_t list, const uint32_t* alive) const;
  void LookCloser(const Task& task, ListsQuery& state) const;
  const uint32_t* Alive(const Task& task, uint32_t list, ListsQuery& state) const;
  void ScoreCandidates(const Task& task, ListsQuery& state) const;
  void ScoreRowsOf(const Task& task, const uint32_t* rows, size_t count) const;
  void ScoreMatches(const Task& task) const;
  void ScoreRest(const Task& task, size_t done) const;
  bool Begin(const Task& task, const IndexSearchOptions& options, const ListsGoal& goal, bool scored,
             ListsQuery& state) const;
  Status ProbeFrom(const Task& task, const IndexSearchOptions& options, const ListsGoal& goal, bool ranked,
                   const PlanTimer* timer, ListsQuery& state) const;
  [[nodiscard]] PlanTimings& TimingsFor(const RowFilter& filter) const {
    return filter.bits != nullptr ? *filtered_timings_ : *timings_;
  }
  void ProbeByList(const FlatQueries& queries, const ColumnView& vectors, const RowFilter& filter, uint64_t first_row,
                   std::span<TopK> results, ListsScratch& scratch, IndexCounters& counters) const;

  IndexFile file_;
  codec::Rotation rotation_;
  ListsHeader header_;
  codec::RabitqShape shape_;
  std::span<const float> mean_, centres_, centre_adds_, centre_norms_, book_;
  std::span<const uint8_t> centre_codes_;
  std::span<const std::byte> centre_bits_;  ///< of binary lists
  std::span<const uint32_t> begin_, sizes_, ids_, loose_;
  std::span<const std::byte> blocks_, rows_;
  std::span<const CurvePoint> curve_;
  struct Verdict {
    std::once_flag once;
    Status status;
    std::optional<codec::PqCodebook> book;  ///< of product codes, where the status is good
  };
  std::unique_ptr<Verdict> verdict_ = std::make_unique<Verdict>();
  /// Under a filter most of what is read comes from memory, without one it is often in the cache.
  std::unique_ptr<PlanTimings> timings_ = std::make_unique<PlanTimings>(PlanTimings::Family::kLists);
  std::unique_ptr<PlanTimings> filtered_timings_ = std::make_unique<PlanTimings>(PlanTimings::Family::kFilteredLists);
};

}  // namespace quiver::index
