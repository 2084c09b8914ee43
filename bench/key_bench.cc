// Searches of one value of a key: the index over all rows under a mask beside an index over the value's rows alone.
//
//   key_bench ROWS DIM              rows around 200 centres; the rows of a value are a run of them
//
// HNSW, L2, one thread, the 10 nearest with the effort that was measured for a recall of .97. CPU microseconds of a
// query, least of six rounds after the first; recall against a scan; seconds that building and measuring the value's
// index takes.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "index/flat_search.h"
#include "index/search_measure.h"
#include "index/tuning.h"
#include "index/vector_index.h"

namespace quiver::bench {
namespace {

using index::ThreadCpuSeconds;

constexpr size_t kCentres = 200;
constexpr size_t kQueries = 400;
constexpr size_t kNearest = 10;
constexpr int kRounds = 7;
constexpr double kRecall = 0.97;
/// Where the runs begin.
constexpr uint32_t kFirst = 1000;

template <typename T>
T Must(Result<T> result) {
  if (result.ok()) return *std::move(result);
  fmt::print(stderr, "{}\n", result.status().ToString());
  std::exit(1);
}

class Bench {
 public:
  Bench(size_t rows, size_t dim) : rows_(rows), dim_(dim), centres_(kCentres * dim) {
    for (float& value : centres_) value = normal_(random_);
    base_ = Draw(rows);
    asked_ = Draw(kQueries);
    recipe_.dim = static_cast<int64_t>(dim);
    recipe_.metric = MetricType::kL2;
  }

  void Run() {
    std::vector<std::string_view> raw;
    for (size_t i = 0; i < kQueries; ++i) {
      raw.emplace_back(reinterpret_cast<const char*>(asked_.data() + i * dim_), dim_ * sizeof(float));
    }
    const auto queries = Must(index::FlatQueries::Make(DataType::kFloatVector, recipe_.dim, MetricType::kL2, raw));
    const Built whole = Build(0, rows_);
    fmt::print("{} rows of {} dimensions: {} MB, built in {:.1f} s\n", rows_, dim_, whole.bytes.size() >> 20,
               whole.build_seconds);
    for (const size_t count : {2500, 5000, 10'000, 20'000, 50'000, 85'000, 95'000}) {
      if (kFirst + count > rows_) break;
      std::vector<uint64_t> mask((rows_ + 63) / 64);
      for (size_t row = kFirst; row < kFirst + count; ++row) mask[row / 64] |= uint64_t{1} << (row % 64);
      const Built own = Build(kFirst, count);
      const std::vector<std::set<uint64_t>> truth = Truth(queries, count);
      Timed masked, alone;
      for (int round = 0; round < kRounds; ++round) {
        const index::RowFilter filter{.bits = mask.data(), .count = count};
        Search(whole, queries, View(0, rows_), filter, 0, truth, round, masked);
        Search(own, queries, View(kFirst, count), {}, kFirst, truth, round, alone);
      }
      fmt::print(
          "{:6} rows: all {:6.1f} us, recall {:.3f}; own {:6.1f} us, recall {:.3f}; {:.2f} s to build, {:.2f} to "
          "measure, {:.1f} MB\n",
          count, masked.microseconds, masked.recall, alone.microseconds, alone.recall, own.build_seconds,
          own.tune_seconds, static_cast<double>(own.bytes.size()) / 1e6);
    }
  }

 private:
  struct Built {
    std::string bytes;
    std::unique_ptr<index::VectorIndex> index;
    index::IndexSearchOptions options;
    double build_seconds = 0;
    double tune_seconds = 0;
  };
  struct Timed {
    double microseconds = 1e9;
    double recall = 0;
  };

  std::vector<float> Draw(size_t count) {
    std::vector<float> rows(count * dim_);
    for (size_t row = 0; row < count; ++row) {
      const size_t centre = random_() % kCentres;
      for (size_t d = 0; d < dim_; ++d) rows[row * dim_ + d] = centres_[centre * dim_ + d] + 0.5F * normal_(random_);
    }
    return rows;
  }
  [[nodiscard]] ColumnView View(size_t first, size_t count) const {
    ColumnView view;
    view.type = DataType::kFloatVector;
    view.width = dim_ * sizeof(float);
    view.rows = count;
    view.fixed = reinterpret_cast<const std::byte*>(base_.data() + first * dim_);
    return view;
  }
  [[nodiscard]] Built Build(size_t first, size_t count) const {
    Built built;
    const double start = ThreadCpuSeconds();
    built.bytes = Must(index::BuildVectorIndex(recipe_, View(first, count), {.threads = 1}));
    built.index = Must(index::OpenVectorIndex(built.bytes, "index"));
    built.build_seconds = ThreadCpuSeconds() - start;
    const auto tuning = Must(index::MeasureTuning(*built.index, View(first, count), 0, {}));
    built.tune_seconds = ThreadCpuSeconds() - start - built.build_seconds;
    built.options = tuning.Apply({.k = kNearest, .recall = kRecall});
    return built;
  }
  /// The nearest rows of each query among the rows of the run.
  [[nodiscard]] std::vector<std::set<uint64_t>> Truth(const index::FlatQueries& queries, size_t count) const {
    std::vector<uint32_t> rows(count);
    for (size_t i = 0; i < count; ++i) rows[i] = static_cast<uint32_t>(i);
    std::vector<float> scores(count);
    std::vector<std::set<uint64_t>> truth(kQueries);
    for (size_t query = 0; query < kQueries; ++query) {
      index::ScoreRows(queries, query, View(kFirst, count), rows, scores.data());
      index::TopK best(kNearest, MetricType::kL2);
      for (size_t i = 0; i < count; ++i) best.Offer(scores[i], kFirst + i);
      for (const index::Hit& hit : best.TakeSorted()) truth[query].insert(hit.row);
    }
    return truth;
  }
  static void Search(const Built& built, const index::FlatQueries& queries, const ColumnView& vectors,
                     const index::RowFilter& filter, uint64_t first_row, const std::vector<std::set<uint64_t>>& truth,
                     int round, Timed& timed) {
    static index::IndexScratch scratch;
    index::IndexCounters counters;
    std::vector<std::vector<index::Hit>> found(kQueries);
    const double start = ThreadCpuSeconds();
    for (size_t query = 0; query < kQueries; ++query) {
      index::TopK best(kNearest, MetricType::kL2);
      if (const Status status =
              built.index->Search(queries, query, vectors, filter, built.options, first_row, best, scratch, counters);
          !status.ok()) {
        fmt::print(stderr, "{}\n", status.ToString());
        std::exit(1);
      }
      found[query] = best.TakeSorted();
    }
    const double spent = (ThreadCpuSeconds() - start) / kQueries * 1e6;
    if (round > 0) timed.microseconds = std::min(timed.microseconds, spent);  // the first readies the index
    size_t hits = 0;
    for (size_t query = 0; query < kQueries; ++query) {
      for (const index::Hit& hit : found[query]) hits += truth[query].contains(hit.row) ? 1 : 0;
    }
    timed.recall = static_cast<double>(hits) / (kQueries * kNearest);
  }

  size_t rows_, dim_;
  std::mt19937_64 random_{1};
  std::normal_distribution<float> normal_;
  std::vector<float> centres_, base_, asked_;
  index::IndexRecipe recipe_;
};

}  // namespace
}  // namespace quiver::bench

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: key_bench ROWS DIM\n");
    return 2;
  }
  quiver::bench::Bench(std::strtoul(argv[1], nullptr, 10), std::strtoul(argv[2], nullptr, 10)).Run();
  return 0;
}
