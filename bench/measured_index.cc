#include "measured_index.h"

#include <fmt/format.h>

#include <fstream>
#include <string_view>

#include "timer.h"

namespace quiver::bench {

std::string ErrorLine(const Status& status) { return fmt::format(R"({{"error":"{}"}})", status.message()); }

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

Result<std::vector<uint32_t>> ExactRows(const Vectors& base, const Vectors& queries, size_t first, size_t count,
                                        size_t k, MetricType metric, const uint64_t* mask) {
  std::vector<uint32_t> rows(count * k, ~uint32_t{0});
  index::FlatScratch scratch;
  QUIVER_ASSIGN_OR_RETURN(const index::FlatQueries prepared, QueriesOf(queries, first, count, metric));
  std::vector<index::TopK> results(count, index::TopK(k, metric));
  index::FlatScan(prepared, ViewOf(base), mask, 0, results, scratch);
  for (size_t q = 0; q < count; ++q) {
    const std::vector<index::Hit> hits = results[q].TakeSorted();
    for (size_t i = 0; i < hits.size(); ++i) rows[q * k + i] = static_cast<uint32_t>(hits[i].row);
  }
  return rows;
}

std::string MeasuredIndex::Build(std::istream& in) {
  std::string structure;
  index::BuildControl control;
  index::IndexRecipe recipe;
  recipe.dim = static_cast<int64_t>(base_.dim);
  recipe.metric = metric_;
  in >> structure;
  if (structure == "graph") {
    in >> recipe.degree >> recipe.ef_construction >> control.threads;
  } else if (structure == "graph_pq") {
    recipe.codec = index::IndexCodec::kPq;
    in >> recipe.degree >> recipe.ef_construction >> recipe.quantizers >> recipe.stages >> recipe.code_bits >>
        control.threads;
  } else {
    recipe.structure = index::IndexStructure::kLists;
    recipe.codec = index::IndexCodec::kRabitq;
    in >> recipe.nlist;
    if (structure == "pq") {
      recipe.codec = index::IndexCodec::kPq;
      in >> recipe.quantizers;
    }
    in >> recipe.code_bits >> control.threads;
  }
  const Timer timer;
  auto bytes = index::BuildVectorIndex(recipe, ViewOf(base_), control);
  if (!bytes.ok()) return ErrorLine(bytes.status());
  file_ = *std::move(bytes);
  const std::string built = timer.Json();
  if (const Status opened = Open(); !opened.ok()) return ErrorLine(opened);
  return fmt::format("{{{},\"file_bytes\":{},\"memory_bytes\":{}}}", built, file_.size(), index_->memory_bytes());
}

Status MeasuredIndex::Open() {
  QUIVER_ASSIGN_OR_RETURN(index_, index::OpenVectorIndex(file_, "bench"));
  // The first search readies the index; it is no part of the time of building or of searching.
  QUIVER_ASSIGN_OR_RETURN(const index::FlatQueries once, QueriesOf(base_, 0, 1, metric_));
  index::TopK result(1, metric_);
  index::IndexScratch scratch;
  index::IndexCounters counters;
  return index_->Search(once, 0, ViewOf(base_), {}, {.k = 1}, 0, result, scratch, counters);
}

std::string MeasuredIndex::Save(std::istream& in) {
  std::string path;
  in >> path;
  std::ofstream out(path, std::ios::binary);
  out.write(file_.data(), static_cast<std::streamsize>(file_.size()));
  return out.flush() ? R"({"ok":true})" : R"({"error":"cannot write the index"})";
}

std::string MeasuredIndex::Load(std::istream& in) {
  std::string path;
  in >> path;
  std::ifstream from(path, std::ios::binary);
  if (!from) return R"({"error":"cannot read the index"})";
  file_.assign(std::istreambuf_iterator<char>(from), {});
  if (const Status opened = Open(); !opened.ok()) return ErrorLine(opened);
  return fmt::format(R"({{"ok":true,"file_bytes":{},"memory_bytes":{}}})", file_.size(), index_->memory_bytes());
}

}  // namespace quiver::bench
