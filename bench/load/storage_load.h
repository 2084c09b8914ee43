// File: bench/load/storage_load.h
// The modes of quiver_load that the storage benchmark is made of: rows with keys of the client, so that they can be
// replaced, deleted and looked up, and the creation of many collections, partitions and snapshots.
#pragma once

#include "base/status.h"
#include "load/load_settings.h"

namespace quiver::bench {

/// Inserts the keys first_key .. first_key + rows - 1 in batches; makes the collection unless it exists.
Status RunKeyedInsert(const Settings& settings);

/// Replaces `rows` different rows among the keys 0 .. key_range - 1, in scattered order; the number of rows must stay.
Status RunUpsert(const Settings& settings);

/// Deletes `rows` different rows among the keys 0 .. key_range - 1 by lists of `batch` keys, in scattered order.
Status RunDeleteKeys(const Settings& settings);

/// Deletes `count` of the buckets, one per call, starting with bucket number first_key.
Status RunDeleteFilter(const Settings& settings);

/// Looks up rows by key among the keys first_key .. first_key + key_range - 1.
Status RunQuery(const Settings& settings);

/// Searches for the vectors of rows among the keys first_key .. first_key + key_range - 1, which must be found.
Status RunFind(const Settings& settings);

/// Creates `count` snapshots, one after the other, and drops them.
Status RunSnapshots(const Settings& settings);

/// Creates `count` empty collections, one after the other.
Status RunCollections(const Settings& settings);

/// Creates `count` partitions in a collection, inserts `batch` rows into each, looks rows up in single partitions and
/// in all.
Status RunPartitions(const Settings& settings);

/// Compacts the collection and waits for the end.
Status RunCompact(const Settings& settings);

}  // namespace quiver::bench
