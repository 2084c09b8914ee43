// File: bench/flat_bench.cc
// Exact search on one thread, driven line by line so that a script can interleave it with another engine.
//
//   flat_bench make BASE.fbin QUERIES.fbin [rows] [dim] [queries] [seed]      writes data set E
//   flat_bench run BASE.fbin QUERIES.fbin                                      reads commands from standard input:
//     search METRIC TYPE BATCH QUERIES K      searches the first QUERIES queries in batches of BATCH; TYPE is f32, f16,
//                                             bf16 or int8 (values scaled by 400)
//     read                                    reads the base once: the ceiling of a scan
//     results FILE                            writes ids (u32) and scores (f32) of the last search, row-major QUERIES x
//     K
// Each command answers one line of JSON with wall and CPU seconds.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "data_sets.h"
#include "index/flat_search.h"
#include "timer.h"

namespace quiver::bench {
namespace {

DataType TypeByName(std::string_view name) {
  if (name == "f32") return DataType::kFloatVector;
  if (name == "f16") return DataType::kFloat16Vector;
  if (name == "bf16") return DataType::kBFloat16Vector;
  if (name == "int8") return DataType::kInt8Vector;
  return DataType::kNone;
}

/// Rows in the form that a column stores.
std::vector<std::byte> Encode(const Vectors& vectors, DataType type) {
  std::vector<std::byte> bytes(vectors.rows * FixedWidth(type, static_cast<int64_t>(vectors.dim)));
  std::byte* out = bytes.data();
  for (float value : vectors.values) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    switch (type) {
      case DataType::kFloatVector: std::memcpy(out, &value, 4); break;
      case DataType::kBFloat16Vector: {
        const auto half = static_cast<uint16_t>(bits >> 16);
        std::memcpy(out, &half, 2);
        break;
      }
      case DataType::kFloat16Vector: {
        const int exponent = static_cast<int>((bits >> 23) & 0xff) - 112;
        uint32_t half = (bits >> 16) & 0x8000;
        if (exponent > 0) half |= (static_cast<uint32_t>(exponent) << 10) | ((bits >> 13) & 0x3ff);
        const auto narrow = static_cast<uint16_t>(half);
        std::memcpy(out, &narrow, 2);
        break;
      }
      default:
        *out = static_cast<std::byte>(static_cast<int8_t>(std::lround(std::fmax(-127, std::fmin(127, value * 400)))));
    }
    out += FixedWidth(type, 1);
  }
  return bytes;
}

class Runner {
 public:
  Runner(Vectors base, Vectors queries) : base_(std::move(base)), queries_(std::move(queries)) {}

  /// Returns the answer to one command line.
  std::string Do(const std::string& line) {
    std::istringstream in(line);
    std::string command;
    in >> command;
    if (command == "read") return Read();
    if (command == "search") {
      std::string metric, type;
      size_t batch = 0, count = 0, k = 0;
      in >> metric >> type >> batch >> count >> k;
      return Search(ParseMetricType(metric), TypeByName(type), batch, count, k);
    }
    if (command == "results") {
      std::string path;
      in >> path;
      return WriteResults(path);
    }
    return R"({"error":"unknown command"})";
  }

 private:
  std::string Read() {
    const Timer timer;
    const uint64_t sink = simd::Kernels().read_all(base_.values.data(), base_.values.size() * 4);
    return fmt::format("{{{},\"bytes\":{},\"sink\":{}}}", timer.Json(), base_.values.size() * 4, sink & 1);
  }

  std::string Search(MetricType metric, DataType type, size_t batch, size_t count, size_t k) {
    if (metric == MetricType::kNone || type == DataType::kNone || batch == 0 || count > queries_.rows) {
      return R"({"error":"bad search"})";
    }
    const auto dim = static_cast<int64_t>(base_.dim);
    if (type != DataType::kFloatVector && !encoded_.contains(type)) encoded_[type] = Encode(base_, type);
    ColumnView view;
    view.type = type;
    view.width = FixedWidth(type, dim);
    view.rows = base_.rows;
    view.fixed = type == DataType::kFloatVector ? reinterpret_cast<const std::byte*>(base_.values.data())
                                                : encoded_[type].data();
    const std::vector<std::byte> query_bytes = Encode(queries_, type);
    ids_.assign(count * k, ~uint32_t{0});
    scores_.assign(count * k, 0);

    const Timer timer;
    for (size_t first = 0; first < count; first += batch) {
      const size_t nq = std::min(batch, count - first);
      std::vector<std::string_view> raw;
      for (size_t q = 0; q < nq; ++q) {
        raw.emplace_back(reinterpret_cast<const char*>(query_bytes.data()) + (first + q) * view.width, view.width);
      }
      auto queries = index::FlatQueries::Make(type, dim, metric, raw);
      if (!queries.ok()) return fmt::format("{{\"error\":\"{}\"}}", queries.status().message());
      std::vector<index::TopK> results(nq, index::TopK(k, metric));
      index::FlatScan(*queries, view, nullptr, 0, results, scratch_);
      for (size_t q = 0; q < nq; ++q) {
        const std::vector<index::Hit> hits = results[q].TakeSorted();
        for (size_t i = 0; i < hits.size(); ++i) {
          ids_[(first + q) * k + i] = static_cast<uint32_t>(hits[i].row);
          scores_[(first + q) * k + i] = hits[i].score;
        }
      }
    }
    return fmt::format("{{{},\"queries\":{},\"level\":\"{}\"}}", timer.Json(), count,
                       simd::LevelName(simd::Kernels().level));
  }

  std::string WriteResults(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (file == nullptr) return R"({"error":"cannot open the results file"})";
    const bool written = std::fwrite(ids_.data(), 4, ids_.size(), file) == ids_.size() &&
                         std::fwrite(scores_.data(), 4, scores_.size(), file) == scores_.size();
    return std::fclose(file) == 0 && written ? R"({"ok":true})" : R"({"error":"cannot write the results file"})";
  }

  Vectors base_;
  Vectors queries_;
  std::map<DataType, std::vector<std::byte>> encoded_;
  index::FlatScratch scratch_;
  std::vector<uint32_t> ids_;
  std::vector<float> scores_;
};

int Make(const std::vector<std::string>& args) {
  MixtureOptions options;
  if (args.size() > 2) options.rows = std::stoul(args[2]);
  if (args.size() > 3) options.dim = std::stoul(args[3]);
  if (args.size() > 4) options.queries = std::stoul(args[4]);
  if (args.size() > 5) options.seed = std::stoul(args[5]);
  const DataSet data = MakeMixture(options);
  for (const auto& [vectors, path] : {std::pair{&data.base, &args[0]}, std::pair{&data.queries, &args[1]}}) {
    if (const Status status = WriteVectors(*vectors, *path); !status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      return 1;
    }
  }
  return 0;
}

int Run(const std::vector<std::string>& args) {
  auto base = ReadVectors(args[0]);
  auto queries = ReadVectors(args[1]);
  for (const Status& status : {base.status(), queries.status()}) {
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      return 1;
    }
  }
  Runner runner(*std::move(base), *std::move(queries));
  for (std::string line; std::getline(std::cin, line);) std::cout << runner.Do(line) << std::endl;
  return 0;
}

}  // namespace
}  // namespace quiver::bench

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() >= 3 && args[0] == "make") return quiver::bench::Make({args.begin() + 1, args.end()});
  if (args.size() == 3 && args[0] == "run") return quiver::bench::Run({args.begin() + 1, args.end()});
  std::fprintf(
      stderr,
      "usage: flat_bench make BASE QUERIES [rows] [dim] [queries] [seed]\n       flat_bench run BASE QUERIES\n");
  return 2;
}
