#include "index/internal/box_tree.h"

#include <algorithm>
#include <cmath>

namespace quiver::index {

namespace {

// Sections; the numbers are part of the file format.
constexpr uint32_t kBoxesSection = 11;
constexpr uint32_t kRowsSection = 12;
constexpr uint32_t kUpperSection = 13;
constexpr uint32_t kUnboundedSection = 14;

/// Children of a box.
constexpr size_t kFanout = 16;

size_t ParentsOf(size_t boxes) { return (boxes + kFanout - 1) / kFanout; }

Box Around(std::span<const Box> boxes) {
  Box around = boxes.front();
  for (const Box& box : boxes.subspan(1)) {
    around.min_x = std::min(around.min_x, box.min_x);
    around.min_y = std::min(around.min_y, box.min_y);
    around.max_x = std::max(around.max_x, box.max_x);
    around.max_y = std::max(around.max_y, box.max_y);
  }
  return around;
}

}  // namespace

void BoxTreeBuilder::Finish(SectionFileWriter& writer) {
  // Slices by x, each with about as many leaves as there are slices; within a slice by y.
  const auto leaves = static_cast<double>(ParentsOf(entries_.size()));
  const size_t slice = static_cast<size_t>(std::ceil(std::sqrt(leaves))) * kFanout;
  const auto middle_x = [](const Entry& entry) { return entry.box.min_x / 2 + entry.box.max_x / 2; };
  const auto middle_y = [](const Entry& entry) { return entry.box.min_y / 2 + entry.box.max_y / 2; };
  std::sort(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) {
    return middle_x(a) != middle_x(b) ? middle_x(a) < middle_x(b) : a.row < b.row;
  });
  for (size_t begin = 0; begin < entries_.size(); begin += slice) {
    const size_t end = std::min(begin + slice, entries_.size());
    std::sort(entries_.begin() + static_cast<ptrdiff_t>(begin), entries_.begin() + static_cast<ptrdiff_t>(end),
              [&](const Entry& a, const Entry& b) {
                return middle_y(a) != middle_y(b) ? middle_y(a) < middle_y(b) : a.row < b.row;
              });
  }
  std::vector<Box> boxes;
  std::vector<uint32_t> rows;
  for (const Entry& entry : entries_) {
    boxes.push_back(entry.box);
    rows.push_back(entry.row);
  }
  entries_ = {};
  std::vector<Box> upper;
  std::vector<Box> level = boxes;
  while (level.size() > 1) {
    std::vector<Box> parents;
    for (size_t i = 0; i < level.size(); i += kFanout) {
      parents.push_back(Around(std::span(level).subspan(i, std::min(kFanout, level.size() - i))));
    }
    upper.insert(upper.end(), parents.begin(), parents.end());
    level = std::move(parents);
  }
  writer.AddValues<Box>(kBoxesSection, boxes);
  writer.AddValues<uint32_t>(kRowsSection, rows);
  writer.AddValues<Box>(kUpperSection, upper);
  writer.AddValues<uint32_t>(kUnboundedSection, unbounded_);
  unbounded_ = {};
}

Result<BoxTree> BoxTree::Open(const SectionFile& file) {
  BoxTree tree;
  const size_t count = file.Section(kRowsSection).size() / sizeof(uint32_t);
  QUIVER_ASSIGN_OR_RETURN(tree.rows_, file.Values<uint32_t>(kRowsSection, count));
  const size_t unbounded = file.Section(kUnboundedSection).size() / sizeof(uint32_t);
  QUIVER_ASSIGN_OR_RETURN(tree.unbounded_, file.Values<uint32_t>(kUnboundedSection, unbounded));
  QUIVER_ASSIGN_OR_RETURN(const std::span<const Box> boxes, file.Values<Box>(kBoxesSection, count));
  tree.levels_.push_back(boxes);
  size_t upper_count = 0;
  for (size_t size = count; size > 1; upper_count += size) size = ParentsOf(size);
  QUIVER_ASSIGN_OR_RETURN(std::span<const Box> upper, file.Values<Box>(kUpperSection, upper_count));
  for (size_t size = count; size > 1; upper = upper.subspan(size)) {
    size = ParentsOf(size);
    tree.levels_.push_back(upper.first(size));
  }
  return tree;
}

bool BoxTree::Find(const Box& box, size_t most, std::vector<uint32_t>* rows) const {
  if (rows_.empty()) return true;
  struct Place {
    size_t level;
    size_t position;
  };
  std::vector<Place> open{{levels_.size() - 1, 0}};
  while (!open.empty()) {
    const Place place = open.back();
    open.pop_back();
    if (!levels_[place.level][place.position].Meets(box)) continue;
    if (place.level == 0) {
      if (rows->size() >= most) return false;
      rows->push_back(rows_[place.position]);
      continue;
    }
    const size_t begin = place.position * kFanout;
    const size_t end = std::min(begin + kFanout, levels_[place.level - 1].size());
    for (size_t i = begin; i < end; ++i) open.push_back({place.level - 1, i});
  }
  return true;
}

}  // namespace quiver::index
