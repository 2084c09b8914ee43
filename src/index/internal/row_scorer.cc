#include "index/internal/row_scorer.h"

#include "index/vector_index.h"

namespace quiver::index {

void PageScorer::Score(std::span<const uint32_t> rows, float* scores) const {
  constexpr size_t kAtOnce = 64;
  uint32_t within[kAtOnce];
  for (size_t first = 0; first < rows.size();) {
    const uint32_t page = rows[first] / column_.page_rows;
    size_t count = 0;
    for (; count < kAtOnce && first + count < rows.size() && rows[first + count] / column_.page_rows == page; ++count) {
      within[count] = rows[first + count] % column_.page_rows;
    }
    ScoreRows(queries_, query_, column_.page(page), {within, count}, scores + first);
    first += count;
  }
}

}  // namespace quiver::index
