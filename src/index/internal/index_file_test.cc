#include "index/internal/index_file.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace quiver::index {
namespace {

std::string SampleFile() {
  IndexRecipe recipe;
  recipe.structure = IndexStructure::kLists;
  recipe.codec = IndexCodec::kRabitq;
  recipe.type = DataType::kFloat16Vector;
  recipe.metric = MetricType::kCosine;
  recipe.dim = 48;
  recipe.nlist = 7;
  recipe.seed = 99;
  IndexFileWriter writer(recipe, 1234);
  const std::vector<uint32_t> values{1, 2, 3};
  writer.AddValues<uint32_t>(5, values);
  writer.Add(6, std::string());
  writer.Add(9, std::string(10000, 'x'));
  return writer.Take();
}

TEST(IndexFileTest, GivesBackRecipeAndSections) {
  const std::string bytes = SampleFile();
  ASSERT_EQ(bytes, SampleFile());
  Result<IndexFile> file = IndexFile::Open(bytes, "a.vix");
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->recipe().structure, IndexStructure::kLists);
  EXPECT_EQ(file->recipe().codec, IndexCodec::kRabitq);
  EXPECT_EQ(file->recipe().type, DataType::kFloat16Vector);
  EXPECT_EQ(file->recipe().metric, MetricType::kCosine);
  EXPECT_EQ(file->recipe().dim, 48);
  EXPECT_EQ(file->recipe().nlist, 7U);
  EXPECT_EQ(file->recipe().seed, 99U);
  EXPECT_EQ(file->row_count(), 1234U);
  const Result<std::span<const uint32_t>> values = file->Values<uint32_t>(5, 3);
  ASSERT_TRUE(values.ok());
  EXPECT_EQ((*values)[2], 3U);
  EXPECT_FALSE(file->Values<uint32_t>(5, 4).ok());
  EXPECT_EQ(file->Section(6).size(), 0U);
  EXPECT_EQ(file->Section(9), std::string(10000, 'x'));
  EXPECT_EQ(file->Section(77).size(), 0U);
  EXPECT_TRUE(file->EnsureSound().ok());
}

TEST(IndexFileTest, NoticesEveryChangedByteThatCounts) {
  const std::string sound = SampleFile();
  size_t refused = 0;
  for (size_t i = 0; i < sound.size(); ++i) {
    std::string bytes = sound;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x10);
    const Result<IndexFile> file = IndexFile::Open(bytes, "a.vix");
    const bool refuses = !file.ok() || !file->EnsureSound().ok();
    refused += refuses ? 1 : 0;
    // Bytes between sections are padding and mean nothing.
    const bool counts = i < 100 || (i >= 4096 && i < 4108) || (i >= 8192);
    if (counts) {
      ASSERT_TRUE(refuses) << "byte " << i;
    }
  }
  EXPECT_LT(refused, sound.size());
}

TEST(IndexFileTest, RefusesEveryLengthThatCutsContents) {
  const std::string sound = SampleFile();
  for (size_t size = 0; size < sound.size(); size += size < 300 ? 1 : 97) {
    const Result<IndexFile> file = IndexFile::Open(std::string_view(sound).substr(0, size), "a.vix");
    ASSERT_FALSE(file.ok()) << size;
    EXPECT_EQ(file.status().code(), StatusCode::kCorruption);
  }
}

TEST(IndexFileTest, RefusesNewerVersions) {
  std::string bytes = SampleFile();
  bytes[8] = 9;
  const Result<IndexFile> file = IndexFile::Open(bytes, "a.vix");
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().message(), "index file a.vix has version 9, this program reads up to 1");
}

}  // namespace
}  // namespace quiver::index
