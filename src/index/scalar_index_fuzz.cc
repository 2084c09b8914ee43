// Fuzzes the opening of scalar index files: raw bytes, or a sound file of one of the structures with bytes changed, cut
// or appended. What opens and is sound must answer as the file that it was made from; nothing may be read outside.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expr/filter.h"
#include "index/scalar_index.h"
#include "schema/column.h"
#include "schema/geometry.h"

namespace {

using namespace quiver;  // NOLINT: a program of one file
using index::ScalarRecipe;
using index::ScalarStructure;

constexpr uint32_t kRows = 600;

void Require(bool condition) {
  if (!condition) std::abort();
}

/// A sound file with a filter that it answers.
struct Sample {
  std::string file;
  CollectionSchema schema;
  std::shared_ptr<const expr::Filter> filter;
  uint64_t count = 0;
};

/// Rows that an index gives for the filter.
uint64_t CountRows(const index::ScalarIndex& index, const expr::Filter& filter) {
  const expr::TermIndex* term = &index;
  const auto found = expr::SelectByIndexes(filter.predicate(), kRows, {&term, 1}, 1e6);
  Require(found.has_value());
  return found->rows.Count();
}

Sample MakeSample(ScalarRecipe recipe, const std::string& filter) {
  Sample sample;
  FieldSchema key;
  key.field_id = 100;
  key.name = "id";
  key.type = DataType::kInt64;
  key.is_primary = true;
  FieldSchema field;
  field.field_id = recipe.field_id = 101;
  field.name = "x";
  field.type = recipe.type;
  field.nullable = true;
  sample.schema.fields = {key, field};
  Column column = Column::Make(101, recipe.type);
  for (uint32_t row = 0; row < kRows; ++row) {
    if (row % 7 == 0) {
      column.AppendNull();
      continue;
    }
    switch (recipe.type) {
      case DataType::kInt64: column.AppendValue(static_cast<int64_t>(row % 2 == 0 ? 3 : row)); break;
      case DataType::kVarChar: column.Append("text " + std::to_string(row % 90)); break;
      case DataType::kJson: column.Append("{\"a\":[" + std::to_string(row % 50) + ",0.5]}"); break;
      default: column.Append(*WkbFromWkt("POINT (" + std::to_string(row % 20) + " " + std::to_string(row / 20) + ")"));
    }
  }
  auto file = index::BuildScalarIndex(recipe, ViewOf(column), {});
  Require(file.ok());
  sample.file = *std::move(file);
  auto compiled = expr::Filter::Compile(filter, sample.schema);
  Require(compiled.ok());
  sample.filter = *std::move(compiled);
  const auto index = index::OpenScalarIndex(sample.file, "sample");
  Require(index.ok() && (*index)->EnsureSound().ok());
  sample.count = CountRows(**index, *sample.filter);
  Require(sample.count > 0);
  return sample;
}

const std::vector<Sample>& Samples() {
  static const std::vector<Sample> samples = [] {
    std::vector<Sample> made;
    made.push_back(MakeSample({.type = DataType::kInt64, .value_type = DataType::kInt64}, "x in [3, 11, 401]"));
    made.push_back(MakeSample({.type = DataType::kVarChar, .value_type = DataType::kVarChar}, "x like 'text 1%'"));
    made.push_back(
        MakeSample({.type = DataType::kJson, .value_type = DataType::kDouble, .elements = true, .path = {"a"}},
                   "json_contains(x['a'], 7)"));
    made.push_back(
        MakeSample({.type = DataType::kVarChar, .value_type = DataType::kVarChar, .structure = ScalarStructure::kGrams},
                   "x like '%xt 1%'"));
    made.push_back(
        MakeSample({.type = DataType::kJson, .value_type = DataType::kJson, .structure = ScalarStructure::kDocuments},
                   "json_contains(x['a'], 7)"));
    made.push_back(MakeSample(
        {.type = DataType::kGeometry, .value_type = DataType::kGeometry, .structure = ScalarStructure::kBoxes},
        "st_within(x, 'POLYGON ((1 1, 5 1, 5 5, 1 5, 1 1))')"));
    return made;
  }();
  return samples;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::vector<Sample>& samples = Samples();
  const Sample& sample = samples[data[0] % samples.size()];
  std::string file(input);
  if (data[0] >= 128) {
    // Four bytes each: a place (or, at the end of the file, a new length), and what is put there.
    file = sample.file;
    for (size_t at = 0; at + 4 <= input.size(); at += 4) {
      uint32_t place = 0;
      std::memcpy(&place, input.data() + at, 3);
      if (file.empty()) break;
      if (place >= file.size()) {
        file.resize(place % (sample.file.size() + 100));
      } else {
        file[place] = input[at + 3];
      }
    }
  }
  // A buffer of its own, aligned as mapped files are, so that a read behind its end is found.
  void* memory = nullptr;
  Require(posix_memalign(&memory, 4096, std::max<size_t>(file.size(), 1)) == 0);
  const std::unique_ptr<void, decltype(&std::free)> owner(memory, &std::free);
  if (!file.empty()) std::memcpy(memory, file.data(), file.size());
  const auto index = index::OpenScalarIndex({static_cast<const char*>(memory), file.size()}, "fuzz");
  if (!index.ok() || !(*index)->EnsureSound().ok() || (*index)->row_count() != kRows) return 0;
  if (file == sample.file) Require(CountRows(**index, *sample.filter) == sample.count);
  return 0;
}
