// File: bench/ann_bench.cc
// Approximate search, driven line by line so that a script can interleave it with other engines.
//
//   ann_bench make SET BASE.fbin QUERIES.fbin [rows]       writes data set E, H or M (data_sets.h)
//   ann_bench truth BASE.fbin QUERIES.fbin TRUTH K         writes the exact answer by IP (u32 rows, queries x K)
//   ann_bench run BASE.fbin QUERIES.fbin TRUTH K METRIC    reads commands from standard input:
//     build graph DEGREE EF_CONSTRUCTION THREADS           builds and opens an index
//     build graph_pq DEGREE EF_CONSTRUCTION M NRQ NBITS THREADS  the same, walked by product codes
//     build lists NLIST BITS THREADS                       lists with RaBitQ codes
//     build pq NLIST QUANTIZERS BITS THREADS               lists with product codes
//     save FILE, load FILE                                 the index file
//     search KEY VALUE [KEY VALUE ...]                     searches all queries once; keys: ef, nprobe, recall (in
//                                                          1/1000), threads (that take queries in turn; else one)
// Each command answers one line of JSON with wall and CPU seconds; searches say the recall too.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "data_sets.h"
#include "index/flat_search.h"
#include "index/vector_index.h"
#include "measured_index.h"
#include "timer.h"

namespace quiver::bench {
namespace {

class Runner {
 public:
  Runner(Vectors base, Vectors queries, std::vector<uint32_t> truth, size_t k, MetricType metric)
      : base_(std::move(base)),
        queries_(std::move(queries)),
        truth_(std::move(truth)),
        k_(k),
        metric_(metric),
        measured_(base_, metric) {}

  /// Returns the answer to one command line.
  std::string Do(const std::string& line) {
    std::istringstream in(line);
    std::string command;
    in >> command;
    if (command == "build") return measured_.Build(in);
    if (command == "search") return Search(in);
    if (command == "save") return measured_.Save(in);
    if (command == "load") return measured_.Load(in);
    return R"({"error":"unknown command"})";
  }

 private:
  /// What a thread of a search has for itself.
  struct Worker {
    index::IndexCounters counters;
    Status status;
  };

  /// Searches queries, each the next that no thread has taken, until there is none.
  void TakeQueries(const index::IndexSearchOptions& options, std::atomic<size_t>& next,
                   std::vector<std::vector<index::Hit>>& answers, Worker& worker, index::IndexScratch& scratch) const {
    for (size_t q = next++; q < queries_.rows && worker.status.ok(); q = next++) {
      // As a server does it: a query is prepared when it comes.
      const auto prepared = QueriesOf(queries_, q, 1, metric_);
      index::TopK result(k_, metric_);
      worker.status =
          measured_.index()->Search(*prepared, 0, ViewOf(base_), {}, options, 0, result, scratch, worker.counters);
      answers[q] = result.TakeSorted();
    }
  }

  std::string Search(std::istringstream& in) {
    if (measured_.index() == nullptr) return R"({"error":"no index"})";
    index::IndexSearchOptions options;
    options.k = k_;
    size_t threads = 1;
    std::string key;
    for (uint32_t value = 0; in >> key >> value;) {
      if (key == "ef") options.ef = value;
      if (key == "nprobe") options.nprobe = value;
      if (key == "recall") options.recall = value / 1000.0;
      if (key == "threads") threads = std::max(1u, value);
    }
    std::vector<Worker> workers(threads);
    if (scratch_.size() < threads) scratch_.resize(threads);
    std::vector<std::vector<index::Hit>> answers(queries_.rows);
    std::atomic<size_t> next = 0;
    const Timer timer;
    {
      std::vector<std::jthread> others;
      for (size_t w = 1; w < threads; ++w)
        others.emplace_back([&, w] { TakeQueries(options, next, answers, workers[w], scratch_[w]); });
      TakeQueries(options, next, answers, workers[0], scratch_[0]);
    }
    const std::string times = timer.Json();
    index::IndexCounters counters;
    for (Worker& worker : workers) {
      if (!worker.status.ok()) return ErrorLine(worker.status);
      counters.code_distances += worker.counters.code_distances;
      counters.exact_distances += worker.counters.exact_distances;
      counters.expansions += worker.counters.expansions;
    }
    size_t found = 0, wanted = 0, short_answers = 0;
    const size_t most = std::min(k_, base_.rows);
    for (size_t q = 0; q < queries_.rows; ++q) {
      short_answers += answers[q].size() < most ? 1 : 0;
      const auto begin = truth_.begin() + static_cast<std::ptrdiff_t>(q * k_);
      wanted += most;
      for (const index::Hit& hit : answers[q]) {
        found += std::find(begin, begin + static_cast<std::ptrdiff_t>(k_), hit.row) !=
                         begin + static_cast<std::ptrdiff_t>(k_)
                     ? 1
                     : 0;
      }
    }
    const auto queries = static_cast<double>(queries_.rows);
    return fmt::format(
        "{{{},\"queries\":{},\"recall\":{:.4f},\"short\":{},\"code_distances\":{:.1f},\"exact_distances\":{:.1f},"
        "\"expansions\":{:.1f},\"level\":\"{}\"}}",
        times, queries_.rows, static_cast<double>(found) / static_cast<double>(std::max<size_t>(wanted, 1)),
        short_answers, static_cast<double>(counters.code_distances) / queries,
        static_cast<double>(counters.exact_distances) / queries, static_cast<double>(counters.expansions) / queries,
        simd::LevelName(simd::Kernels().level));
  }

  Vectors base_;
  Vectors queries_;
  std::vector<uint32_t> truth_;
  size_t k_;
  MetricType metric_;
  MeasuredIndex measured_;
  std::vector<index::IndexScratch> scratch_;  ///< of each thread
};

int Fail(const Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

int Make(const std::vector<std::string>& args) {
  auto options = OptionsOf(args[0]);
  if (!options.ok()) return Fail(options.status());
  if (args.size() > 3) options->rows = std::stoul(args[3]);
  const DataSet data = MakeMixture(*options);
  for (const auto& [vectors, path] : {std::pair{&data.base, &args[1]}, std::pair{&data.queries, &args[2]}}) {
    if (const Status status = WriteVectors(*vectors, *path); !status.ok()) return Fail(status);
  }
  return 0;
}

int Truth(const std::vector<std::string>& args) {
  auto base = ReadVectors(args[0]);
  if (!base.ok()) return Fail(base.status());
  auto queries = ReadVectors(args[1]);
  if (!queries.ok()) return Fail(queries.status());
  auto rows = ExactRows(*base, *queries, 0, queries->rows, std::stoul(args[3]), MetricType::kIp, nullptr);
  if (!rows.ok()) return Fail(rows.status());
  std::ofstream out(args[2], std::ios::binary);
  out.write(reinterpret_cast<const char*>(rows->data()), static_cast<std::streamsize>(rows->size() * 4));
  return out.flush() ? 0 : Fail(Error(StatusCode::kIo, "cannot write {}", args[2]));
}

int Run(const std::vector<std::string>& args) {
  auto base = ReadVectors(args[0]);
  if (!base.ok()) return Fail(base.status());
  auto queries = ReadVectors(args[1]);
  if (!queries.ok()) return Fail(queries.status());
  const size_t k = std::stoul(args[3]);
  std::vector<uint32_t> truth(queries->rows * k);
  std::ifstream in(args[2], std::ios::binary);
  if (!in.read(reinterpret_cast<char*>(truth.data()), static_cast<std::streamsize>(truth.size() * 4))) {
    return Fail(Error(StatusCode::kIo, "cannot read {}", args[2]));
  }
  Runner runner(*std::move(base), *std::move(queries), std::move(truth), k, ParseMetricType(args[4]));
  for (std::string line; std::getline(std::cin, line);) std::cout << runner.Do(line) << std::endl;
  return 0;
}

}  // namespace
}  // namespace quiver::bench

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() >= 4 && args[0] == "make") return quiver::bench::Make({args.begin() + 1, args.end()});
  if (args.size() == 5 && args[0] == "truth") return quiver::bench::Truth({args.begin() + 1, args.end()});
  if (args.size() == 6 && args[0] == "run") return quiver::bench::Run({args.begin() + 1, args.end()});
  std::fprintf(stderr,
               "usage: ann_bench make SET BASE QUERIES [rows]\n       ann_bench truth BASE QUERIES TRUTH K\n"
               "       ann_bench run BASE QUERIES TRUTH K METRIC\n");
  return 2;
}
