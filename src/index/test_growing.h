// File: index/test_growing.h
// Indexes over growing rows in the form that other indexes are tested in, and searched while they grow. For tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "index/growing_index.h"
#include "index/test_graph.h"

namespace quiver::index {

inline constexpr uint32_t kTestPageRows = 1000;

inline PagedColumn Paged(const ColumnView& whole) {
  return {kTestPageRows, [whole](uint32_t page) {
            ColumnView part = whole;
            part.fixed += size_t{page} * kTestPageRows * whole.width;
            if (part.valid != nullptr) part.valid += size_t{page} * kTestPageRows;
            part.rows = std::min<size_t>(kTestPageRows, whole.rows - size_t{page} * kTestPageRows);
            return part;
          }};
}

/// The first rows of a table.
inline ColumnView First(const Table& table, size_t rows) {
  ColumnView view = table.view();
  view.rows = std::min(view.rows, rows);
  return view;
}

/// A table of its first rows.
inline Table CutTo(const Table& table, size_t rows) {
  Table part = table;
  part.column = Column::Make(1, table.type, static_cast<int64_t>(table.dim));
  for (size_t row = 0; row < rows; ++row) part.column.Append(std::string(table.view().Bytes(row)));
  return part;
}

/// A growing index in the form that Recall searches: all rows of the table are linked.
template <typename Index>
class GrownIndex final : public VectorIndex {
 public:
  explicit GrownIndex(std::unique_ptr<Index> growing) : growing_(std::move(growing)) {}
  [[nodiscard]] const Index& growing() const { return *growing_; }
  [[nodiscard]] Index& growing() { return *growing_; }
  [[nodiscard]] const IndexRecipe& recipe() const override { return growing_->recipe(); }
  [[nodiscard]] uint32_t row_count() const override { return growing_->linked(); }
  [[nodiscard]] uint64_t memory_bytes() const override { return growing_->memory_bytes(); }
  Status Search(const FlatQueries& queries, size_t query, const ColumnView& vectors, const RowFilter& filter,
                const IndexSearchOptions& options, uint64_t first_row, TopK& result, IndexScratch& scratch,
                IndexCounters& counters) const override {
    return growing_->Search(static_cast<uint32_t>(vectors.rows), queries, query, Paged(vectors), filter, options,
                            first_row, result, scratch, counters);
  }

 private:
  std::unique_ptr<Index> growing_;
};

/// Links all rows of the table.
template <typename Index>
GrownIndex<Index> LinkAll(std::unique_ptr<Index> growing, const Table& table) {
  GrownIndex<Index> grown(std::move(growing));
  const auto rows = static_cast<uint32_t>(table.view().rows);
  const Status linked = grown.growing().Link(Paged(table.view()), rows, {});
  EXPECT_TRUE(linked.ok()) << linked.ToString();
  EXPECT_EQ(grown.growing().linked(), rows);
  return grown;
}

/// Rows with one vector 10,000 times among others, and that vector as the last query.
inline Table WithCopies() {
  Table table = Clustered(DataType::kFloatVector, 16, 2000, 20);
  const std::string one(table.view().Bytes(5));
  for (size_t i = 0; i < 10'000; ++i) table.column.Append(one);
  const Table more = Clustered(DataType::kFloatVector, 16, 2000, 1, 2);
  for (size_t i = 0; i < 2000; ++i) table.column.Append(std::string(more.view().Bytes(i)));
  table.query_bytes.push_back(one);
  return table;
}

/// Rows of which some are null, zero, not finite or vast.
inline Table WithOddRows() {
  constexpr size_t kDim = 24;
  std::mt19937 random(4);
  Table table(DataType::kFloatVector, kDim);
  for (size_t i = 0; i < 4000; ++i) {
    std::vector<float> values = Normal(kDim, random);
    if (i % 50 == 7) values.assign(kDim, 0);
    if (i % 997 == 8) values[3] = std::numeric_limits<float>::quiet_NaN();
    if (i % 1300 == 9) values.assign(kDim, 2e19F);
    if (i % 90 == 11) {
      table.column.AppendNull();
    } else {
      table.Add(values);
    }
  }
  for (size_t i = 0; i < 20; ++i) table.AddQuery(Normal(kDim, random));
  table.AddQuery(std::vector<float>(kDim, 0));
  return table;
}

/// 2,000 rows, and 7,000 that lie elsewhere.
inline Table ThatMoves() {
  std::mt19937 random(6);
  Table table(DataType::kFloatVector, 20);
  for (size_t i = 0; i < 9000 + 20; ++i) {
    std::vector<float> values = Normal(20, random);
    if (i >= 2000) values[0] += 60;
    i < 9000 ? table.Add(values) : table.AddQuery(values);
  }
  return table;
}

/// Searches while rows are linked: every answer is whole, has no row that is not there and none twice, and is good.
inline void SearchWhileLinking(GrowingIndex& index, const Table& table, MetricType metric,
                               const IndexSearchOptions& options, double least_recall) {
  const auto rows_there = static_cast<uint32_t>(table.view().rows);
  const FlatQueries queries = table.Queries(metric);
  std::atomic<bool> done{false};
  std::atomic<size_t> found{0}, wanted{0};
  const auto search = [&](unsigned seed) {
    std::mt19937 random(seed);
    IndexScratch scratch;
    IndexCounters counters;
    while (!done) {
      const uint32_t rows = index.linked();
      if (rows < 500) {
        std::this_thread::yield();
        continue;
      }
      const size_t query = random() % queries.nq();
      std::vector<uint64_t> mask((rows + 63) / 64, 0);
      uint64_t count = 0;
      const bool filtered = random() % 2 == 0;
      for (uint32_t row = 0; filtered && row < rows; ++row) {
        if (random() % 3 == 0) continue;
        mask[row / 64] |= uint64_t{1} << (row % 64);
        ++count;
      }
      const RowFilter filter{filtered ? mask.data() : nullptr, count};
      TopK result(10, metric);
      const Status status =
          index.Search(rows, queries, query, Paged(table.view()), filter, options, 0, result, scratch, counters);
      ASSERT_TRUE(status.ok()) << status.ToString();
      const std::vector<Hit> hits = result.TakeSorted();
      ASSERT_EQ(hits.size(), 10U);
      std::vector<TopK> exact(queries.nq(), TopK(10, metric));
      FlatScratch flat;
      FlatScan(queries, First(table, rows), filter.bits, 0, exact, flat);
      const float worst = exact[query].TakeSorted().back().score;
      std::set<uint64_t> seen;
      for (const Hit& hit : hits) {
        ASSERT_LT(hit.row, rows);
        ASSERT_TRUE(seen.insert(hit.row).second);
        if (filtered) {
          ASSERT_NE((mask[hit.row / 64] >> (hit.row % 64)) & 1, 0U);
        }
        found += hit.score >= worst ? 1 : 0;
      }
      wanted += hits.size();
    }
  };
  {
    std::jthread first(search, 1), second(search, 2);
    EXPECT_TRUE(index.Link(Paged(table.view()), rows_there, {}).ok());
    done = true;
  }
  EXPECT_EQ(index.linked(), rows_there);
  if (wanted > 0) {
    EXPECT_GE(static_cast<double>(found) / static_cast<double>(wanted), least_recall) << wanted;
  }
}

}  // namespace quiver::index
