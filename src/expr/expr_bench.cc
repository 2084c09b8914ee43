// Speed of filters: compiling them, and evaluating them over pages of 4096 rows. Each case states how many of its rows
// pass and fails when that is not so.
#include <benchmark/benchmark.h>

#include <memory>

#include "expr/filter.h"
#include "expr/json_form.h"
#include "expr/json_form_writer.h"

namespace quiver::expr {
namespace {

constexpr size_t kPageRows = 4096;
constexpr size_t kPages = 256;

constexpr int64_t kCoded = kFirstUserFieldId + 8;
constexpr int64_t kKept = kFirstUserFieldId + 9;
constexpr int64_t kTime = kFirstUserFieldId + 10;
constexpr int64_t kFormed = kFirstUserFieldId + 11;
constexpr uint32_t kCategories = 200;
constexpr uint32_t kCities = 100;

/// A million rows, page by page, with every kind of column.
class Pages {
 public:
  class Page final : public ColumnSource {
   public:
    ColumnBatch batch;
    std::vector<uint8_t> codes;
    ColumnView coded;
    std::vector<int64_t> ranks;
    std::vector<uint8_t> city_codes;
    ColumnView cities;
    const JsonKeyTable* keys = nullptr;
    PageFacts time_facts;
    bool tells_facts = false;
    [[nodiscard]] size_t row_count() const override { return batch.rows; }
    [[nodiscard]] JsonForms json_forms(int64_t field_id) const override {
      return field_id == kFormed ? JsonForms{.keys = keys, .view = column(field_id)} : JsonForms{};
    }
    [[nodiscard]] bool Facts(int64_t field_id, PageFacts* facts) const override {
      if (!tells_facts || field_id != kTime) return false;
      *facts = time_facts;
      return true;
    }
    [[nodiscard]] ColumnView column(int64_t field_id) const override {
      if (field_id == kCoded) return coded;
      const Column* found = batch.Find(field_id);
      return found == nullptr ? ColumnView{} : ViewOf(*found);
    }
    [[nodiscard]] ColumnView json_path(int64_t field_id, std::span<const std::string> keys) const override {
      if (field_id != kKept || keys.size() != 2 || keys[0] != "shop") return {};
      if (keys[1] == "city") return cities;
      ColumnView view;
      view.type = DataType::kInt64;
      view.width = sizeof(int64_t);
      view.rows = ranks.size();
      view.fixed = reinterpret_cast<const std::byte*>(ranks.data());
      return view;
    }
  };

  Pages() {
    const auto add = [this](std::string name, DataType type, bool nullable = false) {
      FieldSchema field;
      field.field_id = kFirstUserFieldId + static_cast<int64_t>(schema.fields.size());
      field.name = std::move(name);
      field.type = type;
      field.nullable = nullable;
      field.is_dynamic = field.name == kMetaFieldName;
      schema.fields.push_back(std::move(field));
    };
    add("id", DataType::kInt64);
    add("i8", DataType::kInt8);
    add("i32", DataType::kInt32);
    add("n", DataType::kInt32, true);
    add("f", DataType::kFloat);
    add("s", DataType::kVarChar);
    add("j", DataType::kJson);
    add("plain", DataType::kVarChar);
    add("coded", DataType::kVarChar);  // the same values, with a dictionary
    add("kept", DataType::kJson);      // as j, of which two places are columns
    add("time", DataType::kInt64);     // rises with the rows, as what is written over time does
    add("formed", DataType::kJson);    // as j, in binary form
    for (uint32_t i = 0; i < kCities; ++i) {
      city_entries += fmt::format("\"c{:02}\"", i);
      city_offsets.push_back(static_cast<uint32_t>(city_entries.size()));
    }
    cities = {.id = 2, .size = kCities, .offsets = city_offsets.data(), .blob = city_entries.data()};
    for (uint32_t i = 0; i < kCategories; ++i) {
      entries += fmt::format("category {:03}", i);
      entry_offsets.push_back(static_cast<uint32_t>(entries.size()));
    }
    dictionary = {.id = 1, .size = kCategories, .offsets = entry_offsets.data(), .blob = entries.data()};
    JsonFormWriter forms;
    std::string form;
    for (size_t p = 0; p < kPages; ++p) {
      auto page = std::make_unique<Page>();
      page->batch.rows = kPageRows;
      for (const FieldSchema& field : schema.fields) {
        page->batch.columns.push_back(Column::Make(field.field_id, field.type));
      }
      auto& columns = page->batch.columns;
      for (size_t r = 0; r < kPageRows; ++r) {
        const size_t row = p * kPageRows + r;
        // A bijection on the row numbers, so that counts are known and order is not.
        const size_t mixed = row * 7919 % (kPages * kPageRows);
        columns[0].AppendValue(static_cast<int64_t>(mixed));
        columns[1].AppendValue(static_cast<int8_t>(mixed % 100));
        columns[2].AppendValue(static_cast<int32_t>(mixed));
        if (mixed % 10 == 0) {
          columns[3].AppendNull();
        } else {
          columns[3].AppendValue(static_cast<int32_t>(mixed));
        }
        columns[4].AppendValue(static_cast<float>(mixed % 1000));
        columns[5].Append(fmt::format("prefix{}/item-{}", mixed % 1000, mixed));
        columns[6].Append(fmt::format(
            R"({{"title":"item number {}","tags":["red","green","blue"],"price":{}.5,"shop":{{"city":"c{:02}","rank":{}}}}})",
            mixed, mixed % 500, mixed % 100, mixed));
        columns[7].Append(fmt::format("category {:03}", mixed % kCategories));
        columns[8].AppendNull();
        page->codes.push_back(static_cast<uint8_t>(mixed % kCategories));
        columns[9].Append("{}");  // only which rows are null may be looked at
        columns[10].AppendValue(static_cast<int64_t>(row));
        form.clear();
        forms.Append(ViewOf(columns[6]).Bytes(r), &form);
        columns[11].Append(form);
        page->ranks.push_back(static_cast<int64_t>(mixed));
        page->city_codes.push_back(static_cast<uint8_t>(mixed % kCities));
      }
      page->time_facts = {.distinct = kPageRows,
                          .has_values = true,
                          .least = static_cast<int64_t>(p * kPageRows),
                          .most = static_cast<int64_t>((p + 1) * kPageRows - 1)};
      page->coded.type = DataType::kVarChar;
      page->coded.rows = kPageRows;
      page->coded.dictionary = &dictionary;
      page->coded.codes8 = page->codes.data();
      page->cities.type = DataType::kVarChar;
      page->cities.rows = kPageRows;
      page->cities.dictionary = &cities;
      page->cities.codes8 = page->city_codes.data();
      page->keys = &keys;
      pages.push_back(std::move(page));
    }
    key_bytes = forms.Keys();
    keys = JsonKeyTable::Open(key_bytes).value();
  }

  CollectionSchema schema;
  std::vector<std::unique_ptr<Page>> pages;
  std::string entries;
  std::vector<uint32_t> entry_offsets{0};
  ColumnDictionary dictionary;
  std::string city_entries;
  std::vector<uint32_t> city_offsets{0};
  ColumnDictionary cities;
  std::string key_bytes;
  JsonKeyTable keys;
};

Pages& MutableData() {
  static Pages pages;
  return pages;
}
const Pages& Data() { return MutableData(); }

void Evaluate(benchmark::State& state, const std::string& text, size_t expected) {
  const Pages& data = Data();
  const auto filter = Filter::Compile(text, data.schema);
  if (!filter.ok()) return state.SkipWithError(filter.status().message().c_str());
  size_t passing = 0;
  for (auto _ : state) {
    passing = 0;
    for (const auto& page : data.pages) {
      uint64_t mask[kPageRows / 64] = {};
      (*filter)->Evaluate(*page, mask);
      for (const uint64_t word : mask) passing += static_cast<size_t>(__builtin_popcountll(word));
    }
    benchmark::DoNotOptimize(passing);
  }
  if (passing != expected) {
    return state.SkipWithError(fmt::format("{} rows pass, not {}", passing, expected).c_str());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kPages * kPageRows));
  state.counters["rows_passing"] = static_cast<double>(passing);
}

/// The same filter over pages that tell the bounds of `time`.
void EvaluateWithFacts(benchmark::State& state, const std::string& text, size_t expected) {
  for (const auto& page : MutableData().pages) page->tells_facts = true;
  Evaluate(state, text, expected);
  for (const auto& page : MutableData().pages) page->tells_facts = false;
}

std::string InList(size_t size, size_t step) {
  std::string text = "id in [";
  for (size_t i = 0; i < size; ++i) text += fmt::format("{}{}", i == 0 ? "" : ",", i * step);
  return text + "]";
}

BENCHMARK_CAPTURE(Evaluate, compare_int8, "i8 < 50", 524'300);
BENCHMARK_CAPTURE(Evaluate, compare_int32, "i32 < 524288", 524'288);
BENCHMARK_CAPTURE(Evaluate, compare_int64, "id < 524288", 524'288);
BENCHMARK_CAPTURE(Evaluate, compare_float, "f < 500", 524'500);
BENCHMARK_CAPTURE(Evaluate, range_int32, "1000 <= i32 < 2000", 1000);
BENCHMARK_CAPTURE(Evaluate, compare_nullable, "n < 524288", 471'859);
BENCHMARK_CAPTURE(Evaluate, arithmetic, "i32 * 3 < 3000", 1000);
BENCHMARK_CAPTURE(Evaluate, in_5, "id in [1, 10, 100, 1000, 10000]", 5);
BENCHMARK_CAPTURE(Evaluate, in_100k_dense, InList(100'000, 10), 100'000);
BENCHMARK_CAPTURE(Evaluate, in_100k_sparse, InList(100'000, 1'000'003), 2);
BENCHMARK_CAPTURE(Evaluate, string_equal, "s == 'prefix7/item-7'", 1);
BENCHMARK_CAPTURE(Evaluate, like_prefix, "s like 'prefix77/%'", 1049);
BENCHMARK_CAPTURE(Evaluate, like_contains, "s like '%/item-77%'", 11'111);
BENCHMARK_CAPTURE(Evaluate, like_general, "s like '%x_7/%7'", 9441);
BENCHMARK_CAPTURE(Evaluate, regex, "s =~ 'item-77$'", 1);
BENCHMARK_CAPTURE(Evaluate, category_equal, "plain == 'category 007'", 5243);
BENCHMARK_CAPTURE(Evaluate, category_equal_codes, "coded == 'category 007'", 5243);
BENCHMARK_CAPTURE(Evaluate, category_in, "plain in ['category 007', 'category 008', 'category 100']", 15'729);
BENCHMARK_CAPTURE(Evaluate, category_in_codes, "coded in ['category 007', 'category 008', 'category 100']", 15'729);
BENCHMARK_CAPTURE(Evaluate, category_regex, "plain =~ '07$'", 10'486);
BENCHMARK_CAPTURE(Evaluate, category_regex_codes, "coded =~ '07$'", 10'486);
BENCHMARK_CAPTURE(Evaluate, json_path, "j[\"shop\"][\"rank\"] == 12345", 1);
BENCHMARK_CAPTURE(Evaluate, json_path_form, "formed[\"shop\"][\"rank\"] == 12345", 1);
BENCHMARK_CAPTURE(Evaluate, json_path_column, "kept[\"shop\"][\"rank\"] == 12345", 1);
BENCHMARK_CAPTURE(Evaluate, json_text, "j[\"shop\"][\"city\"] == 'c07'", 10'486);
BENCHMARK_CAPTURE(Evaluate, json_text_form, "formed[\"shop\"][\"city\"] == 'c07'", 10'486);
BENCHMARK_CAPTURE(Evaluate, json_text_column, "kept[\"shop\"][\"city\"] == 'c07'", 10'486);
BENCHMARK_CAPTURE(Evaluate, json_first_key, "j[\"title\"] == 'item number 5'", 1);
BENCHMARK_CAPTURE(Evaluate, json_first_key_form, "formed[\"title\"] == 'item number 5'", 1);
BENCHMARK_CAPTURE(Evaluate, json_contains, "json_contains(j[\"tags\"], 'blue')", 1'048'576);
BENCHMARK_CAPTURE(Evaluate, json_contains_form, "json_contains(formed[\"tags\"], 'blue')", 1'048'576);
BENCHMARK_CAPTURE(Evaluate, conjunction_of_5,
                  "j[\"price\"] > 100 and s like 'prefix1%' and i8 == 11 and f < 500 and id < 1000", 1);

// A range of 1 % of the rows: most pages are settled by their bounds, few are read.
BENCHMARK_CAPTURE(Evaluate, time_range, "500000 <= time < 510000", 10'000);
BENCHMARK_CAPTURE(EvaluateWithFacts, time_range_facts, "500000 <= time < 510000", 10'000);
BENCHMARK_CAPTURE(Evaluate, time_and_like, "time >= 1000000 and s like '%/item-77%'", 516);
BENCHMARK_CAPTURE(EvaluateWithFacts, time_and_like_facts, "time >= 1000000 and s like '%/item-77%'", 516);
BENCHMARK_CAPTURE(Evaluate, time_or_like, "time >= 10000 or s like '%/item-77%'", 1'038'681);
BENCHMARK_CAPTURE(EvaluateWithFacts, time_or_like_facts, "time >= 10000 or s like '%/item-77%'", 1'038'681);

void CompileText(benchmark::State& state, const std::string& text) {
  const Pages& data = Data();
  for (auto _ : state) {
    auto filter = Filter::Compile(text, data.schema);
    if (!filter.ok()) return state.SkipWithError(filter.status().message().c_str());
    benchmark::DoNotOptimize(filter);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}

std::string TenMegabytes() {
  std::string text = "id in [";
  for (size_t i = 0; text.size() < 10'000'000; ++i) text += fmt::format("{},", i * 7919 % 1'000'000'007);
  text.back() = ']';
  return text;
}

BENCHMARK_CAPTURE(CompileText, short, "id > 5");
BENCHMARK_CAPTURE(CompileText, medium, "(id > 5 and s like 'a%') or j[\"shop\"][\"rank\"] in [1, 2, 3]");
BENCHMARK_CAPTURE(CompileText, in_100k, InList(100'000, 10))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(CompileText, ten_megabytes, TenMegabytes())->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quiver::expr
