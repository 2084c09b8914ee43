#include "segment/segment_index.h"

#include <string_view>
#include <utility>

#include "base/logging.h"

namespace quiver::segment {

Result<std::shared_ptr<const SegmentIndex>> SegmentIndex::Open(Identity identity,
                                                               std::shared_ptr<const io::MappedFile> file,
                                                               uint32_t rows,
                                                               const std::shared_ptr<MemoryBudget>& budget,
                                                               std::function<void()> on_damage) {
  const std::string_view bytes(reinterpret_cast<const char*>(file->data()), file->size());
  QUIVER_ASSIGN_OR_RETURN(std::unique_ptr<index::VectorIndex> opened, index::OpenVectorIndex(bytes, identity.object));
  if (file->faulted()) return Error(StatusCode::kCorruption, "{}: it cannot be read", identity.object);
  if (opened->row_count() != rows) {
    return Error(StatusCode::kCorruption, "{}: it covers {} rows of a segment of {}", identity.object,
                 opened->row_count(), rows);
  }
  if (opened->recipe().structure == index::IndexStructure::kGraph) {
    file->Advise(0, file->size(), io::Access::kRandom);  // reading ahead would only fill memory
  }
  return std::shared_ptr<const SegmentIndex>(
      new SegmentIndex(std::move(identity), std::move(file), std::move(opened), budget, std::move(on_damage)));
}

SegmentIndex::SegmentIndex(Identity identity, std::shared_ptr<const io::MappedFile> file,
                           std::unique_ptr<index::VectorIndex> index, const std::shared_ptr<MemoryBudget>& budget,
                           std::function<void()> on_damage)
    : identity_(std::move(identity)),
      file_(std::move(file)),
      index_(std::move(index)),
      charge_(budget, MemoryConsumer::kIndexes, index_->memory_bytes()),
      on_damage_(std::move(on_damage)) {}

void SegmentIndex::ReportDamage(const std::string& what) const {
  damaged_.store(true, std::memory_order_release);
  if (reported_.exchange(true)) return;
  QUIVER_LOG(error,
             "index object {} is damaged and not used any more, its segment is scanned until it is built anew: {}",
             identity_.object, what);
  if (on_damage_) on_damage_();
}

}  // namespace quiver::segment
