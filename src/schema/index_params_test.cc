#include "schema/index_params.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace quiver {
namespace {

using testing::HasSubstr;

FieldSchema Field(DataType type, int64_t dim = 128) {
  FieldSchema field;
  field.name = "f";
  field.type = type;
  if (IsDenseVector(type)) field.dim = dim;
  return field;
}

// Parses and returns the error text, empty on success.
std::string Fault(DataType type, const KeyValues& params) {
  const Result<IndexSpec> spec = ParseIndexParams(Field(type), params);
  return spec.ok() ? "" : spec.status().message();
}

TEST(IndexParams, EveryVectorIndexTakesItsVectorTypes) {
  const struct {
    const char* name;
    std::vector<DataType> types;
    KeyValues params;
  } cases[] = {
      {"FLAT",
       {DataType::kFloatVector, DataType::kFloat16Vector, DataType::kBFloat16Vector, DataType::kInt8Vector},
       {}},
      {"IVF_FLAT", {DataType::kFloatVector, DataType::kInt8Vector}, {{"nlist", "128"}}},
      {"IVF_SQ8", {DataType::kFloatVector}, {{"nlist", "65536"}}},
      {"IVF_PQ", {DataType::kFloatVector}, {{"m", "16"}, {"nbits", "8"}}},
      {"IVF_RABITQ", {DataType::kFloatVector}, {{"refine", "true"}, {"refine_type", "SQ8"}}},
      {"SCANN", {DataType::kFloatVector}, {{"with_raw_data", "True"}}},
      {"HNSW", {DataType::kFloatVector, DataType::kBinaryVector, DataType::kInt8Vector}, {{"M", "2048"}}},
      {"HNSW_SQ", {DataType::kFloatVector}, {{"sq_type", "SQ4U"}, {"refine_type", "fp32"}}},
      {"HNSW_PQ", {DataType::kFloatVector}, {{"m", "32"}}},
      {"HNSW_PRQ", {DataType::kFloatVector}, {{"m", "2"}, {"nrq", "16"}}},
      {"DISKANN", {DataType::kFloatVector, DataType::kBFloat16Vector}, {{"max_degree", "56"}}},
      {"BIN_FLAT", {DataType::kBinaryVector}, {}},
      {"BIN_IVF_FLAT", {DataType::kBinaryVector}, {{"nlist", "1"}}},
      {"SPARSE_INVERTED_INDEX", {DataType::kSparseFloatVector}, {{"inverted_index_algo", "DAAT_WAND"}}},
      {"SPARSE_WAND", {DataType::kSparseFloatVector}, {{"drop_ratio_build", "0.2"}}},
      {"AUTOINDEX", {DataType::kFloatVector, DataType::kSparseFloatVector, DataType::kBinaryVector}, {}},
  };
  for (const auto& test : cases) {
    for (const DataType type : test.types) {
      KeyValues params = test.params;
      params.emplace_back("index_type", test.name);
      const Result<IndexSpec> spec = ParseIndexParams(Field(type), params);
      ASSERT_TRUE(spec.ok()) << test.name << ": " << spec.status().ToString();
      EXPECT_EQ(spec->index_type, test.name);
      EXPECT_EQ(spec->metric, DefaultMetric(Field(type)));
    }
  }
}

TEST(IndexParams, ArraysOfVectorsHaveTheMetricsOfListsAndOfElements) {
  FieldSchema field = Field(DataType::kArrayOfVector);
  field.element_type = DataType::kFloatVector;
  EXPECT_EQ(DefaultMetric(field), MetricType::kMaxSimCosine);
  for (const char* metric : {"MAX_SIM", "max_sim_cosine", "MAX_SIM_IP", "MAX_SIM_L2", "COSINE", "IP", "L2"}) {
    const Result<IndexSpec> spec =
        ParseIndexParams(field, {{"index_type", "HNSW"}, {"metric_type", metric}, {"M", "8"}});
    ASSERT_TRUE(spec.ok()) << metric << ": " << spec.status().ToString();
    EXPECT_EQ(spec->metric, ParseMetricType(metric));
  }
  EXPECT_THAT(CheckMetric(field, "MAX_SIM_HAMMING").message(),
              HasSubstr("float array of vector index does not support metric type: MAX_SIM_HAMMING"));
  EXPECT_FALSE(CheckMetric(Field(DataType::kFloatVector), "MAX_SIM").ok()) << "a single vector is no list";
  EXPECT_FALSE(ParseIndexParams(field, {{"index_type", "BIN_FLAT"}}).ok());
  field.element_type = DataType::kBinaryVector;
  EXPECT_EQ(DefaultMetric(field), MetricType::kMaxSimHamming);
  EXPECT_TRUE(ParseIndexParams(field, {{"index_type", "BIN_IVF_FLAT"}, {"metric_type", "MAX_SIM_JACCARD"}}).ok());

  const IndexSpec index{.index_type = "HNSW", .metric = MetricType::kMaxSim, .params = {}};
  EXPECT_TRUE(ParseSearchParams(index, {{"metric_type", "MAX_SIM_COSINE"}}, 10).ok()) << "two names of one metric";
  EXPECT_THAT(ParseSearchParams(index, {{"metric_type", "COSINE"}}, 10).status().message(),
              HasSubstr("metric type not match: invalid parameter[expected=MAX_SIM][actual=COSINE]"));
}

TEST(IndexParams, ParamsMayBeNestedFlatOrBoth) {
  const Result<IndexSpec> nested = ParseIndexParams(
      Field(DataType::kFloatVector),
      {{"index_type", "HNSW"}, {"metric_type", "L2"}, {"params", R"({"M":16,"efConstruction":"200"})"}});
  ASSERT_TRUE(nested.ok()) << nested.status().ToString();
  EXPECT_EQ(nested->metric, MetricType::kL2);
  EXPECT_EQ(nested->Int("M", -1), 16);
  EXPECT_EQ(nested->Int("efConstruction", -1), 200);
  EXPECT_EQ(nested->Int("nlist", 7), 7);
  const Result<IndexSpec> both =
      ParseIndexParams(Field(DataType::kFloatVector), {{"index_type", "HNSW"}, {"M", "8"}, {"params", R"({"M":16})"}});
  ASSERT_TRUE(both.ok());
  EXPECT_EQ(both->Int("M", -1), 16) << "the nested value wins";
  EXPECT_THAT(Fault(DataType::kFloatVector, {{"index_type", "HNSW"}, {"params", "{"}}), HasSubstr("params"));
}

TEST(IndexParams, RangesAndTypesInThePublishedWords) {
  const auto hnsw = [](const char* key, const char* value) {
    return Fault(DataType::kFloatVector, {{"index_type", "HNSW"}, {key, value}});
  };
  EXPECT_EQ(hnsw("M", "1"),
            "Out of range in json: param 'M' (1) should be in range [2, 2048]: invalid parameter[expected=valid index "
            "params][actual=invalid index params]");
  EXPECT_THAT(hnsw("M", "2049"), HasSubstr("param 'M' (2049) should be in range [2, 2048]"));
  EXPECT_THAT(hnsw("M", "16.0"), HasSubstr("wrong data type in json, key: 'M', value: '16.0'"));
  EXPECT_THAT(hnsw("M", "True"), HasSubstr("invalid integer value, key: 'M', value: 'True': invalid parameter"));
  EXPECT_THAT(hnsw("efConstruction", "2147483648"),
              HasSubstr("Arithmetic overflow: param 'efConstruction' (2147483648) should not bigger than 2147483647"));
  const auto sparse = [](const char* key, const char* value) {
    return Fault(DataType::kSparseFloatVector, {{"index_type", "SPARSE_INVERTED_INDEX"}, {key, value}});
  };
  EXPECT_THAT(
      sparse("drop_ratio_build", "-0.5"),
      HasSubstr("Out of range in json: param 'drop_ratio_build' (-0.5) should be in range [0.000000, 1.000000)"));
  EXPECT_THAT(sparse("drop_ratio_build", "1"), HasSubstr("(1.0) should be in range [0.000000, 1.000000)"));
  EXPECT_THAT(sparse("inverted_index_algo", "X"),
              HasSubstr("sparse inverted index algo X not found or not supported, supported: [TAAT_NAIVE DAAT_WAND"));
  const auto pq = [](const char* m) { return Fault(DataType::kFloatVector, {{"index_type", "IVF_PQ"}, {"m", m}}); };
  EXPECT_THAT(pq("3"), HasSubstr("The dimension of a vector (dim) should be a multiple of the number of subquantizers "
                                 "(m). Dimension: 128, m: 3"));
  EXPECT_THAT(pq("-1"), HasSubstr("Out of range in json: param 'm' (-1) should be in range [1, 65536]"));
  EXPECT_THAT(Fault(DataType::kFloatVector, {{"index_type", "IVF_PQ"}}), HasSubstr("param 'm' not exist in json"));
  EXPECT_THAT(Fault(DataType::kFloatVector, {{"index_type", "HNSW_SQ"}, {"sq_type", "sq5"}}),
              HasSubstr("invalid scalar quantizer type"));
  EXPECT_THAT(Fault(DataType::kFloatVector, {{"index_type", "HNSW"}, {"dim", "64"}}),
              HasSubstr("dimension mismatch, dimension in schema: 128, dimension: 64"));
}

TEST(IndexParams, WrongTypesForTheField) {
  EXPECT_THAT(Fault(DataType::kSparseFloatVector, {{"index_type", "HNSW"}}),
              HasSubstr("data type SparseFloatVector can't build with this index HNSW"));
  EXPECT_THAT(Fault(DataType::kVarChar, {{"index_type", "HNSW"}}),
              HasSubstr("data type VarChar can't build with this index HNSW"));
  EXPECT_THAT(Fault(DataType::kVarChar, {{"index_type", "HNSW"}}), HasSubstr("index HNSW only supports vector data"));
  EXPECT_THAT(Fault(DataType::kFloatVector, {{"index_type", "INVERTED"}}), HasSubstr("invalid index type: INVERTED"));
  EXPECT_THAT(Fault(DataType::kFloatVector, {{"index_type", "RHNSW_FLAT"}}),
              HasSubstr("invalid index type: RHNSW_FLAT"));
  EXPECT_THAT(Fault(DataType::kFloatVector, {{"index_type", "ANNOY"}}), HasSubstr("invalid index type: ANNOY"));
  for (const char* name : {"GPU_CAGRA", "GPU_IVF_FLAT", "GPU_IVF_PQ", "GPU_BRUTE_FORCE"}) {
    const Result<IndexSpec> gpu = ParseIndexParams(Field(DataType::kFloatVector), {{"index_type", name}});
    EXPECT_EQ(gpu.status().code(), StatusCode::kIndexNotSupported);
    EXPECT_THAT(gpu.status().message(), HasSubstr("built without GPU"));
  }
  EXPECT_THAT(Fault(DataType::kFloatVector, {{"index_type", "HNSW"}, {"index_type", "FLAT"}}),
              HasSubstr("duplicated index param (key=index_type) (value=FLAT) found"));
  EXPECT_THAT(Fault(DataType::kFloatVector, {{"index_type", "FLAT"}, {"x", std::string(103'000, 'x')}}),
              HasSubstr("index params size exceeds limit"));
}

TEST(IndexParams, Metrics) {
  const auto with = [](DataType type, const char* metric) { return Fault(type, {{"metric_type", metric}}); };
  for (const char* metric : {"L2", "IP", "COSINE", "cosine"}) EXPECT_EQ(with(DataType::kFloatVector, metric), "");
  for (const char* metric : {"HAMMING", "JACCARD", "SUBSTRUCTURE"})
    EXPECT_EQ(with(DataType::kBinaryVector, metric), "");
  EXPECT_EQ(with(DataType::kFloatVector, "HAMMING"),
            "float vector index does not support metric type: HAMMING: invalid parameter[expected=valid index "
            "params][actual=invalid index params]");
  EXPECT_THAT(with(DataType::kBinaryVector, "L2"), HasSubstr("binary vector index does not support metric type: L2"));
  EXPECT_THAT(with(DataType::kInt8Vector, "JACCARD"), HasSubstr("int vector index does not support metric type"));
  EXPECT_THAT(with(DataType::kSparseFloatVector, "L2"),
              HasSubstr("only IP&BM25 is the supported metric type for sparse index"));
  EXPECT_THAT(with(DataType::kSparseFloatVector, "BM25"),
              HasSubstr("only BM25 Function output field support BM25 metric type"));
  EXPECT_THAT(with(DataType::kFloatVector, ""), HasSubstr("metric type not set for vector index"));
  EXPECT_THAT(Fault(DataType::kBinaryVector, {{"index_type", "BIN_IVF_FLAT"}, {"metric_type", "SUBSTRUCTURE"}}),
              HasSubstr("metric type SUBSTRUCTURE not found or not supported, supported: [HAMMING JACCARD]"));
}

TEST(IndexParams, AutoIndexTakesOnlyAMetric) {
  EXPECT_EQ(Fault(DataType::kFloatVector, {}), "");
  EXPECT_EQ(Fault(DataType::kFloatVector, {{"index_type", "AUTOINDEX"}, {"metric_type", "IP"}, {"params", "{}"}}), "");
  EXPECT_EQ(Fault(DataType::kFloatVector, {{"index_type", "AUTOINDEX"}, {"mmap.enabled", "true"}}), "");
  EXPECT_THAT(Fault(DataType::kFloatVector, {{"index_type", "AUTOINDEX"}, {"M", "8"}}),
              HasSubstr("only metric type can be passed when use AutoIndex"));
}

TEST(IndexParams, ScalarIndexes) {
  const struct {
    DataType type;
    const char* index;
    const char* fault;
  } cases[] = {
      {DataType::kInt64, "INVERTED", ""},
      {DataType::kVarChar, "INVERTED", ""},
      {DataType::kInt64, "", ""},
      {DataType::kBool, "BITMAP", ""},
      {DataType::kFloat, "BITMAP", "bitmap index are only supported on bool, int, string and array field"},
      {DataType::kInt8, "STL_SORT", ""},
      {DataType::kBool, "STL_SORT", "STL_SORT are only supported on numeric, varchar or timestamptz field, got Bool"},
      {DataType::kVarChar, "Trie", ""},
      {DataType::kInt64, "TRIE", "TRIE are only supported on varchar field"},
      {DataType::kInt64, "HYBRID", ""},
      {DataType::kInt64, "RTREE", "RTREE index can only be built on geometry field"},
      {DataType::kInt64, "NGRAM", "ngram index can only be created on VARCHAR or JSON field"},
      {DataType::kVarChar, "NGRAM", "Ngram index must specify both min_gram and max_gram"},
      {DataType::kJson, "INVERTED", "json index must specify cast type"},
      {DataType::kInt64, "NOPE", "invalid index type: NOPE"},
  };
  for (const auto& test : cases) {
    const std::string fault = Fault(test.type, {{"index_type", test.index}});
    EXPECT_THAT(fault, HasSubstr(test.fault)) << test.index;
    EXPECT_EQ(fault.empty(), *test.fault == '\0') << fault;
  }
  FieldSchema key = Field(DataType::kInt64);
  key.is_primary = true;
  EXPECT_THAT(ParseIndexParams(key, {{"index_type", "BITMAP"}}).status().message(),
              HasSubstr("create bitmap index on primary key not supported"));
  EXPECT_EQ(Fault(DataType::kJson, {{"index_type", "INVERTED"}, {"params", R"({"json_cast_type":"DOUBLE"})"}}), "");
  EXPECT_THAT(Fault(DataType::kJson, {{"index_type", "INVERTED"}, {"json_cast_type", "INT"}}),
              HasSubstr("json_cast_type INT is not supported"));
  EXPECT_EQ(Fault(DataType::kVarChar, {{"index_type", "NGRAM"}, {"min_gram", "2"}, {"max_gram", "3"}}), "");
  EXPECT_THAT(Fault(DataType::kVarChar, {{"index_type", "NGRAM"}, {"min_gram", "4"}, {"max_gram", "3"}}),
              HasSubstr("invalid min_gram or max_gram value for Ngram index, min_gram: 4, max_gram: 3"));
  EXPECT_THAT(Fault(DataType::kInt64, {{"index_type", "HYBRID"}, {"bitmap_cardinality_limit", "1001"}}),
              HasSubstr("failed to check bitmap cardinality limit, should be larger than 0 and smaller than 1000"));
  EXPECT_THAT(Fault(DataType::kInt64, {{"index_type", "STL_SORT"}, {"mmap.enabled", "true"}}),
              HasSubstr("index type STL_SORT does not support mmap"));
}

TEST(IndexParams, OnlyStorageKeysMayBeAltered) {
  EXPECT_TRUE(ValidateAlterIndexKey("mmap.enabled").ok());
  EXPECT_TRUE(ValidateAlterIndexKey("indexoffsetcache.enabled").ok());
  EXPECT_THAT(ValidateAlterIndexKey("M").message(), HasSubstr("M is not a configable index property"));
}

IndexSpec Index(const char* type, MetricType metric) {
  IndexSpec spec;
  spec.index_type = type;
  spec.metric = metric;
  return spec;
}

std::string SearchFault(const IndexSpec& index, const KeyValues& params, int64_t topk = 10) {
  const Result<SearchSpec> spec = ParseSearchParams(index, params, topk);
  return spec.ok() ? "" : spec.status().message();
}

TEST(SearchParams, KnownKeysAreReadAndUnknownOnesKept) {
  const Result<SearchSpec> spec =
      ParseSearchParams(Index("HNSW", MetricType::kL2),
                        {{"metric_type", "l2"},
                         {"round_decimal", "3"},
                         {"ignore_growing", "True"},
                         {"params", R"({"ef":64,"radius":10.5,"range_filter":"1","whatever":[1]})"}},
                        10);
  ASSERT_TRUE(spec.ok()) << spec.status().ToString();
  EXPECT_EQ(spec->metric, MetricType::kL2);
  EXPECT_EQ(spec->round_decimal, 3);
  EXPECT_TRUE(spec->ignore_growing);
  EXPECT_EQ(spec->radius, 10.5F);
  EXPECT_EQ(spec->range_filter, 1.0F);
  EXPECT_EQ(spec->Int("ef", 0), 64);
  ASSERT_NE(FindValue(spec->params, "whatever"), nullptr);
}

TEST(SearchParams, FaultsInThePublishedWords) {
  const IndexSpec hnsw = Index("HNSW", MetricType::kCosine);
  EXPECT_EQ(SearchFault(hnsw, {{"metric_type", "IP"}}),
            "metric type not match: invalid parameter[expected=COSINE][actual=IP]");
  EXPECT_THAT(SearchFault(hnsw, {{"params", R"({"ef":5})"}}), HasSubstr("ef(5) should be larger than k(10)"));
  EXPECT_EQ(SearchFault(hnsw, {{"params", R"({"ef":10})"}}), "");
  EXPECT_THAT(SearchFault(hnsw, {{"params", R"({"ef":32.5})"}}),
              HasSubstr("Type conflict in json: param 'ef' (32.5) should be integer"));
  const IndexSpec ivf = Index("IVF_FLAT", MetricType::kL2);
  EXPECT_THAT(SearchFault(ivf, {{"nprobe", "0"}}),
              HasSubstr("Out of range in json: param 'nprobe' (0) should be in range [1, 65536]"));
  EXPECT_THAT(SearchFault(ivf, {{"nprobe", "abc"}}),
              HasSubstr("Type conflict in json: param 'nprobe' (\"abc\") should be integer"));
  EXPECT_EQ(SearchFault(Index("AUTOINDEX", MetricType::kL2), {{"nprobe", "0"}}), "") << "not a parameter of this index";
  EXPECT_THAT(SearchFault(Index("SCANN", MetricType::kL2), {{"reorder_k", "5"}}),
              HasSubstr("reorder_k(5) should be larger than k(10)"));
  EXPECT_THAT(SearchFault(Index("DISKANN", MetricType::kL2), {{"search_list", "5"}}),
              HasSubstr("search_list_size(5) should be larger than k(10)"));
  EXPECT_THAT(SearchFault(Index("SPARSE_WAND", MetricType::kIp), {{"drop_ratio_search", "1"}}),
              HasSubstr("Out of range in json: param 'drop_ratio_search'"));
  EXPECT_THAT(SearchFault(hnsw, {{"round_decimal", "7"}}),
              HasSubstr("round_decimal [7] is invalid, should be -1 or an integer in range [0, 6]"));
}

TEST(SearchParams, RangeBounds) {
  const IndexSpec l2 = Index("FLAT", MetricType::kL2);
  const IndexSpec ip = Index("FLAT", MetricType::kIp);
  EXPECT_EQ(SearchFault(l2, {{"params", R"({"radius":2,"range_filter":1})"}}), "");
  EXPECT_THAT(SearchFault(l2, {{"params", R"({"radius":1,"range_filter":2})"}}),
              HasSubstr("range_filter must less than radius except IP"));
  EXPECT_EQ(SearchFault(ip, {{"params", R"({"radius":1,"range_filter":2})"}}), "");
  EXPECT_THAT(SearchFault(ip, {{"params", R"({"radius":2,"range_filter":1})"}}),
              HasSubstr("range_filter must more than radius when IP"));
  EXPECT_THAT(SearchFault(ip, {{"params", R"({"range_filter":1})"}}),
              HasSubstr("range_filter requires radius to be set; range_filter alone is not a valid range search "
                        "parameter"));
  EXPECT_THAT(SearchFault(ip, {{"radius", "wide"}}), HasSubstr("should be a number"));
}

TEST(ParseBool, TrueAndFalseInAnyCase) {
  EXPECT_EQ(ParseBool("True"), true);
  EXPECT_EQ(ParseBool("FALSE"), false);
  EXPECT_EQ(ParseBool("1"), std::nullopt);
  EXPECT_EQ(ParseBool(""), std::nullopt);
}

}  // namespace
}  // namespace quiver
