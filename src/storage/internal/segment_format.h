// File: storage/internal/segment_format.h
// The bytes of a segment file, shared by writer and reader; described in docs/formats.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "storage/segment_file.h"

namespace quiver::storage::internal {

inline constexpr uint64_t kSegmentMagic = 0x0047455356495551;         // "QUIVSEG\0"
inline constexpr uint64_t kSegmentTrailerMagic = 0x444E455356495551;  // "QUIVSEND"
/// Version that is written; all from 1 on are read.
inline constexpr uint32_t kSegmentVersion = 5;
/// Bytes under one checksum.
inline constexpr uint64_t kChunkBytes = uint64_t{1} << 20;
inline constexpr uint64_t kSmallAlignment = 64;
inline constexpr uint64_t kPageAlignment = 4096;
/// Bytes kept of a string pk bound.
inline constexpr size_t kPkBoundBytes = 64;

enum class SectionKind : uint32_t {
  kFixed = 1,
  kOffsets = 2,
  kBlob = 3,
  kValid = 4,
  kPageStatistics = 5,
  kInsertTimestamps = 6,
  kPkKeys = 7,
  kPkRows = 8,
  kPkFilter = 9,
  kTextStatistics = 10,
  kOffsets32 = 11,
  kCodes = 12,
  kDictionaryOffsets = 13,
  kDictionaryBytes = 14,
  kJsonPath = 15,
  kJsonKeys = 16,
  kJsonFormOffsets32 = 17,
  kJsonFormOffsets = 18,
  kJsonForms = 19,
  kValueStatistics = 20,
};

/// Most entries of a dictionary: what a code of two bytes can name.
inline constexpr uint64_t kMaxDictionaryEntries = 65536;
/// Bytes of a code.
constexpr uint64_t CodeWidth(uint64_t entries) { return entries <= 256 ? 1 : 2; }

/// Sections of these kinds belong to a column.
constexpr bool OfColumn(SectionKind kind) {
  return kind <= SectionKind::kPageStatistics || kind >= SectionKind::kTextStatistics;
}
/// Columns with such ids hold what a JSON column has at one place.
constexpr bool IsJsonPathColumn(int64_t field_id) { return field_id < 0; }
/// Sections of these kinds, and those of JSON path columns, can be made again from the others.
constexpr bool IsDerived(SectionKind kind, int64_t field_id) {
  return (OfColumn(kind) && IsJsonPathColumn(field_id)) || kind == SectionKind::kPageStatistics ||
         kind == SectionKind::kTextStatistics || kind == SectionKind::kPkKeys || kind == SectionKind::kPkRows ||
         kind == SectionKind::kPkFilter || kind >= SectionKind::kJsonKeys;
}
/// The first version that has sections of this kind; 0 = no version has.
constexpr uint32_t FirstVersion(SectionKind kind) {
  if (kind >= SectionKind::kFixed && kind <= SectionKind::kPkFilter) return 1;
  if (kind == SectionKind::kTextStatistics) return 2;
  if (kind >= SectionKind::kOffsets32 && kind <= SectionKind::kJsonPath) return 3;
  if (kind >= SectionKind::kJsonKeys && kind <= SectionKind::kJsonForms) return 4;
  return kind == SectionKind::kValueStatistics ? 5 : 0;
}

constexpr std::string_view SectionName(SectionKind kind) {
  switch (kind) {
    case SectionKind::kFixed: return "values";
    case SectionKind::kOffsets: return "offsets";
    case SectionKind::kBlob: return "bytes";
    case SectionKind::kValid: return "null marks";
    case SectionKind::kPageStatistics: return "page statistics";
    case SectionKind::kInsertTimestamps: return "insert timestamps";
    case SectionKind::kPkKeys: return "pk keys";
    case SectionKind::kPkRows: return "pk rows";
    case SectionKind::kPkFilter: return "pk filter";
    case SectionKind::kTextStatistics: return "text statistics";
    case SectionKind::kOffsets32: return "offsets";
    case SectionKind::kCodes: return "codes";
    case SectionKind::kDictionaryOffsets: return "dictionary offsets";
    case SectionKind::kDictionaryBytes: return "dictionary bytes";
    case SectionKind::kJsonPath: return "json path";
    case SectionKind::kJsonKeys: return "json keys";
    case SectionKind::kJsonFormOffsets32:
    case SectionKind::kJsonFormOffsets: return "json form offsets";
    case SectionKind::kJsonForms: return "json forms";
    case SectionKind::kValueStatistics: return "value statistics";
  }
  return "unknown";
}

struct SegmentHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t header_size;
  uint64_t rows;
  int64_t pk_field_id;
  int64_t collection_id;
  int64_t segment_id;
  int32_t schema_version;
  std::array<uint8_t, 8> partition_key_field_id;  // i64; 0 = none, as always in version 1
  uint32_t crc;                                   // of the bytes before it
};
static_assert(sizeof(SegmentHeader) == 64);

// Footer: FooterHeader, ColumnEntry[], SummaryEntry[] (as many; from version 2 on), SectionEntry[], PartitionRun[],
// u32 checksums[], min pk bytes, max pk bytes.
struct FooterHeader {
  uint32_t column_count;
  uint32_t section_count;
  uint32_t partition_count;
  uint32_t checksum_count;
  uint64_t min_timestamp;
  uint64_t max_timestamp;
  uint32_t min_pk_length;
  uint32_t max_pk_length;
};
static_assert(sizeof(FooterHeader) == 40);

struct ColumnEntry {
  int64_t field_id;
  int32_t type;
  int32_t element_type;
  uint32_t width;
  uint32_t reserved;
  uint64_t null_count;
};
static_assert(sizeof(ColumnEntry) == 32);

/// Facts about all values of a column; only zeros where its type has none.
struct SummaryEntry {
  uint64_t distinct;
  PageStatistics::Bound min;  // numbers
  PageStatistics::Bound max;
  uint8_t has_summary;
  uint8_t has_values;
  uint8_t has_nan;
  uint8_t max_open;
  uint8_t min_length;
  uint8_t max_length;
  std::array<uint8_t, 2> reserved;
  std::array<char, kTextBoundBytes> min_text;  // VARCHAR
  std::array<char, kTextBoundBytes> max_text;
};
static_assert(sizeof(SummaryEntry) == 80);

struct SectionEntry {
  uint32_t kind;
  uint32_t reserved;
  int64_t field_id;
  uint64_t offset;
  uint64_t length;
  uint32_t first_checksum;
  uint32_t checksum_count;
};
static_assert(sizeof(SectionEntry) == 40);

struct SegmentTrailer {
  uint64_t footer_offset;
  uint64_t footer_length;
  uint32_t footer_crc;
  uint32_t trailer_crc;  // of the bytes before it
  uint64_t magic;
};
static_assert(sizeof(SegmentTrailer) == 32);

/// Hash of a pk for the filter: XXH3 with 64 bits over the eight bytes of the number or the bytes of the string.
uint64_t HashPk(int64_t pk);
uint64_t HashPk(std::string_view pk);

// The filter is a split-block Bloom filter: blocks of eight 32-bit words, one bit per word and key.
inline constexpr uint64_t kFilterBlockBytes = 32;
inline constexpr uint64_t kFilterBitsPerKey = 10;

constexpr uint64_t FilterBlocks(uint64_t keys) {
  const uint64_t blocks = (keys * kFilterBitsPerKey + kFilterBlockBytes * 8 - 1) / (kFilterBlockBytes * 8);
  return blocks == 0 ? 1 : blocks;
}
constexpr uint64_t FilterBlockOf(uint64_t hash, uint64_t blocks) { return ((hash >> 32) * blocks) >> 32; }
/// The bit of word `word` for a key.
constexpr uint32_t FilterBit(uint64_t hash, size_t word) {
  constexpr std::array<uint32_t, 8> kSalt{0x47b6137bU, 0x44974d91U, 0x8824ad5bU, 0xa2b7289dU,
                                          0x705495c7U, 0x2df1424bU, 0x9efc4947U, 0x5c6bfb31U};
  return uint32_t{1} << ((static_cast<uint32_t>(hash) * kSalt[word]) >> 27);
}

}  // namespace quiver::storage::internal
