// What filters mean: hand-derived cases of rows, expression and the rows that pass.
#include "expr/filter.h"

#include <gtest/gtest.h>

#include <thread>

#include "expr/test_table.h"

namespace quiver::expr {
namespace {

struct Case {
  std::string_view text;
  std::string_view rows;
};

void CheckCases(const CollectionSchema& schema, std::string_view data, const std::vector<Case>& cases) {
  TestTable table(schema, data);
  for (const TestTable::TextForm form : TestTable::kTextForms) {
    table.Serve(form);
    for (const Case& one : cases) {
      const auto filter = Filter::Compile(one.text, schema);
      ASSERT_TRUE(filter.ok()) << one.text << "\n  " << filter.status().ToString();
      EXPECT_EQ(table.Select(**filter), one.rows) << one.text;
    }
  }
}

std::string ErrorOf(std::string_view text, const CollectionSchema& schema, const TemplateValues& values = {}) {
  const auto filter = Filter::Compile(text, schema, values);
  return filter.ok() ? "accepted" : filter.status().message();
}

TEST(FilterMeaning, Integers) {
  const CollectionSchema schema = SchemaOf({
      TestField("a", DataType::kInt64, true),
      TestField("i8", DataType::kInt8),
      TestField("i16", DataType::kInt16),
      TestField("i32", DataType::kInt32, true),
  });
  CheckCases(schema,
             R"([{"a":1,"i8":-128,"i16":300,"i32":7},
                 {"a":2,"i8":127,"i16":-32768,"i32":8},
                 {"i8":0,"i16":0},
                 {"a":-9223372036854775808,"i8":1,"i16":1,"i32":-2147483648},
                 {"a":9223372036854775807,"i8":2,"i16":2,"i32":2147483647},
                 {"a":0,"i8":3,"i16":3,"i32":0}])",
             {
                 {"a == 1", "0"},
                 {"1 == a", "0"},
                 {"a != 1", "1 3 4 5"},
                 {"not (a == 1)", "1 3 4 5"},
                 {"not (a != 1)", "0"},
                 {"a > 1", "1 4"},
                 {"1 < a", "1 4"},
                 {"a >= -9223372036854775808", "0 1 3 4 5"},
                 {"a < -9223372036854775808", ""},
                 {"a <= -9223372036854775808", "3"},
                 {"a > 9223372036854775807", ""},
                 {"a >= 9223372036854775807", "4"},
                 {"a == 0x7fffffffffffffff", "4"},
                 {"a == 0b10", "1"},
                 {"a == 02", "1"},
                 {"i16 == 0454", "0"},  // octal
                 {"0 < a <= 2", "0 1"},
                 {"2 > a >= 0", "0 5"},
                 {"0 <= a < 9223372036854775807", "0 1 5"},
                 {"i8 < 1000", "0 1 2 3 4 5"},
                 {"i8 > 1000", ""},
                 {"i8 != 1000", "0 1 2 3 4 5"},
                 {"i32 < 3000000000", "0 1 3 4 5"},
                 {"not (i32 < 3000000000)", ""},
                 {"not (i32 > 3000000000)", "0 1 3 4 5"},
                 {"i8 in [-128, 127, 5000]", "0 1"},
                 {"i8 not in [-128, 127, 5000]", "2 3 4 5"},
                 {"a in [1, 2, 3,]", "0 1"},
                 {"a not in [1, 2]", "3 4 5"},
                 {"not (a not in [1, 2])", "0 1"},
                 {"a in []", ""},
                 {"a not in []", "0 1 3 4 5"},
                 {"i8 not in []", "0 1 2 3 4 5"},
                 {"a is null", "2"},
                 {"a is not null", "0 1 3 4 5"},
                 {"i8 is null", ""},
                 {"i8 is not null", "0 1 2 3 4 5"},
                 // 64-bit arithmetic wraps around.
                 {"a + 1 == -9223372036854775808", "4"},
                 {"a - 1 == 9223372036854775807", "3"},
                 {"a * 2 == 0", "3 5"},
                 {"a / -1 == -9223372036854775808", "3"},
                 {"a % -1 == 0", "0 1 3 4 5"},
                 {"i8 + 1 == 128", "1"},  // not in 8 bits
                 {"i8 * 2 == -256", "0"},
                 {"i16 / 7 == 42", "0"},
                 {"i16 / 7 == -4681", "1"},  // towards zero
                 {"i16 % 7 == -1", "1"},     // the sign of the dividend
                 {"10 + i16 == 12", "4"},
                 {"3 * i16 == 900", "0"},
                 {"i16 + 1 + 2 - 3 == 300", "0"},
                 {"i16 * 2 * 5 == 30", "5"},
                 {"(i32 & 3) == 3", "0 4"},
                 {"((i32 & 7) & 3) == 0", "1 3 5"},
                 {"(i32 | 8) == 15", "0"},
                 {"(i32 ^ 7) == 15", "1"},
                 {"i32 << 1 == 14", "0"},
                 {"i32 >> 31 == -1", "3"},
                 {"not (i32 + 1 == 8)", "1 3 4 5"},
                 {"a == i32", "5"},
                 {"a < i32", "0 1 3"},
                 {"i8 != i16", "0 1"},
                 {"not (a == i32)", "0 1 3 4"},
                 {"a == 5 - 3 * 1", "1"},
                 {"a == 2 ** 1", "1"},
                 {"a == 7 % 4 - 2", "0"},
                 {"a == -(-1)", "0"},
             });
}

TEST(FilterMeaning, Floats) {
  const CollectionSchema schema = SchemaOf({TestField("f", DataType::kFloat, true),
                                            TestField("d", DataType::kDouble, true), TestField("i", DataType::kInt64)});
  CheckCases(schema,
             R"([{"f":0.1,"d":0.1,"i":9007199254740993},
                 {"f":0.5,"d":9007199254740992.0,"i":9007199254740992},
                 {"i":0},
                 {"f":-0.0,"d":-0.0,"i":0},
                 {"f":1e30,"d":1e300,"i":1},
                 {"f":3.14159265358979,"d":3.14159265358979,"i":3},
                 {"f":16777217,"d":9007199254740992.0,"i":9007199254740993}])",
             {
                 {"f == 0.1", "0"},  // the constant is rounded to single precision
                 {"d == 0.1", "0"},
                 {"f == 3.14159265358979", "5"},
                 {"f == 3.1415927", "5"},
                 {"d == 3.1415927", ""},
                 {"f > 0.1", "1 4 5 6"},
                 {"f >= 0.1", "0 1 4 5 6"},
                 {"f == 0", "3"},
                 {"f == -0.0", "3"},
                 {"d in [0]", "3"},
                 {"f in [0.1, 0.5, 7]", "0 1"},
                 {"f not in [0.1, 0.5]", "3 4 5 6"},
                 {"d in [0.1, 1e300]", "0 4"},
                 {"f == 16777217", "6"},
                 {"f == 16777216", "6"},
                 {"f < 1e300", "0 1 3 4 5 6"},  // too large for single precision: infinity
                 {"0.0 < f < 1.0", "0 1"},
                 {"1 >= f >= 0.1", "0 1"},
                 {"f + 1.1 == 1.2", "0"},
                 {"f * 2 == 1", "1"},
                 {"f / 2 == 0.25", "1"},
                 {"f - 0.5 == 0", "1"},
                 {"d + 1 > 1e299", "4"},
                 {"not (f > 0)", "3"},
                 {"f is null", "2"},
                 {"f == d", "3"},
                 {"d == i", "1 3"},  // exact: 2^53 + 1 is not 2^53
                 {"i > d", "0 6"},
                 {"i <= d", "1 3 4 5"},
             });
}

TEST(FilterMeaning, Booleans) {
  const CollectionSchema schema = SchemaOf({TestField("b", DataType::kBool, true), TestField("c", DataType::kBool)});
  CheckCases(schema, R"([{"b":true,"c":true},{"b":false,"c":true},{"c":false},{"b":false,"c":false}])",
             {
                 {"b == true", "0"},
                 {"b != true", "1 3"},
                 {"b == False", "1 3"},
                 {"not (b == TRUE)", "1 3"},
                 {"b in [true]", "0"},
                 {"b in [true, false]", "0 1 3"},
                 {"b not in [true]", "1 3"},
                 {"b not in []", "0 1 3"},
                 {"b == c", "0 3"},
                 {"b != c", "1"},
                 {"b is null", "2"},
                 {"c == true and true", "0 1"},
                 {"c == true or false", "0 1"},
                 {"true", "0 1 2 3"},
                 {"!true", ""},
                 {"true != false", "0 1 2 3"},
             });
}

TEST(FilterMeaning, Strings) {
  const CollectionSchema schema =
      SchemaOf({TestField("s", DataType::kVarChar, true), TestField("t", DataType::kVarChar)});
  CheckCases(schema,
             R"([{"s":"apple","t":"apple"},
                 {"s":"","t":"x"},
                 {"t":"apple"},
                 {"s":"100%","t":"_"},
                 {"s":"a_b\\c","t":"a"},
                 {"s":"\u4e2d\u6587abc","t":"\u4e2d\u6587"},
                 {"s":"it's \"so\"","t":"line\nfeed"},
                 {"s":"applepie","t":"b"}])",
             {
                 {R"(s == "apple")", "0"},
                 {"s == 'apple'", "0"},
                 {R"(s != "apple")", "1 3 4 5 6 7"},
                 {R"(not (s == "apple"))", "1 3 4 5 6 7"},
                 {R"(s == "")", "1"},
                 {"empty(s)", "1"},
                 {"not empty(s)", "0 3 4 5 6 7"},
                 {R"(s < "b")", "0 1 3 4 7"},
                 {R"(s >= "apple")", "0 5 6 7"},
                 {R"("a" <= s < "b")", "0 4 7"},
                 {R"("applez" > s > "apple")", "7"},
                 {R"(s in ["apple", "applepie", "nothing"])", "0 7"},
                 {R"(s not in ["apple", ""])", "3 4 5 6 7"},
                 {R"(s in [])", ""},
                 {R"(s like "apple%")", "0 7"},
                 {R"(s like "%e")", "0 7"},
                 {R"(s like "%ppl%")", "0 7"},
                 {R"(s like "a%e")", "0 7"},
                 {R"(s like "a%p%p%e")", "0 7"},
                 {R"(s like "apple")", "0"},
                 {R"(s like "%")", "0 1 3 4 5 6 7"},
                 {R"(s like "_%")", "0 3 4 5 6 7"},
                 {R"(s like "")", "1"},
                 {R"(s like "_____")", "0 4 5"},  // five characters, whatever their bytes
                 {R"(s like "____")", "3"},
                 {R"(s like "__abc")", "5"},
                 {R"(s like "\u4e2d_abc")", "5"},
                 {R"(s like "%\\%")", "3"},  // after the string escape: %\%
                 {R"(s like "a\\_b%")", "4"},
                 {R"(s like "%\\\\%")", "4"},
                 {R"(s like "1_0%")", "3"},
                 {R"(s like "%_pie")", "7"},
                 {R"(s like "%p_e")", "0 7"},
                 {R"(not (s like "apple%"))", "1 3 4 5 6"},
                 {"starts_with(s, \"app\")", "0 7"},
                 {"starts_with(s, \"100%\")", "3"},
                 {R"(s =~ "^app")", "0 7"},
                 {R"(s =~ "p+l")", "0 7"},
                 {R"(s !~ "p+l")", "1 3 4 5 6"},
                 {R"(s =~ "^\\d+%$")", "3"},
                 {R"(s =~ "\u4e2d.abc")", "5"},
                 {"s == '\u4e2d\u6587abc'", "5"},
                 {"s == '中文abc'", "5"},
                 {"s like '中%'", "5"},
                 {R"(s == 'it\'s "so"')", "6"},
                 {R"(s == "it's \"so\"")", "6"},
                 {R"(s == "a_b\\c")", "4"},
                 {R"(s == r"a_b\c")", "4"},
                 {R"(t == "line\nfeed")", "6"},
                 {R"(s == "\x61pple")", "0"},
                 {R"(s == "\141pple")", "0"},
                 {"s == t", "0"},
                 {"s > t", "4 5"},
                 {"s is null", "2"},
                 {R"(s == "apple" and t == "apple")", "0"},
                 {R"(s == "apple" or t == "apple")", "0 2"},
                 {R"(not (s == "apple") or t == "apple")", "0 1 2 3 4 5 6 7"},
                 {R"(not (s == "apple" and t == "b"))", "0 1 2 3 4 5 6 7"},
             });
}

TEST(FilterMeaning, ThreeValuedLogic) {
  const CollectionSchema schema =
      SchemaOf({TestField("x", DataType::kInt32, true), TestField("y", DataType::kInt32, true)});
  // Rows: (true, true), (true, false), (true, unknown), (false, false), (false, unknown), (unknown, unknown) for
  // x == 1, y == 1.
  CheckCases(schema, R"([{"x":1,"y":1},{"x":1,"y":0},{"x":1},{"x":0,"y":0},{"x":0},{}])",
             {
                 {"x == 1 and y == 1", "0"},
                 {"x == 1 or y == 1", "0 1 2"},
                 {"not (x == 1 and y == 1)", "1 3 4"},
                 {"not (x == 1 or y == 1)", "3"},
                 {"not (x == 1) and not (y == 1)", "3"},
                 {"not (x == 1) or not (y == 1)", "1 3 4"},
                 {"not (not (x == 1 and y == 1))", "0"},
                 {"!(x == 1 && y == 1) || x is null", "1 3 4 5"},
                 {"not (x == 1 and y is null)", "0 1 3 4"},
                 {"x == 1 and (y == 1 or y != 1)", "0 1"},
                 {"x in [1] and y not in [1]", "1"},
                 {"not (x in [] or y == 1)", "1 3"},
                 {"x == 1 or x == 0 or x == 5", "0 1 2 3 4"},
                 {"not (x == 1 or x == 0)", ""},
                 {"x != 1 and x != 7", "3 4"},
                 {"not (x != 1 and x != 7)", "0 1 2"},
                 {"x == 1 AND NOT (y == 1) OR y IS NULL", "1 2 4 5"},
             });
}

TEST(FilterMeaning, Json) {
  const CollectionSchema schema = SchemaOf({TestField("j", DataType::kJson, true)});
  CheckCases(schema,
             R"([{"j":{"a":1,"b":"x","c":{"d":[10,20,30]},"e":true}},
                 {"j":{"a":1.0,"b":"1","e":false,"g":[1,"2",3.0,[4,5],true]}},
                 {},
                 {"j":{"a":"1","b":null,"c":{"d":[]}}},
                 {"j":{"a":9223372036854775807,"b":"\u4e2d\n\"q\"","\u4e2d\u6587":5}},
                 {"j":{"a":9223372036854775808,"b":["x"]}},
                 {"j":{}},
                 {"j":"json: { \"a\" : -5.5e0 , \"a\":1, \"c\" : { \"d\" : 7 } , \"0\" : 3 } "},
                 {"j":"json:[11, {\"k\": 12}, 13]"},
                 {"j":"json:42"}])",
             {
                 {R"(j["a"] == 1)", "0 1"},
                 {R"(j["a"] == 1.0)", "0 1"},
                 {R"(j["a"] != 1)", "3 4 5 6 7 8 9"},  // missing or another type: true; NULL row: unknown
                 {R"(not (j["a"] == 1))", "3 4 5 6 7 8 9"},
                 {R"(not (j["a"] != 1))", "0 1"},
                 {R"(j["a"] == "1")", "3"},
                 {R"(j["a"] != "1")", "0 1 4 5 6 7 8 9"},
                 {R"(j["a"] > 0)", "0 1 4 5"},
                 {R"(not (j["a"] > 0))", "3 6 7 8 9"},
                 {R"(j["a"] == 9223372036854775807)", "4"},  // 64 bits are exact
                 {R"(j["a"] > 9223372036854775806)", "4 5"},
                 {R"(j["a"] == 9223372036854775808.0)", "5"},
                 {R"(j["a"] < 9223372036854775808.0)", "0 1 4 7"},
                 {R"(j["a"] == -5.5)", "7"},  // of repeated keys the first counts
                 {R"(-6 < j["a"] < 0)", "7"},
                 {R"(0 < j["a"] <= 1)", "0 1"},
                 {R"("0" < j["a"] < "2")", "3"},
                 {R"(j["a"] in [1, "1"])", "0 1 3"},
                 {R"(j["a"] in [1.0, 2.5])", "0 1"},
                 {R"(j["a"] in [9223372036854775808.0])", "5"},
                 {R"(j["a"] not in [1, "1"])", "4 5 6 7 8 9"},
                 {R"(j["a"] in [])", ""},
                 {R"(j["a"] not in [])", "0 1 3 4 5 6 7 8 9"},
                 {R"(j["a"] + 1 == 2)", "0 1"},
                 {R"(j["a"] * 2 == -11)", "7"},
                 {R"(j["a"] + 1 != 2)", "3 4 5 6 7 8 9"},
                 {R"(j["a"] + 1 == -9223372036854775808)", "4"},
                 {R"(j["a"] % 2 == 1)", "0 1 4"},
                 {R"(j["b"] == "x")", "0"},
                 {R"(j["b"] like "_")", "0 1"},
                 {R"(not (j["b"] like "_"))", "3 4 5 6 7 8 9"},
                 {R"(j["b"] like "中%")", "4"},
                 {R"(j["b"] == "中\n\"q\"")", "4"},
                 {R"(j["b"] =~ "q")", "4"},
                 {R"(j["b"] < "y")", "0 1"},
                 {R"(j["b"] is null)", "2 3 6 7 8 9"},
                 {R"(j["b"] is not null)", "0 1 4 5"},
                 {R"(exists j["b"])", "0 1 4 5"},
                 {R"(not exists j["b"])", "2 3 6 7 8 9"},
                 {R"(exists j["c"]["d"])", "0 3 7"},
                 {"j is null", "2"},
                 {"j is not null", "0 1 3 4 5 6 7 8 9"},
                 {R"(j["中文"] == 5)", "4"},
                 {R"(j["c"]["d"][0] == 10)", "0"},
                 {R"(j["c"]["d"][2] > 10)", "0"},
                 {R"(j["c"]["d"][3] == 10)", ""},
                 {R"(j["c"]["d"][3] != 10)", "0 1 3 4 5 6 7 8 9"},
                 {R"(j["c"]['d']["1"] == 20)", "0"},
                 {R"(j["c"]["d"] == 7)", "7"},
                 {R"(j["c"]["d"] == [10, 20, 30])", "0"},
                 {R"(j["c"]["d"] == [10, 20])", ""},
                 {R"(j["c"]["d"] == [])", "3"},
                 {R"(j["c"]["d"] != [10, 20, 30])", "1 3 4 5 6 7 8 9"},
                 {R"(j["e"] == true)", "0"},
                 {R"(j["e"] != true)", "1 3 4 5 6 7 8 9"},
                 {R"(j["e"] in [false, "x"])", "1"},
                 {R"(j["0"] == 3)", "7"},
                 {"j[0] == 11", "8"},
                 {"j[0] == 3", "7"},
                 {R"(j[1]["k"] == 12)", "8"},
                 {"j[2] >= 13", "8"},
                 {"j == 42", "9"},
                 {"j > 41.5", "9"},
                 {"j * 2 == 84", "9"},
                 {R"(json_contains(j["c"]["d"], 20))", "0"},
                 {R"(json_contains(j["g"], 3))", "1"},
                 {R"(json_contains(j["g"], "2"))", "1"},
                 {R"(json_contains(j["g"], 2))", ""},
                 {R"(json_contains(j["g"], [4, 5]))", "1"},
                 {R"(json_contains(j["g"], true))", "1"},
                 {R"(not json_contains(j["g"], true))", "0 3 4 5 6 7 8 9"},
                 {R"(json_contains_any(j["g"], [9, "2"]))", "1"},
                 {R"(json_contains_any(j["g"], []))", ""},
                 {R"(json_contains_all(j["c"]["d"], [10, 30]))", "0"},
                 {R"(json_contains_all(j["c"]["d"], [10, 31]))", ""},
                 {R"(json_contains_all(j["c"]["d"], []))", "0 3"},
                 {R"(JSON_CONTAINS(j["b"], "x"))", "5"},
                 {"json_contains(j, 13)", "8"},
                 {R"(array_length(j["c"]["d"]) == 3)", "0"},
                 {R"(array_length(j["c"]["d"]) == 0)", "1 3 4 5 6 7 8 9"},
                 {R"(array_length(j["g"]) >= 5)", "1"},
                 {R"(not (array_length(j["g"]) != 5))", "1"},
                 {R"(j["a"] == 1 or j["a"] == "1" or j["a"] == 3)", "0 1 3"},
                 {R"(j["a"] != 1 and j["a"] != "1")", "4 5 6 7 8 9"},
                 {R"(j["a"] == 1 and j["e"] == true)", "0"},
             });
}

TEST(FilterMeaning, DynamicKeys) {
  const CollectionSchema schema = SchemaOf({TestField("id", DataType::kInt64)}, true);
  CheckCases(schema,
             R"([{"id":0,"$meta":{"color":"red","size":3,"\u989c\u8272":"\u7ea2"}},
                 {"id":1,"$meta":{"color":"blue","tags":["a","b"]}},
                 {"id":2},
                 {"id":3,"$meta":{"size":"3","nested":{"k":{"z":1}}}}])",
             {
                 {R"(color == "red")", "0"},
                 {R"(color != "red")", "1 2 3"},
                 {R"($meta["color"] == "red")", "0"},
                 {"size > 2", "0"},
                 {"exists size", "0 3"},
                 {"size is null", "1 2"},
                 {R"(size in [3, "3"])", "0 3"},
                 {R"(nested["k"]["z"] == 1)", "3"},
                 {R"(array_contains(tags, "b"))", "1"},
                 {"array_length(tags) == 2", "1"},
                 {R"(tags[1] == "b")", "1"},
                 {R"(tags[5] == "b")", ""},
                 {R"(颜色 == "红")", "0"},
                 {"exists 颜色", "0"},
                 {"id < 2 and not exists tags", "0"},
                 {"1 < size < 5", "0"},
                 {"unknown_key == 1", ""},
                 {"unknown_key != 1", "0 1 2 3"},
                 {"unknown_key not in [1]", "0 1 2 3"},
             });
}

TEST(FilterMeaning, Arrays) {
  const CollectionSchema schema =
      SchemaOf({TestField("a", DataType::kArray, true, DataType::kInt64),
                TestField("s", DataType::kArray, true, DataType::kVarChar),
                TestField("f", DataType::kArray, true, DataType::kFloat),
                TestField("b", DataType::kArray, true, DataType::kBool), TestField("n", DataType::kInt64)});
  CheckCases(schema,
             R"([{"a":[1,2,3],"s":["x","yy","\u4e2d"],"f":[0.1,2],"b":[true,false],"n":1},
                 {"a":[],"s":[],"f":[],"b":[],"n":1},
                 {"n":1},
                 {"a":[3],"s":["x"],"f":[0.5],"b":[false],"n":3},
                 {"a":[1,1],"s":["","x"],"f":[2,0.1],"b":[true],"n":1}])",
             {
                 {"a[0] == 1", "0 4"},
                 {"a[0] != 1", "3"},  // a position beyond the end is unknown, as NULL is
                 {"not (a[0] == 1)", "3"},
                 {"a[2] == 3", "0"},
                 {"not (a[2] == 3)", ""},
                 {"a[0] in [1, 7]", "0 4"},
                 {"a[0] not in [1, 7]", "3"},
                 {"a[0] in []", ""},
                 {"1 < a[0] < 5", "3"},
                 {"a[0] + 2 == 5", "3"},
                 {"a[0] + 1 + 1 == 5", "3"},
                 {"a[0] % 2 == 1", "0 3 4"},
                 {"+a[0] == 3", "3"},
                 {"a[0] == n", "0 3 4"},
                 {"a == [1, 2, 3]", "0"},
                 {"a != [1, 2, 3]", "1 3 4"},
                 {"a == [1.0, 2.0, 3.0]", "0"},
                 {"a in []", ""},
                 {"array_contains(a, 1)", "0 4"},
                 {"not array_contains(a, 1)", "1 3"},
                 {"array_contains_all(a, [1, 3])", "0"},
                 {"array_contains_all(a, [1, 1])", "0 4"},
                 {"array_contains_all(a, [])", "0 1 3 4"},
                 {"array_contains_any(a, [2, 3])", "0 3"},
                 {"array_contains_any(a, [])", ""},
                 {"array_contains_any(a, [1.5, 3.0])", "0 3"},
                 {"array_contains_all(a, [1.5, 3.0])", ""},
                 {"array_length(a) == 0", "1"},
                 {"array_length(a) >= 2", "0 4"},
                 {"not (array_length(a) >= 2)", "1 3"},
                 {"a is null", "2"},
                 {"a is not null", "0 1 3 4"},
                 {R"(s[1] == "yy")", "0"},
                 {R"(s[1] like "_")", "4"},
                 {R"(s[2] like "_")", "0"},
                 {R"(s[0] =~ "x")", "0 3"},
                 {R"(s[0] < "y")", "0 3 4"},
                 {R"(s[0] in ["", "q"])", "4"},
                 {R"(array_contains(s, "x"))", "0 3 4"},
                 {R"(ARRAY_CONTAINS_ALL(s, ["x", ""]))", "4"},
                 {R"(array_contains_any(s, ["中", "q"]))", "0"},
                 {R"(s == ["x"])", "3"},
                 {"f[0] == 0.1", "0"},
                 {"f[0] + 0.5 == 1", "3"},
                 {"f[1] in [2]", "0"},
                 {"0 < f[0] < 0.3", "0"},
                 {"array_contains(f, 0.1)", "0 4"},
                 {"array_contains_all(f, [2, 0.1])", "0 4"},
                 {"f == [0.1, 2.0]", "0"},
                 {"b[0] == true", "0 4"},
                 {"b[0] in [false]", "3"},
                 {"array_contains(b, false)", "0 3"},
             });
}

TEST(FilterMeaning, PrecedenceIsTheLanguages) {
  const CollectionSchema schema = SchemaOf({TestField("a", DataType::kInt64), TestField("b", DataType::kInt64)}, true);
  CheckCases(schema, R"([{"a":1,"b":1},{"a":2,"b":3},{"a":3,"b":5}])",
             {
                 {"a == 1 or a == 2 and b == 1", "0"},
                 {"(a == 1 or a == 2) and b == 3", "1"},
                 {"a == 1 && b == 1 || a == 3", "0 2"},
                 {"not (a == 1) and b > 3", "2"},
                 {"!(a == 1) && !(a == 2)", "2"},
                 {"a + 2 * 3 == 8", "1"},  // the constants fold first
                 {"a == 2 ** 3 ** 0 + 2 - 1", "1"},
                 {"a == -2 ** 2 + 6", "1"},  // -(2 ** 2)
                 {"a == 1 << 1", "1"},
                 {"a == (6 & 3)", "1"},
                 {"a < b and b < 5", "1"},
                 {"1 < a < 1 + 2", "1"},
                 {"not exists c", "0 1 2"},
                 {"not c is null", ""},
             });
  EXPECT_NE(ErrorOf("not a == 1", schema).find("not op can only be applied on boolean expression"), std::string::npos);
  EXPECT_NE(ErrorOf("a & 2 == 2", schema).find("'bitand' cannot perform arithmetic between Int64 field and Bool"),
            std::string::npos);
  EXPECT_NE(ErrorOf("exists c > 10", schema).find("comparisons between Bool and Int64 are not supported"),
            std::string::npos);
}

TEST(FilterMeaning, YoungerFieldsHoldTheirDefaultOrNull) {
  CollectionSchema schema = SchemaOf({TestField("a", DataType::kInt64), TestField("n", DataType::kInt32, true),
                                      TestField("d", DataType::kVarChar), TestField("f", DataType::kFloat)},
                                     true);
  schema.fields[2].default_value = std::string("blue");
  schema.fields[3].default_value = 0.1;
  TestTable table(schema, R"([{"a":1},{"a":2}])");
  for (int64_t id = 101; id <= 104; ++id) table.Remove(id);
  const auto select = [&](std::string_view text) {
    const auto filter = Filter::Compile(text, schema);
    return filter.ok() ? table.Select(**filter) : filter.status().message();
  };
  EXPECT_EQ(select("n is null"), "0 1");
  EXPECT_EQ(select("n == 1"), "");
  EXPECT_EQ(select("not (n == 1)"), "");
  EXPECT_EQ(select("d == 'blue'"), "0 1");
  EXPECT_EQ(select("d != 'blue' or a == 2"), "1");
  EXPECT_EQ(select("f == 0.1"), "0 1");
  EXPECT_EQ(select("key != 3"), "0 1");
  EXPECT_EQ(select("exists key"), "");
}

TEST(FilterTemplates, StandForConstants) {
  const CollectionSchema schema =
      SchemaOf({TestField("a", DataType::kInt64), TestField("f", DataType::kDouble), TestField("s", DataType::kVarChar),
                TestField("l", DataType::kArray, false, DataType::kInt64)},
               true);
  TestTable table(schema, R"([{"a":1,"f":1.5,"s":"x","l":[1,2]},{"a":2,"f":2,"s":"yy","l":[3]},
                              {"a":3,"f":3,"s":"z","l":[],"$meta":{"k":7}}])");
  TemplateValues values;
  values["one"].value = int64_t{1};
  values["two"].value = int64_t{2};
  values["half"].value = 1.5;
  values["text"].value = std::string("yy");
  values["pattern"].value = std::string("_");
  values["ints"].value = Literal::Ints{1, 3, 99};
  values["none"].value = Literal::List{};
  values["mixed"].value = Literal::List{Literal{int64_t{7}}, Literal{std::string("q")}};
  const auto select = [&](std::string_view text) {
    const auto filter = Filter::Compile(text, schema, values);
    return filter.ok() ? table.Select(**filter) : filter.status().message();
  };
  EXPECT_EQ(select("a == {one}"), "0");
  EXPECT_EQ(select("{one} < a"), "1 2");
  EXPECT_EQ(select("f == {two}"), "1");
  EXPECT_EQ(select("f == {half}"), "0");
  EXPECT_EQ(select("s == {text}"), "1");
  EXPECT_EQ(select("s like {pattern}"), "0 2");
  EXPECT_EQ(select("a in {ints}"), "0 2");
  EXPECT_EQ(select("a not in {ints}"), "1");
  EXPECT_EQ(select("a in {none}"), "");
  EXPECT_EQ(select("k in {mixed}"), "2");
  EXPECT_EQ(select("{one} <= a < {two}"), "0");
  EXPECT_EQ(select("a + {one} == {two}"), "0");
  EXPECT_EQ(select("array_contains(l, {two})"), "0");
  EXPECT_EQ(select("array_contains_any(l, {ints})"), "0 1");
  EXPECT_EQ(select("array_length(l) == {one}"), "1");
  EXPECT_EQ(select("a == {nowhere}"), "the value of expression template variable name {nowhere} is not found");
  EXPECT_EQ(select("a == {half}"), "cannot cast value to Int64, value: float_val:1.5");
  EXPECT_EQ(select("a in {one}"), "the value of term expression template variable {one} is not array");
  EXPECT_EQ(select("s like {one}"), "the value of like expression template variable {one} is not string");
  EXPECT_NE(select("{one} == {two}").find("placeholder was not supported between two constants with operator: =="),
            std::string::npos);
  EXPECT_NE(select("a == 1 + {two}").find("placeholder was not supported between two constants with operator: +"),
            std::string::npos);
  EXPECT_NE(select("{two} < a < {one}").find("lowerbound is greater than upperbound"), std::string::npos);
}

TEST(FilterErrors, HaveThePublishedTexts) {
  CollectionSchema schema =
      SchemaOf({TestField("a", DataType::kInt64), TestField("s", DataType::kVarChar), TestField("j", DataType::kJson),
                TestField("b", DataType::kBool), TestField("l", DataType::kArray, false, DataType::kInt64)});
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"x > 1", "cannot parse expression: x > 1, error: field x not exist"},
      {"b", "predicate is not a boolean expression: b, data type: Bool"},
      {"a + 1", "predicate is not a boolean expression: a + 1, data type: Int64"},
      {"a == 1.5", "cannot parse expression: a == 1.5, error: cannot cast value to Int64, value: float_val:1.5"},
      {"a == 'x'", "cannot parse expression: a == 'x', error: comparisons between Int64 and VarChar are not supported"},
      {"a > b", "cannot parse expression: a > b, error: comparisons between Int64 and Bool are not supported"},
      {"j[\"x\"] > a",
       "cannot parse expression: j[\"x\"] > a, error: two column comparison with JSON type is not supported"},
      {"1 in [1]",
       "cannot parse expression: 1 in [1], error: 'term' can only be used on non-const expression, but got: 1"},
      {"(a + 8) in [1]",
       "cannot parse expression: (a + 8) in [1], error: 'term' can only be used on single field, but got: (a+8)"},
      {"a in 5", "cannot parse expression: a in 5, error: the right-hand side of 'in' must be a list, but got: 5"},
      {"a in ['q']",
       "cannot parse expression: a in ['q'], error: value 'string_val:\"q\"' in list cannot be casted to Int64"},
      {"2 - a == 1", "cannot parse expression: 2 - a == 1, error: module field is not yet supported"},
      {"a / 0 == 1", "cannot parse expression: a / 0 == 1, error: division or modulus by zero"},
      {"(a + 1) * 2 == 1",
       "cannot parse expression: (a + 1) * 2 == 1, error: complicated arithmetic operations are not supported"},
      {"a ** 2 > 1", "cannot parse expression: a ** 2 > 1, error: power can only apply on constants: a**2"},
      {"5 < a < 1", "cannot parse expression: 5 < a < 1, error: invalid range: lowerbound is greater than upperbound"},
      {"5 <= a < 5",
       "cannot parse expression: 5 <= a < 5, error: invalid range: lowerbound is greater than upperbound"},
      {"false < b < true",
       "cannot parse expression: false < b < true, error: invalid range operations on boolean expr"},
      {"a like 'x'",
       "cannot parse expression: a like 'x', error: like operation on non-string or no-json field is unsupported"},
      {"s =~ '('", "cannot parse expression: s =~ '(', error: invalid regex pattern: missing ): ("},
      {"exists j",
       "cannot parse expression: exists j, error: exists operations are only supported on json fields now, got: j"},
      {"l == 1", "cannot parse expression: l == 1, error: cannot cast value to Array, value: int64_val:1"},
      {"l > 1", "cannot parse expression: l > 1, error: can not comparisons array fields directly"},
      {"l['0'] == 1", "cannot parse expression: l['0'] == 1, error: can only access array field with integer index"},
      {"s['0'] == 1", "cannot parse expression: s['0'] == 1, error: VarChar data type not supported accessed with []"},
      {"a == 9223372036854775808",
       "cannot parse expression: a == 9223372036854775808, error: strconv.ParseInt: parsing \"9223372036854775808\": "
       "value out of range"},
      {"a = 1", "cannot parse expression: a = 1, error: invalid expression: a = 1"},
      {"a == ", "cannot parse expression: a == , error: line 1:5 mismatched input '<EOF>'"},
      {"(a == 1", "cannot parse expression: (a == 1, error: line 1:7 mismatched input '<EOF>' expecting ')'"},
      {"a == #", "cannot parse expression: a == #, error: line 1:5 token recognition error at: '#'"},
      {"a == 1\nand\n  )",
       "cannot parse expression: a == 1\nand\n  ), error: line 3:2 no viable alternative at input ')'"},
      {"text_match(s, 'x')", "cannot parse expression: text_match(s, 'x'), error: field \"s\" does not enable match"},
      {"random_sample(0.1) and a == 1",
       "cannot parse expression: random_sample(0.1) and a == 1, error: random sample expression can only be the last "
       "expression in the logical and expression"},
      {"a == 1 and random_sample(2.0)",
       "cannot parse expression: a == 1 and random_sample(2.0), error: the sample factor should be between 0 and 1 and "
       "not too close to 0 or 1(the difference should be larger than 1e-10), but got 2.0"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(ErrorOf(text, schema), message);
}

TEST(FilterFacts, EmptyTextIsTrueForAll) {
  const CollectionSchema schema = SchemaOf({TestField("a", DataType::kInt64)});
  for (const std::string_view text : {"", "  \n\t"}) {
    const auto filter = Filter::Compile(text, schema);
    ASSERT_TRUE(filter.ok());
    EXPECT_TRUE((*filter)->always_true());
    EXPECT_TRUE((*filter)->field_ids().empty());
  }
}

TEST(FilterFacts, ConstantsFold) {
  const CollectionSchema schema = SchemaOf({TestField("a", DataType::kInt64), TestField("i", DataType::kInt8)});
  const auto truth = [&](std::string_view text) {
    const auto filter = Filter::Compile(text, schema);
    if (!filter.ok()) return filter.status().message();
    return std::string((*filter)->always_true() ? "true" : (*filter)->always_false() ? "false" : "open");
  };
  EXPECT_EQ(truth("1 < 2 and 'a' == 'a'"), "true");
  EXPECT_EQ(truth("a == 1 or 1 < 2"), "true");
  EXPECT_EQ(truth("a == 1 and 1 > 2"), "false");
  EXPECT_EQ(truth("a in []"), "false");
  EXPECT_EQ(truth("a not in []"), "true");
  EXPECT_EQ(truth("i < 128"), "true");
  EXPECT_EQ(truth("i == 200"), "false");
  EXPECT_EQ(truth("i < 127"), "open");
  EXPECT_EQ(truth("a == 1 and true"), "open");
  EXPECT_EQ(truth("9007199254740993 == 9007199254740992.0"), "false");
}

TEST(FilterFacts, PrimaryKeysAndPartitionKeys) {
  CollectionSchema schema = SchemaOf(
      {TestField("id", DataType::kInt64), TestField("tenant", DataType::kVarChar), TestField("x", DataType::kInt64)});
  schema.fields[0].is_primary = true;
  schema.fields[1].is_partition_key = true;
  const auto compile = [&](std::string_view text) {
    auto filter = Filter::Compile(text, schema);
    EXPECT_TRUE(filter.ok()) << filter.status().ToString();
    return *filter;
  };
  using Ints = std::vector<int64_t>;
  auto filter = compile("id in [3, 1, 2, 3]");
  ASSERT_NE(filter->primary_keys(), nullptr);
  EXPECT_EQ(filter->primary_keys()->ints, (Ints{1, 2, 3}));
  EXPECT_EQ(filter->primary_key_candidates(), filter->primary_keys());

  filter = compile("5 == id");
  ASSERT_NE(filter->primary_keys(), nullptr);
  EXPECT_EQ(filter->primary_keys()->ints, Ints{5});

  filter = compile("id == 1 or id == 7 or id in [2]");
  ASSERT_NE(filter->primary_keys(), nullptr);
  EXPECT_EQ(filter->primary_keys()->ints, (Ints{1, 2, 7}));

  filter = compile("x > 1 and id in [1, 2] and tenant == 'a'");
  EXPECT_EQ(filter->primary_keys(), nullptr);
  ASSERT_NE(filter->primary_key_candidates(), nullptr);
  EXPECT_EQ(filter->primary_key_candidates()->ints, (Ints{1, 2}));
  ASSERT_NE(filter->partition_key_values(), nullptr);
  EXPECT_EQ(*filter->partition_key_values(), std::vector<ScalarValue>{std::string("a")});
  EXPECT_EQ(filter->field_ids(), (Ints{100, 101, 102}));

  filter = compile("id in [1, 2] or x == 1");
  EXPECT_EQ(filter->primary_key_candidates(), nullptr);
  EXPECT_EQ(filter->partition_key_values(), nullptr);
  EXPECT_EQ(compile("id not in [1]")->primary_key_candidates(), nullptr);
  EXPECT_EQ(compile("not (id == 1)")->primary_key_candidates(), nullptr);
  EXPECT_EQ(compile("id + 1 == 2")->primary_key_candidates(), nullptr);
}

TEST(FilterFacts, LargePagesAreEvaluatedInChunks) {
  const CollectionSchema schema =
      SchemaOf({TestField("id", DataType::kInt64), TestField("s", DataType::kVarChar, true)});
  std::string rows = "[";
  constexpr int kRows = 9001;
  for (int i = 0; i < kRows; ++i) {
    rows += fmt::format("{}{{\"id\":{}", i == 0 ? "" : ",", i);
    rows += i % 7 == 0 ? "}" : fmt::format(",\"s\":\"v{}\"}}", i % 5);
  }
  TestTable table(schema, rows + "]");
  const auto filter = Filter::Compile("(id > 5 and s == 'v3') or not (s like '%2') and id < 100", schema);
  ASSERT_TRUE(filter.ok());
  std::vector<uint64_t> mask((kRows + 63) / 64);
  (*filter)->Evaluate(table, mask.data());
  for (int i = 0; i < kRows; ++i) {
    const bool known = i % 7 != 0;
    const bool expected = known && ((i > 5 && i % 5 == 3) || (i % 5 != 2 && i < 100));
    const auto row = static_cast<size_t>(i);
    ASSERT_EQ((mask[row / 64] >> (row % 64)) & 1U, expected ? 1U : 0U) << i;
  }
  EXPECT_EQ(mask.back() >> (kRows % 64), 0U) << "bits beyond the last row";
}

TEST(FilterFacts, OneFilterServesManyThreads) {
  CollectionSchema schema = SchemaOf({TestField("a", DataType::kInt64), TestField("d", DataType::kInt32, true)}, true);
  TestTable table(schema, R"([{"a":1,"$meta":"json:{\"k\":\"\\u0041\"}"},{"a":2},{"a":3,"$meta":{"k":"A"}}])");
  table.Remove(101);
  const auto filter = Filter::Compile("k == 'A' and d is null or json_contains_all(k, [1])", schema);
  ASSERT_TRUE(filter.ok());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200; ++round) ASSERT_EQ(table.Select(**filter), "0 2");
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace quiver::expr
