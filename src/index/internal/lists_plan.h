// File: index/internal/lists_plan.h
// What searches over inverted lists have in common, whether the lists lie in a file or grow: how a query comes into
// their space, how many lists it looks at, and which are the nearest.
// Thread rule: pure functions; a ListsScratch belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "index/flat_search.h"
#include "index/internal/lists_layout.h"
#include "index/internal/lists_scratch.h"
#include "index/vector_index.h"

namespace quiver::index {

/// A buffer with room for `size` values.
template <typename T>
T* Sized(std::vector<T>& buffer, size_t size) {
  if (buffer.size() < size) buffer.resize(size);
  return buffer.data();
}

/// How many lists a search looks at.
struct ListsGoal {
  uint32_t first = 0;   ///< before anything is known of the hits
  uint64_t needed = 0;  ///< rows that may be returned which must be seen
  double growth = 1;    ///< lists of a further round, as a part of those before
  /// Goes on as long as the lists of a round bring more hits than so many; negative: it does not go by hits.
  double yield = -1;
};

/// What the number of lists is chosen by.
struct ListsPlan {
  uint32_t nlist = 1;
  uint64_t listed = 0;  ///< rows in lists
  std::span<const CurvePoint> curve;

  /// Lists that a search looks at: those that were asked for by number, or that hold the recall that was asked for;
  /// more of them under a filter.
  [[nodiscard]] uint32_t ListsFor(const IndexSearchOptions& options, const RowFilter& filter) const;
  /// Without a filter the lists that were asked for. Under one, how many are worth a look depends on where the rows
  /// that match lie: far from the query hits are spread thin. So it is what the last lists brought that ends a search.
  /// `most`: of ListsFor.
  [[nodiscard]] ListsGoal GoalOf(const RowFilter& filter, const IndexSearchOptions& options, uint32_t most) const;
  /// Lists that a search is expected to have looked at when its goal is reached. `most`: of ListsFor; `full`: there are
  /// as many hits as wanted already, of other segments, so that rounds soon bring hardly any.
  [[nodiscard]] double Expected(const RowFilter& filter, const IndexSearchOptions& options, uint32_t most,
                                bool full) const;

 private:
  [[nodiscard]] uint32_t ListsForRecall(double recall, size_t k) const;
  [[nodiscard]] double RecallOf(uint32_t nprobe, size_t k) const;
  [[nodiscard]] double ShareOf(const RowFilter& filter) const;
  [[nodiscard]] double Promised(const IndexSearchOptions& options, uint32_t asked) const;
};

/// Lists that `rows` rows are put into: those that were asked for, or a multiple of their root.
size_t ChooseLists(const IndexRecipe& recipe, size_t rows);

/// Brings a query, mean.size() floats, into the space of the lists, before its rotation: see lists_layout.h. `product`
/// becomes <query, mean> for IP. Returns false where keys do not hold for it.
bool ShiftQuery(MetricType metric, std::span<const float> mean, float* plain, float* product);

/// Puts the `count` of `nlist` lists with the smallest scratch.centre_keys into scratch.chosen, smallest first, ties by
/// number. scratch.block_keys holds the smallest of each block.
void ChooseNearest(size_t nlist, size_t count, ListsScratch& scratch);
/// The same for the rounds of one search, where scratch.chosen holds what was chosen before (it is empty at first): at
/// least `count` of them, and more at once so that few rounds have to choose.
void ChooseFurther(size_t nlist, size_t count, ListsScratch& scratch);

/// A curve from rows taken as queries (a row is no neighbour of itself): `truth`, of each its kCurveDepth + 1 nearest;
/// `list_of_row`, nlist for rows that every search scores; `keys_of(i, keys)` writes the keys of all lists for query i.
constexpr size_t kCurveDepth = 100;
std::vector<CurvePoint> MeasureCurve(uint32_t nlist, std::span<const uint32_t> rows, std::span<TopK> truth,
                                     std::span<const uint32_t> list_of_row,
                                     const std::function<void(size_t, float*)>& keys_of);

}  // namespace quiver::index
