// File: text/analyzer.h
// Analyzer: cuts a text into the tokens that full-text matching compares.
//
//   QUIVER_ASSIGN_OR_RETURN(auto analyzer, Analyzer::Create(R"({"type": "english"})"));
//   analyzer->Analyze("Running dogs", &tokens);   // "run" at 0, "dog" at 1
//
// The parameters are the published `analyzer_params`: a built-in (`{"type": "standard" | "english" | "chinese",
// "stop_words": [...]}`) or a tokenizer with filters (`{"tokenizer": "standard" | "whitespace" | "jieba", "filter":
// ["lowercase", {"type": "stop", "stop_words": [...]}, ...]}`). No parameters mean `standard`. docs/filter.md describes
// what each of them does.
// Thread rule: immutable once created; safe to use from many threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace quiver::text {

struct Token {
  std::string text;
  size_t begin = 0;  ///< bytes in the text that was analyzed
  size_t end = 0;
  uint32_t position = 0;  ///< counted by the tokenizer: filters that drop tokens leave gaps
};

class Analyzer {
 public:
  virtual ~Analyzer() = default;

  /// Errors: kInvalidParameter for what is no description of an analyzer; kUnimplemented "... is not supported yet" for
  /// published tokenizers and filters that are not built.
  static Result<std::shared_ptr<const Analyzer>> Create(std::string_view params);

  /// Replaces `tokens` by those of the text, in its order.
  virtual void Analyze(std::string_view text, std::vector<Token>* tokens) const = 0;
};

}  // namespace quiver::text
