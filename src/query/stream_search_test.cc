// Range searches, grouped searches and cursors through vector indexes: brute force is the oracle.
#include <limits>
#include <optional>
#include <unordered_set>

#include "query/ranked_stream.h"
#include "query/search_cursor.h"
#include "query/test_index_search.h"

namespace quiver::query {
namespace {

/// A row of the model and its score.
struct Scored {
  float score;
  int64_t key;
  int64_t number;
};

class StreamSearchTest : public IndexSearchTest {
 protected:
  /// Sealed and indexed rows, growing rows, deletes and new versions.
  void FillMixed(const std::string& type, const std::string& metric, const KeyValues& params = {}) {
    ASSERT_NO_FATAL_FAILURE(Fill(type, metric, params));
    std::vector<int64_t> gone;
    std::vector<int64_t> changed;
    for (int64_t key = 0; key < kRows; key += 9) gone.push_back(key);
    for (int64_t key = 4; key < kRows; key += 13) {
      if (key % 9 != 0) changed.push_back(key);
    }
    Delete(gone);
    Write(changed, 1, true);
    InsertRange(kRows, kRows + 300);
  }

  /// What a scan finds, in order; exact, with the scores that a search gives.
  std::vector<Scored> Truth(SearchRequest request) {
    request.index.reset();
    request.group.reset();
    request.radius.reset();
    request.range_filter.reset();
    request.offset = 0;
    request.limit = 2 * kRows;
    request.output_fields = {kNumber};
    const auto found = Search(request, nullptr);
    EXPECT_TRUE(found.ok()) << found.status().ToString();
    std::vector<Scored> rows;
    for (size_t i = 0; found.ok() && i < found->scores.size(); ++i) {
      rows.push_back({found->scores[i], found->primary_keys.Get<int64_t>(i), found->output.columns[0].Get<int64_t>(i)});
    }
    return rows;
  }
  /// The share of the rows wanted that a search finds; checks that they are in order and inside the range.
  double RangeRecall(const SearchRequest& request, const std::vector<Scored>& truth) {
    const bool similarity = IsSimilarity(request.metric);
    std::set<int64_t> wanted;
    for (const Scored& row : truth) {
      const bool inside =
          similarity ? row.score > *request.radius && (!request.range_filter || row.score <= *request.range_filter)
                     : row.score < *request.radius && (!request.range_filter || row.score >= *request.range_filter);
      if (inside && wanted.size() < request.limit) wanted.insert(row.key);
    }
    const auto found = Search(request, nullptr);
    EXPECT_TRUE(found.ok()) << found.status().ToString();
    if (!found.ok()) return 0;
    EXPECT_LE(found->scores.size(), request.limit);
    size_t hits = 0;
    std::set<int64_t> seen;
    for (size_t i = 0; i < found->scores.size(); ++i) {
      const float score = found->scores[i];
      EXPECT_TRUE(similarity ? score > *request.radius : score < *request.radius);
      if (request.range_filter) {
        EXPECT_TRUE(similarity ? score <= *request.range_filter : score >= *request.range_filter);
      }
      if (i > 0) {
        EXPECT_TRUE(similarity ? score <= found->scores[i - 1] : score >= found->scores[i - 1]);
      }
      EXPECT_TRUE(seen.insert(found->primary_keys.Get<int64_t>(i)).second);
      hits += wanted.contains(found->primary_keys.Get<int64_t>(i)) ? 1 : 0;
    }
    return wanted.empty() ? 1 : static_cast<double>(hits) / static_cast<double>(wanted.size());
  }
};

class EveryStreamTest : public StreamSearchTest, public testing::WithParamInterface<Named> {};

TEST_P(EveryStreamTest, RangesAreExactAtTheirBordersAndNearlyWhole) {
  const MetricType metric = ParseMetricType(GetParam().metric);
  ASSERT_NO_FATAL_FAILURE(FillMixed(GetParam().index_type, GetParam().metric, GetParam().params));
  const std::vector<Vector> queries = MakeQueries(8);
  for (const char* filter : {"", "number < 60"}) {
    double sum = 0;
    size_t count = 0;
    for (const Vector& query : queries) {
      const std::vector<Vector> asked = {query};
      SearchRequest request = MakeRequest(metric, asked, filter);
      ASSERT_TRUE(UsesIndex(request));
      const std::vector<Scored> truth = Truth(request);
      // Narrow, wide, cut by the limit, a ring near, a ring far away, and nothing. Borders are scores of rows.
      struct Ring {
        size_t from, to, limit;
      };
      for (const Ring ring : {Ring{0, 12, 100}, Ring{0, 900, 2000}, Ring{0, 900, 50}, Ring{20, 90, 200},
                              Ring{2500, 2600, 500}, Ring{2500, 2600, 20}}) {
        request.radius = truth[ring.to].score;
        request.range_filter.reset();
        if (ring.from > 0) request.range_filter = truth[ring.from].score;
        request.limit = ring.limit;
        sum += RangeRecall(request, truth);
        ++count;
      }
      request.radius = truth[0].score;
      request.range_filter.reset();
      EXPECT_EQ(RangeRecall(request, truth), 1) << "nothing lies before the nearest row";
    }
    EXPECT_GE(sum / static_cast<double>(count), 0.95) << filter;
  }
}

TEST_P(EveryStreamTest, GroupsAreAsManyAsThereAre) {
  const MetricType metric = ParseMetricType(GetParam().metric);
  ASSERT_NO_FATAL_FAILURE(FillMixed(GetParam().index_type, GetParam().metric, GetParam().params));
  const std::vector<Vector> queries = MakeQueries(6);
  for (const char* filter : {"", "number < 60", "number in [7, 8, 9] or number >= 40"}) {
    double recall = 0;
    size_t count = 0;
    for (const size_t limit : {size_t{5}, size_t{40}, size_t{500}}) {
      for (const size_t size : {size_t{1}, size_t{3}}) {
        SearchRequest request = MakeRequest(metric, queries, filter);
        ASSERT_TRUE(UsesIndex(request));
        request.limit = limit;
        request.offset = limit == 40 ? 3 : 0;
        request.group = Grouping{.fields = {kNumber}, .size = size};
        const auto found = Search(request, nullptr);
        ASSERT_TRUE(found.ok()) << found.status().ToString();
        size_t at = 0;
        for (size_t q = 0; q < queries.size(); ++q) {
          // The groups in the order of their best rows.
          std::vector<int64_t> order;
          std::map<int64_t, size_t> sizes;
          std::set<int64_t> best;
          for (const Scored& row : Truth(MakeRequest(metric, {queries[q]}, filter))) {
            if (sizes[row.number]++ == 0) order.push_back(row.number);
          }
          const size_t groups = std::min(limit, order.size() - std::min(order.size(), request.offset));
          best.insert(order.begin(),
                      order.begin() + static_cast<ptrdiff_t>(std::min(limit + request.offset, order.size())));
          std::map<int64_t, size_t> got;
          size_t right = 0;
          std::optional<int64_t> last;
          for (const size_t end = at + static_cast<size_t>(found->hits_per_query[q]); at < end; ++at) {
            const int64_t number = found->groups.columns[0].Get<int64_t>(at);
            if (got[number]++ == 0) {
              right += best.contains(number) ? 1 : 0;
            } else {
              EXPECT_EQ(last, number) << "rows of a group stand together";
            }
            last = number;
          }
          EXPECT_EQ(got.size(), groups);
          for (const auto& [number, rows] : got) EXPECT_EQ(rows, std::min(size, sizes[number])) << "group " << number;
          recall += groups == 0 ? 1 : static_cast<double>(right) / static_cast<double>(groups);
          ++count;
        }
      }
    }
    EXPECT_GE(recall / static_cast<double>(count), 0.95) << filter;
  }
}

TEST_P(EveryStreamTest, CursorsGiveEveryRowOnceInOrder) {
  const MetricType metric = ParseMetricType(GetParam().metric);
  ASSERT_NO_FATAL_FAILURE(FillMixed(GetParam().index_type, GetParam().metric, GetParam().params));
  for (const char* filter : {"", "number < 60"}) {
    const std::vector<Vector> queries = MakeQueries(1);
    SearchRequest request = MakeRequest(metric, queries, filter);
    const std::vector<Scored> truth = Truth(request);
    std::unordered_set<std::string> given;
    auto cursor = SearchCursor::Open(request, {}, nullptr);
    ASSERT_TRUE(cursor.ok()) << cursor.status().ToString();
    size_t at = 0;
    for (size_t page = 70;; page += 31) {
      auto next = (*cursor)->Next(page, {}, nullptr);
      ASSERT_TRUE(next.ok() && next->has_value());
      const SearchResult& result = **next;
      for (size_t i = 0; i < result.scores.size(); ++i, ++at) {
        ASSERT_LT(at, truth.size());
        ASSERT_EQ(result.scores[i], truth[at].score) << "row " << at;
        ASSERT_EQ(result.primary_keys.Get<int64_t>(i), truth[at].key) << "row " << at;
      }
      if (result.scores.size() < page) break;
      EXPECT_GT((*cursor)->memory_bytes(), 0U);
      if (page % 2 == 0) continue;
      // A cursor that was lost is opened anew where it stood.
      request.range_filter = result.scores.back();
      given.clear();
      for (size_t i = 0; i < result.scores.size(); ++i) {
        if (result.scores[i] == *request.range_filter) given.emplace(result.primary_keys.Bytes(i));
      }
      cursor = SearchCursor::Open(request, given, nullptr);
      ASSERT_TRUE(cursor.ok());
    }
    EXPECT_EQ(at, truth.size());
    // Pages without a cursor are exact, too.
    request.index->exact = true;
    request.range_filter = truth[1000].score;
    request.radius = truth[1100].score;
    request.limit = 1000;
    EXPECT_EQ(RangeRecall(request, truth), 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Names, EveryStreamTest,
                         testing::Values(Named{"IVF_FLAT", "L2", {}}, Named{"IVF_SQ8", "COSINE", {}},
                                         Named{"IVF_RABITQ", "IP", {}},
                                         Named{"HNSW", "L2", {{"M", "12"}, {"efConstruction", "80"}}},
                                         Named{"AUTOINDEX", "COSINE", {}}),
                         [](const auto& info) { return std::string(info.param.index_type); });

/// Groups of very different sizes: nearly all rows in one, which is the one around the query.
TEST_F(StreamSearchTest, GroupsOfSkewedSizesAreFound) {
  ASSERT_NO_FATAL_FAILURE(Fill("HNSW", "L2", {{"M", "12"}, {"efConstruction", "80"}}));
  const std::vector<Vector> queries = {MakeVector(5, 0)};
  SearchRequest request = MakeRequest(MetricType::kL2, queries);
  request.group = Grouping{.fields = {kPk}, .size = 2};
  request.limit = 20;
  const auto rows = Search(request, nullptr);
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(rows->scores.size(), 20U) << "every key is a group of one row, none of which fills up";
  request.group = Grouping{.fields = {kNumber, kPk}, .size = 1};
  const auto pairs = Search(request, nullptr);
  ASSERT_TRUE(pairs.ok());
  EXPECT_EQ(pairs->groups.columns.size(), 2U);
  EXPECT_EQ(pairs->scores.size(), 20U);
}

TEST_F(StreamSearchTest, EqualScoresAreNeitherLostNorRepeated) {
  Open();
  Create();
  CreateIndex("HNSW", "L2", {{"M", "12"}, {"efConstruction", "80"}});
  ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  // Each of 60 vectors for a hundred keys.
  std::map<int64_t, std::vector<int64_t>> keys_of;
  ColumnBatch batch;
  Column ids = Column::Make(kPk, DataType::kInt64);
  Column numbers = Column::Make(kNumber, DataType::kInt64);
  Column vectors = Column::Make(kVector, DataType::kFloatVector, kDim);
  for (int64_t key = 0; key < 6000; ++key) {
    ids.AppendValue(key);
    numbers.AppendValue(key % 60);
    vectors.Append(BytesOf(MakeVector(key % 60, 0)));
  }
  batch.rows = 6000;
  batch.columns = {ids, numbers, vectors};
  ASSERT_TRUE(Insert({.collection = Docs(), .batch = std::move(batch)}).ok());
  Flush();
  ASSERT_NO_FATAL_FAILURE(AwaitIndexes());
  const std::vector<Vector> queries = MakeQueries(1);
  SearchRequest request = MakeRequest(MetricType::kL2, queries);
  ASSERT_TRUE(UsesIndex(request));
  auto cursor = SearchCursor::Open(request, {}, nullptr);
  ASSERT_TRUE(cursor.ok());
  std::vector<int64_t> got;
  std::vector<float> scores;
  for (size_t count = 70; count == 70;) {
    auto page = (*cursor)->Next(70, {}, nullptr);
    ASSERT_TRUE(page.ok() && page->has_value());
    count = (*page)->scores.size();
    for (size_t i = 0; i < count; ++i) {
      got.push_back((*page)->primary_keys.Get<int64_t>(i));
      scores.push_back((*page)->scores[i]);
      if (scores.size() > 1 && scores[scores.size() - 2] == scores.back()) {
        EXPECT_LT(got[got.size() - 2], got.back()) << "ties are ordered by key";
      }
    }
  }
  EXPECT_TRUE(std::is_sorted(scores.begin(), scores.end()));
  std::sort(got.begin(), got.end());
  ASSERT_EQ(got.size(), 6000U);
  for (int64_t key = 0; key < 6000; ++key) ASSERT_EQ(got[static_cast<size_t>(key)], key);
}

TEST_F(StreamSearchTest, ADamagedIndexIsLeftOut) {
  ASSERT_NO_FATAL_FAILURE(Fill("HNSW", "L2", {{"M", "12"}, {"efConstruction", "80"}}));
  engine_.reset();
  std::mt19937_64 random(5);
  const std::string file = IndexFiles().at(0);
  const auto contents = files_->ReadFile(file);
  ASSERT_TRUE(contents.ok());
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(files_->FlipBit(file, random() % (contents->size() * 8)));
  options_.build_index = [](const index::IndexRecipe&, const ColumnView&,
                            const index::BuildControl&) -> Result<std::string> {
    return Error(StatusCode::kInternal, "not now");
  };
  Open();
  const std::vector<Vector> queries = MakeQueries(1);
  SearchRequest request = MakeRequest(MetricType::kL2, queries);
  const std::vector<Scored> truth = Truth(request);
  request.radius = truth[500].score;
  request.limit = 1000;
  EXPECT_EQ(RangeRecall(request, truth), 1);
  auto cursor = SearchCursor::Open(MakeRequest(MetricType::kL2, queries), {}, nullptr);
  ASSERT_TRUE(cursor.ok());
  const auto page = (*cursor)->Next(100, {}, nullptr);
  ASSERT_TRUE(page.ok());
  if (page->has_value()) {
    for (size_t i = 0; i < 100; ++i) EXPECT_EQ((*page)->scores[i], truth[i].score);
  }
}

}  // namespace
}  // namespace quiver::query
