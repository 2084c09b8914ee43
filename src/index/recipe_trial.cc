#include "index/recipe_trial.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "index/search_measure.h"
#include "schema/column.h"

namespace quiver::index {
namespace {

/// Rows of a sample: this share of the segment, within bounds.
constexpr size_t kShare = 20;
constexpr size_t kLeastSample = 5000;
constexpr size_t kMostSample = 20'000;
constexpr size_t kQueries = 200;
/// The search that is compared: so many hits at this recall.
constexpr size_t kHits = 10;
constexpr double kRecall = 0.95;
constexpr double kMostSweepSeconds = 0.5;
/// How costs grow with the rows: by this power of their ratio. Fitted to data E, of which a sample of a twentieth and
/// the whole were built and searched (docs/performance.md, "The recall asked for, and AUTOINDEX").
constexpr double kGraphSearchPower = 0.34;
constexpr double kListsSearchPower = 0.31;
constexpr double kGraphBuildPower = 1.29;
constexpr double kListsBuildPower = 1.13;
/// What costs weigh, each by its logarithm: a search half as dear is worth a build 32 times as dear, or an index ten
/// times as large.
constexpr double kBuildWeight = 0.2;
constexpr double kMemoryWeight = 0.3;

/// The sample and, from other rows, the queries.
struct Sample {
  Column rows;
  FlatQueries queries;
};

Result<Sample> TakeSample(const IndexRecipe& recipe, const ColumnView& vectors) {
  const size_t wanted = std::clamp(vectors.rows / kShare, kLeastSample, kMostSample);
  const std::vector<uint32_t> spread = SpreadRows(vectors, wanted + kQueries, recipe.seed);
  Column rows = Column::Make(0, recipe.type, recipe.dim);
  rows.Reserve(wanted);
  std::vector<std::string_view> raw;
  const size_t every = std::max<size_t>(spread.size() / kQueries, 2);
  for (size_t i = 0; i < spread.size(); ++i) {
    if (i % every == 0) {
      raw.push_back(vectors.Bytes(spread[i]));
    } else {
      rows.Append(vectors.Bytes(spread[i]));
    }
  }
  QUIVER_ASSIGN_OR_RETURN(FlatQueries queries, FlatQueries::Make(recipe.type, recipe.dim, recipe.metric, raw));
  return Sample{.rows = std::move(rows), .queries = std::move(queries)};
}

Result<TriedRecipe> Try(const IndexRecipe& recipe, const ColumnView& sample, const MeasureSet& queries, double growth,
                        const BuildControl& control) {
  const double start = ThreadCpuSeconds();
  // On this thread alone, so that its clock tells what the building takes.
  QUIVER_ASSIGN_OR_RETURN(const std::string bytes,
                          BuildVectorIndex(recipe, sample, {.cancelled = control.cancelled, .on_progress = {}}));
  const double build_seconds = ThreadCpuSeconds() - start;
  QUIVER_ASSIGN_OR_RETURN(const std::unique_ptr<VectorIndex> index, OpenVectorIndex(bytes, "the index of a trial"));
  IndexSearchOptions options;
  options.k = kHits;
  options.walk_only = true;
  options.cancelled = control.cancelled;
  QUIVER_ASSIGN_OR_RETURN(std::vector<TuningPoint> points,
                          SweepEfforts(*index, sample, queries, options, kRecall, kMostSweepSeconds));
  options.recall = kRecall;
  const IndexTuning tuning(recipe.structure, index->row_count(), static_cast<uint32_t>(queries.queries.nq()),
                           std::move(points));
  QUIVER_ASSIGN_OR_RETURN(const Measured measured, MeasureSearch(*index, sample, queries, tuning.Apply(options)));
  const bool graph = recipe.structure == IndexStructure::kGraph;
  TriedRecipe tried;
  tried.structure = recipe.structure;
  tried.codec = recipe.codec;
  tried.code_bits = recipe.codec == IndexCodec::kRabitq ? recipe.code_bits : 0;
  tried.recall = static_cast<float>(measured.recall);
  tried.nanoseconds = static_cast<float>(measured.nanoseconds);
  // A recall that is not reached costs as much more as it takes to halve what is missed, again and again.
  const double missed = std::max(1.0, (1 - measured.recall) / (1 - kRecall));
  const double search = measured.nanoseconds * missed * std::pow(growth, graph ? kGraphSearchPower : kListsSearchPower);
  const double build = build_seconds * std::pow(growth, graph ? kGraphBuildPower : kListsBuildPower);
  const double row_bytes = static_cast<double>(bytes.size()) / static_cast<double>(sample.rows);
  tried.segment_nanoseconds = static_cast<float>(search);
  tried.build_seconds = static_cast<float>(build);
  tried.row_bytes = static_cast<float>(row_bytes);
  tried.cost = static_cast<float>(std::log(search) + kBuildWeight * std::log(std::max(build, 1e-3)) +
                                  kMemoryWeight * std::log(row_bytes));
  return tried;
}

}  // namespace

Result<RecipeChoice> ChooseRecipe(std::span<const IndexRecipe> candidates, const ColumnView& vectors,
                                  const BuildControl& control) {
  QUIVER_ASSIGN_OR_RETURN(Sample sample, TakeSample(candidates.front(), vectors));
  const ColumnView rows = ViewOf(sample.rows);
  QUIVER_ASSIGN_OR_RETURN(const MeasureSet queries,
                          ScanNeighbours(std::move(sample.queries), rows, kHits, control.cancelled));
  RecipeChoice choice;
  const double growth = static_cast<double>(vectors.rows) / static_cast<double>(std::max<size_t>(rows.rows, 1));
  for (const IndexRecipe& recipe : candidates) {
    QUIVER_ASSIGN_OR_RETURN(const TriedRecipe tried, Try(recipe, rows, queries, growth, control));
    choice.tried.push_back(tried);
    if (tried.cost < choice.tried[choice.chosen].cost) choice.chosen = choice.tried.size() - 1;
  }
  choice.tried[choice.chosen].chosen = true;
  return choice;
}

}  // namespace quiver::index
