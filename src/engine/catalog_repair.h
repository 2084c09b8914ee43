// File: engine/catalog_repair.h
// Fills what a MetaStore lacks after its files were damaged and the database kept what it could read: catalog entries
// from the log, manifests from the segment files themselves. Offline, by `quiver check --repair`. Thread rule: plain
// function.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/directory_check.h"
#include "io/file_system.h"
#include "storage/meta_store.h"

namespace quiver::engine {

struct CatalogRepair {
  std::vector<DirectoryFault> faults;  ///< each with what was done about it
  std::vector<std::string> strays;     ///< objects that belong to nothing any more and must not be swept
  uint64_t rows_lost = 0;              ///< in them
};

/// Puts back what can be had: databases and collections that the log holds and the store does not; a manifest for every
/// sound segment file of a known collection that none names, with its newest deletes, unless its rows are those of
/// another segment (a compaction had replaced it). Errors: of the store and of the file system.
Result<CatalogRepair> RefillCatalog(io::FileSystem& file_system, const std::string& data_directory,
                                    storage::MetaStore& meta);

}  // namespace quiver::engine
