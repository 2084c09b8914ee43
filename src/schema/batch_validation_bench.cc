// Rows per second through ValidateBatch, for batches of 1,000 rows as an insert sends them.
#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "schema/validation.h"

namespace quiver {
namespace {

FieldSchema Field(int64_t id, std::string name, DataType type) {
  FieldSchema field;
  field.field_id = id;
  field.name = std::move(name);
  field.type = type;
  return field;
}

constexpr int64_t kRows = 1000;

// An INT64 key and a vector.
void ValidateVectors(benchmark::State& state) {
  const auto dim = state.range(0);
  CollectionSchema schema;
  schema.fields = {Field(100, "id", DataType::kInt64), Field(101, "v", DataType::kFloatVector)};
  schema.fields[0].is_primary = true;
  schema.fields[1].dim = dim;
  ColumnBatch batch;
  batch.rows = static_cast<size_t>(kRows);
  batch.columns = {Column::Make(100, DataType::kInt64), Column::Make(101, DataType::kFloatVector, dim)};
  std::vector<float> row(static_cast<size_t>(dim));
  for (size_t i = 0; i < static_cast<size_t>(kRows); ++i) {
    batch.columns[0].AppendValue(static_cast<int64_t>(i));
    for (size_t d = 0; d < row.size(); ++d) row[d] = std::sin(static_cast<float>(i * row.size() + d));
    batch.columns[1].Append({reinterpret_cast<const char*>(row.data()), row.size() * sizeof(float)});
  }
  for (auto _ : state) {
    const Status status = ValidateBatch(schema, batch, {});
    if (!status.ok()) state.SkipWithError(status.message().c_str());
  }
  state.SetItemsProcessed(state.iterations() * kRows);
  state.SetBytesProcessed(state.iterations() * kRows * dim * 4);
}
BENCHMARK(ValidateVectors)->Arg(128)->Arg(768);

// A text of 200 bytes (every tenth not ASCII) and a JSON value of about 100 bytes.
void ValidateTextAndJson(benchmark::State& state) {
  CollectionSchema schema;
  schema.fields = {Field(100, "id", DataType::kInt64), Field(101, "text", DataType::kVarChar),
                   Field(102, "$meta", DataType::kJson)};
  schema.fields[0].is_primary = true;
  schema.fields[1].max_length = 65535;
  schema.fields[2].is_dynamic = true;
  ColumnBatch batch;
  batch.rows = static_cast<size_t>(kRows);
  batch.columns = {Column::Make(100, DataType::kInt64), Column::Make(101, DataType::kVarChar),
                   Column::Make(102, DataType::kJson)};
  for (size_t i = 0; i < static_cast<size_t>(kRows); ++i) {
    batch.columns[0].AppendValue(static_cast<int64_t>(i));
    batch.columns[1].Append(std::string(197, 'a') + (i % 10 == 0 ? "中" : "aaa"));
    batch.columns[2].Append(
        R"({"color":"red","price":12.5,"tags":["a","b","c"],"nested":{"depth":2,"ok":true},"n":12345678})");
  }
  for (auto _ : state) {
    const Status status = ValidateBatch(schema, batch, {});
    if (!status.ok()) state.SkipWithError(status.message().c_str());
  }
  state.SetItemsProcessed(state.iterations() * kRows);
}
BENCHMARK(ValidateTextAndJson);

}  // namespace
}  // namespace quiver
