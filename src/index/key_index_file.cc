#include "index/key_index_file.h"

#include <utility>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "index/internal/section_file.h"

namespace quiver::index {
namespace {

constexpr size_t kHeadSize = 12;
constexpr SectionFileKind kKind{.magic = std::string_view("QUIVKIX\0", 8), .version = 1, .head_size = kHeadSize};
constexpr uint32_t kRunsSection = 1;
constexpr uint32_t kIndexesSection = 2;
constexpr uint32_t kTuningsSection = 3;
/// Index files lie at multiples of this, as they do in files of their own.
constexpr size_t kAlignment = 4096;

/// A part of a section; false where it lies outside.
bool Cut(std::string_view section, uint64_t offset, uint64_t bytes, std::string_view& part) {
  if (offset > section.size() || bytes > section.size() - offset) return false;
  part = section.substr(offset, bytes);
  return true;
}

}  // namespace

void KeyIndexFileWriter::Add(const KeyRun& run) {
  indexes_.resize((indexes_.size() + kAlignment - 1) / kAlignment * kAlignment);
  entries_.push_back({.first_row = run.first_row,
                      .rows = run.rows,
                      .index_offset = indexes_.size(),
                      .index_bytes = run.index.size(),
                      .tuning_offset = tunings_.size(),
                      .tuning_bytes = run.tuning.size()});
  indexes_ += run.index;
  tunings_ += run.tuning;
}

std::string KeyIndexFileWriter::Take() {
  ByteWriter head;
  head.Value(segment_rows_);
  head.Value(field_id_);
  ByteWriter table;
  table.Value(static_cast<uint32_t>(entries_.size()));
  for (const Entry& entry : entries_) {
    table.Value(entry.first_row);
    table.Value(entry.rows);
    for (const uint64_t value : {entry.index_offset, entry.index_bytes, entry.tuning_offset, entry.tuning_bytes}) {
      table.Value(value);
    }
  }
  std::string runs = table.Take();
  ByteWriter crc;
  crc.Value(Crc32c(runs));
  runs += crc.Take();
  SectionFileWriter writer(kKind, head.Take());
  writer.Add(kRunsSection, std::move(runs));
  writer.Add(kIndexesSection, std::exchange(indexes_, {}));
  writer.Add(kTuningsSection, std::exchange(tunings_, {}));
  entries_.clear();
  return writer.Take();
}

Result<KeyIndexFile> OpenKeyIndexFile(std::string_view bytes, std::string_view name) {
  QUIVER_ASSIGN_OR_RETURN(const SectionFile file, SectionFile::Open(kKind, bytes, name));
  KeyIndexFile opened;
  ByteReader head(file.head());
  opened.segment_rows = head.Value<uint32_t>();
  opened.field_id = head.Value<int64_t>();
  const std::string_view runs = file.Section(kRunsSection);
  if (runs.size() < sizeof(uint32_t)) return file.Damaged("its table is cut off");
  const std::string_view table = runs.substr(0, runs.size() - sizeof(uint32_t));
  ByteReader trailer(runs.substr(table.size()));
  if (trailer.Value<uint32_t>() != Crc32c(table)) return file.Damaged("the checksum of its table does not match");
  ByteReader reader(table);
  const auto count = reader.Value<uint32_t>();
  uint64_t end = 0;
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    KeyRun run;
    run.first_row = reader.Value<uint32_t>();
    run.rows = reader.Value<uint32_t>();
    const auto index_offset = reader.Value<uint64_t>();
    const auto index_bytes = reader.Value<uint64_t>();
    const auto tuning_offset = reader.Value<uint64_t>();
    const auto tuning_bytes = reader.Value<uint64_t>();
    if (!reader.ok() || run.first_row < end || index_offset % kAlignment != 0 ||
        !Cut(file.Section(kIndexesSection), index_offset, index_bytes, run.index) ||
        !Cut(file.Section(kTuningsSection), tuning_offset, tuning_bytes, run.tuning)) {
      return file.Damaged("a run lies outside of it");
    }
    end = uint64_t{run.first_row} + run.rows;
    opened.runs.push_back(run);
  }
  if (!reader.ok() || !reader.AtEnd() || end > opened.segment_rows) return file.Damaged("its table is not understood");
  return opened;
}

Status CheckKeyIndexFile(std::string_view bytes, std::string_view name) {
  QUIVER_ASSIGN_OR_RETURN(const SectionFile file, SectionFile::Open(kKind, bytes, name));
  return file.EnsureSound();
}

}  // namespace quiver::index
