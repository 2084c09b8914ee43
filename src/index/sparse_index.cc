#include "index/internal/sparse_index.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "index/internal/coded_stream.h"
#include "index/internal/flat_queries.h"
#include "index/internal/index_scratch.h"
#include "index/internal/set_bits.h"

namespace quiver::index {
namespace {

// Costs in nanoseconds, to choose between summing postings and scoring the rows that match.
constexpr double kAddPosting = 1.2;
constexpr double kReadSum = 0.3;
constexpr double kScoreEntry = 6;

/// A sum that nothing was added to: adding a product to it gives the product, and no sum of products is it.
constexpr double kUntouched = -0.0;
bool Touched(double sum) { return std::bit_cast<uint64_t>(sum) != std::bit_cast<uint64_t>(kUntouched); }

template <typename T>
void Append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

/// One value of one row, in the window being built.
struct Entry {
  uint32_t dim;
  uint16_t offset;
  float value;
};

Status CollectWindow(const ColumnView& vectors, uint32_t first, uint32_t end, std::vector<Entry>& entries) {
  entries.clear();
  for (uint32_t row = first; row < end; ++row) {
    if (vectors.IsNull(row)) continue;
    const std::string_view bytes = vectors.Bytes(row);
    for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      Entry entry{};
      std::memcpy(&entry.dim, bytes.data() + at, 4);
      std::memcpy(&entry.value, bytes.data() + at + 4, 4);
      if (entry.value == 0.0f) continue;
      if (!std::isfinite(entry.value)) {
        return Error(StatusCode::kIndexNotSupported, "row {} holds a value that is not finite", row);
      }
      entry.offset = static_cast<uint16_t>(row - first);
      entries.push_back(entry);
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.dim != b.dim ? a.dim < b.dim : a.offset < b.offset; });
  return Status::Ok();
}

class Sparse final : public VectorIndex {
 public:
  static Result<std::unique_ptr<VectorIndex>> Open(IndexFile file);

  [[nodiscard]] const IndexRecipe& recipe() const override { return file_.recipe(); }
  [[nodiscard]] uint32_t row_count() const override { return file_.row_count(); }
  [[nodiscard]] uint64_t memory_bytes() const override { return sizeof(Sparse); }

  Status Search(const FlatQueries& queries, size_t query, const ColumnView& vectors, const RowFilter& filter,
                const IndexSearchOptions& options, uint64_t first_row, TopK& result, IndexScratch& scratch,
                IndexCounters& counters) const override;
  Result<std::unique_ptr<HitStream>> OpenStream(const FlatQueries& queries, size_t query, const ColumnView& vectors,
                                                const RowFilter& filter, const StreamOptions& options,
                                                uint64_t first_row) const override;

 private:
  explicit Sparse(IndexFile file) : file_(std::move(file)) {}

  [[nodiscard]] uint32_t windows() const { return (row_count() + kSparseWindow - 1) / kSparseWindow; }
  /// The runs of a dimension; none where no row holds it.
  [[nodiscard]] std::span<const SparseRun> RunsOf(uint32_t dim) const;
  /// Puts the terms of the query into the scratch, with the bounds of windows; returns how many postings they have.
  Result<uint64_t> CollectTerms(const SparseQuery& query, SparseScratch& scratch) const;
  void AddTerms(std::span<const SparseScratch::Term> terms, double* sums) const;
  /// Offers the touched rows of a window whose bits are set and leaves its sums untouched.
  void OfferWindow(uint32_t window, std::span<const SparseScratch::Term> terms, const RowFilter& filter,
                   uint64_t first_row, double* sums, TopK& result) const;

  IndexFile file_;
  std::span<const uint32_t> dims_;
  std::span<const uint32_t> begin_;
  std::span<const SparseRun> runs_;
  std::span<const uint16_t> offsets_;
  std::span<const float> values_;
};

Result<std::unique_ptr<VectorIndex>> Sparse::Open(IndexFile file) {
  std::unique_ptr<Sparse> opened(new Sparse(std::move(file)));
  const IndexFile& own = opened->file_;
  QUIVER_ASSIGN_OR_RETURN(const auto header, own.Values<SparseHeader>(kSparseHeader, 1));
  const SparseHeader& sizes = header[0];
  QUIVER_ASSIGN_OR_RETURN(opened->dims_, own.Values<uint32_t>(kSparseDims, sizes.dims));
  QUIVER_ASSIGN_OR_RETURN(opened->begin_, own.Values<uint32_t>(kSparseBegin, size_t{sizes.dims} + 1));
  QUIVER_ASSIGN_OR_RETURN(opened->runs_, own.Values<SparseRun>(kSparseRuns, sizes.runs));
  if (sizes.postings > own.Section(kSparseOffsets).size()) return own.Damaged("it lacks postings");
  QUIVER_ASSIGN_OR_RETURN(opened->offsets_, own.Values<uint16_t>(kSparseOffsets, sizes.postings));
  QUIVER_ASSIGN_OR_RETURN(opened->values_, own.Values<float>(kSparseValues, sizes.postings));
  return std::unique_ptr<VectorIndex>(std::move(opened));
}

std::span<const SparseRun> Sparse::RunsOf(uint32_t dim) const {
  const auto found = std::lower_bound(dims_.begin(), dims_.end(), dim);
  if (found == dims_.end() || *found != dim) return {};
  const auto at = static_cast<size_t>(found - dims_.begin());
  if (begin_[at] > begin_[at + 1] || begin_[at + 1] > runs_.size()) return {};
  return runs_.subspan(begin_[at], begin_[at + 1] - begin_[at]);
}

Result<uint64_t> Sparse::CollectTerms(const SparseQuery& query, SparseScratch& scratch) const {
  // Counting sort of the runs by window; within a window they stay in the order of dimensions.
  scratch.begin.assign(size_t{windows()} + 1, 0);
  scratch.bounds.assign(windows(), 0);
  uint64_t postings = 0;
  for (const SparseEntry& entry : query.entries) {
    for (const SparseRun& run : RunsOf(entry.index)) {
      if (run.window >= windows() || run.begin > offsets_.size() || run.count > offsets_.size() - run.begin) {
        return file_.Damaged("a run of postings lies outside of it");
      }
      ++scratch.begin[run.window + 1];
      const auto weight = static_cast<double>(entry.value);
      const double best = std::max(weight * static_cast<double>(run.least), weight * static_cast<double>(run.most));
      scratch.bounds[run.window] += std::max(best, 0.0);
      postings += run.count;
    }
  }
  for (uint32_t window = 0; window < windows(); ++window) scratch.begin[window + 1] += scratch.begin[window];
  scratch.terms.resize(scratch.begin.back());
  for (const SparseEntry& entry : query.entries) {
    for (const SparseRun& run : RunsOf(entry.index)) {
      scratch.terms[scratch.begin[run.window]++] = {&run, static_cast<double>(entry.value)};
    }
  }
  // Filling moved every beginning to the next one's place.
  for (uint32_t window = windows(); window > 0; --window) scratch.begin[window] = scratch.begin[window - 1];
  scratch.begin[0] = 0;
  return postings;
}

void Sparse::AddTerms(std::span<const SparseScratch::Term> terms, double* sums) const {
  for (const SparseScratch::Term& term : terms) {
    const uint16_t* offsets = offsets_.data() + term.run->begin;
    const float* values = values_.data() + term.run->begin;
    for (uint32_t i = 0; i < term.run->count; ++i) {
      sums[offsets[i] % kSparseWindow] += term.weight * static_cast<double>(values[i]);
    }
  }
}

void Sparse::OfferWindow(uint32_t window, std::span<const SparseScratch::Term> terms, const RowFilter& filter,
                         uint64_t first_row, double* sums, TopK& result) const {
  const uint32_t first = window * kSparseWindow;
  const uint32_t rows = std::min(kSparseWindow, row_count() - first);
  const auto matches = [&](uint32_t offset) {
    return filter.bits == nullptr || ((filter.bits[(first + offset) / 64] >> ((first + offset) % 64)) & 1) != 0;
  };
  // The collector compares floats: a sum a little below its threshold may round up to it.
  const auto least = [&result] {
    return static_cast<double>(std::nextafter(result.threshold(), -std::numeric_limits<float>::infinity()));
  };
  const auto offer = [&](uint32_t offset) {
    if (matches(offset)) result.Offer(static_cast<float>(sums[offset]), first_row + first + offset);
  };
  uint64_t postings = 0;
  for (const SparseScratch::Term& term : terms) postings += term.run->count;
  constexpr uint64_t kFewPostings = kSparseWindow / 4;
  if (postings <= kFewPostings) {
    // The rows touched are found by their postings; what is offered once is untouched when it is met again.
    for (const SparseScratch::Term& term : terms) {
      const uint16_t* offsets = offsets_.data() + term.run->begin;
      for (uint32_t i = 0; i < term.run->count; ++i) {
        const uint32_t offset = offsets[i] % kSparseWindow;
        if (Touched(sums[offset]) && offset < rows) offer(offset);
        sums[offset] = kUntouched;
      }
    }
    return;
  }
  double enough = least();
  constexpr uint32_t kGroup = 8;
  for (uint32_t group = 0; group < kSparseWindow; group += kGroup) {
    bool any = false;
    for (uint32_t i = 0; i < kGroup; ++i) any |= sums[group + i] >= enough;
    if (!any) continue;
    for (uint32_t offset = group; offset < std::min(group + kGroup, rows); ++offset) {
      if (sums[offset] >= enough && Touched(sums[offset])) offer(offset);
    }
    enough = least();
  }
  std::fill_n(sums, kSparseWindow, kUntouched);
}

Status Sparse::Search(const FlatQueries& queries, size_t query, const ColumnView& vectors, const RowFilter& filter,
                      const IndexSearchOptions& options, uint64_t first_row, TopK& result, IndexScratch& scratch,
                      IndexCounters& counters) const {
  QUIVER_RETURN_IF_ERROR(file_.EnsureSound());
  const SparseQuery& sparse = queries.impl().sparse[query];
  SparseScratch& work = scratch.impl().sparse;
  const auto cancelled = [&options] { return options.cancelled && options.cancelled(); };
  if (cancelled()) return Error(StatusCode::kCancelled, "search cancelled");
  QUIVER_ASSIGN_OR_RETURN(const uint64_t postings, CollectTerms(sparse, work));
  if (postings == 0) return Status::Ok();  // no row shares a dimension with the query
  result.Reserve(std::min<uint64_t>(postings, row_count()));

  const double per_row = static_cast<double>(values_.size()) / static_cast<double>(row_count());
  const double sum_cost = static_cast<double>(postings) * kAddPosting + static_cast<double>(row_count()) * kReadSum;
  if (filter.bits != nullptr && static_cast<double>(filter.count) * (per_row + 1) * kScoreEntry < sum_cost) {
    ++counters.plans[static_cast<size_t>(SearchPlan::kScoreMatches)];
    float scores[kMostSetBits];
    const bool all = VisitSetBits<2>(filter.bits, row_count(), [&](const uint32_t* rows, size_t count) {
      ScoreRows(queries, query, vectors, {rows, count}, scores);
      for (size_t i = 0; i < count; ++i) result.Offer(scores[i], first_row + rows[i]);
      counters.exact_distances += count;
      return !cancelled();
    });
    return all ? Status::Ok() : Error(StatusCode::kCancelled, "search cancelled");
  }

  ++counters.plans[static_cast<size_t>(SearchPlan::kPostings)];
  work.sums.resize(kSparseWindow, kUntouched);
  work.order.clear();
  for (uint32_t window = 0; window < windows(); ++window) {
    if (work.begin[window] != work.begin[window + 1]) work.order.push_back(window);
  }
  std::sort(work.order.begin(), work.order.end(), [&](uint32_t a, uint32_t b) {
    return work.bounds[a] != work.bounds[b] ? work.bounds[a] > work.bounds[b] : a < b;
  });
  for (const uint32_t window : work.order) {
    // The bound is a sum in another order than the rows' sums.
    constexpr double kRounding = 1 + 1e-9;
    if (static_cast<float>(work.bounds[window] * kRounding) < result.threshold()) break;
    if (cancelled()) return Error(StatusCode::kCancelled, "search cancelled");
    if (filter.bits != nullptr) {
      constexpr size_t kWords = kSparseWindow / 64;
      const uint64_t* words = filter.bits + window * kWords;
      const size_t count = std::min<size_t>(kWords, (row_count() + 63) / 64 - window * kWords);
      if (std::all_of(words, words + count, [](uint64_t word) { return word == 0; })) continue;
    }
    const std::span<const SparseScratch::Term> terms(work.terms.data() + work.begin[window],
                                                     work.begin[window + 1] - work.begin[window]);
    AddTerms(terms, work.sums.data());
    OfferWindow(window, terms, filter, first_row, work.sums.data(), result);
    ++counters.expansions;
    for (const SparseScratch::Term& term : terms) counters.code_distances += term.run->count;
  }
  return Status::Ok();
}

/// Sums the postings of all rows at the first call.
class PostingsStream final : public CodedStream {
 public:
  PostingsStream(const Sparse& index, StreamCall call) : CodedStream(std::move(call)), index_(index) {}

 private:
  Status Reach(size_t /*total*/) override {
    EndGrowth();
    const uint64_t matching = call().filter.bits != nullptr ? call().filter.count : call().vectors.rows;
    TopK all(matching, call().queries.metric());
    IndexScratch scratch;
    QUIVER_RETURN_IF_ERROR(index_.Search(call().queries, call().query, call().vectors, call().filter,
                                         call().options.search, 0, all, scratch, mutable_counters()));
    for (const Hit& hit : all.TakeSorted()) Take(hit.score, static_cast<uint32_t>(hit.row), -kAnyKey);
    return Status::Ok();
  }
  void Score(std::span<const Estimate> /*items*/) override {}

  const Sparse& index_;
};

Result<std::unique_ptr<HitStream>> Sparse::OpenStream(const FlatQueries& queries, size_t query,
                                                      const ColumnView& vectors, const RowFilter& filter,
                                                      const StreamOptions& options, uint64_t first_row) const {
  StreamCall call{queries, query, vectors, filter, options, first_row};
  return std::unique_ptr<HitStream>(std::make_unique<PostingsStream>(*this, std::move(call)));
}

}  // namespace

Result<std::string> BuildSparse(const IndexRecipe& recipe, const ColumnView& vectors, const BuildControl& control) {
  if (recipe.type != DataType::kSparseFloatVector || recipe.metric != MetricType::kIp ||
      recipe.codec != IndexCodec::kRaw) {
    return Error(StatusCode::kIndexNotSupported, "inverted indexes of {} vectors with metric {} are not supported yet",
                 DataTypeName(recipe.type), MetricTypeName(recipe.metric));
  }
  const auto rows = static_cast<uint32_t>(vectors.rows);
  SparseHeader header;
  std::vector<std::pair<uint32_t, SparseRun>> runs;
  std::string offsets;
  std::string values;
  std::vector<Entry> entries;
  for (uint32_t first = 0; first < rows; first += kSparseWindow) {
    if (control.cancelled && control.cancelled()) return Error(StatusCode::kCancelled, "index build cancelled");
    QUIVER_RETURN_IF_ERROR(CollectWindow(vectors, first, std::min(rows - first, kSparseWindow) + first, entries));
    for (size_t i = 0; i < entries.size(); ++i) {
      const Entry& entry = entries[i];
      if (i == 0 || entries[i - 1].dim != entry.dim) {
        runs.push_back({entry.dim,
                        {.begin = header.postings,
                         .count = 0,
                         .window = first / kSparseWindow,
                         .least = entry.value,
                         .most = entry.value}});
      }
      SparseRun& run = runs.back().second;
      run.least = std::min(run.least, entry.value);
      run.most = std::max(run.most, entry.value);
      ++run.count;
      ++header.postings;
      Append(offsets, entry.offset);
      Append(values, entry.value);
    }
    if (control.on_progress) control.on_progress(static_cast<double>(first) / rows);
  }
  if (runs.size() >= std::numeric_limits<uint32_t>::max()) {
    return Error(StatusCode::kIndexNotSupported, "{} rows have too many dimensions for an inverted index", rows);
  }
  std::sort(runs.begin(), runs.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second.window < b.second.window;
  });
  std::vector<uint32_t> dims;
  std::vector<uint32_t> begin;
  std::string run_bytes;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (i == 0 || runs[i - 1].first != runs[i].first) {
      dims.push_back(runs[i].first);
      begin.push_back(static_cast<uint32_t>(i));
    }
    Append(run_bytes, runs[i].second);
  }
  begin.push_back(static_cast<uint32_t>(runs.size()));
  header.dims = static_cast<uint32_t>(dims.size());
  header.runs = static_cast<uint32_t>(runs.size());
  IndexFileWriter writer(recipe, rows);
  writer.AddValues(kSparseHeader, std::span<const SparseHeader>(&header, 1));
  writer.AddValues(kSparseDims, std::span<const uint32_t>(dims));
  writer.AddValues(kSparseBegin, std::span<const uint32_t>(begin));
  writer.Add(kSparseRuns, std::move(run_bytes));
  writer.Add(kSparseOffsets, std::move(offsets));
  writer.Add(kSparseValues, std::move(values));
  if (control.on_progress) control.on_progress(1);
  return writer.Take();
}

Result<std::unique_ptr<VectorIndex>> OpenSparse(IndexFile file) { return Sparse::Open(std::move(file)); }

}  // namespace quiver::index
