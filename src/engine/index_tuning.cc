// Measuring the vector indexes of sealed segments, so that a search which names a recall knows how hard to search each
// (index/tuning.h). The outcome stands in an object beside the index's, which no manifest names: it is derived from
// the name of the index, goes with it, and where it is missing or damaged the index is measured anew.

#include <chrono>

#include "base/logging.h"
#include "engine/engine_impl.h"
#include "index/recipe_trial.h"
#include "index/tuning.h"

namespace quiver::engine {

void Engine::Impl::LoadTuning(const segment::SegmentIndex& index, uint64_t rows) {
  if (index.scalar() != nullptr || !index::IsTunable(index.index().recipe(), rows)) return;
  const std::string name = index::TuningName(index.object());
  const auto mapped = objects->Materialise(name);
  if (!mapped.ok()) return;
  const std::string_view bytes(reinterpret_cast<const char*>((*mapped)->data()), (*mapped)->size());
  Result<index::IndexTuning> tuning = index::IndexTuning::Parse(bytes, name);
  const bool fits = tuning.ok() && tuning->structure() == index.index().recipe().structure && tuning->rows() == rows;
  if (!fits || (*mapped)->faulted()) {
    QUIVER_LOG(warn, "{} is not used, its index is measured anew: {}", name,
               tuning.ok() ? "it belongs to another index" : tuning.status().message());
    return;
  }
  index.SetTuning(*std::move(tuning));
}

Status Engine::Impl::TuneIndex(const segment::SealedSegment& sealed, const segment::SegmentIndex& index,
                               double build_seconds, const std::vector<index::TriedRecipe>& tried,
                               const std::function<bool()>& cancelled) {
  if (index.scalar() != nullptr || !index::IsTunable(index.index().recipe(), sealed.row_count())) return Status::Ok();
  QUIVER_ASSIGN_OR_RETURN(const ColumnView column, sealed.View(index.field_id(), 0, sealed.row_count()));
  const double start = index::ThreadCpuSeconds();
  QUIVER_ASSIGN_OR_RETURN(index::IndexTuning tuning,
                          index::MeasureTuning(index.index(), column, build_seconds, cancelled));
  tuning.SetTried(tried);
  QUIVER_RETURN_IF_ERROR(sealed.fence());  // it may have been measured on zeros
  if (index.damaged()) return Error(StatusCode::kCorruption, "{}: it cannot be read", index.object());
  const std::string name = index::TuningName(index.object());
  Status kept = objects->Remove(name);  // a damaged one
  if (kept.ok()) kept = objects->PutBytes(name, tuning.Serialise());
  if (!kept.ok()) QUIVER_LOG(warn, "{} cannot be written; the next start measures anew: {}", name, kept.ToString());
  QUIVER_LOG(info, "measured index {}: {} ways of searching with {} rows in {:.0f} ms of CPU time", index.object(),
             tuning.points().size(), tuning.samples(), (index::ThreadCpuSeconds() - start) * 1000);
  index.SetTuning(std::move(tuning));
  return Status::Ok();
}

Result<index::IndexRecipe> Engine::Impl::ChooseAmong(const std::vector<index::IndexRecipe>& candidates,
                                                     const ColumnView& column, const IndexTask& task,
                                                     const index::BuildControl& control,
                                                     std::vector<index::TriedRecipe>& tried) {
  if (candidates.size() == 1) return candidates.front();
  const double start = index::ThreadCpuSeconds();
  QUIVER_ASSIGN_OR_RETURN(index::RecipeChoice choice, index::ChooseRecipe(candidates, column, control));
  for (const index::TriedRecipe& recipe : choice.tried) {
    QUIVER_LOG(info,
               "{} over segment {}: {} would take {:.0f} us per query, {:.0f} s to build and {:.0f} bytes per row, "
               "weighed {:.2f}{}",
               task.info.name, task.segment->id(), index::DescribeTried(recipe), recipe.segment_nanoseconds / 1000,
               recipe.build_seconds, recipe.row_bytes, recipe.cost, recipe.chosen ? ": chosen" : "");
  }
  QUIVER_LOG(info, "{} over segment {} was chosen in {:.0f} ms of CPU time", task.info.name, task.segment->id(),
             (index::ThreadCpuSeconds() - start) * 1000);
  tried = std::move(choice.tried);
  return candidates[choice.chosen];
}

bool Engine::Impl::TuneNext(const Collection& collection) {
  for (const auto& sealed : collection.sealed_segments()) {
    if (sealed->outgoing() || sealed->fenced()) continue;
    for (const auto& index : sealed->Indexes()) {
      if (index->tuning() != nullptr || index->damaged() || index->scalar() != nullptr) continue;
      if (!index::IsTunable(index->index().recipe(), sealed->row_count())) continue;
      if (untuned_.contains(index->object())) continue;
      const auto cancelled = [&] {
        return indexer_stop_.load(std::memory_order_relaxed) || collection.dropped || sealed->outgoing();
      };
      const Status status = TuneIndex(*sealed, *index, 0, {}, cancelled);
      if (!status.ok() && status.code() != StatusCode::kCancelled) {
        QUIVER_LOG(warn, "{} cannot be measured, it is searched as estimated when it was built: {}", index->object(),
                   status.ToString());
      }
      if (!status.ok()) untuned_.insert(index->object());
      return true;
    }
  }
  return false;
}

}  // namespace quiver::engine
