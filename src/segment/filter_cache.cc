#include "segment/filter_cache.h"

#include <functional>
#include <utility>

namespace quiver::segment {

namespace {

/// Filters that were asked for once are remembered up to so many.
constexpr size_t kMostAskedOnce = 8192;

}  // namespace

FilterCache::FilterCache(const std::shared_ptr<MemoryBudget>& budget, uint64_t max_bytes)
    : budget_(budget), max_bytes_(max_bytes) {}

std::string FilterCache::NameOf(const Segment& segment, std::string_view key) {
  const auto address = reinterpret_cast<std::uintptr_t>(&segment);
  std::string name(reinterpret_cast<const char*>(&address), sizeof(address));
  name += key;
  return name;
}

std::shared_ptr<FilterBitmap> FilterCache::Find(const std::shared_ptr<const Segment>& segment, std::string_view key) {
  if (key.empty() || !segment->sealed()) return nullptr;
  std::string name = NameOf(*segment, key);
  const uint64_t bytes = FilterBitmap::BytesFor(segment->page_count()) + name.size() + sizeof(Entry);
  if (bytes > max_bytes_ / 4) return nullptr;  // one bitmap shall not drive out all others

  const std::lock_guard lock(mutex_);
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    const Entries::iterator entry = found->second;
    if (entry->segment.lock() == segment) {
      ++statistics_.hits;
      entries_.splice(entries_.begin(), entries_, entry);
      return entry->bitmap;
    }
    Erase(entry);
  }
  ++statistics_.misses;
  const uint64_t hash = std::hash<std::string_view>{}(name);
  if (asked_once_.erase(hash) == 0) {
    if (asked_once_.size() >= kMostAskedOnce) asked_once_.clear();
    asked_once_.insert(hash);
    return nullptr;
  }
  SweepNowAndThen();
  if (budget_ != nullptr && !budget_->Admit(bytes).ok()) return nullptr;
  while (statistics_.bytes + bytes > max_bytes_) Erase(std::prev(entries_.end()));
  entries_.push_front({.name = std::move(name),
                       .segment = segment,
                       .bitmap = std::make_shared<FilterBitmap>(segment->page_count()),
                       .bytes = bytes,
                       .charge = MemoryCharge(budget_, MemoryConsumer::kFilterCache, bytes)});
  by_name_.emplace(entries_.front().name, entries_.begin());
  statistics_.bytes += bytes;
  ++statistics_.bitmaps;
  return entries_.front().bitmap;
}

FilterCache::Statistics FilterCache::statistics() {
  const std::lock_guard lock(mutex_);
  SweepDropped();
  return statistics_;
}

void FilterCache::Erase(Entries::iterator entry) {
  statistics_.bytes -= entry->bytes;
  --statistics_.bitmaps;
  by_name_.erase(entry->name);
  entries_.erase(entry);
}

/// Dropped segments are looked for once for so many new bitmaps as there are: the search takes as long as the list is.
void FilterCache::SweepNowAndThen() {
  if (++kept_since_sweep_ < entries_.size()) return;
  SweepDropped();
}

void FilterCache::SweepDropped() {
  kept_since_sweep_ = 0;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto next = std::next(entry);
    if (entry->segment.expired()) Erase(entry);
    entry = next;
  }
}

}  // namespace quiver::segment
