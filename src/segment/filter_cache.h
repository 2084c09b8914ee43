// File: segment/filter_cache.h
// FilterCache: the answers of repeated filters over sealed segments, a bit per row. What a filter says of a sealed
// row never changes: deletes, time travel, TTL and partitions decide afterwards which of the rows are seen.
//
//   if (auto bitmap = cache->Find(segment, key)) {
//     if (!bitmap->Read(page, words)) { ...evaluate all rows of the page into words...; bitmap->Write(page, words); }
//   }
//
// Thread rule: FilterCache and FilterBitmap may be used from any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/memory_budget.h"
#include "segment/segment.h"

namespace quiver::segment {

/// The rows of one segment that satisfy one filter, as far as pages have been evaluated.
class FilterBitmap {
 public:
  explicit FilterBitmap(uint32_t pages) : states_(pages), words_(size_t{pages} * kPageWords) {}

  /// Copies the kPageWords words of a page; false where it has not been written.
  bool Read(uint32_t page, uint64_t* words) const {
    if (states_[page].load(std::memory_order_acquire) != kWritten) return false;
    std::copy_n(words_.data() + size_t{page} * kPageWords, kPageWords, words);
    return true;
  }
  /// Keeps a page, unless another thread is at it.
  void Write(uint32_t page, const uint64_t* words) {
    uint8_t state = kEmpty;
    if (!states_[page].compare_exchange_strong(state, kTaken, std::memory_order_relaxed)) return;
    std::copy_n(words, kPageWords, words_.data() + size_t{page} * kPageWords);
    states_[page].store(kWritten, std::memory_order_release);
  }
  /// Bytes that the bitmap of so many pages takes.
  static uint64_t BytesFor(uint32_t pages) { return uint64_t{pages} * (kPageWords * sizeof(uint64_t) + 1); }

 private:
  enum : uint8_t { kEmpty, kTaken, kWritten };
  std::vector<std::atomic<uint8_t>> states_;
  std::vector<uint64_t> words_;
};

class FilterCache {
 public:
  struct Statistics {
    uint64_t hits = 0;    ///< bitmaps found
    uint64_t misses = 0;  ///< filters that had none yet
    uint64_t bitmaps = 0;
    uint64_t bytes = 0;
  };

  /// Keeps at most `max_bytes`, counted in `budget` as kFilterCache; 0 = nothing is kept.
  FilterCache(const std::shared_ptr<MemoryBudget>& budget, uint64_t max_bytes);

  /// The bitmap of a filter, by its key, over a sealed segment. nullptr where the filter is asked for the first time in
  /// a while, where the key is empty or the segment too large for the cache. The bitmap may outlive its place here.
  std::shared_ptr<FilterBitmap> Find(const std::shared_ptr<const Segment>& segment, std::string_view key);

  /// Also lets go of what is kept for segments that are no more.
  [[nodiscard]] Statistics statistics();

 private:
  struct Entry {
    std::string name;
    std::weak_ptr<const Segment> segment;  ///< an address may be used again; this tells the old from the new
    std::shared_ptr<FilterBitmap> bitmap;
    uint64_t bytes = 0;
    MemoryCharge charge;
  };
  using Entries = std::list<Entry>;

  static std::string NameOf(const Segment& segment, std::string_view key);
  void Erase(Entries::iterator entry);
  void SweepDropped();
  void SweepNowAndThen();

  const std::shared_ptr<MemoryBudget> budget_;
  const uint64_t max_bytes_;
  std::mutex mutex_;
  Entries entries_;  ///< most recently used first
  std::unordered_map<std::string_view, Entries::iterator> by_name_;
  std::unordered_set<uint64_t> asked_once_;  ///< hashes of names
  Statistics statistics_;
  size_t kept_since_sweep_ = 0;
};

}  // namespace quiver::segment
