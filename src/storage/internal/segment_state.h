// File: storage/internal/segment_state.h
// What an open segment file knows of itself. Made sure of by segment_file_open.cc, read by segment_file.cc.
// Thread rule: as SegmentFile; what changes after opening (marks of chunks, damage) is atomic or behind a mutex.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "expr/json_form.h"
#include "expr/value_statistics.h"
#include "io/file_system.h"
#include "schema/column.h"
#include "storage/internal/segment_format.h"
#include "storage/segment_file.h"

namespace quiver::storage {

namespace internal {

/// The sections of one column; null = not there.
struct ColumnSections {
  const SectionEntry* fixed = nullptr;
  const SectionEntry* offsets = nullptr;
  const SectionEntry* blob = nullptr;
  const SectionEntry* valid = nullptr;
  const SectionEntry* statistics = nullptr;
  const SectionEntry* text_statistics = nullptr;
  const SectionEntry* offsets32 = nullptr;
  const SectionEntry* codes = nullptr;
  const SectionEntry* dictionary_offsets = nullptr;
  const SectionEntry* dictionary_bytes = nullptr;
  const SectionEntry* json_path = nullptr;
  const SectionEntry* json_keys = nullptr;
  const SectionEntry* json_form_offsets32 = nullptr;
  const SectionEntry* json_form_offsets = nullptr;
  const SectionEntry* json_forms = nullptr;
  const SectionEntry* value_statistics = nullptr;
  ColumnDictionary dictionary;  // its bytes are to be touched before use

  /// Whether there is exactly one form of values for a column of this kind, whole.
  [[nodiscard]] bool Complete(const SegmentColumn& column, uint64_t rows) const {
    const bool any_dictionary = codes != nullptr || dictionary_offsets != nullptr || dictionary_bytes != nullptr;
    if ((json_path != nullptr) != IsJsonPathColumn(column.field_id)) return false;
    const bool any_form =
        json_keys != nullptr || json_form_offsets32 != nullptr || json_form_offsets != nullptr || json_forms != nullptr;
    if (any_form && (column.type != DataType::kJson || json_keys == nullptr || json_forms == nullptr ||
                     (json_form_offsets32 != nullptr) == (json_form_offsets != nullptr))) {
      return false;
    }
    const bool any_values = IsFixedScalar(column.type) || column.type == DataType::kVarChar;
    if (value_statistics != nullptr && (!any_values || IsJsonPathColumn(column.field_id))) return false;
    if (column.width != 0) {
      return fixed != nullptr && offsets == nullptr && offsets32 == nullptr && blob == nullptr && !any_dictionary;
    }
    if (fixed != nullptr) return false;
    if (!any_dictionary) return (offsets != nullptr) != (offsets32 != nullptr) && blob != nullptr;
    if (codes == nullptr || dictionary_offsets == nullptr || dictionary_bytes == nullptr || offsets != nullptr ||
        offsets32 != nullptr || blob != nullptr || column.type != DataType::kVarChar) {
      return false;
    }
    const uint64_t bounds = dictionary_offsets->length / sizeof(uint32_t);
    return dictionary_offsets->length % sizeof(uint32_t) == 0 && bounds >= 2 && bounds <= kMaxDictionaryEntries + 1 &&
           codes->length == rows * CodeWidth(bounds - 1);
  }
};

/// What the chunk behind a checksum has been found to be.
enum class ChunkMark : uint8_t { kUnknown, kSound, kDamaged };

}  // namespace internal

struct SegmentFile::State {
  std::shared_ptr<const io::MappedFile> file;
  internal::SegmentHeader header{};
  internal::FooterHeader footer{};
  std::vector<SegmentColumn> columns;  // fields first, JSON paths behind them
  size_t fields = 0;
  std::vector<internal::ColumnSections> column_sections;  // as `columns`
  std::vector<internal::SectionEntry> sections;
  std::vector<PartitionRun> partitions;
  std::vector<uint32_t> checksums;
  std::optional<PkBound> min_pk;
  std::optional<PkBound> max_pk;
  DataType pk_type = DataType::kNone;
  int64_t partition_key_field_id = 0;
  mutable std::once_flag paths_once;
  mutable std::vector<SegmentJsonPath> paths;
  mutable Status paths_status;
  mutable std::once_flag json_keys_once;
  mutable std::vector<expr::JsonKeyTable> json_keys;  // as `columns`; empty where a column has no forms
  mutable Status json_keys_status;
  mutable std::once_flag value_statistics_once;
  mutable std::vector<std::optional<expr::ValueStatistics>> value_statistics;  // as `columns`
  mutable Status value_statistics_status;
  const internal::SectionEntry* timestamps = nullptr;
  const internal::SectionEntry* pk_keys = nullptr;
  const internal::SectionEntry* pk_rows = nullptr;
  const internal::SectionEntry* pk_filter = nullptr;
  /// One mark per checksum, what its chunk has been found to be. A chunk may be checked twice at the same time.
  mutable std::unique_ptr<std::atomic<internal::ChunkMark>[]> chunk_marks;
  /// The first damage found.
  mutable std::atomic<bool> damage_known{false};
  mutable std::mutex damage_mutex;
  mutable Status damage;

  [[nodiscard]] Status Damaged(std::string_view what) const {
    return Error(StatusCode::kCorruption, "{} is damaged: {}", file->path(), what);
  }
  [[nodiscard]] Status DamagedSection(const internal::SectionEntry& section, std::string_view what) const {
    const std::string_view name = internal::SectionName(static_cast<internal::SectionKind>(section.kind));
    return Remember(Damaged(section.field_id == 0 ? fmt::format("{}: {}", name, what)
                                                  : fmt::format("{} of field {}: {}", name, section.field_id, what)));
  }
  /// Keeps the first damage; gives back what it was given.
  Status Remember(Status found) const {
    const std::lock_guard lock(damage_mutex);
    if (damage.ok()) damage = found;
    damage_known.store(true, std::memory_order_release);
    return found;
  }
  /// The system could not give a page: nothing of the mapping can be trusted any more, chunks found sound included.
  [[nodiscard]] Status CheckReadable() const {
    if (!file->faulted()) return Status::Ok();
    return Remember(Damaged("the system cannot read all of it; it was cut short while in use, or its disk fails"));
  }

  template <typename T>
  [[nodiscard]] const T* Data(const internal::SectionEntry& section) const {
    return reinterpret_cast<const T*>(file->data() + section.offset);
  }

  Status ReadFooter();
  Status IndexSections();
  [[nodiscard]] uint64_t ExpectedLength(const internal::SectionEntry& section, uint32_t width) const;
  Status VerifyChunk(const internal::SectionEntry& section, uint64_t chunk) const;
  Status VerifyFacts(const SegmentColumn& column, const ColumnView& view) const;
  Status ReadJsonPaths() const;
  Status ReadJsonKeys() const;
  Status ReadValueStatistics() const;
  Status VerifyJsonForms(const SegmentColumn& column, const ColumnView& documents, const expr::JsonForms& forms) const;
  Status PlaceBytes(const internal::SectionEntry* offsets32, const internal::SectionEntry* offsets,
                    const internal::SectionEntry& blob, uint32_t first_row, uint32_t row_count, ColumnView* view) const;

  /// Makes sure that bytes [begin, end) of the section are sound.
  Status Touch(const internal::SectionEntry& section, uint64_t begin, uint64_t end) const {
    QUIVER_RETURN_IF_ERROR(CheckReadable());
    if (begin >= end) return Status::Ok();
    const uint64_t last = (end - 1) / internal::kChunkBytes;
    for (uint64_t chunk = begin / internal::kChunkBytes; chunk <= last; ++chunk) {
      const std::atomic<internal::ChunkMark>& mark = chunk_marks[section.first_checksum + chunk];
      if (mark.load(std::memory_order_acquire) == internal::ChunkMark::kSound) continue;
      QUIVER_RETURN_IF_ERROR(VerifyChunk(section, chunk));
    }
    return Status::Ok();
  }
  Status TouchAll(const internal::SectionEntry& section) const { return Touch(section, 0, section.length); }

  [[nodiscard]] std::ptrdiff_t ColumnIndex(int64_t field_id) const {
    for (size_t i = 0; i < columns.size(); ++i) {
      if (columns[i].field_id == field_id) return static_cast<std::ptrdiff_t>(i);
    }
    return -1;
  }

  Result<bool> MayContain(uint64_t hash) const;
  Result<int64_t> IntKeyAt(uint64_t index) const {
    QUIVER_RETURN_IF_ERROR(Touch(*pk_keys, index * sizeof(int64_t), (index + 1) * sizeof(int64_t)));
    return Data<int64_t>(*pk_keys)[index];
  }
};

}  // namespace quiver::storage
