// File: bench/disk_bench.cc
// Search by lists over vectors in a mapped file, codes in memory, as under the index name DISKANN: with the vectors in
// memory, and with less memory than they need. What limits the memory is bench/run_disk.sh.
//
//   disk_bench prepare DIRECTORY ROWS DIM   makes vectors, queries, true neighbours and the index
//   disk_bench search DIRECTORY MODE        MODE: memory (all is read before), plain (that, and rows are not asked
//   for),
//                                           asked, random (not asked for, read without what lies around them), faults
//                                           (not asked for)
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "data_sets.h"
#include "index/flat_search.h"
#include "index/vector_index.h"
#include "io/file_system.h"
#include "io/row_pages.h"
#include "measured_index.h"
#include "timer.h"

namespace quiver::bench {
namespace {

constexpr size_t kHits = 10;
constexpr MetricType kMetric = MetricType::kIp;
constexpr uint32_t kCodeBits = 4;

Status Write(const std::string& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) return Error(StatusCode::kIo, "cannot write {}", path);
  return Status::Ok();
}

Status Prepare(const std::string& directory, size_t rows, size_t dim) {
  const DataSet data = MakeMixture({.rows = rows, .dim = dim});
  const auto bytes_of = [](const auto& values) {
    return std::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0]));
  };
  index::IndexRecipe recipe;
  recipe.structure = index::IndexStructure::kLists;
  recipe.codec = index::IndexCodec::kRabitq;
  recipe.dim = static_cast<int64_t>(dim);
  recipe.metric = kMetric;
  recipe.code_bits = kCodeBits;
  index::BuildControl control;
  control.threads = 2;
  QUIVER_ASSIGN_OR_RETURN(const std::string index, index::BuildVectorIndex(recipe, ViewOf(data.base), control));
  QUIVER_ASSIGN_OR_RETURN(const std::vector<uint32_t> nearest,
                          ExactRows(data.base, data.queries, 0, data.queries.rows, kHits, kMetric, nullptr));
  QUIVER_RETURN_IF_ERROR(Write(directory + "/vectors", bytes_of(data.base.values)));
  QUIVER_RETURN_IF_ERROR(WriteVectors(data.queries, directory + "/queries.fbin"));
  QUIVER_RETURN_IF_ERROR(Write(directory + "/nearest", bytes_of(nearest)));
  return Write(directory + "/index", index);
}

Status Search(const std::string& directory, std::string_view mode) {
  QUIVER_ASSIGN_OR_RETURN(const Vectors queries, ReadVectors(directory + "/queries.fbin"));
  QUIVER_ASSIGN_OR_RETURN(const std::string nearest_bytes, io::PosixFileSystem().ReadFile(directory + "/nearest"));
  QUIVER_ASSIGN_OR_RETURN(const std::string index_bytes, io::PosixFileSystem().ReadFile(directory + "/index"));
  QUIVER_ASSIGN_OR_RETURN(const std::unique_ptr<index::VectorIndex> index,
                          index::OpenVectorIndex(index_bytes, "bench"));
  QUIVER_ASSIGN_OR_RETURN(const std::shared_ptr<const io::MappedFile> file,
                          io::PosixFileSystem().Map(directory + "/vectors"));
  std::vector<uint32_t> nearest(nearest_bytes.size() / sizeof(uint32_t));
  std::memcpy(nearest.data(), nearest_bytes.data(), nearest_bytes.size());
  ColumnView vectors;
  vectors.type = DataType::kFloatVector;
  vectors.width = queries.dim * sizeof(float);
  vectors.rows = file->size() / vectors.width;
  vectors.fixed = file->data();
  io::EnableAskForRows(mode == "memory" || mode == "asked");
  if (mode == "random") file->Advise(0, file->size(), io::Access::kRandom);
  uint64_t sum = 0;
  if (mode == "memory" || mode == "plain") {
    for (size_t at = 0; at < file->size(); at += 4096) sum += static_cast<uint64_t>(file->data()[at]);
  }

  index::IndexScratch scratch;
  index::IndexCounters counters;
  std::vector<double> waits;
  size_t found = 0;
  const double cpu = Seconds(CLOCK_PROCESS_CPUTIME_ID);
  // A run from disk ends after a while.
  const double start = Seconds(CLOCK_MONOTONIC);
  for (size_t q = 0; q < queries.rows && (q < 10 || Seconds(CLOCK_MONOTONIC) - start < 20); ++q) {
    QUIVER_ASSIGN_OR_RETURN(const index::FlatQueries prepared, QueriesOf(queries, q, 1, kMetric));
    index::TopK result(kHits, kMetric);
    const double begin = Seconds(CLOCK_MONOTONIC);
    QUIVER_RETURN_IF_ERROR(
        index->Search(prepared, 0, vectors, {}, {.k = kHits, .recall = 0.95}, 0, result, scratch, counters));
    waits.push_back(Seconds(CLOCK_MONOTONIC) - begin);
    const auto* truth = nearest.data() + q * kHits;
    for (const index::Hit& hit : result.TakeSorted()) {
      found += std::find(truth, truth + kHits, static_cast<uint32_t>(hit.row)) != truth + kHits ? 1 : 0;
    }
  }
  if (file->faulted()) return Error(StatusCode::kIo, "{} cannot be read", file->path());
  const double used = Seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  const auto count = static_cast<double>(waits.size());
  std::sort(waits.begin(), waits.end());
  fmt::print(
      "{:<8} p50 {:8.3f} ms  p99 {:8.3f} ms  CPU {:6.0f} us per query, {:.1f} rows scored, recall {:.3f}, {} "
      "queries{}\n",
      mode, waits[waits.size() / 2] * 1e3, waits[waits.size() * 99 / 100] * 1e3, used / count * 1e6,
      static_cast<double>(counters.exact_distances) / count,
      static_cast<double>(found) / (count * static_cast<double>(kHits)), waits.size(), sum == 1 ? " " : "");
  return Status::Ok();
}

}  // namespace
}  // namespace quiver::bench

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  quiver::Status status =
      quiver::InvalidParameter("usage: disk_bench prepare DIRECTORY ROWS DIM | search DIRECTORY MODE");
  if (args.size() == 4 && args[0] == "prepare") {
    status = quiver::bench::Prepare(args[1], std::stoul(args[2]), std::stoul(args[3]));
  } else if (args.size() == 3 && args[0] == "search") {
    status = quiver::bench::Search(args[1], args[2]);
  }
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
