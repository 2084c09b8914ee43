// File: engine/log_record.h
// Payloads of log entries: what the write path appends and recovery reads (docs/formats.md).
//   kWrite:  one batch of rows of one collection, whole or absent; an upsert of auto-id rows also carries the keys it
//            replaces. Any older version of a written key dies at the record's timestamp (newest wins).
//   kDelete: resolved primary keys, partition scope, kill_before.
//   kDdl:    the MetaStore operations of one catalog change.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/collection_info.h"
#include "schema/column.h"
#include "storage/meta_store.h"

namespace quiver::engine {

enum class LogKind : uint8_t { kWrite = 1, kDelete = 2, kDdl = 3 };

struct WriteRecord {
  std::string request_id;               ///< empty = none
  uint64_t content_hash = 0;            ///< with request_id: tells a repeated request from another one
  std::vector<int64_t> partition_ids;   ///< one for all rows, or one per row
  std::optional<Column> replaced_keys;  ///< keys that die although they are not among the rows
  ColumnBatch batch;                    ///< all columns, the primary key among them
};

struct DeleteRecord {
  int64_t partition_id = -1;  ///< -1 = any
  Timestamp kill_before = 0;  ///< versions inserted after this survive; 0 = the record's own timestamp
  Column keys;
};

struct DdlRecord {
  std::vector<storage::MetaOperation> operations;
};

std::string EncodeRecord(const WriteRecord& record);
std::string EncodeRecord(const DeleteRecord& record);
std::string EncodeRecord(const DdlRecord& record);
/// Errors: kCorruption.
Result<WriteRecord> DecodeWriteRecord(std::string_view payload);
Result<DeleteRecord> DecodeDeleteRecord(std::string_view payload);
Result<DdlRecord> DecodeDdlRecord(std::string_view payload);

}  // namespace quiver::engine
