#include "expr/json_scan.h"

#include <gtest/gtest.h>

#include <vector>

namespace quiver::expr {
namespace {

PathStep Key(std::string key) { return {.key = std::move(key), .index = -1, .quoted = true}; }
PathStep Position(int64_t index) { return {.key = std::to_string(index), .index = index, .quoted = false}; }

JsonValue Find(std::string_view json, const std::vector<PathStep>& path) { return FindJson(json, path); }

TEST(FindJson, WalksKeysAndPositions) {
  constexpr std::string_view kJson =
      R"( { "a" : { "b\"c" : [ 1 , {"x":"y"} , "z" ] } , "1" : null , "\u4e2d" : true } )";
  EXPECT_EQ(Find(kJson, {Key("a"), Key("b\"c"), Position(0)}).text, "1");
  EXPECT_EQ(Find(kJson, {Key("a"), Key("b\"c"), Position(1), Key("x")}).text, "y");
  EXPECT_EQ(Find(kJson, {Key("a"), Key("b\"c"), Position(2)}).type, JsonType::kString);
  EXPECT_EQ(Find(kJson, {Key("a"), Key("b\"c"), Position(3)}).type, JsonType::kMissing);
  EXPECT_EQ(Find(kJson, {Position(1)}).type, JsonType::kNull);
  EXPECT_EQ(Find(kJson, {Key("\xe4\xb8\xad")}).type, JsonType::kBool);
  EXPECT_EQ(Find(kJson, {}).type, JsonType::kObject);
  EXPECT_EQ(Find(kJson, {Key("a"), Key("nothing")}).type, JsonType::kMissing);
  EXPECT_EQ(Find(kJson, {Key("a"), Key("b\"c"), Key("k")}).type, JsonType::kMissing);
  EXPECT_EQ(Find("5", {Key("a")}).type, JsonType::kMissing);
}

TEST(FindJson, IsNotFooledByStringsBesideThePath) {
  EXPECT_EQ(Find(R"({"s":"\"a\":1,}]","a":2})", {Key("a")}).text, "2");
  EXPECT_EQ(Find(R"({"s":{"a":"}\\"},"a":3})", {Key("a")}).text, "3");
  EXPECT_EQ(Find(R"({"a\\":1,"a":4})", {Key("a")}).text, "4");
  const std::string longer = R"({"s":")" + std::string(100, 'x') + R"(\")" + std::string(100, 'y') + R"(","a":5})";
  EXPECT_EQ(Find(longer, {Key("a")}).text, "5");
}

TEST(FindJson, ReadsMalformedTextAsMissing) {
  for (const std::string_view json : {"", " ", "{", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":[1", "{\"a\":\"x",
                                      "{\"a\":\"x\\", "[", "]", "{\"b\":1 \"a\":2}", "{a:1}", "{\"a\":nul}"}) {
    const JsonValue value = Find(json, {Key("a")});
    EXPECT_EQ(value.type, JsonType::kMissing) << json;
  }
}

TEST(JsonStringText, DecodesEscapes) {
  std::string buffer;
  EXPECT_EQ(JsonStringText(Find(R"("a\n\u4e2d\ud83d\ude00\/\"")", {}), &buffer), "a\n\xe4\xb8\xad\xf0\x9f\x98\x80/\"");
  EXPECT_EQ(JsonStringText(Find(R"("plain")", {}), &buffer), "plain");
}

TEST(JsonNumber, KeepsIntegersExact) {
  JsonNumber number;
  ASSERT_TRUE(ReadJsonNumber("9223372036854775807", &number));
  EXPECT_EQ(Compare(number, INT64_MAX), std::partial_ordering::equivalent);
  EXPECT_EQ(Compare(number, 9223372036854775808.0), std::partial_ordering::less);
  ASSERT_TRUE(ReadJsonNumber("18446744073709551615", &number));
  EXPECT_EQ(Compare(number, INT64_MAX), std::partial_ordering::greater);
  EXPECT_EQ(Compare(number, 18446744073709551616.0), std::partial_ordering::less);
  ASSERT_TRUE(ReadJsonNumber("9007199254740993", &number));
  EXPECT_EQ(Compare(number, 9007199254740992.0), std::partial_ordering::greater);
  ASSERT_TRUE(ReadJsonNumber("1e2", &number));
  EXPECT_EQ(Compare(number, int64_t{100}), std::partial_ordering::equivalent);
  ASSERT_TRUE(ReadJsonNumber("-0.0", &number));
  EXPECT_EQ(Compare(number, int64_t{0}), std::partial_ordering::equivalent);
  EXPECT_FALSE(ReadJsonNumber("1x", &number));
  EXPECT_FALSE(ReadJsonNumber("-", &number));
}

TEST(JsonArrayCursor, GivesEachElement) {
  JsonArrayCursor cursor(Find(R"([1, "a,]", [2,3], {"k":[]}, null])", {}));
  JsonValue element;
  std::vector<JsonType> types;
  while (cursor.Next(&element)) types.push_back(element.type);
  EXPECT_EQ(types, (std::vector<JsonType>{JsonType::kNumber, JsonType::kString, JsonType::kArray, JsonType::kObject,
                                          JsonType::kNull}));
  JsonArrayCursor empty(Find("[ ]", {}));
  EXPECT_FALSE(empty.Next(&element));
  JsonArrayCursor none(Find("5", {}));
  EXPECT_FALSE(none.Next(&element));
}

}  // namespace
}  // namespace quiver::expr
