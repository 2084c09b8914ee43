#include "schema/index_params.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <span>

#include "schema/limits.h"

namespace quiver {
namespace {

template <typename... Args>
Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return {StatusCode::kInvalidParameter, fmt::format(format, std::forward<Args>(args)...) + ": invalid parameter"};
}

// Errors of CreateIndex carry this published ending.
Status InvalidIndexParams(std::string_view text) {
  return InvalidParameter("{}: invalid parameter[expected=valid index params][actual=invalid index params]", text);
}

Status MissingParam(std::string_view key, std::string_view text) {
  return Error(StatusCode::kMissingParameter, "{}: missing parameter[missing_param={}]", text, key);
}

std::string UpperCase(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return upper;
}

std::optional<int64_t> ParseInt(std::string_view text) {
  int64_t value = 0;
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> ParseDouble(std::string_view text) {
  double value = 0;
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

// --- the table of parameters -----------------------------------------------------------------------------------------

constexpr int64_t kMaxInt = std::numeric_limits<int32_t>::max();

enum class ParamKind : uint8_t { kInt, kFloat, kBool, kChoice };

/// One parameter with its range (both ends included, unless `open_end`), or its choices in lower case.
struct ParamRule {
  std::string_view name;
  ParamKind kind;
  double low = 0;
  double high = 0;
  bool open_end = false;
  bool required = false;
  std::string_view choices = {};  ///< separated by blanks
};

constexpr ParamRule Int(std::string_view name, int64_t low, int64_t high, bool required = false) {
  return {name, ParamKind::kInt, static_cast<double>(low), static_cast<double>(high), false, required, {}};
}
constexpr ParamRule Float(std::string_view name, double low, double high, bool open_end = false) {
  return {name, ParamKind::kFloat, low, high, open_end, false, {}};
}
constexpr ParamRule Bool(std::string_view name) { return {name, ParamKind::kBool, 0, 0, false, false, {}}; }
constexpr ParamRule Choice(std::string_view name, std::string_view choices) {
  return {name, ParamKind::kChoice, 0, 0, false, false, choices};
}

constexpr std::string_view kRefineTypes = "sq6 sq8 fp16 bf16 fp32 flat";
constexpr ParamRule kNlist = Int("nlist", 1, 65536);
constexpr ParamRule kNprobe = Int("nprobe", 1, 65536);
constexpr ParamRule kM = Int("M", 2, 2048);
constexpr ParamRule kEfConstruction = Int("efConstruction", 1, kMaxInt);
constexpr ParamRule kEf = Int("ef", 1, kMaxInt);
constexpr ParamRule kRefine = Bool("refine");
constexpr ParamRule kRefineType = Choice("refine_type", kRefineTypes);
constexpr ParamRule kRefineK = Float("refine_k", 1, std::numeric_limits<float>::max());
constexpr ParamRule kEnsureTopk = Bool("ensure_topk_full");
constexpr ParamRule kEmptyBuckets = Int("max_empty_result_buckets", 1, 65536);

constexpr std::array kNoRules = std::array<ParamRule, 0>{};
constexpr std::array kIvfBuild{kNlist};
constexpr std::array kIvfSearch{kNprobe, kEnsureTopk, kEmptyBuckets};
constexpr std::array kIvfRefineSearch{kNprobe, kEnsureTopk, kEmptyBuckets, kRefineK};
constexpr std::array kIvfSqBuild{kNlist, Choice("sq_type", "sq4 sq6 sq8 fp16 bf16"), kRefine, kRefineType};
constexpr std::array kIvfPqBuild{kNlist, Int("m", 1, 65536, true), Int("nbits", 1, 24), kRefine, kRefineType};
constexpr std::array kIvfRabitqBuild{kNlist, Int("rbq_bits", 1, 9), kRefine,
                                     Choice("refine_type", "sq6 sq8 fp16 bf16 fp32")};
constexpr std::array kIvfRabitqSearch{kNprobe, Int("rbq_bits_query", 0, 8), kRefineK, kEnsureTopk, kEmptyBuckets};
constexpr std::array kScannBuild{kNlist, Bool("with_raw_data"), Int("sub_dim", 1, 65536)};
constexpr std::array kScannSearch{kNprobe, Int("reorder_k", 1, kMaxInt), kEnsureTopk, kEmptyBuckets};
constexpr std::array kHnswBuild{kM, kEfConstruction};
constexpr std::array kHnswSearch{kEf};
constexpr std::array kHnswSqBuild{kM, kEfConstruction, Choice("sq_type", "sq4u sq6 sq8 fp16 bf16"), kRefine,
                                  kRefineType};
constexpr std::array kHnswPqBuild{kM, kEfConstruction, Int("m", 1, 65536), Int("nbits", 1, 24), kRefine, kRefineType};
constexpr std::array kHnswPrqBuild{kM,      kEfConstruction, Int("m", 1, 65536), Int("nrq", 1, 16), Int("nbits", 1, 24),
                                   kRefine, kRefineType};
constexpr std::array kHnswRefineSearch{kEf, kRefineK};
constexpr std::array kDiskannBuild{Int("max_degree", 1, 2048),
                                   Int("search_list_size", 1, kMaxInt),
                                   Float("pq_code_budget_gb", 0, std::numeric_limits<float>::max()),
                                   Float("pq_code_budget_gb_ratio", 0, 1),
                                   Float("build_dram_budget_gb", 0, std::numeric_limits<float>::max()),
                                   Int("disk_pq_dims", 0, kMaxInt),
                                   Float("search_cache_budget_gb", 0, std::numeric_limits<float>::max()),
                                   Float("search_cache_budget_gb_ratio", 0, 1)};
constexpr std::array kDiskannSearch{Int("search_list", 1, kMaxInt), Int("search_list_size", 1, kMaxInt),
                                    Int("beamwidth", 1, 128)};
// The published names are in capitals and compared as they are.
constexpr std::string_view kSparseAlgorithms =
    "TAAT_NAIVE DAAT_WAND DAAT_MAXSCORE BLOCK_MAX_MAXSCORE BLOCK_MAX_WAND SINDI";
constexpr std::array kSparseBuild{Float("drop_ratio_build", 0, 1, true), Float("bm25_k1", 0, 3), Float("bm25_b", 0, 1),
                                  Int("block_max_block_size", 1, 65535)};
constexpr std::array kSparseSearch{Float("drop_ratio_search", 0, 1, true), Float("dim_max_score_ratio", 0.5, 1.3),
                                   Int("refine_factor", 1, kMaxInt)};

// --- the table of vector indexes -------------------------------------------------------------------------------------

constexpr uint8_t kFloats = 1;  ///< FloatVector, Float16Vector, BFloat16Vector
constexpr uint8_t kInt8s = 2;
constexpr uint8_t kBinaries = 4;
constexpr uint8_t kSparses = 8;

struct VectorIndex {
  std::string_view name;
  uint8_t types;
  std::span<const ParamRule> build;
  std::span<const ParamRule> search;
};

constexpr std::array kVectorIndexes{
    VectorIndex{"FLAT", kFloats | kInt8s, kNoRules, kNoRules},
    VectorIndex{"IVF_FLAT", kFloats | kInt8s, kIvfBuild, kIvfSearch},
    VectorIndex{"IVF_SQ8", kFloats | kInt8s, kIvfSqBuild, kIvfRefineSearch},
    VectorIndex{"IVF_SQ", kFloats | kInt8s, kIvfSqBuild, kIvfRefineSearch},
    VectorIndex{"IVF_PQ", kFloats | kInt8s, kIvfPqBuild, kIvfRefineSearch},
    VectorIndex{"IVF_RABITQ", kFloats, kIvfRabitqBuild, kIvfRabitqSearch},
    VectorIndex{"SCANN", kFloats | kInt8s, kScannBuild, kScannSearch},
    VectorIndex{"HNSW", kFloats | kInt8s | kBinaries, kHnswBuild, kHnswSearch},
    VectorIndex{"HNSW_SQ", kFloats | kInt8s, kHnswSqBuild, kHnswRefineSearch},
    VectorIndex{"HNSW_PQ", kFloats | kInt8s, kHnswPqBuild, kHnswRefineSearch},
    VectorIndex{"HNSW_PRQ", kFloats | kInt8s, kHnswPrqBuild, kHnswRefineSearch},
    VectorIndex{"DISKANN", kFloats, kDiskannBuild, kDiskannSearch},
    VectorIndex{"BIN_FLAT", kBinaries, kNoRules, kNoRules},
    VectorIndex{"BIN_IVF_FLAT", kBinaries, kIvfBuild, kIvfSearch},
    VectorIndex{"SPARSE_INVERTED_INDEX", kSparses, kSparseBuild, kSparseSearch},
    VectorIndex{"SPARSE_WAND", kSparses, kSparseBuild, kSparseSearch},
};

constexpr std::array<std::string_view, 8> kScalarIndexes{"INVERTED", "BITMAP", "STL_SORT", "TRIE",
                                                         "HYBRID",   "NGRAM",  "RTREE",    "AUTOINDEX"};

const VectorIndex* FindVectorIndex(std::string_view name) {
  for (const VectorIndex& index : kVectorIndexes) {
    if (index.name == name) return &index;
  }
  return nullptr;
}

bool IsScalarIndex(std::string_view name) {
  return std::find(kScalarIndexes.begin(), kScalarIndexes.end(), name) != kScalarIndexes.end();
}

// Published types that this server knows and cannot build. Others are unknown, those that were removed included.
std::string_view WhyNotBuilt(std::string_view name) {
  if (name.starts_with("GPU_")) return "this server is built without GPU";
  if (name.starts_with("SVS_") || name == "FAISS" || name == "AISAQ" || name.ends_with("_FASTSCAN")) {
    return "an optional type of the published server that this server does not have";
  }
  if (name == "MINHASH_LSH") return "MinHash is not served yet";
  return {};
}

uint8_t TypeBit(DataType type) {
  switch (type) {
    case DataType::kFloatVector:
    case DataType::kFloat16Vector:
    case DataType::kBFloat16Vector: return kFloats;
    case DataType::kInt8Vector: return kInt8s;
    case DataType::kBinaryVector: return kBinaries;
    case DataType::kSparseFloatVector: return kSparses;
    default: return 0;
  }
}

/// The type of a field's vectors.
DataType VectorType(const FieldSchema& field) {
  return field.type == DataType::kArrayOfVector ? field.element_type : field.type;
}

// --- checking one value ----------------------------------------------------------------------------------------------

/// CreateIndex and Search word the same faults differently.
enum class Phase : uint8_t { kBuild, kSearch };

std::string RangeText(const ParamRule& rule) {
  if (rule.kind == ParamKind::kInt) {
    return fmt::format("[{}, {}]", static_cast<int64_t>(rule.low), static_cast<int64_t>(rule.high));
  }
  return fmt::format("[{:f}, {:f}{}", rule.low, rule.high, rule.open_end ? ")" : "]");
}

std::string CheckInt(const ParamRule& rule, std::string_view text, Phase phase) {
  const std::optional<int64_t> value = ParseInt(text);
  if (!value) {
    const std::optional<double> real = ParseDouble(text);
    if (real && std::abs(*real) > 9e18) {
      return fmt::format("Arithmetic overflow: param '{}' ({}) should not bigger than {}", rule.name, text, kMaxInt);
    }
    if (phase == Phase::kSearch) {
      return real ? fmt::format("Type conflict in json: param '{}' ({}) should be integer", rule.name, text)
                  : fmt::format("Type conflict in json: param '{}' (\"{}\") should be integer", rule.name, text);
    }
    if (real) return fmt::format("wrong data type in json, key: '{}', value: '{}'", rule.name, text);
    return fmt::format("invalid integer value, key: '{}', value: '{}'", rule.name, text);
  }
  if (*value > kMaxInt) {
    return fmt::format("Arithmetic overflow: param '{}' ({}) should not bigger than {}", rule.name, *value, kMaxInt);
  }
  if (static_cast<double>(*value) < rule.low || static_cast<double>(*value) > rule.high) {
    return fmt::format("Out of range in json: param '{}' ({}) should be in range {}", rule.name, *value,
                       RangeText(rule));
  }
  return {};
}

std::string CheckFloat(const ParamRule& rule, std::string_view text, Phase phase) {
  const std::optional<double> value = ParseDouble(text);
  if (!value) {
    if (phase == Phase::kSearch) {
      return fmt::format("Type conflict in json: param '{}' (\"{}\") should be a number", rule.name, text);
    }
    return fmt::format("invalid float value, key: '{}', value: '{}'", rule.name, text);
  }
  const bool above = rule.open_end ? *value >= rule.high : *value > rule.high;
  if (*value < rule.low || above) {
    // JSON prints a float with at least one decimal.
    const std::string shown = *value == std::floor(*value) ? fmt::format("{:.1f}", *value) : fmt::format("{}", *value);
    return fmt::format("Out of range in json: param '{}' ({}) should be in range {}", rule.name, shown,
                       RangeText(rule));
  }
  return {};
}

std::string CheckChoice(const ParamRule& rule, std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  for (std::string_view rest = rule.choices; !rest.empty();) {
    const size_t end = std::min(rest.find(' '), rest.size());
    if (rest.substr(0, end) == lower) return {};
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (rule.name == "sq_type") {
    return fmt::format("invalid scalar quantizer type : {}, optional types are [{}]", text, rule.choices);
  }
  return fmt::format("invalid refine type : {}, optional types are [{}]", text, rule.choices);
}

/// Returns the fault of one value, or an empty text.
std::string CheckParam(const ParamRule& rule, std::string_view text, Phase phase) {
  switch (rule.kind) {
    case ParamKind::kInt: return CheckInt(rule, text, phase);
    case ParamKind::kFloat: return CheckFloat(rule, text, phase);
    case ParamKind::kBool:
      if (ParseBool(text)) return {};
      if (phase == Phase::kSearch) {
        return fmt::format("Type conflict in json: param '{}' ({}) should be a boolean", rule.name, text);
      }
      return fmt::format("should be a boolean: key: '{}', value: '{}'", rule.name, text);
    case ParamKind::kChoice: return CheckChoice(rule, text);
  }
  return {};
}

std::string CheckRules(std::span<const ParamRule> rules, const KeyValues& params, Phase phase) {
  for (const ParamRule& rule : rules) {
    const std::string* value = FindValue(params, rule.name);
    if (value == nullptr) {
      if (rule.required) return fmt::format("param '{}' not exist in json", rule.name);
      continue;
    }
    if (std::string fault = CheckParam(rule, *value, phase); !fault.empty()) return fault;
  }
  return {};
}

int64_t IntOr(const KeyValues& params, std::string_view key, int64_t default_value) {
  const std::string* text = FindValue(params, key);
  if (text == nullptr) return default_value;
  return ParseInt(*text).value_or(default_value);
}

// --- vector indexes --------------------------------------------------------------------------------------------------

std::string CheckSparseAlgorithm(const KeyValues& params) {
  const std::string* algorithm = FindValue(params, "inverted_index_algo");
  if (algorithm == nullptr) return {};
  for (std::string_view rest = kSparseAlgorithms; !rest.empty();) {
    const size_t end = std::min(rest.find(' '), rest.size());
    if (rest.substr(0, end) == *algorithm) return {};
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return fmt::format("sparse inverted index algo {} not found or not supported, supported: [{}]", *algorithm,
                     kSparseAlgorithms);
}

// Rules that tie parameters to the dimension or the metric.
std::string CheckVectorBuild(const FieldSchema& field, const VectorIndex& index, MetricType metric,
                             const KeyValues& params) {
  if (std::string fault = CheckRules(index.build, params, Phase::kBuild); !fault.empty()) return fault;
  if (index.name == "BIN_IVF_FLAT" && metric != MetricType::kHamming && metric != MetricType::kJaccard) {
    return fmt::format("metric type {} not found or not supported, supported: [HAMMING JACCARD]",
                       MetricTypeName(metric));
  }
  if (index.types == kSparses) return CheckSparseAlgorithm(params);
  int64_t quantizers = 0;
  if (index.name == "IVF_PQ") quantizers = IntOr(params, "m", 1);
  if (index.name == "HNSW_PQ") quantizers = IntOr(params, "m", 0);
  if (index.name == "HNSW_PRQ") quantizers = IntOr(params, "m", 0);
  if (quantizers > 0 && field.dim > 0 && field.dim % quantizers != 0) {
    return fmt::format(
        "The dimension of a vector (dim) should be a multiple of the number of subquantizers (m). Dimension: {}, m: {}",
        field.dim, quantizers);
  }
  if (index.name == "SCANN") {
    const int64_t sub_dim = IntOr(params, "sub_dim", 0);
    if (sub_dim > 0 && field.dim > 0 && field.dim % sub_dim != 0) {
      return fmt::format("The dimension of a vector (dim) should be a multiple of sub_dim. Dimension: {}, sub_dim: {}",
                         field.dim, sub_dim);
    }
  }
  if (const std::string* dim = FindValue(params, "dim"); dim != nullptr && *dim != std::to_string(field.dim)) {
    return fmt::format("dimension mismatch, dimension in schema: {}, dimension: {}", field.dim, *dim);
  }
  return {};
}

Status UnknownIndexType(std::string_view name) {
  return InvalidParameter("invalid parameter[expected=valid index][actual=invalid index type: {}]", name);
}

// Keys that say how an index is kept, not how it is built: allowed beside AUTOINDEX too.
bool IsStorageKey(std::string_view key) {
  return key == "mmap.enabled" || key == "warmup" || key == "indexoffsetcache.enabled";
}

Status CheckAutoIndex(const KeyValues& params) {
  for (const auto& [key, value] : params) {
    if (key != "index_type" && key != "metric_type" && key != "level" && !IsStorageKey(key)) {
      return InvalidIndexParams("only metric type can be passed when use AutoIndex");
    }
  }
  return Status::Ok();
}

Result<IndexSpec> ParseVectorIndex(const FieldSchema& field, IndexSpec spec) {
  const VectorIndex* index = nullptr;
  if (spec.index_type.empty() || spec.index_type == "AUTOINDEX") {
    spec.index_type = "AUTOINDEX";
    QUIVER_RETURN_IF_ERROR(CheckAutoIndex(spec.params));
  } else {
    index = FindVectorIndex(spec.index_type);
    if (index == nullptr || (index->types & TypeBit(VectorType(field))) == 0) {
      const std::string detail = index == nullptr ? fmt::format("invalid index type: {}", spec.index_type)
                                                  : fmt::format("index {} do not support data type: {}",
                                                                spec.index_type, DataTypeName(field.type));
      return InvalidIndexParams(fmt::format("data type {} can't build with this index {}: {}", DataTypeName(field.type),
                                            spec.index_type, detail));
    }
  }

  if (const std::string* metric = FindValue(spec.params, "metric_type")) {
    if (metric->empty()) return InvalidIndexParams("metric type not set for vector index");
    const Status allowed = CheckMetric(field, *metric);
    if (!allowed.ok()) return allowed;
    spec.metric = ParseMetricType(*metric);
  } else {
    spec.metric = DefaultMetric(field);
  }
  if (index != nullptr) {
    const std::string fault = CheckVectorBuild(field, *index, ElementMetric(spec.metric), spec.params);
    if (!fault.empty()) return InvalidIndexParams(fault);
  }
  return spec;
}

// --- scalar indexes --------------------------------------------------------------------------------------------------

// `cast_types` are those that the index type allows; INVERTED's list is the general one.
std::string_view AllowedCastTypes(std::string_view index_type) {
  if (index_type == "BITMAP") return "BOOL VARCHAR";
  if (index_type == "STL_SORT") return "DOUBLE VARCHAR";
  return "BOOL DOUBLE VARCHAR ARRAY_BOOL ARRAY_DOUBLE ARRAY_VARCHAR JSON";
}

Status CheckJsonIndex(const IndexSpec& spec) {
  const std::string* cast_type = FindValue(spec.params, "json_cast_type");
  if (cast_type == nullptr) return MissingParam("json_cast_type", "json index must specify cast type");
  const std::string upper = UpperCase(*cast_type);
  const std::string allowed = fmt::format(" {} ", AllowedCastTypes(spec.index_type));
  if (allowed.find(fmt::format(" {} ", upper)) == std::string::npos) {
    const bool general = spec.index_type == "INVERTED" || spec.index_type == "AUTOINDEX";
    return InvalidIndexParams(
        general ? fmt::format("json_cast_type {} is not supported", *cast_type)
                : fmt::format("json_cast_type {} is not supported for {} index", *cast_type, spec.index_type));
  }
  if (spec.index_type != "INVERTED" && spec.index_type != "AUTOINDEX" &&
      FindValue(spec.params, "json_path") == nullptr) {
    return MissingParam("json_path", "json index must specify json path");
  }
  if (const std::string* function = FindValue(spec.params, "json_cast_function")) {
    if (*function != "STRING_TO_DOUBLE") {
      return InvalidIndexParams(fmt::format("json_cast_function {} is not supported", *function));
    }
    if (upper != "DOUBLE") {
      return InvalidIndexParams(
          fmt::format("json_cast_function {} is not supported for json_cast_type {}", *function, *cast_type));
    }
  }
  return Status::Ok();
}

Status CheckNgram(const FieldSchema& field, const IndexSpec& spec) {
  if (field.type != DataType::kVarChar && field.type != DataType::kJson) {
    return InvalidIndexParams("ngram index can only be created on VARCHAR or JSON field");
  }
  if (field.type == DataType::kJson) {
    const std::string* cast_type = FindValue(spec.params, "json_cast_type");
    if (cast_type == nullptr) {
      return MissingParam("json_cast_type", "JSON field with ngram index must specify json_cast_type");
    }
    if (UpperCase(*cast_type) != "VARCHAR") {
      return InvalidIndexParams(
          fmt::format("JSON field with ngram index only supports VARCHAR cast type, got: {}", UpperCase(*cast_type)));
    }
  }
  const std::string* min_text = FindValue(spec.params, "min_gram");
  const std::string* max_text = FindValue(spec.params, "max_gram");
  if (min_text == nullptr || max_text == nullptr) {
    return MissingParam(min_text == nullptr ? "min_gram" : "max_gram",
                        "Ngram index must specify both min_gram and max_gram");
  }
  const std::optional<int64_t> min_gram = ParseInt(*min_text);
  const std::optional<int64_t> max_gram = ParseInt(*max_text);
  if (!min_gram) {
    return InvalidIndexParams(fmt::format("min_gram for Ngram index must be an integer, got: {}", *min_text));
  }
  if (!max_gram) {
    return InvalidIndexParams(fmt::format("max_gram for Ngram index must be an integer, got: {}", *max_text));
  }
  if (*min_gram <= 0 || *max_gram <= 0 || *min_gram > *max_gram) {
    return InvalidIndexParams(fmt::format(
        "invalid min_gram or max_gram value for Ngram index, min_gram: {}, max_gram: {}", *min_gram, *max_gram));
  }
  return Status::Ok();
}

/// Returns why `field` cannot have this scalar index, or an empty text.
std::string WrongScalarType(const FieldSchema& field, std::string_view index_type) {
  const DataType type = field.type;
  const DataType element = field.element_type;
  const bool array = type == DataType::kArray;
  const bool json = type == DataType::kJson;
  if (index_type == "INVERTED") {
    if (type == DataType::kBool || IsNumeric(type) || IsString(type) || array || json) return {};
    return fmt::format("INVERTED are not supported on {} field", DataTypeName(type));
  }
  if (index_type == "BITMAP") {
    if (field.is_primary) return "create bitmap index on primary key not supported";
    const auto allowed = [](DataType t) { return t == DataType::kBool || IsInteger(t) || IsString(t); };
    if (json || allowed(type) || (array && allowed(element))) return {};
    return array ? "bitmap index are only supported on bool, int, string for array field"
                 : "bitmap index are only supported on bool, int, string and array field";
  }
  if (index_type == "STL_SORT") {
    if (IsNumeric(type) || IsString(type) || type == DataType::kTimestamptz || json) return {};
    return fmt::format("STL_SORT are only supported on numeric, varchar or timestamptz field, got {}",
                       DataTypeName(type));
  }
  if (index_type == "TRIE") {
    return IsString(type) ? "" : "TRIE are only supported on varchar field";
  }
  if (index_type == "HYBRID") {
    const auto allowed = [](DataType t) { return t == DataType::kBool || IsNumeric(t) || IsString(t); };
    if (allowed(type) || (array && allowed(element))) return {};
    return "hybrid index are only supported on bool, int, float, string and array field";
  }
  if (index_type == "RTREE") {
    return type == DataType::kGeometry ? "" : "RTREE index can only be built on geometry field";
  }
  return {};
}

Result<IndexSpec> ParseScalarIndex(const FieldSchema& field, IndexSpec spec) {
  if (spec.index_type.empty()) spec.index_type = "AUTOINDEX";
  if (FindVectorIndex(spec.index_type) != nullptr) {
    return InvalidIndexParams(
        fmt::format("index {} only supports vector data type: data type {} can't build with this "
                    "index {}",
                    spec.index_type, DataTypeName(field.type), spec.index_type));
  }
  if (field.is_dynamic && spec.index_type == "AUTOINDEX" && FindValue(spec.params, "json_cast_type") == nullptr) {
    return MissingParam("json_cast_type", "json index must specify cast type");
  }
  if (const std::string wrong = WrongScalarType(field, spec.index_type); !wrong.empty()) {
    return InvalidIndexParams(wrong);
  }
  if (spec.index_type == "NGRAM") {
    QUIVER_RETURN_IF_ERROR(CheckNgram(field, spec));
  } else if (field.type == DataType::kJson) {
    QUIVER_RETURN_IF_ERROR(CheckJsonIndex(spec));
  }
  if (const std::string* limit = FindValue(spec.params, "bitmap_cardinality_limit")) {
    const std::optional<int64_t> value = ParseInt(*limit);
    if (!value || *value < 1 || *value > 1000) {
      return InvalidIndexParams(
          "failed to check bitmap cardinality limit, should be larger than 0 and smaller than 1000");
    }
  }
  if (spec.index_type == "STL_SORT" && FindValue(spec.params, "mmap.enabled") != nullptr) {
    return InvalidIndexParams("index type STL_SORT does not support mmap");
  }
  return spec;
}

// --- searches --------------------------------------------------------------------------------------------------------

Status CheckNotBelowTopK(const KeyValues& params, std::string_view key, std::string_view shown, int64_t topk) {
  const std::string* text = FindValue(params, key);
  if (text == nullptr) return Status::Ok();
  const std::optional<int64_t> value = ParseInt(*text);
  if (value && *value < topk) return Invalid("{}({}) should be larger than k({})", shown, *value, topk);
  return Status::Ok();
}

Result<std::optional<float>> ParseBound(const KeyValues& params, std::string_view key) {
  const std::string* text = FindValue(params, key);
  if (text == nullptr || *text == "null") return std::optional<float>();
  const std::optional<double> value = ParseDouble(*text);
  if (!value) return Invalid("Type conflict in json: param '{}' (\"{}\") should be a number", key, *text);
  return std::optional<float>(static_cast<float>(*value));
}

Status ParseRange(const KeyValues& params, SearchSpec& spec) {
  QUIVER_ASSIGN_OR_RETURN(spec.radius, ParseBound(params, "radius"));
  QUIVER_ASSIGN_OR_RETURN(spec.range_filter, ParseBound(params, "range_filter"));
  if (!spec.range_filter) return Status::Ok();
  if (!spec.radius) {
    return Invalid("range_filter requires radius to be set; range_filter alone is not a valid range search parameter");
  }
  if (IsSimilarity(spec.metric)) {
    if (*spec.range_filter < *spec.radius) {
      return Invalid("range_filter must more than radius when IP: range_filter({}), radius({}), metric type {}",
                     *spec.range_filter, *spec.radius, MetricTypeName(spec.metric));
    }
  } else if (*spec.range_filter > *spec.radius) {
    return Invalid("range_filter must less than radius except IP: range_filter({}), radius({}), metric type {}",
                   *spec.range_filter, *spec.radius, MetricTypeName(spec.metric));
  }
  return Status::Ok();
}

}  // namespace

int64_t IndexSpec::Int(std::string_view key, int64_t default_value) const { return IntOr(params, key, default_value); }

int64_t SearchSpec::Int(std::string_view key, int64_t default_value) const { return IntOr(params, key, default_value); }

std::optional<bool> ParseBool(std::string_view text) {
  const std::string upper = UpperCase(text);
  if (upper == "TRUE") return true;
  if (upper == "FALSE") return false;
  return std::nullopt;
}

MetricType DefaultMetric(const FieldSchema& field) {
  const bool lists = field.type == DataType::kArrayOfVector;
  switch (TypeBit(VectorType(field))) {
    case kFloats:
    case kInt8s: return lists ? MetricType::kMaxSimCosine : MetricType::kCosine;
    case kBinaries: return lists ? MetricType::kMaxSimHamming : MetricType::kHamming;
    case kSparses: return MetricType::kIp;
    default: return MetricType::kNone;
  }
}

Status CheckMetric(const FieldSchema& field, std::string_view metric_name) {
  const MetricType given = ParseMetricType(metric_name);
  const bool lists = field.type == DataType::kArrayOfVector;
  const MetricType metric = lists || !IsMaxSim(given) ? ElementMetric(given) : MetricType::kNone;
  const bool dense = metric == MetricType::kL2 || metric == MetricType::kIp || metric == MetricType::kCosine;
  const std::string_view what = lists ? "array of vector" : "vector";
  switch (TypeBit(VectorType(field))) {
    case kFloats:
      if (dense) return Status::Ok();
      return InvalidIndexParams(fmt::format("float {} index does not support metric type: {}", what, metric_name));
    case kInt8s:
      if (dense) return Status::Ok();
      return InvalidIndexParams(fmt::format("int {} index does not support metric type: {}", what, metric_name));
    case kBinaries:
      if (metric == MetricType::kHamming || metric == MetricType::kJaccard || metric == MetricType::kSubstructure ||
          metric == MetricType::kSuperstructure) {
        return Status::Ok();
      }
      return InvalidIndexParams(fmt::format("binary {} index does not support metric type: {}", what, metric_name));
    case kSparses:
      if (metric == MetricType::kIp) return Status::Ok();
      // BM25 belongs to the output of a function, which no collection here has yet.
      if (UpperCase(metric_name) == "BM25") {
        return InvalidIndexParams("only BM25 Function output field support BM25 metric type");
      }
      return InvalidIndexParams("only IP&BM25 is the supported metric type for sparse index");
    default: return InvalidIndexParams(fmt::format("data type {} has no metric type", DataTypeName(field.type)));
  }
}

Status ValidateAlterIndexKey(std::string_view key) {
  if (IsStorageKey(key)) return Status::Ok();
  return Invalid("{} is not a configable index property", key);
}

Result<KeyValues> FlattenParams(const KeyValues& pairs) {
  KeyValues flat;
  for (const auto& [key, value] : pairs) {
    if (key != "params") SetValue(flat, key, value);
  }
  for (const auto& [key, value] : pairs) {
    if (key != "params" || value.empty()) continue;
    rapidjson::Document document;
    document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag>(value.data(), value.size());
    if (document.HasParseError() || !document.IsObject()) {
      return Invalid("unmarshal params failed, not a JSON object: {}", value);
    }
    for (const auto& member : document.GetObject()) {
      const std::string_view name(member.name.GetString(), member.name.GetStringLength());
      if (member.value.IsString()) {
        SetValue(flat, name, std::string(member.value.GetString(), member.value.GetStringLength()));
        continue;
      }
      rapidjson::StringBuffer buffer;
      rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
      member.value.Accept(writer);
      SetValue(flat, name, std::string(buffer.GetString(), buffer.GetSize()));
    }
  }
  return flat;
}

Result<IndexSpec> ParseIndexParams(const FieldSchema& field, const KeyValues& extra_params) {
  size_t size = 0;
  for (size_t i = 0; i < extra_params.size(); ++i) {
    size += extra_params[i].first.size() + extra_params[i].second.size();
    for (size_t j = 0; j < i; ++j) {
      if (extra_params[j].first == extra_params[i].first) {
        return Invalid("duplicated index param (key={}) (value={}) found", extra_params[i].first,
                       extra_params[i].second);
      }
    }
  }
  if (size > limits::kMaxIndexParamsSize) {
    return Invalid("index params size exceeds limit: {} > {}", size, limits::kMaxIndexParamsSize);
  }

  IndexSpec spec;
  QUIVER_ASSIGN_OR_RETURN(spec.params, FlattenParams(extra_params));
  if (const std::string* type = FindValue(spec.params, "index_type")) spec.index_type = UpperCase(*type);
  const std::string given = spec.index_type;
  if (!given.empty() && FindVectorIndex(given) == nullptr && !IsScalarIndex(given)) {
    if (const std::string_view reason = WhyNotBuilt(given); !reason.empty()) {
      return Error(StatusCode::kIndexNotSupported, "index type {} is not supported: {}", given, reason);
    }
    return UnknownIndexType(*FindValue(spec.params, "index_type"));
  }
  if (const std::string* mmap = FindValue(spec.params, "mmap.enabled"); mmap != nullptr && !ParseBool(*mmap)) {
    return InvalidIndexParams(fmt::format("invalid mmap.enabled value: {}, expected: true, false", *mmap));
  }
  return IsVector(field.type) ? ParseVectorIndex(field, std::move(spec)) : ParseScalarIndex(field, std::move(spec));
}

Result<SearchSpec> ParseSearchParams(const IndexSpec& index, const KeyValues& search_params, int64_t topk) {
  SearchSpec spec;
  QUIVER_ASSIGN_OR_RETURN(spec.params, FlattenParams(search_params));
  spec.metric = index.metric;
  if (const std::string* metric = FindValue(spec.params, "metric_type"); metric != nullptr && !metric->empty()) {
    if (!SameMetric(ParseMetricType(*metric), index.metric)) {
      return InvalidParameter("metric type not match: invalid parameter[expected={}][actual={}]",
                              MetricTypeName(index.metric), UpperCase(*metric));
    }
  }
  if (const std::string* text = FindValue(spec.params, "round_decimal")) {
    const std::optional<int64_t> value = ParseInt(*text);
    if (!value || *value < -1 || *value > 6) {
      return Invalid("round_decimal [{}] is invalid, should be -1 or an integer in range [0, 6]", *text);
    }
    spec.round_decimal = *value;
  }
  if (const std::string* text = FindValue(spec.params, "ignore_growing"); text != nullptr && !text->empty()) {
    const std::optional<bool> value = ParseBool(*text);
    if (!value) return Invalid("parse ignore growing field failed, ignore_growing: {}", *text);
    spec.ignore_growing = *value;
  }
  QUIVER_RETURN_IF_ERROR(ParseRange(spec.params, spec));
  if (const std::string* text = FindValue(spec.params, "recall"); text != nullptr) {
    const std::optional<double> value = ParseDouble(*text);
    if (!value) return Invalid("Type conflict in json: param 'recall' (\"{}\") should be a number", *text);
    if (*value < 0.8 || *value > 0.999) {
      return Invalid("Out of range in json: param 'recall' ({}) should be in range [0.8, 0.999]", *value);
    }
    spec.recall = *value;
  }

  if (const VectorIndex* known = FindVectorIndex(index.index_type)) {
    const std::string fault = CheckRules(known->search, spec.params, Phase::kSearch);
    if (!fault.empty()) return Invalid("{}", fault);
    if (index.index_type.starts_with("HNSW")) {
      QUIVER_RETURN_IF_ERROR(CheckNotBelowTopK(spec.params, "ef", "ef", topk));
    } else if (index.index_type == "SCANN") {
      QUIVER_RETURN_IF_ERROR(CheckNotBelowTopK(spec.params, "reorder_k", "reorder_k", topk));
    } else if (index.index_type == "DISKANN") {
      QUIVER_RETURN_IF_ERROR(CheckNotBelowTopK(spec.params, "search_list", "search_list_size", topk));
      QUIVER_RETURN_IF_ERROR(CheckNotBelowTopK(spec.params, "search_list_size", "search_list_size", topk));
    }
  }
  return spec;
}

}  // namespace quiver
