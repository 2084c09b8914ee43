// File: engine/collection.h
// Collection: the running state of one collection: its published description, its segments, its row counts.
// Thread rule: info(), segments() and row counts may be read from any thread; everything under "Writer side" belongs to
// the sequencer thread (and to recovery before that thread starts).
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/collection_info.h"
#include "segment/fenced_segment.h"
#include "segment/growing_segment.h"
#include "segment/sealed_segment.h"

namespace quiver::engine {

class Collection {
 public:
  explicit Collection(std::shared_ptr<const CollectionInfo> info) : id_(info->id), info_(std::move(info)) {}

  [[nodiscard]] int64_t id() const { return id_; }
  /// The current description.
  [[nodiscard]] std::shared_ptr<const CollectionInfo> info() const {
    const std::lock_guard lock(mutex_);
    return info_;
  }
  void set_info(std::shared_ptr<const CollectionInfo> info) {
    const std::lock_guard lock(mutex_);
    info_ = std::move(info);
  }

  /// All segments that hold rows, sealed and growing, as one consistent list, and in `floor` the oldest timestamp at
  /// which this list still shows every row (sealing and compaction leave older dead ones out).
  [[nodiscard]] std::vector<std::shared_ptr<const segment::Segment>> segments(Timestamp& floor) const;
  /// The floor alone.
  [[nodiscard]] Timestamp floor() const {
    const std::lock_guard lock(mutex_);
    return floor_;
  }
  [[nodiscard]] std::vector<std::shared_ptr<segment::SealedSegment>> sealed_segments() const;
  [[nodiscard]] std::vector<std::shared_ptr<segment::GrowingSegment>> growing_segments() const;
  /// Segments that could not be opened; those found damaged later are still among sealed_segments().
  [[nodiscard]] std::vector<std::shared_ptr<const segment::FencedSegment>> fenced_segments() const;

  /// Exact live rows, of one partition or (-1) of all.
  [[nodiscard]] int64_t live_rows(int64_t partition_id) const;

  // Writer side.
  /// The segment that takes new rows; nullptr until the first insert after start, seal or schema change.
  std::shared_ptr<segment::GrowingSegment> active;
  /// Log offset of the oldest record that only the log and memory hold; UINT64_MAX = none.
  std::atomic<uint64_t> oldest_log_offset{UINT64_MAX};
  /// Log offset of the group that holds its newest record.
  uint64_t newest_log_offset = 0;
  /// Timestamp of the last write, delete or tombstone that was applied, perhaps in part; 0 = none since the start.
  std::atomic<Timestamp> last_change{0};
  /// Everything up to this is in files.
  std::atomic<Timestamp> checkpoint{0};
  std::atomic<bool> dropped{false};
  /// Set while the linker has been asked to look at this collection and has not, and where it finds nothing to link.
  std::atomic<bool> linking_requested{false};
  /// Set while the compactor has been asked to look at this collection and has not.
  std::atomic<bool> maintenance_requested{false};

  void AddGrowing(std::shared_ptr<segment::GrowingSegment> growing);
  void AddSealed(std::shared_ptr<segment::SealedSegment> sealed);
  void AddFenced(std::shared_ptr<const segment::FencedSegment> fenced);
  /// Notes that a write should have reached a row of this segment, perhaps, and could not: the segment is not to be
  /// served again even if its file turns out to be readable, since it shows what was deleted or replaced.
  void NoteMissedWrite(const segment::Segment& fenced);
  /// The segments noted so far, with the reason why they are fenced.
  [[nodiscard]] std::vector<std::pair<int64_t, std::string>> missed_writes() const;
  /// Replaces a growing segment by the sealed one made from it (nullptr: it had no live rows), in one step for readers.
  void ReplaceGrowing(const segment::GrowingSegment* growing, std::shared_ptr<segment::SealedSegment> sealed,
                      Timestamp floor);
  /// Replaces sealed segments by the one made from them (nullptr: nothing of them is needed), in one step for readers.
  void ReplaceSealed(const std::vector<std::shared_ptr<segment::SealedSegment>>& sources,
                     std::shared_ptr<segment::SealedSegment> sealed, Timestamp floor);
  /// The floor that the store remembers from an earlier life.
  void RaiseFloor(Timestamp floor);
  /// Kills all rows that are there now and were inserted before the tombstone.
  void Apply(const Tombstone& tombstone);
  void AddLiveRows(int64_t partition_id, int64_t delta);

 private:
  const int64_t id_;
  mutable std::mutex mutex_;
  std::shared_ptr<const CollectionInfo> info_;
  std::vector<std::shared_ptr<segment::GrowingSegment>> growing_;
  std::vector<std::shared_ptr<segment::SealedSegment>> sealed_;
  std::vector<std::shared_ptr<const segment::FencedSegment>> fenced_;
  std::map<int64_t, std::string> missed_writes_;
  std::map<int64_t, int64_t> live_rows_;
  Timestamp floor_ = 0;
};

}  // namespace quiver::engine
