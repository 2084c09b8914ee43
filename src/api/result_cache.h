// File: api/result_cache.h
// ResultCache: answers of searches that asked for it (parameter `result_cache`), given again to the same request as
// long as the collection holds the same rows. A request is the same when all of its bytes are, but for those that do
// not decide the answer (who asks, how fresh the rows have to be). What stands for the rows is ReadView::data_version;
// an answer through an index is the one that the index gave the first time.
//
//   const std::string name = asked ? ResultCache::NameOf(request) : "";
//   if (cache.Answered(name, view, answer)) return;
//   ... search ...
//   cache.Keep(name, view, *answer);
//
// Thread rule: all methods may be called from any thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "api/wire.h"
#include "base/memory_budget.h"
#include "base/metrics.h"
#include "engine/engine.h"

namespace quiver::api {

class ResultCache {
 public:
  /// Keeps at most `max_bytes`, counted in `budget` as kResultCache; 0 = nothing is kept.
  ResultCache(std::shared_ptr<MemoryBudget> budget, uint64_t max_bytes);

  /// The name of a request.
  static std::string NameOf(const wire::SearchRequest& request);
  static std::string NameOf(const wire::HybridSearchRequest& request);

  /// Fills in the answer that was kept for the rows which `view` shows; false where there is none. An empty name has
  /// none.
  bool Answered(const std::string& name, const engine::ReadView& view, wire::SearchResults* answer);
  /// Keeps an answer. Not kept: those without a name, over rows that have no version, and of more than an eighth of the
  /// cache.
  void Keep(const std::string& name, const engine::ReadView& view, const wire::SearchResults& answer);

 private:
  struct Entry {
    std::string name;
    std::shared_ptr<const engine::CollectionInfo>
        info;  ///< of which everything may decide: schema, indexes, partitions
    uint64_t version = 0;
    std::shared_ptr<const wire::SearchResults> answer;
    MemoryCharge charge;
    uint64_t bytes = 0;
  };
  using Entries = std::list<Entry>;

  /// Moves an entry to `dropped`; the lock is held.
  void Remove(Entries::iterator entry, Entries* dropped);

  const std::shared_ptr<MemoryBudget> budget_;
  const uint64_t max_bytes_;
  metrics::Counter& hits_;
  metrics::Counter& misses_;
  std::mutex mutex_;
  uint64_t bytes_ = 0;
  Entries entries_;  ///< most recently used first
  std::unordered_map<std::string_view, Entries::iterator> by_name_;
};

}  // namespace quiver::api
