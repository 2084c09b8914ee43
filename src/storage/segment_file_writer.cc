// File: storage/segment_file_writer.cc
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/crc32c.h"
#include "storage/internal/segment_format.h"
#include "storage/segment_file.h"

namespace quiver::storage {

using internal::SectionKind;

namespace {

template <typename T>
std::string_view BytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

template <typename T>
std::string_view BytesOf(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

/// Adds one value of a fixed-width scalar to its page's facts.
template <typename T>
void AddToPage(PageStatistics& page, T value) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(value)) {
      page.has_nan = 1;
      return;
    }
    const auto real = static_cast<double>(value);
    page.min.real = page.has_values != 0 ? std::min(page.min.real, real) : real;
    page.max.real = page.has_values != 0 ? std::max(page.max.real, real) : real;
  } else {
    const auto integer = static_cast<int64_t>(value);
    page.min.integer = page.has_values != 0 ? std::min(page.min.integer, integer) : integer;
    page.max.integer = page.has_values != 0 ? std::max(page.max.integer, integer) : integer;
  }
  page.has_values = 1;
}

template <typename T>
void AddViewToPages(const ColumnView& view, uint64_t first_row, std::vector<PageStatistics>& pages) {
  for (size_t row = 0; row < view.rows; ++row) {
    PageStatistics& page = pages[(first_row + row) / kSegmentPageRows];
    if (view.IsNull(row)) {
      ++page.null_count;
    } else {
      AddToPage(page, view.Get<T>(row));
    }
  }
}

void AddViewToPages(const ColumnView& view, uint64_t first_row, std::vector<PageStatistics>& pages) {
  switch (view.type) {
    case DataType::kBool: return AddViewToPages<uint8_t>(view, first_row, pages);
    case DataType::kInt8: return AddViewToPages<int8_t>(view, first_row, pages);
    case DataType::kInt16: return AddViewToPages<int16_t>(view, first_row, pages);
    case DataType::kInt32: return AddViewToPages<int32_t>(view, first_row, pages);
    case DataType::kInt64: return AddViewToPages<int64_t>(view, first_row, pages);
    case DataType::kFloat: return AddViewToPages<float>(view, first_row, pages);
    case DataType::kDouble: return AddViewToPages<double>(view, first_row, pages);
    default: return;
  }
}

/// Cuts a string to an upper bound of at most kPkBoundBytes; empty when there is none.
std::string UpperBound(std::string_view value) {
  if (value.size() <= internal::kPkBoundBytes) return std::string(value);
  std::string bound(value.substr(0, internal::kPkBoundBytes));
  while (!bound.empty() && static_cast<uint8_t>(bound.back()) == 0xFF) bound.pop_back();
  if (!bound.empty()) bound.back() = static_cast<char>(static_cast<uint8_t>(bound.back()) + 1);
  return bound;
}

}  // namespace

struct SegmentFileWriter::State {
  io::FileSystem* file_system = nullptr;
  std::string path;
  std::string temporary;
  SegmentFileOptions options;
  std::unique_ptr<io::AppendFile> file;
  bool finished = false;
  Status failed;

  std::string buffer;
  uint64_t position = 0;  // of the next byte, buffered ones included
  uint32_t chunk_crc = 0;
  uint64_t chunk_filled = 0;

  std::vector<internal::ColumnEntry> columns;
  std::vector<internal::SectionEntry> sections;
  std::vector<uint32_t> checksums;

  DataType pk_type = DataType::kNone;
  std::vector<int64_t> int_keys;
  std::string string_keys;
  std::vector<uint64_t> string_offsets{0};

  [[nodiscard]] std::string_view StringKey(uint32_t row) const {
    return std::string_view(string_keys).substr(string_offsets[row], string_offsets[row + 1] - string_offsets[row]);
  }

  Status Flush() {
    if (buffer.empty()) return Status::Ok();
    const Status written = file->Append(buffer);
    buffer.clear();
    return written;
  }

  /// Writes bytes that no section checksum covers.
  Status PutPlain(std::string_view bytes) {
    position += bytes.size();
    buffer += bytes;
    return buffer.size() >= internal::kChunkBytes ? Flush() : Status::Ok();
  }

  Status BeginSection(SectionKind kind, int64_t field_id, uint64_t length) {
    const uint64_t alignment =
        length >= internal::kPageAlignment ? internal::kPageAlignment : internal::kSmallAlignment;
    const uint64_t padding = (alignment - position % alignment) % alignment;
    QUIVER_RETURN_IF_ERROR(PutPlain(std::string(padding, '\0')));
    sections.push_back({.kind = static_cast<uint32_t>(kind),
                        .reserved = 0,
                        .field_id = field_id,
                        .offset = position,
                        .length = length,
                        .first_checksum = static_cast<uint32_t>(checksums.size()),
                        .checksum_count = 0});
    return Status::Ok();
  }

  Status Put(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::string_view piece = bytes.substr(0, internal::kChunkBytes - chunk_filled);
      chunk_crc = Crc32c(piece, chunk_crc);
      chunk_filled += piece.size();
      if (chunk_filled == internal::kChunkBytes) CloseChunk();
      QUIVER_RETURN_IF_ERROR(PutPlain(piece));
      bytes.remove_prefix(piece.size());
    }
    return Status::Ok();
  }

  void CloseChunk() {
    checksums.push_back(std::exchange(chunk_crc, 0));
    chunk_filled = 0;
  }

  Status EndSection() {
    if (chunk_filled > 0) CloseChunk();
    internal::SectionEntry& section = sections.back();
    section.checksum_count = static_cast<uint32_t>(checksums.size() - section.first_checksum);
    if (position - section.offset != section.length) {
      return Error(StatusCode::kInternal, "segment section {} of field {} has {} bytes instead of {}",
                   internal::SectionName(static_cast<SectionKind>(section.kind)), section.field_id,
                   position - section.offset, section.length);
    }
    return Status::Ok();
  }

  template <typename T>
  Status PutSection(SectionKind kind, int64_t field_id, std::span<const T> values) {
    QUIVER_RETURN_IF_ERROR(BeginSection(kind, field_id, values.size_bytes()));
    QUIVER_RETURN_IF_ERROR(Put(BytesOf(values)));
    return EndSection();
  }

  /// What is learnt of a column while its values are written.
  struct ColumnFacts {
    int64_t field_id = 0;
    DataType type = DataType::kNone;
    DataType element_type = DataType::kNone;
    size_t width = 0;
    uint64_t rows = 0;
    uint64_t null_count = 0;
    std::vector<char> valid;  ///< empty = no nulls
    std::vector<PageStatistics> statistics;
  };
  Status PutVariable(int64_t field_id, ColumnPages& pages, ColumnFacts& facts);
  Status PutFixed(int64_t field_id, ColumnPages& pages, ColumnFacts& facts);
  Status TakeFacts(const ColumnView& view, ColumnFacts& facts);
  [[nodiscard]] Status CheckRows(const ColumnFacts& facts) const;
  Status KeepKeys(const ColumnView& view);
  Status PutColumn(int64_t field_id, ColumnPages& pages);
  Status PutRest(std::span<const uint64_t> insert_timestamps, std::span<const PartitionRun> partitions);
  [[nodiscard]] std::vector<uint32_t> SortRows(std::span<const uint64_t> insert_timestamps) const;
  [[nodiscard]] std::vector<uint32_t> MakeFilter() const;
};

Status SegmentFileWriter::State::PutVariable(int64_t field_id, ColumnPages& pages, ColumnFacts& facts) {
  QUIVER_RETURN_IF_ERROR(BeginSection(SectionKind::kOffsets, field_id, (options.rows + 1) * sizeof(uint64_t)));
  uint64_t end = 0;
  std::vector<uint64_t> batch{0};
  for (size_t i = 0; i < pages.count(); ++i) {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, pages.Page(i));
    QUIVER_RETURN_IF_ERROR(TakeFacts(view, facts));
    for (size_t row = 0; row < view.rows; ++row) {
      end += view.strings != nullptr ? view.strings[row].size() : view.offsets[row + 1] - view.offsets[row];
      batch.push_back(end);
      if (batch.size() == kSegmentPageRows) {
        QUIVER_RETURN_IF_ERROR(Put(BytesOf(std::span<const uint64_t>(batch))));
        batch.clear();
      }
    }
  }
  QUIVER_RETURN_IF_ERROR(Put(BytesOf(std::span<const uint64_t>(batch))));
  QUIVER_RETURN_IF_ERROR(CheckRows(facts));
  QUIVER_RETURN_IF_ERROR(EndSection());

  QUIVER_RETURN_IF_ERROR(BeginSection(SectionKind::kBlob, field_id, end));
  for (size_t i = 0; i < pages.count(); ++i) {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, pages.Page(i));
    if (view.rows == 0) continue;
    if (view.strings == nullptr) {
      const uint64_t length = view.offsets[view.rows] - view.offsets[0];
      QUIVER_RETURN_IF_ERROR(Put({view.blob + view.offsets[0], length}));
      continue;
    }
    for (size_t row = 0; row < view.rows; ++row) QUIVER_RETURN_IF_ERROR(Put(view.strings[row]));
  }
  return EndSection();
}

Status SegmentFileWriter::State::PutFixed(int64_t field_id, ColumnPages& pages, ColumnFacts& facts) {
  QUIVER_RETURN_IF_ERROR(BeginSection(SectionKind::kFixed, field_id, options.rows * facts.width));
  for (size_t i = 0; i < pages.count(); ++i) {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, pages.Page(i));
    QUIVER_RETURN_IF_ERROR(TakeFacts(view, facts));
    QUIVER_RETURN_IF_ERROR(Put({reinterpret_cast<const char*>(view.fixed), view.rows * view.width}));
  }
  QUIVER_RETURN_IF_ERROR(CheckRows(facts));
  return EndSection();
}

Status SegmentFileWriter::State::TakeFacts(const ColumnView& view, ColumnFacts& facts) {
  if (view.type != facts.type || view.element_type != facts.element_type || view.width != facts.width) {
    return InvalidParameter("pages of column {} differ in type", facts.field_id);
  }
  if (facts.rows + view.rows > options.rows) {
    facts.rows += view.rows;
    return CheckRows(facts);
  }
  if (view.valid != nullptr) {
    const auto nulls = static_cast<uint64_t>(std::count(view.valid, view.valid + view.rows, uint8_t{0}));
    if (nulls > 0) {
      if (facts.valid.empty()) facts.valid.assign(options.rows, '\1');
      for (size_t row = 0; row < view.rows; ++row) facts.valid[facts.rows + row] = view.valid[row] == 0 ? '\0' : '\1';
      facts.null_count += nulls;
    }
  }
  if (facts.field_id == options.pk_field_id) QUIVER_RETURN_IF_ERROR(KeepKeys(view));
  if (!facts.statistics.empty()) AddViewToPages(view, facts.rows, facts.statistics);
  facts.rows += view.rows;
  return Status::Ok();
}

Status SegmentFileWriter::State::CheckRows(const ColumnFacts& facts) const {
  if (facts.rows == options.rows) return Status::Ok();
  return InvalidParameter("column {} has {} rows in a segment of {}", facts.field_id, facts.rows, options.rows);
}

Status SegmentFileWriter::State::KeepKeys(const ColumnView& view) {
  for (size_t row = 0; row < view.rows; ++row) {
    if (view.IsNull(row)) return InvalidParameter("a segment's primary key is null at row {}", row);
    if (pk_type == DataType::kInt64) {
      int_keys.push_back(view.Get<int64_t>(row));
    } else {
      string_keys += view.Bytes(row);
      string_offsets.push_back(string_keys.size());
    }
  }
  return Status::Ok();
}

Status SegmentFileWriter::State::PutColumn(int64_t field_id, ColumnPages& pages) {
  if (pages.count() == 0) {
    return InvalidParameter("column {} of a segment has no pages, not even an empty one", field_id);
  }
  for (const internal::ColumnEntry& column : columns) {
    if (column.field_id == field_id) return InvalidParameter("column {} is in the segment already", field_id);
  }
  QUIVER_ASSIGN_OR_RETURN(const ColumnView model, pages.Page(0));
  ColumnFacts facts;
  facts.field_id = field_id;
  facts.type = model.type;
  facts.element_type = model.element_type;
  facts.width = model.width;
  if (IsFixedScalar(model.type)) facts.statistics.resize((options.rows + kSegmentPageRows - 1) / kSegmentPageRows);
  if (field_id == options.pk_field_id) {
    if (model.type != DataType::kInt64 && model.type != DataType::kVarChar) {
      return InvalidParameter("a segment's primary key cannot be of type {}", DataTypeName(model.type));
    }
    pk_type = model.type;
  }
  QUIVER_RETURN_IF_ERROR(model.width == 0 ? PutVariable(field_id, pages, facts) : PutFixed(field_id, pages, facts));
  columns.push_back({.field_id = field_id,
                     .type = static_cast<int32_t>(facts.type),
                     .element_type = static_cast<int32_t>(facts.element_type),
                     .width = static_cast<uint32_t>(facts.width),
                     .reserved = 0,
                     .null_count = facts.null_count});
  if (!facts.valid.empty()) {
    QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kValid, field_id, std::span<const char>(facts.valid)));
  }
  if (!IsFixedScalar(facts.type)) return Status::Ok();
  return PutSection(SectionKind::kPageStatistics, field_id, std::span<const PageStatistics>(facts.statistics));
}

/// Returns the rows in order of (pk, insert timestamp, row).
std::vector<uint32_t> SegmentFileWriter::State::SortRows(std::span<const uint64_t> insert_timestamps) const {
  std::vector<uint32_t> rows(options.rows);
  std::iota(rows.begin(), rows.end(), 0U);
  const auto older = [&](uint32_t a, uint32_t b) {
    return std::pair(insert_timestamps[a], a) < std::pair(insert_timestamps[b], b);
  };
  if (pk_type == DataType::kInt64) {
    std::sort(rows.begin(), rows.end(), [&](uint32_t a, uint32_t b) {
      return int_keys[a] != int_keys[b] ? int_keys[a] < int_keys[b] : older(a, b);
    });
  } else {
    std::sort(rows.begin(), rows.end(), [&](uint32_t a, uint32_t b) {
      const int order = StringKey(a).compare(StringKey(b));
      return order != 0 ? order < 0 : older(a, b);
    });
  }
  return rows;
}

std::vector<uint32_t> SegmentFileWriter::State::MakeFilter() const {
  constexpr size_t kWords = internal::kFilterBlockBytes / sizeof(uint32_t);
  const uint64_t blocks = internal::FilterBlocks(options.rows);
  std::vector<uint32_t> filter(blocks * kWords);
  for (uint32_t row = 0; row < options.rows; ++row) {
    const uint64_t hash =
        pk_type == DataType::kInt64 ? internal::HashPk(int_keys[row]) : internal::HashPk(StringKey(row));
    uint32_t* block = filter.data() + internal::FilterBlockOf(hash, blocks) * kWords;
    for (size_t word = 0; word < kWords; ++word) block[word] |= internal::FilterBit(hash, word);
  }
  return filter;
}

Status SegmentFileWriter::State::PutRest(std::span<const uint64_t> insert_timestamps,
                                         std::span<const PartitionRun> partitions) {
  if (insert_timestamps.size() != options.rows) {
    return InvalidParameter("{} insert timestamps for a segment of {} rows", insert_timestamps.size(), options.rows);
  }
  uint64_t covered = 0;
  for (const PartitionRun& run : partitions) {
    if (run.first_row != covered) {
      return InvalidParameter("partition {} begins at row {} instead of {}", run.partition_id, run.first_row, covered);
    }
    covered += run.rows;
  }
  if (covered != options.rows) {
    return InvalidParameter("partitions cover {} rows of a segment of {}", covered, options.rows);
  }
  if (pk_type == DataType::kNone) return InvalidParameter("the segment has no column {}", options.pk_field_id);

  QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kInsertTimestamps, 0, insert_timestamps));
  const std::vector<uint32_t> rows = SortRows(insert_timestamps);
  std::string min_pk;
  std::string max_pk;
  if (pk_type == DataType::kInt64) {
    std::vector<int64_t> keys(rows.size());
    for (size_t i = 0; i < rows.size(); ++i) keys[i] = int_keys[rows[i]];
    QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kPkKeys, options.pk_field_id, std::span<const int64_t>(keys)));
    if (!keys.empty()) {
      min_pk = BytesOf(keys.front());
      max_pk = BytesOf(keys.back());
    }
  } else if (!rows.empty()) {
    min_pk = StringKey(rows.front()).substr(0, internal::kPkBoundBytes);
    max_pk = UpperBound(StringKey(rows.back()));
  }
  QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kPkRows, options.pk_field_id, std::span<const uint32_t>(rows)));
  const std::vector<uint32_t> filter = MakeFilter();
  QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kPkFilter, options.pk_field_id, std::span<const uint32_t>(filter)));

  internal::FooterHeader header{};
  header.column_count = static_cast<uint32_t>(columns.size());
  header.section_count = static_cast<uint32_t>(sections.size());
  header.partition_count = static_cast<uint32_t>(partitions.size());
  header.checksum_count = static_cast<uint32_t>(checksums.size());
  if (!insert_timestamps.empty()) {
    const auto [min, max] = std::minmax_element(insert_timestamps.begin(), insert_timestamps.end());
    header.min_timestamp = *min;
    header.max_timestamp = *max;
  }
  header.min_pk_length = static_cast<uint32_t>(min_pk.size());
  header.max_pk_length = static_cast<uint32_t>(max_pk.size());
  std::string footer;
  footer += BytesOf(header);
  footer += BytesOf(std::span<const internal::ColumnEntry>(columns));
  footer += BytesOf(std::span<const internal::SectionEntry>(sections));
  footer += BytesOf(partitions);
  footer += BytesOf(std::span<const uint32_t>(checksums));
  footer += min_pk;
  footer += max_pk;
  QUIVER_RETURN_IF_ERROR(PutPlain(std::string((8 - position % 8) % 8, '\0')));
  internal::SegmentTrailer trailer{};
  trailer.footer_offset = position;
  trailer.footer_length = footer.size();
  trailer.footer_crc = Crc32c(footer);
  trailer.trailer_crc = Crc32c(&trailer, offsetof(internal::SegmentTrailer, trailer_crc));
  trailer.magic = internal::kSegmentTrailerMagic;
  QUIVER_RETURN_IF_ERROR(PutPlain(footer));
  QUIVER_RETURN_IF_ERROR(PutPlain(BytesOf(trailer)));
  QUIVER_RETURN_IF_ERROR(Flush());
  QUIVER_RETURN_IF_ERROR(file->Sync());
  file.reset();
  QUIVER_RETURN_IF_ERROR(file_system->Rename(temporary, path));
  finished = true;
  return file_system->SyncDirectory(io::DirectoryOf(path));
}

SegmentFileWriter::SegmentFileWriter() : state_(std::make_unique<State>()) {}

SegmentFileWriter::~SegmentFileWriter() {
  if (state_->finished || state_->file_system == nullptr) return;
  state_->file.reset();
  (void)state_->file_system->Remove(state_->temporary);  // what stays is overwritten by the next attempt
}

Result<std::unique_ptr<SegmentFileWriter>> SegmentFileWriter::Create(io::FileSystem& file_system, std::string path,
                                                                     const SegmentFileOptions& options) {
  if (options.rows > kMaxSegmentRows) {
    return Error(StatusCode::kTooLarge, "a segment of {} rows is over the limit of {}", options.rows, kMaxSegmentRows);
  }
  std::unique_ptr<SegmentFileWriter> writer(new SegmentFileWriter());
  State& state = *writer->state_;
  state.path = std::move(path);
  state.temporary = state.path + ".tmp";
  state.options = options;
  QUIVER_ASSIGN_OR_RETURN(const bool left_over, file_system.Exists(state.temporary));
  if (left_over) QUIVER_RETURN_IF_ERROR(file_system.Remove(state.temporary));
  QUIVER_ASSIGN_OR_RETURN(state.file, file_system.Create(state.temporary));
  state.file_system = &file_system;
  internal::SegmentHeader header{};
  header.magic = internal::kSegmentMagic;
  header.version = internal::kSegmentVersion;
  header.header_size = sizeof(header);
  header.rows = options.rows;
  header.pk_field_id = options.pk_field_id;
  header.collection_id = options.collection_id;
  header.segment_id = options.segment_id;
  header.schema_version = options.schema_version;
  header.crc = Crc32c(&header, offsetof(internal::SegmentHeader, crc));
  QUIVER_RETURN_IF_ERROR(state.PutPlain(BytesOf(header)));
  return writer;
}

Status SegmentFileWriter::AddColumn(const Column& column) {
  const ColumnView view = ViewOf(column);
  return AddColumn(column.field_id, std::span(&view, 1));
}

Status SegmentFileWriter::AddColumn(int64_t field_id, std::span<const ColumnView> pages) {
  class Given final : public ColumnPages {
   public:
    explicit Given(std::span<const ColumnView> views) : views_(views) {}
    [[nodiscard]] size_t count() const override { return views_.size(); }
    [[nodiscard]] Result<ColumnView> Page(size_t index) override { return views_[index]; }

   private:
    std::span<const ColumnView> views_;
  };
  Given given(pages);
  return AddColumn(field_id, given);
}

Status SegmentFileWriter::AddColumn(int64_t field_id, ColumnPages& pages) {
  QUIVER_RETURN_IF_ERROR(state_->failed);
  state_->failed = state_->PutColumn(field_id, pages);
  return state_->failed;
}

Status SegmentFileWriter::Finish(std::span<const uint64_t> insert_timestamps,
                                 std::span<const PartitionRun> partitions) {
  QUIVER_RETURN_IF_ERROR(state_->failed);
  const Status status = state_->PutRest(insert_timestamps, partitions);
  state_->failed = status.ok() ? Error(StatusCode::kInternal, "{} is finished already", state_->path) : status;
  return status;
}

uint64_t SegmentFileWriter::byte_size() const { return state_->position; }

}  // namespace quiver::storage
