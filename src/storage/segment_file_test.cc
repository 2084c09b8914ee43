#include "storage/segment_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "expr/json_form.h"
#include "expr/json_scan.h"
#include "expr/value_statistics.h"
#include "io/fault_file_system.h"
#include "storage/internal/segment_format.h"

namespace quiver::storage {
namespace {

using io::FaultFileSystem;

constexpr int64_t kPk = 100;
constexpr int64_t kVector = 101;
constexpr int64_t kText = 102;
constexpr int64_t kNumber = 103;
constexpr int64_t kFlag = 104;
constexpr int64_t kCategory = 105;
constexpr int64_t kDocument = 106;

struct Content {
  std::vector<Column> columns;
  std::vector<uint64_t> timestamps;
  std::vector<PartitionRun> partitions;
  SegmentFileOptions options;

  [[nodiscard]] const Column& Of(int64_t field_id) const {
    return *std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.field_id == field_id; });
  }
};

/// Rows with every kind of column; about every third key has an older version in the segment.
/// Places of several kinds: always integers, always reals, few texts, mixed, nested, often absent, below arrays, named
/// with an escape, twice.
std::string RandomDocument(std::mt19937_64& random) {
  const auto number = static_cast<int64_t>(random() % 2000) - 1000;
  std::string text = fmt::format(R"({{ "n": {}, "x" : {}.25, "color":"c{}")", number, number, random() % 7);
  switch (random() % 5) {
    case 0: text += R"(,"mixed":"a \"quoted\" word")"; break;
    case 1: text += R"(,"mixed":null)"; break;
    case 2: text += fmt::format(R"(,"mixed":{})", number); break;
    case 3: text += R"(,"mixed":[1, {"deep": 2}])"; break;
    default: text += R"(,"mixed":{"deep":true})";
  }
  text += fmt::format(R"(, "shop": {{"city": "{}", "place": {{"row": {}}}}})", random() % 3, number * 1000003);
  if (random() % 2 == 0) text += fmt::format(R"(,"sometimes":{})", random() % 2 == 0);
  if (random() % 3 == 0) text += fmt::format(R"(,"n":"again")");
  if (random() % 3 == 0) text += fmt::format(R"(,"\u006eame":{})", number);
  return text + "}";
}

Content MakeContent(uint32_t rows, bool string_pk, uint64_t seed = 1, int64_t dim = 13) {
  std::mt19937_64 random(seed);
  Content content;
  Column pk = Column::Make(kPk, string_pk ? DataType::kVarChar : DataType::kInt64);
  Column vector = Column::Make(kVector, DataType::kFloatVector, dim);
  Column text = Column::Make(kText, DataType::kVarChar);
  Column number = Column::Make(kNumber, DataType::kDouble);
  Column flag = Column::Make(kFlag, DataType::kBool);
  Column category = Column::Make(kCategory, DataType::kVarChar);
  Column document = Column::Make(kDocument, DataType::kJson);
  for (uint32_t row = 0; row < rows; ++row) {
    const auto key = static_cast<int64_t>(random() % (rows * 2 + 1)) - rows;
    if (string_pk) {
      pk.Append(fmt::format("{}key{}", std::string(static_cast<size_t>(std::abs(key)) % 90, 'k'), key));
    } else {
      pk.AppendValue(key);
    }
    std::vector<float> values(static_cast<size_t>(dim));
    for (float& value : values) value = static_cast<float>(random() % 1000);
    vector.Append({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
    if (random() % 5 == 0) {
      text.AppendNull();
    } else {
      text.Append(std::string(random() % 40, static_cast<char>('a' + row % 26)));
    }
    if (row % 7 == 0) {
      number.AppendNull();
    } else {
      number.AppendValue(row % 11 == 0 ? std::nan("") : static_cast<double>(random() % 100000) - 50000);
    }
    flag.AppendValue(static_cast<uint8_t>(row < rows / 2 ? 1 : random() % 2));
    if (row % 50 == 3) {
      category.AppendNull();
    } else {
      category.Append(fmt::format("category {}", random() % 30));
    }
    if (row % 31 == 7) {
      document.AppendNull();
    } else {
      document.Append(RandomDocument(random));
    }
    content.timestamps.push_back(1000 + random() % 500);
  }
  content.columns = {std::move(pk),   std::move(vector),   std::move(text),    std::move(number),
                     std::move(flag), std::move(category), std::move(document)};
  const uint32_t cut = rows / 3;
  content.partitions = {{7, 0, cut}, {9, cut, rows - cut}};
  content.options = {.rows = rows,
                     .pk_field_id = kPk,
                     .collection_id = 5,
                     .segment_id = 77,
                     .schema_version = 3,
                     .min_json_path_rows = 1};
  return content;
}

Status Write(io::FileSystem& fs, const std::string& path, const Content& content) {
  QUIVER_ASSIGN_OR_RETURN(const auto writer, SegmentFileWriter::Create(fs, path, content.options));
  for (const Column& column : content.columns) QUIVER_RETURN_IF_ERROR(writer->AddColumn(column));
  return writer->Finish(content.timestamps, content.partitions);
}

std::shared_ptr<const SegmentFile> MustOpen(io::FileSystem& fs, const std::string& path) {
  auto segment = SegmentFile::Open(fs, path);
  EXPECT_TRUE(segment.ok()) << segment.status().ToString();
  return segment.ok() ? *std::move(segment) : nullptr;
}

void ExpectEqualColumns(const SegmentFile& segment, const Content& content) {
  for (const Column& column : content.columns) {
    const auto rows = static_cast<uint32_t>(column.rows);
    for (const auto& [first, count] : {std::pair(0U, rows), std::pair(rows / 3, rows / 2), std::pair(rows, 0U)}) {
      const auto view = segment.View(column.field_id, first, count);
      ASSERT_TRUE(view.ok()) << view.status().ToString();
      ASSERT_TRUE(view->present());
      EXPECT_EQ(view->type, column.type);
      EXPECT_EQ(view->width, column.width);
      ASSERT_EQ(view->rows, count);
      for (uint32_t row = 0; row < count; ++row) {
        ASSERT_EQ(view->IsNull(row), column.IsNull(first + row));
        ASSERT_EQ(view->Bytes(row), column.Bytes(first + row));
      }
    }
  }
}

class SegmentFileTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { ASSERT_TRUE(fs_.CreateDirectories("d").ok()); }
  FaultFileSystem fs_;
};

INSTANTIATE_TEST_SUITE_P(Keys, SegmentFileTest, testing::Values(false, true),
                         [](const auto& keys) { return keys.param ? "VarChar" : "Int64"; });

TEST_P(SegmentFileTest, GivesBackEveryColumn) {
  for (const uint32_t rows : {0U, 1U, 2U, 4095U, 4096U, 4097U, 20000U}) {
    const Content content = MakeContent(rows, GetParam());
    const std::string path = fmt::format("d/{}.seg", rows);
    const Status written = Write(fs_, path, content);
    ASSERT_TRUE(written.ok()) << written.ToString();
    const auto segment = MustOpen(fs_, path);
    ASSERT_NE(segment, nullptr);
    EXPECT_EQ(segment->rows(), rows);
    EXPECT_EQ(segment->pk_field_id(), kPk);
    EXPECT_EQ(segment->collection_id(), 5);
    EXPECT_EQ(segment->segment_id(), 77);
    EXPECT_EQ(segment->schema_version(), 3);
    EXPECT_EQ(segment->columns().size(), content.columns.size());
    EXPECT_TRUE(segment->has_column(kText));
    EXPECT_FALSE(segment->has_column(999));
    EXPECT_FALSE(segment->View(999, 0, rows)->present());
    EXPECT_EQ(segment->View(kPk, rows, 1).status().code(), StatusCode::kInternal);
    EXPECT_TRUE(std::ranges::equal(segment->partitions(), content.partitions));
    EXPECT_TRUE(std::ranges::equal(*segment->insert_timestamps(), content.timestamps));
    ExpectEqualColumns(*segment, content);
    const Status verified = segment->VerifyAll();
    EXPECT_TRUE(verified.ok()) << verified.ToString();
    if (rows > 0) {
      EXPECT_EQ(segment->min_timestamp(), *std::ranges::min_element(content.timestamps));
      EXPECT_EQ(segment->max_timestamp(), *std::ranges::max_element(content.timestamps));
      const auto vectors = segment->View(kVector, 0, rows);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(vectors->fixed) % 64, 0U);
    }
  }
}

TEST_P(SegmentFileTest, FindsKeysAndTheirVersions) {
  const Content content = MakeContent(9000, GetParam());
  ASSERT_TRUE(Write(fs_, "d/s", content).ok());
  const auto segment = MustOpen(fs_, "d/s");
  const Column& pk = content.Of(kPk);
  std::map<std::string, std::vector<std::pair<uint64_t, uint32_t>>, std::less<>> model;
  for (uint32_t row = 0; row < segment->rows(); ++row) {
    model[std::string(pk.Bytes(row))].emplace_back(content.timestamps[row], row);
  }
  const auto find = [&](std::string_view key) {
    if (GetParam()) return std::pair(segment->FindPkVersions(key), segment->FindPk(key));
    int64_t number = 0;
    std::memcpy(&number, key.data(), sizeof(number));
    return std::pair(segment->FindPkVersions(number), segment->FindPk(number));
  };
  for (auto& [key, versions] : model) {
    std::sort(versions.begin(), versions.end());
    const auto [rows, newest] = find(key);
    ASSERT_TRUE(rows.ok());
    ASSERT_EQ(rows->size(), versions.size());
    for (size_t i = 0; i < versions.size(); ++i) EXPECT_EQ((*rows)[i], versions[i].second);
    EXPECT_EQ(**newest, versions.back().second);
  }
  std::mt19937_64 random(3);
  size_t absent = 0;
  for (int i = 0; i < 20000; ++i) {
    const auto number = static_cast<int64_t>(random() % 60000) - 30000;
    const std::string key =
        GetParam() ? fmt::format("key{}", number) : std::string(reinterpret_cast<const char*>(&number), sizeof(number));
    if (model.contains(key)) continue;
    ++absent;
    ASSERT_FALSE(find(key).second->has_value());
  }
  EXPECT_GT(absent, 5000U);
  // A key of the other type is never there.
  EXPECT_FALSE((GetParam() ? segment->FindPk(int64_t{1}) : segment->FindPk(std::string_view("key1")))->has_value());
}

TEST_P(SegmentFileTest, KeepsStatisticsOfPages) {
  const Content content = MakeContent(10000, GetParam());
  ASSERT_TRUE(Write(fs_, "d/s", content).ok());
  const auto segment = MustOpen(fs_, "d/s");
  const auto numbers = segment->page_statistics(kNumber);
  ASSERT_TRUE(numbers.ok());
  ASSERT_EQ(numbers->size(), 3U);
  const Column& column = content.Of(kNumber);
  for (size_t page = 0; page < 3; ++page) {
    double min = std::numeric_limits<double>::infinity();
    double max = -min;
    uint32_t nulls = 0;
    bool nan = false;
    for (size_t row = page * kSegmentPageRows; row < std::min<size_t>(column.rows, (page + 1) * kSegmentPageRows);
         ++row) {
      if (column.IsNull(row)) {
        ++nulls;
        continue;
      }
      const auto value = column.Get<double>(row);
      if (std::isnan(value)) {
        nan = true;
        continue;
      }
      min = std::min(min, value);
      max = std::max(max, value);
    }
    const PageStatistics& facts = (*numbers)[page];
    EXPECT_EQ(facts.min.real, min);
    EXPECT_EQ(facts.max.real, max);
    EXPECT_EQ(facts.null_count, nulls);
    EXPECT_EQ(facts.has_nan != 0, nan);
    EXPECT_EQ(facts.has_values, 1);
  }
  const auto flags = segment->page_statistics(kFlag);
  EXPECT_EQ((*flags)[0].min.integer, 1);
  EXPECT_EQ((*flags)[2].min.integer, 0);
  EXPECT_EQ((*flags)[0].distinct, 1);
  EXPECT_EQ((*flags)[2].distinct, 2);
  EXPECT_TRUE(segment->page_statistics(kText)->empty());
  EXPECT_TRUE(segment->page_statistics(kVector)->empty());
  EXPECT_TRUE(segment->text_statistics(kNumber)->empty());
  EXPECT_FALSE(segment->column(kVector)->summary.has_value());
}

TEST_P(SegmentFileTest, KeepsStatisticsOfTexts) {
  Content content = MakeContent(10000, GetParam());
  Column& text = *std::find_if(content.columns.begin(), content.columns.end(),
                               [](const Column& c) { return c.field_id == kText; });
  text = Column::Make(kText, DataType::kVarChar);
  for (uint32_t row = 0; row < 10000; ++row) {
    if (row >= 8192 || row % 9 == 0) {
      text.AppendNull();  // the last page holds nothing else
    } else if (row == 5000) {
      text.Append(std::string(40, '\xFF'));  // no upper bound of 24 bytes
    } else {
      text.Append(fmt::format("{}a text that is longer than any bound {}", row % 3 == 0 ? "" : "x", row % 100));
    }
  }
  ASSERT_TRUE(Write(fs_, "d/s", content).ok());
  const auto segment = MustOpen(fs_, "d/s");
  ASSERT_TRUE(segment->VerifyAll().ok());
  const auto pages = segment->text_statistics(kText);
  ASSERT_TRUE(pages.ok());
  ASSERT_EQ(pages->size(), 3U);
  std::set<std::string, std::less<>> all;
  for (size_t page = 0; page < 3; ++page) {
    std::set<std::string, std::less<>> values;
    uint32_t nulls = 0;
    for (size_t row = page * kSegmentPageRows; row < std::min<size_t>(10000, (page + 1) * kSegmentPageRows); ++row) {
      text.IsNull(row) ? static_cast<void>(++nulls) : static_cast<void>(values.emplace(text.Bytes(row)));
    }
    const TextStatistics& facts = (*pages)[page];
    EXPECT_EQ(facts.null_count, nulls);
    EXPECT_EQ(facts.distinct, values.size());
    EXPECT_EQ(facts.has_values != 0, !values.empty());
    EXPECT_EQ(facts.max_open, page == 1 ? 1 : 0);
    for (const std::string& value : values) EXPECT_TRUE(facts.MayHold(value, value)) << value;
    EXPECT_FALSE(facts.MayHold("", "0"));
    if (page == 0) {
      EXPECT_FALSE(facts.MayHold("y", "z"));
      EXPECT_EQ(facts.min(), "a text that is longer th");
      EXPECT_EQ(facts.max(), "xa text that is longer u") << "cut and raised";
    }
    all.merge(values);
  }
  const auto& summary = segment->column(kText)->summary;
  ASSERT_TRUE(summary.has_value());
  EXPECT_EQ(summary->distinct, all.size());
  EXPECT_EQ(summary->min_text, "a text that is longer th");
  EXPECT_FALSE(summary->max_text.has_value());
}

TEST_P(SegmentFileTest, KeepsRepeatedTextsInADictionary) {
  constexpr uint32_t kRows = 60000;
  const auto write = [&](uint64_t distinct, size_t length, bool nulls) {
    Content content = MakeContent(kRows, GetParam());
    content.columns.pop_back();  // the documents have a test of their own
    Column& text = *std::find_if(content.columns.begin(), content.columns.end(),
                                 [](const Column& c) { return c.field_id == kText; });
    text = Column::Make(kText, DataType::kVarChar);
    std::mt19937_64 random(9);
    for (uint32_t row = 0; row < kRows; ++row) {
      if (nulls && row % 10 == 0) {
        text.AppendNull();
      } else {
        text.Append(fmt::format("{:0{}}", random() % distinct, length));
      }
    }
    EXPECT_TRUE(Write(fs_, "d/s", content).ok());
    return content;
  };
  struct Case {
    uint64_t distinct;
    size_t length;
    bool nulls;
    size_t code_width;  // 0 = no dictionary
  };
  for (const Case& one : {Case{1, 3, false, 1}, Case{256, 10, false, 1}, Case{256, 10, true, 2}, Case{255, 10, true, 1},
                          Case{1000, 20, true, 2}, Case{1U << 30, 10, false, 0}}) {
    SCOPED_TRACE(one.distinct);
    const Content content = write(one.distinct, one.length, one.nulls);
    const auto segment = MustOpen(fs_, "d/s");
    const Status verified = segment->VerifyAll();
    EXPECT_TRUE(verified.ok()) << verified.ToString();
    ExpectEqualColumns(*segment, content);
    const auto view = segment->View(kText, 100, 10);
    ASSERT_TRUE(view.ok());
    EXPECT_EQ(view->codes8 != nullptr, one.code_width == 1);
    EXPECT_EQ(view->codes16 != nullptr, one.code_width == 2);
    EXPECT_EQ(view->offsets32 != nullptr, one.code_width == 0);
    EXPECT_EQ(view->offsets, nullptr);
    if (one.code_width == 0) continue;
    EXPECT_EQ(view->dictionary->size, one.distinct + (one.nulls ? 1 : 0)) << "a null is the empty string";
    EXPECT_LT(segment->column(kText)->byte_size,
              kRows * (one.code_width + (one.nulls ? 1 : 0)) + (one.distinct + 1) * (one.length + 4) + 4500);
    // A file written from this file's views is the same file.
    auto writer = SegmentFileWriter::Create(fs_, "d/copy", content.options);
    ASSERT_TRUE(writer.ok());
    for (const Column& column : content.columns) {
      const ColumnView pages[] = {*segment->View(column.field_id, 0, 70),
                                  *segment->View(column.field_id, 70, kRows - 70)};
      ASSERT_TRUE((*writer)->AddColumn(column.field_id, pages).ok());
    }
    ASSERT_TRUE((*writer)->Finish(content.timestamps, content.partitions).ok());
    EXPECT_EQ(*fs_.ReadFile("d/copy"), *fs_.ReadFile("d/s"));
  }
}

TEST_P(SegmentFileTest, KeepsFrequentPlacesOfJsonAsColumns) {
  constexpr uint32_t kRows = 9000;
  const Content content = MakeContent(kRows, GetParam());
  ASSERT_TRUE(Write(fs_, "d/s", content).ok());
  const auto segment = MustOpen(fs_, "d/s");
  EXPECT_EQ(segment->columns().size(), content.columns.size()) << "places are no fields";
  const Column& documents = content.columns.back();
  const std::map<std::vector<std::string>, DataType> expected = {{{"n"}, DataType::kInt64},
                                                                 {{"x"}, DataType::kDouble},
                                                                 {{"color"}, DataType::kVarChar},
                                                                 {{"mixed"}, DataType::kVarChar},
                                                                 {{"shop", "city"}, DataType::kVarChar},
                                                                 {{"shop", "place", "row"}, DataType::kInt64},
                                                                 {{"sometimes"}, DataType::kVarChar}};
  const auto paths = segment->json_paths();
  ASSERT_TRUE(paths.ok()) << paths.status().ToString();
  EXPECT_EQ(paths->size(), expected.size());
  for (const auto& [keys, type] : expected) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(keys, ".")));
    const auto column = segment->FindJsonPath(kDocument, keys);
    ASSERT_TRUE(column.ok());
    ASSERT_NE(*column, nullptr);
    EXPECT_EQ((*column)->type, type);
    const auto view = segment->View((*column)->field_id, 0, kRows);
    ASSERT_TRUE(view.ok()) << view.status().ToString();
    std::vector<expr::PathStep> steps;
    for (const std::string& key : keys) steps.push_back({.key = key});
    for (uint32_t row = 0; row < kRows; ++row) {
      expr::JsonValue value;
      if (!documents.IsNull(row)) value = expr::FindJson(documents.Bytes(row), steps);
      ASSERT_EQ(view->IsNull(row), value.type == expr::JsonType::kMissing) << row;
      if (view->IsNull(row)) continue;
      if (type == DataType::kInt64) {
        ASSERT_EQ(fmt::to_string(view->Get<int64_t>(row)), value.text);
      } else if (type == DataType::kDouble) {
        ASSERT_EQ(view->Get<double>(row), std::stod(std::string(value.text)));
      } else {
        const std::string text(value.text);
        ASSERT_EQ(view->Bytes(row), value.type == expr::JsonType::kString ? "\"" + text + "\"" : text);
      }
    }
  }
  const auto rare = segment->FindJsonPath(kDocument, std::vector<std::string>{"mixed", "deep"});
  ASSERT_TRUE(rare.ok());
  EXPECT_EQ(*rare, nullptr);
  const auto other = segment->FindJsonPath(kText, std::vector<std::string>{"n"});
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(*other, nullptr);
  const auto validity = segment->Validity(kDocument, 31, 40);
  ASSERT_TRUE(validity.ok());
  EXPECT_TRUE(validity->present());
  for (uint32_t row = 0; row < 40; ++row) EXPECT_EQ(validity->IsNull(row), documents.IsNull(31 + row));
  const Status verified = segment->VerifyAll();
  EXPECT_TRUE(verified.ok()) << verified.ToString();
}

TEST_P(SegmentFileTest, SmallSegmentsKeepNoPlacesOfJson) {
  Content content = MakeContent(1023, GetParam());
  content.options.min_json_path_rows = SegmentFileOptions{}.min_json_path_rows;
  ASSERT_TRUE(Write(fs_, "d/s", content).ok());
  const auto paths = MustOpen(fs_, "d/s")->json_paths();
  ASSERT_TRUE(paths.ok());
  EXPECT_TRUE(paths->empty());
}

TEST_P(SegmentFileTest, KeepsDocumentsInBinaryForm) {
  constexpr uint32_t kRows = 5000;
  const Content content = MakeContent(kRows, GetParam());
  ASSERT_TRUE(Write(fs_, "d/s", content).ok());
  const auto segment = MustOpen(fs_, "d/s");
  const Column& documents = content.Of(kDocument);
  size_t found = 0;
  for (const std::vector<std::string>& place :
       std::vector<std::vector<std::string>>{{"n"}, {"mixed"}, {"mixed", "deep"}, {"mixed", "1", "deep"}, {"name"}}) {
    const std::vector<expr::PathStep> steps = expr::StepsOf(place);
    for (uint32_t first = 0; first < kRows; first += 999) {
      const uint32_t rows = std::min(kRows - first, 1000U);
      const auto forms = segment->ViewJsonForms(kDocument, first, rows);
      ASSERT_TRUE(forms.ok()) << forms.status().ToString();
      ASSERT_NE(forms->keys, nullptr);
      expr::JsonFormPath path(*forms->keys, steps);
      for (uint32_t row = 0; row < rows; ++row) {
        ASSERT_EQ(forms->view.IsNull(row), documents.IsNull(first + row));
        if (documents.IsNull(first + row)) continue;
        const expr::JsonValue expected = expr::FindJson(documents.Bytes(first + row), steps);
        const expr::JsonFormValue value = path.Find(forms->view.Bytes(row));
        ASSERT_EQ(value.type, expected.type) << documents.Bytes(first + row);
        if (expected.type == expr::JsonType::kMissing) continue;
        ++found;
        expr::JsonNumber number;
        expr::JsonNumber same;
        if (expected.type != expr::JsonType::kNumber) continue;
        ASSERT_TRUE(expr::ReadJsonNumber(expected.text, &number) && expr::ReadJsonNumber(value, &same));
        ASSERT_EQ(number.ToDouble(), same.ToDouble());
      }
    }
  }
  EXPECT_GT(found, kRows * 2);
  EXPECT_EQ(segment->ViewJsonForms(kText, 0, 1)->keys, nullptr);
  EXPECT_FALSE(segment->ViewJsonForms(kDocument, kRows, 1).ok());
  const Status verified = segment->VerifyAll();
  EXPECT_TRUE(verified.ok()) << verified.ToString();
}

/// What columns of places hold as a whole needs no binary form; neither do few rows.
TEST_P(SegmentFileTest, KeepsNoBinaryFormThatSaysNothingMore) {
  const auto has_forms = [&](uint32_t rows, std::string_view last) {
    Content content = MakeContent(rows, GetParam());
    content.options.min_json_path_rows = SegmentFileOptions{}.min_json_path_rows;
    Column& documents = content.columns.back();
    documents = Column::Make(kDocument, DataType::kJson);
    for (uint32_t row = 0; row + 1 < rows; ++row) {
      documents.Append(fmt::format(R"({{"a":{},"b":{{"c":"text {}"}},"d":null}})", row, row));
    }
    documents.Append(last);
    EXPECT_TRUE(Write(fs_, "d/s", content).ok());
    const auto segment = MustOpen(fs_, "d/s");
    const Status verified = segment->VerifyAll();
    EXPECT_TRUE(verified.ok()) << verified.ToString();
    return segment->ViewJsonForms(kDocument, 0, 1)->keys != nullptr;
  };
  EXPECT_FALSE(has_forms(2000, "{}"));
  EXPECT_TRUE(has_forms(2000, R"({"e":1})"));
  EXPECT_TRUE(has_forms(2000, R"({"a":[1]})"));
  EXPECT_TRUE(has_forms(2000, R"({"b":{"1":2}})"));
  EXPECT_TRUE(has_forms(2000, R"([1,2])"));
  EXPECT_FALSE(has_forms(1000, R"({"a":[1]})"));
}

TEST_P(SegmentFileTest, SummarisesColumns) {
  const Content content = MakeContent(20000, GetParam());
  ASSERT_TRUE(Write(fs_, "d/s", content).ok());
  const auto segment = MustOpen(fs_, "d/s");
  const Column& column = content.Of(kNumber);
  std::set<double> values;
  for (size_t row = 0; row < column.rows; ++row) {
    if (!column.IsNull(row) && !std::isnan(column.Get<double>(row))) values.insert(column.Get<double>(row));
  }
  const auto& summary = segment->column(kNumber)->summary;
  ASSERT_TRUE(summary.has_value());
  EXPECT_TRUE(summary->has_values);
  EXPECT_TRUE(summary->has_nan);
  EXPECT_EQ(summary->min.real, *values.begin());
  EXPECT_EQ(summary->max.real, *values.rbegin());
  EXPECT_NEAR(static_cast<double>(summary->distinct), static_cast<double>(values.size()),
              0.08 * static_cast<double>(values.size()));
  EXPECT_EQ(segment->column(kFlag)->summary->distinct, 2U);
  EXPECT_EQ(segment->column(kNumber)->null_count, static_cast<uint64_t>((20000 + 6) / 7));
}

TEST_P(SegmentFileTest, KeepsHowValuesAreSpread) {
  ASSERT_TRUE(Write(fs_, "d/s", MakeContent(9000, GetParam())).ok());
  const auto segment = MustOpen(fs_, "d/s");
  for (const SegmentColumn& column : segment->columns()) {
    const auto known = segment->value_statistics(column.field_id);
    ASSERT_TRUE(known.ok()) << known.status().ToString();
    if (!column.summary || !column.summary->has_values) {
      EXPECT_EQ(*known, nullptr) << column.field_id;
      continue;
    }
    ASSERT_NE(*known, nullptr) << column.field_id;
    EXPECT_EQ((*known)->distinct, column.summary->distinct);
    // Few enough for all of them to be counted.
    uint64_t rows = 0;
    for (const expr::ValueRows& value : (*known)->top) rows += value.rows;
    for (const expr::ValueRows& value : (*known)->buckets) rows += value.rows;
    EXPECT_EQ(rows, (*known)->values) << column.field_id;
    EXPECT_LE((*known)->values, segment->rows() - column.null_count);
  }
  EXPECT_EQ(*segment->value_statistics(12345), nullptr);
}

TEST_P(SegmentFileTest, FindsTheRowsOfAPartitionKey) {
  constexpr uint32_t kRows = 30000;
  constexpr int64_t kTenant = 200;
  for (const int64_t tenants : {int64_t{1}, int64_t{5}, int64_t{3000}, int64_t{100000}}) {
    Content content = MakeContent(kRows, false);
    content.partitions = {{7, 0, 9000}, {8, 9000, 0}, {9, 9000, 1}, {10, 9001, kRows - 9001}};
    Column tenant = Column::Make(kTenant, GetParam() ? DataType::kVarChar : DataType::kInt64);
    std::mt19937_64 random(5);
    const auto text_of = [](int64_t key) { return fmt::format("a tenant of quite some length {:06}", key); };
    std::vector<int64_t> keys(kRows);
    for (int64_t& key : keys) key = static_cast<int64_t>(random() % static_cast<uint64_t>(tenants)) - tenants / 2;
    for (const PartitionRun& run : content.partitions) {
      std::sort(keys.begin() + run.first_row, keys.begin() + run.first_row + run.rows,
                [&](int64_t a, int64_t b) { return GetParam() ? text_of(a) < text_of(b) : a < b; });
    }
    for (const int64_t key : keys) {
      if (GetParam()) {
        tenant.Append(text_of(key));
      } else {
        tenant.AppendValue(key);
      }
    }
    content.columns.push_back(std::move(tenant));
    content.options.partition_key_field_id = kTenant;
    const Status written = Write(fs_, "d/s", content);
    ASSERT_TRUE(written.ok()) << written.ToString();
    const auto segment = MustOpen(fs_, "d/s");
    EXPECT_EQ(segment->partition_key_field_id(), kTenant);
    const Status verified = segment->VerifyAll();
    ASSERT_TRUE(verified.ok()) << verified.ToString();
    for (int i = 0; i < 300; ++i) {
      const int64_t key = static_cast<int64_t>(random() % static_cast<uint64_t>(tenants + 2)) - tenants / 2 - 1;
      std::vector<RowRange> expected;
      for (const PartitionRun& run : content.partitions) {
        if (i % 3 == 0 && run.partition_id != 10) continue;
        const auto first = std::find(keys.begin() + run.first_row, keys.begin() + run.first_row + run.rows, key);
        const auto last =
            std::find_if_not(first, keys.begin() + run.first_row + run.rows, [key](int64_t k) { return k == key; });
        if (first == last) continue;
        expected.push_back({static_cast<uint32_t>(first - keys.begin()), static_cast<uint32_t>(last - first)});
      }
      const std::string text = text_of(key);
      const int64_t ids[] = {10, 55};
      const auto partitions = i % 3 == 0 ? std::span<const int64_t>(ids) : std::span<const int64_t>();
      const auto found = GetParam() ? segment->FindPartitionKey(std::string_view(text), partitions)
                                    : segment->FindPartitionKey(key, partitions);
      ASSERT_TRUE(found.ok());
      ASSERT_TRUE(found->has_value());
      ASSERT_EQ(**found, expected);
    }
    // Rows that are not sorted are refused.
    content.partitions = {{7, 0, kRows}};
    EXPECT_EQ(Write(fs_, "d/t", content).ok(), tenants == 1);
  }
  // A file that is not sorted by a key cannot tell.
  ASSERT_TRUE(Write(fs_, "d/u", MakeContent(100, GetParam())).ok());
  EXPECT_FALSE(MustOpen(fs_, "d/u")->FindPartitionKey(int64_t{1})->has_value());
}

TEST_P(SegmentFileTest, TakesColumnsAsPagesWhereTheyLie) {
  const Content content = MakeContent(5000, GetParam());
  ASSERT_TRUE(Write(fs_, "d/whole", content).ok());
  auto writer = SegmentFileWriter::Create(fs_, "d/paged", content.options);
  ASSERT_TRUE(writer.ok());
  for (const Column& column : content.columns) {
    std::vector<std::string_view> strings;
    for (size_t row = 0; row < column.rows; ++row) strings.push_back(column.Bytes(row));
    std::vector<ColumnView> pages;
    for (size_t first = 0; first < column.rows; first += 1024) {
      ColumnView page = ViewOf(column);
      page.rows = std::min<size_t>(1024, column.rows - first);
      if (page.valid != nullptr) page.valid += first;
      if (column.is_fixed()) {
        page.fixed += first * column.width;
      } else if (first % 2048 == 0) {
        page.offsets = nullptr;
        page.blob = nullptr;
        page.strings = strings.data() + first;
      } else {
        page.offsets += first;
      }
      pages.push_back(page);
    }
    ASSERT_TRUE((*writer)->AddColumn(column.field_id, pages).ok());
  }
  ASSERT_TRUE((*writer)->Finish(content.timestamps, content.partitions).ok());
  EXPECT_EQ(*fs_.ReadFile("d/paged"), *fs_.ReadFile("d/whole"));
}

/// Flips bits all over the file: each access answers the true value or code 1001, and VerifyAll finds all that matters.
TEST_P(SegmentFileTest, DamageIsNeverUsedAsData) {
  const Content content = MakeContent(300, GetParam());
  ASSERT_TRUE(Write(fs_, "d/s", content).ok());
  const std::string sound = *fs_.ReadFile("d/s");
  const auto whole = MustOpen(fs_, "d/s");
  const auto sound_forms = whole->ViewJsonForms(kDocument, 0, 300);
  ASSERT_TRUE(sound_forms.ok() && sound_forms->keys != nullptr);
  size_t found = 0;
  size_t padding = 0;
  // Every byte at both ends, which tell where all else lies, and samples of what lies between.
  constexpr size_t kEnds = 4096;
  constexpr size_t kStep = 7;
  for (size_t byte = 0; byte < sound.size(); byte += byte < kEnds || byte + kEnds > sound.size() ? 1 : kStep) {
    std::string damaged = sound;
    damaged[byte] = static_cast<char>(damaged[byte] ^ (1 << (byte % 8)));
    FaultFileSystem fs;
    ASSERT_TRUE(fs.CreateDirectories("d").ok());
    ASSERT_TRUE(fs.WriteFileAtomic("d/s", damaged).ok());
    const auto segment = SegmentFile::Open(fs, "d/s");
    const Status status = segment.ok() ? (*segment)->VerifyAll() : segment.status();
    if (status.ok()) {
      ++padding;
      ExpectEqualColumns(**segment, content);
      continue;
    }
    ++found;
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << byte;
    EXPECT_NE(status.message().find("d/s"), std::string::npos) << status.message();
    if (!segment.ok() || byte % 5 != 0) continue;
    if (const auto forms = (*segment)->ViewJsonForms(kDocument, 0, 300); forms.ok()) {
      ASSERT_EQ(forms->keys->Find("shop"), sound_forms->keys->Find("shop"));
      for (uint32_t row = 0; row < 300; ++row) ASSERT_EQ(forms->view.Bytes(row), sound_forms->view.Bytes(row));
    }
    for (const Column& column : content.columns) {
      const auto view = (*segment)->View(column.field_id, 0, 300);
      if (!view.ok()) continue;
      for (uint32_t row = 0; row < 300; ++row) {
        ASSERT_EQ(view->Bytes(row), column.Bytes(row));
        ASSERT_EQ(view->IsNull(row), column.IsNull(row));
      }
    }
  }
  EXPECT_GT(found, padding) << "most bytes carry data";
}

TEST_P(SegmentFileTest, EveryTruncationIsRefused) {
  ASSERT_TRUE(Write(fs_, "d/s", MakeContent(50, GetParam())).ok());
  const std::string sound = *fs_.ReadFile("d/s");
  for (size_t size = 0; size < sound.size(); size += 7) {
    ASSERT_TRUE(fs_.WriteFileAtomic("d/t", sound.substr(0, size)).ok());
    EXPECT_EQ(SegmentFile::Open(fs_, "d/t").status().code(), StatusCode::kCorruption);
  }
}

TEST_P(SegmentFileTest, ANewerFormatVersionIsRefused) {
  ASSERT_TRUE(Write(fs_, "d/s", MakeContent(5, GetParam())).ok());
  std::string bytes = *fs_.ReadFile("d/s");
  bytes[8] = 100;
  ASSERT_TRUE(fs_.WriteFileAtomic("d/t", bytes).ok());
  const auto segment = SegmentFile::Open(fs_, "d/t");
  ASSERT_FALSE(segment.ok());
  EXPECT_NE(segment.status().message().find("format version 100"), std::string::npos);
}

TEST_P(SegmentFileTest, AFileIsWholeOrAbsentAtEveryCrashPoint) {
  const Content content = MakeContent(200, GetParam());
  uint64_t operations = 0;
  {
    FaultFileSystem fs;
    ASSERT_TRUE(fs.CreateDirectories("d").ok());
    ASSERT_TRUE(Write(fs, "d/s", content).ok());
    operations = fs.operations();
  }
  for (uint64_t seed = 0; seed < 30; ++seed) {
    for (uint64_t point = 1; point <= operations; ++point) {
      FaultFileSystem fs;
      ASSERT_TRUE(fs.CreateDirectories("d").ok());
      fs.CrashAt(point);
      const bool done = Write(fs, "d/s", content).ok();
      EXPECT_EQ(done, point == operations);
      if (seed == 0) {
        fs.CrashAndDropUnsynced();
      } else {
        fs.CrashAndScramble(seed * 31 + point);
      }
      const bool exists = *fs.Exists("d/s");
      ASSERT_TRUE(exists || !done);
      if (exists) {
        const auto segment = MustOpen(fs, "d/s");
        ASSERT_NE(segment, nullptr);
        ASSERT_TRUE(segment->VerifyAll().ok());
      } else {
        ASSERT_TRUE(Write(fs, "d/s", content).ok()) << "what is left must not stand in the way";
      }
    }
  }
}

TEST_P(SegmentFileTest, AFullDiskLeavesNoFile) {
  const Content content = MakeContent(500, GetParam());
  fs_.SetCapacity(20000);
  EXPECT_EQ(Write(fs_, "d/s", content).code(), StatusCode::kDiskFull);
  EXPECT_TRUE(fs_.List("d")->empty());
  fs_.SetCapacity({});
  EXPECT_TRUE(Write(fs_, "d/s", content).ok());
}

TEST(SegmentFileWriterTest, RefusesWhatDoesNotFitTogether) {
  FaultFileSystem fs;
  ASSERT_TRUE(fs.CreateDirectories("d").ok());
  const Content good = MakeContent(10, false);
  const auto code = [&](const Content& content) { return Write(fs, "d/s", content).code(); };
  {
    Content content = good;
    content.options.rows = 11;
    EXPECT_EQ(code(content), StatusCode::kInvalidParameter);
  }
  {
    Content content = good;
    content.timestamps.pop_back();
    EXPECT_EQ(code(content), StatusCode::kInvalidParameter);
  }
  {
    Content content = good;
    content.partitions[1].first_row += 1;
    EXPECT_EQ(code(content), StatusCode::kInvalidParameter);
  }
  {
    Content content = good;
    content.partitions.pop_back();
    EXPECT_EQ(code(content), StatusCode::kInvalidParameter);
  }
  {
    Content content = good;
    content.columns.erase(content.columns.begin());  // no pk
    EXPECT_EQ(code(content), StatusCode::kInvalidParameter);
  }
  {
    Content content = good;
    content.columns.push_back(content.columns.back());
    EXPECT_EQ(code(content), StatusCode::kInvalidParameter);
  }
  {
    Content content = good;
    content.options.pk_field_id = kNumber;
    EXPECT_EQ(code(content), StatusCode::kInvalidParameter);
  }
  EXPECT_TRUE(fs.List("d")->empty()) << "nothing unfinished stays";
}

TEST(SegmentFileOpenTest, ManyThreadsMayTouchASegmentForTheFirstTime) {
  FaultFileSystem fs;
  ASSERT_TRUE(fs.CreateDirectories("d").ok());
  const Content content = MakeContent(30000, false, 1, 32);
  ASSERT_TRUE(Write(fs, "d/s", content).ok());
  const auto segment = MustOpen(fs, "d/s");
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const Column& vectors = content.Of(kVector);
      for (uint32_t page = 0; page * 4096 + 4096 <= 28672; ++page) {
        const uint32_t first = (page + t) % 7 * 4096;
        const auto view = segment->View(kVector, first, 4096);
        ASSERT_TRUE(view.ok());
        ASSERT_EQ(view->Bytes(t), vectors.Bytes(first + t));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(SegmentFileOpenTest, OpensInTheSameTimeWhateverTheSize) {
  std::string directory = testing::TempDir() + "quiver_segment_XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  io::FileSystem& fs = io::PosixFileSystem();
  const Content content = MakeContent(60000, false, 1, 256);  // 60 MB
  ASSERT_TRUE(Write(fs, directory + "/s", content).ok());
  double best = 1e9;
  for (int i = 0; i < 20; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const auto segment = SegmentFile::Open(fs, directory + "/s");
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    ASSERT_TRUE(segment.ok());
    best = std::min(best, took.count());
  }
  RecordProperty("open_milliseconds", fmt::format("{:.3f}", best));
  EXPECT_LT(best, 1.0);
  std::filesystem::remove_all(directory);
}

TEST(SegmentFormatTest, TheFilterLetsFewAbsentKeysThrough) {
  constexpr uint64_t kKeys = 100000;
  const uint64_t blocks = internal::FilterBlocks(kKeys);
  std::vector<uint32_t> filter(blocks * 8);
  for (int64_t key = 0; key < static_cast<int64_t>(kKeys); ++key) {
    const uint64_t hash = internal::HashPk(key);
    for (size_t word = 0; word < 8; ++word) {
      filter[internal::FilterBlockOf(hash, blocks) * 8 + word] |= internal::FilterBit(hash, word);
    }
  }
  int passed = 0;
  for (int64_t key = kKeys; key < static_cast<int64_t>(2 * kKeys); ++key) {
    const uint64_t hash = internal::HashPk(key);
    bool all = true;
    for (size_t word = 0; word < 8; ++word) {
      all &= (filter[internal::FilterBlockOf(hash, blocks) * 8 + word] & internal::FilterBit(hash, word)) != 0;
    }
    passed += all ? 1 : 0;
  }
  EXPECT_LT(passed, 2000) << "about 1.3 % at ten bits per key";
}

}  // namespace
}  // namespace quiver::storage
