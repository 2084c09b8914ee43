// Filters answered by scalar indexes against a slow evaluator, for every type and operator; damage to their files.
#include "index/scalar_index.h"

#include <fmt/format.h>
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
      if ((((*mask)[row / 64] >> (row % 64)) & 1U) != 0)
        rows += (rows.empty() || rows == "~" ? "" : " ") + std::to_string(row);
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

ScalarRecipe GramsOf(ScalarRecipe recipe) {
  recipe.structure = ScalarStructure::kGrams;
  return recipe;
}

/// Which indexes texts and places in JSON have.
enum class Choice : uint8_t { kGrams, kGramsAndPostings, kDocuments, kTextsAsNumbers };

/// Every index that the fields of a schema can have; some of the places in JSON are left without one.
void AddAll(const CollectionSchema& schema, Choice choice, Indexes* indexes) {
  const bool only_grams = choice == Choice::kGrams;
  for (const FieldSchema& field : schema.fields) {
    ScalarRecipe recipe{.field_id = field.field_id, .type = field.type, .value_type = field.type};
    switch (field.type) {
      case DataType::kGeometry: recipe.structure = ScalarStructure::kBoxes; break;
      case DataType::kVarChar:
        indexes->Add(GramsOf(recipe));
        if (only_grams) continue;
        break;
      case DataType::kArray:
        recipe.value_type = field.element_type;
        recipe.elements = true;
        break;
      case DataType::kJson:
        if (choice == Choice::kDocuments) {
          recipe.structure = ScalarStructure::kDocuments;
          if (field.is_dynamic) recipe.path = {"k"};
          break;
        }
        if (choice == Choice::kTextsAsNumbers) {
          recipe.value_type = DataType::kDouble;
          recipe.texts_as_numbers = true;
          for (const char* key : {"k", "m", "\u4e2d"}) {
            recipe.path = {key};
            indexes->Add(recipe);
          }
          continue;
        }
        for (const char* key : {"k", "m", "\u4e2d"}) {
          for (const DataType type : {DataType::kBool, DataType::kDouble, DataType::kVarChar}) {
            for (const bool elements : {false, true}) {
              if (elements && type == DataType::kBool) continue;
              if (only_grams && type == DataType::kVarChar && !elements) continue;
              indexes->Add({field.field_id, field.type, type, elements, {key}});
            }
          }
          indexes->Add({field.field_id, field.type, DataType::kDouble, false, {key, "k"}});
          indexes->Add({field.field_id, field.type, DataType::kVarChar, false, {key, "1"}});
          indexes->Add(GramsOf({field.field_id, field.type, DataType::kVarChar, false, {key}}));
        }
        continue;
      default: break;
    }
    indexes->Add(recipe);
  }
}

/// Whether indexes were asked; their answer is that of a scan.
bool Compare(const std::string& text, const CollectionSchema& schema, const TestTable& table, const Indexes& indexes) {
  const auto filter = Filter::Compile(text, schema);
  EXPECT_TRUE(filter.ok()) << filter.status().ToString();
  std::vector<uint64_t> scanned((table.row_count() + 63) / 64);
  (*filter)->Evaluate(table, scanned.data());
  bool exact = false;
  const auto mask = indexes.Select(**filter, &exact);
  if (!mask) return false;
  EXPECT_EQ(*mask, scanned) << text;
  return true;
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
    AddAll(schema, static_cast<Choice>(seed % 4), &indexes);
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

/// A schema with the one nullable field `x`.
CollectionSchema WithField(DataType type) { return expr::SchemaOf({TestField("x", type, true)}); }

TEST(ScalarIndexTest, DocumentsServeEveryPlaceBelowTheirs) {
  const CollectionSchema schema = WithField(DataType::kJson);
  TestTable table(schema, R"([{"x":{"a":1,"b":{"c":"one"}}},{"x":{"a":"1","b":{"c":true}}},{"x":{"a":1.5,"a ":2}},
                              {"x":null},{"x":{"a":[1,"x",[2]],"b":[{"c":1}]}},{"x":{"a":{"b":1}}},{"x":7},
                              {"x":{"a":-0.0,"b":{"c":"on"}}},{"x":{"a":9007199254740992,"b":{"c":"two"}}},
                              {"x":{"a":true,"b":{"c":"","0":4}}},{"x":{"a":-2,"b":{"c":"one\u0000"}}}])");
  Indexes indexes(table);
  ScalarRecipe recipe{.field_id = schema.Find("x")->field_id,
                      .type = DataType::kJson,
                      .value_type = DataType::kJson,
                      .structure = ScalarStructure::kDocuments};
  indexes.Add(recipe);
  const auto select = [&](const std::string& text) { return indexes.SelectText(text, schema); };
  EXPECT_EQ(select("x['a'] == 1"), "0");
  EXPECT_EQ(select("x['a'] == '1'"), "1");
  EXPECT_EQ(select("x['a'] == true"), "9");
  EXPECT_EQ(select("x['a'] != 1"), "1 2 4 5 6 7 8 9 10");
  EXPECT_EQ(select("x['a'] > 0"), "0 2 8");
  EXPECT_EQ(select("x['a'] >= 0"), "0 2 7 8");
  EXPECT_EQ(select("x['a'] < 1"), "7 10");
  EXPECT_EQ(select("-2 < x['a'] <= 1.5"), "0 2 7");
  EXPECT_EQ(select("x['a'] > 9007199254740991"), "8");
  EXPECT_EQ(select("x['a'] < 9007199254740993"), "0 2 7 8 10");
  EXPECT_EQ(select("x['a'] > 9007199254740993"), "");
  EXPECT_EQ(select("x['a'] == 9007199254740993"), "");
  EXPECT_EQ(select("x['a'] in [1, '1', true]"), "0 1 9");
  EXPECT_EQ(select("x['b']['c'] == 'one'"), "0");
  EXPECT_EQ(select("x['b']['c'] like 'on%'"), "0 7 10");
  EXPECT_EQ(select("x['b']['c'] > 'on'"), "0 8 10");
  EXPECT_EQ(select("x['b']['c'] == ''"), "9");
  EXPECT_EQ(select("x['b']['d'] == 1"), "");
  EXPECT_EQ(select("json_contains(x['a'], 1)"), "4");
  EXPECT_EQ(select("json_contains_all(x['a'], [1, 'x'])"), "4");
  EXPECT_EQ(select("json_contains_any(x['a'], [2, 3])"), "");
  EXPECT_EQ(select("json_contains(x['a'], [2])"), "scan") << "lists are in no index";
  EXPECT_EQ(select("x['a'][0] == 1"), "scan") << "positions are not in it";
  EXPECT_EQ(select("x['b']['0'] == 4"), "scan");
  EXPECT_EQ(select("exists x['a']"), "scan");
  EXPECT_EQ(select("x is null"), "3");

  Indexes below(table);
  recipe.path = {"b"};
  below.Add(recipe);
  EXPECT_EQ(below.SelectText("x['b']['c'] == 'two'", schema), "8");
  EXPECT_EQ(below.SelectText("x['a'] == 1", schema), "scan");
}

TEST(ScalarIndexTest, DocumentsTakeTheFirstOfRepeatedKeysAndNumbersThatNoDoubleHolds) {
  const CollectionSchema schema = WithField(DataType::kJson);
  TestTable table(schema, "[]");
  Column column = Column::Make(schema.Find("x")->field_id, DataType::kJson);
  for (const char* text :
       {R"({"a":1,"a":2,"b":0})", R"({"a":9007199254740993})", R"({"a":9007199254740992})", R"({"\u0061":3,"a":4})"}) {
    column.Append(text);
  }
  const auto bytes = BuildScalarIndex({.field_id = column.field_id,
                                       .type = DataType::kJson,
                                       .value_type = DataType::kJson,
                                       .structure = ScalarStructure::kDocuments},
                                      ViewOf(column), {});
  ASSERT_TRUE(bytes.ok());
  const auto index = OpenScalarIndex(*bytes, "a.idx");
  ASSERT_TRUE(index.ok()) << index.status().ToString();
  const auto rows = [&](const std::string& text) {
    const auto filter = Filter::Compile(text, schema);
    const auto answer = (*index)->Answer((*filter)->predicate());
    if (answer == nullptr) return std::string("scan");
    expr::RowSet found(4);
    answer->AddTo(&found);
    std::string out = answer->exact ? "" : "~";
    for (uint32_t row = found.NextAfter(0); row < 4; row = found.NextAfter(row + 1)) out += std::to_string(row);
    return out;
  };
  EXPECT_EQ(rows("x['a'] == 1"), "~0");
  EXPECT_EQ(rows("x['a'] == 2"), "~");
  EXPECT_EQ(rows("x['a'] == 3"), "~3");
  EXPECT_EQ(rows("x['a'] == 9007199254740993"), "~12");
  EXPECT_EQ(rows("x['a'] > 9007199254740992"), "~12");
  EXPECT_EQ(rows("x['a'] == 'x'"), "") << "texts are not rounded";
}

TEST(ScalarIndexTest, TextsIndexedAsNumbersLeaveTheMeaningOfFiltersAlone) {
  const CollectionSchema schema = WithField(DataType::kJson);
  TestTable table(schema, R"([{"x":{"a":1}},{"x":{"a":"1"}},{"x":{"a":"1.0"}},{"x":{"a":"one"}},{"x":{"a":2}},
                              {"x":{"a":"inf"}},{"x":null},{"x":{"a":"2"}},{"x":{"a":"1 "}}])");
  Indexes indexes(table);
  indexes.Add({.field_id = schema.Find("x")->field_id,
               .type = DataType::kJson,
               .value_type = DataType::kDouble,
               .path = {"a"},
               .texts_as_numbers = true});
  EXPECT_EQ(indexes.index(0).value_count(), 2U);
  const auto select = [&](const std::string& text) { return indexes.SelectText(text, schema); };
  EXPECT_EQ(select("x['a'] == 1"), "~0");
  EXPECT_EQ(select("x['a'] >= 1"), "~0 4");
  EXPECT_EQ(select("x['a'] == '1'"), "~1");
  EXPECT_EQ(select("x['a'] in ['1.0', 2]"), "~2 4");
  EXPECT_EQ(select("x['a'] == 'one'"), "scan");
  EXPECT_EQ(select("x['a'] == 'inf'"), "scan");
  EXPECT_EQ(select("x['a'] > '1'"), "scan");
  EXPECT_EQ(select("x['a'] != '1'"), "scan");
}

TEST(ScalarIndexTest, GramsNameCandidatesForRunsOfAnyLength) {
  const CollectionSchema schema = WithField(DataType::kVarChar);
  TestTable table(schema, R"([{"x":"abcdef"},{"x":"xabcx"},{"x":"bcd"},{"x":null},{"x":"ab"},{"x":""},{"x":"a%c"},
                              {"x":"\u5411\u91cf\u6570\u636e"},{"x":"\u6570"},{"x":"defabc"}])");
  Indexes indexes(table);
  const int64_t field = schema.Find("x")->field_id;
  indexes.Add(GramsOf({.field_id = field, .type = DataType::kVarChar, .value_type = DataType::kVarChar}));
  const auto select = [&](const std::string& text) { return indexes.SelectText(text, schema); };
  EXPECT_EQ(select("x like '%abc%'"), "~0 1 9");
  EXPECT_EQ(select("x like 'abc%'"), "~0");
  EXPECT_EQ(select("x like '%abc'"), "~9");
  EXPECT_EQ(select("x like '%abc%def%'"), "~0");
  EXPECT_EQ(select("x like '%b%'"), "~0 1 2 4 9");
  EXPECT_EQ(select("x like '%cd%'"), "~0 2");
  EXPECT_EQ(select("x like '%b_d%'"), "~0 2");
  EXPECT_EQ(select("x like '%a\\\\%%'"), "~6");
  EXPECT_EQ(select("x like '%zzz%'"), "~");
  EXPECT_EQ(select("x like '%\u6570%'"), "~7 8");
  EXPECT_EQ(select("x like '%\u91cf\u6570%'"), "~7");
  EXPECT_EQ(select("x like '%'"), "scan");
  EXPECT_EQ(select("x like '%__%'"), "scan");
  EXPECT_EQ(select("not (x like '%abc%')"), "scan");
  EXPECT_EQ(select("x == 'ab'"), "scan");
  EXPECT_EQ(select("x is null"), "3");
}

TEST(ScalarIndexTest, BoxesNameCandidatesForEveryRelation) {
  const CollectionSchema schema = WithField(DataType::kGeometry);
  std::string rows = "[";
  for (int i = 0; i < 3000; ++i) {
    const double x = i * 37 % 360 - 180;
    const double y = i * 59 % 181 - 90;
    std::string wkt = fmt::format("POINT ({} {})", x, y);
    if (i % 5 == 1) wkt = fmt::format("POLYGON (({0} {1}, {2} {1}, {2} {3}, {0} {1}))", x, y, x + 3, y + 4);
    if (i % 5 == 2) wkt = fmt::format("LINESTRING ({} {}, {} {})", x, y, -x, y / 2);
    if (i % 100 == 3) wkt = "GEOMETRYCOLLECTION EMPTY";
    rows += fmt::format("{}{{\"x\":{}}}", i == 0 ? "" : ",", i % 11 == 4 ? "null" : "\"" + wkt + "\"");
  }
  TestTable table(schema, rows + "]");
  Indexes indexes(table);
  indexes.Add({.field_id = schema.Find("x")->field_id,
               .type = DataType::kGeometry,
               .value_type = DataType::kGeometry,
               .structure = ScalarStructure::kBoxes});
  size_t asked = 0;
  for (const std::string relation :
       {"st_equals", "st_touches", "st_overlaps", "st_crosses", "st_contains", "st_intersects", "st_within"}) {
    for (const char* constant : {"POLYGON ((0 0, 20 0, 20 20, 0 20, 0 0))", "POINT (37 59)", "LINESTRING (-5 -5, 9 30)",
                                 "POLYGON EMPTY", "POINT (500 500)"}) {
      asked += Compare(fmt::format("{}(x, '{}')", relation, constant), schema, table, indexes);
    }
  }
  // Near a pole, across the line where longitudes wrap, around the whole globe.
  for (const char* near : {"'POINT (3 4)', 500000", "'POINT (179 10)', 900000", "'POINT (20 88)', 300000",
                           "'POINT (-180 0)', 0", "'POINT (0 0)', 30000000", "'POINT (10 60)', 2000000"}) {
    asked += Compare(fmt::format("st_dwithin(x, {})", near), schema, table, indexes);
  }
  EXPECT_GT(asked, 25U);
  EXPECT_EQ(indexes.SelectText("st_isvalid(x)", schema), "scan");
}

}  // namespace
}  // namespace quiver::index
