// File: storage/memory_meta_store.cc
#include <map>
#include <mutex>

#include "storage/internal/meta_transaction.h"
#include "storage/meta_store.h"

namespace quiver::storage {

struct MemoryMetaStore::State {
  using Entries = std::map<std::string, std::string, std::less<>>;

  mutable std::mutex mutex;
  Entries current;
  Entries durable;
  std::vector<std::vector<MetaOperation>> unsynced;
  std::function<Status(const std::string&)> hook;
  Status failed;

  static void Apply(const std::vector<MetaOperation>& operations, Entries& entries) {
    for (const MetaOperation& operation : operations) {
      if (operation.kind == MetaOperation::Kind::kPut) {
        entries[operation.key] = operation.value;
      } else {
        entries.erase(operation.key);
      }
    }
  }
};

MemoryMetaStore::MemoryMetaStore() : state_(std::make_unique<State>()) {}
MemoryMetaStore::~MemoryMetaStore() = default;

Result<std::optional<std::string>> MemoryMetaStore::Get(std::string_view key) {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->current.find(key);
  if (found == state_->current.end()) return std::optional<std::string>();
  return std::optional(found->second);
}

Result<std::vector<MetaEntry>> MemoryMetaStore::Scan(std::string_view prefix, size_t limit, std::string_view after) {
  const std::lock_guard lock(state_->mutex);
  std::vector<MetaEntry> entries;
  auto at =
      after >= prefix && !after.empty() ? state_->current.upper_bound(after) : state_->current.lower_bound(prefix);
  for (; at != state_->current.end() && at->first.starts_with(prefix); ++at) {
    if (limit != 0 && entries.size() == limit) break;
    entries.emplace_back(*at);
  }
  return entries;
}

Result<CommitOutcome> MemoryMetaStore::Commit(const MetaTransaction& transaction) {
  QUIVER_RETURN_IF_ERROR(internal::CheckTransaction(transaction));
  const std::lock_guard lock(state_->mutex);
  QUIVER_RETURN_IF_ERROR(state_->failed);
  if (state_->hook) QUIVER_RETURN_IF_ERROR(state_->hook("commit"));
  for (const MetaPrecondition& precondition : transaction.preconditions) {
    const auto found = state_->current.find(precondition.key);
    const auto value = found == state_->current.end() ? std::nullopt : std::optional<std::string_view>(found->second);
    if (!internal::Holds(precondition, value)) return CommitOutcome::kConflict;
  }
  State::Apply(transaction.operations, state_->current);
  state_->unsynced.push_back(transaction.operations);
  return CommitOutcome::kCommitted;
}

Status MemoryMetaStore::Sync() {
  const std::lock_guard lock(state_->mutex);
  QUIVER_RETURN_IF_ERROR(state_->failed);
  if (state_->hook) {
    if (const Status status = state_->hook("sync"); !status.ok()) {
      if (status.code() != StatusCode::kDiskFull) state_->failed = status;
      return status;
    }
  }
  for (const auto& operations : state_->unsynced) State::Apply(operations, state_->durable);
  state_->unsynced.clear();
  return Status::Ok();
}

void MemoryMetaStore::OnOperation(std::function<Status(const std::string& what)> hook) {
  const std::lock_guard lock(state_->mutex);
  state_->hook = std::move(hook);
}

void MemoryMetaStore::CrashAndDropUnsynced(size_t keep) {
  const std::lock_guard lock(state_->mutex);
  for (size_t i = 0; i < keep && i < state_->unsynced.size(); ++i) State::Apply(state_->unsynced[i], state_->durable);
  state_->unsynced.clear();
  state_->current = state_->durable;
  state_->failed = Status::Ok();
}

size_t MemoryMetaStore::unsynced_commits() const {
  const std::lock_guard lock(state_->mutex);
  return state_->unsynced.size();
}

}  // namespace quiver::storage
