#include "engine/index_recipe.h"

#include <gtest/gtest.h>

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
  EXPECT_EQ(Recipe("IVF_SQ8", {{"sq_type", "SQ4"}})->codec, IndexCodec::kSq4);
  EXPECT_EQ(Recipe("HNSW_SQ", {{"sq_type", "bf16"}})->codec, IndexCodec::kSq8);
  EXPECT_EQ(Recipe("IVF_RABITQ", {{"rbq_bits", "3"}})->code_bits, 3U);
  EXPECT_EQ(Recipe("IVF_PQ", {{"m", "16"}, {"nbits", "4"}})->pq_m, 16U);
  EXPECT_EQ(Recipe("SCANN", {{"sub_dim", "4"}})->pq_m, 16U);
  EXPECT_EQ(Recipe("AUTOINDEX", {}, DataType::kInt8Vector)->structure, IndexStructure::kGraph);
}

TEST(IndexRecipeTest, WhatScansHasNone) {
  EXPECT_FALSE(Recipe("FLAT"));
  EXPECT_FALSE(Recipe("BIN_FLAT", {}, DataType::kBinaryVector, "HAMMING"));
  EXPECT_FALSE(Recipe("SPARSE_INVERTED_INDEX", {}, DataType::kSparseFloatVector, "IP"));
  EXPECT_FALSE(Recipe("INVERTED", {}, DataType::kVarChar, ""));
  EXPECT_FALSE(Recipe("AUTOINDEX", {}, DataType::kBinaryVector, "SUBSTRUCTURE"));
  EXPECT_TRUE(Recipe("AUTOINDEX", {}, DataType::kBinaryVector, "JACCARD"));
}

}  // namespace
}  // namespace quiver::engine
