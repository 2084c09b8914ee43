// File: engine/collection_info.h
// CollectionInfo and its parts: the catalog's description of a collection, published as an immutable value. A change
// makes a new value; readers keep the one they have.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "schema/collection_schema.h"

namespace quiver::engine {

using Timestamp = uint64_t;  ///< hybrid: unix milliseconds << 18 | counter

struct PartitionInfo {
  int64_t id = 0;
  std::string name;
  Timestamp created = 0;
};

/// A recorded index. Until the vector index layer exists every vector index answers exactly through FLAT.
struct IndexInfo {
  int64_t id = 0;
  std::string name;
  int64_t field_id = 0;
  std::string index_type;   ///< as asked, upper-cased where the published name is
  std::string metric_type;  ///< empty for scalar indexes
  KeyValues params;         ///< as the client gave them
  Timestamp created = 0;
};

/// What of a collection is loaded. A released collection answers searches with code 101 (unless compat.auto_load).
struct LoadInfo {
  bool loaded = false;                 ///< the whole collection, partitions created later included
  std::vector<int64_t> partition_ids;  ///< else: the partitions that are loaded
  int32_t replica_number = 1;
  [[nodiscard]] bool any() const { return loaded || !partition_ids.empty(); }
  [[nodiscard]] bool Covers(int64_t partition_id) const;
};

struct CollectionInfo {
  int64_t id = 0;
  std::string db_name;
  std::shared_ptr<const CollectionSchema> schema;  ///< schema->name is the collection's name
  Timestamp created = 0;
  Timestamp updated = 0;  ///< raised by every schema-changing DDL; stable across restarts
  int32_t shards_num = 1;
  int32_t consistency_level = 2;
  KeyValues properties;
  std::vector<PartitionInfo> partitions;  ///< `_default` first
  std::vector<IndexInfo> indexes;
  std::vector<std::string> aliases;  ///< sorted
  LoadInfo load;
  int64_t next_field_id = kFirstUserFieldId;

  [[nodiscard]] const std::string& name() const { return schema->name; }
  [[nodiscard]] const PartitionInfo* FindPartition(std::string_view partition_name) const;
  [[nodiscard]] const PartitionInfo* FindPartitionById(int64_t partition_id) const;
  /// By index name; nullptr when there is none.
  [[nodiscard]] const IndexInfo* FindIndex(std::string_view index_name) const;
  /// The index on a field; nullptr when there is none.
  [[nodiscard]] const IndexInfo* FindIndexOnField(int64_t field_id) const;
};

struct DatabaseInfo {
  int64_t id = 0;
  std::string name;
  Timestamp created = 0;
  KeyValues properties;
};

/// The catalog's stored forms (JSON text; docs/formats.md).
std::string CollectionInfoToJson(const CollectionInfo& info);
Result<CollectionInfo> CollectionInfoFromJson(std::string_view json);
std::string DatabaseInfoToJson(const DatabaseInfo& info);
Result<DatabaseInfo> DatabaseInfoFromJson(std::string_view json);

}  // namespace quiver::engine
