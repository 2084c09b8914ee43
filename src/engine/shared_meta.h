// File: engine/shared_meta.h
// SharedMeta: lets one memory MetaStore of a test outlive the engines that use it. Thread rule: as the store's.
#pragma once

#include "storage/meta_store.h"

namespace quiver::engine {

class SharedMeta final : public storage::MetaStore {
 public:
  explicit SharedMeta(storage::MemoryMetaStore& store) : store_(store) {}
  Result<std::optional<std::string>> Get(std::string_view key) override { return store_.Get(key); }
  Result<std::vector<storage::MetaEntry>> Scan(std::string_view prefix, size_t limit, std::string_view after) override {
    return store_.Scan(prefix, limit, after);
  }
  Result<storage::CommitOutcome> Commit(const storage::MetaTransaction& transaction) override {
    return store_.Commit(transaction);
  }
  Status Sync() override { return store_.Sync(); }

 private:
  storage::MemoryMetaStore& store_;
};

}  // namespace quiver::engine
