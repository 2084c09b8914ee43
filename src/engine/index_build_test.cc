// Building of vector indexes as a background task: failures, cancelling, memory, what clients are told. What searches
// make of the indexes is tested in src/query/index_search_test.cc, crashes in history_test.cc.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "engine/test_engine.h"
#include "index/tuning.h"

namespace quiver::engine {
namespace {

using namespace std::chrono_literals;

constexpr int64_t kPk = 100;
constexpr int64_t kVector = 101;
constexpr int64_t kDim = 8;

class IndexBuildTest : public EngineTestBase {
 protected:
  IndexBuildTest() {
    options_.flush_min_bytes = 0;
    options_.compaction = false;
    options_.index_min_rows = 100;
    options_.build_index = [this](const index::IndexRecipe& recipe, const ColumnView& vectors,
                                  const index::BuildControl& control) -> Result<std::string> {
      ++started_;
      if (declined_) return Error(StatusCode::kIndexNotSupported, "no structure serves this");
      if (failures_.fetch_sub(1) > 0) return Error(StatusCode::kInternal, "no luck");
      while (blocked_) {
        if (control.cancelled()) {
          ++cancelled_;
          return Error(StatusCode::kCancelled, "as asked");
        }
        std::this_thread::sleep_for(1ms);
      }
      Result<std::string> bytes = index::BuildVectorIndex(recipe, vectors, control);
      if (tight_ && bytes.ok()) {
        constexpr uint64_t kRoom = uint64_t{1} << 40;
        files_->SetCapacity(kRoom);
        const auto left = files_->FreeSpace("");
        if (left.ok()) files_->SetCapacity(kRoom - *left + bytes->size() + 4096);
      }
      return bytes;
    };
  }
  // The engine's threads use what the derived class holds.
  ~IndexBuildTest() override { engine_.reset(); }

  void Create(const std::string& name = "docs") {
    EngineTestBase::Create(name, {MakeKeyField(kPk), MakeField(kVector, "vector", DataType::kFloatVector, kDim)});
  }
  static ColumnBatch Rows(int64_t from, int64_t to) {
    ColumnBatch batch;
    batch.rows = static_cast<size_t>(to - from);
    batch.columns = {Column::Make(kPk, DataType::kInt64), Column::Make(kVector, DataType::kFloatVector, kDim)};
    for (int64_t key = from; key < to; ++key) {
      batch.columns[0].AppendValue(key);
      float values[kDim] = {static_cast<float>(key % 17), static_cast<float>(key % 5), 1};
      batch.columns[1].Append({reinterpret_cast<const char*>(values), sizeof(values)});
    }
    return batch;
  }
  void InsertAndFlush(int64_t from, int64_t to, const std::string& name = "docs") {
    ASSERT_TRUE(Insert({.collection = Find(name), .batch = Rows(from, to)}).ok());
    ASSERT_TRUE(engine_->Flush(Find(name)).ok());
  }
  void CreateIndex(const std::string& type = "IVF_FLAT") {
    ASSERT_TRUE(engine_->CreateIndex("default", "docs", "vector", {.index_type = type, .metric_type = "L2"}).ok());
  }
  IndexProgress Progress(Timestamp until = 0) {
    const auto info = Docs()->info();
    return engine_->DescribeProgress(*Docs(), info->indexes.front(), until);
  }
  /// What was measured of the index of the first segment that has one.
  const index::IndexTuning* Tuning() {
    for (const auto& segment : Docs()->sealed_segments()) {
      const auto index = segment->FindIndex(Docs()->info()->indexes.front().id);
      if (index != nullptr) return index->tuning();
    }
    return nullptr;
  }
  void Await(const std::function<bool()>& condition) { ASSERT_TRUE(Eventually(condition)); }

  std::atomic<int> started_{0};
  std::atomic<int> cancelled_{0};
  std::atomic<int> failures_{0};
  std::atomic<bool> blocked_{false};
  std::atomic<bool> declined_{false};
  std::atomic<bool> tight_{false};  ///< the disk has room for an index and for little else
};

TEST_F(IndexBuildTest, ClientsAreToldWhatIsPending) {
  Open();
  Create();
  CreateIndex();
  EXPECT_EQ(Progress().state, IndexState::kFinished) << "nothing to build";
  blocked_ = true;
  InsertAndFlush(0, 50);  // too few
  EXPECT_EQ(Progress().state, IndexState::kFinished);
  EXPECT_EQ(Progress().total_rows, 50);
  const Timestamp before = engine_->AllocateTimestamp();
  InsertAndFlush(50, 1050);
  EXPECT_EQ(Progress().state, IndexState::kInProgress);
  EXPECT_EQ(Progress().total_rows, 1050);
  EXPECT_EQ(Progress().pending_rows, 1000);
  EXPECT_EQ(Progress(before).state, IndexState::kFinished) << "who waits since before is not kept by later rows";
  blocked_ = false;
  Await([&] { return Progress().state == IndexState::kFinished; });
  EXPECT_EQ(engine_->statistics().indexes, 1U);
  EXPECT_EQ(engine_->statistics().index_builds, 1U);
  EXPECT_GT(engine_->statistics().index_bytes, 0U);
  size_t listed = 0;
  for (const SegmentInfo& segment : engine_->ListSegments(*Docs())) listed += segment.index_ids.size();
  EXPECT_EQ(listed, 1U);
}

TEST_F(IndexBuildTest, AFailureIsTriedAgain) {
  Open();
  Create();
  failures_ = 1;
  CreateIndex();
  InsertAndFlush(0, 1000);
  Await([&] { return engine_->statistics().index_build_failures == 1; });
  EXPECT_EQ(Progress().state, IndexState::kInProgress);
  Await([&] { return Progress().state == IndexState::kFinished; });
  EXPECT_EQ(started_, 2);
}

TEST_F(IndexBuildTest, AFullDiskLeavesNothingBehind) {
  Open();
  Create();
  blocked_ = true;
  CreateIndex();
  InsertAndFlush(0, 1000);
  Await([&] { return started_ == 1; });
  files_->SetCapacity(0);
  blocked_ = false;
  Await([&] { return engine_->statistics().index_build_failures == 1; });
  EXPECT_EQ(IndexFiles().size(), 0U);
  EXPECT_EQ(engine_->statistics().fenced_segments, 0U);
  EXPECT_TRUE(engine_->health().ok());
  files_->SetCapacity(std::nullopt);
  Await([&] { return Progress().state == IndexState::kFinished; });
  EXPECT_EQ(IndexFiles().size(), 1U);
}

TEST_F(IndexBuildTest, WhatIsNotServedStaysRecordedAndExact) {
  declined_ = true;
  Open();
  Create();
  CreateIndex();
  InsertAndFlush(0, 1000);
  Await([&] { return started_ == 1 && Progress().state == IndexState::kFinished; });
  EXPECT_EQ(engine_->statistics().indexes, 0U);
  EXPECT_EQ(engine_->statistics().index_build_failures, 0U);
}

TEST_F(IndexBuildTest, ABuildEndsWithTheServerTheIndexAndTheCollection) {
  blocked_ = true;
  Open();
  Create();
  CreateIndex();
  InsertAndFlush(0, 1000);
  Await([&] { return started_ == 1; });
  engine_.reset();
  EXPECT_EQ(cancelled_, 1);
  Open();
  Await([&] { return started_ == 2; });
  ASSERT_TRUE(engine_->DropIndex("default", "docs", "vector", "").ok());
  Await([&] { return cancelled_ == 2; });
  CreateIndex();
  Await([&] { return started_ == 3; });
  ASSERT_TRUE(engine_->DropCollection("default", "docs").ok());
  Await([&] { return cancelled_ == 3; });
  EXPECT_EQ(IndexFiles().size(), 0U);
}

TEST_F(IndexBuildTest, CompactionCancelsTheBuildsOfItsSources) {
  blocked_ = true;
  Open();
  Create();
  CreateIndex();
  InsertAndFlush(0, 1000);
  InsertAndFlush(1000, 2000);
  Await([&] { return started_ == 1; });
  const auto id = engine_->Compact(Docs());
  ASSERT_TRUE(id.ok());
  Await([&] { return engine_->CompactionState(*id).done; });
  Await([&] { return cancelled_ == 1 && started_ == 2; });
  EXPECT_EQ(Progress().pending_rows, 2000);
  blocked_ = false;
  Await([&] { return Progress().state == IndexState::kFinished; });
  EXPECT_EQ(engine_->statistics().indexes, 1U);
  EXPECT_EQ(started_, 2) << "one index over the merged segment";
}

TEST_F(IndexBuildTest, AMergedSegmentTakesOverTheLinksOfItsGraphs) {
  options_.growing_graphs = false;
  Open();
  Create();
  CreateIndex("HNSW");
  InsertAndFlush(0, 1000);
  InsertAndFlush(1000, 2000);
  Await([&] { return Progress().state == IndexState::kFinished; });
  EXPECT_EQ(started_, 2);
  const auto id = engine_->Compact(Docs());
  ASSERT_TRUE(id.ok());
  Await([&] { return engine_->CompactionState(*id).done; });
  EXPECT_EQ(engine_->statistics().indexes, 1U);
  EXPECT_EQ(engine_->statistics().index_builds, 3U);
  EXPECT_EQ(started_, 2) << "joined, not built";
}

TEST_F(IndexBuildTest, ASealedSegmentTakesOverTheLinksThatFollowedItsRows) {
  Open();
  Create();
  CreateIndex("HNSW");
  ASSERT_TRUE(Insert({.collection = Docs(), .batch = Rows(0, 1000)}).ok());
  std::weak_ptr<segment::GrowingSegmentIndex> graph;
  Await([&] {
    const auto graphs = Docs()->growing_segments().front()->VectorIndexes();
    if (graphs.empty() || graphs.front()->index().linked() < 1000) return false;
    graph = graphs.front();
    return true;
  });
  ASSERT_TRUE(engine_->Flush(Docs()).ok());
  Await([&] { return Progress().state == IndexState::kFinished; });
  EXPECT_EQ(engine_->statistics().index_builds, 1U);
  EXPECT_EQ(started_, 0) << "joined, not built";
  Await([&] { return graph.expired(); });
}

TEST_F(IndexBuildTest, OtherMergesGoOnWhileOneWaitsForItsIndex) {
  Open();
  Create();
  CreateIndex();
  InsertAndFlush(0, 1000);
  InsertAndFlush(1000, 2000);
  Await([&] { return Progress().state == IndexState::kFinished; });
  const int built = started_;
  blocked_ = true;
  const auto indexed = engine_->Compact(Docs());
  ASSERT_TRUE(indexed.ok());
  Await([&] { return started_ == built + 1; });
  const auto again = engine_->Compact(Docs());
  ASSERT_TRUE(again.ok());

  Create("plain");
  InsertAndFlush(0, 1000, "plain");
  InsertAndFlush(1000, 2000, "plain");
  const auto plain = engine_->Compact(Find("plain"));
  ASSERT_TRUE(plain.ok());
  Await([&] { return engine_->CompactionState(*plain).done; });
  EXPECT_EQ(engine_->ListSegments(*Find("plain")).size(), 1U);

  EXPECT_FALSE(engine_->CompactionState(*indexed).done);
  EXPECT_FALSE(engine_->CompactionState(*again).done) << "what it merges is being merged";
  EXPECT_EQ(engine_->ListSegments(*Docs()).size(), 2U);
  blocked_ = false;
  Await([&] { return engine_->CompactionState(*indexed).done && engine_->CompactionState(*again).done; });
  EXPECT_EQ(engine_->ListSegments(*Docs()).size(), 1U);
  EXPECT_EQ(Progress().state, IndexState::kFinished) << "the index came with the merged segment";
  EXPECT_EQ(started_, built + 1) << "nothing was merged twice";
}

TEST_F(IndexBuildTest, TheEngineStopsWhileMergesWaitForIndexes) {
  Open();
  for (const std::string name : {"docs", "second"}) {
    Create(name);
    ASSERT_TRUE(engine_->CreateIndex("default", name, "vector", {.index_type = "IVF_FLAT", .metric_type = "L2"}).ok());
    InsertAndFlush(0, 1000, name);
    InsertAndFlush(1000, 2000, name);
  }
  Await([&] { return engine_->statistics().indexes == 4; });
  const int built = started_;
  blocked_ = true;
  for (const std::string name : {"docs", "second", "docs"}) ASSERT_TRUE(engine_->Compact(Find(name)).ok());
  Await([&] { return started_ == built + 1; });
  Open();  // stops the old one first
  EXPECT_EQ(engine_->ListSegments(*Docs()).size(), 2U);
  EXPECT_EQ(engine_->statistics().indexes, 4U);
}

TEST_F(IndexBuildTest, WhatIsMeasuredStandsBesideTheIndexAndGoesWithIt) {
  Open();
  Create();
  CreateIndex();
  InsertAndFlush(0, 1500);
  Await([&] { return Progress().state == IndexState::kFinished; });
  ASSERT_EQ(IndexFiles().size(), 1U);
  ASSERT_EQ(IndexFiles(".tune").size(), 1U);
  ASSERT_NE(Tuning(), nullptr);
  const std::string name = IndexFiles(".tune")[0];
  EXPECT_EQ(name, index::TuningName(IndexFiles()[0]));
  const auto written = files_->ReadFile(name);
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(Tuning()->Serialise(), *written);
  const auto index_bytes = files_->ReadFile(IndexFiles()[0]);

  Open();
  ASSERT_NE(Tuning(), nullptr);
  EXPECT_EQ(Tuning()->Serialise(), *written) << "read, not measured again";

  engine_.reset();
  EXPECT_TRUE(Check().faults.empty());
  EXPECT_EQ(Check().orphans, 0U);
  ASSERT_TRUE(files_->FlipBit(name, 100));
  ASSERT_EQ(Check().faults.size(), 1U);
  EXPECT_EQ("data/" + Check().faults[0].file, name);
  Open();
  Await([&] { return Tuning() != nullptr; });
  engine_.reset();
  EXPECT_TRUE(Check().faults.empty()) << "measured anew";

  ASSERT_TRUE(files_->FlipBit(name, 100));
  EXPECT_EQ(Check(true).unrepaired, 0U);
  EXPECT_EQ(IndexFiles(".tune").size(), 0U);
  EXPECT_TRUE(Check().faults.empty()) << "none is none too few";
  const int built = started_;
  Open();
  Await([&] { return Tuning() != nullptr; });
  EXPECT_EQ(started_, built) << "the index itself stays";
  EXPECT_EQ(*files_->ReadFile(IndexFiles()[0]), *index_bytes);

  InsertAndFlush(1500, 3000);
  Await([&] { return Progress().state == IndexState::kFinished; });
  EXPECT_EQ(IndexFiles(".tune").size(), 2U);
  const auto id = engine_->Compact(Docs());
  ASSERT_TRUE(id.ok());
  Await([&] { return engine_->CompactionState(*id).done; });
  Await([&] { return IndexFiles(".tune").size() == 1; });
  EXPECT_EQ(IndexFiles(".tune")[0], index::TuningName(IndexFiles()[0]));
  ASSERT_TRUE(engine_->DropIndex("default", "docs", "vector", "").ok());
  Await([&] { return IndexFiles(".tune").empty() && IndexFiles().empty(); });
}

TEST_F(IndexBuildTest, AnIndexIsServedThoughItsTuningCannotBeWritten) {
  tight_ = true;
  Open();
  Create();
  CreateIndex();
  InsertAndFlush(0, 1500);
  Await([&] { return Progress().state == IndexState::kFinished; });
  EXPECT_NE(Tuning(), nullptr);
  EXPECT_EQ(IndexFiles().size(), 1U);
  EXPECT_EQ(IndexFiles(".tune").size(), 0U);
  files_->SetCapacity(std::nullopt);
  Open();
  Await([&] { return IndexFiles(".tune").size() == 1; });
  EXPECT_EQ(started_, 1);
}

TEST_F(IndexBuildTest, AutoIndexTriesWhatServesTheRows) {
  options_.index_trial_rows = 1000;
  Open();
  Create();
  CreateIndex("AUTOINDEX");
  InsertAndFlush(0, 1500);
  Await([&] { return Progress().state == IndexState::kFinished; });
  ASSERT_NE(Tuning(), nullptr);
  size_t chosen = 0;
  for (const index::TriedRecipe& tried : Tuning()->tried()) {
    EXPECT_GT(tried.segment_nanoseconds, 0);
    EXPECT_GT(tried.row_bytes, 0);
    if (!tried.chosen) continue;
    ++chosen;
    EXPECT_EQ(tried.structure, Tuning()->structure());
    for (const index::TriedRecipe& other : Tuning()->tried()) EXPECT_LE(tried.cost, other.cost);
  }
  EXPECT_EQ(chosen, 1U);
  EXPECT_EQ(Docs()->info()->indexes.front().index_type, "AUTOINDEX");
  const size_t tried = Tuning()->tried().size();
  Open();
  ASSERT_NE(Tuning(), nullptr);
  EXPECT_EQ(Tuning()->tried().size(), tried) << "kept";
}

TEST_F(IndexBuildTest, WaitsForMemory) {
  options_.memory_limit = 2 << 20;
  Open();
  Create();
  CreateIndex("HNSW");
  InsertAndFlush(0, 1000);
  Await([&] { return Progress().state == IndexState::kFinished; });
  const int started = started_;
  InsertAndFlush(10'000, 15'000);  // its index takes more than the limit allows
  Await([&] { return engine_->statistics().index_build_failures > 0; });
  EXPECT_EQ(started_, started) << "not begun";
  EXPECT_EQ(Progress().state, IndexState::kInProgress);
}

}  // namespace
}  // namespace quiver::engine
