#include "base/memory_budget.h"

namespace quiver {

std::string_view MemoryConsumerName(MemoryConsumer consumer) {
  switch (consumer) {
    case MemoryConsumer::kQueuedWrites: return "queued_writes";
    case MemoryConsumer::kGrowing: return "growing_segments";
    case MemoryConsumer::kDeletes: return "deletes";
    case MemoryConsumer::kBackground: return "background";
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
