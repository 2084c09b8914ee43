#include "engine/log_record.h"

#include <algorithm>

#include "base/bytes.h"

namespace quiver::engine {

namespace {

constexpr uint8_t kRecordVersion = 1;

void EncodeColumn(ByteWriter& writer, const Column& column) {
  writer.Value(column.field_id);
  writer.Value(static_cast<int32_t>(column.type));
  writer.Value(static_cast<int32_t>(column.element_type));
  writer.Value<uint64_t>(column.width);
  writer.Value<uint64_t>(column.rows);
  writer.Bytes({reinterpret_cast<const char*>(column.valid.data()), column.valid.size()});
  if (column.is_fixed()) {
    writer.Bytes({reinterpret_cast<const char*>(column.fixed.data()), column.fixed.size()});
  } else {
    writer.Bytes({reinterpret_cast<const char*>(column.offsets.data()), column.offsets.size() * sizeof(uint64_t)});
    writer.Bytes(column.blob);
  }
}

Status DecodeColumn(ByteReader& reader, Column& column) {
  Status damaged = Error(StatusCode::kCorruption, "log record: a column's parts do not fit together");
  column.field_id = reader.Value<int64_t>();
  column.type = static_cast<DataType>(reader.Value<int32_t>());
  column.element_type = static_cast<DataType>(reader.Value<int32_t>());
  column.width = reader.Value<uint64_t>();
  column.rows = reader.Value<uint64_t>();
  const std::string_view valid = reader.Bytes();
  if (!reader.ok() || (!valid.empty() && valid.size() != column.rows)) return damaged;
  column.valid.assign(valid.begin(), valid.end());
  if (column.is_fixed()) {
    const std::string_view fixed = reader.Bytes();
    if (!reader.ok() || fixed.size() / column.width != column.rows || fixed.size() % column.width != 0) return damaged;
    const auto* data = reinterpret_cast<const std::byte*>(fixed.data());
    column.fixed.assign(data, data + fixed.size());
    return Status::Ok();
  }
  const std::string_view offsets = reader.Bytes();
  const std::string_view blob = reader.Bytes();
  if (!reader.ok() || offsets.size() / sizeof(uint64_t) != column.rows + 1 || offsets.size() % sizeof(uint64_t) != 0) {
    return damaged;
  }
  column.offsets.resize(column.rows + 1);
  std::memcpy(column.offsets.data(), offsets.data(), offsets.size());
  if (column.offsets.front() != 0 || column.offsets.back() != blob.size() ||
      !std::is_sorted(column.offsets.begin(), column.offsets.end())) {
    return damaged;
  }
  column.blob = std::string(blob);
  return Status::Ok();
}

Status CheckVersion(ByteReader& reader) {
  const auto version = reader.Value<uint8_t>();
  if (reader.ok() && version <= kRecordVersion && version > 0) return Status::Ok();
  return Error(StatusCode::kCorruption, "log record: version not known to this binary: {}", version);
}

Status CheckEnd(const ByteReader& reader) {
  if (reader.ok() && reader.AtEnd()) return Status::Ok();
  return Error(StatusCode::kCorruption, "log record: {}", reader.ok() ? "bytes left over" : "ends too early");
}

}  // namespace

std::string EncodeRecord(const WriteRecord& record) {
  ByteWriter writer;
  writer.Reserve(record.batch.ByteSize() + record.partition_ids.size() * sizeof(int64_t) + 1024);
  writer.Value(kRecordVersion);
  writer.Bytes(record.request_id);
  writer.Value(record.content_hash);
  writer.Bytes(
      {reinterpret_cast<const char*>(record.partition_ids.data()), record.partition_ids.size() * sizeof(int64_t)});
  writer.Value<uint8_t>(record.replaced_keys ? 1 : 0);
  if (record.replaced_keys) EncodeColumn(writer, *record.replaced_keys);
  writer.Value<uint64_t>(record.batch.rows);
  writer.Value(static_cast<uint32_t>(record.batch.columns.size()));
  for (const Column& column : record.batch.columns) EncodeColumn(writer, column);
  return writer.Take();
}

std::string EncodeRecord(const DeleteRecord& record) {
  ByteWriter writer;
  writer.Value(kRecordVersion);
  writer.Value(record.partition_id);
  writer.Value(record.kill_before);
  EncodeColumn(writer, record.keys);
  return writer.Take();
}

std::string EncodeRecord(const DdlRecord& record) {
  ByteWriter writer;
  writer.Value(kRecordVersion);
  writer.Value(static_cast<uint32_t>(record.operations.size()));
  for (const storage::MetaOperation& operation : record.operations) {
    writer.Value(static_cast<uint8_t>(operation.kind));
    writer.Bytes(operation.key);
    writer.Bytes(operation.value);
  }
  return writer.Take();
}

Result<WriteRecord> DecodeWriteRecord(std::string_view payload) {
  ByteReader reader(payload);
  QUIVER_RETURN_IF_ERROR(CheckVersion(reader));
  WriteRecord record;
  record.request_id = std::string(reader.Bytes());
  record.content_hash = reader.Value<uint64_t>();
  const std::string_view partitions = reader.Bytes();
  record.partition_ids.resize(partitions.size() / sizeof(int64_t));
  std::memcpy(record.partition_ids.data(), partitions.data(), record.partition_ids.size() * sizeof(int64_t));
  if (reader.Value<uint8_t>() != 0) {
    record.replaced_keys.emplace();
    QUIVER_RETURN_IF_ERROR(DecodeColumn(reader, *record.replaced_keys));
  }
  record.batch.rows = reader.Value<uint64_t>();
  const auto columns = reader.Value<uint32_t>();
  for (uint32_t i = 0; i < columns && reader.ok(); ++i) {
    Column column;
    QUIVER_RETURN_IF_ERROR(DecodeColumn(reader, column));
    if (column.rows != record.batch.rows) {
      return Error(StatusCode::kCorruption, "log record: columns of different length");
    }
    record.batch.columns.push_back(std::move(column));
  }
  QUIVER_RETURN_IF_ERROR(CheckEnd(reader));
  if (record.partition_ids.size() != 1 && record.partition_ids.size() != record.batch.rows) {
    return Error(StatusCode::kCorruption, "log record: wrong number of partition ids: {}", record.partition_ids.size());
  }
  return record;
}

Result<DeleteRecord> DecodeDeleteRecord(std::string_view payload) {
  ByteReader reader(payload);
  QUIVER_RETURN_IF_ERROR(CheckVersion(reader));
  DeleteRecord record;
  record.partition_id = reader.Value<int64_t>();
  record.kill_before = reader.Value<uint64_t>();
  QUIVER_RETURN_IF_ERROR(DecodeColumn(reader, record.keys));
  QUIVER_RETURN_IF_ERROR(CheckEnd(reader));
  return record;
}

Result<DdlRecord> DecodeDdlRecord(std::string_view payload) {
  ByteReader reader(payload);
  QUIVER_RETURN_IF_ERROR(CheckVersion(reader));
  DdlRecord record;
  const auto count = reader.Value<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    storage::MetaOperation operation;
    const auto kind = reader.Value<uint8_t>();
    if (kind > static_cast<uint8_t>(storage::MetaOperation::Kind::kDelete)) {
      return Error(StatusCode::kCorruption, "log record: unknown catalog operation: {}", kind);
    }
    operation.kind = static_cast<storage::MetaOperation::Kind>(kind);
    operation.key = std::string(reader.Bytes());
    operation.value = std::string(reader.Bytes());
    record.operations.push_back(std::move(operation));
  }
  QUIVER_RETURN_IF_ERROR(CheckEnd(reader));
  return record;
}

}  // namespace quiver::engine
