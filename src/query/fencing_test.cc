// Damaged segments: what is damaged is named and fenced, the rest is served, and no write makes a dead row come back.
#include <gtest/gtest.h>

#include <future>
#include <map>
#include <set>

#include "engine/test_engine.h"
#include "query/search.h"

namespace quiver::query {
namespace {

using engine::Engine;
using engine::MakeField;

constexpr int64_t kPk = 100;
constexpr int64_t kValue = 101;
constexpr int64_t kVector = 102;
constexpr int64_t kDim = 8;

using Rows = std::map<int64_t, std::string>;

class FencingTest : public engine::EngineTestBase {
 protected:
  FencingTest() {
    options_.flush_min_bytes = 0;
    options_.compaction = false;
  }

  void Create(const std::string& name) {
    EngineTestBase::Create(name, {engine::MakeKeyField(kPk), MakeField(kValue, "value", DataType::kVarChar),
                                  MakeField(kVector, "vector", DataType::kFloatVector, kDim)});
    ASSERT_TRUE(engine_->Load("default", name, {}, 1).ok());
  }

  void Insert(const std::string& name, int64_t from, int64_t to, const std::string& value,
              const std::string& partition = "") {
    ColumnBatch batch;
    Column keys = Column::Make(kPk, DataType::kInt64);
    Column text = Column::Make(kValue, DataType::kVarChar);
    Column vectors = Column::Make(kVector, DataType::kFloatVector, kDim);
    for (int64_t key = from; key < to; ++key) {
      keys.AppendValue(key);
      text.Append(value + std::to_string(key));
      float values[kDim] = {};
      values[0] = static_cast<float>(key);
      vectors.Append({reinterpret_cast<const char*>(values), sizeof(values)});
      ++batch.rows;
    }
    batch.columns = {keys, text, vectors};
    const Status status =
        EngineTestBase::Insert({.collection = Find(name), .partition_name = partition, .batch = std::move(batch)})
            .status();
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  void Delete(const std::string& name, int64_t key) {
    const Status status =
        EngineTestBase::Delete({.collection = Find(name), .primary_keys = engine::MakeKeys(kPk, {key})}).status();
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  /// Seals the growing rows; returns the segment's id.
  int64_t Flush(const std::string& name) {
    const auto flushed = engine_->Flush(Find(name));
    EXPECT_TRUE(flushed.ok()) << flushed.status().ToString();
    return flushed.ok() && !flushed->segment_ids.empty() ? flushed->segment_ids[0] : 0;
  }
  std::string SegmentPath(const std::string& name, int64_t segment) {
    return "data/objects/segment/" + std::to_string(Find(name)->id()) + "/" + std::to_string(segment) + ".seg";
  }
  std::string DeltaPath(const std::string& name) {
    const std::string directory = "data/objects/delta/" + std::to_string(Find(name)->id());
    const auto entries = files_->List(directory);
    EXPECT_TRUE(entries.ok() && entries->size() == 1);
    return directory + "/" + entries->front().name;
  }

  Result<engine::ReadView> View(const std::string& name, const std::vector<std::string>& partitions = {}) {
    return engine_->OpenView(*Find(name), partitions, 0, std::chrono::steady_clock::time_point::max());
  }
  Result<std::shared_ptr<const expr::Filter>> Compile(const std::string& name, const std::string& filter) {
    return expr::Filter::Compile(filter, *Find(name)->info()->schema);
  }
  Result<Rows> Read(const std::string& name, const std::string& filter = "",
                    const std::vector<std::string>& partitions = {}) {
    QUIVER_ASSIGN_OR_RETURN(QueryRequest request, RequestOf(name, filter, partitions));
    QUIVER_ASSIGN_OR_RETURN(const ColumnBatch batch, Query(request, nullptr));
    Rows rows;
    for (size_t row = 0; row < batch.rows; ++row) {
      EXPECT_TRUE(rows.emplace(batch.columns[0].Get<int64_t>(row), std::string(batch.columns[1].Bytes(row))).second);
    }
    return rows;
  }
  Result<QueryRequest> RequestOf(const std::string& name, const std::string& filter,
                                 const std::vector<std::string>& partitions) {
    QUIVER_ASSIGN_OR_RETURN(engine::ReadView view, View(name, partitions));
    QUIVER_ASSIGN_OR_RETURN(auto compiled, Compile(name, filter));
    return QueryRequest{.view = std::move(view), .filter = compiled, .output_fields = {kPk, kValue, kVector}};
  }
  static Rows Expect(int64_t from, int64_t to, const std::string& value) {
    Rows rows;
    for (int64_t key = from; key < to; ++key) rows[key] = value + std::to_string(key);
    return rows;
  }
  void ExpectFenced(const Status& status, int64_t segment) {
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << status.ToString();
    EXPECT_NE(status.message().find("segment " + std::to_string(segment)), std::string::npos) << status.ToString();
  }
  /// Two collections: "docs" with a damaged-to-be segment of keys 0-99 and a sound one of 100-199, "other" with 0-49.
  int64_t Fill() {
    Open();
    Create("docs");
    Create("other");
    Insert("docs", 0, 100, "a");
    const int64_t first = Flush("docs");
    Insert("docs", 100, 200, "b");
    Flush("docs");
    Insert("other", 0, 50, "o");
    Flush("other");
    return first;
  }
  void FlipByte(const std::string& path, uint64_t byte) { ASSERT_TRUE(files_->FlipBit(path, byte * 8 + 3)); }
};

TEST_F(FencingTest, AFlippedBitInAnySectionIsNamedAndTheRestIsServed) {
  const int64_t first = Fill();
  const std::string path = SegmentPath("docs", first);
  auto file = storage::SegmentFile::Open(*files_, path);
  ASSERT_TRUE(file.ok());
  std::vector<uint64_t> places{8, 30, (*file)->byte_size() - 8, (*file)->byte_size() - 60};  // header and footer
  std::set<std::string> names;
  for (const storage::SegmentSection& section : (*file)->sections()) {
    if (section.length == 0) continue;
    places.push_back(section.offset + section.length / 2);
    names.insert(section.name);
  }
  EXPECT_GE(names.size(), 8U);
  file = Status(StatusCode::kInternal, "closed");
  for (const uint64_t place : places) {
    SCOPED_TRACE("byte " + std::to_string(place));
    FlipByte(path, place);
    Open();
    EXPECT_EQ(*Read("other"), Expect(0, 50, "o"));
    const auto rows = Read("docs");
    // What a read does not touch, it need not find; what it gives is right.
    if (rows.ok()) {
      Rows expected = Expect(0, 100, "a");
      expected.merge(Expect(100, 200, "b"));
      if (place != places.front()) expected[50] = "new50";
      EXPECT_EQ(*rows, expected);
    } else {
      ExpectFenced(rows.status(), first);
      EXPECT_EQ(engine_->statistics().fenced_segments, 1U);
      EXPECT_EQ(Read("docs").status(), rows.status()) << "it stays fenced";
    }
    // A write that has to look at the keys of the segment is taken, and shows no row twice.
    Insert("docs", 50, 51, "new");
    EXPECT_TRUE(engine_->health().ok());
    if (const auto after = Read("docs"); after.ok()) {
      EXPECT_EQ(after->at(50), "new50");
    } else {
      ExpectFenced(after.status(), first);
    }
    FlipByte(path, place);
    // The log still knows the write: with the file sound again nothing is lost and nothing shows twice.
    Open();
    const auto healed = Read("docs");
    ASSERT_TRUE(healed.ok()) << healed.status().ToString();
    EXPECT_EQ(healed->size(), 200U);
    EXPECT_EQ(healed->at(50), "new50");
  }
}

TEST_F(FencingTest, TheCheckNamesEveryDamagedSectionAndTheRepairCuresIt) {
  const int64_t first = Fill();
  const std::string path = SegmentPath("docs", first);
  std::vector<storage::SegmentSection> sections{{.name = "", .offset = 8, .length = 1}};
  {
    const auto file = storage::SegmentFile::Open(*files_, path);
    ASSERT_TRUE(file.ok());
    for (const storage::SegmentSection& section : (*file)->sections()) {
      if (section.length > 0) sections.push_back(section);
    }
  }
  const engine::DirectoryReport sound = Check();
  EXPECT_TRUE(sound.faults.empty()) << sound.faults[0].file << ": " << sound.faults[0].what;
  EXPECT_EQ(sound.collections, 2U);
  EXPECT_EQ(sound.segments, 3U);
  EXPECT_EQ(sound.rows, 250U);
  size_t rebuilt = 0;
  for (const storage::SegmentSection& section : sections) {
    SCOPED_TRACE(section.name + " of field " + std::to_string(section.field_id));
    StartOver();
    Fill();
    const auto segments = meta_->Scan("segment/");
    ASSERT_EQ(segments->size(), 3U);
    const std::string key = segments->front().first;
    const int64_t segment = std::stoll(key.substr(key.rfind('/') + 1));
    const std::string damaged = SegmentPath("docs", segment);
    engine_.reset();
    FlipByte(damaged, section.offset + section.length / 2);
    for (const bool repair : {false, true}) {
      const engine::DirectoryReport report = Check(repair);
      ASSERT_EQ(report.faults.size(), 1U);
      const engine::DirectoryFault& fault = report.faults[0];
      EXPECT_EQ("data/" + fault.file, damaged);
      EXPECT_EQ(fault.segment_id, segment);
      EXPECT_EQ(fault.collection, "default.docs");
      EXPECT_EQ(fault.section.substr(0, section.name.size()), section.name);
      EXPECT_EQ(fault.repair.empty(), !repair);
      EXPECT_EQ(report.unrepaired, 0U);
      if (section.derived) {
        EXPECT_EQ(report.rows_lost, 0U);
      }
    }
    EXPECT_TRUE(Check().faults.empty());
    EXPECT_EQ(files_->List("data/quarantine")->size(), 1U) << "nothing is thrown away";
    Open();
    Rows expected = Expect(100, 200, "b");
    if (section.derived) expected.merge(Expect(0, 100, "a"));
    rebuilt += section.derived ? 1 : 0;
    EXPECT_EQ(*Read("docs"), expected);
    EXPECT_EQ(*Read("other"), Expect(0, 50, "o"));
    EXPECT_EQ(engine_->statistics().fenced_segments, 0U);
    Insert("docs", 0, 10, "again");
    EXPECT_EQ(Read("docs")->at(5), "again5");
  }
  EXPECT_GE(rebuilt, 3U);
}

TEST_F(FencingTest, TheRepairTakesOutSegmentsWithoutSoundDeletesOrManifest) {
  for (const bool manifest : {false, true}) {
    StartOver();
    const int64_t first = Fill();
    Delete("docs", 7);
    Insert("docs", 300, 301, "c");
    Flush("docs");
    if (manifest) {
      storage::MetaTransaction transaction;
      transaction.Put("segment/" + std::to_string(Find("docs")->id()) + "/" + std::to_string(first), "{");
      ASSERT_TRUE(meta_->Commit(transaction).ok());
    } else {
      FlipByte(DeltaPath("docs"), 45);
    }
    EXPECT_EQ(Check().faults.size(), 1U);
    const engine::DirectoryReport repaired = Check(true);
    EXPECT_EQ(repaired.unrepaired, 0U);
    EXPECT_EQ(repaired.rows_lost, manifest ? 0U : 100U);
    EXPECT_EQ(files_->List("data/quarantine")->size(), 2U);
    EXPECT_TRUE(Check().faults.empty());
    Open();
    Rows expected = Expect(100, 200, "b");
    expected[300] = "c300";
    EXPECT_EQ(*Read("docs"), expected);
  }
}

TEST_F(FencingTest, AMissingFileFencesItsSegment) {
  const int64_t first = Fill();
  ASSERT_TRUE(files_->Remove(SegmentPath("docs", first)).ok());
  Open();
  ExpectFenced(Read("docs").status(), first);
  EXPECT_EQ(*Read("other"), Expect(0, 50, "o"));
  EXPECT_EQ(engine_->statistics().fenced_segments, 1U);
}

TEST_F(FencingTest, ADamagedDeltaFencesItsSegmentAndIsKept) {
  const int64_t first = Fill();
  Delete("docs", 7);
  Insert("docs", 300, 301, "c");
  Flush("docs");
  const std::string delta = DeltaPath("docs");
  FlipByte(delta, 45);
  Open();
  ExpectFenced(Read("docs").status(), first);
  // Its deletes are not written over with the few that are known now.
  Delete("docs", 8);
  Insert("docs", 301, 302, "c");
  Flush("docs");
  EXPECT_EQ(DeltaPath("docs"), delta);
  EXPECT_EQ(*Read("docs", "id in [150, 300]"), (Rows{{150, "b150"}, {300, "c300"}}));
}

TEST_F(FencingTest, ADamagedManifestFencesItsSegmentAndKeepsItsFiles) {
  const int64_t first = Fill();
  Delete("docs", 7);
  Insert("docs", 300, 301, "c");
  Flush("docs");
  const std::string key = "segment/" + std::to_string(Find("docs")->id()) + "/" + std::to_string(first);
  const std::string manifest = **meta_->Get(key);
  storage::MetaTransaction transaction;
  std::string broken = manifest;
  broken[2] = '}';
  transaction.Put(key, broken);
  ASSERT_TRUE(meta_->Commit(transaction).ok());
  Open();
  ExpectFenced(Read("docs").status(), first);
  EXPECT_TRUE(*files_->Exists(SegmentPath("docs", first)));
  transaction = {};
  transaction.Put(key, manifest);
  ASSERT_TRUE(meta_->Commit(transaction).ok());
  Open();
  const auto rows = Read("docs");
  ASSERT_TRUE(rows.ok()) << rows.status().ToString();
  EXPECT_EQ(rows->size(), 200U);
  EXPECT_FALSE(rows->contains(7));
}

TEST_F(FencingTest, ReadsThatDoNotNeedTheSegmentAreServed) {
  Open();
  Create("docs");
  ASSERT_TRUE(engine_->CreatePartition("default", "docs", "p").ok());
  ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  Insert("docs", 0, 100, "a");
  const int64_t first = Flush("docs");
  Insert("docs", 100, 200, "b", "p");
  Flush("docs");
  auto file = storage::SegmentFile::Open(*files_, SegmentPath("docs", first));
  ASSERT_TRUE(file.ok());
  for (const storage::SegmentSection& section : (*file)->sections()) {
    if (section.field_id == kVector) FlipByte(SegmentPath("docs", first), section.offset + 100);
  }
  file = Status(StatusCode::kInternal, "closed");
  Open();
  ExpectFenced(Read("docs").status(), first);
  EXPECT_EQ(*Read("docs", "", {"p"}), Expect(100, 200, "b"));
  EXPECT_EQ(*Read("docs", "id == 150"), (Rows{{150, "b150"}}));
  ExpectFenced(Read("docs", "id == 50").status(), first);
  ExpectFenced(Read("docs", "", {"_default"}).status(), first);
  ExpectFenced(Count(*View("docs"), nullptr, {}).status(), first);
  EXPECT_EQ(*Count(*View("docs", {"p"}), nullptr, {}), 100);
}

TEST_F(FencingTest, EveryKindOfReadFailsWithTheSegmentOrServesTheRest) {
  const int64_t first = Fill();
  {
    auto file = storage::SegmentFile::Open(*files_, SegmentPath("docs", first));
    ASSERT_TRUE(file.ok());
    for (const storage::SegmentSection& section : (*file)->sections()) {
      if (section.name == "insert timestamps") FlipByte(SegmentPath("docs", first), section.offset + 100);
    }
  }
  const float query[kDim] = {};
  const auto search = [&](const std::string& name) -> Result<SearchResult> {
    QUIVER_ASSIGN_OR_RETURN(engine::ReadView view, View(name));
    // A moment at which the timestamps of the rows have to be looked at.
    view.expired = 1;
    view.timestamp = engine_->AllocateTimestamp();
    SearchRequest request{.view = std::move(view), .field_id = kVector, .metric = MetricType::kL2, .limit = 500};
    request.queries.emplace_back(reinterpret_cast<const char*>(query), sizeof(query));
    return Search(request, nullptr);
  };
  const auto count = [&]() -> Result<int64_t> {
    QUIVER_ASSIGN_OR_RETURN(engine::ReadView view, View("docs"));
    // One tick before the newest row of the first segment: some of its rows are not there yet.
    view.timestamp = 0;
    for (const auto& segment : view.segments) {
      if (segment->id() == first) {
        view.timestamp = static_cast<const segment::SealedSegment&>(*segment).file().max_timestamp() - 1;
      }
    }
    return Count(view, nullptr, {});
  };
  Open();
  EXPECT_TRUE(search("docs").ok()) << "nothing asks for the timestamps yet";
  ExpectFenced(count().status(), first);
  ExpectFenced(search("docs").status(), first);
  EXPECT_TRUE(search("other").ok());
  options_.serve_damaged = true;
  Open();
  EXPECT_EQ(*count(), 0) << "the count that finds the damage leaves the segment out";
  const auto hits = search("docs");
  ASSERT_TRUE(hits.ok()) << hits.status().ToString();
  EXPECT_EQ(hits->scores.size(), 100U);
  EXPECT_EQ(*Read("docs"), Expect(100, 200, "b"));
  EXPECT_EQ(MatchingKeys(*View("docs"), nullptr, {})->rows, 100U);
  EXPECT_EQ(engine_->statistics().fenced_segments, 1U);
}

TEST_F(FencingTest, ASegmentThatMissedWritesStaysFencedOnceTheLogIsCut) {
  const int64_t first = Fill();
  const std::string path = SegmentPath("docs", first);
  uint64_t place = 0;
  {
    auto file = storage::SegmentFile::Open(*files_, path);
    ASSERT_TRUE(file.ok());
    for (const storage::SegmentSection& section : (*file)->sections()) {
      if (section.name == "pk keys") place = section.offset + 16;
    }
  }
  FlipByte(path, place);
  Open();
  Insert("docs", 50, 52, "new");  // replaces rows that cannot be looked up
  Delete("docs", 60);
  EXPECT_TRUE(engine_->health().ok());
  ExpectFenced(Read("docs").status(), first);
  EXPECT_EQ(*Read("docs", "id in [150]"), (Rows{{150, "b150"}}));
  Flush("docs");  // the log does not know these writes any more
  FlipByte(path, place);
  for (int start = 0; start < 3; ++start) {
    Open();
    ExpectFenced(Read("docs").status(), first);
    options_.serve_damaged = true;
    Open();
    Rows expected = Expect(100, 200, "b");
    expected.merge(Expect(50, 52, "new"));
    EXPECT_EQ(*Read("docs"), expected);
    options_.serve_damaged = false;
  }
}

TEST_F(FencingTest, ACollectionWithAFencedSegmentCanBeDropped) {
  const int64_t first = Fill();
  const std::string path = SegmentPath("docs", first);
  FlipByte(path, 30);
  Open();
  Insert("docs", 50, 51, "new");
  Flush("docs");
  ASSERT_TRUE(engine_->DropCollection("default", "docs").ok());
  Open();
  EXPECT_FALSE(*files_->Exists(path));
  EXPECT_TRUE(meta_->Scan("fence/")->empty());
  EXPECT_TRUE(meta_->Scan("segment/")->size() == 1);
  EXPECT_EQ(*Read("other"), Expect(0, 50, "o"));
}

}  // namespace
}  // namespace quiver::query
