// What filters mean on timestamps, texts, geometries and struct arrays, and what random_sample draws: hand-derived
// cases.
#include <gtest/gtest.h>

#include <cmath>

#include "expr/element_condition.h"
#include "expr/filter.h"
#include "expr/test_table.h"

namespace quiver::expr {
namespace {

struct Case {
  std::string_view text;
  std::string_view rows;
};

void CheckCases(const CollectionSchema& schema, std::string_view data, const std::vector<Case>& cases,
                const TimeZone& zone = {}) {
  TestTable table(schema, data);
  for (const bool facts : {false, true}) {
    table.ServeFacts(facts);
    for (const Case& one : cases) {
      const auto filter = Filter::Compile(one.text, schema, {}, zone);
      ASSERT_TRUE(filter.ok()) << one.text << "\n  " << filter.status().ToString();
      EXPECT_EQ(table.Select(**filter), one.rows) << one.text << (facts ? " (with facts)" : "");
    }
  }
}

std::string ErrorOf(std::string_view text, const CollectionSchema& schema, const TemplateValues& values = {}) {
  const auto filter = Filter::Compile(text, schema, values);
  return filter.ok() ? "accepted" : filter.status().message();
}

constexpr std::string_view kMoments = R"([{"ts":"2024-02-29T12:00:00Z","other":"2024-02-29T12:00:00Z"},
                                           {"ts":"2025-01-01T00:00:00Z","other":"2025-01-01T00:00:01Z"},
                                           {"other":"2025-01-01T00:00:00Z"},
                                           {"ts":"2025-01-31T23:59:59.5Z","other":"2020-01-01T00:00:00Z"},
                                           {"ts":"1969-12-31T23:59:59Z","other":"2025-01-01T00:00:00Z"}])";

CollectionSchema MomentSchema() {
  return SchemaOf({TestField("ts", DataType::kTimestamptz, true), TestField("other", DataType::kTimestamptz),
                   TestField("s", DataType::kVarChar, true), TestField("n", DataType::kInt64, true)});
}

TEST(FilterTypes, Timestamps) {
  CheckCases(MomentSchema(), kMoments,
             {
                 {"ts == ISO '2025-01-01T00:00:00Z'", "1"},
                 {"ts == ISO '2025-01-01T08:00:00+08:00'", "1"},
                 {"ts == ISO '2024-12-31T19:00:00-05:00'", "1"},
                 {"ts != ISO '2025-01-01T00:00:00Z'", "0 3 4"},
                 {"not (ts == ISO '2025-01-01T00:00:00Z')", "0 3 4"},
                 {"ts < ISO '2025-01-01T00:00:00Z'", "0 4"},
                 {"ts <= ISO '2025-01-01T00:00:00Z'", "0 1 4"},
                 {"ISO '2025-01-01T00:00:00Z' <= ts", "1 3"},
                 {"ISO '2025-01-01T00:00:00Z' < ts", "3"},
                 {"iso '1970-01-01T00:00:00Z' > ts", "4"},
                 {"ts > \"2025-01-31T23:59:59.4Z\"", "3"},
                 {"ts > '2025-01-31T23:59:59.5Z'", ""},
                 {"'2025-01-01T00:00:00Z' == ts", "1"},
                 {"'2024-01-01T00:00:00Z' < ts <= '2025-01-01T00:00:00Z'", "0 1"},
                 {"'2025-02-01T00:00:00Z' > ts >= '2025-01-01T00:00:00Z'", "1 3"},
                 {"ts in ['2025-01-01T00:00:00Z', '1969-12-31T23:59:59Z', '2000-01-01 00:00:00']", "1 4"},
                 {"ts not in ['2025-01-01T00:00:00Z']", "0 3 4"},
                 {"ts in []", ""},
                 {"ts is null", "2"},
                 {"ts is not null", "0 1 3 4"},
                 // Days are 24 hours.
                 {"ts + INTERVAL 'P1D' == ISO '2024-03-01T12:00:00Z'", "0"},
                 {"ts + INTERVAL 'P1D' > ISO '2025-01-02T00:00:00Z'", "3"},
                 {"ts - INTERVAL 'PT1S' == ISO '2024-12-31T23:59:59Z'", "1"},
                 {"ts - INTERVAL 'P1DT1H' < ISO '2024-12-30T23:00:00Z'", "0 4"},
                 {"ISO '2024-12-31T00:00:00Z' == ts - INTERVAL 'P1D'", "1"},
                 // Months go by the calendar; a day beyond the end of a month runs on.
                 {"ts + INTERVAL 'P1Y' == ISO '2025-03-01T12:00:00Z'", "0"},
                 {"ts + INTERVAL 'P1M' == ISO '2025-03-03T23:59:59.5Z'", "3"},
                 {"ts - INTERVAL 'P1M' == ISO '2024-12-01T00:00:00Z'", "1"},
                 {"ts - INTERVAL 'P6M' != ISO '2024-07-01T00:00:00Z'", "0 3 4"},
                 {"ts + INTERVAL 'P1Y2M3DT4H5M6S' == ISO '2026-03-04T04:05:06Z'", "1"},
                 {"not (ts + INTERVAL 'P1M' < ISO '2025-01-01T00:00:00Z')", "1 3"},
                 {"ts == other", "0"},
                 {"ts < other", "1 4"},
                 {"not (ts >= other)", "1 4"},
                 {"ts < ISO '2025-01-01T00:00:00Z' and ts > ISO '2000-01-01T00:00:00Z'", "0"},
                 {"ts < ISO '1970-01-01T00:00:00Z' or ts is null", "2 4"},
             });
}

TEST(FilterTypes, TimestampsWithoutOffsetAreOfTheZone) {
  const TimeZone shanghai = *TimeZone::Load("Asia/Shanghai");
  CheckCases(MomentSchema(), kMoments,
             {
                 {"ts == '2025-01-01T08:00:00'", "1"},
                 {"ts == ISO '2025-01-01T08:00:00'", "1"},
                 {"ts == '2025-01-01T00:00:00Z'", "1"},
                 {"ts == '2025-01-01T00:00:00'", ""},
                 {"ts in ['2025-01-01 08:00:00']", "1"},
             },
             shanghai);
}

TEST(FilterTypes, TimestampErrors) {
  const CollectionSchema schema = MomentSchema();
  EXPECT_NE(ErrorOf("ts == ISO '2025-13-01T00:00:00Z'", schema).find("can not convert compare string"),
            std::string::npos);
  EXPECT_NE(ErrorOf("ts == 'yesterday'", schema).find("cannot cast value to Timestamptz"), std::string::npos);
  EXPECT_NE(ErrorOf("ts in ['yesterday']", schema).find("in list cannot be casted to Timestamptz"), std::string::npos);
  EXPECT_NE(ErrorOf("ts == 5", schema).find("comparisons between Timestamptz and Int64 are not supported"),
            std::string::npos);
  EXPECT_NE(ErrorOf("ts == s", schema).find("comparisons between Timestamptz and VarChar are not supported"),
            std::string::npos);
  EXPECT_NE(ErrorOf("ts < n", schema).find("are not supported"), std::string::npos);
  EXPECT_NE(ErrorOf("n == ISO '2025-01-01T00:00:00Z'", schema).find("field 'n' is not a timestamptz datatype"),
            std::string::npos);
  EXPECT_NE(ErrorOf("ts + INTERVAL '1D' > ISO '2025-01-01T00:00:00Z'", schema).find("invalid ISO 8601 duration: 1D"),
            std::string::npos);
  EXPECT_NE(ErrorOf("ts + 1 == '2025-01-01T00:00:00Z'", schema).find("cannot perform arithmetic"), std::string::npos);
  EXPECT_NE(ErrorOf("ts like 'a%'", schema).find("like operation on non-string"), std::string::npos);
  TemplateValues values;
  values["t"] = Literal{std::string("2025-01-01T00:00:00Z")};
  EXPECT_EQ(ErrorOf("ts == {t}", schema, values), "accepted");
}

CollectionSchema TextSchema() {
  FieldSchema standard = TestField("s", DataType::kVarChar, true);
  standard.type_params = {{"enable_analyzer", "true"}, {"enable_match", "true"}};
  FieldSchema english = TestField("e", DataType::kText);
  english.type_params = standard.type_params;
  english.type_params.emplace_back("analyzer_params", R"({"type":"english"})");
  FieldSchema chinese = TestField("c", DataType::kVarChar);
  chinese.type_params = standard.type_params;
  chinese.type_params.emplace_back("analyzer_params", R"({"type":"chinese"})");
  return SchemaOf({standard, english, chinese, TestField("plain", DataType::kVarChar)});
}

TEST(FilterTypes, TextMatch) {
  CheckCases(TextSchema(),
             R"([{"s":"Vector databases, fast!","e":"The runner was running","c":"向量数据库","plain":""},
                 {"s":"a fast VECTOR","e":"dogs","c":"数据","plain":""},
                 {"e":"cats and dogs","c":"库存","plain":""},
                 {"s":"","e":"","c":"","plain":""},
                 {"s":"database","e":"run","c":"数库","plain":""}])",
             {
                 {"text_match(s, 'vector')", "0 1"},
                 {"TEXT_MATCH(s, 'Vector DATABASE')", "0 1 4"},
                 {"text_match(s, 'vect')", ""},
                 {"text_match(s, '!')", ""},
                 {"text_match(s, '')", ""},
                 {"not text_match(s, 'vector')", "3 4"},
                 {"text_match(s, 'fast vector a', minimum_should_match=2)", "0 1"},
                 {"text_match(s, 'fast vector a', minimum_should_match=3)", "1"},
                 {"text_match(s, 'fast vector', minimum_should_match=1000)", "0 1"},
                 {"text_match(s, 'fast') and text_match(s, 'databases')", "0"},
                 {"text_match(s, 'fast') or s is null", "0 1 2"},
                 {"text_match(e, 'runs')", "0 4"},
                 {"text_match(e, 'the')", ""},
                 {"text_match(e, 'dog')", "1 2"},
                 {"text_match(c, '数据')", "0 1"},
                 {"text_match(c, '库存')", "2"},
                 {"text_match_fuzzy(s, 'vektor', max_edit_distance=0)", ""},
                 {"text_match_fuzzy(s, 'vektor', max_edit_distance=1)", "0 1"},
                 {"text_match_fuzzy(s, 'VETCOR', max_edit_distance=1)", "0 1"},
                 {"text_match_fuzzy(s, 'databse', max_edit_distance=1)", "4"},
                 {"text_match_fuzzy(s, 'databse', max_edit_distance=2)", "0 4"},
                 {"text_match_fuzzy(s, 'fsat databse', max_edit_distance=1)", "0 1 4"},
                 {"text_match_fuzzy(s, 'vect', max_edit_distance=2)", "0 1"},
                 {"not text_match_fuzzy(s, 'vektor', max_edit_distance=1)", "3 4"},
                 {"text_match_fuzzy(s, '', max_edit_distance=2)", ""},
                 {"text_match_fuzzy(s, '...', max_edit_distance=2)", ""},
                 {"text_match_fuzzy(e, 'dosg', max_edit_distance=1)", "1 2"},
                 {"text_match_fuzzy(c, '数剧', max_edit_distance=1)", "0 1 4"},
                 {"phrase_match(s, 'vector databases')", "0"},
                 {"phrase_match(s, 'databases vector')", ""},
                 {"phrase_match(s, 'vector fast')", ""},
                 {"phrase_match(s, 'vector fast', 1)", "0"},
                 {"phrase_match(s, 'vector fast', 2)", "0 1"},
                 {"PHRASE_MATCH(e, 'cat and dog')", "2"},
                 {"phrase_match(c, '量数据')", "0"},
             });
}

TEST(FilterTypes, TextErrors) {
  const CollectionSchema schema = TextSchema();
  EXPECT_NE(ErrorOf("text_match(plain, 'a')", schema).find("field \"plain\" does not enable match"), std::string::npos);
  EXPECT_NE(
      ErrorOf("text_match(s, 'a', minimum_should_match=0)", schema).find("minimum_should_match should be >= 1, got 0"),
      std::string::npos);
  EXPECT_NE(ErrorOf("phrase_match(s, 'a b', -1)", schema).find("should not be a negative interger"), std::string::npos);
  EXPECT_NE(ErrorOf("e == 'x'", schema).find("filter on text field (e) is not supported yet"), std::string::npos);
  TemplateValues values;
  values["q"] = Literal{std::string("vector")};
  EXPECT_EQ(ErrorOf("text_match(s, {q})", schema, values), "accepted");
  EXPECT_EQ(ErrorOf("text_match_fuzzy(s, {q}, max_edit_distance=1)", schema, values), "accepted");
  values["q"] = Literal{int64_t{1}};
  const auto expect_fuzzy_error = [&](std::string_view arguments, std::string_view message) {
    const std::string error = ErrorOf(fmt::format("text_match_fuzzy({})", arguments), schema, values);
    EXPECT_NE(error.find(message), std::string::npos) << arguments << ": " << error;
  };
  expect_fuzzy_error("s, {q}, max_edit_distance=1", "query should be a string literal or template variable");
  expect_fuzzy_error("s, 123, max_edit_distance=1", "query should be a string literal or template variable");
  expect_fuzzy_error("s, 'a', fuzziness=1", "expected max_edit_distance");
  expect_fuzzy_error("s, 'a', max_edit_distance=-1", "max_edit_distance should be in [0, 2], got -1");
  expect_fuzzy_error("s, 'a', max_edit_distance=3", "max_edit_distance should be in [0, 2], got 3");
  expect_fuzzy_error("s, 'a', max_edit_distance=1.5", "expecting IntegerConstant");
  expect_fuzzy_error("s, 'a', max_edit_distance=9223372036854775808", "invalid max_edit_distance value");
  expect_fuzzy_error("s, 'a'", "expecting ','");
  expect_fuzzy_error("plain, 'a', max_edit_distance=1", "does not enable match");
}

CollectionSchema ShapeSchema() {
  return SchemaOf({TestField("g", DataType::kGeometry, true), TestField("n", DataType::kInt64)});
}

TEST(FilterTypes, Geometry) {
  CheckCases(ShapeSchema(),
             R"rows([{"g":"POINT (1 1)","n":0}, {"g":"POINT (5 5)","n":1}, {"n":2},
                 {"g":"LINESTRING (0 0, 10 10)","n":3},
                 {"g":"POLYGON ((4 4, 6 4, 6 6, 4 6, 4 4))","n":4},
                 {"g":"POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))","n":5}])rows",
             {
                 {"st_equals(g, 'POINT(1 1)')", "0"},
                 {"st_equals(g, 'LINESTRING (10 10, 0 0)')", "3"},
                 {"ST_WITHIN(g, 'POLYGON((0 0, 3 0, 3 3, 0 3, 0 0))') and n < 5", "0"},
                 {"st_intersects(g, 'POLYGON((0 0, 3 0, 3 3, 0 3, 0 0))') and n < 5", "0 3"},
                 {"not st_intersects(g, 'POINT (5 5)') and n < 5", "0"},
                 {"st_contains(g, 'POINT (5 5)') and n < 5", "1 3 4"},
                 {"st_contains(g, 'POINT (4 5)') and n < 5", ""},
                 {"st_touches(g, 'POINT (4 5)') and n < 5", "4"},
                 {"st_touches(g, 'POINT (10 10)') and n < 5", "3"},
                 {"st_crosses(g, 'POLYGON((4 4, 6 4, 6 6, 4 6, 4 4))') and n < 5", "3"},
                 {"st_overlaps(g, 'POLYGON((5 5, 7 5, 7 7, 5 7, 5 5))') and n < 5", "4"},
                 {"st_dwithin(g, 'POINT (1 1)', 0) and n < 5", "0 3"},
                 {"st_dwithin(g, 'POINT (1 2)', 111195) and n < 3", "0"},
                 {"st_dwithin(g, 'POINT (1 2)', 111194.0) and n < 3", ""},
                 {"st_isvalid(g)", "0 1 3 4"},
                 {"not st_isvalid(g)", "5"},
                 {"g is null", "2"},
                 {"g is not null", "0 1 3 4 5"},
             });
  const CollectionSchema schema = ShapeSchema();
  EXPECT_NE(ErrorOf("st_within(g, 'INVALID WKT')", schema).find("invalid WKT"), std::string::npos);
  EXPECT_NE(
      ErrorOf("st_dwithin(g, 'LINESTRING (0 0, 1 1)', 5)", schema).find("only supports POINT geometry: LINESTRING"),
      std::string::npos);
  EXPECT_NE(ErrorOf("g == 'POINT (1 1)'", schema).find("comparisons between Geometry and VarChar are not supported"),
            std::string::npos);
}

CollectionSchema RecordSchema() {
  std::vector<FieldSchema> fields = {TestField("r[n]", DataType::kArray, true, DataType::kInt32),
                                     TestField("r[s]", DataType::kArray, true, DataType::kVarChar),
                                     TestField("r[f]", DataType::kArray, true, DataType::kFloat),
                                     TestField("r[b]", DataType::kArray, true, DataType::kBool),
                                     TestField("n", DataType::kInt64)};
  for (FieldSchema& field : fields) {
    if (field.name != "n") field.struct_name = "r";
  }
  CollectionSchema schema = SchemaOf(std::move(fields));
  schema.struct_arrays.push_back({.name = "r"});
  return schema;
}

TEST(FilterTypes, StructArrays) {
  CheckCases(RecordSchema(),
             R"([{"n":0,"r[n]":[1,2,3],"r[s]":["a","b","c"],"r[f]":[0.1,0.2,0.3],"r[b]":[true,false,true]},
          {"n":1,"r[n]":[],"r[s]":[],"r[f]":[],"r[b]":[]},
          {"n":2},
          {"n":3,"r[n]":[3,3],"r[s]":["b","中"],"r[f]":[0.1,9],"r[b]":[false,false]},
          {"n":4,"r[n]":[-1],"r[s]":[""],"r[f]":[0.1],"r[b]":[true]}])",
             {
                 {"element_filter(r, $[n] > 2)", "0 3"},
                 {"element_filter(r, $[n] == 3 and $[s] == 'b')", "3"},  // of one element
                 {"element_filter(r, $[n] == 3 or $[s] == 'a')", "0 3"},
                 {"n > 0 and element_filter(r, $[n] > 2)", "3"},
                 {"element_filter(r, 3 > $[n] > 1)", "0"},
                 {"element_filter(r, $[n] in [-1, 2])", "0 4"},
                 {"element_filter(r, $[n] not in [1, 2, 3])", "4"},
                 {"element_filter(r, $[s] like '中%')", "3"},
                 {"element_filter(r, not ($[s] != ''))", "4"},
                 {"element_filter(r, $[f] == 0.1)", "0 3 4"},  // in single precision
                 {"element_filter(r, $[b] == true)", "0 4"},
                 {"element_filter(r, $[n] % 2 == 0)", "0"},
                 {"element_filter(r, $[n] > $[f])", "0 3"},
                 {"MATCH_ANY(r, $[n] == 2)", "0"},
                 {"match_all(r, $[n] == 3)", "1 3"},  // no element contradicts
                 {"MATCH_ALL(r, $[n] > 0 && $[s] != 'a')", "1 3"},
                 {"MATCH_LEAST(r, $[n] > 1, threshold=2)", "0 3"},
                 {"MATCH_LEAST(r, $[n] > 1, threshold=3)", ""},
                 {"MATCH_MOST(r, $[n] > 1, threshold=0)", "1 4"},
                 {"MATCH_MOST(r, $[n] > 1, threshold=1)", "1 4"},
                 {"MATCH_EXACT(r, $[n] == 3, threshold=2)", "3"},
                 {"MATCH_EXACT(r, $[n] == 3, threshold=0)", "1 4"},
                 {"not MATCH_ANY(r, $[n] == 2)", "1 3 4"},
                 {"MATCH_ANY(r, $[n] == 2) or n == 2", "0 2"},
                 {"MATCH_ANY(r, $[n] == 2) and n == 2", ""},
                 {"r[0][n] == 3", "3"},
                 {"r[1][n] >= 2", "0 3"},
                 {"r[0][s] in ['a', 'b']", "0 3"},
                 {"r[0][s] not in ['a']", "3 4"},
                 {"array_length(r) == 2", "3"},
                 {"array_length(r[s]) >= 1", "0 3 4"},
                 {"array_length(r) == 0", "1"},
                 {"array_contains(r[n], 3)", "0 3"},
                 {"array_contains_all(r[s], ['a', 'c'])", "0"},
                 {"r is null", "2"},
                 {"r is not null", "0 1 3 4"},
             });
}

TEST(FilterTypes, ConditionsOfSingleElements) {
  const CollectionSchema schema = RecordSchema();
  const FieldSchema& number = *schema.Find("r[n]");
  Column numbers = Column::Make(number.field_id, DataType::kArray, 0, DataType::kInt32);
  const auto append = [&numbers](const std::vector<int32_t>& values) {
    ArrayWriter writer(DataType::kInt32);
    for (const int32_t value : values) writer.AppendValue(value);
    numbers.Append(writer.Take());
  };
  append({5, 1, 7});
  append({});
  numbers.AppendNull();
  append({9, 9});
  std::vector<int32_t> many(4000);
  for (size_t i = 0; i < many.size(); ++i) many[i] = i % 1000 == 999 ? 8 : 0;
  append(many);  // together more than a chunk
  append(many);
  const auto condition_of = [&schema](const char* text) {
    const auto filter = Filter::Compile(text, schema);
    EXPECT_TRUE(filter.ok()) << filter.status().ToString();
    return ElementCondition::Of(**filter, schema, "r");
  };
  EXPECT_EQ(condition_of("n > 3"), nullptr);
  EXPECT_EQ(condition_of("MATCH_ANY(r, $[n] > 1)"), nullptr);
  const auto condition = condition_of("n >= 0 && element_filter(r, $[n] > 4)");
  ASSERT_NE(condition, nullptr);
  ASSERT_EQ(condition->field_ids(), std::vector<int64_t>{number.field_id});
  const ColumnView view = ViewOf(numbers);
  RowElements found;
  condition->Evaluate({&view, 1}, numbers.rows, nullptr, &found);
  const auto of = [&found](size_t row) {
    const auto span = found.Of(row);
    return std::vector<uint16_t>(span.begin(), span.end());
  };
  const std::vector<uint16_t> of_many{999, 1999, 2999, 3999};
  EXPECT_EQ(of(0), (std::vector<uint16_t>{0, 2}));
  EXPECT_TRUE(of(1).empty());
  EXPECT_TRUE(of(2).empty());
  EXPECT_EQ(of(3), (std::vector<uint16_t>{0, 1}));
  EXPECT_EQ(of(4), of_many);
  EXPECT_EQ(of(5), of_many);
  const uint64_t mask = 0b101001;
  condition->Evaluate({&view, 1}, numbers.rows, &mask, &found);
  EXPECT_EQ(of(0), (std::vector<uint16_t>{0, 2}));
  EXPECT_EQ(of(3), (std::vector<uint16_t>{0, 1}));
  EXPECT_TRUE(of(4).empty());
  EXPECT_EQ(of(5), of_many);
}

TEST(FilterTypes, StructArraysOfVectorsAlone) {
  FieldSchema vectors = TestField("r[v]", DataType::kArrayOfVector, true, DataType::kFloatVector);
  vectors.struct_name = "r";
  vectors.dim = 2;
  CollectionSchema schema = SchemaOf({vectors, TestField("n", DataType::kInt64)});
  schema.struct_arrays.push_back({.name = "r"});
  for (const char* text : {"array_length(r) == 2", "r is null", "n > 1 and r is not null"}) {
    EXPECT_TRUE(Filter::Compile(text, schema).ok()) << text;
  }
  for (const char* text : {"r[v] == 1", "r[0][v] == 1", "element_filter(r, $[v] > 1)", "array_contains(r[v], 1)",
                           "r[v] is null", "array_length(r[v]) == 1"}) {
    EXPECT_NE(ErrorOf(text, schema), "accepted") << text;
  }
}

TEST(FilterTypes, StructArrayErrors) {
  const CollectionSchema schema = RecordSchema();
  EXPECT_NE(ErrorOf("$[n] > 1", schema).find("can only be used inside element_filter or MATCH_*"), std::string::npos);
  EXPECT_NE(ErrorOf("element_filter(r, $[x] > 1)", schema).find("field r[x] not exist"), std::string::npos);
  EXPECT_NE(ErrorOf("element_filter(r, n > 1)", schema).find("only sub-fields"), std::string::npos);
  EXPECT_NE(ErrorOf("r[0][x] > 1", schema).find("field r[x] not exist"), std::string::npos);
  EXPECT_NE(ErrorOf("r == 1", schema).find("struct array field r can only be used by its sub-fields"),
            std::string::npos);
  EXPECT_NE(ErrorOf("MATCH_ANY(r, MATCH_ANY(r, $[n] > 1))", schema).find("nested"), std::string::npos);
  EXPECT_NE(ErrorOf("MATCH_ANY(n, $[n] > 1)", schema).find("struct array field n not exist"), std::string::npos);
  EXPECT_NE(ErrorOf("MATCH_LEAST(r, $[n] > 1, threshold=0)", schema).find("threshold of MATCH_LEAST must be >= 1"),
            std::string::npos);
  EXPECT_NE(ErrorOf("(n > 0 and element_filter(r, $[n] > 1)) or n == 3", schema)
                .find("element filter expression cannot be used in logical or expression"),
            std::string::npos);
  EXPECT_NE(ErrorOf("not (n > 0 and element_filter(r, $[n] > 1))", schema)
                .find("element filter expression cannot be used in unary expression"),
            std::string::npos);
  EXPECT_NE(ErrorOf("element_filter(r, $[n])", schema).find("must be a boolean expression"), std::string::npos);
}

// Elements of thousands of rows, and single arrays longer than a chunk of evaluation.
TEST(FilterTypes, ManyElements) {
  std::string rows = "[";
  const auto add = [&](size_t length, int value) {
    rows += rows.size() > 1 ? ",{" : "{";
    for (const char* name : {"n", "s", "f", "b"}) {
      std::string list;
      for (size_t i = 0; i < length; ++i) {
        const bool last = i + 1 == length;
        list += i == 0 ? "" : ",";
        if (*name == 'n') list += std::to_string(last ? value : 0);
        if (*name == 's') list += last ? "\"last\"" : "\"\"";
        if (*name == 'f') list += "1";
        if (*name == 'b') list += "false";
      }
      rows += fmt::format("\"r[{}]\":[{}],", name, list);
    }
    rows += "\"n\":1}";
  };
  for (int row = 0; row < 3000; ++row) add(3, row);
  add(9000, 7);
  const CollectionSchema schema = RecordSchema();
  const TestTable table(schema, rows + "]");
  const auto select = [&](std::string_view text) { return table.Select(**Filter::Compile(text, schema)); };
  EXPECT_EQ(select("MATCH_ANY(r, $[n] == 7)"), "7 3000");
  EXPECT_EQ(select("MATCH_ANY(r, $[n] == 2999 and $[s] == 'last')"), "2999");
  EXPECT_EQ(select("MATCH_LEAST(r, $[n] == 0, threshold=8999)"), "3000");
  EXPECT_EQ(select("MATCH_EXACT(r, $[n] == 0, threshold=3)"), "0");
}

class ManyRows final : public ColumnSource {
 public:
  explicit ManyRows(uint64_t first) : first_(first), column_(Column::Make(kFirstUserFieldId, DataType::kInt64)) {
    for (int64_t row = 0; row < kRows; ++row) column_.AppendValue(row);
  }
  static constexpr int64_t kRows = 100'000;
  [[nodiscard]] size_t row_count() const override { return kRows; }
  [[nodiscard]] ColumnView column(int64_t) const override { return ViewOf(column_); }
  [[nodiscard]] uint64_t first_row_id() const override { return first_; }
  [[nodiscard]] std::vector<uint64_t> Select(const Filter& filter) const {
    std::vector<uint64_t> mask((kRows + 63) / 64);
    filter.Evaluate(*this, mask.data());
    return mask;
  }

 private:
  uint64_t first_;
  Column column_;
};

TEST(FilterTypes, RandomSampleDrawsItsShare) {
  const CollectionSchema schema = SchemaOf({TestField("n", DataType::kInt64)});
  const ManyRows page(0);
  const ManyRows next(ManyRows::kRows);
  const auto count = [](const std::vector<uint64_t>& mask) {
    int64_t total = 0;
    for (const uint64_t word : mask) total += std::popcount(word);
    return total;
  };
  const auto filter = *Filter::Compile("random_sample(0.1)", schema);
  const std::vector<uint64_t> drawn = page.Select(*filter);
  // Six standard deviations.
  EXPECT_NEAR(static_cast<double>(count(drawn)), 10'000, 6 * std::sqrt(ManyRows::kRows * 0.1 * 0.9));
  EXPECT_EQ(page.Select(*filter), drawn);  // the draw of a filter stays the same
  EXPECT_NE(next.Select(*filter), drawn);  // other rows, another draw
  EXPECT_NE(page.Select(**Filter::Compile("random_sample(0.1)", schema)), drawn);
  const std::vector<uint64_t> half = page.Select(**Filter::Compile("n < 50000 and random_sample(0.5)", schema));
  EXPECT_NEAR(static_cast<double>(count(half)), 25'000, 6 * std::sqrt(50'000 * 0.25));
  for (size_t word = 50'000 / 64 + 1; word < half.size(); ++word) EXPECT_EQ(half[word], 0U);
}

TEST(FilterTypes, RandomSampleStandsLast) {
  const CollectionSchema schema = SchemaOf({TestField("n", DataType::kInt64)});
  EXPECT_NE(ErrorOf("random_sample(0.1) and n > 1", schema)
                .find("random sample expression can only be the last expression in the logical and expression"),
            std::string::npos);
  for (const char* text : {"n > 1 or random_sample(0.1)", "(n > 1 and random_sample(0.1)) or n < 0",
                           "not (n > 1 and random_sample(0.1))", "(n > 1 and random_sample(0.1)) and n < 0"}) {
    EXPECT_NE(ErrorOf(text, schema).find("random sample expression"), std::string::npos) << text;
  }
  for (const char* text :
       {"random_sample(0)", "random_sample(1)", "random_sample(0.00000000001)", "random_sample(-0.5)"}) {
    EXPECT_NE(ErrorOf(text, schema).find("the sample factor should be between 0 and 1"), std::string::npos) << text;
  }
  TemplateValues values;
  values["p"] = Literal{0.5};
  EXPECT_NE(ErrorOf("random_sample({p})", schema, values).find("should be a const float expression"),
            std::string::npos);
}

/// A page that tells facts and counts how often its values are asked for.
class FactPage final : public ColumnSource {
 public:
  FactPage(const CollectionSchema& schema, std::string_view rows) : table_(schema, rows) { table_.ServeFacts(true); }
  [[nodiscard]] size_t row_count() const override { return table_.row_count(); }
  [[nodiscard]] ColumnView column(int64_t field_id) const override {
    ++reads;
    return table_.column(field_id);
  }
  [[nodiscard]] bool Facts(int64_t field_id, PageFacts* facts) const override { return table_.Facts(field_id, facts); }
  mutable int reads = 0;

 private:
  TestTable table_;
};

TEST(FilterTypes, PagesAreSettledByTheirFacts) {
  const CollectionSchema schema = SchemaOf({TestField("n", DataType::kInt32), TestField("d", DataType::kDouble, true),
                                            TestField("s", DataType::kVarChar), TestField("t", DataType::kTimestamptz),
                                            TestField("b", DataType::kBool), TestField("z", DataType::kInt8, true)});
  const FactPage page(schema, R"([{"n":10,"d":1.5,"s":"ba","t":"2025-01-01T00:00:00Z","b":true},
                                  {"n":20,"s":"bz","t":"2025-06-01T00:00:00Z","b":true}])");
  const auto settled = [&](std::string_view text) -> std::string {
    const auto filter = Filter::Compile(text, schema);
    EXPECT_TRUE(filter.ok()) << text << filter.status().ToString();
    page.reads = 0;
    uint64_t mask = 0;
    (*filter)->Evaluate(page, &mask);
    if (page.reads != 0) return "read";
    return mask == 0 ? "none" : mask == 3 ? "all" : "?";
  };
  for (const char* text : {"n < 10",
                           "n > 20",
                           "n == 9",
                           "n in [1, 2, 30]" /* bounds overlap */,
                           "s < 'ba'",
                           "s like 'c%'",
                           "s like 'a%'",
                           "s == 'a'",
                           "d > 2",
                           "d in [5.0, 6.0]",
                           "t < '2025-01-01T00:00:00Z'",
                           "b == false",
                           "30 <= n < 40",
                           "n < 10 or s like 'x%'",
                           "n < 100 and s == 'zz'",
                           "z == 1",
                           "z != 1",
                           "not (n >= 10)",
                           "n is null",
                           "n + 1 == 0 and n > 50",
                           "not (z == 1)"}) {
    const std::string expected = std::string_view(text).starts_with("n in") ? "read" : "none";
    EXPECT_EQ(settled(text), expected) << text;
  }
  for (const char* text :
       {"n >= 10", "n <= 20", "n != 9", "s like 'b%'", "s >= 'ba'", "b == true", "t >= '2025-01-01T00:00:00Z'",
        "not (n < 10)", "n >= 10 and s like 'b%'", "n > 100 or b == true", "0 < n < 100", "z is null"}) {
    EXPECT_EQ(settled(text), "all") << text;
  }
  for (const char* text :
       {"n > 10", "n == 15", "d < 2", "s <= 'bz'", "n in [10, 20]", "d is null", "n >= 10 and d < 2"}) {
    EXPECT_NE(settled(text), "none") << text;
  }
  EXPECT_EQ(settled("d < 2"), "read");  // a NULL is neither
}

}  // namespace
}  // namespace quiver::expr
