// File: index/internal/index_file.h
// The container of every vector index file (docs/formats.md, "Vector index files"): a header with the recipe, a table
// of sections, and the sections, each aligned to 4096 bytes with a checksum of its own. Thread rule: IndexFileWriter
// belongs to one thread; IndexFile is immutable and may be shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "index/vector_index.h"

namespace quiver::index {

/// Collects the sections of one index and lays them out. Same sections: same bytes.
class IndexFileWriter {
 public:
  IndexFileWriter(const IndexRecipe& recipe, uint32_t row_count);

  /// Adds a section; ids are unique and belong to the structure.
  void Add(uint32_t id, std::string bytes);
  template <typename T>
  void AddValues(uint32_t id, std::span<const T> values) {
    Add(id, std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
  }
  /// Returns the file and leaves the writer empty.
  std::string Take();

 private:
  struct Section {
    uint32_t id;
    std::string bytes;
  };
  IndexRecipe recipe_;
  uint32_t row_count_;
  std::vector<Section> sections_;
};

/// An index file where it lies. The bytes must outlive it.
class IndexFile {
 public:
  /// Checks the header and that all sections lie within the bytes. Errors: kCorruption with `name`, also for a newer
  /// version.
  static Result<IndexFile> Open(std::string_view bytes, std::string_view name);

  [[nodiscard]] const IndexRecipe& recipe() const { return recipe_; }
  [[nodiscard]] uint32_t row_count() const { return row_count_; }
  [[nodiscard]] const std::string& name() const { return name_; }

  /// Bytes of a section; empty where there is none. Not checked until EnsureSound.
  [[nodiscard]] std::string_view Section(uint32_t id) const;
  /// The section as `count` values. Error: kCorruption where the size is another.
  template <typename T>
  Result<std::span<const T>> Values(uint32_t id, size_t count) const {
    const std::string_view bytes = Section(id);
    if (bytes.size() != count * sizeof(T)) return Damaged("a section has a wrong size");
    return std::span<const T>(reinterpret_cast<const T*>(bytes.data()), count);
  }

  /// Compares all checksums, once; later calls return the same outcome. To be called before the first use of a
  /// section's contents, so that opening costs nothing. Error: kCorruption.
  [[nodiscard]] Status EnsureSound() const;
  /// kCorruption with the file's name and what is wrong.
  [[nodiscard]] Status Damaged(std::string_view what) const;

 private:
  struct Entry {
    uint32_t id;
    uint32_t crc;
    std::string_view bytes;
  };
  struct Verdict {
    std::once_flag once;
    Status status;
  };

  IndexRecipe recipe_;
  uint32_t row_count_ = 0;
  std::string name_;
  std::vector<Entry> sections_;
  std::unique_ptr<Verdict> verdict_ = std::make_unique<Verdict>();
};

}  // namespace quiver::index
