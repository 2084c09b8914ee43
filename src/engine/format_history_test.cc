// Data directories of every format so far, in tests/data/directories: today's binary opens each and reads every row.
// A directory of today's formats is made by
//
//   QUIVER_WRITE_DIRECTORY=/tmp/NAME engine_test --gtest_filter=FormatHistoryTest.WritesADirectoryOfToday
//   tar -C /tmp -c NAME | gzip -9n > tests/data/directories/NAME.tar.gz
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <set>

#include "engine/test_engine.h"
#include "segment/segment.h"

namespace quiver::engine {
namespace {

constexpr int64_t kPk = 100;
constexpr int64_t kTenant = 101;
constexpr int64_t kCategory = 102;
constexpr int64_t kNumber = 103;
constexpr int64_t kDocument = 104;
constexpr int64_t kTags = 105;
constexpr int64_t kVector = 106;
constexpr int64_t kMeta = 107;
constexpr int64_t kDim = 4;

/// Every kind of column; a partition key.
CollectionSchema WideSchema() {
  CollectionSchema schema;
  schema.name = "wide";
  schema.enable_dynamic_field = true;
  schema.fields = {MakeField(kPk, "id", DataType::kInt64),
                   MakeField(kTenant, "tenant", DataType::kVarChar),
                   MakeField(kCategory, "category", DataType::kVarChar),
                   MakeField(kNumber, "number", DataType::kDouble),
                   MakeField(kDocument, "document", DataType::kJson),
                   MakeField(kTags, "tags", DataType::kArray),
                   MakeField(kVector, "vector", DataType::kFloatVector),
                   MakeField(kMeta, std::string(kMetaFieldName), DataType::kJson)};
  schema.fields[0].is_primary = true;
  schema.fields[1].is_partition_key = true;
  schema.fields[2].nullable = true;
  schema.fields[3].nullable = true;
  schema.fields[5].element_type = DataType::kVarChar;
  schema.fields[5].max_capacity = 10;
  schema.fields[5].max_length = 50;
  schema.fields[6].dim = kDim;
  schema.fields[7].is_dynamic = true;
  return schema;
}

/// String keys; partitions by name.
CollectionSchema NarrowSchema() {
  CollectionSchema schema;
  schema.name = "narrow";
  schema.fields = {MakeField(kPk, "key", DataType::kVarChar), MakeField(kVector, "vector", DataType::kFloatVector)};
  schema.fields[0].is_primary = true;
  schema.fields[1].dim = kDim;
  return schema;
}

std::string TextKey(int64_t key) { return fmt::format("key-{:05}", key); }

void AppendVector(Column& column, int64_t key, int64_t version) {
  const float values[kDim] = {static_cast<float>(key), static_cast<float>(version), -1.5F, 0.25F};
  column.Append({reinterpret_cast<const char*>(values), sizeof(values)});
}

/// Rows of one write: the values follow from key and version.
ColumnBatch WideRows(int64_t begin, int64_t end, int64_t version) {
  ColumnBatch batch;
  batch.rows = static_cast<size_t>(end - begin);
  for (const FieldSchema& field : WideSchema().fields) {
    batch.columns.push_back(Column::Make(field.field_id, field.type, field.dim, field.element_type));
  }
  for (int64_t key = begin; key < end; ++key) {
    batch.Find(kPk)->AppendValue(key);
    batch.Find(kTenant)->Append(fmt::format("tenant {}", key % 7));
    if (key % 5 == 0) {
      batch.Find(kCategory)->AppendNull();
    } else {
      batch.Find(kCategory)->Append(fmt::format("category {}", (key + version) % 12));
    }
    if (key % 4 == 1) {
      batch.Find(kNumber)->AppendNull();
    } else {
      batch.Find(kNumber)->AppendValue(static_cast<double>(key) * 0.5 + static_cast<double>(version));
    }
    batch.Find(kDocument)->Append(fmt::format(R"({{"a":{{"b":{}}},"name":"n\u00e9{}","big":{}}})", key % 100, key,
                                              int64_t{9007199254740993} + key));
    ArrayWriter tags(DataType::kVarChar);
    for (int64_t i = 0; i < key % 3; ++i) tags.Append(fmt::format("tag {}", key % 9 + i));
    batch.Find(kTags)->Append(tags.Take());
    AppendVector(*batch.Find(kVector), key, version);
    batch.Find(kMeta)->Append(fmt::format(R"({{"extra":{}}})", version));
  }
  return batch;
}

ColumnBatch NarrowRows(int64_t begin, int64_t end, int64_t version) {
  ColumnBatch batch;
  batch.rows = static_cast<size_t>(end - begin);
  batch.columns = {Column::Make(kPk, DataType::kVarChar), Column::Make(kVector, DataType::kFloatVector, kDim)};
  for (int64_t key = begin; key < end; ++key) {
    batch.columns[0].Append(TextKey(key));
    AppendVector(batch.columns[1], key, version);
  }
  return batch;
}

/// All values of a row, one behind another.
template <typename Values>
std::string RowText(const Values& values_of, const std::vector<FieldSchema>& fields) {
  std::string text;
  for (const FieldSchema& field : fields) {
    const auto value = values_of(field.field_id);
    text += value.has_value() ? fmt::format("{}:{};", value->size(), *value) : "null;";
  }
  return text;
}

using Rows = std::map<std::string, std::string>;  // pk bytes -> RowText

void AddRows(Rows& rows, const ColumnBatch& batch, const CollectionSchema& schema) {
  for (size_t row = 0; row < batch.rows; ++row) {
    const auto values = [&](int64_t field_id) -> std::optional<std::string_view> {
      const Column& column = *batch.Find(field_id);
      return column.IsNull(row) ? std::nullopt : std::optional(column.Bytes(row));
    };
    rows[std::string(batch.Find(kPk)->Bytes(row))] = RowText(values, schema.fields);
  }
}

/// What the directories of all formats hold.
Rows ExpectedWide() {
  Rows rows;
  AddRows(rows, WideRows(0, 1500, 1), WideSchema());
  AddRows(rows, WideRows(100, 200, 2), WideSchema());
  AddRows(rows, WideRows(1500, 1600, 3), WideSchema());
  for (int64_t key = 300; key < 350; ++key) rows.erase(std::string(reinterpret_cast<const char*>(&key), sizeof(key)));
  for (int64_t key = 1500; key < 1510; ++key) rows.erase(std::string(reinterpret_cast<const char*>(&key), sizeof(key)));
  return rows;
}

Rows ExpectedNarrow() {
  Rows rows;
  AddRows(rows, NarrowRows(0, 300, 1), NarrowSchema());
  AddRows(rows, NarrowRows(250, 320, 2), NarrowSchema());
  rows.erase(TextKey(7));
  return rows;
}

EngineOptions OptionsOf(const std::string& directory) {
  EngineOptions options;
  options.data_dir = directory;
  options.flush_min_bytes = 0;
  options.compaction = false;
  return options;
}

class FormatHistoryTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(log::Configure({.level = log::Level::kOff}).ok()); }
  void SetUp() override {
    directory_ = testing::TempDir() + "quiver_formats_XXXXXX";
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
  }
  void TearDown() override {
    engine_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Open(const std::string& directory) {
    auto opened = Engine::Open(io::PosixFileSystem(), OptionsOf(directory));
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    engine_ = *std::move(opened);
  }
  std::shared_ptr<Collection> Find(const std::string& name) {
    auto found = engine_->FindCollection("default", name);
    EXPECT_TRUE(found.ok()) << found.status().ToString();
    return found.ok() ? *found : nullptr;
  }
  void Insert(const std::string& name, ColumnBatch batch, const std::string& partition = "") {
    std::promise<Status> done;
    engine_->Insert({.collection = Find(name), .partition_name = partition, .batch = std::move(batch)},
                    [&](const Result<WriteResult>& result) { done.set_value(result.status()); });
    const Status status = done.get_future().get();
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  void Delete(const std::string& name, Column keys) {
    std::promise<Status> done;
    engine_->Delete({.collection = Find(name), .primary_keys = std::move(keys)},
                    [&](const Result<WriteResult>& result) { done.set_value(result.status()); });
    const Status status = done.get_future().get();
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  void DeleteNumbers(int64_t begin, int64_t end) {
    Column keys = Column::Make(kPk, DataType::kInt64);
    for (int64_t key = begin; key < end; ++key) keys.AppendValue(key);
    Delete("wide", std::move(keys));
  }
  void Flush(const std::string& name) {
    const auto flushed = engine_->Flush(Find(name));
    ASSERT_TRUE(flushed.ok()) << flushed.status().ToString();
  }

  /// Fills a directory: sealed segments with several versions of rows, deltas, rows that are only in the log.
  void Fill(const std::string& directory) {
    ASSERT_NO_FATAL_FAILURE(Open(directory));
    ASSERT_TRUE(engine_->CreateCollection({.schema = WideSchema(), .num_partitions = 4}).ok());
    ASSERT_TRUE(engine_->CreateCollection({.schema = NarrowSchema()}).ok());
    ASSERT_TRUE(engine_->CreatePartition("default", "narrow", "other").ok());
    ASSERT_TRUE(engine_->CreateAlias("default", "wide", "broad").ok());
    ASSERT_TRUE(engine_->Load("default", "wide", {}, 1).ok());
    ASSERT_TRUE(engine_->Load("default", "narrow", {}, 1).ok());
    Insert("wide", WideRows(0, 700, 1));
    Insert("wide", WideRows(700, 1500, 1));
    Insert("narrow", NarrowRows(0, 200, 1));
    Insert("narrow", NarrowRows(200, 300, 1), "other");
    Flush("wide");
    Flush("narrow");
    ASSERT_TRUE(engine_->CreateSnapshot("default", "wide", "first", "").ok());
    Insert("wide", WideRows(100, 200, 2));
    DeleteNumbers(300, 350);
    Flush("wide");
    Insert("wide", WideRows(1500, 1600, 3));
    DeleteNumbers(1500, 1510);
    Insert("narrow", NarrowRows(250, 320, 2), "other");
    Column key = Column::Make(kPk, DataType::kVarChar);
    key.Append(TextKey(7));
    Delete("narrow", std::move(key));
    engine_.reset();
  }

  Rows Read(const std::string& name, Timestamp travel = 0) {
    Rows rows;
    const auto collection = Find(name);
    if (collection == nullptr) return rows;
    const auto view = engine_->OpenView(*collection, {}, 0, std::chrono::steady_clock::time_point::max(), travel);
    EXPECT_TRUE(view.ok()) << view.status().ToString();
    if (!view.ok()) return rows;
    for (const auto& segment : view->segments) {
      for (uint32_t page = 0; page < segment->page_count(); ++page) {
        uint64_t mask[segment::kPageWords];
        segment->FillVisible(page, {.timestamp = view->timestamp, .expired = view->expired, .partitions = {}}, mask);
        for (uint32_t at = 0; at < segment::kPageRows; ++at) {
          if ((mask[at / 64] >> (at % 64) & 1) == 0) continue;
          const uint32_t row = page * segment::kPageRows + at;
          const auto values = [&](int64_t field_id) -> std::optional<std::string> {
            const auto value = segment->View(field_id, row, 1);
            EXPECT_TRUE(value.ok()) << value.status().ToString();
            if (!value.ok() || !value->present() || value->IsNull(0)) return std::nullopt;
            return std::string(value->Bytes(0));
          };
          const std::string key = values(kPk).value_or("none");
          EXPECT_FALSE(rows.contains(key)) << "two visible rows of one key";
          rows[key] = RowText(values, view->info->schema->fields);
        }
      }
    }
    if (travel == 0) {
      const auto count = engine_->RowCount(*collection, "");
      EXPECT_TRUE(count.ok() && *count == static_cast<int64_t>(rows.size()));
    }
    return rows;
  }

  void ExpectContents(const std::string& directory) {
    ASSERT_NO_FATAL_FAILURE(Open(directory));
    EXPECT_EQ(Read("wide"), ExpectedWide());
    EXPECT_EQ(Read("broad"), ExpectedWide());
    EXPECT_EQ(Read("narrow"), ExpectedNarrow());
    // The snapshot is older than the retention, and yet there.
    const auto snapshots = Find("wide")->info()->snapshots;
    ASSERT_EQ(snapshots.size(), 1U);
    Rows first;
    AddRows(first, WideRows(0, 1500, 1), WideSchema());
    EXPECT_EQ(Read("wide", snapshots[0].timestamp), first);
    // What was written by an older version can be changed and rewritten by this one.
    DeleteNumbers(0, 10);
    Insert("wide", WideRows(5, 20, 4));
    Flush("wide");
    Rows changed = ExpectedWide();
    for (int64_t key = 0; key < 10; ++key) changed.erase(std::string(reinterpret_cast<const char*>(&key), sizeof(key)));
    AddRows(changed, WideRows(5, 20, 4), WideSchema());
    const auto compaction = engine_->Compact(Find("wide"));
    ASSERT_TRUE(compaction.ok()) << compaction.status().ToString();
    while (!engine_->CompactionState(*compaction).done) std::this_thread::yield();
    EXPECT_EQ(engine_->CompactionState(*compaction).failed, 0);
    EXPECT_EQ(Read("wide"), changed);
    engine_.reset();
    ASSERT_NO_FATAL_FAILURE(Open(directory));
    EXPECT_EQ(Read("wide"), changed);
    EXPECT_EQ(Read("narrow"), ExpectedNarrow());
    EXPECT_EQ(Read("wide", snapshots[0].timestamp), first);
  }

  std::string directory_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(FormatHistoryTest, ADirectoryOfTodayIsReadBack) {
  ASSERT_NO_FATAL_FAILURE(Fill(directory_ + "/today"));
  ExpectContents(directory_ + "/today");
}

TEST_F(FormatHistoryTest, DirectoriesOfEveryFormatAreReadBack) {
  std::set<std::string> archives;
  for (const auto& entry : std::filesystem::directory_iterator(QUIVER_TEST_DATA "/directories")) {
    archives.insert(entry.path().string());
  }
  ASSERT_FALSE(archives.empty());
  for (const std::string& archive : archives) {
    SCOPED_TRACE(archive);
    ASSERT_EQ(std::system(fmt::format("tar -xzf '{}' -C '{}'", archive, directory_).c_str()), 0);
    const std::string name = std::filesystem::path(archive).stem().stem().string();
    ExpectContents(directory_ + "/" + name);
    engine_.reset();
  }
}

/// A directory of a format that this version does not know yet is not touched. Whatever an older version could not read
/// raises the format of the directory: a file of a version that nobody wrote is damage, and fenced as such.
TEST_F(FormatHistoryTest, ADirectoryOfANewerFormatIsRefused) {
  ASSERT_NO_FATAL_FAILURE(Fill(directory_ + "/today"));
  {
    auto meta = storage::OpenLocalMeta(directory_ + "/today/meta");
    ASSERT_TRUE(meta.ok()) << meta.status().ToString();
    storage::MetaTransaction transaction;
    transaction.Put("system/format", "99");
    ASSERT_TRUE((*meta)->Commit(transaction).ok());
    ASSERT_TRUE((*meta)->Sync().ok());
  }
  const auto opened = Engine::Open(io::PosixFileSystem(), OptionsOf(directory_ + "/today"));
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.status().message().find("has format 99; this binary knows formats up to"), std::string::npos)
      << opened.status().message();
}

TEST_F(FormatHistoryTest, WritesADirectoryOfToday) {
  const char* directory = std::getenv("QUIVER_WRITE_DIRECTORY");
  if (directory == nullptr) GTEST_SKIP() << "QUIVER_WRITE_DIRECTORY names none";
  Fill(directory);
}

}  // namespace
}  // namespace quiver::engine
