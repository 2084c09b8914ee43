#include "engine/index_recipe.h"

#include <gtest/gtest.h>

#include <string_view>

namespace quiver::engine {
namespace {

using index::IndexCodec;
using index::IndexStructure;

std::optional<index::IndexRecipe> Recipe(const std::string& type, const KeyValues& params = {},
                                         DataType data_type = DataType::kFloatVector,
                                         const std::string& metric = "L2") {
  FieldSchema field;
  field.field_id = 101;
  field.name = "v";
  field.type = data_type;
  field.dim = 64;
  IndexInfo info;
  info.id = 1;
  info.name = "v";
  info.field_id = 101;
  info.index_type = type;
  info.metric_type = metric;
  info.params = params;
  return RecipeOf(field, info);
}

TEST(IndexRecipeTest, AutoIndexOnManyRowsIsOpen) {
  IndexInfo given;
  given.index_type = "AUTOINDEX";
  const index::IndexRecipe graph = *Recipe("AUTOINDEX");
  EXPECT_EQ(CandidatesOf(graph, given, 99'999).size(), 1U) << "too few for a trial";
  const auto candidates = CandidatesOf(graph, given, 100'000);
  ASSERT_GE(candidates.size(), 2U);
  EXPECT_EQ(candidates[0].structure, IndexStructure::kGraph);
  EXPECT_EQ(candidates[1].structure, IndexStructure::kLists);
  given.index_type = "HNSW";
  EXPECT_EQ(CandidatesOf(graph, given, 100'000).size(), 1U) << "what is named is built";
}

TEST(IndexRecipeTest, NamesMapToStructureAndCodec) {
  const auto graph = Recipe("HNSW", {{"M", "24"}, {"efConstruction", "+300"}});
  ASSERT_TRUE(graph);
  EXPECT_EQ(graph->structure, IndexStructure::kGraph);
  EXPECT_EQ(graph->codec, IndexCodec::kSq8);
  EXPECT_EQ(graph->degree, 48U);
  EXPECT_EQ(graph->ef_construction, 300U);
  EXPECT_EQ(graph->dim, 64);
  EXPECT_EQ(graph->metric, MetricType::kL2);

  const auto lists = Recipe("IVF_FLAT", {{"nlist", "77"}});
  ASSERT_TRUE(lists);
  EXPECT_EQ(lists->structure, IndexStructure::kLists);
  EXPECT_EQ(lists->codec, IndexCodec::kRaw);
  EXPECT_EQ(lists->nlist, 77U);
  EXPECT_EQ(Recipe("IVF_SQ8")->codec, IndexCodec::kSq8);
  EXPECT_EQ(Recipe("IVF_SQ8", {{"sq_type", "bf16"}})->codec, IndexCodec::kRaw);
  EXPECT_EQ(Recipe("IVF_SQ8", {{"sq_type", "SQ4"}})->code_bits, 4U);
  EXPECT_EQ(Recipe("HNSW_SQ", {{"sq_type", "bf16"}})->codec, IndexCodec::kSq8);
  EXPECT_EQ(Recipe("IVF_RABITQ", {{"rbq_bits", "3"}})->code_bits, 3U);
  EXPECT_EQ(Recipe("IVF_RABITQ", {{"rbq_bits", "9"}})->code_bits, 8U);
  EXPECT_EQ(Recipe("AUTOINDEX", {}, DataType::kInt8Vector)->structure, IndexStructure::kGraph);
}

TEST(IndexRecipeTest, NamesOfProductCodesTakeAsManyBits) {
  const auto expect = [](const char* name, const KeyValues& params, IndexCodec codec, uint32_t quantizers,
                         uint32_t bits) {
    const auto recipe = Recipe(name, params);
    ASSERT_TRUE(recipe) << name;
    EXPECT_EQ(recipe->structure, IndexStructure::kLists);
    EXPECT_EQ(recipe->codec, codec);
    EXPECT_EQ(recipe->quantizers, quantizers);
    EXPECT_EQ(recipe->code_bits, bits);
  };
  expect("IVF_PQ", {{"m", "16"}, {"nbits", "8"}}, IndexCodec::kPq, 16, 8);
  expect("IVF_PQ", {{"m", "8"}}, IndexCodec::kPq, 8, 8);
  expect("IVF_PQ", {{"m", "64"}, {"nbits", "4"}}, IndexCodec::kPq, 64, 4);
  // Codes of another number of bits are served by others of about the same size.
  expect("IVF_PQ", {{"m", "64"}, {"nbits", "24"}}, IndexCodec::kRabitq, 0, 8);
  expect("IVF_PQ", {{"m", "32"}, {"nbits", "6"}}, IndexCodec::kRabitq, 0, 3);
  expect("SCANN", {}, IndexCodec::kPq, 32, 4);
  expect("SCANN", {{"sub_dim", "1"}}, IndexCodec::kPq, 64, 4);
  expect("SCANN", {{"sub_dim", "64"}}, IndexCodec::kPq, 1, 4);
}

TEST(IndexRecipeTest, NamesOfGraphsOnProductCodesGiveThem) {
  const auto expect = [](const char* name, const KeyValues& params, IndexCodec codec, uint32_t quantizers,
                         uint32_t stages, uint32_t bits) {
    const auto recipe = Recipe(name, params);
    ASSERT_TRUE(recipe) << name;
    EXPECT_EQ(recipe->structure, IndexStructure::kGraph);
    EXPECT_EQ(recipe->codec, codec);
    EXPECT_EQ(recipe->quantizers, quantizers);
    EXPECT_EQ(recipe->stages, stages);
    if (codec == IndexCodec::kPq) {
      EXPECT_EQ(recipe->code_bits, bits);
    }
  };
  expect("HNSW_PQ", {}, IndexCodec::kPq, 32, 1, 8);
  expect("HNSW_PQ", {{"m", "16"}, {"nbits", "4"}}, IndexCodec::kPq, 16, 1, 4);
  expect("HNSW_PQ", {{"m", "64"}, {"nbits", "4"}}, IndexCodec::kPq, 64, 1, 4);
  expect("HNSW_PRQ", {}, IndexCodec::kPq, 2, 2, 8);
  expect("HNSW_PRQ", {{"m", "4"}, {"nrq", "15"}, {"nbits", "8"}}, IndexCodec::kPq, 4, 15, 8);
  expect("HNSW_PRQ", {{"m", "8"}, {"nrq", "3"}, {"nbits", "4"}}, IndexCodec::kPq, 8, 3, 4);
  // Codes of another number of bits, and such that take no less room than a byte for each dimension.
  expect("HNSW_PQ", {{"m", "16"}, {"nbits", "6"}}, IndexCodec::kSq8, 0, 1, 0);
  expect("HNSW_PRQ", {{"m", "2"}, {"nbits", "12"}}, IndexCodec::kSq8, 0, 1, 0);
  expect("HNSW_PQ", {{"m", "64"}}, IndexCodec::kSq8, 0, 1, 0);
  expect("HNSW_PRQ", {{"m", "8"}, {"nrq", "16"}}, IndexCodec::kSq8, 0, 1, 0);
  EXPECT_EQ(Recipe("HNSW_PQ", {{"m", "8"}}, DataType::kInt8Vector)->codec, IndexCodec::kPq);
}

TEST(IndexRecipeTest, GraphsOnProductCodesAreBuiltByThoseOfHnsw) {
  ColumnView column;
  column.rows = 100'000;
  const auto memory = [&](const char* name) { return BuildMemory(*Recipe(name), column); };
  EXPECT_GT(memory("HNSW_PRQ"), 100'000u * 64);
  EXPECT_LT(memory("HNSW_PRQ"), memory("HNSW") + memory("HNSW") / 2);
}

TEST(IndexRecipeTest, BinaryVectorsAreKeptInListsOrWhereAskedForInAGraph) {
  for (const char* name : {"AUTOINDEX", "HNSW", "BIN_IVF_FLAT"}) {
    const auto recipe = Recipe(name, {{"M", "12"}}, DataType::kBinaryVector, "HAMMING");
    ASSERT_TRUE(recipe) << name;
    const bool graph = std::string_view(name) == "HNSW";
    EXPECT_EQ(recipe->structure, graph ? IndexStructure::kGraph : IndexStructure::kLists);
    EXPECT_EQ(recipe->degree, 24u);
    EXPECT_EQ(recipe->codec, IndexCodec::kRaw);
  }
}

TEST(IndexRecipeTest, SparseVectorsAreInverted) {
  for (const char* name : {"SPARSE_INVERTED_INDEX", "SPARSE_WAND", "AUTOINDEX"}) {
    const auto recipe = Recipe(name, {{"drop_ratio_build", "0.2"}}, DataType::kSparseFloatVector, "IP");
    ASSERT_TRUE(recipe) << name;
    EXPECT_EQ(recipe->structure, IndexStructure::kInverted);
    EXPECT_EQ(recipe->codec, IndexCodec::kRaw);
  }
}

TEST(IndexRecipeTest, WhatScansHasNone) {
  EXPECT_FALSE(Recipe("FLAT"));
  EXPECT_FALSE(Recipe("BIN_FLAT", {}, DataType::kBinaryVector, "HAMMING"));
  EXPECT_FALSE(Recipe("SPARSE_INVERTED_INDEX", {}, DataType::kSparseFloatVector, "BM25"));
  EXPECT_FALSE(Recipe("INVERTED", {}, DataType::kVarChar, ""));
  EXPECT_FALSE(Recipe("AUTOINDEX", {}, DataType::kBinaryVector, "SUBSTRUCTURE"));
  EXPECT_TRUE(Recipe("AUTOINDEX", {}, DataType::kBinaryVector, "JACCARD"));
}

/// A schema with the JSON field `doc` and dynamic keys.
CollectionSchema DocumentSchema() {
  CollectionSchema schema;
  schema.enable_dynamic_field = true;
  const auto add = [&](int64_t id, const char* name, DataType type, bool dynamic) {
    FieldSchema field;
    field.field_id = id;
    field.name = name;
    field.type = type;
    field.is_dynamic = dynamic;
    schema.fields.push_back(field);
  };
  add(100, "id", DataType::kInt64, false);
  add(101, "doc", DataType::kJson, false);
  add(102, "$meta", DataType::kJson, true);
  return schema;
}

/// The place as a JSON pointer, or the error.
std::string Place(const std::string& field, const std::string& json_path) {
  const CollectionSchema schema = DocumentSchema();
  const auto keys = JsonPathOf(schema, *schema.Find(field), {{"json_path", json_path}});
  return keys.ok() ? JsonPointer(*keys) : "error: " + keys.status().message();
}

TEST(IndexRecipeTest, PlacesInJsonAreWrittenAsInFilters) {
  EXPECT_EQ(Place("doc", "doc"), "");
  EXPECT_EQ(Place("doc", "doc['a'][\"b\"]"), "/a/b");
  EXPECT_EQ(Place("doc", "doc['l'][0]"), "/l/0");
  EXPECT_EQ(Place("doc", "doc['a/b~c']"), "/a~1b~0c");
  EXPECT_EQ(Place("$meta", "color"), "/color");
  EXPECT_EQ(Place("$meta", "color['rgb'][2]"), "/color/rgb/2");
  EXPECT_EQ(Place("$meta", "$meta['color']"), "/color");
  EXPECT_EQ(Place("$meta", "doc['a']"), "error: fieldID not match with field name");
  EXPECT_TRUE(Place("doc", "doc['a'").starts_with("error: cannot parse identifier: doc['a'"));
  EXPECT_TRUE(Place("doc", "doc['a'] or exists doc['b']").starts_with("error: cannot parse identifier: "));
}

TEST(IndexRecipeTest, AScalarRecipeLooksAtThePlace) {
  const CollectionSchema schema = DocumentSchema();
  IndexInfo info;
  info.field_id = 102;
  info.index_type = "INVERTED";
  info.params = {{"json_path", "color['x']"}, {"json_cast_type", "array_varchar"}};
  const auto recipe = ScalarRecipeOf(schema, *schema.Find("$meta"), info);
  ASSERT_TRUE(recipe);
  EXPECT_EQ(recipe->path, (std::vector<std::string>{"color", "x"}));
  EXPECT_EQ(recipe->value_type, DataType::kVarChar);
  EXPECT_TRUE(recipe->elements);
  info.params = {{"json_path", "color"}, {"json_cast_type", "json"}};
  const auto documents = ScalarRecipeOf(schema, *schema.Find("$meta"), info);
  ASSERT_TRUE(documents);
  EXPECT_EQ(documents->structure, index::ScalarStructure::kDocuments);
  EXPECT_EQ(documents->value_type, DataType::kJson);
  info.params = {{"json_path", "color"}, {"json_cast_type", "double"}, {"json_cast_function", "STRING_TO_DOUBLE"}};
  const auto cast = ScalarRecipeOf(schema, *schema.Find("$meta"), info);
  ASSERT_TRUE(cast);
  EXPECT_TRUE(cast->texts_as_numbers);
}

}  // namespace
}  // namespace quiver::engine
