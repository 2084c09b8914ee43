#include "text/analyzer.h"

#include <libstemmer.h>
#include <rapidjson/document.h>

#include <algorithm>
#include <array>
#include <functional>
#include <unordered_set>
#include <utility>

#include "text/unicode.h"

namespace quiver::text {
namespace {

using Json = rapidjson::Value;
using Tokenizer = void (*)(std::string_view text, std::vector<Token>* tokens);
/// Changes a token, or returns false to drop it.
using Filter = std::function<bool(std::string* token)>;

void Add(std::string_view text, size_t begin, size_t end, std::vector<Token>* tokens) {
  tokens->push_back({std::string(text.substr(begin, end - begin)), begin, end, static_cast<uint32_t>(tokens->size())});
}

/// Runs of word characters; each Han character is a token of its own.
void TokenizeStandard(std::string_view text, std::vector<Token>* tokens) {
  size_t begin = 0;
  size_t at = 0;
  const auto end_run = [&] {
    if (at > begin) Add(text, begin, at, tokens);
  };
  while (at < text.size()) {
    const Character character = CharacterAt(text, at);
    const bool han = IsHan(character.code);
    if (!han && IsWordCharacter(character.code)) {
      at += character.length;
      continue;
    }
    end_run();
    if (han) Add(text, at, at + character.length, tokens);
    at += character.length;
    begin = at;
  }
  end_run();
}

void TokenizeWhitespace(std::string_view text, std::vector<Token>* tokens) {
  size_t begin = 0;
  size_t at = 0;
  while (at < text.size()) {
    const Character character = CharacterAt(text, at);
    if (IsBlank(character.code)) {
      if (at > begin) Add(text, begin, at, tokens);
      begin = at + character.length;
    }
    at += character.length;
  }
  if (at > begin) Add(text, begin, at, tokens);
}

/// Runs of word characters; a run of Han characters becomes its overlapping pairs, a lone one stays as it is. Pairs
/// find words of any dictionary without having one.
void TokenizeHanPairs(std::string_view text, std::vector<Token>* tokens) {
  std::vector<Token> parts;
  TokenizeStandard(text, &parts);
  const auto is_han = [](const Token& token) { return IsHan(CharacterAt(token.text, 0).code); };
  for (size_t i = 0; i < parts.size();) {
    size_t last = i;
    if (is_han(parts[i])) {
      while (last + 1 < parts.size() && parts[last + 1].begin == parts[last].end && is_han(parts[last + 1])) ++last;
    }
    if (last == i) {
      Add(text, parts[i].begin, parts[i].end, tokens);
    } else {
      for (size_t j = i; j < last; ++j) Add(text, parts[j].begin, parts[j + 1].end, tokens);
    }
    i = last + 1;
  }
}

constexpr std::array<std::string_view, 33> kEnglishStopWords = {
    "a",   "an",    "and",  "are",   "as",    "at",   "be",   "but", "by",  "for",  "if",
    "in",  "into",  "is",   "it",    "no",    "not",  "of",   "on",  "or",  "such", "that",
    "the", "their", "then", "there", "these", "they", "this", "to",  "was", "will", "with"};

/// One stemmer of libstemmer is for one thread; each thread makes its own.
class Stemmer {
 public:
  explicit Stemmer(const char* language) : stemmer_(sb_stemmer_new(language, "UTF_8")) {}
  Stemmer(const Stemmer&) = delete;
  Stemmer& operator=(const Stemmer&) = delete;
  ~Stemmer() { sb_stemmer_delete(stemmer_); }
  void Stem(std::string* token) {
    const auto* stem =
        sb_stemmer_stem(stemmer_, reinterpret_cast<const sb_symbol*>(token->data()), static_cast<int>(token->size()));
    if (stem == nullptr) return;  // out of memory: the token stays whole
    const std::string result(reinterpret_cast<const char*>(stem), static_cast<size_t>(sb_stemmer_length(stemmer_)));
    *token = result;
  }

 private:
  sb_stemmer* stemmer_;
};

struct StemmerLanguage {
  std::string_view name;
  const char* algorithm;
};
constexpr std::array<StemmerLanguage, 18> kStemmers = {{{"arabic", "arabic"},
                                                        {"danish", "danish"},
                                                        {"dutch", "dutch"},
                                                        {"english", "english"},
                                                        {"finnish", "finnish"},
                                                        {"french", "french"},
                                                        {"german", "german"},
                                                        {"greek", "greek"},
                                                        {"hungarian", "hungarian"},
                                                        {"italian", "italian"},
                                                        {"norwegian", "norwegian"},
                                                        {"portuguese", "portuguese"},
                                                        {"romanian", "romanian"},
                                                        {"russian", "russian"},
                                                        {"spanish", "spanish"},
                                                        {"swedish", "swedish"},
                                                        {"tamil", "tamil"},
                                                        {"turkish", "turkish"}}};

Filter StemFilter(size_t language) {
  return [language](std::string* token) {
    thread_local std::array<std::unique_ptr<Stemmer>, kStemmers.size()> stemmers;
    if (stemmers[language] == nullptr) stemmers[language] = std::make_unique<Stemmer>(kStemmers[language].algorithm);
    stemmers[language]->Stem(token);
    return !token->empty();
  };
}

Filter LowerFilter() {
  return [](std::string* token) {
    *token = LowerCase(*token);
    return true;
  };
}

/// Keeps tokens all of whose characters pass.
template <typename Keep>
Filter OnlyFilter(Keep keep) {
  return [keep](std::string* token) {
    for (size_t at = 0; at < token->size();) {
      const Character character = CharacterAt(*token, at);
      if (!keep(character.code)) return false;
      at += character.length;
    }
    return true;
  };
}

bool IsAsciiAlnum(uint32_t code) { return code < 0x80 && IsWordCharacter(code); }

std::string_view TextOf(const Json& json) { return {json.GetString(), json.GetStringLength()}; }

template <typename... Args>
Status Invalid(fmt::format_string<Args...> format, Args&&... args) {
  return InvalidParameter("invalid analyzer_params: {}: invalid parameter",
                          fmt::format(format, std::forward<Args>(args)...));
}
Status NotBuilt(std::string_view what, std::string_view name) {
  return Error(StatusCode::kUnimplemented, "analyzer {} {} is not supported yet", what, name);
}

bool Contains(std::initializer_list<std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Result<Filter> StopFilter(const Json& words) {
  if (!words.IsArray()) return Invalid("stop_words must be a list");
  std::unordered_set<std::string> stops;
  for (const Json& word : words.GetArray()) {
    if (!word.IsString()) return Invalid("stop_words must be strings");
    const std::string_view text = TextOf(word);
    if (text == "_english_") {
      for (const std::string_view stop : kEnglishStopWords) stops.emplace(stop);
    } else if (text.size() > 2 && text.starts_with('_') && text.ends_with('_')) {
      return NotBuilt("stop word list", text);
    } else {
      stops.emplace(text);
    }
  }
  return Filter([stops = std::move(stops)](std::string* token) { return !stops.contains(*token); });
}

Result<Filter> LengthFilter(const Json& params) {
  size_t limits[2] = {0, SIZE_MAX};
  const char* const names[2] = {"min", "max"};
  for (size_t i = 0; i < 2; ++i) {
    const auto found = params.FindMember(names[i]);
    if (found == params.MemberEnd()) continue;
    if (!found->value.IsUint64()) return Invalid("{} of the length filter must be a number", names[i]);
    limits[i] = found->value.GetUint64();
  }
  return Filter([least = limits[0], most = limits[1]](std::string* token) {
    size_t characters = 0;
    for (size_t at = 0; at < token->size(); at += CharacterAt(*token, at).length) ++characters;
    return characters >= least && characters <= most;
  });
}

Result<Filter> MakeFilter(const Json& json) {
  const Json* type = &json;
  if (json.IsObject()) {
    const auto found = json.FindMember("type");
    if (found == json.MemberEnd()) return Invalid("a filter needs a type");
    type = &found->value;
  }
  if (!type->IsString()) return Invalid("a filter is a name or an object with a type");
  const std::string_view name = TextOf(*type);
  if (name == "lowercase") return LowerFilter();
  if (name == "asciifolding") {
    return Filter([](std::string* token) {
      *token = AsciiFold(*token);
      return true;
    });
  }
  if (name == "alphanumonly") return OnlyFilter(IsAsciiAlnum);
  if (name == "cncharonly") return OnlyFilter(IsHan);
  if (name == "cnalphanumonly") return OnlyFilter([](uint32_t code) { return IsHan(code) || IsAsciiAlnum(code); });
  if (name == "removepunct") {
    return Filter([](std::string* token) {
      for (size_t at = 0; at < token->size();) {
        const Character character = CharacterAt(*token, at);
        if (IsWordCharacter(character.code)) return true;
        at += character.length;
      }
      return false;
    });
  }
  if (Contains({"arabic_normalization", "decimaldigit", "decompounder", "pinyin", "regex", "synonym"}, name)) {
    return NotBuilt("filter", name);
  }
  if (!Contains({"length", "stop", "stemmer"}, name)) return Invalid("unsupported filter type: {}", name);
  if (!json.IsObject()) return Invalid("filter {} needs parameters", name);
  if (name == "length") return LengthFilter(json);
  const char* const key = name == "stop" ? "stop_words" : "language";
  const auto value = json.FindMember(key);
  if (value == json.MemberEnd()) {
    if (json.HasMember("stop_words_file")) return NotBuilt("parameter", "stop_words_file");
    return Invalid("filter {} needs {}", name, key);
  }
  if (name == "stop") return StopFilter(value->value);
  if (!value->value.IsString()) return Invalid("language of the stemmer must be a string");
  const std::string_view language = TextOf(value->value);
  for (size_t i = 0; i < kStemmers.size(); ++i) {
    if (kStemmers[i].name == language) return StemFilter(i);
  }
  return Invalid("unsupported stemmer language: {}", language);
}

Result<Tokenizer> FindTokenizer(const Json& json) {
  const Json* type = &json;
  if (json.IsObject()) {
    const auto found = json.FindMember("type");
    if (found == json.MemberEnd()) return Invalid("a tokenizer needs a type");
    type = &found->value;
  }
  if (!type->IsString()) return Invalid("the tokenizer is a name or an object with a type");
  const std::string_view name = TextOf(*type);
  if (Contains({"lindera", "icu", "thai", "char_group", "ngram", "language_identifier", "grpc"}, name)) {
    return NotBuilt("tokenizer", name);
  }
  if (name == "jieba" && json.IsObject() && json.MemberCount() > 1) return NotBuilt("parameters of tokenizer", name);
  if (name == "standard") return Tokenizer{TokenizeStandard};
  if (name == "whitespace") return Tokenizer{TokenizeWhitespace};
  if (name == "jieba") return Tokenizer{TokenizeHanPairs};
  return Invalid("unsupported tokenizer: {}", name);
}

class FilteringAnalyzer final : public Analyzer {
 public:
  FilteringAnalyzer(Tokenizer tokenizer, std::vector<Filter> filters)
      : tokenizer_(tokenizer), filters_(std::move(filters)) {}

  void Analyze(std::string_view text, std::vector<Token>* tokens) const override {
    tokens->clear();
    tokenizer_(text, tokens);
    std::erase_if(*tokens, [this](Token& token) {
      return !std::all_of(filters_.begin(), filters_.end(), [&](const Filter& filter) { return filter(&token.text); });
    });
  }

 private:
  Tokenizer tokenizer_;
  std::vector<Filter> filters_;
};

Status FillBuiltIn(const Json& params, std::string_view name, Tokenizer* tokenizer, std::vector<Filter>* filters) {
  for (const auto& member : params.GetObject()) {
    const std::string_view key = TextOf(member.name);
    if (key != "type" && key != "stop_words") return Invalid("built-in analyzer {} does not take {}", name, key);
  }
  if (Contains({"arabic", "thai"}, name)) return NotBuilt("type", name);
  const auto stop_words = params.FindMember("stop_words");
  if (name == "standard") {
    filters->push_back(LowerFilter());
  } else if (name == "english") {
    filters->push_back(LowerFilter());
    filters->push_back(StemFilter(3));
    rapidjson::Document words;
    words.Parse(R"(["_english_"])");
    QUIVER_ASSIGN_OR_RETURN(Filter stop, StopFilter(words));
    filters->push_back(std::move(stop));
  } else if (name == "chinese") {
    *tokenizer = TokenizeHanPairs;
    filters->push_back(OnlyFilter([](uint32_t code) { return IsHan(code) || IsAsciiAlnum(code); }));
  } else {
    return Invalid("unsupported built-in analyzer type: {}", name);
  }
  if (stop_words == params.MemberEnd()) return Status::Ok();
  QUIVER_ASSIGN_OR_RETURN(Filter stop, StopFilter(stop_words->value));
  filters->push_back(std::move(stop));
  return Status::Ok();
}

}  // namespace

Result<std::shared_ptr<const Analyzer>> Analyzer::Create(std::string_view params) {
  rapidjson::Document json;
  json.SetObject();
  if (params.find_first_not_of(" \t\r\n") != std::string_view::npos) {
    json.Parse<rapidjson::kParseIterativeFlag>(params.data(), params.size());
    if (json.HasParseError() || !json.IsObject()) return Invalid("not a JSON object: {}", params.substr(0, 200));
  }
  Tokenizer tokenizer = TokenizeStandard;
  std::vector<Filter> filters;
  const auto type = json.FindMember("type");
  if (type != json.MemberEnd() || json.ObjectEmpty()) {
    if (type != json.MemberEnd() && !type->value.IsString()) return Invalid("the type must be a string");
    const std::string_view name = type == json.MemberEnd() ? "standard" : TextOf(type->value);
    QUIVER_RETURN_IF_ERROR(FillBuiltIn(json, name, &tokenizer, &filters));
  } else {
    for (const auto& member : json.GetObject()) {
      const std::string_view key = TextOf(member.name);
      if (key == "char_filter") return NotBuilt("parameter", key);
      if (key != "tokenizer" && key != "filter") return Invalid("unknown key: {}", key);
    }
    const auto chosen = json.FindMember("tokenizer");
    if (chosen == json.MemberEnd()) return Invalid("a custom analyzer needs a tokenizer");
    QUIVER_ASSIGN_OR_RETURN(tokenizer, FindTokenizer(chosen->value));
    if (const auto list = json.FindMember("filter"); list != json.MemberEnd()) {
      if (!list->value.IsArray()) return Invalid("filter must be a list");
      for (const Json& item : list->value.GetArray()) {
        QUIVER_ASSIGN_OR_RETURN(Filter filter, MakeFilter(item));
        filters.push_back(std::move(filter));
      }
    }
  }
  return std::shared_ptr<const Analyzer>(std::make_shared<FilteringAnalyzer>(tokenizer, std::move(filters)));
}

}  // namespace quiver::text
