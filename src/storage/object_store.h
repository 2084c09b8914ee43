// File: storage/object_store.h
// ObjectStore: immutable objects by name. Local form: files under a directory; names may hold '/'.
//
//   std::string staged = objects->StagingPath("segment/7/12.seg");
//   ... write and sync the file at `staged` ...
//   QUIVER_RETURN_IF_ERROR(objects->Put("segment/7/12.seg", staged));
//   QUIVER_ASSIGN_OR_RETURN(auto file, objects->Materialise("segment/7/12.seg"));
//
// Thread rule: safe from many threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/file_system.h"

namespace quiver::storage {

struct ObjectInfo {
  std::string name;
  uint64_t size = 0;

  bool operator==(const ObjectInfo&) const = default;
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  /// Returns a fresh local path to write an object at before Put. Never the same twice.
  virtual std::string StagingPath(std::string_view name) = 0;
  /// Moves the finished, synced local file into the store; durable when it returns. An object that exists is an error.
  /// When it cannot be moved, neither the object nor the local file stays, as far as the disk lets them be removed.
  virtual Status Put(const std::string& name, const std::string& local_path) = 0;
  /// Stores small contents durably.
  virtual Status PutBytes(const std::string& name, std::string_view contents) = 0;
  /// Returns the object as a local mapped file, which stays valid after Remove.
  virtual Result<std::shared_ptr<const io::MappedFile>> Materialise(const std::string& name) = 0;
  /// Reads bytes [offset, offset + length).
  virtual Result<std::string> Read(const std::string& name, uint64_t offset, uint64_t length) = 0;
  /// Fine when there is no such object.
  virtual Status Remove(const std::string& name) = 0;
  /// Objects whose names begin with `prefix`, sorted by name; unfinished ones are not shown.
  virtual Result<std::vector<ObjectInfo>> List(std::string_view prefix) = 0;
};

/// Opens or makes the directory form and removes what unfinished Puts left.
Result<std::unique_ptr<ObjectStore>> OpenLocalObjects(io::FileSystem& file_system, const std::string& directory);

}  // namespace quiver::storage
