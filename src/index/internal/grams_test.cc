#include "index/internal/grams.h"

#include <gtest/gtest.h>

#include <string>

#include "index/internal/scalar_file.h"

namespace quiver::index {
namespace {

/// The sections of the same texts, built for a column of so many rows.
std::string Build(uint32_t rows) {
  GramBuilder builder(rows);
  const auto text = [](uint32_t row) {
    std::string value = "row " + std::to_string(row * 7919 % 4001) + " of \xE4\xB8\xAD";
    if (row % 3 == 0) value += std::string("\xFF\0\x01", 3);
    return row % 11 == 0 ? std::string() : value;
  };
  constexpr uint32_t kTexts = 5000;
  for (uint32_t row = 0; row < kTexts; ++row) builder.Count(text(row));
  EXPECT_TRUE(builder.FinishCounting().ok());
  for (uint32_t row = 0; row < kTexts; ++row) builder.Place(text(row), row);
  SectionFileWriter writer(kScalarFileKind, std::string(kScalarFileKind.head_size, '\0'));
  EXPECT_TRUE(builder.Finish(kTexts, writer).ok());
  return writer.Take();
}

TEST(GramBuilderTest, PairsOfFewRowsGiveWhatTheTableGives) {
  const std::string by_pairs = Build(5000);
  EXPECT_GT(by_pairs.size(), 100'000U);
  EXPECT_TRUE(by_pairs == Build(GramBuilder::kLeastTableRows));
}

}  // namespace
}  // namespace quiver::index
