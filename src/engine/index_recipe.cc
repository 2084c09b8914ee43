#include "engine/index_recipe.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "codec/pq.h"
#include "expr/filter.h"
#include "expr/predicate.h"
#include "simd/list_kernels.h"

namespace quiver::engine {

namespace {

using index::IndexCodec;
using index::IndexRecipe;
using index::IndexStructure;

/// The most bits per dimension that lists take.
constexpr auto kMostCodeBits = static_cast<uint32_t>(simd::ListKernels::kMaxBits);

/// Rows that product codes are trained on at most.
constexpr uint64_t kTrainingRows = codec::PqCodebook::kTrainingRows;

struct NamedRecipe {
  std::string_view name;
  IndexStructure structure;
  IndexCodec codec;
};

/// What each name is served by; binary and sparse vectors are decided in RecipeOf.
constexpr std::array kRecipes{
    NamedRecipe{"IVF_FLAT", IndexStructure::kLists, IndexCodec::kRaw},
    NamedRecipe{"IVF_SQ8", IndexStructure::kLists, IndexCodec::kSq8},
    NamedRecipe{"IVF_SQ", IndexStructure::kLists, IndexCodec::kSq8},
    NamedRecipe{"IVF_PQ", IndexStructure::kLists, IndexCodec::kPq},
    NamedRecipe{"IVF_RABITQ", IndexStructure::kLists, IndexCodec::kRabitq},
    NamedRecipe{"SCANN", IndexStructure::kLists, IndexCodec::kPq},
    NamedRecipe{"DISKANN", IndexStructure::kLists, IndexCodec::kRabitq},
    NamedRecipe{"BIN_IVF_FLAT", IndexStructure::kLists, IndexCodec::kRaw},
    NamedRecipe{"HNSW", IndexStructure::kGraph, IndexCodec::kSq8},
    NamedRecipe{"HNSW_SQ", IndexStructure::kGraph, IndexCodec::kSq8},
    NamedRecipe{"HNSW_PQ", IndexStructure::kGraph, IndexCodec::kPq},
    NamedRecipe{"HNSW_PRQ", IndexStructure::kGraph, IndexCodec::kPq},
    NamedRecipe{"SPARSE_INVERTED_INDEX", IndexStructure::kInverted, IndexCodec::kRaw},
    NamedRecipe{"SPARSE_WAND", IndexStructure::kInverted, IndexCodec::kRaw},
    NamedRecipe{"AUTOINDEX", IndexStructure::kGraph, IndexCodec::kSq8},
};

/// The value of a checked integer parameter.
std::optional<uint32_t> Number(const IndexInfo& index, std::string_view key) {
  const std::string* text = FindValue(index.params, key);
  if (text == nullptr) return std::nullopt;
  const char* begin = text->data() + (text->starts_with('+') ? 1 : 0);
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(begin, text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return value;
}

/// Puts the codes of lists that `sq_type` names into `recipe`: eight bits where it names none.
void SetScalarCodes(const IndexInfo& index, IndexRecipe& recipe) {
  const std::string* given = FindValue(index.params, "sq_type");
  if (given == nullptr) return;
  std::string type = *given;
  std::transform(type.begin(), type.end(), type.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (type == "fp16" || type == "bf16") {
    recipe.codec = IndexCodec::kRaw;
  } else if (type == "sq4" || type == "sq4u") {
    recipe.codec = IndexCodec::kRabitq;
    recipe.code_bits = 4;
  }
}

/// Bits per dimension of RaBitQ codes that take the room of `quantizers` product codes of `bits` each.
uint32_t BitsPerDimension(int64_t dim, uint64_t quantizers, uint64_t bits) {
  const auto dims = static_cast<uint64_t>(std::max<int64_t>(dim, 1));
  return static_cast<uint32_t>(std::clamp<uint64_t>(quantizers * bits / dims, 1, kMostCodeBits));
}

/// Puts product codes into `recipe`, whose memory the client asked for; where codes of so many bits do not exist,
/// RaBitQ codes of about the same room.
void SetProductCodes(uint64_t quantizers, uint64_t bits, IndexRecipe& recipe) {
  const bool exist = (bits == 4 || bits == 8) && quantizers >= 1 && static_cast<int64_t>(quantizers) <= recipe.dim;
  recipe.codec = exist ? IndexCodec::kPq : IndexCodec::kRabitq;
  recipe.quantizers = exist ? static_cast<uint32_t>(quantizers) : 0;
  recipe.code_bits = exist ? static_cast<uint32_t>(bits) : BitsPerDimension(recipe.dim, quantizers, bits);
}

/// Puts product codes of a graph into `recipe`; where codes of so many bits do not exist, or take no less than a byte
/// for each dimension, the codes of HNSW.
void SetGraphCodes(uint64_t quantizers, uint64_t stages, uint64_t bits, IndexRecipe& recipe) {
  const auto dim = static_cast<uint64_t>(std::max<int64_t>(recipe.dim, 0));
  const bool exist = (bits == 4 || bits == 8) && quantizers >= 1 && quantizers <= dim && stages >= 1 &&
                     quantizers * stages * bits < dim * 8;
  recipe.codec = exist ? IndexCodec::kPq : IndexCodec::kSq8;
  if (!exist) return;
  recipe.quantizers = static_cast<uint32_t>(quantizers);
  recipe.stages = static_cast<uint32_t>(stages);
  recipe.code_bits = static_cast<uint32_t>(bits);
}

uint64_t CodeBytes(const IndexRecipe& recipe) {
  const auto dim = static_cast<uint64_t>(std::max<int64_t>(recipe.dim, 1));
  switch (recipe.codec) {
    case IndexCodec::kRaw: return recipe.type == DataType::kBinaryVector ? dim / 8 : 4 * dim;
    case IndexCodec::kSq8: return dim + 16;
    case IndexCodec::kRabitq: return dim * recipe.code_bits / 8 + 32;
    case IndexCodec::kPq: return uint64_t{recipe.quantizers} * recipe.stages * recipe.code_bits / 8 + 4;
  }
  return 4 * dim;
}

}  // namespace

std::optional<IndexRecipe> RecipeOf(const FieldSchema& field, const IndexInfo& index) {
  switch (field.type) {
    case DataType::kFloatVector:
    case DataType::kFloat16Vector:
    case DataType::kBFloat16Vector:
    case DataType::kInt8Vector:
    case DataType::kBinaryVector:
    case DataType::kSparseFloatVector: break;
    default: return std::nullopt;
  }
  const auto named = std::find_if(kRecipes.begin(), kRecipes.end(),
                                  [&](const NamedRecipe& recipe) { return recipe.name == index.index_type; });
  if (named == kRecipes.end()) return std::nullopt;
  IndexRecipe recipe;
  recipe.structure = named->structure;
  recipe.codec = named->codec;
  recipe.type = field.type;
  recipe.dim = field.dim;
  recipe.metric = ParseMetricType(index.metric_type);
  if (field.type == DataType::kBinaryVector) {
    if (recipe.metric != MetricType::kHamming && recipe.metric != MetricType::kJaccard) return std::nullopt;
    if (index.index_type != "HNSW") recipe.structure = IndexStructure::kLists;
    recipe.codec = IndexCodec::kRaw;  // bits are their own code
  }
  if (field.type == DataType::kSparseFloatVector) {
    if (recipe.metric != MetricType::kIp) return std::nullopt;
    recipe.structure = IndexStructure::kInverted;
    recipe.codec = IndexCodec::kRaw;
  }
  if (const auto m = Number(index, "M")) recipe.degree = 2 * *m;
  if (const auto ef = Number(index, "efConstruction")) recipe.ef_construction = *ef;
  if (index.index_type != "DISKANN") {
    if (const auto nlist = Number(index, "nlist")) recipe.nlist = *nlist;
  }
  if (index.index_type == "IVF_SQ8" || index.index_type == "IVF_SQ") {
    SetScalarCodes(index, recipe);
  } else if (index.index_type == "IVF_RABITQ") {
    if (const auto bits = Number(index, "rbq_bits")) recipe.code_bits = std::min(*bits, kMostCodeBits);
  } else if (index.index_type == "IVF_PQ") {
    SetProductCodes(Number(index, "m").value_or(1), Number(index, "nbits").value_or(8), recipe);
  } else if (index.index_type == "SCANN") {
    constexpr uint32_t kScannBits = 4;
    const uint32_t sub_dim = std::max<uint32_t>(Number(index, "sub_dim").value_or(2), 1);
    SetProductCodes(static_cast<uint64_t>(field.dim) / sub_dim, kScannBits, recipe);
  } else if (index.index_type == "HNSW_PQ") {
    SetGraphCodes(Number(index, "m").value_or(32), 1, Number(index, "nbits").value_or(8), recipe);
  } else if (index.index_type == "HNSW_PRQ") {
    SetGraphCodes(Number(index, "m").value_or(2), Number(index, "nrq").value_or(2), Number(index, "nbits").value_or(8),
                  recipe);
  }
  return recipe;
}

std::vector<IndexRecipe> CandidatesOf(const IndexRecipe& recipe, const IndexInfo& index, uint64_t rows,
                                      uint64_t least_rows) {
  std::vector<IndexRecipe> candidates{recipe};
  const bool open = index.index_type == "AUTOINDEX" && recipe.structure == IndexStructure::kGraph;
  if (!open || rows < least_rows) return candidates;
  IndexRecipe lists = recipe;
  lists.structure = IndexStructure::kLists;
  lists.codec = IndexCodec::kRabitq;
  for (const uint32_t bits : {7U, 4U}) {
    lists.code_bits = bits;
    candidates.push_back(lists);
  }
  return candidates;
}

Result<std::vector<std::string>> JsonPathOf(const CollectionSchema& schema, const FieldSchema& field,
                                            const KeyValues& params) {
  std::vector<std::string> keys;
  const std::string* path = FindValue(params, "json_path");
  if (path == nullptr || path->empty() || *path == field.name) return keys;
  const auto place = expr::Filter::Compile("exists " + *path, schema);
  if (!place.ok()) return InvalidParameter("cannot parse identifier: {}: {}", *path, place.status().message());
  const expr::Predicate& predicate = (*place)->predicate();
  if (predicate.kind != expr::Predicate::Kind::kExists) return InvalidParameter("cannot parse identifier: {}", *path);
  if (predicate.field.field_id != field.field_id) return InvalidParameter("fieldID not match with field name");
  for (const expr::PathStep& step : predicate.field.path) keys.push_back(step.key);
  return keys;
}

std::string CastTypeOf(const IndexInfo& index) {
  const std::string* given = FindValue(index.params, "json_cast_type");
  std::string cast = given != nullptr ? *given : std::string();
  std::transform(cast.begin(), cast.end(), cast.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return cast;
}

std::string JsonPointer(std::span<const std::string> keys) {
  std::string pointer;
  for (const std::string& key : keys) {
    pointer += '/';
    for (const char c : key) {
      if (c == '~') {
        pointer += "~0";
      } else if (c == '/') {
        pointer += "~1";
      } else {
        pointer += c;
      }
    }
  }
  return pointer;
}

std::optional<index::ScalarRecipe> ScalarRecipeOf(const CollectionSchema& schema, const FieldSchema& field,
                                                  const IndexInfo& index) {
  index::ScalarRecipe recipe{.field_id = field.field_id, .type = field.type, .value_type = field.type};
  if (index.index_type == "NGRAM") recipe.structure = index::ScalarStructure::kGrams;
  switch (field.type) {
    case DataType::kBool:
    case DataType::kInt8:
    case DataType::kInt16:
    case DataType::kInt32:
    case DataType::kInt64:
    case DataType::kFloat:
    case DataType::kDouble:
    case DataType::kVarChar:
    case DataType::kString:
    case DataType::kTimestamptz: return recipe;
    case DataType::kGeometry: recipe.structure = index::ScalarStructure::kBoxes; return recipe;
    case DataType::kArray:
      recipe.value_type = field.element_type;
      recipe.elements = true;
      return recipe;
    case DataType::kJson: break;
    default: return std::nullopt;
  }
  std::string cast = CastTypeOf(index);
  constexpr std::string_view kArrayOf = "ARRAY_";
  recipe.elements = cast.starts_with(kArrayOf);
  if (recipe.elements) cast.erase(0, kArrayOf.size());
  if (cast == "BOOL") {
    recipe.value_type = DataType::kBool;
  } else if (cast == "DOUBLE") {
    recipe.value_type = DataType::kDouble;
    recipe.texts_as_numbers = FindValue(index.params, "json_cast_function") != nullptr;  // there is no other one
  } else if (cast == "VARCHAR") {
    recipe.value_type = DataType::kVarChar;
  } else if (cast == "JSON") {
    recipe.structure = index::ScalarStructure::kDocuments;
  } else {
    return std::nullopt;
  }
  Result<std::vector<std::string>> path = JsonPathOf(schema, field, index.params);
  if (!path.ok()) return std::nullopt;
  recipe.path = *std::move(path);
  return recipe;
}

std::optional<SegmentRecipe> SegmentRecipeOf(const CollectionSchema& schema, const IndexInfo& index) {
  const FieldSchema* field = schema.FindById(index.field_id);
  if (field == nullptr) return std::nullopt;
  if (IsVector(field->type)) {
    if (std::optional<IndexRecipe> recipe = RecipeOf(*field, index)) return *recipe;
    return std::nullopt;
  }
  if (auto recipe = ScalarRecipeOf(schema, *field, index)) return *std::move(recipe);
  return std::nullopt;
}

uint64_t BuildMemory(const IndexRecipe& recipe, const ColumnView& column) {
  if (recipe.structure == IndexStructure::kInverted) {
    // Six of the eight bytes of each value, with what tells where they are; once more for the file.
    return 2 * BytesOf(column);
  }
  const uint64_t rows = column.rows;
  uint64_t per_row = CodeBytes(recipe) + 16;
  if (recipe.structure == IndexStructure::kGraph) per_row += uint64_t{recipe.degree} * 4 * 5 / 4 + 16;
  uint64_t bytes = rows * per_row * 2;  // while it is built, and the file
  if (recipe.structure == IndexStructure::kGraph && recipe.codec == IndexCodec::kPq) {
    // Links are made by the codes of HNSW. The centres, and the rows that they are trained on, twice.
    IndexRecipe linked = recipe;
    linked.codec = IndexCodec::kSq8;
    const uint64_t vector = 4 * static_cast<uint64_t>(std::max<int64_t>(recipe.dim, 1));
    const uint64_t centres = uint64_t{recipe.stages} << recipe.code_bits;
    bytes += rows * CodeBytes(linked) + (3 * centres + 2 * std::min(rows, kTrainingRows)) * vector;
  }
  return bytes;
}

}  // namespace quiver::engine
