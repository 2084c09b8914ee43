// File: index/test_graph.h
// Tables of vectors and queries, graphs and other indexes over them, and what their answers are compared with: the
// exact scan. For tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "index/vector_index.h"

namespace quiver::index {

/// The bytes of one value of a vector type.
inline std::string Encoded(DataType type, float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  switch (type) {
    case DataType::kFloatVector: return {reinterpret_cast<const char*>(&bits), 4};
    case DataType::kBFloat16Vector: {
      const auto half = static_cast<uint16_t>(bits >> 16);
      return {reinterpret_cast<const char*>(&half), 2};
    }
    case DataType::kFloat16Vector: {
      const int exponent = static_cast<int>((bits >> 23) & 0xff) - 112;
      uint32_t wide = (bits >> 16) & 0x8000;
      if (exponent > 0) wide |= (static_cast<uint32_t>(exponent) << 10) | ((bits >> 13) & 0x3ff);
      const auto half = static_cast<uint16_t>(wide);
      return {reinterpret_cast<const char*>(&half), 2};
    }
    default: {
      const auto code = static_cast<int8_t>(std::lround(std::fmax(-127.0f, std::fmin(127.0f, value * 30))));
      return {reinterpret_cast<const char*>(&code), 1};
    }
  }
}

/// A column of vectors and queries of the same kind.
struct Table {
  Table(DataType type_in, size_t dim_in) : type(type_in), dim(dim_in) {
    column = Column::Make(1, type, static_cast<int64_t>(dim));
  }
  std::string Bytes(const std::vector<float>& values) const {
    std::string bytes;
    for (const float value : values) bytes += Encoded(type, value);
    return bytes;
  }
  void Add(const std::vector<float>& values) { column.Append(Bytes(values)); }
  void AddQuery(const std::vector<float>& values) { query_bytes.push_back(Bytes(values)); }
  [[nodiscard]] FlatQueries Queries(MetricType metric) const {
    const std::vector<std::string_view> raw(query_bytes.begin(), query_bytes.end());
    return *FlatQueries::Make(type, static_cast<int64_t>(dim), metric, raw);
  }
  [[nodiscard]] ColumnView view() const { return ViewOf(column); }

  DataType type;
  size_t dim;
  Column column;
  std::vector<std::string> query_bytes;
  std::vector<size_t> clusters;  ///< of the rows, where there are any
};

inline std::vector<float> Normal(size_t dim, std::mt19937& random, float size = 1) {
  std::vector<float> values(dim);
  for (float& value : values) value = size * std::normal_distribution<float>()(random);
  return values;
}

/// Rows in clusters; queries are of the same kind.
inline Table Clustered(DataType type, size_t dim, size_t rows, size_t queries = 30, unsigned seed = 1) {
  std::mt19937 random(seed);
  Table table(type, dim);
  std::vector<std::vector<float>> centres;
  for (size_t c = 0; c < 25; ++c) centres.push_back(Normal(dim, random));
  for (size_t i = 0; i < rows + queries; ++i) {
    const size_t cluster = random() % centres.size();
    std::vector<float> values = centres[cluster];
    const std::vector<float> noise = Normal(dim, random, 0.5f);
    for (size_t d = 0; d < dim; ++d) values[d] += noise[d];
    if (i < rows) {
      table.Add(values);
      table.clusters.push_back(cluster);
    } else {
      table.AddQuery(values);
    }
  }
  return table;
}

/// Binary rows in clusters, `ones` of a hundred bits set at the centres and a tenth of the bits turned over, and
/// queries of the same kind.
inline Table BinaryClustered(size_t dim, size_t rows, size_t queries = 30, unsigned ones = 50, unsigned seed = 1) {
  std::mt19937 random(seed);
  Table table(DataType::kBinaryVector, dim);
  std::vector<std::string> centres(25, std::string(dim / 8, '\0'));
  const auto turn = [](std::string& bits, size_t at) {
    bits[at / 8] = static_cast<char>(bits[at / 8] ^ static_cast<char>(1 << (at % 8)));
  };
  for (std::string& centre : centres) {
    for (size_t d = 0; d < dim; ++d) {
      if (random() % 100 < ones) turn(centre, d);
    }
  }
  for (size_t i = 0; i < rows + queries; ++i) {
    std::string bits = centres[random() % centres.size()];
    for (size_t d = 0; d < dim / 10 + 1; ++d) turn(bits, random() % dim);
    if (i < rows) {
      table.column.Append(bits);
    } else {
      table.query_bytes.push_back(bits);
    }
  }
  return table;
}

inline IndexRecipe RecipeFor(const Table& table, MetricType metric) {
  IndexRecipe recipe;
  if (table.type == DataType::kBinaryVector) recipe.codec = IndexCodec::kRaw;
  recipe.type = table.type;
  recipe.dim = static_cast<int64_t>(table.dim);
  recipe.metric = metric;
  recipe.degree = 24;
  recipe.ef_construction = 80;
  return recipe;
}

/// An index that owns its file.
struct Opened {
  std::string bytes;
  std::unique_ptr<VectorIndex> index;
};

inline Opened Build(const Table& table, const IndexRecipe& recipe, const BuildControl& control = {}) {
  Opened opened;
  Result<std::string> bytes = BuildVectorIndex(recipe, table.view(), control);
  EXPECT_TRUE(bytes.ok()) << bytes.status().ToString();
  opened.bytes = *std::move(bytes);
  auto index = OpenVectorIndex(opened.bytes, "test.vix");
  EXPECT_TRUE(index.ok()) << index.status().ToString();
  opened.index = *std::move(index);
  return opened;
}

inline std::vector<Hit> Exact(const FlatQueries& queries, size_t query, const Table& table, const uint64_t* mask,
                              size_t k) {
  std::vector<TopK> results(queries.nq(), TopK(k, queries.metric()));
  FlatScratch scratch;
  FlatScan(queries, table.view(), mask, 0, results, scratch);
  return results[query].TakeSorted();
}

inline std::vector<Hit> Approximate(const VectorIndex& index, const FlatQueries& queries, size_t query,
                                    const Table& table, const RowFilter& filter, const IndexSearchOptions& options,
                                    IndexScratch& scratch, IndexCounters& counters) {
  TopK result(options.k, queries.metric());
  const Status status = index.Search(queries, query, table.view(), filter, options, 0, result, scratch, counters);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return result.TakeSorted();
}

/// Searches all queries of the table, checks what must hold of every answer, and returns the recall: the share of the
/// hits that score no worse than the exact k-th.
inline double Recall(const VectorIndex& index, const Table& table, MetricType metric, const IndexSearchOptions& options,
                     const RowFilter& filter = {}) {
  const FlatQueries queries = table.Queries(metric);
  IndexScratch scratch;
  IndexCounters counters;
  size_t wanted = 0, found = 0;
  for (size_t q = 0; q < queries.nq(); ++q) {
    const std::vector<Hit> exact = Exact(queries, q, table, filter.bits, options.k);
    const std::vector<Hit> hits = Approximate(index, queries, q, table, filter, options, scratch, counters);
    EXPECT_EQ(hits.size(), exact.size()) << "query " << q;
    std::set<uint64_t> rows;
    for (size_t i = 0; i < hits.size(); ++i) {
      const auto row = static_cast<uint32_t>(hits[i].row);
      EXPECT_TRUE(rows.insert(row).second) << "row " << row << " twice";
      EXPECT_FALSE(table.view().IsNull(row));
      if (filter.bits != nullptr) {
        EXPECT_NE((filter.bits[row / 64] >> (row % 64)) & 1, 0u) << row;
      }
      float score = 0;
      ScoreRows(queries, q, table.view(), {&row, 1}, &score);
      EXPECT_EQ(hits[i].score, score);
      found += IsSimilarity(metric) ? score >= exact.back().score : score <= exact.back().score;
    }
    wanted += exact.size();
  }
  return wanted == 0 ? 1.0 : static_cast<double>(found) / static_cast<double>(wanted);
}

inline IndexSearchOptions Options(size_t k, uint32_t ef = 0, double recall = 0) {
  IndexSearchOptions options;
  options.k = k;
  options.ef = ef;
  options.recall = recall;
  return options;
}

/// Damages the file of an index byte by byte: each is noticed, or means nothing. The table has a query.
inline void CheckDamage(const Table& table, const IndexRecipe& recipe) {
  const MetricType metric = recipe.metric;
  const Opened sound = Build(table, recipe);
  const FlatQueries queries = table.Queries(metric);
  IndexScratch scratch;
  IndexCounters counters;
  const std::vector<Hit> expected = Approximate(*sound.index, queries, 0, table, {}, Options(10), scratch, counters);
  size_t refused = 0;
  for (size_t at = 0; at < sound.bytes.size(); at += at < 512 ? 1 : 61) {
    std::string bytes = sound.bytes;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x41);
    auto opened = OpenVectorIndex(bytes, "test.vix");
    Status status = opened.status();
    TopK result(10, metric);
    if (opened.ok()) {
      status = (*opened)->Search(queries, 0, table.view(), {}, Options(10), 0, result, scratch, counters);
    }
    if (status.ok()) {
      EXPECT_EQ(result.TakeSorted(), expected) << at;
    } else {
      EXPECT_EQ(status.code(), StatusCode::kCorruption) << at;
      ++refused;
    }
  }
  EXPECT_GT(refused, 500u);
  for (size_t size = 0; size < sound.bytes.size(); size += 997) {
    auto opened = OpenVectorIndex(std::string_view(sound.bytes).substr(0, size), "test.vix");
    EXPECT_FALSE(opened.ok());
  }
}

/// Bits of the rows that `keep` accepts.
template <class Keep>
std::vector<uint64_t> MaskOf(size_t rows, uint64_t& count, const Keep& keep) {
  std::vector<uint64_t> bits(rows / 64 + 1, 0);
  count = 0;
  for (size_t row = 0; row < rows; ++row) {
    if (!keep(row)) continue;
    bits[row / 64] |= uint64_t{1} << (row % 64);
    ++count;
  }
  return bits;
}

}  // namespace quiver::index
