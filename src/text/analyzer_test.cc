#include "text/analyzer.h"

#include <gtest/gtest.h>

#include "text/match.h"

namespace quiver::text {
namespace {

std::string Tokens(std::string_view params, std::string_view text) {
  const auto analyzer = Analyzer::Create(params);
  if (!analyzer.ok()) return analyzer.status().message();
  std::vector<Token> tokens;
  (*analyzer)->Analyze(text, &tokens);
  std::string shown;
  for (const Token& token : tokens) {
    shown += fmt::format("{}{}@{}", shown.empty() ? "" : " ", token.text, token.position);
    EXPECT_LT(token.begin, token.end);
    EXPECT_LE(token.end, text.size());
  }
  return shown;
}

TEST(Analyzer, StandardSplitsAtPunctuationAndLowersCase) {
  EXPECT_EQ(Tokens("", "The Milvus vector-database, built for SCALE!"),
            "the@0 milvus@1 vector@2 database@3 built@4 for@5 scale@6");
  EXPECT_EQ(Tokens("{}", "ÄRGER don't 3.14"), "ärger@0 don@1 t@2 3@3 14@4");
  EXPECT_EQ(Tokens("", "向量DB数据"), "向@0 量@1 db@2 数@3 据@4");
  EXPECT_EQ(Tokens("", " \t\n"), "");
  EXPECT_EQ(Tokens("", "a\xFFz\xE4"), "a@0 z@1");  // malformed bytes separate
  EXPECT_EQ(Tokens(R"({"type":"standard","stop_words":["of"]})", "Lord of Rings"), "lord@0 rings@2");
}

TEST(Analyzer, EnglishStemsAndDropsStopWords) {
  EXPECT_EQ(Tokens(R"({"type":"english"})", "The dogs are running in the houses"), "dog@1 run@3 hous@6");
}

TEST(Analyzer, ChineseTakesPairs) {
  EXPECT_EQ(Tokens(R"({"type":"chinese"})", "向量数据库 fast，快"), "向量@0 量数@1 数据@2 据库@3 fast@4 快@5");
}

TEST(Analyzer, CustomChains) {
  EXPECT_EQ(Tokens(R"({"tokenizer":"whitespace"})", "Ab-c  D"), "Ab-c@0 D@1");
  EXPECT_EQ(Tokens(R"({"tokenizer":"standard","filter":["lowercase",{"type":"stop","stop_words":["_english_","x"]},
                       {"type":"length","min":2,"max":4}]})",
                   "The X cat of elephants é"),
            "cat@2");
  EXPECT_EQ(
      Tokens(R"({"tokenizer":{"type":"standard"},"filter":["asciifolding",{"type":"stemmer","language":"french"}]})",
             "Résumé cœur"),
      "Resum@0 coeur@1");
  EXPECT_EQ(Tokens(R"({"tokenizer":"whitespace","filter":["removepunct","alphanumonly"]})", "a !! b2 é"), "a@0 b2@2");
  EXPECT_EQ(Tokens(R"({"tokenizer":"jieba","filter":["cncharonly"]})", "数据x 库"), "数据@0 库@2");
}

TEST(Analyzer, RefusesWhatItDoesNotKnow) {
  for (const char* params : {"[]", "{", R"({"type":1})", R"({"type":"klingon"})", R"({"tokenizer":"x"})",
                             R"({"filter":["lowercase"]})", R"({"tokenizer":"standard","filter":"lowercase"})",
                             R"({"tokenizer":"standard","filter":["nope"]})", R"({"type":"standard","x":1})",
                             R"({"tokenizer":"standard","filter":[{"type":"stemmer","language":"klingon"}]})",
                             R"({"tokenizer":"standard","filter":["stop"]})"}) {
    const auto analyzer = Analyzer::Create(params);
    ASSERT_FALSE(analyzer.ok()) << params;
    EXPECT_EQ(analyzer.status().code(), StatusCode::kInvalidParameter) << params;
  }
  for (const char* params :
       {R"({"tokenizer":"icu"})", R"({"type":"thai"})", R"({"tokenizer":"standard","filter":["pinyin"]})"}) {
    EXPECT_EQ(Analyzer::Create(params).status().code(), StatusCode::kUnimplemented) << params;
  }
}

TEST(Match, CountsDifferentTerms) {
  const auto analyzer = *Analyzer::Create("");
  const TermMatch any(analyzer, "Red, red blue", 1);
  EXPECT_TRUE(any.Matches("a RED car"));
  EXPECT_TRUE(any.Matches("blue"));
  EXPECT_FALSE(any.Matches("reddish"));
  const TermMatch both(analyzer, "red red blue", 2);
  EXPECT_FALSE(both.Matches("red red"));
  EXPECT_TRUE(both.Matches("blue and red"));
  EXPECT_TRUE(TermMatch(analyzer, "red blue", 1000).Matches("blue red"));  // all of them are enough
  EXPECT_FALSE(TermMatch(analyzer, "!?", 1).Matches("!?"));
}

TEST(Match, FuzzyCountsEditsByCharacter) {
  const auto analyzer = *Analyzer::Create("");
  const auto matches = [&](std::string_view query, size_t edits, std::string_view text) {
    return FuzzyMatch(analyzer, query, edits).Matches(text);
  };
  EXPECT_TRUE(matches("allergy", 0, "Allergy season"));
  EXPECT_FALSE(matches("alergy", 0, "Allergy season"));
  EXPECT_TRUE(matches("alergy", 1, "Allergy season"));
  EXPECT_FALSE(matches("fotbal", 1, "football"));
  EXPECT_TRUE(matches("fotbal", 2, "football"));
  EXPECT_TRUE(matches("muisc", 1, "music"));  // neighbours exchanged: one edit
  EXPECT_FALSE(matches("ca", 2, "abc"));      // exchanged ones are not edited again: three edits
  EXPECT_TRUE(matches("äöü", 1, "äxü"));      // characters, not bytes
  EXPECT_TRUE(matches("x", 1, "y"));
  EXPECT_FALSE(matches("x", 1, "yz"));
  EXPECT_TRUE(matches("alergy aple", 1, "an apple"));
  EXPECT_FALSE(matches("", 2, "a"));
  EXPECT_FALSE(matches("a", 2, ""));
}

TEST(Match, PhrasesKeepOrderWithinSlop) {
  const auto analyzer = *Analyzer::Create("");
  const auto matches = [&](std::string_view query, uint32_t slop, std::string_view text) {
    return PhraseMatch(analyzer, query, slop).Matches(text);
  };
  EXPECT_TRUE(matches("machine learning", 0, "On Machine Learning today"));
  EXPECT_FALSE(matches("machine learning", 0, "learning machine"));
  EXPECT_FALSE(matches("machine learning", 0, "machine deep learning"));
  EXPECT_TRUE(matches("machine learning", 1, "machine deep learning"));
  EXPECT_FALSE(matches("machine learning", 1, "learning machine"));
  EXPECT_TRUE(matches("machine learning", 2, "learning machine"));
  EXPECT_TRUE(matches("a b", 0, "a a c a b"));
  EXPECT_FALSE(matches("a a", 0, "a b"));
  EXPECT_FALSE(matches("", 5, "a"));
}

}  // namespace
}  // namespace quiver::text
