#include "expr/like_pattern.h"

#include <gtest/gtest.h>

namespace quiver::expr {
namespace {

using Form = LikePattern::Form;

TEST(LikePattern, FindsTheFastForm) {
  EXPECT_EQ(LikePattern("abc").form(), Form::kEqual);
  EXPECT_EQ(LikePattern("").form(), Form::kEqual);
  EXPECT_EQ(LikePattern("abc%").form(), Form::kPrefix);
  EXPECT_EQ(LikePattern("%abc").form(), Form::kSuffix);
  EXPECT_EQ(LikePattern("%abc%%").form(), Form::kContains);
  EXPECT_EQ(LikePattern("%%").form(), Form::kAny);
  EXPECT_EQ(LikePattern("a%c").form(), Form::kGeneral);
  EXPECT_EQ(LikePattern("a_%").form(), Form::kGeneral);
  EXPECT_EQ(LikePattern(R"(a\%b%)").literal(), "a%b");
  EXPECT_EQ(LikePattern(R"(\\%)").literal(), "\\");
  EXPECT_EQ(LikePattern("x\\").literal(), "x\\");  // nothing left to escape
}

TEST(LikePattern, DoesNotOverlapParts) {
  const LikePattern pattern("ab%ba");
  EXPECT_TRUE(pattern.Matches("abba"));
  EXPECT_TRUE(pattern.Matches("abxba"));
  EXPECT_FALSE(pattern.Matches("aba"));
  EXPECT_FALSE(LikePattern("%a_a%a_a").Matches("xaba"));
  EXPECT_TRUE(LikePattern("%a_a%a_a").Matches("xabaaca"));
}

TEST(LikePattern, CountsCharacters) {
  EXPECT_TRUE(LikePattern("_").Matches("\xe4\xb8\xad"));
  EXPECT_FALSE(LikePattern("__").Matches("\xe4\xb8\xad"));
  EXPECT_TRUE(LikePattern("%_\xe6\x96\x87").Matches("a\xe4\xb8\xad\xe6\x96\x87"));
  EXPECT_FALSE(LikePattern("_\xe6\x96\x87").Matches("a\xe4\xb8\xad\xe6\x96\x87"));
  EXPECT_TRUE(LikePattern("%a_").Matches("a\xf0\x9f\x98\x80"));
  EXPECT_FALSE(LikePattern("_%").Matches(""));
  EXPECT_TRUE(LikePattern("%_%_%").Matches("ab"));
  EXPECT_FALSE(LikePattern("%_%_%").Matches("\xe4\xb8\xad"));
}

TEST(LikePattern, EscapesWildcards) {
  EXPECT_TRUE(LikePattern(R"(100\%)").Matches("100%"));
  EXPECT_FALSE(LikePattern(R"(100\%)").Matches("1000"));
  EXPECT_TRUE(LikePattern(R"(a\_b)").Matches("a_b"));
  EXPECT_FALSE(LikePattern(R"(a\_b)").Matches("axb"));
  EXPECT_TRUE(LikePattern(R"(a\\%)").Matches(R"(a\b)"));
}

}  // namespace
}  // namespace quiver::expr
