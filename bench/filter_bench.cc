// Filters over ten million rows on one thread: by scan and by scalar indexes, counts compared; run_filter.py shows the
// figures beside those of other programs, which read the same rows from a file.
//   filter_bench run [10000000] [FILTER]   one JSON object per line: index, kernel and filter figures; or of one filter
//   filter_bench export FILE [10000000]    the rows as CSV
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "expr/filter.h"
#include "expr/json_form.h"
#include "expr/json_form_writer.h"
#include "expr/term_index.h"
#include "index/scalar_index.h"
#include "simd/kernels.h"
#include "timer.h"

namespace quiver {
namespace {

constexpr size_t kPageRows = 4096;
constexpr size_t kPageWords = kPageRows / 64;
constexpr uint32_t kTags = 200;

/// All rows of a segment; pages are windows on them. As sealed segments do, it keeps a dictionary of the repeated
/// texts, least and most of each page, and JSON documents in binary form, with frequent places as columns of their own.
struct Table {
  CollectionSchema schema;
  std::vector<Column> columns;
  uint32_t rows = 0;
  std::vector<uint8_t> tag_codes;
  std::string tag_texts;
  std::vector<uint32_t> tag_offsets;
  ColumnDictionary tags;
  Column ranks;
  bool keeps_ranks = false;  ///< whether pages offer them
  Column forms;              ///< documents in binary form
  std::string key_bytes;
  expr::JsonKeyTable keys;
  bool keeps_forms = false;
  std::vector<std::pair<int64_t, int64_t>> stamp_bounds;

  Column& Add(std::string name, DataType type) {
    FieldSchema field;
    field.field_id = kFirstUserFieldId + static_cast<int64_t>(schema.fields.size());
    field.name = std::move(name);
    field.type = type;
    columns.push_back(Column::Make(field.field_id, type));
    columns.back().Reserve(rows);
    schema.fields.push_back(std::move(field));
    return columns.back();
  }
  [[nodiscard]] int64_t IdOf(std::string_view name) const { return schema.Find(name)->field_id; }
};

class Page final : public expr::ColumnSource {
 public:
  Page(const Table& table, size_t first) : table_(table), first_(first) {}
  [[nodiscard]] size_t row_count() const override { return std::min(kPageRows, table_.rows - first_); }
  [[nodiscard]] ColumnView column(int64_t field_id) const override {
    if (field_id == kFirstUserFieldId + kTag) {
      ColumnView view;
      view.type = DataType::kVarChar;
      view.rows = row_count();
      view.dictionary = &table_.tags;
      view.codes8 = table_.tag_codes.data() + first_;
      return view;
    }
    return Window(table_.columns[static_cast<size_t>(field_id - kFirstUserFieldId)]);
  }
  [[nodiscard]] ColumnView json_path(int64_t /*field_id*/, std::span<const std::string> keys) const override {
    if (!table_.keeps_ranks || keys.size() != 1 || keys[0] != "rank") return {};
    return Window(table_.ranks);
  }
  [[nodiscard]] expr::JsonForms json_forms(int64_t /*field_id*/) const override {
    return table_.keeps_forms ? expr::JsonForms{.keys = &table_.keys, .view = Window(table_.forms)} : expr::JsonForms{};
  }
  [[nodiscard]] bool Facts(int64_t field_id, expr::PageFacts* facts) const override {
    if (field_id != kFirstUserFieldId + kStamp) return false;
    *facts = {};
    facts->has_values = true;
    facts->least = table_.stamp_bounds[first_ / kPageRows].first;
    facts->most = table_.stamp_bounds[first_ / kPageRows].second;
    return true;
  }

  static constexpr int64_t kTag = 6;
  static constexpr int64_t kStamp = 7;

 private:
  [[nodiscard]] ColumnView Window(const Column& column) const {
    ColumnView view = ViewOf(column);
    if (view.fixed != nullptr) view.fixed += first_ * view.width;
    if (view.offsets != nullptr) view.offsets += first_;
    view.rows = row_count();
    return view;
  }

  const Table& table_;
  size_t first_;
};

std::unique_ptr<Table> MakeTable(uint32_t rows) {
  auto made = std::make_unique<Table>();
  Table& table = *made;
  table.rows = rows;
  table.columns.reserve(16);
  std::mt19937_64 random(1);
  Column& number = table.Add("number", DataType::kInt64);     // all different
  Column& amount = table.Add("amount", DataType::kInt32);     // about 1,000 rows each
  Column& category = table.Add("category", DataType::kInt8);  // 100 values
  Column& price = table.Add("price", DataType::kDouble);
  Column& name = table.Add("name", DataType::kVarChar);  // about 1,000 rows for each prefix
  Column& document = table.Add("doc", DataType::kJson);
  Column& tag = table.Add("tag", DataType::kVarChar);    // kTags values
  Column& stamp = table.Add("stamp", DataType::kInt64);  // rises with the rows
  Column& weight = table.Add("weight", DataType::kFloat);
  table.ranks = Column::Make(0, DataType::kInt64);
  table.forms = Column::Make(0, DataType::kJson);
  expr::JsonFormWriter forms;
  std::string form;
  table.tag_offsets.push_back(0);
  for (uint32_t i = 0; i < kTags; ++i) {
    table.tag_texts += fmt::format("tag-{:03}", i);
    table.tag_offsets.push_back(static_cast<uint32_t>(table.tag_texts.size()));
  }
  table.tags = {.id = 1, .size = kTags, .offsets = table.tag_offsets.data(), .blob = table.tag_texts.data()};
  for (uint32_t row = 0; row < rows; ++row) {
    const uint64_t draw = random();
    number.AppendValue(static_cast<int64_t>(uint64_t{row} * 7'368'787 % rows));
    amount.AppendValue(static_cast<int32_t>(draw % (rows / 1000)));
    category.AppendValue(static_cast<int8_t>(draw / rows % 100));
    price.AppendValue(static_cast<double>(draw % 1'000'003) / 100);
    name.Append(fmt::format("n{:05}-{:08x}", draw % (rows / 1000), static_cast<uint32_t>(draw >> 32)));
    const uint64_t rank = draw % (rows / 10'000);
    document.Append(fmt::format("{{\"rank\":{},\"on\":true}}", rank));
    form.clear();
    forms.Append(ViewOf(document).Bytes(row), &form);
    table.forms.Append(form);
    table.ranks.AppendValue(static_cast<int64_t>(rank));
    table.tag_codes.push_back(static_cast<uint8_t>(draw / 7 % kTags));
    tag.Append(table.tags.Entry(table.tag_codes.back()));
    stamp.AppendValue(int64_t{row} * 10);
    weight.AppendValue(static_cast<float>(draw % 4096));
    if (row % kPageRows == 0) table.stamp_bounds.emplace_back(int64_t{row} * 10, 0);
    table.stamp_bounds.back().second = int64_t{row} * 10;
  }
  table.key_bytes = forms.Keys();
  table.keys = expr::JsonKeyTable::Open(table.key_bytes).value();
  return made;
}

/// The median CPU time of some runs; what is short is run many times each.
double Milliseconds(const std::function<void()>& work) {
  constexpr double kLeast = 2;
  const auto measure = [&work](size_t repeats) {
    const double begin = bench::Seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t i = 0; i < repeats; ++i) work();
    return (bench::Seconds(CLOCK_PROCESS_CPUTIME_ID) - begin) * 1e3;
  };
  const double once = std::max(measure(1), 1e-4);
  const auto repeats = static_cast<size_t>(std::max(1.0, kLeast / once));
  std::array<double, 7> times{};
  for (double& time : times) time = measure(repeats) / static_cast<double>(repeats);
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

uint64_t Scan(const Table& table, const expr::Filter& filter, uint32_t rows) {
  uint64_t count = 0;
  for (size_t first = 0; first < rows; first += kPageRows) {
    uint64_t mask[kPageWords] = {};
    filter.Evaluate(Page(table, first), mask);
    for (const uint64_t word : mask) count += static_cast<uint64_t>(std::popcount(word));
  }
  return count;
}

/// As query::VisitMatches does. Nothing where the planner prefers a scan.
std::optional<uint64_t> Ask(const Table& table, const expr::Filter& filter,
                            std::span<const expr::TermIndex* const> indexes) {
  const auto found = expr::SelectByIndexes(filter.predicate(), table.rows, indexes);
  if (!found) return std::nullopt;
  uint64_t count = 0;
  for (uint32_t row = found->rows.NextAfter(0); row < table.rows;) {
    const auto first = static_cast<uint32_t>(row / kPageRows * kPageRows);
    uint64_t mask[kPageWords];
    const uint32_t here = found->rows.CopyWords(first, kPageWords, mask);
    if (found->exact) {
      count += here;
    } else {
      uint64_t matching[kPageWords] = {};
      filter.EvaluateRest(Page(table, first), found->settled, mask, matching);
      for (const uint64_t word : matching) count += static_cast<uint64_t>(std::popcount(word));
    }
    row = found->rows.NextAfter(static_cast<uint32_t>(first + kPageRows));
  }
  return count;
}

int Export(const char* path, uint32_t rows) {
  const auto table = MakeTable(rows);
  std::FILE* file = std::fopen(path, "w");
  if (file == nullptr) return EXIT_FAILURE;
  const auto& columns = table->columns;
  const auto view = [&](size_t i) { return ViewOf(columns[i]); };
  const std::array views{view(0), view(1), view(2), view(3), view(4), view(5), view(6), view(7), view(8)};
  std::string text;
  for (uint32_t row = 0; row < rows; ++row) {
    std::string document(views[5].Bytes(row));
    for (size_t at = 0; (at = document.find('"', at)) != std::string::npos; at += 2) document.insert(at, 1, '"');
    text += fmt::format("{},{},{},{},{},\"{}\",{},{},{}\n", views[0].Get<int64_t>(row), views[1].Get<int32_t>(row),
                        views[2].Get<int8_t>(row), views[3].Get<double>(row), views[4].Bytes(row), document,
                        views[6].Bytes(row), views[7].Get<int64_t>(row), views[8].Get<float>(row));
    if (text.size() > 1U << 20 || row + 1 == rows) {
      if (std::fwrite(text.data(), 1, text.size(), file) != text.size()) return EXIT_FAILURE;
      text.clear();
    }
  }
  return std::fclose(file) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

std::vector<std::unique_ptr<index::ScalarIndex>> BuildIndexes(const Table& table, std::vector<std::string>* files) {
  std::vector<index::ScalarRecipe> recipes;
  for (const Column& column : table.columns) {
    recipes.push_back({.field_id = column.field_id, .type = column.type, .value_type = column.type});
    if (column.type == DataType::kJson) {
      recipes.back().value_type = DataType::kDouble;
      recipes.back().path = {"rank"};
    }
  }
  // What an index of type NGRAM is made of, for `like` with a run of text anywhere.
  recipes.push_back({.field_id = table.IdOf("name"),
                     .type = DataType::kVarChar,
                     .value_type = DataType::kVarChar,
                     .structure = index::ScalarStructure::kGrams});
  std::vector<std::unique_ptr<index::ScalarIndex>> indexes;
  files->reserve(recipes.size());
  for (const index::ScalarRecipe& recipe : recipes) {
    const Column& column = table.columns[static_cast<size_t>(recipe.field_id - kFirstUserFieldId)];
    const bench::Timer timer;
    auto bytes = index::BuildScalarIndex(recipe, ViewOf(column), {});
    if (!bytes.ok()) return {};
    files->push_back(*std::move(bytes));
    auto opened = index::OpenScalarIndex(files->back(), "bench");
    if (!opened.ok() || !(*opened)->EnsureSound().ok()) return {};
    fmt::print("{{\"index\":\"{}\",\"grams\":{},\"values\":{},\"bytes\":{},{}}}\n",
               table.schema.FindById(recipe.field_id)->name, recipe.structure == index::ScalarStructure::kGrams,
               (*opened)->value_count(), files->back().size(), timer.Json());
    indexes.push_back(*std::move(opened));
  }
  return indexes;
}

/// Comparisons in GB/s, from memory and from the second cache, beside plain reads just before.
int RunKernels(const Table& table) {
  const std::array<std::pair<const char*, const char*>, 6> filters = {{{"category", "category > 3"},
                                                                       {"amount", "amount > 777"},
                                                                       {"amount", "77 <= amount <= 777"},
                                                                       {"number", "number > 4711"},
                                                                       {"weight", "weight > 777.0"},
                                                                       {"price", "price > 777.0"}}};
  constexpr size_t kCachedBytes = 256 << 10;
  for (const auto& [field, text] : filters) {
    const auto filter = expr::Filter::Compile(text, table.schema);
    if (!filter.ok()) return EXIT_FAILURE;
    const ColumnView view = Page(table, 0).column(table.IdOf(field));
    const size_t bytes = table.rows * view.width;
    const auto cached_rows = static_cast<uint32_t>(kCachedBytes / view.width);
    const size_t rounds = std::max<size_t>(1, (size_t{64} << 20) / kCachedBytes);
    uint64_t sink = 0;
    const double read = Milliseconds([&] { sink += simd::Kernels().read_all(view.fixed, bytes); });
    uint64_t count = 0;
    const double scan = Milliseconds([&] { count = Scan(table, **filter, table.rows); });
    const double read_cached = Milliseconds([&] {
      for (size_t i = 0; i < rounds; ++i) sink += simd::Kernels().read_all(view.fixed, kCachedBytes);
    });
    uint64_t cached = 0;
    const double scan_cached = Milliseconds([&] {
      for (size_t i = 0; i < rounds; ++i) cached += Scan(table, **filter, cached_rows);
    });
    const auto rate = [](size_t size, double milliseconds) { return static_cast<double>(size) / milliseconds / 1e6; };
    fmt::print(
        "{{\"kernel\":\"{}\",\"type\":\"{}\",\"count\":{},\"memory\":{:.2f},\"memory_read\":{:.2f},\"l2\":{:.2f},"
        "\"l2_read\":{:.2f},\"check\":{}}}\n",
        text, DataTypeName(view.type), count, rate(bytes, scan), rate(bytes, read),
        rate(rounds * kCachedBytes, scan_cached), rate(rounds * kCachedBytes, read_cached), (sink + cached) % 10);
  }
  return EXIT_SUCCESS;
}

int Run(uint32_t rows, std::string_view only) {
  const auto made = MakeTable(rows);
  Table& table = *made;
  if (only.empty() && RunKernels(table) != EXIT_SUCCESS) return EXIT_FAILURE;
  std::vector<std::string> files;
  const auto indexes = BuildIndexes(table, &files);
  if (indexes.empty()) return EXIT_FAILURE;
  std::vector<const expr::TermIndex*> terms;
  for (const auto& index : indexes) terms.push_back(index.get());
  std::string list;
  for (uint32_t i = 0; i < 10'000; ++i) list += fmt::format("{}{}", i == 0 ? "" : ",", uint64_t{i} * (rows / 10'000));
  // The names are known to filter_peers.py.
  const std::vector<std::pair<std::string, std::string>> filters = {
      {"point", "number == 4711"},
      {"in10k", "number in [" + list + "]"},
      {"equal", "amount == 7"},
      {"range", "100 < number <= 10100"},
      {"stamp", "5000000 <= stamp < 6000000"},
      {"category", "category == 3"},
      {"tag", "tag == 'tag-007'"},
      {"prefix", "name like 'n00007%'"},
      {"infix", "name like '%beef%'"},
      {"json", "doc[\"rank\"] == 5"},
      {"term", "amount == 7"},
      {"five", "amount == 7 and category < 50 and price > 100.0 and name > 'n' and doc[\"rank\"] != 5"},
      {"fiveplain", "amount == 7 and category < 50 and price > 100.0 and tag > 'tag-01' and stamp > 1000"},
  };
  for (const auto& [name, text] : filters) {
    if (!only.empty() && only != name) continue;
    const auto filter = expr::Filter::Compile(text, table.schema);
    if (!filter.ok()) return EXIT_FAILURE;
    uint64_t scanned = 0;
    uint64_t kept = 0;
    std::optional<uint64_t> asked;
    const double scan = Milliseconds([&] { scanned = Scan(table, **filter, table.rows); });
    uint64_t formed = 0;
    table.keeps_forms = true;
    const double scan_forms = Milliseconds([&] { formed = Scan(table, **filter, table.rows); });
    table.keeps_forms = false;
    table.keeps_ranks = true;
    const double scan_kept = Milliseconds([&] { kept = Scan(table, **filter, table.rows); });
    const double ask = Milliseconds([&] { asked = Ask(table, **filter, terms); });
    table.keeps_ranks = false;
    fmt::print(
        "{{\"filter\":\"{}\",\"rows\":{},\"scan_ms\":{:.4f},\"forms_ms\":{:.4f},\"kept_ms\":{:.4f},\"index_ms\":{}}}\n",
        name, scanned, scan, scan_forms, scan_kept, asked ? fmt::format("{:.4f}", ask) : "null");
    if (scanned != kept || scanned != formed || (asked && scanned != *asked)) {
      fmt::print(stderr, "{}: the scan finds {} rows, with binary documents {}, kept columns {}, indexes {}\n", name,
                 scanned, formed, kept, asked.value_or(0));
      return EXIT_FAILURE;
    }
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace quiver

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  const int rows_at = mode == "export" ? 3 : 2;
  constexpr uint32_t kRows = 10'000'000;
  const uint32_t rows = argc > rows_at ? static_cast<uint32_t>(std::strtoul(argv[rows_at], nullptr, 10)) : kRows;
  if (rows < 100'000) return EXIT_FAILURE;
  if (mode == "export" && argc > 2) return quiver::Export(argv[2], rows);
  if (mode == "run") return quiver::Run(rows, argc > 3 ? argv[3] : "");
  fmt::print(stderr, "usage: filter_bench run [ROWS [FILTER]] | export FILE [ROWS]; at least 100,000 rows\n");
  return EXIT_FAILURE;
}
