// What the keys of a write cost: batches of 1,000 rows into a collection of a million, in 1, 8 or 32 sealed segments,
// in memory. Every written key is looked for in every segment, to delete its older version; with
// collection.insert.unique, and for partial updates, once more before. CPU time is of the whole process.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <future>
#include <memory>
#include <string>

#include "base/logging.h"
#include "engine/collection_info.h"
#include "engine/engine.h"
#include "engine/shared_meta.h"
#include "io/fault_file_system.h"

namespace quiver::engine {
namespace {

constexpr int64_t kPk = 100;
constexpr int64_t kVector = 101;
constexpr int64_t kDim = 8;
constexpr int64_t kRows = 1'000'000;
constexpr int64_t kBatch = 1000;

enum class Mode : uint8_t { kInsert, kUniqueInsert, kUpsert, kPartialUpdate };

void Check(const Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "{}\n", status.ToString());
  std::exit(1);
}

/// An engine whose collection `docs` holds the even keys below 2 * kRows.
class Docs {
 public:
  Docs(int64_t segments, bool unique) {
    Check(log::Configure({.level = log::Level::kWarn}));
    EngineOptions options;
    options.sync = false;
    options.compaction = false;
    options.flush_min_bytes = 0;
    options.retention_seconds = 0;
    options.seal_bytes = uint64_t{1} << 40;
    options.max_log_bytes = uint64_t{1} << 40;
    options.open_meta_store = [this](const std::string&) -> Result<std::unique_ptr<storage::MetaStore>> {
      return std::unique_ptr<storage::MetaStore>(std::make_unique<SharedMeta>(meta_));
    };
    auto opened = Engine::Open(files_, std::move(options));
    Check(opened.status());
    engine_ = *std::move(opened);
    CreateCollectionRequest request;
    request.schema.name = "docs";
    FieldSchema key;
    key.field_id = kPk;
    key.name = "id";
    key.type = DataType::kInt64;
    key.is_primary = true;
    FieldSchema vector;
    vector.field_id = kVector;
    vector.name = "vector";
    vector.type = DataType::kFloatVector;
    vector.dim = kDim;
    request.schema.fields = {key, vector};
    Check(engine_->CreateCollection(request));
    auto found = engine_->FindCollection("default", "docs");
    Check(found.status());
    collection_ = *found;
    // Scattered, so that no segment is ruled out by its range of keys.
    for (int64_t first = 0; first < kRows; first += kBatch) {
      Write([&](int64_t i) { return (first + i) * kStep % kRows * 2; }, Mode::kInsert);
      if ((first + kBatch) % (kRows / segments / kBatch * kBatch) == 0) Check(engine_->Flush(collection_).status());
    }
    Check(engine_->Flush(collection_).status());
    if (unique) {
      Check(engine_->AlterCollection("default", "docs", {{std::string(kUniqueInsertProperty), "true"}}, {}));
    }
  }

  template <typename KeyOf>
  void Write(const KeyOf& key_of, Mode mode) {
    WriteRequest request;
    request.collection = collection_;
    request.batch.rows = kBatch;
    request.batch.columns = {Column::Make(kPk, DataType::kInt64), Column::Make(kVector, DataType::kFloatVector, kDim)};
    const float values[kDim] = {1};
    for (int64_t i = 0; i < kBatch; ++i) {
      request.batch.columns[0].AppendValue(key_of(i));
      request.batch.columns[1].Append({reinterpret_cast<const char*>(values), sizeof(values)});
    }
    if (mode == Mode::kPartialUpdate) request.based_on = engine_->AllocateTimestamp();
    std::promise<Status> answer;
    const WriteCallback done = [&](const Result<WriteResult>& result) { answer.set_value(result.status()); };
    if (mode == Mode::kInsert || mode == Mode::kUniqueInsert) {
      engine_->Insert(std::move(request), done);
    } else {
      engine_->Upsert(std::move(request), done);
    }
    Check(answer.get_future().get());
  }

  static constexpr int64_t kStep = 611'953;  // prime, so that every key comes once

 private:
  io::FaultFileSystem files_;
  storage::MemoryMetaStore meta_;
  std::unique_ptr<Engine> engine_;
  std::shared_ptr<Collection> collection_;
};

void WriteKeys(benchmark::State& state, Mode mode) {
  Docs docs(state.range(0), mode == Mode::kUniqueInsert);
  const bool fresh = mode == Mode::kInsert || mode == Mode::kUniqueInsert;
  int64_t next = 0;
  for (auto _ : state) {
    docs.Write([&](int64_t i) { return (next + i) * Docs::kStep % kRows * 2 + (fresh ? 1 : 0); }, mode);
    next += kBatch;
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}

#define QUIVER_KEY_BENCHMARK(mode)               \
  BENCHMARK_CAPTURE(WriteKeys, mode, Mode::mode) \
      ->Arg(1)                                   \
      ->Arg(8)                                   \
      ->Arg(32)                                  \
      ->Iterations(200)                          \
      ->MeasureProcessCPUTime()                  \
      ->UseRealTime()                            \
      ->Unit(benchmark::kMicrosecond)
QUIVER_KEY_BENCHMARK(kInsert);
QUIVER_KEY_BENCHMARK(kUniqueInsert);
QUIVER_KEY_BENCHMARK(kUpsert);
QUIVER_KEY_BENCHMARK(kPartialUpdate);
#undef QUIVER_KEY_BENCHMARK

}  // namespace
}  // namespace quiver::engine
