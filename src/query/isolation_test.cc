#include "query/isolation.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "engine/test_engine.h"

namespace quiver::query {
namespace {

TEST(Isolation, OneValueOfTheKeyMustBeNamed) {
  CollectionSchema schema;
  FieldSchema key = engine::MakeField(101, "key", DataType::kInt64);
  key.is_partition_key = true;
  schema.fields = {engine::MakeKeyField(100), key, engine::MakeField(102, "other", DataType::kInt64),
                   engine::MakeField(103, "name", DataType::kVarChar)};
  const std::string unsupported = "partition key isolation does not support ";
  const std::string missing =
      "partition key not found in expr or the expr is invalid when validating partition key isolation";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"key == 10", ""},
      {"10 == key", ""},
      {"key == (1+1)", ""},
      {"key == 10 and other > 5", ""},
      {"(name == 'a' or name == 'b') && key == 10", ""},
      {"name in ['a', 'b'] && key == 10", ""},
      {"key == 10 and not (other == 5)", ""},
      {"", missing},
      {"other == 10", missing},
      {"not (other == 10)", missing},
      {"other == 10 or name == 'a'", missing},
      {"key + 1 == 10", missing},
      {"key == other", missing},
      {"key != 10", unsupported + "NotEqual"},
      {"key < 10", unsupported + "LessThan"},
      {"key <= 10", unsupported + "LessEqual"},
      {"key > 10", unsupported + "GreaterThan"},
      {"key >= 10", unsupported + "GreaterEqual"},
      {"10 <= key < 20", unsupported + "BinaryRange"},
      {"key in [10]", unsupported + "IN"},
      {"key in [10, 20]", unsupported + "IN"},
      {"key not in [10]", unsupported + "IN"},
      {"key == 10 and key in [10, 20]", unsupported + "IN"},
      {"key == 10 or other == 5", unsupported + "OR"},
      {"key == 10 or key == 20", unsupported + "IN"},  // the same thing
      {"not (key == 10)", unsupported + "NOT"},
      {"not (key == 10 and other > 5)", unsupported + "NOT"},
  };
  for (const auto& [text, error] : cases) {
    const auto filter = expr::Filter::Compile(text, schema);
    ASSERT_TRUE(filter.ok()) << text << ": " << filter.status().ToString();
    EXPECT_EQ(CheckIsolated(filter->get()).message(), error) << text;
  }
  EXPECT_EQ(CheckIsolated(nullptr).message(), missing);
}

}  // namespace
}  // namespace quiver::query
