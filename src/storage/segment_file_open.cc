// Opening a segment file: header, footer and the places of sections are checked before anything is read by them, and
// each chunk of a section when it is first touched.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/crc32c.h"
#include "storage/internal/segment_format.h"
#include "storage/internal/segment_state.h"
#include "storage/segment_file.h"

namespace quiver::storage {

using internal::ChunkMark;
using internal::ColumnSections;
using internal::SectionEntry;
using internal::SectionKind;

namespace {

bool KnownType(int32_t type) { return type > 0 && !DataTypeName(static_cast<DataType>(type)).empty(); }

/// Returns the first of the offsets in bytes [begin, end) that is smaller than the one before it.
template <typename T>
std::optional<uint64_t> FindDescent(const T* offsets, uint64_t begin, uint64_t end) {
  const uint64_t first = begin / sizeof(T);
  T before = first == 0 ? 0 : offsets[first - 1];
  for (uint64_t i = first; i < end / sizeof(T); ++i) {
    if (offsets[i] < before) return i;
    before = offsets[i];
  }
  return std::nullopt;
}

template <typename T>
bool CodesBelow(const T* codes, uint64_t count, uint32_t entries) {
  T most = 0;
  for (uint64_t i = 0; i < count; ++i) most = std::max(most, codes[i]);
  return count == 0 || most < entries;
}

/// Reads a column's summary; nothing where it does not hold together.
std::optional<ColumnSummary> ReadSummary(const internal::SummaryEntry& entry) {
  if (entry.min_length > kTextBoundBytes || entry.max_length > kTextBoundBytes) return std::nullopt;
  ColumnSummary summary;
  summary.distinct = entry.distinct;
  summary.has_values = entry.has_values != 0;
  summary.has_nan = entry.has_nan != 0;
  summary.min = entry.min;
  summary.max = entry.max;
  summary.min_text.assign(entry.min_text.data(), entry.min_length);
  if (entry.max_open == 0) summary.max_text.emplace(entry.max_text.data(), entry.max_length);
  return summary;
}

/// Takes a footer apart without trusting its lengths.
class FooterReader {
 public:
  explicit FooterReader(std::string_view bytes) : rest_(bytes) {}

  template <typename T>
  bool Take(T& value) {
    if (rest_.size() < sizeof(T)) return false;
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_.remove_prefix(sizeof(T));
    return true;
  }
  template <typename T>
  bool Take(std::vector<T>& values, uint64_t count) {
    if (count > rest_.size() / sizeof(T)) return false;
    values.resize(count);
    if (count > 0) std::memcpy(values.data(), rest_.data(), count * sizeof(T));
    rest_.remove_prefix(count * sizeof(T));
    return true;
  }
  bool Take(std::string_view& bytes, uint64_t count) {
    if (count > rest_.size()) return false;
    bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return true;
  }
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace

Status SegmentFile::State::ReadFooter() {
  if (file->size() < sizeof(internal::SegmentHeader) + sizeof(internal::SegmentTrailer)) {
    return Damaged(fmt::format("it has only {} bytes", file->size()));
  }
  std::memcpy(&header, file->data(), sizeof(header));
  if (header.magic != internal::kSegmentMagic) return Damaged("it does not begin like a segment file");
  // Looked at before the checksum, since a newer layout may keep that elsewhere.
  if (header.version > internal::kSegmentVersion) {
    return Error(StatusCode::kCorruption, "{} has segment format version {}, this version of Quiver reads up to {}",
                 file->path(), header.version, internal::kSegmentVersion);
  }
  if (header.crc != Crc32c(&header, offsetof(internal::SegmentHeader, crc)) || header.version == 0 ||
      header.header_size != sizeof(header) || header.rows > kMaxSegmentRows) {
    return Damaged("the header is not sound");
  }
  internal::SegmentTrailer trailer;
  std::memcpy(&trailer, file->data() + file->size() - sizeof(trailer), sizeof(trailer));
  const uint64_t limit = file->size() - sizeof(trailer);
  if (trailer.magic != internal::kSegmentTrailerMagic ||
      trailer.trailer_crc != Crc32c(&trailer, offsetof(internal::SegmentTrailer, trailer_crc)) ||
      trailer.footer_length > limit || trailer.footer_offset != limit - trailer.footer_length) {
    return Damaged("the end of the file is not sound");
  }
  const std::string_view bytes(reinterpret_cast<const char*>(file->data()) + trailer.footer_offset,
                               trailer.footer_length);
  if (trailer.footer_crc != Crc32c(bytes)) return Damaged("the footer is not sound");

  FooterReader reader(bytes);
  std::vector<internal::ColumnEntry> entries;
  std::vector<internal::SummaryEntry> summaries;
  std::string_view min_bytes;
  std::string_view max_bytes;
  if (!reader.Take(footer) || !reader.Take(entries, footer.column_count) ||
      !reader.Take(summaries, header.version >= 2 ? footer.column_count : 0) ||
      !reader.Take(sections, footer.section_count) || !reader.Take(partitions, footer.partition_count) ||
      !reader.Take(checksums, footer.checksum_count) || !reader.Take(min_bytes, footer.min_pk_length) ||
      !reader.Take(max_bytes, footer.max_pk_length) || !reader.empty()) {
    return Damaged("the footer does not hold together");
  }
  for (const internal::ColumnEntry& entry : entries) {
    if (!KnownType(entry.type)) return Damaged(fmt::format("field {} has unknown type {}", entry.field_id, entry.type));
    const auto type = static_cast<DataType>(entry.type);
    const bool fixed = IsFixedScalar(type) || IsDenseVector(type);
    if (fixed != (entry.width != 0) || (IsFixedScalar(type) && entry.width != FixedWidth(type, 0)) ||
        entry.null_count > header.rows || ColumnIndex(entry.field_id) >= 0) {
      return Damaged(fmt::format("the description of field {} does not hold together", entry.field_id));
    }
    if (internal::IsJsonPathColumn(entry.field_id)) {
      const bool known = type == DataType::kVarChar || type == DataType::kInt64 || type == DataType::kDouble;
      if (!known || header.version < 3) {
        return Damaged(fmt::format("the description of field {} does not hold together", entry.field_id));
      }
    } else if (fields++ < columns.size()) {
      return Damaged(fmt::format("field {} stands behind JSON paths", entry.field_id));
    }
    columns.push_back({.field_id = entry.field_id,
                       .type = type,
                       .element_type = static_cast<DataType>(entry.element_type),
                       .width = entry.width,
                       .null_count = entry.null_count,
                       .byte_size = 0});
  }
  for (size_t i = 0; i < summaries.size(); ++i) {
    const bool expected = IsFixedScalar(columns[i].type) || columns[i].type == DataType::kVarChar;
    if (expected) columns[i].summary = ReadSummary(summaries[i]);
    if ((summaries[i].has_summary != 0) != expected || expected != columns[i].summary.has_value()) {
      return Damaged(fmt::format("the summary of field {} does not hold together", columns[i].field_id));
    }
  }
  uint64_t covered = 0;
  for (const PartitionRun& run : partitions) {
    if (run.first_row != covered) return Damaged("partitions do not follow one another");
    covered += run.rows;
  }
  if (covered != header.rows) return Damaged("partitions do not cover all rows");

  std::memcpy(&partition_key_field_id, header.partition_key_field_id.data(), sizeof(int64_t));
  if (partition_key_field_id != 0) {
    const std::ptrdiff_t key = ColumnIndex(partition_key_field_id);
    const DataType type = key < 0 ? DataType::kNone : columns[static_cast<size_t>(key)].type;
    if (type != DataType::kInt64 && type != DataType::kVarChar) return Damaged("the partition key has a wrong type");
  }
  const std::ptrdiff_t pk = ColumnIndex(header.pk_field_id);
  if (pk < 0) return Damaged("it has no primary key");
  pk_type = columns[static_cast<size_t>(pk)].type;
  if (pk_type != DataType::kInt64 && pk_type != DataType::kVarChar) return Damaged("the primary key has a wrong type");
  if (header.rows > 0) {
    if (pk_type == DataType::kInt64) {
      int64_t min = 0;
      int64_t max = 0;
      FooterReader min_reader(min_bytes);
      FooterReader max_reader(max_bytes);
      if (!min_reader.Take(min) || !max_reader.Take(max)) return Damaged("it has no primary key bounds");
      min_pk = min;
      max_pk = max;
    } else {
      min_pk = std::string(min_bytes);
      max_pk = std::string(max_bytes);
    }
  }
  return IndexSections();
}

/// Returns how long a section of this kind has to be; UINT64_MAX = any length.
uint64_t SegmentFile::State::ExpectedLength(const SectionEntry& section, uint32_t width) const {
  const uint64_t rows = header.rows;
  const uint64_t pages = (rows + kSegmentPageRows - 1) / kSegmentPageRows;
  switch (static_cast<SectionKind>(section.kind)) {
    case SectionKind::kFixed: return rows * width;
    case SectionKind::kOffsets:
    case SectionKind::kJsonFormOffsets: return (rows + 1) * sizeof(uint64_t);
    case SectionKind::kOffsets32:
    case SectionKind::kJsonFormOffsets32: return (rows + 1) * sizeof(uint32_t);
    case SectionKind::kBlob:
    case SectionKind::kCodes:
    case SectionKind::kDictionaryOffsets:
    case SectionKind::kDictionaryBytes:
    case SectionKind::kJsonPath:
    case SectionKind::kJsonKeys:
    case SectionKind::kJsonForms:
    case SectionKind::kValueStatistics: return UINT64_MAX;
    case SectionKind::kValid: return rows;
    case SectionKind::kPageStatistics: return pages * sizeof(PageStatistics);
    case SectionKind::kTextStatistics: return pages * sizeof(TextStatistics);
    case SectionKind::kInsertTimestamps: return rows * sizeof(uint64_t);
    case SectionKind::kPkKeys: return rows * sizeof(int64_t);
    case SectionKind::kPkRows: return rows * sizeof(uint32_t);
    case SectionKind::kPkFilter: return internal::FilterBlocks(rows) * internal::kFilterBlockBytes;
  }
  return UINT64_MAX;
}

/// Gives every section its place and checks that it lies where it may and has the length it must have.
Status SegmentFile::State::IndexSections() {
  column_sections.resize(columns.size());
  uint64_t next_checksum = 0;  // sections take theirs one after another, so no two share the mark of a chunk
  for (const SectionEntry& section : sections) {
    const auto kind = static_cast<SectionKind>(section.kind);
    const bool of_column = internal::OfColumn(kind);
    const std::ptrdiff_t index = of_column ? ColumnIndex(section.field_id) : -1;
    const uint32_t since = internal::FirstVersion(kind);
    if (since == 0 || since > header.version || (of_column && index < 0)) {
      return Damaged(fmt::format("a section of kind {} of field {} is unknown", section.kind, section.field_id));
    }
    const uint32_t width = of_column ? columns[static_cast<size_t>(index)].width : 0;
    const uint64_t expected = ExpectedLength(section, width);
    const uint64_t chunks =
        section.length / internal::kChunkBytes + (section.length % internal::kChunkBytes != 0 ? 1 : 0);
    if (section.offset % internal::kSmallAlignment != 0 || section.offset > file->size() ||
        section.length > file->size() - section.offset || (expected != UINT64_MAX && section.length != expected) ||
        section.checksum_count != chunks || section.first_checksum != next_checksum ||
        chunks > checksums.size() - next_checksum) {
      return DamagedSection(section, "it does not fit into the file");
    }
    next_checksum += chunks;
    const SectionEntry** place = nullptr;
    ColumnSections* of = of_column ? &column_sections[static_cast<size_t>(index)] : nullptr;
    switch (kind) {
      case SectionKind::kFixed: place = &of->fixed; break;
      case SectionKind::kOffsets: place = &of->offsets; break;
      case SectionKind::kBlob: place = &of->blob; break;
      case SectionKind::kValid: place = &of->valid; break;
      case SectionKind::kPageStatistics: place = &of->statistics; break;
      case SectionKind::kTextStatistics: place = &of->text_statistics; break;
      case SectionKind::kOffsets32: place = &of->offsets32; break;
      case SectionKind::kCodes: place = &of->codes; break;
      case SectionKind::kDictionaryOffsets: place = &of->dictionary_offsets; break;
      case SectionKind::kDictionaryBytes: place = &of->dictionary_bytes; break;
      case SectionKind::kJsonPath: place = &of->json_path; break;
      case SectionKind::kJsonKeys: place = &of->json_keys; break;
      case SectionKind::kJsonFormOffsets32: place = &of->json_form_offsets32; break;
      case SectionKind::kJsonFormOffsets: place = &of->json_form_offsets; break;
      case SectionKind::kJsonForms: place = &of->json_forms; break;
      case SectionKind::kValueStatistics: place = &of->value_statistics; break;
      case SectionKind::kInsertTimestamps: place = &timestamps; break;
      case SectionKind::kPkKeys: place = &pk_keys; break;
      case SectionKind::kPkRows: place = &pk_rows; break;
      case SectionKind::kPkFilter: place = &pk_filter; break;
    }
    if (*place != nullptr) return DamagedSection(section, "it is there twice");
    *place = &section;
    if (of_column) columns[static_cast<size_t>(index)].byte_size += section.length;
  }
  for (size_t i = 0; i < columns.size(); ++i) {
    const ColumnSections& of = column_sections[i];
    const bool complete = of.Complete(columns[i], header.rows);
    const bool null_marks = (of.valid != nullptr) == (columns[i].null_count > 0);
    const bool texts = header.version >= 2 && columns[i].type == DataType::kVarChar;
    if (!complete || !null_marks || IsFixedScalar(columns[i].type) != (of.statistics != nullptr) ||
        texts != (of.text_statistics != nullptr)) {
      return Damaged(fmt::format("sections of field {} are missing", columns[i].field_id));
    }
    if (of.codes != nullptr) {
      static std::atomic<uint64_t> last_dictionary{0};
      column_sections[i].dictionary = {
          .id = last_dictionary.fetch_add(1, std::memory_order_relaxed) + 1,
          .size = static_cast<uint32_t>(of.dictionary_offsets->length / sizeof(uint32_t) - 1),
          .offsets = Data<uint32_t>(*of.dictionary_offsets),
          .blob = Data<char>(*of.dictionary_bytes)};
    }
  }
  if (timestamps == nullptr || pk_rows == nullptr || pk_filter == nullptr ||
      (pk_type == DataType::kInt64) != (pk_keys != nullptr)) {
    return Damaged("sections are missing");
  }
  chunk_marks = std::make_unique<std::atomic<ChunkMark>[]>(checksums.size());
  return CheckReadable();  // a file that shrinks while it is opened reads as zeros
}

Status SegmentFile::State::VerifyChunk(const SectionEntry& section, uint64_t chunk) const {
  const uint64_t begin = chunk * internal::kChunkBytes;
  const uint64_t end = std::min(begin + internal::kChunkBytes, section.length);
  std::atomic<ChunkMark>& mark = chunk_marks[section.first_checksum + chunk];
  const auto damaged_chunk = [&](std::string_view what) {
    mark.store(ChunkMark::kDamaged, std::memory_order_release);
    return DamagedSection(section, what);
  };
  const auto wrong_checksum = [&] {
    return fmt::format("the checksum of bytes {} to {} (at byte {} of the file) does not match", begin, end,
                       section.offset + begin);
  };
  // Damage is not looked for twice: whoever touches such a chunk again, once for each key perhaps, gets the first find.
  if (mark.load(std::memory_order_acquire) == ChunkMark::kDamaged) return DamagedSection(section, wrong_checksum());
  const bool sound = Crc32c(Data<char>(section) + begin, end - begin) == checksums[section.first_checksum + chunk];
  QUIVER_RETURN_IF_ERROR(CheckReadable());
  if (!sound) return damaged_chunk(wrong_checksum());
  // What is used as an index is checked once here, so that no reader has to.
  const auto kind = static_cast<SectionKind>(section.kind);
  std::optional<uint64_t> unordered;
  if (kind == SectionKind::kOffsets || kind == SectionKind::kJsonFormOffsets) {
    unordered = FindDescent(Data<uint64_t>(section), begin, end);
  }
  if (kind == SectionKind::kOffsets32 || kind == SectionKind::kDictionaryOffsets ||
      kind == SectionKind::kJsonFormOffsets32) {
    unordered = FindDescent(Data<uint32_t>(section), begin, end);
  }
  if (unordered) return damaged_chunk(fmt::format("offset {} is out of order", *unordered));
  if (kind == SectionKind::kCodes) {
    const uint32_t entries = column_sections[static_cast<size_t>(ColumnIndex(section.field_id))].dictionary.size;
    const bool known = internal::CodeWidth(entries) == 1
                           ? CodesBelow(Data<uint8_t>(section) + begin, end - begin, entries)
                           : CodesBelow(Data<uint16_t>(section) + begin / 2, (end - begin) / 2, entries);
    if (!known) return damaged_chunk("a code is in no entry of the dictionary");
  }
  if (section.kind == static_cast<uint32_t>(SectionKind::kPkRows)) {
    const auto* rows = Data<uint32_t>(section);
    for (uint64_t i = begin / sizeof(uint32_t); i < end / sizeof(uint32_t); ++i) {
      if (rows[i] >= header.rows) return damaged_chunk(fmt::format("entry {} is no row", i));
    }
  }
  if (section.kind == static_cast<uint32_t>(SectionKind::kTextStatistics)) {
    const auto* pages = Data<TextStatistics>(section);
    for (uint64_t i = begin / sizeof(TextStatistics); i < end / sizeof(TextStatistics); ++i) {
      if (pages[i].min_length > kTextBoundBytes || pages[i].max_length > kTextBoundBytes) {
        return damaged_chunk(fmt::format("the bounds of page {} are too long", i));
      }
    }
  }
  QUIVER_RETURN_IF_ERROR(CheckReadable());
  mark.store(ChunkMark::kSound, std::memory_order_release);
  return Status::Ok();
}

Result<std::shared_ptr<const SegmentFile>> SegmentFile::Open(io::FileSystem& file_system, const std::string& path) {
  QUIVER_ASSIGN_OR_RETURN(std::shared_ptr<const io::MappedFile> file, file_system.Map(path));
  return Open(std::move(file));
}

Result<std::shared_ptr<const SegmentFile>> SegmentFile::Open(std::shared_ptr<const io::MappedFile> file) {
  std::shared_ptr<SegmentFile> segment(new SegmentFile());
  segment->state_->file = std::move(file);
  QUIVER_RETURN_IF_ERROR(segment->state_->ReadFooter());
  return std::shared_ptr<const SegmentFile>(std::move(segment));
}

}  // namespace quiver::storage
