#include "expr/json_scan.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <array>
#include <bit>
#include <charconv>
#include <cmath>

#include "expr/constants.h"
#include "text/unicode.h"

namespace quiver::expr {
namespace {

const char* SkipBlanks(const char* p, const char* end) {
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) ++p;
  return p;
}

/// Returns the first quote or backslash at or after `p`, or `end`.
const char* NextQuoteOrSlash(const char* p, const char* end) {
#ifdef __SSE2__
  const __m128i quotes = _mm_set1_epi8('"');
  const __m128i slashes = _mm_set1_epi8('\\');
  for (; end - p >= 16; p += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i hits = _mm_or_si128(_mm_cmpeq_epi8(bytes, quotes), _mm_cmpeq_epi8(bytes, slashes));
    const auto mask = static_cast<uint32_t>(_mm_movemask_epi8(hits));
    if (mask != 0) return p + std::countr_zero(mask);
  }
#endif
  while (p < end && *p != '"' && *p != '\\') ++p;
  return p;
}

/// After an opening quote: returns the position of the closing one, or nullptr; tells of backslashes on the way.
const char* StringEnd(const char* p, const char* end, bool* escaped) {
  for (p = NextQuoteOrSlash(p, end); p < end; p = NextQuoteOrSlash(p, end)) {
    if (*p == '"') return p;
    *escaped = true;
    if (end - p < 2) return nullptr;
    p += 2;
  }
  return nullptr;
}

/// Returns the first quote, brace or bracket at or after `p`, or `end`.
const char* NextStructural(const char* p, const char* end) {
#ifdef __SSE2__
  const __m128i quotes = _mm_set1_epi8('"');
  const __m128i case_bits = _mm_set1_epi8(0x20);  // makes [ and ] equal to { and }
  const __m128i opening = _mm_set1_epi8('{');
  const __m128i closing = _mm_set1_epi8('}');
  for (; end - p >= 16; p += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i folded = _mm_or_si128(bytes, case_bits);
    const __m128i braces = _mm_or_si128(_mm_cmpeq_epi8(folded, opening), _mm_cmpeq_epi8(folded, closing));
    const auto mask = static_cast<uint32_t>(_mm_movemask_epi8(_mm_or_si128(braces, _mm_cmpeq_epi8(bytes, quotes))));
    if (mask != 0) return p + std::countr_zero(mask);
  }
#endif
  while (p < end && *p != '"' && *p != '{' && *p != '}' && *p != '[' && *p != ']') ++p;
  return p;
}

/// Characters that end a number or a word.
constexpr std::array<bool, 256> MakeDelimiters() {
  std::array<bool, 256> table{};
  for (const char c : {',', '}', ']', ' ', '\n', '\r', '\t'}) table[static_cast<unsigned char>(c)] = true;
  return table;
}
constexpr std::array<bool, 256> kDelimiters = MakeDelimiters();

/// Reads the value at `p` (no blanks before it); returns the position after it, or nullptr.
const char* ReadValue(const char* p, const char* end, JsonValue* value) {
  if (p >= end) return nullptr;
  const char* const begin = p;
  switch (*p) {
    case '"': {
      value->escaped = false;
      const char* quote = StringEnd(p + 1, end, &value->escaped);
      if (quote == nullptr) return nullptr;
      value->type = JsonType::kString;
      value->text = {begin + 1, static_cast<size_t>(quote - begin - 1)};
      return quote + 1;
    }
    case '{':
    case '[': {
      value->type = *p == '{' ? JsonType::kObject : JsonType::kArray;
      size_t depth = 0;
      for (p = NextStructural(p, end); p < end; p = NextStructural(p, end)) {
        const char c = *p++;
        if (c == '"') {
          bool escaped = false;
          p = StringEnd(p, end, &escaped);
          if (p == nullptr) return nullptr;
          ++p;
        } else if (c == '{' || c == '[') {
          ++depth;
        } else if (c == '}' || c == ']') {
          if (--depth == 0) {
            value->text = {begin, static_cast<size_t>(p - begin)};
            return p;
          }
        }
      }
      return nullptr;
    }
    default: {
      while (p < end && !kDelimiters[static_cast<unsigned char>(*p)]) ++p;
      value->text = {begin, static_cast<size_t>(p - begin)};
      if (*begin == '-' || (*begin >= '0' && *begin <= '9')) {
        value->type = JsonType::kNumber;
      } else if (value->text == "null") {
        value->type = JsonType::kNull;
      } else if (value->text == "true" || value->text == "false") {
        value->type = JsonType::kBool;
      } else {
        return nullptr;
      }
      return p;
    }
  }
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Reads \uXXXX at text[i] (the backslash); returns false where the digits are wrong.
bool ReadUnicodeEscape(std::string_view text, size_t i, uint32_t* code) {
  if (i + 6 > text.size() || text[i] != '\\' || text[i + 1] != 'u') return false;
  *code = 0;
  for (size_t k = i + 2; k < i + 6; ++k) {
    const int digit = HexDigit(text[k]);
    if (digit < 0) return false;
    *code = *code * 16 + static_cast<uint32_t>(digit);
  }
  return true;
}

void DecodeString(std::string_view text, std::string* out) {
  out->clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out->push_back(text[i]);
      continue;
    }
    const char c = text[i + 1];
    if (c == 'u') {
      uint32_t code = 0;
      if (!ReadUnicodeEscape(text, i, &code)) {
        out->push_back(c);
        ++i;
        continue;
      }
      i += 5;
      uint32_t low = 0;
      if (code >= 0xD800 && code < 0xDC00 && ReadUnicodeEscape(text, i + 1, &low) && low >= 0xDC00 && low < 0xE000) {
        code = 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
        i += 6;
      }
      text::AppendUtf8(code, out);
      continue;
    }
    ++i;
    switch (c) {
      case 'b': out->push_back('\b'); break;
      case 'f': out->push_back('\f'); break;
      case 'n': out->push_back('\n'); break;
      case 'r': out->push_back('\r'); break;
      case 't': out->push_back('\t'); break;
      default: out->push_back(c);
    }
  }
}

/// Steps from the object at `p` (at the brace) to the value of `key`; nullptr where it is missing.
const char* EnterObject(const char* p, const char* end, const std::string& key) {
  p = SkipBlanks(p + 1, end);
  while (p < end && *p == '"') {
    ++p;
    bool escaped = false;
    const char* quote = StringEnd(p, end, &escaped);
    if (quote == nullptr) return nullptr;
    const auto length = static_cast<size_t>(quote - p);
    bool same = false;
    if (!escaped) {
      same = std::string_view(p, length) == key;
    } else {
      thread_local std::string decoded;
      DecodeString({p, length}, &decoded);
      same = decoded == key;
    }
    p = SkipBlanks(quote + 1, end);
    if (p >= end || *p != ':') return nullptr;
    p = SkipBlanks(p + 1, end);
    if (same) return p;
    JsonValue skipped;
    p = ReadValue(p, end, &skipped);
    if (p == nullptr) return nullptr;
    p = SkipBlanks(p, end);
    if (p >= end || *p != ',') return nullptr;
    p = SkipBlanks(p + 1, end);
  }
  return nullptr;
}

const char* EnterArray(const char* p, const char* end, int64_t index) {
  if (index < 0) return nullptr;
  p = SkipBlanks(p + 1, end);
  if (p < end && *p == ']') return nullptr;
  for (int64_t i = 0; i < index; ++i) {
    JsonValue skipped;
    p = ReadValue(p, end, &skipped);
    if (p == nullptr) return nullptr;
    p = SkipBlanks(p, end);
    if (p >= end || *p != ',') return nullptr;
    p = SkipBlanks(p + 1, end);
  }
  return p;
}

}  // namespace

JsonValue FindJson(std::string_view json, std::span<const PathStep> path) {
  const char* p = json.data();
  const char* const end = p + json.size();
  p = SkipBlanks(p, end);
  for (const PathStep& step : path) {
    if (p >= end) return {};
    if (*p == '{') {
      p = EnterObject(p, end, step.key);
    } else if (*p == '[') {
      p = EnterArray(p, end, step.index);
    } else {
      return {};
    }
    if (p == nullptr) return {};
  }
  JsonValue value;
  if (ReadValue(p, end, &value) == nullptr) return {};
  return value;
}

std::string_view JsonStringText(const JsonValue& value, std::string* buffer) {
  if (!value.escaped) return value.text;
  DecodeString(value.text, buffer);
  return *buffer;
}

double JsonNumber::ToDouble() const {
  switch (kind) {
    case Kind::kInt: return static_cast<double>(integer);
    case Kind::kUint: return static_cast<double>(natural);
    default: return real;
  }
}

bool ReadJsonNumber(std::string_view text, JsonNumber* number) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  if (text.find_first_of(".eE") == std::string_view::npos) {
    auto result = std::from_chars(begin, end, number->integer);
    if (result.ec == std::errc() && result.ptr == end) {
      number->kind = JsonNumber::Kind::kInt;
      return true;
    }
    result = std::from_chars(begin, end, number->natural);
    if (result.ec == std::errc() && result.ptr == end) {
      number->kind = JsonNumber::Kind::kUint;
      return true;
    }
  }
  const auto result = std::from_chars(begin, end, number->real);
  if (result.ec != std::errc() || result.ptr != end) return false;
  number->kind = JsonNumber::Kind::kDouble;
  return true;
}

std::partial_ordering Compare(const JsonNumber& left, int64_t right) {
  switch (left.kind) {
    case JsonNumber::Kind::kInt: return left.integer <=> right;
    case JsonNumber::Kind::kUint: return std::partial_ordering::greater;  // above every signed value
    default: return 0 <=> CompareExact(right, left.real);
  }
}

std::partial_ordering Compare(const JsonNumber& left, double right) {
  switch (left.kind) {
    case JsonNumber::Kind::kInt: return CompareExact(left.integer, right);
    case JsonNumber::Kind::kUint: {
      if (std::isnan(right)) return std::partial_ordering::unordered;
      if (right < 0x1p63) return std::partial_ordering::greater;
      if (right >= 0x1p64) return std::partial_ordering::less;
      return left.natural <=> static_cast<uint64_t>(right);  // doubles of this size are whole
    }
    default: return left.real <=> right;
  }
}

JsonArrayCursor::JsonArrayCursor(const JsonValue& array) {
  if (array.type != JsonType::kArray || array.text.size() < 2) return;
  position_ = array.text.data() + 1;
  end_ = array.text.data() + array.text.size();
}

JsonObjectCursor::JsonObjectCursor(const JsonValue& object) {
  if (object.type != JsonType::kObject || object.text.size() < 2) return;
  position_ = object.text.data() + 1;
  end_ = object.text.data() + object.text.size();
}

bool JsonObjectCursor::Next(JsonValue* key, JsonValue* value) {
  if (position_ == nullptr) return false;
  const char* p = SkipBlanks(position_, end_);
  position_ = nullptr;
  if (!first_) {
    if (p >= end_ || *p != ',') return false;
    p = SkipBlanks(p + 1, end_);
  }
  first_ = false;
  *key = JsonValue{};
  if (p >= end_ || *p != '"') return false;
  p = ReadValue(p, end_, key);
  if (p == nullptr) return false;
  p = SkipBlanks(p, end_);
  if (p >= end_ || *p != ':') return false;
  *value = JsonValue{};
  position_ = ReadValue(SkipBlanks(p + 1, end_), end_, value);
  return position_ != nullptr;
}

bool JsonArrayCursor::Next(JsonValue* element) {
  if (position_ == nullptr) return false;
  const char* p = SkipBlanks(position_, end_);
  position_ = nullptr;
  if (p >= end_ || *p == ']') return false;
  if (!first_) {
    if (*p != ',') return false;
    p = SkipBlanks(p + 1, end_);
  }
  first_ = false;
  *element = JsonValue{};
  position_ = ReadValue(p, end_, element);
  return position_ != nullptr;
}

}  // namespace quiver::expr
