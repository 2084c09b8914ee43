// Catalog changes. Each is worked out on the sequencer against the catalog at that point of the log, so its order
// against writes is the log's order; see CatalogChange.

#include <algorithm>

#include "engine/engine_impl.h"

namespace quiver::engine {

namespace {

using storage::MetaOperation;

constexpr int64_t kDefaultPartitionKeyPartitions = 16;

MetaOperation Put(std::string key, std::string value) {
  return {MetaOperation::Kind::kPut, std::move(key), std::move(value)};
}
MetaOperation Remove(std::string key) { return {MetaOperation::Kind::kDelete, std::move(key), ""}; }

Status DatabaseNotFound(const std::string& name) {
  return Error(StatusCode::kDatabaseNotFound, "database not found[database={}]", name);
}
Status CollectionNotFound(const std::string& db, const std::string& name) {
  return Error(StatusCode::kCollectionNotFound, "collection not found[database={}][collection={}]", db, name);
}
Status AliasNotFound(const std::string& db, const std::string& alias) {
  return Error(StatusCode::kAliasNotFound, "alias not found[database={}][alias={}]", db, alias);
}
Status PartitionNotFound(const std::string& name) {
  return Error(StatusCode::kPartitionNotFound, "partition not found[partition={}]", name);
}

/// Field by field, ids left out: a client that sends the same request again must find "the same".
bool SameDefinition(const CollectionInfo& info, const CreateCollectionRequest& request) {
  CollectionSchema a = *info.schema;
  CollectionSchema b = request.schema;
  a.version = b.version = 0;
  for (FieldSchema& field : a.fields) field.field_id = 0;
  for (FieldSchema& field : b.fields) field.field_id = 0;
  for (StructArraySchema& one : a.struct_arrays) one.field_id = 0;
  for (StructArraySchema& one : b.struct_arrays) one.field_id = 0;
  return a == b && info.shards_num == request.shards_num && info.consistency_level == request.consistency_level &&
         info.properties == request.properties;
}

/// Applies property changes; returns whether anything changed.
bool ChangeProperties(KeyValues& properties, const KeyValues& set, const std::vector<std::string>& delete_keys) {
  bool changed = false;
  for (const auto& [key, value] : set) {
    const std::string* old = FindValue(properties, key);
    if (old != nullptr && *old == value) continue;
    SetValue(properties, key, value);
    changed = true;
  }
  for (const std::string& key : delete_keys) changed = EraseValue(properties, key) || changed;
  return changed;
}

std::shared_ptr<const CollectionSchema> Share(CollectionSchema schema) {
  ++schema.version;
  return std::make_shared<const CollectionSchema>(std::move(schema));
}

/// Partition ids by name; empty names = none.
Result<std::vector<int64_t>> PartitionIds(const CollectionInfo& info, const std::vector<std::string>& names) {
  std::vector<int64_t> ids;
  for (const std::string& name : names) {
    const PartitionInfo* partition = info.FindPartition(name);
    if (partition == nullptr) return PartitionNotFound(name);
    ids.push_back(partition->id);
  }
  return ids;
}

}  // namespace

Result<std::shared_ptr<Collection>> Engine::Impl::FindLocked(const std::string& db, const std::string& name,
                                                             bool follow_alias) const {
  const auto database = names.find(db);
  if (database == names.end()) return DatabaseNotFound(db);
  auto found = database->second.collections.find(name);
  if (found == database->second.collections.end()) {
    if (!follow_alias) return CollectionNotFound(db, name);
    found = database->second.aliases.find(name);
    if (found == database->second.aliases.end()) return CollectionNotFound(db, name);
  }
  return collections.at(found->second);
}

Result<std::shared_ptr<Collection>> Engine::Impl::Find(const std::string& db, const std::string& name) const {
  const std::shared_lock lock(catalog_mutex);
  return FindLocked(db, name);
}

void Engine::Impl::Publish(const std::shared_ptr<Collection>& collection) {
  const auto info = collection->info();
  collections[info->id] = collection;
  DatabaseNames& database = names[info->db_name];
  database.collections[info->name()] = info->id;
  for (const std::string& alias : info->aliases) database.aliases[alias] = info->id;
}

CatalogChange Engine::Impl::Replace(const std::shared_ptr<Collection>& collection, CollectionInfo info) {
  auto published = std::make_shared<const CollectionInfo>(std::move(info));
  CatalogChange change;
  change.operations.push_back(Put(CollectionKey(collection->id()), CollectionInfoToJson(*published)));
  change.apply = [collection, published](Timestamp) { collection->set_info(published); };
  return change;
}

CatalogChange Engine::Impl::ReplaceIndexes(const std::shared_ptr<Collection>& collection, CollectionInfo info) {
  CatalogChange change = Replace(collection, std::move(info));
  change.apply = [this, collection, publish = std::move(change.apply)](Timestamp timestamp) {
    publish(timestamp);
    RequestIndexing(*collection);
  };
  return change;
}

CatalogChange Engine::Impl::Bury(const std::shared_ptr<Collection>& collection, CollectionInfo info,
                                 const Tombstone& tombstone) {
  // Tombstones that files have made good and nobody may read before are forgotten.
  const Timestamp horizon = RetentionOf(info, last_timestamp_).horizon;
  const Timestamp oldest_pin = info.snapshots.empty() ? segment::kNotDeleted : info.snapshots.front().timestamp;
  const Timestamp checkpointed = collection->checkpoint.load(std::memory_order_relaxed);
  std::erase_if(info.tombstones,
                [&](const Tombstone& old) { return old.timestamp <= std::min({horizon, oldest_pin, checkpointed}); });
  info.tombstones.push_back(tombstone);
  CatalogChange change = Replace(collection, std::move(info));
  change.apply = [this, collection, tombstone, publish = std::move(change.apply)](Timestamp timestamp) {
    publish(timestamp);
    collection->Apply(tombstone);
    RequestMaintenance(*collection);
  };
  return change;
}

// ---- databases ----

Status Engine::CreateDatabase(const std::string& name, const KeyValues& properties) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    if (impl->databases.contains(name)) return InvalidParameter("database already exist: {}", name);
    if (static_cast<int64_t>(impl->databases.size()) >= impl->options.max_databases) {
      return Error(StatusCode::kDatabaseLimit, "exceeded the limit number of database[database_num={}][max={}]",
                   impl->databases.size() + 1, impl->options.max_databases);
    }
    const DatabaseInfo info{
        .id = static_cast<int64_t>(timestamp), .name = name, .created = timestamp, .properties = properties};
    CatalogChange change;
    change.operations.push_back(Put(DatabaseKey(name), DatabaseInfoToJson(info)));
    change.apply = [impl, info](Timestamp) {
      impl->databases[info.name] = info;
      impl->names[info.name];
    };
    return change;
  });
}

Status Engine::DropDatabase(const std::string& name) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp) -> Result<CatalogChange> {
    if (name == "default") return InvalidParameter("can not drop default database");
    if (!impl->databases.contains(name)) return CatalogChange{};
    if (!impl->names.at(name).collections.empty()) {
      return InvalidParameter("database:{} not empty, must drop all collections before drop database", name);
    }
    CatalogChange change;
    change.operations.push_back(Remove(DatabaseKey(name)));
    change.apply = [impl, name](Timestamp) {
      impl->databases.erase(name);
      impl->names.erase(name);
    };
    return change;
  });
}

Status Engine::AlterDatabase(const std::string& name, const KeyValues& set,
                             const std::vector<std::string>& delete_keys) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp) -> Result<CatalogChange> {
    const auto found = impl->databases.find(name);
    if (found == impl->databases.end()) return DatabaseNotFound(name);
    DatabaseInfo info = found->second;
    if (!ChangeProperties(info.properties, set, delete_keys)) return CatalogChange{};
    CatalogChange change;
    change.operations.push_back(Put(DatabaseKey(name), DatabaseInfoToJson(info)));
    change.apply = [impl, info](Timestamp) { impl->databases[info.name] = info; };
    return change;
  });
}

std::vector<DatabaseInfo> Engine::ListDatabases() const {
  const std::shared_lock lock(impl_->catalog_mutex);
  std::vector<DatabaseInfo> all;
  for (const auto& [name, info] : impl_->databases) all.push_back(info);
  return all;
}

Result<DatabaseInfo> Engine::DescribeDatabase(const std::string& name) const {
  const std::shared_lock lock(impl_->catalog_mutex);
  const auto found = impl_->databases.find(name);
  if (found == impl_->databases.end()) return DatabaseNotFound(name);
  return found->second;
}

// ---- collections ----

Status Engine::CreateCollection(CreateCollectionRequest request) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    const std::string& name = request.schema.name;
    const auto database = impl->names.find(request.db_name);
    if (database == impl->names.end()) return DatabaseNotFound(request.db_name);
    if (const auto existing = database->second.collections.find(name); existing != database->second.collections.end()) {
      if (SameDefinition(*impl->collections.at(existing->second)->info(), request)) return CatalogChange{};
      return InvalidParameter("create duplicate collection with different parameters, collection: {}", name);
    }
    if (database->second.aliases.contains(name)) {
      return Error(StatusCode::kAliasCollectionClash, "alias and collection name conflict[database={}][alias={}]",
                   request.db_name, name);
    }
    if (static_cast<int64_t>(impl->collections.size()) >= impl->options.max_collections) {
      return Error(StatusCode::kCollectionLimit, "exceeded the limit number of collections[limit={}]",
                   impl->options.max_collections);
    }
    CollectionInfo info;
    info.id = static_cast<int64_t>(timestamp);
    info.db_name = request.db_name;
    info.created = info.updated = timestamp;
    info.shards_num = request.shards_num;
    info.consistency_level = request.consistency_level;
    info.properties = request.properties;
    int64_t partitions = 1;
    if (request.schema.partition_key() != nullptr) {
      partitions = request.num_partitions > 0 ? request.num_partitions : kDefaultPartitionKeyPartitions;
    }
    for (int64_t i = 0; i < partitions; ++i) {
      std::string partition(kDefaultPartitionName);
      if (request.schema.partition_key() != nullptr) partition += "_" + std::to_string(i);
      // Ids need to be unique within the process only where they are compared: against other partitions.
      QUIVER_ASSIGN_OR_RETURN(const Timestamp id, impl->clock->Allocate());
      info.partitions.push_back({static_cast<int64_t>(id), std::move(partition), timestamp});
    }
    for (const FieldSchema& field : request.schema.fields) {
      info.next_field_id = std::max(info.next_field_id, field.field_id + 1);
    }
    for (const StructArraySchema& one : request.schema.struct_arrays) {
      info.next_field_id = std::max(info.next_field_id, one.field_id + 1);
    }
    info.schema = std::make_shared<const CollectionSchema>(request.schema);
    const auto collection = std::make_shared<Collection>(std::make_shared<const CollectionInfo>(std::move(info)));
    CatalogChange change;
    change.operations.push_back(Put(CollectionKey(collection->id()), CollectionInfoToJson(*collection->info())));
    change.apply = [impl, collection](Timestamp) { impl->Publish(collection); };
    return change;
  });
}

Status Engine::DropCollection(const std::string& db, const std::string& name) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp) -> Result<CatalogChange> {
    const auto database = impl->names.find(db);
    if (database == impl->names.end()) return CatalogChange{};
    if (database->second.aliases.contains(name)) {
      return InvalidParameter("cannot drop the collection via alias = {}", name);
    }
    const auto found = database->second.collections.find(name);
    if (found == database->second.collections.end()) return CatalogChange{};
    const std::shared_ptr<Collection> collection = impl->collections.at(found->second);
    const auto info = collection->info();
    if (!info->aliases.empty()) {
      return InvalidParameter(
          "unable to drop the collection [{}] because it has associated aliases [{}], please remove all aliases before "
          "dropping the collection",
          name, fmt::join(info->aliases, " "));
    }
    CatalogChange change;
    change.operations.push_back(Remove(CollectionKey(collection->id())));
    change.operations.push_back(Remove(CheckpointKey(collection->id())));
    change.operations.push_back(Remove(FloorKey(collection->id())));
    change.dropped.push_back(collection);
    change.apply = [impl, collection, db, name](Timestamp) {
      collection->dropped.store(true);
      collection->active = nullptr;
      impl->names[db].collections.erase(name);
      impl->collections.erase(collection->id());
    };
    return change;
  });
}

Status Engine::RenameCollection(const std::string& db, const std::string& name, const std::string& new_db,
                                const std::string& new_name) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    const std::string& target_db = new_db.empty() ? db : new_db;
    const auto target = impl->names.find(target_db);
    if (target == impl->names.end()) return DatabaseNotFound(target_db);
    if (const auto source = impl->names.find(db);
        source != impl->names.end() && source->second.aliases.contains(name)) {
      return InvalidParameter("unsupported use an alias to rename collection, alias:{}", name);
    }
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, name, false));
    if (target->second.collections.contains(new_name) || target->second.aliases.contains(new_name)) {
      return InvalidParameter("duplicated new collection name {}:{} with other collection name or alias", target_db,
                              new_name);
    }
    CollectionInfo info = *collection->info();
    if (target_db != db && !info.aliases.empty()) {
      return InvalidParameter("fail to rename db name, must drop all aliases of collection {} before rename", name);
    }
    CollectionSchema schema = *info.schema;
    schema.name = new_name;
    info.schema = std::make_shared<const CollectionSchema>(std::move(schema));
    info.db_name = target_db;
    info.updated = timestamp;
    auto published = std::make_shared<const CollectionInfo>(std::move(info));
    CatalogChange change;
    change.operations.push_back(Put(CollectionKey(collection->id()), CollectionInfoToJson(*published)));
    change.apply = [impl, collection, published, db, name](Timestamp) {
      impl->names[db].collections.erase(name);
      collection->set_info(published);
      impl->Publish(collection);
    };
    return change;
  });
}

Status Engine::AlterCollection(const std::string& db, const std::string& name, const KeyValues& set,
                               const std::vector<std::string>& delete_keys) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, name));
    CollectionInfo info = *collection->info();
    bool schema_changed = false;
    KeyValues properties = set;
    if (const std::string* text = FindValue(set, "collection.description"); text != nullptr) {
      CollectionSchema schema = *info.schema;
      if (schema.description != *text) {
        schema.description = *text;
        info.schema = Share(std::move(schema));
        schema_changed = true;
      }
      EraseValue(properties, "collection.description");
    }
    if (const std::string* flag = FindValue(set, "dynamicfield.enabled"); flag != nullptr) {
      if (*flag == "true" && !info.schema->enable_dynamic_field) {
        CollectionSchema schema = *info.schema;
        schema.enable_dynamic_field = true;
        FieldSchema meta;
        meta.field_id = info.next_field_id++;
        meta.name = std::string(kMetaFieldName);
        meta.description = "dynamic schema";
        meta.type = DataType::kJson;
        meta.is_dynamic = true;
        schema.fields.push_back(std::move(meta));
        info.schema = Share(std::move(schema));
        schema_changed = true;
      } else if (*flag != "true" && info.schema->enable_dynamic_field) {
        return InvalidParameter("dynamic schema cannot supported to be disabled");
      }
      EraseValue(properties, "dynamicfield.enabled");
    }
    const bool touches_mmap = FindValue(set, "mmap.enabled") != nullptr ||
                              std::find(delete_keys.begin(), delete_keys.end(), "mmap.enabled") != delete_keys.end();
    if (touches_mmap && info.load.any()) {
      return Error(StatusCode::kCollectionLoaded,
                   "can not alter mmap properties if collection loaded: collection already loaded[collection={}]",
                   info.name());
    }
    if (const std::string* level = FindValue(set, "consistency_level"); level != nullptr) {
      static constexpr std::string_view kLevels[] = {"Strong", "Session", "Bounded", "Eventually", "Customized"};
      for (int32_t i = 0; i < 5; ++i) {
        if (*level == kLevels[i] || *level == std::to_string(i)) info.consistency_level = i;
      }
    }
    const bool isolated = info.key_isolation();
    const bool changed = ChangeProperties(info.properties, properties, delete_keys);
    if (info.key_isolation() != isolated) {
      for (const IndexInfo& index : info.indexes) {
        const FieldSchema* field = info.schema->FindById(index.field_id);
        if (field == nullptr || !IsVector(field->type)) continue;
        return Error(StatusCode::kIndexDuplicate,
                     "can not alter partition key isolation mode if the collection already has a vector index. Please "
                     "drop the index first: index duplicates[indexName={}]",
                     field->name);
      }
    }
    // The request was checked by itself; the other of the two may be set already.
    if (FindValue(info.properties, kTtlProperty) != nullptr &&
        FindValue(info.properties, kTtlFieldProperty) != nullptr) {
      return InvalidParameter("collection TTL and ttl field cannot be set at the same time: invalid parameter");
    }
    if (!changed && !schema_changed) return CatalogChange{};
    // Clients cache the schema by this timestamp: properties such as the time zone are part of what they cache.
    info.updated = timestamp;
    return impl->Replace(collection, std::move(info));
  });
}

Status Engine::AlterCollectionField(const std::string& db, const std::string& name, const std::string& field,
                                    const KeyValues& set, const std::vector<std::string>& delete_keys) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, name));
    CollectionInfo info = *collection->info();
    CollectionSchema schema = *info.schema;
    const auto found = std::find_if(schema.fields.begin(), schema.fields.end(),
                                    [&](const FieldSchema& candidate) { return candidate.name == field; });
    if (found == schema.fields.end()) return Error(StatusCode::kFieldNotFound, "field not found[field={}]", field);
    FieldSchema altered = *found;
    KeyValues params = set;
    if (const std::string* text = FindValue(set, "field.description"); text != nullptr) {
      altered.description = *text;
      EraseValue(params, "field.description");
    }
    ChangeProperties(altered.type_params, params, delete_keys);
    // The caller has checked that these are numbers in range.
    if (const std::string* length = FindValue(params, "max_length"); length != nullptr) {
      altered.max_length = std::stoll(*length);
    }
    if (const std::string* capacity = FindValue(params, "max_capacity"); capacity != nullptr) {
      altered.max_capacity = std::stoll(*capacity);
    }
    if (altered == *found) return CatalogChange{};
    *found = std::move(altered);
    info.schema = Share(std::move(schema));
    info.updated = timestamp;
    return impl->Replace(collection, std::move(info));
  });
}

namespace {

/// Adds a field in front of `$meta`. Error: kInvalidParameter where its name is taken.
Status AddField(CollectionInfo& info, CollectionSchema& schema, FieldSchema field) {
  if (schema.Find(field.name) != nullptr || schema.FindStructArray(field.name) != nullptr) {
    return InvalidParameter("duplicate field name: {}", field.name);
  }
  field.field_id = info.next_field_id++;
  const auto at = std::find_if(schema.fields.begin(), schema.fields.end(),
                               [](const FieldSchema& existing) { return existing.is_dynamic; });
  schema.fields.insert(at, std::move(field));
  return Status::Ok();
}

}  // namespace

Status Engine::AddCollectionField(const std::string& db, const std::string& name, FieldSchema field) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, name));
    CollectionInfo info = *collection->info();
    CollectionSchema schema = *info.schema;
    QUIVER_RETURN_IF_ERROR(AddField(info, schema, std::move(field)));
    info.schema = Share(std::move(schema));
    info.updated = timestamp;
    return impl->Replace(collection, std::move(info));
  });
}

Status Engine::AddCollectionStructArray(const std::string& db, const std::string& name, StructArraySchema added,
                                        std::vector<FieldSchema> sub_fields) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, name));
    CollectionInfo info = *collection->info();
    CollectionSchema schema = *info.schema;
    if (schema.Find(added.name) != nullptr || schema.FindStructArray(added.name) != nullptr) {
      return InvalidParameter("duplicate field name: {}", added.name);
    }
    for (FieldSchema& field : sub_fields) QUIVER_RETURN_IF_ERROR(AddField(info, schema, std::move(field)));
    added.field_id = info.next_field_id++;
    schema.struct_arrays.push_back(std::move(added));
    info.schema = Share(std::move(schema));
    info.updated = timestamp;
    return impl->Replace(collection, std::move(info));
  });
}

Result<std::shared_ptr<Collection>> Engine::FindCollection(const std::string& db, const std::string& name) const {
  return impl_->Find(db, name);
}

Result<std::shared_ptr<Collection>> Engine::FindCollectionById(int64_t collection_id) const {
  const std::shared_lock lock(impl_->catalog_mutex);
  const auto found = impl_->collections.find(collection_id);
  if (found == impl_->collections.end()) {
    return Error(StatusCode::kCollectionNotFound, "collection not found[collection={}]", collection_id);
  }
  return found->second;
}

Result<std::vector<std::shared_ptr<const CollectionInfo>>> Engine::ListCollections(const std::string& db) const {
  const std::shared_lock lock(impl_->catalog_mutex);
  const auto database = impl_->names.find(db);
  if (database == impl_->names.end()) return DatabaseNotFound(db);
  std::vector<std::shared_ptr<const CollectionInfo>> all;
  for (const auto& [name, id] : database->second.collections) all.push_back(impl_->collections.at(id)->info());
  return all;
}

// ---- partitions ----

Status Engine::CreatePartition(const std::string& db, const std::string& collection_name,
                               const std::string& partition) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, collection_name));
    CollectionInfo info = *collection->info();
    if (info.schema->partition_key() != nullptr) {
      return InvalidParameter("disable create partition if partition key mode is used");
    }
    if (info.FindPartition(partition) != nullptr) return CatalogChange{};
    if (static_cast<int64_t>(info.partitions.size()) >= impl->options.max_partitions) {
      return InvalidParameter("partition number ({}) exceeds max configuration ({}), collection: {}",
                              info.partitions.size(), impl->options.max_partitions, info.name());
    }
    info.partitions.push_back({static_cast<int64_t>(timestamp), partition, timestamp});
    return impl->Replace(collection, std::move(info));
  });
}

Status Engine::DropPartition(const std::string& db, const std::string& collection_name, const std::string& partition) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, collection_name));
    CollectionInfo info = *collection->info();
    if (partition == kDefaultPartitionName) return InvalidParameter("default partition cannot be deleted");
    if (info.schema->partition_key() != nullptr) {
      return InvalidParameter("disable drop partition if partition key mode is used");
    }
    const PartitionInfo* found = info.FindPartition(partition);
    if (found == nullptr) return CatalogChange{};
    const int64_t partition_id = found->id;
    if (info.load.Covers(partition_id)) {
      return InvalidParameter("partition cannot be dropped, partition is loaded, please release it first");
    }
    std::erase_if(info.partitions, [&](const PartitionInfo& candidate) { return candidate.id == partition_id; });
    return impl->Bury(collection, std::move(info), {partition_id, partition, timestamp});
  });
}

Status Engine::TruncateCollection(const std::string& db, const std::string& collection_name) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, collection_name));
    return impl->Bury(collection, *collection->info(), {-1, "", timestamp});
  });
}

// ---- aliases ----

Status Engine::CreateAlias(const std::string& db, const std::string& collection_name, const std::string& alias) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp) -> Result<CatalogChange> {
    const auto database = impl->names.find(db);
    if (database == impl->names.end()) return DatabaseNotFound(db);
    if (database->second.collections.contains(alias)) {
      return Error(StatusCode::kAliasCollectionClash, "alias and collection name conflict[database={}][alias={}]", db,
                   alias);
    }
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, collection_name, false));
    if (const auto existing = database->second.aliases.find(alias); existing != database->second.aliases.end()) {
      if (existing->second == collection->id()) return CatalogChange{};
      return Error(StatusCode::kAliasExists,
                   "{} is alias to another collection: {}: alias already exist[database={}][alias={}]", alias,
                   impl->collections.at(existing->second)->info()->name(), db, alias);
    }
    CollectionInfo info = *collection->info();
    info.aliases.insert(std::upper_bound(info.aliases.begin(), info.aliases.end(), alias), alias);
    CatalogChange change = impl->Replace(collection, std::move(info));
    change.apply = [impl, db, alias, collection, publish = std::move(change.apply)](Timestamp timestamp) {
      publish(timestamp);
      impl->names[db].aliases[alias] = collection->id();
    };
    return change;
  });
}

Status Engine::DropAlias(const std::string& db, const std::string& alias) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp) -> Result<CatalogChange> {
    const auto database = impl->names.find(db);
    if (database == impl->names.end()) return DatabaseNotFound(db);
    const auto found = database->second.aliases.find(alias);
    if (found == database->second.aliases.end()) return CatalogChange{};
    const auto collection = impl->collections.at(found->second);
    CollectionInfo info = *collection->info();
    std::erase(info.aliases, alias);
    CatalogChange change = impl->Replace(collection, std::move(info));
    change.apply = [impl, db, alias, publish = std::move(change.apply)](Timestamp timestamp) {
      publish(timestamp);
      impl->names[db].aliases.erase(alias);
    };
    return change;
  });
}

Status Engine::AlterAlias(const std::string& db, const std::string& collection_name, const std::string& alias) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp) -> Result<CatalogChange> {
    const auto database = impl->names.find(db);
    if (database == impl->names.end()) return DatabaseNotFound(db);
    if (database->second.collections.contains(alias)) {
      return Error(StatusCode::kAliasCollectionClash, "alias and collection name conflict[database={}][alias={}]", db,
                   alias);
    }
    QUIVER_ASSIGN_OR_RETURN(const auto target, impl->FindLocked(db, collection_name, false));
    const auto found = database->second.aliases.find(alias);
    if (found == database->second.aliases.end()) return AliasNotFound(db, alias);
    if (found->second == target->id()) return CatalogChange{};
    const auto source = impl->collections.at(found->second);
    CollectionInfo source_info = *source->info();
    std::erase(source_info.aliases, alias);
    CollectionInfo target_info = *target->info();
    target_info.aliases.insert(std::upper_bound(target_info.aliases.begin(), target_info.aliases.end(), alias), alias);
    CatalogChange removed = impl->Replace(source, std::move(source_info));
    CatalogChange change = impl->Replace(target, std::move(target_info));
    change.operations.push_back(std::move(removed.operations.front()));
    change.apply = [impl, db, alias, target, first = std::move(removed.apply),
                    second = std::move(change.apply)](Timestamp timestamp) {
      first(timestamp);
      second(timestamp);
      impl->names[db].aliases[alias] = target->id();
    };
    return change;
  });
}

Result<std::string> Engine::DescribeAlias(const std::string& db, const std::string& alias) const {
  const std::shared_lock lock(impl_->catalog_mutex);
  const auto database = impl_->names.find(db);
  if (database == impl_->names.end()) return DatabaseNotFound(db);
  const auto found = database->second.aliases.find(alias);
  if (found == database->second.aliases.end()) return AliasNotFound(db, alias);
  return impl_->collections.at(found->second)->info()->name();
}

Result<std::vector<std::string>> Engine::ListAliases(const std::string& db, const std::string& collection) const {
  const std::shared_lock lock(impl_->catalog_mutex);
  const auto database = impl_->names.find(db);
  if (database == impl_->names.end()) return DatabaseNotFound(db);
  if (!collection.empty()) {
    QUIVER_ASSIGN_OR_RETURN(const auto found, impl_->FindLocked(db, collection));
    return found->info()->aliases;
  }
  std::vector<std::string> all;
  for (const auto& [alias, id] : database->second.aliases) all.push_back(alias);
  return all;
}

// ---- load state ----

Status Engine::Load(const std::string& db, const std::string& collection_name,
                    const std::vector<std::string>& partitions, int32_t replica_number) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, collection_name));
    CollectionInfo info = *collection->info();
    QUIVER_ASSIGN_OR_RETURN(const std::vector<int64_t> ids, PartitionIds(info, partitions));
    const int32_t replicas = std::max(replica_number, 1);
    LoadInfo load = info.load;
    if (partitions.empty()) {
      load.loaded = true;
      load.partition_ids.clear();
      load.replica_number = replicas;
    } else {
      if (load.any() && replica_number > 0 && replicas != load.replica_number) {
        return InvalidParameter("can't change the replica number for loaded partitions[expected={}][actual={}]",
                                load.replica_number, replicas);
      }
      if (!load.any()) load.replica_number = replicas;
      for (const int64_t id : ids) {
        if (!load.Covers(id)) load.partition_ids.push_back(id);
      }
    }
    if (load.loaded == info.load.loaded && load.partition_ids == info.load.partition_ids &&
        load.replica_number == info.load.replica_number) {
      return CatalogChange{};
    }
    info.load = std::move(load);
    return impl->Replace(collection, std::move(info));
  });
}

Status Engine::Release(const std::string& db, const std::string& collection_name,
                       const std::vector<std::string>& partitions) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, collection_name));
    CollectionInfo info = *collection->info();
    QUIVER_ASSIGN_OR_RETURN(const std::vector<int64_t> ids, PartitionIds(info, partitions));
    if (!info.load.any()) return CatalogChange{};
    if (partitions.empty()) {
      info.load = {};
    } else {
      if (info.load.loaded) {
        info.load.loaded = false;
        for (const PartitionInfo& partition : info.partitions) info.load.partition_ids.push_back(partition.id);
      }
      std::erase_if(info.load.partition_ids,
                    [&](int64_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); });
    }
    return impl->Replace(collection, std::move(info));
  });
}

// ---- indexes ----

namespace {

/// Where in its JSON field an index looks, as a JSON pointer; nothing for a place that is not understood.
std::optional<std::string> JsonPlaceOf(const CollectionSchema& schema, const IndexInfo& index) {
  const FieldSchema* field = schema.FindById(index.field_id);
  if (field == nullptr) return std::nullopt;
  const auto keys = JsonPathOf(schema, *field, index.params);
  return keys.ok() ? std::optional(JsonPointer(*keys)) : std::nullopt;
}

}  // namespace

Status Engine::CreateIndex(const std::string& db, const std::string& collection_name, const std::string& field,
                           IndexInfo index) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, collection_name));
    CollectionInfo info = *collection->info();
    const FieldSchema* target = info.schema->Find(field);
    if (target == nullptr) return InvalidParameter("cannot create index on non-exist field: {}", field);
    const bool json = target->type == DataType::kJson;
    std::string place;
    if (json) {
      QUIVER_ASSIGN_OR_RETURN(const auto keys, JsonPathOf(*info.schema, *target, index.params));
      place = JsonPointer(keys);
    }
    // An index without a name is the one that is there, or is named after its field and place.
    if (index.name.empty()) {
      const auto same = std::find_if(info.indexes.begin(), info.indexes.end(), [&](const IndexInfo& existing) {
        return existing.field_id == target->field_id && (!json || JsonPlaceOf(*info.schema, existing) == place);
      });
      index.name = same != info.indexes.end() ? same->name : field + place;
    }
    if (const IndexInfo* same_name = info.FindIndex(index.name); same_name != nullptr) {
      if (same_name->field_id == target->field_id && same_name->index_type == index.index_type &&
          same_name->metric_type == index.metric_type && same_name->params == index.params) {
        return CatalogChange{};
      }
      return InvalidParameter("at most one distinct index is allowed per field");
    }
    for (const IndexInfo& existing : info.indexes) {
      if (existing.field_id != target->field_id) continue;
      // One for each place and cast type.
      if (json && (JsonPlaceOf(*info.schema, existing) != place || CastTypeOf(existing) != CastTypeOf(index))) continue;
      return InvalidParameter("CreateIndex failed: creating multiple indexes on same field is not supported");
    }
    index.id = static_cast<int64_t>(timestamp);
    index.field_id = target->field_id;
    index.created = timestamp;
    info.indexes.push_back(std::move(index));
    return impl->ReplaceIndexes(collection, std::move(info));
  });
}

Status Engine::DropIndex(const std::string& db, const std::string& collection_name, const std::string& field,
                         const std::string& index_name) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, collection_name));
    CollectionInfo info = *collection->info();
    std::vector<IndexInfo> matching;
    const FieldSchema* target = field.empty() ? nullptr : info.schema->Find(field);
    for (const IndexInfo& index : info.indexes) {
      if (!index_name.empty() && index.name != index_name) continue;
      if (index_name.empty() && target != nullptr && index.field_id != target->field_id) continue;
      matching.push_back(index);
    }
    if (matching.empty()) return CatalogChange{};
    if (matching.size() > 1) {
      return Error(StatusCode::kIndexDuplicate, "there are multiple indexes, please specify the index_name");
    }
    const FieldSchema* indexed = info.schema->FindById(matching.front().field_id);
    if (info.load.any() && indexed != nullptr && IsVector(indexed->type)) {
      return InvalidParameter("vector index cannot be dropped on loaded collection: {}", collection->id());
    }
    std::erase_if(info.indexes, [&](const IndexInfo& index) { return index.id == matching.front().id; });
    return impl->ReplaceIndexes(collection, std::move(info));
  });
}

Status Engine::AlterIndex(const std::string& db, const std::string& collection_name, const std::string& index_name,
                          const KeyValues& set, const std::vector<std::string>& delete_keys) {
  return impl_->RunDdl([&, impl = impl_.get()](Timestamp) -> Result<CatalogChange> {
    QUIVER_ASSIGN_OR_RETURN(const auto collection, impl->FindLocked(db, collection_name));
    CollectionInfo info = *collection->info();
    const auto found = std::find_if(info.indexes.begin(), info.indexes.end(),
                                    [&](const IndexInfo& index) { return index.name == index_name; });
    if (found == info.indexes.end()) {
      return Error(StatusCode::kIndexNotFound, "index not found[index={}]", index_name);
    }
    if (info.load.any()) {
      return Error(StatusCode::kCollectionLoaded,
                   "can't alter index on loaded collection, please release the collection first: "
                   "collection already loaded[collection={}]",
                   info.name());
    }
    if (!ChangeProperties(found->params, set, delete_keys)) return CatalogChange{};
    return impl->Replace(collection, std::move(info));
  });
}

}  // namespace quiver::engine
