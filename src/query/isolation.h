// File: query/isolation.h
// The rule of collections whose partition keys are isolated: a search is about one of them.
// Thread rule: pure functions.
#pragma once

#include "base/status.h"
#include "expr/filter.h"

namespace quiver::query {

/// Ok where every row that passes holds one value of the partition key, which the filter says by `key == x` as a whole
/// or as an operand of `and`. nullptr = no filter. Error: kInvalidParameter with the published texts, which tell how
/// the filter speaks of the key instead.
Status CheckIsolated(const expr::Filter* filter);

}  // namespace quiver::query
