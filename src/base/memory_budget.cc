#include "base/memory_budget.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace quiver {

void ConfigureAllocator() {
#if defined(__GLIBC__)
  // Left alone, glibc raises the size from which blocks are mapped by themselves to 32 MiB once such a block was freed;
  // batches and chunks then stay in arenas, one per thread, and their holes were measured at most of a small budget.
  (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
  (void)mallopt(M_TRIM_THRESHOLD, 4 << 20);
  (void)mallopt(M_ARENA_MAX, 4);
#endif
}

void ReturnFreeMemory() {
#if defined(__GLIBC__)
  (void)malloc_trim(0);
#endif
}

std::string_view MemoryConsumerName(MemoryConsumer consumer) {
  switch (consumer) {
    case MemoryConsumer::kQueuedWrites: return "queued_writes";
    case MemoryConsumer::kGrowing: return "growing_segments";
    case MemoryConsumer::kDeletes: return "deletes";
    case MemoryConsumer::kBackground: return "background";
    case MemoryConsumer::kIndexes: return "indexes";
    case MemoryConsumer::kFilterCache: return "filter_cache";
    case MemoryConsumer::kResultCache: return "result_cache";
    case MemoryConsumer::kIterators: return "iterators";
    case MemoryConsumer::kGrowingIndexes: return "growing_indexes";
  }
  return "";
}

uint64_t MemoryBudget::used() const {
  uint64_t total = 0;
  for (const auto& bytes : used_) total += bytes.load(std::memory_order_relaxed);
  return total;
}

Status MemoryBudget::Admit(uint64_t bytes) const {
  const uint64_t held = used();
  const uint64_t most = limit_ / 4 * 3;
  if (held <= most && bytes <= most - held) return Status::Ok();
  return Error(StatusCode::kMemoryLimit, "memory limit exceeded[predict={}][limit={}], try again later", held + bytes,
               most);
}

}  // namespace quiver
