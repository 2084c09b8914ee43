// Fuzzes the log reader: arbitrary bytes stand as the log's files. It must refuse them or recover, and what it recovers
// must stay the same and take further records.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/fault_file_system.h"
#include "storage/log_store.h"

namespace {

using quiver::Status;
using quiver::storage::LogEntry;

void Require(bool condition) {
  if (!condition) std::abort();
}

std::vector<std::string> Payloads(const quiver::storage::LogStore& log, bool& sound) {
  std::vector<std::string> payloads;
  sound = log.Read(log.begin_offset(),
                   [&](uint64_t, const LogEntry& entry) {
                     payloads.emplace_back(entry.payload);
                     return Status::Ok();
                   })
              .ok();
  return payloads;
}

}  // namespace

/// The first byte splits the rest over two files; the second file's name is where its first eight bytes say.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  quiver::io::FaultFileSystem fs;
  Require(fs.CreateDirectories("log").ok());
  const size_t cut = std::min<size_t>(size_t{data[0]} * 8, size - 1);
  Require(fs.WriteFileAtomic("log/00000000000000000000.log", input.substr(1 + cut)).ok());
  if (cut >= 16) {
    uint64_t first = 0;
    for (int i = 0; i < 8; ++i) first |= uint64_t{data[1 + i]} << (8 * i);
    Require(fs.WriteFileAtomic(fmt::format("log/{:020}.log", first), input.substr(9, cut - 8)).ok());
  }
  quiver::storage::LocalLogOptions options;
  options.segment_bytes = 4096;
  options.preallocate_bytes = 256;
  auto opened = quiver::storage::OpenLocalLog(fs, "log", options);
  if (!opened.ok()) return 0;
  bool sound = false;
  std::vector<std::string> before = Payloads(**opened, sound);
  LogEntry entry;
  entry.payload = "appended";
  Require((*opened)->Append(std::span(&entry, 1)).ok());
  Require((*opened)->Sync().ok());
  (*opened).reset();
  fs.CrashAndDropUnsynced();
  opened = quiver::storage::OpenLocalLog(fs, "log", options);
  Require(opened.ok());
  if (!sound) return 0;
  before.emplace_back("appended");
  Require(Payloads(**opened, sound) == before && sound);
  return 0;
}
