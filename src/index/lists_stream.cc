#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "index/internal/coded_stream.h"
#include "index/internal/lists_index.h"

namespace quiver::index {

/// Looks at ever more lists; estimates all of their rows.
class Lists::Stream final : public CodedStream {
 public:
  Stream(const Lists& lists, StreamCall call)
      : CodedStream(std::move(call)), lists_(lists), scored_(lists.file_.row_count(), lists.recipe().metric) {
    ++mutable_counters().plans[static_cast<size_t>(SearchPlan::kProbe)];
  }

  /// Returns false where codes do not hold for the query.
  [[nodiscard]] bool Prepare() {
    if (!lists_.Prepare(call().queries, call().query, call().filter, TopK(1, lists_.recipe().metric), 1, state_))
      return false;
    // Nothing is too far, and nothing stands for a hit.
    state_.limit = kLargest;
    state_.floor = std::numeric_limits<float>::infinity();
    if (call().options.exact) {
      // An error of one deviation is spread over all dimensions but one; here it may lie in a single one, and so may
      // half a step of the query in each.
      const auto dim = static_cast<float>(lists_.header_.dim);
      state_.code_deviations = std::sqrt(dim);
      state_.rounding_deviations = std::sqrt(3 * dim);
      state_.slack = 1e-5f;
    }
    return true;
  }

  [[nodiscard]] uint64_t memory_bytes() const override {
    const ListsScratch& scratch = scratch_;
    return CodedStream::memory_bytes() + state_.candidates.capacity() * sizeof(ListsCandidate) +
           scratch.centre_keys.capacity() * sizeof(float) + scratch.rows.capacity() * sizeof(uint32_t) +
           scratch.probes.capacity() * sizeof(ListsProbe) +
           (state_.coded.lookup.capacity() + state_.coded.codes.capacity());
  }

 private:
  /// Rows looked at for each that is given: the nearest rows share their lists with others.
  static constexpr size_t kRowsEach = 3;

  Status Reach(size_t total) override {
    const Task task{call().queries, call().query, call().vectors,    call().filter, 0,
                    scored_,        scratch_,     mutable_counters()};
    if (done_ == 0) {
      std::vector<uint32_t> loose;
      for (const uint32_t row : lists_.loose_) {
        if (call().Matches(row)) loose.push_back(row);
      }
      TakeRows(loose, call().options.exact ? kAnyKey : -kAnyKey);
      lists_.RankCentres(task, state_);
    }
    IndexSearchOptions options = call().options.search;
    options.k = total;
    const auto nlist = size_t{lists_.header_.nlist};
    size_t wanted = std::max<size_t>(lists_.plan().ListsFor(options, call().filter), done_ + 1);
    for (;;) {
      // Beyond half of them order costs more than it saves.
      if (call().options.exact || 2 * wanted > nlist) wanted = nlist;
      QUIVER_RETURN_IF_ERROR(Probe(task, wanted));
      if (done_ == nlist || state_.examined >= kRowsEach * total) break;
      wanted = 2 * wanted;
    }
    if (done_ == nlist) EndGrowth();
    return Status::Ok();
  }

  Status Probe(const Task& task, size_t to) {
    ChooseNearest(lists_.header_.nlist, to, scratch_);
    lists_.MeasureProbes(state_, done_, to, scratch_);
    size_t count = 0;
    for (const ListsProbe& probe : scratch_.probes) {
      lists_.ScanList(task, probe, state_);
      if (++count % 16 == 0 && cancelled()) return Error(StatusCode::kCancelled, "the search was cancelled");
    }
    lists_.LookCloser(task, state_);
    for (const ListsCandidate& candidate : state_.candidates) {
      Know({candidate.least, 2 * candidate.key - candidate.least, candidate.row});
    }
    state_.candidates.clear();
    for (const Hit& hit : scored_.TakeSorted()) Take(hit.score, static_cast<uint32_t>(hit.row), -kAnyKey);
    done_ = to;
    return Status::Ok();
  }

  void Score(std::span<const Estimate> items) override { TakeItems(items); }

  const Lists& lists_;
  ListsQuery state_;
  ListsScratch scratch_;
  TopK scored_;      ///< rows of raw lists
  size_t done_ = 0;  ///< lists, nearest first
};

Result<std::unique_ptr<HitStream>> Lists::OpenStream(const FlatQueries& queries, size_t query,
                                                     const ColumnView& vectors, const RowFilter& filter,
                                                     const StreamOptions& options, uint64_t first_row) const {
  QUIVER_RETURN_IF_ERROR(EnsureSound());
  StreamCall call{queries, query, vectors, filter, options, first_row};
  const ListsCosts costs = CostsOf(filter, options.search, plan().ListsFor(options.search, filter), false);
  // Raw lists say nothing of rows that are not scored, product codes nothing that holds of each.
  const bool scored =
      binary() || (!bounds_scores() && options.exact) || (filter.bits != nullptr && costs.score_matches <= costs.probe);
  if (scored) return OpenScoringStream(std::move(call));
  auto stream = std::make_unique<Stream>(*this, call);
  if (!stream->Prepare()) return OpenScoringStream(std::move(call));
  return std::unique_ptr<HitStream>(std::move(stream));
}

}  // namespace quiver::index
