// Reading an open segment file: values, look-ups of keys, and the check of everything.
#include "storage/segment_file.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "base/bytes.h"
#include "expr/json_form.h"
#include "expr/json_form_writer.h"
#include "storage/internal/json_paths.h"
#include "storage/internal/segment_format.h"
#include "storage/internal/segment_state.h"
#include "storage/internal/value_sample.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace quiver::storage {

using internal::ColumnSections;
using internal::SectionEntry;
using internal::SectionKind;

namespace internal {

uint64_t HashPk(int64_t pk) { return XXH3_64bits(&pk, sizeof(pk)); }
uint64_t HashPk(std::string_view pk) { return XXH3_64bits(pk.data(), pk.size()); }

}  // namespace internal

namespace {

template <typename T>
bool CoversReal(const PageStatistics& facts, T value) {
  if (std::isnan(value)) return facts.has_nan != 0;
  return facts.has_values != 0 && facts.min.real <= static_cast<double>(value) &&
         static_cast<double>(value) <= facts.max.real;
}

/// Returns whether a page's facts allow the value of a row.
bool Covers(const PageStatistics& facts, const ColumnView& view, size_t row) {
  int64_t value = 0;
  switch (view.type) {
    case DataType::kBool: value = view.Get<uint8_t>(row); break;
    case DataType::kInt8: value = view.Get<int8_t>(row); break;
    case DataType::kInt16: value = view.Get<int16_t>(row); break;
    case DataType::kInt32: value = view.Get<int32_t>(row); break;
    case DataType::kInt64:
    case DataType::kTimestamptz: value = view.Get<int64_t>(row); break;
    case DataType::kFloat: return CoversReal(facts, view.Get<float>(row));
    default: return CoversReal(facts, view.Get<double>(row));
  }
  return facts.has_values != 0 && facts.min.integer <= value && value <= facts.max.integer;
}

}  // namespace

Result<bool> SegmentFile::State::MayContain(uint64_t hash) const {
  const uint64_t block = internal::FilterBlockOf(hash, pk_filter->length / internal::kFilterBlockBytes);
  const uint64_t begin = block * internal::kFilterBlockBytes;
  QUIVER_RETURN_IF_ERROR(Touch(*pk_filter, begin, begin + internal::kFilterBlockBytes));
  const uint32_t* words = Data<uint32_t>(*pk_filter) + begin / sizeof(uint32_t);
  bool all = true;
  for (size_t word = 0; word < internal::kFilterBlockBytes / sizeof(uint32_t); ++word) {
    all &= (words[word] & internal::FilterBit(hash, word)) != 0;
  }
  return all;
}

SegmentFile::SegmentFile() : state_(std::make_unique<State>()) {}
SegmentFile::~SegmentFile() = default;

const std::string& SegmentFile::path() const { return state_->file->path(); }
uint64_t SegmentFile::byte_size() const { return state_->file->size(); }
uint32_t SegmentFile::rows() const { return static_cast<uint32_t>(state_->header.rows); }
int64_t SegmentFile::pk_field_id() const { return state_->header.pk_field_id; }
int64_t SegmentFile::collection_id() const { return state_->header.collection_id; }
int64_t SegmentFile::segment_id() const { return state_->header.segment_id; }
int32_t SegmentFile::schema_version() const { return state_->header.schema_version; }
int64_t SegmentFile::partition_key_field_id() const { return state_->partition_key_field_id; }
uint32_t SegmentFile::format_version() const { return state_->header.version; }
uint64_t SegmentFile::min_timestamp() const { return state_->footer.min_timestamp; }
uint64_t SegmentFile::max_timestamp() const { return state_->footer.max_timestamp; }
std::span<const SegmentColumn> SegmentFile::columns() const {
  return std::span<const SegmentColumn>(state_->columns).first(state_->fields);
}
std::span<const PartitionRun> SegmentFile::partitions() const { return state_->partitions; }
const std::optional<SegmentFile::PkBound>& SegmentFile::min_pk() const { return state_->min_pk; }
const std::optional<SegmentFile::PkBound>& SegmentFile::max_pk() const { return state_->max_pk; }
const io::MappedFile& SegmentFile::file() const { return *state_->file; }

const SegmentColumn* SegmentFile::column(int64_t field_id) const {
  const std::ptrdiff_t index = state_->ColumnIndex(field_id);
  return index < 0 ? nullptr : &state_->columns[static_cast<size_t>(index)];
}

Result<ColumnView> SegmentFile::View(int64_t field_id, uint32_t first_row, uint32_t row_count) const {
  const State& state = *state_;
  const std::ptrdiff_t index = state.ColumnIndex(field_id);
  if (index < 0) return ColumnView();
  if (first_row > rows() || row_count > rows() - first_row) {
    return Error(StatusCode::kInternal, "rows {} to {} of a segment of {} rows", first_row,
                 uint64_t{first_row} + row_count, rows());
  }
  const SegmentColumn& column = state.columns[static_cast<size_t>(index)];
  const ColumnSections& sections = state.column_sections[static_cast<size_t>(index)];
  const uint64_t end_row = uint64_t{first_row} + row_count;
  ColumnView view;
  view.type = column.type;
  view.element_type = column.element_type;
  view.width = column.width;
  view.rows = row_count;
  if (sections.valid != nullptr) {
    QUIVER_RETURN_IF_ERROR(state.Touch(*sections.valid, first_row, end_row));
    view.valid = state.Data<uint8_t>(*sections.valid) + first_row;
  }
  if (column.width != 0) {
    QUIVER_RETURN_IF_ERROR(state.Touch(*sections.fixed, uint64_t{first_row} * column.width, end_row * column.width));
    view.fixed = state.Data<std::byte>(*sections.fixed) + uint64_t{first_row} * column.width;
    return view;
  }
  if (sections.codes != nullptr) {
    const uint64_t code_width = internal::CodeWidth(sections.dictionary.size);
    QUIVER_RETURN_IF_ERROR(state.Touch(*sections.codes, first_row * code_width, end_row * code_width));
    QUIVER_RETURN_IF_ERROR(state.TouchAll(*sections.dictionary_offsets));
    QUIVER_RETURN_IF_ERROR(state.TouchAll(*sections.dictionary_bytes));
    if (sections.dictionary.offsets[sections.dictionary.size] > sections.dictionary_bytes->length) {
      return state.DamagedSection(*sections.dictionary_offsets, "entries lie outside the bytes");
    }
    view.dictionary = &sections.dictionary;
    if (code_width == 1) {
      view.codes8 = state.Data<uint8_t>(*sections.codes) + first_row;
    } else {
      view.codes16 = state.Data<uint16_t>(*sections.codes) + first_row;
    }
    return view;
  }
  QUIVER_RETURN_IF_ERROR(
      state.PlaceBytes(sections.offsets32, sections.offsets, *sections.blob, first_row, row_count, &view));
  return view;
}

/// Lets a view see values of variable length, of which one kind of offsets is there.
Status SegmentFile::State::PlaceBytes(const SectionEntry* offsets32, const SectionEntry* offsets,
                                      const SectionEntry& blob, uint32_t first_row, uint32_t row_count,
                                      ColumnView* view) const {
  const uint64_t end_row = uint64_t{first_row} + row_count;
  const SectionEntry& section = offsets32 != nullptr ? *offsets32 : *offsets;
  const uint64_t width = offsets32 != nullptr ? sizeof(uint32_t) : sizeof(uint64_t);
  QUIVER_RETURN_IF_ERROR(Touch(section, first_row * width, (end_row + 1) * width));
  view->blob = Data<char>(blob);
  uint64_t begin = 0;
  uint64_t end = 0;
  if (offsets32 != nullptr) {
    view->offsets32 = Data<uint32_t>(section) + first_row;
    begin = view->offsets32[0];
    end = view->offsets32[row_count];
  } else {
    view->offsets = Data<uint64_t>(section) + first_row;
    begin = view->offsets[0];
    end = view->offsets[row_count];
  }
  if (begin > end || end > blob.length) {
    return DamagedSection(section, fmt::format("rows {} to {} lie outside the values", first_row, end_row));
  }
  return Touch(blob, begin, end);
}

Result<ColumnView> SegmentFile::Validity(int64_t field_id, uint32_t first_row, uint32_t row_count) const {
  const State& state = *state_;
  const std::ptrdiff_t index = state.ColumnIndex(field_id);
  if (index < 0) return ColumnView();
  const SegmentColumn& column = state.columns[static_cast<size_t>(index)];
  const SectionEntry* valid = state.column_sections[static_cast<size_t>(index)].valid;
  ColumnView view;
  view.type = column.type;
  view.element_type = column.element_type;
  view.rows = row_count;
  if (valid == nullptr) return view;
  if (first_row > rows() || row_count > rows() - first_row) return View(field_id, first_row, row_count);
  QUIVER_RETURN_IF_ERROR(state.Touch(*valid, first_row, uint64_t{first_row} + row_count));
  view.valid = state.Data<uint8_t>(*valid) + first_row;
  return view;
}

Status SegmentFile::State::ReadJsonPaths() const {
  for (size_t i = fields; i < columns.size(); ++i) {
    const SectionEntry& section = *column_sections[i].json_path;
    QUIVER_RETURN_IF_ERROR(TouchAll(section));
    ByteReader reader({Data<char>(section), section.length});
    SegmentJsonPath path{.field_id = reader.Value<int64_t>(), .keys = {}, .column = &columns[i]};
    const auto count = reader.Value<uint32_t>();
    for (uint32_t key = 0; reader.ok() && key < count; ++key) path.keys.emplace_back(reader.Bytes());
    const std::ptrdiff_t of = ColumnIndex(path.field_id);
    if (!reader.ok() || !reader.AtEnd() || count == 0 || of < 0 ||
        columns[static_cast<size_t>(of)].type != DataType::kJson) {
      return DamagedSection(section, "it names no place in a JSON field");
    }
    paths.push_back(std::move(path));
  }
  return Status::Ok();
}

Result<std::span<const SegmentJsonPath>> SegmentFile::json_paths() const {
  std::call_once(state_->paths_once, [this] {
    state_->paths_status = state_->ReadJsonPaths();
    if (!state_->paths_status.ok()) state_->paths.clear();
  });
  QUIVER_RETURN_IF_ERROR(state_->paths_status);
  return std::span<const SegmentJsonPath>(state_->paths);
}

Result<const SegmentColumn*> SegmentFile::FindJsonPath(int64_t field_id, std::span<const std::string> keys) const {
  if (state_->fields == state_->columns.size()) return nullptr;
  QUIVER_ASSIGN_OR_RETURN(const std::span<const SegmentJsonPath> paths, json_paths());
  for (const SegmentJsonPath& path : paths) {
    if (path.field_id == field_id && std::ranges::equal(path.keys, keys)) return path.column;
  }
  return nullptr;
}

Status SegmentFile::State::ReadJsonKeys() const {
  json_keys.resize(columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    const SectionEntry* section = column_sections[i].json_keys;
    if (section == nullptr) continue;
    QUIVER_RETURN_IF_ERROR(TouchAll(*section));
    const auto keys = expr::JsonKeyTable::Open({Data<char>(*section), section->length});
    if (!keys) return DamagedSection(*section, "they do not hold together");
    json_keys[i] = *keys;
  }
  return Status::Ok();
}

Result<expr::JsonForms> SegmentFile::ViewJsonForms(int64_t field_id, uint32_t first_row, uint32_t row_count) const {
  const State& state = *state_;
  expr::JsonForms forms;
  const std::ptrdiff_t index = state.ColumnIndex(field_id);
  if (index < 0 || state.column_sections[static_cast<size_t>(index)].json_forms == nullptr) return forms;
  const ColumnSections& sections = state.column_sections[static_cast<size_t>(index)];
  std::call_once(state.json_keys_once, [&state] { state.json_keys_status = state.ReadJsonKeys(); });
  QUIVER_RETURN_IF_ERROR(state.json_keys_status);
  QUIVER_ASSIGN_OR_RETURN(forms.view, Validity(field_id, first_row, row_count));
  QUIVER_RETURN_IF_ERROR(state.PlaceBytes(sections.json_form_offsets32, sections.json_form_offsets,
                                          *sections.json_forms, first_row, row_count, &forms.view));
  forms.keys = &state.json_keys[static_cast<size_t>(index)];
  return forms;
}

Result<std::span<const uint64_t>> SegmentFile::insert_timestamps() const {
  QUIVER_RETURN_IF_ERROR(state_->TouchAll(*state_->timestamps));
  return std::span<const uint64_t>(state_->Data<uint64_t>(*state_->timestamps), rows());
}

Result<std::span<const PageStatistics>> SegmentFile::page_statistics(int64_t field_id) const {
  const std::ptrdiff_t index = state_->ColumnIndex(field_id);
  const SectionEntry* section = index < 0 ? nullptr : state_->column_sections[static_cast<size_t>(index)].statistics;
  if (section == nullptr) return std::span<const PageStatistics>();
  QUIVER_RETURN_IF_ERROR(state_->TouchAll(*section));
  return std::span<const PageStatistics>(state_->Data<PageStatistics>(*section),
                                         section->length / sizeof(PageStatistics));
}

Result<std::span<const TextStatistics>> SegmentFile::text_statistics(int64_t field_id) const {
  const std::ptrdiff_t index = state_->ColumnIndex(field_id);
  const SectionEntry* section =
      index < 0 ? nullptr : state_->column_sections[static_cast<size_t>(index)].text_statistics;
  if (section == nullptr) return std::span<const TextStatistics>();
  QUIVER_RETURN_IF_ERROR(state_->TouchAll(*section));
  return std::span<const TextStatistics>(state_->Data<TextStatistics>(*section),
                                         section->length / sizeof(TextStatistics));
}

Status SegmentFile::State::ReadValueStatistics() const {
  value_statistics.resize(columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    const SectionEntry* section = column_sections[i].value_statistics;
    if (section == nullptr) continue;
    QUIVER_RETURN_IF_ERROR(TouchAll(*section));
    value_statistics[i] = internal::DecodeStatistics({Data<char>(*section), section->length}, columns[i].type,
                                                     columns[i].summary.has_value() ? columns[i].summary->distinct : 0);
    if (!value_statistics[i]) return DamagedSection(*section, "they do not hold together");
  }
  return CheckReadable();
}

Result<const expr::ValueStatistics*> SegmentFile::value_statistics(int64_t field_id) const {
  const State& state = *state_;
  const std::ptrdiff_t index = state.ColumnIndex(field_id);
  const expr::ValueStatistics* none = nullptr;
  if (index < 0 || state.column_sections[static_cast<size_t>(index)].value_statistics == nullptr) return none;
  std::call_once(state.value_statistics_once,
                 [&state] { state.value_statistics_status = state.ReadValueStatistics(); });
  QUIVER_RETURN_IF_ERROR(state.value_statistics_status);
  return &*state.value_statistics[static_cast<size_t>(index)];
}

Result<std::span<const uint32_t>> SegmentFile::rows_by_pk() const {
  QUIVER_RETURN_IF_ERROR(state_->TouchAll(*state_->pk_rows));
  return std::span<const uint32_t>(state_->Data<uint32_t>(*state_->pk_rows), rows());
}

namespace {

/// Returns the first index in [low, high) for which `before(index)` is false; `before` gives Result<bool>.
template <typename Before>
Result<uint64_t> PartitionPoint(uint64_t low, uint64_t high, const Before& before) {
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    QUIVER_ASSIGN_OR_RETURN(const bool is_before, before(middle));
    if (is_before) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// As PartitionPoint, in fewer steps where the index lies soon after `low`.
template <typename Before>
Result<uint64_t> PartitionPointSoon(uint64_t low, uint64_t high, const Before& before) {
  for (uint64_t step = 1; step < high - low; step *= 2) {
    QUIVER_ASSIGN_OR_RETURN(const bool is_before, before(low + step - 1));
    if (!is_before) {
      high = low + step - 1;
      break;
    }
    low += step;
  }
  return PartitionPoint(low, high, before);
}

std::optional<uint32_t> Newest(std::span<const uint32_t> versions) {
  return versions.empty() ? std::nullopt : std::optional(versions.back());
}

}  // namespace

Result<std::span<const uint32_t>> SegmentFile::FindPkVersions(int64_t pk) const {
  const State& state = *state_;
  using Rows = std::span<const uint32_t>;
  if (rows() == 0 || state.pk_type != DataType::kInt64) return Rows();
  if (pk < std::get<int64_t>(*state.min_pk) || pk > std::get<int64_t>(*state.max_pk)) return Rows();
  QUIVER_ASSIGN_OR_RETURN(const bool may_contain, state.MayContain(internal::HashPk(pk)));
  if (!may_contain) return Rows();
  QUIVER_ASSIGN_OR_RETURN(const uint64_t begin, PartitionPoint(0, rows(), [&](uint64_t i) -> Result<bool> {
                            QUIVER_ASSIGN_OR_RETURN(const int64_t key, state.IntKeyAt(i));
                            return key < pk;
                          }));
  QUIVER_ASSIGN_OR_RETURN(const uint64_t end, PartitionPoint(begin, rows(), [&](uint64_t i) -> Result<bool> {
                            QUIVER_ASSIGN_OR_RETURN(const int64_t key, state.IntKeyAt(i));
                            return key <= pk;
                          }));
  QUIVER_RETURN_IF_ERROR(state.Touch(*state.pk_rows, begin * sizeof(uint32_t), end * sizeof(uint32_t)));
  return Rows(state.Data<uint32_t>(*state.pk_rows) + begin, end - begin);
}

Result<std::span<const uint32_t>> SegmentFile::FindPkVersions(std::string_view pk) const {
  const State& state = *state_;
  using Rows = std::span<const uint32_t>;
  if (rows() == 0 || state.pk_type != DataType::kVarChar) return Rows();
  const auto& max = std::get<std::string>(*state.max_pk);
  if (pk < std::get<std::string>(*state.min_pk) || (!max.empty() && pk > max)) return Rows();
  QUIVER_ASSIGN_OR_RETURN(const bool may_contain, state.MayContain(internal::HashPk(pk)));
  if (!may_contain) return Rows();
  const auto compare = [&](uint64_t i) -> Result<int> {
    QUIVER_RETURN_IF_ERROR(state.Touch(*state.pk_rows, i * sizeof(uint32_t), (i + 1) * sizeof(uint32_t)));
    const uint32_t row = state.Data<uint32_t>(*state.pk_rows)[i];
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, View(pk_field_id(), row, 1));
    return view.Bytes(0).compare(pk);
  };
  QUIVER_ASSIGN_OR_RETURN(const uint64_t begin, PartitionPoint(0, rows(), [&](uint64_t i) -> Result<bool> {
                            QUIVER_ASSIGN_OR_RETURN(const int order, compare(i));
                            return order < 0;
                          }));
  QUIVER_ASSIGN_OR_RETURN(const uint64_t end, PartitionPoint(begin, rows(), [&](uint64_t i) -> Result<bool> {
                            QUIVER_ASSIGN_OR_RETURN(const int order, compare(i));
                            return order <= 0;
                          }));
  QUIVER_RETURN_IF_ERROR(state.Touch(*state.pk_rows, begin * sizeof(uint32_t), end * sizeof(uint32_t)));
  return Rows(state.Data<uint32_t>(*state.pk_rows) + begin, end - begin);
}

Result<std::optional<uint32_t>> SegmentFile::FindPk(int64_t pk) const {
  QUIVER_ASSIGN_OR_RETURN(const std::span<const uint32_t> versions, FindPkVersions(pk));
  return Newest(versions);
}

Result<std::optional<uint32_t>> SegmentFile::FindPk(std::string_view pk) const {
  QUIVER_ASSIGN_OR_RETURN(const std::span<const uint32_t> versions, FindPkVersions(pk));
  return Newest(versions);
}

Status SegmentFile::damage() const {
  if (const Status readable = state_->CheckReadable(); !readable.ok()) return readable;
  const std::lock_guard lock(state_->damage_mutex);
  return state_->damage;
}

bool SegmentFile::damaged() const {
  return state_->damage_known.load(std::memory_order_acquire) || state_->file->faulted();
}

namespace {

SegmentSection Describe(const SectionEntry& section) {
  const auto kind = static_cast<SectionKind>(section.kind);
  return {.name = std::string(internal::SectionName(kind)),
          .field_id = section.field_id,
          .offset = section.offset,
          .length = section.length,
          .derived = internal::IsDerived(kind, section.field_id)};
}

}  // namespace

std::vector<SegmentSection> SegmentFile::sections() const {
  std::vector<SegmentSection> all;
  for (const SectionEntry& section : state_->sections) all.push_back(Describe(section));
  return all;
}

std::vector<SegmentDamage> SegmentFile::FindDamage() const {
  const State& state = *state_;
  std::vector<SegmentDamage> found;
  for (const SectionEntry& section : state.sections) {
    for (uint64_t begin = 0; begin < section.length; begin += internal::kChunkBytes) {
      const uint64_t end = std::min(begin + internal::kChunkBytes, section.length);
      if (const Status touched = state.Touch(section, begin, end); !touched.ok()) {
        found.push_back({Describe(section), section.offset + begin, section.offset + end, touched.message()});
      }
    }
  }
  if (!found.empty()) return found;
  if (const Status verified = VerifyAll(); !verified.ok()) {
    SegmentDamage& whole = found.emplace_back();
    whole.end = byte_size();
    whole.what = verified.message();
  }
  return found;
}

Result<std::optional<std::vector<RowRange>>> SegmentFile::FindPartitionKey(
    const PartitionKey& key, std::span<const int64_t> partition_ids) const {
  const State& state = *state_;
  const int64_t field_id = partition_key_field_id();
  if (field_id == 0) return std::optional<std::vector<RowRange>>();
  std::vector<RowRange> found;
  const bool integers = column(field_id)->type == DataType::kInt64;
  if (integers != std::holds_alternative<int64_t>(key)) return std::optional(std::move(found));

  // Which pages may hold the key; everything else is left untouched.
  std::span<const PageStatistics> numbers;
  std::span<const TextStatistics> texts;
  if (integers) {
    QUIVER_ASSIGN_OR_RETURN(numbers, page_statistics(field_id));
  } else {
    QUIVER_ASSIGN_OR_RETURN(texts, text_statistics(field_id));
  }
  const auto may_hold = [&](uint32_t page) {
    if (!integers) return texts[page].MayHold(std::get<std::string_view>(key), std::get<std::string_view>(key));
    const PageStatistics& facts = numbers[page];
    const int64_t value = std::get<int64_t>(key);
    return facts.has_values != 0 && facts.min.integer <= value && value <= facts.max.integer;
  };
  /// Whether the key of a row stands before the one that is looked for (or is that one, with `or_equal`).
  const auto before = [&](uint64_t row, bool or_equal) -> Result<bool> {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, View(field_id, static_cast<uint32_t>(row), 1));
    if (!integers) {
      const int order = view.Bytes(0).compare(std::get<std::string_view>(key));
      return order < 0 || (or_equal && order == 0);
    }
    const auto value = view.Get<int64_t>(0);
    return value < std::get<int64_t>(key) || (or_equal && value == std::get<int64_t>(key));
  };
  for (const PartitionRun& run : state.partitions) {
    if (!partition_ids.empty() && std::ranges::find(partition_ids, run.partition_id) == partition_ids.end()) continue;
    if (run.rows == 0) continue;
    const uint32_t run_end = run.first_row + run.rows;
    uint32_t first_page = run.first_row / kSegmentPageRows;
    uint32_t end_page = (run_end - 1) / kSegmentPageRows + 1;
    while (first_page < end_page && !may_hold(first_page)) ++first_page;
    while (first_page < end_page && !may_hold(end_page - 1)) --end_page;
    const uint64_t low = std::max(run.first_row, first_page * kSegmentPageRows);
    const uint64_t high = std::min<uint64_t>(run_end, uint64_t{end_page} * kSegmentPageRows);
    if (low >= high) continue;
    QUIVER_ASSIGN_OR_RETURN(const uint64_t begin,
                            PartitionPoint(low, high, [&](uint64_t row) { return before(row, false); }));
    // Most keys of many have few rows.
    QUIVER_ASSIGN_OR_RETURN(const uint64_t end,
                            PartitionPointSoon(begin, high, [&](uint64_t row) { return before(row, true); }));
    if (begin < end) found.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end - begin)});
  }
  return std::optional(std::move(found));
}

Status SegmentFile::State::VerifyFacts(const SegmentColumn& column, const ColumnView& view) const {
  const ColumnSections& of = column_sections[static_cast<size_t>(&column - columns.data())];
  const auto wrong = [&](const SectionEntry& section, uint64_t page) {
    return DamagedSection(section, fmt::format("the facts of page {} do not agree with the values", page));
  };
  const uint64_t pages = (header.rows + kSegmentPageRows - 1) / kSegmentPageRows;
  for (uint64_t page = 0; page < pages && of.text_statistics != nullptr; ++page) {
    const TextStatistics& facts = Data<TextStatistics>(*of.text_statistics)[page];
    uint32_t nulls = 0;
    for (uint64_t row = page * kSegmentPageRows; row < std::min<uint64_t>(header.rows, (page + 1) * kSegmentPageRows);
         ++row) {
      if (view.IsNull(row)) {
        ++nulls;
      } else if (!facts.MayHold(view.Bytes(row), view.Bytes(row))) {
        return wrong(*of.text_statistics, page);
      }
    }
    if (nulls != facts.null_count || facts.distinct > kSegmentPageRows) return wrong(*of.text_statistics, page);
  }
  for (uint64_t page = 0; page < pages && of.statistics != nullptr; ++page) {
    const PageStatistics& facts = Data<PageStatistics>(*of.statistics)[page];
    uint32_t nulls = 0;
    for (uint64_t row = page * kSegmentPageRows; row < std::min<uint64_t>(header.rows, (page + 1) * kSegmentPageRows);
         ++row) {
      if (view.IsNull(row)) {
        ++nulls;
      } else if (!Covers(facts, view, row)) {
        return wrong(*of.statistics, page);
      }
    }
    if (nulls != facts.null_count || facts.distinct > kSegmentPageRows) return wrong(*of.statistics, page);
  }
  for (uint32_t entry = 1; view.dictionary != nullptr && entry < view.dictionary->size; ++entry) {
    if (view.dictionary->Entry(entry - 1) >= view.dictionary->Entry(entry)) {
      return DamagedSection(*of.dictionary_offsets, fmt::format("entry {} is out of order", entry));
    }
  }
  if (column.field_id != partition_key_field_id) return Status::Ok();
  for (const PartitionRun& run : partitions) {
    for (uint64_t row = uint64_t{run.first_row} + 1; row < uint64_t{run.first_row} + run.rows; ++row) {
      const bool descends = column.type == DataType::kInt64 ? view.Get<int64_t>(row) < view.Get<int64_t>(row - 1)
                                                            : view.Bytes(row) < view.Bytes(row - 1);
      if (descends) return Remember(Damaged(fmt::format("the partition key is not sorted at row {}", row)));
    }
  }
  return Status::Ok();
}

Status SegmentFile::VerifyChecksums(const std::function<Status()>& between) const {
  for (const SectionEntry& section : state_->sections) {
    for (uint64_t begin = 0; begin < section.length; begin += internal::kChunkBytes) {
      QUIVER_RETURN_IF_ERROR(state_->Touch(section, begin, begin + 1));
      QUIVER_RETURN_IF_ERROR(between());
    }
  }
  return Status::Ok();
}

/// Made again from the texts, the forms have the same bytes.
Status SegmentFile::State::VerifyJsonForms(const SegmentColumn& column, const ColumnView& documents,
                                           const expr::JsonForms& forms) const {
  const ColumnSections& of = column_sections[static_cast<size_t>(&column - columns.data())];
  expr::JsonFormWriter writer;
  std::string form;
  for (size_t row = 0; row < documents.rows; ++row) {
    form.clear();
    if (!documents.IsNull(row)) writer.Append(documents.Bytes(row), &form);
    if (form != forms.view.Bytes(row)) {
      return DamagedSection(*of.json_forms, fmt::format("the form of row {} does not agree with its document", row));
    }
  }
  if (writer.Keys() != std::string_view(Data<char>(*of.json_keys), of.json_keys->length)) {
    return DamagedSection(*of.json_keys, "they do not agree with the documents");
  }
  return Status::Ok();
}

Status SegmentFile::VerifyAll() const {
  const State& state = *state_;
  for (const SectionEntry& section : state.sections) QUIVER_RETURN_IF_ERROR(state.TouchAll(section));
  for (const SegmentColumn& column : state.columns) {
    QUIVER_ASSIGN_OR_RETURN(const ColumnView view, View(column.field_id, 0, rows()));
    const uint64_t nulls =
        view.valid == nullptr ? 0 : static_cast<uint64_t>(std::count(view.valid, view.valid + view.rows, uint8_t{0}));
    if (nulls != column.null_count) {
      return state.Remember(state.Damaged(fmt::format("field {} has {} nulls", column.field_id, nulls)));
    }
    QUIVER_RETURN_IF_ERROR(state.VerifyFacts(column, view));
    QUIVER_RETURN_IF_ERROR(value_statistics(column.field_id).status());
    QUIVER_ASSIGN_OR_RETURN(const expr::JsonForms forms, ViewJsonForms(column.field_id, 0, rows()));
    if (forms.keys != nullptr) QUIVER_RETURN_IF_ERROR(state.VerifyJsonForms(column, view, forms));
  }
  QUIVER_ASSIGN_OR_RETURN(const std::span<const SegmentJsonPath> paths, json_paths());
  for (const SegmentJsonPath& path : paths) {
    // Null where the document is, or has nothing at the place: who reads the column relies on both.
    QUIVER_ASSIGN_OR_RETURN(const ColumnView documents, View(path.field_id, 0, rows()));
    QUIVER_ASSIGN_OR_RETURN(const ColumnView values, View(path.column->field_id, 0, rows()));
    internal::JsonPathReader reader(std::span(&path.keys, 1));
    for (uint32_t row = 0; row < rows(); ++row) {
      std::string_view value;
      if (!documents.IsNull(row)) reader.Read(documents.Bytes(row), std::span(&value, 1));
      if (!internal::HoldsJsonValue(values, row, value)) {
        return state.Remember(
            state.Damaged(fmt::format("the JSON path column {} does not agree with field {} at row {}",
                                      path.column->field_id, path.field_id, row)));
      }
    }
  }
  QUIVER_ASSIGN_OR_RETURN(const std::span<const uint64_t> stamps, insert_timestamps());
  for (const uint64_t stamp : stamps) {
    if (stamp < min_timestamp() || stamp > max_timestamp()) {
      return state.Remember(state.Damaged("an insert timestamp is out of bounds"));
    }
  }

  // The pk index: every row once, in order, with the key that the column holds, and in the filter.
  QUIVER_ASSIGN_OR_RETURN(const std::span<const uint32_t> order, rows_by_pk());
  QUIVER_ASSIGN_OR_RETURN(const ColumnView keys, View(pk_field_id(), 0, rows()));
  std::vector<bool> seen(rows());
  const bool integers = state.pk_type == DataType::kInt64;
  for (size_t i = 0; i < order.size(); ++i) {
    const uint32_t row = order[i];
    if (seen[row]) return state.DamagedSection(*state.pk_rows, fmt::format("row {} is there twice", row));
    seen[row] = true;
    if (integers && state.Data<int64_t>(*state.pk_keys)[i] != keys.Get<int64_t>(row)) {
      return state.DamagedSection(*state.pk_keys, fmt::format("the key of row {} differs from its column", row));
    }
    const uint64_t hash = integers ? internal::HashPk(keys.Get<int64_t>(row)) : internal::HashPk(keys.Bytes(row));
    QUIVER_ASSIGN_OR_RETURN(const bool may_contain, state.MayContain(hash));
    if (!may_contain) return state.DamagedSection(*state.pk_filter, fmt::format("the key of row {} is missing", row));
    if (i == 0) continue;
    const uint32_t before = order[i - 1];
    const int compared = integers ? (keys.Get<int64_t>(before) < keys.Get<int64_t>(row)    ? -1
                                     : keys.Get<int64_t>(before) == keys.Get<int64_t>(row) ? 0
                                                                                           : 1)
                                  : keys.Bytes(before).compare(keys.Bytes(row));
    if (compared > 0 || (compared == 0 && std::pair(stamps[before], before) >= std::pair(stamps[row], row))) {
      return state.DamagedSection(*state.pk_rows, fmt::format("entry {} is out of order", i));
    }
  }
  return state.CheckReadable();
}

}  // namespace quiver::storage
