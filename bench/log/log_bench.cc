// log_bench: what the log, its checksums and this disk can do.
//   log_bench [DIRECTORY] [SECONDS]       (default: the current directory, 2 seconds for each line)
// Prints CRC-32C in GB/s, the disk's own fdatasync rate, appends with a sync each, appends of two threads with group
// commit, and replay in MB/s. Replay checks that every record comes back.
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/crc32c.h"
#include "io/file_system.h"
#include "storage/log_store.h"

namespace {

using namespace quiver;           // NOLINT: a program of one file
using namespace quiver::storage;  // NOLINT
using Clock = std::chrono::steady_clock;

double Since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

void Require(const Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "log_bench: {}\n", status.ToString());
  std::exit(1);
}

template <typename T>
T Require(Result<T> result) {
  Require(result.status());
  return *std::move(result);
}

std::unique_ptr<LogStore> Open(const std::string& directory) {
  std::filesystem::remove_all(directory);
  return Require(OpenLocalLog(io::PosixFileSystem(), directory, {}));
}

void BenchCrc(double seconds) {
  for (const size_t size : {size_t{64}, size_t{1024}, size_t{64} << 10, size_t{1} << 20}) {
    const std::string bytes(size, 'x');
    uint64_t done = 0;
    uint32_t crc = 0;
    const auto begin = Clock::now();
    while (Since(begin) < seconds / 4) {
      for (int i = 0; i < 100; ++i) crc = Crc32c(bytes, crc);
      done += 100 * size;
    }
    fmt::print("crc32c {:>8} bytes            {:8.2f} GB/s   ({:08x})\n", size,
               static_cast<double>(done) / Since(begin) / 1e9, crc);
  }
}

/// What the disk allows: one write and one fdatasync after the other on a reserved file.
void BenchDisk(const std::string& directory, size_t bytes, double seconds) {
  const std::string path = directory + "/disk";
  std::filesystem::remove(path);
  const auto file = Require(io::PosixFileSystem().Create(path));
  Require(file->Preallocate(uint64_t{64} << 20));
  const std::string block(bytes, 'x');
  uint64_t syncs = 0;
  const auto begin = Clock::now();
  while (Since(begin) < seconds && file->size() + bytes < uint64_t{64} << 20) {
    Require(file->Append(block));
    Require(file->Sync());
    ++syncs;
  }
  fmt::print("disk  {:>8} bytes            {:8.0f} fdatasync/s\n", bytes, static_cast<double>(syncs) / Since(begin));
  std::filesystem::remove(path);
}

void BenchAppendSync(const std::string& directory, size_t bytes, double seconds) {
  const auto log = Open(directory + "/log");
  const std::string payload(bytes, 'x');
  LogEntry entry;
  entry.stream = 1;
  entry.payload = payload;
  uint64_t appends = 0;
  const auto begin = Clock::now();
  while (Since(begin) < seconds) {
    Require(log->Append(std::span(&entry, 1)).status());
    Require(log->Sync());
    ++appends;
  }
  const double took = Since(begin);
  fmt::print("log   {:>8} bytes            {:8.0f} append+sync/s  {:8.1f} MB/s\n", bytes,
             static_cast<double>(appends) / took, static_cast<double>(appends * bytes) / took / 1e6);
}

/// One thread appends groups of 16 without waiting, the other syncs: the shape of group commit under load.
void BenchGroupCommit(const std::string& directory, size_t bytes, double seconds) {
  const auto log = Open(directory + "/log");
  const std::string payload(bytes, 'x');
  std::vector<LogEntry> group(16);
  for (LogEntry& entry : group) entry.payload = payload;
  constexpr uint64_t kMaxBehind = uint64_t{16} << 20;  // a real writer waits for its acknowledgement
  std::atomic<bool> done{false};
  std::thread syncer([&] {
    while (!done.load()) Require(log->Sync());
    Require(log->Sync());
  });
  uint64_t entries = 0;
  const auto begin = Clock::now();
  while (Since(begin) < seconds) {
    if (log->end_offset() - log->synced_offset() > kMaxBehind) {
      std::this_thread::yield();
      continue;
    }
    Require(log->Append(group).status());
    entries += group.size();
  }
  done.store(true);
  syncer.join();
  const double took = Since(begin);
  fmt::print("group {:>8} bytes            {:8.0f} records/s      {:8.1f} MB/s  {:6.0f} sync/s\n", bytes,
             static_cast<double>(entries) / took, static_cast<double>(entries * bytes) / took / 1e6,
             static_cast<double>(log->sync_count()) / took);
}

void BenchReplay(const std::string& directory, size_t bytes) {
  constexpr uint64_t kTotal = uint64_t{256} << 20;
  const uint64_t count = kTotal / bytes;
  {
    const auto log = Open(directory + "/log");
    const std::string payload(bytes, 'x');
    std::vector<LogEntry> group(16);
    for (LogEntry& entry : group) entry.payload = payload;
    for (uint64_t i = 0; i < count; i += group.size()) Require(log->Append(group).status());
    Require(log->Close());
  }
  auto begin = Clock::now();
  const auto log = Require(OpenLocalLog(io::PosixFileSystem(), directory + "/log", {}));
  const double open_seconds = Since(begin);
  uint64_t seen = 0;
  begin = Clock::now();
  Require(log->Read(0, [&](uint64_t, const LogEntry& entry) {
    seen += entry.payload.size() == bytes ? 1 : 0;
    return Status::Ok();
  }));
  const double took = Since(begin);
  if (seen < count) {
    fmt::print(stderr, "log_bench: {} of {} records came back\n", seen, count);
    std::exit(1);
  }
  fmt::print("replay{:>8} bytes            {:8.0f} records/s      {:8.1f} MB/s  (open {:.1f} ms)\n", bytes,
             static_cast<double>(seen) / took, static_cast<double>(seen * bytes) / took / 1e6, open_seconds * 1e3);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string directory = fmt::format("{}/log_bench.{}", argc > 1 ? argv[1] : ".", ::getpid());
  const double seconds = argc > 2 ? std::atof(argv[2]) : 2.0;
  std::filesystem::create_directories(directory);
  BenchCrc(seconds);
  BenchDisk(directory, 512, seconds);
  BenchAppendSync(directory, 512, seconds);
  BenchAppendSync(directory, size_t{512} << 10, seconds);
  BenchGroupCommit(directory, 512, seconds);
  BenchGroupCommit(directory, size_t{512} << 10, seconds);
  BenchReplay(directory, 512);
  BenchReplay(directory, size_t{512} << 10);
  std::filesystem::remove_all(directory);
  return 0;
}
