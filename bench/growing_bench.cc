// Searches over growing rows: the graph or the lists that follow them, beside the scan and beside the index of the
// sealed segment.
//
//   growing_bench E|M ROWS [graph|lists]      data sets of data_sets.h, cut to ROWS
//
// One thread; CPU microseconds of linking or building a row and of a query; recall of the 10 nearest against the scan.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data_sets.h"
#include "index/flat_search.h"
#include "index/growing_graph.h"
#include "index/growing_lists.h"
#include "index/vector_index.h"
#include "timer.h"

namespace quiver::bench {
namespace {

constexpr size_t kNearest = 10;
constexpr size_t kQueries = 500;
constexpr uint32_t kPageRows = 4096;

void Check(const Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "{}\n", status.ToString());
  std::exit(1);
}

class Bench {
 public:
  Bench(const DataSet& data, MetricType metric, index::IndexStructure structure)
      : data_(data),
        metric_(metric),
        structure_(structure),
        column_(ColumnOf(data.base)),
        queries_(QueriesOf(data, metric)) {}

  void Run() {
    const auto scanned = Timed(kQueries, [this](size_t query) {
      std::vector<index::TopK> results(1, index::TopK(kNearest, metric_));
      const std::string_view raw(reinterpret_cast<const char*>(data_.queries.row(query)), data_.queries.dim * 4);
      const auto one =
          index::FlatQueries::Make(DataType::kFloatVector, static_cast<int64_t>(data_.base.dim), metric_, {raw});
      index::FlatScan(*one, column_, nullptr, 0, results, flat_);
      truth_.push_back(results.front().TakeSorted());
    });
    fmt::print("{:<10} {:>8} {:>10} {:>12}\n", "way", "effort", "recall", "us/query");
    fmt::print("{:<10} {:>8} {:>10.4f} {:>12.1f}\n", "scan", "", 1.0, scanned);

    index::IndexRecipe recipe;
    recipe.type = DataType::kFloatVector;
    recipe.dim = static_cast<int64_t>(data_.base.dim);
    recipe.metric = metric_;
    recipe.structure = structure_;
    const bool lists = structure_ == index::IndexStructure::kLists;
    if (lists) recipe.codec = index::IndexCodec::kSq8;
    const auto rows = static_cast<uint32_t>(data_.base.rows);
    ColumnView sample = column_;
    sample.rows = std::min<size_t>(sample.rows, kPageRows);
    auto made = index::GrowingIndex::Make(recipe, rows, sample);
    Check(made.status());
    const index::GrowingIndex& growing = **made;
    const index::PagedColumn pages{kPageRows, [this](uint32_t page) {
                                     ColumnView part = column_;
                                     part.fixed += size_t{page} * kPageRows * part.width;
                                     part.rows = std::min<size_t>(kPageRows, column_.rows - size_t{page} * kPageRows);
                                     return part;
                                   }};
    const double link_start = Seconds(CLOCK_PROCESS_CPUTIME_ID);
    Check((*made)->Link(pages, rows, {}));
    const double link_seconds = Seconds(CLOCK_PROCESS_CPUTIME_ID) - link_start;
    const double build_start = Seconds(CLOCK_PROCESS_CPUTIME_ID);
    const auto bytes = index::BuildVectorIndex(recipe, column_, {});
    Check(bytes.status());
    const double build_seconds = Seconds(CLOCK_PROCESS_CPUTIME_ID) - build_start;
    const auto sealed = index::OpenVectorIndex(*bytes, "sealed");
    Check(sealed.status());
    const std::vector<uint32_t> efforts = lists ? std::vector<uint32_t>{4, 8, 16, 24, 32, 48, 64, 96, 128, 192}
                                                : std::vector<uint32_t>{16, 24, 32, 48, 64, 96, 128, 192};
    for (const uint32_t effort : efforts) {
      index::IndexSearchOptions options;
      options.k = kNearest;
      options.ef = lists ? 0 : effort;
      options.nprobe = lists ? effort : 0;
      Measure("growing", effort, [&](size_t query, index::TopK& result) {
        Check(growing.Search(rows, queries_, query, pages, {}, options, 0, result, scratch_, counters_));
      });
      Measure("sealed", effort, [&](size_t query, index::TopK& result) {
        Check((*sealed)->Search(queries_, query, column_, {}, options, 0, result, scratch_, counters_));
      });
    }
    fmt::print("link {:.1f} us/row, build of the sealed index {:.1f} us/row; {} bytes/row in memory\n",
               1e6 * link_seconds / rows, 1e6 * build_seconds / rows, growing.memory_bytes() / rows);
    if (const auto* as_lists = dynamic_cast<const index::GrowingLists*>(&growing); as_lists != nullptr) {
      const index::GrowingLists::Shape shape = as_lists->shape();
      fmt::print("{} lists, the longest of {} rows, after {} splits and {} merges\n", shape.lists, shape.longest,
                 shape.splits, shape.merges);
    }
  }

 private:
  static ColumnView ColumnOf(const Vectors& vectors) {
    ColumnView view;
    view.type = DataType::kFloatVector;
    view.width = vectors.dim * sizeof(float);
    view.rows = vectors.rows;
    view.fixed = reinterpret_cast<const std::byte*>(vectors.values.data());
    return view;
  }
  static index::FlatQueries QueriesOf(const DataSet& data, MetricType metric) {
    std::vector<std::string_view> raw;
    for (size_t i = 0; i < kQueries; ++i) {
      raw.emplace_back(reinterpret_cast<const char*>(data.queries.row(i)), data.queries.dim * 4);
    }
    auto queries = index::FlatQueries::Make(DataType::kFloatVector, static_cast<int64_t>(data.base.dim), metric, raw);
    Check(queries.status());
    return *std::move(queries);
  }
  /// CPU microseconds of one.
  template <typename Work>
  static double Timed(size_t count, const Work& work) {
    const double start = Seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t i = 0; i < count; ++i) work(i);
    return 1e6 * (Seconds(CLOCK_PROCESS_CPUTIME_ID) - start) / static_cast<double>(count);
  }
  void Measure(std::string_view name, uint32_t effort, const std::function<void(size_t, index::TopK&)>& search) {
    size_t found = 0;
    std::vector<std::vector<index::Hit>> hits(kQueries);
    const double cost = Timed(kQueries, [&](size_t query) {
      index::TopK result(kNearest, metric_);
      search(query, result);
      hits[query] = result.TakeSorted();
    });
    for (size_t query = 0; query < kQueries; ++query) {
      std::set<uint64_t> near;
      for (const index::Hit& hit : truth_[query]) near.insert(hit.row);
      for (const index::Hit& hit : hits[query]) found += near.count(hit.row);
    }
    fmt::print("{:<10} {:>8} {:>10.4f} {:>12.1f}\n", name, effort,
               static_cast<double>(found) / static_cast<double>(kQueries * kNearest), cost);
  }

  const DataSet& data_;
  const MetricType metric_;
  const index::IndexStructure structure_;
  const ColumnView column_;
  const index::FlatQueries queries_;
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
  const std::string structure = argc > 3 ? argv[3] : "graph";
  if (argc < 3 || argc > 4 || (structure != "graph" && structure != "lists")) {
    fmt::print(stderr, "usage: growing_bench E|M ROWS [graph|lists]\n");
    return 2;
  }
  auto options = OptionsOf(argv[1]);
  Check(options.status());
  options->rows = static_cast<size_t>(std::strtoull(argv[2], nullptr, 10));
  const DataSet data = MakeMixture(*options);
  Bench(data, argv[1] == std::string("E") ? MetricType::kIp : MetricType::kL2,
        structure == "lists" ? index::IndexStructure::kLists : index::IndexStructure::kGraph)
      .Run();
  return 0;
}
