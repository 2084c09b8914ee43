// File: index/internal/box_tree.h
// BoxTree: rows with boxes in the plane, packed into a tree of boxes (sort-tile-recursive), as sections of an index
// file (docs/formats.md, "Scalar index files"). Thread rule: BoxTreeBuilder belongs to one thread; a BoxTree is
// immutable.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "index/internal/section_file.h"
#include "schema/geometry.h"

namespace quiver::index {

class BoxTreeBuilder {
 public:
  /// `box` is finite.
  void Add(const Box& box, uint32_t row) { entries_.push_back({box, row}); }
  /// A row that no box describes: it is a candidate always.
  void AddUnbounded(uint32_t row) { unbounded_.push_back(row); }
  /// Adds the sections and leaves the builder empty.
  void Finish(SectionFileWriter& writer);

 private:
  struct Entry {
    Box box;
    uint32_t row;
  };
  std::vector<Entry> entries_;
  std::vector<uint32_t> unbounded_;
};

class BoxTree {
 public:
  /// Finds the sections. Error: kCorruption where their sizes do not fit together.
  static Result<BoxTree> Open(const SectionFile& file);

  /// Rows with a box.
  [[nodiscard]] uint32_t size() const { return static_cast<uint32_t>(rows_.size()); }
  [[nodiscard]] std::span<const uint32_t> unbounded() const { return unbounded_; }
  /// The box of all boxes; size() > 0.
  [[nodiscard]] const Box& bounds() const { return levels_.back().back(); }
  /// Appends the rows whose boxes meet `box`, in no order. Stops with false once there are more than `most`.
  bool Find(const Box& box, size_t most, std::vector<uint32_t>* rows) const;

 private:
  std::vector<std::span<const Box>> levels_;  ///< the rows' own boxes first, one box last
  std::span<const uint32_t> rows_;
  std::span<const uint32_t> unbounded_;
};

}  // namespace quiver::index
