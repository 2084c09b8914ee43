// File: storage/internal/meta_transaction.h
// What all forms of MetaStore check in the same way.
#pragma once

#include <optional>
#include <string_view>

#include "storage/meta_store.h"

namespace quiver::storage::internal {

/// Checks the limits that every form keeps.
Status CheckTransaction(const MetaTransaction& transaction);
/// Returns whether the precondition holds for the value found at its key (nothing = absent).
bool Holds(const MetaPrecondition& precondition, const std::optional<std::string_view>& found);

}  // namespace quiver::storage::internal
