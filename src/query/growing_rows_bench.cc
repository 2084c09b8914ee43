// Growing rows with and without scalar indexes (engine/growing_index.cc): what filters over 200,000 of them take, and
// what the indexes cost those who insert. In memory, without a disk to wait for. Counts are checked.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "base/logging.h"
#include "engine/collection.h"
#include "engine/engine.h"
#include "engine/shared_meta.h"
#include "expr/filter.h"
#include "io/fault_file_system.h"
#include "query/search.h"

namespace quiver::query {
namespace {

constexpr int64_t kKey = 100;
constexpr int64_t kDoc = 101;
constexpr int64_t kName = 102;
constexpr int64_t kRows = 200'000;
constexpr int64_t kBatch = 1000;

void Check(const Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "{}\n", status.ToString());
  std::exit(1);
}

/// An engine with the collection `docs`, whose rows all stay growing.
class GrowingDocs {
 public:
  explicit GrowingDocs(bool indexed) {
    Check(log::Configure({.level = log::Level::kWarn}));
    engine::EngineOptions options;
    options.sync = false;
    options.seal_bytes = uint64_t{1} << 40;
    options.max_log_bytes = uint64_t{1} << 40;
    options.open_meta_store = [this](const std::string&) -> Result<std::unique_ptr<storage::MetaStore>> {
      return std::unique_ptr<storage::MetaStore>(std::make_unique<engine::SharedMeta>(meta_));
    };
    auto opened = engine::Engine::Open(files_, std::move(options));
    Check(opened.status());
    engine_ = *std::move(opened);
    engine::CreateCollectionRequest request;
    request.schema.name = "docs";
    const auto add = [&](int64_t id, const char* name, DataType type) -> FieldSchema& {
      FieldSchema& field = request.schema.fields.emplace_back();
      field.field_id = id;
      field.name = name;
      field.type = type;
      return field;
    };
    add(kKey, "id", DataType::kInt64).is_primary = true;
    add(kDoc, "doc", DataType::kJson);
    add(kName, "name", DataType::kVarChar).max_length = 100;
    Check(engine_->CreateCollection(request));
    auto found = engine_->FindCollection("default", "docs");
    Check(found.status());
    collection_ = *found;
    if (!indexed) return;
    Check(engine_->CreateIndex("default", "docs", "doc",
                               {.name = "city",
                                .index_type = "INVERTED",
                                .metric_type = {},
                                .params = {{"json_path", "doc['shop']['city']"}, {"json_cast_type", "varchar"}}}));
    Check(engine_->CreateIndex(
        "default", "docs", "name",
        {.name = "grams", .index_type = "NGRAM", .metric_type = {}, .params = {{"min_gram", "2"}, {"max_gram", "3"}}}));
  }

  void Insert() {
    engine::WriteRequest request;
    request.collection = collection_;
    request.batch.rows = kBatch;
    request.batch.columns = {Column::Make(kKey, DataType::kInt64), Column::Make(kDoc, DataType::kJson),
                             Column::Make(kName, DataType::kVarChar)};
    for (int64_t i = 0; i < kBatch; ++i, ++next_) {
      request.batch.columns[0].AppendValue(next_);
      request.batch.columns[1].Append(fmt::format(
          R"({{"sku":"S-{}","price":{}.5,"stock":{},"tags":["new","sale"],"shop":{{"open":true,"city":"c{}"}}}})",
          next_, next_ % 977, next_ % 51, next_ % 2000));
      request.batch.columns[2].Append(
          fmt::format("n{:08x}-{:08x}", static_cast<uint32_t>(next_ * 2'654'435'761), next_ * 40'503 % 65'521));
    }
    std::promise<Status> answer;
    engine_->Insert(std::move(request),
                    [&](const Result<engine::WriteResult>& result) { answer.set_value(result.status()); });
    Check(answer.get_future().get());
  }
  void InsertAll() {
    while (next_ < kRows) Insert();
  }
  /// Waits until the two indexes cover all full blocks.
  void AwaitIndexes() {
    const uint64_t wanted = 2 * static_cast<uint64_t>(next_ / segment::kIndexBlockRows);
    while (engine_->statistics().growing_index_builds < wanted) std::this_thread::yield();
  }

  int64_t Count(const std::string& text) {
    const engine::ReadView view = engine_->ViewAll(*collection_);
    auto filter = expr::Filter::Compile(text, *view.info->schema);
    Check(filter.status());
    auto count = query::Count(view, *filter, {});
    Check(count.status());
    return *count;
  }

 private:
  io::FaultFileSystem files_;
  storage::MemoryMetaStore meta_;
  std::unique_ptr<engine::Engine> engine_;
  std::shared_ptr<engine::Collection> collection_;
  int64_t next_ = 0;
};

void Filter(benchmark::State& state, const char* filter) {
  static const auto scanned = [] {
    auto docs = std::make_unique<GrowingDocs>(false);
    docs->InsertAll();
    return docs;
  }();
  static const auto indexed = [] {
    auto docs = std::make_unique<GrowingDocs>(true);
    docs->InsertAll();
    docs->AwaitIndexes();
    return docs;
  }();
  GrowingDocs& docs = state.range(0) == 1 ? *indexed : *scanned;
  const int64_t right = scanned->Count(filter);
  for (auto _ : state) {
    if (docs.Count(filter) != right) return state.SkipWithError("the counts differ");
  }
  state.counters["rows"] = static_cast<double>(right);
}

#define QUIVER_FILTER_BENCHMARK(name, filter) \
  BENCHMARK_CAPTURE(Filter, name, filter)->ArgName("index")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond)
QUIVER_FILTER_BENCHMARK(json_text, "doc['shop']['city'] == 'c77'");
QUIVER_FILTER_BENCHMARK(like, "name like '%beef%'");
#undef QUIVER_FILTER_BENCHMARK

/// All rows, in batches of 1,000, from an empty collection on. Time is that of the client; CPU is of the process, index
/// building included.
void Insert(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto docs = std::make_unique<GrowingDocs>(state.range(0) == 1);
    state.ResumeTiming();
    docs->InsertAll();
    state.PauseTiming();
    docs.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * kRows);
}
BENCHMARK(Insert)->ArgName("index")->Arg(0)->Arg(1)->Iterations(5)->MeasureProcessCPUTime()->UseRealTime()->Unit(
    benchmark::kMillisecond);

}  // namespace
}  // namespace quiver::query
