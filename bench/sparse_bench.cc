// File: bench/sparse_bench.cc
// Search of sparse vectors by inner product on one thread, driven line by line so that a script can interleave it with
// other engines.
//
//   sparse_bench BASE.csr QUERIES.csr K     reads commands from standard input (files: see bench/text_sets.py):
//     build                                 builds and opens the inverted index
//     search                                searches all queries once by the index
//     scan COUNT                            the first COUNT queries by exact scores of all rows
//     truth FILE                            writes the exact answers: u32 rows, then f32 scores, queries x K; ~0 and 0
//                                           where fewer rows have a score
// Each command answers one line of JSON with wall and CPU seconds; searches say the share of queries whose scores are
// those of the scan ("exact"), where truth was asked for.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "index/flat_search.h"
#include "index/vector_index.h"
#include "measured_index.h"
#include "timer.h"

namespace quiver::bench {
namespace {

/// Encoded rows: pairs of u32 dimension and f32 value.
Result<std::vector<std::string>> ReadRows(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  uint64_t head[2] = {};
  in.read(reinterpret_cast<char*>(head), sizeof(head));
  std::vector<uint64_t> starts(in ? head[0] + 1 : 0);
  in.read(reinterpret_cast<char*>(starts.data()), static_cast<std::streamsize>(starts.size() * 8));
  std::vector<std::string> rows;
  for (size_t row = 0; in && row < head[0]; ++row) {
    rows.emplace_back(8 * (starts[row + 1] - starts[row]), '\0');
    in.read(rows.back().data(), static_cast<std::streamsize>(rows.back().size()));
  }
  if (!in) return Error(StatusCode::kIo, "cannot read {}", path);
  return rows;
}

class Runner {
 public:
  Runner(const std::vector<std::string>& base, std::vector<std::string> queries, size_t k)
      : queries_(std::move(queries)), k_(k) {
    for (const std::string& row : base) column_.Append(row);
  }

  /// Returns the answer to one command line.
  std::string Do(const std::string& line) {
    std::istringstream in(line);
    std::string command;
    in >> command;
    if (command == "build") return Build();
    if (command == "search") return Search();
    if (command == "scan") {
      size_t count = 0;
      in >> count;
      return Scan(std::min(count, queries_.size()));
    }
    if (command == "truth") {
      std::string path;
      in >> path;
      return WriteTruth(path);
    }
    return R"({"error":"unknown command"})";
  }

 private:
  [[nodiscard]] Result<index::FlatQueries> Prepare(size_t query) const {
    return index::FlatQueries::Make(DataType::kSparseFloatVector, 0, MetricType::kIp, {queries_[query]});
  }

  std::string Build() {
    const index::IndexRecipe recipe{.structure = index::IndexStructure::kInverted,
                                    .codec = index::IndexCodec::kRaw,
                                    .type = DataType::kSparseFloatVector,
                                    .metric = MetricType::kIp};
    const Timer timer;
    auto bytes = index::BuildVectorIndex(recipe, quiver::ViewOf(column_), {});
    if (!bytes.ok()) return ErrorLine(bytes.status());
    file_ = *std::move(bytes);
    const std::string built = timer.Json();
    auto opened = index::OpenVectorIndex(file_, "bench");
    if (!opened.ok()) return ErrorLine(opened.status());
    index_ = *std::move(opened);
    return fmt::format("{{{},\"file_bytes\":{},\"memory_bytes\":{}}}", built, file_.size(), index_->memory_bytes());
  }

  std::string Search() {
    if (index_ == nullptr) return R"({"error":"no index"})";
    const ColumnView view = quiver::ViewOf(column_);
    index::IndexScratch scratch;
    index::IndexCounters counters;
    std::vector<std::vector<index::Hit>> answers(queries_.size());
    const Timer timer;
    for (size_t q = 0; q < queries_.size(); ++q) {
      const auto prepared = Prepare(q);
      index::TopK result(k_, MetricType::kIp);
      const Status status = index_->Search(*prepared, 0, view, {}, {.k = k_}, 0, result, scratch, counters);
      if (!status.ok()) return ErrorLine(status);
      answers[q] = result.TakeSorted();
    }
    const std::string times = timer.Json();
    size_t exact = 0;
    for (size_t q = 0; q < truth_.size(); ++q) {
      exact += std::equal(answers[q].begin(), answers[q].end(), truth_[q].begin(), truth_[q].end(),
                          [](const index::Hit& a, const index::Hit& b) { return a.score == b.score; })
                   ? 1
                   : 0;
    }
    return fmt::format("{{{},\"queries\":{},\"exact\":{:.4f}}}", times, queries_.size(),
                       truth_.empty() ? 0.0 : static_cast<double>(exact) / static_cast<double>(truth_.size()));
  }

  std::vector<index::Hit> ScanOne(size_t query, index::FlatScratch& scratch) const {
    const auto prepared = Prepare(query);
    index::TopK result(k_, MetricType::kIp);
    index::FlatScan(*prepared, quiver::ViewOf(column_), nullptr, 0, {&result, 1}, scratch);
    return result.TakeSorted();
  }

  std::string Scan(size_t count) const {
    index::FlatScratch scratch;
    const Timer timer;
    for (size_t q = 0; q < count; ++q) ScanOne(q, scratch);
    return fmt::format("{{{},\"queries\":{}}}", timer.Json(), count);
  }

  std::string WriteTruth(const std::string& path) {
    index::FlatScratch scratch;
    truth_.clear();
    std::vector<uint32_t> rows(queries_.size() * k_, ~uint32_t{0});
    std::vector<float> scores(rows.size());
    for (size_t q = 0; q < queries_.size(); ++q) {
      truth_.push_back(ScanOne(q, scratch));
      for (size_t i = 0; i < truth_[q].size(); ++i) {
        rows[q * k_ + i] = static_cast<uint32_t>(truth_[q][i].row);
        scores[q * k_ + i] = static_cast<float>(truth_[q][i].score);
      }
    }
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(rows.data()), static_cast<std::streamsize>(rows.size() * 4));
    out.write(reinterpret_cast<const char*>(scores.data()), static_cast<std::streamsize>(scores.size() * 4));
    return out.flush() ? R"({"ok":true})" : R"({"error":"cannot write the answers"})";
  }

  Column column_ = Column::Make(101, DataType::kSparseFloatVector);
  std::vector<std::string> queries_;
  size_t k_;
  std::string file_;
  std::unique_ptr<index::VectorIndex> index_;
  std::vector<std::vector<index::Hit>> truth_;
};

int Run(const std::vector<std::string>& args) {
  const auto base = ReadRows(args[0]);
  auto queries = ReadRows(args[1]);
  for (const auto* read : {&base, static_cast<const Result<std::vector<std::string>>*>(&queries)}) {
    if (read->ok()) continue;
    std::fprintf(stderr, "%s\n", read->status().ToString().c_str());
    return 1;
  }
  Runner runner(*base, *std::move(queries), std::stoul(args[2]));
  for (std::string line; std::getline(std::cin, line);) std::cout << runner.Do(line) << std::endl;
  return 0;
}

}  // namespace
}  // namespace quiver::bench

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() == 3) return quiver::bench::Run(args);
  std::fprintf(stderr, "usage: sparse_bench BASE QUERIES K\n");
  return 2;
}
