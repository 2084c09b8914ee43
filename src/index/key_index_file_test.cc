#include "index/key_index_file.h"

#include <gtest/gtest.h>

namespace quiver::index {
namespace {

const std::string kFirst(5000, 'a');
const std::string kSecond(70, 'b');

std::string MakeFile() {
  KeyIndexFileWriter writer(1000, 101);
  writer.Add({.first_row = 10, .rows = 300, .index = kFirst, .tuning = "t1"});
  writer.Add({.first_row = 310, .rows = 690, .index = kSecond, .tuning = {}});
  return writer.Take();
}

TEST(KeyIndexFileTest, GivesBackWhatWasAdded) {
  const std::string bytes = MakeFile();
  const auto file = OpenKeyIndexFile(bytes, "it");
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_EQ(file->segment_rows, 1000U);
  EXPECT_EQ(file->field_id, 101);
  ASSERT_EQ(file->runs.size(), 2U);
  EXPECT_EQ(file->runs[0].first_row, 10U);
  EXPECT_EQ(file->runs[0].rows, 300U);
  EXPECT_EQ(file->runs[0].index, kFirst);
  EXPECT_EQ(file->runs[0].tuning, "t1");
  EXPECT_EQ(file->runs[1].first_row, 310U);
  EXPECT_EQ(file->runs[1].index, kSecond);
  EXPECT_TRUE(file->runs[1].tuning.empty());
  for (const KeyRun& run : file->runs) EXPECT_EQ((run.index.data() - bytes.data()) % 4096, 0);
  EXPECT_TRUE(CheckKeyIndexFile(bytes, "it").ok());
}

TEST(KeyIndexFileTest, TakesManyRuns) {
  KeyIndexFileWriter writer(1'000'000, 101);
  for (uint32_t i = 0; i < 500; ++i) writer.Add({.first_row = i * 10, .rows = 10, .index = "x", .tuning = "y"});
  const std::string bytes = writer.Take();
  const auto file = OpenKeyIndexFile(bytes, "it");
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_EQ(file->runs.size(), 500U);
}

TEST(KeyIndexFileTest, DamageIsNoticed) {
  const std::string whole = MakeFile();
  const auto file = OpenKeyIndexFile(whole, "it");
  ASSERT_TRUE(file.ok());
  const auto index = static_cast<size_t>(file->runs[0].index.data() - whole.data());
  size_t refused = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    const bool opened = OpenKeyIndexFile(bytes, "it").ok();
    const bool sound = CheckKeyIndexFile(bytes, "it").ok();
    refused += opened ? 0 : 1;
    // Between sections lie zeros that nobody reads.
    EXPECT_FALSE(whole[at] != 0 && opened && sound) << at;
    if (at < index || at >= index + kFirst.size()) continue;
    EXPECT_TRUE(opened) << "an index is for its user to check: " << at;
    EXPECT_FALSE(sound) << at;
  }
  // Header, with a table of three sections, and the table of runs.
  EXPECT_EQ(refused, 28U + 4 + 3 * 24 + 4 + 4 + 2 * 40 + 4);
}

TEST(KeyIndexFileTest, ACutFileAndRunsThatOverlapAreRefused) {
  const std::string whole = MakeFile();
  for (const size_t size : {size_t{0}, size_t{7}, size_t{60}, size_t{4096}, whole.size() - 1}) {
    EXPECT_FALSE(OpenKeyIndexFile(std::string_view(whole).substr(0, size), "it").ok()) << size;
  }
  KeyIndexFileWriter overlapping(1000, 101);
  overlapping.Add({.first_row = 10, .rows = 300, .index = kFirst, .tuning = {}});
  overlapping.Add({.first_row = 309, .rows = 10, .index = kFirst, .tuning = {}});
  EXPECT_EQ(OpenKeyIndexFile(overlapping.Take(), "it").status().code(), StatusCode::kCorruption);
  KeyIndexFileWriter beyond(1000, 101);
  beyond.Add({.first_row = 900, .rows = 101, .index = kFirst, .tuning = {}});
  EXPECT_EQ(OpenKeyIndexFile(beyond.Take(), "it").status().code(), StatusCode::kCorruption);
}

}  // namespace
}  // namespace quiver::index
