// File: index/scalar_layout.h
// ScalarSections: the parts of a scalar index file and how much is in each, for whoever looks at files (`quiver dump`).
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "index/scalar_index.h"

namespace quiver::index {

/// "postings", "grams" or "boxes".
std::string_view ScalarStructureName(ScalarStructure structure);

/// One part of an index file.
struct ScalarSection {
  std::string_view name;  ///< "values", "rows", "bit maps", ...
  uint64_t offset = 0;    ///< in the file
  uint64_t bytes = 0;
  uint64_t entries = 0;  ///< of what its name says; of texts, their bytes
};

/// The parts that hold anything, in the order of docs/formats.md, "Scalar index files". `bytes` are those that `index`
/// was opened with. Error: kCorruption with `name`.
Result<std::vector<ScalarSection>> ScalarSections(const ScalarIndex& index, std::string_view bytes,
                                                  std::string_view name);

}  // namespace quiver::index
