// File: query/sound_view.h
// Reads over segments that may turn out to be damaged. A read that needs a fenced segment fails with the segment's
// name; one that does not is served, and so is every read where `storage.serve_damaged` lets fenced rows be left out.
// Thread rule: pure functions over an immutable view.
#pragma once

#include <algorithm>
#include <optional>

#include "base/status.h"
#include "engine/engine.h"
#include "expr/filter.h"
#include "segment/segment.h"

namespace quiver::query {

/// Takes fenced segments out of the view, or answers the error of one that the read needs: its partitions and, where
/// the filter names keys, its key range do not rule it out, and the view does not allow leaving it out.
Status TakeOutFenced(engine::ReadView& view, const expr::Filter* filter);

inline bool HasFenced(const engine::ReadView& view) {
  return std::any_of(view.segments.begin(), view.segments.end(), [](const auto& segment) { return segment->fenced(); });
}

/// Runs `work` on the request with the fenced segments taken out of its view, and again when a segment is found damaged
/// meanwhile, whatever `work` answered: it may have used values that were not there. `Request` has `view` and `filter`,
/// a shared pointer.
template <typename Request, typename Work>
auto OnSoundSegments(const Request& request, const Work& work) -> decltype(work(request)) {
  std::optional<Request> narrowed;
  const Request* current = &request;
  for (;;) {
    if (HasFenced(current->view)) {
      if (!narrowed) narrowed = request;
      QUIVER_RETURN_IF_ERROR(TakeOutFenced(narrowed->view, narrowed->filter.get()));
      current = &*narrowed;
    }
    auto result = work(*current);
    // Each further round has fewer segments.
    if (!HasFenced(current->view)) return result;
  }
}

}  // namespace quiver::query
