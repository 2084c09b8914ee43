// File: storage/internal/log_format.h
// The bytes of log files (docs/formats.md), and reading them without trusting any. Thread rule: a reader belongs to one
// thread.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/crc32c.h"
#include "base/status.h"
#include "io/file_system.h"
#include "storage/log_store.h"

namespace quiver::storage::internal {

inline constexpr uint64_t kFileMagic = 0x00474F4C56495551;  // "QUIVLOG\0"
inline constexpr uint32_t kFileVersion = 1;
inline constexpr uint32_t kRecordMagic = 0x43455251;  // "QREC"
inline constexpr uint8_t kCloseKind = 255;
inline constexpr uint64_t kAlignment = 8;
inline constexpr uint64_t kMaxOffset = uint64_t{1} << 62;
inline constexpr size_t kReadWindow = size_t{1} << 20;

struct FileHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t header_size;
  uint64_t first_offset;
  uint64_t epoch;
  uint64_t synced_through;
  std::array<uint8_t, 20> reserved;
  uint32_t crc;  // of the bytes before it
};
static_assert(sizeof(FileHeader) == 64);

struct RecordHeader {
  uint32_t magic;
  uint32_t header_crc;  // of the bytes behind it
  uint32_t payload_length;
  uint32_t payload_crc;
  uint8_t kind;
  std::array<uint8_t, 7> reserved;
  uint64_t stream;
  uint64_t timestamp;
  uint64_t epoch;
  uint64_t offset;
  uint64_t synced_through;
};
static_assert(sizeof(RecordHeader) == 64);

inline uint32_t HeaderCrc(const RecordHeader& header) {
  return Crc32c(reinterpret_cast<const char*>(&header) + 8, sizeof(header) - 8);
}

inline uint32_t HeaderCrc(const FileHeader& header) { return Crc32c(&header, offsetof(FileHeader, crc)); }

inline constexpr uint64_t Padded(uint64_t length) { return (length + kAlignment - 1) / kAlignment * kAlignment; }

inline std::string FileName(uint64_t first_offset) { return fmt::format("{:020}.log", first_offset); }

/// Returns the first offset that a file name states, or nothing for other files.
inline std::optional<uint64_t> ParseFileName(std::string_view name) {
  if (name.size() != 24 || !name.ends_with(".log")) return std::nullopt;
  uint64_t offset = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + 20, offset);
  if (error != std::errc() || end != name.data() + 20 || offset > kMaxOffset) return std::nullopt;
  return offset;
}

/// Reads a file through a window, so that memory is bounded by the largest record.
class Window {
 public:
  static Result<Window> Open(io::FileSystem& file_system, const std::string& path) {
    QUIVER_ASSIGN_OR_RETURN(std::unique_ptr<io::RandomFile> file, file_system.OpenRead(path));
    return Window(std::move(file));
  }

  [[nodiscard]] uint64_t size() const { return size_; }

  /// Returns bytes [position, position + length), which lie inside the file; valid until the next call.
  Result<std::string_view> At(uint64_t position, size_t length) {
    if (position < start_ || position + length > start_ + held_) {
      const auto want = static_cast<size_t>(std::min<uint64_t>(std::max(length, kReadWindow), size_ - position));
      if (want > capacity_) {
        buffer_ = std::make_unique_for_overwrite<std::byte[]>(want);
        capacity_ = want;
      }
      held_ = 0;
      QUIVER_RETURN_IF_ERROR(file_->Read(position, std::span(buffer_.get(), want)));
      start_ = position;
      held_ = want;
    }
    return std::string_view(reinterpret_cast<const char*>(buffer_.get()) + (position - start_), length);
  }

 private:
  explicit Window(std::unique_ptr<io::RandomFile> file) : file_(std::move(file)), size_(file_->size()) {}

  std::unique_ptr<io::RandomFile> file_;
  uint64_t size_;
  std::unique_ptr<std::byte[]> buffer_;
  size_t capacity_ = 0;
  uint64_t start_ = 0;
  size_t held_ = 0;
};

/// One file of the log while it is read.
struct FileReader {
  uint64_t first_offset;
  Window window;

  [[nodiscard]] uint64_t PositionOf(uint64_t offset) const { return offset - first_offset + sizeof(FileHeader); }
  /// Offset behind the last byte that the file could hold.
  [[nodiscard]] uint64_t LimitOffset() const {
    return window.size() <= sizeof(FileHeader) ? first_offset : first_offset + window.size() - sizeof(FileHeader);
  }

  /// Returns the record header at `offset` if a sound one stands there.
  Result<std::optional<RecordHeader>> HeaderAt(uint64_t offset) {
    if (offset > LimitOffset() || LimitOffset() - offset < sizeof(RecordHeader)) return std::optional<RecordHeader>();
    QUIVER_ASSIGN_OR_RETURN(const std::string_view bytes, window.At(PositionOf(offset), sizeof(RecordHeader)));
    RecordHeader header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.magic != kRecordMagic || header.offset != offset || header.header_crc != HeaderCrc(header) ||
        header.payload_length > kMaxLogPayload || header.synced_through > offset) {
      return std::optional<RecordHeader>();
    }
    return std::optional<RecordHeader>(header);
  }

  /// Returns the payload if it is whole and its checksum holds.
  Result<std::optional<std::string_view>> PayloadOf(const RecordHeader& header) {
    const uint64_t offset = header.offset + sizeof(RecordHeader);
    if (LimitOffset() < offset || LimitOffset() - offset < Padded(header.payload_length))
      return std::optional<std::string_view>();
    if (header.payload_length == 0) {
      return header.payload_crc == 0 ? std::optional(std::string_view()) : std::optional<std::string_view>();
    }
    QUIVER_ASSIGN_OR_RETURN(const std::string_view payload, window.At(PositionOf(offset), header.payload_length));
    if (Crc32c(payload) != header.payload_crc) return std::optional<std::string_view>();
    return std::optional(payload);
  }

  /// Returns whether a record header behind `from` tells that the log had been synced beyond `bad`.
  Result<bool> KnowsSynced(uint64_t from, uint64_t bad) {
    const uint64_t begin = first_offset + (from - first_offset + kAlignment - 1) / kAlignment * kAlignment;
    for (uint64_t offset = begin; offset <= LimitOffset() && LimitOffset() - offset >= sizeof(RecordHeader);
         offset += kAlignment) {
      QUIVER_ASSIGN_OR_RETURN(const std::string_view start, window.At(PositionOf(offset), sizeof(uint32_t)));
      uint32_t magic = 0;
      std::memcpy(&magic, start.data(), sizeof(magic));
      if (magic != kRecordMagic) continue;
      QUIVER_ASSIGN_OR_RETURN(const std::optional<RecordHeader> header, HeaderAt(offset));
      if (header.has_value() && header->synced_through > bad) return true;
    }
    return false;
  }
};

}  // namespace quiver::storage::internal
