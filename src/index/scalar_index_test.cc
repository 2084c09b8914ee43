// Filters answered by scalar indexes against a slow evaluator, for every type and operator; damage to their files.
#include "index/scalar_index.h"

#include <gtest/gtest.h>

#include <set>

#include "expr/random_filter.h"

namespace quiver::index {
namespace {

using expr::Filter;
using expr::TestField;
using expr::TestTable;

/// Indexes over a table, with the files they lie in.
class Indexes {
 public:
  explicit Indexes(const TestTable& table) : table_(table) {}

  void Add(const ScalarRecipe& recipe) {
    ColumnView view = table_.column(recipe.field_id);
    view.rows = table_.row_count();
    auto bytes = BuildScalarIndex(recipe, view, {});
    ASSERT_TRUE(bytes.ok()) << bytes.status().ToString();
    files_.push_back(std::make_unique<std::string>(*std::move(bytes)));
    auto index = OpenScalarIndex(*files_.back(), "a.idx");
    ASSERT_TRUE(index.ok()) << index.status().ToString();
    ASSERT_TRUE((*index)->EnsureSound().ok());
    EXPECT_EQ((*index)->row_count(), table_.row_count());
    indexes_.push_back(*std::move(index));
    terms_.push_back(indexes_.back().get());
  }

  /// Bits of the rows that pass; nothing where indexes do not help.
  std::optional<std::vector<uint64_t>> Select(const Filter& filter, bool* exact) const {
    const auto rows = static_cast<uint32_t>(table_.row_count());
    const auto found = expr::SelectByIndexes(filter.predicate(), rows, terms_, 1e6);
    if (!found) return std::nullopt;
    std::vector<uint64_t> mask((rows + 63) / 64);
    const uint32_t count = found->rows.CopyWords(0, mask.size(), mask.data());
    EXPECT_EQ(count, found->rows.Count());
    *exact = found->exact;
    if (found->exact) return mask;
    std::vector<uint64_t> rest(mask.size());
    filter.EvaluateRest(table_, found->settled, mask.data(), rest.data());
    return rest;
  }
  std::string SelectText(const std::string& text, const CollectionSchema& schema) const {
    const auto filter = Filter::Compile(text, schema);
    EXPECT_TRUE(filter.ok()) << filter.status().ToString();
    bool exact = false;
    const auto mask = Select(**filter, &exact);
    if (!mask) return "scan";
    std::string rows = exact ? "" : "~";
    for (size_t row = 0; row < table_.row_count(); ++row) {
      if ((((*mask)[row / 64] >> (row % 64)) & 1U) != 0) rows += (rows.size() > 1 ? " " : "") + std::to_string(row);
    }
    return rows;
  }
  [[nodiscard]] std::string& file(size_t i) { return *files_[i]; }
  [[nodiscard]] const ScalarIndex& index(size_t i) const { return *indexes_[i]; }

 private:
  const TestTable& table_;
  std::vector<std::unique_ptr<std::string>> files_;
  std::vector<std::unique_ptr<ScalarIndex>> indexes_;
  std::vector<const expr::TermIndex*> terms_;
};

/// Every index that the fields of a schema can have; some of the places in JSON are left without one.
void AddAll(const CollectionSchema& schema, Indexes* indexes) {
  for (const FieldSchema& field : schema.fields) {
    ScalarRecipe recipe{.field_id = field.field_id, .type = field.type, .value_type = field.type};
    switch (field.type) {
      case DataType::kGeometry: continue;
      case DataType::kArray:
        recipe.value_type = field.element_type;
        recipe.elements = true;
        break;
      case DataType::kJson:
        for (const char* key : {"k", "m", "\u4e2d"}) {
          for (const DataType type : {DataType::kBool, DataType::kDouble, DataType::kVarChar}) {
            for (const bool elements : {false, true}) {
              if (elements && type == DataType::kBool) continue;
              indexes->Add({field.field_id, field.type, type, elements, {key}});
            }
          }
          indexes->Add({field.field_id, field.type, DataType::kDouble, false, {key, "k"}});
          indexes->Add({field.field_id, field.type, DataType::kVarChar, false, {key, "1"}});
        }
        continue;
      default: break;
    }
    indexes->Add(recipe);
  }
}

void CompareRandom(uint32_t first_seed, uint32_t tables, int filters, int rows_per_table) {
  using expr::random::Generator;
  const CollectionSchema schema = Generator::Schema();
  size_t answered = 0;
  size_t exact_answers = 0;
  size_t total = 0;
  for (uint32_t seed = first_seed; seed < first_seed + tables; ++seed) {
    Generator generator(seed);
    const std::string rows = generator.Rows(rows_per_table);
    TestTable table(schema, rows);
    table.Serve(TestTable::kTextForms[seed % std::size(TestTable::kTextForms)]);
    Indexes indexes(table);
    AddAll(schema, &indexes);
    rapidjson::Document document;
    document.Parse<rapidjson::kParseFullPrecisionFlag>(rows.c_str());
    for (int i = 0; i < filters; ++i, ++total) {
      const expr::random::Term term = generator.Filter(3);
      const auto filter = Filter::Compile(term.text, schema);
      ASSERT_TRUE(filter.ok()) << term.text;
      bool exact = false;
      const auto mask = indexes.Select(**filter, &exact);
      if (!mask) continue;
      ++answered;
      exact_answers += exact ? 1 : 0;
      for (rapidjson::SizeType row = 0; row < document.Size(); ++row) {
        const bool expected = term.truth(document[row]).value_or(false);
        ASSERT_EQ((((*mask)[row / 64] >> (row % 64)) & 1U) != 0, expected)
            << term.text << "\nrow " << row << ", seed " << seed << (exact ? ", exact" : "");
      }
    }
  }
  EXPECT_GT(answered, total / 4);
  EXPECT_GT(exact_answers, total / 8);
}

TEST(ScalarIndexTest, AnswersRandomFiltersAsASlowEvaluatorDoes) { CompareRandom(1, 12, 1200, 150); }

TEST(ScalarIndexTest, AnswersAlikeWhereValuesHaveBitMaps) { CompareRandom(301, 2, 300, 9000); }

}  // namespace
}  // namespace quiver::index
