#include "io/mapping_registry.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "io/file_system.h"

namespace quiver::io {
namespace {

constexpr size_t kPage = 4096;

class MappingRegistryTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "quiver_mapping_XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::shared_ptr<const MappedFile> MapFile(const std::string& name, size_t pages) {
    const std::string path = JoinPath(directory_, name);
    std::ofstream(path, std::ios::binary) << std::string(pages * kPage, 'x');
    auto mapped = PosixFileSystem().Map(path);
    EXPECT_TRUE(mapped.ok()) << mapped.status().ToString();
    return mapped.ok() ? *mapped : nullptr;
  }
  static size_t Count(const MappedFile& file, char value) {
    size_t count = 0;
    for (size_t i = 0; i < file.size(); ++i) count += static_cast<char>(file.data()[i]) == value ? 1 : 0;
    return count;
  }

  std::string directory_;
};

TEST_F(MappingRegistryTest, ATruncatedFileReadsAsZerosAndSaysSo) {
  const auto cut = MapFile("cut", 100);
  const auto whole = MapFile("whole", 100);
  ASSERT_NE(cut, nullptr);
  ASSERT_NE(whole, nullptr);
  EXPECT_EQ(Count(*cut, 'x'), 100 * kPage);
  EXPECT_FALSE(cut->faulted());
  std::filesystem::resize_file(cut->path(), 40 * kPage);
  EXPECT_EQ(Count(*cut, 'x'), 40 * kPage);
  EXPECT_TRUE(cut->faulted());
  EXPECT_EQ(Count(*cut, 'x'), 40 * kPage) << "it stays readable";
  EXPECT_EQ(Count(*whole, 'x'), 100 * kPage);
  EXPECT_FALSE(whole->faulted()) << "a fault is of one mapping";
}

TEST_F(MappingRegistryTest, ThreadsThatFaultAtOnceAllGoOn) {
  std::vector<std::shared_ptr<const MappedFile>> files;
  for (int i = 0; i < 8; ++i) files.push_back(MapFile("file" + std::to_string(i), 64));
  for (const auto& file : files) std::filesystem::resize_file(file->path(), kPage);
  std::atomic<size_t> total{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (const auto& file : files) total += Count(*file, 'x');
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(total, 8 * 8 * kPage);
  for (const auto& file : files) EXPECT_TRUE(file->faulted());
}

TEST_F(MappingRegistryTest, ASlotIsSoundAgainForTheNextMapping) {
  auto cut = MapFile("cut", 4);
  std::filesystem::resize_file(cut->path(), 0);
  EXPECT_EQ(Count(*cut, 'x'), 0U);
  EXPECT_TRUE(cut->faulted());
  cut.reset();
  for (int i = 0; i < 20; ++i) {
    const auto next = MapFile("next", 1);
    ASSERT_FALSE(next->faulted());
    ASSERT_EQ(Count(*next, 'x'), kPage);
  }
}

TEST_F(MappingRegistryTest, ManyMappingsAreAllCaredFor) {
  std::vector<std::shared_ptr<const MappedFile>> files;
  for (int i = 0; i < 1500; ++i) {
    files.push_back(MapFile("file" + std::to_string(i), 1));
    ASSERT_NE(files.back(), nullptr);
  }
  std::filesystem::resize_file(files.back()->path(), 0);
  EXPECT_EQ(Count(*files.back(), 'x'), 0U);
  EXPECT_TRUE(files.back()->faulted());
}

TEST(MappingRegistryDeathTest, ABusErrorElsewhereStillEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  // By the signal itself, or by a sanitizer that handles it.
  EXPECT_DEATH(
      {
        MappingRegistry::Global();
        (void)std::raise(SIGBUS);
        // The first signal only restored the default action.
        (void)std::raise(SIGBUS);
        std::exit(0);
      },
      "");
}

}  // namespace
}  // namespace quiver::io
