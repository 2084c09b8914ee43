#include "segment/segment_index.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/logging.h"

namespace quiver::segment {

Result<std::shared_ptr<const SegmentIndex>> SegmentIndex::Open(Identity identity,
                                                               std::shared_ptr<const io::MappedFile> file,
                                                               uint32_t rows,
                                                               const std::shared_ptr<MemoryBudget>& budget,
                                                               std::function<void()> on_damage) {
  const Place place{.offset = 0, .bytes = file->size(), .first_row = 0, .rows = rows, .is_part = false};
  return OpenAt(place, std::move(identity), std::move(file), budget, std::move(on_damage));
}

Result<std::shared_ptr<const SegmentIndex>> SegmentIndex::OpenAt(const Place& place, Identity identity,
                                                                 std::shared_ptr<const io::MappedFile> file,
                                                                 const std::shared_ptr<MemoryBudget>& budget,
                                                                 std::function<void()> on_damage) {
  const std::string_view bytes(reinterpret_cast<const char*>(file->data()) + place.offset, place.bytes);
  std::unique_ptr<index::VectorIndex> vector;
  std::unique_ptr<index::ScalarIndex> scalar;
  if (index::IsScalarIndexFile(bytes)) {
    QUIVER_ASSIGN_OR_RETURN(scalar, index::OpenScalarIndex(bytes, identity.object));
  } else {
    QUIVER_ASSIGN_OR_RETURN(vector, index::OpenVectorIndex(bytes, identity.object));
  }
  if (file->faulted()) return Error(StatusCode::kCorruption, "{}: it cannot be read", identity.object);
  const uint32_t covered = vector != nullptr ? vector->row_count() : scalar->row_count();
  if (covered != place.rows) {
    return Error(StatusCode::kCorruption, "{}: it covers {} rows instead of {}", identity.object, covered, place.rows);
  }
  if (vector == nullptr || vector->recipe().structure == index::IndexStructure::kGraph) {
    file->Advise(place.offset, place.bytes, io::Access::kRandom);  // reading ahead would only fill memory
  }
  MemoryCharge charge(budget, MemoryConsumer::kIndexes, vector != nullptr ? vector->memory_bytes() : 0);
  return std::shared_ptr<const SegmentIndex>(new SegmentIndex(place, std::move(identity), std::move(file), nullptr,
                                                              std::move(vector), std::move(scalar), std::move(charge),
                                                              std::move(on_damage)));
}

Result<std::shared_ptr<const SegmentIndex>> SegmentIndex::FromMemory(Identity identity, std::string bytes,
                                                                     uint32_t rows,
                                                                     const std::shared_ptr<MemoryBudget>& budget) {
  auto memory = std::make_unique<const std::string>(std::move(bytes));
  QUIVER_ASSIGN_OR_RETURN(std::unique_ptr<index::ScalarIndex> scalar, index::OpenScalarIndex(*memory, identity.object));
  if (scalar->row_count() != rows) {
    return Error(StatusCode::kCorruption, "{}: it covers {} of {} rows", identity.object, scalar->row_count(), rows);
  }
  QUIVER_RETURN_IF_ERROR(scalar->EnsureSound());
  MemoryCharge charge(budget, MemoryConsumer::kGrowingIndexes, memory->capacity());
  const Place place{.offset = 0, .bytes = memory->size(), .first_row = 0, .rows = rows, .is_part = false};
  return std::shared_ptr<const SegmentIndex>(new SegmentIndex(place, std::move(identity), nullptr, std::move(memory),
                                                              nullptr, std::move(scalar), std::move(charge), {}));
}

SegmentIndex::SegmentIndex(const Place& place, Identity identity, std::shared_ptr<const io::MappedFile> file,
                           std::unique_ptr<const std::string> memory, std::unique_ptr<index::VectorIndex> vector,
                           std::unique_ptr<index::ScalarIndex> scalar, MemoryCharge charge,
                           std::function<void()> on_damage)
    : place_(place),
      identity_(std::move(identity)),
      file_(std::move(file)),
      memory_(std::move(memory)),
      vector_(std::move(vector)),
      scalar_(std::move(scalar)),
      charge_(std::move(charge)),
      on_damage_(std::move(on_damage)) {}

void SegmentIndex::SetTuning(index::IndexTuning tuning) const {
  const std::lock_guard lock(mutex_);
  if (tuning_owner_ != nullptr) return;
  tuning_owner_ = std::make_unique<const index::IndexTuning>(std::move(tuning));
  tuning_.store(tuning_owner_.get(), std::memory_order_release);
}

std::shared_ptr<const SegmentIndex::Parts> SegmentIndex::parts() const {
  const std::lock_guard lock(mutex_);
  return parts_;
}

void SegmentIndex::SetParts(std::shared_ptr<const Parts> parts) const {
  const std::lock_guard lock(mutex_);
  parts_.swap(parts);  // those before are let go behind the lock
}

std::shared_ptr<const SegmentIndex> SegmentIndex::FindPart(uint32_t first_row, uint32_t rows) const {
  const std::shared_ptr<const Parts> parts = this->parts();
  if (parts == nullptr) return nullptr;
  const auto end_of = [](const auto& part) { return part->first_row() + part->row_count(); };
  const auto part = std::ranges::upper_bound(*parts, first_row, {}, end_of);
  if (part == parts->end() || (*part)->first_row() > first_row || end_of(*part) < first_row + rows) return nullptr;
  return (*part)->damaged() ? nullptr : *part;
}

void SegmentIndex::ReportDamage(const std::string& what) const {
  damaged_.store(true, std::memory_order_release);
  if (reported_.exchange(true)) return;
  QUIVER_LOG(error, "index object {} is damaged and not used any more, {} until it is built anew: {}", identity_.object,
             is_part() ? "its rows are searched in the index of all rows" : "its segment is scanned", what);
  if (on_damage_) on_damage_();
}

}  // namespace quiver::segment
