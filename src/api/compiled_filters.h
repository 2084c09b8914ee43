// File: api/compiled_filters.h
// CompiledFilters: filters of requests as they were compiled, for requests that say the same again. Clients send a
// filter as text with every search, most of them one of few; to parse and check a short one takes as long as to score
// some hundred rows.
//
//   QUIVER_ASSIGN_OR_RETURN(auto filter, filters.Compile("tenant == 7", info->schema, {}, zone, true));
//
// Thread rule: all methods may be called from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "expr/filter.h"
#include "schema/collection_schema.h"
#include "schema/timestamp.h"

namespace quiver::api {

class CompiledFilters {
 public:
  /// Keeps so many, those that were asked for last.
  explicit CompiledFilters(size_t most) : most_(most), seen_(most) {}

  /// As expr::Filter::Compile. Kept from the second time on are filters without values in UTC (`utc`) that draw nothing
  /// by chance and are not long: to keep those that come once would cost more than it saves.
  Result<std::shared_ptr<const expr::Filter>> Compile(std::string_view text,
                                                      const std::shared_ptr<const CollectionSchema>& schema,
                                                      const expr::TemplateValues& values, const TimeZone& zone,
                                                      bool utc);

 private:
  struct Entry {
    std::string text;
    std::shared_ptr<const CollectionSchema> schema;  ///< held, so that no other one comes to lie there
    std::shared_ptr<const expr::Filter> filter;
  };
  using Entries = std::list<Entry>;
  /// Points into an entry.
  struct Name {
    const CollectionSchema* schema;
    std::string_view text;
    bool operator==(const Name&) const = default;
  };
  struct HashName {
    size_t operator()(const Name& name) const {
      return std::hash<std::string_view>()(name.text) ^ std::hash<const void*>()(name.schema);
    }
  };

  std::shared_ptr<const expr::Filter> Find(const Name& name);
  bool SeenBefore(size_t hash);
  void Keep(Entry entry);

  const size_t most_;
  std::vector<std::atomic<size_t>> seen_;  ///< hashes of names, each in the place of its remainder
  std::mutex mutex_;
  Entries entries_;  ///< most recently used first
  std::unordered_map<Name, Entries::iterator, HashName> by_name_;
};

}  // namespace quiver::api
