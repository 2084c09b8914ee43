#include "engine/collection_info.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>

#include "schema/default_column.h"
#include "schema/validation.h"

namespace quiver::engine {

namespace {

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

void WriteString(Writer& writer, const char* key, std::string_view value) {
  writer.Key(key);
  writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
}

void WriteInt(Writer& writer, const char* key, int64_t value) {
  writer.Key(key);
  writer.Int64(value);
}

void WriteUint(Writer& writer, const char* key, uint64_t value) {
  writer.Key(key);
  writer.Uint64(value);
}

void WriteKeyValues(Writer& writer, const char* key, const KeyValues& pairs) {
  writer.Key(key);
  writer.StartArray();
  for (const auto& [name, value] : pairs) {
    writer.StartArray();
    writer.String(name.data(), static_cast<rapidjson::SizeType>(name.size()));
    writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
    writer.EndArray();
  }
  writer.EndArray();
}

/// Reads members of one JSON object; remembers the first one that is missing or of the wrong type.
class Reader {
 public:
  explicit Reader(const rapidjson::Value& object) : object_(object) {}

  std::string String(const char* key) {
    const auto* value = Member(key);
    if (value == nullptr || !value->IsString()) return Fail<std::string>(key);
    return {value->GetString(), value->GetStringLength()};
  }
  int64_t Int(const char* key) {
    const auto* value = Member(key);
    if (value == nullptr || !value->IsInt64()) return Fail<int64_t>(key);
    return value->GetInt64();
  }
  uint64_t Uint(const char* key) {
    const auto* value = Member(key);
    if (value == nullptr || !value->IsUint64()) return Fail<uint64_t>(key);
    return value->GetUint64();
  }
  bool Bool(const char* key) {
    const auto* value = Member(key);
    if (value == nullptr || !value->IsBool()) return Fail<bool>(key);
    return value->GetBool();
  }
  KeyValues Pairs(const char* key) {
    KeyValues pairs;
    for (const auto& item : Array(key)) {
      if (!item.IsArray() || item.Size() != 2 || !item[0].IsString() || !item[1].IsString()) {
        return Fail<KeyValues>(key);
      }
      pairs.emplace_back(std::string(item[0].GetString(), item[0].GetStringLength()),
                         std::string(item[1].GetString(), item[1].GetStringLength()));
    }
    return pairs;
  }
  rapidjson::Value::ConstArray Array(const char* key) {
    static const rapidjson::Value kEmpty(rapidjson::kArrayType);
    const auto* value = Member(key);
    if (value == nullptr || !value->IsArray()) {
      Fail<int>(key);
      return kEmpty.GetArray();
    }
    return value->GetArray();
  }
  /// As Array; a member that older entries lack.
  rapidjson::Value::ConstArray ArrayOrNone(const char* key) {
    static const rapidjson::Value kEmpty(rapidjson::kArrayType);
    return Member(key) == nullptr ? kEmpty.GetArray() : Array(key);
  }
  [[nodiscard]] Status status() const { return status_; }

 private:
  const rapidjson::Value* Member(const char* key) {
    if (!object_.IsObject()) return nullptr;
    const auto found = object_.FindMember(key);
    return found == object_.MemberEnd() ? nullptr : &found->value;
  }
  template <typename T>
  T Fail(const char* key) {
    if (status_.ok()) status_ = Error(StatusCode::kCorruption, "catalog entry: bad or missing member {}", key);
    return {};
  }

  const rapidjson::Value& object_;
  Status status_;
};

Result<rapidjson::Document> ParseObject(std::string_view json) {
  rapidjson::Document document;
  document.Parse(json.data(), json.size());
  if (document.HasParseError() || !document.IsObject()) {
    return Error(StatusCode::kCorruption, "catalog entry is not a JSON object: {}", json.substr(0, 80));
  }
  return document;
}

constexpr int64_t kFormatVersion = 1;

void WritePartitions(Writer& writer, const std::vector<PartitionInfo>& partitions) {
  writer.Key("partitions");
  writer.StartArray();
  for (const PartitionInfo& partition : partitions) {
    writer.StartObject();
    WriteInt(writer, "id", partition.id);
    WriteString(writer, "name", partition.name);
    WriteUint(writer, "created", partition.created);
    writer.EndObject();
  }
  writer.EndArray();
}

Result<std::vector<PartitionInfo>> ReadPartitions(Reader& reader) {
  std::vector<PartitionInfo> partitions;
  for (const auto& item : reader.Array("partitions")) {
    Reader partition(item);
    partitions.push_back({partition.Int("id"), partition.String("name"), partition.Uint("created")});
    QUIVER_RETURN_IF_ERROR(partition.status());
  }
  return partitions;
}

}  // namespace

bool LoadInfo::Covers(int64_t partition_id) const {
  return loaded || std::find(partition_ids.begin(), partition_ids.end(), partition_id) != partition_ids.end();
}

const PartitionInfo* CollectionInfo::FindPartition(std::string_view partition_name) const {
  for (const PartitionInfo& partition : partitions) {
    if (partition.name == partition_name) return &partition;
  }
  return nullptr;
}

const PartitionInfo* CollectionInfo::FindPartitionById(int64_t partition_id) const {
  for (const PartitionInfo& partition : partitions) {
    if (partition.id == partition_id) return &partition;
  }
  return nullptr;
}

int64_t CollectionInfo::PartitionOfKey(std::string_view key) const {
  return partitions[XXH3_64bits(key.data(), key.size()) % partitions.size()].id;
}

const IndexInfo* CollectionInfo::FindIndex(std::string_view index_name) const {
  for (const IndexInfo& index : indexes) {
    if (index.name == index_name) return &index;
  }
  return nullptr;
}

const IndexInfo* CollectionInfo::FindIndexOnField(int64_t field_id) const {
  for (const IndexInfo& index : indexes) {
    if (index.field_id == field_id) return &index;
  }
  return nullptr;
}

bool CollectionInfo::HasTombstone(int64_t partition_id) const {
  return std::any_of(tombstones.begin(), tombstones.end(),
                     [&](const Tombstone& tombstone) { return tombstone.partition_id == partition_id; });
}

const SnapshotInfo* CollectionInfo::FindSnapshot(std::string_view snapshot_name) const {
  for (const SnapshotInfo& snapshot : snapshots) {
    if (snapshot.name == snapshot_name) return &snapshot;
  }
  return nullptr;
}

namespace {

/// Seconds of a property. Beyond three thousand years a timestamp could not be moved by them.
int64_t SecondsOf(const KeyValues& properties, std::string_view key, int64_t fallback) {
  const std::string* text = FindValue(properties, key);
  if (text == nullptr) return fallback;
  int64_t seconds = fallback;
  std::from_chars(text->data(), text->data() + text->size(), seconds);
  return std::clamp<int64_t>(seconds, 0, int64_t{100} * 1000 * 1000 * 1000);
}

}  // namespace

int64_t CollectionInfo::ttl_seconds() const { return SecondsOf(properties, kTtlProperty, 0); }
int64_t CollectionInfo::retention_seconds(int64_t fallback) const {
  return SecondsOf(properties, kRetentionProperty, fallback);
}
bool CollectionInfo::large_topk() const {
  const std::string* mode = FindValue(properties, "query_mode");
  return mode != nullptr && *mode == "large_topk";
}
segment::RowExpiry CollectionInfo::row_expiry() const {
  const std::string* name = FindValue(properties, kTtlFieldProperty);
  const FieldSchema* field = name == nullptr ? nullptr : schema->Find(*name);
  if (field == nullptr || field->type != DataType::kTimestamptz) return {};
  const Column fallback = DefaultColumn(*field, 1);
  return {.field_id = field->field_id,
          .absent = fallback.IsNull(0) ? std::nullopt : std::optional(fallback.Get<int64_t>(0))};
}
bool CollectionInfo::key_isolation() const {
  const std::string* text = FindValue(properties, kKeyIsolationProperty);
  return text != nullptr && ParseSwitch(*text).value_or(false);
}

bool CollectionInfo::unique_insert() const {
  const std::string* text = FindValue(properties, kUniqueInsertProperty);
  return text != nullptr && (*text == "true" || *text == "True");
}

std::string CollectionInfoToJson(const CollectionInfo& info) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.StartObject();
  WriteInt(writer, "version", kFormatVersion);
  WriteInt(writer, "id", info.id);
  WriteString(writer, "database", info.db_name);
  WriteString(writer, "schema", SchemaToJson(*info.schema));
  WriteUint(writer, "created", info.created);
  WriteUint(writer, "updated", info.updated);
  WriteInt(writer, "shards", info.shards_num);
  WriteInt(writer, "consistency_level", info.consistency_level);
  WriteKeyValues(writer, "properties", info.properties);
  WritePartitions(writer, info.partitions);
  writer.Key("indexes");
  writer.StartArray();
  for (const IndexInfo& index : info.indexes) {
    writer.StartObject();
    WriteInt(writer, "id", index.id);
    WriteString(writer, "name", index.name);
    WriteInt(writer, "field_id", index.field_id);
    WriteString(writer, "index_type", index.index_type);
    WriteString(writer, "metric_type", index.metric_type);
    WriteKeyValues(writer, "params", index.params);
    WriteUint(writer, "created", index.created);
    writer.EndObject();
  }
  writer.EndArray();
  writer.Key("aliases");
  writer.StartArray();
  for (const std::string& alias : info.aliases) {
    writer.String(alias.data(), static_cast<rapidjson::SizeType>(alias.size()));
  }
  writer.EndArray();
  writer.Key("loaded");
  writer.Bool(info.load.loaded);
  writer.Key("loaded_partitions");
  writer.StartArray();
  for (const int64_t id : info.load.partition_ids) writer.Int64(id);
  writer.EndArray();
  WriteInt(writer, "replicas", info.load.replica_number);
  WriteInt(writer, "next_field_id", info.next_field_id);
  writer.Key("tombstones");
  writer.StartArray();
  for (const Tombstone& tombstone : info.tombstones) {
    writer.StartObject();
    WriteInt(writer, "partition", tombstone.partition_id);
    WriteString(writer, "name", tombstone.partition_name);
    WriteUint(writer, "timestamp", tombstone.timestamp);
    writer.EndObject();
  }
  writer.EndArray();
  writer.Key("snapshots");
  writer.StartArray();
  for (const SnapshotInfo& snapshot : info.snapshots) {
    writer.StartObject();
    WriteInt(writer, "id", snapshot.id);
    WriteString(writer, "name", snapshot.name);
    WriteString(writer, "description", snapshot.description);
    WriteUint(writer, "timestamp", snapshot.timestamp);
    WriteString(writer, "schema", SchemaToJson(*snapshot.schema));
    WritePartitions(writer, snapshot.partitions);
    writer.EndObject();
  }
  writer.EndArray();
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

Result<CollectionInfo> CollectionInfoFromJson(std::string_view json) {
  QUIVER_ASSIGN_OR_RETURN(const rapidjson::Document document, ParseObject(json));
  Reader reader(document);
  if (reader.Int("version") > kFormatVersion) {
    return Error(StatusCode::kCorruption, "catalog entry has a newer format than this binary: {}",
                 reader.Int("version"));
  }
  CollectionInfo info;
  info.id = reader.Int("id");
  info.db_name = reader.String("database");
  QUIVER_ASSIGN_OR_RETURN(CollectionSchema schema, SchemaFromJson(reader.String("schema")));
  info.schema = std::make_shared<const CollectionSchema>(std::move(schema));
  info.created = reader.Uint("created");
  info.updated = reader.Uint("updated");
  info.shards_num = static_cast<int32_t>(reader.Int("shards"));
  info.consistency_level = static_cast<int32_t>(reader.Int("consistency_level"));
  info.properties = reader.Pairs("properties");
  QUIVER_ASSIGN_OR_RETURN(info.partitions, ReadPartitions(reader));
  for (const auto& item : reader.Array("indexes")) {
    Reader index(item);
    info.indexes.push_back({.id = index.Int("id"),
                            .name = index.String("name"),
                            .field_id = index.Int("field_id"),
                            .index_type = index.String("index_type"),
                            .metric_type = index.String("metric_type"),
                            .params = index.Pairs("params"),
                            .created = index.Uint("created")});
    QUIVER_RETURN_IF_ERROR(index.status());
  }
  for (const auto& item : reader.Array("aliases")) {
    if (item.IsString()) info.aliases.emplace_back(item.GetString(), item.GetStringLength());
  }
  info.load.loaded = reader.Bool("loaded");
  for (const auto& item : reader.Array("loaded_partitions")) {
    if (item.IsInt64()) info.load.partition_ids.push_back(item.GetInt64());
  }
  info.load.replica_number = static_cast<int32_t>(reader.Int("replicas"));
  info.next_field_id = reader.Int("next_field_id");
  for (const auto& item : reader.ArrayOrNone("tombstones")) {
    Reader tombstone(item);
    info.tombstones.push_back({tombstone.Int("partition"), tombstone.String("name"), tombstone.Uint("timestamp")});
    QUIVER_RETURN_IF_ERROR(tombstone.status());
  }
  for (const auto& item : reader.ArrayOrNone("snapshots")) {
    Reader snapshot(item);
    QUIVER_ASSIGN_OR_RETURN(CollectionSchema snapshot_schema, SchemaFromJson(snapshot.String("schema")));
    QUIVER_ASSIGN_OR_RETURN(std::vector<PartitionInfo> partitions, ReadPartitions(snapshot));
    info.snapshots.push_back({.id = snapshot.Int("id"),
                              .name = snapshot.String("name"),
                              .description = snapshot.String("description"),
                              .timestamp = snapshot.Uint("timestamp"),
                              .schema = std::make_shared<const CollectionSchema>(std::move(snapshot_schema)),
                              .partitions = std::move(partitions)});
    QUIVER_RETURN_IF_ERROR(snapshot.status());
  }
  QUIVER_RETURN_IF_ERROR(reader.status());
  return info;
}

std::string DatabaseInfoToJson(const DatabaseInfo& info) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.StartObject();
  WriteInt(writer, "version", kFormatVersion);
  WriteInt(writer, "id", info.id);
  WriteString(writer, "name", info.name);
  WriteUint(writer, "created", info.created);
  WriteKeyValues(writer, "properties", info.properties);
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

Result<DatabaseInfo> DatabaseInfoFromJson(std::string_view json) {
  QUIVER_ASSIGN_OR_RETURN(const rapidjson::Document document, ParseObject(json));
  Reader reader(document);
  if (reader.Int("version") > kFormatVersion) {
    return Error(StatusCode::kCorruption, "catalog entry has a newer format than this binary: {}",
                 reader.Int("version"));
  }
  DatabaseInfo info{.id = reader.Int("id"),
                    .name = reader.String("name"),
                    .created = reader.Uint("created"),
                    .properties = reader.Pairs("properties")};
  QUIVER_RETURN_IF_ERROR(reader.status());
  return info;
}

}  // namespace quiver::engine
