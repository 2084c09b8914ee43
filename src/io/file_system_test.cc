#include "io/file_system.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "io/fault_file_system.h"

namespace quiver::io {
namespace {

/// The contract both forms keep.
class FileSystemTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      std::string pattern = testing::TempDir() + "quiver_io_XXXXXX";
      ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
      directory_ = pattern;
    } else {
      directory_ = "data";
      ASSERT_TRUE(fault_.CreateDirectories(directory_).ok());
    }
  }
  void TearDown() override {
    if (GetParam()) std::filesystem::remove_all(directory_);
  }
  FileSystem& fs() { return GetParam() ? PosixFileSystem() : fault_; }
  [[nodiscard]] std::string Path(std::string_view name) const { return JoinPath(directory_, name); }
  std::vector<std::string> Names(const std::string& directory) {
    std::vector<std::string> names;
    const auto entries = fs().List(directory);
    EXPECT_TRUE(entries.ok()) << entries.status().ToString();
    for (const DirectoryEntry& entry : *entries) names.push_back(entry.name);
    return names;
  }

  FaultFileSystem fault_;
  std::string directory_;
};

INSTANTIATE_TEST_SUITE_P(Forms, FileSystemTest, testing::Values(false, true),
                         [](const auto& form) { return form.param ? "Posix" : "Fault"; });

TEST_P(FileSystemTest, ReadsBackWhatWasAppendedInParts) {
  auto file = fs().Create(Path("a"));
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  std::vector<std::string> owned;
  std::string expected;
  for (int i = 0; i < 3000; ++i) owned.push_back("part" + std::to_string(i));  // more than one system call takes
  owned[7].clear();
  for (const std::string& part : owned) expected += part;
  const std::vector<std::string_view> parts(owned.begin(), owned.end());
  ASSERT_TRUE((*file)->Append(parts).ok());
  ASSERT_TRUE((*file)->Append("tail").ok());
  expected += "tail";
  EXPECT_EQ((*file)->size(), expected.size());
  ASSERT_TRUE((*file)->Sync().ok());
  EXPECT_EQ(*fs().ReadFile(Path("a")), expected);
  const auto mapped = fs().Map(Path("a"));
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ(std::string(reinterpret_cast<const char*>((*mapped)->data()), (*mapped)->size()), expected);
  (*mapped)->Advise(0, SIZE_MAX, Access::kWillNeed);
}

TEST_P(FileSystemTest, ReservedSpaceReadsAsZerosAndIsOverwritten) {
  auto file = fs().Create(Path("a"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->Append("abc").ok());
  ASSERT_TRUE((*file)->Preallocate(10).ok());
  EXPECT_EQ((*file)->size(), 3U);
  EXPECT_EQ(*fs().ReadFile(Path("a")), std::string("abc\0\0\0\0\0\0\0", 10));
  ASSERT_TRUE((*file)->Append("def").ok());
  ASSERT_TRUE((*file)->Preallocate(5).ok());  // less than there is: nothing to do
  EXPECT_EQ(*fs().ReadFile(Path("a")), std::string("abcdef\0\0\0\0", 10));
}

TEST_P(FileSystemTest, OpenAppendCutsWhatStandsBehindThePosition) {
  {
    auto file = fs().Create(Path("a"));
    ASSERT_TRUE((*file)->Append("0123456789").ok());
  }
  {
    auto file = fs().OpenAppend(Path("a"), 4);
    ASSERT_TRUE(file.ok()) << file.status().ToString();
    EXPECT_EQ(*fs().ReadFile(Path("a")), "0123");
    ASSERT_TRUE((*file)->Append("x").ok());
  }
  EXPECT_EQ(*fs().ReadFile(Path("a")), "0123x");
  EXPECT_EQ(fs().OpenAppend(Path("a"), 6).status().code(), StatusCode::kIo);
}

TEST_P(FileSystemTest, ErrorsNameThePath) {
  EXPECT_NE(fs().OpenRead(Path("nothing")).status().message().find(Path("nothing")), std::string::npos);
  EXPECT_EQ(fs().Remove(Path("nothing")).code(), StatusCode::kIo);
  EXPECT_EQ(fs().Create(Path("no/such/directory")).status().code(), StatusCode::kIo);
  ASSERT_TRUE(fs().Create(Path("a")).ok());
  EXPECT_EQ(fs().Create(Path("a")).status().code(), StatusCode::kIo);
  EXPECT_EQ(fs().List(Path("nothing")).status().code(), StatusCode::kIo);
  auto file = fs().OpenRead(Path("a"));
  std::array<std::byte, 4> buffer{};
  EXPECT_EQ((*file)->Read(0, buffer).code(), StatusCode::kIo);
}

TEST_P(FileSystemTest, KeepsNames) {
  ASSERT_TRUE(fs().CreateDirectories(Path("x/y/z")).ok());
  ASSERT_TRUE(fs().CreateDirectories(Path("x/y/z")).ok());
  ASSERT_TRUE(fs().WriteFileAtomic(Path("x/b"), "one").ok());
  ASSERT_TRUE(fs().WriteFileAtomic(Path("x/b"), "two").ok());
  ASSERT_TRUE(fs().WriteFileAtomic(Path("x/a"), "").ok());
  EXPECT_EQ(*fs().ReadFile(Path("x/b")), "two");
  EXPECT_EQ(Names(Path("x")), (std::vector<std::string>{"a", "b", "y"}));
  EXPECT_TRUE(*fs().Exists(Path("x/y")));
  EXPECT_FALSE(*fs().Exists(Path("x/c")));
  ASSERT_TRUE(fs().Rename(Path("x/b"), Path("x/y/c")).ok());
  EXPECT_EQ(Names(Path("x")), (std::vector<std::string>{"a", "y"}));
  EXPECT_EQ(*fs().ReadFile(Path("x/y/c")), "two");
  EXPECT_FALSE(fs().RemoveDirectory(Path("x/y")).ok());
  ASSERT_TRUE(fs().Remove(Path("x/y/c")).ok());
  ASSERT_TRUE(fs().RemoveDirectory(Path("x/y/z")).ok());
  ASSERT_TRUE(fs().RemoveDirectory(Path("x/y")).ok());
  EXPECT_EQ(Names(Path("x")), (std::vector<std::string>{"a"}));
  const auto empty = fs().Map(Path("x/a"));
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ((*empty)->size(), 0U);
}

TEST_P(FileSystemTest, MappingsOutliveTheirFile) {
  ASSERT_TRUE(fs().WriteFileAtomic(Path("a"), std::string(10000, 'q')).ok());
  const auto mapped = fs().Map(Path("a"));
  ASSERT_TRUE(fs().Remove(Path("a")).ok());
  EXPECT_EQ(static_cast<char>((*mapped)->data()[9999]), 'q');
  EXPECT_EQ(reinterpret_cast<uintptr_t>((*mapped)->data()) % 4096, 0U);
}

TEST_P(FileSystemTest, TheSecondLockerIsToldTheDirectory) {
  auto first = fs().Lock(directory_);
  ASSERT_TRUE(first.ok()) << first.status().ToString();
  const auto second = fs().Lock(directory_);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find(directory_), std::string::npos);
  (*first).reset();
  EXPECT_TRUE(fs().Lock(directory_).ok());
}

TEST_P(FileSystemTest, TellsFreeSpace) {
  const auto free = fs().FreeSpace(directory_);
  ASSERT_TRUE(free.ok());
  EXPECT_GT(*free, 0U);
}

TEST(PosixFileSystemTest, AFullDeviceIsDiskFull) {
  auto file = PosixFileSystem().OpenAppend("/dev/full", 0);
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_EQ((*file)->Append("x").code(), StatusCode::kDiskFull);
}

class FaultTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(fs_.CreateDirectories("d").ok()); }
  FaultFileSystem fs_;
};

TEST_F(FaultTest, ACrashLeavesOnlySyncedBytesOfSyncedNames) {
  auto kept = *fs_.Create("d/kept");
  ASSERT_TRUE(kept->Append("synced").ok());
  ASSERT_TRUE(kept->Sync().ok());
  ASSERT_TRUE(fs_.SyncDirectory("d").ok());
  ASSERT_TRUE(kept->Append(" lost").ok());
  auto nameless = *fs_.Create("d/nameless");
  ASSERT_TRUE(nameless->Append("x").ok());
  ASSERT_TRUE(nameless->Sync().ok());
  fs_.CrashAndDropUnsynced();
  EXPECT_EQ(*fs_.ReadFile("d/kept"), "synced");
  EXPECT_FALSE(*fs_.Exists("d/nameless"));
  EXPECT_EQ(kept->Append("after").code(), StatusCode::kIo);
  EXPECT_EQ(*fs_.ReadFile("d/kept"), "synced");
}

TEST_F(FaultTest, RemovalsAndRenamesComeBackWithoutADirectorySync) {
  ASSERT_TRUE(fs_.WriteFileAtomic("d/a", "a").ok());
  ASSERT_TRUE(fs_.WriteFileAtomic("d/b", "b").ok());
  ASSERT_TRUE(fs_.Remove("d/a").ok());
  ASSERT_TRUE(fs_.Rename("d/b", "d/c").ok());
  fs_.CrashAndDropUnsynced();
  EXPECT_EQ(*fs_.ReadFile("d/a"), "a");
  EXPECT_EQ(*fs_.ReadFile("d/b"), "b");
  EXPECT_FALSE(*fs_.Exists("d/c"));
}

TEST_F(FaultTest, AFailedSyncBreaksTheFileAndLosesItsBytes) {
  auto file = *fs_.Create("d/a");
  ASSERT_TRUE(file->Append("12").ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(fs_.SyncDirectory("d").ok());
  ASSERT_TRUE(file->Append("34").ok());
  fs_.FailAt(fs_.operations(), Fault::kError);
  EXPECT_EQ(file->Sync().code(), StatusCode::kIo);
  EXPECT_EQ(file->Sync().code(), StatusCode::kIo);
  EXPECT_EQ(file->Append("56").code(), StatusCode::kIo);
  fs_.CrashAndDropUnsynced();
  EXPECT_EQ(*fs_.ReadFile("d/a"), "12");
}

TEST_F(FaultTest, AFullDiskLeavesNothingOfTheAppend) {
  auto file = *fs_.Create("d/a");
  ASSERT_TRUE(file->Append("1234").ok());
  fs_.SetCapacity(6);
  EXPECT_EQ(file->Append("5678").code(), StatusCode::kDiskFull);
  EXPECT_EQ(*fs_.FreeSpace("d"), 2U);
  EXPECT_EQ(*fs_.ReadFile("d/a"), "1234");
  fs_.SetCapacity({});
  EXPECT_TRUE(file->Append("5678").ok());
  fs_.FailAt(fs_.operations(), Fault::kTornWrite);
  EXPECT_EQ(file->Append("9999").code(), StatusCode::kIo);
  EXPECT_EQ(*fs_.ReadFile("d/a"), "1234567899");
}

TEST_F(FaultTest, ReadFaultsHitTheChosenRead) {
  ASSERT_TRUE(fs_.WriteFileAtomic("d/a", "aaaa").ok());
  const uint64_t next = fs_.reads();
  fs_.FailReadAt(next, Fault::kShortRead);
  fs_.FailReadAt(next + 1, Fault::kFlippedBit);
  fs_.FailReadAt(next + 2, Fault::kError);
  EXPECT_FALSE(fs_.ReadFile("d/a").ok());
  EXPECT_EQ(*fs_.ReadFile("d/a"), "aaqa");
  EXPECT_FALSE(fs_.ReadFile("d/a").ok());
  EXPECT_EQ(*fs_.ReadFile("d/a"), "aaaa");
  EXPECT_TRUE(fs_.FlipBit("d/a", 4));
  EXPECT_EQ(*fs_.ReadFile("d/a"), "qaaa");
}

TEST_F(FaultTest, EverythingFailsFromTheCrashPointOn) {
  auto file = *fs_.Create("d/a");
  fs_.CrashAt(fs_.operations() + 1);
  EXPECT_TRUE(file->Append("1").ok());
  EXPECT_FALSE(fs_.crashed());
  EXPECT_FALSE(file->Sync().ok());
  EXPECT_TRUE(fs_.crashed());
  EXPECT_FALSE(file->Append("2").ok());
  EXPECT_FALSE(fs_.Exists("d/a").ok());
  EXPECT_FALSE(fs_.CountOperation("commit").ok());
  fs_.CrashProcess();
  EXPECT_EQ(*fs_.ReadFile("d/a"), "1");
  EXPECT_TRUE(fs_.CountOperation("commit").ok());
}

/// An atomic write keeps its promise wherever the machine stops, in both extremes of what a disk does.
TEST_F(FaultTest, AnAtomicWriteIsOldOrNewAtEveryCrashPoint) {
  const std::string before(3000, 'o');
  const std::string after(5000, 'n');
  for (uint64_t seed = 0; seed < 40; ++seed) {
    for (uint64_t point = 0; point < 8; ++point) {
      FaultFileSystem fs;
      ASSERT_TRUE(fs.CreateDirectories("d").ok());
      ASSERT_TRUE(fs.WriteFileAtomic("d/f", before).ok());
      fs.CrashAt(fs.operations() + point);
      const bool done = fs.WriteFileAtomic("d/f", after).ok();
      if (seed == 0) {
        fs.CrashAndDropUnsynced();
      } else {
        fs.CrashAndScramble(seed * 100 + point);
      }
      const std::string found = *fs.ReadFile("d/f");
      EXPECT_TRUE(done ? found == after : found == before || found == after) << "seed " << seed << " point " << point;
      ASSERT_TRUE(fs.WriteFileAtomic("d/f", after).ok());  // what the crash left does not stand in the way
    }
  }
}

TEST_F(FaultTest, AScrambledCrashIsTheSameForTheSameSeed) {
  const auto run = [](uint64_t seed) {
    FaultFileSystem fs;
    EXPECT_TRUE(fs.CreateDirectories("d").ok());
    auto file = *fs.Create("d/f");
    EXPECT_TRUE(file->Append(std::string(20000, 'a')).ok());
    EXPECT_TRUE(file->Sync().ok());
    EXPECT_TRUE(fs.SyncDirectory("d").ok());
    EXPECT_TRUE(file->Append(std::string(20000, 'b')).ok());
    fs.CrashAndScramble(seed);
    return *fs.ReadFile("d/f");
  };
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::string found = run(seed);
    EXPECT_EQ(found, run(seed));
    EXPECT_EQ(found.substr(0, 20000), std::string(20000, 'a'));
    outcomes.insert(found);
  }
  EXPECT_GT(outcomes.size(), 8U);
}

TEST_F(FaultTest, IgnoredSyncsKeepNothing) {
  fs_.IgnoreSyncs(true);
  ASSERT_TRUE(fs_.WriteFileAtomic("d/f", "x").ok());
  fs_.CrashAndDropUnsynced();
  EXPECT_FALSE(*fs_.Exists("d/f"));
}

}  // namespace
}  // namespace quiver::io
