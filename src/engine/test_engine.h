// File: engine/test_engine.h
// EngineTestBase: an engine of a test over a file system and a MetaStore that outlive it, with the few steps that every
// such test takes. For tests only. Thread rule: one thread, that of the test.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/logging.h"
#include "engine/collection.h"
#include "engine/directory_check.h"
#include "engine/engine.h"
#include "engine/shared_meta.h"
#include "io/fault_file_system.h"
#include "storage/meta_store.h"

namespace quiver::engine {

/// A field of a test's schema; `dim` is for vectors. Strings may have 10,000 bytes.
inline FieldSchema MakeField(int64_t id, std::string name, DataType type, int64_t dim = 0) {
  FieldSchema field;
  field.field_id = id;
  field.name = std::move(name);
  field.type = type;
  field.dim = dim;
  if (type == DataType::kVarChar) field.max_length = 10'000;
  return field;
}

/// The primary key of a test's schema.
inline FieldSchema MakeKeyField(int64_t id, DataType type = DataType::kInt64) {
  FieldSchema field = MakeField(id, "id", type);
  field.is_primary = true;
  return field;
}

/// Keys of a delete.
inline Column MakeKeys(int64_t field_id, const std::vector<int64_t>& keys) {
  Column column = Column::Make(field_id, DataType::kInt64);
  for (const int64_t key : keys) column.AppendValue(key);
  return column;
}

class EngineTestBase : public testing::Test {
 protected:
  // Faults on purpose log an error each; the assertions say what matters.
  static void SetUpTestSuite() { ASSERT_TRUE(log::Configure({.level = log::Level::kOff}).ok()); }

  EngineTestBase() {
    options_.data_dir = "data";
    options_.open_meta_store = [this](const std::string&) -> Result<std::unique_ptr<storage::MetaStore>> {
      return std::unique_ptr<storage::MetaStore>(std::make_unique<SharedMeta>(*meta_));
    };
  }

  /// Stops the engine, if there is one, and opens it by options_.
  Status TryOpen() {
    engine_.reset();
    QUIVER_ASSIGN_OR_RETURN(engine_, Engine::Open(*files_, options_));
    return Status::Ok();
  }
  void Open() {
    const Status status = TryOpen();
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  /// Stops the engine and forgets everything on the disk.
  void StartOver() {
    engine_.reset();
    files_ = std::make_unique<io::FaultFileSystem>();
    meta_ = std::make_unique<storage::MemoryMetaStore>();
  }
  /// Pulls the plug and opens what was synced.
  void PowerLossAndOpen() {
    files_->CrashAt(files_->operations());  // the stop of this engine must not tidy up
    engine_.reset();
    files_->CrashAndDropUnsynced();
    meta_->CrashAndDropUnsynced();
    Open();
  }

  void Create(const std::string& name, std::vector<FieldSchema> fields) {
    CollectionSchema schema;
    schema.name = name;
    schema.fields = std::move(fields);
    const Status created = engine_->CreateCollection({.schema = std::move(schema)});
    ASSERT_TRUE(created.ok()) << created.ToString();
  }
  std::shared_ptr<Collection> Find(const std::string& name) {
    auto found = engine_->FindCollection("default", name);
    EXPECT_TRUE(found.ok()) << found.status().ToString();
    return found.ok() ? *found : nullptr;
  }
  std::shared_ptr<Collection> Docs() { return Find("docs"); }

  /// The writes wait for their answer.
  Result<WriteResult> Insert(WriteRequest request) { return Await(&Engine::Insert, std::move(request)); }
  Result<WriteResult> Upsert(WriteRequest request) { return Await(&Engine::Upsert, std::move(request)); }
  Result<WriteResult> Delete(DeleteRequest request) { return Await(&Engine::Delete, std::move(request)); }

  /// `quiver check` of the directory, without the engine.
  DirectoryReport Check(bool repair = false) {
    engine_.reset();
    auto report = CheckDirectory(
        *files_, {.data_dir = options_.data_dir, .repair = repair, .open_meta_store = options_.open_meta_store});
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    return report.ok() ? *std::move(report) : DirectoryReport();
  }
  /// Paths of the objects of indexes: the indexes themselves, or what stands beside them.
  std::vector<std::string> IndexFiles(const std::string& ending = ".idx") {
    std::vector<std::string> files;
    const std::string root = options_.data_dir + "/objects/index";
    const auto directories = files_->List(root);
    if (!directories.ok()) return files;
    for (const auto& directory : *directories) {
      const std::string path = root + "/" + directory.name;
      const auto entries = files_->List(path);
      if (!entries.ok()) continue;
      for (const auto& entry : *entries) {
        if (entry.name.ends_with(ending)) files.push_back(path + "/" + entry.name);
      }
    }
    return files;
  }
  /// Waits until `holds`, which other threads bring about; false after a long time.
  static bool Eventually(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(12);
    while (std::chrono::steady_clock::now() < end) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  EngineOptions options_;
  std::unique_ptr<io::FaultFileSystem> files_ = std::make_unique<io::FaultFileSystem>();
  std::unique_ptr<storage::MemoryMetaStore> meta_ = std::make_unique<storage::MemoryMetaStore>();
  std::unique_ptr<Engine> engine_;

 private:
  template <typename Request>
  Result<WriteResult> Await(void (Engine::*write)(Request, WriteCallback), Request request) {
    std::promise<Result<WriteResult>> answer;
    ((*engine_).*write)(std::move(request), [&](Result<WriteResult> result) { answer.set_value(std::move(result)); });
    return answer.get_future().get();
  }
};

}  // namespace quiver::engine
