#include "expr/syntax.h"

#include <gtest/gtest.h>

#include <ctime>

#include "expr/test_table.h"

namespace quiver::expr {
namespace {

std::vector<TokenKind> KindsOf(std::string_view text) {
  std::vector<TokenKind> kinds;
  Lexer lexer(text);
  for (Token token = lexer.Next(); token.kind != TokenKind::kEnd; token = lexer.Next()) kinds.push_back(token.kind);
  return kinds;
}

TEST(Lexer, TakesTheLongestToken) {
  using K = TokenKind;
  EXPECT_EQ(KindsOf("a<=b<<c<d"),
            (std::vector<K>{K::kName, K::kLessEqual, K::kName, K::kShiftLeft, K::kName, K::kLess, K::kName}));
  EXPECT_EQ(KindsOf("a**b*c"), (std::vector<K>{K::kName, K::kPower, K::kName, K::kStar, K::kName}));
  EXPECT_EQ(KindsOf("a=~b!~c!=!d"), (std::vector<K>{K::kName, K::kRegexMatch, K::kName, K::kRegexNotMatch, K::kName,
                                                    K::kNotEqual, K::kNot, K::kName}));
  EXPECT_EQ(KindsOf("a&&b&c||d|e"),
            (std::vector<K>{K::kName, K::kAnd, K::kName, K::kBitAnd, K::kName, K::kOr, K::kName, K::kBitOr, K::kName}));
}

TEST(Lexer, KnowsKeywordsInTwoSpellings) {
  using K = TokenKind;
  EXPECT_EQ(KindsOf("and AND And or OR Or not NOT in IN like LIKE exists EXISTS"),
            (std::vector<K>{K::kAnd, K::kAnd, K::kName, K::kOr, K::kOr, K::kName, K::kNot, K::kNot, K::kIn, K::kIn,
                            K::kLike, K::kLike, K::kExists, K::kExists}));
  EXPECT_EQ(KindsOf("is null"), std::vector<K>{K::kIsNull});
  EXPECT_EQ(KindsOf("IS NOT NULL"), std::vector<K>{K::kIsNotNull});
  EXPECT_EQ(KindsOf("IS  NULL"), (std::vector<K>{K::kName, K::kName}));
  EXPECT_EQ(KindsOf("Is Null"), (std::vector<K>{K::kName, K::kName}));
  EXPECT_EQ(KindsOf("true True TRUE tRUE false"), (std::vector<K>{K::kTrue, K::kTrue, K::kTrue, K::kName, K::kFalse}));
}

TEST(Lexer, ReadsNumbers) {
  using K = TokenKind;
  for (const std::string_view text : {"0", "7", "017", "0x1F", "0XaB", "0b101", "9223372036854775807"}) {
    EXPECT_EQ(KindsOf(text), std::vector<K>{K::kInteger}) << text;
  }
  for (const std::string_view text :
       {"1.", ".5", "0.5", "1e10", "1E-3", "1.5e+3", "0x1p-2", "0x1.8p1", "08.5", "09e1"}) {
    EXPECT_EQ(KindsOf(text), std::vector<K>{K::kFloat}) << text;
  }
  EXPECT_EQ(KindsOf("08"), (std::vector<K>{K::kInteger, K::kInteger}));
  EXPECT_EQ(KindsOf("0x"), (std::vector<K>{K::kInteger, K::kName}));
  EXPECT_EQ(KindsOf("1e"), (std::vector<K>{K::kInteger, K::kName}));
}

TEST(Lexer, ReadsPathsAsOneToken) {
  using K = TokenKind;
  EXPECT_EQ(KindsOf(R"(a["k"]['l'][0])"), std::vector<K>{K::kPath});
  EXPECT_EQ(KindsOf(R"($meta["k"])"), std::vector<K>{K::kPath});
  EXPECT_EQ(KindsOf(R"(a["]"])"), std::vector<K>{K::kPath});
  EXPECT_EQ(KindsOf("a[b]"), std::vector<K>{K::kStructField});
  EXPECT_EQ(KindsOf("a[0][b]"), std::vector<K>{K::kStructIndexField});
  EXPECT_EQ(KindsOf("$[b]"), std::vector<K>{K::kSubField});
  EXPECT_EQ(KindsOf("a [0]"), (std::vector<K>{K::kName, K::kLeftBracket, K::kInteger, K::kRightBracket}));
  EXPECT_EQ(KindsOf("in[0]"), (std::vector<K>{K::kIn, K::kLeftBracket, K::kInteger, K::kRightBracket}));
  EXPECT_EQ(KindsOf("\xe4\xb8\xad\xe6\x96\x87_1"), std::vector<K>{K::kName});
  EXPECT_EQ(KindsOf("\xc3\xa9"), std::vector<K>{K::kError});  // a letter, but not Han
  EXPECT_EQ(KindsOf("\xff"), std::vector<K>{K::kError});
  EXPECT_EQ(KindsOf("'open"), std::vector<K>{K::kError});
  EXPECT_EQ(KindsOf("'line\nfeed'").front(), K::kError);
}

TEST(UnescapeString, AcceptsThePublishedEscapesOnly) {
  const auto decode = [](std::string_view token) {
    std::string text;
    return UnescapeString(token, &text) ? text : "refused";
  };
  EXPECT_EQ(decode(R"("a\n\t\\\"\'b")"), "a\n\t\\\"'b");
  EXPECT_EQ(decode(R"('\a\b\f\r\v')"), "\a\b\f\r\v");
  EXPECT_EQ(decode(R"("\x41\101\u4e2d\U0001F600")"), "AA\xe4\xb8\xad\xf0\x9f\x98\x80");
  EXPECT_EQ(decode(R"("\3678")"),
            "\xf7"
            "8");
  EXPECT_EQ(decode(R"(r"\n\d")"), R"(\n\d)");
  EXPECT_EQ(decode(R"(u8"x")"), "x");
  EXPECT_EQ(decode(R"("\423")"), "refused");
  EXPECT_EQ(decode(R"("\37")"), "refused");
  EXPECT_EQ(decode(R"("\x4")"), "refused");
  EXPECT_EQ(decode(R"("\uD800")"), "refused");
  EXPECT_EQ(decode(R"("\q")"), "refused");
  EXPECT_EQ(decode(R"("\?")"), "refused");
}

std::string Repeated(std::string_view text, size_t count) {
  std::string result;
  for (size_t i = 0; i < count; ++i) result += text;
  return result;
}

CollectionSchema OneField() { return SchemaOf({TestField("a", DataType::kInt64), TestField("s", DataType::kVarChar)}); }

TEST(Parser, LimitsNestingDepth) {
  const CollectionSchema schema = OneField();
  const auto verdict = [&](const std::string& text) {
    const auto filter = Filter::Compile(text, schema);
    return filter.ok() ? std::string("ok") : filter.status().message();
  };
  EXPECT_EQ(verdict(Repeated("(", 200) + "a > 0" + Repeated(")", 200)), "ok");
  EXPECT_EQ(verdict(Repeated("not ", 200) + "(a > 0)"), "ok");
  EXPECT_EQ(verdict(Repeated("not (", 150) + "a > 0" + Repeated(")", 150)), "ok");
  for (const std::string& text :
       {Repeated("(", 100'000) + "a > 0" + Repeated(")", 100'000), Repeated("not ", 100'000) + "(a > 0)",
        Repeated("-", 100'000) + "1 == a", "a == 1" + Repeated(" + 1", 100'000), "a in " + Repeated("[", 100'000),
        Repeated("exists ", 100'000) + "a", Repeated("1 < ", 100'000) + "a", "f" + Repeated("(f", 100'000),
        "a" + Repeated(" in [a", 100'000), Repeated("a == 1 and (b or (", 100'000)}) {
    EXPECT_NE(verdict(text).find("nesting depth"), std::string::npos) << text.substr(0, 40);
  }
}

TEST(Parser, TakesLongChains) {
  std::string text = "a == 0";
  for (int i = 1; i < 20'000; ++i) text += fmt::format(" or a == {}", i * 3);
  auto filter = Filter::Compile(text, OneField());
  ASSERT_TRUE(filter.ok()) << filter.status().message().substr(0, 200);
  text = "a != 0";
  for (int i = 1; i < 20'000; ++i) text += fmt::format(" && s != '{}'", i);
  filter = Filter::Compile(text, OneField());
  ASSERT_TRUE(filter.ok()) << filter.status().message().substr(0, 200);
}

TEST(Parser, ReadsTenMegabytesOfListQuickly) {
  std::string ints = "a in [";
  for (int64_t i = 0; ints.size() < 10'000'000; ++i) ints += fmt::format("{},", i * 7919 % 1'000'000'007);
  ints.back() = ']';
  std::string strings = "s in [";
  for (int64_t i = 0; strings.size() < 10'000'000; ++i) strings += fmt::format("'key-{}',", i);
  strings.back() = ']';
  for (const std::string& text : {ints, strings}) {
    const std::clock_t begin = std::clock();  // CPU time: the machine may be busy
    const auto filter = Filter::Compile(text, OneField());
    const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    ASSERT_TRUE(filter.ok()) << filter.status().message().substr(0, 200);
    RecordProperty(text.substr(0, 1), std::to_string(seconds));
    EXPECT_LT(seconds, 10) << "a guard against quadratic work, not a measurement";
  }
}

TEST(Parser, CutsLongTextsInErrors) {
  const std::string text = "a == 'x" + Repeated("\xe4\xb8\xad", 1'000'000) + "'";
  const auto filter = Filter::Compile(text, OneField());
  ASSERT_FALSE(filter.ok());
  EXPECT_LT(filter.status().message().size(), 10'000U);
  EXPECT_NE(filter.status().message().find("\xe4\xb8\xad..., error: "), std::string::npos);
}

TEST(Parser, QuotesNodesWithoutBlanks) {
  const auto tree = SyntaxTree::Parse("( a  +  8 ) in [ 1 , 'x  y' ]");
  ASSERT_TRUE(tree.ok());
  EXPECT_EQ((*tree)->TextOf((*tree)->root()), "(a+8)in[1,'x  y']");
  EXPECT_EQ((*tree)->TextOf(*(*tree)->root().children[0]), "(a+8)");
}

}  // namespace
}  // namespace quiver::expr
