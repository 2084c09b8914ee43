// File: query/sound_view.cc
#include "query/sound_view.h"

#include <string_view>

namespace quiver::query {

namespace {

bool Needs(const engine::ReadView& view, const segment::Segment& segment, const expr::Filter* filter) {
  if (filter != nullptr && filter->always_false()) return false;
  if (!view.partition_ids.empty() && !segment.MayHoldPartition(view.partition_ids)) return false;
  if (filter == nullptr) return true;
  const auto* keys = filter->primary_keys() != nullptr ? filter->primary_keys() : filter->primary_key_candidates();
  if (keys == nullptr) return true;
  return std::any_of(keys->ints.begin(), keys->ints.end(), [&](int64_t key) { return segment.MayHoldKey(key); }) ||
         std::any_of(keys->strings.begin(), keys->strings.end(),
                     [&](const std::string& key) { return segment.MayHoldKey(std::string_view(key)); });
}

}  // namespace

Status TakeOutFenced(engine::ReadView& view, const expr::Filter* filter) {
  for (const auto& segment : view.segments) {
    if (!segment->fenced()) continue;
    // Asked for in any case: the first to ask puts it into the log.
    Status fence = segment->fence();
    if (!view.serve_damaged && Needs(view, *segment, filter)) return fence;
  }
  std::erase_if(view.segments, [](const auto& segment) { return segment->fenced(); });
  return Status::Ok();
}

}  // namespace quiver::query
