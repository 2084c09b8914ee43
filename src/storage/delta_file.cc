// File: storage/delta_file.cc
#include "storage/delta_file.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/crc32c.h"

namespace quiver::storage {
namespace {

constexpr uint64_t kDeltaMagic = 0x00544C4456495551;  // "QUIVDLT\0"
constexpr uint32_t kDeltaVersion = 1;

// The file: this header, u64 timestamps[count], u32 rows[count].
struct DeltaHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t header_size;
  int64_t segment_id;
  uint64_t count;
  uint32_t data_crc;
  uint32_t crc;  // of the bytes before it
};
static_assert(sizeof(DeltaHeader) == 40);

constexpr size_t kEntryBytes = sizeof(uint64_t) + sizeof(uint32_t);

}  // namespace

Status WriteDeltaFile(io::FileSystem& file_system, const std::string& path, int64_t segment_id,
                      std::span<const RowDelete> deletes) {
  std::vector<RowDelete> sorted(deletes.begin(), deletes.end());
  std::sort(sorted.begin(), sorted.end());
  std::string contents(sizeof(DeltaHeader) + sorted.size() * kEntryBytes, '\0');
  char* timestamps = contents.data() + sizeof(DeltaHeader);
  char* rows = timestamps + sorted.size() * sizeof(uint64_t);
  for (size_t i = 0; i < sorted.size(); ++i) {
    std::memcpy(timestamps + i * sizeof(uint64_t), &sorted[i].timestamp, sizeof(uint64_t));
    std::memcpy(rows + i * sizeof(uint32_t), &sorted[i].row, sizeof(uint32_t));
  }
  DeltaHeader header{};
  header.magic = kDeltaMagic;
  header.version = kDeltaVersion;
  header.header_size = sizeof(header);
  header.segment_id = segment_id;
  header.count = sorted.size();
  header.data_crc = Crc32c(timestamps, sorted.size() * kEntryBytes);
  header.crc = Crc32c(&header, offsetof(DeltaHeader, crc));
  std::memcpy(contents.data(), &header, sizeof(header));
  return file_system.WriteFileAtomic(path, contents);
}

Result<DeltaContent> ReadDeltaFile(io::FileSystem& file_system, const std::string& path) {
  QUIVER_ASSIGN_OR_RETURN(const std::string contents, file_system.ReadFile(path));
  return ParseDelta(path, contents);
}

Result<DeltaContent> ParseDelta(std::string_view name, std::string_view contents) {
  const auto damaged = [&](std::string_view what) {
    return Error(StatusCode::kCorruption, "{} is damaged: {}", name, what);
  };
  DeltaHeader header;
  if (contents.size() < sizeof(header)) return damaged(fmt::format("it has only {} bytes", contents.size()));
  std::memcpy(&header, contents.data(), sizeof(header));
  if (header.magic != kDeltaMagic) return damaged("it does not begin like a delta file");
  if (header.version > kDeltaVersion) {
    return Error(StatusCode::kCorruption, "{} has delta format version {}, this version of Quiver reads up to {}", name,
                 header.version, kDeltaVersion);
  }
  if (header.crc != Crc32c(&header, offsetof(DeltaHeader, crc)) || header.header_size != sizeof(header)) {
    return damaged("the header is not sound");
  }
  const std::string_view data = contents.substr(sizeof(header));
  if (data.size() % kEntryBytes != 0 || header.count != data.size() / kEntryBytes) {
    return damaged(fmt::format("it has {} bytes for {} deletes", data.size(), header.count));
  }
  if (header.data_crc != Crc32c(data)) return damaged("the checksum of the deletes does not match");
  DeltaContent content;
  content.segment_id = header.segment_id;
  content.deletes.resize(header.count);
  const char* timestamps = data.data();
  const char* rows = timestamps + header.count * sizeof(uint64_t);
  for (size_t i = 0; i < header.count; ++i) {
    std::memcpy(&content.deletes[i].timestamp, timestamps + i * sizeof(uint64_t), sizeof(uint64_t));
    std::memcpy(&content.deletes[i].row, rows + i * sizeof(uint32_t), sizeof(uint32_t));
  }
  if (!std::is_sorted(content.deletes.begin(), content.deletes.end())) return damaged("the deletes are out of order");
  return content;
}

}  // namespace quiver::storage
