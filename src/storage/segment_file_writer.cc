// File: storage/segment_file_writer.cc
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "expr/json_form_writer.h"
#include "expr/json_scan.h"
#include "storage/internal/dictionary_builder.h"
#include "storage/internal/distinct_counter.h"
#include "storage/internal/json_paths.h"
#include "storage/internal/segment_format.h"
#include "storage/internal/value_sample.h"
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

/// Adds one value to the facts about a page or a column.
template <typename T, typename Facts>
void AddNumber(Facts& facts, T value) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(value)) {
      facts.has_nan = 1;
      return;
    }
    const auto real = static_cast<double>(value);
    facts.min.real = facts.has_values != 0 ? std::min(facts.min.real, real) : real;
    facts.max.real = facts.has_values != 0 ? std::max(facts.max.real, real) : real;
  } else {
    const auto integer = static_cast<int64_t>(value);
    facts.min.integer = facts.has_values != 0 ? std::min(facts.min.integer, integer) : integer;
    facts.max.integer = facts.has_values != 0 ? std::max(facts.max.integer, integer) : integer;
  }
  facts.has_values = 1;
}

/// Numbers that compare equal have one hash, and so have all NaN.
template <typename T>
uint64_t HashNumber(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    const double real = std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(value) + 0.0;
    return internal::HashPk(std::bit_cast<int64_t>(real));
  } else {
    return internal::HashPk(static_cast<int64_t>(value));
  }
}

template <size_t size>
uint8_t PutBound(std::string_view bound, std::array<char, size>& bytes) {
  std::copy(bound.begin(), bound.end(), bytes.begin());
  return static_cast<uint8_t>(bound.size());
}

/// Compares two values of a partition key by their bytes.
int ComparePartitionKeys(DataType type, std::string_view left, std::string_view right) {
  if (type == DataType::kVarChar) return left.compare(right);
  int64_t a = 0;
  int64_t b = 0;
  std::memcpy(&a, left.data(), sizeof(a));
  std::memcpy(&b, right.data(), sizeof(b));
  return a < b ? -1 : a == b ? 0 : 1;
}

/// Cuts a string to an upper bound of at most `most` bytes; empty when there is none.
std::string UpperBound(std::string_view value, size_t most) {
  if (value.size() <= most) return std::string(value);
  std::string bound(value.substr(0, most));
  while (!bound.empty() && static_cast<uint8_t>(bound.back()) == 0xFF) bound.pop_back();
  if (!bound.empty()) bound.back() = static_cast<char>(static_cast<uint8_t>(bound.back()) + 1);
  return bound;
}

/// Collects the facts of a column of numbers or strings, page by page.
class FactCollector {
 public:
  FactCollector(DataType type, uint64_t rows) : type_(type) {
    const uint64_t pages = (rows + kSegmentPageRows - 1) / kSegmentPageRows;
    if (IsFixedScalar(type)) numbers_.resize(pages);
    if (type == DataType::kVarChar) texts_.resize(pages);
  }
  static bool Collects(DataType type) { return IsFixedScalar(type) || type == DataType::kVarChar; }

  /// Takes the next rows.
  void Add(const ColumnView& view) {
    switch (type_) {
      case DataType::kBool: return AddNumbers<uint8_t>(view);
      case DataType::kInt8: return AddNumbers<int8_t>(view);
      case DataType::kInt16: return AddNumbers<int16_t>(view);
      case DataType::kInt32: return AddNumbers<int32_t>(view);
      case DataType::kInt64:
      case DataType::kTimestamptz: return AddNumbers<int64_t>(view);
      case DataType::kFloat: return AddNumbers<float>(view);
      case DataType::kDouble: return AddNumbers<double>(view);
      default: return AddTexts(view);
    }
  }
  /// To be called once behind the last rows.
  void Finish() {
    if (row_ % kSegmentPageRows != 0) EndPage();
  }

  [[nodiscard]] std::span<const PageStatistics> numbers() const { return numbers_; }
  [[nodiscard]] std::span<const TextStatistics> texts() const { return texts_; }
  /// Nothing where the column holds no value.
  [[nodiscard]] std::optional<expr::ValueStatistics> Statistics() { return sample_.Finish(distinct_.Estimate()); }
  [[nodiscard]] internal::SummaryEntry Summary() const {
    internal::SummaryEntry summary = summary_;
    summary.has_summary = 1;
    summary.distinct = distinct_.Estimate();
    if (type_ != DataType::kVarChar || summary.has_values == 0) return summary;
    summary.min_length = PutBound(std::string_view(min_text_).substr(0, kTextBoundBytes), summary.min_text);
    const std::string bound = UpperBound(max_text_, kTextBoundBytes);
    summary.max_length = PutBound(bound, summary.max_text);
    summary.max_open = bound.empty() && !max_text_.empty() ? 1 : 0;
    return summary;
  }

 private:
  template <typename T>
  void AddNumbers(const ColumnView& view) {
    for (size_t row = 0; row < view.rows; ++row) {
      PageStatistics& page = numbers_[row_ / kSegmentPageRows];
      if (view.IsNull(row)) {
        ++page.null_count;
      } else {
        const T value = view.Get<T>(row);
        AddNumber(page, value);
        AddNumber(summary_, value);
        AddHash(HashNumber(value));
        SampleNumber(value);
      }
      if (++row_ % kSegmentPageRows == 0) EndPage();
    }
  }

  void AddTexts(const ColumnView& view) {
    for (size_t row = 0; row < view.rows; ++row) {
      TextStatistics& page = texts_[row_ / kSegmentPageRows];
      if (view.IsNull(row)) {
        ++page.null_count;
      } else {
        const std::string_view value = view.Bytes(row);
        sample_.Add(value);
        // A value that the page has had before changes none of its bounds.
        if (AddHash(internal::HashPk(value))) {
          if (page.has_values == 0 || value < page_min_) page_min_ = value;
          if (page.has_values == 0 || value > page_max_) page_max_ = value;
          page.has_values = 1;
        }
      }
      if (++row_ % kSegmentPageRows == 0) EndPage();
    }
  }

  template <typename T>
  void SampleNumber(T value) {
    if constexpr (std::is_floating_point_v<T>) {
      if (!std::isnan(value)) sample_.Add(static_cast<double>(value));
    } else {
      sample_.Add(static_cast<int64_t>(value));
    }
  }

  /// Returns whether the page has not had the value.
  bool AddHash(uint64_t hash) {
    if (!page_distinct_.Add(hash)) return false;
    distinct_.Add(hash);
    return true;
  }

  void EndPage() {
    const uint64_t index = (row_ - 1) / kSegmentPageRows;
    const auto distinct = static_cast<uint16_t>(page_distinct_.size());
    page_distinct_.Clear();
    if (type_ != DataType::kVarChar) {
      numbers_[index].distinct = distinct;
      return;
    }
    TextStatistics& page = texts_[index];
    page.distinct = distinct;
    if (page.has_values == 0) return;
    page.min_length = PutBound(std::string_view(page_min_).substr(0, kTextBoundBytes), page.min_bytes);
    const std::string bound = UpperBound(page_max_, kTextBoundBytes);
    page.max_length = PutBound(bound, page.max_bytes);
    page.max_open = bound.empty() && !page_max_.empty() ? 1 : 0;
    if (summary_.has_values == 0 || page_min_ < min_text_) min_text_ = page_min_;
    if (summary_.has_values == 0 || page_max_ > max_text_) max_text_ = page_max_;
    summary_.has_values = 1;
  }

  DataType type_;
  uint64_t row_ = 0;
  std::vector<PageStatistics> numbers_;
  std::vector<TextStatistics> texts_;
  internal::HashSet page_distinct_{kSegmentPageRows};
  internal::DistinctCounter distinct_;
  internal::ValueSample sample_;
  internal::SummaryEntry summary_{};
  std::string page_min_;
  std::string page_max_;
  std::string min_text_;
  std::string max_text_;
};

/// Documents that are looked at for places, about.
constexpr uint64_t kJsonSampleRows = 4096;
/// Bytes of path columns that are gathered at a time.
constexpr uint64_t kJsonGroupBytes = uint64_t{64} << 20;

/// Pages that are there already.
class GivenPages final : public ColumnPages {
 public:
  explicit GivenPages(std::vector<ColumnView> views) : views_(std::move(views)) {}
  [[nodiscard]] size_t count() const override { return views_.size(); }
  [[nodiscard]] Result<ColumnView> Page(size_t index) override { return views_[index]; }

 private:
  std::vector<ColumnView> views_;
};

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
  std::vector<internal::SummaryEntry> summaries;  // as `columns`
  std::vector<internal::ColumnEntry> path_columns;
  std::vector<internal::SummaryEntry> path_summaries;  // as `path_columns`
  std::vector<internal::SectionEntry> sections;
  std::vector<uint32_t> checksums;

  DataType pk_type = DataType::kNone;
  std::vector<int64_t> int_keys;
  std::string string_keys;
  std::vector<uint64_t> string_offsets{0};

  /// Rows whose partition key is smaller than that of the row before: partitions must begin there.
  std::vector<uint64_t> key_descents;
  std::optional<std::string> last_key;

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
    std::optional<FactCollector> collector;
    uint64_t bytes = 0;                               ///< of a variable-length column
    std::optional<internal::JsonPathSampler> places;  ///< of JSON
  };
  /// A place in JSON that becomes a column.
  struct PathPlan {
    internal::JsonKeys keys;
    internal::JsonColumnPlan column;
  };
  Status PutVariable(int64_t field_id, ColumnPages& pages, ColumnFacts& facts);
  template <typename T>
  Status PutOffsets(SectionKind kind, int64_t field_id, std::span<const uint32_t> lengths);
  Status PutDictionary(int64_t field_id, internal::DictionaryBuilder&& dictionary);
  Status PutFixed(int64_t field_id, ColumnPages& pages, ColumnFacts& facts);
  Status PutJsonPaths(int64_t field_id, ColumnPages& pages, const ColumnFacts& facts,
                      std::vector<internal::JsonKeys>& kept);
  Status PutJsonForms(int64_t field_id, ColumnPages& pages);
  Status PutJsonPathColumns(int64_t field_id, ColumnPages& pages, std::span<const PathPlan> plans);
  Status TakeFacts(const ColumnView& view, ColumnFacts& facts);
  [[nodiscard]] Status CheckRows(const ColumnFacts& facts) const;
  Status KeepKeys(const ColumnView& view);
  Status FollowPartitionKey(const ColumnView& view, uint64_t first_row);
  Status PutColumn(int64_t field_id, ColumnPages& pages);
  Status PutRest(std::span<const uint64_t> insert_timestamps, std::span<const PartitionRun> partitions);
  [[nodiscard]] std::vector<uint32_t> SortRows(std::span<const uint64_t> insert_timestamps) const;
  [[nodiscard]] std::vector<uint32_t> MakeFilter() const;
};

Status SegmentFileWriter::State::PutVariable(int64_t field_id, ColumnPages& pages, ColumnFacts& facts) {
  std::vector<uint32_t> lengths;
  lengths.reserve(options.rows);
  uint64_t total = 0;
  std::optional<internal::DictionaryBuilder> dictionary;
  // Primary keys do not repeat often enough.
  if (facts.type == DataType::kVarChar && field_id != options.pk_field_id && options.rows > 0) dictionary.emplace();
  if (facts.type == DataType::kJson && options.rows >= options.min_json_path_rows && options.rows > 0)
    facts.places.emplace();
  const uint64_t sample_step = options.rows / kJsonSampleRows + 1;
  for (size_t i = 0; i < pages.count(); ++i) {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, pages.Page(i));
    QUIVER_RETURN_IF_ERROR(TakeFacts(view, facts));
    for (size_t row = 0; row < view.rows; ++row) {
      const std::string_view value = view.Bytes(row);
      lengths.push_back(static_cast<uint32_t>(value.size()));
      total += value.size();
      if (facts.places && lengths.size() % sample_step == 0 && !view.IsNull(row)) facts.places->Add(value);
      if (dictionary && !dictionary->Add(value)) dictionary.reset();
    }
  }
  QUIVER_RETURN_IF_ERROR(CheckRows(facts));
  facts.bytes = total;
  if (dictionary) {
    // Reading through codes costs a step more, so they have to save a quarter.
    const uint64_t plain = (options.rows + 1) * sizeof(uint32_t) + total;
    if (dictionary->FileBytes() <= plain - plain / 4) return PutDictionary(field_id, *std::move(dictionary));
  }
  if (total <= UINT32_MAX) {
    QUIVER_RETURN_IF_ERROR(PutOffsets<uint32_t>(SectionKind::kOffsets32, field_id, lengths));
  } else {
    QUIVER_RETURN_IF_ERROR(PutOffsets<uint64_t>(SectionKind::kOffsets, field_id, lengths));
  }

  QUIVER_RETURN_IF_ERROR(BeginSection(SectionKind::kBlob, field_id, total));
  for (size_t i = 0; i < pages.count(); ++i) {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, pages.Page(i));
    if (view.rows == 0) continue;
    if (view.offsets != nullptr) {
      QUIVER_RETURN_IF_ERROR(Put({view.blob + view.offsets[0], view.offsets[view.rows] - view.offsets[0]}));
    } else if (view.offsets32 != nullptr) {
      QUIVER_RETURN_IF_ERROR(Put({view.blob + view.offsets32[0], view.offsets32[view.rows] - view.offsets32[0]}));
    } else {
      for (size_t row = 0; row < view.rows; ++row) QUIVER_RETURN_IF_ERROR(Put(view.Bytes(row)));
    }
  }
  return EndSection();
}

/// Reads the places of all documents and hands each row's values on.
template <typename Take>
Status ReadJsonPaths(ColumnPages& pages, std::span<const internal::JsonKeys> paths, const Take& take) {
  internal::JsonPathReader reader(paths);
  std::vector<std::string_view> values(paths.size());
  for (size_t i = 0; i < pages.count(); ++i) {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, pages.Page(i));
    for (size_t row = 0; row < view.rows; ++row) {
      if (view.IsNull(row)) {
        std::fill(values.begin(), values.end(), std::string_view());
      } else {
        reader.Read(view.Bytes(row), values);
      }
      take(values);
    }
  }
  return Status::Ok();
}

/// Keeps what the documents of a JSON column have at frequent places as columns of their own; `kept` are the places.
Status SegmentFileWriter::State::PutJsonPaths(int64_t field_id, ColumnPages& pages, const ColumnFacts& facts,
                                              std::vector<internal::JsonKeys>& kept) {
  const std::vector<internal::JsonKeys> keys = facts.places->Frequent();
  if (keys.empty()) return Status::Ok();
  std::vector<PathPlan> plans;
  for (const internal::JsonKeys& path : keys) plans.push_back({.keys = path, .column = {}});
  QUIVER_RETURN_IF_ERROR(ReadJsonPaths(pages, keys, [&](std::span<const std::string_view> values) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i].data() != nullptr) plans[i].column.Add(values[i]);
    }
  }));
  // Together the texts may take as much room again as the documents, the short ones first.
  std::vector<size_t> order(plans.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) { return std::pair(plans[i].column.text_bytes(), i); });
  uint64_t room = facts.bytes;
  std::vector<PathPlan> group;
  uint64_t group_bytes = 0;
  for (const size_t i : order) {
    const internal::JsonColumnPlan& column = plans[i].column;
    const bool texts = column.form() == internal::JsonColumnForm::kTexts;
    const uint64_t bytes =
        texts ? column.text_bytes() + options.rows * sizeof(uint32_t) : options.rows * sizeof(int64_t);
    if (column.values() == 0 || (texts && bytes > room)) continue;
    if (texts) room -= bytes;
    if (!group.empty() && group_bytes + bytes > kJsonGroupBytes) {
      QUIVER_RETURN_IF_ERROR(PutJsonPathColumns(field_id, pages, group));
      group.clear();
      group_bytes = 0;
    }
    group.push_back(plans[i]);
    kept.push_back(plans[i].keys);
    group_bytes += bytes;
  }
  return group.empty() ? Status::Ok() : PutJsonPathColumns(field_id, pages, group);
}

/// Gathers the values of some places in one reading, and writes them.
Status SegmentFileWriter::State::PutJsonPathColumns(int64_t field_id, ColumnPages& pages,
                                                    std::span<const PathPlan> plans) {
  std::vector<internal::JsonKeys> keys;
  std::vector<Column> gathered;
  for (const PathPlan& plan : plans) {
    keys.push_back(plan.keys);
    const auto id = -static_cast<int64_t>(path_columns.size() + gathered.size() + 1);
    switch (plan.column.form()) {
      case internal::JsonColumnForm::kIntegers: gathered.push_back(Column::Make(id, DataType::kInt64)); break;
      case internal::JsonColumnForm::kReals: gathered.push_back(Column::Make(id, DataType::kDouble)); break;
      case internal::JsonColumnForm::kTexts: gathered.push_back(Column::Make(id, DataType::kVarChar)); break;
    }
  }
  QUIVER_RETURN_IF_ERROR(ReadJsonPaths(pages, keys, [&](std::span<const std::string_view> values) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i].data() == nullptr) {
        gathered[i].AppendNull();
      } else if (gathered[i].type == DataType::kVarChar) {
        gathered[i].Append(values[i]);
      } else {
        expr::JsonNumber number;
        expr::ReadJsonNumber(values[i], &number);
        if (gathered[i].type == DataType::kInt64) {
          gathered[i].AppendValue(number.integer);
        } else {
          gathered[i].AppendValue(number.real);
        }
      }
    }
  }));
  for (size_t i = 0; i < gathered.size(); ++i) {
    GivenPages given(std::vector{ViewOf(gathered[i])});
    QUIVER_RETURN_IF_ERROR(PutColumn(gathered[i].field_id, given));
    ByteWriter name;
    name.Value(field_id);
    name.Value(static_cast<uint32_t>(keys[i].size()));
    for (const std::string& key : keys[i]) name.Bytes(key);
    const std::string bytes = name.Take();
    QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kJsonPath, gathered[i].field_id, std::span<const char>(bytes)));
    gathered[i] = Column();
  }
  return Status::Ok();
}

/// Writes the documents in binary form. They are made one at a time, so how long they are is known behind the last.
Status SegmentFileWriter::State::PutJsonForms(int64_t field_id, ColumnPages& pages) {
  expr::JsonFormWriter writer;
  std::vector<uint32_t> lengths;
  lengths.reserve(options.rows);
  QUIVER_RETURN_IF_ERROR(BeginSection(SectionKind::kJsonForms, field_id, internal::kPageAlignment));
  uint64_t total = 0;
  std::string form;
  for (size_t i = 0; i < pages.count(); ++i) {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, pages.Page(i));
    for (size_t row = 0; row < view.rows; ++row) {
      form.clear();
      if (!view.IsNull(row)) writer.Append(view.Bytes(row), &form);
      lengths.push_back(static_cast<uint32_t>(form.size()));
      total += form.size();
      QUIVER_RETURN_IF_ERROR(Put(form));
    }
  }
  sections.back().length = total;
  QUIVER_RETURN_IF_ERROR(EndSection());
  if (total <= UINT32_MAX) {
    QUIVER_RETURN_IF_ERROR(PutOffsets<uint32_t>(SectionKind::kJsonFormOffsets32, field_id, lengths));
  } else {
    QUIVER_RETURN_IF_ERROR(PutOffsets<uint64_t>(SectionKind::kJsonFormOffsets, field_id, lengths));
  }
  const std::string keys = writer.Keys();
  return PutSection(SectionKind::kJsonKeys, field_id, std::span<const char>(keys));
}

template <typename T>
Status SegmentFileWriter::State::PutOffsets(SectionKind kind, int64_t field_id, std::span<const uint32_t> lengths) {
  QUIVER_RETURN_IF_ERROR(BeginSection(kind, field_id, (options.rows + 1) * sizeof(T)));
  T end = 0;
  std::vector<T> batch{0};
  for (const uint32_t length : lengths) {
    end = static_cast<T>(end + length);
    batch.push_back(end);
    if (batch.size() == kSegmentPageRows) {
      QUIVER_RETURN_IF_ERROR(Put(BytesOf(std::span<const T>(batch))));
      batch.clear();
    }
  }
  QUIVER_RETURN_IF_ERROR(Put(BytesOf(std::span<const T>(batch))));
  return EndSection();
}

Status SegmentFileWriter::State::PutDictionary(int64_t field_id, internal::DictionaryBuilder&& dictionary) {
  const internal::DictionaryBuilder::Sorted sorted = std::move(dictionary).Sort();
  const size_t entries = sorted.offsets.size() - 1;
  if (internal::CodeWidth(entries) == 1) {
    const std::vector<uint8_t> narrow(sorted.codes.begin(), sorted.codes.end());
    QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kCodes, field_id, std::span<const uint8_t>(narrow)));
  } else {
    QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kCodes, field_id, std::span<const uint16_t>(sorted.codes)));
  }
  QUIVER_RETURN_IF_ERROR(
      PutSection(SectionKind::kDictionaryOffsets, field_id, std::span<const uint32_t>(sorted.offsets)));
  return PutSection(SectionKind::kDictionaryBytes, field_id, std::span<const char>(sorted.bytes));
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
  if (facts.field_id == options.partition_key_field_id) QUIVER_RETURN_IF_ERROR(FollowPartitionKey(view, facts.rows));
  if (facts.collector) facts.collector->Add(view);
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

/// Notes where the order of the partition key begins anew; Finish knows whether it may.
Status SegmentFileWriter::State::FollowPartitionKey(const ColumnView& view, uint64_t first_row) {
  if (view.type != DataType::kInt64 && view.type != DataType::kVarChar) {
    return InvalidParameter("a segment's partition key cannot be of type {}", DataTypeName(view.type));
  }
  for (size_t row = 0; row < view.rows; ++row) {
    const std::string_view key = view.Bytes(row);
    if (last_key && ComparePartitionKeys(view.type, key, *last_key) < 0) key_descents.push_back(first_row + row);
    if (!last_key || key != *last_key) last_key = key;
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
  if (FactCollector::Collects(model.type)) facts.collector.emplace(model.type, options.rows);
  if (field_id == options.pk_field_id) {
    if (model.type != DataType::kInt64 && model.type != DataType::kVarChar) {
      return InvalidParameter("a segment's primary key cannot be of type {}", DataTypeName(model.type));
    }
    pk_type = model.type;
  }
  QUIVER_RETURN_IF_ERROR(model.width == 0 ? PutVariable(field_id, pages, facts) : PutFixed(field_id, pages, facts));
  const bool is_path = internal::IsJsonPathColumn(field_id);
  (is_path ? path_columns : columns)
      .push_back({.field_id = field_id,
                  .type = static_cast<int32_t>(facts.type),
                  .element_type = static_cast<int32_t>(facts.element_type),
                  .width = static_cast<uint32_t>(facts.width),
                  .reserved = 0,
                  .null_count = facts.null_count});
  if (!facts.valid.empty()) {
    QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kValid, field_id, std::span<const char>(facts.valid)));
  }
  internal::SummaryEntry& summary = (is_path ? path_summaries : summaries).emplace_back();
  if (facts.type == DataType::kJson && facts.places) {
    std::vector<internal::JsonKeys> kept;
    QUIVER_RETURN_IF_ERROR(PutJsonPaths(field_id, pages, facts, kept));
    return facts.places->HoldOnly(kept) ? Status::Ok() : PutJsonForms(field_id, pages);
  }
  if (!facts.collector) return Status::Ok();
  facts.collector->Finish();
  summary = facts.collector->Summary();
  if (const auto statistics = facts.collector->Statistics(); statistics && !is_path) {
    const std::string bytes = internal::EncodeStatistics(*statistics, facts.type);
    QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kValueStatistics, field_id, std::span<const char>(bytes)));
  }
  if (facts.type == DataType::kVarChar) {
    return PutSection(SectionKind::kTextStatistics, field_id, facts.collector->texts());
  }
  return PutSection(SectionKind::kPageStatistics, field_id, facts.collector->numbers());
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
  if (options.partition_key_field_id != 0 && options.rows > 0 && !last_key) {
    return InvalidParameter("the segment has no column {}", options.partition_key_field_id);
  }
  for (const uint64_t row : key_descents) {
    const auto run = std::lower_bound(partitions.begin(), partitions.end(), row,
                                      [](const PartitionRun& r, uint64_t at) { return r.first_row < at; });
    if (run == partitions.end() || run->first_row != row) {
      return InvalidParameter("the partition key is not sorted at row {}", row);
    }
  }

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
    max_pk = UpperBound(StringKey(rows.back()), internal::kPkBoundBytes);
  }
  QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kPkRows, options.pk_field_id, std::span<const uint32_t>(rows)));
  const std::vector<uint32_t> filter = MakeFilter();
  QUIVER_RETURN_IF_ERROR(PutSection(SectionKind::kPkFilter, options.pk_field_id, std::span<const uint32_t>(filter)));

  columns.insert(columns.end(), path_columns.begin(), path_columns.end());
  summaries.insert(summaries.end(), path_summaries.begin(), path_summaries.end());
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
  footer += BytesOf(std::span<const internal::SummaryEntry>(summaries));
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
  std::memcpy(header.partition_key_field_id.data(), &options.partition_key_field_id, sizeof(int64_t));
  header.crc = Crc32c(&header, offsetof(internal::SegmentHeader, crc));
  QUIVER_RETURN_IF_ERROR(state.PutPlain(BytesOf(header)));
  return writer;
}

Status SegmentFileWriter::AddColumn(const Column& column) {
  const ColumnView view = ViewOf(column);
  return AddColumn(column.field_id, std::span(&view, 1));
}

Status SegmentFileWriter::AddColumn(int64_t field_id, std::span<const ColumnView> pages) {
  GivenPages given({pages.begin(), pages.end()});
  return AddColumn(field_id, given);
}

Status SegmentFileWriter::AddColumn(int64_t field_id, ColumnPages& pages) {
  QUIVER_RETURN_IF_ERROR(state_->failed);
  if (internal::IsJsonPathColumn(field_id)) return InvalidParameter("a segment's column cannot have id {}", field_id);
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
