// File: bench/ann_bench.cc
// Approximate search on one thread, driven line by line so that a script can interleave it with other engines.
//
//   ann_bench make SET BASE.fbin QUERIES.fbin [rows]       writes data set E, H or M (data_sets.h)
//   ann_bench truth BASE.fbin QUERIES.fbin TRUTH K         writes the exact answer (u32 rows, row-major queries x K) by
//   IP ann_bench run BASE.fbin QUERIES.fbin TRUTH K METRIC    reads commands from standard input:
//     build graph DEGREE EF_CONSTRUCTION THREADS           builds and opens an index
//     save FILE, load FILE                                 the index file
//     search KEY VALUE [KEY VALUE ...]                     searches all queries once; keys: ef, nprobe, recall (in
//     1/1000),
//                                                          filter (share of rows kept, in 1/10000, by a hash of the
//                                                          row)
// Each command answers one line of JSON with wall and CPU seconds; searches say the recall too.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "data_sets.h"
#include "index/flat_search.h"
#include "index/vector_index.h"
#include "timer.h"

namespace quiver::bench {
namespace {

ColumnView ViewOf(const Vectors& vectors) {
  ColumnView view;
  view.type = DataType::kFloatVector;
  view.width = vectors.dim * 4;
  view.rows = vectors.rows;
  view.fixed = reinterpret_cast<const std::byte*>(vectors.values.data());
  return view;
}

Result<index::FlatQueries> QueriesOf(const Vectors& vectors, size_t first, size_t count, MetricType metric) {
  std::vector<std::string_view> raw;
  for (size_t q = first; q < first + count; ++q) {
    raw.emplace_back(reinterpret_cast<const char*>(vectors.row(q)), vectors.dim * 4);
  }
  return index::FlatQueries::Make(DataType::kFloatVector, static_cast<int64_t>(vectors.dim), metric, raw);
}

/// The k best rows of every query among those that the mask keeps.
Result<std::vector<uint32_t>> ExactRows(const Vectors& base, const Vectors& queries, size_t k, MetricType metric,
                                        const uint64_t* mask) {
  std::vector<uint32_t> rows(queries.rows * k, ~uint32_t{0});
  index::FlatScratch scratch;
  QUIVER_ASSIGN_OR_RETURN(const index::FlatQueries prepared, QueriesOf(queries, 0, queries.rows, metric));
  std::vector<index::TopK> results(queries.rows, index::TopK(k, metric));
  index::FlatScan(prepared, ViewOf(base), mask, 0, results, scratch);
  for (size_t q = 0; q < queries.rows; ++q) {
    const std::vector<index::Hit> hits = results[q].TakeSorted();
    for (size_t i = 0; i < hits.size(); ++i) rows[q * k + i] = static_cast<uint32_t>(hits[i].row);
  }
  return rows;
}

class Runner {
 public:
  Runner(Vectors base, Vectors queries, std::vector<uint32_t> truth, size_t k, MetricType metric)
      : base_(std::move(base)), queries_(std::move(queries)), truth_(std::move(truth)), k_(k), metric_(metric) {}

  /// Returns the answer to one command line.
  std::string Do(const std::string& line) {
    std::istringstream in(line);
    std::string command;
    in >> command;
    if (command == "build") return Build(in);
    if (command == "search") return Search(in);
    if (command == "save" || command == "load") return File(command == "save", in);
    return R"({"error":"unknown command"})";
  }

 private:
  std::string Build(std::istringstream& in) {
    std::string structure;
    index::BuildControl control;
    index::IndexRecipe recipe;
    recipe.dim = static_cast<int64_t>(base_.dim);
    recipe.metric = metric_;
    in >> structure;
    if (structure == "graph") {
      in >> recipe.degree >> recipe.ef_construction >> control.threads;
    } else {
      recipe.structure = index::IndexStructure::kLists;
      recipe.codec = index::IndexCodec::kRabitq;
      in >> recipe.nlist >> recipe.code_bits >> control.threads;
    }
    const Timer timer;
    auto bytes = index::BuildVectorIndex(recipe, ViewOf(base_), control);
    if (!bytes.ok()) return fmt::format(R"({{"error":"{}"}})", bytes.status().message());
    file_ = *std::move(bytes);
    const std::string built = timer.Json();
    const std::string error = Open();
    return error.empty() ? fmt::format("{{{},\"file_bytes\":{},\"memory_bytes\":{}}}", built, file_.size(),
                                       index_->memory_bytes())
                         : error;
  }

  std::string Open() {
    auto opened = index::OpenVectorIndex(file_, "bench");
    if (!opened.ok()) return fmt::format(R"({{"error":"{}"}})", opened.status().message());
    index_ = *std::move(opened);
    // The first search readies the index; it is no part of the time of building or of searching.
    std::istringstream once("ef 10");
    (void)Search(once);
    return "";
  }

  std::string File(bool save, std::istringstream& in) {
    std::string path;
    in >> path;
    if (save) {
      std::ofstream out(path, std::ios::binary);
      out.write(file_.data(), static_cast<std::streamsize>(file_.size()));
      return out.flush() ? R"({"ok":true})" : R"({"error":"cannot write the index"})";
    }
    std::ifstream from(path, std::ios::binary);
    if (!from) return R"({"error":"cannot read the index"})";
    file_.assign(std::istreambuf_iterator<char>(from), {});
    const std::string error = Open();
    return error.empty() ? fmt::format(R"({{"ok":true,"memory_bytes":{}}})", index_->memory_bytes()) : error;
  }

  /// Keeps about `share` / 10000 of the rows; the exact answer among them is computed once.
  Status SetFilter(uint32_t share) {
    if (share == share_) return Status::Ok();
    share_ = share;
    mask_.assign(base_.rows / 64 + 1, 0);
    kept_ = 0;
    for (size_t row = 0; row < base_.rows; ++row) {
      if (((row + 1) * 0x9e3779b97f4a7c15u >> 20) % 10000 >= share) continue;
      mask_[row / 64] |= uint64_t{1} << (row % 64);
      ++kept_;
    }
    QUIVER_ASSIGN_OR_RETURN(filtered_truth_, ExactRows(base_, queries_, k_, metric_, mask_.data()));
    return Status::Ok();
  }

  std::string Search(std::istringstream& in) {
    if (index_ == nullptr) return R"({"error":"no index"})";
    index::IndexSearchOptions options;
    options.k = k_;
    index::RowFilter filter;
    const std::vector<uint32_t>* truth = &truth_;
    std::string key;
    for (uint32_t value = 0; in >> key >> value;) {
      if (key == "ef") options.ef = value;
      if (key == "nprobe") options.nprobe = value;
      if (key == "recall") options.recall = value / 1000.0;
      if (key == "filter" && value < 10000) {
        if (const Status status = SetFilter(value); !status.ok()) return R"({"error":"filter"})";
        filter = {mask_.data(), kept_};
        truth = &filtered_truth_;
      }
    }
    index::IndexCounters counters;
    std::vector<std::vector<index::Hit>> answers(queries_.rows);
    const Timer timer;
    for (size_t q = 0; q < queries_.rows; ++q) {
      // As a server does it: a query is prepared when it comes.
      const auto prepared = QueriesOf(queries_, q, 1, metric_);
      index::TopK result(k_, metric_);
      const Status status = index_->Search(*prepared, 0, ViewOf(base_), filter, options, 0, result, scratch_, counters);
      if (!status.ok()) return fmt::format(R"({{"error":"{}"}})", status.message());
      answers[q] = result.TakeSorted();
    }
    const std::string times = timer.Json();
    size_t found = 0, wanted = 0, short_answers = 0;
    const size_t most = std::min<size_t>(k_, filter.bits != nullptr ? filter.count : base_.rows);
    for (size_t q = 0; q < queries_.rows; ++q) {
      short_answers += answers[q].size() < most ? 1 : 0;
      const auto begin = truth->begin() + static_cast<std::ptrdiff_t>(q * k_);
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
  std::string file_;
  std::unique_ptr<index::VectorIndex> index_;
  index::IndexScratch scratch_;
  uint32_t share_ = 10000;
  std::vector<uint64_t> mask_;
  uint64_t kept_ = 0;
  std::vector<uint32_t> filtered_truth_;
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
  auto rows = ExactRows(*base, *queries, std::stoul(args[3]), MetricType::kIp, nullptr);
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
