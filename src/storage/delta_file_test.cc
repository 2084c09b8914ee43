#include "storage/delta_file.h"

#include <gtest/gtest.h>

#include "io/fault_file_system.h"

namespace quiver::storage {
namespace {

class DeltaFileTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(fs_.CreateDirectories("d").ok()); }
  io::FaultFileSystem fs_;
};

TEST_F(DeltaFileTest, GivesBackDeletesInOrder) {
  const std::vector<RowDelete> deletes{{9, 50}, {1, 70}, {1, 60}, {0, UINT64_MAX}, {UINT32_MAX, 0}};
  ASSERT_TRUE(WriteDeltaFile(fs_, "d/x", 42, deletes).ok());
  const auto content = ReadDeltaFile(fs_, "d/x");
  ASSERT_TRUE(content.ok()) << content.status().ToString();
  EXPECT_EQ(content->segment_id, 42);
  EXPECT_EQ(content->deletes, (std::vector<RowDelete>{{0, UINT64_MAX}, {1, 60}, {1, 70}, {9, 50}, {UINT32_MAX, 0}}));
  ASSERT_TRUE(WriteDeltaFile(fs_, "d/x", 43, {}).ok());
  EXPECT_TRUE(ReadDeltaFile(fs_, "d/x")->deletes.empty());
}

TEST_F(DeltaFileTest, EveryDamagedBitAndEveryTruncationIsRefused) {
  ASSERT_TRUE(WriteDeltaFile(fs_, "d/x", 42, std::vector<RowDelete>{{1, 2}, {3, 4}, {5, 6}}).ok());
  const std::string sound = *fs_.ReadFile("d/x");
  for (size_t bit = 0; bit < sound.size() * 8; ++bit) {
    std::string damaged = sound;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(ParseDelta("d/x", damaged).status().code(), StatusCode::kCorruption) << bit;
  }
  for (size_t size = 0; size < sound.size(); ++size) {
    EXPECT_EQ(ParseDelta("d/x", sound.substr(0, size)).status().code(), StatusCode::kCorruption) << size;
  }
  EXPECT_EQ(ParseDelta("d/x", sound + "x").status().code(), StatusCode::kCorruption);
}

TEST_F(DeltaFileTest, ANewerFormatVersionIsRefused) {
  ASSERT_TRUE(WriteDeltaFile(fs_, "d/x", 42, {}).ok());
  std::string bytes = *fs_.ReadFile("d/x");
  bytes[8] = 2;
  EXPECT_NE(ParseDelta("d/x", bytes).status().message().find("format version 2"), std::string::npos);
}

}  // namespace
}  // namespace quiver::storage
