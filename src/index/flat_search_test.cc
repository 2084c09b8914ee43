// Compares exact search with a brute-force oracle in double precision, over all types, metrics, levels, masks and
// ranges.
#include "index/flat_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <new>
#include <numeric>
#include <random>
#include <string>

namespace {
std::atomic<size_t> allocations = 0;  // other tests of this program have threads
}  // namespace

// Counts what the search allocates; the other forms of new come here or are not used by it.
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* place = std::malloc(size)) return place;
  throw std::bad_alloc();
}
// What is freed here must come from here, and the sanitizers bring a form of their own.
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t& /*tag*/) noexcept {
  ++allocations;
  return std::malloc(size);
}
[[gnu::noinline]] void operator delete(void* place) noexcept { std::free(place); }
[[gnu::noinline]] void operator delete(void* place, size_t) noexcept { std::free(place); }

namespace quiver::index {
namespace {

using Bytes = std::string;

float HalfToFloat(uint16_t half) {
  const int exponent = (half >> 10) & 0x1f;
  const auto fraction = static_cast<float>(half & 0x3ff);
  const float sign = (half & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction != 0 ? std::nanf("") : sign * std::numeric_limits<float>::infinity();
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

std::vector<double> Values(DataType type, std::string_view bytes) {
  std::vector<double> values;
  switch (type) {
    case DataType::kInt8Vector:
      for (char c : bytes) values.push_back(static_cast<signed char>(c));
      break;
    case DataType::kFloatVector:
      for (size_t at = 0; at < bytes.size(); at += 4) {
        float value;
        std::memcpy(&value, bytes.data() + at, 4);
        values.push_back(static_cast<double>(value));
      }
      break;
    default:
      for (size_t at = 0; at < bytes.size(); at += 2) {
        uint16_t half;
        std::memcpy(&half, bytes.data() + at, 2);
        values.push_back(static_cast<double>(type == DataType::kFloat16Vector
                                                 ? HalfToFloat(half)
                                                 : std::bit_cast<float>(static_cast<uint32_t>(half) << 16)));
      }
  }
  return values;
}

Bytes Encode(DataType type, const std::vector<float>& values) {
  Bytes bytes;
  for (float value : values) {
    switch (type) {
      case DataType::kFloatVector: bytes.append(reinterpret_cast<const char*>(&value), 4); break;
      case DataType::kInt8Vector:
        bytes.push_back(static_cast<char>(static_cast<int8_t>(std::clamp(std::round(value * 40), -128.0f, 127.0f))));
        break;
      case DataType::kBFloat16Vector: {
        const auto half = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
        bytes.append(reinterpret_cast<const char*>(&half), 2);
        break;
      }
      default: {
        // Truncates to a normal half; small values become zero.
        const uint32_t bits = std::bit_cast<uint32_t>(value);
        const int exponent = static_cast<int>((bits >> 23) & 0xff) - 127 + 15;
        uint32_t half = (bits >> 16) & 0x8000;
        if (std::isnan(value)) {
          half |= 0x7e00;
        } else if (exponent > 0) {
          half |= (static_cast<uint32_t>(std::min(exponent, 30)) << 10) | ((bits >> 13) & 0x3ff);
        }
        const auto narrow = static_cast<uint16_t>(half);
        bytes.append(reinterpret_cast<const char*>(&narrow), 2);
      }
    }
  }
  return bytes;
}

Bytes Sparse(const std::map<uint32_t, float>& entries) {
  Bytes bytes;
  for (const auto& [index, value] : entries) {
    bytes.append(reinterpret_cast<const char*>(&index), 4);
    bytes.append(reinterpret_cast<const char*>(&value), 4);
  }
  return bytes;
}

/// Score by definition, NaN for no hit.
double Oracle(DataType type, MetricType metric, std::string_view query, std::string_view row) {
  const double no_hit = std::nan("");
  if (type == DataType::kSparseFloatVector) {
    double sum = 0;
    bool shared = false;
    for (size_t i = 0; i < query.size(); i += 8) {
      for (size_t j = 0; j < row.size(); j += 8) {
        float a, b;
        std::memcpy(&a, query.data() + i + 4, 4);
        std::memcpy(&b, row.data() + j + 4, 4);
        if (query.substr(i, 4) != row.substr(j, 4) || a == 0 || b == 0) continue;
        shared = true;
        sum += static_cast<double>(a) * static_cast<double>(b);
      }
    }
    return shared ? sum : no_hit;
  }
  if (type == DataType::kBinaryVector) {
    int both = 0, any = 0, only_query = 0, only_row = 0;
    for (size_t i = 0; i < query.size() * 8; ++i) {
      const bool a = (query[i / 8] >> (i % 8)) & 1;
      const bool b = (row[i / 8] >> (i % 8)) & 1;
      both += a && b;
      any += a || b;
      only_query += a && !b;
      only_row += b && !a;
    }
    switch (metric) {
      case MetricType::kHamming: return only_query + only_row;
      case MetricType::kJaccard: return any == 0 ? 0 : 1.0 - static_cast<double>(both) / any;
      case MetricType::kSubstructure: return only_row == 0 ? 0 : no_hit;
      default: return only_query == 0 ? 0 : no_hit;
    }
  }
  const std::vector<double> a = Values(type, query);
  const std::vector<double> b = Values(type, row);
  double ip = 0, l2 = 0, aa = 0, bb = 0;
  for (size_t d = 0; d < a.size(); ++d) {
    ip += a[d] * b[d];
    l2 += (a[d] - b[d]) * (a[d] - b[d]);
    aa += a[d] * a[d];
    bb += b[d] * b[d];
  }
  if (metric == MetricType::kL2) return l2;
  if (metric == MetricType::kIp) return ip;
  if (std::isnan(ip)) return no_hit;
  return aa == 0 || bb == 0 ? 0 : ip / std::sqrt(aa * bb);
}

/// Rows of one type, as a sealed column and as growing string views.
struct Table {
  Table(DataType type_in, int64_t dim_in) : type(type_in), dim(dim_in), column(Column::Make(1, type_in, dim_in)) {}
  void Add(const Bytes& row) {
    column.Append(row);
    rows.push_back(row);
  }
  [[nodiscard]] ColumnView view() const { return ViewOf(column); }
  DataType type;
  int64_t dim;
  Column column;
  std::vector<Bytes> rows;
};

struct Case {
  DataType type;
  MetricType metric;
};

const std::vector<Case>& AllCases() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> all;
    for (DataType type :
         {DataType::kFloatVector, DataType::kFloat16Vector, DataType::kBFloat16Vector, DataType::kInt8Vector}) {
      for (MetricType metric : {MetricType::kL2, MetricType::kIp, MetricType::kCosine}) all.push_back({type, metric});
    }
    for (MetricType metric :
         {MetricType::kHamming, MetricType::kJaccard, MetricType::kSubstructure, MetricType::kSuperstructure}) {
      all.push_back({DataType::kBinaryVector, metric});
    }
    all.push_back({DataType::kSparseFloatVector, MetricType::kIp});
    return all;
  }();
  return cases;
}

std::vector<const simd::KernelTable*> Levels() {
  std::vector<const simd::KernelTable*> levels;
  for (simd::Level level : simd::kLevels) {
    if (const simd::KernelTable* table = simd::KernelsFor(level)) levels.push_back(table);
  }
  return levels;
}

/// Values around few centres, so that near ties and duplicates are frequent.
std::vector<float> RandomVector(int64_t dim, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(dim));
  for (float& value : values) value = normal(random);
  return values;
}

Bytes RandomRow(DataType type, int64_t dim, std::mt19937& random) {
  if (type == DataType::kBinaryVector) {
    Bytes bytes(static_cast<size_t>(dim) / 8, '\0');
    const bool thin = random() % 2 == 0;
    for (char& c : bytes) c = static_cast<char>(thin ? random() & random() & random() : random());
    return bytes;
  }
  if (type == DataType::kSparseFloatVector) {
    std::map<uint32_t, float> entries;
    const size_t count = random() % 12;
    for (size_t i = 0; i < count; ++i) {
      entries[static_cast<uint32_t>(random() % 60)] = static_cast<float>(static_cast<int>(random() % 9) - 2) / 3.0f;
    }
    return Sparse(entries);
  }
  return Encode(type, RandomVector(dim, random));
}

Table RandomTable(DataType type, int64_t dim, size_t rows, std::mt19937& random) {
  Table table(type, dim);
  for (size_t i = 0; i < rows; ++i) {
    // One row in eight repeats an earlier one: ties.
    if (i > 0 && random() % 8 == 0) {
      table.Add(Bytes(table.rows[random() % i]));
    } else {
      table.Add(RandomRow(type, dim, random));
    }
  }
  return table;
}

FlatQueries Prepare(const Table& table, MetricType metric, const std::vector<Bytes>& queries,
                    const simd::KernelTable& kernels) {
  const std::vector<std::string_view> views(queries.begin(), queries.end());
  auto made = FlatQueries::Make(table.type, table.dim, metric, views, kernels);
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  return *std::move(made);
}

std::vector<std::vector<Hit>> Search(const FlatQueries& queries, const ColumnView& view, const uint64_t* mask,
                                     uint64_t first_row, const TopK& collector) {
  std::vector<TopK> results(queries.nq(), collector);
  FlatScratch scratch;
  FlatScan(queries, view, mask, first_row, results, scratch);
  std::vector<std::vector<Hit>> hits;
  for (TopK& result : results) hits.push_back(result.TakeSorted());
  return hits;
}

std::vector<uint32_t> AllRows(size_t count) {
  std::vector<uint32_t> rows(count);
  std::iota(rows.begin(), rows.end(), 0u);
  return rows;
}

/// Scores of all rows by ScoreRows, each checked against the oracle.
std::vector<float> CheckedScores(const Table& table, const FlatQueries& queries, size_t q, const Bytes& query) {
  std::vector<float> scores(table.rows.size());
  ScoreRows(queries, q, table.view(), AllRows(table.rows.size()), scores.data());
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const double expected = Oracle(table.type, queries.metric(), query, table.rows[i]);
    EXPECT_EQ(std::isnan(expected), std::isnan(scores[i])) << i;
    if (std::isnan(expected)) continue;
    const double scale = queries.metric() == MetricType::kIp ? 3.0 * std::sqrt(static_cast<double>(table.dim)) + 1
                                                             : std::abs(expected) + 1;
    EXPECT_NEAR(scores[i], expected, 1e-5 * scale) << MetricTypeName(queries.metric()) << " row " << i;
  }
  return scores;
}

/// The k best of `scores` by the definition.
std::vector<Hit> BruteForce(const std::vector<float>& scores, MetricType metric, const std::vector<bool>& keep,
                            size_t k, std::optional<float> radius, std::optional<float> range_filter) {
  const bool similarity = IsSimilarity(metric);
  std::vector<Hit> hits;
  for (size_t i = 0; i < scores.size(); ++i) {
    const float s = scores[i];
    if (!keep[i] || std::isnan(s)) continue;
    if (radius && (similarity ? !(s > *radius) : !(s < *radius))) continue;
    if (range_filter && (similarity ? s > *range_filter : s < *range_filter)) continue;
    hits.push_back({s, i});
  }
  std::sort(hits.begin(), hits.end(), [&](const Hit& a, const Hit& b) {
    if (a.score != b.score) return similarity ? a.score > b.score : a.score < b.score;
    return a.row < b.row;
  });
  hits.resize(std::min(hits.size(), k));
  return hits;
}

void PrintTo(const Case& c, std::ostream* out) { *out << DataTypeName(c.type) << "_" << MetricTypeName(c.metric); }

class FlatSearchTest : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(All, FlatSearchTest, testing::ValuesIn(AllCases()), [](const auto& info) {
  return std::string(DataTypeName(info.param.type)) + "_" + std::string(MetricTypeName(info.param.metric));
});

TEST_P(FlatSearchTest, FindsWhatBruteForceFindsForEveryBatchMaskAndLimit) {
  const auto [type, metric] = GetParam();
  for (const simd::KernelTable* kernels : Levels()) {
    std::mt19937 random(42);
    for (int64_t dim : {8, 72}) {
      const size_t row_count = 500;
      const Table table = RandomTable(type, dim, row_count, random);
      for (size_t nq : {1, 2, 3, 25, 70}) {
        std::vector<Bytes> queries;
        for (size_t q = 0; q < nq; ++q) {
          queries.push_back(q % 3 == 0 ? table.rows[random() % row_count] : RandomRow(type, dim, random));
        }
        const FlatQueries prepared = Prepare(table, metric, queries, *kernels);
        std::map<size_t, std::vector<float>> scores;
        for (size_t q = 0; q < nq; q += nq > 10 ? 7 : 1) scores[q] = CheckedScores(table, prepared, q, queries[q]);
        for (int kind = 0; kind < 5; ++kind) {
          // No mask, every row, half of them, few, none.
          std::vector<bool> keep(row_count);
          std::vector<uint64_t> mask((row_count + 63) / 64, kind == 1 ? ~uint64_t{0} : 0);
          for (size_t i = 0; i < row_count; ++i) {
            keep[i] =
                kind <= 1 || (kind == 2 && random() % 2 == 0) || (kind == 3 && (random() % 100 == 0 || i / 64 == 3));
            if (keep[i]) mask[i / 64] |= uint64_t{1} << (i % 64);
          }
          for (size_t k : {size_t{1}, size_t{10}, size_t{2000}}) {
            const uint64_t first_row = 1000;
            const auto hits =
                Search(prepared, table.view(), kind == 0 ? nullptr : mask.data(), first_row, TopK(k, metric));
            for (const auto& [q, of_query] : scores) {
              std::vector<Hit> expected = BruteForce(of_query, metric, keep, k, {}, {});
              for (Hit& hit : expected) hit.row += first_row;
              ASSERT_EQ(hits[q], expected) << simd::LevelName(kernels->level) << " dim " << dim << " nq " << nq
                                           << " mask " << kind << " k " << k << " query " << q;
            }
          }
        }
      }
    }
  }
}

TEST_P(FlatSearchTest, RangesKeepThePublishedBounds) {
  const auto [type, metric] = GetParam();
  std::mt19937 random(7);
  const int64_t dim = 64;
  const Table table = RandomTable(type, dim, 400, random);
  const std::vector<bool> keep(400, true);
  for (size_t nq : {1, 5, 30}) {
    std::vector<Bytes> queries;
    for (size_t q = 0; q < nq; ++q) queries.push_back(table.rows[random() % 400]);
    const FlatQueries prepared = Prepare(table, metric, queries, simd::Kernels());
    const auto all = Search(prepared, table.view(), nullptr, 0, TopK(400, metric));
    if (all[0].empty()) continue;
    std::vector<std::vector<float>> scores;
    for (size_t q = 0; q < nq; ++q) scores.push_back(CheckedScores(table, prepared, q, queries[q]));
    // Bounds that are scores themselves: the open and the closed end matter.
    const float near = all[0][all[0].size() / 20].score;
    const float far = all[0][all[0].size() / 3].score;
    for (bool with_inner : {false, true}) {
      for (size_t k : {size_t{3}, size_t{400}}) {
        TopK collector(k, metric);
        const std::optional<float> inner = with_inner ? std::optional(near) : std::nullopt;
        collector.SetRange(far, inner);
        const auto hits = Search(prepared, table.view(), nullptr, 0, collector);
        for (size_t q = 0; q < nq; ++q) {
          ASSERT_EQ(hits[q], BruteForce(scores[q], metric, keep, k, far, inner)) << "nq " << nq << " k " << k;
        }
      }
    }
  }
}

TEST_P(FlatSearchTest, AScoreDoesNotDependOnBatchPageAlignmentMaskOrList) {
  const auto [type, metric] = GetParam();
  std::mt19937 random(9);
  const int64_t dim = 136;
  const size_t row_count = 500;
  const Table table = RandomTable(type, dim, row_count, random);
  std::vector<Bytes> queries;
  for (size_t q = 0; q < 40; ++q) queries.push_back(RandomRow(type, dim, random));
  const FlatQueries batch = Prepare(table, metric, queries, simd::Kernels());
  const auto whole = Search(batch, table.view(), nullptr, 0, TopK(row_count, metric));

  // The same rows in pages at odd addresses, every other row masked out in turn, one query at a time.
  const ColumnView view = table.view();
  std::vector<std::byte> shifted;
  std::vector<std::string_view> strings(table.rows.begin(), table.rows.end());
  if (view.fixed != nullptr) {
    shifted.resize(row_count * view.width + 1);
    std::memcpy(shifted.data() + 1, view.fixed, row_count * view.width);
  }
  for (size_t q = 0; q < queries.size(); q += 5) {
    const FlatQueries single = Prepare(table, metric, {queries[q]}, simd::Kernels());
    std::vector<TopK> results(1, TopK(row_count, metric));
    FlatScratch scratch;
    const size_t page_rows = 77;
    for (size_t first = 0; first < row_count; first += page_rows) {
      ColumnView page = view;
      page.rows = std::min(page_rows, row_count - first);
      if (view.fixed != nullptr) {
        page.fixed = shifted.data() + 1 + first * view.width;
      } else {
        page.offsets = nullptr;
        page.blob = nullptr;
        page.strings = strings.data() + first;
      }
      const std::vector<uint64_t> even(2, 0x5555555555555555u);
      FlatScan(single, page, even.data(), first, results, scratch);
      std::vector<uint32_t> odd;
      for (uint32_t row = 1; row < page.rows; row += 2) odd.push_back(row);
      FlatScanListed(single, page, odd, first, results, scratch);
    }
    ASSERT_EQ(results[0].TakeSorted(), whole[q]) << q;
  }
}

TEST_P(FlatSearchTest, NullRowsAreNeverHits) {
  const auto [type, metric] = GetParam();
  std::mt19937 random(3);
  Table table = RandomTable(type, 64, 300, random);
  table.column.valid.assign(300, 1);
  for (size_t i = 0; i < 300; ++i) table.column.valid[i] = static_cast<uint8_t>(i % 3 != 0);
  for (size_t nq : {1, 4, 30}) {
    const std::vector<Bytes> queries(nq, table.rows[0]);
    const FlatQueries prepared = Prepare(table, metric, queries, simd::Kernels());
    for (const auto& hits : Search(prepared, table.view(), nullptr, 0, TopK(300, metric))) {
      for (const Hit& hit : hits) EXPECT_NE(hit.row % 3, 0u);
    }
    std::vector<uint32_t> listed(290);
    std::iota(listed.begin(), listed.end(), 5);
    std::vector<TopK> found(nq, TopK(300, metric));
    FlatScratch scratch;
    FlatScanListed(prepared, table.view(), listed, 0, found, scratch);
    for (TopK& hits : found) {
      for (const Hit& hit : hits.TakeSorted()) EXPECT_TRUE(hit.row % 3 != 0 && hit.row >= 5 && hit.row < 295);
    }
    std::vector<float> scores(2);
    const std::vector<uint32_t> rows = {0, 3};
    ScoreRows(prepared, 0, table.view(), rows, scores.data());
    EXPECT_TRUE(std::isnan(scores[0]) && std::isnan(scores[1]));
  }
}

class DenseFlatSearchTest : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Dense, DenseFlatSearchTest, testing::ValuesIn(AllCases().begin(), AllCases().begin() + 12),
                         [](const auto& info) {
                           return std::string(DataTypeName(info.param.type)) + "_" +
                                  std::string(MetricTypeName(info.param.metric));
                         });

/// Every kind of data that could break the code filter: the batch must find what the single queries find.
TEST_P(DenseFlatSearchTest, BatchesEqualSingleQueriesOnAwkwardData) {
  const auto [type, metric] = GetParam();
  const size_t dim = 96;
  const size_t row_count = 1200;
  struct Maker {
    const char* name;
    std::function<float(size_t, size_t, std::mt19937&)> value;
  };
  std::normal_distribution<float> normal;
  const std::vector<Maker> makers = {
      {"plain", [&](size_t, size_t, std::mt19937& r) { return normal(r); }},
      {"one huge dimension",
       [&](size_t, size_t d, std::mt19937& r) { return d == 5 ? 3.0f + normal(r) : 0.01f * normal(r); }},
      {"far from the origin", [&](size_t, size_t, std::mt19937& r) { return 3.0f + 0.002f * normal(r); }},
      {"few distinct values", [&](size_t, size_t, std::mt19937& r) { return r() % 40 == 0 ? 1.0f : 0.0f; }},
      {"growing norms", [&](size_t i, size_t, std::mt19937& r) { return normal(r) * static_cast<float>(i) / 400.0f; }},
      {"wide range of norms",
       [&](size_t i, size_t, std::mt19937& r) { return normal(r) * std::ldexp(1.0f, static_cast<int>(i % 10) - 9); }},
      {"all equal", [&](size_t, size_t, std::mt19937&) { return 0.5f; }},
      {"some NaN rows",
       [&](size_t i, size_t, std::mt19937& r) { return i % 50 == 7 && r() % 20 == 0 ? std::nanf("") : normal(r); }},
      {"zero rows", [&](size_t i, size_t, std::mt19937& r) { return i % 5 == 0 ? 0.0f : normal(r); }},
      {"tiny", [&](size_t i, size_t, std::mt19937& r) { return normal(r) * (i % 2 == 0 ? 1e-18f : 1e-22f); }},
      {"huge", [&](size_t i, size_t, std::mt19937& r) { return normal(r) * (i % 2 == 0 ? 1e15f : 1e21f); }},
      {"sorted to defeat thresholds",
       [&](size_t i, size_t, std::mt19937& r) { return 0.2f + static_cast<float>(i) * 1e-3f + 0.01f * normal(r); }},
  };
  for (const Maker& maker : makers) {
    std::mt19937 random(123);
    Table table(type, dim);
    std::vector<float> values(dim);
    for (size_t i = 0; i < row_count; ++i) {
      for (size_t d = 0; d < dim; ++d) values[d] = maker.value(i, d, random);
      // int8 has no NaN: such a value would be an arbitrary byte.
      if (type == DataType::kInt8Vector) {
        for (float& value : values) value = std::isnan(value) ? 0.0f : value;
      }
      table.Add(Encode(type, values));
    }
    std::vector<Bytes> queries;
    for (size_t q = 0; q < 36; ++q) {
      for (size_t d = 0; d < dim; ++d) values[d] = maker.value(q * 31 + 1, d, random);
      if (type == DataType::kInt8Vector) {
        for (float& value : values) value = std::isnan(value) ? 0.0f : value;
      }
      queries.push_back(q == 9       ? Bytes(table.rows[0].size(), '\0')
                        : q % 4 == 1 ? table.rows[q * 30]
                                     : Encode(type, values));
    }
    // A NaN query switches the filter off for the whole batch; that is not the point here.
    std::erase_if(queries, [&](const Bytes& query) {
      const std::vector<double> v = Values(type, query);
      return std::any_of(v.begin(), v.end(), [](double x) { return std::isnan(x); });
    });
    for (const simd::KernelTable* kernels : Levels()) {
      const FlatQueries batch = Prepare(table, metric, queries, *kernels);
      for (size_t k : {2, 20}) {
        const auto hits = Search(batch, table.view(), nullptr, 0, TopK(k, metric));
        for (size_t q = 0; q < queries.size(); ++q) {
          const FlatQueries single = Prepare(table, metric, {queries[q]}, *kernels);
          ASSERT_EQ(hits[q], Search(single, table.view(), nullptr, 0, TopK(k, metric))[0])
              << maker.name << " " << simd::LevelName(kernels->level) << " k " << k << " query " << q;
        }
      }
    }
  }
}

TEST(FlatSearch, NanQueriesFindNothingAndDoNotDisturbTheOthers) {
  std::mt19937 random(1);
  const Table table = RandomTable(DataType::kFloatVector, 64, 400, random);
  std::vector<Bytes> queries;
  for (size_t q = 0; q < 30; ++q) queries.push_back(RandomRow(DataType::kFloatVector, 64, random));
  const float nan = std::nanf("");
  std::memcpy(queries[4].data() + 12, &nan, 4);
  for (MetricType metric : {MetricType::kL2, MetricType::kIp, MetricType::kCosine}) {
    const FlatQueries prepared = Prepare(table, metric, queries, simd::Kernels());
    const auto hits = Search(prepared, table.view(), nullptr, 0, TopK(5, metric));
    for (size_t q = 0; q < 30; ++q) EXPECT_EQ(hits[q].size(), q == 4 ? 0u : 5u);
  }
}

TEST(FlatSearch, SumsBeyondFloatStillRankAndCosineSurvivesExtremeNorms) {
  Table table(DataType::kFloatVector, 2);
  table.Add(Encode(DataType::kFloatVector, {1e30f, 1e30f}));
  table.Add(Encode(DataType::kFloatVector, {1e-30f, 1e-30f}));
  table.Add(Encode(DataType::kFloatVector, {1e38f, -1e38f}));
  table.Add(Encode(DataType::kFloatVector, {0, 0}));
  const FlatQueries cosine = Prepare(table, MetricType::kCosine, {table.rows[0]}, simd::Kernels());
  EXPECT_EQ(Search(cosine, table.view(), nullptr, 0, TopK(9, MetricType::kCosine))[0],
            (std::vector<Hit>{{1.0f, 0}, {1.0f, 1}, {0.0f, 2}, {0.0f, 3}}));
  const FlatQueries l2 = Prepare(table, MetricType::kL2, {table.rows[2]}, simd::Kernels());
  const auto hits = Search(l2, table.view(), nullptr, 0, TopK(9, MetricType::kL2))[0];
  ASSERT_EQ(hits.size(), 4u) << "infinite distances are still results";
  EXPECT_EQ(hits[0], (Hit{0.0f, 2}));
  EXPECT_EQ(hits[1], (Hit{std::numeric_limits<float>::infinity(), 0}));
  const FlatQueries ip = Prepare(table, MetricType::kIp, {table.rows[2]}, simd::Kernels());
  EXPECT_EQ(Search(ip, table.view(), nullptr, 0, TopK(9, MetricType::kIp))[0].size(), 4u)
      << "inf - inf in float is not NaN in the answer";
}

TEST(FlatSearch, AVectorIsExactlyLikeItself) {
  std::mt19937 random(2);
  for (int64_t dim : {1, 3, 100, 768}) {
    for (DataType type :
         {DataType::kFloatVector, DataType::kFloat16Vector, DataType::kBFloat16Vector, DataType::kInt8Vector}) {
      const Table table = RandomTable(type, dim, 50, random);
      for (uint32_t i = 0; i < 50; ++i) {
        const std::vector<uint32_t> row = {i};
        float score = -1;
        ScoreRows(Prepare(table, MetricType::kCosine, {table.rows[i]}, simd::Kernels()), 0, table.view(), row, &score);
        EXPECT_TRUE(score == 1.0f || Bytes(table.rows[i].size(), '\0') == table.rows[i]) << score;
        ScoreRows(Prepare(table, MetricType::kL2, {table.rows[i]}, simd::Kernels()), 0, table.view(), row, &score);
        EXPECT_EQ(score, 0.0f);
      }
    }
  }
}

TEST(FlatSearch, SparseQueriesMayReachOverTheWholeIndexSpace) {
  std::mt19937 random(8);
  Table table(DataType::kSparseFloatVector, 0);
  const auto wide = [&random] {
    std::map<uint32_t, float> entries;
    for (int i = 0; i < 30; ++i)
      entries[static_cast<uint32_t>(random() % 50) * 85000000u] = 0.25f + static_cast<float>(random() % 100);
    entries[0xfffffffeu] = 1.0f;
    return Sparse(entries);
  };
  for (int i = 0; i < 300; ++i) table.Add(wide());
  table.Add("");
  const std::vector<Bytes> queries = {wide(), wide(), Bytes(), Sparse({{7, 0.0f}})};
  const FlatQueries prepared = Prepare(table, MetricType::kIp, queries, simd::Kernels());
  const auto hits = Search(prepared, table.view(), nullptr, 0, TopK(20, MetricType::kIp));
  const std::vector<bool> keep(301, true);
  for (size_t q = 0; q < 4; ++q)
    EXPECT_EQ(hits[q], BruteForce(CheckedScores(table, prepared, q, queries[q]), MetricType::kIp, keep, 20, {}, {}));
  EXPECT_TRUE(hits[2].empty());
  EXPECT_TRUE(hits[3].empty());
}

TEST(FlatSearch, RefusesWrongLengthsAndMetrics) {
  const std::vector<std::string_view> query = {"12345678"};
  EXPECT_TRUE(FlatQueries::Make(DataType::kFloatVector, 2, MetricType::kL2, query).ok());
  EXPECT_EQ(FlatQueries::Make(DataType::kFloatVector, 3, MetricType::kL2, query).status().code(),
            StatusCode::kInvalidParameter);
  EXPECT_EQ(FlatQueries::Make(DataType::kFloatVector, 2, MetricType::kJaccard, query).status().code(),
            StatusCode::kInvalidParameter);
  EXPECT_FALSE(FlatQueries::Make(DataType::kBinaryVector, 64, MetricType::kIp, query).ok());
  EXPECT_FALSE(FlatQueries::Make(DataType::kSparseFloatVector, 0, MetricType::kL2, query).ok());
  EXPECT_FALSE(FlatQueries::Make(DataType::kSparseFloatVector, 0, MetricType::kIp, {"1234"}).ok());
  EXPECT_FALSE(FlatQueries::Make(DataType::kInt64, 1, MetricType::kIp, query).ok());
}

TEST(FlatSearch, ScansAllocateNothingOnceTheScratchHasGrown) {
  std::mt19937 random(6);
  for (const Case& c : AllCases()) {
    const Table table = RandomTable(c.type, 64, 500, random);
    for (size_t nq : {1, 3, 20}) {
      std::vector<Bytes> queries;
      for (size_t q = 0; q < nq; ++q) queries.push_back(RandomRow(c.type, 64, random));
      const FlatQueries prepared = Prepare(table, c.metric, queries, simd::Kernels());
      std::vector<TopK> results(nq, TopK(10, c.metric));
      FlatScratch scratch;
      const std::vector<uint64_t> mask(8, 0xf0f0ffff0000ffffu);
      FlatScan(prepared, table.view(), mask.data(), 0, results, scratch);
      FlatScan(prepared, table.view(), nullptr, 500, results, scratch);
      const size_t before = allocations;
      FlatScan(prepared, table.view(), mask.data(), 1000, results, scratch);
      FlatScan(prepared, table.view(), nullptr, 1500, results, scratch);
      EXPECT_EQ(allocations, before) << DataTypeName(c.type) << " nq " << nq;
    }
  }
}

TEST(TopK, KeepsTheBestWithTiesByRowInAnyOrderOfOffers) {
  std::mt19937 random(4);
  for (MetricType metric : {MetricType::kL2, MetricType::kIp}) {
    std::vector<Hit> all;
    for (uint64_t row = 0; row < 500; ++row) all.push_back({static_cast<float>(random() % 20), row});
    std::vector<Hit> sorted = all;
    std::sort(sorted.begin(), sorted.end(), [metric](const Hit& a, const Hit& b) {
      if (a.score != b.score) return metric == MetricType::kL2 ? a.score < b.score : a.score > b.score;
      return a.row < b.row;
    });
    for (size_t k : {0, 1, 7, 63, 64, 65, 300, 499, 500, 3000}) {
      std::shuffle(all.begin(), all.end(), random);
      TopK top(k, metric);
      for (const Hit& hit : all) top.Offer(hit.score, hit.row);
      EXPECT_FALSE(top.Offer(std::nanf(""), 1));
      const std::vector<Hit> expected(sorted.begin(),
                                      sorted.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(k, 500)));
      if (k > 0 && k < 64) {
        EXPECT_EQ(top.threshold(), expected.back().score);
      } else if (k > 0 && k <= 500) {
        const float slack = metric == MetricType::kL2 ? top.threshold() - expected.back().score
                                                      : expected.back().score - top.threshold();
        EXPECT_GE(slack, 0.0f) << "the bound may lag, but never refuse a hit";
      }
      EXPECT_EQ(top.size(), expected.size());
      EXPECT_EQ(top.TakeSorted(), expected);
      EXPECT_EQ(top.size(), 0u);
    }
  }
}

TEST(TopK, ThresholdStartsAtTheRadius) {
  TopK distance(2, MetricType::kL2);
  EXPECT_EQ(distance.threshold(), std::numeric_limits<float>::infinity());
  distance.SetRange(4.0f, 1.0f);
  EXPECT_EQ(distance.threshold(), 4.0f);
  EXPECT_FALSE(distance.Offer(4.0f, 1)) << "the radius is open";
  EXPECT_TRUE(distance.Offer(1.0f, 2)) << "range_filter is closed";
  EXPECT_FALSE(distance.Offer(0.5f, 3));
  TopK similarity(2, MetricType::kCosine);
  EXPECT_EQ(similarity.threshold(), -std::numeric_limits<float>::infinity());
  similarity.SetRange(0.5f, 0.9f);
  EXPECT_EQ(similarity.threshold(), 0.5f);
  EXPECT_FALSE(similarity.Offer(0.5f, 1));
  EXPECT_TRUE(similarity.Offer(0.9f, 2));
  EXPECT_FALSE(similarity.Offer(0.95f, 3));
}

}  // namespace
}  // namespace quiver::index
