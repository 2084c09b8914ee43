#include "storage/log_repair.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "io/fault_file_system.h"
#include "storage/log_store.h"

namespace quiver::storage {
namespace {

constexpr uint64_t kRecords = 60;

using Records = std::map<uint64_t, std::string>;  // payloads by timestamp

LocalLogOptions SmallFiles() { return {.segment_bytes = 1500, .preallocate_bytes = 0}; }

/// Writes records in several files; closed cleanly.
Records WriteLog(io::FaultFileSystem& files) {
  Records records;
  auto log = OpenLocalLog(files, "data/log", SmallFiles());
  EXPECT_TRUE(log.ok());
  for (uint64_t i = 1; i <= kRecords; ++i) {
    const std::string payload = "payload " + std::to_string(i) + std::string(i % 90, '.');
    const LogEntry entry{.stream = 7, .timestamp = i * 10, .kind = 1, .payload = payload};
    EXPECT_TRUE((*log)->Append(std::span(&entry, 1)).ok());
    EXPECT_TRUE((*log)->Sync().ok());
    records[i * 10] = payload;
  }
  EXPECT_TRUE((*log)->Close().ok());
  return records;
}

Result<Records> ReadLog(io::FaultFileSystem& files) {
  QUIVER_ASSIGN_OR_RETURN(const auto log, OpenLocalLog(files, "data/log", SmallFiles()));
  Records records;
  QUIVER_RETURN_IF_ERROR(log->Read(log->begin_offset(), [&](uint64_t, const LogEntry& entry) {
    EXPECT_EQ(entry.stream, 7U);
    records[entry.timestamp] = entry.payload;
    return Status::Ok();
  }));
  return records;
}

std::vector<std::string> LogNames(io::FaultFileSystem& files) {
  std::vector<std::string> names;
  const auto entries = files.List("data/log");
  EXPECT_TRUE(entries.ok());
  if (!entries.ok()) return names;
  for (const auto& entry : *entries) names.push_back(entry.name);
  return names;
}

TEST(LogRepair, KeepsEverySoundRecordWhereverABitFlips) {
  std::mt19937_64 random(1);
  int losses = 0;
  for (int round = 0; round < 100; ++round) {
    io::FaultFileSystem files;
    const Records written = WriteLog(files);
    const std::vector<std::string> names = LogNames(files);
    ASSERT_GT(names.size(), 3U);
    const std::string& name = names[random() % names.size()];
    const uint64_t bytes = (*files.OpenRead("data/log/" + name))->size();
    const uint64_t byte = random() % bytes;
    SCOPED_TRACE(name + " byte " + std::to_string(byte));
    ASSERT_TRUE(files.FlipBit("data/log/" + name, byte * 8 + random() % 8));
    const auto damaged = ReadLog(files);

    const auto salvage = SalvageLocalLog(files, "data");
    if (!salvage.ok()) {
      EXPECT_NE(salvage.status().message().find("format version"), std::string::npos) << salvage.status().ToString();
      continue;
    }
    ASSERT_TRUE(InstallLog(files, "data").ok());
    const auto kept = ReadLog(files);
    ASSERT_TRUE(kept.ok()) << kept.status().ToString();
    EXPECT_EQ(salvage->records, kept->size());
    for (const auto& [timestamp, payload] : *kept) EXPECT_EQ(written.at(timestamp), payload);
    ASSERT_LE(salvage->holes.size(), 1U);
    if (salvage->holes.empty()) {
      EXPECT_EQ(*kept, written) << "what is lost must be told";
      continue;
    }
    // One record at most, between the two that are named.
    ++losses;
    EXPECT_FALSE(damaged.ok());
    const LogHole& hole = salvage->holes.front();
    EXPECT_EQ(hole.file, name);
    EXPECT_GE(byte + 8, hole.position);
    EXPECT_LT(byte, hole.position + hole.bytes);
    EXPECT_GE(kept->size() + 1, written.size());
    for (const auto& [timestamp, payload] : written) {
      if (kept->contains(timestamp)) continue;
      EXPECT_EQ(hole.after, timestamp - 10);
      EXPECT_TRUE(hole.before == 0 || hole.before == timestamp + 10);
    }
    EXPECT_EQ(salvage->records_behind, hole.before == 0 ? 0 : (kRecords * 10 - hole.before) / 10 + 1);
    EXPECT_TRUE(*files.Exists("data/quarantine/log-" + name));
  }
  EXPECT_GT(losses, 30);
}

TEST(LogRepair, TellsOfAMissingFile) {
  io::FaultFileSystem files;
  const Records written = WriteLog(files);
  const std::vector<std::string> names = LogNames(files);
  ASSERT_TRUE(files.Remove("data/log/" + names[1]).ok());
  EXPECT_FALSE(ReadLog(files).ok());
  const auto salvage = SalvageLocalLog(files, "data");
  ASSERT_TRUE(salvage.ok()) << salvage.status().ToString();
  ASSERT_EQ(salvage->holes.size(), 1U);
  EXPECT_EQ(salvage->holes.front().file, names[0]);
  ASSERT_TRUE(InstallLog(files, "data").ok());
  const auto kept = ReadLog(files);
  ASSERT_TRUE(kept.ok());
  EXPECT_LT(kept->size(), written.size());
  EXPECT_EQ(kept->size(), salvage->records);
}

TEST(LogRepair, ASalvageAloneChangesNothing) {
  io::FaultFileSystem files;
  const Records written = WriteLog(files);
  ASSERT_TRUE(SalvageLocalLog(files, "data").ok());
  ASSERT_TRUE(FinishLogRepair(files, "data").ok());
  EXPECT_FALSE(*files.Exists("data/log.repaired"));
  EXPECT_EQ(*ReadLog(files), written);
}

TEST(LogRepair, ACrashAtAnyPointLeavesTheOldLogOrTheNewOne) {
  int finished = 0;
  for (uint64_t point = 0;; ++point) {
    SCOPED_TRACE(point);
    io::FaultFileSystem files;
    const Records written = WriteLog(files);
    const std::string name = LogNames(files)[2];
    ASSERT_TRUE(files.FlipBit("data/log/" + name, (64 + 70) * 8));
    ASSERT_FALSE(ReadLog(files).ok());
    files.CrashAt(files.operations() + point);
    const bool done = SalvageLocalLog(files, "data").ok() && InstallLog(files, "data").ok();
    if (done) break;
    if (point % 2 == 0) {
      files.CrashAndDropUnsynced();
    } else {
      files.CrashAndScramble(point);
    }
    const Status ended = FinishLogRepair(files, "data");
    ASSERT_TRUE(ended.ok()) << ended.ToString();
    const auto records = ReadLog(files);
    if (records.ok()) {
      EXPECT_EQ(records->size(), written.size() - 1);
      ++finished;
    } else {
      ASSERT_TRUE(SalvageLocalLog(files, "data").ok());
      ASSERT_TRUE(InstallLog(files, "data").ok());
      EXPECT_EQ(ReadLog(files)->size(), written.size() - 1);
    }
  }
  EXPECT_GT(finished, 3);
}

}  // namespace
}  // namespace quiver::storage
