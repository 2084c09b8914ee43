// File: expr/random_filter.h
// Random filters over random rows, with a slow evaluator that works row by row on the JSON form of the rows. It shares
// no code with the evaluators under test; what it knows is written down here a second time. For tests only.
// Thread rule: one thread.
#pragma once

#include <rapidjson/document.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "expr/test_table.h"

namespace quiver::expr::random {

using Row = rapidjson::Value;
using Truth3 = std::optional<bool>;
__extension__ using Wide = __int128;

/// A filter text and what it means for a row.
struct Term {
  std::string text;
  std::function<Truth3(const Row&)> truth;
};

inline bool Holds(const std::string& op, long double a, long double b) {
  if (op == "==") return a == b;
  if (op == "!=") return a != b;
  if (op == "<") return a < b;
  if (op == "<=") return a <= b;
  if (op == ">") return a > b;
  return a >= b;
}

inline bool HoldsText(const std::string& op, const std::string& a, const std::string& b) {
  return Holds(op, a.compare(b), 0);
}

/// Splits UTF-8 text into characters.
inline std::vector<std::string> Characters(const std::string& text) {
  std::vector<std::string> characters;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0U) == 0x80U && !characters.empty()) {
      characters.back() += c;
    } else {
      characters.emplace_back(1, c);
    }
  }
  return characters;
}

struct PatternPart {
  enum Kind { kText, kOne, kRun } kind;
  std::string text;
};

inline bool LikeSlow(const std::vector<PatternPart>& pattern, size_t p, const std::vector<std::string>& text,
                     size_t t) {
  if (p == pattern.size()) return t == text.size();
  if (pattern[p].kind == PatternPart::kRun) {
    for (size_t skip = t; skip <= text.size(); ++skip) {
      if (LikeSlow(pattern, p + 1, text, skip)) return true;
    }
    return false;
  }
  if (t == text.size()) return false;
  return (pattern[p].kind == PatternPart::kOne || pattern[p].text == text[t]) && LikeSlow(pattern, p + 1, text, t + 1);
}

inline const Row* Member(const Row& row, const std::string& name) {
  const auto found = row.FindMember(name.c_str());
  return found == row.MemberEnd() || found->value.IsNull() ? nullptr : &found->value;
}

/// Makes random rows, and random filters with what they mean.
class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  static CollectionSchema Schema() {
    FieldSchema matched = TestField("w", DataType::kVarChar, true);
    matched.type_params = {{"enable_match", "true"}, {"enable_analyzer", "true"}};
    FieldSchema record_number = TestField("r[n]", DataType::kArray, true, DataType::kInt16);
    FieldSchema record_text = TestField("r[t]", DataType::kArray, true, DataType::kVarChar);
    record_number.struct_name = record_text.struct_name = "r";
    CollectionSchema schema = SchemaOf(
        {TestField("i8", DataType::kInt8, true), TestField("i16", DataType::kInt16, false),
         TestField("i32", DataType::kInt32, true), TestField("i64", DataType::kInt64, true),
         TestField("f", DataType::kFloat, true), TestField("d", DataType::kDouble, true),
         TestField("b", DataType::kBool, true), TestField("s", DataType::kVarChar, true),
         TestField("t", DataType::kVarChar, false), TestField("j", DataType::kJson, true),
         TestField("ai", DataType::kArray, true, DataType::kInt64),
         TestField("at", DataType::kArray, true, DataType::kVarChar),
         TestField("af", DataType::kArray, true, DataType::kFloat), TestField("ts", DataType::kTimestamptz, true),
         TestField("g", DataType::kGeometry, true), matched, record_number, record_text},
        true);
    schema.struct_arrays.push_back({.name = "r"});
    return schema;
  }

  std::string Rows(int count) {
    std::string rows = "[";
    for (int i = 0; i < count; ++i) {
      std::string row;
      const auto add = [&](const std::string& name, const std::string& value, bool may_miss) {
        if (may_miss && Chance(5)) return;
        row += fmt::format("{}\"{}\":{}", row.empty() ? "" : ",", name, value);
      };
      add("i8", std::to_string(Pick<int64_t>({-128, -1, 0, 1, 2, 3, 127})), true);
      add("i16", std::to_string(Pick<int64_t>({-32768, -5, 0, 1, 2, 300, 32767})), false);
      add("i32", std::to_string(Pick<int64_t>({INT32_MIN, -7, 0, 1, 2, 7, 8, INT32_MAX})), true);
      add("i64", std::to_string(Integer()), true);
      add("f", RealText(Real()), true);
      add("d", RealText(Real()), true);
      add("b", Chance(2) ? "true" : "false", true);
      add("s", Quoted(Text()), true);
      add("t", Quoted(Text()), false);
      add("j", JsonObject(2), true);
      add("ai", List([&] { return std::to_string(Pick<int64_t>({0, 1, 2, 3, INT64_MAX})); }), true);
      add("at", List([&] { return Quoted(Text()); }), true);
      add("af", List([&] { return RealText(Real()); }), true);
      add("ts", Quoted(Moment()), true);
      add("g", fmt::format("\"POINT ({} {})\"", Below(5), Below(5)), true);
      add("w", Quoted(fmt::format("{}, {} {}", Word(), Word(), Word())), true);
      if (!Chance(5)) {
        std::string numbers;
        std::string texts;
        const uint32_t records = Below(5);
        for (uint32_t r = 0; r < records; ++r) {
          numbers += fmt::format("{}{}", r == 0 ? "" : ",", Below(4));
          texts += fmt::format("{}{}", r == 0 ? "" : ",", Quoted(Text()));
        }
        add("r[n]", "[" + numbers + "]", false);
        add("r[t]", "[" + texts + "]", false);
      }
      add("$meta", JsonObject(1), true);
      rows += fmt::format("{}{{{}}}", i == 0 ? "" : ",", row);
    }
    return rows + "]";
  }

  Term Filter(int depth) {
    if (depth == 0 || Chance(4)) return Leaf();
    switch (Below(3)) {
      case 0: {
        Term child = Filter(depth - 1);
        return {fmt::format("{} ({})", Pick<std::string>({"not", "!", "NOT"}), child.text),
                [child](const Row& row) -> Truth3 {
                  const Truth3 truth = child.truth(row);
                  if (!truth.has_value()) return std::nullopt;
                  return !*truth;
                }};
      }
      case 1: return Chain("and", depth);
      default: return Chain("or", depth);
    }
  }

 private:
  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>(random_()) % limit; }
  bool Chance(uint32_t one_in) { return Below(one_in) == 0; }
  template <typename T>
  T Pick(const std::vector<T>& choices) {
    return choices[Below(static_cast<uint32_t>(choices.size()))];
  }

  int64_t Integer() {
    return Pick<int64_t>({INT64_MIN, INT64_MIN + 1, -9007199254740993, -7, -1, 0, 1, 2, 3, 7, 127, 128, 300,
                          9007199254740992, 9007199254740993, INT64_MAX - 1, INT64_MAX});
  }
  double Real() {
    return Pick<double>({-1e300, -2.5, -1, -0.0, 0.0, 0.1, 0.5, 1, 1.5, 2, 3, 16777217, 9007199254740992.0,
                         9223372036854775808.0, 1e30});
  }
  static std::string RealText(double value) {
    const std::string text = fmt::format("{}", value);
    return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
  }
  std::string Text() {
    return Pick<std::string>(
        {"", "a", "b", "ab", "aba", "abba", "100%", "a_b", "x\\y", "\u4e2d", "\u4e2d\u6587a", "ba\"q'", "aab"});
  }
  static std::string Quoted(const std::string& text) {
    std::string quoted = "\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
    return quoted + "\"";
  }
  template <typename Make>
  std::string List(const Make& make) {
    std::string list = "[";
    const uint32_t size = Below(4);
    for (uint32_t i = 0; i < size; ++i) list += fmt::format("{}{}", i == 0 ? "" : ",", make());
    return list + "]";
  }
  /// Moments whose texts order as they do.
  std::string Moment() {
    return Pick<std::string>({"1969-12-31T23:59:59Z", "2024-02-29T00:00:00Z", "2025-01-01T00:00:00Z",
                              "2025-01-31T12:00:00Z", "2025-02-28T00:00:00Z"});
  }
  std::string Word() { return Pick<std::string>({"Red", "blue", "GREEN", "car"}); }
  std::string Op() { return Pick<std::string>({"==", "!=", "<", "<=", ">", ">="}); }

  std::string JsonScalar() {
    switch (Below(6)) {
      case 0: return "null";
      case 1: return Chance(2) ? "true" : "false";
      case 2: return std::to_string(Integer());
      case 3: return Chance(4) ? "18446744073709551615" : RealText(Real());
      case 4: return List([&] { return Chance(2) ? std::to_string(Below(4)) : Quoted(Text()); });
      default: return Quoted(Text());
    }
  }
  std::string JsonObject(int depth) {
    std::string object;
    for (const char* key : {"k", "m", "\u4e2d", "0"}) {
      if (Chance(3)) continue;
      const std::string value = depth > 0 && Chance(3) ? JsonObject(depth - 1) : JsonScalar();
      object += fmt::format("{}\"{}\":{}", object.empty() ? "" : ",", key, value);
    }
    return "{" + object + "}";
  }

  Term Chain(const std::string& word, int depth) {
    std::vector<Term> terms;
    std::string text;
    const uint32_t size = 2 + Below(3);
    for (uint32_t i = 0; i < size; ++i) {
      terms.push_back(Filter(depth - 1));
      text += fmt::format("{}({})", i == 0 ? "" : fmt::format(" {} ", word), terms.back().text);
    }
    const bool is_and = word == "and";
    return {text, [terms, is_and](const Row& row) -> Truth3 {
              bool unknown = false;
              for (const Term& term : terms) {
                const Truth3 truth = term.truth(row);
                if (!truth.has_value()) {
                  unknown = true;
                } else if (*truth != is_and) {
                  return !is_and;
                }
              }
              if (unknown) return std::nullopt;
              return is_and;
            }};
  }

  Term Leaf() {
    switch (Below(18)) {
      case 14: return MomentLeaf();
      case 15: return WordLeaf();
      case 16: return PlaceLeaf();
      case 17: return RecordLeaf();
      case 0:
      case 1: return IntCompare();
      case 2: return RealCompare();
      case 3:
      case 4: return TextLeaf();
      case 5: return NullLeaf();
      case 6: return FieldCompare();
      case 7: return IntArithmetic();
      case 8:
      case 9:
      case 10:
      case 11: return JsonLeaf();
      default: return ArrayLeaf();
    }
  }

  Term MomentLeaf() {
    const std::string constant = Moment();
    const std::string op = Op();
    // The next day of each moment, worked out by hand.
    static const std::map<std::string, std::string> kNextDay = {{"1969-12-31T23:59:59Z", "1970-01-01T23:59:59Z"},
                                                                {"2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"},
                                                                {"2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"},
                                                                {"2025-01-31T12:00:00Z", "2025-02-01T12:00:00Z"},
                                                                {"2025-02-28T00:00:00Z", "2025-03-01T00:00:00Z"}};
    const uint32_t form = Below(3);
    std::string text = fmt::format("ts {} '{}'", op, constant);
    if (form == 1) text = fmt::format("ts + INTERVAL 'P1D' {} ISO '{}'", op, constant);
    if (form == 2) text = fmt::format("ts + INTERVAL 'P12M' {} ISO '{}'", op, constant);
    return {text, [=](const Row& row) -> Truth3 {
              const Row* value = Member(row, "ts");
              if (value == nullptr) return std::nullopt;
              std::string moment = value->GetString();
              if (form == 1) moment = kNextDay.at(moment);
              if (form == 2) {
                const int year = std::stoi(moment.substr(0, 4)) + 1;
                moment = moment.substr(4, 6) == "-02-29" ? fmt::format("{}-03-01{}", year, moment.substr(10))
                                                         : fmt::format("{}{}", year, moment.substr(4));
              }
              return HoldsText(op, moment, constant);
            }};
  }

  /// The three words of a text as the standard analyzer sees them.
  static std::vector<std::string> WordsOf(const Row& value) {
    std::vector<std::string> words(1);
    for (const char* c = value.GetString(); *c != 0; ++c) {
      if (*c == ' ') {
        words.emplace_back();
      } else if (*c != ',') {
        words.back() += static_cast<char>(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
      }
    }
    return words;
  }

  Term WordLeaf() {
    if (Chance(3)) return FuzzyLeaf();
    const std::string one = Pick<std::string>({"red", "blue", "green", "car"});
    const std::string two = Pick<std::string>({"red", "blue", "green", "car"});
    const bool phrase = Chance(2);
    const size_t least = 1 + Below(2);
    const std::string text = phrase ? fmt::format("phrase_match(w, '{} {}')", one, two)
                                    : fmt::format("text_match(w, '{} {}', minimum_should_match={})", one, two, least);
    return {text, [=](const Row& row) -> Truth3 {
              const Row* value = Member(row, "w");
              if (value == nullptr) return std::nullopt;
              const std::vector<std::string> words = WordsOf(*value);
              if (phrase) {
                return (words[0] == one && words[1] == two) || (words[1] == one && words[2] == two);
              }
              const auto has = [&](const std::string& word) {
                return std::find(words.begin(), words.end(), word) != words.end();
              };
              if (one == two) return has(one);
              return static_cast<size_t>(has(one)) + static_cast<size_t>(has(two)) >= least;
            }};
  }

  /// The edits between two words by the whole table, with exchanges of neighbours.
  static size_t EditsBetween(const std::string& left, const std::string& right) {
    std::vector<std::vector<size_t>> table(left.size() + 1, std::vector<size_t>(right.size() + 1));
    for (size_t i = 0; i <= left.size(); ++i) {
      for (size_t j = 0; j <= right.size(); ++j) {
        if (i == 0 || j == 0) {
          table[i][j] = i + j;
          continue;
        }
        table[i][j] = std::min(
            {table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (left[i - 1] == right[j - 1] ? 0 : 1)});
        if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1]) {
          table[i][j] = std::min(table[i][j], table[i - 2][j - 2] + 1);
        }
      }
    }
    return table[left.size()][right.size()];
  }

  Term FuzzyLeaf() {
    std::vector<std::string> queries(1 + Below(2));
    std::string text;
    for (std::string& query : queries) {
      query = Pick<std::string>({"red", "blue", "green", "car"});
      for (size_t edits = Below(4); edits > 0; --edits) {
        const size_t at = Below(static_cast<uint32_t>(query.size()));
        switch (Below(4)) {
          case 0: query.insert(at, 1, Pick<char>({'r', 'e', 'x'})); break;
          case 1: query[at] = Pick<char>({'r', 'e', 'x'}); break;
          case 2: std::swap(query[at], query[query.size() - 1 - at]); break;
          default:
            if (query.size() > 1) query.erase(at, 1);
        }
      }
      text += (text.empty() ? "" : " ") + query;
    }
    const size_t edits = Below(3);
    return {fmt::format("text_match_fuzzy(w, '{}', max_edit_distance={})", text, edits), [=](const Row& row) -> Truth3 {
              const Row* value = Member(row, "w");
              if (value == nullptr) return std::nullopt;
              for (const std::string& word : WordsOf(*value)) {
                for (const std::string& query : queries) {
                  if (EditsBetween(query, word) <= edits) return true;
                }
              }
              return false;
            }};
  }

  Term PlaceLeaf() {
    const auto low = static_cast<int>(Below(4));
    const int high = low + 1 + static_cast<int>(Below(3));
    const std::string shape = fmt::format("POLYGON (({0} {0}, {1} {0}, {1} {1}, {0} {1}, {0} {0}))", low, high);
    const auto relation = Pick<std::string>({"st_within", "st_intersects", "st_touches"});
    return {fmt::format("{}(g, '{}')", relation, shape), [=](const Row& row) -> Truth3 {
              const Row* value = Member(row, "g");
              if (value == nullptr) return std::nullopt;
              const std::string point = value->GetString();
              const int x = point[7] - '0';
              const int y = point[9] - '0';
              const bool inside = low < x && x < high && low < y && y < high;
              const bool reaches = low <= x && x <= high && low <= y && y <= high;
              if (relation == "st_within") return inside;
              return relation == "st_touches" ? reaches && !inside : reaches;
            }};
  }

  Term RecordLeaf() {
    const std::string op = Op();
    const auto number = static_cast<int>(Below(4));
    const std::string word = Text();
    const bool both = Chance(2);
    const std::string quota = Pick<std::string>({"MATCH_ANY", "MATCH_ALL", "MATCH_LEAST", "MATCH_MOST", "MATCH_EXACT"});
    const int threshold = static_cast<int>(Below(3)) + (quota == "MATCH_LEAST" ? 1 : 0);
    std::string condition = fmt::format("$[n] {} {}", op, number);
    if (both) condition += fmt::format(" {} not ($[t] == {})", Chance(2) ? "and" : "&&", Quoted(word));
    const bool counted = quota != "MATCH_ANY" && quota != "MATCH_ALL";
    const std::string text =
        fmt::format("{}(r, {}{})", quota, condition, counted ? fmt::format(", threshold={}", threshold) : "");
    return {text, [=](const Row& row) -> Truth3 {
              const Row* numbers = Member(row, "r[n]");
              const Row* texts = Member(row, "r[t]");
              if (numbers == nullptr) return std::nullopt;
              int hits = 0;
              const auto records = static_cast<int>(numbers->Size());
              for (rapidjson::SizeType i = 0; i < numbers->Size(); ++i) {
                if (Holds(op, (*numbers)[i].GetInt(), number) && (!both || (*texts)[i].GetString() != word)) ++hits;
              }
              if (quota == "MATCH_ALL") return hits == records;
              if (quota == "MATCH_LEAST") return hits >= threshold;
              if (quota == "MATCH_MOST") return hits <= threshold;
              if (quota == "MATCH_EXACT") return hits == threshold;
              return hits > 0;
            }};
  }

  Term IntCompare() {
    const std::string field = Pick<std::string>({"i8", "i16", "i32", "i64"});
    const auto value_of = [field](const Row& row) -> std::optional<int64_t> {
      const Row* value = Member(row, field);
      return value == nullptr ? std::nullopt : std::optional<int64_t>(value->GetInt64());
    };
    if (Chance(3)) {
      std::vector<int64_t> list;
      const uint32_t size = Chance(3) ? 20 : Below(4);
      for (uint32_t i = 0; i < size; ++i) list.push_back(Integer());
      const bool negated = Chance(2);
      std::string text = fmt::format("{} {}in [", field, negated ? "not " : "");
      for (size_t i = 0; i < list.size(); ++i) text += fmt::format("{}{}", i == 0 ? "" : ", ", list[i]);
      return {text + "]", [=](const Row& row) -> Truth3 {
                const auto value = value_of(row);
                if (!value.has_value()) return std::nullopt;
                return (std::find(list.begin(), list.end(), *value) != list.end()) != negated;
              }};
    }
    if (Chance(3)) {
      int64_t low = Integer();
      int64_t high = Integer();
      if (low > high) std::swap(low, high);
      const bool strict = low != high && Chance(2);
      const std::string op = strict ? "<" : "<=";
      const std::string text =
          Chance(2) ? fmt::format("{} {} {} {} {}", low, op, field, op, high)
                    : fmt::format("{} {} {} {} {}", high, strict ? ">" : ">=", field, strict ? ">" : ">=", low);
      return {text, [=](const Row& row) -> Truth3 {
                const auto value = value_of(row);
                if (!value.has_value()) return std::nullopt;
                return strict ? low < *value && *value < high : low <= *value && *value <= high;
              }};
    }
    const int64_t constant = Integer();
    const std::string op = Op();
    return {fmt::format("{} {} {}", field, op, constant), [=](const Row& row) -> Truth3 {
              const auto value = value_of(row);
              if (!value.has_value()) return std::nullopt;
              return Holds(op, static_cast<long double>(*value), static_cast<long double>(constant));
            }};
  }

  Term IntArithmetic() {
    const std::string field = Pick<std::string>({"i8", "i16", "i32", "i64"});
    const std::string sign = Pick<std::string>({"+", "-", "*", "/", "%", "&", "|", "^"});
    const int64_t operand = Pick<int64_t>({-7, -1, 1, 2, 3, 10, INT64_MAX});
    const int64_t constant = Pick<int64_t>({INT64_MIN, -2, -1, 0, 1, 2, 3, 6, 10, 130});
    const std::string op = Op();
    return {fmt::format("({} {} {}) {} {}", field, sign, operand, op, constant), [=](const Row& row) -> Truth3 {
              const Row* member = Member(row, field);
              if (member == nullptr) return std::nullopt;
              // 128 bits hold every intermediate result; the low 64 are the wrapped one.
              const Wide value = member->GetInt64();
              Wide result = 0;
              if (sign == "+") result = value + operand;
              if (sign == "-") result = value - operand;
              if (sign == "*") result = value * operand;
              if (sign == "/") result = value / operand;
              if (sign == "%") result = value % operand;
              if (sign == "&") result = value & operand;
              if (sign == "|") result = value | operand;
              if (sign == "^") result = value ^ operand;
              return Holds(op, static_cast<long double>(static_cast<int64_t>(result)),
                           static_cast<long double>(constant));
            }};
  }

  Term RealCompare() {
    const bool single = Chance(2);
    const std::string field = single ? "f" : "d";
    const double constant = Real();
    const std::string op = Op();
    const bool sum = Chance(4);
    const double operand = Pick<double>({0.5, 1.5, -2});
    const std::string text = sum ? fmt::format("{} + {} {} {}", field, RealText(operand), op, RealText(constant))
                                 : fmt::format("{} {} {}", RealText(constant), op, field);
    return {text, [=](const Row& row) -> Truth3 {
              const Row* member = Member(row, field);
              if (member == nullptr) return std::nullopt;
              if (single) {
                const auto value = static_cast<float>(member->GetDouble());
                const auto bound = static_cast<float>(constant);
                if (!sum) return Holds(op, bound, value);
                return Holds(op, value + static_cast<float>(operand), bound);
              }
              const double value = member->GetDouble();
              return sum ? Holds(op, value + operand, constant) : Holds(op, constant, value);
            }};
  }

  Term TextLeaf() {
    const std::string field = Pick<std::string>({"s", "t"});
    return OverText(field, [field](const Row& row) -> std::pair<bool, std::optional<std::string>> {
      const Row* member = Member(row, field);
      if (member == nullptr) return {false, std::nullopt};
      return {true, std::string(member->GetString(), member->GetStringLength())};
    });
  }

  /// Tests of a text. `value_of` gives (known, text or nothing where the value is no text).
  template <typename ValueOf>
  Term OverText(const std::string& place, const ValueOf& value_of) {
    const auto term = [&](const std::string& text, bool otherwise,
                          const std::function<bool(const std::string&)>& test) -> Term {
      return {text, [=](const Row& row) -> Truth3 {
                const auto [known, value] = value_of(row);
                if (!known) return std::nullopt;
                return value.has_value() ? test(*value) : otherwise;
              }};
    };
    switch (Below(4)) {
      case 0: {
        std::vector<std::string> list;
        std::string text;
        for (uint32_t i = Below(4); i > 0; --i) {
          list.push_back(Text());
          text += fmt::format("{}{}", text.empty() ? "" : ", ", Quoted(list.back()));
        }
        const bool negated = Chance(2);
        return term(fmt::format("{} {}in [{}]", place, negated ? "not " : "", text), negated,
                    [=](const std::string& value) {
                      return (std::find(list.begin(), list.end(), value) != list.end()) != negated;
                    });
      }
      case 1:
      case 2: {
        std::vector<PatternPart> parts;
        std::string pattern;
        for (uint32_t i = Below(5); i > 0; --i) {
          if (Chance(3)) {
            parts.push_back({PatternPart::kRun, ""});
            pattern += '%';
          } else if (Chance(3)) {
            parts.push_back({PatternPart::kOne, ""});
            pattern += '_';
          } else {
            const auto one = Pick<std::string>({"a", "b", "\u4e2d", "%", "_", "\\"});
            parts.push_back({PatternPart::kText, one});
            pattern += one == "%" || one == "_" || one == "\\" ? "\\" + one : one;
          }
        }
        return term(fmt::format("{} like {}", place, Quoted(pattern)), false,
                    [=](const std::string& value) { return LikeSlow(parts, 0, Characters(value), 0); });
      }
      default: {
        const std::string op = Op();
        const std::string constant = Text();
        return term(fmt::format("{} {} {}", place, op, Quoted(constant)),
                    op == "!=", [=](const std::string& value) { return HoldsText(op, value, constant); });
      }
    }
  }

  Term NullLeaf() {
    const auto field = Pick<std::string>({"i8", "i16", "i64", "f", "b", "s", "j", "ai", "at"});
    const bool negated = Chance(2);
    return {fmt::format("{} {}", field, negated ? "is not null" : "is null"),
            [=](const Row& row) -> Truth3 { return (Member(row, field) == nullptr) != negated; }};
  }

  Term FieldCompare() {
    const std::string op = Op();
    if (Chance(3)) {
      return {fmt::format("s {} t", op), [=](const Row& row) -> Truth3 {
                const Row* left = Member(row, "s");
                if (left == nullptr) return std::nullopt;
                return HoldsText(op, left->GetString(), Member(row, "t")->GetString());
              }};
    }
    const auto left = Pick<std::string>({"i8", "i16", "i32", "i64", "f", "d"});
    const auto right = Pick<std::string>({"i8", "i16", "i32", "i64", "f", "d"});
    const auto value_of = [](const Row& row, const std::string& field) -> std::optional<long double> {
      const Row* member = Member(row, field);
      if (member == nullptr) return std::nullopt;
      if (field == "f") return static_cast<float>(member->GetDouble());
      if (field == "d") return member->GetDouble();
      return static_cast<long double>(member->GetInt64());
    };
    return {fmt::format("{} {} {}", left, op, right), [=](const Row& row) -> Truth3 {
              const auto a = value_of(row, left);
              const auto b = value_of(row, right);
              if (!a.has_value() || !b.has_value()) return std::nullopt;
              return Holds(op, *a, *b);
            }};
  }

  /// A place in JSON: text, and the value there (nullptr: missing or null); `known` is false for NULL rows.
  struct Place {
    std::string text;
    std::string field;
    std::vector<std::string> keys;
    std::optional<unsigned> index;

    [[nodiscard]] const Row* Find(const Row& row, bool* known) const {
      static const Row kEmpty(rapidjson::kObjectType);
      const Row* value = Member(row, field);
      *known = value != nullptr || field == "$meta";
      if (value == nullptr) value = &kEmpty;
      for (const std::string& key : keys) {
        if (!value->IsObject()) return nullptr;
        value = Member(*value, key);
        if (value == nullptr) return nullptr;
      }
      if (index.has_value()) {
        if (value->IsObject()) return Member(*value, std::to_string(*index));
        if (!value->IsArray() || *index >= value->Size() || (*value)[*index].IsNull()) return nullptr;
        value = &(*value)[*index];
      }
      return value;
    }
  };

  Place AnyPlace() {
    Place place;
    const auto key = [&] { return Pick<std::string>({"k", "m", "\u4e2d", "zz"}); };
    place.keys.push_back(key());
    if (Chance(2)) {
      place.field = "j";
      place.text = fmt::format("j[\"{}\"]", place.keys[0]);
    } else {
      place.field = "$meta";
      place.text = Chance(2) ? place.keys[0] : fmt::format("$meta['{}']", place.keys[0]);
    }
    if (Chance(3)) {
      place.keys.push_back(key());
      place.text += fmt::format("[\"{}\"]", place.keys[1]);
    }
    if (Chance(4)) {
      place.index = Below(3);
      place.text += fmt::format("[{}]", *place.index);
    }
    return place;
  }

  static bool IsNumber(const Row& value) { return value.IsNumber(); }
  static long double NumberOf(const Row& value) {
    if (value.IsInt64()) return static_cast<long double>(value.GetInt64());
    if (value.IsUint64()) return static_cast<long double>(value.GetUint64());
    return value.GetDouble();
  }

  Term JsonLeaf() {
    const Place place = AnyPlace();
    const auto term = [&](const std::string& text, bool otherwise,
                          const std::function<std::optional<bool>(const Row&)>& test) -> Term {
      return {text, [=](const Row& row) -> Truth3 {
                bool known = false;
                const Row* value = place.Find(row, &known);
                if (!known) return std::nullopt;
                if (value == nullptr) return otherwise;
                return test(*value).value_or(otherwise);
              }};
    };
    switch (Below(8)) {
      case 0: {
        const bool negated = Chance(2);
        const std::string text = Chance(2) ? fmt::format("{}exists {}", negated ? "not " : "", place.text)
                                           : fmt::format("{} {}", place.text, negated ? "is null" : "is not null");
        return {text, [=](const Row& row) -> Truth3 {
                  bool known = false;
                  return (place.Find(row, &known) != nullptr && known) != negated;
                }};
      }
      case 1:
        return OverText(place.text, [place](const Row& row) -> std::pair<bool, std::optional<std::string>> {
          bool known = false;
          const Row* value = place.Find(row, &known);
          if (value == nullptr || !value->IsString()) return {known, std::nullopt};
          return {known, std::string(value->GetString(), value->GetStringLength())};
        });
      case 2: {
        const bool truth = Chance(2);
        const bool negated = Chance(2);
        return term(fmt::format("{} {} {}", place.text, negated ? "!=" : "==", truth), negated,
                    [=](const Row& value) -> std::optional<bool> {
                      if (!value.IsBool()) return std::nullopt;
                      return (value.GetBool() == truth) != negated;
                    });
      }
      case 3: {
        const int64_t a = Below(4);
        const bool any = Chance(2);
        return term(fmt::format("json_contains_{}({}, [{}, \"ab\"])", any ? "any" : "all", place.text, a), false,
                    [=](const Row& value) -> std::optional<bool> {
                      if (!value.IsArray()) return std::nullopt;
                      bool has_number = false;
                      bool has_text = false;
                      for (const auto& element : value.GetArray()) {
                        has_number = has_number || (element.IsNumber() && NumberOf(element) == a);
                        has_text = has_text || (element.IsString() && std::string(element.GetString()) == "ab");
                      }
                      return any ? has_number || has_text : has_number && has_text;
                    });
      }
      case 4: {
        const std::string op = Op();
        const int64_t length = Below(4);
        return term(fmt::format("array_length({}) {} {}", place.text, op, length), Holds(op, 0, length),
                    [=](const Row& value) -> std::optional<bool> {
                      return Holds(op, value.IsArray() ? value.Size() : 0, length);
                    });
      }
      default: {
        const std::string op = Op();
        const bool whole = Chance(2);
        const int64_t integer = Integer();
        const double real = Real();
        return term(fmt::format("{} {} {}", place.text, op, whole ? std::to_string(integer) : RealText(real)),
                    op == "!=", [=](const Row& value) -> std::optional<bool> {
                      if (!value.IsNumber()) return std::nullopt;
                      return Holds(op, NumberOf(value), whole ? static_cast<long double>(integer) : real);
                    });
      }
    }
  }

  Term ArrayLeaf() {
    switch (Below(5)) {
      case 0: {
        const uint32_t index = Below(4);
        const std::string op = Op();
        const auto constant = Pick<int64_t>({0, 1, 2, INT64_MAX});
        return {fmt::format("ai[{}] {} {}", index, op, constant), [=](const Row& row) -> Truth3 {
                  const Row* array = Member(row, "ai");
                  if (array == nullptr || index >= array->Size()) return std::nullopt;
                  return Holds(op, static_cast<long double>((*array)[index].GetInt64()),
                               static_cast<long double>(constant));
                }};
      }
      case 1: {
        const uint32_t index = Below(3);
        return OverText(fmt::format("at[{}]", index),
                        [=](const Row& row) -> std::pair<bool, std::optional<std::string>> {
                          const Row* array = Member(row, "at");
                          if (array == nullptr || index >= array->Size()) return {false, std::nullopt};
                          return {true, (*array)[index].GetString()};
                        });
      }
      case 2: {
        const auto one = Pick<int64_t>({0, 1, 2, 3, 4});
        const auto two = Pick<int64_t>({1, 2, INT64_MAX});
        const bool all = Chance(2);
        return {fmt::format("array_contains_{}(ai, [{}, {}])", all ? "all" : "any", one, two),
                [=](const Row& row) -> Truth3 {
                  const Row* array = Member(row, "ai");
                  if (array == nullptr) return std::nullopt;
                  bool has_one = false;
                  bool has_two = false;
                  for (const auto& element : array->GetArray()) {
                    has_one = has_one || element.GetInt64() == one;
                    has_two = has_two || element.GetInt64() == two;
                  }
                  return all ? has_one && has_two : has_one || has_two;
                }};
      }
      case 3: {
        const double constant = Real();
        return {fmt::format("array_contains(af, {})", RealText(constant)), [=](const Row& row) -> Truth3 {
                  const Row* array = Member(row, "af");
                  if (array == nullptr) return std::nullopt;
                  for (const auto& element : array->GetArray()) {
                    if (static_cast<float>(element.GetDouble()) == static_cast<float>(constant)) return true;
                  }
                  return false;
                }};
      }
      default: {
        const std::string op = Op();
        const int64_t length = Below(4);
        return {fmt::format("array_length(at) {} {}", op, length), [=](const Row& row) -> Truth3 {
                  const Row* array = Member(row, "at");
                  if (array == nullptr) return std::nullopt;
                  return Holds(op, array->Size(), length);
                }};
      }
    }
  }

  std::mt19937 random_;
};

}  // namespace quiver::expr::random
