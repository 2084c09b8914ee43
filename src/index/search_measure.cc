#include "index/search_measure.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <utility>

namespace quiver::index {
namespace {

/// Rows of a scan between two looks at `cancelled`.
constexpr size_t kRowsAtOnce = 1 << 16;
/// Where fewer sampled rows than this share are free of copies, copies are what queries of this data are like.
constexpr size_t kLeastShareOfUnique = 8;

Status Scan(const FlatQueries& queries, const ColumnView& vectors, std::span<TopK> results,
            const std::function<bool()>& cancelled) {
  FlatScratch scratch;
  for (size_t first = 0; first < vectors.rows; first += kRowsAtOnce) {
    if (cancelled && cancelled()) return Error(StatusCode::kCancelled, "measuring was cancelled");
    ColumnView part = vectors;
    part.rows = std::min(kRowsAtOnce, vectors.rows - first);
    part.fixed += first * vectors.width;
    if (part.valid != nullptr) part.valid += first;
    FlatScan(queries, part, nullptr, first, results, scratch);
  }
  return Status::Ok();
}

Result<FlatQueries> QueriesOf(const IndexRecipe& recipe, const ColumnView& vectors, std::span<const uint32_t> rows) {
  std::vector<std::string_view> raw;
  raw.reserve(rows.size());
  for (const uint32_t row : rows) raw.push_back(vectors.Bytes(row));
  return FlatQueries::Make(recipe.type, recipe.dim, recipe.metric, raw);
}

}  // namespace

double ThreadCpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

std::vector<uint32_t> SpreadRows(const ColumnView& vectors, size_t count, uint64_t seed) {
  std::vector<uint32_t> rows;
  std::mt19937_64 random(seed);
  count = std::min(count, vectors.rows);
  for (size_t i = 0; i < count; ++i) {
    const size_t begin = i * vectors.rows / count;
    const size_t end = (i + 1) * vectors.rows / count;
    const auto row = static_cast<uint32_t>(begin + random() % (end - begin));
    if (!vectors.IsNull(row)) rows.push_back(row);
  }
  return rows;
}

Result<MeasureSet> SampleRows(const IndexRecipe& recipe, const ColumnView& vectors, size_t count, size_t width,
                              uint64_t seed, const std::function<bool()>& cancelled) {
  const std::vector<uint32_t> rows = SpreadRows(vectors, count, seed);
  QUIVER_ASSIGN_OR_RETURN(const FlatQueries all, QueriesOf(recipe, vectors, rows));
  std::vector<TopK> results(rows.size(), TopK(width + 1, recipe.metric));
  QUIVER_RETURN_IF_ERROR(Scan(all, vectors, results, cancelled));
  std::vector<std::vector<Hit>> hits;
  std::vector<size_t> unique;
  for (size_t i = 0; i < rows.size(); ++i) {
    hits.push_back(results[i].TakeSorted());
    const std::string_view bytes = vectors.Bytes(rows[i]);
    const bool copied = std::any_of(hits[i].begin(), hits[i].end(), [&](const Hit& hit) {
      return hit.row != rows[i] && vectors.Bytes(static_cast<size_t>(hit.row)) == bytes;
    });
    if (!copied) unique.push_back(i);
  }
  if (unique.size() * kLeastShareOfUnique < rows.size()) {
    unique.clear();
    for (size_t i = 0; i < rows.size(); ++i) unique.push_back(i);
  }
  std::vector<uint32_t> own;
  std::vector<float> truth(unique.size() * width, std::numeric_limits<float>::quiet_NaN());
  for (size_t i = 0; i < unique.size(); ++i) {
    own.push_back(rows[unique[i]]);
    size_t at = 0;
    for (const Hit& hit : hits[unique[i]]) {
      if (hit.row != own.back() && at < width) truth[i * width + at++] = hit.score;
    }
  }
  QUIVER_ASSIGN_OR_RETURN(FlatQueries queries, QueriesOf(recipe, vectors, own));
  return MeasureSet{.queries = std::move(queries), .width = width, .truth = std::move(truth), .own = std::move(own)};
}

MeasureSet KnownNeighbours(FlatQueries queries, const ColumnView& vectors, std::span<const int64_t> rows,
                           size_t width) {
  MeasureSet set{.queries = std::move(queries), .width = width, .truth = {}, .own = {}};
  set.truth.assign(set.queries.nq() * width, std::numeric_limits<float>::quiet_NaN());
  const bool similarity = IsSimilarity(set.queries.metric());
  for (size_t query = 0; query < set.queries.nq(); ++query) {
    std::vector<uint32_t> known;
    for (const int64_t row : rows.subspan(query * width, width)) {
      if (row >= 0 && static_cast<uint64_t>(row) < vectors.rows) known.push_back(static_cast<uint32_t>(row));
    }
    float* scores = set.truth.data() + query * width;
    ScoreRows(set.queries, query, vectors, known, scores);
    std::sort(scores, scores + known.size(), [&](float a, float b) { return similarity ? a > b : a < b; });
  }
  return set;
}

Result<MeasureSet> ScanNeighbours(FlatQueries queries, const ColumnView& vectors, size_t width,
                                  const std::function<bool()>& cancelled) {
  MeasureSet set{.queries = std::move(queries), .width = width, .truth = {}, .own = {}};
  set.truth.assign(set.queries.nq() * width, std::numeric_limits<float>::quiet_NaN());
  std::vector<TopK> results(set.queries.nq(), TopK(width, set.queries.metric()));
  QUIVER_RETURN_IF_ERROR(Scan(set.queries, vectors, results, cancelled));
  for (size_t query = 0; query < results.size(); ++query) {
    size_t at = query * width;
    for (const Hit& hit : results[query].TakeSorted()) set.truth[at++] = hit.score;
  }
  return set;
}

Result<Measured> MeasureSearch(const VectorIndex& index, const ColumnView& vectors, const MeasureSet& set,
                               const IndexSearchOptions& options, size_t most) {
  const size_t queries = std::min(most, set.queries.nq());
  const bool copies = !set.own.empty();
  const bool similarity = IsSimilarity(set.queries.metric());
  // A graph leaves the row itself out; others find it, beside the rows that are wanted.
  const bool finds_itself = copies && index.recipe().structure != IndexStructure::kGraph;
  IndexSearchOptions asked = options;
  asked.k = options.k + (finds_itself ? 1 : 0);
  IndexScratch scratch;
  IndexCounters counters;
  double sum = 0;
  double squares = 0;
  size_t counted = 0;
  const double start = ThreadCpuSeconds();
  for (size_t query = 0; query < queries; ++query) {
    TopK result(options.k + (copies ? 1 : 0), set.queries.metric());
    if (copies) asked.absent_row = set.own[query];
    QUIVER_RETURN_IF_ERROR(index.Search(set.queries, query, vectors, {}, asked, 0, result, scratch, counters));
    const float* truth = set.truth.data() + query * set.width;
    size_t wanted = options.k;
    while (wanted > 0 && std::isnan(truth[wanted - 1])) --wanted;
    size_t found = 0;
    for (const Hit& hit : result.TakeSorted()) {
      if (wanted == 0 || (copies && hit.row == set.own[query])) continue;
      found += (similarity ? hit.score >= truth[wanted - 1] : hit.score <= truth[wanted - 1]) ? 1 : 0;
    }
    if (wanted == 0) continue;
    const double recall = static_cast<double>(std::min(found, wanted)) / static_cast<double>(wanted);
    sum += recall;
    squares += recall * recall;
    ++counted;
  }
  Measured measured;
  measured.nanoseconds = (ThreadCpuSeconds() - start) * 1e9 / static_cast<double>(std::max<size_t>(queries, 1));
  const auto n = static_cast<double>(std::max<size_t>(counted, 1));
  measured.recall = counted == 0 ? 1 : sum / n;
  measured.error = std::sqrt(std::max(0.0, squares / n - measured.recall * measured.recall) / n);
  return measured;
}

}  // namespace quiver::index
