#include "index/scalar_layout.h"

#include <array>

#include "index/internal/postings.h"
#include "index/internal/scalar_file.h"

namespace quiver::index {

namespace {

/// A section: what it holds, and the bytes of an entry; 0 = it depends.
struct SectionForm {
  std::string_view name;
  uint64_t entry_bytes;
};

/// By their ids.
constexpr std::array<SectionForm, 15> kForms{{{"", 0},
                                              {"recipe", 0},
                                              {"sizes", 0},
                                              {"values", 0},
                                              {"texts", 1},
                                              {"first rows of values", 4},
                                              {"rows", 4},
                                              {"values with bit maps", 4},
                                              {"rows of bit maps", 4},
                                              {"bit maps", 0},
                                              {"null rows", 4},
                                              {"boxes", 32},
                                              {"rows of boxes", 4},
                                              {"boxes of boxes", 32},
                                              {"rows without a box", 4}}};
constexpr uint32_t kValues = 3;
constexpr uint32_t kBitMaps = 9;

}  // namespace

std::string_view ScalarStructureName(ScalarStructure structure) {
  switch (structure) {
    case ScalarStructure::kPostings: return "postings";
    case ScalarStructure::kGrams: return "grams";
    case ScalarStructure::kBoxes: return "boxes";
    case ScalarStructure::kDocuments: return "documents";
  }
  return "unknown";
}

Result<std::vector<ScalarSection>> ScalarSections(const ScalarIndex& index, std::string_view bytes,
                                                  std::string_view name) {
  QUIVER_ASSIGN_OR_RETURN(const SectionFile file, SectionFile::Open(kScalarFileKind, bytes, name));
  const ScalarRecipe& recipe = index.recipe();
  const bool texts =
      recipe.structure == ScalarStructure::kDocuments ||
      (recipe.structure == ScalarStructure::kPostings && DomainOf(recipe.value_type) == ValueDomain::kTexts);
  std::vector<ScalarSection> sections;
  for (uint32_t id = 1; id < kForms.size(); ++id) {
    const std::string_view contents = file.Section(id);
    if (contents.empty()) continue;
    uint64_t entries = 1;
    if (kForms[id].entry_bytes != 0) entries = contents.size() / kForms[id].entry_bytes;
    // Of texts there is one offset more than values.
    if (id == kValues) entries = texts ? contents.size() / sizeof(uint32_t) - 1 : contents.size() / sizeof(uint64_t);
    if (id == kBitMaps) entries = contents.size() / ((uint64_t{index.row_count()} + 63) / 64 * sizeof(uint64_t));
    sections.push_back({.name = kForms[id].name,
                        .offset = static_cast<uint64_t>(contents.data() - bytes.data()),
                        .bytes = contents.size(),
                        .entries = entries});
  }
  return sections;
}

}  // namespace quiver::index
