// File: expr/like_pattern.h
// LikePattern: a compiled `like` pattern. `%` stands for any run of characters, `_` for one character (not byte), a
// backslash takes the next character as it is. Equality, prefix, suffix and contains have their own fast paths.
// Thread rule: immutable once built.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quiver::expr {

class LikePattern {
 public:
  explicit LikePattern(std::string_view pattern);

  [[nodiscard]] bool Matches(std::string_view text) const;

  enum class Form : uint8_t { kEqual, kPrefix, kSuffix, kContains, kAny, kGeneral };
  [[nodiscard]] Form form() const { return form_; }
  /// The text of the first four forms.
  [[nodiscard]] const std::string& literal() const { return segments_.front().literal; }

  /// What every text that matches begins with.
  [[nodiscard]] std::string_view prefix() const;
  /// Texts that stand as they are in every text that matches.
  [[nodiscard]] std::vector<std::string_view> Runs() const;

 private:
  /// A run without `%`: literal bytes, with the offsets in it before which a `_` stands (repeated for several).
  struct Segment {
    std::string literal;
    std::vector<size_t> wildcards;
  };
  /// Matches the segment at the start of `text`; returns the bytes used, or npos.
  static size_t MatchHere(const Segment& segment, std::string_view text);
  /// Finds the first match at or after `from`; returns its end, or npos.
  static size_t FindAfter(const Segment& segment, std::string_view text, size_t from);
  /// Returns the start of the match that ends with the text, or npos.
  static size_t MatchAtEnd(const Segment& segment, std::string_view text);

  Form form_ = Form::kGeneral;
  std::vector<Segment> segments_;  // between the `%`s: first anchored at the start, last at the end
};

/// The least text above all texts with this prefix; empty where there is none.
std::string AfterPrefix(std::string prefix);

}  // namespace quiver::expr
