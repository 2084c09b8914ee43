// File: storage/meta_store.cc
#include "storage/meta_store.h"

#include <algorithm>

#include "storage/internal/meta_transaction.h"

namespace quiver::storage {

MetaTransaction& MetaTransaction::RequireExists(std::string key) {
  preconditions.push_back({MetaPrecondition::Kind::kExists, std::move(key), {}});
  return *this;
}

MetaTransaction& MetaTransaction::RequireAbsent(std::string key) {
  preconditions.push_back({MetaPrecondition::Kind::kAbsent, std::move(key), {}});
  return *this;
}

MetaTransaction& MetaTransaction::RequireEquals(std::string key, std::string value) {
  preconditions.push_back({MetaPrecondition::Kind::kEquals, std::move(key), std::move(value)});
  return *this;
}

MetaTransaction& MetaTransaction::Put(std::string key, std::string value) {
  operations.push_back({MetaOperation::Kind::kPut, std::move(key), std::move(value)});
  return *this;
}

MetaTransaction& MetaTransaction::Delete(std::string key) {
  operations.push_back({MetaOperation::Kind::kDelete, std::move(key), {}});
  return *this;
}

namespace internal {

Status CheckTransaction(const MetaTransaction& transaction) {
  const size_t count = transaction.preconditions.size() + transaction.operations.size();
  if (count > kMaxMetaOperations) {
    return Error(StatusCode::kTooLarge, "a metadata transaction of {} operations is over the limit of {}", count,
                 kMaxMetaOperations);
  }
  size_t bytes = 0;
  bool empty_key = false;
  const auto add = [&](const auto& item) {
    bytes += item.key.size() + item.value.size();
    empty_key |= item.key.empty();
  };
  std::for_each(transaction.preconditions.begin(), transaction.preconditions.end(), add);
  std::for_each(transaction.operations.begin(), transaction.operations.end(), add);
  if (bytes > kMaxMetaBytes) {
    return Error(StatusCode::kTooLarge, "a metadata transaction of {} bytes is over the limit of {}", bytes,
                 kMaxMetaBytes);
  }
  if (empty_key) return InvalidParameter("a metadata key is empty");
  return Status::Ok();
}

bool Holds(const MetaPrecondition& precondition, const std::optional<std::string_view>& found) {
  switch (precondition.kind) {
    case MetaPrecondition::Kind::kExists: return found.has_value();
    case MetaPrecondition::Kind::kAbsent: return !found.has_value();
    case MetaPrecondition::Kind::kEquals: return found.has_value() && *found == precondition.value;
  }
  return false;
}

}  // namespace internal
}  // namespace quiver::storage
