#include "storage/log_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <thread>

#include "io/fault_file_system.h"

namespace quiver::storage {
namespace {

using io::Fault;
using io::FaultFileSystem;

struct Record {
  uint64_t offset = 0;
  uint64_t stream = 0;
  uint64_t timestamp = 0;
  uint8_t kind = 0;
  std::string payload;

  bool operator==(const Record&) const = default;
};

LocalLogOptions Small() {
  LocalLogOptions options;
  options.segment_bytes = 1024;
  options.preallocate_bytes = 512;
  return options;
}

std::unique_ptr<LogStore> MustOpen(io::FileSystem& fs, const LocalLogOptions& options = Small()) {
  auto log = OpenLocalLog(fs, "data/log", options);
  EXPECT_TRUE(log.ok()) << log.status().ToString();
  return log.ok() ? *std::move(log) : nullptr;
}

std::vector<Record> ReadAll(const LogStore& log, uint64_t from = UINT64_MAX) {
  std::vector<Record> records;
  const Status status =
      log.Read(from == UINT64_MAX ? log.begin_offset() : from, [&](uint64_t offset, const LogEntry& entry) {
        records.push_back({offset, entry.stream, entry.timestamp, entry.kind, std::string(entry.payload)});
        return Status::Ok();
      });
  EXPECT_TRUE(status.ok()) << status.ToString();
  return records;
}

Result<uint64_t> AppendOne(LogStore& log, std::string_view payload, uint64_t stream = 1) {
  LogEntry entry;
  entry.stream = stream;
  entry.timestamp = 5;
  entry.kind = 3;
  entry.payload = payload;
  return log.Append(std::span(&entry, 1));
}

std::string Payload(std::mt19937_64& random, size_t size) {
  std::string payload(size, '\0');
  for (char& c : payload) c = static_cast<char>(random());
  return payload;
}

TEST(LogStoreTest, ReplaysGroupsWithPartsInOrder) {
  FaultFileSystem fs;
  auto log = MustOpen(fs);
  EXPECT_EQ(log->begin_offset(), 0U);
  EXPECT_EQ(log->end_offset(), 0U);
  const std::string big(5000, 'b');
  const std::array<std::string_view, 3> parts{"xyz", big, "end"};
  std::vector<LogEntry> group(3);
  group[0] = {.stream = 7, .timestamp = 100, .kind = 1, .payload = "first", .parts = {}, .epoch = 0};
  group[1] = {.stream = 8, .timestamp = 101, .kind = 2, .payload = "head", .parts = parts, .epoch = 0};
  group[2] = {.stream = 0, .timestamp = 102, .kind = 239, .payload = "", .parts = {}, .epoch = 0};
  const auto end = log->Append(group);
  ASSERT_TRUE(end.ok()) << end.status().ToString();
  EXPECT_EQ(*end, log->end_offset());
  EXPECT_EQ(log->synced_offset(), 0U);
  ASSERT_TRUE(log->Sync().ok());
  EXPECT_EQ(log->synced_offset(), *end);
  EXPECT_EQ(log->sync_count(), 1U);
  const auto records = ReadAll(*log);
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[0], (Record{0, 7, 100, 1, "first"}));
  EXPECT_EQ(records[1].payload, "headxyz" + big + "end");
  EXPECT_EQ(records[2].payload, "");
  EXPECT_EQ(ReadAll(*log, records[1].offset).size(), 2U);
  EXPECT_EQ(ReadAll(*log, records[1].offset + 8).size(), 1U);  // the first entry at or behind the offset
  EXPECT_TRUE(ReadAll(*log, *end).empty());
}

TEST(LogStoreTest, SpreadsOverFilesAndReopens) {
  FaultFileSystem fs;
  std::vector<std::string> payloads;
  std::mt19937_64 random(1);
  uint64_t end = 0;
  uint64_t epoch = 0;
  for (int round = 0; round < 5; ++round) {
    auto log = MustOpen(fs);
    EXPECT_EQ(log->end_offset(), end);
    EXPECT_GT(log->epoch(), epoch);
    epoch = log->epoch();
    for (int i = 0; i < 20; ++i) {
      payloads.push_back(Payload(random, random() % 300));
      ASSERT_TRUE(AppendOne(*log, payloads.back()).ok());
    }
    ASSERT_TRUE(log->Sync().ok());
    if (round % 2 == 0) {
      ASSERT_TRUE(log->Close().ok());
    }
    end = log->end_offset();
    const auto records = ReadAll(*log);
    ASSERT_EQ(records.size(), payloads.size());
    for (size_t i = 0; i < records.size(); ++i) EXPECT_EQ(records[i].payload, payloads[i]);
  }
  EXPECT_GT(fs.List("data/log")->size(), 5U);
}

TEST(LogStoreTest, KeepsARecordLargerThanAFile) {
  FaultFileSystem fs;
  auto log = MustOpen(fs);
  ASSERT_TRUE(AppendOne(*log, "small").ok());
  const std::string large(3 << 20, 'l');
  ASSERT_TRUE(AppendOne(*log, large).ok());
  ASSERT_TRUE(AppendOne(*log, "after").ok());
  ASSERT_TRUE(log->Sync().ok());
  log = MustOpen(fs);
  const auto records = ReadAll(*log);
  ASSERT_EQ(records.size(), 3U);
  EXPECT_EQ(records[1].payload, large);
}

TEST(LogStoreTest, RefusesWhatItCannotKeepAndWritesNothingOfTheGroup) {
  FaultFileSystem fs;
  auto log = MustOpen(fs);
  const std::string half(kMaxLogPayload / 2 + 1, 'x');
  const std::array<std::string_view, 1> parts{half};
  std::vector<LogEntry> group(2);
  group[0].payload = "fine";
  group[1].payload = half;
  group[1].parts = parts;
  EXPECT_EQ(log->Append(group).status().code(), StatusCode::kTooLarge);
  group[1] = {};
  group[1].kind = kFirstReservedKind;
  EXPECT_EQ(log->Append(group).status().code(), StatusCode::kInvalidParameter);
  EXPECT_EQ(log->end_offset(), 0U);
  EXPECT_TRUE(AppendOne(*log, "next").ok());
}

TEST(LogStoreTest, TruncatesWholeFilesOnly) {
  FaultFileSystem fs;
  auto log = MustOpen(fs);
  std::vector<uint64_t> offsets;
  for (int i = 0; i < 40; ++i) {
    offsets.push_back(log->end_offset());
    ASSERT_TRUE(AppendOne(*log, std::string(100, static_cast<char>('a' + i % 26))).ok());
  }
  ASSERT_TRUE(log->TruncateBefore(offsets[30]).ok());
  EXPECT_EQ(log->begin_offset(), 0U) << "nothing was synced, so nothing may go";
  ASSERT_TRUE(log->Sync().ok());
  ASSERT_TRUE(log->TruncateBefore(offsets[30]).ok());
  EXPECT_GT(log->begin_offset(), 0U);
  EXPECT_LE(log->begin_offset(), offsets[30]);
  EXPECT_EQ(ReadAll(*log, offsets[30]).size(), 10U);
  EXPECT_EQ(log->Read(0, [](uint64_t, const LogEntry&) { return Status::Ok(); }).code(), StatusCode::kCorruption);
  EXPECT_LT(log->byte_size(), log->end_offset());
  fs.CrashAndDropUnsynced();
  log = MustOpen(fs);
  EXPECT_EQ(ReadAll(*log, offsets[30]).size(), 10U);
  ASSERT_TRUE(log->TruncateBefore(UINT64_MAX).ok());
  EXPECT_LE(log->begin_offset(), log->end_offset());
  EXPECT_EQ(fs.List("data/log")->size(), 1U);
}

TEST(LogStoreTest, ATornEndIsCutAndCounted) {
  FaultFileSystem fs;
  auto log = MustOpen(fs);
  ASSERT_TRUE(AppendOne(*log, "kept").ok());
  ASSERT_TRUE(log->Sync().ok());
  fs.FailAt(fs.operations(), Fault::kTornWrite);
  EXPECT_EQ(AppendOne(*log, std::string(200, 't')).status().code(), StatusCode::kForceDeny);
  fs.CrashProcess();
  log = MustOpen(fs);
  EXPECT_GT(log->torn_bytes(), 0U);
  EXPECT_EQ(ReadAll(*log).size(), 1U);
  ASSERT_TRUE(AppendOne(*log, "next").ok());
  ASSERT_TRUE(log->Sync().ok());
  log = MustOpen(fs);
  EXPECT_EQ(log->torn_bytes(), 0U);
  EXPECT_EQ(ReadAll(*log).size(), 2U);
}

/// Flips every bit of a cleanly closed log in turn: each is refused with the file and a position, or, where the bit
/// does not matter, changes nothing.
TEST(LogStoreTest, DamageInAClosedLogIsRefusedWithFileAndOffset) {
  FaultFileSystem fs;
  {
    auto log = MustOpen(fs);
    for (int i = 0; i < 12; ++i) {
      ASSERT_TRUE(AppendOne(*log, "payload number " + std::to_string(i)).ok());  // one group, one sync
    }
    ASSERT_TRUE(log->Sync().ok());
    ASSERT_TRUE(log->Close().ok());
  }
  size_t refused = 0;
  size_t lost_mark_only = 0;
  const auto files = *fs.List("data/log");
  ASSERT_GE(files.size(), 2U);
  for (const io::DirectoryEntry& file : files) {
    const std::string path = "data/log/" + file.name;
    const std::string contents = *fs.ReadFile(path);
    for (uint64_t byte = 0; byte < contents.size(); ++byte) {
      FaultFileSystem copy;
      ASSERT_TRUE(copy.CreateDirectories("data/log").ok());
      for (const io::DirectoryEntry& each : files) {
        const std::string name = "data/log/" + each.name;
        ASSERT_TRUE(copy.WriteFileAtomic(name, *fs.ReadFile(name)).ok());
      }
      ASSERT_TRUE(copy.FlipBit(path, byte * 8 + byte % 8));
      auto log = OpenLocalLog(copy, "data/log", Small());
      Status status = log.status();
      size_t count = 0;
      if (log.ok()) {
        status = (*log)->Read(0, [&](uint64_t, const LogEntry& entry) {
          EXPECT_EQ(entry.payload, "payload number " + std::to_string(count));
          ++count;
          return Status::Ok();
        });
      }
      if (status.ok()) {
        ASSERT_EQ(count, 12U) << path << " byte " << byte;
        if ((*log)->torn_bytes() > 0) ++lost_mark_only;
      } else {
        EXPECT_EQ(status.code(), StatusCode::kCorruption);
        EXPECT_NE(status.message().find(path), std::string::npos) << status.message();
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 12 * 70U);
  EXPECT_GT(lost_mark_only, 60U);  // the mark itself carries no data
}

TEST(LogStoreTest, DamageBeforeALaterSyncIsRefusedWithoutACleanClose) {
  FaultFileSystem fs;
  auto log = MustOpen(fs);
  ASSERT_TRUE(AppendOne(*log, "one").ok());
  ASSERT_TRUE(log->Sync().ok());
  ASSERT_TRUE(AppendOne(*log, "two").ok());
  ASSERT_TRUE(log->Sync().ok());
  fs.CrashAndDropUnsynced();
  ASSERT_TRUE(fs.FlipBit("data/log/00000000000000000000.log", (64 + 64 + 1) * 8));
  const auto reopened = OpenLocalLog(fs, "data/log", Small());
  ASSERT_FALSE(reopened.ok());
  EXPECT_EQ(
      reopened.status().message(),
      "data/log/00000000000000000000.log is damaged at byte 64: the record there is not sound, but ones behind it are");
}

TEST(LogStoreTest, AMissingFileInTheMiddleIsRefused) {
  FaultFileSystem fs;
  {
    auto log = MustOpen(fs);
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(AppendOne(*log, std::string(100, 'x')).ok());
    ASSERT_TRUE(log->Close().ok());
  }
  const auto files = *fs.List("data/log");
  ASSERT_TRUE(fs.Remove("data/log/" + files[2].name).ok());
  auto log = OpenLocalLog(fs, "data/log", Small());
  const Status status =
      log.ok() ? (*log)->Read(0, [](uint64_t, const LogEntry&) { return Status::Ok(); }) : log.status();
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_NE(status.message().find("data/log/"), std::string::npos);
}

TEST(LogStoreTest, ANewerFormatVersionIsRefused) {
  FaultFileSystem fs;
  MustOpen(fs).reset();
  ASSERT_TRUE(fs.FlipBit("data/log/00000000000000000000.log", 8 * 8 + 1));  // version 1 becomes 3
  const auto log = OpenLocalLog(fs, "data/log", Small());
  ASSERT_FALSE(log.ok());
  EXPECT_NE(log.status().message().find("format version 3"), std::string::npos) << log.status().message();
}

TEST(LogStoreTest, AFullDiskRefusesTheGroupAndGoesOnLater) {
  for (uint64_t capacity = 100; capacity < 2600; capacity += 60) {
    FaultFileSystem fs;
    auto log = MustOpen(fs);
    fs.SetCapacity(capacity);
    std::vector<std::string> kept;
    int refused = 0;
    for (int i = 0; i < 20; ++i) {
      const std::string payload(static_cast<size_t>(50 + i), static_cast<char>('a' + i));
      const auto end = AppendOne(*log, payload);
      if (end.ok()) {
        kept.push_back(payload);
        ASSERT_TRUE(log->Sync().ok());
      } else {
        ++refused;
        EXPECT_EQ(end.status().code(), StatusCode::kDiskFull) << end.status().ToString();
      }
      if (refused == 3) fs.SetCapacity({});
    }
    fs.CrashAndScramble(capacity);
    log = MustOpen(fs);
    const auto records = ReadAll(*log);
    ASSERT_EQ(records.size(), kept.size()) << capacity;
    for (size_t i = 0; i < kept.size(); ++i) EXPECT_EQ(records[i].payload, kept[i]);
  }
}

TEST(LogStoreTest, AFailedSyncPoisonsTheLog) {
  FaultFileSystem fs;
  auto log = MustOpen(fs);
  ASSERT_TRUE(AppendOne(*log, "kept").ok());
  ASSERT_TRUE(log->Sync().ok());
  ASSERT_TRUE(AppendOne(*log, "never acknowledged").ok());
  fs.FailAt(fs.operations(), Fault::kError);
  EXPECT_EQ(log->Sync().code(), StatusCode::kForceDeny);
  EXPECT_EQ(log->Sync().code(), StatusCode::kForceDeny);
  EXPECT_EQ(AppendOne(*log, "x").status().code(), StatusCode::kForceDeny);
  EXPECT_EQ(log->Close().code(), StatusCode::kForceDeny);
  fs.CrashAndDropUnsynced();
  log = MustOpen(fs);
  EXPECT_EQ(ReadAll(*log).size(), 1U);
}

TEST(LogStoreTest, AsynchronousModeReturnsAtOnceAndStillSyncsOnRotationAndClose) {
  FaultFileSystem fs;
  LocalLogOptions options = Small();
  options.sync = false;
  auto log = MustOpen(fs, options);
  ASSERT_TRUE(AppendOne(*log, "x").ok());
  ASSERT_TRUE(log->Sync().ok());
  EXPECT_EQ(log->synced_offset(), 0U);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(AppendOne(*log, std::string(100, 'x')).ok());
  EXPECT_GT(log->synced_offset(), 1000U);
  ASSERT_TRUE(log->Close().ok());
  fs.CrashAndDropUnsynced();
  EXPECT_EQ(ReadAll(*MustOpen(fs, options)).size(), 21U);
}

/// A random history of appends, syncs, truncations and closes up to the crash point; then what the disk kept is opened
/// and compared with the model.
class LogHistory {
 public:
  explicit LogHistory(uint64_t seed) : random_(seed) {}

  /// Runs until the first failure (the crash) or the end.
  void Run(io::FileSystem& fs, int steps) {
    auto opened = OpenLocalLog(fs, "data/log", Small());
    if (!opened.ok()) return;
    const std::unique_ptr<LogStore> log = *std::move(opened);
    for (int step = 0; step < steps; ++step) {
      const uint64_t choice = random_() % 100;
      if (choice < 60) {
        std::vector<std::string> payloads(1 + random_() % 4);
        std::vector<LogEntry> group;
        uint64_t offset = log->end_offset();
        std::vector<Record> records;
        for (std::string& payload : payloads) {
          payload = Payload(random_, random_() % 200);
          LogEntry entry;
          entry.stream = random_() % 5;
          entry.timestamp = ++timestamp_;
          entry.kind = static_cast<uint8_t>(random_() % 200);
          entry.payload = payload;
          group.push_back(entry);
          records.push_back({offset, entry.stream, entry.timestamp, entry.kind, payload});
          offset += 64 + (payload.size() + 7) / 8 * 8;
        }
        // Once written, a group may survive although it was never acknowledged.
        written_.insert(written_.end(), records.begin(), records.end());
        const auto end = log->Append(group);
        if (!end.ok()) return;
        ASSERT_EQ(*end, offset);
      } else if (choice < 90) {
        const uint64_t end = log->end_offset();
        if (!log->Sync().ok()) return;
        acknowledged_ = end;
      } else if (choice < 97) {
        const uint64_t target = acknowledged_ == 0 ? 0 : random_() % acknowledged_;
        truncated_ = std::max(truncated_, target);
        if (!log->TruncateBefore(target).ok()) return;
      } else {
        if (log->Close().ok()) acknowledged_ = log->end_offset();
        return;
      }
    }
  }

  /// Opens and compares. What survived becomes the model from here on.
  void Check(io::FileSystem& fs) {
    auto opened = OpenLocalLog(fs, "data/log", Small());
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    const LogStore& log = **opened;
    ASSERT_GE(log.end_offset(), acknowledged_) << "synced records are lost";
    ASSERT_LE(log.begin_offset(), truncated_) << "more than asked for was cut";
    const std::vector<Record> found = ReadAll(log);
    std::vector<Record> expected;
    for (const Record& record : written_) {
      if (record.offset >= log.begin_offset() && record.offset < log.end_offset()) expected.push_back(record);
    }
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) ASSERT_EQ(found[i], expected[i]);
    std::erase_if(written_, [&](const Record& record) { return record.offset >= log.end_offset(); });
    acknowledged_ = log.end_offset();  // what recovery serves is durable from then on
  }

 private:
  std::mt19937_64 random_;
  std::vector<Record> written_;
  uint64_t acknowledged_ = 0;
  uint64_t truncated_ = 0;
  uint64_t timestamp_ = 0;
};

TEST(LogStoreFaultTest, NothingSyncedIsLostWhereverTheMachineStops) {
  size_t crashes = 0;
  for (uint64_t seed = 1; seed <= 16; ++seed) {
    uint64_t operations = 0;
    {
      FaultFileSystem fs;
      LogHistory(seed).Run(fs, 60);
      operations = fs.operations();
    }
    for (uint64_t point = 0; point < operations; ++point) {
      for (uint64_t how = 0; how < 6; ++how) {
        SCOPED_TRACE(fmt::format("seed {} crash point {} how {}", seed, point, how));
        FaultFileSystem fs;
        LogHistory history(seed);
        fs.CrashAt(point);
        for (int life = 0; life < 3; ++life) {
          history.Run(fs, 60);
          if (how == 0) {
            fs.CrashAndDropUnsynced();
          } else if (how == 1) {
            fs.CrashProcess();
          } else {
            fs.CrashAndScramble(seed * 1000003 + point * 101 + how + static_cast<uint64_t>(life) * 7);
          }
          history.Check(fs);
          if (testing::Test::HasFatalFailure()) return;
          // The recovery's own work is crashed too, in the next life.
          fs.CrashAt(fs.operations() + point % 13);
          ++crashes;
        }
      }
    }
  }
  EXPECT_GT(crashes, 1000U);
}

TEST(LogStoreFaultTest, RecoveryItselfMayCrashAnywhere) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    for (uint64_t point = 0; point < 12; ++point) {
      SCOPED_TRACE(fmt::format("seed {} recovery crash point {}", seed, point));
      FaultFileSystem fs;
      LogHistory history(seed);
      history.Run(fs, 40);
      fs.CrashAndScramble(seed);
      fs.CrashAt(fs.operations() + point);
      {
        [[maybe_unused]] const auto log = OpenLocalLog(fs, "data/log", Small());
      }
      fs.CrashAndScramble(seed + point);
      history.Check(fs);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(LogStoreFaultTest, ABuildThatForgetsToSyncIsFound) {
  size_t noticed = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    FaultFileSystem fs;
    auto log = MustOpen(fs);
    fs.IgnoreSyncs(true);
    ASSERT_TRUE(AppendOne(*log, "acknowledged").ok());
    ASSERT_TRUE(log->Sync().ok());
    const uint64_t end = log->end_offset();
    fs.CrashAndDropUnsynced();
    if (MustOpen(fs)->end_offset() < end) ++noticed;
  }
  EXPECT_EQ(noticed, 20U);
}

TEST(LogStoreTest, AppendsWhileAnotherThreadSyncs) {
  std::string pattern = testing::TempDir() + "quiver_log_XXXXXX";
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  constexpr uint64_t kGroups = 3000;
  std::atomic<uint64_t> syncs_seen{0};
  LocalLogOptions options;
  options.segment_bytes = 64 << 10;
  options.preallocate_bytes = 16 << 10;
  options.on_sync = [&](double seconds) {
    EXPECT_GE(seconds, 0);
    syncs_seen.fetch_add(1);
  };
  {
    auto log = OpenLocalLog(io::PosixFileSystem(), pattern + "/log", options);
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    LogStore& store = **log;
    std::atomic<bool> done{false};
    std::thread syncer([&] {
      while (!done.load()) {
        const uint64_t before = store.end_offset();
        ASSERT_TRUE(store.Sync().ok());
        ASSERT_GE(store.synced_offset(), before);
        ASSERT_TRUE(store.TruncateBefore(store.synced_offset() / 4).ok());
      }
    });
    for (uint64_t i = 0; i < kGroups; ++i) ASSERT_TRUE(AppendOne(store, "payload " + std::to_string(i), i).ok());
    done.store(true);
    syncer.join();
    ASSERT_TRUE(store.Close().ok());
    EXPECT_EQ(store.sync_count(), syncs_seen.load());
  }
  auto log = OpenLocalLog(io::PosixFileSystem(), pattern + "/log", options);
  ASSERT_TRUE(log.ok()) << log.status().ToString();
  const auto records = ReadAll(**log);
  ASSERT_FALSE(records.empty());
  uint64_t expected = records.front().stream;
  for (const Record& record : records) EXPECT_EQ(record.stream, expected++);
  EXPECT_EQ(expected, kGroups);
  std::filesystem::remove_all(pattern);
}

}  // namespace
}  // namespace quiver::storage
