// File: engine/history_model.h
// What the property tests of the engine (history_test.cc) compare with: a catalog and its rows in plain maps, and the
// steps of a random history as data, so that a failing history can be printed and made shorter.
//
// Thread rule: plain values.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "schema/collection_schema.h"
#include "schema/column.h"

namespace quiver::engine::history {

/// One row as a reader sees it: every field but the primary key, by name; a NULL is kNull.
struct RowModel {
  std::string pk;         ///< empty = given by the engine and not known yet
  std::string partition;  ///< empty = chosen by the engine and not known yet
  std::map<std::string, std::string> fields;
};
inline constexpr std::string_view kNull = "(null)";

/// What a named snapshot must show.
struct SnapshotModel {
  std::map<std::string, RowModel> rows;
  std::set<std::string> partitions;
};

struct CollectionModel {
  bool string_pk = false;
  bool auto_id = false;
  bool partition_key = false;
  std::vector<std::string> fields;  ///< names, in order
  std::set<std::string> partitions{std::string(kDefaultPartitionName)};
  std::set<std::string> aliases;
  std::string property;
  bool loaded = false;
  std::string index;  ///< type of the vector index; empty = none
  /// By primary key; with auto ids by the field "tag", which no two writes share.
  std::map<std::string, RowModel> rows;
  std::map<std::string, SnapshotModel> snapshots;
};

/// The whole database.
struct Model {
  std::map<std::string, CollectionModel> collections;
};

/// What a step does to the model when it happens.
using Effect = std::function<void(Model&)>;

/// As Difference, for the rows of one collection.
inline std::string RowDifference(const std::string& name, const std::map<std::string, RowModel>& want,
                                 const std::map<std::string, RowModel>& found) {
  for (const auto& [key, row] : want) {
    const auto there = found.find(key);
    if (there == found.end()) {
      return fmt::format("{}: row {} is missing ({} rows instead of {})", name, key, found.size(), want.size());
    }
    if (!row.pk.empty() && there->second.pk != row.pk) {
      return fmt::format("{}: row {} has the key {} instead of {}", name, key, there->second.pk, row.pk);
    }
    if (!row.partition.empty() && there->second.partition != row.partition) {
      return fmt::format("{}: row {} is in partition {} instead of {}", name, key, there->second.partition,
                         row.partition);
    }
    for (const auto& [field, value] : row.fields) {
      const auto has = there->second.fields.find(field);
      if (has == there->second.fields.end() || has->second != value) {
        return fmt::format("{}: row {} has {} = '{}' instead of '{}'", name, key, field,
                           has == there->second.fields.end() ? "(nothing)" : has->second, value);
      }
    }
  }
  for (const auto& [key, row] : found) {
    if (!want.contains(key)) {
      return fmt::format("{}: row {} should not be there ({} rows instead of {})", name, key, found.size(),
                         want.size());
    }
  }
  return {};
}

/// Says how `actual` differs from `expected`; empty = not at all. What `expected` does not know yet may be anything.
inline std::string Difference(const Model& expected, const Model& actual) {
  for (const auto& [name, collection] : expected.collections) {
    if (!actual.collections.contains(name)) return fmt::format("collection {} is missing", name);
  }
  for (const auto& [name, found] : actual.collections) {
    const auto wanted = expected.collections.find(name);
    if (wanted == expected.collections.end()) return fmt::format("collection {} should not be there", name);
    const CollectionModel& want = wanted->second;
    if (found.fields != want.fields) {
      return fmt::format("{}: fields [{}] instead of [{}]", name, fmt::join(found.fields, " "),
                         fmt::join(want.fields, " "));
    }
    if (!want.partition_key && found.partitions != want.partitions) {
      return fmt::format("{}: partitions [{}] instead of [{}]", name, fmt::join(found.partitions, " "),
                         fmt::join(want.partitions, " "));
    }
    if (found.aliases != want.aliases) {
      return fmt::format("{}: aliases [{}] instead of [{}]", name, fmt::join(found.aliases, " "),
                         fmt::join(want.aliases, " "));
    }
    if (found.property != want.property) {
      return fmt::format("{}: property '{}' instead of '{}'", name, found.property, want.property);
    }
    if (found.index != want.index) {
      return fmt::format("{}: vector index '{}' instead of '{}'", name, found.index, want.index);
    }
    if (found.loaded != want.loaded) return fmt::format("{}: loaded {}, not {}", name, found.loaded, want.loaded);
    if (std::string difference = RowDifference(name, want.rows, found.rows); !difference.empty()) return difference;
    for (const auto& [snapshot, content] : want.snapshots) {
      const auto there = found.snapshots.find(snapshot);
      if (there == found.snapshots.end()) return fmt::format("{}: snapshot {} is missing", name, snapshot);
      std::string difference = RowDifference(fmt::format("{} at {}", name, snapshot), content.rows, there->second.rows);
      if (!difference.empty()) return difference;
    }
    for (const auto& [snapshot, content] : found.snapshots) {
      if (!want.snapshots.contains(snapshot)) return fmt::format("{}: snapshot {} should not be there", name, snapshot);
    }
  }
  return {};
}

/// A step's kind. Its particulars follow from the step's own seed and the model at that moment, so that a step means
/// nearly the same when others are left out.
enum class StepKind : uint8_t {
  kInsert,
  kUpsert,
  kDeleteKeys,
  kDeleteByFilter,  ///< reads, lets an upsert pass, deletes what was read
  kBurst,           ///< several writes in flight at once
  kFlush,
  kCreateCollection,
  kDropCollection,
  kRenameCollection,
  kAddField,
  kCreatePartition,
  kDropPartition,
  kAlias,     ///< creates or drops one
  kProperty,  ///< sets one
  kLoad,      ///< loads or releases
  kReopen,    ///< a clean restart
  kCompare,   ///< reads everything in the middle of the history
  kCompact,
  kTruncate,
  kSnapshot,  ///< creates, drops or restores one
  kIndex,     ///< creates or drops a vector index, whose building goes on beside the next steps
  kArm,       ///< a later I/O operation is the last one before a power loss
};

struct StepKindInfo {
  StepKind kind;
  std::string_view name;
  int weight;  ///< how often a random history takes it
};
inline constexpr std::array kStepKinds{
    StepKindInfo{StepKind::kInsert, "insert", 20},
    StepKindInfo{StepKind::kUpsert, "upsert", 12},
    StepKindInfo{StepKind::kDeleteKeys, "delete keys", 10},
    StepKindInfo{StepKind::kDeleteByFilter, "delete by filter", 8},
    StepKindInfo{StepKind::kBurst, "burst", 10},
    StepKindInfo{StepKind::kFlush, "flush", 9},
    StepKindInfo{StepKind::kCreateCollection, "create collection", 3},
    StepKindInfo{StepKind::kDropCollection, "drop collection", 2},
    StepKindInfo{StepKind::kRenameCollection, "rename collection", 2},
    StepKindInfo{StepKind::kAddField, "add field", 3},
    StepKindInfo{StepKind::kCreatePartition, "create partition", 4},
    StepKindInfo{StepKind::kDropPartition, "drop partition", 3},
    StepKindInfo{StepKind::kAlias, "alias", 2},
    StepKindInfo{StepKind::kProperty, "property", 2},
    StepKindInfo{StepKind::kLoad, "load or release", 2},
    StepKindInfo{StepKind::kReopen, "reopen", 2},
    StepKindInfo{StepKind::kCompare, "compare", 2},
    StepKindInfo{StepKind::kCompact, "compact", 6},
    StepKindInfo{StepKind::kTruncate, "truncate", 1},
    StepKindInfo{StepKind::kSnapshot, "snapshot", 6},
    StepKindInfo{StepKind::kIndex, "vector index", 4},
    StepKindInfo{StepKind::kArm, "arm a crash", 8},
};

struct Step {
  StepKind kind = StepKind::kInsert;
  uint64_t seed = 0;
};
using Steps = std::vector<Step>;

inline std::string ToText(const Steps& steps) {
  std::string text;
  for (const Step& step : steps) {
    for (const StepKindInfo& info : kStepKinds) {
      if (info.kind == step.kind) text += fmt::format("  {} (seed {})\n", info.name, step.seed);
    }
  }
  return text;
}

/// A random history.
inline Steps MakeSteps(uint64_t seed, size_t count) {
  std::mt19937_64 random(seed);
  int total = 0;
  for (const StepKindInfo& info : kStepKinds) total += info.weight;
  Steps steps{{StepKind::kCreateCollection, random()}};
  while (steps.size() < count) {
    auto at = static_cast<int>(random() % static_cast<uint64_t>(total));
    for (const StepKindInfo& info : kStepKinds) {
      at -= info.weight;
      if (at < 0) {
        steps.push_back({info.kind, random()});
        break;
      }
    }
  }
  return steps;
}

/// Leaves out steps while `fails` still says that the rest fails: halves first, then single steps. Bounded by `runs`.
inline Steps Shrink(Steps steps, const std::function<bool(const Steps&)>& fails, int runs) {
  for (size_t piece = steps.size() / 2; piece > 0 && runs > 0; piece = piece == 1 ? 0 : (piece + 1) / 2) {
    for (size_t at = 0; at + piece <= steps.size() && runs > 0;) {
      Steps fewer(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(at));
      fewer.insert(fewer.end(), steps.begin() + static_cast<std::ptrdiff_t>(at + piece), steps.end());
      --runs;
      if (fails(fewer)) {
        steps = std::move(fewer);
      } else {
        at += piece;
      }
    }
  }
  return steps;
}

}  // namespace quiver::engine::history
