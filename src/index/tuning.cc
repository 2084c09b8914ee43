#include "index/tuning.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/bytes.h"
#include "index/internal/section_file.h"

namespace quiver::index {
namespace {

constexpr size_t kHeadSize = 12;
constexpr SectionFileKind kKind{.magic = std::string_view("QUIVTUN\0", 8), .version = 1, .head_size = kHeadSize};
constexpr uint32_t kPointsSection = 1;
constexpr uint32_t kTriedSection = 2;
constexpr size_t kPointSize = 24;
constexpr size_t kTriedSize = 28;

/// The numbers of hits that are measured; others follow from these.
constexpr size_t kFew = 10;
constexpr size_t kMany = 100;
/// Segments with fewer rows are not measured: any way of searching them is quick.
constexpr uint64_t kLeastRows = 1000;
constexpr size_t kMostSamples = 512;
constexpr size_t kLeastSamples = 96;
/// Many hits are searched for with fewer of the samples: each says more.
constexpr size_t kShareOfMany = 2;
/// Products of values that the scan for the true neighbours may take: about a second.
constexpr double kScanProducts = 4e10;
/// The highest recall that can be asked for.
constexpr double kMostRecall = 0.999;
constexpr double kLeastSeconds = 1;
constexpr double kShareOfBuild = 1.0 / 30;
/// Standard errors that the recall measured must lie above the one wanted.
constexpr double kMargin = 1.5;
/// From one effort to the next.
constexpr double kStep = 1.4;
constexpr uint32_t kMostEffort = 1 << 16;
/// Scoring more candidates exactly is tried where the recall is at least this, and kept where it finds this share of
/// what was missed.
constexpr double kRefineFrom = 0.9;
constexpr double kRefineGain = 0.2;
constexpr uint32_t kMostRefine = 16;
/// Where less is missed by more than this power of the effort, it is not the effort that tells (a graph may compare all
/// codes from some effort on): nothing between the two points can be relied on.
constexpr double kMostPower = 3;
/// Beyond the last point the effort grows by this at most.
constexpr double kMostBeyond = 4;
constexpr double kLeastMiss = 1e-5;

double Miss(const TuningPoint& point) {
  return std::max(kLeastMiss, 1 - (static_cast<double>(point.recall) - kMargin * static_cast<double>(point.error)));
}

}  // namespace

std::string DescribeTried(const TriedRecipe& tried) {
  if (tried.structure == IndexStructure::kGraph) return "a graph";
  return tried.codec == IndexCodec::kRabitq ? fmt::format("lists with {} bits", tried.code_bits) : "lists";
}

bool IsTunable(const IndexRecipe& recipe, uint64_t rows) {
  return recipe.structure != IndexStructure::kInverted && rows >= kLeastRows;
}

Result<IndexTuning> IndexTuning::Parse(std::string_view bytes, std::string_view name) {
  QUIVER_ASSIGN_OR_RETURN(const SectionFile file, SectionFile::Open(kKind, bytes, name));
  QUIVER_RETURN_IF_ERROR(file.EnsureSound());
  ByteReader head(file.head());
  const auto structure = head.Value<uint32_t>();
  const auto rows = head.Value<uint32_t>();
  const auto samples = head.Value<uint32_t>();
  if (structure != static_cast<uint32_t>(IndexStructure::kLists) &&
      structure != static_cast<uint32_t>(IndexStructure::kGraph)) {
    return file.Damaged("its structure is not known");
  }
  std::vector<TuningPoint> points;
  ByteReader reader(file.Section(kPointsSection));
  while (!reader.AtEnd() && reader.ok()) {
    TuningPoint point;
    point.k = reader.Value<uint32_t>();
    point.effort = reader.Value<uint32_t>();
    point.refine = reader.Value<uint32_t>();
    point.recall = reader.Value<float>();
    point.error = reader.Value<float>();
    point.nanoseconds = reader.Value<float>();
    const bool sound = point.effort > 0 && point.recall >= 0 && point.recall <= 1 && point.error >= 0 &&
                       (points.empty() || points.back().k <= point.k);
    if (!reader.ok() || !sound) return file.Damaged("a point is out of range");
    points.push_back(point);
  }
  IndexTuning tuning(static_cast<IndexStructure>(structure), rows, samples, std::move(points));
  ByteReader tried(file.Section(kTriedSection));
  while (!tried.AtEnd() && tried.ok()) {
    TriedRecipe recipe;
    recipe.structure = static_cast<IndexStructure>(tried.Value<uint8_t>());
    recipe.codec = static_cast<IndexCodec>(tried.Value<uint8_t>());
    recipe.code_bits = tried.Value<uint8_t>();
    recipe.chosen = tried.Value<uint8_t>() != 0;
    for (float* value : {&recipe.recall, &recipe.nanoseconds, &recipe.segment_nanoseconds, &recipe.build_seconds,
                         &recipe.row_bytes, &recipe.cost}) {
      *value = tried.Value<float>();
    }
    if (!tried.ok()) return file.Damaged("what was tried is cut off");
    tuning.tried_.push_back(recipe);
  }
  return tuning;
}

std::string IndexTuning::Serialise() const {
  ByteWriter head;
  head.Value(static_cast<uint32_t>(structure_));
  head.Value(rows_);
  head.Value(samples_);
  SectionFileWriter writer(kKind, head.Take());
  ByteWriter points;
  points.Reserve(points_.size() * kPointSize);
  for (const TuningPoint& point : points_) {
    for (const uint32_t value : {point.k, point.effort, point.refine}) points.Value(value);
    for (const float value : {point.recall, point.error, point.nanoseconds}) points.Value(value);
  }
  writer.Add(kPointsSection, points.Take());
  ByteWriter tried;
  tried.Reserve(tried_.size() * kTriedSize);
  for (const TriedRecipe& recipe : tried_) {
    tried.Value(static_cast<uint8_t>(recipe.structure));
    tried.Value(static_cast<uint8_t>(recipe.codec));
    tried.Value(static_cast<uint8_t>(recipe.code_bits));
    tried.Value(static_cast<uint8_t>(recipe.chosen ? 1 : 0));
    for (const float value : {recipe.recall, recipe.nanoseconds, recipe.segment_nanoseconds, recipe.build_seconds,
                              recipe.row_bytes, recipe.cost}) {
      tried.Value(value);
    }
  }
  writer.Add(kTriedSection, tried.Take());
  return writer.Take();
}

/// The effort for a recall, by the points of one k: between two of them what is missed falls with a power of the
/// effort.
IndexTuning::Effort IndexTuning::EffortAt(std::span<const TuningPoint> points, double recall) const {
  const double allowed = 1 - recall;
  const TuningPoint* before = nullptr;
  const TuningPoint* best = &points.front();
  for (const TuningPoint& point : points) {
    // A point that found no more than a cheaper one is no step.
    if (&point != best && Miss(point) >= Miss(*best)) continue;
    before = &point == best ? nullptr : best;
    best = &point;
    if (Miss(point) <= allowed) break;
  }
  if (before == nullptr) {
    // One point tells no slope, and is all there is where searches took too long to measure more: as if what is missed
    // fell with the effort itself.
    const double more = std::clamp(Miss(*best) / allowed, 1.0, kMostBeyond);
    return {more * best->effort, best->refine};
  }
  const double fall = std::log(Miss(*before) / Miss(*best));
  const double growth = std::log(static_cast<double>(best->effort) / static_cast<double>(before->effort));
  const double wanted = std::log(Miss(*before) / allowed);
  const double share = wanted / std::max(fall, 1e-9);
  if (wanted <= fall && fall > kMostPower * growth) return {static_cast<double>(best->effort), best->refine};
  const double effort = before->effort * std::exp(std::min(growth * share, growth + std::log(kMostBeyond)));
  return {effort, std::max(before->refine, best->refine)};
}

IndexSearchOptions IndexTuning::Apply(IndexSearchOptions options) const {
  const bool graph = structure_ == IndexStructure::kGraph;
  uint32_t& effort = graph ? options.ef : options.nprobe;
  if (options.recall <= 0 || effort != 0 || points_.empty()) return options;
  const auto middle = std::find_if(points_.begin(), points_.end(), [](const auto& point) { return point.k > kFew; });
  const std::span<const TuningPoint> few(points_.begin(), middle);
  const std::span<const TuningPoint> many(middle, points_.end());
  Effort found = EffortAt(few.empty() ? many : few, options.recall);
  if (!few.empty() && !many.empty() && options.k > kFew) {
    const Effort of_many = EffortAt(many, options.recall);
    const double decades = std::log10(static_cast<double>(options.k) / static_cast<double>(kFew));
    const double power = std::log10(std::max(1.0, of_many.effort / found.effort));
    // Further out than was measured the effort never grows faster than the hits, nor slower than their root.
    found.effort = decades <= 1 ? found.effort * std::pow(10, power * decades)
                                : of_many.effort * std::pow(10, std::clamp(power, 0.5, 1.0) * (decades - 1));
    found.refine = std::max(found.refine, of_many.refine);
  }
  effort = static_cast<uint32_t>(std::clamp(std::ceil(found.effort), 1.0, static_cast<double>(kMostEffort)));
  if (graph) {
    effort = std::max<uint32_t>(effort, static_cast<uint32_t>(std::min<size_t>(options.k, kMostEffort)));
    if (options.refine == 0) options.refine = found.refine;
  }
  return options;
}

Result<std::vector<TuningPoint>> SweepEfforts(const VectorIndex& index, const ColumnView& vectors,
                                              const MeasureSet& set, const IndexSearchOptions& options, double recall,
                                              double most_seconds) {
  const size_t k = options.k;
  const bool graph = index.recipe().structure == IndexStructure::kGraph;
  const double start = ThreadCpuSeconds();
  const size_t queries = k > kFew ? set.queries.nq() / kShareOfMany : set.queries.nq();
  const auto measure = [&](uint32_t effort, uint32_t refine) -> Result<TuningPoint> {
    if (options.cancelled && options.cancelled()) return Error(StatusCode::kCancelled, "measuring was cancelled");
    IndexSearchOptions asked = options;
    (graph ? asked.ef : asked.nprobe) = effort;
    asked.refine = refine;
    QUIVER_ASSIGN_OR_RETURN(const Measured measured, MeasureSearch(index, vectors, set, asked, queries));
    return TuningPoint{.k = static_cast<uint32_t>(k),
                       .effort = effort,
                       .refine = refine,
                       .recall = static_cast<float>(measured.recall),
                       .error = static_cast<float>(measured.error),
                       .nanoseconds = static_cast<float>(measured.nanoseconds)};
  };
  std::vector<TuningPoint> points;
  double effort = graph ? static_cast<double>(k) : 1;
  uint32_t refine = 1;
  // The first search readies the index; what it costs is no part of the figures.
  QUIVER_RETURN_IF_ERROR(measure(static_cast<uint32_t>(effort), refine).status());
  for (;;) {
    QUIVER_ASSIGN_OR_RETURN(TuningPoint point, measure(static_cast<uint32_t>(effort), refine));
    points.push_back(point);
    if (graph && static_cast<double>(point.recall) >= kRefineFrom && refine < kMostRefine && Miss(point) > 1 - recall) {
      // Codes may err more than the candidates scored exactly make good: no walk mends that.
      QUIVER_ASSIGN_OR_RETURN(const TuningPoint finer, measure(static_cast<uint32_t>(effort), 2 * refine));
      if (1 - finer.recall <= (1 - kRefineGain) * static_cast<double>(1 - point.recall)) {
        point = finer;
        points.push_back(point);
        refine *= 2;
      }
    }
    const bool whole = effort >= static_cast<double>(vectors.rows) || effort >= kMostEffort;
    const double spent = ThreadCpuSeconds() - start;
    const double next = kStep * static_cast<double>(point.nanoseconds) * 1e-9 * static_cast<double>(queries);
    if (Miss(point) <= 1 - recall || whole || spent > most_seconds || spent + next > 2 * most_seconds) return points;
    effort = std::min(std::ceil(effort * kStep), static_cast<double>(std::min<size_t>(vectors.rows, kMostEffort)));
  }
}

Result<IndexTuning> MeasureTuning(const VectorIndex& index, const ColumnView& vectors, double build_seconds,
                                  const std::function<bool()>& cancelled) {
  const IndexRecipe& recipe = index.recipe();
  const double seconds = std::max(kLeastSeconds, build_seconds * kShareOfBuild);
  const double products = static_cast<double>(vectors.rows) * static_cast<double>(recipe.dim);
  const auto samples =
      static_cast<size_t>(std::clamp(kScanProducts * std::max(1.0, seconds / 2) / products,
                                     static_cast<double>(kLeastSamples), static_cast<double>(kMostSamples)));
  QUIVER_ASSIGN_OR_RETURN(const MeasureSet set,
                          SampleRows(recipe, vectors, samples, kMany, recipe.seed + 1, cancelled));
  std::vector<TuningPoint> points;
  if (set.queries.nq() == 0) return IndexTuning(recipe.structure, index.row_count(), 0, {});
  for (const size_t k : {kFew, kMany}) {
    IndexSearchOptions options;
    options.k = k;
    options.cancelled = cancelled;
    QUIVER_ASSIGN_OR_RETURN(const std::vector<TuningPoint> some,
                            SweepEfforts(index, vectors, set, options, kMostRecall, seconds / 2));
    points.insert(points.end(), some.begin(), some.end());
  }
  return IndexTuning(recipe.structure, index.row_count(), static_cast<uint32_t>(set.queries.nq()), std::move(points));
}

}  // namespace quiver::index
