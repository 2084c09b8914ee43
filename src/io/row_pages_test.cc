#include "io/row_pages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "io/file_system.h"

namespace quiver::io {
namespace {

constexpr size_t kWidth = 1000;  // rows cross pages
constexpr uint32_t kRows = 4000;

/// A file of rows, each full of its number, mapped and not in memory.
class RowPagesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "quiver_rows_XXXXXX";
    const int file = ::mkstemp(pattern.data());
    ASSERT_GE(file, 0);
    path_ = pattern;
    std::string bytes(kWidth * kRows, '\0');
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i / kWidth % 251);
    ASSERT_EQ(::write(file, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    ASSERT_EQ(::fsync(file), 0);
    ASSERT_EQ(::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
    ::close(file);
    auto mapped = PosixFileSystem().Map(path_);
    ASSERT_TRUE(mapped.ok()) << mapped.status().ToString();
    mapped_ = *mapped;
  }
  void TearDown() override { ::unlink(path_.c_str()); }

  [[nodiscard]] bool InMemory(uint32_t row) const {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    const size_t first = row * kWidth / page;
    const size_t last = (row * kWidth + kWidth - 1) / page;
    unsigned char states[2] = {};
    EXPECT_EQ(::mincore(const_cast<std::byte*>(mapped_->data()) + first * page, (last - first) * page + 1, states), 0);
    return (states[0] & 1) != 0 && (states[last - first] & 1) != 0;
  }

  std::string path_;
  std::shared_ptr<const MappedFile> mapped_;
};

TEST_F(RowPagesTest, RowsAreReadWithoutBeingTouched) {
  const std::vector<uint32_t> rows{3, 700, 1500, 2222, 3999};
  if (InMemory(700)) GTEST_SKIP() << "this file system keeps its files in memory";
  ASSERT_TRUE(AskForRows(mapped_->data(), kWidth, rows));
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (const uint32_t row : rows) {
    while (!InMemory(row) && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    EXPECT_TRUE(InMemory(row)) << row;
  }
  EXPECT_FALSE(InMemory(1000)) << "only what was asked for";
  for (const uint32_t row : rows) {
    EXPECT_EQ(mapped_->data()[row * kWidth], static_cast<std::byte>(row % 251));
    EXPECT_EQ(mapped_->data()[row * kWidth + kWidth - 1], static_cast<std::byte>(row % 251));
  }
  EXPECT_FALSE(mapped_->faulted());
}

TEST_F(RowPagesTest, NothingIsAskedForWhereRowsAreInMemoryOrItIsSwitchedOff) {
  const std::vector<uint32_t> rows{3, 700, 1500};
  std::vector<std::byte> memory(kWidth * 2000, std::byte{1});
  EXPECT_FALSE(AskForRows(memory.data(), kWidth, rows));
  EXPECT_FALSE(AskForRows(mapped_->data(), kWidth, {}));
  EnableAskForRows(false);
  EXPECT_FALSE(AskForRows(mapped_->data(), kWidth, rows));
  EnableAskForRows(true);
}

TEST_F(RowPagesTest, ColdRowsAreNoticedAgainAfterAWhileInMemory) {
  const std::vector<uint32_t> warm{0, 1, 2};
  mapped_->Advise(0, mapped_->size(), Access::kRandom);  // or touching one row reads them all
  for (const uint32_t row : warm) EXPECT_EQ(mapped_->data()[row * kWidth], static_cast<std::byte>(row));
  if (InMemory(3900)) GTEST_SKIP() << "all of the file was read ahead, or stays in memory";
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(AskForRows(mapped_->data(), kWidth, warm));
  const std::vector<uint32_t> cold{3800, 3900, 3999};
  bool asked = false;
  for (int i = 0; i < 40 && !asked; ++i) asked = AskForRows(mapped_->data(), kWidth, cold);
  EXPECT_TRUE(asked);
}

TEST_F(RowPagesTest, AFileThatBecameShorterIsFoundOutByTheMapping) {
  const std::vector<uint32_t> rows{3, 2222, 3999};
  ASSERT_EQ(::truncate(path_.c_str(), 100 * kWidth), 0);
  AskForRows(mapped_->data(), kWidth, rows);
  EXPECT_FALSE(mapped_->faulted());
  EXPECT_EQ(mapped_->data()[2222 * kWidth], std::byte{0});
  EXPECT_TRUE(mapped_->faulted());
}

}  // namespace
}  // namespace quiver::io
