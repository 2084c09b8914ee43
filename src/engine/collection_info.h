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
#include "segment/segment.h"

namespace quiver::engine {

using Timestamp = uint64_t;  ///< hybrid: unix milliseconds << 18 | counter

struct PartitionInfo {
  int64_t id = 0;
  std::string name;
  Timestamp created = 0;
};

/// A recorded index. What is built for it, segment by segment, follows from it (engine/index_recipe.h) and stands in
/// the manifests of the segments.
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

/// Rows that died together: those of a dropped partition, or all of a truncated collection. Recovery applies it in its
/// place among the log's records; it is forgotten once files hold these deletes and nobody may read before them.
struct Tombstone {
  int64_t partition_id = -1;   ///< -1 = all rows
  std::string partition_name;  ///< for reads at a moment when the partition was there
  Timestamp timestamp = 0;
};

/// A named moment that stays readable, whatever the retention.
struct SnapshotInfo {
  int64_t id = 0;
  std::string name;
  std::string description;
  Timestamp timestamp = 0;
  std::shared_ptr<const CollectionSchema> schema;  ///< as it was
  std::vector<PartitionInfo> partitions;           ///< as they were
};

/// Property keys of a collection that the engine acts on.
inline constexpr std::string_view kTtlProperty = "collection.ttl.seconds";
/// The TIMESTAMPTZ field that says when its row ends.
inline constexpr std::string_view kTtlFieldProperty = "ttl_field";
inline constexpr std::string_view kRetentionProperty = "collection.retention.seconds";
/// "true": inserting a primary key that exists is an error instead of a replacement.
inline constexpr std::string_view kUniqueInsertProperty = "collection.insert.unique";
/// A true value: every search names one value of the partition key.
inline constexpr std::string_view kKeyIsolationProperty = "partitionkey.isolation";

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
  std::vector<Tombstone> tombstones;    ///< ascending timestamps
  std::vector<SnapshotInfo> snapshots;  ///< ascending timestamps

  [[nodiscard]] const std::string& name() const { return schema->name; }
  [[nodiscard]] const PartitionInfo* FindPartition(std::string_view partition_name) const;
  [[nodiscard]] const PartitionInfo* FindPartitionById(int64_t partition_id) const;
  /// The partition that rows with this value of the partition key (as bytes of a column) lie in, by its hash. The hash
  /// is part of the data's meaning: rows of one key must land in one partition for ever. There is a partition key.
  [[nodiscard]] int64_t PartitionOfKey(std::string_view key) const;
  /// By index name; nullptr when there is none.
  [[nodiscard]] const IndexInfo* FindIndex(std::string_view index_name) const;
  /// The index on a field; nullptr when there is none.
  [[nodiscard]] const IndexInfo* FindIndexOnField(int64_t field_id) const;
  /// Whether a partition was dropped and its tombstone is still remembered.
  [[nodiscard]] bool HasTombstone(int64_t partition_id) const;
  /// nullptr when there is none.
  [[nodiscard]] const SnapshotInfo* FindSnapshot(std::string_view snapshot_name) const;
  /// Seconds that rows live; 0 = for ever.
  [[nodiscard]] int64_t ttl_seconds() const;
  /// Seconds for which dead versions of rows stay readable; `fallback` where the collection does not say.
  [[nodiscard]] int64_t retention_seconds(int64_t fallback) const;
  [[nodiscard]] bool unique_insert() const;
  /// Whether every search must name one value of the partition key (property partitionkey.isolation).
  [[nodiscard]] bool key_isolation() const;
  /// Whether searches may ask for as many hits as kLargeTopK (property query_mode).
  [[nodiscard]] bool large_topk() const;
  /// How rows end by a field of their own (`moment` is 0); field_id 0 where the collection has none.
  [[nodiscard]] segment::RowExpiry row_expiry() const;
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
