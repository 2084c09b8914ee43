// Builds a graph over vectors in memory and finds neighbours with it, beside an exact scan.
#include <index/flat_search.h>
#include <index/vector_index.h>

#include <cstdio>
#include <random>
#include <set>
#include <string>
#include <vector>

using quiver::ColumnView;
using quiver::DataType;
using quiver::MetricType;
using quiver::index::FlatQueries;
using quiver::index::Hit;
using quiver::index::TopK;

int main() {
  constexpr size_t kRows = 60000;
  constexpr size_t kDim = 64;
  constexpr size_t kHits = 10;
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> rows(kRows * kDim);
  for (float& value : rows) value = normal(random);

  ColumnView vectors;
  vectors.type = DataType::kFloatVector;
  vectors.width = kDim * sizeof(float);
  vectors.rows = kRows;
  vectors.fixed = reinterpret_cast<const std::byte*>(rows.data());

  quiver::index::IndexRecipe recipe;  // a graph
  recipe.dim = kDim;
  recipe.metric = MetricType::kL2;
  const auto bytes = quiver::index::BuildVectorIndex(recipe, vectors, {});
  if (!bytes.ok()) return std::fprintf(stderr, "%s\n", bytes.status().ToString().c_str()), 1;
  const auto index = quiver::index::OpenVectorIndex(*bytes, "example");
  if (!index.ok()) return std::fprintf(stderr, "%s\n", index.status().ToString().c_str()), 1;

  // The query: row 4711, moved a little.
  std::vector<float> query(rows.begin() + 4711 * kDim, rows.begin() + 4712 * kDim);
  for (float& value : query) value += 0.1F * normal(random);
  const std::string_view raw(reinterpret_cast<const char*>(query.data()), vectors.width);
  const auto queries = FlatQueries::Make(DataType::kFloatVector, kDim, MetricType::kL2, {raw});
  if (!queries.ok()) return std::fprintf(stderr, "%s\n", queries.status().ToString().c_str()), 1;

  TopK found(kHits, MetricType::kL2);
  quiver::index::IndexScratch scratch;
  quiver::index::IndexCounters counters;
  const quiver::Status searched =
      (*index)->Search(*queries, 0, vectors, {}, {.k = kHits, .ef = 200}, 0, found, scratch, counters);
  if (!searched.ok()) return std::fprintf(stderr, "%s\n", searched.ToString().c_str()), 1;

  std::vector<TopK> exact(1, TopK(kHits, MetricType::kL2));
  quiver::index::FlatScratch flat;
  quiver::index::FlatScan(*queries, vectors, nullptr, 0, exact, flat);
  std::set<uint64_t> truth;
  for (const Hit& hit : exact[0].TakeSorted()) truth.insert(hit.row);

  size_t right = 0;
  for (const Hit& hit : found.TakeSorted()) {
    std::printf("row %llu at distance %.3f\n", static_cast<unsigned long long>(hit.row),
                static_cast<double>(hit.score));
    right += truth.count(hit.row);
  }
  std::printf("%zu of %zu true neighbours, %llu of %zu rows looked at\n", right, kHits,
              static_cast<unsigned long long>(counters.code_distances), kRows);
  return 0;
}
