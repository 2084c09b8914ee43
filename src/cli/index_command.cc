#include "cli/index_command.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "cli/svg_plot.h"
#include "cli/vector_file.h"
#include "engine/index_recipe.h"
#include "index/flat_search.h"
#include "index/recipe_trial.h"
#include "index/search_measure.h"
#include "index/tuning.h"
#include "index/vector_index.h"
#include "io/file_system.h"
#include "schema/index_params.h"

namespace quiver::cli {

namespace {

constexpr std::string_view kUsage =
    "usage: quiver index build  BASE --out FILE [--type NAME] [--metric NAME] [--param KEY=VALUE]... [--threads N]\n"
    "       quiver index search BASE QUERIES --index FILE [--out ROWS] [--k N] [--ef N] [--nprobe N] [--recall R]\n"
    "       quiver index eval   BASE QUERIES --index FILE... [--truth ROWS] [--k N] [--plot FILE.svg]\n"
    "       quiver index tune   BASE QUERIES --index FILE --recall R [--truth ROWS] [--k N]\n"
    "\n"
    "Builds, searches, measures and tunes vector indexes over files of vectors, on this machine, without a server.\n"
    "BASE and QUERIES are .fvecs, .bvecs, .npy (2-D; f4, f2, i1, u1) or .fbin files, ROWS .ivecs or .npy of integers.\n"
    "All of them may be one .hdf5 file: its data sets train, test and neighbors are read, or NAME of FILE.hdf5:NAME.\n"
    "\n"
    "  --type NAME        as CreateIndex takes it: HNSW (default), HNSW_SQ, HNSW_PQ, HNSW_PRQ, IVF_FLAT, IVF_SQ8,\n"
    "                     IVF_PQ, IVF_RABITQ, SCANN, DISKANN, AUTOINDEX\n"
    "  --metric NAME      L2 (default), IP or COSINE\n"
    "  --param KEY=VALUE  a parameter of CreateIndex: M=16, efConstruction=200, nlist=1024, rbq_bits=7,\n"
    "                     m=16, nrq=2, nbits=8\n"
    "  --threads N        threads of the build (1: the same bytes every time)\n"
    "  --out FILE         where the index, or the rows found, are written\n"
    "  --index FILE       an index that build wrote; of eval more than one, to be compared\n"
    "  --k N              hits per query (10)\n"
    "  --ef N, --nprobe N, --recall R\n"
    "                     how hard to search: candidates of a graph, lists, or the recall to aim at (0.8 to 0.999)\n"
    "  --truth ROWS       the true neighbours; worked out by an exact scan where they are not given\n"
    "  --rows N           read so many rows of BASE only\n"
    "  --plot FILE.svg    draws recall against queries per second\n"
    "\n"
    "build also measures which effort gives which recall, into FILE.tune; search and eval read that for --recall.\n"
    "Speed is of one thread, query by query, by its CPU time. Exit codes: 0 done; 1 failed; 2 wrong arguments.\n";

int Fail(std::string_view message) {
  fmt::print(stderr, "quiver index: {}\n", message);
  return 2;
}

struct Arguments {
  std::vector<std::string> files;
  std::vector<std::string> indexes;
  std::string type = "HNSW";
  std::string metric = "L2";
  KeyValues params;
  std::string out;
  std::string truth;
  std::string plot;
  size_t threads = 1;
  size_t rows = 0;
  size_t k = 10;
  uint32_t ef = 0;
  uint32_t nprobe = 0;
  double recall = 0;
};

template <typename T>
bool ParseNumber(const std::string& text, T least, T most, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && *value >= least && *value <= most;
}

/// Reads what follows the verb; the text says what is wrong, empty = nothing.
std::string Parse(const std::vector<std::string>& given, Arguments* out) {
  for (size_t i = 1; i < given.size(); ++i) {
    const std::string& key = given[i];
    if (!key.starts_with("--")) {
      out->files.push_back(key);
      continue;
    }
    if (i + 1 == given.size()) return fmt::format("{} needs a value", key);
    const std::string& value = given[++i];
    bool sound = true;
    if (key == "--out") {
      out->out = value;
    } else if (key == "--index") {
      out->indexes.push_back(value);
    } else if (key == "--type") {
      out->type = value;
    } else if (key == "--metric") {
      out->metric = value;
    } else if (key == "--truth") {
      out->truth = value;
    } else if (key == "--plot") {
      out->plot = value;
    } else if (key == "--param") {
      const size_t equals = value.find('=');
      sound = equals != std::string::npos && equals > 0;
      if (sound) out->params.emplace_back(value.substr(0, equals), value.substr(equals + 1));
    } else if (key == "--threads") {
      sound = ParseNumber<size_t>(value, 1, 1024, &out->threads);
    } else if (key == "--rows") {
      sound = ParseNumber<size_t>(value, 1, SIZE_MAX, &out->rows);
    } else if (key == "--k") {
      sound = ParseNumber<size_t>(value, 1, 16'384, &out->k);
    } else if (key == "--ef") {
      sound = ParseNumber<uint32_t>(value, 1, 1'000'000, &out->ef);
    } else if (key == "--nprobe") {
      sound = ParseNumber<uint32_t>(value, 1, 1'000'000, &out->nprobe);
    } else if (key == "--recall") {
      sound = ParseNumber<double>(value, 0.8, 0.999, &out->recall);
    } else {
      return fmt::format("unknown argument '{}'", key);
    }
    if (!sound) return fmt::format("{} cannot be {}", key, value);
  }
  return {};
}

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Base rows and queries that fit together.
struct Data {
  VectorFile base;
  VectorFile queries;
};

Result<Data> ReadData(const Arguments& arguments) {
  QUIVER_ASSIGN_OR_RETURN(VectorFile base, ReadVectorFile(arguments.files[0], arguments.rows));
  QUIVER_ASSIGN_OR_RETURN(VectorFile queries, ReadVectorFile(arguments.files[1], 0, "test"));
  if (base.dim != queries.dim || base.type != queries.type) {
    return InvalidParameter("{} holds {} of {} dimensions, {} {} of {}", arguments.files[0], DataTypeName(base.type),
                            base.dim, arguments.files[1], DataTypeName(queries.type), queries.dim);
  }
  return Data{.base = std::move(base), .queries = std::move(queries)};
}

Result<index::FlatQueries> Prepare(const VectorFile& queries, size_t first, size_t count, MetricType metric) {
  std::vector<std::string_view> raw;
  for (size_t q = first; q < first + count; ++q) raw.push_back(queries.row(q));
  return index::FlatQueries::Make(queries.type, static_cast<int64_t>(queries.dim), metric, raw);
}

/// An index file, mapped, and the index in it.
struct OpenIndex {
  std::string path;
  std::shared_ptr<const io::MappedFile> file;
  std::unique_ptr<index::VectorIndex> index;
  std::optional<index::IndexTuning> tuning;  ///< where its file stands beside the index

  [[nodiscard]] MetricType metric() const { return index->recipe().metric; }
  [[nodiscard]] bool is_graph() const { return index->recipe().structure == index::IndexStructure::kGraph; }
};

Result<OpenIndex> Open(const std::string& path, const VectorFile& base) {
  OpenIndex open{.path = path, .file = nullptr, .index = nullptr, .tuning = {}};
  QUIVER_ASSIGN_OR_RETURN(open.file, io::PosixFileSystem().Map(path));
  QUIVER_ASSIGN_OR_RETURN(
      open.index, index::OpenVectorIndex({reinterpret_cast<const char*>(open.file->data()), open.file->size()}, path));
  const index::IndexRecipe& recipe = open.index->recipe();
  if (open.index->row_count() != base.rows || recipe.dim != static_cast<int64_t>(base.dim) ||
      recipe.type != base.type) {
    return InvalidParameter("{} was built over {} rows of {} with {} dimensions, the base holds {} of {} with {}", path,
                            open.index->row_count(), DataTypeName(recipe.type), recipe.dim, base.rows,
                            DataTypeName(base.type), base.dim);
  }
  io::FileSystem& files = io::PosixFileSystem();
  const std::string beside = index::TuningName(path);
  QUIVER_ASSIGN_OR_RETURN(const bool measured, files.Exists(beside));
  if (!measured) return open;
  QUIVER_ASSIGN_OR_RETURN(const auto mapped, files.Map(beside));
  QUIVER_ASSIGN_OR_RETURN(
      open.tuning, index::IndexTuning::Parse({reinterpret_cast<const char*>(mapped->data()), mapped->size()}, beside));
  if (open.tuning->structure() != recipe.structure || open.tuning->rows() != base.rows) {
    return InvalidParameter("{} belongs to another index", beside);
  }
  return open;
}

/// The rows found for every query, and what it took.
struct Answers {
  RowFile rows;
  double cpu_seconds = 0;
};

Result<Answers> SearchAll(const OpenIndex& open, const Data& data, const index::IndexSearchOptions& options) {
  Answers answers;
  answers.rows = {.rows = data.queries.rows, .width = options.k, .ids = {}};
  answers.rows.ids.assign(data.queries.rows * options.k, -1);
  index::IndexScratch scratch;
  index::IndexCounters counters;
  const ColumnView vectors = data.base.View();
  const double start = CpuSeconds();
  for (size_t q = 0; q < data.queries.rows; ++q) {
    QUIVER_ASSIGN_OR_RETURN(const index::FlatQueries query, Prepare(data.queries, q, 1, open.metric()));
    index::TopK result(options.k, open.metric());
    QUIVER_RETURN_IF_ERROR(open.index->Search(query, 0, vectors, {}, options, 0, result, scratch, counters));
    size_t at = q * options.k;
    for (const index::Hit& hit : result.TakeSorted()) answers.rows.ids[at++] = static_cast<int64_t>(hit.row);
  }
  answers.cpu_seconds = CpuSeconds() - start;
  return answers;
}

/// The queries with their true neighbours, read or found by an exact scan.
Result<index::MeasureSet> Truth(const Arguments& arguments, const Data& data, MetricType metric) {
  QUIVER_ASSIGN_OR_RETURN(index::FlatQueries queries, Prepare(data.queries, 0, data.queries.rows, metric));
  if (arguments.truth.empty()) {
    fmt::print(stderr, "scanning for the true neighbours of {} queries\n", data.queries.rows);
    return index::ScanNeighbours(std::move(queries), data.base.View(), arguments.k, {});
  }
  QUIVER_ASSIGN_OR_RETURN(const RowFile truth, ReadRowFile(arguments.truth));
  if (truth.rows < data.queries.rows || truth.width < arguments.k) {
    return InvalidParameter("{} holds {} neighbours of {} queries; {} of {} are needed", arguments.truth, truth.width,
                            truth.rows, arguments.k, data.queries.rows);
  }
  return index::KnownNeighbours(std::move(queries), data.base.View(), truth.ids, truth.width);
}

// --- verbs -----------------------------------------------------------------------------------------------------------

/// What is built, and what was tried before.
struct Choice {
  index::IndexRecipe recipe;
  std::vector<index::TriedRecipe> tried;
};

Result<Choice> Choose(const std::vector<index::IndexRecipe>& candidates, const ColumnView& vectors) {
  if (candidates.size() == 1) return Choice{.recipe = candidates.front(), .tried = {}};
  const double start = CpuSeconds();
  QUIVER_ASSIGN_OR_RETURN(index::RecipeChoice choice, index::ChooseRecipe(candidates, vectors, {}));
  for (const index::TriedRecipe& tried : choice.tried) {
    fmt::print(
        "{}{}: sample {:.1f} us at recall {:.3f}; foretold {:.1f} us, {:.1f} CPU s to build, {:.0f} bytes per row; "
        "weighed {:.2f}\n",
        index::DescribeTried(tried), tried.chosen ? " (chosen)" : "", tried.nanoseconds / 1000, tried.recall,
        tried.segment_nanoseconds / 1000, tried.build_seconds, tried.row_bytes, tried.cost);
  }
  fmt::print("tried in {:.2f} CPU s\n", CpuSeconds() - start);
  return Choice{.recipe = candidates[choice.chosen], .tried = std::move(choice.tried)};
}

Status Build(const Arguments& arguments) {
  QUIVER_ASSIGN_OR_RETURN(const VectorFile base, ReadVectorFile(arguments.files[0], arguments.rows));
  FieldSchema field;
  field.name = "vector";
  field.type = base.type;
  field.dim = static_cast<int64_t>(base.dim);
  KeyValues params = arguments.params;
  params.emplace_back("index_type", arguments.type);
  params.emplace_back("metric_type", arguments.metric);
  QUIVER_ASSIGN_OR_RETURN(const IndexSpec spec, ParseIndexParams(field, params));
  engine::IndexInfo info;
  info.index_type = spec.index_type;
  info.metric_type = arguments.metric;
  info.params = spec.params;
  const std::optional<index::IndexRecipe> recipe = engine::RecipeOf(field, info);
  if (!recipe) return InvalidParameter("{} has no structure of its own: its searches scan", arguments.type);
  QUIVER_ASSIGN_OR_RETURN(const Choice choice, Choose(engine::CandidatesOf(*recipe, info, base.rows), base.View()));
  const double start = CpuSeconds();
  QUIVER_ASSIGN_OR_RETURN(const std::string bytes,
                          index::BuildVectorIndex(choice.recipe, base.View(), {.threads = arguments.threads}));
  const double seconds = CpuSeconds() - start;
  QUIVER_RETURN_IF_ERROR(WriteFile(arguments.out, bytes));
  fmt::print("{} over {} rows of {} dimensions: {:.2f} CPU s, {:.1f} MB\n", spec.index_type, base.rows, base.dim,
             seconds, static_cast<double>(bytes.size()) / 1e6);
  if (!index::IsTunable(*recipe, base.rows)) return Status::Ok();
  QUIVER_ASSIGN_OR_RETURN(const auto index, index::OpenVectorIndex(bytes, arguments.out));
  const double opened = CpuSeconds();
  QUIVER_ASSIGN_OR_RETURN(index::IndexTuning tuning, index::MeasureTuning(*index, base.View(), seconds, {}));
  tuning.SetTried(choice.tried);
  QUIVER_RETURN_IF_ERROR(WriteFile(index::TuningName(arguments.out), tuning.Serialise()));
  fmt::print("measured {} ways of searching with {} rows: {:.2f} CPU s\n", tuning.points().size(), tuning.samples(),
             CpuSeconds() - opened);
  return Status::Ok();
}

Status Search(const Arguments& arguments) {
  QUIVER_ASSIGN_OR_RETURN(const Data data, ReadData(arguments));
  QUIVER_ASSIGN_OR_RETURN(const OpenIndex open, Open(arguments.indexes[0], data.base));
  index::IndexSearchOptions options;
  options.k = arguments.k;
  options.ef = arguments.ef;
  options.nprobe = arguments.nprobe;
  options.recall = arguments.recall;
  if (open.tuning) options = open.tuning->Apply(options);
  QUIVER_ASSIGN_OR_RETURN(const Answers answers, SearchAll(open, data, options));
  if (!arguments.out.empty()) QUIVER_RETURN_IF_ERROR(WriteRowFile(answers.rows, arguments.out));
  fmt::print("{} queries in {:.3f} CPU s, {:.0f} per CPU second\n", data.queries.rows, answers.cpu_seconds,
             static_cast<double>(data.queries.rows) / answers.cpu_seconds);
  if (!arguments.out.empty()) return Status::Ok();
  for (size_t q = 0; q < data.queries.rows; ++q) {
    const auto begin = answers.rows.ids.begin() + static_cast<std::ptrdiff_t>(q * arguments.k);
    fmt::print("{}: {}\n", q, fmt::join(begin, begin + static_cast<std::ptrdiff_t>(arguments.k), " "));
  }
  return Status::Ok();
}

/// Searches all queries of the set with an effort.
Result<index::Measured> Measure(const OpenIndex& open, const Data& data, const index::MeasureSet& set, size_t k,
                                uint32_t effort) {
  index::IndexSearchOptions options;
  options.k = k;
  (open.is_graph() ? options.ef : options.nprobe) = effort;
  return index::MeasureSearch(*open.index, data.base.View(), set, options);
}

double QueriesPerSecond(const index::Measured& measured) { return 1e9 / measured.nanoseconds; }

/// What the efforts give that the index takes when it is asked for a recall.
Status EvalAsked(const OpenIndex& open, const Data& data, const index::MeasureSet& set, size_t k) {
  fmt::print("{:>8} {:>10} {:>14} {:>8}\n", "asked", fmt::format("recall@{}", k), "queries/CPU s",
             open.is_graph() ? "ef" : "nprobe");
  for (const double recall : {0.8, 0.9, 0.95, 0.97, 0.99, 0.999}) {
    index::IndexSearchOptions options;
    options.k = k;
    options.recall = recall;
    options = open.tuning->Apply(options);
    QUIVER_ASSIGN_OR_RETURN(const index::Measured measured,
                            index::MeasureSearch(*open.index, data.base.View(), set, options));
    fmt::print("{:>8} {:>10.4f} {:>14.0f} {:>8}\n", recall, measured.recall, QueriesPerSecond(measured),
               open.is_graph() ? options.ef : options.nprobe);
  }
  return Status::Ok();
}

Status Eval(const Arguments& arguments) {
  QUIVER_ASSIGN_OR_RETURN(const Data data, ReadData(arguments));
  std::map<MetricType, index::MeasureSet> truths;
  std::vector<PlotSeries> plot;
  for (const std::string& path : arguments.indexes) {
    QUIVER_ASSIGN_OR_RETURN(const OpenIndex open, Open(path, data.base));
    if (!truths.contains(open.metric())) {
      QUIVER_ASSIGN_OR_RETURN(index::MeasureSet set, Truth(arguments, data, open.metric()));
      truths.emplace(open.metric(), std::move(set));
    }
    const index::MeasureSet& truth = truths.at(open.metric());
    const char* const effort_name = open.is_graph() ? "ef" : "nprobe";
    // The first search readies the index; what it costs is no part of the figures.
    QUIVER_RETURN_IF_ERROR(Measure(open, data, truth, arguments.k, 1).status());
    fmt::print("{}: {} rows, {} dimensions, {}; file {:.1f} MB, memory beside it {:.1f} MB\n", path, data.base.rows,
               data.base.dim, MetricTypeName(open.metric()), static_cast<double>(open.file->size()) / 1e6,
               static_cast<double>(open.index->memory_bytes()) / 1e6);
    fmt::print("{:>8} {:>10} {:>14}\n", effort_name, fmt::format("recall@{}", arguments.k), "queries/CPU s");
    PlotSeries series{.name = path, .points = {}};
    auto effort = static_cast<uint32_t>(open.is_graph() ? arguments.k : 1);
    for (;;) {
      QUIVER_ASSIGN_OR_RETURN(const index::Measured measured, Measure(open, data, truth, arguments.k, effort));
      fmt::print("{:>8} {:>10.4f} {:>14.0f}\n", effort, measured.recall, QueriesPerSecond(measured));
      series.points.emplace_back(measured.recall, QueriesPerSecond(measured));
      if (measured.recall >= 0.9995 || effort >= data.base.rows || effort >= 16'384) break;
      effort += std::max<uint32_t>(1, effort * 2 / 5);
    }
    if (open.tuning) QUIVER_RETURN_IF_ERROR(EvalAsked(open, data, truth, arguments.k));
    plot.push_back(std::move(series));
  }
  if (arguments.plot.empty()) return Status::Ok();
  return WriteFile(arguments.plot, DrawRecallPlot(fmt::format("recall@{}", arguments.k), plot));
}

Status Tune(const Arguments& arguments) {
  QUIVER_ASSIGN_OR_RETURN(const Data data, ReadData(arguments));
  QUIVER_ASSIGN_OR_RETURN(const OpenIndex open, Open(arguments.indexes[0], data.base));
  QUIVER_ASSIGN_OR_RETURN(const index::MeasureSet truth, Truth(arguments, data, open.metric()));
  const char* const effort_name = open.is_graph() ? "ef" : "nprobe";
  const auto least = static_cast<uint32_t>(open.is_graph() ? arguments.k : 1);
  // Doubling finds an effort that suffices, halving the least such.
  uint32_t too_little = 0;
  uint32_t enough = least;
  index::Measured best;
  for (;; too_little = enough, enough *= 2) {
    QUIVER_ASSIGN_OR_RETURN(best, Measure(open, data, truth, arguments.k, enough));
    if (best.recall >= arguments.recall) break;
    if (enough >= data.base.rows || enough > 500'000) {
      return InvalidParameter("recall {} is not reached: {} = {} gives {:.4f}", arguments.recall, effort_name, enough,
                              best.recall);
    }
  }
  while (too_little >= least && enough - too_little > std::max<uint32_t>(1, enough / 50)) {
    const uint32_t middle = too_little + (enough - too_little) / 2;
    QUIVER_ASSIGN_OR_RETURN(const index::Measured measured, Measure(open, data, truth, arguments.k, middle));
    if (measured.recall >= arguments.recall) {
      enough = middle;
      best = measured;
    } else {
      too_little = middle;
    }
  }
  fmt::print("{} = {}: recall@{} {:.4f}, {:.0f} queries per CPU second\n", effort_name, enough, arguments.k,
             best.recall, QueriesPerSecond(best));
  return Status::Ok();
}

struct Verb {
  std::string_view name;
  size_t files;
  size_t least_indexes;
  size_t most_indexes;
  bool needs_out;
  bool needs_recall;
  Status (*run)(const Arguments&);
};

constexpr std::array kVerbs{Verb{"build", 1, 0, 0, true, false, &Build}, Verb{"search", 2, 1, 1, false, false, &Search},
                            Verb{"eval", 2, 1, 16, false, false, &Eval}, Verb{"tune", 2, 1, 1, false, true, &Tune}};

}  // namespace

int Index(const std::vector<std::string>& arguments) {
  if (std::any_of(arguments.begin(), arguments.end(),
                  [](const auto& text) { return text == "--help" || text == "-h"; })) {
    fmt::print("{}", kUsage);
    return 0;
  }
  const std::string name = arguments.empty() ? std::string() : arguments[0];
  const auto verb = std::find_if(kVerbs.begin(), kVerbs.end(), [&](const Verb& known) { return known.name == name; });
  if (verb == kVerbs.end())
    return Fail(fmt::format("build, search, eval or tune is wanted, not '{}'\n\n{}", name, kUsage));
  Arguments parsed;
  if (const std::string wrong = Parse(arguments, &parsed); !wrong.empty()) return Fail(wrong);
  if (parsed.files.size() != verb->files) {
    return Fail(fmt::format("{} takes {}", name, verb->files == 1 ? "BASE" : "BASE and QUERIES"));
  }
  if (parsed.indexes.size() < verb->least_indexes) return Fail(fmt::format("{} needs --index FILE", name));
  if (parsed.indexes.size() > verb->most_indexes) return Fail(fmt::format("{} takes no further --index", name));
  if (verb->needs_out && parsed.out.empty()) return Fail(fmt::format("{} needs --out FILE", name));
  if (verb->needs_recall && parsed.recall == 0) return Fail(fmt::format("{} needs --recall R", name));
  const Status status = verb->run(parsed);
  if (status.ok()) return 0;
  fmt::print(stderr, "quiver index: {}\n", status.message());
  return 1;
}

}  // namespace quiver::cli
