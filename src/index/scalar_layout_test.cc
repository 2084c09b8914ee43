#include "index/scalar_layout.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace quiver::index {
namespace {

constexpr uint32_t kRows = 3200;

/// The entries of each section by name; checks that the sections lie in the file, one behind another.
std::map<std::string, uint64_t, std::less<>> EntriesOf(const ScalarIndex& index, const std::string& file) {
  std::map<std::string, uint64_t, std::less<>> entries;
  const auto sections = ScalarSections(index, file, "a.idx");
  EXPECT_TRUE(sections.ok());
  uint64_t end = 1;
  for (const ScalarSection& section : *sections) {
    EXPECT_GT(section.bytes, 0U) << section.name;
    EXPECT_GE(section.offset, end) << section.name;
    end = section.offset + section.bytes;
    EXPECT_TRUE(entries.emplace(section.name, section.entries).second) << section.name;
  }
  EXPECT_LE(end, file.size());
  return entries;
}

TEST(ScalarLayoutTest, TellsWhatIsInEachSection) {
  Column column = Column::Make(100, DataType::kVarChar);
  for (uint32_t row = 0; row < kRows; ++row) {
    // Half of the rows hold one value, one in ten is null, the others have 50 values of a few rows each.
    if (row % 10 == 1) {
      column.AppendNull();
    } else {
      column.Append(row % 2 == 0 ? "usual" : fmt::format("v{}", row / 2 % 50));
    }
  }
  ScalarRecipe recipe{.field_id = 100, .type = DataType::kVarChar, .value_type = DataType::kVarChar};
  for (const ScalarStructure structure : {ScalarStructure::kPostings, ScalarStructure::kGrams}) {
    recipe.structure = structure;
    const auto file = BuildScalarIndex(recipe, ViewOf(column), {});
    ASSERT_TRUE(file.ok()) << file.status().ToString();
    const auto index = OpenScalarIndex(*file, "a.idx");
    ASSERT_TRUE(index.ok()) << index.status().ToString();
    auto entries = EntriesOf(**index, *file);
    EXPECT_EQ(entries["values"], (*index)->value_count());
    EXPECT_EQ(entries["null rows"], kRows / 10);
    if (structure == ScalarStructure::kGrams) continue;
    EXPECT_EQ(entries["bit maps"], 1U);
    EXPECT_EQ(entries["values with bit maps"], 1U);
    EXPECT_EQ(entries["rows"], kRows - kRows / 2 - kRows / 10);
    EXPECT_EQ(entries["first rows of values"], (*index)->value_count() + 1);
    EXPECT_FALSE(ScalarSections(**index, std::string_view(*file).substr(0, 100), "a.idx").ok());
  }
  EXPECT_EQ(ScalarStructureName(recipe.structure), "grams");
}

}  // namespace
}  // namespace quiver::index
