#include "engine/collection.h"

#include <algorithm>

namespace quiver::engine {

std::vector<std::shared_ptr<const segment::Segment>> Collection::segments(Timestamp& floor) const {
  const std::lock_guard lock(mutex_);
  floor = floor_;
  std::vector<std::shared_ptr<const segment::Segment>> all;
  all.reserve(fenced_.size() + sealed_.size() + growing_.size());
  all.insert(all.end(), fenced_.begin(), fenced_.end());
  all.insert(all.end(), sealed_.begin(), sealed_.end());
  all.insert(all.end(), growing_.begin(), growing_.end());
  return all;
}

std::vector<std::shared_ptr<segment::SealedSegment>> Collection::sealed_segments() const {
  const std::lock_guard lock(mutex_);
  return sealed_;
}

std::vector<std::shared_ptr<segment::GrowingSegment>> Collection::growing_segments() const {
  const std::lock_guard lock(mutex_);
  return growing_;
}

std::vector<std::shared_ptr<const segment::FencedSegment>> Collection::fenced_segments() const {
  const std::lock_guard lock(mutex_);
  return fenced_;
}

void Collection::AddFenced(std::shared_ptr<const segment::FencedSegment> fenced) {
  const std::lock_guard lock(mutex_);
  fenced_.push_back(std::move(fenced));
}

void Collection::NoteMissedWrite(const segment::Segment& fenced) {
  const std::lock_guard lock(mutex_);
  if (!missed_writes_.contains(fenced.id())) missed_writes_[fenced.id()] = fenced.fence().message();
}

std::vector<std::pair<int64_t, std::string>> Collection::missed_writes() const {
  const std::lock_guard lock(mutex_);
  return {missed_writes_.begin(), missed_writes_.end()};
}

int64_t Collection::live_rows(int64_t partition_id) const {
  const std::lock_guard lock(mutex_);
  if (partition_id != -1) {
    const auto found = live_rows_.find(partition_id);
    return found == live_rows_.end() ? 0 : found->second;
  }
  int64_t total = 0;
  for (const auto& [id, rows] : live_rows_) total += rows;
  return total;
}

void Collection::AddGrowing(std::shared_ptr<segment::GrowingSegment> growing) {
  const std::lock_guard lock(mutex_);
  growing_.push_back(std::move(growing));
}

void Collection::AddSealed(std::shared_ptr<segment::SealedSegment> sealed) {
  const std::lock_guard lock(mutex_);
  for (const auto& [partition_id, rows] : sealed->LiveRowsByPartition()) live_rows_[partition_id] += rows;
  sealed_.push_back(std::move(sealed));
}

void Collection::ReplaceGrowing(const segment::GrowingSegment* growing, std::shared_ptr<segment::SealedSegment> sealed,
                                Timestamp floor) {
  const std::lock_guard lock(mutex_);
  floor_ = std::max(floor_, floor);
  std::erase_if(growing_, [&](const auto& candidate) { return candidate.get() == growing; });
  if (sealed != nullptr) sealed_.push_back(std::move(sealed));
}

void Collection::ReplaceSealed(const std::vector<std::shared_ptr<segment::SealedSegment>>& sources,
                               std::shared_ptr<segment::SealedSegment> sealed, Timestamp floor) {
  const std::lock_guard lock(mutex_);
  floor_ = std::max(floor_, floor);
  std::erase_if(sealed_, [&](const auto& candidate) {
    return std::find(sources.begin(), sources.end(), candidate) != sources.end();
  });
  if (sealed != nullptr) sealed_.push_back(std::move(sealed));
}

void Collection::RaiseFloor(Timestamp floor) {
  const std::lock_guard lock(mutex_);
  floor_ = std::max(floor_, floor);
}

void Collection::Apply(const Tombstone& tombstone) {
  last_change.store(std::max(last_change.load(std::memory_order_relaxed), tombstone.timestamp),
                    std::memory_order_release);
  // Rows of the tombstone's own moment are those that a restored snapshot put in place of the dead ones.
  const Timestamp kill_before = tombstone.timestamp - 1;
  const auto subtract = [&](const std::vector<segment::PartitionCount>& killed) {
    for (const segment::PartitionCount& count : killed) AddLiveRows(count.partition_id, -count.rows);
  };
  for (const auto& growing : growing_segments()) {
    subtract(growing->DeleteAll(tombstone.partition_id, tombstone.timestamp, kill_before));
  }
  for (const auto& sealed : sealed_segments()) {
    auto killed = sealed->DeleteAll(tombstone.partition_id, tombstone.timestamp, kill_before);
    if (killed.ok()) {
      subtract(*killed);
    } else {
      NoteMissedWrite(*sealed);  // it is fenced now
    }
  }
  // A dropped partition stays out by its absence from the description; a truncation leaves nothing else behind.
  if (tombstone.partition_id == -1) {
    for (const auto& fenced : fenced_segments()) NoteMissedWrite(*fenced);
  }
}

void Collection::AddLiveRows(int64_t partition_id, int64_t delta) {
  const std::lock_guard lock(mutex_);
  const auto entry = live_rows_.try_emplace(partition_id, 0).first;
  entry->second += delta;
  if (entry->second == 0) live_rows_.erase(entry);  // partitions come and go
}

}  // namespace quiver::engine
