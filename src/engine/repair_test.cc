// `quiver check --repair` of a damaged log and of a damaged MetaStore.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "engine/test_docs.h"

namespace quiver::engine {
namespace {

class RepairTest : public EngineTest {
 protected:
  std::vector<std::string> LogFiles() {
    std::vector<std::string> names;
    const auto entries = files_->List("data/log");
    if (!entries.ok()) return names;
    for (const auto& entry : *entries) names.push_back("data/log/" + entry.name);
    return names;
  }
};

TEST_F(RepairTest, ADamagedLogIsMadeAnewWithoutTheDamagedRecord) {
  options_.log_preallocate_bytes = 0;
  int losses = 0;
  for (uint64_t place = 1; place <= 9; ++place) {
    SCOPED_TRACE(place);
    StartOver();
    Open();
    CreateDocs();
    std::map<int64_t, std::string> all;
    for (int64_t key = 1; key <= 30; ++key) {
      ASSERT_TRUE(Insert({key}, "a").ok());
      all[key] = "a" + std::to_string(key);
    }
    engine_.reset();
    const std::string file = LogFiles().front();
    const uint64_t bytes = (*files_->OpenRead(file))->size();
    ASSERT_TRUE(files_->FlipBit(file, bytes * place / 10 * 8 + place % 8));
    const DirectoryReport found = Check();
    ASSERT_FALSE(found.faults.empty());
    EXPECT_FALSE(TryOpen().ok());

    const DirectoryReport repaired = Check(true);
    EXPECT_EQ(repaired.unrepaired, 0U);
    ASSERT_EQ(repaired.faults.size(), 1U);
    EXPECT_EQ("data/" + repaired.faults[0].file, file);
    EXPECT_NE(repaired.faults[0].repair.find("lost: what was written between timestamps"), std::string::npos);
    EXPECT_TRUE(Check().faults.empty());
    Open();
    const auto rows = engine_->FindCollection("default", "docs").ok() ? Rows() : std::map<int64_t, std::string>();
    // One record: a row, or one of the two changes that made the collection, which the metadata knows.
    EXPECT_GE(rows.size() + 1, all.size());
    for (const auto& [key, value] : rows) EXPECT_EQ(value, all.at(key));
    losses += rows.size() < all.size() ? 1 : 0;
    ASSERT_TRUE(Insert({100}, "b").ok());
    Reopen();
    EXPECT_EQ(Rows().size(), rows.size() + 1);
  }
  EXPECT_GT(losses, 5);
}

/// On real files: the database is RocksDB's.
class MetaRepairTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(log::Configure({.level = log::Level::kOff}).ok());
    directory_ = testing::TempDir() + "quiver_repair_XXXXXX";
    ASSERT_NE(::mkdtemp(directory_.data()), nullptr);
  }
  void TearDown() override {
    engine_.reset();
    std::filesystem::remove_all(directory_);
  }
  Status TryOpen() {
    engine_.reset();
    EngineOptions options;
    options.data_dir = directory_;
    options.flush_min_bytes = 0;
    options.auto_load = true;
    options.compaction = false;
    QUIVER_ASSIGN_OR_RETURN(engine_, Engine::Open(io::PosixFileSystem(), std::move(options)));
    return Status::Ok();
  }
  std::shared_ptr<Collection> Docs() { return *engine_->FindCollection("default", "docs"); }
  void Insert(const std::vector<int64_t>& keys) {
    std::promise<Status> written;
    engine_->Insert({.collection = Docs(), .batch = MakeBatch(keys, "a")},
                    [&](const Result<WriteResult>& result) { written.set_value(result.status()); });
    ASSERT_TRUE(written.get_future().get().ok());
  }
  void Delete(int64_t key) {
    std::promise<Status> done;
    engine_->Delete({.collection = Docs(), .primary_keys = MakeKeys(kPk, {key})},
                    [&](const Result<WriteResult>& result) { done.set_value(result.status()); });
    ASSERT_TRUE(done.get_future().get().ok());
  }
  /// Two sealed segments with a delete, growing rows, a closed directory.
  void Fill() {
    ASSERT_TRUE(TryOpen().ok());
    ASSERT_TRUE(engine_->CreateCollection({.schema = MakeSchema()}).ok());
    Insert({1, 2, 3});
    ASSERT_TRUE(engine_->Flush(Docs()).ok());
    Delete(2);
    Insert({4, 5});
    ASSERT_TRUE(engine_->Flush(Docs()).ok());
    Insert({6});
    engine_.reset();
  }
  std::set<int64_t> Keys() {
    std::set<int64_t> keys;
    for (const auto& [key, value] : EngineTestRows::Of(engine_->ViewAll(*Docs()))) keys.insert(key);
    return keys;
  }
  /// Changes a byte of every file of the database whose name begins like this.
  int Damage(const std::string& prefix, size_t place) {
    int damaged = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/meta")) {
      if (!entry.path().filename().string().starts_with(prefix)) continue;
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      const auto size = static_cast<size_t>(std::filesystem::file_size(entry.path()));
      const auto at = static_cast<std::streamoff>(std::min(place, size - 1));
      file.seekg(at);
      const char byte = static_cast<char>(file.get() ^ 0x5A);
      file.seekp(at);
      file.put(byte);
      ++damaged;
    }
    return damaged;
  }
  DirectoryReport Check(bool repair) {
    const auto report = CheckDirectory(io::PosixFileSystem(), {.data_dir = directory_, .repair = repair});
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    return report.ok() ? *report : DirectoryReport();
  }

  struct EngineTestRows : EngineTest {
    static std::map<int64_t, std::string> Of(const ReadView& view) { return RowsOf(view); }
    void TestBody() override {}
  };

  std::string directory_;
  std::unique_ptr<Engine> engine_;
  const std::set<int64_t> rows_{1, 3, 4, 5, 6};
};

TEST_F(MetaRepairTest, FilesThatDescribeTheDatabaseAreMadeAnew) {
  const std::vector<std::pair<std::string, size_t>> damages{{"CURRENT", 0}, {"MANIFEST", 10}, {"MANIFEST", 60}};
  for (const auto& [file, place] : damages) {
    SCOPED_TRACE(file + " " + std::to_string(place));
    std::filesystem::remove_all(directory_);
    Fill();
    ASSERT_GT(Damage(file, place), 0);
    EXPECT_FALSE(TryOpen().ok());
    ASSERT_EQ(Check(false).faults.size(), 1U);
    const DirectoryReport report = Check(true);
    EXPECT_EQ(report.unrepaired, 0U) << report.faults.front().what;
    EXPECT_EQ(report.rows_lost, 0U);
    EXPECT_TRUE(std::filesystem::exists(directory_ + "/quarantine/meta/CURRENT"));
    EXPECT_TRUE(Check(false).faults.empty());
    const Status opened = TryOpen();
    ASSERT_TRUE(opened.ok()) << opened.ToString();
    EXPECT_EQ(Keys(), rows_);
    Insert({7});
    EXPECT_EQ(Keys().size(), rows_.size() + 1);
    engine_.reset();
  }
}

TEST_F(MetaRepairTest, WhatTheDatabaseLostIsTakenFromTheLogAndTheSegments) {
  Fill();
  // The database with nothing in it, as after the loss of all its files.
  for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/meta")) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("CURRENT")) std::filesystem::remove(entry.path());
  }
  EXPECT_FALSE(TryOpen().ok());
  const DirectoryReport report = Check(true);
  EXPECT_EQ(report.unrepaired, 0U);
  EXPECT_EQ(report.rows_lost, 0U);
  std::set<std::string> files;
  for (const DirectoryFault& fault : report.faults) {
    EXPECT_FALSE(fault.repair.empty());
    files.insert(fault.file.substr(0, fault.file.find('/')));
  }
  EXPECT_EQ(files,
            (std::set<std::string>{"meta", "meta:checkpoint", "meta:collection", "meta:database", "meta:segment"}));
  EXPECT_TRUE(Check(false).faults.empty());
  const Status opened = TryOpen();
  ASSERT_TRUE(opened.ok()) << opened.ToString();
  EXPECT_EQ(Keys(), rows_);
  EXPECT_EQ(*engine_->RowCount(*Docs(), ""), static_cast<int64_t>(rows_.size()));
  // Timestamps go on above all that were given.
  Insert({1, 7});
  EXPECT_EQ(Keys().size(), rows_.size() + 1);
}

}  // namespace
}  // namespace quiver::engine
