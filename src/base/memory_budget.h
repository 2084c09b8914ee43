// File: base/memory_budget.h
// MemoryBudget: how much memory each large consumer holds, and how much all of them may. Small allocations are not
// counted; a quarter of the limit is left for them, for fragments of the heap and for the stacks.
//
//   MemoryCharge charge(budget, MemoryConsumer::kBackground, bytes);  // given back when it ends
//   QUIVER_RETURN_IF_ERROR(budget->Admit(bytes));                     // before taking on something large
//
// Thread rule: MemoryBudget may be used from any thread; a MemoryCharge belongs to one thread at a time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace quiver {

enum class MemoryConsumer : uint8_t {
  kQueuedWrites,    ///< decoded batches and their log records, until they are durable
  kGrowing,         ///< growing segments
  kDeletes,         ///< delete timestamps of sealed segments
  kBackground,      ///< sealing, compaction, restoring, building of indexes
  kIndexes,         ///< what open vector indexes hold besides their mapped files
  kFilterCache,     ///< answers of repeated filters
  kResultCache,     ///< answers of searches that asked to be kept
  kIterators,       ///< searches that go on with the next page
  kGrowingIndexes,  ///< scalar indexes of growing segments
};
inline constexpr size_t kMemoryConsumers = 9;
/// As in the metric quiver_memory_bytes.
std::string_view MemoryConsumerName(MemoryConsumer consumer);

class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t limit) : limit_(limit) {}

  void Add(MemoryConsumer consumer, uint64_t bytes) {
    used_[static_cast<size_t>(consumer)].fetch_add(bytes, std::memory_order_relaxed);
  }
  void Release(MemoryConsumer consumer, uint64_t bytes) {
    used_[static_cast<size_t>(consumer)].fetch_sub(bytes, std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t limit() const { return limit_; }
  [[nodiscard]] uint64_t used(MemoryConsumer consumer) const {
    return used_[static_cast<size_t>(consumer)].load(std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t used() const;
  /// Above the high mark (half of the limit): background work that takes memory waits.
  [[nodiscard]] bool above_high_mark() const { return used() > limit_ / 2; }
  /// Error: kMemoryLimit (retriable) where `bytes` more would take more than three quarters of the limit.
  [[nodiscard]] Status Admit(uint64_t bytes) const;

 private:
  const uint64_t limit_;
  std::array<std::atomic<uint64_t>, kMemoryConsumers> used_{};
};

/// Sets the C library's allocator up so that large blocks go back to the system when they are freed; once, at start.
void ConfigureAllocator();
/// Gives memory that is free inside the allocator back to the system; takes milliseconds.
void ReturnFreeMemory();

/// Bytes of one consumer, given back at the end. Without a budget it counts nothing.
class MemoryCharge {
 public:
  MemoryCharge() = default;
  MemoryCharge(std::shared_ptr<MemoryBudget> budget, MemoryConsumer consumer, uint64_t bytes = 0)
      : budget_(std::move(budget)), consumer_(consumer) {
    Grow(bytes);
  }
  MemoryCharge(MemoryCharge&& other) noexcept
      : budget_(std::move(other.budget_)), consumer_(other.consumer_), bytes_(std::exchange(other.bytes_, 0)) {}
  MemoryCharge& operator=(MemoryCharge&& other) noexcept {
    if (this != &other) {
      Reset();
      budget_ = std::move(other.budget_);
      consumer_ = other.consumer_;
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  ~MemoryCharge() { Reset(); }

  void Grow(uint64_t bytes) {
    if (budget_ == nullptr) return;
    budget_->Add(consumer_, bytes);
    bytes_ += bytes;
  }
  void Reset() {
    if (budget_ != nullptr) budget_->Release(consumer_, std::exchange(bytes_, 0));
  }

 private:
  std::shared_ptr<MemoryBudget> budget_;
  MemoryConsumer consumer_ = MemoryConsumer::kBackground;
  uint64_t bytes_ = 0;
};

}  // namespace quiver
