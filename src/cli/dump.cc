#include "cli/dump.h"

#include <fmt/format.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/log_record.h"
#include "expr/value_statistics.h"
#include "index/key_index_file.h"
#include "index/scalar_index.h"
#include "index/scalar_layout.h"
#include "index/tuning.h"
#include "index/vector_index.h"
#include "io/file_system.h"
#include "io/read_only_file_system.h"
#include "schema/data_type.h"
#include "schema/geometry.h"
#include "schema/timestamp.h"
#include "storage/delta_file.h"
#include "storage/log_store.h"
#include "storage/meta_store.h"
#include "storage/segment_file.h"

namespace quiver::cli {

namespace {

constexpr std::string_view kUsage =
    "usage: quiver dump FILE [--json] [--rows N]\n"
    "\n"
    "Shows what a file of a data directory holds: a segment file (columns, sections, partitions), a delta file "
    "(deleted\n"
    "rows), a log file (records), or the directory meta of the catalog (keys and values; no server may use it).\n"
    "\n"
    "  --json      print JSON\n"
    "  --rows N    show at most N rows of a segment, deletes of a delta or records of a log file; default 0, and 20 "
    "for\n"
    "              deltas and logs\n"
    "\n"
    "Exit codes: 0 shown; 1 the file is damaged; 2 wrong arguments, or not such a file.\n";

/// Writes a tree of named values as JSON or as indented text.
class Tree {
 public:
  explicit Tree(bool json) : json_(json), writer_(buffer_) { Open(""); }

  void Open(std::string_view name) { Begin(name, false); }
  void OpenList(std::string_view name) { Begin(name, true); }
  void Close() {
    const bool list = lists_.back();
    lists_.pop_back();
    if (json_) list ? writer_.EndArray() : writer_.EndObject();
  }
  void Text(std::string_view name, std::string_view value) {
    if (json_) {
      Key(name);
      writer_.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
    } else {
      fmt::print("{:{}}{}: {}\n", "", Indent(), name, value);
    }
  }
  void Number(std::string_view name, int64_t value) {
    if (json_) {
      Key(name);
      writer_.Int64(value);
    } else {
      fmt::print("{:{}}{}: {}\n", "", Indent(), name, value);
    }
  }
  /// Unsigned: timestamps, offsets, lengths.
  void Count(std::string_view name, uint64_t value) {
    if (json_) {
      Key(name);
      writer_.Uint64(value);
    } else {
      fmt::print("{:{}}{}: {}\n", "", Indent(), name, value);
    }
  }
  void End() {
    Close();
    if (json_) fmt::print("{}\n", buffer_.GetString());
  }

 private:
  void Begin(std::string_view name, bool list) {
    if (json_) {
      Key(name);
      list ? writer_.StartArray() : writer_.StartObject();
    } else if (!lists_.empty()) {
      fmt::print("{:{}}{}\n", "", Indent(), name.empty() ? "-" : fmt::format("{}:", name));
    }
    lists_.push_back(list);
  }
  void Key(std::string_view name) {
    if (lists_.empty() || lists_.back()) return;
    writer_.Key(name.data(), static_cast<rapidjson::SizeType>(name.size()));
  }
  [[nodiscard]] size_t Indent() const { return 2 * (lists_.size() - 1); }

  const bool json_;
  rapidjson::StringBuffer buffer_;
  rapidjson::PrettyWriter<rapidjson::StringBuffer> writer_;
  std::vector<bool> lists_;
};

template <typename T>
std::string Joined(std::string_view bytes) {
  std::string text = "[";
  for (size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    text += fmt::format("{}{}", at == 0 ? "" : ", ", value);
  }
  return text + "]";
}

std::string Hex(std::string_view bytes) {
  std::string text = "0x";
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<uint8_t>(byte));
  return text;
}

std::string ValueText(const ColumnView& view, size_t row) {
  if (view.IsNull(row)) return "null";
  switch (view.type) {
    case DataType::kBool: return view.Get<uint8_t>(row) != 0 ? "true" : "false";
    case DataType::kInt8: return fmt::to_string(view.Get<int8_t>(row));
    case DataType::kInt16: return fmt::to_string(view.Get<int16_t>(row));
    case DataType::kInt32: return fmt::to_string(view.Get<int32_t>(row));
    case DataType::kInt64: return fmt::to_string(view.Get<int64_t>(row));
    case DataType::kFloat: return fmt::to_string(view.Get<float>(row));
    case DataType::kDouble: return fmt::to_string(view.Get<double>(row));
    case DataType::kTimestamptz: return FormatTimestamp(view.Get<int64_t>(row), {});
    case DataType::kGeometry: return WktFromWkb(view.Bytes(row));
    case DataType::kText:
    case DataType::kVarChar:
    case DataType::kJson: return std::string(view.Bytes(row));
    case DataType::kFloatVector: return Joined<float>(view.Bytes(row));
    case DataType::kInt8Vector: return Joined<int8_t>(view.Bytes(row));
    default: return Hex(view.Bytes(row));
  }
}

/// The most frequent values of a column that is kept as codes of a dictionary, counted; nothing of others.
Status DumpFrequentTexts(Tree& tree, const storage::SegmentFile& file, const storage::SegmentColumn& column) {
  constexpr size_t kMostShown = 10;
  if (column.type != DataType::kVarChar) return Status::Ok();
  QUIVER_ASSIGN_OR_RETURN(const ColumnView view, file.View(column.field_id, 0, file.rows()));
  if (view.dictionary == nullptr) return Status::Ok();
  std::vector<std::pair<uint64_t, uint32_t>> counts(view.dictionary->size);
  for (uint32_t code = 0; code < counts.size(); ++code) counts[code].second = code;
  for (size_t row = 0; row < view.rows; ++row) {
    if (view.IsNull(row)) continue;
    ++counts[view.codes8 != nullptr ? view.codes8[row] : view.codes16[row]].first;
  }
  std::sort(counts.begin(), counts.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  tree.OpenList("most_frequent");
  for (size_t i = 0; i < std::min(counts.size(), kMostShown) && counts[i].first > 0; ++i) {
    tree.Open("");
    tree.Text("value", view.dictionary->Entry(counts[i].second));
    tree.Count("rows", counts[i].first);
    tree.Close();
  }
  tree.Close();
  return Status::Ok();
}

/// The most frequent values and the histogram of a column.
void DumpValues(Tree& tree, const expr::ValueStatistics& known, DataType type) {
  const auto text_of = [type](const expr::ValueRows& value) {
    if (IsFloating(type)) return fmt::to_string(value.real);
    return IsFixedScalar(type) ? fmt::to_string(value.integer) : value.text;
  };
  tree.OpenList("most_frequent");
  for (const expr::ValueRows& value : known.top) {
    tree.Open("");
    tree.Text("value", text_of(value));
    tree.Count("rows", value.rows);
    tree.Close();
  }
  tree.Close();
  tree.OpenList("histogram");
  for (size_t i = 0; i < known.buckets.size(); ++i) {
    tree.Open("");
    tree.Text("from", text_of(i == 0 ? known.least : known.buckets[i - 1]));
    tree.Text("to", text_of(known.buckets[i]));
    tree.Count("rows", known.buckets[i].rows);
    tree.Close();
  }
  tree.Close();
}

Status DumpSegment(Tree& tree, const std::string& path, uint64_t rows) {
  QUIVER_ASSIGN_OR_RETURN(const auto file, storage::SegmentFile::Open(io::PosixFileSystem(), path));
  tree.Text("kind", "segment file");
  tree.Number("collection", file->collection_id());
  tree.Number("segment", file->segment_id());
  tree.Number("schema_version", file->schema_version());
  tree.Count("rows", file->rows());
  tree.Count("bytes", file->byte_size());
  tree.Number("pk_field", file->pk_field_id());
  tree.Count("min_timestamp", file->min_timestamp());
  tree.Count("max_timestamp", file->max_timestamp());
  const auto bound = [&](const char* name, const std::optional<storage::SegmentFile::PkBound>& value) {
    if (!value) return;
    if (const auto* number = std::get_if<int64_t>(&*value)) {
      tree.Number(name, *number);
    } else {
      tree.Text(name, std::get<std::string>(*value));
    }
  };
  bound("min_pk", file->min_pk());
  bound("max_pk", file->max_pk());
  tree.OpenList("columns");
  for (const storage::SegmentColumn& column : file->columns()) {
    tree.Open("");
    tree.Number("field", column.field_id);
    tree.Text("type", DataTypeName(column.type));
    tree.Count("width", column.width);
    tree.Count("nulls", column.null_count);
    tree.Count("bytes", column.byte_size);
    if (column.summary) tree.Count("distinct", column.summary->distinct);
    if (const auto known = file->value_statistics(column.field_id); !known.ok()) {
      tree.Text("value_statistics", known.status().message());
    } else if (*known != nullptr) {
      DumpValues(tree, **known, column.type);
    } else if (const Status counted = DumpFrequentTexts(tree, *file, column); !counted.ok()) {
      tree.Text("most_frequent", counted.message());
    }
    const auto pages = file->page_statistics(column.field_id);
    if (!pages.ok()) {
      tree.Text("statistics", pages.status().message());
    } else if (!pages->empty()) {
      const bool real = column.type == DataType::kFloat || column.type == DataType::kDouble;
      tree.OpenList("statistics");
      for (const storage::PageStatistics& page : *pages) {
        tree.Open("");
        if (page.has_values != 0) {
          tree.Text("min", real ? fmt::to_string(page.min.real) : fmt::to_string(page.min.integer));
          tree.Text("max", real ? fmt::to_string(page.max.real) : fmt::to_string(page.max.integer));
        }
        tree.Count("nulls", page.null_count);
        tree.Close();
      }
      tree.Close();
    }
    tree.Close();
  }
  tree.Close();
  tree.OpenList("json_paths");
  if (const auto paths = file->json_paths(); paths.ok()) {
    for (const storage::SegmentJsonPath& path : *paths) {
      tree.Open("");
      tree.Number("field", path.field_id);
      tree.Text("path", fmt::format("{}", fmt::join(path.keys, "/")));
      tree.Text("type", DataTypeName(path.column->type));
      tree.Number("column", path.column->field_id);
      tree.Count("nulls", path.column->null_count);
      tree.Count("bytes", path.column->byte_size);
      tree.Close();
    }
  } else {
    tree.Text("error", paths.status().message());
  }
  tree.Close();
  tree.OpenList("sections");
  for (const storage::SegmentSection& section : file->sections()) {
    tree.Open("");
    tree.Text("name", section.name);
    tree.Number("field", section.field_id);
    tree.Count("offset", section.offset);
    tree.Count("length", section.length);
    tree.Close();
  }
  tree.Close();
  tree.OpenList("partitions");
  for (const storage::PartitionRun& run : file->partitions()) {
    tree.Open("");
    tree.Number("partition", run.partition_id);
    tree.Count("first_row", run.first_row);
    tree.Count("rows", run.rows);
    tree.Close();
  }
  tree.Close();
  if (rows == 0) return Status::Ok();
  QUIVER_ASSIGN_OR_RETURN(const std::span<const uint64_t> stamps, file->insert_timestamps());
  tree.OpenList("values");
  Status status;
  for (uint32_t row = 0; row < std::min<uint64_t>(rows, file->rows()); ++row) {
    tree.Open("");
    tree.Count("row", row);
    tree.Count("inserted", stamps[row]);
    for (const storage::SegmentColumn& column : file->columns()) {
      const auto view = file->View(column.field_id, row, 1);
      if (!view.ok()) status = view.status();
      tree.Text(fmt::to_string(column.field_id), view.ok() ? ValueText(*view, 0) : "damaged");
    }
    tree.Close();
  }
  tree.Close();
  return status.ok() ? file->damage() : status;
}

const char* StructureName(index::IndexStructure structure) {
  constexpr std::array kStructures{"unknown", "lists", "graph", "inverted"};
  const auto number = static_cast<size_t>(structure);
  return kStructures[number < kStructures.size() ? number : 0];
}

const char* CodecName(index::IndexCodec codec) {
  constexpr std::array kCodecs{"raw", "sq8", "rabitq", "pq"};
  const auto number = static_cast<size_t>(codec);
  return number < kCodecs.size() ? kCodecs[number] : "unknown";
}

/// What a vector index file tells of itself.
Status DescribeVectorIndex(Tree& tree, std::string_view bytes, const std::string& path) {
  QUIVER_ASSIGN_OR_RETURN(const auto opened, index::OpenVectorIndex(bytes, path));
  const index::IndexRecipe& recipe = opened->recipe();
  tree.Text("structure", StructureName(recipe.structure));
  tree.Text("codec", CodecName(recipe.codec));
  tree.Text("type", DataTypeName(recipe.type));
  tree.Number("dim", recipe.dim);
  tree.Text("metric", MetricTypeName(recipe.metric));
  tree.Count("rows", opened->row_count());
  if (recipe.structure == index::IndexStructure::kGraph) {
    tree.Count("degree", recipe.degree);
    tree.Count("ef_construction", recipe.ef_construction);
    if (recipe.codec == index::IndexCodec::kPq) {
      tree.Count("quantizers", recipe.quantizers);
      tree.Count("stages", recipe.stages);
      tree.Count("code_bits", recipe.code_bits);
    }
  } else if (recipe.structure == index::IndexStructure::kLists) {
    tree.Count("nlist", recipe.nlist);
    const bool pq = recipe.codec == index::IndexCodec::kPq;
    if (pq) tree.Count("quantizers", recipe.quantizers);
    if (pq || recipe.codec == index::IndexCodec::kRabitq) tree.Count("code_bits", recipe.code_bits);
  }
  tree.Count("bytes", bytes.size());
  return Status::Ok();
}

Status DumpIndex(Tree& tree, const std::string& path) {
  QUIVER_ASSIGN_OR_RETURN(const auto file, io::PosixFileSystem().Map(path));
  const std::string_view bytes(reinterpret_cast<const char*>(file->data()), file->size());
  if (index::IsScalarIndexFile(bytes)) {
    QUIVER_ASSIGN_OR_RETURN(const auto scalar, index::OpenScalarIndex(bytes, path));
    QUIVER_RETURN_IF_ERROR(scalar->EnsureSound());
    const index::ScalarRecipe& of = scalar->recipe();
    tree.Text("kind", "scalar index file");
    tree.Text("structure", index::ScalarStructureName(of.structure));
    tree.Number("field", of.field_id);
    tree.Text("type", DataTypeName(of.type));
    tree.Text("values", DataTypeName(of.value_type));
    tree.Text("elements", of.elements ? "true" : "false");
    if (!of.path.empty()) tree.Text("path", fmt::format("{}", fmt::join(of.path, ".")));
    tree.Count("rows", scalar->row_count());
    tree.Count("distinct", scalar->value_count());
    tree.Count("nulls", scalar->null_rows().size());
    tree.Count("bytes", bytes.size());
    constexpr uint64_t kPageBytes = 4096;
    QUIVER_ASSIGN_OR_RETURN(const auto sections, index::ScalarSections(*scalar, bytes, path));
    tree.OpenList("sections");
    for (const index::ScalarSection& section : sections) {
      tree.Open("");
      tree.Text("name", section.name);
      tree.Count("offset", section.offset);
      tree.Count("bytes", section.bytes);
      tree.Count("pages", (section.bytes + kPageBytes - 1) / kPageBytes);
      tree.Count("entries", section.entries);
      tree.Close();
    }
    tree.Close();
    return Status::Ok();
  }
  tree.Text("kind", "vector index file");
  return DescribeVectorIndex(tree, bytes, path);
}

/// Indexes of single values of the partition key.
Status DumpKeyIndexes(Tree& tree, const std::string& path) {
  QUIVER_ASSIGN_OR_RETURN(const auto file, io::PosixFileSystem().Map(path));
  const std::string_view bytes(reinterpret_cast<const char*>(file->data()), file->size());
  QUIVER_ASSIGN_OR_RETURN(const index::KeyIndexFile opened, index::OpenKeyIndexFile(bytes, path));
  QUIVER_RETURN_IF_ERROR(index::CheckKeyIndexFile(bytes, path));
  tree.Text("kind", "key index file");
  tree.Count("segment_rows", opened.segment_rows);
  tree.Number("field", opened.field_id);
  tree.Count("bytes", bytes.size());
  tree.OpenList("indexes");
  for (const index::KeyRun& run : opened.runs) {
    tree.Open("");
    tree.Count("first_row", run.first_row);
    QUIVER_RETURN_IF_ERROR(DescribeVectorIndex(tree, run.index, path));
    tree.Count("tuning_bytes", run.tuning.size());
    tree.Close();
  }
  tree.Close();
  return Status::Ok();
}

Status DumpTuning(Tree& tree, const std::string& path) {
  QUIVER_ASSIGN_OR_RETURN(const auto file, io::PosixFileSystem().Map(path));
  const std::string_view bytes(reinterpret_cast<const char*>(file->data()), file->size());
  QUIVER_ASSIGN_OR_RETURN(const index::IndexTuning tuning, index::IndexTuning::Parse(bytes, path));
  tree.Text("kind", "tuning file");
  tree.Text("structure", StructureName(tuning.structure()));
  tree.Count("rows", tuning.rows());
  tree.Count("samples", tuning.samples());
  const char* const effort = tuning.structure() == index::IndexStructure::kGraph ? "ef" : "nprobe";
  tree.OpenList("points");
  for (const index::TuningPoint& point : tuning.points()) {
    tree.Open("");
    tree.Count("k", point.k);
    tree.Count(effort, point.effort);
    tree.Count("refine", point.refine);
    tree.Text("recall", fmt::format("{:.4f}", point.recall));
    tree.Text("error", fmt::format("{:.4f}", point.error));
    tree.Text("microseconds", fmt::format("{:.1f}", point.nanoseconds / 1000));
    tree.Close();
  }
  tree.Close();
  if (tuning.tried().empty()) return Status::Ok();
  tree.OpenList("tried");
  for (const index::TriedRecipe& recipe : tuning.tried()) {
    tree.Open("");
    tree.Text("structure", StructureName(recipe.structure));
    tree.Text("codec", CodecName(recipe.codec));
    if (recipe.codec == index::IndexCodec::kRabitq) tree.Count("code_bits", recipe.code_bits);
    tree.Text("chosen", recipe.chosen ? "true" : "false");
    tree.Text("sample_recall", fmt::format("{:.4f}", recipe.recall));
    tree.Text("sample_microseconds", fmt::format("{:.1f}", recipe.nanoseconds / 1000));
    tree.Text("segment_microseconds", fmt::format("{:.1f}", recipe.segment_nanoseconds / 1000));
    tree.Text("build_seconds", fmt::format("{:.2f}", recipe.build_seconds));
    tree.Text("row_bytes", fmt::format("{:.0f}", recipe.row_bytes));
    tree.Text("cost", fmt::format("{:.2f}", recipe.cost));
    tree.Close();
  }
  tree.Close();
  return Status::Ok();
}

Status DumpDelta(Tree& tree, const std::string& path, uint64_t rows) {
  QUIVER_ASSIGN_OR_RETURN(const storage::DeltaContent content, storage::ReadDeltaFile(io::PosixFileSystem(), path));
  tree.Text("kind", "delta file");
  tree.Number("segment", content.segment_id);
  tree.Count("deletes", content.deletes.size());
  tree.OpenList("rows");
  for (size_t i = 0; i < std::min<uint64_t>(rows, content.deletes.size()); ++i) {
    tree.Open("");
    tree.Count("row", content.deletes[i].row);
    tree.Count("deleted", content.deletes[i].timestamp);
    tree.Close();
  }
  tree.Close();
  return Status::Ok();
}

Status DumpLogRecord(Tree& tree, const storage::LogEntry& entry) {
  switch (static_cast<engine::LogKind>(entry.kind)) {
    case engine::LogKind::kWrite: {
      tree.Text("kind", "write");
      QUIVER_ASSIGN_OR_RETURN(const engine::WriteRecord record, engine::DecodeWriteRecord(entry.payload));
      tree.Count("rows", record.batch.rows);
      tree.Count("columns", record.batch.columns.size());
      return Status::Ok();
    }
    case engine::LogKind::kDelete: {
      tree.Text("kind", "delete");
      QUIVER_ASSIGN_OR_RETURN(const engine::DeleteRecord record, engine::DecodeDeleteRecord(entry.payload));
      tree.Count("keys", record.keys.rows);
      tree.Number("partition", record.partition_id);
      tree.Count("kill_before", record.kill_before);
      return Status::Ok();
    }
    case engine::LogKind::kDdl: {
      tree.Text("kind", "catalog change");
      QUIVER_ASSIGN_OR_RETURN(const engine::DdlRecord record, engine::DecodeDdlRecord(entry.payload));
      for (const storage::MetaOperation& operation : record.operations) {
        const bool put = operation.kind == storage::MetaOperation::Kind::kPut;
        tree.Text((put ? "put " : "delete ") + operation.key, put ? operation.value : "");
      }
      return Status::Ok();
    }
  }
  tree.Count("kind", entry.kind);
  return Status::Ok();
}

Status DumpLog(Tree& tree, const std::string& path, uint64_t rows) {
  const size_t slash = path.rfind('/');
  io::ReadOnlyFileSystem files(io::PosixFileSystem(), slash == std::string::npos ? path : path.substr(slash + 1));
  QUIVER_ASSIGN_OR_RETURN(const auto log, storage::OpenLocalLog(files, io::DirectoryOf(path), {}));
  tree.Text("kind", "log file");
  tree.Count("first_offset", log->begin_offset());
  tree.Count("end_offset", log->end_offset());
  uint64_t records = 0;
  Status damaged;
  tree.OpenList("records");
  const Status read = log->Read(log->begin_offset(), [&](uint64_t offset, const storage::LogEntry& entry) -> Status {
    if (records++ >= rows) return Status::Ok();
    tree.Open("");
    tree.Count("offset", offset);
    tree.Count("collection", entry.stream);
    tree.Count("timestamp", entry.timestamp);
    tree.Count("bytes", entry.payload.size());
    if (const Status decoded = DumpLogRecord(tree, entry); !decoded.ok()) {
      tree.Text("damage", decoded.message());
      damaged = decoded;
    }
    tree.Close();
    return Status::Ok();
  });
  tree.Close();
  tree.Count("record_count", records);
  return read.ok() ? damaged : read;
}

Status DumpMeta(Tree& tree, const std::string& path) {
  QUIVER_ASSIGN_OR_RETURN(const auto meta, storage::OpenLocalMeta(path));
  QUIVER_ASSIGN_OR_RETURN(const auto entries, meta->Scan(""));
  tree.Text("kind", "catalog");
  tree.Count("keys", entries.size());
  tree.Open("entries");
  for (const auto& [key, value] : entries) tree.Text(key, value);
  tree.Close();
  return Status::Ok();
}

int Fail(std::string_view message) {
  fmt::print(stderr, "quiver dump: {}\n", message);
  return 2;
}

}  // namespace

int Dump(const std::vector<std::string>& arguments) {
  std::string path;
  bool json = false;
  std::optional<uint64_t> rows;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      fmt::print("{}", kUsage);
      return 0;
    }
    if (argument == "--json") {
      json = true;
    } else if (argument == "--rows" && i + 1 < arguments.size()) {
      const std::string& text = arguments[++i];
      uint64_t value = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error != std::errc() || end != text.data() + text.size()) return Fail("--rows takes a number: " + text);
      rows = value;
    } else if (!argument.starts_with("-") && path.empty()) {
      path = argument;
    } else {
      return Fail(fmt::format("unknown argument '{}'\n\n{}", argument, kUsage));
    }
  }
  if (path.empty()) return Fail(fmt::format("no file given\n\n{}", kUsage));
  io::FileSystem& files = io::PosixFileSystem();
  const auto is_catalog = files.Exists(io::JoinPath(path, "CURRENT"));
  Status status;
  if (is_catalog.ok() && *is_catalog) {
    Tree tree(json);
    status = DumpMeta(tree, path);
    tree.End();
  } else {
    const auto file = files.OpenRead(path);
    if (!file.ok()) return Fail(file.status().message());
    std::array<char, 8> magic{};
    if ((*file)->size() >= magic.size()) {
      if (const Status read = (*file)->Read(0, std::as_writable_bytes(std::span(magic))); !read.ok()) {
        return Fail(read.message());
      }
    }
    const std::string_view kind(magic.data(), 7);
    if (kind != "QUIVSEG" && kind != "QUIVDLT" && kind != "QUIVLOG" && kind != "QUIVVIX" && kind != "QUIVSIX" &&
        kind != "QUIVTUN" && kind != "QUIVKIX") {
      return Fail(fmt::format("not a segment, delta, index, tuning or log file, nor a catalog directory: {}", path));
    }
    Tree tree(json);
    if (kind == "QUIVSEG") {
      status = DumpSegment(tree, path, rows.value_or(0));
    } else if (kind == "QUIVVIX" || kind == "QUIVSIX") {
      status = DumpIndex(tree, path);
    } else if (kind == "QUIVKIX") {
      status = DumpKeyIndexes(tree, path);
    } else if (kind == "QUIVTUN") {
      status = DumpTuning(tree, path);
    } else if (kind == "QUIVDLT") {
      status = DumpDelta(tree, path, rows.value_or(20));
    } else {
      status = DumpLog(tree, path, rows.value_or(20));
    }
    tree.End();
  }
  if (status.ok()) return 0;
  fmt::print(stderr, "quiver dump: {}\n", status.message());
  return 1;
}

}  // namespace quiver::cli
