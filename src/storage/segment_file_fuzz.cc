// Fuzzes the segment file reader: raw bytes, or a sound file with bytes changed and all checksums made to fit again, so
// that the structure behind them is reached. Whatever opens is read in every way; nothing may be read outside the file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/crc32c.h"
#include "expr/test_json_form.h"
#include "io/fault_file_system.h"
#include "storage/internal/segment_format.h"
#include "storage/segment_file.h"

namespace {

using namespace quiver;           // NOLINT: a program of one file
using namespace quiver::storage;  // NOLINT

void Require(bool condition) {
  if (!condition) std::abort();
}

std::string MakeSoundFile(bool string_pk) {
  io::FaultFileSystem fs;
  Require(fs.CreateDirectories("d").ok());
  constexpr uint32_t kRows = 20;
  Column pk = Column::Make(100, string_pk ? DataType::kVarChar : DataType::kInt64);
  Column text = Column::Make(101, DataType::kVarChar);
  Column number = Column::Make(102, DataType::kFloat);
  Column tenant = Column::Make(103, string_pk ? DataType::kVarChar : DataType::kInt64);
  Column category = Column::Make(104, DataType::kVarChar);
  Column document = Column::Make(105, DataType::kJson);
  std::vector<uint64_t> timestamps;
  for (uint32_t row = 0; row < kRows; ++row) {
    if (string_pk) {
      pk.Append(fmt::format("key{}", row % 15));
    } else {
      pk.AppendValue(static_cast<int64_t>(row % 15));
    }
    row % 4 == 0 ? text.AppendNull() : text.Append(std::string(row, 't'));
    number.AppendValue(static_cast<float>(row));
    document.Append(fmt::format(R"({{"n":{},"x":{}.5,"s":{{"t":"{}"}},"l":[{},"y"]}})", row, row, row % 2, row * 100));
    category.Append(row % 3 == 0 ? "one of very few categories" : "another one of them");
    if (string_pk) {
      tenant.Append(fmt::format("tenant{}", row < 5 ? row / 2 : row / 10));
    } else {
      tenant.AppendValue(static_cast<int64_t>(row < 5 ? row / 2 : row / 10));
    }
    timestamps.push_back(row);
  }
  auto writer = SegmentFileWriter::Create(fs, "d/s",
                                          {.rows = kRows,
                                           .pk_field_id = 100,
                                           .collection_id = 1,
                                           .segment_id = 2,
                                           .schema_version = 3,
                                           .partition_key_field_id = 103,
                                           .min_json_path_rows = 1});
  Require(writer.ok());
  Require((*writer)->AddColumn(pk).ok() && (*writer)->AddColumn(text).ok() && (*writer)->AddColumn(number).ok() &&
          (*writer)->AddColumn(tenant).ok() && (*writer)->AddColumn(category).ok() &&
          (*writer)->AddColumn(document).ok());
  const PartitionRun runs[] = {{1, 0, 5}, {2, 5, kRows - 5}};
  Require((*writer)->Finish(timestamps, runs).ok());
  return *fs.ReadFile("d/s");
}

template <typename T>
bool Peek(const std::string& file, uint64_t offset, T& value) {
  if (offset > file.size() || sizeof(T) > file.size() - offset) return false;
  std::memcpy(&value, file.data() + offset, sizeof(T));
  return true;
}

template <typename T>
void Poke(std::string& file, uint64_t offset, const T& value) {
  std::memcpy(file.data() + offset, &value, sizeof(T));
}

/// Recomputes every checksum that can be found.
void FitChecksums(std::string& file) {
  namespace format = internal;
  if (file.size() < sizeof(format::SegmentHeader) + sizeof(format::SegmentTrailer)) return;
  const std::string_view view = file;
  const size_t header_bytes = offsetof(format::SegmentHeader, crc);
  Poke(file, header_bytes, Crc32c(view.substr(0, header_bytes)));
  const uint64_t trailer_at = file.size() - sizeof(format::SegmentTrailer);
  format::SegmentTrailer trailer;
  Peek(file, trailer_at, trailer);
  format::FooterHeader footer;
  if (trailer.footer_offset <= trailer_at && Peek(file, trailer.footer_offset, footer)) {
    const uint64_t sections_at =
        trailer.footer_offset + sizeof(footer) +
        uint64_t{footer.column_count} * (sizeof(format::ColumnEntry) + sizeof(format::SummaryEntry));
    const uint64_t checksums_at = sections_at + uint64_t{footer.section_count} * sizeof(format::SectionEntry) +
                                  uint64_t{footer.partition_count} * sizeof(PartitionRun);
    for (uint32_t i = 0; i < footer.section_count; ++i) {
      format::SectionEntry section;
      if (!Peek(file, sections_at + uint64_t{i} * sizeof(section), section)) break;
      const uint64_t place = checksums_at + uint64_t{section.first_checksum} * sizeof(uint32_t);
      uint32_t old = 0;
      if (section.offset > file.size() || section.length > file.size() - section.offset || !Peek(file, place, old)) {
        continue;
      }
      Poke(file, place, Crc32c(view.substr(section.offset, section.length)));
    }
    if (trailer.footer_length <= trailer_at - trailer.footer_offset) {
      trailer.footer_crc = Crc32c(view.substr(trailer.footer_offset, trailer.footer_length));
    }
  }
  Poke(file, trailer_at, trailer);
  trailer.trailer_crc = Crc32c(view.substr(trailer_at, offsetof(format::SegmentTrailer, trailer_crc)));
  Poke(file, trailer_at, trailer);
}

size_t ReadForms(const SegmentFile& segment, int64_t field_id) {
  const auto forms = segment.ViewJsonForms(field_id, 0, segment.rows());
  if (!forms.ok() || forms->keys == nullptr) return 0;
  size_t sum = 0;
  for (const std::vector<std::string>& place :
       std::vector<std::vector<std::string>>{{}, {"n"}, {"s", "t"}, {"l", "1"}}) {
    const std::vector<expr::PathStep> steps = expr::StepsOf(place);
    expr::JsonFormPath path(*forms->keys, steps);
    for (uint32_t row = 0; row < segment.rows(); ++row) sum += expr::WalkForm(path.Find(forms->view.Bytes(row)), 3);
  }
  return sum;
}

void ReadEverything(const SegmentFile& segment) {
  uint64_t sum = 0;
  for (const SegmentColumn& column : segment.columns()) {
    for (uint32_t first = 0; first < std::min(segment.rows(), 64U); first += 7) {
      const uint32_t count = std::min(segment.rows() - first, 9U);
      const auto view = segment.View(column.field_id, first, count);
      if (!view.ok()) continue;
      for (uint32_t row = 0; row < count; ++row) {
        for (const char c : view->Bytes(row)) sum += static_cast<uint8_t>(c);
        sum += view->IsNull(row) ? 1 : 0;
      }
    }
    sum += ReadForms(segment, column.field_id);
    if (const auto pages = segment.page_statistics(column.field_id); pages.ok()) {
      for (const PageStatistics& page : *pages) sum += page.null_count;
    }
    if (const auto pages = segment.text_statistics(column.field_id); pages.ok()) {
      for (const TextStatistics& page : *pages) sum += page.MayHold("a", "b") ? page.max().size() : page.min().size();
    }
  }
  if (const auto paths = segment.json_paths(); paths.ok()) {
    for (const SegmentJsonPath& path : *paths) {
      const auto view = segment.View(path.column->field_id, 0, std::min(segment.rows(), 9U));
      if (!view.ok()) continue;
      for (uint32_t row = 0; row < view->rows; ++row) sum += view->Bytes(row).size() + path.keys.size();
    }
  }
  if (const auto stamps = segment.insert_timestamps(); stamps.ok()) {
    for (const uint64_t stamp : *stamps) sum += stamp;
  }
  for (int64_t key = -1; key < 20; ++key) {
    const std::string text = fmt::format("tenant{}", key);
    for (const SegmentFile::PartitionKey tenant : {SegmentFile::PartitionKey(key), SegmentFile::PartitionKey(text)}) {
      const auto ranges = segment.FindPartitionKey(tenant);
      if (!ranges.ok() || !ranges->has_value()) continue;
      for (const RowRange& range : **ranges) Require(uint64_t{range.first_row} + range.rows <= segment.rows());
    }
    if (const auto rows = segment.FindPkVersions(key); rows.ok()) {
      for (const uint32_t row : *rows) Require(row < segment.rows());
    }
    if (const auto rows = segment.FindPkVersions(fmt::format("key{}", key)); rows.ok()) {
      for (const uint32_t row : *rows) Require(row < segment.rows());
    }
  }
  if (!segment.VerifyAll().ok()) ++sum;
  [[maybe_unused]] const volatile uint64_t sink = sum;
}

}  // namespace

/// Byte 0: 0 = the rest is a file; otherwise a sound file with triples (u16 position from either end, byte) applied.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string sound_files[] = {MakeSoundFile(false), MakeSoundFile(true)};
  if (size < 1) return 0;
  std::string file;
  if (data[0] == 0) {
    file.assign(reinterpret_cast<const char*>(data) + 1, size - 1);
  } else {
    file = sound_files[data[0] % 2];
    for (size_t i = 1; i + 2 < size; i += 3) {
      const size_t position = (size_t{data[i]} | size_t{data[i + 1]} << 8) % file.size();
      file[data[0] % 4 < 2 ? position : file.size() - 1 - position] = static_cast<char>(data[i + 2]);
    }
    FitChecksums(file);
  }
  io::FaultFileSystem fs;
  Require(fs.CreateDirectories("d").ok() && fs.WriteFileAtomic("d/s", file).ok());
  const auto segment = SegmentFile::Open(fs, "d/s");
  if (segment.ok()) ReadEverything(**segment);
  return 0;
}
