// File: index/internal/index_file.h
// The file of a vector index (docs/formats.md, "Vector index files"): index/internal/section_file.h with the recipe as
// its head. Thread rule: IndexFileWriter belongs to one thread; IndexFile is immutable and may be shared.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "index/internal/section_file.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Collects the sections of one index and lays them out.
class IndexFileWriter : public SectionFileWriter {
 public:
  IndexFileWriter(const IndexRecipe& recipe, uint32_t row_count);
};

/// An index file where it lies. The bytes must outlive it.
class IndexFile : public SectionFile {
 public:
  /// As SectionFile::Open.
  static Result<IndexFile> Open(std::string_view bytes, std::string_view name);

  [[nodiscard]] const IndexRecipe& recipe() const { return recipe_; }
  [[nodiscard]] uint32_t row_count() const { return row_count_; }

 private:
  explicit IndexFile(SectionFile file) : SectionFile(std::move(file)) {}

  IndexRecipe recipe_;
  uint32_t row_count_ = 0;
};

}  // namespace quiver::index
