// Fuzzes the log reader: arbitrary bytes stand as the log's files. It must refuse them or recover, and what it recovers
// must stay the same and take further records.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/crc32c.h"
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

/// Makes the checksums fit wherever something looks like a header, so that what lies behind them is reached too.
std::string WithChecksums(std::string_view input) {
  std::string file(input);
  const std::string_view view = file;
  const auto put = [&](size_t position, uint32_t value) { std::memcpy(file.data() + position, &value, sizeof(value)); };
  if (file.size() >= 64) put(60, quiver::Crc32c(view.substr(0, 60)));
  for (size_t at = 64; at + 64 <= file.size(); at += 8) {
    if (view.substr(at, 4) != "QREC") continue;
    uint32_t length = 0;
    std::memcpy(&length, file.data() + at + 8, sizeof(length));
    if (length <= file.size() - at - 64) put(at + 12, quiver::Crc32c(view.substr(at + 64, length)));
    put(at + 4, quiver::Crc32c(view.substr(at + 8, 56)));
  }
  return file;
}

}  // namespace

/// The first byte splits the rest over two files and says whether checksums are made to fit; the second file's name is
/// where its first eight bytes say.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  quiver::io::FaultFileSystem fs;
  Require(fs.CreateDirectories("log").ok());
  const size_t cut = std::min<size_t>(size_t{data[0] / 2U} * 16, size - 1);
  const bool fit = data[0] % 2 == 1;
  const auto contents = [&](std::string_view piece) { return fit ? WithChecksums(piece) : std::string(piece); };
  Require(fs.WriteFileAtomic("log/00000000000000000000.log", contents(input.substr(1 + cut))).ok());
  if (cut >= 16) {
    uint64_t first = 0;
    for (int i = 0; i < 8; ++i) first |= uint64_t{data[1 + i]} << (8 * i);
    Require(fs.WriteFileAtomic(fmt::format("log/{:020}.log", first), contents(input.substr(9, cut - 8))).ok());
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
  // Damage to a payload that had been synced is found when it is read; once the record behind it says that it had been
  // synced, opening may find it too.
  if (!sound) return 0;
  Require(opened.ok());
  before.emplace_back("appended");
  Require(Payloads(**opened, sound) == before && sound);
  return 0;
}
