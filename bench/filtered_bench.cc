// File: bench/filtered_bench.cc
// Filtered approximate search on one thread, driven line by line so that a script can interleave it with other engines.
//
//   filtered_bench run BASE.fbin QUERIES.fbin QUERY_COUNT K METRIC    reads commands from standard input:
//     build, save, load                  as in measured_index.h
//     filter KIND SHARE [FILE]           chooses the rows kept: SHARE is in 1/1000000; KIND is
//                                          random      the same rows for all queries, by a hash of the row
//                                          near, far   of each query the rows of the nearest (farthest) groups first,
//                                                      until the share is full; groups are those of 256 sampled rows
//                                                      that rows are nearest to
//                                        and works out the exact answers among them. FILE receives them for other
//                                        engines: u64 words per mask, u64 masks, u64 K, the masks, the answers (u32,
//                                        queries x K)
//     filter mask MASK [FILE]            the same for the rows whose bits are set in the file MASK (u64 words)
//     search KEY VALUE [KEY VALUE ...]   searches all queries once under the filter; keys: ef, nprobe, recall (in
//                                        1/1000)
//     scan                               the same by exact scores of all rows that match
//     stream SKIP ROWS PAGES near|exact  reads PAGES pages of ROWS rows under the filter out of a stream of hits that
//                                        leaves out what lies before row SKIP, as range searches (near) and iterators
//                                        (exact) do; "scan_cpu_s" is that of one page by scanning, which was the way of
//                                        every page before
// Each command answers one line of JSON. Searches say wall and CPU seconds, the mean and the fifth percentile of the
// queries' recalls, how many queries got fewer rows than there are ("short"), and the plans that were chosen.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <numeric>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "data_sets.h"
#include "index/flat_search.h"
#include "index/vector_index.h"
#include "measured_index.h"
#include "timer.h"

namespace quiver::bench {
namespace {

constexpr size_t kGroups = 256;
constexpr double kWhole = 1e6;
/// What a server aims at that is not told.
constexpr double kUsualRecall = 0.98;

class Runner {
 public:
  Runner(Vectors base, Vectors queries, size_t k, MetricType metric)
      : base_(std::move(base)), queries_(std::move(queries)), k_(k), metric_(metric), measured_(base_, metric) {}

  /// Returns the answer to one command line.
  std::string Do(const std::string& line) {
    std::istringstream in(line);
    std::string command;
    in >> command;
    if (command == "build") return measured_.Build(in);
    if (command == "save") return measured_.Save(in);
    if (command == "load") return measured_.Load(in);
    if (command == "filter") {
      const Status status = SetFilter(in);
      return status.ok() ? fmt::format(R"({{"kept":{}}})", kept_) : ErrorLine(status);
    }
    if (command == "search") return Search(in);
    if (command == "scan") return Scan();
    if (command == "stream") return Stream(in);
    return R"({"error":"unknown command"})";
  }

 private:
  [[nodiscard]] const uint64_t* MaskOf(size_t query) const {
    return masks_.data() + (masks_per_query_ ? query : 0) * words_;
  }

  /// The groups of all rows, and of each query the order of the groups, nearest first.
  Status MakeGroups() {
    if (!group_of_.empty()) return Status::Ok();
    std::mt19937 random(11);
    Vectors pivots{.rows = kGroups, .dim = base_.dim, .values = {}};
    for (size_t g = 0; g < kGroups; ++g) {
      const float* row = base_.row(random() % base_.rows);
      pivots.values.insert(pivots.values.end(), row, row + base_.dim);
    }
    QUIVER_ASSIGN_OR_RETURN(group_of_, ExactRows(pivots, base_, 0, base_.rows, 1, metric_, nullptr));
    QUIVER_ASSIGN_OR_RETURN(order_, ExactRows(pivots, queries_, 0, queries_.rows, kGroups, metric_, nullptr));
    members_.assign(kGroups, {});
    for (size_t row = 0; row < base_.rows; ++row) members_[group_of_[row]].push_back(static_cast<uint32_t>(row));
    return Status::Ok();
  }

  Status SetFilter(std::istream& in) {
    std::string kind, path;
    in >> kind;
    words_ = (base_.rows + 63) / 64;
    if (kind == "mask") {
      std::string mask;
      in >> mask >> path;
      QUIVER_RETURN_IF_ERROR(ReadMask(mask));
    } else {
      uint64_t share = 0;
      in >> share >> path;
      QUIVER_RETURN_IF_ERROR(ChooseRows(kind, share));
    }
    truth_.clear();
    for (size_t q = 0; q < queries_.rows; q += masks_per_query_ ? 1 : queries_.rows) {
      QUIVER_ASSIGN_OR_RETURN(
          const std::vector<uint32_t> some,
          ExactRows(base_, queries_, q, masks_per_query_ ? 1 : queries_.rows, k_, metric_, MaskOf(q)));
      truth_.insert(truth_.end(), some.begin(), some.end());
    }
    return path.empty() ? Status::Ok() : WriteFilter(path);
  }

  Status ReadMask(const std::string& path) {
    masks_per_query_ = false;
    masks_.assign(words_, 0);
    std::ifstream in(path, std::ios::binary);
    if (!in.read(reinterpret_cast<char*>(masks_.data()), static_cast<std::streamsize>(words_ * 8))) {
      return Error(StatusCode::kIo, "cannot read {}", path);
    }
    if (base_.rows % 64 != 0) masks_.back() &= (uint64_t{1} << (base_.rows % 64)) - 1;
    kept_ = 0;
    for (const uint64_t word : masks_) kept_ += static_cast<uint64_t>(std::popcount(word));
    return kept_ > 0 ? Status::Ok() : Error(StatusCode::kInvalidParameter, "{} keeps no row", path);
  }

  /// Rows of a share in 1/1000000.
  Status ChooseRows(const std::string& kind, uint64_t share) {
    kept_ = std::max<uint64_t>(
        1, static_cast<uint64_t>(static_cast<double>(base_.rows) * static_cast<double>(share) / kWhole));
    masks_per_query_ = kind != "random";
    masks_.assign(words_ * (masks_per_query_ ? queries_.rows : 1), 0);
    if (kind == "random") {
      std::vector<uint32_t> rows(base_.rows);
      std::iota(rows.begin(), rows.end(), 0u);
      std::shuffle(rows.begin(), rows.end(), std::mt19937(5));
      for (uint64_t i = 0; i < kept_; ++i) masks_[rows[i] / 64] |= uint64_t{1} << (rows[i] % 64);
    } else if (kind == "near" || kind == "far") {
      QUIVER_RETURN_IF_ERROR(MakeGroups());
      for (size_t q = 0; q < queries_.rows; ++q) {
        uint64_t left = kept_;
        uint64_t* mask = masks_.data() + q * words_;
        for (size_t g = 0; g < kGroups && left > 0; ++g) {
          const uint32_t group = order_[q * kGroups + (kind == "near" ? g : kGroups - 1 - g)];
          for (size_t i = 0; i < members_[group].size() && left > 0; ++i, --left) {
            const uint32_t row = members_[group][i];
            mask[row / 64] |= uint64_t{1} << (row % 64);
          }
        }
      }
    } else {
      return Error(StatusCode::kInvalidParameter, "unknown kind of filter: {}", kind);
    }
    return Status::Ok();
  }

  Status WriteFilter(const std::string& path) const {
    std::ofstream out(path, std::ios::binary);
    const uint64_t head[] = {words_, masks_.size() / words_, k_};
    out.write(reinterpret_cast<const char*>(head), sizeof(head));
    out.write(reinterpret_cast<const char*>(masks_.data()), static_cast<std::streamsize>(masks_.size() * 8));
    out.write(reinterpret_cast<const char*>(truth_.data()), static_cast<std::streamsize>(truth_.size() * 4));
    return out.flush() ? Status::Ok() : Error(StatusCode::kIo, "cannot write {}", path);
  }

  std::string Search(std::istream& in) {
    if (measured_.index() == nullptr) return R"({"error":"no index"})";
    if (masks_.empty()) return R"({"error":"no filter"})";
    index::IndexSearchOptions options;
    options.k = k_;
    std::string key;
    for (uint32_t value = 0; in >> key >> value;) {
      if (key == "ef") options.ef = value;
      if (key == "nprobe") options.nprobe = value;
      if (key == "recall") options.recall = value / 1000.0;
    }
    index::IndexCounters counters;
    std::vector<std::vector<index::Hit>> answers(queries_.rows);
    const Timer timer;
    for (size_t q = 0; q < queries_.rows; ++q) {
      // As a server does it: a query is prepared when it comes.
      const auto prepared = QueriesOf(queries_, q, 1, metric_);
      index::TopK result(k_, metric_);
      const Status status = measured_.index()->Search(*prepared, 0, ViewOf(base_), {MaskOf(q), kept_}, options, 0,
                                                      result, scratch_, counters);
      if (!status.ok()) return ErrorLine(status);
      answers[q] = result.TakeSorted();
    }
    return Report(timer.Json(), answers, counters);
  }

  std::string Scan() {
    if (masks_.empty()) return R"({"error":"no filter"})";
    std::vector<std::vector<index::Hit>> answers(queries_.rows);
    index::FlatScratch scratch;
    const Timer timer;
    for (size_t q = 0; q < queries_.rows; ++q) {
      const auto prepared = QueriesOf(queries_, q, 1, metric_);
      index::TopK result(k_, metric_);
      index::FlatScan(*prepared, ViewOf(base_), MaskOf(q), 0, {&result, 1}, scratch);
      answers[q] = result.TakeSorted();
    }
    return Report(timer.Json(), answers, {});
  }

  std::string Stream(std::istream& in) {
    if (measured_.index() == nullptr) return R"({"error":"no index"})";
    if (masks_.empty()) return R"({"error":"no filter"})";
    size_t skip = 0, rows = 0, pages = 0;
    std::string order;
    in >> skip >> rows >> pages >> order;
    const size_t end = skip + rows * pages;
    std::vector<std::vector<index::Hit>> truth(queries_.rows);
    index::FlatScratch scratch;
    for (size_t q = 0; q < queries_.rows; ++q) {
      const auto prepared = QueriesOf(queries_, q, 1, metric_);
      index::TopK all(end, metric_);
      index::FlatScan(*prepared, ViewOf(base_), MaskOf(q), 0, {&all, 1}, scratch);
      truth[q] = all.TakeSorted();
      if (truth[q].size() <= skip) return R"({"error":"too few rows match"})";
    }
    const auto from = [&](size_t q) { return skip > 0 ? std::optional<float>(truth[q][skip].score) : std::nullopt; };
    index::IndexCounters counters;
    double found = 0;
    double wanted = 0;
    std::vector<std::vector<index::Hit>> answers(queries_.rows);
    const Timer timer;
    for (size_t q = 0; q < queries_.rows; ++q) {
      const auto prepared = QueriesOf(queries_, q, 1, metric_);
      index::StreamOptions options;
      options.search.k = std::min<size_t>(rows, 32);
      options.search.recall = kUsualRecall;
      options.exact = order == "exact";
      options.nearest = from(q);
      auto stream = measured_.index()->OpenStream(*prepared, 0, ViewOf(base_), {MaskOf(q), kept_}, options, 0);
      if (!stream.ok()) return ErrorLine(stream.status());
      for (size_t page = 0; page < pages; ++page) {
        const Status status = (*stream)->Next(rows, answers[q]);
        if (!status.ok()) return ErrorLine(status);
      }
      counters.code_distances += (*stream)->counters().code_distances;
      counters.exact_distances += (*stream)->counters().exact_distances;
    }
    const std::string times = timer.Json();
    const double cpu = Seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t q = 0; q < queries_.rows; ++q) {
      const auto prepared = QueriesOf(queries_, q, 1, metric_);
      index::TopK page(rows + 1, metric_);
      page.SetRange(std::nullopt, from(q));
      index::FlatScan(*prepared, ViewOf(base_), MaskOf(q), 0, {&page, 1}, scratch);
      page.TakeSorted();
    }
    const double scan = Seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    for (size_t q = 0; q < queries_.rows; ++q) {
      const float last = truth[q].back().score;
      const bool similarity = IsSimilarity(metric_);
      wanted += static_cast<double>(truth[q].size() - skip);
      found += static_cast<double>(std::count_if(answers[q].begin(), answers[q].end(), [&](const index::Hit& hit) {
        return similarity ? hit.score >= last : hit.score <= last;
      }));
    }
    const auto queries = static_cast<double>(queries_.rows);
    return fmt::format(
        "{{{},\"scan_cpu_s\":{:.6f},\"queries\":{},\"recall\":{:.4f},\"code_distances\":{:.1f},\"exact_distances\":{:."
        "1f}}}",
        times, scan, queries_.rows, std::min(1.0, found / wanted),
        static_cast<double>(counters.code_distances) / queries,
        static_cast<double>(counters.exact_distances) / queries);
  }

  [[nodiscard]] std::string Report(const std::string& times, const std::vector<std::vector<index::Hit>>& answers,
                                   const index::IndexCounters& counters) const {
    size_t short_answers = 0;
    const auto most = std::min<size_t>(k_, kept_);
    std::vector<double> recalls;
    for (size_t q = 0; q < queries_.rows; ++q) {
      short_answers += answers[q].size() < most ? 1 : 0;
      const auto begin = truth_.begin() + static_cast<std::ptrdiff_t>(q * k_);
      const auto end = begin + static_cast<std::ptrdiff_t>(most);
      const auto found = std::count_if(answers[q].begin(), answers[q].end(),
                                       [&](const index::Hit& hit) { return std::find(begin, end, hit.row) != end; });
      recalls.push_back(static_cast<double>(found) / static_cast<double>(most));
    }
    std::sort(recalls.begin(), recalls.end());
    const auto queries = static_cast<double>(queries_.rows);
    std::string plans;
    for (size_t p = 0; p < index::kSearchPlans; ++p) {
      if (counters.plans[p] == 0) continue;
      plans += fmt::format("{}\"{}\":{}", plans.empty() ? "" : ",",
                           index::SearchPlanName(static_cast<index::SearchPlan>(p)), counters.plans[p]);
    }
    return fmt::format(
        "{{{},\"queries\":{},\"recall\":{:.4f},\"p5\":{:.3f},\"short\":{},\"code_distances\":{:.1f},"
        "\"exact_distances\":{:.1f},\"expansions\":{:.1f},\"plans\":{{{}}},\"level\":\"{}\"}}",
        times, queries_.rows, std::accumulate(recalls.begin(), recalls.end(), 0.0) / queries,
        recalls[recalls.size() / 20], short_answers, static_cast<double>(counters.code_distances) / queries,
        static_cast<double>(counters.exact_distances) / queries, static_cast<double>(counters.expansions) / queries,
        plans, simd::LevelName(simd::Kernels().level));
  }

  Vectors base_;
  Vectors queries_;
  size_t k_;
  MetricType metric_;
  MeasuredIndex measured_;
  index::IndexScratch scratch_;
  std::vector<uint32_t> group_of_, order_;
  std::vector<std::vector<uint32_t>> members_;
  size_t words_ = 0;
  bool masks_per_query_ = false;
  std::vector<uint64_t> masks_;
  uint64_t kept_ = 0;
  std::vector<uint32_t> truth_;
};

int Run(const std::vector<std::string>& args) {
  auto base = ReadVectors(args[0]);
  auto queries = ReadVectors(args[1]);
  for (const auto* read : {&base, &queries}) {
    if (read->ok()) continue;
    std::fprintf(stderr, "%s\n", read->status().ToString().c_str());
    return 1;
  }
  queries->rows = std::min<size_t>(queries->rows, std::stoul(args[2]));
  Runner runner(*std::move(base), *std::move(queries), std::stoul(args[3]), ParseMetricType(args[4]));
  for (std::string line; std::getline(std::cin, line);) std::cout << runner.Do(line) << std::endl;
  return 0;
}

}  // namespace
}  // namespace quiver::bench

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() == 6 && args[0] == "run") return quiver::bench::Run({args.begin() + 1, args.end()});
  std::fprintf(stderr, "usage: filtered_bench run BASE QUERIES QUERY_COUNT K METRIC\n");
  return 2;
}
