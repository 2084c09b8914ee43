// File: engine/test_docs.h
// EngineTest: an engine of a test with a collection `docs` of keys, texts and vectors. For tests only. Thread rule: one
// thread, that of the test.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/test_engine.h"
#include "segment/segment.h"

namespace quiver::engine {

inline constexpr int64_t kPk = 100;
inline constexpr int64_t kValue = 101;
inline constexpr int64_t kVector = 102;
inline constexpr int64_t kDim = 4;

inline CollectionSchema MakeSchema(bool auto_id = false) {
  CollectionSchema schema;
  schema.name = "docs";
  schema.auto_id = auto_id;
  schema.fields = {MakeKeyField(kPk), MakeField(kValue, "value", DataType::kVarChar),
                   MakeField(kVector, "vector", DataType::kFloatVector, kDim)};
  schema.fields[0].auto_id = auto_id;
  return schema;
}

inline ColumnBatch MakeBatch(const std::vector<int64_t>& keys, const std::string& value, bool with_keys = true) {
  ColumnBatch batch;
  batch.rows = keys.size();
  Column pk = Column::Make(kPk, DataType::kInt64);
  Column text = Column::Make(kValue, DataType::kVarChar);
  Column vector = Column::Make(kVector, DataType::kFloatVector, kDim);
  for (const int64_t key : keys) {
    pk.AppendValue(key);
    text.Append(value + std::to_string(key));
    const float values[kDim] = {static_cast<float>(key), 1, 2, 3};
    vector.Append({reinterpret_cast<const char*>(values), sizeof(values)});
  }
  if (with_keys) batch.columns.push_back(std::move(pk));
  batch.columns.push_back(std::move(text));
  batch.columns.push_back(std::move(vector));
  return batch;
}

class EngineTest : public EngineTestBase {
 protected:
  void Reopen() {
    engine_.reset();
    Open();
  }
  void CreateDocs(bool auto_id = false) {
    const Status created = engine_->CreateCollection({.schema = MakeSchema(auto_id)});
    ASSERT_TRUE(created.ok()) << created.ToString();
    ASSERT_TRUE(engine_->Load("default", "docs", {}, 1).ok());
  }
  Result<WriteResult> Insert(const std::vector<int64_t>& keys, const std::string& value, bool with_keys = true,
                             const std::string& request_id = "", const std::string& partition = "") {
    return EngineTestBase::Insert({.collection = Docs(),
                                   .partition_name = partition,
                                   .batch = MakeBatch(keys, value, with_keys),
                                   .request_id = request_id});
  }
  Result<WriteResult> Delete(const std::vector<int64_t>& keys, std::optional<Timestamp> kill_before = {}) {
    return EngineTestBase::Delete(
        {.collection = Docs(), .primary_keys = MakeKeys(kPk, keys), .kill_before = kill_before});
  }
  /// Runs a compaction to its end.
  CompactionProgress Compact() {
    const auto id = engine_->Compact(Docs());
    EXPECT_TRUE(id.ok()) << id.status().ToString();
    if (!id.ok()) return {};
    EXPECT_GT(*id, 0);
    CompactionProgress progress;
    while (!(progress = engine_->CompactionState(*id)).done) std::this_thread::yield();
    EXPECT_EQ(progress.failed, 0);
    return progress;
  }
  /// Restores a snapshot and waits for the end. An empty target is the collection itself.
  RestoreJob Restore(const std::string& name, const std::string& target = "") {
    const auto id = engine_->RestoreSnapshot("default", "docs", name, "", target);
    EXPECT_TRUE(id.ok()) << id.status().ToString();
    if (!id.ok()) return {};
    for (;;) {
      const std::optional<RestoreJob> job = engine_->FindRestore(*id);
      if (job && (job->state == RestoreState::kCompleted || job->state == RestoreState::kFailed)) return *job;
      std::this_thread::yield();
    }
  }
  /// All rows visible at a moment, key -> value.
  std::map<int64_t, std::string> RowsAt(Timestamp travel, const std::vector<std::string>& partitions = {}) {
    const auto view = engine_->OpenView(*Docs(), partitions, 0, std::chrono::steady_clock::time_point::max(), travel);
    EXPECT_TRUE(view.ok()) << view.status().ToString();
    return view.ok() ? RowsOf(*view) : std::map<int64_t, std::string>();
  }
  /// All visible rows, key -> value.
  std::map<int64_t, std::string> Rows() {
    const auto collection = Docs();
    const std::map<int64_t, std::string> rows = RowsOf(engine_->ViewAll(*collection));
    EXPECT_EQ(engine_->RowCount(*collection, "").ok() ? *engine_->RowCount(*collection, "") : -1,
              static_cast<int64_t>(rows.size()));
    return rows;
  }
  static std::map<int64_t, std::string> RowsOf(const ReadView& view) {
    std::map<int64_t, std::string> rows;
    for (const auto& segment : view.segments) {
      for (uint32_t page = 0; page < segment->page_count(); ++page) {
        uint64_t mask[segment::kPageWords];
        segment->FillVisible(page, view.visibility(), mask);
        for (uint32_t at = 0; at < segment::kPageRows; ++at) {
          if ((mask[at / 64] >> (at % 64) & 1) == 0) continue;
          const uint32_t row = page * segment::kPageRows + at;
          const int64_t key = segment->View(kPk, row, 1)->Get<int64_t>(0);
          EXPECT_FALSE(rows.contains(key)) << "two visible rows of key " << key;
          rows[key] = std::string(segment->View(kValue, row, 1)->Bytes(0));
          EXPECT_EQ(*segment->FindVisible(key, view.timestamp), row);
        }
      }
    }
    return rows;
  }
  uint64_t SealedCount() {
    uint64_t sealed = 0;
    for (const SegmentInfo& segment : engine_->ListSegments(*Docs())) sealed += segment.sealed ? 1 : 0;
    return sealed;
  }
};

}  // namespace quiver::engine
