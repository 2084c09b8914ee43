// Joining of graphs beside building them from nothing (index/graph_join.h).
//
//   join_bench E|M ROWS [CASE]      data sets of data_sets.h, cut to ROWS; one CASE of those printed, or all
//
// One thread; CPU seconds of building and of joining, recall of the 10 nearest against the scan at equal room, beside
// what a single source gives while what is dropped is masked. Rows are dropped by chance, or nearest to 20 of them.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data_sets.h"
#include "index/flat_search.h"
#include "index/graph_join.h"
#include "index/growing_graph.h"
#include "index/vector_index.h"
#include "timer.h"

namespace quiver::bench {
namespace {

constexpr size_t kNearest = 10;
constexpr size_t kQueries = 1000;
constexpr uint32_t kPageRows = 4096;
constexpr uint32_t kEfs[] = {16, 32, 64, 128, 256};

void Check(const Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "{}\n", status.ToString());
  std::exit(1);
}

ColumnView ColumnOf(const std::vector<float>& values, size_t dim) {
  ColumnView view;
  view.type = DataType::kFloatVector;
  view.width = dim * sizeof(float);
  view.rows = values.size() / dim;
  view.fixed = reinterpret_cast<const std::byte*>(values.data());
  return view;
}

index::PagedColumn PagesOf(const ColumnView& column) {
  return {kPageRows, [column](uint32_t page) {
            ColumnView part = column;
            part.fixed += size_t{page} * kPageRows * part.width;
            part.rows = std::min<size_t>(kPageRows, column.rows - size_t{page} * kPageRows);
            return part;
          }};
}

/// What is joined: parts of so many of a hundred rows, of which so many of a hundred are dropped.
struct Case {
  std::string_view name;
  std::vector<size_t> parts;
  size_t dropped = 0;
  bool clustered = false;  ///< dropped rows lie together
  bool growing = false;
};

class Bench {
 public:
  Bench(const DataSet& data, MetricType metric) : data_(data), metric_(metric), queries_(QueriesOf(data, metric)) {
    recipe_.type = DataType::kFloatVector;
    recipe_.dim = static_cast<int64_t>(data.base.dim);
    recipe_.metric = metric;
  }

  void Run(const Case& what) {
    const size_t dim = data_.base.dim;
    // Which rows are dropped.
    std::vector<bool> dropped(data_.base.rows, false);
    std::mt19937 random(5);
    if (what.clustered) {
      // Nearest to one of a few rows.
      std::vector<std::pair<float, uint32_t>> near(data_.base.rows);
      for (uint32_t row = 0; row < data_.base.rows; ++row) near[row] = {1e30f, row};
      for (int centre = 0; centre < 20; ++centre) {
        const float* at = data_.base.row(random() % data_.base.rows);
        for (uint32_t row = 0; row < data_.base.rows; ++row) {
          float sum = 0;
          for (size_t d = 0; d < dim; ++d) sum += (data_.base.row(row)[d] - at[d]) * (data_.base.row(row)[d] - at[d]);
          near[row].first = std::min(near[row].first, sum);
        }
      }
      std::sort(near.begin(), near.end());
      for (size_t i = 0; i < near.size() * what.dropped / 100; ++i) dropped[near[i].second] = true;
    } else {
      for (size_t row = 0; row < dropped.size(); ++row) dropped[row] = random() % 100 < what.dropped;
    }
    // The sources and the merged column.
    std::vector<std::string> files;
    std::vector<std::unique_ptr<index::VectorIndex>> sealed;
    std::unique_ptr<index::GrowingGraph> growing;
    std::vector<std::vector<uint32_t>> new_rows;
    merged_.clear();
    uint32_t next = 0;
    double source_seconds = 0;
    for (size_t first = 0, part = 0; part < what.parts.size(); ++part) {
      const size_t rows =
          part + 1 == what.parts.size() ? data_.base.rows - first : data_.base.rows * what.parts[part] / 100;
      const std::vector<float> values(data_.base.row(first), data_.base.row(first) + rows * dim);
      const ColumnView column = ColumnOf(values, dim);
      const double start = Seconds(CLOCK_PROCESS_CPUTIME_ID);
      if (what.growing) {
        ColumnView sample = column;
        sample.rows = std::min<size_t>(sample.rows, kPageRows);
        auto made = index::GrowingGraph::Make(recipe_, static_cast<uint32_t>(rows), sample);
        Check(made.status());
        growing = *std::move(made);
        Check(growing->Link(PagesOf(column), static_cast<uint32_t>(rows), {}));
      } else {
        auto bytes = index::BuildVectorIndex(recipe_, column, {});
        Check(bytes.status());
        files.push_back(*std::move(bytes));
        auto opened = index::OpenVectorIndex(files.back(), "part");
        Check(opened.status());
        sealed.push_back(*std::move(opened));
        // What it copies into memory is not a matter of joining.
        index::TopK result(1, metric_);
        Check(sealed.back()->Search(queries_, 0, column, {}, {}, 0, result, scratch_, counters_));
      }
      source_seconds += Seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
      std::vector<uint32_t>& map = new_rows.emplace_back(rows, index::kNoRow);
      for (size_t row = 0; row < rows; ++row) {
        if (dropped[first + row]) continue;
        map[row] = next++;
        merged_.insert(merged_.end(), values.begin() + static_cast<std::ptrdiff_t>(row * dim),
                       values.begin() + static_cast<std::ptrdiff_t>((row + 1) * dim));
      }
      first += rows;
    }
    const ColumnView column = ColumnOf(merged_, dim);
    std::vector<index::JoinSource> sources;
    for (size_t i = 0; i < new_rows.size(); ++i) {
      sources.push_back(
          {.sealed = what.growing ? nullptr : sealed[i].get(), .growing = growing.get(), .new_rows = new_rows[i]});
    }
    FindTruth(column);
    const double build_start = Seconds(CLOCK_PROCESS_CPUTIME_ID);
    const auto built = index::BuildVectorIndex(recipe_, column, {});
    Check(built.status());
    const double build_seconds = Seconds(CLOCK_PROCESS_CPUTIME_ID) - build_start;
    const double join_start = Seconds(CLOCK_PROCESS_CPUTIME_ID);
    const auto joined = index::JoinGraphs(recipe_, column, sources, {});
    Check(joined.status());
    const double join_seconds = Seconds(CLOCK_PROCESS_CPUTIME_ID) - join_start;
    fmt::print("{:<24} {:>3} % dropped, {} rows: sources {:.1f} s, built {:.1f} s, joined {:.1f} s, ratio {:.2f}\n",
               what.name, what.dropped, next, source_seconds, build_seconds, join_seconds,
               join_seconds / build_seconds);
    if (what.parts.size() == 1 && what.dropped > 0) {
      // As it is searched before: under a mask of what is left.
      const ColumnView all = ColumnOf(data_.base.values, dim);
      std::vector<uint64_t> bits((all.rows + 63) / 64, 0);
      for (size_t row = 0; row < all.rows; ++row) {
        if (!dropped[row]) bits[row / 64] |= uint64_t{1} << (row % 64);
      }
      const index::RowFilter left{bits.data(), next};
      const index::PagedColumn pages = PagesOf(all);
      Measure("  masked", new_rows[0], [&](size_t query, const index::IndexSearchOptions& ask, index::TopK& result) {
        Check(what.growing ? growing->Search(static_cast<uint32_t>(all.rows), queries_, query, pages, left, ask, 0,
                                             result, scratch_, counters_)
                           : sealed[0]->Search(queries_, query, all, left, ask, 0, result, scratch_, counters_));
      });
    }
    MeasureFile("  built", *built, column);
    MeasureFile("  joined", joined->bytes, column);
    std::fflush(stdout);
  }

 private:
  static index::FlatQueries QueriesOf(const DataSet& data, MetricType metric) {
    std::vector<std::string_view> raw;
    for (size_t i = 0; i < kQueries; ++i) {
      raw.emplace_back(reinterpret_cast<const char*>(data.queries.row(i)), data.queries.dim * 4);
    }
    auto queries = index::FlatQueries::Make(DataType::kFloatVector, static_cast<int64_t>(data.base.dim), metric, raw);
    Check(queries.status());
    return *std::move(queries);
  }
  void FindTruth(const ColumnView& column) {
    std::vector<index::TopK> results(kQueries, index::TopK(kNearest, metric_));
    index::FlatScan(queries_, column, nullptr, 0, results, flat_);
    truth_.clear();
    for (index::TopK& result : results) truth_.push_back(result.TakeSorted());
  }
  void MeasureFile(std::string_view name, const std::string& file, const ColumnView& column) {
    const auto opened = index::OpenVectorIndex(file, "measured");
    Check(opened.status());
    Measure(name, {}, [&](size_t query, const index::IndexSearchOptions& options, index::TopK& result) {
      Check((*opened)->Search(queries_, query, column, {}, options, 0, result, scratch_, counters_));
    });
  }
  /// `new_rows`: of the rows that are found, where these are not those of the merged column.
  void Measure(std::string_view name, std::span<const uint32_t> new_rows,
               const std::function<void(size_t, const index::IndexSearchOptions&, index::TopK&)>& search) {
    fmt::print("{:<10}", name);
    for (const uint32_t ef : kEfs) {
      index::IndexSearchOptions options;
      options.k = kNearest;
      options.ef = ef;
      options.walk_only = true;
      size_t found = 0;
      counters_ = {};
      double seconds = 0;
      for (size_t query = 0; query < kQueries; ++query) {
        index::TopK result(kNearest, metric_);
        const double start = Seconds(CLOCK_PROCESS_CPUTIME_ID);
        search(query, options, result);
        seconds += Seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
        std::set<uint64_t> near;
        for (const index::Hit& hit : truth_[query]) near.insert(hit.row);
        for (const index::Hit& hit : result.TakeSorted()) {
          found += near.count(new_rows.empty() ? hit.row : new_rows[hit.row]);
        }
      }
      fmt::print("  ef {:>3}: {:.4f} {:>5.0f} us {:>5.0f} codes", ef,
                 static_cast<double>(found) / static_cast<double>(kQueries * kNearest),
                 1e6 * seconds / static_cast<double>(kQueries),
                 static_cast<double>(counters_.code_distances) / static_cast<double>(kQueries));
    }
    fmt::print("\n");
  }

  const DataSet& data_;
  const MetricType metric_;
  const index::FlatQueries queries_;
  index::IndexRecipe recipe_;
  std::vector<float> merged_;
  std::vector<std::vector<index::Hit>> truth_;
  index::FlatScratch flat_;
  index::IndexScratch scratch_;
  index::IndexCounters counters_;
};

}  // namespace
}  // namespace quiver::bench

int main(int argc, char** argv) {
  using namespace quiver;
  using namespace quiver::bench;
  if (argc != 3 && argc != 4) {
    fmt::print(stderr, "usage: join_bench E|M ROWS [CASE]\n");
    return 2;
  }
  auto options = OptionsOf(argv[1]);
  Check(options.status());
  options->rows = static_cast<size_t>(std::strtoull(argv[2], nullptr, 10));
  const DataSet data = MakeMixture(*options);
  Bench bench(data, argv[1] == std::string("E") ? MetricType::kIp : MetricType::kL2);
  const std::vector<size_t> equal{25, 25, 25, 25}, large{80, 7, 7, 6};
  const std::vector<Case> cases = {
      {"equal-0", equal, 0, false, false},
      {"equal-20", equal, 20, false, false},
      {"equal-50", equal, 50, false, false},
      {"large-0", large, 0, false, false},
      {"large-20", large, 20, false, false},
      {"large-50", large, 50, false, false},
      {"one-0", {100}, 0, false, false},
      {"one-10", {100}, 10, false, false},
      {"one-30", {100}, 30, false, false},
      {"one-50", {100}, 50, false, false},
      {"one-80", {100}, 80, false, false},
      {"one-30-clustered", {100}, 30, true, false},
      {"one-50-clustered", {100}, 50, true, false},
      {"growing-0", {100}, 0, false, true},
      {"growing-20", {100}, 20, false, true},
      {"growing-50", {100}, 50, false, true},
      {"growing-80", {100}, 80, false, true},
  };
  for (const Case& one : cases) {
    if (argc == 3 || one.name.starts_with(argv[3])) bench.Run(one);
  }
  return 0;
}
