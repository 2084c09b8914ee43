#include "api/compiled_filters.h"

#include <gtest/gtest.h>

#include <string>

#include "schema/collection_schema.h"

namespace quiver::api {
namespace {

std::shared_ptr<const CollectionSchema> MakeSchema(const std::string& number) {
  auto schema = std::make_shared<CollectionSchema>();
  FieldSchema pk;
  pk.field_id = 100;
  pk.name = "id";
  pk.type = DataType::kInt64;
  pk.is_primary = true;
  FieldSchema field;
  field.field_id = 101;
  field.name = number;
  field.type = DataType::kInt64;
  schema->fields = {pk, field};
  return schema;
}

class CompiledFiltersTest : public ::testing::Test {
 protected:
  const expr::Filter* Ask(CompiledFilters& filters, const std::string& text,
                          const std::shared_ptr<const CollectionSchema>& schema,
                          const expr::TemplateValues& values = {}, bool utc = true) {
    auto filter = filters.Compile(text, schema, values, TimeZone(), utc);
    EXPECT_TRUE(filter.ok()) << filter.status().ToString();
    return filter.ok() ? asked_.emplace_back(*std::move(filter)).get() : nullptr;
  }
  /// The second time, from which on it is kept.
  const expr::Filter* AskAgain(CompiledFilters& filters, const std::string& text,
                               const std::shared_ptr<const CollectionSchema>& schema) {
    Ask(filters, text, schema);
    return Ask(filters, text, schema);
  }
  std::vector<std::shared_ptr<const expr::Filter>> asked_;  ///< so that no two lie in one place
};

TEST_F(CompiledFiltersTest, TheSameTextUnderTheSameSchemaIsCompiledOnce) {
  CompiledFilters filters(10);
  const auto schema = MakeSchema("n");
  const expr::Filter* once = Ask(filters, "n == 1", schema);
  const expr::Filter* first = Ask(filters, "n == 1", schema);
  EXPECT_NE(once, first) << "most texts come once";
  EXPECT_EQ(Ask(filters, "n == 1", schema), first);
  EXPECT_NE(Ask(filters, "n == 2", schema), first);
  // Another schema may give the text another meaning.
  const auto altered = MakeSchema("n");
  EXPECT_NE(AskAgain(filters, "n == 1", altered), first);
  EXPECT_FALSE(filters.Compile("n == 1", MakeSchema("m"), {}, TimeZone(), true).ok());
  EXPECT_EQ(Ask(filters, "n == 1", schema), first);
}

TEST_F(CompiledFiltersTest, WhatMayMeanSomethingElseTheNextTimeIsNotKept) {
  CompiledFilters filters(10);
  const auto schema = MakeSchema("n");
  const expr::TemplateValues one = {{"x", expr::Literal{int64_t{1}}}};
  const expr::TemplateValues two = {{"x", expr::Literal{int64_t{2}}}};
  EXPECT_NE(Ask(filters, "n == {x}", schema, one)->canonical_key(),
            Ask(filters, "n == {x}", schema, two)->canonical_key());
  const expr::Filter* sample = AskAgain(filters, "random_sample(0.5)", schema);
  EXPECT_NE(Ask(filters, "random_sample(0.5)", schema), sample);
  const expr::Filter* kept = AskAgain(filters, "n == 1", schema);
  EXPECT_NE(Ask(filters, "n == 1", schema, {}, false), kept);
  EXPECT_EQ(Ask(filters, "n == 1", schema, {}, true), kept);
  const std::string wide = "n == 1" + std::string(2000, ' ');
  const expr::Filter* last = AskAgain(filters, wide, schema);
  EXPECT_NE(Ask(filters, wide, schema), last);
}

TEST_F(CompiledFiltersTest, ThoseThatWereNotAskedForAreForgotten) {
  CompiledFilters filters(3);
  const auto schema = MakeSchema("n");
  const expr::Filter* first = AskAgain(filters, "n == 0", schema);
  const expr::Filter* second = AskAgain(filters, "n == 1", schema);
  EXPECT_EQ(Ask(filters, "n == 1", schema), second);
  for (int i = 2; i < 20; ++i) {
    AskAgain(filters, "n == " + std::to_string(i), schema);
    EXPECT_EQ(Ask(filters, "n == 0", schema), first) << i;
  }
  EXPECT_NE(Ask(filters, "n == 1", schema), second);
}

}  // namespace
}  // namespace quiver::api
