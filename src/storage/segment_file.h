// File: storage/segment_file.h
// SegmentFile: one immutable file per sealed segment: columns, insert timestamps, pk index, page statistics; layout in
// docs/formats.md. Written once by SegmentFileWriter, read mapped.
//
//   QUIVER_ASSIGN_OR_RETURN(auto writer, SegmentFileWriter::Create(fs, path, {.rows = n, .pk_field_id = 100}));
//   for (const Column& column : columns) QUIVER_RETURN_IF_ERROR(writer->AddColumn(column));
//   QUIVER_RETURN_IF_ERROR(writer->Finish(insert_timestamps, partitions));
//   QUIVER_ASSIGN_OR_RETURN(auto segment, SegmentFile::Open(fs, path));
//   QUIVER_ASSIGN_OR_RETURN(ColumnView page, segment->View(101, 4096, 4096));
//
// Rows are sorted by partition by the caller; the order is fixed from then on. A segment may hold several versions of
// one pk (different insert timestamps). Thread rule: a SegmentFile is immutable and safe from many threads; a writer
// belongs to one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "expr/column_source.h"
#include "io/file_system.h"
#include "schema/column.h"

namespace quiver::storage {

/// Rows per page of statistics.
inline constexpr uint32_t kSegmentPageRows = 4096;
/// Most rows of one segment.
inline constexpr uint64_t kMaxSegmentRows = uint64_t{1} << 31;

/// Rows of one partition: [first_row, first_row + rows).
struct PartitionRun {
  int64_t partition_id = 0;
  uint32_t first_row = 0;
  uint32_t rows = 0;

  bool operator==(const PartitionRun&) const = default;
};

/// Facts about one page of a fixed-width scalar column (bool as 0/1). min and max are meaningful when has_values; NaN
/// is left out of them and shown by has_nan.
struct PageStatistics {
  union Bound {
    int64_t integer;
    double real;
  };
  Bound min{};
  Bound max{};
  uint32_t null_count = 0;
  uint8_t has_values = 0;
  uint8_t has_nan = 0;
  uint16_t distinct = 0;  ///< different values, all NaN being one; 0 = not known (files of version 1)
};
static_assert(sizeof(PageStatistics) == 24);

/// Bytes kept of a string bound.
inline constexpr size_t kTextBoundBytes = 24;

/// Facts about one page of a VARCHAR column. Bounds are meaningful when has_values; longer strings are cut: the minimum
/// is then a lower bound, the maximum an upper one (cut and raised).
struct TextStatistics {
  std::array<char, kTextBoundBytes> min_bytes{};
  std::array<char, kTextBoundBytes> max_bytes{};
  uint8_t min_length = 0;
  uint8_t max_length = 0;
  uint8_t has_values = 0;
  uint8_t max_open = 0;  ///< there is no upper bound
  uint16_t distinct = 0;
  uint16_t reserved = 0;
  uint32_t null_count = 0;
  uint32_t reserved2 = 0;

  [[nodiscard]] std::string_view min() const { return {min_bytes.data(), min_length}; }
  /// Meaningless when max_open.
  [[nodiscard]] std::string_view max() const { return {max_bytes.data(), max_length}; }
  /// Returns whether a value of the page may lie in [low, high].
  [[nodiscard]] bool MayHold(std::string_view low, std::string_view high) const {
    return has_values != 0 && high >= min() && (max_open != 0 || low <= max());
  }
};
static_assert(sizeof(TextStatistics) == 64);

/// Facts about all values of a column: numbers have min and max, VARCHAR min_text and max_text, as in PageStatistics
/// and TextStatistics.
struct ColumnSummary {
  uint64_t distinct = 0;  ///< different values: exact up to 4,096, above that an estimate (standard error 1.6 %)
  bool has_values = false;
  bool has_nan = false;
  PageStatistics::Bound min{};
  PageStatistics::Bound max{};
  std::string min_text;
  std::optional<std::string> max_text;  ///< nothing = no upper bound
};

/// A column of a segment.
struct SegmentColumn {
  int64_t field_id = 0;
  DataType type = DataType::kNone;
  DataType element_type = DataType::kNone;
  uint32_t width = 0;
  uint64_t null_count = 0;
  uint64_t byte_size = 0;  ///< of all its sections
  /// Of fixed-width scalars and VARCHAR, in files from version 2 on.
  std::optional<ColumnSummary> summary = std::nullopt;
};

/// What a JSON column holds at one place, kept as a column.
struct SegmentJsonPath {
  int64_t field_id = 0;  ///< of the JSON column
  std::vector<std::string> keys;
  const SegmentColumn* column = nullptr;
};

/// Rows [first_row, first_row + rows).
struct RowRange {
  uint32_t first_row = 0;
  uint32_t rows = 0;

  bool operator==(const RowRange&) const = default;
};

/// A section of a segment file.
struct SegmentSection {
  std::string name;      ///< "values", "pk keys", ...
  int64_t field_id = 0;  ///< 0 = of no field
  uint64_t offset = 0;   ///< in the file
  uint64_t length = 0;
  /// Made from the columns and the timestamps, so it can be made again from them.
  bool derived = false;
};

/// One thing that is wrong with a segment file.
struct SegmentDamage {
  SegmentSection section;  ///< empty name: the file as a whole
  uint64_t begin = 0;      ///< bytes of the file that are concerned: [begin, end)
  uint64_t end = 0;
  std::string what;
};

/// What the writer must know before the first column. The ids are recorded for `quiver check` and not interpreted.
struct SegmentFileOptions {
  uint64_t rows = 0;
  int64_t pk_field_id = 0;
  int64_t collection_id = 0;
  int64_t segment_id = 0;
  int32_t schema_version = 0;
  /// The column (INT64 or VARCHAR) by which the rows of each partition are sorted, nulls as 0 or the empty string;
  /// 0 = none.
  int64_t partition_key_field_id = 0;
  /// From so many rows on, frequent places of JSON columns become columns, and documents that have more get a binary
  /// form; below, reading the texts is as fast.
  uint64_t min_json_path_rows = 1024;
};

/// The pages of one column, one behind another, for writing; all of one type.
class ColumnPages {
 public:
  virtual ~ColumnPages() = default;
  [[nodiscard]] virtual size_t count() const = 0;
  /// The values of page `index`; valid until the next call. Pages are asked for in order, those of
  /// variable-length columns several times.
  [[nodiscard]] virtual Result<ColumnView> Page(size_t index) = 0;
};

/// Writes PATH.tmp column by column (so that only one column needs to be in memory), then syncs and renames it.
class SegmentFileWriter {
 public:
  static Result<std::unique_ptr<SegmentFileWriter>> Create(io::FileSystem& file_system, std::string path,
                                                           const SegmentFileOptions& options);
  /// Removes the unfinished file.
  ~SegmentFileWriter();
  SegmentFileWriter(const SegmentFileWriter&) = delete;
  SegmentFileWriter& operator=(const SegmentFileWriter&) = delete;

  /// Writes a column of exactly `rows` rows.
  Status AddColumn(const Column& column);
  /// Writes a column given as pages one behind another, all of one type, together `rows` rows; values are read where
  /// they lie.
  Status AddColumn(int64_t field_id, std::span<const ColumnView> pages);
  /// As above, with pages that are made one at a time, so that a column need never be in memory as a whole.
  Status AddColumn(int64_t field_id, ColumnPages& pages);
  /// Writes timestamps (one per row), the pk index (the pk column must have been added, as INT64 or VARCHAR, without
  /// nulls) and the footer; the file exists durably when it returns OK. `partitions` cover all rows in order.
  Status Finish(std::span<const uint64_t> insert_timestamps, std::span<const PartitionRun> partitions);
  /// Bytes written; final after Finish.
  [[nodiscard]] uint64_t byte_size() const;

 private:
  SegmentFileWriter();
  struct State;
  std::unique_ptr<State> state_;
};

/// A sealed segment's file, mapped. Everything that touches data checks its 1 MiB chunks' checksums on first touch and
/// answers code 1001 with file and section when they fail; nothing damaged is ever returned.
class SegmentFile {
 public:
  /// Maps the file and checks header and footer only: the time does not depend on the size.
  static Result<std::shared_ptr<const SegmentFile>> Open(io::FileSystem& file_system, const std::string& path);
  static Result<std::shared_ptr<const SegmentFile>> Open(std::shared_ptr<const io::MappedFile> file);
  ~SegmentFile();

  [[nodiscard]] const std::string& path() const;
  [[nodiscard]] uint64_t byte_size() const;
  [[nodiscard]] uint32_t rows() const;
  [[nodiscard]] int64_t pk_field_id() const;
  [[nodiscard]] int64_t collection_id() const;
  [[nodiscard]] int64_t segment_id() const;
  [[nodiscard]] int32_t schema_version() const;
  /// The column by which the rows of each partition are sorted; 0 = none, or a file of version 1.
  [[nodiscard]] int64_t partition_key_field_id() const;
  /// Version of the file's format.
  [[nodiscard]] uint32_t format_version() const;
  /// Smallest and greatest insert timestamp; 0 and 0 without rows.
  [[nodiscard]] uint64_t min_timestamp() const;
  [[nodiscard]] uint64_t max_timestamp() const;
  [[nodiscard]] std::span<const SegmentColumn> columns() const;
  [[nodiscard]] bool has_column(int64_t field_id) const { return column(field_id) != nullptr; }
  /// The column's facts, or nullptr.
  [[nodiscard]] const SegmentColumn* column(int64_t field_id) const;
  [[nodiscard]] std::span<const PartitionRun> partitions() const;
  /// Smallest and greatest pk (int64_t or string); nothing without rows. Strings are cut to 64 bytes: the minimum is a
  /// lower bound, the maximum an upper bound (cut and raised; empty = no bound).
  using PkBound = std::variant<int64_t, std::string>;
  [[nodiscard]] const std::optional<PkBound>& min_pk() const;
  [[nodiscard]] const std::optional<PkBound>& max_pk() const;

  /// Returns the values of rows [first_row, first_row + row_count) where they lie in the mapping; a view that is not
  /// present() when there is no such column. Valid while this object lives. The offsets of variable-length types are
  /// checked to lie inside the blob.
  [[nodiscard]] Result<ColumnView> View(int64_t field_id, uint32_t first_row, uint32_t row_count) const;
  /// One per row.
  [[nodiscard]] Result<std::span<const uint64_t>> insert_timestamps() const;
  /// One per kSegmentPageRows rows; empty for columns that are not fixed-width scalars.
  [[nodiscard]] Result<std::span<const PageStatistics>> page_statistics(int64_t field_id) const;
  /// One per kSegmentPageRows rows; empty for columns other than VARCHAR, and in files of version 1.
  [[nodiscard]] Result<std::span<const TextStatistics>> text_statistics(int64_t field_id) const;

  /// How the values of a scalar column are spread; nullptr where the file does not keep that (it is of version 4 or
  /// less, the column is of another type, or it holds no value). Valid while this object lives.
  [[nodiscard]] Result<const expr::ValueStatistics*> value_statistics(int64_t field_id) const;

  using PartitionKey = std::variant<int64_t, std::string_view>;
  /// The rows that hold this value of the partition key, at most one range for each partition, in row order; of the
  /// named partitions only unless `partition_ids` is empty. Nothing when the file is not sorted by a partition key
  /// (partition_key_field_id() is 0): then any row may hold it. Few pages are touched: their statistics serve as a
  /// sparse index.
  [[nodiscard]] Result<std::optional<std::vector<RowRange>>> FindPartitionKey(
      const PartitionKey& key, std::span<const int64_t> partition_ids = {}) const;

  /// The column of what each row of JSON column `field_id` holds under nested keys, or nullptr where the file has none.
  /// View gives its values by its own field_id (a negative one): null where the row is null or has nothing there;
  ///   INT64, DOUBLE  numbers, of exactly this kind;
  ///   VARCHAR        JSON values as they are written.
  /// columns() does not tell such columns.
  [[nodiscard]] Result<const SegmentColumn*> FindJsonPath(int64_t field_id, std::span<const std::string> keys) const;
  /// All of them.
  [[nodiscard]] Result<std::span<const SegmentJsonPath>> json_paths() const;
  /// The documents of JSON column `field_id` in binary form, one for each row; without keys where the file has none (it
  /// is of version 3 or less, or its json_paths() hold everything). Valid while this object lives.
  [[nodiscard]] Result<expr::JsonForms> ViewJsonForms(int64_t field_id, uint32_t first_row, uint32_t row_count) const;
  /// As View, but only which rows are null may be asked of it: values are not touched.
  [[nodiscard]] Result<ColumnView> Validity(int64_t field_id, uint32_t first_row, uint32_t row_count) const;

  /// Returns the row of the newest version of the key (greatest insert timestamp, then greatest row), or nothing.
  [[nodiscard]] Result<std::optional<uint32_t>> FindPk(int64_t pk) const;
  [[nodiscard]] Result<std::optional<uint32_t>> FindPk(std::string_view pk) const;
  /// Returns all rows of the key, oldest version first.
  [[nodiscard]] Result<std::span<const uint32_t>> FindPkVersions(int64_t pk) const;
  [[nodiscard]] Result<std::span<const uint32_t>> FindPkVersions(std::string_view pk) const;
  /// All rows in pk order, versions of one pk oldest first.
  [[nodiscard]] Result<std::span<const uint32_t>> rows_by_pk() const;

  /// The first damage that a read has found, Ok while there was none. Once there is any, the segment as a whole should
  /// not be used: whoever reads values where they lie asks again afterwards, since the file may become unreadable (see
  /// io::MappedFile::faulted) while they are used.
  [[nodiscard]] Status damage() const;
  /// Returns whether damage() is not Ok; cheap.
  [[nodiscard]] bool damaged() const;

  /// Checks every checksum ahead of the first reader, MiB by MiB, each followed by a call of `between`, whose error
  /// ends it. Of a file that was just written this reads what the system still holds of it.
  [[nodiscard]] Status VerifyChecksums(const std::function<Status()>& between) const;
  /// Checks every checksum and every structure; the error names the section.
  [[nodiscard]] Status VerifyAll() const;
  /// The same, but goes on behind the first: everything that is wrong with the file.
  [[nodiscard]] std::vector<SegmentDamage> FindDamage() const;
  /// The sections and where they lie, in the order of the footer.
  [[nodiscard]] std::vector<SegmentSection> sections() const;
  /// The mapping, to advise the system.
  [[nodiscard]] const io::MappedFile& file() const;

 private:
  SegmentFile();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quiver::storage
