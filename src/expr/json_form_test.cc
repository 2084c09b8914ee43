// The binary form of JSON documents gives the answers of the text, whatever the documents are.
#include "expr/json_form.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <memory>
#include <random>

#include "expr/filter.h"
#include "expr/json_form_writer.h"
#include "expr/test_json_form.h"
#include "expr/test_table.h"

namespace quiver::expr {
namespace {

/// Documents and places of every awkward kind.
class DocumentGenerator {
 public:
  explicit DocumentGenerator(uint32_t seed) : random_(seed) {}

  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  bool Chance(uint32_t of) { return Below(of) == 0; }

  std::string Document() {
    if (Chance(60)) return std::string(70, '[') + "1" + std::string(70, ']');
    std::string text = Blanks() + (Chance(20) ? Value(2) : Object(3)) + Blanks();
    if (!Chance(15)) return text;
    const size_t at = Below(static_cast<uint32_t>(text.size() + 1));
    if (Chance(2)) {
      text.resize(at);
    } else {
      text.insert(at, std::string(1, "{}[],:\"\\x0\n"[Below(11)]));
    }
    return text;
  }

  std::vector<PathStep> Path() {
    static const std::vector<std::string> kKeys = {
        "a", "b", "c", "", "0", "1", "\xe4\xb8\xad", "long key of a document", "r7", "nothing"};
    std::vector<std::string> keys;
    for (uint32_t steps = Below(4); steps > 0; --steps)
      keys.push_back(kKeys[Below(static_cast<uint32_t>(kKeys.size()))]);
    return StepsOf(keys);
  }

 private:
  template <size_t n>
  std::string Pick(const std::array<const char*, n>& choices) {
    return choices[Below(n)];
  }
  std::string Blanks() { return Chance(8) ? Pick(std::array{" ", "\n\t", "  "}) : std::string(); }
  std::string Number() {
    return Pick(std::array{"0",
                           "-0",
                           "1",
                           "2",
                           "2047",
                           "2048",
                           "-2048",
                           "-2049",
                           "2147483647",
                           "2147483648",
                           "-2147483648",
                           "-2147483649",
                           "9223372036854775807",
                           "-9223372036854775808",
                           "9223372036854775808",
                           "18446744073709551615",
                           "18446744073709551616",
                           "1.0",
                           "1.5",
                           "0.1",
                           "1e3",
                           "1E-2",
                           "1e400",
                           "-1e400",
                           "1e-400",
                           "5e-324",
                           "1.7976931348623157e308",
                           "123456789.125",
                           "-0.0",
                           "3.4e38",
                           "1e39"});
  }
  std::string String() {
    if (Chance(25)) return "\"" + std::string(Chance(3) ? 5000 : 130, 'x') + "\"";
    return Pick(std::array{R"("")", R"("a")", R"("ab")", R"("1")", R"("a\"b\\c\/d\n\t")", R"("\u4e2d")", R"("中文")",
                           R"("\ud83d\ude00")", R"("\ud83d alone")", R"("null")", "\"raw \x01\""});
  }
  std::string Name() {
    if (Chance(12)) return fmt::format("\"r{}\"", Below(40));
    return Pick(std::array{R"("a")", R"("a")", R"("b")", R"("b")", R"("c")", R"("")", R"("0")", R"("1")", R"("\u4e2d")",
                           R"("中")", R"("\u0061")", R"("long key of a document")"});
  }
  std::string Array(int depth) {
    std::string text = "[" + Blanks();
    const uint32_t count = Chance(40) ? 3000 : Chance(20) ? 62 + Below(3) : Below(5);
    for (uint32_t i = 0; i < count; ++i) text += (i == 0 ? "" : ",") + Blanks() + Value(count > 5 ? 0 : depth - 1);
    return text + Blanks() + "]";
  }
  std::string Object(int depth) {
    std::string text = "{" + Blanks();
    const uint32_t count = Chance(30) ? 80 : Below(7);
    for (uint32_t i = 0; i < count; ++i) {
      text += (i == 0 ? "" : ",") + Blanks() + Name() + Blanks() + ":" + Blanks() + Value(depth - 1);
    }
    return text + Blanks() + "}";
  }
  std::string Value(int depth) {
    switch (Below(depth > 0 ? 9 : 6)) {
      case 0: return "null";
      case 1: return Chance(2) ? "true" : "false";
      case 2:
      case 3: return Number();
      case 4:
      case 5: return String();
      case 6: return Array(depth);
      default: return Object(depth);
    }
  }

  std::mt19937 random_;
};

bool Same(const JsonValue& text, const JsonFormValue& form) {
  if (text.type != form.type) return false;
  switch (text.type) {
    case JsonType::kBool: return text.truth() == form.truth();
    case JsonType::kNumber: {
      JsonNumber left;
      JsonNumber right;
      const bool known = ReadJsonNumber(text.text, &left);
      if (known != ReadJsonNumber(form, &right)) return false;
      if (!known) return true;
      if (left.kind != right.kind) return false;
      switch (left.kind) {
        case JsonNumber::Kind::kInt: return left.integer == right.integer;
        case JsonNumber::Kind::kUint: return left.natural == right.natural;
        default: return std::bit_cast<uint64_t>(left.real) == std::bit_cast<uint64_t>(right.real);
      }
    }
    case JsonType::kString: {
      std::string left;
      std::string right;
      return JsonStringText(text, &left) == JsonStringText(form, &right);
    }
    case JsonType::kArray: {
      JsonArrayCursor left(text);
      JsonFormArrayCursor right(form);
      JsonValue element;
      JsonFormValue other;
      while (left.Next(&element)) {
        if (!right.Next(&other) || !Same(element, other)) return false;
      }
      return !right.Next(&other);
    }
    default: return true;
  }
}

struct Forms {
  explicit Forms(const std::vector<std::string>& documents) {
    JsonFormWriter writer;
    for (const std::string& document : documents) writer.Append(document, &forms.emplace_back());
    key_bytes = writer.Keys();
    keys = JsonKeyTable::Open(key_bytes).value();
  }
  std::vector<std::string> forms;
  std::string key_bytes;
  JsonKeyTable keys;
};

TEST(JsonForm, FindsWhatTheTextHolds) {
  size_t found = 0;
  size_t texts = 0;
  for (uint32_t seed = 1; seed <= 40; ++seed) {
    DocumentGenerator generator(seed);
    std::vector<std::string> documents;
    for (int i = 0; i < 150; ++i) documents.push_back(generator.Document());
    const Forms forms(documents);
    for (int i = 0; i < 60; ++i) {
      const std::vector<PathStep> steps = generator.Path();
      JsonFormPath path(forms.keys, steps);
      for (size_t row = 0; row < documents.size(); ++row) {
        const JsonValue expected = FindJson(documents[row], steps);
        if (const auto text = JsonFormText(forms.forms[row])) {
          ASSERT_EQ(*text, documents[row]);
          ++texts;
          continue;
        }
        found += expected.type == JsonType::kMissing ? 0 : 1;
        ASSERT_TRUE(Same(expected, path.Find(forms.forms[row]))) << documents[row] << "\nseed " << seed;
      }
    }
  }
  EXPECT_GT(found, 40'000U);
  EXPECT_GT(texts, 10'000U);
}

/// Documents as texts, or in binary form.
class DocumentPage final : public ColumnSource {
 public:
  DocumentPage(const std::vector<std::string>& documents, const Forms& forms, bool serve_forms)
      : texts_(documents.begin(), documents.end()),
        forms_(forms.forms.begin(), forms.forms.end()),
        keys_(serve_forms ? &forms.keys : nullptr),
        valid_(documents.size(), 1) {
    for (size_t row = 0; row < valid_.size(); row += 9) valid_[row] = 0;
  }
  [[nodiscard]] size_t row_count() const override { return texts_.size(); }
  [[nodiscard]] ColumnView column(int64_t /*field_id*/) const override { return Of(texts_); }
  [[nodiscard]] JsonForms json_forms(int64_t /*field_id*/) const override {
    return keys_ == nullptr ? JsonForms{} : JsonForms{.keys = keys_, .view = Of(forms_)};
  }

 private:
  [[nodiscard]] ColumnView Of(const std::vector<std::string_view>& rows) const {
    ColumnView view;
    view.type = DataType::kJson;
    view.rows = rows.size();
    view.valid = valid_.data();
    view.strings = rows.data();
    return view;
  }

  std::vector<std::string_view> texts_;
  std::vector<std::string_view> forms_;
  const JsonKeyTable* keys_;
  std::vector<uint8_t> valid_;
};

TEST(JsonForm, FiltersPassTheSameRows) {
  const CollectionSchema schema = SchemaOf({TestField("j", DataType::kJson, true)});
  std::vector<std::string> tests = {"exists {}",
                                    "not exists {}",
                                    "{} is null",
                                    "{} == [1, 2]",
                                    "{} != [\"a\"]",
                                    "{} == true",
                                    "{} != false",
                                    "{} in [1, 1.5, \"ab\", true]",
                                    "{} not in [0, \"\"]",
                                    "{} in [9223372036854775807, 1e3, 2048]",
                                    "{} like \"a%\"",
                                    "{} like \"%b%\"",
                                    "{} =~ \"[ab]\"",
                                    "{} !~ \"x+\"",
                                    "json_contains({}, 1)",
                                    "json_contains({}, [1])",
                                    "json_contains_all({}, [1, \"a\"])",
                                    "json_contains_any({}, [0, \"ab\", true])",
                                    "array_length({}) == 2",
                                    "array_length({}) > 60",
                                    "{} + 1 == 2",
                                    "{} * 2 > 4094",
                                    "{} % 2 == 1",
                                    "{} - 0.5 < 1",
                                    "0 < {} < 5",
                                    "\"a\" <= {} <= \"b\"",
                                    "-3000.5 <= {} <= 2048"};
  for (const char* op : {"==", "!=", "<", "<=", ">", ">="}) {
    for (const char* constant :
         {"0", "1", "1.0", "2047", "2048", "-2049", "2147483648", "9223372036854775807", "9.223372036854775808e18",
          "1.8446744073709552e19", "0.1", "123456789.125", "\"\"", "\"ab\"", "\"中文\""}) {
      tests.push_back(fmt::format("{{}} {} {}", op, constant));
    }
  }
  size_t passing = 0;
  size_t evaluated = 0;
  for (uint32_t seed = 100; seed < 106; ++seed) {
    DocumentGenerator generator(seed);
    std::vector<std::string> documents;
    for (int i = 0; i < 300; ++i) documents.push_back(generator.Document());
    const Forms forms(documents);
    const DocumentPage as_text(documents, forms, false);
    const DocumentPage as_forms(documents, forms, true);
    for (const char* place :
         {"j[\"a\"]", "j[\"b\"]", "j[\"a\"][\"b\"]", "j[\"a\"][0]", "j[\"c\"][1][\"a\"]", "j[\"\u4e2d\"]",
          "j[\"b\"][\"c\"][\"a\"]", "j[\"r7\"]", "j[\"0\"]", "j[\"long key of a document\"]", "j[\"nothing\"]"}) {
      for (const std::string& test : tests) {
        const std::string text = fmt::format(fmt::runtime(test), place);
        const auto filter = Filter::Compile(text, schema);
        ASSERT_TRUE(filter.ok()) << text << "\n" << filter.status().message();
        uint64_t expected[5] = {};
        uint64_t actual[5] = {};
        (*filter)->Evaluate(as_text, expected);
        (*filter)->Evaluate(as_forms, actual);
        for (size_t word = 0; word < std::size(expected); ++word) {
          passing += static_cast<size_t>(std::popcount(expected[word]));
          const uint64_t differ = expected[word] ^ actual[word];
          ASSERT_EQ(differ, 0U) << text << "\n"
                                << documents[word * 64 + static_cast<size_t>(std::countr_zero(differ))] << "\nseed "
                                << seed;
        }
        evaluated += documents.size();
      }
    }
  }
  EXPECT_GT(passing, evaluated / 50);
  EXPECT_LT(passing, evaluated / 2);
}

TEST(JsonForm, KeysBeyondTheTableKeepTheirNames) {
  JsonFormWriter writer;
  std::string form;
  for (uint32_t i = 0; i < JsonFormWriter::kMaxKeys; ++i) {
    form.clear();
    writer.Append(fmt::format(R"({{"key{}":{}}})", i, i), &form);
  }
  constexpr std::string_view kDocument =
      R"({"new b":{"new a":70000,"key5":1},"key9":true,"key60000":"x","new a":5,"new b":1,"new c":"text","new d":null})";
  std::string last;
  writer.Append(kDocument, &last);
  const std::string bytes = writer.Keys();
  const auto keys = JsonKeyTable::Open(bytes);
  ASSERT_TRUE(keys.has_value());
  EXPECT_EQ(keys->size(), JsonFormWriter::kMaxKeys);
  EXPECT_EQ(keys->Find("key65534"), 65534U);
  EXPECT_EQ(keys->Name(65534), "key65534");
  EXPECT_EQ(keys->Find("new a"), kNoJsonKey);
  for (const std::vector<std::string>& place : std::vector<std::vector<std::string>>{{"new a"},
                                                                                     {"new b"},
                                                                                     {"new b", "new a"},
                                                                                     {"new b", "key5"},
                                                                                     {"new b", "new d"},
                                                                                     {"new c"},
                                                                                     {"new d"},
                                                                                     {"new e"},
                                                                                     {"key9"},
                                                                                     {"key60000"},
                                                                                     {"key60001"}}) {
    const std::vector<PathStep> steps = StepsOf(place);
    JsonFormPath path(*keys, steps);
    EXPECT_TRUE(Same(FindJson(kDocument, steps), path.Find(last))) << fmt::format("{}", fmt::join(place, "/"));
    EXPECT_EQ(path.Find(form).type, JsonType::kMissing);
  }
}

// Under AddressSanitizer this shows that nothing outside of the bytes is touched.
TEST(JsonForm, DamagedBytesAreReadWithinTheirBounds) {
  size_t seen = 0;
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    DocumentGenerator generator(seed);
    std::vector<std::string> documents;
    for (int i = 0; i < 30; ++i) documents.push_back(generator.Document());
    const Forms forms(documents);
    std::vector<std::vector<PathStep>> places;
    for (int i = 0; i < 10; ++i) places.push_back(generator.Path());
    for (std::string form : forms.forms) {
      if (form.empty()) continue;
      const auto size = static_cast<uint32_t>(form.size());
      for (uint32_t changes = 1 + generator.Below(4); changes > 0; --changes) {
        form[generator.Below(std::min(size, 40U))] = static_cast<char>(generator.Below(256));
      }
      const size_t kept = generator.Chance(3) ? 1 + generator.Below(size) : size;
      const auto bytes = std::make_unique<char[]>(kept);
      std::memcpy(bytes.get(), form.data(), kept);
      for (const std::vector<PathStep>& steps : places) {
        JsonFormPath path(forms.keys, steps);
        seen += WalkForm(path.Find({bytes.get(), kept}), 3);
      }
    }
    for (int i = 0; i < 200; ++i) {
      std::string damaged = forms.key_bytes.substr(0, generator.Below(static_cast<uint32_t>(forms.key_bytes.size())));
      EXPECT_FALSE(JsonKeyTable::Open(damaged).has_value());
      damaged = forms.key_bytes;
      damaged[generator.Below(static_cast<uint32_t>(damaged.size()))] = static_cast<char>(generator.Below(256));
      if (const auto keys = JsonKeyTable::Open(damaged)) seen += keys->Find("a");
    }
  }
  EXPECT_GT(seen, 0U);
}

TEST(JsonForm, TypicalDocumentsAreSmallerThanTheirTexts) {
  JsonFormWriter writer;
  std::string form;
  writer.Append(R"({"rank":123,"on":true})", &form);
  EXPECT_EQ(form.size(), 8U);
  form.clear();
  constexpr std::string_view kProduct =
      R"({"title":"item number 5","tags":["red","green","blue"],"price":5.5,"shop":{"city":"c07","rank":12345}})";
  writer.Append(kProduct, &form);
  EXPECT_LT(form.size(), kProduct.size() * 3 / 4);
}

}  // namespace
}  // namespace quiver::expr
