// File: expr/canonical_key.h
// CanonicalKey: a compiled filter as bytes; equal bytes mean equal answers over the same rows.
// Thread rule: a pure function.
#pragma once

#include <string>

#include "expr/predicate.h"

namespace quiver::expr {

/// Keys longer than this are not made.
inline constexpr size_t kLongestCanonicalKey = 16U << 10;

/// The typed tree with all its constants, template values among them: spaces, quotes and names of templates do not
/// count. Empty where there is none: the key would be too long, or the filter draws rows by chance.
std::string CanonicalKey(const Predicate& filter);

}  // namespace quiver::expr
