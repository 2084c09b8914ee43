// Random filters over random rows: the vectorised evaluator against a slow one (expr/random_filter.h).
#include <gtest/gtest.h>

#include "expr/random_filter.h"

namespace quiver::expr::random {
namespace {

/// Compares random filters over random tables with the slow evaluator.
void Compare(uint32_t first_seed, uint32_t tables, int filters, int rows_per_table, bool facts) {
  const CollectionSchema schema = Generator::Schema();
  size_t passing = 0;
  for (uint32_t seed = first_seed; seed < first_seed + tables; ++seed) {
    Generator generator(seed);
    const std::string rows = generator.Rows(rows_per_table);
    TestTable table(schema, rows);
    table.Serve(TestTable::kTextForms[seed % std::size(TestTable::kTextForms)]);
    table.ServeFacts(facts);
    rapidjson::Document document;
    document.Parse<rapidjson::kParseFullPrecisionFlag>(rows.c_str());
    ASSERT_FALSE(document.HasParseError());
    for (int i = 0; i < filters; ++i) {
      const Term term = generator.Filter(3);
      const auto filter = Filter::Compile(term.text, schema);
      ASSERT_TRUE(filter.ok()) << term.text << "\n" << filter.status().ToString();
      std::vector<uint64_t> mask((static_cast<size_t>(rows_per_table) + 63) / 64);
      (*filter)->Evaluate(table, mask.data());
      for (rapidjson::SizeType row = 0; row < document.Size(); ++row) {
        const bool expected = term.truth(document[row]).value_or(false);
        const bool actual = ((mask[row / 64] >> (row % 64)) & 1U) != 0;
        if (expected != actual) {
          rapidjson::StringBuffer buffer;
          rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
          document[row].Accept(writer);
          FAIL() << term.text << "\nrow: " << buffer.GetString() << "\nexpected " << expected << ", seed " << seed;
        }
        passing += actual ? 1 : 0;
      }
      if ((*filter)->always_false()) {
        for (const uint64_t word : mask) ASSERT_EQ(word, 0U) << term.text;
      }
    }
  }
  // The generator must neither select everything nor nothing.
  const size_t total = size_t{tables} * static_cast<size_t>(filters) * static_cast<size_t>(rows_per_table);
  EXPECT_GT(passing, total / 10);
  EXPECT_LT(passing, total * 9 / 10);
}

TEST(FilterRandom, AgreesWithASlowEvaluator) { Compare(1, 12, 1500, 150, false); }

TEST(FilterRandom, AgreesWithPageFacts) { Compare(101, 4, 1000, 150, true); }

// Few rows: the facts often settle a term, or the whole page.
TEST(FilterRandom, AgreesWhereFactsSettleMuch) { Compare(201, 400, 100, 2, true); }

}  // namespace
}  // namespace quiver::expr::random
